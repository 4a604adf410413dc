# SPDX-License-Identifier: Apache-2.0
"""What dumps are read in: some rows at once, as columns that become encodings in few calls.

Columns say nothing about places, and not every row fits them. So each batch can also be read row by row: that is done where a
batch is not uniform, and where something in it is no value, since then the row that it stands in is to be said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from ...encodings.columns import Encoded
from ...errors import StableError
from ...storable import Codec, codec
from ...structures.in_arrow import arrow, is_arrow_column
from ..values import unhex
from .plain import encodings, is_known

Row: TypeAlias = dict[str, Any]
Rows: TypeAlias = Iterator[tuple[str, Row]]
"""Rows by the names of their columns, each with where it stands."""
Back: TypeAlias = Callable[[Codec[Any], Any], Any]
"""Makes a value of a type of what stands in a row."""

NO_VALUE: Final = (StableError, KeyError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
"""What making encodings of something else raises."""
_BYTES: Final = codec(bytes)
_MISSING: Final = (None, "")


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows: one by one, and where they are uniform by the names of their columns, as lists or columns of Arrow."""

    rows: Callable[[], Rows]
    columns: Mapping[str, Any] | None = None


class Column:
    """Keys or values: the encoded bytes of what stands in a row."""

    def __init__(self, name: str, codec: Codec[Any] | None, back: Back) -> None:
        self.name, self.typed, self.back = name, codec is not None, back
        self.codec = codec or _BYTES
        self._many = _many(self.codec, back)

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
        if not self.typed and isinstance(found, str) and not found.startswith("0x"):
            raise ValueError(f"the type of the {self.name} is not known; give --{self.name}-type TYPE, or dump with --raw")
        return self.codec.encode(self.back(self.codec, found))

    def encoded_many(self, columns: Mapping[str, Any]) -> Encoded | None:
        """Return the same of a batch; None if its rows are to be read one by one. O(size). Raises one of `NO_VALUE`."""
        exact = columns.get(f"{self.name}_bytes")
        if exact is not None:
            found = exact.to_pylist() if is_arrow_column(exact) else exact
            missing = sum(map(found.count, _MISSING))
            if missing < len(found):
                return None if missing else self._exact(found)
        items = columns.get(self.name)
        if items is None or not self.typed:
            return None
        return self._of_arrow(items) if is_arrow_column(items) else self._many(items)

    def _exact(self, found: list[Any]) -> Encoded:
        data = found if set(map(type, found)) == {bytes} else list(map(unhex, map(str, found)))
        deque(map(self.codec.decode, data), 0)  # raises for what is not a value
        return Encoded.of(data)

    def _of_arrow(self, array: Any) -> Encoded | None:
        form = arrow("Parquet").form_like(self.codec, array.type)
        if form.one_way or array.type != form.type:
            return None
        found: Encoded = form.encode(array)
        return found


def _many(codec: Codec[Any], back: Back) -> Callable[[list[Any]], Encoded]:
    """Return what makes encodings of a list: at once if all items have the usual form, else value by value."""
    known = is_known(codec)

    def many(items: list[Any]) -> Encoded:
        found = encodings(codec, back, items) if known else None
        return Encoded.of(map(codec.encode, map(partial(back, codec), items))) if found is None else found

    return many
