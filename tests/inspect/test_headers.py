"""A magic that is gone, whole or by a bit: found where it is, and what lies behind it is saved; the page tells all that `check` finds."""

from __future__ import annotations

import random

import pytest

from stable_structures import (
    PAGE_SIZE,
    MemoryManager,
    StableBTreeMap,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    u32,
    u64,
)
from stable_structures import open_image as open_structures
from stable_structures.inspect import check, open_image
from stable_structures.inspect.picture.picture import page
from stable_structures.inspect.picture.scene import read_scene
from stable_structures.inspect.repair.salvage import repair

from ..support.places import image

pytestmark = pytest.mark.usefixtures("without_fsync")

MEMORIES = ("map", "vec", "heap", "log index", "log data", "cell")
TEXTS = [f"event {i}" for i in range(50)]


@pytest.fixture
def whole() -> bytearray:
    """An image with each structure, memory i in bucket i of one page."""
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    StableBTreeMap[u64, str](manager.get(0)).update(dict(enumerate(TEXTS)))
    StableVec[u32](manager.get(1)).extend(range(50))
    StableMinHeap[u32](manager.get(2)).push_many(list(range(50)))
    StableLog[str](manager.get(3), manager.get(4)).extend(TEXTS)
    StableCell[str](manager.get(5), "text")
    return bytearray(image(memory))


def place(what: str) -> int:
    return 0 if what == "manager" else PAGE_SIZE * (1 + MEMORIES.index(what))


def entries(path) -> list[object]:
    with open_structures(path) as opened:
        return [dict(opened[0].items()), list(opened[1]), sorted(opened[2]), list(opened[3])]


@pytest.mark.parametrize("what", ["manager", "map", "log index", "log data"])
@pytest.mark.parametrize("how", ["bit 0", "bit 8", "bit 16", "zeros", "others"])
def test_a_magic_that_is_gone_is_found_in_its_place_and_costs_nothing(what, how, whole, seed, tmp_path):
    at = place(what)
    (tmp_path / "whole.bin").write_bytes(whole)
    if how.startswith("bit"):
        bit = int(how.split()[1])
        whole[at + bit // 8] ^= 1
    else:
        whole[at : at + 3] = bytes(3) if how == "zeros" else random.Random(seed).randbytes(3)
    path = tmp_path / "a.bin"
    path.write_bytes(whole)
    assert [found.physical for found in check(path)] == [at]
    rows = repair(path, tmp_path / "out.bin")
    assert not any(row.missing or row.lost for row in rows)
    assert check(tmp_path / "out.bin") == []
    assert entries(tmp_path / "out.bin") == entries(tmp_path / "whole.bin")


@pytest.mark.parametrize("what", ["log index", "log data"])
def test_a_memory_of_something_else_is_not_taken_for_half_of_a_log(what, whole, tmp_path):
    at = place(what)
    whole[at : at + PAGE_SIZE] = random.Random(1).randbytes(PAGE_SIZE)
    path = tmp_path / "a.bin"
    path.write_bytes(whole)
    other = MEMORIES.index(what) ^ 7  # 3 and 4
    with open_image(path) as opened:
        assert (opened.parts[other].index, opened.parts[other].data) == (None, None)
    repair(path, tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes()[at : at + PAGE_SIZE] == whole[at : at + PAGE_SIZE]


@pytest.mark.parametrize("what", ["manager", *MEMORIES])
@pytest.mark.parametrize("offset", [3, 5, 32, 33, 40])
def test_the_page_tells_what_check_finds(what, offset, whole):
    whole[place(what) + offset] ^= 0x41
    with open_image(bytes(whole)) as opened:
        scene = read_scene(opened)
    told = {None: scene.notes} | {one.id: one.notes for one in scene.memories}
    marked = {None: scene.faults} | {one.id: one.faults for one in scene.memories}
    findings = check(bytes(whole))
    assert findings or offset != 3  # the version
    for found in findings:
        assert any(note.startswith(found.rule) or "more; run check" in note for note in told[found.memory]), found
        assert found.address < 0 or found.address in marked[found.memory] or len(marked[found.memory]) == 1000, found
    assert page(scene)
