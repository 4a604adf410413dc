# SPDX-License-Identifier: Apache-2.0
"""Images of failed tests: whatever tests are called and disks do, the session goes on and no image takes another one's place."""

from __future__ import annotations

import errno
import os
import random
import types

import pytest

from stable_structures import StableMemory
from stable_structures.canister import plugin

from ..support import command

TESTS = """
import pytest

IDS = ["a/b", "a b", "a:b", "a_b", "A_b", "x" * 3000, "x" * 3001, "é", "e", "\\u2028", "..", "", "-0", "a\\nb", "grüße" * 100]

@pytest.mark.parametrize("number", range(len(IDS)), ids=IDS)
def test_it(stable_memory, number):
    stable_memory.grow(1)
    stable_memory.write(0, bytes([number + 1]))
    assert False

class TestA:
    def test_b(self, stable_memory):
        stable_memory.grow(1)
        stable_memory.write(0, b"class")
        assert False

def TestA_test_b(stable_memory):
    stable_memory.grow(1)
    stable_memory.write(0, b"function")
    assert False

test_TestA_test_b = TestA_test_b

@pytest.fixture
def broken(stable_memory):
    stable_memory.grow(1)
    stable_memory.write(0, b"setup")
    raise RuntimeError("the fixture fails")

def test_setup(broken):
    pass
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS)

    def pytest_in(*args, tests=None):
        if tests:
            (tmp_path / "test_it.py").write_text(tests)
        done = command.run_pytest(
            "-q", "-p", "no:cacheprovider", "-W", "ignore", *args, cwd=tmp_path, env={**os.environ, "PYTEST_ADDOPTS": ""}
        )
        assert "INTERNALERROR" not in done.stdout + done.stderr, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return pytest_in


@pytest.mark.parametrize("workers", [0, 2], ids=["one process", "xdist"])
def test_every_failed_test_has_images_of_its_own(run, tmp_path, workers):
    if workers:
        pytest.importorskip("xdist")
    shown = run("--stable-memory-dir=images", *([f"-n{workers}"] if workers else []))
    assert "17 failed" in shown, shown[-2000:]
    assert "1 error" in shown
    found = sorted(path.read_bytes()[:8].rstrip(b"\0") for path in (tmp_path / "images").iterdir())
    assert found == sorted([*(bytes([number + 1]) for number in range(15)), b"class", b"function", b"setup"])
    assert shown.count("kept in images") == 18
    assert all(len(os.fsencode(path.name)) < 200 for path in (tmp_path / "images").iterdir())


KINDS = {
    "a file is there": "file",
    "a file is above": "file/images",
    "too long": "x" * 300,
    "a folder has the image's name": "taken",
    "links in a circle": "circle",
    "not writable": "/proc/images",
    "no folder can be there": "/dev/full/images",
    "a null character": "a\0b",
}


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "taken" / "test_it.py_test_one-0.bin").mkdir(parents=True)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_cannot_be_written_is_told(folders, kind):
    memory = StableMemory()
    memory.grow(1)
    item = types.SimpleNamespace(nodeid="test_it.py::test_one", stash={plugin._USED: [lambda: memory, lambda: memory]})
    lines = list(plugin._keep_images(item, folders / KINDS[kind]))
    assert "memory 0 was not kept in" in lines[0]
    assert len(lines) == 2
    assert not list(folders.rglob("*.part"))


ONE = "def test_one(stable_memory):\n    stable_memory.grow(1)\n    assert False\ndef test_two(): pass\n"


@pytest.mark.parametrize("workers", [0, 2], ids=["one process", "xdist"])
def test_that_is_a_section_of_the_report(run, folders, workers):
    if workers:
        pytest.importorskip("xdist")
    shown = run("--stable-memory-dir=file", *([f"-n{workers}"] if workers else []), tests=ONE)
    assert "1 failed, 1 passed" in shown
    assert "- stable memory -" in shown
    assert f"memory 0 was not kept in file{os.sep}test_it.py_test_one-0.bin: " in shown
    assert (folders / "file").read_text() == ""


def test_a_disk_that_is_full_leaves_nothing(tmp_path, monkeypatch):
    memory = StableMemory()
    memory.grow(3)
    memory.write(65536, b"x")
    (tmp_path / "image.bin").write_bytes(b"the image of before")

    def fail(_memory, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(plugin, "_write_pages", fail)
    with pytest.raises(OSError, match="No space"):
        plugin.write_image(memory, tmp_path / "image.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["image.bin"]
    assert (tmp_path / "image.bin").read_bytes() == b"the image of before"


def test_any_other_fault_of_a_memory_is_a_section_too(run):
    tests = "import pytest, stable_structures.canister.plugin as plugin\n"
    for error in ("MemoryError()", "plugin.Closed('x')", "ValueError('odd')", "stable_structures.MemoryInUse('busy')"):
        tests += f"def test_{abs(hash(error))}(stable_memory, monkeypatch):\n    import stable_structures\n"
        tests += f"    def fail(*_): raise {error}\n    monkeypatch.setattr(plugin, '_write_pages', fail)\n    assert False\n"
    shown = run("--stable-memory-dir=images", tests=tests)
    assert "4 failed" in shown
    assert shown.count("was not kept in") == 3


def test_names_of_images_are_unique_and_bounded(seed):
    rng = random.Random(seed)
    ids = {
        "test_a.py::A::b",
        "test_a.py::A_b",
        "test_a.py::a_b",
        "test_a.py::a::b",
        "a/test_a.py::b",
        "a_test_a.py::b",
        "test_a.py::" + "b" * 500,
    }
    for _ in range(3000):
        ids.add("t.py::t[" + "".join(rng.choices("ab/_:- .[]\u00e9\u0130\udc80", k=rng.randrange(12))) + "]")
    names = {plugin.image_name(one).lower() for one in ids}
    assert len(names) == len(ids)
    assert all(len(name) < 150 and name.isascii() for name in names)
    assert plugin.image_name("test_a.py::test_b") == "test_a.py_test_b"
