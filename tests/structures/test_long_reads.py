# SPDX-License-Identifier: Apache-2.0
"""Long reads in several threads beside a writer: each sees one committed state, whatever goes on."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stable_structures import Bounded, MemoryInUse, MemoryManager, StableBTreeMap, StableBTreeSet, StableMemory, StableVec, u64

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRIES = 500
KEYS = np.arange(ENTRIES, dtype=np.uint64)


@pytest.fixture(params=["anonymous", "none", "normal", "full"])
def memory(request, tmp_path):
    with StableMemory() if request.param == "anonymous" else StableMemory.open(tmp_path / "m", durability=request.param) as memory:
        yield memory


class Shared:
    """A map, a map of bytes, a set and a vec: all values of a state are its number, which only grows."""

    def __init__(self, memory: StableMemory) -> None:
        parts = MemoryManager(memory, 1)
        self.memory, self.beside = memory, parts.get(9)
        self.numbers = StableBTreeMap[u64, u64](parts.get(0))
        self.texts = StableBTreeMap[u64, bytes](parts.get(1))
        self.keys = StableBTreeSet[u64](parts.get(2))
        self.row = StableVec[u64](parts.get(3))
        self.row.extend([0] * ENTRIES)
        self.keys.insert_many(KEYS)
        self.put(0)

    def put(self, number: int) -> None:
        self.numbers.insert_many(KEYS, np.full(ENTRIES, number, dtype=np.uint64))
        for key in range(0, ENTRIES, 50):
            self.texts[key] = b"%d" % number * (1 + key)
        for key in range(ENTRIES):
            self.row[key] = number


def numbers_of(shared: Shared, what: int) -> set[int]:
    """Reads everything in one long call."""
    match what % 6:
        case 0:
            values, found = shared.numbers.get_many(KEYS)
            assert found.all()
            return set(values.tolist())
        case 1:
            keys, values = shared.numbers.to_numpy()
            assert (keys == KEYS).all()
            return set(values.tolist())
        case 2:
            return set(shared.row.to_numpy().tolist())
        case 3:
            return {int(value[: len(value) // (1 + key)]) for key, value in list(shared.texts.items())}
        case 4:
            found = shared.texts.get_many(np.arange(0, ENTRIES, 50, dtype=np.uint64))
            return {int(value[: len(value) // (1 + 50 * i)]) for i, value in enumerate(found)}
        case _:
            assert not shared.numbers.violations()
            shared.texts.check()
            return {shared.numbers[3]}


def read_until(shared: Shared, over: threading.Event, first: int) -> int:
    last, rounds = 0, 0
    while not over.is_set() or rounds < 6:
        try:
            numbers = numbers_of(shared, first + rounds)
        except RuntimeError as error:  # a commit came between the beginning of a loop and its end
            assert "changed during iteration" in str(error)  # noqa: PT017 - each other error is one
            rounds += 1
            continue
        assert len(numbers) == 1
        (number,) = numbers
        assert number >= last
        last, rounds = number, rounds + 1
    return rounds


def test_long_reads_beside_a_writer(memory):
    shared, over = Shared(memory), threading.Event()
    with ThreadPoolExecutor(3) as pool:
        reads = [pool.submit(read_until, shared, over, first) for first in range(3)]
        for number in range(1, 13):
            with memory.transaction() as transaction:
                shared.beside.grow(1)  # the tables of the manager move
                shared.put(number if number % 4 else 10**6)
                if number % 4 == 0:
                    transaction.rollback()
        over.set()
        assert all(read.result() >= 6 for read in reads)
    shared.numbers.check()
    assert numbers_of(shared, 0) == {11}


class Word:
    """A number whose order is a function of the user."""

    BOUND = Bounded(2, is_fixed_size=True)
    compared: Callable[[], None] | None = None

    def __init__(self, number: int) -> None:
        self.number = number

    def to_bytes(self) -> bytes:
        return self.number.to_bytes(2, "little")

    @staticmethod
    def from_bytes(data: bytes) -> Word:
        return Word(int.from_bytes(data, "little"))

    def __lt__(self, other: Word) -> bool:
        if Word.compared is not None:
            Word.compared()
        return self.number < other.number


def test_an_order_of_the_user_keeps_the_lock(monkeypatch):
    entries = StableBTreeMap[Word, u64](StableMemory())
    entries.update((Word(number), number) for number in range(200))
    refused = []

    def use_the_map() -> None:
        with pytest.raises(MemoryInUse):
            entries.clear()
        refused.append(None)

    monkeypatch.setattr(Word, "compared", staticmethod(use_the_map))
    values, found = entries.get_many([Word(number) for number in range(200)])
    assert values.tolist() == list(range(200))
    assert found.all()
    entries.check()
    assert len(refused) > 400
