# SPDX-License-Identifier: Apache-2.0
"""A process that forks inside a comparison of keys, for test_fork_inside.py: runs in a small one (`command.call`)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar, Self

from stable_structures import Bounded, Closed, MemoryManager, StableBTreeMap, StableMemory, StableMinHeap, u64


class Key:
    """A key that Python orders. Its next comparison may fork, and in the child the order is another one."""

    BOUND = Bounded(8, is_fixed_size=True)
    forks: ClassVar[bool] = False
    child: ClassVar[int] = -1
    go, wait = -1, -1

    def __init__(self, number: int) -> None:
        self.number = number

    def to_bytes(self) -> bytes:
        return self.number.to_bytes(8, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        return cls(int.from_bytes(data, "big"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.number == other.number

    def __hash__(self) -> int:
        return hash(self.number)

    def __lt__(self, other: Key) -> bool:
        if Key.forks:
            Key.forks = False
            Key.child = os.fork()
            if Key.child == 0:
                os.read(Key.wait, 1)  # the parent has gone on
        return self.number > other.number if Key.child == 0 else self.number < other.number


def in_child(memory: StableMemory, error: BaseException | None) -> int:
    """The child's exit status: 0 where all is closed."""
    if not isinstance(error, Closed) or "forked" not in str(error):
        sys.stderr.write(f"not told: {error!r}\n")
        return 1
    try:
        memory.write(0, b"x")
    except Closed:
        memory.close()
        return 0
    return 2


def forking(memory: StableMemory, change, then) -> None:
    """Forks in `change`, does `then` in the parent, and lets the child go on."""
    Key.wait, Key.go = os.pipe()
    error = None
    Key.forks = True
    try:
        change()
    except Exception as caught:  # noqa: BLE001 - reported by the child
        error = caught
    if Key.child == 0:
        os._exit(in_child(memory, error))
    assert error is None
    assert not Key.forks
    then()
    os.write(Key.go, b"x")
    _, status = os.waitpid(Key.child, 0)
    assert status == 0


class World:
    """A map and a heap on a manager in a file."""

    def __init__(self, path: Path, durability: str) -> None:
        self.memory = StableMemory.open(path, durability=durability)  # type: ignore[arg-type]
        manager = MemoryManager(self.memory, bucket_pages=2)
        self.map = StableBTreeMap[Key, u64](manager.get(0))
        self.heap = StableMinHeap[Key](manager.get(1))

    def numbers(self) -> list[int]:
        self.map.check()
        self.heap.check()
        return [key.number for key in self.map]


def in_transaction(world: World) -> None:
    with world.memory.transaction():
        world.map[Key(1000)] = 1
        world.map[Key(1001)] = 1


CHANGES = {
    "insert": lambda world: world.map.insert(Key(77), 1),
    "insert that splits": lambda world: [world.map.insert(Key(2 * n + 1), 1) for n in range(10)],
    "insert_many": lambda world: world.map.insert_many([Key(n) for n in range(300, 400)], range(100)),
    "remove": lambda world: world.map.remove(Key(40)),
    "pop": lambda world: world.heap.pop(),
    "push": lambda world: world.heap.push_many([Key(n) for n in range(50)]),
    "transaction": in_transaction,
}


def scenario(path: Path, durability: str, name: str) -> None:
    """In a process of its own, which ends without closing the file."""
    world = World(path, durability)
    world.map.insert_many([Key(2 * n) for n in range(100)], range(100))
    world.heap.push_many([Key(n * 37 % 101) for n in range(100)])

    def go_on() -> None:
        for n in range(500, 520):
            world.map[Key(n)] = n
        world.heap.push(Key(3))

    forking(world.memory, lambda: CHANGES[name](world), go_on)
    numbers = world.numbers()
    assert {2 * n for n in range(100)} - {40} | set(range(500, 520)) <= set(numbers)
    (path.parent / "numbers").write_text(" ".join(map(str, numbers)))
    os._exit(0)
