"""Whatever fails, and wherever: the error comes out as itself, and the structure and every byte are as they were before."""

from __future__ import annotations

import functools
import itertools
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from stable_structures import (
    Blob,
    Bounded,
    CorruptMemory,
    IncompatibleType,
    MemoryInUse,
    MemoryManager,
    OutOfMemory,
    RestrictedMemory,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    Unbounded,
    u16,
    u64,
)

from ..support.golden_replay import pattern
from ..support.memories import Boom, FailingMemory, ListMemory, Trigger

# ---- structures and what is done with them ----


def some_bytes(random_: random.Random, longest: int) -> bytes:
    return pattern(random_.choice([0, 3, 20, random_.randrange(longest + 1)]), random_.randrange(256))


@dataclass
class Subject:
    """A structure: how to open it, its contents, and operations, each with arguments that were drawn before."""

    open: Callable[..., Any]
    contents: Callable[[Any], Any]
    draw: Callable[[random.Random], Callable[[Any], Any]]
    fill: Callable[[Any, int], Any]
    memories: int = 1


def map_operation(random_: random.Random) -> Callable[[Any], Any]:
    key, value = some_bytes(random_, 3000), some_bytes(random_, 9000)
    keys, values = [some_bytes(random_, 50) for _ in range(6)], [some_bytes(random_, 3000) for _ in range(6)]
    # Keys that are there are found by rank.
    rank = random_.random()
    nth = lambda tree: next(tree.keys_range(), b"") if rank < 0.1 else min(tree.keys_range(bytes([int(rank * 255)])), default=b"")  # noqa: E731
    return random_.choices(
        [
            lambda tree: tree.insert(key, value),
            lambda tree: tree.insert(nth(tree), value),
            lambda tree: tree.remove(nth(tree)),
            lambda tree: tree.remove(key),
            lambda tree: tree.pop_first(),
            lambda tree: tree.pop_last(),
            lambda tree: tree.insert_many(keys, values),
            lambda tree: tree.remove_many(keys),
            lambda tree: tree.entry(key).setdefault(value),
            lambda tree: tree.entry(nth(tree)).set(value),
            lambda tree: tree.clear(),
        ],
        [8, 4, 6, 1, 2, 2, 2, 1, 1, 1, 0.1],
    )[0]


def set_operation(random_: random.Random) -> Callable[[Any], Any]:
    key = random_.randrange(400)
    return random_.choices(
        [lambda s: s.insert(key), lambda s: s.remove(key), lambda s: s.pop_first(), lambda s: s.clear()], [8, 4, 1, 0.1]
    )[0]


def vec_operation(random_: random.Random) -> Callable[[Any], Any]:
    value, index = some_bytes(random_, 900), random_.random()
    many = [some_bytes(random_, 900) for _ in range(20)]
    return random_.choices(
        [
            lambda vec: vec.push(value),
            lambda vec: vec.pop(),
            lambda vec: vec.set(int(index * len(vec)), value) if len(vec) else None,
            lambda vec: vec.extend(many),
            lambda vec: vec.clear(),
        ],
        [8, 4, 3, 4, 0.2],
    )[0]


def heap_operation(random_: random.Random) -> Callable[[Any], Any]:
    value = (random_.randrange(500), some_bytes(random_, 300))
    many = [(random_.randrange(500), some_bytes(random_, 300)) for _ in range(20)]
    return random_.choices([lambda heap: heap.push(value), lambda heap: heap.pop(), lambda heap: heap.push_many(many)], [6, 4, 4])[0]


def log_operation(random_: random.Random) -> Callable[[Any], Any]:
    value, many = some_bytes(random_, 9000), [some_bytes(random_, 3000) for _ in range(10)]
    return random_.choices([lambda log: log.append(value), lambda log: log.extend(many), lambda log: log.clear()], [8, 3, 0.3])[0]


def cell_operation(random_: random.Random) -> Callable[[Any], Any]:
    value = some_bytes(random_, 150_000)
    return lambda cell: cell.set(value)


