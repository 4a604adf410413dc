# SPDX-License-Identifier: Apache-2.0
"""A map that grows: `python -m benches.growth` fills a map with 10^8 entries u64 → u64, beside one of 10^6, and prints a table.

First in a file, which is read, closed, opened, left by a kill and recovered; then lookups in memory, whose pages may be large.

Times are of the processor, so that other programs do not count, but the two that wait for the disk (reopening, recovery).
Each size runs in a process of its own, whose peak memory it prints; the pages of the file that it mapped count. 10^8 entries
need 4 GB of disk and as much memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from stable_structures import StableBTreeMap, StableMemory, u64

STEP: Final = 1_000_000
SINGLE: Final = 200_000
LAST: Final = 100_000
"""Entries that are in the log alone when the process is killed."""
UNITS: Final = {
    "insert_many": "ns an entry",
    "get, one by one": "ns an entry",
    "get_many": "ns an entry",
    "items() in a loop": "ns an entry",
    "to_numpy, by ranges": "ns an entry",
    "check": "ns an entry",
    "in memory: insert_many": "ns an entry",
    "in memory: get, one by one": "ns an entry",
    "in memory: get_many": "ns an entry",
    "reopening": "ms, elapsed",
    "recovery after a kill": "ms, elapsed",
    "file": "MiB",
    "peak memory of the process": "MiB",
}


def keys_of(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return a key for each number, all different and in no order, without keeping a permutation (splitmix64's mixing is one to one)."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def steps(entries: int) -> Iterator[npt.NDArray[np.uint64]]:
    """Yield the numbers below `entries`, some at a time."""
    for low in range(0, entries, STEP):
        yield np.arange(low, min(low + STEP, entries), dtype=np.uint64)


class Growth:
    """What one size takes."""

    def __init__(self, path: Path, entries: int) -> None:
        self.path, self.entries = path, entries
        self.found: dict[str, float] = {}
        self.rng = np.random.default_rng(1)

    def run(self) -> dict[str, float]:
        """Fill, read, check, reopen, kill, recover."""
        with StableMemory.open(self.path, "x", "none") as memory:
            self.fill(StableBTreeMap[u64, u64](memory))
        with StableMemory.open(self.path) as memory:
            self.read(StableBTreeMap[u64, u64](memory))
        self.found["reopening"] = self.opened(self.entries)
        self.kill()
        self.found["recovery after a kill"] = self.opened(self.entries + LAST)
        self.found["file"] = self.path.stat().st_size / (1 << 20)
        self.found["peak memory of the process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.in_memory()
        return self.found

    def in_memory(self) -> None:
        """Fill and look up without a file."""
        held = StableBTreeMap[u64, u64](StableMemory())
        self.fill(held, "in memory: ")
        self.look_up(held, "in memory: ")

    def measure(self, name: str, work: Callable[[], int]) -> None:
        """Add the time of the processor for each of as many entries as `work` returns."""
        begin = time.process_time()
        count = work()
        self.found[name] = self.found.get(name, 0) + (time.process_time() - begin) * 1e9 / count

    def fill(self, held: StableBTreeMap[int, int], kind: str = "") -> None:
        taken = 0.0
        for numbers in steps(self.entries):
            keys = keys_of(numbers)
            begin = time.process_time()
            held.insert_many(keys, numbers)
            taken += time.process_time() - begin
        self.found[kind + "insert_many"] = taken * 1e9 / self.entries

    def look_up(self, held: StableBTreeMap[int, int], kind: str = "") -> None:
        some = self.rng.integers(self.entries, size=SINGLE, dtype=np.uint64)
        keys, many = keys_of(some).tolist(), keys_of(self.rng.integers(self.entries, size=STEP, dtype=np.uint64))
        assert [held[key] for key in keys[:1000]] == some[:1000].tolist()
        self.measure(kind + "get, one by one", lambda: sum(held.get(key) is not None for key in keys))
        self.measure(kind + "get_many", lambda: int(np.count_nonzero(np.asarray(held.get_many(many)[1]))))

    def read(self, held: StableBTreeMap[int, int]) -> None:
        self.look_up(held)
        self.measure("items() in a loop", lambda: sum(1 for _ in held.items()))
        self.measure("to_numpy, by ranges", lambda: sum(len(part) for part in self.parts(held)))
        assert len(held) == self.entries
        self.measure("check", lambda: self.checked(held))

    def parts(self, held: StableBTreeMap[int, int]) -> Iterator[npt.NDArray[np.uint64]]:
        bounds = [number << 58 for number in range(64)]
        for low, high in zip(bounds, [*bounds[1:], None], strict=True):
            yield held.to_numpy(low, high)[0]

    def checked(self, held: StableBTreeMap[int, int]) -> int:
        held.check()
        return self.entries

    def opened(self, entries: int) -> float:
        begin = time.perf_counter()
        with StableMemory.open(self.path) as memory:
            held = StableBTreeMap[u64, u64](memory)
            taken = time.perf_counter() - begin
            assert len(held) == entries
        return taken * 1e3

    def kill(self) -> None:
        """End a process that has committed to the log, in its next transaction."""
        child = os.fork()
        if child == 0:
            memory = StableMemory.open(self.path)
            held = StableBTreeMap[u64, u64](memory)
            last = np.arange(self.entries, self.entries + LAST, dtype=np.uint64)
            held.insert_many(keys_of(last), last)
            memory.transaction().__enter__()
            held.clear()
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)


def measured(entries: int, folder: Path | None) -> dict[str, float]:
    """Measure a size in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        script = "import json, sys; from pathlib import Path; from benches.growth import Growth;"
        script += "print(json.dumps(Growth(Path(sys.argv[1]), int(sys.argv[2])).run()))"
        words = [sys.executable, "-c", script, str(Path(name, "image.bin")), str(entries)]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE)  # noqa: S603 - ourselves
    return {str(what): float(number) for what, number in json.loads(done.stdout).items()}


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=lambda text: int(float(text)), default=100_000_000, help="default: 1e8")
    parser.add_argument("--beside", type=lambda text: int(float(text)), default=1_000_000, help="default: 1e6")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    given = parser.parse_args(arguments)
    small, large = (measured(entries, given.folder) for entries in (given.beside, given.entries))
    sys.stdout.write(f"| | {given.beside:,} entries | {given.entries:,} | |\n|---|---:|---:|---|\n")
    for what, unit in UNITS.items():
        sys.stdout.write(f"| {what} | {small[what]:,.0f} | {large[what]:,.0f} | {unit} |\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
