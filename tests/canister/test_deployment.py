"""A canister in a folder: the tutorial in the shell, and commands that are killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stable_structures.__main__ import main
from stable_structures.canister import Canister, SourceError, Unsupported
from stable_structures.deployment import Deployment
from stable_structures.inspect import check

from ..support import command

pytest.importorskip("wasmtime")
BUILT = Path(__file__).parent / "wasm"

ACTOR = """
from stable_structures.canister import Actor, query, stable, update
class Counter(Actor):
    value = stable(0)
    @update
    def inc(self):
        self.value += 1
        return self.value
    @query
    def get(self):
        return self.value
"""
BASILISK = """
from basilisk import nat, query, StableBTreeMap, update
counter = StableBTreeMap[str, nat](memory_id=0)
@update
def inc() -> nat:
    counter.insert("n", (counter.get("n") or 0) + 1)
    return counter.get("n")
@query
def get() -> nat:
    return counter.get("n") or 0
"""


@pytest.fixture
def shell(capsys):
    def run(*arguments):
        status = main(["canister", *map(str, arguments)])
        said = capsys.readouterr()
        return said.out.strip() if status == 0 else f"{status}: {said.err.strip()}"

    return run


def tutorial(shell, first, second, folder, inc="inc"):
    """Three calls, stop, the version that adds three, start, two calls."""
    shell("deploy", first, folder)
    first_answers = [shell("call", folder, inc, "()") for _ in range(3)]
    assert shell("stop", folder) == "stopped"
    assert shell("call", folder, inc, "()").startswith("1: IC0508")
    assert shell("upgrade", folder, second).startswith("upgraded")
    assert shell("start", folder) == "running"
    return first_answers, [shell("call", folder, inc, "()") for _ in range(2)]


@pytest.mark.parametrize("kind", ["eop", "classical"])
def test_the_tutorial_in_motoko(shell, tmp_path, kind):
    before, after = tutorial(shell, BUILT / f"counter1_{kind}.wasm", BUILT / f"counter2_{kind}.wasm", tmp_path / "c")
    assert (before, after) == (["(1 : nat)", "(2 : nat)", "(3 : nat)"], ["(6 : nat)", "(9 : nat)"])
    assert shell("query", tmp_path / "c", "get") == "(9 : nat)"
    assert shell("query", tmp_path / "c", "callsSinceUpgrade") == "(2 : nat)"


RUST = Path(__file__).parents[2] / "examples" / "rust_counter"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (RUST / "counter.wasm.gz", RUST / "counter_by_three.wasm.gz"),
        (BUILT / "counter_hooks.wasm.gz", BUILT / "counter_hooks_by_three.wasm.gz"),
    ],
    ids=["on stable structures", "with stable_save hooks"],
)
def test_the_tutorial_in_rust(shell, tmp_path, first, second):
    before, after = tutorial(shell, first, second, tmp_path / "c")
    assert (before, after) == (["(1 : nat64)", "(2 : nat64)", "(3 : nat64)"], ["(6 : nat64)", "(9 : nat64)"])
    assert shell("query", tmp_path / "c", "get") == "(9 : nat64)"
    assert check(tmp_path / "c") == []


@pytest.mark.parametrize("source", [ACTOR, BASILISK], ids=["Actor", "Basilisk"])
def test_the_tutorial_in_python(shell, tmp_path, source):
    pytest.importorskip("icp_candid")
    (tmp_path / "one.py").write_text(source)
    (tmp_path / "two.py").write_text(source.replace("+= 1", "+= 3").replace(") + 1)", ") + 3)"))
    before, after = tutorial(shell, tmp_path / "one.py", tmp_path / "two.py", tmp_path / "c")
    assert (before, after) == (["(1 : nat)", "(2 : nat)", "(3 : nat)"], ["(6 : nat)", "(9 : nat)"])
    assert shell("query", tmp_path / "c", "get") == "(9 : nat)"


def test_a_rust_canister_on_stable_structures(shell, tmp_path):
    folder = tmp_path / "ledger"
    assert shell("deploy", BUILT / "ledger.wasm.gz", folder, "--arg", "(opt 7)").endswith("-cai")
    assert shell("call", folder, "deposit", '("ada", 100)') == "(100 : nat64)"
    assert "not enough money" in shell("call", folder, "transfer", '("ada", "bob", 1000)')
    assert shell("query", folder, "accounts") == '(vec { record { "ada"; 100 : nat64 } })'
    assert shell("query", folder, "deposit", '("ada", 1)').startswith("1: IC0536")
    assert "[TRAP]" in shell("logs", folder)
    assert shell("upgrade", folder, BUILT / "ledger.wasm.gz").startswith("upgraded")
    assert shell("query", folder, "balance", '("ada")') == "(opt (100 : nat64))"
    assert check(folder) == []
    facts = json.loads(shell("status", folder, "--json"))
    assert (facts["status"], facts["stable memory pages"]) == ("running", 257)
    assert "stable memory pages:" in shell("status", folder)


def test_a_rust_canister_with_hooks(shell, tmp_path):
    folder = tmp_path / "hooks"
    shell("deploy", BUILT / "hooks.wasm.gz", folder)
    assert shell("call", folder, "add", '("x")') == "(1 : nat64)"
    shell("call", folder, "break_hook", "(true)")
    assert "told to fail" in shell("upgrade", folder, BUILT / "hooks.wasm.gz")
    shell("call", folder, "break_hook", "(false)")
    shell("upgrade", folder, BUILT / "hooks.wasm.gz")
    assert shell("query", folder, "state") == '(record { upgrades = 1 : nat32; notes = vec { "x" } })'


def test_what_is_wrong_says_so(shell, tmp_path):
    folder = tmp_path / "c"
    assert shell("call", folder, "inc").startswith("2: ")
    assert "canister deploy MODULE" in shell("status", folder)
    shell("deploy", BUILT / "counter1_eop.wasm", folder)
    assert "not empty" in shell("deploy", BUILT / "counter1_eop.wasm", folder)
    assert shell("call", folder, "inc", "(1").startswith("2: ")
    assert "expected 0 arguments" in shell("call", folder, "inc", "(1)")
    assert "file not found" in shell("upgrade", folder, tmp_path / "none.wasm")
    assert shell("call", folder, "inc") == "(1 : nat)"
    with pytest.raises(SystemExit):
        main(["canister"])


@pytest.mark.parametrize("name", ["metadata.json", "notes.txt", ".hidden", "inner/file"])
def test_nothing_that_is_in_a_folder_is_replaced_by_a_new_canister(tmp_path, name):
    """Neither a snapshot without canister.json nor what has nothing to do with canisters."""
    folder = tmp_path / "c"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("mine")
    (tmp_path / "actor.py").write_text(ACTOR)
    with pytest.raises(SourceError, match="the folder is not empty"):
        Deployment(folder).deploy(tmp_path / "actor.py")
    assert (folder / name).read_text() == "mine"
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / name]


def test_a_change_of_an_older_state_is_not_made(tmp_path):
    """Whoever saw a revision writes on that one or not at all."""
    (tmp_path / "actor.py").write_text(ACTOR)
    deployment = Deployment(tmp_path / "c")
    deployment.deploy(tmp_path / "actor.py")
    seen = deployment.revision()
    with deployment.write_if(seen) as canister:
        assert canister.call("inc") == 1
    newer = deployment.revision()
    assert newer != seen
    with deployment.write_if(seen) as canister:
        assert canister is None
    assert deployment.revision() == newer
    with deployment.read() as canister:
        assert canister.query("get") == 1


def test_the_last_thousand_lines_of_the_log_are_kept(tmp_path):
    (tmp_path / "actor.py").write_text(ACTOR)
    deployment = Deployment(tmp_path / "c")
    deployment.deploy(tmp_path / "actor.py")
    with deployment.write() as canister:
        canister.logs[:] = [f"line {i}" for i in range(1005)]
    with deployment.read() as canister:
        assert canister.logs == [f"line {i}" for i in range(5, 1005)]


def test_an_interface_can_be_given_later(shell, tmp_path):
    folder = tmp_path / "w"
    shell("deploy", BUILT / "edges.wasm", folder)
    assert "--did" in shell("call", folder, "look", "(1)")
    (tmp_path / "edges.did").write_text("service : { look : () -> () query; bump : (nat) -> () }")
    assert "expected 0 arguments" in shell("query", folder, "look", "(1)", "--did", tmp_path / "edges.did")
    assert "expected nat" in shell("call", folder, "bump", "(-1)", "--did", tmp_path / "edges.did")
    assert "expected 0 arguments" in shell("call", folder, "look", "(1)")  # from here on the folder has it


def test_a_snapshot_of_dfx_is_a_canister(shell, tmp_path, canister):
    one = canister(BUILT / "counter1_eop.wasm")
    one.call("inc")
    one.save_snapshot(tmp_path / "s")
    assert not (tmp_path / "s" / "canister.json").exists()
    with Deployment(tmp_path / "s").read() as read:
        assert read.time == one.time  # of the snapshot: no clock goes back
    assert shell("call", tmp_path / "s", "inc") == "(2 : nat)"
    assert shell("call", tmp_path / "s", "inc") == "(3 : nat)"


def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def test_commands_wait_for_each_other(tmp_path):
    folder = tmp_path / "c"
    Deployment(folder).deploy(BUILT / "counter1_eop.wasm")

    def work():
        for _ in range(5):
            with Deployment(folder).write() as canister:
                canister.call("inc")

    children = [in_child(work) for _ in range(4)]
    for child in children:
        os.waitpid(child, 0)
    with Deployment(folder).read() as canister:
        assert canister.query("get") == 20


def killed_at_random(tmp_path, times):
    """Kills a command at any moment: the folder is as before its message or after it."""
    folder, rng = tmp_path / "c", random.Random(5)
    Deployment(folder).deploy(BUILT / "counter1_eop.wasm")
    with Deployment(folder).read() as canister:
        known = canister.query("get")
    after = 0

    def work():
        with Deployment(folder).write() as canister:
            canister.call("inc")

    begin = time.perf_counter()
    os.waitpid(in_child(work), 0)
    known, span = known + 1, time.perf_counter() - begin
    for _ in range(times):
        child = in_child(work)
        time.sleep(rng.random() * span * 1.2)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with Deployment(folder).read() as canister:
            now = canister.query("get")
        assert now in (known, known + 1)
        after += now - known
        known = now
    with Deployment(folder).write() as canister:
        assert canister.call("inc") == known + 1
    assert {path.name for path in tmp_path.iterdir()} == {"c", ".c.lock"}
    return after


def test_a_command_that_is_killed_leaves_the_folder_whole(tmp_path):
    assert 0 < killed_at_random(tmp_path, 25) < 25


@pytest.mark.slow
def test_two_hundred_kills(tmp_path):
    assert 0 < killed_at_random(tmp_path, 200) < 200


def test_a_deployment_knows_whether_it_is_there(tmp_path):
    assert not Deployment(tmp_path / "c").exists()
    Deployment(tmp_path / "c").deploy(BUILT / "start.wasm")
    assert Deployment(tmp_path / "c").exists()
    with pytest.raises(SourceError, match="file not found"):
        Deployment(tmp_path / "d").deploy(tmp_path / "none.wasm")


VERBS = [["status"], ["status", "--json"], ["logs"], ["query", "get"], ["call", "inc"]]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_closed_pipe_and_a_full_output_end_every_verb_as_they_should(verb, unbuffered, shell, tmp_path):
    (tmp_path / "counter.py").write_text(ACTOR)
    shell("deploy", tmp_path / "counter.py", tmp_path / "state")
    words = ["canister", verb[0], tmp_path / "state", *verb[1:]]
    options = {"text": False, "env": {**os.environ, "PYTHONUNBUFFERED": unbuffered}}
    reader, writer = os.pipe()
    os.close(reader)
    done = command.run(words, stdout=writer, **options)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    with Path("/dev/full").open("wb") as full:
        done = command.run(words, stdout=full, **options)
    silent = verb == ["logs"]  # there are none
    assert (done.returncode, len(done.stderr.splitlines())) == ((0, 0) if silent else (2, 1))
    assert silent or b"the output cannot be written: No space left on device" in done.stderr


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(("wasmtime", "icp_candid", "starlette", "uvicorn")))
import contextlib, io, json
from stable_structures.__main__ import main

def said(words):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = main(["canister", *words])
    return out.getvalue().strip() if status == 0 else f"{status}: {err.getvalue().strip()}"

print(json.dumps(list(map(said, json.loads(sys.argv[1])))))
"""


