# SPDX-License-Identifier: Apache-2.0
"""The saved allocator: one Candid value of a fixed type, read strictly (docs/format-ism.md#saved-allocator)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..encodings.candid.codec import CandidError
from ..encodings.candid.codec import decode as decode_message
from .blocks import ALLOCATED, Blocks, block_end
from .findings import Broken

PREFIX: Final = bytes.fromhex(
    "4449444c076c06f4e0baf00478b794e9ee0878a9a0aca10b7893a7dfa30d78f9a1bbd20d01bdb9cad20e05"
    "6d026c02007801036d046c02eec3d50278c1c1cee204786d066c02007801780100"
)
_LEAST: Final = len(PREFIX) + 34 + 100
"""Bytes of an encoding without blocks and keys, and 100 more, which `pre_upgrade` asks for."""
_OF_A_BLOCK: Final = 8 + 10 + 16
"""A size and the length of its list, and the address and size of a block in it."""
_OF_GAPS: Final = 16 << 20
"""Where blocks are lost. Size words may come from anybody: one block can claim to be the whole memory."""


@dataclass(slots=True)
class Saved:
    """The allocator as `pre_upgrade` wrote it."""

    pointer: int
    free_size: int
    available_size: int
    max_pages: int
    max_ptr: int
    free: list[tuple[int, int]] = field(default_factory=list)
    """Address and size of each free block, by address."""
    roots: dict[int, int] = field(default_factory=dict)
    """The pointer of the box under each key of the custom data."""


def find_saved(blocks: Blocks) -> Saved | None:
    """Return the saved allocator that the word at 0 leads to; None if the canister ran on since. Raises `Broken` for a damaged one.

    The word and the encoding stay behind as stale bytes. What tells is that the free lists agree with the blocks, or, in a
    damaged image, that the boxes of most keys are there: a canister that starts takes them apart.
    """
    if blocks.end < 16:  # noqa: PLR2004 - the word at 0 and one more
        return None
    pointer = int.from_bytes(blocks.source.read(0, 8), "little")
    size = _size(blocks, pointer)
    if size < _LEAST or blocks.source.read(pointer + 8, len(PREFIX)) != PREFIX:  # a smaller one is allocated again, and not written yet
        return None
    made = decode(blocks.source.read(pointer + 8, min(size, _most(blocks))), pointer)
    there = sum(blocks.is_allocated(root) for root in map(blocks.index, made.roots.values()) if root >= 0)
    return made if made.free == blocks.free() or 2 * there > len(made.roots) else None


def _size(blocks: Blocks, pointer: int) -> int:
    """Return bytes of the allocated block at an address, 0 for none; where blocks lie over each other, by its front word alone."""
    index = blocks.index(pointer)
    if index >= 0:
        return blocks.size(index) if blocks.is_allocated(index) else 0
    if not blocks.gaps or pointer + 8 > blocks.end:
        return 0
    word = int.from_bytes(blocks.source.read(pointer, 8), "little")
    return word & ~ALLOCATED if word & ALLOCATED and block_end(pointer, word, blocks.end) else 0


def _most(blocks: Blocks) -> int:
    """Return the most bytes that an encoding can need: a block is free, in a list of its own at worst, or the box under a key."""
    lost = sum(stop - start for start, stop in blocks.gaps)
    return _LEAST + _OF_A_BLOCK * len(blocks) + min(lost, _OF_GAPS)


def decode(data: bytes, pointer: int = 0) -> Saved:
    """Return the value of an encoding; trailing bytes are allowed. O(size). Raises `Broken`."""
    try:
        (message,) = decode_message(data)
    except CandidError as error:
        raise Broken(f"the saved allocator: {error}", pointer) from None
    *numbers, lists, pairs = message.values()
    made = Saved(pointer, *numbers)
    made.roots = dict(pairs)
    if len(made.roots) < len(pairs):
        raise Broken("the saved allocator has a key twice", pointer)
    # A block is there with both sizes if they differ: then one of them is not among the blocks.
    made.free = sorted({(at, each) for size, blocks in lists for at, own in map(dict.values, blocks) for each in (size, own)})
    return made
