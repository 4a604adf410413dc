# SPDX-License-Identifier: Apache-2.0
"""The crash simulator of native/tests against code that is wrong on purpose: what it cannot see, it does not test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .mutants import EQUIVALENT, MUTANTS, Mutant

pytestmark = pytest.mark.slow

NATIVE = Path(__file__).parents[3] / "native"
TESTS = NATIVE / "tests"
INCLUDES = ["-I", NATIVE, "-I", TESTS]
COMPILER = [shutil.which("gcc") or "cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-pthread"]
STATES = ("150000", "600000")  # most mutants are noticed within 50,000; one that needs three failures in a row may be missed by 150,000


def apply(mutant: Mutant, tree: Path) -> list[str]:
    """Makes changed copies of the sources in `tree`; returns their names."""
    names = sorted({name for name, _, _ in mutant.changes})
    for name in names:
        (source,) = NATIVE.glob(f"*/{name}")
        text = source.read_text()
        for old, new in [(old, new) for changed, old, new in mutant.changes if changed == name]:
            assert text.count(old) == 1, f"{name}: the mutant's text is there {text.count(old)} times: {old!r}"
            text = text.replace(old, new)
        (tree / name).write_text(text)
    return names


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sources, compiled once, by name."""
    tree = tmp_path_factory.mktemp("objects")
    sources = [path for room in ("core", "memory", "storage") for path in sorted((NATIVE / room).glob("*.c"))]
    compiled = {}
    for source in [*sources, *(TESTS / "storage" / f"{name}.c" for name in ("test_crash", "test_damage", "test_follow"))]:
        compiled[source.name] = tree / f"{source.stem}.o"
        subprocess.run([*COMPILER, *INCLUDES, "-c", source, "-o", compiled[source.name]], check=True)
    return compiled


def simulate(mutant: Mutant, objects: dict[str, Path], tree: Path, states: str, seed: int) -> subprocess.CompletedProcess[str]:
    changed = apply(mutant, tree)
    linked = [
        path for name, path in objects.items() if name not in changed and (not name.startswith("test_") or name == f"{mutant.test}.c")
    ]
    subprocess.run([*COMPILER, *INCLUDES, *(tree / name for name in changed), *linked, "-o", tree / "test"], check=True)
    return subprocess.run([tree / "test", states, str(seed), mutant.mode], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_noticed(name, objects, tmp_path, seed):
    for states in STATES:
        run = simulate(MUTANTS[name], objects, tmp_path, states, seed % 1000 + 1)
        if run.returncode != 0:
            break
    assert run.returncode == 1, f"survived: {run.stdout}"
    assert "FAILED" in run.stdout or "does not hold" in run.stderr


@pytest.mark.parametrize("name", EQUIVALENT)
def test_what_is_right_is_not_called_wrong(name, objects, tmp_path, seed):
    run = simulate(EQUIVALENT[name], objects, tmp_path, "30000", seed % 1000 + 1)
    assert run.returncode == 0, run.stdout + run.stderr
