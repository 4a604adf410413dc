"""Memories: bounds, growth, views, closing, who may use what; address space and memory that they take."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest

from stable_structures import (
    PAGE_SIZE,
    Blob,
    Closed,
    Memory,
    MemoryInUse,
    MemoryManager,
    OutOfBounds,
    OutOfMemory,
    RestrictedMemory,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableError,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    Writer,
    u64,
)

from ..support.golden_replay import pattern
from ..support.memories import ListMemory

WILD = [2**16, 2**32, 2**48, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**70]


def flat(pages: int = 0) -> StableMemory:
    memory = StableMemory()
    memory.grow(pages)
    return memory


def virtual(pages: int = 0) -> Any:
    memory = MemoryManager(StableMemory(), bucket_pages=1).get(3)
    memory.grow(pages)
    return memory


def restricted(pages: int = 0) -> RestrictedMemory:
    memory = RestrictedMemory(StableMemory(), range(2, 2**30))
    memory.grow(pages)
    return memory


def of_python(pages: int = 0) -> RestrictedMemory:
    memory = RestrictedMemory(ListMemory(2**30), range(2**30))
    memory.grow(pages)
    return memory


KINDS = pytest.mark.parametrize("make", [flat, virtual, restricted, of_python])


# ---- bounds ----


@KINDS
def test_a_new_memory_is_zeros_and_ends_where_it_ends(make):
    memory = make(2)
    assert (memory.size(), memory.nbytes) == (2, 2 * PAGE_SIZE)
    assert memory.read(0, 2 * PAGE_SIZE) == bytes(2 * PAGE_SIZE)
    assert memory.read(2 * PAGE_SIZE, 0) == b""
    memory.write(2 * PAGE_SIZE, b"")
    memory.write(2 * PAGE_SIZE - 2, b"ab")
    assert memory.read(2 * PAGE_SIZE - 3, 3) == b"\0ab"
    for offset, length in ((2 * PAGE_SIZE - 1, 2), (2 * PAGE_SIZE, 1), (0, 2 * PAGE_SIZE + 1)):
        with pytest.raises(OutOfBounds):
            memory.read(offset, length)
        with pytest.raises(OutOfBounds):
            memory.write(offset, bytes(length))
        with pytest.raises(OutOfBounds):
            memory.readinto(offset, bytearray(length))


@KINDS
@pytest.mark.parametrize("wild", WILD)
def test_wild_offsets_and_lengths_are_out_of_bounds_whatever_their_size(make, wild):
    memory = make(1)
    with pytest.raises(OutOfBounds):
        memory.read(wild, 1)
    with pytest.raises(OutOfBounds):
        memory.read(1, wild)
    with pytest.raises(OutOfBounds):
        memory.write(wild, b"x")
    with pytest.raises(OutOfBounds):
        memory.readinto(wild, bytearray(1))
    assert memory.grow(wild) == -1 if wild > 2**30 else True
    assert memory.size() == 1 or wild <= 2**30


@KINDS
def test_negative_and_fractional_numbers_are_refused(make):
    memory = make(1)
    for use in (lambda: memory.read(-1, 1), lambda: memory.read(0, -1), lambda: memory.write(-1, b"x"), lambda: memory.grow(-1)):
        with pytest.raises(OutOfBounds, match="must not be negative"):
            use()
    for use in (lambda: memory.read(0.5, 1), lambda: memory.grow("1"), lambda: memory.write(None, b"x")):
        with pytest.raises(TypeError):
            use()
    assert memory.read(np.int64(0), np.uint8(2)) == b"\0\0"


@KINDS
def test_a_write_past_the_end_changes_nothing(make):
    memory = make(2)
    memory.write(0, pattern(2 * PAGE_SIZE, 1))
    with pytest.raises(OutOfBounds):
        memory.write(PAGE_SIZE - 5, bytes(PAGE_SIZE + 6))
    assert memory.read(0, 2 * PAGE_SIZE) == pattern(2 * PAGE_SIZE, 1)


# ---- buffers ----


@KINDS
def test_any_buffer_is_written_and_filled(make):
    memory = make(1)
    for data in (b"abcd", bytearray(b"abcd"), memoryview(b"abcd"), np.frombuffer(b"abcd", np.uint16), np.frombuffer(b"abcd", np.uint8)):
        memory.write(10, bytes(4))
        memory.write(10, data)
        assert memory.read(9, 6) == b"\0abcd\0"
    for buffer in (bytearray(4), np.zeros(2, np.uint16), memoryview(bytearray(4))):
        assert memory.readinto(10, buffer) == 4
        assert bytes(buffer) == b"abcd"


def test_buffers_that_cannot_be_used_are_refused():
    memory = flat(1)
    for data in ("text", 5, None, memoryview(b"abcdef")[::2], np.arange(6)[::2]):
        with pytest.raises((TypeError, BufferError, ValueError)):
            memory.write(0, data)
    for buffer in (b"fixed", memoryview(b"fixed"), "text"):
        with pytest.raises((TypeError, BufferError, ValueError)):
            memory.readinto(0, buffer)
    assert memory.read(0, 10) == bytes(10)


@pytest.mark.parametrize("size", [0, 1, 2, 100, 3 << 20])
def test_what_is_read_is_new_bytes_that_nothing_else_shares(size):
    memory = StableMemory()
    memory.grow(100)
    memory.write(0, b"\xa5" * memory.nbytes)
    first = memory.read(5, size)
    memory.write(0, b"\x5a" * memory.nbytes)
    assert (first, memory.read(5, size)) == (b"\xa5" * size, b"\x5a" * size)
    assert bytes(size) == b"\0" * size
    assert hash(first) == hash(b"\xa5" * size)


def test_a_memory_can_be_written_from_a_view_of_itself():
    memory, data = flat(3), pattern(3 * PAGE_SIZE, 9)
    for source, target, length in ((0, 1, 100_000), (1, 0, 100_000), (0, 4096, 120_000), (5000, 17, 150_000), (7, 7, 1000)):
        memory.write(0, data)
        memory.write(target, memory.view(source, length))
        assert memory.read(target, length) == data[source : source + length]


# ---- views ----


def test_a_view_shows_changes_and_cannot_make_any():
    memory = flat(1)
    view = memory.view(10, 5)
    memory.write(12, b"xy")
    assert view.tolist() == [0, 0, 120, 121, 0]
    assert (view.dtype, view.shape, view.flags.writeable, view.flags.owndata) == (np.uint8, (5,), False, False)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.flags.writeable = True


def test_a_view_stays_where_it_is_while_the_memory_grows():
    memory = flat(1)
    view = memory.view()
    address = view.ctypes.data
    for _ in range(200):
        memory.grow(10)
    memory.write(5, b"z")
    assert view[5] == ord("z")
    assert (len(view), len(memory.view())) == (PAGE_SIZE, 2001 * PAGE_SIZE)
    assert memory.view().ctypes.data == address


def test_a_view_outlives_its_memory():
    memory = flat(2)
    tree = StableBTreeMap[u64, u64](memory)
    tree[1] = 2
    view, whole = memory.view(0, 3), memory.view()
    memory.close()
    assert bytes(view) == b"BTR"
    del tree, memory
    gc.collect()
    others = [flat(2) for _ in range(20)]
    for other in others:
        other.write(0, b"\xff" * 100)
    assert bytes(view) == b"BTR"
    assert int(whole.sum()) > 0


def test_bounds_of_views():
    memory = flat(1)
    assert memory.view(PAGE_SIZE).size == memory.view(5, 0).size == flat().view().size == 0
    for offset, length in (
        (PAGE_SIZE + 1, None),
        (0, PAGE_SIZE + 1),
        (PAGE_SIZE, 1),
        (-1, 1),
        (0, -1),
        *((wild, 1) for wild in WILD),
        (1, 2**64),
    ):
        with pytest.raises(OutOfBounds):
            memory.view(offset, length)
    memory.close()
    with pytest.raises(Closed):
        memory.view()


def test_a_view_after_a_refused_operation_and_a_rollback_is_still_there():
    memory = StableMemory(max_pages=3)
    tree = StableBTreeMap[u64, bytes](memory)
    with pytest.raises(OutOfMemory):
        tree.insert_many(list(range(100)), [bytes(5000)] * 100)
    with memory.transaction() as transaction:
        memory.grow(1)
        view = memory.view()
        transaction.rollback()
    assert memory.size() == 1
    assert view.size > PAGE_SIZE
    assert int(view[PAGE_SIZE:].sum()) == 0


# ---- growth and limits ----


def test_a_limit_is_kept():
    memory = StableMemory(max_pages=5)
    assert [memory.grow(n) for n in (3, 3, 2, 1, 0, 2**64, 2**63)] == [0, -1, 3, -1, 5, -1, -1]
    assert memory.size() == 5


def in_a_process_of_its_own(code):
    """Other tests' memories have address space too."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_limit_of_the_platform_is_the_default():
    in_a_process_of_its_own("""
        from stable_structures import MAX_PAGES, PAGE_SIZE, StableMemory
        assert MAX_PAGES * PAGE_SIZE == 500 * 2**30
        memory = StableMemory()
        assert memory.grow(MAX_PAGES + 1) == -1
        assert memory.reserved_pages == MAX_PAGES
    """)


