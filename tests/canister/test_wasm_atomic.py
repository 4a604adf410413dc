"""All or nothing: heap, globals, tables and stable memory of a Wasm canister against a model, with both kinds of heap."""

import contextlib
import gzip
import os
import random
import struct
import threading
from pathlib import Path

import pytest

from stable_structures.canister import Canister, ErrorCode, Limits, Rejected, SourceError, Trapped

from ..support import command

wasmtime = pytest.importorskip("wasmtime")
BUILT = Path(__file__).parent / "wasm"
PAGE = 65536
SCRATCH = range(57344, PAGE)  # where the argument lies while it is read
KINDS = ("mapped", "copying")

MACHINE = """(module
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  (import "ic0" "msg_reply" (func $reply)) (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "stable64_grow" (func $sgrow (param i64) (result i64)))
  (import "ic0" "stable64_write" (func $swrite (param i64 i64 i64)))
  (memory 1 40) (table 4 funcref) (elem (i32.const 0) $one $one $one $one) (elem declare func $two)
  (global $g (mut i64) (i64.const 1)) (global $f (mut f64) (f64.const 0.5)) (type $number (func (result i32)))
  (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
  (func $run (local $at i32) (local $end i32) (local $a i32) (local $b i64) (local $op i32)
    (call $copy (i32.const 57344) (i32.const 0) (call $size))
    (local.set $at (i32.const 57344)) (local.set $end (i32.add (local.get $at) (call $size)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $op (i32.load (local.get $at))) (local.set $a (i32.load offset=4 (local.get $at)))
      (local.set $b (i64.load offset=8 (local.get $at))) (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (if (i32.eq (local.get $op) (i32.const 0)) (then (i64.store (local.get $a) (local.get $b))))
      (if (i32.eq (local.get $op) (i32.const 1)) (then (global.set $g (local.get $b))))
      (if (i32.eq (local.get $op) (i32.const 2)) (then (table.set (local.get $a) (ref.func $two))))
      (if (i32.eq (local.get $op) (i32.const 3)) (then (i64.store (i32.const 57336) (local.get $b))
        (call $swrite (i64.extend_i32_u (local.get $a)) (i64.const 57336) (i64.const 8))))
      (if (i32.eq (local.get $op) (i32.const 4)) (then (drop (memory.grow (local.get $a)))))
      (if (i32.eq (local.get $op) (i32.const 5)) (then (drop (call $sgrow (local.get $b)))))
      (if (i32.eq (local.get $op) (i32.const 6)) (then (unreachable)))
      (if (i32.eq (local.get $op) (i32.const 7)) (then (global.set $f (f64.convert_i64_u (local.get $b)))))
      (br $next))))
  (func $state (i64.store (i32.const 57344) (global.get $g)) (f64.store (i32.const 57352) (global.get $f))
    (i32.store (i32.const 57360) (memory.size)) (i32.store (i32.const 57364) (call_indirect (type $number) (i32.const 2)))
    (call $append (i32.const 57344) (i32.const 24)) (call $reply))
  (func (export "canister_update run") (call $run) (call $reply))
  (func (export "canister_query try") (call $run) (call $reply))
  (func (export "canister_query state") (call $state)))"""
STORE, GLOBAL, TABLE, STABLE, GROW, STABLE_GROW, TRAP, FLOAT = range(8)


