# SPDX-License-Identifier: Apache-2.0
"""Threads on one memory: any mix of operations behaves as some serial order, iterators and callbacks included."""

from __future__ import annotations

import contextlib
import functools
import random
import signal
import sys
import threading
import time

import pytest

from stable_structures import (
    Closed,
    MemoryInUse,
    MemoryManager,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    Unbounded,
    u64,
)

from ..support.memories import ListMemory

THREADS = 8


@functools.total_ordering
class Slow:
    """A key that only Python can compare, so that the core calls back into the interpreter under its lock."""

    BOUND = Unbounded

    def __init__(self, text: str) -> None:
        self.text = text

    def to_bytes(self) -> bytes:
        return self.text.encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Slow:
        return cls(data.decode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slow) and self.text == other.text

    def __lt__(self, other: Slow) -> bool:
        return self.text < other.text

    def __hash__(self) -> int:
        return hash(self.text)


class Shared:
    """All structures, on one memory."""

    def __init__(self) -> None:
        self.memory = StableMemory()
        manager = MemoryManager(self.memory, bucket_pages=1)
        self.numbers = StableBTreeMap[u64, u64](manager.get(0))
        self.texts = StableBTreeMap[str, bytes](manager.get(1))
        self.slow = StableBTreeMap[Slow, u64](manager.get(2))
        self.words = StableBTreeSet[str](manager.get(3))
        self.vec = StableVec[u64](manager.get(4))
        self.heap = StableMinHeap[u64](manager.get(5))
        self.log = StableLog[bytes](manager.get(6), manager.get(7))
        self.cell = StableCell[bytes](manager.get(8), b"")
        self.structures = [self.numbers, self.texts, self.slow, self.words, self.vec, self.heap, self.log, self.cell]


