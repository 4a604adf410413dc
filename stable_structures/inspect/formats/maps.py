# SPDX-License-Identifier: Apache-2.0
"""A map or set, read without being believed: its header, its nodes in order, its chunks, and every rule they keep.

header (0..28) -> root -> nodes -> chains of overflow pages          each chunk is reached once: from the tree,
allocator (52..100) -> free list -> free chunks -> end of the list   or from the free list
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import lt
from typing import Any, Final

from ...storable import Codec
from ..encoding import require
from ..source import PastEnd, Progress, Source, no_progress
from .inference import ORDERS, InferredOrder, infer_layout, infer_order, layout_of, order_of
from .layout import (
    ALLOCATOR_AT,
    CHUNK_HEADER,
    DEPTH,
    FIRST_CHUNK,
    LEAST_PAGE,
    MAP_HEADER,
    MINIMUM,
    UNBOUNDED_MARK,
    Damage,
    bounds_of_page,
    derived_size,
    u32,
    u64,
)
from .nodes import Node, NodeLayout, Space

NODE: Final = 1
OVERFLOW: Final = 2
UNUSED: Final = 3
_SAMPLE: Final = 24
_SCAN: Final = 4096
_FEW: Final = 0.02
"""An order that fewer neighbours than this share break is the map's order, and those are damage."""
_TELL_EVERY: Final = 512

Note = Callable[[Damage], None]


@dataclass(slots=True)
class MapStats:
    """What a walk over all nodes found."""

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
    whole: bool = True
    """Whether every node was walked, or a sample."""


def sizes_with(sizes: tuple[int, int] | None, low: int, high: int) -> tuple[int, int]:
    """The least and the greatest size, with two more."""
    return (low, high) if sizes is None else (min(sizes[0], low), max(sizes[1], high))


