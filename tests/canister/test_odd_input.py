# SPDX-License-Identifier: Apache-2.0
"""Input that nobody means to give ends in a clear error: names, numbers, annotations, modules, interfaces."""

import json
import os
from pathlib import Path

import pytest

from stable_structures import MemoryManager, StableBTreeMap, StableMemory, deployment
from stable_structures.__main__ import main
from stable_structures.canister import Canister, Rejected, SourceError, Trapped, Unsupported, folder, management
from stable_structures.encodings.candid.codec import encode
from stable_structures.encodings.candid.text import parse_values
from stable_structures.encodings.candid.types import NAT8, Vec
from stable_structures.rehearsal import call_text, rehearse, rehearse_state
from stable_structures.storable import Blob

from .test_deployment import ACTOR, shell

wasmtime = pytest.importorskip("wasmtime")
__all__ = ["shell"]

SAYS = """(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (memory 1) (data (i32.const 0) "{data}")
    (func (export "canister_update say") (call $append (i32.const 0) (i32.const {size})) (call $reply))
    (func (export "canister_update take") (call $reply))
    (func (export "canister_post_upgrade")))"""
DID = "service : { say : () -> (nat); take : (nat8) -> () }"


def says(data, size):
    return bytes(wasmtime.wat2wasm(SAYS.format(data=data, size=size)))


def snapshot_of(module, place):
    with Canister.install(module, did=DID) as made:
        made.save_snapshot(place)
    return place


# ---- names ----


@pytest.mark.parametrize("name", ["a\0.wasm", "\ud800.wasm", "x" * 5000 + ".wasm", "a\0.py", "\ud800.py", "x" * 5000 + ".py"])
def test_a_name_that_no_file_can_have(name):
    with pytest.raises(SourceError) as caught:
        Canister.install(name)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("content", [b"\xff\xfe{", None])
def test_an_interface_that_cannot_be_read(content, tmp_path, shell):
    path = tmp_path / "odd.did"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    module = tmp_path / "one.wasm"
    module.write_bytes(says("DIDL", 4))
    with pytest.raises(SourceError, match=r"odd\.did: cannot read it as a Candid interface"):
        Canister.install(module, did=path)
    assert "cannot read it as a Candid interface" in shell("deploy", module, tmp_path / "c", "--did", path)
    if content is not None:
        path.rename(tmp_path / "one.did")
        with pytest.raises(SourceError, match=r"one\.did: cannot read it as a Candid interface"):
            Canister.install(module).call("take", 1)


@pytest.mark.parametrize("action", [["status"], ["logs"], ["query", "get"], ["call", "inc"], ["stop"], ["upgrade"]])
def test_a_mistyped_folder_stays_away(action, tmp_path, shell):
    (tmp_path / "counter.py").write_text(ACTOR)
    verb, *more = action
    more = [tmp_path / "counter.py"] if verb == "upgrade" else more
    for place in (tmp_path / "nosuch", tmp_path / "no" / "such"):
        assert "no canister found; create one with" in shell(verb, place, *more)
    assert [one.name for one in tmp_path.iterdir()] == ["counter.py"]


@pytest.mark.parametrize("verb", ["deploy", "upgrade"])
@pytest.mark.parametrize("name", ["counter.txt", "counter.PY", "counter"])
def test_source_with_another_ending_is_refused(verb, name, tmp_path, shell):
    (tmp_path / "counter.py").write_text(ACTOR)
    (tmp_path / name).write_text(ACTOR)
    shell("deploy", tmp_path / "counter.py", tmp_path / "c")
    order = (tmp_path / name, tmp_path / "new") if verb == "deploy" else (tmp_path / "c", tmp_path / name)
    assert "neither .wasm, .wasm.gz nor .py by its name" in shell(verb, *order)
    assert shell("call", tmp_path / "c", "inc") == "(1 : nat)"


def test_a_terminal_obeys_no_canister(tmp_path, shell):
    module = bytes(wasmtime.wat2wasm('(module (func (export "canister_query \\1b[31m\\u{202e}\\0astatus: stopped")))'))
    (tmp_path / "evil.wasm").write_bytes(module)
    shell("deploy", tmp_path / "evil.wasm", tmp_path / "c")
    said = [
        shell("status", tmp_path / "c"),
        shell("query", tmp_path / "c", "\x1b[2J"),
        shell("upgrade", tmp_path / "c", tmp_path / "\x1b[2J.py"),
    ]
    assert "[31m" in said[0]
    assert [line for line in said[0].splitlines() if line.startswith("status:")] == ["status:               running"]
    assert "[2J" in said[1]
    assert not set("".join(said)) & set("\x1b\u202e")


