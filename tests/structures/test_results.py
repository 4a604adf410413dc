# SPDX-License-Identifier: Apache-2.0
"""Results in bytes: each call gets its own, whoever else makes calls before it has copied them.

The usual result lies in one place, which Python copies without a call (native/core/result.h). Signal handlers and other threads
run between the call and the copy; large results, and those of threads, lie elsewhere.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import numpy as np
import pytest

from stable_structures import Array, StableBTreeMap, StableLog, StableMemory, _native, codec, f64, i16, u32, u64

SIZES = (0, 1, 7, 511, 512, 513, 5000)


def texts() -> StableBTreeMap[u64, str]:
    held = StableBTreeMap[u64, str](StableMemory())
    held.update({number: text_of(number) for number in range(len(SIZES) * 30)})
    return held


def text_of(number: int) -> str:
    return chr(97 + number % 26) * SIZES[number % len(SIZES)]


def look_at_all(held: StableBTreeMap[Any, str]) -> None:
    for number in range(len(held)):
        assert held[number] == text_of(number)
        assert held.get(number) == text_of(number)
        assert held.insert(number, text_of(number)) == text_of(number)


def test_of_every_size() -> None:
    look_at_all(texts())


def test_while_signal_handlers_make_calls_of_their_own() -> None:
    held, ran, inside = texts(), 0, False

    def handle(*_: object) -> None:
        nonlocal ran, inside
        if inside:  # on a slow machine the next signal comes while the handler still runs
            return
        inside, ran = True, ran + 1
        number = ran % len(held)
        assert held[number] == text_of(number)
        assert held.remove(number) == text_of(number)
        held[number] = text_of(number)
        inside = False

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
    try:
        end = time.monotonic() + 1
        while time.monotonic() < end or ran < 20:
            look_at_some(held)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def look_at_some(held: StableBTreeMap[Any, str]) -> None:
    for number in range(60):
        assert held.get(number, text_of(number)) == text_of(number)


def test_at_every_step_of_a_call() -> None:
    """A trace function runs between any two instructions, as a signal handler may, and makes calls of its own."""
    held, other, steps = texts(), texts(), 0

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        if event == "opcode":
            steps += 1
            sys.settrace(None)
            assert other[steps % len(other)] == text_of(steps % len(other))
            sys.settrace(trace)
        return trace

    sys.settrace(trace)
    try:
        found = [held.get(number) for number in range(14)]
        old = [held.insert(number, text_of(number)) for number in range(14)]
    finally:
        sys.settrace(None)
    assert found == old == [text_of(number) for number in range(14)]
    assert steps > 300


def test_after_a_handler_that_raised_before_the_copy() -> None:
    """Its place stays taken, and all later results are right. (What is left is dropped here by hand.)"""
    held = texts()
    size = _native.call.ss_btree_get_u64_bytes(held._handle, 1)
    look_at_all(held)
    assert _native.result(size) == text_of(1).encode()
    look_at_all(held)


def test_in_other_threads() -> None:
    held, failures = texts(), list[BaseException]()

    def look() -> None:
        try:
            for _ in range(3):
                look_at_all(held)
        except BaseException as error:  # noqa: BLE001 - the test says it
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    look_at_all(held)
    for thread in threads:
        thread.join()
    assert not failures


def test_of_a_log_and_in_bulk() -> None:
    log = StableLog[str](StableMemory(), StableMemory())
    log.extend([text_of(number) for number in range(30)])
    assert [log[number] for number in range(30)] == log[:] == [text_of(number) for number in range(30)]
    held = texts()
    assert held.get_many([3, 9999, 4]) == [text_of(3), None, text_of(4)]


ROWS: dict[str, tuple[Any, Any]] = {
    "three fields": (tuple[f64, u32, Annotated[bytes, Array(12)]], lambda n: (n / 4, n, b"%012d" % n)),
    "two fields": (tuple[u32, u64], lambda n: (n, 1 << 60 | n)),
    "flipped": (tuple[i16, u64], lambda n: (-n, n)),
    "long": (tuple[u32, Annotated[bytes, Array(600)]], lambda n: (n, b"%0600d" % n)),
}


@pytest.mark.parametrize("form", ROWS)
def test_a_row_is_read_wherever_its_bytes_lie(form: str) -> None:
    """In the usual place, behind a result that nobody has taken yet, and in another thread."""
    kind, row_of = ROWS[form]
    held = StableBTreeMap[u64, kind](StableMemory())
    held.update({number: row_of(number) for number in range(200)})

    def look() -> None:
        for number in range(200):
            keys = (number, np.uint64(number), np.int16(number))
            assert [held[key] for key in keys] == [held.get(key) for key in keys] == [row_of(number)] * 3
        assert (held.get(200), held.get(np.int16(1000), "none")) == (None, "none")
        with pytest.raises(KeyError, match="200"):
            held[200]

    look()
    waiting = _native.call.ss_btree_get_u64_bytes(held._handle, 3)
    look()
    assert _native.result(waiting) == codec(kind).encode(row_of(3))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(look).result()
    look()
