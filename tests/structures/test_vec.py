"""StableVec against a list, in every kind of memory; slices, arrays, iterators; errors and faults."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from stable_structures import (
    PAGE_SIZE,
    BadMagic,
    Blob,
    BoundExceeded,
    Closed,
    CorruptMemory,
    IncompatibleType,
    MemoryInUse,
    OutOfBounds,
    OutOfMemory,
    ReadOnly,
    Record,
    Reverse,
    StableBTreeMap,
    StableBTreeSet,
    StableMemory,
    StableMinHeap,
    StableVec,
    UnsupportedVersion,
    f32,
    f64,
    i16,
    i64,
    u8,
    u16,
    u32,
    u64,
    u128,
)

from ..support.machines import ContainerMachine
from ..support.places import PLACES, SHORT, Place, faults, image, raised, refused_at_each_size

TYPES = {
    "u64": (u64, st.integers(0, 2**64 - 1) | st.sampled_from([2**64 - 1, 2**64 - 2])),
    "i16": (i16, st.integers(-(2**15), 2**15 - 1)),
    "reverse": (Reverse[u32], st.integers(0, 2**32 - 1)),
    "u128": (u128, st.integers(0, 2**128 - 1)),
    "f64": (f64, st.floats()),
    "bool": (bool, st.booleans()),
    "tuple": (tuple[u16, bool], st.tuples(st.integers(0, 2**16 - 1), st.booleans())),
    "blob5": (Blob(5), st.binary(max_size=5)),
    "blob300": (Blob(300), st.binary(max_size=300)),
    "blob70000": (Blob(70_000), st.binary(max_size=300)),
    "option": (Blob(4) | None, st.none() | st.binary(max_size=4)),
    "none": (None, st.none()),
}
MODELS = [*itertools.product(PLACES, ["i16", "blob300"]), *itertools.product(["flat", "managed"], sorted({*TYPES} - {"i16", "blob300"}))]


class VecMachine(ContainerMachine):
    """Every operation beside that of a list of encodings."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(kind, StableVec[TYPES[name][0]], *TYPES[name])
        self.model: list[bytes] = []

    @rule(data=st.data())
    def push(self, data):
        value = data.draw(self.values)
        (self.structure.push if data.draw(st.booleans()) else self.structure.append)(value)
        self.model.append(self.codec.encode(value))

    @rule(data=st.data(), count=st.integers(0, 40))
    def extend(self, data, count):
        values = data.draw(st.lists(self.values, min_size=count, max_size=count))
        self.structure.extend(iter(values) if data.draw(st.booleans()) else values)
        self.model.extend(self.encoded(values))

    @rule(data=st.data(), count=st.integers(0, 40))
    def extend_array(self, data, count):
        if self.codec.native_dtype is None:
            return
        values = data.draw(st.lists(self.values, min_size=count, max_size=count))
        self.structure.extend(np.array(values, self.codec.native_dtype))
        self.model.extend(self.encoded(values))

    @rule()
    def pop(self):
        had = bool(self.model)
        found = self.structure.pop()
        assert self.codec.encode(found) == self.model.pop() if had else found is None

    @rule(data=st.data())
    def set(self, data):
        value, index = data.draw(self.values), data.draw(st.integers(0, len(self.model) + 1))
        if index < len(self.model):
            self.structure.set(index, value)
            self.model[index] = self.codec.encode(value)
        else:
            assert raised(lambda: self.structure.set(index, value)) is OutOfBounds

    @rule(data=st.data())
    def assign(self, data):
        value, index = data.draw(self.values), data.draw(st.integers(-len(self.model) - 2, len(self.model) + 1))
        if -len(self.model) <= index < len(self.model):
            self.structure[index] = value
            self.model[index] = self.codec.encode(value)
        else:
            with pytest.raises(IndexError):
                self.structure[index] = value

    @rule(index=st.integers(-100, 100))
    def get(self, index):
        inside = -len(self.model) <= index < len(self.model)
        if inside:
            assert self.codec.encode(self.structure[index]) == self.model[index]
        else:
            assert raised(lambda: self.structure[index]) is OutOfBounds
        if index >= 0:
            found = self.structure.get(index)
            assert self.codec.encode(found) == self.model[index] if inside else found is None

    @rule(start=st.none() | st.integers(-60, 60), stop=st.none() | st.integers(-60, 60), step=st.none() | st.integers(-12, 12).filter(bool))
    def slice(self, start, stop, step):
        chosen = slice(start, stop, step)
        assert self.encoded(self.structure[chosen]) == self.model[chosen]
        if self.codec.dtype is not None and step is None:
            assert self.encoded(self.structure.to_numpy(start or 0, stop).tolist()) == self.model[slice(start or 0, stop)]

    @rule(steps=st.lists(st.integers(0, 8), max_size=30), reverse=st.booleans())
    def both_ends(self, steps, reverse):
        """0 a step forward, 1 a step back, n > 1 skips n."""
        iterator, left = self.structure.iter(), list(self.model)
        if reverse:
            iterator = type(iterator)(self.structure, 0, len(self.structure), reverse=True)
            left.reverse()
        for step in steps:
            if step > 1:
                assert iterator.skip(step) == min(step, len(left))
                del left[:step]
            elif left:
                found = iterator.next_back() if step else next(iterator)
                assert self.codec.encode(found) == left.pop(-1 if step else 0)
            else:
                assert raised(iterator.next_back if step else iterator.__next__) is StopIteration
        assert self.encoded(iterator) == left

    def add(self, data) -> None:
        self.push(data)

    @invariant()
    def same(self):
        assert len(self.structure) == len(self.model)
        assert self.structure.is_empty() == (not self.model)
        assert self.encoded(self.structure) == self.model
        assert self.encoded(reversed(self.structure)) == self.model[::-1]
        self.structure.check()
        assert self.structure.violations() == []