# ---- numbers ----


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 1e12, 10**30])
def test_the_clock_has_64_bits(seconds):
    with Canister.install(says("DIDL", 4)) as made:
        before = made.time
        with pytest.raises(ValueError, match="advance_time: "):
            made.advance_time(seconds)
        assert made.time == before
        made.advance_time(10**10)
        made.call_raw("take")


@pytest.mark.parametrize("number", [10**6000, -(10**6000), [10**6000]], ids=["large", "negative", "inside"])
def test_a_number_that_python_does_not_write_is_refused_as_any_other(number):
    with (
        Canister.install(says("DIDL", 4), did=DID) as made,
        pytest.raises((OverflowError, TypeError), match="argument 1: expected nat8, got"),
    ):
        made.call("take", number)


def test_a_system_call_refuses_such_a_number_too():
    source = "from stable_structures.canister import ic, update\n@update\ndef grow():\n    ic.stable64_grow(10**6000)\n"
    with Canister.install(source) as made, pytest.raises(Trapped, match="pages must be 0 to 18446744073709551615, got a larger one"):
        made.call("grow")


def test_half_a_character_is_no_text():
    module, did = says("DIDL", 4), "service : { take : (text) -> () }"
    with Canister.install(module, did=did) as made, pytest.raises(TypeError, match="argument 1: expected text, got half a character"):
        made.call("take", "\ud800")


@pytest.mark.parametrize("text", ['("\\u{ffffffffff}")', '("\\u{110000}")', '("\\u{d800}")'])
def test_an_escape_of_no_character(text):
    with pytest.raises(SourceError, match="invalid Candid values"):
        parse_values(text)
    with pytest.raises(SourceError, match="interface is invalid"):
        Canister.install(says("DIDL", 4), did=f"service : {{ {text[1:-1]} : () -> () }}").call("take")


# ---- modules ----


def test_a_pointer_to_the_interface_that_is_no_function(tmp_path, capsys):
    text = '(module (memory 1) (func (export "get_candid_pointer") (result i32) (i32.const 0)) (func (export "canister_query q")))'
    module = bytearray(wasmtime.wat2wasm(text))
    at = module.index(b"get_candid_pointer") + len(b"get_candid_pointer") + 1
    module[at] = 99
    (tmp_path / "bad.wasm").write_bytes(module)
    assert main(["canister", "deploy", str(tmp_path / "bad.wasm"), str(tmp_path / "c"), "--arg", "(1)"]) == 1
    assert "IC0505" in capsys.readouterr().err


@pytest.mark.parametrize(("data", "size"), [("DIDL", 4), ("abcd", 4), ("DIDL\\00\\01\\7d", 7)])
def test_a_reply_that_is_not_candid_is_a_failed_call_of_a_rehearsal(data, size, tmp_path):
    place = snapshot_of(says("DIDL", 4), tmp_path / "s")
    found = rehearse(place, says(data, size), calls=["say()", "take(1)"], did=DID)
    assert (found.failure, found.ok) == (None, False)
    assert found.calls[0].error
    assert "say() -> FAILED" in str(found)


ASKS = "(call $new {0} {0} {0} (i32.const 12) {0} {0} {0} {0}) (drop (call $perform))".format("(i32.const 0)")
"""Calls the management canister's http_request."""


def timer(body, hook="canister_post_upgrade"):
    """Return a module that sets a timer in a hook, and what the timer does."""
    return bytes(
        wasmtime.wat2wasm(
            f"""(module
            (import "ic0" "global_timer_set" (func $set (param i64) (result i64)))
            (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
            (import "ic0" "call_perform" (func $perform (result i32)))
            (memory 1) (data (i32.const 0) "http_request")
            (func (export "{hook}") (drop (call $set (i64.const 1))))
            (func (export "canister_query say"))
            (func (export "canister_global_timer") {body}))"""
        )
    )


