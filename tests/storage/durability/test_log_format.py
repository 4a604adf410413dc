# SPDX-License-Identifier: Apache-2.0
"""What the C core writes into a log is what its picture says, and what the picture says is what it recovers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from stable_structures import StableMemory

from ...support import command
from .log_reader import PAGE, read_log, replay, xxh64

GOLDEN = Path(__file__).parent / "golden"

# Random transactions by a process that ends without closing; prints the digest of each image that it committed.
WRITER = """
import hashlib, os, random, sys
from stable_structures import StableMemory
path, durability, exclusive, seed, count = sys.argv[1], sys.argv[2], sys.argv[3] == "True", int(sys.argv[4]), int(sys.argv[5])
choose = random.Random(seed)
memory = StableMemory.open(path, durability=durability, exclusive=exclusive)
for i in range(count):
    if i % 100 == 99:
        memory.checkpoint()
    try:
        with memory.transaction():
            if memory.size() == 0 or (choose.random() < 0.1 and memory.size() < 6):
                memory.grow(1)
            for _ in range(choose.randrange(1, 6)):
                data = choose.randbytes(choose.choice([1, 50, 5000]))
                memory.write(choose.randrange(memory.nbytes - len(data)), data)
            if choose.random() < 0.1:
                raise ZeroDivisionError
    except ZeroDivisionError:
        continue
    print(hashlib.sha256(memory.read(0, memory.nbytes)).hexdigest(), flush=True)
os._exit(0)
"""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def written(path: Path, durability: str, exclusive: bool, seed: int, count: int) -> list[str]:
    return command.python(WRITER, path, durability, exclusive, seed, count).stdout.split()


def test_the_sum_is_the_specified_one():
    assert xxh64(b"", 0) == 0xEF46DB3751D8E999
    assert xxh64(b"abc", 0) == 0x44BC2CF5AD770999
    assert xxh64(b"Nobody inspects the spammish repetition", 0) == 0xFBCEA83C8A378BF1


@pytest.mark.parametrize(("durability", "exclusive"), [("normal", False), ("full", False), ("full", True)])
def test_a_log_is_what_its_picture_says(tmp_path, seed, durability, exclusive):
    path = tmp_path / "state.bin"
    digests = written(path, durability, exclusive, seed, 20)
    log = read_log((tmp_path / "state.bin-wal").read_bytes())
    image = replay(path.read_bytes(), log)
    assert len(image) % PAGE == 0
    assert digest(image) == digests[-1]
    assert log.inode == path.stat().st_ino
    with StableMemory.open(path) as memory:
        assert memory.read(0, memory.nbytes) == image
    assert path.read_bytes() == image
    assert not (tmp_path / "state.bin-wal").exists()


def test_generations_follow_each_other(tmp_path, seed):
    path = tmp_path / "state.bin"
    digests = written(path, "normal", False, seed, 300)
    log = read_log((tmp_path / "state.bin-wal").read_bytes())
    assert log.generation == 3
    assert digest(replay(path.read_bytes(), log)) == digests[-1]


def test_every_shorter_log_is_an_older_image(tmp_path, seed):
    path = tmp_path / "state.bin"
    digests = written(path, "normal", False, seed, 15)
    log = read_log((tmp_path / "state.bin-wal").read_bytes())
    assert len(log.records) == len(digests)
    for count in range(1, len(digests) + 1):
        log.records, records = log.records[:count], log.records
        assert digest(replay(path.read_bytes(), log)) == digests[count - 1]
        log.records = records


@pytest.mark.parametrize("name", ["normal", "full"])
def test_a_log_of_an_older_build_is_still_understood(tmp_path, name):
    """The golden files: `python tests/storage/durability/make_golden.py` makes them again (only when the format changes)."""
    path = tmp_path / "state.bin"
    path.write_bytes((GOLDEN / name / "state.bin").read_bytes())
    (tmp_path / "state.bin-wal").write_bytes((GOLDEN / name / "state.bin-wal").read_bytes())
    wanted = (GOLDEN / name / "digest.txt").read_text().strip()
    log = read_log((GOLDEN / name / "state.bin-wal").read_bytes())
    assert len(log.records) == 4
    assert digest(replay(path.read_bytes(), log)) == wanted
    with StableMemory.open(path) as memory:
        assert digest(memory.read(0, memory.nbytes)) == wanted


def test_small_commits_of_mode_full_have_a_block_each(tmp_path):
    """Once the log has a block whole, later commits log what differs: whoever syncs each commit writes as little as can be."""
    path = tmp_path / "state.bin"
    with StableMemory.open(path, durability="full") as memory:
        memory.grow(1)
        for i in range(10):
            memory.write(5000, bytes([i] * 104))
        log = read_log((tmp_path / "state.bin-wal").read_bytes())
    assert [contents for _, contents in log.records[2:]] == [{5000: bytes([i] * 104)} for i in range(1, 10)]
    assert log.end // 4096 == 2 + 1 + 2 + 8  # headers; growth; a block and its record; differences but the last
