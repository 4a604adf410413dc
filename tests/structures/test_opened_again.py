# SPDX-License-Identifier: Apache-2.0
"""`__init__` of an object that is open already: what fails leaves the object on the memory that it was on."""

from __future__ import annotations

import pytest

from stable_structures import (
    BadMagic,
    CertifiedMap,
    MemoryInUse,
    MemoryManager,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableError,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    u64,
)

KINDS = {
    "map": (StableBTreeMap[u64, u64], 1, ()),
    "set": (StableBTreeSet[u64], 1, ()),
    "vec": (StableVec[u64], 1, ()),
    "heap": (StableMinHeap[u64], 1, ()),
    "cell": (StableCell[u64], 1, (7,)),
    "log": (StableLog[u64], 2, ()),
    "certified": (CertifiedMap[u64, u64], 2, ()),
    "manager": (MemoryManager, 1, ()),
}


def filled_with_other_things(count: int) -> list:
    manager = MemoryManager(StableMemory())
    memories = [manager.get(number) for number in range(count)]
    for memory in memories:
        memory.grow(1)
        memory.write(0, b"something else")
    return memories


@pytest.mark.parametrize("name", KINDS)
def test_a_second_opening_that_fails_changes_nothing(name):
    kind, count, more = KINDS[name]
    manager = MemoryManager(StableMemory())
    memories = [manager.get(number) for number in range(count)]
    opened = kind(*memories, *more)
    attributes = {attribute: getattr(opened, attribute) for attribute in kind._opened_on}
    others = filled_with_other_things(count)
    with pytest.raises(StableError):
        opened.__init__(*others, *more)
    assert all(getattr(opened, attribute) is value for attribute, value in attributes.items())
    released = opened.into_memories() if name == "log" else (opened.into_memory(),)
    assert released == tuple(memories)[: len(released)]
    for memory in others:
        with pytest.raises(BadMagic):
            StableVec[u64](memory)


def test_a_manager_that_is_opened_twice_still_knows_its_memories():
    memory = StableMemory()
    manager = MemoryManager(memory)
    first = manager.get(0)
    with pytest.raises(MemoryInUse):
        manager.__init__(memory)
    assert manager.get(0) is first
    with pytest.raises(MemoryInUse, match="memory 0"):
        manager.into_memory()
