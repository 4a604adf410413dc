# SPDX-License-Identifier: Apache-2.0
"""The runner of the benchmarks works, at sizes at which it measures nothing; with cargo, our bytes are those of the crate."""

import importlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def part(monkeypatch):
    """A function that imports a module of benches/; behind the rest, so that it meets the same package as the test."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])
    return lambda name: importlib.import_module(f"benches.{name}")


def bench(out, *options):
    command = [sys.executable, "-m", "benches", "--quick", "--out", str(out), *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return json.loads((out / "results.json").read_text(encoding="utf-8"))


def test_a_quick_run_leaves_a_table_numbers_and_plots(tmp_path, part):
    assert part("work").FULL.rounds >= 5
    found = bench(tmp_path, "--no-crate", "--disk", str(tmp_path))
    assert found["failures"] == []
    assert {"map u64 → u64", "set u64", "vec u64", "heap u64", "log of 128 bytes", "cell u64", "transactions"} <= {
        times["group"] for times in found["times"]
    }
    rounds = found["sizes"]["rounds"]
    assert all(
        len(times["ns"]) in {rounds, 3 * rounds} for times in found["times"] if "canisters" not in times["group"]
    )  # the disk gets more
    assert "ours, bulk" in {side for digest in found["digests"] for side in digest["sides"]}
    assert "| single get, u64 → u64 |" in (tmp_path / "results.md").read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.glob("map_u64.*")} == {"map_u64.svg"}
    assert "## A program's work" in (tmp_path / "results.md").read_text(encoding="utf-8")
    work = {(times["operation"], times["contestant"]) for times in found["times"] if times["group"] == "a program's work"}
    forms = ("ours, tuple", "ours, Record", "ours, dataclass", "sqlite3")
    assert {(stage, side) for stage in ("ingest", "change", "ranges", "scan", "analyse") for side in forms} <= work
    assert (tmp_path / "work.svg").exists()


def test_a_side_that_finds_something_else_does_not_count(tmp_path, monkeypatch, part):
    program = part("program")
    monkeypatch.setattr(program.Ours, "scan", lambda _: 1.0)
    results, said = part("measure").Results(), []
    program.measure(replace(part("work").QUICK, rounds=1), tmp_path, "cpu", results, said.append)
    assert results.failures
    assert "scan found different things" in results.failures[0]
    assert not results.times


def test_canisters_are_measured_against_their_aims(tmp_path):
    pytest.importorskip("wasmtime")
    found = bench(tmp_path, "--no-crate", "--only", "canisters", "--rounds", "1")
    assert found["failures"] == []
    times = {(each["operation"], each["contestant"]): each["median"] for each in found["times"]}
    assert len(times) == 8
    aims = [aim for aim in found["aims"] if aim["ratio"] is not None]
    assert len(aims) == 6
    query = next(aim for aim in aims if aim["against"] == "80 µs")
    assert query["ratio"]["value"] == pytest.approx(times["query that does nothing, 2 MiB heap", "ours"] / 80_000)
    assert "## Wasm canisters" in (tmp_path / "results.md").read_text(encoding="utf-8")


def test_hashes_of_a_map_are_measured_against_their_aims(tmp_path):
    found = bench(tmp_path, "--no-crate", "--only", "certified", "--rounds", "1")
    assert found["failures"] == []
    assert len(found["times"]) == 10
    aims = [aim for aim in found["aims"] if aim["ratio"] is not None]
    assert [aim["against"] for aim in aims] == ["the map without hashes", "50 µs"]
    assert "## Certified map" in (tmp_path / "results.md").read_text(encoding="utf-8")


def test_growth_is_measured(tmp_path):
    words = [sys.executable, "-m", "benches.growth", "--entries", "2e3", "--beside", "1e3", "--folder", str(tmp_path)]
    rows = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(rows) == 2 + 13
    assert {cell.strip() for cell in rows[2].split("|")} > {"insert_many", "ns an entry"}
    assert list(tmp_path.iterdir()) == []


def test_the_version_of_the_crate_stands_in_one_place(part):
    crate = part("crate")
    locked = (crate.SOURCE / "Cargo.lock").read_text(encoding="utf-8")
    assert f'name = "ic-stable-structures"\nversion = "{crate.version()}"\n' in locked
    others = [path for path in (ROOT / "benches").rglob("*.py") if crate.version() in path.read_text(encoding="utf-8")]
    assert not others, "the version is read from Cargo.toml"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_the_cost_model_counts_a_lookup(tmp_path):
    model = bench(tmp_path, "--only", "cost")["cost model"]
    levels = next(iter(model["levels"].values()))
    get = next(cost for cost in model["costs"] if cost["operation"] == "map.get")
    assert levels[0]["nodes"] == 1
    assert 1 <= sum(level["lines"] * level["reached"] for level in levels) <= 4 * len(levels)
    assert get["instructions"] is None or 100 < get["instructions"] < 5_000


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
def test_our_bytes_are_those_of_the_crate_after_each_operation(tmp_path):
    found = bench(tmp_path, "--disk", str(tmp_path), "--rounds", "1")
    if not any(times["contestant"] == "Rust crate" for times in found["times"]):
        pytest.skip(f"the driver could not be built: {found['notes']}")
    assert found["failures"] == []
    compared = {digest["what"] for digest in found["digests"] if "Rust crate" in digest["sides"]}
    assert {"map u64 → u64: remove", "map bytes 32 → 128, managed: remove", "set u64: remove", "vec u64: set"} <= compared
    assert {"heap u64: pop", "log of 128 bytes: append", "cell u64: set"} <= compared


def test_the_inspector_is_measured(tmp_path):
    words = [sys.executable, "-m", "benches.inspector", "--rows", "600", "--rounds", "1", "--folder", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    work, aims = [row for row in rows if len(row) == 3], [row for row in rows if len(row) == 4]
    assert len(work) == 12
    assert all(float(seconds) > 0 for _, seconds, _ in work[1:])
    assert len(aims) == 9
    assert all(row[3] in ("yes |", "no |") for row in aims[1:])
    assert list(tmp_path.iterdir()) == []
