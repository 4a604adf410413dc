"""An upgrade rehearsed on a snapshot: what it tells, and that the snapshot stays as it is."""

import json
import re
from pathlib import Path

import pytest

from stable_structures import StableBTreeMap, u64
from stable_structures.__main__ import main
from stable_structures.canister import Canister, Limits, SourceError
from stable_structures.inspect.compare import Change, PartDiff
from stable_structures.rehearsal import rehearse

wasmtime = pytest.importorskip("wasmtime")
BUILT = Path(__file__).parent / "wasm"
LEDGER, HOOKS, CALLER = BUILT / "ledger.wasm.gz", BUILT / "hooks.wasm.gz", BUILT / "caller.wasm.gz"
MOTOKO = Path(__file__).parents[2] / "examples" / "motoko_counter"


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def ledger(tmp_path, canister):
    made = canister(LEDGER)
    for number in range(50):
        made.call("deposit", f"n{number}", number)
    made.save_snapshot(tmp_path / "ledger")
    return tmp_path / "ledger"


@pytest.fixture
def hooks(tmp_path, canister):
    made = canister(HOOKS)
    made.call("add", "x")
    made.call("break_hook", True)
    made.save_snapshot(tmp_path / "hooks")
    return tmp_path / "hooks"


def test_an_upgrade_that_goes_through(ledger):
    before = files(ledger)
    found = rehearse(ledger, LEDGER, calls=['balance("n3")', 'deposit("n3", 5)', 'balance("n3")'])
    assert found.ok
    assert str(found).startswith(f"rehearsal on {ledger}: the upgrade succeeds")
    assert [one.answer for one in found.calls] == ["(opt (3 : nat64))", "(8 : nat64)", "(opt (8 : nat64))"]
    assert all(one.instructions > 1000 for one in found.calls)
    assert (found.damage, found.candid, found.warnings, found.stable_pages) == ([], [], [], (129, 129))
    assert files(ledger) == before
    assert found.canister.query("balance", "n3") == 8


def test_a_hook_that_traps_is_named(hooks):
    found = rehearse(hooks, HOOKS, calls=["state()"])
    assert not found.ok
    assert found.failure == "pre_upgrade: IC0503: Canister called `ic0.trap` with message: pre_upgrade was told to fail"
    assert list(found.instructions) == ["pre_upgrade"]
    assert found.calls == []
    assert "THE UPGRADE FAILS" in str(found)
    skipped = rehearse(hooks, HOOKS, skip_pre_upgrade=True)
    assert skipped.failure.startswith("post_upgrade: IC0503")
    assert found.canister.query("state") == {"notes": ["x"], "upgrades": 0}


def test_what_timers_do_after_the_upgrade_is_not_what_the_upgrade_changed(ledger):
    """A timer of delay 0, which post_upgrade sets as Rust canisters do, runs at once."""
    text = """(module (import "ic0" "stable64_write" (func $write (param i64 i64 i64))) (import "ic0" "time" (func $time (result i64)))
      (import "ic0" "global_timer_set" (func $set (param i64) (result i64))) (memory 1)
      (func (export "canister_post_upgrade") (call $write (i64.const 100000) (i64.const 8) (i64.const 1)) (drop (call $set (call $time))))
      (func (export "canister_global_timer")))"""
    found = rehearse(ledger, bytes(wasmtime.wat2wasm(text)))
    assert found.changed_bytes == 4096
    assert "4,096 bytes changed of 8,589,934,592" in str(found)


def test_the_instructions_of_a_call_are_those_of_its_messages_and_of_no_timer(canister):
    made = canister(CALLER)
    made.call("work", 1000)
    alone = made.call_instructions
    assert alone == made.instructions > 10000
    made.call("remind", 0, "a timer that is due at once")
    assert made.query("log") == ["a timer that is due at once"]
    made.call("random")
    assert made.call_instructions > made.instructions > 0  # the last message was the callback
    made.call("work", 1000)
    assert made.call_instructions == made.instructions


