# SPDX-License-Identifier: Apache-2.0
"""Shorten tracebacks of errors in a canister: keep the lines of the test and of the canister, drop those of the harness."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, ParamSpec, TypeVar

from ..errors import StableError

P = ParamSpec("P")
R = TypeVar("R")

_LIBRARY: Final = __name__.partition(".")[0]


def without_our_frames(function: Callable[P, R]) -> Callable[P, R]:
    """Shorten the traceback of an error of this library that leaves the function, and of its causes.

    In pytest the frame of this function itself is hidden; elsewhere it is the only frame of the library that is shown.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        try:
            return function(*args, **kwargs)
        except StableError as error:
            shorten(error)
            raise

    return wrapper


def shorten(error: BaseException) -> None:
    """Drop the library's frames from the tracebacks of an error and of its causes. O(frames).

    They stay if nothing else would be left, or if the library itself failed unexpectedly: then they are what matters.
    """
    for one in _chain(error):
        entries = list(_entries(one.__traceback__))
        ours = [_is_ours(entry) for entry in entries]
        kept = [entry for entry, own in zip(entries, ours, strict=True) if not own]
        if isinstance(one, StableError):
            one.__traceback__ = _linked(kept)
        elif kept:
            last = max(at for at, own in enumerate(ours) if not own) + 1
            one.__traceback__ = _linked([*kept, *entries[last:]])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _is_ours(entry: TracebackType) -> bool:
    """Return whether a frame is the library's, or one of the `with` blocks that it runs messages in."""
    module = str(entry.tb_frame.f_globals.get("__name__"))
    return module == "contextlib" or module.partition(".")[0] == _LIBRARY


def _linked(entries: list[TracebackType]) -> TracebackType | None:
    following = None
    for entry in reversed(entries):
        following = TracebackType(following, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return following
