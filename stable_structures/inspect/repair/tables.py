# SPDX-License-Identifier: Apache-2.0
"""What `repair` makes of a manager's damaged tables.

The tables say most things twice: the owners say how many buckets there are, sizes and owners how large a bucket is, and
each memory has as many buckets as its size needs. So one damaged number can be found by the others. If a bucket went
from one memory to another, the structures in both say which it was: with the right one they are sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Final

from ...memory.memory import PAGE_SIZE
from ..formats.layout import BUCKETS, FREE, MEMORIES, Damage, Finding
from ..formats.managed import Manager, read_tables
from ..formats.recognise import STRUCTURES
from ..formats.rules import ENDS_INSIDE
from ..image import Image, Part, Types, parts_of
from ..report import check_part
from ..source import no_progress

_MOST_TRIED: Final = 4096
_DEFAULT_PAGES: Final = 128


def mend_tables(image: Image, types: Types) -> list[str]:
    """Give the image its most likely tables, and return what is different. O(buckets), or O(size) where a bucket moved."""
    try:
        manager = read_tables(image.source)
    except Damage:
        return []
    notes: list[str] = []
    manager = _mend_counts(manager, notes)
    if manager.bucket_pages:
        manager = _mend_owners(manager, types, notes)
        manager = _widened(_mend_sizes(manager, notes), types)
        image.manager, image.parts = manager, parts_of(manager)
    return notes


# ---- how many buckets, and how large ----


def _mend_counts(manager: Manager, notes: list[str]) -> Manager:
    best = min(_counts(manager), key=_doubt, default=manager)
    if best.allocated != manager.allocated:
        notes.append(f"the number of buckets said {manager.allocated}; by their owners there are {best.allocated}")
    if best.bucket_pages != manager.bucket_pages:
        notes.append(f"the size of a bucket said {manager.bucket_pages} pages; by the sizes of the memories it is {best.bucket_pages}")
    return best


def _counts(manager: Manager) -> Iterator[Manager]:
    """Return the tables with the numbers that may be meant; what they say themselves first, since the first of equals is taken."""
    owned = len(manager.owners.rstrip(bytes([FREE])))
    for allocated in dict.fromkeys((manager.allocated, owned)):
        pages = [manager.bucket_pages, *_pages_of_file(manager, allocated), *_pages_of_sizes(manager, allocated), _DEFAULT_PAGES]
        for bucket_pages in dict.fromkeys(pages):
            if allocated <= BUCKETS and 0 < bucket_pages < 2**16:
                yield replace(manager, allocated=allocated, bucket_pages=bucket_pages)


def _pages_of_file(manager: Manager, allocated: int) -> Iterator[int]:
    """Return the bucket size by the memory's size: a manager grows its memory until the last bucket fits exactly."""
    pages = manager.source.nbytes // PAGE_SIZE - 1
    if allocated and pages % allocated == 0:
        yield pages // allocated


