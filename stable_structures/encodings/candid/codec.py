# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLR2004 - codes and sizes of the Candid format
"""Candid values as bytes.

    "DIDL", number of types, types, number of values, the type of each, values

Decoding follows the rules of subtyping: fields that the reader does not know are skipped, an option that is missing or does not
fit is None. Messages are parsed as untrusted input: sizes are checked before memory is allocated for them.
"""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ...errors import Unsupported
from ...principal import Principal
from ..leb128 import signed, sleb, uleb, unsigned
from .types import (
    NAT8,
    NULL,
    PRIMITIVES,
    Field,
    Func,
    Opt,
    Primitive,
    Record,
    Service,
    Some,
    Type,
    Variant,
    Vec,
    hash_name,
    resolve,
    type_text,
)

MAGIC: Final = b"DIDL"
EMPTY: Final = b"DIDL\0\0"
_DEPTH: Final = 200
_MOST_TYPES: Final = 10_000
_MOST_EMPTY: Final = 100_000
_MOST_INLINE: Final = 1000
"""Parts of a type that is written in one line."""
_CODES: Final = {code: Primitive(name) for name, code in PRIMITIVES.items()}
OPT, VEC, RECORD, VARIANT, FUNC, SERVICE = -18, -19, -20, -21, -22, -23
_MODES: Final = {"query": 1, "oneway": 2, "composite_query": 3}

FIXED: Final = {
    "nat8": struct.Struct("<B"),
    "nat16": struct.Struct("<H"),
    "nat32": struct.Struct("<I"),
    "nat64": struct.Struct("<Q"),
    "int8": struct.Struct("<b"),
    "int16": struct.Struct("<h"),
    "int32": struct.Struct("<i"),
    "int64": struct.Struct("<q"),
    "float32": struct.Struct("<f"),
    "float64": struct.Struct("<d"),
}


class CandidError(ValueError):
    """A value that is not of its type, or bytes that are not Candid."""


# ---- encoding ----


