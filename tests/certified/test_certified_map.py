"""CertifiedMap against a dict and the hash tree of that dict: every operation, every shape of keys, reopened, rolled back, damaged."""

from __future__ import annotations

import random
import time
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stable_structures import (
    Blob,
    Cbor,
    CertifiedMap,
    CorruptMemory,
    IncompatibleType,
    MemoryInUse,
    MemoryManager,
    OutOfMemory,
    Principal,
    ReadOnly,
    Reverse,
    StableBTreeMap,
    StableError,
    StableMemory,
    hashtree,
    u16,
    u64,
)
from stable_structures.hashtree import HashTree, Status

from ..support.examples import examples

Bytes = CertifiedMap[bytes, bytes]
Numbers = CertifiedMap[u64, u64]


def two(memory=None):
    manager = MemoryManager(memory or StableMemory(), bucket_pages=1)
    return manager.get(0), manager.get(1)


def assert_same(m, model):
    """The map has the entries of the model, its root hash, and nothing else in its hashes."""
    assert dict(m) == model
    assert m.root_hash() == hashtree.from_mapping(model).root_hash
    m.check()


# ---- every operation ----

SHAPES = {
    "short": lambda r: r.randbytes(r.randint(0, 2)),
    "random": lambda r: r.randbytes(8),
    "one below the other": lambda r: b"a" * r.randint(0, 80),
    "dense": lambda r: r.randint(0, 300).to_bytes(8, "big"),
    "two bytes": lambda r: bytes(r.choices([0, 255], k=r.randint(0, 9))),
    "long": lambda r: b"prefix" * 30 + r.randbytes(r.randint(0, 3)),
}


class Storm:
    def __init__(self, random_, shape):
        self.r = random_
        self.memory = StableMemory()
        self.places = two(self.memory)
        self.m, self.model = Bytes(*self.places), {}
        self.new_key = lambda: SHAPES[shape](random_)

    def key(self):
        return self.r.choice(list(self.model)) if self.model and self.r.random() < 0.6 else self.new_key()

    def value(self):
        return self.r.randbytes(self.r.choice([0, 3, 70]))

    def keys(self):
        return [self.key() for _ in range(self.r.choice([0, 1, 3, 60]))]

    def put(self):
        key, value = self.key(), self.value()
        assert self.m.insert(key, value) == self.model.get(key)
        self.model[key] = value

    def item(self):
        key, value = self.key(), self.value()
        self.m[key] = self.model[key] = value

    def take(self):
        key = self.key()
        assert self.m.pop(key, None) == self.model.pop(key, None)

    def delete(self):
        if self.model:
            key = self.r.choice(list(self.model))
            del self.m[key], self.model[key]

    def remove(self):
        key = self.key()
        assert self.m.remove(key) == self.model.pop(key, None)

    def many(self):
        keys = self.keys()
        values = [self.value() for _ in keys]
        self.m.insert_many(keys, values)
        self.model.update(zip(keys, values, strict=True))

    def update(self):
        new = {key: self.value() for key in self.keys()}
        self.m.update(new)
        self.model.update(new)

    def remove_many(self):
        keys = self.keys()
        self.m.remove_many(keys)
        for key in keys:
            self.model.pop(key, None)

    def ends(self):
        if self.model:
            key, value = self.r.choice([self.m.pop_first, self.m.pop_last, self.m.popitem])()
            assert self.model.pop(key) == value

    def setdefault(self):
        key, value = self.key(), self.value()
        assert self.m.setdefault(key, value) == self.model.setdefault(key, value)

    def entry(self):
        key, value = self.key(), self.value()
        entry, old, kind = self.m.entry(key), self.model.get(key), self.r.randrange(4)
        if kind == 0:
            entry.set(value)
            entry.set(self.model.setdefault(key, b"") + value)
            self.model[key] += value
        elif kind == 1:
            assert entry.setdefault(value) == self.model.setdefault(key, value)
        elif kind == 2:
            entry.update(lambda value: value[:5] + b"+", b"first")
            self.model[key] = (b"first" if old is None else old)[:5] + b"+"
        else:
            assert entry.remove() == self.model.pop(key, None)

    def clear(self):
        if self.r.random() < 0.2:
            self.m.clear()
            self.model.clear()

    def reopen(self):
        self.m.into_memory()
        self.m = Bytes(*self.places)

    def roll_back(self):
        kept, root = dict(self.model), self.m.root_hash()
        with pytest.raises(ZeroDivisionError), self.memory.transaction():  # noqa: PT012
            for _ in range(3):
                self.r.choice([self.put, self.many, self.remove_many, self.take])()
            raise ZeroDivisionError
        self.model = kept
        assert self.m.root_hash() == root

    def commit(self):
        with self.memory.transaction():
            for _ in range(3):
                self.r.choice([self.put, self.many, self.remove_many, self.take])()

    def fail(self):
        kept = self.m.root_hash()
        with pytest.raises(Exception, match=r"bytes|int"):
            self.m.insert_many([self.new_key(), 7], [b"", b""])
        assert self.m.root_hash() == kept

    def prove(self):
        tree = hashtree.from_mapping(self.model)
        key = self.key()
        proof = HashTree.from_cbor(self.m.witness(key) if key in self.model else self.m.witness_absence(key))
        assert proof.root_hash == tree.root_hash
        assert proof.lookup(key) == tree.lookup(key)
        assert proof.lookup(key).status is (Status.FOUND if key in self.model else Status.ABSENT)
        assert len(list(hashtree.walk(proof))) == (key in self.model)
        low, high = sorted([self.key(), self.key()])
        inclusive = (self.r.random() < 0.5, self.r.random() < 0.5)
        start, stop = self.r.choice([(low, high), (None, high), (low, None), (None, None)])
        proof = HashTree.from_cbor(self.m.witness_range(start, stop, inclusive=inclusive))
        assert proof.root_hash == tree.root_hash
        assert proof.is_well_formed()
        inside = list(self.m.range(start, stop, inclusive=inclusive))
        assert list(hashtree.walk(proof)) == [((key,), value) for key, value in inside]
        for key, _ in inside:
            assert proof.lookup(key + b"\0") == tree.lookup(key + b"\0") or key + b"\0" in self.model

    OPERATIONS = (
        *[put, item, take, delete, remove, many, update, remove_many, ends, setdefault, entry, clear, reopen, roll_back, commit, fail],
        *[prove, prove, prove],
    )

    def run(self, operations):
        for _ in range(operations):
            self.r.choice(self.OPERATIONS)(self)
            assert self.m.root_hash() == hashtree.from_mapping(self.model).root_hash
        assert_same(self.m, self.model)


