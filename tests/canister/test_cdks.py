# SPDX-License-Identifier: Apache-2.0
"""Canisters written for Basilisk and Kybra: their structures against plain Python, `ic`, guards, files and traps."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stable_structures import PAGE_SIZE, Principal
from stable_structures.canister import Canister, ErrorCode, Limits, Rejected, Trapped, Unsupported
from stable_structures.canister.cdk import tagged

from ..support.examples import examples

# ---- Basilisk's structures ----

STRUCTURES = """
from basilisk import *
m, s, v = StableBTreeMap[str, int](memory_id=0), StableBTreeSet(memory_id=1), StableVec(memory_id=2)
l, c, h = StableLog(memory_id_index=3, memory_id_data=4), StableCell(memory_id=5, default_value="new"), StableMinHeap(memory_id=6)
@update
def do(name: str, method: str, *args):
    return getattr({"m": m, "s": s, "v": v, "l": l, "c": c, "h": h}[name], method)(*args)
@update
def fail(name: str, method: str, *args):
    do(name, method, *args)
    raise RuntimeError("undo")
"""

keys = st.text(max_size=3)
numbers = st.integers(-100, 100)
operations = st.one_of(
    st.tuples(st.just("m"), st.just("insert"), keys, numbers),
    st.tuples(st.just("m"), st.sampled_from(["get", "remove", "contains_key"]), keys),
    st.tuples(st.just("m"), st.just("range"), keys, st.none() | keys, st.integers(0, 4)),
    st.tuples(st.just("s"), st.sampled_from(["insert", "remove", "contains"]), keys),
    st.tuples(st.just("v"), st.just("push"), numbers),
    st.tuples(st.just("v"), st.just("get"), st.integers(0, 5)),
    st.tuples(st.just("l"), st.just("append"), keys),
    st.tuples(st.just("l"), st.just("get"), st.integers(0, 5)),
    st.tuples(st.just("c"), st.just("set"), numbers),
    st.tuples(st.just("h"), st.just("push"), st.integers(0, 100)),
    st.tuples(st.sampled_from("vh"), st.just("pop")),
    st.tuples(st.sampled_from("mvslh"), st.sampled_from(["len", "is_empty"])),
    st.tuples(st.just("m"), st.sampled_from(["keys", "values", "items"])),
    st.tuples(st.just("h"), st.just("peek")),
    st.tuples(st.just("c"), st.just("get")),
    st.tuples(st.just("s"), st.just("items")),
)


class Twin:
    """The same structures as plain Python objects."""

    def __init__(self):
        self.m, self.s, self.v, self.l, self.c, self.h = {}, set(), [], [], "new", []

    def in_order(self):
        return sorted(self.m.items(), key=lambda item: tagged.encode(item[0]))

    def do(self, name, method, *args):
        special = getattr(self, f"{name}_{method}", None)
        if special is not None:
            return special(*args)
        held = getattr(self, name)
        return len(held) if method == "len" else not held

    def m_insert(self, key, value):
        before = self.m.get(key)
        self.m[key] = value
        return before

    def m_get(self, key):
        return self.m.get(key)

    def m_remove(self, key):
        return self.m.pop(key, None)

    def m_contains_key(self, key):
        return key in self.m

    def m_keys(self):
        return [key for key, _ in self.in_order()]

    def m_values(self):
        return [value for _, value in self.in_order()]

    def m_items(self):
        return self.in_order()

    def m_range(self, start, end, limit):
        low, high = tagged.encode(start), None if end is None else tagged.encode(end)
        return [(k, v) for k, v in self.in_order() if low <= tagged.encode(k) and (high is None or tagged.encode(k) < high)][:limit]

    def s_insert(self, key):
        new = key not in self.s
        self.s.add(key)
        return new

    def s_remove(self, key):
        there = key in self.s
        self.s.discard(key)
        return there

    def s_contains(self, key):
        return key in self.s

    def s_items(self):
        return sorted(self.s, key=tagged.encode)

    def v_push(self, value):
        self.v.append(value)

    def v_get(self, index):
        return self.v[index] if index < len(self.v) else None

    def v_pop(self):
        return self.v.pop() if self.v else None

    def l_append(self, value):
        self.l.append(value)
        return len(self.l) - 1

    def l_get(self, index):
        return self.l[index] if index < len(self.l) else None

    def c_get(self):
        return self.c

    def c_set(self, value):
        self.c = value

    def h_push(self, value):
        self.h.append(value)
        self.h.sort()

    def h_pop(self):
        return self.h.pop(0) if self.h else None

    def h_peek(self):
        return self.h[0] if self.h else None


@settings(max_examples=examples(25))
@given(st.lists(st.tuples(operations, st.sampled_from(["do", "do", "do", "fail", "upgrade"])), max_size=25))
def test_basilisk_structures_behave_like_plain_python_through_traps_and_upgrades(steps):
    with Canister.install(STRUCTURES) as canister:
        twin = Twin()
        for operation, how in steps:
            if how == "fail":
                with pytest.raises(Trapped, match="Error calling 'fail': RuntimeError: undo"):
                    canister.call("fail", *operation)
                continue
            if how == "upgrade":
                canister.upgrade()
            assert canister.call("do", *operation) == twin.do(*operation)


def test_basilisk_lays_its_memory_out_as_the_real_canister_does():
    source = "from basilisk import *\nm, s = StableBTreeMap[nat8, str](memory_id=9), StableBTreeSet(memory_id=8)\n"
    source += "@init\ndef begin():\n    m.insert(5, 'x'); s.insert('y')\n"
    canister = Canister.install(source)
    owners = canister.memory.read(2080, 4)
    assert list(owners) == [254, 9, 8, 255]  # the file store is made before the source runs
    for number in (254, 9, 8):
        assert canister.manager.get(number).read(0, 12) == b"BTR\x02" + struct.pack("<II", 1024, 2**32 - 1)
    assert dict(_entries(canister, 9)) == {b"\x10\x05": b"\x04\x00\x00\x00\x01x"}
    assert dict(_entries(canister, 8)) == {b"\x04\x00\x00\x00\x01y": b""}


def _entries(canister, number):
    """The raw entries of a map, read from a copy of the memory."""
    from stable_structures import MemoryManager, StableBTreeMap, StableMemory  # noqa: PLC0415

    copy = StableMemory()
    copy.grow(canister.memory.size())
    copy.write(0, canister.memory.read(0, canister.memory.nbytes))
    return StableBTreeMap[bytes, bytes].load(MemoryManager(copy).get(number)).items()


def test_basilisk_limits_and_wrong_use_trap_with_its_texts():
    canister = Canister.install(STRUCTURES)
    with pytest.raises(Trapped, match="Panicked at 'svec push failed"):
        canister.call("do", "v", "push", bytes(2_000_000))
    canister.call("do", "v", "push", bytes(1_999_995))
    with pytest.raises(Trapped, match=r"Panicked at 'assertion failed: index < self\.len"):
        canister.call("do", "v", "set", 1, 0)
    with pytest.raises(Trapped, match="ValueError: limit must be >= 0"):
        canister.call("do", "m", "range", "", None, -1)
    with pytest.raises(Trapped, match="ValueError: Cannot encode set for stable storage"):
        canister.call("do", "m", "insert", "k", {1})
    with pytest.raises(Trapped, match=r"Error calling 'do': error: "):
        canister.call("do", "m", "insert", "k", 2**63)


SCRATCH = "/tmp/scratch"  # noqa: S108 - inside the canister
FILES = """
from basilisk import *
import os
@update
def write(path: str, text: str, mode: str):
    with open(path, mode) as file: file.write(text)
