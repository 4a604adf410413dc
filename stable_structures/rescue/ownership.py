# SPDX-License-Identifier: Apache-2.0
"""The ownership check: every allocated block is owned exactly once, by a structure whose type fits its size.

This is what refuses wrong types and the wrong pointer width: an image says neither, but blocks have sizes, and the
allocator gives at most 24 bytes more than was asked for.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from .blocks import EMPTY, SLACK, Blocks, padded
from .findings import Broken, Fault, Finding, Findings

_MANY: Final = 8
"""Blocks of one kind that are all too large by the same few bytes: more is no chance."""
_MANY_NODES: Final = 3
"""Nodes of a tree, likewise, if three quarters are too large by whatever: of right types hardly any is."""


class Heap:
    """The blocks of an image, as values are read from them."""

    def __init__(self, blocks: Blocks, width: int) -> None:
        self.blocks, self.width = blocks, width

    def content(self, pointer: int) -> bytes:
        """Return the content of the allocated block at an address. O(size). Raises `Broken`."""
        index = self.blocks.index(pointer)
        if index < 0 or not self.blocks.is_allocated(index):
            raise Broken(f"a pointer leads to {'no block' if index < 0 else 'a free block'}", pointer if pointer < EMPTY else 0)
        return self.blocks.content(index)


class Claims:
    """What one structure owns, and what is wrong with it."""

    def __init__(self, space: Heap, label: str, findings: Findings) -> None:
        self.space, self.label, self.findings = space, label, findings
        self.sound = True
        self._slacks: dict[int, Counter[int]] = {}
        self._nodes = set[int]()
        self._large = 0

    def note(self, text: str, address: int, fault: Fault | None = None, *, ownership: bool = True) -> None:
        """Note what is wrong with the structure."""
        self.sound = self.sound and not ownership
        self.findings.note(Finding(self.label, text, address, fault, ownership))

    def claim(self, pointer: int, need: int, *, exact: bool = True, fault: Fault | None = None) -> bytes | None:
        """Return the content of a block that the structure owns from now on; None, and a finding, if it cannot be."""
        blocks = self.space.blocks
        index = blocks.index(pointer)
        if index < 0:
            self.note("a pointer leads to no block", pointer if pointer < EMPTY else 0)
        elif not blocks.is_allocated(index):
            self.note("a block in use is free", pointer, fault)
        elif blocks.owned[index]:
            self.note("a block is owned twice", pointer, fault)
        elif blocks.size(index) < padded(need):
            self.note(f"a block of {blocks.size(index)} bytes, its type needs {need}: another type or width", pointer)
        elif exact and blocks.size(index) > padded(need) + SLACK:
            self.note(f"a block of {blocks.size(index)} bytes, its type takes {need}: another type or width", pointer)
        else:
            blocks.owned[index] = 1
            if fault is Fault.STALE_STACK:  # the fault of trees
                self._nodes.add(need)
            if exact:
                slack = blocks.size(index) - padded(need)
                self._slacks.setdefault(need, Counter())[slack] += 1
                self._large = pointer if slack else self._large
            return blocks.content(index)
        return None

    def finish(self) -> None:
        """Refuse a type whose blocks are too large. Where that can be chance only say it."""
        large = total = 0
        for need, slacks in self._slacks.items():
            own = slacks.total() - slacks[0]
            large, total = large + own, total + slacks.total()
            if self._is_no_chance(need, own, slacks):
                self.note(f"{own} of {slacks.total()} blocks for {need} bytes are larger: another type", self._large)
        if self.sound and 2 * large >= total > 0:
            self.note(
                f"blocks larger than its type needs: {large} of {total}, by chance, or it is another type", self._large, ownership=False
            )

    def _is_no_chance(self, need: int, large: int, slacks: Counter[int]) -> bool:
        if need in self._nodes:
            return large >= _MANY_NODES and 4 * large > 3 * slacks.total()
        return large >= _MANY and len(slacks) == 1
