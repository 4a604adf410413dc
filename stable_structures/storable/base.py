# SPDX-License-Identifier: Apache-2.0
"""The base of every codec: the questions that structures ask a type, and the errors that all types share."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, NoReturn, TypeAlias, TypeVar

import numpy as np

from ..errors import BoundExceeded, CorruptMemory, IncompatibleType
from .order import Order, OrderKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from .bound import Bound
    from .packing import Field, Layout, Row

T = TypeVar("T")

Data: TypeAlias = bytes | bytearray | memoryview
Octets: TypeAlias = "npt.NDArray[np.uint8]"
DType: TypeAlias = np.dtype[Any]


@dataclass(frozen=True, slots=True)
class IntLane:
    """Values cross to C as an unsigned integer of `size` bytes: the value plus `bias`; stored big-endian."""

    size: int
    bias: int = 0


@dataclass(frozen=True, slots=True)
class BytesLane:
    """Values cross to C as their encoding."""


Lane: TypeAlias = IntLane | BytesLane
"""How the values of a type can cross to C (`Codec.lane`). How those of one structure do is its `Argument`."""
BYTES_LANE: Final = BytesLane()


class Codec(Generic[T]):
    """How values of one type become bytes and back.

    `bound` is the size that the structures plan with, `order` how encodings compare in C, `lane` how values cross to C.
    `dtype` is the numpy dtype of the encoded form and `native_dtype` the one that users pass and get; both are None
    if numpy cannot hold the type. Codecs of equal types are equal, and hash by structure.
    """

    name: str
    bound: Bound
    order: Order
    lane: Lane = BYTES_LANE
    dtype: DType | None = None
    native_dtype: DType | None = None
    as_is: bool = False
    """Whether any `bytes` are a value, and their own encoding."""
    quick: tuple[Callable[[Any], bytes], Callable[[bytes], Any]] | None = None
    """Functions of C that encode and decode what is sound, and raise TypeError or UnicodeError for what the type refuses; or None."""
    key_problem: str = ""
    """Why the type cannot be a key of a map or set; empty if it can."""
    heap_problem: str = ""
    """Why the type cannot be in a heap; empty if it can."""
    field: Field | None = None
    """How `struct` packs it inside a row; None if it does not."""
    row: Row | None = None
    """How it is taken apart, for a type whose fields lie one behind the other."""
    layout: Layout | None = None
    """How encodings are decoded many at a time; None if only one by one."""

    def __init__(self, name: str, bound: Bound, order: Order, *identity: object) -> None:
        self.name = name
        self.bound = bound
        self.order = order
        self._identity = identity or (name,)

    def encode(self, value: T) -> bytes:
        r"""Return the bytes of a value. O(size). Raises `IncompatibleType` and `BoundExceeded`.

        >>> from stable_structures import codec, f64, u16
        >>> codec(u16).encode(258)
        b'\x01\x02'
        """
        raise NotImplementedError

    def decode(self, data: Data) -> T:
        r"""Return the value decoded from bytes of a memory. O(size). Raises `CorruptMemory` if they are not a value of the type.

        >>> from stable_structures import codec, f64, u16
        >>> codec(u16).decode(b"\x01\x02")
        258
        """
        raise NotImplementedError

    def compare(self, a: T, b: T) -> int | None:
        r"""Return -1, 0 or 1 as `a` is less than, equal to or greater than `b`; None if they have no order. O(size).

        >>> from stable_structures import codec, f64, u16
        >>> codec(u16).compare(1, 2), codec(f64).compare(1.0, float("nan"))
        (-1, None)
        """
        return -1 if a < b else int(b < a)  # type: ignore[operator]

    def less(self, a: T, b: T) -> bool:
        r"""Return whether `a` comes before `b` in the order of the type. O(size).

        >>> from stable_structures import codec, f64, u16
        >>> codec(u16).less(1, 2)
        True
        """
        return self.compare(a, b) == -1

    @property
    def orderable_as_key(self) -> bool:
        r"""Return whether values can be keys of maps and sets, which means that their order is total. O(1).

        >>> from stable_structures import codec, f64, u16
        >>> codec(u16).orderable_as_key, codec(f64).orderable_as_key
        (True, False)
        """
        return not self.key_problem

    def require_key(self) -> None:
        r"""Raise `IncompatibleType`, with the reason and the way out, if values cannot be keys. O(1).

        >>> from stable_structures import codec, f64, u16
        >>> codec(f64).require_key()
        Traceback (most recent call last):
        stable_structures.errors.IncompatibleType: f64 cannot be a key: ...
        """
        if self.key_problem:
            raise IncompatibleType(f"{self.name} cannot be a key: {self.key_problem}")

    def require_heap(self) -> None:
        r"""Raise `IncompatibleType`, with the reason and the way out, if values cannot be in a heap. O(1).

        >>> from stable_structures import codec, f64, u16
        >>> codec(f64).require_heap()
        """
        if self.heap_problem:
            raise IncompatibleType(f"{self.name} cannot be in a heap: {self.heap_problem}")

    def encode_array(self, array: npt.ArrayLike) -> Octets:
        r"""Return the encodings of a one-dimensional array, back to back. O(n).

        Only safe casts are made, and integers are checked by value. A list is encoded item by item. Raises
        `IncompatibleType` for another dtype or shape and `BoundExceeded` for a value that does not fit.

        >>> from stable_structures.storable import codec, u16
        >>> bytes(codec(u16).encode_array(np.arange(3)))
        b'\x00\x00\x00\x01\x00\x02'
        """
        if self.dtype is None:
            self.refuse_array()
        if not isinstance(array, np.ndarray):
            return np.frombuffer(b"".join(map(self.encode, array)), np.uint8)  # type: ignore[arg-type]
        refuse_masked(array, self.name)
        packed = np.ascontiguousarray(self._pack(self._as_column(array)))
        return packed.view(np.uint8)

    def decode_array(self, data: Data | Octets) -> npt.NDArray[Any]:
        r"""Return the values of encodings stored back to back, as a new array. O(n).

        Raises `CorruptMemory` if the bytes are not values of the type.

        >>> from stable_structures.storable import codec, i8
        >>> codec(i8).decode_array(b"\x00\x80\xff").tolist()
        [-128, 0, 127]
        """
        if self.dtype is None:
            self.refuse_array()
        octets = np.frombuffer(data, np.uint8)
        if octets.size % self.dtype.itemsize:
            self._corrupt(f"an array consists of whole items of {self.dtype.itemsize} bytes, found {octets.size} bytes")
        return self._unpack(octets.view(self.dtype))

    def decode_many(self, pieces: Sequence[bytes]) -> list[T]:
        r"""Return the values of encodings, in order. O(size). Raises as `decode`.

        >>> from stable_structures import codec, u16
        >>> codec(tuple[u16, u16]).decode_many([b"\0\1\0\2", b"\0\3\0\4"])
        [(1, 2), (3, 4)]
        """
        layout = self.layout
        if layout is None or set(map(len, pieces)) != {layout.size}:
            return list(map(self.decode, pieces))
        items = layout.split(b"".join(pieces))
        return items if layout.finish is None else list(map(layout.finish, items))

    def _as_column(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array.ndim != 1:
            self._refuse_dtype(array, "; pass one dimension, for example array.reshape(-1)")
        return array

    def _pack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the array in `dtype`, checked."""
        raise NotImplementedError

    def _unpack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the array in `native_dtype`, checked; never a view of the argument."""
        raise NotImplementedError

    def refuse_array(self, hint: str = "pass the values one by one") -> NoReturn:
        r"""Raise `IncompatibleType` for a type that numpy cannot hold; the hint says what to do instead. O(1).

        >>> from stable_structures import codec, u128
        >>> codec(u128).refuse_array()
        Traceback (most recent call last):
        stable_structures.errors.IncompatibleType: u128 has no numpy form: numpy has no such type; pass the values one by one
        """
        why = "numpy has no such type" if self.bound.is_fixed_size else "its encodings do not have one fixed size"
        raise IncompatibleType(f"{self.name} has no numpy form: {why}; {hint}")

    def _refuse_dtype(self, array: npt.NDArray[Any], hint: str = "") -> NoReturn:
        raise IncompatibleType(f"expected an array of {self.native_dtype} for {self.name}, got {array.dtype} of shape {array.shape}{hint}")

    def _corruption(self, rule: str, other_cause: str = "it was written with another type") -> CorruptMemory:
        error = CorruptMemory(f"{self.name}: {rule}; the memory is damaged, or {other_cause}")
        error.rule = rule
        return error

    def _corrupt(self, rule: str) -> NoReturn:
        raise self._corruption(rule) from None

    def _wrong_type(self, value: object, wants: str) -> NoReturn:
        expected, separator, hint = wants.partition("; ")
        raise IncompatibleType(f"expected {expected} for {self.name}, got {shown(value)}{separator}{hint}")

    def _check_size(self, size: int, hint: str) -> None:
        """Raise `BoundExceeded` for an encoding of `size` bytes outside the bound; the hint says what to use instead."""
        maximum = self.bound.max_size
        if maximum is None or size == maximum or (size < maximum and not self.bound.is_fixed_size):
            return
        rule = f"exactly {maximum}" if self.bound.is_fixed_size else f"at most {maximum}"
        raise BoundExceeded(f"{self.name} holds {rule} bytes, got {size}; {hint}")

    _option: ClassVar[Callable[[Codec[Any]], Codec[Any]]]
    """Makes `T | None` of a codec; set by compound.py, which imports this module."""

    def __or__(self, other: object) -> Codec[Any]:
        return Codec._option(self) if other is None or other is type(None) else NotImplemented

    __ror__ = __or__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Codec):
            return NotImplemented
        return type(self) is type(other) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash((type(self), self._identity))

    def __repr__(self) -> str:
        return f"codec({self.name})"


def shown(value: object) -> str:
    """Return the text of a value and its type, short enough for a message."""
    return f"{reprlib.repr(value)} of type {type(value).__name__}"


def refuse_masked(array: object, name: str) -> None:
    """Raise `IncompatibleType` for a masked array: what a mask hides is not a value, but would be stored as one. O(1)."""
    if isinstance(array, np.ma.MaskedArray):
        raise IncompatibleType(
            f"{name} cannot store a masked array, because a masked value is not a value; pass array.compressed(), or array.filled(value)"
        )


def bytewise(a: bytes, b: bytes) -> int:
    """Return -1, 0 or 1 by the order of bytes."""
    return (a > b) - (a < b)


def python_order(bound: Bound) -> Order:
    """Return the order of a type that can only be compared in Python."""
    return Order(OrderKind.PYTHON, bound.max_size, bound.is_fixed_size)
