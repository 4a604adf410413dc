"""Snapshots in folders: what is written can be read, in the forms of dfx, icp-cli and Juno, and the folder is never changed."""

import contextlib
import json
import re
import time
from pathlib import Path

import pytest

from stable_structures import StableBTreeMap, u64
from stable_structures.canister import Canister, Rejected, SourceError, Trapped, Unsupported

from ..support.lies import LIES, places_in, with_lie

pytest.importorskip("wasmtime")
BUILT = Path(__file__).parent / "wasm"
CASES = [
    ("ledger.wasm.gz", "deposit", ("ada", 5), ("balance", "ada")),
    ("hooks.wasm.gz", "add", ("x",), ("state",)),
    ("counter1_eop.wasm", "inc", (), ("get",)),
    ("counter1_classical.wasm", "inc", (), ("get",)),
]


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(("name", "method", "args", "read"), CASES)
def test_a_canister_goes_on_where_its_snapshot_was_taken(  # noqa: PLR0913, PLR0917 - the cases
    canister, tmp_path, name, method, args, read
):
    one = canister(BUILT / name)
    one.call(method, *args)
    one.call(method, *args)
    folder = tmp_path / "snapshot"
    one.save_snapshot(folder)
    before = files(folder)
    other = Canister.from_snapshot(folder)
    assert other.query(*read) == one.query(*read)
    assert other.call(method, *args) == one.call(method, *args)
    assert other.query(*read) == one.query(*read)
    assert (other.version, other.certified_data, other.module_hash) == (one.version, one.certified_data, one.module_hash)
    assert files(folder) == before
    again = tmp_path / "again"
    other.save_snapshot(again)
    one.save_snapshot(folder)
    unlike = {key for key in files(again) if files(again)[key] != files(folder)[key]}
    assert unlike <= {"metadata.json"}  # the clock of the second one began with the snapshot
    third = Canister.from_snapshot(again)
    assert third.query(*read) == one.query(*read)
    third.upgrade()
    for each in (other, third):
        each.close()


def test_changes_do_not_reach_the_folder_and_a_trap_restores_it(canister, tmp_path):
    one = canister(BUILT / "ledger.wasm.gz")
    for number in range(200):
        one.call("deposit", f"name {number}", number)
    one.save_snapshot(tmp_path / "s")
    before = files(tmp_path / "s")
    other = Canister.from_snapshot(tmp_path / "s")
    with pytest.raises(Trapped):
        other.call("transfer", "name 3", "bob", 1000)
    assert other.query("balance", "bob") is None
    other.call("deposit", "name 3", 7)
    accounts = StableBTreeMap[str, u64](other.manager.get(0))
    accounts.check()
    assert (len(accounts), accounts["name 3"]) == (200, 10)
    other.reinstall(BUILT / "ledger.wasm.gz")
    assert other.query("accounts") == []
    assert files(tmp_path / "s") == before


def test_a_timer_of_the_snapshot_goes_on(canister, tmp_path):
    one = canister(BUILT / "caller.wasm.gz")
    one.call("remind", 60, "up")
    one.save_snapshot(tmp_path / "s")
    other = Canister.from_snapshot(tmp_path / "s")
    other.advance_time(61)
    assert other.query("log") == ["up"]


def test_globals_stand_in_the_order_of_the_platform(canister, tmp_path):
    wasmtime = pytest.importorskip("wasmtime")
    text = """(module (import "ic0" "msg_reply" (func $reply)) (memory 1) (global $a (mut i32) (i32.const 1)) (global $c i32 (i32.const 9))
      (global $b (mut i64) (i64.const 2)) (global $d (mut f64) (f64.const 0.5)) (export "d" (global $d)) (export "b" (global $b))
      (func (export "canister_update go") (global.set $a (i32.const -7)) (call $reply)))"""
    one = canister(bytes(wasmtime.wat2wasm(text)))
    one.call("go")
    one.save_snapshot(tmp_path / "s")
    assert json.loads((tmp_path / "s" / "metadata.json").read_text())["globals"] == [{"f64": 0.5}, {"i64": 2}, {"i32": -7}]


def test_the_forms_of_icp_cli_and_juno(canister, tmp_path):
    one = canister(BUILT / "ledger.wasm.gz")
    one.call("deposit", "ada", 5)
    folder = tmp_path / "s"
    one.save_snapshot(folder)
    (folder / "wasm_chunk_store").mkdir()
    Canister.from_snapshot(folder).close()
    known = json.loads((folder / "metadata.json").read_text())
    camel = {"wasmModuleSize": known["wasm_module_size"], "wasmMemorySize": {"__bigint__": str(known["wasm_memory_size"])}}
    camel |= {"stableMemorySize": {"__bigint__": str(known["stable_memory_size"])}, "certifiedData": {"__uint8array__": [1, 2]}}
    camel |= {"globals": [{kind: {"__bigint__": str(value)}} for one in known["globals"] for kind, value in one.items()]}
    camel |= {"canisterVersion": {"__bigint__": "7"}, "takenAtTimestamp": {"__bigint__": "5"}}
    as_juno(folder, camel)
    juno = Canister.from_snapshot(folder)
    assert (juno.query("balance", "ada"), juno.version, juno.certified_data) == (5, 7, b"\1\2")


