# SPDX-License-Identifier: Apache-2.0
"""Decide which asyncio task may begin a transaction next: first come, first served, without blocking a loop."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from ..errors import MemoryInUse

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_LOOK: Final = 0.02
"""How often the first in the queue polls, in seconds: not every end of a transaction is reported."""

queues: Final[dict[int, deque[_Waiter]]] = {}
"""The waiting tasks, by root; an empty queue has no entry."""


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
        self._called = False
        self._pause: asyncio.Future[None] | None = None

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
            for queue in queues.values():
                queue[0].call()


def _join(root: int, waiter: _Waiter) -> deque[_Waiter]:
    with _Lock.held:
        queue = queues.setdefault(root, deque())
        queue.append(waiter)
        return queue


def _go(root: int, waiter: _Waiter) -> None:
    with _Lock.held:
        queue = queues[root]
        queue.remove(waiter)
        if queue:
            queue[0].call()
        else:
            del queues[root]


async def in_turn(root: int, begin: Callable[[], bool], patience: float, loop: asyncio.AbstractEventLoop) -> None:
    """Call `begin` until it returns true, once all earlier tasks have gone. Raises `MemoryInUse` after `patience` seconds."""
    if root not in queues and begin():
        return
    waiter = _Waiter(loop)
    queue = _join(root, waiter)
    try:
        await _first(queue, waiter, begin, patience, loop)
    finally:
        _go(root, waiter)


async def _first(
    queue: deque[_Waiter], waiter: _Waiter, begin: Callable[[], bool], patience: float, loop: asyncio.AbstractEventLoop
) -> None:
    """Wait until the waiter is the first of the queue and can begin."""
    until = loop.time() + patience
    while not (queue[0] is waiter and begin()):
        left = until - loop.time()
        if left <= 0:
            raise MemoryInUse(
                f"transaction: the turn of this task did not come within {patience:g} seconds; "
                "keep transactions short, and await nothing in them that needs the memory itself"
            )
        await waiter.pause(min(left, _LOOK))
