# SPDX-License-Identifier: Apache-2.0
"""Rounds of measurements. In each, all contestants take turns at one operation before the next begins, so that a noisy moment
of the machine hits them alike; who begins changes from round to round. Results are checked and digests compared before a
time counts."""

from __future__ import annotations

import gc
import hashlib
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Final, TypeVar

from .contestant import Contestant, WrongResult
from .crate import Crate
from .groups import Group, Sweep, contestants
from .ours import BULK, Ours
from .work import PEERS_UP_TO, Batch, Sizes, pick, run

READING: Final = ("get", "contains", "iterate")
FILL_STEP: Final = 1_000_000
CHURN_PART: Final = 10
"""A sweep changes at most a tenth of a structure at a time."""

Side = TypeVar("Side")
Say = Callable[[str], None]


@dataclass
class Times:
    """Nanoseconds per operation of one contestant, one number per round."""

    group: str
    operation: str
    contestant: str
    size: int
    sweep: bool
    ns: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.ns)


@dataclass
class Results:
    """All times, and the digests that were compared."""

    times: dict[tuple[str, str, str, int, bool], Times] = field(default_factory=dict)
    digests: list[dict[str, object]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, times: Times, ns: float) -> None:
        key = (times.group, times.operation, times.contestant, times.size, times.sweep)
        self.times.setdefault(key, times).ns.append(ns)

    def drop(self, group: str, size: int, *, sweep: bool) -> None:
        """Warm up: these times do not count."""
        self.times = {key: times for key, times in self.times.items() if (key[0], key[3], key[4]) != (group, size, sweep)}

    def fail(self, wrong: WrongResult, say: Callable[[str], None]) -> None:
        self.failures.append(str(wrong))
        say(f"THESE TIMES DO NOT COUNT: {wrong}")

    def of(self, group: str, operation: str, contestant: str, size: int, *, sweep: bool = False) -> Times | None:
        return self.times.get((group, operation, contestant, size, sweep))


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection meanwhile, but once before."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def leave_out_imports(names: Iterable[str] = ()) -> None:
    """Import modules, and keep all that there are out of the collections to come, which would search them each time."""
    for name in names:
        import_module(name)
    gc.collect()
    gc.freeze()


def turns(sides: Sequence[Side], number: int) -> list[Side]:
    """Return the order of a round."""
    at = number % len(sides)
    return [*sides[at:], *sides[:at]]


def compare(results: Results, what: str, size: int, sides: Iterable[Contestant]) -> None:
    """Raise `WrongResult` if the memories of these differ."""
    digests = {side.name: digest for side in sides if (digest := side.digest()) is not None}
    if len(set(digests.values())) > 1:
        raise WrongResult(f"{what}, {size:,}: digests differ: {digests}")
    if len(digests) > 1:
        digest, pages = next(iter(digests.values())).split()
        results.digests.append({"what": what, "size": size, "sides": list(digests), "sha256": digest, "pages": int(pages)})


