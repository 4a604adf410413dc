# SPDX-License-Identifier: Apache-2.0
"""Writes fresh memories: files as memories, and maps packed from entries that come in order.

A packed map has the layout of the format and full nodes; the crate reads it and goes on with it. Entries stream through:
no more than one node of each level is in memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

from ...errors import OutOfBounds
from ...memory.memory import PAGE_SIZE, Memory
from ..formats.layout import (
    ALLOCATOR_AT,
    CAPACITY,
    CHUNK_HEADER,
    FIRST_CHUNK,
    MINIMUM,
    NODE_HEADER,
    OVERFLOW_HEADER,
    U32,
    U64,
    Damage,
)
from ..formats.maps import MapReader
from ..source import Source, Unreadable
from ..writing import NewFile

Entry = tuple[bytes, bytes]
_BUFFER: Final = 1 << 20


class ImageFile(NewFile):
    """A new file as a memory. It lies under a temporary name until `keep`; without it nothing is left behind.

    Raises `Unreadable` where the file is there already or cannot be made.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._pages = 0
        self._fd = self.file.fileno()

    def size(self) -> int:
        """Pages."""
        return self._pages

    def grow(self, pages: int, /) -> int:
        """Adds zero pages, as a hole."""
        before = self._pages
        os.ftruncate(self._fd, (before + pages) * PAGE_SIZE)
        self._pages = before + pages
        return before

    def read(self, offset: int, length: int, /) -> bytes:
        """Bytes."""
        data = os.pread(self._fd, length, offset)
        if len(data) != length:
            raise OutOfBounds(f"bytes {offset} to {offset + length} of {self._pages} pages")
        return data

    def write(self, offset: int, data: bytes, /) -> None:
        """Writes inside the memory."""
        if offset + len(data) > self._pages * PAGE_SIZE:
            raise OutOfBounds(f"bytes {offset} to {offset + len(data)} of {self._pages} pages")
        view = memoryview(data)
        while view:
            done = os.pwrite(self._fd, view, offset)
            view, offset = view[done:], offset + done


