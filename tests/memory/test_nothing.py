# SPDX-License-Identifier: Apache-2.0
"""Nothing at all: growth by no pages, no bytes, no items, over every kind of memory, mode and durability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from stable_structures import (
    PAGE_SIZE,
    Closed,
    MemoryManager,
    OutOfBounds,
    ReadOnly,
    RestrictedMemory,
    StableBTreeMap,
    StableBTreeSet,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    u64,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

FILES = [(durability, mode) for durability in ("none", "normal", "full") for mode in ("r+", "r")]


class Pages:
    """A memory written in Python that knows no growth by nothing."""

    def __init__(self) -> None:
        self.data = bytearray()

    def size(self) -> int:
        return len(self.data) // PAGE_SIZE

    def grow(self, pages: int, /) -> int:
        assert pages > 0
        self.data += bytes(pages * PAGE_SIZE)
        return self.size() - pages

    def read(self, offset: int, length: int, /) -> bytes:
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes, /) -> None:
        self.data[offset : offset + len(data)] = data


@pytest.fixture(params=[None, *FILES], ids=lambda p: "anonymous" if p is None else "-".join(p))
def base(request, tmp_path) -> Iterator[StableMemory]:
    """A memory of three pages or more, with a manager on it."""
    if request.param is None:
        memory = StableMemory()
        MemoryManager(memory, bucket_pages=1).get(7).grow(2)
        yield memory
        return
    durability, mode = request.param
    path = tmp_path / "state.bin"
    with StableMemory.open(path, durability=durability) as writer:
        MemoryManager(writer, bucket_pages=1).get(7).grow(2)
    with StableMemory.open(path, mode, durability) as memory:
        yield memory


def memories(base: StableMemory) -> dict[str, object]:
    manager = MemoryManager(base)
    return {
        "flat": base,
        "restricted": RestrictedMemory(base, range(1, 3)),
        "restricted to its end": RestrictedMemory(base, range(1, base.size())),
        "restricted to nothing": RestrictedMemory(base, range(1, 1)),
        "virtual": manager.get(7),
        "empty virtual": manager.get(8),
        "restricted virtual": RestrictedMemory(manager.get(7), range(2)),
    }


def test_growing_by_nothing_gives_the_size(base):
    pages = base.size()
    before = base.read(0, base.nbytes)
    for name, memory in memories(base).items():
        for _ in range(2):
            assert memory.grow(0) == memory.size(), name
    assert base.size() == pages
    assert base.read(0, base.nbytes) == before


def test_growing_by_nothing_in_a_transaction_gives_the_size(base):
    with base.transaction():
        assert base.grow(0) == base.size()


def test_a_full_memory_grows_by_nothing(tmp_path):
    for memory in (StableMemory(max_pages=2), StableMemory.open(tmp_path / "state.bin", durability="none", max_pages=2)):
        assert [memory.grow(0), memory.grow(2), memory.grow(0), memory.grow(1)] == [0, 0, 2, -1]
        memory.close()
        with pytest.raises(Closed):
            memory.grow(0)


def test_growing_a_python_memory_by_nothing_does_not_ask_it(tmp_path):
    del tmp_path
    part = RestrictedMemory(Pages(), range(4))
    assert [part.grow(0), part.grow(2), part.grow(0), part.size()] == [0, 0, 2, 2]


def test_a_restricted_memory_beyond_its_base_is_empty_and_grows_it_first(base):
    part = RestrictedMemory(base, range(base.size() + 2, base.size() + 4))
    pages = base.size()
    assert (part.grow(0), part.size()) == (0, 0)
    assert base.size() == (pages if base.mode == "r" else pages + 2)


def refusal(memory: StableMemory) -> AbstractContextManager[object]:
    """How writing past the end ends."""
    return pytest.raises(ReadOnly) if memory.mode == "r" else pytest.raises(OutOfBounds)


def test_no_bytes_at_the_end_are_inside_and_past_it_are_not(base):
    for name, memory in memories(base).items():
        end = memory.nbytes
        assert memory.read(end, 0) == memory.read(0, 0) == b"", name
        assert memory.readinto(end, bytearray()) == 0
        for read in (lambda m=memory, e=end: m.read(e + 1, 0), lambda m=memory, e=end: m.readinto(e + 1, bytearray())):
            with pytest.raises(OutOfBounds):
                read()
        if base.mode == "r+":
            memory.write(end, b"")
        with refusal(base):
            memory.write(end + 1, b"")
    assert base.view(base.nbytes, 0).size == base.view(base.nbytes).size == 0
    with pytest.raises(OutOfBounds):
        base.view(base.nbytes + 1, 0)


EMPTY = [[], (), b"", np.array([], dtype=np.uint64), np.array([], dtype=np.uint8), iter([])]


@pytest.mark.parametrize("nothing", EMPTY, ids=lambda e: f"{type(e).__name__}-{getattr(e, 'dtype', '')}")
@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_no_items_change_nothing(tmp_path, durability, nothing):
    with StableMemory.open(tmp_path / "state.bin", durability=durability) as memory:
        manager = MemoryManager(memory, bucket_pages=1)
        map_, set_ = StableBTreeMap[u64, u64](manager.get(0)), StableBTreeSet[u64](manager.get(1))
        vec, heap = StableVec[u64](manager.get(2)), StableMinHeap[u64](manager.get(3))
        log = StableLog[u64](manager.get(4), manager.get(5))
        before = memory.read(0, memory.nbytes)
        map_.insert_many(nothing, [])
        assert len(map_.remove_many(nothing)) == len(map_.get_many(nothing)[0]) == 0
        set_.insert_many(nothing)
        vec.extend(nothing)
        heap.push_many(nothing)
        log.extend(nothing)
        map_.update({})
        assert memory.read(0, memory.nbytes) == before
        assert [len(one) for one in (map_, set_, vec, heap, log)] == [0] * 5
