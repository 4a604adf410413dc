# SPDX-License-Identifier: Apache-2.0
"""What rollback does to Python's objects: random programs that change them are undone, object by object, at C's speed."""

from __future__ import annotations

import collections
import enum
import functools
import gc
import random
import sys
import types
from typing import NamedTuple

import numpy as np
import pytest

from stable_structures.canister import Canister, Trapped
from stable_structures.canister.heap import HeapImage, heap_size


class Plain:
    def __init__(self, *held):
        self.first, self.rest = held[:1], list(held[1:])


class Other(Plain):
    pass


class Slotted:
    __slots__ = ("a", "b")


class Both(Slotted):
    __slots__ = ("__dict__", "c")


class Names(dict):
    """Nothing that it overrides may be used, or seen to be."""

    def __iter__(self):
        raise AssertionError("the program's code must not run")

    keys = values = items = __len__ = copy = __eq__ = __iter__
    __hash__ = None


class Row(list):
    def __iter__(self):
        raise AssertionError("the program's code must not run")

    copy = __len__ = __eq__ = __iter__
    __hash__ = None


class Bag(set):
    def __iter__(self):
        raise AssertionError("the program's code must not run")

    copy = __len__ = __eq__ = __iter__
    __hash__ = None


class Queue(collections.deque):
    def __iter__(self):
        raise AssertionError("the program's code must not run")

    copy = __len__ = __eq__ = __iter__
    __hash__ = None


class Ordered(collections.OrderedDict):
    def __iter__(self):
        raise AssertionError("the program's code must not run")

    values = items = __len__ = copy = __eq__ = __iter__
    __hash__ = None


class Raw(bytearray):
    def __eq__(self, other):
        raise AssertionError("the program's code must not run")

    __hash__ = None


class Pair(NamedTuple):
    one: object
    other: object


class Colour(enum.Enum):
    RED = 1


