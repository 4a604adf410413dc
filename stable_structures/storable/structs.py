# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - Codec says what encode, decode and compare do
"""Classes as stored types: any class with `to_bytes`, `from_bytes` and `BOUND`, and dataclasses field by field.

A dataclass under `@storable` is laid out like this (extension: the crate leaves it to its users):

    fields in order: a fixed-size one raw; any other after its size, 4 bytes big-endian; the last one without its size

Its bound is the sum of the parts and of those sizes, or `Unbounded` if a part is; it is fixed if all parts are.
"""

from __future__ import annotations

import dataclasses
import inspect
import operator
from typing import TYPE_CHECKING, Any, Final

from ..errors import CorruptMemory, IncompatibleType
from .base import Codec, Data, T, bytewise, python_order
from .blame import raise_of_moment
from .bound import Bound, Bounded, UnboundedType, sum_of_bounds
from .compound import RowCodec
from .order import Order, OrderKind, concatenation, leaf
from .packing import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CODEC_ATTRIBUTE: Final = "__stable_codec__"
"""The attribute in which a class keeps its codec."""

_SIZE_BYTES: Final = 4
_NO_LESS: Final = vars(object)["__lt__"]
PROTOCOL: Final = ("to_bytes", "from_bytes", "BOUND")


class ClassCodec(Codec[T]):
    """A user's class: `to_bytes(self)`, `from_bytes(data)` and `BOUND`; ordered by `<` unless `ORDER = "bytes"`."""

    def __init__(self, cls: type[T]) -> None:
        bound = _bound_of(cls)
        in_bytes = _is_bytewise(cls)
        super().__init__(cls.__qualname__, bound, leaf(OrderKind.BYTES, bound) if in_bytes else python_order(bound), cls)
        self._class = cls
        self._bytewise = in_bytes
        self._from_bytes = cls.from_bytes  # type: ignore[attr-defined]
        if not in_bytes and getattr(cls, "__lt__", None) is _NO_LESS:
            self.key_problem = self.heap_problem = (
                'it defines no order; define __lt__ (a total order), or set ORDER = "bytes" if the order of its encodings is its order'
            )

    def encode(self, value: T) -> bytes:
        if not isinstance(value, self._class):
            self._wrong_type(value, f"an instance of {self.name}")
        data: object = value.to_bytes()  # type: ignore[attr-defined]
        if type(data) is not bytes:
            self._wrong_type(data, f"bytes from {self.name}.to_bytes()")
        self._check_size(len(data), "shorten the value, or give the class a larger BOUND in a new structure")
        return data

    def decode(self, data: Data) -> T:
        try:
            value = self._from_bytes(bytes(data))
        except CorruptMemory:
            raise
        except Exception as error:
            raise_of_moment(error)
            rule = f"from_bytes() must accept what to_bytes() returned; on {len(data)} bytes it raised {error!r}"
            raise self._corruption(rule, "from_bytes() has a mistake") from error
        if not isinstance(value, self._class):
            self._wrong_type(value, f"an instance from {self.name}.from_bytes(); return it")
        return value

    def compare(self, a: T, b: T) -> int | None:
        """Ask `<` both ways, because a user's order may not be total: of two different values, one must be less."""
        if self._bytewise:
            return bytewise(self.encode(a), self.encode(b))
        less, greater = bool(a < b), bool(b < a)  # type: ignore[operator]
        if less != greater:
            return -1 if less else 1
        return 0 if not less and (a == b or self.encode(a) == self.encode(b)) else None


def missing_attributes(cls: type[Any]) -> list[str]:
    """Return which attributes a class lacks for `ClassCodec`."""
    return [name for name in PROTOCOL if not hasattr(cls, name)]


def _bound_of(cls: type[Any]) -> Bound:
    bound = cls.BOUND
    if not isinstance(bound, (Bounded, UnboundedType)):
        raise IncompatibleType(f"{cls.__qualname__}.BOUND is {bound!r}; set it to Unbounded or Bounded(max_size, is_fixed_size)")
    return bound


def _is_bytewise(cls: type[Any]) -> bool:
    order = getattr(cls, "ORDER", "python")
    if order not in ("bytes", "python"):
        raise IncompatibleType(f'{cls.__qualname__}.ORDER is {order!r}; set it to "bytes" (by encoding) or "python" (by <)')
    return bool(order == "bytes")


