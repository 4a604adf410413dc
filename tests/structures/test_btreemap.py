"""StableBTreeMap against a dict and against the byte model: every result, and every byte of the memory after each step."""

from __future__ import annotations

import functools
import gc
import gzip
import hashlib
import random
import time
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from stable_structures import (
    Array,
    Blob,
    Bounded,
    BoundExceeded,
    Closed,
    CorruptMemory,
    IncompatibleType,
    MemoryInUse,
    MemoryManager,
    Principal,
    Reverse,
    StableBTreeMap,
    StableBTreeSet,
    StableMemory,
    codec,
    f64,
    i8,
    i16,
    i32,
    i64,
    i128,
    u8,
    u16,
    u32,
    u64,
    u128,
)
from stable_structures.storable import parse_type

from ..support.byte_model import ModelMap, rank_of
from ..support.examples import examples
from ..support.golden_replay import GOLDEN, digest, parse_bytes, pattern, read_trace, show_bytes, traces
from ..support.map_twins import MEMORIES, MapTwins


@functools.total_ordering
class Version:
    """A key whose order is not that of its bytes: the text of a version such as 10.2."""

    BOUND = Bounded(max_size=11, is_fixed_size=False)

    def __init__(self, major: int, minor: int) -> None:
        self.parts = (major, minor)

    def to_bytes(self) -> bytes:
        return f"{self.parts[0]}.{self.parts[1]}".encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Version:
        major, minor = data.decode().split(".")
        return cls(int(major), int(minor))

    def __lt__(self, other: Version) -> bool:
        return self.parts < other.parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __repr__(self) -> str:
        return f"Version{self.parts}"


SIGNALS = [2**64 - 1, 2**64 - 2, 2**64 - 3, 2**63, 0]  # among them those that the core uses as signals
SIZES = st.one_of(st.integers(0, 40), st.sampled_from([1000, 1013, 1014, 2100, 70_000]))
LONG_BYTES = st.builds(pattern, SIZES, st.integers(0, 255))
SMALL = st.integers(0, 60)

TYPES: dict[str, tuple[Any, Any, st.SearchStrategy[Any], st.SearchStrategy[Any]]] = {
    "u64": (u64, u64, SMALL | st.sampled_from(SIGNALS) | st.integers(0, 2**64 - 1), st.sampled_from(SIGNALS) | st.integers(0, 2**64 - 1)),
    "bytes": (bytes, bytes, LONG_BYTES | st.binary(max_size=3), LONG_BYTES),
    "str": (str, u64, st.text("aä€\U0001f600", max_size=4) | SIZES.map(lambda n: "k" * n), st.sampled_from(SIGNALS)),
    "signed": (i16, i64, st.integers(-30, 30) | st.sampled_from([-(2**15), 2**15 - 1]), st.sampled_from([-1, -2, 2**63 - 1, -(2**63), 0])),
    "unit": (Array(3), None, st.binary(min_size=3, max_size=3).map(lambda b: bytes(x % 4 for x in b)), st.none()),
    "principal": (Principal, bool, st.binary(max_size=29).map(Principal), st.booleans()),
    "option": (Blob(4) | None, str | None, st.none() | st.binary(max_size=4), st.none() | SIZES.map(lambda n: "v" * n)),
    "tuple2": (tuple[Annotated[bytes, Blob(3)], u16], f64, st.tuples(st.binary(max_size=3), SMALL), st.floats(allow_nan=False)),
    "tuple3": (
        tuple[u8, str, bytes],
        tuple[u8, u8],
        st.tuples(st.integers(0, 2), st.text("ab", max_size=3), st.binary(max_size=2) | LONG_BYTES),
        st.tuples(st.integers(0, 255), st.integers(0, 255)),
    ),
    "reverse": (Reverse[u32], Annotated[bytes, Blob(300)], SMALL, st.binary(max_size=8) | st.just(b"z" * 300)),
    "class": (Version, Version, st.builds(Version, st.integers(0, 12), st.integers(0, 12)), st.builds(Version, SMALL, SMALL)),
}


