# SPDX-License-Identifier: Apache-2.0
"""What real canisters cost: messages, installs, inserts by Rust beside ours from Python, and a rehearsed upgrade.

The module is `tests/canister/wasm/bench.wasm.gz`; its source and how it is built lie there too. What takes microseconds is the median
of many calls of a round. An install from the compile cache is timed in a process of its own in which the engine runs already, as it
does from the second canister on; what the first one of a process takes, with the import of wasmtime, is shown beside it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import stable_structures as ss
from stable_structures.canister import Canister, Limits, Unsupported
from stable_structures.rehearsal import rehearse

from . import ours
from .contestant import WrongResult
from .machine import ROOT
from .measure import Results, Say, Times, uncollected
from .work import GAMMA, Sizes

TITLE: Final = "Wasm canisters"
MODULES: Final = ROOT / "tests" / "canister" / "wasm"
BENCH: Final = MODULES / "bench.wasm.gz"
LEDGER: Final = MODULES / "ledger.wasm.gz"
OTHER: Final = MODULES / "start.wasm"
PAGES: Final = 20
"""That an update dirties."""
STRIDE: Final = 40_960
CALLS: Final = 300
"""Of a round."""

QUERY: Final = "query that does nothing, 2 MiB heap"
SMALL_UPDATE: Final = "update of 20 pages, 2 MiB heap"
LARGE_UPDATE: Final = "update of 20 pages, 1 GiB heap"
INSTALL: Final = "install from the compile cache"
FIRST_INSTALL: Final = "first install of a process, with wasmtime's import"
INSERTS: Final = "10⁵ inserts in one message"
REHEARSAL: Final = "rehearsal, 10⁶ entries"
RUST: Final = "a Rust canister"


class NoEngine(Exception):
    """Why canisters cannot run here."""


_INSTALL: Final = """
import sys, time
from pathlib import Path
from stable_structures.canister import Canister
for path in map(Path, sys.argv[1:]):
    begin = time.perf_counter_ns()
    Canister.install(path)
    taken = time.perf_counter_ns() - begin
print(taken)
"""


def _median(call: Callable[[], object], calls: int) -> float:
    taken = []
    for _ in range(calls):
        begin = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - begin)
    return statistics.median(taken)


def _once(call: Callable[[], object]) -> float:
    return _median(call, 1)


def _install_in_a_process(*modules: Path) -> float:
    """Return what the last of them costs. With -P the package that is installed is measured, not the sources in this folder."""
    command = [sys.executable, "-P", "-c", _INSTALL, *map(str, modules)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - this process's own Python
    return float(done.stdout)


def _with_heap(mib: int) -> Canister:
    """Return a canister whose heap has a block of so many MiB."""
    made = Canister.install(BENCH)
    made.call("touch", mib, STRIDE, 0)
    return made


class Run:
    """All operations, in turns."""

    def __init__(self, sizes: Sizes, folder: Path) -> None:
        self.sizes = sizes
        self.small, self.large = _with_heap(1), _with_heap(sizes.large_heap)
        self.keys = [i * GAMMA % 2**64 for i in range(sizes.inserts)]
        self.snapshot = folder / "ledger"
        self._save_ledger()

    def _save_ledger(self) -> None:
        ledger = Canister.install(LEDGER, (7,))
        accounts = ss.StableBTreeMap[str, ss.u64](ledger.manager.get(0))
        accounts.update((f"account {i}", i) for i in range(self.sizes.rehearsed))
        accounts.into_memory()
        ledger.save_snapshot(self.snapshot)
        ledger.close()

    def operations(self, calls: int) -> Iterator[tuple[str, str, float]]:
        """Each operation, who did it, and its nanoseconds."""
        yield QUERY, ours.SINGLE, _median(lambda: self.small.query("spin", 0), calls)
        yield SMALL_UPDATE, ours.SINGLE, _median(lambda: self.small.call("touch", 1, STRIDE, PAGES), calls)
        yield LARGE_UPDATE, ours.SINGLE, _median(lambda: self.large.call("touch", self.sizes.large_heap, STRIDE, PAGES), calls)
        yield INSTALL, ours.SINGLE, _install_in_a_process(OTHER, LEDGER)
        yield FIRST_INSTALL, ours.SINGLE, _install_in_a_process(LEDGER)
        yield from self._inserts()
        yield REHEARSAL, ours.SINGLE, _once(self._rehearse)

    def _inserts(self) -> Iterator[tuple[str, str, float]]:
        """Check that the same entries, inserted by the canister and from Python, become the same bytes."""
        with Canister.install(BENCH) as canister, ss.StableMemory() as memory:
            yield INSERTS, RUST, _once(lambda: canister.call("fill", 0, len(self.keys)))
            filled = ss.StableBTreeMap[ss.u64, ss.u64](ss.MemoryManager(memory).get(0))

            def fill() -> None:
                for value, key in enumerate(self.keys):
                    filled[key] = value

            yield INSERTS, ours.SINGLE, _once(fill)
            theirs = canister.memory
            if theirs.nbytes != memory.nbytes or theirs.read(0, theirs.nbytes) != memory.read(0, memory.nbytes):
                raise WrongResult(f"{INSERTS}: the canister's memory is not that of the same map in Python")

    def _rehearse(self) -> None:
        found = rehearse(self.snapshot, LEDGER, calls=['balance("account 7")'])
        if not found.ok or found.calls[0].answer != "(opt (7 : nat64))":
            raise WrongResult(f"{REHEARSAL}: {found}")

    def close(self) -> None:
        self.small.close()
        self.large.close()


@contextmanager
def _running(sizes: Sizes) -> Iterator[Run]:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(sizes, Path(folder))
        try:
            yield run
        finally:
            run.close()


def measure(sizes: Sizes, results: Results, say: Say) -> None:
    """Run rounds of all operations. Raises `NoEngine` without the extra."""
    try:
        Canister.install(OTHER, limits=Limits()).close()
    except Unsupported as reason:
        raise NoEngine(str(reason)) from None
    try:
        with _running(sizes) as run:
            for number in range(sizes.rounds):
                with uncollected():
                    for operation, who, taken in run.operations(min(CALLS, sizes.least)):
                        results.add(Times(TITLE, operation, who, 1, sweep=False), taken)
                say(f"{TITLE}, round {number + 1} of {sizes.rounds}")
    except WrongResult as wrong:
        results.drop(TITLE, 1, sweep=False)
        results.fail(wrong, say)
