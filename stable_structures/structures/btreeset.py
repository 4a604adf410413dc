# SPDX-License-Identifier: Apache-2.0
"""StableBTreeSet: an ordered set that lives in a memory: a B-tree whose values are empty (docs/format.md#b-tree-set)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, MutableSet
from collections.abc import Set as AbstractSet
from functools import cmp_to_key
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, Self, TypeVar, cast

import numpy as np

from .. import _native as native
from .._native import NO_VALUE, result
from ..encodings.columns import Encoded
from ..errors import IncompatibleType
from ..storable import codec
from .in_arrow import is_arrow_table
from .number_forms import Argument, set_forms
from .short_forms import REFUSED
from .tree import COPY_BATCH, KEYS, OK, Tree, TreeIterator, contains

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from ..memory.memory import Memory
    from ..storable import Codec

K = TypeVar("K")
K_co = TypeVar("K_co", covariant=True)
T = TypeVar("T")
R = TypeVar("R")

_TRIES: Final = 3
_insert: Final = native.call.ss_btree_insert_bytes_bytes
_remove: Final = native.call.ss_btree_remove_bytes_bytes
_UNIT: Final = codec(None)
_NOTHING: Final = native.column(b"", None, 0, native=False)
_END: Final[Any] = object()


class _Ordered(Protocol[K_co]):
    """What two forms of a set share: one in a memory, and the user's values, sorted."""

    def __len__(self) -> int: ...
    def __contains__(self, key: Any, /) -> bool: ...
    def __iter__(self) -> Iterator[K_co]: ...
    def iter(self) -> Iterator[K_co]: ...


