# SPDX-License-Identifier: Apache-2.0
"""Reads dumps: rows of JSON lines, CSV, a CBOR sequence, Parquet or SQLite, some at a time (batches.py).

A dump may come from anybody. What is not a dump is refused with the file and the line or entry, and so is what would be
taken for something else than it was.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import BufferedReader, FileIO
from itertools import islice, repeat
from operator import itemgetter
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final, TypeAlias

import cbor2

from ...encodings.limits import TooMuch
from .. import parquet, sqlite
from ..cells import any_encoded, bytes_of_csv, from_arrow, from_csv, json_items
from ..source import Unreadable
from ..values import from_json
from .batches import Back, Batch, Row, Rows

_BOM: Final = b"\xef\xbb\xbf"
_OTHER_MARKS: Final = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_PAIR, _WITH_MORE = 2, 3
_BLOCK: Final = 1 << 18
"""Bytes of lines or items that are read at once."""
_BUFFER: Final = 1 << 16
_JSON_SPACE: Final = b" \t\r\n"


Reader: TypeAlias = Callable[[Path], Iterator[Batch]]


def reader_of(path: Path, form: str) -> tuple[Reader, Back]:
    """Return what reads a dump, and what makes a value of what stands in it. Raises `Unreadable` for an unknown format."""
    if form not in _READERS:
        raise Unreadable(f"{path}: {form!r} is not a format that can be loaded; give --format jsonl, csv, cbor, parquet or sqlite")
    return _READERS[form]


class _Counted(FileIO):
    """Counts the bytes that are read, for a pipe too."""

    count = 0

    def readinto(self, buffer: Any, /) -> int | None:
        read = super().readinto(buffer)
        self.count += read or 0
        return read


_File: TypeAlias = "BufferedReader[_Counted]"


@contextmanager
def _opened(path: Path) -> Iterator[_File]:
    try:
        file = BufferedReader(_Counted(path), min(_BLOCK, _BUFFER))
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    with file:
        yield file


# ---- lines ----


def _blocks(file: _File) -> Iterator[tuple[int, list[bytes]]]:
    """Return some lines at a time, with the number of the first."""
    number = 1
    while lines := file.readlines(_BLOCK):
        yield number, lines
        number += len(lines)


def _texts(path: Path, lines: Iterable[bytes], first: int) -> Iterator[str]:
    """Return lines in UTF-8, with their ends; a byte order mark before the first of the file is left out."""
    for number, line in enumerate(lines, first):
        try:
            yield (line.removeprefix(_BOM) if number == 1 else line).decode()
        except UnicodeDecodeError as error:
            seen = _OTHER_MARKS.get(line[:2], "another encoding") if number == 1 else "another encoding"
            raise Unreadable(
                f"{path}, line {number}: no UTF-8 (byte 0x{line[error.start]:02x}, the {error.start + 1}. of the line); "
                f"it may be {seen}: convert it, as iconv -f ENCODING -t UTF-8 does"
            ) from None


# ---- JSON lines ----


def _read_jsonl(path: Path) -> Iterator[Batch]:
    with _opened(path) as file:
        for first, lines in _blocks(file):
            yield Batch(partial(_json_rows, path, lines, first), _json_columns(lines))


def _json_rows(path: Path, lines: list[bytes], first: int) -> Rows:
    for number, line in enumerate(_texts(path, lines, first), first):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"{path}, line {number}: no JSON: {error}") from None
        if not isinstance(row, dict):
            raise Unreadable(f"{path}, line {number}: an object with key and value is wanted, found {str(row)[:40]}")
        yield f"line {number}", row


def _json_columns(lines: list[bytes]) -> Mapping[str, list[Any]] | None:
    """Return the values of objects that all have the same names; None if a line is none of them."""
    try:
        texts = list(filter(None, map(bytes.decode, map(bytes.strip, lines, repeat(_JSON_SPACE)))))
    except UnicodeDecodeError:
        return None
    rows = json_items(texts)
    if rows is None or set(map(type, rows)) != {dict} or len(set(map(tuple, rows))) > 1:
        return None
    names = tuple(rows[0])
    return {name: list(map(itemgetter(name), rows)) for name in names}


# ---- CSV ----


@contextmanager
def _long_fields() -> Iterator[None]:
    """Raise the limit of the csv module, which holds for the whole process."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_csv(path: Path) -> Iterator[Batch]:
    with _opened(path) as file, _long_fields():
        names: list[str] | None = None
        for first, lines, found in _records(file):
            if names is None:
                names = _names(path, next(_csv_fields(path, lines, first))[1])
            columns = None if found is None else _csv_columns(names, found[first == 1 :])
            yield Batch(partial(_csv_rows, path, names, lines, first), columns)


def _records(file: _File) -> Iterator[tuple[int, list[bytes], list[list[str]] | None]]:
    """Return some lines at a time that end where a row ends, with the number of the first and their fields.

    The fields are None where something is no CSV; the lines then are those that it stands in, or all that are left.
    """
    number = 1
    while lines := file.readlines(_BLOCK):
        found = _fields_of(lines)
        while found is _INSIDE and (more := file.readlines(sum(map(len, lines)))):
            lines.extend(more)
            found = _fields_of(lines)
        yield number, lines, None if found is _INSIDE else found
        number += len(lines)


_INSIDE: Final[list[list[str]]] = []
"""Of lines that end inside of quotes."""


def _fields_of(lines: list[bytes]) -> list[list[str]] | None:
    try:
        return list(csv.reader(map(bytes.decode, lines), strict=True))
    except csv.Error as error:
        return _INSIDE if "unexpected end" in str(error) else None
    except UnicodeDecodeError:
        return None


