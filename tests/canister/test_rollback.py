# SPDX-License-Identifier: Apache-2.0
"""Rollback: random calls with traps at every memory operation leave exactly what was there before the call."""

from __future__ import annotations

import hashlib
import random
import time

import pytest

from stable_structures import MemoryManager, StableMemory
from stable_structures.canister import Canister, Rejected, Trapped, Unsupported

# Every operation of every structure on this canister's memory passes through Counted, which traps at the one that it is given.
COUNTED = """
from stable_structures import MemoryManager, StableBTreeMap, StableLog, StableMinHeap, StableVec, u64
from stable_structures.canister import ic, query, update

class Counted:
    def __init__(self, trap_at):
        self.under, self.operations, self.trap_at = ic.memory(), 0, trap_at

    def count(self):
        self.operations += 1
        if self.operations == self.trap_at:
            ic.trap("injected")

    def size(self): self.count(); return self.under.size()
    def grow(self, pages): self.count(); return self.under.grow(pages)
    def read(self, offset, length): self.count(); return self.under.read(offset, length)
    def write(self, offset, data): self.count(); self.under.write(offset, data)

history, tallies = [], {}

@update
def work(steps, trap_at=0):
    memory = Counted(trap_at)
    manager = MemoryManager(memory, bucket_pages=1)
    map_, vec = StableBTreeMap[u64, bytes](manager.get(0)), StableVec[u64](manager.get(1))
    heap, log = StableMinHeap[u64](manager.get(2)), StableLog[bytes](manager.get(3), manager.get(4))
    for kind, number, data in steps:
        history.append(kind)
        tallies[kind] = tallies.get(kind, 0) + 1
        if kind == "insert": map_.insert(number, data)
        elif kind == "remove": map_.remove(number)
        elif kind == "push": vec.push(number)
        elif kind == "pop" and len(vec): vec.pop()
        elif kind == "heap": heap.push(number)
        elif kind == "unheap" and len(heap): heap.pop()
        elif kind == "log": log.append(data)
        elif kind == "clear": map_.clear()
    return memory.operations

@query
def state(): return list(history), dict(tallies)
"""
KINDS = ("insert", "insert", "insert", "remove", "push", "pop", "heap", "unheap", "log", "clear")


def digest(canister):
    return canister.memory.size(), hashlib.sha256(canister.memory.read(0, canister.memory.nbytes)).hexdigest()


def random_steps(rng, count):
    weights = [3] * (len(KINDS) - 1) + [1]
    return [(kind, rng.randrange(40), rng.randbytes(rng.choice((3, 60, 900)))) for kind in rng.choices(KINDS, weights, k=count)]


def test_a_trap_at_any_memory_operation_leaves_the_digest_of_before(seed):
    rng = random.Random(seed)
    canister = Canister.install(COUNTED)
    twin = Canister.install(COUNTED)
    for _ in range(4):
        steps = random_steps(rng, 12)
        operations = twin.call("work", steps)
        before, state = digest(canister), canister.query("state")
        for trap_at in range(1 + rng.randrange(3), operations + 1, 3):
            with pytest.raises(Trapped, match="injected"):
                canister.call("work", steps, trap_at)
            assert digest(canister) == before, trap_at
        assert canister.query("state") == state
        assert canister.call("work", steps) == operations
        assert digest(canister) == digest(twin)


@pytest.mark.slow
def test_random_programs_with_traps_for_as_long_as_it_is_told(seed, duration):
    rng, end = random.Random(seed), time.monotonic() + duration
    while time.monotonic() < end:
        canister, twin = Canister.install(COUNTED), Canister.install(COUNTED)
        for _ in range(rng.randrange(1, 12)):
            steps = random_steps(rng, rng.randrange(1, 40))
            operations = twin.call("work", steps)
            before = digest(canister)
            for trap_at in range(1, operations + 1, rng.randrange(1, 40)):
                with pytest.raises(Trapped, match="injected"):
                    canister.call("work", steps, trap_at)
                assert digest(canister) == before, (seed, trap_at)
            canister.call("work", steps)
            assert digest(canister) == digest(twin)


