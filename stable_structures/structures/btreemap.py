# SPDX-License-Identifier: Apache-2.0
"""StableBTreeMap: an ordered map that lives in a memory (docs/format.md#b-tree-map)."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, MutableMapping, ValuesView
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar, overload

import numpy as np

from .. import _native as native
from ..errors import CorruptMemory
from .arguments import Part, indented, method
from .entry import Entry
from .tree import COPY_BATCH, KEYS, VALUES, Tree, TreeIterator, finder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from ..memory.memory import Memory
    from ..storable import Codec

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
D = TypeVar("D")

_MISSING: Final = object()


class _View:
    """A live view: what it shows changes with the map."""

    _mapping: StableBTreeMap[Any, Any]
    _want: int

    def __iter__(self) -> Iterator[Any]:
        return iter(self._mapping._iterate(self._want, reverse=False))

    def __reversed__(self) -> Iterator[Any]:
        return iter(self._mapping._iterate(self._want, reverse=True))


class MapKeys(_View, KeysView[K]):
    """The keys of a map, in order."""

    _want = KEYS


class MapValues(_View, ValuesView[V]):
    """The values of a map, in the order of their keys."""

    _want = VALUES


class MapItems(_View, ItemsView[K, V]):
    """The entries of a map, in the order of their keys."""

    _want = KEYS | VALUES

    def __contains__(self, item: Any) -> bool:
        key, value = item
        if key not in self._mapping:
            return False
        found = self._mapping.get(key, _MISSING)
        return bool(found is value or found == value)


class StableBTreeMap(Tree, MutableMapping[K, V]):
    """An ordered map in a memory: `StableBTreeMap[K, V](memory)` loads the one that is there, or makes a new one.

    Keys are kept in the order of their type; every operation on one key is O(log n). The bytes are those of the Rust
    crate's `BTreeMap`. Operations have the crate's names, and on top it is a `MutableMapping`.

    Making one raises `BadMagic` where the memory holds something else, `MemoryInUse` where another live structure has it,
    `UnsupportedVersion`, `CorruptMemory`, `OutOfMemory`, and `IncompatibleType` where the entries that are there are of other
    types.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> users = StableBTreeMap[u64, str](StableMemory())
    >>> users.insert(7, "Ada"), users.insert(7, "Grace"), users[7], len(users)
    (None, 'Ada', 'Grace', 1)
    """

    _parameters: ClassVar[str] = "KV"

    @classmethod
    def _lanes(cls, codecs: tuple[Codec[Any], ...]) -> dict[str, Any]:
        return cls._tree_lanes(codecs[0], codecs[1], _METHODS)

    # ---- one key ----

    @overload
    def get(self, key: K, default: None = None) -> V | None: ...
    @overload
    def get(self, key: K, default: V | D) -> V | D: ...
    def get(self, key: K, default: Any = None) -> Any:
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

        `key in m` is the same, but that what the type cannot hold is not there; here it raises `IncompatibleType` or
        `BoundExceeded`, as everywhere else.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.contains_key(1), "one" in m
        (False, False)
        """
        self._untyped(key)

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

    def _entry_bytes(self, size: int, operation: str) -> tuple[bytes, bytes] | None:
        """An answer of a key's size, the key and the value."""
        if size < 0:
            if size != native.NO_VALUE:
                self._checked(size, operation)
            return None
        answer = native.result(size)
        middle = 8 + int.from_bytes(answer[:8], "little")
        return answer[8:middle], answer[middle:]

    def _entry(self, size: int, operation: str) -> tuple[K, V] | None:
        found = self._entry_bytes(size, operation)
        try:
            return None if found is None else (self._key.codec.decode(found[0]), self._value.codec.decode(found[1]))
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _popped(self, size: int, operation: str) -> tuple[K, V] | None:
        """An entry that was taken out; it is put back where its bytes are no key or no value."""
        found = self._entry_bytes(size, operation)
        if found is None:
            return None
        key, value = found
        try:
            return self._key.codec.decode(key), self._value.codec.decode(value)
        except BaseException as error:
            native.call.ss_btree_put_bb(self._handle, key, len(key), value, len(value))
            if isinstance(error, CorruptMemory):
                self._tell_apart(error)
                raise
            raise

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
        """The entry with the greatest key, or None. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> m.last_key_value()
        (3, 'c')
        """
        return self._entry(native.call.ss_btree_last(self._handle), "last_key_value")

    def pop_first(self) -> tuple[K, V] | None:
        """Removes the entry with the least key and gives it, or None. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({2: "b", 1: "a"})
        >>> m.pop_first(), m.pop_last(), m.pop_last()
        ((1, 'a'), (2, 'b'), None)
        """
        return self._popped(native.call.ss_btree_pop_first(self._handle), "pop_first")

    def pop_last(self) -> tuple[K, V] | None:
        """Removes the entry with the greatest key and gives it, or None. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> m.pop_last(), len(m)
        ((3, 'c'), 2)
        """
        return self._popped(native.call.ss_btree_pop_last(self._handle), "pop_last")

    def popitem(self) -> tuple[K, V]:
        """Removes the entry with the greatest key and gives it; raises `KeyError` where the map is empty. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> m.popitem(), len(m)
        ((3, 'c'), 2)
        """
        entry = self.pop_last()
        if entry is None:
            raise KeyError("popitem: the map is empty")
        return entry

    @overload
    def pop(self, key: K) -> V: ...
    @overload
    def pop(self, key: K, default: V | D) -> V | D: ...
    def pop(self, key: K, default: Any = _MISSING) -> Any:
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
        return self._checked(native.call.ss_btree_insert_many(self._handle, keys_column, values_column, count), "insert_many")

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
            values, room = self._values_column.room(count, np.zeros)
            self._checked(native.call.ss_btree_get_many(self._handle, column, count, room, native.flags(found)), "get_many")
            return values, found
        size = native.call.ss_btree_get_many_bytes(self._handle, column, count, native.flags(found))
        pieces = native.pieces(self._checked(size, "get_many"), count)
        rows: Iterable[tuple[Any, bool]] = zip(pieces, found.tolist(), strict=True)
        codec = self._value.codec
        if codec.as_is:
            return [piece if there else None for piece, there in rows]
        try:
            return [codec.decode(piece) if there else None for piece, there in rows]
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _batches(self) -> Iterator[list[tuple[K, V]]]:
        entries = iter(self.items())
        while batch := list(islice(entries, COPY_BATCH)):
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
        keys, values = self._export(start, stop, inclusive, (self._keys_column, self._values_column))
        return keys, values

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
        native.check(native.call.ss_btree_build(tree._handle, keys_column, values_column, count), "from_sorted")
        return tree

    # ---- ranges ----

    def range(
        self, start: K | None = None, stop: K | None = None, *, inclusive: tuple[bool, bool] = (True, False), reverse: bool = False
    ) -> TreeIterator[tuple[K, V]]:
        """Entries with keys from `start` to `stop`, lazily and from both ends; None is no end. O(log n) to begin.

        `inclusive` says which ends belong to the range; as with Python's `range`, the first does and the last does not.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> list(m.range(2)), list(m.range(1, 3, inclusive=(False, True), reverse=True))
        ([(2, 'b'), (3, 'c')], [(3, 'c'), (2, 'b')])
        """
        return self._ranged(KEYS | VALUES, start, stop, inclusive, reverse=reverse)

    def keys_range(
        self, start: K | None = None, stop: K | None = None, *, inclusive: tuple[bool, bool] = (True, False), reverse: bool = False
    ) -> TreeIterator[K]:
        """Keys from `start` to `stop`, as `range` does it; values are not read. O(log n) to begin.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> list(m.keys_range(2)), list(m.keys_range(stop=3, reverse=True))
        ([2, 3], [2, 1])
        """
        return self._ranged(KEYS, start, stop, inclusive, reverse=reverse)

    def values_range(
        self, start: K | None = None, stop: K | None = None, *, inclusive: tuple[bool, bool] = (True, False), reverse: bool = False
    ) -> TreeIterator[V]:
        """Values of the keys from `start` to `stop`, as `range` does it; keys are not decoded. O(log n) to begin.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> list(m.values_range(2))
        ['b', 'c']
        """
        return self._ranged(VALUES, start, stop, inclusive, reverse=reverse)

    def iter_from_prev_key(self, bound: K) -> TreeIterator[tuple[K, V]]:
        """Entries from the one with the largest key below `bound` on; all of them where there is none. O(log n) to begin.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 3: "c", 5: "e"})
        >>> list(m.iter_from_prev_key(4))
        [(3, 'c'), (5, 'e')]
        """
        cursor = self._cursor(native.call.SS_FROM_BEFORE, bound, native.call.SS_TO_LAST, None)
        return TreeIterator(self, cursor, KEYS | VALUES, reverse=False)

    def __iter__(self) -> Iterator[K]:
        """Keys in order."""
        return iter(self._iterate(KEYS, reverse=False))

    def __reversed__(self) -> Iterator[K]:
        """Keys in the opposite order."""
        return iter(self._iterate(KEYS, reverse=True))

    def iter(self) -> TreeIterator[tuple[K, V]]:
        """Entries in the order of their keys, lazily and from both ends. O(log n) to begin.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> it = m.iter()
        >>> next(it), it.next_back()
        ((1, 'a'), (3, 'c'))
        """
        return self._iterate(KEYS | VALUES, reverse=False)

    def keys(self) -> MapKeys[K]:
        """A live view of the keys, in order. O(1), O(n) to walk.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> list(m.keys()), list(reversed(m.keys())), 2 in m.keys()
        ([1, 2, 3], [3, 2, 1], True)
        """
        return MapKeys(self)

    def values(self) -> MapValues[V]:
        """A live view of the values, in the order of their keys. O(1), O(n) to walk.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> list(m.values())
        ['a', 'b', 'c']
        """
        return MapValues(self)

    def items(self) -> MapItems[K, V]:
        """A live view of the entries, in the order of their keys. O(1), O(n) to walk.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> list(m.items()), (2, "b") in m.items()
        ([(1, 'a'), (2, 'b'), (3, 'c')], True)
        """
        return MapItems(self)


