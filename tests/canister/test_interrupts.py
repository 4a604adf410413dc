"""A signal handler that raises, at any moment of a message: all of it happened or nothing, and nothing is left open."""

import importlib
import random
import signal
import struct
import sys
import threading
import time

import pytest

from stable_structures import _native as native
from stable_structures.canister import Canister
from stable_structures.canister import message as messages
from stable_structures.canister.canister import START_TIME
from stable_structures.canister.modules import one_at_a_time
from stable_structures.deployment import Deployment
from stable_structures.principal import Principal

PYTHON = """
import canister_text_helper
from stable_structures.canister import ic, query, update
count = [0]
@update
def inc():
    if not ic.stable64_size():
        ic.stable64_grow(1)
    number = int.from_bytes(ic.stable64_read(0, 8), "little") + 1
    ic.stable64_write(0, number.to_bytes(8, "little"))
    count[0] += 1
@query
def get():
    return count[0]
"""
WASM = """(module (import "ic0" "msg_reply" (func $reply)) (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "stable64_size" (func $size (result i64))) (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
  (import "ic0" "stable64_read" (func $read (param i64 i64 i64))) (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
  (memory 1) (global $count (mut i64) (i64.const 0))
  (func (export "canister_update inc")
    (if (i64.eqz (call $size)) (then (drop (call $grow (i64.const 1)))))
    (call $read (i64.const 8) (i64.const 0) (i64.const 8))
    (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1)))
    (call $write (i64.const 0) (i64.const 8) (i64.const 8))
    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
    (global.set $count (i64.add (global.get $count) (i64.const 1))) (call $reply))
  (func (export "canister_query get") (i64.store (i32.const 16) (global.get $count))
    (call $append (i32.const 0) (i32.const 8)) (call $append (i32.const 16) (i32.const 8)) (call $reply)))"""


class Alarm(BaseException):
    """What the handler raises, as Ctrl+C does: an `Exception` would be a trap of the Python canister that runs."""


class Bell:
    armed = False

    @classmethod
    def ring(cls, *_):
        if cls.armed:
            cls.armed = False
            raise Alarm


@pytest.fixture(autouse=True)
def bell(monkeypatch):
    """An alarm inside of a weak reference's callback cuts nothing short: Python reports it and goes on."""
    report = sys.unraisablehook
    monkeypatch.setattr(sys, "unraisablehook", lambda found: None if found.exc_type is Alarm else report(found))
    before = signal.signal(signal.SIGALRM, Bell.ring)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def interrupted(action, seconds):
    """Calls it, with an alarm after so many seconds. What came out has a traceback, which keeps all frames."""
    Bell.armed = True
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        action()
    except Alarm as error:
        return error
    finally:
        Bell.armed = False
    return None


def is_free():
    """Whether another thread can run messages."""
    thread = threading.Thread(target=lambda: one_at_a_time(lambda: None), daemon=True)
    thread.start()
    thread.join(10)
    return not thread.is_alive()


# Replies with its argument, its caller, the controllers and the certificate.
ECHO = """(module (import "ic0" "msg_reply" (func $reply)) (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $size (result i32))) (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  (import "ic0" "msg_caller_size" (func $size2 (result i32))) (import "ic0" "msg_caller_copy" (func $copy2 (param i32 i32 i32)))
  (import "ic0" "is_controller" (func $is (param i32 i32) (result i32))) (import "ic0" "time" (func $time (result i64)))
  (import "ic0" "data_certificate_size" (func $size3 (result i32))) (import "ic0" "data_certificate_copy" (func $copy3 (param i32 i32 i32)))
  (memory 1)
  (func (export "canister_query echo") (local $n i32)
    (call $copy (i32.const 0) (i32.const 0) (local.tee $n (call $size))) (call $append (i32.const 0) (local.get $n))
    (call $copy2 (i32.const 0) (i32.const 0) (local.tee $n (call $size2))) (call $append (i32.const 0) (local.get $n))
    (i32.store8 (i32.const 0) (call $is (i32.const 0) (local.get $n))) (call $append (i32.const 0) (i32.const 1))
    (i64.store (i32.const 0) (call $time)) (call $append (i32.const 0) (i32.const 8))
    (call $copy3 (i32.const 0) (i32.const 0) (local.tee $n (call $size3))) (call $append (i32.const 0) (local.get $n))
    (call $reply)))"""


def counts_of_wasm(canister):
    """Counted in the stable memory, on the heap and in a global."""
    heap, number = struct.unpack("<QQ", canister.query_raw("get"))
    return int.from_bytes(canister.memory.read(0, 8), "little"), heap, number


def counts_of_python(canister):
    return int.from_bytes(canister.memory.read(0, 8), "little"), canister.query("get")


