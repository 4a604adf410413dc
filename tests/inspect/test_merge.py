"""`diff` of maps by both of its ways, against what the maps held."""

from __future__ import annotations

import random
from typing import Any

import pytest

from stable_structures import Reverse, StableBTreeMap, StableMemory, codec, u64
from stable_structures.inspect import compare, open_image
from stable_structures.inspect.formats.inference import order_of
from stable_structures.inspect.merge import differences
from stable_structures.inspect.rewrite.rewrite import shrink

Contents = dict[Any, Any]


def two_maps(rng: random.Random, types: tuple[Any, Any]) -> tuple[list[StableMemory], list[Contents]]:
    """A map, and what became of it."""
    memories = [StableMemory(), StableMemory()]
    maps = [StableBTreeMap[types](memory) for memory in memories]
    make = lambda kind: rng.randrange(5000) if kind is u64 else "x" * (rng.randrange(90)) + str(rng.randrange(5000))  # noqa: E731
    for _ in range(rng.choice([0, 10, 3000])):
        key, value = make(types[0]), make(types[1])
        for one in maps:
            one[key] = value
    for _ in range(rng.choice([0, 3, 2000])):
        maps[1][make(types[0])] = make(types[1])
    for key in rng.sample(list(maps[1]), min(len(maps[1]), rng.choice([0, 5, 500]))):
        del maps[1][key]
    return memories, [dict(one.items()) for one in maps]


@pytest.mark.parametrize("most", [20_000, 0], ids=["by chunks", "side by side"])
@pytest.mark.parametrize("told", [True, False])
def test_changes_are_what_the_maps_hold(seed, monkeypatch, most, told):
    monkeypatch.setattr(compare, "_MOST_TOUCHED", most)
    rng = random.Random(seed)
    for _ in range(12):
        types = rng.choice([(u64, str), (str, u64), (str, str), (u64, u64)])
        memories, (before, after) = two_maps(rng, types)
        key, value = map(codec, types)
        (found,) = compare.diff(*memories, types={None: (key, value)} if told else None)
        read = lambda data, value=value: None if data is None else value.decode(data)  # noqa: E731
        changes = {key.decode(one.key): (read(one.before), read(one.after)) for one in found.changes}
        assert changes == {k: (before.get(k), after.get(k)) for k in {**before, **after} if before.get(k) != after.get(k)}
        assert [key.decode(one.key) for one in found.changes] == sorted(changes) or not told


def test_the_same_entries_in_another_layout_are_no_difference(tmp_path):
    memory = StableMemory()
    users = StableBTreeMap[u64, str](memory)
    users.update({i * 7919 % 9000: f"user {i}" for i in range(9000)})
    shrink(memory, tmp_path / "small.bin")
    assert compare.diff(memory, tmp_path / "small.bin")[0].changes == []


def test_the_order_of_the_keys_makes_it_fast_and_not_right(seed):
    """A wrong guess at the order: an entry is met at different places in the two maps, with the same value or another one."""
    rng = random.Random(seed)
    for _ in range(10):
        memories = [StableMemory(), StableMemory()]
        maps = [{rng.randrange(12): rng.choice("ab") for _ in range(rng.randrange(12))} for _ in memories]
        readers = []
        for memory, content in zip(memories, maps, strict=True):
            StableBTreeMap[u64, str](memory).update(content)
            readers.append(open_image(memory).part(None).open())
        readers[1].order = order_of(codec(Reverse[u64]))
        before, after = ({key.to_bytes(8, "big"): value.encode() for key, value in content.items()} for content in maps)
        wanted = {(key, before.get(key), after.get(key)) for key in {**before, **after} if before.get(key) != after.get(key)}
        found = differences(*readers)
        assert (set(found), len(found)) == (wanted, len(wanted))


@pytest.mark.parametrize("most", [20_000, 0], ids=["by chunks", "side by side"])
def test_the_same_bytes_in_other_entries_are_a_difference(monkeypatch, most):
    """Keys and values that are the same one after the other, but not each by itself."""
    monkeypatch.setattr(compare, "_MOST_TOUCHED", most)
    for contents in ([{"1": "ab", "2": "c"}, {"1": "a", "2": "bc"}], [{"a": "x", "bc": "x"}, {"ab": "x", "c": "x"}]):
        memories = [StableMemory(), StableMemory()]
        for memory, content in zip(memories, contents, strict=True):
            StableBTreeMap[str, str](memory).update(content)
        before, after = contents
        (found,) = compare.diff(*memories)
        read = lambda data: None if data is None else data.decode()  # noqa: E731
        changes = {read(one.key): (read(one.before), read(one.after)) for one in found.changes}
        assert changes == {key: (before.get(key), after.get(key)) for key in {**before, **after} if before.get(key) != after.get(key)}
