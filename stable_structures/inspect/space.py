# SPDX-License-Identifier: Apache-2.0
"""How the bytes of an image are used: what lies in them, what is free inside of structures, what was never used.

file     tables, where there is a manager | buckets, each of one memory | what is behind the last bucket
memory   used | free inside: chunks that a map's free list leads to | never used: up to the end of its last bucket
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..memory.memory import PAGE_SIZE
from .formats.layout import BUCKETS, FIRST_CHUNK
from .formats.maps import MapReader
from .formats.sequences import LogReader, SequenceReader
from .image import Image, Part

_WORTH: Final = 0.1
"""Less than this share of a file is not worth shrinking."""
_NEARLY: Final = 0.8
"""So much of the manager's buckets, and it is time for larger ones."""
_MOST_FREE: Final = 1000
"""Chunks of a free list that are counted without being asked."""


@dataclass(slots=True)
class Use:
    """Bytes of one memory. `free` is None if it was not counted."""

    used: int
    free: int | None
    never_used: int


def use_of(part: Part, reader: MapReader | SequenceReader | None, bucket_bytes: int, free_chunks: int | None = None) -> Use:
    """Return how the bytes of a memory are used. O(1); of a map with few free chunks, that are not given, O(these)."""
    whole = len(part.buckets) * bucket_bytes if part.id is not None else part.source.nbytes
    used, free = part.source.nbytes if part.kind != "zeros" else 0, 0
    if isinstance(reader, MapReader):
        if free_chunks is None and not reader.source.is_far:  # far away each may cost a request
            free_chunks = reader.free_chunks(_MOST_FREE)
        used = FIRST_CHUNK + reader.allocated * reader.space.stride
        free = -1 if free_chunks is None else free_chunks * reader.space.stride
    elif isinstance(reader, LogReader):
        used = reader.live() if part.kind == "log index" else reader.live_data()
    elif reader is not None:
        used = reader.live()
    used = min(used, whole)
    known = min(max(free, 0), whole - used)
    return Use(used, None if free < 0 else known, whole - used - known)


def nearly_full(image: Image) -> str | None:
    """Return a warning if the manager will soon have no buckets left."""
    manager = image.manager
    if manager is None or manager.allocated < _NEARLY * BUCKETS:
        return None
    share = manager.allocated / BUCKETS
    return (
        f"{manager.allocated:,} of {BUCKETS:,} buckets are given out ({share:.0%}): when all are, no memory can grow any more; "
        f"move the data into larger buckets before that (now they have {manager.bucket_pages} pages)"
    )


def shrunk(image: Image, used: dict[int | None, int]) -> tuple[int | None, int] | None:
    """Return what `shrink` would make of an image: pages of a bucket (None without a manager), and bytes; None if it is not worth it.

    At most: maps are packed too, so that it may become less. O(memories).
    """
    pages = [
        -(-(used[part.id] if part.is_structure or part.kind == "log data" else part.source.nbytes) // PAGE_SIZE)
        for part in image.parts.values()
    ]
    bucket = None if image.manager is None else 1
    after = sum(pages)
    if bucket is not None:
        while sum(-(-count // bucket) for count in pages) > BUCKETS:
            bucket *= 2
        after = 1 + sum(-(-count // bucket) * bucket for count in pages)
    saved = image.source.nbytes - after * PAGE_SIZE
    if (
        saved < max(PAGE_SIZE, _WORTH * image.source.nbytes)
        or image.problems
        or not any(part.is_structure for part in image.parts.values())
    ):
        return None
    return bucket, after * PAGE_SIZE