def test_what_begins_after_an_upgrade_is_in_the_verdict(tmp_path):
    place = snapshot_of(says("DIDL", 4), tmp_path / "s")
    trapped = rehearse(place, timer("(unreachable)"))
    assert trapped.ok
    assert trapped.warnings == ["a timer that the new code set trapped right after the upgrade: Canister trapped: unreachable"]
    asks = rehearse(place, timer(ASKS))
    assert asks.ok
    assert len(asks.warnings) == 1
    assert "could not be tried: the management canister's http_request" in asks.warnings[0]
    assert json.loads(json.dumps(asks.to_dict()))["warnings"] == asks.warnings


# ---- folders ----


def test_a_module_that_is_too_large_to_be_one(tmp_path):
    place = snapshot_of(says("DIDL", 4), tmp_path / "s")
    with (place / "wasm_module.bin").open("r+b") as file:
        file.truncate(1 << 42)
    facts = json.loads((place / "metadata.json").read_text()) | {"wasm_module_size": 1 << 42}
    (place / "metadata.json").write_text(json.dumps(facts))
    with pytest.raises(SourceError, match="larger than any that the platform installs"):
        Canister.from_snapshot(place)


def test_a_vector_of_more_than_128_bits(tmp_path):
    module = bytes(wasmtime.wat2wasm('(module (memory 1) (global (mut v128) (v128.const i64x2 0 0)) (func (export "canister_query q")))'))
    place = snapshot_of(module, tmp_path / "s")
    facts = json.loads((place / "metadata.json").read_text())
    for digits in ([1, 0, 0, 1 << 40], [0, 0, 0, 0, 1], [-1]):
        (place / "metadata.json").write_text(json.dumps(facts | {"globals": [{"v128": digits}]}))
        with pytest.raises(SourceError, match=r"invalid value .* of a global"):
            Canister.from_snapshot(place)
    (place / "metadata.json").write_text(json.dumps(facts | {"globals": [{"v128": [1, 2, 3, (1 << 32) - 1]}]}))
    Canister.from_snapshot(place).close()


@pytest.mark.parametrize(
    ("fact", "value"),
    [("did", "secret.txt"), ("did", "/etc/passwd"), ("env", {"\ud800": "x"}), ("env", {"x": "\ud800"}), ("env", {"x": 1}), ("env", [])],
)
def test_facts_that_save_does_not_write(fact, value, tmp_path, shell, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("secret.txt").write_text("service : { precious }")
    Path("one.wasm").write_bytes(says("DIDL", 4))
    shell("deploy", "one.wasm", "c")
    facts = json.loads(Path("c/canister.json").read_text())
    Path("c/canister.json").write_text(json.dumps(facts | {fact: value}))
    said = shell("status", "c") + shell("call", "c", "say")
    assert said.count("c/canister.json: ") == 2
    assert "precious" not in said


@pytest.mark.parametrize("fails", [1, 2])
def test_an_exchange_in_two_steps_that_fails_leaves_the_old_folder(fails, tmp_path, monkeypatch):
    place = snapshot_of(says("DIDL", 4), tmp_path / "s")
    before = {one.name: one.read_bytes() for one in place.iterdir()}
    steps = []

    def rename(one, other):
        steps.append(one)
        if len(steps) == fails:
            raise OSError(13, "Permission denied", str(one))
        os.rename(one, other)  # noqa: PTH104 - what the patched method does

    with Canister.install(says("abcd", 4), did=DID) as made:
        monkeypatch.setattr(folder, "exchange_paths", lambda *_: False)
        monkeypatch.setattr(Path, "rename", rename)
        with pytest.raises(OSError, match="Permission denied"):
            made.save_snapshot(place)
    assert {one.name: one.read_bytes() for one in place.iterdir()} == before
    assert [one.name for one in tmp_path.iterdir()] == ["s"]


def test_a_snapshot_that_cannot_be_loaded_changes_nothing(tmp_path):

    source = "from stable_structures.canister import ic, update\n@update\ndef grow(n):\n    return ic.stable64_grow(n)\n"
    with StableMemory.open(tmp_path / "m.bin") as memory:
        canister = Canister.install(source, memory=memory)
        snapshot = canister.snapshot()
        canister.call("grow", 3)
        canister.reinstall(source)
        canister.call("grow", 1)
        with pytest.raises(Unsupported, match="cannot shrink"):
            canister.load_snapshot(snapshot)
        assert (canister.memory.size(), canister.call("grow", 0)) == (1, 1)


# ---- values and annotations of Python ----

TYPED = """
from typing import Callable, Literal, NewType, Protocol, TypedDict
from stable_structures.canister import Actor, query, stable
class Row(TypedDict):
    a: int
Id = NewType("Id", int)
class Named(Protocol):
    name: str
class Main(Actor):
    value: {annotation} = stable({default})
    @query
    def get(self):
        return self.value
"""


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        ("Row", {"a": 1}),
        ("Row | None", {"a": 1}),
        ("Row | None", None),
        ("list[Row]", [{"a": 1}]),
        ("Literal['a', 1]", "a"),
        ("Literal['a', 1]", 1),
        ("Id", 5),
        ("Id | None", None),
        ("Named", 5),
        ("'int +'", 5),
        ("None", None),
    ],
)
def test_a_stable_variable_of_any_type_survives(annotation, default):
    source = TYPED.format(annotation=annotation, default=repr(default))
    canister = Canister.install(source)
    assert canister.upgrade(source).kept == ("value",)
    assert canister.query("get") == default


