# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - Type and Contents say what their methods do
"""Vecs, logs and hash tables: their values, and the rules they keep (docs/format-ism.md#containers).

A handle iterates over what the crate's own forward iteration gives. `entries(note)` does not stop at damage: it tells
`note` and goes on with what can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import pairwise
from typing import Any, Final

from .blocks import EMPTY, SLACK, Bytes, padded
from .encodings import Owner, Space, Type
from .findings import Broken, Fault

Note = Callable[[Broken], None] | None

_SECTOR: Final = 24
_OCCUPIED: Final = 255
_TRUSTED: Final = 6
"""Entries of a hash table from which on their places tell whether the hash is the right one."""


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


class Contents:
    """What a container holds. Iteration raises `Broken`, a `CorruptMemory`, at damage; `entries(note)` goes on."""

    def __init__(self, kind: Container, space: Space, length: int | None) -> None:
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


class Mapping(Contents):
    """A map: iteration gives keys, `items()` gives pairs."""

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Return pairs in the order of the structure. O(n)."""
        return self.entries()

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self.entries())

    def to_dict(self) -> dict[Any, Any]:
        """Return all pairs. O(n)."""
        return dict(self.entries())


class Container(Type):
    """A type whose values lie in blocks of their own."""

    ordered = hashable = False

    def decode(self, data: bytes, space: Space) -> Contents:
        raise NotImplementedError


# ---- SVec ----


