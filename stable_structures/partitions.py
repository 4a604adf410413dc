# SPDX-License-Identifier: Apache-2.0
"""Parts of a structure at rest that other processes read, each by itself: for Dask, Ray, Spark, or a pool of processes.

    chunks    a map or set, as it lies: the nodes in a range of its chunks. Nothing is read twice, and each range from end to end.
    keys      a map or set, in order: from one key up to another. The bounds are keys of the upper levels of the tree.
    rows      a vec, heap or log: the elements from one index up to another.

A part knows the name of the image and its bounds, so it can be pickled; whoever reads it opens the image. All parts together have each
entry once. What damage hides is noticed where it can be:

    each part     by chunks: a chunk is a node, an overflow page or free, and as many are in use as the free list leaves
                  by rows: as many elements as there are indexes
    each part     the image is of the version that was divided, as far as it tells
    the last one  that this process reads: all have together as many entries as the structure counts
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from .encodings.columns import Encoded
from .errors import CorruptMemory
from .inspect.formats.layout import ALLOCATED_AT, CHUNK_BEGINS, CHUNK_HEADER, FIRST_CHUNK, NODE_MAGIC, OVERFLOW_MAGIC, Damage
from .inspect.formats.maps import MapReader
from .inspect.formats.survey import batches, ranges_of_chunks
from .inspect.guessed import Sides, types_of
from .inspect.source import Unreadable
from .storable import Codec

if TYPE_CHECKING:
    from .image import Image

By: TypeAlias = Literal["chunks", "keys", "rows"]
_HEADERS: Final = 8 << 20
"""Bytes of a map that are looked at for its nodes at once."""
_BATCH: Final = 4 << 20
_FINER: Final = 8
"""So many separators for each part: they are keys of the tree, and its subtrees have unlike sizes."""
_CHUNK, _NODE, _PAGE = (np.frombuffer(magic, np.uint8) for magic in (CHUNK_BEGINS, NODE_MAGIC, OVERFLOW_MAGIC))
_MOST_LEVELS: Final = 32
_CHECK: Final = "run check to see what is damaged"


@dataclass(frozen=True, slots=True)
class Partition:
    """A part of the structure in one memory of an image; made by `Image.partitions`. It can be pickled, and read any number of times.

    >>> import tempfile
    >>> from stable_structures import StableBTreeMap, StableMemory, open_image, u64
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with StableMemory.open(f"{folder}/users.bin") as memory:
    ...         StableBTreeMap[u64, str](memory).update({i: f"user {i}" for i in range(1000)})
    ...     with open_image(f"{folder}/users.bin") as image:
    ...         parts = image.partitions(None, 4, by="keys")
    ...     len(parts), sum(len(list(part)) for part in parts), next(iter(parts[0]))
    (4, 1000, (0, 'user 0'))
    """

    opened: Callable[[], Image] = field(repr=False)
    """Opens the image again, by its name; may hold credentials."""
    memory: int | None
    by: By
    number: int
    start: Any = None
    """A number of a chunk or element, or an encoded key; None is the beginning."""
    stop: Any = None
    """None is the end."""
    length: int = 0
    """Entries of the whole structure, as it counts them: what all parts have together."""
    _in_use: int = field(default=0, repr=False)
    """By chunks: how many of them are in use."""
    _version: object = field(default=None, repr=False)
    _tally: _Tally | None = field(default=None, repr=False, compare=False)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over its entries: (key, value) of a map, elements of the others. O(entries), in bounded memory."""
        with self.opened() as image:
            structure: Any = image[self.memory]
            codecs = list(structure._arrow_columns().values())
            for columns in self._columns(image):
                sides = [_values(codec, column) for codec, column in zip(codecs, columns, strict=True)]
                yield from zip(*sides, strict=True) if len(sides) > 1 else sides[0]

    def arrow_reader(self) -> Any:
        """Return its entries as a `pyarrow.RecordBatchReader`, batch by batch. Needs the extra `arrow`."""
        from .structures.in_arrow import arrow  # noqa: PLC0415 - an extra

        tables = arrow("a partition")
        with self.opened() as image:
            structure: Any = image[self.memory]
            columns = structure._arrow_columns()
        return tables.reader(columns, self._batches())

    def _batches(self) -> Iterator[Sequence[Encoded]]:
        with self.opened() as image:
            yield from self._columns(image)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the entries to Polars, DuckDB and others."""
        return self.arrow_reader().__arrow_c_stream__(requested_schema)

    def to_arrow(self) -> Any:
        """Return its entries as a `pyarrow.Table`. O(entries). Needs the extra `arrow`."""
        return self.arrow_reader().read_all()

    def _columns(self, image: Image) -> Iterator[Sequence[Encoded]]:
        """Return the encoded columns, a batch at a time. Raises `CorruptMemory`."""
        label, count = f"{image.name}: {image._part(self.memory).label}", 0
        if image._looking.source.version != self._version or len(image[self.memory]) != self.length:  # type: ignore[arg-type]
            raise Unreadable(f"{label}: it is another version than the one that was divided; make the parts again")
        try:
            for columns in self._read(image):
                count += columns[0].count
                yield columns
        except Damage as damage:
            raise CorruptMemory(f"{label}: {damage}; {_CHECK}") from None
        if self.by == "rows" and count != self.stop - self.start:
            raise CorruptMemory(f"{label}: it has {count:,} of the elements {self.start:,} to {self.stop:,}; {_CHECK}")
        found = None if self._tally is None else self._tally.add(self.number, count)
        if found is not None and found != self.length:
            raise CorruptMemory(f"{label}: its parts have {found:,} entries together, and it counts {self.length:,}; {_CHECK}")

    def _read(self, image: Image) -> Iterator[Sequence[Encoded]]:
        structure: Any = image[self.memory]
        columns = structure._arrow_columns()
        if self.by == "chunks":
            yield from self._of_chunks(image, len(columns))
            return
        start, stop = self.start, self.stop
        if self.by == "keys":
            key = next(iter(columns.values()))
            start, stop = (None if end is None else key.decode(end) for end in (start, stop))
        yield from structure._arrow_batches(start, stop, 1 << 16, _BATCH)

    def _of_chunks(self, image: Image, sides: int) -> Iterator[Sequence[Encoded]]:
        reader = _map_of(image, self.memory, types_of(image._part(self.memory)))
        for chunks in _nodes(reader, self.start, self.stop, self._in_use):
            for keys, key_ends, values, value_ends, *_ in batches(reader, _raise, chunks=chunks, keys_only=sides == 1):
                columns = [(keys, key_ends), (values, value_ends)][:sides]
                yield [Encoded(np.frombuffer(data, np.uint8), len(ends), ends=ends) for data, ends in columns]


class _Tally:
    """How many entries each part had that was read to its end in this process."""

    def __init__(self, token: str, parts: int) -> None:
        self.token, self.parts = token, parts
        self._counts: dict[int, int] = {}

    def add(self, number: int, count: int) -> int | None:
        """Note the entries of a part; return those of all parts once they are known."""
        self._counts[number] = count
        return sum(self._counts.values()) if len(self._counts) == self.parts else None

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `pickle`: parts that come back to one process have one tally."""
        return _tally, (self.token, self.parts)


