# SPDX-License-Identifier: Apache-2.0
"""The platform's rules (docs/platform.md#stable-memory), each with the test that holds it; `RULES` is the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from stable_structures import PAGE_SIZE, Principal
from stable_structures.canister import Canister, ErrorCode, Limits, RejectCode, Rejected, Trapped

HEAD = "from stable_structures.canister import *\n"
ALICE, BOB = Principal(b"alice"), Principal(b"bob")

STABLE = (
    HEAD
    + """
@update
def do(name, *args):
    return getattr(ic, name)(*args)

@query
def look(name, *args):
    return getattr(ic, name)(*args)

@update
def many(*steps):
    for name, *args in steps:
        getattr(ic, name)(*args)
"""
)

RULES = {
    "2.1 pages of 64 KiB, initially empty, new ones zero": "test_stable_memory_begins_empty_and_new_pages_are_zero",
    "2.1 the limit is 500 GiB, and growing past it gives -1": "test_growth_past_the_limit_gives_minus_one",
    "2.1 grow(0) returns the size": "test_growing_by_nothing_gives_the_size",
    "2.1 reading and writing past the end traps, nothing grows by itself": "test_access_past_the_end_traps",
    "2.1 the 32-bit calls end at 4 GiB": "test_32_bit_calls_end_at_4_gib",
    "2.1 an access of size 0 is allowed anywhere": "test_an_access_of_no_bytes_is_allowed_anywhere",
    "2.2 dirty pages of one message are limited by its kind": "test_dirty_pages_of_a_message_are_limited",
    "2.2 the heap is limited": "test_the_heap_is_limited_for_updates_and_not_for_queries",
    "2.2 ten snapshots": "test_a_canister_has_ten_snapshots_at_most",
    "2.3 a trap undoes everything": "test_a_trap_undoes_memory_growth_globals_certified_data_and_timers",
    "2.3 a trap cannot be caught": "test_code_that_catches_a_trap_is_rolled_back_all_the_same",
    "2.3 an await commits": "test_an_await_commits_and_a_trap_behind_it_undoes_only_what_came_after",
    "2.3 queries never persist": "test_queries_never_persist",
    "2.3 no reply: the state is kept, the caller gets a reject": "test_an_update_without_reply_keeps_its_state",
    "2.3 a second reply traps": "test_a_second_reply_traps",
    "2.3 time stands still in a message": "test_time_stands_still_in_a_message_and_goes_on_over_upgrades",
    "2.4 install needs an empty canister": "test_install_needs_an_empty_canister",
    "2.4 a trapping init leaves the canister empty": "test_a_trap_in_init_leaves_the_canister_empty",
    "2.4 reinstall empties stable memory, or changes nothing": "test_reinstall_empties_stable_memory_or_changes_nothing",
    "2.4 the order of an upgrade": "test_an_upgrade_runs_pre_upgrade_then_the_source_then_post_upgrade",
    "2.4 skip_pre_upgrade": "test_skip_pre_upgrade_skips_it",
    "2.4 an upgrade is atomic over its hooks": "test_a_trap_anywhere_in_an_upgrade_undoes_it_all",
    "2.4 the heap is gone, stable memory stays": "test_an_upgrade_keeps_stable_memory_and_drops_the_heap",
    "2.4 an upgrade needs no stopped canister": "test_a_canister_is_upgraded_in_any_status",
    "2.4 only controllers": "test_only_controllers_manage_a_canister",
    "2.4 an upgrade forgets timers": "test_an_upgrade_forgets_timers_unless_post_upgrade_sets_them",
    "2.4 certified data over upgrades": "test_certified_data_survives_an_upgrade_and_not_a_reinstall",
    "2.4 hooks see the version of their code": "test_hooks_see_the_version_and_the_status",
    "2.5 what counts a version": "test_versions_count_what_the_platform_counts",
    "2.6 system calls where they are allowed": "test_system_calls_trap_where_they_are_not_allowed",
    "2.7 a stopped canister rejects": "test_a_stopped_canister_rejects_calls_and_queries",
    "2.7 stopping waits for open calls": "test_stopping_waits_for_the_answer_that_is_under_way",
    "2.7 timers and heartbeats run only when running": "test_timers_and_heartbeats_run_only_when_running",
    "2.7 an empty canister rejects": "test_an_empty_canister_rejects",
    "2.7 uninstall": "test_uninstall_drops_code_and_memory_and_keeps_identity_and_status",
    "2.7 snapshots restore module, heap, memory and certified data": "test_a_snapshot_brings_back_code_heap_memory_and_certified_data",
    "2.7 codes and texts": "test_rejections_have_the_codes_of_the_platform",
}


def test_every_rule_has_its_test():
    assert [name for name in RULES.values() if not callable(globals().get(name))] == []
    tests = {name for name in globals() if name.startswith("test_")} - {"test_every_rule_has_its_test"}
    assert tests - set(RULES.values()) == set()


# ---- 2.1 stable memory ----


def test_stable_memory_begins_empty_and_new_pages_are_zero():
    canister = Canister.install(STABLE)
    assert canister.call("do", "stable64_size") == 0
    assert canister.call("do", "stable64_grow", 2) == 0
    assert canister.call("do", "stable64_read", 0, 2 * PAGE_SIZE) == bytes(2 * PAGE_SIZE)


@pytest.mark.parametrize("bits", ["stable64_", "stable_"])
def test_growing_by_nothing_gives_the_size(bits):
    canister = Canister.install(STABLE)
    canister.call("do", "stable64_grow", 3)
    assert canister.call("do", bits + "grow", 0) == 3


def test_growth_past_the_limit_gives_minus_one():
    assert Canister.install(STABLE).limits.stable_memory == 500 * 2**30
    canister = Canister.install(STABLE, limits=Limits(stable_memory=4 * PAGE_SIZE))
    assert canister.call("do", "stable64_grow", 5) == -1
    assert canister.call("do", "stable64_grow", 4) == 0
    assert canister.call("do", "stable_grow", 1) == -1
    assert canister.call("do", "stable64_grow", 2**63) == -1
    assert canister.memory.size() == 4


@pytest.mark.parametrize("bits", ["stable64_", "stable_"])
@pytest.mark.parametrize("access", [("read", PAGE_SIZE - 1, 2), ("write", PAGE_SIZE, b"x"), ("read", 2**32 - 1, 1)])
def test_access_past_the_end_traps(bits, access):
    canister = Canister.install(STABLE)
    canister.call("do", "stable64_grow", 1)
    with pytest.raises(Trapped) as trapped:
        canister.call("do", bits + access[0], *access[1:])
    assert trapped.value.message == "Canister trapped: stable memory out of bounds"
    assert trapped.value.error_code == trapped.value.code == ErrorCode.TRAPPED == 502
    assert canister.memory.size() == 1


def test_32_bit_calls_end_at_4_gib():
    canister = Canister.install(STABLE)
    assert canister.call("do", "stable_grow", 65536) == 0
    assert canister.call("do", "stable_grow", 0) == 65536
    assert canister.call("do", "stable_size") == 65536
    assert canister.call("do", "stable_grow", 1) == -1
    canister.call("do", "stable64_grow", 1)
    for name, *args in (("stable_size",), ("stable_grow", 0), ("stable_read", 0, 1), ("stable_write", 0, b"x")):
        with pytest.raises(Trapped, match="32 bit stable memory api used on a memory larger than 4GB"):
            canister.call("do", name, *args)


def test_an_access_of_no_bytes_is_allowed_anywhere():
    canister = Canister.install(STABLE)
    assert canister.call("do", "stable_read", 2**31, 0) == b""
    assert canister.call("do", "stable64_read", 2**63, 0) == b""
    assert canister.call("do", "stable64_write", 2**63, b"") is None


# ---- 2.2 limits ----


def test_dirty_pages_of_a_message_are_limited():
    limits = Limits(dirty_update=8192, dirty_query=4096)
    canister = Canister.install(STABLE, limits=limits)
    canister.call("do", "stable64_grow", 1)
    canister.call("do", "stable64_write", 0, bytes(8192))
    with pytest.raises(Trapped) as trapped:
        canister.call("do", "stable64_write", 4095, bytes(8192))
    assert trapped.value.error_code == ErrorCode.MEMORY_ACCESS_LIMIT
    assert trapped.value.message == (
        "Canister exceeded memory access limits: Exceeded the limit for the number of modified pages in the stable memory "
        "in a single message execution: limit: 8 KB."
    )
    canister.query("look", "stable64_write", 0, b"x")
    with pytest.raises(Trapped, match="limit: 4 KB"):
        canister.query("look", "stable64_write", 4000, bytes(200))


def test_the_heap_is_limited_for_updates_and_not_for_queries():
    source = HEAD + "kept = []\n@update\ndef keep(n): kept.append(bytes(n))\n@query\ndef look(n): kept.append(bytes(n))\n"
    canister = Canister.install(source, limits=Limits(heap=1_000_000))
    canister.call("keep", 100_000)
    canister.query("look", 2_000_000)
    with pytest.raises(Trapped) as trapped:
        canister.call("keep", 2_000_000)
    assert trapped.value.error_code == ErrorCode.HEAP_LIMIT
    assert len(canister.module.kept) == 1


def test_a_canister_has_ten_snapshots_at_most():
    canister = Canister.install(STABLE)
    taken = [canister.snapshot() for _ in range(10)]
    with pytest.raises(Rejected, match="10"):
        canister.snapshot()
    taken.pop()
    canister.snapshot()


# ---- 2.3 atomicity ----

BANK = (
    HEAD
    + """