class MapMachine(RuleBasedStateMachine):
    """One type on one memory, both chosen by the run."""

    types = ""

    @initialize(memory=st.sampled_from(sorted(MEMORIES)), first=st.integers(0, 40), data=st.data())
    def start(self, memory, first, data):
        key, value, self.some_key, self.some_value = TYPES[self.types]
        self.twins = MapTwins(key, value, memory)
        self.size = first
        for _ in range(first):
            self.twins.insert(data.draw(self.some_key), data.draw(self.some_value))

    def key(self, data):
        """One that is there, or any."""
        if self.twins.dict and data.draw(st.booleans()):
            return self.twins.key.decode(data.draw(st.sampled_from(self.twins.keys())))
        return data.draw(self.some_key)

    @rule(data=st.data())
    def insert(self, data):
        self.twins.insert(self.key(data), data.draw(self.some_value))

    @rule(data=st.data(), count=st.integers(1, 25))
    def update(self, data, count):
        self.twins.update([(self.key(data), data.draw(self.some_value)) for _ in range(count)])

    @rule(data=st.data())
    def set_item(self, data):
        self.twins.set_item(self.key(data), data.draw(self.some_value))

    @rule(data=st.data())
    def set_default(self, data):
        self.twins.set_default(self.key(data), data.draw(self.some_value))

    @rule(data=st.data(), way=st.sampled_from(["remove", "delete_item", "pop", "pop_default", "get"]))
    def one_key(self, data, way):
        getattr(self.twins, way)(self.key(data))

    @rule(last=st.booleans(), count=st.integers(1, 12))
    def pop_ends(self, last, count):
        for _ in range(count):
            self.twins.ends()
            self.twins.pop_end(last=last)

    @rule()
    def pop_item(self):
        self.twins.pop_item()

    @rule(data=st.data(), inclusive=st.tuples(st.booleans(), st.booleans()), reverse=st.booleans(), open_ends=st.integers(0, 3))
    def ranges(self, data, inclusive, reverse, open_ends):
        start, stop = (None if open_ends >> i & 1 else self.key(data) for i in range(2))
        self.twins.ranges(start, stop, inclusive, reverse=reverse)

    @rule(data=st.data(), steps=st.lists(st.integers(0, 5), max_size=30), reverse=st.booleans())
    def both_ends(self, data, steps, reverse):
        self.twins.both_ends(None, self.key(data), steps, reverse=reverse)

    @rule(data=st.data())
    def from_prev_key(self, data):
        self.twins.from_prev_key(self.key(data))

    @rule()
    def views(self):
        self.twins.views()

    @precondition(lambda self: len(self.twins.dict) > 20)
    @rule()
    def clear(self):
        self.twins.clear()

    @rule()
    def reopen(self):
        self.twins.reopen()

    @invariant()
    def everything_is_the_same(self):
        if hasattr(self, "twins"):
            self.twins.check()


