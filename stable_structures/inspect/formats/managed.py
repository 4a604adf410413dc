# SPDX-License-Identifier: Apache-2.0
"""The memory manager's tables (docs/format.md#memory-manager), and the virtual memories behind them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import _native as native
from ...memory.memory import PAGE_SIZE
from ..source import PastEnd, Source, VirtualSource
from .layout import (
    ALLOCATED_BUCKETS_AT,
    BUCKET_PAGES_AT,
    FREE,
    MEMORIES,
    OWNERS_AT,
    RESERVED_AT,
    SIZES_AT,
    TABLES_SIZE,
    U16,
    Damage,
    u16,
)
from .rules import Note, damage_of


@dataclass(slots=True)
class Manager:
    """The tables of a manager: sizes in pages by id, owners by bucket. Made by `read_manager`."""

    source: Source
    bucket_pages: int
    allocated: int
    sizes: list[int]
    owners: bytes
    reserved: bytes
    magic: bytes
    """With the version."""

    @property
    def bucket_bytes(self) -> int:
        """Bytes of a bucket."""
        return self.bucket_pages * PAGE_SIZE

    def survey(self) -> tuple[Any, list[Damage]]:
        """Return a `struct ss_manager_stats`, and every broken rule of the tables. O(buckets). Raises `Damage` if nothing can be said."""
        if self._survey is None:
            stats, notes = native.survey_manager(self._tables(), self.source.nbytes)
            found = [damage_of(note) for note in notes]
            if stats is None:
                raise found[0]
            self._survey = stats, found
        return self._survey

    _survey: tuple[Any, list[Damage]] | None = field(default=None, init=False, repr=False, compare=False)

    def _tables(self) -> bytes:
        numbers = U16.pack(self.allocated) + U16.pack(self.bucket_pages) + self.reserved + struct.pack(f"<{MEMORIES}Q", *self.sizes)
        return self.magic + numbers + self.owners

    def ids(self) -> list[int]:
        """Memories that have pages or buckets."""
        owned = self.survey()[0].owned
        return [i for i, pages in enumerate(self.sizes) if pages or owned[i]]

    def buckets(self, memory: int) -> list[int]:
        """Return the buckets of a memory, in its order. O(allocated)."""
        return np.flatnonzero(np.frombuffer(self.owners, np.uint8, self.allocated) == memory).tolist()

    def unowned(self) -> list[int]:
        """Return the allocated buckets that belong to nobody."""
        return self.buckets(FREE)

    def memory(self, memory: int) -> VirtualSource:
        """Return a virtual memory; where the table or the file is damaged, as much of it as there is."""
        return VirtualSource(self.source, self.buckets(memory), self.bucket_bytes, int(self.survey()[0].there[memory]))

    def cut_off(self, memory: int) -> int:
        """Return how many bytes of a memory are in buckets, or parts of buckets, behind the end of the file."""
        return int(self.survey()[0].cut[memory])

    def owned(self, memory: int) -> int:
        """Return how many buckets a memory has."""
        return int(self.survey()[0].owned[memory])

    def needed(self, memory: int) -> int:
        """Return how many buckets the size of a memory takes."""
        return int(self.survey()[0].needed[memory])

    def end(self) -> int:
        """Return where the last bucket ends."""
        return PAGE_SIZE + self.allocated * self.bucket_bytes

    def check(self, note: Note) -> None:
        """Report every broken rule of the tables. O(32,768)."""
        for damage in self.survey()[1]:
            note(damage)


def read_manager(source: Source) -> Manager:
    """Return the tables at the start of a memory. O(1). Raises `Damage` if they cannot be used at all."""
    manager = read_tables(source)
    manager.survey()
    return manager


def read_tables(source: Source) -> Manager:
    """Return the tables as they are, whatever they say. O(1). Raises `Damage` if there are none."""
    try:
        tables = source.read(0, TABLES_SIZE)
    except PastEnd:
        raise Damage("a memory manager has a page of tables", 0, source.nbytes, PAGE_SIZE) from None
    sizes = list(struct.unpack_from(f"<{MEMORIES}Q", tables, SIZES_AT))
    allocated, bucket_pages = (u16(tables, at) for at in (ALLOCATED_BUCKETS_AT, BUCKET_PAGES_AT))
    return Manager(source, bucket_pages, allocated, sizes, tables[OWNERS_AT:], tables[RESERVED_AT:SIZES_AT], tables[:4])
