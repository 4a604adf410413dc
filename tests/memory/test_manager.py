"""MemoryManager and its virtual memories: bytes, identity, ownership, limits, faults."""

from __future__ import annotations

import gc
import threading

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from stable_structures import (
    MAX_PAGES,
    PAGE_SIZE,
    BadMagic,
    Closed,
    CorruptMemory,
    Memory,
    MemoryInUse,
    MemoryManager,
    OutOfBounds,
    OutOfMemory,
    ReadOnly,
    RestrictedMemory,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    UnsupportedVersion,
    VirtualMemory,
    u64,
)
from stable_structures import _native as native

from ..support.memories import Boom, FailingMemory, ListMemory, Trigger
from ..support.places import SHORT, filled, image, raised

IDS = [0, 1, 7, 253, 254]
HEADER = 2080


def expected_image(bucket_pages: int, sizes: dict[int, int], owners: list[int]) -> bytes:
    """The first page of docs/format.md#memory-manager."""
    head = b"MGR\x01" + len(owners).to_bytes(2, "little") + bucket_pages.to_bytes(2, "little") + bytes(32)
    tables = head + b"".join(sizes.get(n, 0).to_bytes(8, "little") for n in range(255)) + bytes(owners)
    return tables.ljust(HEADER + 32_768, b"\xff").ljust(PAGE_SIZE, b"\0")


