# SPDX-License-Identifier: Apache-2.0
"""Entries out of a memory: one by key, or all of them as JSON lines, CSV, a CBOR sequence or Parquet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, repeat
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import cbor2

from ..encodings.json_form import json_text, to_json
from ..memory.memory import PAGE_SIZE
from ..principal import Principal
from ..storable import Codec
from ..storable.scalars import UNIT
from . import parquet
from .cells import Cell, cbor_cell, csv_cell, json_cell
from .columns import Columns, Side, columns_of
from .fit import require_fit
from .formats.layout import Damage
from .formats.maps import MapReader
from .formats.rules import Note, refuse
from .image import Part, Types
from .jobs import allowed, is_large, streamed
from .missing import require_part
from .report import readings
from .source import BLOCK, Unreadable
from .texts import csv_texts, json_texts, plain_values
from .values import RAW, Reading, from_text, is_unit_guess, unhex
from .writing import OUTPUTS, NewFile

_SHOWN: Final = 24
_NULL: Final = cbor2.dumps(None)
_ROWS, _BYTES, _ROW = 1 << 16, 2 << 20, 64
"""Rows, and bytes, that are converted to text at once: text takes many times as much memory. A row counts `_ROW` bytes more."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a structure: `rows` are (key or index, value) as encoded bytes; a key is an index where `key` is None."""

    names: tuple[str, str]
    key: Reading | None
    value: Reading
    rows: Iterator[tuple[Any, bytes]]
    columns: Iterator[Columns] | None = None
    """The same in columns, if all entries are wanted and their types are given. Take one of the two."""


def table(  # noqa: PLR0913 - keyword-only choices
    part: Part,
    types: Types | None = None,
    *,
    start: Any = None,
    stop: Any = None,
    limit: int | None = None,
    raw: bool = False,
    note: Note | None = None,
    unordered: bool = False,
) -> Table:
    r"""Return the entries of a memory, lazily: a map's from key `start` (with it) to `stop` (without it), a row's by index.

    O(log n) to begin. Damage is reported to `note` and left out, or shown as bytes if it does not decode; without
    `note` it is raised as `Damage`. All entries of a map may come `unordered`, as they lie: then the memory is read from its
    beginning to its end. Raises `Unreadable` if the memory has no entries, and without `note` `Misfit`, which
    is one, where the types are other ones than it has.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({i: f"user {i}" for i in range(100)})
    >>> from stable_structures.inspect import open_image
    >>> list(table(open_image(memory).part(None), start="42", limit=1).rows)
    [(b'\x00\x00\x00\x00\x00\x00\x00*', b'user 42')]
    """
    types = types or {}
    if note is None:
        require_fit(part, types)
    key, value = (RAW, RAW) if raw else (strict(reading, note) for reading in readings(part, types))
    key_type, value_type = part.types(types)
    reader = part.open(key_type, value_type)
    columns = None
    if (start, stop, limit) == (None, None, None) and not raw:
        columns = columns_of(reader, note or refuse, unordered=unordered)
    if unordered and columns is not None and isinstance(reader, MapReader):
        return Table(("key", "value"), key, value, (row for one in columns for row in one.rows()), columns)
    if isinstance(reader, MapReader):
        rows = _map_rows(reader, (encoded(start, key_type, key), encoded(stop, key_type, key)), limit, note)
        return Table(("key", "value"), key, value, islice(rows, limit), columns)
    first, last = (None if end is None else _index(end) for end in (start, stop))
    return Table(("index", "value"), None, value, islice(reader.elements(first or 0, last, note), limit), columns)


def strict(reading: Reading, note: Note | None = None) -> Reading:
    """Return a reading by a given type, for which bytes that do not decode are damage; others as they are."""
    if not reading.certain or reading is RAW:
        return reading

    def decode(data: bytes) -> Any:
        try:
            return reading.decode(data)
        except ValueError as error:
            damage = Damage(f"what is stored is encoded as {reading.name} ({error})", 0, to_json(data[:_SHOWN]), reading.name)
            if note is None:
                raise damage from None
            note(damage)
            raise

    return replace(reading, decode=decode)


def _map_rows(
    reader: MapReader, ends: tuple[bytes | None, bytes | None], limit: int | None, note: Note | None
) -> Iterator[tuple[bytes, bytes]]:
    if ends == (None, None):
        yield from reader.entries(note, limit)
        return
    for node, i in reader.entries_between(*ends, note):
        try:
            yield node.keys[i], node.value(i)
        except Damage as damage:
            if note is None:
                raise
            note(damage)


