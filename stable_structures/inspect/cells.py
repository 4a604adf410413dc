# SPDX-License-Identifier: Apache-2.0
"""What stands in a dump for a key or a value, and how that becomes the same bytes again.

    a given type          its value; the encoded bytes instead or beside it if the value cannot be encoded back to them
    a type is guessed     the guess, for people, and the encoded bytes beside it, in a column `key_bytes` or `value_bytes`
    --raw                 the encoded bytes alone, in that column

Text in CSV has three escapes, the same in every file, so that any text and any bytes come back:

    encoded:0x6162        the encoded bytes; also for a text that looks like that itself
    '=1                   the text =1, as --safe-csv writes what a spreadsheet would take for a formula; a ' more than
                          there is in the text, and so for texts that begin with a ' and such a letter themselves
    "" or "x              of an option: the empty text and texts that begin with a quote, as JSON; nothing at all is None
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import repeat
from typing import Any, Final, TypeAlias

import cbor2

from ..encodings.json_form import json_text, to_json
from ..errors import StableError
from ..principal import Principal
from ..storable import Codec, OptionCodec, ReverseCodec
from ..storable.cbor import CborCodec
from ..storable.octets import PrincipalCodec, StrCodec
from ..storable.scalars import BoolCodec, FloatCodec, IntCodec, UnitCodec
from .values import MOMENTS, RAW, Reading, from_json, is_octets

_ENCODED: Final = "encoded:"
_IS_ENCODED: Final = re.compile(r"encoded:0x(?:[0-9a-fA-F]{2})*")
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
NO_VALUE: Final = (StableError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError)
"""What making a value of something else raises."""

Cell: TypeAlias = Callable[[bytes], tuple[Any, bytes | None]]
"""What stands for encoded bytes, and the bytes where that does not lead back to them."""


def innermost(codec: Codec[Any]) -> Codec[Any]:
    """Return the type inside of options and reversals."""
    while isinstance(codec, (OptionCodec, ReverseCodec)):
        codec = codec.part
    return codec


def is_optional(codec: Codec[Any]) -> bool:
    """Return whether a value may be None without being of the unit type."""
    return isinstance(codec, OptionCodec) or (isinstance(codec, ReverseCodec) and is_optional(codec.part))


def _is_faithful(codec: Codec[Any]) -> bool:
    """Return whether bytes that decode are the one encoding of their value, which JSON, CSV, CBOR and Parquet can all say."""
    if isinstance(codec, ReverseCodec):
        return _is_faithful(codec.part)
    return isinstance(codec, (IntCodec, BoolCodec, StrCodec, PrincipalCodec, UnitCodec)) or is_octets(codec)


def cell_of(reading: Reading, form: Callable[[Any], Any], back: Callable[[Codec[Any], Any], Any]) -> Cell:
    """Return how a reading's bytes are written: `form` makes of a value what stands there, `back` a value again. O(size) each time."""
    codec = reading.codec
    sure = codec is not None and _is_faithful(codec)

    def cell(data: bytes) -> tuple[Any, bytes | None]:
        if reading is RAW:
            return None, data
        value, decoded = reading.attempt(data)
        said = form(value)
        leads_back = decoded and codec is not None and (sure or _leads_back(codec, said, back, data))
        return said, None if leads_back else data

    return cell


def _leads_back(codec: Codec[Any], said: Any, back: Callable[[Codec[Any], Any], Any], data: bytes) -> bool:
    try:
        return codec.encode(back(codec, said)) == data
    except NO_VALUE:
        return False


def json_cell(reading: Reading) -> Cell:
    """For JSON."""
    return cell_of(reading, to_json, from_json)


# ---- CBOR ----


def cbor_cell(reading: Reading) -> Cell:
    """For a CBOR sequence: the item."""
    return cell_of(reading, cbor_item, lambda codec, item: from_json(codec, cbor2.loads(item)))


def cbor_item(value: Any) -> bytes:
    """Return a value as a CBOR item; what CBOR lacks as JSON says it."""
    try:
        return cbor2.dumps(value)
    except (cbor2.CBORError, ValueError, TypeError, RecursionError):
        return cbor2.dumps(to_json(value))


# ---- CSV ----


def csv_cell(reading: Reading, *, safe: bool, plain: bool) -> Cell:
    """For CSV. `safe` marks what a spreadsheet takes for a formula, `plain` writes what is not printable as bytes."""
    codec = reading.codec
    if codec is None:
        return cell_of(reading, lambda value: _guarded(_guessed(value, plain=plain), safe=safe), from_json)
    form, safe = _text_form(codec), safe and not _is_number(codec)
    cell = cell_of(reading, lambda value: _guarded(form(value), safe=safe), from_csv)

    def convert(data: bytes) -> tuple[Any, bytes | None]:
        text, exact = cell(data)
        if exact is not None or _IS_ENCODED.fullmatch(text) or (plain and not text.isprintable()):
            return f"{_ENCODED}0x{data.hex()}", None
        return text, None

    return convert


def _guessed(value: Any, *, plain: bool) -> str:
    text = value if isinstance(value, str) else "" if value is None else _scalar(to_json(value))
    return text if not plain or text.isprintable() else json_text(text)


def _scalar(made: Any) -> str:
    return made if isinstance(made, str) else json_text(made)


def _is_number(codec: Codec[Any]) -> bool:
    return isinstance(innermost(codec), (IntCodec, FloatCodec))


