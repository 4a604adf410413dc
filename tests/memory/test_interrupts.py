# SPDX-License-Identifier: Apache-2.0
"""Exceptions of signal handlers, at any moment: either it happened or nothing is open, and no wait is deaf to them."""

from __future__ import annotations

import asyncio
import contextlib
import dis
import gc
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING

import pytest

from stable_structures import (
    IncompatibleType,
    MemoryInUse,
    MemoryManager,
    RestrictedMemory,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    u64,
)
from stable_structures import _native as native
from stable_structures.upgrade import backup, restore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SOON = 0.3
"""More than the 0.1 seconds within which a wait hears a signal, by what a busy machine adds."""


class Alarm(Exception):
    """What the handler raises."""


class Bell:
    """A handler that raises while it is armed."""

    armed = False

    @classmethod
    def ring(cls, *_: object) -> None:
        if cls.armed:
            raise Alarm

    @classmethod
    def during(cls, action: Callable[[], object], seconds: float) -> BaseException | None:
        """Calls it, with an alarm after so many seconds; what came out, whose traceback keeps all frames."""
        cls.armed = True
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            action()
        except Alarm as error:
            cls.armed = False
            return error
        finally:
            cls.armed = False
        return None


@pytest.fixture(autouse=True)
def bell() -> Iterator[type[Bell]]:
    before = signal.signal(signal.SIGALRM, Bell.ring)
    yield Bell
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def has_transaction(memory: StableMemory) -> bool:
    """Whether this thread has one open; asked without ending or beginning any."""
    return native.call.ss_transaction_changed(memory._handle) >= 0


# ---- a storm ----


class Storm:
    """Rounds of one action each that an alarm may cut short; after each nothing is open that nobody has."""

    def __init__(self, seed: int, path: Path) -> None:
        self.random = random.Random(seed)
        self.path = path
        self.memory = StableMemory()
        self.map = StableBTreeMap[u64, u64](self.memory)
        self.other = StableMemory()
        self.data = StableMemory()
        self.rows = StableBTreeMap[u64, u64](StableMemory())
        self.rows.update({i: i for i in range(300)})
        self.rounds = self.cut = self.number = 0
        self.made: list[StableMemory] = []
        light = [self.block, self.ended, self.ended_by_memory, self.nested, self.bulk, self.iterate, self.lease]
        self.actions = 30 * [*light, self.structure, self.structure] + [self.open_file]

    def run(self, until: float) -> None:
        while time.monotonic() < until:
            self.round()

    def round(self) -> None:
        self.rounds += 1
        self.number = self.random.getrandbits(32)
        self.random.choice(self.actions)()

    def strike(self, action: Callable[[], object], longest: float = 3e-5) -> BaseException | None:
        error = Bell.during(action, self.random.uniform(1e-6, longest))
        self.cut += error is not None
        assert not has_transaction(self.memory)
        return error

    def twice(self) -> None:
        self.map[1] = self.number
        self.map[2] = self.number

    def block(self) -> None:
        def action() -> None:
            with self.memory.transaction():
                self.twice()

        error = self.strike(action)
        assert self.map.get(1) == self.map.get(2)
        if error is None:
            assert self.map.get(1) == self.number

    def ended(self) -> None:
        def action() -> None:
            with self.memory.transaction() as transaction:
                self.twice()
                (transaction.commit if self.number % 2 else transaction.rollback)()

        error = self.strike(action)  # held on to, as its frames hold on to what they know
        assert self.map.get(1) == self.map.get(2), error

    def ended_by_memory(self) -> None:
        def action() -> None:
            with self.memory.transaction():
                self.twice()
                (self.memory.commit if self.number % 2 else self.memory.rollback)()

        error = self.strike(action)
        assert self.map.get(1) == self.map.get(2), error

    def nested(self) -> None:
        def action() -> None:
            with self.memory.transaction(), contextlib.suppress(MemoryInUse), self.memory.transaction():
                pass

        self.strike(action)

    def bulk(self) -> None:
        keys = range(self.number % 1000, self.number % 1000 + 50)
        tree = StableBTreeMap[u64, u64].new(self.other)
        error = self.strike(lambda: tree.insert_many(keys, keys), 2e-4)
        assert len(tree) in (0, 50), error
        tree.into_memory()

    def iterate(self) -> None:
        """What an iterator gives has no gap; after an exception in its midst it may end with an error."""
        seen: list[int] = []
        iterator = self.rows.keys_range()
        step = iterator.__next__ if self.number % 2 else iterator.next_back
        last = None

        def action() -> None:
            nonlocal last
            while True:
                last = None
                last = step()
                seen.append(last)

        with contextlib.suppress(StopIteration):
            self.strike(action, 1e-3)
        with contextlib.suppress(StopIteration, RuntimeError):
            following = step()
            # the one that was under way may be lost, as the value of a function that is interrupted when it returns
            assert abs(following - (seen[-1] if seen else (-1 if self.number % 2 else 300))) <= 2

    def lease(self) -> None:
        StableBTreeMap[u64, u64].new(self.other).clear()
        self.other = StableMemory()
        error = None
        with contextlib.suppress(IncompatibleType):  # cbor2 makes an error of its own of what a handler raises in it
            error = self.strike(lambda: backup(self.other, [1]), 2e-4)
        StableVec[u64].new(self.other).into_memory()
        assert error is None or self.other.size() <= 1

    def structure(self) -> None:
        kind = self.random.choice([StableBTreeMap[u64, u64], StableBTreeSet[u64], StableVec[u64], StableMinHeap[u64], MemoryManager])
        actions = [
            lambda: kind.new(self.other),
            lambda: kind(self.other),
            lambda: StableCell[u64](self.data, 7),
            lambda: StableLog[u64](self.other, self.data),
        ]
        kind.new(self.other).into_memory()
        StableLog[u64].new(RestrictedMemory(self.data, range(1, 2)), RestrictedMemory(self.data, range(2, 3))).into_memories()
        choice = self.random.randrange(4)
        if choice == 3:
            StableLog[u64].new(self.other, self.data).into_memories()
        elif choice == 2:
            StableCell[u64].new(self.data, 7).into_memory()
        error = self.strike(actions[choice], 6e-5)
        StableVec[u64].new(self.other).into_memory()
        assert StableVec[u64].new(self.data).into_memory() is self.data, error

    def open_file(self) -> None:
        durability = self.random.choice(["none", "normal", "full"])

        def action() -> None:
            self.made.append(StableMemory.open(self.path, durability=durability))

        error = self.strike(action, 1e-3)
        while self.made:
            self.made.pop().close()
        memory = StableMemory.open(self.path, durability=durability)
        error = error or self.strike(memory.close, 1e-3)
        memory.close()
        StableMemory.open(self.path).close()
        assert error is None or isinstance(error, Alarm)


