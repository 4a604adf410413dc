# SPDX-License-Identifier: Apache-2.0
r"""Rows of fields of fixed size, packed and unpacked by one `struct.Struct` instead of field by field.

A row is a tuple or a dataclass whose members lie one behind the other; all but the last have a fixed size. What `struct` packs are
*fields*: a member is one field, or a row itself and then several, or, if `struct` does not know its type, its encoding.

    tuple[f64, tuple[i16, bool], u128]       members   1.5   (-3, True)   7
                                             fields    1.5   -3   True    b"\0...\7"       ">dh?16s"

Signed numbers are stored with their top bit flipped, and of a bool only 0 and 1 are valid: both is done for all fields at once,
with a mask over the bytes.

A codec's own methods, which go member by member, decide what is accepted and say what is wrong. The functions made here take
only values of types that `struct` packs to the same bytes, and leave all others, and all errors, to those methods.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from .base import Codec

WHOLE_TYPES: Final = frozenset({int, *(np.dtype(char).type for char in "bhilqBHILQ")})
"""What `struct` takes as an integer, and so do the types of this library. A bool is another value."""
FLOAT_TYPES: Final = frozenset({float, np.float64, np.float32, np.float16})
"""An integer is not among them: `struct` would round it."""

_LONGEST: Final = 2**31
_TOP_BIT: Final = b"\x80"
_ALL_BUT_LAST_BIT: Final = b"\xfe"


class Field(NamedTuple):
    """How `struct` packs a type."""

    code: str
    types: frozenset[type]
    """Classes of values that are packed to the bytes of their encoding, or raise."""
    length: int | None = None
    """Of bytes: how many there must be, since `struct` would pad or cut them; None for numbers."""
    flipped: bool = False
    """Whether the top bit of the first byte is stored flipped."""


class Row(NamedTuple):
    """How a value with members is taken apart and made again."""

    members: Sequence[Codec[Any]]
    cls: type[Any] = tuple
    take: Callable[[Any], tuple[Any, ...]] | None = None
    """Returns the members of an object of the class; None if it is a tuple."""
    make: Callable[[Sequence[Any]], Any] = tuple
    """Makes the value of its members."""


class Layout(NamedTuple):
    """How encodings of one fixed size are decoded many at a time."""

    size: int
    split: Callable[[bytes], list[Any]]
    """Takes encodings that lie one behind the other apart."""
    finish: Callable[[Any], Any] | None
    """Makes a value of an item of `split`; None if it is one already. Raises `CorruptMemory`."""
    read: Callable[[Any], Any] | None = None
    """Makes a value of the encoding with which a buffer begins, whatever it is; None if only some encodings are valid."""


class Packing(NamedTuple):
    """The functions of one type."""

    encode: Callable[[Any], bytes]
    decode: Callable[[Any], Any]
    layout: Layout | None
    """None if encodings do not have one fixed size."""


def packing_of(codec: Codec[Any]) -> Packing | None:
    """Return the functions that encode and decode the values of a row; None if it has no fixed fields."""
    row = codec.row
    if row is None:
        return None
    tail = None if row.members[-1].bound.is_fixed_size else row.members[-1]
    members = _Members.of(row.members if tail is None else row.members[:-1])
    if members is None:
        return None
    if tail is not None:
        return Packing(*_with_tail(codec, row, members, tail), None)
    return Packing(_encoder(codec, row, members), _decoder(codec, row, members), _layout(codec, row, members))


# ---- values ----


def _taker(row: Row) -> Callable[[Any], tuple[Any, ...] | None]:
    """Return a function that takes a value apart; it returns None for what is not quite such a value."""
    cls, take = row.cls, row.take

    def of_tuple(value: Any) -> tuple[Any, ...] | None:
        return value if type(value) is tuple else tuple(value) if _is_tuple(type(value)) else None

    def of_object(value: Any) -> tuple[Any, ...] | None:
        return take(value) if type(value) is cls else None  # type: ignore[misc]

    return of_tuple if take is None else of_object


def _is_tuple(cls: type) -> bool:
    """Return whether the items of a tuple of this class are what they seem, as those of a named tuple."""
    return issubclass(cls, tuple) and all(getattr(cls, name) is getattr(tuple, name) for name in ("__getitem__", "__iter__", "__len__"))


def _encoder(codec: Codec[Any], row: Row, members: _Members) -> Callable[[Any], bytes]:
    take, pack, slow = _taker(row), members.packer(), codec.encode

    def encode(value: Any) -> bytes:
        items = take(value)
        if items is not None:
            data = pack(items)
            if data is not None:
                return data
        return slow(value)

    is_direct = row.take is None and not members.flip and not any(members.takers)
    return packer_of(members.layout, members.fields, encode) if is_direct else encode  # a frame less for most values


def _decoder(codec: Codec[Any], row: Row, members: _Members) -> Callable[[Any], Any]:
    unpack, make, slow = members.unpacker(), row.make, codec.decode
    plain = members.layout.unpack if members.is_plain and row.take is None else None

    def decode_plain(data: Any) -> Any:
        try:
            return plain(data)  # type: ignore[misc]
        except struct.error:
            return slow(data)

    def decode(data: Any) -> Any:
        items = unpack(data)
        return slow(data) if items is None else make(items)

    return decode if plain is None else decode_plain


def _with_tail(codec: Codec[Any], row: Row, members: _Members, tail: Codec[Any]) -> tuple[Callable[[Any], bytes], Callable[[Any], Any]]:
    """Return both functions for a row whose last member has no fixed size."""
    take, pack, unpack, make = _taker(row), members.packer(), members.unpacker(), row.make
    encode_tail, decode_tail, size, count = tail.encode, tail.decode, members.layout.size, len(row.members)
    slow_encode, slow_decode = codec.encode, codec.decode

    def encode(value: Any) -> bytes:
        items = take(value)
        head = pack(items[:-1]) if items is not None and len(items) == count else None
        return slow_encode(value) if head is None else head + encode_tail(items[-1])  # type: ignore[index]

    def decode(data: Any) -> Any:
        items = unpack(data[:size])
        return slow_decode(data) if items is None else make((*items, decode_tail(data[size:])))

    return encode, decode


def _layout(codec: Codec[Any], row: Row, members: _Members) -> Layout:
    """Return how many values are decoded at once. An item is a tuple of fields, or an encoding if some are invalid."""
    slow, restore, make = codec.decode, members.restorer(), row.make

    def finish(item: Any) -> Any:
        if type(item) is bytes:
            return slow(item)
        return make(item if restore is None else restore(item))

    is_plain = restore is None and row.take is None and not members.odd
    if not is_plain:
        return Layout(members.layout.size, members.splitter(), finish)
    return Layout(members.layout.size, members.splitter(), None, None if members.flip else members.layout.unpack_from)


# ---- members and fields ----


class _Members:
    """Members of fixed size, one behind the other."""

    def __init__(self, codecs: Sequence[Codec[Any]]) -> None:
        self.fields: list[Field] = []
        self.takers: list[Callable[[Any], Sequence[Any] | None] | None] = []
        self.places: list[int | slice] = []
        self.makers: list[tuple[int, Callable[[Any], Any]]] = []
        for index, codec in enumerate(codecs):
            start = len(self.fields)
            taker, maker = self._add(codec)
            self.takers.append(taker)
            self.places.append(start if codec.row is None else slice(start, len(self.fields)))
            if maker is not None:
                self.makers.append((index, maker))
        self.layout = struct.Struct(">" + "".join(field.code for field in self.fields))
        self.flip, self.odd = self._masks()
        self.is_plain = self.restorer() is None and not self.odd and not self.flip

    @classmethod
    def of(cls, codecs: Sequence[Codec[Any]]) -> _Members | None:
        """Return them; None if there are none, or if they are too long for `struct`."""
        size = sum(codec.bound.max_size or 0 for codec in codecs)
        return cls(codecs) if 0 < size < _LONGEST else None

    def _add(self, codec: Codec[Any]) -> tuple[Callable[[Any], Sequence[Any] | None] | None, Callable[[Any], Any] | None]:
        """Add the fields of a member; return what makes fields of it, and it of fields, each None if it is a field itself."""
        if codec.field is not None:
            self.fields.append(codec.field)
            return None, None
        if codec.row is None:
            self.fields.append(Field(f"{codec.bound.max_size}s", frozenset({bytes}), codec.bound.max_size or 0))
            encode = codec.encode
            return (lambda value: (encode(value),)), codec.decode
        inner = _Members(codec.row.members)
        self.fields += inner.fields
        take, flatten, restore, make = _taker(codec.row), inner.flattener(), inner.restorer(), codec.row.make

        def taken(value: Any) -> Sequence[Any] | None:
            items = take(value)
            return items if items is None else flatten(items)

        if restore is None:
            return taken, None if make is tuple else make
        return taken, lambda fields: make(restore(fields))

    def _masks(self) -> tuple[int, int]:
        """Return, as masks over the bytes, the bits that are stored flipped and those that are never set."""
        flip, odd = b"", b""
        for field in self.fields:
            size = struct.calcsize(f">{field.code}")
            flip += (_TOP_BIT if field.flipped else b"").ljust(size, b"\0")
            odd += (_ALL_BUT_LAST_BIT if field.code == "?" else b"").ljust(size, b"\0")
        return int.from_bytes(flip, "big"), int.from_bytes(odd, "big")

    def flattener(self) -> Callable[[Any], Sequence[Any] | None]:
        """Return a function that makes fields of members, given as a tuple; it returns None for other members than these."""
        takers = self.takers

        def flatten(items: Any) -> Sequence[Any] | None:
            if len(items) != len(takers):
                return None
            fields: list[Any] = []
            for item, take in zip(items, takers, strict=True):
                if take is None:
                    fields.append(item)
                else:
                    parts = take(item)
                    if parts is None:
                        return None
                    fields.extend(parts)
            return tuple(fields)

        return flatten

    def packer(self) -> Callable[[Any], bytes | None]:
        """Return a function that encodes members, given as a tuple; it returns None for what it does not take."""
        flip, size = self.flip, self.layout.size
        flatten = self.flattener() if any(self.takers) else None
        pack = packer_of(self.layout, self.fields)

        def packed(items: Any) -> bytes | None:
            try:
                fields = items if flatten is None else flatten(items)
            except Exception:  # noqa: BLE001 - the codec's own way raises it again, or another one that comes first
                return None
            data = None if fields is None else pack(fields)
            return data if data is None or not flip else (int.from_bytes(data, "big") ^ flip).to_bytes(size, "big")

        return packed if flip or flatten else pack

    def unpacker(self) -> Callable[[Any], Sequence[Any] | None]:
        """Return a function that decodes members; it returns None if the size is wrong, or if a bool is neither 0 nor 1."""
        unpack, size, flip, odd, restore = self.layout.unpack, self.layout.size, self.flip, self.odd, self.restorer()

        def unpacked(data: Any) -> Sequence[Any] | None:
            if len(data) != size:
                return None
            if flip or odd:
                number = int.from_bytes(data, "big")
                if number & odd:
                    return None
                if flip:
                    data = (number ^ flip).to_bytes(size, "big")
            fields = unpack(data)
            return fields if restore is None else restore(fields)

        return unpacked

    def splitter(self) -> Callable[[bytes], list[Any]]:
        """Return a function that takes encodings that lie one behind the other apart, each into its fields; see `_layout`."""
        iterate, size = self.layout.iter_unpack, self.layout.size
        flip, odd = (np.frombuffer(mask.to_bytes(size, "big"), np.uint8) for mask in (self.flip, self.odd))
        is_plain = not (self.flip or self.odd)

        def split(data: bytes) -> list[Any]:
            if is_plain:
                return list(iterate(data))
            rows = np.frombuffer(data, np.uint8).reshape(-1, size)
            if (rows & odd).any():
                return [data[at : at + size] for at in range(0, len(data), size)]
            return list(iterate((rows ^ flip).tobytes()))

        return split

    def restorer(self) -> Callable[[Any], Sequence[Any]] | None:
        """Return a function that makes members of fields, given as a tuple; None if they are the same."""
        places, makers = self.places, self.makers
        if not makers and not any(isinstance(place, slice) for place in places):
            return None
        pick = itemgetter(*places) if len(places) > 1 else lambda fields, place=places[0]: (fields[place],)
        if not makers:
            return pick

        def restore(fields: Any) -> Sequence[Any]:
            items = list(pick(fields))
            for index, make in makers:
                items[index] = make(items[index])
            return items

        return restore


# ---- packing, for the number of fields ----

_PROBLEMS: Final = (struct.error, OverflowError)
_USUAL: Final = (float, int, bytes, bool)
"""Of the classes that a field takes, the one that is asked for first: it is quicker than a search in the set of them."""

_Pack = Callable[..., bytes]
_Otherwise = Callable[[Any], Any]


def _usual(fields: Sequence[Field]) -> list[type]:
    return [next(cls for cls in _USUAL if cls in field.types) for field in fields]


def _exact(fields: Sequence[Field]) -> list[tuple[int, int]]:
    """Return the places and lengths of the fields of bytes."""
    return [(index, field.length) for index, field in enumerate(fields) if field.length is not None]


def _first_exact(fields: Sequence[Field]) -> tuple[int, int | None]:
    exact = _exact(fields)
    return exact[0] if exact else (0, None)


def _packer_of_two(pack: _Pack, fields: Sequence[Field], otherwise: _Otherwise) -> Callable[[Any], Any]:
    """Return what `_packer_of_any` does, for two fields, at most one of bytes: without a loop it takes half the time."""
    (a_usual, b_usual), (a_types, b_types) = _usual(fields), [field.types for field in fields]
    at, length = _first_exact(fields)

    def packed(items: Any) -> Any:
        if type(items) is tuple and len(items) == 2:  # noqa: PLR2004 - the two
            a, b = items
            known = (type(a) is a_usual or type(a) in a_types) and (type(b) is b_usual or type(b) in b_types)
            if known and (length is None or len(items[at]) == length):
                try:
                    return pack(a, b)
                except _PROBLEMS:
                    pass
        return otherwise(items)

    return packed


def _packer_of_three(pack: _Pack, fields: Sequence[Field], otherwise: _Otherwise) -> Callable[[Any], Any]:
    """Return the same for three."""
    (a_usual, b_usual, c_usual), (a_types, b_types, c_types) = _usual(fields), [field.types for field in fields]
    at, length = _first_exact(fields)

    def packed(items: Any) -> Any:
        if type(items) is tuple and len(items) == 3:  # noqa: PLR2004 - the three
            a, b, c = items
            known = (type(a) is a_usual or type(a) in a_types) and (type(b) is b_usual or type(b) in b_types)
            if known and (type(c) is c_usual or type(c) in c_types) and (length is None or len(items[at]) == length):
                try:
                    return pack(a, b, c)
                except _PROBLEMS:
                    pass
        return otherwise(items)

    return packed


def _packer_of_any(pack: _Pack, fields: Sequence[Field], otherwise: _Otherwise) -> Callable[[Any], Any]:
    """Return a function that packs fields, given as a tuple; what is not a tuple of such goes to `otherwise`."""
    usual, types, exact = tuple(_usual(fields)), [field.types for field in fields], _exact(fields)

    def is_known(classes: tuple[type, ...]) -> bool:
        return len(classes) == len(types) and all(cls in accepted for cls, accepted in zip(classes, types, strict=True))

    def packed(items: Any) -> Any:
        if type(items) is not tuple:
            return otherwise(items)
        classes = tuple(map(type, items))
        if classes != usual and not is_known(classes):
            return otherwise(items)
        for index, length in exact:
            if len(items[index]) != length:
                return otherwise(items)
        try:
            return pack(*items)
        except _PROBLEMS:
            return otherwise(items)

    return packed


_PACKERS: Final = {2: _packer_of_two, 3: _packer_of_three}


def _nothing(_: Any) -> None:
    return None


def packer_of(layout: struct.Struct, fields: Sequence[Field], otherwise: _Otherwise = _nothing) -> Callable[[Any], Any]:
    """Return a function that packs fields, given as a tuple; it returns what `otherwise` does, None, for others than these."""
    known = len(_exact(fields)) <= 1
    return (_PACKERS.get(len(fields), _packer_of_any) if known else _packer_of_any)(layout.pack, fields, otherwise)


def layout_of_field(field: Field) -> Layout | None:
    """Return the layout of a type that is a single field, if its values are what `struct` unpacks."""
    layout = struct.Struct(f">{field.code}")
    if field.flipped or field.code == "?":
        return None
    iterate = layout.iter_unpack
    return Layout(layout.size, lambda data: list(chain.from_iterable(iterate(data))), None)
