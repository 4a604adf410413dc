# SPDX-License-Identifier: Apache-2.0
"""What is in a memory: `inspect` and `check`."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..errors import MemoryInUse
from ..memory.memory import PAGE_SIZE, Memory
from ..storable import Codec
from . import missing
from .budget import guessing
from .fit import as_it_is, open_image
from .formats.layout import BUCKETS, CAPACITY, FREE, UNBOUNDED_MARK, Damage, Finding
from .formats.maps import MapReader, sizes_with
from .formats.recognise import STRUCTURES
from .formats.rules import head_of
from .formats.sequences import CellReader, LogReader, SequenceReader, SlotReader
from .formats.survey import MapStats, first_keys
from .image import Image, Part, Types, held_still
from .jobs import Task, allowed, is_worth_it, results
from .samples import LARGEST_SAMPLE, sample_elements, sample_entries
from .source import PastEnd, Progress, no_progress
from .space import Use, nearly_full, shrunk, use_of
from .steady import CHANGED_TEXT, Look, state_of, steady
from .values import Reading, read_as

_SMALL: Final = 20_000
"""Nodes of a map that is walked without being asked: a tenth of a second or two."""
_SMALL_FAR: Final = 4 << 20
"""Bytes of a map on another machine that is walked without being asked: a request or two."""
_FIRST: Final = 2
_MOST_NOTES: Final = 3
_HALVES: Final = {
    "log index": "the entries of a log, whose data are another memory",
    "log data": "the entries of a log, whose index is another memory",
}
"""What cannot be checked of a memory of a log that is a file of its own."""


@dataclass(slots=True)
class Contents:
    """One memory of an image, as `inspect` shows it. Sizes in bytes; None is what was not looked for or cannot be known."""

    memory: int | None
    kind: str
    title: str
    pages: int
    buckets: int | None
    name: str | None = None
    """As the schema says it."""
    length: int | None = None
    key_bound: str | None = None
    value_bound: str | None = None
    key_sizes: tuple[int, int] | None = None
    value_sizes: tuple[int, int] | None = None
    key_type: str | None = None
    value_type: str | None = None
    key_order: str | None = None
    depth: int | None = None
    fill: float | None = None
    live: int | None = None
    allocated: int | None = None
    reserved: int = 0
    used: int = 0
    free_inside: int | None = None
    """None if it was not counted."""
    never_used: int = 0
    """Reserved, up to the end of the last bucket, and neither used nor free inside."""
    free_chunks: int | None = None
    lost_chunks: int | None = None
    layout: str | None = None
    whole: bool = True
    """Whether everything was walked; False where sizes and fill are of a sample."""
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    first: list[Any] = field(default_factory=list)
    """The first entry or two in the structure's order, read by the types that are shown."""
    last: list[Any] = field(default_factory=list)
    """The last entry in that order, if there are several; not of a heap, whose last element means nothing."""
    damaged: bool = False
    """Whether anything that was looked at breaks a rule; `check` looks at everything."""


@dataclass(slots=True)
class Report:
    """What `inspect` found."""

    name: str
    kind: str
    title: str
    certain: bool
    nbytes: int
    facts: dict[str, Any]
    snapshot: dict[str, Any] | None
    bucket_pages: int | None
    bucket_map: list[int | None] | None
    """The owner of each allocated bucket, None if it has none."""
    memories: list[Contents]
    damage: list[str]
    notes: list[str]
    used: int = 0
    """Bytes that something lies in; with `free_inside` and `never_used` all bytes of the image, or of the memories that it shows."""
    free_inside: int = 0
    never_used: int = 0
    most_buckets: int | None = None
    """How many a manager can give out."""
    is_all: bool = True
    """Whether all memories are looked at."""
    shrunk_bucket_pages: int | None = None
    shrunk: int | None = None
    """About how many bytes `shrink` would leave, with buckets of so many pages; None if it is not worth it."""

    @property
    def damaged(self) -> bool:
        """Return whether anything that was looked at is damaged or missing."""
        return bool(self.damage) or any(one.damaged for one in self.memories)

    def wrong(self) -> list[str]:
        """Return all that is damaged or missing, as texts."""
        return [*self.damage, *(text for one in self.memories if one.damaged for text in one.notes)]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"damaged": self.damaged}