@pytest.mark.parametrize(("kind", "name"), MODELS)
def test_behaves_as_a_list(kind, name):
    run_state_machine_as_test(lambda: VecMachine(kind, name), settings=SHORT)


# ---- bytes ----


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
def test_extend_writes_the_bytes_of_the_loop(name, data):
    tp, strategy = TYPES[name]
    values = data.draw(st.lists(strategy, max_size=50))
    loop, bulk = StableMemory(), StableMemory()
    one, many = StableVec[tp](loop), StableVec[tp](bulk)
    for value in values:
        one.push(value)
    many.extend(values[:3])
    many.extend(values[3:])
    assert image(bulk) == image(loop)


def test_the_bytes_are_those_of_the_format():
    memory = StableMemory()
    vec = StableVec[Blob(300)](memory)
    vec.push(b"abc")
    vec.push(b"")
    vec.pop()
    expected = b"SVC\x01" + (1).to_bytes(8, "little") + (300).to_bytes(4, "little") + b"\0" * 48 + b"\x03\0abc"
    assert image(memory) == expected.ljust(PAGE_SIZE, b"\0")


# ---- Python's protocols ----


def vec_of(*values, tp=u64):
    vec = StableVec[tp](StableMemory())
    vec.extend(values)
    return vec


def test_indices_may_be_numpys_and_must_be_whole():
    vec = vec_of(5, 6, 7)
    assert vec[np.int64(1)] == 6
    assert vec[np.uint8(2)] == vec[np.int8(-1)] == 7
    assert vec.get(np.int64(0)) == 5
    vec[np.int64(-1)] = 8
    vec.set(np.uint8(0), 4)
    assert list(vec) == [4, 6, 8]
    for wrong in (1.0, "1", None, np.float64(1)):
        with pytest.raises(TypeError):
            vec[wrong]
        with pytest.raises(TypeError):
            vec.get(wrong)
        with pytest.raises(TypeError):
            vec[wrong] = 1


