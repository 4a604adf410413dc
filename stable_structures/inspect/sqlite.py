# SPDX-License-Identifier: Apache-2.0
"""Dumps as SQLite: a table for each memory, and databases that canisters keep in a memory, as files.

    integers up to 63 bits      INTEGER
    wider integers              in a column without a type: INTEGER as long as they fit 63 bits, else their digits as text
    floats                      REAL; NaN and -0.0, which SQLite does not keep, are NULL with their bytes beside
    text, principals            TEXT
    bytes                       BLOB
    bool                        INTEGER, 0 or 1
    anything else               JSON as TEXT

If that does not lead back to the bytes, they stand beside it, in a column `key_bytes` or `value_bytes`. The table `memories` says
what each table is of.
"""

from __future__ import annotations

import math
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from ..encodings.json_form import json_text, to_json
from ..principal import Principal
from ..storable import Codec, Tuple2Codec, Tuple3Codec
from ..storable.octets import PrincipalCodec, StrCodec
from ..storable.scalars import UNIT, BoolCodec, FloatCodec, IntCodec
from .cells import Cell, cell_of, from_arrow, innermost, is_native
from .columns import Side
from .dump import Table, is_at_once, pieces_of, table
from .formats.layout import Damage
from .formats.rules import Note
from .formats.sqlite import Database, find_database
from .image import Image, Part, Types
from .source import Unreadable
from .texts import json_texts, plain_values
from .values import RAW, Reading, is_octets, is_unit_guess
from .writing import NewFile, is_stream

SUFFIXES: Final = (".sqlite", ".sqlite3", ".db")
_CATALOGUE: Final = "memories"
_INDEX: Final = " by key"
"""What the name of an index ends with; tables and indexes share one space of names."""
_BATCH: Final = 4096
_AT_ONCE: Final = 1024
"""Rows that are read at once."""
_MOST: Final = 2**63


def write_database(  # noqa: PLR0913 - keyword-only choices
    image: Image,
    path: str | Path,
    types: Types | None = None,
    *,
    memory: int | None = None,
    only: bool = False,
    note: Note | None = None,
    raw: bool = False,
) -> dict[str, int]:
    """Write every memory of an image, or `only` one, as a table of a new SQLite database; return the rows of each table. O(n).

    Tables have the names of the schema, else `memory_3`, or `image` for an image of one structure. All or nothing. Raises `Unreadable`,
    and without `note` `Damage` for what cannot be read.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> from .fit import open_image
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({1: "Ada", 2: "Grace"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = write_database(open_image(memory), f"{folder}/users.sqlite")
    ...     with closing(sqlite3.connect(f"{folder}/users.sqlite")) as database:
    ...         made, database.execute("SELECT key, value FROM image WHERE key > 1").fetchall()
    ({'image': 2}, [(2, 'Grace')])
    """
    if is_stream(path):
        raise Unreadable(f"{path}: a SQLite database is not written in order; give OUT the name of a file")
    parts = [image.part(memory)] if only else [part for part in image.parts.values() if part.kind != "log data"]
    if not any(part.is_structure for part in parts):
        raise image.unreadable("nothing in it has entries")
    with NewFile(path) as new:
        with _database(str(new.temporary)) as database:
            made = _fill_all(database, parts, lambda part: table(part, types, raw=raw, note=note))
        new.keep()
    return made


def _fill_all(database: sqlite3.Connection, parts: list[Part], rows_of: Callable[[Part], Table]) -> dict[str, int]:
    """Make a table of each part, and the one that says what they are; return the rows of each."""
    made: dict[str, int] = {}
    names = _names([part for part in parts if part.is_structure])
    _create(database, _CATALOGUE, ["memory INTEGER", "name TEXT", "structure TEXT", "key TEXT", "value TEXT", "entries INTEGER"])
    for part in parts:
        if part.is_structure:
            made[names[part.id]] = _fill(database, names[part.id], part, rows_of(part))
        else:
            _insert(database, _CATALOGUE, [(part.id, None, part.title, None, None, None)])
    return made


