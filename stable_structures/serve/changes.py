# SPDX-License-Identifier: Apache-2.0
"""Where two images of a stable memory differ: what a page lights up."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

CELL: Final = 16
_STEP: Final = 4 << 20
_MOST_RUNS: Final = 2000

Octets = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Changes:
    """Runs of changed bytes as (begin, end), rounded to `cell` bytes, and how many bytes differ exactly."""

    runs: list[tuple[int, int]]
    cell: int
    nbytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"runs": self.runs, "cell": self.cell, "bytes": self.nbytes}


NOTHING: Final = Changes([], CELL, 0)


def image_of(path: Path) -> Octets:
    """Return the bytes of a file as they are now; a file that is missing has none. O(1).

    They stay as they are if the file is replaced or removed afterwards.
    """
    try:
        with path.open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except (FileNotFoundError, ValueError):  # an empty file cannot be mapped
        return np.zeros(0, np.uint8)


def compare(before: Octets, after: Octets) -> Changes:
    """Return where `after` differs from `before`; what is beyond the end of one counts as zeros. O(bytes).

    >>> import numpy as np
    >>> before, after = np.zeros(64, np.uint8), np.zeros(96, np.uint8)
    >>> after[[5, 33, 34]] = 1
    >>> compare(before, after).runs
    [(0, 16), (32, 48)]
    """
    cells = []
    count = 0
    for begin in range(0, max(len(before), len(after)), _STEP):
        one, other = _padded(before, begin), _padded(after, begin)
        if np.array_equal(one, other):
            continue
        places = np.flatnonzero(one != other)
        count += len(places)
        cells.append(np.unique(begin // CELL + places // CELL))
    if not cells:
        return NOTHING
    return _runs(np.concatenate(cells), count)


def _padded(image: Octets, begin: int) -> Octets:
    piece = image[begin : begin + _STEP]
    return piece if len(piece) == _STEP else np.pad(piece, (0, _STEP - len(piece)))


def _runs(cells: npt.NDArray[np.int64], count: int) -> Changes:
    """Neighbouring cells as runs; larger cells if there are too many."""
    cell = CELL
    while True:
        breaks = np.flatnonzero(np.diff(cells) > 1)
        if len(breaks) < _MOST_RUNS:
            break
        cells, cell = np.unique(cells // 4), cell * 4
    begins = cells[np.concatenate([[0], breaks + 1])]
    ends = cells[np.concatenate([breaks, [len(cells) - 1]])] + 1
    return Changes([(int(begin) * cell, int(end) * cell) for begin, end in zip(begins, ends, strict=True)], cell, count)