SUBJECTS = {
    "map": Subject(
        StableBTreeMap[bytes, bytes], lambda s: list(s.items()), map_operation, lambda s, i: s.insert(bytes([i]), pattern(i * 500, i))
    ),
    "set": Subject(StableBTreeSet[u16], list, set_operation, lambda s, i: s.insert_many(range(i * 400, i * 400 + 400))),
    "vec": Subject(StableVec[Blob(900)], list, vec_operation, lambda s, i: s.extend([pattern(i, i)] * 60)),
    "heap": Subject(StableMinHeap[tuple[u16, Blob(300)]], list, heap_operation, lambda s, i: s.push_many([(i, pattern(300, i))] * 50)),
    "log": Subject(StableLog[bytes], list, log_operation, lambda s, i: s.append(pattern(i * 500, i)), memories=2),
    "cell": Subject(
        lambda memory: StableCell[bytes](memory, b"default"), lambda s: s.get(), cell_operation, lambda s, i: s.set(pattern(i * 3000, i))
    ),
}


class Place:
    """A failing memory at the bottom, and on it the memories of a subject."""

    def __init__(self, kind: str, count: int, max_pages: int = 1000) -> None:
        self.trigger = Trigger()
        self.bases = [FailingMemory(self.trigger, max_pages) for _ in range(1 if kind == "managed" else count)]
        self.memories: list[Any] = list(self.bases)
        if kind == "managed":
            self._manager = MemoryManager(self.bases[0], bucket_pages=1)
            self.memories = [self._manager.get(i) for i in range(count)]
        elif kind == "restricted":
            self.memories = [RestrictedMemory(base, range(2, 900)) for base in self.bases]

    def image(self) -> list[bytes]:
        return [bytes(base.data) for base in self.bases]

    def unchanged(self, before: list[bytes]) -> bool:
        """Byte by byte; a memory of a user may have grown, by zeros."""
        return all(
            now.startswith(then) and not any(now[len(then) :]) for now, then in zip((base.data for base in self.bases), before, strict=True)
        )

    def fails(self, fault: str, at: int, operation: Callable[[], Any]) -> bool:
        """Whether the operation has an n-th chance to fail; then it failed with the right error and changed nothing."""
        before = self.image()
        self.trigger.arm(fault, at)
        error = raised(operation)
        fired = self.trigger.fired
        self.trigger.arm("", 0)
        if not fired:
            assert error is None
            return False
        assert type(error) is (OutOfMemory if fault == "refuse" else Boom), at
        assert self.unchanged(before), at
        return True


def chances(every: int) -> Iterator[int]:
    """1, 2, 3, ... and then in larger steps, so that long operations are tried too."""
    at = 1
    while True:
        yield at
        at += 1 + at // every


FAULTS = pytest.mark.parametrize("fault", ["size", "grow", "read", "write", "refuse"])
PLACES = pytest.mark.parametrize("place_kind", ["direct", "managed", "restricted"])
NAMES = pytest.mark.parametrize("name", sorted(SUBJECTS))


def raised(call: Callable[[], Any]) -> BaseException | None:
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - which one is the question
        return error
    return None


@FAULTS
@PLACES
@NAMES
def test_a_memory_that_fails_at_its_nth_call_leaves_everything_as_it_was(name, place_kind, fault, seed):
    subject = SUBJECTS[name]
    random_ = random.Random(f"{seed} {name} {place_kind} {fault}")
    place = Place(place_kind, subject.memories)
    structure = subject.open(*place.memories)
    failures = 0
    for _ in range(12):
        subject.draw(random_)(structure)
    rounds = 14 if fault in ("grow", "refuse") else 6
    for done in range(1000):
        # Six operations may by chance all be ones that write nothing (a key removed that is not there).
        if done >= rounds and (failures or fault in ("grow", "refuse", "size")):
            break
        operation, contents = functools.partial(subject.draw(random_), structure), subject.contents(structure)
        for at in chances(6):
            if not place.fails(fault, at, operation):
                break
            failures += 1
            if at % 4 == 1:
                structure.check()
                assert subject.contents(structure) == contents
    structure.check()
    subject.contents(structure)
    assert failures > 0 or fault in ("grow", "refuse", "size")


