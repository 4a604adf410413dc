# SPDX-License-Identifier: Apache-2.0
"""What all contestants work on: entry i has key i of a splitmix64 stream and value i (benches/rust/src/stream.rs has the same)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

KEY_SEED: Final = 42
PICK_SEED: Final = 43
GAMMA: Final = 0x9E37_79B9_7F4A_7C15
WIDE_KEY: Final = 32
WIDE_VALUE: Final = 128
WIDE_FILL: Final = b"\x07"
MANAGED_ID: Final = 7

Numbers = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Sizes:
    """Entries of each structure in the tables, and sizes of the plots; `rounds` times over."""

    map: int = 1_000_000
    wide: int = 250_000
    peers: int = 200_000
    vec: int = 1_000_000
    heap: int = 1_000_000
    log: int = 200_000
    cell: int = 200_000
    sweep: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
    least: int = 20_000
    """Operations of a sweep for one time, so that the clock's own part is small."""
    commits: int = 200
    rollbacks: tuple[int, ...] = (100, 10_000)
    """Pages of the memories in which a transaction is rolled back."""
    inserts: int = 100_000
    """By a canister in one message."""
    rehearsed: int = 1_000_000
    """Entries of the canister whose upgrade is rehearsed."""
    work: int = 200_000
    """Rows of the program's work."""
    large_heap: int = 1_023
    """MiB."""
    rounds: int = 5


FULL: Final = Sizes()
QUICK: Final = Sizes(
    map=2_000,
    wide=500,
    peers=500,
    vec=2_000,
    heap=1_000,
    log=200,
    cell=200,
    sweep=(100, 1_000),
    least=200,
    commits=2,
    rollbacks=(100,),
    inserts=1_000,
    rehearsed=1_000,
    work=400,
    large_heap=16,
    rounds=2,
)

PEERS_UP_TO: Final = 1_000_000
"""Larger sizes would take the peers minutes to fill; only we, the crate and dict or list go on."""


def splitmix(seed: int, i: Numbers) -> Numbers:
    """Output i of the splitmix64 stream from `seed`."""
    z = np.uint64(seed) + (i + np.uint64(1)) * np.uint64(GAMMA)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return z ^ (z >> np.uint64(31))


class Batch:
    """Some entries, in every form that a contestant takes. Each form is made once, outside the clock."""

    def __init__(self, order: str, indices: Numbers) -> None:
        self.order = order
        """These entries as the Rust driver gets them."""
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def numbers(self) -> Numbers:
        return splitmix(KEY_SEED, self.indices)

    @cached_property
    def keys(self) -> list[Any]:
        return list(self.numbers.tolist())

    @cached_property
    def values(self) -> list[Any]:
        return list(self.indices.tolist())

    @property
    def key_column(self) -> Any:
        """Return the keys as bulk operations take them."""
        return self.numbers

    @property
    def value_column(self) -> Any:
        return self.indices

    @cached_property
    def signed_keys(self) -> list[int]:
        """In the same order, for what has no unsigned numbers."""
        return list((self.numbers ^ np.uint64(1 << 63)).view(np.int64).tolist())

    @cached_property
    def raw_keys(self) -> list[bytes]:
        return _pieces(self.numbers.astype(">u8").tobytes(), 8)

    @cached_property
    def raw_values(self) -> list[bytes]:
        return _pieces(self.indices.astype(">u8").tobytes(), 8)


class WideBatch(Batch):
    """The same entries with keys of 32 and values of 128 bytes."""

    @cached_property
    def keys(self) -> list[Any]:
        return [key.ljust(WIDE_KEY, WIDE_FILL) for key in self.raw_keys]

    @cached_property
    def values(self) -> list[Any]:
        return [key[7:8] * WIDE_VALUE for key in self.raw_keys]

    @property
    def key_column(self) -> Any:
        return self.keys

    @property
    def value_column(self) -> Any:
        return self.values


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def run(lo: int, hi: int, form: type[Batch] = Batch) -> Batch:
    """Entries lo..hi in the order of the stream."""
    return form(f"run {lo} {hi}", np.arange(lo, hi, dtype=np.uint64))


def pick(lo: int, hi: int, n: int, form: type[Batch] = Batch) -> Batch:
    """Pick lo..hi at random out of the first n entries."""
    return form(f"pick {lo} {hi} {n}", splitmix(PICK_SEED, np.arange(lo, hi, dtype=np.uint64)) % np.uint64(n))
