"""What the verbs call things, which entries they show first, and that `shrink` makes nothing larger."""

from __future__ import annotations

import json
import random
from typing import Annotated

import pytest

from stable_structures import (
    PAGE_SIZE,
    Array,
    MemoryManager,
    StableBTreeMap,
    StableBTreeSet,
    StableLog,
    StableMemory,
    StableVec,
    u64,
)
from stable_structures.inspect import Unreadable, check, diff, inspect, open_image, shrink

from ..support.inspect_images import OLD, golden, old, read, traces
from .test_cut import SOUND, run

pytestmark = pytest.mark.usefixtures("without_fsync")


def managed(*numbers: int) -> bytes:
    """A map with entries 100 to 600 in memory 0, a set in memory 1, an empty set in 2, a vec in 3."""
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    StableBTreeMap[u64, str](manager.get(0)).update({i: f"user {i}" for i in range(100, 600)})
    StableBTreeSet[str](manager.get(1)).insert_many([f"key {i}" for i in range(300)] + [f"more {i}" for i in numbers])
    StableBTreeSet[str](manager.get(2))
    StableVec[u64](manager.get(3)).extend(range(1000))
    return read(memory)


def test_the_first_entry_is_that_of_the_smallest_key():
    for count in (1, 11, 12, 100, 30_000):
        memory = StableMemory()
        order = list(range(1000, 1000 + count))
        random.Random(count).shuffle(order)
        StableBTreeMap[u64, u64](memory).insert_many(order, order)
        for deep in (None, True, False):
            found = inspect(memory, deep=deep).memories[0].first
            assert found == [[i, i] for i in range(1000, 1000 + min(count, 2))]


def test_the_first_elements_are_the_first_ones():
    memory, other = StableMemory(), StableMemory()
    StableVec[u64](memory).extend(range(5000))
    assert inspect(memory).memories[0].first == [0, 1]
    manager = MemoryManager(other)
    StableLog[str](manager.get(0), manager.get(1)).extend([f"entry {i}" for i in range(5000)])
    assert inspect(other).memories[0].first == ["entry 0", "entry 1"]


def test_a_set_is_called_a_set(tmp_path):
    a, b = tmp_path / "a.bin", tmp_path / "b.bin"
    a.write_bytes(managed())
    b.write_bytes(managed(1, 2, 3))
    kinds = {one.memory: one.kinds for one in diff(a, b)}
    assert (kinds[0], kinds[1], kinds[3]) == (("map", "map"), ("set", "set"), ("vec", "vec"))
    assert ["set", "set"] in [one["kinds"] for one in json.loads(run("diff", a, b, "--json")[1])]
    assert " set " in run("diff", a, b)[1]
    run("map", a, "-o", tmp_path / "a.html")
    assert '"memory 1: set"' in (tmp_path / "a.html").read_text()
    assert " set " in run("shrink", a, "-o", tmp_path / "small.bin")[1]
    assert " set " in run("repair", a, "-o", tmp_path / "saved.bin")[1]
    assert "memory 1, set" in run("export", a, "--memory", 1, "-o", tmp_path / "set.bin")[1]
    broken = bytearray(a.read_bytes())
    with open_image(a) as image:
        broken[image.part(1).source.physical(20)] ^= 1
    c = tmp_path / "c.bin"
    c.write_bytes(broken)
    assert [one.structure for one in check(c)] == ["set"]


def test_a_set_that_became_empty_is_the_same_kind():
    memory = StableMemory()
    names = StableBTreeSet[str](memory)
    names.insert_many(["one", "three", "two"])
    before = read(memory)
    names.clear()
    found = diff(before, read(memory))[0]
    assert (found.kinds, found.lengths) == (("set", "set"), (3, 0))


def test_maps_with_a_few_values_are_maps():
    memory = StableMemory()
    StableBTreeMap[u64, str](memory).update({i: "x" if i == 2999 else "" for i in range(3000)})
    with open_image(memory) as image:
        assert image.part(None).word == "map"


