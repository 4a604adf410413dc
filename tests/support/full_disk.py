# SPDX-License-Identifier: Apache-2.0
"""What a process does on a full disk, for test_full_disk.py: functions that run in a small one (`command.call`)."""

from __future__ import annotations

import contextlib
import os
import resource
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stable_structures import (
    PAGE_SIZE,
    MemoryManager,
    OutOfMemory,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    Writer,
    u64,
)

MIB = 1 << 20
IMAGE_PAGES = 24 * MIB // PAGE_SIZE
BUCKET_PAGES = 8


class Structures:
    """One of each on a manager, and what writes to it."""

    def __init__(self, memory: StableMemory) -> None:
        self.memory = memory
        self.manager = MemoryManager(memory, bucket_pages=BUCKET_PAGES)
        self.map = StableBTreeMap[u64, bytes](self.manager.get(0))
        self.set = StableBTreeSet[u64](self.manager.get(1))
        self.vec = StableVec[u64](self.manager.get(2))
        self.heap = StableMinHeap[u64](self.manager.get(3))
        self.log = StableLog[bytes](self.manager.get(4), self.manager.get(5))
        self.cell = StableCell[bytes](self.manager.get(6), b"")
        self.raw = self.manager.get(9)
        self.random = np.random.default_rng(1)

    def check(self) -> None:
        """All of them are sound."""
        for one in (self.map, self.set, self.vec, self.heap, self.log, self.cell):
            one.check()

    def _place(self) -> int:
        return int(self.random.integers(0, self.raw.nbytes - 2 * PAGE_SIZE))

    def write(self) -> None:
        """Some bytes somewhere."""
        self.raw.write(self._place(), b"abc" * 3000)

    def write_flat(self) -> None:
        """The same past the manager."""
        self.memory.write(self.memory.nbytes - self._place() // 2 - 10000, b"abc" * 3000)

    def write_all(self) -> None:
        """More than the disk can hold."""
        self.raw.write(0, b"abc" * (self.raw.nbytes // 3))

    def insert(self) -> None:
        """Single entries."""
        for _ in range(30):
            self.map[int(self.random.integers(0, 2**60))] = b"v" * 3000

    def insert_many(self) -> None:
        """Many entries."""
        self.map.insert_many(self.random.integers(0, 2**60, 100, dtype=np.uint64), [b"w" * 3000] * 100)
        self.set.insert_many(self.random.integers(0, 2**60, 10000, dtype=np.uint64))

    def build(self) -> None:
        """A map from nothing."""
        StableBTreeMap[u64, u64].from_sorted(self.manager.get(7), np.arange(30000, dtype=np.uint64), np.arange(30000, dtype=np.uint64))

    def extend(self) -> None:
        """Sequences."""
        self.vec.extend(np.arange(20000, dtype=np.uint64))
        self.heap.push_many(np.arange(20000, dtype=np.uint64)[::-1].copy())
        self.log.extend([b"entry" * 20] * 1000)

    def set_cell(self) -> None:
        """A large value."""
        self.cell.set(b"c" * int(self.random.integers(3_000_000, 3_900_000)))

    def stream(self) -> None:
        """A file-like object."""
        Writer(self.raw, self._place()).write(b"s" * 70_000)

    def grow(self) -> None:
        """New pages."""
        if self.manager.get(8).grow(BUCKET_PAGES) == -1:
            raise OutOfMemory

    def commit(self) -> None:
        """A transaction of several changes."""
        with self.memory.transaction():
            self.write()
            self.vec.extend(np.arange(3000, dtype=np.uint64))
            self.write()

    def roll_back(self) -> None:
        """One that is given up."""
        with contextlib.suppress(ZeroDivisionError), self.memory.transaction():
            self.write()
            self.insert()
            raise ZeroDivisionError

    def settle(self) -> None:
        """What makes the file itself the image."""
        self.memory.sync()
        self.memory.checkpoint()


def make_image() -> bytes:
    """A manager over 24 MiB that are zeros for the most part, in buckets that structures will take and such that are taken."""
    memory = StableMemory()
    on = Structures(memory)
    on.map.update(dict.fromkeys(range(500), b"x" * 100))
    on.vec.extend(range(100))
    for number in (0, 2, 3, 4, 5, 6, 7, 8):
        on.manager.get(number).grow((8 if number == 6 else 3) * BUCKET_PAGES)
    on.raw.grow(IMAGE_PAGES - memory.size() - BUCKET_PAGES)
    return memory.read(0, memory.nbytes)


WEIGHTS = np.arange(1, PAGE_SIZE // 8 + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)


def digest(image: Any) -> int:
    """Of all its pages; in half the time of a checksum of all bytes."""
    words = np.frombuffer(image, np.uint64).reshape(-1, PAGE_SIZE // 8)
    return zlib.crc32(words @ WEIGHTS)  # each word of a page counts differently


def refused(memory: StableMemory, path: Callable[[], None]) -> bool:
    """Whether there was no room for it; nothing has changed then, unless it is made of several operations."""
    try:
        with memory.transaction() if path.__name__ not in {"commit", "roll_back", "settle"} else contextlib.nullcontext():
            path()
    except OutOfMemory:
        return True
    return False


def write_until_full(file: Path, durability: str, path_name: str) -> None:
    memory = StableMemory.open(file, durability=durability)
    on = Structures(memory)
    path = getattr(on, path_name)
    failures = 0
    for _ in range(80):
        before = digest(memory.view())
        if refused(memory, path):
            assert digest(memory.view()) == before
            failures += 1
            on.check()
        elif path_name == "roll_back":
            assert digest(memory.view()) == before
        if failures > 1:
            break
    if path_name not in {"roll_back", "settle"}:
        assert failures
    (file.parent / "ballast").unlink()
    assert not refused(memory, on.write)
    on.check()
    wanted = digest(memory.view())
    memory.close()
    assert digest(file.read_bytes()) == wanted
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name]


def write_holes(file: Path, durability: str) -> None:
    with StableMemory.open(file, durability=durability) as memory:
        done = 0
        with contextlib.suppress(OutOfMemory):
            for offset in range(0, memory.nbytes, 4096):
                memory.write(offset, b"x" * 4096)
                done = offset + 4096
        assert 0 < done < memory.nbytes
        assert memory.read(done, 4096) == bytes(4096)
        assert memory.read(0, done) == b"x" * done


def write_without_transactions(file: Path, durability: str) -> None:
    with StableMemory.open(file, durability=durability) as memory:
        failures = 0
        for offset in range(memory.nbytes - PAGE_SIZE, memory.nbytes // 3, -3 * PAGE_SIZE + 17):
            before = memory.read(offset, 9000)
            try:
                memory.write(offset, b"abc" * 3000)
            except OutOfMemory:
                failures += 1
                assert memory.read(offset, 9000) == before
        assert failures
        Structures(memory).check()


def insert_into_holes(file: Path, durability: str) -> None:
    with StableMemory.open(file, durability=durability) as memory:
        on, failures = Structures(memory), 0
        for step in range(3000):
            before = len(on.map)
            try:
                on.map[2**61 + step * 7919 % 3001] = b"v" * 5000
            except OutOfMemory:
                failures += 1
                assert len(on.map) == before
                on.map.check()
                if failures > 5:
                    break
        assert failures


def read_everything(file: Path, mode: Any, durability: Any, wanted: int, load: bool) -> None:
    with StableMemory.open(file, mode, durability, load=load) as memory:
        assert digest(memory.view()) == wanted
        assert int(memory.view().sum(dtype=np.uint64)) > 0
        Structures(memory).check() if mode != "r" else MemoryManager(memory)


def watch(file: Path, durability: Any) -> None:
    """A reader sees what a writer puts into holes that the reader has seen as holes."""
    with StableMemory.open(file, durability=durability) as writer, StableMemory.open(file, "r") as reader:
        for page in range(300, 320):
            assert reader.read(page * PAGE_SIZE, 10) == bytes(10)
            writer.write(page * PAGE_SIZE, b"0123456789")
            writer.checkpoint()
            assert reader.read(page * PAGE_SIZE, 10) == b"0123456789"


def commit_and_die(file: Path, durability: Any) -> None:
    memory = StableMemory.open(file, durability=durability)
    for page in range(200, 208):
        memory.write(page * PAGE_SIZE, b"committed")
    os._exit(0)


def recover(file: Path, durability: Any, *, is_full: bool) -> None:
    try:
        memory = StableMemory.open(file, durability=durability)
    except OutOfMemory:
        assert is_full
        return
    for page in range(200, 208):
        assert memory.read(page * PAGE_SIZE, 9) == b"committed"
    with contextlib.suppress(OutOfMemory):
        memory.close()


def recover_full(file: Path, durability: Any) -> None:
    recover(file, durability, is_full=True)


def recover_with_room(file: Path, durability: Any) -> None:
    recover(file, durability, is_full=False)


def write_past_the_limit(file: Path, durability: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 * MIB, resource.RLIM_INFINITY))
    with StableMemory.open(file, durability=durability) as memory:
        memory.write(40 * PAGE_SIZE, b"inside")
        for offset in (20 * MIB, 16 * MIB - 3):
            try:
                memory.write(offset, b"outside")
            except OutOfMemory:
                assert memory.read(offset, 7) == bytes(7)
            else:
                raise AssertionError(offset)
        assert memory.grow(1) == -1
        memory.write(41 * PAGE_SIZE, b"inside")