def _same_length(keys: int, values: int) -> None:
    if keys != values:
        raise ValueError(f"{keys} keys and {values} values: give as many values as keys; nothing was changed")


def _get(key: Part, value: Part) -> Any:
    source = f"""
    def get(self, key, default=None):
        answer = call(self._handle, {{args}})
{indented(value.answer("get", "return default"))}
    """
    return method(source, [key], f"ss_btree_get_{key.letter}{value.letter}", **value.names)


def _getitem(key: Part, value: Part) -> Any:
    source = f"""
    def __getitem__(self, key):
        answer = call(self._handle, {{args}})
{indented(value.answer("get", "raise KeyError(key)"))}
    """
    return method(source, [key], f"ss_btree_get_{key.letter}{value.letter}", **value.names)


def _put_back(key: Part) -> tuple[str, Any]:
    """Code that gives a key its old bytes again, and the function in it."""
    return f"put_back(self._handle, {key.args}, old, len(old))", getattr(native.call, f"ss_btree_put_{key.letter}b")


def _insert(key: Part, value: Part) -> Any:
    code, put_back = _put_back(key)
    source = f"""
    def insert(self, key, value):
        answer = call(self._handle, {{args}})
{indented(value.answer("insert", "return None", code))}
    """
    return method(source, [key, value], f"ss_btree_insert_{key.letter}{value.letter}", put_back=put_back)