class Same:
    """Equal to everything: only identity tells two of them apart."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 7


def closure(held):
    def get():
        return held

    def put(value):
        nonlocal held
        held = value

    return get, put


DICTS = (dict, Names, collections.OrderedDict, Ordered, functools.partial(collections.defaultdict, list), collections.Counter)


def dict_of(made):
    return collections.OrderedDict if isinstance(made, collections.OrderedDict) else dict


def make_dict(rng, some):
    made = rng.choice(DICTS)()
    for value in some(4):
        dict_of(made).__setitem__(made, rng.choice(("a", "b", 3, True, 1.0, (1, "x"), Same())), value)
    return made


def make_list(rng, some):
    made = rng.choice((list, Row))()
    list.extend(made, some(5))
    return made


def make_set(rng, _some):
    made = rng.choice((set, Bag))()
    set.update(made, [rng.randrange(9), Same(), Pair(1, rng.random())])
    return made


def make_deque(rng, some):
    made = rng.choice((collections.deque, Queue))()
    collections.deque.extend(made, some(3))
    return made


def make_object(rng, some):
    return rng.choice((Plain, Other))(*some(4))


def make_slotted(rng, some):
    made = rng.choice((Slotted, Both))()
    made.a = some(1)
    return made


def make_fixed(rng, some):
    return rng.choice((tuple(some(3)), Pair(*some(2)), frozenset([rng.random()]), types.SimpleNamespace(x=some(1))))


def make_code(rng, some):
    get = closure(some(1))[0]
    return rng.choice(
        (closure(some(1)), functools.partial(print, some(1)), some(1).append, types.MappingProxyType({1: some(1)}), property(get))
    )


def make_state(rng, _some):
    return rng.choice((np.arange(3), random.Random(rng.random()), rng.choice((bytearray, Raw))(b"12345")))


MAKERS = (make_dict, make_list, make_set, make_deque, make_object, make_slotted, make_fixed, make_code, make_state)


def world(rng, size):
    """Objects that hold each other, in cycles too."""
    objects = [[], {}, 1, 1.0, True, "text", Colour.RED, None]

    def some(count):
        return [rng.choice(objects) for _ in range(count)]

    while len(objects) < size:
        objects.append(rng.choice(MAKERS)(rng, some))
    for item in objects:
        if type(item) is list:
            item.extend(some(2))
    return objects


def change_dict(item, rng, new):
    kind = dict_of(item)
    keys = list(kind.__iter__(item))
    key = rng.choice(keys or ["a"])
    again = kind.pop(item, key, new)  # gone, or the same content in another order
    if rng.random() < 0.5:
        kind.__setitem__(item, key, again)
    elif rng.random() < 0.5:
        kind.__setitem__(item, rng.choice(("a", "new", 1, True, 3)), new)
    elif rng.random() < 0.2:
        kind.clear(item)


def change_sequence(item, rng, new):
    kind = list if isinstance(item, list) else collections.deque
    if kind.__len__(item) and rng.random() < 0.5:
        kind.__setitem__(item, 0, new)
    else:
        rng.choice((kind.append, lambda x, _: kind.clear(x), lambda x, _: kind.reverse(x)))(item, new)


def change_set(item, rng, _new):
    rng.choice((lambda: set.clear(item), lambda: set.add(item, object()), lambda: set.discard(item, rng.randrange(9))))()


def change_bytes(item, rng, _new):
    rng.choice((lambda: item.extend(b"more"), item.clear, lambda: item.__setitem__(slice(None), b"54321")))()


def change_object(item, rng, new):
    other = Other if type(item) is Plain else Plain
    name, value = rng.choice((("first", new), ("fresh", new), ("__dict__", {"new": new}), ("__class__", other)))
    rng.choice((lambda: setattr(item, name, value), lambda: vars(item).clear()))()


def change_slotted(item, rng, new):
    name = rng.choice("ab")
    setattr(item, name, new)
    if rng.random() < 0.3:
        delattr(item, name)


def change_closure(item, _rng, new):
    if len(item) == 2 and isinstance(item[1], types.FunctionType):
        item[1](new)


def change_namespace(item, _rng, new):
    item.x, item.y = new, 1


def change_array(item, _rng, _new):
    item[0] += 1


CHANGES = {
    dict: change_dict,
    list: change_sequence,
    collections.deque: change_sequence,
    set: change_set,
    bytearray: change_bytes,
    Plain: change_object,
    Slotted: change_slotted,
    tuple: change_closure,
    types.SimpleNamespace: change_namespace,
    np.ndarray: change_array,
    random.Random: lambda item, _rng, _new: item.random(),
}


def change(item, rng, objects):
    """One random change of an object, of any kind that it knows."""
    new = rng.choice((rng.choice(objects), 1, True, 1.0, Same(), object(), [], Plain(1, 2)))
    for kind, changed in CHANGES.items():
        if isinstance(item, kind):
            changed(item, rng, new)


def content(item):
    """What an object holds, as identities: written another way than the code that is tested."""
    found = [type(item)]
    if isinstance(item, dict):
        found += [(id(key), id(value)) for key, value in dict_of(item).items(item)]
    elif isinstance(item, list):
        found += [id(list.__getitem__(item, i)) for i in range(list.__len__(item))]
    elif isinstance(item, (collections.deque, tuple)):
        kind = collections.deque if isinstance(item, collections.deque) else tuple
        found += [id(kind.__getitem__(item, i)) for i in range(kind.__len__(item))]
    elif isinstance(item, set):
        found += sorted(id(one) for one in set.__iter__(item))
    elif isinstance(item, bytearray):
        found.append(bytes(memoryview(item)))
    elif isinstance(item, np.ndarray):
        found.append(item.tobytes())
    elif isinstance(item, random.Random):
        found.append(item.getstate())
    elif isinstance(item, types.FunctionType) and item.__closure__:
        found += [id(cell.cell_contents) for cell in item.__closure__]
    found += [id(getattr(item, name, None)) for name in ("a", "b", "c")] if isinstance(item, Slotted) else []
    if isinstance(item, (Plain, Both, types.SimpleNamespace)):
        found += [id(vars(item)), *((name, id(value)) for name, value in vars(item).items())]
    return found


def owned(name):
    return name == __name__


def reach(objects):
    """The objects, and what the mutable ones among them hold at first."""
    parts = [part for item in objects if type(item) is tuple for part in item]
    return objects + parts


def test_random_changes_of_all_kinds_of_objects_are_undone(seed):
    rng = random.Random(seed)
    for _ in range(150):
        objects = world(rng, rng.randrange(5, 60))
        image = HeapImage([objects], owned)
        watched = reach(list(objects))
        before = [content(item) for item in watched]
        for _ in range(2):  # an image is good for any number of times
            for _ in range(rng.randrange(1, 40)):
                change(rng.choice(watched), rng, objects)
            image.restore()
            assert [content(item) for item in watched] == before


def test_one_change_among_thousands_is_undone(seed):
    """Objects are compared by hundreds: the one that changed is found wherever it stands."""
    rng = random.Random(seed)
    people = [{"id": i, "tags": [i], "seen": {i}, "own": Plain(i, i)} for i in range(3000)]
    image = HeapImage([people], owned)
    for number in {0, 511, 512, 2999, rng.randrange(3000)}:
        person = people[number]
        before = [content(item) for item in (person, person["tags"], person["seen"], person["own"], vars(person["own"]))]
        for spoil in (
            lambda p: p.update(id=True),
            lambda p: p["tags"].__setitem__(0, 1.0),
            lambda p: p["seen"].add(-1),
            lambda p: vars(p["own"]).clear(),
        ):
            spoil(person)
            image.restore()
            assert [content(item) for item in (person, person["tags"], person["seen"], person["own"], vars(person["own"]))] == before


def test_what_did_not_change_is_left_alone():
    """So an iterator of a suspended method goes on where it was, and a set keeps its order."""
    numbers = {i: i for i in range(10)}
    del numbers[0]
    letters = set("abcdefghij")
    waiting, order = iter(numbers), list(letters)
    assert next(waiting) == 1
    changed = []
    image = HeapImage([numbers, letters, changed], owned)
    changed.append(1)
    image.restore()
    assert (list(waiting), list(letters), changed) == ([2, 3, 4, 5, 6, 7, 8, 9], order, [])


def test_equal_is_not_the_same():
    ones = {"i": 1, "b": True, "f": 1.0, "z": 0.0, "s": Same()}
    keys = [{1: "x"}, {True: "x"}]
    before, kept = content(ones), [content(one) for one in keys]
    image = HeapImage([ones, keys], owned)
    ones.update(i=True, b=1.0, f=1, z=-0.0, s=Same())
    keys[0].clear()
    keys[0][1.0] = "x"
    image.restore()
    assert content(ones) == before
    assert [content(one) for one in keys] == kept


def test_an_end_of_an_object_that_changes_what_was_put_back():
    source = """
