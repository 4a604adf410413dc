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
from stable_structures.canister.modules import one_at_a_time
from stable_structures.deployment import Deployment

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
def bell():
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


@pytest.mark.parametrize("kind", ["mapped", "copying"])
def test_a_message_of_wasm_is_whole_or_nothing(kind, monkeypatch, canister):
    wasmtime = pytest.importorskip("wasmtime")
    monkeypatch.setenv("STABLE_STRUCTURES_HEAP", kind)
    made = canister(bytes(wasmtime.wat2wasm(WASM)))
    cut = storm(made, lambda: made.call_raw("inc"), counts_of_wasm, time.monotonic() + 2, random.Random(1))
    assert cut > 20


def test_a_message_of_python_is_whole_or_nothing(tmp_path):
    (tmp_path / "canister_text_helper.py").write_text("here = 'the canister'\n")
    (tmp_path / "main.py").write_text(PYTHON)
    made = Canister.install(tmp_path / "main.py")
    cut = storm(made, lambda: made.call("inc"), counts_of_python, time.monotonic() + 2, random.Random(2))
    assert cut > 20
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("canister_text_helper")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file that was opened and not yet entered closes itself
def test_a_command_on_a_folder_is_whole_or_nothing(tmp_path):
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
    rng, span, until, cut = random.Random(3), min(measure(inc) for _ in range(5)) * 1.2, time.monotonic() + 2, 0
    while time.monotonic() < until:
        before = count()
        stopped = interrupted(inc, rng.random() * span + 1e-6) is not None
        cut += stopped
        assert count() - before in ((0, 1) if stopped else (1,))
    inc()
    assert cut > 5
    assert {path.name for path in tmp_path.iterdir()} == {"c", ".c.lock", "one.wasm"}
