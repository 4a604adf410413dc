# SPDX-License-Identifier: Apache-2.0
"""The texts of many principals at once: `Principal.to_text` takes several times as long for each.

The standard library has base32 in Python only, so that is done in numpy: all principals of one size are rows of an array.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

import numpy as np

from ..principal import MAX_LENGTH
from .columns import Encoded, Octets

_AT_ONCE: Final = 1 << 14
_CHECKSUM: Final = 4
_GROUP: Final = 5
_LETTERS: Final = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", np.uint8)


def principal_texts(column: Encoded) -> list[str] | None:
    """Return the text of each principal; None if one of them has too many bytes. O(size).

    >>> principal_texts(Encoded.of([b"", bytes([4])]))
    ['aaaaa-aa', '2vxsx-fae']
    """
    ends = column.all_ends().astype(np.int64)
    sizes = np.diff(ends, prepend=np.int64(0))
    if column.count and int(sizes.max()) > MAX_LENGTH:
        return None
    found = np.empty(column.count, object)
    for size in np.unique(sizes).tolist():
        places = np.flatnonzero(sizes == size)
        for first in range(0, len(places), _AT_ONCE):
            some = places[first : first + _AT_ONCE]
            rows = column.data[(ends[some] - size)[:, np.newaxis] + np.arange(size)]
            found[some] = _texts_of_rows(rows)
    return found.tolist()


def _texts_of_rows(rows: Octets) -> list[str]:
    """Return the texts of principals of one size: checksum and bytes in base32, with a dash behind each five letters."""
    pieces = [row.tobytes() for row in rows]
    checksums = np.fromiter(map(crc32, pieces), ">u4", len(pieces)).view(np.uint8).reshape(-1, _CHECKSUM)
    raw = np.concatenate((checksums, rows, np.zeros((len(rows), 1), np.uint8)), axis=1).astype(np.uint16)
    pairs = raw[:, :-1] << np.uint16(8) | raw[:, 1:]
    bits = _GROUP * np.arange(-(-8 * (raw.shape[1] - 1) // _GROUP))
    letters = _LETTERS[pairs[:, bits // 8] >> (11 - bits % 8).astype(np.uint16) & np.uint16(31)]
    columns = np.arange(len(bits)) + np.arange(len(bits)) // _GROUP
    width = int(columns[-1]) + 1
    made = np.full((len(rows), width), ord("-"), np.uint8)
    made[:, columns] = letters
    text = made.tobytes().decode("ascii")
    return [text[at : at + width] for at in range(0, len(text), width)]
