# SPDX-License-Identifier: Apache-2.0
"""Many canisters as one folder of Parquet files."""

from __future__ import annotations

import json

import pytest

from stable_structures import MemoryManager, StableBTreeMap, StableLog, StableMemory, u64

from ..support import command
from ..support.inspect_images import make_dfx, read

pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
pytestmark = pytest.mark.usefixtures("without_fsync")


@pytest.fixture
def canisters(tmp_path):
    for number, name in enumerate(("ledger", "orders"), 1):
        memory = StableMemory()
        manager = MemoryManager(memory, bucket_pages=1)
        StableBTreeMap[u64, str](manager.get(0)).update({i: f"{name} {i}" for i in range(100 * number)})
        StableLog[str](manager.get(1), manager.get(2)).extend(["a", "b"])
        folder = make_dfx(tmp_path / name, read(memory))
        text = '[memories.0]\nname = "users"\nkey = "u64"\nvalue = "string"\n[memories.1]\nvalue = "string"\n'
        (folder / "memories.toml").write_text(text)
    return tmp_path


def test_each_structure_is_a_file_with_the_names_of_canister_and_memory(canisters):
    out = canisters / "parts"
    done = command.run(["dump", canisters / "ledger", canisters / "orders", "-o", f"{out}/"])
    assert done.returncode == 0, done.stderr
    assert "4 files, 304 rows" in done.stdout
    parts = json.loads((out / "manifest.json").read_text())["parts"]
    assert [(one["canister"], one["memory"], one["structure"], one["rows"]) for one in parts] == [
        ("ledger", "users", "map", 100),
        ("ledger", "1", "log", 2),
        ("orders", "users", "map", 200),
        ("orders", "1", "log", 2),
    ]
    assert sorted(path.name for path in out.iterdir()) == sorted([*(one["file"] for one in parts), "manifest.json"])
    duckdb = pytest.importorskip("duckdb")
    rows = duckdb.read_parquet(f"{out}/*.parquet", union_by_name=True)
    counted = rows.aggregate("canister, memory, count(*)", "canister, memory").fetchall()
    assert sorted(counted) == [("ledger", "1", 2), ("ledger", "users", 100), ("orders", "1", 2), ("orders", "users", 200)]
    polars = pytest.importorskip("polars")
    users = polars.read_parquet(f"{out}/*-users.parquet")
    assert users.columns == ["key", "value", "canister", "memory"]
    assert users.filter((polars.col("key") == 7) & (polars.col("canister") == "orders"))["value"].to_list() == ["orders 7"]


def test_all_or_nothing(canisters):
    (canisters / "bad").write_bytes(b"hello" * 1000)
    before = sorted(path.name for path in canisters.iterdir())
    done = command.run(["dump", canisters / "ledger", canisters / "absent.bin", "-o", canisters / "parts"])
    assert done.returncode == 2
    assert sorted(path.name for path in canisters.iterdir()) == before
    done = command.run(["dump", canisters / "ledger", canisters / "absent.bin", "--keep-going", "-o", canisters / "parts"])
    assert done.returncode == 1
    assert "left out" in done.stderr
    assert len(json.loads((canisters / "parts" / "manifest.json").read_text())["parts"]) == 2
    assert command.run(["dump", canisters / "ledger", canisters / "orders", "-o", canisters / "parts"]).returncode == 2  # it is there


def test_what_does_not_go_together_is_refused(canisters):
    both = ["dump", canisters / "ledger", canisters / "orders"]
    for words in ([], ["-o", "x/", "--format", "csv"], ["-o", "x/", "--memory", "0"], ["-o", "x/", "--limit", "3"]):
        assert command.run([*both, *words]).returncode == 2


@pytest.mark.parametrize("out", ["parts/", "all.sqlite"])
def test_what_is_no_structure_is_said(tmp_path, out):
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    StableBTreeMap[u64, str](manager.get(0)).update({1: "Ada"})
    StableLog[str](manager.get(1), manager.get(2)).extend(["a", "b"])
    for number, content in ((3, b"nobody knows what this is"), (4, b"")):
        manager.get(number).grow(1)
        manager.get(number).write(0, content)
    (tmp_path / "image.bin").write_bytes(read(memory))
    done = command.run(["dump", tmp_path / "image.bin", "-o", f"{tmp_path}/{out}"])
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"stable-structures: {tmp_path}/image.bin: memory 3, not recognised, is not in the dump\n"
