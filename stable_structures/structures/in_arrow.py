# SPDX-License-Identifier: Apache-2.0
"""Structures as Arrow tables and streams (stable_structures/arrow/): what maps, sets, vecs, heaps and logs share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Self

from ..errors import MissingExtra
from ..storable.base import Codec

if TYPE_CHECKING:
    from ..encodings.columns import Encoded
    from ..memory.memory import Memory


_LIBRARIES: Final = frozenset({"pyarrow", "polars"})


def arrow(what: str) -> Any:
    """Return the module `arrow.tables`; raise `MissingExtra` if pyarrow is not installed."""
    try:
        from ..arrow import tables  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise MissingExtra(f"{what} needs pyarrow: pip install 'stable-structures[arrow]'") from None
    return tables


def is_arrow_column(given: Any) -> bool:
    """Return whether it is a column of pyarrow or Polars. O(1)."""
    return type(given).__module__.partition(".")[0] in _LIBRARIES and bool(arrow("this column").is_column(given))


def is_arrow_table(given: Any) -> bool:
    """Return whether it is a table that Arrow can read, of pyarrow, Polars, DuckDB, pandas and so on. O(1)."""
    if isinstance(given, InArrow) or not hasattr(type(given), "__arrow_c_stream__"):
        return False
    known = type(given).__module__.partition(".")[0] == "pyarrow" or hasattr(given, "columns")  # a Series of pandas is iterated
    return known and bool(arrow("this table").is_table(given))


class InArrow:
    """The methods of a structure whose entries can be a table."""

    def _arrow_columns(self) -> dict[str, Codec[Any]]:
        """Return the columns of its table: names and types."""
        raise NotImplementedError

    def _arrow_batches(self, start: Any, stop: Any, rows: int, nbytes: int) -> Iterator[list[Encoded]]:
        """Return the entries from `start` to `stop` in batches of encoded columns."""
        raise NotImplementedError

    def _arrow_insert(self, columns: list[Encoded]) -> object:
        """Add encoded columns, in one operation."""
        raise NotImplementedError

    def arrow_reader(
        self, start: Any = None, stop: Any = None, *, principals: str = "text", wide: str = "decimal", messages: str = "json"
    ) -> Any:
        """Return the entries as a `pyarrow.RecordBatchReader`, which reads them in batches of bounded memory. O(log n) to begin.

        The arguments are those of `to_arrow`. If the structure changes meanwhile, the reader raises.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({i: f"user {i}" for i in range(100_000)})
        >>> sum(batch.num_rows for batch in m.arrow_reader(start=50_000))
        50000
        """
        tables = arrow("to_arrow")
        choices = tables.Choices(principals, wide, messages)
        batches = self._arrow_batches(start, stop, tables.MOST_ROWS, tables.MOST_BYTES)
        return tables.reader(self._arrow_columns(), batches, choices)

    def to_arrow(
        self, start: Any = None, stop: Any = None, *, principals: str = "text", wide: str = "decimal", messages: str = "json"
    ) -> Any:
        """Return the entries as a `pyarrow.Table`; of a map from key `start` up to, without it, `stop`; of others by index. O(n).

        The types of the columns come from the types of keys and values (docs/data-out.md#types). `principals` may be "text" or
        "binary", `wide` (integers of 128 bits) "decimal" (38 digits), "decimal256", "text" or "binary", and `messages` (Candid, CBOR and
        Basilisk of no given shape) "json" or "binary", their encodings, which come back whole.

        Raises `MissingExtra` without pyarrow, `BoundExceeded` for a value that its Arrow type cannot hold.

        >>> from stable_structures import StableBTreeMap, StableMemory, f64, u32, u64
        >>> m = StableBTreeMap[u64, tuple[f64, u32]](StableMemory())
        >>> m.update({1: (0.5, 7), 2: (1.5, 9)})
        >>> m.to_arrow().to_pylist()
        [{'key': 1, 'value': {'f0': 0.5, 'f1': 7}}, {'key': 2, 'value': {'f0': 1.5, 'f1': 9}}]
        """
        return self.arrow_reader(start, stop, principals=principals, wide=wide, messages=messages).read_all()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the entries as an Arrow stream, for `pyarrow.table(m)`, `duckdb.sql("from m")` and so on. O(log n) to begin."""
        return self.arrow_reader().__arrow_c_stream__(requested_schema)

    @classmethod
    def from_arrow(cls, memory: Memory, table: Any, *more: Memory) -> Self:
        """Create a structure in `memory` from a table as `to_arrow` makes it; a log takes its second memory last. O(n log n).

        **Overwrites** whatever the memory held. The table may come from pyarrow, Polars, DuckDB or pandas; it is read in batches. Its
        columns are found by name, or taken in order if there are no more. Raises `IncompatibleType` for columns of other types and
        `BoundExceeded` for values that do not fit; the memory then holds what came before.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({7: "Ada", 9: "Grace"})
        >>> dict(StableBTreeMap[u64, str].from_arrow(StableMemory(), m.to_arrow()))
        {7: 'Ada', 9: 'Grace'}
        """
        made = cls.new(memory, *more)  # type: ignore[attr-defined]
        for columns in arrow("from_arrow").batches_of(table, made._arrow_columns()):
            made._arrow_insert(columns)
        return made  # type: ignore[no-any-return]

    def _arrow_taken(self, table: Any) -> list[Encoded]:
        """Return a whole table as encoded columns."""
        tables = arrow("this table")
        found = list(tables.batches_of(table, self._arrow_columns()))
        return tables.joined(found, len(self._arrow_columns()))  # type: ignore[no-any-return]
