"""Real canisters: the fixtures of tests/canisters/wasm, installed, called, trapped, queried, upgraded, snapshotted."""

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from stable_structures import MemoryManager, Principal, StableBTreeMap, StableCell, StableMemory, StableVec, u64
from stable_structures.canister import Call, Canister, ErrorCode, Limits, Rejected, SourceError, Trapped, Unsupported, management
from stable_structures.encodings.candid.codec import decode, encode

from ..support import command

pytest.importorskip("wasmtime")
BUILT = Path(__file__).parent / "wasm"
MOTOKO = ("eop", "classical")


def built(name):
    return BUILT / name


def code_of(function, *args):
    with pytest.raises(Rejected) as failed:
        function(*args)
    return int(failed.value.error_code)


@pytest.fixture
def ledger(canister):
    made = canister(built("ledger.wasm.gz"), arg=(7,))
    made.call("deposit", "ada", 100)
    return made


def test_a_rust_canister_is_installed_called_and_asked(ledger):
    assert ledger.call("deposit", "ada", 1) == 101
    assert ledger.query("accounts") == [("ada", 101)]
    assert ledger.query("balance", "bob") is None
    assert ledger.module is None
    assert ledger.module_hash == hashlib.sha256(built("ledger.wasm.gz").read_bytes()).digest()
    assert "deposit" in ledger.candid
    assert ledger.call("transfer", "ada", "bob", 10) == {"Ok": 84}  # the fee is the argument of install
    assert ledger.call("transfer", "eve", "bob", 10) == {"Err": "no account eve"}


def test_a_trap_leaves_heap_and_stable_memory_as_they_were(ledger):
    image, seen = ledger.memory.read(0, ledger.memory.nbytes), ledger.query("seen")
    with pytest.raises(Trapped, match="not enough money") as failed:
        ledger.call("transfer", "ada", "bob", 1000)
    assert failed.value.error_code is ErrorCode.CALLED_TRAP
    assert ledger.memory.read(0, ledger.memory.nbytes) == image
    assert (ledger.query("seen"), ledger.query("transfers"), ledger.query("balance", "bob")) == (seen, 0, None)
    assert ledger.logs[-1].startswith("[TRAP]: ")


def test_a_query_that_writes_leaves_nothing(ledger):
    before = ledger.memory.read(0, ledger.memory.nbytes)
    assert ledger.query("what_if", "ada", 5) == 105
    assert ledger.call("what_if", "ada", 5) == 105
    assert ledger.memory.read(0, ledger.memory.nbytes) == before
    assert ledger.query("balance", "ada") == 100


def test_our_structures_read_what_the_canister_wrote(ledger):
    ledger.call("transfer", "ada", "bob", 10)
    accounts = StableBTreeMap[str, u64](ledger.manager.get(0))
    accounts.check()
    assert dict(accounts) == {"ada": 83, "bob": 10}
    transfers = StableVec[u64](ledger.manager.get(1))
    transfers.check()
    assert list(transfers) == [10]
    assert StableCell[u64](ledger.manager.get(2), 0).get() == 7


def test_the_canister_reads_what_our_structures_wrote(canister):
    memory = StableMemory()
    accounts = StableBTreeMap[str, u64](MemoryManager(memory).get(0))
    accounts.update({"ada": 5, "bob": 6})
    ledger = canister(built("ledger.wasm.gz"), memory=memory)
    assert ledger.query("accounts") == [("ada", 5), ("bob", 6)]


def test_a_rust_canister_is_upgraded_and_its_heap_is_new(ledger):
    ledger.upgrade()
    assert (ledger.query("balance", "ada"), ledger.query("seen"), ledger.version) == (100, 0, 3)
    ledger.reinstall(built("ledger.wasm.gz"), (1,))
    assert ledger.query("accounts") == []


