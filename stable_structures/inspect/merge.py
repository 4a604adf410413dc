# SPDX-License-Identifier: Apache-2.0
"""What is different between two maps, whatever their layouts: both are read in order, side by side, in columns.

Runs of entries that are equal are skipped at the speed of memory. In memory are a batch of each map, and what is different.
The order of the keys makes it fast, not right: an entry that is met at different places in the two is found at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from .formats.layout import LENGTH_AT, Damage
from .formats.maps import MapReader
from .formats.rules import refuse
from .formats.survey import batches

Difference = tuple[bytes, bytes | None, bytes | None]
"""A key with its value before and after; None if it is missing."""
_RUN: Final = 1 << 14


def differences(a: MapReader, b: MapReader) -> list[Difference]:
    """Return every key whose value is not the same in both, in no order. O(n) time. Raises `Damage` and `Unreadable`."""
    gone: dict[bytes, bytes] = {}
    new: dict[bytes, bytes] = {}
    changed: list[Difference] = []
    for key, before, after in _side_by_side(_Stream(a), _Stream(b), b.order.ascends):
        if before is not None and after is not None:
            changed.append((key, before, after))
        elif before is not None:
            gone[key] = before
        elif after is not None:
            new[key] = after
    for key in gone.keys() & new.keys():
        before, after = gone.pop(key), new.pop(key)
        if before != after:
            changed.append((key, before, after))
    changed += [(key, value, None) for key, value in gone.items()]
    return changed + [(key, None, value) for key, value in new.items()]


class _Stream:
    """The entries of a map: a batch at hand, and a place in it."""

    def __init__(self, reader: MapReader) -> None:
        self._batches, self._length = batches(reader, refuse), reader.length
        self.at = self.count = self._met = 0

    def fill(self) -> bool:
        """Return whether there is an entry at hand; take the next batch if there is none."""
        if self.at < self.count:
            return True
        batch = next(self._batches, None)
        if batch is None:
            if self._met != self._length:
                raise Damage("a map's length counts its entries", LENGTH_AT, self._length, self._met)
            return False
        self._keys, key_ends, self._values, value_ends, *_ = batch
        self._key_ends, self._value_ends = (np.concatenate((np.zeros(1, np.uint64), ends)) for ends in (key_ends, value_ends))
        self._key_bytes, self._value_bytes = np.frombuffer(self._keys, np.uint8), np.frombuffer(self._values, np.uint8)
        self.at, self.count = 0, len(key_ends)
        self._met += self.count
        return True

    def left(self) -> int:
        """Return the number of entries at hand."""
        return self.count - self.at

    def key(self) -> bytes:
        """Return the key of the entry at hand."""
        return self._keys[int(self._key_ends[self.at]) : int(self._key_ends[self.at + 1])]

    def value(self) -> bytes:
        """Return the value of the entry at hand."""
        return self._values[int(self._value_ends[self.at]) : int(self._value_ends[self.at + 1])]

    def has_same(self, other: _Stream, count: int) -> bool:
        """Return whether the next entries of both are the same."""
        mine, theirs = slice(self.at, self.at + count + 1), slice(other.at, other.at + count + 1)
        for ends, other_ends, data, other_data in (
            (self._key_ends[mine], other._key_ends[theirs], self._key_bytes, other._key_bytes),
            (self._value_ends[mine], other._value_ends[theirs], self._value_bytes, other._value_bytes),
        ):
            if ends[-1] - ends[0] != other_ends[-1] - other_ends[0] or not np.array_equal(ends - ends[0], other_ends - other_ends[0]):
                return False
            if not np.array_equal(data[int(ends[0]) : int(ends[-1])], other_data[int(other_ends[0]) : int(other_ends[-1])]):
                return False
        return True


def _side_by_side(one: _Stream, two: _Stream, ascends: Callable[[bytes, bytes], bool]) -> Iterator[Difference]:
    """Iterate over entries that are not equal where both are met; runs that are tried grow while they are equal."""
    run = _RUN
    while one.fill() and two.fill():
        count = min(run, one.left(), two.left())
        if one.has_same(two, count):
            one.at, two.at, run = one.at + count, two.at + count, min(2 * run, _RUN)
        elif count > 1:
            run = count // 2
        else:
            yield _step(one, two, ascends)
    for stream, is_before in ((one, True), (two, False)):
        while stream.fill():
            yield (stream.key(), stream.value(), None) if is_before else (stream.key(), None, stream.value())
            stream.at += 1


def _step(one: _Stream, two: _Stream, ascends: Callable[[bytes, bytes], bool]) -> Difference:
    """Return the lesser of two entries, or both if they have one key."""
    key, other = one.key(), two.key()
    if key == other:
        found: Difference = key, one.value(), two.value()
        one.at, two.at = one.at + 1, two.at + 1
    elif ascends(key, other):
        found = key, one.value(), None
        one.at += 1
    else:
        found = other, None, two.value()
        two.at += 1
    return found
