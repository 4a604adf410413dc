# SPDX-License-Identifier: Apache-2.0
"""Whether the given types are those of what is in a memory, or other ones: then nothing is damaged.

The rule, on a sample that is read without the types first. If that finds something wrong, nothing is said here: it is
damage, whatever the types. If it finds all in order, the types do not fit if

- the header says another bound of the elements, and the bytes lie as the header says;
- keys are stored without their sizes and the type has several sizes, or the other way round;
- more than half of the keys, values or elements are not values of the type;
- more than a few of them (two, and two in a hundred) are not, and either their sizes are wrong or something else reads all;
- the keys keep one of the usual orders without exception, and not that of the type.

A few of many that do not decode are damage of those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ..errors import IncompatibleType
from ..memory.memory import Memory
from ..storable import Codec
from .encoding import require
from .formats.inference import ORDERS, InferredOrder, order_of
from .formats.layout import Damage
from .formats.maps import MapReader, sizes_with
from .formats.nodes import Node
from .formats.sequences import SequenceReader, SlotReader
from .image import Image, Part, SchemaFiles, Types, is_written_by_others, tell_as
from .opening import open_unchecked
from .samples import LARGEST_SAMPLE, sample_elements
from .source import MemorySource, Progress, Unreadable, no_progress
from .values import guess

_FEW, _FEW_OF_MANY = 2, 0.02
_ENOUGH: Final = 8
"""So many neighbours in order are not so by chance."""
_LARGEST: Final = 1 << 16
_FIRST: Final = 64


class Misfit(Unreadable, IncompatibleType):
    """The given types are not those of what is in the memory."""


def open_image(
    what: str | Path | Memory | bytes,
    progress: Progress = no_progress,
    files: SchemaFiles | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Image:
    """Open an image, a gzip of one, a snapshot's folder, or a running memory, for looking only. O(1), O(size) for a gzip.

    A name such as `https://host/image.bin` or `s3://bucket/snapshot/` is read where it is, in ranges (extra `remote`);
    `storage_options` are those of its fsspec file system. Raises `Unreadable` for what is none of these, and for a schema that is not one.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> _ = StableBTreeMap[u64, str](memory).insert(1, "one")
    >>> open_image(memory).title
    'a bare map'
    """
    image = open_unchecked(what, progress, files, storage_options)
    try:
        _settle(image)
    except BaseException:
        image.close()
        raise
    return image


def as_it_is(image: Image) -> Image:
    """Return an image of a running memory that others write as it is at this moment, with the same memories; any other one itself.

    Where its memories lie, and how long they are, is of the commit that it was opened at, and what is in them would be of another.
    """
    memory = image.source.memory() if isinstance(image.source, MemorySource) else None
    if memory is None or not is_written_by_others(memory):
        return image
    now = open_unchecked(memory)
    now.name, now.schema, now.names = image.name, image.schema, image.names
    tell_as(image, now.parts)
    if image.manager is not None and len(image.parts) < len(image.manager.ids()):
        now.parts = {memory: part for memory, part in now.parts.items() if memory in image.parts}
    return now


def _settle(image: Image) -> None:
    """Compare the schema with the memories: one that was given must fit; one that was found is passed over where it does not."""
    if not image.schema.memories or _is_damaged(image):
        return
    for memory, entry in image.schema.memories.items():
        part = image.parts.get(memory)
        if part is None:
            image.notes.append(f"{image.schema.path}: {entry.label}: the image has no such memory")
            continue
        types = entry.types if entry.key is not None else (None, entry.value)  # a set's only entry may look like one of a map
        reason = other_structure(part) or _other_data(image, part) or misfit(part, *types)
        if reason is None:
            continue
        if image.schema.given:
            raise Misfit(f"{image.schema.path}: {entry.label}: {reason}; correct the schema")
        image.notes.append(f"{image.schema.path}: {entry.label} is passed over: {reason}")
        part.given = replace(part.given, key=None, value=None, structure=None, data=None)


def other_structure(part: Part) -> str | None:
    """Return why a memory is not the structure that the schema says."""
    given, kind = part.given.structure, part.kind.removesuffix(" index")
    if given is None or not part.is_structure or given == kind or (given == "set" and kind == "map"):
        return None
    return f"it was given as a {given}, and it is a {kind}"


def _other_data(image: Image, part: Part) -> str | None:
    """Return why the memory that is given for the data of a log cannot have them."""
    memory = part.given.data
    data = image.parts.get(memory)
    if memory is None or part.kind != "log index" or (data is not None and data.may_be_log_data):
        return None
    return f"its data were given as memory {memory}, and that is {'not there' if data is None else f'a {data.word}'}"


def require_fit(part: Part, types: Types, *, lenient: bool = False) -> None:
    """Raise `Misfit` if the given types of a memory are not those of its content. O(1): of a sample.

    `lenient`: not where it may also be damage, since the header says another bound, or since there are few entries.
    """
    reason = misfit(part, *part.types(types), lenient=lenient)
    if reason is not None:
        raise Misfit(f"{part.label}: {reason}; the bytes are in order: give the types that it was written with")


def require_all_fit(image: Image, types: Types, *, lenient: bool = False) -> None:
    """Check the given types of every memory of an image. Raises `Unreadable` for types of a missing memory.

    If the manager's tables are damaged, nobody knows what a memory holds, or (`lenient`) whether it is there.
    """
    damaged = _is_damaged(image)
    for memory, given in types.items():
        if given != (None, None) and not (lenient and damaged):
            part = image.part(memory)
            if not damaged:
                require_fit(part, types, lenient=lenient)


def _is_damaged(image: Image) -> bool:
    broken: list[Damage] = []
    if image.manager is not None:
        image.manager.check(broken.append)
    return bool(broken or image.problems or image.recognition.damage)


def misfit(part: Part, key: Codec[Any] | None, value: Codec[Any] | None, *, lenient: bool = False) -> str | None:
    """Return why the types do not fit what is in a memory; None if they do, or if damage could look the same."""
    if (key is None and value is None) or not part.is_structure:
        return None
    try:
        free = part.open()
        if free.problems or (lenient and (free.length < _ENOUGH or _has_other_bound(free, value or key))):
            return None
        found = _of_map(free, part, key, value) if isinstance(free, MapReader) else _of_sequence(free, value or key)
    except Damage:
        return None
    return None if found is None else f"it does not fit the given types; {found}"


# ---- one side: keys, values, elements ----


@dataclass(frozen=True, slots=True)
class _Side:
    """The sample of one side, with its given type."""

    word: str
    codec: Codec[Any] | None
    samples: Sequence[bytes]

    @property
    def sizes(self) -> str:
        """`the sizes say` ends with it."""
        sizes: tuple[int, int] | None = None
        for data in self.samples:
            sizes = sizes_with(sizes, len(data), len(data))
        low, high = sizes or (0, 0)
        span = f"{low}" if low == high else f"{low} to {high}"
        return f"{self.word} of {span} bytes, as {guess(self.samples).name}"

    def reason(self) -> str | None:
        """Return why these are values of another type than the given one; None if they are not, or where some are damaged."""
        codec, count = self.codec, len(self.samples)
        if codec is None or not count:
            return None
        problems = [problem for data in self.samples if (problem := _problem(codec, data)) is not None]
        of_size = sum(not _has_size(codec, data) for data in self.samples)
        few = max(_FEW, _FEW_OF_MANY * count)
        if 2 * len(problems) > count or (len(problems) > few and (of_size > few or _read_otherwise(self.samples))):
            return f"{len(problems)} of {count} {self.word} that were looked at are not {codec.name} ({problems[0]})"
        return None


def _problem(codec: Codec[Any], data: bytes) -> str | None:
    try:
        require(codec, data)
    except (ValueError, IncompatibleType) as error:
        return str(error)
    return None


def _has_size(codec: Codec[Any], data: bytes) -> bool:
    most = codec.bound.max_size
    return most is None or (len(data) == most if codec.bound.is_fixed_size else len(data) <= most)


def _read_otherwise(samples: Sequence[bytes]) -> bool:
    """Return whether all have a common type, other than plain bytes."""
    found = guess(samples)
    return found.name != "bytes" and all(isinstance(found.read(data), bytes) is False for data in samples)


def _said(sides: Sequence[_Side], reason: str) -> str:
    return f"the sizes say: {', '.join(side.sizes for side in sides)}; {reason}"


# ---- maps ----


def _of_map(free: MapReader, part: Part, key: Codec[Any] | None, value: Codec[Any] | None) -> str | None:
    nodes = list(free.sampled())
    if not nodes or len(nodes) < len(free.sample):
        return None
    typed = part.open(key, value)
    by_type = list(typed.sampled()) if isinstance(typed, MapReader) else []
    keys, values = _sides(nodes, key, value)
    if len(by_type) < len(nodes):
        reason = _layout_reason(free, key) or keys.reason() or values.reason()
    else:
        of_type = _sides(by_type, key, value)
        reason = of_type[0].reason() or of_type[1].reason() or _order_reason(by_type, key)
    return None if reason is None else _said((keys, values), reason)


def _sides(nodes: Sequence[Node], key: Codec[Any] | None, value: Codec[Any] | None) -> tuple[_Side, _Side]:
    keys = [data for node in nodes for data in node.keys]
    values = [node.value(i) for node in nodes for i in range(len(node.keys)) if node.values[i][1] <= _LARGEST]
    return _Side("keys", key, keys), _Side("values", value, values)


def _layout_reason(free: MapReader, key: Codec[Any] | None) -> str | None:
    if key is None or free.version == 1:
        return None
    fixed, of_type = free.layout.key_fixed is not None, key.bound.is_fixed_size
    if fixed == of_type:
        return None
    stored = "without their sizes" if fixed else "with their sizes"
    return f"the keys are stored {stored}, those of {key.name} are stored {'without' if of_type else 'with'} them"


def _order_reason(nodes: Sequence[Node], key: Codec[Any] | None) -> str | None:
    """Keys that keep a usual order without exception, and not the type's."""
    if key is None:
        return None
    order_of_type = order_of(key)
    lists = [node.keys for node in nodes]
    pairs = sum(len(keys) - 1 for keys in lists)
    broken = sum(map(order_of_type.broken, lists))
    kept = next((order for order in ORDERS if not any(map(order.broken, lists))), None)
    if not broken or kept is None or pairs < _ENOUGH:
        return None
    return f"the keys ascend by {kept.name}, and {broken} of {pairs} neighbours do not as {key.name}"


