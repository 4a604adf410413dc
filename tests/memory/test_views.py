# SPDX-License-Identifier: Apache-2.0
"""Views of a file after its memory is closed: readable whatever becomes of the file."""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stable_structures import PAGE_SIZE, MemoryInUse, MemoryManager, StableBTreeMap, StableMemory, u64

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES = 8


@pytest.fixture(params=[(d, m) for d in ("none", "normal", "full") for m in ("r+", "r")], ids="-".join)
def opened(request, tmp_path) -> tuple[Path, Callable[[], StableMemory], bytes]:
    """A file, how to open it, and its bytes."""
    durability, mode = request.param
    path = tmp_path / "state.bin"
    data = np.random.default_rng(3).integers(0, 256, PAGES * PAGE_SIZE, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    return path, lambda: StableMemory.open(path, mode, durability), data


def in_child(scenario: Callable[..., None], *args: Any) -> None:
    """In a process of its own, which a missing page would end."""
    pid = os.fork()
    if pid == 0:
        try:
            scenario(*args)
        except BaseException:  # noqa: BLE001 - whatever it is, it is reported and the child ends
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def rewrite(path: Path) -> None:
    path.write_bytes(b"short")


def truncate(path: Path) -> None:
    os.truncate(path, 0)


def delete(path: Path) -> None:
    path.unlink()


def views_and_end(path: Path, opener: Callable[[], StableMemory], data: bytes, spoil: Callable[[Path], None]) -> None:
    memory = opener()
    whole, middle = memory.view(), memory.view(PAGE_SIZE + 5, 3000)
    parts = [memory.view(at, 3) for at in range(0, len(data), 5000)]
    slices = memory.view()[100 : 3 * PAGE_SIZE : 7]
    memory.close()
    spoil(path)
    assert whole.tobytes() == data
    assert middle.tobytes() == data[PAGE_SIZE + 5 :][:3000]
    assert b"".join(part.tobytes() for part in parts) == b"".join(data[at : at + 3] for at in range(0, len(data), 5000))
    assert slices.tobytes() == data[100 : 3 * PAGE_SIZE : 7]
    memory.close()
    del memory, whole, parts
    gc.collect()
    assert middle.tobytes() == data[PAGE_SIZE + 5 :][:3000]


@pytest.mark.parametrize("spoil", [rewrite, truncate, delete])
def test_the_program_rewrites_its_own_closed_file(opened, spoil):
    in_child(views_and_end, *opened, spoil)


def changed_and_closed(path: Path, durability: Any) -> None:
    memory = StableMemory.open(path, durability=durability)
    memory.grow(2)
    view = memory.view()
    with memory.transaction():
        memory.write(3 * PAGE_SIZE, b"changed")
        memory.write(PAGES * PAGE_SIZE + 10, b"grown")
    memory.write(100, b"here")
    memory.transaction().__enter__()
    memory.write(200, b"rolled back")
    memory.close()
    image = path.read_bytes()
    truncate(path)
    assert view.tobytes() == image
    assert image[100:104] == b"here"
    assert image[3 * PAGE_SIZE :][:7] == b"changed"
    assert image[200:211] != b"rolled back"


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_views_keep_what_was_there_at_the_close(tmp_path, durability):
    path = tmp_path / "state.bin"
    path.write_bytes(bytes(range(256)) * (PAGES * PAGE_SIZE // 256))
    in_child(changed_and_closed, path, durability)


def test_a_view_sees_nothing_else_while_the_memory_is_closed(tmp_path):
    path = tmp_path / "state.bin"
    path.write_bytes(b"\7" * 64 * PAGE_SIZE)
    memory = StableMemory.open(path, durability="none")
    view, wrong, done = memory.view(), [], threading.Event()

    def look() -> None:
        while not done.is_set():
            if not (view == 7).all():
                wrong.append(1)

    thread = threading.Thread(target=look)
    thread.start()
    memory.close()
    done.set()
    thread.join()
    assert not wrong


# ---- many, large, sparse ----


def memory_of_process() -> tuple[int, int]:
    """Bytes of address space, and of memory of its own."""
    size, resident, shared = map(int, Path("/proc/self/statm").read_text(encoding="ascii").split()[:3])
    return size * resource.getpagesize(), (resident - shared) * resource.getpagesize()


def close_sparse(path: Path, durability: Any) -> None:
    memory = StableMemory.open(path, durability=durability)
    memory.write(4 << 30, b"here")
    view = memory.view()
    before = memory_of_process()[1]
    memory.close()
    assert memory_of_process()[1] - before < 200 << 20
    os.truncate(path, 0)
    assert view[4 << 30 :][:4].tobytes() == b"here"
    assert view[(5 << 30) - 4 :].tobytes() == bytes(4)


@pytest.mark.parametrize("durability", ["none", "normal"])
def test_a_large_view_of_holes_takes_no_memory(tmp_path, durability):
    path = tmp_path / "state.bin"
    with path.open("wb") as file:
        file.truncate(5 << 30)
    in_child(close_sparse, path, durability)


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_where_views_cannot_be_copied_the_memory_stays_open(tmp_path, durability):
    path = tmp_path / "state.bin"
    path.write_bytes(b"\7" * PAGE_SIZE * 40)
    memory = StableMemory.open(path, durability=durability)
    map_ = StableBTreeMap[u64, u64].new(memory)
    views = [memory.view(), memory.view(5, 10)]
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory_of_process()[0] + PAGE_SIZE * 10, limits[1]))
    try:
        with pytest.raises(MemoryInUse, match=r"^close: views show more .*; delete the views first"):
            memory.close()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    map_[5] = 6
    del views
    memory.close()
    with StableMemory.open(path, "r") as again:
        assert StableBTreeMap[u64, u64](again)[5] == 6


def test_views_that_are_gone_cost_nothing(tmp_path):
    path = tmp_path / "state.bin"
    path.write_bytes(bytes(PAGE_SIZE))
    memory = StableMemory.open(path)
    for _ in range(1000):
        assert memory.view(3, 5).tolist() == [0] * 5
    kept = [memory.view(n, 1) for n in range(1000)]
    del kept[::2]
    memory.close()
    truncate(path)
    assert sum(int(view[0]) for view in kept) == 0


def test_views_of_other_memories_are_as_before():
    memory = StableMemory()
    memory.grow(2)
    memory.write(5, b"abc")
    view = memory.view(5, 3)
    with pytest.raises(AttributeError):
        MemoryManager(StableMemory()).get(0).view()
    memory.close()
    del memory
    gc.collect()
    assert view.tobytes() == b"abc"
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
