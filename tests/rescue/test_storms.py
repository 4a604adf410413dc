"""Operations at random, as the crate does them, faults included: the image is read whole, or the fault is named and nothing comes twice."""

from __future__ import annotations

import random
import time

import pytest

from stable_structures import StableMemory
from stable_structures.rescue import Fault, migrate, open_ism
from stable_structures.rescue.trees import CAPACITY

from ..support.ism_crate import Allocator, OutOfMemory
from ..support.ism_storm import Storm
from ..support.ism_traces import annotation, read_back, structure

KINDS = [
    "bt_u64_u64", "bt_boxstr_u64", "bt_boxbytes_boxstr", "bs_u32", "bs_boxstr", "cm", "hm_u64_u64", "hm_boxstr_u64",
    "hm_principal_boxbytes", "hm_tuple_i32", "hs_u32", "hs_boxstr", "vec_boxstr", "vec_struct", "vec_u8", "log_u64", "log_boxbytes", "nest",
]  # fmt: skip


def is_stray(findings):
    """Whether a write through a stale path hit a pointer or the size words of blocks: nothing else may be left that shows the fault."""
    return any(finding.text == "a pointer leads to no block" or "size word" in finding.text for finding in findings)


def look(storm, data, types):
    """Whether the image is whole. What comes out of it is what the structure holds, or a part of it, each entry once."""
    wanted = storm.expected()[0]
    with open_ism(data, types) as image:
        if not [finding for finding in image.check() if finding.ownership]:
            assert read_back(image[0]) == wanted
            return True
        if all("fits width=8, too" in finding.text for finding in image.check() if finding.ownership):
            lost = []
            entries = list(image.salvage(0, lost))
            assert sorted(entries) == sorted(wanted.items() if isinstance(wanted, dict) else wanted)
            assert len(entries) <= CAPACITY  # of one leaf: the first key of a second one would have to be 0, too
            assert lost == []
            return True
        assert image.faults() or is_stray(image.check()), image.check()
        entries = list(image.salvage(0, []))
        keys = [entry[0] if isinstance(entry, tuple) else entry for entry in entries]
        assert storm.is_list or len(set(keys)) == len(keys)
        return False


def is_refused(storm, rng, *, absent):
    """Do one operation; return whether it got no memory."""
    try:
        storm.step(rng, absent=absent)
    except OutOfMemory:
        return True
    return False


def run(name, seed, count):
    """Operate until the crate would trap; look at every tenth moment."""
    rng = random.Random(seed)
    storm = Storm(name, pages=rng.choice((0, 0, 1, 2)))
    absent, refused, whole, cut = rng.random() < 0.5, False, 0, 0
    for number in range(count):
        try:
            refused |= is_refused(storm, rng, absent=absent)
            saved = storm.saved_image() if number % 10 == 0 else None
        except (IndexError, KeyError, ValueError):  # the crate traps here, which only its faults lead to
            assert absent or refused
            break
        if saved is not None:
            sound = look(storm, *saved)
            whole, cut = whole + sound, cut + (not sound)
    return whole, cut


@pytest.mark.parametrize("name", KINDS)
def test_operations_at_random(name):
    assert run(name, 1, 120)[0]


def test_a_saved_allocator_under_other_blocks():
    """A stale path made blocks lie over each other, and the walk of the blocks passes over the one with the saved allocator."""
    rng = random.Random(1166393673)
    storm = Storm("bt_boxstr_u64", pages=rng.choice((0, 0, 1, 2)))
    rng.random()
    for _ in range(561):
        storm.step(rng, absent=True)
    wanted = storm.expected()[0]
    with open_ism(*storm.saved_image()) as image:
        assert image.blocks.index(int.from_bytes(image.blocks.source.read(0, 8), "little")) == -1
        assert image.saved
        lost = []
        entries = list(image.salvage(0, lost))
        assert len(entries) == 11
        assert set(entries) <= set(wanted.items())
        assert len(lost) == len(wanted) - len(entries) + 2  # of the tree, one node, and how many entries it says to have


def test_a_saved_image_gives_at_least_what_its_blocks_give():
    """Leaves that a stale path has cut off are in no node, but they are there."""
    rng, storm, cut = random.Random(1271), Storm("bt_u64_u64", 0), 0
    for step in range(2101):
        storm.step(rng, absent=True)
        if step < 1800 or step % 25:
            continue
        image, types = storm.saved_image()
        wanted, lost = set(storm.expected()[0]), []
        with open_ism(image, types) as saved, open_ism(image, types, saved=False, unchecked=True) as running:
            found = keys(saved.salvage(0, lost))
            carved = {key for one in running.found(0) for key in keys(one.contents.entries([].append))}
        assert found >= wanted & carved
        assert found >= wanted or lost
        cut += any("no node leads to" in one.text for one in lost)
    assert cut


def keys(entries):
    return {one[0] if isinstance(one, tuple) else one for one in entries}


def test_leaves_that_no_node_leads_to_are_read():
    rng, storm = random.Random(1271), Storm("bt_u64_u64", 0)
    for _ in range(2101):
        storm.step(rng, absent=True)
    image, types = storm.saved_image()
    with open_ism(image, types) as saved:
        lost = []
        assert len(dict(saved.salvage(0, lost))) == 204
        assert [one.text for one in lost] == ["a leaf that no node leads to; what the tree does not have is taken from it"]
    with open_ism(image, types | {5: types[0]}) as several:  # a tree that the image does not have: then nobody knows whose leaf it is
        assert len(dict(several.salvage(0, lost))) == 196
        assert "or of another one" in lost[1].text


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", ["hm_u64_u64", "hs_u32"])
def test_keys_that_retain_and_insert_leave_in_two_slots_are_reported_and_read_once(name, seed):
    """The second insert of a key goes into a gap that retain made before it; what lookups find is the newer value."""
    rng, allocator = random.Random(seed), Allocator(0)
    table, size = structure(allocator, name), 8 if name == "hm_u64_u64" else 4
    value = (lambda n: n.to_bytes(8, "little")) if name == "hm_u64_u64" else lambda _: b""
    inserted = rng.sample(range(1, 1 << 32), 20)
    for key in inserted:
        table.insert(key.to_bytes(size, "little"), value(1))
    kept = set(rng.sample(inserted, 16))
    table.retain(kept.__contains__)
    for key in sorted(kept):
        table.insert(key.to_bytes(size, "little"), value(2))
    image, again = saved(allocator, table.header()), len(table.raws()) - len(kept)
    with open_ism(image, {0: annotation(name)}) as found:
        assert (Fault.BROKEN_CHAINS in found.faults()) >= bool(again)
        assert bool(found.check()) >= bool(again)
        lost = []
        wanted = dict.fromkeys(kept, 2) if name == "hm_u64_u64" else kept
        assert read_back(found[0]) == wanted
        assert len(list(found.salvage(0, lost))) == len(kept)
        assert len(lost) == again
        (done,) = migrate(found, StableMemory())
        assert (done.entries, len(done.lost)) == (len(kept), again)


def saved(allocator, header):
    at = allocator.allocate(len(header))
    allocator.write(at + 8, header)
    allocator.roots = {0: at}
    allocator.pre_upgrade()
    return bytes(allocator.mem)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", KINDS)
def test_long_storms(name, seed, duration):
    until = time.monotonic() + duration
    while time.monotonic() < until:
        run(name, seed, 3000)
        seed += 1
