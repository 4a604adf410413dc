# SPDX-License-Identifier: Apache-2.0
"""The core's survey of a map (native/structures/survey.h) in the words of the inspector.

The core walks the tree and the chunks, and counts what it finds and what is wrong with it. Here its notes become `Damage`,
an order that was a guess is judged, and types that only Python knows are held against the entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ... import _native as native
from ...storable import Codec
from ...storable.order import OrderKind
from ..allowance import share
from ..encoding import are_exact, encoding_in_core, require
from ..source import Progress, no_progress
from .inference import ORDERS, InferredOrder
from .layout import ALLOCATOR_AT, CHUNK_COUNT_AT, FIRST_CHUNK, Damage
from .rules import FEW, LIMIT, Note, damage_of

if TYPE_CHECKING:
    from .maps import MapReader

_core: Final = native.call
_STEP: Final = 1 << 14
_BATCH: Final = 4 << 20
_CHUNKS_AT_ONCE: Final = 1 << 20
_REQUEST: Final = 1 << 19
"""About as many bytes come in the time of one request. A small entry far away costs one, for its node."""
_ENTRY: Final = 16
"""Hardly an entry has fewer bytes."""

SEEN: Final = {
    "bytes": _core.SS_SEEN_BYTES,
    "length, then bytes": _core.SS_SEEN_LENGTH,
    "reversed bytes": _core.SS_SEEN_REVERSED,
    "none first, then bytes": _core.SS_SEEN_OPTION,
    "pair of a blob and a number": _core.SS_SEEN_PAIR,
}
"""Orders that are inferred, as the core knows them."""


@dataclass(slots=True)
class MapStats:
    """What a survey of all nodes found."""

    entries: int = 0
    nodes_by_depth: list[int] = field(default_factory=list)
    fill: list[int] = field(default_factory=lambda: [0] * 12)
    overflow_pages: int = 0
    free_chunks: int = 0
    live: int = 0
    """Bytes of nodes that mean something: headers, children, keys and values."""
    key_sizes: tuple[int, int] | None = None
    value_sizes: tuple[int, int] | None = None
    layout_1_nodes: int = 0
    lost_chunks: int = 0
    """Chunks that neither the tree nor the free list reaches."""
    skipped: int = 0
    """Subtrees that damage kept from being read."""
    whole: bool = True
    """Whether every node was looked at, or a sample."""


def shown_key(key: bytes, most: int = 40, size: int | None = None) -> str:
    """Return a key in hexadecimal, cut where it is long; `size` if these are only its first bytes."""
    size = len(key) if size is None else size
    return "(no bytes)" if not size else key.hex() if size <= most else f"{key[:most].hex()}... of {size} bytes"


# ---- given types ----


def frame_of(reader: MapReader, order: int | None = None) -> Any:
    """Return the node layout of a map, for the core."""
    layout, space = reader.layout, reader.space
    fixed = [_core.SS_NOT_FIXED if size is None else size for size in (layout.key_fixed, layout.value_fixed)]
    return native.map_frame(
        {
            "bytes": reader.source.nbytes, "page": space.page, "slot_key": space.slot_key, "slot_value": space.slot_value,
            "key_fixed": fixed[0], "key_max": layout.key_max, "value_max": layout.value_max, "value_fixed": fixed[1],
            "root": reader.root, "free_head": reader.free_head, "length": reader.length, "allocated": reader.allocated,
            "order": _core.SS_SEEN_ANY if order is None else order,
            "key_encoding": encoding_in_core(reader.key) or 0, "value_encoding": encoding_in_core(reader.value) or 0,
        }
    )  # fmt: skip


def _order_in_core(order: InferredOrder, key: Codec[Any] | None) -> int | None:
    """Return the order as the core knows it; None if only Python can compare."""
    if not order.certain or key is None:
        return SEEN.get(order.name)
    return None if key.order.kind is OrderKind.PYTHON else int(_core.SS_SEEN_TERMS)


# ---- the survey ----


class MapSurvey:
    """One survey of everything in a map. `stats` are complete after `run`."""

    def __init__(self, reader: MapReader, note: Note, progress: Progress = no_progress, *, group: int = 0) -> None:
        """With a `group` it fills columns for a picture, in which so many chunks share a byte."""
        self.reader = reader
        self.note = note
        self.progress = progress
        self.stats = MapStats()
        self.sound = True
        self.left_out = 0
        """Broken rules beyond those that were reported."""
        self._memory = reader.source.memory()
        self._group = group
        self._disorder: list[Damage] = []
        self._walk: native.MapSurvey | None = None

    def run(self) -> MapStats:
        """Survey the tree, the order of its keys, then the chunks. Raises `Unreadable`. O(n)."""
        reader = self.reader
        in_core = _order_in_core(reader.order, reader.key)
        walk = self._walk = self._walked(in_core)
        self._count(walk.stats())
        self._check_encodings()
        self._judge_order(walk, in_core)
        walk.chunks()
        self._require(walk.status)
        self._tell(walk)
        self.left_out += walk.left_out()
        found = walk.stats()
        self.stats.free_chunks, self.stats.lost_chunks = int(found.free_chunks), int(found.lost_chunks)
        return self.stats

    def columns(self) -> tuple[npt.NDArray[np.uint8], ...]:
        """By number of the chunk: depth, fill in 255ths, and 1 for a leaf, 2 for an internal node. After `run` with a `group`."""
        assert self._walk is not None  # noqa: S101 - asked by the caller
        return self._walk.columns

    def marks(self, multiple: int = 1) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """Iterate over what chunks were reached as, a multiple of so many at a time, with the number of the first. After `run`."""
        assert self._walk is not None  # noqa: S101 - asked by the caller
        step = max(1, _CHUNKS_AT_ONCE // multiple) * multiple
        for first in range(0, self.reader.space.chunks, step):
            yield first, self._walk.reached(first, min(step, self.reader.space.chunks - first))

    def nodes(self) -> Iterator[npt.NDArray[np.uint64]]:
        """Numbers of the chunks in which nodes were reached, ascending, some at a time. After `run`."""
        for first, marks in self.marks():
            found = np.flatnonzero(marks == _core.SS_REACHED_NODE).astype(np.uint64) + np.uint64(first)
            if len(found):
                yield found

    # ---- the tree ----

    def _walked(self, order: int | None, *, silent: bool = False) -> native.MapSurvey:
        """Return a walk over the tree with this order."""
        reader = self.reader
        reader.source.bring(reader.least_bytes())
        codec = reader.key if order == _core.SS_SEEN_TERMS else None
        room = share().slices if reader.source.nbytes > reader.source.cheap_bytes else 0
        walk = native.MapSurvey(self._memory._handle, frame_of(reader, order), codec, LIMIT, room)
        self._require(walk.status)
        if self._group and not silent:
            walk.draw(reader.space.chunks, self._group)
        while walk.step(_STEP):
            if not silent:
                self._tell(walk)
                self.progress("walking the tree", int(walk.stats().entries), reader.length)
        self._require(walk.status)
        if not silent:
            self._tell(walk)
        return walk

    def _require(self, status: int) -> None:
        if status < 0:
            self.reader.source.fail(status)

    def _tell(self, walk: native.MapSurvey) -> None:
        for note in walk.new_notes():
            if note[0] in (_core.SS_RULE_KEY_ENCODING, _core.SS_RULE_VALUE_ENCODING):
                self._tell_encoding(note[1], note[2], key=note[0] == _core.SS_RULE_KEY_ENCODING)
            else:
                self.note(damage_of(note))

    def _count(self, found: Any) -> None:
        stats = self.stats
        self.sound = bool(found.sound)
        stats.entries, stats.live, stats.overflow_pages = int(found.entries), int(found.live), int(found.overflow_pages)
        stats.nodes_by_depth = [int(found.nodes_by_depth[i]) for i in range(found.depths)]
        stats.fill = [int(found.fill[i]) for i in range(12)]
        stats.layout_1_nodes, stats.skipped = int(found.layout_1_nodes), int(found.skipped)
        if stats.entries:
            stats.key_sizes = int(found.key_least), int(found.key_most)
            stats.value_sizes = int(found.value_least), int(found.value_most)

    # ---- encodings ----

    def _tell_encoding(self, address: int, entry: int, *, key: bool) -> None:
        """One side of an entry against its type, in Python's words."""
        node = self.reader.space.node(address, self.reader.layout)
        if key:
            self._require_encoded("key", self.reader.key, address, entry, node.keys[entry])
        else:
            self._require_encoded("value", self.reader.value, address, entry, node.value(entry))

    def _require_encoded(self, what: str, codec: Codec[Any] | None, address: int, entry: int, data: bytes) -> None:
        try:
            if codec is not None:
                require(codec, data)
        except ValueError as error:
            self.note(Damage(f"a {what} is encoded as {codec.name if codec else ''}", address, f"entry {entry}: {error}", ""))

    def _check_encodings(self) -> None:
        """Every entry, of types that only Python knows."""
        reader = self.reader
        key, value = (None if encoding_in_core(codec) is not None else codec for codec in (reader.key, reader.value))
        if key is None and value is None:
            return
        for batch in batches(reader, None, keys_only=value is None):
            if are_exact(key, *batch[:2]) and are_exact(value, *batch[2:4]):
                continue
            for at, number, data, other in entries_of(batch):
                self._require_encoded("key", key, at, number, data)
                self._require_encoded("value", value, at, number, other)

    # ---- order ----

    def _judge_order(self, walk: native.MapSurvey, in_core: int | None) -> None:
        """Keys that do not ascend are damage, unless the order was a guess and another one fits, or none does."""
        reader = self.reader
        found = _Disorder.of(walk) if in_core is not None else self._compared(reader.order)
        if not found.count:
            return
        if not reader.order.certain:
            found = self._best_order(found)
            if found.count > max(2, FEW * max(0, self.stats.entries - 1)):
                found = found.equal_only()
                reader.order = InferredOrder("unknown", lambda a, b: a != b)
        hint = "" if reader.order.certain else f" (by {reader.order.name}, a guess)"
        for address, above, below in found.pairs:
            self.note(Damage(f"keys ascend strictly{hint}", address, below, f"more than {above}"))
        self.left_out += found.count - len(found.pairs)

    def _best_order(self, found: _Disorder) -> _Disorder:
        """Another order that fewer neighbours break. O(n) each."""
        best = found
        for order in ORDERS:
            if order.name == self.reader.order.name:
                continue
            in_core = _order_in_core(order, None)
            tried = self._compared(order) if in_core is None else _Disorder.of(self._walked(in_core, silent=True))
            if tried.count < best.count:
                best, self._better = tried, order
        if best is not found:
            self.reader.order = self._better
        return best

    _better: InferredOrder

    def _compared(self, order: InferredOrder) -> _Disorder:
        """By an order that only Python knows."""
        found, before = _Disorder(), None
        for batch in batches(self.reader, None, keys_only=True):
            for at, _, key, _ in entries_of(batch):
                if before is not None and not order.ascends(before, key):
                    found.add(at, before, key)
                before = key
        return found


