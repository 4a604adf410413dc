# SPDX-License-Identifier: Apache-2.0
"""What the inspector says of an image of ic-stable-memory without its types: the blocks, and whether the allocator was saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from .blocks import FIRST, Blocks, Bytes, block_end
from .findings import MOST, Broken
from .saved import PREFIX, Saved, find_saved

_FEW: Final = 3
_LEAST_IMAGE: Final = 64


@dataclass(slots=True)
class Summary:
    """Blocks and saved keys; `damage` is what is wrong with them."""

    title: str
    facts: dict[str, Any]
    damage: list[str] = field(default_factory=list)


def summary(source: Bytes) -> Summary | None:
    """Return what an image of ic-stable-memory shows without types, or None if it is not one. O(blocks), O(1) for other images.

    >>> from stable_structures.inspect.source import BytesSource
    >>> summary(BytesSource(bytes(65536))) is None
    True
    """
    if not (_begins_with_blocks(source) or _ends_agree(source) or _leads_to_allocator(source)):
        return None
    damage: list[str] = []
    blocks = Blocks(source, lambda at, text: damage.append(f"byte {at}: {text}") if len(damage) < MOST else None)
    try:
        saved = find_saved(blocks)
    except Broken as error:
        saved = None
        damage.append(f"the saved allocator: {error}")
    if saved is not None and saved.free != blocks.free():
        damage.append("the saved free lists are not the free blocks")
    state = "as pre_upgrade saved it" if saved else "not saved by pre_upgrade"
    return Summary(f"a memory of the crate ic-stable-memory, {state}: read it with stable-structures rescue", _facts(blocks, saved), damage)


def _facts(blocks: Blocks, saved: Saved | None) -> dict[str, Any]:
    used = list(blocks.allocated())
    facts: dict[str, Any] = {
        "blocks": len(blocks),
        "allocated blocks": len(used),
        "allocated bytes": sum(blocks.size(i) for i in used),
        "saved keys": sorted(saved.roots) if saved else "none: the roots were on the heap",
        "what to do": "write its types into ism.toml (docs/rescue.md), then: stable-structures rescue FILE --schema ism.toml -o OUT",
    }
    return facts | ({"allocator at": saved.pointer} if saved else {})


def _begins_with_blocks(source: Bytes) -> bool:
    """Return whether the first blocks have two equal size words; a few of them, or all that there are."""
    at, seen = FIRST, 0
    while seen < _FEW and at + _LEAST_IMAGE // 2 <= source.nbytes:
        front = source.read(at, 8)
        stop = block_end(at, int.from_bytes(front, "little"), source.nbytes)
        if not stop or source.read(stop - 8, 8) != front:
            return False
        at, seen = stop, seen + 1
    return seen == _FEW or (seen > 0 and at == source.nbytes)


def _ends_agree(source: Bytes) -> bool:
    """Return whether the first block ends where the last one begins, whatever lies between them: one size word of each says so."""
    if source.nbytes < _LEAST_IMAGE or source.nbytes % 8:
        return False
    first, last = (int.from_bytes(source.read(at, 8), "little") for at in (FIRST, source.nbytes - 8))
    stop = block_end(FIRST, first, source.nbytes)
    return stop > 0 and block_end(stop, last, source.nbytes) == source.nbytes


def _leads_to_allocator(source: Bytes) -> bool:
    """Return whether the word at 0 leads to an encoded allocator."""
    if source.nbytes < _LEAST_IMAGE:
        return False
    pointer = int.from_bytes(source.read(0, 8), "little")
    return FIRST <= pointer <= source.nbytes - 8 - len(PREFIX) and source.read(pointer + 8, len(PREFIX)) == PREFIX
