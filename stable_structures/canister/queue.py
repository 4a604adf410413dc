# SPDX-License-Identifier: Apache-2.0
"""What is under way between canisters: requests and responses, each delivered as a message of its own, first come first served.

Each run from outside has a queue of its own and goes on until it is empty. So has each composite query, which is why its
calls are done before it ends.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

Item = Callable[[], None]


class Queue:
    """Deliveries that are to come, and the calls that were opened meanwhile."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self.opened: list[Item] = []
        """Forgets a call each: what is left open where the test's process gives up on all of it."""

    def put(self, item: Item) -> None:
        """One more delivery."""
        self._items.append(item)

    def drain(self) -> None:
        """Deliver until nothing is left."""
        while self._items:
            self._items.popleft()()

    def give_up(self) -> None:
        """Nothing of it is delivered any more, and nobody waits."""
        self._items.clear()
        for forget in list(self.opened):
            forget()


class _Current(threading.local):
    """The queues of this thread, the innermost last."""

    def __init__(self) -> None:
        self.queues: list[Queue] = []


_current: Final = _Current()


def current_queue() -> Queue:
    """Return the queue of what runs now."""
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