def test_hooks_of_an_upgrade_save_and_restore(canister):
    hooks = canister(built("hooks.wasm.gz"))
    hooks.call("add", "x")
    hooks.upgrade()
    assert hooks.query("state") == {"notes": ["x"], "upgrades": 1}
    hooks.call("break_hook", True)
    image = hooks.memory.read(0, hooks.memory.nbytes)
    with pytest.raises(Trapped, match="told to fail"):
        hooks.upgrade()
    assert hooks.query("state") == {"notes": ["x"], "upgrades": 1}
    assert hooks.memory.read(0, hooks.memory.nbytes) == image
    hooks.upgrade(skip_pre_upgrade=True)
    assert hooks.query("state") == {"notes": ["x"], "upgrades": 1}  # as the last good hook saved it


def test_a_heap_that_grew_is_small_again_after_a_trap(canister):
    hooks = canister(built("hooks.wasm.gz"))
    pages = hooks.query("heap_pages")
    assert [code_of(hooks.call, "hog", 5_000_000, how) for how in (1, 2, 3)] == [503, 503, 502]
    assert hooks.query("heap_pages") == pages
    assert hooks.call("hog", 5_000_000, 0) == 5_000_000
    assert hooks.query("heap_pages") > pages


def test_an_endless_loop_stops_at_the_limit(canister):
    hooks = canister(built("hooks.wasm.gz"), limits=Limits(instructions_update=20_000_000))
    with pytest.raises(Trapped, match="exceeded the limit of 20000000 instructions") as failed:
        hooks.call("hog", 10, 4)
    assert failed.value.error_code is ErrorCode.INSTRUCTION_LIMIT
    assert 20_000_000 < hooks.instructions < 20_100_000
    assert hooks.call("add", "still here") == 1


@pytest.mark.parametrize("kind", MOTOKO)
def test_the_tutorial(canister, kind):
    counter = canister(built(f"counter1_{kind}.wasm"))
    assert [counter.call("inc") for _ in range(3)] == [1, 2, 3]
    counter.stop()
    counter.upgrade(built(f"counter2_{kind}.wasm"))
    counter.start()
    assert [counter.call("inc") for _ in range(2)] == [6, 9]
    assert (counter.query("get"), counter.query("callsSinceUpgrade")) == (9, 2)
    assert counter.memory.size() == (0 if kind == "eop" else 1)


def test_motokos_heap_is_kept_as_the_platform_says(canister):
    counter = canister(built("counter1_eop.wasm"))
    counter.call("inc")
    assert code_of(lambda: counter.upgrade(built("counter2_eop.wasm"), wasm_memory_persistence=None)) == 504
    assert code_of(lambda: counter.upgrade(built("counter2_classical.wasm"))) == 504
    assert code_of(lambda: counter.upgrade(built("counter2_classical.wasm"), wasm_memory_persistence="keep")) == 504
    assert counter.query("get") == 1
    counter.upgrade(built("counter2_eop.wasm"), wasm_memory_persistence="replace")
    assert counter.query("get") == 0


def test_an_upgrade_that_traps_keeps_motokos_heap(canister):
    counter = canister(built("counter1_eop.wasm"))
    counter.call("inc")
    counter.limits = Limits(instructions_install=1000)
    assert code_of(lambda: counter.upgrade(built("counter2_eop.wasm"))) == 522
    counter.limits = Limits()
    assert counter.call("inc") == 2


@pytest.mark.parametrize(
    ("name", "method", "args", "read", "before", "after"),
    [
        ("ledger.wasm.gz", "deposit", ("ada", 5), ("balance", "ada"), None, 5),
        ("hooks.wasm.gz", "add", ("x",), ("state",), {"notes": [], "upgrades": 0}, {"notes": ["x"], "upgrades": 0}),
        ("counter1_eop.wasm", "inc", (), ("get",), 0, 1),
        ("counter1_classical.wasm", "inc", (), ("get",), 0, 1),
    ],
)
def test_a_snapshot_is_taken_and_loaded_any_number_of_times(  # noqa: PLR0913, PLR0917 - the cases
    canister, name, method, args, read, before, after
):
    made = canister(built(name))
    snapshot = made.snapshot()
    for _ in range(2):
        assert made.query(*read) == before
        made.call(method, *args)
        assert made.query(*read) == after
        made.load_snapshot(snapshot)
    assert made.query(*read) == before


