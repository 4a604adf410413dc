# SPDX-License-Identifier: Apache-2.0
"""Reads dumps: rows of JSON lines, CSV, a CBOR sequence or Parquet, and the encoded bytes of the keys and values in them.

A dump may come from anybody. What is not a dump is refused with the file and the line or entry, and so is what would be
taken for something else than it was.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import cbor2

from ...encodings.limits import TooMuch
from ...storable import Codec, codec
from .. import parquet, sqlite
from ..cells import bytes_of_csv, from_arrow, from_csv
from ..source import Unreadable
from ..values import from_json, unhex

Row: TypeAlias = dict[str, Any]
Rows: TypeAlias = Iterator[tuple[str, Row]]
"""Rows by the names of their columns, each with where it stands."""

OUTPUTS: Final = ("jsonl", "csv", "cbor", "parquet")
_BYTES: Final = codec(bytes)
_BOM: Final = b"\xef\xbb\xbf"
_OTHER_MARKS: Final = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_PAIR, _WITH_MORE = 2, 3


def rows_of(path: Path, form: str) -> tuple[Callable[[Path], Rows], Callable[[Codec[Any], Any], Any]]:
    """Return the rows of a dump, and what makes a value of what stands in them. Raises `Unreadable` for an unknown format."""
    if form not in _READERS:
        raise Unreadable(f"{path}: {form!r} is not a format that can be loaded; give --format jsonl, csv, cbor or parquet")
    return _READERS[form]


class Column:
    """Keys or values: the encoded bytes of what stands in a row."""

    def __init__(self, name: str, codec: Codec[Any] | None, back: Callable[[Codec[Any], Any], Any]) -> None:
        self.name, self.told, self.back = name, codec is not None, back
        self.codec = codec or _BYTES

    def encoded(self, row: Row) -> bytes:
        """Return the bytes where the row has them, since what stands beside them may be a guess; else those of the value.

        O(size). Raises `StableError`, or `ValueError`, `TypeError` or `KeyError`, if that is not a value of the type.
        """
        exact = row.get(f"{self.name}_bytes")
        if exact is not None and exact != "":
            data = exact if isinstance(exact, bytes) else unhex(str(exact))
            self.codec.decode(data)
            return data
        found = row[self.name]
        if not self.told and isinstance(found, str) and not found.startswith("0x"):
            raise ValueError(f"the type of the {self.name} is not known; give --{self.name}-type TYPE, or dump with --raw")
        return self.codec.encode(self.back(self.codec, found))


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    with file:
        yield file


def _lines(path: Path, file: IO[bytes]) -> Iterator[str]:
    """Return the lines of a file in UTF-8, with their ends; a byte order mark before the first is left out."""
    for number, line in enumerate(file, 1):
        try:
            yield (line.removeprefix(_BOM) if number == 1 else line).decode()
        except UnicodeDecodeError as error:
            seen = _OTHER_MARKS.get(line[:2], "another encoding") if number == 1 else "another encoding"
            raise Unreadable(
                f"{path}, line {number}: no UTF-8 (byte 0x{line[error.start]:02x}, the {error.start + 1}. of the line); "
                f"it may be {seen}: convert it, as iconv -f ENCODING -t UTF-8 does"
            ) from None


def _read_jsonl(path: Path) -> Rows:
    with _opened(path) as file:
        for number, line in enumerate(_lines(path, file), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise Unreadable(f"{path}, line {number}: no JSON: {error}") from None
            if not isinstance(row, dict):
                raise Unreadable(f"{path}, line {number}: an object with key and value is wanted, found {str(row)[:40]}")
            yield f"line {number}", row


@contextmanager
def _long_fields() -> Iterator[None]:
    """Raise the limit of the csv module, which holds for the whole process."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_csv(path: Path) -> Rows:
    with _opened(path) as file, _long_fields():
        reader = csv.reader(_lines(path, file), strict=True)
        names: list[str] | None = None
        start = 1
        while True:
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise Unreadable(f"{path}, line {reader.line_num}: no CSV: {_csv_words(error)}") from None
            if fields is None:
                return
            if names is None:
                names = _names(path, fields)
            elif fields:
                yield f"line {start}", _csv_row(path, start, names, fields)
            start = reader.line_num + 1


def _csv_words(error: csv.Error) -> str:
    if "new-line" in str(error):
        return "a carriage return (CR) stands alone outside of quotes; put the field into quotes, or end lines by LF"
    return str(error)


def _names(path: Path, fields: list[str]) -> list[str]:
    if len(set(fields)) < len(fields):
        raise Unreadable(f"{path}, line 1: the header names a column twice: {', '.join(fields)[:100]}")
    return fields


def _csv_row(path: Path, line: int, names: list[str], fields: list[str]) -> Row:
    if len(fields) != len(names):
        found = f"{len(fields)} fields, but the header names {len(names)}"
        raise Unreadable(f"{path}, line {line}: {found}; is a text with a comma not in quotes?")
    row: Row = dict(zip(names, fields, strict=True))
    for name, text in zip(names, fields, strict=True):
        exact = bytes_of_csv(text)
        if exact is not None:
            row[f"{name}_bytes"] = exact
    return row


def _read_cbor(path: Path) -> Rows:
    with _opened(path) as file:
        decoder, number = cbor2.CBORDecoder(file, semantic_decoders=_UNSHARED), 0
        while file.peek(1):
            number += 1
            try:
                yield f"item {number}", _cbor_row(decoder.decode())
            except _NO_ITEM as error:
                raise Unreadable(f"{path}, item {number}: no array of key and value: {error}") from None


_NO_ITEM: Final = (cbor2.CBORError, ArithmeticError, AttributeError, EOFError, LookupError, RecursionError, TypeError, ValueError)


def _refused_tag(_decoder: Any) -> Any:
    raise TooMuch("it has shared parts, which no dump has")


_UNSHARED: Final = dict.fromkeys((25, 28, 29, 256), _refused_tag)


def _cbor_row(item: Any) -> Row:
    if not isinstance(item, (list, tuple)) or not _PAIR <= len(item) <= _WITH_MORE:
        raise ValueError(f"found {type(item).__name__} {str(item)[:40]}")
    row: Row = {"key": item[0], "index": item[0], "value": item[1]}
    more = item[2] if len(item) == _WITH_MORE else {}
    if not isinstance(more, dict):
        raise TypeError(f"a map is wanted behind key and value, found {type(more).__name__}")
    if more.get("raw"):
        return {"key_bytes": item[0], "index": item[0], "value_bytes": item[1]}
    return row | {name: data for name, data in more.items() if isinstance(data, bytes)}


def _read_parquet(path: Path) -> Rows:
    with _opened(path):
        for number, row in parquet.read(path):
            yield f"entry {number}", row


def _read_sqlite(path: Path) -> Rows:
    for number, row in sqlite.read(path):
        yield f"row {number}", row


_READERS: Final[dict[str, tuple[Callable[[Path], Rows], Callable[[Codec[Any], Any], Any]]]] = {
    "jsonl": (_read_jsonl, from_json),
    "json": (_read_jsonl, from_json),
    "csv": (_read_csv, from_csv),
    "cbor": (_read_cbor, from_json),
    "parquet": (_read_parquet, from_arrow),
    **dict.fromkeys(("sqlite", "sqlite3", "db"), (_read_sqlite, sqlite.from_sqlite)),
}
