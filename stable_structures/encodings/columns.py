# SPDX-License-Identifier: Apache-2.0
"""Encoded keys or values one behind the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Octets: TypeAlias = npt.NDArray[np.uint8]
Ends: TypeAlias = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Encoded:
    """`count` encodings: each of `size` bytes, or (`ends`) up to where it says; or numbers that the core decoded already."""

    data: Octets
    count: int
    size: int = 0
    ends: Ends | None = None
    numbers: npt.NDArray[Any] | None = None

    @classmethod
    def of(cls, pieces: Iterable[bytes]) -> Encoded:
        """Join encodings. O(size)."""
        kept = list(pieces)
        ends = np.cumsum(np.fromiter(map(len, kept), np.uint64, len(kept)), dtype=np.uint64)
        return cls(np.frombuffer(b"".join(kept), np.uint8), len(kept), ends=ends)

    @classmethod
    def of_rows(cls, rows: Octets) -> Encoded:
        """Return encodings of one size, from an array of them. O(1) if it is contiguous."""
        return cls(np.ascontiguousarray(rows).reshape(-1), len(rows), rows.shape[1])

    @classmethod
    def joined(cls, parts: list[Encoded]) -> Encoded:
        """Return several columns one behind the other. O(size)."""
        if len(parts) == 1:
            return parts[0]
        if all(part.ends is None for part in parts) and len({part.size for part in parts}) == 1:
            return cls(np.concatenate([part.data for part in parts]), sum(part.count for part in parts), parts[0].size)
        return cls.of(piece for part in parts for piece in part.pieces())

    def rows(self, size: int) -> Octets | None:
        """Return them as an array of `count` times `size` bytes; None if they do not all have that size. O(n)."""
        if self.ends is None:
            return self.data.reshape(self.count, size) if self.size == size else None
        if not np.array_equal(self.ends, np.arange(1, self.count + 1, dtype=np.uint64) * np.uint64(size)):
            return None
        return self.data.reshape(self.count, size)

    def in_options(self, there: npt.NDArray[np.bool_]) -> Encoded:
        r"""Return the encodings of options: None, or the next one of these if it is `there`. O(size).

        >>> Encoded.of([b"a", b""]).in_options(np.array([True, False, True])).pieces()
        [b'a\x01', b'\x00', b'\x01']
        """
        sizes = np.ones(len(there), np.uint64)
        sizes[there] += self.sizes()
        ends = np.cumsum(sizes, dtype=np.uint64)
        is_tag = np.zeros(int(sizes.sum()), np.bool_)
        is_tag[ends - np.uint64(1)] = True
        data = np.empty(len(is_tag), np.uint8)
        data[is_tag], data[~is_tag] = there, self.data
        return Encoded(data, len(there), ends=ends)

    def all_ends(self) -> Ends:
        """Return where each ends. O(n)."""
        return np.arange(1, self.count + 1, dtype=np.uint64) * np.uint64(self.size) if self.ends is None else self.ends

    def sizes(self) -> Ends:
        """Return the size of each. O(n)."""
        ends = self.all_ends()
        return ends - np.concatenate((np.zeros(1, np.uint64), ends[:-1]))

    def pieces(self) -> list[bytes]:
        """Return each by itself. O(size)."""
        data, ends = self.data.tobytes(), self.all_ends().tolist()
        return [data[low:high] for low, high in zip([0, *ends], ends, strict=False)]
