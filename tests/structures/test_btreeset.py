"""StableBTreeSet against a set, in every kind of memory; two sets; errors and faults."""

from __future__ import annotations

import functools
import itertools
import operator
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from stable_structures import (
    BadMagic,
    Blob,
    Bounded,
    BoundExceeded,
    Closed,
    IncompatibleType,
    MemoryInUse,
    OutOfMemory,
    Principal,
    Reverse,
    StableBTreeMap,
    StableBTreeSet,
    StableMemory,
    UnsupportedVersion,
    f64,
    i16,
    u8,
    u32,
    u64,
)

from ..support.machines import ContainerMachine
from ..support.places import PLACES, SHORT, faults, image, raised, refused_at_each_size

TYPES = {
    "u64": (u64, st.integers(0, 60) | st.integers(0, 2**64 - 1)),
    "i16": (i16, st.integers(-30, 30)),
    "reverse": (Reverse[u32], st.integers(0, 60)),
    "str": (str, st.text("abc", max_size=5)),
    "blob": (Blob(5), st.binary(max_size=2)),
    "principal": (Principal, st.binary(max_size=2).map(Principal)),
    "tuple": (tuple[u8, bool], st.tuples(st.integers(0, 20), st.booleans())),
    "option": (Blob(2) | None, st.none() | st.binary(max_size=1)),
    "long": (bytes, st.builds(lambda n, size: b"%03d" % n + b"x" * size, st.integers(0, 60), st.sampled_from([0, 1000, 5000]))),
}
MODELS = [*itertools.product(PLACES, ["u64", "long"]), *itertools.product(["flat", "managed"], sorted({*TYPES} - {"u64", "long"}))]