def inspect(
    what: str | Path | Memory | Image, *, deep: bool | None = None, types: Types | None = None, progress: Progress = no_progress
) -> Report:
    """Return what a memory holds. O(1) in its size unless `deep`, which walks everything.

    By itself it walks what is small. Guesses at types end in a question mark. If a file that is being written looks damaged
    and never holds still, that is all that `damage` says. Raises `Unreadable`.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({i: "x" * i for i in range(100)})
    >>> found = inspect(memory).memories[0]
    >>> found.kind, found.length, found.depth, found.value_sizes
    ('map', 100, 3, (0, 99))
    """
    if isinstance(what, Image):
        with held_still(what), guessing():
            return _report(as_it_is(what), deep, types or {}, progress)

    def look() -> Look[Report]:
        with open_image(what, progress) as image, guessing():
            found = _report(image, deep, types or {}, progress)
            return Look(found, wrong := found.wrong(), state_of(image, wrong))

    with held_still(what):
        report, is_changing = steady(look)
    if is_changing:
        report.damage = [CHANGED_TEXT]
    return report


def _report(image: Image, deep: bool | None, types: Types, progress: Progress) -> Report:
    found, manager = image.recognition, image.manager
    report = Report(
        image.name,
        found.kind,
        image.title,
        found.certain,
        image.source.nbytes,
        dict(found.facts),
        _snapshot_facts(image),
        None,
        None,
        [],
        [],
        [],
    )
    report.damage += [missing.problem_text(problem) for problem in image.problems] + found.damage
    report.notes += image.notes
    if manager is not None:
        report.bucket_pages = manager.bucket_pages
        report.bucket_map = [None if owner == FREE else owner for owner in manager.owners[: manager.allocated]]
        unowned = len(manager.unowned())
        report.facts |= {"bytes behind the last bucket": max(0, image.source.nbytes - manager.end()), "buckets without owner": unowned}
        manager.check(lambda damage: report.damage.append(str(damage)))
        report.most_buckets = BUCKETS
        report.notes += [warning] if (warning := nearly_full(image)) is not None else []
    report.memories = [_contents(image, part, deep, types, progress) for part in image.parts.values()]
    _sum_up(report, image)
    return report


def _sum_up(report: Report, image: Image) -> None:
    """Of the whole image, or of the memories that are looked at: the tables of a manager are used, what no memory has is not."""
    report.used = sum(one.used for one in report.memories)
    report.free_inside = sum(one.free_inside or 0 for one in report.memories)
    report.never_used = sum(one.never_used for one in report.memories)
    report.is_all = image.manager is None or len(image.parts) == len(image.manager.ids())
    if not report.is_all:
        return
    report.used += 0 if image.manager is None else min(PAGE_SIZE, report.nbytes)
    report.never_used = max(0, report.nbytes - report.used - report.free_inside)
    if not report.damaged:
        found = shrunk(image, {one.memory: one.used for one in report.memories})
        report.shrunk_bucket_pages, report.shrunk = (None, None) if found is None else found


def _snapshot_facts(image: Image) -> dict[str, Any] | None:
    snapshot = image.snapshot
    return None if snapshot is None else {"tool": snapshot.tool, "state": snapshot.state, **snapshot.facts}


def _contents(image: Image, part: Part, deep: bool | None, types: Types, progress: Progress) -> Contents:
    """One memory of an image."""
    bucket_bytes = 0 if image.manager is None else image.manager.bucket_bytes
    found = Contents(part.id, part.kind, part.title, part.pages, len(part.buckets) if part.id is not None else None)
    found.name, found.reserved = part.given.name, part.source.nbytes
    found.facts = dict(part.recognition.facts) if part.kind not in STRUCTURES else {}
    found.notes += part.recognition.damage
    if part.source.nbytes < part.pages * PAGE_SIZE:
        found.notes.append(f"only {part.source.nbytes:,} of {part.pages * PAGE_SIZE:,} bytes are there")
    found.damaged = bool(found.notes)
    _describe_use(found, use_of(part, None, bucket_bytes))
    if part.kind == "log data":
        if part.index is None:
            found.notes.append("its index is in no memory of this image")
        else:
            found.facts["entries"] = f"see the index in memory {part.index.id}"
    if not part.is_structure and part.index is None:
        return found
    try:
        reader = part.open(*part.types(types))
        if part.is_structure:
            _describe(found, part, reader, deep, progress)
        _describe_use(found, use_of(part, reader, bucket_bytes, found.free_chunks))
    except Damage as damage:
        found.notes.append(str(damage))
        found.damaged = True
    return found


def _describe_use(found: Contents, use: Use) -> None:
    found.used, found.free_inside, found.never_used = use.used, use.free, use.never_used


