# SPDX-License-Identifier: Apache-2.0
"""Space: what a contestant stores, and by how much it makes a fresh process grow."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stable_structures import PAGE_SIZE

from .contestant import Contestant
from .measure import FILL_STEP, Say
from .ours import BulkMap, Ours, PackedMap
from .peers import BTrees, Lmdb, RocksDict, SortedDict, Sqlite
from .plain import Dict
from .work import run

KINDS: Final[tuple[type[Contestant], ...]] = (BulkMap, PackedMap, Lmdb, Sqlite, SortedDict, BTrees, RocksDict, Dict)
STATM: Final = Path("/proc/self/statm")


@dataclass(frozen=True)
class Space:
    """Bytes for each of `size` entries of 16 bytes; None if there is no such number."""

    contestant: str
    size: int
    stored: float | None
    resident: float | None


def resident() -> int | None:
    """Bytes of this process in memory; None if the system does not say."""
    if not STATM.exists():
        return None
    return int(STATM.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_here(name: str, size: int) -> Space:
    """In this process, which must be a fresh one."""
    contestant = next(kind for kind in KINDS if kind.name == name)()
    contestant.fresh()
    before = resident()
    try:
        step = size if isinstance(contestant, PackedMap) else FILL_STEP
        for lo in range(0, size, step):
            contestant.fill(run(lo, min(lo + step, size)), "insert")
        gc.collect()
        after = resident()
        return Space(name, size, _stored(contestant, size), None if before is None or after is None else (after - before) / size)
    finally:
        contestant.close()


def _stored(contestant: Contestant, size: int) -> float | None:
    if isinstance(contestant, Ours):
        return sum(memory.size() for memory in contestant.memories) * PAGE_SIZE / size
    footprint = getattr(contestant, "footprint", None)
    return None if footprint is None else footprint() / size


def measure(size: int, say: Say, kinds: tuple[type[Contestant], ...] = KINDS) -> list[Space]:
    """Each in a process of its own."""
    found = []
    for kind in kinds:
        if kind.absent() is None:
            command = [sys.executable, "-m", "benches", "--space-of", f"{kind.name}:{size}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)  # noqa: S603
            found.append(Space(**json.loads(done.stdout)))
            say(
                f"space of {size:,} entries, {kind.name}: stored {_text(found[-1].stored)}, resident {_text(found[-1].resident)} bytes each"
            )
    return found


def _text(number: float | None) -> str:
    return "-" if number is None else f"{number:.0f}"