class SetMachine(ContainerMachine):
    """Every operation beside a set."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(kind, StableBTreeSet[TYPES[name][0]], *TYPES[name])
        self.model: set[Any] = set()

    def ordered(self, keys=None) -> list:
        return sorted(self.model if keys is None else keys, key=functools.cmp_to_key(self.codec.compare))

    def draw_keys(self, data, most=40) -> list:
        return data.draw(st.lists(self.values, max_size=most))

    @rule(data=st.data(), adding=st.booleans())
    def insert(self, data, adding):
        key = data.draw(self.values)
        if adding:
            assert self.structure.add(key) is None
        else:
            assert self.structure.insert(key) is (key not in self.model)
        self.model.add(key)

    @rule(data=st.data())
    def insert_many(self, data):
        keys = self.draw_keys(data)
        assert self.structure.insert_many(keys) == len(set(keys) - self.model)
        self.model.update(keys)

    @rule(data=st.data(), discarding=st.booleans())
    def remove(self, data, discarding):
        key = data.draw(self.values)
        if discarding:
            assert self.structure.discard(key) is None
        else:
            assert self.structure.remove(key) is (key in self.model)
        self.model.discard(key)

    @rule(data=st.data())
    def remove_many(self, data):
        keys = self.draw_keys(data)
        assert self.structure.remove_many(keys).sum() == len(set(keys) & self.model)
        self.model.difference_update(keys)

    @rule(data=st.data())
    def contains(self, data):
        key = data.draw(self.values)
        assert (key in self.structure) is self.structure.contains(key) is (key in self.model)

    @rule(end=st.sampled_from(["pop_first", "pop_last", "pop"]))
    def pop(self, end):
        ordered = self.ordered()
        if ordered:
            key = ordered[-1 if end == "pop_last" else 0]
            assert getattr(self.structure, end)() == key
            self.model.remove(key)
        elif end == "pop":
            assert raised(self.structure.pop) is KeyError
        else:
            assert getattr(self.structure, end)() is None

    @rule(data=st.data(), low=st.booleans(), high=st.booleans(), reverse=st.booleans())
    def range(self, data, low, high, reverse):
        start, stop = data.draw(self.values), data.draw(self.values)
        compare = self.codec.compare
        start, stop = (None if key is None else key for key in (start, stop))
        inside = [
            key
            for key in self.ordered()
            if (start is None or compare(key, start) > (-1 if low else 0)) and (stop is None or compare(key, stop) < (1 if high else 0))
        ]
        assert list(self.structure.range(start, stop, inclusive=(low, high), reverse=reverse)) == inside[:: -1 if reverse else 1]
        if self.codec.dtype is not None:
            assert self.structure.to_numpy(start, stop, inclusive=(low, high)).tolist() == inside

    @rule(data=st.data(), stable=st.booleans())
    def two_sets(self, data, stable):
        keys = self.draw_keys(data)
        other = self.type(StableMemory()) if stable else keys
        if stable:
            other.insert_many(keys)
        for name in ("union", "intersection", "difference", "symmetric_difference"):
            assert list(getattr(self.structure, name)(other)) == self.ordered(getattr(self.model, name)(keys)), name
        assert self.structure.is_subset(other) is self.model.issubset(keys)
        assert self.structure.is_superset(other) is self.model.issuperset(keys)
        assert self.structure.is_disjoint(other) is self.structure.isdisjoint(other) is self.model.isdisjoint(keys)

    @rule(data=st.data(), sign=st.sampled_from(["or_", "and_", "sub", "xor", "lt", "le", "gt", "ge", "eq", "ne"]))
    def operators(self, data, sign):
        keys, operation = set(self.draw_keys(data)), getattr(operator, sign)
        found = operation(self.structure, keys)
        assert found == operation(self.model, keys)
        assert type(found) in (set, bool)
        assert operation(keys, self.structure) == operation(keys, self.model)

    @rule(data=st.data(), sign=st.sampled_from(["ior", "iand", "isub", "ixor"]), stable=st.booleans())
    def in_place(self, data, sign, stable):
        keys = set(self.draw_keys(data))
        other = self.type(StableMemory()) if stable else keys
        if stable:
            other.insert_many(list(keys))
        same = self.structure
        self.structure = getattr(operator, sign)(self.structure, other)
        assert self.structure is same
        self.model = getattr(operator, sign)(self.model, keys)

    def add(self, data) -> None:
        self.insert(data, adding=True)

    @invariant()
    def same(self):
        ordered = self.ordered()
        assert len(self.structure) == len(ordered)
        assert self.structure.is_empty() == (not ordered)
        assert list(self.structure) == list(self.structure.iter()) == ordered
        assert list(reversed(self.structure)) == ordered[::-1]
        assert (self.structure.first(), self.structure.last()) == ((ordered[0], ordered[-1]) if ordered else (None, None))
        self.structure.check()


@pytest.mark.parametrize(("kind", "name"), MODELS)
def test_behaves_as_a_set(kind, name):
    run_state_machine_as_test(lambda: SetMachine(kind, name), settings=SHORT)


def set_of(*keys, tp=u64):
    tree = StableBTreeSet[tp](StableMemory())
    tree.insert_many(keys)
    return tree


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
def test_bulk_writes_the_bytes_of_the_loop(name, data):
    tp, strategy = TYPES[name]
    keys, gone = data.draw(st.lists(strategy, max_size=60)), data.draw(st.lists(strategy, max_size=20))
    loop, bulk, as_map = StableMemory(), StableMemory(), StableMemory()
    one, many, twin = StableBTreeSet[tp](loop), StableBTreeSet[tp](bulk), StableBTreeMap[tp, None](as_map)
    for key in keys:
        one.insert(key)
        twin.insert(key, None)
    for key in gone:
        one.remove(key)
        twin.remove(key)
    many.insert_many(keys)
    many.remove_many(gone)
    assert image(bulk) == image(loop) == image(as_map)


def test_arrays():
    tree = StableBTreeSet[i16](StableMemory())
    assert tree.insert_many(np.array([3, -5, 3], np.int16)) == 2
    assert tree.to_numpy().dtype == np.int16
    assert tree.to_numpy().tolist() == [-5, 3]
    assert tree.to_numpy(0).tolist() == [3]
    with pytest.raises(IncompatibleType, match="no numpy form"):
        set_of("a", tp=str).to_numpy()


def test_from_sorted():
    tree = StableBTreeSet[u64].from_sorted(StableMemory(), np.arange(1000, dtype=np.uint64))
    tree.check()
    assert list(tree) == list(range(1000))
    with pytest.raises(ValueError, match="ascend"):
        StableBTreeSet[u64].from_sorted(StableMemory(), [2, 1])


# ---- two sets ----


def test_algebra_is_lazy():
    a, b = set_of(*range(10_000)), set_of(*range(5000, 15_000))
    for operation in (a.union, a.intersection, a.difference, a.symmetric_difference):
        iterator = operation(b)
        assert iter(iterator) is iterator
        next(iterator)


@pytest.mark.parametrize("name", ["union", "intersection", "difference", "symmetric_difference"])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("taken", [0, 1, 30])
def test_a_change_of_either_set_ends_the_algebra(name, which, taken):
    sets = set_of(*range(100)), set_of(*range(0, 200, 2))
    iterator = getattr(sets[0], name)(sets[1])
    for _ in range(taken):
        next(iterator)
    sets[which].remove(98)
    with pytest.raises(RuntimeError, match="changed"):
        list(iterator)


def test_a_set_with_itself():
    tree = set_of(1, 2)
    assert list(tree.union(tree)) == list(tree.intersection(tree)) == [1, 2]
    assert list(tree.difference(tree)) == list(tree.symmetric_difference(tree)) == []
    assert tree.is_subset(tree)
    assert tree == tree  # noqa: PLR0124 - that is the question
    tree ^= tree
    assert len(tree) == 0


def test_other_kinds_of_others():
    tree = set_of(1, 2, 3)
    assert list(tree.union(n for n in (5, 0, 5))) == [0, 1, 2, 3, 5]
    assert list(tree.intersection(np.array([3, 9]).tolist())) == [3]
    assert list(tree.difference({1: "a"})) == [2, 3]
    narrow = set_of(2, 9, tp=u8)
    assert list(tree.intersection(narrow)) == [2]
    assert tree.is_superset([])
    assert tree >= {1, 2}
    assert {1, 2} < tree
    assert tree | {"a"} == {1, 2, 3, "a"}
    assert tree != {1, 2}
    assert tree == {1, 2, 3}


def test_values_that_cannot_be_in_it_are_refused():
    tree = set_of(1)
    with pytest.raises(IncompatibleType, match="expected an integer"):
        tree.union(["a"])
    with pytest.raises(BoundExceeded, match="u64 holds"):
        tree.intersection([-1])
    with pytest.raises(IncompatibleType, match="expected an integer"):
        tree.contains("a")
    memory = tree.memory
    before = image(memory)
    for use in (
        lambda: tree.__ior__([2, -1]),
        lambda: tree.__ixor__([1, 2, -1]),
        lambda: tree.insert_many([2, "a"]),
        lambda: tree.insert(2**64),
    ):
        assert raised(use) in (BoundExceeded, IncompatibleType)
        assert image(memory) == before
    with pytest.raises(BoundExceeded, match="u8 holds 0 to 255, got 256"):
        set_of(tp=u8).insert(256)
    with pytest.raises(BoundExceeded, match="cannot hold None"):
        set_of(tp=u8 | None).insert(None)


def test_what_cannot_be_in_it_is_not():
    """As in Python's own sets, and so for all that they do with `in`."""
    tree = set_of(1, 2)
    for strange in ("a", None, 1.5, -1, 2**64, [], b"1"):
        assert strange not in tree
    assert tree != {"a", "b"}
    assert not tree >= {"a"}
    assert tree.isdisjoint(["a", -1])
    assert tree & {"a", 2} == {2}
    assert tree ^ {"a", 2} == {1, "a"}
    assert {"a", 1} - tree == {"a"}
    assert "a" not in set_of(tp=bytes)
    assert b"too long" not in set_of(b"x", tp=Blob(3))


