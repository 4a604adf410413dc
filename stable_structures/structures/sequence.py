# SPDX-License-Identifier: Apache-2.0
"""What vec, heap and log share: a row of values by index, its iterators, and Python's sequence on top."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from itertools import islice
from textwrap import indent
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, NoReturn, TypeVar, overload

import numpy as np

from .. import _native as native
from ..errors import CorruptMemory, OutOfBounds
from ..storable.base import refuse_masked
from .arguments import Part, method
from .iterators import BothEnds
from .structure import Structure

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from ..storable import Codec

T = TypeVar("T")

LIMIT: Final = 2**63
"""An index that is past every end, and still a number for the core."""
BATCH_BYTES: Final = 256 * 1024
_FIRST_BATCH: Final = 16
_LAST_BATCH: Final = 1024
_LARGEST_STEP: Final = 8
_COPY_BYTES: Final = 4 * BATCH_BYTES


class RowIterator(BothEnds[T]):
    """What is left of a part of a vec, heap or log, from both ends: an iterator with `next_back()` and `skip(n)`.

    It is lazy, holds no lock, and raises `RuntimeError` once the structure has changed since it was made. O(1) a step.
    """

    def __init__(self, row: Row[T], start: int, stop: int, *, reverse: bool) -> None:
        self._row = row
        self._start = start
        self._stop = stop
        self._batch = _FIRST_BATCH
        self._most = row._batch_length()
        self._changes = row._changes()
        super().__init__(row._generation, None, reverse=reverse)

    def _demand_unchanged(self) -> None:
        if self._row._changes() != self._changes:
            raise RuntimeError(f"{self._row!r} changed during iteration; make a new iterator, or collect what to change first")

    def _fetch(self, *, back: bool) -> bool:
        count = min(self._batch, self._most, self._stop - self._start)
        if count <= 0:
            self.validate()
            return False
        first = self._stop - count if back else self._start
        values = self._row._decoded(first, first + count)
        self._demand_unchanged()
        if values is None:
            raise RuntimeError(f"{self._row!r} is shorter than it was; make a new iterator")
        self._batch = min(2 * self._batch, _LAST_BATCH)
        self._torn = True
        if back:
            self._stop = first
            values.reverse()
        else:
            self._start += count
        self._ends[back].extend(values)
        self._torn = False
        return True

    def _pass_over(self, n: int) -> int:
        count = min(n, self._stop - self._start)
        if self._reverse:
            self._stop -= count
        else:
            self._start += count
        return count


class Row(Structure, Generic[T]):
    """Values by index."""

    _value: ClassVar[Part]

    @classmethod
    def _row_lanes(cls, value: Part) -> dict[str, Any]:
        made = {"__len__": method(_LEN, [], f"ss_{cls._c_name}_length")}
        return {"_value": value, **cls._documented(made)}

    def __len__(self) -> int:  # noqa: PLE0303 - it raises
        """How many there are. O(1)."""
        self._untyped()

    def clear(self) -> None:
        """Removes everything; the memory keeps its size. O(1).

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.push(7)
        >>> v.clear()
        >>> len(v)
        0
        """
        native.check(getattr(native.call, f"ss_{self._c_name}_clear")(self._handle), "clear")

    def iter(self) -> RowIterator[T]:
        """Iterates by index, lazily and from both ends. O(1) to begin.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.extend([1, 2, 3])
        >>> it = v.iter()
        >>> next(it), it.next_back(), list(it)
        (1, 3, [2])
        """
        return RowIterator(self, 0, len(self), reverse=False)

    def __iter__(self) -> Iterator[T]:
        return iter(self.iter())

    def _changes(self) -> int:
        """A number that differs after the structure may have changed."""
        return native.number(getattr(native.call, f"ss_{self._c_name}_changes")(self._handle), "iteration")

    def _decoded(self, start: int, stop: int) -> list[T] | None:
        """The values from `start` to `stop`; None where there are not so many."""
        try:
            return self._read(start, stop)
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _sample(self, most: int) -> Iterable[Sequence[bytes]]:
        pieces = self._pieces(0, min(len(self), most))
        return zip(pieces or (), strict=True)

    def _pieces(self, start: int, stop: int) -> list[bytes] | None:
        """The same, encoded."""
        raise NotImplementedError

    def _read(self, start: int, stop: int) -> list[T] | None:
        """The values from `start` to `stop`; None where there are not so many."""
        raise NotImplementedError

    def _batch_length(self) -> int:
        """How many values may be read at once."""
        raise NotImplementedError

    def _batches(self) -> Iterator[list[T]]:
        size = max(1, self._batch_length() * _COPY_BYTES // BATCH_BYTES)
        values = iter(self.iter())
        while batch := list(islice(values, size)):
            yield batch

    def __repr__(self) -> str:
        try:
            return f"<{type(self).__name__} of {len(self)} values>"
        except Exception as error:  # noqa: BLE001 - a repr must not raise
            return f"<{type(self).__name__}, {type(error).__name__}>"


class RowSequence(Row[T], Sequence[T]):
    """A row as one of Python's sequences."""

    @classmethod
    def _sequence_lanes(cls, value: Part) -> dict[str, Any]:
        templates = {"get": (_GET, "return None"), "__getitem__": (_GETITEM, "self._past(index)")}
        names = {**value.names, "LIMIT": LIMIT, "bounded": bounded}
        made = {}
        for name, (template, absent) in templates.items():
            source = template + indent(value.answer("get", absent), "    ")
            made[name] = method(source, [], f"ss_{cls._c_name}_get{value.suffix}", **names)
        return {**cls._row_lanes(value), **cls._documented(made)}

    def get(self, index: int) -> T | None:
        """The value at an index, or None past the end. O(1).

        Raises `OutOfBounds` for a negative index, which is Python's own: `v[-1]` is the last value.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.push(7)
        >>> v.get(0), v.get(1)
        (7, None)
        """
        self._untyped(index)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: Any) -> Any:
        """The value at an index, from the end where it is negative; a list for a slice. O(1), O(k) for k values.

        Raises `OutOfBounds`, which is an `IndexError`.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.extend(range(5))
        >>> v[1], v[-1], v[1:4], v[::-2]
        (1, 4, [1, 2, 3], [4, 2, 0])
        """
        self._untyped(index)

    def _item(self, index: Any) -> T | list[T]:
        """What is no plain index: a slice, a negative number, a number of numpy."""
        if isinstance(index, slice):
            return self._slice(index)
        number = operator.index(index)
        if number >= LIMIT:
            self._past(number)
        return self[number] if number >= 0 else self[self._from_end(number)]

    def _from_end(self, index: int) -> int:
        """The place of a negative index."""
        place = index + len(self)
        return place if place >= 0 else self._past(index)

    def _past(self, index: int) -> NoReturn:
        length = len(self)
        ends = f"use {-length} to {length - 1}" if length else "it is empty"
        raise OutOfBounds(f"{type(self).__name__}: index {index} is out of range; {ends}")

    def _slice(self, index: slice) -> list[T]:
        while True:
            chosen = range(*index.indices(len(self)))
            if not chosen:
                return []
            if abs(chosen.step) > _LARGEST_STEP:
                return [self[place] for place in chosen]
            low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])
            values = self._decoded(low, high + 1)
            if values is not None:  # or another thread made it shorter: the indices are others now
                return values[:: chosen.step]

    def __reversed__(self) -> Iterator[T]:
        """Values from the last to the first."""
        return iter(RowIterator(self, 0, len(self), reverse=True))

    def __contains__(self, value: object) -> bool:
        """Whether a value is there. O(n)."""
        return any(found is value or found == value for found in self)

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """The first index of a value, between `start` and `stop` as in a slice. O(n). Raises `ValueError` where it is not there.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.extend([5, 6, 5])
        >>> v.index(5, 1), v.count(5), 6 in v
        (2, 2, True)
        """
        first, last, _ = slice(start, stop).indices(len(self))
        for place, found in enumerate(RowIterator(self, first, last, reverse=False), first):
            if found is value or found == value:
                return place
        raise ValueError(f"{type(self).__name__}: {value!r} is not there")

    def count(self, value: Any) -> int:
        """How often a value is there. O(n).

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.extend([5, 6, 5])
        >>> v.count(5)
        2
        """
        return sum(found is value or found == value for found in self)