def _guarded(text: str, *, safe: bool) -> str:
    """With a ' before what begins as a formula, or as something that has one already."""
    found = _FORMULA.match(text)
    return f"'{text}" if found and (safe or text[0] == "'") else text


def _text_form(codec: Codec[Any]) -> Callable[[Any], str]:
    """Return how values of a type are written in CSV; see `from_csv`."""
    inner, optional = innermost(codec), is_optional(codec)
    if isinstance(inner, StrCodec) and optional:
        return lambda value: "" if value is None else json_text(value) if value[:1] in ("", '"') else value
    if isinstance(inner, CborCodec):
        return lambda value: "" if optional and value is None else _cbor_text(value)
    return lambda value: "" if value is None else _scalar(to_json(value))


def _cbor_text(value: Any) -> str:
    """JSON; a text as it is if that is not JSON."""
    if isinstance(value, str) and value and _json_of(value) is _NO_JSON:
        return value
    return json_text(to_json(value))


_NO_JSON: Final = object()


def _json_of(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NO_JSON


_scan: Final[Any] = getattr(json.JSONDecoder(), "scan_once")  # noqa: B009 - no type knows it


def json_items(texts: list[str]) -> list[Any] | None:
    """Return what each text says as JSON, as `json.loads` does; None if one has more than a value in it, or none. O(size).

    >>> json_items(["[1]", "null"]), json_items(["1,2"]), json_items([" 1"])
    ([[1], None], None, None)
    """
    try:
        found = [*map(_scan, texts, repeat(0))]  # it ends early if one is no JSON
    except (ValueError, RecursionError):
        return None
    if not found:
        return None if texts else []
    items, ends = zip(*found, strict=True)
    return list(items) if list(ends) == list(map(len, texts)) else None


def bytes_of_csv(text: str) -> bytes | None:
    """Return the encoded bytes, where a cell of CSV says these."""
    return bytes.fromhex(text[len(_ENCODED) + 2 :]) if _IS_ENCODED.fullmatch(text) else None


def any_begins(texts: list[str], start: str) -> bool:
    """Return whether a text begins with `start`; it may also say so of one that has it behind a zero. O(size).

    >>> any_begins(["a", "'=1"], "'"), any_begins(["don't"], "'")
    (True, False)
    """
    return f"\0{start}" in "\0" + "\0".join(texts)


def any_encoded(texts: list[str]) -> bool:
    """Return whether a cell of CSV says encoded bytes, or may do so. O(size)."""
    return any_begins(texts, f"{_ENCODED}0x")


def from_csv(codec: Codec[Any], text: str) -> Any:
    """Return the value of a cell of CSV, by its type. O(size). Raises `IncompatibleType`, or what the type does.

    >>> from ..storable import parse_type
    >>> from_csv(parse_type("string"), "[1]"), from_csv(parse_type("string"), "'=1"), from_csv(parse_type("option<string>"), "")
    ('[1]', '=1', None)
    """
    if text[:1] == "'" and _FORMULA.match(text):
        text = text[1:]
    inner = innermost(codec)
    if not text and (is_optional(codec) or isinstance(inner, UnitCodec)):
        return None
    if isinstance(inner, StrCodec):
        return _unquoted(text) if is_optional(codec) and text[0] == '"' else text
    if _is_faithful(inner) or isinstance(inner, (*MOMENTS, FloatCodec)):
        return from_json(inner, text)
    found = _json_of(text)
    return from_json(codec, text if found is _NO_JSON else found)


def _unquoted(text: str) -> str:
    found = _json_of(text)
    return found if isinstance(found, str) else text


# ---- Parquet ----

_GUESSED_ARROW: Final = {"u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64", "f32": "float32", "f64": "float64"}


def guessed_arrow_type(reading: Reading) -> str:
    """Return the type of a column of guesses: `string` where they are not numbers."""
    return _GUESSED_ARROW.get(reading.name, "string")


def guessed_arrow_cell(reading: Reading) -> Cell:
    """For Parquet, where the type is a guess: its value as a number or as text, and always the bytes."""
    kind = guessed_arrow_type(reading)

    def form(value: Any) -> Any:
        if kind == "string":
            return None if value is None else _scalar(to_json(value)).encode("utf-8", "backslashreplace").decode()
        return None if isinstance(value, bytes) else value

    return cell_of(reading, form, from_json)


def is_native(codec: Codec[Any]) -> bool:
    """Return whether the values of a type are in Parquet what they are in JSON, or bytes."""
    inner = innermost(codec)
    narrow = isinstance(inner, IntCodec) and inner.dtype is not None
    return narrow or isinstance(inner, (BoolCodec, StrCodec, PrincipalCodec, FloatCodec)) or is_octets(inner)


def from_arrow(codec: Codec[Any], value: Any) -> Any:
    """Return the value of a cell of Parquet, by its type: as its Arrow type has it, or as JSON. O(size)."""
    is_own_text = isinstance(value, str) and isinstance(innermost(codec), MOMENTS)
    if isinstance(value, bytes) and isinstance(innermost(codec), PrincipalCodec):
        return Principal(value)
    if value is None or isinstance(value, (int, float)) or is_own_text or is_native(codec):
        return from_json(codec, value)
    if isinstance(value, str):
        found = _json_of(value)
        return from_json(codec, value if found is _NO_JSON else found)
    from ..arrow.forms import Choices  # noqa: PLC0415 - an extra, which whoever read a value of Arrow has
    from ..arrow.mapping import form_of  # noqa: PLC0415 - an extra, which whoever read a value of Arrow has

    return form_of(codec, Choices(wide="text")).from_py(value)