class Output:
    """Writes to a memory that grows as needed; what is written in sequence is gathered."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._at = 0
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, offset: int, data: bytes) -> None:
        """Writes the bytes, now or at the next flush."""
        if offset != self._at + self._size or self._size > _BUFFER:
            self.flush()
            self._at = offset
        self._parts.append(data)
        self._size += len(data)

    def flush(self) -> None:
        """Writes what was gathered."""
        if self._size:
            self.reach(self._at + self._size)
            self.memory.write(self._at, b"".join(self._parts))
        self._at, self._parts, self._size = self._at + self._size, [], 0

    def reach(self, end: int) -> None:
        """Grows the memory by the fewest pages, so that `end` bytes fit. Raises `Unreadable`."""
        missing = -(-end // PAGE_SIZE) - self.memory.size()
        if missing > 0 and self.memory.grow(missing) < 0:
            raise Unreadable(f"a memory of {end:,} bytes does not fit the new image; use larger buckets (--bucket-pages)")


@dataclass(frozen=True, slots=True)
class MapForm:
    """What a packed map has of the one it was made from."""

    version: int
    first: int
    second: int
    page: int
    key_fixed: int | None
    slots: tuple[int, int] | None = None
    """Largest key and value where nodes are written in layout 1."""


def form_of(reader: MapReader, *, layout_1: bool) -> MapForm:
    """The form of a map; its nodes are written in layout 1 where all of them were, so that old crates still read it."""
    first, second = (reader.max_key, reader.max_value) if reader.derived else (reader.page, 2**32 - 1)
    slots = (reader.max_key, reader.max_value) if layout_1 and reader.derived else None
    return MapForm(1 if reader.derived else 2, first, second, reader.page, reader.layout.key_fixed, slots)


def pages_of(form: MapForm, chunks: int) -> int:
    """Pages of a packed map of so many chunks."""
    return -(-(FIRST_CHUNK + chunks * (form.page + CHUNK_HEADER) + CHUNK_HEADER) // PAGE_SIZE)


@dataclass(frozen=True, slots=True)
class Filling:
    """Entries that leaves and internal nodes are to have; shares are even, so it may be one fewer."""

    leaf: int = CAPACITY
    inner: int = CAPACITY

    def height(self, count: int) -> int:
        """The least at which nodes are no fuller than that; none but the root may have too few then."""
        height, n = 0, count + 1
        while (self.leaf + 1) * (self.inner + 1) ** height < n:
            height += 1
        while height and n < 2 * (MINIMUM + 1) ** height:
            height -= 1
        return height

    def parts(self, count: int, height: int, fewest: int) -> int:
        """How many children a subtree gets: any number will do that leaves none of them too full or too empty."""
        n = count + 1
        ideal: int = -(-n // ((self.leaf + 1) * (self.inner + 1) ** (height - 1)))
        most: int = min(CAPACITY + 1, n // (MINIMUM + 1) ** height)
        least: int = -(-n // (CAPACITY + 1) ** height)
        return max(fewest, least, min(ideal, most))


def best_filling(form: MapForm, ends: Sequence[int]) -> tuple[Filling, int]:
    """How nodes are to be filled for the fewest chunks, and how many that is; `ends` are sums of the sizes of entries, from 0 on.

    Full nodes are best unless they need overflow pages where less full ones do not. O(n) for each filling that is tried.
    """
    best = Filling()
    chunks, nodes = _chunks(form, best, ends)
    if chunks == nodes:
        return best, chunks
    for leaf in range(MINIMUM, CAPACITY):
        best, chunks = _better(form, Filling(leaf), ends, (best, chunks))
    for inner in range(MINIMUM, CAPACITY):
        best, chunks = _better(form, Filling(best.leaf, inner), ends, (best, chunks))
    return best, chunks


def _better(form: MapForm, filling: Filling, ends: Sequence[int], best: tuple[Filling, int]) -> tuple[Filling, int]:
    chunks, _ = _chunks(form, filling, ends)
    return (filling, chunks) if chunks < best[1] else best


def _chunks(form: MapForm, filling: Filling, ends: Sequence[int]) -> tuple[int, int]:
    """Chunks and nodes of a map that is filled like this."""
    field = 2 * U32.size if form.key_fixed is None else U32.size
    chunks = nodes = at = 0

    def node(count: int, size: int, children: int) -> None:
        nonlocal chunks, nodes
        run = NODE_HEADER + children * U64.size + count * field + size
        chunks += 1 if run <= form.page else 1 - (form.page - run) // (form.page - OVERFLOW_HEADER)
        nodes += 1

    def subtree(height: int, count: int, fewest: int) -> None:
        nonlocal at
        if height == 0:
            node(count, ends[at + count] - ends[at], 0)
            at += count
            return
        parts, separators = filling.parts(count, height, fewest), 0
        share, more = divmod(count - (parts - 1), parts)
        for i in range(parts):
            subtree(height - 1, share + (i < more), MINIMUM + 1)
            if i < parts - 1:
                separators += ends[at + 1] - ends[at]
                at += 1
        node(parts - 1, separators, parts)

    count = len(ends) - 1
    if count:
        subtree(filling.height(count), count, 2)
    return chunks, nodes


class MapBuilder:
    """Packs entries into a map: each subtree gets an equal share, so that all nodes are as full as they are to be.

    It exists beside `ss_btree_build`, which `from_sorted` calls, because that one needs an open map with its types. Rewriting
    and salvage do not know the types: their entries are encoded bytes, their form (layout 1, page size, whether keys have
    sizes) is the one that was read, and the entries are streamed instead of held as a whole.
    `tests/inspect/test_map_builder.py` holds the two against each other.
    """

    def __init__(self, form: MapForm, out: Output, filling: Filling | None = None) -> None:
        self.form = form
        self.out = out
        self.filling = filling or Filling()
        self.chunks = 0

    def build(self, entries: Iterable[Entry], count: int) -> None:
        """Writes the map. O(n). Raises `Damage` where there are not `count` entries."""
        feed = iter(entries)
        root = self._subtree(feed, self.filling.height(count), count, fewest=2) if count else 0
        if next(feed, None) is not None:
            raise Damage("a map's length counts its entries", 20, count, "more")
        self._finish(root, count)

    def _subtree(self, feed: Iterator[Entry], height: int, count: int, fewest: int = MINIMUM + 1) -> int:
        """`count` entries as a tree; gives the address of its root."""
        if height == 0:
            return self._node([self._next(feed) for _ in range(count)], [])
        parts = self.filling.parts(count, height, fewest)
        share, more = divmod(count - (parts - 1), parts)
        children, separators = [], []
        for i in range(parts):
            children.append(self._subtree(feed, height - 1, share + (i < more)))
            if i < parts - 1:
                separators.append(self._next(feed))
        return self._node(separators, children)

    def _next(self, feed: Iterator[Entry]) -> Entry:
        entry = next(feed, None)
        if entry is None:
            raise Damage("a map's length counts its entries", 20, "fewer", "as many as it says")
        return entry

    # ---- nodes ----

    def _node(self, entries: list[Entry], children: list[int]) -> int:
        slots = self.form.slots
        run = self._run(entries, children) if slots is None else self._slots(entries, children, *slots)
        page, room = self.form.page, self.form.page - OVERFLOW_HEADER
        rest = [run[at : at + room] for at in range(page, len(run), room)]
        address = self._address(self.chunks)
        if rest:
            run = run[:7] + U64.pack(self._address(self.chunks + 1)) + run[15:]
        self._chunk(run[:page])
        for i, part in enumerate(rest):
            following = self._address(self.chunks + 1) if i < len(rest) - 1 else 0
            self._chunk(b"NOF" + U64.pack(following) + part)
        return address

    def _run(self, entries: list[Entry], children: list[int]) -> bytes:
        parts = [b"BTN\x02", bytes([bool(children)]), len(entries).to_bytes(2, "little"), bytes(NODE_HEADER - 7)]
        parts += [U64.pack(child) for child in children]
        for key, _ in entries:
            parts += [key] if self.form.key_fixed is not None else [U32.pack(len(key)), key]
        for _, value in entries:
            parts += [U32.pack(len(value)), value]
        return b"".join(parts)

    def _slots(self, entries: list[Entry], children: list[int], most_key: int, most_value: int) -> bytes:
        parts = [b"BTN\x01", bytes([bool(children)]), len(entries).to_bytes(2, "little")]
        for key, value in entries:
            parts += [U32.pack(len(key)), key.ljust(most_key, b"\0"), U32.pack(len(value)), value.ljust(most_value, b"\0")]
        return b"".join(parts + [U64.pack(child) for child in children])

    # ---- chunks ----

    def _address(self, index: int) -> int:
        return FIRST_CHUNK + index * (self.form.page + CHUNK_HEADER) + CHUNK_HEADER

    def _chunk(self, data: bytes) -> None:
        at = self._address(self.chunks)
        self.out.write(at - CHUNK_HEADER, b"CHK\x01\x01".ljust(CHUNK_HEADER, b"\0") + data.ljust(self.form.page, b"\0"))
        self.chunks += 1

    def _finish(self, root: int, count: int) -> None:
        """The end of the free list, then both headers."""
        form, head = self.form, self._address(self.chunks) - CHUNK_HEADER
        self.out.write(head, b"CHK\x01".ljust(CHUNK_HEADER, b"\0"))
        allocator = b"BTA\x01" + bytes(4) + U64.pack(form.page) + U64.pack(self.chunks) + U64.pack(head) + bytes(16)
        header = b"BTR" + bytes([form.version]) + U32.pack(form.first) + U32.pack(form.second) + U64.pack(root) + U64.pack(count)
        self.out.write(ALLOCATOR_AT, allocator)
        self.out.write(0, header)
        self.out.flush()


class Spool:
    """Entries on disk, so that they can be counted before they are packed."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="stable-structures-")  # noqa: SIM115 - __exit__ closes it
        self.count = 0

    def add(self, entry: Entry) -> None:
        """One more."""
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
