# SPDX-License-Identifier: Apache-2.0
"""What `repair` makes of a manager's damaged tables.

The tables say most things twice: the owners say how many buckets there are, sizes and owners how large a bucket is, and
each memory has as many buckets as its size needs. So one damaged number can be found by the others. If a bucket went
from one memory to another, the structures in both say which it was: with the right one they are sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, pairwise
from typing import Final, NamedTuple

from ...memory.memory import PAGE_SIZE
from ..fit import other_structure
from ..formats.layout import BUCKETS, FREE, MEMORIES, Damage, Finding
from ..formats.managed import Manager, read_tables
from ..formats.recognise import STRUCTURES
from ..formats.rules import ENDS_INSIDE
from ..image import Image, Part, Types, parts_of, tell_as
from ..report import check_part
from ..source import no_progress

_MOST_TRIED: Final = 4096
_DEFAULT_PAGES: Final = 128


def mend_tables(image: Image, types: Types) -> tuple[list[str], list[str]]:
    """Give the image its most likely tables; return what is different, and what is lost. O(buckets), or O(size) where a bucket moved."""
    try:
        manager = read_tables(image.source)
    except Damage:
        return [], []
    notes, lost = list[str](), list[str]()
    manager = _mend_counts(manager, notes)
    if manager.bucket_pages:
        manager = _mend_owners(image, manager, types, notes, lost)
        lost += _lost(manager)
        manager = _widened(image, _mend_sizes(manager, notes), types)
        image.manager, image.parts = manager, _parts(image, manager)
    return notes, lost


def _parts(image: Image, manager: Manager) -> dict[int | None, Part]:
    """Return the memories by other tables, with what the schema says of each."""
    parts = parts_of(manager)
    tell_as(image, parts)
    return parts


# ---- how many buckets, and how large ----


def _mend_counts(manager: Manager, notes: list[str]) -> Manager:
    best = _most_likely(manager)
    if best.allocated != manager.allocated:
        notes.append(f"the number of buckets said {manager.allocated}; by their owners there are {best.allocated}")
    if best.bucket_pages != manager.bucket_pages:
        notes.append(f"the size of a bucket said {manager.bucket_pages} pages; by the sizes of the memories it is {best.bucket_pages}")
    return best


class _Evidence(NamedTuple):
    """How well the numbers in a manager's header explain an image."""

    doubt: int
    """Broken rules, less the structures that are found where the tables lead. A file that is cut off breaks no rule here."""
    strangers: int
    """Memories that do not begin with a structure."""
    is_cut: bool
    """Whether the file ends before a bucket in use does."""

    def is_better_than(self, other: _Evidence) -> bool:
        """Return whether these numbers are more likely. Among equals, a file that is cut off is more likely than a wrong number.

        The exception: without a cut, no more memories begin with something else. In half a file, buckets of half the size lead to as
        many structures, but every second memory begins in the middle of a bucket.
        """
        if self.doubt != other.doubt:
            return self.doubt < other.doubt
        return other.is_cut and not self.is_cut and self.strangers <= other.strangers


def _most_likely(manager: Manager) -> Manager:
    """Return the tables with the numbers that explain the image best."""
    best, least = manager, None
    for one in _counts(manager):
        found = _evidence(one)
        if least is None or found.is_better_than(least):
            best, least = one, found
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


def _evidence(manager: Manager) -> _Evidence:
    found: list[Damage] = []
    manager = _with_unowned(manager)
    manager.check(found.append)
    outside, parts = sum(damage.rule == ENDS_INSIDE for damage in found), parts_of(manager)
    strangers = sum(part.kind in ("zeros", "unknown") for part in parts.values())
    return _Evidence(len(found) - outside - _structures(parts), strangers, outside > 0)


def _structures(parts: dict[int | None, Part]) -> int:
    return sum(part.kind in STRUCTURES for part in parts.values())


# ---- who owns which ----


def _mend_owners(image: Image, manager: Manager, types: Types, notes: list[str], lost: list[str]) -> Manager:
    """Return the buckets that one memory lacks: those of nobody, or one that another has too many."""
    moved = _with_unowned(manager)
    missing, spare = _missing(moved), _spare(moved)
    losers = [memory for memory, count in missing.items() if 0 < count <= spare]
    winners = [memory for memory, count in missing.items() if count < 0]
    if len(losers) == len(winners) == spare == 1 and not moved.unowned():
        moved = _moved_back(image, manager, (winners[0], losers[0]), types, lost)
    notes += [
        f"bucket {bucket} was marked as of {said}; by the sizes of the memories it is of {meant}"
        for bucket, (said, meant) in enumerate(zip(manager.owners, moved.owners, strict=True))
        if said != meant
    ]
    return moved


