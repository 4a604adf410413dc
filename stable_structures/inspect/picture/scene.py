# SPDX-License-Identifier: Apache-2.0
"""What lies at each address of a memory, for pictures: read once, asked by numpy arrays of addresses or sent to a page."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from itertools import islice
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ... import _native as native
from ...encodings.json_form import to_json
from ...memory.memory import PAGE_SIZE
from ..formats.layout import CELL_AT, FIRST_CHUNK, LOG_DATA_AT, LOG_ENDS_AT, SLOTS_AT, Damage, Finding
from ..formats.maps import MapReader
from ..formats.sequences import LogReader, SequenceReader, SlotReader
from ..formats.survey import MapStats, MapSurvey
from ..image import Image, Part, Types
from ..report import check_image, check_part, readings
from ..source import Progress, no_progress
from ..space import Use, use_of
from ..values import shorten

Column = npt.NDArray[np.int64]
_MOST_CHUNKS: Final = 1 << 21
_MOST_LABELS: Final = 20_000
_MOST_ENDS: Final = 20_000
_MOST_NOTES: Final = 20
_MOST_FAULTS: Final = 1000


class What(IntEnum):
    """What a byte belongs to. Of a group of bytes the greatest is shown, so what is rare and wrong comes last."""

    OUTSIDE = 0
    UNUSED = 1
    FREE = 2
    UNKNOWN = 3
    DATA = 4
    OVERFLOW = 5
    LEAF = 6
    INTERNAL = 7
    HEADER = 8
    TABLE = 9
    UNOWNED = 10
    LOST = 11


_core: Final = native.call
_INTERNAL: Final = 2
_NOTHING: Final = np.zeros(0, np.uint8)
_MEANINGS: Final = np.zeros(4, np.uint8)
"""Of each mark of a survey."""
_MEANINGS[[0, _core.SS_REACHED_NODE, _core.SS_REACHED_OVERFLOW, _core.SS_REACHED_FREE]] = What.UNUSED, What.LEAF, What.OVERFLOW, What.FREE

NAMES: Final[dict[What, str]] = {
    What.OUTSIDE: "behind the last bucket",
    What.UNUSED: "reserved, never used",
    What.FREE: "free chunk, or stale",
    What.UNKNOWN: "not recognised",
    What.DATA: "elements, entries, value",
    What.OVERFLOW: "overflow page",
    What.LEAF: "leaf",
    What.INTERNAL: "internal node",
    What.HEADER: "header",
    What.TABLE: "manager's tables",
    What.UNOWNED: "bucket of nobody",
    What.LOST: "lost: nothing leads to it",
}
COLOURS: Final[dict[What, str]] = {
    What.OUTSIDE: "#f4f4f5",
    What.UNUSED: "#e4e4e7",
    What.FREE: "#c4b5a5",
    What.UNKNOWN: "#a1a1aa",
    What.DATA: "#f59e0b",
    What.OVERFLOW: "#14b8a6",
    What.LEAF: "#22a35a",
    What.INTERNAL: "#2563eb",
    What.HEADER: "#7c3aed",
    What.TABLE: "#1e1b4b",
    What.UNOWNED: "#fb7185",
    What.LOST: "#dc2626",
}
DARK_COLOURS: Final[dict[What, str]] = COLOURS | {
    What.OUTSIDE: "#18181b",
    What.UNUSED: "#27272a",
    What.FREE: "#6b5d4f",
    What.UNKNOWN: "#71717a",
    What.TABLE: "#a5b4fc",
    What.HEADER: "#a78bfa",
    What.INTERNAL: "#3b82f6",
    What.LOST: "#ef4444",
}
"""On a dark page."""
_Numbers: TypeAlias = npt.NDArray[np.float64]
_FIRST_COLOURS: Final = (
    "#2563eb", "#f59e0b", "#22a35a", "#db2777", "#0ea5e9", "#84cc16", "#7c3aed", "#ea580c", "#14b8a6", "#a16207", "#be123c", "#4f46e5",
)  # fmt: skip


def owner_colours(count: int) -> list[str]:
    """Return colours that differ as much as they can from all before them, the same for each number of them. O(count).

    >>> len(set(owner_colours(255))), owner_colours(3) == owner_colours(20)[:3]
    (255, True)
    """
    tried = _srgb(*map(np.ravel, np.meshgrid([0.5, 0.6, 0.7, 0.8], [0.07, 0.12, 0.17], np.arange(0, 360, 7.5), indexing="ij")))
    found = [np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float) for colour in _FIRST_COLOURS]
    nearest = np.min([np.linalg.norm(tried - one, axis=1) for one in found], axis=0)
    while len(found) < count:
        best = int(nearest.argmax())
        found.append(tried[best])
        nearest = np.minimum(nearest, np.linalg.norm(tried - tried[best], axis=1))
    return ["#" + "".join(f"{int(part):02x}" for part in one) for one in found[:count]]


def _srgb(light: _Numbers, chroma: _Numbers, hue: _Numbers) -> _Numbers:
    """Return colours of the space OKLCH, in which equal distances look equal, as rows of red, green and blue up to 255."""
    a, b = chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))
    cones = np.array([light + 0.39634 * a + 0.21580 * b, light - 0.10556 * a - 0.06385 * b, light - 0.08948 * a - 1.29149 * b]) ** 3
    linear = np.array([[4.07674, -3.30771, 0.23097], [-1.26844, 2.60976, -0.34132], [-0.00420, -0.70342, 1.70761]]) @ cones
    made: _Numbers = np.round(255 * np.clip(1.055 * np.clip(linear, 0, 1) ** (1 / 2.4) - 0.055, 0, 1)).T
    return made


@dataclass(slots=True)
class MemoryScene:
    """One memory: what lies at its addresses. Chunks of maps by number, `group` of them to one where they are many."""

    id: int | None
    kind: str
    title: str
    nbytes: int
    header: int = 0
    live: int = 0
    """End of the elements of a row; of what is not recognised, the end of the memory."""
    slot: int = 0
    stride: int = 0
    group: int = 1
    what: npt.NDArray[np.uint8] = field(default_factory=lambda: _NOTHING)
    depth: npt.NDArray[np.uint8] = field(default_factory=lambda: _NOTHING)
    fill: npt.NDArray[np.uint8] = field(default_factory=lambda: _NOTHING)
    """Of each node, the share of its page that means something, in 255ths."""
    labels: dict[int, str] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)
    nodes_by_depth: list[int] = field(default_factory=list)
    fills: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    """What is broken, by its offset: the first rule at each, `_MOST_FAULTS` in all."""
    given: str | None = None
    """Its name in the schema."""
    length: int | None = None
    use: Use = field(default_factory=lambda: Use(0, 0, 0))

    @property
    def name(self) -> str:
        """For legends."""
        return self.kind if self.id is None else f"memory {self.id}: {self.kind}"

    def classify(self, offsets: Column) -> npt.NDArray[np.uint8]:
        """Return the `What` of each offset. O(offsets)."""
        found = np.full(offsets.shape, What.UNUSED, np.uint8)
        if self.stride:
            found[offsets < self.live] = What.FREE
            chunk = (offsets - FIRST_CHUNK) // (self.stride * self.group)
            inside = (offsets >= FIRST_CHUNK) & (chunk < len(self.what))
            found[inside] = self.what[chunk[inside]]
        else:
            found[offsets < self.live] = What.DATA if self.header else What.UNKNOWN
        found[offsets < self.header] = What.HEADER
        found[offsets >= self.nbytes] = What.UNUSED
        return found

    def present(self) -> set[int]:
        """Return the `What` in it, exactly. O(chunks)."""
        found = set(np.unique(self.what).tolist()) | ({What.HEADER} if self.header else set())
        if not self.stride and self.live > self.header:
            found.add(What.DATA if self.header else What.UNKNOWN)
        used = FIRST_CHUNK + len(self.what) * self.stride * self.group if self.stride else self.live
        return found | ({What.UNUSED} if used < self.nbytes else set())

    def measure(self, offsets: Column, column: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """`fill` or `depth` of the node at each offset; 0 elsewhere."""
        found = np.zeros(offsets.shape, np.uint8)
        if self.stride:
            chunk = (offsets - FIRST_CHUNK) // (self.stride * self.group)
            inside = (offsets >= FIRST_CHUNK) & (chunk < len(column))
            found[inside] = column[chunk[inside]]
        return found


@dataclass(slots=True)
class Scene:
    """A whole image. `memories` are in the order of their ids."""

    name: str
    title: str
    nbytes: int
    bucket_bytes: int
    owners: npt.NDArray[np.uint8]
    memories: list[MemoryScene]
    notes: list[str] = field(default_factory=list)
    """What is wrong with the manager's tables, or with the file."""
    faults: dict[int, str] = field(default_factory=dict)
    """As of a memory, by address."""

    @property
    def use(self) -> Use:
        """Return how the bytes of the image are used."""
        used = sum(one.use.used for one in self.memories) + (min(PAGE_SIZE, self.nbytes) if self.bucket_bytes else 0)
        free = sum(one.use.free or 0 for one in self.memories)
        return Use(used, free, max(0, self.nbytes - used - free))

    def place(self, addresses: Column) -> tuple[Column, Column]:
        """Return which memory (its number in `memories`; -1 none, -2 tables, -3 bucket of nobody) and offset each address is."""
        if not self.bucket_bytes:
            return np.zeros_like(addresses), addresses
        bucket = (addresses - PAGE_SIZE) // self.bucket_bytes
        inside = (addresses - PAGE_SIZE) % self.bucket_bytes
        memory = np.full(addresses.shape, -1, np.int64)
        offset = np.zeros(addresses.shape, np.int64)
        known = (addresses >= PAGE_SIZE) & (bucket < len(self.owners))
        owners = self.owners[bucket[known]]
        numbers = np.full(256, -3, np.int64)
        for number, one in enumerate(self.memories):
            numbers[one.id] = number
        memory[known] = numbers[owners]
        offset[known] = self._ranks()[bucket[known]] * self.bucket_bytes + inside[known]
        memory[addresses < PAGE_SIZE] = -2
        return memory, offset

    def _ranks(self) -> Column:
        """Of each bucket, its number among those of its owner."""
        ranks = np.zeros(len(self.owners), np.int64)
        for owner in np.unique(self.owners):
            mine = np.flatnonzero(self.owners == owner)
            ranks[mine] = np.arange(len(mine))
        return ranks

    def classify(self, addresses: Column) -> tuple[npt.NDArray[np.uint8], Column]:
        """Return the `What` and memory of each address."""
        memory, offset = self.place(addresses)
        what = np.full(addresses.shape, What.OUTSIDE, np.uint8)
        what[memory == -2] = What.TABLE  # noqa: PLR2004 - said by the format
        what[memory == -3] = What.UNOWNED  # noqa: PLR2004 - said by the format
        for number in np.unique(memory[memory >= 0]):
            mine = memory == number
            what[mine] = self.memories[number].classify(offset[mine])
        what[addresses >= self.nbytes] = What.OUTSIDE
        return what, memory

    def present(self) -> list[int]:
        """Return the `What` in it, in order, for legends. O(chunks)."""
        found = set[int]().union(*(one.present() for one in self.memories))
        if self.bucket_bytes:
            checks = {
                What.TABLE: True,
                What.UNOWNED: bool(set(self.owners.tolist()) - {one.id for one in self.memories}),
                What.UNUSED: any(one.nbytes % self.bucket_bytes for one in self.memories),
                What.OUTSIDE: self.nbytes > PAGE_SIZE + len(self.owners) * self.bucket_bytes,
            }
            found |= {what for what, is_there in checks.items() if is_there}
        return sorted(int(what) for what in found)

    def to_dict(self) -> dict[str, Any]:
        """For the page: arrays of bytes as base64."""
        return {
            "name": self.name,
            "title": self.title,
            "nbytes": self.nbytes,
            "bucketBytes": self.bucket_bytes,
            "page": PAGE_SIZE,
            "firstChunk": FIRST_CHUNK,
            "owners": _base64(self.owners),
            "names": [NAMES[what] for what in What],
            "colours": [COLOURS[what] for what in What],
            "present": self.present(),
            "darkColours": [DARK_COLOURS[what] for what in What],
            "ownerColours": owner_colours(len(self.memories)),
            "use": asdict(self.use),
            "notes": self.notes,
            "faults": sorted(self.faults.items()),
            "memories": [_memory_dict(one) for one in self.memories],
        }


