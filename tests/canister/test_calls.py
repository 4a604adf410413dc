# SPDX-License-Identifier: Apache-2.0
"""Calls between canisters, awaits, timers and cycles, in all three forms."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from stable_structures import Principal
from stable_structures.canister import Canister, ErrorCode, RejectCode, Rejected, Trapped, Unsupported

HEAD = "from stable_structures.canister import *\n"
LEDGER = (
    HEAD
    + """
balances = {}
@update
def deposit(amount):
    accepted = ic.msg_cycles_accept(amount)
    balances[ic.caller()] = balances.get(ic.caller(), 0) + accepted
    return balances[ic.caller()]
@query
def balance(): return balances.get(ic.caller(), 0)
@update
def fail(): ic.stable64_grow(1); raise ValueError("broke")
@update
def refuse(): ic.stable64_grow(1); ic.reject("closed today")
"""
)
SHOP = (
    HEAD
    + """
ledger, log = None, []
@init
def begin(principal):
    global ledger
    ledger = principal
@update
async def pay(amount, cycles=0):
    log.append(("paying", amount))
    total = await ic.call(ledger, "deposit", amount, cycles=cycles)
    log.append(("paid", total, ic.msg_cycles_refunded()))
    return total
@update
async def attempt(method, *args):
    log.append("attempt")
    try:
        return await ic.call(ledger, method, *args)
    except CallRejected as error:
        log.append("rejected")
        return int(error.reject_code), error.message, ic.reject_code(), ic.reject_message()
@update
async def both():
    async def one(): return await ic.call(ledger, "balance")
    return await one() + await one()
@update
def send(times):
    for _ in range(times): ic.notify(ic.call(ledger, "deposit", 5, cycles=5))
    return "sent"
@query
def logged(): return log
@query
async def peek(): return await ic.call(ledger, "balance")
@composite_query
async def look():
    log.append("looked")
    before = len(log)
    answer = await ic.call(ledger, "balance")
    return before == len(log), answer
