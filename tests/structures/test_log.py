"""StableLog against a list, in every kind of memory and on two of them; errors and faults."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from stable_structures import (
    PAGE_SIZE,
    BadMagic,
    BoundExceeded,
    Cbor,
    Closed,
    CorruptMemory,
    IncompatibleType,
    MemoryInUse,
    MemoryManager,
    OutOfBounds,
    OutOfMemory,
    StableLog,
    StableMemory,
    StableVec,
    UnsupportedVersion,
    i16,
    u8,
    u64,
)

from ..support.machines import ContainerMachine
from ..support.places import PLACES, SHORT, faults, image, raised

TYPES = {
    "bytes": (bytes, st.binary(max_size=20) | st.sampled_from([b"x" * 300, b"y" * 65_536, b"z" * 70_000])),
    "str": (str, st.text(max_size=20)),
    "i16": (i16, st.integers(-(2**15), 2**15 - 1)),
    "none": (None, st.none()),
}
MODELS = [*((kind, "bytes") for kind in PLACES), *itertools.product(["flat", "managed"], ["str", "i16", "none"])]


class LogMachine(ContainerMachine):
    """Every operation beside a list of encodings."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(kind, StableLog[TYPES[name][0]], *TYPES[name])
        self.model: list[bytes] = []

    def open(self) -> None:
        self.structure = self.type(*self.place.memories)

    def release(self) -> None:
        assert self.structure.into_memories() == tuple(self.place.memories)

    @rule(data=st.data())
    def append(self, data):
        value = data.draw(self.values)
        assert self.structure.append(value) == len(self.model)
        self.model.append(self.codec.encode(value))

    @rule(data=st.data(), count=st.integers(0, 30))
    def extend(self, data, count):
        values = data.draw(st.lists(self.values, min_size=count, max_size=count))
        as_array = self.codec.native_dtype is not None and data.draw(st.booleans())
        self.structure.extend(np.array(values, self.codec.native_dtype) if as_array else iter(values))
        self.model.extend(self.encoded(values))

    @rule(index=st.integers(-60, 60))
    def get(self, index):
        inside = -len(self.model) <= index < len(self.model)
        if inside:
            assert self.codec.encode(self.structure[index]) == self.model[index]
        else:
            assert raised(lambda: self.structure[index]) is OutOfBounds
        if index >= 0:
            found = self.structure.get(index)
            assert self.codec.encode(found) == self.model[index] if inside else found is None
            if inside:
                assert self.structure.read_entry(index) == self.model[index]

    @rule(start=st.none() | st.integers(-60, 60), stop=st.none() | st.integers(-60, 60), step=st.none() | st.integers(-12, 12).filter(bool))
    def slice(self, start, stop, step):
        chosen = slice(start, stop, step)
        assert self.encoded(self.structure[chosen]) == self.model[chosen]

    @rule(front=st.integers(0, 5), back=st.integers(0, 5), skip=st.integers(0, 40))
    def both_ends(self, front, back, skip):
        iterator, left = self.structure.iter(), list(self.model)
        for _ in range(min(front, len(left))):
            assert self.codec.encode(next(iterator)) == left.pop(0)
        for _ in range(min(back, len(left))):
            assert self.codec.encode(iterator.next_back()) == left.pop()
        assert iterator.skip(skip) == min(skip, len(left))
        assert self.encoded(iterator) == left[skip:]

    def add(self, data) -> None:
        self.append(data)

    @invariant()
    def same(self):
        assert len(self.structure) == len(self.model)
        assert self.structure.is_empty() == (not self.model)
        assert self.encoded(self.structure) == self.model
        assert self.encoded(reversed(self.structure)) == self.model[::-1]
        first, last = self.structure.first(), self.structure.last()
        assert self.encoded([first, last]) == [self.model[0], self.model[-1]] if self.model else (first is None and last is None)
        size = sum(map(len, self.model))
        assert self.structure.log_size_bytes() == size
        assert self.structure.data_size_bytes() == 32 + size
        assert self.structure.index_size_bytes() == 40 + 8 * len(self.model)
        self.structure.check()


