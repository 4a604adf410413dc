# SPDX-License-Identifier: Apache-2.0
"""A memory opened for looking: what it is, and the memories in it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

from ..memory.memory import PAGE_SIZE, Memory
from ..storable import Codec
from . import missing
from .formats.gzipped import MAGIC, unzip
from .formats.layout import Damage, Finding
from .formats.managed import Manager, read_manager
from .formats.maps import MapReader
from .formats.recognise import STRUCTURES, Recognition, recognise
from .formats.sequences import CellReader, LogReader, SequenceReader, SlotReader
from .formats.snapshot import METADATA, Snapshot, is_of_snapshot, open_snapshot
from .formats.unnamed import drained
from .formats.wal import LoggedSource, read_log
from .source import BytesSource, FileSource, MemorySource, NotWhole, Progress, Source, Unreadable, no_progress
from .writing import descriptor_of

Reader: TypeAlias = MapReader | SequenceReader


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
    _word: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def kind(self) -> str:
        """map, vec, heap, cell, log index, log data, or another word of `Recognition.kind`."""
        return self.recognition.kind

    @property
    def is_structure(self) -> bool:
        """Return whether there is a reader for it."""
        return self.kind in STRUCTURES and self.kind != "log data"

    @property
    def word(self) -> str:
        """Return the kind as people say it: a map without values is a set."""
        if self._word is None:
            self._word = "set" if self.kind == "map" and self._is_set() else self.kind
        return self._word

    def _is_set(self) -> bool:
        try:
            return MapReader(self.source).is_set
        except (Damage, Unreadable):  # of a file that was closed, too
            return False

    @property
    def label(self) -> str:
        """For messages."""
        return self.word if self.id is None else f"memory {self.id}, {self.word}"

    def open(self, key: Codec[Any] | None = None, value: Codec[Any] | None = None) -> Reader:
        """Return a reader of the structure. Raises `Damage` if its header leads nowhere, and `Unreadable` if there is no structure."""
        if self.kind == "map":
            return MapReader(self.source, key, value)
        if self.kind in ("vec", "heap"):
            return SlotReader(self.source, self.kind, value or key)
        if self.kind == "cell":
            return CellReader(self.source, value or key)
        if self.kind == "log index":
            return LogReader(self.source, None if self.data is None else self.data.source, value or key)
        if self.kind == "log data" and self.index is not None:
            return self.index.open(key, value)
        kind = NotWhole if self.kind == "cut" else Unreadable
        raise kind(f"{self.label}: {self.recognition.title}, no structure with entries")

    def finding(self, damage: Damage) -> Finding:
        """Return a broken rule with all that is known of its place."""
        physical = self.source.physical(damage.address) if 0 <= damage.address < max(self.source.nbytes, 1) else -1
        return Finding(self.id, self.word, damage.rule, damage.address, physical, damage.found, damage.expected)


@dataclass(slots=True)
class Image:
    """What `open_image` gives; a context manager that closes the file."""

    name: str
    source: Source
    recognition: Recognition
    snapshot: Snapshot | None = None
    manager: Manager | None = None
    parts: dict[int | None, Part] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)
    """What is missing of it, or wrong with its files: it is cut off, its log is damaged, a download did not end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.source.close()

    def unreadable(self, why: str) -> Unreadable:
        """Return the error for an image that something cannot be done with: `NotWhole` if it may be for what is missing of it."""
        said = f"{self.name}: {self.recognition.title}; {why}"
        return NotWhole(f"{said} ({missing.said(self.problems)})") if self.problems else Unreadable(said)

    def part(self, memory: int | None) -> Part:
        """Return the memory with this id; without one the only one. Raises `Unreadable`."""
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


def open_image(what: str | Path | Memory | bytes, progress: Progress = no_progress) -> Image:
    """Open an image, a gzip of one, a snapshot's folder, or a running memory, for looking only. O(1), O(size) for a gzip.

    Raises `Unreadable` for what is none of these.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> _ = StableBTreeMap[u64, str](memory).insert(1, "one")
    >>> open_image(memory).recognition.title
    'a bare map'
    """
    if isinstance(what, (str, Path)):
        return _open_path(Path(what), progress)
    source = BytesSource(what) if isinstance(what, bytes) else MemorySource(what)
    return _image("memory", source, None)


def images_in(path: str) -> list[str]:
    """Return what there is to open in a folder that is no snapshot: its files and the snapshots below it; else the path. O(files).

    Logs are left out, and names that begin with a dot. Raises `Unreadable` for a folder without a file.
    """
    folder = Path(path)
    if not folder.is_dir() or (folder / METADATA).exists():
        return [path]
    try:
        found = [str(one) for one in sorted(folder.iterdir()) if not one.name.startswith(".") and not one.is_symlink()]
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from None
    logs = {f"{one}-wal" for one in found}
    inner = [each for one in found if one not in logs for each in (_images_below(one) if Path(one).is_dir() else [one])]
    if not inner:
        raise Unreadable(f"{path}: a folder without an image or a snapshot")
    return inner


def _images_below(folder: str) -> list[str]:
    try:
        return images_in(folder)
    except Unreadable:
        return []


