"""Which system function may be called where: each function of ic0 in each mode, as a canister that is generated for it."""

import pytest

from stable_structures import _native as native
from stable_structures.canister import Canister, Rejected

wasmtime = pytest.importorskip("wasmtime")


def _names(text):
    return set(text.split())


STAR = _names("I G U RQ NRQ CQ Ry Rt CRy CRt C CC F T")
ANSWERS = _names("U RQ NRQ CQ Ry Rt CRy CRt")
CALLS = _names("U CQ Ry Rt CRy CRt T")
PAYS = _names("U Ry Rt T")
BURNS = _names("I G U RQ Ry Rt C T")
ALWAYS = STAR | {"s"}


ALLOWED = {
    "msg_arg_data_size msg_arg_data_copy": _names("I U RQ NRQ CQ Ry CRy F"),
    "msg_caller_size msg_caller_copy": STAR,
    "msg_caller_info_data_size msg_caller_info_data_copy msg_caller_info_signer_size msg_caller_info_signer_copy": STAR - _names("I G T"),
    "msg_reject_code": _names("Ry Rt CRy CRt C"),
    "msg_reject_msg_size msg_reject_msg_copy": _names("Rt CRt"),
    "msg_deadline": _names("U RQ NRQ CQ Ry Rt CRy CRt"),
    "msg_reply_data_append msg_reply msg_reject": ANSWERS,
    "msg_cycles_available msg_cycles_available128 msg_cycles_accept msg_cycles_accept128": _names("U RQ Rt Ry"),
    "msg_cycles_refunded msg_cycles_refunded128": _names("Rt Ry"),
    "cycles_burn128 root_key_size root_key_copy": BURNS,
    "canister_self_size canister_self_copy canister_cycle_balance canister_cycle_balance128 canister_liquid_cycle_balance128": STAR,
    "canister_status canister_version subnet_self_size subnet_self_copy data_certificate_present time": STAR,
    "env_var_count env_var_name_size env_var_name_copy env_var_name_exists env_var_value_size env_var_value_copy": STAR,
    "msg_method_name_size msg_method_name_copy accept_message": {"F"},
    "call_new call_on_cleanup call_data_append call_with_best_effort_response call_perform": CALLS,
    "call_cycles_add call_cycles_add128": PAYS,
    "stable64_size stable64_grow stable64_write stable64_read stable_size stable_grow stable_write stable_read": ALWAYS,
    "certified_data_set": _names("I G U Ry Rt T"),
    "data_certificate_size data_certificate_copy": _names("NRQ CQ"),
    "global_timer_set": _names("I G U Ry Rt C T"),
    "performance_counter is_controller in_replicated_execution debug_print trap": ALWAYS,
    "cost_call cost_create_canister cost_http_request cost_sign_with_ecdsa cost_sign_with_schnorr cost_vetkd_derive_key": ALWAYS,
}
MODES = {name: modes for names, modes in ALLOWED.items() for name in names.split()}


def functions():
    call = native.call
    return {native.text(call.ss_ic0_name(i)): native.text(call.ss_ic0_types(i)) for i in range(call.ss_ic0_count())}


ENTRIES = ("", "start", "init", "pre", "update", "query", "composite", "reply", "reject", "cleanup", "inspect", "heartbeat")


def module(name, callee, entry=""):
    """A canister that calls the function, with zeros, in the entry point that `set` chose; at first in `entry`."""
    params, results = functions()[name].split(">")
    kinds = {"I": "i32", "i": "i32", "l": "i64"}
    signature = "".join(f" (param {kinds[one]})" for one in params) + "".join(f" (result {kinds[one]})" for one in results)
    ask = f"(call $asked {' '.join(f'({kinds[one]}.const 0)' for one in params)})" + " (drop)" * len(results)
    others = {
        "msg_reply": "(func $reply)",
        "msg_reject": "(func $refuse (param i32 i32))",
        "msg_arg_data_copy": "(func $argument (param i32 i32 i32))",
        "accept_message": "(func $accept)",
        "call_new": "(func $new (param i32 i32 i32 i32 i32 i32 i32 i32))",
        "call_on_cleanup": "(func $cleanup (param i32 i32))",
        "call_perform": "(func $perform (result i32))",
    }
    imports = "".join(f'(import "ic0" "{one}" {text})' for one, text in others.items())

    def here(entry, then=ask):
        return f"(if (i32.eq (global.get $entry) (i32.const {ENTRIES.index(entry)})) (then {then}))"

    def call(method, size):
        return f"""(call $new (i32.const 0) (i32.const {len(callee)}) (i32.const {method}) (i32.const {size})
          (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)) (call $cleanup (i32.const 2) (i32.const 0)) (drop (call $perform))"""

    text = f"""(module {imports} (import "ic0" "{name}" (func $asked{signature}))
      (memory 1) (data (i32.const 0) "{"".join(f"{chr(92)}{byte:02x}" for byte in callee)}")
      (data (i32.const 100) "echo") (data (i32.const 110) "no") (global $entry (mut i32) (i32.const {ENTRIES.index(entry)}))
      (table 3 funcref) (elem (i32.const 0) $ry $rt $clean) (start $begin)
      (func $begin {here("start")})
      (func $ry (param i32) {here("reply")} (call $reply) {here("cleanup", "(unreachable)")})
      (func $rt (param i32) {here("reject")} (call $reply)) (func $clean (param i32) {here("cleanup")})
      (func (export "canister_init") {here("init")}) (func (export "canister_pre_upgrade") {here("pre")})
      (func (export "canister_post_upgrade")) (func (export "canister_heartbeat") {here("heartbeat")})
      (func (export "canister_inspect_message") {here("inspect")} (call $accept))
      (func (export "canister_update set")
        (call $argument (i32.const 200) (i32.const 0) (i32.const 1)) (global.set $entry (i32.load8_u (i32.const 200))) (call $reply))
      (func (export "canister_update u") {here("update")} (call $reply))
      (func (export "canister_query q") {here("query")} (call $reply))
      (func (export "canister_composite_query cq") {here("composite")} (call $reply))
      (func (export "canister_update reply") {call(100, 4)}) (func (export "canister_update reject") {call(110, 2)})
      (func (export "canister_composite_query creply") {call(100, 4)})
      (func (export "canister_composite_query creject") {call(110, 2)}))"""
    return bytes(wasmtime.wat2wasm(text))


