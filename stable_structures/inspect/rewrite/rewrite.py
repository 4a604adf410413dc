# SPDX-License-Identifier: Apache-2.0
"""New images from old ones: `shrink`, `import_part`, and `load`, which makes one of a dump. What is read is never changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np

from ...errors import OutOfMemory
from ...memory.manager import DEFAULT_BUCKET_PAGES, MemoryManager
from ...memory.memory import PAGE_SIZE, Memory, StableMemory
from ...storable import Codec
from ...structures.btreemap import StableBTreeMap
from ...structures.btreeset import StableBTreeSet
from ...structures.cell import StableCell
from ...structures.log import StableLog
from ...structures.minheap import StableMinHeap
from ...structures.vec import StableVec
from ..encoding import Encoded
from ..fit import open_image, require_all_fit
from ..formats.layout import LOG_DATA_AT, TABLES_SIZE, Damage
from ..formats.maps import MapReader
from ..formats.rules import refuse
from ..formats.sequences import LogReader
from ..formats.survey import MapStats, MapSurvey, batches
from ..image import Image, Part, SchemaFiles, Types
from ..jobs import Task, allowed, is_large, is_worth_it, results
from ..missing import require_whole
from ..source import FileSource, MemorySource, NotWhole, Progress, Unreadable, no_progress
from .batches import NO_VALUE, Batch, Column, Row
from .build import (
    FULL,
    FileMemory,
    Filling,
    ImageFile,
    MapBuilder,
    MapForm,
    Output,
    Sizes,
    best_filling,
    copy,
    fits_always,
    form_of,
    full_chunks,
    pages_of,
)
from .folder import image_output
from .loading import reader_of

_MAP: Final[Any] = StableBTreeMap
_KINDS: Final[dict[str, Any]] = {"set": StableBTreeSet, "vec": StableVec, "heap": StableMinHeap, "log": StableLog, "cell": StableCell}


@dataclass(slots=True)
class Moved:
    """What became of one memory: its bytes before and after."""

    memory: int | None
    kind: str
    before: int
    after: int
    note: str = ""


@dataclass(slots=True)
class Rewritten:
    """What `shrink` did."""

    before: int
    after: int
    memories: list[Moved] = field(default_factory=list)


T = TypeVar("T")
Fill: TypeAlias = Callable[[Part, Memory, Progress], T]
"""Writes a memory again; returns what is to be said of it."""


def rewrite(  # noqa: PLR0913 - keyword-only choices
    image: Image,
    out: ImageFile,
    fill: Fill[T],
    bucket_pages: int | None = None,
    *,
    extra: tuple[int, ...] = (),
    jobs: int = 1,
    progress: Progress = no_progress,
) -> list[tuple[Moved, T]]:
    """Write every memory of an image into a fresh one, one after the other.

    With `jobs`, other processes write large structures into temporary files, from which they are copied.
    """
    if image.manager is None:
        return [_moved(part, out, fill(part, out, progress)) for part in image.parts.values()]
    manager = MemoryManager(out, bucket_pages=bucket_pages or image.manager.bucket_pages)
    ids = sorted({part.id for part in image.parts.values() if part.id is not None} | set(extra))
    places = [(image.parts.get(memory, _absent(memory)), manager.get(memory)) for memory in ids]
    if not is_worth_it([_weight(part) for part, _ in places], jobs := allowed(jobs, image.source)):
        return [_moved(part, memory, fill(part, memory, progress)) for part, memory in places]
    return _by_others(places, fill, out, jobs, progress)


def _weight(part: Part) -> int:
    return part.source.nbytes if part.is_structure else 0


def _by_others(
    places: Sequence[tuple[Part, Memory]], fill: Fill[T], out: ImageFile, jobs: int, progress: Progress
) -> list[tuple[Moved, T]]:
    """Let processes fill files for the large structures."""
    folder = None if out.temporary is None else out.temporary.parent
    with ExitStack() as stack:
        tasks: list[Task[tuple[int | None, T]]] = []
        for part, memory in places:
            if not is_large(_weight(part)):
                tasks.append(Task(-1, partial(_fill_here, fill, part, memory)))
            else:
                file = stack.enter_context(TemporaryFile(dir=folder, prefix=".stable-structures-"))
                tasks.append(Task(_weight(part), partial(_fill_file, fill, part, file.fileno())))
        found = []
        for (part, memory), (file_number, said) in zip(places, results(tasks, jobs, progress), strict=True):
            if file_number is not None:
                with FileSource(f"/proc/self/fd/{file_number}") as source:
                    copy(source, memory)
            found.append(_moved(part, memory, said))
    return found


def _fill_here(fill: Fill[T], part: Part, memory: Memory, progress: Progress) -> tuple[None, T]:
    return None, fill(part, memory, progress)


def _fill_file(fill: Fill[T], part: Part, descriptor: int, progress: Progress) -> tuple[int, T]:
    os.ftruncate(descriptor, 0)  # it may be the second try
    return descriptor, fill(part, FileMemory(descriptor), progress)


def _absent(memory: int) -> Part:
    source = MemorySource(StableMemory())
    return Part(memory, source, open_image(b"").recognition, 0)


def _moved(part: Part, memory: Memory, said: T) -> tuple[Moved, T]:
    note = said if isinstance(said, str) else ""
    return Moved(part.id, part.word, part.source.nbytes, memory.size() * PAGE_SIZE, note), said


# ---- shrink ----


def shrink(  # noqa: PLR0913 - keyword-only choices
    what: str | Path | Memory,
    out: str | Path,
    *,
    types: Types | None = None,
    files: SchemaFiles | None = None,
    bucket_pages: int | None = None,
    keep_going: bool = False,
    progress: Progress = no_progress,
    jobs: int = 1,
) -> Rewritten:
    """Write a memory compactly: maps packed, rows cut off behind their last element, buckets of nobody left out. O(n).

    Each structure holds what it held, and the crate reads it. What is not recognised is copied as it is, and so is a map
    that would become larger by packing: the result is never larger than what it was made from. Raises `Unreadable` if
    there is nothing to shrink, and `NotWhole`, which is one, where something is damaged or cut off: then nothing is
    written. With `keep_going` what is damaged is copied as it is. Of a snapshot's folder a folder is made (rewrite/folder.py),
    unless `out` ends in .bin. `jobs` processes pack memories at once (jobs.py).

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({i: f"user {i}" for i in range(100)})
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     done = shrink(memory, f"{folder}/small.bin")
    >>> done.before >= done.after
    True
    """
    with open_image(what, progress, files) as image, image_output(out, image) as file:
        if not _has_structures(image) and image.manager is None:
            raise image.unreadable("only a manager and the crate's structures can be shrunk")
        if not keep_going:
            require_whole(image)
            require_all_fit(image, types or {})
        fill = _Shrinker(types or {}, keep_going=keep_going).fill
        try:
            moved = [one for one, _ in rewrite(image, file, fill, bucket_pages, jobs=jobs, progress=progress)]
        except Damage as damage:
            raise NotWhole(f"{image.name}: damaged: {damage}; run check to see all of it, and repair for what can be saved") from None
        _require_smaller(image, file)
        file.keep()
        return Rewritten(image.source.nbytes, file.size() * PAGE_SIZE, moved)


def _has_structures(image: Image) -> bool:
    return any(part.is_structure for part in image.parts.values())


def _require_smaller(image: Image, file: ImageFile) -> None:
    """Larger buckets than before can waste more than was saved."""
    size = file.size() * PAGE_SIZE
    if size > -(-image.source.nbytes // PAGE_SIZE) * PAGE_SIZE:
        raise Unreadable(f"{image.name}: with such buckets it would become larger, {size:,} bytes; give a smaller --bucket-pages, or none")


class _Shrinker:
    def __init__(self, types: Types, *, keep_going: bool) -> None:
        self.types = types
        self.keep_going = keep_going

    def fill(self, part: Part, memory: Memory, progress: Progress) -> str:
        """One memory of the new image. Nothing is written to it before all that is read for it was found to be sound."""
        try:
            return self._fill(part, memory, progress)
        except Damage as damage:
            if not self.keep_going:
                raise
            copy(part.source, memory)
            return f"damaged, copied as it is: {damage}"

    def _fill(self, part: Part, memory: Memory, progress: Progress) -> str:
        if part.kind == "log data" and part.index is not None:
            reader = part.index.open()
            if isinstance(reader, LogReader):
                self._sound(reader.data_problems)
                copy(part.source, memory, max(reader.live_data(), LOG_DATA_AT))
            return ""
        if not part.is_structure:
            copy(part.source, memory)
            return "" if part.kind in ("empty", "log data") else "copied as it is"
        return self._structure(part, memory, progress)

    def _structure(self, part: Part, memory: Memory, progress: Progress) -> str:
        reader = part.open(*part.types(self.types))
        self._sound(reader.problems)
        if isinstance(reader, MapReader):
            return self._pack(reader, part, memory, progress)
        reader.check(refuse)
        copy(part.source, memory, reader.live())
        return ""

    def _pack(self, reader: MapReader, part: Part, memory: Memory, progress: Progress) -> str:
        stats = MapSurvey(reader, refuse, progress).run()
        layout_1 = 0 < stats.layout_1_nodes == sum(stats.nodes_by_depth)
        form, filling = form_of(reader, layout_1=layout_1), FULL
        if not layout_1:
            filling, chunks = _filling(reader, form, stats)
            # Where nothing is gained, nothing is done: how keys are laid out may be a guess, which a few entries do not prove.
            is_worth_it = chunks <= reader.allocated and reader.layout.certain
            if not is_worth_it and pages_of(form, chunks) >= part.source.nbytes // PAGE_SIZE:
                copy(part.source, memory)
                return "copied as it is, since packing it would not make it smaller"
        MapBuilder(form, Output(memory), filling).build(batches(reader, refuse), reader.length)
        return "packed"

    def _sound(self, problems: list[Damage]) -> None:
        for problem in problems:
            raise problem


def _filling(reader: MapReader, form: MapForm, stats: MapStats) -> tuple[Filling, int]:
    """Return the filling of nodes that needs the fewest chunks, and how many."""
    largest = sum(most for _, most in (stats.key_sizes or (0, 0), stats.value_sizes or (0, 0)))
    if fits_always(form, largest):
        return FULL, full_chunks(form, reader.length)
    with Sizes() as sizes:
        for _, keys, _, values, _, _ in batches(reader, refuse, keys_only=True):
            sizes.add(np.diff(keys + values, prepend=np.uint64(0)))
        return best_filling(form, sizes)


# ---- import ----


def import_part(  # noqa: PLR0913 - keyword-only choices
    path: str | Path,
    memory: int,
    out: str | Path,
    *,
    into: str | Path | None = None,
    bucket_pages: int = DEFAULT_BUCKET_PAGES,
    keep_going: bool = False,
    progress: Progress = no_progress,
) -> list[Moved]:
    """Write an image with one virtual memory more, or replaced, from a file; the others are those of `into`. O(size).

    Raises `Unreadable`, and `NotWhole`, which is one, where either is damaged or cut off; with `keep_going` what is there
    is taken as it is. Where `into` is a snapshot's folder, so is `out`, unless it ends in .bin.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({i: f"user {i}" for i in range(100)})
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = shrink(memory, f"{folder}/users.bin")
    ...     import_part(f"{folder}/users.bin", 3, f"{folder}/image.bin", bucket_pages=1)[0].after
    65536
    """
    if not 0 <= memory < 255:  # noqa: PLR2004 - said by the format
        raise Unreadable(f"memory {memory}: ids are 0 to 254")
    base = _new_image(bucket_pages) if into is None else open_image(into, progress)
    with base as image, open_image(path, progress) as given, image_output(out, image) as file:
        if image.manager is None:
            raise image.unreadable("only a memory manager takes a memory in")
        for one in () if keep_going else (given, image):
            require_whole(one)
        if given.source.nbytes == 0 and not keep_going:
            raise Unreadable(f"{given.name}: {given.title}; there is nothing to import, unless with --keep-going")

        def fill(part: Part, to: Memory, _: Progress) -> str:
            copy(given.source if part.id == memory else part.source, to)
            return "imported" if part.id == memory else ""

        moved = [one for one, _ in rewrite(image, file, fill, image.manager.bucket_pages, extra=(memory,))]
        file.keep()
        return moved


def _new_image(bucket_pages: int) -> Image:
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=bucket_pages)
    image = open_image(memory.read(0, TABLES_SIZE).ljust(PAGE_SIZE, b"\0"))
    del manager
    return image


# ---- load ----


def load(  # noqa: PLR0913 - keyword-only choices
    dump: str | Path,
    out: str | Path,
    *,
    structure: str = "map",
    key: Codec[Any] | None = None,
    value: Codec[Any] | None = None,
    memory: int | None = None,
    bucket_pages: int = DEFAULT_BUCKET_PAGES,
    form: str | None = None,
    into: str | Path | None = None,
    progress: Progress = no_progress,
) -> int:
    r"""Make an image of a dump (JSON lines, CSV, CBOR, Parquet, SQLite): a structure of these types, in a manager if `memory` is set.

    Returns the number of entries. The bytes are those of inserting the entries one by one, and keys and values are encoded
    as they were where the dump is one of `write`. With `into`, an image or a snapshot's folder, the other memories are its:
    then `out` is the same with this one replaced. O(n log n). Raises `Unreadable` for a dump that cannot be read or
    entries that do not fit, naming the line, and for a log whose data would take the place of another memory.

    >>> from stable_structures import codec, u64
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(f"{folder}/users.csv").write_text("key,value\n1,Ada\n2,Grace\n")
    ...     load(f"{folder}/users.csv", f"{folder}/users.bin", key=codec(u64), value=codec(str))
    2
    """
    path = Path(dump)
    read, back = reader_of(path, form or path.suffix.removeprefix("."))
    with nullcontext() if into is None else open_image(into, progress) as image:
        sides = Column("key", key, back), Column("value", value or (None if structure == "map" else key), back)
        with ImageFile(out) if image is None else image_output(out, image) as file:
            place = file.temporary if image is None else None
            with _on_disk(place, out) as base:
                targets = _targets(image, base, structure, memory, bucket_pages)
                count = _load_into(_Filler(structure, *sides, targets), read(path), path, progress)
                if image is not None and image.manager is not None and memory is not None:
                    _replace(image, dict(zip(range(memory, memory + 2), targets, strict=False)), file)
                elif place is None:
                    copy(MemorySource(base), file)
            file.keep()
    return count


@contextmanager
def _on_disk(place: Path | None, out: str | os.PathLike[str]) -> Iterator[StableMemory]:
    """Provide a new memory in this empty file, or in a temporary one: what is loaded may be larger than the machine's memory."""
    with nullcontext() if place is not None else TemporaryDirectory(prefix="stable-structures-") as folder:
        path = place or Path(folder or "") / "image.bin"
        try:
            with StableMemory.open(path, "r+", "none") as memory:
                yield memory
        except OutOfMemory as error:
            raise Unreadable(f"{os.fspath(out)}: cannot be written: {error}") from error


