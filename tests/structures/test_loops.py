"""A loop over an iterator and its other methods, in any order: each item comes once, in order, with the value that it has then."""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stable_structures import MemoryManager, StableBTreeMap, StableBTreeSet, StableLog, StableMemory, StableVec, f64, i64, u32, u64

VALUES: dict[str, tuple[Any, Any]] = {
    "number": (u64, lambda n: n),
    "row": (tuple[f64, u32], lambda n: (n / 4, n)),
    "text": (str, str),
}
STEPS = st.lists(
    st.one_of(
        st.sampled_from(["loop", "loop", "loop", "second loop", "next", "back", "other"]),
        st.integers(0, 40).map(lambda n: f"skip {n}"),
        st.integers(0, 299).map(lambda n: f"set {n}"),
    ),
    max_size=60,
)


class Model:
    """What is left of a range, and what the map holds."""

    def __init__(self, held: dict[int, Any], start: int, stop: int, *, reverse: bool) -> None:
        keys = [key for key in held if start <= key < stop]
        self.left = deque(reversed(keys) if reverse else keys)
        self.held = held

    def take(self, *, back: bool = False) -> Any:
        if not self.left:
            return None
        key = self.left.pop() if back else self.left.popleft()
        return key, self.held[key]


@settings(deadline=None)
@given(st.sampled_from(sorted(VALUES)), st.integers(0, 300), st.integers(0, 300), st.booleans(), STEPS)
def test_every_way_to_take_an_item_agrees_with_a_model(form, start, stop, reverse, steps):
    tp, value = VALUES[form]
    manager = MemoryManager(StableMemory(), bucket_pages=1)
    tree, other = StableBTreeMap[u64, tp](manager.get(0)), StableVec[u64](manager.get(1))
    held = {key: value(key) for key in range(300)}
    tree.update(held)
    model = Model(held, start, stop, reverse=reverse)
    it = tree.range(start, stop, reverse=reverse)
    loops = {"loop": iter(it), "second loop": iter(it)}
    for number, step in enumerate(steps):
        word, _, count = step.partition(" ")
        if step in loops:
            assert next(loops[step], None) == model.take()
        elif step == "next":
            assert next(it, None) == model.take()
        elif step == "back":
            expected = model.take(back=True)
            if expected is None:
                with pytest.raises(StopIteration):
                    it.next_back()
            else:
                assert it.next_back() == expected
        elif step == "other":
            other.push(number)
        elif word == "skip":
            skipped = it.skip(int(count))
            assert skipped == min(int(count), len(model.left))
            for _ in range(skipped):
                model.take()
        else:
            tree[int(count)] = held[int(count)] = value(1000 + number)
    rest = list(loops["loop"])
    assert rest == [model.take() for _ in rest]
    assert not model.left


@pytest.mark.parametrize("at", [0, 1, 15, 16, 17, 99, 127, 128, 299])
@pytest.mark.parametrize("two_ends", [False, True])
def test_a_change_of_entries_ends_a_loop_at_the_next_step(at, two_ends):
    tree = StableBTreeMap[u64, u64](StableMemory())
    tree.update({key: key for key in range(300)})
    loop = iter(tree.range(0, 300) if two_ends else tree.items())
    for key in range(at + 1):
        assert next(loop) == (key, key)
    del tree[at]
    with pytest.raises(RuntimeError, match="create a new iterator"):
        next(loop)


def test_a_loop_sees_the_values_that_its_body_sets():
    tree = StableBTreeMap[u64, tuple[u32, f64]](StableMemory())
    tree.update({key: (key, 0.0) for key in range(200)})
    for key, (number, _) in tree.items():
        assert number == key if key == 0 else number == 1000 + key
        if key + 1 < 200:
            tree[key + 1] = (1001 + key, 0.0)


@pytest.mark.parametrize("kind", ["map", "set", "vec", "log"])
def test_a_loop_that_is_left_goes_on_where_it_was(kind):
    made = {
        "map": lambda: StableBTreeMap[u64, u64](StableMemory()),
        "set": lambda: StableBTreeSet[u64](StableMemory()),
        "vec": lambda: StableVec[u64](StableMemory()),
        "log": lambda: StableLog[u64](StableMemory(), StableMemory()),
    }[kind]()
    if kind == "map":
        made.insert_many(range(100), range(100))
        it, wanted = made.iter(), [(n, n) for n in range(100)]
    else:
        getattr(made, "extend", getattr(made, "insert_many", None))(range(100))
        it, wanted = made.range() if kind == "set" else made.iter(), list(range(100))
    seen = []
    for item in it:
        seen.append(item)
        if len(seen) == 5:
            break
    assert [next(it), it.next_back(), *it] == [wanted[5], wanted[99], *wanted[6:99]]
    assert seen == wanted[:5]
    assert list(it) == []