class _Table:
    """The types of a message, each once."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._kept: list[Type] = []
        self._rows: list[bytes] = []

    def code(self, given: Type) -> bytes:
        found = resolve(given)
        if isinstance(found, Primitive):
            return sleb(PRIMITIVES[found.name])
        number = self._numbers.get(id(found))
        if number is None:
            number = self._numbers[id(found)] = len(self._rows)
            self._kept.append(found)
            self._rows.append(b"")
            self._rows[number] = self._row(found)
        return sleb(number)

    def _row(self, given: Type) -> bytes:
        if isinstance(given, Opt):
            return sleb(OPT) + self.code(given.item)
        if isinstance(given, Vec):
            return sleb(VEC) + self.code(given.item)
        if isinstance(given, (Record, Variant)):
            kind = RECORD if isinstance(given, Record) else VARIANT
            return sleb(kind) + uleb(len(given.fields)) + b"".join(uleb(one.number) + self.code(one.type) for one in given.fields)
        if isinstance(given, Func):
            sides = [uleb(len(side)) + b"".join(map(self.code, side)) for side in (given.args, given.results)]
            return sleb(FUNC) + b"".join(sides) + uleb(len(given.modes)) + bytes(_MODES[mode] for mode in given.modes)
        methods = sorted(given.methods, key=lambda one: one[0].encode()) if isinstance(given, Service) else []
        return sleb(SERVICE) + uleb(len(methods)) + b"".join(_text(name) + self.code(one) for name, one in methods)

    def header(self, types: Sequence[Type]) -> bytes:
        codes = b"".join(map(self.code, types))
        return MAGIC + uleb(len(self._rows)) + b"".join(self._rows) + uleb(len(types)) + codes


@functools.lru_cache(maxsize=1024)
def _header(types: tuple[Type, ...]) -> bytes:
    return _Table().header(types)


@functools.lru_cache(maxsize=1024)
def _primitive_header(types: tuple[Type, ...]) -> bytes | None:
    """Return how a message of these types begins; None if one of them is not primitive."""
    return _header(types) if all(type(one) is Primitive for one in types) else None


def encode(values: Sequence[Any], types: Sequence[Type]) -> bytes:
    """Return a message of these values. O(size). Raises `TypeError` and `OverflowError` for a value that is not of its type."""
    if len(values) != len(types):
        shown = ", ".join(map(type_text, types))
        raise TypeError(f"expected {len(types)} arguments ({shown}), got {len(values)}")
    out = [_header(tuple(types))]
    for number, (value, given) in enumerate(zip(values, types, strict=True), 1):
        try:
            if type(given) is Primitive:
                out.append(_primitive(value, given))
            else:
                _put(out.append, value, given, 0)
        except (TypeError, OverflowError) as error:
            raise type(error)(f"argument {number}: {error}") from None
    return b"".join(out)


Put = Callable[[bytes], None]


def _wrong(value: Any, given: Type) -> TypeError:
    return TypeError(f"expected {type_text(given)}, got {type(value).__name__} {_shown(value)}")


def _shown(value: Any) -> str:
    """Return a value as an error shows it: Python refuses to write integers of more than 4,300 digits."""
    try:
        shown = repr(value)
    except (ValueError, RecursionError):
        return "<more digits or levels than Python writes>"
    return shown if len(shown) < 80 else shown[:77] + "..."


def _text(value: str) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise TypeError(f"expected text, got half a character (a surrogate) in {_shown(value)}") from None
    return uleb(len(data)) + data


def _put(put: Put, value: Any, given: Type, depth: int) -> None:
    found = resolve(given)
    if depth > _DEPTH:
        raise TypeError(f"expected a value of at most {_DEPTH} levels")
    if isinstance(found, Primitive):
        put(_primitive(value, found))
    elif isinstance(found, Opt):
        _put_opt(put, value, found, depth)
    elif isinstance(found, Vec):
        _put_vec(put, value, found, depth)
    elif isinstance(found, Record):
        _put_record(put, value, found, depth)
    elif isinstance(found, Variant):
        _put_variant(put, value, found, depth)
    elif isinstance(found, Func):
        if not (isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str)):
            raise _wrong(value, found)
        put(b"\x01" + _principal(value[0], found) + _text(value[1]))
    else:
        put(_principal(value, found))


def _primitive(value: Any, given: Primitive) -> bytes:
    name = given.name
    if name in FIXED:
        return _number(value, name, given)
    if name in ("null", "reserved"):
        if value is not None and name == "null":
            raise _wrong(value, given)
        return b""
    if name == "text":
        if not isinstance(value, str):
            raise _wrong(value, given)
        return _text(value)
    if name == "bool":
        if not isinstance(value, bool):
            raise _wrong(value, given)
        return b"\1" if value else b"\0"
    if name == "principal":
        return _principal(value, given)
    if name == "empty":
        raise TypeError("the type empty has no values")
    return _number(value, name, given)


def _number(value: Any, name: str, given: Primitive) -> bytes:
    if isinstance(value, bool) or not isinstance(value, (int, float) if name.startswith("float") else int):
        raise _wrong(value, given)
    if name == "int":
        return sleb(int(value))
    if name == "nat":
        if value < 0:
            raise OverflowError(f"expected nat, got the negative number {_shown(value)}")
        return uleb(int(value))
    try:
        data = FIXED[name].pack(value)
    except (struct.error, OverflowError):
        raise OverflowError(f"expected {name}, got {_shown(value)}, which is out of its range") from None
    if isinstance(value, int) and FIXED[name].unpack(data)[0] != value:  # only a float may be rounded
        raise OverflowError(f"expected {name}, got {_shown(value)}, which it does not say exactly; pass float(value) if it may be rounded")
    return data


def _principal(value: Any, given: Type) -> bytes:
    if isinstance(value, str):
        value = Principal.from_text(value)
    if not isinstance(value, Principal):
        raise _wrong(value, given)
    data = bytes(value)
    return b"\x01" + uleb(len(data)) + data


def has_none(given: Type) -> bool:
    """Return whether None is a value of this type, so that an option of it needs `Some`."""
    found = resolve(given)
    return isinstance(found, Opt) or (isinstance(found, Primitive) and found.name in ("null", "reserved"))


def _put_opt(put: Put, value: Any, given: Opt, depth: int) -> None:
    if value is None:
        put(b"\0")
        return
    put(b"\1")
    _put(put, value.value if isinstance(value, Some) else value, given.item, depth + 1)


def _put_vec(put: Put, value: Any, given: Vec, depth: int) -> None:
    if isinstance(value, (bytes, bytearray, memoryview)) and resolve(given.item) == NAT8:
        data = bytes(value)
        if len(data) != len(value):  # of items that are not bytes
            raise _wrong(value, given)
        put(uleb(len(data)) + data)
        return
    if not isinstance(value, (list, tuple)):
        raise _wrong(value, given)
    put(uleb(len(value)))
    for item in value:
        _put(put, item, given.item, depth + 1)


def _put_record(put: Put, value: Any, given: Record, depth: int) -> None:
    if isinstance(value, (tuple, list)):
        value = {str(place): item for place, item in enumerate(value)}
    if not isinstance(value, dict):
        raise _wrong(value, given)
    unknown = value.keys() - given.keys
    if unknown:
        raise TypeError(f"expected {type_text(given)}, got the field {min(map(str, unknown))!r}")
    for one in given.fields:
        name = one.name if one.name in value else f"_{one.number}"
        if name not in value and not has_none(one.type):
            raise TypeError(f"expected {type_text(given)}, the field {one.name!r} is missing")
        _put(put, value.get(name), one.type, depth + 1)


def _put_variant(put: Put, value: Any, given: Variant, depth: int) -> None:
    if isinstance(value, str):
        value = {value: None}
    if not isinstance(value, dict) or len(value) != 1:
        raise _wrong(value, given)
    ((tag, content),) = value.items()
    for place, one in enumerate(given.fields):
        if tag in (one.name, f"_{one.number}"):
            put(uleb(place))
            _put(put, content, one.type, depth + 1)
            return
    raise TypeError(f"expected {type_text(given)}, got the tag {tag!r}")


# ---- decoding ----


class _Reader:
    __slots__ = ("at", "data", "empty")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at
        self.empty = 0

    def byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise IndexError
        self.at += size
        return self.data[self.at - size : self.at]

    def uleb(self) -> int:
        byte = self.data[self.at]
        if byte < 128:  # as most are
            self.at += 1
            return byte
        result, self.at = unsigned(self.data, self.at)
        return result

    def sleb(self) -> int:
        result, self.at = signed(self.data, self.at)
        return result

    def count(self) -> int:
        """Return how many items follow; for items without bytes the number is limited, to more than any test needs."""
        count = self.uleb()
        if count > len(self.data) - self.at:
            self._spend(count, f"{count} items are announced, but only {len(self.data) - self.at} bytes follow")
        return count

    def passed(self, start: int) -> None:
        """Count a value that began at `start` if it has no bytes: records of such records are many values in a short message."""
        if self.at == start:
            self._spend(1, "it has more values without bytes than are read")

    def _spend(self, items: int, problem: str) -> None:
        self.empty += items
        if self.empty > _MOST_EMPTY + len(self.data):
            raise CandidError(problem)


NO_NAMES: Final[Mapping[int, str]] = {}


def _read_types(reader: _Reader, names: Mapping[int, str] = NO_NAMES) -> Callable[[int], Type]:
    """Return the types of a message, as a function of the code that refers to them; `names` are those of fields by their hashes."""
    count = reader.uleb()
    if count > _MOST_TYPES:
        raise CandidError(f"the message has {count} types, more than allowed")
    table: list[Any] = [None] * count

    def named(code: int) -> Type:
        if code < 0:
            return _CODES[code]
        if code >= count:
            raise CandidError(f"invalid type number {code}; the message has {count} types")
        return _Wire(code, table)

    for place in range(count):
        table[place] = _read_type(reader, named, names)
    return named


class _Wire(Primitive):
    """A type of a message by its number; types may be recursive."""

    def __init__(self, number: int, table: list[Any]) -> None:
        object.__setattr__(self, "name", f"type {number}")
        object.__setattr__(self, "number", number)
        object.__setattr__(self, "table", table)


def _wire(given: Type) -> Type:
    found: Type = given.table[given.number] if isinstance(given, _Wire) else given  # type: ignore[attr-defined]
    return found


def _read_type(reader: _Reader, named: Callable[[int], Type], names: Mapping[int, str]) -> Type:
    kind = reader.sleb()
    if kind in (OPT, VEC):
        item = named(reader.sleb())
        return Opt(item) if kind == OPT else Vec(item)
    if kind in (RECORD, VARIANT):
        fields = []
        for _ in range(reader.count()):
            number = reader.uleb()
            label = names.get(number) or (str(number) if number < 1000 else f"_{number}")
            fields.append(Field(number, label, named(reader.sleb())))
        if any(one.number >= other.number for one, other in itertools.pairwise(fields)):
            raise CandidError("the fields of a type are not in order")
        return Record(tuple(fields)) if kind == RECORD else Variant(tuple(fields))
    if kind == FUNC:
        sides = [tuple(named(reader.sleb()) for _ in range(reader.count())) for _ in range(2)]
        modes = {number: name for name, number in _MODES.items()}
        return Func(sides[0], sides[1], tuple(modes.get(reader.byte(), "query") for _ in range(reader.count())))
    if kind == SERVICE:
        return Service(tuple((reader.take(reader.uleb()).decode(), named(reader.sleb())) for _ in range(reader.count())))
    raise CandidError(f"invalid kind of type {kind}")


def decode(data: bytes, types: Sequence[Type] | None = None, *, names: Mapping[int, str] = NO_NAMES, whole: bool = False) -> list[Any]:
    """Return the values of a message; as `types` if given, otherwise as the message says, with these names of fields. O(size).

    Raises `CandidError` for bytes that are not a message, or a message of other types, and (`whole`) for bytes behind it.
    """
    if not data.startswith(MAGIC):
        raise CandidError(f"these {len(data)} bytes are not Candid: they do not begin with DIDL")
    try:
        head = None if types is None else _primitive_header(tuple(types))
        if types is not None and head is not None and data.startswith(head):  # as in most replies
            reader = _Reader(data, len(head))
            values = [_get_primitive(reader, one, one) for one in types if type(one) is Primitive]
            return _to_the_end(reader, values, whole=whole)
        reader = _Reader(data, len(MAGIC))
        given = _given(reader, names)
        return _to_the_end(reader, _values(reader, given, given if types is None else types), whole=whole)
    except (IndexError, KeyError, UnicodeDecodeError, struct.error, RecursionError, ValueError) as error:
        if isinstance(error, CandidError):
            raise
        raise CandidError(f"the message of {len(data)} bytes is cut off or damaged ({type(error).__name__})") from None


def _given(reader: _Reader, names: Mapping[int, str]) -> list[Type]:
    """Return the type of each value of a message."""
    named = _read_types(reader, names)
    return [named(reader.sleb()) for _ in range(reader.count())]


def _to_the_end(reader: _Reader, values: list[Any], *, whole: bool) -> list[Any]:
    if whole and reader.at != len(reader.data):
        raise CandidError(f"{len(reader.data) - reader.at} bytes behind the message")
    return values


def message_types(data: bytes, names: Mapping[int, str] = NO_NAMES) -> tuple[Type, ...] | None:
    """Return the type of each value of a message; None if one contains itself or is too long for a line. O(size of the types).

    >>> [type_text(one) for one in message_types(encode([{"age": 7}], [Record((Field(hash_name("age"), "age", NAT8),))]), {4846783: "age"})]
    ['record { age : nat8 }']
    """
    try:
        left = [_MOST_INLINE]
        return tuple(_inline(one, (), left) for one in _given(_Reader(data, len(MAGIC)), names))
    except _Circle:
        return None
    except (IndexError, KeyError, UnicodeDecodeError, RecursionError) as error:
        raise CandidError(f"the message of {len(data)} bytes is cut off or damaged ({type(error).__name__})") from None


class _Circle(ValueError):
    """A type that contains itself, or that no line can hold."""


def _inline(given: Type, inside: tuple[int, ...], left: list[int]) -> Type:
    """Return a type of a message with its parts in their places; `left` is how many more there may be."""
    left[0] -= 1
    if left[0] < 0:
        raise _Circle
    if isinstance(given, _Wire):
        if given.number in inside:  # type: ignore[attr-defined]
            raise _Circle
        return _inline(given.table[given.number], (*inside, given.number), left)  # type: ignore[attr-defined]
    if isinstance(given, (Opt, Vec)):
        return type(given)(_inline(given.item, inside, left))
    if isinstance(given, (Record, Variant)):
        return type(given)(tuple(Field(one.number, one.name, _inline(one.type, inside, left)) for one in given.fields))
    if isinstance(given, Func):
        args, results = (tuple(_inline(one, inside, left) for one in side) for side in (given.args, given.results))
        return Func(args, results, given.modes)
    if isinstance(given, Service):
        return Service(tuple((name, _inline(one, inside, left)) for name, one in given.methods))
    return given


def _values(reader: _Reader, given: Sequence[Type], wanted: Sequence[Type]) -> list[Any]:
    out = []
    for place, want in enumerate(wanted):
        if place < len(given):
            out.append(_get(reader, given[place], want, 0))
        elif has_none(want):
            out.append(None)
        else:
            raise CandidError(f"value {place + 1} is missing: expected {type_text(want)}")
    for one in given[len(wanted) :]:
        _get(reader, one, one, 0)
    return out


class _Misfit(CandidError):
    """A value of another type than expected; inside an option it becomes None."""


def _get(reader: _Reader, given: Type, want: Type, depth: int) -> Any:  # noqa: C901, PLR0911 - one for each sort of type
    found, wanted = _wire(given), _wire(want) if isinstance(want, _Wire) else resolve(want)
    if depth > _DEPTH:
        raise CandidError(f"values nest deeper than {_DEPTH} levels")
    if isinstance(wanted, Primitive) and wanted.name == "reserved":
        if found is not wanted:
            _get(reader, given, given, depth + 1)
        return None
    if isinstance(wanted, Opt):
        return _get_opt(reader, found, wanted, depth)
    if isinstance(found, Primitive):
        return _get_primitive(reader, found, wanted)
    if type(found) is not type(wanted):
        if isinstance(wanted, Primitive) and wanted.name == "principal" and isinstance(found, Service):
            return _get_principal(reader)
        raise _misfit(reader, found, wanted, depth)
    if isinstance(found, Vec):
        return _get_vec(reader, found, wanted, depth)
    if isinstance(found, Record):
        return _get_record(reader, found, wanted, depth)
    if isinstance(found, Variant):
        return _get_variant(reader, found, wanted, depth)
    if isinstance(found, Func):
        if reader.byte() != 1:
            raise CandidError("an opaque reference")
        return _get_principal(reader), reader.take(reader.uleb()).decode()
    return _get_principal(reader)


def _misfit(reader: _Reader, found: Type, wanted: Type, depth: int) -> _Misfit:
    """Skip a value and return the error that it has another type."""
    _get(reader, found, found, depth + 1)
    return _Misfit(f"expected {type_text(wanted)}, the message has {type_text(found)}")


def _get_principal(reader: _Reader) -> Principal:
    if reader.byte() != 1:
        raise CandidError("an opaque reference")
    return Principal(reader.take(reader.uleb()))


def _get_primitive(reader: _Reader, found: Primitive, wanted: Type) -> Any:
    name = found.name
    fixed = FIXED.get(name)
    if fixed is not None:
        value: Any = fixed.unpack(reader.take(fixed.size))[0]
    elif name == "text":
        value = reader.take(reader.uleb()).decode()
    elif name == "nat":
        value = reader.uleb()
    elif name == "int":
        value = reader.sleb()
    elif name == "bool":
        value = bool(reader.byte())
    elif name == "principal":
        value = _get_principal(reader)
    elif name == "empty":
        raise CandidError("a value of the type empty")
    else:
        value = None
    fits = wanted is found or (isinstance(wanted, Primitive) and (wanted.name == name or (name, wanted.name) == ("nat", "int")))
    if not fits and not (name == "principal" and isinstance(wanted, Service)):
        raise _Misfit(f"expected {type_text(wanted)}, the message has {name}")
    return value


def _get_opt(reader: _Reader, found: Type, wanted: Opt, depth: int) -> Any:
    if isinstance(found, Primitive) and found.name in ("null", "reserved"):
        return None
    item = found
    if isinstance(found, Opt):
        if reader.byte() == 0:
            return None
        item = found.item
    start = reader.at
    try:
        value = _get(reader, item, wanted.item, depth + 1)
    except _Misfit:
        reader.at = start
        _get(reader, item, item, depth + 1)
        return None
    return Some(value) if has_none_on_wire(wanted.item) else value


def has_none_on_wire(given: Type) -> bool:
    """Return as `has_none`, also for the types of a message."""
    found = _wire(given)
    return (
        has_none(found)
        if found is given
        else isinstance(found, Opt) or (isinstance(found, Primitive) and found.name in ("null", "reserved"))
    )


def _get_vec(reader: _Reader, found: Vec, wanted: Any, depth: int) -> Any:
    given, want = _wire(found.item), _wire(wanted.item) if isinstance(wanted.item, _Wire) else resolve(wanted.item)
    if given == NAT8 and want == NAT8:
        return reader.take(reader.uleb())
    return [_get(reader, found.item, wanted.item, depth + 1) for _ in range(reader.count())]


def _get_record(reader: _Reader, found: Record, wanted: Any, depth: int) -> Any:
    fields = wanted.by_number
    values: dict[str, Any] = {}
    problem: _Misfit | None = None
    for one in found.fields:
        target = fields.get(one.number)
        start = reader.at
        try:
            value = _get(reader, one.type, one.type if target is None else target.type, depth + 1)
        except _Misfit as error:
            problem, value = error, None
            reader.at = start
            _get(reader, one.type, one.type, depth + 1)
        reader.passed(start)
        if target is not None:
            values[target.name] = value
    for one in wanted.fields:
        if one.name not in values:
            if not has_none_on_wire(one.type):
                problem = _Misfit(f"expected {type_text(wanted)}, the message has no field {one.name!r}")
            values[one.name] = None
    if problem is not None:
        raise problem
    ordered = {one.name: values[one.name] for one in wanted.fields}
    return tuple(ordered.values()) if wanted.is_tuple else ordered


def _get_variant(reader: _Reader, found: Variant, wanted: Any, depth: int) -> Any:
    place = reader.uleb()
    if place >= len(found.fields):
        raise CandidError(f"tag {place} of a variant of {len(found.fields)}")
    one = found.fields[place]
    for target in wanted.fields:
        if target.number == one.number:
            return {target.name: _get(reader, one.type, target.type, depth + 1)}
    _get(reader, one.type, one.type, depth + 1)
    raise _Misfit(f"expected {type_text(wanted)}, the message has the tag {one.name!r}")


# ---- values without types ----


def infer(value: Any) -> Type:
    """Return the type of a Python value. Raises `Unsupported` if it could be of several."""
    if value is None:
        return NULL
    for kinds, name in (((bool,), "bool"), ((int,), "nat"), ((float,), "float64"), ((str,), "text"), ((Principal,), "principal")):
        if isinstance(value, kinds):
            return Primitive("int" if isinstance(value, int) and name == "nat" and value < 0 else name)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Vec(NAT8)
    if isinstance(value, Some):
        return Opt(infer(value.value))
    if isinstance(value, list) and value:
        types = {infer(item) for item in value}
        if types == {Primitive("nat"), Primitive("int")}:
            types = {Primitive("int")}
        if len(types) == 1:
            return Vec(types.pop())
    if isinstance(value, (dict, tuple)):
        pairs = value.items() if isinstance(value, dict) else ((str(place), item) for place, item in enumerate(value))
        return Record(tuple(sorted(_field(str(name), infer(item)) for name, item in pairs)))
    what = f"{type(value).__name__} {_shown(value)}"
    raise Unsupported(f"the Candid type of {what} is ambiguous: annotate the method, or reply with Candid bytes")


def _field(name: str, given: Type) -> Field:
    return Field(int(name) if name.isascii() and name.isdecimal() else hash_name(name), name, given)


def encode_untyped(values: Sequence[Any]) -> bytes:
    """Return a message of values whose types are inferred."""
    return encode(values, [infer(value) for value in values])