# ---- rows ----


def _of_sequence(free: SequenceReader, value: Codec[Any] | None) -> str | None:
    if any(True for _ in _unreadable(free)):
        return None
    elements = _Side("elements", value, sample_elements(free))
    if value is None or not elements.samples:
        return _bound_reason(free, value)
    reason = _bound_reason(free, value) or elements.reason() or _heap_reason(free, value)
    return None if reason is None else _said([elements], reason)


def _unreadable(free: SequenceReader) -> Iterator[Damage]:
    """Return the problem of the sampled elements, and that of the first."""
    count = free.readable()
    for index in {*range(min(count, _FIRST)), *range(0, count, max(1, count // _FIRST))}:
        try:
            free.size(index)
        except Damage as damage:
            yield damage


def _bound_reason(free: SequenceReader, value: Codec[Any] | None) -> str | None:
    """Return why the header's bound, rather than the type's, is right."""
    if not isinstance(free, SlotReader) or value is None or not _has_other_bound(free, value) or not _lies_as_header_says(free, value):
        return None
    said = f"{'of' if free.fixed else 'of at most'} {free.max_size} bytes"
    return f"the header says elements {said}, those of {value.name} have {value.bound!r}"


def _has_other_bound(free: object, value: Codec[Any] | None) -> bool:
    return isinstance(free, SlotReader) and value is not None and not free.has_bound_of(value)


def _lies_as_header_says(free: SlotReader, value: Codec[Any]) -> bool:
    """Between the two ends that the elements can have there is something exactly where the farther end is right."""
    typed = SlotReader(free.source, free.kind, value).as_given()
    if typed is None:
        return True  # of an unbounded type there are no vecs and heaps
    ends = free.least_bytes(), typed.least_bytes()
    between = any(any(data) for _, data in free.source.blocks(min(ends), min(max(ends), free.source.nbytes)))
    return between == (ends[0] > ends[1]) or ends[0] == ends[1]


def _heap_reason(free: SequenceReader, value: Codec[Any]) -> str | None:
    """Return why it is a heap by one of the usual orders, but not by the type's."""
    if not isinstance(free, SlotReader) or free.kind != "heap":
        return None
    count = min(4 * _ENOUGH, free.readable())
    if any(free.size(index) > LARGEST_SAMPLE for index in range(count)):
        return None
    head = [data for _, data in free.elements(0, count)]
    order_of_type, tried = order_of(value), (order for order in free.heap_orders())
    broken = _below_parents(head, order_of_type)
    kept = next((order for order in tried if not _below_parents(head, order)), None)
    if not broken or kept is None or len(head) <= _ENOUGH:
        return None
    return f"it is a heap by {kept.name}, and {broken} of {len(head)} elements are less than their parents as {value.name}"


def _below_parents(elements: Sequence[bytes], order: InferredOrder) -> int:
    return sum(order.ascends(data, elements[(i - 1) // 2]) for i, data in enumerate(elements) if i)
