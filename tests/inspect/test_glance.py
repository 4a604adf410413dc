"""`inspect` and `check` at a glance: 80 columns, the most useful facts first, several files, folders, and standard streams."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stable_structures import (
    PAGE_SIZE,
    MemoryManager,
    Principal,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    u64,
)
from stable_structures.__main__ import main
from stable_structures.inspect import check, inspect, open_image, shrink
from stable_structures.inspect.cli.text import Printer
from stable_structures.inspect.formats.layout import BUCKETS

from ..support import command
from ..support.inspect_images import make_dfx, read
from .test_cut import DAMAGED, SOUND, TROUBLE, run

pytestmark = pytest.mark.usefixtures("without_fsync")


def canister(bucket_pages: int = 128) -> StableMemory:
    """Every structure, and a heap's backup, whose title is long; 100 chunks of the map are free."""
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=bucket_pages)
    users = StableBTreeMap[u64, str](manager.get(0))
    users.update({i: f"user {i}" for i in range(2000)})
    for i in range(500, 1500):
        del users[i]
    StableBTreeSet[str](manager.get(1)).insert_many([f"key {i:04}" for i in range(500)])
    StableVec[u64](manager.get(2)).extend(range(20000))
    StableLog[str](manager.get(3), manager.get(4)).extend([f"event {i}" for i in range(100)])
    StableCell[str](manager.get(5), "hello")
    StableMinHeap[u64](manager.get(6)).push_many([5, 3, 9])
    backup = manager.get(7)
    backup.grow(1)
    backup.write(0, (7).to_bytes(4, "little") + b"\xa1dname\x01")
    return memory


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("glance") / "image.bin"
    path.write_bytes(read(canister()))
    return path


# ---- one table ----


