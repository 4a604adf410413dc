# SPDX-License-Identifier: Apache-2.0
"""Columns of encodings: the parts of tuples, put together for many tuples at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..encodings.columns import Encoded, Octets
from .base import Codec
from .compound import Tuple2Codec, Tuple3Codec, size_bytes
from .octets import BYTES, Array, Blob


def with_bytes(codec: Codec[Any]) -> Codec[bytes]:
    """Return the type of bytes that has the bound of a type: its values are the encodings of that one. O(1)."""
    most = codec.bound.max_size
    return BYTES if most is None else Array(most) if codec.bound.is_fixed_size else Blob(most)


def fit(codec: Codec[Any], column: Encoded) -> bool:
    """Return whether each encoding has a size that the type allows. O(n)."""
    most, sizes = codec.bound.max_size, column.sizes()
    if most is None or not column.count:
        return True
    return int(sizes.max()) <= most and (not codec.bound.is_fixed_size or int(sizes.min()) == most)


def tuples_of(codec: Tuple2Codec | Tuple3Codec, columns: Sequence[Encoded]) -> Encoded:
    r"""Return the encodings of tuples from those of their parts, a column for each. O(size). Raises `BoundExceeded`.

    >>> from . import codec, u8
    >>> tuples_of(codec(tuple[u8, u8]), [Encoded.of([b"a", b"b"]), Encoded.of([b"c", b"d"])]).pieces()
    [b'ac', b'bd']
    """
    parts = list(zip(codec.fields.values(), columns, strict=True))
    sized = [(part, column) for part, column in parts if not part.bound.is_fixed_size]
    if (sized and not isinstance(codec, Tuple2Codec)) or not all(fit(part, column) for part, column in parts):
        frame = type(codec)(*map(with_bytes, codec.fields.values()))
        return Encoded.of(map(frame.encode, zip(*(column.pieces() for column in columns), strict=True)))
    rows = [_padded(column, part.bound.max_size or 0) for part, column in parts]
    return Encoded.of_rows(np.concatenate(rows + [_size_fields(column, part.bound.max_size or 0) for part, column in sized], axis=1))


def _padded(column: Encoded, most: int) -> Octets:
    """Return encodings as rows, each with zeros up to `most` bytes."""
    found = column.rows(most)
    if found is None:
        found = np.zeros((column.count, most), np.uint8)
        found[np.arange(most, dtype=np.uint64) < column.sizes()[:, np.newaxis]] = column.data
    return found


def _size_fields(column: Encoded, most: int) -> Octets:
    width = size_bytes(most)
    return column.sizes().astype(f">u{width}").view(np.uint8).reshape(column.count, width)
