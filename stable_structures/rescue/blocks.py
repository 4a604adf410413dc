# SPDX-License-Identifier: Apache-2.0
"""The blocks of an image, walked by their size words (docs/format-ism.md#blocks).

    +-----------+----------------------+-----------+
    | size (8)  | `size` bytes         | size (8)  |     bit 63 of a size word: allocated
    +-----------+----------------------+-----------+
    ^ pointer   ^ content

O1. Blocks tile the memory from byte 8 to its end. Sizes are multiples of 8, at least 16.
O2. Both size words agree. O3. Two free blocks never touch.

Behind a damaged block the walk goes on at the next address whose two size words agree. What lies between is split
where one remaining word of each neighbour says so, and is a gap otherwise.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from copy import copy
from typing import Final, Protocol

import numpy as np

FIRST: Final = 8
EMPTY: Final = 2**64 - 1
ALLOCATED: Final = 1 << 63
_WORDS: Final = 16
_LEAST: Final = 16
_SCAN: Final = 1 << 20
SLACK: Final = 24
"""Bytes that a block can have beyond what was asked for, since a smaller rest is not split off."""

Tell = Callable[[int, str], None]


class Bytes(Protocol):
    """What an image is read from."""

    nbytes: int

    def read(self, offset: int, length: int, /) -> bytes:
        """Return bytes."""
        ...


def padded(size: int) -> int:
    """Return the content size that the allocator takes for a request. O(1).

    >>> padded(3), padded(17)
    (16, 24)
    """
    return max(_LEAST, -(-size // 8) * 8)


def block_end(at: int, word: int, end: int) -> int:
    """Return where the block with this size word ends, or 0 if a memory of `end` bytes cannot have it. O(1).

    >>> block_end(8, ALLOCATED | 16, 65536), block_end(8, 12, 65536)
    (40, 0)
    """
    size = word & ~ALLOCATED
    stop = at + size + _WORDS
    return stop if size >= _LEAST and size % 8 == 0 and stop <= end else 0


class Blocks:
    """The blocks of an image by address: 17 bytes of memory each. O(blocks), and O(bytes) across damage."""

    def __init__(self, source: Bytes, tell: Tell) -> None:
        self.source = source
        self.end = source.nbytes
        self.starts = array("Q")
        self._sizes = array("Q")
        self.gaps: list[tuple[int, int]] = []
        self._window = (0, b"")
        self._walk(tell)
        self.owned = bytearray(len(self.starts))

    def unowned(self) -> Blocks:
        """Return the same blocks, of which nothing is owned. O(blocks)."""
        made = copy(self)
        made.owned = bytearray(len(self))
        return made

    # ---- looking up ----

    def __len__(self) -> int:
        return len(self.starts)

    def index(self, pointer: int) -> int:
        """Return the number of the block at an address, or -1. O(log n)."""
        found = bisect_left(self.starts, pointer)
        return found if found < len(self.starts) and self.starts[found] == pointer else -1

    def size(self, index: int) -> int:
        """Return bytes of content."""
        return self._sizes[index] & ~ALLOCATED

    def is_allocated(self, index: int) -> bool:
        """Return whether it is in use."""
        return bool(self._sizes[index] & ALLOCATED)

    def allocated(self) -> Iterator[int]:
        """Return the numbers of the blocks in use."""
        return (i for i in range(len(self.starts)) if self._sizes[i] & ALLOCATED)

    def free(self) -> list[tuple[int, int]]:
        """Return address and size of all free blocks, by address."""
        return [(self.starts[i], self._sizes[i]) for i in range(len(self.starts)) if not self._sizes[i] & ALLOCATED]

    def content(self, index: int, length: int | None = None) -> bytes:
        """Return the content of a block, or its first bytes."""
        size = self.size(index)
        return self.source.read(self.starts[index] + 8, size if length is None else min(size, length))

    # ---- walking ----

    def _word(self, at: int) -> int:
        start, data = self._window
        if not start <= at <= start + len(data) - 8:
            start = at
            data = self.source.read(at, min(_SCAN, self.end - at))
            self._window = (start, data)
        return int.from_bytes(data[at - start : at - start + 8], "little")

    def _far_word(self, at: int) -> int:
        """Return a word that may lie far ahead: the window stays where it is."""
        start, data = self._window
        if start <= at <= start + len(data) - 8:
            return self._word(at)
        return int.from_bytes(self.source.read(at, 8), "little")

    def _end_by_front(self, at: int) -> int:
        """Return where the block ends by its front word, or 0 if that is not possible."""
        return block_end(at, self._word(at), self.end)

    def _is_sound(self, at: int) -> int:
        stop = self._end_by_front(at)
        return stop if stop and self._far_word(stop - 8) == self._word(at) else 0

    def _add(self, at: int, word: int) -> None:
        self.starts.append(at)
        self._sizes.append(word)

    def _walk(self, tell: Tell) -> None:
        at = FIRST
        was_free = False
        while at < self.end:
            stop = self._is_sound(at) if at + _WORDS + _LEAST <= self.end else 0
            if not stop:
                at, was_free = self._across(at, tell), False
                continue
            word = self._word(at)
            if was_free and not word & ALLOCATED:
                tell(at, "two free blocks touch")
            was_free = not word & ALLOCATED
            self._add(at, word)
            at = stop
        self._window = (0, b"")

    def _across(self, at: int, tell: Tell) -> int:
        """Go past a damaged place; return where sound blocks begin again."""
        stop = self._next_sound(at + 8)
        front = self._end_by_front(at)
        rear = self._far_word(stop - 8)
        begin = stop - (rear & ~ALLOCATED) - _WORDS
        if begin == at:
            tell(at, "the front size word of a block is damaged; the rear one says its size")
            self._add(at, rear)
        elif front == stop:
            tell(at, "the rear size word of a block is damaged; the front one says its size")
            self._add(at, self._word(at))
        elif front and front == begin:
            tell(front, "the size words between two blocks are overwritten")
            self._add(at, self._word(at))
            self._add(front, rear)
        else:
            tell(at, f"no block for {stop - at} bytes: the size words do not agree")
            self.gaps.append((at, stop))
        return stop

    def _next_sound(self, at: int) -> int:
        """Return the next address of a block whose words agree, or the end. O(bytes between)."""
        for start in range(at, self.end - 7, _SCAN):
            length = min(_SCAN, self.end - start) // 8 * 8
            words = np.frombuffer(self.source.read(start, length), "<u8")
            sizes = words & np.uint64(ALLOCATED - 1)
            near = np.flatnonzero((sizes >= _LEAST) & (sizes % 8 == 0) & (sizes <= self.end))
            for number in near.tolist():
                here = start + 8 * number
                stop = here + int(sizes[number]) + _WORDS
                if stop <= self.end and self._far_word(stop - 8) == int(words[number]):
                    return int(here)
        return self.end

    def wiped(self) -> int:
        """Return how many old blocks lie whole under a single free block that spans the memory: `stable_memory_init` makes that. O(bytes).

        Freeing block by block does not: it writes size words of the blocks it frees.
        """
        if len(self) != 1 or self.is_allocated(0):
            return 0
        at = self._next_sound(FIRST + _WORDS + _LEAST)
        if at >= self.end or self._far_word(at - 8) != (at - FIRST - _WORDS) | ALLOCATED:
            return 0
        count = 1
        while stop := self._is_sound(at):
            count += bool(self._word(at) & ALLOCATED)
            at = stop
            if at + _WORDS + _LEAST > self.end:
                return 0
        return count if self._end_by_front(at) == self.end else 0
