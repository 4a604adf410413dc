# SPDX-License-Identifier: Apache-2.0
"""Batches of a structure as tables and streams, and tables on their way back into a structure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import pyarrow as pa

from ..encodings.columns import Encoded
from ..errors import BoundExceeded, IncompatibleType
from ..storable import Codec
from .forms import USUAL, Choices, Form, plain
from .mapping import form_like, form_of

Columns: TypeAlias = dict[str, Codec[Any]]
"""The names and types of the columns of a structure."""
MOST_ROWS: Final = 1 << 16
MOST_BYTES: Final = 8 << 20
"""Of a batch, with its last value."""
_ROW: Final = re.compile(r"\brow (\d+)\b")


def forms(columns: Columns, choices: Choices = USUAL) -> dict[str, Form]:
    """Return the form of each column. O(columns)."""
    return {name: form_of(codec, choices) for name, codec in columns.items()}


def schema(made: dict[str, Form]) -> Any:
    """Return the schema of a table. O(columns)."""
    return pa.schema([form.field(name) for name, form in made.items()])


def reader(columns: Columns, batches: Iterator[Sequence[Encoded]], choices: Choices = USUAL) -> Any:
    """Return batches as a RecordBatchReader, which makes each when it is asked for. O(columns) to begin."""
    made = forms(columns, choices)
    fields = schema(made)

    def arrays() -> Iterator[Any]:
        first = 0
        for batch in batches:
            with _rows_from(first):
                found = [form.decode(column) for form, column in zip(made.values(), batch, strict=True)]
            yield pa.RecordBatch.from_arrays(found, schema=fields)
            first += len(found[0])

    return pa.RecordBatchReader.from_batches(fields, arrays())


@contextmanager
def _rows_from(first: int) -> Iterator[None]:
    """Count rows from the beginning of the whole, in errors about a batch whose first row is `first`."""
    try:
        yield
    except (BoundExceeded, IncompatibleType) as error:
        if not first:
            raise
        text = _ROW.sub(lambda found: f"row {int(found[1]) + first}", str(error), count=1)
        raise type(error)(text) from None


# ---- back ----


def is_table(given: Any) -> bool:
    """Return whether it is a table of Arrow, or of a library that gives one. O(1)."""
    return isinstance(given, (pa.Table, pa.RecordBatch, pa.RecordBatchReader)) or (
        hasattr(given, "__arrow_c_stream__") and not isinstance(given, (pa.ChunkedArray, pa.Array)) and hasattr(given, "columns")
    )


def batches_of(given: Any, columns: Columns) -> Iterator[list[Encoded]]:
    """Iterate over the batches of a table as encoded columns. O(size). Raises `IncompatibleType`, `BoundExceeded`."""
    known = isinstance(given, (pa.Table, pa.RecordBatch, pa.RecordBatchReader))
    source = given if known else _taken(pa.RecordBatchReader.from_stream, given)
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    places = _places(source.schema.names, list(columns))
    made = [form_like(codec, source.schema.field(place).type) for codec, place in zip(columns.values(), places, strict=True)]
    first = 0
    for batch in source.to_batches() if isinstance(source, pa.Table) else source:
        with _rows_from(first):
            found = [_encoded(form, batch.column(place)) for form, place in zip(made, places, strict=True)]
        yield found
        first += len(batch)


def _taken(take: Callable[[Any], Any], given: Any) -> Any:
    """Return what another library gives as Arrow. Raises `IncompatibleType` for types that are its own."""
    try:
        return take(given)
    except pa.ArrowException as error:
        raise IncompatibleType(f"Arrow has no such columns as this {type(given).__name__} has: {error}; cast them first") from None


def _encoded(form: Form, array: Any) -> Encoded:
    """Return the encodings of an array. Raises `IncompatibleType` for whatever Arrow itself cannot convert."""
    try:
        return form.encode(plain(array))
    except pa.ArrowException as error:
        raise IncompatibleType(f"{form.codec.name}: a column of {array.type} cannot be taken: {error}; cast it first") from None
    except UnicodeDecodeError as error:  # Arrow does not look into its texts
        raise IncompatibleType(f"{form.codec.name}: a column of {array.type} has a text that is not UTF-8: {error}") from None


def _places(names: list[str], wanted: list[str]) -> list[int]:
    """Return where the wanted columns are: by their names, or all in this order if no name is one of them."""
    if all(names.count(name) == 1 for name in wanted):
        return [names.index(name) for name in wanted]
    if len(names) == len(wanted) and (len(names) == 1 or not {name.lower() for name in names} & set(wanted)):
        return list(range(len(wanted)))
    raise IncompatibleType(f"expected a table with the columns {', '.join(wanted)}, got {', '.join(names)}; select and rename them first")


def joined(batches: list[list[Encoded]], columns: int) -> list[Encoded]:
    """Return the batches of a table as one. O(size)."""
    if not batches:
        return [Encoded.of([]) for _ in range(columns)]
    return [Encoded.joined(list(parts)) for parts in zip(*batches, strict=True)]


def column_of(given: Any, codec: Codec[Any]) -> Encoded:
    """Return a column of Arrow as encodings. O(size). Raises `IncompatibleType`, `BoundExceeded`."""
    array = given if isinstance(given, (pa.Array, pa.ChunkedArray)) else _taken(pa.chunked_array, given)
    form = form_like(codec, array.type)
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    found, first = [], 0
    for chunk in chunks:
        with _rows_from(first):
            found.append(_encoded(form, chunk))
        first += len(chunk)
    return Encoded.joined(found) if found else Encoded.of([])


def is_column(given: Any) -> bool:
    """Return whether it is a column of Arrow or of Polars, and not a table. O(1)."""
    return isinstance(given, (pa.Array, pa.ChunkedArray)) or (type(given).__name__ == "Series" and hasattr(given, "__arrow_c_stream__"))
