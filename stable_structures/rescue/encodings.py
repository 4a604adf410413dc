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
from typing import Any, Final, Protocol

from ..encodings.candid.codec import CandidError
from ..encodings.candid.untyped import read_message
from ..encodings.limits import TooMuch
from ..errors import IncompatibleType
from ..principal import Principal
from .blocks import Blocks
from .findings import Broken, Fault
from .zwohash import Hash

_SURROGATES: Final = range(0xD800, 0xE000)
_MOST_CHAR: Final = 0x110000
_PRINCIPAL: Final = 29
_BIG: Final = 32


class Space(Protocol):
    """What values that hold pointers are read from."""

    width: int
    blocks: Blocks

    def content(self, pointer: int) -> bytes:
        """Return the content of the allocated block at an address. Raises `Broken`."""
        ...


class Owner(Protocol):
    """What collects the blocks that a structure owns, and what is wrong with it."""

    space: Space

    def claim(self, pointer: int, need: int, *, exact: bool = True, fault: Fault | None = None) -> bytes | None:
        """Return the content of a block that is owned from now on, or None if it cannot be; that is noted."""
        ...

    def note(self, text: str, address: int, fault: Fault | None = None, *, ownership: bool = True) -> None:
        """Note what is wrong."""
        ...


class Type:
    """One type of the crate. Types of the same name are the same type."""

    ordered = True
    """Whether values have Rust's `Ord`, as far as we know it."""
    hashable = True
    """Whether the crate's hash of values is known."""

    def __init__(self, name: str) -> None:
        self.name = name

    def size(self, width: int) -> int:
        """Return bytes of the fixed encoding. Raises `IncompatibleType` if there is none."""
        raise IncompatibleType(f"{self.name} has no fixed size of {width}-byte words: the crate stores it in a box, so write SBox[...]")

    def decode(self, data: bytes, space: Space) -> Any:
        """Return the value of a fixed encoding. Raises `Broken`."""
        raise NotImplementedError

    def load(self, content: bytes, space: Space) -> Any:
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

    def own(self, data: bytes, owner: Owner) -> None:
        """Claim the blocks of a value, and note what is wrong with it."""
        try:
            self.decode(data, owner.space)
        except Broken as error:
            owner.note(error.rule, error.address or 0, error.fault)

    def own_boxed(self, content: bytes, owner: Owner) -> None:
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


class Number(Type):
    """An integer: little-endian, two's complement; size 0 is that of a pointer (usize, isize)."""

    def __init__(self, name: str, size: int, *, signed: bool) -> None:
        super().__init__(name)
        self._size, self.signed = size, signed

    def size(self, width: int) -> int:
        return self._size or width

    def decode(self, data: bytes, space: Space) -> int:
        return int.from_bytes(data, "little", signed=self.signed)

    def feed(self, value: int, into: Hash) -> None:
        into.number(value, self._size or into.width)


class Float(Type):
    """f32 or f64."""

    ordered = hashable = False

    def __init__(self, name: str, layout: str) -> None:
        super().__init__(name)
        self._layout = struct.Struct(layout)

    def size(self, width: int) -> int:
        return self._layout.size

    def decode(self, data: bytes, space: Space) -> float:
        return float(self._layout.unpack(data)[0])

    def identity(self, value: float) -> Hashable:
        return self._layout.pack(value)


class Bool(Type):
    """One byte, 0 or 1."""

    def size(self, width: int) -> int:
        return 1

    def decode(self, data: bytes, space: Space) -> bool:
        if data[0] > 1:
            raise Broken(f"a bool of {data[0]}")
        return bool(data[0])

    def feed(self, value: bool, into: Hash) -> None:
        into.word(value)


class Char(Type):
    """A code point in 4 bytes."""

    def size(self, width: int) -> int:
        return 4

    def decode(self, data: bytes, space: Space) -> str:
        code = int.from_bytes(data, "little")
        if code >= _MOST_CHAR or code in _SURROGATES:
            raise Broken(f"a char of {code:#x}")
        return chr(code)

    def feed(self, value: str, into: Hash) -> None:
        into.word(ord(value))


