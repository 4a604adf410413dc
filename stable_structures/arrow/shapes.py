# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - Form says what each method does
"""Values that have a given shape and no fixed place for each part, as Arrow: Candid, CBOR; and numpy's records.

A shape is converted value by value. Where the type leaves the shape open, there is none, and the value is JSON (forms.py).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np
import pyarrow as pa

from ..encodings.candid.types import NAT8, Func, Opt, Primitive, Service, Type, Variant, Vec, resolve
from ..encodings.candid.types import Record as CandidRecord
from ..encodings.columns import Octets
from ..errors import BoundExceeded, IncompatibleType
from ..principal import Principal
from ..storable import Codec
from ..storable.candid import Candid
from ..storable.cbor import CborCodec
from .forms import Choices, EncodedForm, FixedForm, Form, fixed_binary, is_binary, plain, rows_of_binary, to_numpy

Convert = Callable[[Any], Any]
_DIGITS: Final = 38
_MOST_LEVELS: Final = 32


class NoShape(ValueError):
    """A type that leaves open what its values look like."""


@dataclass(frozen=True, slots=True)
class Shape:
    """An Arrow type, and how values become what pyarrow takes, and back; None where they are that already."""

    type: Any
    to_py: Convert | None = None
    from_py: Convert | None = None
    nullable: bool = False

    def out(self, value: Any) -> Any:
        """Return a value as pyarrow takes it."""
        return value if self.to_py is None or value is None else self.to_py(value)

    def back(self, item: Any) -> Any:
        """Return what pyarrow gives as a value."""
        return item if self.from_py is None or item is None else self.from_py(item)


class ShapeForm(Form):
    """Values of a shape."""

    exact = False

    def __init__(self, codec: Codec[Any], shape: Shape) -> None:
        super().__init__(codec, shape.type)
        self.nullable, self._shape = shape.nullable, shape

    def to_py(self, value: Any) -> Any:
        return self._shape.out(value)

    def from_py(self, item: Any) -> Any:
        return self._shape.back(item)


def shape_form(codec: Codec[Any], choices: Choices) -> Form | None:
    """Return the form of a type of messages; None if it leaves its shape open."""
    try:
        if isinstance(codec, Candid) and codec.types is not None:
            return ShapeForm(codec, _of_several(codec.types, choices))
        if isinstance(codec, CborCodec):
            return ShapeForm(codec, of_annotation(codec.target, choices))
    except (NoShape, RecursionError):
        return None
    return None


# ---- parts that Candid and CBOR share ----


def _whole(item: Any) -> int:
    """Return a number of Arrow as an integer; refuse a fraction, which `int` cuts off."""
    if isinstance(item, bool) or not math.isfinite(item) or int(item) != item:
        raise BoundExceeded(f"expected an integer, got {item}; round it first")
    return int(item)


def _real(item: Any) -> Any:
    """Return a number of Arrow for a float; refuse an integer that no float says exactly."""
    if isinstance(item, int) and float(item) != item:
        raise BoundExceeded(f"the float nearest to {item} is {float(item):.0f}; cast the column if that will do")
    return item


def _list(item: Shape) -> Shape:
    return Shape(
        pa.list_(pa.field("item", item.type, nullable=item.nullable)),
        lambda value: [item.out(one) for one in value],
        lambda items: [item.back(one) for one in items],
    )


def _struct(parts: dict[str, Shape], of: Callable[[Any], dict[str, Any]], back: Callable[[dict[str, Any]], Any]) -> Shape:
    if not parts:
        raise NoShape("a record without fields")

    def out(value: Any) -> dict[str, Any]:
        found = of(value)
        return {name: part.out(found[name]) for name, part in parts.items()}

    return Shape(
        pa.struct([pa.field(name, part.type) for name, part in parts.items()]),
        out,
        lambda item: back({name: part.back(item[name]) for name, part in parts.items()}),
    )


def _principal(choices: Choices) -> Shape:
    if choices.principals == "text":
        return Shape(pa.string(), str, Principal.from_text)
    return Shape(pa.binary(), lambda value: value.bytes, Principal)


# ---- Candid ----

_CANDID: Final = {
    "bool": pa.bool_(),
    "text": pa.string(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    **{f"nat{bits}": getattr(pa, f"uint{bits}")() for bits in (8, 16, 32, 64)},
    **{f"int{bits}": getattr(pa, f"int{bits}")() for bits in (8, 16, 32, 64)},
}


def _of_several(given: tuple[Type, ...], choices: Choices) -> Shape:
    if len(given) == 1:
        return of_candid(given[0], choices, 0)
    parts = {f"f{place}": of_candid(one, choices, 0) for place, one in enumerate(given)}
    return _struct(parts, _numbered, lambda item: tuple(item.values()))


def _numbered(value: Any) -> dict[str, Any]:
    return {f"f{place}": one for place, one in enumerate(value)}


def of_candid(given: Type, choices: Choices, depth: int) -> Shape:  # noqa: PLR0911 - one for each sort of type
    """Return the shape of a Candid type. Raises `NoShape` for one that contains itself, or that Arrow has nothing like."""
    found = resolve(given)
    if depth > _MOST_LEVELS:
        raise NoShape("it contains itself")
    if isinstance(found, Primitive):
        return _of_primitive(found, choices)
    if isinstance(found, Opt):
        part = of_candid(found.item, choices, depth + 1)
        if part.nullable:
            raise NoShape("an option of an option")
        return dataclasses.replace(part, nullable=True)
    if isinstance(found, Vec):
        return Shape(pa.binary()) if resolve(found.item) == NAT8 else _list(of_candid(found.item, choices, depth + 1))
    if isinstance(found, CandidRecord):
        return _of_record(found, choices, depth)
    if isinstance(found, Variant):
        return _of_variant(found, choices, depth)
    if isinstance(found, Service):
        return _principal(choices)
    if isinstance(found, Func):
        parts = {"service": _principal(choices), "method": Shape(pa.string())}
        return _struct(parts, lambda value: dict(zip(parts, value, strict=True)), lambda item: tuple(item.values()))
    raise NoShape(str(found))


def _of_primitive(found: Primitive, choices: Choices) -> Shape:
    if found.name in ("null", "reserved"):
        return Shape(pa.null(), nullable=True)
    if found.name in ("nat", "int"):
        return Shape(pa.decimal128(_DIGITS, 0), None, _whole)
    if found.name == "principal":
        return _principal(choices)
    if found.name not in _CANDID:
        raise NoShape(found.name)
    return Shape(_CANDID[found.name], None, _real if found.name.startswith("float") else None)


def _of_record(found: CandidRecord, choices: Choices, depth: int) -> Shape:
    if found.is_tuple:
        parts = {f"f{one.name}": of_candid(one.type, choices, depth + 1) for one in found.fields}
        return _struct(parts, _numbered, lambda item: tuple(item.values()))
    return _struct({one.name: of_candid(one.type, choices, depth + 1) for one in found.fields}, dict, dict)


def _of_variant(found: Variant, choices: Choices, depth: int) -> Shape:
    """Return a struct of the name of the tag, and of what each tag carries: null but for the tag that is there."""
    tag = "tag" if all(one.name != "tag" for one in found.fields) else "_tag"
    parts = {one.name: of_candid(one.type, choices, depth + 1) for one in found.fields}
    carrying = {name: part for name, part in parts.items() if not pa.types.is_null(part.type)}
    fields = [pa.field(tag, pa.string())]
    fields += [pa.field(name, part.type) for name, part in carrying.items()]

    def out(value: Any) -> dict[str, Any]:
        ((name, content),) = value.items()
        return {tag: name} | ({name: carrying[name].out(content)} if name in carrying else {})

    def back(item: Any) -> dict[str, Any]:
        name = item[tag]
        return {name: carrying[name].back(item[name]) if name in carrying else None}

    return Shape(pa.struct(fields), out, back)


# ---- CBOR: annotations ----

_PLAIN: Final[dict[Any, Shape]] = {
    bool: Shape(pa.bool_()),
    int: Shape(pa.int64()),
    float: Shape(pa.float64(), float, _real),
    str: Shape(pa.string()),
    bytes: Shape(pa.binary()),
    type(None): Shape(pa.null(), nullable=True),
    dt.date: Shape(pa.date32()),
}


def of_annotation(target: Any, choices: Choices, depth: int = 0) -> Shape:
    """Return the shape of an annotation. Raises `NoShape` for one that leaves it open."""
    if depth > _MOST_LEVELS:
        raise NoShape("it contains itself")
    origin, args = get_origin(target), get_args(target)
    if origin is Annotated:
        return of_annotation(args[0], choices, depth)
    if origin in (Union, types.UnionType):
        return _of_union(args, choices, depth)
    if target in _PLAIN:
        return _PLAIN[target]
    if isinstance(target, type) and issubclass(target, enum.Enum):
        return _of_enum(target, choices, depth)
    if dataclasses.is_dataclass(target) and isinstance(target, type):
        return _of_dataclass(target, choices, depth)
    return _of_typed_dict(target, choices, depth) if is_typeddict(target) else _of_container(target, choices, depth)


def _of_dataclass(target: type[Any], choices: Choices, depth: int) -> Shape:
    names = [one.name for one in dataclasses.fields(target)]
    parts = _hinted(target, names, choices, depth)
    return _struct(parts, lambda value: {name: getattr(value, name) for name in names}, lambda item: target(**item))


def _of_typed_dict(target: Any, choices: Choices, depth: int) -> Shape:
    if target.__optional_keys__:
        raise NoShape("keys that may be missing")
    return _struct(_hinted(target, list(get_type_hints(target)), choices, depth), dict, dict)


def _of_container(target: Any, choices: Choices, depth: int) -> Shape:
    origin, args = get_origin(target), get_args(target)
    if origin is list and args:
        return _list(of_annotation(args[0], choices, depth + 1))
    if origin is tuple and args and Ellipsis not in args:
        parts = {f"f{place}": of_annotation(one, choices, depth + 1) for place, one in enumerate(args)}
        return _struct(parts, _numbered, lambda item: tuple(item.values()))
    if origin is dict and args and args[0] is str:
        return _map(of_annotation(args[1], choices, depth + 1))
    raise NoShape(str(target))


def _hinted(target: Any, names: list[str], choices: Choices, depth: int) -> dict[str, Shape]:
    hints = get_type_hints(target)
    return {name: of_annotation(hints[name], choices, depth + 1) for name in names}


def _of_union(args: tuple[Any, ...], choices: Choices, depth: int) -> Shape:
    members = [one for one in args if one is not type(None)]
    if len(members) != 1 or len(members) == len(args):
        raise NoShape("several types")
    part = of_annotation(members[0], choices, depth + 1)
    if part.nullable:
        raise NoShape("an option of an option")
    return dataclasses.replace(part, nullable=True)


def _of_enum(target: type[enum.Enum], choices: Choices, depth: int) -> Shape:
    kinds = {type(member.value) for member in target}
    if len(kinds) != 1:
        raise NoShape("values of several types")
    part = of_annotation(kinds.pop(), choices, depth + 1)
    return Shape(part.type, lambda value: part.out(value.value), lambda item: target(part.back(item)))


def _map(item: Shape) -> Shape:
    return Shape(
        pa.map_(pa.string(), pa.field("value", item.type, nullable=item.nullable)),
        lambda value: [(name, item.out(one)) for name, one in value.items()],
        lambda pairs: {name: item.back(one) for name, one in pairs},
    )


# ---- numpy's records ----

_TIMES: Final = frozenset({"s", "ms", "us", "ns"})


class RecordForm(FixedForm):
    """A numpy structured scalar: a struct of its fields, each from the bytes where the dtype has it."""

    def __init__(self, codec: Any) -> None:
        self._dtype = codec.dtype
        super().__init__(codec, _record_type(self._dtype))

    def from_rows(self, rows: Octets) -> Any:
        """Return the values of rows. O(n)."""
        checked = self.codec._unpack(np.ascontiguousarray(rows).reshape(-1).view(self._dtype))
        return _of_numpy(checked, self.type)

    def to_rows(self, array: Any) -> Octets:
        """Return the rows of an array. O(n)."""
        made = np.zeros(len(array), self._dtype)
        try:
            _into_numpy(made, array, self.type, self.codec.name)
        except pa.ArrowException as error:
            raise BoundExceeded(f"{self.codec.name} cannot hold this column of {array.type}: {error}") from None
        return self.codec.encode_array(made).reshape(len(array), self.width)

    def to_py(self, value: Any) -> Any:
        """Return a scalar as pyarrow takes it."""
        return _of_numpy(np.array([value], self._dtype), self.type).to_pylist()[0]

    def from_py(self, item: Any) -> Any:
        """Return a scalar again."""
        made = np.zeros(1, self._dtype)
        _into_numpy(made, pa.array([item], self.type), self.type, self.codec.name)
        return made[0]


def record_form(codec: Any) -> Form:
    """Return the form of a Record: a struct; its bytes if Arrow has nothing like one of its fields."""
    try:
        return RecordForm(codec)
    except NoShape:
        return EncodedForm(codec)


def _record_type(dtype: np.dtype[Any]) -> Any:  # noqa: PLR0911 - one for each kind
    """Return the Arrow type of a dtype. Raises `NoShape`."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        made = _record_type(base)
        for length in reversed(shape):
            made = pa.list_(made, length)
        return made
    if dtype.names is not None and dtype.fields is not None:
        return pa.struct([pa.field(name, _record_type(dtype.fields[name][0])) for name in dtype.names])
    if dtype.kind in "iuf" and dtype.itemsize <= 8:  # noqa: PLR2004 - bytes of the widest number
        return pa.from_numpy_dtype(dtype.newbyteorder("="))
    if dtype.kind == "b":
        return pa.bool_()
    if dtype.kind == "V" and dtype.itemsize:
        return pa.binary(dtype.itemsize)
    if dtype.kind == "S":
        return pa.binary()
    if dtype.kind in "mM" and np.datetime_data(dtype)[0] in _TIMES and np.datetime_data(dtype)[1] == 1:
        return (pa.timestamp if dtype.kind == "M" else pa.duration)(np.datetime_data(dtype)[0])
    raise NoShape(str(dtype))