def _targets(image: Image | None, base: StableMemory, structure: str, memory: int | None, bucket_pages: int) -> list[Memory]:
    """Return the memories of the structure that is made in `base`."""
    count = 2 if structure == "log" else 1
    if image is not None:
        require_whole(image)
        if (image.manager is None) != (memory is None) and image.source.nbytes:
            raise image.unreadable("give --memory ID for an image with a manager, and leave it out for one without")
        if image.manager is not None:
            bucket_pages = image.manager.bucket_pages
    if memory is not None:
        if image is not None and count > 1:
            _require_room(image, memory)
        manager = MemoryManager(base, bucket_pages=bucket_pages)
        return [manager.get(memory + i) for i in range(count)]
    if count > 1:
        raise Unreadable("a log needs two memories: give --memory ID; its data go into the next one")
    return [base]


def _require_room(image: Image, memory: int) -> None:
    """Raise `Unreadable` if the data of a log would take the place of what is not the data of the log that it replaces."""
    part = image.parts.get(memory + 1)
    if part is not None and part.kind not in ("empty", "zeros") and not _is_data_of(part, image.parts.get(memory)):
        raise image.unreadable(
            f"the data of a log in memory {memory} go into memory {memory + 1}, which holds a {part.word}; "
            "give --memory ID of a free memory, with another free one behind it"
        )


