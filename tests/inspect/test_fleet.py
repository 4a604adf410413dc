# SPDX-License-Identifier: Apache-2.0
"""A line for each of many canisters, whatever is wrong with some of them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stable_structures import MemoryManager, StableBTreeMap, StableLog, StableMemory, u64
from stable_structures.inspect.fleet import survey
from stable_structures.inspect.opening import images_in

from ..support import command
from ..support.inspect_images import make_dfx, make_icp, make_juno, read

DAY = 86_400


def image(entries: int) -> bytes:
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    StableBTreeMap[u64, str](manager.get(0)).update({i: f"user {i}" for i in range(entries)})
    StableBTreeMap[u64, u64](manager.get(1)).update({1: 1})
    StableLog[str](manager.get(2), manager.get(3)).extend(["a", "b"])
    return read(memory)


def taken(folder, days: float) -> None:
    path = folder / "metadata.json"
    given = json.loads(path.read_text())
    at = int((datetime.now(UTC) - timedelta(days=days)).timestamp() * 1e9)
    if "snapshotId" in given:
        given["metadata"]["takenAtTimestamp"] = {"__bigint__": str(at)}
    else:
        given["taken_at_timestamp"] = at
    path.write_text(json.dumps(given))


@pytest.fixture
def fleet(tmp_path):
    folder = tmp_path / "canisters"
    folder.mkdir()
    for number, (name, make) in enumerate((("ledger", make_dfx), ("users", make_icp), ("orders", make_juno)), 1):
        taken(make(folder / name, image(number * 100)), number)
    return folder


def run(*words):
    done = command.run(["inspect", *words])
    return done.returncode, done.stdout, done.stderr


def test_one_line_for_each(fleet):
    code, out, _ = run(fleet)
    assert code == 0
    header, *lines, total = out.splitlines()
    assert header.split() == ["canister", "result", "size", "used", "structures", "age"]
    assert [line.split()[0].rpartition("/")[2] for line in lines] == ["ledger", "orders", "users"]
    assert [("log, 2 maps" in line, f" {days} d" in line) for line, days in zip(lines, (1, 3, 2), strict=True)] == [(True, True)] * 3
    assert total.startswith("3 canisters, 3 sound: ")


def test_json_lines(fleet):
    code, out, _ = run(fleet, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [one["entries"] for one in found] == [103, 303, 203]
    assert [one["structures"] for one in found] == [{"map": 2, "log": 1}] * 3
    assert [round(one["age_seconds"] / DAY) for one in found] == [1, 3, 2]
    assert all(one["size"] >= one["used"] > 0 and one["result"] == "sound" and one["warnings"] == [] for one in found)


def test_a_bad_one_does_not_stop_the_others_and_the_worst_is_the_exit_code(fleet):
    data = bytearray(image(100))
    at = data.index(b"BTN\x02", 65536)
    data[at : at + 3] = b"XXX"
    make_dfx(fleet / "broken", bytes(data))
    short = make_dfx(fleet / "short", image(100))
    (short / "stable_memory.bin").write_bytes(image(100)[:-65536])
    code, out, _ = run(fleet, "--json")
    found = {line["file"].rpartition("/")[2]: line for line in map(json.loads, out.splitlines())}
    assert code == 1
    results = {"ledger": "sound", "users": "sound", "orders": "sound", "broken": "damaged", "short": "damaged"}
    assert {name: one["result"] for name, one in found.items()} == results
    assert any("BTN" in text for text in found["broken"]["warnings"])
    (fleet / "no snapshot").mkdir()
    (fleet / "no snapshot" / "metadata.json").write_text("{")
    (fleet / "text").write_bytes(b"hello" * 100)
    code, out, _ = run(fleet)
    assert code == 2
    assert len(out.splitlines()) == 1 + 7 + 1
    assert "7 canisters, 3 sound" in out
    assert any("no snapshot" in line and "unreadable" in line for line in out.splitlines())
    assert any("/text" in line and "not recognised" in line for line in out.splitlines())


def test_several_folders_and_files(fleet, tmp_path):
    (tmp_path / "one.bin").write_bytes(image(10))
    code, out, _ = run(fleet, tmp_path / "one.bin", tmp_path / "absent.bin", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 2
    assert [one["result"] for one in found] == ["sound"] * 4 + ["unreadable"]
    assert found[3]["age_seconds"] is None
    code, out, _ = run(fleet / "users", "--summary", "--json")
    assert (code, json.loads(out)["entries"]) == (0, 203)
    assert "memory" in run(fleet, "--deep")[1]  # all about each


def test_buckets_that_run_out_are_a_warning(tmp_path):
    memory = StableMemory()
    MemoryManager(memory, bucket_pages=1).get(0).grow(27_000)
    with (tmp_path / "full.bin").open("wb") as out:
        out.write(memory.read(0, 65536))
        out.truncate(memory.nbytes)
    [line] = survey([str(tmp_path / "full.bin")])
    assert any("27,000 of 32,768 buckets" in text for text in line.warnings)


def test_progress_is_for_terminals_only(fleet):
    assert run(fleet)[2] == ""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "stable_structures", "inspect", str(fleet)]
    done = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    out, _ = done.communicate(timeout=60)
    seen = b""
    while True:
        try:
            more = os.read(ours, 4096)
        except OSError:
            break
        if not more:
            break
        seen += more
    os.close(ours)
    assert done.returncode == 0
    assert b"canisters" in seen
    assert len(out.splitlines()) == 5


def test_a_folder_that_may_not_be_read_is_a_line_too(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.bin").write_bytes(b"x")
    iterdir = Path.iterdir

    def refuse(path):  # tests run as root, who may read everything
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert images_in(str(tmp_path)) == [str(tmp_path / one) for one in ("closed", "empty", "other.bin")]


def test_an_empty_folder_is_a_line_too(fleet):
    (fleet / "a download that failed").mkdir()
    (fleet / "texts").mkdir()
    (fleet / "texts" / "readme.md").write_text("what these are")
    code, out, _ = run(fleet)
    assert code == 2
    [line] = [line for line in out.splitlines() if "a download that failed" in line]
    assert "unreadable" in line
    assert "texts" not in out
    assert "4 canisters, 3 sound" in out


def test_an_empty_folder_among_several_names_does_not_stop_the_others(fleet, tmp_path):
    (fleet / "empty").mkdir()
    code, out, _ = run(*sorted(fleet.iterdir()), "--json", "--summary")
    assert code == 2
    found = {line["file"].rpartition("/")[2]: line["result"] for line in map(json.loads, out.splitlines())}
    assert found == {"empty": "unreadable", "ledger": "sound", "orders": "sound", "users": "sound"}
    code, out, error = run(*sorted(fleet.iterdir()))
    assert (code, out.count("a memory manager"), error.count("a folder without metadata.json")) == (2, 3, 1)
    code, out, _ = run(fleet / "empty", fleet)
    assert (code, "4 canisters, 3 sound" in out) == (2, False)
    assert "5 canisters, 3 sound" in out  # by its own name, and in the folder
    done = command.run(["dump", fleet / "ledger", fleet / "empty", "--keep-going", "-o", f"{tmp_path}/parts/"])
    assert (done.returncode, "3 files" in done.stdout, "empty: left out" in done.stderr) == (1, True, True)
    assert "without an image or a snapshot" in run(fleet / "empty")[2]