def _of_numpy(values: Any, type_: Any) -> Any:
    """Return an array of numpy as one of Arrow, without nulls: a date that is none keeps its number."""
    if pa.types.is_struct(type_):
        arrays = [_of_numpy(values[field.name], field.type) for field in type_]
        return pa.StructArray.from_arrays(arrays, fields=list(type_))
    if pa.types.is_fixed_size_list(type_):
        flat = np.ascontiguousarray(values).reshape((-1, *values.shape[2:]))
        return pa.FixedSizeListArray.from_arrays(_of_numpy(flat, type_.value_type), type=type_)
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_):
        return pa.array(np.ascontiguousarray(values).view("<i8")).view(type_)
    if pa.types.is_fixed_size_binary(type_):
        return fixed_binary(np.ascontiguousarray(values).view(np.uint8).reshape(len(values), type_.byte_width), type_.byte_width)
    return _of_padded(values) if pa.types.is_binary(type_) else pa.array(np.ascontiguousarray(values), type_)


def _of_padded(values: Any) -> Any:
    """Return bytes that numpy has padded with zeros (dtype S) as Arrow's, without the zeros at their ends. O(bytes)."""
    count, width = len(values), values.dtype.itemsize
    if not 0 < count * width < 2**31:  # offsets of Arrow have 32 bits
        return pa.array(values.tolist(), pa.binary())
    data, offsets = np.ascontiguousarray(values).view(np.uint8).reshape(count, width), np.zeros(count + 1, np.int32)
    if data[:, -1].all():
        offsets[:] = np.arange(0, (count + 1) * width, width)
    else:
        kept = np.logical_or.accumulate(data[:, ::-1] != 0, axis=1)[:, ::-1]
        np.cumsum(kept.sum(axis=1), out=offsets[1:])
        data = data[kept]
    return pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _into_numpy(room: Any, array: Any, type_: Any, name: str) -> None:
    """Fill an array of numpy, field by field, with what is meant as one of `type_`. Raises `IncompatibleType`, `BoundExceeded`."""
    array = plain(array)
    if array.null_count:
        raise IncompatibleType(f"{name} has no null, and a row of the column is null; fill it, or filter it out")
    if pa.types.is_struct(type_):
        names = [field.name for field in type_]
        if not pa.types.is_struct(array.type) or sorted(field.name for field in array.type) != sorted(names):
            raise IncompatibleType(f"{name}: expected a struct of {', '.join(names)}, got {array.type}")
        for field in type_:
            place = array.type.get_field_index(field.name)
            _into_numpy(room[field.name], array.field(place), field.type, f"{name}.{field.name}")
    elif pa.types.is_fixed_size_list(type_):
        if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type)):
            raise _unlike(array, type_, name)
        flat = np.empty((len(array) * type_.list_size, *room.shape[2:]), room.dtype)
        _into_numpy(flat, array.cast(pa.list_(array.type.value_type, type_.list_size)).flatten(), type_.value_type, name)
        room[...] = flat.reshape(room.shape)
    else:
        room[...] = _leaf(room.dtype, _cast(array, type_, name), name)


