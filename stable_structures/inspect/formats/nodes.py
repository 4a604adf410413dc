# SPDX-License-Identifier: Apache-2.0
"""One node of a map, parsed as untrusted input (docs/format.md#b-tree-map, "Nodes").

A layout-2 node is a run of bytes in a chain of pages:

    page 1    'BTN' 2 | leaf 0 / internal 1 | n (2) | next page (8) | data ...
    page 2..  'NOF' | next page (8) | data ...

and its data are n + 1 children (internal), n keys (with a 4-byte size each unless keys are of one size), n values with
a 4-byte size each. Whether keys have sizes stands nowhere in the memory: see inference.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..source import PastEnd, Source
from .layout import (
    ALLOCATED_AT,
    CAPACITY,
    CHILD,
    CHUNK_BEGINS,
    CHUNK_HEADER,
    COUNT_AT,
    FIRST_CHUNK,
    NEXT_OVERFLOW_AT,
    NODE_HEADER,
    NODE_MAGIC,
    OVERFLOW_AT,
    OVERFLOW_HEADER,
    OVERFLOW_MAGIC,
    SIZE,
    SLOTS_OF_NODE_AT,
    TYPE_AT,
    U32,
    UNBOUNDED_MARK,
    VERSION_AT,
    Damage,
    u16,
    u32,
    u64,
)

_CHILDREN: Final = {n: struct.Struct(f"<{n + 1}Q") for n in range(CAPACITY + 1)}


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """How keys and values lie in the nodes of a map: their largest sizes, and the one size of keys that have no size field."""

    key_fixed: int | None = None
    key_max: int = UNBOUNDED_MARK
    value_max: int = UNBOUNDED_MARK
    value_fixed: int | None = None
    certain: bool = True
    """Whether it was given, not guessed."""


@dataclass(slots=True)
class Node:
    """A node's place, parts and entries; `values` are (offset in the run, size)."""

    address: int
    version: int
    leaf: bool
    run: Run
    children: tuple[int, ...] = ()
    keys: list[bytes] = field(default_factory=list)
    values: list[tuple[int, int]] = field(default_factory=list)
    end: int = 0

    def value(self, index: int) -> bytes:
        """Return the bytes of a value. O(size). Raises `Damage`."""
        return self.run.read(*self.values[index])


