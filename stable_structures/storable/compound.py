# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - Codec says what encode, decode and compare do
# ruff: noqa: PLR2004 - the numbers are those of the format
"""Option, reverse, tuples of two and three.

    option      T's bytes, 1             |  0
    tuple of 2  A padded to max A | B padded to max B | size of A | size of B      (no size where fixed)
    tuple of 3  A | B | C                                                          (A and B fixed)
                sizes byte | size of A | A | size of B | B | C to the end          (else; no size where fixed)

Sizes are big-endian, in 1, 2 or 4 bytes: by the maximum for a tuple of two, by the actual size in a tuple of three,
whose sizes byte holds (bytes of A's size - 1) << 2 | (bytes of B's size - 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..errors import BoundExceeded, IncompatibleType
from .base import Codec, Data, T
from .bound import Bound, Bounded, Unbounded, sum_of_bounds
from .order import OrderKind, compound
from .packing import Row, packing_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


def size_bytes(size: int) -> int:
    """Return how many bytes the format spends on a size: 1, 2 or 4."""
    return 1 if size <= 0xFF else 2 if size <= 0xFFFF else 4


class OptionCodec(Codec[T | None]):
    """`T | None`. None comes first.

    Inside another option, None is the outer `None`: Python has only one None for Rust's `None` and `Some(None)`.
    """

    def __init__(self, part: Codec[T]) -> None:
        bound = sum_of_bounds([part.bound], extra=1)
        super().__init__(f"{part.name} | None", bound, compound(OrderKind.OPTION, bound, part.order), part)
        self.part = part
        self.key_problem = part.key_problem
        self.heap_problem = part.heap_problem
        self._encode = part.encode
        self._decode = part.decode
        self._fixed = bound.is_fixed_size

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `pickle`, which cannot keep functions that were made for a type."""
        return type(self), (self.part,)

    def encode(self, value: T | None) -> bytes:
        if value is not None:
            return self._encode(value) + b"\x01"
        if self._fixed:
            self._refuse_none()
        return b"\x00"

    def decode(self, data: Data) -> T | None:
        tag = data[-1] if data else 2
        if tag == 1:
            return self._decode(data[:-1])
        if tag or len(data) != 1:
            self._corrupt(f"an option ends in the byte 1, or is the single byte 0; found {len(data)} bytes, the last of them {tag}")
        return None

    def compare(self, a: T | None, b: T | None) -> int | None:
        if a is None or b is None:
            return (a is not None) - (b is not None)
        return self.part.compare(a, b)

    def _refuse_none(self) -> NoReturn:
        raise BoundExceeded(
            f"{self.name} cannot hold None: its encoding is always {self.bound.max_size} bytes, but None is one byte. "
            f"The crate and the format have this rule for every fixed-size type; use a sentinel, "
            f"or a part without a fixed size, such as Blob({self.part.bound.max_size})"
        )


Codec._option = OptionCodec


