# SPDX-License-Identifier: Apache-2.0
"""Numbers of the format (docs/format.md) that reading and rewriting share, and what a broken rule looks like.

What a public header of the core defines comes from there; the offsets below stand in the layout picture of one C file each.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

from ... import _native as native
from ...errors import remade

MAGICS: Final[dict[bytes, str]] = {
    b"MGR": "manager",
    b"BTR": "map",
    b"SVC": "vec",
    b"SMH": "heap",
    b"SCL": "cell",
    b"GLI": "log index",
    b"GLD": "log data",
}
"""First three bytes of each structure, and the word for it."""

VERSIONS: Final[dict[str, tuple[int, ...]]] = {kind: (1, 2) if kind == "map" else (1,) for kind in MAGICS.values()}
"""The layout versions of each."""

# the manager
MEMORIES: Final[int] = native.call.SS_MANAGER_MEMORIES
FREE: Final[int] = native.call.SS_MANAGER_FREE
BUCKETS: Final[int] = native.call.SS_MANAGER_BUCKETS
SIZES_AT: Final = 40
OWNERS_AT: Final = SIZES_AT + 8 * MEMORIES
TABLES_SIZE: Final = OWNERS_AT + BUCKETS

# the map
MAP_HEADER: Final = 28
ALLOCATOR_AT: Final = 52
FIRST_CHUNK: Final = 100
CHUNK_HEADER: Final = 16
NODE_HEADER: Final[int] = native.call.NODE_HEADER
OVERFLOW_HEADER: Final[int] = native.call.OVERFLOW_HEADER
CAPACITY: Final[int] = native.call.SS_CAPACITY
MINIMUM: Final[int] = native.call.SS_MINIMUM
DEPTH: Final = 32
LEAST_PAGE: Final[int] = native.call.SS_LEAST_PAGE
DEFAULT_PAGE: Final = 1024
UNBOUNDED_MARK: Final = 2**32 - 1

# vec and heap, log
SLOTS_AT: Final = 64
LOG_COUNT_AT: Final = 32
LOG_ENDS_AT: Final = 40
LOG_DATA_AT: Final = 32
CELL_AT: Final = 8

U16: Final = struct.Struct("<H")
U32: Final = struct.Struct("<I")
U64: Final = struct.Struct("<Q")


def u32(data: bytes, at: int) -> int:
    """Return the little-endian number of 4 bytes."""
    return int(U32.unpack_from(data, at)[0])


def u64(data: bytes, at: int) -> int:
    """Return the little-endian number of 8 bytes."""
    return int(U64.unpack_from(data, at)[0])


def derived_size(key: int, value: int) -> int:
    """Size of a layout-1 node.

    >>> derived_size(8, 8)
    367
    """
    return 7 + CAPACITY * (8 + key + value) + 8 * (CAPACITY + 1)


def bounds_of_page(page: int) -> int | None:
    """Return the maximum key size plus maximum value size of a map of both bounded that has this page size; None if no such map has.

    >>> bounds_of_page(derived_size(8, 8) * 3 // 4), bounds_of_page(1024)
    (16, None)
    """
    fixed = derived_size(0, 0)
    guess = (page * 4 // 3 - fixed) // CAPACITY
    return next((total for total in (guess, guess + 1) if total >= 0 and derived_size(total, 0) * 3 // 4 == page), None)


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule: where (in the structure's memory, and in the file), which rule, what was found and expected."""

    memory: int | None
    structure: str
    rule: str
    address: int
    physical: int
    found: int | str
    expected: int | str


class Damage(Exception):
    """A broken rule that keeps something from being read."""

    def __init__(self, rule: str, address: int, found: int | str = "", expected: int | str = "") -> None:
        super().__init__(f"{rule}: at {address}, found {found}, expected {expected}")
        self.rule, self.address, self.found, self.expected = rule, address, found, expected

    def __reduce__(self) -> tuple[Any, ...]:
        """For `copy` and `pickle`."""
        return remade(super().__reduce__())