def test_an_index_past_the_end_is_told():
    vec = vec_of(5, 6)
    with pytest.raises(OutOfBounds, match=r"index 2 is out of range; use -2 to 1"):
        vec[2]
    with pytest.raises(OutOfBounds, match=r"index -3 is out of range"):
        vec[-3]
    with pytest.raises(OutOfBounds, match=r"index 2 is out of range"):
        vec[2] = 1
    with pytest.raises(OutOfBounds, match=r"index 9 is out of range"):
        vec.set(9, 1)
    with pytest.raises(OutOfBounds, match="it is empty"):
        vec_of()[0]
    assert vec.get(2) is None


@pytest.mark.parametrize("huge", [2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**200])
def test_a_huge_index_is_past_the_end(huge):
    vec = vec_of(5)
    assert vec.get(huge) is None
    for use in (lambda: vec[huge], lambda: vec[-huge], lambda: vec.set(huge, 1), lambda: vec.__setitem__(huge, 1)):
        assert raised(use) is OutOfBounds


def test_the_crates_operations_count_from_zero():
    vec = vec_of(5)
    with pytest.raises(OutOfBounds, match=r"v\[-1\] to count from the end"):
        vec.get(-1)
    with pytest.raises(OutOfBounds, match=r"v\[-1\] to count from the end"):
        vec.set(-1, 5)


def test_slices_cannot_be_assigned_to():
    with pytest.raises(TypeError, match="item by item"):
        vec_of(1, 2)[0:1] = [3]


def test_searching():
    vec = vec_of(5, 6, 5)
    assert 6 in vec
    assert "6" not in vec
    assert vec.index(5) == 0
    assert vec.index(5, 1) == vec.index(5, -1) == 2
    assert vec.count(5) == 2
    with pytest.raises(ValueError, match="value 9 not found"):
        vec.index(9)
    with pytest.raises(ValueError, match="value 6 not found"):
        vec.index(6, 2)


def test_arrays():
    vec = vec_of(1, 2, 3, tp=i64)
    array = vec.to_numpy()
    assert array.dtype == np.int64
    array[0] = 9
    assert vec[0] == 1, "it is a copy"
    assert np.asarray(vec).tolist() == [1, 2, 3]
    assert np.asarray(vec, dtype=np.float32).dtype == np.float32
    assert np.array(vec, copy=True).tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="only returns copies"):
        np.array(vec, copy=False)
    assert (np.add(vec, 1) == [2, 3, 4]).all()
    assert vec.to_numpy(1).tolist() == [2, 3]
    assert vec.to_numpy(-1).tolist() == [3]
    assert vec.to_numpy(2, 1).tolist() == []
    assert vec.to_numpy(0, 100).tolist() == [1, 2, 3]


def test_arrays_of_every_dtype():
    record = Record(np.dtype([("a", "<u2"), ("b", "<f4")]))
    for tp, values in [(f32, [0.5]), (u8, [255]), (bool, [True, False]), (tuple[u16, u8], [(1, 2)])]:
        vec = vec_of(*values, tp=tp)
        assert vec.to_numpy().tolist() == values
        vec.extend(vec.to_numpy())
        assert list(vec) == values * 2
    rows = np.array([(1, 0.5), (2, 1.5)], record.native_dtype)
    vec = StableVec[record](StableMemory())
    vec.extend(rows)
    assert vec.to_numpy().tolist() == rows.tolist()


def test_types_without_an_array_say_so():
    vec = vec_of(b"a", tp=Blob(4))
    with pytest.raises(IncompatibleType, match="no numpy form"):
        vec.to_numpy()
    with pytest.raises(IncompatibleType, match="no numpy form"):
        np.asarray(vec)


