# SPDX-License-Identifier: Apache-2.0
"""Structures of an image that was not saved: their roots were on the canister's heap, so blocks are recognised by what they hold.

Trees are recognised by type byte, number of keys and links, hash tables by their flags and hashes, logs by the links of
their sectors. The length of a log's last sector and that of a vec are lost; such finds are not certain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from .blocks import EMPTY, SLACK, Blocks
from .containers import (
    SECTOR,
    TABLE_CAPACITIES,
    Contents,
    LogContents,
    LogType,
    Placed,
    Slots,
    TableType,
    VecContents,
    VecType,
    fits,
    pieces,
    word,
)
from .encodings import Type
from .findings import Broken, Fault, Finding, Findings
from .ownership import Claims, Heap
from .trees import CAPACITY, INTERNAL, LEAF, Node, TreeContents, TreeType

_ENOUGH: Final = 4
"""Entries of a hash table that are no chance if all lie where lookups find them."""
_MANY: Final = 16
"""Entries of a hash table that are no chance if most lie there."""


@dataclass(slots=True)
class Found:
    """A structure that was found in the blocks; `text` says what is not known of it, and it is not `certain` if chance can look like it."""

    type: Type
    pointer: int
    contents: Contents
    certain: bool = True
    text: str = ""


@dataclass(slots=True)
class _Group:
    """Nodes that links join: one tree, or a damaged one with what it lost."""

    roots: list[int] = field(default_factory=list)
    orphans: list[int] = field(default_factory=list)


class Carver:
    """Finds the structures of given types, and claims their blocks. O(blocks * types)."""

    def __init__(self, heap: Heap, findings: Findings) -> None:
        self._heap, self._blocks, self._findings = heap, heap.blocks, findings
        self._width = heap.width
        self._uncertain: list[Callable[[], None]] = []
        """What may claim blocks when everything certain has its own."""

    def find(self, types: Mapping[int, Type]) -> dict[int, list[Found]]:
        """Return what was found, by the keys of the types; keys of the same type get the same list."""
        by_type: dict[Type, list[Found]] = {}
        finders: tuple[tuple[type[Type], Callable[[Any], Iterable[Found]]], ...] = (
            (TreeType, self._trees),
            (LogType, self._logs),
            (TableType, self._tables),
            (VecType, self._vecs),
        )
        for wanted, finder in finders:
            if wanted is VecType:
                self._fill_uncertain()
            for tp in dict.fromkeys(types.values()):
                if isinstance(tp, wanted):
                    by_type[tp] = list(finder(tp))
        return {key: by_type.get(tp, []) for key, tp in types.items()}

    def _fill_uncertain(self) -> None:
        for fill in self._uncertain:
            fill()

    def _unowned(self, least: int = 0, most: int = EMPTY) -> Iterator[int]:
        """Return the numbers of allocated blocks of such a size that nothing owns yet."""
        blocks: Blocks = self._blocks
        return (i for i in blocks.allocated() if not blocks.owned[i] and least <= blocks.size(i) <= most)

    def _claims(self, tp: Type, pointer: int, into: Findings) -> Claims:
        return Claims(self._heap, f"{tp.name} at {pointer}", into)

    # ---- trees ----

    def _trees(self, kind: TreeType) -> Iterable[Found]:
        nodes = self._nodes(kind)
        for group in _groups(nodes):
            yield self._tree(kind, group, nodes)

    def loose_leaves(self, kind: TreeType) -> list[int]:
        """Return the leaves with entries that nothing owns, by address. O(blocks)."""
        return sorted(at for at, node in self._nodes(kind).items() if node.is_leaf and node.keys)

    def _nodes(self, kind: TreeType) -> dict[int, Node]:
        """Return the blocks that can be nodes, by address, without those whose links lead to no node."""
        found: dict[int, Node] = {}
        need = {flag: kind.node_size(self._width, is_leaf=flag == LEAF) for flag in (LEAF, INTERNAL)}
        for index in self._unowned():
            first = self._blocks.content(index, 1)[0]
            if first in need and fits(self._blocks.size(index), need[first]):
                try:
                    node = kind.parse(self._blocks.content(index), self._blocks.starts[index], self._width)
                except Broken:
                    continue
                if self._can_be(kind, node):
                    found[node.pointer] = node
        _prune(found)
        return found

    def _can_be(self, kind: TreeType, node: Node) -> bool:
        if not node.is_leaf:
            return bool(node.keys) and len(set(node.children)) > 1
        try:
            entries = [kind.entry(key, value, self._heap) for key, value in zip(node.keys, node.values, strict=True)]
        except Broken:
            return False
        ranks = [kind.key.rank(kind.key_of(entry)) for entry in entries] if kind.key.ordered else []
        return all(a < b for a, b in pairwise(ranks))

    def _tree(self, kind: TreeType, group: _Group, nodes: dict[int, Node]) -> Found:
        root = group.roots[0]
        own = Findings()
        claims = self._claims(kind, root, own)
        kind.own_tree(root, None, claims)
        claims.finish()
        for other in [*group.roots[1:], *group.orphans]:
            index = self._blocks.index(other)
            if not self._blocks.owned[index]:
                claims.note("a node is not reached from the root", other, Fault.STALE_STACK)
                self._blocks.owned[index] = 1
                for key, value in zip(nodes[other].keys, nodes[other].values, strict=False):  # inner nodes have no values
                    kind.own_entry(key, value, self._claims(kind, other, Findings()))
        for one in own:
            self._findings.note(one)
        return Found(kind, root, TreeContents(kind, self._heap, group.roots, None, group.orphans), text="" if claims.sound else "damaged")

    # ---- logs ----

    def _logs(self, kind: LogType) -> Iterable[Found]:
        size = kind.part.size(self._width)
        sectors: dict[int, tuple[int, int, int]] = {}
        for index in self._unowned(SECTOR):
            head = self._blocks.content(index, SECTOR)
            before, after, capacity = word(head, 0), word(head, 8), word(head, 16)
            if capacity > 1 and fits(self._blocks.size(index), SECTOR + capacity * size):
                sectors[self._blocks.starts[index]] = before, after, capacity
        for first, (before, _, _) in sectors.items():
            if before == EMPTY:
                chain = _chain(sectors, first)
                if chain:
                    yield self._log(kind, chain, sectors)

    def _log(self, kind: LogType, chain: list[int], sectors: dict[int, tuple[int, int, int]]) -> Found:
        """Return a log up to its last sector, how much of which is filled is not known."""
        capacities = [sectors[at][2] for at in chain]
        full = sum(capacities[:-1])
        numbers = (full, chain[0], chain[-1], 0, 0, 0)
        claims = self._claims(kind, chain[0], self._findings)
        kind.own(b"".join(n.to_bytes(8, "little") for n in numbers) + bytes(self._width), claims)
        contents = LogContents(kind, self._heap, None, (chain[0], chain[-1]), 0)
        found = Found(kind, chain[0], contents, certain=len(chain) > 1)

        def fill() -> None:
            contents.last = self._own_leading(kind.part, chain[-1] + 8 + SECTOR, capacities[-1])
            found.text = f"the length is from {full} to {full + capacities[-1]}; {contents.last} elements of the last sector can be read"

        self._uncertain.append(fill)
        return found

    def _own_leading(self, part: Type, at: int, most: int) -> int:
        """Return how many elements from an address on can be elements, and claim what they own.

        Trailing zeros are taken for unwritten. An element whose blocks have another owner is stale.
        """
        size = part.size(self._width)
        if not size:
            return 0
        source = self._blocks.source
        data = source.read(at, max(0, min(most * size, source.nbytes - at) // size * size))
        filled = -(-len(data.rstrip(b"\0")) // size)
        for i, piece in enumerate(pieces(data, size, filled)):
            claims = Claims(self._heap, "", Findings())
            part.own(piece, claims)
            if not claims.sound:
                return i
        return filled

    def _beyond(self, part: Type, at: int) -> int:
        """Return how many elements a vec wrote past its block, up to the first that is none or all zeros."""
        size, source, count = part.size(self._width), self._blocks.source, 0
        while at + (count + 1) * size <= source.nbytes:
            data = source.read(at + count * size, size)
            try:
                part.decode(data, self._heap)
            except Broken:
                break
            if not any(data):
                break
            count += 1
        return count

    # ---- hash tables ----

    def _tables(self, kind: TableType) -> Iterable[Found]:
        for index in list(self._unowned()):
            content = self._blocks.content(index)
            capacity = self._capacity(kind, content)
            if capacity:
                pointer = self._blocks.starts[index]
                slots = Slots(content, capacity, *kind.sizes(self._width))
                length = len(slots.occupied())
                different = length - len(kind.twice(kind.places(slots, self._heap), capacity))
                claims = self._claims(kind, pointer, self._findings)
                header = pointer.to_bytes(8, "little") + b"".join(n.to_bytes(self._width, "little") for n in (length, capacity))
                kind.own(header, claims)
                certain = different >= _MANY or (different >= _ENOUGH and self._agreement(kind, slots) == 1)
                text = "" if certain else f"only {different} entries: chance can look like that"
                yield Found(kind, pointer, kind.decode(header, self._heap), certain, text)

    def _capacity(self, kind: TableType, content: bytes) -> int:
        """Return the capacity of a table with this content, by flags and hashes; 0 if it is not one, or holds nothing."""
        slot = kind.slot(self._width)
        possible = range(max(1, -(-(len(content) - 7 - SLACK) // slot)), len(content) // slot + 1)
        best, sizes = (0.0, 0), kind.sizes(self._width)
        for capacity in sorted(possible, key=lambda one: one not in TABLE_CAPACITIES):
            slots = Slots(content, capacity, *sizes)
            if fits(len(content), capacity * slot) and slots.flags_are_sound():
                best = max(best, (self._agreement(kind, slots), capacity), key=lambda pair: pair[0])
        return best[1] if best[0] > 1 / 2 else 0

    def _agreement(self, kind: TableType, slots: Slots) -> float:
        """Return the share of entries that lie where lookups find them; 0 if an entry is not one, or the hash would be chance.

        Or if most have a key that another has, too.
        """
        good, placed = 0, list[Placed]()
        for i in slots.occupied():
            try:
                key = kind.key_of(kind.entry(*slots.entry(i), self._heap))
            except Broken:
                return 0.0
            home = kind.home(key, slots.capacity, self._width)
            placed.append((i, key, home))
            good += home is None or slots.reaches(home, i)
        return good / len(placed) if 2 * len(kind.twice(placed, slots.capacity)) < len(placed) else 0.0

    # ---- vecs ----

    def _vecs(self, kind: VecType) -> Iterable[Found]:
        size = kind.part.size(self._width)
        for index in list(self._unowned()) if size else ():
            pointer, have = self._blocks.starts[index], self._blocks.size(index)
            capacities = [c for c in _doubled(4, have // size) if fits(have, c * size)]
            if not capacities:
                continue
            beyond = any(a <= pointer + 16 + have < b for a, b in self._blocks.gaps) or self._is_overwritten(pointer + 16 + have)
            most = self._own_leading(kind.part, pointer + 8, capacities[-1])
            if beyond and most == capacities[-1]:
                most += self._beyond(kind.part, pointer + 8 + most * size)
            if not most:
                continue
            text = f"the length is not known: {most} elements can be read, the last of them may be stale; capacity {capacities[-1]}"
            if beyond and most > capacities[-1]:
                self._findings.note(
                    Finding(f"{kind.name} at {pointer}", "elements go on past the end of the block", pointer, Fault.VEC_CAPACITY)
                )
            self._blocks.owned[index] = 1
            yield Found(kind, pointer, VecContents(kind, self._heap, pointer, None, most), certain=False, text=text)

    def _is_overwritten(self, at: int) -> bool:
        return any(one.address == at and one.text.startswith("the size words between") for one in self._findings)


def _doubled(first: int, most: int) -> Iterator[int]:
    """Return capacities up to a number: powers of two first, then what a given capacity can have grown to."""
    value = first
    while value <= most:
        yield value
        value *= 2


def _chain(sectors: dict[int, tuple[int, int, int]], first: int) -> list[int]:
    """Return the sectors from a first one on, whose links agree; nothing if one does not."""
    chain, at = [first], sectors[first][1]
    while at != EMPTY:
        if at not in sectors or sectors[at][0] != chain[-1] or at == first:
            return []
        chain.append(at)
        at = sectors[at][1]
    return chain


def _prune(nodes: dict[int, Node]) -> None:
    """Drop internal nodes none of whose children is a node, until there are no more."""
    while True:
        bad = [at for at, node in nodes.items() if not node.is_leaf and sum(child in nodes for child in node.children) <= CAPACITY // 8]
        if not bad:
            return
        for at in bad:
            del nodes[at]


def _groups(nodes: dict[int, Node]) -> list[_Group]:
    """Group nodes that children and links join, by union of sets; roots are what no node has as a child."""
    above = {at: at for at in nodes}

    def top(at: int) -> int:
        while above[at] != at:
            above[at] = above[above[at]]
            at = above[at]
        return at

    children = set[int]()
    for at, node in nodes.items():
        children.update(child for child in node.children if child != at)
        for other in [*node.children, *([node.next] if node.next else [])]:
            if other in nodes:
                above[top(other)] = top(at)
    groups: dict[int, _Group] = {}
    for at, node in nodes.items():
        group = groups.setdefault(top(at), _Group())
        (group.orphans if at in children or node.is_leaf else group.roots).append(at)
    return [_ordered(group, nodes, children) for group in groups.values()]


def _ordered(group: _Group, nodes: dict[int, Node], children: set[int]) -> _Group:
    """Return the root with most nodes below it first. A group without one is led by its first leaf."""
    if not group.roots:
        linked = {nodes[at].next for at in group.orphans}
        group.orphans.sort(key=lambda at: (at in children, at in linked))
        group.roots.append(group.orphans.pop(0))
    group.roots.sort(key=lambda at: -_reach(nodes, at))
    return group


def _reach(nodes: dict[int, Node], root: int) -> int:
    seen, pending = {root}, [root]
    while pending:
        fresh: set[Any] = {child for child in nodes[pending.pop()].children if child in nodes} - seen
        seen |= fresh
        pending += fresh
    return len(seen)
