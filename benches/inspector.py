# SPDX-License-Identifier: Apache-2.0
"""The inspector's verbs on a large image: `python -m benches.inspector` prints a table of CPU time and peak memory, and its aims.

Each verb runs in a process of its own, the rounds interleaved; shown are medians. Beside them: the core's own `check` of the
same structures, and SQLite's `PRAGMA integrity_check` of the same rows. All run on one core: with several, numpy starts a thread
on each when it is imported, which waits in a loop for work that never comes, and the processor's time would count that.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from stable_structures import MemoryManager, StableBTreeMap, StableMemory, StableVec, u64

MIB: Final = 1 << 20
STEP: Final = 250_000
TEXT: Final = "user number {}, of the image"
CORE: Final = """
import sys
from stable_structures import MemoryManager, StableBTreeMap, StableMemory, StableVec, u64
with StableMemory.open(sys.argv[1], "r") as memory:
    manager = MemoryManager.load(memory)
    for structure in (StableBTreeMap[u64, u64](manager.get(0)), StableBTreeMap[u64, str](manager.get(1)), StableVec[u64](manager.get(2))):
        structure.check()
"""
SQLITE: Final = "import sqlite3, sys; assert sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchall() == [('ok',)]"


@dataclass
class Cost:
    """What a command costs: seconds of the processor, and bytes, of each round."""

    words: list[str]
    writes: Path | None = None
    seconds: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)

    def run(self) -> None:
        """Run it once more."""
        if self.writes is not None:
            self.writes.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, *self.words], stdout=subprocess.DEVNULL)  # noqa: S603 - ourselves
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode in (0, 1), self.words
        self.seconds.append(usage.ru_utime + usage.ru_stime)
        self.peak.append(usage.ru_maxrss * 1024)


def make(path: Path, rows: int) -> None:
    """An image: a map u64 to u64, a map u64 to str with a sixth of the rows, a vec with two thirds; keys in no order."""
    rng = np.random.default_rng(1)
    memory = StableMemory()  # a file would be written again by each step, because its keys are everywhere
    manager = MemoryManager(memory, bucket_pages=16)
    numbers, texts = StableBTreeMap[u64, u64](manager.get(0)), StableBTreeMap[u64, str](manager.get(1))
    keys = rng.permutation(rows).astype(np.uint64)
    for low in range(0, rows, STEP):
        numbers.insert_many(keys[low : low + STEP], keys[low : low + STEP] * np.uint64(7))
    names = rng.permutation(rows // 6).tolist()
    for low in range(0, len(names), STEP):
        texts.insert_many(names[low : low + STEP], [TEXT.format(name) for name in names[low : low + STEP]])
    StableVec[u64](manager.get(2)).extend(np.arange(rows * 2 // 3, dtype=np.uint64))
    with path.open("xb") as file:
        memory.view().tofile(file)


def make_sqlite(path: Path, rows: int) -> None:
    """The same rows."""
    with sqlite3.connect(path) as base:
        for name, kind in (("numbers", "INTEGER"), ("texts", "TEXT"), ("elements", "INTEGER")):
            base.execute(f"CREATE TABLE {name} (key INTEGER PRIMARY KEY, value {kind})")
        base.executemany("INSERT INTO numbers VALUES (?, ?)", ((key, 7 * key) for key in range(rows)))
        base.executemany("INSERT INTO texts VALUES (?, ?)", ((key, TEXT.format(key)) for key in range(rows // 6)))
        base.executemany("INSERT INTO elements VALUES (?, ?)", ((key, key) for key in range(rows * 2 // 3)))


def costs(folder: Path, image: Path, base: Path) -> dict[str, Cost]:
    """Every command that is measured; `diff` needs what `shrink` wrote."""
    verb = ["-m", "stable_structures"]
    dump = [*verb, "dump", str(image), "--memory", "0", "--key-type", "u64", "--value-type", "u64", "--format"]
    written = {name: folder / f"{name}.out" for name in ("csv", "parquet", "shrink", "repair")}
    return {
        "nothing (--help)": Cost([*verb, "--help"]),
        "the core's own check": Cost(["-c", CORE, str(image)]),
        "SQLite integrity_check": Cost(["-c", SQLITE, str(base)]),
        "check": Cost([*verb, "check", str(image)]),
        "inspect --deep": Cost([*verb, "inspect", str(image), "--deep"]),
        "dump to CSV": Cost([*dump, "csv", "-o", str(written["csv"])], written["csv"]),
        "dump to Parquet": Cost([*dump, "parquet", "-o", str(written["parquet"])], written["parquet"]),
        "shrink": Cost([*verb, "shrink", str(image), "-o", str(written["shrink"])], written["shrink"]),
        "repair": Cost([*verb, "repair", str(image), "-o", str(written["repair"])], written["repair"]),
        "diff with the shrunken image": Cost([*verb, "diff", str(image), str(written["shrink"])]),
        "map to HTML": Cost([*verb, "map", str(image), "-o", str(folder / "map.html")], folder / "map.html"),
    }


class Aim(NamedTuple):
    """A number that is wanted: at least or at most so much."""

    what: str
    found: float
    wanted: float
    at_least: bool = False

    def __str__(self) -> str:
        """Return a row of the table."""
        is_met = self.found >= self.wanted if self.at_least else self.found <= self.wanted
        return f"| {self.what} | {self.found:.2f} | {'>=' if self.at_least else '<='} {self.wanted:g} | {'yes' if is_met else 'no'} |"


def aims(found: dict[str, Cost], image: Path, rows: int) -> list[Aim]:
    """Return what the inspector is to reach, from the medians."""
    took = {what: statistics.median(cost.seconds) for what, cost in found.items()}
    core, sqlite, million = took["the core's own check"], took["SQLite integrity_check"], rows / 1e6
    verbs = [max(cost.peak) for what, cost in found.items() if what not in ("the core's own check", "SQLite integrity_check")]
    return [
        Aim("`check`, seconds beyond twice the core's own", took["check"] - 2 * core, 0.25),
        Aim("`check` over SQLite's", took["check"] / sqlite, 1.3),
        Aim("`inspect --deep` over SQLite's", took["inspect --deep"] / sqlite, 1.3),
        Aim("MB of the image a second, `check`", image.stat().st_size / 1e6 / took["check"], 250, at_least=True),
        Aim("million rows a second, `dump` to Parquet", million / took["dump to Parquet"], 2, at_least=True),
        Aim("million rows a second, `dump` to CSV", million / took["dump to CSV"], 0.8, at_least=True),
        Aim("seconds of `--help`", took["nothing (--help)"], 0.25),
        Aim("MiB of memory of any verb", max(verbs) / MIB, 200),
    ]


def on_one_core() -> None:
    """Keep this process, and what it starts, on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_000_000, help="of the first map (default: 3,000,000)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        image, base = folder / "image.bin", folder / "image.sqlite"
        # In another process: what this one needs at its peak would count as that of each process it starts.
        script = "import sys; from pathlib import Path; from benches.inspector import make, make_sqlite;"
        script += "make(Path(sys.argv[1]), int(sys.argv[3])); make_sqlite(Path(sys.argv[2]), int(sys.argv[3]))"
        subprocess.run([sys.executable, "-c", script, str(image), str(base), str(given.rows)], check=True)  # noqa: S603 - ourselves
        found = costs(folder, image, base)
        on_one_core()
        for _ in range(given.rounds):
            for cost in found.values():
                cost.run()
        sys.stdout.write(f"{image.stat().st_size / MIB:.0f} MiB, {given.rows:,} rows in the first map, {given.rounds} rounds\n\n")
        sys.stdout.write("| work | seconds of CPU | peak MiB |\n|---|---|---|\n")
        for what, cost in found.items():
            sys.stdout.write(f"| {what} | {statistics.median(cost.seconds):.2f} | {max(cost.peak) / MIB:.0f} |\n")
        sys.stdout.write("\n| aim | found | wanted | met |\n|---|---|---|---|\n")
        for aim in aims(found, image, given.rows):
            sys.stdout.write(f"{aim}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
