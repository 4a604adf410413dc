# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLR2004 - codes and sizes of the Candid format
"""Reads Candid messages, which describe themselves, so that values can be shown without knowing their type.

Names of fields and variants are hashes in a message. Those that nobody knows are shown as numbers, `_5343647`. Records whose fields are
0, 1, 2... become tuples, `vec nat8` becomes bytes, an option becomes its value or None.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from ...principal import Principal
from ..leb128 import TooLong, signed, unsigned
from ..limits import MOST_DEPTH, MOST_ITEMS, TooMuch, count_items, require_moderate
from .codec import FIXED, FUNC, MAGIC, OPT, RECORD, SERVICE, VARIANT, VEC, CandidError
from .types import PRIMITIVES

_MOST_TYPES: Final = 10_000
_MOST_DIGITS: Final = 1024
"""Bytes of a number: reading one takes the square of their count."""
_SPARE: Final = 1000
"""Values that a message may have beyond its bytes: `null` and records of nothing take none."""

_NAMES: Final[dict[int, str]] = {code: name for name, code in PRIMITIVES.items()}
_NUMBERS: Final[dict[int, struct.Struct]] = {PRIMITIVES[name]: number for name, number in FIXED.items()}
_NULL, _BOOL, _NAT, _INT, _TEXT, _RESERVED, _NAT8, _PRINCIPAL = (
    PRIMITIVES[name] for name in ("null", "bool", "nat", "int", "text", "reserved", "nat8", "principal")
)

NO_NAMES: Final[Mapping[int, str]] = {}


class CandidTooLarge(CandidError, TooMuch):
    """A message that would take more than its size suggests, or is larger than what is shown."""


class _Message:
    """A message and how far it is read."""

    def __init__(self, data: bytes, names: Mapping[int, str] = NO_NAMES) -> None:
        self.data = data
        self.names = names
        self.at = 0
        self.types: list[tuple[int, Any]] = []
        self.left = min(len(data) + _SPARE, MOST_ITEMS)
        """Values that may still come."""

    # ---- bytes ----

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.data):
            raise CandidError(f"ends at byte {len(self.data)}, {size} more are needed at {self.at}")
        self.at += size
        return self.data[self.at - size : self.at]

    def leb(self) -> int:
        return self._number(unsigned)

    def sleb(self) -> int:
        return self._number(signed)

    def _number(self, read: Callable[[bytes, int, int], tuple[int, int]]) -> int:
        try:
            result, self.at = read(self.data, self.at, _MOST_DIGITS)
        except IndexError:
            raise CandidError(f"ends at byte {len(self.data)}, inside a number that begins at {self.at}") from None
        except TooLong as error:
            raise CandidTooLarge(str(error)) from None
        return result

    def spend(self, items: int = 1) -> None:
        self.left -= items
        if self.left < 0:
            raise CandidTooLarge("more types or values than are shown, or than a message of its size has")

    def count(self) -> int:
        found = self.leb()
        if found > len(self.data):
            raise CandidError(f"a count of {found} in {len(self.data)} bytes")
        return found

    # ---- types ----

    def read_table(self) -> None:
        if self.take(4) != MAGIC:
            raise CandidError("does not begin with DIDL")
        count = self.count()
        if count > _MOST_TYPES:
            raise CandidError(f"{count} types")
        self.spend(count)
        for _ in range(count):
            self.types.append(self._definition())

    def _definition(self) -> tuple[int, Any]:
        code = self.sleb()
        if code in (OPT, VEC, 1):
            return code, self.sleb()
        if code in (RECORD, VARIANT):
            return code, [(self.leb(), self.sleb()) for _ in self.each()]
        if code == FUNC:
            return code, [[self.sleb() for _ in self.each()] for _ in range(2)] + [self.take(self.count())]
        if code == SERVICE:
            return code, [(self.take(self.count()), self.sleb()) for _ in self.each()]
        raise CandidError(f"unknown type {code}")

    def each(self) -> range:
        count = self.count()
        self.spend(count)
        return range(count)

    def name(self, reference: int, depth: int = 0) -> str:
        """Return a type in Candid's notation; nested ones are cut."""
        if reference < 0:
            return _NAMES.get(reference, "?")
        if reference >= len(self.types):
            return "?"
        code, parts = self.types[reference]
        word = {OPT: "opt", VEC: "vec", RECORD: "record", VARIANT: "variant", FUNC: "func", SERVICE: "service", 1: "var"}.get(code, "?")
        if depth > 1 or code in (FUNC, SERVICE):
            return word
        if code in (OPT, VEC, 1):
            return f"{word} {self.name(parts, depth + 1)}"
        most = 6
        inner = "; ".join(f"{self.known(number)}{self.name(part, depth + 1)}" for number, part in parts[:most])
        return f"{word} {{ {inner}{'; ...' if len(parts) > most else ''} }}"

    def known(self, number: int) -> str:
        """Return the name of a field before its type, if it is known."""
        name = self.names.get(number)
        return "" if name is None else f"{name} : "

    # ---- values ----

    def value(self, reference: int, depth: int = 0) -> Any:
        if depth > MOST_DEPTH:
            raise CandidError("nested too deep")
        self.spend()
        if reference < 0:
            return self._primitive(reference)
        if reference >= len(self.types):
            raise CandidError(f"type {reference} of {len(self.types)}")
        code, parts = self.types[reference]
        return _COMPOUND[code](self, parts, depth + 1)

    def _primitive(self, code: int) -> Any:
        if code in _NUMBERS:
            return _NUMBERS[code].unpack(self.take(_NUMBERS[code].size))[0]
        if code in (_NULL, _RESERVED):
            return None
        reader = _SIMPLE.get(code)
        if reader is None:
            raise CandidError(f"no value can have type {_NAMES.get(code, code)}")
        return reader(self)

    def read_bool(self) -> bool:
        byte = self.take(1)[0]
        if byte > 1:
            raise CandidError(f"a bool of {byte}")
        return bool(byte)

    def read_text(self) -> str:
        try:
            return self.take(self.count()).decode()
        except UnicodeDecodeError as error:
            raise CandidError(str(error)) from None

    def read_principal(self) -> Any:
        if self.take(1) != b"\1":
            raise CandidError("an opaque reference")
        raw = self.take(self.count())
        if len(raw) > 29:
            raise CandidError(f"a principal of {len(raw)} bytes")
        return Principal(raw)

    def opt(self, part: int, depth: int) -> Any:
        return self.value(part, depth) if self.read_bool() else None

    def vec(self, part: int, depth: int) -> Any:
        size = self.count()
        return self.take(size) if part == _NAT8 else [self.value(part, depth) for _ in range(size)]

    def record(self, fields: list[tuple[int, int]], depth: int) -> Any:
        values = [(number, self.value(part, depth)) for number, part in fields]
        if values and [number for number, _ in values] == list(range(len(values))):
            return tuple(value for _, value in values)
        return {self.label(number): value for number, value in values}

    def variant(self, fields: list[tuple[int, int]], depth: int) -> Any:
        chosen = self.leb()
        if chosen >= len(fields):
            raise CandidError(f"member {chosen} of a variant of {len(fields)}")
        number, part = fields[chosen]
        return {self.label(number): self.value(part, depth)}

    def label(self, number: int) -> str:
        return self.names.get(number) or f"_{number}"

    def func(self, _parts: Any, _depth: int) -> Any:
        if self.take(1) != b"\1":
            raise CandidError("an opaque reference")
        return {"service": self.read_principal(), "method": self.read_text()}

    def service(self, _parts: Any, _depth: int) -> Any:
        return self.read_principal()

    def alias(self, part: int, depth: int) -> Any:
        """Motoko's extension: a mutable variable."""
        return self.value(part, depth)