def _memory_dict(one: MemoryScene) -> dict[str, Any]:
    plain = {
        name: getattr(one, name)
        for name in ("id", "kind", "title", "nbytes", "header", "live", "slot", "stride", "group", "labels", "ends")
    }
    more = {"nodesByDepth": one.nodes_by_depth, "fills": one.fills, "notes": one.notes, "name": one.name}
    more["faults"] = sorted(one.faults.items())
    more |= {"given": one.given, "length": one.length, "use": asdict(one.use)}
    return plain | more | {name: _base64(getattr(one, name)) for name in ("what", "depth", "fill")}


def _base64(data: npt.NDArray[np.uint8]) -> str:
    return base64.b64encode(data.tobytes()).decode()


# ---- reading it ----


def read_scene(image: Image, *, types: Types | None = None, progress: Progress = no_progress) -> Scene:
    """Walk everything in an image. O(size of what is in it)."""
    manager = image.manager
    bucket_bytes = 0 if manager is None else manager.bucket_bytes
    memories = [_read_part(part, bucket_bytes, types or {}, progress) for part in image.parts.values()]
    owners = np.frombuffer(b"" if manager is None else manager.owners[: manager.allocated], np.uint8)
    scene = Scene(image.name, image.title, image.source.nbytes, bucket_bytes, owners, memories)
    _note_damage(scene, image, types or {}, progress)
    return scene


