# SPDX-License-Identifier: Apache-2.0
"""What a user sees when something goes wrong: the lines of the test and of the canister, what is there instead, and how to call it."""

from __future__ import annotations

import functools
import os
import traceback

import pytest

from stable_structures.canister import Canister, Rejected, SourceError, Trapped, Unsupported

from ..support import command

PLAIN = """
from stable_structures.canister import composite_query, ic, query, update
def helper(x): return deeper(x)
def deeper(x):
    raise ValueError(f"no {x}")  # this line
@update
def buy(item, pieces=1): return helper(item)
@query
def look(): return helper("look")
@composite_query
def all_of_them(): return 1
@update
async def wait(): return helper(await ic.call(ic.id(), "look"))
@update
def tick(): ic.set_timer(0, lambda: helper("timer"))
"""
ACTOR = """
from stable_structures.canister import Actor, query, update
class Shop(Actor):
    @update
    def buy(self, item, pieces=1): return self.helper(item)
    @query
    def look(self): return self.helper("look")
    def helper(self, x):
        raise ValueError(f"no {x}")  # this line
"""
CDK = """
from {cdk} import StableBTreeMap, nat64, query, update
stock = StableBTreeMap[str, nat64]({arguments})
def helper(x): raise ValueError("no " + x)  # this line
@update
def buy(item: str, pieces: nat64 = 1) -> nat64: return helper(item)
@query
def look() -> nat64: return helper("look")
"""
FORMS = {
    "plain": PLAIN,
    "actor": ACTOR,
    "basilisk": CDK.format(cdk="basilisk", arguments="memory_id=1"),
    "kybra": CDK.format(cdk="kybra", arguments="memory_id=1, max_key_size=10, max_value_size=10"),
}


@pytest.fixture(params=FORMS)
def canister(request):
    if request.param == "kybra":
        pytest.importorskip("icp_candid")
    return Canister.install(FORMS[request.param])


# ---- tracebacks ----


def shown(raised):
    """The traceback as Python prints it, the frames of this test and of pytest left out."""
    lines = "".join(traceback.format_exception(raised.value)).splitlines()
    return [line for line in lines if "_pytest" not in line]


@pytest.mark.parametrize("method", ["buy", "look"])
def test_a_traceback_shows_the_canisters_lines_and_none_of_the_harness(canister, method):
    with pytest.raises(Trapped) as raised:
        canister.call(method, *(["pear"] if method == "buy" else []))
    lines = shown(raised)
    assert any("# this line" in line for line in lines)
    assert not [line for line in lines if os.sep + "stable_structures" + os.sep in line and "tests" not in line]
    assert len(lines) < 20


def test_so_do_timers_waiting_methods_and_sources_that_fail():
    canister = Canister.install(PLAIN)
    canister.call("tick")
    trapped = canister.advance_time(1)
    with pytest.raises(Trapped) as installing:
        Canister.install("def f():\n    raise ValueError  # this line\nf()\n")
    with pytest.raises(Trapped) as upgrading:
        canister.upgrade(PLAIN + "helper(1)\n")
    for error in (*trapped, installing.value, upgrading.value):
        text = "".join(traceback.format_exception(error))
        assert "# this line" in text
        assert "execution.py" not in text
        assert len(text.splitlines()) < 20


def test_what_the_library_refuses_is_shown_at_the_canisters_line():
    source = "from stable_structures import StableBTreeMap, u64\nfrom stable_structures.canister import ic, update\n"
    source += "m = StableBTreeMap[u64, u64](ic.manager().get(0))\n@update\ndef put(x):\n    m[x] = 1  # this line\n"
    with pytest.raises(Trapped, match="IncompatibleType") as raised:
        Canister.install(source).call("put", "text")
    frames = traceback.extract_tb(raised.value.__cause__.__traceback__)
    assert [frame.line for frame in frames] == ["m[x] = 1  # this line"]


def test_a_fault_of_our_own_keeps_its_frames(monkeypatch):
    canister = Canister.install(PLAIN)
    monkeypatch.setattr("stable_structures.canister.program.CdkAdapter.arguments", staticmethod(functools.partial(int, "no number")))
    with pytest.raises(Trapped, match=r"TypeError|ValueError") as raised:
        canister.call("buy", 1)
    assert "execution.py" in "".join(traceback.format_exception(raised.value))


def test_unsupported_keeps_the_canisters_lines():
    source = PLAIN.replace(
        'raise ValueError(f"no {x}")', 'ic.set_timer; raise __import__("stable_structures.canister").canister.Unsupported("x")'
    )
    with pytest.raises(Unsupported) as raised:
        Canister.install(source).call("buy", 1)
    lines = shown(raised)
    assert any("# this line" in line for line in lines)
    assert not any("execution.py" in line for line in lines)


