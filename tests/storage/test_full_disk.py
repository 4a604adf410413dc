# SPDX-License-Identifier: Apache-2.0
"""A full disk under a file of holes: every write path says `OutOfMemory`, changes nothing and goes on when there is room again.

A load or store that finds no disk space for a mapped hole ends the process, so each scenario runs in a process of its own, on
a small file system that is emptied before each test. Mounting one takes rights; where they lack, these tests are skipped.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stable_structures import PAGE_SIZE, StableMemory

from ..support import command, full_disk
from ..support.full_disk import MIB, Structures, make_image


def mounted(directory: Path, image: Path, kind: str) -> bool:
    """A file system of a few MiB in the directory, if the system allows it."""
    if kind == "tmpfs":
        commands = [["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(directory)]]
    else:
        image.touch()
        os.truncate(image, 12 * MIB)
        commands = [["mkfs.ext4", "-q", "-b", kind.removeprefix("ext4-"), str(image)], ["mount", "-o", "loop", str(image), str(directory)]]
    found_by = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}  # of root alone on some systems
    try:
        return all(subprocess.run(words, capture_output=True, check=False, timeout=30, env=found_by).returncode == 0 for words in commands)
    except OSError:
        return False


@pytest.fixture(scope="module")
def disks(tmp_path_factory) -> Iterator[Callable[[str], Path]]:
    """Small file systems of each kind, mounted when one is asked for first."""
    made: list[Path] = []

    @functools.cache
    def of(kind: str) -> Path:
        directory = tmp_path_factory.mktemp("disk")
        if not mounted(directory, directory.with_suffix(".image"), kind):
            pytest.skip(f"{kind} cannot be made and mounted here: rights, or mkfs.ext4, are missing")
        made.append(directory)
        return directory

    yield of
    for directory in made:
        subprocess.run(["umount", "-l", str(directory)], check=False)  # noqa: S607 - where it is differs


@pytest.fixture(params=["tmpfs", "ext4-1024", "ext4-4096"])
def disk(request, disks) -> Path:
    """An empty small file system."""
    directory: Path = disks(request.param)
    shutil.rmtree(directory / "lost+found", ignore_errors=True)
    for file in directory.iterdir():
        file.unlink()
    opened = os.open(directory, os.O_RDONLY)
    os.fsync(opened)  # what was deleted is free at once
    os.close(opened)
    return directory


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


PATHS = [name for name, value in vars(Structures).items() if callable(value) and not name.startswith("_") and name != "check"]


@pytest.fixture(scope="module")
def image() -> bytes:
    return make_image()


@pytest.mark.parametrize("disk", ["tmpfs", "ext4-4096"], indirect=True)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_each_write_path_on_a_full_disk(disk, image, durability, path):
    sparse(disk / "state.bin", image)
    fill(disk, MIB + 512 * 1024 if durability != "none" else 256 * 1024)
    command.call(full_disk.write_until_full, disk / "state.bin", durability, path)


# ---- operations by themselves ----


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_a_file_of_64_mib_of_holes(disk, durability):
    with (disk / "state.bin").open("wb") as file:
        file.truncate(64 * MIB)
    command.call(full_disk.write_holes, disk / "state.bin", durability)


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_operations_outside_of_transactions(disk, image, durability):
    sparse(disk / "state.bin", image)
    fill(disk, 2 * MIB)
    command.call(full_disk.write_without_transactions, disk / "state.bin", durability)


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_an_insertion_that_finds_no_room_half_way_is_undone(disk, image, durability):
    sparse(disk / "state.bin", image)
    fill(disk, 2 * MIB)
    command.call(full_disk.insert_into_holes, disk / "state.bin", durability)


# ---- readers, recovery ----


READINGS = [
    *((mode, durability, load) for mode, durability in (("r", "normal"), ("r+", "normal"), ("r+", "full")) for load in (False, True)),
    ("r+", "none", False),  # mapped: there is nothing to load
]


@pytest.mark.parametrize(("mode", "durability", "load"), READINGS)
def test_reading_holes_takes_no_room(disk, image, mode, durability, load):
    sparse(disk / "state.bin", image)
    fill(disk, MIB + 300_000 if mode == "r+" and durability != "none" else 0)
    command.call(full_disk.read_everything, disk / "state.bin", mode, durability, full_disk.digest(image), load)


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_a_reader_sees_holes_being_filled(disk, image, durability):
    sparse(disk / "state.bin", image)
    command.call(full_disk.watch, disk / "state.bin", durability)


@pytest.mark.parametrize("opened", ["none", "normal", "full"])
@pytest.mark.parametrize("durability", ["normal", "full"])
def test_recovery_on_a_full_disk(disk, image, durability, opened):
    sparse(disk / "state.bin", image)
    command.call(full_disk.commit_and_die, disk / "state.bin", durability)
    fill(disk)
    for _ in range(2):
        command.call(full_disk.recover_full, disk / "state.bin", opened)
    (disk / "ballast").unlink()
    command.call(full_disk.recover_with_room, disk / "state.bin", opened)


# ---- limits of the process ----


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_a_limit_of_the_size_of_files_is_a_full_disk(tmp_path, image, durability):
    path = tmp_path / "state.bin"
    sparse(path, image)
    command.call(full_disk.write_past_the_limit, path, durability)
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
