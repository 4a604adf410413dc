# SPDX-License-Identifier: Apache-2.0
"""The versions that docs/canister.md names are those of the fixtures, of the harness's own modules, and of pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from stable_structures.canister import Canister

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "canister.md").read_text(encoding="utf-8")
WASM = ROOT / "tests" / "canister" / "wasm"
NAMED = dict(re.findall(r"^\| (?:[A-Za-z ]+: )?`?([\w -]+?)`? \| ([\d.]+) \|", PAGE.replace("npm package ", ""), re.MULTILINE))


def test_all_are_named():
    assert set(NAMED) == {"ic-cdk", "ic-stable-structures", "motoko", "Azle", "Basilisk", "Kybra", "wasmtime"}


@pytest.mark.parametrize("manifest", [*sorted(WASM.glob("rust/*/Cargo.toml")), ROOT / "examples" / "rust_counter" / "Cargo.toml"], ids=str)
def test_rust(manifest):
    needs = tomllib.loads(manifest.read_text(encoding="utf-8"))["dependencies"]
    assert needs["ic-cdk"] == NAMED["ic-cdk"]
    assert needs.get("ic-stable-structures", f"={NAMED['ic-stable-structures']}") == f"={NAMED['ic-stable-structures']}"


@pytest.mark.parametrize("page", [WASM / "README.md", ROOT / "examples" / "motoko_counter" / "README.md"], ids=str)
def test_motoko(page):
    assert f"package `motoko` {NAMED['motoko']}" in page.read_text(encoding="utf-8")


def test_motoko_modules_are_of_one_compiler():
    read_module = pytest.importorskip("stable_structures.canister.wasm.binary").read_module
    modules = [*WASM.glob("counter*_eop.wasm"), *WASM.glob("counter*_classical.wasm"), *(ROOT / "examples").glob("motoko_counter/*.gz")]
    assert len(modules) == 7
    assert len({read_module(path.read_bytes()).section("motoko:compiler") for path in modules}) == 1


@pytest.mark.parametrize("cdk", ["Basilisk", "Kybra"])
def test_python(cdk):
    source = f"import {cdk.lower()} as cdk\nfrom {cdk.lower()} import query\n@query\ndef version() -> str:\n    return cdk.__version__\n"
    if cdk == "Kybra":
        pytest.importorskip("icp_candid")
    assert Canister.install(source).query("version") == NAMED[cdk]


def test_wasmtime():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    major = int(NAMED["wasmtime"])
    assert extras["wasm"] == [f"wasmtime>={major},<{major + 1}"]
    engine = pytest.importorskip("stable_structures.canister.wasm.engine")
    assert str(major) == engine._KNOWN