# ---- the raw edges ----


@pytest.fixture
def edges(canister):
    return canister(built("edges.wasm"))


def test_traps_of_the_machine_have_the_platforms_texts(edges):
    def text(method):
        with pytest.raises(Rejected) as failed:
            edges.call_raw(method)
        return str(failed.value)

    assert [text(name) for name in ("div", "oob", "deep", "stable_oob", "bump_grow_trap")] == [
        "IC0502: Canister trapped: integer division by 0",
        "IC0502: Canister trapped: heap out of bounds",
        "IC0502: Canister trapped: stack overflow",
        "IC0502: Canister trapped: stable memory out of bounds",
        "IC0502: Canister trapped: unreachable",
    ]
    assert text("twice").startswith("IC0504: Canister violated contract: ")
    assert text("silent").startswith("IC0506: ")
    assert edges.query_raw("g") == b"\5\0\0\0"
    assert edges.query_raw("pages") == b"\1\0\0\0"


def test_tables_do_not_survive_a_message_and_globals_do(edges):
    assert edges.call_raw("table") == b"\2\0\0\0"
    assert edges.query_raw("look") == b"\1\0\0\0"
    assert (edges.call_raw("bump"), edges.call_raw("bump"), edges.query_raw("g")) == (b"\6\0\0\0", b"\7\0\0\0", b"\7\0\0\0")
    assert edges.call_raw("grow_too_much") == b"\xff\xff\xff\xff"
    assert edges.call_raw("stable_nothing") == b"\7\0\0\0"
    assert edges.call_raw("stable_grow") == b"\0\0\0\0"


def test_a_start_function_runs_before_init_and_once(canister):
    made = canister(built("start.wasm"))
    assert (made.memory.size(), made.query_raw("g")) == (2, b"\7\0\0\0")
    assert (made.memory.size(), made.query_raw("g")) == (2, b"\7\0\0\0")
    made.upgrade()
    assert made.memory.size() == 4


@pytest.mark.slow
def test_a_heap_above_four_gibibytes(canister):
    wide = canister(built("wide.wasm"))
    assert wide.call_raw("grow") == wide.query_raw("peek") == b"M" + bytes(7)
    assert wide.heap_size > 2**32


# ---- calls ----


@pytest.fixture
def pair(canister):
    return canister(built("caller.wasm.gz")), canister(built("caller.wasm.gz"))


def test_canisters_call_each_other(pair):
    one, other = pair
    assert one.call("ask", other.id, "echo", "hi") == "hi"
    assert one.call("ask", one.id, "echo", "me") == "me"
    assert one.query("ask_query", other.id, "echo", "q") == "q"
    assert "IC0536" in one.call("ask", other.id, "nothing", "x")
    assert "IC0301" in one.call("ask", "ryjl3-tyaaa-aaaaa-aaaba-cai", "echo", "x")
    other.stop()
    assert "IC0508" in one.call("ask", other.id, "echo", "x")


def test_cycles_that_were_not_taken_come_back(pair):
    one, other = pair
    assert one.call("pay", other.id, 1000) == 500
    assert (one.cycles, other.cycles) == (10**13 - 500, 10**13 + 500)


def test_a_trap_in_a_callback_undoes_the_callback_and_runs_the_cleanup(pair):
    one, other = pair
    with pytest.raises(Trapped, match="after the call"):
        one.call("trap_after", other.id)
    assert one.query("log") == ["kept"]
    assert one.call("ask", other.id, "echo", "goes on") == "goes on"


def test_inspection_silence_and_randomness(pair):
    one, _ = pair
    assert code_of(one.call, "forbidden") == 516
    assert code_of(one.call, "silent") == 506
    first, second = one.call("random"), one.call("random")
    assert (len(first), len(second), first == second) == (32, 32, False)