class ManagerMachine(RuleBasedStateMachine):
    """Memories beside bytearrays, and the table that the format asks for."""

    def __init__(self, make_base, bucket_pages: int) -> None:
        super().__init__()
        self.make_base, self.bucket_pages = make_base, bucket_pages
        self.base = make_base()
        self.manager = MemoryManager(self.base, bucket_pages=bucket_pages)
        self.twins = {number: bytearray() for number in IDS}
        self.owners: list[int] = []
        self.most = 1

    @rule(number=st.sampled_from(IDS), pages=st.integers(0, 5))
    def grow(self, number, pages):
        twin = self.twins[number]
        old = len(twin) // PAGE_SIZE
        assert self.manager[number].grow(pages) == old
        twin.extend(bytes(pages * PAGE_SIZE))
        missing = -(-(old + pages) // self.bucket_pages) - self.owners.count(number)
        self.owners += [number] * missing
        self.most = max(self.most, 1 + self.bucket_pages * len(self.owners))

    @rule(number=st.sampled_from(IDS), data=st.data())
    def write(self, number, data):
        twin, memory = self.twins[number], self.manager[number]
        offset = data.draw(st.integers(0, len(twin)) | st.sampled_from([0, *range(PAGE_SIZE - 2, len(twin), PAGE_SIZE)]))
        content = data.draw(st.binary(max_size=10)) * data.draw(st.sampled_from([1, 1, 9000]))
        if content and offset + len(content) > len(twin):
            assert raised(lambda: memory.write(offset, content)) is OutOfBounds
        else:
            memory.write(offset, content)
            twin[offset : offset + len(content)] = content

    @rule(number=st.sampled_from(IDS), data=st.data())
    def read(self, number, data):
        twin, memory = self.twins[number], self.manager[number]
        offset = data.draw(st.integers(0, len(twin) + 1))
        length = data.draw(st.integers(1, len(twin) + 1))
        if offset + length > len(twin):
            assert raised(lambda: memory.read(offset, length)) is OutOfBounds
            return
        assert memory.read(offset, length) == twin[offset : offset + length]
        buffer = bytearray(length)
        assert memory.readinto(offset, buffer) == length
        assert buffer == twin[offset : offset + length]

    @rule(upgrade=st.booleans(), other=st.integers(1, 300))
    def reopen(self, upgrade, other):
        """What is stored wins over another bucket size."""
        if upgrade:
            self.base = filled(self.make_base(), image(self.base))
        else:
            assert self.manager.into_memory() is self.base
        self.manager = MemoryManager(self.base, bucket_pages=other)

    @invariant()
    def same(self):
        sizes = {number: len(twin) // PAGE_SIZE for number, twin in self.twins.items() if twin}
        assert self.manager.sizes() == sizes
        assert self.manager.bucket_pages == self.bucket_pages
        assert self.manager.allocated_buckets == len(self.owners)
        assert self.base.size() == self.most
        assert self.base.read(0, PAGE_SIZE) == expected_image(self.bucket_pages, sizes, self.owners)
        for number, twin in self.twins.items():
            assert image(self.manager[number]) == twin
            assert self.manager[number].nbytes == len(twin)
        self.manager.check()
        assert self.manager.violations() == []


BASES = {"flat": StableMemory, "python": lambda: ListMemory(3000), "restricted": lambda: RestrictedMemory(StableMemory(), range(3, 3000))}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("bucket_pages", [1, 3])
def test_memories_are_kept_apart(base, bucket_pages):
    run_state_machine_as_test(lambda: ManagerMachine(BASES[base], bucket_pages), settings=SHORT)


# ---- identity, ownership ----


def test_one_object_for_one_memory():
    manager = MemoryManager(StableMemory())
    memory = manager.get(3)
    assert isinstance(memory, VirtualMemory)
    assert isinstance(memory, Memory)
    assert manager[3] is memory is manager.get(3)
    assert manager[4] is not memory
    assert (memory.id, memory.manager) == (3, manager)
    assert repr(memory).startswith("<VirtualMemory 3 of <MemoryManager on <StableMemory")


@pytest.mark.parametrize("number", [-1, 255, 256, 10**30])
def test_there_are_255_memories(number):
    manager = MemoryManager(StableMemory())
    with pytest.raises(OutOfBounds, match="use 0 to 254"):
        manager.get(number)
    with pytest.raises(IndexError):
        manager[number]
    with pytest.raises(TypeError):
        manager["0"]
    with pytest.raises(TypeError):
        iter(manager)


def test_a_memory_keeps_the_manager_and_the_base():
    memory = MemoryManager(StableMemory()).get(0)
    gc.collect()
    vec = StableVec[u64](memory)
    base = memory.manager.memory
    del memory
    vec.push(5)
    with pytest.raises(MemoryInUse):
        MemoryManager(base)
    del vec
    manager = MemoryManager(base)
    assert manager.sizes() == {0: 1}


def test_a_live_manager_has_its_memory_for_itself():
    base = StableMemory()
    manager = MemoryManager(base)
    with pytest.raises(MemoryInUse, match="uses this memory; use the live structure, or release it with into_memory"):
        MemoryManager(base)
    with pytest.raises(MemoryInUse):
        StableVec[u64](base)
    with pytest.raises(MemoryInUse):
        StableVec[u64](RestrictedMemory(base, range(1)))
    assert manager.into_memory() is base
    for use in (
        lambda: manager.get(0),
        manager.sizes,
        lambda: manager.bucket_pages,
        manager.check,
        manager.bytes_used,
        manager.into_memory,
    ):
        with pytest.raises(Closed, match="create a new manager"):
            use()
    MemoryManager(base)


def test_into_memory_waits_for_the_memories():
    manager = MemoryManager(StableMemory())
    memory, vec = manager.get(9), StableVec[u64](manager.get(2))
    with pytest.raises(MemoryInUse, match="memory 2, 9 of the manager is in use"):
        manager.into_memory()
    del memory
    with pytest.raises(MemoryInUse, match="memory 2 of"):
        manager.into_memory()
    vec.push(1)
    del vec
    manager.into_memory()


def test_one_structure_for_one_memory():
    manager = MemoryManager(StableMemory())
    first = StableBTreeMap[u64, u64](manager.get(0))
    with pytest.raises(MemoryInUse):
        StableBTreeMap[u64, u64](manager.get(0))
    StableBTreeMap[u64, u64](manager.get(1))
    first.into_memory()
    StableVec[u64].new(manager.get(0))


def test_closing():
    base = StableMemory()
    manager = MemoryManager(base)
    memory = manager.get(0)
    vec = StableVec[u64](memory)
    memory.close()
    for use in (memory.size, base.size, lambda: vec.push(1), lambda: manager.get(1), manager.sizes, manager.check):
        assert raised(use) is Closed


# ---- opening ----


def test_three_ways_to_open():
    base = StableMemory()
    with pytest.raises(BadMagic, match="no pages"):
        MemoryManager.load(base)
    manager = MemoryManager(base, bucket_pages=2)
    manager.get(0).grow(1)
    manager.into_memory()
    manager = MemoryManager.load(base)
    assert (manager.bucket_pages, manager.sizes()) == (2, {0: 1})
    manager.into_memory()
    manager = MemoryManager.new(base, bucket_pages=5)
    assert (manager.bucket_pages, manager.sizes()) == (5, {})
    manager.into_memory()
    assert MemoryManager.new(base).bucket_pages == 128


def test_something_else_is_overwritten_only_when_asked():
    base = StableMemory()
    StableVec[u64](base)
    with pytest.raises(BadMagic, match=r"\.new\(memory\)"):
        MemoryManager.load(base)
    with pytest.raises(BadMagic, match="holds a StableVec"):
        MemoryManager(base)
    assert MemoryManager.new(base).sizes() == {}


@pytest.mark.parametrize("bucket_pages", [0, -1, 65_536, 2**40])
def test_bucket_sizes_that_cannot_be(bucket_pages):
    with pytest.raises(ValueError, match="bucket_pages must be 1 to 65535"):
        MemoryManager(StableMemory(), bucket_pages)


def damaged(offset: int, data: bytes) -> StableMemory:
    base = StableMemory()
    manager = MemoryManager(base, bucket_pages=1)
    for number in (0, 1, 0):
        manager.get(number).grow(1)
    manager.into_memory()
    base.write(offset, data)
    return base


@pytest.mark.parametrize(
    ("offset", "data", "rule"),
    [
        (3, b"\x02", "version"),
        (4, b"\xff\xff", "allocated buckets"),
        (6, b"\0\0", "bucket size"),
        (40, b"\xff" * 8, "size of a memory"),
        (48, b"\x02", "size of a memory"),
        (HEADER + 3, b"\x05", "never allocated"),
        (HEADER + 1, b"\0", "size of a memory"),
    ],
)
def test_damage_is_found(offset, data, rule):
    with pytest.raises((CorruptMemory, UnsupportedVersion), match=rule):
        MemoryManager(damaged(offset, data)).check()


def test_damage_under_a_live_manager_is_found():
    base = StableMemory()
    manager = MemoryManager(base, bucket_pages=1)
    memory = manager.get(0)
    memory.grow(2)
    base.write(HEADER + 1, b"\x09")
    for use in (memory.size, lambda: memory.read(0, 1), lambda: memory.grow(1), manager.check):
        assert raised(use) is CorruptMemory
    assert manager.violations()[0].rule


def test_read_only(tmp_path):
    with StableMemory.open(tmp_path / "m") as base:
        MemoryManager(base).get(0).grow(1)
    with StableMemory.open(tmp_path / "m", mode="r") as base:
        memory = MemoryManager(base).get(0)
        assert memory.read(0, 1) == b"\0"
        assert raised(lambda: memory.write(0, b"a")) is ReadOnly
        assert raised(lambda: memory.grow(1)) is ReadOnly


# ---- limits, faults ----


def test_growth_that_cannot_be_changes_nothing():
    base = StableMemory(max_pages=1 + 2 * 4)
    manager = MemoryManager(base, bucket_pages=4)
    memory = manager.get(0)
    assert memory.grow(5) == 0
    before = image(base)
    assert manager.get(1).grow(1) == memory.grow(4) == memory.grow(MAX_PAGES) == memory.grow(2**63) == -1
    assert image(base) == before
    assert memory.grow(3) == 5
    assert manager.sizes() == {0: 8}


def test_the_table_of_buckets_has_an_end():
    manager = MemoryManager(StableMemory(), bucket_pages=1)
    assert manager.get(0).grow(32_767) == 0
    assert manager.get(1).grow(2) == -1
    assert manager.get(1).grow(1) == 0
    assert manager.get(0).grow(1) == -1
    assert manager.allocated_buckets == 32_768
    manager.check()


@pytest.mark.parametrize("kind", ["size", "grow", "refuse", "read", "write"])
def test_a_failing_memory_leaves_everything_as_it_was(kind):
    for at in range(1, 100):
        trigger = Trigger()
        base = FailingMemory(trigger)
        manager = MemoryManager(base, bucket_pages=1)
        memory = manager.get(0)
        memory.grow(1)
        before = bytes(base.data)
        trigger.arm(kind, at)
        try:
            grown = memory.grow(2)
        except Boom:
            grown = -1
        if grown == 1:
            assert at > 1
            return
        trigger.arm("", 0)
        assert base.data.startswith(before)
        assert not any(base.data[len(before) :])
        manager.check()
        assert manager.sizes() == {0: 1}
        assert memory.grow(2) == 1
    pytest.fail("no end")


def test_a_manager_that_cannot_be_made_leaves_the_memory_as_it_was():
    assert raised(lambda: MemoryManager(ListMemory(0))) is OutOfMemory
    trigger = Trigger()
    failing = FailingMemory(trigger)
    for kind in ("grow", "write"):
        trigger.arm(kind, 1)
        assert raised(lambda: MemoryManager(failing)) is Boom
        assert not any(failing.data)
    assert MemoryManager(failing).sizes() == {}


def test_sizes():
    base = StableMemory()
    manager = MemoryManager(base, bucket_pages=4)
    manager.get(0).grow(3)
    used = manager.bytes_used()
    assert (used.live, used.allocated, used.reserved) == (HEADER + 32_768 + 3 * PAGE_SIZE, 5 * PAGE_SIZE, 5 * PAGE_SIZE)
    assert StableVec[u64](manager.get(1)).bytes_used().reserved == 4 * PAGE_SIZE


def test_threads_share_a_manager():
    manager = MemoryManager(StableMemory(), bucket_pages=1)
    seen: dict[int, set[int]] = {number: set() for number in range(4)}
    kept = []

    def work(number):
        for _ in range(50):
            for other in range(4):
                memory = manager.get(other)
                kept.append(memory)
                seen[other].add(id(memory))
            manager.get(number).grow(1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(objects) == 1 for objects in seen.values())
    assert manager.sizes() == dict.fromkeys(range(4), 50)
    manager.check()


def test_a_transaction_that_fails_takes_every_structure_back():
    base = StableMemory()
    manager = MemoryManager(base, bucket_pages=1)
    vec, heap = StableVec[u64](manager[0]), StableMinHeap[u64](manager[1])
    log, cell = StableLog[str](manager[2], manager[3]), StableCell[u64](manager[4], 0)
    keys, users = StableBTreeSet[u64](manager[5]), StableBTreeMap[u64, str](manager[6])

    def change(n):
        vec.extend(range(n))
        heap.push_many(range(n))
        log.extend(map(str, range(n)))
        cell.value = n
        keys.insert_many(range(n))
        users.update((k, str(k)) for k in range(n))
        manager[7].grow(1)

    change(10)
    before, iterators = image(base), [iter(part) for part in (vec, heap, log, keys, users)]

    def fail():
        with base.transaction():
            change(20_000)
            raise ZeroDivisionError

    assert raised(fail) is ZeroDivisionError
    assert image(base) == before
    assert (len(vec), len(heap), len(log), cell.get(), len(keys), len(users)) == (10,) * 6
    assert manager[7].size() == 1
    for iterator in iterators:
        assert raised(iterator.__next__) is RuntimeError
    with base.transaction():
        change(1000)
    for part in (vec, heap, log, cell, keys, users, manager):
        part.check()
    assert (list(vec)[10:], cell.get(), list(keys)) == (list(range(1000)), 1000, list(range(1000)))


def test_a_finalizer_in_the_midst_of_get_may_ask_for_a_memory(monkeypatch):
    manager = MemoryManager(StableMemory())
    new_handle = native.new_handle
    inner: list[VirtualMemory] = []

    def new_handle_and_finalize(*args):
        monkeypatch.setattr(native, "new_handle", new_handle)
        inner.append(manager.get(2))
        return new_handle(*args)

    monkeypatch.setattr(native, "new_handle", new_handle_and_finalize)
    assert manager.get(1).id == 1
    assert manager.get(2) is inner[0]