def _describe(found: Contents, part: Part, reader: MapReader | SequenceReader, deep: bool | None, progress: Progress) -> None:
    if isinstance(reader, MapReader):
        _describe_map(found, part, reader, deep, progress)
        return
    found.length = reader.length
    found.live = found.allocated = reader.live()
    samples = sample_elements(reader)
    reading = _describe_values(found, reader.value, samples, part.names)
    if not samples and reader.readable():
        _describe_large(found, reading, reader)
    found.first = [reading.read(data) for data in _elements(reader, range(min(_FIRST, reader.readable())))]
    found.last = [reading.read(data) for data in _last_element(reader)]
    found.whole = reader.readable() <= max(1, len(samples)) or (isinstance(reader, SlotReader) and reader.fixed)
    problems: list[Damage] = []
    if deep:
        found.value_sizes, found.whole = reader.check(problems.append, progress) or found.value_sizes, True
    _note_problems(found, problems if deep else reader.problems)
    if isinstance(reader, SlotReader):
        found.value_bound = f"= {reader.max_size}" if reader.fixed else f"<= {reader.max_size}"
    elif isinstance(reader, LogReader) and part.data is not None:
        found.facts["data in memory"] = part.data.id
        found.facts["bytes of entries"] = reader.live_data()
    if isinstance(reader, CellReader):
        found.value_bound = None


def _last_element(reader: SequenceReader) -> list[bytes]:
    """Return the last element that can be read, if there are several and their order means something."""
    if reader.readable() < _FIRST or reader.kind == "heap":
        return []
    if not reader.is_at_hand(reader.readable() - 1):  # far away it would cost a request
        return []
    return list(_elements(reader, [reader.readable() - 1]))


def _describe_large(found: Contents, reading: Reading, reader: SequenceReader) -> None:
    """Say the size of the first element, where all are too large to be read."""
    with contextlib.suppress(Damage):
        size = reader.size(0)
        found.value_type, found.value_sizes = reading.label, (size, size)


def _elements(reader: SequenceReader, indices: Iterable[int]) -> Iterator[bytes]:
    """Return those of these elements that can be read and are not too large for a line of a table."""
    for index in indices:
        with contextlib.suppress(Damage):
            if reader.size(index) <= LARGEST_SAMPLE:
                yield reader.element(index)


def _describe_values(found: Contents, codec: Codec[Any] | None, samples: list[bytes], names: Mapping[int, str]) -> Reading:
    reading = read_as(codec, samples, names)
    found.value_type = reading.label if samples else None
    for data in samples:
        found.value_sizes = sizes_with(found.value_sizes, len(data), len(data))
    return reading


def _first_entries(reader: MapReader, key: Reading, value: Reading) -> list[Any]:
    """Of the least keys, those that can be read. O(log n)."""
    return _shown(reader, [(address, i) for address, i, _ in first_keys(reader, _FIRST)], key, value)


def _shown(reader: MapReader, places: list[tuple[int, int]], key: Reading, value: Reading) -> list[Any]:
    """Return the entries at these addresses of nodes and numbers in them, as far as they can be read."""
    found = []
    for address, i in places:
        try:
            node = reader.space.node(address, reader.layout)
            if i >= min(len(node.keys), len(node.values)):  # somebody wrote to it since it was found
                continue
            size = node.values[i][1]
            shown = value.read(node.value(i)) if size <= LARGEST_SAMPLE else f"({size:,} bytes)"
        except Damage:
            continue
        found.append([key.read(node.keys[i]), shown])
    return found


def _describe_map(found: Contents, part: Part, reader: MapReader, deep: bool | None, progress: Progress) -> None:
    layout = reader.layout
    found.length, found.depth = reader.length, reader.depth()
    found.layout = f"layout {reader.version}, pages of {reader.page} bytes"
    found.whole = deep if deep is not None else _is_small(reader)
    stats, problems = _walk(reader, progress) if found.whole else (_sampled(reader), list(reader.problems))
    _note_problems(found, problems)
    keys, values = sample_entries(reader)
    value_reading = _describe_values(found, reader.value, values, part.names)
    key_reading = read_as(reader.key, keys, part.names)
    found.key_type = key_reading.label if keys else None
    found.first = _first_entries(reader, key_reading, value_reading)
    is_near = found.whole or not reader.source.is_far  # far away the way to it costs some requests
    last = reader.last_key() if reader.length > 1 and is_near else None
    found.last = [] if last is None else _shown(reader, [last], key_reading, value_reading)
    found.key_sizes, found.value_sizes = stats.key_sizes, stats.value_sizes
    found.key_bound = _bound(layout.key_fixed, layout.key_max)
    found.value_bound = _bound(layout.value_fixed, layout.value_max)
    found.key_order = reader.order.name if reader.order.certain else f"{reader.order.name}?"
    _describe_space(found, reader, stats)
    is_set = stats.value_sizes == (0, 0) or (not stats.entries and reader.is_set)
    if part.given.structure == "set" or (is_set and part.given.structure != "map"):
        found.title, found.facts["set"] = "a set, or a map of units", True


