"""A constructor starts over on an empty memory only: whatever else a memory holds is refused, and stays as it is."""

from __future__ import annotations

import contextlib
import gzip
import sqlite3
import time
from typing import Any

import pytest

from stable_structures import (
    PAGE_SIZE,
    BadMagic,
    Cbor,
    MemoryManager,
    ReadOnly,
    RestrictedMemory,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    u32,
    u64,
)
from stable_structures.canister import Canister
from stable_structures.upgrade import backup, restore

from ..support.memories import ListMemory
from ..support.places import PLACES, Place, filled, image

OPENED: dict[str, Any] = {
    "map": StableBTreeMap[u64, str],
    "set": StableBTreeSet[u64],
    "vec": StableVec[u32],
    "heap": StableMinHeap[u64],
    "cell": lambda memory: StableCell[u64](memory, 5),
    "log index": lambda memory: StableLog[str](memory, StableMemory()),
    "log data": lambda memory: StableLog[str](StableMemory(), memory),
    "manager": MemoryManager,
}
OVERWRITING: dict[str, Any] = {
    "map": StableBTreeMap[u64, str].new,
    "set": StableBTreeSet[u64].new,
    "vec": StableVec[u32].new,
    "heap": StableMinHeap[u64].new,
    "cell": lambda memory: StableCell[u64].new(memory, 5),
    "log index": lambda memory: StableLog[str].new(memory, StableMemory()),
    "log data": lambda memory: StableLog[str].new(StableMemory(), memory),
    "manager": MemoryManager.new,
}
MADE = {
    "map": lambda memory: StableBTreeMap[str, str](memory).update({"a": "b"}),
    "vec": lambda memory: StableVec[u64](memory).push(1),
    "heap": lambda memory: StableMinHeap[u32](memory).push(1),
    "cell": lambda memory: StableCell[Cbor](memory, {"a": 1}),
    "log index": lambda memory: StableLog[str](memory, StableMemory()).append("a"),
    "log data": lambda memory: StableLog[str](StableMemory(), memory).append("a"),
    "manager": lambda memory: MemoryManager(memory, bucket_pages=1).get(0).grow(1),
    "backup": lambda memory: backup(memory, {"fee": 10}),
}
MAGICS = {
    "map": b"BTR",
    "set": b"BTR",
    "vec": b"SVC",
    "heap": b"SMH",
    "cell": b"SCL",
    "manager": b"MGR",
    "log index": b"GLI",
    "log data": b"GLD",
}
NAMES = {
    "map": "a StableBTreeMap or StableBTreeSet",
    "vec": "a StableVec",
    "heap": "a StableMinHeap",
    "cell": "a StableCell",
    "log index": "the index of a StableLog",
    "log data": "the data of a StableLog",
    "manager": "a MemoryManager",
    "backup": "no kind that is known here",
    "sqlite": "an SQLite database",
    "gzip": "a gzip",
    "wasm": "a wasm module",
    "text": "text",
    "umlauts": "text",
    "json": "text",
    "random": "no kind that is known here",
    "zeros, then a byte": "zeros, and something else",
    "zeros, then a page": "zeros, and something else",
    "zeros, then a last byte": "zeros, and something else",
}


def _sqlite() -> bytes:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.execute("create table t (a)")
        return bytes(database.serialize())


BYTES = {
    "sqlite": _sqlite(),
    "gzip": gzip.compress(b"abc" * 1000),
    "wasm": b"\0asm\1\0\0\0",
    "text": b"hello, world\n",
    "umlauts": "äöü, naïve".encode(),
    "json": b'{\n  "fee": 10\n}',
    "random": bytes(range(255, 100, -7)),
    "zeros, then a byte": bytes(100) + b"\1",
    "zeros, then a page": bytes(2 * PAGE_SIZE) + b"MGR\1",
    "zeros, then a last byte": bytes(3 * PAGE_SIZE - 1) + b"\1",
}


class FilePlace(Place):
    """Two files."""

    def __init__(self, kind: str, folder: Any) -> None:
        self.memories = self.bases = [StableMemory.open(folder / name, durability=kind) for name in "ab"]


def place_of(kind: str, tmp_path: Any) -> Any:
    return FilePlace(kind, tmp_path) if kind in ("none", "normal", "full") else Place(kind)


