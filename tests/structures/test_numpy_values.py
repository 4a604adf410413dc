"""What numpy gives as keys and values, one by one and in bulk: right, or refused with `IncompatibleType`; never another value."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pytest

from stable_structures import (
    Array,
    Blob,
    BoundExceeded,
    IncompatibleType,
    MemoryManager,
    Reader,
    RestrictedMemory,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    UpgradeHooks,
    Writer,
    codec,
    f32,
    f64,
    i8,
    i32,
    i64,
    i128,
    u8,
    u16,
    u32,
    u64,
    u128,
)
from stable_structures.storable import Record
from stable_structures.upgrade import backup, restore

MASKED = np.ma.masked_array([1, 2], [False, True])
ARRAYS = [np.array([5]), np.array([1, 2]), np.array([True]), np.array(["a"]), np.array([1.5]), MASKED, np.ma.masked, np.array([[1]])]
TYPES: list[Any] = [u8, u64, i8, i64, u128, i128, f32, f64, bool, str, Blob(9), Array(2), tuple[u64, u64], Record([("a", "u1")])]
NUMBERS = [u8, u16, u32, u64, i8, i32, i64, u128, i128]


@pytest.mark.parametrize("tp", TYPES)
@pytest.mark.parametrize("value", ARRAYS, ids=str)
def test_an_array_is_no_value(tp, value):
    if tp is f64 or tp is f32:
        with pytest.raises(IncompatibleType):
            codec(tp).encode(value)
        return
    keys = StableBTreeMap[tp, u64](StableMemory()) if codec(tp).orderable_as_key else None
    values = StableBTreeMap[u64, tp](StableMemory())
    uses = [lambda: codec(tp).encode(value), lambda: values.insert(1, value), lambda: StableCell[tp](StableMemory(), value)]
    if keys is not None:
        uses += [lambda: keys.insert(value, 1), lambda: keys.get(value), lambda: keys.remove(value), lambda: list(keys.range(value))]
    for use in uses:
        with pytest.raises(IncompatibleType):
            use()
    assert len(values) == 0


@pytest.mark.parametrize("tp", NUMBERS)
def test_a_numpy_bool_is_no_number_but_a_bool(tp):
    with pytest.raises(IncompatibleType, match="expected an integer"):
        StableBTreeMap[tp, u64](StableMemory()).insert(np.True_, 1)
    flags = StableBTreeMap[bool, u64](StableMemory())
    flags[np.True_] = 1
    assert flags[True] == 1
    assert np.True_ in flags


@pytest.mark.parametrize("tp", [u64, i64, u128, f64])
def test_an_array_of_no_dimension_is_its_item_unless_it_is_masked(tp):
    assert codec(tp).decode(codec(tp).encode(np.array(5))) == 5
    with pytest.raises(IncompatibleType, match="masked"):
        codec(tp).encode(np.ma.masked_array(5, True))


def bulk_uses(tp: Any, array: Any) -> list[Any]:
    """Every operation that takes many values."""
    tree = StableBTreeMap[tp, tp](StableMemory()) if codec(tp).orderable_as_key else None
    uses: list[Any] = [lambda: StableBTreeMap[u64, tp](StableMemory()).insert_many(np.arange(2), array)]
    if codec(tp).bound.max_size is not None:
        uses += [lambda: StableVec[tp](StableMemory()).extend(array), lambda: StableMinHeap[tp](StableMemory()).push_many(array)]
    uses.append(lambda: StableLog[tp](StableMemory(), StableMemory()).extend(array))
    if tree is not None:
        uses += [lambda: tree.insert_many(array, array), lambda: tree.get_many(array), lambda: tree.remove_many(array)]
        uses += [
            lambda: StableBTreeSet[tp](StableMemory()).insert_many(array),
            lambda: StableBTreeSet[tp].from_sorted(StableMemory(), array),
        ]
    return uses


@pytest.mark.parametrize("tp", [u8, u64, i64, u128, f64, bool, str, bytes, Blob(9), Array(2), tuple[u64, u64]])
@pytest.mark.parametrize("mask", [False, [False, True]])
def test_a_masked_array_is_refused_in_bulk(tp, mask):
    for use in bulk_uses(tp, np.ma.masked_array([1, 2], mask)):
        with pytest.raises(IncompatibleType, match="masked"):
            use()


@pytest.mark.parametrize("tp", [u8, u64, i64])
@pytest.mark.parametrize("dtype", ["f8", "f2", "c16", "O", "U3", "S3", "M8[s]", "m8[s]", [("a", "u8")]], ids=str)
def test_another_dtype_is_refused_for_whole_numbers(tp, dtype):
    for use in bulk_uses(tp, np.zeros(2, dtype)):
        with pytest.raises(IncompatibleType):
            use()


@pytest.mark.parametrize("values", [[1.0, np.nan], [np.inf], [0.5], [1.0]])
def test_floats_become_no_whole_numbers(values):
    for tp in (u64, i64):
        for given in (values, np.array(values)):
            with pytest.raises(IncompatibleType):
                StableVec[tp](StableMemory()).extend(given)


@pytest.mark.parametrize(
    ("tp", "dtype"), [(u8, "i8"), (u16, "u4"), (u32, "u8"), (i8, "i2"), (i32, "i8"), (i64, "u8"), (u64, "i8"), (f32, "f4"), (f64, "f8")]
)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("step", [1, 2, -1])
def test_arrays_of_any_byte_order_and_stride_are_right(tp, dtype, order, step):
    array = np.array([7, 1, 100, 3, 5, 9], np.dtype(dtype).newbyteorder(order))[::step]
    wanted = array.tolist()
    vec, heap, log = StableVec[tp](StableMemory()), StableMinHeap[tp](StableMemory()), StableLog[tp](StableMemory(), StableMemory())
    vec.extend(array)
    heap.push_many(array)
    log.extend(array)
    assert list(vec) == list(log) == wanted
    assert heap.pop() == min(wanted)
    values = StableBTreeMap[u64, tp](StableMemory())
    values.insert_many(np.arange(len(array), dtype=">u8"), array)
    assert list(values.values()) == wanted
    if codec(tp).orderable_as_key:
        keys = StableBTreeMap[tp, tp](StableMemory())
        keys.insert_many(array, array)
        assert list(keys.items()) == sorted(zip(wanted, wanted, strict=True))
        assert keys.get_many(array)[0].tolist() == wanted


@pytest.mark.parametrize("order", ["<", ">"])
def test_what_does_not_fit_is_told_in_any_byte_order(order):
    with pytest.raises(BoundExceeded, match="256 at index 1"):
        StableVec[u8](StableMemory()).extend(np.array([1, 256], f"{order}i8"))
    with pytest.raises(BoundExceeded, match="-1 at index 0"):
        StableVec[u64](StableMemory()).extend(np.array([-1], f"{order}i8"))


@pytest.mark.parametrize("value", [np.datetime64(5, "s"), np.timedelta64(5, "s")])
def test_dates_are_no_bytes(value):
    for tp in (bytes, Blob(9), Array(8), Annotated[bytes, Blob(8)]):
        with pytest.raises(IncompatibleType, match="expected bytes"):
            codec(tp).encode(value)


MANAGED = {
    "map": StableBTreeMap[u64, u64],
    "set": StableBTreeSet[u64].load,
    "vec": StableVec[u64].new,
    "heap": StableMinHeap[u64],
    "log": lambda memory: StableLog[u64](memory, StableMemory()),
    "log's data": lambda memory: StableLog[u64](StableMemory(), memory),
    "cell": lambda memory: StableCell[u64](memory, 1),
    "manager": MemoryManager,
    "restricted": lambda memory: RestrictedMemory(memory, range(2)),
    "reader": Reader,
    "writer": Writer,
    "hooks": UpgradeHooks,
    "backup": lambda memory: backup(memory, 1),
    "restore": restore,
    "from_sorted": lambda memory: StableBTreeMap[u64, u64].from_sorted(memory, [1], [1]),
}


@pytest.mark.parametrize("name", MANAGED)
def test_a_manager_is_no_memory_and_the_error_says_what_to_give(name):
    with pytest.raises(TypeError, match=r"a MemoryManager is not a memory; pass one of its memories, such as manager\.get\(0\)"):
        MANAGED[name](MemoryManager(StableMemory()))
    with pytest.raises(TypeError, match=r"a StableVec\[u64\] is not a memory; .*manager\.get\(1\)"):
        MANAGED[name](StableVec[u64](StableMemory()))
    with pytest.raises(TypeError, match=r"StableMemory\(\)"):
        MANAGED[name](StableMemory)