class Run:
    """The bytes of a node across its pages. The first page is at hand, the others are found as they are needed."""

    def __init__(self, space: Space, address: int, first: bytes, following: int) -> None:
        self.space = space
        self.address = address
        self.first = first
        self.pages: list[int] = []
        """Overflow pages found so far."""
        self.following = following

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the run. Raises `Damage` if the chain ends or breaks before."""
        page = len(self.first)
        if offset + length <= page:
            return self.first[offset : offset + length]
        if length > self.space.source.nbytes:
            raise Damage("a node's run lies inside the memory", self.address, length, self.space.source.nbytes)
        parts = [self.first[offset:]] if offset < page else []
        at, room = max(offset - page, 0), page - OVERFLOW_HEADER
        left = offset + length - page - at
        while left > 0:
            index, inside = divmod(at, room)
            take = min(left, room - inside)
            parts.append(self.space.read(self.page(index) + OVERFLOW_HEADER + inside, take))
            at, left = at + take, left - take
        return b"".join(parts)

    def size(self, at: int) -> int:
        """Return the size of a key or value that stands at an offset. Raises `Damage` as `read` does."""
        if at + SIZE <= len(self.first):
            return int(U32.unpack_from(self.first, at)[0])
        return u32(self.read(at, SIZE), 0)

    def page(self, index: int) -> int:
        """Return the address of an overflow page. Raises `Damage`."""
        while index >= len(self.pages):
            if self.following == 0:
                raise Damage("a node's chain has the pages that its entries need", self.address, len(self.pages), index + 1)
            self._step()
        return self.pages[index]

    def _step(self) -> None:
        at = self.following
        header = self.space.checked(at, OVERFLOW_HEADER)
        if header[:3] != OVERFLOW_MAGIC:
            raise Damage("an overflow page begins with NOF", at, header[:3].hex(), OVERFLOW_MAGIC.hex())
        if len(self.pages) > self.space.chunks:
            raise Damage("a node's chain has no cycle", self.address, len(self.pages), self.space.chunks)
        self.pages.append(at)
        self.following = u64(header, NEXT_OVERFLOW_AT)

    def whole(self, most: int) -> bytes | None:
        """Return all bytes of the run, or None if it has more than `most` overflow pages. Raises `Damage` if the chain breaks."""
        while self.following and len(self.pages) <= most:
            self._step()
        if self.following or len(self.pages) > most:
            return None
        room = len(self.first) - OVERFLOW_HEADER
        return b"".join([self.first, *(self.space.read(at + OVERFLOW_HEADER, room) for at in self.pages)])

    def finish(self, end: int) -> None:
        """Demand that the chain ends where the entries end."""
        page = len(self.first)
        needed = 0 if end <= page else -(-(end - page) // (page - OVERFLOW_HEADER))
        if needed:
            self.page(needed - 1)
        if self.following != 0 or len(self.pages) != needed:
            raise Damage("a node's chain has no more pages than its entries need", self.address, len(self.pages) + 1, needed)


class Space:
    """The chunks of a map: a grid of equal steps from byte 100 on."""

    def __init__(self, source: Source, page: int, slot_key: int = 0, slot_value: int = 0) -> None:
        self.source = source
        self.page = page
        self.stride = page + CHUNK_HEADER
        self.slot_key, self.slot_value = slot_key, slot_value
        """Largest key and value of layout-1 nodes."""
        self.chunks = max(0, (source.nbytes - FIRST_CHUNK - CHUNK_HEADER) // self.stride + 1) if source.nbytes > FIRST_CHUNK else 0

    def read(self, address: int, length: int) -> bytes:
        """Return bytes of the map's memory. Raises `Damage` if there are none."""
        try:
            return self.source.read(address, length)
        except PastEnd:
            raise Damage("an address lies inside the memory", address, address + length, self.source.nbytes) from None

    def index(self, address: int) -> int:
        """Return the number of the chunk whose data are at `address`. Raises `Damage` off the grid."""
        index, rest = divmod(address - CHUNK_HEADER - FIRST_CHUNK, self.stride)
        if index < 0 or rest:
            raise Damage("a chunk's address lies on the grid of chunks", address, rest, 0)
        if address + self.page > self.source.nbytes:
            raise Damage("a chunk lies inside the memory", address, address + self.page, self.source.nbytes)
        return index

    def address(self, index: int) -> int:
        """Return the address of the data of a chunk."""
        return FIRST_CHUNK + index * self.stride + CHUNK_HEADER

    def checked(self, address: int, length: int) -> bytes:
        """Return the first bytes of the chunk at `address`. Raises `Damage` unless it is allocated and sound."""
        self.index(address)
        both = self.read(address - CHUNK_HEADER, CHUNK_HEADER + length)
        _check_header(both, address)
        return both[CHUNK_HEADER:]

    def node(self, address: int, layout: NodeLayout, *, whole: bool = True, first: bytes | None = None) -> Node:
        """Return the node at `address`, with every rule on its own bytes checked. O(entries). Raises `Damage`.

        With `whole=False` only the children and what is needed for the layout is there: keys and values are not parsed.
        """
        if first is None:
            first = self.checked(address, self.page)
        node = self._open(address, first)
        if node.version == 1:
            self._read_slots(node, whole=whole)
            return node
        at = NODE_HEADER
        if not node.leaf:
            count = _count(first)
            node.children = _CHILDREN[count].unpack(node.run.read(at, CHILD * (count + 1)))
            at += CHILD * (count + 1)
        if whole:
            node.end = read_entries(node, at, _count(first), layout)
            node.run.finish(node.end)
        else:
            node.end = at
        return node

    def _open(self, address: int, first: bytes) -> Node:
        if first[:3] != NODE_MAGIC:
            raise Damage("a node begins with BTN", address, first[:3].hex(), NODE_MAGIC.hex())
        version, kind, count = first[VERSION_AT], first[TYPE_AT], _count(first)
        if version not in (1, 2) or (version == 1 and not self.slot_value and not self.slot_key):
            raise Damage("a node's layout version is known", address + VERSION_AT, version, 2)
        if kind > 1:
            raise Damage("a node is a leaf (0) or internal (1)", address + TYPE_AT, kind, 1)
        if not 1 <= count <= CAPACITY:
            raise Damage("a node has 1 to 11 entries", address + COUNT_AT, count, CAPACITY)
        return Node(address, version, kind == 0, Run(self, address, first, u64(first, OVERFLOW_AT) if version == 2 else 0))  # noqa: PLR2004 - said by the format

    def _read_slots(self, node: Node, *, whole: bool) -> None:
        """Parse a layout-1 node: slots of the maximum sizes, then the children."""
        first, count = node.run.first, _count(node.run.first)
        slot = 2 * SIZE + self.slot_key + self.slot_value
        for at in range(SLOTS_OF_NODE_AT, SLOTS_OF_NODE_AT + count * slot, slot) if whole else ():
            key, value = u32(first, at), u32(first, at + SIZE + self.slot_key)
            if key > self.slot_key:
                raise Damage("a key fits its slot", node.address + at, key, self.slot_key)
            if value > self.slot_value:
                raise Damage("a value fits its slot", node.address + at + SIZE + self.slot_key, value, self.slot_value)
            node.keys.append(first[at + SIZE : at + SIZE + key])
            node.values.append((at + 2 * SIZE + self.slot_key, value))
        node.end = SLOTS_OF_NODE_AT + count * slot
        if not node.leaf:
            node.children = _CHILDREN[count].unpack_from(first, node.end)
            node.end += CHILD * (count + 1)