def as_juno(folder, metadata):
    """Make a folder of dfx one of Juno, with metadata in Juno's spelling."""
    for old, new in (("wasm_module.bin", "wasm-code.bin"), ("wasm_memory.bin", "heap.bin"), ("stable_memory.bin", "stable.bin")):
        (folder / old).rename(folder / new)
    given = {"snapshotId": "0x1", "data": {"stableMemory": {"filename": "stable.bin"}}, "metadata": metadata}
    (folder / "metadata.json").write_text(json.dumps(given))


@pytest.mark.parametrize("tool", ["dfx", "Juno"])
def test_each_value_of_the_metadata_may_be_anything(canister, tmp_path, tool):
    folder = tmp_path / "s"
    one = canister(BUILT / "ledger.wasm.gz")
    one.call("deposit", "ada", 5)
    one.save_snapshot(folder)
    if tool == "Juno":
        known = json.loads((folder / "metadata.json").read_text())
        as_juno(folder, {re.sub(r"_(\w)", lambda found: found[1].upper(), name): value for name, value in known.items()})
    told = json.loads((folder / "metadata.json").read_text())
    for place in places_in(told):
        for lie in LIES:
            (folder / "metadata.json").write_text(json.dumps(with_lie(told, place, lie)))
            with contextlib.suppress(SourceError, Rejected, Unsupported):
                Canister.from_snapshot(folder).close()


def test_what_is_not_whole_says_so(canister, tmp_path):
    one = canister(BUILT / "counter1_eop.wasm")
    folder = tmp_path / "s"
    one.save_snapshot(folder)
    with pytest.raises(SourceError, match=r"metadata\.json not found"):
        Canister.from_snapshot(tmp_path)
    known = (folder / "metadata.json").read_text()

    def broken(**changes):
        (folder / "metadata.json").write_text(json.dumps(json.loads(known) | changes))
        with pytest.raises(SourceError) as failed:
            Canister.from_snapshot(folder)
        return str(failed.value)

    assert "invalid value {" in broken(globals=[{"i31": 5}])
    assert "32" in broken(globals=[])
    assert "has another type" in broken(globals=[{"f32": 0.5}] * 32)
    assert "the download stopped too early" in broken(stable_memory_size=65536)
    assert "wasm_memory_size is None" in broken(wasm_memory_size=None)
    (folder / "metadata.json").write_text("{")
    with pytest.raises(SourceError, match="invalid JSON"):
        Canister.from_snapshot(folder)
    (folder / "metadata.json").write_text(known)
    data = (folder / "wasm_memory.bin").read_bytes()
    (folder / "wasm_memory.bin").write_bytes(data[:-1])
    with pytest.raises(SourceError, match=r"wasm_memory\.bin: it has \d+ of \d+ bytes"):
        Canister.from_snapshot(folder)
    (folder / "wasm_memory.bin").write_bytes(data)
    (folder / ".download_progress.json").write_text("{}")
    with pytest.raises(SourceError, match="not finished"):
        Canister.from_snapshot(folder)


def test_who_has_no_snapshot_says_so(canister, tmp_path):
    with pytest.raises(Rejected, match="IC0537"):
        Canister().save_snapshot(tmp_path / "s")
    with pytest.raises(Unsupported, match="does not run a Wasm module"):
        canister("from stable_structures.canister import query\n@query\ndef f(): pass\n").save_snapshot(tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_large_snapshot_begins_at_once(canister, tmp_path):
    one = canister(BUILT / "ledger.wasm.gz")
    one.call("deposit", "bob", 1)
    one.save_snapshot(tmp_path / "s")
    path = tmp_path / "s" / "stable_memory.bin"
    known = json.loads((tmp_path / "s" / "metadata.json").read_text())
    size = 4 << 30
    with path.open("r+b") as file:
        file.truncate(size)  # holes: it takes no room
    (tmp_path / "s" / "metadata.json").write_text(json.dumps(known | {"stable_memory_size": size}))
    begin = time.perf_counter()
    other = Canister.from_snapshot(tmp_path / "s")
    assert time.perf_counter() - begin < 1
    assert other.memory.nbytes == size
    other.call("deposit", "ada", 1)
    assert other.query("balance", "ada") == 1
    other.close()
