# ruff: noqa: ARG002, E741 - one interface for all elements; l and r are the names that the format has
"""A model of ic-stable-memory 0.4.4, byte for byte, with its faults (docs/format-ism.md): what writes the images of the tests.

It is checked against traces of the crate: the digest of the whole memory holds after each operation. Only tests write this format.
"""

from __future__ import annotations

import hashlib
from bisect import insort
from functools import lru_cache

from stable_structures.rescue.zwohash import Hash

PAGE = 65536
EMPTY = 2**64 - 1
BIT = 1 << 63
W = 4
PREFIX = bytes.fromhex(
    "4449444c076c06f4e0baf00478b794e9ee0878a9a0aca10b7893a7dfa30d78f9a1bbd20d01bdb9cad20e05"
    "6d026c02007801036d046c02eec3d50278c1c1cee204786d066c02007801780100"
)


NOTHING = "="


class OutOfMemory(Exception):
    pass


def pad(n):
    return 16 if n < 16 else -(-n // 8) * 8


def leb(n):
    out = bytearray()
    while True:
        n, low = n >> 7, n & 127
        out.append(low | (128 if n else 0))
        if not n:
            return bytes(out)


class Allocator:
    def __init__(self, max_pages=0):
        self.mem = bytearray()
        self.max_pages = max_pages
        self.lists = {}
        self.free_size = 0
        self.max_ptr = 8
        self.roots = {}

    # ---- words ----

    def get(self, at, n=8):
        if at + n > len(self.mem):
            raise IndexError("stable read out of bounds")
        return int.from_bytes(self.mem[at : at + n], "little")

    def put_word(self, at, value, n=8):
        self.write(at, value.to_bytes(n, "little"))

    def read(self, at, n):
        if at + n > len(self.mem):
            raise IndexError("stable read out of bounds")
        return bytes(self.mem[at : at + n])

    def write(self, at, data):
        if at + len(data) > len(self.mem):
            raise IndexError("stable write out of bounds")
        self.mem[at : at + len(data)] = data

    def size(self, p):
        return self.get(p) & ~BIT

    # ---- blocks ----

    @property
    def available(self):
        return max(0, len(self.mem) - 8)

    def _insert(self, p, size):
        insort(self.lists.setdefault(size, []), p)

    def _remove(self, p, size):
        self.lists[size].remove(p)
        if not self.lists[size]:
            del self.lists[size]

    def _put(self, p, size):
        if p - 8 >= 8:
            rear = self.get(p - 8)
            if not rear & BIT:
                q = p - 16 - rear
                self._remove(q, rear)
                p, size = q, size + rear + 16
        after = p + size + 16
        if after < self.max_ptr:
            front = self.get(after)
            if not front & BIT:
                self._remove(after, front)
                size += front + 16
        self.put_word(p, size)
        self.put_word(p + 8 + size, size)
        self._insert(p, size)

    def _take(self, n):
        fitting = [s for s in self.lists if s >= n]
        if not fitting:
            return None
        size = min(fitting)
        p = self.lists[size][-1]
        self._remove(p, size)
        return p, size

    def _grow(self, n):
        pages = -(-(n + 16) // PAGE)
        now = len(self.mem) // PAGE
        if self.max_pages and now + pages > self.max_pages:
            raise OutOfMemory
        p = self.max_ptr
        self.mem.extend(bytes(pages * PAGE))
        self.max_ptr = len(self.mem)
        size = self.max_ptr - p - 16
        self.free_size += size + 16
        return p, size

    def _last(self):
        if self.max_ptr > 8:
            rear = self.get(self.max_ptr - 8)
            if not rear & BIT:
                return self.max_ptr - 16 - rear, rear
        return None

    def _mark(self, p, size):
        self.put_word(p, size | BIT)
        self.put_word(p + 8 + size, size | BIT)

    def allocate(self, n):
        n = pad(n)
        found = self._take(n)
        if found is None:
            last = self._last()
            if last:
                self._grow(n - last[1])
                self._remove(*last)
                found = last[0], self.max_ptr - last[0] - 16
            else:
                found = self._grow(n)
        p, size = found
        if size - n >= 32:
            self._mark(p, n)
            self._put(p + 16 + n, size - n - 16)
            size = n
        else:
            self._mark(p, size)
        self.free_size -= size + 16
        return p

    def deallocate(self, p):
        size = self.size(p)
        self.free_size += size + 16
        self._put(p, size)

    def reallocate(self, p, n):
        n = pad(n)
        size = self.size(p)
        if n <= size:
            return p
        after = p + size + 16
        if after < self.max_ptr and not self.get(after) & BIT:
            rest = self.get(after)
            m = size + rest + 16
            fits = m >= n
            if not fits and after + rest + 16 == self.max_ptr:
                try:
                    self._grow(n)
                except OutOfMemory:
                    pass
                else:
                    self._remove(after, rest)
                    m = self.max_ptr - p - 16
                    self._resized(p, size, m, n)
                    return p
            if fits:
                self._remove(after, rest)
                self._resized(p, size, m, n)
                return p
        if not self.reserve(n):
            raise OutOfMemory
        old = self.read(p + 8, size)
        self.free_size += size + 16
        self._put(p, size)
        q = self.allocate(n)
        self.write(q + 8, old)
        return q

    def _resized(self, p, size, m, n):
        if m - n < 32:
            self._mark(p, m)
            now = m
        else:
            self._mark(p, n)
            self._put(p + 16 + n, m - n - 16)
            now = n
        self.free_size -= now - size

    def reserve(self, n):
        n = pad(n)
        if any(s >= n for s in self.lists):
            return True
        last = self._last()
        try:
            p, size = self._grow(n - (last[1] if last else 0))
        except OutOfMemory:
            return False
        self._put(p, size)
        return True

    # ---- upgrades ----

    def encode(self, order=None):
        out = bytearray(PREFIX)
        for n in (self.free_size, self.available, self.max_pages, self.max_ptr):
            out += n.to_bytes(8, "little")
        out += leb(len(self.lists))
        for size in sorted(self.lists):
            out += size.to_bytes(8, "little") + leb(len(self.lists[size]))
            for p in self.lists[size]:
                out += p.to_bytes(8, "little") + size.to_bytes(8, "little")
        out += leb(len(self.roots))
        for key in order or self.roots:
            out += key.to_bytes(8, "little") + self.roots[key].to_bytes(8, "little")
        return bytes(out)

    def pre_upgrade(self, order=None):
        p = self.allocate(len(self.encode()) + 100)
        self.write(p + 8, self.encode(order))
        self.put_word(0, p)

    def post_upgrade(self):
        self.deallocate(self.get(0))


# ---- elements: a fixed encoding, or a box of a String or Vec<u8> ----


class Space:
    """For types without pointers."""

    width = 4


class Fixed:
    def __init__(self, tp):
        self.tp, self.n = tp, tp.size(W)

    def make(self, a, token):
        return b"" if token == NOTHING else bytes.fromhex(token)

    def value(self, a, raw):
        return self.tp.decode(raw, Space)

    def value_of(self, token):
        return self.tp.decode(self.make(None, token), Space)

    def token(self, a, raw):
        return raw.hex() or "="

    def drop(self, a, raw):
        pass


@lru_cache(maxsize=4096)
def text_of(token, *, is_str):
    length, seed = map(int, token[1:].split("."))
    if is_str:
        return bytes(97 + (seed + 31 * j) % 26 for j in range(length))
    return bytes((seed + 31 * j) % 256 for j in range(length))


class Box:
    n = 8

    def __init__(self, tp, *, is_str):
        self.tp, self.is_str = tp, is_str

    def make(self, a, token):
        data = text_of(token, is_str=self.is_str)
        p = a.allocate(W + len(data))
        a.write(p + 8, len(data).to_bytes(W, "little") + data)
        return p.to_bytes(8, "little")

    def content(self, a, raw):
        p = int.from_bytes(raw, "little")
        return a.read(p + 8 + W, a.get(p + 8, W))

    def value(self, a, raw):
        data = self.content(a, raw)
        return data.decode() if self.is_str else data

    def value_of(self, token):
        data = text_of(token, is_str=self.is_str)
        return data.decode() if self.is_str else data

    def token(self, a, raw):
        data = self.content(a, raw)
        return f"*{len(data)}.{(data[0] - 97 if self.is_str else data[0]) if data else 0}"

    def drop(self, a, raw):
        a.deallocate(int.from_bytes(raw, "little"))


class FixedBox(Fixed):
    """SBox of a fixed encoding."""

    def __init__(self, tp):
        super().__init__(tp)
        self.n = 8

    def make(self, a, token):
        data = super().make(a, token)
        p = a.allocate(len(data))
        a.write(p + 8, data)
        return p.to_bytes(8, "little")

    def value(self, a, raw):
        return super().value(a, a.read(int.from_bytes(raw, "little") + 8, self.tp.size(W)))

    def value_of(self, token):
        return self.tp.decode(bytes.fromhex(token), Space)

    def token(self, a, raw):
        return a.read(int.from_bytes(raw, "little") + 8, self.tp.size(W)).hex()

    def drop(self, a, raw):
        a.deallocate(int.from_bytes(raw, "little"))


# ---- SVec ----


class Vec:
    def __init__(self, a, part, capacity=None):
        self.a, self.part = a, part
        self.p, self.length, self.capacity = EMPTY, 0, 4
        if capacity is not None:
            self.capacity = capacity
            self.p = a.allocate(capacity * part.n)

    def header(self):
        return self.p.to_bytes(8, "little") + self.length.to_bytes(W, "little") + self.capacity.to_bytes(W, "little")

    @classmethod
    def load(cls, a, part, raw):
        made = cls(a, part)
        made.p, made.length, made.capacity = (int.from_bytes(raw[i:j], "little") for i, j in ((0, 8), (8, 8 + W), (8 + W, 8 + 2 * W)))
        return made

    def at(self, i):
        return self.p + 8 + i * self.part.n

    def raw(self, i):
        return self.a.read(self.at(i), self.part.n)

    def raws(self):
        return [self.raw(i) for i in range(self.length)]

    def _room(self):
        if self.p == EMPTY:
            self.p = self.a.allocate(self.capacity * self.part.n)
        elif self.length == self.capacity:
            self.capacity *= 2
            self.p = self.a.reallocate(self.p, self.capacity * self.part.n)

    def push(self, raw):
        self._room()
        self.a.write(self.at(self.length), raw)
        self.length += 1

    def pop(self):
        if not self.length:
            return None
        self.length -= 1
        return self.raw(self.length)

    def insert(self, i, raw):
        if i == self.length:
            self.push(raw)
            return
        self._room()
        self.a.write(self.at(i + 1), self.a.read(self.at(i), (self.length - i) * self.part.n))
        self.a.write(self.at(i), raw)
        self.length += 1

    def remove(self, i):
        if i == self.length - 1:
            return self.pop()
        raw = self.raw(i)
        self.a.write(self.at(i), self.a.read(self.at(i + 1), (self.length - i - 1) * self.part.n))
        self.length -= 1
        return raw

    def clear(self):
        while self.length:
            self.part.drop(self.a, self.pop())

    def drop(self):
        self.clear()
        if self.p != EMPTY:
            self.a.deallocate(self.p)


# ---- SLog ----


class Log:
    def __init__(self, a, part):
        self.a, self.part = a, part
        self._reset()

    def _reset(self):
        self.length, self.first, self.current, self.offset, self.capacity, self.last = 0, EMPTY, EMPTY, 0, 2, 0

    def header(self):
        numbers = (self.length, self.first, self.current, self.offset, self.capacity, self.last)
        return b"".join(n.to_bytes(8, "little") for n in numbers) + bytes(W)

    def _sector(self, capacity, previous):
        p = self.a.allocate(24 + capacity * self.part.n)
        self.a.put_word(p + 8, previous)
        self.a.put_word(p + 16, EMPTY)
        self.a.put_word(p + 24, capacity)
        return p

    def push(self, raw):
        if self.current == EMPTY:
            self.capacity *= 2
            self.first = self.current = self._sector(self.capacity, EMPTY)
        elif self.last == self.capacity:
            capacity = 2 * self.capacity
            while True:
                try:
                    p = self._sector(capacity, self.current)
                    break
                except OutOfMemory:
                    capacity //= 2
                    if capacity <= 2:
                        raise
            self.a.put_word(self.current + 16, p)
            self.a.put_word(p + 8, self.current)
            self.current, self.capacity, self.last, self.offset = p, capacity, 0, 0
        self.a.write(self.current + 32 + self.offset, raw)
        self.offset += self.part.n
        self.last += 1
        self.length += 1

    def pop(self):
        if not self.length:
            return None
        self.offset -= self.part.n
        raw = self.a.read(self.current + 32 + self.offset, self.part.n)
        self.last -= 1
        self.length -= 1
        previous = self.a.get(self.current + 8)
        if not self.last and previous != EMPTY:
            self.a.deallocate(self.current)
            self.a.put_word(previous + 16, EMPTY)
            self.current = previous
            self.capacity = self.last = self.a.get(previous + 24)
            self.offset = self.capacity * self.part.n
        return raw

    def places(self):
        found, at, count = [], self.current, self.last
        while at != EMPTY:
            found = [at + 32 + i * self.part.n for i in range(count)] + found
            at = self.a.get(at + 8)
            count = self.a.get(at + 24) if at != EMPTY else 0
        return found

    def raws(self):
        return [self.a.read(at, self.part.n) for at in self.places()]

    def clear(self):
        while self.length:
            self.part.drop(self.a, self.pop())

    def drop(self):
        self.clear()
        if self.first != EMPTY:
            self.a.deallocate(self.first)


# ---- SHashMap ----


class Table:
    def __init__(self, a, key, value, capacity=None):
        self.a, self.key, self.value = a, key, value
        self.p, self.length, self.capacity = EMPTY, 0, 7
        if capacity is not None:
            self.capacity = capacity
            self.p = self._new(capacity)

    header = Vec.header

    def _new(self, capacity):
        n = capacity * (1 + self.key.n + self.value.n)
        p = self.a.allocate(n)
        self.a.write(p + 8, bytes(n))
        return p

    def flag_at(self, i):
        return self.p + 8 + i * (1 + self.key.n)

    def value_at(self, i):
        return self.p + 8 + self.capacity * (1 + self.key.n) + i * self.value.n

    def flag(self, i):
        return self.a.mem[self.flag_at(i)]

    def raw_key(self, i):
        return self.a.read(self.flag_at(i) + 1, self.key.n)

    def raw_value(self, i):
        return self.a.read(self.value_at(i), self.value.n)

    def home(self, value):
        made = Hash(W)
        self.key.tp.feed(value, made)
        return made.finish() % self.capacity

    def find(self, value):
        if self.p == EMPTY:
            return None
        i = self.home(value)
        for _ in range(self.capacity):
            if not self.flag(i):
                return None
            if self.key.value(self.a, self.raw_key(i)) == value:
                return i
            i = (i + 1) % self.capacity
        return None

    def _place(self, key, raw_key, raw_value):
        i = self.home(key)
        while self.flag(i):
            i = (i + 1) % self.capacity
        self._set(i, raw_key, raw_value)

    def _set(self, i, raw_key, raw_value):
        self.a.write(self.flag_at(i), b"\xff" + raw_key)
        self.a.write(self.value_at(i), raw_value)

    def insert(self, raw_key, raw_value):
        key = self.key.value(self.a, raw_key)
        if self.p == EMPTY:
            self.p = self._new(self.capacity)
        found = self.find(key)
        if found is not None:
            old = self.raw_value(found)
            self.key.drop(self.a, raw_key)
            self.a.write(self.value_at(found), raw_value)
            return old
        if self.length == (self.capacity >> 2) * 3:
            bigger = Table(self.a, self.key, self.value, 2 * self.capacity - 1)
            for k, v in self.raws():
                bigger._place(self.key.value(self.a, k), k, v)
            bigger._place(key, raw_key, raw_value)
            self.a.deallocate(self.p)
            self.p, self.capacity = bigger.p, bigger.capacity
        else:
            self._place(key, raw_key, raw_value)
        self.length += 1
        return None

    def remove(self, value):
        i = self.find(value)
        if i is None:
            return None
        old = self.raw_value(i)
        self.key.drop(self.a, self.raw_key(i))
        j = i
        while True:
            j = (j + 1) % self.capacity
            if not self.flag(j) or j == i:
                break
            k = self.home(self.key.value(self.a, self.raw_key(j)))
            if (j < i) ^ (k <= i) ^ (k > j):
                self._set(i, self.raw_key(j), self.raw_value(j))
                i = j
        self.a.mem[self.flag_at(i)] = 0
        self.length -= 1
        return old

    def occupied(self):
        return [] if self.p == EMPTY else [i for i in range(self.capacity) if self.flag(i)]

    def raws(self):
        return [(self.raw_key(i), self.raw_value(i)) for i in self.occupied()]

    def clear(self):
        if self.length:
            for i in self.occupied():
                self._forget(i)
            self.length = 0

    def _forget(self, i):
        self.a.mem[self.flag_at(i)] = 0
        self.value.drop(self.a, self.raw_value(i))
        self.key.drop(self.a, self.raw_key(i))

    def retain(self, keep):
        for i in self.occupied():
            if not keep(self.key.value(self.a, self.raw_key(i))):
                self.length -= 1
                self._forget(i)

    def drop(self):
        self.clear()
        if self.p != EMPTY:
            self.a.deallocate(self.p)


# ---- SBTreeMap, SCertifiedBTreeMap ----


def sha(data):
    return hashlib.sha256(data).digest()


def hashed(name, *parts):
    return sha(bytes([len(name)]) + name.encode() + b"".join(parts))


class Tree:
    def __init__(self, a, key, value, *, certified=False):
        self.a, self.key, self.value, self.certified = a, key, value, certified
        self.K, self.V = key.n, value.n
        self._reset()

    def _reset(self):
        self.root, self.length, self.stack = EMPTY, 0, []
        self.levels, self.max = [[]], 0
        self.climbs = False  # above the leaves the crate takes every node for an internal one, also a leaf that a stale frame leads to

    def header(self):
        return self.root.to_bytes(8, "little") + self.length.to_bytes(8, "little")

    # ---- nodes ----

    @property
    def leaf_size(self):
        return 17 + W + 15 * (self.K + self.V) + 32 * self.certified

    @property
    def internal_size(self):
        return 1 + W + 128 + 15 * self.K + 32 * self.certified

    def is_leaf(self, p):
        if self.climbs:
            return False
        kind = self.a.mem[p + 8]
        if kind not in (127, 255):
            raise IndexError("unreachable code: node type")
        return kind == 255

    def n(self, p):
        return self.a.get(p + 8 + (17 if self.is_leaf(p) else 1), W)

    def set_n(self, p, n):
        self.a.put_word(p + 8 + (17 if self.is_leaf(p) else 1), n, W)

    def keys_at(self, p):
        return p + 8 + (17 + W if self.is_leaf(p) else 1 + W + 128)

    def k(self, p, i):
        return self.a.read(self.keys_at(p) + i * self.K, self.K)

    def set_k(self, p, i, raw):
        self.a.write(self.keys_at(p) + i * self.K, raw)

    def values_at(self, p):
        return p + 8 + 17 + W + 15 * self.K

    def v(self, p, i):
        return self.a.read(self.values_at(p) + i * self.V, self.V)

    def set_v(self, p, i, raw):
        self.a.write(self.values_at(p) + i * self.V, raw)

    def c(self, p, i):
        return self.a.get(p + 9 + W + 8 * i)

    def set_c(self, p, i, child):
        self.a.put_word(p + 9 + W + 8 * i, child)

    def _ins(self, base, size, i, n, raw):
        if i != n:
            self.a.write(base + (i + 1) * size, self.a.read(base + i * size, (n - i) * size))
        self.a.write(base + i * size, raw)

    def _rem(self, base, size, i, n):
        if i != n - 1:
            self.a.write(base + i * size, self.a.read(base + (i + 1) * size, (n - 1 - i) * size))

    def ins_k(self, p, i, n, raw):
        self._ins(self.keys_at(p), self.K, i, n, raw)

    def ins_v(self, p, i, n, raw):
        self._ins(self.values_at(p), self.V, i, n, raw)

    def ins_c(self, p, i, n, child):
        self._ins(p + 9 + W, 8, i, n, child.to_bytes(8, "little"))

    def rem_k(self, p, i, n):
        self._rem(self.keys_at(p), self.K, i, n)

    def rem_v(self, p, i, n):
        self._rem(self.values_at(p), self.V, i, n)

    def rem_c(self, p, i, n):
        self._rem(p + 9 + W, 8, i, n)

    def new_leaf(self):
        p = self.a.allocate(self.leaf_size)
        self.a.mem[p + 8] = 255
        self.set_n(p, 0)
        self.a.put_word(p + 9, 0)
        self.a.put_word(p + 17, 0)
        return p

    def new_internal(self):
        p = self.a.allocate(self.internal_size)
        self.a.mem[p + 8] = 127
        self.set_n(p, 0)
        return p

    def next(self, p):
        return self.a.get(p + 17)

    # ---- touched nodes ----

    def touch(self, p, level=None):
        level = len(self.stack) if level is None else level
        self.max = max(self.max, level)
        while len(self.levels) < self.max + 1:
            self.levels.append([])
        if p not in self.levels[level]:
            insort(self.levels[level], p)

    def untouch(self, p):
        level = len(self.stack)
        if level < len(self.levels) and p in self.levels[level]:
            self.levels[level].remove(p)

    def clear_stack(self):
        while self.stack:
            p = self.stack.pop()[0]
            self.touch(p)

    def hash_at(self, p):
        return p + 8 + (self.leaf_size if self.is_leaf(p) else self.internal_size) - 32

    def labeled(self, raw_key, raw_value):
        return hashed("ic-hashtree-labeled", raw_key[::-1], hashed("ic-hashtree-leaf", raw_value))

    def node_hash(self, p):
        if self.is_leaf(p):
            parts = [self.labeled(self.k(p, i), self.v(p, i)) for i in range(self.n(p))]
        else:
            parts = [self.a.read(self.hash_at(self.c(p, i)), 32) for i in range(self.n(p) + 1)]
        if not parts:
            return hashed("ic-hashtree-empty")
        made = parts[0]
        for part in parts[1:]:
            made = hashed("ic-hashtree-fork", made, part)
        return made

    def commit(self):
        while True:
            while self.levels[self.max]:
                p = self.levels[self.max].pop()
                self.a.write(self.hash_at(p), self.node_hash(p))
            if not self.max:
                return
            self.max -= 1

    def root_hash(self):
        return hashed("ic-hashtree-empty") if self.root == EMPTY else self.a.read(self.hash_at(self.root), 32)

    # ---- searching ----

    def rank(self, raw):
        return self.key.tp.rank(self.key.value(self.a, raw))

    def search(self, p, rank):
        for i in range(self.n(p)):
            here = self.rank(self.k(p, i))
            if here == rank:
                return i, True
            if here > rank:
                return i, False
        return self.n(p), False

    def walk(self, rank, stack):
        p, fixed = self.root, None
        while not self.is_leaf(p):
            i, equal = self.search(p, rank)
            if equal:
                fixed = (p, i)
                i += 1
            stack.append((p, self.n(p), i))
            p = self.c(p, i)
        return p, fixed

    def find(self, value):
        if self.root == EMPTY:
            return None
        rank = self.key.tp.rank(value)
        leaf, _ = self.walk(rank, [])
        i, equal = self.search(leaf, rank)
        return (leaf, i) if equal else None

    def touched_path(self, value):
        """with_key: what it changed is committed at once."""
        path = []
        leaf, _ = self.walk(self.key.tp.rank(value), path)
        for level, (p, _, _) in enumerate(path):
            self.touch(p, level)
        self.touch(leaf, len(path))
        self.commit()

    # ---- insert ----

    def insert(self, raw_key, raw_value):
        if self.root == EMPTY:
            self.root = self.new_leaf()
        rank = self.rank(raw_key)
        leaf, _ = self.walk(rank, self.stack)
        i, equal = self.search(leaf, rank)
        n = self.n(leaf)
        if equal:
            old = self.v(leaf, i)
            self.key.drop(self.a, raw_key)
            self.set_v(leaf, i, raw_value)
            self.touch(leaf)
            self.clear_stack()
            return old
        if n < 15:
            self.ins_k(leaf, i, n, raw_key)
            self.ins_v(leaf, i, n, raw_value)
            self.set_n(leaf, n + 1)
            self.touch(leaf)
        elif self.stack and self.pass_leaf(leaf, i, raw_key, raw_value):
            pass
        else:
            need = (len(self.stack) + 1) * (self.internal_size + 16) + self.leaf_size + 16
            if not self.a.reserve(need):
                raise OutOfMemory
            self.split(leaf, i, raw_key, raw_value)
        self.clear_stack()
        self.length += 1
        return None

    def siblings(self):
        p, n, i = self.stack[-1]
        return p, i, self.c(p, i - 1) if i > 0 else None, self.c(p, i + 1) if i < n else None

    def pass_leaf(self, leaf, i, raw_key, raw_value):
        p, pi, left, right = self.siblings()
        if left is not None and self.n(left) < 15:
            l = self.n(left)
            rk, rv = self.k(leaf, 0), self.v(leaf, 0)
            if i != 1:
                self.rem_k(leaf, 0, 15)
                self.rem_v(leaf, 0, 15)
                self.set_k(p, pi - 1, self.k(leaf, 0))
                self.set_k(left, l, rk)
                self.set_v(left, l, rv)
                self.ins_k(leaf, i - 1, 14, raw_key)
                self.ins_v(leaf, i - 1, 14, raw_value)
            else:
                self.set_k(leaf, 0, raw_key)
                self.set_v(leaf, 0, raw_value)
                self.set_k(p, pi - 1, raw_key)
                self.set_k(left, l, rk)
                self.set_v(left, l, rv)
            self.set_n(left, l + 1)
            self.touch(left)
            self.touch(leaf)
            return True
        if right is not None and self.n(right) < 15:
            r = self.n(right)
            if i != 15:
                rk, rv = self.k(leaf, 14), self.v(leaf, 14)
                self.set_k(p, pi, rk)
                self.ins_k(right, 0, r, rk)
                self.ins_v(right, 0, r, rv)
                self.ins_k(leaf, i, 14, raw_key)
                self.ins_v(leaf, i, 14, raw_value)
            else:
                self.set_k(p, pi, raw_key)
                self.ins_k(right, 0, r, raw_key)
                self.ins_v(right, 0, r, raw_value)
            self.set_n(right, r + 1)
            self.touch(leaf)
            self.touch(right)
            return True
        return False

    def pass_internal(self, x, i, raw, ptr):
        p, pi, left, right = self.siblings()
        if left is not None and self.n(left) < 15:
            l, pk = self.n(left), self.k(p, pi - 1)
            rc = self.c(x, 0)
            if i != 0:
                rk = self.k(x, 0)
                self.rem_k(x, 0, 15)
                self.rem_c(x, 0, 16)
                self.set_k(p, pi - 1, rk)
                self.set_k(left, l, pk)
                self.set_c(left, l + 1, rc)
                self.ins_k(x, i - 1, 14, raw)
                self.ins_c(x, i, 15, ptr)
            else:
                self.set_c(x, 0, ptr)
                self.set_k(p, pi - 1, raw)
                self.set_k(left, l, pk)
                self.set_c(left, l + 1, rc)
            self.set_n(left, l + 1)
            self.touch(left)
            self.touch(x)
            return True
        if right is not None and self.n(right) < 15:
            r, pk = self.n(right), self.k(p, pi)
            if i != 15:
                self.set_k(p, pi, self.k(x, 14))
                self.ins_c(right, 0, r + 1, self.c(x, 15))
                self.ins_k(right, 0, r, pk)
                self.ins_k(x, i, 14, raw)
                self.ins_c(x, i + 1, 15, ptr)
            else:
                self.set_k(p, pi, raw)
                self.ins_c(right, 0, r + 1, ptr)
                self.ins_k(right, 0, r, pk)
            self.set_n(right, r + 1)
            self.touch(x)
            self.touch(right)
            return True
        return False

    def split(self, leaf, i, raw_key, raw_value):
        right = self.new_leaf()
        start = 7 if i < 8 else 8
        for j in range(start, 15):
            self.set_k(right, j - start, self.k(leaf, j))
        for j in range(start, 15):
            self.set_v(right, j - start, self.v(leaf, j))
        self.a.put_word(right + 17, self.next(leaf))
        self.a.put_word(leaf + 17, right)
        self.a.put_word(right + 9, leaf)
        into, at = (leaf, i) if i < 8 else (right, i - 8)
        self.ins_k(into, at, 7, raw_key)
        self.ins_v(into, at, 7, raw_value)
        self.set_n(leaf, 8)
        self.set_n(right, 8)
        self.touch(leaf)
        self.touch(right)
        separator = self.k(right, 0)
        self.climbs = True
        try:
            self._split_up(separator, right, leaf)
        finally:
            self.climbs = False

    def _split_up(self, sep, ptr, node):
        while self.stack:
            p, n, pi = self.stack.pop()
            node = p
            if n < 15:
                self.ins_k(p, pi, n, sep)
                self.ins_c(p, pi + 1, n + 1, ptr)
                self.set_n(p, n + 1)
                self.touch(p)
                return
            if self.stack and self.pass_internal(p, pi, sep, ptr):
                return
            r = self.new_internal()
            for j in range(8, 15):
                self.set_k(r, j - 8, self.k(p, j))
            for j in range(8, 16):
                self.set_c(r, j - 8, self.c(p, j))
            mid = self.k(p, 7)
            if pi <= 7:
                self.ins_k(p, pi, 7, sep)
                self.ins_c(p, pi + 1, 8, ptr)
                self.set_n(p, 8)
                self.set_n(r, 7)
            else:
                self.ins_k(r, pi - 8, 7, sep)
                self.ins_c(r, pi - 7, 8, ptr)
                self.set_n(p, 7)
                self.set_n(r, 8)
            self.touch(p)
            self.touch(r)
            sep, ptr = mid, r
        self.root = self.new_internal()
        self.set_n(self.root, 1)
        self.set_k(self.root, 0, sep)
        self.set_c(self.root, 0, node)
        self.set_c(self.root, 1, ptr)
        self.levels.insert(0, [self.root])
        self.max += 1

    # ---- remove ----

    def remove(self, value):
        if self.root == EMPTY:
            return None
        rank = self.key.tp.rank(value)
        leaf, fixed = self.walk(rank, self.stack)
        i, equal = self.search(leaf, rank)
        if not equal:
            return None
        self.length -= 1
        n = self.n(leaf)
        if n > 7:
            old = self.take(leaf, i, n)
            self.set_n(leaf, n - 1)
            self.fix(fixed, leaf)
            self.touch(leaf)
            self.clear_stack()
            return old
        if not self.stack:
            old = self.take(leaf, i, n)
            self.set_n(leaf, n - 1)
            self.touch(leaf, 0)
            return old
        return self.shrink_leaf(leaf, i, fixed)

    def take(self, leaf, i, n):
        self.key.drop(self.a, self.k(leaf, i))
        old = self.v(leaf, i)
        self.rem_k(leaf, i, n)
        self.rem_v(leaf, i, n)
        return old

    def fix(self, fixed, leaf):
        if fixed:
            self.set_k(*fixed, self.k(leaf, 0))

    def shrink_leaf(self, leaf, i, fixed):
        p, pi, left, right = self.siblings()
        if left is not None and self.n(left) > 7:
            l = self.n(left)
            k, v = self.k(left, l - 1), self.v(left, l - 1)
            self.set_k(p, pi - 1, k)
            self.ins_k(leaf, 0, 7, k)
            self.ins_v(leaf, 0, 7, v)
            self.set_n(left, l - 1)
            old = self.take(leaf, i + 1, 8)
            self.fix(fixed, leaf)
            self.touch(leaf)
            self.touch(left)
            self.clear_stack()
            return old
        if right is not None and self.n(right) > 7:
            r = self.n(right)
            rk, rv = self.k(right, 0), self.v(right, 0)
            self.rem_k(right, 0, r)
            self.rem_v(right, 0, r)
            self.set_k(p, pi, self.k(right, 0))
            self.set_k(leaf, 7, rk)
            self.set_v(leaf, 7, rv)
            self.set_n(right, r - 1)
            old = self.take(leaf, i, 8)
            self.fix(fixed, leaf)
            self.touch(leaf)
            self.touch(right)
            self.clear_stack()
            return old
        if right is not None:
            self.merge_leaves(leaf, right)
            old = self.take(leaf, i, 14)
            self.set_n(leaf, 13)
            self.fix(fixed, leaf)
            self.touch(leaf)
            self.go_up(True, leaf)
            return old
        self.merge_leaves(left, leaf)
        old = self.take(left, i + 7, 14)
        self.set_n(left, 13)
        self.touch(left)
        self.go_up(False, left)
        return old

    def merge_leaves(self, a, b):
        for j in range(7):
            self.set_k(a, 7 + j, self.k(b, j))
        for j in range(7):
            self.set_v(a, 7 + j, self.v(b, j))
        after = self.next(b)
        self.a.put_word(a + 17, after)
        if after:
            self.a.put_word(after + 9, a)
        self.untouch(b)
        self.a.deallocate(b)

    def go_up(self, merged_right, child):
        self.climbs = True
        try:
            self._go_up(merged_right, child)
        finally:
            self.climbs = False

    def _go_up(self, merged_right, child):
        while True:
            x, n, c = self.stack.pop()
            a, b = (c, c + 1) if merged_right else (c - 1, c)
            if n > 7:
                self.rem_k(x, a, n)
                self.rem_c(x, b, n + 1)
                self.set_n(x, n - 1)
                self.touch(x)
                self.clear_stack()
                return
            if not self.stack:
                if n == 1:
                    self.levels.pop(0)
                    self.max -= 1
                    self.a.deallocate(x)
                    self.root = child
                else:
                    self.rem_k(x, a, n)
                    self.rem_c(x, b, n + 1)
                    self.set_n(x, n - 1)
                    self.touch(x)
                return
            merged = self.shrink_internal(x, n, a, b)
            if merged is None:
                return
            merged_right, child = merged

    def shrink_internal(self, x, n, a, b):
        p, pi, left, right = self.siblings()
        if left is not None and self.n(left) > 7:
            l = self.n(left)
            pk = self.k(p, pi - 1)
            self.set_k(p, pi - 1, self.k(left, l - 1))
            self.ins_c(x, 0, n + 1, self.c(left, l))
            self.ins_k(x, 0, n, pk)
            self.set_n(left, l - 1)
            self.rem_k(x, a + 1, 8)
            self.rem_c(x, b + 1, 9)
            self.touch(x)
            self.touch(left)
            self.clear_stack()
            return None
        if right is not None and self.n(right) > 7:
            r = self.n(right)
            pk, rk = self.k(p, pi), self.k(right, 0)
            self.rem_k(right, 0, r)
            rc = self.c(right, 0)
            self.rem_c(right, 0, r + 1)
            self.set_k(p, pi, rk)
            self.set_k(x, n, pk)
            self.set_c(x, n + 1, rc)
            self.set_n(right, r - 1)
            self.rem_k(x, a, 8)
            self.rem_c(x, b, 9)
            self.touch(x)
            self.touch(right)
            self.clear_stack()
            return None
        if right is not None:
            self.merge_internals(x, self.k(p, pi), right)
            self.rem_k(x, a, 15)
            self.rem_c(x, b, 16)
            self.set_n(x, 14)
            self.touch(x)
            return True, x
        self.merge_internals(left, self.k(p, pi - 1), x)
        self.rem_k(left, a + 8, 15)
        self.rem_c(left, b + 8, 16)
        self.set_n(left, 14)
        self.touch(left)
        return False, left

    def merge_internals(self, a, middle, b):
        self.set_k(a, 7, middle)
        for j in range(7):
            self.set_k(a, 8 + j, self.k(b, j))
        for j in range(8):
            self.set_c(a, 8 + j, self.c(b, j))
        self.untouch(b)
        self.a.deallocate(b)

    # ---- the whole ----

    def leaves(self):
        if self.root == EMPTY:
            return
        p = self.root
        while not self.is_leaf(p):
            p = self.c(p, 0)
        while p:
            yield p
            p = self.next(p)

    def raws(self):
        return [(self.k(p, i), self.v(p, i)) for p in self.leaves() for i in range(self.n(p))]

    def clear(self):
        old = self.root
        self._reset()
        self._drop_from(old)

    def _drop_from(self, root):
        level = [] if root == EMPTY else [root]
        while level:
            below = []
            while level:
                p = level.pop()
                n = self.n(p)
                if self.is_leaf(p):
                    for i in range(n):
                        k, v = self.k(p, i), self.v(p, i)
                        self.key.drop(self.a, k)
                        self.value.drop(self.a, v)
                else:
                    below += [self.c(p, i) for i in range(n + 1)]
                self.a.deallocate(p)
            level = below

    def drop(self):
        self._drop_from(self.root)
