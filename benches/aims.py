# SPDX-License-Identifier: Apache-2.0
"""What was aimed at: ratios of medians within one run, each with the lowest and highest ratio of a round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from . import canisters, certified, crate, ours, program
from .measure import Results, Times
from .tracking import OPERATIONS, WITHOUT
from .transactions import ROLLBACK_PAGES, commit_of, replace_of, rollback_name, set_of
from .transactions import TITLE as TRANSACTIONS
from .work import Sizes

MAP: Final = "map u64 → u64"
WIDE: Final = "map bytes 32 → 128, managed"
PEERS: Final = "map u64 → u64 among its peers"
VEC: Final = "vec u64"
HEAP: Final = "heap u64"
SMALL: Final = 10_000
LARGE: Final = 10_000_000


@dataclass(frozen=True)
class Ratio:
    """One time by another."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, one: Times | None, other: Times | None) -> Ratio | None:
        if one is None or other is None:
            return None
        rounds = [a / b for a, b in zip(one.ns, other.ns, strict=False)]
        return cls(one.median / other.median, min(rounds), max(rounds))


@dataclass(frozen=True)
class Aim:
    """`contestant` at `operation` of `group` takes at most `limit` times what `other` takes for `other_operation`."""

    work: str
    against: str
    limit: float
    group: str
    operation: str
    contestant: str
    other: str
    other_operation: str | None = None

    def ratio(self, results: Results, sizes: Sizes) -> Ratio | None:
        n = _size(self.group, sizes)
        one = results.of(self.group, self.operation, self.contestant, n)
        return Ratio.of(one, results.of(self.group, self.other_operation or self.operation, self.other, n))


@dataclass(frozen=True)
class Growth:
    """A single operation on the largest structure takes at most `limit` times what it takes on a small one."""

    work: str
    against: str
    limit: float
    operation: str

    def ratio(self, results: Results, _: Sizes) -> Ratio | None:
        large = results.of(MAP, self.operation, ours.SINGLE, LARGE, sweep=True)
        return Ratio.of(large, results.of(MAP, self.operation, ours.SINGLE, SMALL, sweep=True))


@dataclass(frozen=True)
class Within:
    """An operation takes at most so many microseconds; the ratio is to those."""

    work: str
    against: str
    limit: float
    microseconds: float
    group: str
    operation: str
    contestant: str = ours.SINGLE

    def ratio(self, results: Results, _: Sizes) -> Ratio | None:
        one = results.of(self.group, self.operation, self.contestant, 1)
        bound = self.microseconds * 1000
        return Ratio(one.median / bound, min(one.ns) / bound, max(one.ns) / bound) if one else None


@dataclass(frozen=True)
class Best:
    """The fastest of several contestants at a stage of a program's work takes at most `limit` times what a peer takes."""

    work: str
    against: str
    limit: float
    operation: str
    contestants: tuple[str, ...]
    other: str

    def ratio(self, results: Results, sizes: Sizes) -> Ratio | None:
        found = [times for name in self.contestants if (times := results.of(program.TITLE, self.operation, name, sizes.work))]
        best = min(found, key=lambda times: times.median, default=None)
        return Ratio.of(best, results.of(program.TITLE, self.operation, self.other, sizes.work))


def _duration(microseconds: float) -> str:
    return f"{microseconds:g} µs" if microseconds < 1000 else f"{microseconds / 1000:,g} ms"


def _size(group: str, sizes: Sizes) -> int:
    return {MAP: sizes.map, WIDE: sizes.wide, PEERS: sizes.peers, VEC: sizes.vec, HEAP: sizes.heap}.get(group, 1)


def _against_crate(work: str, limit: float, group: str, operation: str, contestant: str) -> Aim:
    return Aim(work, "the same loop in Rust", limit, group, operation, contestant, crate.NAME)


ROW_BY_ROW: Final = tuple(name for name in program.OURS if name != program.OurArrays.name)

