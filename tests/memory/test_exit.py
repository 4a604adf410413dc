# SPDX-License-Identifier: Apache-2.0
"""What a program writes while it ends is durable, or the write says that it did not happen."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stable_structures import MemoryManager, StableBTreeMap, StableLog, StableMemory, StableVec, u64

PROGRAM = """
import atexit, sys, traceback
durability, when, folder = sys.argv[1:]

def put(): users.insert(1, "late")
def push(): numbers.push(7)
def append(): log.append("late")
def grow(): memory.grow(1)
def write(): memory.write(memory.nbytes - 4, b"late")
def block():
    with memory.transaction():
        numbers.push(8)
def again():
    with StableMemory.open(folder + "/again.bin", durability=durability) as other:
        StableVec[u64](other).push(9)
def left_open():
    global other
    other = StableMemory.open(folder + "/left.bin", durability=durability)
    StableVec[u64](other).push(10)

def at_exit():
    for work in (put, push, append, write, block, grow, again, left_open):
        try:
            work()
            print(work.__name__, "done")
        except Exception as error:
            print(work.__name__, type(error).__name__, error)

if when == "before":
    atexit.register(at_exit)
from stable_structures import MemoryManager, StableBTreeMap, StableLog, StableMemory, StableVec, u64
if when == "after":
    atexit.register(at_exit)
memory = StableMemory.open(folder + "/state.bin", durability=durability)
manager = MemoryManager(memory, bucket_pages=1)
users, numbers = StableBTreeMap[u64, str](manager.get(0)), StableVec[u64](manager.get(1))
log = StableLog[str](manager.get(2), manager.get(3))
users.insert(0, "early")
numbers.push(6)
log.append("early")
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_a_write_at_exit_is_durable_or_says_that_it_was_not_made(tmp_path, durability, when):
    command = [sys.executable, "-c", PROGRAM, durability, when, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert done.stderr == ""
    refused = {name: text for name, text in told.items() if text != "done"}
    assert set(refused) == ({"put", "push", "append", "write", "block", "grow"} if when == "before" else set())
    for text in refused.values():
        assert text.startswith("Closed ")
        assert "nothing was written" in text
        assert "atexit" in text
    check_files(tmp_path, {name for name, text in told.items() if text == "done"})


def check_files(folder, made):
    with StableMemory.open(folder / "state.bin") as memory:
        manager = MemoryManager.load(memory)
        assert dict(StableBTreeMap[u64, str](manager.get(0))) == ({0: "early", 1: "late"} if "put" in made else {0: "early"})
        assert list(StableVec[u64](manager.get(1))) == [6, *([7] if "push" in made else []), *([8] if "block" in made else [])]
        assert list(StableLog[str](manager.get(2), manager.get(3))) == ["early", "late"][: 1 + ("append" in made)]
    for name, numbers in (("again", [9]), ("left", [10])):
        with StableMemory.open(folder / f"{name}.bin") as memory:
            assert list(StableVec[u64](memory)) == numbers