def test_nothing_in_a_manager_is_called_bare(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(managed())
    found = json.loads(run("inspect", path, "--json")[1])
    assert [one["title"] for one in found["memories"]] == ["a map", "a set, or a map of units", "a map", "a vec"]
    assert "bare" not in run("inspect", path)[1]
    names = StableMemory()
    StableBTreeSet[str](names).insert_many(["one", "three", "two"])
    bare = tmp_path / "bare.bin"
    bare.write_bytes(read(names))
    assert "a bare set: sound" in run("check", bare)[1]
    with open_image(read(StableBTreeMap[u64, u64](StableMemory()).into_memory())) as image:
        assert image.recognition.title == "a bare map"


# ---- shrink ----


@pytest.mark.parametrize("size", [8, 24, 32, 40, 90])
@pytest.mark.parametrize("bounded", [False, True])
def test_shrink_never_makes_a_map_larger(size, bounded, tmp_path):
    """Full nodes of some sizes need one page more than they would fill."""
    value = Annotated[bytes, Array(size)] if bounded else bytes
    for order in ("ascending", "random", "with holes"):
        memory = StableMemory()
        users = StableBTreeMap[u64, value](memory)  # type: ignore[valid-type]
        numbers = list(range(6000))
        if order == "random":
            random.Random(1).shuffle(numbers)
        users.insert_many(numbers, [bytes([i % 256]) * size for i in numbers])
        if order == "with holes":
            for i in range(0, 6000, 2):
                users.remove(i)
        before = memory
        out = tmp_path / f"{order}.bin"
        shrink(before, out)
        assert out.stat().st_size <= before.nbytes
        assert check(out) == []
        assert not diff(before, out)[0].changes


def test_shrink_makes_no_golden_image_larger(tmp_path):
    for name in [one for one in traces() if not one.startswith("log")][::3]:
        out = tmp_path / f"{name}.bin"
        data = golden(name)[0]
        (tmp_path / "in.bin").write_bytes(data)
        shrink(tmp_path / "in.bin", out)
        assert out.stat().st_size <= len(data)
        assert check(out) == []
        (tmp_path / "again.bin").unlink(missing_ok=True)
        shrink(out, tmp_path / "again.bin")
        assert (tmp_path / "again.bin").stat().st_size <= out.stat().st_size
    for name in OLD[:2]:
        (tmp_path / "in.bin").write_bytes(old(name))
        shrink(tmp_path / "in.bin", tmp_path / f"{name}.v1.bin")
        assert (tmp_path / f"{name}.v1.bin").stat().st_size <= len(old(name))


def test_buckets_that_would_make_it_larger_are_refused(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(managed())
    with pytest.raises(Unreadable, match="would become larger"):
        shrink(path, tmp_path / "b.bin", bucket_pages=128)
    assert run("shrink", path, "--bucket-pages", 1, "-o", tmp_path / "b.bin")[0] == SOUND
    assert (tmp_path / "b.bin").stat().st_size <= len(managed())
    assert (tmp_path / "b.bin").stat().st_size >= PAGE_SIZE


def test_a_verdict_says_what_was_not_checked(tmp_path):
    path = tmp_path / "image.bin"
    with StableMemory.open(path) as memory:
        manager = MemoryManager(memory, bucket_pages=1)
        StableBTreeMap[u64, str](manager.get(0))[1] = "a"
        manager.get(5).grow(1)
        manager.get(5).write(0, b"something else")
    code, text, _ = run("check", path)
    assert code == SOUND
    assert text == f"{path}: a memory manager with virtual memories: sound; not checked: memory 5 (not recognised)\n"
    assert run("check", path, "--memory", "0")[1].endswith("virtual memories: sound\n")
    assert json.loads(run("check", path, "--json")[1])["unchecked"] == ["memory 5 (not recognised)"]
