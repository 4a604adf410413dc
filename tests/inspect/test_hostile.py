"""Values that anybody may have written: guesses, dumps and reports end soon, with the bytes, whatever these are."""

from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import cbor2
import pytest

from stable_structures import MemoryManager, StableBTreeMap, StableLog, StableMemory, u64
from stable_structures.encodings.candid import untyped as candid
from stable_structures.encodings.json_form import to_json
from stable_structures.inspect import Unreadable, basilisk, budget, inspect, open_image
from stable_structures.inspect.dump import get, table, write
from stable_structures.inspect.formats.gzipped import _Gzip, unzip
from stable_structures.inspect.rewrite.rewrite import load
from stable_structures.inspect.values import guess, reading_of, shorten
from stable_structures.inspect.writing import OUTPUTS
from stable_structures.storable import parse_type

from ..support import command
from ..support.inspect_images import read
from .test_values import leb

pytestmark = pytest.mark.usefixtures("without_fsync")


def shared(levels: int = 60) -> bytes:
    """A list of two shared lists, of two each, and so on: few bytes, 2**levels items."""
    inner = b"\x81\x01"
    for level in range(levels):
        inner = b"\xd8\x1c\x82" + inner + b"\xd8\x1d" + cbor2.dumps(levels - 1 - level)
    return inner


def shared_key(levels: int = 40) -> bytes:
    """The same as the key of a map, whose hash is asked of every item."""
    return b"\xa1" + shared(levels) + b"\x01"


def empties(levels: int) -> bytes:
    """Candid: records of two records of two records, and so on, of nothing."""
    types = [b"\x6c\x00"] + [b"\x6c\x02\x00" + leb(i) + b"\x01" + leb(i) for i in range(levels)]
    return b"DIDL" + leb(len(types)) + b"".join(types) + b"\x01" + leb(levels)


def vec_of(count: int, part: bytes) -> bytes:
    return b"DIDL\x01\x6d" + part + b"\x01\x00" + leb(count)


SAME_HASH = [(i * (2**61 - 1) % 2**64).to_bytes(8, "big") for i in range(50_000)]
"""Numbers of few different hashes."""

HOSTILE: dict[str, bytes] = {
    "shared": shared(),
    "shared key": shared_key(),
    "cyclic": bytes.fromhex("d81c81d81d00"),
    "cyclic map": bytes.fromhex("d81ca16161d81d00"),
    "shared texts": b"\xd9\x01\x00\x99\xff\xff" + b"\x79\x40\x00" + b"x" * 16384 + b"\xd8\x19\x00" * 65534,
    "deep cbor": b"\x81" * 50_000 + b"\x01",
    "deep cbor maps": b"\xa1\x01" * 50_000 + b"\x01",
    "deep tags": b"\xc6" * 50_000 + b"\x01",
    "colliding keys": b"\xb9\xc3\x50" + b"".join(b"\x1b" + number + b"\x01" for number in SAME_HASH),
    "large number": b"\x81\xc2\x5a\x00\x10\x00\x00" + b"\xff" * (1 << 20),
    "large exponent": b"\x81\xc5\x82\x1b\x00\x00\x00\xff\xff\xff\xff\xff\x01",
    "large decimal": b"\x81\xc4\x82\x1b\x00\x00\x00\xff\xff\xff\xff\xff\x01",
    "rational": b"\x81\xd8\x1e\x82\xc2\x5a\x00\x08\x00\x00" + b"\xff" * (1 << 19) + b"\xc2\x5a\x00\x08\x00\x00" + b"\xfe" * (1 << 19),
    "regular expression": b"\x81\xd8\x23\x78\x1c" + b"(((a{1,500}){1,500}){1,500})"[:28].ljust(28),
    "many items": b"\x9a\x00\x80\x00\x00" + b"\x01" * (8 << 20),
    "no end": b"\x9f" * 1000,
    "nulls": vec_of(2**60, b"\x7f"),
    "empties": empties(60),
    "vec of empties": b"DIDL\x02\x6c\x00\x6d\x00\x01\x01" + leb(2**60),
    "type of itself": b"DIDL\x01\x6c\x02\x00\x00\x01\x00\x01\x00",
    "option of itself": b"DIDL\x01\x6e\x00\x01\x00" + b"\x01" * 100_000,
    "long number": b"DIDL\x00\x01\x7d" + b"\x80" * (2 << 20) + b"\x01",
    "long type": b"DIDL" + b"\x80" * (2 << 20) + b"\x01",
    "many types": b"DIDL" + leb(10_000) + b"\x6e\x7f" * 10_000 + b"\x00",
    "wide types": b"DIDL" + leb(5000) + (b"\x6c" + leb(200) + b"".join(leb(i) + b"\x7f" for i in range(200))) * 5000 + b"\x00",
    "deep json": b"[" * 100_000 + b"]" * 100_000,
    "nearly deep json": b"[" * 900 + b"]" * 900,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "huge int in json": b"[" + b"9" * 1_000_000 + b"]",
    "surrogate in json": b'["\\ud800"]',
    "basilisk nests": b"\x07\0\0\0\1" * 50_000 + b"\x00",
    "basilisk many": b"\x07" + (1 << 22).to_bytes(4, "big") + bytes(1 << 22),
    "basilisk keys": b"\x08" + (50_000).to_bytes(4, "big") + b"".join(b"\x13" + number + b"\0" for number in SAME_HASH),
    "long text": b"x\x01" * (6 << 20),
    "long bytes": bytes(range(256)) * (11 << 12),
}
SOON = 2.0
"""Seconds of the processor for one value; unguarded, most of these take minutes, or all memory there is."""