def _missing(manager: Manager) -> dict[int, int]:
    """Return how many buckets each memory has too few, or too many (negative)."""
    return {memory: manager.needed(memory) - manager.owned(memory) for memory in range(MEMORIES)}


def _spare(manager: Manager) -> int:
    """Return how many buckets have no owner, or one that does not need them.

    No memory can have lost more than these: if its size says that it lacks more, the size is wrong.
    """
    return len(manager.unowned()) - sum(count for count in _missing(manager).values() if count < 0)


def _lost(manager: Manager) -> list[str]:
    """Return a sentence for each memory whose missing buckets may be among the spare ones."""
    spare = _spare(manager)
    return [
        f"memory {memory} lacks {count} of the buckets that its size needs; they may be among those of other memories, or of none"
        for memory, count in _missing(manager).items()
        if 0 < count <= spare
    ]


def _with_unowned(manager: Manager) -> Manager:
    """Give the buckets of nobody to the one memory that lacks as many."""
    unowned = manager.unowned()
    losers = {memory: count for memory, count in _missing(manager).items() if 0 < count <= len(unowned)} if unowned else {}
    return _given(manager, unowned, *losers) if list(losers.values()) == [len(unowned)] else manager


def _given(manager: Manager, buckets: list[int], memory: int) -> Manager:
    owners = bytearray(manager.owners)
    for bucket in buckets:
        owners[bucket] = memory
    return replace(manager, owners=bytes(owners))


def _moved_back(image: Image, manager: Manager, memories: tuple[int, int], types: Types, lost: list[str]) -> Manager:
    """Return the tables after one bucket of the first memory was given to the second: the bucket with which both break the fewest rules.

    If another bucket does as well, the two structures may have changed places. That is reported as a loss.
    """
    (winner, loser), least, as_good = memories, (-1, 0), list[int]()
    for bucket in manager.buckets(winner)[:_MOST_TRIED]:
        parts = _parts(image, _given(manager, [bucket], loser))
        doubt = _findings(parts, memories, types, least[0] + 1), -_structures(parts)
        if least[0] < 0 or doubt < least:
            least, as_good = doubt, [bucket]
        elif doubt == least:
            as_good.append(bucket)
    best = min(as_good, key=lambda bucket: _descents(_given(manager, [bucket], loser).owners))
    if len(as_good) > 1:
        others = " or ".join(str(bucket) for bucket in as_good[:9] if bucket != best)
        parts = _parts(image, manager)
        known = all(parts[one].given.structure and any(parts[one].types(types)) for one in memories if one in parts)
        hint = "" if known else f": a schema with the structures and types of memories {winner} and {loser} may tell"
        lost.append(f"bucket {best} was given to memory {loser}; it may also be bucket {others}{hint}")
    return _given(manager, [best], loser)


def _descents(owners: bytes) -> int:
    """Return how often a memory whose first bucket is later has a lower id. Most canisters create memories in the order of their ids."""
    firsts = list(dict.fromkeys(owners.rstrip(bytes([FREE]))))
    return sum(a > b for a, b in pairwise(firsts))


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
            if (reason := other_structure(part)) is not None:
                note(part.finding(Damage(reason, 0, part.kind, str(part.given.structure))))
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
            notes.append(f"memory {memory} recorded {manager.sizes[memory]} pages; its {owned} buckets have {sizes[memory]}")
    return replace(manager, sizes=sizes)


def _widened(image: Image, manager: Manager, types: Types) -> Manager:
    """Extend a memory whose structure is damaged up to the end of its last bucket."""
    parts, sizes = _parts(image, manager), list(manager.sizes)
    for part in parts.values():
        if part.id is not None and part.is_structure and _findings(parts, (part.id,), types, 1):
            for one in filter(None, (part, part.data)):
                sizes[one.id or 0] = len(one.buckets) * manager.bucket_pages
    return replace(manager, sizes=sizes)
