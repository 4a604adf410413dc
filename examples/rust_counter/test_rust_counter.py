# SPDX-License-Identifier: Apache-2.0
"""Tests of a Rust canister, and a rehearsal of its upgrade: `pytest examples/rust_counter`."""

from pathlib import Path

import pytest

from stable_structures import StableBTreeMap, StableCell, u64
from stable_structures.canister import Trapped
from stable_structures.rehearsal import rehearse

HERE = Path(__file__).parent
COUNTER, BY_THREE = HERE / "counter.wasm.gz", HERE / "counter_by_three.wasm.gz"


def test_it_counts_and_a_trap_changes_nothing(canister):
    counter = canister(COUNTER)
    assert [counter.call("inc") for _ in range(3)] == [1, 2, 3]
    assert counter.call("inc_as", "Ada", 2) == 5
    with pytest.raises(Trapped, match="that is too much"):
        counter.call("inc_as", "Ada", 1000)
    assert counter.query("get") == 5


def test_what_it_wrote_is_read_from_its_stable_memory(canister):
    counter = canister(COUNTER)
    counter.call("inc_as", "Ada", 2)
    counter.call("inc_as", "Bob", 3)
    assert StableCell[u64](counter.manager.get(0), 0).get() == 5
    assert dict(StableBTreeMap[str, u64](counter.manager.get(1))) == {"Ada": 2, "Bob": 3}


def test_an_upgrade_keeps_stable_memory_and_clears_the_heap(canister):
    counter = canister(COUNTER)
    assert [counter.call("inc") for _ in range(3)] == [1, 2, 3]
    counter.upgrade(BY_THREE)
    assert counter.query("calls_since_upgrade") == 0
    assert [counter.call("inc") for _ in range(2)] == [6, 9]


def test_the_upgrade_is_rehearsed_on_a_snapshot(canister, tmp_path):
    counter = canister(COUNTER)
    counter.call("inc_as", "Ada", 3)
    counter.save_snapshot(tmp_path / "snapshot")
    found = rehearse(tmp_path / "snapshot", BY_THREE, calls=["get()", "inc()"])
    assert found.ok, str(found)
    assert [call.answer for call in found.calls] == ["(3 : nat64)", "(6 : nat64)"]
    assert found.warnings == []
