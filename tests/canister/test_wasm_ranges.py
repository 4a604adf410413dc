"""Ranges of the heap, of the stable memory and of what is given, at and past their ends: a trap of the platform, and nothing else."""

import pytest

from stable_structures import _native as native
from stable_structures.canister import Canister, ErrorCode, Rejected

wasmtime = pytest.importorskip("wasmtime")
PAGE = 65536
WIDTHS = {32: "i32", 64: "i64"}
CODES = {ErrorCode.CANISTER_REJECTED, ErrorCode.TRAPPED, ErrorCode.CALLED_TRAP, ErrorCode.CONTRACT_VIOLATION}
_lib = native.call
FUNCTIONS = {
    native.text(_lib.ss_ic0_name(i)): (native.text(_lib.ss_ic0_types(i)), bool(_lib.ss_ic0_only_32(i))) for i in range(_lib.ss_ic0_count())
}


def kinds(types, width):
    address = WIDTHS[width]
    return [{"I": address, "i": "i32", "l": "i64"}[one] for one in types]


def module(name, width, calls, before=""):
    """A canister with a method for each list of arguments."""
    params, _, results = FUNCTIONS[name][0].partition(">")
    params, results = kinds(params, width), kinds(results, width)
    signature = "".join(f" (param {one})" for one in params) + "".join(f" (result {one})" for one in results)
    address = WIDTHS[width]
    used = {"msg_reply", "stable64_grow", "call_new"} - {name}
    imports = f'(import "ic0" "{name}" (func $asked{signature}))'
    imports += '(import "ic0" "msg_reply" (func $reply))' if "msg_reply" in used else ""
    imports += '(import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))' if "stable64_grow" in used else ""
    imports += f'(import "ic0" "call_new" (func $new {f"(param {address})" * 8}))' if "call_new" in used else ""
    init = '(func (export "canister_init") (drop (call $grow (i64.const 1))))' if "stable64_grow" in used else ""
    methods = ""
    for number, values in enumerate(calls):
        given = " ".join(f"({kind}.const {value})" for kind, value in zip(params, values, strict=True))
        reply = "(call $reply)" if "msg_reply" in used and name != "msg_reject" else ""
        methods += f'(func (export "canister_update m{number}") {before} (call $asked {given}) {"(drop)" * len(results)} {reply})'
    text = f'(module {imports} (memory {"i64" if width == 64 else ""} 1) (data ({address}.const 0) "0123456789") {init} {methods})'
    return bytes(wasmtime.wat2wasm(text))


def outcome(canister, number):
    """The code of its trap; None if it was answered or rejected by itself."""
    try:
        canister.call_raw(f"m{number}", b"abc")
    except Rejected as error:
        found = error.error_code
    else:
        return None
    assert found in CODES
    return None if found is ErrorCode.CANISTER_REJECTED else found


def wide_enough(name, width):
    return width == 32 or not FUNCTIONS[name][1]


def edges(kind):
    values = [1, PAGE, PAGE + 1, 2**32 - 1]
    return [*values, 2**63, 2**64 - 1] if kind == "i64" else values


EACH = [(name, width) for name in sorted(FUNCTIONS) for width in WIDTHS if wide_enough(name, width) and FUNCTIONS[name][0][0] != ">"]


@pytest.mark.parametrize(("name", "width"), EACH)
def test_any_argument_is_answered_or_trapped_and_a_trap_leaves_nothing(name, width):
    params = kinds(FUNCTIONS[name][0].partition(">")[0], width)
    calls = [tuple(0 for _ in params)]
    for at, kind in enumerate(params):
        calls += [tuple(value if i == at else 0 for i in range(len(params))) for value in edges(kind)]
    calls += [tuple(min(value, 2**32 - 1) if kind == "i32" else value for kind in params) for value in edges("i64")]
    canister = Canister.install(module(name, width, calls))
    for number in range(len(calls)):
        before = state(canister)
        if outcome(canister, number) is not None:
            assert state(canister) == before, calls[number]
    canister.close()


