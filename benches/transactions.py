# SPDX-License-Identifier: Apache-2.0
"""What transactions and durable files cost, against SQLite and lmdb on the same disk. Times are per commit, or per operation."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final

import stable_structures as ss

from . import ours
from .contestant import Contestant, WrongResult
from .measure import Results, Say, Times, compare_entries, turns, uncollected
from .work import FULL, Batch, Sizes, run

TITLE: Final = "transactions"
FILLED: Final = 10_000
LMDB_MAP_BYTES: Final = 1 << 30
MANY: Final = (1, 10, 100)
TURN: Final = {"full": 20, "normal": 2_000}
"""Commits of a turn: about as long in each mode, and long against what it takes to fill the caches again."""
ROUNDS: Final = 3
"""So many times as many rounds as elsewhere: the disk is not as steady as the processor."""
SINGLE_PART: Final = 20
"""So many times as many single operations as commits."""
DIRTY_BLOCKS: Final = 10
ROLLBACK_PAGES: Final = FULL.rollbacks
TRACED: Final = (20, 40)


class OnDisk(Contestant):
    """A map of u64 -> u64 in a file; `commit` makes a commit of so many entries, `single` single operations."""

    parent: ClassVar[Path]

    def __init__(self, durability: str) -> None:
        self.durability = durability
        self.directory = Path(tempfile.mkdtemp(prefix="ss-bench-", dir=self.parent))

    def close(self) -> None:
        self.shut()
        shutil.rmtree(self.directory)

    def shut(self) -> None:
        raise NotImplementedError

    def commits(self, batch: Batch, many: int) -> Callable[[], Any]:
        """Return a commit for each `many` entries."""
        raise NotImplementedError

    def singles(self, batch: Batch) -> Callable[[], Any]:
        """Single operations, each a commit of its own."""
        return self.commits(batch, 1)


class OurFile(OnDisk):
    name = ours.SINGLE
    options: ClassVar[dict[str, Any]] = {}

    def fresh(self) -> None:
        durability: Any = self.durability
        self.memory = ss.StableMemory.open(self.directory / "state.bin", durability=durability, **self.options)
        self.map = ss.StableBTreeMap[ss.u64, ss.u64](self.memory)

    def shut(self) -> None:
        self.memory.close()

    def commits(self, batch: Batch, many: int) -> Callable[[], Any]:
        pieces, memory, held = _pieces(batch, many), self.memory, self.map

        def loop() -> None:
            for piece in pieces:
                with memory.transaction():
                    for key, value in piece:
                        held[key] = value

        return loop

    def singles(self, batch: Batch) -> Callable[[], Any]:
        pairs, held = list(zip(batch.keys, batch.values, strict=True)), self.map

        def loop() -> None:
            for key, value in pairs:
                held[key] = value

        return loop

    def entries(self) -> Any:
        return self.map.items()


class OurExclusiveFile(OurFile):
    """Nobody reads meanwhile, so a commit writes only the log."""

    name = "ours, exclusive"
    options: ClassVar[dict[str, Any]] = {"exclusive": True}


class SqliteFile(OnDisk):
    """WAL, with the synchronous setting that promises the same."""

    name = "sqlite3"

    def fresh(self) -> None:
        self.database = sqlite3.connect(self.directory / "state.db", isolation_level=None)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute(f"PRAGMA synchronous = {self.durability.upper()}")
        self.database.execute("CREATE TABLE map (key INTEGER PRIMARY KEY, value INTEGER)")

    def shut(self) -> None:
        self.database.close()

    def commits(self, batch: Batch, many: int) -> Callable[[], Any]:
        pieces, database = _pieces(batch, many, signed=True), self.database
        statement = "INSERT OR REPLACE INTO map VALUES (?, ?)"

        def loop() -> None:
            for piece in pieces:
                database.execute("BEGIN")
                for row in piece:
                    database.execute(statement, row)
                database.execute("COMMIT")

        return loop

    def singles(self, batch: Batch) -> Callable[[], Any]:
        rows, database = list(zip(batch.signed_keys, batch.values, strict=True)), self.database
        statement = "INSERT OR REPLACE INTO map VALUES (?, ?)"

        def loop() -> None:
            for row in rows:
                database.execute(statement, row)

        return loop

    def entries(self) -> Any:
        return [(key + (1 << 63), value) for key, value in self.database.execute("SELECT key, value FROM map ORDER BY key")]


class LmdbFile(OnDisk):
    """Synced at each commit; it has no setting between that and not at all."""

    name = "lmdb"
    needs = "lmdb"

    def fresh(self) -> None:
        self.environment = import_module("lmdb").open(str(self.directory), map_size=LMDB_MAP_BYTES)

    def shut(self) -> None:
        self.environment.close()

    def commits(self, batch: Batch, many: int) -> Callable[[], Any]:
        pairs, environment = list(zip(batch.raw_keys, batch.raw_values, strict=True)), self.environment
        pieces = [pairs[at : at + many] for at in range(0, len(pairs), many)]

        def loop() -> None:
            for piece in pieces:
                with environment.begin(write=True) as transaction:
                    for key, value in piece:
                        transaction.put(key, value)

        return loop


def _pieces(batch: Batch, many: int, *, signed: bool = False) -> list[list[tuple[int, int]]]:
    pairs = list(zip(batch.signed_keys if signed else batch.keys, batch.values, strict=True))
    return [pairs[at : at + many] for at in range(0, len(pairs), many)]


def run_transactions(sizes: Sizes, parent: Path, results: Results, say: Say) -> None:
    """All of this page."""
    OnDisk.parent = parent
    DurableRun("full", (OurFile, OurExclusiveFile, SqliteFile, LmdbFile), MANY, sizes, results).run(say)
    DurableRun("normal", (OurFile, SqliteFile), (), sizes, results).run(say)
    for pages in sizes.rollbacks:
        _rollback(pages, sizes, results)
        say(f"rollback of {DIRTY_BLOCKS} blocks in {pages:,} pages: {results.times[rollback_key(pages)].median / 1000:.1f} µs")


Works = Callable[[OnDisk], Callable[[], Any]]
Part = Callable[[int, int], Works]
"""The works of operations first..end of a round."""


@dataclass
class DurableRun:
    """Commits of so `many` entries, and single operations, at one durability."""

    durability: str
    kinds: tuple[type[OnDisk], ...]
    many: tuple[int, ...]
    sizes: Sizes
    results: Results

    def run(self, say: Say) -> None:
        sides: list[OnDisk] = [kind(self.durability) for kind in self.kinds if kind.absent() is None]
        held = run(0, FILLED)
        try:
            for side in sides:
                side.fresh()
                side.commits(held, FILLED)()
            compare_entries(TITLE, held, sides)
            for number in range(ROUNDS * self.sizes.rounds):
                with uncollected():
                    self._round(number, turns(sides, number))
            self._say_medians(say)
        except WrongResult as wrong:
            self.results.fail(wrong, say)
        finally:
            for side in sides:
                side.close()

    def _round(self, number: int, sides: list[OnDisk]) -> None:
        """Fresh entries each time."""
        commits = self.sizes.commits
        at = FILLED + number * (sum(self.many) + SINGLE_PART) * commits
        for entries in self.many:
            self._take_turns(commit_of(self.durability, entries), commits, _new_commits(at, entries), sides)
            at += entries * commits
        self._take_turns(replace_of(self.durability), commits, _replacing(number, commits), sides)
        count = commits * (1 if self.durability == "full" else SINGLE_PART)
        self._take_turns(set_of(self.durability), count, _new_singles(at), sides)

    def _take_turns(self, operation: str, count: int, part_of: Part, sides: list[OnDisk]) -> None:
        """In short turns, so that what slows the machine for a while slows all sides."""
        taken = dict.fromkeys(sides, 0)
        parts = max(1, count // TURN[self.durability])
        for part in range(parts):
            works = part_of(count * part // parts, count * (part + 1) // parts)
            for side in turns(sides, part):
                work = works(side)
                start = time.perf_counter_ns()
                work()
                taken[side] += time.perf_counter_ns() - start
        for side, ns in taken.items():
            self.results.add(Times(TITLE, operation, side.name, 1, sweep=False), ns / count)

    def _say_medians(self, say: Say) -> None:
        for times in self.results.times.values():
            if times.group == TITLE and times.operation.startswith(self.durability):
                say(f"{times.operation}: {times.contestant} {times.median / 1000:.1f} µs")


def _new_commits(at: int, entries: int) -> Part:
    """Commit of entries that are not there yet; the first entry of all is number `at`."""
    return lambda first, end: lambda side: side.commits(run(at + first * entries, at + end * entries), entries)


def _new_singles(at: int) -> Part:
    return lambda first, end: lambda side: side.singles(run(at + first, at + end))


def _replacing(number: int, count: int) -> Part:
    """Commit of entries that are there, with other values."""
    at = number * count % FILLED

    def part(first: int, end: int) -> Works:
        batch = run(at + first, at + end)
        batch.values = [value + number + 1 for value in batch.values]
        return lambda side: side.commits(batch, 1)

    return part


def commit_of(durability: str, entries: int) -> str:
    return f"{durability} commit of {'one entry' if entries == 1 else f'{entries} entries'}"


def replace_of(durability: str) -> str:
    return f"{durability} commit of one replaced value"


def set_of(durability: str) -> str:
    return f"{durability} set of one entry"


def rollback_name(pages: int) -> str:
    return f"rollback of {DIRTY_BLOCKS} blocks, {pages:,} pages"


def rollback_key(pages: int) -> tuple[str, str, str, int, bool]:
    return (TITLE, rollback_name(pages), ours.SINGLE, 1, False)


def fill_pages(memory: ss.StableMemory, pages: int) -> list[int]:
    """Fill a memory; return the places, all over it, that are changed before a rollback."""
    memory.grow(pages)
    for page in range(pages):
        memory.write(page * ss.PAGE_SIZE, b"\x01" * ss.PAGE_SIZE)
    return [block * (pages // DIRTY_BLOCKS) * ss.PAGE_SIZE for block in range(DIRTY_BLOCKS)]


def dirty(memory: ss.StableMemory, places: list[int]) -> ss.Transaction:
    """Return an open transaction that has changed a block at each of the places."""
    transaction = memory.transaction().__enter__()
    for place in places:
        memory.write(place, b"changed")
    return transaction


def _rollback(pages: int, sizes: Sizes, results: Results) -> None:
    """Time only the rollback."""
    with ss.StableMemory() as memory:
        places = fill_pages(memory, pages)
        for _ in range(sizes.rounds):
            taken = sum(_one_rollback(memory, places) for _ in range(sizes.commits))
            results.add(Times(TITLE, rollback_name(pages), ours.SINGLE, 1, sweep=False), taken / sizes.commits)


def _one_rollback(memory: ss.StableMemory, places: list[int]) -> int:
    transaction = dirty(memory, places)
    start = time.perf_counter_ns()
    transaction.rollback()
    taken = time.perf_counter_ns() - start
    if memory.read(places[-1], 2) != b"\x01\x01":
        raise WrongResult("rollback did not put the bytes back")
    return taken


# ---- by count ----


def traced(commits: int, parent: Path, *, exclusive: bool) -> None:
    """Make so many small full commits, to run under strace."""
    with (
        tempfile.TemporaryDirectory(dir=parent) as directory,
        ss.StableMemory.open(Path(directory) / "state.bin", durability="full", exclusive=exclusive) as memory,
    ):
        held = ss.StableBTreeMap[ss.u64, ss.u64](memory)
        held[1] = 0
        for value in range(commits):
            with memory.transaction():
                held[1] = value


def system_calls(parent: Path, *, exclusive: bool) -> dict[str, float] | None:
    """Write and syncs of one small full commit, from two runs of different length; None without strace."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    counts = [_strace(strace, commits, parent, exclusive=exclusive) for commits in TRACED]
    names = sorted(counts[0] | counts[1])
    return {name: (counts[1].get(name, 0) - counts[0].get(name, 0)) / (TRACED[1] - TRACED[0]) for name in names}


def _strace(strace: str, commits: int, parent: Path, *, exclusive: bool) -> dict[str, int]:
    own = [sys.executable, "-m", "benches", "--traced", f"{commits},{parent},{int(exclusive)}"]
    command = [strace, "-f", "--seccomp-bpf", "-e", "trace=write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync", *own]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)  # noqa: S603
    counts: dict[str, int] = {}
    for call in re.findall(r"^(?:\[pid +\d+\] )?(\w+)\(", done.stderr, re.MULTILINE):
        counts[call] = counts.get(call, 0) + 1
    return counts