@composite_query
async def meddle(): return await ic.call(ledger, "deposit", 1)
@composite_query
async def mirror(): return await ic.call(ic.id(), "logged")
@update
async def to_itself(n): return n if not n else n + await ic.call(ic.id(), "to_itself", n - 1)
"""
)


@pytest.fixture
def ledger():
    return Canister.install(LEDGER)


@pytest.fixture
def shop(ledger):
    return Canister.install(SHOP, arg=ledger.id)


def test_a_call_reaches_the_canister_of_that_principal(shop, ledger):
    assert shop.call("pay", 0) == 0
    assert shop.query("logged") == [("paying", 0), ("paid", 0, 0)]
    assert ledger.query("balance", caller=shop.id) == 0


def test_cycles_move_with_calls_and_what_is_not_accepted_comes_back(shop, ledger):
    mine, theirs = shop.cycles, ledger.cycles
    assert shop.call("pay", 70, cycles=0) == 0
    assert shop.call("pay", 70, 100) == 70
    assert shop.query("logged")[-1] == ("paid", 70, 30)
    assert (shop.cycles, ledger.cycles) == (mine - 70, theirs + 70)
    with pytest.raises(Trapped, match="cycles wanted"):
        shop.call("pay", 1, 10**20)


@pytest.mark.parametrize(
    ("method", "code", "text"),
    [
        ("fail", RejectCode.CANISTER_ERROR, "IC0503: Canister called `ic0.trap` with message: ValueError: broke"),
        ("refuse", RejectCode.CANISTER_REJECT, "closed today"),
        ("nothing", RejectCode.CANISTER_ERROR, "IC0536: Canister has no update method 'nothing'"),
    ],
)
def test_a_rejected_call_raises_in_the_caller(shop, ledger, method, code, text):
    found, message, in_callback, again = shop.call("attempt", method)
    assert (found, in_callback) == (code, code)
    assert message.startswith(text)
    assert again == message
    assert ledger.memory.size() == (1 if method == "refuse" else 0)  # a rejection is no trap
    assert shop.query("logged") == ["attempt", "rejected"]


def test_a_stopped_canister_rejects_calls_of_canisters_too(shop, ledger):
    ledger.stop()
    assert shop.call("attempt", "balance")[:2] == (
        5,
        f"IC0508: Canister {ledger.id} is stopped and therefore does not have a CallContextManager",
    )


def test_an_unknown_principal_is_an_invalid_destination():
    shop = Canister.install(SHOP, arg=Principal(b"nobody"))
    assert shop.call("attempt", "x")[0] == RejectCode.DESTINATION_INVALID


def test_the_management_canister_is_not_there_unless_the_test_registers_it():
    shop = Canister.install(SHOP, arg=Principal.management_canister())
    with pytest.raises(Unsupported, match="raw_rand"):
        shop.call("attempt", "raw_rand")
    shop.register("aaaaa-aa", "raw_rand", lambda: bytes(32))
    assert shop.call("attempt", "raw_rand") == bytes(32)


def test_a_registered_function_may_reject_and_its_own_errors_reach_the_test(shop, ledger):
    def answer(kind):
        if kind == "reject":
            raise Rejected(ErrorCode.CANISTER_REJECTED, "not now", RejectCode.SYS_TRANSIENT)
        raise ZeroDivisionError

    shop.register(ledger.id, "ask", answer)
    assert shop.call("attempt", "ask", "reject")[:2] == (RejectCode.SYS_TRANSIENT, "not now")
    with pytest.raises(ZeroDivisionError):
        shop.call("attempt", "ask", "break")
    assert shop.status == "running"
    shop.stop()
    assert shop.status == "stopped"  # no call is left open


def test_inner_coroutines_wait_too(shop):
    assert shop.call("both") == 0


def test_notifications_are_sent_once_the_message_has_ended_well(shop, ledger):
    assert shop.call("send", 3) == "sent"
    assert ledger.query("balance", caller=shop.id) == 15


def test_a_message_that_traps_sends_nothing_and_keeps_its_cycles(ledger):
    source = SHOP + "@update\ndef send_and_trap():\n    send(2)\n    ic.trap('no')\n"
    shop = Canister.install(source, arg=ledger.id)
    cycles = shop.cycles
    with pytest.raises(Trapped):
        shop.call("send_and_trap")
    assert (ledger.version, shop.cycles) == (1, cycles)


def test_a_query_cannot_call_and_a_composite_query_can_call_queries(shop, ledger):
    with pytest.raises(Trapped, match="cannot be executed in query mode"):
        shop.query("peek")
    assert shop.query("look") == (True, 0)
    assert shop.query("logged") == []
    with pytest.raises(Trapped, match="no query method 'deposit'"):
        shop.query("meddle")
    with pytest.raises(Rejected, match="no update method 'look'"):
        shop.call("look")
    with pytest.raises(Unsupported, match="composite query cannot call back"):
        shop.query("mirror")
    assert (shop.query("look"), ledger.version) == ((True, 0), 1)


def test_a_canister_may_call_itself(shop):
    version = shop.version
    assert shop.call("to_itself", 3) == 6
    assert shop.version == version + 4 + 3  # four calls and three callbacks


def test_an_upgrade_while_a_call_is_under_way_ends_that_call(shop, ledger):
    shop.register(ledger.id, "ask", lambda: shop.upgrade(SHOP))
    with pytest.raises(Trapped, match="replaced while it waited"):
        shop.call("attempt", "ask")
    assert shop.query("logged") == []
    assert shop.call("to_itself", 1) == 1


def test_an_answer_that_was_given_before_a_wait_stays_given(ledger):
    source = "from kybra import *\nseen = []\nclass Ledger(Service):\n"
    source += "    @service_query\n    def balance(self) -> nat: ...\n"
    source += "@update\ndef early(to: Principal) -> Async[Manual[text]]:\n    seen.append(1)\n    ic.reply('soon')\n"
    source += (
        "    yield Ledger(to).balance()\n    seen.append(2)\n    raise ValueError('late')\n@query\ndef all() -> Vec[nat]: return seen\n"
    )
    canister = Canister.install(source)
    assert canister.call("early", ledger.id) == "soon"
    assert canister.query("all") == [1]
    assert "ValueError: late" in canister.logs[-1]


def test_waiting_objects_are_heap_and_survive_a_trap_of_another_message(shop, ledger):
    def ask():
        with pytest.raises(Trapped):
            shop.call("pay", 1, 10**20)
        return "answered"

    shop.register(ledger.id, "ask", ask)
    assert shop.call("attempt", "ask") == "answered"
    assert shop.query("logged") == ["attempt"]


# ---- timers ----


def test_timers_run_in_the_order_of_their_times_and_can_be_cleared():
    source = (
        HEAD
        + """
rung = []
@update
def plan():
    ic.set_timer(5, lambda: rung.append(("five", ic.time())))
    ic.set_timer(3, lambda: rung.append(("three", ic.time())))
    ic.set_timer_interval(2, lambda: rung.append(("each", ic.time())))
    return ic.set_timer(1, lambda: rung.append("never"))
@update
def clear(timer): ic.clear_timer(timer); ic.clear_timer(999)
@query
def all(): return [(name, (at - T0) / 1e9) for name, at in rung]
""".replace("T0", str(Canister().time))
    )
    canister = Canister.install(source)
    canister.call("clear", canister.call("plan"))
    assert canister.advance_time(2) == []
    canister.advance_time(4, rounds=7)
    assert canister.query("all") == [("each", 2), ("three", 3), ("each", 4), ("five", 5), ("each", 6)]


def test_a_timer_that_traps_is_rolled_back_alone_and_intervals_go_on():
    source = HEAD + "n = []\ndef tick():\n    n.append(1)\n    ic.stable64_grow(1)\n    if len(n) == 2: raise ValueError('second')\n"
    source += "@init\ndef i(): ic.set_timer_interval(1, tick)\n@query\ndef count(): return len(n)\n"
    canister = Canister.install(source)
    trapped = canister.advance_time(4)
    assert [one.message for one in trapped] == ["Canister called `ic0.trap` with message: ValueError: second"] * 3
    assert (canister.query("count"), canister.memory.size()) == (1, 1)


def test_a_timer_may_wait_for_another_canister(ledger):
    source = HEAD + "got = []\nasync def ask(): got.append(await ic.call(OTHER, 'balance'))\n".replace("OTHER", repr(str(ledger.id)))
    source += "@init\ndef i(): ic.set_timer(0, ask)\n@query\ndef all(): return got\n"
    canister = Canister.install(source)
    assert canister.query("all") == []
    assert canister.advance_time(0) == []
    assert canister.query("all") == [0]


def test_a_hook_cannot_wait():
    with pytest.raises(Unsupported, match="@init is a generator or a coroutine"):
        Canister.install(HEAD + "@init\nasync def begin(): pass\n")


# ---- the CDKs ----

KYBRA_CALLER = """
from kybra import *
class Ledger(Service):
    @service_update
    def deposit(self, amount: nat64) -> nat64: ...
    @service_query
    def balance(self) -> nat64: ...
    @service_update
    def fail(self) -> void: ...
