# SPDX-License-Identifier: Apache-2.0
"""Wrong use of the harness says what is wrong, where, and what to do."""

from __future__ import annotations

import pytest

from stable_structures import Closed, RestrictedMemory, StableMemory
from stable_structures import canister as package
from stable_structures.canister import Canister, Limits, Rejected, Trapped
from stable_structures.principal import InvalidPrincipal

HEAD = "from stable_structures.canister import *\n"
ECHO = HEAD + "@update\ndef echo(*args): return args\n"


class InPython:
    def size(self):
        return 0

    def grow(self, pages):
        return -pages

    def read(self, offset, length):
        return bytes(offset + length)

    def write(self, offset, data):
        raise IndexError(offset, data)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"memory": InPython()}, TypeError, "StableMemory or an image's bytes, got InPython: rollback needs transactions"),
        ({"memory": RestrictedMemory(StableMemory(), range(3))}, TypeError, "got RestrictedMemory"),
        ({"memory": bytes(100)}, ValueError, "whole pages of 65536 bytes, got 100; is the file cut off"),
        ({"memory": bytes(3 * 65536), "limits": Limits(stable_memory=65536)}, ValueError, "more than the limit of 1 pages"),
        ({"id": "no-principal"}, InvalidPrincipal, "invalid principal"),
    ],
)
def test_install_refuses_what_it_cannot_use(options, error, text):
    with pytest.raises(error, match=text):
        Canister.install(ECHO, **options)


def test_a_given_memory_obeys_a_smaller_limit():
    memory = StableMemory()
    canister = Canister.install(
        HEAD + "@update\ndef grow(n): return ic.stable64_grow(n)\n", memory=memory, limits=Limits(stable_memory=2 * 65536)
    )
    assert (canister.call("grow", 3), canister.call("grow", 2), memory.size()) == (-1, 0, 2)


@pytest.mark.parametrize(("seconds", "rounds"), [(-1, 1), (1, 0)])
def test_time_goes_forward(seconds, rounds):
    with pytest.raises(ValueError, match="at least one round"):
        Canister.install(ECHO).advance_time(seconds, rounds=rounds)


def test_a_canister_does_not_reach_canister_objects_from_inside():
    source = ECHO + "import stable_structures.canister as harness\n@update\ndef meddle(): harness.Canister.find(ic.id()).call('echo')\n"
    with pytest.raises(Trapped, match=r"inside it, reach other canisters by ic\.call, not through a Canister object"):
        Canister.install(source).call("meddle")


def test_a_snapshot_is_of_one_canister():
    snapshot = Canister.install(ECHO).snapshot()
    with pytest.raises(ValueError, match=r"pass its image to Canister\.install"):
        Canister.install(ECHO).load_snapshot(snapshot)


def test_a_closed_canister_takes_no_calls():
    with Canister.install(ECHO) as canister:
        assert canister.call("echo", 1) == (1,)
    with pytest.raises(Rejected, match="contains no Wasm module"):
        canister.call("echo", 1)
    with pytest.raises(Closed):
        canister.memory.size()


def test_looking_for_a_manager_makes_none():
    canister = Canister.install(ECHO)
    with pytest.raises(LookupError, match="holds no manager"):
        _ = canister.manager
    assert canister.memory.size() == 0


def test_wrong_arguments_trap_with_pythons_own_words():
    canister = Canister.install(HEAD + "@update\ndef one(x): return x\n")
    with pytest.raises(Trapped, match=r"TypeError: one\(\) missing 1 required positional argument: 'x'"):
        canister.call("one")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("ic.set_timer(-1, print)", "the delay must not be negative"),
        ("ic.set_timer(1, 5)", "a timer needs a function, got int"),
        ("ic.stable64_grow(-1)", "must be 0 to"),
        ("ic.stable_read(2**32, 1)", "stable_read: offset must be 0 to 4294967295"),
        ("ic.stable64_grow('x')", "TypeError"),
        ("ic.call('nobody', 'x')", "invalid principal"),
        ("update(5)", "@update must be written above a function, got int"),
    ],
)
def test_wrong_use_of_ic_is_a_python_error_that_says_so(line, text):
    with pytest.raises(Trapped, match=text):
        Canister.install(HEAD + f"@update\ndef f(): {line}\n").call("f")


def test_the_names_of_the_package_are_sorted_and_there():
    assert sorted(package.__all__) == package.__all__
    assert [name for name in package.__all__ if not hasattr(package, name)] == []
