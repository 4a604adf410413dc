# SPDX-License-Identifier: Apache-2.0
"""What fails to open leaves nothing new behind, no file and no lock; and readers of a fresh file learn what to do."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from stable_structures import (
    PAGE_SIZE,
    CorruptMemory,
    Locked,
    MemoryManager,
    OutOfMemory,
    ReadOnly,
    RestrictedMemory,
    StableBTreeMap,
    StableCell,
    StableError,
    StableLog,
    StableMemory,
    StableVec,
    u64,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["none", "normal", "full"])
def durability(request):
    return request.param


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may become longer than a page: a log cannot be made."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE_SIZE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("mode", ["r+", "x"])
@pytest.mark.parametrize("length", range(244, 258))
def test_a_name_that_is_too_long_for_its_log_leaves_no_file(tmp_path, durability, mode, length):
    path = tmp_path / ("n" * length)
    try:
        with StableMemory.open(path, mode, durability) as memory:
            memory.grow(1)
    except OSError as error:
        assert error.errno == 36  # noqa: PT017 - ENAMETOOLONG; a file system may have shorter names
        assert length > 247
        assert names(tmp_path) == []
    else:
        assert path.stat().st_size == PAGE_SIZE


@pytest.mark.parametrize("mode", ["r+", "x"])
def test_a_file_whose_log_finds_no_room_is_not_made(tmp_path, mode, small_files):  # noqa: ARG001
    for durability in ("normal", "full"):
        with pytest.raises(OutOfMemory):
            StableMemory.open(tmp_path / "state.bin", mode, durability)
        assert names(tmp_path) == []


def test_a_file_that_was_there_stays_and_is_not_locked(tmp_path, small_files):  # noqa: ARG001
    path = tmp_path / "state.bin"
    path.write_bytes(bytes(PAGE_SIZE))
    for _ in range(3):
        with pytest.raises(OutOfMemory):
            StableMemory.open(path)
        assert names(tmp_path) == ["state.bin"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with StableMemory.open(path) as memory:
        assert memory.size() == 1


def refused(path: Path, mode: str, durability: str, **options: object) -> None:
    with pytest.raises((OSError, ValueError, StableError)):
        StableMemory.open(path, mode, durability, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["r", "r+", "x"])
def test_other_refusals_leave_nothing(tmp_path, durability, mode):
    (tmp_path / "directory").mkdir()
    (tmp_path / "odd").write_bytes(b"abc")
    (tmp_path / "large").write_bytes(bytes(3 * PAGE_SIZE))
    (tmp_path / "link").symlink_to(tmp_path / "large")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    before = names(tmp_path)
    for name in ("directory", "odd", "link", "dangling", "pipe", "missing/state.bin", "large/state.bin", "directory/"):
        refused(tmp_path / name if not name.endswith("/") else f"{tmp_path}/{name}", mode, durability)
    refused(tmp_path / "large", mode, durability, max_pages=2)
    if mode == "r":
        refused(tmp_path / "absent", mode, durability)
    assert names(tmp_path) == before
    assert names(tmp_path / "directory") == []
    if mode == "r+":
        with StableMemory.open(tmp_path / "large", mode, durability) as memory:  # nothing holds a lock
            assert memory.size() == 3


def test_a_second_writer_leaves_the_files_of_the_first(tmp_path, durability):
    path = tmp_path / "state.bin"
    with StableMemory.open(path, "x", durability) as memory:
        before = names(tmp_path)
        with pytest.raises(Locked):
            StableMemory.open(path, "r+", durability)
        assert names(tmp_path) == before
        memory.grow(1)
    assert path.stat().st_size == PAGE_SIZE


# ---- readers of a fresh file ----


def test_a_reader_before_the_first_checkpoint_of_an_exclusive_writer_is_told_of_it(tmp_path):
    path = tmp_path / "state.bin"
    with StableMemory.open(path, durability="full", exclusive=True) as writer:
        map_ = StableBTreeMap[u64, u64](writer)
        map_[1] = 2
        with StableMemory.open(path, "r") as reader:
            parts = [RestrictedMemory(reader, range(2 * i, 2 * i + 2)) for i in range(2)]
            for make in (
                lambda: StableBTreeMap[u64, u64](reader),
                lambda: StableVec[u64](reader),
                lambda: StableCell[u64](reader, 1),
                lambda: MemoryManager(reader),
                lambda: StableLog[u64](*parts),
            ):
                with pytest.raises(ReadOnly, match=r"a writer has it open .* call checkpoint\(\) there") as caught:
                    make()
                assert 'mode="r+"' not in str(caught.value)
            writer.checkpoint()
            assert StableBTreeMap[u64, u64](reader)[1] == 2


def test_a_reader_of_a_file_that_nobody_writes_is_told_to_open_it_for_writing(tmp_path):
    StableMemory.open(tmp_path / "state.bin").close()
    with StableMemory.open(tmp_path / "state.bin", "r") as reader, pytest.raises(ReadOnly, match='mode="r\\+"'):
        StableBTreeMap[u64, u64](reader)


def test_a_size_that_is_no_image_is_left_alone(tmp_path, durability):
    path = tmp_path / "odd"
    path.write_bytes(b"abc")
    with pytest.raises(CorruptMemory):
        StableMemory.open(path, "r+", durability)
    assert path.read_bytes() == b"abc"
    assert names(tmp_path) == ["odd"]
