# SPDX-License-Identifier: Apache-2.0
"""What vec, heap and log share: a sequence of values by index, its iterators, and Python's sequence on top."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, NoReturn, TypeVar, overload

import numpy as np

from .. import _native as native
from .._native import NO_VALUE, result
from ..encodings.columns import Encoded
from ..errors import CorruptMemory, OutOfBounds
from ..storable.base import refuse_masked
from .in_arrow import InArrow, arrow, is_arrow_column, is_arrow_table
from .indices import LIMIT, LOWEST, bounded
from .iterators import BothEnds
from .structure import Structure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from ..storable import Codec
    from .number_forms import Argument

T = TypeVar("T")
R = TypeVar("R")

BATCH_BYTES: Final = 256 * 1024
_FIRST_BATCH: Final = 16
_LAST_BATCH: Final = 1024
_LARGEST_STEP: Final = 8
_COPY_BYTES: Final = 4 * BATCH_BYTES
_TRIES: Final = 3


class SequenceIterator(BothEnds[T]):
    """An iterator over a part of a vec, heap or log from both ends, with `next_back()` and `skip(n)`.

    It is lazy, holds no lock, and raises `RuntimeError` if the structure has changed since the iterator was created, also if a
    value was set. O(1) a step.
    """

    def __init__(self, row: SequenceStructure[T], start: int | None = 0, stop: int | None = None, *, reverse: bool = False) -> None:
        self._row = row
        self._changes = row._changes()
        self._start, self._stop, _ = slice(start, stop).indices(len(row))
        self.start = self._start
        """The index that it began with."""
        self._batch = _FIRST_BATCH
        self._most = row._batch_length()
        super().__init__(row._generation, None, reverse=reverse)

    def __repr__(self) -> str:
        backwards = ", backwards" if self._reverse else ""
        return f"<{type(self).__name__} over {self._row!r}{backwards}>"

    @property
    def is_outdated(self) -> bool:
        """Return whether the structure changed. O(1)."""
        return self._row._changes() != self._changes

    def _demand_unchanged(self) -> bool:
        if self.is_outdated:
            raise RuntimeError(f"{self._row!r} changed during iteration; {native.CHANGED_HINT}")
        return False

    def _fetch(self, *, back: bool) -> list[T] | None:
        count = min(self._batch, self._most, self._stop - self._start)
        if count <= 0:
            self.validate()
            return None
        first = self._stop - count if back else self._start
        values = self._row._decoded(first, first + count)
        self._validate()
        if values is None:
            raise RuntimeError(f"{self._row!r} became shorter; create a new iterator")
        self._batch = min(2 * self._batch, _LAST_BATCH)
        self._torn = True
        if back:
            self._stop -= count
            values.reverse()
        else:
            self._start += count
        return values

    def _pass_over(self, n: int, *, back: bool) -> int:
        count = min(n, self._stop - self._start)
        if back:
            self._stop -= count
        else:
            self._start += count
        return count


class SequenceStructure(InArrow, Structure, Generic[T]):
    """Values by index."""

    _value: ClassVar[Argument]
    _encode: Callable[[Any], bytes]
    _restore: Callable[[Any], Any] | None
    _plain: type[bytes] | None

    def _bind(self) -> None:
        """Copy attributes of the class to the object, where lookups find them faster."""
        value = self._value
        self._encode, self._plain, self._restore = value.encode, value.plain, value.restore
        self._direct, self._bias, self._limit = value.direct, value.bias, value.limit

    def __len__(self) -> int:
        """Return how many there are. O(1)."""
        raise NotImplementedError

    def clear(self) -> None:
        """Remove everything; the memory keeps its size. O(1).

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.push(7)
        >>> v.clear()
        >>> len(v)
        0
        """
        native.check(getattr(native.call, f"ss_{self._c_name}_clear")(self._handle), "clear")

    def iter(self) -> SequenceIterator[T]:
        """Iterate by index, lazily and from both ends. O(1) to begin.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.extend([1, 2, 3])
        >>> it = v.iter()
        >>> next(it), it.next_back(), list(it)
        (1, 3, [2])
        """
        return SequenceIterator(self)

    def __iter__(self) -> Iterator[T]:
        return iter(self.iter())

    def _changes(self) -> int:
        """Return a number that differs after the structure may have changed."""
        return native.number(getattr(native.call, f"ss_{self._c_name}_changes")(self._handle), "iteration")

    def _decoded(self, start: int, stop: int, length: int = native.ANY_LENGTH) -> list[T] | None:
        """Return the values from `start` to `stop`; None if there are fewer, or if the length is not `length`."""
        try:
            return self._read(start, stop, length)
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _sample(self, most: int) -> Iterable[Sequence[bytes]]:
        pieces = self._pieces(0, min(len(self), most))
        return zip(pieces or (), strict=True)

    def _pieces(self, start: int, stop: int, length: int = native.ANY_LENGTH) -> list[bytes] | None:
        """Return as `_decoded`, but encoded."""
        raise NotImplementedError

    def _read(self, start: int, stop: int, length: int) -> list[T] | None:
        """Return as `_decoded`, without the check for other types."""
        raise NotImplementedError

    def _batch_length(self) -> int:
        """Return how many values may be read at once."""
        raise NotImplementedError

    def _still_values(self, values: Any) -> Any:
        """Return the user's values; those of a sequence are read at one moment, so that it can be appended to itself."""
        if isinstance(values, SequenceStructure):
            return values._whole()
        return self._arrow_taken(values)[0] if is_arrow_table(values) else values

    def _whole(self) -> list[T]:
        """All values at one moment."""
        raise NotImplementedError

    def _batches(self) -> Iterator[list[T]]:
        size = max(1, self._batch_length() * _COPY_BYTES // BATCH_BYTES)
        values = iter(self.iter())
        while batch := list(islice(values, size)):
            yield batch

    # ---- Arrow ----

    def _arrow_columns(self) -> dict[str, Codec[Any]]:
        return {"value": self._value.codec}

    def _arrow_batches(self, start: Any, stop: Any, rows: int, nbytes: int) -> Iterator[list[Encoded]]:
        changes = self._changes()
        first, last, _ = slice(start, stop).indices(len(self))
        most = max(1, min(rows, self._batch_length() * nbytes // BATCH_BYTES))
        while first < last:
            end = min(first + most, last)
            found = self._encoded(first, end)
            if found is None or self._changes() != changes:
                raise RuntimeError(f"{self!r} changed while it was read; {native.CHANGED_HINT}")
            yield [found]
            first = end

    def _encoded(self, start: int, stop: int) -> Encoded | None:
        """Return the encodings from `start` to `stop` as a column; None if there are fewer."""
        pieces = self._pieces(start, stop)
        return None if pieces is None else Encoded.of(pieces)

    def __repr__(self) -> str:
        try:
            return f"<{type(self).__name__} of {len(self)} values>"
        except Exception as error:  # noqa: BLE001 - a repr must not raise
            return f"<{type(self).__name__}, {type(error).__name__}>"


class IndexedSequence(SequenceStructure[T], Sequence[T]):
    """Adds Python's `Sequence` methods."""

    _lookups: ClassVar[tuple[Any, Any]]
    """The functions of C for `get` and for items by Python's indices."""

    def _bind(self) -> None:
        super()._bind()
        self._get_bytes, self._item_bytes = self._lookups

    def get(self, index: int) -> T | None:
        """Return the value at an index, or None past the end. O(1).

        Raises `OutOfBounds` for a negative index, which is Python's own: `v[-1]` is the last value.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.push(7)
        >>> v.get(0), v.get(1)
        (7, None)
        """
        if type(index) is not int or not 0 <= index < LIMIT:
            index = bounded(index)
        look_up = self._get_bytes
        size: int = look_up(self._handle, index)
        if size < 0:
            return None if size == NO_VALUE else self._fail(size, "get")
        restore = self._restore
        data: Any = result(size)
        try:
            return restore(data) if restore else data  # type: ignore[no-any-return]
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: Any) -> Any:
        """Return the value at an index (a negative one counts from the end), or a list for a slice. O(1), O(k) for k values.

        Raises `OutOfBounds`, which is an `IndexError`.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.extend(range(5))
        >>> v[1], v[-1], v[1:4], v[::-2]
        (1, 4, [1, 2, 3], [4, 2, 0])
        """
        if type(index) is not int or not LOWEST <= index < LIMIT:
            return self._item(index)
        look_up = self._item_bytes
        size: int = look_up(self._handle, index)
        if size < 0:
            return self._past(index) if size == NO_VALUE else self._fail(size, "get")
        restore = self._restore
        try:
            return restore(result(size)) if restore else result(size)
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _item(self, index: Any) -> T | list[T]:
        """Return the values for an index that is not a plain one: a slice, or a numpy integer."""
        if isinstance(index, slice):
            return self._part(index)[1]
        number = operator.index(index)
        return self[number] if LOWEST <= number < LIMIT else self._past(number)

    def _past(self, index: int) -> NoReturn:
        length = len(self)
        ends = f"use {-length} to {length - 1}" if length else "it is empty"
        raise OutOfBounds(f"{type(self).__name__}: index {index} is out of range; {ends}")

    def _part(self, index: slice) -> tuple[range, list[T]]:
        """Return the values of a slice at one moment, and their indices."""
        while True:
            length = len(self)
            chosen = range(*index.indices(length))
            values = self._scattered(chosen) if abs(chosen.step) > _LARGEST_STEP else None
            if values is None:
                low, high = (min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1) if chosen else (0, 0)
                whole = self._decoded(low, high, length)
                values = None if whole is None else whole[:: chosen.step]
            if values is not None:  # else another thread made it longer or shorter: the indices are others now
                return chosen, values

    def _whole(self) -> list[T]:
        return self._part(slice(None))[1]

    def _scattered(self, chosen: range) -> list[T] | None:
        """Values that lie far apart, one by one; None if another thread changed something meanwhile."""
        before = self._changes()
        try:
            values = [self[place] for place in chosen]
        except OutOfBounds:
            return None
        return values if self._changes() == before else None

    def _search(self, part: slice, look: Callable[[Iterator[T], int], R]) -> R:
        """Return the result of `look`, which gets the values of a slice, read at one moment, and the index of the first.

        They are not copied, unless others change them all the time.
        """
        for _ in range(_TRIES):
            values = SequenceIterator(self, part.start, part.stop)
            try:
                return look(values, values.start)
            except RuntimeError:  # from the iterator, or from a comparison
                if not values.is_outdated:
                    raise
        chosen, copied = self._part(part)
        return look(iter(copied), chosen.start)

    def __reversed__(self) -> Iterator[T]:
        """Values from the last to the first."""
        return iter(SequenceIterator(self, reverse=True))

    def __contains__(self, value: object) -> bool:
        """Return whether a value is there at one moment. O(n)."""
        return self._search(slice(None), lambda values, _: any(found is value or found == value for found in values))

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Return the first index of a value, between `start` and `stop` as in a slice. O(n). Raises `ValueError` if it is not there.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.extend([5, 6, 5])
        >>> v.index(5, 1), v.count(5), 6 in v
        (2, 2, True)
        """

        def look(values: Iterator[T], first: int) -> int | None:
            return next((place for place, found in enumerate(values, first) if found is value or found == value), None)

        place = self._search(slice(start, stop), look)
        if place is None:
            raise ValueError(f"{type(self).__name__}: value {value!r} not found")
        return place

    def count(self, value: Any) -> int:
        """Return how often a value is there. O(n).

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.extend([5, 6, 5])
        >>> v.count(5)
        2
        """
        found: int = self._search(slice(None), lambda values, _: sum(item is value or item == value for item in values))
        return found


def encoded(codec: Codec[T], values: npt.ArrayLike | Iterable[T]) -> tuple[Any, int]:
    """Values as a column of encodings and their ends, and how many. O(n). Raises as the codec does."""
    if isinstance(values, np.ndarray):
        refuse_masked(values, codec.name)
    if isinstance(values, np.ndarray) and codec.dtype is not None:
        ends = np.arange(1, len(values) + 1, dtype=np.uint64) * np.uint64(codec.dtype.itemsize)
        return native.column(codec.encode_array(values), ends, 0, native=False, of=values), len(values)
    given: Any = arrow("this column").column_of(values, codec) if is_arrow_column(values) else values
    if isinstance(given, Encoded):
        return native.column(given.data, given.all_ends(), 0, native=False), given.count
    items: Any = values.tolist() if isinstance(values, np.ndarray) else values
    pieces = list(map(codec.encode, items))
    ends = np.cumsum(np.fromiter(map(len, pieces), np.uint64, len(pieces)), dtype=np.uint64)
    return native.column(b"".join(pieces), ends, 0, native=False), len(pieces)
