# SPDX-License-Identifier: Apache-2.0
"""Python's own containers, for scale: they keep nothing, and no bytes that anybody else could read."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from functools import partial
from typing import Any

from .contestant import Contestant, Work, assign, delete, drain, each, repeat
from .work import Batch


class Dict(Contestant):
    name = "dict"

    def fresh(self) -> None:
        self.held: dict[Any, Any] = {}

    def insert(self, batch: Batch) -> Work:
        return assign(self.held, batch.keys, batch.values)

    set = insert

    def get(self, batch: Batch) -> Work:
        return each(self.held.get, batch.keys)

    def iterate(self, _: Batch) -> Work:
        return drain(self.held.items)

    def remove(self, batch: Batch) -> Work:
        return delete(self.held, batch.keys)

    def entries(self) -> Iterable[tuple[Any, Any]]:
        return sorted(self.held.items())


class HashSet(Contestant):
    name = "set"

    def fresh(self) -> None:
        self.held: set[Any] = set()

    def insert(self, batch: Batch) -> Work:
        return each(self.held.add, batch.keys)

    def contains(self, batch: Batch) -> Work:
        return each(self.held.__contains__, batch.keys)

    def iterate(self, _: Batch) -> Work:
        return drain(self.held.__iter__)

    def remove(self, batch: Batch) -> Work:
        return each(self.held.remove, batch.keys)


class List(Contestant):
    name = "list"

    def fresh(self) -> None:
        self.held: list[Any] = []

    def push(self, batch: Batch) -> Work:
        return each(self.held.append, batch.keys)

    def append(self, batch: Batch) -> Work:
        return each(self.held.append, batch.values)

    def get(self, batch: Batch) -> Work:
        return each(self.held.__getitem__, batch.indices.tolist())

    def set(self, batch: Batch) -> Work:
        return assign(self.held, batch.values, batch.values)

    def iterate(self, _: Batch) -> Work:
        return drain(self.held.__iter__)

    def pop(self, batch: Batch) -> Work:
        return repeat(self.held.pop, len(batch))

    def check(self, operation: str, batch: Batch, result: Any) -> None:
        """Check nothing: a list cannot be wrong."""


class Heapq(List):
    name = "heapq"

    def push(self, batch: Batch) -> Work:
        return each(partial(heapq.heappush, self.held), batch.keys)

    def pop(self, batch: Batch) -> Work:
        return repeat(partial(heapq.heappop, self.held), len(batch))