def test_threads_that_share_an_iterator_get_each_item_once():
    tree = StableBTreeMap[u64, u64](StableMemory())
    tree.insert_many(range(20_000), range(20_000))
    it = tree.range(0, 20_000)
    found: list[list[Any]] = [[] for _ in range(4)]

    def take(number: int) -> None:
        if number == 3:
            while True:
                try:
                    found[number].append(it.next_back())
                except StopIteration:
                    return
        found[number].extend(iter(it) if number else iter(lambda: next(it, None), None))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key for part in found for key, _ in part) == list(range(20_000))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_child_of_a_fork_can_go_on():
    tree = StableBTreeMap[u64, u64](StableMemory())
    tree.insert_many(range(300), range(300))
    it = tree.range(0, 300)
    loop = iter(it)
    assert next(loop) == (0, 0)
    child = os.fork()
    if child == 0:
        os._exit(0 if [key for key, _ in loop] == list(range(1, 300)) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(list(loop)) == 299


def near_ends(rand: random.Random, left: deque[int]) -> int:
    """A key that comes soon, from either end: only there can an item be old that was fetched ahead."""
    return rand.choice([*itertools.islice(left, 4), *itertools.islice(reversed(left), 4)])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("in_loop", [False, True])
def test_values_that_are_overwritten_just_before_their_turn_are_seen(packed, reverse, in_loop):
    rand = random.Random(f"{packed} {reverse} {in_loop}")
    for _ in range(60):
        held = {key: key for key in range(rand.choice([1, 2, 3, 5, 17, 40, 200, 333]))}
        tree = StableBTreeMap[u64, u64].from_sorted(StableMemory(), held, held.values()) if packed else map_of(held)
        it = tree.range(reverse=reverse)
        loop = iter(it) if in_loop else it
        left = deque(reversed(held) if reverse else held)
        while left:
            way = rand.choice(["loop", "loop", "next", "back", "skip"])
            if way == "skip":
                skipped = min(2, len(left))
                assert it.skip(2) == skipped
                for _ in range(skipped):
                    left.popleft()
            else:
                key = left.pop() if way == "back" else left.popleft()
                assert (it.next_back() if way == "back" else next(loop if way == "loop" else it)) == (key, held[key])
            for _ in range(rand.choice([0, 0, 1, 3]) if left else 0):
                key = near_ends(rand, left)
                tree[key] = held[key] = rand.randrange(10**6)
        assert next(loop, None) is None


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("what", ["range", "keys_range", "values_range", "set", "vec"])
def test_loops_that_share_an_iterator_get_each_item_once(what, reverse):
    rand = random.Random(f"{what} {reverse}")
    for _ in range(60):
        count = rand.choice([0, 1, 2, 5, 15, 16, 17, 40, 48, 60, 130, 300])
        it, items = shared_iterator(what, count, reverse)
        loops = [iter(it) for _ in range(rand.choice([2, 3]))]
        left = deque(reversed(items) if reverse else items)
        loop, stays = it, rand.choice([0.3, 0.95])
        while left:
            if rand.random() > stays:
                loop = rand.choice([*loops, it])
            assert next(loop, None) == left.popleft(), (count, len(left))
        assert [next(loop, None) for loop in loops] == [None] * len(loops)


def shared_iterator(what: str, count: int, reverse: bool) -> tuple[Any, list[Any]]:
    numbers = range(count)
    if what == "vec":
        vec = StableVec[u64](StableMemory())
        vec.extend(numbers)
        return reversed(vec) if reverse else vec.iter(), list(numbers)
    if what == "set":
        members = StableBTreeSet[u64](StableMemory())
        members.update(numbers)
        return members.range(reverse=reverse), list(numbers)
    items = {"range": [(n, -n) for n in numbers], "keys_range": list(numbers), "values_range": [-n for n in numbers]}[what]
    pairs = StableBTreeMap[u64, i64](StableMemory())
    pairs.update({n: -n for n in numbers})
    return getattr(pairs, what)(reverse=reverse), items


def map_of(held: dict[int, int]) -> StableBTreeMap[int, int]:
    made = StableBTreeMap[u64, u64](StableMemory())
    made.update(held)
    return made


@pytest.mark.parametrize("sizes", [[0], [1], [32], [5, 5, 5, 5, 6], [0, 9]])
@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 1200])
def test_pieces_of_one_size_and_of_many_come_apart_alike(sizes, count):
    rand = random.Random(f"{sizes} {count}")
    held = {rand.randbytes(8): rand.randbytes(rand.choice(sizes)) for _ in range(count)}
    tree = StableBTreeMap[bytes, bytes](StableMemory())
    tree.update(held)
    assert list(tree.items()) == sorted(held.items())
    assert tree.get_many(list(held)) == list(held.values())
    log = StableLog[bytes](StableMemory(), StableMemory())
    log.extend(held.values())
    assert log[:] == list(log) == list(held.values())
