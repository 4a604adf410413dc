# SPDX-License-Identifier: Apache-2.0
"""Operations of Python's protocols that look like one are one: all or nothing, and nothing lost or doubled beside other threads."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from stable_structures import (
    Blob,
    Bounded,
    BoundExceeded,
    IncompatibleType,
    MemoryManager,
    StableBTreeMap,
    StableBTreeSet,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    i32,
    u8,
    u64,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

THREADS = 8


@pytest.fixture(autouse=True)
def threads_change_places_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def together(*works: Callable[[int], None]) -> None:
    """Runs the works at once, each in its threads by number; raises what one of them raised."""
    errors: list[BaseException] = []

    def run(work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work, number)) for number, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


def map_of(key: Any, value: Any) -> StableBTreeMap[Any, Any]:
    return StableBTreeMap[key, value](StableMemory())


class Slow(int):
    """A number that lets other threads run while it is encoded or decoded."""

    BOUND = Bounded(8, is_fixed_size=True)

    def to_bytes(self) -> bytes:  # type: ignore[override]
        time.sleep(0)
        return super().to_bytes(8, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> Slow:  # type: ignore[override]
        time.sleep(0)
        return cls(int.from_bytes(data, "big"))


def incremented(count: int) -> int:
    time.sleep(0)
    return type(count)(count + 1)


VALUES = {"u64": u64, "slow": Slow}
KEYS = {"u64": (u64, int), "i32": (i32, lambda n: n - 100), "str": (str, str), "bytes": (bytes, lambda n: b"%04d" % n)}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("kind", KEYS)
def test_increments_of_many_threads_all_arrive(kind, value):
    of, key = KEYS[kind]
    to: Any = Slow if value == "slow" else int
    tree = map_of(of, VALUES[value])

    def work(number: int) -> None:
        shared = tree.entry(key(0))
        for turn in range(150):
            shared.update(incremented, default=to(0))
            tree.entry(key(turn % 5 + 1)).update(incremented, default=to(0))
            tree.setdefault(key(100 + turn), to(number))

    together(*[work] * THREADS)
    assert tree[key(0)] == THREADS * 150
    assert sum(tree[key(n)] for n in range(1, 6)) == THREADS * 150
    tree.check()


def test_threads_that_share_one_entry_lose_nothing():
    tree = map_of(u64, u64)
    entry = tree.entry(7)

    def work(_: int) -> None:
        for _ in range(300):
            entry.update(incremented, default=0)

    together(*[work] * THREADS)
    assert entry.get() == tree[7] == THREADS * 300


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("kind", KEYS)
def test_a_default_is_set_once_and_everybody_gets_that_one(kind, value):
    of, key = KEYS[kind]
    to: Any = Slow if value == "slow" else int
    tree = map_of(of, VALUES[value])
    given: list[list[int]] = [[] for _ in range(THREADS)]

    def work(number: int) -> None:
        for turn in range(400):
            way = tree.setdefault if turn % 2 else lambda k, v: tree.entry(k).setdefault(v)
            given[number].append(way(key(turn), to(number * 1000 + turn)))

    together(*[work] * THREADS)
    assert all(answers == given[0] for answers in given)
    assert given[0] == [tree[key(turn)] for turn in range(400)]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("default", [False, True], ids=["raises", "default"])
def test_each_value_is_popped_once(kind, default, value):
    of, key = KEYS[kind]
    to: Any = Slow if value == "slow" else int
    tree = map_of(of, VALUES[value])
    tree.update((key(n), to(n)) for n in range(1000))
    popped: list[int] = []

    def work(_: int) -> None:
        for n in range(1000):
            try:
                value = tree.pop(key(n), None) if default else tree.pop(key(n))
            except KeyError:
                continue
            if value is not None:
                popped.append(value)

    together(*[work] * THREADS)
    assert sorted(popped) == list(range(1000))
    assert tree.is_empty()


def test_a_value_that_comes_again_and_again_is_popped_once_each_time():
    tree = map_of(u64, Slow)
    tree[0] = Slow(10**6)
    popped: list[int] = []

    def work(number: int) -> None:
        for turn in range(200):
            try:
                popped.append(tree.pop(0))
            except KeyError:
                continue
            tree[0] = Slow(number * 1000 + turn)

    together(*[work] * THREADS)
    assert len(set(popped)) == len(popped)


def test_taking_the_ends_of_a_map_and_a_set_gives_each_once():
    tree, numbers = map_of(u64, u64), StableBTreeSet[u64](StableMemory())
    tree.update((n, n) for n in range(800))
    numbers.update(range(800))
    taken: list[int] = []

    def work(number: int) -> None:
        for _ in range(1000):
            try:
                taken.append(tree.popitem()[0] if number % 2 else numbers.pop() + 1000)
            except KeyError:
                break

    together(*[work] * THREADS)
    assert sorted(taken) == [*range(800), *range(1000, 1800)]


class Halt(Exception):
    pass


def halting(items: list[Any]) -> Iterator[Any]:
    yield from items
    raise Halt


def structures() -> dict[str, tuple[Any, list[Any], Callable[[Any], Any]]]:
    """Of each kind one that holds something, what to add, and how to add many."""
    tree = map_of(str, u64)
    tree.update(a=1, b=2)
    numbers = StableBTreeSet[u64](StableMemory())
    numbers.update([1, 2])
    vec = StableVec[u64](StableMemory())
    vec.extend([1, 2])
    heap = StableMinHeap[u64](StableMemory())
    heap.push_many([2, 1])
    log = StableLog[str](StableMemory(), StableMemory())
    log.extend(["a", "b"])
    return {
        "map.update": (tree, [("c", 3), ("d", 4)], tree.update),
        "set.update": (numbers, [3, 4], numbers.update),
        "set |=": (numbers, [3, 4], numbers.__ior__),
        "set ^=": (numbers, [2, 4], numbers.__ixor__),
        "set &=": (numbers, [2, 4], numbers.__iand__),
        "set -=": (numbers, [2, 4], numbers.__isub__),
        "set.insert_many": (numbers, [3, 4], numbers.insert_many),
        "vec.extend": (vec, [3, 4], vec.extend),
        "heap.push_many": (heap, [3, 4], heap.push_many),
        "log.extend": (log, ["c", "d"], log.extend),
    }


@pytest.mark.parametrize("name", structures())
def test_an_iterator_that_raises_midway_changes_nothing(name):
    structure, items, add = structures()[name]
    before = list(structure.items()) if name.startswith("map") else list(structure)
    with pytest.raises(Halt):
        add(halting(items))
    assert (list(structure.items()) if name.startswith("map") else list(structure)) == before
    add(iter(items))
    assert (list(structure.items()) if name.startswith("map") else list(structure)) != before
    structure.check()


@pytest.mark.parametrize("name", structures())
def test_a_value_that_does_not_fit_changes_nothing(name):
    structure, items, add = structures()[name]
    before = list(structure.items()) if name.startswith("map") else list(structure)
    bad = ("x", -1) if name.startswith("map") else 5 if name.startswith("log") else -1
    with pytest.raises((BoundExceeded, IncompatibleType)):
        add([*items, bad])
    assert (list(structure.items()) if name.startswith("map") else list(structure)) == before


def test_structures_can_be_added_to_themselves():
    found = {name: (structure, add) for name, (structure, _, add) in structures().items()}
    for name, (structure, add) in found.items():
        before = list(structure)
        add(structure)
        after = list(structure)
        if name in {"vec.extend", "log.extend"}:
            assert after == before * 2
        elif name == "heap.push_many":
            assert sorted(after) == sorted(before * 2)
        elif name in {"set ^=", "set -="}:
            assert after == []
            structure.update(before)
        else:
            assert after == before


# ---- update as that of a dict ----


class OnlyKeys:
    """What `dict.update` takes beside mappings and pairs."""

    def keys(self) -> list[str]:
        return ["k", "l"]

    def __getitem__(self, key: str) -> int:
        return len(key)


@pytest.mark.parametrize(
    "other",
    [
        {"a": 5, "z": 6},
        [("a", 5), ("z", 6), ("a", 7)],
        (pair for pair in [["a", 5], ("z", 6)]),
        {("b", 1): 0}.keys(),
        [("ab", 1)],
        OnlyKeys(),
        (),
    ],
    ids=["dict", "pairs", "generator", "keys that are pairs", "list", "keys()", "nothing"],
)
def test_update_takes_what_that_of_a_dict_takes(other):
    other = other if hasattr(other, "keys") else list(other)  # since it is used twice
    tree, model = map_of(str, u64), {"a": 1}
    tree["a"] = 1
    assert tree.update(other, extra=9) is None
    model.update(other, extra=9)
    assert dict(tree) == model
    tree.update(self=1, other=2)
    assert (tree["self"], tree["other"]) == (1, 2)
    tree.update(tree)
    tree.update(tree.items())
    tree.update((key, value + 1) for key, value in tree.items())
    model.update(self=1, other=2)
    assert dict(tree) == {key: value + 1 for key, value in model.items()}


@pytest.mark.parametrize("other", [5, None, [5], ["abc"], [("a",)], [("a", 1, 2)], [("a", 1), 7]])
def test_update_refuses_what_that_of_a_dict_refuses(other):
    tree = map_of(str, u64)
    kinds = []
    for update in (tree.update, {}.update):
        with pytest.raises((TypeError, ValueError)) as raised:
            update(other)
        kinds.append(raised.type)
    assert kinds[0] is kinds[1]
    assert tree.is_empty()


def test_keywords_are_for_maps_of_text():
    tree = map_of(u64, u64)
    with pytest.raises(IncompatibleType):
        tree.update({1: 2}, three=4)
    assert tree.is_empty()


def test_an_update_is_one_commit(tmp_path):
    with StableMemory.open(tmp_path / "m", durability="normal") as memory:
        tree = StableBTreeMap[u64, u64](memory)
        syncs = []
        for size in (1, 2000):
            before = (tmp_path / "m-wal").stat().st_size
            tree.update((n, n) for n in range(size))
            syncs.append((tmp_path / "m-wal").stat().st_size - before)
        assert len(tree) == 2000
        assert syncs[1] < 40 * max(syncs[0], 4096)  # 2,000 commits of one entry each write as many blocks at least


# ---- whole views at one moment ----


def test_what_is_there_all_the_time_is_found_all_the_time(duration):
    """A value moves to and fro in a vec: at each moment it is there once."""
    vec = StableVec[u64](StableMemory())
    vec.extend([*range(1000, 1200), 7])
    until = time.monotonic() + 0.75 * duration

    def move(_: int) -> None:
        while time.monotonic() < until:
            vec.set(0, 7)
            vec.set(200, 1)
            vec.set(200, 7)
            vec.set(0, 1)

    def look(_: int) -> None:
        while time.monotonic() < until:
            assert 7 in vec
            assert vec.count(7) in (1, 2)
            assert vec.index(7) in (0, 200)

    together(move, *[look] * 3)


@pytest.mark.parametrize("make", ["vec", "vec of text", "log"])
def test_the_end_is_found_while_others_append_and_take(make, duration):  # noqa: C901 - three kinds, each with its own ways
    """Every value is its own index, so that a place from one moment and a value from another one show."""
    if make == "log":
        row: Any = StableLog[u64](StableMemory(), StableMemory())
        push, pop = row.append, lambda: None
    else:
        kind, to = (u64, int) if make == "vec" else (Blob(8), lambda n: b"%d" % n)
        row = StableVec[kind](StableMemory())
        push, pop = (lambda n: row.push(to(n))), row.pop
    for n in range(20):
        push(n)
    until = time.monotonic() + 0.5 * duration

    def change(_: int) -> None:
        while time.monotonic() < until:
            for n in range(20, 24):
                push(len(row) if make == "log" else n)
            for _ in range(4):
                pop()

    def look(_: int) -> None:
        while time.monotonic() < until:
            assert int(row[-1]) >= 19
            last = [int(value) for value in row[-3:]]
            assert last == list(range(last[0], last[0] + 3))
            assert last[-1] >= 19
            spread = [int(value) for value in row[::-10]]
            assert spread == list(range(spread[0], -1, -10))
            assert spread[0] >= 19
            if make == "log":
                assert row.last() >= 19
            elif make == "vec":
                tail = row.to_numpy(-2).tolist()
                assert tail[1] == tail[0] + 1
                assert tail[1] >= 19

    together(change, *[look] * 3)


def test_the_last_value_is_set_while_others_append_and_take(duration):
    vec = StableVec[u64](StableMemory())
    vec.extend([0] * 20)
    until = time.monotonic() + 0.5 * duration

    def change(_: int) -> None:
        while time.monotonic() < until:
            vec.extend([0] * 5)
            for _ in range(5):
                vec.pop()

    def assign(number: int) -> None:
        while time.monotonic() < until:
            vec[-1] = number
            vec[-20] = number

    together(change, *[assign] * 3)
    assert vec[-21:] == list(vec)
    assert len(vec) == 20
    for index in (-21, 20, -(2**63) - 1, -(2**64), 2**63):
        with pytest.raises(IndexError):
            vec[index] = 1
        with pytest.raises(IndexError):
            vec[index]


def test_sets_are_compared_as_they_are_at_one_moment(duration):
    """An element moves from one value to another with one operation: one of the two is there at each moment."""
    numbers = StableBTreeSet[u64](StableMemory())
    numbers.update(range(100))
    until = time.monotonic() + 0.75 * duration

    def change(_: int) -> None:
        while time.monotonic() < until:
            numbers.__ixor__([0, 500])

    def look(_: int) -> None:
        start = numbers - range(1, 100)
        assert start in ({0}, {500})
        while time.monotonic() < until:
            assert not numbers.isdisjoint({0, 500})
            assert len(numbers & {0, 500}) == 1
            assert len(numbers | set()) == 100
            assert not numbers >= {0, 500}
            assert numbers != set(range(1, 100))
            assert len(numbers - set(range(1, 100))) == 1
            assert not numbers.is_disjoint([0, 500])
            assert not numbers < set(range(1, 100))

    together(change, *[look] * 3)
    numbers.check()


def test_in_place_operators_beside_writers_are_some_serial_order():
    """Two threads toggle, one keeps: nothing is left that no order of the three could leave."""
    numbers = StableBTreeSet[u64](StableMemory())

    def toggle(number: int) -> None:
        for _ in range(201):
            numbers.__ixor__(range(number * 50, number * 50 + 50))

    together(*[toggle] * THREADS)
    assert list(numbers) == list(range(THREADS * 50))
    numbers.__iand__(range(0, THREADS * 50, 2))
    assert list(numbers) == list(range(0, THREADS * 50, 2))
    numbers.check()


@pytest.mark.parametrize("of", [u64, str, i32, u8], ids=str)
def test_set_operators_are_those_of_python(of):
    to = str if of is str else int
    cases = [[], [1], [1, 2, 3], [2, 3, 4], list(range(0, 100, 3)), list(range(100))]
    for mine in cases:
        for other in cases:
            model, theirs = {to(n) for n in mine}, {to(n) for n in other}
            for kind in (lambda values: values, lambda values: filled(of, values)):
                numbers, given = filled(of, model), kind(theirs)
                assert (numbers <= given, numbers < given, numbers >= given, numbers > given, numbers == given, numbers != given) == (
                    model <= theirs,
                    model < theirs,
                    model >= theirs,
                    model > theirs,
                    model == theirs,
                    model != theirs,
                )
                assert (numbers & given, numbers | given, numbers - given, numbers ^ given) == (
                    model & theirs,
                    model | theirs,
                    model - theirs,
                    model ^ theirs,
                )
                assert (theirs & numbers, theirs | numbers, theirs - numbers, theirs ^ numbers) == (
                    theirs & model,
                    theirs | model,
                    theirs - model,
                    theirs ^ model,
                )
                assert numbers.isdisjoint(given) == model.isdisjoint(theirs)
                for operator in ("__iand__", "__ior__", "__isub__", "__ixor__"):
                    numbers, changed = filled(of, model), set(model)
                    getattr(numbers, operator)(given)
                    getattr(changed, operator)(theirs)
                    assert set(numbers) == changed, operator
                    numbers.check()


def filled(of: Any, values: Any) -> StableBTreeSet[Any]:
    made = StableBTreeSet[of](StableMemory())
    made.update(values)
    return made


def test_elements_of_other_types_are_not_in_a_set():
    numbers = filled(u64, [1, 2])
    assert numbers & {1, "x", None, 2.5, -1} == {1}
    assert numbers.isdisjoint({"x", -1})
    assert {1, "x"} - numbers == {"x"}
    assert numbers <= {1, 2, "x"}
    assert not numbers >= {"x"}
    assert numbers != {"x", "y"}
    with pytest.raises(TypeError):
        _ = numbers < 5


def test_maps_are_equal_as_dicts_are():
    tree, other = map_of(u64, str), map_of(u8, str)
    tree.update({1: "a"})
    other.update({1: "a"})
    assert tree == {1: "a"} == tree == other
    assert tree != {1: "b"}
    assert tree != 5
    with pytest.raises(TypeError, match="unhashable"):
        hash(tree)


# ---- changing values while iterating ----


@pytest.mark.parametrize("packed", [False, True], ids=["inserted", "full nodes"])
@pytest.mark.parametrize("value", ["u64", "str", "bytes"])
@pytest.mark.parametrize("memory", ["flat", "buckets"])
def test_values_may_be_overwritten_while_iterating(packed, value, memory):
    """As in a dict; and the new values are seen. A full node on the way is split, and the iterator finds its place again."""
    of, to = {"u64": (u64, int), "str": (str, str), "bytes": (bytes, lambda n: b"x" * (n % 2000))}[value]
    count = 700
    place: Any = StableMemory() if memory == "flat" else MemoryManager(StableMemory(), bucket_pages=1)[0]
    values = [to(n) for n in range(count)]
    if packed:
        tree = StableBTreeMap[u64, of].from_sorted(place, range(count), values)
    else:
        tree = StableBTreeMap[u64, of](place)
        tree.update(zip(range(count), values, strict=True))
    model = dict(tree)
    for walk in (iter(tree), reversed(tree), tree.keys_range(100, 600)):
        for key in walk:
            tree[key] = model[key] = to(key * 7 % count)
    assert dict(tree) == model
    for key, found in tree.items():
        assert found == model[key]
        ahead = (key + 3) % count
        tree[ahead] = model[ahead] = to(key)
        tree.entry(key).set(to(5))
        model[key] = to(5)
    assert dict(tree) == model
    for step, found in enumerate(tree.values_range(50, 500)):
        assert found == model[50 + step]
        tree.update({60 + step: to(step), 3: to(step)})
        model.update({60 + step: to(step), 3: to(step)})
    tree.check()


def test_both_ends_of_an_iterator_see_overwritten_values():
    for packed in (False, True):
        for count in (1, 2, 5, 17, 40, 333):
            tree = StableBTreeMap[u64, u64].from_sorted(StableMemory(), range(count), range(count)) if packed else map_of(u64, u64)
            tree.update((n, n) for n in range(count))
            for pattern in ("fb", "f", "b", "ffb", "bbbf", "sfb"):
                expected = list(range(count))
                walk, turn = tree.range(), 0
                while expected:
                    step = pattern[turn % len(pattern)]
                    if step == "s":
                        assert walk.skip(2) == min(2, len(expected))
                        del expected[:2]
                    else:
                        key = expected.pop(0) if step == "f" else expected.pop()
                        assert (next(walk) if step == "f" else walk.next_back()) == (key, tree[key])
                    if turn % 3:
                        for key in expected[:2] + expected[-2:]:
                            tree[key] = turn * 1000 + key
                    turn += 1
                with pytest.raises(StopIteration):
                    next(walk)
            tree.check()


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.update({5: 1, 9999: 1}),
        lambda tree: tree.__setitem__(9999, 1),
        lambda tree: tree.__delitem__(5),
        lambda tree: tree.entry(9999).set(1),
        lambda tree: tree.setdefault(9999, 1),
        lambda tree: tree.pop(5),
        lambda tree: tree.clear(),
    ],
    ids=["update", "set", "delete", "entry", "setdefault", "pop", "clear"],
)
def test_entries_that_come_or_go_end_an_iteration(change):
    tree = map_of(u64, u64)
    tree.update((n, n) for n in range(50))
    walks = [iter(tree), iter(tree.items()), tree.range()]
    for walk in walks:
        next(walk)
    tree[7] = 0
    for walk in walks:
        next(walk)
    change(tree)
    for walk in walks:
        with pytest.raises(RuntimeError, match=r"changed.*with memory\.transaction\(\)"):
            next(walk)


def test_what_another_thread_overwrites_ends_an_iteration():
    tree = map_of(u64, u64)
    tree.update((n, n) for n in range(50))
    walk = iter(tree.items())
    next(walk)
    tree[3] = 1
    next(walk)
    together(lambda _: tree.__setitem__(3, 2))
    with pytest.raises(RuntimeError, match="changed"):
        next(walk)


def test_a_function_that_changes_its_own_entry_gets_an_error():
    tree = map_of(u64, u64)

    def meddle(old: int) -> int:
        tree[1] = old + 1
        return old

    with pytest.raises(RuntimeError, match="changed in each of"):
        tree.entry(1).update(meddle, default=0)
    tree[1] = 3
    assert tree.entry(1).update(lambda old: tree.insert(2, old) or old + 1) == 4
    assert tree[1] == 4


# ---- views ----


@pytest.mark.parametrize("item", [5, None, "ab", [1, "a"], (1,), (1, "a", 2), ("x", "a"), (1, "b"), (2, "a"), (-1, "a"), ([], "a")])
def test_what_is_not_an_entry_is_not_in_the_items(item):
    tree = map_of(u64, str)
    tree[1] = "a"
    assert item not in tree.items()
    assert (1, "a") in tree.items()


def test_iterators_say_what_they_walk():
    tree, vec = map_of(u64, str), StableVec[u64](StableMemory())
    tree[1] = "a"
    assert repr(tree.range()) == "<TreeIterator over <StableBTreeMap[u64, str] of 1 entries>>"
    assert repr(tree.range(reverse=True)) == "<TreeIterator over <StableBTreeMap[u64, str] of 1 entries>, backwards>"
    assert repr(iter(tree)) == repr(iter(tree.items())) == repr(tree.range())
    assert repr(reversed(tree)) == repr(tree.range(reverse=True))
    assert repr(vec.iter()) == "<SequenceIterator over <StableVec[u64] of 0 values>>"
    loop = iter(tree)
    assert list(loop) == [1]
    assert repr(loop).startswith("<stable_structures.structures.iterators._Loop object")  # it keeps nothing at its end
    walk = tree.range()
    tree.into_memory()
    assert repr(walk) == "<TreeIterator over <StableBTreeMap[u64, str], Closed>>"
