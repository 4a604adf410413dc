"""The core's survey against the readers in plain Python that were there before it: the same findings, the same statistics.

`DAMAGED=100000 pytest -s -m slow tests/inspect/test_survey.py` takes that many images.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest

from stable_structures import (
    PAGE_SIZE,
    Blob,
    Memory,
    MemoryManager,
    Principal,
    StableBTreeMap,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    codec,
    u8,
    u64,
)
from stable_structures.inspect import open_image
from stable_structures.inspect.allowance import Share
from stable_structures.inspect.formats import survey
from stable_structures.inspect.formats.layout import Damage
from stable_structures.inspect.formats.managed import read_manager
from stable_structures.inspect.formats.maps import MapReader
from stable_structures.inspect.formats.survey import MapStats
from stable_structures.inspect.image import Image, Part
from stable_structures.inspect.source import Source
from stable_structures.memory.cached import BLOCK_BYTES, CachedFile

from ..support.examples import examples
from ..support.inspect_images import Patched, read
from ..support.python_sequences import Cell, Log, Sequence, Slots
from ..support.python_tables import Tables, map_problems
from ..support.python_walk import python_check
from .test_damage import Types, flips, images, rounds, wounds


def told(found: list[Damage]) -> Counter[tuple[Any, ...]]:
    return Counter((one.rule, one.address, str(one.found), str(one.expected)) for one in found)


def judged(part: Part, types: tuple[Any, Any]) -> tuple[list[Damage], Any]:
    """What plain Python finds in a memory with a structure, and what it says of its sizes."""
    key, value = types
    data = None if part.data is None else part.data.source
    if part.kind == "map":
        problems = map_problems(part.source)
        reader = MapReader(part.source, key, value)
        reader.problems = problems
        stats, found = python_check(reader)
        return found, asdict(stats)
    if part.kind in ("vec", "heap"):
        sequence: Sequence = Slots(part.source, part.kind, value or key)
    elif part.kind == "cell":
        sequence = Cell(part.source, value or key)
    else:
        sequence = Log(part.source, data, value or key)
    return sequence.check(), (sequence.length, sequence.sizes())


def surveyed(part: Part, types: tuple[Any, Any]) -> tuple[list[Damage], Any]:
    """The same by the core."""
    found: list[Damage] = []
    reader = part.open(*types)
    made = reader.check(found.append)
    return found, asdict(made) if isinstance(made, MapStats) else (reader.length, made)


def outcome(look: Callable[[Part, tuple[Any, Any]], tuple[list[Damage], Any]], part: Part, types: tuple[Any, Any]) -> Any:
    """What it finds, or the rule whose break leaves nothing else to say."""
    try:
        return look(part, types)
    except Damage as damage:
        return [damage], None


def compare_part(part: Part, types: tuple[Any, Any]) -> int:
    """Both say the same of a structure; how many findings there were."""
    found, stats = outcome(judged, part, types)
    new, made = outcome(surveyed, part, types)
    missed, more = told(found) - told(new), told(new) - told(found)
    if any(one.rule.startswith("a key is encoded as") for one in new):
        # Python could not compare what it could not decode; the core compares the bytes, and has reported that they are not of it.
        missed = Counter({key: n for key, n in missed.items() if not key[0].startswith("keys ascend")})
    assert not missed, f"{part.label}: missed {missed} beside {more}"
    assert not more, f"{part.label}: more than there was: {more}"
    if isinstance(stats, dict):
        made = {name: made[name] for name in stats}
    assert made == stats, part.label
    return len(found)


def fatal(open_it: Callable[[Source], Any], source: Source) -> Any:
    """What it opens, or the rule whose break leaves nothing else to say."""
    try:
        return open_it(source)
    except Damage as damage:
        return damage


def compare_tables(image: Image) -> int:
    """Both say the same of a manager's tables, and of how much of each memory is there."""
    found: list[Damage] = []
    new: list[Damage] = []
    tables, manager = fatal(Tables, image.source), fatal(read_manager, image.source)
    if isinstance(tables, Damage) or isinstance(manager, Damage):
        assert told([tables]) == told([manager])
        return 1
    tables.check(found.append)
    manager.check(new.append)
    assert told(found) == told(new)
    assert manager.ids() == tables.ids()
    for memory in tables.ids():
        sizes = tables.there(memory), tables.cut_off(memory), tables.needed(memory)
        assert (manager.memory(memory).nbytes, manager.cut_off(memory), manager.needed(memory)) == sizes, memory
    return len(found)


def compare(memory: Any, types: Types) -> int:
    """Both say the same of everything in a memory; how many findings there were."""
    with open_image(memory) as image:
        count = compare_tables(image) if image.recognition.kind == "manager" else 0
        return count + sum(compare_part(part, types.get(part.id, (None, None))) for part in image.parts.values() if part.is_structure)


# ---- images ----

VALUES: tuple[tuple[Any, Callable[[random.Random], Any]], ...] = (
    (u64, lambda rng: rng.randrange(2**64)),
    (u8, lambda rng: rng.randrange(256)),
    (bool, lambda rng: rng.random() < 0.5),
    (str, lambda rng: "aé€😀"[rng.randrange(4)] * rng.randrange(9)),
    (bytes, lambda rng: rng.randbytes(rng.randrange(30))),
    (Annotated[bytes, Blob(20)], lambda rng: rng.randbytes(rng.randrange(21))),
    (tuple[u64, u8], lambda rng: (rng.randrange(5), rng.randrange(256))),
    (Principal, lambda rng: Principal(rng.randbytes(rng.randrange(30)))),
)


