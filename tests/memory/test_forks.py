# SPDX-License-Identifier: Apache-2.0
"""After a fork: a child never hangs. A memory whose lock was free is the child's own copy; one in use by another thread is closed."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import traceback
from typing import TYPE_CHECKING

import pytest

from stable_structures import Closed, MemoryManager, RestrictedMemory, StableBTreeMap, StableMemory, StableVec, Unbounded, u64

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
PATIENCE = 20


def in_child(work: Callable[[], object]) -> None:
    """Runs it in a child, to its end with garbage collection and exit; fails where it raises, hangs or dies."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            gc.collect()
            status = 0
        except BaseException:  # noqa: BLE001 - the parent's tests must not run here
            traceback.print_exc()
        finally:
            os._exit(status)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0
            return
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    pytest.fail("the child hangs")


class Slow:
    """A key that is compared in Python, for as long as a test wants."""

    BOUND = Unbounded
    inside = threading.Event()
    go = threading.Event()

    def __init__(self, text: str) -> None:
        self.text = text

    def to_bytes(self) -> bytes:
        return self.text.encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Slow:
        return cls(data.decode())

    def __lt__(self, other: Slow) -> bool:
        self.inside.set()
        self.go.wait(PATIENCE)
        return self.text < other.text


@pytest.fixture
def busy() -> Iterator[StableMemory]:
    """A memory in which another thread is working."""
    memory = StableMemory()
    Slow.inside.clear()
    Slow.go.clear()
    tree = StableBTreeMap[Slow, u64](MemoryManager(memory).get(0))
    tree[Slow("a")] = 1
    thread = threading.Thread(target=tree.insert, args=(Slow("b"), 2))
    thread.start()
    Slow.inside.wait(PATIENCE)
    yield memory
    Slow.go.set()
    thread.join()
    assert len(tree) == 2


def test_a_memory_that_was_free_is_a_copy_in_the_child():
    memory = StableMemory()
    manager = MemoryManager(memory)
    tree = StableBTreeMap[u64, u64](manager.get(0))
    tree.update({1: 1, 2: 2, 3: 3})
    iterator = tree.keys_range()
    assert next(iterator) == 1

    def child() -> None:
        assert list(iterator) == [2, 3]
        tree[4] = 4
        StableVec[u64](manager.get(1)).push(7)
        with memory.transaction():
            tree.clear()
        assert len(tree) == 0
        memory.close()

    in_child(child)
    assert dict(tree) == {1: 1, 2: 2, 3: 3}
    assert manager.sizes() == {0: 1}


def test_a_memory_that_another_thread_is_in_is_closed_in_the_child(busy):
    part = RestrictedMemory(busy, range(1))

    def child() -> None:
        for use in (busy.size, part.size, lambda: StableVec[u64].load(busy), lambda: busy.read(0, 1)):
            with pytest.raises(Closed, match="another thread was using the memory when this process was forked"):
                use()
        assert "closed" in repr(busy)
        busy.close()
        part.close()
        fresh = StableMemory()
        StableVec[u64](fresh).push(1)

    in_child(child)
    assert repr(busy) == "<StableMemory, anonymous, in use>"


def test_a_transaction_of_another_thread_closes_it_and_ones_own_goes_on():
    theirs, own = StableMemory(), StableMemory()
    begun, end = threading.Event(), threading.Event()
    theirs.grow(1)
    own.grow(1)

    def hold() -> None:
        with theirs.transaction():
            theirs.write(0, b"x")
            begun.set()
            end.wait(PATIENCE)

    def wait() -> None:
        theirs.size()

    threads = [threading.Thread(target=hold), threading.Thread(target=wait)]
    threads[0].start()
    begun.wait()
    threads[1].start()
    time.sleep(0.05)

    def child() -> None:
        own.write(1, b"b")
        own.rollback()
        assert own.read(0, 2) == b"\0\0"
        with pytest.raises(Closed, match="forked"):
            theirs.read(0, 1)
        theirs.close()

    with own.transaction():
        own.write(0, b"a")
        in_child(child)
    end.set()
    for thread in threads:
        thread.join()
    assert own.read(0, 2) == b"a\0"
    assert theirs.read(0, 1) == b"x"


def test_a_fork_in_the_midst_of_ones_own_operation():
    """Both processes come back into it, each in its own memory."""
    memory = StableMemory()

    class Forks(Slow):
        forked = False

        def __lt__(self, other: Slow) -> bool:
            if not Forks.forked:
                Forks.forked = True
                Forks.pid = os.fork()
            return self.text < other.text

    tree = StableBTreeMap[Forks, u64](memory)
    tree[Forks("a")] = 1
    tree[Forks("b")] = 2
    if Forks.pid == 0:
        os._exit(0 if len(tree) == 2 and memory.size() > 0 else 1)
    assert os.waitpid(Forks.pid, 0)[1] == 0
    assert len(tree) == 2


def test_memories_in_python_too():
    class List:
        def __init__(self) -> None:
            self.data = bytearray()

        def size(self) -> int:
            return len(self.data) >> 16

        def grow(self, pages: int) -> int:
            old = self.size()
            self.data += bytes(pages << 16)
            return old

        def read(self, offset: int, length: int) -> bytes:
            return bytes(self.data[offset : offset + length])

        def write(self, offset: int, data: bytes) -> None:
            self.data[offset : offset + len(data)] = data

    vec = StableVec[u64](List())
    vec.push(1)

    def child() -> None:
        vec.push(2)
        assert list(vec) == [1, 2]

    in_child(child)
    assert list(vec) == [1]


def test_forks_while_threads_work(duration):
    """At any moment: whatever the child may use it can use, the rest says that it is closed, and nothing hangs."""
    memories = [StableMemory() for _ in range(4)]
    managers = [MemoryManager(memory, bucket_pages=1) for memory in memories]
    trees = [StableBTreeMap[u64, u64](manager.get(0)) for manager in managers]
    stop = False

    def work(number: int) -> None:
        count = 0
        while not stop:
            count += 1
            with memories[number].transaction():
                trees[number][count % 100] = count
                trees[number][count % 100 + 1000] = count
            managers[number].get(count % 200)
            next(iter(trees[number].keys_range()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()

    def child() -> None:
        for memory, manager, tree in zip(memories, managers, trees, strict=True):
            try:
                tree.check()
                tree[5] = 5
                manager.get(7)
            except Closed as error:
                assert "forked" in str(error)  # noqa: PT017 - or nothing is raised
            memory.close()
        with pytest.raises(Closed, match="was closed"):
            len(trees[3])

    until = time.monotonic() + duration
    try:
        while time.monotonic() < until:
            in_child(child)
    finally:
        stop = True
        for thread in threads:
            thread.join()
    for tree in trees:
        tree.check()
