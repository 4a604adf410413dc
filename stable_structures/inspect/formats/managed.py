# SPDX-License-Identifier: Apache-2.0
"""The memory manager's tables (docs/format.md#memory-manager), and the virtual memories behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ...memory.memory import PAGE_SIZE
from ..source import PastEnd, Source, VirtualSource
from .layout import (
    ALLOCATED_BUCKETS_AT,
    BEGINS,
    BUCKET_PAGES_AT,
    BUCKETS,
    FREE,
    MEMORIES,
    OWNERS_AT,
    RESERVED_AT,
    SIZES_AT,
    TABLES_SIZE,
    Damage,
    u16,
    u64,
)

ENDS_INSIDE: Final = "a bucket in use ends inside the memory"


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

    def ids(self) -> list[int]:
        """Memories that have pages or buckets."""
        owned = set(self.owners[: self.allocated])
        return [i for i in range(MEMORIES) if self.sizes[i] or i in owned]

    def buckets(self, memory: int) -> list[int]:
        """Return the buckets of a memory, in its order. O(allocated)."""
        return [i for i in range(self.allocated) if self.owners[i] == memory]

    def unowned(self) -> list[int]:
        """Return the allocated buckets that belong to nobody."""
        return self.buckets(FREE)

    def memory(self, memory: int) -> VirtualSource:
        """Return a virtual memory; where the table or the file is damaged, as much of it as there is."""
        owned = self.buckets(memory)
        whole = len(owned) * self.bucket_bytes
        for rank, bucket in enumerate(owned):
            left = self.source.nbytes - PAGE_SIZE - bucket * self.bucket_bytes
            if left < self.bucket_bytes:
                whole = rank * self.bucket_bytes + max(left, 0)
                break
        return VirtualSource(self.source, owned, self.bucket_bytes, min(self.sizes[memory] * PAGE_SIZE, whole))

    def cut_off(self, memory: int) -> int:
        """Return how many bytes of a memory are in buckets, or parts of buckets, behind the end of the file. O(allocated)."""
        left, cut = self.sizes[memory] * PAGE_SIZE, 0
        for bucket in self.buckets(memory):
            used, start = min(left, self.bucket_bytes), PAGE_SIZE + bucket * self.bucket_bytes
            cut += max(0, min(used, start + used - self.source.nbytes))
            left -= used
        return cut

    def needed(self, memory: int) -> int:
        """Return how many buckets the size of a memory takes."""
        return -(-self.sizes[memory] // self.bucket_pages)

    def end(self) -> int:
        """Return where the last bucket ends."""
        return PAGE_SIZE + self.allocated * self.bucket_bytes

    # ---- rules ----

    def check(self, note: Callable[[Damage], None]) -> None:
        """Report every broken rule of the tables. O(32,768)."""
        if self.magic != BEGINS["manager"]:
            note(Damage("a memory manager begins with MGR and version 1", 0, self.magic.hex(), BEGINS["manager"].hex()))
        if any(self.reserved):
            at = next(i for i, byte in enumerate(self.reserved) if byte)
            note(Damage("the reserved bytes of a memory manager are zero", RESERVED_AT + at, self.reserved[at], 0))
        self._check_owners(note)
        owned = [0] * (MEMORIES + 1)
        for bucket in range(self.allocated):
            owner = self.owners[bucket]
            owned[owner] += 1
            self._check_bucket(bucket, owner, owned[owner], note)
        for memory in range(MEMORIES):
            needed = self.needed(memory)
            if needed != owned[memory]:
                note(Damage("a memory owns as many buckets as its size needs", SIZES_AT + 8 * memory, owned[memory], needed))

    def _check_owners(self, note: Callable[[Damage], None]) -> None:
        """Behind the allocated buckets nothing has an owner."""
        rest = self.owners[self.allocated :]
        for i, owner in enumerate(rest) if rest.count(FREE) != len(rest) else ():
            if owner != FREE:
                note(Damage("a bucket that was never allocated has no owner", OWNERS_AT + self.allocated + i, owner, FREE))

    def _check_bucket(self, bucket: int, owner: int, rank: int, note: Callable[[Damage], None]) -> None:
        end = PAGE_SIZE + (bucket + 1) * self.bucket_bytes
        if owner == FREE:
            note(Damage("an allocated bucket belongs to a memory", OWNERS_AT + bucket, owner, "0 to 254"))
        elif end > self.source.nbytes and rank <= self.needed(owner):
            note(Damage(ENDS_INSIDE, OWNERS_AT + bucket, end, self.source.nbytes))


def read_manager(source: Source) -> Manager:
    """Return the tables at the start of a memory. O(1). Raises `Damage` if they cannot be used at all."""
    manager = read_tables(source)
    if manager.bucket_pages == 0:
        raise Damage("the bucket size is not 0", BUCKET_PAGES_AT, 0, 128)
    if manager.allocated > BUCKETS:
        raise Damage("number of allocated buckets", ALLOCATED_BUCKETS_AT, manager.allocated, BUCKETS)
    return manager


def read_tables(source: Source) -> Manager:
    """Return the tables as they are, whatever they say. O(1). Raises `Damage` if there are none."""
    try:
        tables = source.read(0, TABLES_SIZE)
    except PastEnd:
        raise Damage("a memory manager has a page of tables", 0, source.nbytes, PAGE_SIZE) from None
    sizes = [u64(tables, SIZES_AT + 8 * i) for i in range(MEMORIES)]
    allocated, bucket_pages = (u16(tables, at) for at in (ALLOCATED_BUCKETS_AT, BUCKET_PAGES_AT))
    return Manager(source, bucket_pages, allocated, sizes, tables[OWNERS_AT:], tables[RESERVED_AT:SIZES_AT], tables[:4])