@pytest.mark.parametrize(
    ("part", "line"),
    [
        (PartDiff(10, (None, "unknown"), (0, 65536)), "memory 10       unknown: new, 65,536 bytes"),
        (PartDiff(1, (None, "map"), (0, 65536), changes=[Change(1, None, 2)]), "memory 1        map: new, 65,536 bytes, 1 added"),
        (PartDiff(2, ("vec", "vec"), (65536, 131072)), "memory 2        vec: 65,536 -> 131,072 bytes"),
        (PartDiff(3, ("unknown", "unknown"), (65536, 65536), ranges=[(1, 2)]), "memory 3        unknown: 1 ranges of bytes changed"),
        (PartDiff(4, ("map", "map"), (65536, 65536), changes=[Change(1, 2, 3)]), "memory 4        map: 1 changed"),
    ],
)
def test_each_sort_of_difference_has_its_line(ledger, part, line):
    found = rehearse(ledger, LEDGER)
    found.differences = [part]
    assert f"\n  {line}\n" in str(found)


def test_what_changed_in_the_stable_memory_is_told(tmp_path, canister):
    """The new module writes in its post_upgrade."""
    made = canister(LEDGER)
    made.call("deposit", "ada", 5)
    made.save_snapshot(tmp_path / "s")
    text = """(module (import "ic0" "stable64_write" (func $write (param i64 i64 i64))) (memory 1) (data (i32.const 0) "damage")
      (func (export "canister_post_upgrade") (call $write (i64.const {at}) (i64.const 0) (i64.const 6))))"""
    broken = rehearse(tmp_path / "s", bytes(wasmtime.wat2wasm(text.format(at=65536 + 12))))  # the root of the first map
    assert not broken.ok
    assert broken.damage
    assert (broken.failure, broken.changed_bytes, broken.candid) == (None, 4096, None)
    assert "BROKEN RULES" in str(broken)
    nameless = rehearse(tmp_path / "s", bytes(wasmtime.wat2wasm(text.format(at=0))))  # the name of the manager
    assert not nameless.ok
    assert "BROKEN RULES" in str(nameless)
    lost = rehearse(
        tmp_path / "s", bytes(wasmtime.wat2wasm(text.format(at=0).replace("damage", "damage" * 6000).replace("6))", "36000))")))
    )
    assert "was a manager" in str(lost.warnings) or "was a map" in str(lost.warnings)
    assert not lost.damage
    assert lost.unchecked == ["its content (not recognised)"]
    assert "check           sound; not checked: its content (not recognised)\n" in f"{lost}\n"
    assert lost.to_dict()["unchecked"] == lost.unchecked
    quiet = rehearse(tmp_path / "s", LEDGER)
    assert all(one.same for one in quiet.differences)
    assert quiet.unchecked == []


def test_entries_that_an_upgrade_changes_are_counted(tmp_path, canister):
    made = canister(LEDGER)
    accounts = None
    for number in range(20):
        made.call("deposit", f"n{number}", number)
    made.save_snapshot(tmp_path / "s")
    found = rehearse(tmp_path / "s", LEDGER, calls=['deposit("new", 5)'])
    accounts = StableBTreeMap[str, u64](found.canister.manager.get(0))
    accounts.check()
    assert len(accounts) == 21
    assert all(one.same for one in found.differences)  # calls come after the comparison


