# SPDX-License-Identifier: Apache-2.0
"""Buffers of users: what is unsuitable is refused by errors of ours; what changes meanwhile, or lies, harms nothing."""

from __future__ import annotations

import array
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stable_structures import (
    PAGE_SIZE,
    IncompatibleType,
    Reader,
    StableBTreeMap,
    StableBTreeSet,
    StableError,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    Writer,
    u64,
)
from stable_structures.storable import Array, Blob

if TYPE_CHECKING:
    from collections.abc import Callable


def released() -> memoryview:
    view = memoryview(bytearray(6))
    view.release()
    return view


UNREADABLE = {
    "text": "text",
    "number": 5,
    "none": None,
    "list": [1, 2],
    "every second byte": memoryview(b"abcdef")[::2],
    "every second number": np.arange(6)[::2],
    "transposed": np.arange(6).reshape(2, 3).T,
    "backwards": np.arange(6)[::-1],
    "objects": np.array([1, "a"], dtype=object),
    "view of objects": memoryview(np.array([1, "a"], dtype=object)),
    "released": released(),
}
UNWRITABLE = {**UNREADABLE, "bytes": b"fixed", "view of bytes": memoryview(b"fixed"), "frozen": np.frombuffer(b"fixed", np.uint8)}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_what_has_no_bytes_in_one_piece_is_not_written(data):
    memory = StableMemory()
    memory.grow(1)
    for write in (lambda: memory.write(0, data), lambda: Writer(memory).write(data)):
        with pytest.raises(IncompatibleType, match=r"^write") as caught:
            write()
        assert isinstance(caught.value, StableError)
    assert memory.read(0, 100) == bytes(100)


@pytest.mark.parametrize("buffer", UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_cannot_be_filled_is_refused(buffer):
    memory = StableMemory()
    memory.grow(1)
    memory.write(0, b"abcdef" * 10)
    for fill in (lambda: memory.readinto(0, buffer), lambda: Reader(memory).readinto(buffer)):
        with pytest.raises(IncompatibleType, match=r"^readinto"):
            fill()


@pytest.mark.parametrize(
    "data",
    [
        bytearray(b"ab"),
        memoryview(b"abcd").cast("H"),
        np.arange(3.0),
        np.array(["2020-01-01"], "M8[D]"),
        array.array("d", [1]),
        np.float32(1),
    ],
    ids=lambda data: type(data).__name__,
)
def test_buffers_of_any_items_are_written_as_their_bytes(data):
    memory = StableMemory()
    memory.grow(1)
    memory.write(3, data)
    wanted = data.tobytes() if hasattr(data, "tobytes") else bytes(data)
    assert memory.read(3, len(wanted)) == wanted


# ---- memories written in Python ----


class Liar(bytes):
    """Bytes that claim another length."""

    def __len__(self) -> int:
        return PAGE_SIZE


class Answers:
    """A memory of one page whose `read` returns what it was made with."""

    def __init__(self, answer: Callable[[int], object]) -> None:
        self.answer = answer

    def size(self) -> int:
        return 1

    def grow(self, _pages: int, /) -> int:
        return -1

    def read(self, _offset: int, length: int, /) -> object:
        return self.answer(length)

    def write(self, _offset: int, _data: bytes, /) -> None:
        return


LIES = {
    "a lying subclass": lambda _n: Liar(b"abc"),
    "too short": lambda n: b"a" * (n - 1),
    "too long": lambda n: b"a" * (n + 1),
    "wide items": lambda n: memoryview(bytes(8 * n)).cast("Q"),
    "wide array": lambda n: np.zeros(n, np.uint64),
    "text": lambda n: "a" * n,
    "a list": lambda n: [0] * n,
    "none": lambda _n: None,
}


@pytest.mark.parametrize("answer", LIES.values(), ids=LIES)
def test_what_a_python_memory_gives_is_measured(answer):
    with pytest.raises((TypeError, ValueError), match=r"must return \d+ bytes, or raise"):
        Reader(Answers(answer)).read(PAGE_SIZE)
    with pytest.raises((TypeError, ValueError), match=r"must return \d+ bytes, or raise"):
        StableBTreeMap[u64, u64](Answers(answer))


@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, lambda d: np.frombuffer(d, np.uint8), lambda d: memoryview(d + d)[::2][: len(d)]]
)
def test_any_buffer_of_the_right_size_will_do(kind):
    assert Reader(Answers(lambda n: kind(b"a" * n))).read(10) == b"a" * 10


