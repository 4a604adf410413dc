# SPDX-License-Identifier: Apache-2.0
"""A certified map is opened with its hashes: both, or nothing is changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stable_structures import CertifiedMap, MemoryManager, StableBTreeMap, StableCell, StableError, StableMemory, u64

PAGE = 65_536


def foreign(manager: MemoryManager) -> None:
    manager.get(1).grow(1)
    manager.get(1).write(0, b"SQLite format 3")


def other_types(manager: MemoryManager) -> None:
    StableBTreeMap[u64, u64](manager.get(1)).update({number: number for number in range(100)})


def cell(manager: MemoryManager) -> None:
    StableCell[str](manager.get(1), "not hashes")


def filled(manager: MemoryManager) -> None:
    StableBTreeMap[u64, str](manager.get(0)).update({number: str(number) for number in range(500)})


def hashes_of_others(manager: MemoryManager) -> None:
    CertifiedMap[u64, str](manager.get(2), manager.get(1)).update(dict.fromkeys(range(50), ""))


WAYS: dict[str, Callable[..., CertifiedMap[int, str]]] = {
    "as usual": CertifiedMap[u64, str],
    "new": CertifiedMap[u64, str].new,
    "load": CertifiedMap[u64, str].load,
}


@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("before", [(), (filled,)], ids=["empty", "filled"])
@pytest.mark.parametrize("there", [foreign, other_types, cell, hashes_of_others])
@pytest.mark.parametrize("way", ["as usual", "load"])
def test_hashes_that_are_refused_leave_the_map_as_it_was(way, there, before, in_transaction):
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    for make in (*before, there):
        make(manager)
    image = memory.read(0, memory.size() * PAGE)

    def refused():
        with pytest.raises((StableError, ValueError)):
            WAYS[way](manager.get(0), manager.get(1))

    if in_transaction:
        with memory.transaction():
            refused()
    else:
        refused()
    assert memory.read(0, memory.size() * PAGE) == image
    StableBTreeMap[u64, str](manager.get(0))  # no lease is left


@pytest.mark.parametrize("room", range(1, 9))
@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("way", ["as usual", "new"])
def test_a_memory_that_cannot_grow_for_the_hashes_stays_as_it_was(way, in_transaction, room):
    memory = StableMemory(max_pages=1 + room)
    manager = MemoryManager(memory, bucket_pages=1)
    entries = 150 * room
    StableBTreeMap[u64, str](manager.get(0)).update({number: str(number) for number in range(entries)})
    image = memory.read(0, memory.size() * PAGE)
    opened = None

    def tried():
        nonlocal opened
        try:
            opened = WAYS[way](manager.get(0), manager.get(1))
        except StableError:
            opened = None

    if in_transaction:
        with memory.transaction():
            tried()
    else:
        tried()
    if opened is None:
        assert memory.read(0, memory.size() * PAGE) == image
        assert len(StableBTreeMap[u64, str](manager.get(0))) == entries
    else:
        opened.check()


def test_a_map_is_not_lost_by_new_if_the_hashes_fail():
    memory = StableMemory(max_pages=3)
    manager = MemoryManager(memory, bucket_pages=1)
    StableBTreeMap[u64, str](manager.get(0)).update(dict.fromkeys(range(500), "x" * 50))
    image = memory.read(0, memory.size() * PAGE)
    with pytest.raises(StableError):
        CertifiedMap[u64, str].new(manager.get(0), manager.get(1))
    assert memory.read(0, memory.size() * PAGE) == image
