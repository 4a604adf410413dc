# SPDX-License-Identifier: Apache-2.0
"""What hashes cost a map: bulk insertion and batches beside a plain map, a change, a witness, opening with the root hash.

Batches and single operations work on a map that is full. The root hash of a bulk insertion and of one by batches is compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

import stable_structures as ss

from . import ours
from .contestant import WrongResult
from .measure import Results, Say, Times, uncollected
from .work import GAMMA, Sizes

TITLE: Final = "Certified map"
BULK: Final = "insert_many of all entries, each"
BATCHES: Final = (1_000, 100)
CHANGE: Final = "a change of one entry"
WITNESS: Final = "a witness"
OPEN: Final = "open, and take the root hash"
PLAIN: Final = "the map without hashes"
_LEAST: Final = 500
"""Single operations of a round."""

Clock = Callable[[], int]


def batch_name(size: int) -> str:
    """Return the name of an insertion by batches."""
    return f"insert_many of {size:,} more, each"


class Run:
    """The maps of one round."""

    def __init__(self, sizes: Sizes, clock: Clock) -> None:
        self.count = sizes.map
        self.clock = clock
        keys = np.arange(self.count + self.count // 10, dtype=np.uint64) * np.uint64(GAMMA)
        self.keys, self.more = keys[: self.count], keys[self.count :]

    def _taken(self, work: Callable[[], object], operations: int) -> float:
        begin = self.clock()
        work()
        return (self.clock() - begin) / operations

    def operations(self) -> Iterator[tuple[str, str, float]]:
        """Each operation, who did it, and its nanoseconds."""
        manager, beside = ss.MemoryManager(ss.StableMemory()), ss.MemoryManager(ss.StableMemory())
        made = ss.CertifiedMap[ss.u64, ss.u64](manager.get(0), manager.get(1))
        plain = ss.StableBTreeMap[ss.u64, ss.u64](beside.get(0))
        both: tuple[tuple[str, Any], ...] = ((ours.SINGLE, made), (PLAIN, plain))
        for who, m in both:
            yield BULK, who, self._taken(lambda m=m: m.insert_many(self.keys, self.keys), self.count)
        for size, more in zip(BATCHES, np.array_split(self.more, len(BATCHES)), strict=True):
            parts = np.array_split(more, max(1, len(more) // size))
            for who, m in both:
                yield batch_name(size), who, self._taken(lambda m=m, parts=parts: [m.insert_many(part, part) for part in parts], len(more))
        some = [int(key) for key in self.keys[:: max(1, self.count // _LEAST)]]
        for who, m in both:
            yield CHANGE, who, self._taken(lambda m=m: [m.__setitem__(key, key) for key in some], len(some))
        yield WITNESS, ours.SINGLE, self._taken(lambda: [made.witness(key) for key in some], len(some))
        self._compare(made)
        data, hashes = made.into_memory(), made.hashes
        yield OPEN, ours.SINGLE, self._taken(lambda: ss.CertifiedMap[ss.u64, ss.u64].load(data, hashes).root_hash(), 1)

    def _compare(self, made: Any) -> None:
        manager = ss.MemoryManager(ss.StableMemory())
        again = ss.CertifiedMap[ss.u64, ss.u64](manager.get(0), manager.get(1))
        keys = np.concatenate([self.keys, self.more])
        again.insert_many(keys, keys)
        if again.root_hash() != made.root_hash():
            raise WrongResult(f"{TITLE}: the root hash depends on how the entries came")


def measure(sizes: Sizes, clock: str, results: Results, say: Say) -> None:
    """Run rounds of all operations."""
    run = Run(sizes, time.process_time_ns if clock == "cpu" else time.perf_counter_ns)
    try:
        for number in range(sizes.rounds):
            with uncollected():
                for operation, who, taken in run.operations():
                    results.add(Times(TITLE, operation, who, 1, sweep=False), taken)
            say(f"{TITLE}, round {number + 1} of {sizes.rounds}")
    except WrongResult as wrong:
        results.drop(TITLE, 1, sweep=False)
        results.fail(wrong, say)
