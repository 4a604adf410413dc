# SPDX-License-Identifier: Apache-2.0
"""Tests of a Motoko canister, and a rehearsal of its upgrades: `pytest examples/motoko_counter`."""

from pathlib import Path

import pytest

from stable_structures.canister import Trapped
from stable_structures.rehearsal import rehearse

HERE = Path(__file__).parent
COUNTER, BY_THREE, AS_TEXT = (HERE / f"{name}.wasm.gz" for name in ("counter", "counter_by_three", "counter_as_text"))


def test_it_counts_and_a_trap_changes_nothing(canister):
    counter = canister(COUNTER)
    assert [counter.call("inc") for _ in range(3)] == [1, 2, 3]
    assert counter.call("incAs", "Ada", 2) == 5
    with pytest.raises(Trapped, match="assertion failed"):
        counter.call("incAs", "Ada", 1000)
    assert (counter.query("get"), counter.query("by", "Ada"), counter.query("by", "Bob")) == (5, 2, None)


def test_an_upgrade_keeps_what_is_persistent(canister):
    counter = canister(COUNTER)
    assert [counter.call("inc") for _ in range(3)] == [1, 2, 3]
    counter.call("incAs", "Ada", 3)
    counter.upgrade(BY_THREE)
    assert [counter.call("inc") for _ in range(2)] == [9, 12]
    assert (counter.query("by", "Ada"), counter.query("callsSinceUpgrade")) == (3, 2)


def test_the_upgrade_is_rehearsed_on_a_snapshot(canister, tmp_path):
    counter = canister(COUNTER)
    counter.call("incAs", "Ada", 3)
    counter.save_snapshot(tmp_path / "snapshot")

    good = rehearse(tmp_path / "snapshot", BY_THREE, calls=["get()", "inc()", 'by("Ada")'])
    assert good.ok, str(good)
    assert [call.answer for call in good.calls] == ["(3 : nat)", "(6 : nat)", "(opt (3 : nat))"]
    assert good.warnings == []

    refused = rehearse(tmp_path / "snapshot", AS_TEXT)  # its `value` is a Text
    assert "incompatible" in str(refused.failure)
    assert refused.canister.query("get") == 3  # nothing was lost