@pytest.mark.parametrize("max_pages", [0, -1, 2**64, 2**70, 2**48])
def test_a_limit_that_cannot_be_is_refused(max_pages):
    with pytest.raises((ValueError, OutOfBounds)):
        StableMemory(max_pages=max_pages)


def test_less_address_space_than_asked_for_is_told_when_it_is_missed():
    memory = StableMemory(max_pages=2**40)
    assert 0 < memory.reserved_pages < 2**40
    assert memory.grow(memory.reserved_pages + 1) == -1
    assert memory.grow(1) == 0


def test_a_thousand_memories_of_the_largest_size_leave_room_for_others():
    in_a_process_of_its_own("""
        import numpy
        from stable_structures import MAX_PAGES, StableBTreeMap, StableMemory, u64
        memories = [StableMemory() for _ in range(1000)]
        for i, memory in enumerate(memories):
            StableBTreeMap[u64, u64](memory)[i] = i
        assert memories[50].reserved_pages == MAX_PAGES
        assert memories[-1].reserved_pages >= 2**16
        assert len(numpy.empty(2**28, numpy.uint8)) == 2**28
        assert StableBTreeMap[u64, u64](memories[777]) == {777: 777}
    """)


# ---- restricted memories ----


def test_a_restricted_memory_is_a_range_of_pages():
    base = flat()
    part = RestrictedMemory(base, range(3, 6))
    assert (part.grow(4), part.size(), base.size()) == (-1, 0, 0)
    assert (part.grow(0), part.size(), base.size()) == (0, 0, 3)
    assert (part.grow(2), part.size(), base.size()) == (0, 2, 5)
    part.write(0, b"here")
    assert base.read(3 * PAGE_SIZE, 4) == b"here"
    assert (part.grow(2), part.grow(1), part.grow(1), base.size()) == (-1, 2, -1, 6)
    base.grow(5)
    assert (part.size(), part.grow(1)) == (3, -1)
    with pytest.raises(OutOfBounds):
        part.read(3 * PAGE_SIZE - 1, 2)


