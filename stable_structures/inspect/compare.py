# SPDX-License-Identifier: Apache-2.0
"""What is different between two memories: entries that were added, removed or changed, sizes, and bytes elsewhere.

Both are compared block by block first. An allocated chunk whose bytes are the same holds the same node in both, so only
the entries of changed chunks are read and compared: what moved from one changed node to another cancels out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..memory.memory import PAGE_SIZE, Memory
from .budget import guessing
from .fit import as_it_is, open_image, require_fit
from .formats.layout import (
    ALLOCATED_AT,
    CHUNK_BEGINS,
    CHUNK_HEADER,
    FIRST_CHUNK,
    LOG_DATA_AT,
    NODE_BEGINS,
    NODE_MAGIC,
    OVERFLOW_AT,
    OVERFLOW_MAGIC,
    SLOTS_AT,
    Damage,
    u64,
)
from .formats.maps import MapReader
from .formats.nodes import Node
from .formats.sequences import CellReader, LogReader, SequenceReader, SlotReader
from .image import Image, Part, Types, held_still
from .jobs import Task, allowed, results
from .merge import Difference, differences
from .report import readings
from .source import BLOCK, Progress, Source, no_progress
from .values import RAW, Reading

_GRAIN: Final = 512
_MOST_RANGES: Final = 10_000
_MOST_TOUCHED: Final = 20_000
"""Of changed ranges and chunks of a map. Beyond that all entries are read, in order."""
_OTHER_LAYOUT: Final = "the same entries, laid out in another way"


@dataclass(frozen=True, slots=True)
class Change:
    """One entry: `before` is None if it was added, `after` if it was removed. Encoded bytes."""

    key: bytes | int
    before: bytes | None
    after: bytes | None

    @property
    def what(self) -> str:
        """One of added, removed and changed."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"


@dataclass(slots=True)
class PartDiff:
    """What is different in one memory."""

    memory: int | None
    kinds: tuple[str | None, str | None]
    sizes: tuple[int, int]
    """Bytes of the memory before and after."""
    lengths: tuple[int | None, int | None] = (None, None)
    changes: list[Change] = field(default_factory=list)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    """Changed byte ranges, of what is not compared entry by entry."""
    key: Reading = RAW
    value: Reading = RAW
    notes: list[str] = field(default_factory=list)
    is_by_entry: bool = False
    """Whether entries were compared: then sizes and places of bytes are layout, and no difference."""

    @property
    def same(self) -> bool:
        """Return whether there is no difference that means something."""
        is_content_same = self.is_by_entry or self.sizes[0] == self.sizes[1]
        return self.kinds[0] == self.kinds[1] and is_content_same and not self.changes and not self.ranges


def diff(
    a: str | Path | Memory | bytes | Image,
    b: str | Path | Memory | bytes | Image,
    *,
    types: Types | None = None,
    progress: Progress = no_progress,
    jobs: int = 1,
) -> list[PartDiff]:
    """Return the differences from `a` to `b`, memory by memory; also those that are the same, with nothing in them.

    O(size) comparing, and O(changed chunks) reading of entries. `jobs` processes compare memories at once (jobs.py). Raises
    `Unreadable`.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> users = StableBTreeMap[u64, str](memory)
    >>> users.update({i: f"user {i}" for i in range(100)})
    >>> before = memory.read(0, memory.nbytes)
    >>> _ = users.insert(7, "Ada")
    >>> [(change.what, change.after) for change in diff(before, memory)[0].changes]
    [('changed', b'Ada')]
    """
    with held_still(a, b), ExitStack() as opened:
        first, second = (as_it_is(one) if isinstance(one, Image) else opened.enter_context(open_image(one, progress)) for one in (a, b))
        for part in (*first.parts.values(), *second.parts.values()):
            require_fit(part, types or {})
        ids = sorted({*first.parts, *second.parts}, key=lambda i: -1 if i is None else i)
        pairs = [(first.parts.get(i), second.parts.get(i)) for i in ids]
        tasks = [Task(_weight(*pair), partial(_diff_part, i, *pair, types or {})) for i, pair in zip(ids, pairs, strict=True)]
        with guessing():
            found = list(results(tasks, allowed(jobs, first.source, second.source), progress))
            for one, pair in zip(found, pairs, strict=True):
                _say_how_to_read(one, *pair, types or {})
            return found