_tallies: Final[WeakValueDictionary[str, _Tally]] = WeakValueDictionary()


def _tally(token: str, parts: int) -> _Tally:
    return _tallies.setdefault(token, _Tally(token, parts))


def _values(codec: Codec[Any], column: Encoded) -> list[Any]:
    """Return decoded values; numbers may be decoded already."""
    if column.numbers is not None:
        return column.numbers.tolist()  # type: ignore[no-any-return]
    return [codec.decode(data) for data in column.pieces()]


def _raise(damage: Damage) -> None:
    raise damage


def _map_of(image: Image, memory: int | None, types: Sides) -> MapReader:
    value = None if image.types(memory).structure == "set" else types.value
    reader = image._part(memory).open(types.key, value)
    assert isinstance(reader, MapReader)  # noqa: S101 - asked before
    return reader


def _nodes(reader: MapReader, start: int, stop: int, in_use: int) -> Iterator[npt.NDArray[np.uint64]]:
    """Return the numbers of the chunks that have nodes, ascending, some at a time. O(bytes of the chunks).

    Raises `Damage` for a chunk that is neither a node nor an overflow page nor free, and if others than `in_use` chunks are in use.
    """
    stride, found = reader.space.stride, 0
    step = max(1, _HEADERS // stride)
    for first in range(start, stop, step):
        count = min(step, stop - first)
        at = FIRST_CHUNK + first * stride
        data = reader.source.read(at, max(0, min(count * stride, reader.source.nbytes - at)))
        rows = np.frombuffer(data.ljust(count * stride, b"\0"), np.uint8).reshape(count, stride)
        used, nodes, odd = _states(rows)
        if odd.any():
            raise Damage("a chunk is a node, an overflow page or free", at + int(np.argmax(odd)) * stride)
        found += int(np.count_nonzero(used))
        if nodes.any():
            yield np.flatnonzero(nodes).astype(np.uint64) + np.uint64(first)
    if found != in_use:
        raise Damage("every chunk is in the tree or on the free list", FIRST_CHUNK + start * stride, found, in_use)


def _states(rows: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which chunks are in use, which of them are nodes, and which are nothing that a chunk may be."""
    begun = (rows[:, : len(_CHUNK)] == _CHUNK).all(1)
    content = rows[:, CHUNK_HEADER : CHUNK_HEADER + len(_NODE)]
    used, free = begun & (rows[:, ALLOCATED_AT] == 1), begun & (rows[:, ALLOCATED_AT] == 0)
    nodes, pages = used & (content == _NODE).all(1), used & (content == _PAGE).all(1)
    return used, nodes, ~(free | nodes | pages)


# ---- making them ----


def partitions(image: Image, memory: int | None, count: int, by: By | None) -> list[Partition]:
    """For `Image.partitions`."""
    if count < 1:
        raise ValueError(f"expected 1 partition or more, got {count}")
    kind = image.types(memory).structure
    if kind == "cell":
        raise ValueError("a cell has one value, which is not divided; read it")
    usual: By = "chunks" if kind in ("map", "set") else "rows"
    by = by or usual
    if by not in (("chunks", "keys") if usual == "chunks" else ("rows",)):
        raise ValueError(f"a {kind} is divided by {'chunks or keys' if usual == 'chunks' else 'rows'}, not by {by}")
    structure: Any = image[memory]
    try:
        bounds = _bounds(image, memory, count, by)
    except Damage as damage:
        raise CorruptMemory(f"{image.name}: {image._part(memory).label}: {damage}; {_CHECK}") from None
    if image._is_running or isinstance(image._given, bytes):
        raise Unreadable(f"{image.name}: only an image with a name has partitions, since others are to open it; save it as a file")
    kind_of_image, arguments = image.__reduce__()
    opened = partial(kind_of_image, *arguments)
    tally, length, version = _tally(secrets.token_hex(8), len(bounds)), len(structure), image._looking.source.version
    return [
        Partition(opened, memory, by, number, start, stop, length, in_use, version, tally)
        for number, (start, stop, in_use) in enumerate(bounds)
    ]


def _bounds(image: Image, memory: int | None, count: int, by: By) -> list[tuple[Any, Any, int]]:
    """Return where each part begins and ends, and how many chunks in it are in use."""
    if by == "rows":
        structure: Any = image[memory]
        return _ranges(len(structure), count)
    reader = _map_of(image, memory, types_of(image._part(memory)))
    if by == "chunks":
        return ranges_of_chunks(reader, count) if reader.root else _ranges(0, count)
    separators = _separators(reader, _FINER * count)
    ends = [separators[len(separators) * i // count] for i in range(1, count)] if len(separators) >= count else separators
    return [(low, high, 0) for low, high in zip([None, *ends], [*ends, None], strict=True)]


def _ranges(total: int, count: int) -> list[tuple[Any, Any, int]]:
    return [(total * i // count, total * (i + 1) // count, 0) for i in range(count)]


def _separators(reader: MapReader, wanted: int) -> list[bytes]:
    """Return keys in order, of the upper levels of the tree: as many as are wanted, or more, or all. O(wanted)."""
    row: list[int | bytes] = [reader.root] if reader.root else []
    for _ in range(_MOST_LEVELS):
        if sum(isinstance(one, bytes) for one in row) >= wanted or not any(isinstance(one, int) for one in row):
            break
        row = [inner for one in row for inner in (_opened_node(reader, one) if isinstance(one, int) else [one])]
    return [one for one in row if isinstance(one, bytes)]


def _opened_node(reader: MapReader, address: int) -> list[int | bytes]:
    """Return a node's children and keys in their order."""
    node = reader.space.node(address, reader.layout)
    if node.leaf:
        return list(node.keys)
    found: list[int | bytes] = [node.children[0]]
    for key, child in zip(node.keys, node.children[1:], strict=True):
        found += [key, child]
    return found