def test_timers_and_heartbeats(pair):
    one, _ = pair
    one.call("remind", 60, "up")
    assert one.global_timer == one.time + 60 * 10**9
    assert one.advance_time(59) == []
    assert one.query("log") == []
    one.advance_time(2)
    assert (one.query("log"), one.query("beats")) == (["up"], 2)
    one.call("remind", 0, "at once")
    assert one.query("log") == ["up", "at once"]
    one.call("tick", 10)
    one.advance_time(35)
    assert len(one.query("log")) == 5


def test_certified_data_and_facts(pair):
    one, _ = pair
    one.call("certify", b"d" * 32)
    assert one.certified_data == b"d" * 32
    assert one.query("certificate") == one.data_certificate
    assert one.call("certificate") is None
    time, version, status, caller, controller, replicated, balance = one.call("facts_update")
    assert (time, version, status, controller, replicated, balance) == (one.time, one.version - 1, "Running", True, True, one.cycles)
    assert one.query("facts_query")[5] is False
    assert one.query("facts_query", caller=one.id)[3:5] == (one.id, False)
    assert caller == one.controllers[0]


def test_instructions_are_counted_and_the_same_each_time(pair):
    one, _ = pair
    small, large = one.call("work", 100), one.call("work", 1100)
    assert small > 1000
    assert (large - small) % 1000 == 0
    assert one.call("work", 100) == small
    assert one.instructions > small


def test_a_wasm_and_a_python_canister_call_each_other(pair, canister):
    one, _ = pair
    source = "from stable_structures.canister import ic, query, update\n@query\ndef echo(text): return text + '!'\n"
    source += "@update\nasync def ask(who, text): return await ic.call(who, 'echo', text)\n"
    python = canister(source)
    assert one.call("ask", python.id, "echo", "hi") == "hi!"
    assert python.call("ask", one.id, "ho") == "ho"


def test_a_registered_handler_answers_a_wasm_canister(pair):
    one, _ = pair
    one.register("ryjl3-tyaaa-aaaaa-aaaba-cai", "echo", lambda text: text * 2)
    assert one.call("ask", "ryjl3-tyaaa-aaaaa-aaaba-cai", "echo", "hi") == "hihi"

    @lambda handler: one.register("ryjl3-tyaaa-aaaaa-aaaba-cai", "no", handler)
    def refuse(_):
        raise Rejected(ErrorCode.CANISTER_REJECTED, "not today")

    assert "not today" in one.call("ask", "ryjl3-tyaaa-aaaaa-aaaba-cai", "no", "hi")
    with pytest.raises(Unsupported, match=r"register\('aaaaa-aa', 'sign_with_ecdsa', function\)"):
        one.call("ask", "aaaaa-aa", "sign_with_ecdsa", "x")
    assert one.call("ask", one.id, "echo", "nothing is stuck") == "nothing is stuck"
    one.stop()
    assert one.status == "stopped"


# ---- what is given ----


def test_a_module_may_be_bytes_gzipped_or_not(canister):
    packed = built("ledger.wasm.gz").read_bytes()
    assert canister(packed).query("accounts") == []
    assert canister(gzip.decompress(packed)).query("accounts") == []


def test_what_is_no_canister_says_so():
    with pytest.raises(SourceError, match="not a Wasm module"):
        Canister.install(b"print('hello')")
    with pytest.raises(SourceError, match="file not found"):
        Canister.install("nowhere.wasm")
    with pytest.raises(SourceError, match="cut off"):
        Canister.install(built("ledger.wasm.gz").read_bytes()[:-100])
    with pytest.raises(TypeError, match="heap="):
        Canister.install(built("ledger.wasm.gz"), heap="keep")
    with pytest.raises(TypeError, match="did="):
        Canister.install("from stable_structures.canister import query\n@query\ndef f(): pass\n", did="service : {}")


