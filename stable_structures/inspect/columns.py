# SPDX-License-Identifier: Apache-2.0
"""Entries in columns, for exports: a batch of keys and values becomes arrays or texts at once, by the types that were given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..storable import Codec
from ..storable.octets import StrCodec
from ..storable.scalars import FloatCodec, IntCodec
from .formats.maps import MapReader
from .formats.rules import Note
from .formats.sequences import LogReader, SequenceReader, SlotReader
from .formats.survey import MapSurvey, batches
from .source import BLOCK

Ends = npt.NDArray[np.uint64]
_SPECIAL: Final = b"\"',\r\n"
"""Letters that make a text stand otherwise in CSV than it is."""


@dataclass(frozen=True, slots=True)
class Side:
    """Encoded keys or values one behind the other, with the end of each; or (`first`) the numbers from there on."""

    data: bytes
    ends: Ends
    first: int | None = None
    numbers: list[int] | None = None
    """Those numbers, if they do not follow each other."""

    def items(self) -> list[Any]:
        """Return each by itself. O(n)."""
        if self.numbers is not None:
            return self.numbers
        if self.first is not None:
            return list(range(self.first, self.first + len(self.ends)))
        ends = self.ends.tolist()
        return [self.data[low:high] for low, high in zip([0, *ends], ends, strict=False)]

    def split(self, count: int) -> Iterator[Side]:
        """Iterate over the same in pieces of at most so many. O(n)."""
        for first in range(0, len(self.ends), count):
            stop = first + count
            if self.numbers is not None:
                yield Side(b"", self.ends[first:stop], numbers=self.numbers[first:stop])
            elif self.first is not None:
                yield Side(b"", self.ends[first:stop], self.first + first)
            else:
                low = int(self.ends[first - 1]) if first else 0
                ends = self.ends[first:stop] - np.uint64(low)
                yield Side(self.data[low : low + int(ends[-1])], ends)

    def array(self, codec: Codec[Any] | None) -> npt.NDArray[Any] | None:
        """Return numbers as an array; None if some are not numbers, or one is NaN. O(n)."""
        if self.first is not None:
            return np.arange(self.first, self.first + len(self.ends), dtype=np.int64)
        if not isinstance(codec, (IntCodec, FloatCodec)) or codec.dtype is None or not self._all_have(codec.dtype.itemsize):
            return None
        found = codec.decode_array(self.data)
        return None if isinstance(codec, FloatCodec) and bool(np.isnan(found).any()) else found

    def _all_have(self, size: int) -> bool:
        return bool(np.array_equal(self.ends, np.arange(1, len(self.ends) + 1, dtype=np.uint64) * np.uint64(size)))

    def texts(self, codec: Codec[Any] | None) -> list[str] | None:
        """Return what stands in CSV; None unless all of them stand there as they are. O(n)."""
        numbers = None if isinstance(codec, FloatCodec) else self.array(codec)
        if numbers is not None:
            return list(map(str, numbers.tolist()))
        if not isinstance(codec, StrCodec) or any(letter in self.data for letter in _SPECIAL) or b"encoded:" in self.data:
            return None
        if not self.data.isascii():
            return None
        text, ends = self.data.decode(), self.ends.tolist()
        return [text[low:high] for low, high in zip([0, *ends], ends, strict=False)]


@dataclass(frozen=True, slots=True)
class Columns:
    """Some entries."""

    keys: Side
    values: Side

    def split(self, count: int, nbytes: int) -> Iterator[Columns]:
        """Iterate over the same in pieces of at most so many rows, and of about so many bytes. O(n)."""
        total = len(self.keys.data) + len(self.values.data)
        count = max(1, min(count, len(self.keys.ends) * nbytes // max(1, total)))
        yield from map(Columns, self.keys.split(count), self.values.split(count))

    def rows(self) -> Iterator[tuple[Any, bytes]]:
        """Iterate over (key or index, value) as encoded bytes."""
        return zip(self.keys.items(), self.values.items(), strict=True)


def columns_of(reader: MapReader | SequenceReader, note: Note, *, unordered: bool = False) -> Iterator[Columns] | None:
    """Return all entries in columns: of a map, a log, and a sequence whose elements have one size. None for others.

    `unordered`: a map's entries as they lie, node by node, after a survey that tells which nodes the tree leads to: the
    memory is read twice from the beginning to the end, whatever its tree is like.
    """
    if isinstance(reader, MapReader):
        return _of_map(reader, note, unordered=unordered)
    if isinstance(reader, LogReader):
        return _of_log(reader, note)
    return _of_slots(reader) if isinstance(reader, SlotReader) and reader.fixed and reader.slot else None


def _of_map(reader: MapReader, note: Note, *, unordered: bool) -> Iterator[Columns]:
    if not unordered:
        yield from _sides(batches(reader, note))
        return
    survey = MapSurvey(reader, note)
    survey.run()
    for chunks in survey.nodes():
        yield from _sides(batches(reader, note, chunks=chunks))


def _sides(found: Iterator[Any]) -> Iterator[Columns]:
    for keys, key_ends, values, value_ends, *_ in found:
        yield Columns(Side(keys, key_ends), Side(values, value_ends))


def _of_log(reader: LogReader, note: Note) -> Iterator[Columns]:
    for first, data, ends in reader.stretches(note=note):
        yield Columns(Side(b"", ends, first), Side(data, ends))


def _of_slots(reader: SlotReader) -> Iterator[Columns]:
    step, total = max(1, BLOCK // reader.slot), reader.readable()
    for first in range(0, total, step):
        count = min(step, total - first)
        ends = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(reader.slot)
        yield Columns(Side(b"", ends, first), Side(reader.source.read(reader.address(first), count * reader.slot), ends))
