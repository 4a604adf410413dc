"""`diff` of the same entries in another layout: no difference, but said; of what has no entries, the size is content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stable_structures import PAGE_SIZE, MemoryManager, StableBTreeMap, StableMemory, u64

from ..support.inspect_images import read
from .test_cut import DAMAGED, SOUND, canister, run

SAID = "the same entries, laid out in another way"


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, Path]:
    """An image of every structure, whose map has free chunks, and its shrunken form."""
    memory = StableMemory()
    memory.grow(len(canister()) // PAGE_SIZE)
    memory.write(0, canister())
    entries = StableBTreeMap[u64, str](MemoryManager(memory).get(3))
    for number in range(300, 900):
        entries.remove(number)
    image, small = tmp_path / "image.bin", tmp_path / "small.bin"
    image.write_bytes(read(memory))
    assert run("shrink", image, "-o", small, "--bucket-pages", 1, "--memory", 3, "--key-type", "u64", "--value-type", "string")[0] == SOUND
    assert small.stat().st_size < image.stat().st_size
    return image, small


def test_the_same_entries_in_another_layout_are_the_same(images):
    for pair in (images, images[::-1]):
        code, out, _ = run("diff", *pair)
        assert code == SOUND, out
        assert SAID in out
        assert "no difference" in out
    code, out, _ = run("diff", *images, "--json")
    found = {one["memory"]: one for one in json.loads(out)}
    assert code == SOUND
    assert found[3]["notes"] == [SAID]
    assert found[3]["sizes"][0] > found[3]["sizes"][1]
    assert run("diff", images[0], images[0])[1].count(SAID) == 0


def test_one_entry_more_is_a_difference_in_any_layout(images):
    with StableMemory.open(images[1]) as memory:
        StableBTreeMap[u64, str](MemoryManager(memory).get(3))[10**9] = "one more"
    code, out, _ = run("diff", *images)
    assert code == DAMAGED
    assert "one more" in out


def test_bare_structures_in_other_layouts_are_the_same(tmp_path):
    wide, dense = StableMemory(), StableMemory()
    StableBTreeMap[u64, u64](wide).insert_many(list(range(5000)), list(range(5000)))
    dense_map = StableBTreeMap[u64, u64](dense)
    for number in reversed(range(5000)):
        dense_map[number] = number
    paths = tmp_path / "a", tmp_path / "b"
    for path, memory in zip(paths, (wide, dense), strict=True):
        path.write_bytes(read(memory))
    assert read(wide) != read(dense)
    assert run("diff", *paths)[0] == SOUND


def test_the_size_of_a_memory_that_is_not_recognised_is_content(tmp_path):
    paths = tmp_path / "a", tmp_path / "b"
    for path, pages in zip(paths, (2, 3), strict=True):
        memory = StableMemory()
        manager = MemoryManager(memory, bucket_pages=1)
        manager.get(1).grow(pages)
        manager.get(1).write(0, b"something of its own")
        path.write_bytes(read(memory))
    assert run("diff", *paths)[0] == DAMAGED
