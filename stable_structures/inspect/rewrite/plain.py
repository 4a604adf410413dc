# SPDX-License-Identifier: Apache-2.0
"""Many values at once, from what dumps say of them: the way back of texts.py.

Nothing here decides what is a value. A column gets its encodings only if all that stands in it has the form in which `dump` writes
it, or one that Python's own constructors read; for any other the answer is None, or an error, and the caller goes value by value.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any, Final, TypeAlias

import numpy as np

from ...encodings.columns import Encoded
from ...encodings.principals import principals_of
from ...storable import Codec, OptionCodec, ReverseCodec, Tuple2Codec, Tuple3Codec
from ...storable.columns import fit, tuples_of
from ...storable.octets import Array, Blob, BytesCodec, PrincipalCodec, StrCodec
from ...storable.scalars import BoolCodec, FloatCodec, IntCodec, UnitCodec
from ..cells import any_begins, from_csv, innermost, is_native, is_optional, json_items
from ..sqlite import from_sqlite
from ..values import from_json

Items: TypeAlias = list[Any]
_TUPLES: Final = (Tuple2Codec, Tuple3Codec)
_NONE: Final = type(None)


def is_known(codec: Codec[Any]) -> bool:
    """Return whether `encodings` may have an answer for a type. O(parts)."""
    if isinstance(codec, (OptionCodec, ReverseCodec)):
        return is_known(codec.part)
    return (
        all(map(is_known, codec.fields.values())) if isinstance(codec, _TUPLES) else type(codec) in _MAKERS or isinstance(codec, IntCodec)
    )


def encodings(codec: Codec[Any], back: Callable[..., Any], items: Items) -> Encoded | None:
    """Return the encodings of what `back` makes of each item; None if an item has another form. O(size).

    It may also raise, and then value by value raises too, or knows better.
    """
    found = _FORMS[back](codec, items) if back in _FORMS else None
    return None if found is None else _of_json(codec, found)


# ---- as formats say values ----


def _from_csv(codec: Codec[Any], texts: list[str]) -> Items | None:
    """Return fields of CSV as JSON has them; numbers, bools and bytes stay text."""
    inner, optional = innermost(codec), is_optional(codec)
    if any_begins(texts, "'") or (optional and isinstance(inner, StrCodec) and any_begins(texts, '"')):
        return None
    items: Items = [text or None for text in texts] if optional or isinstance(inner, UnitCodec) else texts
    return _parsed(items) if isinstance(inner, _TUPLES) else items


def _from_sqlite(codec: Codec[Any], items: Items) -> Items | None:
    """Return cells of SQLite as JSON has them."""
    inner, kinds = innermost(codec), set(map(type, items)) - {_NONE}
    if isinstance(inner, (BoolCodec, FloatCodec)) and int in kinds:
        number = bool if isinstance(inner, BoolCodec) else float
        return [number(item) if isinstance(item, int) else item for item in items]
    if is_native(codec) or kinds <= {int, float}:
        return items
    return _parsed(items) if kinds == {str} else None


def _parsed(texts: Items) -> Items | None:
    """Return what texts say as JSON; what is None stays so."""
    found = json_items([text for text in texts if text is not None])
    if found is None or len(found) == len(texts):
        return found
    rest = iter(found)
    return [None if text is None else next(rest) for text in texts]


_FORMS: Final[dict[Callable[..., Any], Callable[[Codec[Any], Items], Items | None]]] = {
    from_json: lambda _, items: items,
    from_csv: _from_csv,
    from_sqlite: _from_sqlite,
}


# ---- as JSON says values ----


def _of_json(codec: Codec[Any], items: Items) -> Encoded | None:
    make: Callable[[Any, Items], Encoded | None] = _integers if isinstance(codec, IntCodec) else _MAKERS[type(codec)]
    return make(codec, items) if items else Encoded.of([])


def _integers(codec: IntCodec, items: Items) -> Encoded | None:
    numbers = _numbers(int, items)
    if numbers is None:
        return None
    if codec.dtype is None:
        return Encoded.of(map(codec.encode, numbers))
    return _of_array(codec, np.array(numbers, np.int64 if min(numbers) < 0 else np.uint64))


def _floats(codec: Codec[float], items: Items) -> Encoded | None:
    numbers = _numbers(float, items)
    if numbers is None:
        return None
    given = np.array(numbers, np.float64)
    with np.errstate(over="ignore", invalid="raise"):
        found = given.astype(codec.native_dtype)
    return _of_array(codec, found) if np.array_equal(np.isinf(found), np.isinf(given)) else None


def _numbers(kind: Callable[[Any], Any], items: Items) -> Items | None:
    """Return numbers that are numbers, or text, of one kind: True and 1.0 are not 1."""
    kinds = set(map(type, items))
    if not kinds <= {kind, str}:
        return None
    return list(map(kind, items)) if str in kinds else items


def _bools(codec: Codec[bool], items: Items) -> Encoded | None:
    if set(map(type, items)) == {bool}:
        return _of_array(codec, np.array(items, np.bool_))
    said = [item == "true" for item in items if item in ("true", "false")]
    return _of_array(codec, np.array(said, np.bool_)) if len(said) == len(items) else None


def _of_array(codec: Codec[Any], array: np.ndarray[Any, Any]) -> Encoded:
    return Encoded.of_rows(codec.encode_array(array).reshape(len(array), -1))


def _texts(_: Codec[str], items: Items) -> Encoded | None:
    return Encoded.of(map(str.encode, items)) if set(map(type, items)) == {str} else None


def _principals(codec: Codec[Any], items: Items) -> Encoded | None:
    found = _texts(codec, items)
    return None if found is None else principals_of(found)


def _octets(codec: Codec[bytes], items: Items) -> Encoded | None:
    kinds = set(map(type, items))
    if kinds not in ({str}, {bytes}):
        return None
    found = Encoded.of(map(bytes.fromhex, map(str.removeprefix, items, repeat("0x"))) if kinds == {str} else items)
    return found if fit(codec, found) else None


def _units(_: Codec[None], items: Items) -> Encoded | None:
    return Encoded.of([b""] * len(items)) if set(map(type, items)) == {_NONE} else None


def _options(codec: OptionCodec[Any], items: Items) -> Encoded | None:
    there = np.fromiter((item is not None for item in items), np.bool_, len(items))
    if codec.bound.is_fixed_size and not there.all():
        return None
    part = _of_json(codec.part, [item for item in items if item is not None])
    return None if part is None else part.in_options(there)


def _rows(codec: Tuple2Codec | Tuple3Codec, items: Items) -> Encoded | None:
    parts = list(codec.fields.values())
    if set(map(type, items)) != {list} or set(map(len, items)) != {len(parts)}:
        return None
    columns = [_of_json(part, list(column)) for part, column in zip(parts, zip(*items, strict=True), strict=True)]
    there = [column for column in columns if column is not None]
    return tuples_of(codec, there) if len(there) == len(columns) else None


_MAKERS: Final[dict[type, Callable[[Any, Items], Encoded | None]]] = {
    FloatCodec: _floats,
    BoolCodec: _bools,
    StrCodec: _texts,
    PrincipalCodec: _principals,
    **dict.fromkeys((BytesCodec, Blob, Array), _octets),
    UnitCodec: _units,
    OptionCodec: _options,
    ReverseCodec: lambda codec, items: _of_json(codec.part, items),
    **dict.fromkeys(_TUPLES, _rows),
}
