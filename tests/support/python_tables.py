"""The headers and the manager's tables in plain Python, as the inspector read them before the core did: the judge of the survey.

Numbers of the format are written out here, so that nothing is shared with what is judged.
"""

from __future__ import annotations

from typing import Any

from stable_structures import PAGE_SIZE
from stable_structures.inspect.formats.layout import Damage
from stable_structures.inspect.source import PastEnd, Source

MAGICS = {"map": b"BTR", "vec": b"SVC", "heap": b"SMH", "cell": b"SCL", "log index": b"GLI", "log data": b"GLD"}
MEMORIES, BUCKETS, FREE = 255, 32_768, 255


def number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def read(source: Source, at: int, length: int, rule: str) -> bytes:
    try:
        return source.read(at, length)
    except PastEnd:
        raise Damage(rule, at, source.nbytes, at + length) from None


def check_magic(source: Source, kind: str, problems: list[Damage]) -> None:
    magic, wanted = read(source, 0, 4, f"a {kind} has a header"), MAGICS[kind]
    if magic[:3] != wanted:
        problems.append(Damage(f"a {kind} begins with {wanted.decode()}", 0, magic[:3].hex(), wanted.hex()))
    if magic[3] != 1:
        problems.append(Damage(f"version of a {kind} is 1", 3, magic[3], 1))


# ---- the map and its allocator ----


def node_size(key: int, value: int) -> int:
    """Of layout 1: header, 11 entries with their sizes, 12 children."""
    return 7 + 11 * (4 + key + 4 + value) + 12 * 8


def map_problems(source: Source) -> list[Damage]:
    """What is wrong with the header of a map and with its allocator's; raised if nothing else can be said."""
    try:
        header = source.read(0, 100)
    except PastEnd:
        raise Damage("a map has a header of 100 bytes", 0, source.nbytes, 100) from None
    found = []
    if header[:3] != b"BTR":
        found.append(Damage("a map begins with BTR", 0, header[:3].hex(), b"BTR".hex()))
    if header[3] not in (1, 2):
        found.append(Damage("version of a map is 1 or 2", 3, header[3], 2))
    first, second = number(header, 4, 4), number(header, 8, 4)
    page = node_size(first, second) if header[3] == 1 or second != 2**32 - 1 else first
    size, count = number(header, 60, 8), number(header, 68, 8)
    if header[52:56] != b"BTA\x01":
        found.append(Damage("the allocator begins with BTA and version 1", 52, header[52:56].hex(), b"BTA\x01".hex()))
    if size != page:
        found.append(Damage("the allocator's chunks have the map's page size", 60, size, page))
        if 128 <= size < 2**32 and fits_chunks(source, size) and not fits_chunks(source, page):
            page = size
    if page < 128:
        raise Damage("a map's page size is at least 128", 4, page, 128)
    if 100 + count * (page + 16) > source.nbytes:
        most = (source.nbytes - 100) // (page + 16)
        found.append(Damage("the allocated chunks of a map lie inside the memory", 68, count, f"at most {most}"))
    return found


def fits_chunks(source: Source, page: int) -> bool:
    at = 100 + page + 16
    return page >= 128 and at + 4 <= source.nbytes and source.read(at, 4) == b"CHK\x01"


# ---- the manager ----


class Tables:
    """The tables of a manager: sizes in pages by id, owners by bucket. Raises `Damage` if they cannot be used at all."""

    def __init__(self, source: Source) -> None:
        self.source = source
        try:
            tables = source.read(0, 34_848)
        except PastEnd:
            raise Damage("a memory manager has a page of tables", 0, source.nbytes, PAGE_SIZE) from None
        self.magic, self.reserved, self.owners = tables[:4], tables[8:40], tables[2080:]
        self.allocated, self.bucket_pages = number(tables, 4, 2), number(tables, 6, 2)
        self.sizes = [number(tables, 40 + 8 * i, 8) for i in range(MEMORIES)]
        self.bucket_bytes = self.bucket_pages * PAGE_SIZE
        if self.bucket_pages == 0:
            raise Damage("the bucket size is not 0", 6, 0, 128)
        if self.allocated > BUCKETS:
            raise Damage("number of allocated buckets", 4, self.allocated, BUCKETS)

    def buckets(self, memory: int) -> list[int]:
        return [i for i in range(self.allocated) if self.owners[i] == memory]

    def ids(self) -> list[int]:
        owned = set(self.owners[: self.allocated])
        return [i for i in range(MEMORIES) if self.sizes[i] or i in owned]

    def there(self, memory: int) -> int:
        """As much of a memory as there is."""
        owned = self.buckets(memory)
        whole = len(owned) * self.bucket_bytes
        for rank, bucket in enumerate(owned):
            left = self.source.nbytes - PAGE_SIZE - bucket * self.bucket_bytes
            if left < self.bucket_bytes:
                whole = rank * self.bucket_bytes + max(left, 0)
                break
        return min(self.sizes[memory] * PAGE_SIZE, whole)

    def cut_off(self, memory: int) -> int:
        left, cut = self.sizes[memory] * PAGE_SIZE, 0
        for bucket in self.buckets(memory):
            used, start = min(left, self.bucket_bytes), PAGE_SIZE + bucket * self.bucket_bytes
            cut += max(0, min(used, start + used - self.source.nbytes))
            left -= used
        return cut

    def needed(self, memory: int) -> int:
        return -(-self.sizes[memory] // self.bucket_pages)

    def check(self, note: Any) -> None:
        if self.magic != b"MGR\x01":
            note(Damage("a memory manager begins with MGR and version 1", 0, self.magic.hex(), b"MGR\x01".hex()))
        if any(self.reserved):
            at = next(i for i, byte in enumerate(self.reserved) if byte)
            note(Damage("the reserved bytes of a memory manager are zero", 8 + at, self.reserved[at], 0))
        for i, owner in enumerate(self.owners[self.allocated :], self.allocated):
            if owner != FREE:
                note(Damage("a bucket that was never allocated has no owner", 2080 + i, owner, FREE))
        owned = [0] * (MEMORIES + 1)
        for bucket in range(self.allocated):
            owner, end = self.owners[bucket], PAGE_SIZE + (bucket + 1) * self.bucket_bytes
            owned[owner] += 1
            if owner == FREE:
                note(Damage("an allocated bucket belongs to a memory", 2080 + bucket, owner, "0 to 254"))
            elif end > self.source.nbytes and owned[owner] <= self.needed(owner):
                note(Damage("a bucket in use ends inside the memory", 2080 + bucket, end, self.source.nbytes))
        for memory in range(MEMORIES):
            if self.needed(memory) != owned[memory]:
                note(Damage("a memory owns as many buckets as its size needs", 40 + 8 * memory, owned[memory], self.needed(memory)))