class VecType(Container):
    """SVec<T>: pointer · length · capacity."""

    def __init__(self, part: Type) -> None:
        super().__init__(f"SVec<{part.name}>")
        self.part = part

    def size(self, width: int) -> int:
        return 8 + 2 * width

    def decode(self, data: bytes, space: Space) -> VecContents:
        return VecContents(self, space, word(data, 0), word(data, 8, space.width))

    def own(self, data: bytes, owner: Owner) -> None:
        width = owner.space.width
        pointer, length, capacity = word(data, 0), word(data, 8, width), word(data, 8 + width, width)
        if pointer == EMPTY:
            if length:
                owner.note(f"a vec of {length} elements without a block", 0)
            return
        need = capacity * self.part.size(width)
        content = self._claim(pointer, need, owner)
        if content is None:
            return
        if length > capacity:
            owner.note(f"a vec of {length} elements has capacity {capacity}", pointer, None if capacity else Fault.VEC_CAPACITY)
        size = self.part.size(width)
        for i in range(min(length, len(content) // size) if size else 0):
            self.part.own(content[i * size : (i + 1) * size], owner)

    @staticmethod
    def _claim(pointer: int, need: int, owner: Owner) -> bytes | None:
        """Return the block, also of a vec whose capacity was doubled in vain."""
        index = owner.space.blocks.index(pointer)
        size = owner.space.blocks.size(index) if index >= 0 else need
        if size < need and fits(size, need // 2):
            owner.note(f"the capacity needs {need} bytes, the block has {size}", pointer, Fault.VEC_CAPACITY)
            need //= 2
        return owner.claim(pointer, need)


class VecContents(Contents):
    """The elements, by number; a vec whose capacity passed its block is read past it, as the crate does."""

    def __init__(self, kind: VecType, space: Space, pointer: int, length: int | None, most: int = 0) -> None:
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
        for index in range(readable):
            try:
                yield self._element(index, size)
            except Broken as error:
                tell(note, error)
        if readable < self._readable:
            tell(note, Broken(f"elements {readable} to {self._readable} lie outside of the memory", self._pointer))


# ---- SLog ----


class LogType(Container):
    """SLog<T>: length · first sector · current sector · offset in it · its capacity · its length · a word of zeros."""

    def __init__(self, part: Type) -> None:
        super().__init__(f"SLog<{part.name}>")
        self.part = part

    def size(self, width: int) -> int:
        return 48 + width

    def decode(self, data: bytes, space: Space) -> LogContents:
        length, first, current, _, _, last = (word(data, 8 * i) for i in range(6))
        return LogContents(self, space, length, (first, current), last)

    def own(self, data: bytes, owner: Owner) -> None:
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

    def _own_sectors(self, first: int, current: int, last: int, owner: Owner) -> tuple[bytes, list[int]] | None:
        """Return the content of the current sector, and the capacities of all; None if the chain is broken, which is noted."""
        size, blocks = self.part.size(owner.space.width), owner.space.blocks
        before, at, capacities = EMPTY, first, list[int]()
        while True:
            index = blocks.index(at)
            capacity = word(blocks.content(index, _SECTOR), 16) if index >= 0 else 0
            content = owner.claim(at, _SECTOR + capacity * size)
            if content is None:
                return None
            if word(content, 0) != before:
                owner.note("the link back of a sector does not lead to the sector before it", at)
            count = last if at == current else capacity
            if count > capacity:
                owner.note(f"a sector of capacity {capacity} holds {count} elements", at)
                return None
            for i in range(count):
                self.part.own(content[_SECTOR + i * size : _SECTOR + (i + 1) * size], owner)
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

    def __init__(self, kind: LogType, space: Space, length: int | None, ends: tuple[int, int], last: int) -> None:
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
                    raise Broken("the sectors of a log form a circle", at)  # noqa: TRY301 - told like the others
                content = self.space.content(at)
            except Broken as error:
                tell(note, error)
                return
            seen.add(at)
            count = self.last if at == self._current else word(content, 16)
            room = (len(content) - _SECTOR) // size if size else count
            if count > room or count > self.space.blocks.end:
                tell(note, Broken(f"a sector of {room} elements says {count}", at))
                count = min(room, self.space.blocks.end)
            for i in range(count):
                try:
                    yield self._part.decode(content[_SECTOR + i * size : _SECTOR + (i + 1) * size], self.space)
                except Broken as error:
                    tell(note, error)
            at = EMPTY if at == self._current else word(content, 8)


# ---- SHashMap, SHashSet ----


class TableType(Container):
    """SHashMap<K, V>, and SHashSet<K> without values: pointer · length · capacity.

    Content of the block: capacity * (flag (1) · key), capacity * value. Flags: 0 empty, 255 occupied.
    """

    def __init__(self, key: Type, value: Type | None) -> None:
        super().__init__(f"SHashSet<{key.name}>" if value is None else f"SHashMap<{key.name}, {value.name}>")
        self.key, self.value = key, value

    def size(self, width: int) -> int:
        return 8 + 2 * width

    def sizes(self, width: int) -> tuple[int, int]:
        """Return bytes of a key and of a value."""
        return self.key.size(width), self.value.size(width) if self.value else 0

    def slot(self, width: int) -> int:
        """Return bytes of flag, key and value."""
        return 1 + sum(self.sizes(width))

    def decode(self, data: bytes, space: Space) -> TableContents | TableKeys:
        width = space.width
        made = TableKeys if self.value is None else TableContents
        return made(self, space, word(data, 0), word(data, 8, width), word(data, 8 + width, width))

    def own(self, data: bytes, owner: Owner) -> None:
        width = owner.space.width
        pointer, length, capacity = word(data, 0), word(data, 8, width), word(data, 8 + width, width)
        if capacity == 1:
            owner.note("a table of capacity 1", max(0, pointer) if pointer != EMPTY else 0, Fault.DEAD_TABLE, ownership=False)
        if pointer == EMPTY:
            if length:
                owner.note(f"a hash table of {length} entries without a block", 0)
            return
        content = owner.claim(pointer, capacity * self.slot(width))
        if content is not None and capacity:
            self._own_slots(Slots(content, capacity, *self.sizes(width)), length, owner, pointer)

    def _own_slots(self, slots: Slots, length: int, owner: Owner, pointer: int) -> None:
        if not slots.flags_are_sound():
            owner.note("a slot's flag is neither 0 nor 255", pointer)
        occupied = slots.occupied()
        for i in occupied:
            self.key.own(slots.key(i), owner)
            if self.value:
                self.value.own(slots.value(i), owner)
        if len(occupied) != length:
            owner.note(f"a hash table of {length} entries has {len(occupied)} occupied slots", pointer)
        self._check_places(slots, occupied, owner, pointer)

    def _check_places(self, slots: Slots, occupied: list[int], owner: Owner, pointer: int) -> None:
        lost, distance = 0, 0
        for i in occupied:
            try:
                home = self.home(self.key.decode(slots.key(i), owner.space), slots.capacity, owner.space.width)
            except Broken:
                continue
            if home is None:
                return
            distance += (i - home) % slots.capacity
            lost += not slots.reaches(home, i)
        if len(occupied) >= _TRUSTED and distance > len(occupied) * slots.capacity / 4:
            owner.note("the keys do not lie where their hashes put them: they are of another type, or the width is the other one", pointer)
        elif lost:
            owner.note(
                f"{lost} of {len(occupied)} keys cannot be found by lookups; iteration has them",
                pointer,
                Fault.BROKEN_CHAINS,
                ownership=False,
            )

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

    def flags_are_sound(self) -> bool:
        """Return whether each is 0 or 255."""
        return self._flags.count(0) + self._flags.count(_OCCUPIED) == self.capacity

    def occupied(self) -> list[int]:
        """Return the numbers of the slots with entries."""
        return [i for i, flag in enumerate(self._flags) if flag]

    def key(self, index: int) -> bytes:
        """Return the encoding of a key."""
        start = index * (1 + self._key) + 1
        return self._content[start : start + self._key]

    def value(self, index: int) -> bytes:
        """Return the encoding of a value."""
        start = self.capacity * (1 + self._key) + index * self._value
        return self._content[start : start + self._value]

    def reaches(self, home: int, index: int) -> bool:
        """Return whether no empty slot lies between the home slot and the entry."""
        if home <= index:
            return 0 not in self._flags[home:index]
        return 0 not in self._flags[home:] and 0 not in self._flags[:index]


class TableContents(Mapping):
    """The entries, in the order of slots. Of a key that is there twice, the one that lookups find."""

    def __init__(self, kind: TableType, space: Space, pointer: int, length: int | None, capacity: int) -> None:
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
        twice = self._twice(slots)
        for i in slots.occupied():
            if i in twice:
                if note is not None:
                    note(twice[i])
                continue
            try:
                yield self._entry(slots, i)
            except Broken as error:
                tell(note, error)

    def _slots(self) -> Slots:
        content = self.space.content(self._pointer)
        if self._capacity * self._kind.slot(self.space.width) > len(content):
            raise Broken(f"a table of capacity {self._capacity} in a block of {len(content)} bytes", self._pointer)
        return Slots(content, self._capacity, *self._kind.sizes(self.space.width))

    def _entry(self, slots: Slots, index: int) -> Any:
        assert self._kind.value is not None  # noqa: S101 - TableKeys is for those
        return self._kind.key.decode(slots.key(index), self.space), self._kind.value.decode(slots.value(index), self.space)

    def _twice(self, slots: Slots) -> dict[int, Broken]:
        """Return the slots whose key another slot has too, nearer to where the search for it begins. O(n)."""
        nearest: dict[Hashable, tuple[int, int]] = {}
        found: dict[int, Broken] = {}
        for i in slots.occupied():
            try:
                key = self._kind.key.decode(slots.key(i), self.space)
            except Broken:
                continue
            home = self._kind.home(key, self._capacity, self.space.width)
            here = (i if home is None else (i - home) % self._capacity, i)
            known = nearest.setdefault(self._kind.key.identity(key), here)
            if known != here:
                nearest[self._kind.key.identity(key)] = min(known, here)
                found[max(known, here)[1]] = Broken(
                    f"key {key!r} is in two slots; kept is what lookups find", self._pointer, Fault.BROKEN_CHAINS
                )
        return found


class TableKeys(TableContents):
    """The keys of a set. Iteration and entries are the same."""

    def __iter__(self) -> Iterator[Any]:
        return self.entries()

    def _entry(self, slots: Slots, index: int) -> Any:
        return self._kind.key.decode(slots.key(index), self.space)