EVERYWHERE = pytest.mark.parametrize("kind", [*PLACES, "none", "normal", "full"])


def put(name: str, memory: Any) -> None:
    if name in BYTES:
        filled(memory, BYTES[name])
    else:
        MADE[name](memory)


@EVERYWHERE
@pytest.mark.parametrize("found", NAMES)
def test_what_is_there_is_named_and_stays(kind, found, tmp_path):
    memory = place_of(kind, tmp_path).memories[0]
    put(found, memory)
    before = image(memory)
    for name, opened in OPENED.items():
        if MAGICS[name] == before[:3]:
            continue
        with pytest.raises(BadMagic, match=rf"(holds|begins with).*{NAMES[found]}.*\.new\(memory\) overwrites it"):
            opened(memory)
        assert image(memory) == before
    for overwriting in OVERWRITING.values():
        overwriting(memory)
    assert image(memory) != before


@EVERYWHERE
@pytest.mark.parametrize("pages", [0, 1, 3])
@pytest.mark.parametrize("name", OPENED)
def test_an_empty_memory_gets_a_new_structure(kind, pages, name, tmp_path):
    memory = place_of(kind, tmp_path).memories[0]
    if pages:
        memory.grow(pages)
    opened = OPENED[name](memory)
    assert image(memory)[:3] == MAGICS[name]
    del opened
    other = StableMemory()
    OVERWRITING[name](other)
    assert image(memory).rstrip(b"\0") == image(other).rstrip(b"\0")


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("found", [name for name in NAMES if not name.startswith("log")])
def test_neither_memory_of_a_log_is_overwritten(which, found):
    memories = [StableMemory(), StableMemory()]
    put(found, memories[which])
    before = [image(memory) for memory in memories]
    with pytest.raises(BadMagic):
        StableLog[str](*memories)
    assert [image(memory) for memory in memories] == before


def test_a_log_without_its_data_is_not_begun_anew_but_one_that_was_only_begun_is():
    index, data = StableMemory(), StableMemory()
    StableLog[str](index, data).extend(["a"])
    with pytest.raises(BadMagic, match="the index of a StableLog"):
        StableLog[str](index, StableMemory())
    begun = StableMemory()
    StableLog[str](begun, StableMemory())
    assert list(StableLog[str](begun, StableMemory())) == []


def test_the_default_of_a_cell_is_stored_on_an_empty_memory_only():
    memory = filled(StableMemory(), b"precious")
    with pytest.raises(BadMagic, match="holds text"):
        StableCell[Cbor](memory, {"fee": 10})
    assert memory.read(0, 8) == b"precious"
    assert StableCell[Cbor](StableMemory(), {"fee": 10}).get() == {"fee": 10}


def test_what_lies_on_pages_of_another_is_seen_through_restrictions_and_managers():
    base = StableMemory()
    base.grow(4)
    StableVec[u64](RestrictedMemory(base, range(2, 4))).push(1)
    with pytest.raises(BadMagic, match="at byte 0x20000"):
        MemoryManager(base)
    StableVec[u64](RestrictedMemory(base, range(2)))
    manager = MemoryManager(StableMemory(), bucket_pages=1)
    inner = manager.get(1)
    inner.grow(3)
    manager.get(2).grow(1)
    inner.grow(1)
    inner.write(4 * PAGE_SIZE - 1, b"x")
    with pytest.raises(BadMagic, match="at byte 0x3ffff"):
        StableBTreeMap[u64, u64](inner)


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_holes_of_a_large_file_are_not_read(tmp_path, durability):
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(20 << 30)
    start = time.perf_counter()
    with StableMemory.open(path, durability=durability) as memory:
        MemoryManager(memory).get(7).grow(1)
    assert time.perf_counter() - start < 5
    with path.open("r+b") as file:
        file.truncate(0)
        file.truncate(20 << 30)
        file.seek((20 << 30) - 1)
        file.write(b"x")
    with StableMemory.open(path, durability=durability) as memory, pytest.raises(BadMagic, match="at byte 0x4ffff"):
        MemoryManager(memory)


