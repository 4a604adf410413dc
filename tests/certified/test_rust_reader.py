"""The Rust program of examples/rust reads our certified maps with the crate, and computes the same root hash."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from stable_structures import CertifiedMap, MemoryManager, StableMemory

SOURCE = Path(__file__).parents[2] / "examples" / "rust"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")]


@pytest.fixture(scope="module")
def reader():
    target = Path(os.environ.get("CARGO_TARGET_DIR", SOURCE / "target"))
    command = ["cargo", "build", "--locked", "--quiet", "--manifest-path", str(SOURCE / "Cargo.toml"), "--target-dir", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "failed to download" in done.stderr:
        pytest.skip("crates.io is not reachable")
    assert done.returncode == 0, done.stderr
    return target / "debug" / "certified-reader"


SHAPES = {
    "none": lambda _: [],
    "one": lambda _: ["a"],
    "a bucket": lambda _: [f"k{i}" for i in range(8)],
    "random": lambda r: [r.randbytes(6).hex() for _ in range(3000)],
    "dense": lambda _: [f"{i:05}" for i in range(1000)],
    "one below the other": lambda _: ["a" * i for i in range(70)],
    "text": lambda r: ["".join(r.choices("aäz€\U0001f600", k=r.randint(0, 6))) for _ in range(500)],
}


def printed(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("shape", SHAPES)
def test_the_crate_reads_entries_and_hashes(reader, tmp_path, shape):
    random_ = random.Random(shape)
    path = tmp_path / "image.bin"
    with StableMemory.open(path) as memory:
        manager = MemoryManager(memory)
        m = CertifiedMap[str, str](manager.get(0), manager.get(1))
        keys = SHAPES[shape](random_)
        m.update({key: key[::-1] for key in keys})
        m.remove_many(keys[::3])
        if keys[::3]:
            m[keys[0]] = "again"
        root = m.root_hash().hex()
        known = {key: m[key] for key in random_.sample(list(m), min(len(m), 20))}
    assert printed(reader, path) == f"{root}\n"
    for key, value in known.items():
        assert printed(reader, path, key) == f"{root}\n{value}\n"


def test_the_program_finds_a_changed_value(reader, tmp_path):
    path = tmp_path / "image.bin"
    with StableMemory.open(path) as memory:
        manager = MemoryManager(memory)
        m = CertifiedMap[str, str](manager.get(0), manager.get(1))
        m.update({f"k{i}": "value" for i in range(100)})
    image = bytearray(path.read_bytes())
    image[image.index(b"value")] ^= 1
    path.write_bytes(image)
    done = subprocess.run([reader, path], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "not those of the entries" in done.stderr
