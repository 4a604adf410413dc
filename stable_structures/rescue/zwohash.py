# SPDX-License-Identifier: Apache-2.0
"""The hash of the crate's hash tables, zwohash 0.1.2 on words of 4 or 8 bytes (docs/format-ism.md#hash)."""

from __future__ import annotations

from typing import Final

_CONSTANTS: Final = {4: (0x2C9277B5, 21), 8: (0x2545F4914F6CDD1D, 41)}


class Hash:
    """A hash that is fed parts; `finish` gives it. O(size) in all.

    >>> made = Hash(4)
    >>> made.word(7)
    >>> made.finish() == Hash.of_words(4, 7)
    True
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._bits = 8 * width
        self._mask = (1 << self._bits) - 1
        self._factor, self._turn = _CONSTANTS[width]
        self._state = 0

    @classmethod
    def of_words(cls, width: int, *words: int) -> int:
        """Return the hash of some words."""
        made = cls(width)
        for word in words:
            made.word(word)
        return made.finish()

    def word(self, value: int) -> None:
        """Feed one word; of a larger number, the low one."""
        mixed = self._state * self._factor & self._mask
        self._state = (mixed >> self._turn | mixed << self._bits - self._turn) & self._mask ^ value & self._mask

    def number(self, value: int, size: int) -> None:
        """Feed an integer of `size` bytes: 16 bytes as two halves, 8 bytes as two words if words are narrower."""
        value &= (1 << 8 * size) - 1
        for shift in range(0, max(size, self.width), self.width):
            self.word(value >> 8 * shift)

    def octets(self, data: bytes) -> None:
        """Feed bytes, without their length: whole words, then the last word, which may overlap."""
        size, width = len(data), self.width
        if size >= width:
            for at in range(0, size - width, width):
                self.word(int.from_bytes(data[at : at + width], "little"))
            self.word(int.from_bytes(data[-width:], "little"))
        elif size > 3:  # noqa: PLR2004 - 4 to 7 of 8
            self.word(int.from_bytes(data[:4], "little") | int.from_bytes(data[-4:], "little") << 32)
        elif size > 1:
            self.word(int.from_bytes(data[:2], "little") | int.from_bytes(data[-2:], "little") << 16)
        elif size:
            self.word(data[0])

    def finish(self) -> int:
        """Return the hash of what was fed."""
        product = self._state * self._factor
        return (product & self._mask) - (product >> self._bits) & self._mask
