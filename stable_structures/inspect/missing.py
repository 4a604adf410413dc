# SPDX-License-Identifier: Apache-2.0
"""What an input lacks, whatever is in it: bytes behind the end of a file, records of a log, the rest of a download.

A file that is cut off often looks whole: what is missing would have been at the end, and what is left begins as it should.
So everything that says how long an input is meant to be is held against how long it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..memory.memory import PAGE_SIZE
from .formats.layout import Damage, Finding
from .formats.sequences import LogReader
from .source import NotWhole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .image import Image, Part

UNFINISHED: Final = ("short", "missing", "unfinished", "longer")
"""States of a snapshot that is not what its metadata say."""
_MOST_SAID: Final = 3
_WHAT_TO_DO: Final = "check lists all of it, repair saves what is there, --keep-going goes on without the rest"


def find(image: Image) -> list[Finding]:
    """Everything that is missing of an image or wrong with its files. O(buckets)."""
    return [*image.source.problems, *_of_snapshot(image), *_of_pages(image), *_of_memories(image)]


def _of_snapshot(image: Image) -> Iterator[Finding]:
    snapshot = image.snapshot
    if snapshot is not None and snapshot.state in UNFINISHED:
        yield Finding(None, "snapshot", "the snapshot is complete", 0, 0, snapshot.state, f"{snapshot.stable_memory_size} bytes")


def _of_pages(image: Image) -> Iterator[Finding]:
    """Whole ones, that is. What is not recognised need not be a memory, unless a log says that it is one."""
    size, found = image.source.nbytes, image.recognition
    if size % PAGE_SIZE and (image.source.is_memory or (found.kind != "unknown" and found.certain)):
        yield Finding(None, found.kind, "a memory has whole pages", size, -1, size, f"a multiple of {PAGE_SIZE}")


def _of_memories(image: Image) -> Iterator[Finding]:
    manager = image.manager
    if manager is None:
        return
    size = image.source.nbytes
    if manager.end() > size:
        yield Finding(
            None, "manager", "the buckets that were given out lie inside the memory", size, -1, f"{size} bytes", f"{manager.end()} bytes"
        )
    for part in image.parts.values():
        cut = 0 if part.id is None else manager.cut_off(part.id)
        if cut:
            whole = part.pages * PAGE_SIZE
            rule = f"a memory is not cut off: {cut:,} of its {whole:,} bytes are behind the end"
            yield Finding(part.id, part.kind, rule, part.source.nbytes, -1, f"{part.source.nbytes} bytes", f"{whole} bytes")


def lacking(part: Part) -> Damage | None:
    """Return what a structure lacks by its own header; None if all that it counts can lie inside its memory. O(1)."""
    if part.kind == "log data" and part.index is not None:
        return lacking(part.index)
    if not part.is_structure:
        return None
    try:
        reader = part.open()
        needed = reader.least_bytes()
        if isinstance(reader, LogReader) and reader.data is not None and reader.end(reader.readable() - 1) > reader.room():
            end = reader.end(reader.readable() - 1)
            return Damage("an entry lies inside the data memory", reader.address(reader.readable() - 1), end, f"at most {reader.room()}")
    except Damage as damage:
        return damage
    if needed <= part.source.nbytes:
        return None
    return Damage(f"a {part.word} lies inside its memory", 0, f"{part.source.nbytes} bytes", f"at least {needed} bytes")


def of_part(image: Image, part: Part) -> list[Finding]:
    """Return what is missing of an image, as far as it concerns one memory, its log's other memory, and the structure in it."""
    ids = {None, *(one.id for one in (part.index, part, part.data) if one is not None)}
    found = [problem for problem in image.problems if problem.memory in ids]
    damage = lacking(part)
    return found if damage is None else [*found, part.finding(damage)]


def require_part(part: Part) -> None:
    """Raise `NotWhole` if something is missing of a memory."""
    damage, whole = lacking(part), part.pages * PAGE_SIZE
    if part.source.nbytes < whole:
        damage = Damage("a memory is not cut off", part.source.nbytes, f"{part.source.nbytes} bytes", f"{whole} bytes")
    if damage is not None:
        raise NotWhole(f"{problem_text(part.finding(damage))}; {_WHAT_TO_DO}")


def of_image(image: Image) -> list[Finding]:
    """Return what is missing of an image, and of the structures in it. O(buckets + memories)."""
    lacks = ((part, lacking(part)) for part in image.parts.values() if part.index is None)
    return [*image.problems, *(part.finding(damage) for part, damage in lacks if damage is not None)]


def require_whole(image: Image) -> None:
    """Raise `NotWhole` if something is missing of an image or of a structure in it."""
    found = of_image(image)
    if found:
        raise NotWhole(
            f"{image.name}: {said(found)}; check lists all of it, repair saves what is there, and --keep-going goes on without the rest"
        )


def said(found: list[Finding]) -> str:
    """Return the problem in one line."""
    texts = [problem_text(one) for one in found[:_MOST_SAID]]
    return "; ".join(texts) + (f"; and {len(found) - _MOST_SAID} more" if len(found) > _MOST_SAID else "")


def problem_text(one: Finding) -> str:
    """Return a problem in words."""
    where = one.structure if one.memory is None else f"memory {one.memory}, {one.structure}"
    wanted = "" if one.expected in ("", 0) else f", expected {one.expected}"
    return f"{where}: {one.rule} (at {one.address}: found {one.found}{wanted})"
