# SPDX-License-Identifier: Apache-2.0
"""StableBTreeMap: an ordered map that lives in a memory (FORMAT section 4)."""

from __future__ import annotations

from collections import deque
from collections.abc import ItemsView, Iterator, KeysView, MutableMapping, ValuesView
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, NoReturn, Self, TypeVar, overload

import numpy as np

from . import _native as native
from .columns import Column
from .entry import Entry
from .errors import IncompatibleType
from .lanes import Part, method
from .structure import INIT, Structure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from .memory import Memory
    from .storable import Codec

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
D = TypeVar("D")

_MISSING: Final = object()
_KEYS: Final[int] = native.call.SS_WANT_KEYS
_VALUES: Final[int] = native.call.SS_WANT_VALUES
_FIRST_BATCH: Final = 16
_LAST_BATCH: Final = 1024
_BATCH_BYTES: Final = 256 * 1024
_COPY_BATCH: Final = 4096


class MapIterator(Iterator[T], Generic[T]):
    """What is left of a range of a map, from both ends: an iterator with `next_back()` and `skip(n)`.

    It is lazy, holds no lock, and raises `RuntimeError` once the map has changed since it was made. Each step is O(1)
    on average, making one O(log n).
    """

    def __init__(self, tree: StableBTreeMap[Any, Any], cursor: Any, want: int, *, reverse: bool) -> None:
        key, value = tree._key, tree._value  # noqa: SLF001
        self._map = tree
        self._cursor = cursor
        self._reverse = reverse
        self._batch = _FIRST_BATCH
        self._rows = (_row(key, want & _KEYS), _row(value, want & _VALUES))
        self._want = want | native.call.SS_WANT_KEY_NUMBERS * key.is_int | native.call.SS_WANT_VALUE_NUMBERS * value.is_int
        self._finish = _finisher(key, value, want)
        self._ends: tuple[deque[Any], deque[Any]] = (deque(), deque())
        self._generation = native.call.ss_access_generation(tree._native_memory._handle)  # noqa: SLF001
        self._seen = self._generation[0]
        self._walks = (self._walk(back=False), self._walk(back=True))

    def __iter__(self) -> Iterator[T]:  # noqa: PYI034 - the generator behind it, for the speed of a plain loop
        return self._walks[self._reverse]

    def __next__(self) -> T:
        return next(self._walks[self._reverse])

    def next_back(self) -> T:
        """The last entry that is left; raises `StopIteration` where none is. O(1) on average.

        >>> from stable_structures import StableBTreeMap, StableMemory, u8
        >>> m = StableBTreeMap[u8, u8](StableMemory())
        >>> m.update({1: 10, 2: 20, 3: 30})
        >>> it = m.range()
        >>> it.next_back(), next(it), next(it)
        ((3, 30), (1, 10), (2, 20))
        """
        return next(self._walks[not self._reverse])

    def skip(self, n: int) -> int:
        """Passes over up to `n` entries without decoding them; gives how many there were. O(n), a small part of iterating.

        >>> from stable_structures import StableBTreeMap, StableMemory, u8
        >>> m = StableBTreeMap[u8, u8](StableMemory())
        >>> m.update({1: 10, 2: 20, 3: 30})
        >>> it = m.range()
        >>> it.skip(2), next(it), it.skip(5)
        (2, (3, 30), 0)
        """
        self._validate()
        own, other = self._ends[self._reverse], self._ends[not self._reverse]
        skipped = min(n, len(own))
        for _ in range(skipped):
            own.popleft()
        skipped += native.check(native.call.ss_cursor_skip(self._cursor, n - skipped, self._reverse), "skip")
        while skipped < n and other:
            other.pop()
            skipped += 1
        return skipped

    def _validate(self) -> None:
        """Something on the memory changed; raises where it was this map."""
        seen = self._generation[0]
        native.check(native.call.ss_cursor_valid(self._cursor), "iteration")
        self._seen = seen

    def _fetch(self, *, back: bool) -> bool:
        """Gets more from one end."""
        native.check(native.call.ss_cursor_next(self._cursor, self._batch, _BATCH_BYTES, self._want, back), "iteration")
        keys, values = native.batch(keys=self._rows[0], values=self._rows[1])
        self._batch = min(self._batch * 2, _LAST_BATCH)
        fetched = zip(keys, values, strict=True) if self._want & _KEYS and self._want & _VALUES else keys or values
        self._ends[back].extend(fetched)
        return bool(self._ends[back])

    def _walk(self, *, back: bool) -> Iterator[T]:
        own, other = self._ends[back], self._ends[not back]
        generation, finish = self._generation, self._finish
        while own or self._fetch(back=back) or other:
            while own:
                if generation[0] != self._seen:
                    self._validate()
                raw = own.popleft()
                yield raw if finish is None else finish(raw)
            if other and not self._fetch(back=back):
                if generation[0] != self._seen:
                    self._validate()
                raw = other.pop()
                yield raw if finish is None else finish(raw)


