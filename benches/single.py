# SPDX-License-Identifier: Apache-2.0
"""One operation of one contestant under pytest-benchmark: what bench_*.py is made of."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest

from .contestant import Contestant
from .crate import Crate, NoCrate, build
from .groups import Group, Maker
from .measure import READING
from .work import FULL


def cases(groups: Iterable[Group]) -> pytest.MarkDecorator:
    """Each operation of each contestant: parameters of a test."""
    return pytest.mark.parametrize(
        ("group", "operation", "maker"),
        [
            pytest.param(group, operation, maker, id=f"{group.case}-{operation}-{name}")
            for group in groups
            for operation in group.operations
            for maker, name in _named(group.makers)
        ],
    )


def _named(makers: Iterable[Maker]) -> list[tuple[Maker, str]]:
    return [(maker, maker().name) for maker in makers]


@cache
def _build_driver() -> None:
    try:
        Crate.program = build()
    except NoCrate as reason:
        Crate.missing = str(reason)


def run_single(benchmark: Any, group: Group, operation: str, maker: Maker, entries: int) -> None:
    """Everything before the operation is done outside the clock, again in each round."""
    _build_driver()
    contestant = maker()
    reason = contestant.absent()
    if reason or not contestant.can(operation):
        pytest.skip(reason or f"{contestant.name} has no {operation}")
    benchmark.group = f"{group.title}, {operation}, {entries:,}"
    benchmark.name = contestant.name
    try:
        batch = group.batch(operation, entries)
        work = benchmark.pedantic(_Work.do, setup=lambda: ((_ready(contestant, group, operation, entries),), {}), rounds=FULL.rounds)
        contestant.check(operation, batch, work)
    finally:
        contestant.close()


class _Work:
    """What the clock sees: a loop of ours, or an order to the driver, whose own clock leaves the pipe out."""

    def __init__(self, contestant: Contestant, group: Group, operation: str, entries: int) -> None:
        batch = group.batch(operation, entries)
        self.run = contestant.prepare(operation, batch)

    def do(self) -> Any:
        return self.run()


def _ready(contestant: Contestant, group: Group, operation: str, entries: int) -> _Work:
    contestant.fresh()
    for earlier in group.operations[: group.operations.index(operation)]:
        if earlier not in READING:
            contestant.fill(group.batch(earlier, entries), earlier)
    return _Work(contestant, group, operation, entries)
