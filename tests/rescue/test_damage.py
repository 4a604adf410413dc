"""Hostile images: no crash, no hang, bounded memory; what is sound after all is read as it was."""

from __future__ import annotations

import gzip
import random
import struct
import time
import tracemalloc

import pytest

from stable_structures import CorruptMemory, StableMemory
from stable_structures.rescue import NotOwned, SLog, migrate, open_ism
from stable_structures.rescue.blocks import EMPTY
from stable_structures.rescue.findings import Findings
from stable_structures.rescue.ownership import Claims

from ..support.ism_crate import Allocator
from ..support.ism_damage import damaged, moments

SECONDS = 5
ALLOWED = 64 << 20


def look(data, types, width=4):
    """Everything that can be asked of an image."""
    with open_ism(data, types, width=width) as image:
        image.check()
        image.faults()
        for key in types:
            lost = []
            try:
                contents = image[key]
                list(getattr(contents, "entries", list)())
            except (CorruptMemory, KeyError):
                pass
            try:
                entries = list(image.salvage(key, lost))
            except KeyError:
                continue
            assert len(entries) <= len(data)
        return image.owned


def campaign(rng, count):
    for number in range(count):
        data, types = damaged(rng)
        start = time.process_time()
        try:
            look(data, types, rng.choice((4, 4, 4, 8)))
        except BaseException as error:
            error.add_note(f"image {number}")
            raise
        assert time.process_time() - start < SECONDS


def test_damaged_images():
    campaign(random.Random(1), 300)


@pytest.mark.fuzz
def test_twenty_thousand_damaged_images():
    campaign(random.Random(2), 20_000)


def test_memory_is_bounded():
    rng = random.Random(3)
    cases = [damaged(rng) for _ in range(60)]
    tracemalloc.start()
    try:
        for data, types in cases:
            look(data, types)
        assert tracemalloc.get_traced_memory()[1] < ALLOWED
    finally:
        tracemalloc.stop()


def test_damage_is_migrated_or_refused_and_never_half():
    rng = random.Random(4)
    refused = 0
    for _ in range(150):
        data, types = damaged(rng)
        image = open_ism(data, types)
        memory = StableMemory()
        try:
            migrate(image, memory)
        except CorruptMemory:
            refused += 1
            assert memory.size() == 0
            migrate(open_ism(data, types), StableMemory(), force=True)
    assert 10 < refused < 140


def test_an_input_that_is_cut_off_is_not_owned(tmp_path):
    data, types = moments("bt_u64_u64")[0]
    assert open_ism(data, types).owned
    path = tmp_path / "image.bin.gz"
    path.write_bytes(gzip.compress(data)[:-8])
    with open_ism(path, types) as image:
        assert any("cut off" in one.text for one in image.check())
        with pytest.raises(NotOwned, match="cut off"):
            migrate(image, StableMemory())


def test_elements_of_no_size_are_as_many_as_a_memory_can_have():
    space = Allocator()
    sector = space.allocate(24)
    for i, number in enumerate((EMPTY, EMPTY, 2**63)):
        space.put_word(sector + 8 + 8 * i, number)
    log = struct.pack("<QQQQQQI", 2**63, sector, sector, 0, 2**63, 2**63, 0)
    image = open_ism(bytes(space.mem), {0: SLog[None]})
    claims = Claims(image._heap, "log", Findings())
    image.types[0].own(log, claims)
    assert not claims.sound