def _weight(a: Part | None, b: Part | None) -> int:
    return sum(part.source.nbytes for part in (a, b) if part is not None)


def _say_how_to_read(found: PartDiff, a: Part | None, b: Part | None, types: Types) -> None:
    """Set how the changed entries are read: by the given types, or by a guess at those of the memory that has entries."""
    part = a if b is None or (a is not None and not found.lengths[1]) else b
    if found.changes and part is not None:
        found.key, found.value = readings(part, types)


def _diff_part(memory: int | None, a: Part | None, b: Part | None, types: Types, progress: Progress) -> PartDiff:
    sizes = (0 if a is None else a.source.nbytes, 0 if b is None else b.source.nbytes)
    found = PartDiff(memory, (a.kind if a else None, b.kind if b else None), sizes)
    try:
        if a is not None and b is not None:
            _compare(found, a, b, types, progress)
        elif (a or b) is not None:
            _one_sided(found, a, b, types)
    except Damage as damage:
        found.notes.append(f"damaged: {damage}")
        if a is not None and b is not None:
            found.changes, found.ranges, found.is_by_entry = [], list(changed(a.source, b.source, progress)), False
    found.kinds = _words(found.kinds, found.lengths, a, b)
    for part, which in ((a, "before"), (b, "after")):
        if part is not None and part.source.nbytes < part.pages * PAGE_SIZE:
            found.notes.append(f"cut off {which}: only {part.source.nbytes:,} of {part.pages * PAGE_SIZE:,} bytes are there")
    return found


def _words(
    kinds: tuple[str | None, str | None], lengths: tuple[int | None, int | None], a: Part | None, b: Part | None
) -> tuple[str | None, str | None]:
    """Return the kinds as people say them. An empty map may be an empty set: then it is what the other one is."""
    words = tuple(None if part is None else part.word for part in (a, b))
    if kinds == ("map", "map") and set(words) == {"map", "set"} and lengths[words.index("map")] == 0:
        return "set", "set"
    return words[0], words[1]


def _compare(found: PartDiff, a: Part, b: Part, types: Types, progress: Progress) -> None:
    if a.kind != b.kind or not a.is_structure:
        found.is_by_entry = bool(a.index and b.index)  # its entries are those of the index
        found.ranges = [] if found.is_by_entry else list(changed(a.source, b.source, progress))
        return
    given = next((side.types(types) for side in (a, b) if side.types(types) != (None, None)), (None, None))
    one, two = a.open(*given), b.open(*given)
    found.lengths = one.length, two.length
    are_maps = isinstance(one, MapReader) and isinstance(two, MapReader)
    ranges = list(islice(changed(a.source, b.source, progress), _MOST_RANGES + 1 if are_maps else None))
    if isinstance(one, MapReader) and isinstance(two, MapReader):
        found.changes = list(_map_changes(one, two, ranges))
    elif isinstance(one, SequenceReader) and isinstance(two, SequenceReader):
        found.changes = list(_sequence_changes(one, two, ranges, progress))
    found.is_by_entry = True
    if not found.changes and (ranges or found.sizes[0] != found.sizes[1]):
        found.notes.append(_OTHER_LAYOUT)


def _one_sided(found: PartDiff, a: Part | None, b: Part | None, types: Types) -> None:
    part = a or b
    if part is None or not part.is_structure:
        return
    reader = part.open(*part.types(types))
    found.lengths = (reader.length, None) if part is a else (None, reader.length)
    for key, value in _entries(reader):
        found.changes.append(Change(key, value, None) if part is a else Change(key, None, value))


def _entries(reader: MapReader | SequenceReader) -> Iterator[tuple[bytes | int, bytes]]:
    if isinstance(reader, MapReader):
        return reader.entries()
    return iter(reader.elements())


# ---- bytes ----


def changed(a: Source, b: Source, progress: Progress = no_progress) -> Iterator[tuple[int, int]]:
    """Iterate over the ranges that differ, in steps of 512 bytes; past the end of one, its bytes count as zeros. O(size)."""
    total = max(a.nbytes, b.nbytes)
    start = stop = -1
    for offset in _places(a, b):
        progress("comparing", offset, total)
        for low, high in _different(_bytes(a, offset), _bytes(b, offset), offset):
            if low != stop and stop >= 0:
                yield start, stop
            start, stop = (low if low != stop else start), high
    if stop >= 0:
        yield start, stop