# The same on structures that stay open over calls, with the trap between two operations.
OPEN = """
from stable_structures import StableBTreeMap, StableVec, u64
from stable_structures.canister import ic, query, update

map_, vec = StableBTreeMap[u64, bytes](ic.manager().get(0)), StableVec[u64](ic.manager().get(1))

@update
def work(steps, trap_at=None):
    for i, (kind, number, data) in enumerate(steps):
        if i == trap_at: raise RuntimeError("injected")
        if kind == "insert": map_.insert(number, data)
        elif kind == "remove": map_.remove(number)
        elif kind == "push": vec.push(number)
        elif kind == "clear": map_.clear()
    return map_.check(), vec.check()

@query
def content(): return list(map_.items()), list(vec)
"""


def test_structures_that_stay_open_go_on_after_every_rollback(seed):
    rng = random.Random(seed)
    canister = Canister.install(OPEN)
    for _ in range(3):
        steps = random_steps(rng, 12)
        before, content = digest(canister), canister.query("content")
        for trap_at in range(len(steps)):
            with pytest.raises(Trapped, match="injected"):
                canister.call("work", steps, trap_at)
            assert digest(canister) == before
            assert canister.query("content") == content
        canister.call("work", steps)


def test_a_structure_that_was_made_in_a_trapped_call_can_be_made_again():
    source = """
from stable_structures import StableBTreeMap, u64
from stable_structures.canister import ic, query, update
kept = {}

@update
def make(fail):
    kept[0] = StableBTreeMap[u64, u64](ic.manager().get(0))
    kept[0].update({1: 1, 2: 2})
    cycle = [kept[0]]
    cycle.append(cycle)
    list(kept[0].items())
    if fail: raise RuntimeError("no")
    return len(kept[0])
"""
    canister = Canister.install(source)
    for _ in range(3):
        with pytest.raises(Trapped):
            canister.call("make", True)
        assert canister.memory.size() == 0
    assert canister.call("make", False) == 2


def test_the_error_of_the_canister_is_the_cause_and_holds_no_heap():
    canister = Canister.install(
        "from stable_structures.canister import update\n@update\ndef f():\n    big = [1]\n    raise ValueError('why')\n"
    )
    with pytest.raises(Trapped) as trapped:
        canister.call("f")
    cause = trapped.value.__cause__
    assert isinstance(cause, ValueError)
    frame = cause.__traceback__
    while frame.tb_next:
        frame = frame.tb_next
    assert frame.tb_frame.f_code.co_name == "f"
    assert "big" not in frame.tb_frame.f_locals


HEAP = """
import collections, functools, random, dataclasses, enum
from stable_structures.canister import update, query

@dataclasses.dataclass
class Point:
    x: int = 0

class Slotted:
    __slots__ = ("a", "b")

class Names(dict):
    pass

def counter():
    count = 0
    def step():
        nonlocal count
        count += 1
        return count
    return step

step, point, slotted, names = counter(), Point(), Slotted(), Names(a=1)
queue, ordered, default = collections.deque([1], maxlen=3), collections.OrderedDict(a=1, b=2), collections.defaultdict(list)
raw, rng, nested = bytearray(b"abc"), random.Random(1), {"deep": [{"er": {1}}]}
slotted.a = 1
half = functools.partial(dict, nested=nested)

@update
def spoil(fail):
    step(); point.x = 9; point.extra = 1; slotted.a = 2; slotted.b = 3; names["b"] = 2; names.tag = 1
    queue.extend([5, 6, 7]); ordered.move_to_end("a"); default["new"].append(1)
    raw.extend(b"def"); rng.random(); nested["deep"][0]["er"].add(2); half.keywords["more"] = 1
    spoil.calls = 1; Point.y = 5
    global fresh
    fresh = 1
    if fail: raise RuntimeError("no")

@query
def state():
    return (step(), vars(point), slotted.a, hasattr(slotted, "b"), dict(names), vars(names), list(queue), list(ordered),
            dict(default), bytes(raw), rng.random(), nested, sorted(half.keywords), hasattr(spoil, "calls"), hasattr(Point, "y"),
            "fresh" in globals())
"""


