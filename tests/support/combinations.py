"""Which cases of tests with several parameters `--some-cases` tries: each value of each parameter, and a third of their combinations.

    @parametrize("form", F)          f1  f2  f3  f4
    @parametrize("type", T)    t1     x       .   .
                               t2     .   x   .   .     each row and each column has one; the rest of the third lies anywhere,
                               t3     .   .   x   x     in another place in each run

A test with one parameter keeps all its cases. Without the option all cases are tried.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

_SHARE = 3
_FEW = 4


def some_of(items: Sequence[pytest.Item], seed: int) -> set[pytest.Item]:
    """The cases to try, the same for the same seed."""
    tests: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        tests[item.nodeid.partition("[")[0]].append(item)
    return {kept for name, cases in tests.items() for kept in _some_cases(cases, random.Random(f"{seed} {name}"))}


def _some_cases(cases: list[pytest.Item], order: random.Random) -> list[pytest.Item]:
    values = {case: set(_values(case)) for case in cases}
    if len(cases) < _FEW or len({parameter for one in values.values() for parameter, _ in one}) < 2:
        return cases
    shuffled = order.sample(cases, len(cases))
    tried: set[Any] = set()
    kept = [case for case in shuffled if not values[case] <= tried and not tried.update(values[case])]
    rest = [case for case in shuffled if case not in kept]
    return kept + rest[: max(0, len(cases) // _SHARE - len(kept))]


def _values(item: pytest.Item) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Each parameter with its value here. Names that one mark gives values to are one parameter: they do not combine."""
    params: dict[str, Any] = dict(item.callspec.params) if hasattr(item, "callspec") else {}
    for names in [*map(_names, item.iter_markers("parametrize")), *((name,) for name in params)]:
        there = tuple(name for name in names if name in params)
        if there:
            yield there, tuple(id(params.pop(name)) for name in there)


def _names(mark: pytest.Mark) -> tuple[str, ...]:
    names = mark.args[0] if mark.args else mark.kwargs["argnames"]
    return tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else tuple(names)
