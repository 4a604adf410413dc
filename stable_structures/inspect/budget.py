# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLR2004 - codes of the CBOR format
"""How much may be spent on guessing at bytes that anybody may have written, and on showing what they decode as.

Of each value: bytes, depth and items. What passes these costs time in proportion to its bytes, whatever it is. Of a
run, such as one `inspect`: the items that are looked at to choose among the guesses, not the time this takes, so that the
same image is shown the same on every machine. What exceeds a limit is shown as bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import cbor2

from ..encodings.limits import MOST_DEPTH, MOST_ITEMS, TooMuch, count_items, metered, require_moderate

MOST_LOOKED_AT: Final = 3_000_000
"""Items of values, for choosing among the guesses in a run: some seconds."""

_SHOWN_DEPTH: Final = 150
MOST_ODD_KEYS: Final = 1000
"""Keys whose hashes their writer can choose; many of them make a dict slow."""
LARGE: Final = 2**61 - 1
"""From here on whoever writes integers chooses their hashes."""
_HEAVY_TAGS: Final = frozenset({5, 25, 28, 29, 35, 36, 256})
"""What few bytes make much of: binary exponents, shared texts and values, regular expressions, mail."""
_BIG_NUMBERS: Final = frozenset({2, 3})
_MOST_DIGITS: Final = 4096
_SET: Final = 258


class Budget:
    """How many items may still be looked at."""

    def __init__(self, items: int = MOST_LOOKED_AT) -> None:
        self.left = items

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Take away what it costs to read a value in the block."""
        with metered() as meter:
            try:
                yield
            finally:
                self.left -= 1 + meter.items


_RUN: Final[ContextVar[Budget | None]] = ContextVar("guessing", default=None)


@contextmanager
def guessing() -> Iterator[Budget]:
    """Begin a run whose guesses share a budget; inside another run, use the budget of that one.

    >>> with guessing() as run, guessing() as inner:
    ...     run is inner
    True
    """
    outer = _RUN.get()
    if outer is not None:
        yield outer
        return
    token = _RUN.set(Budget())
    try:
        yield _RUN.get() or Budget()
    finally:
        _RUN.reset(token)


def is_modest(value: Any, size: int) -> bool:
    """Return whether a value of `size` encoded bytes is as large as they suggest: not a tangle of shared parts, and not too deep. O(size).

    >>> tangle = ["x"]
    >>> for _ in range(40):
    ...     tangle = [tangle, tangle]
    >>> is_modest(["x"] * 100, 202), is_modest(tangle, 300)
    (True, False)
    """
    left, level, depth = 4 * size + 4096, [value], 0
    while level:
        left -= len(level)
        inner: list[Any] = []
        for item in level:
            if isinstance(item, (str, bytes)):
                left -= len(item)
            elif isinstance(item, Mapping):
                inner += (*item.keys(), *item.values())
            elif isinstance(item, (list, tuple, set, frozenset)):
                inner += item
            elif isinstance(item, cbor2.CBORTag):
                inner.append(item.value)
            if left < 0 or len(inner) > left:
                return False
        level, depth = inner, depth + 1
        if depth > _SHOWN_DEPTH:
            return False
    return True


# ---- CBOR ----


def require_modest_cbor(data: bytes) -> None:
    """Check one CBOR item before a decoder reads it. O(items). Raises `TooMuch`, and `ValueError` if it is not well-formed.

    >>> require_modest_cbor(cbor2.dumps({"a": [1, 2]}))
    >>> require_modest_cbor(bytes.fromhex("d81c81d81d00"))
    Traceback (most recent call last):
    stable_structures.encodings.limits.TooMuch: tag 28
    """
    require_moderate(data)
    scan = _Scan(data)
    try:
        end = scan.run()
    except IndexError:
        raise ValueError("the item ends too early") from None
    finally:
        count_items(scan.items)
    if end != len(data):
        raise ValueError("bytes behind the item")
    if scan.trouble:
        raise TooMuch(scan.trouble)


class _Scan:
    """Reads the heads of an item and of all items in it, without decoding any of them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.left = [1]
        """Items to come on each level; below 0 on one without an end of its own."""
        self.hashed = [0]
        """On each level, which items are hashed: none, all (1), or every other one (2)."""
        self.odd_keys = 0
        self.tag = -1
        self.items = 0
        self.trouble = ""
        """Why the item is not to be decoded, if it is one."""

    def run(self) -> int:
        while self.left:
            if self.left[-1] == 0:
                self.left.pop()
                self.hashed.pop()
                continue
            self.items += 1
            if self.items > MOST_ITEMS:
                raise TooMuch(f"more than {MOST_ITEMS} items")
            self._item()
            if len(self.left) > MOST_DEPTH:
                raise TooMuch(f"more than {MOST_DEPTH} levels")
        return self.at

    def _refuse(self, reason: str) -> None:
        self.trouble = self.trouble or reason

    def _item(self) -> None:
        head = self.data[self.at]
        self.at += 1
        if head == 0xFF:
            if self.left[-1] >= 0:
                raise ValueError("a break outside of an indefinite item")
            self.left[-1] = 0
            return
        self.left[-1] -= 1
        major, tag, self.tag = head >> 5, self.tag, -1
        if head & 31 == 31:
            self._enter(major, -1, tag)
            return
        number = self._number(head & 31)
        self._look_at_key(major, number)
        if major in (2, 3):
            if tag in _BIG_NUMBERS and number > _MOST_DIGITS:
                self._refuse(f"a number of {number} bytes")
            self.at += number
            if self.at > len(self.data):
                raise IndexError
        elif major in (4, 5):
            self._enter(major, number, tag)
        elif major == 6:
            if number in _HEAVY_TAGS:
                self._refuse(f"tag {number}")
            self.tag = number
            self.left[-1] += 1  # the tag and its item are one

    def _enter(self, major: int, count: int, tag: int) -> None:
        if not 2 <= major <= 5:
            raise ValueError(f"an indefinite item of type {major}")
        if tag in _BIG_NUMBERS:
            self._refuse("a number in pieces")
        if count > len(self.data) - self.at:
            raise IndexError
        self.left.append(count if major != 5 else max(2 * count, -2))
        self.hashed.append(2 if major == 5 else int(tag == _SET))

    def _number(self, low: int) -> int:
        if low < 24:
            return low
        if low > 27:
            raise ValueError(f"a head that is reserved: {low}")
        width = 1 << (low - 24)
        if self.at + width > len(self.data):
            raise IndexError
        self.at += width
        return int.from_bytes(self.data[self.at - width : self.at], "big")

    def _look_at_key(self, major: int, number: int) -> None:
        """Keys whose hashes their writer can choose make a dict slow: text and bytes are not among them, nor are usual numbers."""
        if not self.hashed[-1] or (self.hashed[-1] == 2 and self.left[-1] % 2 == 0):
            return
        if major in (2, 3) or (major < 2 and number < LARGE):
            return
        self.odd_keys += 1
        if self.odd_keys > MOST_ODD_KEYS:
            self._refuse(f"more than {MOST_ODD_KEYS} keys that are neither text nor usual numbers")