def _note_damage(scene: Scene, image: Image, types: Types, progress: Progress) -> None:
    """Note what `check` finds, with the memory that it is in. Maps were surveyed already."""
    places: dict[int | None, Scene | MemoryScene] = {None: scene}
    places.update((one.id, one) for one in scene.memories)

    def note(found: Finding) -> None:
        _note(places[found.memory], Damage(found.rule, found.address, found.found, found.expected))

    check_image(image, note, progress)
    for part in image.parts.values():
        if part.kind != "map":
            check_part(part, note, types, progress)
    for one in (place.notes for place in places.values()):
        if len(one) > _MOST_NOTES + 1:
            one[_MOST_NOTES:] = [f"{len(one) - _MOST_NOTES:,} more; run check"]


def _note(place: Scene | MemoryScene, damage: Damage) -> None:
    """Note what is broken, and where."""
    place.notes.append(str(damage))
    if damage.address >= 0 and len(place.faults) < _MOST_FAULTS:
        place.faults.setdefault(damage.address, str(damage))


def _read_part(part: Part, bucket_bytes: int, types: Types, progress: Progress) -> MemoryScene:
    scene = MemoryScene(part.id, part.word, part.title, part.source.nbytes)
    scene.given, scene.use = part.given.name, use_of(part, None, bucket_bytes)
    try:
        if part.is_structure:
            reader = part.open(*part.types(types))
            scene.length = reader.length
            scene.use = use_of(part, reader, bucket_bytes)
            if isinstance(reader, MapReader):
                stats = _read_map(scene, part, reader, types, progress)
                scene.use = use_of(part, reader, bucket_bytes, stats.free_chunks)
            else:
                _read_row(scene, reader)
        elif part.kind == "log data" and part.index is not None:
            _read_log_data(scene, part)
            scene.use = use_of(part, part.index.open(), bucket_bytes)
        else:
            scene.live = 0 if part.kind in ("zeros", "empty") else part.source.nbytes
    except Damage as damage:
        if part.kind == "map":  # what is wrong with others is noted later
            _note(scene, damage)
        scene.live = part.source.nbytes
    return scene


