# SPDX-License-Identifier: Apache-2.0
"""The command line: what runs, in which order, and where the results go."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from . import canisters, certified, cost, machine, plots, program, report, space, tracking, transactions
from .aims import verdicts
from .contestant import CLOCKS, Contestant
from .crate import Crate, NoCrate, build
from .groups import GROUPS, SWEEPS, Group
from .measure import GroupRun, Results, Say, SweepRun, leave_out_imports
from .work import FULL, QUICK, Sizes

OUT: Final = machine.ROOT / "benches" / "results"
QUICK_OUT: Final = machine.ROOT / "build" / "benches"
PERFORMANCE: Final = machine.ROOT / "docs" / "performance.md"
ACCESSES: Final = (("shared", False), ("exclusive", True))
PARTS: Final = (*(group.case for group in GROUPS), "sweep", "transactions", "work", "canisters", "certified", "space", "cost")
COST_MODEL: Final = machine.ROOT / "docs" / "cost-model.md"


def main(arguments: list[str] | None = None) -> int:
    """0 where all results are right and all digests agree."""
    options = parse(arguments)
    if options.space_of:
        name, size = options.space_of.rsplit(":", 1)
        sys.stdout.write(json.dumps(asdict(space.measure_here(name, int(size)))))
        return 0
    if options.traced:
        commits, parent, exclusive = options.traced.split(",")
        transactions.traced(int(commits), Path(parent), exclusive=bool(int(exclusive)))
        return 0
    return Runner(options).run()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, in seconds: shows that everything runs, measures nothing")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="PART,...", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--sizes", type=_sizes, metavar="N,...", help="sizes of the plots, as in 1e3,1e6")
    parser.add_argument("--rows", type=lambda text: int(float(text)), metavar="N", help="rows of the program's work, as in 2e6")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument(
        "--clock", choices=sorted(CLOCKS), default="wall", help="cpu leaves out what other processes take (transactions: wall)"
    )
    parser.add_argument("--no-crate", action="store_true", help="without the Rust crate")
    parser.add_argument("--out", type=Path, help=f"directory for the results (default: {OUT}, with --quick {QUICK_OUT})")
    parser.add_argument("--disk", type=Path, default=Path(tempfile.gettempdir()), help="where the files of the transactions lie")
    parser.add_argument("--no-docs", action="store_true", help="leave the pages of docs/ as they are")
    parser.add_argument("--space-of", help=argparse.SUPPRESS)
    parser.add_argument("--traced", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.only = options.only or (PARTS[:-1] if options.quick else PARTS)
    unknown = set(options.only) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return options


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(float(size)) for size in text.split(","))


@dataclass
class Findings:
    """Everything that a report shows."""

    about: dict[str, Any]
    sizes: Sizes
    results: Results = field(default_factory=Results)
    spaces: list[space.Space] = field(default_factory=list)
    calls: dict[str, dict[str, float]] = field(default_factory=dict)
    model: cost.Model | None = None
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        aims = [{**asdict(verdict), "verdict": verdict.word} for verdict in verdicts(self.results, self.sizes)]
        times = [{**asdict(each), "median": each.median} for each in self.results.times.values()]
        return {
            **self.about,
            "sizes": asdict(self.sizes),
            "aims": aims,
            "times": times,
            "space": [asdict(each) for each in self.spaces],
            "system calls of a full commit": self.calls,
            "cost model": asdict(self.model) if self.model else None,
            "digests": self.results.digests,
            "failures": self.results.failures,
            "notes": self.notes,
        }


class Runner:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.start = time.monotonic()
        sizes = QUICK if options.quick else FULL
        sizes = replace(sizes, sweep=options.sizes) if options.sizes else sizes
        sizes = replace(sizes, rounds=options.rounds) if options.rounds else sizes
        sizes = replace(sizes, work=options.rows) if options.rows else sizes
        self.findings = Findings({**machine.describe(), "clock": options.clock}, sizes)

    def say(self, text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - self.start:4.0f} s] {text}\n")

    def note(self, text: str) -> None:
        """Something that the reader of the results has to know too."""
        if text not in self.findings.notes:
            self.findings.notes.append(text)
            self.say(text)

    def run(self) -> int:
        leave_out_imports()  # garbage is collected before each measurement
        if machine.is_development_build():
            self.note("The development build is measured, without link time optimisation: `pip install .` for numbers that count.")
        Contestant.clock = self.options.clock
        self._build_driver()
        for group in GROUPS:
            if group.case in self.options.only:
                self._group(group)
        for part, measure in self._parts().items():
            if part in self.options.only:
                leave_out_imports()
                measure()
        self._write()
        return 1 if self.findings.results.failures else 0

    def _parts(self) -> dict[str, Callable[[], None]]:
        """Return how the parts that are not groups are measured, in their order."""
        return {
            "sweep": self._sweeps,
            "transactions": self._transactions,
            "work": self._work,
            "canisters": self._canisters,
            "certified": self._certified,
            "space": self._space,
            "cost": self._cost,
        }

    def _build_driver(self) -> None:
        if self.options.no_crate:
            Crate.program, Crate.missing = None, "left out"
            return
        self.say("building the Rust driver")
        try:
            Crate.program = build()
        except NoCrate as reason:
            Crate.program, Crate.missing = None, str(reason)

    def _group(self, group: Group) -> None:
        GroupRun(group, self.findings.sizes, self.findings.results, self._sayer()).run()

    def _sweeps(self) -> None:
        for sweep in SWEEPS:
            SweepRun(sweep, self.findings.sizes, self.findings.results, self._sayer()).run()

    def _work(self) -> None:
        program.measure(self.findings.sizes, self.options.disk, self.options.clock, self.findings.results, self._sayer())

    def _certified(self) -> None:
        certified.measure(self.findings.sizes, self.options.clock, self.findings.results, self._sayer())

    def _space(self) -> None:
        kinds = space.KINDS[:1] if self.options.quick else space.KINDS
        self.findings.spaces = space.measure(self.findings.sizes.map, self.say, kinds)

    def _sayer(self) -> Say:
        """Who is absent is a note, all else is progress."""
        return lambda text: self.note(text) if text.startswith("Without") else self.say(text)

    def _transactions(self) -> None:
        transactions.run_transactions(self.findings.sizes, self.options.disk, self.findings.results, self.say)
        self._tracking()
        for name, exclusive in ACCESSES[: 1 if self.options.quick else None]:
            counted = transactions.system_calls(self.options.disk, exclusive=exclusive)
            if counted is not None:
                self.findings.calls[name] = counted
                self.say(f"system calls of a small full commit, {name}: {counted}")

    def _tracking(self) -> None:
        try:
            if not self.options.quick:
                tracking.measure(self.findings.sizes, self.findings.results, self.say)
        except (cost.NoCompiler, tracking.NoTest) as reason:
            self.note(f"Without what tracking costs: {reason}")

    def _canisters(self) -> None:
        try:
            sizes = self.findings.sizes
            once = self.options.quick and self.options.rounds is None  # a round takes seconds, whatever the sizes
            canisters.measure(replace(sizes, rounds=1) if once else sizes, self.findings.results, self.say)
        except canisters.NoEngine as reason:
            self.note(f"Without canisters: {reason}")

    def _cost(self) -> None:
        quick = self.options.quick
        try:
            maps, rows = ((self.findings.sizes.map,),) * 2 if quick else (cost.MAP_SIZES, cost.ROW_SIZES)
            self.findings.model = cost.measure(maps, rows, self.say)
        except cost.NoCompiler as reason:
            self.note(f"Without the cost model: {reason}")

    def _write(self) -> None:
        out = self.options.out or (QUICK_OUT if self.options.quick else OUT)
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.json").write_text(json.dumps(self.findings.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        pictures = plots.draw(self.findings.results, out, self.note, most=1 if self.options.quick else None)
        (out / "results.md").write_text(report.page(self.findings, pictures), encoding="utf-8")
        if self._is_whole() and not self.options.no_docs:
            for path, text in ((PERFORMANCE, report.short(self.findings)), (COST_MODEL, report.cost_model(self.findings))):
                path.write_text(report.between_marks(path.read_text(encoding="utf-8"), text), encoding="utf-8")
        self.say(f"results are in {out}")

    def _is_whole(self) -> bool:
        """Return whether docs/performance.md should show this run."""
        options = self.options
        parts = set(options.only) == set(PARTS) and Crate.program is not None and not options.sizes
        return parts and not options.quick and options.out is None
