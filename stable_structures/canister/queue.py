# SPDX-License-Identifier: Apache-2.0
"""Requests and responses between canisters, each delivered as a separate message, first come, first served.

Each run from outside has its own queue and continues until it is empty. So does each composite query, so its calls are
done before it ends.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

Item = Callable[[], None]


class Queue:
    """Pending deliveries, and the calls opened meanwhile."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self.opened: list[Item] = []
        """Functions that each forget an open call, for when an error ends the whole run."""

    def put(self, item: Item) -> None:
        """Add a delivery."""
        self._items.append(item)

    def drain(self) -> None:
        """Deliver until nothing is left."""
        while self._items:
            self._items.popleft()()

    def give_up(self) -> None:
        """Drop all deliveries and forget all open calls."""
        self._items.clear()
        for forget in list(self.opened):
            forget()


class _Current(threading.local):
    """The queues of this thread, the innermost last."""

    def __init__(self) -> None:
        self.queues: list[Queue] = []


_current: Final = _Current()


def current_queue() -> Queue:
    """Return the current queue."""
    return _current.queues[-1]


def with_queue(start: Callable[[], None]) -> None:
    """Start something with a new queue, and deliver until it is empty. An error (not a trap) ends all calls in it."""
    queue, before = Queue(), len(_current.queues)
    try:
        _current.queues.append(queue)
        start()
        queue.drain()
    except BaseException:
        try:
            queue.give_up()
        finally:
            queue.give_up()  # again, for what a signal handler kept it from
        raise
    finally:
        del _current.queues[before:]