@FAULTS
@PLACES
@NAMES
def test_opening_that_fails_leaves_everything_as_it_was(name, place_kind, fault):
    subject = SUBJECTS[name]
    place = Place(place_kind, subject.memories)
    for at in chances(20):
        if not place.fails(fault, at, lambda: subject.open(*place.memories)):
            break
        for base in place.bases[place_kind == "managed" :]:
            # Zeros that a memory of a user cannot give back are no vec and no heap, as docs/format.md says.
            base.data.clear()
    structure = subject.open(*place.memories)
    random_ = random.Random(1)
    for _ in range(10):
        subject.draw(random_)(structure)
    contents = subject.contents(structure)
    del structure
    for at in chances(20):
        if not place.fails(fault, at, lambda: subject.open(*place.memories)):
            break
    structure = subject.open(*place.memories)
    structure.check()
    assert subject.contents(structure) == contents


@pytest.mark.parametrize("place_kind", ["flat", "managed", "python"])
@pytest.mark.parametrize("name", sorted(SUBJECTS))
def test_a_full_memory_refuses_what_does_not_fit_and_goes_on(name, place_kind, seed):
    """Under a limit of some pages; what still fits goes on to work."""
    subject = SUBJECTS[name]
    random_ = random.Random(f"{seed} {name}")
    for limit in range(1, 4):
        make = ListMemory if place_kind == "python" else lambda pages: StableMemory(max_pages=pages)
        bases: list[Any] = [make(limit + subject.memories * (place_kind == "managed")) for _ in range(subject.memories)]
        memories = bases
        if place_kind == "managed":
            manager = MemoryManager(bases[0], bucket_pages=1)
            memories = [manager.get(i) for i in range(subject.memories)]
        structure, refused = subject.open(*memories), 0
        for i in range(90):
            before = [base.read(0, base.size() * 65536) for base in bases]
            error = raised(lambda i=i, s=structure: subject.fill(s, i) if i % 3 else subject.draw(random_)(s))
            if error is None:
                continue
            refused += 1
            assert type(error) is OutOfMemory
            assert "nothing was changed" in str(error)
            assert all(base.read(0, len(then)) == then for base, then in zip(bases, before, strict=True))
            assert place_kind == "python" or all(base.size() * 65536 == len(then) for base, then in zip(bases, before, strict=True))
            if refused == 12:
                break
        structure.check()
        subject.contents(structure)
        assert refused > 3


# ---- memories that break the protocol, or break down for good ----