def _note_problems(found: Contents, problems: list[Damage]) -> None:
    found.notes += [str(problem) for problem in problems[:_MOST_NOTES]]
    found.damaged = found.damaged or bool(problems)
    if len(problems) > _MOST_NOTES:
        found.notes.append(f"{len(problems) - _MOST_NOTES} more; run check")


def _is_small(reader: MapReader) -> bool:
    if reader.source.is_far:
        return reader.least_bytes() <= _SMALL_FAR
    return reader.space.chunks <= _SMALL or reader.allocated <= _SMALL


def _describe_space(found: Contents, reader: MapReader, stats: MapStats) -> None:
    nodes = sum(stats.nodes_by_depth)
    found.fill = round(stats.entries / (CAPACITY * nodes), 3) if nodes else None
    found.allocated = reader.allocated * reader.page
    if found.whole:
        found.live, found.free_chunks, found.lost_chunks = stats.live, stats.free_chunks, stats.lost_chunks
        found.facts |= {"nodes by depth": stats.nodes_by_depth, "overflow pages": stats.overflow_pages}
        if stats.layout_1_nodes:
            found.facts["layout 1 nodes"] = stats.layout_1_nodes


def _bound(fixed: int | None, most: int) -> str | None:
    return f"= {fixed}" if fixed is not None else None if most == UNBOUNDED_MARK else f"<= {most}"


def _walk(reader: MapReader, progress: Progress) -> tuple[MapStats, list[Damage]]:
    problems: list[Damage] = []
    return reader.check(problems.append, progress), problems


def _sampled(reader: MapReader) -> MapStats:
    stats = MapStats(whole=False)
    stats.nodes_by_depth = [0]
    for node in reader.sampled():
        stats.nodes_by_depth[0] += 1
        stats.entries += len(node.keys)
        for key, (_, size) in zip(node.keys, node.values, strict=True):
            stats.key_sizes = sizes_with(stats.key_sizes, len(key), len(key))
            stats.value_sizes = sizes_with(stats.value_sizes, size, size)
    return stats


def readings(part: Part, types: Types) -> tuple[Reading, Reading]:
    """Return how keys and values of a memory are read: as given, or as guessed. Of a row, both are the elements'."""
    key, value = part.types(types)
    reader = part.open(key, value)
    if isinstance(reader, MapReader):
        keys, values = sample_entries(reader)
    else:
        keys = values = sample_elements(reader)
        key = value = value or key
    with guessing():
        return read_as(key, keys, part.names), read_as(value, values, part.names)


# ---- check ----


def check(
    what: str | Path | Memory | Image,
    *,
    types: Types | None = None,
    progress: Progress = no_progress,
    tell: Callable[[Finding], None] | None = None,
    jobs: int = 1,
) -> list[Finding]:
    """Return every broken rule of the manager and of every structure; none is the verdict "sound". O(n). Never writes.

    Content that has no rules is not looked at (docs/inspect.md#check).

    The order of keys whose type is not given is checked if nearly all keys keep one of the usual orders. `tell` hears
    of each finding: of an open image as it is made, else at the end. `jobs` processes look at memories at once (jobs.py).
    A memory that is open for reading is checked in a transaction. Raises `Unreadable`, and `MemoryInUse` if the writer
    committed so much meanwhile that the state is gone, or if a file that is being written looked damaged and never held still.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({i: "x" * i for i in range(100)})
    >>> check(memory)
    []
    """
    if isinstance(what, Image):
        with held_still(what):
            return _broken_rules(as_it_is(what), types or {}, progress, tell or (lambda _: None), jobs)

    def look() -> Look[list[Finding]]:
        with open_image(what, progress) as image:
            found = _broken_rules(image, types or {}, progress, lambda _: None, jobs)
            return Look(found, wrong := [str(one) for one in found], state_of(image, wrong))

    with held_still(what):
        findings, is_changing = steady(look)
    if is_changing:
        raise MemoryInUse(f"{what}: {CHANGED_TEXT}")
    if tell is not None:
        deque(map(tell, findings), 0)
    return findings