class Unit(Type):
    """No bytes."""

    def size(self, width: int) -> int:
        return 0

    def decode(self, data: bytes, space: Space) -> None:
        return None

    def feed(self, value: None, into: Hash) -> None:
        return

    def rank(self, value: None) -> int:
        return 0


class Octets(Type):
    """[u8; N]."""

    def __init__(self, count: int) -> None:
        super().__init__(f"[u8; {count}]")
        self._count = count

    def size(self, width: int) -> int:
        return self._count

    def decode(self, data: bytes, space: Space) -> bytes:
        return bytes(data)

    def feed(self, value: bytes, into: Hash) -> None:
        into.word(len(value))
        into.octets(value)


class Items(Type):
    """[i8; N], [bool; N] and [char; N]: tuples here. Other arrays cannot be encoded by the crate, or it has no such type."""

    hashable = False

    def __init__(self, part: Type, count: int) -> None:
        super().__init__(f"[{part.name}; {count}]")
        if part.name not in ("i8", "bool", "char"):
            raise IncompatibleType(
                f"{self.name}: the crate cannot encode it (it panics), so no image holds one; it has arrays of u8, i8, bool, char"
            )
        self.part, self.count = part, count

    def size(self, width: int) -> int:
        return self.count * self.part.size(width)

    def decode(self, data: bytes, space: Space) -> tuple[Any, ...]:
        size = self.part.size(space.width)
        return tuple(self.part.decode(data[at : at + size], space) for at in range(0, len(data), size))


class Option(Type):
    """1 and the value, or 0 and zeros. A value that can be None itself is a tuple of one: Some(None) is `(None,)`."""

    def __init__(self, part: Type) -> None:
        super().__init__(f"Option<{part.name}>")
        self.part = part
        self.ordered, self.hashable = part.ordered, part.hashable
        self.wraps = isinstance(part, (Option, Unit))

    def size(self, width: int) -> int:
        return 1 + self.part.size(width)

    def _is_some(self, data: bytes) -> bool:
        if data[0] > 1 or (not data[0] and any(data)):
            raise Broken(f"an option that begins with {data[0]}" if data[0] > 1 else "an empty option with a value")
        return bool(data[0])

    def decode(self, data: bytes, space: Space) -> Any:
        if not self._is_some(data):
            return None
        value = self.part.decode(data[1:], space)
        return (value,) if self.wraps else value

    def inner(self, value: Any) -> Any:
        """Return the value in an option that is not None."""
        return value[0] if self.wraps else value

    def own(self, data: bytes, owner: Owner) -> None:
        try:
            if self._is_some(data):
                self.part.own(data[1:], owner)
        except Broken as error:
            owner.note(error.rule, 0)

    def feed(self, value: Any, into: Hash) -> None:
        into.word(value is not None)
        if value is not None:
            self.part.feed(self.inner(value), into)

    def rank(self, value: Any) -> Any:
        return (0,) if value is None else (1, self.part.rank(self.inner(value)))


class Record(Type):
    """Parts in order, without padding: a tuple, or a derived struct that `make` builds of the values."""

    def __init__(self, name: str, parts: Sequence[Type], make: Callable[..., Any] | None, names: Sequence[str] = ()) -> None:
        super().__init__(name)
        self.parts, self.make, self.names = list(parts), make, list(names)
        self.ordered = all(part.ordered for part in parts)
        self.hashable = all(part.hashable for part in parts)

    def size(self, width: int) -> int:
        return sum(part.size(width) for part in self.parts)

    def split(self, data: bytes, width: int) -> list[tuple[Type, bytes]]:
        """Return each part with its bytes."""
        found, at = [], 0
        for part in self.parts:
            stop = at + part.size(width)
            found.append((part, data[at:stop]))
            at = stop
        return found

    def decode(self, data: bytes, space: Space) -> Any:
        values = tuple(part.decode(piece, space) for part, piece in self.split(data, space.width))
        return values if self.make is None else self.make(*values)

    def own(self, data: bytes, owner: Owner) -> None:
        for part, piece in self.split(data, owner.space.width):
            part.own(piece, owner)

    def values(self, value: Any) -> Sequence[Any]:
        """Return the values of the parts."""
        return [getattr(value, name) for name in self.names] if self.names else value if self.make is None else ()

    def feed(self, value: Any, into: Hash) -> None:
        for part, one in zip(self.parts, self.values(value), strict=True):
            part.feed(one, into)

    def rank(self, value: Any) -> Any:
        return tuple(part.rank(one) for part, one in zip(self.parts, self.values(value), strict=True))