def _open_path(path: Path, progress: Progress) -> Image:
    descriptor = descriptor_of(path)
    if descriptor is not None:
        name = "standard input" if descriptor == 0 else str(path)
        return _image(name, _open_descriptor(descriptor, path, name, progress), None)
    try:
        if path.is_dir():
            return _open_folder(path, progress)
        if path.name == METADATA and path.exists():
            return _open_folder(path.parent, progress)
        if is_of_snapshot(path):
            return _open_folder(path.parent, progress)
    except Unreadable:
        raise
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from None
    return _image(str(path), _open_file(path, progress), None)


def _open_folder(folder: Path, progress: Progress) -> Image:
    snapshot = open_snapshot(folder)
    source: Source = BytesSource(b"") if snapshot.stable_memory is None else _open_file(snapshot.stable_memory, progress)
    image = _image(str(folder), source, snapshot)
    image.notes += snapshot.notes
    return image


def _open_descriptor(descriptor: int, path: Path, name: str, progress: Progress) -> FileSource:
    """Return what a pipe gives until it ends, or the file that is open as this descriptor."""
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return _open_file(path, progress)
    except OSError as error:
        raise Unreadable(f"{name}: cannot be read: {error.strerror}") from None
    source = drained(descriptor, name)
    return unzip(source, progress) if source.head(2) == MAGIC else source


def _open_file(path: Path, progress: Progress) -> FileSource:
    source = FileSource(path)
    log = log_beside(path)
    if source.head(2) == MAGIC:
        source = unzip(source, progress)
        if log is not None:
            source.notes.append(f"{log.name} lies beside it, but a gzip has no log: what is shown is the gzip alone")
        return source
    if source.is_written():
        source.notes.append("a program has it open for writing at this moment: what is shown may be of several commits, and look damaged")
    return source if log is None else _with_log(source, log)


def log_beside(path: Path) -> Path | None:
    """Return the log that belongs to a file: it lies beside the file itself, wherever links to it are."""
    log = Path(f"{path.resolve()}-wal")
    return log if log.exists() or log.is_symlink() else None


def _with_log(source: FileSource, path: Path) -> FileSource:
    """Return the file as the log beside it makes it, if it can be told; neither is written."""
    beside = f"{path.name} lies beside it: a program has the memory open, or ended without closing it"
    try:
        log = read_log(path, source)
    except Unreadable as error:
        source.problems.append(Finding(None, "log", f"the log beside a file can be read ({error})", 0, 0, "unreadable", ""))
        source.notes.append(f"{beside}; it cannot be read ({error}), and this is the file alone")
        return source
    if log is None:
        return source
    if log.damage is not None:
        source.problems.append(log.damage)
        rule = log.damage.rule.removeprefix(f"{path.name}: ")
        source.notes.append(f"{path.name} is damaged behind its record {log.records}, and opening the memory will be refused: {rule}")
    elif not log.records:
        source.notes.append(f"{beside}; it holds no changes, all is in the file")
        source.is_memory = True
    if not log.records:
        return source
    if not log.is_of_file:
        pages = f"{log.base_pages} to {log.pages} pages"
        source.notes.append(f"{path.name} lies beside it, but is not of this file ({pages}), and this is the file alone")
        return source
    source.close()
    logged = LoggedSource(source.path, log)
    logged.problems += source.problems
    logged.notes += [*source.notes, f"{beside}; shown is what was committed, {log.records} records of the log over the file"]
    return logged


def _image(name: str, source: Source, snapshot: Snapshot | None) -> Image:
    recognition = recognise(source)
    image = Image(name, source, recognition, snapshot, notes=list(source.notes))
    if source.nbytes == 0 and snapshot is None and isinstance(source, FileSource) and not source.is_memory:
        image.recognition = recognition = Recognition(
            "empty", "a file of 0 bytes: a memory without pages, or all of it is lost", certain=False
        )
    if recognition.kind != "manager":
        image.parts[None] = Part(None, source, recognition, source.nbytes // PAGE_SIZE)
    else:
        try:
            image.manager = read_manager(source)
            image.parts |= parts_of(image.manager)
        except Damage as damage:
            recognition.damage.append(str(damage))
    for part in image.parts.values():
        if part.word == "set":
            part.recognition.title = part.recognition.title.replace("map", "set")
    image.problems = missing.find(image)
    if source.nbytes == 0 and image.problems:
        image.recognition = Recognition("cut", "cut off: nothing of it is there")
        image.parts[None] = Part(None, source, image.recognition, 0)
    return image


def parts_of(manager: Manager) -> dict[int | None, Part]:
    """Return the virtual memories of a manager, by id. O(1) each."""
    parts: dict[int | None, Part] = {memory: _part(manager, memory) for memory in manager.ids()}
    _pair_logs(parts)
    return parts


def _part(manager: Manager, memory: int) -> Part:
    source = manager.memory(memory)
    recognition, size = recognise(source), manager.sizes[memory] * PAGE_SIZE
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


def _fits(index: Part, data: Part) -> bool:
    """Return whether the last entry ends inside the data."""
    try:
        reader = LogReader(index.source, data.source)
        return reader.length == 0 or reader.end(reader.length - 1) <= reader.room()
    except Damage:
        return False
