"""Each fixture through everything that happens to a canister; its stable memory says what it says, and is sound after each step."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stable_structures import StableBTreeMap, StableCell, StableVec, u64
from stable_structures.canister import Canister, ErrorCode, Limits, Rejected, Trapped
from stable_structures.inspect import check

pytest.importorskip("wasmtime")
ROOT = Path(__file__).parents[2]
BUILT = Path(__file__).parent / "wasm"
RUST, MOTOKO = ROOT / "examples" / "rust_counter", ROOT / "examples" / "motoko_counter"


@dataclass(frozen=True)
class Case:
    """What is called, what is asked, and what it answers at first, after one call, and after an upgrade."""

    module: Path
    call: tuple[Any, ...]
    ask: tuple[Any, ...]
    answers: tuple[Any, Any, Any]
    trap: tuple[Any, ...] | None = None
    """What traps by itself; without it, it is the limit of instructions that stops a call."""
    arg: Any = None
    next: Path | None = None
    raw: bool = False

    def run(self, canister, call):
        return canister.call_raw(call[0]) if self.raw else canister.call(*call)

    def asked(self, canister):
        return canister.query_raw(self.ask[0]) if self.raw else canister.query(*self.ask)


def number(value):
    return value.to_bytes(4, "little")


CASES = {
    "ledger": Case(
        BUILT / "ledger.wasm.gz", ("deposit", "ada", 5), ("balance", "ada"), (None, 5, 5), ("transfer", "ada", "bob", 1000), (7,)
    ),
    "hooks": Case(
        BUILT / "hooks.wasm.gz",
        ("add", "x"),
        ("state",),
        ({"notes": [], "upgrades": 0}, {"notes": ["x"], "upgrades": 0}, {"notes": ["x"], "upgrades": 1}),
        ("hog", 5_000_000, 1),
    ),
    "caller": Case(BUILT / "caller.wasm.gz", ("remind", 0, "up"), ("log",), ([], ["up"], [])),
    "bench": Case(BUILT / "bench.wasm.gz", ("fill", 0, 100), ("sum", 0, 100), (0, 4950, 4950), ("touch_trap", 1, 4096, 20)),
    "rust counter": Case(
        RUST / "counter.wasm.gz",
        ("inc",),
        ("get",),
        (0, 1, 1),
        ("inc_as", "Ada", 1000),
        next=RUST / "counter_by_three.wasm.gz",
    ),
    "rust counter with hooks": Case(
        BUILT / "counter_hooks.wasm.gz", ("inc",), ("get",), (0, 1, 1), next=BUILT / "counter_hooks_by_three.wasm.gz"
    ),
    "motoko counter": Case(
        MOTOKO / "counter.wasm.gz",
        ("inc",),
        ("get",),
        (0, 1, 1),
        ("incAs", "Ada", 1000),
        next=MOTOKO / "counter_by_three.wasm.gz",
    ),
    "motoko, classical": Case(BUILT / "counter1_classical.wasm", ("inc",), ("get",), (0, 1, 1), next=BUILT / "counter2_classical.wasm"),
    "motoko, enhanced": Case(BUILT / "counter1_eop.wasm", ("inc",), ("get",), (0, 1, 1), next=BUILT / "counter2_eop.wasm"),
    "edges": Case(BUILT / "edges.wasm", ("bump",), ("g",), (number(5), number(6), number(5)), ("bump_grow_trap",), raw=True),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request):
    return request.param


def image(canister):
    return canister.memory.read(0, canister.memory.nbytes)


def assert_sound(canister):
    assert check(canister.memory) == [] if canister.memory.size() else True


@pytest.mark.parametrize("heap", ["mapped", "copying"])
def test_installed_called_trapped_asked_and_upgraded(case, heap, canister, monkeypatch):
    monkeypatch.setenv("STABLE_STRUCTURES_HEAP", heap)
    first, called, upgraded = case.answers
    made = canister(case.module, arg=case.arg)
    assert case.asked(made) == first
    case.run(made, case.call)
    assert case.asked(made) == called
    assert_sound(made)
    before, pages = image(made), made.heap_size
    if case.trap is None:
        made.limits = Limits(instructions_update=100)
        with pytest.raises(Trapped) as failed:
            case.run(made, case.call)
        assert failed.value.error_code is ErrorCode.INSTRUCTION_LIMIT
        made.limits = Limits()
    else:
        with pytest.raises(Trapped):
            case.run(made, case.trap)
    assert (image(made), made.heap_size, case.asked(made)) == (before, pages, called)
    with pytest.raises(Rejected, match="no update method"):
        made.call_raw("nobody has this")
    made.upgrade(case.next or case.module)
    assert case.asked(made) == upgraded
    assert_sound(made)
    made.reinstall(case.module, case.arg)
    assert case.asked(made) == first


def test_snapshots_in_the_process_and_in_a_folder(case, canister, tmp_path):
    first, called, upgraded = case.answers
    made = canister(case.module, arg=case.arg)
    fresh = made.snapshot()
    case.run(made, case.call)
    made.save_snapshot(tmp_path / "snapshot")
    made.load_snapshot(fresh)
    assert case.asked(made) == first
    files = {path.name: path.read_bytes() for path in (tmp_path / "snapshot").iterdir()}
    with Canister.from_snapshot(tmp_path / "snapshot") as other:
        assert case.asked(other) == called
        if case.trap is not None:
            with pytest.raises(Trapped):
                case.run(other, case.trap)
            assert case.asked(other) == called
        case.run(other, case.call)
        assert_sound(other)
    with Canister.from_snapshot(tmp_path / "snapshot") as other:
        other.upgrade(case.next or case.module)
        assert case.asked(other) == upgraded
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "snapshot").iterdir()}


@pytest.mark.parametrize("seed", range(3))
def test_after_any_message_our_structures_say_what_the_canister_says(canister, seed):
    """Random deposits and transfers, of which many trap; upgrades and snapshots in between."""
    rng = random.Random(seed)
    ledger = canister(BUILT / "ledger.wasm.gz", arg=(7,))
    names = [f"n{i}" * rng.choice((1, 3, 30)) for i in range(40)]
    model, transfers, trapped, saved = {}, [], 0, None
    for step in range(150):
        what = rng.random()
        if what < 0.5:
            name, amount = rng.choice(names), rng.randrange(50)
            model[name] = ledger.call("deposit", name, amount)
        elif what < 0.9:
            one, other, amount = rng.choice(names), rng.choice(names), rng.randrange(80)
            try:
                if "Ok" in ledger.call("transfer", one, other, amount):
                    model[other] = model.get(other, 0) + amount
                    model[one] = dict(ledger.query("accounts"))[one]
                    transfers.append(amount)
            except Trapped:
                trapped += 1
        elif what < 0.94:
            ledger.upgrade()
        elif saved is None:
            saved = ledger.snapshot(), dict(model), list(transfers)
        else:
            ledger.load_snapshot(saved[0])
            model, transfers, saved = saved[1], saved[2], None
        if step % 10 == 0:
            assert_sound(ledger)
        accounts = StableBTreeMap[str, u64](ledger.manager.get(0))
        accounts.check()
        assert dict(accounts) == model == dict(ledger.query("accounts"))
        vec, fee = StableVec[u64](ledger.manager.get(1)), StableCell[u64](ledger.manager.get(2), 0)
        assert (list(vec), fee.get(), len(vec)) == (transfers, 7, ledger.query("transfers"))
        for each in (accounts, vec, fee):
            each.into_memory()
    assert trapped > 5
