# SPDX-License-Identifier: Apache-2.0
"""Tests of the counter, and a rehearsal of its upgrade: `pytest examples/counter`."""

from pathlib import Path

import pytest

from stable_structures.canister import Trapped

SOURCE = Path(__file__).with_name("counter.py")


def test_it_counts_and_a_trap_changes_nothing(canister):
    counter = canister(SOURCE)
    assert [counter.call("inc") for _ in range(3)] == [1, 2, 3]
    with pytest.raises(Trapped, match="too much"):
        counter.call("inc", 1000)
    assert counter.query("steps") == [1, 2, 3]


def test_an_upgrade_keeps_value_and_history(canister):
    counter = canister(SOURCE)
    counter.call("inc")
    faster = SOURCE.read_text(encoding="utf-8").replace("self.value += by", "self.value += 3 * by")
    counter.upgrade(faster)
    assert counter.call("inc") == 4
    assert counter.query("steps") == [1, 4]


def test_a_failed_upgrade_leaves_everything_as_it_was(canister):
    counter = canister(SOURCE)
    counter.call("inc")
    broken = SOURCE.read_text(encoding="utf-8") + '\nraise RuntimeError("broken")\n'
    with pytest.raises(Trapped, match="broken"):
        counter.upgrade(broken)
    assert counter.call("inc") == 2