def state(canister):
    heap, memory = canister.program.heap, canister.memory
    return heap.size, heap.read(0, PAGE), memory.nbytes, memory.read(0, min(PAGE, memory.nbytes))


def new_call(width):
    address = WIDTHS[width]
    return f"(call $new {' '.join([f'({address}.const 0)', f'({address}.const 2)'] * 2)} {' '.join([f'({address}.const 0)'] * 4)})"


SOURCES = {
    "debug_print": ("a n", ""),
    "msg_reply_data_append": ("a n", ""),
    "msg_reject": ("a n", ""),
    "call_data_append": ("a n", "call"),
    "stable64_write": ("0 a n", ""),
    "stable64_read": ("a 0 n", ""),
    "stable_write": ("0 a n", ""),
    "stable_read": ("a 0 n", ""),
}
"""Functions that take a range of the heap of any length: where address and length stand."""


@pytest.mark.parametrize(("name", "width"), [(name, width) for name in SOURCES for width in WIDTHS if wide_enough(name, width)])
def test_a_range_of_the_heap_ends_with_the_heap(name, width):
    form, before = SOURCES[name]
    top = 2**64 if width == 64 else 2**32
    ranges = [(0, PAGE), (PAGE - 1, 1), (PAGE - 2, 2), (10, PAGE - 10)]
    outside = [(0, PAGE + 1), (PAGE, 1), (PAGE - 1, 2), (top - 1, 1), (top - 1, 2), (1, top - 1), (top - PAGE, PAGE), (2**31, 2**31)]
    calls = [tuple({"a": a, "n": n, "0": 0}[one] for one in form.split()) for a, n in ranges + outside]
    canister = Canister.install(module(name, width, calls, new_call(width) if before else ""))
    found = [outcome(canister, number) for number in range(len(calls))]
    assert found == [None] * len(ranges) + [ErrorCode.TRAPPED] * len(outside)
    canister.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("name", "size"), [("canister_self_copy", 10), ("msg_caller_copy", 1), ("msg_arg_data_copy", 3)])
def test_a_range_of_what_is_given_ends_with_it(name, size, width):
    top = 2**64 if width == 64 else 2**32
    inside = [(0, 0, size), (0, size, 0), (PAGE - size, 0, size), (5, size - 1, 1)]
    past_it = [(0, 0, size + 1), (0, size, 1), (0, top - 1, 1), (0, top - 1, 2)]
    past_the_heap = [(PAGE - size + 1, 0, size), (top - 1, 0, 1), (0, 1, top - 1)]
    calls = inside + past_it + past_the_heap
    canister = Canister.install(module(name, width, calls))
    found = [outcome(canister, number) for number in range(len(calls))]
    assert found[: len(inside)] == [None] * len(inside)
    assert found[len(inside) :] == [ErrorCode.CONTRACT_VIOLATION] * len(past_it) + [ErrorCode.TRAPPED] * len(past_the_heap)
    canister.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["stable64_write", "stable64_read"])
def test_a_range_of_the_stable_memory_ends_with_it(name, width):
    place = 0 if name == "stable64_write" else 1
    inside = [(0, PAGE), (PAGE - 1, 1), (PAGE, 0), (2**64 - 1, 0)]
    outside = [(0 + 1, PAGE), (PAGE, 1), (2**64 - 1, 1), (2**64 - 1, 2), (2**63, 2**15)]
    calls = [(at, 0, n) if place == 0 else (0, at, n) for at, n in inside + outside]
    canister = Canister.install(module(name, width, calls))
    found = [outcome(canister, number) for number in range(len(calls))]
    assert found == [None] * len(inside) + [ErrorCode.TRAPPED] * len(outside)
    assert canister.memory.nbytes == PAGE
    canister.close()


def test_the_functions_with_ranges_are_all_tried():
    """A new function with an address is in the list of those that are tried with any argument."""
    with_address = {name for name, (types, _) in FUNCTIONS.items() if "I" in types.partition(">")[0]}
    assert with_address <= {name for name, _ in EACH}