accounts, order = {"a": 1}, [1, 2]
class Box:
    size = 1
    def __init__(self): self.items = {1, 2}
box, counter = Box(), 0

@update
def spoil(how):
    global counter
    counter += 1
    accounts["b"] = 2; order.append(3); box.items.add(3); box.name = "x"; Box.size = 2
    ic.stable64_grow(3); ic.stable64_write(0, b"spoiled")
    ic.set_certified_data(b"bad"); ic.set_timer(1, lambda: None)
    if how == "trap": ic.trap("no")
    if how == "raise": raise KeyError("no")
    if how == "exit": raise SystemExit(3)

@query
def state():
    return accounts, order, box.items, vars(box).keys() == {"items"}, Box.size, counter
"""
)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("trap", "Canister called `ic0.trap` with message: no"),
        ("raise", "Canister called `ic0.trap` with message: KeyError: 'no'"),
        ("exit", "Canister called `ic0.trap` with message: SystemExit: 3"),
    ],
)
def test_a_trap_undoes_memory_growth_globals_certified_data_and_timers(how, text):
    canister = Canister.install(BANK)
    before = canister.query("state")
    with pytest.raises(Trapped) as trapped:
        canister.call("spoil", how)
    assert trapped.value.message == text
    assert (trapped.value.error_code, trapped.value.reject_code) == (ErrorCode.CALLED_TRAP, RejectCode.CANISTER_ERROR)
    assert canister.query("state") == before
    assert (canister.memory.size(), canister.certified_data, len(canister.timers.entries), canister.version) == (0, b"", 0, 1)
    canister.call("spoil", "not")
    assert canister.query("state") != before
    assert canister.memory.read(0, 7) == b"spoiled"


def test_code_that_catches_a_trap_is_rolled_back_all_the_same():
    source = (
        HEAD
        + """
