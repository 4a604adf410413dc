"""The core's survey of vecs and heaps finds what Python finds: the same places, the same numbers, whatever is damaged."""

from __future__ import annotations

import random
from typing import Annotated, Any

import pytest

from stable_structures import PAGE_SIZE, Array, Blob, StableMemory, StableMinHeap, StableVec, codec, f64, u8, u16, u64
from stable_structures.inspect.formats.layout import Damage
from stable_structures.inspect.formats.sequences import SlotReader
from stable_structures.inspect.source import BytesSource

from ..support.inspect_images import read
from .test_cut import SOUND, run

Text = Annotated[str, Blob(20)]
TYPES: dict[str, tuple[Any, Any]] = {
    "u64": (u64, lambda rng: rng.randrange(2**64)),
    "u8": (u8, lambda rng: rng.randrange(256)),
    "bool": (bool, lambda rng: rng.random() < 0.5),
    "f64": (f64, lambda rng: rng.uniform(-5, 5)),
    "array": (Annotated[bytes, Array(3)], lambda rng: rng.randbytes(3)),
    "blob": (Annotated[bytes, Blob(20)], lambda rng: rng.randbytes(rng.randrange(21))),
    "wide": (Annotated[bytes, Blob(300)], lambda rng: rng.randbytes(rng.choice([0, 1, 255, 256, 300]))),
    "large": (Annotated[bytes, Blob(70_000)], lambda rng: rng.randbytes(rng.choice([0, 9, 70_000]))),
    "tuple": (tuple[u64, u16], lambda rng: (rng.randrange(5), rng.randrange(2**16))),
}


def image(kind: str, name: str, count: int, rng: random.Random) -> bytes:
    element, draw = TYPES[name]
    memory = StableMemory()
    values = [draw(rng) for _ in range(count)]
    if kind == "vec":
        StableVec[element](memory).extend(values)  # type: ignore[valid-type]
    else:
        StableMinHeap[element](memory).push_many(values)  # type: ignore[valid-type]
    return read(memory)


def findings(data: bytes, kind: str, value: Any, *, in_core: bool) -> list[tuple[Any, ...]] | str:
    found: list[Damage] = []
    try:
        reader = SlotReader(BytesSource(data), kind, value)
        if in_core:
            reader.check(found.append)
        else:
            reader.is_for_core = lambda: False  # type: ignore[method-assign]
            reader.check(found.append)
    except Damage as damage:
        return str(damage)
    return sorted((one.rule, one.address, str(one.found), str(one.expected)) for one in found)


def damaged(data: bytes, rng: random.Random, used: int) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 40])):
        at = rng.randrange(4, min(used, len(data))) if rng.random() < 0.97 else rng.randrange(4, 20)
        changed[at] = rng.choice([0, 1, 2, 127, 128, 255, rng.randrange(256)])
    return bytes(changed) if rng.random() < 0.9 else bytes(changed[: rng.randrange(64, len(changed))])


@pytest.mark.parametrize("kind", ["vec", "heap"])
@pytest.mark.parametrize("name", TYPES)
def test_the_core_finds_what_python_finds(kind, name):
    rng = random.Random(f"{kind} {name}")
    told = codec(TYPES[name][0])
    slot = 4 + (told.bound.max_size or 0)
    for count in (0, 1, 3, 30 if name != "large" else 8):
        data = image(kind, name, count, rng)
        assert findings(data, kind, told, in_core=True) == []
        assert findings(data, kind, None, in_core=True) == findings(data, kind, None, in_core=False)
        for turn in range(5):
            there = data if turn == 0 else data[: 64 + (count + 1000) * slot]  # Python takes long for a page of elements
            broken = damaged(there, rng, 64 + count * slot + 8)
            values = (told, None, codec(u64))
            if int.from_bytes(broken[4:12], "little") > 1000:  # they take turns
                values = values[turn % 3 :][:1]
            for value in values:
                assert findings(broken, kind, value, in_core=True) == findings(broken, kind, value, in_core=False)


def test_a_heap_of_another_order_is_judged_by_the_best_one():
    for order in (lambda i: (2**64 - 1 - i).to_bytes(8, "big"), lambda i: i.to_bytes(8, "big"), lambda i: bytes(i % 7 + 1)):
        memory = StableMemory()
        heap = StableMinHeap[Annotated[bytes, Blob(8)]](memory)
        heap.push_many([b""] * 300)
        data = bytearray(read(memory))
        for i in range(300):
            element = order(i)
            data[64 + 9 * i : 73 + 9 * i] = bytes([len(element)]) + element.ljust(8, b"\0")
        for swapped in (0, 3, 60):
            for _ in range(swapped):
                data[64 + 9 * 200 + 1] ^= 0xFF
            assert findings(bytes(data), "heap", None, in_core=True) == findings(bytes(data), "heap", None, in_core=False)


def test_more_than_are_listed_are_counted():
    memory = StableMemory()
    StableVec[Annotated[bytes, Blob(3)]](memory).extend([b"abc"] * 30_000)
    data = bytearray(read(memory))
    data[64 : 64 + 4 * 30_000 : 4] = b"\x09" * 30_000
    found: list[Damage] = []
    SlotReader(BytesSource(bytes(data)), "vec").check(found.append)
    assert len(found) == 10_001
    assert found[-1].rule == "20,000 more elements are wrong than are listed"
    assert len(data) % PAGE_SIZE == 0


@pytest.mark.parametrize("name", ["blob", "wide", "large"])
@pytest.mark.parametrize("kind", ["vec", "heap"])
def test_a_last_element_whose_slot_ends_behind_the_memory_is_sound(kind, name, tmp_path):
    """The crate, and the core, grow a memory for what is written, not for the whole of the last slot."""
    element = TYPES[name][0]
    most = codec(element).bound.max_size
    assert most is not None
    slot = most + (1 if most < 256 else 2 if most < 65_536 else 4)
    count = (PAGE_SIZE - 64) // slot + 1
    memory = StableMemory()
    values = [b"abc"] * count
    if kind == "vec":
        StableVec[element](memory).extend(values)
    else:
        StableMinHeap[element](memory).push_many(values)
    assert memory.nbytes < 64 + count * slot
    data = read(memory)
    for value in (None, codec(element)):
        assert findings(data, kind, value, in_core=True) == findings(data, kind, value, in_core=False) == []
        reader = SlotReader(BytesSource(data), kind, value)
        assert [one for _, one in reader.elements()] == values
        assert reader.element(count - 1) == b"abc"
    path, small = tmp_path / "image.bin", tmp_path / "small.bin"
    path.write_bytes(data)
    assert run("check", path)[0] == run("dump", path)[0] == run("export", path, "-o", tmp_path / "part.bin")[0] == SOUND
    assert run("inspect", path, "--deep")[0] == run("shrink", path, "-o", small)[0] == SOUND
    assert run("diff", path, small)[0] == run("get", path, "--key", count - 1)[0] == SOUND
    assert run("repair", path, "-o", tmp_path / "saved.bin")[0] == SOUND
    at = 64 + (count - 1) * slot
    for size in (PAGE_SIZE - at, most, most + 1):  # more than is there
        broken = data[:at] + size.to_bytes(slot - most, "little") + data[at + slot - most :]
        assert len(findings(broken, kind, None, in_core=True)) >= 1
        assert findings(broken, kind, None, in_core=True) == findings(broken, kind, None, in_core=False)
