# SPDX-License-Identifier: Apache-2.0
"""Commits to a file, single operations on one, and rollbacks. Each round has fresh entries; files lie in pytest's temporary directory."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import stable_structures as ss

from . import transactions
from .contestant import Work
from .transactions import LmdbFile, OnDisk, OurExclusiveFile, OurFile, SqliteFile
from .work import FULL, Batch, run

COMMITS = 20
SIDES: list[tuple[str, type[OnDisk]]] = [
    ("full", OurFile),
    ("full", OurExclusiveFile),
    ("full", SqliteFile),
    ("full", LmdbFile),
    ("normal", OurFile),
    ("normal", SqliteFile),
]


@pytest.fixture
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnDisk]:
    """Return a file with entries, opened with the durability at hand."""
    durability, kind = request.param
    if kind.absent():
        pytest.skip(kind.absent())
    OnDisk.parent = tmp_path
    contestant = kind(durability)
    contestant.fresh()
    contestant.commits(run(0, transactions.FILLED), transactions.FILLED)()
    yield contestant
    contestant.close()


def measure(benchmark: Any, work: Callable[[Batch], Work], many: int) -> None:
    """Make `COMMITS` commits of `many` entries per round."""
    batches = iter(run(at, at + many * COMMITS) for at in range(transactions.FILLED, 1 << 40, many * COMMITS))
    benchmark.pedantic(lambda loop: loop(), setup=lambda: ((work(next(batches)),), {}), rounds=FULL.rounds)


@pytest.mark.parametrize("many", transactions.MANY)
@pytest.mark.parametrize("side", SIDES, indirect=True, ids=lambda pair: f"{pair[0]}-{pair[1].name}")
def test_commit(benchmark: Any, side: OnDisk, many: int) -> None:
    benchmark.group = f"{COMMITS} times: {transactions.commit_of(side.durability, many)}"
    benchmark.name = side.name
    measure(benchmark, lambda batch: side.commits(batch, many), many)


@pytest.mark.parametrize("side", SIDES, indirect=True, ids=lambda pair: f"{pair[0]}-{pair[1].name}")
def test_single_operation(benchmark: Any, side: OnDisk) -> None:
    benchmark.group = f"{COMMITS} times: {transactions.set_of(side.durability)}"
    benchmark.name = side.name
    measure(benchmark, side.singles, 1)


@pytest.mark.parametrize("pages", transactions.ROLLBACK_PAGES)
def test_rollback(benchmark: Any, pages: int) -> None:
    benchmark.group = "rollback"
    benchmark.name = transactions.rollback_name(pages)
    with ss.StableMemory() as memory:
        places = transactions.fill_pages(memory, pages)
        benchmark.pedantic(
            lambda transaction: transaction.rollback(), setup=lambda: ((transactions.dirty(memory, places),), {}), rounds=100
        )
        assert memory.read(places[-1], 2) == b"\x01\x01"