def _is_data_of(part: Part, index: Part | None) -> bool:
    """Return whether these are the data of a log; data of nobody count where there is something that can have been their index."""
    return part.kind == "log data" and index is not None and (part.index is None or part.index.id == index.id)


def _replace(image: Image, made: Mapping[int, Memory], out: ImageFile) -> None:
    """Write an image with other contents of some memories."""

    def fill(part: Part, to: Memory, _: Progress) -> str:
        found = made.get(-1 if part.id is None else part.id)
        copy(part.source if found is None else MemorySource(found), to)
        return ""

    rewrite(image, out, fill, extra=tuple(made))


def _load_into(filler: _Filler, batches: Iterable[Batch], path: Path, progress: Progress) -> int:
    count = 0
    for batch in batches:
        added = filler.add_many(batch)
        count += _add_each(filler, batch, path) if added is None else added
        progress("loading", count, 0)
    if filler.target is None:
        raise Unreadable(f"{path}: no entry, and a cell has one value")
    return count


def _add_each(filler: _Filler, batch: Batch, path: Path) -> int:
    """Add the rows of a batch one by one; return how many."""
    count = 0
    for where, row in batch.rows():
        try:
            filler.add(row)
        except NO_VALUE as error:
            words = f"there is no {error}" if isinstance(error, KeyError) else error
            raise Unreadable(f"{path}, {where}: {words}") from None
        count += 1
    return count


