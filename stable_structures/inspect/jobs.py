# SPDX-License-Identifier: Apache-2.0
"""Work on several memories of an image at once, or on batches of one, each in a process of its own.

    the verb --fork--> child: one memory, read from the image that is open already (`results`), or a batch that is read (`streamed`)
        ^                 |
        '--- result <-----'   through a pipe; the verb takes the results in their order

So what a verb writes is the same with any number of processes. A child writes nothing but its result, and files that the verb
opened for it. It ignores Ctrl+C, since the verb stops its children whatever ends itself; the system kills a child whose verb was
killed. A task that raises is run once more by the verb itself, which then raises: the words of an error do not depend on the number
of processes either. All processes together have one budget of memory (allowance.py).
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import selectors
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, NoReturn, TypeVar

from ..errors import StableError
from .allowance import most_processes, share_among
from .source import Progress, Source, no_progress

LEAST: Final = 32 << 20
"""Bytes of a memory from which on it is worth a process: starting one takes some hundredths of a second."""
_END_WITH_PARENT: Final = 1
"""Linux's PR_SET_PDEATHSIG."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

T = TypeVar("T")
Item = TypeVar("Item")


class ProcessLost(StableError, OSError):
    """A process that worked for a verb was killed."""


@dataclass(frozen=True, slots=True)
class Task(Generic[T]):
    """What is to be done with a memory of `size` bytes; `run` gets what it is to report progress to."""

    size: int
    run: Callable[[Progress], T]


def usual(*, arrow: bool = False) -> int:
    """Return how many processes a verb uses by itself: as many as there are cores and the budget has room for. O(cores)."""
    return most_processes(len(os.sched_getaffinity(0)), arrow=arrow) if sys.platform == "linux" else 1


def allowed(jobs: int, *sources: Source) -> int:
    """Return how many processes may read these: one, of what is on another machine, or is a running memory. O(1)."""
    return 1 if any(source.is_far or source.is_running for source in sources) else jobs


def is_large(size: int) -> bool:
    """Return whether a memory is worth a process. O(1)."""
    return size >= LEAST


def is_worth_it(sizes: Iterable[int], jobs: int) -> bool:
    """Return whether there are processes for tasks of these sizes. O(tasks)."""
    return jobs > 1 and sum(map(is_large, sizes)) > 1 and sys.platform == "linux"


def results(tasks: Sequence[Task[T]], jobs: int, progress: Progress) -> Iterator[T]:
    """Return the results of tasks in their order, each when it is there; `jobs` of them run at once.

    There are processes only if two tasks are of `LEAST` bytes, and on Linux: elsewhere a fork may end in a library's threads.

    >>> list(results([Task(1, lambda _: "a"), Task(2, lambda _: "b")], 4, lambda *_: None))
    ['a', 'b']
    """
    if not is_worth_it([task.size for task in tasks], jobs):
        yield from (task.run(progress) for task in tasks)
        return
    large = [number for number, task in enumerate(tasks) if is_large(task.size)]
    pool = _Pool(tasks, sorted(large, key=lambda number: -tasks[number].size), jobs)
    try:
        for number, task in enumerate(tasks):
            progress("memories", number, len(tasks))
            yield pool.result(number) if is_large(task.size) else task.run(progress)
    finally:
        pool.stop()


def streamed(items: Iterable[Item], run: Callable[[Item], T], jobs: int) -> Iterator[tuple[Item, T | None]]:
    """Iterate over items, each with what `run` makes of it in a process of its own, `jobs` of them at once; in their order.

    The result is None if `run` raised, or if `jobs` is 1: then the caller runs it itself, so that the error is raised where it can be
    reported. If iterating over `items` raises, the items before come first.

    >>> [one for one in streamed("ab", str.upper, 2)]
    [('a', 'A'), ('b', 'B')]
    """
    if jobs == 1 or sys.platform != "linux":
        yield from ((item, None) for item in items)
        return
    children = _Children[T](jobs)
    try:
        yield from _streamed(children, items, run, jobs)
    finally:
        children.stop()


def _streamed(children: _Children[T], items: Iterable[Item], run: Callable[[Item], T], jobs: int) -> Iterator[tuple[Item, T | None]]:
    """As `streamed`. The loop is a function of its own: inside `try: finally`, a signal at its jump back would skip the `finally`."""
    waiting, source = deque[tuple[Item, _Child]](), _Deferred(items)

    def finished() -> tuple[Item, T | None]:
        item, child = waiting.popleft()
        found = children.take(child)
        return item, None if found is None else found[0]

    for number, item in enumerate(source):
        waiting.append((item, children.start(number, Task(0, partial(_made, run, item)))))
        if len(waiting) == jobs:
            yield finished()
    while waiting:
        yield finished()
    source.raise_it()


