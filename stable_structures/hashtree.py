# SPDX-License-Identifier: Apache-2.0
"""Hash trees of the Internet Computer: made, encoded, pruned to proofs, merged, and looked up in.

A hash tree is what a canister certifies with `certified_data`, and what a certificate carries. There are five kinds of nodes,
and each has a hash (interface specification, section Certification; || joins bytes):

    kind      CBOR                 hash
    empty     [0]                  sha256(0x11 || "ic-hashtree-empty")
    fork      [1, left, right]     sha256(0x10 || "ic-hashtree-fork" || hash of left || hash of right)
    labeled   [2, label, subtree]  sha256(0x13 || "ic-hashtree-labeled" || label || hash of subtree)
    leaf      [3, data]            sha256(0x10 || "ic-hashtree-leaf" || data)
    pruned    [4, hash]            that hash

A part that nobody asked for is replaced by its hash (pruned), and the root hash stays the same. So a small tree proves what a large
one holds, or does not hold: labels stand in the order of their bytes, and two labels with nothing between them prove that.

Signatures of certificates (BLS) are out of scope: verify with an agent that the root hash is the one that the subnet has signed.

Nothing here recurses into a tree, so that a hostile one cannot exhaust the stack, and `HashTree.from_cbor` bounds depth, size and nodes.
Only `from_mapping` recurses, into the caller's mappings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from .errors import StableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Label = bytes | str

HASH_SIZE: Final = 32
MAX_SIZE: Final = 4 * 1024 * 1024
"""Bytes of CBOR that `HashTree.from_cbor` takes unless it is given another limit; a reply of the platform has at most 3 MiB."""
MAX_DEPTH: Final = 1024
"""Levels, likewise. Agents take fewer: those that decode with serde take 128."""
MAX_NODES: Final = 100_000
"""Nodes, likewise."""


class HashTreeError(StableError, ValueError):
    """Bytes that are not a hash tree, or trees that do not go together."""


class Kind(IntEnum):
    """The kinds of nodes; the numbers are those of their CBOR."""

    EMPTY = 0
    FORK = 1
    LABELED = 2
    LEAF = 3
    PRUNED = 4


class Status(Enum):
    """What a lookup found."""

    FOUND = "found"
    """The path leads to a leaf."""
    ABSENT = "absent"
    """The tree proves that nothing has this path."""
    UNKNOWN = "unknown"
    """The answer may be in a pruned part."""
    ERROR = "error"
    """The path leads to more paths, not to a leaf."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answer of a lookup: its status, and the data of the leaf if it is `FOUND`."""

    status: Status
    data: bytes | None = None


def _separator(name: str) -> bytes:
    return bytes([len(name)]) + name.encode()


_FORK: Final = _separator("ic-hashtree-fork")
_LABELED: Final = _separator("ic-hashtree-labeled")
_LEAF: Final = _separator("ic-hashtree-leaf")
_EMPTY_HASH: Final = sha256(_separator("ic-hashtree-empty")).digest()


