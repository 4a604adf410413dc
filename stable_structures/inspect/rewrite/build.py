# SPDX-License-Identifier: Apache-2.0
"""Write new memories: files as memories, and maps packed from entries that come in order.

A packed map has the layout of the format and full nodes; the crate can read and change it. Entries are streamed: at most one node of
each level is in memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Final, Self

import numpy as np
import numpy.typing as npt

from ... import _native as native
from ...errors import OutOfBounds
from ...memory.memory import PAGE_SIZE, Memory
from ..formats.layout import (
    ALLOCATOR_AT,
    ALLOCATOR_BEGINS,
    CAPACITY,
    CHILD,
    CHUNK_BEGINS,
    CHUNK_HEADER,
    FIRST_CHUNK,
    LENGTH_AT,
    MAP_MAGIC,
    MINIMUM,
    NODE_HEADER,
    U32,
    U64,
    UNBOUNDED_MARK,
    Damage,
)
from ..formats.maps import MapReader
from ..source import Source, Unreadable
from ..writing import NewFile

Entry = tuple[bytes, bytes]
Column = npt.NDArray[np.uint64]
_BUFFER: Final = 1 << 20
_SOME: Final = 4096
_SIZES: Final = 1 << 18
"""Sizes that are in memory at once."""
_NOWHERE: Final = np.zeros(0, np.uint64)
_NO_NUMBER: Final = np.zeros(0, np.uint8)


class FileMemory:
    """An empty file as a memory."""

    def __init__(self, descriptor: int) -> None:
        self._pages = 0
        self._fd = descriptor

    def size(self) -> int:
        """Return the size in pages."""
        return self._pages

    def grow(self, pages: int, /) -> int:
        """Add zero pages, as a hole in the file."""
        before = self._pages
        os.ftruncate(self._fd, (before + pages) * PAGE_SIZE)
        self._pages = before + pages
        return before

    def read(self, offset: int, length: int, /) -> bytes:
        """Return bytes. Raises `OutOfBounds`."""
        data = os.pread(self._fd, length, offset)
        if len(data) != length:
            raise OutOfBounds(f"bytes {offset} to {offset + length} of {self._pages} pages")
        return data

    def write(self, offset: int, data: bytes, /) -> None:
        """Write inside the memory. Raises `OutOfBounds`."""
        if offset + len(data) > self._pages * PAGE_SIZE:
            raise OutOfBounds(f"bytes {offset} to {offset + len(data)} of {self._pages} pages")
        view = memoryview(data)
        while view:
            done = os.pwrite(self._fd, view, offset)
            view, offset = view[done:], offset + done


class ImageFile(NewFile, FileMemory):
    """A new file as a memory. It has a temporary name until `keep`; without `keep`, nothing is left behind.

    Raises `Unreadable` if the file already exists or cannot be created.
    """

    def __init__(self, path: str | Path) -> None:
        NewFile.__init__(self, path)
        FileMemory.__init__(self, self.file.fileno())


class Output:
    """Writes to a memory that grows as needed; consecutive writes are joined."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._at = 0
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, offset: int, data: bytes) -> None:
        """Write the bytes, now or at the next flush."""
        if offset != self._at + self._size or self._size > _BUFFER:
            self.flush()
            self._at = offset
        self._parts.append(data)
        self._size += len(data)

    def flush(self) -> None:
        """Write what was joined so far."""
        if self._size:
            self.reach(self._at + self._size)
            self.memory.write(self._at, b"".join(self._parts))
        self._at, self._parts, self._size = self._at + self._size, [], 0

    def reach(self, end: int) -> None:
        """Grow the memory by the fewest pages so that `end` bytes fit. Raises `Unreadable`."""
        missing = -(-end // PAGE_SIZE) - self.memory.size()
        if missing > 0 and self.memory.grow(missing) < 0:
            raise Unreadable(f"a memory of {end:,} bytes does not fit the new image; use larger buckets (--bucket-pages)")


@dataclass(frozen=True, slots=True)
class MapForm:
    """What a packed map takes from the map that it was made from."""

    version: int
    first: int
    second: int
    page: int
    key_fixed: int | None
    slots: tuple[int, int] | None = None
    """Largest key and value if nodes are written in layout 1."""


def form_of(reader: MapReader, *, layout_1: bool) -> MapForm:
    """Return the form of a map. Its nodes are written in layout 1 if all of them were, so that old crates can still read it."""
    first, second = (reader.max_key, reader.max_value) if reader.derived else (reader.page, UNBOUNDED_MARK)
    slots = (reader.max_key, reader.max_value) if layout_1 and reader.derived else None
    return MapForm(1 if reader.derived else 2, first, second, reader.page, reader.layout.key_fixed, slots)


def pages_of(form: MapForm, chunks: int) -> int:
    """Return how many pages a packed map of `chunks` chunks takes."""
    return -(-(FIRST_CHUNK + chunks * (form.page + CHUNK_HEADER) + CHUNK_HEADER) // PAGE_SIZE)


Filling = tuple[int, int]
"""The most entries that a leaf and an internal node shall have."""
FULL: Final[Filling] = (CAPACITY, CAPACITY)


def fits_always(form: MapForm, largest: int) -> bool:
    """Return whether a full node of entries of `largest` bytes has no overflow page. O(1)."""
    sizes = 2 * U32.size if form.key_fixed is None else U32.size
    return NODE_HEADER + (CAPACITY + 1) * CHILD + CAPACITY * (sizes + largest) <= form.page


def full_chunks(form: MapForm, count: int) -> int:
    """Return how many chunks a map of full nodes has, none of which has overflow pages. O(nodes)."""
    pack = native.Pack(_numbers(form, FULL), count)
    pack.measure(count)
    return _chunks(pack)


def _chunks(pack: native.Pack) -> int:
    end = pack.end()
    assert end is not None  # noqa: S101 - as many sizes as were said
    return end[1]


class Sizes:
    """Sizes of entries, in a file: of a large map they are large. Use it in a `with` statement.

    >>> with Sizes() as sizes:
    ...     sizes.add(np.array([3, 4], np.uint64))
    ...     sizes.add(np.array([5], np.uint64))
    ...     sizes.count, [sums.tolist() for sums in sizes.sums()]
    (3, [[0, 3, 7, 12]])
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="stable-structures-")  # noqa: SIM115 - __exit__ closes it
        self._end = np.zeros(1, np.uint64)
        self._file.write(self._end.tobytes())
        self.count = 0

    def add(self, sizes: Column) -> None:
        """Add the sizes of the next entries. O(entries)."""
        sums = np.cumsum(sizes, dtype=np.uint64) + self._end
        self._file.write(sums.tobytes())
        self._end, self.count = sums[-1:] if len(sums) else self._end, self.count + len(sums)

    def sums(self) -> Iterator[Column]:
        """Iterate over their sums in pieces; each begins with the last one of the piece before it."""
        for first in range(0, self.count, _SIZES):
            self._file.seek(first * U64.size)
            yield np.frombuffer(self._file.read((_SIZES + 1) * U64.size), np.uint64)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def best_filling(form: MapForm, sizes: Sizes) -> tuple[Filling, int]:
    """Return the filling of nodes that needs the fewest chunks, and how many.

    Full nodes are best unless they need overflow pages that less full ones do not. O(entries) at most three times.
    """
    ((chunks, nodes),) = _measured(form, [FULL], sizes)
    best = FULL, chunks
    if chunks == nodes:
        return best
    best = _better(form, [(leaf, CAPACITY) for leaf in range(MINIMUM, CAPACITY)], sizes, best)
    return _better(form, [(best[0][0], inner) for inner in range(MINIMUM, CAPACITY)], sizes, best)


def _better(form: MapForm, fillings: list[Filling], sizes: Sizes, best: tuple[Filling, int]) -> tuple[Filling, int]:
    found = [(filling, chunks) for filling, (chunks, _) in zip(fillings, _measured(form, fillings, sizes), strict=True)]
    return min([best, *found], key=lambda one: one[1])


def _measured(form: MapForm, fillings: list[Filling], sizes: Sizes) -> list[tuple[int, int]]:
    """Return the chunks and nodes of a map by each of the fillings."""
    packs = [native.Pack(_numbers(form, filling), sizes.count) for filling in fillings]
    for sums in sizes.sums():
        for pack in packs:
            pack.measure(sums)
    return [(_chunks(pack), pack.nodes()) for pack in packs]


def _numbers(form: MapForm, filling: Filling) -> dict[str, int]:
    slot_key, slot_value = form.slots or (0, 0)
    fixed = native.NOT_FIXED if form.key_fixed is None else form.key_fixed
    leaf, inner = filling
    of_layout = {"slot_key": slot_key, "slot_value": slot_value, "layout_1": int(form.slots is not None)}
    return {"page": form.page, "key_fixed": fixed, "leaf": leaf, "inner": inner, **of_layout}


class MapBuilder:
    """Packs entries into a map, in the core and a batch at a time (native/structures/pack.h): each subtree gets an equal share.

    It exists beside `ss_btree_build`, which `from_sorted` calls, because that one needs an open map with its types. Rewriting
    and salvage do not know the types: their entries are encoded bytes, their form (layout 1, page size, whether keys have
    sizes) is the one that was read, and the entries are streamed instead of held as a whole.
    `tests/inspect/test_map_builder.py` holds the two against each other.
    """

    def __init__(self, form: MapForm, out: Output, filling: Filling = FULL) -> None:
        self.form = form
        self.out = out
        self.filling = filling

    def build(self, batches: Iterable[native.Batch], count: int) -> None:
        """Write the map. O(n). Raises `Damage` if there are not `count` entries."""
        pack, at, fed = native.Pack(_numbers(self.form, self.filling), count), FIRST_CHUNK, 0
        for batch in batches:
            fed += len(batch[1])
            if fed > count:
                raise Damage("a map's length counts its entries", LENGTH_AT, count, "more")
            chunks = pack.feed(batch)
            self.out.write(at, chunks)
            at += len(chunks)
        end = pack.end()
        if end is None:
            raise Damage("a map's length counts its entries", LENGTH_AT, "fewer", "as many as it says")
        self._finish(*end, count)

    def _finish(self, root: int, chunks: int, count: int) -> None:
        """Write the end of the free list, then both headers."""
        form, head = self.form, FIRST_CHUNK + chunks * (self.form.page + CHUNK_HEADER)
        self.out.write(head, CHUNK_BEGINS.ljust(CHUNK_HEADER, b"\0"))
        allocator = ALLOCATOR_BEGINS + bytes(4) + U64.pack(form.page) + U64.pack(chunks) + U64.pack(head) + bytes(16)
        header = MAP_MAGIC + bytes([form.version]) + U32.pack(form.first) + U32.pack(form.second) + U64.pack(root) + U64.pack(count)
        self.out.write(ALLOCATOR_AT, allocator)
        self.out.write(0, header)
        self.out.flush()


def in_batches(entries: Iterable[Entry]) -> Iterator[native.Batch]:
    """Yield the entries as columns, some at a time."""
    feed = iter(entries)
    while some := list(islice(feed, _SOME)):
        ends = (np.cumsum([len(entry[side]) for entry in some], dtype=np.uint64) for side in range(2))
        keys, values = (b"".join(side) for side in zip(*some, strict=True))
        yield keys, next(ends), values, next(ends), _NOWHERE, _NO_NUMBER


class Spool:
    """Keeps entries on disk, so that they can be counted before they are packed."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="stable-structures-")  # noqa: SIM115 - __exit__ closes it
        self.count = 0

    def add(self, entry: Entry) -> None:
        """Add an entry."""
        key, value = entry
        self._file.write(U32.pack(len(key)) + key + U32.pack(len(value)) + value)
        self.count += 1

    def __iter__(self) -> Iterator[Entry]:
        self._file.seek(0)
        for _ in range(self.count):
            key, value = (self._file.read(U32.unpack(self._file.read(4))[0]) for _ in range(2))
            yield key, value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def copy(source: Source, memory: Memory, length: int | None = None, tell: Callable[[int], None] = lambda _: None) -> None:
    """Write the first bytes of a source, all by default, with its size in pages; zeros stay unwritten. O(length)."""
    out = Output(memory)
    length = source.nbytes if length is None else length
    out.reach(length)
    for offset, data in source.blocks(0, length):
        out.write(offset, data)
        tell(offset + len(data))
    out.flush()