def storm(seed: int, path: Path, seconds: float) -> Storm:
    rounds = Storm(seed, path)
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None  # that of pytest keeps frames, and what they know
    try:
        rounds.run(time.monotonic() + seconds)
    except BaseException as error:
        raise AssertionError(f"round {rounds.rounds}, --seed={seed}") from error
    finally:
        gc.collect()
        sys.unraisablehook = hook
    return rounds


def test_alarms_leave_nothing_open(seed, tmp_path, duration):
    done = storm(seed, tmp_path / "state.bin", 1.5 * duration)
    assert done.cut > done.rounds / 20


@pytest.mark.slow
def test_alarms_leave_nothing_open_for_long(seed, tmp_path, duration):
    done = storm(seed, tmp_path / "state.bin", duration)
    assert done.cut > done.rounds / 20


# ---- each step of a block ----


def steps(function: Callable[[], object], stop_at: int) -> tuple[bool, BaseException | None]:
    """Calls it, and raises at a step of the library's own code where the interpreter runs handlers; whether there was such a step.

    It runs them when a function begins, when a call has returned, and when a loop goes round.
    """
    count = 0
    last: dict[object, str] = {}

    def trace(frame, event, _argument):
        nonlocal count
        code = frame.f_code
        if event == "return":
            last.pop(frame.f_back, None)  # after the call of a function in Python none are run
        if "/stable_structures/" not in code.co_filename:
            return trace
        frame.f_trace_opcodes = True
        before, last[frame] = last.get(frame, ""), dis.opname[code.co_code[frame.f_lasti]] if event == "opcode" else ""
        # what a call raises is raised at the call, which may be in a `try` that the return after it is not in
        if event == "call" or (before.startswith(("CALL", "JUMP_BACKWARD", "SEND")) and last[frame] not in ("", "RETURN_VALUE")):
            count += 1
            if count == stop_at:
                last.clear()
                sys.settrace(None)
                raise Alarm
        return trace

    error = None
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except Alarm as raised:
        error = raised
    finally:
        sys.settrace(before)
    return count >= stop_at, error