from stable_structures.canister import query, update
class Connection:
    open = 0
    def __init__(self): Connection.open += 1
    def __del__(self): Connection.open -= 1
pool, log = [], []
class Loud:
    def __del__(self): log.append("gone")
@update
def fail():
    pool.extend([Connection(), Connection(), Loud()])
    raise RuntimeError("no")
@query
def state(): return Connection.open, len(pool), list(log)
"""
    canister = Canister.install(source)
    with pytest.raises(Trapped):
        canister.call("fail")
    gc.collect()
    assert canister.query("state") == (0, 0, [])


def test_a_bytearray_with_a_view_of_the_trapped_message():
    source = """
from stable_structures.canister import query, update
raw, views = bytearray(b"abc"), []
@update
def fail():
    raw.extend(b"def")
    views.append(memoryview(raw))
    raise RuntimeError("no")
@query
def state(): return bytes(raw), len(views)
"""
    canister = Canister.install(source)
    with pytest.raises(Trapped):
        canister.call("fail")
    assert canister.query("state") == (b"abc", 0)


def user_of_slots(number):
    made = Slotted()
    made.a, made.b = number, ["a", number]
    return made


USERS = {
    "dict": lambda i: {"id": i, "name": f"user {i}", "tags": ["a", i], "ok": True},
    "object": lambda i: Plain(i, f"user {i}", ["a", i]),
    "namespace": lambda i: types.SimpleNamespace(id=i, tags=["a", i]),
    "slots": user_of_slots,
    "deque": lambda i: collections.deque([i]),
    "set": lambda i: {i},
}


@pytest.mark.parametrize("kind", USERS)
def test_the_walk_needs_no_python_frame_for_each_object(kind):
    """What cost 3 seconds for 90,000 users: a frame, a partial and a dict for each object."""
    count = 2000
    heap = {i: USERS[kind](i) for i in range(count)}
    frames = 0

    def count_frames(_frame, event, _argument):
        nonlocal frames
        frames += event == "call"

    sys.setprofile(count_frames)
    try:
        image = HeapImage([heap], owned)
        taken = frames
        image.restore()
    finally:
        sys.setprofile(None)
    assert taken < count / 10
    assert frames - taken < (count / 10 if kind != "set" else 2 * count)


def test_the_collector_runs_after_the_walk_if_it_ran_before():
    HeapImage([[{}]], owned)
    assert gc.isenabled()
    gc.disable()
    try:
        HeapImage([[{}]], owned).restore()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_size_of_a_heap_counts_each_object_once():
    text, held = "t" * 1000, ["a", "b"]
    heap = [[text] * 100, {text: 1}, (text, held), {"k" * 500: text}, [held, held]]
    parts = (*heap, heap, held, text, "k" * 500, "a", "b")
    assert heap_size([heap], owned) == sum(map(sys.getsizeof, parts))