@update
def write_and_fail(path: str, text: str):
    write(path, text, "w")
    raise RuntimeError
@update
def change(how: str, *args): getattr(os, how)(*args)
@query
def read(path: str): return open(path, "rb").read()
@query
def listed(path: str): return os.listdir(path), os.path.exists(path + "/a.txt"), os.path.isdir(path)
@query
def stats(): return fs_stats()
@query
def lines(path: str): return [line for line in open(path)]
"""


def test_basilisk_files_persist_when_closed_and_come_back_after_an_upgrade():
    canister = Canister.install(FILES)
    canister.call("write", "/data/a.txt", "one\n", "w")
    canister.call("write", "/data/a.txt", "two\n", "a")
    canister.call("write", SCRATCH, "gone", "w")
    with pytest.raises(Trapped):
        canister.call("write_and_fail", "/data/a.txt", "spoiled")
    assert canister.query("read", "/data/a.txt") == b"one\ntwo\n"
    assert dict(_entries(canister, 254)) == {b"/data/a.txt": b"one\ntwo\n"}
    canister.upgrade()
    assert canister.query("lines", "/data/a.txt") == ["one\n", "two\n"]
    with pytest.raises(Trapped, match="FileNotFoundError"):
        canister.query("read", SCRATCH)
    assert canister.query("listed", "/data") == (["a.txt"], True, True)


def test_pathlib_works_on_the_canisters_files_and_persists_nothing(tmp_path):
    source = (
        FILES
        + """