class HashTree:
    """A hash tree that never changes; made by `empty`, `fork`, `labeled`, `leaf`, `pruned`, `from_mapping` or `from_cbor`.

    Two trees are equal if they have the same nodes.

    >>> tree = fork(labeled("a", leaf(b"1")), labeled("b", leaf(b"2")))
    >>> tree.lookup("a").data, tree.lookup("c").status
    (b'1', <Status.ABSENT: 'absent'>)
    """

    __slots__ = ("children", "content", "kind", "root_hash")

    kind: Kind
    """Which kind of node the root is."""
    content: bytes
    """The label of a labeled node, the data of a leaf, the hash of a pruned part; else empty."""
    children: tuple[HashTree, ...]
    """The two sides of a fork, the subtree of a labeled node; else nothing."""
    root_hash: bytes
    """The hash of the whole tree, 32 bytes: what goes into `certified_data`."""

    def __init__(self, kind: Kind, content: bytes, children: tuple[HashTree, ...], root_hash: bytes) -> None:
        set_slot = object.__setattr__
        set_slot(self, "kind", kind)
        set_slot(self, "content", content)
        set_slot(self, "children", children)
        set_slot(self, "root_hash", root_hash)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a HashTree never changes; make another one instead of setting {name}")

    __delattr__ = None  # type: ignore[assignment]

    # ---- as bytes ----

    def to_cbor(self) -> bytes:
        """Return the tree in CBOR, each head as short as it can be and without a tag. O(n).

        >>> labeled("a", leaf(b"1")).to_cbor().hex()
        '8302416182034131'
        """
        parts: list[bytes] = []
        pending = [self]
        while pending:
            tree = pending.pop()
            parts.append(_HEADS[tree.kind])
            if tree.kind in _WITH_CONTENT:
                parts += (_bytes_head(len(tree.content)), tree.content)
            pending += reversed(tree.children)
        return b"".join(parts)

    @classmethod
    def from_cbor(cls, data: bytes, *, max_size: int = MAX_SIZE, max_depth: int = MAX_DEPTH, max_nodes: int = MAX_NODES) -> HashTree:
        """Read a tree from CBOR, with or without the tag 55799. O(n).

        Raises `HashTreeError`, with the offset of the byte, if the bytes are not exactly one tree, or if there are more than `max_size`
        bytes, `max_depth` levels or `max_nodes` nodes. Arrays and byte strings of unknown length are refused: the platform sends none.

        >>> HashTree.from_cbor(bytes.fromhex("8302416182034131")).lookup("a")
        Lookup(status=<Status.FOUND: 'found'>, data=b'1')
        """
        return _Reader(bytes(data), max_size, max_depth, max_nodes).read()

    # ---- looking up ----

    def lookup(self, *path: Label) -> Lookup:
        """Look a path of labels up, as `lookup_path` of the interface specification does. O(n).

        The answer is as good as the root hash: compare `root_hash` with one that you trust before you believe it.

        >>> tree = from_mapping({"users": {"ada": b"1"}, "version": b"2"})
        >>> tree.lookup("users", "ada").data, tree.lookup("users").status
        (b'1', <Status.ERROR: 'error'>)
        """
        tree = self
        for label in map(_as_bytes, path):
            status, place, forest = _find(label, tree)
            if status is not Status.FOUND:
                return Lookup(status)
            tree = forest[place].children[0]
        return _lookup_here(tree)

    def labels(self) -> list[bytes]:
        """Return the labels at the top of the tree that are not pruned, in order. O(n).

        >>> from_mapping({"b": b"1", "a": {"c": b"2"}}).labels()
        [b'a', b'b']
        """
        return [tree.content for tree in _forest(self) if tree.kind is Kind.LABELED]

    def is_well_formed(self) -> bool:
        """Return whether labels ascend strictly below each node, and leaves stand alone, as `lookup` supposes. O(n).

        >>> fork(labeled("b", empty()), labeled("a", empty())).is_well_formed()
        False
        """
        pending = [self]
        while pending:
            forest = _forest(pending.pop())
            if len(forest) == 1 and forest[0].kind is Kind.LEAF:
                continue
            labeled_trees = [tree for tree in forest if tree.kind is Kind.LABELED]
            ascending = all(low.content < high.content for low, high in pairwise(labeled_trees))
            if not ascending or any(tree.kind is Kind.LEAF for tree in forest):
                return False
            pending += [tree.children[0] for tree in labeled_trees]
        return True

    # ---- proofs ----

    def witness(self, *paths: Label | Sequence[Label]) -> HashTree:
        """Return a tree with the same root hash that shows what these paths hold, or that they are absent, and little else. O(n).

        A path is a label or a sequence of labels. Of a path that leads to more paths all of them are shown. Raises `HashTreeError` if
        a part that is needed is pruned already.

        >>> tree = from_mapping({"a": b"1", "b": b"2", "c": b"3"})
        >>> proof = tree.witness("b")
        >>> proof.lookup("b").data, proof.lookup("a").status, proof.root_hash == tree.root_hash
        (b'2', <Status.UNKNOWN: 'unknown'>, True)
        >>> tree.witness("bb").lookup("bb").status
        <Status.ABSENT: 'absent'>
        """
        shown: dict[int, bool] = {}
        for path in paths:
            _show_path(self, [path] if isinstance(path, bytes | str) else path, shown)
        return _pruned_to(self, shown)

    def witness_range(self, start: Label | None = None, stop: Label | None = None, *, under: Sequence[Label] = ()) -> HashTree:
        """Return a tree with the same root hash that shows everything from label `start` up to, not including, `stop`. O(n).

        None is no end. The labels next to the range are shown too, without what they hold: so it is proven to be complete. `under` is the
        path to the labels that are meant. Raises `HashTreeError` if a part that is needed is pruned already.

        >>> tree = from_mapping({"a": b"1", "b": b"2", "c": b"3", "d": b"4"})
        >>> proof = tree.witness_range("b", "d")
        >>> proof.labels(), proof.lookup("c").data, proof.lookup("d").status
        ([b'a', b'b', b'c', b'd'], b'3', <Status.UNKNOWN: 'unknown'>)
        """
        shown: dict[int, bool] = {}
        tree = self
        for label in map(_as_bytes, under):
            status, place, forest = _find(label, tree)
            if status is not Status.FOUND:
                raise HashTreeError(f"witness_range: label {label!r} of the path `under` is {status.value}")
            tree = forest[place].children[0]
        low = None if start is None else _as_bytes(start)
        high = None if stop is None else _as_bytes(stop)
        _show_range(tree, low, high, shown)
        return _pruned_to(self, shown)

    def merge(self, other: HashTree) -> HashTree:
        """Return the tree that shows what either of two proofs of one tree shows. O(n).

        Raises `HashTreeError` if the root hashes differ.

        >>> tree = from_mapping({"a": b"1", "b": b"2", "c": b"3"})
        >>> both = tree.witness("a").merge(tree.witness("c"))
        >>> both.lookup("a").data, both.lookup("b").status, both.lookup("c").data
        (b'1', <Status.UNKNOWN: 'unknown'>, b'3')
        """
        if self.root_hash != other.root_hash:
            raise HashTreeError(f"merge: the root hashes differ, {self.root_hash.hex()} and {other.root_hash.hex()}")
        return _merged(self, other)

    # ---- as Python objects ----

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HashTree):
            return NotImplemented
        return self.root_hash == other.root_hash and self.to_cbor() == other.to_cbor()

    def __hash__(self) -> int:
        return hash(self.root_hash)

    def __reduce__(self) -> tuple[object, ...]:
        size = len(data := self.to_cbor())
        return _unpickled, (data, size)

    def __repr__(self) -> str:
        return f"<HashTree {self.kind.name.lower()} {self.root_hash.hex()[:16]}...>"