def test_restricted_memories_beside_each_other_hold_structures_of_their_own():
    base = flat()
    maps = [StableBTreeMap[u64, u64](RestrictedMemory(base, range(3 * i, 3 * i + 3))) for i in (2, 0, 1)]
    for i in range(3000):
        for j, tree in enumerate(maps):
            tree[i] = i * j
    for j, tree in enumerate(maps):
        tree.check()
        assert tree == {i: i * j for i in range(3000)}
    with pytest.raises(OutOfMemory):
        maps[0].insert_many(np.arange(10**5, 2 * 10**5, dtype=np.uint64), np.zeros(10**5, np.uint64))
    assert len(maps[0]) == 3000


def test_ranges_that_are_none_are_refused():
    for pages in (range(0, 10, 2), range(5, 0, -1), range(-3, 5)):
        with pytest.raises(ValueError, match="invalid range of pages"):
            RestrictedMemory(flat(), pages)
    nothing = RestrictedMemory(flat(), range(5, 5))
    assert (nothing.size(), nothing.grow(1)) == (0, -1)


# ---- one structure on a memory at a time ----

STRUCTURES: dict[str, Any] = {
    "map": StableBTreeMap[u64, u64],
    "set": StableBTreeSet[u64],
    "vec": StableVec[u64],
    "heap": StableMinHeap[u64],
    "cell": lambda memory: StableCell[bytes](memory, b""),
    "manager": MemoryManager,
    "log index": lambda memory: StableLog[Blob(9)](memory, StableMemory()),
    "log data": lambda memory: StableLog[Blob(9)](StableMemory(), memory),
}


