# SPDX-License-Identifier: Apache-2.0
"""What hashes cost a map of 10^6 entries: bulk insertion beside a plain map, a change, a witness, opening.

    pytest benches/bench_certified.py --benchmark-group-by=group
    python -m benches.bench_certified            # the aims of issue 17, in processor time

The aims: insert_many <= 4 x that of a plain map, a witness <= 50 us, the root hash after opening without a pass over the data.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from stable_structures import CertifiedMap, MemoryManager, StableBTreeMap, StableMemory, u64

SIZE = 10**6
KEYS = np.random.default_rng(1).permutation(np.arange(SIZE, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
Certified = CertifiedMap[u64, u64]
Plain = StableBTreeMap[u64, u64]


def plain(keys=KEYS):
    m = Plain(MemoryManager(StableMemory()).get(0))
    m.insert_many(keys, keys)
    return m


def certified(keys=KEYS):
    manager = MemoryManager(StableMemory())
    m = Certified(manager.get(0), manager.get(1))
    m.insert_many(keys, keys)
    return m


@pytest.fixture(scope="module")
def full():
    return certified()


@pytest.mark.benchmark(group="10^6 entries in bulk")
@pytest.mark.parametrize("make", [plain, certified])
def test_bulk(benchmark, make):
    assert len(benchmark.pedantic(make, rounds=3)) == SIZE


@pytest.mark.benchmark(group="one witness of 10^6 entries")
def test_witness(benchmark, full):
    keys = iter(map(int, np.tile(KEYS, 3)))
    assert benchmark(lambda: full.witness(next(keys)))


@pytest.mark.benchmark(group="one change of 10^6 entries")
def test_change(benchmark, full):
    keys = iter(map(int, np.tile(KEYS, 3)))
    benchmark(lambda: full.__setitem__(next(keys), 7))


@pytest.mark.benchmark(group="open 10^6 entries and take the root hash")
def test_open(benchmark, full):
    data, hashes = full.into_memory(), full.hashes

    def opened():
        m = Certified.load(data, hashes)
        root = m.root_hash()
        m.into_memory()
        return root

    assert len(benchmark(opened)) == 32


def seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


# ruff: noqa: T201


def main() -> None:
    """Print the measures, each the least of several."""
    ratios, bulk = [], {}
    for name, keys in {"random": KEYS, "ascending": np.sort(KEYS)}.items():
        pairs = [(seconds(lambda keys=keys: plain(keys)), seconds(lambda keys=keys: certified(keys))) for _ in range(3)]
        bulk[name] = [min(column) for column in zip(*pairs, strict=True)]
        ratios.append(bulk[name][1] / bulk[name][0])
        print(
            f"insert_many of 10^6, {name}: plain {bulk[name][0]:.2f} s, certified {bulk[name][1]:.2f} s, ratio {ratios[-1]:.2f} (aim <= 4)"
        )
    m = certified()
    parts = np.array_split(KEYS[:20_000], 20)
    witness = min(seconds(lambda part=part: [m.witness(int(key)) for key in part]) / len(part) for part in parts)
    change = min(seconds(lambda part=part: [m.__setitem__(int(key), 7) for key in part]) / len(part) for part in parts)
    print(f"witness {witness * 1e6:.1f} us (aim <= 50), {len(m.witness(int(KEYS[0])))} bytes; a change {change * 1e6:.1f} us")
    data, hashes = m.into_memory(), m.hashes
    opening = seconds(lambda: Certified.load(data, hashes).root_hash())
    print(f"opening and root hash {opening * 1e6:.0f} us")


if __name__ == "__main__":
    main()
