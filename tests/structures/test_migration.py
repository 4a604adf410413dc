# SPDX-License-Identifier: Apache-2.0
"""Opening a structure with other types than it was written with: what is safe opens, what is not is refused with the way out."""

import gzip
from pathlib import Path

import pytest

from stable_structures import Blob, IncompatibleType, StableBTreeMap, StableMemory, StableVec, u8, u16, u32, u64

GOLDEN = Path(__file__).parents[1] / "golden"


def written(key, value, entries):
    memory = StableMemory()
    tree = StableBTreeMap[key, value](memory)
    tree.update(entries)
    tree.into_memory()
    return memory


@pytest.mark.parametrize("value", [bytes, Blob(10), Blob(300)], ids=str)
def test_values_of_a_map_may_become_larger(value):
    memory = written(u64, Blob(5), {1: b"abcde", 2: b""})
    tree = StableBTreeMap[u64, value](memory)
    tree[3] = b"0123456789"
    assert dict(tree) == {1: b"abcde", 2: b"", 3: b"0123456789"}
    tree.check()


@pytest.mark.parametrize("key", [bytes, str, Blob(60)], ids=str)
def test_keys_that_are_not_of_fixed_size_may_become_larger(key):
    memory = written(Blob(30), u8, {b"a": 1, b"b": 2})
    tree = StableBTreeMap[key, u8](memory)
    assert sorted(tree.values()) == [1, 2]
    tree.check()


@pytest.mark.parametrize(
    ("before", "after", "entries"),
    [(u64, bytes, {1: 1, 2: 2}), (bytes, u64, {b"abc": 1}), (u32, u64, {1: 1, 2: 2}), (u64, u8, {1: 1, 300: 2})],
    ids=["number to bytes", "bytes to number", "wider", "narrower"],
)
def test_keys_that_are_laid_out_otherwise_are_refused(before, after, entries):
    memory = written(before, u16, entries)
    image = bytes(memory.view())
    with pytest.raises(IncompatibleType, match="types that the map is opened with"):
        StableBTreeMap[after, u16](memory)
    assert bytes(memory.view()) == image
    assert len(StableBTreeMap[before, u16](memory)) == len(entries)


def test_values_that_do_not_fit_any_more_are_refused():
    memory = written(u64, Blob(50), {1: b"x" * 40})
    with pytest.raises(IncompatibleType, match="types that the map is opened with"):
        StableBTreeMap[u64, Blob(10)](memory)


def test_the_slots_of_a_version_1_map_do_not_grow_and_the_way_out_is_told():
    memory = StableMemory()
    image = gzip.decompress((GOLDEN / "btreemap_v1_blob10_blob30.v1.bin.gz").read_bytes())
    memory.grow(len(image) // 65536)
    memory.write(0, image)
    for key, value in ((Blob(11), Blob(30)), (Blob(10), Blob(31)), (bytes, bytes)):
        with pytest.raises(IncompatibleType, match="copy_into"):
            StableBTreeMap[key, value](memory)
    old, new = StableBTreeMap[Blob(10), Blob(30)](memory), StableBTreeMap[bytes, bytes](StableMemory())
    old.copy_into(new)
    assert dict(new) == dict(old)
    new[b"a longer key than ten bytes"] = b"x" * 1000
    new.check()


def test_another_element_of_a_vec_is_refused_and_the_way_out_is_told():
    memory = StableMemory()
    old = StableVec[u32](memory)
    old.extend([1, 2, 3])
    old.into_memory()
    with pytest.raises(IncompatibleType, match="copy_into"):
        StableVec[u64](memory)
    new = StableVec[u64](StableMemory())
    StableVec[u32](memory).copy_into(new)
    assert list(new) == [1, 2, 3]
