# SPDX-License-Identifier: Apache-2.0
"""Structures and memories that are garbage together with an object whose `__del__` uses them."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from stable_structures import StableBTreeMap, StableMemory, u64

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM = """
import gc, sys
from stable_structures import *
from stable_structures import Closed, u64
from stable_structures.memory.cached import CachedMemory

kind, path, seen = *sys.argv[1:], []

class Own:
    "A memory in Python."
    def __init__(self): self.data = bytearray()
    def size(self): return len(self.data) // 65536
    def grow(self, pages): self.data.extend(bytes(pages * 65536)); return self.size() - pages
    def read(self, offset, size): return bytes(self.data[offset : offset + size])
    def write(self, offset, data): self.data[offset : offset + len(data)] = data

def memory():
    if kind == "file": return StableMemory.open(path, durability="full")
    if kind == "virtual": return MemoryManager(StableMemory()).get(3)
    if kind == "restricted": return RestrictedMemory(StableMemory(), range(1, 1000))
    return Own() if kind == "python" else StableMemory()

def looked_at():
    class Source:
        def fetch(self, offset, length): return stored.read(offset, length)
    source = Source()
    return source, CachedMemory(source, stored.nbytes)

stored = StableMemory()
StableVec[u64](stored).push(7)

class User:
    def __del__(self):
        self.map[1] = "last"
        self.map.insert_many([2, 3], ["b", "c"])
        with self.memory.transaction() if kind != "python" else open("/dev/null"):
            self.map[4] = "d"
        self.log.append(1), self.vec.push(2), self.cell.set(3), self.heap.push(4)
        for use in (lambda: next(self.loop), lambda: next(self.iterator), lambda: self.iterator.next_back(), lambda: self.iterator.skip(1)):
            try: use()
            except (RuntimeError, StopIteration, Closed): pass
        assert self.part.grow(1) == 0 and self.cached.size() == 1 and self.cached.read(0, 3) == b"SVC"
        seen.append((dict(self.map), len(self.log), len(self.vec), self.cell.get(), self.heap.peek(), self.other.id))
        if order % 2: kept.append(self.map)

def fill(user):
    user.memory = memory()
    user.map = StableBTreeMap[u64, str](user.memory)
    user.map[1] = "first"
    user.loop, user.iterator = iter(user.map.items()), user.map.range()
    next(user.loop)
    user.under = Own()
    user.part = RestrictedMemory(user.under, range(1, 9))
    user.source, user.cached = looked_at()
    user.manager = MemoryManager(StableMemory())
    user.other = user.manager.get(9)
    user.log = StableLog[u64](user.manager.get(0), user.manager.get(1))
    user.vec, user.cell, user.heap = StableVec[u64](user.other), StableCell[u64](user.manager.get(2), 0), StableMinHeap[u64](StableMemory())

class Bag: pass

kept = []
gc.disable()
gc.collect()
gc.freeze()  # what was imported is not searched each time
for turn in range(4 if kind == "file" else 60):
    order = turn % 4
    user = User() if order < 2 else None
    bag = Bag()
    fill(bag)
    user = user or User()
    user.__dict__.update(bag.__dict__)
    user.me = user.source.user = user.under.user = user
    del user, bag
    gc.collect()
    if kept: kept.pop()[5] = "revived"
assert seen and all(found[0] == {1: "last", 2: "b", 3: "c", 4: "d"} or kind == "file" for found in seen), seen[:3]
assert all(found[1:] == (1, 1, 3, 4, 9) for found in seen), seen[:3]
if kind == "file":
    assert StableBTreeMap[u64, str](StableMemory.open(path))[4] == "d"
print("sound", len(seen))
"""


@pytest.mark.parametrize("kind", ["anonymous", "file", "virtual", "restricted", "python"])
def test_finalizers_may_use_what_is_garbage_with_them(kind, tmp_path):
    """The collector runs all finalizers first, in any order: none of ours may free what one of the user's still uses, or revives."""
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), kind, str(tmp_path / "state.bin")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("sound")
    assert done.stderr == ""


class Circle:
    """Holds a generator or coroutine that holds it."""

    held: object


def blocks_of(memory: StableMemory, tree: StableBTreeMap[u64, u64], circle: Circle) -> dict[str, Callable[[], object]]:
    def generator(_circle: Circle) -> Iterator[None]:
        with memory.transaction():
            tree[1] = 1
            try:
                yield
            finally:
                tree[2] = 2

    async def coroutine(_circle: Circle) -> None:
        async with memory.transaction():
            tree[1] = 1
            try:
                await asyncio.Event().wait()
            finally:
                tree[2] = 2

    def in_loop() -> object:
        loop = asyncio.new_event_loop()
        task = loop.create_task(coroutine(circle))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        task._log_destroy_pending = False
        return task

    def by_hand() -> object:
        made = generator(circle)
        next(made)
        return made

    return {"generator": by_hand, "coroutine": in_loop}


@pytest.mark.parametrize("kind", ["generator", "coroutine"])
def test_a_block_that_is_garbage_is_rolled_back_after_its_end(kind, monkeypatch):
    """Not before: what it does on its way out is a part of it."""
    problems = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: problems.append(found.exc_value))
    memory = StableMemory()
    tree = StableBTreeMap[u64, u64](memory)
    for _ in range(5):
        circle = Circle()
        circle.held = blocks_of(memory, tree, circle)[kind]()
        del circle
        gc.collect()
        assert not problems
        assert dict(tree) == ({} if kind == "generator" else {2: 2})  # a task has ended before its coroutine is closed
        with memory.transaction():
            tree[3] = 3
        tree.clear()
