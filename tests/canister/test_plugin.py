# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin, run by a pytest of its own."""

from __future__ import annotations

import os

import pytest

from stable_structures import MemoryManager, StableBTreeMap, StableBTreeSet, StableMemory, StableVec, u64
from stable_structures.canister import plugin

from ..support import command

COUNTER = """
from stable_structures.canister import ic, update
count = 0
@update
def inc():
    global count
    count += 1
    ic.stable64_grow(1)
    ic.stable64_write(ic.stable64_size() * 65536 - 4, b"mark")
    return count
"""
TESTS = """
def test_passes(canister, stable_memory):
    stable_memory.grow(1)
    counter = canister("counter.py")
    assert counter.call("inc") == 1
    other = canister(open(__file__.replace("test_it", "counter")).read())
    assert other.call("inc") == 1

def test_fails(canister, stable_memory):
    stable_memory.grow(2)
    stable_memory.write(65536, b"here")
    counter = canister("counter.py", heap="keep")
    assert counter.call("inc") == 2

def test_differs(stable_memory):
    from stable_structures import StableBTreeMap, u64
    numbers = StableBTreeMap[u64, str](stable_memory)
    numbers.update({1: "a", 2: "b", 4: "d"})
    assert numbers == {1: "a", 2: "x", 3: "c"}

def test_closed_after(canister):
    canister("counter.py")
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "counter.py").write_text(COUNTER)
    (tmp_path / "test_it.py").write_text(TESTS)

    def pytest_in(*args):
        if not any(point.name == "stable_structures" for point in _entry_points()):
            args += ("-p", "stable_structures.canister.plugin")
        return command.run_pytest("-q", "-p", "no:cacheprovider", *args, cwd=tmp_path, env={**os.environ, "PYTEST_ADDOPTS": ""})

    return pytest_in


def _entry_points():
    from importlib.metadata import entry_points  # noqa: PLC0415

    return entry_points(group="pytest11")


def test_fixtures_images_and_differences(run, tmp_path):
    done = run("--stable-memory-dir=images")
    assert "2 failed, 2 passed" in done.stdout, done.stdout
    images = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert images == ["test_it.py_test_differs-0.bin", "test_it.py_test_fails-0.bin", "test_it.py_test_fails-1.bin"]
    first, second = ((tmp_path / "images" / f"test_it.py_test_fails-{i}.bin").read_bytes() for i in range(2))
    assert first == bytes(65536) + b"here" + bytes(65532)
    assert second == bytes(65532) + b"mark"
    assert "kept in " in done.stdout
    for line in ("only left:  4: 'd'", "only right: 3: 'c'", "at 2: 'b' != 'x'"):
        assert line in done.stdout


LEAKS = """
import gc, weakref
kept = []

def test_one(canister, stable_memory):
    counter = canister("counter.py")
    kept.extend(map(weakref.ref, (stable_memory, counter, counter.memory)))

def test_after_it():
    gc.collect()
    assert [one() for one in kept] == [None] * 3
"""


def test_pytest_keeps_no_memory_after_its_test(run, tmp_path):
    (tmp_path / "test_it.py").write_text(LEAKS)
    done = run()
    assert "2 passed" in done.stdout, done.stdout


def test_no_images_unless_asked(run, tmp_path):
    assert "1 failed" in run("-k", "test_fails").stdout
    assert not (tmp_path / "images").exists()


def test_an_image_of_a_failed_test_is_one_to_go_on_with(tmp_path):
    memory = StableMemory()
    StableVec[u64](MemoryManager(memory).get(3)).push(7)
    plugin.write_image(memory, tmp_path / "image.bin")
    assert (tmp_path / "image.bin").read_bytes() == memory.read(0, memory.nbytes)
    with StableMemory.open(tmp_path / "image.bin") as again:
        assert list(StableVec[u64].load(MemoryManager.load(again).get(3))) == [7]


def test_differences_of_sets_vectors_and_long_lists():
    def explain(left, right):
        return plugin.pytest_assertrepr_compare(None, "==", left, right)

    letters = StableBTreeSet[str](StableMemory())
    letters.update("ab") if hasattr(letters, "update") else [letters.add(x) for x in "ab"]
    assert explain(letters, {"a", "c"})[1:] == ["only left:  'b'", "only right: 'c'"]
    vec = StableVec[u64](StableMemory())
    vec.extend([1, 2, 3])
    assert explain([1, 5], vec)[1:] == ["lengths 2 != 3", "at 1: 5 != 2"]
    many = StableBTreeMap[u64, u64](StableMemory())
    many.update({n: n for n in range(30)})
    assert explain(many, {})[-1] == "... and 10 more"
    assert explain(many, 5)[1].endswith("!= 5")
    assert plugin.pytest_assertrepr_compare(None, "==", [1], [2]) is None
    assert plugin.pytest_assertrepr_compare(None, "<", vec, vec) is None
