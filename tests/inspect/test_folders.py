# SPDX-License-Identifier: Apache-2.0
"""What verbs make of a snapshot's folder: a folder that can be uploaded, whole or not at all, and what was read is not changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stable_structures import MemoryManager, StableBTreeMap, StableMemory, StableVec, codec, u64
from stable_structures.canister import Canister
from stable_structures.encodings.candid.codec import encode
from stable_structures.encodings.candid.types import parse_interface
from stable_structures.inspect import Unreadable, check, diff, import_part, inspect, load, open_image, repair, shrink, writing
from stable_structures.inspect.rewrite import folder as folders

from ..support import command
from ..support.examples import examples
from ..support.inspect_images import make_dfx, make_icp, make_juno, read
from ..support.lies import LIES, places_in, with_lie

pytestmark = pytest.mark.usefixtures("without_fsync")
WASM = Path(__file__).parents[1] / "canister" / "wasm"
PAGE = 65536


def image() -> bytes:
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=4)
    users = StableBTreeMap[u64, str](manager.get(0))
    users.update({i: f"user {i}" for i in range(3000)})
    for i in range(0, 3000, 2):
        del users[i]
    StableVec[u64](manager.get(1)).extend(range(100))
    return read(memory)


IMAGE = image()
MAKERS = pytest.mark.parametrize("make", [make_dfx, make_icp, make_juno])


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stable_of(folder: Path) -> Path:
    return next(path for path in (folder / "stable_memory.bin", folder / "stable.bin") if path.exists())


def snapshot(tmp_path: Path, make) -> Path:
    folder = make(tmp_path / "snapshot", IMAGE)
    if make is make_juno:
        (folder / "wasm-code.bin").write_bytes(b"\0asm")
        (folder / "heap.bin").write_bytes(bytes(PAGE))
    if make is make_icp:
        (folder / "wasm_chunk_store" / "aa.bin").write_bytes(b"chunk")
    return folder


def write_all(folder: Path, tmp_path: Path) -> dict[str, Path]:
    """A folder by each verb."""
    (tmp_path / "part.bin").write_bytes(read(StableMemory()) or bytes(PAGE))
    (tmp_path / "dump.csv").write_text("key,value\n1,Ada\n2,Grace\n")
    shrink(folder, tmp_path / "shrunk")
    repair(folder, tmp_path / "repaired")
    import_part(tmp_path / "part.bin", 7, tmp_path / "imported", into=folder)
    load(tmp_path / "dump.csv", tmp_path / "loaded", key=codec(u64), value=codec(str), memory=0, into=folder)
    return {name: tmp_path / name for name in ("shrunk", "repaired", "imported", "loaded")}


@pytest.mark.parametrize("out", ["OUT", "wasm_chunk_store/OUT", "../snapshot/OUT", "../link/OUT"])
def test_it_is_not_made_inside_the_snapshot(tmp_path, out):
    folder = snapshot(tmp_path, make_icp)
    (tmp_path / "link").symlink_to(folder)
    before = content(folder)
    with pytest.raises(Unreadable, match="the snapshot's own folder"):
        shrink(folder, folder / out)
    assert content(folder) == before
    assert not list(tmp_path.rglob(".*.part"))


def test_a_symbolic_link_becomes_the_file_that_it_leads_to(tmp_path):
    folder = snapshot(tmp_path, make_icp)
    (folder / "wasm_module.bin").unlink(missing_ok=True)
    (tmp_path / "module").write_bytes(b"\0asm shared")
    (folder / "wasm_module.bin").symlink_to("../module")
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    shrink(folder, tmp_path / "elsewhere" / "deep" / "OUT")
    made = tmp_path / "elsewhere" / "deep" / "OUT" / "wasm_module.bin"
    assert made.read_bytes() == b"\0asm shared"
    assert not made.is_symlink()


@MAKERS
def test_every_verb_makes_a_folder_of_a_folder(tmp_path, make):
    folder = snapshot(tmp_path, make)
    before = content(folder)
    for name, made in write_all(folder, tmp_path).items():
        opened = inspect(made)
        assert opened.snapshot is not None
        assert (opened.snapshot["state"], opened.damaged) == ("complete", False), name
        assert check(made) == []
        stable = stable_of(made)
        assert {**content(made), "metadata.json": b"", stable.name: b""} == {**before, "metadata.json": b"", stable.name: b""}, name
        assert stable.stat().st_size % PAGE == 0
        with open_image(made) as one:
            assert dict(_entries(one, 1)) == {i: i for i in range(100)}
            users = {i: f"user {i}" for i in range(1, 3000, 2)}
            assert dict(_entries(one, 0)) == ({1: "Ada", 2: "Grace"} if name == "loaded" else users)
    assert content(folder) == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def _entries(opened, memory):
    reader = opened.part(memory).open()
    if memory == 1:
        return [(number, int.from_bytes(data, "big")) for number, data in reader.elements()]
    return [(int.from_bytes(key, "big"), value.decode()) for key, value in reader.entries()]


@pytest.mark.parametrize("make", [make_dfx, make_icp])
def test_the_metadata_have_the_new_size_and_are_else_the_same(tmp_path, make):
    folder = snapshot(tmp_path, make)
    shrink(folder, tmp_path / "out")
    old, new = (json.loads((one / "metadata.json").read_text()) for one in (folder, tmp_path / "out"))
    assert new["stable_memory_size"] == stable_of(tmp_path / "out").stat().st_size < old["stable_memory_size"]
    assert {**old, "stable_memory_size": 0} == {**new, "stable_memory_size": 0}
    assert list(old) == list(new)


def test_junos_metadata_have_size_and_hash(tmp_path):
    folder = snapshot(tmp_path, make_juno)
    shrink(folder, tmp_path / "out")
    old, new = (json.loads((one / "metadata.json").read_text()) for one in (folder, tmp_path / "out"))
    stable = (tmp_path / "out" / "stable.bin").read_bytes()
    assert new["data"].pop("stableMemory") == {"filename": "stable.bin", "size": len(stable), "hash": hashlib.sha256(stable).hexdigest()}
    assert new["metadata"].pop("stableMemorySize") == {"__bigint__": str(len(stable))}
    del old["data"]["stableMemory"], old["metadata"]["stableMemorySize"]
    assert new == old


def test_a_name_of_a_file_is_a_bare_image(tmp_path):
    folder = snapshot(tmp_path, make_dfx)
    shrink(folder, tmp_path / "out.bin")
    assert (tmp_path / "out.bin").is_file()
    shrink(stable_of(folder), tmp_path / "of a file")  # the file in the folder is of the snapshot, too
    assert (tmp_path / "of a file" / "wasm_module.bin").exists()


def test_other_files_are_not_copied_where_that_can_be(tmp_path):
    folder = snapshot(tmp_path, make_dfx)
    shrink(folder, tmp_path / "out")
    here, there = ((one / "wasm_memory.bin").stat() for one in (folder, tmp_path / "out"))
    assert there.st_ino == here.st_ino or there.st_blocks <= here.st_blocks  # a second name, or a clone


def test_where_neither_clones_nor_links_are(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "no links here")

    folder = snapshot(tmp_path, make_icp)
    monkeypatch.setattr(folders, "_clone", lambda *_: False)
    monkeypatch.setattr(os, "link", refuse)
    shrink(folder, tmp_path / "out")
    assert check(tmp_path / "out") == []
    assert (tmp_path / "out" / "wasm_chunk_store" / "aa.bin").read_bytes() == b"chunk"
    assert (tmp_path / "out" / "wasm_memory.bin").stat().st_ino != (folder / "wasm_memory.bin").stat().st_ino


@pytest.mark.parametrize(("module", "at"), [(folders, "_take"), (folders, "_sha256"), (writing, "_sync")])
def test_all_or_nothing(tmp_path, monkeypatch, module, at):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    folder = snapshot(tmp_path, make_juno)
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setattr(module, at, fail)
    with pytest.raises(Unreadable, match="No space left"):
        shrink(folder, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_is_there_is_not_replaced(tmp_path):
    folder = snapshot(tmp_path, make_dfx)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(Unreadable, match="file already exists"):
        shrink(folder, tmp_path / "out")
    with pytest.raises(Unreadable, match="file already exists"):
        shrink(folder, folder)
    assert content(tmp_path / "out") == {"mine": b"mine"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "snapshot"]


def test_a_folder_that_cannot_be_uploaded_is_said(tmp_path):
    folder = snapshot(tmp_path, make_dfx)
    done = command.run(["repair", folder, "-o", tmp_path / "out"])
    assert done.returncode == 0
    assert "wasm_module.bin has 4 of 1,234,567 bytes" in done.stderr
    with (folder / "wasm_module.bin").open("r+b") as module:
        module.truncate(1_234_567)
    with (folder / "wasm_memory.bin").open("r+b") as heap:
        heap.truncate(json.loads((folder / "metadata.json").read_text())["wasm_memory_size"])
    assert "cannot be uploaded" not in command.run(["repair", folder, "-o", tmp_path / "whole"]).stderr


def test_a_download_that_stopped_is_repaired_to_a_whole_folder(tmp_path):
    folder = snapshot(tmp_path, make_dfx)
    (folder / "stable_memory.bin").write_bytes(IMAGE[:-PAGE])
    (folder / ".download_progress.json").write_text("{}")
    repair(folder, tmp_path / "out")
    assert inspect(tmp_path / "out").snapshot["state"] == "complete"
    assert not (tmp_path / "out" / ".download_progress.json").exists()


def test_a_dump_into_a_canister_without_stable_memory(tmp_path):
    folder = make_dfx(tmp_path / "snapshot", b"")
    (tmp_path / "dump.csv").write_text("key,value\n1,Ada\n")
    load(tmp_path / "dump.csv", tmp_path / "out", key=codec(u64), value=codec(str), memory=3, into=folder)
    assert inspect(tmp_path / "out").memories[0].length == 1


def test_the_command_says_what_is_to_be_done_with_the_heap(tmp_path):
    folder = snapshot(tmp_path, make_dfx)
    done = command.run(["shrink", folder, "-o", tmp_path / "out"])
    assert done.returncode == 0
    assert "--skip-pre-upgrade" in done.stderr
    (tmp_path / "dump.csv").write_text("key,value\n1,Ada\n")
    types = ["--key-type", "u64", "--value-type", "string"]
    done = command.run(["load", tmp_path / "dump.csv", *types, "--memory", "9", "--into", folder, "-o", tmp_path / "loaded"])
    assert done.returncode == 0, done.stderr
    assert [one.memory for one in inspect(tmp_path / "loaded").memories] == [0, 1, 9]
    assert all(one.same for one in diff(folder, tmp_path / "loaded") if one.memory != 9)


# ---- in the harness ----


def test_a_canister_goes_on_with_a_shrunk_snapshot(tmp_path):
    pytest.importorskip("wasmtime")
    one = Canister.install(WASM / "ledger.wasm.gz")
    for number in range(300):
        one.call("deposit", f"name {number}", number)
    one.save_snapshot(tmp_path / "snapshot")
    one.close()
    done = shrink(tmp_path / "snapshot", tmp_path / "out", bucket_pages=1)  # other buckets than the heap remembers
    assert done.after < done.before
    two = Canister.from_snapshot(tmp_path / "out")
    two.upgrade(skip_pre_upgrade=True)
    assert [two.query("balance", f"name {number}") for number in range(300)] == list(range(300))
    two.call("deposit", "name 7", 5)
    assert two.query("balance", "name 7") == 12
    two.save_snapshot(tmp_path / "again")
    two.close()
    assert check(tmp_path / "again") == []
    shutil.rmtree(tmp_path / "again")


# ---- Motoko ----


def test_variables_of_a_classical_actor_are_shown_by_name(tmp_path):
    best = "opt record { who : text; points : nat }"
    service = parse_interface(f"type S = record {{ counter : nat; names : vec text; best : {best} }}; service : {{}}")
    value = {"counter": 7, "names": ["Ada", "Grace"], "best": {"who": "Ada", "points": 3}}
    message = encode([value], [service.types["S"]])
    (tmp_path / "words.txt").write_text("counter names best who points")
    dump = struct.pack("<I", len(message)) + message
    first = dump.ljust(PAGE, b"\0")
    trailer = bytes(52) + struct.pack("<II", 2, 0) + struct.pack("<I", 1)
    second = bytes(4) + bytes(2 * PAGE - 4) + dump.ljust(PAGE - 64, b"\0") + trailer
    for data in (first, second):
        (tmp_path / "image.bin").write_bytes(data)
        done = command.run(["inspect", tmp_path / "image.bin", "--words", tmp_path / "words.txt", "--json"])
        facts = json.loads(done.stdout)["facts"]
        assert facts["stable variables"] == value
        assert facts["types of stable variables"]["best"] in (best, "opt record { points : nat; who : text }")
    (tmp_path / "image.bin").write_bytes(first[:10] + b"\xff" * 20 + first[30:])
    assert "cannot be decoded" in command.run(["inspect", tmp_path / "image.bin"]).stdout


# ---- folders by somebody else's hand ----

TREES = st.recursive(
    st.sampled_from(LIES) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["filename", "size", "a"]), inner),
)


@MAKERS
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_metadata_that_lie_are_an_error_or_a_note(quick_path, make, data):
    folder = quick_path / "snapshot"
    if not folder.exists():
        make(folder, IMAGE)
        (quick_path / "true.json").write_bytes((folder / "metadata.json").read_bytes())
    told = json.loads((quick_path / "true.json").read_bytes())
    look_at_lie(folder, with_lie(told, data.draw(st.sampled_from(list(places_in(told)))), data.draw(TREES)), len(IMAGE))


@MAKERS
def test_each_number_of_the_metadata_may_be_anything(quick_path, make):
    page = IMAGE[:PAGE]  # a manager that is cut off, which is quickly opened
    folder = make(quick_path / "snapshot", page)
    told = json.loads((folder / "metadata.json").read_bytes())
    for place in places_in(told):
        for lie in LIES:
            look_at_lie(folder, with_lie(told, place, lie), len(page))


def look_at_lie(folder, metadata, size):
    """Open and inspect a folder: it is an image, as long as it is or empty, or an error of ours."""
    (folder / "metadata.json").write_text(json.dumps(metadata))
    with contextlib.suppress(Unreadable), open_image(folder) as opened:
        assert opened.source.nbytes in (0, size)
        inspect(opened)


@pytest.mark.parametrize("name", ["metadata.json", "wasm_module.bin", "memories.toml", "did"])
@pytest.mark.parametrize("what", ["/dev/zero", "pipe", "folder"])
def test_devices_and_pipes_in_a_folder_are_not_read(tmp_path, name, what):
    folder = snapshot(tmp_path, make_dfx)
    place = folder / ("odd" if name == "did" else name)
    place.unlink(missing_ok=True)
    if name == "did":
        (folder / "memories.toml").write_text('did = "odd"\n[memories.0]\nkey = "u64"\nvalue = "candid<A>"\n')
    if what == "pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    else:
        place.symlink_to(what)
    done = command.run(["inspect", folder], timeout=30)
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 2 or name in ("wasm_module.bin", "memories.toml")
