# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - Type and Contents say what their methods do
"""Vecs, logs and hash tables: their values, and the rules they keep (docs/format-ism.md#containers).

A handle iterates over what the crate's own forward iteration gives. `entries(note)` does not stop at damage: it tells
`note` and goes on with what can be read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from functools import cached_property
from itertools import pairwise, repeat, zip_longest
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np

from ..errors import IncompatibleType
from .blocks import EMPTY, SLACK, Bytes, padded
from .encodings import Type, is_float
from .findings import Broken, Fault
from .ownership import Claims, Heap

Note = Callable[[Broken], None] | None
T = TypeVar("T")

SECTOR: Final = 24
"""Bytes before the elements of a log's sector: the sectors before and after it, its capacity."""
_OCCUPIED: Final = 255
_TRUSTED: Final = 6
"""Entries of a hash table from which on their places tell whether the hash is the right one."""

TABLE_CAPACITIES: Final = [7, 13]
"""Of a hash table for which the program asked for no capacity: the first one, and those that it grows to."""
while TABLE_CAPACITIES[-1] < 1 << 40:
    TABLE_CAPACITIES.append(2 * TABLE_CAPACITIES[-1] - 1)


def word(data: bytes, at: int, size: int = 8) -> int:
    """Return a little-endian number in bytes."""
    return int.from_bytes(data[at : at + size], "little")


def fits(size: int, need: int) -> bool:
    """Return whether a block of this size is what the allocator gives for `need` bytes."""
    return padded(need) <= size <= padded(need) + SLACK


def tell(note: Note, error: Broken) -> None:
    """Note an error, or raise it if nobody listens."""
    if note is None:
        raise error
    note(error)


def pieces(data: bytes, size: int, count: int) -> Iterator[bytes]:
    """Return the encodings of elements of one size, which lie one after the other."""
    return (data[at : at + size] for at in range(0, count * size, size)) if size else repeat(b"", count)


def read_each(encoded: Iterable[T], read: Callable[[T], Any], note: Note) -> Iterator[Any]:
    """Iterate over what `read` makes of each; what is broken goes to `note`, and is left out."""
    for one in encoded:
        try:
            made = read(one)
        except Broken as error:
            tell(note, error)
        else:
            yield made