def test_every_kind_of_python_object_is_put_back():
    canister = Canister.install(HEAP)
    before = canister.query("state")
    assert canister.query("state") == before  # queries change nothing either
    with pytest.raises(Trapped):
        canister.call("spoil", True)
    assert canister.query("state") == before
    canister.call("spoil", False)
    after = canister.query("state")
    assert all(one != other for one, other in zip(before, after, strict=True)), [
        i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a == b
    ]


def test_objects_stay_the_same_objects_through_a_rollback():
    canister = Canister.install(HEAP)
    kept = {name: id(vars(canister.module)[name]) for name in ("point", "names", "queue", "nested")}
    with pytest.raises(Trapped):
        canister.call("spoil", True)
    assert {name: id(vars(canister.module)[name]) for name in kept} == kept


def test_the_heap_modes_reimport_and_keep():
    source = "from stable_structures.canister import ic, query, update\nimport functools\nseen = []\n"
    source += "@functools.lru_cache\ndef cached(n): return [n]\n"
    source += "@update\ndef note(fail=False):\n    seen.append(1); cached(1).append(2); ic.stable64_grow(1)\n    if fail: raise RuntimeError('no')\n"  # noqa: E501 - a canister's source
    source += "@query\ndef count(): return len(seen), len(cached(1))\n"
    counts = {}
    for heap in ("restore", "reimport", "keep"):
        canister = Canister.install(source, heap=heap)
        canister.call("note")
        with pytest.raises(Trapped):
            canister.call("note", True)
        counts[heap] = canister.call("count")
        assert canister.memory.size() == 1
    # An lru_cache keeps to itself what it holds, and what the source alone does not make again is gone after a reimport.
    assert counts == {"restore": (1, 3), "reimport": (0, 1), "keep": (2, 3)}


def test_rollback_of_a_memory_in_a_file(tmp_path):
    with StableMemory.open(tmp_path / "state.bin") as memory:
        canister = Canister.install(OPEN, memory=memory)
        canister.call("work", [("insert", 1, b"kept")])
        before = digest(canister)
        with pytest.raises(Trapped):
            canister.call("work", [("insert", n, bytes(9000)) for n in range(50)], 49)
        assert digest(canister) == before
    with StableMemory.open(tmp_path / "state.bin") as memory:
        assert MemoryManager.load(memory).sizes() == {0: 1, 1: 1}
        assert hashlib.sha256(memory.read(0, memory.nbytes)).hexdigest() == before[1]


def test_a_snapshot_of_a_memory_in_a_file_loads_unless_it_would_have_to_shrink(tmp_path):
    with StableMemory.open(tmp_path / "state.bin") as memory:
        canister = Canister.install(OPEN, memory=memory)
        snapshot, before = canister.snapshot(), digest(canister)
        canister.call("work", [("insert", 1, b"later")])
        canister.load_snapshot(snapshot)
        assert digest(canister) == before
        canister.call("work", [("insert", n, bytes(60_000)) for n in range(200)])
        with pytest.raises(Unsupported, match="cannot shrink"):
            canister.load_snapshot(snapshot)
        assert len(canister.query("content")[0]) == 200


def test_an_interrupt_of_the_test_rolls_back_and_comes_through():
    canister = Canister.install(
        "from stable_structures.canister import ic, update\n@update\ndef f():\n    ic.stable64_grow(1)\n    raise KeyboardInterrupt\n"
    )
    with pytest.raises(KeyboardInterrupt):
        canister.call("f")
    assert canister.memory.size() == 0
    with pytest.raises(Rejected):
        canister.call("g")
