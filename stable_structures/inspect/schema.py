# SPDX-License-Identifier: Apache-2.0
"""memories.toml: what the memories of an image hold. It lies beside it, or is given (docs/inspect.md#the-schema).

did = "service.did"          names of Candid's fields and types that candid<...> may name; beside the schema
words = "words.txt"          more names, one after the other

[memories.0]                 by id; [image] instead if the image is one bare structure
name = "users"
structure = "map"            map, set, vec, heap, log or cell; or as the crate says it, BTreeMap, or Python, StableBTreeMap
key = "principal"            of a map or set
value = "candid<User>"       of a map, or of the elements
data = 2                     of a log: the memory with its data, if it is not the one that is found
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..encodings.candid.types import Type, parse_interface
from ..errors import IncompatibleType, SourceError
from ..storable import Codec, parse_type
from ..storable.scalars import UNIT
from .formats.layout import KINDS, kind_called
from .remote.names import is_remote
from .remote.place import Place, place_of, read_beside
from .source import Unreadable

SCHEMA: Final = "memories.toml"
LARGEST_ID: Final = 254
_LONG: Final = 10
_LARGEST: Final = 4 << 20
_TOP: Final = ("did", "words", "image", "memories")
_KEYS: Final = ("name", "structure", "key", "value", "data")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


@dataclass(frozen=True, slots=True)
class MemoryType:
    """What a schema says of one memory; None is what it does not say."""

    id: int | None
    """None: the whole image."""
    name: str | None = None
    structure: str | None = None
    key: Codec[Any] | None = None
    value: Codec[Any] | None = None
    data: int | None = None

    @property
    def types(self) -> tuple[Codec[Any] | None, Codec[Any] | None]:
        """Return the types of keys and of values or elements: a set has the empty value that the crate stores."""
        return self.key, UNIT if self.structure == "set" else self.value

    @property
    def label(self) -> str:
        """Return its name, or its id."""
        return self.name or ("image" if self.id is None else f"memory {self.id}")


@dataclass(frozen=True, slots=True)
class Schema:
    """The types and names of an image's memories."""

    memories: Mapping[int | None, MemoryType] = field(default_factory=dict)
    did: Place | None = None
    words: Place | None = None
    path: Place | None = None
    """The file that it was read from."""
    given: bool = False
    """Whether somebody named that file; else it was found beside the image."""

    def id_of(self, name: str) -> int | None:
        """Return the id of the memory with this name; raise `KeyError` if there is none."""
        for memory in self.memories.values():
            if memory.name == name:
                return memory.id
        raise KeyError(name)

    def names(self) -> list[str]:
        """Return the names that memories have."""
        return [memory.name for memory in self.memories.values() if memory.name is not None]

    def of(self, memory: int | None) -> MemoryType:
        """Return what is said of a memory."""
        return self.memories.get(memory) or MemoryType(memory)


NOTHING_GIVEN: Final = MemoryType(None)
NO_SCHEMA: Final = Schema()


_BLOB: Final = re.compile(r"\bblob\b(?!\s*[<(])", re.IGNORECASE)


def type_of(text: str, named: Mapping[str, Type] | None = None) -> Codec[Any]:
    """Return the codec of a type in the crate's, Python's or Candid's spelling. O(length). Raises `IncompatibleType`.

    >>> type_of("blob"), type_of("blob<29>")
    (codec(bytes), Blob(29))
    """
    return parse_type(_BLOB.sub("vec nat8", text), named)


def find_schema(path: Place) -> Place | None:
    """Return the schema that belongs to an image, or to a folder: memories.toml in it or beside it."""
    beside = (path if path.is_dir() else path.parent) / SCHEMA
    is_there = beside.is_file() if isinstance(beside, Path) else beside.is_offered()
    return beside if is_there else None


def read_schema(path: str | Place, *, given: bool = True, did: str | Place | None = None) -> Schema:
    """Return the schema in a file; `did` takes the place of the one that it names. O(size).

    Raises `Unreadable`, with the file, the key and what to do, for a file that is not one.
    """
    import tomllib  # noqa: PLC0415 - few images have a schema, and all start quicker without

    path = place_of(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise Unreadable(f"{path}: {path.stat().st_size:,} bytes are too many for a schema")
        document = tomllib.loads(read_beside(path).decode())
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path}: not TOML: {error}; mend it, or move it away") from None
    except OSError as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from None
    return _Reader(path, place_of(did) if did is not None else None).schema(document, given=given)


def interface_types(did: Place | None) -> dict[str, Type]:
    """Return the types that an interface defines by name. Raises `Unreadable` if there is no such file or it is not Candid."""
    if did is None:
        return {}
    try:
        return parse_interface(read_text(did)).types
    except SourceError as error:
        raise Unreadable(f"{did}: {error}") from None


def read_text(path: Place) -> str:
    """Return the text of a file. Raises `Unreadable`."""
    try:
        return read_beside(path).decode()
    except Unreadable:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path}: cannot be read as text: {getattr(error, 'strerror', None) or error}") from None


