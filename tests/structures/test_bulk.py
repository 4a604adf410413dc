# SPDX-License-Identifier: Apache-2.0
"""Bulk operations: the bytes of the loop, all or nothing, whatever form the values come in."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stable_structures import (
    Array,
    BoundExceeded,
    IncompatibleType,
    MemoryInUse,
    OutOfMemory,
    RestrictedMemory,
    StableBTreeMap,
    StableMemory,
    f64,
    i32,
    u8,
    u16,
    u64,
)

u64s = st.integers(0, 2**64 - 1)
texts = st.text(max_size=40)
TYPES = [
    (u64, u64, st.integers(0, 300), u64s),
    (i32, f64, st.integers(-(2**31), 2**31 - 1), st.floats(allow_nan=False)),
    (str, bytes, texts, st.binary(max_size=700)),
    (bytes, u8, st.binary(max_size=30), st.integers(0, 255)),
    (Array(5), str, st.binary(min_size=5, max_size=5), texts),
]


def image(memory: StableMemory) -> bytes:
    return hashlib.sha256(memory.view()).digest()


def pair(key, value):
    one, other = StableMemory(), StableMemory()
    return StableBTreeMap[key, value](one), StableBTreeMap[key, value](other)


@pytest.mark.parametrize(("key", "value", "keys", "values"), TYPES, ids=[f"{k}-{v}" for k, v, _, _ in TYPES])
@given(data=st.data())
def test_bulk_is_the_loop(data, key, value, keys, values):
    loop, bulk = pair(key, value)
    for entries in data.draw(st.lists(st.lists(st.tuples(keys, values), max_size=80), max_size=3)):
        new = sum(loop.insert(k, v) is None for k, v in entries)
        assert bulk.insert_many([k for k, _ in entries], [v for _, v in entries]) == new
        assert image(loop.memory) == image(bulk.memory)
    asked = data.draw(st.lists(keys, max_size=60))
    got = bulk.get_many(asked)
    expected = [loop.get(k) for k in asked]
    if isinstance(got, tuple):
        assert got[1].tolist() == [v is not None for v in expected]
        assert got[0][got[1]].tolist() == [v for v in expected if v is not None]
    else:
        assert got == expected
    removed = [loop.remove(k) is not None for k in asked]
    assert bulk.remove_many(asked).tolist() == removed
    assert image(loop.memory) == image(bulk.memory)
    bulk.check()


@pytest.mark.parametrize("size", [0, 1, 11, 12, 143, 144, 145, 1000, 30_000])
def test_bulk_is_the_loop_for_arrays(size):
    loop, bulk = pair(u64, u64)
    keys = np.random.default_rng(size).integers(0, 2**64, size, dtype="u8")
    for number, key in enumerate(keys.tolist()):
        loop[key] = number
    assert bulk.insert_many(keys, np.arange(size, dtype="u8")) == len(loop)
    assert image(loop.memory) == image(bulk.memory)
    values, found = bulk.get_many(keys)
    assert found.all()
    assert (keys[values] == keys).all()
    ordered, numbers = bulk.to_numpy()
    assert ordered.tolist() == sorted(keys.tolist())
    assert numbers.tolist() == [loop[key] for key in ordered.tolist()]
    for key in keys[::2].tolist():
        del loop[key]
    assert bulk.remove_many(keys[::2]).all()
    assert image(loop.memory) == image(bulk.memory)


def test_a_growth_that_fails_takes_all_of_it_back():
    keys = np.random.default_rng(1).integers(0, 2**64, 20_000, dtype="u8")
    for pages in range(1, 5):
        memory = StableMemory(max_pages=pages)
        tree = StableBTreeMap[u64, u64](memory)
        tree.insert_many(keys[:100], keys[:100])
        before, size = image(memory), memory.size()
        with pytest.raises(OutOfMemory):
            tree.insert_many(keys, keys)
        assert (image(memory), memory.size()) == (before, size)
        tree.check()
        assert tree.insert_many(keys[:100], keys[:100]) == 0


@pytest.mark.parametrize("bad", [-1, 2**16, 1.5, "x", None])
def test_one_bad_value_and_nothing_is_done(bad):
    memory = StableMemory()
    tree = StableBTreeMap[u16, u16](memory)
    before = image(memory)
    for keys, values in (([1, 2, bad], [1, 2, 3]), ([1, 2, 3], [1, bad, 3])):
        with pytest.raises((BoundExceeded, IncompatibleType)):
            tree.insert_many(keys, values)
    assert image(memory) == before
    with pytest.raises((BoundExceeded, IncompatibleType)):
        tree.get_many([bad])


@pytest.mark.parametrize(
    "keys",
    [np.array([1.0]), np.array([-1]), np.array([[1]]), np.array([2**40], dtype="u8"), np.array(["1"])],
    ids=["float", "negative", "two dimensions", "too large", "text"],
)
def test_arrays_that_would_lose_something_are_refused(keys):
    tree = StableBTreeMap[u16, u16](StableMemory())
    with pytest.raises((BoundExceeded, IncompatibleType)):
        tree.insert_many(keys, [1])
    assert len(tree) == 0


def test_lengths_must_agree():
    tree = StableBTreeMap[u16, u16](StableMemory())
    with pytest.raises(ValueError, match="3 keys and 2 values"):
        tree.insert_many([1, 2, 3], [1, 2])
    assert len(tree) == 0


def test_arrays_of_every_stride_and_byte_order_cross():
    keys = np.arange(100, dtype=">u8")[::3]
    tree = StableBTreeMap[u64, u64](StableMemory())
    tree.insert_many(keys, keys.astype("i2"))
    assert tree.to_numpy()[0].tolist() == keys.tolist()
    assert tree.to_numpy(10, 40, inclusive=(True, True))[1].tolist() == [k for k in keys.tolist() if 10 <= k <= 40]


@given(st.lists(u64s, unique=True, max_size=400).map(sorted))
def test_a_built_map_is_sound_and_goes_on(keys):
    memory = StableMemory()
    tree = StableBTreeMap[u64, bytes].from_sorted(memory, keys, [b"%d" % k for k in keys])
    tree.check()
    assert list(tree.items()) == [(k, b"%d" % k) for k in keys]
    for key in keys[::3]:
        del tree[key]
        tree.check()
    tree.insert_many(keys, [b""] * len(keys))
    assert list(tree) == keys
    tree.check()


@pytest.mark.parametrize("keys", [[2, 1], [1, 1], [0, 5, 5, 6]])
def test_building_needs_ascending_keys(keys):
    memory = StableMemory()
    with pytest.raises(ValueError, match="ascend"):
        StableBTreeMap[u64, u64].from_sorted(memory, keys, keys)
    assert len(StableBTreeMap[u64, u64](memory)) == 0


def test_building_refuses_a_memory_in_use():
    memory = StableMemory()
    tree = StableBTreeMap[u64, u64](memory)
    tree[1] = 2
    with pytest.raises(MemoryInUse):
        StableBTreeMap[u64, u64].from_sorted(memory, [1], [1])
    assert tree[1] == 2


def test_bulk_on_a_memory_that_is_not_flat():
    base = StableMemory()
    tree = StableBTreeMap[u64, u64](RestrictedMemory(base, range(3, 50)))
    tree.insert_many(range(5000), range(5000))
    assert tree.get_many([4999])[0].tolist() == [4999]
    assert tree.to_numpy()[0].tolist() == list(range(5000))


def test_copy_into_moves_a_map_to_larger_types():
    small, large = StableBTreeMap[u8, u8](StableMemory()), StableBTreeMap[u64, u16](StableMemory())
    small.update({k: 255 - k for k in range(200)})
    seen = []
    small.copy_into(large, lambda done, total: seen.append((done, total)))
    assert dict(large) == dict(small)
    assert seen[-1] == (200, 200)
    large[1000] = 5
    with pytest.raises(BoundExceeded):
        large.copy_into(small)


def test_raw_items_are_bytes_and_nothing_else():
    raw = np.array([b"\xff\xfe", b"ab"], "V2")
    with pytest.raises(IncompatibleType):
        StableBTreeMap[str, u64](StableMemory()).insert_many(raw, [1, 2])
    tree = StableBTreeMap[bytes, u64](StableMemory())
    tree.insert_many(raw, [1, 2])
    assert list(tree) == [b"ab", b"\xff\xfe"]