def test_values_that_are_not_of_their_type_say_so(ledger):
    with pytest.raises(TypeError, match="argument 2: expected nat64, got str 'x'"):
        ledger.call("deposit", "ada", "x")
    with pytest.raises(OverflowError, match="expected nat64, got -1"):
        ledger.call("deposit", "ada", -1)
    with pytest.raises(TypeError, match=r"expected 2 arguments \(text, nat64\), got 1"):
        ledger.call("deposit", "ada")
    with pytest.raises(Rejected, match=r"no update method 'nope' \(its methods: accounts, balance"):
        ledger.call("nope")


def test_an_interface_can_be_given(edges, canister, tmp_path):
    with pytest.raises(Unsupported, match="pass did="):
        edges.call("bump", 1)
    did = tmp_path / "edges.did"
    did.write_text("service : { bump : () -> (); }", encoding="utf-8")
    assert canister(built("edges.wasm"), did=did).candid == did.read_text(encoding="utf-8")
    (tmp_path / "edges.wasm").write_bytes(built("edges.wasm").read_bytes())
    assert canister(tmp_path / "edges.wasm").candid == "service : { bump : () -> (); }"


def test_identifiers_of_real_canisters_are_left_alone():
    assert all(not str(Canister().id).endswith("aaaaa-aaaba-cai") for _ in range(3))
    assert bytes(Canister().id)[:5] == b"\xff" * 5


def test_without_a_wasm_canister_wasmtime_is_not_imported():
    code = "import sys, stable_structures.canister, stable_structures.canister.plugin; print('wasmtime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_without_wasmtime_the_extra_is_named():
    code = "import sys; sys.modules['wasmtime'] = None\nfrom stable_structures.canister import Canister\n"
    code += f"Canister.install({str(built('start.wasm'))!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Unsupported: Wasm canisters need wasmtime: pip install 'stable-structures[wasm]'" in done.stderr


def test_another_wasmtime_is_not_used():
    """Its structures may have another form."""
    code = "import importlib.metadata as m\nold = m.version\nm.version = lambda name: '49.0.0' if name == 'wasmtime' else old(name)\n"
    code += f"from stable_structures.canister import Canister\nCanister.install({str(built('start.wasm'))!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Unsupported: wasmtime 49.0.0 is not supported by this version of stable-structures" in done.stderr
    assert "wasmtime>=50,<51" in done.stderr


def test_collecting_tests_does_not_import_wasmtime(tmp_path):
    (tmp_path / "test_one.py").write_text("def test_one(canister): pass\n")
    (tmp_path / "conftest.py").write_text("import sys\ndef pytest_sessionfinish(): print('wasmtime:', 'wasmtime' in sys.modules)\n")
    done = command.run_pytest("-q", "-s", "-p", "no:cacheprovider", str(tmp_path), cwd=tmp_path)
    assert "1 passed" in done.stdout
    assert "wasmtime: False" in done.stdout


# ---- what a generated canister shows ----


def wat(text):
    return bytes(pytest.importorskip("wasmtime").wat2wasm(text))


ANSWER = '(import "ic0" "msg_reply" (func $reply)) (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))'


@pytest.mark.parametrize(("wide", "price"), [(False, 42_102_428_000), (True, 82_102_428_000)])
def test_the_price_of_a_call_is_that_of_the_platforms_own_test(canister, wide, price):
    kind = "i64" if wide else "i32"
    made = canister(
        wat(f"""(module {ANSWER.replace("i32 i32", f"{kind} {kind}")}
      (import "ic0" "cost_call" (func $cost (param i64 i64 {kind}))) (memory {"i64" if wide else ""} 1)
      (func (export "canister_query price") (call $cost (i64.const 6) (i64.const 10) ({kind}.const 0))
        (call $append ({kind}.const 0) ({kind}.const 16)) (call $reply)))""")
    )
    assert int.from_bytes(made.query_raw("price"), "little") == price


