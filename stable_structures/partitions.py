# SPDX-License-Identifier: Apache-2.0
"""Parts of a structure at rest that other processes read, each by itself: for Dask, Ray, Spark, or a pool of processes.

    chunks    a map or set, as it lies: the nodes in a range of its chunks. Nothing is read twice, and each range from end to end.
    keys      a map or set, in order: from one key up to another. The bounds are keys of the upper levels of the tree.
    rows      a vec, heap or log: the elements from one index up to another.

A part knows the name of the image and its bounds, so it can be pickled; whoever reads it opens the image. All parts together have each
entry once. A part of chunks believes what the chunks say of themselves, which is so in a sound map: check a damaged one first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from .encodings.columns import Encoded
from .errors import CorruptMemory
from .inspect.formats.layout import CHUNK_BEGINS, CHUNK_HEADER, FIRST_CHUNK, NODE_MAGIC, Damage
from .inspect.formats.maps import MapReader
from .inspect.formats.survey import batches
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
_CHUNK: Final = np.frombuffer(CHUNK_BEGINS + b"\x01", np.uint8)
"""A chunk that is in use."""
_NODE: Final = np.frombuffer(NODE_MAGIC, np.uint8)
_MOST_LEVELS: Final = 32


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

    opened: Callable[[], Image]
    """Opens the image again, by its name."""
    memory: int | None
    by: By
    number: int
    start: Any = None
    """A number of a chunk or element, or an encoded key; None is the beginning."""
    stop: Any = None
    """None is the end."""

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
        structure: Any = image[self.memory]
        if self.by != "chunks":
            start, stop = self.start, self.stop
            if self.by == "keys":
                key = next(iter(structure._arrow_columns().values()))
                start, stop = (None if end is None else key.decode(end) for end in (start, stop))
            yield from structure._arrow_batches(start, stop, 1 << 16, _BATCH)
            return
        try:
            yield from self._of_chunks(image, len(structure._arrow_columns()))
        except Damage as damage:
            raise CorruptMemory(f"{image.name}: {damage}; run check to see all of it") from None

    def _of_chunks(self, image: Image, sides: int) -> Iterator[Sequence[Encoded]]:
        part = image._part(self.memory)
        types = types_of(part)
        reader = _map_of(image, self.memory, types)
        for chunks in _nodes(reader, self.start, self.stop):
            for keys, key_ends, values, value_ends, *_ in batches(reader, _raise, chunks=chunks, keys_only=sides == 1):
                columns = [(keys, key_ends), (values, value_ends)][:sides]
                yield [Encoded(np.frombuffer(data, np.uint8), len(ends), ends=ends) for data, ends in columns]


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


def _nodes(reader: MapReader, start: int, stop: int) -> Iterator[npt.NDArray[np.uint64]]:
    """Return the numbers of the chunks that have nodes, ascending, some at a time. O(bytes of the chunks)."""
    stride = reader.space.stride
    step = max(1, _HEADERS // stride)
    for first in range(start, stop, step):
        count = min(step, stop - first)
        at = FIRST_CHUNK + first * stride
        data = reader.source.read(at, min(count * stride, reader.source.nbytes - at))
        rows = np.frombuffer(data.ljust(count * stride, b"\0"), np.uint8).reshape(count, stride)
        found = (rows[:, : len(_CHUNK)] == _CHUNK).all(1) & (rows[:, CHUNK_HEADER : CHUNK_HEADER + len(_NODE)] == _NODE).all(1)
        chunks = np.flatnonzero(found).astype(np.uint64) + np.uint64(first)
        if len(chunks):
            yield chunks


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
    try:
        bounds = _bounds(image, memory, count, by)
    except Damage as damage:
        raise CorruptMemory(f"{image.name}: {damage}; run check to see all of it") from None
    if image._is_running or isinstance(image._given, bytes):
        raise Unreadable(f"{image.name}: only an image with a name has partitions, since others are to open it; save it as a file")
    kind_of_image, arguments = image.__reduce__()
    opened = partial(kind_of_image, *arguments)
    return [Partition(opened, memory, by, number, *ends) for number, ends in enumerate(bounds)]


def _bounds(image: Image, memory: int | None, count: int, by: By) -> list[tuple[Any, Any]]:
    if by == "rows":
        structure: Any = image[memory]
        return _ranges(len(structure), count)
    reader = _map_of(image, memory, types_of(image._part(memory)))
    if by == "chunks":
        return _ranges(reader.end_of_chunks() if reader.root else 0, count)
    separators = _separators(reader, _FINER * count)
    ends = [separators[len(separators) * i // count] for i in range(1, count)] if len(separators) >= count else separators
    return list(zip([None, *ends], [*ends, None], strict=True))


def _ranges(total: int, count: int) -> list[tuple[Any, Any]]:
    return [(total * i // count, total * (i + 1) // count) for i in range(count)]


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