class Variants(Type):
    """A derived enum: the index of the variant, its fields, zeros. `index` finds the variant of a value."""

    def __init__(self, name: str, variants: Sequence[Record], index: Callable[[Any], int]) -> None:
        super().__init__(name)
        self.variants, self.index = list(variants), index
        self.ordered = all(one.ordered for one in variants)
        self.hashable = all(one.hashable for one in variants)

    def size(self, width: int) -> int:
        return 1 + max((one.size(width) for one in self.variants), default=0)

    def _variant(self, data: bytes, width: int) -> tuple[Record, bytes]:
        if data[0] >= len(self.variants):
            raise Broken(f"variant {data[0]} of {self.name}, which has {len(self.variants)}")
        variant = self.variants[data[0]]
        stop = 1 + variant.size(width)
        if any(data[stop:]):
            raise Broken(f"bytes behind a variant of {self.name}")
        return variant, data[1:stop]

    def decode(self, data: bytes, space: Space) -> Any:
        variant, piece = self._variant(data, space.width)
        return variant.decode(piece, space)

    def own(self, data: bytes, owner: Owner) -> None:
        try:
            variant, piece = self._variant(data, owner.space.width)
        except Broken as error:
            owner.note(error.rule, 0)
        else:
            variant.own(piece, owner)

    def feed(self, value: Any, into: Hash) -> None:
        index = self.index(value)
        into.word(index)
        self.variants[index].feed(value, into)

    def rank(self, value: Any) -> Any:
        index = self.index(value)
        return index, self.variants[index].rank(value)


class PrincipalType(Type):
    """Length, bytes, zeros: 30 bytes. Ordered by length first, as Rust's derived order is."""

    def size(self, width: int) -> int:
        return 1 + _PRINCIPAL

    def decode(self, data: bytes, space: Space) -> Principal:
        if data[0] > _PRINCIPAL or any(data[1 + data[0] :]):
            raise Broken(f"a principal of {data[0]} bytes" if data[0] > _PRINCIPAL else "bytes behind a principal")
        return Principal(bytes(data[1 : 1 + data[0]]))

    def feed(self, value: Principal, into: Hash) -> None:
        raw = bytes(value)
        into.word(len(raw))
        into.word(_PRINCIPAL)
        into.octets(raw.ljust(_PRINCIPAL, b"\0"))

    def rank(self, value: Principal) -> Any:
        raw = bytes(value)
        return len(raw), raw