import pathlib
@update
def note(path: str):
    file = pathlib.Path(path)
    file.parent.mkdir(exist_ok=True)
    before = file.exists()
    file.write_text("noted")
    return before, file.exists(), file.is_file(), file.parent.is_dir(), file.stat().st_size, [str(p) for p in file.parent.iterdir()] + [
        entry.name for entry in scanned(str(file.parent)) if entry.is_file() and not entry.is_dir() and not entry.is_symlink()]
def scanned(path):
    with os.scandir(path) as entries: return list(entries)
"""
    )
    canister = Canister.install(source)
    path = str(tmp_path / "x.txt")
    assert canister.call("note", "/notes/x.txt") == (False, True, True, True, 5, ["/notes/x.txt", "x.txt"])
    with pytest.raises(Trapped, match="FileNotFoundError"):
        canister.call("note", path)
    assert list(tmp_path.iterdir()) == []
    canister.upgrade()
    with pytest.raises(Trapped, match="FileNotFoundError"):
        canister.query("read", "/notes/x.txt")


def test_a_basilisk_folder_is_renamed_with_what_is_in_it():
    source = (
        "from basilisk import *\nimport os\n"
        "@update\ndef move(src: text, dst: text): os.rename(src, dst)\n"
        "@update\ndef fill():\n    os.makedirs('/a/b')\n    open('/a/b/x', 'w').close()\n    open('/ab', 'w').close()\n"
        "@query\ndef seen() -> list: return [os.listdir('/'), os.path.exists('/a'), os.path.isfile('/c/b/x')]\n"
    )
    canister = Canister.install(source)
    canister.call("fill")
    canister.call("move", "/a", "/c")
    assert canister.query("seen") == [["ab", "c"], False, True]
    for src, dst in (("/a", "/d"), ("/c", "/no/d"), ("/", "/d")):
        with pytest.raises(Trapped, match="FileNotFoundError"):
            canister.call("move", src, dst)
    assert canister.query("seen") == [["ab", "c"], False, True]


def test_basilisk_files_are_removed_and_renamed_in_the_store_too():
    canister = Canister.install(FILES)
    for name in "ab":
        canister.call("write", f"/{name}", name, "w")
    canister.call("change", "remove", "/a")
    canister.call("change", "rename", "/b", "/c")
    canister.upgrade()
    assert dict(_entries(canister, 254)) == {b"/c": b"b"}
    assert canister.query("stats")["files"] == 1
    with pytest.raises(Trapped, match="FileExistsError"):
        canister.call("write", "/c", "", "x")
    with pytest.raises(Trapped, match="FileNotFoundError"):
        canister.call("change", "remove", "/a")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("{'Ok': None}", None),
        ("{'Err': 'go away'}", "go away"),
        ("{'Err': 5}", "TypeError: Expected type 'str' but 'int' found"),
        ("{'Ok': 5}", "TypeError: expected NoneType but received int"),
        ("None", "TypeError: expected Result but received NoneType"),
        ("1 / 0", "Guard function 'guard' threw an exception: ZeroDivisionError: division by zero"),
    ],
)
def test_basilisk_guards_trap(result, text):
    canister = Canister.install(
        f"from basilisk import *\ndef guard(): return {result}\n@update(guard=guard)\ndef f() -> str: return 'in'\n"
    )
    if text is None:
        assert canister.call("f") == "in"
        return
    with pytest.raises(Trapped) as trapped:
        canister.call("f")
    assert trapped.value.message == f"Canister called `ic0.trap` with message: {text}"


def test_basilisk_lifecycle_errors_have_its_texts():
    with pytest.raises(Trapped, match="Error calling lifecycle 'begin': KeyError: 'x'"):
        Canister.install("from basilisk import *\n@init\ndef begin(): {}['x']\n")
    with pytest.raises(Trapped, match="Failed to execute Python code: NameError"):
        Canister.install("from basilisk import *\nundefined\n")


def test_basilisk_does_not_give_out_its_whole_memory():
    canister = Canister.install("from basilisk import *\n@query\ndef f(): return ic.stable_bytes()\n")
    with pytest.raises(Trapped, match=r"ic.stable_bytes\(\) is not available: the MemoryManager owns stable memory"):
        canister.query("f")


# ---- Kybra ----

MAP = """
from kybra import *
class Key(Record):
    first: int8
    second: text