def _made(run: Callable[[Item], T], item: Item, _progress: Progress) -> T:
    return run(item)


class _Deferred(Generic[Item]):
    """An iterable that ends where it would raise; `raise_it` raises that error later."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = items
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[Item]:
        try:
            yield from self._items
        except Exception as error:  # noqa: BLE001 - raised later
            self._error = error

    def raise_it(self) -> None:
        """Raise what ended it, if anything did."""
        if self._error is not None:
            raise self._error


@dataclass(frozen=True, slots=True)
class _Child:
    number: int
    pid: int
    pipe: int


class _Children(Generic[T]):
    """The processes that are running."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.running: dict[int, _Child] = {}

    def start(self, number: int, task: Task[T]) -> _Child:
        """Start a process for a task."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # a child has none of our handlers, and is ours at once
        try:
            child = self.running[number] = self._fork(number, task, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child

    def _fork(self, number: int, task: Task[T], mask: set[Any]) -> _Child:
        read, write = os.pipe()
        try:
            parent, pid = os.getpid(), os.fork()
        except OSError:
            os.close(read)
            os.close(write)
            raise
        if pid == 0:
            share_among(self._most)
            _work(task, write, parent, mask, [read, *(child.pipe for child in self.running.values())])
        os.close(write)
        return _Child(number, pid, read)

    def take(self, child: _Child) -> tuple[T] | None:
        """Return what a process found, once it has ended; None if it raised."""
        with open(child.pipe, "rb", closefd=False) as pipe:
            data = pipe.read()
        status = self._end(child)
        if status != 0 or not data:
            raise ProcessLost(f"a process that worked for this one was ended by the system (status {status}); try --jobs 1")
        return pickle.loads(data)  # type: ignore[no-any-return]  # noqa: S301 - our own

    def stop(self) -> None:
        """End all of them."""
        for child in self.running.values():
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        for child in list(self.running.values()):
            self._end(child)

    def _end(self, child: _Child) -> int:
        _, status = os.waitpid(child.pid, 0)
        del self.running[child.number]
        os.close(child.pipe)
        return os.waitstatus_to_exitcode(status)


class _Pool(Generic[T]):
    """The children that are running, and what others found."""

    def __init__(self, tasks: Sequence[Task[T]], order: list[int], jobs: int) -> None:
        self._tasks, self._waiting, self._jobs = tasks, order, min(jobs, len(order))
        self._children = _Children[T](self._jobs)
        self._found: dict[int, tuple[T] | None] = {}

    def result(self, number: int) -> T:
        """Return the result of a task."""
        while number not in self._found:
            self._start()
            self._collect()
        found = self._found.pop(number)
        return self._tasks[number].run(no_progress) if found is None else found[0]

    def stop(self) -> None:
        """End all children."""
        self._children.stop()

    def _start(self) -> None:
        while self._waiting and len(self._children.running) < self._jobs:
            number = self._waiting.pop(0)
            self._children.start(number, self._tasks[number])

    def _collect(self) -> None:
        """Wait for a child to give its result."""
        with selectors.DefaultSelector() as selector:
            for child in self._children.running.values():
                selector.register(child.pipe, selectors.EVENT_READ, child)
            for key, _ in selector.select():
                self._found[key.data.number] = self._children.take(key.data)


def _work(task: Task[Any], pipe: int, parent: int, mask: set[Any], others: list[int]) -> NoReturn:
    """Run a task in a child, and end it without anything that the verb does at its own end."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in _SIGNALS[1:]:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        gc.freeze()  # what is the verb's is not searched: that would copy all of its pages
        _end_with(parent)
        for descriptor in others:
            os.close(descriptor)
        _give(pipe, _result(task))
        status = 0
    finally:
        os._exit(status)


def _end_with(parent: int) -> None:
    """Let the system kill this process when its parent ends, whatever ends that."""
    ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _result(task: Task[Any]) -> bytes:
    try:
        return pickle.dumps((task.run(no_progress),))
    except BaseException:  # noqa: BLE001 - the verb runs it again, and raises it where it can be reported
        return pickle.dumps(None)


def _give(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]