class Model:
    def __init__(self):
        self.heap, self.number, self.float, self.stable = bytearray(PAGE), 1, 0.5, bytearray()

    def copy(self):
        other = Model()
        other.heap, other.number, other.float, other.stable = bytearray(self.heap), self.number, self.float, bytearray(self.stable)
        return other

    def run(self, program):  # noqa: C901 - one for each step
        """The state after a program; None where it traps."""
        after = self.copy()
        for op, a, b in program:
            if op == STORE:
                if a + 8 > len(after.heap):
                    return None
                after.heap[a : a + 8] = struct.pack("<Q", b)
            elif op == GLOBAL:
                after.number = b
            elif op == STABLE:
                after.heap[57336:57344] = struct.pack("<Q", b)
                if a + 8 > len(after.stable):
                    return None
                after.stable[a : a + 8] = struct.pack("<Q", b)
            elif op == GROW:
                if len(after.heap) // PAGE + a <= 40:
                    after.heap += bytes(a * PAGE)
            elif op == STABLE_GROW:
                after.stable += bytes(b * PAGE)
            elif op == FLOAT:
                after.float = float(b)
            elif op == TRAP or (op == TABLE and a >= 4):
                return None
        return after


def make_program(rng, model):
    heap, stable = len(model.heap), len(model.stable)
    out = []
    for _ in range(rng.randrange(1, 40)):
        op = rng.choices(range(8), (20, 3, 3, 12, 1, 1, 0.4, 2))[0]
        spot = rng.randrange(0, max(1, (stable if op == STABLE else heap) - 8))
        if op == STORE and SCRATCH.start - 8 < spot < SCRATCH.stop:
            continue
        a = {TABLE: rng.choice((0, 1, 2, 3, 3, 2, 9 if rng.random() < 0.02 else 0)), GROW: rng.randrange(3)}.get(op, spot)
        out.append((op, a, rng.randrange(3) if op == STABLE_GROW else rng.getrandbits(48)))
    return out


def packed(program):
    return b"".join(struct.pack("<IIQ", *step) for step in program)


def check_same(canister, model):
    number, real, pages, called = struct.unpack("<QdII", canister.query_raw("state"))
    assert (number, real, pages * PAGE, called) == (model.number, model.float, len(model.heap), 1)
    heap = canister.program.heap
    assert heap.read(0, SCRATCH.start) == bytes(model.heap[: SCRATCH.start])
    assert heap.read(PAGE, heap.size - PAGE) == bytes(model.heap[PAGE:])
    assert canister.memory.read(0, canister.memory.nbytes) == bytes(model.stable)


@pytest.fixture(params=KINDS)
def machine(request, monkeypatch, canister):
    monkeypatch.setenv("STABLE_STRUCTURES_HEAP", request.param)
    made = canister(bytes(wasmtime.wat2wasm(MACHINE)))
    assert made.program.heap.mapped == (request.param == "mapped")
    return made


@pytest.mark.parametrize("seed", range(4))
def test_random_programs_that_may_trap_equal_a_model(machine, seed):
    rng, model, trapped = random.Random(seed), Model(), 0
    for _ in range(60):
        program = make_program(rng, model)
        after = model.run(program)
        asked = rng.random() < 0.2
        try:
            (machine.query_raw if asked else machine.call_raw)("try" if asked else "run", packed(program))
            assert after is not None
        except Trapped:
            assert after is None
            trapped += 1
        if after is not None and not asked:
            model = after
        check_same(machine, model)
    assert 0 < trapped < 60


def test_a_snapshot_of_a_random_state_comes_back_whole(machine):
    rng, model = random.Random(7), Model()
    for _ in range(10):
        program = make_program(rng, model)
        if model.run(program) is not None:
            machine.call_raw("run", packed(program))
            model = model.run(program)
    snapshot = machine.snapshot()
    machine.call_raw("run", packed([(GROW, 2, 0), (STORE, 0, 99), (GLOBAL, 0, 5)]))
    machine.load_snapshot(snapshot)
    check_same(machine, model)


def test_a_heap_that_shrank_traps_beyond_its_end(machine):
    """The pages that a rolled back growth had must not stay accessible: Wasm finds the end of its heap by a fault."""
    machine.query_raw("try", packed([(GROW, 3, 0), (STORE, 3 * PAGE, 1)]))
    with pytest.raises(Trapped, match="heap out of bounds"):
        machine.call_raw("run", packed([(STORE, 3 * PAGE, 1)]))
    machine.call_raw("run", packed([(GROW, 3, 0)]))
    assert machine.program.heap.read(PAGE, 3 * PAGE) == bytes(3 * PAGE)