@pytest.mark.parametrize("second", sorted(STRUCTURES))
@pytest.mark.parametrize("first", sorted(STRUCTURES))
def test_a_second_structure_is_refused_while_the_first_lives(first, second):
    memory = StableMemory()
    structure = STRUCTURES[first](memory)
    image = memory.read(0, memory.nbytes)
    for place in (memory, RestrictedMemory(memory, range(10)), RestrictedMemory(RestrictedMemory(memory, range(1, 9)), range(2, 5))):
        with pytest.raises(MemoryInUse, match="live structure"):
            STRUCTURES[second](place)
    assert memory.read(0, memory.nbytes) == image
    del structure
    if not first.startswith("log"):
        STRUCTURES[first](memory)


def test_memories_of_a_manager_are_used_one_by_one():
    manager = MemoryManager(StableMemory())
    tree = StableBTreeMap[u64, u64](manager.get(0))
    with pytest.raises(MemoryInUse):
        StableVec[u64](manager.get(0))
    with pytest.raises(MemoryInUse):
        StableVec[u64](manager.memory)
    with pytest.raises(MemoryInUse):
        MemoryManager(manager.memory)
    with pytest.raises(MemoryInUse):
        StableLog[bytes](manager.get(1), manager.get(1))
    with pytest.raises(MemoryInUse):
        StableLog[bytes](manager.get(1), manager.get(0))
    vec = StableVec[u64](manager.get(1))
    vec.push(7)
    tree[1] = 1
    assert (list(vec), dict(tree)) == ([7], {1: 1})


def test_a_memory_written_in_python_is_one_memory_however_often_it_is_passed():
    memory = ListMemory()
    tree = StableBTreeMap[u64, u64](memory)
    with pytest.raises(MemoryInUse):
        StableBTreeMap[u64, u64](memory)
    with pytest.raises(MemoryInUse):
        StableBTreeMap[u64, u64](RestrictedMemory(memory, range(5)))
    tree.into_memory()
    assert len(StableBTreeMap[u64, u64](memory)) == 0


def test_structures_on_memories_written_in_python_keep_all_that_they_need():
    """Every Python handle but the structure's is dropped."""

    def build(depth):
        memory = MemoryManager(ListMemory(), bucket_pages=1).get(4) if depth else ListMemory()
        return StableBTreeMap[u64, bytes](RestrictedMemory(memory, range(100)))

    trees = [build(depth) for depth in (0, 1) for _ in range(10)]
    gc.collect()
    for tree in trees:
        tree.update({i: pattern(i, i) for i in range(100)})
        tree.check()
        assert tree[99] == pattern(99, 99)


class Asked(ListMemory):
    """Counts how often it is asked for its size; may grow by more pages than it was asked for."""

    times, more = 0, 0

    def size(self) -> int:
        self.times += 1
        return super().size()

    def grow(self, pages: int, /) -> int:
        return super().grow(pages + self.more)


@pytest.mark.parametrize("more", [0, 3])
def test_a_memory_written_in_python_says_its_size_once_in_an_operation_and_after_each_growth(more):
    memory = Asked()
    tree = StableBTreeMap[u64, bytes](memory)
    memory.more = more
    for i in range(300):
        memory.times, before = 0, len(memory.data)
        tree[i] = bytes(i * 10)
        assert memory.times == 1 or len(memory.data) > before
    assert {i: bytes(i * 10) for i in range(300)} == tree
    memory.data.extend(bytes(PAGE_SIZE))  # by nobody's call: the next operation sees it
    assert tree.memory.size() == len(memory.data) // PAGE_SIZE
    tree.check()


def test_objects_that_are_no_memories_are_refused_with_what_they_lack():
    for thing in (5, "memory", b"", object(), None):
        with pytest.raises(TypeError, match="lacks size, grow, read, write"):
            StableBTreeMap[u64, u64](thing)
    assert isinstance(ListMemory(), Memory)
    assert isinstance(flat(), Memory)


# ---- closing ----


