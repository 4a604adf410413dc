"""What verbs report, and their help, fits the columns that COLUMNS says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stable_structures import MemoryManager, StableBTreeMap, StableMemory, u64

from ..support import command
from ..support.inspect_images import read


@pytest.fixture(scope="module")
def damaged(tmp_path_factory) -> Path:
    memory = StableMemory()
    StableBTreeMap[u64, str](MemoryManager(memory, bucket_pages=1).get(0)).update({i: f"user {i}" for i in range(3000)})
    data = bytearray(read(memory))
    for found in [*re.finditer(b"BTN\x02", data)][3:300:40]:
        data[found.start()] = 0
    path: Path = tmp_path_factory.mktemp("widths") / "a name of an image that is longer than many.bin"
    path.write_bytes(data)
    return path


VERBS = ["", "inspect", "check", "dump", "load", "diff", "map", "shrink", "repair", "get", "export", "import", "completion"]


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits(verb):
    done = command.run([*verb.split(), "--help"], env={"COLUMNS": "80"})
    assert [line for line in done.stdout.splitlines() if len(line) > 80 and not line.startswith("  stable-structures")] == []


@pytest.mark.parametrize("verb", [["check"], ["inspect"], ["inspect", "--deep"], ["repair"]])
def test_reports_fit(verb, damaged, tmp_path):
    more = ["-o", str(tmp_path / "o")] if verb == ["repair"] else []
    done = command.run([*verb, str(damaged), *more], env={"COLUMNS": "80"})
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []


def test_without_columns_a_line_stays_one(damaged, tmp_path):
    done = command.run(["repair", str(damaged), "-o", str(tmp_path / "o")], env={})
    assert any("lost: a node with keys" in line and line.endswith("42544e") for line in done.stdout.splitlines())
