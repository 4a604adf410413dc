"""Images packed with zstd: read as they are unpacked; what is wrong with the packing is a finding, and a bomb is refused."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from stable_structures import StableBTreeMap, StableMemory, u64
from stable_structures.inspect import Unreadable, check, inspect, open_image
from stable_structures.inspect.formats.zstd import unzstd

from ..support.inspect_images import make_dfx, read
from .test_cut import DAMAGED, SOUND, TROUBLE, run

pytestmark = pytest.mark.usefixtures("without_fsync")
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"


@pytest.fixture(scope="module")
def image() -> bytes:
    memory = StableMemory()
    rng = random.Random(1)
    StableBTreeMap[u64, bytes](memory).update({i: rng.randbytes(40) for i in range(3000)})
    return read(memory)


def packed(data: bytes, level: int = 3, *, checksum: bool = True) -> bytes:
    return zstandard.ZstdCompressor(level=level, write_checksum=checksum).compress(data)


def content(path: Path) -> bytes:
    with unzstd(path) as source:
        assert source.problems == []
        return source.read(0, source.nbytes)


@pytest.mark.parametrize("level", [1, 3, 19])
def test_frames_one_behind_the_other_are_one_image(level, image, tmp_path):
    path, half, whole = tmp_path / "image.bin.zst", len(image) // 2, packed(image, level)
    for data in (
        whole,
        packed(image[:half], level) + packed(image[half:], level, checksum=False),
        SKIPPABLE + whole + SKIPPABLE + packed(b"", level),
        whole + bytes(1000),
    ):
        path.write_bytes(data)
        assert content(path) == image
        assert check(path) == []
        assert inspect(path).memories[0].length == 3000
    folder = make_dfx(tmp_path / "snapshot", image)
    (folder / "stable_memory.bin").write_bytes(whole)
    assert run("get", path, "--key", 7, "--key-type", "u64")[0] == SOUND


def test_a_file_that_is_cut_off_anywhere_is_said_to_be(image, tmp_path):
    data = packed(image)
    for i, end in enumerate([*range(4, 40), *range(100, len(data), len(data) // 17), len(data) - 1, len(data) - 4]):
        path = tmp_path / f"{i}.zst"
        path.write_bytes(data[:end])
        with unzstd(path) as source:
            assert len(source.problems) == 1
            assert source.problems[0].rule.startswith("a zstd file is not cut off")
            assert source.read(0, source.nbytes) == image[: source.nbytes].ljust(source.nbytes, b"\0")
        code, _, _ = run("check", path)
        assert code == DAMAGED


def test_a_changed_bit_is_never_a_sound_file(image, tmp_path):
    data, rng = packed(image), random.Random(2)
    for i in range(60):
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path = tmp_path / f"{i}.zst"
        path.write_bytes(changed)
        code, out, errors = run("check", path)
        assert code in (DAMAGED, TROUBLE), (i, out, errors)


@pytest.mark.parametrize("tail", [b"x", b"\x28\xb5", b"\x1f\x8b\x08\x00", SKIPPABLE[:7], SKIPPABLE[:9]])
def test_what_follows_the_last_frame_is_said(tail, image, tmp_path):
    path = tmp_path / "image.zst"
    path.write_bytes(packed(image) + tail)
    with open_image(path) as opened:
        assert len(opened.problems) == 1
        assert opened.source.read(0, len(image)) == image


def test_bombs_and_large_windows_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("stable_structures.inspect.formats.unnamed._MOST_DATA", 1 << 22)
    path = tmp_path / "bomb.zst"
    path.write_bytes(packed(b"x" * (64 << 20)))
    with pytest.raises(Unreadable, match=r"unpacks to more than .* bytes of data, which no zstd file of a memory does"):
        unzstd(path)
    parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    writer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path.write_bytes(writer.compress(random.Random(1).randbytes(1000)) + writer.flush())
    with pytest.raises(Unreadable, match="can be unpacked"):
        unzstd(path)


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells the most memory of a process")
def test_a_bomb_takes_little_memory(tmp_path):
    path = tmp_path / "bomb.zst"
    size = 1 << 28  # more than it may take
    path.write_bytes(packed(bytes(size)))
    script = "import sys; from stable_structures.inspect.formats.zstd import unzstd; source = unzstd(sys.argv[1]);"
    script += "status = dict(line.split(':') for line in open('/proc/self/status')); print(source.nbytes, status['VmHWM'].split()[0])"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True, timeout=120)
    nbytes, kibibytes = map(int, done.stdout.split())
    assert nbytes == size
    assert kibibytes < 200 * 1024 < size // 1024


def test_without_the_library_the_extra_is_named(image, tmp_path, monkeypatch):
    path = tmp_path / "image.zst"
    path.write_bytes(packed(image))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setattr("stable_structures.inspect.formats.zstd._ZSTD_IN_PYTHON", (9, 9))
    code, _, errors = run("check", path)
    assert (code, "stable-structures[zstd]" in errors) == (TROUBLE, True)
