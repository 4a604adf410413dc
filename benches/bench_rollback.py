# SPDX-License-Identifier: Apache-2.0
"""What a rollback costs: a canister that dirties 10 pages of a 1 GiB memory and traps, beside copying 10 pages.

    pytest benches/bench_rollback.py --benchmark-group-by=group

`rollback` is the transaction alone (begin, one byte written in each of 10 pages, rollback), `whole pages` writes the pages
entirely, `trapped call` is all that `Canister.call` does, and `copy` is the yardstick: copying 10 pages of 64 KiB. The target is
below 100 copies (issue 6).
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from stable_structures import PAGE_SIZE, StableMemory
from stable_structures.canister import Canister, Trapped

SIZE = 2**30
PAGES = 10
STRIDE = SIZE // PAGES // PAGE_SIZE * PAGE_SIZE
SOURCE = f"""
from stable_structures.canister import ic, update
DATA = b"x" * {PAGE_SIZE}

@update
def grow(): ic.stable64_grow({SIZE // PAGE_SIZE})

@update
def spoil(size):
    for page in range({PAGES}):
        ic.stable64_write(page * {STRIDE}, DATA[:size])
    ic.trap("no")
"""


@pytest.fixture(scope="module")
def memory():
    with StableMemory() as large:
        large.grow(SIZE // PAGE_SIZE)
        yield large


@pytest.fixture(scope="module")
def canister():
    with Canister.install(SOURCE) as installed:
        installed.call("grow")
        yield installed


@pytest.mark.benchmark(group="rollback of 10 pages in 1 GiB")
def test_copy(benchmark):
    source = np.ones((PAGES, PAGE_SIZE), np.uint8)
    target = np.empty_like(source)
    benchmark(np.copyto, target, source)
    assert target.all()


@pytest.mark.benchmark(group="rollback of 10 pages in 1 GiB")
@pytest.mark.parametrize("size", [1, PAGE_SIZE], ids=["one byte a page", "whole pages"])
def test_rollback(benchmark, memory, size):
    data = b"x" * size

    def spoil():
        with memory.transaction() as transaction:
            for page in range(PAGES):
                memory.write(page * STRIDE, data)
            transaction.rollback()

    benchmark(spoil)
    assert memory.read(0, size) == bytes(size)


@pytest.mark.benchmark(group="rollback of 10 pages in 1 GiB")
@pytest.mark.parametrize("size", [1, PAGE_SIZE], ids=["one byte a page", "whole pages"])
def test_trapped_call(benchmark, canister, size):
    def spoil():
        with contextlib.suppress(Trapped):
            canister.call("spoil", size)

    benchmark(spoil)
    assert canister.memory.read(0, size) == bytes(size)