def _csv_columns(names: list[str], found: list[list[str]]) -> Mapping[str, list[Any]] | None:
    """Return the texts of columns; None if a row has more or fewer of them, or says encoded bytes."""
    rows = list(filter(None, found))
    if set(map(len, rows)) != {len(names)}:
        return None
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return None if any(map(any_encoded, columns.values())) else columns


def _csv_fields(path: Path, lines: list[bytes], first: int) -> Iterator[tuple[int, list[str]]]:
    """Iterate over rows, each with the number of its first line."""
    reader = csv.reader(_texts(path, lines, first), strict=True)
    start = first
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise Unreadable(f"{path}, line {first + reader.line_num - 1}: no CSV: {_csv_words(error)}") from None
        if fields is None:
            return
        yield start, fields
        start = first + reader.line_num


def _csv_rows(path: Path, names: list[str], lines: list[bytes], first: int) -> Rows:
    for line, fields in islice(_csv_fields(path, lines, first), first == 1, None):
        if fields:
            yield f"line {line}", _csv_row(path, line, names, fields)


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


# ---- CBOR ----


def _read_cbor(path: Path) -> Iterator[Batch]:
    with _opened(path) as file:
        decoder, first = cbor2.CBORDecoder(file, semantic_decoders=_UNSHARED), 1
        while file.peek(1):
            items: list[Any] = []
            fault = _take_items(decoder, file, items)
            yield Batch(partial(_cbor_rows, path, items, first), _cbor_columns(items))
            first += len(items)
            if fault is not None:
                raise _no_item(path, first, fault)


def _take_items(decoder: cbor2.CBORDecoder, file: _File, items: list[Any]) -> BaseException | None:
    """Take some items; return what is wrong with the next one."""
    stop = file.raw.count + _BLOCK
    try:
        while file.peek(1) and file.raw.count < stop:
            items.append(decoder.decode())
    except _NO_ITEM as error:
        return error
    return None


def _no_item(path: Path, number: int, error: BaseException) -> Unreadable:
    return Unreadable(f"{path}, item {number}: no array of key and value: {error}")


def _cbor_rows(path: Path, items: list[Any], first: int) -> Rows:
    for number, item in enumerate(items, first):
        try:
            yield f"item {number}", _cbor_row(item)
        except _NO_ITEM as error:
            raise _no_item(path, number, error) from None


def _cbor_columns(items: list[Any]) -> Mapping[str, list[Any]] | None:
    """Return keys and values, and the bytes beside them; None if an item is no such array, or only some are raw."""
    if set(map(type, items)) != {list} or not set(map(len, items)) <= {_PAIR, _WITH_MORE}:
        return None
    keys, values = ([item[place] for item in items] for place in range(_PAIR))
    if _WITH_MORE not in set(map(len, items)):
        return {"key": keys, "index": keys, "value": values}
    more = [item[_PAIR] if len(item) == _WITH_MORE else {} for item in items]
    if set(map(type, more)) != {dict}:
        return None
    raw = [one.get("raw", False) for one in more]
    if set(map(type, raw)) != {bool} or len(set(raw)) > 1:
        return None
    return {"key_bytes": keys, "index": keys, "value_bytes": values} if raw[0] else _cbor_beside(keys, values, more)


def _cbor_beside(keys: list[Any], values: list[Any], more: list[dict[Any, Any]]) -> Mapping[str, list[Any]] | None:
    names = {name for one in more for name, data in one.items() if isinstance(data, bytes)}
    if names - {"key_bytes", "value_bytes"}:
        return None
    # A None among bytes: these columns are refused later, and the rows go one by one.
    beside = {name: [one.get(name) for one in more] for name in names}
    return {"key": keys, "index": keys, "value": values, **beside}


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


# ---- Parquet, SQLite ----


def _read_parquet(path: Path) -> Iterator[Batch]:
    with _opened(path) as file, _seekable(path, file) as place:
        first = 1
        for batch in parquet.batches_of(path, place):
            rows = partial(parquet.rows_of, path, batch, first)
            yield Batch(partial(_numbered, "entry", first, rows), dict(zip(batch.schema.names, batch.columns, strict=True)))
            first += batch.num_rows


@contextmanager
def _seekable(path: Path, file: _File) -> Iterator[Path]:
    """Provide the name of a file with the same bytes: Parquet is read from its end, which a pipe does not have."""
    if file.seekable():
        yield path
        return
    with NamedTemporaryFile(prefix="stable-structures-") as kept:
        shutil.copyfileobj(file, kept)
        kept.flush()
        yield Path(kept.name)


def _read_sqlite(path: Path) -> Iterator[Batch]:
    first = 1
    for names, rows in sqlite.read(path):
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        yield Batch(partial(_numbered, "row", first, partial(_named, names, rows)), columns)
        first += len(rows)


def _named(names: list[str], rows: list[Any]) -> list[Row]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def _numbered(word: str, first: int, rows: Callable[[], list[Row]]) -> Rows:
    return ((f"{word} {number}", row) for number, row in enumerate(rows(), first))


_READERS: Final[dict[str, tuple[Reader, Back]]] = {
    "jsonl": (_read_jsonl, from_json),
    "json": (_read_jsonl, from_json),
    "csv": (_read_csv, from_csv),
    "cbor": (_read_cbor, from_json),
    "parquet": (_read_parquet, from_arrow),
    **dict.fromkeys(("sqlite", "sqlite3", "db"), (_read_sqlite, sqlite.from_sqlite)),
}