def test_a_heap_cannot_grow_past_what_the_platform_allows(canister):
    for kind, pages in (("i32", 65536), ("i64", 98304)):
        made = canister(
            wat(f"""(module {ANSWER.replace("i32 i32", f"{kind} {kind}")} (memory {"i64" if kind == "i64" else ""} 1)
          (func (export "canister_query grow") ({kind}.store ({kind}.const 0) (memory.grow ({kind}.const {pages})))
            (call $append ({kind}.const 0) ({kind}.const 4)) (call $reply)))""")
        )
        assert made.query_raw("grow") == b"\xff" * 4
        assert made.heap_size == 65536


def test_environment_variables_and_settings(canister):
    made = canister(
        wat(f"""(module {ANSWER} (import "ic0" "env_var_value_size" (func $size (param i32 i32) (result i32)))
      (import "ic0" "env_var_value_copy" (func $copy (param i32 i32 i32 i32 i32))) (memory 1) (data (i32.const 0) "KEY")
      (func (export "canister_query value") (call $copy (i32.const 0) (i32.const 3) (i32.const 100) (i32.const 0)
        (call $size (i32.const 0) (i32.const 3)))
        (call $append (i32.const 100) (call $size (i32.const 0) (i32.const 3))) (call $reply)))"""),
        env={"KEY": "value", "OTHER": "x"},
    )
    assert made.query_raw("value") == b"value"
    made.env["KEY"] = "another"
    assert made.query_raw("value") == b"another"
    del made.env["KEY"]
    with pytest.raises(Trapped, match="no such variable"):
        made.query_raw("value")


def test_stable_memory_of_32_bits_ends_at_four_gibibytes(canister):
    made = canister(
        wat(f"""(module {ANSWER} (import "ic0" "stable_grow" (func $grow (param i32) (result i32))) (memory 1)
      (func (export "canister_update most") (i32.store (i32.const 0) (call $grow (i32.const 65536)))
        (i32.store (i32.const 4) (call $grow (i32.const 1))) (call $append (i32.const 0) (i32.const 8)) (call $reply)))""")
    )
    assert made.call_raw("most") == bytes(4) + b"\xff" * 4
    assert made.memory.size() == 65536
    made.memory.grow(1)
    with pytest.raises(Trapped, match="larger than 4GB"):
        made.call_raw("most")


def test_an_answer_comes_to_the_code_that_was_put_in_place_meanwhile(canister):
    """The callback is a number of the table, as on the platform."""
    text = f"""(module {ANSWER} (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
      (import "ic0" "call_perform" (func $perform (result i32))) (memory 1) (data (i32.const 0) "\\01\\02") (data (i32.const 8) "go")
      (data (i32.const 16) "VALUE") (table 1 funcref) (elem (i32.const 0) $answer)
      (func $answer (param i32) (call $append (i32.const 16) (i32.const 5)) (call $reply))
      (func (export "canister_update ask") (call $new (i32.const 0) (i32.const 2) (i32.const 8) (i32.const 2)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (drop (call $perform))))"""
    one = canister(wat(text))
    one.register(Principal(b"\1\2"), "go", lambda: one.upgrade(wat(text.replace("VALUE", "after"))))
    assert one.call_raw("ask") == b"after"
    one.register(Principal(b"\1\2"), "go", one.uninstall)
    with pytest.raises(Rejected):
        one.call_raw("ask")
    assert one.under_way == {Principal(b"\1\2"): 0}


def test_five_hundred_calls_to_one_canister_are_under_way_at_most(canister):
    made = canister(
        wat(f"""(module {ANSWER} (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
      (import "ic0" "call_perform" (func $perform (result i32))) (memory 1) (data (i32.const 0) "\\01\\02") (data (i32.const 8) "go")
      (table 1 funcref) (elem (i32.const 0) $answer) (global $done (mut i32) (i32.const 0)) (func $answer (param i32)
        (global.set $done (i32.add (global.get $done) (i32.const 1))))
      (func (export "canister_update ask") (local $sent i32)
        (block $full (loop $next
          (call $new (i32.const 0) (i32.const 2) (i32.const 8) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0)
          (i32.const 0)) (br_if $full (call $perform)) (local.set $sent (i32.add (local.get $sent) (i32.const 1))) (br $next)))
        (i32.store (i32.const 100) (local.get $sent)) (call $append (i32.const 100) (i32.const 4)) (call $reply))
      (func (export "canister_query done") (i32.store (i32.const 100) (global.get $done)) (call $append (i32.const 100) (i32.const 4))
        (call $reply)))""")
    )
    for round_ in (1, 2):
        assert made.call_raw("ask") == (500).to_bytes(4, "little")
        assert made.query_raw("done") == (500 * round_).to_bytes(4, "little")