def test_user_types_need_no_hash():
    @functools.total_ordering
    class Version:
        BOUND = Bounded(2, is_fixed_size=True)
        __hash__ = None

        def __init__(self, major, minor):
            self.pair = (major, minor)

        def to_bytes(self):
            return bytes(self.pair)

        @staticmethod
        def from_bytes(data):
            return Version(*data)

        def __eq__(self, other):
            return self.pair == other.pair

        def __lt__(self, other):
            return self.pair < other.pair

    tree = set_of(Version(1, 9), Version(1, 2), tp=Version)
    assert [v.pair for v in tree.union([Version(1, 5)])] == [(1, 2), (1, 5), (1, 9)]
    assert tree.is_disjoint([Version(2, 0)])


def test_a_type_without_a_total_order_is_told_so_by_the_algebra_too():
    class Divisor:
        """Less than its multiples, and no more than that."""

        BOUND = Bounded(1, is_fixed_size=True)

        def __init__(self, number):
            self.number = number

        def to_bytes(self):
            return bytes([self.number])

        @staticmethod
        def from_bytes(data):
            return Divisor(data[0])

        def __lt__(self, other):
            return self.number != other.number and other.number % self.number == 0

    tree = set_of(Divisor(1), Divisor(2), Divisor(4), tp=Divisor)
    assert [d.number for d in tree.intersection([Divisor(2), Divisor(8)])] == [2]
    for use in (
        lambda: list(tree.union([Divisor(3)])),
        lambda: tree.is_superset([Divisor(2), Divisor(3)]),
        lambda: tree.insert(Divisor(3)),
    ):
        with pytest.raises(IncompatibleType, match="no order"):
            use()
    tree.check()