def test_a_file_that_was_written_to_since_is_read(tmp_path):
    with StableMemory.open(tmp_path / "a.bin") as memory:
        memory.grow(3)
        memory.write(2 * PAGE_SIZE + 5, b"x")
        with pytest.raises(BadMagic, match="at byte 0x20005"):
            MemoryManager(memory)
        memory.write(2 * PAGE_SIZE + 5, b"\0")
        MemoryManager(memory)


def test_an_anonymous_memory_of_any_size_that_was_never_written_is_empty():
    memory = StableMemory()
    memory.grow(2_000_000)
    start = time.perf_counter()
    StableBTreeMap[u64, str](memory)
    assert time.perf_counter() - start < 1


class MostlyZeros(ListMemory):
    """Holds its first page only; nothing is written behind it."""

    pages = 0

    def size(self) -> int:
        return self.pages

    def grow(self, pages: int, /) -> int:
        self.data = self.data or bytearray(PAGE_SIZE)
        self.pages += pages
        return self.pages - pages

    def read(self, offset: int, length: int, /) -> bytes:
        return bytes(self.data[offset : offset + length]).ljust(length, b"\0")


@pytest.mark.parametrize("make", [StableMemory, MostlyZeros])
def test_more_zeros_than_are_read_are_no_empty_memory(make):
    memory = make()
    memory.grow(4096)
    memory.write(0, b"\0")
    manager = MemoryManager(memory)
    manager.into_memory()
    memory.write(0, bytes(34848))
    memory.grow(1)
    with pytest.raises(BadMagic, match=r"256 MiB of zeros.*\.new\(memory\)"):
        MemoryManager(memory)
    MemoryManager.new(memory)


def test_opening_for_reading(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(PAGE_SIZE))
    with StableMemory.open(path, "r") as memory, pytest.raises(ReadOnly):
        StableVec[u64](memory)
    path.write_bytes(b"SQLite format 3\0".ljust(PAGE_SIZE, b"\0"))
    with StableMemory.open(path, "r") as memory, pytest.raises(BadMagic, match="SQLite"):
        StableVec[u64](memory)


@pytest.mark.parametrize("found", [name for name in NAMES if name != "backup" and not name.startswith("zeros")])
def test_a_backup_overwrites_nothing_but_a_backup(found):
    memory = StableMemory()
    put(found, memory)
    before = image(memory)
    with pytest.raises(BadMagic, match="nothing was written"):
        backup(memory, [1])
    with pytest.raises(ValueError, match="restore"):
        restore(memory)
    assert image(memory) == before
    memory.write(0, bytes(4))
    backup(memory, [1])
    backup(memory, [2])
    assert restore(memory) == [2]


BASILISK = """
from basilisk import StableBTreeMap, StableCell, StableLog, update, nat64

@update
def use() -> None:
    StableBTreeMap[str, nat64](memory_id=1).insert("a", 1)
    StableCell(memory_id=2, default_value=5).get()
    StableLog(3, 4).append(1)
"""
KYBRA = """
from kybra import StableBTreeMap, update, nat64
table = StableBTreeMap[str, nat64](memory_id=1, max_key_size=40, max_value_size=40)

@update
def use() -> None:
    table.insert("a", 1)
"""


@pytest.mark.parametrize(("source", "ids"), [(BASILISK, (1, 2, 3, 4)), (KYBRA, (1,))])
def test_the_code_of_a_cdk_overwrites_as_the_platform_does_and_says_so(source, ids):
    if source is KYBRA:
        pytest.importorskip("icp_candid.candid")
    base = StableMemory()
    manager = MemoryManager(base)
    for number in ids:
        filled(manager.get(number), b"SQLite format 3\0")
    canister = Canister.install(source, memory=image(base))
    canister.call("use")
    told = [line for line in canister.logs if "overwritten" in line]
    assert told
    assert all("SQLite" in line for line in told)
    clean = Canister.install(source)
    clean.call("use")
    assert not [line for line in clean.logs if "overwritten" in line]


def test_a_manager_of_a_cdk_is_made_over_what_is_there():
    canister = Canister.install(BASILISK, memory=b"hello, world".ljust(PAGE_SIZE, b"\0"))
    canister.call("use")
    assert any("it holds text; it was overwritten" in line for line in canister.logs)