def storm(canister, action, counts, until, rng):
    """How many messages were cut short. The state is looked at while the traceback of the last one is still there."""
    cut, kept = 0, None
    action()
    table, path = dict(sys.modules), list(sys.path)
    span = min(measure(action) for _ in range(20)) * 1.5
    while time.monotonic() < until:
        before, version = counts(canister), canister.version
        kept = interrupted(action, rng.random() * span + 1e-6)
        cut += kept is not None
        assert native.call.ss_transaction_changed(canister.memory._handle) < 0
        assert messages.running() == []
        assert {name: sys.modules.get(name) for name in table} == table
        assert sys.path == path
        after = counts(canister)
        assert len(set(after)) == 1
        assert after[0] - before[0] == canister.version - version
        assert after[0] - before[0] in ((0, 1) if kept is not None else (1,))
        assert canister.status == "running"
        assert is_free()
    canister.stop()
    assert canister.status == "stopped"  # nothing is under way
    return cut


def measure(action):
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


class Stopper:
    """Raises before the n-th step of Python in the functions of one module, as a signal handler may."""

    def __init__(self, module, number):
        self.file, self.left = module.__file__, number

    def __call__(self, frame, *_):
        if frame.f_code.co_filename == self.file:
            frame.f_trace_opcodes = True
            return self.count
        return None

    def count(self, _frame, event, _):
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                raise Alarm
        return self.count

    def stops(self, action):
        """Whether the action has so many steps."""
        before = sys.gettrace()
        try:
            sys.settrace(self)
            action()
        except Alarm:
            pass
        finally:
            sys.settrace(before)
        return self.left <= 0


def test_the_input_of_a_message_is_its_own_after_one_that_was_cut_short(canister):
    wasmtime = pytest.importorskip("wasmtime")
    from stable_structures.canister.wasm import message as filled  # noqa: PLC0415 - needs wasmtime

    made = canister(bytes(wasmtime.wat2wasm(ECHO)))

    def echo(number):
        who = Principal(bytes([4 + number, 1, 1]))
        made.controllers, made.time = [who] if number else [], START_TIME + number
        made.data_certificate = b"certificate %d" % number
        reply = made.query_raw("echo", b"DIDL argument %d" % number, caller=who)
        assert reply == b"DIDL argument %d" % number + bytes(who) + bytes([number]) + struct.pack("<Q", made.time) + made.data_certificate

    echo(0)
    steps = 1
    while Stopper(filled, steps).stops(lambda: echo(1)):
        echo(0)
        steps += 1
    assert steps > 50  # a newer Python stops at fewer of them


@pytest.mark.parametrize("kind", ["mapped", "copying"])
def test_a_message_of_wasm_is_whole_or_nothing(kind, monkeypatch, canister, duration):
    wasmtime = pytest.importorskip("wasmtime")
    monkeypatch.setenv("STABLE_STRUCTURES_HEAP", kind)
    made = canister(bytes(wasmtime.wat2wasm(WASM)))
    cut = storm(made, lambda: made.call_raw("inc"), counts_of_wasm, time.monotonic() + duration, random.Random(1))
    assert cut > 10


def test_a_message_of_python_is_whole_or_nothing(tmp_path, duration):
    (tmp_path / "canister_text_helper.py").write_text("here = 'the canister'\n")
    (tmp_path / "main.py").write_text(PYTHON)
    made = Canister.install(tmp_path / "main.py")
    cut = storm(made, lambda: made.call("inc"), counts_of_python, time.monotonic() + duration, random.Random(2))
    assert cut > 10
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("canister_text_helper")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file that was opened and not yet entered closes itself
def test_a_command_on_a_folder_is_whole_or_nothing(tmp_path, duration):
    wasmtime = pytest.importorskip("wasmtime")
    (tmp_path / "one.wasm").write_bytes(bytes(wasmtime.wat2wasm(WASM)))
    Deployment(tmp_path / "c").deploy(tmp_path / "one.wasm")

    def inc():
        with Deployment(tmp_path / "c").write() as canister:
            canister.call_raw("inc")

    def count():
        with Deployment(tmp_path / "c", patience=0.1).read() as canister:  # so nobody holds the lock
            (number,) = set(counts_of_wasm(canister))
            return number

    inc()
    rng, span, until, cut = random.Random(3), min(measure(inc) for _ in range(5)) * 1.2, time.monotonic() + duration, 0
    while time.monotonic() < until:
        before = count()
        stopped = interrupted(inc, rng.random() * span + 1e-6) is not None
        cut += stopped
        assert count() - before in ((0, 1) if stopped else (1,))
    inc()
    assert cut > 2
    assert {path.name for path in tmp_path.iterdir()} == {"c", ".c.lock", "one.wasm"}
