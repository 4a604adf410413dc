# SPDX-License-Identifier: Apache-2.0
"""Dumps as Parquet: the types of its columns come from the types of keys and values, whatever the first rows hold.

Integers of 8 to 64 bits, floats, bools, text, bytes and principals (as text) are what they are, None is null; anything
else is JSON in a column of text. If that does not lead back to the bytes, they stand in a column `key_bytes` or
`value_bytes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from ..storable.octets import StrCodec
from .cells import Cell, arrow_cell, arrow_type, leaves_open
from .columns import Columns, Side
from .source import Unreadable
from .values import RAW, Reading

_BATCH: Final = 4096
_BATCH_BYTES: Final = 16 << 20
_MOST_TEXT: Final = 1 << 31


def _modules() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, or only this format needs it
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra, or only this format needs it
    except ImportError:
        raise Unreadable("Parquet needs pyarrow: pip install 'stable-structures[parquet]'") from None
    return pa, pq


class _Column:
    """Values on their way into a column, and the bytes beside them."""

    def __init__(self, name: str, reading: Reading | None) -> None:
        self.name, self.reading = name, reading
        self.values: list[Any] = []
        self.exact: list[bytes | None] = []
        self.cell: Cell = (lambda index: (index, None)) if reading is None else arrow_cell(reading)
        self.has_bytes = reading is not None and (reading.codec is None or leaves_open(reading.codec))

    def fields(self, pa: Any) -> list[Any]:
        """Of the schema."""
        kind = "int64" if self.reading is None else arrow_type(self.reading)
        found = [] if self.reading is RAW else [pa.field(self.name, getattr(pa, kind)())]
        return found + [pa.field(f"{self.name}_bytes", pa.binary())] * self.has_bytes

    def add(self, data: Any, row: int) -> None:
        """Add one more value. Raises `Unreadable` if the column cannot hold it."""
        value, exact = self.cell(data)
        if exact is not None and not self.has_bytes:
            name = "" if self.reading is None else self.reading.name
            raise Unreadable(
                f"Parquet: the {self.name} of entry {row} is not a value of {name}, or is encoded in another way than its type: "
                f"{data[:20].hex()}...; give another type, --raw, or --format jsonl"
            )
        self.values.append(value)
        self.exact.append(exact)

    def array(self, pa: Any, side: Side) -> Any | None:
        """Return numbers or text as an array at once; None if that cannot be."""
        codec = None if self.reading is None else self.reading.codec
        numbers = side.array(codec)
        if numbers is not None:
            kind, buffer = pa.from_numpy_dtype(numbers.dtype), pa.py_buffer(np.ascontiguousarray(numbers))
            return pa.Array.from_buffers(kind, len(numbers), [None, buffer])  # pa.array would import pandas: 45 MiB
        if not isinstance(codec, StrCodec) or len(side.data) >= _MOST_TEXT:
            return None
        ends = np.concatenate((np.zeros(1, np.int32), side.ends.astype(np.int32)))
        made = pa.StringArray.from_buffers(len(side.ends), pa.py_buffer(ends), pa.py_buffer(side.data))
        try:
            made.validate(full=True)  # that it is UTF-8
        except pa.ArrowInvalid:
            return None
        return made

    def take(self, pa: Any) -> list[Any]:
        """Return the arrays of a batch."""
        made = [self.values] * (self.reading is not RAW) + [self.exact] * self.has_bytes
        arrays = [pa.array(values, field.type) for values, field in zip(made, self.fields(pa), strict=True)]
        self.values, self.exact = [], []
        return arrays


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
    said = [pa.field(name, pa.string()) for name in constants or {}]
    schema = pa.schema([field for column in columns for field in column.fields(pa)] + said)
    try:
        texts = [field.name for field in schema if pa.types.is_string(field.type)]  # numbers and bytes seldom repeat
        with pq.ParquetWriter(out, schema, use_dictionary=texts or False) as writer:
            sheet = _Sheet(pa, writer, columns, schema, list((constants or {}).values()))
            if batches is None or any(column.has_bytes for column in columns):
                sheet.write_rows(rows)
            else:
                for batch in batches:
                    sheet.write_columns(batch)
            return sheet.count
    except pa.ArrowException as error:
        raise Unreadable(f"Parquet: {error}; give another --format") from None


class _Sheet:
    """A file that is being written."""

    def __init__(self, pa: Any, writer: Any, columns: list[_Column], schema: Any, constants: list[str]) -> None:
        self.pa, self.writer, self.columns, self.schema, self.constants = pa, writer, columns, schema, constants
        self.count = 0
        """Rows so far."""

    def write_rows(self, rows: Iterator[tuple[Any, bytes]]) -> None:
        """Write rows one by one, a batch at a time."""
        size = 0
        for row in rows:
            for column, data in zip(self.columns, row, strict=True):
                column.add(data, self.count)
            self.count, size = self.count + 1, size + len(row[1])
            if self.count % _BATCH == 0 or size > _BATCH_BYTES:
                self._write_batch()
                size = 0
        self._write_batch()

    def _write_batch(self) -> None:
        arrays = [array for column in self.columns for array in column.take(self.pa)]
        self._emit(arrays)

    def _emit(self, arrays: list[Any]) -> None:
        said = [self.pa.repeat(self.pa.scalar(text), len(arrays[0])) for text in self.constants]
        self.writer.write_batch(self.pa.record_batch([*arrays, *said], schema=self.schema))

    def write_columns(self, batch: Columns) -> None:
        """Write some rows at once, or one by one if a column cannot be made of its bytes as they are."""
        arrays = [column.array(self.pa, side) for column, side in zip(self.columns, (batch.keys, batch.values), strict=True)]
        if any(array is None for array in arrays):
            self.write_rows(batch.rows())
            return
        self._emit(arrays)
        self.count += len(batch.keys.ends)


def read(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Return the rows of a file, with their numbers from 1. O(n), a batch at a time. Raises `Unreadable`."""
    pa, pq = _modules()
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError) as error:
        raise Unreadable(f"{path}: cannot be read as Parquet: {error}") from None