# ---- columns that change meanwhile ----

COUNT = 2000


class Scribbler:
    """A thread that keeps changing an array while the block lasts."""

    def __init__(self, data: np.ndarray) -> None:
        self._bytes = data.view(np.uint8).reshape(-1)
        self._random = np.random.default_rng(5)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._done.is_set():
            places = self._random.integers(0, len(self._bytes), 200)
            self._bytes[places] = self._random.integers(0, 256, 200, dtype=np.uint8)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def octets(size: int) -> np.ndarray:
    """Ascending values of so many bytes."""
    data = np.zeros((COUNT, size), np.uint8)
    data[:, :8] = np.arange(COUNT, dtype=">u8").view(np.uint8).reshape(COUNT, 8)
    return data.view(f"V{size}").reshape(-1)


COLUMNS = {
    "array": (Array(16), lambda: octets(16)),
    "blob": (Blob(24), lambda: octets(24)),
    "number": (u64, lambda: np.arange(COUNT, dtype=np.uint64)),
}


@pytest.mark.parametrize(("kind", "make"), COLUMNS.values(), ids=COLUMNS)
def test_columns_that_change_leave_maps_and_sets_sound(kind, make):
    keys = make()
    with Scribbler(keys):
        for _ in range(15):
            map_, set_ = StableBTreeMap[kind, kind](StableMemory()), StableBTreeSet[kind](StableMemory())
            map_.insert_many(keys, keys)
            set_.insert_many(keys)
            for one in (map_, set_):
                one.check()
            map_.get_many(keys)
            map_.remove_many(keys)
            map_.check()
            assert list(map_) == sorted(map_)


@pytest.mark.parametrize(("kind", "make"), COLUMNS.values(), ids=COLUMNS)
def test_operators_of_sets_bear_columns_that_change(kind, make):
    keys = make()
    with Scribbler(keys):
        for _ in range(10):
            set_ = StableBTreeSet[kind](StableMemory())
            set_ |= keys
            set_ ^= keys[: COUNT // 2]
            set_.check()
            set_ &= keys[COUNT // 4 :]
            set_ -= keys[: COUNT // 8]
            set_.update(keys, keys[:5])
            set_.check()
            assert list(set_) == sorted(set_)


@pytest.mark.parametrize(("kind", "make"), COLUMNS.values(), ids=COLUMNS)
def test_operators_of_sets_take_what_bulk_operations_take(kind, make):
    keys = make()
    set_ = StableBTreeSet[kind](StableMemory())
    set_ |= keys
    set_ ^= keys[:10]
    set_ &= keys[5:20]
    set_ -= keys[15:]
    assert list(set_) == keys[10:15].tolist()
    set_.update(keys[12:17])
    assert list(set_) == keys[10:17].tolist()
    assert set_.is_subset(keys)
    assert set_ & keys[10:12] == set(keys[10:12].tolist())


@pytest.mark.parametrize(("kind", "make"), COLUMNS.values(), ids=COLUMNS)
def test_what_is_built_of_a_changing_column_ascends_or_is_refused(kind, make):
    for _ in range(15):
        keys, memory = make(), StableMemory()
        refused = ""
        with Scribbler(keys):
            try:
                StableBTreeMap[kind, kind].from_sorted(memory, keys, keys).check()
            except ValueError as error:
                refused = str(error)
        assert not refused or "ascend" in refused
        map_ = StableBTreeMap[kind, kind](memory)
        map_.check()
        assert len(map_) == (0 if refused else COUNT)


@pytest.mark.parametrize(("kind", "make"), COLUMNS.values(), ids=COLUMNS)
def test_columns_that_change_leave_sequences_sound(kind, make):
    values = make()
    vec, heap, log = StableVec[kind](StableMemory()), StableMinHeap[kind](StableMemory()), StableLog[kind](StableMemory(), StableMemory())
    with Scribbler(values):
        for _ in range(15):
            vec.extend(values)
            heap.push_many(values)
            log.extend(values)
    for one in (vec, heap, log):
        one.check()
        assert len(one) == 15 * COUNT
    popped = [heap.pop() for _ in range(1000)]
    assert popped == sorted(popped)