@pytest.mark.parametrize(
    ("old", "annotation"), [("'b'", "Literal['a']"), ("True", "Literal[1]"), ("'x'", "Id"), ("5", "Row"), ("5", "None")]
)
def test_and_one_of_another_type_does_not(old, annotation):
    canister = Canister.install(TYPED.format(annotation="object", default=old))
    with pytest.raises(Trapped, match=r"ChangedType: stable variable Main\.value was saved as"):
        canister.upgrade(TYPED.format(annotation=annotation, default=old))


def test_a_reply_that_is_not_as_declared_is_typed_by_its_value():
    source = """
from typing import TypedDict
from stable_structures.canister import query
class Row(TypedDict):
    a: int
    b: str
@query
def row() -> Row: return (1, "x")
@query
def rows() -> list[Row]: return [(1, "x")]
"""
    canister = Canister.install(source)
    assert canister.query_raw("row") == bytes.fromhex("4449444c016c02007d017101000101" + "78")
    assert canister.query_raw("rows").startswith(b"DIDL")
    assert call_text(canister, "row", []) == '(record { 1 : nat; "x" })'


@pytest.mark.parametrize("annotation", ["typing.List", "[nat]", "{}", "'nat nat'", "list", "Tuple[nat, ...]"])
def test_kybra_names_an_annotation_without_a_type(annotation):
    pytest.importorskip("icp_candid")
    source = (
        "import typing\nfrom kybra import *\n"
        f"m = StableBTreeMap[{annotation}, nat](memory_id=0, max_key_size=9, max_value_size=9)\n@query\ndef size() -> nat: return m.len()\n"
    )
    with pytest.raises(Trapped, match=r"IncompatibleType: .*(has no Candid type here|is not the name of a type)"):
        Canister.install(source).query("size")


# ---- cycles ----


@pytest.mark.parametrize("replaced", [False, True])
def test_cycles_that_nobody_took_come_back_although_the_code_was_replaced(replaced):
    head = "from stable_structures.canister import ic, update\n"
    payer = Canister.install(head + "@update\nasync def pay(to): return await ic.call(to, 'slow', cycles=1000)\n")
    other = Canister.install(head + "@update\nasync def slow(): return await ic.call('ryjl3-tyaaa-aaaaa-aaaba-cai', 'wait')\n")

    def wait():
        if replaced:
            payer.upgrade()
        return 1

    other.register("ryjl3-tyaaa-aaaaa-aaaba-cai", "wait", wait)
    before = payer.cycles
    if replaced:
        with pytest.raises(Rejected, match="was replaced while it waited"):
            payer.call("pay", other.id)
    else:
        assert payer.call("pay", other.id) == 1
    assert payer.cycles == before


def test_a_reader_waits_for_the_lock_of_a_folder_that_was_moved_away(tmp_path):
    place = tmp_path / "c"
    (tmp_path / "counter.py").write_text(ACTOR)
    made = deployment.Deployment(place)
    made.deploy(tmp_path / "counter.py")
    place.rename(tmp_path / ".c.old-abcdefgh")  # where a writer was killed that cannot exchange folders in one step
    with made.write() as canister:
        assert canister.call("inc") == 1


# ---- messages ----