def test_a_canister_fits_80_columns(path, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    out = run("inspect", path)[1].splitlines()
    assert max(map(len, out[1:])) <= 80
    table = [i for i, line in enumerate(out) if line.startswith("memory  structure")]
    assert len(table) == 1
    rows = out[table[0] + 1 : table[0] + 12]
    assert [row.split()[:2] for row in rows if row[:6].strip()][:2] == [["0", "map"], ["1", "set"]]


@pytest.mark.parametrize("columns", [72, 100, 200])
def test_a_pipe_respects_columns(path, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    out = run("inspect", path)[1].splitlines()
    start = next(i for i, line in enumerate(out) if line.startswith("memory  structure"))
    assert max(map(len, out[start : start + 12])) <= columns
    folded = [line for line in out[start:] if line and not line[:6].strip()]
    assert bool(folded) == (columns < 200)


@pytest.mark.parametrize("columns", [40, 60, 80])
@pytest.mark.parametrize("words", [(), ("--deep",), ("--memory", "0")])
def test_no_line_is_wider_than_columns(path, columns, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert max(map(len, run("inspect", path, *words)[1].splitlines())) <= columns


def test_details_fit_80_columns_in_a_pipe(tmp_path, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    memory = StableMemory()
    StableBTreeMap[bytes, bytes](MemoryManager(memory).get(0)).update({bytes([i]) * 60: b"\xff" * 200 for i in range(200)})
    (tmp_path / "a.bin").write_bytes(read(memory))
    assert max(map(len, run("inspect", tmp_path / "a.bin", "--deep")[1].splitlines()[1:])) <= 80


def test_details_are_shown_where_they_are_asked_for(path):
    assert "first: " not in run("inspect", path)[1]
    one, deep = run("inspect", path, "--memory", 0)[1], run("inspect", path, "--deep")[1]
    assert "first: 0 -> user 0" in one
    assert "last: 1999 -> user 1999" in one
    assert "memory 1, set" not in one
    for text in ("memory 1, set", "last: key 0499", "last: 19999", "last: event 99", "nodes by depth: ", "0: memory 0"):
        assert text in deep
    assert "more: --memory ID" in run("inspect", path)[1]


def test_no_table_is_wider_than_it_may_be(capsys, monkeypatch):
    columns, rows = (
        ["memory", "rule", "found"],
        [[i, "a rule with " + "words " * i, "\N{CJK UNIFIED IDEOGRAPH-6771}" * i] for i in range(30)],
    )
    for width in (20, 30, 44, 80, 300):
        monkeypatch.setenv("COLUMNS", str(width))
        Printer().table(columns, rows)
        lines = capsys.readouterr().out.splitlines()
        if lines[0].startswith("memory  rule"):
            assert all(len(line) + line.count("\N{CJK UNIFIED IDEOGRAPH-6771}") <= width for line in lines)
        else:
            assert width < 44
        assert "".join(lines).count("words") == sum(range(30))


# ---- the most useful facts ----


@pytest.mark.parametrize("bucket_pages", [1, 16, 128])
def test_used_free_and_never_used_are_all_bytes(bucket_pages, tmp_path):
    memory = canister(bucket_pages)
    for deep in (None, True):
        found = inspect(memory, deep=deep)
        assert found.used + found.free_inside + found.never_used == found.nbytes
        assert all(one.used + one.free_inside + one.never_used == bucket_pages * PAGE_SIZE * one.buckets for one in found.memories)
    users = found.memories[0]
    assert users.free_inside > 20 * 1024
    assert users.last == [[1999, "user 1999"]]
    assert found.memories[6].last == []
    done = shrink(memory, tmp_path / "small.bin", bucket_pages=1)
    if found.shrunk is not None:
        assert found.shrunk_bucket_pages == 1
        assert done.after <= found.shrunk <= done.after + (64 + users.used)
    else:
        assert found.nbytes - done.after < 0.1 * found.nbytes + users.free_inside + users.used


def test_a_bare_structure_is_shrunk_without_buckets():
    memory = StableMemory()
    numbers = StableVec[u64](memory)
    numbers.extend(range(50_000))
    while len(numbers) > 10:
        numbers.pop()
    found = inspect(memory)
    assert (found.shrunk, found.shrunk_bucket_pages) == (PAGE_SIZE, None)
    assert found.used + found.free_inside + found.never_used == found.nbytes
    assert inspect(read(StableVec[u64](StableMemory()).into_memory())).shrunk is None


def test_free_chunks_are_counted_where_they_are_few():
    memory = StableMemory()
    users = StableBTreeMap[u64, u64](memory)
    users.insert_many(list(range(60_000)), list(range(60_000)))
    for i in range(59_000):
        del users[i]
    free = inspect(memory, deep=True).free_inside
    assert free > 1000 * 400
    quick = inspect(memory, deep=False)
    assert quick.memories[0].free_inside is None
    assert quick.used + quick.free_inside + quick.never_used == quick.nbytes


def test_a_manager_that_is_nearly_full_is_said(tmp_path):
    memory = StableMemory()
    MemoryManager(memory, bucket_pages=1).get(0).grow(1)
    tables = bytearray(read(memory))
    for buckets, is_warned in ((int(0.79 * BUCKETS), False), (int(0.8 * BUCKETS) + 1, True), (BUCKETS, True)):
        tables[4:6] = (buckets).to_bytes(2, "little")
        tables[40:48] = buckets.to_bytes(8, "little")
        tables[40 + 8 * 255 : 40 + 8 * 255 + BUCKETS] = bytes(buckets) + b"\xff" * (BUCKETS - buckets)
        path = tmp_path / f"{buckets}.bin"
        path.write_bytes(tables)
        os.truncate(path, PAGE_SIZE * (buckets + 1))
        code, out, _ = run("inspect", path)
        assert code == SOUND
        assert f"{buckets:,} of 32,768 buckets of 1 page" in out
        assert ("buckets are given out (" in out) == is_warned
        assert run("inspect", "--summary", path)[1].count("buckets are given out") == is_warned


# ---- a guess is good enough ----


def test_a_guessed_principal_finds_its_entry(tmp_path):
    memory = StableMemory()
    someone = Principal(bytes(range(28)) + b"\x02")
    StableBTreeMap[Principal, u64](memory).update({Principal(bytes([i]) * 28 + b"\x02"): i for i in range(20)} | {someone: 77})
    path = tmp_path / "image.bin"
    path.write_bytes(read(memory))
    assert run("get", path, "--key", someone)[:2] == (SOUND, "77\n")
    assert run("get", path, "--key", Principal(bytes(28) + b"\x01"))[0] == DAMAGED
    code, _, errors = run("get", path, "--key", "not a principal")
    assert (code, "--key-type" in errors) == (TROUBLE, True)
    assert run("dump", path, "--from", someone, "--limit", 1)[1].startswith(f'{{"key": "{someone}"')


# ---- several files, folders, standard streams ----


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """Of 8 MiB: several blocks of what is read at once, and far more than a pipe holds."""
    path = tmp_path_factory.mktemp("small") / "image.bin"
    path.write_bytes(read(canister(16)))
    return path


@pytest.fixture(scope="module")
def damaged(small) -> Path:
    other = small.with_name("other.bin")
    data = bytearray(small.read_bytes())
    at = data.index(b"BTN\x02", PAGE_SIZE)
    data[at : at + 3] = b"XXX"
    other.write_bytes(data)
    return other


@pytest.mark.parametrize("verb", ["check", "inspect"])
def test_several_files_have_a_heading_each_and_the_worst_exit_code(verb, small, damaged, tmp_path):
    nothing = tmp_path / "nothing.txt"
    nothing.write_text("hello")
    for files, worst in (
        ([small, small], SOUND),
        ([small, damaged, small], DAMAGED),
        ([nothing, small, damaged], TROUBLE),
        ([tmp_path / "absent", small], TROUBLE),
    ):
        code, out, errors = run(verb, *files)
        assert code == worst
        for file in files:
            assert f"{file}: " in out + errors
        listed = json.loads(run(verb, *files, "--json")[1])
        assert len(listed) == len(files)
    assert isinstance(json.loads(run(verb, small, "--json")[1]), dict)


def test_a_folder_is_everything_in_it(small, damaged, tmp_path):
    folder = tmp_path / "canisters"
    make_dfx(tmp_path / "canisters", b"")
    (folder / "metadata.json").unlink()
    for name in ("wasm_module.bin", "wasm_memory.bin"):
        (folder / name).unlink()
    (folder / "b.bin").write_bytes(small.read_bytes())
    (folder / "a.bin.gz").write_bytes(gzip.compress(small.read_bytes(), 1))
    (folder / ".hidden").write_text("x")
    make_dfx(folder / "c", small.read_bytes())
    code, out, _ = run("check", folder)
    assert code == SOUND
    assert [line.split(": ")[0].removeprefix(f"{folder}/") for line in out.splitlines()] == ["a.bin.gz", "b.bin", "c"]
    assert [one["result"] for one in json.loads(run("check", folder, "--json")[1])] == ["sound"] * 3
    (folder / "d.bin").write_bytes(damaged.read_bytes())
    assert run("check", folder)[0] == DAMAGED
    (tmp_path / "empty").mkdir()
    assert run("check", tmp_path / "empty")[0] == TROUBLE


@pytest.mark.parametrize("packed", [False, True])
def test_a_hyphen_is_the_standard_input_and_output(packed, small, tmp_path):
    data = gzip.compress(small.read_bytes(), 1) if packed else small.read_bytes()

    def piped(*words: object, given: bytes = data) -> subprocess.CompletedProcess[bytes]:
        if not packed:
            return command.run_given(words, given, text=False)
        started = [sys.executable, "-m", "stable_structures", *map(str, words)]
        return subprocess.run(started, input=given, capture_output=True, check=False, timeout=60)

    done = piped("check", "-")
    assert (done.returncode, done.stderr) == (SOUND, b"")
    assert done.stdout.startswith(b"standard input: ")
    shrunk = piped("shrink", "-", "--bucket-pages", 1, "-o", "-")
    (tmp_path / "small.bin").write_bytes(shrunk.stdout)
    assert check(tmp_path / "small.bin") == []
    if not packed:
        types = ("--key-type", "u64", "--value-type", "string")
        for form in ("jsonl", "cbor"):
            dumped = piped("dump", "-", "--memory", 0, *types, "--format", form, "-o", "-")
            made = piped("load", "-", "--format", form, *types, "-o", tmp_path / f"{form}.bin", given=dumped.stdout)
            assert made.returncode == SOUND, made.stderr
            with open_image(tmp_path / f"{form}.bin") as image:
                assert inspect(image).memories[0].length == 1000


@pytest.mark.parametrize("words", [[], ["inspect"], ["check"], ["dump"], ["canister"]])
def test_words_that_are_missing_are_said(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == TROUBLE
    errors = capsys.readouterr().err
    assert ("inspect, check, map" if not words else f"stable-structures {words[0]}") in errors