def _count(first: bytes) -> int:
    return u16(first, COUNT_AT)


def _check_header(header: bytes, address: int) -> None:
    if header[:4] != CHUNK_BEGINS:
        raise Damage("a chunk begins with CHK and version 1", address - CHUNK_HEADER, header[:4].hex(), CHUNK_BEGINS.hex())
    if header[ALLOCATED_AT] != 1:
        raise Damage("a chunk that is reached from the tree is allocated", address - CHUNK_HEADER + ALLOCATED_AT, header[ALLOCATED_AT], 1)


def read_entries(node: Node, at: int, count: int, layout: NodeLayout, *, keep: Callable[[Damage], None] | None = None) -> int:
    """Keys and values of a layout-2 node from `at` on; return where they end. Raises `Damage`.

    With `keep` that is reported instead, and everything read so far is kept.
    """
    try:
        at = _read_keys(node, at, count, layout)
        for _ in range(count):
            size = node.run.size(at)
            if size > layout.value_max or (layout.value_fixed is not None and size != layout.value_fixed):
                raise Damage("a value fits its type", node.address, size, layout.value_max)  # noqa: TRY301 - a broken rule, reported as all are
            if keep is not None:
                node.run.read(at + SIZE, size)
            node.values.append((at + SIZE, size))
            at += SIZE + size
    except Damage as damage:
        if keep is None:
            raise
        keep(damage)
    return at


def _read_keys(node: Node, at: int, count: int, layout: NodeLayout) -> int:
    run, fixed = node.run, layout.key_fixed
    if fixed is not None:
        keys = run.read(at, count * fixed)
        node.keys += [keys[i : i + fixed] for i in range(0, count * fixed, fixed)] if fixed else [b""] * count
        return at + count * fixed
    for _ in range(count):
        size = run.size(at)
        if size > layout.key_max:
            raise Damage("a key fits its type", node.address, size, layout.key_max)
        node.keys.append(run.read(at + SIZE, size))
        at += SIZE + size
    return at
