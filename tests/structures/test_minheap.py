"""StableMinHeap against heapq and against the rules of docs/format.md#vec-and-min-heap, slot by slot; errors and faults."""

from __future__ import annotations

import heapq
import itertools
import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from stable_structures import (
    PAGE_SIZE,
    BadMagic,
    Blob,
    Bounded,
    BoundExceeded,
    Cbor,
    Closed,
    CorruptMemory,
    IncompatibleType,
    MemoryInUse,
    Principal,
    Reverse,
    StableMemory,
    StableMinHeap,
    StableVec,
    UnsupportedVersion,
    f32,
    f64,
    i32,
    u8,
    u16,
    u32,
    u64,
)

from ..support.machines import ContainerMachine
from ..support.places import PLACES, SHORT, faults, image, raised, refused_at_each_size


class Word:
    """A user's type: ordered by `<` on the text backwards."""

    BOUND = Bounded(6, is_fixed_size=False)

    def __init__(self, text: str) -> None:
        self.text = text

    def to_bytes(self) -> bytes:
        return self.text.encode()

    @staticmethod
    def from_bytes(data: bytes) -> Word:
        return Word(data.decode())

    def __lt__(self, other: Word) -> bool:
        if "!" in self.text + other.text:
            raise ZeroDivisionError("a comparison fails")
        return self.text[::-1] < other.text[::-1]


TYPES = {
    "u64": (u64, st.integers(0, 20) | st.integers(0, 2**64 - 1)),
    "i32": (i32, st.integers(-(2**31), 2**31 - 1)),
    "reverse": (Reverse[u32], st.integers(0, 2**32 - 1)),
    "f64": (f64, st.floats()),
    "f32": (Reverse[f32], st.floats(width=32)),
    "tuple": (tuple[u16, Blob(12)], st.tuples(st.integers(0, 3), st.binary(max_size=12))),
    "blob300": (Blob(300), st.binary(max_size=300)),
    "principal": (Principal, st.binary(max_size=29).map(Principal)),
    "option": (Blob(2) | None, st.none() | st.binary(max_size=2)),
    "user": (Word, st.text("abc", max_size=6).map(Word)),
}
MODELS = [*itertools.product(PLACES, ["u64", "tuple"]), *itertools.product(["flat", "managed"], sorted({*TYPES} - {"u64", "tuple"}))]