AIMS: Final[tuple[Aim | Growth | Within | Best, ...]] = (
    *(_against_crate(f"single {o}, u64 → u64", 0.5, MAP, o, ours.SINGLE) for o in ("get", "insert", "remove")),
    _against_crate("single get, bytes 32 → 128, managed", 0.4, WIDE, "get", ours.SINGLE),
    _against_crate("single insert, bytes 32 → 128, managed", 0.5, WIDE, "insert", ours.SINGLE),
    _against_crate("get_many, u64 → u64", 0.1, MAP, "get", ours.BULK),
    _against_crate("insert_many, u64 → u64", 0.3, MAP, "insert", ours.BULK),
    _against_crate("remove_many, u64 → u64", 0.3, MAP, "remove", ours.BULK),
    _against_crate("to_numpy of a whole map", 0.3, MAP, "iterate", ours.BULK),
    _against_crate("vec extend(array)", 0.1, VEC, "push", ours.BULK),
    _against_crate("vec to_numpy", 0.2, VEC, "iterate", ours.BULK),
    _against_crate("heap push_many", 1.0, HEAP, "push", ours.BULK),
    _against_crate("heap single pop", 0.8, HEAP, "pop", ours.SINGLE),
    Aim("single get", "lmdb in one transaction, from and to int", 0.6, PEERS, "get", ours.SINGLE, "lmdb, ints"),
    Aim("single set", "lmdb put in one transaction, from int", 0.8, PEERS, "set", ours.SINGLE, "lmdb, ints"),
    Aim("single get", "lmdb in one transaction, bytes made before", 0.6, PEERS, "get", ours.SINGLE, "lmdb"),
    Aim("single set", "lmdb put in one transaction, bytes made before", 0.8, PEERS, "set", ours.SINGLE, "lmdb"),
    Aim("single get", "SortedDict", 1.5, PEERS, "get", ours.SINGLE, "SortedDict"),
    Aim("single set", "SortedDict", 0.5, PEERS, "set", ours.SINGLE, "SortedDict"),
    *(Growth(f"single {o}, 10⁷ entries", "itself at 10⁴", 4, o) for o in ("get", "insert", "remove")),
    Aim("small commit, full", "SQLite WAL synchronous=FULL", 1.0, TRANSACTIONS, commit_of("full", 1), ours.SINGLE, "sqlite3"),
    Aim("small commit, full, replaced", "SQLite WAL synchronous=FULL", 1.0, TRANSACTIONS, replace_of("full"), ours.SINGLE, "sqlite3"),
    Aim("single set, normal", "SQLite synchronous=NORMAL", 0.1, TRANSACTIONS, set_of("normal"), ours.SINGLE, "sqlite3"),
    *(Aim(f"{o}, no transaction", "the core without tracking", 1.05, TRANSACTIONS, o, ours.SINGLE, WITHOUT) for o in OPERATIONS.values()),
    *(Within(rollback_name(n), "20 µs", 1.0, 20, TRANSACTIONS, rollback_name(n)) for n in ROLLBACK_PAGES),
    Best("a program: ingest, row by row in one transaction", "lmdb", 1.0, "ingest", ROW_BY_ROW, program.Lmdb.name),
    Best("a program: get and set of each key", "lmdb", 1.2, "change", ROW_BY_ROW, program.Lmdb.name),
    Best("a program: ranges of 100 rows", "lmdb", 1.0, "ranges", ROW_BY_ROW, program.Lmdb.name),
    Best("a program: analysis in numpy", "sqlite3", 0.1, "analyse", program.OURS, program.Sqlite.name),
    _against_crate("for k, v in m.items(), u64 → u64", 1.1, MAP, "iterate", ours.SINGLE),
    _against_crate("iteration, bytes 32 → 128, managed", 1.5, WIDE, "iterate", ours.SINGLE),
    *(
        Within(work, _duration(microseconds), 1.0, microseconds, canisters.TITLE, work, who)
        for work, microseconds, who in (
            (canisters.QUERY, 80, ours.SINGLE),
            (canisters.SMALL_UPDATE, 100, ours.SINGLE),
            (canisters.LARGE_UPDATE, 250, ours.SINGLE),
            (canisters.INSTALL, 8_000, ours.SINGLE),
            (canisters.INSERTS, 2_500_000, canisters.RUST),
            (canisters.REHEARSAL, 3_000_000, ours.SINGLE),
        )
    ),
    Aim("certified map: insert_many", "the map without hashes", 4.0, certified.TITLE, certified.BULK, ours.SINGLE, certified.PLAIN),
    Within("certified map: a witness", "50 µs", 1.0, 50, certified.TITLE, certified.WITNESS),
)


@dataclass(frozen=True)
class Verdict:
    """An aim and what was measured; no ratio where one side was missing."""

    work: str
    against: str
    limit: float
    ratio: Ratio | None

    @property
    def word(self) -> str:
        if self.ratio is None:
            return "not measured"
        return "met" if self.ratio.value <= self.limit else "NOT MET"


def verdicts(results: Results, sizes: Sizes) -> list[Verdict]:
    return [Verdict(aim.work, aim.against, aim.limit, aim.ratio(results, sizes)) for aim in AIMS]