def _unpickled(data: bytes, size: int) -> HashTree:
    return HashTree.from_cbor(data, max_size=size, max_depth=size, max_nodes=size)


# ---- making ----


def empty() -> HashTree:
    """Return the empty tree.

    >>> empty().lookup("a").status
    <Status.ABSENT: 'absent'>
    """
    return _EMPTY


def fork(left: HashTree, right: HashTree) -> HashTree:
    """Return a tree of two: labels of the left one must come before those of the right one. O(1).

    >>> fork(labeled("a", empty()), labeled("b", empty())).labels()
    [b'a', b'b']
    """
    return HashTree(Kind.FORK, b"", (left, right), sha256(_FORK + left.root_hash + right.root_hash).digest())


def labeled(label: Label, subtree: HashTree) -> HashTree:
    """Return a subtree under a label, which is bytes, or text in UTF-8. O(1).

    >>> labeled("a", leaf(b"1")).lookup("a").data
    b'1'
    """
    name = _as_bytes(label)
    return HashTree(Kind.LABELED, name, (subtree,), sha256(_LABELED + name + subtree.root_hash).digest())


def leaf(data: bytes) -> HashTree:
    """Return a leaf. O(n).

    >>> leaf(b"1").lookup().data
    b'1'
    """
    data = bytes(data)
    return HashTree(Kind.LEAF, data, (), sha256(_LEAF + data).digest())