def test_callers_and_stable_variables_that_lose_something_are_told(tmp_path, canister):
    made = canister(BUILT / "counter1_eop.wasm")
    made.save_snapshot(tmp_path / "s")
    did = "service : { get : () -> (text) query; inc : (nat) -> (nat); more : () -> () }"
    found = rehearse(tmp_path / "s", BUILT / "counter2_eop.wasm", did=did)
    assert sorted(found.candid) == [
        "callsSinceUpgrade: is gone",
        "get: result 1: text is not a nat",
        "inc: argument 1: nat is new",
    ]
    assert [line for line in found.warnings if line.startswith("callers: ")]
    assert found.ok
    assert rehearse(tmp_path / "s", BUILT / "counter2_eop.wasm").candid == []
    replaced = rehearse(tmp_path / "s", BUILT / "counter2_eop.wasm", wasm_memory_persistence="replace", calls=["get()"])
    assert replaced.calls[0].answer == "(0 : nat)"
    assert [line for line in replaced.warnings if "all of them are lost" in line]
    assert not rehearse(tmp_path / "s", BUILT / "counter2_eop.wasm").warnings


def test_a_rejected_upgrade_names_the_stable_variables_that_do_not_fit(tmp_path, canister):
    canister(MOTOKO / "counter.wasm.gz").save_snapshot(tmp_path / "s")
    found = rehearse(tmp_path / "s", MOTOKO / "counter_as_text.wasm.gz")
    assert "incompatible" in str(found.failure)
    assert "value was Nat, is Text" in found.stable_types
    assert sorted(line.split()[0] for line in found.stable_types) == ["most", "names", "value"]
    assert "  warning: stable variables: value was Nat, is Text" in str(found).splitlines()


def test_hooks_near_the_limit_are_a_warning(tmp_path, canister):
    made = canister(BUILT / "counter1_eop.wasm")
    made.save_snapshot(tmp_path / "s")
    used = sum(rehearse(tmp_path / "s", BUILT / "counter2_eop.wasm").instructions.values())
    near = rehearse(tmp_path / "s", BUILT / "counter2_eop.wasm", limits=Limits(instructions_install=used + 100))
    assert near.ok
    assert "of the instructions" in near.warnings[0]
    over = rehearse(tmp_path / "s", BUILT / "counter2_eop.wasm", limits=Limits(instructions_install=used - 100))
    assert "IC0522" in over.failure


def test_a_call_that_fails_is_told_and_the_rest_is_made(ledger):
    found = rehearse(ledger, LEDGER, calls=['transfer("n3", "n4", 500)', "nothing()", 'deposit("a")', 'balance("n4")'])
    assert not found.ok
    assert [one.error is None for one in found.calls] == [False, False, False, True]
    with pytest.raises(SourceError, match="invalid call"):
        rehearse(ledger, LEDGER, calls=["balance 5"])


def test_the_command_line(ledger, hooks, tmp_path, capsys):
    assert main(["rehearse", str(ledger), str(LEDGER), "--call", 'balance("n7")', "-o", str(tmp_path / "out")]) == 0
    assert re.search(r'balance\("n7"\) -> \(opt \(7 : nat64\)\) \([\d,]+ instructions\)', capsys.readouterr().out)
    assert Canister.from_snapshot(tmp_path / "out").query("balance", "n7") == 7
    assert main(["rehearse", str(hooks), str(HOOKS), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["calls"]) == (False, [])
    assert main(["rehearse", str(tmp_path), str(LEDGER)]) == 2
    assert "metadata.json" in capsys.readouterr().err
    assert main(["rehearse", str(ledger), str(tmp_path / "no.wasm")]) == 2
    assert main(["rehearse", str(ledger), str(LEDGER), "--arg", "(opt"]) == 2
    assert main(["rehearse", str(ledger), str(LEDGER), "--arg", "(opt 5)"]) == 0


def test_a_snapshot_on_another_machine_is_to_be_downloaded(capsys):
    assert main(["rehearse", "https://ada:secret@host/ledger/", str(LEDGER)]) == 2
    error = capsys.readouterr().err
    assert "https://host/ledger/: rehearse runs the canister, so it needs the snapshot on this machine: download it" in error
    with pytest.raises(SourceError, match="download it"):
        rehearse("s3://bucket/ledger", LEDGER)
