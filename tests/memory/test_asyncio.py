# SPDX-License-Identifier: Apache-2.0
"""Transactions and asyncio: a transaction belongs to a thread and to the task that began it; others wait for their turn or are refused."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import threading
import time

import pytest

from stable_structures import Closed, MemoryInUse, MemoryManager, StableBTreeMap, StableLog, StableMemory, StableVec, u64


@pytest.fixture
def memory() -> StableMemory:
    return StableMemory()


@pytest.fixture
def tree(memory: StableMemory) -> StableBTreeMap[u64, u64]:
    return StableBTreeMap[u64, u64](memory)


class Cut(Exception):
    """Ends a block early."""


def test_an_operation_of_another_task_is_refused_and_what_was_confirmed_stays(memory, tree):
    """Or it would join the transaction, be confirmed, and vanish with it."""
    confirmed = []

    async def holder(inside: asyncio.Event, go: asyncio.Event) -> None:
        with contextlib.suppress(Cut), memory.transaction():
            tree[1] = 1
            inside.set()
            await go.wait()
            tree[2] = 2
            raise Cut

    async def other(inside: asyncio.Event, go: asyncio.Event) -> None:
        await inside.wait()
        uses = [
            lambda: tree.insert(3, 3), lambda: tree.get(1), lambda: tree.remove(1), lambda: list(tree), lambda: len(tree), tree.check,
            tree.clear, lambda: tree.insert_many([4], [4]), tree.pop_first, memory.size, lambda: memory.grow(1), lambda: memory.read(0, 1),
            memory.commit, memory.rollback, memory.transaction().__enter__, tree.into_memory, lambda: StableVec[u64].load(memory),
        ]  # fmt: skip
        for use in uses:
            with pytest.raises(MemoryInUse, match="async with"):
                use()
        go.set()
        async with memory.transaction():
            tree[5] = 5
        confirmed.append(5)

    async def main() -> None:
        inside, go = asyncio.Event(), asyncio.Event()
        await asyncio.gather(holder(inside, go), other(inside, go))

    asyncio.run(main())
    assert confirmed == [5]
    assert dict(tree) == {5: 5}


def test_a_callback_of_no_task_is_refused(memory, tree):
    found = []

    def callback() -> None:
        try:
            tree[7] = 7
        except MemoryInUse as error:
            found.append(error)

    async def main() -> None:
        with memory.transaction():
            asyncio.get_running_loop().call_soon(callback)
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert len(found) == 1
    assert dict(tree) == {}


def test_all_memories_over_the_root_belong_to_the_task():
    manager = MemoryManager(StableMemory())
    one, two = StableVec[u64](manager.get(0)), StableVec[u64](manager.get(1))
    log = StableLog[u64](StableMemory(), manager.get(2))

    async def other() -> None:
        for use in (lambda: two.push(1), lambda: log.append(1), lambda: manager.get(9), manager.sizes):
            with pytest.raises(MemoryInUse):
                use()

    async def main() -> None:
        async with manager.get(0).transaction():
            one.push(1)
            await asyncio.create_task(other())
            one.push(2)

    asyncio.run(main())
    assert (list(one), list(two), list(log)) == ([1, 2], [], [])


def test_async_with_serves_in_order_and_loses_nothing(memory, tree):
    order = []

    async def work(number: int) -> None:
        async with memory.transaction():
            order.append(number)
            value = tree.get(0, 0)
            await asyncio.sleep(0)
            tree[0] = value + 1

    async def main() -> None:
        await asyncio.gather(*(work(number) for number in range(100)))

    asyncio.run(main())
    assert order == list(range(100))
    assert tree[0] == 100


def test_who_waits_is_overtaken_neither_by_a_later_task_nor_by_the_holder_again(memory):
    """Whoever asks at the moment in which the transaction ends would find the memory free, were it not for the queue."""
    order = []

    async def holder(inside: asyncio.Event) -> None:
        async with memory.transaction():
            inside.set()
            for _ in range(5):
                await asyncio.sleep(0)
        async with memory.transaction():  # without a step of the loop in between
            order.append("holder")

    async def other(name: str, inside: asyncio.Event) -> None:
        await inside.wait()
        async with memory.transaction():
            order.append(name)

    async def main() -> None:
        inside = asyncio.Event()
        await asyncio.gather(holder(inside), *(other(name, inside) for name in "abc"))

    asyncio.run(main())
    assert order == ["a", "b", "c", "holder"]


def test_waiting_does_not_block_the_loop(memory, tree):
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    async def main() -> None:
        ticker = asyncio.create_task(tick())
        begun, end = threading.Event(), threading.Event()

        def hold() -> None:
            with memory.transaction():
                begun.set()
                end.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        begun.wait()
        asyncio.get_running_loop().call_later(0.3, end.set)
        async with memory.transaction():
            tree[1] = 1
        thread.join()
        ticker.cancel()

    asyncio.run(main())
    assert ticks > 20
    assert dict(tree) == {1: 1}


def test_a_cancelled_task_leaves_the_queue_and_its_transaction_is_rolled_back(memory, tree):
    async def work(number: int, pause: float) -> None:
        async with memory.transaction():
            tree[number] = number
            await asyncio.sleep(pause)

    async def main() -> None:
        tasks = [asyncio.create_task(work(number, 10 if number < 2 else 0)) for number in range(4)]
        await asyncio.sleep(0.02)
        tasks[1].cancel()  # waits
        await asyncio.sleep(0.02)
        tasks[0].cancel()  # has it
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert dict(tree) == {2: 2, 3: 3}


def test_patience_ends_a_wait(tmp_path):
    async def main() -> None:
        with StableMemory.open(tmp_path / "state.bin", patience=0.1) as memory, memory.transaction():
            start = time.monotonic()
            with pytest.raises(MemoryInUse, match=r"0\.1 seconds"):
                await asyncio.create_task(enter(memory))
            assert 0.05 < time.monotonic() - start < 5

    async def enter(memory: StableMemory) -> None:
        async with memory.transaction():
            pass

    asyncio.run(main())


def test_a_transaction_in_ones_own_says_how(memory):
    async def main() -> None:
        async with memory.transaction():
            for _ in range(2):
                with pytest.raises(MemoryInUse, match="do not nest"):
                    async with memory.transaction():
                        pass
                with pytest.raises(MemoryInUse, match="do not nest"), memory.transaction():
                    pass

    asyncio.run(main())


def test_early_ends_and_errors_in_async_with(memory, tree):
    async def main() -> None:
        async with memory.transaction() as transaction:
            tree[1] = 1
            transaction.commit()
        async with memory.transaction() as transaction:
            tree[2] = 2
            transaction.rollback()
        with contextlib.suppress(Cut):
            async with memory.transaction():
                tree[3] = 3
                raise Cut
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(memory.transaction())
            tree[4] = 4
        with pytest.raises(Closed):
            async with memory.transaction():
                memory.close()

    asyncio.run(main())
    assert "closed" in repr(memory)


def test_several_loops_in_threads_keep_the_sum(memory, tree):
    tree.update({0: 1000, 1: 1000})

    async def move(amount: int) -> None:
        async with memory.transaction():
            tree[0] -= amount
            await asyncio.sleep(0)
            tree[1] += amount

    async def main(seed: int) -> None:
        rng = random.Random(seed)
        await asyncio.gather(*(move(rng.randrange(5)) for _ in range(30)))

    threads = [threading.Thread(target=lambda seed=seed: asyncio.run(main(seed))) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(tree.values()) == 2000


def test_a_block_around_the_loop_belongs_to_all_of_it(memory, tree):
    async def work(number: int) -> None:
        tree[number] = number
        await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(work(number) for number in range(5)))

    with memory.transaction():
        asyncio.run(main())
    assert len(tree) == 5


def test_async_with_needs_a_loop_of_asyncio(memory):
    with pytest.raises(RuntimeError, match="no asyncio event loop"):
        memory.transaction().__aenter__().send(None)


# ---- a transaction that ends elsewhere ----


def test_a_generator_that_is_finished_in_another_thread_is_rolled_back(memory, tree):
    def work():
        with memory.transaction():
            tree[1] = 1
            yield

    generator = work()
    thread = threading.Thread(target=next, args=(generator,))
    thread.start()
    thread.join()
    holders = [generator]
    del generator
    finisher = threading.Thread(target=holders.clear)
    finisher.start()
    finisher.join()
    gc.collect()
    assert dict(tree) == {}
    memory.close()


def test_a_generator_of_this_thread_that_another_closes_is_rolled_back(memory, tree):
    def work():
        with memory.transaction():
            tree[1] = 1
            yield

    generator = work()
    next(generator)
    thread = threading.Thread(target=generator.close)
    thread.start()
    thread.join()
    assert dict(tree) == {}
    with memory.transaction():
        tree[2] = 2
    assert dict(tree) == {2: 2}


def test_what_a_generator_finishes_in_another_thread_is_committed(memory, tree):
    def work():
        with memory.transaction():
            tree[1] = 1
            yield

    generator = work()
    next(generator)
    thread = threading.Thread(target=list, args=(generator,))
    thread.start()
    thread.join()
    assert dict(tree) == {1: 1}


@pytest.mark.parametrize("close", [False, True])
def test_the_transaction_of_a_thread_that_has_ended_is_rolled_back_by_who_comes_next(memory, tree, close):
    def work():
        with memory.transaction():
            tree[1] = 1
            yield

    generator = work()
    thread = threading.Thread(target=next, args=(generator,))
    thread.start()
    thread.join()
    start = time.monotonic()
    if close:
        memory.close()
    else:
        assert dict(tree) == {}
    assert time.monotonic() - start < 5
    with pytest.raises(Closed if close else MemoryInUse):
        next(generator)


def test_an_async_generator_that_another_task_finishes(memory, tree):
    async def work():
        with memory.transaction():
            tree[1] = 1
            yield

    async def begin(generator) -> None:
        await anext(generator)

    async def main() -> None:
        generator = work()
        await asyncio.create_task(begin(generator))
        await asyncio.create_task(close(generator))
        assert dict(tree) == {}
        forgotten = work()
        await asyncio.create_task(begin(forgotten))
        assert dict(tree) == {}  # the task has ended

    async def close(generator) -> None:
        await generator.aclose()

    asyncio.run(main())
    tree[2] = 2
    assert dict(tree) == {2: 2}


def test_two_memories_whose_key_comparisons_use_each_other_do_not_wait_for_ever():
    shared: dict[str, StableBTreeMap] = {}
    met = threading.Barrier(2, timeout=20)

    class Key:
        BOUND = __import__("stable_structures").Unbounded
        partner = ""

        def __init__(self, text: str) -> None:
            self.text = text

        def to_bytes(self) -> bytes:
            return self.text.encode()

        @classmethod
        def from_bytes(cls, data: bytes):
            return cls(data.decode())

        def __lt__(self, other) -> bool:
            with contextlib.suppress(threading.BrokenBarrierError):
                met.wait(0.5)
            len(shared[self.partner])
            return self.text < other.text

    class One(Key):
        partner = "two"

    class Two(Key):
        partner = "one"

    shared["one"], shared["two"] = StableBTreeMap[One, u64](StableMemory()), StableBTreeMap[Two, u64](StableMemory())
    shared["one"][One("a")] = shared["two"][Two("a")] = 1
    failed = []

    def insert(name: str, key: type) -> None:
        try:
            shared[name][key("b")] = 2
        except MemoryInUse as error:
            failed.append(str(error))

    threads = [threading.Thread(target=insert, args=arguments, daemon=True) for arguments in (("one", One), ("two", Two))]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert time.monotonic() - start < 15
    assert len(failed) == 1
    assert "wait for each other" in failed[0]
    assert sorted(len(tree) for tree in shared.values()) == [1, 2]