def encoded(codec: Codec[T], values: npt.ArrayLike | Iterable[T]) -> tuple[Any, int]:
    """Values as a column of encodings and their ends, and how many. O(n). Raises as the codec does."""
    if isinstance(values, np.ndarray):
        refuse_masked(values, codec.name)
    if isinstance(values, np.ndarray) and codec.dtype is not None:
        ends = np.arange(1, len(values) + 1, dtype=np.uint64) * np.uint64(codec.dtype.itemsize)
        return native.column(codec.encode_array(values), ends, 0, native=False, of=values), len(values)
    items: Any = values.tolist() if isinstance(values, np.ndarray) else values
    pieces = list(map(codec.encode, items))
    ends = np.cumsum(np.fromiter(map(len, pieces), np.uint64, len(pieces)), dtype=np.uint64)
    return native.column(b"".join(pieces), ends, 0, native=False), len(pieces)


def bounded(index: Any) -> int:
    """The crate's kind of index as the core takes it: what is too large for it is past every end."""
    number = operator.index(index)
    if number < 0:
        raise OutOfBounds(f"an index counts from 0, got {number}; v[{number}] counts from the end")
    return min(number, LIMIT)


_LEN: Final = """
def __len__(self):
    length = call(self._handle)
    if length < 0: fail(length, "len")
    return length
"""

_GET: Final = """
def get(self, index):
    if type(index) is not int or not 0 <= index < LIMIT: index = bounded(index)
    answer = call(self._handle, index)
"""

_GETITEM: Final = """
def __getitem__(self, index):
    if type(index) is not int or not 0 <= index < LIMIT: return self._item(index)
    answer = call(self._handle, index)
"""