class ReverseCodec(Codec[T]):
    """`Reverse[T]`: T in reverse order. Values are plain T, with no wrapper."""

    def __init__(self, part: Codec[T]) -> None:
        order = compound(OrderKind.REVERSE, part.bound, part.order)
        super().__init__(f"Reverse[{part.name}]", part.bound, order, part)
        self.part = part
        self.key_problem = part.key_problem
        self.heap_problem = part.heap_problem
        self.lane = part.lane
        self.dtype = part.dtype
        self.native_dtype = part.native_dtype
        self.encode = part.encode  # type: ignore[method-assign]
        self.decode = part.decode  # type: ignore[method-assign]
        self.encode_array = part.encode_array  # type: ignore[method-assign]
        self.decode_array = part.decode_array  # type: ignore[method-assign]
        self._pack, self._unpack = part._pack, part._unpack  # type: ignore[method-assign]
        self.field, self.row, self.layout = part.field, part.row, part.layout

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `pickle`, as `OptionCodec` does."""
        return type(self), (self.part,)

    def compare(self, a: T, b: T) -> int | None:
        return self.part.compare(b, a)


class RowCodec(Codec[T]):
    """What codecs with named parts share: order part by part, and numpy structured arrays if all parts are fixed."""

    def __init__(self, name: str, bound: Bound, order: Any, *identity: object, fields: dict[str, Codec[Any]]) -> None:
        super().__init__(name, bound, order, *identity)
        self.fields = fields
        self._parts = tuple(fields.values())
        self.key_problem = _first(self._parts, "key_problem")
        self.heap_problem = _first(self._parts, "heap_problem")
        if all(part.dtype is not None for part in self._parts):
            self.dtype = np.dtype([(name, part.dtype) for name, part in fields.items()])
            self.native_dtype = np.dtype([(name, part.native_dtype) for name, part in fields.items()])

    def _use_packing(self) -> None:
        """Put the functions for this row in the place of the general ones, which go field by field."""
        packing = packing_of(self)
        if packing is not None:
            self.encode = packing.encode  # type: ignore[method-assign,assignment]
            self.decode = packing.decode  # type: ignore[method-assign,assignment]
            self.layout = packing.layout

    def _compare_parts(self, a: Sequence[Any], b: Sequence[Any]) -> int | None:
        for part, x, y in zip(self._parts, a, b, strict=True):
            result = part.compare(x, y)
            if result != 0:
                return result
        return 0

    def _pack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array.dtype.names != tuple(self.fields):
            self._refuse_dtype(array, "; pass a structured array with these names in this order")
        packed = np.empty(len(array), self.dtype)
        for name, part in self.fields.items():
            packed[name] = part._pack(part._as_column(array[name]))
        return packed

    def _unpack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        native = np.empty(len(array), self.native_dtype)
        for name, part in self.fields.items():
            native[name] = part._unpack(array[name])
        return native


def _first(parts: Sequence[Codec[Any]], problem: str) -> str:
    return next((f"of its part {part.name}: {getattr(part, problem)}" for part in parts if getattr(part, problem)), "")


class _TupleCodec(RowCodec[tuple[Any, ...]]):
    def __init__(self, kind: OrderKind, bound: Bound, parts: Sequence[Codec[Any]]) -> None:
        order = compound(kind, bound, *(part.order for part in parts))
        name = f"tuple[{', '.join(part.name for part in parts)}]"
        super().__init__(name, bound, order, *parts, fields={f"f{index}": part for index, part in enumerate(parts)})

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `pickle`, as `OptionCodec` does."""
        return type(self), self._parts

    def _are_in_row(self) -> None:
        """Say that the parts lie one behind the other."""
        self.row = Row(self._parts)
        self._use_packing()

    def compare(self, a: tuple[Any, ...], b: tuple[Any, ...]) -> int | None:
        return self._compare_parts(a, b)

    def _refuse(self, value: object) -> NoReturn:
        if not isinstance(value, tuple):
            self._wrong_type(value, f"a tuple of {len(self._parts)}; convert it with tuple() first")
        self._wrong_type(value, f"a tuple of {len(self._parts)}, not of {len(value)}")


class Tuple2Codec(_TupleCodec):
    """`tuple[A, B]`, both bounded; always encoded in its maximum size."""

    def __init__(self, a: Codec[Any], b: Codec[Any]) -> None:
        for part in (a, b):
            if not isinstance(part.bound, Bounded):
                self._refuse_unbounded(a, b, part)
        extra = sum(0 if part.bound.is_fixed_size else size_bytes(part.bound.max_size or 0) for part in (a, b))
        super().__init__(OrderKind.TUPLE2, sum_of_bounds([a.bound, b.bound], extra), (a, b))
        self._a, self._b = a, b
        self._a_max, self._b_max = a.bound.max_size or 0, b.bound.max_size or 0
        self._a_size_bytes = 0 if a.bound.is_fixed_size else size_bytes(self._a_max)
        self._b_size_bytes = 0 if b.bound.is_fixed_size else size_bytes(self._b_max)
        self._size = self.bound.max_size or 0
        self._plain = self.bound.is_fixed_size
        if self._plain:
            self._are_in_row()

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, tuple) or len(value) != 2:
            self._refuse(value)
        a, b = self._a.encode(value[0]), self._b.encode(value[1])
        if self._plain:
            return a + b
        sizes = _size_field(a, self._a_size_bytes) + _size_field(b, self._b_size_bytes)
        return a.ljust(self._a_max, b"\0") + b.ljust(self._b_max, b"\0") + sizes

    def decode(self, data: Data) -> tuple[Any, ...]:
        if len(data) != self._size:
            self._corrupt(f"encoded in {self._size} bytes, found {len(data)}")
        if self._plain:
            return self._a.decode(data[: self._a_max]), self._b.decode(data[self._a_max :])
        b_at, sizes_at = self._a_max, self._a_max + self._b_max
        b_size_at = sizes_at + self._a_size_bytes
        a_size = int.from_bytes(data[sizes_at:b_size_at], "big") if self._a_size_bytes else self._a_max
        b_size = int.from_bytes(data[b_size_at:], "big") if self._b_size_bytes else self._b_max
        if a_size > self._a_max or b_size > self._b_max:
            self._corrupt(f"parts of at most {self._a_max} and {self._b_max} bytes, found {a_size} and {b_size}")
        return self._a.decode(data[:a_size]), self._b.decode(data[b_at : b_at + b_size])

    @staticmethod
    def _refuse_unbounded(a: Codec[Any], b: Codec[Any], part: Codec[Any]) -> NoReturn:
        raise IncompatibleType(
            f"tuple[{a.name}, {b.name}] cannot be stored: in a tuple of two both parts need a bound, and {part.name} has none "
            f"(the crate has the same rule); use Annotated[bytes, Blob(max_size)] for it, tuple[{a.name}, {b.name}, None], "
            "or a dataclass with @storable"
        )


