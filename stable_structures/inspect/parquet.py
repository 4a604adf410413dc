# SPDX-License-Identifier: Apache-2.0
"""Dumps as Parquet: the types of its columns come from the types of keys and values, whatever the first rows hold.

A type that is given is in Parquet what it is in Arrow (stable_structures/arrow/), so tuples and records are structs. A guess is
a number or text. What does not lead back to the bytes has these beside it, in a column `key_bytes` or `value_bytes`; there is
one where the type is a guess, and where a type has values that its column cannot hold or several encodings of one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from ..encodings.columns import Encoded
from ..encodings.json_form import json_text
from .cells import NO_VALUE, Cell, guessed_arrow_cell, guessed_arrow_type, json_cell
from .columns import Columns, Side
from .source import Unreadable
from .values import RAW, Reading, is_unit_guess

_BATCH: Final = 4096
_BATCH_BYTES: Final = 16 << 20
_STREAM: Final = 1 << 20
"""Bytes of a column that are read at once. Else a whole row group is, which may be all of a file that others wrote."""


def _modules() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, or only this format needs it
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra, or only this format needs it
    except ImportError:
        raise Unreadable("Parquet needs pyarrow: pip install 'stable-structures[parquet]'") from None
    return pa, pq


class _NoPandas:
    """Lets imports of pandas fail."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        """Return None for all other modules."""
        if name == "pandas":
            raise ModuleNotFoundError("not needed here", name=name)


def be_lean() -> None:
    """Keep Arrow from taking memory that no file of Parquet needs, in a process that does nothing else: call before its first use.

    It imports pandas where that is installed (35 MiB), and its own allocator keeps what was freed (30 MiB).
    """
    sys.meta_path.insert(0, _NoPandas())
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def require() -> None:
    """Import what this needs, once for all processes. Raises `Unreadable` if it is not installed."""
    _modules()


class _Column:
    """Keys or values on their way into columns: their values, and the bytes beside them."""

    def __init__(self, name: str, reading: Reading | None) -> None:
        self.name, self.reading = name, reading
        codec = None if reading is None else reading.codec
        self.form: Any = None
        if codec is not None:
            from ..arrow.forms import Choices  # noqa: PLC0415 - they need pyarrow
            from ..arrow.mapping import form_of  # noqa: PLC0415 - they need pyarrow

            self.form = form_of(codec, Choices(wide="text"))  # a dump holds every number
        self.has_bytes = reading is not None and (self.form is None or not self.form.exact)

    def fields(self, pa: Any) -> list[Any]:
        """Return the fields of the schema."""
        if self.reading is None:
            return [pa.field(self.name, pa.int64())]
        found = [] if self.reading is RAW else [self._value_field(pa, self.reading)]
        return found + [pa.field(f"{self.name}_bytes", pa.binary())] * self.has_bytes

    def _value_field(self, pa: Any, reading: Reading) -> Any:
        if self.form is None:
            return pa.field(self.name, getattr(pa, guessed_arrow_type(reading))())
        return self.form.field(self.name, nullable=self.has_bytes)

    def arrays(self, pa: Any, side: Side, row: int) -> list[Any]:
        """Return the arrays of a batch that begins with this row. Raises `Unreadable` if a value has no place."""
        if self.reading is None or side.first is not None:
            return [pa.array(side.items(), pa.int64())]
        if self.reading is RAW:
            return [pa.array(side.items(), pa.binary())]
        if self.form is None:
            return self._guessed(pa, self.reading, side)
        found = self._at_once(side.encoded())
        if found is not None:
            return [found] + [pa.nulls(len(found), pa.binary())] * self.has_bytes
        return self._one_by_one(pa, self.reading, side.items(), row)

    def _guessed(self, pa: Any, reading: Reading, side: Side) -> list[Any]:
        """Return the values of a batch as Arrow's, some at a time: as Python's they take twenty times as much."""
        cell, kind, found = guessed_arrow_cell(reading), getattr(pa, guessed_arrow_type(reading))(), []
        if is_unit_guess(reading) and not side.data:
            return [pa.nulls(len(side.ends), kind), pa.array([b""] * len(side.ends), pa.binary())]
        for some in side.split(_BATCH):
            values, exact = zip(*map(cell, some.items()), strict=True)
            found.append((pa.array(values, kind), pa.array(exact, pa.binary())))
        return [pa.concat_arrays(column) for column in zip(*found, strict=True)]

    def _at_once(self, column: Encoded) -> Any | None:
        """Return the values of a batch if all of them lead back to their bytes."""
        if self.form.one_way:
            return None
        try:
            made = self.form.decode(column)
            if self.form.sure:
                return made
            again = self.form.encode(made)
        except NO_VALUE:
            return None
        same = np.array_equal(again.all_ends(), column.all_ends()) and np.array_equal(again.data, column.data)
        return made if same else None

    def _one_by_one(self, pa: Any, reading: Reading, pieces: list[bytes], row: int) -> list[Any]:
        cell = json_cell(reading) if self.form.said == b"json" else None
        values, exact = [], []
        for place, data in enumerate(pieces):
            value, kept = self._json(cell, data) if cell is not None else self._value(reading, data)
            if kept is not None and not self.has_bytes:
                raise Unreadable(
                    f"Parquet: the {self.name} of entry {row + place} is not a value of {reading.name}, or is encoded in another way "
                    f"than its type: {data[:20].hex()}...; give another type, --raw, or --format jsonl"
                )
            values.append(value)
            exact.append(kept)
        return [pa.array(values, self.form.type)] + [pa.array(exact, pa.binary())] * self.has_bytes

    @staticmethod
    def _json(cell: Cell, data: bytes) -> tuple[Any, bytes | None]:
        value, kept = cell(data)
        return json_text(value).encode("utf-8", "backslashreplace").decode(), kept

    def _value(self, reading: Reading, data: bytes) -> tuple[Any, bytes | None]:
        """Return what stands for one value, and its bytes if that does not lead back to them."""
        value, decoded = reading.attempt(data)
        if not decoded:
            return None, data
        try:
            array = self.form.of_values([value])
            leads_back = self.form.encode(array).pieces() == [data]
        except NO_VALUE:
            return None, data
        return array[0].as_py(), None if leads_back else data


def write(  # noqa: PLR0913 - what a file is made of
    names: Sequence[str],
    readings: Sequence[Reading | None],
    rows: Iterator[tuple[Any, bytes]],
    out: IO[bytes],
    batches: Iterator[Columns] | None = None,
    *,
    constants: Mapping[str, str] | None = None,
) -> int:
    """Write rows of encoded bytes; of one without a reading, numbers. Returns how many. O(n), a batch at a time. Raises `Unreadable`.

    `batches` are the same rows in columns; they are taken instead of the rows if the types can be written without their bytes.
    `constants` are columns of one text in every row.
    """
    pa, pq = _modules()
    columns = [_Column(name, reading) for name, reading in zip(names, readings, strict=True)]
    said = {name: pa.scalar(text) for name, text in (constants or {}).items()}
    fields = [field for column in columns for field in column.fields(pa)]
    schema = pa.schema(fields + [pa.field(name, pa.string()) for name in said])
    count = 0
    try:
        texts = [field.name for field in schema if pa.types.is_string(field.type)]  # numbers and bytes seldom repeat
        with pq.ParquetWriter(out, schema, use_dictionary=texts or False) as writer:
            for batch in _batches_of_rows(rows) if batches is None else batches:
                sides = zip(columns, (batch.keys, batch.values), strict=True)
                arrays = [array for column, side in sides for array in column.arrays(pa, side, count)]
                arrays += [pa.repeat(text, len(arrays[0])) for text in said.values()]
                writer.write_batch(pa.record_batch(arrays, schema=schema))
                count += len(batch.keys.ends)
    except pa.ArrowException as error:
        raise Unreadable(f"Parquet: {error}; give another --format") from None
    return count


def _batches_of_rows(rows: Iterator[tuple[Any, bytes]]) -> Iterator[Columns]:
    """Join rows into columns of bounded size."""
    kept: list[tuple[Any, bytes]] = []
    size = 0
    for row in rows:
        kept.append(row)
        size += len(row[1])
        if len(kept) == _BATCH or size > _BATCH_BYTES:
            yield _joined(kept)
            kept, size = [], 0
    if kept:
        yield _joined(kept)


def _joined(rows: list[tuple[Any, bytes]]) -> Columns:
    firsts, seconds = zip(*rows, strict=True)
    return Columns(_side(firsts), _side(seconds))


def _side(items: Sequence[Any]) -> Side:
    if not isinstance(items[0], bytes):
        return Side(b"", np.zeros(len(items), np.uint64), items[0], numbers=list(items))
    return Side(b"".join(items), np.cumsum(np.fromiter(map(len, items), np.uint64, len(items)), dtype=np.uint64))


def batches_of(path: Path, place: Path) -> Iterator[Any]:
    """Return the rows of a dump, whose bytes are in the file `place`, some at a time, as record batches. O(n). Raises `Unreadable`."""
    pa, pq = _modules()
    try:
        with pq.ParquetFile(place, buffer_size=_STREAM, pre_buffer=False) as file:
            yield from file.iter_batches(_BATCH)
    except (pa.ArrowException, OSError) as error:
        raise Unreadable(f"{path}: cannot be read as Parquet: {error}") from None


def rows_of(path: Path, batch: Any, first: int) -> list[dict[str, Any]]:
    """Return a record batch as rows, the first with this number. O(n).

    Raises `Unreadable` for a value that Python lacks, as a date in the year 100,000.
    """
    pa, _ = _modules()
    try:
        found: list[dict[str, Any]] = batch.to_pylist()
    except (pa.ArrowException, *NO_VALUE) as error:
        raise Unreadable(f"{path}, entries {first} to {first + batch.num_rows - 1}: a value cannot be read: {error}") from None
    return found