@update
def sly():
    ic.stable64_grow(1)
    try:
        ic.trap("caught?")
    except BaseException:
        return "saved"
@update
def honest():
    try:
        ic.trap("caught?")
    except Exception:
        return "saved"
"""
    )
    canister = Canister.install(source)
    for method in ("sly", "honest"):
        with pytest.raises(Trapped, match=r"caught\?"):
            canister.call(method)
    assert canister.memory.size() == 0


WAITER = (
    HEAD
    + """
log = []
@update
async def work(then=None):
    log.append("before")
    ic.stable64_grow(1)
    answer = await ic.call("aaaaa-aa", "ask", len(log))
    log.append(answer)
    ic.stable64_grow(1)
    if then: ic.trap(then)
    return answer
@query
def logged(): return log
"""
)


def test_an_await_commits_and_a_trap_behind_it_undoes_only_what_came_after():
    canister = Canister.install(WAITER)
    seen = []
    canister.register("aaaaa-aa", "ask", lambda n: seen.append((n, canister.query("logged"), canister.memory.size())) or "yes")
    with pytest.raises(Trapped):
        canister.call("work", "late")
    assert seen == [(1, ["before"], 1)]
    assert (canister.query("logged"), canister.memory.size(), canister.version) == (["before"], 1, 2)
    assert canister.call("work") == "yes"
    assert (canister.query("logged"), canister.memory.size(), canister.version) == (["before", "before", "yes"], 3, 4)


def test_queries_never_persist():
    canister = Canister.install(
        STABLE + "seen = []\n@query\ndef note(): seen.append(1); ic.stable64_grow(1); return len(seen), ic.stable64_size()\n"
    )
    assert canister.query("note") == canister.query("note") == canister.call("note") == (1, 1)
    assert (canister.memory.size(), canister.version) == (0, 1)


def test_an_update_without_reply_keeps_its_state():
    source = "from kybra import *\nseen = []\n@update\ndef silent() -> Manual[nat]:\n    seen.append(1)\n@query\ndef count() -> nat: return len(seen)\n"  # noqa: E501 - a canister's source
    canister = Canister.install(source)
    with pytest.raises(Rejected, match="did not reply") as rejected:
        canister.call("silent")
    assert rejected.value.error_code == ErrorCode.DID_NOT_REPLY
    assert canister.query("count") == 1


def test_a_second_reply_traps():
    canister = Canister.install(HEAD + "@update\ndef twice(): ic.stable64_grow(1); ic.reply(1); ic.reject('no')\n")
    with pytest.raises(Trapped) as trapped:
        canister.call("twice")
    assert trapped.value.error_code == ErrorCode.CONTRACT_VIOLATION
    assert canister.memory.size() == 0


def test_time_stands_still_in_a_message_and_goes_on_over_upgrades():
    source = HEAD + "@update\ndef now(): return ic.time(), ic.time()\n"
    canister = Canister.install(source)
    first = canister.call("now")
    assert first[0] == first[1]
    canister.advance_time(5)
    canister.upgrade(source)
    assert canister.call("now")[0] == first[0] + 5 * 10**9


# ---- 2.4 install, reinstall, upgrade ----

EVENTS = (
    HEAD
    + """