class Answering(ListMemory):
    """Answers one operation with something else, once it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, Any] = {}

    def size(self) -> Any:
        return self.answers.get("size", super().size())

    def grow(self, pages: int, /) -> Any:
        return self.answers["grow"] if "grow" in self.answers else super().grow(pages)

    def read(self, offset: int, length: int, /) -> Any:
        return self.answers["read"](length) if "read" in self.answers else super().read(offset, length)


@pytest.mark.parametrize(
    ("operation", "answer", "error"),
    [
        ("size", None, TypeError),
        ("size", -1, OverflowError),
        ("size", "1", TypeError),
        ("size", 2**48, OverflowError),
        ("size", 2**63, OverflowError),
        ("size", 2**64 - 5, OverflowError),
        ("size", 2**64, OverflowError),
        ("grow", None, TypeError),
        ("grow", "0", TypeError),
        ("grow", 2**48, OverflowError),
        ("grow", 2**64 - 5, OverflowError),
        ("grow", 2**64, OverflowError),
        ("read", lambda length: b"x" * (length - 1), ValueError),
        ("read", lambda length: b"x" * (length + 1), ValueError),
        ("read", lambda _length: None, TypeError),
        ("read", lambda length: "x" * length, TypeError),
    ],
)
def test_a_memory_that_breaks_the_protocol_is_told_so(operation, answer, error):
    memory = Answering()
    tree = StableBTreeMap[u64, bytes](memory)
    tree[1] = b"one"
    before = bytes(memory.data)
    memory.answers[operation] = answer
    with pytest.raises(error):
        tree.insert(2, pattern(200_000, 1))
    if operation != "grow":
        with pytest.raises(error):
            tree.get(1)
    memory.answers.clear()
    assert memory.data.startswith(before)
    tree.check()
    assert tree == {1: b"one"}


@pytest.mark.parametrize("size", [2**48, 2**63, 2**64 - 1])
def test_a_memory_larger_than_all_addresses_is_not_taken_for_empty(size):
    memory = Answering()
    memory.grow(1)
    memory.write(100, b"precious")
    memory.answers["size"] = size
    before = bytes(memory.data)
    for opened in (StableVec[u64], StableBTreeMap[u64, u64], MemoryManager):
        with pytest.raises(OverflowError):
            opened(memory)
        assert memory.data == before


@pytest.mark.parametrize("size", [0, 2**40, 2**47, 2**48 - 1])
def test_a_memory_that_lies_about_its_size_gives_an_error(size):
    memory = Answering()
    tree = StableBTreeMap[u64, bytes](memory)
    tree.update(dict.fromkeys(range(100), b"x"))
    memory.answers["size"] = size
    for use in (
        lambda: tree[1],
        lambda: tree.insert(1, pattern(100_000, 1)),
        tree.check,
        lambda: list(tree),
        tree.clear,
        lambda: tree.remove(5),
    ):
        error = raised(use)
        assert error is None or isinstance(error, (CorruptMemory, IndexError, MemoryError)), error
    memory.answers.clear()


class BreaksDown(ListMemory):
    """Raises at every write, once so many were made."""

    writes_left: int | None = None

    def write(self, offset: int, data: bytes, /) -> None:
        if self.writes_left is not None:
            if self.writes_left <= 0:
                raise Boom("broken for good")
            self.writes_left -= 1
        super().write(offset, data)


def test_a_memory_that_breaks_down_is_put_back_when_it_works_again():
    """What could not be taken back then is taken back before anything else is done."""
    failed = 0
    for writes in itertools.chain(range(40), range(40, 400, 13)):
        memory = BreaksDown()
        tree = StableBTreeMap[u64, bytes](memory)
        tree.update({i: b"v" * (i % 7) for i in range(60)})
        before, entries = bytes(memory.data), list(tree.items())
        memory.writes_left = writes
        error = raised(lambda tree=tree: tree.insert_many(list(range(100, 130)), [pattern(300, 3)] * 30))
        if error is None:
            continue
        assert type(error) is Boom
        failed += 1
        if memory.data[: len(before)] != before:
            for use in (tree.check, lambda tree=tree: tree[5], tree.clear, lambda memory=memory: StableBTreeMap[u64, bytes](memory)):
                assert type(raised(use)) is Boom
        memory.writes_left = None
        tree.check()
        assert list(tree.items()) == entries
        assert memory.data[: len(before)] == before
        assert not any(memory.data[len(before) :])
        assert tree.insert(100, b"new") is None
        tree.check()
    assert failed > 40


@PLACES
@NAMES
def test_whatever_breaks_down_in_a_memory_is_put_back_when_it_works_again(name, place_kind, seed):
    subject = SUBJECTS[name]
    random_ = random.Random(f"{seed} {name} {place_kind}")
    place, failures = Place(place_kind, subject.memories), 0
    structure = subject.open(*place.memories)
    for _ in range(12):
        subject.draw(random_)(structure)
    for done in range(1000):
        if done >= 8 and failures:
            break
        operation, contents, before = functools.partial(subject.draw(random_), structure), subject.contents(structure), place.image()
        for at in chances(3):
            place.trigger.arm("write", at, lasting=True)
            error = raised(operation)
            fired = place.trigger.fired
            place.trigger.arm("", 0)
            if not fired:
                break
            failures += 1
            assert type(error) is Boom
            structure.check()
            assert subject.contents(structure) == contents
            assert place.unchanged(before)


class Interrupts(ListMemory):
    armed = False

    def read(self, offset: int, length: int, /) -> bytes:
        if self.armed:
            raise KeyboardInterrupt
        return super().read(offset, length)


def test_an_interrupt_in_a_memory_comes_out_as_itself():
    memory = Interrupts()
    tree = StableBTreeMap[u64, u64](memory)
    tree[1] = 2
    memory.armed = True
    for use in (lambda: tree[1], lambda: tree.insert(1, 3), lambda: list(tree), tree.check, tree.clear):
        with pytest.raises(KeyboardInterrupt):
            use()
    memory.armed = False
    assert tree == {1: 2}


class CallsBack(ListMemory):
    """Runs something in its callbacks."""

    action: Callable[[], Any] | None = None
    error: BaseException | None = None

    def _act(self) -> None:
        if self.action is not None:
            self.error = raised(self.action) or self.error

    def read(self, offset: int, length: int, /) -> bytes:
        self._act()
        return super().read(offset, length)

    def write(self, offset: int, data: bytes, /) -> None:
        self._act()
        super().write(offset, data)


def test_a_memory_cannot_use_the_structure_that_it_serves():
    memory = CallsBack()
    tree = StableBTreeMap[u64, bytes](memory)
    tree.update({i: b"x" * i for i in range(40)})
    actions = (
        lambda: tree[1],
        lambda: tree.insert(1, b"y"),
        tree.clear,
        lambda: len(tree),
        lambda: list(tree),
        tree.check,
        tree.into_memory,
    )
    for action in actions:
        for use in (lambda: tree.insert(7, b"seven"), lambda: tree.get(7), lambda: tree.remove(7), lambda: list(tree)):
            memory.action, memory.error = action, None
            use()
            memory.action = None
            assert isinstance(memory.error, MemoryInUse)
    tree.check()
    assert len(tree) == 39


def test_a_memory_may_use_other_structures_meanwhile():
    """Their answers do not get into each other's way (another map answers in every callback)."""
    memory, other = CallsBack(), StableBTreeMap[bytes, bytes](StableMemory())
    other[b"k"] = b"!" * 2000
    tree = StableBTreeMap[bytes, bytes](memory)
    memory.action = lambda: other[b"k"]
    twin = {}
    random_ = random.Random(3)
    for i in range(150):
        key, value = some_bytes(random_, 100), some_bytes(random_, 2000)
        assert tree.insert(key, value) == twin.get(key)
        twin[key] = value
        if i % 5 == 0:
            first = min(twin)
            assert tree.pop_first() == (first, twin.pop(first))
    assert tree == twin
    assert memory.error is None


