"""Compiled modules on disk: only ours, only whole, never too many."""

import importlib
import os
from pathlib import Path

import pytest

from stable_structures.canister import Canister
from stable_structures.canister.wasm import cache

wasmtime = pytest.importorskip("wasmtime")
BUILT = Path(__file__).parent / "wasm"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("STABLE_STRUCTURES_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_was_kept_comes_back(folder):
    cache.store("name", b"content")
    assert cache.load("name") == b"content"
    assert cache.load("other") is None
    assert folder.stat().st_mode & 0o777 == 0o700
    cache.forget("name")
    assert cache.load("name") is None
    cache.forget("name")


def test_damaged_files_do_not_count(folder):
    cache.store("name", b"content" * 100)
    path = folder / "name"
    data = path.read_bytes()
    for damaged in (b"", data[:-1], data[:40], data[:50] + b"x" + data[51:], b"x" + data[1:], data + b"x"):
        path.write_bytes(damaged)
        assert cache.load("name") is None


def test_files_that_others_may_write_do_not_count(folder):
    cache.store("name", b"content")
    for mode in (0o620, 0o602):
        (folder / "name").chmod(mode)
        assert cache.load("name") is None
    (folder / "name").chmod(0o600)
    folder.chmod(0o777)
    assert cache.load("name") is None
    cache.store("more", b"content")
    assert not (folder / "more").exists()
    folder.chmod(0o700)
    (folder / "link").symlink_to(folder / "name")
    assert cache.load("link") is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_files_of_others_do_not_count(folder):
    cache.store("name", b"content")
    os.chown(folder / "name", 12345, 12345)
    assert cache.load("name") is None


def test_a_folder_that_cannot_be_made_is_no_matter(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("STABLE_STRUCTURES_CACHE", str(tmp_path / "file" / "below"))
    cache.store("name", b"content")
    assert cache.load("name") is None
    monkeypatch.setenv("STABLE_STRUCTURES_CACHE", "")
    cache.store("name", b"content")
    assert cache.load("name") is None


def test_the_oldest_go_where_there_are_many(folder):
    for number in range(450):
        cache.store(f"name {number}", b"x")
        os.utime(folder / f"name {number}", (number, number))
    assert len(list(folder.iterdir())) <= 401
    assert cache.load("name 449") == b"x"
    assert cache.load("name 0") is None


def test_a_foreign_content_is_compiled_again(folder):
    text = '(module (import "ic0" "msg_reply" (func $reply)) (func (export "canister_query one") (call $reply)) (func (param i32)))'
    data = bytes(wasmtime.wat2wasm(text))
    Canister.install(data).query_raw("one")
    (path,) = folder.iterdir()
    name = path.name
    cache.store(name, b"this is no compiled module")
    engine = importlib.import_module("stable_structures.canister.wasm.engine")
    engine._known.clear()
    assert Canister.install(data).query_raw("one") == b""
    assert cache.load(name) != b"this is no compiled module"