def _setitem(key: Part, value: Part) -> Any:
    source = """
    def __setitem__(self, key, value):
        status = call(self._handle, {args})
        if status < 0: fail(status, "insert")
    """
    return method(source, [key, value], f"ss_btree_put_{key.letter}{value.letter}")


def _remover(head: str, absent: str) -> Callable[[Part, Part], Any]:
    def make(key: Part, value: Part) -> Any:
        code, put_back = _put_back(key)
        source = f"""
    def {head}:
        answer = call(self._handle, {{args}})
{indented(value.answer("remove", absent, code))}
    """
        return method(source, [key], f"ss_btree_remove_{key.letter}{value.letter}", put_back=put_back, **value.names)

    return make


def _delitem(key: Part, value: Part) -> Any:
    source = f"""
    def __delitem__(self, key):
        answer = call(self._handle, {{args}})
        if answer == {"NO_NUMBER" if value.is_int else "NO_VALUE"}: raise KeyError(key)
        {"if answer == ASK: answered_number('remove')" if value.is_int else "drop() if answer >= 0 else fail(answer, 'remove')"}
    """
    return method(source, [key], f"ss_btree_remove_{key.letter}{value.letter}", drop=native.call.ss_result_drop)


_METHODS: Final[dict[str, Callable[[Part, Part], Any]]] = {
    "contains_key": finder("contains_key"),
    "get": _get,
    "__getitem__": _getitem,
    "insert": _insert,
    "__setitem__": _setitem,
    "remove": _remover("remove(self, key)", "return None"),
    "_take": _remover("_take(self, key, default)", "return default"),
    "__delitem__": _delitem,
}
