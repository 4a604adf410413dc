"""Backups of the heap: the bytes of docs/format.md#backup-of-the-heap, what is refused before a byte is written, and the hooks."""

from __future__ import annotations

import datetime as dt
import decimal
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import UserDict

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stable_structures import (
    PAGE_SIZE,
    BadMagic,
    BoundExceeded,
    Closed,
    CorruptMemory,
    IncompatibleType,
    MemoryInUse,
    MemoryManager,
    OutOfMemory,
    ReadOnly,
    RestrictedMemory,
    StableBTreeMap,
    StableMemory,
    UpgradeHooks,
    u64,
    upgrade,
)
from stable_structures.upgrade import backup, restore

from ..support.examples import examples
from ..support.memories import Boom, FailingMemory, ListMemory, Trigger

KINDS = {
    "flat": StableMemory,
    "virtual": lambda: MemoryManager(StableMemory(), bucket_pages=1).get(0),
    "restricted": lambda: RestrictedMemory(StableMemory(), range(3, 5000)),
    "python": ListMemory,
    "virtual in python": lambda: MemoryManager(ListMemory()).get(0),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def memory(request):
    return request.param()


@pytest.fixture
def small_spool(monkeypatch):
    """States wait in a file from 1,000 bytes on."""
    monkeypatch.setattr(upgrade, "_IN_MEMORY", 1000)


def image_of(memory) -> bytes:
    return memory.read(0, memory.size() * PAGE_SIZE)


def put(memory, payload: bytes, length: int | None = None) -> None:
    """A backup by hand."""
    data = (len(payload) if length is None else length).to_bytes(4, "little") + payload
    memory.grow(max(0, -(-len(data) // PAGE_SIZE) - memory.size()))
    memory.write(0, data)


# ---- the bytes ----

QUICK_START = bytes.fromhex("a1 70 646174615f6f6e5f7468655f68656170 84 01 02 18ff 1817")
"""What ciborium writes for the crate's quick-start canister, `data_on_the_heap: vec![1, 2, 255, 23]`, but for the 23."""


def test_what_the_quick_start_canister_wrote_is_restored(memory):
    put(memory, QUICK_START)
    assert restore(memory) == {"data_on_the_heap": [1, 2, 255, 23]}


def test_a_backup_is_its_length_and_its_cbor_and_nothing_else(memory):
    backup(memory, {"data_on_the_heap": [1, 2, 255]})
    payload = bytes.fromhex("a1 70 646174615f6f6e5f7468655f68656170 83 01 02 18ff")
    assert image_of(memory) == len(payload).to_bytes(4, "little") + payload + bytes(PAGE_SIZE - 4 - len(payload))


def test_the_memory_grows_by_the_fewest_pages(memory):
    for length, pages in ((PAGE_SIZE - 7, 1), (PAGE_SIZE - 6, 2), (10, 2), (10 * PAGE_SIZE, 11)):
        backup(memory, bytes(length))
        assert memory.size() == pages


@pytest.mark.usefixtures("small_spool")
def test_a_shorter_backup_leaves_the_rest_of_the_longer_one():
    memory = StableMemory()
    backup(memory, b"a" * 5000)
    before = image_of(memory)
    backup(memory, b"b" * 3000)
    assert restore(memory) == b"b" * 3000
    assert image_of(memory)[3007:] == before[3007:]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=st.just(dt.UTC))
    | st.decimals(allow_nan=False)
    | st.uuids(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.frozensets(st.integers()).map(set),
    max_leaves=30,
)


@given(VALUES, st.sampled_from(sorted(KINDS)))
def test_what_is_backed_up_comes_back(value, kind):
    memory = KINDS[kind]()
    backup(memory, value)
    assert restore(memory) == value
    payload = cbor2.dumps(value)
    assert memory.read(0, 4 + len(payload)) == len(payload).to_bytes(4, "little") + payload


LONG = {
    "bytes": b"\xfe" * 300_000,
    "text": "aé東🦀" * 50_000,
    "bytearray": bytearray(200_000),
    "both": ["x" * 70_000, [b"y" * 70_000, {"z" * 70_000: 1}]],
}


@pytest.mark.usefixtures("small_spool")
@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_long_texts_and_bytes_have_the_bytes_of_cbor2(memory, value):
    backup(memory, value)
    payload = cbor2.dumps(value)
    assert memory.read(0, 4 + len(payload)) == len(payload).to_bytes(4, "little") + payload
    assert restore(memory) == value


def test_beside_other_structures_in_a_manager():
    manager = MemoryManager(StableMemory(), bucket_pages=2)
    users = StableBTreeMap[u64, str](manager.get(1))
    for round_ in range(3):
        users.update({i: str(round_) * 500 for i in range(round_ * 100, round_ * 100 + 500)})
        backup(manager.get(0), {"round": round_, "filler": b"x" * 300_000 * (round_ + 1)})
        users.check()
        assert restore(manager.get(0))["round"] == round_
    assert len(users) == 700


# ---- a backup that fails leaves the older one whole ----


class Interrupted(UserDict):
    """A map that is interrupted while it is read, as by control-C."""

    def __getitem__(self, key):
        raise KeyboardInterrupt

    def keys(self):
        raise KeyboardInterrupt

    items = __iter__ = keys


def endless() -> list:
    value = []
    value.append({"again": value})
    return value


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth - 1):
        value = [value]
    return value


BAD_STATES = {
    "object": object(),
    "object behind much else": [b"x" * 100_000, list(range(10_000)), {"a": [1, {2: object()}]}],
    "function": {"f": print},
    "naive datetime": dt.datetime(2024, 1, 1),  # noqa: DTZ001 - that is what is wrong with it
    "half a character": "\ud800",
    "half a character far behind": "x" * 200_000 + "\ud800",
    "generator": (i for i in range(3)),
    "endless": endless(),
    "101 deep": nested(101),
    "deeper than any stack": nested(200_000),
    "deep tags": [cbor2.CBORTag(5000, nested(99))],
}


@pytest.mark.usefixtures("small_spool")
@pytest.mark.parametrize("state", BAD_STATES.values(), ids=BAD_STATES)
def test_a_state_that_cannot_be_encoded(memory, state):
    backup(memory, {"old": list(range(500))})
    before = image_of(memory)
    with pytest.raises(IncompatibleType, match="nothing was written"):
        backup(memory, state)
    assert image_of(memory) == before


def test_a_state_that_nests_as_deep_as_is_allowed(memory):
    backup(memory, nested(100))
    assert restore(memory) == nested(100)
    state = {1}
    for _ in range(99):
        state = {"a": state}
    backup(memory, state)
    assert restore(memory) == state


@pytest.mark.parametrize("small", [True, False])
def test_a_state_that_is_too_long_by_one_byte(memory, monkeypatch, small):
    if small:
        monkeypatch.setattr(upgrade, "_IN_MEMORY", 100)
    monkeypatch.setattr(upgrade, "MAX_LENGTH", 5000)
    backup(memory, b"x" * (5000 - 3))
    before = image_of(memory)
    for state in (b"y" * (5000 - 2), [b"y"] * 5000):
        with pytest.raises(BoundExceeded, match="longer than 5000 bytes"):
            backup(memory, state)
    assert image_of(memory) == before
    assert upgrade.__dict__["MAX_LENGTH"] == 5000


def test_the_longest_backup_is_what_four_bytes_can_tell():
    assert upgrade.MAX_LENGTH == 4_294_967_295


@pytest.mark.usefixtures("small_spool")
@pytest.mark.parametrize("make", [lambda: StableMemory(max_pages=2), lambda: ListMemory(2), lambda: MemoryManager(ListMemory(5), 2).get(0)])
def test_a_memory_that_cannot_grow(make):
    memory = make()
    backup(memory, list(range(500)))
    before = image_of(memory)
    with pytest.raises(OutOfMemory):
        backup(memory, b"x" * (5 * PAGE_SIZE))
    assert image_of(memory) == before
    assert restore(memory) == list(range(500))


@pytest.mark.usefixtures("small_spool")
def test_an_interrupt_while_the_state_is_encoded(memory):
    backup(memory, "old")
    before = image_of(memory)
    with pytest.raises(KeyboardInterrupt):
        backup(memory, [b"x" * 10_000, Interrupted()])
    assert image_of(memory) == before
    backup(memory, "new")
    assert restore(memory) == "new"


@pytest.mark.usefixtures("small_spool")
def test_no_room_for_the_temporary_file(memory, monkeypatch, tmp_path):
    backup(memory, "old")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(OSError, match="none"):
        backup(memory, b"x" * 10_000)
    backup(memory, b"needs none")
    assert restore(memory) == b"needs none"


def test_a_structure_is_not_overwritten(memory):
    entries = StableBTreeMap[u64, u64](memory)
    entries[1] = 10
    before = image_of(memory)
    with pytest.raises(MemoryInUse, match="backup"):
        backup(memory, "state")
    del entries
    with pytest.raises(BadMagic, match=r"holds a StableBTreeMap.*a separate memory"):
        backup(memory, "state")
    with pytest.raises(BadMagic, match="holds a StableBTreeMap"):
        restore(memory)
    assert image_of(memory) == before
    memory.write(0, bytes(4))
    backup(memory, "state")
    assert restore(memory) == "state"


@pytest.mark.parametrize("magic", [b"BTR", b"SVC", b"SMH", b"SCL", b"GLI", b"GLD", b"MGR"])
def test_no_structure_is_overwritten(magic):
    memory = StableMemory()
    memory.grow(1000)
    memory.write(0, magic + b"\x01")
    with pytest.raises(BadMagic, match="nothing was written"):
        backup(memory, "state")
    with pytest.raises(BadMagic):
        restore(memory)


def test_the_memory_under_a_manager_is_refused():
    memory = StableMemory()
    manager = MemoryManager(memory)
    with pytest.raises(MemoryInUse):
        backup(memory, "state")
    backup(manager.get(0), "state")
    manager.get(0)
    del manager
    with pytest.raises(BadMagic, match="MemoryManager"):
        backup(memory, "state")
    assert restore(MemoryManager(memory).get(0)) == "state"


def test_no_structure_comes_in_while_a_backup_is_written():
    memory = StableMemory()
    found = []

    class Curious(UserDict):
        def keys(self):
            try:
                StableBTreeMap[u64, u64](memory)
            except MemoryInUse as error:
                found.append(error)
            return self.data.keys()

    backup(memory, {1: 2})
    with pytest.raises(IncompatibleType):
        backup(memory, [Curious({1: 2}), object()])
    assert found
    assert restore(memory) == {1: 2}


def test_a_backup_whose_length_reads_as_a_magic_is_a_backup():
    memory = StableMemory()
    length = int.from_bytes(b"BTR\x01", "little")
    backup(memory, b"x" * (length - 5))
    assert memory.read(0, 4) == b"BTR\x01"
    assert len(restore(memory)) == length - 5
    backup(memory, "smaller")
    assert restore(memory) == "smaller"


def test_read_only_and_closed(tmp_path):
    with StableMemory.open(tmp_path / "state") as memory:
        backup(memory, "old")
    with StableMemory.open(tmp_path / "state", "r") as memory:
        with pytest.raises(ReadOnly):
            backup(memory, "new")
        assert restore(memory) == "old"
    for use in (lambda: backup(memory, "new"), lambda: restore(memory)):
        with pytest.raises(Closed):
            use()


def test_a_transaction_that_rolls_back_brings_the_old_backup():
    memory = StableMemory()
    backup(memory, "old")
    with pytest.raises(ValueError, match="back"), memory.transaction():  # noqa: PT012
        backup(memory, b"new" * 100_000)
        raise ValueError("back")
    assert restore(memory) == "old"
    assert memory.size() == 1


@pytest.mark.parametrize("kind", ["size", "grow", "read", "write"])
def test_what_a_memory_in_python_raises_comes_out_as_itself(kind, monkeypatch):
    monkeypatch.setattr(upgrade, "_IN_MEMORY", 50_000)
    failed = 0
    for n in range(1, 1000):
        trigger = Trigger()
        memory = FailingMemory(trigger)
        backup(memory, "old")
        trigger.arm(kind, n)
        try:
            backup(memory, b"x" * 200_000)
        except Boom:
            failed += 1
        else:
            break
    assert 0 < failed < 50
    trigger.arm("", 0)
    assert restore(memory) == b"x" * 200_000
    for n in range(1, 5):
        trigger.arm("read", n)
        with pytest.raises(Boom):
            restore(memory)


# ---- damage ----


def test_a_memory_without_a_backup(memory):
    with pytest.raises(BadMagic, match="no backup found"):
        restore(memory)
    memory.grow(1)
    with pytest.raises(BadMagic, match="no backup found"):
        restore(memory)


def test_a_length_that_is_longer_than_the_memory(memory):
    put(memory, QUICK_START, PAGE_SIZE - 3)
    with pytest.raises(CorruptMemory, match=r"byte 0x0: its length field is 65533 bytes, but the memory has 65532") as caught:
        restore(memory)
    assert caught.value.address == 0


def test_a_length_that_is_too_long_or_too_short(memory):
    for length in [*range(1, len(QUICK_START)), len(QUICK_START) + 1, PAGE_SIZE - 4]:
        put(memory, QUICK_START, length)
        with pytest.raises(CorruptMemory, match=r"one CBOR item|encoded as CBOR") as caught:
            restore(memory)
        assert caught.value.address == 4 + min(length, len(QUICK_START))


def test_the_address_of_the_damage(memory):
    payload = bytearray(cbor2.dumps([list(range(100)), "text", {"a": 1}]))
    at = payload.index(b"text")
    payload[at - 1] = 0xFF
    put(memory, payload)
    with pytest.raises(CorruptMemory, match="encoded as CBOR") as caught:
        restore(memory)
    assert caught.value.address == 4 + at
    assert "encoded as CBOR" in caught.value.rule


DAMAGED = {
    "no item": b"\xff",
    "open text": b"\x61\xff",
    "a date that is none": b"\xc0\x01",
    "an array without end": b"\x9b\x00\x00\x00\xff\xff\xff\xff\xff",
    "bytes without end": b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "too deep": b"\x81" * 100_000,
    "a key that is none": b"\xa1\x80",
}


@pytest.mark.parametrize("payload", DAMAGED.values(), ids=DAMAGED)
def test_damaged_cbor(memory, payload):
    put(memory, payload)
    with pytest.raises(CorruptMemory, match="damaged at byte 0x") as caught:
        restore(memory)
    assert 4 <= caught.value.address <= 4 + len(payload)


def test_flipped_bits_give_a_value_or_an_error(seed, duration):
    choice = random.Random(seed)
    state = {
        "list": list(range(50)),
        "text": "aé" * 20,
        "f": 1.5,
        "d": decimal.Decimal("1.1"),
        "when": dt.datetime.now(dt.UTC),
        "s": {1, 2},
    }
    payload = cbor2.dumps(state)
    until, errors, count = time.monotonic() + duration, 0, 0
    while time.monotonic() < until:
        data = bytearray(payload)
        for _ in range(choice.randint(1, 4)):
            data[choice.randrange(len(data))] ^= 1 << choice.randrange(8)
        memory = ListMemory()
        put(memory, bytes(data))
        count += 1
        try:
            restore(memory)
        except CorruptMemory as error:
            errors += 1
            assert 4 <= error.address <= 4 + len(data)  # noqa: PT017
    assert 0 < errors < count


# ---- room ----

LIMITED = """
    import resource
    import cbor2, numpy
    from stable_structures import StableMemory
    from stable_structures.upgrade import backup, restore

    def held():
        return int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) << 10

    STATES = {{
        "records": lambda: [bytes([i % 256]) * 10_000 for i in range(6_000)],
        "one row of bytes": lambda: b"x" * 60_000_000,
        "one text": lambda: "x" * 60_000_000,
        "numbers": lambda: numpy.random.default_rng(1).integers(0, 2**63, 6_600_000).tolist(),
    }}
    state = STATES[{state!r}]()
    memory = StableMemory()
    backup(memory, {first})
    image = 0 if memory.size() > 900 else 60_060_000
    limit = held() + image + 24_000_000
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    {work}
    assert memory.size() > 900
    print("done")
"""


def limited(state: str, first: str, work: str) -> subprocess.CompletedProcess[str]:
    code = textwrap.dedent(LIMITED).format(state=state, first=first, work=work)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)


needs_vmdata = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA is Linux's")


@needs_vmdata
@pytest.mark.parametrize("first", ["None", "state"], ids=["on a new memory", "over an older one"])
@pytest.mark.parametrize("state", ["records", "one row of bytes", "one text", pytest.param("numbers", marks=pytest.mark.slow)])
def test_backing_up_60_megabytes_needs_no_other_60(state, first):
    result = limited(state, first, "backup(memory, state)")
    assert result.stdout == "done\n", result.stderr


@needs_vmdata
def test_the_limit_of_the_test_above_is_one():
    result = limited("records", "None", "other = bytes(60_000_000); backup(memory, state)")
    assert "OutOfMemory" in result.stderr


# ---- crashes ----


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_a_killed_process_leaves_the_old_backup_or_the_new_one(tmp_path, durability):
    path = tmp_path / "state"
    code = """
        import sys
        from stable_structures import StableMemory
        from stable_structures.upgrade import backup
        memory = StableMemory.open(sys.argv[1], durability=sys.argv[2])
        for n in range(1_000_000):
            backup(memory, {"n": n, "blob": bytes([n % 256]) * (1_000_000 + n % 3 * 700_000)})
            if n == 3:
                print("ready", flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), path, durability], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        time.sleep(random.random() * 0.2)
        process.send_signal(signal.SIGKILL)
    with StableMemory.open(path) as memory:
        state = restore(memory)
    assert state["n"] >= 3
    assert state["blob"] == bytes([state["n"] % 256]) * (1_000_000 + state["n"] % 3 * 700_000)


# ---- hooks ----


def test_hooks_carry_the_heap_over_an_upgrade():
    stable = StableMemory()
    manager = MemoryManager(stable)
    hooks, state = UpgradeHooks(manager.get(0)), {"fee": 10, "names": ["a"]}

    @hooks.pre_upgrade
    def save():
        return state

    @hooks.post_upgrade
    def load(_saved):
        raise AssertionError("the old program's hook")

    assert save() is state
    hooks.run_pre_upgrade()
    del hooks, manager

    hooks, found = UpgradeHooks(MemoryManager(stable).get(0)), []
    hooks.post_upgrade(found.append)
    hooks.run_post_upgrade()
    assert found == [{"fee": 10, "names": ["a"]}]


def test_without_functions_nothing_happens(memory):
    hooks = UpgradeHooks(memory)
    hooks.run_pre_upgrade()
    hooks.run_post_upgrade()
    assert memory.size() == 0


def test_post_upgrade_without_a_backup_says_so(memory):
    hooks, found = UpgradeHooks(memory), []
    hooks.post_upgrade(found.append)
    with pytest.raises(BadMagic, match="no backup found"):
        hooks.run_post_upgrade()
    assert found == []


@pytest.mark.parametrize("name", ["pre_upgrade", "post_upgrade"])
def test_a_second_function_is_refused_by_name(name):
    hooks = UpgradeHooks(StableMemory())

    def first(*_):
        return 1

    def second(*_):
        return 2

    register = getattr(hooks, name)
    assert register(first) is first
    with pytest.raises(ValueError, match=rf"{name}: .*first is registered already.*second UpgradeHooks"):
        register(second)
    assert "first" in repr(hooks)
    hooks.run_pre_upgrade()
    if name == "pre_upgrade":
        assert restore(hooks.memory) == 1


def test_a_decorator_with_brackets_is_refused():
    hooks = UpgradeHooks(StableMemory())
    with pytest.raises(TypeError):
        hooks.pre_upgrade()
    with pytest.raises(TypeError, match="without brackets"):
        hooks.pre_upgrade(None)


def test_a_forgotten_return_is_an_error_and_the_old_backup_stays(memory):
    hooks, state = UpgradeHooks(memory), [1]
    hooks.pre_upgrade(lambda: state.append(2))
    backup(memory, "old")
    with pytest.raises(IncompatibleType, match=r"returned None.*return the state"):
        hooks.run_pre_upgrade()
    assert restore(memory) == "old"


@pytest.mark.parametrize("function", [lambda: 1 / 0, lambda: {"x": object()}], ids=["raises", "cannot be encoded"])
def test_a_pre_upgrade_that_fails_leaves_the_old_backup(memory, function):
    hooks = UpgradeHooks(memory)
    hooks.pre_upgrade(function)
    backup(memory, "old")
    with pytest.raises((ZeroDivisionError, IncompatibleType)):
        hooks.run_pre_upgrade()
    assert restore(memory) == "old"


def test_an_asynchronous_hook_is_an_error(memory):
    hooks = UpgradeHooks(memory)
    started = []

    @hooks.pre_upgrade
    async def save():
        return 1

    original = hooks._save

    def remember():
        started.append(original())
        return started[-1]

    hooks._save = remember
    with pytest.raises(IncompatibleType, match="cannot be encoded as CBOR"):
        hooks.run_pre_upgrade()
    started[0].close()


def test_what_hooks_cannot_have_as_memory():
    with pytest.raises(TypeError, match="lacks size"):
        UpgradeHooks(bytearray())


@settings(max_examples=examples(20))
@given(st.lists(VALUES.filter(lambda value: value is not None), min_size=1, max_size=5))
def test_upgrade_after_upgrade(states):
    memory = StableMemory()
    for state in states:
        hooks, found = UpgradeHooks(memory), []
        hooks.pre_upgrade(lambda state=state: state)
        hooks.post_upgrade(found.append)
        hooks.run_pre_upgrade()
        hooks.run_post_upgrade()
        assert found == [state]


def test_no_file_is_left_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(upgrade, "_IN_MEMORY", 1000)
    seen = []
    monkeypatch.setattr(
        upgrade, "_write", lambda _memory, spool: seen.append((os.fstat(spool.fileno()).st_nlink, list(tmp_path.iterdir())))
    )
    backup(StableMemory(), b"x" * 5000)
    assert seen == [(0, [])]
