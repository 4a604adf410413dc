# SPDX-License-Identifier: Apache-2.0
"""Identify the running asyncio task by a number that the core can store. Programs that do not import asyncio have no task."""

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
"""A loop runs, but it runs a callback that belongs to no task."""

_numbers = itertools.count(2)
_number_of: Final[weakref.WeakKeyDictionary[asyncio.Task[Any], int]] = weakref.WeakKeyDictionary()
_task_of: Final[weakref.WeakValueDictionary[int, asyncio.Task[Any]]] = weakref.WeakValueDictionary()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the running loop, or None; also None while another thread is importing asyncio."""
    find = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return None if find is None else find()


def running() -> int:
    """Return the number of the task that runs in this thread, never used twice; or `NO_LOOP` or `NO_TASK`. O(1)."""
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
    """Return the event loop of this thread. Raises `RuntimeError` if none runs, or if it belongs to another library."""
    running_loop = _running_loop()
    if running_loop is None:
        raise RuntimeError(
            "async with memory.transaction(): no asyncio event loop is running; with other libraries use `with`, and await nothing in it"
        )
    return running_loop


def has_ended(number: int) -> bool:
    """Return whether the task with this number has ended. O(1)."""
    if number == NO_TASK:
        return running() == NO_LOOP
    task = _task_of.get(number)
    return task is None or task.done()