def _index(text: Any) -> int:
    try:
        index = int(text)
    except (TypeError, ValueError):
        raise Unreadable(f"{text!r} is not an index; give a number from 0 on") from None
    if index < 0:
        raise Unreadable(f"index {index}: give a number from 0 on")
    return index


def encoded(text: Any, codec: Codec[Any] | None, key: Reading) -> bytes | None:
    """Return a key that a user wrote: by its type, by the guess at it, or as hexadecimal bytes. Raises `Unreadable`."""
    if text is None or isinstance(text, bytes):
        return text
    if codec is not None:
        return codec.encode(from_text(codec, text) if isinstance(text, str) else text)
    if isinstance(text, str) and text.startswith("0x"):
        return unhex(text)
    made = _by_guess(str(text), key)
    if made is None:
        raise Unreadable(f"{text!r}: the type of the keys is not known ({key.label}); give --key-type TYPE, or the key as bytes: 0x6162")
    return made


def _by_guess(text: str, key: Reading) -> bytes | None:
    body = text.encode()
    try:
        if key.name == "text":
            return body
        if key.name == "Basilisk":
            return b"\x04" + len(body).to_bytes(4, "big") + body
        if key.name == "Principal":
            return bytes(Principal.from_text(text))
        if key.name.startswith("u") and key.name[1:].isdecimal() and text.isdecimal():
            return int(text).to_bytes(int(key.name[1:]) // 8, "big")
    except (OverflowError, ValueError):
        return None
    return None


def get(part: Part, key: Any, types: Types | None = None) -> tuple[bytes, Reading] | None:
    """Return the encoded value of a key of a map, or of an index of a row, and how to read it; None if it is absent. O(log n).

    Raises `Unreadable` for a key that cannot be one, `Damage` if the way to it is damaged, `Misfit` if the types are
    other ones than the memory has.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({i: f"user {i}" for i in range(100)})
    >>> from stable_structures.inspect import open_image
    >>> get(open_image(memory).part(None), "42")[0]
    b'user 42'
    """
    types = types or {}
    codec, other = part.types(types)
    require_fit(part, types)
    reader = part.open(codec, other)
    key_reading, value_reading = readings(part, types)
    if isinstance(reader, MapReader):
        data = encoded(key, codec, key_reading)
        found = None if data is None else reader.find(data)
    else:
        index = _index(key)
        found = reader.element(index) if index < reader.readable() else None
    return None if found is None else (found, strict(value_reading))


# ---- formats ----


Batch: TypeAlias = "Columns | Iterable[tuple[Any, bytes]]"
"""Some rows."""
Lines: TypeAlias = Callable[[Batch], Iterator[tuple[int, bytes]]]
"""Makes rows into what is written of them, with the number of rows: a row at a time, or many at once."""


def write(  # noqa: PLR0913 - keyword-only choices
    rows: Table, form: str, out: IO[bytes], *, safe_csv: bool = False, plain: bool = False, jobs: int = 1
) -> int:
    r"""Write a table in one of `OUTPUTS`; return the number of rows. O(n), a batch at a time. Raises `Unreadable`.

    `load` makes the same bytes of it again. If a type is guessed, the encoded bytes stand beside the guess. In CSV,
    `safe_csv` marks texts that a spreadsheet would take for a formula, and `plain` writes what is not printable as bytes.
    With `jobs` above 1, that many processes convert batches at once; then the table must raise for damage (made without `note`).

    >>> from stable_structures import StableBTreeMap, StableMemory, codec, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({i: f"user {i}" for i in range(100)})
    >>> from stable_structures.inspect import open_image
    >>> import io
    >>> out, types = io.BytesIO(), {None: (codec(u64), codec(str))}
    >>> write(table(open_image(memory).part(None), types, limit=2), "csv", out)
    2
    >>> out.getvalue()
    b'key,value\n0,user 0\n1,user 1\n'
    """
    if form == "parquet":
        return parquet.write(rows.names, (rows.key, rows.value), rows.rows, out, rows.columns)
    if form == "csv":
        header, lines, at_once = _csv(rows, safe=safe_csv, plain=plain)
    elif form in _LINES:
        header, lines, at_once = _LINES[form](rows)
    else:
        raise Unreadable(f"{form!r} is not a format; write one of {', '.join(OUTPUTS)}")
    out.write(header)
    count = 0
    for batch, made in streamed(_batches(rows, jobs, in_columns=at_once or jobs > 1), lambda batch: _joined(lines(batch)), jobs):
        for number, data in lines(batch) if made is None else [made]:
            out.write(data)
            count += number
    return count


def jobs_for(part: Part, jobs: int) -> int:
    """Return how many processes convert the rows of a memory: one if it is small, on another machine, or a running memory. O(1)."""
    sources = [one.source for one in (part, part.data) if one is not None]
    return allowed(jobs, *sources) if is_large(sum(source.nbytes for source in sources)) else 1


def _joined(made: Iterator[tuple[int, bytes]]) -> tuple[int, bytes]:
    found = list(made)
    return sum(count for count, _ in found), b"".join(data for _, data in found)


def _batches(rows: Table, jobs: int, *, in_columns: bool) -> Iterator[Batch]:
    """Return all rows: as they come if one process writes them, else in batches large enough to be worth a process."""
    if in_columns and rows.columns is not None:
        yield from pieces_of(rows.columns)
    elif jobs == 1:
        yield rows.rows
    else:
        yield from _lists(rows.rows)


def pieces_of(columns: Iterable[Columns]) -> Iterator[Columns]:
    """Iterate over the same rows, in pieces that may be converted at once. O(size)."""
    return (piece for one in columns for piece in one.split(_ROWS, _BYTES))


def _lists(rows: Iterator[tuple[Any, bytes]]) -> Iterator[list[tuple[Any, bytes]]]:
    """Iterate over batches of rows. If reading fails, the rows before come first, then the error is raised."""
    batch, size = list[tuple[Any, bytes]](), 0
    error: Exception | None = None
    try:
        for row in rows:
            batch.append(row)
            size += len(row[1]) + _ROW
            if size >= _BYTES or len(batch) == _ROWS:
                yield batch
                batch, size = [], 0
    except Exception as raised:  # noqa: BLE001 - raised later
        error = raised
    if batch:
        yield batch
    if error is not None:
        raise error


def _rows_of(batch: Batch) -> Iterable[tuple[Any, bytes]]:
    return batch.rows() if isinstance(batch, Columns) else batch


def _jsonl(rows: Table) -> tuple[bytes, Lines, bool]:
    """With the bytes beside what was guessed, or what the value does not lead back to, so that nothing is lost."""
    key, value = None if rows.key is None else _said("key", rows.key), _said("value", rows.value)

    def row(at: Any, data: bytes) -> bytes:
        line = ({"index": at} if key is None else key(at)) | value(data)
        return json_text(line).encode() + b"\n"

    def whole(columns: Columns) -> bytes | None:
        keys, values = _each(columns, json_texts, rows)
        end = ', "value_bytes": "0x"}' if is_unit_guess(rows.value) else "}"
        if keys is None or values is None:
            return None
        return _text(f'{{"{rows.names[0]}": {one}, "value": {other}{end}' for one, other in zip(keys, values, strict=True))

    at_once = is_at_once(rows)
    return b"", _lines(row, whole if at_once else None), at_once


def _said(name: str, reading: Reading) -> Callable[[bytes], dict[str, Any]]:
    """Return the value where there is a type or a guess, the bytes where these are needed."""
    cell = json_cell(reading)

    def said(data: bytes) -> dict[str, Any]:
        made, exact = cell(data)
        line = {} if reading is RAW else {name: made}
        return line if exact is None else line | {f"{name}_bytes": to_json(exact)}

    return said


def _csv(rows: Table, *, safe: bool, plain: bool) -> tuple[bytes, Lines, bool]:
    """With a header; in cells that cannot say a value, its bytes."""
    sides = [(name, reading) for name, reading in zip(rows.names, (rows.key, rows.value), strict=True)]
    shown = [name for name, reading in sides if reading is not RAW]
    exact = [f"{name}_bytes" for name, reading in sides if reading is not None and reading.codec is None]
    cells = [None if reading is None else csv_cell(reading, safe=safe, plain=plain) for _, reading in sides]

    def whole(columns: Columns) -> bytes | None:
        keys, values = _each(columns, csv_texts, rows)
        end = ",0x" if is_unit_guess(rows.value) else ""
        return None if keys is None or values is None else _text(f"{one},{other}{end}" for one, other in zip(keys, values, strict=True))

    at_once = is_at_once(rows) and not safe and not plain
    lines = _lines(lambda at, data: _csv_row((at, data), cells), whole if at_once else None)
    return ",".join(shown + exact).encode() + b"\n", lines, at_once


# ---- many rows at once ----


def is_at_once(rows: Table) -> bool:
    """Return whether texts.py may know how to write all rows."""
    return (rows.key is None or rows.key.codec is not None) and (rows.value.codec is not None or is_unit_guess(rows.value))


def _each(columns: Columns, form: Callable[[Codec[Any] | None, Side], list[Any] | None], rows: Table) -> tuple[list[Any] | None, ...]:
    """Return what is written for keys and for values, each None if it must be written value by value."""
    keys = form(rows.key.codec if rows.key else None, columns.keys)
    return keys, None if keys is None else form(UNIT if is_unit_guess(rows.value) else rows.value.codec, columns.values)


def _text(lines: Iterable[str]) -> bytes:
    return "\n".join([*lines, ""]).encode()


def _lines(row: Callable[[Any, bytes], bytes], whole: Callable[[Columns], bytes | None] | None) -> Lines:
    """Return what writes columns with `whole`, and what that cannot write row by row."""

    def lines(batch: Batch) -> Iterator[tuple[int, bytes]]:
        if whole is not None and isinstance(batch, Columns):
            made = whole(batch)
            if made is not None:
                yield len(batch.keys.ends), made
                return
        for at, data in _rows_of(batch):
            yield 1, row(at, data)

    return lines


def _csv_row(row: tuple[Any, bytes], cells: list[Cell | None]) -> bytes:
    made = [(str(data), None) if cell is None else cell(data) for cell, data in zip(cells, row, strict=True)]
    fields = [text for text, _ in made if text is not None] + [to_json(data) for _, data in made if data is not None]
    return ",".join(map(_field, fields)).encode("utf-8", "backslashreplace") + b"\n"


_QUOTED: Final = re.compile('[",\r\n]')


def _field(text: str) -> str:
    """Quoted where it must be; a carriage return alone ends a line for many readers."""
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if _QUOTED.search(text) else text


def _cbor(rows: Table) -> tuple[bytes, Lines, bool]:
    """One array [key, value] after the other (RFC 8742), with a map behind them where they are not all there is to say."""
    key, value = None if rows.key is None else cbor_cell(rows.key), cbor_cell(rows.value)

    def row(at: Any, data: bytes) -> bytes:
        if rows.value is RAW:
            return cbor2.dumps([at, data, {"raw": True}])
        first, first_exact = (cbor2.dumps(at), None) if key is None else key(at)
        second, second_exact = value(data)
        exact = {"key_bytes": first_exact, "value_bytes": second_exact}
        more = {name: made for name, made in exact.items() if made is not None}
        first, second = (_NULL if one is None else one for one in (first, second))
        return b"\x82" + first + second if not more else b"\x83" + first + second + cbor2.dumps(more)

    def whole(columns: Columns) -> bytes | None:
        keys, values = _each(columns, plain_values, rows)
        if keys is None or values is None:
            return None
        more = [repeat({"value_bytes": b""}, len(keys))] if is_unit_guess(rows.value) else []
        return _items(list(zip(keys, values, *more, strict=True)))

    at_once = is_at_once(rows)
    return b"", _lines(row, whole if at_once else None), at_once


def _items(rows: list[Any]) -> bytes:
    """Return each as a CBOR item: those of an array, without its head."""
    head = cbor2.dumps([None] * len(rows))
    return cbor2.dumps(rows)[len(head) - len(rows) :]


_LINES: Final[dict[str, Callable[[Table], tuple[bytes, Lines, bool]]]] = {"jsonl": _jsonl, "cbor": _cbor}


# ---- a whole virtual memory ----


def export(part: Part, path: str | Path, *, keep_going: bool = False) -> int:
    """Write one memory as a file of its own, an image of the bare structure; return its size. O(size). Raises `Unreadable`.

    What is zero becomes a hole. An existing file is not overwritten. Of a memory that is cut off nothing is written (`NotWhole`)
    unless `keep_going`.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({i: f"user {i}" for i in range(100)})
    >>> from tempfile import TemporaryDirectory
    >>> from stable_structures.inspect import open_image
    >>> with TemporaryDirectory() as folder:
    ...     export(open_image(memory).part(None), f"{folder}/users.bin")
    65536
    """
    if not keep_going:
        require_part(part)
    with NewFile(path) as new:
        for offset, data in part.source.blocks(block=BLOCK):
            new.file.seek(offset)
            new.file.write(data)
        new.file.truncate(-(-part.source.nbytes // PAGE_SIZE) * PAGE_SIZE)
        new.keep()
    return part.source.nbytes