@pytest.mark.parametrize("types", sorted(TYPES))
def test_map_is_its_twins(types):
    machine = type(f"Map_{types}", (MapMachine,), {"types": types})
    profile = settings()
    steps = max(25, profile.stateful_step_count // 2)
    run_state_machine_as_test(machine, settings=settings(max_examples=examples(10), stateful_step_count=steps))


# ---- the long run: many entries, few types; --seed and --duration ----


def random_bytes(random_: random.Random, longest: int) -> bytes:
    size = random_.choice([3, 8, 40]) if random_.random() < 0.9 else random_.randrange(longest)
    return pattern(random_.randrange(size + 1), random_.randrange(256))


LONG_RUNS: dict[str, tuple[Any, Any, Any, Any]] = {
    "numbers": (u64, u64, lambda r: r.randrange(900), lambda r: r.choice([*SIGNALS, r.randrange(2**64)])),
    "bytes": (bytes, bytes, lambda r: random_bytes(r, 3000), lambda r: random_bytes(r, 70_000 if r.random() < 0.1 else 3000)),
    "blobs": (
        Blob(29),
        Blob(60),
        lambda r: pattern(r.randrange(30), r.randrange(40)),
        lambda r: pattern(r.randrange(61), r.randrange(256)),
    ),
    "class": (Version, u16, lambda r: Version(r.randrange(30), r.randrange(30)), lambda r: r.randrange(2**16)),
}


def random_step(twins: MapTwins, random_: random.Random, key: Any, value: Any) -> None:
    """One operation; the balance between insertions and removals swings, so that the map grows and shrinks."""
    growing = (len(twins.dict) < 300) if random_.random() < 0.9 else random_.random() < 0.5
    choice = random_.random()
    if choice < 0.6:
        (twins.insert if growing else twins.remove)(*((key(random_), value(random_)) if growing else (key(random_),)))
    elif choice < 0.8:
        some = random_.choice(list(twins.dict)) if twins.dict else twins.key.encode(key(random_))
        random_.choice([twins.get, twins.remove, twins.pop_default])(twins.key.decode(some))
    elif choice < 0.85:
        twins.pop_end(last=random_.random() < 0.5)
    elif choice < 0.95:
        twins.set_item(key(random_), value(random_))
    elif choice < 0.97:
        twins.ranges(key(random_), key(random_), (random_.random() < 0.5, random_.random() < 0.5), reverse=random_.random() < 0.5)
    elif choice < 0.98:
        twins.from_prev_key(key(random_))
    elif choice < 0.999:
        twins.reopen()
    else:
        twins.clear()


@pytest.mark.parametrize("types", sorted(LONG_RUNS))
def test_long_random_run(types, seed, duration):
    key_type, value_type, key, value = LONG_RUNS[types]
    random_ = random.Random(f"{seed} {types}")
    until = time.monotonic() + duration / 2
    while time.monotonic() < until:
        twins = MapTwins(key_type, value_type, random_.choice(sorted(MEMORIES)))
        for _ in range(2000):
            random_step(twins, random_, key, value)
            twins.check()
            if time.monotonic() > until:
                break
        twins.same_contents()


# ---- the byte model itself, against what the crate wrote ----


def model_of_trace(header: dict[str, Any], image: bytes) -> ModelMap:
    key, value = parse_type(header["key"]), parse_type(header["value"])
    bounds = [(one.bound.max_size, one.bound.is_fixed_size) for one in (key, value)]
    return ModelMap(*bounds, rank_of(key), image)


def model_step(model: ModelMap, line: str) -> None:
    operation, *fields = line.split(" ")
    entry = lambda found: "-" if found is None else " ".join(map(show_bytes, found))  # noqa: E731
    arguments = [parse_bytes(field) for field in fields[: {"i": 2, "r": 1, "g": 1}.get(operation, 0)]]
    calls = {
        "i": lambda: show_bytes(model.insert(*arguments)),
        "r": lambda: show_bytes(model.remove(*arguments)),
        "g": lambda: show_bytes(model.get(*arguments)),
        "f": lambda: entry(model.pop_first()),
        "l": lambda: entry(model.pop_last()),
        "n": lambda: str(model.length),
        "c": lambda: model.clear() or "",
        "#": lambda: f"{len(model.memory.data) // 65536} {hashlib.sha256(model.memory.data).hexdigest()}",
    }
    if operation in calls:
        assert calls[operation]() == " ".join(fields[len(arguments) :]), line[:200]


@pytest.mark.parametrize("name", traces("btreemap"))
def test_the_byte_model_replays_the_traces(name):
    header, lines = read_trace(name)
    image = gzip.decompress((GOLDEN / lines.pop(0)[5:]).read_bytes()) if header["created_as_v1"] else b""
    model = model_of_trace(header, image)
    for line in lines[:1500]:
        if line == "o":
            model = model_of_trace(header, bytes(model.memory.data))
        else:
            model_step(model, line)


@pytest.mark.parametrize("name", traces("btreemap_v1"))
def test_a_version_1_map_goes_on_byte_for_byte(name, seed):
    """More than its trace has: random keys, values of every length, until few of the old nodes are left."""
    header, lines = read_trace(name)
    key_type, value_type = parse_type(header["key"]), parse_type(header["value"])
    image = gzip.decompress((GOLDEN / lines[0][5:]).read_bytes())
    memory = StableMemory()
    memory.grow(len(image) // 65536)
    memory.write(0, image)
    twins = MapTwins.__new__(MapTwins)
    twins.load(key_type, value_type, memory, image)
    random_ = random.Random(seed)
    fixed = key_type.bound.is_fixed_size

    def key(r):
        size = 8 if fixed else r.randrange(11)
        return key_type.decode(r.randbytes(size) if r.random() < 0.5 or not twins.dict else r.choice(list(twins.dict)))

    for _ in range(600):
        random_step(twins, random_, key, lambda r: value_type.decode(r.randbytes(r.randrange(value_type.bound.max_size + 1))))
        twins.check()
    twins.same_contents()


# ---- the mapping protocol ----


def numbers(entries: dict[int, int] | None = None) -> StableBTreeMap[Any, Any]:
    tree = StableBTreeMap[u64, u64](StableMemory())
    tree.update(entries or {})
    return tree


def test_a_map_equals_a_dict_with_its_entries():
    tree = numbers({3: 30, 1: 10})
    assert tree == {1: 10, 3: 30}
    assert tree == numbers({1: 10, 3: 30})
    assert tree != {1: 10, 3: 31}
    assert tree != {1: 10}
    assert tree != [1, 3]
    assert tree.keys() == {1, 3}
    assert tree.keys() & {3, 4} == {3}
    assert tree.items() >= {(1, 10)}
    assert 30 in tree.values()


@pytest.mark.parametrize("key_type", [u8, u16, u32, u64, u128, i8, i16, i32, i64, i128], ids=lambda kind: codec(kind).name)
def test_a_number_that_its_type_cannot_hold_is_not_there(key_type: Any):
    bits = int(codec(key_type).name[1:])
    low, high = (0, 2**bits) if codec(key_type).name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    trees = [StableBTreeMap[key_type, values](StableMemory()) for values in (u64, str, bytes)]
    for tree in (*trees, StableBTreeSet[key_type](StableMemory())):
        tree.update(
            (low, high - 1)
            if isinstance(tree, StableBTreeSet)
            else dict.fromkeys((low, high - 1), 5 if tree is trees[0] else b"" if tree is trees[2] else "")
        )
        assert low in tree
        assert high - 1 in tree
        for number in (low - 1, high, 2**64, -(2**64), 2**200):
            assert number not in tree


def test_an_overflow_in_a_type_of_the_user_is_its_own():
    class Short:
        BOUND = Bounded(max_size=2, is_fixed_size=True)

        def __init__(self, number: int) -> None:
            self.number = number

        def to_bytes(self) -> bytes:
            return self.number.to_bytes(2, "big")

        @classmethod
        def from_bytes(cls, data: bytes) -> Short:
            return cls(int.from_bytes(data, "big"))

    for keys in (u64, str):
        tree = StableBTreeMap[keys, Short](StableMemory())
        key = 1 if keys is u64 else "a"
        for use in (tree.__setitem__, tree.insert):
            with pytest.raises(OverflowError, match="too big to convert"):
                use(key, Short(70_000))
        assert len(tree) == 0


def test_what_cannot_be_a_key_is_not_there():
    """As in a dict; only asking for it by an operation is an error."""
    tree = StableBTreeMap[u64, str](StableMemory())
    tree[1] = "a"
    for strange in ("a", None, 1.5, -1, 2**64, [], b"1"):
        assert strange not in tree
        assert strange not in tree.keys()  # noqa: SIM118 - the view is meant
        assert (strange, "a") not in tree.items()
        for use in (tree.contains_key, tree.get, tree.remove, tree.__getitem__, tree.__delitem__):
            with pytest.raises((IncompatibleType, BoundExceeded)):
                use(strange)
    assert tree.keys() & {1, "a"} == {1}
    assert (1, "a") in tree.items()
    assert (1, 5) not in tree.items()
    assert (2, "a") not in tree.items()
    assert "a" in tree.values()


def test_defaults_may_be_named():
    tree = StableBTreeMap[u64, str](StableMemory())
    assert tree.get(1, default="?") == tree.pop(1, default="?") == tree.get(key=1, default="?") == "?"


def test_signal_numbers_are_values_like_others():
    tree = StableBTreeMap[u64, u64](StableMemory())
    for i, number in enumerate(SIGNALS):
        assert tree.insert(i, 7) is None
        assert tree.insert(i, number) == 7
        assert tree.get(i) == tree[i] == tree.get(i, "absent") == number
        assert tree.insert(i, number) == number
        assert tree.pop(i) == number
        tree[i] = number
        del tree[i]
        assert i not in tree
        tree[i] = number
        assert tree.remove(i) == number
        tree[number] = number
        assert list(tree.items()) == [(number, number)]
        assert tree.popitem() == (number, number)
    signed = StableBTreeMap[i64, i64](StableMemory())
    for number in (-1, -2, -(2**63), 2**63 - 1, 2**63 - 2, 0):
        signed[number] = number
        assert signed[number] == signed.get(number) == signed.insert(number, number) == signed.remove(number) == number


def test_whole_numbers_of_other_types_are_keys_and_fractions_are_not():
    tree = numbers({1: 10})
    assert tree[np.int32(1)] == tree[True] == 10
    for key in (1.0, "1", None, b"1"):
        with pytest.raises((IncompatibleType, TypeError)):
            tree.get(key)
    for key in (-1, 2**64, 10**30):
        with pytest.raises(BoundExceeded):
            tree.insert(key, 1)
        with pytest.raises(BoundExceeded):
            tree.insert(1, key)
    assert tree == {1: 10}


def test_pop_of_an_absent_key_changes_nothing():
    tree = numbers({i: i for i in range(100)})
    before = digest(tree.memory)
    with pytest.raises(KeyError):
        tree.pop(1000)
    with pytest.raises(KeyError):
        tree[1000]
    assert digest(tree.memory) == before


def test_none_of_an_option_is_a_value_and_a_key():
    tree = StableBTreeMap[Blob(4) | None, str | None](StableMemory())
    tree[None] = "first"
    tree[b"x"] = None
    assert list(tree.items()) == [(None, "first"), (b"x", None)]
    assert tree.get(b"x", "absent") is None
    assert tree.pop(b"x", "absent") is None
    assert tree.pop(b"x", "absent") == "absent"
    assert list(tree.iter_from_prev_key(None)) == [(None, "first")]
    assert None in tree
    assert tree.first_key_value() == (None, "first")


def test_none_of_a_fixed_size_option_is_refused_as_in_the_crate():
    tree = StableBTreeMap[u8, u32 | None](StableMemory())
    tree[1] = 5
    before = digest(tree.memory)
    with pytest.raises(BoundExceeded):
        tree[1] = None
    with pytest.raises(BoundExceeded):
        tree.insert(2, None)
    assert digest(tree.memory) == before
    assert tree[1] == 5


def test_a_bound_is_checked_before_a_byte_is_written():
    tree = StableBTreeMap[Blob(3), Blob(5)](StableMemory())
    tree[b"abc"] = b"12345"
    before = digest(tree.memory)
    for key, value in ((b"abcd", b"1"), (b"abc", b"123456"), (b"abcd", b"123456")):
        with pytest.raises(BoundExceeded, match="holds at most"):
            tree.insert(key, value)
    assert digest(tree.memory) == before


def test_types_that_cannot_be_keys_are_refused():
    for key in (f64, tuple[u8, f64], f64 | None, Reverse[f64]):
        with pytest.raises(IncompatibleType):
            StableBTreeMap[key, u8]
    with pytest.raises(IncompatibleType, match="needs its types"):
        StableBTreeMap(StableMemory())


def test_a_second_map_on_the_memory_is_refused_until_the_first_gives_it_back():
    memory = StableMemory()
    tree = StableBTreeMap[u64, u64](memory)
    with pytest.raises(MemoryInUse):
        StableBTreeMap[u64, u64](memory)
    with pytest.raises(MemoryInUse):
        StableBTreeMap[u64, u64].new(memory)
    assert tree.into_memory() is memory
    other = StableBTreeMap[u64, u64](memory)
    other[1] = 2
    for use in (
        lambda: tree[1],
        lambda: tree.insert(1, 1),
        lambda: len(tree),
        lambda: list(tree),
        tree.check,
        tree.into_memory,
        tree.clear,
    ):
        with pytest.raises(Closed):
            use()
    del other
    assert StableBTreeMap[u64, u64](memory) == {1: 2}


@pytest.mark.parametrize("key_type", [u64, i64, str])
def test_an_entry_that_is_no_value_of_the_type_is_not_lost(key_type):
    """Its bytes are kept where an operation would answer with them; what does not look at them works."""
    memory = StableMemory()
    raw = StableBTreeMap[key_type, bytes](memory)
    keys = [str(i) if key_type is str else i for i in range(30)]
    raw.update(dict.fromkeys(keys, b"fine"))
    raw[keys[0]] = raw[keys[29]] = raw[keys[15]] = b"\xff\xfe"
    first, last = next(iter(raw)), next(reversed(raw))
    raw[first] = raw[last] = b"\xff\xfe"
    contents = dict(raw.items())
    raw.into_memory()
    tree = StableBTreeMap[key_type, str](memory)
    bad = keys[15]
    for use in (
        lambda: tree.insert(bad, "new"),
        lambda: tree.remove(bad),
        lambda: tree.pop(bad),
        lambda: tree.pop(bad, None),
        lambda: tree[bad],
        tree.pop_first,
        tree.pop_last,
        tree.popitem,
        lambda: list(tree.values()),
    ):
        with pytest.raises(CorruptMemory, match="UTF-8"):
            use()
        tree.check()
        assert len(tree) == 30
    tree.into_memory()
    raw = StableBTreeMap[key_type, bytes](memory)
    assert raw == contents
    raw.into_memory()
    tree = StableBTreeMap[key_type, str](memory)
    tree[bad] = "new"
    assert tree.pop(bad) == "new"
    del tree[first]
    assert len(tree) == 28


# ---- iterators ----


@pytest.mark.parametrize("size", [3, 500])
@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.insert(1, 9),
        lambda tree: tree.remove(1),
        lambda tree: tree.pop_last(),
        lambda tree: tree.clear(),
        lambda tree: tree.update({10**6: 1}),
    ],
    ids=["insert", "remove", "pop_last", "clear", "update"],
)
def test_an_iterator_raises_once_the_map_has_changed(size, change):
    tree = numbers({i: i for i in range(size)})
    iterators = [iter(tree), tree.range(), reversed(tree), tree.values_range(1), iter(tree.items())]
    for iterator in iterators:
        next(iterator)
    change(tree)
    for iterator in iterators:
        with pytest.raises(RuntimeError, match="changed"):
            next(iterator)
        with pytest.raises((RuntimeError, StopIteration)):
            next(iterator)
    for way in (iterators[1].next_back, lambda: iterators[1].skip(1)):
        with pytest.raises(RuntimeError, match="changed"):
            way()


