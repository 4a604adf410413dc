# SPDX-License-Identifier: Apache-2.0
"""A verdict on a file that a program may be writing: what looks damaged may only be of several commits, so it is looked at again.

Nor is the same damage, seen twice, a verdict: a program that does the same all the time is often in the middle of the same. And
bytes that stay the same for a moment may be those of a program that waits for a processor in the middle of a change.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar
from zlib import crc32

from .image import Image
from .source import FileSource, Shorter, Source, Unreadable

T = TypeVar("T")
_PAUSES: Final = (0.05, 0.2, 0.8, 0.8)
"""Seconds before each further look."""
_STILL: Final = 1.0
"""Seconds for which bytes stay the same if nobody is changing them; a busy machine lets a program wait for a tenth of that."""
CHANGED_TEXT: Final = "changed while it was read, so there is no verdict: try again, or inspect a copy"


class Look(NamedTuple, Generic[T]):
    """One look at an image: what is shown of it, all that is wrong, and, if a program may change that, what stands for its bytes."""

    shown: T
    wrong: list[str]
    state: object = None


def state_of(image: Image, wrong: list[str]) -> object:
    """Return what is the same only for the same bytes; None if nothing is wrong, or nobody wrote to the image's file meanwhile.

    O(bytes) if somebody may have.
    """
    source = image.source
    if not wrong or not isinstance(source, FileSource) or not (source.was_written or source.has_changed()):
        return None
    try:
        return _checksum(source)
    except Unreadable:  # it has become shorter
        return object()


def _checksum(source: Source) -> tuple[int, int]:
    found = 0
    for offset, data in source.blocks():
        found = crc32(data, crc32(b"%d" % offset, found))
    return source.nbytes, found


def _whole(look: Callable[[], Look[T]]) -> Look[T]:
    """Look again if the file became shorter meanwhile: a writer without a log that rolls back cuts off what it had added."""
    for pause in _PAUSES:
        try:
            return look()
        except Shorter:
            time.sleep(pause)
    return look()


def steady(look: Callable[[], Look[T]]) -> tuple[T, bool]:
    """Return what is shown, and whether it changed so often that what is wrong with it means nothing.

    A look that finds nothing wrong ends it, or bytes that stay the same for a second. One look, unless somebody writes.
    """
    found, still = _whole(look), 0.0
    for pause in _PAUSES:
        if found.state is None:
            return found.shown, False
        time.sleep(pause)
        again = _whole(look)
        still = still + pause if again.state == found.state and again.wrong == found.wrong else 0.0
        found = again
        if still >= _STILL:
            return found.shown, False
    return found.shown, found.state is not None
