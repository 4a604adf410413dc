# SPDX-License-Identifier: Apache-2.0
"""Entries in columns, for exports: many keys and values at once, one behind the other (texts.py and parquet.py convert them)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..encodings.columns import Encoded, Ends
from .formats.maps import MapReader
from .formats.rules import Note
from .formats.sequences import SequenceReader
from .formats.survey import MapSurvey, batches


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
        return [self.data[low:high] for low, high in self.spans()]

    def encoded(self) -> Encoded:
        """Return the encodings as the other rooms take them. O(1)."""
        return Encoded(np.frombuffer(self.data, np.uint8), len(self.ends), ends=self.ends)

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

    @property
    def has_indices(self) -> bool:
        """Whether these are the indices of elements, which have no type."""
        return self.first is not None or self.numbers is not None

    def spans(self) -> Iterator[tuple[int, int]]:
        """Iterate over where each begins and ends. O(n)."""
        ends = self.ends.tolist()
        return zip([0, *ends], ends, strict=False)

    def all_have(self, size: int) -> bool:
        """Return whether each has so many bytes. O(n)."""
        return bool(np.array_equal(self.ends, np.arange(1, len(self.ends) + 1, dtype=np.uint64) * np.uint64(size)))


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
    """Return all entries in columns: of a map, and of a sequence whose elements lie one behind the other. None for others.

    `unordered`: a map's entries as they lie, node by node, after a survey that tells which nodes the tree leads to: the
    memory is read twice from the beginning to the end, whatever its tree is like.
    """
    if isinstance(reader, MapReader):
        return _of_map(reader, note, unordered=unordered)
    stretches = reader.stretches(note=note)
    return None if stretches is None else (Columns(Side(b"", ends, first), Side(data, ends)) for first, data, ends in stretches)


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