class MapReader:
    """A map in a memory. Raises `Damage` where the header is such that nothing can be found.

    Types may be told; what is not told is inferred from the nodes and marked as a guess (`layout.certain`, `order.certain`).
    """

    def __init__(self, source: Source, key: Codec[Any] | None = None, value: Codec[Any] | None = None) -> None:
        self.source = source
        self.key, self.value = key, value
        try:
            header = source.read(0, FIRST_CHUNK)
        except PastEnd:
            raise Damage("a map has a header of 100 bytes", 0, source.nbytes, FIRST_CHUNK) from None
        self.header = header[:MAP_HEADER]
        self.allocator = header[ALLOCATOR_AT:]
        self.problems: list[Damage] = []
        """What is wrong with the header, and did not keep it from being read."""
        self._read_header()
        self.space = Space(source, self.page, *((self.max_key, self.max_value) if self.derived else (0, 0)))
        if self.least_bytes() > source.nbytes:
            most = (source.nbytes - FIRST_CHUNK) // self.space.stride
            self.problems.append(
                Damage("the allocated chunks of a map lie inside the memory", ALLOCATOR_AT + 16, self.allocated, f"at most {most}")
            )
        self._infer()

    # ---- the header ----

    def _read_header(self) -> None:
        header = self.header
        if header[:3] != b"BTR":
            self.problems.append(Damage("a map begins with BTR", 0, header[:3].hex(), b"BTR".hex()))
        self.version = header[3]
        if self.version not in (1, 2):
            self.problems.append(Damage("version of a map is 1 or 2", 3, self.version, 2))
        first, second = u32(header, 4), u32(header, 8)
        self.derived = self.version == 1 or second != UNBOUNDED_MARK
        self.max_key, self.max_value = (first, second) if self.derived else (UNBOUNDED_MARK, UNBOUNDED_MARK)
        self.page = derived_size(first, second) if self.derived else first
        self.root, self.length = u64(header, 12), u64(header, 20)
        self.allocated, self.free_head = u64(self.allocator, 16), u64(self.allocator, 24)
        self._check_allocator_header()
        if self.page < LEAST_PAGE:
            raise Damage("a map's page size is at least 128", 4, self.page, LEAST_PAGE)

    def _check_allocator_header(self) -> None:
        allocator, size = self.allocator, u64(self.allocator, 8)
        if allocator[:4] != b"BTA\x01":
            self.problems.append(Damage("the allocator begins with BTA and version 1", ALLOCATOR_AT, allocator[:4].hex(), b"BTA\x01".hex()))
        if size == self.page:
            return
        self.problems.append(Damage("the allocator's chunks have the map's page size", ALLOCATOR_AT + 8, size, self.page))
        if LEAST_PAGE <= size < 2**32 and self._fits_chunks(size) and not self._fits_chunks(self.page):
            self.page, self.derived = size, False
            self.max_key = self.max_value = UNBOUNDED_MARK

    def _fits_chunks(self, page: int) -> bool:
        """Whether the second chunk lies where this page size puts it."""
        at = FIRST_CHUNK + page + CHUNK_HEADER
        return page >= LEAST_PAGE and at + 4 <= self.source.nbytes and self.source.read(at, 4) == b"CHK\x01"

    def least_bytes(self) -> int:
        """How many bytes the chunks that the allocator counts need at least."""
        return FIRST_CHUNK + self.allocated * self.space.stride

    @property
    def is_set(self) -> bool:
        """Whether it has no values: by the header, or by what is in it. A map of units looks the same."""
        if self.derived:
            return self.max_value == 0
        if self.length == 0 or any(size for node in self._sampled() for _, size in node.values):
            return False
        walked = self.entries(_ignore) if self.allocated <= _SCAN else ((node, 0) for node in self._sampled())
        sizes = [node.values[i][1] for node, i in walked]
        return bool(sizes) and not any(sizes)

    # ---- what is not in the header ----

    def _infer(self) -> None:
        total = bounds_of_page(self.page) if not self.derived else None
        base = NodeLayout(None, self.max_key, self.max_value, certain=False)
        if total is not None:
            base = NodeLayout(None, total, total, certain=False)
        self.sample = self._sample()
        if self.key is None:
            found = infer_layout(self.space, self.sample, total)
            most = found.key_fixed if found.key_fixed is not None else min(base.key_max, found.key_max)
            base = NodeLayout(found.key_fixed, most, min(base.value_max, found.value_max), certain=False)
        self.layout = layout_of(self.key, self.value, base)
        self.order = order_of(self.key) if self.key is not None else infer_order(self._sampled())

    def _sample(self) -> list[int]:
        """Addresses of some nodes: from the root breadth first; where that meets damage, from the chunks too."""
        found: list[int] = []
        queue, damaged = [self.root], False
        while queue and len(found) < _SAMPLE:
            address = queue.pop(0)
            try:
                node = self.space.node(address, NodeLayout(), whole=False)
            except Damage:
                damaged = True
                continue
            if address not in found:
                found.append(address)
                queue += node.children[:: max(1, len(node.children) // 3)]
        if damaged:
            loose = self.loose_nodes(range(min(self.space.chunks, _SCAN)), _SAMPLE)
            found += [node.address for node in loose if node.address not in found]
        return found

    def loose_nodes(self, indices: range, limit: int | None = None) -> Iterator[Node]:
        """Nodes in allocated chunks, whether anything leads to them or not; only their headers and children are parsed."""
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

    def _sampled(self) -> Iterator[Node]:
        for address in self.sample:
            try:
                yield self.space.node(address, self.layout)
            except Damage:
                continue

    # ---- walking ----

    def entries(self, note: Note | None = None, *, backwards: bool = False) -> Iterator[tuple[Node, int]]:
        """Every entry in order, as (node, index). O(n), one node of each level in memory.

        What cannot be read is told to `note` and left out; without `note` it is raised as `Damage`.
        """
        if self.root:
            yield from self._subtree(self.root, 0, note or _raise, [self.space.chunks], backwards=backwards)

    def _subtree(self, address: int, depth: int, note: Note, left: list[int], *, backwards: bool) -> Iterator[tuple[Node, int]]:
        node = self._enter(address, depth, note, left)
        if node is None:
            return
        count = len(node.keys)
        steps = range(count, -1, -1) if backwards else range(count + 1)
        if node.leaf:
            yield from ((node, i) for i in steps if i < count)
            return
        for i in steps:
            if backwards and i < count:
                yield node, i
            yield from self._subtree(node.children[i], depth + 1, note, left, backwards=backwards)
            if not backwards and i < count:
                yield node, i

    def _enter(self, address: int, depth: int, note: Note, left: list[int]) -> Node | None:
        """The next node of a walk that may enter `left` more; that bounds walks through nodes with several parents."""
        left[0] -= 1
        try:
            if depth == DEPTH:
                raise Damage("a tree has fewer than 32 levels", address, depth, DEPTH)  # noqa: TRY301 - a broken rule, told as all are
            if left[0] < 0:
                raise Damage("every chunk is reached once", address, 2, 1)  # noqa: TRY301 - a broken rule, told as all are
            return self.space.node(address, self.layout)
        except Damage as damage:
            note(damage)
            return None

    def find(self, key: bytes) -> bytes | None:
        """The value of an encoded key. O(log n). Raises `Damage`."""
        address, depth = self.root, 0
        while address:
            node = self._enter(address, depth, _raise, [DEPTH])
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
            yield from self._between(self.root, 0, (low, high), note or _raise, [self.space.chunks])

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
        """How many chunks were ever given out since the map was made or cleared: those before the end of the free list.

        What lies behind them is from before that, and means nothing. O(free chunks). Raises `Damage`.
        """
        end = MapWalk(self, _ignore).walk_free()
        return (end - FIRST_CHUNK) // self.space.stride

    def depth(self) -> int:
        """Levels from the root to the leftmost leaf. O(log n)."""
        address, levels = self.root, 0
        while address and levels < DEPTH:
            node = self._enter(address, levels, _ignore, [DEPTH])
            if node is None:
                break
            address, levels = (0 if node.leaf else node.children[0]), levels + 1
        return levels

    def check(self, note: Note, progress: Progress = no_progress) -> MapStats:
        """Tells `note` every broken rule. O(n) time, O(chunks) bytes."""
        for problem in self.problems:
            note(problem)
        walk = MapWalk(self, note, progress)
        walk.run()
        return walk.stats


def _raise(damage: Damage) -> None:
    raise damage


def _ignore(_damage: Damage) -> None:
    """Somebody else tells it."""


class MapWalk:
    """One walk over everything in a map; `reached` has a mark for each chunk."""

    def __init__(self, reader: MapReader, note: Note, progress: Progress = no_progress) -> None:
        self.reader = reader
        self.space = reader.space
        self.note = note
        self.progress = progress
        self.stats = MapStats()
        # The end of the free list may have no more than its header inside the memory.
        self.reached = bytearray(self.space.chunks + 1)
        self.leaf_depth = -1
        self.before: bytes | None = None
        self.pairs = 0
        self.disorder: list[tuple[int, bytes, bytes]] = []
        self.visit: Callable[[Node, int], None] | None = None
        """Told each node and its depth."""
        self.sound = True

    def run(self) -> None:
        """The tree, then the chunks."""
        if self.reader.root:
            self._subtree(self.reader.root, 0)
        self._judge_order()
        if self.stats.entries != self.reader.length and self.sound:
            self.note(Damage("a map's length counts its entries", 20, self.reader.length, self.stats.entries))
        elif not self.sound and self.stats.entries > self.reader.length:
            self.note(Damage("a map's length counts its entries", 20, self.reader.length, f"at least {self.stats.entries}"))
        self._walk_chunks()

    def mark(self, address: int, kind: int) -> None:
        """A chunk was reached. Raises `Damage` where it was before."""
        index = self.space.index(address)
        if self.reached[index]:
            raise Damage("every chunk is reached once", address, self.reached[index], kind)
        self.reached[index] = kind

    # ---- the tree ----

    def _subtree(self, address: int, depth: int) -> None:
        try:
            if depth == DEPTH:
                raise Damage("a tree has fewer than 32 levels", address, depth, DEPTH)  # noqa: TRY301 - a broken rule, told as all are
            self.mark(address, NODE)
            node = self.space.node(address, self.reader.layout)
        except Damage as damage:
            self.sound = False
            self.note(damage)
            return
        self._count(node, depth)
        self._check_node(node, depth)
        if node.leaf:
            self._check_keys(node.keys, node)
            return
        for i, child in enumerate(node.children):
            self._subtree(child, depth + 1)
            self._check_keys(node.keys[i : i + 1], node)

    def _count(self, node: Node, depth: int) -> None:
        stats, count = self.stats, len(node.keys)
        while len(stats.nodes_by_depth) <= depth:
            stats.nodes_by_depth.append(0)
        stats.nodes_by_depth[depth] += 1
        stats.fill[count] += 1
        stats.entries += count
        stats.live += node.end if node.version == 2 else _live_of_slots(node)  # noqa: PLR2004 - said by the format
        stats.layout_1_nodes += node.version == 1
        stats.overflow_pages += len(node.run.pages)
        keys, values = [len(key) for key in node.keys], [size for _, size in node.values]
        stats.key_sizes = sizes_with(stats.key_sizes, min(keys), max(keys))
        stats.value_sizes = sizes_with(stats.value_sizes, min(values), max(values))
        if self.visit is not None:
            self.visit(node, depth)
        if sum(stats.nodes_by_depth) % _TELL_EVERY == 0:
            self.progress("walking the tree", stats.entries, self.reader.length)

    def _check_node(self, node: Node, depth: int) -> None:
        count = len(node.keys)
        if count < MINIMUM and node.address != self.reader.root:
            self.note(Damage("a node has at least 5 entries", node.address, count, MINIMUM))
        if node.leaf and self.leaf_depth < 0:
            self.leaf_depth = depth
        if node.leaf and depth != self.leaf_depth:
            self.note(Damage("all leaves have one depth", node.address, depth, self.leaf_depth))
        for page in node.run.pages:
            try:
                self.mark(page, OVERFLOW)
            except Damage as damage:
                self.note(damage)
        if self.reader.key is not None or self.reader.value is not None:
            self._check_types(node)

    def _check_types(self, node: Node) -> None:
        key, value = self.reader.key, self.reader.value
        for i, data in enumerate(node.keys):
            for codec, what, get in ((key, "key", lambda data=data: data), (value, "value", lambda i=i: node.value(i))):
                try:
                    if codec is not None:
                        require(codec, get())
                except Damage as damage:
                    self.note(damage)
                except ValueError as error:
                    self.note(Damage(f"a {what} is encoded as {codec.name if codec else ''}", node.address, f"entry {i}: {error}", ""))

    def _check_keys(self, keys: Sequence[bytes], node: Node) -> None:
        """Keys in order, one behind the other through the whole tree."""
        if not keys:
            return
        self.pairs += len(keys) - (self.before is None)
        order = self.reader.order
        if order.name == "bytes" and all(map(lt, keys, keys[1:])) and (self.before is None or self.before < keys[0]):
            self.before = keys[-1]
            return
        for key in keys:
            if self.before is not None and not order.ascends(self.before, key):
                self.disorder.append((node.address, self.before, key))
            self.before = key

    def _judge_order(self) -> None:
        """Keys that do not ascend are damage, unless the order was a guess and another one fits, or none does."""
        if not self.disorder:
            return
        if not self.reader.order.certain:
            better = self._best_order()
            if better is not None:
                self.reader.order, self.disorder = better
            if len(self.disorder) > max(2, _FEW * self.pairs):
                self.disorder = self._equal_only()
                self.reader.order = InferredOrder("unknown", lambda a, b: a != b)
        hint = "" if self.reader.order.certain else f" (by {self.reader.order.name}, a guess)"
        for address, a, b in self.disorder:
            self.note(Damage(f"keys ascend strictly{hint}", address, shown_key(b), f"more than {shown_key(a)}"))

    def _equal_only(self) -> list[tuple[int, bytes, bytes]]:
        return [(address, a, b) for address, a, b in self.disorder if a == b]

    def _best_order(self) -> tuple[InferredOrder, list[tuple[int, bytes, bytes]]] | None:
        """Another order that fewer neighbours break. O(n) each."""
        best = None
        for order in ORDERS:
            if order.name == self.reader.order.name:
                continue
            least = len(self.disorder if best is None else best[1])
            found = self._broken_in(order, least)
            if len(found) < least:
                best = order, found
        return best

    def _broken_in(self, order: InferredOrder, most: int) -> list[tuple[int, bytes, bytes]]:
        found: list[tuple[int, bytes, bytes]] = []
        before: bytes | None = None
        for node, i in self.reader.entries(_ignore):
            key = node.keys[i]
            if before is not None and not order.ascends(before, key):
                found.append((node.address, before, key))
                if len(found) >= most:
                    break
            before = key
        return found

    # ---- the chunks ----

    def _walk_chunks(self) -> None:
        used = sum(self.stats.nodes_by_depth) + self.stats.overflow_pages
        if self.reader.allocated != used and self.sound:
            self.note(Damage("the number of allocated chunks counts them", ALLOCATOR_AT + 16, self.reader.allocated, used))
        try:
            end = self.walk_free()
        except Damage as damage:
            self.note(damage)
            return
        self._check_reached((end - FIRST_CHUNK) // self.space.stride)

    def walk_free(self) -> int:
        """The chunks of the free list; gives the address of its end."""
        chunk = self.reader.free_head
        for _ in range(self.space.chunks + 1):
            if (chunk - FIRST_CHUNK) % self.space.stride or chunk < FIRST_CHUNK:
                raise Damage("a chunk's address lies on the grid of chunks", chunk, self.space.stride, 0)
            header = self.space.read(chunk, CHUNK_HEADER)
            if header[:4] != b"CHK\x01":
                raise Damage("a chunk begins with CHK and version 1", chunk, header[:4].hex(), b"CHK\x01".hex())
            if header[4] != 0:
                raise Damage("a chunk of the free list is not allocated", chunk, header[4], 0)
            following = u64(header, 8)
            if following == 0:
                return chunk
            self.mark(chunk + CHUNK_HEADER, UNUSED)
            self.stats.free_chunks += 1
            chunk = following
        raise Damage("the free list is no circle", chunk, self.space.chunks, self.space.chunks)

    def _check_reached(self, below: int) -> None:
        """Every chunk below the end of the free list was reached, and none behind it."""
        index = self.reached.find(0, 0, below)
        while 0 <= index < below:
            self.stats.lost_chunks += 1
            if self.sound:
                self.note(Damage("every chunk is in the tree or on the free list", FIRST_CHUNK + index * self.space.stride, index, below))
            index = self.reached.find(0, index + 1, below)
        for index in range(below, len(self.reached)):
            if self.reached[index]:
                self.note(Damage("the free list ends behind the last chunk", FIRST_CHUNK + index * self.space.stride, index, below))


def _live_of_slots(node: Node) -> int:
    return 7 + sum(8 + len(key) + size for key, (_, size) in zip(node.keys, node.values, strict=True)) + 8 * len(node.children)


def shown_key(key: bytes, most: int = 40) -> str:
    """A key in hexadecimal, cut where it is long."""
    return "(no bytes)" if not key else key.hex() if len(key) <= most else f"{key[:most].hex()}... of {len(key)} bytes"
