# SPDX-License-Identifier: Apache-2.0
"""The types of an image as a TOML file, in Rust's spelling (docs/rescue.md#schema).

type   = name | name '<' type, ... '>' | '(' type, ... ')' | '[' type ';' number ']'
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import IncompatibleType, StableError
from .annotations import (
    BYTES,
    SCALARS,
    STRING,
    UNIT,
    Int,
    Nat,
    SBox,
    SBTreeMap,
    SBTreeSet,
    SCertifiedBTreeMap,
    SCertifiedBTreeSet,
    SHashMap,
    SHashSet,
    SLog,
    SVec,
    array_of,
    char,
    enum_of,
    isize,
    tuple_of,
    usize,
)
from .encodings import CandidMessage, Custom, Option, Record, Type

_TOKEN: Final = re.compile(r"\s*([A-Za-z_]\w*|\d+|[<>()\[\],;])")
_GENERIC: Final[dict[str, Any]] = {
    "SBox": SBox,
    "SVec": SVec,
    "SLog": SLog,
    "SHashMap": SHashMap,
    "SHashSet": SHashSet,
    "SBTreeMap": SBTreeMap,
    "SBTreeSet": SBTreeSet,
    "SCertifiedBTreeMap": SCertifiedBTreeMap,
    "SCertifiedBTreeSet": SCertifiedBTreeSet,
}
_NAMED: Final[dict[str, Type]] = {
    **{name: made for name, made in SCALARS.items() if name != "principal"},
    "Principal": SCALARS["principal"],
    "String": STRING,
    "usize": usize,
    "isize": isize,
    "char": char,
    "Nat": Nat,
    "Int": Int,
    "Candid": CandidMessage("Candid"),
    "Raw": Custom("Raw", bytes),
}
_MOST_DEPTH: Final = 32
_FIRST: Final = 0


class SchemaError(StableError, ValueError):
    """The schema cannot be used; the message says where and what to write."""


@dataclass(slots=True)
class Root:
    """One key of the image: its type, and the memory of the new image that takes it (None: the next free one)."""

    type: Type
    memory: int | None = None


@dataclass(slots=True)
class Schema:
    """The pointer width and the roots by key."""

    width: int
    roots: dict[int, Root] = field(default_factory=dict)

    @property
    def types(self) -> dict[int, Type]:
        """Return the types by key, for `open_ism`."""
        return {key: root.type for key, root in self.roots.items()}


def read_schema(path: str | Path) -> Schema:
    """Return the schema in a TOML file. Raises `SchemaError`, which says what is wrong with it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return parse_schema(text, str(path))