def test_changes_beside_the_map_do_not_disturb_an_iterator():
    manager = MemoryManager(StableMemory(), bucket_pages=1)
    tree, other = (StableBTreeMap[u64, u64](manager.get(i)) for i in range(2))
    tree.update({i: i for i in range(2000)})
    seen = []
    for key in tree:
        other[key] = key
        seen.append(key)
    assert seen == list(range(2000))
    assert len(other) == 2000


def test_reading_and_failing_to_change_do_not_disturb_an_iterator():
    tree = numbers({i: i for i in range(50)})
    iterator = iter(tree)
    for i in range(50):
        assert next(iterator) == i
        assert tree[i] == i
        assert tree.remove(1000) is None
        with pytest.raises(BoundExceeded):
            tree.insert(1, -1)
    with pytest.raises(StopIteration):
        next(iterator)


def test_an_iterator_outlives_its_map_and_its_memory():
    tree = numbers({i: i for i in range(100)})
    iterator, memory = iter(tree), tree.memory
    next(iterator)
    del tree
    assert next(iterator) == 1
    memory.close()
    with pytest.raises(Closed):
        list(iterator)


def test_an_iterator_keeps_its_map_alive_and_nothing_else_does():
    """A map that was iterated over is gone with its last reference, so that another can be opened: no cycle is left behind."""
    memory = StableMemory()
    gc.disable()
    try:
        for walk in (
            list,
            lambda m: next(m.range()),
            lambda m: m.range().next_back(),
            lambda m: list(m.items()),
            lambda m: m.range().skip(1),
        ):
            tree = StableBTreeMap[u64, u64](memory)
            tree.update({i: i for i in range(10)})
            walk(tree)
            del tree
    finally:
        gc.enable()


