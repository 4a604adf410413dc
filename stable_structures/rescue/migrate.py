# SPDX-License-Identifier: Apache-2.0
"""Migration: what an image of ic-stable-memory holds, into the structures of a fresh memory manager.

SHashMap, SBTreeMap, SCertifiedBTreeMap      StableBTreeMap
SHashSet, SBTreeSet, SCertifiedBTreeSet      StableBTreeSet
SVec                                         StableVec, or StableLog if elements have no bound
SLog                                         StableLog (two memories)
a container in a container                   StableBTreeMap, keys are tuples of both keys (of a vec, the number)
any other value                              StableCell
a struct or tuple with containers in it      each field by itself
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from ..errors import IncompatibleType
from ..inspect.rewrite.build import ImageFile
from ..memory.manager import MemoryManager
from ..memory.memory import Memory, StableMemory
from ..storable import Array, Blob, Codec, codec, i64, parse_type, u8, u32, u64
from ..structures.btreemap import StableBTreeMap
from ..structures.btreeset import StableBTreeSet
from ..structures.cell import StableCell
from ..structures.log import StableLog
from ..structures.vec import StableVec
from .containers import Container, Contents, Keyed, LogType, Note, VecType
from .encodings import (
    SCALARS,
    BoxType,
    CandidMessage,
    CandidType,
    Custom,
    Items,
    Option,
    Record,
    Text,
    Type,
    Variants,
)
from .findings import Finding, NotOwned
from .image import IsmImage, note_into
from .schema import Root, SchemaError

_BATCH: Final = 1024
_MOST_PARTS: Final = 3
_BIG: Final = 32
_MEMORIES: Final = 255


@dataclass(frozen=True, slots=True)
class Target:
    """How values of a type are stored: an annotation of ours, and what makes a value for it."""

    type: Any
    convert: Callable[[Any], Any]


@dataclass(slots=True)
class Migrated:
    """What became of one key: entries written, and what was lost or twice."""

    key: int
    source: str
    structure: str
    memories: list[int]
    entries: int = 0
    lost: list[Finding] = field(default_factory=list)


def _as_is(value: Any) -> Any:
    return value


def target(tp: Type) -> Target:
    """Return how values of a type are stored. O(parts). Raises `IncompatibleType` for what has no counterpart.

    >>> from .annotations import resolve
    >>> from stable_structures import u8, u64
    >>> target(resolve(tuple[u8, u64])).type
    tuple[codec(u8), codec(u64)]
    """
    if isinstance(tp, BoxType):
        return target(tp.inner)
    for kind, make in _TARGETS:
        if isinstance(tp, kind):
            return make(tp)
    if isinstance(tp, Container) or (isinstance(tp, CandidType) and not isinstance(tp, CandidMessage)):
        raise IncompatibleType(f"{tp.name} cannot be migrated here: only whole keys, elements and values of containers can be containers")
    stored = _BY_NAME.get(tp.name) or (parse_type(tp.name.lower()) if tp.name in SCALARS else Array(tp.size(4)))
    return stored if isinstance(stored, Target) else Target(stored, _as_is)


def _items(tp: Items) -> Target:
    if tp.part.name == "char":
        return Target(Array(4 * tp.count), lambda value: b"".join(ord(one).to_bytes(4, "little") for one in value))
    return Target(Array(tp.count), lambda value: bytes(one & 255 for one in value))


def _option(tp: Option) -> Target:
    """Store an option of a type of fixed size as a Blob of its encoding: the crate cannot store None beside it."""
    part = target(tp.part)
    encoder = codec(part.type)
    if not tp.wraps and not encoder.bound.is_fixed_size:
        return Target(encoder | None, lambda value: None if value is None else part.convert(value))
    size = encoder.bound.max_size
    holder: Codec[Any] = codec(bytes) if size is None else Blob(size)
    return Target(holder | None, lambda value: None if value is None else encoder.encode(part.convert(tp.inner(value))))


def _record(tp: Record) -> Target:
    parts = [target(part) for part in tp.parts]
    made = tuple_target(parts)
    return Target(made.type, lambda value: made.convert(tp.values(value)))


def tuple_target(parts: list[Target]) -> Target:
    """Return parts as one value: none is None, one is itself, more than three are nested from the right."""
    if not parts:
        return Target(None, lambda _: None)
    if len(parts) == 1:
        return Target(parts[0].type, lambda values: parts[0].convert(values[0]))
    if len(parts) <= _MOST_PARTS:
        made: Any = tuple.__class_getitem__(tuple(part.type for part in parts))
        return Target(made, lambda values: tuple(part.convert(value) for part, value in zip(parts, values, strict=True)))
    rest = tuple_target(parts[2:])
    first, second = parts[:2]
    return Target(
        tuple[first.type, second.type, rest.type],  # type: ignore[name-defined]
        lambda values: (first.convert(values[0]), second.convert(values[1]), rest.convert(values[2:])),
    )


def _variants(tp: Variants) -> Target:
    """Return the index of the variant, and its fields as our encoding of them."""
    targets = [target(variant) for variant in tp.variants]
    codecs = [codec(one.type) for one in targets]
    sizes = [one.bound.max_size for one in codecs]
    if not any(sizes):
        return Target(u8, tp.index)
    payload: Any = bytes if None in sizes else Blob(max(size or 0 for size in sizes))

    def convert(value: Any) -> Any:
        index = tp.index(value)
        return index, codecs[index].encode(targets[index].convert(value))

    return Target(tuple[u8, payload], convert)


def _custom(tp: Custom) -> Target:
    def convert(value: Any) -> bytes:
        if not isinstance(value, bytes):
            raise IncompatibleType(f"{tp.name}: decode() gives {type(value).__name__}; to migrate it, let it give bytes")
        return value

    size = tp.size(4) if tp.is_fixed() else None
    return Target(bytes if size is None else Blob(size), convert)


_TARGETS: Final[tuple[tuple[type[Type], Callable[[Any], Target]], ...]] = (
    (Items, _items),
    (Option, _option),
    (Record, _record),
    (Variants, _variants),
    (Custom, _custom),
    (Text, lambda tp: Target(str if tp.text else bytes, _as_is)),
    (CandidMessage, lambda _: Target(bytes, _as_is)),
)

_BY_NAME: Final[dict[str, Target]] = {
    "()": Target(None, _as_is),
    "usize": Target(u64, _as_is),
    "isize": Target(i64, _as_is),
    "char": Target(u32, ord),
    "Nat": Target(Array(_BIG), lambda value: value.to_bytes(_BIG, "big")),
    "Int": Target(Array(_BIG), lambda value: (value + (1 << 255)).to_bytes(_BIG, "big")),
}
"""Scalars that both crates do not share, or not by this name."""


# ---- containers ----


def _inner(tp: Type | None) -> Type | None:
    return _inner(tp.inner) if isinstance(tp, BoxType) else tp


@dataclass(slots=True)
class Plan:
    """How one key is written: the parts of its keys, the value (None: a set), and how entries become rows of both."""

    keys: list[Target]
    value: Target | None
    rows: Callable[[Iterable[Any], Note], Iterable[tuple[tuple[Any, ...], Any]]]
    """Of the entries; what is broken in a container that is one of them goes to the note."""


def plan(tp: Type) -> Plan:
    """Return the rows of a container, containers in it included. O(parts). Raises `IncompatibleType`."""
    if isinstance(tp, (VecType, LogType)):
        return _plan_of(Target(u64, _as_is), tp.part, enumerate)
    assert isinstance(tp, Keyed)  # noqa: S101 - there are no others
    return _plan_of(target(tp.key), tp.value, _as_is if tp.value else lambda keys: ((one, None) for one in keys))


def _plan_of(key: Target, value: Type | None, pairs: Callable[[Iterable[Any]], Iterable[tuple[Any, Any]]]) -> Plan:
    inner = _inner(value)
    if not isinstance(inner, Container):
        return Plan([key], target(value) if value else None, lambda entries, _: (((k,), v) for k, v in pairs(entries)))
    below = plan(inner)

    def rows(entries: Iterable[Any], note: Note) -> Iterator[tuple[tuple[Any, ...], Any]]:
        for k, contents in pairs(entries):
            for keys, v in below.rows(contents.entries(note), note):
                yield (k, *keys), v

    return Plan([key, *below.keys], below.value, rows)


@dataclass(slots=True)
class Form:
    """The structure of one key, how many memories it takes, and how it takes many entries (None: it is made of one)."""

    structure: Any
    memories: int
    add: Callable[[Any, list[Any]], Any] | None
    rows: Callable[[Iterable[Any], Note], Iterable[Any]]


def form_of(tp: Type) -> Form:
    """Return what becomes of a key of this type. O(parts). Raises `IncompatibleType`."""
    if not isinstance(tp, Container):
        one = target(tp)
        return Form(StableCell[one.type], 1, None, lambda entries, _: map(one.convert, entries))  # type: ignore[name-defined]
    if isinstance(tp, (VecType, LogType)) and not isinstance(_inner(tp.part), Container):
        part = target(tp.part)
        bounded = isinstance(tp, VecType) and codec(part.type).bound.max_size is not None
        structure: Any = StableVec[part.type] if bounded else StableLog[part.type]  # type: ignore[name-defined]
        return Form(structure, 1 if bounded else 2, lambda into, batch: into.extend(batch), lambda entries, _: map(part.convert, entries))
    return _tree_form(plan(tp))


def _tree_form(how: Plan) -> Form:
    keys, value = tuple_target(how.keys), how.value
    if value is None:
        structure: Any = StableBTreeSet[keys.type]  # type: ignore[name-defined]
        return Form(structure, 1, lambda into, batch: into.insert_many([keys.convert(k) for k, _ in batch]), how.rows)

    def add(into: Any, batch: list[Any]) -> None:
        into.insert_many([keys.convert(k) for k, _ in batch], [value.convert(v) for _, v in batch])

    return Form(StableBTreeMap[keys.type, value.type], 1, add, how.rows)  # type: ignore[name-defined]


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


@dataclass(frozen=True, slots=True)
class Part:
    """What becomes one structure: what is under a key, or a field of the struct there, if containers are in it."""

    key: int
    source: str
    type: Type
    memory: int | None
    path: tuple[tuple[Record, int], ...] = ()

    def of(self, value: Any) -> Any:
        """Return the part of what is under the key."""
        for record, number in self.path:
            value = record.values(value)[number]
        return value


def parts_of(key: int, root: Root) -> list[Part]:
    """Return the structures that a key becomes; the memory of the root is that of the first one. O(fields)."""
    pending, found = [Part(key, "", root.type, root.memory)], list[Part]()
    while pending:
        part = pending.pop()
        record = _inner(part.type)
        if not (isinstance(record, Record) and _has_containers(record)):
            found.append(replace(part, source=f"{part.source}, {part.type.name}" if part.path else part.type.name))
            continue
        for i, field_type in reversed(list(enumerate(record.parts))):
            source = f"{part.source or record.name}.{record.names[i] if record.names else i}"
            pending.append(Part(key, source, field_type, None if i else part.memory, (*part.path, (record, i))))
    return found


def _has_containers(tp: Type) -> bool:
    inner = _inner(tp)
    return isinstance(inner, Container) or (isinstance(inner, Record) and any(map(_has_containers, inner.parts)))


def _entries_of(contents: Any, note: Note) -> Iterable[Any]:
    return contents.entries(note) if isinstance(contents, Contents) else [contents]


class Migration:
    """Writes the keys of an image into the memories of a manager."""

    def __init__(self, image: IsmImage, roots: dict[int, Root], *, force: bool = False) -> None:
        self._image, self._roots, self._force = image, roots, force
        self._parts = [part for key, root in sorted(roots.items()) for part in parts_of(key, root)]
        self._free = iter(sorted(set(range(_MEMORIES)) - {root.memory for root in roots.values() if root.memory is not None}))

    def prepare(self) -> None:
        """Raise `NotOwned` if the ownership check fails and nobody insists, and `IncompatibleType` for what has no counterpart."""
        forms = [(part, form_of(part.type)) for part in self._parts]
        needed = sum(form.memories for part, form in forms if self._has(part.key) or part.memory is not None)
        if needed > _MEMORIES:
            raise SchemaError(f"these keys take {needed} memories, and a manager has {_MEMORIES}; migrate some of them into another image")
        taken = [root.memory for root in self._roots.values() if root.memory is not None]
        if len(set(taken)) != len(taken):
            raise SchemaError("two keys have the same memory; give each its own")
        if not self._image.owned and not self._force:
            self._image.unchecked = False
            self._image[min(self._roots)]  # raises, with what is wrong
            raise NotOwned("the ownership check fails")
        if not self._image.saved and not self._force:
            self._require_certain()

    def _require_certain(self) -> None:
        for key in self._roots:
            try:
                found = self._image.chosen(key)
            except KeyError as error:
                raise NotOwned(f"key {error.args[0]}; or migrate what there is with force=True (--force)") from None
            if found.text:  # of a log, too, of which is certain that it is one
                raise NotOwned(f"key {key}: the image was not saved, so {found.text}; to take that, give force=True (--force)")

    def run(self, manager: MemoryManager) -> list[Migrated]:
        """Write everything. O(n). Memory use does not grow with the number of entries of a sound image."""
        return [self._part(part, manager) for part in self._parts if self._has(part.key)]

    def _has(self, key: int) -> bool:
        return key in self._image.keys()  # noqa: SIM118 - a list

    def _part(self, part: Part, manager: MemoryManager) -> Migrated:
        form = form_of(part.type)
        numbers = [next(self._free) if part.memory is None else part.memory, *(next(self._free) for _ in range(1, form.memories))]
        made = Migrated(part.key, part.source, form.structure.__name__.partition("[")[0], numbers)
        entries, note = self._entries(part, made.lost)
        rows, memories = form.rows(entries, note), [manager.get(number) for number in numbers]
        if form.add is None:
            for value in rows:
                form.structure(*memories, value)
                made.entries += 1
            return made
        structure = form.structure(*memories)
        for batch in _batches(rows):
            form.add(structure, batch)
        made.entries = len(structure)
        return made

    def _entries(self, part: Part, lost: list[Finding]) -> tuple[Iterable[Any], Note]:
        """Return the entries of a part, and what takes in what is broken in the containers among them."""
        if not self._image.check() and self._image.saved:
            return _entries_of(part.of(self._image[part.key]), None), None
        note, found = note_into(lost, part.key), self._salvaged(part.key, lost)
        return (chain.from_iterable(_entries_of(part.of(one), note) for one in found) if part.path else found), note

    def _salvaged(self, key: int, lost: list[Finding]) -> Iterable[Any]:
        try:
            return self._image.salvage(key, lost)
        except KeyError as error:
            lost.append(Finding(f"key {key}", str(error.args[0]), 0))
            return ()


def migrate(
    image: IsmImage, out: str | Path | Memory, roots: dict[int, Root] | None = None, *, force: bool = False, bucket_pages: int | None = None
) -> list[Migrated]:
    """Write what an image holds into a fresh image with a memory manager. O(n log n). Nothing is written that is not whole.

    `out` is a path, where the file appears when all of it is written, or an empty memory. `roots` chooses the memories; without
    it each type of the image gets the next free one. With `force` an image whose ownership check fails is migrated as
    far as it can be read; what is lost, or there twice, is in `lost` of each key.

    Raises `NotOwned`, `IncompatibleType` for a type without a counterpart, `Unreadable` if the file cannot be made.

    >>> from stable_structures import StableMemory, u64
    >>> from stable_structures.rescue import SBTreeMap, open_ism
    >>> migrate(open_ism(b"", {0: SBTreeMap[u64, u64]}), StableMemory())
    []
    """
    work = Migration(image, roots or {key: Root(tp) for key, tp in image.types.items()}, force=force)
    if not image.blocks:
        return []
    work.prepare()
    if not isinstance(out, (str, Path)):
        return work.run(_manager(out, bucket_pages))
    with ImageFile(out) as file:
        if file.temporary is None:
            done = work.run(_manager(file, bucket_pages))
        else:
            with StableMemory.open(file.temporary, durability="none") as memory:  # ten times as fast; it has no name yet
                done = work.run(_manager(memory, bucket_pages))
        file.keep()
    return done


def _manager(memory: Memory, bucket_pages: int | None) -> MemoryManager:
    return MemoryManager(memory) if bucket_pages is None else MemoryManager(memory, bucket_pages=bucket_pages)