@contextmanager
def _database(path: str) -> Iterator[sqlite3.Connection]:
    """Provide a database that is not yet anybody's: it needs no journal, since it is removed if anything fails."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            database.execute("BEGIN")
            yield database
            database.execute("COMMIT")
    except (sqlite3.Error, OverflowError) as error:
        raise Unreadable(f"SQLite: {error}; give another --format") from None


def _names(parts: list[Part]) -> dict[int | None, str]:
    """Return the name of each table: what the schema gives, unless SQLite or another table needs that name. Case does not count."""
    made = {part.id: "image" if part.id is None else f"memory_{part.id}" for part in parts}
    taken = {_CATALOGUE, *made.values()}
    for part in parts:
        name = part.given.name or ""
        own = name.lower() == made[part.id]
        if name and not own and name.lower() not in taken and not name.lower().startswith("sqlite_") and not name.lower().endswith(_INDEX):
            made[part.id] = name
            taken.add(name.lower())
    return made


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _create(database: sqlite3.Connection, name: str, columns: list[str]) -> None:
    database.execute(f"CREATE TABLE {_quoted(name)} ({', '.join(columns)})")


def _insert(database: sqlite3.Connection, name: str, rows: Any) -> None:
    rows = list(rows)
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        database.executemany(f"INSERT INTO {_quoted(name)} VALUES ({marks})", rows)  # noqa: S608 - a quoted name


def _fill(database: sqlite3.Connection, name: str, part: Part, rows: Table) -> int:
    sides = [_Side(title, reading) for title, reading in zip(rows.names, (rows.key, rows.value), strict=True)]
    _create(database, name, [column for side in sides for column in side.columns()])
    count = 0
    for batch in _batches(rows, sides):
        _insert(database, name, batch)
        count += len(batch)
    if rows.key is not None and rows.key is not RAW:
        index = _quoted(name + _INDEX)
        database.execute(f"CREATE INDEX {index} ON {_quoted(name)} (key)")
    key, value = (None if reading is None else reading.label for reading in (rows.key, rows.value))
    _insert(database, _CATALOGUE, [(part.id, name, part.word.removesuffix(" index"), key, value, count)])
    return count


def _batches(rows: Table, sides: list[_Side]) -> Iterator[list[Any]]:
    """Return what stands in the columns of the table, some rows at a time."""
    if rows.columns is None or not is_at_once(rows):
        yield from _row_by_row(rows.rows, sides, 0)
        return
    count = 0
    for columns in pieces_of(rows.columns):
        key, value = sides
        cells = [key.all_cells(columns.keys), value.all_cells(columns.values)]
        there = [one for one in cells if one is not None]
        if len(there) == len(cells):
            yield list(zip(*(column for one in there for column in one), strict=True))
        else:
            yield from _row_by_row(columns.rows(), sides, count)
        count += len(columns.keys.ends)


def _row_by_row(rows: Iterable[tuple[Any, bytes]], sides: list[_Side], first: int) -> Iterator[list[Any]]:
    numbered = enumerate(rows, first)
    while some := list(islice(numbered, _BATCH)):
        yield [[cell for side, data in zip(sides, row, strict=True) for cell in side.cells(data, number)] for number, row in some]


class _Side:
    """Keys or values on their way into their columns."""

    def __init__(self, name: str, reading: Reading | None) -> None:
        self.name, self.reading = name, reading
        self.cell: Cell = (lambda index: (index, None)) if reading is None else sqlite_cell(reading)
        codec = None if reading is None else reading.codec
        self.has_bytes = reading is not None and (codec is None or not _is_exact(codec))

    def columns(self) -> list[str]:
        """Of the table."""
        if self.reading is None:
            return [f"{_quoted(self.name)} INTEGER PRIMARY KEY"]
        shown = [] if self.reading is RAW else [f"{self.name} {_affinity(self.reading)}".rstrip()]
        return shown + [f"{self.name}_bytes BLOB"] * self.has_bytes

    def cells(self, data: Any, row: int) -> list[Any]:
        """Return what stands in the columns for encoded bytes. Raises `Unreadable` if they cannot be said there."""
        value, exact = self.cell(data)
        if exact is not None and not self.has_bytes:
            raise Unreadable(
                f"SQLite: the {self.name} of entry {row} is no value of its type: {data[:20].hex()}...; give another type, or --raw"
            )
        return ([] if self.reading is RAW else [value]) + [exact] * self.has_bytes

    def all_cells(self, side: Side) -> list[list[Any]] | None:
        """Return what `cells` does for each of many, column by column; None if a value must be written by itself. O(size)."""
        reading = self.reading
        if reading is None:
            return [side.items()]
        is_unit = is_unit_guess(reading)
        values = _many(UNIT if is_unit else reading.codec, side)
        if values is None:
            return None
        return [values, *[[b"" if is_unit else None] * len(values)] * self.has_bytes]


def _is_exact(codec: Codec[Any]) -> bool:
    """Return whether the column of a type says every value of it, one value for each form."""
    return isinstance(codec, (IntCodec, BoolCodec, StrCodec, PrincipalCodec)) or is_octets(codec)


_GUESSED: Final = {"u8": "INTEGER", "u16": "INTEGER", "u32": "INTEGER", "f32": "REAL", "f64": "REAL", "text": "TEXT"}


def _affinity(reading: Reading) -> str:
    """Return the type of a column. Without one SQLite changes nothing of what it is given."""
    if reading.codec is None:
        return _GUESSED.get(reading.name, "")
    inner = innermost(reading.codec)
    if isinstance(inner, IntCodec):
        return "INTEGER" if inner.dtype is not None and inner.dtype.str[1:] != "u8" else ""
    if isinstance(inner, BoolCodec):
        return "INTEGER"
    return "REAL" if isinstance(inner, FloatCodec) else "BLOB" if is_octets(inner) else "TEXT"


def sqlite_cell(reading: Reading) -> Cell:
    """For SQLite."""
    as_json = reading.codec is not None and not is_native(reading.codec)
    return cell_of(reading, _json if as_json else _form, from_sqlite)


def _many(codec: Codec[Any] | None, side: Side) -> list[Any] | None:
    """Return what SQLite keeps of many values; None if one of them is kept in another way than its like. O(size)."""
    inner = None if codec is None else innermost(codec)
    if isinstance(inner, (Tuple2Codec, Tuple3Codec)):
        return json_texts(codec, side)
    values = plain_values(codec, side)
    if values is None or (isinstance(inner, FloatCodec) and _has_negative_zero(values)):
        return None
    if isinstance(inner, BoolCodec):
        return list(map(int, values))
    return list(map(_form, values)) if isinstance(inner, IntCodec) and max(values, default=0) >= _MOST else values


def _has_negative_zero(values: list[float]) -> bool:
    array = np.array(values)
    return bool((np.signbit(array) & (array == 0)).any())


def _json(value: Any) -> str | None:
    made = None if value is None else to_json(value)
    return None if value is None else _text(made if isinstance(made, str) else json_text(made))


def _form(value: Any) -> Any:
    """Return a value as SQLite keeps it."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value if -_MOST <= value < _MOST else str(value)
    if isinstance(value, float):
        return None if math.isnan(value) or (value == 0 and math.copysign(1, value) < 0) else value
    if isinstance(value, Principal):
        return str(value)
    return _text(value) if isinstance(value, str) else value if value is None or isinstance(value, bytes) else _json(value)


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def from_sqlite(codec: Codec[Any], value: Any) -> Any:
    """Return the value of a cell of SQLite, by its type. O(size)."""
    inner = innermost(codec)
    if isinstance(inner, BoolCodec) and isinstance(value, int):
        return bool(value)
    if isinstance(inner, FloatCodec) and isinstance(value, int):
        return float(value)
    return from_arrow(codec, value)