def test_parent_and_child_have_a_heap_each_after_a_fork(machine):
    machine.call_raw("run", packed([(STORE, 0, 1)]))
    first, second = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.read(first, 1)  # the parent has committed meanwhile
            seen = machine.program.heap.read(0, 8)
            machine.call_raw("run", packed([(STORE, 0, 3)]))
            status = 0 if seen == struct.pack("<Q", 1) and machine.program.heap.read(0, 8) == struct.pack("<Q", 3) else 2
        finally:
            os._exit(status)
    machine.call_raw("run", packed([(STORE, 0, 2), (STORE, 8192, 2)]))
    os.write(second, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert machine.program.heap.read(0, 8) == struct.pack("<Q", 2)
    machine.call_raw("run", packed([(STORE, 16, 4)]))
    assert machine.program.heap.read(0, 8) == struct.pack("<Q", 2)


def test_threads_run_one_message_after_the_other():
    counters = [Canister.install(BUILT / "counter1_eop.wasm") for _ in range(2)]
    failed = []

    def work(counter):
        try:
            for _ in range(30):
                counter.call("inc")
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(counters[number % 2],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert [counter.query("get") for counter in counters] == [60, 60]


def test_a_thread_with_a_small_stack_says_so():
    edges = Canister.install(BUILT / "edges.wasm")
    said = []

    def work():
        try:
            edges.call_raw("deep")
        except Trapped as error:
            said.append(str(error))

    before = threading.stack_size(1 << 20)
    try:
        thread = threading.Thread(target=work)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert "threading.stack_size(16 << 20)" in said[0]


@pytest.mark.parametrize("when", ["before", "after", "never"])
def test_machine_traps_with_faulthandler(when):
    lines = ["import faulthandler", "from stable_structures.canister import Canister, Trapped"]
    install = f"c = Canister.install({str(BUILT / 'edges.wasm')!r})"
    enable = "faulthandler.enable()"
    lines += {"before": [enable, install], "after": [install, enable], "never": [install]}[when]
    lines += ["for name in ('oob', 'deep', 'div') * 2:", "    try: c.call_raw(name)", "    except Trapped as e: print(e.message)"]
    done = command.python("\n".join(lines))
    assert done.stdout.count("heap out of bounds") == done.stdout.count("stack overflow") == 2


# ---- modules that are cut or damaged ----


def try_module(data):
    try:
        made = Canister.install(data, limits=Limits(instructions_install=1_000_000, instructions_update=1_000_000))
    except SourceError:
        return "source"
    except Trapped as error:
        return str(error.error_code)
    except Rejected as error:
        return str(error.error_code)
    with contextlib.suppress(Rejected):
        made.call_raw(next(iter(made.program.methods), "none"))
    made.close()
    return "runs"


def mutants(data, count, rng):
    for _ in range(count):
        if rng.random() < 0.4:
            yield data[: rng.randrange(len(data))]
            continue
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        yield bytes(changed)


@pytest.mark.parametrize("name", ["edges.wasm", "start.wasm", "wide.wasm"])
def test_damaged_modules_are_refused_or_run(name, monkeypatch):
    monkeypatch.setenv("STABLE_STRUCTURES_CACHE", "")
    data = (BUILT / name).read_bytes()
    found = {try_module(one) for one in mutants(data, 150, random.Random(1))}
    assert {"IC0505"} <= found <= {"IC0505", "IC0502", "IC0522", "source", "runs"}


@pytest.mark.slow
def test_ten_thousand_damaged_modules(monkeypatch):
    monkeypatch.setenv("STABLE_STRUCTURES_CACHE", "")
    data = (BUILT / "edges.wasm").read_bytes()
    assert "IC0505" in {try_module(one) for one in mutants(data, 10_000, random.Random(2))}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ledger.wasm.gz", "counter1_eop.wasm", "counter1_classical.wasm"])
def test_damaged_modules_of_each_language(name, monkeypatch):
    monkeypatch.setenv("STABLE_STRUCTURES_CACHE", "")
    data = (BUILT / name).read_bytes()
    data = gzip.decompress(data) if name.endswith(".gz") else data
    found = {try_module(one) for one in mutants(data, 100, random.Random(4))}
    assert "IC0505" in found
    assert found <= {"IC0505", "IC0502", "IC0503", "IC0504", "IC0506", "IC0522", "source", "runs"}


def test_a_cut_module_of_each_language_is_refused(monkeypatch):
    monkeypatch.setenv("STABLE_STRUCTURES_CACHE", "")
    rng = random.Random(3)
    for name in ("ledger.wasm.gz", "counter1_eop.wasm"):
        data = (BUILT / name).read_bytes()
        data = gzip.decompress(data) if name.endswith(".gz") else data
        for _ in range(12):
            assert try_module(data[: rng.randrange(len(data))]) in ("IC0505", "source")


@pytest.mark.parametrize(
    "text",
    [
        "(type $t (func)) (func (param (ref null $t)) (call_ref $t (local.get 0)))",
        "(type $t (func)) (func (param (ref null $t)) (block (br_on_null 0 (local.get 0)) drop))",
        "(type (struct (field i32)))",
        "(tag) (func)",
        "(memory 1 1 shared)",
        "(memory 1) (memory 1)",
        "(memory 1 (pagesize 1))",
        "(func (param v128) (result v128) (i16x8.relaxed_q15mulr_s (local.get 0) (local.get 0)))",
    ],
)
def test_what_the_platform_does_not_run_is_refused(text):
    """Also what the engine could run, but nobody counts."""
    with pytest.raises(Rejected) as failed:
        Canister.install(bytes(wasmtime.wat2wasm(f"(module {text})")))
    assert failed.value.error_code is ErrorCode.INVALID_WASM


def test_tail_calls_run_and_are_counted():
    text = """(module (import "ic0" "msg_reply" (func $reply)) (func $down (param i32)
      (if (local.get 0) (then (return_call $down (i32.sub (local.get 0) (i32.const 1))))) (call $reply))
      (func (export "canister_update short") (call $down (i32.const 10)))
      (func (export "canister_update long") (call $down (i32.const 100010))))"""
    made = Canister.install(bytes(wasmtime.wat2wasm(text)))
    made.call_raw("short")
    short = made.instructions
    made.call_raw("long")
    assert (made.instructions - short) % 100_000 == 0
    assert made.instructions - short >= 500_000
    made.close()


def test_rules_of_the_platform_for_modules():
    def refused(text):
        with pytest.raises(Rejected) as failed:
            Canister.install(bytes(wasmtime.wat2wasm(f"(module {text})")))
        assert failed.value.error_code is ErrorCode.INVALID_WASM
        return failed.value.message

    assert "wasi2ic" in refused('(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))')
    assert "env.print" in refused('(import "env" "print" (func))')
    assert "ic0.nothing" in refused('(import "ic0" "nothing" (func))')
    assert "imports a memory" in refused('(import "ic0" "memory" (memory 1))')
    assert "not an entry point" in refused('(func (export "canister_unknown"))')
    assert "not an entry point" in refused('(func (export "canister_init x"))')
    assert "without arguments" in refused('(func (export "canister_update x") (param i32))')
    assert "exported as" in refused('(func (export "canister_update x")) (func (export "canister_query x"))')
    assert "1001 globals" in refused("(global i32 (i32.const 0))" * 1001)
    assert "50001 functions" in refused("(func)" * 50_001)
    assert refused('(import "ic0" "msg_reply" (func (param i32)))')
    assert "64-bit canisters" in refused('(import "ic0" "stable_size" (func (result i32))) (memory i64 1)')
