# SPDX-License-Identifier: Apache-2.0
"""Worked examples: what the test of a canister looks like."""

from __future__ import annotations

from pathlib import Path

import pytest

from stable_structures import Principal
from stable_structures.canister import Limits, Trapped

ALICE = Principal(b"alice")
SOURCES = Path(__file__).parent / "sources"


@pytest.mark.parametrize("form", ["counter", "counter_basilisk", "counter_kybra"])
def test_the_counter_goes_on_counting_after_an_upgrade_that_adds_three(canister, form):
    counter = canister(f"sources/{form}.py")
    assert [counter.call("inc") for _ in range(3)] == [1, 2, 3]
    assert counter.query("seen") == 3
    counter.upgrade(SOURCES / f"{form}_by_three.py")
    assert [counter.call("inc") for _ in range(2)] == [6, 9]
    assert counter.query("seen") == 2


def test_users_and_recordings_survive_an_upgrade_and_half_a_call_leaves_nothing(canister):
    store = canister("sources/recordings")
    user = store.call("create_user", "Ada", caller=ALICE)
    assert user == {"id": ALICE, "created_at": store.time, "recording_ids": [], "username": "Ada"}
    assert store.call("create_recording", "birdsong", b"\x01" * 100, caller=ALICE)["id"] == 1
    with pytest.raises(Trapped, match=r"Value is too large\. Expected <= 5000 bytes"):
        store.call("create_recording", "opera", bytes(5_000), caller=ALICE)
    with pytest.raises(Trapped, match="LookupError: 2vxsx-fae is no user"):
        store.call("create_recording", "noise", b"")
    store.upgrade()
    assert store.call("create_recording", "rain", b"", caller=ALICE)["id"] == 2  # the trapped call took no number
    assert [one["recording_ids"] for one in store.query("read_users")] == [[1, 2]]
    store.call("delete_user", ALICE)
    assert store.query("read_recording", 1) is None


def test_a_pre_upgrade_that_traps_is_skipped_at_the_price_of_what_it_would_have_saved(canister):
    stuck = canister("sources/stuck.py")
    stuck.call("put", 1, 40)
    stuck.call("put", 2, 2)
    with pytest.raises(Trapped, match="RuntimeError: too much to save in one message"):
        stuck.upgrade()
    assert stuck.query("total") == 42  # the hook's own clear() is undone too
    stuck.upgrade(skip_pre_upgrade=True)
    assert stuck.query("total") == 42


def test_a_canister_that_exceeds_its_memory_limit_traps_and_keeps_what_it_had(canister):
    hoarder = canister("sources/hoarder.py", limits=Limits(stable_memory=2 * 65536))
    assert hoarder.call("hoard", 16_000) == 16_000
    with pytest.raises(Trapped, match="OutOfMemory"):
        hoarder.call("hoard", 16_000)
    assert hoarder.query("count") == 16_000
    assert hoarder.memory.size() == 2


def test_names_move_from_the_heap_with_hooks_to_a_stable_map(canister):
    names = canister("sources/heap_names.py")
    names.call("add", 2, "Grace")
    names.call("add", 1, "Ada")
    names.upgrade()
    assert names.query("listed") == [(1, "Ada"), (2, "Grace")]
    names.upgrade(SOURCES / "stable_names.py")
    names.call("add", 3, "Mary")
    for _ in range(2):
        assert names.query("listed") == [(1, "Ada"), (2, "Grace"), (3, "Mary")]
        names.upgrade()