def _firsts(rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    return [row[0] for row in rows]


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def read(path: Path) -> Iterator[tuple[list[str], list[Any]]]:
    """Return the rows of the only table of memories in a dump, some at a time, with the names of its columns. O(n). Raises `Unreadable`."""
    if not path.is_file():
        raise Unreadable(f"{path}: cannot be read: there is no such file")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            names = _firsts(database.execute("SELECT name FROM memories WHERE name IS NOT NULL"))
            if not _are_texts(names):
                raise Unreadable(f"{path}: not a dump as SQLite: its table of memories has names that are no text")
            if len(names) != 1:
                raise Unreadable(f"{path}: it has {len(names)} tables of memories, and one is loaded; dump that memory alone (--memory ID)")
            found = database.execute(f"SELECT * FROM {_quoted(names[0])}")  # noqa: S608 - a quoted name
            columns = _firsts(found.description)
            for rows in iter(lambda: found.fetchmany(_AT_ONCE), []):
                yield columns, rows
    except sqlite3.Error as error:
        raise Unreadable(f"{path}: not a dump as SQLite: {error}") from None


# ---- a database in a memory ----


def database_of(part: Part) -> Database:
    """Return the database in a memory. O(1). Raises `Unreadable` if there is none."""
    found = find_database(part.source)
    if found is None:
        raise Unreadable(f"{part.label}: {part.title}, no SQLite database; give OUT a name that ends in .bin for the memory as it is")
    return found


def export_database(part: Part, path: str | Path) -> int:
    """Write the database in a memory as a file; return its size. O(size). Raises `Unreadable`."""
    found = database_of(part)
    if found.base + found.size > part.source.nbytes:
        raise Unreadable(f"{part.label}: {found.problems[0]}; nothing was written")
    with NewFile(path) as new:
        _pour(found, new.file)
        new.keep()
    return found.size


def _pour(found: Database, out: IO[bytes]) -> None:
    for offset, data in found.blocks():
        out.seek(offset)
        out.write(data)
    out.truncate(found.size)
    out.flush()


def integrity(part: Part) -> list[str]:
    """Return what SQLite itself finds wrong with the database in a memory (`PRAGMA integrity_check`). O(size), by a temporary file."""
    found = database_of(part)
    with tempfile.TemporaryDirectory(prefix="stable-structures-") as folder:
        path = Path(folder) / "database.sqlite"
        with path.open("wb") as out:
            _pour(found, out)
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as database:
                lines = [str(line) for (line,) in database.execute("PRAGMA integrity_check")]
        except sqlite3.Error as error:
            return [str(error)]
    return [] if lines == ["ok"] else [line for text in lines for line in text.splitlines()]


def check_integrity(part: Part, tell: Callable[[Damage], None]) -> None:
    """Report what `integrity` finds of a memory with a database. O(size)."""
    for text in integrity(part) if part.kind == "sqlite" else ():
        tell(Damage(f"SQLite's integrity_check: {text}", 0))
