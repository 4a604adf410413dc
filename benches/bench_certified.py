# SPDX-License-Identifier: Apache-2.0
"""What hashes cost a map of 10^6 entries, under pytest-benchmark; `certified.py` measures it against the aims.

pytest benches/bench_certified.py --benchmark-group-by=group
"""

from __future__ import annotations

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