@pytest.mark.parametrize(("kind", "name"), MODELS)
def test_behaves_as_a_list(kind, name):
    run_state_machine_as_test(lambda: LogMachine(kind, name), settings=SHORT)


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
def test_extend_writes_the_bytes_of_the_loop(name, data):
    tp, strategy = TYPES[name]
    values = data.draw(st.lists(strategy, max_size=30))
    loop, bulk = [StableMemory(), StableMemory()], [StableMemory(), StableMemory()]
    one, many = StableLog[tp](*loop), StableLog[tp](*bulk)
    for value in values:
        one.append(value)
    many.extend(values[:3])
    many.extend(values[3:])
    assert list(map(image, bulk)) == list(map(image, loop))


def log_of(*values, tp=str):
    log = StableLog[tp](StableMemory(), StableMemory())
    log.extend(values)
    return log


def test_searching():
    log = log_of("a", "b", "a")
    assert "b" in log
    assert (log.index("a", 1), log.count("a")) == (2, 2)
    with pytest.raises(ValueError, match="value 'c' not found"):
        log.index("c")


def test_an_index_past_the_end_is_told():
    log = log_of("a")
    with pytest.raises(OutOfBounds, match=r"index 1 is out of range; use -1 to 0"):
        log[1]
    with pytest.raises(OutOfBounds, match=r"entry 1 not found; the log has 1"):
        log.read_entry(1)
    with pytest.raises(OutOfBounds, match=r"0 or more, got -1"):
        log.read_entry(-1)
    assert log.get(1) is log.get(2**64) is None


# ---- opening ----


def test_three_ways_to_open():
    memories = StableMemory(), StableMemory()
    with pytest.raises(BadMagic):
        StableLog[str].load(*memories)
    log = StableLog[str](*memories)
    assert [memory.size() for memory in memories] == [1, 1]
    log.append("a")
    assert (log.memory, log.index_memory, log.data_memory) == (memories[0], *memories)
    assert log.into_memories() == memories
    index, data = memories
    log = StableLog[str].load(index=index, data=data)
    assert list(log) == ["a"]
    log.into_memories()
    assert list(StableLog[str].new(index=index, data=data)) == []
    assert list(StableLog[str](index=index, data=data)) == []


def test_two_memories_are_needed():
    memory = StableMemory()
    with pytest.raises(TypeError, match="'data'"):
        StableLog[str].new(memory)
    with pytest.raises(MemoryInUse):
        StableLog[str](memory, memory)
    with pytest.raises(TypeError, match=r"into_memories\(\)"):
        log_of().into_memory()
    with pytest.raises(TypeError, match="lacks size, grow, read, write"):
        StableLog[str](memory, object())
    with pytest.raises(IncompatibleType, match=r"StableLog\[T\]"):
        StableLog(memory, StableMemory())
    StableLog[str](memory, StableMemory())


def test_ownership():
    memories = index, data = StableMemory(), StableMemory()
    log = StableLog[str](*memories)
    for memory in memories:
        with pytest.raises(MemoryInUse):
            StableVec[u64](memory)
    with pytest.raises(MemoryInUse):
        StableLog[str](StableMemory(), data)
    with pytest.raises(MemoryInUse):
        StableLog[str](index, StableMemory())
    log.into_memories()
    for use in (lambda: log.append("a"), lambda: log.get(0), lambda: len(log), lambda: list(log), log.check, log.clear, log.log_size_bytes):
        assert raised(use) is Closed
    StableLog[str](*memories)


def test_closing_one_memory_closes_the_log():
    index, data = StableMemory(), StableMemory()
    log = StableLog[str](index, data)
    log.append("a")
    data.close()
    for use in (lambda: log.append("a"), lambda: log.get(0), lambda: list(log)):
        assert raised(use) is Closed


def test_the_data_memory_decides_and_neither_is_overwritten():
    index, data = StableMemory(), StableMemory()
    log = StableLog[str](index, data)
    log.append("a")
    log.into_memories()
    with pytest.raises(BadMagic):
        StableLog[str](StableMemory(), data)
    other = StableMemory()
    other.grow(1)
    with pytest.raises(BadMagic, match="the index of a StableLog"):
        StableLog[str](index, other)
    log = StableLog[str](StableMemory(), other)
    assert len(log) == 0
    log.into_memories()
    data.write(3, b"\x02")
    with pytest.raises(UnsupportedVersion, match="newer"):
        StableLog[str](index, data)