@dataclass(slots=True)
class _Disorder:
    """Neighbours that do not ascend: how many, and the first of them with the address of the node of the second."""

    count: int = 0
    equal: int = 0
    pairs: list[tuple[int, str, str]] = field(default_factory=list)
    equal_pairs: list[tuple[int, str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, walk: native.MapSurvey) -> _Disorder:
        """Return what the core found."""
        stats, made = walk.stats(), cls()
        made.count, made.equal = int(stats.broken_orders), int(stats.equal_keys)
        for _, address, equal, _, a, a_size, b, b_size in walk.disorder():
            pair = address, shown_key(a, size=a_size), shown_key(b, size=b_size)
            made.pairs.append(pair)
            made.equal_pairs += [pair] if equal else []
        return made

    def add(self, address: int, a: bytes, b: bytes) -> None:
        """One more."""
        self.count += 1
        self.equal += a == b
        if len(self.pairs) < LIMIT:
            pair = address, shown_key(a), shown_key(b)
            self.pairs.append(pair)
            self.equal_pairs += [pair] if a == b else []

    def equal_only(self) -> _Disorder:
        """Those that no order allows."""
        return _Disorder(self.equal, self.equal, self.equal_pairs, self.equal_pairs)


def _free_list(reader: MapReader) -> tuple[int, native.MapSurvey]:
    """Return how many chunks lie before the end of the free list, and a survey that has seen the free ones."""
    memory = reader.source.memory()
    frame = frame_of(reader)
    frame.root = 0
    walk = native.MapSurvey(memory._handle, frame, None, 1, 0)
    end = walk.free_list() if walk.status >= 0 else 0
    if walk.status < 0:
        reader.source.fail(walk.status)
    for note in walk.new_notes():
        raise damage_of(note)
    return (end - FIRST_CHUNK) // reader.space.stride, walk


def end_of_chunks(reader: MapReader) -> int:
    """Return how many chunks lie before the end of the free list. O(free chunks). Raises `Damage`."""
    return _free_list(reader)[0]


def ranges_of_chunks(reader: MapReader, count: int) -> list[tuple[int, int, int]]:
    """Return `count` ranges of a map's chunks: first, end, and how many of them the free list leaves in use. O(chunks).

    Raises `Damage`, also if these are not as many as the allocator counts.
    """
    end, walk = _free_list(reader)
    found = []
    for number in range(count):
        first, stop = end * number // count, end * (number + 1) // count
        steps = range(first, stop, _CHUNKS_AT_ONCE)
        free = sum(np.count_nonzero(walk.reached(at, min(_CHUNKS_AT_ONCE, stop - at)) == _core.SS_REACHED_FREE) for at in steps)
        found.append((first, stop, stop - first - int(free)))
    if (used := sum(one for *_, one in found)) != reader.allocated:
        raise Damage("the number of allocated chunks counts them", ALLOCATOR_AT + CHUNK_COUNT_AT, reader.allocated, used)
    return found


# ---- entries ----


def first_entries(reader: MapReader, note: Note | None, count: int) -> Iterator[native.Batch]:
    """Return batches of entries in order, of which only the first `count` are wanted: what others need is not fetched from far away."""
    is_whole = count > reader.least_bytes() // _REQUEST
    return batches(reader, note, nbytes=_BATCH if is_whole else max(1, min(_BATCH - 1, count * _ENTRY)))


def first_keys(reader: MapReader, count: int) -> list[tuple[int, int, bytes]]:
    """Return the least keys that can be read, with the address of the node of each and its number there. O(log n + count)."""
    found: list[tuple[int, int, bytes]] = []
    for batch in batches(reader, None, keys_only=True, nbytes=1):
        found += [(node, number, key) for node, number, key, _ in entries_of(batch)]
        if len(found) >= count:
            break
    return found


def batches(
    reader: MapReader, note: Note | None, *, chunks: npt.NDArray[np.uint64] | None = None, keys_only: bool = False, nbytes: int = _BATCH
) -> Iterator[native.Batch]:
    """All entries in the order of the keys, or (`chunks`) node by node, in columns. O(n), one node of each level in memory.

    Unreadable parts are reported to `note` and left out. Fewer `nbytes` are for those who want only some of the first: then what
    is far away is fetched as it is needed. Raises `Unreadable`.
    """
    if nbytes >= _BATCH:
        reader.source.bring(reader.least_bytes())
    memory = reader.source.memory()
    feed = native.Entries(memory._handle, frame_of(reader), chunks, keys_only=keys_only)
    while feed.status >= 0:
        batch = feed.next(nbytes)
        for one in feed.new_notes():
            if note is not None:
                note(damage_of(one))
        if batch is None:
            break
        yield batch
    if feed.status < 0:
        reader.source.fail(feed.status)


def entries_of(batch: native.Batch) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Of each entry of a batch: the address of its node, its number there, key and value."""
    keys, key_ends, values, value_ends, nodes, numbers = batch
    low = at = 0
    for node, number, high, end in zip(nodes.tolist(), numbers.tolist(), key_ends.tolist(), value_ends.tolist(), strict=True):
        yield node, number, keys[low:high], values[at:end]  # no bytes of what was left out
        low, at = high, end