ic.debug_print("source")
@init
def begin(*args): ic.debug_print("init", *args)
@pre_upgrade
def pre(): ic.debug_print("pre")
@post_upgrade
def post(*args): ic.debug_print("post", *args)
@update
def method(): ic.debug_print("method")
"""
)


def failing(where, at="raise RuntimeError('here')"):
    """EVENTS whose hook `where` writes and then fails."""
    change = "ic.stable64_grow(2); ic.stable64_write(9, b'change'); "
    line = {"source": 'ic.debug_print("source")', "init": 'ic.debug_print("init", *args)', "pre": 'ic.debug_print("pre")'}
    line["post"] = 'ic.debug_print("post", *args)'
    return EVENTS.replace(line[where], change + at)


def test_install_needs_an_empty_canister():
    canister = Canister.install(EVENTS)
    with pytest.raises(Rejected) as rejected:
        canister.install_code(EVENTS)
    assert rejected.value.error_code == ErrorCode.NON_EMPTY
    assert rejected.value.message == (
        f"Canister {canister.id} cannot be installed because the canister is not empty. Try installing with mode='reinstall' instead."
    )
    empty = Canister()
    empty.install_code(EVENTS)
    empty.call("method")


@pytest.mark.parametrize("where", ["source", "init"])
def test_a_trap_in_init_leaves_the_canister_empty(where):
    canister = Canister()
    with pytest.raises(Trapped, match="RuntimeError: here"):
        canister.install_code(failing(where))
    assert (canister.program, canister.memory.size(), canister.version) == (None, 0, 0)
    canister.install_code(EVENTS)
    canister.call("method")


def test_reinstall_empties_stable_memory_or_changes_nothing():
    canister = Canister.install(STABLE)
    canister.call("many", ("stable64_grow", 1), ("stable64_write", 0, b"old"), ("set_certified_data", b"data"))
    with pytest.raises(Trapped):
        canister.reinstall(failing("init"))
    assert (canister.memory.read(0, 3), canister.certified_data, canister.version) == (b"old", b"data", 2)
    assert canister.call("do", "stable64_read", 0, 3) == b"old"
    canister.reinstall(EVENTS, arg=7)
    assert (canister.memory.size(), canister.certified_data) == (0, b"")
    assert canister.logs[-2:] == ["source", "init 7"]


def test_an_upgrade_runs_pre_upgrade_then_the_source_then_post_upgrade():
    canister = Canister.install(EVENTS, arg=("a", "b"))
    assert canister.logs == ["source", "init a b"]
    canister.upgrade(EVENTS, arg=3)
    assert canister.logs[2:] == ["pre", "source", "post 3"]


def test_skip_pre_upgrade_skips_it():
    canister = Canister.install(failing("pre"))
    with pytest.raises(Trapped):
        canister.upgrade(EVENTS)
    canister.upgrade(EVENTS, skip_pre_upgrade=True)
    assert "pre" not in canister.logs


@pytest.mark.parametrize("where", ["pre", "source", "post"])
@pytest.mark.parametrize("at", ["raise RuntimeError('here')", "ic.trap('here')", "undefined"])
def test_a_trap_anywhere_in_an_upgrade_undoes_it_all(where, at):
    old = (failing("pre", at) if where == "pre" else EVENTS.replace('ic.debug_print("pre")', "ic.stable64_write(0, b'pre')")) + (
        "kept = []\n@update\ndef keep(): ic.stable64_grow(1); kept.append(1); return len(kept)\n"
    )
    new = EVENTS if where == "pre" else failing(where, at)
    canister = Canister.install(old)
    canister.call("keep")
    before = canister.memory.read(0, PAGE_SIZE)
    with pytest.raises(Trapped):
        canister.upgrade(new)
    assert (canister.memory.size(), canister.memory.read(0, PAGE_SIZE), canister.version) == (1, before, 2)
    assert canister.call("keep") == 2  # the old program, with its heap
    if where != "pre":
        canister.upgrade(EVENTS)
        assert canister.memory.read(0, 3) == b"pre"


def test_an_upgrade_keeps_stable_memory_and_drops_the_heap():
    source = HEAD + "from stable_structures import StableBTreeMap, u64\nusers = StableBTreeMap[u64, str](ic.memory())\ncache = {}\n"
    source += "@update\ndef add(k, v): users[k] = v; cache[k] = v; return len(users), len(cache)\n"
    canister = Canister.install(source)
    assert canister.call("add", 1, "a") == (1, 1)
    old = canister.module.users
    canister.upgrade(source)
    assert canister.call("add", 2, "b") == (2, 1)
    with pytest.raises(ValueError, match=r"(?i)closed|released"):
        old.get(1)


@pytest.mark.parametrize("status", ["running", "stopped"])
def test_a_canister_is_upgraded_in_any_status(status):
    canister = Canister.install(EVENTS)
    if status == "stopped":
        canister.stop()
    canister.upgrade(EVENTS)
    assert canister.status == status


def test_only_controllers_manage_a_canister():
    canister = Canister.install(EVENTS, controllers=[ALICE])
    for manage in (
        canister.stop,
        canister.start,
        canister.uninstall,
        lambda **who: canister.upgrade(EVENTS, **who),
        lambda **who: canister.reinstall(EVENTS, **who),
    ):
        with pytest.raises(Rejected, match=f"Only the controllers of the canister {canister.id} can control it.") as rejected:
            manage(caller=BOB)
        assert rejected.value.error_code == ErrorCode.INVALID_CONTROLLER
    canister.upgrade(EVENTS, caller=ALICE)


def test_an_upgrade_forgets_timers_unless_post_upgrade_sets_them():
    source = (
        HEAD
        + """
