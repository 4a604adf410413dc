# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ARG002, D102 - Type says what its methods do
"""The crate's encodings of values, fixed and boxed: bytes to values, strictly (docs/format-ism.md#encodings).

A type knows its size for a pointer width, decodes exactly that many bytes, feeds a value to a hash, and ranks values in
Rust's order. Bytes that the crate would not write (a bool of 2, a letter behind an empty option) are refused: that is
how another type is noticed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

from ..encodings.candid.codec import CandidError
from ..encodings.candid.untyped import read_message
from ..encodings.limits import TooMuch
from ..errors import IncompatibleType
from ..principal import Principal
from .findings import Broken
from .ownership import Claims, Heap
from .zwohash import Hash

_SURROGATES: Final = range(0xD800, 0xE000)
_MOST_CHAR: Final = 0x110000
_PRINCIPAL: Final = 29
_BIG: Final = 32


class Type:
    """One type of the crate. Types of the same name are the same type. It is ordered and hashable if its parts are."""

    def __init__(self, name: str, *parts: Type) -> None:
        self.name = name
        self.ordered: bool = all(part.ordered for part in parts)
        """Whether values have Rust's `Ord`, as far as we know it."""
        self.hashable: bool = all(part.hashable for part in parts)
        """Whether the crate's hash of values is known."""
        self.widthless: bool = all(part.widthless for part in parts)
        """Whether values are the same bytes for both pointer widths."""

    def size(self, width: int) -> int:
        """Return bytes of the fixed encoding. Raises `IncompatibleType` if there is none."""
        raise IncompatibleType(f"{self.name} has no fixed size of {width}-byte words: the crate stores it in a box, so write SBox[...]")

    def decode(self, data: bytes, space: Heap) -> Any:
        """Return the value of a fixed encoding. Raises `Broken`."""
        raise NotImplementedError

    def load(self, content: bytes, space: Heap) -> Any:
        """Return the value at the start of a box's content. Raises `Broken`."""
        size = self.size(space.width)
        if len(content) < size:
            raise Broken(f"a box of {len(content)} bytes for {self.name}, which has {size}")
        return self.decode(content[:size], space)

    def least(self, width: int) -> int:
        """Return bytes that a box of it has at least."""
        return self.size(width)

    def is_fixed(self) -> bool:
        """Return whether it has a fixed encoding."""
        return True

    def own(self, data: bytes, owner: Claims) -> None:
        """Claim the blocks of a value, and note what is wrong with it."""
        try:
            self.decode(data, owner.space)
        except Broken as error:
            owner.note(error.rule, error.address or 0, error.fault)

    def own_boxed(self, content: bytes, owner: Claims) -> None:
        """Own what the content of a box refers to."""
        self.own(content[: self.size(owner.space.width)], owner)

    def feed(self, value: Any, into: Hash) -> None:
        """Feed a value to a hash, as Rust's `Hash` does."""
        raise NotImplementedError

    def rank(self, value: Any) -> Any:
        """Return what Python compares as Rust compares the values."""
        return value

    def identity(self, value: Any) -> Hashable:
        """Return what is equal for equal values."""
        found: Hashable = self.rank(value)
        return found

    def __eq__(self, other: object) -> bool:
        return self.name == other.name if isinstance(other, Type) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name


# ---- values without parts ----