def said(action, canister=None):
    """What the canister said, as one text."""
    log = [] if canister is None else canister.logs
    try:
        answer = action()
    except Rejected as error:
        return str(error) + "".join(log)
    return "".join(map(str, answer)) + "".join(log) if isinstance(answer, list) else "".join(log)


MODES_AT = {
    "s": ("start", None, "start"),
    "I": ("init", None, "init"),
    "G": ("pre", lambda one: one.upgrade(), "pre upgrade"),
    "U": ("update", lambda one: one.call_raw("u"), "update"),
    "RQ": ("query", lambda one: one.call_raw("q"), "replicated query"),
    "NRQ": ("query", lambda one: one.query_raw("q"), "non replicated query"),
    "CQ": ("composite", lambda one: one.query_raw("cq"), "composite query"),
    "Ry": ("reply", lambda one: one.call_raw("reply"), "reply callback"),
    "Rt": ("reject", lambda one: one.call_raw("reject"), "reject callback"),
    "C": ("cleanup", lambda one: one.call_raw("reply"), "cleanup"),
    "F": ("inspect", lambda one: one.call_raw("u"), "inspect message"),
    "T": ("heartbeat", lambda one: one.advance_time(1), "system task"),
}
COMPOSITE = {
    "CRy": ("reply", "creply", "composite reply callback"),
    "CRt": ("reject", "creject", "composite reject callback"),
    "CC": ("cleanup", "creply", "composite cleanup"),
}
CALLEE = """(module (import "ic0" "msg_reply" (func $reply)) (import "ic0" "msg_reject" (func $refuse (param i32 i32))) (memory 1)
  (func (export "canister_query echo") (call $reply)) (func (export "canister_query no") (call $refuse (i32.const 0) (i32.const 0))))"""


@pytest.fixture(scope="module")
def callee():
    return Canister.install(bytes(wasmtime.wat2wasm(CALLEE)))


@pytest.fixture(scope="module", params=sorted(MODES))
def asking(request, callee):
    """A function, and the module that calls it: once for both tests, since compiling it takes longer than they do."""
    return request.param, module(request.param, bytes(callee.id))


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_kept():
    """Hundreds of modules that no one needs again would take the places of others in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STABLE_STRUCTURES_CACHE", "")
        yield


def installed(data, entry):
    made = Canister.install(data)
    made.call_raw("set", bytes([ENTRIES.index(entry)]))
    return made


def check(name, mode, shown, text):
    refused = f'"ic0_{name}" cannot be executed in {shown} mode' in text
    assert refused == (mode not in MODES[name]), (mode, text)


def test_the_list_of_functions_is_complete():
    assert set(functions()) == set(MODES)


def test_a_function_is_allowed_in_its_modes_only(asking, callee):
    name, data = asking
    for mode, (entry, action, shown) in MODES_AT.items():
        if action is None:
            check(name, mode, shown, said(lambda entry=entry: Canister.install(module(name, bytes(callee.id), entry)) and ""))
        else:
            one = installed(data, entry)
            check(name, mode, shown, said(lambda action=action, one=one: action(one), one))


def test_a_function_is_allowed_in_composite_callbacks_only_where_it_may(asking):
    name, data = asking
    for mode, (entry, method, shown) in COMPOSITE.items():
        one = installed(data, entry)
        check(name, mode, shown, said(lambda one=one, method=method: one.query_raw(method), one))
