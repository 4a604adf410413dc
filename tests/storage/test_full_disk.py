# SPDX-License-Identifier: Apache-2.0
"""A full disk under a file of holes: every write path says `OutOfMemory`, changes nothing and goes on when there is room again.

A load or store that finds no disk space for a mapped hole ends the process, so each scenario runs in a child, on a small
file system of its own. Mounting one takes rights; where they lack, these tests are skipped.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import resource
import shutil
import subprocess
import traceback
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MIB = 1 << 20
IMAGE_PAGES = 24 * MIB // PAGE_SIZE
BUCKET_PAGES = 8


def mounted(directory: Path, image: Path, kind: str) -> bool:
    """A file system of a few MiB in the directory, if the system allows it."""
    if kind == "tmpfs":
        commands = [["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(directory)]]
    else:
        image.touch()
        os.truncate(image, 12 * MIB)
        commands = [["mkfs.ext4", "-q", "-b", kind.removeprefix("ext4-"), str(image)], ["mount", "-o", "loop", str(image), str(directory)]]
    try:
        return all(subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0 for command in commands)
    except OSError:
        return False


@pytest.fixture(params=["tmpfs", "ext4-1024", "ext4-4096"])
def disk(request, tmp_path) -> Iterator[Path]:
    """An empty small file system."""
    directory = tmp_path / "disk"
    directory.mkdir()
    if not mounted(directory, tmp_path / "image", request.param):
        pytest.skip(f"mounting {request.param} is not permitted here")
    try:
        shutil.rmtree(directory / "lost+found", ignore_errors=True)
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=False)  # noqa: S607 - where it is differs


def survives(scenario: Callable[..., None], *args: Any) -> None:
    """Runs it in a child, which must neither fail nor be killed."""
    pid = os.fork()
    if pid == 0:
        try:
            scenario(*args)
        except BaseException:  # noqa: BLE001 - whatever it is, it is reported and the child ends
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert not os.WIFSIGNALED(status), f"killed by signal {os.WTERMSIG(status)}"
    assert os.waitstatus_to_exitcode(status) == 0


def fill(directory: Path, left: int = 0) -> None:
    """Takes all of the disk but `left` bytes."""
    if left:
        (directory / "left").write_bytes(b"\1" * left)
    with (directory / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        size = MIB
        while size >= 1024:
            try:
                if file.write(b"\1" * size) < size:
                    raise OSError  # noqa: TRY301
            except OSError:
                size //= 2
    if left:
        (directory / "left").unlink()


@functools.cache
def blocks(image: bytes) -> dict[int, bytes]:
    """Those that are not zeros, by their offsets."""
    every = ((at, image[at : at + 4096]) for at in range(0, len(image), 4096))
    return {at: block for at, block in every if block.count(0) < len(block)}


def sparse(path: Path, image: bytes) -> None:
    """The image with holes in place of zeros."""
    with path.open("wb") as file:
        file.truncate(len(image))
        for at, block in blocks(image).items():
            file.seek(at)
            file.write(block)


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


PATHS = [name for name, value in vars(Structures).items() if callable(value) and not name.startswith("_") and name != "check"]


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


@pytest.fixture(scope="module")
def image() -> bytes:
    return make_image()


def digest(memory: StableMemory) -> int:
    return zlib.crc32(memory.view())


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
    failures, before = 0, 0
    for _ in range(80):
        if refused(memory, path):
            after = digest(memory)
            assert before in {0, after}
            failures, before = failures + 1, after
            on.check()
        else:
            before = 0
        if failures > 3:
            break
    if path_name not in {"roll_back", "settle"}:
        assert failures
    (file.parent / "ballast").unlink()
    assert not refused(memory, on.write)
    on.check()
    wanted = digest(memory)
    memory.close()
    assert zlib.crc32(file.read_bytes()) == wanted
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name]


@pytest.mark.parametrize("disk", ["tmpfs", "ext4-4096"], indirect=True)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_each_write_path_on_a_full_disk(disk, image, durability, path):
    sparse(disk / "state.bin", image)
    fill(disk, MIB + 512 * 1024 if durability != "none" else 256 * 1024)
    survives(write_until_full, disk / "state.bin", durability, path)


# ---- operations by themselves ----


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


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_a_file_of_64_mib_of_holes(disk, durability):
    with (disk / "state.bin").open("wb") as file:
        file.truncate(64 * MIB)
    survives(write_holes, disk / "state.bin", durability)


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


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_operations_outside_of_transactions(disk, image, durability):
    sparse(disk / "state.bin", image)
    fill(disk, 2 * MIB)
    survives(write_without_transactions, disk / "state.bin", durability)


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


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_an_insertion_that_finds_no_room_half_way_is_undone(disk, image, durability):
    sparse(disk / "state.bin", image)
    fill(disk, 2 * MIB)
    survives(insert_into_holes, disk / "state.bin", durability)


# ---- readers, recovery ----


def read_everything(file: Path, mode: Any, durability: Any, wanted: int, load: bool) -> None:
    with StableMemory.open(file, mode, durability, load=load) as memory:
        assert digest(memory) == wanted
        assert int(memory.view().sum(dtype=np.uint64)) > 0
        Structures(memory).check() if mode != "r" else MemoryManager(memory)


@pytest.mark.parametrize("load", [False, True])
@pytest.mark.parametrize(("mode", "durability"), [("r", "normal"), ("r+", "none"), ("r+", "normal"), ("r+", "full")])
def test_reading_holes_takes_no_room(disk, image, mode, durability, load):
    if load and durability == "none":
        pytest.skip("a file without a log is mapped")
    sparse(disk / "state.bin", image)
    fill(disk, MIB + 300_000 if mode == "r+" and durability != "none" else 0)
    survives(read_everything, disk / "state.bin", mode, durability, zlib.crc32(image), load)


def watch(file: Path, durability: Any) -> None:
    """A reader sees what a writer puts into holes that the reader has seen as holes."""
    with StableMemory.open(file, durability=durability) as writer, StableMemory.open(file, "r") as reader:
        for page in range(300, 320):
            assert reader.read(page * PAGE_SIZE, 10) == bytes(10)
            writer.write(page * PAGE_SIZE, b"0123456789")
            writer.checkpoint()
            assert reader.read(page * PAGE_SIZE, 10) == b"0123456789"


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_a_reader_sees_holes_being_filled(disk, image, durability):
    sparse(disk / "state.bin", image)
    survives(watch, disk / "state.bin", durability)


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


@pytest.mark.parametrize("opened", ["none", "normal", "full"])
@pytest.mark.parametrize("durability", ["normal", "full"])
def test_recovery_on_a_full_disk(disk, image, durability, opened):
    sparse(disk / "state.bin", image)
    survives(commit_and_die, disk / "state.bin", durability)
    fill(disk)
    for _ in range(2):
        survives(recover_full, disk / "state.bin", opened)
    (disk / "ballast").unlink()
    survives(recover_with_room, disk / "state.bin", opened)


# ---- limits of the process ----


def write_past_the_limit(file: Path, durability: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 * MIB, resource.RLIM_INFINITY))
    with StableMemory.open(file, durability=durability) as memory:
        memory.write(40 * PAGE_SIZE, b"inside")
        for offset in (20 * MIB, 16 * MIB - 3):
            with pytest.raises(OutOfMemory):
                memory.write(offset, b"outside")
            assert memory.read(offset, 7) == bytes(7)
        assert memory.grow(1) == -1
        memory.write(41 * PAGE_SIZE, b"inside")


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_a_limit_of_the_size_of_files_is_a_full_disk(tmp_path, image, durability):
    path = tmp_path / "state.bin"
    sparse(path, image)
    survives(write_past_the_limit, path, durability)
    assert path.read_bytes()[40 * PAGE_SIZE :][:6] == b"inside"


def test_memories_that_are_garbage_leave_address_space_for_a_large_file(tmp_path):
    path = tmp_path / "state.bin"
    with path.open("wb") as file:
        file.truncate(400 << 30)
    gc.disable()
    try:
        for _ in range(400):  # 47 bits have room for 262
            held: list[object] = [StableMemory()]
            held.append(held)
        del held
        with StableMemory.open(path, "r") as memory:
            assert memory.size() == (400 << 30) // 65_536
    finally:
        gc.enable()


def test_a_sparse_file_of_400_gib_opens_at_once_and_stays_sparse(tmp_path):
    path = tmp_path / "state.bin"
    with path.open("wb") as file:
        file.truncate(400 << 30)
    for durability in ("none", "normal", "full"):
        with StableMemory.open(path, durability=durability) as memory:
            for gib in range(0, 400, 40):
                memory.write(gib << 30, b"here")
            assert memory.read(200 << 30, 4) == b"here"
    assert path.stat().st_blocks * 512 < 100 * MIB