# ---- keys whose order fails ----


class Faulty:
    """A key whose `<` counts its calls and does what it was asked at one of them."""

    BOUND = Unbounded
    calls = 0
    at: int | None = None
    action: Callable[[], Any] = staticmethod(lambda: None)

    def __init__(self, text: str) -> None:
        self.text = text

    def to_bytes(self) -> bytes:
        return self.text.encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Faulty:
        return cls(data.decode())

    def __lt__(self, other: Faulty) -> bool:
        cls = Faulty
        cls.calls += 1
        if cls.calls == cls.at:
            answer = cls.action()
            if isinstance(answer, bool):
                return answer
        return self.text[::-1] < other.text[::-1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Faulty) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    @classmethod
    def arm(cls, at: int | None, action: Callable[[], Any] = lambda: None) -> None:
        cls.calls, cls.at, cls.action = 0, at, staticmethod(action)


def faulty_map(memory: Any) -> StableBTreeMap[Any, Any]:
    Faulty.arm(None)
    tree = StableBTreeMap[Faulty, bytes](memory)
    tree.update({Faulty(str(i * 37 % 101)): pattern(i * 7 % 300, i) for i in range(100)})
    return tree


def boom() -> None:
    raise Boom("in a comparison")


@pytest.mark.parametrize("memory_kind", ["flat", "managed", "python"])
def test_a_comparison_that_raises_at_its_nth_call_leaves_everything_as_it_was(memory_kind):
    memory: Any = ListMemory() if memory_kind == "python" else StableMemory()
    if memory_kind == "managed":
        memory = MemoryManager(memory, bucket_pages=1).get(0)
    tree = faulty_map(memory)
    contents, tried = list(tree.items()), 0
    operations = [
        lambda: tree.insert(Faulty("x50"), b"new"),
        lambda: tree.insert(Faulty("50"), pattern(5000, 1)),
        lambda: tree.remove(Faulty("77")),
        lambda: tree.remove(Faulty("absent")),
        lambda: tree[Faulty("7")],
        lambda: Faulty("8") in tree,
        lambda: tree.insert_many([Faulty("a"), Faulty("b"), Faulty("c")], [b"1", b"2", b"3"]),
        lambda: tree.remove_many([Faulty("1"), Faulty("2"), Faulty("3")]),
        lambda: list(tree.range(Faulty("3"), Faulty("9"))),
        lambda: list(tree.iter_from_prev_key(Faulty("3"))),
        lambda: tree.entry(Faulty("4")).set(b"entry"),
        tree.check,
    ]
    for operation in operations:
        before = memory.read(0, memory.size() * 65536)
        for at in itertools.count(1):
            Faulty.arm(at, boom)
            error = raised(operation)
            fired = Faulty.calls >= at
            Faulty.arm(None)
            if not fired:
                assert error is None
                break
            tried += 1
            assert type(error) is Boom
            assert memory.read(0, memory.size() * 65536).startswith(before)
            assert list(tree.items()) == contents
        tree.check()
        contents = list(tree.items())
    assert tried > 60