def test_views_are_live():
    tree = numbers({1: 10})
    keys, values, items = tree.keys(), tree.values(), tree.items()
    tree[2] = 20
    assert (list(keys), list(values), list(items)) == ([1, 2], [10, 20], [(1, 10), (2, 20)])
    assert len(keys) == 2


def test_skip_takes_any_count():
    tree = numbers({i: i for i in range(100)})
    iterator = tree.range()
    assert iterator.skip(0) == 0
    assert next(iterator) == (0, 0)
    assert iterator.skip(10**30) == 99
    assert iterator.skip(1) == 0
    with pytest.raises(ValueError, match="negative"):
        tree.range().skip(-1)


@pytest.mark.parametrize("inclusive", [True, None, (True,), (True, False, True)])
def test_the_ends_of_a_range_are_two(inclusive):
    with pytest.raises(TypeError, match="each end"):
        StableBTreeMap[u64, u64](StableMemory()).range(1, 3, inclusive=inclusive)


def test_whether_a_value_is_there_takes_no_lookup_for_each_key(monkeypatch):
    tree = StableBTreeMap[u64, str](StableMemory())
    tree.update({1: "a", 2: "b"})
    monkeypatch.setattr(type(tree), "__getitem__", None)
    assert "b" in tree.values()
    assert "c" not in tree.values()