TESTS = """
import pytest
FORMS = {forms!r}
@pytest.mark.parametrize("form", FORMS)
def test_it(canister, form):
    canister(FORMS[form]).call("buy", "pear")
def test_arguments(canister):
    canister(FORMS["plain"]).call("buy")
def test_file(canister):
    canister("shop.py").call("buy", 1)
"""


@pytest.mark.parametrize("style", ["auto", "long", "short", "native"])
def test_pytest_shows_a_trap_in_a_few_lines(style, tmp_path):
    forms = {name: source for name, source in FORMS.items() if name != "kybra"}
    (tmp_path / "test_it.py").write_text(TESTS.format(forms=forms))
    (tmp_path / "shop.py").write_text(PLAIN)
    words = ["-q", "-p", "no:cacheprovider", "-W", "ignore", f"--tb={style}", "test_it.py"]
    done = command.run_pytest(*words, cwd=tmp_path, env={**os.environ, "PYTEST_ADDOPTS": ""})
    assert "5 failed" in done.stdout, done.stdout
    reports = done.stdout.partition("= FAILURES =")[2].partition("= short test summary")[0]
    assert f"canister{os.sep}execution.py" not in reports
    assert f"canister{os.sep}canister.py" not in reports
    assert "call it as buy(item, pieces=1)" in reports
    assert reports.count("# this line") >= 4
    assert style == "native" or len(reports.splitlines()) < 5 * 36  # each was 103 lines; the frames of pytest stay in "native"


# ---- what is there instead ----


def test_a_query_of_an_update_says_how_to_call_it(canister):
    with pytest.raises(Rejected, match=r"no query method 'buy': it is an update, use call\('buy', \.\.\.\)"):
        canister.query("buy", "pear")


def test_a_call_of_a_composite_query_says_how_to_call_it():
    with pytest.raises(Rejected, match=r"no update method 'all_of_them': it is a composite query, use query\('all_of_them'"):
        Canister.install(PLAIN).call("all_of_them")


@pytest.mark.parametrize("kind", ["call", "query"])
def test_near_names_are_suggested(canister, kind):
    with pytest.raises(Rejected, match=r"method 'lok': did you mean 'look'\? \(its methods: "):
        getattr(canister, kind)("lok")
    with pytest.raises(Rejected, match=r"method 'xyzzy' \(its methods: .*buy"):
        getattr(canister, kind)("xyzzy")


def test_a_function_that_nothing_exports_is_named(canister):
    with pytest.raises(Rejected, match="'helper' is a function, but not exported"):
        canister.call("helper", 1)


def test_another_canister_gets_the_same_words():
    source = PLAIN.replace('"look"))', '"lok"))')
    with pytest.raises(Trapped, match="did you mean 'look'"):
        Canister.install(source).call("wait")


def test_a_wrong_number_of_arguments_says_the_signature(canister):
    with pytest.raises(
        Trapped, match=r"missing 1 required positional argument: 'item'; call it as buy\(item.*pieces.* = ?1|=1\)"
    ) as raised:
        canister.call("buy")
    assert "self" not in str(raised.value)
    assert raised.value.__cause__ is None
    with pytest.raises(Trapped, match=r"look\(\) takes .* given; call it as look\("):
        canister.query("look", 1, 2, 3)


def test_arguments_that_a_wrapper_takes_are_not_refused():
    source = """
import functools
from stable_structures.canister import update
def with_one(function):
    @functools.wraps(function)
    def inner(*args): return function(1, *args)
    return inner
@update
@with_one
def add(x, y): return x + y
@update
def inside(): return (lambda x: x)()
"""
    canister = Canister.install(source)
    assert canister.call("add", 2) == 3
    with pytest.raises(Trapped, match=r"missing 1 required positional argument: 'x'$"):
        canister.call("inside")


def test_errors_at_installing_are_short_too():
    for wrong in ("x = 1\n", "def broken(:\n"):
        with pytest.raises(SourceError) as raised:
            Canister.install(wrong)
        assert not any("execution.py" in line for line in shown(raised))


# ---- repr ----


def test_what_is_printed_in_a_debugger_is_short():
    source = "from stable_structures.canister import ic, update\nseen = []\n@update\ndef note(x):\n    ic.set_timer(1, note)\n"
    source += "    from stable_structures.canister import message\n    m = message.current()\n    return repr(m), repr(m.context)\n"
    canister = Canister.install(source)
    message, context = canister.call("note", b"x" * 100_000)
    snapshot = canister.snapshot()
    assert "update" in message
    assert "note" in message
    assert "note" in context
    shown_ones = [
        message,
        context,
        repr(canister),
        repr(snapshot),
        repr(canister.program),
        repr(canister.timers),
        repr(canister.program.code),
    ]
    assert max(map(len, shown_ones)) < 250, shown_ones
    assert not [one for one in shown_ones if " object at 0x" in one]
    assert str(canister.id) in repr(canister)
    assert str(canister.id) in repr(snapshot)
