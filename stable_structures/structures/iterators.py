# SPDX-License-Identifier: Apache-2.0
"""What all iterators share: both ends, batches, and detecting that the structure changed."""

from __future__ import annotations

import contextlib
import operator
import os
import sys
from _thread import RLock
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, SupportsIndex, TypeVar, cast
from weakref import ref

from .. import _native as native
from ..errors import CorruptMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
_TORN: Final = "an exception, perhaps from a signal handler, interrupted a step of the iterator; create a new iterator"


class _Process:
    """Identifies this process among those forked from one another."""

    number = 0


def _forked() -> None:
    _Process.number += 1


os.register_at_fork(after_in_child=_forked)


class BothEnds(Iterator[T], Generic[T]):
    """An iterator over a range from both ends, with `next_back()` and `skip(n)`.

    It is lazy, holds no lock on the structure, and raises `RuntimeError` if the structure has changed since the iterator was
    created. Threads that share one get each item once.
    """

    _batch: int
    """How many items to fetch next time."""

    def __init__(self, generation: memoryview, finish: Callable[[Any], T] | None, *, reverse: bool) -> None:
        self._reverse = reverse
        self._finish = finish
        self._ends: tuple[deque[Any], deque[Any]] = (deque(), deque())
        self._crossed = [0, 0]  # items that one end fetched and the other end used
        self._generation = generation
        self._seen = generation[0]
        self._used_up = False
        self._at_end = False
        """The last fetch showed that nothing is left to fetch."""
        self._torn = False
        """Items were taken from the structure but are not in `_ends`: an exception came in between."""
        self._process = _Process.number
        self._lock = RLock()
        self._quick: list[Iterable[Any] | None] = [None, None]
        """The rest of the last batch of each end, if a loop goes through it; `_settle` puts it where others find it."""
        self._first = [False, False]
        """Whether that rest is the first of the items that the end has left, not what follows them."""

    def __iter__(self) -> Iterator[T]:  # noqa: PYI034 - a generator, for the speed of a plain loop; it goes on where this one is
        return self._walk(back=self._reverse)

    def __next__(self) -> T:
        return self._take(back=self._reverse)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse `copy` and `pickle`, as generators do: both copies would continue with the same items."""
        raise TypeError(f"a {type(self).__name__} cannot be copied or pickled: create another one, or collect its items in a list")

    def next_back(self) -> T:
        """Return the last remaining item; raise `StopIteration` if none is left. O(1) on average.

        >>> from stable_structures import StableBTreeMap, StableMemory, u8
        >>> m = StableBTreeMap[u8, u8](StableMemory())
        >>> m.update({1: 10, 2: 20, 3: 30})
        >>> it = m.range()
        >>> it.next_back(), next(it), next(it)
        ((3, 30), (1, 10), (2, 20))
        """
        return self._take(back=not self._reverse)

    def skip(self, n: int) -> int:
        """Skip up to `n` items without decoding them; return how many were skipped.

        O(1) in a vec, heap or log, else O(n), but much cheaper than iterating. Raises `RuntimeError`, `Closed`, `ValueError`
        for a negative `n`, and `TypeError` for what is not an integer.

        >>> from stable_structures import StableBTreeMap, StableMemory, u8
        >>> m = StableBTreeMap[u8, u8](StableMemory())
        >>> m.update({1: 10, 2: 20, 3: 30})
        >>> it = m.range()
        >>> it.skip(2), next(it), it.skip(5)
        (2, (3, 30), 0)
        """
        n = operator.index(n)
        if n < 0:
            raise ValueError(f"skip: the number of items must not be negative, got {n}")
        self._validate()
        with self._own_lock():
            return self._skip(min(n, sys.maxsize))

    def _settle(self) -> None:
        """Put what a loop has left of its batches where the other methods look; the loop goes on with that. O(batch)."""
        for back, rest in enumerate(self._quick):
            if rest is not None:
                self._returning(back)(rest)  # one step of the interpreter; after it the loop has nothing left
                self._quick[back] = None

    def _returning(self, back: int) -> Callable[[Iterable[Any]], None]:
        """Return what puts the rest of an end's batch back in its place."""
        items = self._ends[back]
        return items.extendleft if self._first[back] else items.extend

    def _skip(self, n: int) -> int:
        self._settle()
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
        """Raise `RuntimeError` if the structure has changed since the iterator was created, or `Closed`. O(1)."""
        if self._generation[0] != self._seen:
            self._validate()

    def _validate(self) -> None:
        """Raise if it was this structure that changed, after something on its memory did."""
        seen = self._generation[0]
        if self._demand_unchanged():
            self._forget()
        self._seen = seen

    def _forget(self) -> None:
        """Discard items fetched ahead, because values were overwritten; fetch fewer from now on, since more writes may follow."""
        with self._own_lock():
            self._forget_locked()

    def _forget_locked(self) -> None:
        self._settle()  # what a loop has left of its batch was fetched before the change, too
        before, self._torn = self._torn, True
        self._batch = 1
        for back, items in enumerate(self._ends):
            count, self._crossed[back] = self._crossed[back], 0
            dropped = _drain(items)
            if dropped + count:
                self._give_back(dropped + count, back=bool(back))
                self._at_end = False
            if count:
                self._pass_over(count, back=not back)
        self._torn = before

    def _cross(self, *, back: bool) -> Any:
        """Return the next item for one end from those that the other end has fetched."""
        self._settle()
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
        """Raise `RuntimeError` if the structure changed; return whether this thread overwrote values."""
        raise NotImplementedError

    def _give_back(self, n: int, *, back: bool) -> None:
        """Mark the last `n` items that one end fetched as not fetched."""
        raise NotImplementedError

    def _fetch(self, *, back: bool) -> Iterable[Any] | None:
        """Fetch more items from one end and return them in its order; None if there are none. Sets `_torn` if items were taken."""
        raise NotImplementedError

    def _pass_over(self, n: int, *, back: bool) -> int:
        """Skip up to `n` unfetched items at one end; return how many were skipped."""
        raise NotImplementedError

    def _more(self, *, back: bool) -> bool:
        """Fetch items into `_ends[back]`; return whether there were any."""
        items = self._fetched(back=back)
        if items is not None:
            self._ends[back].extend(items)
        self._torn = False
        return items is not None

    def _fetched(self, *, back: bool) -> Iterable[Any] | None:
        """Fetch as `_fetch` does; the caller stores the items, and then says that none is missing."""
        if self._torn:
            raise RuntimeError(_TORN)
        return self._fetch(back=back)

    def _own_lock(self) -> RLock:
        """Return the lock; in the child of a fork a new one, because a thread that does not exist there may have held it."""
        if self._process != _Process.number:
            self._lock, self._process = RLock(), _Process.number
        return self._lock

    def _finished(self, raw: Any) -> T:
        """Return what to yield for a result of C."""
        assert self._finish is not None  # noqa: S101 - asked for by the caller
        try:
            return self._finish(raw)
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _tell_apart(self, error: BaseException) -> None:
        """Do as the structure's own method."""

    def _take(self, *, back: bool) -> T:
        """Return the next item from one end."""
        if self._quick[back] is not None:
            self._settle()
        own = self._ends[back]
        if own:
            self.validate()
        try:
            raw = own.popleft()
        except IndexError:
            raw = self._take_more(back=back)
        return raw if self._finish is None else self._finished(raw)

    def _take_more(self, *, back: bool) -> Any:
        """Return the next item if none is fetched yet, or if another thread took it."""
        with self._own_lock():
            return self._take_locked(back=back)

    def _take_locked(self, *, back: bool) -> Any:
        own, other = self._ends[back], self._ends[not back]
        while not self._used_up:
            self.validate()
            self._settle()
            if not (own or self._more(back=back) or other):
                break
            with contextlib.suppress(IndexError):  # another thread may take fetched items without the lock
                return own.popleft() if own else self._cross(back=back)
        self._used_up = True
        raise StopIteration

    def _walk(self, *, back: bool) -> Iterator[T]:
        own, other, generation = self._ends[back], self._ends[not back], self._generation
        while True:
            rest = None if own else self._next_rest(back=back)
            if rest is not None:
                finish, seen = self._finish, self._seen
                for raw in rest:
                    if generation[0] != seen:
                        self._put_back(raw, back=back)
                        break
                    yield raw if finish is None else self._finished(raw)
                held = self._quick[back]  # looked at before `own`, into which `_settle` puts it
                if not (self._at_end and generation[0] == seen and (held is rest or held is None)):
                    continue  # also if another loop over this iterator fetched the last batch
                if own or other or self._quick[not back] is not None:
                    continue
                self._used_up = True
            if self._used_up:
                return
            try:  # what others have left, or the other end has fetched
                item = self._take(back=back)
            except StopIteration:
                return
            yield item

    def _next_rest(self, *, back: bool) -> Iterable[Any] | None:
        """Return the next batch for a loop; `_settle` empties it if another method needs the items. None if there is none."""
        with self._own_lock():
            self.validate()
            self._settle()
            if self._used_up or self._ends[back]:
                return None
            items = self._fetched(back=back)
            rest = None if items is None else iter(items)
            self._quick[back] = rest
            self._torn = False
            self._used_up = rest is None and not self._ends[not back]
            return rest

    def _put_back(self, raw: Any, *, back: bool) -> None:
        """Undo that a loop took an item: something has changed, which the next step looks at."""
        with self._own_lock():
            self._settle()
            self._ends[back].appendleft(raw)


