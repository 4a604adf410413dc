# SPDX-License-Identifier: Apache-2.0
"""Which asyncio task runs, as a number that the core can remember. Programs that do not import asyncio have none."""

from __future__ import annotations

import itertools
import sys
import weakref
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

NO_LOOP: Final = 0
"""No event loop runs in this thread."""
NO_TASK: Final = 1
"""One runs, and what it runs is a callback of no task."""

_numbers = itertools.count(2)
_number_of: Final[weakref.WeakKeyDictionary[asyncio.Task[Any], int]] = weakref.WeakKeyDictionary()
_task_of: Final[weakref.WeakValueDictionary[int, asyncio.Task[Any]]] = weakref.WeakValueDictionary()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """None too while another thread is importing asyncio."""
    find = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return None if find is None else find()


def running() -> int:
    """The number of the task that runs in this thread, never used twice; or `NO_LOOP` or `NO_TASK`. O(1)."""
    if _running_loop() is None:
        return NO_LOOP
    task = sys.modules["asyncio"].current_task()
    if task is None:
        return NO_TASK
    number = _number_of.get(task)
    if number is None:
        number = next(_numbers)
        _task_of[number] = task
        _number_of[task] = number
    return number


def loop() -> asyncio.AbstractEventLoop:
    """The event loop of this thread. Raises `RuntimeError` where none runs, or one of another library."""
    running_loop = _running_loop()
    if running_loop is None:
        raise RuntimeError(
            "async with memory.transaction(): no asyncio event loop runs here; other libraries use `with`, and await nothing in it"
        )
    return running_loop


def has_ended(number: int) -> bool:
    """Whether nothing will ever run again as this one. O(1)."""
    if number == NO_TASK:
        return running() == NO_LOOP
    task = _task_of.get(number)
    return task is None or task.done()