class Timed:
    def __enter__(self) -> Self:
        self.start = time.thread_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.took = time.thread_time() - self.start


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_value_is_guessed_at_and_shown_soon(name):
    data = HOSTILE[name]
    with Timed() as timed:
        reading = guess([data])
        value = reading.read(data)
        shorten(value)
        json.dumps(to_json(value))
        repr(value)
    assert timed.took < SOON


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_value_beside_good_ones_is_shown_soon(name):
    """The guess is made by the others."""
    data = HOSTILE[name]
    for good in (cbor2.dumps({"a": 1}), bytes.fromhex("4449444c00017b05"), b'{"a": 1}', b"\x04\0\0\0\x05hello"):
        reading = guess([good])
        with Timed() as timed:
            json.dumps(to_json(reading.read(data)))
        assert timed.took < SOON, reading.name


@pytest.mark.parametrize("decode", [candid.decode, basilisk.decode])
@pytest.mark.parametrize("name", HOSTILE)
def test_decoders_raise_for_hostile_bytes_soon_and_nothing_but_a_value_error(decode, name):
    with Timed() as timed, contextlib.suppress(ValueError):
        decode(HOSTILE[name])
    assert timed.took < SOON


def hostile_memory(*names: str) -> StableMemory:
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    log = StableLog[bytes](manager.get(0), manager.get(1))
    users = StableBTreeMap[u64, bytes](manager.get(2))
    for i, name in enumerate(names):
        log.append(HOSTILE[name])
        users.insert(i, HOSTILE[name])
    return memory


SMALL = [name for name, data in HOSTILE.items() if len(data) < 1 << 17]


def test_inspect_ends_soon_and_can_be_shown_as_json():
    with Timed() as timed:
        report = inspect(hostile_memory(*SMALL), deep=True)
        text = json.dumps(to_json(report.to_dict()))
    assert timed.took < 30
    assert "map" in text


