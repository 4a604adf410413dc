# SPDX-License-Identifier: Apache-2.0
"""What the iterators over all structures share: both ends, batches, and noticing that the structure changed."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, SupportsIndex, TypeVar

from ..errors import CorruptMemory

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class _Process:
    """Which process of those that were forked from one another this is."""

    number = 0


def _forked() -> None:
    _Process.number += 1


os.register_at_fork(after_in_child=_forked)


class BothEnds(Iterator[T], Generic[T]):
    """What is left of a range, from both ends: an iterator with `next_back()` and `skip(n)`.

    It is lazy, holds no lock on the structure, and raises `RuntimeError` once that has changed since it was made. Threads that
    share one get each item once.
    """

    _batch: int
    """How many items are fetched the next time."""

    def __init__(self, generation: memoryview, finish: Callable[[Any], T] | None, *, reverse: bool) -> None:
        self._reverse = reverse
        self._finish = finish
        self._ends: tuple[deque[Any], deque[Any]] = (deque(), deque())
        self._crossed = [0, 0]  # items that one end fetched and the other one used
        self._generation = generation
        self._seen = generation[0]
        self._used_up = False
        self._torn = False
        """Something was taken from the structure that is not in `_ends`: an exception came in between."""
        self._process = _Process.number
        self._lock = threading.RLock()

    def __iter__(self) -> Iterator[T]:  # noqa: PYI034 - a generator, for the speed of a plain loop; it goes on where this one is
        return self._walk(back=self._reverse)

    def __next__(self) -> T:
        return self._take(back=self._reverse)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """For `copy` and `pickle`: as generators are not, since both would go on with the same items."""
        raise TypeError(f"a {type(self).__name__} cannot be copied or pickled: make another one, or collect its items in a list")

    def next_back(self) -> T:
        """The last item that is left; raises `StopIteration` where none is. O(1) on average.

        >>> from stable_structures import StableBTreeMap, StableMemory, u8
        >>> m = StableBTreeMap[u8, u8](StableMemory())
        >>> m.update({1: 10, 2: 20, 3: 30})
        >>> it = m.range()
        >>> it.next_back(), next(it), next(it)
        ((3, 30), (1, 10), (2, 20))
        """
        return self._take(back=not self._reverse)

    def skip(self, n: int) -> int:
        """Passes over up to `n` items without decoding them; gives how many there were.

        O(1) in a vec, heap or log, else O(n), a small part of iterating. Raises `RuntimeError`, `Closed`, and `ValueError`
        for a negative `n`.

        >>> from stable_structures import StableBTreeMap, StableMemory, u8
        >>> m = StableBTreeMap[u8, u8](StableMemory())
        >>> m.update({1: 10, 2: 20, 3: 30})
        >>> it = m.range()
        >>> it.skip(2), next(it), it.skip(5)
        (2, (3, 30), 0)
        """
        if n < 0:
            raise ValueError(f"skip: the number of items must not be negative, got {n}")
        self._validate()
        with self._own_lock():
            return self._skip(min(n, sys.maxsize))

    def _skip(self, n: int) -> int:
        own, other = self._ends[self._reverse], self._ends[not self._reverse]
        skipped = min(n, len(own))
        for _ in range(skipped):
            own.popleft()
        skipped += self._pass_over(n - skipped, back=self._reverse)
        while skipped < n and other:
            self._cross(back=self._reverse)
            skipped += 1
        return skipped

    def validate(self) -> None:
        """Raises `RuntimeError` where the structure has changed since the iterator was made, or `Closed`. O(1)."""
        if self._generation[0] != self._seen:
            self._validate()

    def _validate(self) -> None:
        """Something on the memory changed; raises if it was this structure."""
        seen = self._generation[0]
        if self._demand_unchanged():
            self._forget()
        self._seen = seen

    def _forget(self) -> None:
        """Values were overwritten: what was fetched ahead is fetched again, and less of it, since that may go on."""
        with self._own_lock():
            before, self._torn = self._torn, True
            self._batch = 1
            for back, items in enumerate(self._ends):
                count, self._crossed[back] = self._crossed[back], 0
                dropped = _drain(items)
                if dropped + count:
                    self._give_back(dropped + count, back=bool(back))
                if count:
                    self._pass_over(count, back=not back)
            self._torn = before

    def _cross(self, *, back: bool) -> Any:
        """The next item for one end, of those that the other end has fetched."""
        before, self._torn = self._torn, True
        try:
            raw = self._ends[not back].pop()
        except IndexError:
            self._torn = before
            raise
        self._crossed[not back] += 1
        self._torn = before
        return raw

    def _demand_unchanged(self) -> bool:
        """Raises `RuntimeError` if the structure changed; whether this thread overwrote values."""
        raise NotImplementedError

    def _give_back(self, n: int, *, back: bool) -> None:
        """The `n` items that one end fetched last are to be fetched again."""
        raise NotImplementedError

    def _fetch(self, *, back: bool) -> bool:
        """Gets more from one end into `_ends[back]`; whether there was any."""
        raise NotImplementedError

    def _pass_over(self, n: int, *, back: bool) -> int:
        """Skips up to `n` items that were not fetched, at one end; gives how many there were."""
        raise NotImplementedError

    def _more(self, *, back: bool) -> bool:
        """As `_fetch`, after which nothing is missing."""
        if self._torn:
            raise RuntimeError("an exception, perhaps of a signal handler, came in the midst of a step of the iterator; make a new one")
        return self._fetch(back=back)

    def _own_lock(self) -> threading.RLock:
        """In the child of a fork another one: a thread that is not there may have held it."""
        if self._process != _Process.number:
            self._lock, self._process = threading.RLock(), _Process.number
        return self._lock

    def _finished(self, raw: Any) -> T:
        """What is yielded of what C gave."""
        assert self._finish is not None  # noqa: S101 - asked for by the caller
        try:
            return self._finish(raw)
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _tell_apart(self, error: BaseException) -> None:
        """As the structure's own."""

    def _take(self, *, back: bool) -> T:
        """The next item from one end."""
        own = self._ends[back]
        if own:
            self.validate()
        try:
            raw = own.popleft()
        except IndexError:
            raw = self._take_more(back=back)
        return raw if self._finish is None else self._finished(raw)

    def _take_more(self, *, back: bool) -> Any:
        """The same where there is none at hand, or another thread was faster."""
        own, other = self._ends[back], self._ends[not back]
        with self._own_lock():
            while not self._used_up:
                self.validate()
                if not (own or self._more(back=back) or other):
                    break
                with contextlib.suppress(IndexError):  # what is at hand another thread may take without the lock
                    return own.popleft() if own else self._cross(back=back)
            self._used_up = True
            raise StopIteration

    def _walk(self, *, back: bool) -> Iterator[T]:
        own, other = self._ends[back], self._ends[not back]
        generation, finish = self._generation, self._finish
        while True:
            while own:
                if generation[0] != self._seen:
                    self._validate()
                try:
                    raw = own.popleft()
                except IndexError:  # another thread was faster
                    break
                if finish is not None:
                    try:
                        raw = finish(raw)
                    except CorruptMemory as error:
                        self._tell_apart(error)
                        raise
                yield raw
            with self._own_lock():
                self.validate()
                if own or self._more(back=back):
                    continue
                if not other:
                    break
                try:
                    raw = self._cross(back=back)
                except IndexError:  # as above
                    continue
            yield raw if finish is None else self._finished(raw)
        self._used_up = True


def _drain(items: deque[Any]) -> int:
    """Empties a deque from the right, while other threads may take from the left; how many items there were."""
    count = 0
    while True:
        try:
            items.pop()
        except IndexError:
            return count
        count += 1