m = StableBTreeMap[Key, Opt[nat16]](memory_id=3, max_key_size=60, max_value_size=60)
@update
def do(method: text, *args): return getattr(m, method)(*args)
@update
def careful(value: text):
    try: return m.insert({"first": 1, "second": value}, None)
    except Exception: return "caught"
    finally: pass
"""
record_keys = st.fixed_dictionaries({"first": st.integers(-5, 5), "second": st.text(max_size=2)})
map_operations = st.one_of(
    st.tuples(st.just("insert"), record_keys, st.none() | st.integers(0, 9)),
    st.tuples(st.sampled_from(["get", "remove", "contains_key"]), record_keys),
    st.tuples(st.sampled_from(["items", "keys", "values", "len", "is_empty"])),
)


def as_tuple(key):
    return key["first"], key["second"].encode()


@settings(max_examples=examples(25))
@given(st.lists(map_operations, max_size=25))
def test_kybra_map_behaves_like_a_dict_in_rust_order(steps):
    with Canister.install(MAP) as canister:
        twin = {}
        for method, *args in steps:
            found = canister.call("do", method, *args)
            ordered = [value for _, value in sorted(twin.items())]
            if method == "insert":
                key, value = args
                before = twin.get(as_tuple(key))
                twin[as_tuple(key)] = key, value
                assert found == (before and before[1])
            elif method == "remove":
                before = twin.pop(as_tuple(args[0]), None)
                assert found == (before and before[1])
            else:
                here = twin.get(as_tuple(args[0])) if args else None
                wanted = {
                    "get": here and here[1],
                    "contains_key": here is not None,
                    "items": ordered,
                    "keys": [key for key, _ in ordered],
                    "values": [value for _, value in ordered],
                    "len": len(twin),
                    "is_empty": not twin,
                }
                assert found == wanted[method]


def test_a_kybra_canister_that_touches_no_map_has_no_stable_memory():
    canister = Canister.install(MAP)
    assert canister.memory.size() == 0
    assert canister.query is not None
    canister.call("do", "len")
    assert canister.memory.size() == 129  # the manager's page and one bucket of 128


def test_kybra_panics_are_caught_by_nothing():
    canister = Canister.install(MAP)
    with pytest.raises(Trapped, match=r"Panicked at 'Key is too large\. Expected <= 60 bytes, found \d+ bytes', ") as trapped:
        canister.call("careful", "x" * 60)
    assert trapped.value.error_code == ErrorCode.CALLED_TRAP
    assert canister.call("careful", "short") is None


@pytest.mark.parametrize(
    "declaration",
    [
        "StableBTreeMap[nat8, nat8](memory_id=255, max_key_size=10, max_value_size=10)",
        "StableBTreeMap[nat8, nat8](memory_id=1, max_key_size=-1, max_value_size=10)",
        "StableBTreeMap(memory_id=1, max_key_size=10, max_value_size=10)",
        "StableBTreeMap[nat8](memory_id=1, max_key_size=10, max_value_size=10)",
    ],
)
def test_kybra_maps_that_its_compiler_refuses_are_refused(declaration):
    with pytest.raises(Trapped, match="StableBTreeMap"):
        Canister.install(f"from kybra import *\nm = {declaration}\n@query\ndef f(): pass\n")


IC = """
from kybra import *
@update
def do(name: text, *args): return getattr(ic, name)(*args)
@query
def look(name: text, *args): return getattr(ic, name)(*args)
@query
def who() -> Tuple[Principal, text, text]: return ic.caller(), ic.caller().to_str(), ic.id().to_str()
@update
def later() -> nat64: return ic.set_timer(10, lambda: ic.print("rang", 1))
"""


def test_kybra_ic_has_the_results_of_the_real_one():
    canister = Canister.install(IC, limits=Limits(stable_memory=8 * PAGE_SIZE))
    assert canister.call("do", "stable_grow", 2) == {"Ok": 0}
    assert canister.call("do", "stable64_grow", 99) == {"Err": {"OutOfMemory": None}}
    assert canister.call("do", "stable_write", 3, b"abc") is None
    assert canister.call("do", "stable_bytes") == b"\0\0\0abc" + bytes(2 * PAGE_SIZE - 6)
    with pytest.raises(Trapped, match="Canister trapped: stable memory out of bounds"):
        canister.call("do", "stable64_read", 2 * PAGE_SIZE, 1)
    with pytest.raises(Trapped, match="OverflowError"):
        canister.call("do", "stable_read", 2**32, 0)
    assert canister.call("do", "time") == canister.time
    assert canister.query("who", caller=Principal(b"x")) == (Principal(b"x"), str(Principal(b"x")), str(canister.id))
    assert canister.query("look", "data_certificate") == canister.data_certificate
    assert canister.call("do", "data_certificate") is None
    canister.call("do", "set_certified_data", b"root")
    assert canister.certified_data == b"root"
    canister.cycles = 77
    assert canister.call("do", "canister_balance128") == 77
    canister.call("later")
    canister.advance_time(10)
    assert canister.logs[-1] == "rang 1"


@pytest.mark.parametrize("name", ["arg_data_raw", "candid_encode", "candid_decode"])
def test_what_the_harness_cannot_do_is_named(name):
    args = {"candid_encode": ["(1 : nat)"], "candid_decode": [b""]}.get(name, [])
    with pytest.raises(Unsupported, match=f"ic.{name}"):
        Canister.install(IC).call("do", name, *args)


def test_kybra_guards_reject_and_keep_what_they_did():
    source = "from kybra import *\nseen = []\ndef guard() -> GuardResult:\n    seen.append(1)\n    return {'Err': 'no'} if len(seen) < 2 else {'Ok': None}\n"  # noqa: E501 - a canister's source
    source += "@update(guard=guard)\ndef f() -> nat: return len(seen)\n"
    canister = Canister.install(source)
    with pytest.raises(Rejected, match="no") as rejected:
        canister.call("f")
    assert rejected.value.error_code == ErrorCode.CANISTER_REJECTED
    assert canister.call("f") == 2


def test_manual_replies():
    source = "from kybra import *\n@update\ndef f(n: nat) -> Manual[text]:\n    ic.reply('now') if n else ic.reject('not now')\n    return 'ignored'\n"  # noqa: E501 - a canister's source
    canister = Canister.install(source)
    assert canister.call("f", 1) == "now"
    with pytest.raises(Rejected, match="not now"):
        canister.call("f", 0)


def test_types_of_the_cdks_work_as_annotations_and_as_python_types():
    source = "from CDK import *\n@query\ndef f(n: nat64, t: text) -> bool:\n    return isinstance(n, nat64) == (CDK_IS_KYBRA) and nat64(5) + 0 == 5\n"  # noqa: E501 - a canister's source
    for cdk in ("kybra", "basilisk"):
        assert Canister.install(source.replace("CDK_IS_KYBRA", str(cdk == "kybra")).replace("CDK", cdk)).query("f", 1, "x") is True


@pytest.mark.parametrize("cdk", ["kybra", "basilisk"])
def test_references_to_methods_are_types_and_their_values_are_tuples(cdk):
    source = (
        f"from {cdk} import *\n"
        "Callback = Func(Query[[text], text])\n"
        "class Strategy(Record):\n    callback: Callback\n"
        "@query\ndef ask() -> Callback: return Callback((ic.id(), 'more'))\n"
        "@query\ndef plain() -> Strategy: return {'callback': (ic.id(), 'more')}\n"
    )
    canister = Canister.install(source)
    assert canister.query("ask") == (canister.id, "more")
    assert canister.query("plain") == {"callback": (canister.id, "more")}


def test_kybra_maps_hold_references_to_methods():
    source = (
        "from kybra import *\n"
        "class User(Record):\n    id: text\n    call: 'Callback'\n"
        "Callback = Func(Query[[nat64, text], void])\nOther = Func(Update[[User], Opt[text]])\nThird = Func(Oneway[[text]])\n"
        "m = StableBTreeMap[Callback, User](memory_id=1, max_key_size=100, max_value_size=100)\n"
        "n = StableBTreeMap[nat8, Other](memory_id=2, max_key_size=9, max_value_size=100)\n"
        "o = StableBTreeMap[nat8, Third](memory_id=3, max_key_size=9, max_value_size=100)\n"
        "@update\ndef put(key: Callback, value: User) -> Opt[User]: return m.insert(key, value)\n"
        "@update\ndef others(value: Other) -> list:\n    n.insert(1, value)\n    o.insert(1, value)\n    return [n.get(1), o.get(1)]\n"
        "@query\ndef items() -> list: return m.items()\n"
    )
    canister, one, two = Canister.install(source), (Principal(b"\x07"), "later"), (Principal(b"\1\2"), "first")
    for key in (two, one, (one[0], "earlier")):
        assert canister.call("put", key, {"id": "x", "call": key}) is None
    found = canister.query("items")
    assert [key for key, _ in found] == [(one[0], "earlier"), one, two]
    assert all(user == {"id": "x", "call": key} for key, user in found)
    canister.upgrade()
    assert canister.query("items") == found
    assert canister.call("others", one) == [one, one]
    for wrong in ("x", (one[0],), ("x", "y"), (one[0], 5)):
        with pytest.raises(Trapped, match="TypeError: expected"):
            canister.call("others", wrong)


@pytest.mark.parametrize("cdk", ["kybra", "basilisk"])
def test_the_ledger_of_a_cdk_calls_the_ledger_of_the_test(cdk):
    source = f"from {cdk} import *\nfrom {cdk}.canisters.ledger import Ledger, TransferFee\n" + (
        "from CDK.canisters.management.http import HttpResponse\n".replace("CDK", cdk)
        + "ledger = Ledger(Principal.from_str('ryjl3-tyaaa-aaaaa-aaaba-cai'))\n"
        "@update\ndef fee() -> Async[TransferFee]:\n    result = yield ledger.transfer_fee({})\n    return result.Ok\n"
    )
    canister = Canister.install(source)
    canister.register("ryjl3-tyaaa-aaaaa-aaaba-cai", "transfer_fee", lambda _arg: {"transfer_fee": {"e8s": 10_000}})
    assert canister.call("fee") == {"transfer_fee": {"e8s": 10_000}}


@pytest.mark.parametrize("cdk", ["kybra", "basilisk"])
def test_a_principal_is_a_service_where_the_method_says_so(cdk):
    source = (
        f"from {cdk} import *\n"
        "class Other(Service):\n    @service_update\n    def double(self, n: nat) -> nat: ...\n"
        "@update\ndef ask(other: Other, n: nat) -> Async[nat]:\n    result = yield other.double(n)\n    return result.Ok\n"
        "@update\ndef ask_all(others: Vec[Other], named: 'Other') -> Async[nat]:\n"
        "    result = yield others[-1].double(1)\n    result = yield named.double(result.Ok)\n    return result.Ok\n"
        "@query\ndef back(other: Other) -> Other: return other\n"
        "@query\ndef plain(other: Principal) -> text: return other.to_str()\n"
    )
    other = Canister.install("from stable_structures.canister import *\n@update\ndef double(n): return 2 * n\n")
    canister = Canister.install(source)
    assert canister.call("ask", other.id, 21) == 42
    assert canister.call("ask_all", [other.id], other.id) == 4
    assert canister.query("back", other.id) == other.id
    assert canister.query("plain", other.id) == str(other.id)


def test_a_canister_of_a_cdk_may_export_nothing():
    source = "from basilisk import *\nm = StableBTreeMap[str, str](memory_id=0)\n"
    assert Canister.install(source).manager.sizes() == {0: 1, 254: 1}
