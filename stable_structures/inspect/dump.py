# SPDX-License-Identifier: Apache-2.0
"""Entries out of a memory: one by key, or all of them as JSON lines, CSV, a CBOR sequence or Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Final

import cbor2

from ..memory import PAGE_SIZE
from ..storable import Codec
from .fit import require_fit
from .image import Part
from .layout import Damage
from .maps import MapReader
from .missing import require_part
from .report import Types, readings
from .rows import RowReader
from .source import BLOCK, Unreadable
from .values import RAW, Reading, from_text, to_json, unhex

FORMATS: Final = ("jsonl", "csv", "cbor", "parquet")
"""What `dump` writes."""

Note = Callable[[Damage], None]
_BATCH: Final = 4096
_SHOWN: Final = 24


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a structure: `rows` are (key or index, value) as encoded bytes; a key is an index where `key` is None."""

    names: tuple[str, str]
    key: Reading | None
    value: Reading
    rows: Iterator[tuple[Any, bytes]]


def table(  # noqa: PLR0913 - keyword-only choices
    part: Part,
    types: Types | None = None,
    *,
    start: Any = None,
    stop: Any = None,
    limit: int | None = None,
    raw: bool = False,
    note: Note | None = None,
) -> Table:
    r"""The entries of a memory, lazily: a map's from key `start` (with it) to `stop` (without it), a row's by index.

    O(log n) to begin. What is damaged is told to `note` and left out, or shown as bytes where it does not decode; without
    `note` it is raised as `Damage`. Raises `Unreadable` where the memory has no entries, and without `note` `Misfit`, which
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
    codec, other = types.get(part.id, (None, None))
    reader = part.open(codec, other)
    if isinstance(reader, MapReader):
        rows = _map_rows(reader, encoded(start, codec, key), encoded(stop, codec, key), note)
        return Table(("key", "value"), key, value, islice(rows, limit))
    first, last = (None if end is None else _index(end) for end in (start, stop))
    return Table(("index", "value"), None, value, islice(_row_rows(reader, first or 0, last, note), limit))


def strict(reading: Reading, note: Note | None = None) -> Reading:
    """A reading by a type that was told, for which bytes that do not decode are damage; others as they are."""
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


def _map_rows(reader: MapReader, low: bytes | None, high: bytes | None, note: Note | None) -> Iterator[tuple[bytes, bytes]]:
    found = reader.entries(note) if low is None and high is None else reader.entries_between(low, high, note)
    for node, i in found:
        try:
            yield node.keys[i], node.value(i)
        except Damage as damage:
            if note is None:
                raise
            note(damage)


def _row_rows(reader: RowReader, first: int, last: int | None, note: Note | None) -> Iterator[tuple[int, bytes]]:
    yield from reader.elements(first, last, note)


def _index(text: Any) -> int:
    try:
        index = int(text)
    except (TypeError, ValueError):
        raise Unreadable(f"{text!r} is no index; give a number from 0 on") from None
    if index < 0:
        raise Unreadable(f"index {index}: give a number from 0 on")
    return index


def encoded(text: Any, codec: Codec[Any] | None, key: Reading) -> bytes | None:
    """A key that a user wrote: by its type, by the guess at it, or as hexadecimal bytes. Raises `Unreadable`."""
    if text is None or isinstance(text, bytes):
        return text
    if codec is not None:
        return codec.encode(from_text(codec, text) if isinstance(text, str) else text)
    if isinstance(text, str) and text.startswith("0x"):
        return unhex(text)
    made = _by_guess(str(text), key)
    if made is None:
        raise Unreadable(f"{text!r}: the type of the keys is not known ({key.label}); give --key TYPE, or the key as bytes: 0x6162")
    return made


def _by_guess(text: str, key: Reading) -> bytes | None:
    if key.name == "text":
        return text.encode()
    if key.name == "Basilisk":
        body = text.encode()
        return b"\x04" + len(body).to_bytes(4, "big") + body
    if key.name.startswith("u") and key.name[1:].isdecimal() and text.isdecimal():
        try:
            return int(text).to_bytes(int(key.name[1:]) // 8, "big")
        except OverflowError:
            return None
    return None


def get(part: Part, key: Any, types: Types | None = None) -> tuple[bytes, Reading] | None:
    """The encoded value of a key of a map, or of an index of a row, and how to read it; None where it is absent. O(log n).

    Raises `Unreadable` for a key that cannot be one, `Damage` where the way to it is damaged, `Misfit` where the types are
    other ones than the memory has.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({i: f"user {i}" for i in range(100)})
    >>> from stable_structures.inspect import open_image
    >>> get(open_image(memory).part(None), "42")[0]
    b'user 42'
    """
    types = types or {}
    codec, other = types.get(part.id, (None, None))
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


def write(rows: Table, form: str, out: IO[bytes]) -> int:
    r"""Writes a table in one of `FORMATS`; gives the number of rows. O(n), a batch at a time. Raises `Unreadable`.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({i: f"user {i}" for i in range(100)})
    >>> from stable_structures.inspect import open_image
    >>> out = io.BytesIO()
    >>> write(table(open_image(memory).part(None), limit=2), "csv", out)
    2
    >>> out.getvalue()
    b'key,value\n0,user 0\n1,user 1\n'
    """
    if form not in _WRITERS:
        raise Unreadable(f"{form!r} is no format; write one of {', '.join(FORMATS)}")
    return _WRITERS[form](rows, out)


def _cells(rows: Table) -> Iterator[tuple[Any, Any]]:
    key, value = rows.key, rows.value
    for at, data in rows.rows:
        yield (at if key is None else key.read(at)), value.read(data)


def _write_jsonl(rows: Table, out: IO[bytes]) -> int:
    """With the bytes beside what was guessed, so that nothing is lost by a wrong guess."""
    count = 0
    for at, data in rows.rows:
        line = {"index": at} if rows.key is None else _said("key", rows.key, at)
        line |= _said("value", rows.value, data)
        out.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        count += 1
    return count


def _said(name: str, reading: Reading, data: bytes) -> dict[str, Any]:
    """The value where there is a type or a guess, the bytes where it is not certain."""
    said = {} if reading is RAW else {name: to_json(reading.read(data))}
    return said if said and reading.certain else said | {f"{name}_bytes": to_json(data)}


def _write_csv(rows: Table, out: IO[bytes]) -> int:
    text = io.TextIOWrapper(out, "utf-8", errors="surrogatepass", newline="")
    try:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(rows.names)
        count = 0
        for pair in _cells(rows):
            writer.writerow([_cell(value) for value in pair])
            count += 1
        return count
    finally:
        text.flush()
        text.detach()


def _cell(value: Any) -> Any:
    made = to_json(value)
    return json.dumps(made, ensure_ascii=False) if isinstance(made, (dict, list, bool)) else made


def _write_cbor(rows: Table, out: IO[bytes]) -> int:
    """One array [key, value] after the other (RFC 8742)."""
    count = 0
    for at, value in _cells(rows):
        try:
            item = cbor2.dumps([at, value])
        except (cbor2.CBORError, TypeError, ValueError):
            item = cbor2.dumps([to_json(at), to_json(value)])
        out.write(item)
        count += 1
    return count


def _write_parquet(rows: Table, out: IO[bytes]) -> int:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, or only this verb needs it
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra, or only this verb needs it
    except ImportError:
        raise Unreadable("Parquet needs pyarrow: pip install 'stable-structures[parquet]'") from None
    cells, count = _cells(rows), 0
    first = list(islice(cells, _BATCH))
    schema = pa.schema([(name, _arrow_type(pa, [pair[i] for pair in first])) for i, name in enumerate(rows.names)])
    with pq.ParquetWriter(out, schema) as writer:
        rest = iter(lambda: list(islice(cells, _BATCH)), [])
        for batch in chain([first] if first else [], rest):
            columns = [pa.array([_arrow_cell(pair[i], schema.field(i).type, pa) for pair in batch], schema.field(i).type) for i in range(2)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            count += len(batch)
    return count


def _arrow_type(pa: Any, values: list[Any]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values if value is not None):
        return pa.int64()
    if kinds == {int} and all(0 <= value < 2**64 for value in values if value is not None):
        return pa.uint64()
    if kinds == {float}:
        return pa.float64()
    return pa.binary() if kinds == {bytes} else pa.string()


def _arrow_cell(value: Any, kind: Any, pa: Any) -> Any:
    if value is None or (kind == pa.binary() and isinstance(value, bytes)):
        return value
    if kind == pa.string():
        return value if isinstance(value, str) else json.dumps(to_json(value), ensure_ascii=False)
    low, high = (0, 2**64) if kind == pa.uint64() else (-(2**63), 2**63)
    if (pa.types.is_integer(kind) and (not isinstance(value, int) or not low <= value < high)) or kind == pa.binary():
        raise Unreadable(
            f"Parquet: {value!r} does not fit the column, which the first {_BATCH} rows made {kind}; give --value TYPE, or --raw"
        )
    return value


_WRITERS: Final[dict[str, Callable[[Table, IO[bytes]], int]]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
    "cbor": _write_cbor,
    "parquet": _write_parquet,
}


# ---- a whole virtual memory ----


def export(part: Part, path: str | Path, *, keep_going: bool = False) -> int:
    """Writes one memory as a file of its own, an image of the bare structure; gives its size. O(size). Raises `Unreadable`.

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
    try:
        with Path(path).open("xb") as out:
            for offset, data in part.source.blocks(block=BLOCK):
                out.seek(offset)
                out.write(data)
            out.truncate(-(-part.source.nbytes // PAGE_SIZE) * PAGE_SIZE)
    except FileExistsError:
        raise Unreadable(f"{path}: it is there already; give another name, or remove it") from None
    except OSError as error:
        raise Unreadable(f"{path}: cannot be written: {error.strerror or error}") from None
    return part.source.nbytes
