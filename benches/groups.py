# SPDX-License-Identifier: Apache-2.0
"""Which contestants do which operations on how many entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from . import ours, peers, plain
from .contestant import Contestant
from .crate import Crate
from .work import Batch, Sizes, WideBatch, pick, run

Maker = Callable[[], Contestant]


@dataclass(frozen=True)
class Group:
    """Contestants that do the same work: each operation over all entries, from an empty structure on."""

    case: str
    """As the Rust driver calls it."""
    title: str
    operations: tuple[str, ...]
    makers: tuple[Maker, ...]
    size: Callable[[Sizes], int]
    form: type[Batch] = Batch
    picked: tuple[str, ...] = ()
    """Operations that take their entries in random order instead of that of the stream."""

    def batch(self, operation: str, n: int) -> Batch:
        return pick(0, n, n, self.form) if operation in self.picked else run(0, n, self.form)


@dataclass(frozen=True)
class Sweep:
    """One structure over many sizes: filled outside the clock, then operations on a part, so that its size stays."""

    case: str
    title: str
    makers: tuple[Maker, ...]
    fill: str
    read: tuple[str, ...]
    """Operations on random entries."""
    churn: tuple[str, str]
    """Two operations that undo each other, on entries that are not there."""
    iterate: bool
    most: int = 100_000
    """It changes at most so many entries at a time, and at most a tenth of the structure."""

    @property
    def file(self) -> str:
        """Its picture's name."""
        return self.case if self.most == Sweep.most else f"{self.case}_{self.most}"

    @property
    def operations(self) -> tuple[str, ...]:
        return (*self.read, *self.churn, *(("iterate",) if self.iterate else ()))


MAP: Final = ("insert", "get", "iterate", "remove")
SET: Final = ("insert", "contains", "iterate", "remove")
VEC: Final = ("push", "get", "set", "iterate")
PUSH_POP: Final = ("push", "pop")
LOG: Final = ("append", "get", "iterate")
CELL: Final = ("set", "get")


def crate(case: str, *operations: str) -> Maker:
    return partial(Crate, case, operations)


MAP_CRATE: Final = crate("map_u64", *MAP)
VEC_CRATE: Final = crate("vec_u64", *VEC, "pop")
HEAP_CRATE: Final = crate("heap_u64", *PUSH_POP)
PEERS: Final = (peers.Lmdb, peers.Sqlite, peers.SortedDict, peers.BTrees, peers.RocksDict)

MAPS: Final = (
    Group("map_u64", "map u64 → u64", MAP, (ours.Map, ours.BulkMap, ours.PackedMap, MAP_CRATE, plain.Dict), lambda s: s.map),
    Group(
        "map_bytes",
        "map bytes 32 → 128, managed",
        MAP,
        (ours.WideMap, ours.BulkWideMap, crate("map_bytes", *MAP), plain.Dict),
        lambda s: s.wide,
        WideBatch,
    ),
    Group(
        "map_peers",
        "map u64 → u64 among its peers",
        ("set", "get", "iterate", "remove"),
        (ours.Map, ours.BulkMap, *PEERS, peers.LmdbInts, plain.Dict),
        lambda s: s.peers,
    ),
)
SETS: Final = (
    Group("set_u64", "set u64", SET, (ours.Set, ours.BulkSet, crate("set_u64", *SET), peers.SortedSet, plain.HashSet), lambda s: s.peers),
)
VECS: Final = (Group("vec_u64", "vec u64", VEC, (ours.Vec, ours.BulkVec, VEC_CRATE, plain.List), lambda s: s.vec, picked=("get", "set")),)
HEAPS: Final = (Group("heap_u64", "heap u64", PUSH_POP, (ours.Heap, ours.BulkHeap, HEAP_CRATE, plain.Heapq), lambda s: s.heap),)
LOGS: Final = (
    Group(
        "log_bytes",
        "log of 128 bytes",
        LOG,
        (ours.Log, ours.BulkLog, crate("log_bytes", *LOG), plain.List),
        lambda s: s.log,
        WideBatch,
        picked=("get",),
    ),
)
CELLS: Final = (Group("cell_u64", "cell u64", CELL, (ours.Cell, crate("cell_u64", *CELL)), lambda s: s.cell),)
GROUPS: Final = (*MAPS, *SETS, *VECS, *HEAPS, *LOGS, *CELLS)

FEW: Final = (100, 1_000, 10_000)
"""Entries of a bulk call that are few beside those of a large structure."""

SWEEPS: Final = (
    Sweep(
        "map_u64",
        "map u64 → u64",
        (ours.Map, ours.BulkMap, MAP_CRATE, *PEERS, plain.Dict),
        "insert",
        ("get",),
        ("insert", "remove"),
        iterate=True,
    ),
    *(
        Sweep(
            "map_u64",
            f"map u64 → u64, changed by {most:,} entries",
            (ours.Map, ours.BulkMap),
            "insert",
            (),
            ("insert", "remove"),
            iterate=False,
            most=most,
        )
        for most in FEW
    ),
    Sweep("vec_u64", "vec u64", (ours.Vec, ours.BulkVec, VEC_CRATE, plain.List), "push", ("get",), ("push", "pop"), iterate=True),
    Sweep("heap_u64", "heap u64", (ours.Heap, ours.BulkHeap, HEAP_CRATE, plain.Heapq), "push", (), ("push", "pop"), iterate=False),
)


def contestants(makers: tuple[Maker, ...], say: Callable[[str], None]) -> list[Contestant]:
    """Those that can take part here; says why another cannot."""
    present = []
    for maker in makers:
        contestant = maker()
        reason = contestant.absent()
        if reason is None:
            present.append(contestant)
        else:
            say(f"Without {contestant.name}: {reason}")
    return present
