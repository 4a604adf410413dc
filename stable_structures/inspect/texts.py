# SPDX-License-Identifier: Apache-2.0
"""Many values at once as CSV, JSON lines, CBOR and SQLite say them, by the type that was given.

All functions return what cells.py writes for each value, faster. They return None if a value of the column has another form
there (a text with quotes, a NaN, bytes that do not decode), or if the type is not known here: then the caller goes value by value.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..encodings.principals import principal_texts
from ..errors import StableError
from ..storable import Codec, ReverseCodec
from ..storable.octets import Blob, BytesCodec, PrincipalCodec, StrCodec
from ..storable.scalars import UnitCodec
from .columns import Side
from .encoding import is_flat

_NOT_IN_CSV: Final = re.compile("[\"',\r\n]|encoded:")
_NOT_IN_JSON: Final = re.compile(r"[^ !#-\[\]-~]")


def csv_texts(codec: Codec[Any] | None, side: Side) -> list[str] | None:
    """Return the fields of CSV, in quotes if they need these; the indices if `side` has indices. O(size)."""
    if side.has_indices:
        return list(map(str, side.items()))
    codec = _inner(codec)
    if isinstance(codec, StrCodec):
        return _ascii(side, _NOT_IN_CSV)
    if isinstance(codec, UnitCodec):
        return None if side.data else [""] * len(side.ends)
    found = _quoteless(codec, side)
    return _flat_csv(codec, side) if found is None else found


def _flat_csv(codec: Codec[Any] | None, side: Side) -> list[str] | None:
    values = _flat(codec, side)
    if values is None:
        return None
    if values.dtype.names is None:
        return _of_values(values, "{}")
    rows = _of_values(values, '""{}""')
    return None if rows is None else [f'"{row}"' for row in rows]


def json_texts(codec: Codec[Any] | None, side: Side) -> list[str] | None:
    """Return the values as JSON; the indices if `side` has indices. O(size)."""
    if side.has_indices:
        return list(map(str, side.items()))
    codec = _inner(codec)
    if isinstance(codec, UnitCodec):
        return None if side.data else ["null"] * len(side.ends)
    found = _ascii(side, _NOT_IN_JSON) if isinstance(codec, StrCodec) else _quoteless(codec, side)
    if found is not None:
        return [f'"{text}"' for text in found]
    values = _flat(codec, side)
    return None if values is None else _of_values(values, '"{}"')


def plain_values(codec: Codec[Any] | None, side: Side) -> list[Any] | None:
    """Return the values as CBOR has them, principals as text; the indices if `side` has indices. O(size)."""
    if side.has_indices:
        return side.items()
    codec = _inner(codec)
    if isinstance(codec, UnitCodec):
        return None if side.data else [None] * len(side.ends)
    if isinstance(codec, StrCodec):
        return _decoded(side)
    if isinstance(codec, PrincipalCodec):
        return principal_texts(side.encoded())
    if isinstance(codec, (BytesCodec, Blob)):
        return side.items() if _are_within(codec, side) else None
    values = _flat(codec, side)
    return values.tolist() if values is not None and _are_finite(values) else None


def _decoded(side: Side) -> list[str] | None:
    try:
        return list(map(bytes.decode, side.items()))
    except UnicodeDecodeError:
        return None


def _are_within(codec: BytesCodec | Blob, side: Side) -> bool:
    most = codec.bound.max_size
    return most is None or all(high - low <= most for low, high in side.spans())


def _are_finite(values: npt.NDArray[Any]) -> bool:
    if values.dtype.names is not None:
        return all(_are_finite(values[name]) for name in values.dtype.names)
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _inner(codec: Codec[Any] | None) -> Codec[Any] | None:
    while isinstance(codec, ReverseCodec):
        codec = codec.part
    return codec


def _ascii(side: Side, otherwise: re.Pattern[str]) -> list[str] | None:
    """Return texts, if all are ASCII and have nothing that is written in another way."""
    if not side.data.isascii():
        return None
    text = side.data.decode("ascii")
    return None if otherwise.search(text) else [text[low:high] for low, high in side.spans()]


def _quoteless(codec: Codec[Any] | None, side: Side) -> list[str] | None:
    """Return texts of values that are not texts: they need no quotes in CSV, and nothing in them is escaped."""
    if isinstance(codec, PrincipalCodec):
        return principal_texts(side.encoded())
    if not isinstance(codec, (BytesCodec, Blob)):
        return None
    if not _are_within(codec, side):
        return None
    digits = side.data.hex()
    return [f"0x{digits[2 * low : 2 * high]}" for low, high in side.spans()]


def _flat(codec: Codec[Any] | None, side: Side) -> npt.NDArray[Any] | None:
    if codec is None or not is_flat(codec) or not side.all_have(codec.bound.max_size or 0):
        return None
    try:
        return codec.decode_array(side.data)
    except StableError:
        return None


def _of_values(values: npt.NDArray[Any], quoted: str) -> list[str] | None:
    """Return numbers, bools, bytes and rows of them as JSON, which has quotes around bytes as `quoted` says; None for what it lacks."""
    if values.dtype.names is not None:
        columns = [_of_values(values[name], quoted) for name in values.dtype.names]
        there = [column for column in columns if column is not None]
        return [f"[{', '.join(row)}]" for row in zip(*there, strict=True)] if len(there) == len(columns) else None
    if values.dtype.kind == "f":
        return list(map(repr, values.tolist())) if bool(np.isfinite(values).all()) else None
    if values.dtype.kind == "b":
        return ["true" if value else "false" for value in values.tolist()]
    if values.dtype.kind == "V":
        return [quoted.format(f"0x{value.hex()}") for value in values.tolist()]
    return list(map(str, values.tolist()))