def test_a_comparison_that_uses_its_own_map_is_refused():
    tree = faulty_map(StableMemory())
    memory = tree.memory
    contents = list(tree.items())
    inner = [
        lambda: tree[Faulty("1")],
        lambda: tree.insert(Faulty("1"), b""),
        tree.clear,
        tree.pop_first,
        lambda: list(tree),
        lambda: len(tree),
        lambda: memory.grow(1),
        lambda: memory.read(0, 1),
        lambda: memory.write(0, b"x"),
        memory.close,
        tree.into_memory,
        tree.check,
    ]
    for action in inner:
        for at in (1, 3):
            Faulty.arm(at, action)
            with pytest.raises(MemoryInUse, match="must not use the memory"):
                tree.insert(Faulty("new"), b"value")
            Faulty.arm(None)
            tree.check()
            assert list(tree.items()) == contents
    seen = []
    Faulty.arm(2, lambda: seen.append(raised(tree.clear)))
    assert tree.insert(Faulty("new"), b"value") is None
    Faulty.arm(None)
    assert isinstance(seen[0], MemoryInUse)
    assert len(tree) == len(contents) + 1


def test_a_comparison_may_drop_the_last_reference_to_its_map():
    holder = [faulty_map(StableMemory())]
    contents = len(holder[0])
    Faulty.arm(2, holder.clear)
    assert holder[0].insert(Faulty("new"), b"value") is None
    Faulty.arm(None)
    assert not holder
    assert contents == 100


def test_an_answer_at_random_is_found_out_and_breaks_nothing(seed):
    """Where `<` says something else than it says the other way round."""
    random_ = random.Random(seed)
    tree, told = StableBTreeMap[Faulty, bytes](StableMemory()), 0
    for _ in range(450):
        Faulty.arm(random_.randrange(1, 9), lambda: random_.random() < 0.5)
        key, contents = Faulty(str(random_.randrange(200))), len(tree)
        error = raised(lambda key=key: tree.remove(key) if random_.random() < 0.3 else tree.insert(key, b"v" * random_.randrange(500)))
        Faulty.arm(None)
        if error is not None:
            assert type(error) is IncompatibleType
            assert "exactly one is less" in str(error)
            assert len(tree) == contents
            told += 1
        tree.check()
    assert told > 50


