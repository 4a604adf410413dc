# SPDX-License-Identifier: Apache-2.0
"""The Rust crate: a driver of our own (benches/rust) that does what it is asked, an operation at a time, with its own clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from .contestant import Contestant, Work, WrongResult
from .work import Batch

SOURCE: Final = Path(__file__).parent / "rust"
NAME: Final = "Rust crate"


class NoCrate(Exception):
    """The driver cannot be built here."""


def build(program: str = "crate_bench") -> Path:
    """Build a program of `benches/rust` with cargo and return its path. Raises `NoCrate`."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise NoCrate("cargo is not installed")
    target = Path(os.environ.get("CARGO_TARGET_DIR", SOURCE / "target"))
    command = [
        cargo,
        "build",
        "--release",
        "--locked",
        "--bin",
        program,
        "--manifest-path",
        str(SOURCE / "Cargo.toml"),
        "--target-dir",
        str(target),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - cargo, on our own source
    if done.returncode:
        raise NoCrate(f"cargo failed:\n{done.stderr}")
    return target / "release" / program


def version() -> str:
    """Return the version of the crate that the driver is built with. It stands in its Cargo.toml only."""
    wanted: str = tomllib.loads((SOURCE / "Cargo.toml").read_text(encoding="utf-8"))["dependencies"]["ic-stable-structures"]
    return wanted.removeprefix("=")


class Crate(Contestant):
    """Its operations are those that the driver knows for the case."""

    name = NAME
    program: ClassVar[Path | None] = None
    """The driver, once it is built."""
    missing: ClassVar[str] = "not built yet"
    """Why there is none."""

    @classmethod
    def absent(cls) -> str | None:
        return None if cls.program else cls.missing

    def __init__(self, case: str, operations: tuple[str, ...]) -> None:
        self._case = case
        self._operations = operations
        self._driver: subprocess.Popen[str] | None = None

    def can(self, operation: str) -> bool:
        return operation in self._operations

    def fresh(self) -> None:
        self._start()
        self._order(["fresh"])

    def load_file(self, path: Path) -> None:
        """Load the structure from a file with an image of its memory."""
        self._start()
        self._order([f"load {path}"])

    def _start(self) -> None:
        if self._driver is None:
            if self.program is None:
                raise NoCrate("the driver is not built")
            command = [str(self.program), self._case, self.clock]
            self._driver = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own driver

    def _order(self, orders: list[str]) -> list[str]:
        """Send orders all at once, so that none waits for the reader of the one before it; return the answers."""
        if self._driver is None or self._driver.stdin is None or self._driver.stdout is None:
            raise NoCrate("the driver does not run")
        self._driver.stdin.write("".join(order + "\n" for order in orders))
        self._driver.stdin.flush()
        return [self._driver.stdout.readline() for _ in orders]

    def close(self) -> None:
        if self._driver is not None:
            self._driver.communicate()
            self._driver = None

    def prepare(self, operation: str, batch: Batch) -> Work:
        """For clocks other than the driver's own: they see the pipe too."""
        order = [f"{operation} {batch.order}"]
        return lambda: self._order(order)

    def check(self, operation: str, batch: Batch, result: Any) -> None:
        self._taken(operation, batch, result[0])

    def time(self, operation: str, batches: list[Batch]) -> float:
        answers = self._order([f"{operation} {batch.order}" for batch in batches])
        return sum(self._taken(operation, batch, answer) for batch, answer in zip(batches, answers, strict=True))

    def churn(self, first: str, second: str, batches: list[Batch]) -> tuple[float, float]:
        answers = self._order([f"{operation} {batch.order}" for batch in batches for operation in (first, second)])
        pairs = zip(batches, answers[::2], answers[1::2], strict=True)
        taken = [(self._taken(first, batch, one), self._taken(second, batch, two)) for batch, one, two in pairs]
        return sum(one for one, _ in taken), sum(two for _, two in taken)

    def _taken(self, operation: str, batch: Batch, answer: str) -> float:
        """Nanoseconds, after a look at the sum of the results."""
        if not answer:
            raise NoCrate(f"the driver ended at {operation} {batch.order}")
        taken, total = map(int, answer.split())
        expected = _SUMS.get((self._case, operation))
        if expected is not None and total != expected(batch):
            raise WrongResult(f"{self.name}: {operation} {batch.order} gave the sum {total}, not {expected(batch)}")
        return taken

    def digest(self) -> str | None:
        return self._order(["digest"])[0].strip()


def _values(batch: Batch) -> int:
    return int(batch.indices.sum(dtype=np.uint64))


def _keys(batch: Batch) -> int:
    return int(batch.numbers.sum(dtype=np.uint64))


def _first_bytes(batch: Batch) -> int:
    return int((batch.numbers & np.uint64(255)).sum())


_SUMS: Final[dict[tuple[str, str], Callable[[Batch], int]]] = {
    ("map_u64", "insert"): lambda _: 0,
    ("map_u64", "get"): _values,
    ("map_u64", "remove"): _values,
    ("map_bytes", "insert"): lambda _: 0,
    ("map_bytes", "get"): _first_bytes,
    ("map_bytes", "remove"): _first_bytes,
    ("set_u64", "insert"): len,
    ("set_u64", "contains"): len,
    ("set_u64", "remove"): len,
    ("vec_u64", "get"): _keys,
    ("log_bytes", "get"): _first_bytes,
}
