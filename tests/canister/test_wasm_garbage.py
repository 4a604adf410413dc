# SPDX-License-Identifier: Apache-2.0
"""Wasm canisters and their snapshots that are garbage together with an object whose `__del__` uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..support.garbage import survives

HERE = Path(__file__).parent / "wasm"
HEAD = f"""
from stable_structures.canister import Canister, Trapped

def wasm(name): return Path({str(HERE)!r}) / name
"""
CANISTER = """
def fill(bag):
    bag.ledger, bag.counter = Canister.install(wasm("ledger.wasm.gz")), Canister.install(wasm("counter1_eop.wasm"))
    bag.edges = Canister.install(wasm("edges.wasm"))
    bag.snapshot = bag.ledger.snapshot()

def tie(user): user.ledger.user = user.counter.user = user.edges.user = user.snapshot.user = user

def use(user, turn):
    ledger, counter, edges = user.ledger, user.counter, user.edges
    before = ledger.query("balance", "ada") or 0
    assert ledger.call("deposit", "ada", 5) == before + 5
    try: ledger.call("transfer", "ada", "bob", 10**6)
    except Trapped as error: assert "not enough money" in str(error)
    assert dict(StableBTreeMap[str, u64](ledger.manager.get(0))) == {"ada": before + 5}
    ledger.upgrade(wasm("ledger.wasm.gz"))
    assert ledger.query("balance", "ada") == before + 5
    pages = edges.query_raw("pages", b"")
    try: edges.call_raw("bump_grow_trap", b"")
    except Trapped: pass
    assert edges.query_raw("pages", b"") == pages and edges.call_raw("table", b"")[0] == 2
    value = counter.call("inc")
    counter.upgrade(wasm("counter2_eop.wasm"))
    assert counter.call("inc") == value + 3
    if turn == 3: ledger.load_snapshot(user.snapshot)
    seen.append(value)
"""
FOLDER = """
saved = path
first = Canister.install(wasm("ledger.wasm.gz"))
first.call("deposit", "ada", 7)
first.save_snapshot(saved)

def fill(bag): bag.canister = Canister.from_snapshot(saved)
def tie(user): user.canister.user = user
def use(user, turn):
    before = user.canister.query("balance", "ada")
    assert user.canister.call("deposit", "ada", 5) == before + 5
    seen.append(before)
"""


@pytest.mark.parametrize("heap", ["mapped", "copying"])
@pytest.mark.parametrize("program", [CANISTER, FOLDER], ids=["installed", "folder"])
def test_finalizers_may_use_wasm_canisters_that_are_garbage_with_them(program, heap, tmp_path):
    """The collector runs all finalizers first, in any order: none may free an instance, its store, its heap or its messages."""
    survives(HEAD + program, tmp_path / "state", STABLE_STRUCTURES_HEAP=heap)