@KINDS
def test_a_closed_memory_closes_all_that_is_on_it(make):
    memory = make()
    tree = StableBTreeMap[u64, u64](memory)
    tree[1] = 1
    iterator = iter(tree)
    memory.close()
    memory.close()
    uses = [
        memory.size,
        lambda: memory.nbytes,
        lambda: memory.read(0, 1),
        lambda: memory.write(0, b"x"),
        lambda: memory.grow(1),
        lambda: tree[1],
        lambda: tree.insert(1, 2),
        lambda: 1 in tree,
        lambda: len(tree),
        lambda: list(tree),
        lambda: next(iterator),
        tree.clear,
        tree.check,
        tree.bytes_used,
        lambda: StableBTreeMap[u64, u64](memory),
        lambda: MemoryManager(memory),
    ]
    for use in uses:
        with pytest.raises(Closed, match="closed"):
            use()
    assert "Closed" in repr(tree)


def full_of_numbers(kind: str) -> tuple[Any, Any]:
    """A structure of 0 to 99, and what makes it give up its memory."""
    if kind == "log":
        log = StableLog[u64](StableMemory(), StableMemory())
        log.extend(range(100))
        return log, log.into_memories
    made: Any = {"map": StableBTreeMap[u64, u64], "set": StableBTreeSet[u64], "vec": StableVec[u64], "heap": StableMinHeap[u64]}[kind]
    structure = made(StableMemory())
    if kind == "map":
        structure.insert_many(range(100), range(100))
    else:
        getattr(structure, {"set": "insert_many", "vec": "extend", "heap": "push_many"}[kind])(range(100))
    return structure, structure.into_memory


@pytest.mark.parametrize("ending", ["closed", "released"])
@pytest.mark.parametrize("kind", ["map", "set", "vec", "heap", "log"])
def test_iterators_end_with_their_structure(kind, ending):
    structure, release = full_of_numbers(kind)
    iterators = [iter(structure), structure.iter()]
    for iterator in iterators:
        next(iterator)
    (structure.memory.close if ending == "closed" else release)()
    for iterator in iterators:
        with pytest.raises(Closed):
            next(iterator)
    with pytest.raises(Closed):
        iterators[1].next_back()
    with pytest.raises(Closed):
        iterators[1].skip(1)


def test_closing_one_memory_of_a_root_closes_them_all():
    base = flat()
    manager = MemoryManager(base)
    one, other = manager.get(1), manager.get(2)
    other.grow(1)
    one.close()
    for use in (base.size, other.size, lambda: manager.get(3), manager.check):
        with pytest.raises(Closed):
            use()


def test_with_closes_also_after_an_error():
    with pytest.raises(ZeroDivisionError), StableMemory() as memory:
        raise ZeroDivisionError
    with pytest.raises(Closed):
        memory.size()


def test_handles_may_die_in_any_order():
    for order in range(6):
        base = flat()
        manager = MemoryManager(base, bucket_pages=1)
        tree = StableBTreeMap[u64, u64](manager.get(5))
        tree.update({i: i for i in range(50)})
        things: list[Any] = [base, manager, tree, iter(tree)]
        del base, manager, tree
        while things:
            next(things[-1], None) if hasattr(things[-1], "__next__") else None
            things.pop(order % len(things))
        gc.collect()


# ---- what the process takes ----


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