@pytest.mark.parametrize("shape", SHAPES)
@given(st.randoms(use_true_random=True), st.integers(1, 60))
@settings(max_examples=examples(12))
def test_every_operation_keeps_the_root_hash(shape, random_, operations):
    Storm(random_, shape).run(operations)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_storms_keep_the_root_hash(shape, seed, duration):
    random_, end = random.Random(seed), time.monotonic() + duration
    while time.monotonic() < end:
        Storm(random_, shape).run(300)


@given(st.dictionaries(st.binary(max_size=5), st.binary(max_size=5), max_size=60), st.randoms(use_true_random=False))
def test_the_root_hash_depends_on_the_entries_alone(model, random_):
    one, other = Bytes(*two()), Bytes(*two())
    one.update(model)
    keys = list(model)
    random_.shuffle(keys)
    other.update({key + b"x": b"" for key in keys})
    for key in keys:
        other[key] = model[key]
    other.remove_many([key + b"x" for key in keys if key + b"x" not in model])
    assert one.root_hash() == other.root_hash() == hashtree.from_mapping(model).root_hash
    assert one.witness_range() == other.witness_range() == hashtree.from_mapping(model).to_cbor()


def test_numbers_in_bulk_and_one_by_one():
    m, keys = Numbers(*two()), np.random.default_rng(7).integers(0, 5000, 4000, dtype=np.uint64)
    model = {}
    for part in np.array_split(keys, 7):
        m.insert_many(part, part * np.uint64(3))
        model.update({int(key): int(key) * 3 for key in part})
        encoded = {key.to_bytes(8, "big"): value.to_bytes(8, "big") for key, value in model.items()}
        assert m.root_hash() == hashtree.from_mapping(encoded).root_hash
    m.check()
    packed = Numbers.from_sorted(*two(), sorted(model), [model[key] for key in sorted(model)])
    assert packed.root_hash() == m.root_hash()
    for key in list(model):
        del m[key]
    assert m.root_hash() == hashtree.empty().root_hash
    assert m.witness_range() == m.witness_absence(7) == hashtree.empty().to_cbor()
    m.check()


