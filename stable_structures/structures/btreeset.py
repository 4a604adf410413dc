# SPDX-License-Identifier: Apache-2.0
"""StableBTreeSet: an ordered set that lives in a memory: a B-tree whose values are nothing (docs/format.md#b-tree-set)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, MutableSet
from functools import cmp_to_key
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, Self, TypeVar

from .. import _native as native
from ..errors import CorruptMemory, IncompatibleType
from ..storable import codec
from .arguments import Part, method
from .tree import COPY_BATCH, KEYS, Tree, TreeIterator, finder

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from ..memory.memory import Memory
    from ..storable import Codec

K = TypeVar("K")
K_co = TypeVar("K_co", covariant=True)
T = TypeVar("T")

_UNIT: Final = codec(None)
_NOTHING: Final = native.column(b"", None, 0, native=False)
_END: Final[Any] = object()


class _Ordered(Protocol[K_co]):
    """Two forms of a set: in a memory, and as sorted values of the user."""

    def __len__(self) -> int: ...
    def __contains__(self, key: Any, /) -> bool: ...
    def __iter__(self) -> Iterator[K_co]: ...
    def iter(self) -> Iterator[K_co]: ...


class StableBTreeSet(Tree, MutableSet[K]):
    """An ordered set in a memory: `StableBTreeSet[K](memory)` loads the one that is there, or makes a new one.

    Elements are kept in the order of their type; every operation on one is O(log n). The bytes are those of the crate's
    `BTreeSet`. Operations have the crate's names, so `remove` says whether the element was there; on
    top it is a `MutableSet`. `|`, `&`, `-` and `^` give Python sets; `union`, `intersection`, `difference` and
    `symmetric_difference` are lazy and in order.

    Making one raises `BadMagic` where the memory holds something else, `MemoryInUse` where another live structure has it,
    `UnsupportedVersion`, `CorruptMemory`, `OutOfMemory`, and `IncompatibleType` where the elements that are there are of
    another type.

    >>> from stable_structures import StableBTreeSet, StableMemory, u64
    >>> seen = StableBTreeSet[u64](StableMemory())
    >>> seen.insert(7), seen.insert(3), seen.insert(7), list(seen)
    (True, True, False, [3, 7])
    >>> seen & {7, 8}
    {7}
    """

    _parameters: ClassVar[str] = "K"

    @classmethod
    def _lanes(cls, codecs: tuple[Codec[Any], ...]) -> dict[str, Any]:
        return cls._tree_lanes(codecs[0], _UNIT, _METHODS)

    @classmethod
    def _from_iterable(cls, values: Iterable[T]) -> set[T]:
        """What the operators give."""
        return set(values)

    # ---- one element ----

    def insert(self, key: K) -> bool:
        """Puts an element in; whether it is new. O(log n).

        Raises `BoundExceeded`, `IncompatibleType`, `OutOfMemory`; nothing is changed then.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert(1), s.insert(1)
        (True, False)
        """
        self._untyped(key)

    def remove(self, key: K) -> bool:  # type: ignore[override]
        """Takes an element out; whether it was there. O(log n). The crate's: it raises nothing where there was none.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.add(1)
        >>> s.remove(1), s.remove(1)
        (True, False)
        """
        self._untyped(key)

    def contains(self, key: K) -> bool:
        """Whether an element is there. O(log n). As `key in s`, but raises `IncompatibleType` or `BoundExceeded` for what cannot be.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> StableBTreeSet[u64](StableMemory()).contains(1)
        False
        """
        self._untyped(key)

    def add(self, key: K) -> None:
        """Puts an element in. O(log n). Raises as `insert`.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.add(1)
        >>> list(s)
        [1]
        """
        self.insert(key)

    def discard(self, key: K) -> None:
        """Takes an element out if it is there. O(log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.discard(1)
        """
        self.remove(key)

    def pop(self) -> K:
        """Takes the least element out and gives it; raises `KeyError` where there is none. O(log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.add(1)
        >>> s.pop()
        1
        """
        size = native.call.ss_btree_pop_first(self._handle)
        if size == native.NO_VALUE:
            raise KeyError("pop: the set is empty")
        return self._element(size, "pop")  # type: ignore[return-value]

    # ---- the ends ----

    def _element(self, size: int, operation: str) -> K | None:
        """An answer of a key's size and the key."""
        if size < 0:
            if size != native.NO_VALUE:
                self._checked(size, operation)
            return None
        key = native.result(size)[8:]
        try:
            return self._key.codec.decode(key)  # type: ignore[no-any-return]
        except BaseException as error:
            if operation.startswith("pop"):  # what was taken out and is no key of the type is put back
                native.call.ss_btree_put_bb(self._handle, key, len(key), b"", 0)
            if isinstance(error, CorruptMemory):
                self._tell_apart(error)
                raise
            raise

    def first(self) -> K | None:
        """The least element, or None. O(log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([3, 1, 2])
        3
        >>> s.first(), s.last()
        (1, 3)
        """
        return self._element(native.call.ss_btree_first(self._handle), "first")

    def last(self) -> K | None:
        """The greatest element, or None. O(log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> s.last()
        3
        """
        return self._element(native.call.ss_btree_last(self._handle), "last")

    def pop_first(self) -> K | None:
        """Takes the least element out and gives it, or None. O(log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([2, 1])
        2
        >>> s.pop_first(), s.pop_last(), s.pop_last()
        (1, 2, None)
        """
        return self._element(native.call.ss_btree_pop_first(self._handle), "pop_first")

    def pop_last(self) -> K | None:
        """Takes the greatest element out and gives it, or None. O(log n).

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
        """Puts many elements in with one call; gives how many were new. All or nothing, with the bytes of the loop.

        Takes a numpy array of what numpy can hold, and any iterable. O(n log m). Raises `BoundExceeded`,
        `IncompatibleType`, `OutOfMemory`; nothing is changed then.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([5, 6, 5]), s.remove_many([5, 7]).tolist()
        (2, [True, False])
        """
        column, count = self._keys_column.take(keys)
        return self._checked(native.call.ss_btree_insert_many(self._handle, column, _NOTHING, count), "insert_many")

    def to_numpy(self, start: K | None = None, stop: K | None = None, *, inclusive: tuple[bool, bool] = (True, False)) -> npt.NDArray[Any]:
        """The elements of a range in order, as a new array. O(n), at the speed of memory.

        Raises `IncompatibleType` where numpy cannot hold them, `RuntimeError` where another thread changes the set meanwhile.

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
        """A new set in `memory`, packed from strictly ascending elements. Ours, not the crate's. O(n), at the speed of memory.

        As `StableBTreeMap.from_sorted`. Raises `ValueError` where the elements do not ascend; the set is empty then.

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
        """Elements from `start` to `stop`, lazily and from both ends; None is no end. O(log n) to begin.

        `inclusive` says which ends belong to the range; as with Python's `range`, the first does and the last does not.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> list(s.range(2)), list(s.range(1, 3, inclusive=(False, True), reverse=True))
        ([2, 3], [3, 2])
        """
        return self._ranged(KEYS, start, stop, inclusive, reverse=reverse)

    def iter(self) -> TreeIterator[K]:
        """Elements in order, lazily and from both ends. O(log n) to begin.

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
        """Elements in order."""
        return iter(self.iter())

    def __reversed__(self) -> Iterator[K]:
        """Elements in the opposite order."""
        return iter(self._iterate(KEYS, reverse=True))

    # ---- two sets ----

    def _ordered(self, other: Iterable[K]) -> StableBTreeSet[K] | _SortedValues[K]:
        """The other set in this one's order."""
        if isinstance(other, StableBTreeSet) and other._key.codec == self._key.codec:
            return other
        return _SortedValues(self._key.codec, other)

    def union(self, other: Iterable[K]) -> Iterator[K]:
        """What is in either set, lazily and in order. O(n + m).

        Like `intersection`, `difference` and `symmetric_difference` it takes another `StableBTreeSet` or any iterable of
        elements, and raises `RuntimeError` where a set changes before the end.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> a, b = (StableBTreeSet[u64](StableMemory()) for _ in range(2))
        >>> a.insert_many([1, 2, 3]), b.insert_many([2, 3, 4])
        (3, 3)
        >>> list(a.union(b)), list(a.intersection(b)), list(a.difference(b)), list(a.symmetric_difference(b))
        ([1, 2, 3, 4], [2, 3], [1], [1, 4])
        """
        return (key for key, _ in self._merge(other))

    def symmetric_difference(self, other: Iterable[K]) -> Iterator[K]:
        """What is in one of the two sets, not in both, lazily and in order. O(n + m). See `union`.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> list(s.symmetric_difference({3, 4}))
        [1, 2, 4]
        """
        return (key for key, common in self._merge(other) if not common)

    def intersection(self, other: Iterable[K]) -> Iterator[K]:
        """What is in both sets, lazily and in order. O(n log m), where n is the smaller one. See `union`.

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
        """What is in this set and not in the other, lazily and in order. O(n log m). See `union`.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> list(s.difference({3, 4}))
        [1, 2]
        """
        return _chosen(self, self._ordered(other), wanted=False)

    def _merge(self, other: Iterable[K]) -> Iterator[tuple[K, bool]]:
        """What is in either set, and whether it is in both."""
        return _merged(iter(self.iter()), iter(self._ordered(other)), _total_order(self._key.codec))

    def is_subset(self, other: Iterable[K]) -> bool:
        """Whether everything in this set is in the other. O(n log m).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2])
        2
        >>> s.is_subset({1, 2, 3}), s.is_superset([1]), s.is_disjoint([3])
        (True, True, True)
        """
        ordered = self._ordered(other)
        return len(self) <= len(ordered) and all(key in ordered for key in self)

    def is_superset(self, other: Iterable[K]) -> bool:
        """Whether everything in the other set is in this one. O(m log n).

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> s.is_superset({3, 4})
        False
        """
        ordered = self._ordered(other)
        return len(ordered) <= len(self) and all(key in self for key in ordered)

    def is_disjoint(self, other: Iterable[K]) -> bool:
        """Whether the sets have nothing in common. O(n log m), where n is the smaller one.

        >>> from stable_structures import StableBTreeSet, StableMemory, u64
        >>> s = StableBTreeSet[u64](StableMemory())
        >>> s.insert_many([1, 2, 3])
        3
        >>> s.is_disjoint({3, 4})
        False
        """
        return next(self.intersection(other), _END) is _END

    def __ior__(self, other: Iterable[K]) -> Self:  # type: ignore[override, misc]
        self.insert_many(other)
        return self

    def __isub__(self, other: Iterable[Any]) -> Self:
        self.remove_many(list(other))
        return self

    def __iand__(self, other: Iterable[Any]) -> Self:
        self.remove_many(list(self.difference(other)))
        return self

    def __ixor__(self, other: Iterable[K]) -> Self:  # type: ignore[override, misc]
        ordered = self._ordered(other)
        new, common = list(_chosen(ordered, self, wanted=False)), list(_chosen(ordered, self, wanted=True))
        self.insert_many(new)  # first, since this can fail
        self.remove_many(common)
        return self


class _SortedValues(Generic[K]):
    """Values of the user as a set in the order of a type."""

    def __init__(self, codec: Codec[K], values: Iterable[K]) -> None:
        compare = _total_order(codec)
        by_order = cmp_to_key(compare)
        ordered = sorted((codec.decode(codec.encode(value)) for value in values), key=by_order)
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


def _chosen(keys: _Ordered[K], other: _Ordered[K], *, wanted: bool) -> Iterator[K]:
    """The keys that are in the other set, or those that are not."""
    watched = other.iter()
    return _choose(iter(keys), other, watched.validate if isinstance(watched, TreeIterator) else None, wanted=wanted)


def _choose(keys: Iterator[K], other: _Ordered[K], validate: Callable[[], None] | None, *, wanted: bool) -> Iterator[K]:
    for key in keys:
        if validate is not None:
            validate()
        if (key in other) is wanted:
            yield key


def _total_order(codec: Codec[K]) -> Callable[[K, K], int]:
    """How two elements compare. It raises `IncompatibleType` where they do not, as the core does."""

    def compare(a: K, b: K) -> int:
        found = codec.compare(a, b)
        if found is None:
            raise IncompatibleType(f"{a!r} and {b!r} of {codec.name} have no order; use a type with a total one")
        return found

    return compare


def _merged(a: Iterator[K], b: Iterator[K], compare: Callable[[K, K], int]) -> Iterator[tuple[K, bool]]:
    """Each key of two ordered iterators once, and whether both have it."""
    x, y = next(a, _END), next(b, _END)
    while x is not _END or y is not _END:
        order = 1 if x is _END else -1 if y is _END else compare(x, y)
        yield (y if order > 0 else x), order == 0
        if order <= 0:
            x = next(a, _END)
        if order >= 0:
            y = next(b, _END)


def _insert(key: Part, _value: Part) -> Any:
    source = """
    def insert(self, key):
        answer = call(self._handle, {args}, b"", 0)
        if answer == NO_VALUE: return True
        return failed(answer, "insert", key) if answer < 0 else False
    """
    return method(source, [key], f"ss_btree_insert_{key.letter}b")


def _remove(key: Part, _value: Part) -> Any:
    source = """
    def remove(self, key):
        answer = call(self._handle, {args})
        if answer == NO_VALUE: return False
        return failed(answer, "remove", key) if answer < 0 else True
    """
    return method(source, [key], f"ss_btree_remove_{key.letter}b")


_METHODS: Final[dict[str, Callable[[Part, Part], Any]]] = {"contains": finder("contains"), "insert": _insert, "remove": _remove}