PEAK = """
    import sys
    def peak():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_with_a_map_takes_its_image_and_at_most_20_mib():
    """Single calls, iteration, ranges, check() and reopening included; what Python and the library take before does not count."""
    used = run(
        PEAK
        + """
    from stable_structures import StableBTreeMap, StableMemory, u64
    memory = StableMemory()
    StableBTreeMap[u64, bytes](memory)[0] = b""
    before = peak()
    tree = StableBTreeMap[u64, bytes].new(memory)
    for i in range(300_000):
        tree[i * 0x9E3779B97F4A7C15 % 2**64] = b"value %d" % i
    for i in range(0, 300_000, 7):
        del tree[i * 0x9E3779B97F4A7C15 % 2**64]
    assert sum(1 for _ in tree.items()) == len(tree)
    assert sum(1 for _ in reversed(tree)) == len(tree)
    tree.check()
    tree.into_memory()
    tree = StableBTreeMap[u64, bytes](memory)
    assert tree.pop_first() and tree.pop_last()
    print(peak() - before, memory.nbytes)
    """
    )
    peak, image = map(int, used.split())
    assert image > 30 * 2**20
    assert peak < image + 20 * 2**20, (peak, image)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_reserved_address_space_takes_no_memory():
    used = run(
        PEAK
        + """
    from stable_structures import StableMemory
    first = StableMemory()
    before = peak()
    memories = [StableMemory() for _ in range(100)]
    assert all(memory.reserved_pages == 8_192_000 for memory in memories)
    print(peak() - before)
    """
    )
    assert int(used) < 4 * 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS works there")
def test_where_address_space_is_short_less_is_reserved_and_the_rest_of_the_process_goes_on():
    run(
        """
    import resource
    import numpy
    from stable_structures import Blob, OutOfMemory, StableBTreeMap, StableMemory, u64
    now = int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (now + 400 * 2**20, now + 400 * 2**20))
    memory = StableMemory()
    assert 2**10 <= memory.reserved_pages < 2**13, memory.reserved_pages
    tree = StableBTreeMap[u64, Blob(2**20)](memory)  # of 9 MB a node
    assert len(numpy.empty(2**26, numpy.uint8)) == 2**26
    try:
        while True:
            tree[len(tree)] = bytes(100)
    except OutOfMemory as error:
        assert "the system reserved less address space than asked" in str(error), error
        assert str(memory.reserved_pages) in str(error)
    tree.check()
    others = [StableMemory() for _ in range(4)]
    for other in others:
        other.grow(1)
    assert len(numpy.empty(2**24, numpy.uint8)) == 2**24
    """
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA works there")
def test_a_memory_that_the_system_cannot_back_grows_no_further():
    """Address space is there, memory is not: grow answers -1, a map raises, nothing dies."""
    run(
        """
    import resource
    from stable_structures import OutOfMemory, StableBTreeMap, StableMemory, u64
    resource.setrlimit(resource.RLIMIT_DATA, (300 * 2**20, 300 * 2**20))
    memory = StableMemory()
    old = memory.grow(16_000)
    assert old in (0, -1)
    if old == -1:
        assert memory.size() == 0
        tree = StableBTreeMap[u64, u64](memory)
        tree[1] = 1
        tree.check()
    """
    )


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda copier: copier.__name__)
def test_memories_and_iterators_are_not_copied_or_pickled(copier):
    """A copy would be a second name for the same bytes, or take the items of the first."""
    memory = StableMemory()
    iterator = StableBTreeMap[u64, u64](StableMemory()).range()
    for one in (memory, RestrictedMemory(memory, range(1, 3)), MemoryManager(StableMemory()).get(0), iterator):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            copier(one)


@pytest.mark.parametrize("data", ["text", 5, None, [1]])
def test_what_is_no_buffer_is_not_written(data):
    memory = StableMemory()
    memory.grow(1)
    with pytest.raises(TypeError, match="write takes bytes or another buffer"):
        memory.write(0, data)
    with pytest.raises(TypeError, match="write takes bytes or another buffer"):
        Writer(memory).write(data)


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("when", ["before", "inside", "after"])
def test_a_transaction_that_was_begun_by_hand_ends_no_other_one(end, when):
    """What its `__exit__` holds is not given to another transaction, which a late call of it would end."""
    memory = StableMemory()
    memory.grow(1)
    first = memory.transaction()
    leave = first.__exit__ if when == "before" else None
    first.__enter__()
    memory.write(0, b"first")
    if when == "inside":
        leave = first.__exit__
    getattr(first, end)()
    kept = memory.read(0, 5)
    assert kept == (b"first" if end == "commit" else bytes(5))
    second = memory.transaction()
    second.__enter__()
    memory.write(0, b"other")
    with contextlib.suppress(StableError):
        (first.__exit__ if leave is None else leave)(None, None, None)
    assert memory.read(0, 5) == b"other"
    second.rollback()
    assert memory.read(0, 5) == kept


def test_transactions_that_are_begun_by_hand_use_their_room_again():
    memory = StableMemory()
    memory.grow(1)
    grips = set()
    for number in range(200):
        transaction = memory.transaction()
        transaction.__enter__()
        grips.add(id(transaction._block))
        memory.write(0, bytes([number]))
        (transaction.commit if number % 2 else transaction.rollback)()
        assert memory.read(0, 1) == bytes([number if number % 2 else max(0, number - 1)])
    assert len(grips) == 1
