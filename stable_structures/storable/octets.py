# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - Codec says what encode, decode and compare do
# ruff: noqa: PLR2004 - the numbers are those of the format
"""Text, bytes and principals: types whose values are already bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from ..errors import BoundExceeded, IncompatibleType
from ..principal import MAX_LENGTH, Principal, raw_of
from .base import Codec, Data, refuse_masked, shown
from .bound import Bounded, Unbounded
from .order import OrderKind, leaf
from .packing import Field, layout_of_field

if TYPE_CHECKING:
    import numpy.typing as npt


class StrCodec(Codec[str]):
    """Text as UTF-8. Python orders text by code points, which is the order of the bytes."""

    quick = (str.encode, bytes.decode)

    def __init__(self) -> None:
        super().__init__("str", Unbounded, leaf(OrderKind.BYTES, Unbounded))

    def encode(self, value: str) -> bytes:
        try:
            return str.encode(value)
        except TypeError:
            self._wrong_type(value, "a str; use the type bytes for raw bytes, or convert it with str() first")
        except UnicodeEncodeError as error:
            raise BoundExceeded(
                f"str cannot hold the lone surrogate at index {error.start} of {shown(value)}: it has no UTF-8 form; "
                "remove it, or store bytes encoded with errors='surrogatepass'"
            ) from None

    def decode(self, data: Data) -> str:
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError as error:
            self._corrupt(f"encoded as UTF-8, found {error.reason} at byte {error.start} of {len(data)}")


class BytesCodec(Codec[bytes]):
    """Bytes of any length. Accepts every buffer of single bytes, returns `bytes`."""

    as_is = True

    def __init__(self) -> None:
        super().__init__("bytes", Unbounded, leaf(OrderKind.BYTES, Unbounded))

    def encode(self, value: Data) -> bytes:
        return value if type(value) is bytes else octets(value, self.name)

    def decode(self, data: Data) -> bytes:
        return data if type(data) is bytes else bytes(data)


class Blob(Codec[bytes]):
    """Up to `max_size` bytes: `Annotated[bytes, Blob(29)]`, or `Blob(29)` itself. O(1).

    Raises `BoundExceeded` if `max_size` is not in 0..2**32-1.

    >>> from stable_structures.storable import Blob
    >>> Blob(4).encode(b"abc")
    b'abc'
    >>> Blob(4).bound
    Bounded(max_size=4, is_fixed_size=False)
    """

    def __init__(self, max_size: int) -> None:
        bound = Bounded(max_size, is_fixed_size=False)
        super().__init__(f"Blob({max_size})", bound, leaf(OrderKind.BYTES, bound))
        self._max_size = max_size

    def encode(self, value: Data) -> bytes:
        data = value if type(value) is bytes else octets(value, self.name)
        if len(data) > self._max_size:
            self._check_size(len(data), f"use Blob({len(data)}) in a new structure, or bytes, which has no bound")
        return data

    def decode(self, data: Data) -> bytes:
        if len(data) > self._max_size:
            self._corrupt(f"encoded in at most {self._max_size} bytes, found {len(data)}")
        return data if type(data) is bytes else bytes(data)

    def __repr__(self) -> str:
        return self.name


class Array(Codec[bytes]):
    """Exactly `size` bytes: `Annotated[bytes, Array(20)]`, or `Array(20)` itself. O(1).

    Raises `BoundExceeded` if `size` is not in 0..2**32-1. In numpy it is `V20`; a `uint8` array of shape
    `(n, 20)` and an `S20` one are accepted too.

    >>> from stable_structures.storable import Array
    >>> Array(2).encode(b"ab")
    b'ab'
    >>> Array(2).encode(b"abc")
    Traceback (most recent call last):
    stable_structures.errors.BoundExceeded: Array(2) holds exactly 2 bytes, got 3; pad it, or use Blob(3) in a new structure
    """

    def __init__(self, size: int) -> None:
        bound = Bounded(size, is_fixed_size=True)
        super().__init__(f"Array({size})", bound, leaf(OrderKind.BYTES, bound))
        self._size = size
        if 0 < size < 2**31:
            self.dtype = self.native_dtype = self._native = np.dtype(f"V{size}")
            self.field = Field(f"{size}s", frozenset({bytes}), size)
            self.layout = layout_of_field(self.field)

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `pickle`, which cannot keep the functions of a layout."""
        return type(self), (self._size,)

    def encode(self, value: Data) -> bytes:
        data = value if type(value) is bytes else octets(value, self.name)
        if len(data) != self._size:
            self._check_size(len(data), f"pad it, or use Blob({max(len(data), self._size)}) in a new structure")
        return data

    def decode(self, data: Data) -> bytes:
        if len(data) != self._size:
            self._corrupt(f"encoded in {self._size} bytes, found {len(data)}")
        return data if type(data) is bytes else bytes(data)

    def _as_column(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array.dtype == np.uint8 and array.ndim == 2 and array.shape[1] == self._size:
            return np.ascontiguousarray(array).view(self._native).reshape(-1)
        return super()._as_column(array)

    def _pack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array.dtype.kind not in "VS" or array.dtype.itemsize != self._size or array.dtype.names:
            self._refuse_dtype(array, f"; a uint8 array of shape (n, {self._size}) is accepted too")
        return np.ascontiguousarray(array).view(self._native)

    def _unpack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array.copy()

    def __repr__(self) -> str:
        return self.name


class PrincipalCodec(Codec[Principal]):
    """A principal as its 0 to 29 raw bytes; shorter ones come first, as in the crate."""

    def __init__(self) -> None:
        bound = Bounded(MAX_LENGTH, is_fixed_size=False)
        super().__init__("Principal", bound, leaf(OrderKind.LENGTH_FIRST, bound))

    def encode(self, value: Principal) -> bytes:
        try:
            return raw_of(value)
        except TypeError:
            self._refuse(value)

    def decode(self, data: Data) -> Principal:
        if len(data) > MAX_LENGTH:
            self._corrupt(f"encoded in at most {MAX_LENGTH} bytes, found {len(data)}")
        return Principal(data)

    def _refuse(self, value: object) -> NoReturn:
        self._wrong_type(value, "a Principal; create one with Principal.from_text(text) or Principal(raw_bytes)")


_OCTETS: Final = "Bbc"


def octets(value: object, name: str) -> bytes:
    """Return any buffer of single bytes as `bytes`; `name` is the type, for messages."""
    refuse_masked(value, name)
    if isinstance(value, np.datetime64 | np.timedelta64):  # their buffer is the bytes of a number
        raise IncompatibleType(f"expected bytes for {name}, got {shown(value)}")
    try:
        view = memoryview(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        hint = "; encode text first, for example with text.encode()" if isinstance(value, str) else ""
        raise IncompatibleType(f"expected bytes for {name}, got {shown(value)}{hint}") from None
    if view.itemsize != 1 or view.ndim != 1 or view.format[-1] not in _OCTETS:
        raise IncompatibleType(
            f"expected bytes for {name}, got a buffer of {view.format!r} items, shape {view.shape}; convert it with bytes()"
        )
    return view.tobytes()


STR = StrCodec()
BYTES = BytesCodec()
PRINCIPAL = PrincipalCodec()