class StructCodec(RowCodec[T]):
    """A dataclass, field by field; ordered by its fields as a tuple of them would be."""

    def __init__(self, cls: type[T], fields: dict[str, Codec[Any]]) -> None:
        parts = list(fields.values())
        sizes = sum(_SIZE_BYTES for part in parts[:-1] if not part.bound.is_fixed_size)
        bound = sum_of_bounds([part.bound for part in parts], sizes)
        super().__init__(cls.__qualname__, bound, _order_of(bound, parts, sizes), cls, *fields.items(), fields=fields)
        self._class = cls
        self._names = tuple(fields)
        self._steps = [(part.decode, part.bound.max_size if part.bound.is_fixed_size else None) for part in parts[:-1]]
        self._last = parts[-1].decode
        self._by_name = any(field.kw_only for field in dataclasses.fields(cls))  # type: ignore[arg-type]
        if not sizes:
            self.row = Row(parts, cls, _members_of(self._names), self._made)
            self._use_packing()

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `pickle`, which cannot keep functions that were made for a type."""
        return type(self), (self._class, self.fields)

    def encode(self, value: T) -> bytes:
        if type(value) is not self._class:
            self._wrong_type(value, f"an instance of {self.name} itself")
        chunks = []
        for name, part in self.fields.items():
            data = part.encode(getattr(value, name))
            if not part.bound.is_fixed_size:
                chunks.append(len(data).to_bytes(_SIZE_BYTES, "big"))
            chunks.append(data)
        if not part.bound.is_fixed_size:
            del chunks[-2]
        return b"".join(chunks)

    def decode(self, data: Data) -> T:
        values = []
        at = 0
        for decode, fixed in self._steps:
            size = fixed
            if size is None:
                size = int.from_bytes(data[at : at + _SIZE_BYTES], "big")
                at += _SIZE_BYTES
            if at + size > len(data):
                self._corrupt(f"a field of {size} bytes at {at} ends inside the value, which has {len(data)} bytes")
            values.append(decode(data[at : at + size]))
            at += size
        values.append(self._last(data[at:]))
        return self._made(values)

    def _made(self, values: Sequence[Any]) -> T:
        try:
            return self._class(**dict(zip(self._names, values, strict=True))) if self._by_name else self._class(*values)
        except CorruptMemory:
            raise
        except Exception as error:
            raise_of_moment(error)
            rule = f"{self.name}() must accept its stored fields; it raised {error!r}"
            raise self._corruption(rule, "__post_init__() refuses values that it accepted before") from error

    def compare(self, a: T, b: T) -> int | None:
        return self._compare_parts([getattr(a, name) for name in self._names], [getattr(b, name) for name in self._names])


def _members_of(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that returns these attributes of an object."""
    get = operator.attrgetter(*names)
    return get if len(names) > 1 else lambda value: (get(value),)


def _order_of(bound: Bound, parts: list[Codec[Any]], sizes: int) -> Order:
    """Return an order in C if no sizes stand between the fields, because C can then take them apart; otherwise compare in Python."""
    if sizes:
        return python_order(bound)
    order = concatenation([part.order for part in parts])
    return python_order(bound) if order.kind is OrderKind.PYTHON else order


def check_dataclass(cls: type[Any]) -> None:
    """Raise `IncompatibleType` if a class is not a dataclass, or cannot be created again from its fields."""
    name = cls.__qualname__
    if not dataclasses.is_dataclass(cls) or "__dataclass_fields__" not in vars(cls):
        raise IncompatibleType(f"@storable expects a dataclass, but {name} is not one; write @storable above @dataclass above the class")
    inherits = isinstance(getattr(cls, CODEC_ATTRIBUTE, None), StructCodec)
    taken = [attribute for attribute in PROTOCOL if attribute in vars(cls) or (hasattr(cls, attribute) and not inherits)]
    if taken:
        raise IncompatibleType(f"{name} defines {', '.join(taken)} itself; leave out either those or @storable")
    fields = [field.name for field in dataclasses.fields(cls)]
    if not fields:
        raise IncompatibleType(f"{name} has no fields, so there is nothing to store; use None (unit) instead")
    not_given = {field.name for field in dataclasses.fields(cls) if not field.init}
    odd = sorted(not_given | (set(inspect.signature(cls).parameters) ^ set(fields)))
    if odd:
        raise IncompatibleType(f"{name} cannot be created from its fields alone, because of {', '.join(odd)}; use fields with init=True")