def filled(structure: str, memories: list[Memory], element: Any, values: list[Any]) -> None:
    if structure == "map":
        StableBTreeMap[element, element](memories[0]).update(zip(values, reversed(values), strict=True))
    elif structure == "vec":
        StableVec[element](memories[0]).extend(values)
    elif structure == "heap":
        StableMinHeap[element](memories[0]).push_many(values)
    elif structure == "cell":
        StableCell[element](memories[0], values[0])
    else:
        StableLog[element](memories[0], memories[1]).extend(values)


@cache
def small_images() -> list[tuple[str, bytes, Types]]:
    """Every structure with every type, bare and in a manager; all that means something lies near the beginning of a memory."""
    made: list[tuple[str, bytes, Types]] = []
    rng = random.Random(14)
    for number, (element, draw) in enumerate(VALUES):
        base, types = StableMemory(), Types()
        manager = MemoryManager(base, bucket_pages=1 + number % 3)
        for place, structure in enumerate(("map", "vec", "heap", "cell", "log")):
            if structure in ("vec", "heap") and codec(element).bound.max_size is None:
                continue
            values = [draw(rng) for _ in range(rng.choice([1, 7, 40]))]
            told = (codec(element), codec(element)) if structure == "map" else (None, codec(element))
            filled(structure, [manager.get(2 * place), manager.get(2 * place + 1)], element, values)
            types[2 * place] = told
            if structure != "log":
                bare = StableMemory()
                filled(structure, [bare], element, values)
                made.append((f"{structure} of {codec(element).name}", read(bare), {None: told}))
        made.append((f"a manager with {codec(element).name}", read(base), types))
    return made


def numbers_of(data: bytes, rng: random.Random) -> tuple[int, bytes]:
    """Another number, somewhere in the headers or the first elements of a memory, or in the manager's tables."""
    page = rng.randrange(len(data) // PAGE_SIZE) * PAGE_SIZE
    tables = rng.choice([4, 6, rng.randrange(8, 40), 40 + 8 * rng.randrange(12), 2080 + rng.randrange(20)])
    at = tables if page == 0 and data.startswith(b"MGR") else page + rng.choice([3, 4, 12, 16, 32, rng.randrange(200), rng.randrange(900)])
    old = int.from_bytes(data[at : at + 8], "little")
    size = rng.choice([1, 1, 2, 4, 8])
    new = rng.choice(
        [0, 1, old + 1, old - 1, old * 2, 255, 65_536, 2**31, 2**64 - 1, len(data), rng.randrange(2**16), rng.randrange(2**64)]
    )
    return at, (new % 2 ** (8 * size)).to_bytes(size, "little")


def damaged(rng: random.Random) -> tuple[Any, Types, str]:
    choice = rng.random()
    if choice < 0.2:
        kind, number, at, new = next(flips(rng))
        name, data, types = images()[number]
        return Patched(data, {at: new}), rng.choice([{}, types]), f"{name}: {kind} at {at}"
    name, data, types = rng.choice(images() if choice < 0.4 else small_images())
    changed = dict(numbers_of(data, rng) for _ in range(rng.choice([1, 1, 2, 5])))
    memory = wounds(rng, data) if choice < 0.7 else Patched(data, changed)
    other = {id_: rng.choice(list(types.values())) for id_ in types}
    return memory, rng.choice([{}, types, other]), f"{name}: {list(memory.patches.items())[:5]}, {memory.pages} pages"


def compare_some(rng: random.Random, count: int) -> int:
    total = 0
    for _ in range(count):
        memory, types, words = damaged(rng)
        try:
            total += compare(memory, types)
        except BaseException as error:
            error.add_note(words)
            raise
    return total


def test_sound_images_have_the_same_statistics():
    for _, data, types in [*images(), *small_images()]:
        assert compare(Patched(data, {}), {}) == 0
        assert compare(Patched(data, {}), types) == 0


def test_a_survey_finds_what_the_walk_found(seed):
    assert compare_some(random.Random(seed), examples(300)) > 0


@pytest.mark.slow
def test_a_survey_finds_what_the_walk_found_at_length(seed, duration):
    rng, done, total = random.Random(seed), 0, 0
    for done in rounds(duration, 50):  # noqa: B007 - told below
        total += compare_some(rng, 50)
    sys.stdout.write(f"\n{done + 50} damaged images, {total} findings: the same\n")


# ---- order of reading ----


def bytes_read(path: Path, cache: int, room: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How often a file is asked by a check, and for how many bytes."""
    monkeypatch.setattr(survey, "share", lambda: Share(cache, room))
    with open_image(path) as image, path.open("rb") as file:
        nbytes = image.source.nbytes
        memory = CachedFile(file.fileno(), nbytes, cache=cache)
        reader = image.part(None).open()
        assert isinstance(reader, MapReader)
        monkeypatch.setattr(reader.source, "memory", lambda: memory)
        monkeypatch.setattr(type(reader.source), "cheap_bytes", 0 if room else nbytes)
        found: list[Damage] = []
        assert reader.check(found.append).entries == reader.length
        assert found == []
        return memory.usage()


def test_a_check_of_a_map_of_twenty_times_the_cache_reads_the_file_three_times_at_most(monkeypatch, tmp_path):
    path = tmp_path / "map.bin"
    with StableMemory.open(path) as memory:
        keys = np.random.default_rng(1).permutation(420_000).astype(np.uint64)
        StableBTreeMap[u64, u64](memory).insert_many(keys, keys)
    size = path.stat().st_size
    cache = size // 20 // BLOCK_BYTES * BLOCK_BYTES
    requests, nbytes = bytes_read(path, cache, 96 << 20, monkeypatch)
    sys.stdout.write(f"{requests} requests, {nbytes / size:.2f} times the file\n")
    assert nbytes <= 3 * size