class Worker(threading.Thread):
    """Random operations on keys of its own; its model says what every answer must be."""

    def __init__(self, shared: Shared, number: int, seed: int, until: float) -> None:
        super().__init__()
        self.shared, self.number, self.until = shared, number, until
        self.random = random.Random(f"{seed} {number}")
        self.numbers: dict[int, int] = {}
        self.texts: dict[str, bytes] = {}
        self.slow: dict[str, int] = {}
        self.logged: dict[int, bytes] = {}
        self.steps = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        moves = [self.number_move] * 6 + [self.text_move] * 3 + [self.slow_move, self.other_move, self.log_move, self.walk]
        try:
            while time.monotonic() < self.until:
                self.random.choice(moves)()
                self.steps += 1
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.error = error

    def number_move(self) -> None:
        key = self.random.randrange(300) * THREADS + self.number
        tree, model, value = self.shared.numbers, self.numbers, self.random.getrandbits(64)
        match self.random.randrange(4):
            case 0:
                assert tree.insert(key, value) == model.get(key)
                model[key] = value
            case 1:
                assert tree.remove(key) == model.pop(key, None)
            case 2:
                assert tree.get(key) == model.get(key)
            case _:
                assert tree.entry(key).update(lambda old: old // 2, default=value) == model.get(key, value) // 2
                model[key] = model.get(key, value) // 2

    def text_move(self) -> None:
        keys = [f"{self.random.randrange(100)}-{self.number}" for _ in range(5)]
        tree, model = self.shared.texts, self.texts
        if self.random.random() < 0.5:
            values = [self.random.randbytes(self.random.randrange(600)) for _ in keys]
            tree.insert_many(keys, values)
            model.update(zip(keys, values, strict=True))
        elif self.random.random() < 0.5:
            assert tree.get_many(keys) == [model.get(key) for key in keys]
        else:
            tree.remove_many(keys)
            for key in keys:
                model.pop(key, None)

    def slow_move(self) -> None:
        key = f"{self.random.randrange(40)}-{self.number}"
        assert self.shared.slow.insert(Slow(key), self.steps) == self.slow.get(key)
        self.slow[key] = self.steps

    def other_move(self) -> None:
        shared = self.shared
        assert shared.words.insert(f"{self.steps} {self.number}")
        assert shared.words.remove(f"{self.steps} {self.number}")
        shared.vec.push(self.steps)
        assert shared.vec.pop() is not None
        shared.heap.push(self.steps)
        assert shared.heap.pop() is not None
        text = b"%d" % self.number * self.random.randrange(1000)
        shared.cell.set(text)
        assert len(set(shared.cell.get())) <= 1

    def log_move(self) -> None:
        entry = b"%d %d" % (self.number, self.steps)
        self.logged[self.shared.log.append(entry)] = entry
        index = self.random.choice(list(self.logged))
        assert self.shared.log.get(index) == self.logged[index]

    def walk(self) -> None:
        """An iterator sees the map in order, or reports that it changed."""
        seen: list[int] = []
        with contextlib.suppress(RuntimeError):
            seen.extend(key for key, _ in self.shared.numbers.range(reverse=self.random.random() < 0.5))
        assert seen in (sorted(seen), sorted(seen, reverse=True))


def mix(seed: int, seconds: float) -> None:
    shared = Shared()
    workers = [Worker(shared, number, seed, time.monotonic() + seconds) for number in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for worker in workers:
        if worker.error is not None:
            raise AssertionError(f"thread {worker.number} after {worker.steps} steps, --seed={seed}") from worker.error
    expected = {key: value for worker in workers for key, value in worker.numbers.items()}
    assert dict(shared.numbers) == expected
    assert dict(shared.texts) == {key: value for worker in workers for key, value in worker.texts.items()}
    assert {key.text: value for key, value in shared.slow.items()} == {k: v for worker in workers for k, v in worker.slow.items()}
    assert len(shared.log) == sum(len(worker.logged) for worker in workers)
    for structure in shared.structures:
        structure.check()
    assert min(worker.steps for worker in workers) > 0


def test_a_mix_of_threads_is_a_serial_order(seed, duration):
    mix(seed, duration)


@pytest.mark.slow
def test_a_long_mix_of_threads_is_a_serial_order(seed, duration):
    mix(seed, duration)


def test_threads_on_several_memories_do_not_wait_for_each_other():
    """Comparisons of one memory may use another one: no lock is held across memories."""
    memories = [StableBTreeMap[u64, u64](StableMemory()) for _ in range(2)]

    @functools.total_ordering
    class Counting(Slow):
        target = memories[0]

        def __lt__(self, other: Slow) -> bool:
            self.target[len(self.text)] = len(other.text)
            return super().__lt__(other)

    def work(target: StableBTreeMap) -> None:
        Counting.target = target
        tree = StableBTreeMap[Counting, u64](StableMemory())
        for number in range(300):
            tree[Counting(str(number * 7919 % 1000))] = number
        tree.check()

    threads = [threading.Thread(target=work, args=(memory,)) for memory in memories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)


def test_closing_ends_the_work_of_threads():
    memory = StableMemory()
    tree = StableBTreeMap[u64, u64](memory)
    ended = []

    def work() -> None:
        try:
            for number in range(10**9):
                tree[number % 1000] = number
        except Closed:
            ended.append("closed")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(tree) < 900:
        time.sleep(0.001)
    memory.close()
    for thread in threads:
        thread.join(timeout=60)
    assert ended == ["closed"] * 4


def test_the_generator_of_a_loop_is_for_one_thread_and_loses_nothing_in_several():
    """Python's own error for a generator that is running; `range()` and `iter()` are the ones to share."""
    tree = StableBTreeMap[u64, u64](StableMemory())
    tree.insert_many(range(20_000), range(20_000))
    iterator, seen, lock = iter(tree), [], threading.Lock()

    def work() -> None:
        mine = []
        while True:
            try:
                mine.append(next(iterator))
            except StopIteration:
                break
            except ValueError as error:
                assert str(error) == "generator already executing"  # noqa: PT017 - now and then
                time.sleep(0)
        with lock:
            seen.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(seen) == list(range(20_000))


@pytest.mark.parametrize("make", [StableVec[u64], StableBTreeSet[u64], StableBTreeMap[u64, u64]], ids=["vec", "set", "map"])
def test_threads_that_share_an_iterator_get_each_item_once(make):
    interval = sys.getswitchinterval()
    structure = make(StableMemory())
    add = structure.extend if isinstance(structure, StableVec) else structure.insert_many
    add(*[range(20_000)] * (1 + isinstance(structure, StableBTreeMap)))
    iterator, seen = structure.keys_range() if isinstance(structure, StableBTreeMap) else structure.iter(), []

    def work() -> None:
        with contextlib.suppress(StopIteration):
            while True:
                seen.append(next(iterator))

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    finally:
        sys.setswitchinterval(interval)
    assert sorted(seen) == list(range(20_000))


@pytest.mark.parametrize("size", [20, 5000], ids=["small", "large"])
def test_a_signal_handler_that_uses_a_structure_leaves_other_answers_alone(size):
    tree, other = StableBTreeMap[bytes, bytes](StableMemory()), StableBTreeMap[bytes, bytes](StableMemory())
    tree[b"key"] = b"A" * size
    other[b"x"] = b"WRONG" * 10
    handled = []

    def handle(*_: object) -> None:
        handled.append(other[b"x"])
        other[b"y"] = b"gone"
        with contextlib.suppress(KeyError):  # a signal in here came first
            del other[b"y"]

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        while len(handled) < 300:
            assert tree[b"key"] == b"A" * size
            assert list(tree.items()) == [(b"key", b"A" * size)]
            assert tree.get_many([b"key"]) == [b"A" * size]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert set(handled) == {b"WRONG" * 10}


def test_threads_that_open_a_memory_written_in_python_do_not_get_two_structures():
    """The memory has one wrapper, whoever asks for it first."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(300):
            memory, opened, barrier = ListMemory(), [], threading.Barrier(2)

            def open_it(memory=memory, opened=opened, barrier=barrier) -> None:
                barrier.wait()
                with contextlib.suppress(MemoryInUse):
                    opened.append(StableVec[u64](memory))

            threads = [threading.Thread(target=open_it) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(opened) == 1
    finally:
        sys.setswitchinterval(before)