class Number:
    """Encoded as it is; how it compares is said by its subclasses."""

    BOUND = Bounded(max_size=2, is_fixed_size=True)

    def __init__(self, number: int) -> None:
        self.number = number

    def to_bytes(self) -> bytes:
        return self.number.to_bytes(2, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> Any:
        return cls(int.from_bytes(data, "big"))


ORDERS: dict[str, Callable[[int, int], bool]] = {
    "partial": lambda a, b: a != b and a & b == a,
    "all are less": lambda _a, _b: True,
    "none is less": lambda _a, _b: False,
    "some are as nothing": lambda a, b: a % 5 != 0 and b % 5 != 0 and a < b,
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("equal", ["==", "is"])
def test_keys_in_no_total_order_are_refused_and_none_takes_the_place_of_another(order, equal):
    members: dict[str, Any] = {"__lt__": lambda self, other: ORDERS[order](self.number, other.number)}
    if equal == "==":
        members |= {"__eq__": lambda self, other: self.number == other.number, "__hash__": lambda self: self.number}
    kind: Any = type("Key", (Number,), members)
    tree, model = StableBTreeMap[kind, u64](StableMemory()), {}
    refused = 0
    for i in range(300):
        number = i * 7 % 97
        error = raised(lambda i=i, number=number: tree.insert(kind(number), i))
        if error is None:
            model[number] = i
        else:
            assert type(error) is IncompatibleType
            refused += 1
        tree.check()
        assert {key.number: value for key, value in tree.items()} == model
        if i % 3 == 2 and raised(lambda i=i: tree.remove(kind(i % 50))) is None:
            model.pop(i % 50, None)
    assert refused > 100


@functools.cache
def by_lot(a: int, b: int) -> bool:
    return a != b and (zlib.crc32(b"%d %d" % (min(a, b), max(a, b))) >> 7 & 1) == (a < b)


INTRANSITIVE: dict[str, Callable[[int, int], bool]] = {"in a circle": lambda a, b: 0 < (b - a) % 97 <= 48, "by lot": by_lot}


@pytest.mark.parametrize("order", INTRANSITIVE)
@pytest.mark.parametrize("removing", [0.0, 0.4])
def test_an_order_that_is_not_transitive_leaves_a_sound_map(order, removing, seed):
    """Of two keys one is less, always the same; but a < b < c does not say that a < c. What cannot be is refused."""
    lt = INTRANSITIVE[order]
    kind: Any = type("Key", (Number,), {"__lt__": lambda self, other: lt(self.number, other.number)})
    random_ = random.Random(f"{seed} {order}")
    for _ in range(6):
        tree, count = StableBTreeMap[kind, u64](StableMemory()), 0
        for i in range(300):
            key = kind(random_.randrange(97 if order == "in a circle" else 300))
            try:
                if random_.random() < removing:
                    count -= tree.remove(key) is not None
                else:
                    count += tree.insert(key, i) is None
            except IncompatibleType as error:
                assert "exactly one is less" in str(error)  # noqa: PT017 - now and then
            tree.check()
            assert len(tree) == count


def test_keys_that_are_the_same_in_their_order_and_equal_are_one_key():
    @functools.total_ordering
    class Caseless(Faulty):
        def __lt__(self, other: Any) -> bool:
            return self.text.lower() < other.text.lower()

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Caseless) and self.text.lower() == other.text.lower()

        __hash__ = None  # type: ignore[assignment]

    tree = StableBTreeMap[Caseless, u64](StableMemory())
    assert [tree.insert(Caseless(text), i) for i, text in enumerate(["a", "B", "A", "b"])] == [None, None, 0, 1]
    assert [key.text for key in tree] == ["a", "B"]


@functools.total_ordering
class Unordered:
    """Not comparable with some others: `<` raises, as floats with complex numbers do."""

    BOUND = Bounded(max_size=1, is_fixed_size=True)

    def __init__(self, letter: str) -> None:
        self.letter = letter

    def to_bytes(self) -> bytes:
        return self.letter.encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Unordered:
        return cls(data.decode())

    def __lt__(self, other: Unordered) -> bool:
        if self.letter.isdigit() != other.letter.isdigit():
            raise TypeError(f"{self.letter} and {other.letter} cannot be compared")
        return self.letter < other.letter

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unordered) and self.letter == other.letter

    def __hash__(self) -> int:
        return hash(self.letter)


def test_keys_that_cannot_be_compared_are_refused_with_their_own_error():
    tree = StableBTreeMap[Unordered, u64](StableMemory())
    tree.update({Unordered(letter): ord(letter) for letter in "abcdefghijklmnop"})
    for use in (lambda: tree.insert(Unordered("1"), 1), lambda: tree.get(Unordered("1")), lambda: tree.remove(Unordered("1"))):
        with pytest.raises(TypeError, match="cannot be compared"):
            use()
    tree.check()
    assert len(tree) == 16


class NoOrder(Faulty):
    __lt__ = object.__lt__  # type: ignore[assignment]


def test_a_class_without_an_order_is_no_key():
    with pytest.raises(IncompatibleType, match="__lt__"):
        StableBTreeMap[NoOrder, u64]
