# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - Codec says what encode, decode and compare do
# ruff: noqa: PLR2004 - the numbers are those of the format
"""Numbers, bool and unit.

| type | bytes |
|---|---|
| u8 u16 u32 u64 u128 | big-endian |
| i8 i16 i32 i64 i128 | big-endian of value + 2**(bits-1), so that bytes keep the order; extension: not in the crate |
| f32 f64 | big-endian IEEE 754; an integer, Decimal or Fraction only if it is said exactly |
| bool | 0 or 1 |
| None | no bytes; its bound is 0 bytes and, as in the crate, not fixed |
"""

from __future__ import annotations

import functools
import operator
import struct
from decimal import Decimal
from numbers import Rational
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, SupportsFloat

import numpy as np

from ..errors import BoundExceeded
from .base import Codec, Data, IntLane, refuse_masked, shown
from .bound import Bounded
from .order import OrderKind, leaf
from .packing import FLOAT_TYPES, WHOLE_TYPES, Field, layout_of_field

if TYPE_CHECKING:
    import numpy.typing as npt

FLOAT_KEY_PROBLEM = (
    "floats have no total order, because NaN is neither less than nor equal to anything; "
    "use an integer (a scaled u64 or i64), or keep floats as values, in a StableVec or in a StableMinHeap"
)
_WIDEST_WHOLE, _DIGITS = 8, 53
"""Bytes of the integers of numpy that an f64 may round, and the bits that it keeps."""
_EXACT = (int, np.integer, Decimal, Rational) + ((np.longdouble,) if np.longdouble is not np.float64 else ())
"""Numbers that a float may only hold if it says exactly the same."""
UNIT_KEY_PROBLEM = "it has only one value, so there is nothing to order; use a StableCell for a single value, or a key such as u64"