def _read_row(scene: MemoryScene, reader: SequenceReader) -> None:
    scene.live = reader.live()
    if isinstance(reader, SlotReader):
        scene.header, scene.slot = SLOTS_AT, reader.slot
    elif isinstance(reader, LogReader):
        scene.header, scene.slot = LOG_ENDS_AT, 8
    else:
        scene.header = CELL_AT


def _read_log_data(scene: MemoryScene, part: Part) -> None:
    assert part.index is not None  # noqa: S101 - asked by the caller
    reader = part.index.open()
    if isinstance(reader, LogReader):
        scene.header, scene.live = LOG_DATA_AT, reader.live_data()
        if reader.readable() <= _MOST_ENDS:
            scene.ends = [end for _, column in reader.ends() for end in column.tolist()]


def _read_map(scene: MemoryScene, part: Part, reader: MapReader, types: Types, progress: Progress) -> MapStats:
    problems = list[Damage]()
    end, scene.stride = _end(reader), reader.space.stride
    scene.group = max(1, -(-(end or reader.space.chunks) // _MOST_CHUNKS))
    survey = MapSurvey(reader, problems.append, progress, group=scene.group)
    stats = survey.run()
    used = max(end, *(first + int(np.flatnonzero(marks)[-1]) + 1 for first, marks in survey.marks() if marks.any()), 0)
    pieces = (_what(marks, max(0, end - first), scene.group) for first, marks in survey.marks(scene.group) if first < used)
    scene.what = np.concatenate([_NOTHING, *pieces])
    scene.depth, scene.fill, kinds = (column[: len(scene.what)] for column in survey.columns())
    internal = kinds == _INTERNAL
    scene.what[internal] = np.maximum(scene.what[internal], np.uint8(What.INTERNAL))
    scene.header, scene.nodes_by_depth, scene.fills = FIRST_CHUNK, stats.nodes_by_depth, stats.fill
    for damage in [*reader.problems, *problems]:
        _note(scene, damage)
    if scene.group == 1:
        numbers = (number for some in survey.nodes() for number in some.tolist())
        scene.labels = _labels(part, reader, islice(numbers, _MOST_LABELS), types)
    _cut_unused(scene)
    return stats


def _what(marks: npt.NDArray[np.uint8], below: int, group: int) -> npt.NDArray[np.uint8]:
    """Return what chunks are, by what they were reached as, as if all nodes were leaves: the greatest of each group."""
    what = _MEANINGS[marks]
    what[:below][marks[:below] == 0] = What.LOST
    if group == 1:
        return what
    rows = -(-len(what) // group)
    found: npt.NDArray[np.uint8] = np.pad(what, (0, rows * group - len(what))).reshape(rows, group).max(axis=1)
    return found


def _end(reader: MapReader) -> int:
    """Return the number of chunks before the end of the free list; 0 if that is damaged."""
    try:
        return min(reader.end_of_chunks(), reader.space.chunks)
    except Damage:
        return 0


def _labels(part: Part, reader: MapReader, chunks: Iterable[int], types: Types) -> dict[int, str]:
    """Return what is said of nodes, by number of the chunk."""
    key, _ = readings(part, types)
    found = {}
    for index in chunks:
        with suppress(Damage):
            node = reader.space.node(reader.space.address(index), reader.layout)
            first, last = (shorten(to_json(key.read(node.keys[i])), 40) for i in (0, -1))
            found[index] = f"{len(node.keys)} of 11 entries, from key {first} to {last}"
    return found


def _cut_unused(scene: MemoryScene) -> None:
    """Cut off the unused end."""
    used = np.flatnonzero(scene.what != What.UNUSED)
    end = int(used[-1]) + 1 if len(used) else 0
    scene.what, scene.depth, scene.fill = scene.what[:end], scene.depth[:end], scene.fill[:end]
