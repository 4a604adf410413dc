# SPDX-License-Identifier: Apache-2.0
"""Decide which asyncio task may begin a transaction next: first come, first served, without blocking a loop."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from ..errors import MemoryInUse
from ..tasks import NO_TASK, has_ended, running

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_LOOK: Final = 0.02
"""How often the first in the queue polls, in seconds: not every end of a transaction is reported."""

queues: Final[dict[int, deque[_Waiter]]] = {}
"""The waiting tasks, by root. A queue that is empty has an entry only if an exception came in between."""


class _Lock:
    """Guards `queues`; created again in the child of a fork, where nobody waits."""

    held = threading.RLock()


def _forked() -> None:
    _Lock.held = threading.RLock()
    queues.clear()


os.register_at_fork(after_in_child=_forked)


class _Waiter:
    """A task that waits, in a loop of any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._task = running()
        self._called = False
        self._pause: asyncio.Future[None] | None = None

    def is_over(self) -> bool:
        """Return whether it can wait no more: an exception between two steps, such as Ctrl-C, may have ended its task in `_go`."""
        return self._loop.is_closed() or (self._task > NO_TASK and has_ended(self._task))

    def call(self) -> None:
        """End its pause, or the next one. May be called from any thread."""
        with contextlib.suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._called = True
        if self._pause is not None and not self._pause.done():
            self._pause.set_result(None)

    async def pause(self, seconds: float) -> None:
        """Wait until `call` is called, or the time is over."""
        if not self._called:
            self._pause = self._loop.create_future()
            timer = self._loop.call_later(seconds, self._wake)
            try:
                await self._pause
            finally:
                timer.cancel()
        self._called = False


def ended() -> None:
    """Wake the first of each queue, because a transaction has ended. O(queues)."""
    if queues:
        with _Lock.held:
            for queue in list(queues.values()):
                _call_first(queue)


def _call_first(queue: deque[_Waiter]) -> None:
    if (first := _first_of(queue)) is not None:
        first.call()


def _first_of(queue: deque[_Waiter]) -> _Waiter | None:
    """Return the first that still waits; forget those before it. None if nobody does."""
    with _Lock.held:
        return _forget_over(queue)


def _forget_over(queue: deque[_Waiter]) -> _Waiter | None:
    while queue and queue[0].is_over():
        queue.popleft()
    return queue[0] if queue else None


def _join(root: int, waiter: _Waiter) -> deque[_Waiter]:
    with _Lock.held:
        queue = queues.setdefault(root, deque())
        queue.append(waiter)
        return queue


def _go(root: int, waiter: _Waiter) -> None:
    with _Lock.held:
        queue = queues.get(root, deque())
        with contextlib.suppress(ValueError):  # it is over already
            queue.remove(waiter)
        if queue:
            _call_first(queue)
        else:
            queues.pop(root, None)


async def in_turn(root: int, begin: Callable[[], bool], patience: float, loop: asyncio.AbstractEventLoop) -> None:
    """Call `begin` until it returns true, once all earlier tasks have gone. Raises `MemoryInUse` after `patience` seconds."""
    if root not in queues and begin():
        return
    waiter = _Waiter(loop)
    queue = _join(root, waiter)
    try:
        await _until_begun(queue, waiter, begin, patience, loop)
    finally:
        _go(root, waiter)


async def _until_begun(
    queue: deque[_Waiter], waiter: _Waiter, begin: Callable[[], bool], patience: float, loop: asyncio.AbstractEventLoop
) -> None:
    """Wait until the waiter is the first of the queue and can begin."""
    until = loop.time() + patience
    while not (_first_of(queue) is waiter and begin()):
        left = until - loop.time()
        if left <= 0:
            raise MemoryInUse(
                f"transaction: the turn of this task did not come within {patience:g} seconds; "
                "keep transactions short, and await nothing in them that needs the memory itself"
            )
        await waiter.pause(min(left, _LOOK))
