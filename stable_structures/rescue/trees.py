# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ARG002, D102 - Type and Contents say what their methods do
"""B+ trees: SBTreeMap, SBTreeSet and their certified forms (docs/format-ism.md#trees).

    leaf      255 (1) | previous (8) | next (8) | n (W) | 15 keys | 15 values | [hash (32)]
    internal  127 (1) | n (W) | 16 children (8 each) | 15 keys | [hash (32)]

R1. n is at most 15, and at least 7 but for the root. R2. All leaves have the same depth.
R3. Keys ascend, and a separator is the first key of the leftmost leaf right of it.
R4. `next` links the leaves in order; 0 ends the chain. `previous` is not read: the crate does not keep it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from .blocks import EMPTY
from .containers import Keyed, Mapping, Note, read_each, tell, word
from .encodings import Type
from .findings import Broken, Fault
from .ownership import Claims, Heap

LEAF: Final = 255
INTERNAL: Final = 127
CAPACITY: Final = 15
_MINIMUM: Final = 7
_HASH: Final = 32
_DEEPEST: Final = 24
"""Levels of a tree: 8^24 leaves are more than any memory has."""


@dataclass(slots=True)
class Node:
    """A node as it lies there."""

    pointer: int
    is_leaf: bool
    keys: list[bytes]
    values: list[bytes]
    children: list[int]
    previous: int = 0
    next: int = 0


class TreeType(Keyed):
    """A tree; `value` is None for a set. The object: root pointer or EMPTY · length (8)."""

    def __init__(self, key: Type, value: Type | None, *, certified: bool = False) -> None:
        super().__init__("SCertifiedBTree" if certified else "SBTree", key, value)
        self.certified = certified

    def size(self, width: int) -> int:
        return 16

    def node_size(self, width: int, *, is_leaf: bool) -> int:
        """Return bytes of a node."""
        (key, value), tail = self.sizes(width), _HASH if self.certified else 0
        return tail + width + (17 + CAPACITY * (key + value) if is_leaf else 1 + 8 * (CAPACITY + 1) + CAPACITY * key)

    def parse(self, content: bytes, pointer: int, width: int) -> Node:
        """Return a node from the content of its block. Raises `Broken`."""
        if not content or content[0] not in (LEAF, INTERNAL):
            raise Broken("not a tree node", pointer)
        is_leaf = content[0] == LEAF
        if len(content) < self.node_size(width, is_leaf=is_leaf):
            raise Broken(f"a node of {self.name} in a block of {len(content)} bytes", pointer)
        count = word(content, 17 if is_leaf else 1, width)
        if count > CAPACITY:
            raise Broken(f"a node of {count} keys", pointer)
        at = 17 + width if is_leaf else 1 + width + 8 * (CAPACITY + 1)
        size, rest = self.sizes(width)
        keys = [content[at + i * size : at + (i + 1) * size] for i in range(count)]
        if not is_leaf:
            return Node(pointer, is_leaf, keys, [], [word(content, 1 + width + 8 * i) for i in range(count + 1)])
        at += CAPACITY * size
        values = [content[at + i * rest : at + (i + 1) * rest] for i in range(count)]
        return Node(pointer, is_leaf, keys, values, [], word(content, 1), word(content, 9))

    def node(self, space: Heap, pointer: int) -> Node:
        """Return the node at an address. Raises `Broken`."""
        return self.parse(space.content(pointer), pointer, space.width)

    def decode(self, data: bytes, space: Heap) -> TreeContents:
        root = word(data, 0)
        return TreeContents(self, space, [] if root == EMPTY else [root], word(data, 8))

    def own(self, data: bytes, owner: Claims) -> None:
        root, length = word(data, 0), word(data, 8)
        if root == EMPTY:
            if length:
                owner.note(f"a tree of {length} entries without a root", 0)
            return
        self.own_tree(root, length, owner)

    def own_tree(self, root: int, length: int | None, owner: Claims) -> None:
        """Own everything below a root, and check the rules R1 to R4."""
        walk = _Walk(self, owner)
        walk.node(root, 0)
        walk.finish(root, length)


class _Walk:
    """One pass over a tree in order, each node once."""

    def __init__(self, kind: TreeType, owner: Claims) -> None:
        self.kind, self.owner = kind, owner
        self.width = owner.space.width
        self.count = 0
        self.skipped = 0
        self._whole = True
        self._depth = -1
        self._last: Any = None
        self._leaf: Node | None = None

    def _bad(self, text: str, address: int) -> None:
        self.owner.note(text, address, Fault.STALE_STACK)

    def _node(self, pointer: int) -> Node | None:
        blocks = self.owner.space.blocks
        index = blocks.index(pointer)
        kind = blocks.content(index, 1) if index >= 0 else b""
        need = self.kind.node_size(self.width, is_leaf=kind != bytes([INTERNAL]))
        content = self.owner.claim(pointer, need, fault=Fault.STALE_STACK)
        try:
            if content is not None:
                return self.kind.parse(content, pointer, self.width)
        except Broken as error:
            self.owner.note(error.rule, pointer)
        self._whole = False
        return None

    def node(self, pointer: int, depth: int) -> bytes | None:
        """Walk what is below a node; return the first key of its leftmost leaf."""
        node = self._node(pointer)
        if node is None:
            return None
        if depth and len(node.keys) < _MINIMUM:
            self._bad(f"a node of {len(node.keys)} keys, fewer than {_MINIMUM}", pointer)
        if node.is_leaf:
            self._visit_leaf(node, depth)
            return node.keys[0] if node.keys else None
        if depth >= _DEEPEST:
            self._bad(f"a tree of more than {_DEEPEST} levels", pointer)
            return None
        firsts = [self.node(child, depth + 1) for child in node.children]
        for separator, first in zip(node.keys, firsts[1:], strict=True):
            if first is not None and separator != first:
                self._bad("a separator is not the first key of the leaf right of it", pointer)
        return firsts[0]

    def _visit_leaf(self, node: Node, depth: int) -> None:
        if self._depth not in (-1, depth):
            self._bad(f"a leaf at depth {depth}, others at {self._depth}", node.pointer)
        before, self._depth, self._leaf = self._leaf, depth, node
        if before is not None and before.next != node.pointer:
            self._bad(f"the chain of leaves goes from {before.pointer} to {before.next}, the tree to {node.pointer}", node.pointer)
        self.skipped += node.previous != (0 if before is None else before.pointer)
        self.count += len(node.keys)
        for key, value in zip(node.keys, node.values, strict=True):
            self.kind.own_entry(key, value, self.owner)
            self._check_order(key, node.pointer)

    def _check_order(self, key: bytes, pointer: int) -> None:
        if not self.kind.key.ordered:
            return
        try:
            rank = self.kind.key.rank(self.kind.key.decode(key, self.owner.space))
        except Broken:
            return
        if self._last is not None and not self._last < rank:
            self._bad("keys do not ascend (damage, or the keys are of another type)", pointer)
        self._last = rank

    def finish(self, root: int, length: int | None) -> None:
        """Check what holds for the tree as a whole."""
        if self._leaf is not None and self._leaf.next:
            self._bad(f"the chain of leaves goes on to {self._leaf.next} behind the last one", self._leaf.pointer)
        if length is not None and self.count != length and self._whole:
            self._bad(f"a tree of {length} entries has {self.count}", root)
        if self.skipped:
            self.owner.note(f"leaves with a wrong link back: {self.skipped}", root, Fault.STALE_PREVIOUS, ownership=False)


def has_trees(tp: Type) -> bool:
    """Return whether a value of a type can have a tree in it. O(parts)."""
    parts = [part for found in vars(tp).values() for part in (found if isinstance(found, (list, tuple)) else (found,))]
    return isinstance(tp, TreeType) or any(has_trees(part) for part in parts if isinstance(part, Type))


class TreeContents(Mapping):
    """The entries of a tree, in order: by the chain of leaves from the leftmost one.

    If damage is noted instead of raised, all leaves count that any way leads to, each once: children of nodes, `next`,
    and orphans. Of a key that is there twice the first one is kept.
    """

    def __init__(self, kind: TreeType, space: Heap, roots: list[int], length: int | None, orphans: list[int] | None = None) -> None:
        super().__init__(kind, space, length)
        self._kind, self._roots, self._orphans = kind, roots, orphans or []

    @property
    def tree(self) -> TreeType:
        """Return its type."""
        return self._kind

    def with_leaves(self, leaves: list[int]) -> TreeContents:
        """Return the same with leaves that no node leads to."""
        return TreeContents(self._kind, self.space, self._roots, self.length, [*self._orphans, *leaves])

    def entries(self, note: Note = None) -> Iterator[Any]:
        return self._read(self._chain(), None) if note is None else self._salvaged(note)

    def _read(self, leaves: Iterator[Node], note: Note) -> Iterator[Any]:
        for leaf in leaves:
            encoded = zip(leaf.keys, leaf.values, strict=True)
            for made in read_each(encoded, lambda pair: self._kind.entry(*pair, self.space), note):
                if note is None or self._is_new(made, leaf, note):
                    yield made

    def _salvaged(self, note: Note) -> Iterator[Any]:
        count = 0
        for made in self._read(self._all_leaves(note), note):
            count += 1
            yield made
        if self.length is not None and count != self.length:
            text = f"the tree says that it has {self.length} entries, and {count} are there"
            tell(note, Broken(text, self._roots[0] if self._roots else 0, Fault.STALE_STACK))

    def _chain(self) -> Iterator[Node]:
        if not self._roots:
            return
        node = self._kind.node(self.space, self._roots[0])
        for _ in range(_DEEPEST):
            if node.is_leaf:
                break
            node = self._kind.node(self.space, node.children[0])
        seen = set[int]()
        while True:
            if not node.is_leaf or node.pointer in seen:
                raise Broken("the chain of leaves leads to what is not its next leaf", node.pointer, Fault.STALE_STACK)
            seen.add(node.pointer)
            yield node
            if not node.next:
                return
            node = self._kind.node(self.space, node.next)

    def _all_leaves(self, note: Note) -> Iterator[Node]:
        self._known: dict[Hashable, int] = {}
        seen = set[int]()
        pending = deque[int]([*reversed(self._orphans), *reversed(self._roots)])
        while pending:
            pointer = pending.pop()
            if pointer in seen:
                continue
            seen.add(pointer)
            try:
                node = self._kind.node(self.space, pointer)
            except Broken as error:
                tell(note, error)
                continue
            pending += reversed(node.children)
            if node.is_leaf:
                if node.next and node.next not in seen:
                    pending.appendleft(node.next)  # last of all: the tree's own way comes first
                yield node

    def _is_new(self, made: Any, leaf: Node, note: Note) -> bool:
        key = self._kind.key_of(made)
        identity = self._kind.key.identity(key)
        if identity not in self._known:
            self._known[identity] = leaf.pointer
            return True
        other = self._known[identity]
        tell(note, Broken(f"key {key!r} is in the leaf at {other} too; that one is kept", leaf.pointer, Fault.STALE_STACK))
        return False