def each_step(function: Callable[[], object], verify: Callable[[BaseException | None], None]) -> int:
    number = 1
    while (result := steps(function, number))[0]:
        verify(result[1])
        number += 1
    return number


def test_an_exception_before_any_step_of_a_block_leaves_no_transaction():
    memory = StableMemory()
    tree = StableBTreeMap[u64, u64](memory)
    values = iter(range(10**6))

    def block() -> None:
        value = next(values)
        with memory.transaction():
            tree[1] = value
            tree[2] = value

    def verify(error: BaseException | None) -> None:
        assert not has_transaction(memory), error
        assert tree.get(1) == tree.get(2), error

    assert each_step(block, verify) > 20


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("by_memory", [False, True])
def test_an_exception_before_any_step_of_an_early_end(end, by_memory):
    memory = StableMemory()
    memory.grow(1)

    def block() -> None:
        with memory.transaction() as transaction:
            memory.write(0, b"a")
            getattr(memory if by_memory else transaction, end)()

    def verify(error: BaseException | None) -> None:
        assert not has_transaction(memory), error

    assert each_step(block, verify) > 20


def test_an_exception_before_any_step_of_a_constructor_leaves_the_memory_free():
    memory = StableMemory()
    StableVec[u64].new(memory).into_memory()

    def verify(error: BaseException | None) -> None:
        assert StableVec[u64].load(memory).into_memory() is memory, error

    def make() -> None:
        made = StableVec[u64](memory)
        del made

    assert each_step(make, verify) > 20


def test_an_exception_before_any_step_of_open_leaves_the_file_free(tmp_path):
    path = tmp_path / "state.bin"

    def make() -> None:
        memory = StableMemory.open(path, durability="none")
        del memory

    def verify(error: BaseException | None) -> None:
        StableMemory.open(path, durability="none").close()
        del error

    assert each_step(make, verify) > 20


def test_an_exception_in_the_midst_of_a_batch_loses_no_item():
    tree = StableBTreeMap[u64, u64](StableMemory())
    tree.update({i: i for i in range(100)})
    for number in range(1, 200):
        iterator = tree.keys_range()
        found, _ = steps(iterator.__next__, number)
        if not found:
            break
        with contextlib.suppress(RuntimeError):  # it says that it was cut short
            assert next(iterator) in (0, 1)


# ---- waiting ----


@contextlib.contextmanager
def held_by_another_thread(memory: StableMemory, seconds: float = 20) -> Iterator[None]:
    """A transaction of another thread is open."""
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        with memory.transaction():
            begun.set()
            end.wait(seconds)

    thread = threading.Thread(target=hold, name="holder")
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        end.set()
        thread.join()


def test_a_wait_hears_an_alarm_and_then_does_nothing(bell):
    memory = StableMemory()
    tree, vec = StableBTreeMap[u64, u64](memory), None
    manager = MemoryManager(StableMemory())
    vec, texts = StableVec[u64](manager.get(0)), StableBTreeMap[str, str](manager.get(1))
    for under, actions in (
        (memory, [lambda: tree.insert(1, 1), lambda: tree.get(1), lambda: len(tree), lambda: memory.grow(1), memory.close,
                  lambda: memory.transaction().__enter__(), lambda: tree.insert_many([1], [1]), memory.size]),
        (manager.memory, [lambda: vec.push(1), lambda: texts.insert("a", "b"), lambda: manager.get(7), lambda: list(vec), texts.check]),
    ):  # fmt: skip
        with held_by_another_thread(under):
            for action in actions:
                start = time.monotonic()
                assert isinstance(bell.during(action, 0.05), Alarm)
                assert time.monotonic() - start < 0.05 + SOON
        assert not has_transaction(under)
    assert (dict(tree), memory.size(), len(vec), len(texts)) == ({}, 1, 0, 0)


def test_a_handler_that_does_not_raise_does_not_end_a_wait():
    memory = StableMemory()
    tree = StableBTreeMap[u64, u64](memory)
    heard = []
    signal.signal(signal.SIGALRM, lambda *_: heard.append(time.monotonic()))
    start = time.monotonic()
    with held_by_another_thread(memory, 0.4):
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        tree[1] = 1
    assert heard[0] - start < 0.05 + SOON
    assert dict(tree) == {1: 1}