class _Reader:
    """Reads a schema, and says where it is wrong."""

    def __init__(self, path: Place, did: Place | None) -> None:
        self.path, self.did = path, did
        self._types: dict[str, Type] | None = None

    def wrong(self, key: str, what: str) -> Unreadable:
        """Return the error for a key."""
        return Unreadable(f"{self.path}: {key}: {what}")

    def schema(self, document: dict[str, Any], *, given: bool) -> Schema:
        self._require_known(document, _TOP, "")
        own = self._file(document, "did")
        self.did = self.did or own
        words = self._file(document, "words")
        memories = [self._memory(None, "image", document["image"])] if "image" in document else []
        tables = document.get("memories", {})
        if not isinstance(tables, dict):
            raise self.wrong("memories", "write one table for each memory, as in [memories.0]")
        memories += [self._memory(self._id(text), f"memories.{text}", table) for text, table in tables.items()]
        self._require_different([memory.name for memory in memories if memory.name is not None])
        return Schema({memory.id: memory for memory in memories}, self.did, words, self.path, given)

    def _require_known(self, table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
        import difflib  # noqa: PLC0415 - as above

        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                meant = f"do you mean {near[0]}? " if near else ""
                raise self.wrong(f"{where}{key}", f"unknown; {meant}write one of {', '.join(known)}")

    def _require_different(self, names: list[str]) -> None:
        for name in names:
            if names.count(name) > 1:
                raise self.wrong("name", f"{name!r} is given to {names.count(name)} memories; give each its own")

    def _file(self, document: dict[str, Any], key: str) -> Place | None:
        value = document.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.wrong(key, f"expected the name of a file, got {value!r}")
        return place_of(value) if is_remote(value) else self.path.parent / value

    def _id(self, text: str) -> int:
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < _LONG else LARGEST_ID + 1
        if number > LARGEST_ID or str(number) != text:  # 00 would be 0 a second time
            raise self.wrong(f"memories.{text}", f"expected the id of a memory, 0 to {LARGEST_ID}; an image of one structure has [image]")
        return number

    def _memory(self, memory: int | None, where: str, table: Any) -> MemoryType:
        if not isinstance(table, dict):
            raise self.wrong(where, f"expected a table, as in [{where}], got {table!r}")
        self._require_known(table, _KEYS, f"{where}.")
        for key in ("name", "structure", "key", "value"):
            if not isinstance(table.get(key, ""), str):
                raise self.wrong(f"{where}.{key}", f"expected a text in quotes, got {table[key]!r}")
        structure, name, data = table.get("structure"), table.get("name"), table.get("data")
        structure = None if structure is None else kind_called(structure)
        if structure is not None and structure not in KINDS:
            raise self.wrong(f"{where}.structure", f"{structure!r} is not a structure; write one of {', '.join(KINDS)}")
        if name is not None and not _NAME.fullmatch(name):
            raise self.wrong(f"{where}.name", f"{name!r} cannot be a name; write 1 to 200 printable letters")
        if data is not None and (not isinstance(data, int) or isinstance(data, bool) or not 0 <= data <= LARGEST_ID):
            raise self.wrong(f"{where}.data", f"expected the id of the memory with the log's data, 0 to {LARGEST_ID}, got {data!r}")
        types = [self._type(f"{where}.{side}", table.get(side)) for side in ("key", "value")]
        self._require_sides(where, structure, types[0], types[1])
        return MemoryType(memory, name, structure, types[0], types[1], data)

    def _require_sides(self, where: str, structure: str | None, key: Codec[Any] | None, value: Codec[Any] | None) -> None:
        if key is not None and structure in ("vec", "heap", "log", "cell"):
            raise self.wrong(f"{where}.key", f"a {structure} has no keys; the type of its elements is `value`")
        if structure == "set" and value is not None:
            raise self.wrong(f"{where}.value", "a set has no values; the type of its elements is `key`")
        if key is not None and structure in ("map", "set") and key.key_problem:
            raise self.wrong(f"{where}.key", f"{key.name} cannot be a key: {key.key_problem}")

    def _type(self, where: str, text: str | None) -> Codec[Any] | None:
        if text is None:
            return None
        try:
            if self._types is None and "candid" in text:
                self._types = interface_types(self.did)
            return type_of(text, self._types or None)
        except IncompatibleType as error:
            raise self.wrong(where, str(error)) from None


# ---- writing ----


@dataclass(frozen=True, slots=True)
class Row:
    """What is written of one memory: the types as text, which of them are guesses, and comments."""

    memory: MemoryType
    key: str | None = None
    value: str | None = None
    guesses: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()


def schema_text(rows: Iterable[Row], did: str | None = None) -> str:
    """Return the text of a schema. O(size)."""
    lines = [
        "# What the memories of this image hold. It is read by stable-structures (every verb) and by stable_structures.open_image",
        "# where it lies beside the image as memories.toml, or is given with --schema. Types that are marked as guesses: correct them.",
        "",
    ]
    if did is not None:
        lines += [f"did = {_toml(did)}", ""]
    for row in rows:
        lines += [*(f"# {_one_line(text)}" for text in row.comments)]
        lines += ["[image]" if row.memory.id is None else f"[memories.{row.memory.id}]"]
        lines += [f"{name} = {_toml(text)}{'  # a guess' if name in row.guesses else ''}" for name, text in _said(row)]
        lines += [""]
    return "\n".join(lines)


def _said(row: Row) -> Iterable[tuple[str, Any]]:
    memory = row.memory
    fields = {"name": memory.name, "structure": memory.structure, "key": row.key, "value": row.value, "data": memory.data}
    return ((name, text) for name, text in fields.items() if text is not None)


def _toml(value: str | int) -> str:
    r"""Return a value as TOML, whose escapes are those of JSON with \U for what lies beyond 16 bits."""
    if isinstance(value, int):
        return str(value)
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(escapes.get(one) or (one if one.isprintable() else f"\\U{ord(one):08x}") for one in value) + '"'


def _one_line(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)