def test_damage_is_found():
    index, data = StableMemory(), StableMemory()
    log = StableLog[bytes](index, data)
    log.extend([b"abc", b"de"])
    index.write(48, (2).to_bytes(8, "little"))
    with pytest.raises(CorruptMemory, match="end of an entry, against the one before it"):
        log.check()
    assert raised(lambda: log.get(1)) is CorruptMemory
    assert raised(lambda: list(log)) is CorruptMemory
    index.write(48, (PAGE_SIZE).to_bytes(8, "little"))
    with pytest.raises(CorruptMemory, match="against the data memory"):
        log.append(b"f")
    index.write(32, (2**40).to_bytes(8, "little"))
    with pytest.raises(CorruptMemory, match="number of entries"):
        len(log)
    log.into_memories()
    with pytest.raises(CorruptMemory):
        StableLog[bytes](index, data)


def test_entries_of_another_type_are_told():
    memories = StableMemory(), StableMemory()
    log = StableLog[bytes](*memories)
    log.append(b"\xff")
    log.into_memories()
    with pytest.raises(IncompatibleType, match=r"StableLog\[str\].*UTF-8.*written with other types"):
        StableLog[str](*memories).get(0)


def test_values_outside_their_type_are_refused():
    log = log_of(1, tp=u8)
    for use in (lambda: log.append(256), lambda: log.extend([1, 256]), lambda: log.extend(np.array([1, 256]))):
        with pytest.raises(BoundExceeded, match="u8 holds 0 to 255, got 256"):
            use()
    with pytest.raises(IncompatibleType):
        log.append("1")
    assert list(log) == [1]


def test_any_value_as_cbor():
    log = log_of({"a": [1, 2]}, None, 3.5, tp=Cbor)
    assert log[:] == [{"a": [1, 2]}, None, 3.5]


def test_copying_and_sizes():
    log = log_of(1, 2, 3, tp=u8)
    new = StableLog[u64](StableMemory(), StableMemory())
    log.copy_into(new)
    assert list(new) == [1, 2, 3]
    assert new.bytes_used().live == new.index_size_bytes() + new.data_size_bytes()


# ---- faults ----


@pytest.mark.parametrize("pages", [(1, 1), (1, 3), (3, 1), (2, 2)])
@pytest.mark.parametrize("size", [0, 1, 100, 30_000])
def test_a_full_memory_refuses_and_changes_nothing(pages, size):
    memories = [StableMemory(max_pages=n) for n in pages]
    log, count = StableLog[bytes](*memories), 0
    while True:
        before = list(map(image, memories))
        try:
            if count % 50:
                log.append(b"x" * size)
                count += 1
            else:
                log.extend([b"y" * size] * 51)
                count += 51
        except OutOfMemory:
            break
    assert list(map(image, memories)) == before
    assert len(log) == count
    log.check()


OPERATIONS = {
    "append": lambda log: log.append(b"z" * 70_000),
    "extend": lambda log: log.extend([*[b""] * 9000, b"x" * 70_000]),  # both memories grow
    "clear": lambda log: log.clear(),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_failing_memories_leave_everything_as_it_was(operation):
    def make(index, data):
        log = StableLog[bytes](index, data)
        log.extend([b"a", b"bb"])
        return log

    for log in faults(make, OPERATIONS[operation], memories=2):
        assert list(log) == [b"a", b"bb"]


def test_a_failure_on_shared_pages_of_a_manager():
    manager = MemoryManager(StableMemory(max_pages=4), bucket_pages=1)
    log = StableLog[bytes](manager.get(0), manager.get(1))
    log.append(b"x" * 65_000)
    before = image(manager.memory)
    assert raised(lambda: log.append(b"y" * 70_000)) is OutOfMemory
    assert image(manager.memory) == before
    assert log.append(b"z" * 66_000) == 1


def test_threads_share_a_log():
    log = log_of()

    def work(name):
        for n in range(300):
            index = log.append(f"{name} {n}")
            assert log[index] == f"{name} {n}"

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(log) == sorted(f"{name} {n}" for name in "abcd" for n in range(300))
