"""`diff` of maps by both of its ways, against what the maps held."""

from __future__ import annotations

import random
from typing import Any

import pytest

from stable_structures import StableBTreeMap, StableMemory, codec, u64
from stable_structures.inspect import compare
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