class StableBTreeSet(Tree, MutableSet[K]):
    """An ordered set in a memory: `StableBTreeSet[K](memory)` loads an existing set, or creates one.

    Elements are ordered as their type says; every operation on one element is O(log n). The bytes are those of the crate's
    `BTreeSet`. Operations have the crate's names, so `remove` returns whether the element was present; it is also a
    `MutableSet`. `|`, `&`, `-` and `^` return Python sets; `union`, `intersection`, `difference` and
    `symmetric_difference` are lazy and in order. `|=`, `&=`, `-=`, `^=`, `discard` and the named methods raise for a value that the type
    cannot hold, unlike those of a Python set; `in` and the other operators accept it: it is not there.

    Creating one raises `BadMagic` if the memory holds something else, `MemoryInUse` if another live structure uses it,
    `UnsupportedVersion`, `CorruptMemory`, `OutOfMemory`, and `IncompatibleType` if the existing elements have another type.

    >>> from stable_structures import StableBTreeSet, StableMemory, u64
    >>> seen = StableBTreeSet[u64](StableMemory())
    >>> seen.insert(7), seen.insert(3), seen.insert(7), list(seen)
    (True, True, False, [3, 7])
    >>> seen & {7, 8}
    {7}
    """

    _parameters: ClassVar[str] = "K"
    _hot = ("insert", "remove", "contains", "__contains__")

    @classmethod
    def _specialised(cls, codecs: tuple[Codec[Any], ...]) -> dict[str, Any]:
        key = Argument(codecs[0])
        return {**cls._of_types(key, Argument(_UNIT)), **cls._own_methods(set_forms(key))}

    @classmethod
    def _from_iterable(cls, values: Iterable[T]) -> set[T]:
        """Return a Python set as the result of an operator."""
        return set(values)

    # ---- one element ----

    def insert(self, key: K) -> bool:
        """Insert an element; return whether it is new. O(log n).

        Raises `BoundExceeded`, `IncompatibleType`, `OutOfMemory`; nothing is changed then.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert(1), s.insert(1)
        (True, False)
        """
        data: Any = key
        if type(key) is not self._plain_key:
            encode = self._encode_key
            data = encode(key)
        size = _insert(self._handle, data, len(data), b"", 0)
        if size < 0:
            return True if size == NO_VALUE else self._key.fail(size, "insert", key, self)
        result(size)
        return False

    def remove(self, key: K) -> bool:  # type: ignore[override]
        """Remove an element; return whether it was present, as in the crate (no error if it was not). O(log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.add(1)
        >>> s.remove(1), s.remove(1)
        (True, False)
        """
        data: Any = key
        if type(key) is not self._plain_key:
            encode = self._encode_key
            data = encode(key)
        size = _remove(self._handle, data, len(data))
        if size == NO_VALUE:
            return False
        if size < 0:
            self._key.fail(size, "remove", key, self)
        result(size)
        return True

    def contains(self, key: K) -> bool:
        """Return whether an element is present. O(log n). Unlike `key in s`, it raises `IncompatibleType` or `BoundExceeded`.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> StableBTreeSet[u64](StableMemory()).contains(1)
        False
        """
        data: Any = key
        if type(key) is not self._plain_key:
            encode = self._encode_key
            data = encode(key)
        status: int = contains(self._handle, data, len(data))
        if status == OK:
            return True
        return False if status > OK else self._fail(status, "contains")

    def add(self, key: K) -> None:
        """Insert an element. O(log n). Raises as `insert`.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.add(1)
        >>> list(s)
        [1]
        """
        self.insert(key)

    def discard(self, key: K) -> None:
        """Remove an element if it is present. O(log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.discard(1)
        """
        self.remove(key)

    def pop(self) -> K:
        """Remove the smallest element and return it; raise `KeyError` if the set is empty. O(log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.add(1)
        >>> s.pop()
        1
        """
        size = native.call.ss_btree_pop_first(self._handle)
        if size == NO_VALUE:
            raise KeyError("pop: the set is empty")
        return self._element(size, "pop")  # type: ignore[return-value]

    # ---- the ends ----

    def _element(self, size: int, operation: str) -> K | None:
        """Return the key from a result that starts with the key's size."""
        if size < 0:
            return None if size == NO_VALUE else self._fail(size, operation)
        key = result(size)[8:]
        try:
            return self._key.codec.decode(key)  # type: ignore[no-any-return]
        except BaseException as error:
            if operation.startswith("pop"):  # a removed element whose bytes are not a valid key is inserted again
                native.call.ss_btree_set_bytes_bytes(self._handle, key, len(key), b"", 0)
            self._tell_apart(error)
            raise

    def first(self) -> K | None:
        """Return the smallest element, or None. O(log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([3, 1, 2])
        3
        >>> s.first(), s.last()
        (1, 3)
        """
        return self._element(native.call.ss_btree_first(self._handle), "first")

    def last(self) -> K | None:
        """Return the greatest element, or None. O(log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> s.last()
        3
        """
        return self._element(native.call.ss_btree_last(self._handle), "last")

    def pop_first(self) -> K | None:
        """Remove the smallest element and return it, or None. O(log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([2, 1])
        2
        >>> s.pop_first(), s.pop_last(), s.pop_last()
        (1, 2, None)
        """
        return self._element(native.call.ss_btree_pop_first(self._handle), "pop_first")

    def pop_last(self) -> K | None:
        """Remove the greatest element and return it, or None. O(log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> s.pop_last(), list(s)
        (3, [1, 2])
        """
        return self._element(native.call.ss_btree_pop_last(self._handle), "pop_last")

    # ---- many elements ----

    def insert_many(self, keys: npt.ArrayLike | Iterable[K]) -> int:
        """Insert many elements in one call; return how many were new. All or nothing, with the same bytes as a loop of `insert`.

        Takes a numpy array of a type that numpy can hold, a table or column of Arrow, and any iterable. O(n log m). Raises `BoundExceeded`,
        `IncompatibleType`, `OutOfMemory`; nothing is changed then.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([5, 6, 5]), s.remove_many([5, 7]).tolist()
        (2, [True, False])
        """
        if isinstance(keys, StableBTreeSet):
            keys = _elements(keys)
        elif is_arrow_table(keys):
            keys = cast("Any", self._arrow_taken(keys)[0])
        column, count = self._keys_column.take(keys)
        return self._checked(native.call.ss_btree_insert_many(self._handle, column, _NOTHING, count), "insert_many")

    def _arrow_insert(self, columns: list[Encoded]) -> int:
        return self.insert_many(cast("Any", columns[0]))

    def to_numpy(self, start: K | None = None, stop: K | None = None, *, inclusive: tuple[bool, bool] = (True, False)) -> npt.NDArray[Any]:
        """Return the elements of a range in order, as a new array. O(n), at the speed of memory.

        Raises `IncompatibleType` if numpy cannot hold them, `RuntimeError` if another thread changes the set meanwhile, `CorruptMemory`
        as for a map.

        >>> from stable_structures import StableBTreeSet, StableMemory, i16
        >>> s = StableBTreeSet[i16](StableMemory())
        >>> s.insert_many([3, -1, 7])
        3
        >>> s.to_numpy(stop=7)
        array([-1,  3], dtype=int16)
        """
        return self._export(start, stop, inclusive, (self._keys_column,))[0]

    @classmethod
    def from_sorted(cls, memory: Memory, keys: npt.ArrayLike | Iterable[K]) -> Self:
        """Create a packed set in `memory` from strictly ascending elements. Extension: not in the crate. O(n), at memory speed.

        As `StableBTreeMap.from_sorted`. Raises `ValueError` if the elements do not ascend; the set is empty then.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64].from_sorted(StableMemory(), range(100))
        >>> 42 in s, len(s)
        (True, 100)
        """
        column, count = cls._keys_column.take(keys)
        tree = cls.new(memory)
        native.check(native.call.ss_btree_build(tree._handle, column, _NOTHING, count), "from_sorted")
        return tree

    def _batches(self) -> Iterator[list[K]]:
        keys = iter(self)
        while batch := list(islice(keys, COPY_BATCH)):
            yield batch

    def _absorb(self, batch: list[K]) -> None:
        self.insert_many(batch)

    # ---- ranges ----

    def range(
        self, start: K | None = None, stop: K | None = None, *, inclusive: tuple[bool, bool] = (True, False), reverse: bool = False
    ) -> TreeIterator[K]:
        """Iterate over elements from `start` to `stop`, lazily and from both ends; None means no limit. O(log n) to begin.

        `inclusive` says which ends belong to the range; by default, as in Python's `range`, the first does and the last does not.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> list(s.range(2)), list(s.range(1, 3, inclusive=(False, True), reverse=True))
        ([2, 3], [3, 2])
        """
        return self._ranged(KEYS, start, stop, inclusive, reverse=reverse)

    def iter(self) -> TreeIterator[K]:
        """Iterate over the elements in order, lazily and from both ends. O(log n) to begin.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> it = s.iter()
        >>> next(it), it.next_back(), list(it)
        (1, 3, [2])
        """
        return self._iterate(KEYS, reverse=False)

    def __iter__(self) -> Iterator[K]:
        """Iterate over the elements in order."""
        return iter(self.iter())

    def __reversed__(self) -> Iterator[K]:
        """Iterate over the elements in reverse order."""
        return iter(self._iterate(KEYS, reverse=True))

    # ---- two sets ----

    def _ordered(self, other: Iterable[K]) -> StableBTreeSet[K] | _SortedValues[K]:
        """Return the other set in the order of this one."""
        if isinstance(other, StableBTreeSet) and other._key.codec == self._key.codec:
            return other
        return _SortedValues(self._key.codec, other)

    def union(self, other: Iterable[K]) -> Iterator[K]:
        """Iterate over the elements in either set, lazily and in order. O(n + m).

        Like `intersection`, `difference` and `symmetric_difference` it takes another `StableBTreeSet` or any iterable of
        elements, and raises `RuntimeError` if a set changes before the end.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> a, b = (StableBTreeSet[u64](StableMemory()) for _ in range(2))
        >>> a.insert_many([1, 2, 3]), b.insert_many([2, 3, 4])
        (3, 3)
        >>> list(a.union(b)), list(a.intersection(b)), list(a.difference(b)), list(a.symmetric_difference(b))
        ([1, 2, 3, 4], [2, 3], [1], [1, 4])
        """
        return (key for key, _ in self._merge(other))

    def symmetric_difference(self, other: Iterable[K]) -> Iterator[K]:
        """Iterate over the elements in exactly one of the two sets, lazily and in order. O(n + m). See `union`.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> list(s.symmetric_difference({3, 4}))
        [1, 2, 4]
        """
        return (key for key, common in self._merge(other) if not common)

    def intersection(self, other: Iterable[K]) -> Iterator[K]:
        """Iterate over the elements in both sets, lazily and in order. O(n log m), n being the smaller size. See `union`.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> list(s.intersection({3, 4}))
        [3]
        """
        ordered = self._ordered(other)
        small, large = (self, ordered) if len(self) <= len(ordered) else (ordered, self)
        return _chosen(small, large, wanted=True)

    def difference(self, other: Iterable[K]) -> Iterator[K]:
        """Iterate over the elements in this set but not in the other, lazily and in order. O(n log m). See `union`.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> list(s.difference({3, 4}))
        [1, 2]
        """
        return _chosen(self, self._ordered(other), wanted=False)

    def _merge(self, other: Iterable[K]) -> Iterator[tuple[K, bool]]:
        """Iterate over the elements in either set, each with whether it is in both."""
        return _merged(iter(self.iter()), iter(self._ordered(other)), _total_order(self._key.codec))

    def is_subset(self, other: Iterable[K]) -> bool:
        """Return whether every element of this set is in the other, each set read at one moment. O(n log m).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2])
        2
        >>> s.is_subset({1, 2, 3}), s.is_superset([1]), s.is_disjoint([3])
        (True, True, True)
        """
        return self._with(self._ordered(other), _is_within)

    def is_superset(self, other: Iterable[K]) -> bool:
        """Return whether every element of the other set is in this one, each set read at one moment. O(m log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> s.is_superset({3, 4})
        False
        """
        return self._with(self._ordered(other), lambda mine, theirs: _is_within(theirs, mine))

    def is_disjoint(self, other: Iterable[K]) -> bool:
        """Return whether the sets have no common element, each set read at one moment. O(n log m), n being the smaller size.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> s.is_disjoint({3, 4})
        False
        """
        return self._with(self._ordered(other), _are_disjoint)

    def _found(self, values: Iterable[object]) -> list[bool]:
        """Return which values are in the set at one moment, as `in` for each of them. O(n log m)."""
        answers = [self._can_hold(value) for value in values]
        column, count = self._keys_column.take([value for value, possible in zip(values, answers, strict=True) if possible])
        found = np.zeros(count, np.bool_)
        self._checked(native.call.ss_btree_get_many_bytes(self._handle, column, count, native.flags(found)), "in")
        native.call.ss_result_drop()
        there = iter(found.tolist())
        return [possible and next(there) for possible in answers]

    def _can_hold(self, value: Any) -> bool:
        try:
            self._key.encode(value)
        except REFUSED:
            return False
        return True

    def _steady(self, look: Callable[[_Ordered[K]], R]) -> R:
        """Return the result of `look`, whose operations see this set at one moment; if others keep changing it, they see a copy."""
        for _ in range(_TRIES):
            before = self._changes()
            found = look(self)
            if self._changes() == before:
                return found
        return look(_Copy(self._key.codec, self._entries(KEYS)))

    def _with(self, other: Any, look: Callable[[Any, Any], R]) -> R:
        """Return the result of `look` on this set and another, each read at one moment."""
        if isinstance(other, StableBTreeSet):
            return self._steady(lambda mine: other._steady(lambda theirs: look(mine, theirs)))
        return self._steady(lambda mine: look(mine, other))

    # The operators inherited from `Set` would look at the sets element by element.

    def __le__(self, other: object) -> bool:
        return self._with(other, _is_within) if isinstance(other, AbstractSet) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._with(other, _is_less) if isinstance(other, AbstractSet) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self._with(other, lambda mine, theirs: _is_within(theirs, mine)) if isinstance(other, AbstractSet) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self._with(other, lambda mine, theirs: _is_less(theirs, mine)) if isinstance(other, AbstractSet) else NotImplemented

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        return self._with(other, lambda mine, theirs: len(mine) == len(theirs) and _is_within(mine, theirs))

    __hash__ = None  # type: ignore[assignment] # as a set

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Return as `is_disjoint`, for elements of any type. O(m log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.add(1)
        >>> s.isdisjoint({"one"}), s.isdisjoint({1})
        (True, False)
        """
        return not any(_held(self, _elements(other)))

    def __and__(self, other: Iterable[Any]) -> set[K]:
        values = _elements(other)
        return {value for value, held in zip(values, self._found(values), strict=True) if held}

    __rand__ = __and__

    def __or__(self, other: Iterable[T]) -> set[K | T]:
        return {*self._entries(KEYS), *_elements(other)}

    __ror__ = __or__

    def __sub__(self, other: Iterable[Any]) -> set[K]:
        mine = self._entries(KEYS)
        held = _held(other if isinstance(other, AbstractSet) else set(other), mine)
        return {value for value, is_held in zip(mine, held, strict=True) if not is_held}

    def __rsub__(self, other: Iterable[T]) -> set[T]:
        values = _elements(other)
        return {value for value, held in zip(values, self._found(values), strict=True) if not held}

    def __xor__(self, other: Iterable[T]) -> set[K | T]:
        return {*self._entries(KEYS)} ^ {*_elements(other)}

    __rxor__ = __xor__

    def update(self, *others: Iterable[K]) -> None:
        """Insert the elements of all others, as `set.update`: one operation, as `insert_many`. O(n log m).

        Raises as `insert_many`, and whatever an iterator raises; nothing is changed then.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.update([3, 1], range(2))
        >>> list(s)
        [0, 1, 3]
        """
        self.insert_many([key for other in others for key in _elements(other)])

    def __ior__(self, other: Iterable[K]) -> Self:  # type: ignore[override, misc]
        self.insert_many(other)
        return self

    def __isub__(self, other: Iterable[Any]) -> Self:
        if other is self:
            self.clear()
        else:
            self.remove_many(_elements(other))
        return self

    def __iand__(self, other: Iterable[Any]) -> Self:
        column, count = self._keys_column.take(_elements(self._ordered(other)))
        self._checked(native.call.ss_btree_retain_many(self._handle, column, count), "&=")
        return self

    def __ixor__(self, other: Iterable[K]) -> Self:  # type: ignore[override, misc]
        if other is self:
            self.clear()
            return self
        column, count = self._keys_column.take(_elements(self._ordered(other)))
        found = np.zeros(count, np.bool_)
        self._checked(native.call.ss_btree_toggle_many(self._handle, column, _NOTHING, count, native.flags(found)), "^=")
        return self


def _elements(values: Iterable[T]) -> list[T]:
    """Return the elements of a stable set at one moment, or of any iterable."""
    if isinstance(values, StableBTreeSet):
        return values._entries(KEYS)
    if isinstance(values, np.ndarray) and values.dtype.kind == "V" and values.dtype.fields is None:
        return values.tolist()  # type: ignore[no-any-return] # bytes, which the items of such an array are not
    return list(values)


def _held(by: Any, values: list[Any]) -> list[bool]:
    """Return which values are in a set; a stable set is read at one moment."""
    return by._found(values) if isinstance(by, StableBTreeSet) else [value in by for value in values]


def _is_within(small: Any, large: Any) -> bool:
    return len(small) <= len(large) and all(_held(large, _elements(small)))


def _is_less(small: Any, large: Any) -> bool:
    return len(small) < len(large) and _is_within(small, large)


def _are_disjoint(one: Any, other: Any) -> bool:
    small, large = (one, other) if len(one) <= len(other) else (other, one)
    return not any(_held(large, _elements(small)))


class _SortedValues(Generic[K]):
    """The user's values as a set, in the order of a type."""

    def __init__(self, codec: Codec[K], values: Iterable[K]) -> None:
        compare = _total_order(codec)
        by_order = cmp_to_key(compare)
        ordered = sorted((codec.decode(codec.encode(value)) for value in _elements(values)), key=by_order)
        pairs = pairwise(ordered)
        self._values = ordered[:1] + [value for before, value in pairs if compare(before, value) != 0]
        self._key = by_order
        self._compare = compare

    def __len__(self) -> int:
        return len(self._values)

    def iter(self) -> Iterator[K]:
        return iter(self._values)

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def __contains__(self, value: K) -> bool:
        place = bisect_left(self._values, self._key(value), key=self._key)
        return place < len(self._values) and self._compare(self._values[place], value) == 0


class _Copy(_SortedValues[K]):
    """The elements of a set at one moment, in its order; like the set, `in` accepts values of any type."""

    def __init__(self, codec: Codec[K], elements: list[K]) -> None:
        super().__init__(codec, ())
        self._values = elements
        self._codec = codec

    def __contains__(self, value: Any) -> bool:
        try:
            return super().__contains__(self._codec.decode(self._codec.encode(value)))
        except REFUSED:
            return False


def _chosen(keys: _Ordered[K], other: _Ordered[K], *, wanted: bool) -> Iterator[K]:
    """Iterate over the keys that are in the other set, or over those that are not."""
    watched = other.iter()
    return _choose(iter(keys), other, watched.validate if isinstance(watched, TreeIterator) else None, wanted=wanted)


def _choose(keys: Iterator[K], other: _Ordered[K], validate: Callable[[], None] | None, *, wanted: bool) -> Iterator[K]:
    for key in keys:
        if validate is not None:
            validate()
        if (key in other) is wanted:
            yield key


def _total_order(codec: Codec[K]) -> Callable[[K, K], int]:
    """Return a function that compares two elements, and raises `IncompatibleType` if they have no order, as the core does."""

    def compare(a: K, b: K) -> int:
        found = codec.compare(a, b)
        if found is None:
            raise IncompatibleType(f"{a!r} and {b!r} of {codec.name} have no order; use a type with a total one")
        return found

    return compare


def _merged(a: Iterator[K], b: Iterator[K], compare: Callable[[K, K], int]) -> Iterator[tuple[K, bool]]:
    """Iterate over each key of two ordered iterators once, with whether both have it."""
    x, y = next(a, _END), next(b, _END)
    while x is not _END or y is not _END:
        order = 1 if x is _END else -1 if y is _END else compare(x, y)
        yield (y if order > 0 else x), order == 0
        if order <= 0:
            x = next(a, _END)
        if order >= 0:
            y = next(b, _END)
