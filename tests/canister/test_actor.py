# SPDX-License-Identifier: Apache-2.0
"""Our own form: actors, stable variables over upgrades, guards."""

from __future__ import annotations

import pytest

from stable_structures import PAGE_SIZE
from stable_structures.canister import Canister, ErrorCode, RejectCode, Rejected, Trapped

HEAD = "from stable_structures.canister import *\n"


def actor(body, head=HEAD):
    return head + "class Main(Actor):\n" + "".join(f"    {line}\n" for line in body.strip().split("\n"))


STORE = actor("""
names: dict[str, int] = stable({})
seen = stable([])
note = stable(None)
cache = {}
@update
def put(self, name, value):
    self.names[name] = value
    self.seen.append(name)
    self.cache = {name: value}
    return len(self.cache)
@update
def set_note(self, note): self.note = note
@query
def all(self): return self.names, self.seen, self.note, dict(self.cache)
""")


def test_stable_variables_survive_and_others_begin_anew():
    canister = Canister.install(STORE)
    canister.call("put", "a", 1)
    canister.call("set_note", {"deep": [1, b"x", None, 2.5]})
    assert canister.query("all") == ({"a": 1}, ["a"], {"deep": [1, b"x", None, 2.5]}, {"a": 1})
    report = canister.upgrade()
    assert (report.kept, report.new, report.removed) == (("names", "seen", "note"), (), ())
    assert canister.query("all") == ({"a": 1}, ["a"], {"deep": [1, b"x", None, 2.5]}, {})


def test_the_bytes_that_held_the_variables_are_zeros_after_the_upgrade():
    canister = Canister.install(STORE)
    hidden = "a very secret name"
    canister.call("put", hidden, 7)
    canister.upgrade()
    assert hidden.encode() not in canister.memory.read(0, canister.memory.nbytes)
    held = canister.manager.get(254)
    assert held.size() > 0
    assert held.read(0, PAGE_SIZE) == bytes(PAGE_SIZE)
    assert canister.query("all")[0] == {hidden: 7}


def test_defaults_are_copies():
    one, other = Canister.install(STORE), Canister.install(STORE)
    one.call("put", "a", 1)
    assert other.query("all")[:2] == ({}, [])


def test_new_and_removed_variables_are_reported():
    canister = Canister.install(STORE)
    canister.call("put", "a", 1)
    report = canister.upgrade(actor("seen = stable([])\nfresh = stable(5)\n@query\ndef look(self): return self.seen, self.fresh"))
    assert (report.kept, report.new, report.removed) == (("seen",), ("fresh",), ("names", "note"))
    assert canister.last_upgrade is report
    assert canister.query("look") == (["a"], 5)
    assert "upgrade: the stable variable names is gone, its value was dropped" in canister.logs


@pytest.mark.parametrize(("declared", "name"), [("names = stable([])", "names"), ("seen: dict[str, int] = stable({})", "seen")])
def test_a_changed_type_rolls_the_upgrade_back(declared, name):
    canister = Canister.install(STORE)
    canister.call("put", "a", 1)
    before = canister.memory.size(), canister.version
    with pytest.raises(Trapped, match=f"ChangedType: stable variable Main.{name} was saved as"):
        canister.upgrade(actor(declared + "\n@query\ndef f(self): pass"))
    assert (canister.memory.size(), canister.version) == before
    assert canister.query("all")[0] == {"a": 1}


def test_a_union_takes_each_of_its_types():
    canister = Canister.install(STORE)
    canister.call("put", "a", 1)
    canister.upgrade(actor("names: dict[str, int] | int = stable(0)\n@query\ndef f(self): return self.names"))
    assert canister.query("f") == {"a": 1}


@pytest.mark.parametrize(
    ("old", "new", "fits"),
    [
        ("0", "0", True),
        ("True", "0", False),
        ("0", "0.5", False),
        ("'a'", "b''", False),
        ("(1, 2)", "(0, 0)", True),
        ("(1, 2)", "{}", False),
        ("{1}", "set()", True),
        ("None", "0", False),
        ("5", "None", True),
    ],
)
def test_which_types_count_as_the_same(old, new, fits):
    source = actor("value = stable(OLD)\n@query\ndef get(self): return self.value")
    canister = Canister.install(source.replace("OLD", old))
    if fits:
        canister.upgrade(source.replace("OLD", new))
        assert canister.query("get") == eval(old)  # noqa: S307
        assert type(canister.query("get")) is type(eval(old))  # noqa: S307
    else:
        with pytest.raises(Trapped, match="ChangedType"):
            canister.upgrade(source.replace("OLD", new))


def test_dataclasses_come_back_as_dataclasses():
    head = HEAD + "import dataclasses\n@dataclasses.dataclass\nclass Point:\n    x: int = 0\n    y: int = 0\n"
    body = "at: list[Point] = stable([])\n@update\ndef go(self, x): self.at.append(Point(x, 1))\n@query\ndef last(self): return self.at[-1].x, type(self.at[-1]) is Point"  # noqa: E501 - a canister's source
    canister = Canister.install(actor(body, head))
    canister.call("go", 4)
    canister.upgrade()
    assert canister.query("last") == (4, True)


def test_skipping_pre_upgrade_loses_the_stable_variables_and_says_so():
    canister = Canister.install(STORE)
    canister.call("put", "a", 1)
    report = canister.upgrade(skip_pre_upgrade=True)
    assert report.new == ("names", "seen", "note")
    assert canister.query("all")[0] == {}


