# SPDX-License-Identifier: Apache-2.0
"""What is under way between canisters: requests and responses, each delivered as a message of its own, first come first served.

Each run from outside has a queue of its own and goes on until it is empty. So has each composite query, which is why its
calls are done before it ends.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        for forget in self.opened:
            forget()


class _Current(threading.local):
    """The queues of this thread, the innermost last."""

    def __init__(self) -> None:
        self.queues: list[Queue] = []


_current: Final = _Current()


def current_queue() -> Queue:
    """Return the queue of what runs now."""
    return _current.queues[-1]


@contextmanager
def new_queue() -> Iterator[Queue]:
    """Return a queue for what is started inside. An error (not a trap) ends all that is under way in it."""
    queue = Queue()
    _current.queues.append(queue)
    try:
        yield queue
    except BaseException:
        queue.give_up()
        raise
    finally:
        _current.queues.pop()