def _places(a: Source, b: Source) -> list[int]:
    """Return the offsets of the blocks in which either has data."""
    found: set[int] = set()
    for source in (a, b):
        for low, high in source.extents(0, source.nbytes):
            found.update(range(low // BLOCK * BLOCK, high, BLOCK))
    return sorted(found)


def _bytes(source: Source, offset: int) -> bytes:
    length = max(0, min(BLOCK, source.nbytes - offset))
    return (source.read(offset, length) if length else b"").ljust(BLOCK, b"\0")


def _different(a: bytes, b: bytes, offset: int) -> Iterator[tuple[int, int]]:
    if a == b:
        return
    rows = (np.frombuffer(a, np.uint8) != np.frombuffer(b, np.uint8)).reshape(-1, _GRAIN).any(axis=1)
    for i in np.flatnonzero(rows).tolist():
        yield offset + i * _GRAIN, offset + (i + 1) * _GRAIN


# ---- maps ----


def _map_changes(a: MapReader, b: MapReader, ranges: list[tuple[int, int]]) -> Iterator[Change]:
    """Iterate over changes in the order of the keys, as far as it is known."""
    found = _in_changed_chunks(a, b, ranges) if (a.page, a.layout.key_fixed) == (b.page, b.layout.key_fixed) else None
    by_key = b.order.sort_key()
    for key, before, after in sorted(differences(a, b) if found is None else found, key=lambda one: by_key(one[0])):
        yield Change(key, before, after)


def _in_changed_chunks(a: MapReader, b: MapReader, ranges: list[tuple[int, int]]) -> list[Difference] | None:
    """Return changes by the chunks that are different; None if these are so many that reading everything in order is faster.

    None, too, if the lengths of the maps say another number of entries.
    """
    ends = a.end_of_chunks(), b.end_of_chunks()
    changed_bytes = sum(high - low for low, high in ranges) + (max(ends) - min(ends)) * a.space.stride
    if len(ranges) > _MOST_RANGES or changed_bytes // a.space.stride + len(ranges) > _MOST_TOUCHED:
        return None
    touched = _touched(ranges, a.space.stride, max(ends)) | set(range(min(ends), max(ends)))
    one, two = dict(_entries_in(a, touched, ends[0])), dict(_entries_in(b, touched, ends[1]))
    if len(two) - len(one) != b.length - a.length:
        return None  # a chunk that is damaged may look like one without entries: reading all by the tree says what is wrong
    return [(key, one.get(key), two.get(key)) for key in {**one, **two} if one.get(key) != two.get(key)]


def _touched(ranges: Iterable[tuple[int, int]], stride: int, chunks: int) -> set[int]:
    """Numbers of the chunks that lie in changed ranges."""
    found: set[int] = set()
    for low, high in ranges:
        found.update(range(max(0, (low - FIRST_CHUNK) // stride), min(chunks, (high - 1 - FIRST_CHUNK) // stride + 1)))
    return found


def _entries_in(reader: MapReader, touched: set[int], end: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries of the nodes that have a page in these chunks, of the first `end`."""
    space = reader.space
    overflow = False
    for index in touched:
        if index >= end:
            continue
        data = _allocated(reader, index)
        overflow = overflow or data[:3] == OVERFLOW_MAGIC
        if data[:3] == NODE_MAGIC:
            yield from _of_node(space.node(space.address(index), reader.layout))
    if overflow:
        yield from _of_chains(reader, touched, end)


def _allocated(reader: MapReader, index: int) -> bytes:
    """Return the first bytes of an allocated chunk; nothing of a free one."""
    space, at = reader.space, reader.space.address(index)
    if at + space.page > space.source.nbytes:
        return b""
    header = space.read(at - CHUNK_HEADER, CHUNK_HEADER + 16)
    return header[CHUNK_HEADER:] if header[:4] == CHUNK_BEGINS and header[ALLOCATED_AT] == 1 else b""


def _of_chains(reader: MapReader, touched: set[int], end: int) -> Iterator[tuple[bytes, bytes]]:
    """Of nodes whose own chunk is the same and an overflow page is not. O(chunks) small reads."""
    space = reader.space
    for index in range(end):
        data = b"" if index in touched else _allocated(reader, index)
        if data[:4] != NODE_BEGINS or u64(data, OVERFLOW_AT) == 0:
            continue
        node = space.node(space.address(index), reader.layout)
        if any(space.index(page) in touched for page in node.run.pages):
            yield from _of_node(node)


def _of_node(node: Node) -> Iterator[tuple[bytes, bytes]]:
    return ((key, node.value(i)) for i, key in enumerate(node.keys))


# ---- rows ----


def _sequence_changes(a: SequenceReader, b: SequenceReader, ranges: list[tuple[int, int]], progress: Progress) -> Iterator[Change]:
    same = min(a.readable(), b.readable())
    for low, high in _runs(_candidates(a, b, ranges, same, progress)):
        for (index, before), (_, after) in zip(a.elements(low, high), b.elements(low, high), strict=True):
            if before != after:
                yield Change(index, before, after)
    for index, data in a.elements(same):
        yield Change(index, data, None)
    for index, data in b.elements(same):
        yield Change(index, None, data)


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Join ascending numbers that follow each other: the first, and the one behind the last."""
    low = high = -1
    for number in numbers:
        if number != high:
            if high >= 0:
                yield low, high
            low = number
        high = number + 1
    if high >= 0:
        yield low, high


def _candidates(a: SequenceReader, b: SequenceReader, ranges: list[tuple[int, int]], same: int, progress: Progress) -> Iterable[int]:
    """Elements that both have and that may be different."""
    if isinstance(a, CellReader):
        return range(same)
    if isinstance(a, SlotReader) and isinstance(b, SlotReader):
        is_laid_out_the_same = (a.slot, a.fixed) == (b.slot, b.fixed)  # else the same bytes are other elements
        return _slots_in(ranges, a.slot, same) if is_laid_out_the_same else range(same)
    if isinstance(a, LogReader) and isinstance(b, LogReader) and a.data is not None and b.data is not None:
        return _log_candidates(a, b, same, progress)
    return ()


def _slots_in(ranges: Iterable[tuple[int, int]], slot: int, same: int) -> list[int]:
    found: set[int] = set()
    for low, high in ranges:
        if slot and high > SLOTS_AT:
            found.update(range(max(0, (low - SLOTS_AT) // slot), min(same, (high - 1 - SLOTS_AT) // slot + 1)))
    return sorted(found)


def _log_candidates(a: LogReader, b: LogReader, same: int, progress: Progress) -> Iterator[int]:
    """Entries whose place or bytes are different."""
    assert a.data is not None  # noqa: S101 - asked by the caller
    assert b.data is not None  # noqa: S101 - asked by the caller
    ranges = [(low - LOG_DATA_AT, high - LOG_DATA_AT) for low, high in changed(a.data, b.data, progress)]
    before = 0, 0
    for (first, one), (_, two) in zip(a.ends(), b.ends(), strict=False):
        count = min(len(one), len(two), same - first)
        starts, others = (np.concatenate(([np.uint64(last)], ends[: count - 1])) for last, ends in zip(before, (one, two), strict=True))
        marked = (starts != others) | (one[:count] != two[:count])
        for low, high in ranges:
            marked |= (starts < np.uint64(max(high, 0))) & (one[:count] > np.uint64(max(low, 0)))
        yield from (first + np.flatnonzero(marked)).tolist()
        before = int(one[-1]), int(two[-1])


# ---- for programs ----


def to_dict(found: PartDiff, read: Callable[[Reading, Any], Any], limit: int | None = None) -> dict[str, Any]:
    """For JSON; `read` makes a value of bytes."""
    counts = {what: sum(change.what == what for change in found.changes) for what in ("added", "removed", "changed")}
    rows = []
    for change in found.changes[:limit]:
        row: dict[str, Any] = {"what": change.what, "key": change.key if isinstance(change.key, int) else read(found.key, change.key)}
        with suppress(ValueError):
            row |= {
                name: read(found.value, data) for name, data in (("before", change.before), ("after", change.after)) if data is not None
            }
        rows.append(row)
    return {
        "memory": found.memory,
        "kinds": list(found.kinds),
        "sizes": list(found.sizes),
        "lengths": list(found.lengths),
        **counts,
        "changes": rows,
        "ranges": [list(pair) for pair in found.ranges[:limit]],
        "notes": found.notes,
    }