def test_extend_takes_itself_and_nothing():
    vec = vec_of(1, 2)
    vec.extend(vec)
    vec.extend([])
    vec.extend(np.zeros(0, np.uint64))
    vec.extend(np.arange(4, dtype=np.uint64)[::2])
    assert list(vec) == [1, 2, 1, 2, 0, 2]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([1, 2, 300], BoundExceeded),
        ([1, -1], BoundExceeded),
        ([1, "2"], IncompatibleType),
        ([1, 2.0], IncompatibleType),
        (np.array([1, 300]), BoundExceeded),
        (np.array([1.0]), IncompatibleType),
        (np.array([[1]]), IncompatibleType),
    ],
)
def test_extend_is_all_or_nothing(values, error):
    memory = StableMemory()
    vec = StableVec[u8](memory)
    vec.push(7)
    before = image(memory)
    with pytest.raises(error):
        vec.extend(values)
    assert image(memory) == before
    assert list(vec) == [7]


def test_an_iterable_that_fails_changes_nothing():
    vec = vec_of(7)
    with pytest.raises(ZeroDivisionError):
        vec.extend(1 // n for n in (1, 0))
    assert list(vec) == [7]


# ---- iterators ----


def test_iterators_end_with_the_structure():
    memory = StableMemory()
    vec = StableVec[u64](memory)
    vec.extend(range(100))
    iterator = iter(vec)
    assert next(iterator) == 0
    memory.close()
    with pytest.raises(Closed):
        list(iterator)


@pytest.mark.parametrize(
    "change", [lambda v: v.push(1), lambda v: v.pop(), lambda v: v.set(0, 1), lambda v: v.clear(), lambda v: v.extend([1])]
)
@pytest.mark.parametrize("taken", [0, 1, 16, 17, 99])
def test_a_change_ends_an_iterator(change, taken):
    vec = vec_of(*range(100))
    iterator, backwards = vec.iter(), reversed(vec)
    for _ in range(taken):
        next(iterator)
        next(backwards)
    change(vec)
    for use in (iterator.__next__, iterator.next_back, lambda: iterator.skip(1), backwards.__next__):
        assert raised(use) in (RuntimeError, StopIteration)
    with pytest.raises(RuntimeError, match="changed during iteration"):
        iterator.skip(1)


def test_other_structures_on_the_memory_may_change():
    place = Place("managed")
    vec, other = StableVec[u64](place.memories[0]), StableVec[u64](place.memories[1])
    vec.extend(range(100))
    for value in vec:
        other.push(value)
    assert list(other) == list(range(100))


# ---- opening ----


def test_three_ways_to_open():
    memory = StableMemory()
    with pytest.raises(BadMagic, match="holds nothing"):
        StableVec[u64].load(memory)
    vec = StableVec[u64](memory)
    vec.push(5)
    assert vec.memory is memory
    vec.into_memory()
    vec = StableVec[u64].load(memory)
    assert list(vec) == [5]
    vec.into_memory()
    assert list(StableVec[u64].new(memory)) == []


def test_a_live_structure_has_its_memory_for_itself():
    memory = StableMemory()
    vec = StableVec[u64](memory)
    with pytest.raises(MemoryInUse, match=r"into_memory\(\)"):
        StableVec[u64](memory)
    with pytest.raises(MemoryInUse):
        StableMinHeap[u64].new(memory)
    assert vec.into_memory() is memory
    for use in (lambda: vec.push(1), lambda: vec.get(0), lambda: len(vec), lambda: list(vec), vec.check, vec.clear, vec.into_memory):
        assert raised(use) is Closed
    StableVec[u64](memory)


def test_a_structure_keeps_its_memory_and_lets_go_of_it():
    memory = StableMemory()
    vec = StableVec[u64](memory)
    del memory
    vec.push(1)
    memory = vec.memory
    del vec
    assert list(StableVec[u64](memory)) == [1]


@pytest.mark.parametrize("wrong", [u32, i16, Blob(8), tuple[u32, u64]])
def test_another_element_type_is_refused(wrong):
    memory = StableMemory()
    StableVec[u64](memory).push(1)
    before = image(memory)
    with pytest.raises(IncompatibleType, match="open it with the types that it was written with"):
        StableVec[wrong](memory)
    assert image(memory) == before


def test_what_is_no_vec_is_refused():
    memory = StableMemory()
    memory.grow(1)
    with pytest.raises(BadMagic, match=r"\.new\(memory\)"):
        StableVec[u64].load(memory)
    memory.write(0, b"SVC\x02")
    with pytest.raises(UnsupportedVersion, match="newer"):
        StableVec[u64](memory)
    memory.write(0, b"SMH\x01")
    with pytest.raises(BadMagic):
        StableVec[u64](memory)


def test_a_damaged_length_is_found():
    memory = StableMemory()
    vec = StableVec[u64](memory)
    vec.push(1)
    memory.write(4, (10**6).to_bytes(8, "little"))
    for use in (lambda: len(vec), lambda: vec.get(0), lambda: vec.push(1), vec.check, lambda: list(vec)):
        assert raised(use) is CorruptMemory
    vec.into_memory()
    assert raised(lambda: StableVec[u64](memory)) is CorruptMemory


def test_types_without_a_bound_are_refused():
    with pytest.raises(IncompatibleType, match=r"bounded type such as Blob\(max_size\), or a StableLog"):
        StableVec[str]


def test_types_are_needed():
    with pytest.raises(IncompatibleType, match=r"StableVec\[T\]\(memory\)"):
        StableVec(StableMemory())
    with pytest.raises(TypeError, match="takes 1 type, got 2"):
        StableVec[u64, u64]
    with pytest.raises(TypeError, match="one memory, got 2"):
        StableVec[u64].new(StableMemory(), 1)


def test_values_outside_their_type_are_refused():
    vec = vec_of(1, tp=u8)
    for use in (
        lambda: vec.push(256),
        lambda: vec.set(0, 256),
        lambda: vec.__setitem__(0, 256),
        lambda: vec.push(-1),
        lambda: vec.set(0, 2**70),
    ):
        with pytest.raises(BoundExceeded, match="u8 holds 0 to 255"):
            use()
    signed = vec_of(1, tp=i16)
    for wrong in (2**15, -(2**15) - 1, 2**64, -(2**64)):
        with pytest.raises(BoundExceeded, match="i16 holds -32768 to 32767"):
            signed.push(wrong)
    with pytest.raises(IncompatibleType, match="expected an integer"):
        vec.push("1")
    with pytest.raises(BoundExceeded, match="at most 4 bytes"):
        vec_of(tp=Blob(4)).push(b"12345")
    assert list(vec) == list(signed) == [1]


def test_none_in_an_option_of_fixed_size_is_refused():
    vec = vec_of(5, tp=u64 | None)
    with pytest.raises(BoundExceeded, match="cannot hold None"):
        vec.push(None)
    with pytest.raises(BoundExceeded, match="cannot hold None"):
        vec[0] = None
    assert list(vec) == [5]


def test_read_only(tmp_path):
    with StableMemory.open(tmp_path / "m") as memory:
        StableVec[u64](memory).push(5)
    with StableMemory.open(tmp_path / "m", mode="r") as memory:
        vec = StableVec[u64](memory)
        assert vec[:] == [5]
        for use in (lambda: vec.push(1), vec.pop, vec.clear, lambda: vec.set(0, 1), lambda: vec.extend([1])):
            assert raised(use) is ReadOnly


def test_iterating_a_read_only_file(tmp_path):
    with StableMemory.open(tmp_path / "m") as memory:
        StableVec[u64](memory).push(5)
    with StableMemory.open(tmp_path / "m", mode="r") as memory:
        assert list(StableVec[u64](memory)) == [5]


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_a_reader_sees_what_a_writer_left_and_its_iterators_end(tmp_path, durability):
    with StableMemory.open(tmp_path / "m") as memory:
        StableVec[u64](memory).extend(range(1000))
    with StableMemory.open(tmp_path / "m", mode="r") as reader:
        seen = StableVec[u64](reader)
        for turn in range(5):
            iterator = iter(seen)
            assert next(iterator) == 0
            with StableMemory.open(tmp_path / "m", durability=durability) as memory:
                StableVec[u64](memory).set(999, turn)
            with pytest.raises(RuntimeError, match="changed"):
                list(iterator)
            assert list(seen)[-1] == turn


def test_sizes():
    vec = vec_of(1, 2, 3)
    used = vec.bytes_used()
    assert (used.live, used.allocated, used.reserved) == (64 + 24, 64 + 24, PAGE_SIZE)


def test_copying_into_a_larger_type():
    old, new = vec_of(1, 2, tp=u8), StableVec[u64](StableMemory())
    steps = []
    old.copy_into(new, lambda done, total: steps.append((done, total)))
    assert list(new) == [1, 2]
    assert steps == [(2, 2)]
    with pytest.raises(IncompatibleType, match="of the same kind"):
        old.copy_into(StableMinHeap[u8](StableMemory()))


class Counts(StableVec[u8]):
    """A class of the user's."""


@pytest.mark.parametrize(("kind", "other"), [(Counts, StableVec[u64]), (StableVec[u8], Counts), (Counts, Counts)])
def test_copying_between_a_class_and_one_that_derives_from_it(kind, other):
    old, new = kind(StableMemory()), other(StableMemory())
    old.extend([1, 2])
    old.copy_into(new)
    assert list(new) == [1, 2]


def test_a_map_is_not_copied_into_a_set():
    tree, keys = StableBTreeMap[u8, u8](StableMemory()), StableBTreeSet[u8](StableMemory())
    for one, other in ((tree, keys), (keys, tree), (tree, tree)):
        with pytest.raises(IncompatibleType, match="of the same kind"):
            one.copy_into(other)


@pytest.mark.parametrize("n", [1.5, "2", None])
def test_only_whole_items_are_skipped(n):
    """Or the place of the iterator would be no index any more."""
    iterator = vec_of(1, 2, 3).iter()
    with pytest.raises(TypeError):
        iterator.skip(n)
    assert list(iterator) == [1, 2, 3]


# ---- faults ----


def step(vec, n):
    (vec.push if n % 3 else lambda value: vec.extend([value] * 40))(b"x" * (n % 700))


def test_a_full_memory_refuses_and_changes_nothing():
    refused_at_each_size(StableVec[u64], lambda vec, n: vec.push(n), 2)
    for pages in (1, 2, 3):
        memory = StableMemory(max_pages=pages)
        vec, count = StableVec[Blob(700)](memory), 0
        while True:
            before = image(memory)
            try:
                step(vec, count)
            except OutOfMemory:
                break
            count += 1
        assert image(memory) == before
        vec.check()


@pytest.mark.parametrize(
    "operation",
    [
        lambda v: v.push(b"z" * 70_000),
        lambda v: v.extend([b"y" * 65_000, b"", b"x" * 70_000]),
        lambda v: v.set(2, b"w" * 70_000),
        lambda v: v.pop(),
        lambda v: v.clear(),
    ],
    ids=["push", "extend", "set", "pop", "clear"],
)
def test_a_failing_memory_leaves_everything_as_it_was(operation):
    def make(memory):
        vec = StableVec[Blob(70_000)](memory)
        vec.extend([b"a", b"bb", b"ccc"])
        return vec

    for vec in faults(make, operation):
        assert list(vec) == [b"a", b"bb", b"ccc"]


def test_threads_share_a_vec():
    vec = vec_of()
    barrier = threading.Barrier(4)

    def work(start):
        barrier.wait()
        for n in range(start, start + 500):
            vec.push(n)
            vec[-1]
            vec[-3:]

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(vec) == [1000 * n + m for n in range(4) for m in range(500)]
    vec.check()


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda copier: copier.__name__)
def test_a_structure_is_neither_copied_nor_pickled(copier):
    with pytest.raises(TypeError, match="cannot be copied or pickled"):
        copier(StableVec[u64](StableMemory()))
