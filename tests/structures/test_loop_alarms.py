"""A loop goes through entries that it has read ahead; whatever changes the map, by whichever way, it notices at its next step."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from stable_structures import CertifiedMap, MemoryManager, StableBTreeMap, StableBTreeSet, StableMemory, StableVec, u64
from stable_structures import _native as native

COUNT = 300
LOOPS: dict[str, Callable[[Any], Any]] = {
    "keys": iter,
    "items": lambda tree: iter(tree.items()),
    "values": lambda tree: iter(tree.values()),
    "backwards": reversed,
    "range": lambda tree: iter(tree.range(0, 2 * COUNT)),
    "small range": lambda tree: iter(tree.range(0, 40)),
}


class Place:
    """A map in one memory of a manager, and a vec in another."""

    def __init__(self) -> None:
        self.root = StableMemory()
        manager = MemoryManager(self.root, bucket_pages=1)
        self.memory = manager.get(0)
        self.tree = StableBTreeMap[u64, u64](self.memory)
        self.tree.insert_many(range(0, 2 * COUNT, 2), range(COUNT))
        self.other = StableVec[u64](manager.get(1))


def in_a_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def refused(place: Place) -> None:
    """An operation that fails after its first steps, and is undone."""
    with pytest.raises(OverflowError):
        place.tree.update((key, 1 if key < 9 else 1 << 64) for key in range(1, 11, 2))


CHANGES: dict[str, Callable[[Place], object]] = {
    "insert": lambda place: place.tree.insert(1, 1),
    "insert what is there": lambda place: place.tree.insert(400, 1),
    "set a new key": lambda place: place.tree.__setitem__(401, 1),
    "del": lambda place: place.tree.__delitem__(400),
    "pop_first": lambda place: place.tree.pop_first(),
    "pop_last": lambda place: place.tree.pop_last(),
    "clear": lambda place: place.tree.clear(),
    "insert_many": lambda place: place.tree.insert_many(np.arange(1, 9, 2), np.arange(4)),
    "remove_many": lambda place: place.tree.remove_many([400, 402]),
    "entry": lambda place: place.tree.entry(401).set(1),
    "setdefault": lambda place: place.tree.setdefault(401, 1),
    "set in another thread": lambda place: in_a_thread(lambda: place.tree.__setitem__(400, 1)),
    "insert in another thread": lambda place: in_a_thread(lambda: place.tree.insert(401, 1)),
    "raw write": lambda place: place.root.write(0, place.root.read(0, 8)),
    "given up": lambda place: place.tree.into_memory(),
    "close": lambda place: place.root.close(),
}


@pytest.mark.parametrize("at", [1, 15, 16, 17])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_notices_every_change_at_its_next_step(loop, change, at):
    place = Place()
    steps = LOOPS[loop](place.tree)
    for _ in range(at):
        next(steps)
    CHANGES[change](place)
    with pytest.raises(Exception, match=r"changed|closed|gave up"):
        next(steps)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_rollback_ends_a_loop_that_began_in_the_transaction(loop):
    place = Place()
    with place.root.transaction() as transaction:
        place.tree[1] = 1
        steps = LOOPS[loop](place.tree)
        next(steps)
        transaction.rollback()
    with pytest.raises(RuntimeError, match="changed"):
        next(steps)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_changes_elsewhere_does_not_disturb_a_loop(loop):
    place, elsewhere = Place(), StableBTreeMap[u64, u64](StableMemory())
    wanted = list(LOOPS[loop](place.tree))
    found = []
    for number, item in enumerate(LOOPS[loop](place.tree)):
        found.append(item)
        place.other.push(number)
        elsewhere[number] = number
    assert found == wanted


def test_a_map_with_hashes_tells_its_loops_too():
    manager = MemoryManager(StableMemory())
    tree = CertifiedMap[u64, u64](manager.get(0), manager.get(1))
    tree.update({key: key for key in range(COUNT)})
    steps = iter(tree.items())
    assert next(steps) == (0, 0)
    tree[1] = 7
    assert next(steps) == (1, 7)
    del tree[2]
    with pytest.raises(RuntimeError, match="changed"):
        next(steps)


def test_a_set_tells_its_loops_too():
    members = StableBTreeSet[u64](StableMemory())
    members.update(range(COUNT))
    steps = iter(members)
    assert next(steps) == 0
    members.insert(1000)
    with pytest.raises(RuntimeError, match="changed"):
        next(steps)


@pytest.mark.parametrize("seed", range(4))
def test_loops_beside_one_another_each_see_what_is_set(seed):
    """Several loops over two maps, in any order, while keys get values: each returns the value of the moment, once."""
    rand = random.Random(seed)
    places = [Place(), Place()]
    held = [{key: key // 2 for key in range(0, 2 * COUNT, 2)} for _ in places]
    kinds = ["keys", "items", "values", "backwards", "range", "small range"]
    open_loops: list[tuple[str, int, Any, Iterator[int]]] = []
    for _ in range(6000):
        step = rand.random()
        which = rand.randrange(2)
        if step < 0.02 or not open_loops:
            kind = rand.choice(kinds)
            left = reversed(held[which]) if kind == "backwards" else iter([k for k in held[which] if kind != "small range" or k < 40])
            open_loops.append((kind, which, LOOPS[kind](places[which].tree), left))
        elif step < 0.3:
            key, value = rand.choice(list(held[which])[:60]), rand.randrange(10**6)
            places[which].tree[key] = held[which][key] = value
        elif step < 0.32:
            open_loops.pop(rand.randrange(len(open_loops)))
        else:
            at = rand.randrange(len(open_loops))
            kind, which, steps, left = open_loops[at]
            key = next(left, None)
            wanted = {"keys": key, "backwards": key, "values": held[which].get(key)}.get(kind, (key, held[which].get(key)))
            assert next(steps, None) == (None if key is None else wanted), kind
            if key is None:
                open_loops.pop(at)


class Alarm(Exception):
    """Of a signal handler."""


@pytest.mark.interrupted
def test_signal_handlers_that_raise_leave_no_loop_with_old_values():
    """The handler uses the map itself and raises, at any step of ours, also while the loops hear of a change."""
    tree, rand = Place().tree, random.Random(5)
    held, rings, ringing = dict(tree.items()), [0], [False]

    def ring(_number: int, frame: Any) -> None:
        if ringing[0] or not frame.f_globals["__name__"].startswith("stable_structures"):
            return
        ringing[0] = True
        assert tree.get(0) is not None
        ringing[0] = False
        rings[0] += 1
        if rings[0] % 3 == 0:
            raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        for _ in range(100):
            loop_and_set(tree, held, rand)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert rings[0] > 0
    assert dict(tree.items()) == held


def loop_and_set(tree: StableBTreeMap[int, int], held: dict[int, int], rand: random.Random) -> None:
    """Set the next key before its turn, until the loop or an exception ends; what was set by an interrupted step is asked for."""
    try:
        steps, last = iter(tree.items()), -2
    except Alarm:
        return
    for key in list(held):
        try:
            item = next(steps)
        except Alarm:
            return
        assert item == (key, held[key])
        last = key + 2
        if last in held:
            held[last] = overwritten(tree, last, held[last], rand.randrange(10**6))


def overwritten(tree: StableBTreeMap[int, int], key: int, old: int, new: int) -> int:
    """Set a value and return what is there then; an insertion that answers tells what was there."""
    with contextlib.suppress(Alarm):
        tree[key] = new
    while True:
        with contextlib.suppress(Alarm):
            now = tree[key]
            assert now in {old, new}
            return now


class Litter:
    """Garbage whose finalizer uses maps: it fails in one, and gets an answer from another."""

    def __init__(self, tree: StableBTreeMap[int, str]) -> None:
        self.me, self.tree, self.loop = self, tree, iter(tree.items())
        next(self.loop)

    def __del__(self) -> None:
        with contextlib.suppress(KeyError, RuntimeError):
            del self.tree[10**6]
        assert self.tree[1] == "other"


@pytest.mark.parametrize("seed", range(20))
def test_garbage_that_is_collected_while_loops_hear_of_a_change_disturbs_nothing(seed, monkeypatch):
    """Its finalizers end loops, and make calls of their own while the operation that made the change has its result still to return."""
    found = []
    monkeypatch.setattr("sys.unraisablehook", lambda error: found.append(error.exc_value))
    other = StableBTreeMap[u64, str](StableMemory())
    other.insert_many(range(30), ["other"] * 30)
    tree = StableBTreeMap[u64, str](StableMemory())
    tree.insert_many(range(100), ["old"] * 100)
    random.seed(seed)
    collections: list[str] = []
    during = [False]
    gc.collect()
    watch = lambda phase, _: collections.append(phase) if during[0] else None  # noqa: E731
    gc.callbacks.append(watch)
    thresholds = gc.get_threshold()
    try:
        gc.disable()
        loops = [iter(tree.items()) for _ in range(4)]
        for _ in range(8):
            Litter(other)
        loops += [iter(tree.items()) for _ in range(4)]
        for loop in loops:
            assert next(loop) == (0, "old")
        kept = [(number, seed) for number in range(5000)]  # so that pairs are not made of what lies ready
        gc.set_threshold(gc.get_count()[0] + random.randrange(2, 40), 1000, 1000)
        gc.enable()
        during[0] = True
        before = tree.insert(99, "new")
        during[0] = False
        gc.set_threshold(*thresholds)
        assert before == "old"
        for loop in loops:
            with pytest.raises(RuntimeError, match="changed"):
                next(loop)
        assert collections
        assert len(kept) == 5000
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(watch)
        gc.enable()
    gc.collect()
    assert found == []


def test_threads_that_share_a_loop_get_each_item_once():
    tree = StableBTreeMap[u64, u64](StableMemory())
    tree.insert_many(range(30_000), range(30_000))
    loop = iter(tree)
    found: list[list[int]] = [[] for _ in range(4)]

    def take(number: int) -> None:
        found[number].extend(iter(lambda: next(loop, -1), -1))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [key for part in found for key in part]
    assert len(every) == len(set(every))
    assert sorted([*every, *loop]) == list(range(30_000))


def test_a_loop_that_is_left_is_forgotten():
    tree = Place().tree
    gc.collect()
    before = len(native.loops)
    for key in tree:
        if key > 10:
            break
    assert all(count == COUNT for count in (len(list(tree)), len(list(tree.items()))))
    assert len(native.loops) == before


def test_no_step_of_python_ends_a_loop():
    """A signal handler that raises in a finalizer would raise into nothing."""
    tree = Place().tree
    loop = iter(tree)
    assert next(loop) == 0
    called: list[str] = []
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_name) if event == "call" else None)
    try:
        del loop
    finally:
        sys.setprofile(None)
    assert called == []


def test_a_loop_is_not_pickled():
    with pytest.raises(TypeError):
        pickle.dumps(iter(Place().tree))
    with pytest.raises(TypeError):
        copy.deepcopy(iter(Place().tree))
