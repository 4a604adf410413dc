"""What the Rust crate wrote, we write: every result and every digest of the whole memory in tests/golden holds."""

from __future__ import annotations

import json

import pytest

import stable_structures
from stable_structures import RestrictedMemory, StableBTreeMap, StableMemory, u64

from ..support.golden_replay import GOLDEN, digest, replay, replay_canister, splitmix, traces
from ..support.memories import ListMemory

SINGLE = [name for name in traces() if not name.startswith("canister")]


def test_there_are_all_traces():
    assert len(traces()) == 28


@pytest.mark.parametrize("name", SINGLE)
def test_trace(name):
    for player in replay(name):
        player.structure.check()


@pytest.mark.parametrize("name", traces("canister"))
def test_canister_trace(name):
    for canister in replay_canister(name):
        for player in canister.players.values():
            player.structure.check()


OTHER_MEMORIES = ["btreemap_bytes_bytes", "btreemap_u64_u64", "btreemap_v1_u64_blob100", "btreemap_blob29_blob60"]


@pytest.mark.parametrize(
    "make_memory", [lambda: RestrictedMemory(StableMemory(), range(3, 1000)), ListMemory], ids=["restricted", "python"]
)
@pytest.mark.parametrize("name", OTHER_MEMORIES)
def test_trace_on_another_memory(name, make_memory):
    for player in replay(name, make_memory):
        player.structure.check()


@pytest.mark.parametrize("name", OTHER_MEMORIES)
@pytest.mark.parametrize("make_base", [StableMemory, ListMemory], ids=["flat", "python"])
def test_trace_on_scattered_buckets(name, make_base):
    manager = stable_structures.MemoryManager(make_base(), bucket_pages=1)
    memory, neighbour = manager.get(3), manager.get(9)

    def scatter():
        if neighbour.size() < memory.size():
            neighbour.grow(memory.size() - neighbour.size())

    for player in replay(name, lambda: memory, scatter):
        player.structure.check()
    assert neighbour.size() >= 1


# ---- scale.json ----

CASES = {case["name"]: case for case in json.loads((GOLDEN / "scale.json").read_text())["cases"]}


def scale_digest(name):
    return f"{CASES[name]['pages']} {CASES[name]['sha256']}"


def test_scale_a_and_a2_single_calls():
    memory = StableMemory()
    tree = StableBTreeMap[u64, u64](memory)
    keys = splitmix(CASES["A"]["seed"], 1_000_000)
    insert, remove = tree.insert, tree.remove
    for i, key in enumerate(keys):
        insert(key, i)
    assert digest(memory) == scale_digest("A")
    for i in range(0, 1_000_000, 3):
        assert remove(keys[i]) == i
    assert len(tree) == CASES["A2"]["len"]
    assert digest(memory) == scale_digest("A2")
    tree.check()


def test_scale_b_on_a_manager():
    memory = StableMemory()
    tree = StableBTreeMap[bytes, bytes](stable_structures.MemoryManager(memory).get(7))
    for key in splitmix(CASES["B"]["seed"], 200_000):
        tree[key.to_bytes(8, "big") + b"\7" * 24] = bytes([key % 256]) * 128
    assert digest(memory) == scale_digest("B")


def test_scale_c_ascending():
    memory = StableMemory()
    tree = StableBTreeMap[u64, u64](memory)
    for i in range(1_000_000):
        tree[i] = i
    assert digest(memory) == scale_digest("C")
