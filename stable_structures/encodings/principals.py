# SPDX-License-Identifier: Apache-2.0
"""The texts of many principals at once, and the way back: `Principal` takes several times as long for each.

The standard library has base32 in Python only, so that is done in numpy: all principals of one size are rows of an array.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

from ..principal import MAX_LENGTH
from .columns import Encoded, Octets

_AT_ONCE: Final = 1 << 14
_CHECKSUM: Final = 4
_GROUP: Final = 5
_DASH: Final = ord("-")
_LETTERS: Final = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", np.uint8)
_NO_LETTER: Final = 255
_NUMBERS: Final = np.full(256, _NO_LETTER, np.uint8)
_NUMBERS[_LETTERS] = np.arange(len(_LETTERS))
"""What each letter says."""


def _width(size: int) -> int:
    """Return how many characters the text of a principal of so many bytes has."""
    letters = -(-8 * (_CHECKSUM + size) // _GROUP)
    return letters + (letters - 1) // _GROUP


_SIZES: Final = {_width(size): size for size in range(MAX_LENGTH + 1)}
"""The size of a principal by the width of its text."""


def principal_texts(column: Encoded) -> list[str] | None:
    """Return the text of each principal; None if one of them has too many bytes. O(size).

    >>> principal_texts(Encoded.of([b"", bytes([4])]))
    ['aaaaa-aa', '2vxsx-fae']
    """
    if column.count and int(column.sizes().max()) > MAX_LENGTH:
        return None
    found = np.empty(column.count, object)
    for places, rows in _by_size(column):
        found[places] = _texts_of_rows(rows)
    return found.tolist()


def principals_of(texts: Encoded) -> Encoded | None:
    r"""Return the principals of texts; None if one of them is not just as `principal_texts` writes it. O(size).

    >>> column = principals_of(Encoded.of([b"aaaaa-aa", b"2vxsx-fae"]))
    >>> column.pieces(), principals_of(Encoded.of([b"2VXSX-FAE"]))
    ([b'', b'\x04'], None)
    """
    widths = texts.sizes().tolist()
    if not _SIZES.keys() >= set(widths):
        return None
    sizes = np.fromiter(map(_SIZES.__getitem__, widths), np.int64, len(widths))
    ends = np.cumsum(sizes)
    data = np.empty(int(sizes.sum()), np.uint8)
    for places, rows in _by_size(texts):
        raw = _raw_of_rows(rows)
        if raw is None:
            return None
        data[_spots(ends[places], raw.shape[1])] = raw
    return Encoded(data, texts.count, ends=ends.astype(np.uint64))


def _spots(ends: npt.NDArray[np.int64], size: int) -> Any:
    """Return where the bytes of pieces of one size lie, which end there."""
    return (ends - size)[:, np.newaxis] + np.arange(size)


def _by_size(column: Encoded) -> Iterator[tuple[Any, Octets]]:
    """Yield some pieces of one size as rows, with their places in the column, until all were there."""
    ends, sizes = column.all_ends().astype(np.int64), column.sizes().astype(np.int64)
    for size in np.unique(sizes).tolist():
        places = np.flatnonzero(sizes == size)
        for first in range(0, len(places), _AT_ONCE):
            some = places[first : first + _AT_ONCE]
            yield some, column.data[_spots(ends[some], size)]


def _checksums(rows: Octets) -> Octets:
    """Return the checksum of each row, as a row."""
    found = np.fromiter((crc32(row.tobytes()) for row in rows), ">u4", len(rows))
    return found.view(np.uint8).reshape(-1, _CHECKSUM)


def _texts_of_rows(rows: Octets) -> list[str]:
    """Return the texts of principals of one size: checksum and bytes in base32, with a dash behind each five letters."""
    raw = np.concatenate((_checksums(rows), rows, np.zeros((len(rows), 1), np.uint8)), axis=1).astype(np.uint16)
    pairs = raw[:, :-1] << np.uint16(8) | raw[:, 1:]
    bits = _GROUP * np.arange(-(-8 * (raw.shape[1] - 1) // _GROUP))
    letters = _LETTERS[pairs[:, bits // 8] >> (11 - bits % 8).astype(np.uint16) & np.uint16(31)]
    columns = np.arange(len(bits)) + np.arange(len(bits)) // _GROUP
    width = int(columns[-1]) + 1
    made = np.full((len(rows), width), _DASH, np.uint8)
    made[:, columns] = letters
    text = made.tobytes().decode("ascii")
    return [text[at : at + width] for at in range(0, len(text), width)]


def _raw_of_rows(texts: Octets) -> Octets | None:
    """Return the principals of texts of one width; None if one of them has another letter, dash, checksum or bit at its end."""
    size = _CHECKSUM + _SIZES[texts.shape[1]]
    is_dash = np.arange(texts.shape[1]) % (_GROUP + 1) == _GROUP
    numbers = _NUMBERS[texts[:, ~is_dash]]
    rest = (1 << _GROUP * numbers.shape[1] - 8 * size) - 1
    if (texts[:, is_dash] != _DASH).any() or (numbers == _NO_LETTER).any() or (numbers[:, -1] & np.uint8(rest)).any():
        return None
    bits = 8 * np.arange(size)
    numbers = np.pad(numbers, ((0, 0), (0, 2))).astype(np.uint16)
    first, second, third = (numbers[:, bits // _GROUP + place] for place in range(3))
    triples = first << np.uint16(2 * _GROUP) | second << np.uint16(_GROUP) | third
    data = (triples >> (3 * _GROUP - 8 - bits % _GROUP).astype(np.uint16)).astype(np.uint8)
    raw = data[:, _CHECKSUM:]
    return raw if np.array_equal(data[:, :_CHECKSUM], _checksums(raw)) else None