def _pages_of_sizes(manager: Manager, allocated: int) -> Iterator[int]:
    """Return the least bucket with which a memory's buckets hold it, by each memory."""
    for memory in range(MEMORIES):
        count = manager.owners.count(memory, 0, allocated)
        if count:
            yield -(-manager.sizes[memory] // count)


def _doubt(manager: Manager) -> int:
    """Broken rules, less the structures that are where the tables lead. That the file is cut off is one broken rule."""
    found: list[Damage] = []
    manager = _with_unowned(manager)
    manager.check(found.append)
    outside = sum(damage.rule == ENDS_INSIDE for damage in found)
    return len(found) - max(0, outside - 1) - _structures(parts_of(manager))


def _structures(parts: dict[int | None, Part]) -> int:
    return sum(part.kind in STRUCTURES for part in parts.values())


# ---- who owns which ----


def _mend_owners(manager: Manager, types: Types, notes: list[str]) -> Manager:
    """Return the buckets that one memory lacks: those of nobody, or one that another has too many."""
    moved = _with_unowned(manager)
    missing = _missing(moved)
    losers = [memory for memory, count in missing.items() if count > 0]
    winners = [memory for memory, count in missing.items() if count < 0]
    if len(losers) == len(winners) == 1 and missing[losers[0]] == -missing[winners[0]] == 1 and not moved.unowned():
        moved = _moved_back(manager, winners[0], losers[0], types, notes)
    for bucket, (said, meant) in enumerate(zip(manager.owners, moved.owners, strict=True)):
        notes += [f"bucket {bucket} was marked as of {said}; by the sizes of the memories it is of {meant}"] if said != meant else []
    return moved


def _missing(manager: Manager) -> dict[int, int]:
    """Return how many buckets each memory has too few, or too many (negative)."""
    return {memory: manager.needed(memory) - manager.owned(memory) for memory in range(MEMORIES)}


def _with_unowned(manager: Manager) -> Manager:
    """Give the buckets of nobody to the one memory that lacks as many."""
    unowned = manager.unowned()
    losers = {memory: count for memory, count in _missing(manager).items() if count > 0} if unowned else {}
    return _given(manager, unowned, *losers) if list(losers.values()) == [len(unowned)] else manager


def _given(manager: Manager, buckets: list[int], memory: int) -> Manager:
    owners = bytearray(manager.owners)
    for bucket in buckets:
        owners[bucket] = memory
    return replace(manager, owners=bytes(owners))


def _moved_back(manager: Manager, winner: int, loser: int, types: Types, notes: list[str]) -> Manager:
    """One bucket of the winner is the loser's: that with which both are soundest."""
    best, least, as_good = manager, (-1, 0), list[int]()
    for bucket in manager.buckets(winner)[:_MOST_TRIED]:
        tried = _given(manager, [bucket], loser)
        parts = parts_of(tried)
        doubt = _findings(parts, (winner, loser), types, least[0] + 1), -_structures(parts)
        if least[0] < 0 or doubt < least:
            best, least, as_good = tried, doubt, []
        elif doubt == least:
            as_good.append(bucket)
    if as_good:
        notes.append(f"it may also be bucket {' or '.join(map(str, as_good[:9]))}: give the types of memories {winner} and {loser}")
    return best


class _Enough(Exception):
    """As many findings as another has."""


def _findings(parts: dict[int | None, Part], memories: tuple[int, ...], types: Types, most: int) -> int:
    """Return how many rules these memories break; no more than `most` are counted, unless that is 0."""
    found: list[Finding] = []

    def note(finding: Finding) -> None:
        found.append(finding)
        if len(found) == most:
            raise _Enough

    try:
        for part in _with_their_logs(parts, memories):
            check_part(part, note, types, no_progress)
    except _Enough:
        pass
    return len(found)


def _with_their_logs(parts: dict[int | None, Part], memories: tuple[int, ...]) -> list[Part]:
    mine = [parts[memory] for memory in memories if memory in parts]
    logs = [part.index for part in mine if part.index is not None]
    return list({part.id: part for part in chain(mine, logs)}.values())


# ---- how large the memories are ----


def _mend_sizes(manager: Manager, notes: list[str]) -> Manager:
    """Replace a size that its buckets contradict by the size of the buckets."""
    sizes = list(manager.sizes)
    for memory in range(MEMORIES):
        owned = manager.owned(memory)
        if manager.needed(memory) != owned:
            sizes[memory] = owned * manager.bucket_pages
            notes.append(f"memory {memory} said to have {manager.sizes[memory]} pages; its {owned} buckets have {sizes[memory]}")
    return replace(manager, sizes=sizes)


def _widened(manager: Manager, types: Types) -> Manager:
    """Extend a memory whose structure is damaged up to the end of its last bucket."""
    parts, sizes = parts_of(manager), list(manager.sizes)
    for part in parts.values():
        if part.id is not None and part.is_structure and _findings(parts, (part.id,), types, 1):
            for one in filter(None, (part, part.data)):
                sizes[one.id or 0] = len(one.buckets) * manager.bucket_pages
    return replace(manager, sizes=sizes)