def ring(): ic.debug_print("ring")
@init
def begin(): ic.set_timer(10, ring)
@pre_upgrade
def pre(): ic.set_timer(1, ring)
"""
    )
    canister = Canister.install(source)
    canister.upgrade(source)
    canister.advance_time(20)
    assert canister.logs == []
    canister.upgrade(source + "@post_upgrade\ndef post(): begin()\n")
    canister.advance_time(20)
    assert canister.logs == ["ring"]


def test_certified_data_survives_an_upgrade_and_not_a_reinstall():
    setting = HEAD + "@update\ndef set(data): ic.set_certified_data(data)\n"
    pre, post = (f"@{hook}_upgrade\ndef {hook}(): ic.set_certified_data(b'{hook}')\n" for hook in ("pre", "post"))
    canister = Canister.install(setting)
    canister.call("set", b"x")
    canister.upgrade(setting + pre)
    assert canister.certified_data == b"x"
    canister.upgrade(setting + pre)
    assert canister.certified_data == b"pre"
    canister.upgrade(setting + pre + post)
    assert canister.certified_data == b"post"
    with pytest.raises(Trapped):
        canister.call("set", bytes(33))
    canister.reinstall(setting)
    assert canister.certified_data == b""


def test_hooks_see_the_version_and_the_status():
    see = "ic.debug_print(ic.canister_version(), ic.canister_status())"
    source = HEAD + f"@init\ndef i(): {see}\n@pre_upgrade\ndef g(): {see}\n@post_upgrade\ndef p(): {see}\n"
    canister = Canister.install(source)
    canister.stop()
    canister.upgrade(source)
    assert canister.logs == ["1 1", "3 3", "4 3"]


# ---- 2.5 versions ----


def test_versions_count_what_the_platform_counts():
    source = WAITER + "@heartbeat\ndef beat(): pass\n@update\ndef bad(): ic.trap('x')\n@init\ndef begin(): ic.set_timer(1, lambda: None)\n"
    canister = Canister()
    canister.register("aaaaa-aa", "ask", lambda n: n)
    versions = [canister.version]

    def after(action):
        action()
        versions.append(canister.version)

    after(lambda: canister.install_code(source))  # 1
    after(lambda: canister.query("logged"))  # 1
    with pytest.raises(Trapped):
        canister.call("bad")
    versions.append(canister.version)  # 1
    after(lambda: canister.call("work"))  # 3: the update and its callback
    after(lambda: canister.advance_time(1))  # 5: timer and heartbeat
    after(canister.start)  # 6, though it runs
    after(canister.stop)  # 8: a quiet canister
    after(canister.stop)  # 9, though it is stopped
    after(canister.start)  # 10
    after(lambda: canister.upgrade(source))  # 11
    snapshot = canister.snapshot()
    after(lambda: canister.load_snapshot(snapshot))  # 12
    after(canister.uninstall)  # 13
    assert versions == [0, 1, 1, 1, 3, 5, 6, 8, 9, 10, 11, 12, 13]


# ---- 2.6 system calls ----

CALLS = (
    HEAD
    + """