def test_python_in_a_folder_needs_no_extra(tmp_path):
    """Every verb but serve, which names what to install; a Wasm module names the other extra."""

    (tmp_path / "actor.py").write_text(ACTOR)
    inc, wasm = ("call", "c", "inc", "()"), str(BUILT / "ledger.wasm.gz")
    asked = [("deploy", "actor.py", "c"), inc, inc, ("query", "c", "get"), ("stop", "c"), ("upgrade", "c", "actor.py"), ("start", "c"), inc]
    asked += [("status", "c"), ("logs", "c"), ("serve", "c"), ("deploy", wasm, "w")]
    words = [sys.executable, "-c", WITHOUT, json.dumps(asked)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    deployed, *answers, status, logs, serve, refused = json.loads(done.stdout)
    assert deployed.endswith("-cai")
    assert answers == ["(1 : nat)", "(2 : nat)", "(2 : nat)", "stopped", "upgraded to version 6", "running", "(3 : nat)"]
    assert "status:               running" in status
    assert logs == ""
    assert serve == "2: canister serve needs starlette and uvicorn: pip install 'stable-structures[serve]'"
    assert "pip install 'stable-structures[wasm]'" in refused


# ---- counters ----


@pytest.mark.parametrize(
    ("file", "name"), [("metadata.json", "canister_version"), ("metadata.json", "taken_at_timestamp"), ("canister.json", "time")]
)
@pytest.mark.parametrize("value", [2**63 - 1, 2**63, 2**64 - 1])
def test_what_counts_on_fits_its_bits_or_is_refused_and_the_folder_stays(file, name, value, tmp_path, shell):
    folder = tmp_path / "c"
    shell("deploy", BUILT / "counter1_eop.wasm", folder)
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    for words in (("call", folder, "inc"), ("upgrade", folder, BUILT / "counter1_eop.wasm"), ("call", folder, "inc"), ("status", folder)):
        before, said = {one.name: one.read_bytes() for one in folder.iterdir()}, shell(*words)
        assert not said.startswith("2:") if value < 2**63 else said.startswith("2:") and name in said
        assert value < 2**63 or {one.name: one.read_bytes() for one in folder.iterdir()} == before


# ---- calls into the network ----

ASKS = """
from stable_structures.canister import ic, init, post_upgrade, update
async def ask():
    await ic.call("aaaaa-aa", "http_request", {"url": "https://example.org"})
@init
def begin():
    ic.set_timer(0, ask)
@post_upgrade
def go_on():
    ic.set_timer(0, ask)
@update
def go():
    return 1
@update
async def wait():
    try:
        return await ic.call("aaaaa-aa", METHOD)
    except Exception as error:
        return str(error)
"""
ASKS_IN_WASM = """(module
 (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
 (import "ic0" "call_perform" (func $perform (result i32)))
 (import "ic0" "global_timer_set" (func $timer (param i64) (result i64)))
 (import "ic0" "trap" (func $trap (param i32 i32)))
 (import "ic0" "msg_reject_msg_copy" (func $copy (param i32 i32 i32)))
 (import "ic0" "msg_reject_msg_size" (func $size (result i32)))
 (import "ic0" "msg_reply" (func $reply))
 (memory (export "memory") 1)
 (data (i32.const 8) "http_request")
 (table funcref (elem $refused))
 (func $refused (param i32)
   (call $copy (i32.const 64) (i32.const 0) (call $size))
   (call $trap (i32.const 64) (call $size)))
 (func $begin (drop (call $timer (i64.const 1))))
 (export "canister_init" (func $begin))
 (export "canister_post_upgrade" (func $begin))
 (func (export "canister_global_timer")
   (call $new (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 12) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
   (drop (call $perform)))
 (func (export "canister_update go") (call $reply)))"""


@pytest.mark.parametrize("language", ["Python", "Wasm"])
def test_a_timer_that_wants_the_network_keeps_no_command_from_its_folder(language, tmp_path, shell):
    wasmtime = pytest.importorskip("wasmtime")
    module, folder = tmp_path / f"asks.{'py' if language == 'Python' else 'wasm'}", tmp_path / "c"
    module.write_bytes(ASKS.replace("METHOD", repr("any")).encode() if language == "Python" else wasmtime.wat2wasm(ASKS_IN_WASM))
    shell("deploy", module, folder)
    for command_ in (("call", folder, "go"), ("stop", folder), ("start", folder), ("upgrade", folder, module), ("call", folder, "go")):
        assert not shell(*command_).startswith(("1:", "2:")), command_
    assert shell("logs", folder).count("http_request: the harness does not have it") >= 2
    assert "a canister in a folder has no network" in shell("logs", folder)


@pytest.mark.parametrize("method", ["http_request", "bitcoin_get_balance", "no_such_method", ""])
def test_what_the_management_canister_lacks_here_is_rejected_in_a_folder_and_an_error_in_a_test(method, tmp_path, shell):
    source = ASKS.replace("METHOD", repr(method))
    (tmp_path / "asks.py").write_text(source)
    shell("deploy", tmp_path / "asks.py", tmp_path / "c")
    assert f"the management canister's {method}: the harness does not have it" in shell("call", tmp_path / "c", "wait")
    canister = Canister.install(source)
    with pytest.raises(Unsupported, match="register one with"):
        canister.call("wait")