HEADS = {
    "plain": "from stable_structures.canister import query\n",
    "kybra": "from kybra import nat, query\n",
    "basilisk": "from basilisk import nat, query\n",
}
MESSAGES = [
    b"",
    b"junk",
    b"DIDL",
    b"DIDL\0\1\x7d",
    b"DIDL\xff\xff\xff\xff\x0f",  # 2**32 - 1 types
    b"DIDL\1\x6d\x7f\1\0\xff\xff\xff\xff\x0f",  # as many items of null, in ten bytes
]


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("form", HEADS)
def test_arguments_that_are_no_message_trap(form, message):
    pytest.importorskip("icp_candid")
    kind = "int" if form == "plain" else "nat"
    asked = Canister.install(HEADS[form] + f"@query\ndef q(a: {kind}) -> {kind}: return a\n")
    with pytest.raises(Trapped, match="the arguments cannot be decoded"):
        asked.query_raw("q", message)
    with pytest.raises(Trapped, match="the arguments cannot be decoded"):
        asked.call_raw("q", message)


def test_a_kybra_map_in_a_memory_that_somebody_else_wrote():
    pytest.importorskip("icp_candid")
    memory = StableMemory()
    written = StableBTreeMap[Blob(50), Blob(50)](MemoryManager(memory).get(1))
    for number, message in enumerate(MESSAGES):
        written.insert(encode([bytes([number])], [Vec(NAT8)]), message)
    written.into_memory()
    source = (
        "from kybra import StableBTreeMap, blob, nat, null, query, Vec\n"
        "odd = StableBTreeMap[blob, Vec[null]](memory_id=1, max_key_size=50, max_value_size=50)\n"
        "@query\ndef get(number: nat) -> nat: return len(odd.get(bytes([number])))\n"
    )
    canister = Canister.install(source, memory=memory)
    for number in range(len(MESSAGES)):
        with pytest.raises(Trapped, match="bytes are not a vec null"):
            canister.query("get", number)


@pytest.fixture
def owner():
    """A canister that creates and installs others."""
    pytest.importorskip("icp_candid")
    return Canister.install(
        "from kybra import *\n@update\ndef go(name: text, m: blob) -> Async[text]:\n"
        "    r = yield ic.call_raw(Principal.management_canister(), name, m, 0)\n    return r.Err or ''\n"
    )


def manage(owner, method, given):
    return owner.call("go", method, encode([given], management.interface().methods[method].args))


@pytest.mark.parametrize("module", [b"", b"junk", b"\x1f\x8bjunk", b"\0asm\1\0\0\0\1\5"])
def test_bytes_that_are_no_module_are_a_rejection_for_the_one_who_installs_them(owner, module):
    manage(owner, "provisional_create_canister_with_cycles", {"settings": None, "amount": None, "specified_id": None})
    (child,) = owner.children
    given = {"mode": {"install": None}, "canister_id": child, "wasm_module": module, "arg": b""}
    assert "IC0505" in manage(owner, "install_code", given)


def test_an_argument_of_any_bytes_and_more_cycles_than_a_balance_holds(owner):
    amount = {"settings": None, "amount": 2**200, "specified_id": None}
    assert manage(owner, "provisional_create_canister_with_cycles", amount) == ""
    (child,) = owner.children
    given = {"mode": {"install": None}, "canister_id": child, "wasm_module": says("DIDL", 4), "arg": b"not Candid"}
    assert manage(owner, "install_code", given) == ""
    assert owner.children[child].call_raw("take") == b""
    assert owner.children[child].cycles == 2**128 - 1


@pytest.mark.parametrize("way", ["reinstall", "upgrade", "upgrade with a memory"])
def test_what_a_timer_cannot_do_does_not_undo_an_install(way):
    canister = Canister.install(says("DIDL", 4), did=DID)
    begin = {
        "reinstall": lambda: canister.reinstall(timer(ASKS, "canister_init")),
        "upgrade": lambda: canister.upgrade(timer(ASKS)),
        "upgrade with a memory": lambda: canister.upgrade(timer(ASKS), memory=bytes(65536)),
    }
    with pytest.raises(Unsupported, match="http_request"):
        begin[way]()
    assert list(canister.program.methods) == ["say"]
    assert (canister.version, canister.memory.size()) == (3, int(way == "upgrade with a memory"))  # the timer's message counts too