class Scalar(Type):
    """A value of `size` bytes (0: of a pointer), read by `read`. Without `feed` neither its hash nor its order is known."""

    def __init__(
        self,
        name: str,
        size: int | None,
        read: Callable[[bytes], Any],
        feed: Callable[[Any, Hash], None] | None = None,
        rank: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(name)
        self._size, self._read, self._feed, self._rank = size, read, feed, rank
        self.ordered = self.hashable = feed is not None
        self.widthless = size is not None

    def size(self, width: int) -> int:
        return width if self._size is None else self._size

    def decode(self, data: bytes, space: Heap) -> Any:
        return self._read(data)

    def feed(self, value: Any, into: Hash) -> None:
        if self._feed is not None:
            self._feed(value, into)

    def rank(self, value: Any) -> Any:
        return value if self._rank is None else self._rank(value)


def _integer(name: str, size: int | None) -> Scalar:
    signed = name.startswith("i")
    return Scalar(
        name, size, lambda data: int.from_bytes(data, "little", signed=signed), lambda value, into: into.number(value, size or into.width)
    )


def _float(name: str, layout: struct.Struct) -> Scalar:
    """Return a type whose values are distinguished by their bytes: a NaN equals nothing."""
    return Scalar(name, layout.size, lambda data: layout.unpack(data)[0], rank=layout.pack)


def _read_bool(data: bytes) -> bool:
    if data[0] > 1:
        raise Broken(f"a bool of {data[0]}")
    return bool(data[0])


def _read_char(data: bytes) -> str:
    code = int.from_bytes(data, "little")
    if code >= _MOST_CHAR or code in _SURROGATES:
        raise Broken(f"a char of {code:#x}")
    return chr(code)


def _read_principal(data: bytes) -> Principal:
    if data[0] > _PRINCIPAL or any(data[1 + data[0] :]):
        raise Broken(f"a principal of {data[0]} bytes" if data[0] > _PRINCIPAL else "bytes behind a principal")
    return Principal(bytes(data[1 : 1 + data[0]]))


def _feed_principal(value: Principal, into: Hash) -> None:
    raw = bytes(value)
    into.word(len(raw))
    _feed_octets(raw.ljust(_PRINCIPAL, b"\0"), into)


def _feed_octets(value: bytes, into: Hash) -> None:
    into.word(len(value))
    into.octets(value)


def _feed_nat(value: int, into: Hash) -> None:
    words = -(-value.bit_length() // (8 * into.width))
    into.word(words)
    into.octets(value.to_bytes(words * into.width, "little"))


def _read_int(data: bytes) -> int:
    """Read a sign (0 plus, 1 minus, 2 zero) and a magnitude in 31 bytes."""
    sign, magnitude = data[0], int.from_bytes(data[1:], "little")
    if sign > 2 or (sign == 2) != (magnitude == 0):  # noqa: PLR2004 - the sign of zero
        raise Broken(f"an int of sign {sign} and magnitude {magnitude}")
    return -magnitude if sign == 1 else magnitude


def _feed_int(value: int, into: Hash) -> None:
    into.word(0 if value < 0 else 1 + (value > 0))
    if value:
        _feed_nat(abs(value), into)


SCALARS: Final[dict[str, Type]] = {
    made.name: made
    for made in (
        *(_integer(f"{sign}{8 * size}", size) for sign in "ui" for size in (1, 2, 4, 8, 16)),
        _integer("usize", None),
        _integer("isize", None),
        _float("f32", struct.Struct("<f")),
        _float("f64", struct.Struct("<d")),
        Scalar("bool", 1, _read_bool, lambda value, into: into.word(value)),
        Scalar("char", 4, _read_char, lambda value, into: into.word(ord(value))),
        Scalar("()", 0, lambda _: None, lambda *_: None, rank=lambda _: 0),
        # Ordered by length first, as Rust's derived order is.
        Scalar("Principal", 1 + _PRINCIPAL, _read_principal, _feed_principal, lambda value: (len(bytes(value)), bytes(value))),
        Scalar("Nat", _BIG, lambda data: int.from_bytes(data, "little"), _feed_nat),
        Scalar("Int", _BIG, _read_int, _feed_int),
    )
}
"""All scalars but arrays, by their names in Rust."""


def array_of(part: Type, count: int) -> Type:
    """Return [T; N]. Raises `IncompatibleType` for an element that the crate cannot encode."""
    return Scalar(f"[u8; {count}]", count, bytes, _feed_octets) if part == SCALARS["u8"] else Items(part, count)


# ---- values of parts ----


class Compound(Type):
    """A value that has others in it; the crate writes them one after the other, without padding."""

    def split(self, data: bytes, width: int) -> list[tuple[Type, bytes]]:
        """Return each part with its bytes. Raises `Broken`."""
        raise NotImplementedError

    def build(self, values: list[Any]) -> Any:
        """Return the value of what its parts hold."""
        raise NotImplementedError

    def parts_of(self, value: Any) -> tuple[tuple[int, ...], list[tuple[Type, Any]]]:
        """Return the words that hash and order begin with, and each part with its value."""
        raise NotImplementedError

    def decode(self, data: bytes, space: Heap) -> Any:
        return self.build([part.decode(piece, space) for part, piece in self.split(data, space.width)])

    def own(self, data: bytes, owner: Claims) -> None:
        try:
            pieces = self.split(data, owner.space.width)
        except Broken as error:
            owner.note(error.rule, 0)
        else:
            for part, piece in pieces:
                part.own(piece, owner)

    def feed(self, value: Any, into: Hash) -> None:
        words, parts = self.parts_of(value)
        for word in words:
            into.word(word)
        for part, one in parts:
            part.feed(one, into)

    def rank(self, value: Any) -> Any:
        words, parts = self.parts_of(value)
        return (*words, *(part.rank(one) for part, one in parts))


class Record(Compound):
    """Parts in order: a tuple, or a derived struct that `make` builds of the values."""

    def __init__(self, name: str, parts: Sequence[Type], make: Callable[..., Any] | None, names: Sequence[str] = ()) -> None:
        super().__init__(name, *parts)
        self.parts, self.make, self.names = list(parts), make, list(names)

    def size(self, width: int) -> int:
        return sum(part.size(width) for part in self.parts)

    def split(self, data: bytes, width: int) -> list[tuple[Type, bytes]]:
        ends = [0, *accumulate(part.size(width) for part in self.parts)]
        return [(part, data[start:end]) for part, (start, end) in zip(self.parts, pairwise(ends), strict=True)]

    def build(self, values: list[Any]) -> Any:
        return tuple(values) if self.make is None else self.make(*values)

    def values(self, value: Any) -> Sequence[Any]:
        """Return the values of the parts."""
        return [getattr(value, name) for name in self.names] if self.names else value if self.make is None else ()

    def parts_of(self, value: Any) -> tuple[tuple[int, ...], list[tuple[Type, Any]]]:
        return (), list(zip(self.parts, self.values(value), strict=True))


class Items(Record):
    """[i8; N], [bool; N] and [char; N]: tuples here. Other arrays cannot be encoded by the crate, or it has no such type."""

    def __init__(self, part: Type, count: int) -> None:
        super().__init__(f"[{part.name}; {count}]", [part] * count, None)
        if part.name not in ("i8", "bool", "char"):
            raise IncompatibleType(
                f"{self.name}: the crate cannot encode it (it panics), so no image holds one; it has arrays of u8, i8, bool, char"
            )
        self.part, self.count, self.hashable = part, count, False


class Option(Compound):
    """1 and the value, or 0 and zeros. A value that can be None itself is a tuple of one: Some(None) is `(None,)`."""

    def __init__(self, part: Type) -> None:
        super().__init__(f"Option<{part.name}>", part)
        self.part = part
        self.wraps = isinstance(part, Option) or part == SCALARS["()"]

    def size(self, width: int) -> int:
        return 1 + self.part.size(width)

    def split(self, data: bytes, width: int) -> list[tuple[Type, bytes]]:
        if data[0] > 1 or (not data[0] and any(data)):
            raise Broken(f"an option that begins with {data[0]}" if data[0] > 1 else "an empty option with a value")
        return [(self.part, data[1:])] if data[0] else []

    def build(self, values: list[Any]) -> Any:
        return None if not values else tuple(values) if self.wraps else values[0]

    def inner(self, value: Any) -> Any:
        """Return the value in an option that is not None."""
        return value[0] if self.wraps else value

    def parts_of(self, value: Any) -> tuple[tuple[int, ...], list[tuple[Type, Any]]]:
        return (value is not None,), [] if value is None else [(self.part, self.inner(value))]


class Variants(Compound):
    """A derived enum: the index of the variant, its fields, zeros. `index` finds the variant of a value."""

    def __init__(self, name: str, variants: Sequence[Record], index: Callable[[Any], int]) -> None:
        super().__init__(name, *variants)
        self.variants, self.index = list(variants), index

    def size(self, width: int) -> int:
        return 1 + max((one.size(width) for one in self.variants), default=0)

    def split(self, data: bytes, width: int) -> list[tuple[Type, bytes]]:
        if data[0] >= len(self.variants):
            raise Broken(f"variant {data[0]} of {self.name}, which has {len(self.variants)}")
        variant = self.variants[data[0]]
        stop = 1 + variant.size(width)
        if any(data[stop:]):
            raise Broken(f"bytes behind a variant of {self.name}")
        return [(variant, data[1:stop])]

    def build(self, values: list[Any]) -> Any:
        return values[0]

    def parts_of(self, value: Any) -> tuple[tuple[int, ...], list[tuple[Type, Any]]]:
        index = self.index(value)
        return (index,), [(self.variants[index], value)]


# ---- what lives in boxes ----


class Boxed(Type):
    """A type that lives in boxes only: its length is in its bytes."""

    def decode(self, data: bytes, space: Heap) -> Any:
        raise IncompatibleType(f"{self.name} has no fixed encoding: write SBox[...]")

    def is_fixed(self) -> bool:
        return False

    def least(self, width: int) -> int:
        return 0

    def own_boxed(self, content: bytes, owner: Claims) -> None:
        try:
            self.load(content, owner.space)
        except Broken as error:
            owner.note(error.rule, 0)


class Text(Boxed):
    """String (as str) or Vec<u8> (as bytes): the length in a word, then the bytes."""

    def __init__(self, name: str, *, text: bool) -> None:
        super().__init__(name)
        self.text, self.widthless = text, False

    def least(self, width: int) -> int:
        return width

    def load(self, content: bytes, space: Heap) -> str | bytes:
        start = space.width
        stop = start + int.from_bytes(content[:start], "little")
        if stop > len(content):
            raise Broken(f"a {self.name} of {stop - start} bytes in a box of {len(content)}")
        data = bytes(content[start:stop])
        if not self.text:
            return data
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise Broken(f"a String that is not UTF-8: {error.reason}") from None

    def feed(self, value: Any, into: Hash) -> None:
        if self.text:
            into.octets(value.encode())
            into.word(0xFF)
        else:
            _feed_octets(value, into)


class CandidType(Boxed):
    """A derived `CandidAsDynSizeBytes`: a Candid message of one value. Names of fields are hashes, as in the message."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ordered = self.hashable = False

    def message(self, content: bytes) -> tuple[Any, bytes]:
        """Return the value and its message, without what is stale behind it."""
        try:
            _, values, length = read_message(content)
        except (CandidError, TooMuch, ValueError) as error:
            raise Broken(f"no Candid message: {error}") from None
        if len(values) != 1:
            raise Broken(f"a Candid message of {len(values)} values, not of one")
        return values[0], content[:length]

    def load(self, content: bytes, space: Heap) -> Any:
        return self.message(bytes(content))[0]

    def identity(self, value: Any) -> Hashable:
        return repr(value)


class CandidMessage(CandidType):
    """The same, as the message itself: bytes, which a reader that knows the type decodes."""

    def load(self, content: bytes, space: Heap) -> bytes:
        return self.message(bytes(content))[1]


class Custom(Type):
    r"""A hand-written encoding: `decode` makes a value of bytes. With a `size` it is a fixed encoding, without one it is boxed.

    A boxed one gets the whole content of the box, stale bytes at its end included. `decode` raises `ValueError` for
    bytes that are not a value; that is what tells a wrong type. `rank` returns what to compare values by, if they are keys
    of a tree; the order is not checked without it.

    >>> Custom("Celsius", lambda data: int.from_bytes(data, "big") / 10, size=2).decode(b"\x00\xe6", None)
    23.0
    """

    def __init__(
        self, name: str, decode: Callable[[bytes], Any], *, size: int | None = None, rank: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__(name)
        self._decode, self._size, self._rank = decode, size, rank
        self.ordered, self.hashable = rank is not None, False

    def size(self, width: int) -> int:
        return super().size(width) if self._size is None else self._size

    def is_fixed(self) -> bool:
        return self._size is not None

    def least(self, width: int) -> int:
        return self._size or 0

    def decode(self, data: bytes, space: Heap | None) -> Any:
        try:
            return self._decode(bytes(data))
        except (ValueError, LookupError, ArithmeticError, struct.error) as error:
            raise Broken(f"not a {self.name}: {error}") from error

    def load(self, content: bytes, space: Heap) -> Any:
        return self.decode(content if self._size is None else content[: self._size], space)

    def own_boxed(self, content: bytes, owner: Claims) -> None:
        self.own(content if self._size is None else content[: self._size], owner)

    def rank(self, value: Any) -> Any:
        return value if self._rank is None else self._rank(value)

    def identity(self, value: Any) -> Hashable:
        return repr(value) if self._rank is None else super().identity(value)


class BoxType(Type):
    """SBox<T>: the pointer of a block with the encoding at its start. Equality, order and hash are those of the content."""

    def __init__(self, inner: Type) -> None:
        super().__init__(f"SBox<{inner.name}>", inner)
        self.inner = inner

    def size(self, width: int) -> int:
        return 8

    def decode(self, data: bytes, space: Heap) -> Any:
        return self.inner.load(space.content(int.from_bytes(data, "little")), space)

    def own(self, data: bytes, owner: Claims) -> None:
        content = owner.claim(int.from_bytes(data, "little"), self.inner.least(owner.space.width), exact=self.inner.is_fixed())
        if content is not None:
            self.inner.own_boxed(content, owner)

    def feed(self, value: Any, into: Hash) -> None:
        self.inner.feed(value, into)

    def rank(self, value: Any) -> Any:
        return self.inner.rank(value)

    def identity(self, value: Any) -> Hashable:
        return self.inner.identity(value)


def is_float(tp: Type) -> bool:
    """Return whether Rust has neither `Ord` nor `Hash` for a type since it is a float, or a box, option or tuple of one. O(parts).

    A struct or an enum of the user's may have its own.
    """
    if isinstance(tp, BoxType):
        return is_float(tp.inner)
    if isinstance(tp, Option):
        return is_float(tp.part)
    if isinstance(tp, Record) and tp.make is None:
        return any(map(is_float, tp.parts))
    return tp.name in ("f32", "f64")