def _broken_rules(image: Image, types: Types, progress: Progress, tell: Callable[[Finding], None], jobs: int) -> list[Finding]:
    """Return every broken rule; `tell` hears of each as it is made."""
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        tell(finding)

    check_image(image, note, progress)
    parts = list(image.parts.values())
    if not is_worth_it([part.source.nbytes for part in parts], jobs := allowed(jobs, image.source)):
        for part in parts:
            check_part(part, note, types, progress)
        return findings
    for found in results([Task(part.source.nbytes, partial(_found_in, part, types)) for part in parts], jobs, progress):
        for finding in found:
            note(finding)
    return findings


def _found_in(part: Part, types: Types, progress: Progress) -> list[Finding]:
    found: list[Finding] = []
    check_part(part, found.append, types, progress)
    return found


def unchecked(image: Image, *, integrity: bool = False) -> list[str]:
    """Return what `check` has no rules for, a phrase each. `integrity`: SQLite looked at its databases. O(memories)."""
    return [f"{_whose(part)} ({text})" for part in image.parts.values() if (text := _unchecked(part, integrity=integrity))]


def soundness(unseen: list[str]) -> str:
    """Return the verdict of a `check` that found nothing, in words, with what it has no rules for.

    >>> soundness([]), soundness(["memory 5 (not recognised)"])
    ('sound', 'sound; not checked: memory 5 (not recognised)')
    """
    return f"sound; not checked: {', '.join(unseen)}" if unseen else "sound"


def _whose(part: Part) -> str:
    return "its content" if part.id is None else f"memory {part.id}"


def _unchecked(part: Part, *, integrity: bool) -> str:
    found = part.recognition
    if part.id is None and part.kind in _HALVES:
        return _HALVES[part.kind]
    if part.kind in (*STRUCTURES, "manager", "empty", "zeros") or "payload" in found.facts:  # a payload was decoded
        return ""
    if part.kind == "sqlite":
        return "" if integrity else "SQLite, but for its header; --integrity checks all of it"
    if part.kind == "ic-stable-memory":
        return "all but the blocks; stable-structures rescue checks the structures in them"
    return found.title


def check_image(image: Image, note: Callable[[Finding], None], progress: Progress) -> None:
    """Every broken rule of the file and of the manager's tables."""
    for problem in image.problems:
        note(problem)
    found = image.recognition
    if image.manager is not None:
        progress("manager", 0, 1)
        whole = Part(None, image.source, found, image.source.nbytes // PAGE_SIZE)
        image.manager.check(lambda damage: note(whole.finding(damage)))
    elif found.kind == "manager" or found.kind not in STRUCTURES:  # these have readers, which tell it
        for text in found.damage:
            note(Finding(None, found.kind, text, 0, 0, "", ""))


def check_part(part: Part, note: Callable[[Finding], None], types: Types, progress: Progress) -> None:
    """Every broken rule of one memory."""

    def tell(damage: Damage) -> None:
        note(part.finding(damage))

    if part.kind == "sqlite" and part.id is not None:
        for text in part.recognition.damage:
            tell(Damage(text, 0))
    try:
        if part.kind == "log data" and part.index is None:
            _check_log_data(part, tell)
        if not part.is_structure:
            return
        reader = part.open(*part.types(types))
        reader.check(lambda damage: note(_place(part, reader, damage).finding(damage)), progress)
        if isinstance(reader, LogReader) and reader.data is None and part.id is not None and reader.length:
            tell(Damage("the index of a log has its data", 0, "none", "log data in another memory"))
    except Damage as damage:
        tell(damage)
    except PastEnd as error:
        tell(Damage("an address lies inside the memory", 0, str(error), part.source.nbytes))


def _place(part: Part, reader: MapReader | SequenceReader, damage: Damage) -> Part:
    """Return the memory that a broken rule is in: of a log, that may be the one with its data."""
    of_data = reader.data_problems if isinstance(reader, LogReader) else ()
    return part.data if part.data is not None and any(damage is one for one in of_data) else part


def _check_log_data(part: Part, tell: Callable[[Damage], None]) -> None:
    """Of the data of a log without its index, nobody can tell more than whether they begin as they should."""
    if part.id is not None:
        tell(Damage("the data of a log have an index", 0, "none", "a log index in another memory"))
    for problem in head_of(part.source, "log data")[1]:
        tell(problem)
