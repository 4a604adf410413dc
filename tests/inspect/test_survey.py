"""The core's survey against the walk in plain Python that was there before it: the same findings, the same statistics.

`DAMAGED=100000 pytest -s -m slow tests/inspect/test_survey.py` takes that many images.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stable_structures import StableBTreeMap, StableMemory, u64
from stable_structures.inspect import open_image
from stable_structures.inspect.formats import survey
from stable_structures.inspect.formats.layout import Damage
from stable_structures.inspect.formats.maps import MapReader
from stable_structures.inspect.source import Unreadable
from stable_structures.memory.cached import BLOCK_BYTES, CachedFile

from ..support.inspect_images import Patched
from ..support.python_walk import python_check
from .test_damage import Types, flips, images, rounds, wounds


def told(found: list[Damage]) -> Counter[tuple[Any, ...]]:
    return Counter((one.rule, one.address, str(one.found), str(one.expected)) for one in found)


def maps_of(memory: Any, types: Types) -> list[tuple[MapReader, MapReader]]:
    """Two readers of each map, since each may learn another order."""
    found = []
    with open_image(memory) as image:
        for part in image.parts.values():
            try:
                pair = [part.open(*types.get(part.id, (None, None))) for _ in range(2)]
            except (Damage, Unreadable):
                continue
            if isinstance(pair[0], MapReader) and isinstance(pair[1], MapReader):
                found.append((pair[0], pair[1]))
    return found


def compare(memory: Any, types: Types) -> int:
    """Both say the same of every map in a memory; how many findings there were."""
    count = 0
    for one, two in maps_of(memory, types):
        stats, found = python_check(one)
        new: list[Damage] = []
        made = two.check(new.append)
        count += len(found)
        missed, more = told(found) - told(new), told(new) - told(found)
        if any(one.rule.startswith("a key is encoded as") for one in new):
            # Python could not compare what it could not decode; the core compares the bytes, and has reported that they are not of it.
            missed = Counter({key: n for key, n in missed.items() if not key[0].startswith("keys ascend")})
        assert not missed, f"missed {missed} beside {more}"
        assert not more, f"more than there was: {more}"
        mine = asdict(made)
        assert {name: mine[name] for name in asdict(stats)} == asdict(stats)
    return count


def damaged(rng: random.Random) -> tuple[Any, Types, str]:
    if rng.random() < 0.3:
        kind, number, at, new = next(flips(rng))
        name, data, types = images()[number]
        memory = Patched(data, {at: new})
        return memory, rng.choice([{}, types]), f"{name}: {kind} at {at}"
    name, data, types = rng.choice(images())
    memory = wounds(rng, data)
    return memory, rng.choice([{}, types]), f"{name}: {[(at, data[:9]) for at, data in memory.patches.items()][:5]}, {memory.pages} pages"


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
    for _, data, types in images():
        assert compare(Patched(data, {}), {}) == 0
        assert compare(Patched(data, {}), types) == 0


def test_a_survey_finds_what_the_walk_found(seed):
    assert compare_some(random.Random(seed), 150) > 0


@pytest.mark.slow
def test_a_survey_finds_what_the_walk_found_at_length(seed, duration):
    rng, done, total = random.Random(seed), 0, 0
    for done in rounds(duration, 50):  # noqa: B007 - told below
        total += compare_some(rng, 50)
    sys.stdout.write(f"\n{done + 50} damaged images, {total} findings of maps: the same\n")


# ---- order of reading ----


def bytes_read(path: Path, cache: int, room: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How often a file is asked by a check, and for how many bytes."""
    monkeypatch.setattr(survey, "_ROOM", room)
    with open_image(path) as image, path.open("rb") as file:
        nbytes = image.source.nbytes
        memory = CachedFile(file.fileno(), nbytes, cache=cache)
        reader = image.part(None).open()
        assert isinstance(reader, MapReader)
        monkeypatch.setattr(reader.source, "memory", lambda: memory)
        reader.source.cheap_bytes = 0 if room else nbytes
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
