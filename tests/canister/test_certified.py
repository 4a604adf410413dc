"""Certified queries of a canister with a CertifiedMap: `certified_data` is its root hash, through traps, upgrades and snapshots.

The harness makes no certificates: a subnet's signature (BLS) is out of scope, so what a test sets as `data_certificate` stands for it, and
the verifier below takes the root hash from `certified_data` instead of from a verified certificate.
"""

from __future__ import annotations

import pytest

from stable_structures import CertifiedMap, MemoryManager, StableMemory, u64
from stable_structures.canister import Canister, Trapped
from stable_structures.hashtree import HashTree, Status

SOURCE = """
from stable_structures import CertifiedMap, MemoryManager, u64
from stable_structures.canister import ic, init, query, update

manager = MemoryManager(ic.memory())
balances = CertifiedMap[str, u64](manager.get(0), manager.get(1))

@init
def certify():
    ic.set_certified_data(balances.root_hash())

@update
def deposit(who, amount):
    balances[who] = balances.get(who, 0) + amount
    certify()

@update
def deposit_many(names, fail):
    balances.update({name: 1 for name in names})
    certify()
    if fail:
        ic.trap("no")

@query
def balance(who):
    proof = balances.witness(who) if who in balances else balances.witness_absence(who)
    return ic.data_certificate(), proof
"""


def certified_balance(canister, who):
    """The caller: believes the answer only if it leads to what the subnet has certified."""
    canister.data_certificate = b"signed: " + canister.certified_data
    certificate, witness = canister.query("balance", who)
    proof = HashTree.from_cbor(witness)
    assert certificate == b"signed: " + proof.root_hash
    found = proof.lookup(who)
    assert found.status in {Status.FOUND, Status.ABSENT}
    return None if found.data is None else int.from_bytes(found.data)


def test_a_certified_query_is_answered_and_verified():
    canister = Canister.install(SOURCE)
    assert certified_balance(canister, "ada") is None
    canister.call("deposit", "ada", 100)
    canister.call("deposit", "bob", 7)
    canister.call("deposit", "ada", 11)
    assert [certified_balance(canister, who) for who in ("ada", "bob", "carol")] == [111, 7, None]


def test_a_forged_answer_is_not_believed():
    canister = Canister.install(SOURCE)
    canister.call("deposit", "ada", 100)
    _, witness = canister.query("balance", "ada")
    forged = witness.replace((100).to_bytes(8, "big"), (999).to_bytes(8, "big"))
    assert forged != witness
    assert HashTree.from_cbor(forged).root_hash != canister.certified_data


def test_a_trap_takes_entries_hashes_and_certified_data_back():
    canister = Canister.install(SOURCE)
    canister.call("deposit_many", [f"user{i}" for i in range(200)], False)
    before = canister.certified_data
    with pytest.raises(Trapped):
        canister.call("deposit_many", [f"other{i}" for i in range(200)], True)
    assert canister.certified_data == before
    assert [certified_balance(canister, who) for who in ("user7", "other7")] == [1, None]


def test_an_upgrade_keeps_the_root_hash_without_computing_it():
    canister = Canister.install(SOURCE)
    canister.call("deposit_many", [f"user{i}" for i in range(500)], False)
    canister.upgrade(SOURCE)
    assert certified_balance(canister, "user7") == 1
    canister.call("deposit", "user7", 1)
    assert certified_balance(canister, "user7") == 2
    copy = StableMemory()
    copy.grow(canister.memory.size())
    copy.write(0, canister.memory.read(0, canister.memory.nbytes))
    manager = MemoryManager(copy)
    m = CertifiedMap[str, u64].load(manager.get(0), manager.get(1))
    assert m.root_hash() == canister.certified_data
    m.check()


WHERE = """
from stable_structures.canister import *
seen = []
@inspect_message
def inspect(*args):
    if ic.data_certificate() is None: ic.accept_message()
@query
def here(): return ic.data_certificate()
@update
def changing(): return ic.data_certificate()
@update
async def ask(other): return await ic.call(other, "here")
@composite_query
async def both(other): return ic.data_certificate(), await ic.call(other, "here"), ic.data_certificate()
"""


def test_only_a_query_from_outside_has_a_certificate_before_its_first_call():
    """A replicated query has none, and a canister that is called from another one has none either."""
    one, other = Canister.install(WHERE), Canister.install(WHERE)
    assert one.query("here") == one.data_certificate
    assert one.query("both", other.id) == (one.data_certificate, None, None)
    assert [one.call("here"), one.call("changing"), one.call("ask", other.id)] == [None, None, None]
