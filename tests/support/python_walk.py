"""The walk over a map in plain Python that the inspector had before the core surveyed: the judge of the survey.

It reads node by node with `Space.node`, in the order of the keys, and shares nothing with the core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import lt
from typing import Any

from stable_structures.inspect.encoding import require
from stable_structures.inspect.formats.inference import ORDERS, InferredOrder
from stable_structures.inspect.formats.layout import ALLOCATOR_AT, CHUNK_HEADER, DEPTH, FIRST_CHUNK, MINIMUM, Damage, u64
from stable_structures.inspect.formats.maps import MapReader, sizes_with
from stable_structures.inspect.formats.nodes import Node
from stable_structures.inspect.formats.survey import shown_key
from stable_structures.inspect.source import no_progress

NODE, OVERFLOW, UNUSED = 1, 2, 3
_FEW = 0.02
_TELL_EVERY = 512
Note = Callable[[Damage], None]
Progress = Any


def _ignore(_damage: Damage) -> None:
    """Somebody else tells it."""


@dataclass(slots=True)
class OldStats:
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


def old_entries(reader, note):
    if reader.root:
        yield from old_subtree(reader, reader.root, 0, note, [reader.space.chunks])


def old_subtree(reader, address, depth, note, left):
    try:
        left[0] -= 1
        if depth == DEPTH or left[0] < 0:
            raise Damage("every chunk is reached once", address)  # noqa: TRY301 - as all are
        node = reader.space.node(address, reader.layout)
    except Damage as damage:
        note(damage)
        return
    for i in range(len(node.keys) + 1):
        if not node.leaf:
            yield from old_subtree(reader, node.children[i], depth + 1, note, left)
        if i < len(node.keys):
            yield node, i


class MapWalk:
    """One walk over everything in a map; `reached` has a mark for each chunk."""

    def __init__(self, reader: MapReader, note: Note, progress: Progress = no_progress) -> None:
        self.reader = reader
        self.space = reader.space
        self.note = note
        self.progress = progress
        self.stats = OldStats()
        # The end of the free list may have no more than its header inside the memory.
        self.reached = bytearray(self.space.chunks + 1)
        self.leaf_depth = -1
        self.before: bytes | None = None
        self.pairs = 0
        self.disorder: list[tuple[int, bytes, bytes]] = []
        self.visit: Callable[[Node, int], None] | None = None
        """SchemaFiles each node and its depth."""
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
        stats.live += node.end if node.version == 2 else _live_of_slots(node)
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
        for node, i in old_entries(self.reader, _ignore):
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
        """The chunks of the free list; returns the address of its end."""
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
        raise Damage("the free list has no cycle", chunk, self.space.chunks, self.space.chunks)

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


def python_check(reader: MapReader) -> tuple[OldStats, list[Damage]]:
    """What `MapReader.check` was: statistics, and every broken rule."""
    found = list(reader.problems)
    walk = MapWalk(reader, found.append)
    walk.run()
    return walk.stats, found
