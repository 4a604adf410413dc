# SPDX-License-Identifier: Apache-2.0
"""A canister in the harness's own form: a counter that survives upgrades, with a history in a stable log."""

from stable_structures import StableLog, u64
from stable_structures.canister import Actor, ic, query, stable, update


class Counter(Actor):
    """Counts, and remembers each step."""

    value = stable(0)

    def __init__(self) -> None:
        self.history = StableLog[u64](ic.manager().get(1), ic.manager().get(2))

    @update
    def inc(self, by: int = 1) -> int:
        """Add `by`; nothing changes if that is too much."""
        self.value += by
        self.history.append(self.value)
        if self.value > 100:
            raise ValueError("that is too much")
        return self.value

    @query
    def steps(self) -> list[int]:
        """Every value that the counter had."""
        return list(self.history)
