"""A change of a key that was just looked up starts at its node: the bytes are those of the general way, whatever came between."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from typing import Any

import pytest

from stable_structures import Blob, CertifiedMap, MemoryManager, StableBTreeMap, StableMemory, u32, u64

FORMS: dict[str, tuple[Any, Any, Any]] = {
    "numbers": (u64, u64, lambda rand: rand.randrange(1 << 63)),
    "rows": (u32, tuple[u32, u64], lambda rand: (rand.randrange(9), rand.randrange(9))),
    "text": (u32, str, lambda rand: "x" * rand.choice([0, 1, 9, 80, 700])),
    "bytes": (Blob(32), bytes, lambda rand: bytes(rand.choice([0, 5, 128, 400]))),
}
KEYS = 400


def key_of(form: str, number: int) -> Any:
    return number.to_bytes(8, "big") if form == "bytes" else number


class Pair:
    """Two maps that get the same changes: one after a lookup of the key, one after a lookup of nothing."""

    def __init__(self, form: str) -> None:
        key, value, self.new = FORMS[form]
        self.form = form
        self.roots = [StableMemory(), StableMemory()]
        managers = [MemoryManager(root, bucket_pages=1) for root in self.roots]
        self.trees = [StableBTreeMap[key, value](manager.get(0)) for manager in managers]
        self.others = [StableBTreeMap[u64, u64](manager.get(1)) for manager in managers]
        self.held: dict[Any, Any] = {}

    def each(self, step: Any) -> None:
        for tree, other in zip(self.trees, self.others, strict=True):
            step(tree, other)

    def step(self, rand: random.Random) -> None:
        key, value = key_of(self.form, rand.randrange(KEYS)), self.new(rand)
        near = key_of(self.form, rand.randrange(KEYS))
        hinted, plain = self.trees
        looked_up = near if rand.random() < 0.2 else key
        assert hinted.get(looked_up) == self.held.get(looked_up)
        between = rand.choice(["nothing"] * 6 + ["set", "del", "other", "bulk", "pop", "clear"])
        if between == "set":
            self.each(lambda tree, _: tree.__setitem__(near, value))
            self.held[near] = value
        elif between == "del":
            self.each(lambda tree, _: tree.remove(near))
            self.held.pop(near, None)
        elif between == "other":
            third = rand.randrange(3)
            self.each(lambda _, other: other.insert(third, 1))
        elif between == "bulk":
            more = {key_of(self.form, rand.randrange(KEYS)): value for _ in range(rand.choice([3, 100]))}
            self.each(lambda tree, _: tree.update(more))
            self.held.update(more)
        elif between == "pop" and self.held:
            self.each(lambda tree, _: tree.pop_first())
            del self.held[min(self.held)]
        elif between == "clear" and rand.random() < 0.1:
            self.each(lambda tree, _: tree.clear())
            self.held.clear()
        if rand.random() < 0.5:
            assert hinted.insert(key, value) == plain.insert(key, value) == self.held.get(key)
        else:
            hinted[key] = plain[key] = value
        self.held[key] = value

    def roll_back(self, rand: random.Random) -> None:
        """Undo some steps; the lookups of the undone transaction lead nowhere."""
        before, key = dict(self.held), None
        with self.roots[0].transaction() as one, self.roots[1].transaction() as other:
            for _ in range(rand.randrange(8)):
                self.step(rand)
            key = rand.choice(list(self.held))
            assert self.trees[0][key] == self.held[key]
            one.rollback()
            other.rollback()
        self.held = before
        value = self.new(rand)
        self.trees[0][key] = self.trees[1][key] = self.held[key] = value

    def compare(self) -> None:
        digests = {hashlib.sha256(root.view()).hexdigest() for root in self.roots}
        assert len(digests) == 1
        for tree in self.trees:
            tree.check()
        assert dict(self.trees[0].items()) == self.held


def storm(form: str, seed: int, steps: int) -> None:
    rand, pair = random.Random(f"{form} {seed}"), Pair(form)
    for number in range(steps):
        if rand.random() < 0.03 and pair.held:
            pair.roll_back(rand)
        else:
            pair.step(rand)
        if number % 100 == 0:
            pair.compare()
    pair.compare()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("form", FORMS)
def test_changes_after_lookups_leave_the_bytes_of_changes_alone(form, seed):
    storm(form, seed, 600)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_changes_after_lookups_leave_the_bytes_of_changes_alone_at_length(form, duration, seed):
    end, number = time.monotonic() + duration / len(FORMS), 0
    while time.monotonic() < end:
        storm(form, seed + number, 2000)
        number += 1


def test_bytes_that_are_written_below_a_map_make_the_lookup_worthless():
    """The memory gets the bytes of an earlier moment, in which the key lay in another node."""
    for held_before in range(1, 120, 7):
        memory = MemoryManager(StableMemory(), bucket_pages=1).get(0)
        tree = StableBTreeMap[u64, u64](memory)
        tree.update(dict.fromkeys(range(held_before), 1))
        early = bytes(memory.read(0, memory.size() * 65536))
        tree.update(dict.fromkeys(range(200), 2))
        assert tree[0] == 2
        memory.write(0, early)
        tree[0] = 3
        tree.check()
        assert list(tree.items()) == [(0, 3), *((key, 1) for key in range(1, held_before))]


def test_threads_that_look_and_set_share_a_map():
    tree = StableBTreeMap[u64, u64](StableMemory())
    tree.update(dict.fromkeys(range(2000), 0))

    def count(number: int) -> None:
        rand = random.Random(number)
        for _ in range(3000):
            key = rand.randrange(500) * 4 + number
            tree[key] = tree[key] + 1
            tree.get(rand.randrange(2000))

    threads = [threading.Thread(target=count, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tree.check()
    assert sum(value for _, value in tree.items()) == 12_000


def test_hashes_follow_a_change_after_a_lookup():
    maps = []
    for looks in (True, False):
        manager = MemoryManager(StableMemory())
        made = CertifiedMap[u64, u64](manager.get(0), manager.get(1))
        made.update({key: key for key in range(300)})
        for key in range(0, 300, 7):
            if looks:
                assert made[key] == key
            made[key] = key + 1
        made.check()
        maps.append(made)
    assert maps[0].root_hash() == maps[1].root_hash()