def attempt(name):
    args = {"call": ("aaaaa-aa", "x"), "reply": (1,), "set_timer": (1, list), "set_certified_data": (b"",), "msg_cycles_accept": (1,)}
    if name == "notify":
        return ic.notify(Call(ic.id(), "x", ()))
    getattr(ic, name)(*args.get(name, ()))
which = None
@init
def begin(name=None): attempt(name) if name else None
@pre_upgrade
def pre(): attempt(which)
@post_upgrade
def post(name=None): attempt(name) if name else None
@update
def update_(name): attempt(name)
@query
def query_(name): attempt(name)
@update
def choose(name):
    global which
    which = name
@update
def timer(name): ic.set_timer(0, lambda: attempt(name))
@inspect_message
def inspect(name=None, *_):
    if name and name.startswith("in "): attempt(name[3:])
    ic.accept_message()
"""
)
FORBIDDEN = {
    "init": ["call", "notify", "reply", "msg_cycles_available", "msg_cycles_accept", "method_name", "accept_message", "reject_code"],
    "pre upgrade": ["call", "notify", "reply", "msg_cycles_available", "msg_cycles_accept", "method_name", "accept_message"],
    "post upgrade": ["call", "notify", "reply", "msg_cycles_available", "msg_cycles_accept", "method_name", "accept_message"],
    "update": ["method_name", "accept_message", "reject_code", "reject_message", "msg_cycles_refunded"],
    "query": ["call", "notify", "method_name", "accept_message", "set_timer", "set_certified_data"],
    "global timer": ["reply", "msg_cycles_available", "accept_message", "method_name"],
    "inspect message": ["reply", "call", "set_timer", "set_certified_data", "msg_cycles_accept"],
}
ALLOWED = [
    "time",
    "id",
    "caller",
    "canister_version",
    "canister_status",
    "canister_balance",
    "stable64_size",
    "stable_size",
    "performance_counter",
    "debug_print",
]


def run_in(mode, name):
    """Makes a system call in a message of this kind."""
    if mode == "init":
        return Canister.install(CALLS, arg=name)
    canister = Canister.install(CALLS)
    if mode == "pre upgrade":
        canister.call("choose", name)
        return canister.upgrade(CALLS)
    if mode == "post upgrade":
        return canister.upgrade(CALLS, arg=name, skip_pre_upgrade=True)
    if mode == "global timer":
        canister.call("timer", name)
        for trapped in canister.advance_time(1):
            raise trapped
        return None
    if mode == "inspect message":
        return canister.call("choose", "in " + name)
    return (canister.call if mode == "update" else canister.query)(mode + "_", name)


@pytest.mark.parametrize("mode", FORBIDDEN)
def test_system_calls_trap_where_they_are_not_allowed(mode):
    for name in FORBIDDEN[mode]:
        with pytest.raises(Trapped, match=f"cannot be executed in {mode} mode") as trapped:
            run_in(mode, name)
        assert trapped.value.error_code == ErrorCode.CONTRACT_VIOLATION, name
    for name in ALLOWED:
        run_in(mode, name)
    if mode in ("init", "pre upgrade", "post upgrade", "update", "global timer"):
        run_in(mode, "set_certified_data")
        run_in(mode, "set_timer")


# ---- 2.7 status ----


def test_a_stopped_canister_rejects_calls_and_queries():
    canister = Canister.install(STABLE)
    canister.call("do", "stable64_grow", 1)
    canister.stop()
    for call in (canister.call, canister.query):
        with pytest.raises(Rejected) as rejected:
            call("look", "time")
        assert rejected.value.message == f"Canister {canister.id} is stopped and therefore does not have a CallContextManager"
        assert (rejected.value.error_code, rejected.value.reject_code) == (ErrorCode.STOPPED, RejectCode.CANISTER_ERROR)
    canister.start()
    assert canister.query("look", "stable64_size") == 1


def test_stopping_waits_for_the_answer_that_is_under_way():
    canister = Canister.install(WAITER)
    statuses = []

    def ask(n):
        canister.stop()
        statuses.append(canister.status)
        with pytest.raises(Rejected) as rejected:
            canister.call("work")
        statuses.append(rejected.value.error_code)
        return n

    canister.register("aaaaa-aa", "ask", ask)
    assert canister.call("work") == 1  # the answer is still taken
    assert statuses == ["stopping", ErrorCode.STOPPING]
    assert canister.status == "stopped"


def test_timers_and_heartbeats_run_only_when_running():
    source = HEAD + "@init\ndef begin(): ic.set_timer(1, lambda: ic.debug_print('timer'))\n@heartbeat\ndef beat(): ic.debug_print('beat')\n"
    canister = Canister.install(source)
    canister.stop()
    canister.advance_time(5, rounds=5)
    assert canister.logs == []
    canister.start()
    canister.advance_time(0)
    assert canister.logs == ["timer", "beat"]


def test_an_empty_canister_rejects():
    canister = Canister()
    for attempt in (lambda: canister.call("x"), lambda: canister.query("x"), lambda: canister.upgrade(EVENTS)):
        with pytest.raises(Rejected) as rejected:
            attempt()
        assert rejected.value.error_code == ErrorCode.NO_MODULE
        assert rejected.value.message == "Attempted to execute a message, but the canister contains no Wasm module."


def test_uninstall_drops_code_and_memory_and_keeps_identity_and_status():
    canister = Canister.install(STABLE)
    canister.call("do", "stable64_grow", 1)
    canister.stop()
    name, cycles = canister.id, canister.cycles
    canister.uninstall()
    assert (canister.id, canister.cycles, canister.status, canister.memory.size(), canister.program) == (name, cycles, "stopped", 0, None)


def test_a_snapshot_brings_back_code_heap_memory_and_certified_data(tmp_path: Path):
    source = BANK + "from stable_structures import StableBTreeMap, u64\n@update\ndef none(): pass\n"
    canister = Canister.install(source)
    canister.call("spoil", "not")
    snapshot, state = canister.snapshot(), canister.query("state")
    (tmp_path / "image.bin").write_bytes(snapshot.image)
    canister.call("spoil", "not")
    canister.upgrade(STABLE)
    canister.call("many", ("stable64_grow", 5), ("stable64_write", 0, bytes(100_000)), ("set_certified_data", b"new"))
    for _ in range(2):
        canister.load_snapshot(snapshot)
        assert canister.query("state") == state
        assert (canister.memory.size(), canister.memory.read(0, 7), canister.certified_data) == (3, b"spoiled", b"bad")
        assert canister.memory.read(0, canister.memory.nbytes) == snapshot.image
        canister.call("spoil", "not")
    fresh = Canister.install(STABLE, memory=(tmp_path / "image.bin").read_bytes())
    assert fresh.call("do", "stable64_read", 0, 7) == b"spoiled"


def test_rejections_have_the_codes_of_the_platform():
    canister = Canister.install(STABLE)
    with pytest.raises(Rejected) as rejected:
        canister.call("none")
    assert rejected.value.error_code == ErrorCode.METHOD_NOT_FOUND
    assert "Canister has no update method 'none'" in str(rejected.value)
    with pytest.raises(Rejected, match="Canister has no query method 'do'"):
        canister.query("do", "time")
    assert str(ErrorCode.STOPPED) == "IC0508"
    with pytest.raises(Rejected) as rejected:
        canister.call("do", "reject", "not today")
    assert (rejected.value.message, rejected.value.error_code, rejected.value.reject_code) == ("not today", 406, RejectCode.CANISTER_REJECT)
