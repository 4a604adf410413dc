# SPDX-License-Identifier: Apache-2.0
"""The types of an image as a TOML file, in Rust's spelling (docs/rescue.md#schema).

type   = name | name '<' type, ... '>' | '(' type, ... ')' | '[' type ';' number ']'
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import IncompatibleType, StableError
from ..inspect.remote.place import place_of
from ..inspect.schema import LARGEST_ID, read_text
from ..inspect.source import Unreadable
from ..storable.parse import tree_of
from . import annotations as spelled
from .annotations import BYTES, STRING, enum_of, resolve, tuple_of
from .encodings import SCALARS, CandidMessage, Custom, Option, Record, Type, array_of

_ARRAY: Final = re.compile(r"\[([^\[\];]*);([^\[\];]*)\]")
_KEY: Final = re.compile("0|[1-9][0-9]{0,19}")
_UNIT: Final = re.compile(r"\(\s*\)")
_CONTAINERS: Final = (
    "SBox",
    "SVec",
    "SLog",
    "SHashMap",
    "SHashSet",
    "SBTreeMap",
    "SBTreeSet",
    "SCertifiedBTreeMap",
    "SCertifiedBTreeSet",
)
_NAMED: Final[dict[str, Type]] = {
    **SCALARS,
    "unit": SCALARS["()"],
    "String": STRING,
    "Candid": CandidMessage("Candid"),
    "Raw": Custom("Raw", bytes),
}
_MOST_DEPTH: Final = 32
_SQUARE: Final = str.maketrans("[]", "<>")


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
        text = read_text(place_of(path))
    except Unreadable as error:
        raise SchemaError(str(error)) from None
    return parse_schema(text, str(path))


def parse_schema(text: str, name: str = "schema") -> Schema:
    r"""Return the schema in a text. Raises `SchemaError`.

    >>> parse_schema('width = 4\n[keys.1]\ntype = "SBTreeMap<u64, SBox<String>>"').types
    {1: SBTreeMap<u64, SBox<String>>}
    """
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{name}: not TOML: {error}") from None
    if type(data.get("width")) is not int or data["width"] not in (4, 8):
        raise SchemaError(f"{name}: write width = 4 for an image of a canister, width = 8 for one of a 64-bit host; it is not guessed")
    unknown = sorted(data.keys() - {"width", "types", "keys"})
    if unknown:
        raise SchemaError(f"{name}: {unknown[0]!r} is not known; a schema has width, [types.NAME] and [keys.NUMBER]")
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
    if not _KEY.fullmatch(key):  # 01 would be 1 a second time
        raise SchemaError(f"{name}: keys.{key[:40]}: a key of store_custom_data is a number")
    return int(key)


def _root(root: Any, names: _Names, where: str) -> Root:
    if not isinstance(root, dict) or not isinstance(root.get("type"), str) or root.keys() - {"type", "memory"}:
        raise SchemaError(f'{where}: write type = "...", and memory = NUMBER if the new image is to have it in a memory of your choice')
    memory = root.get("memory")
    if memory is not None and (type(memory) is not int or not 0 <= memory <= LARGEST_ID):
        raise SchemaError(f"{where}: memory is a number from 0 to {LARGEST_ID}")
    return Root(names.parse(root["type"], where), memory)


class _Names:
    """The types that a schema defines, made when they are needed."""

    def __init__(self, tables: Mapping[str, Any], name: str) -> None:
        self._tables, self._name = tables, name
        self._made: dict[str, Type] = {}
        self._depth = 0

    def parse(self, text: str, where: str) -> Type:
        """Return the type of a text. Raises `SchemaError`."""
        try:
            return self._type(tree_of(_plain(text)), where, 0)
        except IncompatibleType as error:
            raise SchemaError(f"{where}: {text!r}: {error}") from None
        except SchemaError:
            raise
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            said = str(getattr(error, "msg", None) or error).translate(_SQUARE)
            raise SchemaError(f"{where}: {text[:100]!r} is not a type: {said}; write for example SBTreeMap<u64, SBox<String>>") from None

    def _type(self, node: ast.expr, where: str, depth: int) -> Type:
        if depth > _MOST_DEPTH:
            raise SchemaError(f"{where}: more than {_MOST_DEPTH} types in each other")
        match node:
            case ast.Name(id=name):
                return _NAMED.get(name) or self.named(name, where)
            case ast.Subscript(value=ast.Name(id="array"), slice=ast.Tuple(elts=[part, ast.Constant(value=int(count))])):
                return array_of(self._type(part, where, depth + 1), count)
            case ast.Subscript(value=ast.Name(id=name), slice=inner):
                parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                return _generic(name, [self._type(part, where, depth + 1) for part in parts], where)
        raise ValueError(f"{ast.unparse(node)!r} in it")

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


def _plain(text: str) -> str:
    """Return the text of a type with Rust's tuples and arrays as `tuple<...>` and `array<T, N>`."""
    return _ARRAY.sub(r"array<\1,\2>", _UNIT.sub("unit", text)).replace("(", "tuple<").replace(")", ">")


def _generic(name: str, args: list[Type], where: str) -> Type:
    """Return the type of `name<args>`. Raises `SchemaError`."""
    if name == "tuple":
        return tuple_of(args)
    if name == "Vec" and args == [SCALARS["u8"]]:
        return BYTES
    if name == "Option" and len(args) == 1:
        args[0].size(4)
        return Option(args[0])
    if name not in _CONTAINERS:
        raise SchemaError(f"{where}: {name}<...> is not known; the crate has {', '.join(_CONTAINERS)}, Option and Vec<u8>")
    return resolve(getattr(spelled, name)[tuple(args)])