def test_a_witness_is_small_and_bulk_leaves_a_plain_map():
    m = Numbers(*two())
    m.insert_many(range(20_000), range(20_000))
    plain = StableBTreeMap[u64, u64](StableMemory())
    plain.insert_many(range(20_000), range(20_000))
    assert len(m.witness(777)) < 40 * 20
    assert m.into_memory().read(0, 100_000) == plain.memory.read(0, 100_000)  # the crate's bytes, hashes or not


# ---- opening ----


def test_opening_again_computes_nothing_and_finds_other_entries():
    data, hashes = two()
    m = Bytes(data, hashes)
    m.update({bytes([i]): b"v" for i in range(100)})
    root = m.root_hash()
    m.into_memory()
    before = hashes.read(0, hashes.nbytes)
    m = Bytes.load(data, hashes)
    assert m.root_hash() == root
    m.into_memory()
    assert hashes.read(0, hashes.nbytes) == before
    plain = StableBTreeMap[bytes, bytes](data)
    plain[b"more"] = b""
    plain.into_memory()
    with pytest.raises(CorruptMemory, match=r"the hashes are those of the map's entries.*rehash"):
        Bytes(data, hashes)
    m = Bytes.rehash(data, hashes)
    assert_same(m, {**{bytes([i]): b"v" for i in range(100)}, b"more": b""})


def test_a_map_that_was_there_before_gets_hashes_once():
    data, hashes = two()
    plain = StableBTreeMap[bytes, bytes](data)
    plain.update({bytes([i, i]): b"v" for i in range(100)})
    plain.into_memory()
    m = Bytes(data, hashes)
    assert_same(m, {bytes([i, i]): b"v" for i in range(100)})


def test_a_value_that_something_else_wrote_is_never_proven_and_check_finds_it():
    data, hashes = two()
    m = Bytes(data, hashes)
    m.update({bytes([i]): b"v" for i in range(100)})
    m.into_memory()
    plain = StableBTreeMap[bytes, bytes](data)
    plain[b"\x07"] = b"w"
    plain.into_memory()
    m = Bytes(data, hashes)
    with pytest.raises(CorruptMemory, match="rehash"):
        m.witness(b"\x07")
    with pytest.raises(CorruptMemory, match="rehash"):
        m.check()
    assert m.violations()
    m.into_memory()
    Bytes.rehash(data, hashes).check()


def test_damaged_hashes_raise_and_prove_nothing_wrong():
    random_ = random.Random(5)
    for _ in range(150):
        memory = StableMemory()
        data, hashes = two(memory)
        m = Bytes(data, hashes)
        m.update({bytes([i, 255 - i]): b"v" * i for i in range(120)})
        root = m.root_hash()
        m.into_memory()
        for _ in range(random_.choice([1, 20])):
            hashes.write(random_.randrange(min(hashes.nbytes, 12_000)), random_.randbytes(random_.choice([1, 8])))
        try:
            m = Bytes(data, hashes)
            proof = HashTree.from_cbor(m.witness(bytes([7, 248])))
            assert proof.lookup(bytes([7, 248])).data == b"v" * 7
            if m.root_hash() == root:
                assert proof.root_hash == root
            m[b"new"] = b"x"
            m.remove_many(list(m)[:50])
        except StableError:
            continue


def test_two_memories_of_one_manager_are_needed_and_nothing_is_overwritten_without_them():
    data, hashes = two()
    m = Bytes(data, hashes)
    m[b"k"] = b"v"
    with pytest.raises(MemoryInUse):
        Bytes(data, hashes)
    m.into_memory()
    with pytest.raises(ValueError, match="one manager"):
        Bytes.new(data, StableMemory())
    with pytest.raises(MemoryInUse):
        Bytes.new(data, data)
    with pytest.raises(TypeError, match="two memories"):
        Bytes.new(data)
    with pytest.raises(TypeError):
        Bytes(data)
    assert Bytes(data, hashes)[b"k"] == b"v"


def test_new_overwrites_both():
    data, hashes = two()
    m = Bytes(data, hashes)
    m.update({bytes([i]): b"v" for i in range(100)})
    m.into_memory()
    assert_same(Bytes.new(data, hashes), {})


