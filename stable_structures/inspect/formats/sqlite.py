# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLR2004 - offsets and sizes of formats that others fixed
r"""A SQLite database in a memory, as canisters keep one: where it lies, how long it is, and what is wrong with its header.

    pages         database from byte 0 on                       a file that stable-fs (wasi2ic) mounts on a memory
    ic-sqlite     u64 size, big-endian | database               froghub's ic-sqlite, in the whole stable memory
    ic-sqlite-vfs ICSQLITE superblock | ... | database          size at 16, start at 112, and ranges of pages that read as zeros
                  from 160 on, as many as the number at 144

    database      "SQLite format 3\0" | page size (16) | 64, 32, 32 (21) | changes (24) | pages (28) | ... | changes (92)

The number of pages counts only if both numbers of changes are equal; else the size that the layout says, or the memory's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ..source import BLOCK, PastEnd, Source
from .layout import u32, u64

MAGIC: Final = b"SQLite format 3\0"
_SUPERBLOCK: Final = b"ICSQLITE"
_HEADER: Final = 100
_EXTENTS_AT: Final = 160
_MOST_EXTENTS: Final = 1024
_IMPORTING: Final = 1


@dataclass(slots=True)
class Database:
    """A database: `size` bytes from `base` on. `zeros` are ranges of its bytes that read as zeros, whatever lies there."""

    source: Source
    layout: str
    base: int
    size: int
    page_size: int
    pages: int
    zeros: list[tuple[int, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Return what may not be zero of the database, as (offset in it, bytes). O(size)."""
        end = min(self.base + self.size, self.source.nbytes)
        for offset, data in self.source.blocks(self.base, end, BLOCK):
            yield offset - self.base, self._without_zeros(offset - self.base, data)

    def _without_zeros(self, offset: int, data: bytes) -> bytes:
        for first, last in self.zeros:
            low, high = max(first, offset) - offset, min(last, offset + len(data)) - offset
            if low < high:
                data = data[:low] + bytes(high - low) + data[high:]
        return data


def find_database(source: Source) -> Database | None:
    """Return the database in a memory; None if there is none. O(1)."""
    head = source.head(_HEADER + 8)
    if head[:16] == MAGIC:
        return _judged(source, "pages", 0, None)
    if head[8:24] == MAGIC:
        return _judged(source, "ic-sqlite", 8, int.from_bytes(head[:8], "big"))
    return _of_superblock(source) if head[:8] == _SUPERBLOCK else None


def _of_superblock(source: Source) -> Database | None:
    head = source.head(_EXTENTS_AT + 16 * _MOST_EXTENTS)
    if len(head) < _EXTENTS_AT:
        return None
    page, size, flags, base, count = u32(head, 12), u64(head, 16), u64(head, 40), u64(head, 112), u64(head, 144)
    if source.nbytes < base + _HEADER or size == 0:
        return None
    found = _judged(source, "ic-sqlite-vfs", base, size)
    whole = _EXTENTS_AT + 16 * min(count, _MOST_EXTENTS)
    if count > _MOST_EXTENTS or len(head) < whole or _checksum(head[:152] + bytes(8) + head[160:whole]) != u64(head, 152):
        found.problems.append("the checksum of the superblock is not that of its bytes")
    elif count:
        found.zeros = [(u64(head, at) * page, u64(head, at + 8) * page) for at in range(_EXTENTS_AT, whole, 16)]
    if flags & _IMPORTING:
        found.problems.append("an import of a database had begun and not ended")
    return found


def _checksum(data: bytes) -> int:
    """FNV-1a of 64 bits."""
    total = 0xCBF29CE484222325
    for byte in data:
        total = (total ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return total


def _judged(source: Source, layout: str, base: int, said: int | None) -> Database:
    """Hold the header of the database against its size."""
    try:
        head = source.read(base, _HEADER)
    except PastEnd:
        head = source.read(base, max(0, source.nbytes - base)).ljust(_HEADER, b"\0")
    page = int.from_bytes(head[16:18], "big")
    page = 65536 if page == 1 else page
    counted, room = int.from_bytes(head[28:32], "big"), source.nbytes - base
    trusted = counted > 0 and head[24:28] == head[92:96]
    found = Database(source, layout, base, 0, page, 0)
    if head[:16] != MAGIC:
        found.problems.append(f"a database begins with {MAGIC[:15].decode()}, found {head[:16].hex()}")
    if page < 512 or page & (page - 1):
        found.problems.append(f"the page size is a power of two from 512 to 65,536, found {page}")
        found.size = min(room, said or room)
        return found
    if head[21:24] != b"\x40\x20\x20":
        found.problems.append(f"the fractions of the payload are 64, 32 and 32, found {', '.join(map(str, head[21:24]))}")
    if head[18] > 2 or head[19] > 2 or not head[18] or not head[19]:
        found.problems.append(f"the versions for writing and reading are 1 or 2, found {head[18]} and {head[19]}")
    found.size = counted * page if trusted else min(room, said or room) // page * page
    found.pages = found.size // page
    if found.size > room:
        found.problems.append(f"its {found.pages:,} pages of {page:,} bytes do not lie inside the memory, where {room:,} bytes are left")
    if said is not None and trusted and said < found.size:
        found.problems.append(f"its {found.pages:,} pages of {page:,} bytes are {found.size:,} bytes, but the layout says {said:,}")
    if not trusted:
        found.notes.append("the number of pages in its header does not count (an old version of SQLite wrote it last)")
    if head[18] == 2:
        found.notes.append("it was in WAL mode: what was in its log, which is not in this memory, is missing")
    return found
