# SPDX-License-Identifier: Apache-2.0
"""Numbers of the format (docs/format.md) that reading and rewriting share, and what a broken rule looks like.

All of them come from the headers of the core, by the cdef file; the picture of each layout is at the head of a C file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

from ... import _native as native
from ...errors import remade

_core: Final = native.call

# magics, and a magic with the version behind it
MAP_MAGIC: Final = native.magic("SS_MAP_MAGIC")
MANAGER_MAGIC: Final = native.magic("SS_MANAGER_MAGIC")
NODE_MAGIC: Final = native.magic("SS_NODE_MAGIC")
OVERFLOW_MAGIC: Final = native.magic("SS_OVERFLOW_MAGIC")
CHUNK_BEGINS: Final = native.magic("SS_CHUNK_MAGIC") + b"\x01"
ALLOCATOR_BEGINS: Final = native.magic("SS_ALLOCATOR_MAGIC") + b"\x01"
NODE_BEGINS: Final = NODE_MAGIC + b"\x02"

MAGICS: Final[dict[bytes, str]] = {
    MANAGER_MAGIC: "manager",
    MAP_MAGIC: "map",
    native.magic("SS_VEC_MAGIC"): "vec",
    native.magic("SS_HEAP_MAGIC"): "heap",
    native.magic("SS_CELL_MAGIC"): "cell",
    native.magic("SS_LOG_INDEX_MAGIC"): "log index",
    native.magic("SS_LOG_DATA_MAGIC"): "log data",
}
"""First three bytes of each structure, and the word for it."""

KINDS: Final = ("map", "set", "vec", "heap", "log", "cell")
"""What a schema and the command line call the structures."""
_CRATE_NAMES: Final = {"BTreeMap": "map", "BTreeSet": "set", "Vec": "vec", "MinHeap": "heap", "Log": "log", "Cell": "cell"}


def kind_called(text: str) -> str:
    """Return one of `KINDS` for a structure in our spelling, the crate's or the package's; any other text as it is.

    >>> kind_called("map"), kind_called("BTreeMap"), kind_called("StableBTreeMap"), kind_called("queue")
    ('map', 'map', 'map', 'queue')
    """
    return _CRATE_NAMES.get(text.removeprefix("Stable"), text)


BEGINS: Final[dict[str, bytes]] = {kind: magic + b"\x01" for magic, kind in MAGICS.items()}
"""First four bytes of each structure with layout version 1."""

VERSIONS: Final[dict[str, tuple[int, ...]]] = {kind: (1, 2) if kind == "map" else (1,) for kind in MAGICS.values()}
"""The layout versions of each."""

VERSION_AT: Final[int] = _core.SS_VERSION_AT

# the manager
MEMORIES: Final[int] = _core.SS_MANAGER_MEMORIES
FREE: Final[int] = _core.SS_MANAGER_FREE
BUCKETS: Final[int] = _core.SS_MANAGER_BUCKETS
ALLOCATED_BUCKETS_AT: Final[int] = _core.SS_MANAGER_ALLOCATED_AT
BUCKET_PAGES_AT: Final[int] = _core.SS_MANAGER_BUCKET_PAGES_AT
RESERVED_AT: Final[int] = _core.SS_MANAGER_RESERVED_AT
SIZES_AT: Final[int] = _core.SS_MANAGER_SIZES_AT
OWNERS_AT: Final[int] = _core.SS_MANAGER_OWNERS_AT
TABLES_SIZE: Final[int] = _core.SS_MANAGER_TABLES_SIZE

# the map, its allocator and chunks
FIRST_AT: Final[int] = _core.SS_BTREE_FIRST_AT
ROOT_AT: Final[int] = _core.SS_BTREE_ROOT_AT
LENGTH_AT: Final[int] = _core.SS_BTREE_LENGTH_AT
ALLOCATOR_AT: Final[int] = _core.SS_ALLOCATOR_OFFSET
CHUNK_COUNT_AT: Final[int] = _core.SS_ALLOCATOR_COUNT_AT
FIRST_CHUNK: Final[int] = _core.SS_FIRST_CHUNK
CHUNK_HEADER: Final[int] = _core.SS_CHUNK_HEADER
ALLOCATED_AT: Final[int] = _core.SS_CHUNK_ALLOCATED_AT
NEXT_FREE_AT: Final[int] = _core.SS_CHUNK_NEXT_AT
CAPACITY: Final[int] = _core.SS_CAPACITY
MINIMUM: Final[int] = _core.SS_MINIMUM
DEPTH: Final[int] = _core.SS_DEPTH
LEAST_PAGE: Final[int] = _core.SS_LEAST_PAGE
UNBOUNDED_MARK: Final[int] = _core.SS_BTREE_PAGE_SIZE_MARK

# nodes
TYPE_AT: Final[int] = _core.SS_NODE_TYPE_AT
COUNT_AT: Final[int] = _core.SS_NODE_COUNT_AT
OVERFLOW_AT: Final[int] = _core.SS_NODE_OVERFLOW_AT
NODE_HEADER: Final[int] = _core.SS_NODE_HEADER
SLOTS_OF_NODE_AT: Final[int] = _core.SS_NODE_V1_HEADER
NEXT_OVERFLOW_AT: Final[int] = _core.SS_OVERFLOW_NEXT_AT
OVERFLOW_HEADER: Final[int] = _core.SS_OVERFLOW_HEADER
CHILD: Final[int] = _core.SS_CHILD_SIZE
SIZE: Final[int] = _core.SS_SIZE_FIELD

# vec and heap, cell, log
SLOTS_AT: Final[int] = _core.SS_SLOTS_START
SLOT_COUNT_AT: Final[int] = _core.SS_SLOTS_LENGTH_AT
SLOT_SIZE_AT: Final[int] = _core.SS_SLOTS_MAX_SIZE_AT
CELL_AT: Final[int] = _core.SS_CELL_VALUE_AT
LOG_ENDS_AT: Final[int] = _core.SS_LOG_ENDS_AT
LOG_DATA_AT: Final[int] = _core.SS_LOG_ENTRIES_AT

U16: Final = struct.Struct("<H")
U32: Final = struct.Struct("<I")
U64: Final = struct.Struct("<Q")


def u16(data: bytes, at: int) -> int:
    """Return the little-endian number of 2 bytes."""
    return int(U16.unpack_from(data, at)[0])


def u32(data: bytes, at: int) -> int:
    """Return the little-endian number of 4 bytes."""
    return int(U32.unpack_from(data, at)[0])


def u64(data: bytes, at: int) -> int:
    """Return the little-endian number of 8 bytes."""
    return int(U64.unpack_from(data, at)[0])


def derived_size(key: int, value: int) -> int:
    """Return the size of a layout-1 node.

    >>> derived_size(8, 8)
    367
    """
    return int(_core.ss_node_v1_size(key, value))


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