_SIMPLE: Final[dict[int, Callable[[_Message], Any]]] = {
    _BOOL: _Message.read_bool,
    _NAT: _Message.leb,
    _INT: _Message.sleb,
    _TEXT: _Message.read_text,
    _PRINCIPAL: _Message.read_principal,
}
_COMPOUND: Final[dict[int, Callable[[_Message, Any, int], Any]]] = {
    OPT: _Message.opt,
    VEC: _Message.vec,
    RECORD: _Message.record,
    VARIANT: _Message.variant,
    FUNC: _Message.func,
    SERVICE: _Message.service,
    1: _Message.alias,
}


def read_message(data: bytes, names: Mapping[int, str] = NO_NAMES) -> tuple[list[str], list[Any], int]:
    """Return the types, the values and the length of the message at the start of the bytes. Raises `CandidError`. O(size).

    >>> read_message(bytes.fromhex("4449444c00017b05") + b"more")
    (['nat8'], [5], 8)
    """
    message = _Message(data, names)
    most = message.left
    try:
        message.read_table()
        references = [message.sleb() for _ in message.each()]
        values = [message.value(reference) for reference in references]
        types = [message.name(reference) for reference in references]
    except (RecursionError, KeyError) as error:
        raise CandidError(f"a type that cannot be: {error}") from None
    finally:
        count_items(most - message.left)
    return types, values, message.at


def decode(data: bytes, names: Mapping[int, str] = NO_NAMES) -> Any:
    """Return the value of a message, or a tuple if it has several or none; `names` are those of fields, by their hashes. O(size).

    Raises `CandidError`, also for bytes behind it, and `TooMuch` for more bytes than are guessed at.

    >>> decode(bytes.fromhex("4449444c00017b05"))
    5
    """
    require_moderate(data)
    _, values, length = read_message(data, names)
    if length != len(data):
        raise CandidError(f"{len(data) - length} bytes behind the message")
    return values[0] if len(values) == 1 else tuple(values)