def fingerprint(entries: Iterable[tuple[object, object]]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(repr(entry).encode())
    return digest.hexdigest()


def compare_entries(title: str, batch: Batch, sides: Iterable[Contestant]) -> None:
    """Raise `WrongResult` if a contestant does not hold these entries."""
    expected = fingerprint(sorted(zip(batch.keys, batch.values, strict=True)))
    for side in sides:
        entries = side.entries()
        if entries is not None and fingerprint(entries) != expected:
            raise WrongResult(f"{title}: {side.name} does not hold what was put into it")


# ---- every operation over all entries, from empty on ----


@dataclass
class GroupRun:
    """A group at one scale."""

    group: Group
    sizes: Sizes
    results: Results
    say: Say

    def run(self) -> None:
        self.n = self.group.size(self.sizes)
        self.batches = {operation: self.group.batch(operation, self.n) for operation in self.group.operations}
        sides = contestants(self.group.makers, self.say)
        try:
            for number in range(self.sizes.rounds):
                with uncollected():
                    done = self._round(turns(sides, number), first=number == 0)
                self.say(f"{self.group.title}, {self.n:,}, round {number + 1} of {self.sizes.rounds}: {done}")
        except WrongResult as wrong:
            self.results.drop(self.group.title, self.n, sweep=False)
            self.results.fail(wrong, self.say)
        finally:
            for side in sides:
                side.close()

    def _round(self, sides: list[Contestant], *, first: bool) -> str:
        for side in sides:
            side.fresh()
        abreast, said = list(sides), []
        for operation in self.group.operations:
            able = [side for side in sides if side.can(operation)]
            said.append(f"{operation} {self._operation(operation, able)}")
            if operation not in READING:
                abreast = [side for side in abreast if side in able]
            if first and operation == self.group.operations[0]:
                compare_entries(self.group.title, self.batches[operation], able)
            compare(self.results, f"{self.group.title}: {operation}", self.n, abreast)
        return "; ".join(said)

    def _operation(self, operation: str, sides: list[Contestant]) -> str:
        said = []
        for side in sides:
            taken = side.time(operation, [self.batches[operation]]) / self.n
            self.results.add(Times(self.group.title, operation, side.name, self.n, sweep=False), taken)
            said.append(f"{side.name} {taken:,.0f}")
        return ", ".join(said)


# ---- a part of the entries, over many sizes ----


@dataclass
class Field:
    """One size of a sweep, and who takes part in it."""

    n: int
    sides: list[Contestant]


@dataclass
class SweepRun:
    """All sizes of a sweep; they too take turns, so that a time at one size compares with that at another."""

    sweep: Sweep
    sizes: Sizes
    results: Results
    say: Say
    fields: list[Field] = field(default_factory=list)

    def run(self) -> None:
        try:
            for n in self.sizes.sweep:
                self._open(n)
            for number in range(self.sizes.rounds):
                with uncollected():
                    for each in self.fields:
                        self._round(each, number)
                self.say(f"{self.sweep.title}, {', '.join(f'{n:,}' for n in self.sizes.sweep)}: round {number + 1} of {self.sizes.rounds}")
            for each in self.fields:
                self._finish(each)
        except WrongResult as wrong:
            for n in self.sizes.sweep:
                self.results.drop(self.sweep.title, n, sweep=True)
            self.results.fail(wrong, self.say)
        finally:
            for side in (side for each in self.fields for side in each.sides):
                side.close()

    def _open(self, n: int) -> None:
        sides = [side for side in contestants(self.sweep.makers, self.say) if n <= (side.largest or n)]
        self.fields.append(Field(n, sides))
        fill(self.sweep, n, sides)
        compare(self.results, f"{self.sweep.title}: filled", n, sides)
        self.say(f"{self.sweep.title}, {n:,}: filled")

    def _round(self, each: Field, number: int) -> None:
        n, sides = each.n, turns(each.sides, number)
        part = max(1, min(self.sweep.most, n // CHURN_PART))
        count = part * max(1, self.sizes.least // part)
        reads, wholes = [pick(number * count, (number + 1) * count, n)], [run(0, 0)] * max(1, self.sizes.least // n)
        for operation in self.sweep.read:
            self._take_turns(n, sides, operation, reads, count)
        if self.sweep.iterate:
            self._take_turns(n, sides, "iterate", wholes, n * len(wholes))
        at = n + number * count
        self._churn(n, sides, [run(lo, lo + part) for lo in range(at, at + count, part)], count)

    def _take_turns(self, n: int, sides: list[Contestant], operation: str, batches: list[Batch], count: int) -> None:
        for side in sides:
            if side.can(operation):
                self._note(n, operation, side, side.time(operation, batches) / count)

    def _churn(self, n: int, sides: list[Contestant], batches: list[Batch], count: int) -> None:
        for side in sides:
            for operation, taken in zip(self.sweep.churn, side.churn(*self.sweep.churn, batches), strict=True):
                if side.can(operation):
                    self._note(n, operation, side, taken / count)

    def _note(self, n: int, operation: str, side: Contestant, ns: float) -> None:
        self.results.add(Times(self.sweep.title, operation, side.name, n, sweep=True), ns)

    def _finish(self, each: Field) -> None:
        compare(self.results, f"{self.sweep.title}: after the operations", each.n, each.sides)
        for operation in self.sweep.operations:
            times = [self.results.of(self.sweep.title, operation, side.name, each.n, sweep=True) for side in each.sides]
            medians = ", ".join(f"{one.contestant} {one.median:,.0f}" for one in times if one)
            self.say(f"{self.sweep.title}, {each.n:,}, {operation}: {medians}")


def fill(sweep: Sweep, n: int, sides: list[Contestant]) -> None:
    """Bring entries 0..n into all; large memories are made once, by our bulk call, and taken over by the others as an image."""
    source = next((side for side in sides if isinstance(side, Ours) and side.name == BULK), None) if n > PEERS_UP_TO else None
    heirs = [side for side in sides if source is not None and side is not source and isinstance(side, Ours | Crate)]
    for side in sides:
        if side not in heirs:
            side.fresh()
            for lo in range(0, n, FILL_STEP):
                side.fill(run(lo, min(lo + FILL_STEP, n)), sweep.fill)
    if source is not None:
        _hand_over(source, heirs)


def _hand_over(source: Ours, heirs: Sequence[Contestant]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "image"
        source.save(path)
        for side in heirs:
            if isinstance(side, Crate):
                side.load_file(path)
            elif isinstance(side, Ours):
                side.load(path.read_bytes())