def _row(part: Part, wanted: int) -> int:
    """How `native.batch` takes a row of keys or values."""
    return 0 if not wanted else 2 if part.is_int else 1


def _restorer(part: Part) -> Callable[[Any], Any] | None:
    """Makes a key or value of what C gave; None where it is that already."""
    if not part.is_int:
        return part.codec.decode
    bias = part.bias
    return (lambda number: number - bias) if bias else None


def _finisher(key: Part, value: Part, want: int) -> Callable[[Any], Any] | None:
    """Makes what an iterator yields of what C gave; None where it is that already."""
    key_of, value_of = _restorer(key), _restorer(value)
    if not want & _VALUES:
        return key_of
    if not want & _KEYS:
        return value_of
    if key_of is None and value_of is None:
        return None
    as_is = lambda raw: raw  # noqa: E731
    key_of, value_of = key_of or as_is, value_of or as_is
    return lambda raw: (key_of(raw[0]), value_of(raw[1]))


class _View:
    """A live view: what it shows changes with the map."""

    _mapping: StableBTreeMap[Any, Any]
    _want: int

    def __iter__(self) -> Iterator[Any]:
        return iter(self._mapping._iterate(self._want, reverse=False))  # noqa: SLF001

    def __reversed__(self) -> Iterator[Any]:
        return iter(self._mapping._iterate(self._want, reverse=True))  # noqa: SLF001


class MapKeys(_View, KeysView[K]):
    """The keys of a map, in order."""

    _want = _KEYS


class MapValues(_View, ValuesView[V]):
    """The values of a map, in the order of their keys."""

    _want = _VALUES


class MapItems(_View, ItemsView[K, V]):
    """The entries of a map, in the order of their keys."""

    _want = _KEYS | _VALUES


def _start_kind(start: object, *, inclusive: bool) -> int:
    if start is None:
        return int(native.call.SS_FROM_FIRST)
    return int(native.call.SS_FROM if inclusive else native.call.SS_AFTER)


def _stop_kind(stop: object, *, inclusive: bool) -> int:
    if stop is None:
        return int(native.call.SS_TO_LAST)
    return int(native.call.SS_UPTO if inclusive else native.call.SS_BEFORE)