@pytest.mark.parametrize("tp", [Principal, Reverse[u16], tuple[str, u64], Cbor[dict]])
def test_keys_whose_bytes_do_not_sort_as_they_do_are_refused(tp):
    with pytest.raises(IncompatibleType, match=r"ordered by their encoded bytes|cannot be|order"):
        CertifiedMap[tp, u64]


@pytest.mark.parametrize("tp", [Annotated[bytes, Blob(29)], str, tuple[u16, u16], u64])
def test_keys_whose_bytes_do_are_taken(tp):
    m = CertifiedMap[tp, str](*two())
    key = {str: "k", u64: 7}.get(tp, (1, 2) if "tuple" in str(tp) else b"k")
    m[key] = "v"
    proof = HashTree.from_cbor(m.witness(key))
    assert [data for _, data in hashtree.walk(proof)] == [b"v"]


def test_wrong_questions():
    m = Bytes(*two())
    m[b"k"] = b"v"
    with pytest.raises(KeyError):
        m.witness(b"absent")
    with pytest.raises(ValueError, match="is there"):
        m.witness_absence(b"k")
    m.update({b"a": b"", b"z": b""})
    with pytest.raises(ValueError, match="ends behind its start"):
        m.witness_range(b"z", b"a")


# ---- files ----


def test_a_file_keeps_both_through_commit_rollback_and_reopening(tmp_path):
    path = tmp_path / "map.bin"
    with StableMemory.open(path) as memory:
        m = Bytes(*two(memory))
        m.update({bytes([i]): b"v" for i in range(100)})
        with pytest.raises(ZeroDivisionError), memory.transaction():  # noqa: PT012
            m[b"rolled back"] = b""
            raise ZeroDivisionError
        with memory.transaction():
            m[b"\x07"] = b"w"
        root = m.root_hash()
    with StableMemory.open(path, mode="r") as memory:
        m = Bytes.load(*two(memory))
        assert m.root_hash() == root
        assert_same(m, {**{bytes([i]): b"v" for i in range(100)}, b"\x07": b"w"})
        with pytest.raises(ReadOnly):
            m[b"x"] = b""


def test_a_memory_that_is_full_leaves_both_as_they_were():
    memory = StableMemory(max_pages=5)
    m = Bytes(*two(memory))
    model = {}
    with pytest.raises(OutOfMemory):  # noqa: PT012
        for i in range(100_000):
            key = i.to_bytes(8, "little")
            m[key] = b"v" * 20
            model[key] = b"v" * 20
    assert_same(m, model)


def test_a_foreign_memory_keeps_both():
    class Foreign:
        def __init__(self):
            self.bytes = bytearray()

        def size(self):
            return len(self.bytes) // 65536

        def grow(self, pages):
            old = self.size()
            self.bytes += bytes(pages * 65536)
            return old

        def read(self, offset, length):
            return bytes(self.bytes[offset : offset + length])

        def write(self, offset, data):
            if self.failing and self.failing.pop():
                raise OSError("no")
            self.bytes[offset : offset + len(data)] = data

        failing: list = []  # noqa: RUF012

    foreign = Foreign()
    m = Bytes(*two(foreign))
    model = {bytes([i, i]): bytes([i]) for i in range(60)}
    m.update(model)
    assert_same(m, model)
    for n in range(40):
        foreign.failing = [True] + [False] * n
        try:
            m[b"new"] = b"x"
        except OSError:
            foreign.failing = []
            assert_same(m, model)
        else:
            foreign.failing = []
            break
    assert_same(m, {**model, b"new": b"x"})


def test_a_proof_of_absence_is_made_again_if_the_key_was_removed_after_it():
    class Raced(CertifiedMap[u64, u64]):
        def __contains__(self, key: object) -> bool:
            there = super().__contains__(key)
            if there:
                self.remove(key)  # as another thread may
            return False

    manager = MemoryManager(StableMemory())
    tree = Raced(manager.get(0), manager.get(1))
    tree.update({1: 1, 2: 2, 3: 3})
    proof = hashtree.HashTree.from_cbor(tree.witness_absence(2))
    assert proof.lookup((2).to_bytes(8, "big")).status is hashtree.Status.ABSENT
    assert proof.root_hash == tree.root_hash()