def is_alike(one: Any, other: Any) -> bool:
    """Return whether two values hold the same, what is in containers included. O(n)."""
    if isinstance(one, Contents) and isinstance(other, Contents):
        return all(is_alike(*pair) for pair in zip_longest(one.entries(_pass_over), other.entries(_pass_over), fillvalue=_pass_over))
    if is_dataclass(one) and type(one) is type(other):
        return all(is_alike(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(is_alike, one, other))
    return repr(one) == repr(other)  # a NaN, too


def _pass_over(_: Broken) -> None:
    """Take in what is broken, and do nothing."""


class Contents:
    """What a container holds. Iteration raises `Broken`, a `CorruptMemory`, at damage; `entries(note)` goes on."""

    def __init__(self, kind: Container, space: Heap, length: int | None) -> None:
        self.kind, self.space, self.length = kind, space, length

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError(f"the length of this {self.kind.name} is not in the image: it was on the canister's heap")
        return self.length

    def entries(self, note: Note = None) -> Iterator[Any]:
        """Return elements, keys of a set, (key, value) of a map: each once. O(n)."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        return self.entries()

    def __repr__(self) -> str:
        return f"<{self.kind.name} of {'unknown length' if self.length is None else self.length}>"


class Container(Type):
    """A type whose values lie in blocks of their own."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ordered = self.hashable = self.widthless = False

    def decode(self, data: bytes, space: Heap) -> Contents:
        raise NotImplementedError

    @staticmethod
    def header(data: bytes, width: int) -> tuple[int, int, int]:
        """Return pointer, length and capacity, as a vec or hash table begins with them."""
        return word(data, 0), word(data, 8, width), word(data, 8 + width, width)


class Keyed(Container):
    """A map, or a set: then `value` is None. Its entries are pairs, or keys."""

    def __init__(self, form: str, key: Type, value: Type | None) -> None:
        super().__init__(f"{form}Set<{key.name}>" if value is None else f"{form}Map<{key.name}, {value.name}>")
        self.key, self.value = key, value
        if is_float(key):
            raise IncompatibleType(
                f"{self.name}: {key} cannot be a key: Rust's floats have neither an order nor a hash, so no image has one"
            )

    def sizes(self, width: int) -> tuple[int, int]:
        """Return bytes of a key and of a value."""
        return self.key.size(width), self.value.size(width) if self.value else 0

    def entry(self, key: bytes, value: bytes, space: Heap) -> Any:
        """Return the entry with these encodings. Raises `Broken`."""
        made = self.key.decode(key, space)
        return made if self.value is None else (made, self.value.decode(value, space))

    def key_of(self, entry: Any) -> Any:
        """Return the key of an entry."""
        return entry if self.value is None else entry[0]

    def own_entry(self, key: bytes, value: bytes, owner: Claims) -> None:
        """Claim the blocks of an entry, and note what is wrong with it."""
        self.key.own(key, owner)
        if self.value is not None:
            self.value.own(value, owner)


class Mapping(Contents):
    """What a map or set holds. Iteration gives keys, `items()` and `to_dict()` the pairs of a map."""

    def __init__(self, kind: Keyed, space: Heap, length: int | None) -> None:
        super().__init__(kind, space, length)
        self.keyed = kind

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Return pairs in the order of the structure. O(n)."""
        return self.entries()

    def __iter__(self) -> Iterator[Any]:
        return map(self.keyed.key_of, self.entries())

    def to_dict(self) -> dict[Any, Any]:
        """Return all pairs. O(n)."""
        return dict(self.entries())


# ---- SVec ----


class VecType(Container):
    """SVec<T>: pointer · length · capacity."""

    def __init__(self, part: Type) -> None:
        super().__init__(f"SVec<{part.name}>")
        self.part = part

    def size(self, width: int) -> int:
        return 8 + 2 * width

    def decode(self, data: bytes, space: Heap) -> VecContents:
        return VecContents(self, space, *self.header(data, space.width)[:2])

    def own(self, data: bytes, owner: Claims) -> None:
        pointer, length, capacity = self.header(data, owner.space.width)
        if pointer == EMPTY:
            if length:
                owner.note(f"a vec of {length} elements without a block", 0)
            return
        size = self.part.size(owner.space.width)
        content = self._claim(pointer, capacity * size, owner)
        if content is None:
            return
        if length > capacity:
            owner.note(f"a vec of {length} elements has capacity {capacity}", pointer, None if capacity else Fault.VEC_CAPACITY)
        if capacity in TABLE_CAPACITIES:  # that of a vec is 4, or what the program asked for, and doubles
            text = f"a vec of capacity {capacity}, which hash tables have: the program asked for it, or it is a hash table"
            owner.note(text, pointer, ownership=False)
        for piece in pieces(content, size, min(length, len(content) // size) if size else 0):
            self.part.own(piece, owner)

    @staticmethod
    def _claim(pointer: int, need: int, owner: Claims) -> bytes | None:
        """Return the block, also of a vec whose capacity was doubled in vain."""
        index = owner.space.blocks.index(pointer)
        size = owner.space.blocks.size(index) if index >= 0 else need
        if size < need and fits(size, need // 2):
            owner.note(f"the capacity needs {need} bytes, the block has {size}", pointer, Fault.VEC_CAPACITY)
            need //= 2
        return owner.claim(pointer, need)


class VecContents(Contents):
    """The elements, by number; a vec whose capacity passed its block is read past it, as the crate does."""

    def __init__(self, kind: VecType, space: Heap, pointer: int, length: int | None, most: int = 0) -> None:
        super().__init__(kind, space, length)
        self._part, self._pointer = kind.part, pointer
        self._readable = most if length is None else length

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self._readable:
            raise IndexError(index)
        return self._element(index, self._part.size(self.space.width))

    def _element(self, index: int, size: int) -> Any:
        source: Bytes = self.space.blocks.source
        at = self._pointer + 8 + index * size
        if at + size > source.nbytes:
            raise Broken("an element lies outside of the memory", at)
        return self._part.decode(source.read(at, size), self.space)

    def entries(self, note: Note = None) -> Iterator[Any]:
        size = self._part.size(self.space.width)
        source: Bytes = self.space.blocks.source
        room = max(0, source.nbytes - self._pointer - 8) if self._pointer < EMPTY else 0
        readable = self._readable if not size else min(self._readable, room // size)
        if readable > source.nbytes:
            tell(note, Broken(f"{readable} elements of no size cannot be", self._pointer))
            return
        yield from read_each(range(readable), lambda index: self._element(index, size), note)
        if readable < self._readable:
            tell(note, Broken(f"elements {readable} to {self._readable} lie outside of the memory", self._pointer))


# ---- SLog ----


class LogType(Container):
    """SLog<T>: length · first sector · current sector · offset in it · its capacity · its length · a word of zeros."""

    def __init__(self, part: Type) -> None:
        super().__init__(f"SLog<{part.name}>")
        self.part, self.widthless = part, part.widthless

    def size(self, width: int) -> int:
        return 48 + width

    def decode(self, data: bytes, space: Heap) -> LogContents:
        length, first, current, _, _, last = (word(data, 8 * i) for i in range(6))
        return LogContents(self, space, length, (first, current), last)

    def own(self, data: bytes, owner: Claims) -> None:
        length, first, current, offset, _, last = (word(data, 8 * i) for i in range(6))
        if any(data[48:]):
            owner.note("the last bytes of a log's header are not zero", 0)
        if EMPTY in (first, current):
            if length or first != current:
                owner.note(f"a log of {length} elements without sectors", 0)
            return
        found = self._own_sectors(first, current, last, owner)
        if found is None:
            return
        content, capacities = found
        total = sum(capacities[:-1]) + last
        for text in _end_problems(content, (length, total), (offset, last * self.part.size(owner.space.width))):
            owner.note(text, current)
        if any(after != 2 * before for before, after in pairwise(capacities)):
            owner.note("a sector is not twice as large as the one before it", current, Fault.LOG_CAPACITIES, ownership=False)

    def _own_sectors(self, first: int, current: int, last: int, owner: Claims) -> tuple[bytes, list[int]] | None:
        """Return the content of the current sector, and the capacities of all; None if the chain is broken, which is noted."""
        size, blocks = self.part.size(owner.space.width), owner.space.blocks
        before, at, capacities = EMPTY, first, list[int]()
        while True:
            index = blocks.index(at)
            capacity = word(blocks.content(index, SECTOR), 16) if index >= 0 else 0
            content = owner.claim(at, SECTOR + capacity * size)
            if content is None:
                return None
            if word(content, 0) != before:
                owner.note("the link back of a sector does not lead to the sector before it", at)
            count = last if at == current else capacity
            if count > capacity or count > blocks.end:  # of elements of no size, blocks have room for any number
                owner.note(f"a sector of capacity {capacity} holds {count} elements", at)
                return None
            for piece in pieces(content[SECTOR:], size, count):
                self.part.own(piece, owner)
            capacities.append(capacity)
            if at == current:
                return content, capacities
            before, at = at, word(content, 8)


def _end_problems(content: bytes, lengths: tuple[int, int], offsets: tuple[int, int]) -> Iterator[str]:
    """Return what is wrong with the current sector of a log; pairs are what the header says, and what it is."""
    if word(content, 8) != EMPTY:
        yield "the current sector has a next one"
    if lengths[0] != lengths[1]:
        yield f"a log of {lengths[0]} elements has {lengths[1]} in its sectors"
    if offsets[0] != offsets[1]:
        yield f"the next element goes to byte {offsets[0]}, not to {offsets[1]}"


class LogContents(Contents):
    """The elements, first to last, by the links and capacities of the sectors. `ends` are the first and the current one."""

    def __init__(self, kind: LogType, space: Heap, length: int | None, ends: tuple[int, int], last: int) -> None:
        super().__init__(kind, space, length)
        self._part = kind.part
        self._first, self._current = ends
        self.last = last

    def entries(self, note: Note = None) -> Iterator[Any]:
        size = self._part.size(self.space.width)
        at, seen = self._first, set[int]()
        while at != EMPTY:
            try:
                if at in seen:
                    raise Broken("the sectors of a log form a circle", at)  # noqa: TRY301 - reported like the others
                content = self.space.content(at)
            except Broken as error:
                tell(note, error)
                return
            seen.add(at)
            count = self.last if at == self._current else word(content, 16)
            room = (len(content) - SECTOR) // size if size else count
            if count > room or count > self.space.blocks.end:
                tell(note, Broken(f"a sector of {room} elements says {count}", at))
                count = min(room, self.space.blocks.end)
            yield from read_each(pieces(content[SECTOR:], size, count), lambda data: self._part.decode(data, self.space), note)
            at = EMPTY if at == self._current else word(content, 8)


# ---- SHashMap, SHashSet ----


Placed: TypeAlias = tuple[int, Any, int | None]
"""A slot, its key, and the slot at which the search for that begins; None if the hash of its type is not known."""


class TableType(Keyed):
    """SHashMap<K, V>, and SHashSet<K> without values: pointer · length · capacity.

    Content of the block: capacity * (flag (1) · key), capacity * value. Flags: 0 empty, 255 occupied.
    """

    def __init__(self, key: Type, value: Type | None) -> None:
        super().__init__("SHash", key, value)

    def size(self, width: int) -> int:
        return 8 + 2 * width

    def slot(self, width: int) -> int:
        """Return bytes of flag, key and value."""
        return 1 + sum(self.sizes(width))

    def decode(self, data: bytes, space: Heap) -> TableContents:
        return TableContents(self, space, *self.header(data, space.width))

    def own(self, data: bytes, owner: Claims) -> None:
        width = owner.space.width
        pointer, length, capacity = self.header(data, width)
        if capacity == 1:
            owner.note("a table of capacity 1", max(0, pointer) if pointer != EMPTY else 0, Fault.DEAD_TABLE, ownership=False)
        if pointer == EMPTY:
            if length:
                owner.note(f"a hash table of {length} entries without a block", 0)
            return
        content = owner.claim(pointer, capacity * self.slot(width))
        if content is not None and length > capacity:
            owner.note(f"a hash table of {length} entries has capacity {capacity}", pointer)
        elif content is not None and capacity:
            self._own_slots(Slots(content, capacity, *self.sizes(width)), length, owner, pointer)

    def _own_slots(self, slots: Slots, length: int, owner: Claims, pointer: int) -> None:
        if not slots.flags_are_sound():
            owner.note("a slot's flag is neither 0 nor 255", pointer)
        occupied = slots.occupied()
        for i in occupied:
            self.own_entry(*slots.entry(i), owner)
        if len(occupied) != length:
            owner.note(f"a hash table of {length} entries has {len(occupied)} occupied slots", pointer)
        self._check_places(slots, occupied, owner, pointer)

    def _check_places(self, slots: Slots, occupied: list[int], owner: Claims, pointer: int) -> None:
        placed = list(self.places(slots, owner.space))
        self._check_twice(placed, slots.capacity, owner, pointer)
        homes = [(i, home) for i, _, home in placed if home is not None]
        distance = sum((i - home) % slots.capacity for i, home in homes)
        lost = sum(not slots.reaches(home, i) for i, home in homes)
        if len(occupied) >= _TRUSTED and distance > len(occupied) * slots.capacity / 4:
            owner.note("the keys do not lie where their hashes put them: they are of another type, or the width is the other one", pointer)
        elif lost:
            owner.note(
                f"{lost} of {len(occupied)} keys cannot be found by lookups; iteration has them",
                pointer,
                Fault.BROKEN_CHAINS,
                ownership=False,
            )

    def _check_twice(self, placed: list[Placed], capacity: int, owner: Claims, pointer: int) -> None:
        """Note keys in two slots. The crate's fault leaves few of them; keys of a wrong type can have the same value for the most part."""
        again = len(self.twice(placed, capacity))
        if again:
            text = f"{again} of {len(placed)} slots have a key that another slot has, too; lookups find only one of them"
            owner.note(text, pointer, Fault.BROKEN_CHAINS, ownership=2 * again > len(placed))

    def places(self, slots: Slots, space: Heap) -> Iterator[Placed]:
        """Iterate over the slots whose keys can be read."""
        for i in slots.occupied():
            try:
                key = self.key.decode(slots.entry(i)[0], space)
            except Broken:
                continue
            yield i, key, self.home(key, slots.capacity, space.width)

    def twice(self, placed: Iterable[Placed], capacity: int) -> dict[int, Any]:
        """Return the slots whose key another slot has too, nearer to where the search for it begins, with these keys. O(n)."""
        nearest: dict[Hashable, tuple[int, int]] = {}
        found: dict[int, Any] = {}
        for i, key, home in placed:
            here = (i if home is None else (i - home) % capacity, i)
            identity = self.key.identity(key)
            known = nearest.setdefault(identity, here)
            if known != here:
                nearest[identity] = min(known, here)
                found[max(known, here)[1]] = key
        return found

    def home(self, key: Any, capacity: int, width: int) -> int | None:
        """Return the slot at which the search for a key begins; None if the type's hash is not known."""
        from .zwohash import Hash  # noqa: PLC0415 - no other container hashes

        if not self.key.hashable:
            return None
        made = Hash(width)
        self.key.feed(key, made)
        return made.finish() % capacity


class Slots:
    """The slots in the content of a table's block."""

    def __init__(self, content: bytes, capacity: int, key: int, value: int) -> None:
        self.capacity, self._key, self._value = capacity, key, value
        self._content = content
        self._flags = content[: capacity * (1 + key) : 1 + key]

    @cached_property
    def _empty(self) -> list[int]:
        found: list[int] = np.flatnonzero(np.frombuffer(self._flags, np.uint8) == 0).tolist()
        return found

    def flags_are_sound(self) -> bool:
        """Return whether each is 0 or 255."""
        return self._flags.count(0) + self._flags.count(_OCCUPIED) == self.capacity

    def occupied(self) -> list[int]:
        """Return the numbers of the slots with entries."""
        return [i for i, flag in enumerate(self._flags) if flag]

    def entry(self, index: int) -> tuple[bytes, bytes]:
        """Return the encodings of a key and its value."""
        key, value = index * (1 + self._key) + 1, self.capacity * (1 + self._key) + index * self._value
        return self._content[key : key + self._key], self._content[value : value + self._value]

    def reaches(self, home: int, index: int) -> bool:
        """Return whether no empty slot lies between the home slot and the entry; behind the last slot comes the first. O(log slots)."""
        if not self._empty:
            return True
        nearest = self._empty[bisect_left(self._empty, index) - 1]
        return (index - home) % self.capacity < (index - nearest) % self.capacity


class TableContents(Mapping):
    """The entries, in the order of slots. Of a key that is there twice, the one that lookups find."""

    def __init__(self, kind: TableType, space: Heap, pointer: int, length: int | None, capacity: int) -> None:
        super().__init__(kind, space, length)
        self._kind, self._pointer, self._capacity = kind, pointer, capacity

    def entries(self, note: Note = None) -> Iterator[Any]:
        if self._pointer == EMPTY or not self._capacity:
            return
        try:
            slots = self._slots()
        except Broken as error:
            tell(note, error)
            return
        twice = self._kind.twice(self._kind.places(slots, self.space), self._capacity)
        for key in twice.values() if note is not None else ():
            tell(note, Broken(f"key {key!r} is in two slots; kept is what lookups find", self._pointer, Fault.BROKEN_CHAINS))
        once = (slots.entry(i) for i in slots.occupied() if i not in twice)
        yield from read_each(once, lambda entry: self._kind.entry(*entry, self.space), note)

    def _slots(self) -> Slots:
        content = self.space.content(self._pointer)
        if self._capacity * self._kind.slot(self.space.width) > len(content):
            raise Broken(f"a table of capacity {self._capacity} in a block of {len(content)} bytes", self._pointer)
        return Slots(content, self._capacity, *self._kind.sizes(self.space.width))
