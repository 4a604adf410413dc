# SPDX-License-Identifier: Apache-2.0
"""JSON that lies: a document with one of its values, wherever it is, changed into something that nobody expects there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

LIES: Final = [
    None, True, False, 0, -1, 7, 1.5, 1e308, float("nan"), float("inf"), 1 << 31, 1 << 63, 1 << 64, 10**30, -(10**30), 10**4000,
    "", "x", "7", "-7", "1_0", "٣", "²", "9" * 5000, "../x", "/", "\0", "a" * 5000, "\udc80",
    [], [7], [-1], [256], ["x"], [[]], {}, {"x": 1}, {"__bigint__": "x"}, {"__bigint__": "9" * 5000}, {"__bigint__": []},
    {"__uint8array__": "x"}, {"__uint8array__": [300]}, {"active": "x"}, {"active": -1}, {"active": {"__bigint__": "y"}},
]  # fmt: skip

Place = tuple[Any, ...]


def places_in(document: Any, at: Place = ()) -> Iterator[Place]:
    """Return the ways to all values of a document, as keys and indices; of a long list, to its first three."""
    if at:
        yield at
    inner = document.items() if isinstance(document, dict) else enumerate(document[:3]) if isinstance(document, list) else ()
    for key, value in inner:
        yield from places_in(value, (*at, key))


def with_lie(document: Any, place: Place, lie: Any) -> Any:
    """Return a document with another value in one place; the given one stays as it is, and shares what is not on the way there."""
    first, *rest = place
    made = document.copy()
    made[first] = with_lie(document[first], tuple(rest), lie) if rest else lie
    return made