def numbers(count: int) -> dict[str, bytes]:
    """Values of as many items, in each encoding that is guessed at."""
    return {
        "CBOR": cbor2.dumps([[i] for i in range(count // 2)]),
        "Candid vec nat": b"DIDL\x01\x6d\x7d\x01\x00" + leb(count) + b"\x05" * count,
        "Basilisk": b"\x07" + count.to_bytes(4, "big") + b"\x00" * count,
        "JSON": b"[" + b"1234567890123456789012345678901," * (2 * count) + b"1]",
        "text": b"0123456789abcdef" * (4 * count),
    }


@pytest.mark.parametrize("name", numbers(1))
def test_a_run_of_guesses_has_a_budget(name, monkeypatch):
    """Whatever it is spent on, after it what is left is bytes."""
    monkeypatch.setattr(budget.Budget.__init__, "__defaults__", (50_000,))
    data, small = numbers(10_000)[name], cbor2.dumps({"name": 1})
    with budget.guessing() as run:
        assert guess([data]).name == name
        assert 40_000 + 50 >= run.left > 0
        for _ in range(3):
            guess([data, data])
        assert (run.left <= 0, guess([small]).name) == (True, "bytes")
    assert guess([small]).name == "CBOR"


def test_a_guess_does_not_depend_on_how_fast_the_machine_is(monkeypatch):
    """An hour passes between any two looks at a clock."""
    clock = iter(range(0, 10**9, 3600))
    for name in ("thread_time", "process_time", "perf_counter", "monotonic", "time"):
        monkeypatch.setattr(time, name, lambda: float(next(clock)))
    with budget.guessing():
        assert [guess([data]).name for data in numbers(1000).values()] == list(numbers(1))


def test_the_whole_budget_is_spent_in_seconds():
    data = numbers(190_000)["Candid vec nat"]
    with budget.guessing() as run, Timed() as timed:
        guess([data, data])
    spent = budget.MOST_LOOKED_AT - run.left
    assert timed.took * budget.MOST_LOOKED_AT / spent < 30


def is_cbor(data: bytes) -> bool:
    """Whether `Cbor` takes it for a value; keys that are shared lists of shared lists take it for ever."""
    with contextlib.suppress(ValueError):
        if data != HOSTILE["shared key"]:
            parse_type("cbor").decode(data)
            return True
    return False


@pytest.mark.parametrize("form", OUTPUTS)
@pytest.mark.parametrize("value", [None, "cbor", "bytes"])
def test_dumps_of_hostile_values_end_and_come_back(form, value, tmp_path):
    pytest.importorskip("pyarrow", reason="an extra; the test extra brings it")
    names = [name for name in SMALL if value != "cbor" or is_cbor(HOSTILE[name])]
    memory = hostile_memory(*names)
    codec = None if value is None else parse_type(value)
    with (tmp_path / f"d.{form}").open("wb") as out:
        write(table(open_image(memory).part(2), {2: (parse_type("u64"), codec)}), form, out)
    load(tmp_path / f"d.{form}", tmp_path / "out.bin", key=parse_type("u64"), value=parse_type(value or "bytes"))
    found = list(table(open_image(tmp_path / "out.bin").part(None), raw=True).rows)
    assert [data for _, data in found] == [HOSTILE[name] for name in names]


def test_get_of_a_hostile_value_gives_its_bytes():
    found = get(open_image(hostile_memory("shared", "cyclic")).part(2), "1")
    assert found is not None
    data, reading = found
    assert reading.read(data) == data == HOSTILE["cyclic"]


def test_a_cyclic_value_of_the_type_that_was_told_is_shown_as_bytes():
    cyclic: list[Any] = [1]
    cyclic.append(cyclic)
    codec = parse_type("cbor")
    data = codec.encode(cyclic)
    assert reading_of(codec).read(data) == data


def test_ordinary_values_of_a_megabyte_are_still_read():
    numbers = list(range(100_000))
    assert guess([cbor2.dumps(numbers)]).read(cbor2.dumps(numbers)) == numbers
    text = json.dumps({str(i): i for i in range(50_000)}).encode()
    assert guess([text]).name == "JSON"
    assert guess([b"line\n" * 200_000]).name == "text"


# ---- from the command line ----


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return command.run(arguments)


LOOK = [["inspect", "--deep"], ["inspect", "--json"], ["dump", "--memory", 2], ["get", "--memory", 2, "--key", 0]]


@pytest.mark.parametrize("verb", LOOK, ids=lambda verb: "".join(map(str, verb[:2])))
def test_verbs_end_soon_and_without_a_traceback(verb, tmp_path):
    path = tmp_path / "image.bin"
    path.write_bytes(read(hostile_memory("shared", "cyclic", "deep cbor", "nulls", "empties")))
    done = run(verb[0], path, *verb[1:])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["shared", "cyclic", "empties", "nulls"])
def test_a_hostile_payload_of_the_whole_memory(name, tmp_path):
    """As `stable_save` and backups of a heap write them: at the start, and behind a length."""
    data = HOSTILE[name]
    for content in (data, len(data).to_bytes(4, "little") + data):
        (tmp_path / "image.bin").write_bytes(content.ljust(65536, b"\0"))
        for verb in (["inspect"], ["inspect", "--json"]):
            done = run(verb[0], tmp_path / "image.bin", *verb[1:])
            assert done.returncode in (0, 1, 2)  # 1: a message that claims more than there is
            assert "Traceback" not in done.stderr


NINES = "9" * 10_000
METADATA = ['{"a":' * 100_000, NINES, f'{{"stable_memory_size": {NINES}}}', f'{{"stable_memory_size": "{NINES}"}}']


@pytest.mark.parametrize("content", METADATA, ids=range(4))
def test_hostile_metadata_of_a_snapshot_are_refused(content, tmp_path):
    (tmp_path / "metadata.json").write_text(content)
    done = run("inspect", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


# ---- gzip ----


def bomb(path: Path, block: bytes, count: int) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as out:
        for _ in range(count):
            out.write(block)
    return path


def test_a_gzip_bomb_is_refused_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("stable_structures.inspect.formats.unnamed._MOST_DATA", 1 << 24)
    path = bomb(tmp_path / "bomb.gz", b"x" * (1 << 20), 64)
    with pytest.raises(Unreadable, match=r"unpacks to more than .* bytes of data"):
        unzip(path)


def test_a_gzip_of_more_zeros_than_a_memory_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("stable_structures.inspect.formats.unnamed.MOST", 1 << 24)
    path = bomb(tmp_path / "bomb.gz", bytes(1 << 20), 64)
    with pytest.raises(Unreadable, match="unpacks to more than"):
        unzip(path)


def test_a_gzip_of_a_memory_that_is_mostly_zeros_is_unpacked(tmp_path, monkeypatch):
    """Zeros are no data: there may be far more of them."""
    monkeypatch.setattr("stable_structures.inspect.formats.unnamed._MOST_DATA", 1 << 20)
    memory = read(hostile_memory("shared"))
    path = tmp_path / "image.gz"
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(memory)
        for _ in range(64):
            out.write(bytes(1 << 20))
    assert path.stat().st_size * _Gzip.most_ratio < 64 << 20  # or they might be data
    with unzip(path) as source:
        assert source.nbytes == len(memory) + (64 << 20)
        assert source.read(0, len(memory)) == memory