class Tuple3Codec(_TupleCodec):
    """`tuple[A, B, C]` of any parts."""

    def __init__(self, a: Codec[Any], b: Codec[Any], c: Codec[Any]) -> None:
        self._a_fixed, self._b_fixed = a.bound.is_fixed_size, b.bound.is_fixed_size
        self._plain = self._a_fixed and self._b_fixed
        super().__init__(OrderKind.TUPLE3, self._bound_of(a.bound, b.bound, c.bound), (a, b, c))
        self._a, self._b, self._c = a, b, c
        self._a_size = a.bound.max_size if self._a_fixed else None
        self._b_size = b.bound.max_size if self._b_fixed else None
        if self._plain:
            self._are_in_row()

    def _bound_of(self, a: Bound, b: Bound, c: Bound) -> Bound:
        if not (isinstance(a, Bounded) and isinstance(b, Bounded) and isinstance(c, Bounded)):
            return Unbounded
        extra = sum(size_bytes(part.max_size) for part in (a, b) if not part.is_fixed_size)
        return sum_of_bounds([a, b, c], extra if self._plain else extra + 1)

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, tuple) or len(value) != 3:
            self._refuse(value)
        a, b, c = self._a.encode(value[0]), self._b.encode(value[1]), self._c.encode(value[2])
        if self._plain:
            return a + b + c
        a_bytes, b_bytes = size_bytes(len(a)), size_bytes(len(b))
        lengths = bytes(((a_bytes - 1) << 2 | (b_bytes - 1),))
        a_size = b"" if self._a_fixed else _size_field(a, a_bytes)
        b_size = b"" if self._b_fixed else _size_field(b, b_bytes)
        return b"".join((lengths, a_size, a, b_size, b, c))

    def decode(self, data: Data) -> tuple[Any, ...]:
        lengths = 0
        at = 0
        if not self._plain:
            if not data:
                self._corrupt("the first byte holds the lengths of the sizes, found no bytes")
            lengths = data[0]
            at = 1
        a, at = self._take(data, at, self._a_size, lengths >> 2 & 3)
        b, at = self._take(data, at, self._b_size, lengths & 3)
        return self._a.decode(a), self._b.decode(b), self._c.decode(data[at:])

    def _take(self, data: Data, at: int, size: int | None, length: int) -> tuple[Data, int]:
        """Return the part at `at`, and the offset of the next one; `length` is that of its size field minus one."""
        if size is None:
            if length == 2:
                self._corrupt("a size field has 1, 2 or 4 bytes, found 3")
            start = at + length + 1
            size = int.from_bytes(data[at:start], "big")
            at = start
        if at + size > len(data):
            self._corrupt(f"a part of {size} bytes at {at} ends inside the value, which has {len(data)} bytes")
        return data[at : at + size], at + size


def _size_field(data: bytes, width: int) -> bytes:
    """Return the size of `data` in `width` bytes, big-endian."""
    return len(data).to_bytes(width, "big") if width else b""