def pruned(root_hash: bytes) -> HashTree:
    """Return a tree of which only the root hash is known. O(1). Raises `HashTreeError` unless that has 32 bytes.

    >>> pruned(leaf(b"1").root_hash).lookup().status
    <Status.UNKNOWN: 'unknown'>
    """
    root_hash = bytes(root_hash)
    if len(root_hash) != HASH_SIZE:
        raise HashTreeError(f"pruned: a hash has {HASH_SIZE} bytes, got {len(root_hash)}")
    return HashTree(Kind.PRUNED, root_hash, (), root_hash)


def from_mapping(values: Mapping[Label, bytes | Mapping[Label, object] | HashTree]) -> HashTree:
    """Return the tree of a mapping from labels to data, to mappings again, or to trees. O(n log n).

    Its shape depends on the labels alone: it is that of a `CertifiedMap` (docs/format.md#certified-map), so that both have the
    same root hash if they hold the same. Raises `HashTreeError` if two labels are the same bytes.

    >>> from_mapping({"a": b"1", "b": {"c": b"2"}}).lookup("b", "c").data
    b'2'
    """
    return _trie([(label, labeled(label, _as_tree(value))) for label, value in _sorted_entries(values)])


def _sorted_entries(values: Mapping[Label, object]) -> list[tuple[bytes, object]]:
    entries = sorted(((_as_bytes(label), value) for label, value in values.items()), key=lambda entry: entry[0])
    for (low, _), (high, _) in pairwise(entries):
        if low == high:
            raise HashTreeError(f"from_mapping: two labels are the bytes {low!r}")
    return entries