def _feed_magnitude(value: int, into: Hash) -> None:
    words = -(-value.bit_length() // (8 * into.width))
    into.word(words)
    into.octets(value.to_bytes(words * into.width, "little"))


class NatType(Type):
    """A magnitude in 32 bytes."""

    def size(self, width: int) -> int:
        return _BIG

    def decode(self, data: bytes, space: Space) -> int:
        return int.from_bytes(data, "little")

    def feed(self, value: int, into: Hash) -> None:
        _feed_magnitude(value, into)


class IntType(Type):
    """Sign (0 plus, 1 minus, 2 zero), magnitude in 31 bytes."""

    def size(self, width: int) -> int:
        return _BIG

    def decode(self, data: bytes, space: Space) -> int:
        sign, magnitude = data[0], int.from_bytes(data[1:], "little")
        if sign > 2 or (sign == 2) != (magnitude == 0):  # noqa: PLR2004 - the sign of zero
            raise Broken(f"an int of sign {sign} and magnitude {magnitude}")
        return -magnitude if sign == 1 else magnitude

    def feed(self, value: int, into: Hash) -> None:
        into.word(0 if value < 0 else 1 + (value > 0))
        if value:
            _feed_magnitude(abs(value), into)


class Boxed(Type):
    """A type that lives in boxes only: its length is in its bytes."""

    def decode(self, data: bytes, space: Space) -> Any:
        raise IncompatibleType(f"{self.name} has no fixed encoding: write SBox[...]")

    def is_fixed(self) -> bool:
        return False

    def least(self, width: int) -> int:
        return 0

    def own_boxed(self, content: bytes, owner: Owner) -> None:
        try:
            self.load(content, owner.space)
        except Broken as error:
            owner.note(error.rule, 0)


class Text(Boxed):
    """String (as str) or Vec<u8> (as bytes): the length in a word, then the bytes."""

    def __init__(self, name: str, *, text: bool) -> None:
        super().__init__(name)
        self.text = text

    def least(self, width: int) -> int:
        return width

    def load(self, content: bytes, space: Space) -> str | bytes:
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
            into.word(len(value))
            into.octets(value)


class CandidType(Boxed):
    """A derived `CandidAsDynSizeBytes`: a Candid message of one value. Names of fields are hashes, as in the message."""

    ordered = hashable = False

    def message(self, content: bytes) -> tuple[Any, bytes]:
        """Return the value and its message, without what is stale behind it."""
        try:
            _, values, length = read_message(content)
        except (CandidError, TooMuch, ValueError) as error:
            raise Broken(f"no Candid message: {error}") from None
        if len(values) != 1:
            raise Broken(f"a Candid message of {len(values)} values, not of one")
        return values[0], content[:length]

    def load(self, content: bytes, space: Space) -> Any:
        return self.message(bytes(content))[0]

    def identity(self, value: Any) -> Hashable:
        return repr(value)


class CandidMessage(CandidType):
    """The same, as the message itself: bytes, which a reader that knows the type decodes."""

    def load(self, content: bytes, space: Space) -> bytes:
        return self.message(bytes(content))[1]


class Custom(Type):
    r"""A hand-written encoding: `decode` makes a value of bytes. With a `size` it is a fixed encoding, without one it is boxed.

    A boxed one gets the whole content of the box, stale bytes at its end included. `decode` raises `ValueError` for
    bytes that are not a value; that is what tells a wrong type. `rank` returns what to compare values by, if they are keys
    of a tree; the order is not checked without it.

    >>> Custom("Celsius", lambda data: int.from_bytes(data, "big") / 10, size=2).decode(b"\x00\xe6", None)
    23.0
    """

    hashable = False

    def __init__(
        self, name: str, decode: Callable[[bytes], Any], *, size: int | None = None, rank: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__(name)
        self._decode, self._size, self._rank = decode, size, rank
        self.ordered = rank is not None

    def size(self, width: int) -> int:
        return super().size(width) if self._size is None else self._size

    def is_fixed(self) -> bool:
        return self._size is not None

    def least(self, width: int) -> int:
        return self._size or 0

    def decode(self, data: bytes, space: Space | None) -> Any:
        try:
            return self._decode(bytes(data))
        except (ValueError, LookupError, ArithmeticError, struct.error) as error:
            raise Broken(f"not a {self.name}: {error}") from error

    def load(self, content: bytes, space: Space) -> Any:
        return self.decode(content if self._size is None else content[: self._size], space)

    def own_boxed(self, content: bytes, owner: Owner) -> None:
        self.own(content if self._size is None else content[: self._size], owner)

    def rank(self, value: Any) -> Any:
        return value if self._rank is None else self._rank(value)

    def identity(self, value: Any) -> Hashable:
        return repr(value) if self._rank is None else super().identity(value)


class BoxType(Type):
    """SBox<T>: the pointer of a block with the encoding at its start. Equality, order and hash are those of the content."""

    def __init__(self, inner: Type) -> None:
        super().__init__(f"SBox<{inner.name}>")
        self.inner = inner
        self.ordered, self.hashable = inner.ordered, inner.hashable

    def size(self, width: int) -> int:
        return 8

    def decode(self, data: bytes, space: Space) -> Any:
        return self.inner.load(space.content(int.from_bytes(data, "little")), space)

    def own(self, data: bytes, owner: Owner) -> None:
        content = owner.claim(int.from_bytes(data, "little"), self.inner.least(owner.space.width), exact=self.inner.is_fixed())
        if content is not None:
            self.inner.own_boxed(content, owner)

    def feed(self, value: Any, into: Hash) -> None:
        self.inner.feed(value, into)

    def rank(self, value: Any) -> Any:
        return self.inner.rank(value)

    def identity(self, value: Any) -> Hashable:
        return self.inner.identity(value)
