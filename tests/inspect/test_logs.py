"""What the inspector says of a log is what the core does with it: the same memory, or damage where the core refuses it.

Logs are random: killed writers, one after the other on the same files, then bytes flipped, cut off, zeroed, put elsewhere.
`LOGS=2000 pytest tests/test_inspect_logs.py -k random` takes that many.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from stable_structures import PAGE_SIZE, CorruptMemory, StableMemory, WalCorrupt
from stable_structures.inspect import check, inspect, open_image
from stable_structures.inspect.image import Image

from ..support import command

fsspec = pytest.importorskip("fsspec", reason="the extra 'remote' is not installed")

# Writes to a file and ends without closing it; now and then it makes the commits durable, so that records begin at blocks.
WRITER = """
import os, random, sys
from stable_structures import StableMemory
path, durability, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
choose = random.Random(seed)
memory = StableMemory.open(path, durability=durability, exclusive=durability == "full")
for i in range(choose.randrange(1, 40)):
    with memory.transaction():
        if memory.size() == 0 or choose.random() < 0.1:
            memory.grow(choose.randrange(1, 3))
        for _ in range(choose.randrange(4)):
            data = choose.randbytes(choose.choice([1, 8, 100, 5000]))
            memory.write(choose.randrange(memory.size() * 65536 - len(data)), data)
    if choose.random() < 0.1:
        memory.sync()
    if choose.random() < 0.03:
        memory.checkpoint()