def parse_schema(text: str, name: str = "schema") -> Schema:
    r"""Return the schema in a text. Raises `SchemaError`.

    >>> parse_schema('width = 4\n[keys.1]\ntype = "SBTreeMap<u64, SBox<String>>"').types
    {1: SBTreeMap<u64, SBox<String>>}
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SchemaError(f"{name}: not TOML: {error}") from None
    if data.get("width") not in (4, 8):
        raise SchemaError(f"{name}: write width = 4 for an image of a canister, width = 8 for one of a 64-bit host; it is not guessed")
    unknown = sorted(data.keys() - {"width", "types", "keys"})
    if unknown:
        raise SchemaError(f"{name}: {unknown[_FIRST]!r} is not known; a schema has width, [types.NAME] and [keys.NUMBER]")
    names = _Names(_table(data.get("types", {}), name, "types"), name)
    made = Schema(data["width"])
    for key, root in _table(data.get("keys", {}), name, "keys").items():
        made.roots[_number(key, name)] = _root(root, names, f"{name}: keys.{key}")
    if not made.roots:
        raise SchemaError(f'{name}: no keys; write [keys.1] and type = "SBTreeMap<u64, u64>" for each key of store_custom_data')
    return made


def _table(value: Any, name: str, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SchemaError(f"{name}: {where} is not a table")
    return value


def _number(key: str, name: str) -> int:
    if not key.isdecimal():
        raise SchemaError(f"{name}: keys.{key}: a key of store_custom_data is a number")
    return int(key)


def _root(root: Any, names: _Names, where: str) -> Root:
    if not isinstance(root, dict) or not isinstance(root.get("type"), str) or root.keys() - {"type", "memory"}:
        raise SchemaError(f'{where}: write type = "...", and memory = NUMBER if the new image is to have it in a memory of your choice')
    memory = root.get("memory")
    if memory is not None and (not isinstance(memory, int) or not 0 <= memory < 255):  # noqa: PLR2004 - ids of a manager
        raise SchemaError(f"{where}: memory is a number from 0 to 254")
    return Root(names.parse(root["type"], where), memory)


class _Names:
    """The types that a schema defines, made when they are needed."""

    def __init__(self, tables: Mapping[str, Any], name: str) -> None:
        self._tables, self._name = tables, name
        self._made: dict[str, Type] = {}
        self._depth = 0

    def parse(self, text: str, where: str) -> Type:
        """Return the type of a text. Raises `SchemaError`."""
        tokens, at = [], 0
        text = text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise SchemaError(f"{where}: {text!r}: {text[at]!r} at {at} is not part of a type")
            tokens.append(found[1])
            at = found.end()
        try:
            parser = _Parser(tokens, self, where)
            made = parser.type(0)
            parser.end()
        except IncompatibleType as error:
            raise SchemaError(f"{where}: {text!r}: {error}") from None
        return made

    def named(self, name: str, where: str) -> Type:
        """Return a defined struct or enum."""
        if name not in self._made:
            if name not in self._tables:
                raise SchemaError(f"{where}: {name} is not known; define it as [types.{name}] with fields or variants")
            if self._depth > _MOST_DEPTH:
                raise SchemaError(f"{where}: {name} contains itself")
            self._depth += 1
            self._made[name] = self._define(name, _table(self._tables[name], self._name, f"types.{name}"))
            self._depth -= 1
        return self._made[name]

    def _define(self, name: str, table: dict[str, Any]) -> Type:
        where = f"{self._name}: types.{name}"
        if table.keys() == {"fields"}:
            return self._record(name, table["fields"], where)
        if table.keys() == {"variants"} and isinstance(table["variants"], dict):
            variants = [self._record(variant, parts, f"{where}.{variant}") for variant, parts in table["variants"].items()]
            return enum_of(name, variants, [variant.make for variant in variants])
        raise SchemaError(f'{where}: write fields = {{ a = "u8" }} for a struct, variants = {{ A = [], B = ["u64"] }} for an enum')

    def _record(self, name: str, parts: Any, where: str) -> Record:
        if isinstance(parts, list):
            parts = {f"value{i}": part for i, part in enumerate(parts)}
        if not isinstance(parts, dict) or not all(isinstance(part, str) for part in parts.values()):
            raise SchemaError(f'{where}: the fields are a table of types in quotes, or a list of types, as in ["u64"]')
        try:
            cls = make_dataclass(name, list(parts), frozen=True)
        except (TypeError, ValueError) as error:
            raise SchemaError(f"{where}: {error}") from None
        types = [self.parse(part, f"{where}.{own}") for own, part in parts.items()]
        for part in types:
            part.size(4)
        return Record(name, types, cls, list(parts))


class _Parser:
    """One text of a type."""

    def __init__(self, tokens: list[str], names: _Names, where: str) -> None:
        self._tokens, self._names, self._where = tokens, names, where
        self._at = 0

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1] if self._at <= len(self._tokens) else ""

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _fail(self, wanted: str) -> SchemaError:
        return SchemaError(f"{self._where}: {' '.join(self._tokens)!r}: {wanted} is missing, or something else is in its place")

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise self._fail(repr(token))

    def end(self) -> None:
        """Raise if anything is left."""
        if self._peek():
            raise self._fail("an end")

    def _list(self, closing: str, depth: int) -> Iterator[Type]:
        while self._peek() != closing:
            yield self.type(depth)
            if self._peek() != closing:
                self._expect(",")
        self._expect(closing)

    def type(self, depth: int) -> Type:
        """Return the next type."""
        if depth > _MOST_DEPTH:
            raise SchemaError(f"{self._where}: more than {_MOST_DEPTH} types in each other")
        first = self._next()
        if first == "(":
            parts = list(self._list(")", depth + 1))
            return tuple_of(parts) if parts else UNIT
        if first == "[":
            return self._array(depth)
        if self._peek() == "<":
            self._expect("<")
            return self._generic(first, list(self._list(">", depth + 1)))
        if not first or not first[0].isalpha():
            raise self._fail("a type")
        return _NAMED.get(first) or self._names.named(first, self._where)

    def _array(self, depth: int) -> Type:
        part = self.type(depth + 1)
        self._expect(";")
        count = self._next()
        if not count.isdecimal():
            raise self._fail("a number")
        self._expect("]")
        return array_of(part, int(count))

    def _generic(self, name: str, args: list[Type]) -> Type:
        if name == "Vec" and [arg.name for arg in args] == ["u8"]:
            return BYTES
        if name == "Option" and len(args) == 1:
            args[0].size(4)
            return Option(args[0])
        if name not in _GENERIC:
            raise SchemaError(f"{self._where}: {name}<...> is not known; the crate has {', '.join(_GENERIC)}, Option and Vec<u8>")
        made: Type = _GENERIC[name][tuple(args)]
        return made