class SlotModel:
    """The heap of docs/format.md#vec-and-min-heap on a list of encodings."""

    def __init__(self, codec) -> None:
        self.slots: list[bytes] = []
        self.codec = codec

    def __len__(self) -> int:
        return len(self.slots)

    def clear(self) -> None:
        self.slots.clear()

    def less(self, a: bytes, b: bytes) -> bool:
        return self.codec.less(self.codec.decode(a), self.codec.decode(b))

    def push(self, item: bytes) -> None:
        slots, i = self.slots, len(self.slots)
        slots.append(item)
        while i and self.less(item, slots[(i - 1) // 2]):
            slots[i] = slots[(i - 1) // 2]
            i = (i - 1) // 2
        slots[i] = item

    def pop(self) -> bytes | None:
        slots = self.slots
        if len(slots) < 2:
            return slots.pop() if slots else None
        least, item, i = slots[0], slots.pop(), 0
        slots[0] = item
        while (child := 2 * i + 1) < len(slots):
            if child + 1 < len(slots) and not self.less(slots[child], slots[child + 1]):
                child += 1
            if not self.less(slots[child], item):
                break
            slots[i] = slots[child]
            i = child
        slots[i] = item
        return least


class HeapMachine(ContainerMachine):
    """Every operation beside the model of the slots."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(kind, StableMinHeap[TYPES[name][0]], *TYPES[name])
        self.model = SlotModel(self.codec)

    @rule(data=st.data())
    def push(self, data):
        value = data.draw(self.values)
        self.structure.push(value)
        self.model.push(self.codec.encode(value))

    @rule(data=st.data(), count=st.integers(0, 40))
    def push_many(self, data, count):
        values = data.draw(st.lists(self.values, min_size=count, max_size=count))
        as_array = self.codec.native_dtype is not None and data.draw(st.booleans())
        self.structure.push_many(np.array(values, self.codec.native_dtype) if as_array else values)
        for value in values:
            self.model.push(self.codec.encode(value))

    @rule(count=st.integers(1, 10))
    def pop(self, count):
        for _ in range(count):
            wanted = self.model.pop()
            found, peeked = self.structure.peek(), self.structure.pop()
            if wanted is None:
                assert found is None
                assert peeked is None
            else:
                assert self.codec.encode(found) == self.codec.encode(peeked) == wanted

    def add(self, data) -> None:
        self.push(data)

    @invariant()
    def same(self):
        assert len(self.structure) == len(self.model)
        assert self.structure.is_empty() == (not self.model)
        assert self.encoded(self.structure) == self.model.slots
        self.structure.check()


@pytest.mark.parametrize(("kind", "name"), MODELS)
def test_keeps_the_slots_of_the_format(kind, name):
    run_state_machine_as_test(lambda: HeapMachine(kind, name), settings=SHORT)


@given(values=st.lists(st.integers(0, 2**64 - 1)))
def test_pops_in_the_order_of_heapq(values):
    heap, twin = StableMinHeap[u64](StableMemory()), list(values)
    heap.push_many(values)
    heapq.heapify(twin)
    assert [heap.pop() for _ in values] == [heapq.heappop(twin) for _ in values]


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
def test_push_many_writes_the_bytes_of_the_loop(name, data):
    tp, strategy = TYPES[name]
    values = data.draw(st.lists(strategy, max_size=50))
    loop, bulk = StableMemory(), StableMemory()
    one, many = StableMinHeap[tp](loop), StableMinHeap[tp](bulk)
    for value in values:
        one.push(value)
    many.push_many(values[:3])
    many.push_many(values[3:])
    assert image(bulk) == image(loop)


def heap_of(*values, tp=u64):
    heap = StableMinHeap[tp](StableMemory())
    heap.push_many(values)
    return heap


def test_the_greatest_first():
    heap = heap_of(1, 3, 2, tp=Reverse[u64])
    assert [heap.pop() for _ in range(3)] == [3, 2, 1]


def test_floats_have_a_partial_order():
    heap = heap_of(2.0, math.nan, 1.0, -math.inf, tp=f64)
    heap.check()
    popped = [heap.pop() for _ in range(4)]
    assert sorted(value for value in popped if not math.isnan(value)) == [-math.inf, 1.0, 2.0]
    assert heap.pop() is None


def test_iterates_from_both_ends_of_the_slots():
    heap = heap_of(*range(50))
    iterator = heap.iter()
    assert (next(iterator), iterator.next_back(), iterator.skip(40), list(iterator)) == (0, 49, 40, list(range(41, 49)))
    assert 7 in heap
    assert 99 not in heap


def test_an_empty_heap_gives_none():
    heap = heap_of()
    assert heap.pop() is None
    assert heap.peek() is None
    assert list(heap) == []


# ---- errors ----


def test_types_that_cannot_be_in_a_heap():
    with pytest.raises(IncompatibleType, match="cannot be in a heap"):
        StableMinHeap[Cbor[dict]]
    with pytest.raises(IncompatibleType, match="bounded type"):
        StableMinHeap[str]

    class Unordered:
        BOUND = Bounded(1, is_fixed_size=True)
        to_bytes = bytes
        from_bytes = bytes

    with pytest.raises(IncompatibleType, match="cannot be in a heap: it defines no order"):
        StableMinHeap[Unordered]


def test_values_outside_their_type_are_refused():
    heap = heap_of(5, tp=u8)
    for wrong in (256, -1, 2**70):
        with pytest.raises(BoundExceeded, match=f"u8 holds 0 to 255, got {wrong}"):
            heap.push(wrong)
    for wrong in ([1, 256], np.array([1, 256])):
        with pytest.raises(BoundExceeded, match="u8 holds 0 to 255"):
            heap.push_many(wrong)
    with pytest.raises(BoundExceeded, match="cannot hold None"):
        heap_of(tp=u8 | None).push(None)
    assert list(heap) == [5]


def test_what_is_no_heap_of_the_type_is_refused():
    memory = StableMemory()
    StableVec[u64](memory).push(1)
    with pytest.raises(BadMagic, match=r"\.new\(memory\)"):
        StableMinHeap[u64](memory)
    heap = StableMinHeap[u64].new(memory)
    heap.push(1)
    heap.into_memory()
    with pytest.raises(IncompatibleType, match="types that it was written with"):
        StableMinHeap[u32](memory)
    memory.write(3, b"\x02")
    with pytest.raises(UnsupportedVersion):
        StableMinHeap[u64](memory)
    with pytest.raises(BadMagic):
        StableMinHeap[u64].load(StableMemory())


def test_a_broken_order_is_found():
    memory = StableMemory()
    heap = StableMinHeap[u64](memory)
    heap.push_many([1, 2, 3])
    memory.write(64, (9).to_bytes(8, "big"))
    with pytest.raises(CorruptMemory, match="less than its parent"):
        heap.check()
    assert len(heap.violations()) == 2


def test_ownership():
    memory = StableMemory()
    heap = StableMinHeap[u64](memory)
    with pytest.raises(MemoryInUse):
        StableMinHeap[u64](memory)
    assert heap.into_memory() is memory
    for use in (lambda: heap.push(1), heap.pop, heap.peek, lambda: len(heap), lambda: list(heap), heap.check, lambda: heap.push_many([1])):
        assert raised(use) is Closed
    used = StableMinHeap[u64](memory).bytes_used()
    assert (used.live, used.reserved) == (64, PAGE_SIZE)


def test_copying_into_a_larger_type():
    heap = StableMinHeap[u64](StableMemory())
    heap_of(3, 1, 2, tp=u8).copy_into(heap)
    assert heap.pop() == 1


def test_a_comparison_that_fails_changes_nothing():
    memory = StableMemory()
    heap = StableMinHeap[Word](memory)
    heap.push_many([Word("ca"), Word("ab"), Word("bc")])
    before = image(memory)
    for use in (lambda: heap.push(Word("!")), lambda: heap.push_many([Word("a"), Word("!")])):
        assert raised(use) is ZeroDivisionError
        assert image(memory) == before
    heap.check()


def test_a_comparison_must_not_use_its_heap():
    class Selfish(Word):
        def __lt__(self, other):
            heap.push(Word("a"))
            return True

        @staticmethod
        def from_bytes(data):
            return Selfish(data.decode())

    memory = StableMemory()
    heap = StableMinHeap[Selfish](memory)
    heap.push(Selfish("a"))
    before = image(memory)
    with pytest.raises((MemoryInUse, IncompatibleType)):
        heap.push(Selfish("b"))
    assert image(memory) == before


# ---- faults ----


def test_a_full_memory_refuses_and_changes_nothing():
    refused_at_each_size(StableMinHeap[u64], lambda heap, n: heap.push(10**6 - n), 1)
    refused_at_each_size(StableMinHeap[Blob(3000)], lambda heap, n: heap.push(b"%06d" % (10**6 - n) + b"x" * (n % 2900)), 3)


@pytest.mark.parametrize(
    "operation",
    [lambda h: h.push(b""), lambda h: h.push_many([b"a" * 65_000, b"", b"0" * 70_000]), lambda h: h.pop(), lambda h: h.clear()],
    ids=["push", "push_many", "pop", "clear"],
)
def test_a_failing_memory_leaves_everything_as_it_was(operation):
    def make(memory):
        heap = StableMinHeap[Blob(70_000)](memory)
        heap.push_many([b"a", b"cc", b"bbb", b"dddd"])
        return heap

    for heap in faults(make, operation):
        assert list(heap) == [b"a", b"cc", b"bbb", b"dddd"]


def test_threads_share_a_heap():
    heap, popped = heap_of(), []

    def work(start):
        for n in range(start, start + 300):
            heap.push(n)
            if n % 2:
                popped.append(heap.pop())

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heap.check()
    assert sorted([*heap, *popped]) == [1000 * n + m for n in range(4) for m in range(300)]