class _Loop(chain[T]):
    """What a loop goes through: as quick as `chain`, and it says of what it is, while it is not at its end."""

    of: Callable[[], BothEnds[T] | None]
    """A weak reference: a loop at its end keeps nothing, as `chain` does."""

    def __repr__(self) -> str:
        iterator = self.of()
        return super().__repr__() if iterator is None else repr(iterator)


class Batches(BothEnds[T]):
    """An iterator whose loops go through whole batches: no step of Python for an item.

    A batch is fetched with a request that the core says when the structure changes. At that moment, inside the operation that changes
    it, what a loop has not used yet is put into `_ends` (`native.loops`), so the loop comes back for a batch and finds the change.
    """

    def __iter__(self) -> Iterator[T]:  # noqa: PYI034 - it goes on where this one is
        # A thread that shares the loop may end it while another one fetches, so what calls `_next_batch` must not need itself afterwards.
        loop = cast("_Loop[T]", _Loop.from_iterable(map(self._next_batch, repeat(self._reverse))))
        loop.of = ref(self)
        return loop

    def _next_batch(self, back: int) -> Iterable[T]:
        """Return items for a loop, at least one; raise `StopIteration` at the end."""
        with self._own_lock():
            return self._next_batch_locked(back)

    def _next_batch_locked(self, back: int) -> Iterable[T]:
        while True:
            seen = self._generation[0]
            self.validate()
            self._settle()
            rest = self._rest(back=bool(back))
            if rest is None:
                continue
            self._quick[back] = rest
            native.loops[ref(self, native.loops.pop)] = partial(self._returning(back), rest)
            self._torn = False
            if self._generation[0] == seen:  # else the alarm may have come too early for this batch
                return rest if self._finish is None else map(self._finished, rest)

    def _rest(self, *, back: bool) -> Iterator[Any] | None:
        """Take items for a loop: those that others have left one by one. None if another thread has just taken those."""
        own, other = self._ends[back], self._ends[not back]
        if not own and not self._used_up:
            self._first[back] = False
            items = self._fetched(back=back)
            if items is not None:
                return iter(items)
            self._torn = False
        if self._used_up or not (own or other):
            self._used_up = True
            native.loops.pop(ref(self), None)
            raise StopIteration
        if self._torn:
            raise RuntimeError(_TORN)
        self._torn = self._first[back] = True
        try:
            return iter((own.popleft() if own else self._cross(back=back),))
        except IndexError:
            self._torn = False
            return None


def _drain(items: deque[Any]) -> int:
    """Empty a deque from the right, while other threads may take from the left; return how many items were removed."""
    count = 0
    while True:
        try:
            items.pop()
        except IndexError:
            return count
        count += 1