def test_a_handler_may_use_the_memory_that_the_interrupted_operation_waits_for():
    memory, other = StableMemory(), StableMemory()
    memory.grow(1)
    found: list[object] = []

    def look(*_: object) -> None:
        found.append(other.size())
        found.append(repr(memory))

    signal.signal(signal.SIGALRM, look)
    with held_by_another_thread(memory, 0.2):
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        memory.write(0, b"a")
    assert found[0] == 0
    assert "StableMemory" in str(found[1])


def test_a_reader_and_a_writer_that_wait_for_each_others_file_hear_an_alarm(bell, tmp_path):
    path = tmp_path / "state.bin"
    with StableMemory.open(path) as memory:
        memory.grow(1)
        memory.checkpoint()
        with StableMemory.open(path, "r") as reader, reader.transaction():
            memory.write(0, b"a")
            start = time.monotonic()
            assert isinstance(bell.during(memory.checkpoint, 0.05), Alarm)
            assert time.monotonic() - start < 0.05 + SOON
        assert memory.read(0, 1) == b"a"
        memory.checkpoint()
    assert path.read_bytes()[:1] == b"a"


def test_a_file_whose_close_is_interrupted_is_closed_and_loses_nothing(bell, tmp_path):
    path = tmp_path / "state.bin"
    memory = StableMemory.open(path)
    memory.grow(1)
    memory.checkpoint()
    reader = StableMemory.open(path, "r")
    with reader.transaction():
        memory.write(0, b"a")
        start = time.monotonic()
        assert isinstance(bell.during(memory.close, 0.05), Alarm)
        assert time.monotonic() - start < 0.05 + SOON
    reader.close()
    with StableMemory.open(path) as again:
        assert again.read(0, 1) == b"a"


def test_the_error_of_a_wait_names_the_thread(tmp_path):
    with (
        StableMemory.open(tmp_path / "state.bin", patience=0.05) as memory,
        held_by_another_thread(memory),
        pytest.raises(MemoryInUse, match="held by thread 'holder'"),
    ):
        memory.size()


PROGRAM = """
    import sys, threading, time
    from stable_structures import *
    memory = StableMemory.open(sys.argv[1]) if len(sys.argv) > 1 else StableMemory()
    tree = StableBTreeMap[u64, u64](memory)
    tree[1] = 1
    begun = threading.Event()
    def hold():
        with memory.transaction():
            tree[2] = 2
            begun.set()
            time.sleep(60)
    threading.Thread(target=hold, daemon=True).start()
    begun.wait()
"""


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("file", [False, True])
def test_a_daemon_in_a_transaction_does_not_delay_the_end_of_the_process(tmp_path, file, waits):
    more = "threading.Thread(target=tree.clear, daemon=True).start(); time.sleep(0.1)\n" if waits else ""
    path = tmp_path / "state.bin"
    start = time.monotonic()
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM) + more, *([str(path)] if file else [])]
    subprocess.run(command, check=True, timeout=60, stderr=subprocess.DEVNULL)
    assert time.monotonic() - start < 10
    if file:
        assert not path.with_name("state.bin-wal").exists()
        with StableMemory.open(path) as memory:
            assert dict(StableBTreeMap[u64, u64](memory)) == {1: 1}


def test_a_backup_that_is_cut_short_leaves_the_memory_free(bell, monkeypatch):
    memory = StableMemory()
    backup(memory, [1, 2])
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # temporary files of Python that are cut short as they are made
    for _ in range(50):
        with contextlib.suppress(IncompatibleType):  # of cbor2, as above
            bell.during(lambda: backup(memory, list(range(1000))), random.uniform(1e-5, 1e-3))
        backup(memory, [3])
        assert restore(memory) == [3]
    gc.collect()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_before_any_step_of_a_turn_stands_in_nobodys_way():
    memory = StableMemory()
    tree = StableBTreeMap[u64, u64](memory)

    async def change(key: int) -> None:
        async with memory.transaction():
            await asyncio.sleep(0)
            tree[key] = key

    async def several() -> None:
        await asyncio.gather(change(1), change(2), change(3))

    def turns() -> None:
        asyncio.run(several())

    def verify(error: BaseException | None) -> None:
        assert not has_transaction(memory), error
        asyncio.run(asyncio.wait_for(change(4), 2))
        with memory.transaction():  # its end wakes those who wait
            tree[5] = 5

    assert each_step(turns, verify) > 60