class _Filler:
    """Adds rows to a new structure, as the encoded bytes that they say."""

    def __init__(self, structure: str, key: Column, value: Column, memories: list[Memory]) -> None:
        self.structure, self.memories = structure, memories
        self.key, self.value = key, value
        self.target: Any = None
        if structure == "map":
            self.kind = _MAP[Encoded(key.codec), Encoded(value.codec)]
        elif structure in _KINDS:
            self.kind = _KINDS[structure][Encoded(key.codec if structure == "set" else value.codec)]
        else:
            raise Unreadable(f"{structure!r} is not a structure; write map, set, vec, heap, log or cell")
        if structure != "cell":
            self.target = self.kind(*memories)

    def add_many(self, batch: Batch) -> int | None:
        """Add all rows of a batch at once; return how many. None, and nothing is added, if they are to be added one by one."""
        if batch.columns is None or self.structure == "cell":
            return None
        try:
            sides = [side.encoded_many(batch.columns) for side in self._sides]
            if any(side is None for side in sides):
                return None
            self._bulk(*sides)
        except NO_VALUE:
            return None
        return sides[0].count if sides[0] is not None else None

    @property
    def _sides(self) -> list[Column]:
        return [self.key, self.value] if self.structure == "map" else [self.key if self.structure == "set" else self.value]

    @property
    def _bulk(self) -> Callable[..., object]:
        target = self.target
        if self.structure in ("map", "set"):
            return target.insert_many  # type: ignore[no-any-return]
        return target.push_many if self.structure == "heap" else target.extend  # type: ignore[no-any-return]

    def add(self, row: Row) -> None:
        """One row."""
        if self.structure == "map":
            self.target.insert(self.key.encoded(row), self.value.encoded(row))
        elif self.structure == "set":
            self.target.insert(self.key.encoded(row))
        elif self.structure == "log":
            self.target.append(self.value.encoded(row))
        elif self.structure != "cell":
            self.target.push(self.value.encoded(row))
        elif self.target is None:
            self.target = self.kind(*self.memories, self.value.encoded(row))
        else:
            raise ValueError("a cell has one value, and this is another one")