# ---- opening, errors, faults ----


def test_three_ways_to_open():
    memory = StableMemory()
    with pytest.raises(BadMagic):
        StableBTreeSet[u64].load(memory)
    tree = StableBTreeSet[u64](memory)
    tree.add(5)
    with pytest.raises(MemoryInUse, match="into_memory"):
        StableBTreeSet[u64](memory)
    assert tree.into_memory() is memory
    for use in (
        lambda: tree.add(1),
        tree.first,
        lambda: len(tree),
        lambda: list(tree),
        tree.check,
        lambda: 1 in tree,
        lambda: list(tree.union([])),
    ):
        assert raised(use) is Closed
    assert list(StableBTreeSet[u64].load(memory)) == [5]
    assert list(StableBTreeSet[u64].new(memory)) == []
    memory.write(3, b"\x07")
    with pytest.raises(UnsupportedVersion, match="newer"):
        StableBTreeSet[u64](memory)


def test_it_is_a_map_to_nothing():
    memory = StableMemory()
    StableBTreeSet[u64](memory).insert_many([1, 2])
    assert list(StableBTreeMap[u64, None](memory).items()) == [(1, None), (2, None)]


def test_types_that_cannot_be_keys():
    with pytest.raises(IncompatibleType, match="f64 cannot be a key"):
        StableBTreeSet[f64]
    with pytest.raises(IncompatibleType, match=r"StableBTreeSet\[K\]\(memory\)"):
        StableBTreeSet(StableMemory())
    with pytest.raises(TypeError, match="takes 1 type, got 2"):
        StableBTreeSet[u64, u64]
    with pytest.raises(TypeError, match="unhashable"):
        hash(set_of(1))


def test_copying_into_a_larger_type():
    new = StableBTreeSet[u64](StableMemory())
    set_of(1, 2, tp=u8).copy_into(new)
    assert new == {1, 2}


def test_a_full_memory_refuses_and_changes_nothing():
    refused_at_each_size(StableBTreeSet[u64], lambda tree, n: tree.add(n), 2)
    for keys in (range(10_000), [1, 2, *range(5, 20_000)]):
        memory = StableMemory(max_pages=1)
        tree = StableBTreeSet[u64](memory)
        tree.insert_many([3, 4])
        before = image(memory)
        for use in (lambda: tree.insert_many(keys), lambda: tree.__ior__(keys), lambda: tree.__ixor__(keys)):  # noqa: B023
            assert raised(use) is OutOfMemory
            assert image(memory) == before


@pytest.mark.parametrize(
    "operation",
    [
        lambda s: s.insert(b"z" * 9000),
        lambda s: s.insert_many([b"y", b"x" * 9000]),
        lambda s: s.remove(b"07"),
        lambda s: s.pop_last(),
        lambda s: s.remove_many([b"03", b"11"]),
        lambda s: s.clear(),
    ],
    ids=["insert", "insert_many", "remove", "pop_last", "remove_many", "clear"],
)
def test_a_failing_memory_leaves_everything_as_it_was(operation):
    keys = [b"%02d" % n for n in range(15)]

    def make(memory):
        tree = StableBTreeSet[bytes](memory)
        tree.insert_many(keys)
        return tree

    for tree in faults(make, operation):
        assert list(tree) == keys


def test_threads_share_a_set():
    tree = set_of()

    def work(start):
        for n in range(start, 1200, 4):
            tree.add(n)
            assert n in tree
            if n % 3 == 0:
                assert tree.remove(n)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tree.check()
    assert tree == {n for n in range(1200) if n % 3}


@pytest.mark.parametrize("strange", ["a", -1, 2**64, None, 1.5])
def test_operators_that_change_a_set_refuse_what_the_others_take_for_absent(strange):
    tree = set_of(1, 2)
    assert tree - {1, strange} == {2}
    assert tree & {1, strange} == {1}
    assert tree | {strange} == {1, 2, strange}
    assert strange not in tree
    for use in (tree.__isub__, tree.__iand__, tree.__ior__, tree.__ixor__):
        with pytest.raises((BoundExceeded, IncompatibleType)):
            use({1, strange})
    with pytest.raises((BoundExceeded, IncompatibleType)):
        tree.discard(strange)
    assert list(tree) == [1, 2]
