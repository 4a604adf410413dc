# SPDX-License-Identifier: Apache-2.0
"""A memory opened for looking (opening.py): what it is, and the memories in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, TypeAlias, TypeGuard

from .. import _native as native
from ..errors import MemoryInUse, StableError
from ..memory.memory import PAGE_SIZE, NativeMemory
from ..storable import Codec
from . import missing
from .formats.layout import FIRST_CHUNK, LOG_DATA_AT, VERSION_AT, Damage, Finding
from .formats.managed import Manager
from .formats.maps import MapReader
from .formats.recognise import STRUCTURES, Recognition, has_entries, recognise
from .formats.sequences import CellReader, LogReader, SequenceReader, SlotReader
from .formats.snapshot import Snapshot
from .schema import NO_SCHEMA, NOTHING_GIVEN, MemoryType, Schema
from .source import MemorySource, NotWhole, PastEnd, Source, Unreadable

Reader: TypeAlias = MapReader | SequenceReader


_NOTHING_TO_DUMP: Final = ("log data", "empty", "zeros")


@dataclass(slots=True)
class Part:
    """One memory: the whole image (id None) or a virtual memory of it."""

    id: int | None
    source: Source
    recognition: Recognition
    pages: int
    buckets: list[int] = field(default_factory=list)
    data: Part | None = None
    """Of a log's index: the memory with its data."""
    index: Part | None = None
    """Of a log's data: the memory with its index."""
    given: MemoryType = NOTHING_GIVEN
    """What the schema says of it."""
    names: Mapping[int, str] = field(default_factory=dict, repr=False, compare=False)
    """Names of Candid's fields by their hashes."""
    _word: str | None = field(default=None, init=False, repr=False, compare=False)
    _untyped: MapReader | None = field(default=None, init=False, repr=False, compare=False)
    """Of a map, the first reader without types; copies of it know what it has inferred."""
    _begins: bytes = field(default=b"", init=False, repr=False, compare=False)
    """The header that it read."""

    @property
    def kind(self) -> str:
        """map, vec, heap, cell, log index, log data, or another word of `Recognition.kind`."""
        return self.recognition.kind

    @property
    def is_structure(self) -> bool:
        """Return whether there is a reader for it."""
        return self.kind in STRUCTURES and self.kind != "log data"

    @property
    def may_be_log_data(self) -> bool:
        """Return whether a schema may say that the data of a log are in it: they are, or their header is damaged."""
        return self.kind == "log data" or self.kind not in STRUCTURES

    @property
    def word(self) -> str:
        """Return the kind as people say it: a map without values is a set, unless the schema says which of the two it is."""
        if self.kind == "map" and self.given.structure in ("map", "set"):
            return self.given.structure
        if self._word is None and self.kind == "map":
            try:
                self._word = "set" if self._as_map().is_set else "map"
            except (Damage, StableError, OSError):  # also of a closed file; then it stays unknown
                return self.kind
        return self._word or self.kind

    def _as_map(self) -> MapReader:
        """Return a reader of its own for each caller: what was inferred stays as long as the header of the map says the same."""
        try:
            begins = self.source.read(0, FIRST_CHUNK)
        except PastEnd:
            begins = b""
        if self._untyped is None or begins != self._begins:
            self._untyped, self._begins = MapReader(self.source), begins
        made = copy(self._untyped)
        made.problems = made.problems.copy()
        return made

    @property
    def title(self) -> str:
        """Return what it is, for people; of a map, whether it is a set. O(1), but for the first time."""
        return self._titled(self.word)

    @property
    def known_title(self) -> str:
        """Return `title`, as far as it is known without reading anything. O(1)."""
        return self._titled(self.given.structure or self._word)

    def _titled(self, word: str | None) -> str:
        title = self.recognition.title
        return title.replace("map", "set") if self.kind == "map" and word == "set" else title

    @property
    def label(self) -> str:
        """For messages."""
        named = "" if self.given.name is None else f" {self.given.name!r}"
        return f"{self.word}{named}" if self.id is None else f"memory {self.id}{named}, {self.word}"

    def types(self, types: Types) -> tuple[Codec[Any] | None, Codec[Any] | None]:
        """Return the types of keys and values: each as given, else as the schema says; None if neither does."""
        key, value = types.get(self.id, (None, None))
        given_key, given_value = self.given.types
        return key or given_key, value or given_value

    def open(self, key: Codec[Any] | None = None, value: Codec[Any] | None = None) -> Reader:
        """Return a reader of the structure. Raises `Damage` if its header leads nowhere, and `Unreadable` if there is no structure."""
        if self.kind == "map":
            return self._as_map() if key is None and value is None else MapReader(self.source, key, value)
        if self.kind in ("vec", "heap"):
            return SlotReader(self.source, self.kind, value or key)
        if self.kind == "cell":
            return CellReader(self.source, value or key)
        if self.kind == "log index":
            return LogReader(self.source, None if self.data is None else self.data.source, value or key)
        if self.kind == "log data" and self.index is not None:
            return self.index.open(key, value)
        kind = NotWhole if self.kind == "cut" else Unreadable
        raise kind(f"{self.label}: {self.title}, no structure with entries")

    def finding(self, damage: Damage) -> Finding:
        """Return a broken rule with all that is known of its place."""
        physical = self.source.physical(damage.address) if 0 <= damage.address < max(self.source.nbytes, 1) else -1
        return Finding(self.id, self.word, damage.rule, damage.address, physical, damage.found, damage.expected)