log = []
@update
def pay(ledger: Principal, amount: nat64) -> Async[Opt[nat64]]:
    log.append("paying")
    result: CallResult[nat64] = yield Ledger(ledger).deposit(amount).with_cycles(50)
    return match(result, {"Ok": lambda ok: ok, "Err": lambda err: ic.trap(err)})
@update
def twice(ledger: Principal) -> Async[nat64]:
    first = yield inner(ledger)
    second = yield inner(ledger)
    return first + second
def inner(ledger):
    result = yield Ledger(ledger).balance()
    return result.Ok
@update
def failing(ledger: Principal) -> Async[text]:
    result = yield Ledger(ledger).fail()
    return result.Err
@update
def raw(target: Principal, data: blob) -> Async[blob]:
    result = yield ic.call_raw(target, "add", data, 0)
    return result.Ok if result.Err is None else result.Err.encode()
@update
def tell(ledger: Principal) -> void:
    Ledger(ledger).deposit(3).with_cycles(3).notify()
@update
def strange() -> Async[void]:
    yield 5
@query
def logged() -> Vec[text]: return log
"""
ADDER = """
from CDK import *
@update
def add(a: nat64, b: int8) -> int64:
    return a + b
"""


def test_kybra_generators_wait_for_services(ledger):
    caller = Canister.install(KYBRA_CALLER)
    assert caller.call("pay", ledger.id, 20) == 20
    assert caller.call("twice", ledger.id) == 40
    assert caller.call("failing", ledger.id) == "Rejection code 5, IC0503: Canister called `ic0.trap` with message: ValueError: broke"
    caller.call("tell", ledger.id)
    assert ledger.query("balance", caller=caller.id) == 23
    with pytest.raises(Trapped, match="Rejection code 3"):
        caller.call("pay", Principal(b"none"), 1)
    assert caller.query("logged") == ["paying", "paying"]  # the trap came behind the wait
    with pytest.raises(Unsupported, match="not for int"):
        caller.call("strange")


@pytest.mark.parametrize("cdk", ["kybra", "basilisk"])
def test_raw_calls_carry_candid(cdk):
    candid = pytest.importorskip("icp_candid.candid")
    nat64, int8 = candid.Types.Nat64, candid.Types.Int8
    data = candid.encode([{"type": nat64, "value": 40}, {"type": int8, "value": -2}])
    target = Canister.install(ADDER.replace("CDK", cdk))
    answer = Canister.install(KYBRA_CALLER).call("raw", target.id, data)
    assert candid.decode(answer)[0]["value"] == 38


def test_basilisk_generators_get_results_as_dicts_and_attributes(ledger):
    source = """
from basilisk import *
class Ledger(Service):
    @service_query
    def balance(self) -> nat64: ...
    @service_update
    def refuse(self) -> void: ...
@update
def ask(ledger: Principal) -> Async[list]:
    good = yield Ledger(ledger).balance()
    bad = yield Ledger(ledger).refuse()
    return [good["Ok"], good.Ok, good.Err, bad["Err"], bad.Ok, "Ok" in bad]
"""
    assert Canister.install(source).call("ask", ledger.id) == [0, 0, None, "Rejection code 4, closed today", None, False]


@pytest.mark.parametrize("cdk", ["kybra", "basilisk"])
def test_the_management_canister_of_the_cdks_asks_the_test(cdk):
    source = f"from {cdk} import *\nfrom {cdk}.canisters.management import HttpResponse, management_canister\n"
    source += "@update\ndef random() -> Async[blob]:\n    result = yield management_canister.raw_rand()\n    return result.Ok\n"
    canister = Canister.install(source)
    with pytest.raises(Unsupported, match="raw_rand"):
        canister.call("random")
    canister.register("aaaaa-aa", "raw_rand", lambda: b"dice")
    assert canister.call("random") == b"dice"


def test_threads_take_turns(shop, ledger):
    def pay():
        return [shop.call("pay", 1, 1) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        answers = [answer for done in [pool.submit(pay) for _ in range(4)] for answer in done.result()]
    assert sorted(answers) == list(range(1, 81))
    assert ledger.query("balance", caller=shop.id) == 80
