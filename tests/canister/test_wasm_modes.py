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


def module(name, types, where, callee=None):
    """A canister that calls the function in one entry point, with zeros."""
    params, results = types.split(">")
    kinds = {"I": "i32", "i": "i32", "l": "i64"}
    signature = "".join(f" (param {kinds[one]})" for one in params) + "".join(f" (result {kinds[one]})" for one in results)
    zeros = " ".join(f"({kinds[one]}.const 0)" for one in params)
    ask = f"(call $asked {zeros})" + " (drop)" * len(results)
    others = {
        "msg_reply": "(func $reply)",
        "msg_reject": "(func $refuse (param i32 i32))",
        "call_new": "(func $new (param i32 i32 i32 i32 i32 i32 i32 i32))",
        "call_on_cleanup": "(func $cleanup (param i32 i32))",
        "call_perform": "(func $perform (result i32))",
        "canister_self_copy": "(func $self (param i32 i32 i32))",
        "canister_self_size": "(func $size (result i32))",
    }
    imports = "".join(f'(import "ic0" "{one}" {text})' for one, text in others.items())
    bodies = dict.fromkeys(("init", "pre", "post", "u", "rq", "cq", "f", "t", "s"), "")
    bodies |= {"ry": "(call $reply)", "rt": "(call $reply)", "clean": ""}
    bodies[where] = ask + bodies[where] if where not in ("u", "rq", "cq") else ask
    trap = "(unreachable)" if where == "clean" else ""
    begin = "(call $self (i32.const 0) (i32.const 0) (call $size))"
    make = (
        "(call $new (i32.const 0) (call $size) (i32.const 100) (i32.const {size}) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))"
    )
    make += "(call $cleanup (i32.const 2) (i32.const 0)) (drop (call $perform))"
    ident = "".join(f"\\{byte:02x}" for byte in callee or b"")
    if callee is not None:
        begin, make = "", make.replace("(call $size)", f"(i32.const {len(callee)})")
    start = "(func $begin " + bodies["s"] + ") (start $begin)" if where == "s" else ""
    inspect = f'(func (export "canister_inspect_message") {bodies["f"]})' if where == "f" else ""
    text = f"""(module {imports} (import "ic0" "{name}" (func $asked{signature}))
      (memory 1) (data (i32.const 0) "{ident}") (data (i32.const 100) "echo") (data (i32.const 110) "no")
      (table 3 funcref) (elem (i32.const 0) $ry $rt $clean) {start} {inspect}
      (func $ry (param i32) {bodies["ry"]} {trap}) (func $rt (param i32) {bodies["rt"]}) (func $clean (param i32) {bodies["clean"]})
      (func (export "canister_init") {bodies["init"]}) (func (export "canister_pre_upgrade") {bodies["pre"]})
      (func (export "canister_post_upgrade") {bodies["post"]}) (func (export "canister_heartbeat") {bodies["t"]})
      (func (export "canister_query echo") (call $reply))
      (func (export "canister_query no") (call $refuse (i32.const 0) (i32.const 0)))
      (func (export "canister_update u") {bodies["u"]} (call $reply))
      (func (export "canister_query q") {bodies["rq"]} (call $reply))
      (func (export "canister_composite_query cq") {bodies["cq"]} (call $reply))
      (func (export "canister_update reply") {begin} {make.format(size=4)})
      (func (export "canister_update reject") {begin} (i32.store16 (i32.const 100) (i32.load16_u (i32.const 110))) {make.format(size=2)})
      (func (export "canister_composite_query creply") {begin} {make.format(size=4)})
      (func (export "canister_composite_query creject") {begin}
        (i32.store16 (i32.const 100) (i32.load16_u (i32.const 110))) {make.format(size=2)}))"""
    return bytes(wasmtime.wat2wasm(text))


def said(action, canister=None):
    """What the canister said, as one text."""
    log = [] if canister is None else canister.logs
    try:
        answer = action()
    except Rejected as error:
        return str(error) + "".join(log)
    return "".join(map(str, answer)) + "".join(log) if isinstance(answer, list) else "".join(log)


ENTRIES = {
    "s": ("s", None, "start"),
    "I": ("init", None, "init"),
    "G": ("pre", lambda one: one.upgrade(), "pre upgrade"),
    "U": ("u", lambda one: one.call_raw("u"), "update"),
    "RQ": ("rq", lambda one: one.call_raw("q"), "replicated query"),
    "NRQ": ("rq", lambda one: one.query_raw("q"), "non replicated query"),
    "CQ": ("cq", lambda one: one.query_raw("cq"), "composite query"),
    "Ry": ("ry", lambda one: one.call_raw("reply"), "reply callback"),
    "Rt": ("rt", lambda one: one.call_raw("reject"), "reject callback"),
    "C": ("clean", lambda one: one.call_raw("reply"), "cleanup"),
    "F": ("f", lambda one: one.call_raw("u"), "inspect message"),
    "T": ("t", lambda one: one.advance_time(1), "system task"),
}
COMPOSITE = {
    "CRy": ("ry", "creply", "composite reply callback"),
    "CRt": ("rt", "creject", "composite reject callback"),
    "CC": ("clean", "creply", "composite cleanup"),
}


def test_the_list_of_functions_is_complete():
    assert set(functions()) == set(MODES)


@pytest.mark.parametrize("name", sorted(MODES))
def test_a_function_is_allowed_in_its_modes_only(name):
    types = functions()[name]
    for mode, (where, action, shown) in ENTRIES.items():
        data = module(name, types, where)
        made = []
        text = said(lambda data=data, made=made: made.append(Canister.install(data)) or "")
        if action is not None:
            assert made, (mode, text)
            text = said(lambda action=action, made=made: action(made[0]), made[0])
        refused = f'"ic0_{name}" cannot be executed in {shown} mode' in text
        assert refused == (mode not in MODES[name]), (mode, text)


CALLEE = """(module (import "ic0" "msg_reply" (func $reply)) (import "ic0" "msg_reject" (func $refuse (param i32 i32))) (memory 1)
  (func (export "canister_query echo") (call $reply)) (func (export "canister_query no") (call $refuse (i32.const 0) (i32.const 0))))"""


@pytest.mark.parametrize("name", sorted(MODES))
def test_a_function_is_allowed_in_composite_callbacks_only_where_it_may(name):
    callee = Canister.install(bytes(wasmtime.wat2wasm(CALLEE)))
    for mode, (where, method, shown) in COMPOSITE.items():
        one = Canister.install(module(name, functions()[name], where, bytes(callee.id)))
        text = said(lambda one=one, method=method: one.query_raw(method), one)
        refused = f'"ic0_{name}" cannot be executed in {shown} mode' in text
        assert refused == (mode not in MODES[name]), (mode, text)