def _as_tree(value: object) -> HashTree:
    if isinstance(value, HashTree):
        return value
    if isinstance(value, Mapping):
        return from_mapping(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return leaf(bytes(value))
    raise TypeError(f"from_mapping: expected bytes, a mapping or a HashTree for a value, got {type(value).__name__}")


def branch_position(low: bytes, high: bytes) -> int:
    """Return where two different labels part: 9 positions for each byte, one for whether there is a byte and 8 for its bits. O(n).

    >>> branch_position(b"a", b"ab"), branch_position(b"a", b"c"), branch_position(b"a", b"b")
    (9, 7, 7)
    """
    for number, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return 9 * number + 9 - (a ^ b).bit_length()
    return 9 * min(len(low), len(high))


def _trie(entries: Sequence[tuple[bytes, HashTree]]) -> HashTree:
    """Return the ascending entries, forked where their labels differ: the lowest position is the root."""
    trees: list[HashTree] = []
    positions: list[int] = []
    for number, (label, tree) in enumerate(entries):
        if number:
            position = branch_position(entries[number - 1][0], label)
            _join(trees, positions, position)
            positions.append(position)
        trees.append(tree)
    _join(trees, positions, -1)
    return trees[0] if trees else _EMPTY


def _join(trees: list[HashTree], positions: list[int], down_to: int) -> None:
    while positions and positions[-1] > down_to:
        positions.pop()
        right = trees.pop()
        trees.append(fork(trees.pop(), right))


def _as_bytes(label: Label) -> bytes:
    if isinstance(label, str):
        return label.encode()
    if isinstance(label, bytes | bytearray | memoryview):
        return bytes(label)
    raise TypeError(f"a label is bytes or text, got {type(label).__name__}")


_EMPTY: Final = HashTree(Kind.EMPTY, b"", (), _EMPTY_HASH)

# ---- lookups ----


def _forest(tree: HashTree) -> list[HashTree]:
    """Return the trees below the top forks, from left to right, without empty ones (`flatten_forks`)."""
    found: list[HashTree] = []
    pending = [tree]
    while pending:
        tree = pending.pop()
        if tree.kind is Kind.FORK:
            pending += reversed(tree.children)
        elif tree.kind is not Kind.EMPTY:
            found.append(tree)
    return found


def _find(label: bytes, tree: HashTree) -> tuple[Status, int, list[HashTree]]:
    """`find_label`: with FOUND where in the forest it is, with ABSENT how many trees of the forest stand before its place."""
    forest = _forest(tree)
    for place, one in enumerate(forest):
        if one.kind is Kind.LABELED and one.content == label:
            return Status.FOUND, place, forest
    if not forest or (len(forest) == 1 and forest[0].kind is Kind.LEAF):
        return Status.ABSENT, len(forest), forest
    for place in range(len(forest) + 1):
        if _is_gap(forest, place, label):
            return Status.ABSENT, place, forest
    return Status.UNKNOWN, 0, forest


def _is_gap(forest: Sequence[HashTree], place: int, label: bytes) -> bool:
    """Whether what stands before `place` and at it proves that nothing between them has this label."""
    before = forest[place - 1] if place > 0 else None
    behind = forest[place] if place < len(forest) else None
    if before is not None and not (before.kind is Kind.LABELED and before.content < label):
        return False
    return behind is None or (behind.kind is Kind.LABELED and label < behind.content)


def _lookup_here(tree: HashTree) -> Lookup:
    if tree.kind is Kind.LEAF:
        return Lookup(Status.FOUND, tree.content)
    return Lookup({Kind.EMPTY: Status.ABSENT, Kind.PRUNED: Status.UNKNOWN}.get(tree.kind, Status.ERROR))


# ---- proofs ----
# What is to be seen is noted by the identity of nodes: False for a label alone, True for all that is below.


def _show_path(tree: HashTree, path: Iterable[Label], shown: dict[int, bool]) -> None:
    for label in map(_as_bytes, path):
        status, place, forest = _find(label, tree)
        if status is Status.UNKNOWN:
            raise HashTreeError(f"witness: what label {label!r} has is pruned already")
        if status is Status.ABSENT:
            for one in forest[max(place - 1, 0) : place + 1]:
                shown.setdefault(id(one), one.kind is Kind.LEAF)
            return
        shown.setdefault(id(forest[place]), False)
        tree = forest[place].children[0]
    _require_whole(tree, "witness: a part of what the path leads to")
    shown[id(tree)] = True


def _require_whole(tree: HashTree, what: str) -> None:
    """Raise `HashTreeError` if a part of a tree is pruned. O(n)."""
    pending = [tree]
    while pending:
        tree = pending.pop()
        if tree.kind is Kind.PRUNED:
            raise HashTreeError(f"{what} is pruned already")
        pending += tree.children


def _show_range(tree: HashTree, start: bytes | None, stop: bytes | None, shown: dict[int, bool]) -> None:
    forest = _forest(tree)
    first, end = 0, len(forest)
    for place, one in enumerate(forest):
        if one.kind is Kind.LABELED and start is not None and one.content < start:
            first = place + 1
        if one.kind is Kind.LABELED and stop is not None and one.content >= stop and end == len(forest):
            end = place
    for one in forest[max(first - 1, 0) : end + 1]:
        if one.kind is Kind.PRUNED:
            raise HashTreeError("witness_range: a part of the range is pruned already")
        shown.setdefault(id(one), False)
    for one in forest[first:end]:
        _require_whole(one, "witness_range: a part of the range")
        shown[id(one)] = True


def _pruned_to(tree: HashTree, shown: Mapping[int, bool]) -> HashTree:
    def make(node: HashTree, below: list[HashTree]) -> HashTree:
        """Return the node, whose subtrees exist already; pruned if it shows nothing."""
        if node.kind is Kind.EMPTY or (node.kind is Kind.FORK and all(child.kind is Kind.EMPTY for child in below)):
            return node  # pruned it could hide a label; and a hash is longer than two empty trees
        if id(node) not in shown and all(child.kind is Kind.PRUNED or child.kind is Kind.EMPTY for child in below):
            return pruned(node.root_hash)
        return HashTree(node.kind, node.content, tuple(below), node.root_hash)

    return _rebuilt(tree, make, lambda node: () if shown.get(id(node)) else node.children, keep=lambda node: bool(shown.get(id(node))))


def _rebuilt(
    tree: HashTree,
    make: Callable[[HashTree, list[HashTree]], HashTree],
    children_of: Callable[[HashTree], Sequence[HashTree]],
    keep: Callable[[HashTree], bool],
) -> HashTree:
    """Make a tree from the leaves up, without recursion."""
    order: list[tuple[HashTree, int]] = []
    pending = [tree]
    while pending:
        node = pending.pop()
        children = children_of(node)
        order.append((node, len(children)))
        pending += children
    made: list[HashTree] = []
    for node, count in reversed(order):
        below = made[len(made) - count :]
        del made[len(made) - count :]
        made.append(node if keep(node) else make(node, below))
    return made[0]


def _merged(one: HashTree, other: HashTree) -> HashTree:
    order: list[tuple[HashTree, int]] = []
    pending = [(one, other)]
    while pending:
        a, b = pending.pop()
        a, b = (b, a) if a.kind is Kind.PRUNED else (a, b)
        # Nodes of equal hashes that are both not pruned are of one kind, unless SHA-256 is broken.
        both = b.kind is not Kind.PRUNED and bool(a.children)
        order.append((a, len(a.children) if both else -1))
        if both:
            pending += zip(a.children, b.children, strict=True)
    made: list[HashTree] = []
    for node, count in reversed(order):
        if count < 0:
            made.append(node)
        else:
            below = tuple(made[len(made) - count :])
            del made[len(made) - count :]
            made.append(HashTree(node.kind, node.content, below, node.root_hash))
    return made[0]


# ---- CBOR ----

_WITH_CONTENT: Final = frozenset({Kind.LABELED, Kind.LEAF, Kind.PRUNED})
_ITEMS: Final = {Kind.EMPTY: 1, Kind.FORK: 3, Kind.LABELED: 3, Kind.LEAF: 2, Kind.PRUNED: 2}
_CHILDREN: Final = {Kind.EMPTY: 0, Kind.FORK: 2, Kind.LABELED: 1, Kind.LEAF: 0, Kind.PRUNED: 0}
_HEADS: Final = {kind: bytes([0x80 + items, kind]) for kind, items in _ITEMS.items()}
_SELF_DESCRIBED: Final = bytes.fromhex("d9d9f7")
_UNSIGNED, _BYTES, _ARRAY = 0, 2, 4
_MAJOR_NAMES: Final = {_UNSIGNED: "the number of a kind of node", _BYTES: "a byte string", _ARRAY: "an array"}


def _bytes_head(length: int) -> bytes:
    if length < 24:  # noqa: PLR2004 - the length itself
        return bytes([0x40 + length])
    extra = max(0, ((length.bit_length() + 7) // 8 - 1).bit_length())
    return bytes([0x58 + extra]) + length.to_bytes(1 << extra, "big")


class _Reader:
    """Reads one tree from CBOR. Nodes that wait for their subtrees are on a stack of their own."""

    def __init__(self, data: bytes, max_size: int, max_depth: int, max_nodes: int) -> None:
        self._data = data
        self._at = 0
        self._max_depth = max_depth
        self._max_nodes = max_nodes
        if len(data) > max_size:
            raise HashTreeError(f"from_cbor: {len(data)} bytes, more than max_size={max_size}")

    def read(self) -> HashTree:
        if self._data.startswith(_SELF_DESCRIBED):
            self._at = len(_SELF_DESCRIBED)
        waiting: list[tuple[Kind, bytes, list[HashTree]]] = []
        for _ in range(self._max_nodes):
            kind, content = self._node()
            waiting.append((kind, content, []))
            if len(waiting) > self._max_depth:
                raise self._bad(f"more than max_depth={self._max_depth} levels")
            tree = _finish(waiting)
            if tree is not None:
                return self._end(tree)
        raise self._bad(f"more than max_nodes={self._max_nodes} nodes")

    def _end(self, tree: HashTree) -> HashTree:
        if self._at != len(self._data):
            raise self._bad(f"{len(self._data) - self._at} bytes after the tree")
        return tree

    def _node(self) -> tuple[Kind, bytes]:
        items, number = self._head(_ARRAY), self._head(_UNSIGNED)
        if number not in _ITEMS or _ITEMS[Kind(number)] != items:
            raise self._bad(f"an array of {items} that begins with {number} is not a node")
        kind = Kind(number)
        content = self._content() if kind in _WITH_CONTENT else b""
        if kind is Kind.PRUNED and len(content) != HASH_SIZE:
            raise self._bad(f"a hash has {HASH_SIZE} bytes, got {len(content)}")
        return kind, content

    def _content(self) -> bytes:
        size = self._head(_BYTES)
        return self._take(size, f"a byte string of {size}")

    def _head(self, major: int) -> int:
        """Return the number in the head of an item of this major type."""
        if self._at >= len(self._data):
            raise self._bad("the bytes end inside the tree")
        first = self._data[self._at]
        if first >> 5 != major or first & 31 > 27:  # noqa: PLR2004 - the longest head with a number
            raise self._bad(f"expected {_MAJOR_NAMES[major]} of a given length, got the byte {first:#04x}")
        self._at += 1
        if first & 31 < 24:  # noqa: PLR2004 - the number itself
            return first & 31
        return int.from_bytes(self._take(1 << (first & 31) - 24, "a number"), "big")

    def _take(self, size: int, what: str) -> bytes:
        begin = self._at
        if size > len(self._data) - begin:
            raise self._bad(f"the bytes end inside {what}")
        self._at += size
        return self._data[begin : self._at]

    def _bad(self, why: str) -> HashTreeError:
        return HashTreeError(f"from_cbor: byte {self._at}: {why}")


def _finish(waiting: list[tuple[Kind, bytes, list[HashTree]]]) -> HashTree | None:
    """Make the nodes at the end of the stack that have all their subtrees; return the tree if that was all."""
    while len(waiting[-1][2]) == _CHILDREN[waiting[-1][0]]:
        kind, content, children = waiting.pop()
        tree = _made(kind, content, children)
        if not waiting:
            return tree
        waiting[-1][2].append(tree)
    return None


def _made(kind: Kind, content: bytes, children: list[HashTree]) -> HashTree:
    if kind is Kind.FORK:
        return fork(*children)
    if kind is Kind.LABELED:
        return labeled(content, children[0])
    if kind is Kind.EMPTY:
        return _EMPTY
    return leaf(content) if kind is Kind.LEAF else pruned(content)


def walk(tree: HashTree) -> Iterator[tuple[tuple[bytes, ...], bytes]]:
    """Yield the path and the data of each leaf that is not pruned, in order. O(n).

    >>> list(walk(from_mapping({"a": b"1", "b": {"c": b"2"}})))
    [((b'a',), b'1'), ((b'b', b'c'), b'2')]
    """
    pending: list[tuple[tuple[bytes, ...], HashTree]] = [((), tree)]
    while pending:
        path, tree = pending.pop()
        if tree.kind is Kind.LEAF:
            yield path, tree.content
        below = (*path, tree.content) if tree.kind is Kind.LABELED else path
        pending += [(below, child) for child in reversed(tree.children)]