@pytest.mark.parametrize("kind", ["i32", "i64"])
def test_a_global_that_its_type_cannot_hold(kind, tmp_path):
    module = bytes(wasmtime.wat2wasm(f'(module (memory 1) (global (mut {kind}) ({kind}.const 0)) (func (export "canister_query q")))'))
    place = snapshot_of(module, tmp_path / "s")
    facts = json.loads((place / "metadata.json").read_text())
    bits = int(kind[1:])
    for number in (1 << bits, -(1 << bits - 1) - 1, 1.5, 10**30):
        (place / "metadata.json").write_text(json.dumps(facts | {"globals": [{kind: number}]}))
        with pytest.raises(SourceError, match=r"invalid value .* of a global"):
            Canister.from_snapshot(place)
    for number in ((1 << bits) - 1, -(1 << bits - 1), 0):
        (place / "metadata.json").write_text(json.dumps(facts | {"globals": [{kind: number}]}))
        Canister.from_snapshot(place).close()


@pytest.mark.parametrize("content", ["{}", '{"name": "a project"}', '{"metadata": {}}', "no JSON", "[1]"])
def test_a_folder_of_another_program_is_not_replaced(content, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metadata.json").write_text(content)
    with pytest.raises(SourceError, match="file already exists"):
        snapshot_of(says("DIDL", 4), tmp_path / "other")
    assert [(one.name, one.read_text()) for one in (tmp_path / "other").iterdir()] == [("metadata.json", content)]


def test_metadata_that_are_a_pipe_are_not_waited_for(tmp_path):
    (tmp_path / "s").mkdir()
    os.mkfifo(tmp_path / "s" / "metadata.json")
    with pytest.raises(SourceError, match="not a regular file"):
        Canister.from_snapshot(tmp_path / "s")


def test_no_text_of_a_canister_looks_like_a_line_of_the_report(tmp_path):
    text = "no\\0a  check           sound"
    module = f"""(module (import "ic0" "trap" (func $trap (param i32 i32))) (memory 1) (data (i32.const 0) "{text}")
      (func (export "canister_post_upgrade") (call $trap (i32.const 0) (i32.const 27))))""".replace("\\\\", "\\")
    found = rehearse(snapshot_of(says("DIDL", 4), tmp_path / "s"), bytes(wasmtime.wat2wasm(module)))
    assert "no\n  check" in found.failure
    assert not [line for line in str(found).splitlines() if line.startswith("  check")]
    assert "      |   check           sound" in str(found)


def test_an_upgrade_that_fails_has_not_the_changes_of_a_message_before(tmp_path):
    writes = """(module (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
      (import "ic0" "stable64_write" (func $write (param i64 i64 i64))) (memory 1) (data (i32.const 0) "abc")
      (func $post (export "canister_post_upgrade")
        (drop (call $grow (i64.const 1))) (call $write (i64.const 0) (i64.const 0) (i64.const 3)))
      (func (export "canister_query q")))"""
    place = snapshot_of(says("DIDL", 4), tmp_path / "s")
    state = Canister.from_snapshot(place)
    state.upgrade(bytes(wasmtime.wat2wasm(writes)))
    fails = bytes(wasmtime.wat2wasm('(module (func (export "canister_post_upgrade") unreachable))'))
    found = rehearse_state(lambda: state, place, fails)
    assert found.failure
    assert found.changed_bytes == 0


def test_an_interface_that_is_invalid_keeps_no_message_from_being_saved(tmp_path, shell):
    module = bytes(wasmtime.wat2wasm('(module (memory 1) (func (export "canister_query q")) (func (export "canister_update u")))'))
    name, text = b"icp:public candid:service", b"service : { q"
    section = bytes([len(name)]) + name + text
    (tmp_path / "odd.wasm").write_bytes(module + b"\0" + bytes([len(section)]) + section)
    shell("deploy", tmp_path / "odd.wasm", tmp_path / "c")
    shell("stop", tmp_path / "c")
    assert "stopped" in shell("status", tmp_path / "c")


def test_a_timer_without_an_interval_runs_once_a_round():
    source = """
from stable_structures.canister import ic, init, query
ticks = 0
def tick():
    global ticks
    ticks += 1
@init
def begin(): ic.set_timer_interval(0, tick)
@query
def count(): return ticks
"""
    with Canister.install(source) as canister:
        canister.advance_time(10)
        assert canister.query("count") == 11  # at once, and ten times
