# SPDX-License-Identifier: Apache-2.0
"""Entry: what it does to a map is what the map's own operations do, byte for byte."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stable_structures import Closed, StableBTreeMap, StableMemory, u16, u64

from ..support.memories import Boom, FailingMemory, Trigger

keys = st.integers(0, 60)
steps = st.lists(st.tuples(st.sampled_from(["set", "update", "setdefault", "remove", "other"]), keys, st.integers(0, 65535)), max_size=200)


def digest(tree: StableBTreeMap) -> str:
    return hashlib.sha256(tree.memory.view()).hexdigest()


@given(steps)
def test_entries_leave_the_bytes_of_the_plain_operations(steps):
    through, plain = StableBTreeMap[u16, str](StableMemory()), StableBTreeMap[u16, str](StableMemory())
    for step, key, number in steps:
        entry = through.entry(key)
        assert entry.get("none") == plain.get(key, "none")
        if step == "set":
            entry.set(str(number))
            plain[key] = str(number)
        elif step == "update":
            assert entry.update(lambda old: old + "+", default="") == plain.get(key, "") + "+"
            plain[key] = plain.get(key, "") + "+"
        elif step == "setdefault":
            assert entry.setdefault(str(number)) == plain.setdefault(key, str(number))
        elif step == "remove":
            assert entry.remove() == plain.remove(key)
        else:
            through[number % 61] = "x"
            plain[number % 61] = "x"
            entry.set("y")
            plain[key] = "y"
        assert entry.exists == (key in plain)
    assert digest(through) == digest(plain)
    through.check()


def test_an_entry_sees_what_others_did_to_its_key():
    tree = StableBTreeMap[u64, str](StableMemory())
    entry = tree.entry(5)
    tree[5] = "other"
    assert entry.get() == "other"
    del tree[5]
    assert not entry.exists
    entry.set("mine")
    assert tree[5] == "mine"


def test_an_entry_that_splits_nodes_goes_the_general_way():
    tree = StableBTreeMap[u64, u64](StableMemory())
    for key in range(500):
        tree.entry(key).set(key)
        tree.check()
    assert list(tree.items()) == [(key, key) for key in range(500)]


def test_update_without_a_default_names_the_key_and_changes_nothing():
    tree = StableBTreeMap[u64, u64](StableMemory())
    with pytest.raises(KeyError, match="7"):
        tree.entry(7).update(lambda value: value + 1)
    with pytest.raises(ZeroDivisionError):
        tree.entry(7).update(lambda value: 1 // value, default=0)
    assert len(tree) == 0


def test_an_entry_of_a_map_that_is_gone_says_so():
    memory = StableMemory()
    tree = StableBTreeMap[u64, u64](memory)
    entry = tree.entry(1)
    entry.set(2)
    assert entry.get() == 2
    tree.into_memory()
    for use in (entry.get, lambda: entry.exists, lambda: entry.set(3), lambda: entry.setdefault(3), entry.remove):
        with pytest.raises(Closed):
            use()
    entry = StableBTreeMap[u64, u64](memory).entry(1)
    memory.close()
    with pytest.raises(Closed):
        entry.get()


@pytest.mark.parametrize("kind", ["size", "read", "write"])
def test_an_entry_on_a_memory_that_fails_is_set_or_as_it_was(kind):
    trigger = Trigger()
    tree = StableBTreeMap[u64, u64](FailingMemory(trigger))
    tree.update({i: i for i in range(30)})
    for at in range(1, 100):
        entry = tree.entry(7)
        trigger.arm(kind, at)
        try:
            entry.set(at)
            done = True
        except Boom:
            done = False
        fired = trigger.fired
        trigger.arm("", 0)
        assert tree[7] == (at if done else at - 1 or 7)
        tree[7] = entry.get() if done else at
        if not fired:
            break
    assert at > 1


@pytest.mark.parametrize("kind", ["size", "read", "write"])
def test_a_default_on_a_memory_that_fails_is_set_and_given_or_not_set(kind):
    trigger = Trigger()
    tree = StableBTreeMap[u64, u64](FailingMemory(trigger))
    for at in range(1, 100):
        entry = tree.entry(at)
        trigger.arm(kind, at)
        try:
            given = entry.setdefault(7)
        except Boom:
            given = None
        fired = trigger.fired
        trigger.arm("", 0)
        assert tree.get(at) == given
        if not fired:
            break
    assert at > 1
