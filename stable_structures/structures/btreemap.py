# SPDX-License-Identifier: Apache-2.0
"""StableBTreeMap: an ordered map that lives in a memory (docs/format.md#b-tree-map)."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from itertools import compress, islice
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar, overload

import numpy as np

from .. import _native as native
from .._native import NO_VALUE, result
from ..encodings.columns import Encoded
from ..errors import CorruptMemory
from .entry import Entry
from .in_arrow import is_arrow_table
from .number_forms import UNREADABLE, UNSOUND, Argument, map_forms
from .short_forms import REFUSED
from .tree import COPY_BATCH, KEYS, OK, VALUES, Tree, TreeIterator, contains

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    from ..memory.memory import Memory
    from ..storable import Codec

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
D = TypeVar("D")

_MISSING: Final[Any] = object()
_PAIR: Final = 2
_ITEMS: Final = KEYS | VALUES
_get: Final = native.call.ss_btree_get_bytes_bytes
_insert: Final = native.call.ss_btree_insert_bytes_bytes
_put: Final = native.call.ss_btree_set_bytes_bytes
_remove: Final = native.call.ss_btree_remove_bytes_bytes
_get_or_insert: Final = native.call.ss_btree_get_or_insert


class _View:
    """A live view, which changes with the map.

    Its operators (`&`, `<=`, `==`, ...) and `in` on values look at the map entry by entry. If other threads write
    meanwhile, use them inside `with memory.transaction():`.
    """

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

    def __contains__(self, value: object) -> bool:
        """Return whether some key has the value. O(n): without a lookup for each key, as the inherited method makes."""
        return any(found is value or found == value for found in self)


class MapItems(_View, ItemsView[K, V]):
    """The entries of a map, in the order of their keys."""

    _want = KEYS | VALUES

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple) or len(item) != _PAIR:
            return False
        key, value = item
        try:
            found = self._mapping.get(key, _MISSING)
        except REFUSED:
            return False
        return found is not _MISSING and bool(found is value or found == value)


class StableBTreeMap(Tree, MutableMapping[K, V]):
    """An ordered map in a memory: `StableBTreeMap[K, V](memory)` loads an existing map, or creates one.

    Keys are ordered as their type says; every operation on one key is O(log n). The bytes are those of the Rust
    crate's `BTreeMap`. Operations have the crate's names; it is also a `MutableMapping`.

    Creating one raises `BadMagic` if the memory holds something else, `MemoryInUse` if another live structure uses it,
    `UnsupportedVersion`, `CorruptMemory`, `OutOfMemory`, and `IncompatibleType` if the existing entries have other types.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> users = StableBTreeMap[u64, str](StableMemory())
    >>> users.insert(7, "Ada"), users.insert(7, "Grace"), users[7], len(users)
    (None, 'Ada', 'Grace', 1)
    """

    _parameters: ClassVar[str] = "KV"
    _hot = ("get", "__getitem__", "insert", "__setitem__", "remove", "_take", "__delitem__", "contains_key", "__contains__")

    @classmethod
    def _specialised(cls, codecs: tuple[Codec[Any], ...]) -> dict[str, Any]:
        key, value = Argument(codecs[0]), Argument(codecs[1])
        return {**cls._of_types(key, value), **cls._own_methods(map_forms(key, value))}

    # ---- one key ----

    @overload
    def get(self, key: K, default: None = None) -> V | None: ...
    @overload
    def get(self, key: K, default: V | D) -> V | D: ...
    def get(self, key: K, default: Any = None) -> Any:
        """Return the value of a key, or `default`. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.get(1), m.get(1, "?")
        (None, '?')
        """
        data: Any = key
        if type(key) is not self._plain_key:
            encode = self._encode_key
            data = encode(key)
        size = _get(self._handle, data, len(data))
        if size >= 0:
            found: Any = result(size)
            restore = self._restore_value
            try:
                return restore(found) if restore else found
            except UNREADABLE as error:
                self._unreadable(error, found)
                raise
        return default if size == NO_VALUE else self._fail(size, "get")

    def insert(self, key: K, value: V) -> V | None:
        """Set the value of a key; return the previous value, or None. O(log n).

        Raises `BoundExceeded`, `IncompatibleType`, `OutOfMemory`; nothing is changed then.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.insert(1, "a"), m.insert(1, "b")
        (None, 'a')
        """
        key_data: Any = key
        if type(key) is not self._plain_key:
            encode = self._encode_key
            key_data = encode(key)
        data: Any = value
        if type(value) is not self._plain_value:
            encode = self._encode_value
            data = encode(value)
        size = _insert(self._handle, key_data, len(key_data), data, len(data))
        if size < 0:
            return None if size == NO_VALUE else self._fail(size, "insert")
        old: Any = result(size)
        restore = self._restore_value
        try:
            return restore(old) if restore else old  # type: ignore[no-any-return]
        except BaseException as error:  # the core has restored the previous bytes
            _put(self._handle, key_data, len(key_data), old, len(old))
            self._unreadable(error, old)
            raise

    @overload
    def remove(self, key: K, default: None = None) -> V | None: ...
    @overload
    def remove(self, key: K, default: V | D) -> V | D: ...
    def remove(self, key: K, default: Any = None) -> Any:
        """Remove a key; return its value, or `default` if it was absent. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.insert(1, "a")
        >>> m.remove(1), m.remove(1)
        ('a', None)
        """
        data: Any = key
        if type(key) is not self._plain_key:
            encode = self._encode_key
            data = encode(key)
        size = _remove(self._handle, data, len(data))
        if size < 0:
            return default if size == NO_VALUE else self._fail(size, "remove")
        old: Any = result(size)
        restore = self._restore_value
        try:
            return restore(old) if restore else old
        except BaseException as error:  # the core has restored the previous bytes
            _put(self._handle, data, len(data), old, len(old))
            self._unreadable(error, old)
            raise

    _take = remove  # stays this method if a class overrides `remove`

    def __getitem__(self, key: K) -> V:
        """Return the value of a key; raise `KeyError`. O(log n)."""
        data: Any = key
        if type(key) is not self._plain_key:
            encode = self._encode_key
            data = encode(key)
        size = _get(self._handle, data, len(data))
        if size >= 0:
            found: Any = result(size)
            restore = self._restore_value
            try:
                return restore(found) if restore else found  # type: ignore[no-any-return]
            except UNREADABLE as error:
                self._unreadable(error, found)
                raise
        if size == NO_VALUE:
            raise KeyError(key)
        return self._fail(size, "get")

    def __setitem__(self, key: K, value: V) -> None:
        """Set the value of a key. O(log n).

        `m[key] += 1` is two operations, a read and a write; if other threads write meanwhile, use `m.entry(key).update(...)`.
        """
        key_data: Any = key
        data: Any = value
        try:
            if type(key) is not self._plain_key:
                encode = self._quick_encode_key
                key_data = encode(key)
            if type(value) is not self._plain_value:
                encode = self._quick_encode_value
                data = encode(value)
        except UNSOUND:
            self._unsound(key, value)
            raise
        status = _put(self._handle, key_data, len(key_data), data, len(data))
        if status < 0:
            self._fail(status, "insert")

    def __delitem__(self, key: K) -> None:
        """Remove a key; raise `KeyError`. O(log n)."""
        data: Any = key
        if type(key) is not self._plain_key:
            encode = self._encode_key
            data = encode(key)
        size = _remove(self._handle, data, len(data))
        if size == NO_VALUE:
            raise KeyError(key)
        if size < 0:
            self._fail(size, "remove")
        native.call.ss_result_drop()

    def contains_key(self, key: K) -> bool:
        """Return whether the key is present. O(log n).

        `key in m` is the same, except for a key that the type cannot hold: there it returns False, here it raises `IncompatibleType` or
        `BoundExceeded`, as everywhere else.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.contains_key(1), "one" in m
        (False, False)
        """
        data: Any = key
        if type(key) is not self._plain_key:
            encode = self._encode_key
            data = encode(key)
        status: int = contains(self._handle, data, len(data))
        if status == OK:
            return True
        return False if status > OK else self._fail(status, "contains_key")

    def entry(self, key: K) -> Entry[K, V]:
        """Return the key as an entry, to read and then change with one descent. Extension: not in the crate. O(log n).

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
        """Return the key and the value from a result that starts with the key's size."""
        if size < 0:
            return None if size == NO_VALUE else self._fail(size, operation)
        answer = result(size)
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
        """Decode an entry that was removed; insert it again if its bytes are not a valid key and value."""
        found = self._entry_bytes(size, operation)
        if found is None:
            return None
        key, value = found
        try:
            return self._key.codec.decode(key), self._value.codec.decode(value)
        except BaseException as error:
            native.call.ss_btree_set_bytes_bytes(self._handle, key, len(key), value, len(value))
            self._tell_apart(error)
            raise

    def first_key_value(self) -> tuple[K, V] | None:
        """Return the entry with the smallest key, or None. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({2: "b", 1: "a"})
        >>> m.first_key_value(), m.last_key_value()
        ((1, 'a'), (2, 'b'))
        """
        return self._entry(native.call.ss_btree_first(self._handle), "first_key_value")

    def last_key_value(self) -> tuple[K, V] | None:
        """Return the entry with the greatest key, or None. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> m.last_key_value()
        (3, 'c')
        """
        return self._entry(native.call.ss_btree_last(self._handle), "last_key_value")

    def pop_first(self) -> tuple[K, V] | None:
        """Remove the entry with the smallest key and return it, or None. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({2: "b", 1: "a"})
        >>> m.pop_first(), m.pop_last(), m.pop_last()
        ((1, 'a'), (2, 'b'), None)
        """
        return self._popped(native.call.ss_btree_pop_first(self._handle), "pop_first")

    def pop_last(self) -> tuple[K, V] | None:
        """Remove the entry with the greatest key and return it, or None. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> m.pop_last(), len(m)
        ((3, 'c'), 2)
        """
        return self._popped(native.call.ss_btree_pop_last(self._handle), "pop_last")

    def popitem(self) -> tuple[K, V]:
        """Remove the entry with the greatest key and return it; raise `KeyError` if the map is empty. O(log n).

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
        """Remove a key and return its value, or `default`; raise `KeyError` if there is neither. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> StableBTreeMap[u64, str](StableMemory()).pop(1, "?")
        '?'
        """
        # As in the crate, a removal rebalances nodes on its way down even if the key is absent; an error changes nothing.
        if default is _MISSING and not self.contains_key(key):
            raise KeyError(key)
        value = self._take(key, default)
        if value is _MISSING:  # another thread was faster
            raise KeyError(key)
        return value

    @overload
    def setdefault(self, key: K, default: None = None) -> V | None: ...
    @overload
    def setdefault(self, key: K, default: V) -> V: ...
    def setdefault(self, key: K, default: Any = None) -> Any:
        """Return the value of a key, which is first set to `default` if the key is absent. One operation. O(log n).

        Raises as `insert`, and only reads if the key is present.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.setdefault(1, "a"), m.setdefault(1, "b")
        ('a', 'a')
        """
        found = self.get(key, _MISSING)
        if found is not _MISSING:
            return found
        key_data, data = self._key.encode(key), self._value.encode(default)
        size = _get_or_insert(self._handle, key_data, len(key_data), data, len(data))
        if size >= 0:  # another thread was faster
            return self._made(self._value.decode, result(size))
        return default if size == NO_VALUE else self._fail(size, "setdefault")

    # ---- the whole map ----

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Set many values, as `dict.update` does: from a mapping, from pairs, from keywords if keys are `str`. O(n log m).

        One operation, as `insert_many`: all or nothing, with the same bytes as a loop of `insert`. Raises as that does, and
        whatever an iterator of pairs raises; nothing is changed then.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[str, u64](StableMemory())
        >>> m.update({"a": 1}, b=2)
        >>> m.update([("b", 3), ("c", 4)])
        >>> dict(m)
        {'a': 1, 'b': 3, 'c': 4}
        """
        pairs = [*_pairs(other), *more.items()]
        if pairs:
            self.insert_many([key for key, _ in pairs], [value for _, value in pairs])

    def __eq__(self, other: object) -> bool:
        """Return whether a mapping has the same entries. Of two maps, each is read at one moment. O(n)."""
        if not isinstance(other, Mapping):
            return NotImplemented
        theirs = other._entries(_ITEMS) if isinstance(other, StableBTreeMap) else other.items()
        return dict(self._entries(_ITEMS)) == dict(theirs)

    __hash__ = None  # type: ignore[assignment] # as a dict

    # ---- many keys ----

    def insert_many(self, keys: Any, values: Any = _MISSING) -> int:
        """Set many values in one call; return how many keys were new. All or nothing, with the same bytes as a loop of `insert`.

        Takes numpy arrays of types that numpy can hold, and any iterables. O(n log m), with the cache misses of several keys
        overlapped. A table as `to_arrow` makes it may stand alone, and columns of Arrow may stand for keys and values: nothing
        becomes a Python object if the types allow it. Raises `ValueError` if there are not as many values as keys, `BoundExceeded`,
        `IncompatibleType` for a dtype that would lose precision, and `OutOfMemory`; nothing is changed then.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, u64](StableMemory())
        >>> m.insert_many(np.arange(5), [10, 11, 12, 13, 14]), m.insert_many([4, 5], [0, 0])
        (5, 1)
        """
        if values is _MISSING:
            if not is_arrow_table(keys):
                raise TypeError("insert_many takes keys and values, or one table; nothing was changed")
            keys, values = self._arrow_taken(keys)
        (keys_column, count), (values_column, value_count) = self._keys_column.take(keys), self._values_column.take(values)
        _same_length(count, value_count)
        return self._checked(native.call.ss_btree_insert_many(self._handle, keys_column, values_column, count), "insert_many")

    def get_many(self, keys: npt.ArrayLike | Iterable[K]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]] | list[V | None]:
        """Return the values of many keys in one call. Numbers: arrays (values, found), 0 for an absent key; else a list with None.

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
        pieces: list[Any] = native.pieces(self._checked(size, "get_many"), count)
        there = found.tolist()
        if not self._value.codec.as_is:
            pieces = self._made_many(pieces, there)
        return pieces if all(there) else [piece if is_there else None for piece, is_there in zip(pieces, there, strict=True)]

    def _made_many(self, pieces: list[bytes], there: list[bool]) -> list[Any]:
        """Return the values of those encodings that are there, and anything for the others."""
        try:
            if all(there):
                return self._value.codec.decode_many(pieces)
            values = iter(self._value.codec.decode_many(list(compress(pieces, there))))
            return [next(values) if is_there else None for is_there in there]
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _shown(self) -> Iterator[Sequence[Any]]:
        return iter(self.items())

    def _arrow_insert(self, columns: list[Encoded]) -> int:
        return self.insert_many(*columns)

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
        """Return the entries of a range as two arrays: keys in order, and their values. O(n), at the speed of memory.

        Raises `IncompatibleType` if numpy cannot hold the keys or the values, `RuntimeError` if another thread
        changes the map meanwhile, and `CorruptMemory`, also if the whole map has not as many entries as its header says.

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
        """Create a packed map in `memory` from strictly ascending keys. Extension: not in the crate. O(n), at the speed of memory.

        The nodes are full, so the map is smaller and its bytes differ from those of insertions; nothing else differs.
        **Overwrites** whatever the memory held. Raises `ValueError` if keys do not ascend or the number of values differs, and
        `OutOfMemory`; the memory then holds an empty map.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str].from_sorted(StableMemory(), range(100), map(str, range(100)))
        >>> m[42], len(m)
        ('42', 100)
        """
        return cls._filled(lambda: cls.new(memory), keys, values)

    @classmethod
    def _filled(cls, new: Callable[[], Self], keys: npt.ArrayLike | Iterable[K], values: npt.ArrayLike | Iterable[V]) -> Self:
        """Fill what `new` makes from ascending keys."""
        (keys_column, count), (values_column, value_count) = cls._keys_column.take(keys), cls._values_column.take(values)
        _same_length(count, value_count)
        tree = new()
        native.check(native.call.ss_btree_build(tree._handle, keys_column, values_column, count), "from_sorted")
        return tree

    # ---- ranges ----

    def range(
        self, start: K | None = None, stop: K | None = None, *, inclusive: tuple[bool, bool] = (True, False), reverse: bool = False
    ) -> TreeIterator[tuple[K, V]]:
        """Iterate over entries with keys from `start` to `stop`, lazily and from both ends; None means no limit. O(log n) to begin.

        `inclusive` says which ends belong to the range; by default, as in Python's `range`, the first does and the last does not.

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
        """Iterate over keys from `start` to `stop`, like `range`; values are not read. O(log n) to begin.

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
        """Iterate over values of the keys from `start` to `stop`, like `range`; keys are not decoded. O(log n) to begin.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> list(m.values_range(2))
        ['b', 'c']
        """
        return self._ranged(VALUES, start, stop, inclusive, reverse=reverse)

    def iter_from_prev_key(self, bound: K) -> TreeIterator[tuple[K, V]]:
        """Iterate over entries from the one with the largest key below `bound` on; over all if there is none. O(log n) to begin.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 3: "c", 5: "e"})
        >>> list(m.iter_from_prev_key(4))
        [(3, 'c'), (5, 'e')]
        """
        cursor = self._cursor(native.call.SS_FROM_BEFORE, bound, native.call.SS_TO_LAST, None)
        return TreeIterator(self, cursor, KEYS | VALUES, reverse=False)

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys in order."""
        return iter(self._iterate(KEYS, reverse=False))

    def __reversed__(self) -> Iterator[K]:
        """Iterate over the keys in reverse order."""
        return iter(self._iterate(KEYS, reverse=True))

    def iter(self) -> TreeIterator[tuple[K, V]]:
        """Iterate over entries in the order of their keys, lazily and from both ends. O(log n) to begin.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> it = m.iter()
        >>> next(it), it.next_back()
        ((1, 'a'), (3, 'c'))
        """
        return self._iterate(KEYS | VALUES, reverse=False)

    def keys(self) -> MapKeys[K]:
        """Return a live view of the keys, in order. O(1), O(n) to walk.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> list(m.keys()), list(reversed(m.keys())), 2 in m.keys()
        ([1, 2, 3], [3, 2, 1], True)
        """
        return MapKeys(self)

    def values(self) -> MapValues[V]:
        """Return a live view of the values, in the order of their keys. O(1), O(n) to walk.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> list(m.values())
        ['a', 'b', 'c']
        """
        return MapValues(self)

    def items(self) -> MapItems[K, V]:
        """Return a live view of the entries, in the order of their keys. O(1), O(n) to walk.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a", 2: "b", 3: "c"})
        >>> list(m.items()), (2, "b") in m.items()
        ([(1, 'a'), (2, 'b'), (3, 'c')], True)
        """
        return MapItems(self)


def _pairs(other: Any) -> Iterable[tuple[Any, Any]]:
    """Return the argument of a `dict.update` as pairs."""
    if isinstance(other, MapItems):
        other = other._mapping
    if isinstance(other, StableBTreeMap):
        return other._entries(_ITEMS)
    if isinstance(other, dict):
        return other.items()
    if hasattr(other, "keys"):
        return [(key, other[key]) for key in other.keys()]  # noqa: SIM118 - as dict.update does, which asks for no __iter__
    return [_pair(number, item) for number, item in enumerate(other)]


def _pair(number: int, item: Any) -> tuple[Any, Any]:
    try:
        pair = tuple(item)
    except TypeError:
        raise TypeError(
            f"update: element #{number} must be a pair of key and value, got {type(item).__name__}; nothing was changed"
        ) from None
    if len(pair) != _PAIR:
        raise ValueError(f"update: element #{number} has length {len(pair)}; a pair of key and value has 2; nothing was changed")
    return pair


def _same_length(keys: int, values: int) -> None:
    if keys != values:
        raise ValueError(f"{keys} keys and {values} values: pass as many values as keys; nothing was changed")