def test_what_cbor_cannot_hold_fails_the_upgrade_and_names_the_variable():
    canister = Canister.install(STORE)
    canister.module.Main  # noqa: B018
    source = actor(
        "thing = stable(None)\n@update\ndef spoil(self): self.thing = object\n@query\ndef get(self): return self.thing is object"
    )
    canister = Canister.install(source)
    canister.call("spoil")
    with pytest.raises(Trapped, match="stable variable thing"):
        canister.upgrade()
    assert canister.query("get") is True


def test_hooks_see_the_variables_saved_after_and_loaded_before_them():
    source = actor("""
value = stable(1)
@pre_upgrade
def before(self): self.value += 10
@post_upgrade
def after(self): self.value += 100
@query
def get(self): return self.value
""")
    canister = Canister.install(source)
    canister.upgrade()
    assert canister.query("get") == 111


def test_stable_variables_beside_structures_of_the_same_manager():
    head = HEAD + "from stable_structures import StableBTreeMap, u64\nusers = StableBTreeMap[u64, str](ic.manager().get(0))\n"
    canister = Canister.install(
        actor(
            "count = stable(0)\n@update\ndef add(self, k, v):\n    users[k] = v\n    self.count += 1\n    return self.count, len(users)",
            head,
        )
    )
    canister.call("add", 1, "a")
    canister.upgrade()
    assert canister.call("add", 2, "b") == (2, 2)


def test_stable_variables_and_a_structure_on_the_whole_memory_do_not_go_together():
    head = HEAD + "from stable_structures import StableVec, u64\nvec = StableVec[u64](ic.memory())\n"
    canister = Canister.install(actor("count = stable(0)\n@update\ndef add(self): vec.push(1)", head))
    with pytest.raises(ValueError, match=r"keep the structures in ic\.manager"):
        canister.upgrade()
    canister.call("add")


def test_guards_refuse_with_a_text_or_trap_by_raising():
    source = (
        HEAD
        + """
def member():
    if ic.caller() != ic.id(): return "members only"
def strict():
    if not ic.is_controller(ic.caller()): raise PermissionError("controllers only")
calls = []
@update(guard=member)
def one(): calls.append(1); return "in"
@update(guard=strict)
def two(): return "in"
@query(guard=member)
def three(): return len(calls)
"""
    )
    canister = Canister.install(source)
    with pytest.raises(Rejected, match="members only") as rejected:
        canister.call("one")
    assert (rejected.value.error_code, rejected.value.reject_code) == (ErrorCode.CANISTER_REJECTED, RejectCode.CANISTER_REJECT)
    assert canister.call("one", caller=canister.id) == "in"
    assert canister.call("two") == "in"
    with pytest.raises(Trapped, match="PermissionError: controllers only"):
        canister.call("two", caller=canister.id)
    with pytest.raises(Rejected):
        canister.query("three")
    assert canister.query("three", caller=canister.id) == 1


def test_arguments_and_answers_are_copies():
    canister = Canister.install(HEAD + "kept = []\n@update\ndef keep(x): kept.append(x); return kept\n@query\ndef look(): return kept\n")
    given = [1]
    answer = canister.call("keep", given)
    given.append(2)
    answer.append("mine")
    assert canister.query("look") == [[1]]


def test_inspect_message_lets_calls_from_outside_in():
    source = HEAD + "@inspect_message\ndef inspect(*args):\n    if ic.method_name() == 'open': ic.accept_message()\n"
    source += "@update\ndef open(): return 1\n@update\ndef shut(): return 2\n@query\ndef look(): return 3\n"
    canister = Canister.install(source)
    assert (canister.call("open"), canister.query("look")) == (1, 3)
    with pytest.raises(Rejected) as rejected:
        canister.call("shut")
    assert rejected.value.error_code == ErrorCode.REJECTED_MESSAGE


HOOKS = (
    HEAD
    + """
from stable_structures import UpgradeHooks
hooks = UpgradeHooks(ic.manager().get(0))
state = {"n": 0}
@hooks.pre_upgrade
def save(): return state
@hooks.post_upgrade
def load(saved): state.update(saved)
@update
def inc():
    state["n"] += 1
    return state["n"]
"""
)


def test_upgrade_hooks_of_a_canister_run_by_themselves():
    canister = Canister.install(HOOKS)
    assert [canister.call("inc"), canister.call("inc")] == [1, 2]
    canister.upgrade()
    canister.upgrade()
    assert canister.call("inc") == 3
    canister.upgrade(skip_pre_upgrade=True)
    assert canister.call("inc") == 3, "as it was saved last"
    again = Canister.install(HOOKS, memory=canister.memory.read(0, canister.memory.nbytes))
    assert again.call("inc") == 3
    canister.reinstall(HOOKS)
    assert canister.call("inc") == 1


def test_upgrade_hooks_come_with_an_upgrade_and_their_errors_undo_one():
    canister = Canister.install(HEAD + "@query\ndef f(): return 1\n")
    canister.upgrade(HOOKS)  # nothing was saved
    canister.call("inc")
    with pytest.raises(Trapped, match="KeyError"):
        canister.upgrade(HOOKS.replace("state.update(saved)", "saved['x']"))
    assert canister.call("inc") == 2
    canister.upgrade(HOOKS.replace("return state\n", "return {1: object()}\n"))
    assert canister.call("inc") == 3
    with pytest.raises(Trapped, match="cannot be encoded as CBOR"):
        canister.upgrade(HOOKS)


def test_upgrade_hooks_are_left_to_the_hooks_of_the_canister():
    own = "@pre_upgrade\ndef before(): hooks.run_pre_upgrade()\n@post_upgrade\ndef after(): ic.debug_print('mine')\n"
    canister = Canister.install(HOOKS + own)
    canister.call("inc")
    canister.upgrade()
    assert canister.call("inc") == 1
    assert canister.logs == ["mine"]
