# SPDX-License-Identifier: Apache-2.0
"""A verdict on a file that a program may be writing: what looks damaged may only be of several commits, so it is looked at again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

from .image import Image
from .source import FileSource

T = TypeVar("T")
_PAUSES: Final = (0.0, 0.05, 0.2, 0.5)
"""Seconds before each further look."""
CHANGED_TEXT: Final = "changed while it was read, so there is no verdict: try again, or inspect a copy"


class Look(NamedTuple, Generic[T]):
    """One look at an image: what is shown of it, all that is wrong, and whether a program may have written to it meanwhile."""

    shown: T
    wrong: list[str]
    may_have_changed: bool


def may_have_changed(image: Image) -> bool:
    """Return whether somebody had the image's file open for writing, or changed it, since it was opened. O(1)."""
    source = image.source
    return isinstance(source, FileSource) and (source.was_written or source.has_changed())


def steady(look: Callable[[], Look[T]]) -> tuple[T, bool]:
    """Return what is shown, and whether it changed so often that what is wrong with it means nothing.

    A look that finds nothing wrong ends it, or two in a row that find the same wrong. One look, unless somebody writes.
    """
    found = look()
    for pause in _PAUSES:
        if not found.wrong or not found.may_have_changed:
            return found.shown, False
        time.sleep(pause)
        again = look()
        if again.wrong == found.wrong:
            return again.shown, False
        found = again
    return found.shown, bool(found.wrong) and found.may_have_changed