def _leaf(dtype: Any, array: Any, name: str) -> Any:
    """Return what is assigned to a field without parts."""
    type_ = array.type
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_):
        return to_numpy(array.view(pa.int64())).view(dtype)
    if pa.types.is_fixed_size_binary(type_):
        return np.ascontiguousarray(rows_of_binary(array, type_.byte_width)).reshape(-1).view(dtype)
    if pa.types.is_binary(type_):
        found = array.to_pylist()
        if any(len(data) > dtype.itemsize for data in found):
            raise BoundExceeded(f"{name} holds {dtype.itemsize} bytes, got {max(map(len, found))}; cut them first")
        return found
    return to_numpy(array)


def _cast(array: Any, type_: Any, name: str) -> Any:
    """Return an array of a type that says the same values. Raises `IncompatibleType`, and what pyarrow raises."""
    given = array.type
    if given == type_:
        return array
    is_int, is_float = pa.types.is_integer(given), pa.types.is_floating(given)
    allowed = (
        (pa.types.is_integer(type_) and is_int)
        or (pa.types.is_floating(type_) and (is_int or (is_float and given.bit_width <= type_.bit_width)))
        or (pa.types.is_timestamp(type_) and pa.types.is_timestamp(given) and given.tz is None)
        or (pa.types.is_duration(type_) and pa.types.is_duration(given))
        or (is_binary(type_) and is_binary(given))
    )
    if not allowed:
        raise _unlike(array, type_, name)
    return array.cast(type_)


def _unlike(array: Any, type_: Any, name: str) -> IncompatibleType:
    return IncompatibleType(f"{name}: expected a column of {type_}, got {array.type}; cast it first")