class StableBTreeMap(Structure, MutableMapping[K, V]):
    """An ordered map in a memory: `StableBTreeMap[K, V](memory)` loads the one that is there, or makes a new one.

    Keys are kept in the order of their type; every operation on one key is O(log n). The bytes are those of the Rust
    crate's `BTreeMap` (FORMAT section 4). Operations have the crate's names, and on top it is a `MutableMapping`.

    Making one raises `MemoryInUse` where another live structure has the memory, `UnsupportedVersion`, `CorruptMemory`,
    `IncompatibleType` where a version 1 map's slots are smaller than the types, and `OutOfMemory`.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> users = StableBTreeMap[u64, str](StableMemory())
    >>> users.insert(7, "Ada"), users.insert(7, "Grace"), users[7], len(users)
    (None, 'Ada', 'Grace', 1)
    """

    _arity: ClassVar[int] = 2
    _c_name: ClassVar[str] = "btree"
    _key: ClassVar[Part]
    _value: ClassVar[Part]
    _order: ClassVar[native.KeyOrder]
    _keys_column: ClassVar[Column[Any]]
    _values_column: ClassVar[Column[Any]]

    if not TYPE_CHECKING:

        def __class_getitem__(cls, types: Any) -> Any:
            return cls._specialise(types)

    def __init__(self, memory: Memory) -> None:
        self._start(INIT, memory)

    def _start(self, mode: int, memory: Memory, *args: Any) -> None:
        if args:
            raise TypeError(f"{type(self).__name__} takes one memory, got {1 + len(args)}")
        self._open_handle(memory, lambda under, out: self._open_tree(under, mode, out))

    @classmethod
    def _open_tree(cls, memory: Any, mode: int, out: Any) -> int:
        order = cls._order
        bounds = [native.bound(codec) for codec in (cls._key.codec, cls._value.codec)]
        return int(native.call.ss_btree_open(memory, mode, order.terms, order.count, order.callback, order.anchor, *bounds, out))

    @classmethod
    def _check_types(cls, codecs: tuple[Codec[Any], ...]) -> None:
        codecs[0].require_key()

    @classmethod
    def _lanes(cls, codecs: tuple[Codec[Any], ...]) -> dict[str, Any]:
        key, value = Part("key", codecs[0]), Part("value", codecs[1])
        made = {name: make(key, value) for name, make in _METHODS.items()}
        for name, function in made.items():
            function.__doc__ = getattr(cls, name).__doc__
        columns = {"_keys_column": Column(codecs[0]), "_values_column": Column(codecs[1])}
        return {**made, **columns, "_key": key, "_value": value, "_order": native.KeyOrder(codecs[0])}

    def _untyped(self, *_args: object) -> NoReturn:
        raise IncompatibleType(f"{type(self).__name__} needs its types: write {type(self).__name__}[K, V](memory)")

    # ---- one key ----

    @overload
    def get(self, key: K, default: None = None, /) -> V | None: ...
    @overload
    def get(self, key: K, default: V | D, /) -> V | D: ...
    def get(self, key: K, default: Any = None, /) -> Any:
        """The value of a key, or `default`. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.get(1), m.get(1, "?")
        (None, '?')
        """
        self._untyped(key, default)

    def insert(self, key: K, value: V) -> V | None:
        """Sets the value of a key; gives the one before, or None. O(log n).

        Raises `BoundExceeded`, `IncompatibleType`, `OutOfMemory`; nothing is changed then.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.insert(1, "a"), m.insert(1, "b")
        (None, 'a')
        """
        self._untyped(key, value)

    def remove(self, key: K) -> V | None:
        """Removes a key; gives its value, or None where it was absent. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.insert(1, "a")
        >>> m.remove(1), m.remove(1)
        ('a', None)
        """
        self._untyped(key)

    def __contains__(self, key: object) -> bool:
        """Whether the key is there. O(log n)."""
        self._untyped(key)

    def __getitem__(self, key: K) -> V:
        """The value of a key; raises `KeyError`. O(log n)."""
        self._untyped(key)

    def __setitem__(self, key: K, value: V) -> None:
        """Sets the value of a key. O(log n)."""
        self._untyped(key, value)

    def __delitem__(self, key: K) -> None:
        """Removes a key; raises `KeyError`. O(log n)."""
        self._untyped(key)

    def contains_key(self, key: K) -> bool:
        """Whether the key is there. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> StableBTreeMap[u64, str](StableMemory()).contains_key(1)
        False
        """
        return key in self

    def entry(self, key: K) -> Entry[K, V]:
        """The key as an entry to look at and change with one way down. Ours, not the crate's. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[str, u64](StableMemory())
        >>> for word in "to be or not to be".split():
        ...     _ = m.entry(word).update(lambda count: count + 1, default=0)
        >>> m.items() >= {("be", 2), ("to", 2)}
        True
        """
        return Entry(self, key)

    # ---- the ends ----

    def _entry(self, size: int, operation: str) -> tuple[K, V] | None:
        """An answer of a key's size, the key and the value."""
        if size < 0:
            return None if size == native.NO_VALUE else native.fail(size, operation)
        answer = native.result(size)
        middle = 8 + int.from_bytes(answer[:8], "little")
        return self._key.codec.decode(answer[8:middle]), self._value.codec.decode(answer[middle:])

    def first_key_value(self) -> tuple[K, V] | None:
        """The entry with the least key, or None. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({2: "b", 1: "a"})
        >>> m.first_key_value(), m.last_key_value()
        ((1, 'a'), (2, 'b'))
        """
        return self._entry(native.call.ss_btree_first(self._handle), "first_key_value")

    def last_key_value(self) -> tuple[K, V] | None:
        """The entry with the greatest key, or None. O(log n)."""
        return self._entry(native.call.ss_btree_last(self._handle), "last_key_value")

    def pop_first(self) -> tuple[K, V] | None:
        """Removes the entry with the least key and gives it, or None. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({2: "b", 1: "a"})
        >>> m.pop_first(), m.pop_last(), m.pop_last()
        ((1, 'a'), (2, 'b'), None)
        """
        return self._entry(native.call.ss_btree_pop_first(self._handle), "pop_first")

    def pop_last(self) -> tuple[K, V] | None:
        """Removes the entry with the greatest key and gives it, or None. O(log n)."""
        return self._entry(native.call.ss_btree_pop_last(self._handle), "pop_last")

    def popitem(self) -> tuple[K, V]:
        """Removes the entry with the greatest key and gives it; raises `KeyError` where the map is empty. O(log n)."""
        entry = self.pop_last()
        if entry is None:
            raise KeyError("popitem: the map is empty")
        return entry

    @overload
    def pop(self, key: K, /) -> V: ...
    @overload
    def pop(self, key: K, default: V | D, /) -> V | D: ...
    def pop(self, key: K, default: Any = _MISSING, /) -> Any:
        """Removes a key and gives its value, or `default`; raises `KeyError` where there is neither. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> StableBTreeMap[u64, str](StableMemory()).pop(1, "?")
        '?'
        """
        if default is _MISSING:
            value = self[key]
            del self[key]
            return value
        return self._take(key, default)

    def _take(self, key: K, default: Any) -> Any:
        """Removes a key; its value or `default`."""
        self._untyped(key, default)

    # ---- the whole map ----

    def __len__(self) -> int:
        """Entries. O(1)."""
        return native.check(native.call.ss_btree_length(self._handle), "len")

    def clear(self) -> None:
        """Removes everything, as the crate's `clear_new`; the memory keeps its size. O(1)."""
        native.check(native.call.ss_btree_clear(self._handle), "clear")

    clear_new = clear

    # ---- many keys ----

    def insert_many(self, keys: npt.ArrayLike | Iterable[K], values: npt.ArrayLike | Iterable[V]) -> int:
        """Sets many values in one call; gives how many keys were new. All or nothing, with the bytes of the loop.

        Takes numpy arrays of what numpy can hold, and any iterables. O(n log m), with the cache misses of several keys
        overlapped. Raises `ValueError` where there are not as many values as keys, `BoundExceeded`,
        `IncompatibleType` for a dtype that would lose something, and `OutOfMemory`; nothing is changed then.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, u64](StableMemory())
        >>> m.insert_many(np.arange(5), [10, 11, 12, 13, 14]), m.insert_many([4, 5], [0, 0])
        (5, 1)
        """
        (keys_column, count), (values_column, value_count) = self._keys_column.take(keys), self._values_column.take(values)
        _same_length(count, value_count)
        return native.check(native.call.ss_btree_insert_many(self._handle, keys_column, values_column, count), "insert_many")

    def get_many(self, keys: npt.ArrayLike | Iterable[K]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]] | list[V | None]:
        """The values of many keys in one call. Number values: arrays (values, found), 0 where absent; else a list with None.

        O(n log m), with the cache misses of several keys overlapped.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, u64](StableMemory())
        >>> m.update({1: 10, 2: 20})
        >>> values, found = m.get_many([2, 3])
        >>> values.tolist(), found.tolist()
        ([20, 0], [True, False])
        """
        column, count = self._keys_column.take(keys)
        found = np.zeros(count, np.bool_)
        if self._values_column.is_number:
            values, room = self._values_column.room(count)
            native.check(native.call.ss_btree_get_many(self._handle, column, count, room, native.flags(found)), "get_many")
            return values, found
        size = native.call.ss_btree_get_many_bytes(self._handle, column, count, native.flags(found))
        pieces = native.pieces(native.check(size, "get_many"), count)
        decode = self._value.codec.decode
        return [decode(piece) if there else None for piece, there in zip(pieces, found.tolist(), strict=True)]

    def remove_many(self, keys: npt.ArrayLike | Iterable[K]) -> npt.NDArray[np.bool_]:
        """Removes many keys in one call; gives which of them were there. All or nothing, with the bytes of the loop.

        O(n log m), with the cache misses of several keys overlapped.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, u64](StableMemory())
        >>> m.update({1: 10, 2: 20})
        >>> m.remove_many([2, 3]).tolist(), list(m)
        ([True, False], [1])
        """
        column, count = self._keys_column.take(keys)
        found = np.zeros(count, np.bool_)
        native.check(native.call.ss_btree_remove_many(self._handle, column, count, native.flags(found)), "remove_many")
        return found

    def _batches(self) -> Iterator[list[tuple[K, V]]]:
        entries = iter(self.items())
        while batch := list(islice(entries, _COPY_BATCH)):
            yield batch

    def _absorb(self, batch: list[tuple[K, V]]) -> None:
        keys, values = zip(*batch, strict=True)
        self.insert_many(keys, values)

    def to_numpy(
        self, start: K | None = None, stop: K | None = None, *, inclusive: tuple[bool, bool] = (True, False)
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """The entries of a range as two arrays, keys in order and their values. O(n), at the speed of memory.

        Raises `IncompatibleType` where numpy cannot hold the keys or the values, and `RuntimeError` where another thread
        changes the map meanwhile.

        >>> from stable_structures import StableBTreeMap, StableMemory, i16, f64
        >>> m = StableBTreeMap[i16, f64](StableMemory())
        >>> m.update({3: 0.5, -1: 0.25, 7: 1.0})
        >>> m.to_numpy(stop=7)
        (array([-1,  3], dtype=int16), array([0.25, 0.5 ]))
        """
        columns = (self._keys_column, self._values_column)
        cursor = self._cursor(_start_kind(start, inclusive=inclusive[0]), start, _stop_kind(stop, inclusive=inclusive[1]), stop)
        whole = start is None and stop is None
        chunks: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
        size = len(self) if whole else _LAST_BATCH
        while not chunks or len(chunks[-1][0]) == size:
            size = size if not chunks else min(2 * size, 1 << 20)
            (keys, keys_room), (values, values_room) = columns[0].room(size), columns[1].room(size)
            taken = native.check(native.call.ss_cursor_export(cursor, size, keys_room, values_room), "to_numpy")
            chunks.append((keys[:taken], values[:taken]))
            if whole:
                break
        parts = chunks[0] if len(chunks) == 1 else tuple(map(np.concatenate, zip(*chunks, strict=True)))
        return columns[0].give(parts[0]), columns[1].give(parts[1])

    @classmethod
    def from_sorted(cls, memory: Memory, keys: npt.ArrayLike | Iterable[K], values: npt.ArrayLike | Iterable[V]) -> Self:
        """A new map in `memory`, packed from strictly ascending keys. Ours, not the crate's. O(n), at the speed of memory.

        The nodes are full, so the map takes less room and its bytes differ from those of insertions; everything else
        holds. What the memory held is overwritten. Raises `ValueError` where keys do not ascend or there are not as many
        values; the memory then holds an empty map.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str].from_sorted(StableMemory(), range(100), map(str, range(100)))
        >>> m[42], len(m)
        ('42', 100)
        """
        (keys_column, count), (values_column, value_count) = cls._keys_column.take(keys), cls._values_column.take(values)
        _same_length(count, value_count)
        tree = cls.new(memory)
        native.check(native.call.ss_btree_build(tree._handle, keys_column, values_column, count), "from_sorted")  # noqa: SLF001 - one of ours
        return tree

    # ---- ranges ----

    def _cursor(self, from_: int, start: K | None, to: int, stop: K | None) -> Any:
        low, high = (b"" if end is None else self._key.codec.encode(end) for end in (start, stop))
        return native.new_handle(
            "ss_cursor",
            lambda out: native.call.ss_cursor_open(self._handle, from_, low, len(low), to, high, len(high), out),
            native.call.ss_cursor_free,
            "iteration",
        )

    def _iterate(self, want: int, *, reverse: bool) -> MapIterator[Any]:
        cursor = self._cursor(native.call.SS_FROM_FIRST, None, native.call.SS_TO_LAST, None)
        return MapIterator(self, cursor, want, reverse=reverse)

    def _ranged(self, want: int, start: K | None, stop: K | None, inclusive: tuple[bool, bool], *, reverse: bool) -> MapIterator[Any]:
        from_, to = _start_kind(start, inclusive=inclusive[0]), _stop_kind(stop, inclusive=inclusive[1])
        return MapIterator(self, self._cursor(from_, start, to, stop), want, reverse=reverse)

    def range(
        self, start: K | None = None, stop: K | None = None, *, inclusive: tuple[bool, bool] = (True, False), reverse: bool = False
    ) -> MapIterator[tuple[K, V]]:
        """Entries with keys from `start` to `stop`, lazily and from both ends; None is no end. O(log n) to begin.

        `inclusive` says which ends belong to the range; as with Python's `range`, the first does and the last does not.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> list(m.range(2)), list(m.range(1, 3, inclusive=(False, True), reverse=True))
        ([(2, 'b'), (3, 'c')], [(3, 'c'), (2, 'b')])
        """
        return self._ranged(_KEYS | _VALUES, start, stop, inclusive, reverse=reverse)

    def keys_range(
        self, start: K | None = None, stop: K | None = None, *, inclusive: tuple[bool, bool] = (True, False), reverse: bool = False
    ) -> MapIterator[K]:
        """Keys from `start` to `stop`; see `range`. Values are not read."""
        return self._ranged(_KEYS, start, stop, inclusive, reverse=reverse)

    def values_range(
        self, start: K | None = None, stop: K | None = None, *, inclusive: tuple[bool, bool] = (True, False), reverse: bool = False
    ) -> MapIterator[V]:
        """Values of the keys from `start` to `stop`; see `range`. Keys are not decoded."""
        return self._ranged(_VALUES, start, stop, inclusive, reverse=reverse)

    def iter_from_prev_key(self, bound: K) -> MapIterator[tuple[K, V]]:
        """Entries from the one with the largest key below `bound` on; all of them where there is none. O(log n) to begin.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 3: "c", 5: "e"})
        >>> list(m.iter_from_prev_key(4))
        [(3, 'c'), (5, 'e')]
        """
        cursor = self._cursor(native.call.SS_FROM_BEFORE, bound, native.call.SS_TO_LAST, None)
        return MapIterator(self, cursor, _KEYS | _VALUES, reverse=False)

    def __iter__(self) -> Iterator[K]:
        """Keys in order."""
        return iter(self._iterate(_KEYS, reverse=False))

    def __reversed__(self) -> Iterator[K]:
        """Keys in the opposite order."""
        return iter(self._iterate(_KEYS, reverse=True))

    def iter(self) -> MapIterator[tuple[K, V]]:
        """Entries in the order of their keys."""
        return self._iterate(_KEYS | _VALUES, reverse=False)

    def keys(self) -> MapKeys[K]:
        """A live view of the keys, in order."""
        return MapKeys(self)

    def values(self) -> MapValues[V]:
        """A live view of the values, in the order of their keys."""
        return MapValues(self)

    def items(self) -> MapItems[K, V]:
        """A live view of the entries, in the order of their keys."""
        return MapItems(self)

    def __repr__(self) -> str:
        try:
            return f"<{type(self).__name__} of {len(self)} entries>"
        except Exception as error:  # noqa: BLE001 - a repr must not raise
            return f"<{type(self).__name__}, {type(error).__name__}>"


def _same_length(keys: int, values: int) -> None:
    if keys != values:
        raise ValueError(f"{keys} keys and {values} values: give as many values as keys; nothing was changed")


def _get(key: Part, value: Part) -> Any:
    source = f"""
    def get(self, key, default=None, /):
        answer = call(self._handle, {{args}})
{_indented(value.answer("get", "return default"))}
    """
    return method(source, [key], f"ss_btree_get_{key.letter}{value.letter}", **value.names)


def _getitem(key: Part, value: Part) -> Any:
    source = f"""
    def __getitem__(self, key):
        answer = call(self._handle, {{args}})
{_indented(value.answer("get", "raise KeyError(key)"))}
    """
    return method(source, [key], f"ss_btree_get_{key.letter}{value.letter}", **value.names)


def _contains(key: Part, _value: Part) -> Any:
    source = """
    def __contains__(self, key):
        status = call(self._handle, {args})
        if status < 0: fail(status, "contains_key")
        return status != SS_ABSENT
    """
    return method(source, [key], f"ss_btree_contains_{key.letter}")


def _insert(key: Part, value: Part) -> Any:
    source = f"""
    def insert(self, key, value):
        answer = call(self._handle, {{args}})
{_indented(value.answer("insert", "return None"))}
    """
    return method(source, [key, value], f"ss_btree_insert_{key.letter}{value.letter}")


def _setitem(key: Part, value: Part) -> Any:
    source = """
    def __setitem__(self, key, value):
        status = call(self._handle, {args})
        if status < 0: fail(status, "insert")
    """
    return method(source, [key, value], f"ss_btree_put_{key.letter}{value.letter}")


def _remover(head: str, absent: str) -> Callable[[Part, Part], Any]:
    def make(key: Part, value: Part) -> Any:
        source = f"""
    def {head}:
        answer = call(self._handle, {{args}})
{_indented(value.answer("remove", absent))}
    """
        return method(source, [key], f"ss_btree_remove_{key.letter}{value.letter}", **value.names)

    return make


def _delitem(key: Part, value: Part) -> Any:
    source = f"""
    def __delitem__(self, key):
        answer = call(self._handle, {{args}})
        if answer == {"NO_NUMBER" if value.is_int else "NO_VALUE"}: raise KeyError(key)
        {"if answer == ASK: answered_number('remove')" if value.is_int else "if answer < 0: fail(answer, 'remove')"}
    """
    return method(source, [key], f"ss_btree_remove_{key.letter}{value.letter}")


def _indented(code: str) -> str:
    return "\n".join("        " + line for line in code.split("\n"))


_METHODS: Final[dict[str, Callable[[Part, Part], Any]]] = {
    "get": _get,
    "__getitem__": _getitem,
    "__contains__": _contains,
    "insert": _insert,
    "__setitem__": _setitem,
    "remove": _remover("remove(self, key)", "return None"),
    "_take": _remover("_take(self, key, default)", "return default"),
    "__delitem__": _delitem,
}
