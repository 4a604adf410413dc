"""Hostile images: no crash, no hang, bounded memory; what is sound after all is read as it was."""

from __future__ import annotations

import gzip
import random
import struct
import time
import tracemalloc

import pytest

from stable_structures import CorruptMemory, StableMemory, u64
from stable_structures.__main__ import main
from stable_structures.rescue import Fault, NotOwned, SHashSet, SLog, SVec, migrate, open_ism
from stable_structures.rescue.blocks import EMPTY
from stable_structures.rescue.containers import Slots
from stable_structures.rescue.findings import MOST, Findings
from stable_structures.rescue.ownership import Claims
from stable_structures.rescue.saved import PREFIX
from stable_structures.rescue.summary import summary

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


@pytest.mark.parametrize("name", ["log_u64", "bt_u64_u64"])
def test_images_that_end_inside_of_a_word(name):
    data, types = moments(name)[1]
    blocks = open_ism(data, types).blocks
    for start in blocks.starts[:: max(1, len(blocks.starts) // 12)]:
        for kept in range(1, 9):
            look(data[: start + kept], types)


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


class Sparse:
    """Zeros but for a few bytes, of which nobody may ask for much at once."""

    def __init__(self, nbytes, patches):
        self.nbytes, self.patches = nbytes, patches

    def read(self, offset, length):
        assert length <= 32 << 20
        found = bytearray(length)
        for at, data in self.patches.items():
            if offset <= at < offset + length:
                found[at - offset : at - offset + len(data)] = data
        return bytes(found[:length])


@pytest.mark.parametrize(("nbytes", "at", "is_whole"), [(1 << 40, 8, True), (1 << 27, 8, False), (1 << 27, 4096, False)])
def test_of_a_block_that_is_all_of_the_memory_no_more_is_read_than_a_saved_allocator_needs(nbytes, at, is_whole):
    """Size words may come from anybody. Where the rear one is lost, or what lies before the block, the walk goes over all the rest."""
    word = ((nbytes - at - 16) | 1 << 63).to_bytes(8, "little")
    rear = {nbytes - 8: word} if is_whole else {}
    made = summary(Sparse(nbytes, {0: at.to_bytes(8, "little"), at: word, at + 8: PREFIX, **rear}))
    assert made is not None
    assert made.facts["saved keys"] == []
    assert bool(made.damage) is not is_whole


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


def dead_tables(count, bad=()):
    """A vec of tables that can never grow, which is harmless, and at some places of pointers that lead to no block."""
    crate = Allocator()
    crate.roots[1] = crate.allocate(16)
    rows = crate.allocate(16 * count)
    crate.write(crate.roots[1] + 8, rows.to_bytes(8, "little") + count.to_bytes(4, "little") * 2)
    dead = EMPTY.to_bytes(8, "little") + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")
    lost = (12345).to_bytes(8, "little") + dead[8:]
    crate.write(rows + 8, b"".join(lost if place in bad else dead for place in range(count)))
    crate.pre_upgrade()
    return bytes(crate.mem)


@pytest.mark.parametrize("count", [MOST - 1, MOST, MOST + 1, 2 * MOST])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_any_number_of_harmless_findings_hides_no_other(count, place, tmp_path):
    bad = {"first": 0, "middle": count // 2, "last": count - 1}[place]
    with open_ism(dead_tables(count), {1: SVec[SHashSet[u64]]}) as sound:
        assert sound.owned
        assert sound.check() == []
        assert sound.faults() == [Fault.DEAD_TABLE]
    with open_ism(dead_tables(count, {bad}), {1: SVec[SHashSet[u64]]}) as damaged_one:
        assert not damaged_one.owned
        assert len(damaged_one.check()) == 1
        with pytest.raises(NotOwned, match="leads to no block"):
            _ = damaged_one[1]
        with pytest.raises(NotOwned):
            migrate(damaged_one, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_same_finding_is_shown_once(tmp_path, capsys):
    (tmp_path / "image.bin").write_bytes(dead_tables(40, {3, 5}))
    (tmp_path / "ism.toml").write_text('width = 4\n[keys.1]\ntype = "SVec<SHashSet<u64>>"\n', encoding="utf-8")
    assert main(["rescue", str(tmp_path / "image.bin"), "--schema", str(tmp_path / "ism.toml")]) == 1
    shown = [line for line in capsys.readouterr().out.splitlines() if ", byte " in line]
    assert len(shown) == len(set(shown)) == 3
    assert sorted(line.rpartition(" (")[2] for line in shown) == ["2 times)", "2 times)", "38 times)"]


def test_the_findings_that_are_not_shown_are_counted():
    with open_ism(dead_tables(2 * MOST, set(range(10))), {1: SVec[SHashSet[u64]]}) as image:
        assert len(image.check()) == 10
        with pytest.raises(NotOwned, match="; and 7 more"):
            _ = image[1]
    with open_ism(dead_tables(2 * MOST, set(range(MOST + 5))), {1: SVec[SHashSet[u64]]}) as image:
        assert len(image.check()) == MOST
        with pytest.raises(NotOwned, match="; and 1,002 more"):
            _ = image[1]


def test_a_slot_is_reached_as_the_crate_searches():
    rng = random.Random(5)
    for _ in range(300):
        capacity = rng.randrange(1, 12)
        flags = bytes(rng.choice([0, 255, 255]) for _ in range(capacity))
        slots = Slots(flags, capacity, 0, 0)
        for home in range(capacity):
            for index in slots.occupied():
                way = range(home, index if index >= home else index + capacity)
                assert slots.reaches(home, index) == all(flags[step % capacity] for step in way), (flags, home, index)


def test_a_hostile_table_takes_linear_time():
    slots = Slots(b"\xff" * 1_000_000, 1_000_000, 0, 0)
    start = time.process_time()
    assert all(slots.reaches((index + 1) % slots.capacity, index) for index in range(0, slots.capacity, 10))
    assert time.process_time() - start < SECONDS