def test_a_canister_makes_canisters(canister):
    """The management canister, from Candid that another canister sends."""
    owner = canister(built("caller.wasm.gz"))
    methods = management.interface().methods

    def ask(method, *values, cycles=0):
        got = []
        call = Call(Principal.management_canister(), method, (encode(values, methods[method].args),), cycles, raw=True)
        management.receive(owner, call, lambda reply, refund: got.append((reply, refund)))
        reply, refund = got[0]
        return (reply.message if reply.rejected else decode(reply.value, methods[method].results)), refund

    (made,), refund = ask("create_canister", {"settings": None}, cycles=77)
    assert refund == 0
    target = {"canister_id": made["canister_id"]}
    module = built("counter1_eop.wasm").read_bytes()
    request = {"mode": {"install": None}, "wasm_module": module, "arg": b"DIDL\0\0", **target}
    assert ask("install_code", request) == ([], 0)
    child = Canister.find(made["canister_id"])
    assert (child.cycles, child.call("inc"), child.controllers) == (77, 1, [owner.id])
    assert "IC0514" in ask("install_code", request)[0]
    options = {"skip_pre_upgrade": None, "wasm_memory_persistence": {"keep": None}}
    assert ask("install_code", {**request, "mode": {"upgrade": options}}) == ([], 0)
    assert "IC0504" in ask("install_code", {**request, "mode": {"upgrade": None}})[0]
    assert child.call("inc") == 2
    assert ask("canister_status", target)[0][0]["module_hash"] == child.module_hash
    assert "IC0510" in ask("delete_canister", target)[0]
    assert ask("stop_canister", target) == ([], 0)
    assert child.status == "stopped"
    assert ask("delete_canister", target) == ([], 0)
    assert "IC0301" in ask("canister_status", target)[0]
    (random,), _ = ask("raw_rand")
    assert len(random) == 32


def test_a_heap_is_kept_by_a_module_of_another_width(canister):
    """As the platform does on request: bytes are bytes."""
    section = b"icp:private enhanced-orthogonal-persistence"
    marker = bytes([0, len(section) + 1, len(section)]) + section
    narrow = wat(f"""(module {ANSWER} (memory 2) (global $g (mut i32) (i32.const 1))
      (func (export "canister_update put") (i32.store (i32.const 70000) (i32.const 77)) (global.set $g (i32.const 5)) (call $reply)))""")
    wide = wat(f"""(module {ANSWER.replace("i32 i32", "i64 i64")} (memory i64 2) (data (i64.const 70000) "lost")
      (func (export "canister_query get") (call $append (i64.const 70000) (i64.const 4)) (call $reply)))""")
    made = canister(narrow)
    made.call_raw("put")
    made.upgrade(wide + marker, wasm_memory_persistence="keep")
    assert made.query_raw("get") == (77).to_bytes(4, "little")
    assert made.heap_size == 2 * 65536


def test_upgrades_again_and_again_leave_no_heaps_behind(canister):
    """Each upgrade has a heap of its own; the old one goes with its program."""
    made = canister(built("counter1_eop.wasm"))
    descriptors = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    for number in range(20):
        assert made.call("inc") == 1 + number * 4
        made.upgrade(built("counter2_eop.wasm"))
        assert made.call("inc") == 4 + number * 4
        made.upgrade(built("counter1_eop.wasm"))
    if descriptors:
        assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 2
