# SPDX-License-Identifier: Apache-2.0
"""Readers in other processes: each state that they see was committed, none is torn, and none is older than the one before."""

from __future__ import annotations

import random
import textwrap
import time

import pytest

from stable_structures import MemoryInUse, StableBTreeMap, StableMemory, u64

from ..support import command

CELLS = 20
HEAD = f"import os, sys, random\nfrom stable_structures import *\npath = sys.argv[1]\nCELLS = {CELLS}\n"

WRITER = """
seed, durability = int(sys.argv[2]), sys.argv[3]
rng = random.Random(seed)
memory = StableMemory.open(path, durability=durability)
entries = StableBTreeMap[u64, u64](memory)
number = entries.get(0, 0)
print(number, flush=True)
while True:
    number += 1
    with memory.transaction() as transaction:
        for cell in rng.sample(range(CELLS), CELLS):
            entries[cell] = number
        entries[1000 + number] = number
        if rng.random() < 0.1:
            transaction.rollback()
            number -= 1
    print(number, flush=True)
    if rng.random() < 0.01:
        memory.checkpoint()
"""

READER = """
memory = StableMemory.open(path, "r")
last = 0
print("open", flush=True)
while not os.path.exists(sys.argv[2]):
    with memory.transaction():
        try:
            entries = StableBTreeMap[u64, u64].load(memory)
        except (BadMagic, CorruptMemory) as error:
            assert last == 0, error
            continue
        found = list(entries.items())
        entries.into_memory()
    numbers = {value for key, value in found if key < CELLS} or {0}
    assert len(numbers) == 1, numbers
    (number,) = numbers
    assert [key - 1000 for key, _ in found if key >= 1000] == list(range(1, number + 1))
    assert number >= last, (number, last)
    last = number
print(last)
"""


def start(code: str, *arguments: object) -> command.Process:
    return command.Process(arguments, code=HEAD + textwrap.dedent(code))


def numbers_of_a_killed(writer: command.Process, after: float) -> tuple[int, int]:
    """Kills the writer so many seconds after its start; returns the numbers that it began and ended with."""
    found = writer.line()
    time.sleep(after)
    with writer:
        writer.kill()
        out, err = (data.decode() for data in writer.communicate())
    assert not err, err
    *lines, _ = out.split("\n")  # the last one may be torn
    return int(found), int(lines[-1] if lines else found)


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_readers_see_committed_states_while_writers_are_killed(durability, tmp_path, seed):
    folder, end, rng = tmp_path / "state", tmp_path / "end", random.Random(seed)
    folder.mkdir()
    path = folder / "state.bin"
    path.touch()  # the readers are there before the first writer, and before its first checkpoint
    with start(READER, path, end) as one, start(READER, path, end) as other:
        readers, acknowledged = (one, other), 0
        assert [reader.line() for reader in readers] == ["open"] * 2
        for _ in range(3):
            found, last = numbers_of_a_killed(start(WRITER, path, rng.randrange(1000), durability), 0.05 + rng.random() * 0.3)
            assert found in (acknowledged, acknowledged + 1)
            acknowledged = last
        end.touch()
        for reader in readers:
            out, err = reader.communicate(timeout=60)
            assert reader.returncode == 0, err
            assert int(out) in range(acknowledged + 2)
    with StableMemory.open(path) as memory:
        assert StableBTreeMap[u64, u64].load(memory).get(0) in (acknowledged, acknowledged + 1)
    assert list(folder.iterdir()) == [path]


def test_each_commit_is_seen_at_once_before_the_first_checkpoint(tmp_path):
    path = tmp_path / "state.bin"
    with StableMemory.open(path) as writer, StableMemory.open(path, "r") as reader:
        entries = StableBTreeMap[u64, u64](writer)
        seen = StableBTreeMap[u64, u64].load(reader)
        for key in range(300):
            entries[key] = key * key
            assert seen[key] == key * key
            assert len(seen) == key + 1
        with writer.transaction():
            entries[1000] = 1
            assert 1000 not in seen
        assert seen[1000] == 1
        seen.check()
        assert path.stat().st_size == 0
    assert path.stat().st_size > 0


def test_a_loop_goes_on_while_nothing_is_committed_and_ends_when_something_is(tmp_path):
    path = tmp_path / "state.bin"
    with StableMemory.open(path) as writer, StableMemory.open(path, "r") as reader:
        entries = StableBTreeMap[u64, u64](writer)
        entries.update(zip(range(5000), range(5000), strict=True))
        seen = StableBTreeMap[u64, u64].load(reader)
        assert list(seen) == list(range(5000))
        loop = iter(seen)
        assert next(loop) == 0
        entries[7] = 8
        with pytest.raises(RuntimeError, match="transaction"):
            list(loop)
        assert seen[7] == 8


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_a_loop_in_a_transaction_reads_the_state_of_its_beginning_and_stops_nobody(durability, tmp_path):
    path = tmp_path / "state.bin"
    with StableMemory.open(path, durability=durability) as writer, StableMemory.open(path, "r") as reader:
        entries = StableBTreeMap[u64, u64](writer)
        entries.update(zip(range(300), range(300), strict=True))
        with reader.transaction():
            seen = StableBTreeMap[u64, u64].load(reader)
            for key, value in seen.items():
                assert value == key
                entries[key] = value + 1
                entries[1000 + key] = 0
            assert len(seen) == 300
            seen.check()
        if durability == "full":
            entries[1000] = 1  # the next commit finds the file free, and puts all of them into it
        assert len(seen) == 600
        assert [seen[key] for key in range(300)] == list(range(1, 301))


def test_a_reader_that_stays_too_long_is_told_so_and_the_writer_is_not(tmp_path):
    path = tmp_path / "state.bin"
    with StableMemory.open(path, log_limit=20 << 20) as writer, StableMemory.open(path, "r") as reader:
        writer.grow(64)
        with reader.transaction():
            assert reader.read(0, 1) == b"\0"
            for number in range(1, 9):
                writer.write(0, bytes([number]) * (4 << 20))
                assert number > 4 or reader.read(0, 1) == b"\0"
            time.sleep(0.01)
            for _ in range(2):
                with pytest.raises(MemoryInUse, match="begin a new one"):
                    reader.read(0, 1)
        with reader.transaction():  # the writer does nothing meanwhile, and still asks
            for _ in range(3):
                time.sleep(0.01)
                assert reader.read(0, 1) == b"\x08"
        writer.checkpoint()
        assert (tmp_path / "state.bin-wal").stat().st_size < 20 << 20
        with reader.transaction():
            assert reader.read(0, 1) == b"\x08"
