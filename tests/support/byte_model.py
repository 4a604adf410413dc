"""The B-tree of docs/format.md#chunk-allocator and #b-tree-map in plain Python: slow, simple, and written from the text alone.

It keeps the whole memory, so that every byte of the real one can be held against it. Nodes are loaded into objects,
changed there and saved again, as the text tells it; nothing is shared with the C core.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PAGE = 65536
NULL = 0
CAPACITY = 11
MINIMUM = 6


class ModelMemory:
    """Pages of bytes with the growing write of docs/format.md#memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, offset: int, data: bytes) -> None:
        pages = -(-(offset + len(data)) // PAGE)
        if pages * PAGE > len(self.data):
            self.data.extend(bytes(pages * PAGE - len(self.data)))
        self.data[offset : offset + len(data)] = data

    def number(self, offset: int, size: int) -> int:
        return int.from_bytes(self.data[offset : offset + size], "little")


class Chunks:
    """docs/format.md#chunk-allocator."""

    AT, FIRST = 52, 100

    def __init__(self, memory: ModelMemory, size: int) -> None:
        self.memory, self.size = memory, size
        self.allocated, self.head = 0, self.FIRST

    def new(self) -> None:
        self.allocated, self.head = 0, self.FIRST
        self._put_chunk(self.head, 0, NULL)
        self._put_header()

    def load(self) -> None:
        self.size, self.allocated, self.head = (self.memory.number(self.AT + at, 8) for at in (8, 16, 24))

    def _put_header(self) -> None:
        numbers = b"".join(n.to_bytes(8, "little") for n in (self.size, self.allocated, self.head))
        self.memory.write(self.AT, b"BTA\1" + bytes(4) + numbers + bytes(16))

    def _put_chunk(self, at: int, allocated: int, following: int) -> None:
        self.memory.write(at, b"CHK\1" + bytes([allocated, 0, 0, 0]) + following.to_bytes(8, "little"))

    def allocate(self) -> int:
        chunk = self.head
        following = self.memory.number(chunk + 8, 8)
        self._put_chunk(chunk, 1, following)
        if following == NULL:
            self.head += 16 + self.size
            self._put_chunk(self.head, 0, NULL)
        else:
            self.head = following
        self.allocated += 1
        self._put_header()
        return chunk + 16

    def deallocate(self, address: int) -> None:
        chunk = address - 16
        assert self.memory.data[chunk + 4] == 1
        self._put_chunk(chunk, 0, self.head)
        self.head = chunk
        self.allocated -= 1
        self._put_header()


Entry = tuple[bytes, bytes]


@dataclass
class Node:
    address: int
    version: int
    leaf: bool
    entries: list[Entry] = field(default_factory=list)
    children: list[int] = field(default_factory=list)

    @property
    def can_lose(self) -> bool:
        return len(self.entries) >= MINIMUM


Rank = Callable[[bytes], Any]
"""What stands for an encoded key where keys are compared."""


def rank_of(codec: Any) -> Rank:
    """The order of a codec, which decodes a key once, however often it is compared."""
    ordered = functools.cmp_to_key(lambda a, b: codec.compare(a, b) or 0)
    return lambda key: ordered(codec.decode(key))


def parts(data: bytes, at: int, count: int, fixed: int | None) -> tuple[list[bytes], int]:
    """So many parts from a place on, of a fixed size or each behind its own, and where they end."""
    found = []
    for _ in range(count):
        if fixed is None:
            start = at + 4
            at = start + int.from_bytes(data[at:start], "little")
        else:
            start, at = at, at + fixed
        found.append(data[start:at])
    return found, at


class ModelMap:
    """docs/format.md#b-tree-map. `key` and `value` are (max size or None, fixed)."""

    def __init__(self, key: tuple[int | None, bool], value: tuple[int | None, bool], rank: Rank, image: bytes = b"") -> None:
        self.memory = ModelMemory()
        self.fixed_key = key[0] if key[1] else None
        self.rank = rank
        self.slots: tuple[int, int] | None = None
        self.fresh: set[int] = set()  # chunks that were allocated and not saved yet
        self.memory.data.extend(image)
        if image[:3] == b"BTR":
            self._load()
        else:
            self._new(key[0], value[0])

    @staticmethod
    def derived(key: int, value: int) -> int:
        return 7 + 11 * (8 + key + value) + 12 * 8

    def _new(self, key: int | None, value: int | None) -> None:
        self.page = 1024 if key is None or value is None else self.derived(key, value) * 3 // 4
        self.chunks = Chunks(self.memory, self.page)
        self.chunks.new()
        self.root, self.length = NULL, 0
        self._put_header()

    def _load(self) -> None:
        a, b = self.memory.number(4, 4), self.memory.number(8, 4)
        if self.memory.data[3] == 1 or b != 0xFFFFFFFF:
            self.slots = (a, b)
            self.page = self.derived(a, b)
        else:
            self.page = a
        self.root, self.length = self.memory.number(12, 8), self.memory.number(20, 8)
        self.chunks = Chunks(self.memory, self.page)
        self.chunks.load()

    def _put_header(self) -> None:
        version, (a, b) = (2, (self.page, 0xFFFFFFFF)) if self.slots is None else (1, self.slots)
        numbers = a.to_bytes(4, "little") + b.to_bytes(4, "little") + self.root.to_bytes(8, "little") + self.length.to_bytes(8, "little")
        self.memory.write(0, b"BTR" + bytes([version]) + numbers)

    # ---- nodes ----

    def _overflow_pages(self, address: int) -> list[int]:
        pages, at = [], self.memory.number(address + 7, 8)
        while at != NULL:
            pages.append(at)
            at = self.memory.number(at + 3, 8)
        return pages

    def load(self, address: int) -> Node:
        data = self.memory.data
        node = Node(address, data[address + 3], data[address + 4] == 0)
        count = self.memory.number(address + 5, 2)
        if node.version == 1:
            self._load_v1(node, count)
            return node
        run = bytes(data[address : address + self.page])
        for page in self._overflow_pages(address):
            run += data[page + 11 : page + self.page]
        children = 0 if node.leaf else count + 1
        node.children = list(struct.unpack_from(f"<{children}Q", run, 15))
        keys, at = parts(run, 15 + 8 * children, count, self.fixed_key)
        values, _ = parts(run, at, count, None)
        node.entries = list(zip(keys, values, strict=True))
        return node

    def _load_v1(self, node: Node, count: int) -> None:
        assert self.slots is not None
        at, number = node.address + 7, self.memory.number
        for _ in range(count):
            value_at = at + 4 + self.slots[0]
            key = bytes(self.memory.data[at + 4 : at + 4 + number(at, 4)])
            node.entries.append((key, bytes(self.memory.data[value_at + 4 : value_at + 4 + number(value_at, 4)])))
            at = value_at + 4 + self.slots[1]
        if not node.leaf:
            node.children = [number(at + 8 * i, 8) for i in range(count + 1)]

    def save(self, node: Node) -> None:
        (self._save_v1 if node.version == 1 else self._save_v2)(node)

    def _save_v1(self, node: Node) -> None:
        assert self.slots is not None
        write, at = self.memory.write, node.address + 7
        write(node.address, b"BTN\1" + bytes([not node.leaf]) + len(node.entries).to_bytes(2, "little"))
        for key, value in node.entries:
            write(at, len(key).to_bytes(4, "little") + key)
            at += 4 + self.slots[0]
            write(at, len(value).to_bytes(4, "little") + value)
            at += 4 + self.slots[1]
        for child in node.children:
            write(at, child.to_bytes(8, "little"))
            at += 8

    def _save_v2(self, node: Node) -> None:
        sized = lambda data: len(data).to_bytes(4, "little") + data  # noqa: E731
        body = b"".join(child.to_bytes(8, "little") for child in node.children)
        body += b"".join(sized(key) if self.fixed_key is None else key for key, _ in node.entries)
        body += b"".join(sized(value) for _, value in node.entries)
        if node.address in self.fresh:
            self.fresh.remove(node.address)
            self.memory.write(node.address + 7, bytes(8))
        pages = self._overflow_pages(node.address)
        self.memory.write(node.address, b"BTN\2" + bytes([not node.leaf]) + len(node.entries).to_bytes(2, "little"))
        self.memory.write(node.address + 15, body[: self.page - 15])
        rest, used = body[self.page - 15 :], 0
        while rest:
            if used == len(pages):
                page = self.chunks.allocate()
                self.memory.write(page, b"NOF" + bytes(8))
                self._link(node, pages, used, page)
                pages.append(page)
            self.memory.write(pages[used] + 11, rest[: self.page - 11])
            rest = rest[self.page - 11 :]
            used += 1
        if used < len(pages):
            for page in reversed(pages[used:]):
                self.chunks.deallocate(page)
            self._link(node, pages, used, NULL)

    def _link(self, node: Node, pages: list[int], index: int, address: int) -> None:
        at = node.address + 7 if index == 0 else pages[index - 1] + 3
        self.memory.write(at, address.to_bytes(8, "little"))

    def _allocate(self, *, leaf: bool) -> Node:
        address = self.chunks.allocate()
        self.fresh.add(address)
        return Node(address, 2, leaf)

    def _deallocate(self, node: Node) -> None:
        for page in self._overflow_pages(node.address) if node.version == 2 else []:
            self.chunks.deallocate(page)
        self.chunks.deallocate(node.address)

    def find(self, node: Node, key: bytes) -> tuple[bool, int]:
        wanted = self.rank(key)
        for i, (there, _) in enumerate(node.entries):
            rank = self.rank(there)
            if not rank < wanted:
                return rank == wanted, i
        return False, len(node.entries)

    # ---- lookups ----

    def get(self, key: bytes) -> bytes | None:
        address = self.root
        while address != NULL:
            node = self.load(address)
            found, i = self.find(node, key)
            if found:
                return node.entries[i][1]
            address = NULL if node.leaf else node.children[i]
        return None

    def entries(self, address: int | None = None) -> list[Entry]:
        address = self.root if address is None else address
        if address == NULL:
            return []
        node = self.load(address)
        if node.leaf:
            return node.entries
        rows = self.entries(node.children[0])
        for entry, child in zip(node.entries, node.children[1:], strict=True):
            rows += [entry, *self.entries(child)]
        return rows

    # ---- insertion ----

    def insert(self, key: bytes, value: bytes) -> bytes | None:
        if self.root == NULL:
            root = self._allocate(leaf=True)
            self.root = root.address
            self._put_header()
        else:
            root = self.load(self.root)
            found, i = self.find(root, key)
            if found:
                return self._replace(root, i, value)
            if len(root.entries) == CAPACITY:
                old = root
                root = self._allocate(leaf=False)
                root.children = [old.address]
                self.root = root.address
                self._put_header()
                self._split(root, 0)
        return self._insert_nonfull(root, key, value)

    def _replace(self, node: Node, i: int, value: bytes) -> bytes:
        key, old = node.entries[i]
        node.entries[i] = (key, value)
        self.save(node)
        return old

    def _insert_nonfull(self, node: Node, key: bytes, value: bytes) -> bytes | None:
        found, i = self.find(node, key)
        if found:
            return self._replace(node, i, value)
        if node.leaf:
            node.entries.insert(i, (key, value))
            self.save(node)
            self.length += 1
            self._put_header()
            return None
        child = self.load(node.children[i])
        if len(child.entries) == CAPACITY:
            found, at = self.find(child, key)
            if found:
                return self._replace(child, at, value)
            self._split(node, i)
            _, i = self.find(node, key)
            child = self.load(node.children[i])
        return self._insert_nonfull(child, key, value)

    def _split(self, parent: Node, i: int) -> None:
        child = self.load(parent.children[i])
        sibling = self._allocate(leaf=child.leaf)
        parent.entries.insert(i, child.entries[5])
        parent.children.insert(i + 1, sibling.address)
        sibling.entries, child.entries = child.entries[6:], child.entries[:5]
        sibling.children, child.children = child.children[6:], child.children[:6]
        for node in (sibling, child, parent):
            self.save(node)

    # ---- removal ----

    def remove(self, key: bytes) -> bytes | None:
        return None if self.root == NULL else self._remove(self.load(self.root), key)

    def _remove(self, node: Node, key: bytes) -> bytes | None:
        found, i = self.find(node, key)
        if node.leaf:
            return self._drop(node, i)[1] if found else None
        return self._remove_here(node, i, key) if found else self._remove_below(node, i, key)

    def _drop(self, leaf: Node, i: int) -> Entry:
        entry = leaf.entries.pop(i)
        self.length -= 1
        if leaf.entries:
            self.save(leaf)
        else:
            self._deallocate(leaf)
            self.root = NULL
        self._put_header()
        return entry

    def _remove_here(self, node: Node, i: int, key: bytes) -> bytes | None:
        left, right = self.load(node.children[i]), self.load(node.children[i + 1])
        old = node.entries[i][1]
        if left.can_lose or right.can_lose:
            node.entries[i] = self._take(left, last=True) if left.can_lose else self._take(right, last=False)
            self.save(node)
            return old
        self._merge(right, left, node.entries[i], at_end=True)
        del node.entries[i], node.children[i + 1]
        self._save_or_shrink(node, left)
        self.save(left)
        return self._remove(left, key)

    def _save_or_shrink(self, node: Node, heir: Node) -> None:
        if node.entries:
            self.save(node)
            return
        self._deallocate(node)
        self.root = heir.address
        self._put_header()

    def _merge(self, source: Node, target: Node, separator: Entry, *, at_end: bool) -> None:
        if at_end:
            target.entries = [*target.entries, separator, *source.entries]
            target.children = target.children + source.children
        else:
            target.entries = [*source.entries, separator, *target.entries]
            target.children = source.children + target.children
        self.save(target)
        self._deallocate(source)

    def _remove_below(self, node: Node, i: int, key: bytes) -> bytes | None:
        return self._remove(self._refilled(node, i), key)

    def _refilled(self, node: Node, i: int) -> Node:
        """Child i of the node, such that it can lose an entry."""
        child = self.load(node.children[i])
        if child.can_lose:
            return child
        left = self.load(node.children[i - 1]) if i > 0 else None
        right = self.load(node.children[i + 1]) if i < len(node.entries) else None
        if left and left.can_lose:
            child.entries.insert(0, node.entries[i - 1])
            node.entries[i - 1] = left.entries.pop()
            if left.children:
                child.children.insert(0, left.children.pop())
            for changed in (left, child, node):
                self.save(changed)
            return child
        if right and right.can_lose:
            child.entries.append(node.entries[i])
            node.entries[i] = right.entries.pop(0)
            if right.children:
                child.children.append(right.children.pop(0))
            for changed in (right, child, node):
                self.save(changed)
            return child
        target, separator = (left, i - 1) if left else (right, i)
        assert target is not None
        self._merge(child, target, node.entries[separator], at_end=left is not None)
        del node.entries[separator], node.children[i]
        self._save_or_shrink(node, target)
        return target

    def _take(self, node: Node, *, last: bool) -> Entry:
        if node.leaf:
            return self._drop(node, -1 if last else 0)
        return self._take(self._refilled(node, len(node.entries) if last else 0), last=last)

    def pop_first(self) -> Entry | None:
        return None if self.root == NULL else self._take(self.load(self.root), last=False)

    def pop_last(self) -> Entry | None:
        return None if self.root == NULL else self._take(self.load(self.root), last=True)

    def clear(self) -> None:
        self.root, self.length = NULL, 0
        self.chunks.new()
        self._put_header()
