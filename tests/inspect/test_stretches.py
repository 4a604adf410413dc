# SPDX-License-Identifier: Apache-2.0
"""Elements that are read in blocks are those that are read one by one, in sound rows and in damaged ones."""

from __future__ import annotations

import random
from typing import Any

import pytest

from stable_structures import Blob, MemoryManager, StableLog, StableMemory, StableMinHeap, StableVec, u16, u64
from stable_structures.inspect import open_image
from stable_structures.inspect.formats import sequences
from stable_structures.inspect.formats.layout import Damage
from stable_structures.inspect.formats.sequences import LogReader, SequenceReader, SlotReader
from stable_structures.inspect.source import BytesSource
from stable_structures.principal import Principal

from ..support.inspect_images import read

KINDS = ["log", "vec", "sized vec", "heap", "wide sizes"]


def row_of(kind: str, count: int, rng: random.Random) -> list[bytearray]:
    """The memories of a row with so many elements."""
    if kind == "log":
        index, data = StableMemory(), StableMemory()
        StableLog[bytes](index, data).extend(rng.randbytes(rng.choice([0, 1, 7, 90])) for _ in range(count))
        return [bytearray(read(index)), bytearray(read(data))]
    memory = StableMemory()
    if kind == "vec":
        StableVec[u16](memory).extend(rng.randrange(2**16) for _ in range(count))
    elif kind == "sized vec":
        StableVec[Principal](memory).extend(Principal(rng.randbytes(rng.randrange(30))) for _ in range(count))
    elif kind == "wide sizes":
        StableVec[Blob(300)](memory).extend(rng.randbytes(rng.randrange(301)) for _ in range(count))
    else:
        StableMinHeap[u64](memory).push_many([rng.randrange(2**64) for _ in range(count)])
    return [bytearray(read(memory))]


def reader_of(kind: str, memories: list[bytearray]) -> SequenceReader:
    sources = [BytesSource(bytes(data)) for data in memories]
    return LogReader(*sources) if kind == "log" else SlotReader(sources[0], "heap" if kind == "heap" else "vec")


def found_by(way: Any, start: int, stop: int | None) -> list[Any]:
    """Elements and damage, in the order in which they are found."""
    found: list[Any] = []
    for one in way(start, stop, lambda damage: found.append(str(damage))):
        found.append(one)  # noqa: PERF402 - between the notes
    return found


def damage(memories: list[bytearray], kind: str, rng: random.Random) -> None:
    """Change what says where elements are: ends, sizes, the length."""
    for _ in range(rng.choice([1, 3, 20])):
        data = memories[0]
        at = rng.randrange(4, 64 + 600) if rng.random() < 0.9 else rng.randrange(4, 40)
        data[at] = rng.choice([0, 1, 255, rng.randrange(256)])
    if kind == "log" and rng.random() < 0.5:
        del memories[1][rng.randrange(100, len(memories[1])) :]


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_have_what_is_read_one_by_one(kind, seed, monkeypatch):
    rng, compared = random.Random(f"{seed}{kind}"), 0
    for turn in range(60):
        monkeypatch.setattr(sequences, "BLOCK", rng.choice([64, 100, 2048, 1 << 20]))
        memories = row_of(kind, rng.choice([0, 1, 5, 60, 200]), rng)
        if turn % 3:
            damage(memories, kind, rng)
        try:
            reader = reader_of(kind, memories)
        except Damage:
            continue
        if reader.length > 1 << 16:
            continue  # one by one it takes long
        start = rng.choice([0, 0, rng.randrange(70)])
        stop = rng.choice([None, None, rng.randrange(210)])
        assert found_by(reader.elements, start, stop) == found_by(reader.one_by_one, start, stop)
        compared += reader.stretches() is not None and reader.length > 0
    assert compared > 10


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_raised_where_nobody_takes_notes(kind):
    memories = row_of(kind, 50, random.Random(1))
    at = 40 + 8 * 20 if kind == "log" else 64 + 20 * {"sized vec": 30, "wide sizes": 302}.get(kind, 1)
    memories[0][at : at + 8] = b"\xff" * 8
    reader = reader_of(kind, memories)
    if kind in ("vec", "heap"):
        assert len(list(reader.elements())) == 50
        return
    found = []
    with pytest.raises(Damage):
        found.extend(reader.elements())
    assert [one for one in found_by(reader.one_by_one, 0, None) if not isinstance(one, str)][: len(found)] == found
    assert len(found) >= 19


@pytest.mark.parametrize("name", ["log", "sized vec"])
def test_elements_are_not_read_one_by_one(name, monkeypatch):
    memory = StableMemory()
    manager = MemoryManager(memory)
    if name == "log":
        StableLog[str](manager.get(0), manager.get(1)).extend(map(str, range(20_000)))
    else:
        StableVec[Principal](manager.get(0)).extend(Principal(number.to_bytes(4, "big")) for number in range(20_000))
    reads: list[int] = []
    reader = open_image(memory).part(0).open(None, None)
    usual = type(reader.source).read

    def counted(source: Any, offset: int, length: int) -> bytes:
        reads.append(length)
        return usual(source, offset, length)

    monkeypatch.setattr(type(reader.source), "read", counted)
    assert sum(1 for _ in reader.elements()) == 20_000
    assert len(reads) < 20
