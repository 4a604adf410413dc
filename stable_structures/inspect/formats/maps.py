# SPDX-License-Identifier: Apache-2.0
"""A map or set, parsed as untrusted input: its header, its nodes in order, its chunks, and every rule they keep.

header (0..28) -> root -> nodes -> chains of overflow pages          each chunk is reached once: from the tree,
allocator (52..100) -> free list -> free chunks -> end of the list   or from the free list
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ...storable import Codec
from ..source import PastEnd, Progress, Source, no_progress
from .inference import InferredOrder, infer_layout, infer_order, layout_of, order_of
from .layout import (
    ALLOCATOR_AT,
    CHUNK_BEGINS,
    CHUNK_COUNT_AT,
    CHUNK_HEADER,
    DEPTH,
    FIRST_AT,
    FIRST_CHUNK,
    LEAST_PAGE,
    NEXT_FREE_AT,
    UNBOUNDED_MARK,
    Damage,
    bounds_of_page,
    u64,
)
from .nodes import Node, NodeLayout, Space
from .rules import Note, head_of, ignore, refuse
from .survey import MapStats, MapSurvey, batches, end_of_chunks, entries_of, first_entries

_SAMPLE: Final = 24
_SCAN: Final = 4096
_FEW: Final = 8
_NEAREST: Final = 64
"""Chunks at the beginning that came with the header, mostly."""


def sizes_with(sizes: tuple[int, int] | None, low: int, high: int) -> tuple[int, int]:
    """Return the least and the greatest size, with two more."""
    return (low, high) if sizes is None else (min(sizes[0], low), max(sizes[1], high))


@dataclass(slots=True)
class _Inferred:
    """What the nodes say of a map, once for a reader and its copies: finding it takes longer than all else about a small map."""

    sample: list[int] | None = None
    layout: NodeLayout | None = None
    order: InferredOrder | None = None


class MapReader:
    """A map in a memory. Raises `Damage` if the header is such that nothing can be found.

    Types may be given; what is not given is inferred from the nodes when it is asked for, and marked as a guess
    (`layout.certain`, `order.certain`). A copy of a reader knows what the reader does.
    """

    def __init__(self, source: Source, key: Codec[Any] | None = None, value: Codec[Any] | None = None) -> None:
        self.source = source
        self.key, self.value = key, value
        head, self.problems = head_of(source, "map")
        """What is wrong with the header, and did not keep it from being read."""
        self._take_header(head)
        self.space = Space(source, self.page, *((self.max_key, self.max_value) if self.derived else (0, 0)))
        if self.least_bytes() > source.nbytes:
            most = (source.nbytes - FIRST_CHUNK) // self.space.stride
            self.problems.append(
                Damage(
                    "the allocated chunks of a map lie inside the memory", ALLOCATOR_AT + CHUNK_COUNT_AT, self.allocated, f"at most {most}"
                )
            )
        self._inferred = _Inferred()
        self._order: InferredOrder | None = None

    # ---- the header ----

    def _take_header(self, head: Any) -> None:
        self.version, self.derived = int(head.version), bool(head.derived)
        self.max_key, self.max_value, self.page = int(head.key_max), int(head.value_max), int(head.page)
        self.root, self.length = int(head.root), int(head.count)
        self.allocated, self.free_head, size = int(head.allocated), int(head.free_head), int(head.chunk_size)
        if size != self.page and LEAST_PAGE <= size < 2**32 and self._fits_chunks(size) and not self._fits_chunks(self.page):
            self.page, self.derived = size, False
            self.max_key = self.max_value = UNBOUNDED_MARK
        if self.page < LEAST_PAGE:
            raise Damage("a map's page size is at least 128", FIRST_AT, self.page, LEAST_PAGE)

    def _fits_chunks(self, page: int) -> bool:
        """Return whether the second chunk lies where this page size puts it."""
        at = FIRST_CHUNK + page + CHUNK_HEADER
        return page >= LEAST_PAGE and at + 4 <= self.source.nbytes and self.source.read(at, 4) == CHUNK_BEGINS

    def least_bytes(self) -> int:
        """Return how many bytes the chunks that the allocator counts need at least."""
        return FIRST_CHUNK + self.allocated * self.space.stride

    @property
    def is_set(self) -> bool:
        """Return whether it has no values: by the header, or by what is in it. A map of units looks the same."""
        if self.derived:
            return self.max_value == 0
        if self.length == 0 or any(size for node in self.sampled() for _, size in node.values):
            return False
        if self.allocated > _SCAN:
            return bool(self.sample)
        self.source.bring(self.least_bytes())
        ends = [int(batch[3][-1]) for batch in batches(self, ignore, keys_only=True)]
        return bool(ends) and not any(ends)

    # ---- what is not in the header ----

    @property
    def sample(self) -> list[int]:
        """Return the addresses of some nodes. O(1), but for the first time."""
        if self._inferred.sample is None:
            self._inferred.sample = self._sample()
        return self._inferred.sample

    @property
    def layout(self) -> NodeLayout:
        """Return how nodes are read: by the types, or as fits the sample best. O(1), but for the first time: O(256 * nodes)."""
        if self._inferred.layout is None:
            self._inferred.layout = layout_of(self.key, self.value, self._base())
        return self._inferred.layout

    @property
    def order(self) -> InferredOrder:
        """Return the order of the keys: of their type, or one that the sample keeps; whoever finds a better one sets it."""
        if self._order is None and self.key is not None:
            self._order = order_of(self.key)
        if self._order is not None:
            return self._order
        if self._inferred.order is None:
            self._inferred.order = infer_order(self.sampled())
        return self._inferred.order

    @order.setter
    def order(self, order: InferredOrder) -> None:
        self._order = order

    def _base(self) -> NodeLayout:
        """Return the layout without the types."""
        total = bounds_of_page(self.page) if not self.derived else None
        base = NodeLayout(None, self.max_key, self.max_value, certain=False)
        if total is not None:
            base = NodeLayout(None, total, total, certain=False)
        if self.key is not None:
            return base
        found = infer_layout(self.space, self.sample, total)
        most = found.key_fixed if found.key_fixed is not None else min(base.key_max, found.key_max)
        return NodeLayout(found.key_fixed, most, min(base.value_max, found.value_max), certain=False)

    def _sample(self) -> list[int]:
        """Return the addresses of some nodes: from the root breadth first; where that meets damage, from the chunks too.

        Far away a node costs a request: there the nodes of the way to the least key are fetched, and others that came with them.
        """
        found: list[int] = []
        queue, damaged = [self.root], False
        far = self.source.is_far
        if far:
            self._descend_leftmost()
        while queue and len(found) < _SAMPLE:
            address = queue.pop(0)
            if far and not self.source.is_at_hand(address - CHUNK_HEADER, self.space.stride):
                continue
            try:
                node = self.space.node(address, NodeLayout(), whole=False)
            except Damage:
                damaged = True
                continue
            if address not in found:
                found.append(address)
                queue += node.children[:: max(1, len(node.children) // 3)]
        if damaged or (far and len(found) < _FEW):
            loose = self.loose_nodes(range(min(self.space.chunks, _NEAREST if far else _SCAN)), _SAMPLE)
            found += [node.address for node in loose if node.address not in found]
        return found

    def _descend_leftmost(self) -> None:
        """Fetch the nodes on the way to the least key. O(log n)."""
        address, levels = self.root, 0
        while address and levels < DEPTH:
            try:
                node = self.space.node(address, NodeLayout(), whole=False)
            except Damage:
                return
            address, levels = (0 if node.leaf else node.children[0]), levels + 1

    def loose_nodes(self, indices: range, limit: int | None = None) -> Iterator[Node]:
        """Iterate over nodes in allocated chunks, whether anything leads to them or not; only their headers and children are parsed."""
        for index in indices:
            try:
                node = self.space.node(self.space.address(index), NodeLayout(), whole=False)
            except Damage:
                continue
            yield node
            if limit is not None:
                limit -= 1
                if limit == 0:
                    return

    def sampled(self) -> Iterator[Node]:
        """Iterate over the nodes of the sample that can be read."""
        for address in self.sample:
            try:
                yield self.space.node(address, self.layout)
            except Damage:
                continue

    # ---- walking ----

    def entries(self, note: Note | None = None, count: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Every entry in order, as encoded bytes; `count` says that no more are wanted. O(n), one node of each level in memory.

        Unreadable parts are reported to `note` and left out; without `note` they raise `Damage`.
        """
        for batch in batches(self, note or refuse) if count is None else first_entries(self, note or refuse, count):
            yield from ((key, value) for _, _, key, value in entries_of(batch))

    def _enter(self, address: int, depth: int, note: Note, left: list[int]) -> Node | None:
        """Return the next node of a walk that may enter `left` more; that bounds walks through nodes with several parents."""
        left[0] -= 1
        try:
            if depth == DEPTH:
                raise Damage("a tree has fewer than 32 levels", address, depth, DEPTH)  # noqa: TRY301 - a broken rule, reported as all are
            if left[0] < 0:
                raise Damage("every chunk is reached once", address, 2, 1)  # noqa: TRY301 - a broken rule, reported as all are
            return self.space.node(address, self.layout)
        except Damage as damage:
            note(damage)
            return None

    def find(self, key: bytes) -> bytes | None:
        """Return the value of an encoded key. O(log n). Raises `Damage`."""
        address, depth = self.root, 0
        while address:
            node = self._enter(address, depth, refuse, [DEPTH])
            assert node is not None  # noqa: S101 - asked by the caller
            if key in node.keys:
                return node.value(node.keys.index(key))
            if node.leaf:
                return None
            index = sum(self.order.ascends(other, key) for other in node.keys)
            address, depth = node.children[index], depth + 1
        return None

    def entries_between(self, low: bytes | None, high: bytes | None, note: Note | None = None) -> Iterator[tuple[Node, int]]:
        """Entries from `low` (with it) to `high` (without it), in order. O(log n + entries)."""
        if self.root:
            yield from self._between(self.root, 0, (low, high), note or refuse, [self.space.chunks])

    def _between(
        self, address: int, depth: int, ends: tuple[bytes | None, bytes | None], note: Note, left: list[int]
    ) -> Iterator[tuple[Node, int]]:
        node = self._enter(address, depth, note, left)
        if node is None:
            return
        low, high = ends
        before, count = self.order.ascends, len(node.keys)
        for i in range(count + 1):
            below = i < count and low is not None and before(node.keys[i], low)
            if not node.leaf and not below:
                yield from self._between(node.children[i], depth + 1, ends, note, left)
            if i == count or (high is not None and not before(node.keys[i], high)):
                return
            if not below:
                yield node, i

    def end_of_chunks(self) -> int:
        """Return how many chunks were ever given out since the map was made or cleared: those before the end of the free list.

        What lies behind them is from before that, and means nothing. O(free chunks). Raises `Damage`.
        """
        return end_of_chunks(self)

    def free_chunks(self, most: int) -> int | None:
        """Return the number of chunks that the free list leads to; None if they are more than `most`, or if it is damaged. O(most)."""
        chunk, count = self.free_head, 0
        while count <= most:
            try:
                header = self.source.read(chunk, CHUNK_HEADER)
            except PastEnd:
                return None
            chunk = u64(header, NEXT_FREE_AT)
            if header[:4] != CHUNK_BEGINS or chunk == 0:
                return count if header[:4] == CHUNK_BEGINS else None
            count += 1
        return None

    def last_key(self) -> tuple[int, int] | None:
        """Return the address of the node of the greatest key that can be read, and its number there; None without one. O(log n)."""
        return next(self._from_right(self.root, 0, [4 * DEPTH]), None) if self.root else None

    def _from_right(self, address: int, depth: int, left: list[int]) -> Iterator[tuple[int, int]]:
        node = self._enter(address, depth, ignore, left)
        if node is None:
            return
        for i in range(len(node.keys), -1, -1):
            if not node.leaf:
                yield from self._from_right(node.children[i], depth + 1, left)
            if i:
                yield address, i - 1

    def depth(self) -> int:
        """Return the levels from the root to the leftmost leaf. O(log n)."""
        address, levels = self.root, 0
        while address and levels < DEPTH:
            node = self._enter(address, levels, ignore, [DEPTH])
            if node is None:
                break
            address, levels = (0 if node.leaf else node.children[0]), levels + 1
        return levels

    def check(self, note: Note, progress: Progress = no_progress) -> MapStats:
        """Report every broken rule to `note`, ten thousand of each kind at most. O(n) time, a quarter of a byte for each chunk."""
        for problem in self.problems:
            note(problem)
        survey = MapSurvey(self, note, progress)
        stats = survey.run()
        if survey.left_out:
            note(Damage(f"{survey.left_out:,} more rules are broken than are listed", 0, survey.left_out, 0))
        return stats