os._exit(0)
"""
LOGS = int(os.environ.get("LOGS", "8"))
WOUNDS = 30


def killed(path: Path, rng: random.Random) -> tuple[bytes, bytes]:
    """File and log after one to three writers that were killed; each but the first recovers."""
    path.parent.mkdir()
    for _ in range(rng.randrange(1, 4)):
        durability = rng.choice(["normal", "normal", "full"])
        command.python(WRITER, path, durability, rng.randrange(10**9))
    return path.read_bytes(), path.with_name(f"{path.name}-wal").read_bytes()


def wounded(log: bytes, used: int, rng: random.Random) -> bytes:
    """Another log; most wounds lie where there are records, in the first `used` bytes."""
    made = bytearray(log)
    kind = rng.randrange(7)
    at = rng.randrange(used)
    if kind < 3:
        made[at if kind else rng.choice([at % 64, 4096 + at % 64, 8192 + at % 64])] ^= 1 << rng.randrange(8)
    elif kind == 3:
        del made[at:]
    elif kind == 4:
        made[at : at + 512] = bytes(len(made[at : at + 512]))
    elif kind == 5:
        start = rng.randrange(used)
        part = made[start : start + rng.randrange(1, 5000)]
        made[at : at + len(part)] = part
    else:
        made[at & ~63 : (at & ~63) + 64] = bytes(len(made[at & ~63 : (at & ~63) + 64]))
    return bytes(made)


def by_core(folder: Path, data: bytes, log: bytes) -> bytes | None:
    """What opening for writing makes of the two files; None where it refuses them."""
    folder.mkdir(exist_ok=True)
    path = folder / "state.bin"
    path.write_bytes(data)
    (folder / "state.bin-wal").write_bytes(log)
    try:
        with StableMemory.open(path) as memory:
            return memory.read(0, memory.nbytes)
    except (WalCorrupt, CorruptMemory):
        return None


def agree(folder: Path, data: bytes, log: bytes) -> bool:
    """Whether core and inspector say the same of the two files, and the inspector leaves them as they are; returns what the core said."""
    wanted = by_core(folder / "core", data, log)
    path = folder / "seen.bin"
    path.write_bytes(data)
    path.with_name("seen.bin-wal").write_bytes(log)
    with open_image(path) as image:
        refused = [one for one in image.problems if one.structure in ("log", image.recognition.kind)]
        shown = image.source.read(0, image.source.nbytes)
    assert bool(refused) == (wanted is None), (refused, wanted is None)
    if wanted is not None:
        assert shown == wanted
    assert (path.read_bytes(), path.with_name("seen.bin-wal").read_bytes()) == (data, log)
    if log.startswith(b"SMWALv01"):  # what else lies there may be a server's page for what it does not have
        agree_from_afar(data, log, shown, image)
    return wanted is not None


def agree_from_afar(data: bytes, log: bytes, shown: bytes, near: Image) -> None:
    """The same file and log on another machine are the same memory, with the same problems."""
    elsewhere = fsspec.filesystem("memory")
    elsewhere.pipe({"/logs/seen.bin": data, "/logs/seen.bin-wal": log})
    try:
        with open_image("memory://logs/seen.bin") as image:
            assert image.source.read(0, image.source.nbytes) == shown
            assert image.problems == near.problems
            assert image.notes == near.notes
            memory = image.source.memory()
            assert memory.read(0, len(shown)) == shown
    finally:
        elsewhere.rm("/logs", recursive=True)


def test_of_random_logs_the_inspector_says_what_the_core_does(seed, tmp_path, quick_path):
    rng, taken, tried = random.Random(seed), 0, 0
    for i in range(LOGS):
        data, log = killed(tmp_path / str(i) / "state.bin", rng)
        assert agree(quick_path, data, log)
        used = max(64, len(log.rstrip(b"\0")))
        for _ in range(WOUNDS):
            tried += 1
            taken += agree(quick_path, data, wounded(log, used, rng))
    assert 0 < taken < tried


@pytest.mark.parametrize("change", ["shorter", "longer", "odd", "empty"])
def test_a_file_that_is_not_the_logs_is_refused_by_both(change, seed, tmp_path):
    rng = random.Random(seed)
    data, log = killed(tmp_path / "a" / "state.bin", rng)
    while len(data) == 0:
        data, log = killed(tmp_path / f"{rng.random()}" / "state.bin", rng)
    other = {"shorter": data[: -PAGE_SIZE * 200], "longer": data + bytes(500 * PAGE_SIZE), "odd": data + b"x", "empty": b""}[change]
    agree(tmp_path, other, log)


def test_a_record_that_is_lost_before_a_durable_one_is_damage_wherever_it_begins(seed, tmp_path):
    """After a kill in mode normal the recovered log is packed: what follows a hole begins at a multiple of 64, not of 4,096."""
    path = tmp_path / "left" / "state.bin"
    path.parent.mkdir()
    for i in range(2):
        command.python(WRITER, path, "normal", seed + i)
    with StableMemory.open(path) as memory:
        memory.grow(1)
    many = WRITER.replace("choose.randrange(1, 40)", "12").replace("choose.random() < 0.03", "False").replace("memory.sync()", "pass")
    for i in range(2):
        command.python(many, path, "normal", seed + 7 + i)
    data, log = path.read_bytes(), path.with_name("state.bin-wal").read_bytes()
    broken = bytearray(log)
    broken[8192 + 64] ^= 1
    assert not agree(tmp_path, data, bytes(broken))
    seen = tmp_path / "seen.bin"
    report = inspect(seen)
    assert any("no record is missing" in one for one in report.damage)
    assert report.damaged
    assert next(one.rule for one in check(seen)).startswith("seen.bin-wal: no record is missing")


def test_a_log_beside_the_file_behind_a_link_counts(seed, tmp_path):
    path = tmp_path / "left" / "state.bin"
    data, log = killed(path, random.Random(seed))
    link = tmp_path / "link.bin"
    link.symlink_to(path)
    with open_image(link) as image:
        assert image.source.read(0, image.source.nbytes) == by_core(tmp_path / "core", data, log)


@pytest.mark.parametrize("what", ["folder", "link", "pipe"])
def test_a_log_that_is_no_file_is_damage(what, tmp_path):
    path = tmp_path / "state.bin"
    with StableMemory.open(path) as memory:
        memory.grow(1)
    log = tmp_path / "state.bin-wal"
    if what == "folder":
        log.mkdir()
    elif what == "link":
        log.symlink_to(tmp_path / "nowhere")
    else:
        os.mkfifo(log)
    with pytest.raises((OSError, WalCorrupt)):
        StableMemory.open(path)
    assert check(path)
    assert inspect(path).damaged