class IntCodec(Codec[int]):
    """Integers of 1, 2, 4, 8 or 16 bytes. Accepts whatever has `__index__`, returns `int`."""

    def __init__(self, bits: int, *, signed: bool) -> None:
        bound = Bounded(bits // 8, is_fixed_size=True)
        super().__init__(f"{'i' if signed else 'u'}{bits}", bound, leaf(OrderKind.BYTES, bound))
        self._size = bits // 8
        self._bias = 1 << (bits - 1) if signed else 0
        self.minimum = -self._bias
        self.maximum = (1 << bits) - 1 - self._bias

    def compare(self, a: int, b: int) -> int:
        return (a > b) - (a < b)

    def _refuse(self, value: Any) -> NoReturn:
        try:
            number = operator.index(value)
        except TypeError:
            self._wrong_type(value, "an integer; convert it with int() first")
        self._refuse_number(number)

    def _refuse_number(self, number: int, where: str = "") -> NoReturn:
        hint = "use a wider type" if number > 0 else f"use a {'wider' if self._bias else 'signed'} type"
        raise BoundExceeded(f"{self.name} holds {self.minimum} to {self.maximum}, got {number}{where}; {hint}")


class _NarrowCodec(IntCodec):
    """Up to 8 bytes: crosses to C as an integer, and numpy holds it."""

    def __init__(self, bits: int, *, signed: bool) -> None:
        super().__init__(bits, signed=signed)
        self.lane = IntLane(self._size, self._bias)
        self.dtype = np.dtype(f">u{self._size}")
        self.native_dtype = self._native = np.dtype(f"<{'i' if signed else 'u'}{self._size}")
        self._unsigned = np.dtype(f"<u{self._size}")
        code = {1: "B", 2: "H", 4: "I", 8: "Q"}[self._size]
        layout = struct.Struct(f">{code}")
        self.field = Field(code.lower() if signed else code, WHOLE_TYPES, flipped=signed)
        self.layout = layout_of_field(self.field)
        self._pack_int = layout.pack
        self._unpack_int = layout.unpack

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `pickle`, which cannot keep the functions of a layout."""
        return functools.partial(type(self), 8 * self._size, signed=bool(self._bias)), ()

    def _pack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array.dtype.kind not in "biu":
            self._refuse_dtype(array, "; convert it with array.astype() first if its values are integers")
        if array.size and not np.can_cast(array.dtype, self._native):
            self._check_range(array)
        return self._flipped(array.astype(self._native)).astype(self.dtype)

    def _unpack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return self._flipped(array.astype(self._unsigned)).view(self._native)

    def _flipped(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return unsigned numbers with the bias added or removed: both flip the top bit."""
        unsigned = array.view(self._unsigned)
        return unsigned ^ self._unsigned.type(self._bias) if self._bias else unsigned

    def _check_range(self, array: npt.NDArray[Any]) -> None:
        if self.minimum <= int(array.min()) and int(array.max()) <= self.maximum:
            return
        for index, number in enumerate(array.tolist()):
            if not self.minimum <= number <= self.maximum:
                self._refuse_number(number, f" at index {index}")


class _UnsignedCodec(_NarrowCodec):
    def encode(self, value: int) -> bytes:
        if type(value) is not int:
            refuse_masked(value, self.name)
        try:
            return self._pack_int(value)
        except (struct.error, OverflowError, TypeError):
            self._refuse(value)

    def decode(self, data: Data) -> int:
        try:
            return self._unpack_int(data)[0]  # type: ignore[no-any-return]
        except struct.error:
            self._corrupt(f"encoded in {self._size} bytes, found {len(data)}")


class _SignedCodec(_NarrowCodec):
    def encode(self, value: int) -> bytes:
        if type(value) is not int:
            refuse_masked(value, self.name)
        try:
            return self._pack_int(operator.index(value) + self._bias)
        except (struct.error, OverflowError, TypeError):
            self._refuse(value)

    def decode(self, data: Data) -> int:
        try:
            return self._unpack_int(data)[0] - self._bias  # type: ignore[no-any-return]
        except struct.error:
            self._corrupt(f"encoded in {self._size} bytes, found {len(data)}")


class _WideCodec(IntCodec):
    """16 bytes, signed or not."""

    def encode(self, value: int) -> bytes:
        if type(value) is not int:
            refuse_masked(value, self.name)
        try:
            return (operator.index(value) + self._bias).to_bytes(self._size, "big")
        except (OverflowError, TypeError):
            self._refuse(value)

    def decode(self, data: Data) -> int:
        if len(data) != self._size:
            self._corrupt(f"encoded in {self._size} bytes, found {len(data)}")
        return int.from_bytes(data, "big") - self._bias


def rounded(array: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which integers an f64 does not say exactly. O(n).

    >>> rounded(np.array([2**53, 2**53 + 1, -(2**62)])).tolist()
    [False, True, False]
    """
    if array.dtype.kind not in "iu" or array.dtype.itemsize < _WIDEST_WHOLE:
        return np.zeros(array.shape, np.bool_)
    negative, sizes = array < 0, array.astype(np.uint64)
    sizes = np.where(negative, ~sizes + np.uint64(1), sizes)
    lowest_bit = sizes & (~sizes + np.uint64(1))
    return (sizes >> np.uint64(_DIGITS)) >= np.maximum(lowest_bit, np.uint64(1))


class FloatCodec(Codec[float]):
    """Floats of 4 or 8 bytes. Not usable as keys: their order is partial.

    f32 rounds a float to the nearest, as a cast in C does. Neither rounds an integer, whose digits are often a name or an amount,
    nor a Decimal or Fraction, whose users do not want floats.
    """

    key_problem = FLOAT_KEY_PROBLEM

    def __init__(self, bits: int) -> None:
        size = bits // 8
        bound = Bounded(size, is_fixed_size=True)
        super().__init__(f"f{bits}", bound, leaf(OrderKind.FLOAT, bound))
        self.dtype = np.dtype(f">f{size}")
        self.native_dtype = self._native = np.dtype(f"<f{size}")
        code = "f" if size == 4 else "d"
        layout = struct.Struct(f">{code}")
        self.field = Field(code, FLOAT_TYPES)
        self.layout = layout_of_field(self.field)
        self._size = size
        self._pack_float = layout.pack
        self._unpack_float = layout.unpack

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `pickle`, which cannot keep the functions of a layout."""
        return type(self), (8 * self._size,)

    def encode(self, value: SupportsFloat) -> bytes:
        if type(value) is float:
            return self._packed(value)
        refuse_masked(value, self.name)  # numpy would turn it into NaN
        data = self._packed(value)
        if isinstance(value, _EXACT):
            self._require_exact(int(value) if isinstance(value, np.integer) else value, data)
        return data

    def _packed(self, value: Any) -> bytes:
        try:
            return self._pack_float(value)
        except (struct.error, OverflowError, TypeError):
            self._refuse(value)

    def _require_exact(self, number: Any, data: bytes, where: str = "") -> None:
        held = self._unpack_float(data)[0]
        if held != number and number == number:  # noqa: PLR0124 - NaN is not
            hint = "pass float(value) if it may be rounded, or use an integer type"
            became = int(held) if isinstance(number, int) else held
            raise BoundExceeded(f"{self.name} cannot hold {number}{where}: it would become {became}; {hint}")

    def decode(self, data: Data) -> float:
        try:
            return self._unpack_float(data)[0]  # type: ignore[no-any-return]
        except struct.error:
            self._corrupt(f"encoded in {self._size} bytes, found {len(data)}")

    def _refuse(self, value: object) -> NoReturn:
        if not hasattr(value, "__float__") or isinstance(value, np.ndarray | np.complexfloating):
            self._wrong_type(value, "a number; convert it with float() first")
        raise BoundExceeded(f"{self.name} cannot hold {shown(value)}: it is too large; use a number in range, or the type f64") from None

    def compare(self, a: float, b: float) -> int | None:
        return -1 if a < b else 1 if a > b else 0 if a == b else None

    def _pack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array.dtype.kind not in "biuf" or not np.can_cast(array.dtype, self._native):
            self._refuse_dtype(array, f"; array.astype({str(self.native_dtype)!r}) converts it if you accept rounding")
        wrong = rounded(array)
        if wrong.any():
            index = int(np.argmax(wrong))
            self._require_exact(int(array[index]), self._packed(int(array[index])), f" at index {index}")
        return array.astype(self.dtype)

    def _unpack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array.astype(self.native_dtype)


class BoolCodec(Codec[bool]):
    """True and False, not values that are merely truthy."""

    def __init__(self) -> None:
        bound = Bounded(1, is_fixed_size=True)
        super().__init__("bool", bound, leaf(OrderKind.BYTES, bound))
        self.dtype = np.dtype("u1")
        self.native_dtype = np.dtype("?")
        self.field = Field("?", frozenset({bool}))

    def encode(self, value: bool | np.bool_) -> bytes:
        if value is True:
            return b"\x01"
        if value is False:
            return b"\x00"
        if not isinstance(value, np.bool_):
            self._wrong_type(value, "True or False; convert it with bool() first")
        return b"\x01" if value else b"\x00"

    def decode(self, data: Data) -> bool:
        if data == b"\x01":
            return True
        if data != b"\x00":
            self._corrupt(f"encoded as the byte 0 or 1, found {bytes(data[:4]).hex() or 'nothing'}")
        return False

    def _pack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array.dtype.kind != "b":
            self._refuse_dtype(array, "; array.astype(bool) converts it if every value except 0 means True")
        return array.astype(self.dtype)

    def _unpack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array.size and array.max() > 1:
            index = int(np.argmax(array > 1))
            self._corrupt(f"encoded as the byte 0 or 1, found {int(array[index])} at index {index}")
        return array.astype(self.native_dtype)


class UnitCodec(Codec[None]):
    """None: no bytes at all."""

    key_problem = UNIT_KEY_PROBLEM

    def __init__(self) -> None:
        bound = Bounded(0, is_fixed_size=False)
        super().__init__("None", bound, leaf(OrderKind.BYTES, bound))

    def encode(self, value: None) -> bytes:
        if value is not None:
            self._wrong_type(value, "None")
        return b""

    def decode(self, data: Data) -> None:
        if len(data):
            self._corrupt(f"encoded in 0 bytes, found {len(data)}")

    def compare(self, a: None, b: None) -> int:  # noqa: ARG002 - there is one value
        return 0


u8 = Annotated[int, _UnsignedCodec(8, signed=False)]
u16 = Annotated[int, _UnsignedCodec(16, signed=False)]
u32 = Annotated[int, _UnsignedCodec(32, signed=False)]
u64 = Annotated[int, _UnsignedCodec(64, signed=False)]
u128 = Annotated[int, _WideCodec(128, signed=False)]
i8 = Annotated[int, _SignedCodec(8, signed=True)]
i16 = Annotated[int, _SignedCodec(16, signed=True)]
i32 = Annotated[int, _SignedCodec(32, signed=True)]
i64 = Annotated[int, _SignedCodec(64, signed=True)]
i128 = Annotated[int, _WideCodec(128, signed=True)]
f32 = Annotated[float, FloatCodec(32)]
f64 = Annotated[float, FloatCodec(64)]

BOOL = BoolCodec()
UNIT = UnitCodec()
