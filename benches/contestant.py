# SPDX-License-Identifier: Apache-2.0
"""One side of a comparison: a structure, and its operations as loops that are made outside the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any, ClassVar, Final

from .work import Batch

Work = Callable[[], Any]
"""What is timed. What it gives is checked afterwards."""


CLOCKS: Final[dict[str, Callable[[], int]]] = {"wall": time.perf_counter_ns, "cpu": time.thread_time_ns}
"""cpu counts only while the thread runs: on a busy machine it leaves out what others take."""


class WrongResult(AssertionError):
    """A contestant did not do the work: its times do not count."""


class Contestant:
    """Each operation is a method that takes entries and returns the work to be timed; `fresh` comes first.

    `OPERATIONS` maps the names of the group's operations to those methods.
    """

    name: ClassVar[str]
    clock: ClassVar[str] = "wall"
    needs: ClassVar[str | None] = None
    """A package without which it stays away."""
    largest: ClassVar[int | None] = None
    """Entries beyond which filling it would take too long."""

    @classmethod
    def absent(cls) -> str | None:
        """Return why it cannot take part; None if it can."""
        if cls.needs is None or find_spec(cls.needs):
            return None
        return f"{cls.needs} is not installed"

    def can(self, operation: str) -> bool:
        return hasattr(self, operation)

    def fresh(self) -> None:
        """Replace the structure by a new, empty one."""
        raise NotImplementedError

    def close(self) -> None:
        """Return up what is not memory."""

    def prepare(self, operation: str, batch: Batch) -> Work:
        work: Work = getattr(self, operation)(batch)
        return work

    def time(self, operation: str, batches: list[Batch]) -> float:
        """Return the nanoseconds for an operation on each of the batches, one after the other; results are checked after that."""
        prepared = [self.prepare(operation, batch) for batch in batches]
        total, now = 0, CLOCKS[self.clock]
        for work, batch in zip(prepared, batches, strict=True):
            start = now()
            result = work()
            total += now() - start
            self.check(operation, batch, result)
        return total

    def churn(self, first: str, second: str, batches: list[Batch]) -> tuple[float, float]:
        """Return the nanoseconds for two operations that undo each other, on one batch after the other."""
        totals = [0.0, 0.0]
        for batch in batches:
            totals[0] += self.time(first, [batch])
            totals[1] += self.time(second, [batch])
        return totals[0], totals[1]

    def fill(self, batch: Batch, operation: str) -> None:
        """Bring entries in, outside the clock."""
        self.time(operation, [batch])

    def check(self, operation: str, batch: Batch, result: Any) -> None:
        """Raise `WrongResult` if the work did not give what it should. `get` returns the last value."""
        if operation in ("get", "replace") and result != batch.values[-1]:
            raise WrongResult(f"{self.name}: {operation} gave {result}, not {batch.values[-1]}")

    def digest(self) -> str | None:
        """SHA-256 of the memory and its pages; None for those that have other bytes."""
        return None

    def entries(self) -> Iterable[tuple[Any, Any]] | None:
        """Return what it holds, to be compared with what was put in; None if there is nothing to compare."""
        return None


def each(function: Callable[..., Any], *columns: Iterable[Any]) -> Work:
    """Return a plain loop of calls, as a program has it; return what the last call gave."""
    return _each_one(function, *columns) if len(columns) == 1 else _each_pair(function, *columns)


def _each_one(function: Callable[[Any], Any], items: Iterable[Any]) -> Work:
    def loop() -> Any:
        result = None
        for item in items:
            result = function(item)
        return result

    return loop


def _each_pair(function: Callable[[Any, Any], Any], firsts: Iterable[Any], seconds: Iterable[Any]) -> Work:
    def loop() -> Any:
        result = None
        for first, second in zip(firsts, seconds, strict=True):
            result = function(first, second)
        return result

    return loop


def assign(target: Any, keys: Iterable[Any], values: Iterable[Any]) -> Work:
    """`target[key] = value` for all."""

    def loop() -> None:
        for key, value in zip(keys, values, strict=True):
            target[key] = value

    return loop


def delete(target: Any, keys: Iterable[Any]) -> Work:
    """`del target[key]` for all."""

    def loop() -> None:
        for key in keys:
            del target[key]

    return loop


def repeat(function: Callable[[], Any], count: int) -> Work:
    """Return a call without arguments, `count` times; return what the last call gave."""

    def loop() -> Any:
        result = None
        for _ in range(count):
            result = function()
        return result

    return loop


def drain(iterable: Callable[[], Iterable[Any]]) -> Work:
    """Return a plain loop over everything; return the last."""

    def loop() -> Any:
        item = None
        for item in iterable():  # noqa: B007 - the last one is the result
            pass
        return item

    return loop
