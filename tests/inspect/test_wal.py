"""A file with a log beside it is shown as its last commit left it, and neither is written."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from stable_structures import PAGE_SIZE, MemoryManager, StableBTreeMap, StableMemory, WalCorrupt, u64
from stable_structures.inspect import check, diff, inspect, open_image, shrink
from stable_structures.inspect.source import Source

from ..storage.durability.log_reader import read_log, replay, xxh64
from ..support import command

# Commits under a manager and ends without closing. With a reader in the way nothing gets from the log into the file.
WRITER = """
import os, random, sys
from stable_structures import *
path, durability, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
choose = random.Random(seed)
memory = StableMemory.open(path, durability=durability, exclusive=durability == "full")
users = StableBTreeMap[u64, str](MemoryManager(memory, bucket_pages=1).get(3))
for i in range(200):
    with memory.transaction():
        for _ in range(choose.randrange(1, 9)):
            users.insert(choose.randrange(3000), "user " * choose.randrange(200))
        if i % 7 == 6:
            users.pop_first()
os._exit(0)
"""


def left_behind(path: Path, durability: str, seed: int) -> dict[str, bytes]:
    """The files that a writer left, by name."""
    command.python(WRITER, path, durability, seed)
    return contents(path.parent)


def contents(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


def recovered(path: Path, files: dict[str, bytes]) -> bytes:
    """What opening for writing makes of them, in another place."""
    path.mkdir()
    for name, data in files.items():
        (path / name).write_bytes(data)
    with StableMemory.open(path / "state.bin") as memory:
        return memory.read(0, memory.nbytes)


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_what_was_committed_is_shown(durability, seed, tmp_path):
    folder = tmp_path / "left"
    folder.mkdir()
    path = folder / "state.bin"
    files = left_behind(path, durability, seed)
    assert set(files) == {"state.bin", "state.bin-wal"}
    assert replay(files["state.bin"], read_log(files["state.bin-wal"])) != files["state.bin"]
    wanted = recovered(tmp_path / "recovered", files)
    with open_image(path) as image:
        assert image.source.read(0, image.source.nbytes) == wanted
        assert of_blocks(image.source) == wanted
        rng = random.Random(seed)
        for _ in range(300):
            start = rng.randrange(len(wanted))
            length = min(rng.choice([1, 100, 5000, 100_000]), len(wanted) - start)
            assert image.source.read(start, length) == wanted[start : start + length]
        assert any("what was committed" in note for note in image.notes)
    assert check(path) == []
    assert all(one.same for one in diff(path, wanted))
    assert inspect(path).memories[0].length == len(StableBTreeMap[u64, str].load(MemoryManager.load(as_memory(wanted)).get(3)))
    shrink(path, tmp_path / "small.bin")
    assert contents(folder) == files


def of_blocks(source: Source) -> bytes:
    made = bytearray(source.nbytes)
    for offset, data in source.blocks():
        made[offset : offset + len(data)] = data
    return bytes(made)


def as_memory(data: bytes) -> StableMemory:
    memory = StableMemory()
    memory.grow(len(data) // PAGE_SIZE)
    memory.write(0, data)
    return memory


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_of_a_log_that_is_cut_off_the_commits_before_are_shown(cut, seed, tmp_path):
    path = tmp_path / "state.bin"
    files = left_behind(path, "normal", seed)
    log = files["state.bin-wal"][: int(8192 + cut * (len(files["state.bin-wal"]) - 8192))]
    (tmp_path / "state.bin-wal").write_bytes(log)
    with open_image(path) as image:
        assert image.source.read(0, image.source.nbytes) == replay(files["state.bin"], read_log(log))


def test_any_byte_of_the_log_may_be_damaged(seed, tmp_path):
    """Other bytes are distinguished from ours by their sums: an older commit is shown, or the file alone."""
    path, rng = tmp_path / "state.bin", random.Random(seed)
    files = left_behind(path, "normal", seed)
    whole = read_log(files["state.bin-wal"])
    for _ in range(60):
        log = bytearray(files["state.bin-wal"])
        log[rng.randrange(len(log)) if rng.random() < 0.8 else rng.randrange(64)] ^= 1 << rng.randrange(8)
        (tmp_path / "state.bin-wal").write_bytes(log)
        with open_image(path) as image:
            shown = image.source.read(0, image.source.nbytes)
            records = int(image.notes[-1].split(", ")[-1].split()[0]) if "what was committed" in image.notes[-1] else 0
        whole.records, kept = whole.records[:records], whole.records
        assert shown == replay(files["state.bin"], whole)
        whole.records = kept


def test_a_log_that_opening_refuses_is_a_finding(seed, tmp_path):
    """Also where the records before the damage are shown over the file: what opening will refuse is never called sound."""
    folder = tmp_path / "left"
    folder.mkdir()
    path, refused = folder / "state.bin", False
    log = left_behind(path, "full", seed)["state.bin-wal"]
    end = len(log.rstrip(b"\0"))
    places = iter(random.Random(seed).sample(range(8192 + (end - 8192) // 4, 8192 + (end - 8192) // 2), 40))
    while not refused:  # not every byte belongs to a record
        at = next(places)
        (folder / "state.bin-wal").write_bytes(log[:at] + bytes([log[at] ^ 0x40]) + log[at + 1 :])
        try:
            recovered(tmp_path / str(at), contents(folder))
        except WalCorrupt:
            refused = True
    assert any("state.bin-wal" in str(one.rule) for one in check(path))


def test_a_log_is_looked_for_beside_the_file_that_a_link_leads_to(seed, tmp_path):
    folder = tmp_path / "left"
    folder.mkdir()
    files = left_behind(folder / "state.bin", "normal", seed)
    (tmp_path / "link.bin").symlink_to(folder / "state.bin")
    with open_image(tmp_path / "link.bin") as image:
        assert image.source.read(0, image.source.nbytes) == replay(files["state.bin"], read_log(files["state.bin-wal"]))


@pytest.mark.parametrize(("field", "number"), [(0, 2**60), (8, 2**60), (8, 0)])
def test_pieces_that_nobody_would_write_are_refused_though_their_sum_is_right(field, number, seed, tmp_path):
    path = tmp_path / "state.bin"
    files = left_behind(path, "normal", seed)
    log, at = bytearray(files["state.bin-wal"]), 8192
    flags, previous, pieces, length = (int.from_bytes(log[at + i : at + i + n], "little") for i, n in ((6, 2), (24, 8), (40, 4), (48, 8)))
    assert flags & 2
    assert pieces
    log[at + 64 + field : at + 72 + field] = number.to_bytes(8, "little")
    end = at + 64 + 16 * pieces + length
    log[at + 56 : at + 64] = xxh64(bytes(log[at : at + 56]) + bytes(8) + bytes(log[at + 64 : end]), previous).to_bytes(8, "little")
    (tmp_path / "state.bin-wal").write_bytes(log)
    with open_image(path) as image:
        assert "are not in order" in image.notes[-1]
        assert image.source.read(0, image.source.nbytes) == files["state.bin"]


def test_a_log_of_another_file_is_not_laid_over_it(seed, tmp_path):
    path = tmp_path / "state.bin"
    left_behind(path, "normal", seed)
    other = as_memory(bytes(64 * PAGE_SIZE))
    StableBTreeMap[u64, u64](other).insert(1, 2)
    path.write_bytes(other.read(0, other.nbytes))
    with open_image(path) as image:
        assert image.source.read(0, image.source.nbytes) == path.read_bytes()
        assert "is not of this file" in " ".join(image.notes)


@pytest.mark.skipif(sys.platform != "linux", reason="only there it is reported")
@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_a_file_that_a_program_writes_is_said_and_not_held_up(durability, tmp_path):
    path = tmp_path / "state.bin"
    with StableMemory.open(path, durability=durability) as memory:
        users = StableBTreeMap[u64, u64](memory)
        with open_image(path) as image:
            assert "for writing at this moment" in image.notes[0]
            users.insert(1, 2)
            memory.sync()
    with open_image(path) as image:
        assert image.notes == []


def test_the_commands_show_what_was_committed(seed, tmp_path):
    path = tmp_path / "state.bin"
    files = left_behind(path, "full", seed)
    done = subprocess.run(
        [sys.executable, "-m", "stable_structures", "dump", path, "--memory", "3", "--key-type", "u64", "--value-type", "string"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TERM": "dumb"},
    )
    saved = as_memory(recovered(tmp_path / "recovered", files))
    users = StableBTreeMap[u64, str].load(MemoryManager.load(saved).get(3))
    assert [json.loads(line)["key"] for line in done.stdout.splitlines()] == list(users)