@dataclass(slots=True)
class Image:
    """What `fit.open_image` gives; a context manager that closes the file."""

    name: str
    source: Source
    recognition: Recognition
    snapshot: Snapshot | None = None
    manager: Manager | None = None
    parts: dict[int | None, Part] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    schema: Schema = NO_SCHEMA
    """What is given about its memories."""
    names: Mapping[int, str] = field(default_factory=dict, repr=False)
    """Names of Candid's fields by their hashes: from an interface, the snapshot's module, or a list of words."""
    problems: list[Finding] = field(default_factory=list)
    """What is missing of it, or wrong with its files: it is cut off, its log is damaged, a download did not end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.source.close()

    @property
    def title(self) -> str:
        """Return what it is, for people. O(1), but for the first time, if it is a bare map."""
        bare = self.parts.get(None)
        return self.recognition.title if bare is None else bare.title

    @property
    def known_title(self) -> str:
        """Return `title`, as far as it is known without reading anything. O(1)."""
        bare = self.parts.get(None)
        return self.recognition.title if bare is None else bare.known_title

    def without_entries(self) -> list[str]:
        """Return a phrase for each memory that a dump of all structures leaves out: SQLite, what is not recognised. O(memories)."""
        parts = [part for part in self.parts.values() if not part.is_structure and part.kind not in _NOTHING_TO_DUMP]
        return [f"{'' if part.id is None else f'memory {part.id}, '}{part.title}, is not in the dump" for part in parts]

    def unreadable(self, why: str) -> Unreadable:
        """Return the error for an image that something cannot be done with: `NotWhole` if it may be for what is missing of it."""
        said = f"{self.name}: {self.title}; {why}"
        return NotWhole(f"{said} ({missing.said(self.problems)})") if self.problems else Unreadable(said)

    def part(self, memory: int | str | None) -> Part:
        """Return the memory with this id, or with this name in the schema; without one the only one. Raises `Unreadable`."""
        if isinstance(memory, str):
            memory = self._by_name(memory)
        if memory is None and len(self.parts) == 1:
            return next(iter(self.parts.values()))
        if memory in self.parts:
            return self.parts[memory]
        known = ", ".join(str(i) for i in self.parts if i is not None)
        if self.manager is None:
            raise self.unreadable(f"it has no memory {memory}, leave --memory out")
        if memory is None:
            raise Unreadable(f"{self.name}: say which memory: --memory with one of {known or '(it has none)'}")
        raise Unreadable(f"{self.name}: memory {memory} not found; it has {known or 'none'}")

    def _by_name(self, name: str) -> int | None:
        try:
            return self.schema.id_of(name)
        except KeyError:
            known = ", ".join(map(repr, self.schema.names()))
            hint = f"it names {known}" if known else "no schema names its memories: give an id, or --schema"
            raise Unreadable(f"{self.name}: memory {name!r} not found; {hint}") from None


Types = dict[int | None, tuple[Codec[Any] | None, Codec[Any] | None]]
"""Key and value types by memory id, as far as they are given."""


@dataclass(frozen=True, slots=True)
class SchemaFiles:
    """Files that say what is in an image: its schema (without one, memories.toml beside it), an interface, a list of words."""

    schema: str | Path | None = None
    did: str | Path | None = None
    words: str | Path | None = None


@contextlib.contextmanager
def held_still(*given: object) -> Iterator[None]:
    """Keep the state of each given memory, or image of one, whose file others may write: in a transaction, if none is open.

    What is read in many steps would otherwise be of many commits, and look damaged.
    """
    with contextlib.ExitStack() as stack:
        _hold_still(stack, given)
        yield


def is_written_by_others(memory: object) -> TypeGuard[NativeMemory]:
    """Return whether it is a memory that is open for reading, whose file others may write. O(1)."""
    return isinstance(memory, NativeMemory) and native.is_read_only(memory._handle)


def _hold_still(stack: contextlib.ExitStack, given: Iterable[object]) -> None:
    for one in given:
        source = one.source if isinstance(one, Image) else one
        memory = source.memory() if isinstance(source, MemorySource) else source
        if is_written_by_others(memory):
            with contextlib.suppress(MemoryInUse):
                stack.enter_context(memory.transaction())


def tell(parts: Mapping[int | None, Part], schema: Schema, names: Mapping[int, str]) -> None:
    """Set what the schema says of each memory."""
    for part in parts.values():
        part.given, part.names = schema.of(part.id), names
    pair_as_given(parts)


def tell_as(image: Image, parts: Mapping[int | None, Part]) -> None:
    """Set what the schema says of memories by mended tables: the same as for those of the image."""
    for part in parts.values():
        before = image.parts.get(part.id)
        part.given, part.names = image.schema.of(part.id) if before is None else before.given, image.names
    pair_as_given(parts)


def pair_as_given(parts: Mapping[int | None, Part]) -> None:
    """Pair indexes of logs with the data that the schema gives them."""
    for part in parts.values():
        data = None if part.given.data is None else parts.get(part.given.data)
        if part.kind == "log index" and data is not None and data.may_be_log_data:
            for old in (part.data, data.index):
                if old is not None:
                    old.index = old.data = None
            part.data, data.index = data, part


def parts_of(manager: Manager) -> dict[int | None, Part]:
    """Return the virtual memories of a manager, by id. O(1) each."""
    parts: dict[int | None, Part] = {memory: _part(manager, memory) for memory in manager.ids()}
    _pair_logs(parts)
    return parts


def _part(manager: Manager, memory: int) -> Part:
    source = manager.memory(memory)
    recognition, size = recognise(source, is_virtual=True), manager.sizes[memory] * PAGE_SIZE
    if recognition.kind == "manager":  # one in another has no meaning for the crate
        recognition = Recognition("unknown", "a memory manager inside of a virtual memory", recognition.facts)
    elif recognition.kind == "empty" and size:
        recognition = Recognition("cut", f"cut off: none of its {size:,} bytes are there")
    elif recognition.kind == "zeros":
        recognition.title = recognition.title.partition(":")[0]  # no actor of Motoko is in a virtual memory
    elif recognition.kind in STRUCTURES:
        recognition.title = f"a {recognition.kind}"
    return Part(memory, source, recognition, manager.sizes[memory], manager.buckets(memory))


def _pair_logs(parts: dict[int | None, Part]) -> None:
    """Which data memory belongs to which index: the next id if it is one, else the only one that is left and fits."""
    waiting = [part for part in parts.values() if part.kind == "log index"]
    data = {part.id: part for part in parts.values() if part.kind == "log data"}
    for index in list(waiting):
        near = next((data.pop(i) for i in ((index.id or 0) + 1, (index.id or 0) - 1) if i in data and _fits(index, data[i])), None)
        if near is not None:
            index.data, near.index = near, index
            waiting.remove(index)
    for index in waiting:
        chosen = next((part for part in data.values() if _fits(index, part)), None) or next(iter(data.values()), None)
        if chosen is not None:
            del data[chosen.id]
            index.data, chosen.index = chosen, index
    unknown = [part for part in parts.values() if part.kind == "unknown" or not part.recognition.certain]
    for part in parts.values():
        if (part.kind == "log index" and part.data is None) or (part.kind == "log data" and part.index is None):
            _pair_by_content(part, unknown)


def _pair_by_content(part: Part, unknown: list[Part]) -> None:
    """Find the other half of a log whose magic is gone: the only memory with the rest of the header, and in which all entries lie."""
    begun = [other for other in unknown if other.source.head(LOG_DATA_AT)[VERSION_AT:] == b"\1".ljust(LOG_DATA_AT - VERSION_AT, b"\0")]
    pairs = [(part, other) if part.kind == "log index" else (other, part) for other in begun]
    fitting = [(index, data) for index, data in pairs if has_entries(index.source) and _fits(index, data)]
    if len(fitting) != 1:
        return
    index, data = fitting[0]
    index.data, data.index = data, index
    other, kind = (data, "log data") if part is index else (index, "log index")
    damage = f"it begins with {other.source.head(VERSION_AT).hex()}, not as {kind} does"
    other.recognition = Recognition(kind, f"a {kind}", damage=[damage])
    unknown.remove(other)


def _fits(index: Part, data: Part) -> bool:
    """Return whether the last entry ends inside the data."""
    try:
        reader = LogReader(index.source, data.source)
        return reader.length == 0 or reader.end(reader.length - 1) <= reader.room()
    except Damage:
        return False
