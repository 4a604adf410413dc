# SPDX-License-Identifier: Apache-2.0
"""How much may be spent on one encoded value that anybody may have written: bytes, depth and items."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

MOST_BYTES: Final = 4 << 20
"""Of a value that is guessed at."""
MOST_DEPTH: Final = 100
MOST_ITEMS: Final = 200_000
_WHOLE: Final = re.compile(r"-?[0-9]{1,40}")
"""More digits than any number of the platform; `int` takes no more than 4,300 of them."""


class TooMuch(ValueError):
    """A value that exceeds a limit."""


@dataclass(slots=True)
class Meter:
    """Counts the items that decoders look at."""

    items: int = 0


_METER: Final[ContextVar[Meter | None]] = ContextVar("meter", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """Count the items that are looked at in the block: what it costs, the same on every machine."""
    meter = Meter()
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)


def count_items(items: int) -> None:
    """Tell the meter, if there is one, how many items a decoder looked at."""
    meter = _METER.get()
    if meter is not None:
        meter.items += items


def require_moderate(data: bytes) -> None:
    """Raise `TooMuch` for more bytes than are guessed at."""
    if len(data) > MOST_BYTES:
        raise TooMuch(f"{len(data):,} bytes; at most {MOST_BYTES:,} are guessed at")


def whole_number(value: Any) -> Any:
    """Return the number that a text is, or the value itself if it is none.

    >>> whole_number("-12"), whole_number("1_0"), whole_number("9" * 41) == "9" * 41, whole_number(None)
    (-12, '1_0', True, None)
    """
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value
