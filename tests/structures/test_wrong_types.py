"""What is sound and was opened with other types is `IncompatibleType`; what is damaged stays `CorruptMemory`."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import numpy as np
import pytest

from stable_structures import (
    PAGE_SIZE,
    Array,
    Blob,
    Cbor,
    CorruptMemory,
    IncompatibleType,
    Principal,
    Reverse,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    i64,
    u8,
    u16,
    u32,
    u64,
    u128,
)

from ..support.places import filled, image

TYPES: list[Any] = [u8, u16, u32, u64, u128, i64, str, bytes, Blob(4), Blob(40), Array(8), bool, tuple[u64, u64], Principal, u64 | None]
STORED: dict[str, tuple[Any, Any, dict[Any, Any]]] = {
    "u64 to str": (u64, str, {i * 1_000_003: "äx" * (i % 9) for i in range(1, 400)}),
    "few": (u64, str, {i: "name" * i for i in range(1, 5)}),
    "one": (u64, str, {7: "Ada"}),
    "str to u64": (str, u64, {f"user {i}": i for i in range(300)}),
    "u32 to u128": (u32, u128, {i * i: i**3 for i in range(1, 500)}),
    "bytes to long bytes": (bytes, bytes, {b"%04d" % i: b"v" * (i * 7 % 3000) for i in range(60)}),
    "tuples": (tuple[u64, u64], Blob(40), {(i, i * i): b"x" * (i % 40) for i in range(200)}),
    "principals": (Principal, u64, {Principal(bytes([i]) * (i % 29 + 1)): i for i in range(1, 200)}),
}
USES: dict[str, Any] = {
    "check": lambda tree: tree.check(),
    "violations": lambda tree: tree.violations(),
    "items": lambda tree: list(tree.items()),
    "values": lambda tree: list(tree.values()),
    "from the end": lambda tree: list(tree.range(reverse=True)),
    "both ends": lambda tree: [(it.next_back(), list(it)) for it in [tree.range()]],
    "first": lambda tree: tree.first_key_value(),
    "pop": lambda tree: tree.pop_first(),
    "last": lambda tree: tree.pop_last(),
}


def stored(name: str, most: int | None = None) -> StableMemory:
    key, value, entries = STORED[name]
    memory = StableMemory()
    StableBTreeMap[key, value](memory).update(itertools.islice(entries.items(), most))
    return memory


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", STORED)
def test_a_sound_map_of_other_types_is_never_told_as_damaged(name, use):
    memory = stored(name)
    before = image(memory)
    refused = 0
    for key, value in itertools.product(TYPES, TYPES):
        try:
            tree = StableBTreeMap[key, value](memory)
            USES[use](tree)
        except IncompatibleType:
            refused += 1
        finally:
            tree = None
        if image(memory) != before:
            memory.write(0, before)
    assert refused > len(TYPES)


def test_the_error_says_which_sizes_are_there():
    memory = stored("u64 to str")
    with pytest.raises(IncompatibleType, match=r"StableBTreeMap\[str, str\].*8 against 24"):
        StableBTreeMap[str, str](memory)
    tree = StableBTreeMap[u64, u16 | None](filled(StableMemory(), image(stored("one"))))
    with pytest.raises(IncompatibleType, match=r"keys of 8 bytes and values of 3.*other types"):
        tree.get(7)


@pytest.mark.parametrize("name", STORED)
def test_the_right_types_are_right(name):
    key, value, entries = STORED[name]
    tree = StableBTreeMap[key, value](stored(name))
    tree.check()
    assert dict(tree) == entries
    assert tree.violations() == []


def test_another_order_is_another_type():
    memory = StableMemory()
    StableBTreeMap[Reverse[u64], u64](memory).update({i: i for i in range(200)})
    tree = StableBTreeMap[u64, u64](memory)
    with pytest.raises(IncompatibleType, match="ascend"):
        tree.check()
    with pytest.raises(IncompatibleType):
        tree.violations()


WRONG = {
    "str": str,
    "bool": bool,
    "Cbor": Cbor,
    "u64": u64,
    "principal": Principal,
    "pair": tuple[u8, u8],
    "option": u32 | None,
    "float": Array(4),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_cells_and_logs_of_other_types(wrong):
    cell = StableMemory()
    StableCell[bytes](cell, b"\xff" * 300)
    memories = StableMemory(), StableMemory()
    StableLog[bytes](*memories).extend([b"\xfe" * (n + 30) for n in range(100)])
    found, log = StableCell[WRONG[wrong]].load(cell), StableLog[WRONG[wrong]](*memories)
    for use in (found.get, lambda: found.value, lambda: log[0], lambda: log.get(99), lambda: list(log), lambda: log[5:7], log.last):
        with pytest.raises(IncompatibleType, match=r"is sound, and has values of \d+"):
            use()


def test_slots_of_the_same_size_and_another_type():
    memory = StableMemory()
    StableVec[u8](memory).extend(range(2, 200))
    flags = StableVec[bool](memory)
    for use in (lambda: flags[5], lambda: list(flags), flags.to_numpy, lambda: flags[3:9], flags.pop):
        with pytest.raises(IncompatibleType, match="values of 1 bytes"):
            use()
    assert len(flags) == 198
    heap = StableMemory()
    StableMinHeap[u8](heap).push_many(range(2, 200))
    flags = StableMinHeap[bool](heap)
    for use in (flags.peek, flags.pop, lambda: list(flags)):
        with pytest.raises(IncompatibleType):
            use()


def test_sets_of_other_types():
    memory = StableMemory()
    StableBTreeSet[bytes](memory).insert_many([b"\xff" * n for n in range(1, 50)])
    texts = StableBTreeSet[str](memory)
    for use in (lambda: list(texts), texts.first, texts.last, texts.pop_first):
        with pytest.raises(IncompatibleType, match=r"keys|values"):
            use()
    texts.into_memory()
    with pytest.raises(IncompatibleType):
        StableBTreeSet[u64](memory)


# ---- damage stays damage ----


def test_one_value_among_others_that_is_none_is_damaged():
    memory = StableMemory()
    raw = StableBTreeMap[u64, bytes](memory)
    raw.update(dict.fromkeys(range(50), b"fine"))
    raw[25] = b"\xff\xfe"
    raw.into_memory()
    tree = StableBTreeMap[u64, str](memory)
    tree.check()
    for use in (lambda: tree[25], lambda: list(tree.values()), lambda: tree.remove(25)):
        with pytest.raises(CorruptMemory, match="UTF-8"):
            use()
    vec = StableMemory()
    StableVec[u8](vec).extend([1] * 20)
    vec.write(64 + 7, b"\x09")
    with pytest.raises(CorruptMemory, match="0 or 1"):
        list(StableVec[bool](vec))


@pytest.mark.parametrize("name", ["u64 to str", "str to u64", "tuples", "u32 to u128"])
def test_a_flipped_bit_is_told_as_damage_wherever_it_lies(name):
    """Every bit of the headers of the first nodes, which all types read alike, and of sizes.

    Of 200 entries, on three levels of nodes, those of one node are so few that they do not make it look like other types.
    """
    key, value, _ = STORED[name]
    whole = image(stored(name, 200))
    memory = filled(StableMemory(), whole)
    tree = StableBTreeMap[key, value](memory)
    for offset in [*range(12, 20), *range(1000, 1000 + 3 * 300)]:
        for bit in (0, 3, 7):
            memory.write(offset, bytes([whole[offset] ^ 1 << bit]))
            for use in (tree.check, lambda: list(tree.items())):
                with contextlib.suppress(CorruptMemory):
                    use()
        memory.write(offset, whole[offset : offset + 1])
    tree.check()


def test_a_cut_map_is_damaged():
    whole = image(stored("u64 to str"))
    memory = filled(StableMemory(), whole)
    memory.write(PAGE_SIZE // 2, bytes(len(whole) - PAGE_SIZE // 2))
    for types in ((u64, str), (str, str), (u64, u64)):
        with pytest.raises(CorruptMemory):
            StableBTreeMap[types](memory).check()


@pytest.mark.parametrize("key", [np.uint64(5), np.int64(5), np.uint8(5)], ids=repr)
def test_a_missing_key_is_named_as_it_was_given(key: Any) -> None:
    """A key that is no `int` goes another way through the methods: what it finds is the same, and the error shows the key itself."""
    held = StableBTreeMap[u64, u64](StableMemory())
    for use in (lambda: held[key], lambda: held.__delitem__(key)):
        with pytest.raises(KeyError) as caught:
            use()
        assert caught.value.args[0] is key
        assert caught.value.__cause__ is None
    held[key] = np.uint16(7)
    assert (held[key], held.get(key), held.insert(key, np.int8(8)), held[5]) == (7, 7, 7, 8)
