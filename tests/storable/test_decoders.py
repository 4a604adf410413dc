"""Decoders: only bytes that are not a value become `CorruptMemory`; what interrupts is raised as it is; hostile CBOR ends soon."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import datetime as dt
import decimal
import fractions
import io
import ipaddress
import json
import signal
import struct
import time
import uuid
from typing import Annotated, Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stable_structures import (
    Bounded,
    BoundExceeded,
    Cbor,
    Closed,
    CorruptMemory,
    IncompatibleType,
    StableBTreeMap,
    StableCell,
    StableMemory,
    StableVec,
    Unbounded,
    codec,
    u64,
)
from stable_structures.storable import storable
from stable_structures.storable.cbor import BadCbor, loads
from stable_structures.upgrade import restore

from ..support.places import filled


class Alarm(Exception):
    """What a signal handler of a test runner raises."""


class TimedOut(AssertionError):
    """As that of timeout-decorator."""


MOMENTS = [
    Alarm,
    TimedOut,
    MemoryError,
    RecursionError,
    TimeoutError,
    concurrent.futures.TimeoutError,
    OSError,
    KeyboardInterrupt,
    SystemExit,
]
MOMENTS += [GeneratorExit, RuntimeError, Closed]
OF_BYTES = [ValueError, TypeError, KeyError, IndexError, ZeroDivisionError, AttributeError, AssertionError, EOFError, struct.error]
OF_BYTES += [CorruptMemory, BoundExceeded, IncompatibleType]
raising: Any = None


def strike() -> None:
    if raising is not None:
        raise raising("now")


class Plain:
    BOUND = Unbounded

    def to_bytes(self) -> bytes:
        return b"abc"

    @classmethod
    def from_bytes(cls, data: bytes) -> Plain:
        del data
        strike()
        return cls()


class Fixed(Plain):
    BOUND = Bounded(3, is_fixed_size=True)


@storable
@dataclasses.dataclass
class Stored:
    number: u64

    def __post_init__(self) -> None:
        strike()


@dataclasses.dataclass
class InCbor:
    number: int

    def __post_init__(self) -> None:
        strike()


DECODERS = {
    "class": (codec(Plain), b"abc"),
    "class in an option": (codec(Plain) | None, b"abc\1"),
    "class in a tuple": (codec(tuple[Fixed, Fixed]), b"abcabc"),
    "dataclass": (codec(Stored), bytes(8)),
    "dataclass in CBOR": (codec(Cbor[InCbor]), cbor2.dumps({"number": 1})),
    "dataclasses in CBOR": (codec(Cbor[list[InCbor]]), cbor2.dumps([{"number": 1}])),
    "one of several in CBOR": (codec(Cbor[InCbor | None]), cbor2.dumps({"number": 1})),
}


@contextlib.contextmanager
def striking(error: Any) -> Any:
    global raising  # noqa: PLW0603 - the constructors above have no other way to know
    raising = error
    try:
        yield
    finally:
        raising = None


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("error", MOMENTS)
def test_what_strikes_in_a_decoder_is_raised_as_it_is(name, error):
    made, data = DECODERS[name]
    with striking(error), pytest.raises(error) as caught:
        made.decode(data)
    assert type(caught.value) is error


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("error", OF_BYTES)
def test_what_bytes_explain_is_damage(name, error):
    made, data = DECODERS[name]
    if name.startswith("one of several"):
        return
    with striking(error), pytest.raises(CorruptMemory):
        made.decode(data)


@pytest.fixture
def _tag_strikes(monkeypatch):
    """cbor2 makes a date of a tag, which takes long enough for an alarm: whatever it raises, cbor2 wraps."""
    real = cbor2.CBORDecoder

    class Decoder:
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def decode(self) -> Any:
            return real(self._stream, tag_hook=lambda *_: strike()).decode()

    monkeypatch.setattr(cbor2, "CBORDecoder", Decoder)


@pytest.mark.usefixtures("_tag_strikes")
@pytest.mark.parametrize("error", MOMENTS)
def test_what_strikes_inside_of_cbor2_is_found_under_its_wrapping(error):
    data = cbor2.dumps([cbor2.CBORTag(4711, 1)])
    memory = filled(StableMemory(), len(data).to_bytes(4, "little") + data)
    with striking(error):
        for use in (lambda: codec(Cbor).decode(data), lambda: restore(memory)):
            with pytest.raises(error) as caught:
                use()
            assert type(caught.value) is error
    with striking(ValueError), pytest.raises(CorruptMemory):
        restore(memory)


@pytest.mark.parametrize("error", [Alarm, MemoryError, RecursionError, KeyboardInterrupt])
def test_structures_pass_it_on(error):
    cell, entries = StableCell[Plain](StableMemory(), Plain()), StableBTreeMap[u64, Plain](StableMemory())
    vec = StableVec[Stored](StableMemory())
    entries[1] = Plain()
    vec.push(Stored(1))
    uses = [cell.get, lambda: entries[1], lambda: list(entries.values()), lambda: entries.get_many([1]), lambda: entries.remove(1)]
    uses += [lambda: vec[0], lambda: list(vec), vec.pop, entries.pop_first, lambda: entries.insert(1, Plain())]
    for use in uses:
        with striking(error), pytest.raises(error):
            use()
    assert (len(entries), len(vec)) == (1, 1)


def test_an_alarm_during_a_long_value():
    data = cbor2.dumps([None] * 300_000)[:5] + cbor2.dumps(dt.datetime(2020, 1, 1, tzinfo=dt.UTC)) * 300_000
    assert data.startswith(cbor2.dumps(dt.datetime(2020, 1, 1, tzinfo=dt.UTC)), 5)

    def handler(*_: Any) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for delay in (0.005, 0.02, 0.05):
            signal.setitimer(signal.ITIMER_REAL, delay)
            with contextlib.suppress(Alarm):
                codec(Cbor).decode(data)
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- hostile CBOR ----


def doubling(levels: int, kind: str = "list") -> bytes:
    """Each level has the one below twice: 2**levels items."""
    inner = cbor2.dumps([1, 2])
    data = b"\xd8\x1c" + inner
    for level in range(1, levels):
        reference = b"\xd8\x1d" + cbor2.dumps(level - 1)
        data += b"\xd8\x1c\x82" + reference * 2
    outer = b"\x9f" + data + b"\xff"
    return b"\xa1" + outer + b"\x01" if kind == "key" else outer


HOSTILE = {
    "list": doubling(40),
    "map key": doubling(40, "key"),
    "wide": b"\x82\xd8\x1c" + cbor2.dumps(list(range(1000))) + b"\x99\x10\x00" + b"\xd8\x1d\x00" * 4096,
    "in itself": b"\xd8\x1c\x81\xd8\x1c\x82\xd8\x1d\x00\xd8\x1d\x01",
}


@pytest.mark.parametrize("name", ["list", "map key", "wide"])
def test_shared_references_that_stand_for_too_much_are_refused_soon(name):
    data = HOSTILE[name]
    memory = filled(StableMemory(), len(data).to_bytes(4, "little") + data)
    map_memory = StableMemory()
    StableBTreeMap[u64, bytes](map_memory).insert(1, data)
    entries = StableBTreeMap[u64, Cbor](map_memory)
    start = time.perf_counter()
    for use in (lambda: codec(Cbor).decode(data), lambda: restore(memory), lambda: codec(Cbor[list[list[int]]]).decode(data)):
        with pytest.raises(CorruptMemory, match=r"tags 28 and 29.*1,048,576"):
            use()
    for use in (lambda: entries[1], lambda: list(entries.values())):
        with pytest.raises(IncompatibleType, match=r"tags 28 and 29"):
            use()
    assert time.perf_counter() - start < 2


def test_what_contains_itself():
    data = HOSTILE["in itself"]
    value = codec(Cbor).decode(data)
    assert value[0][0] is value

    @dataclasses.dataclass
    class Node:
        name: str
        next: Any = None

    Node.__annotations__["next"] = Annotated[Node, "of the same"]
    node = Node("a")
    node.next = node
    with pytest.raises(IncompatibleType):
        codec(Cbor[Node]).encode(node)
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(IncompatibleType, match="contains itself"):
        codec(Cbor[list[tuple[int, ...]]]).encode(endless)
    data = b"\xd8\x1c\xa2\x64name\x61a\x64next\xd8\x1d\x00"
    with pytest.raises(CorruptMemory, match="contains itself"):
        codec(Cbor[Node]).decode(data)
    circle: list[Any] = []
    circle += [circle, {"me": circle}]
    again = codec(Cbor).decode(codec(Cbor).encode(circle))
    assert again[0] is again
    assert again[1]["me"] is again


def test_nothing_unreadable_is_written():
    value: list[Any] = [1, 2]
    for _ in range(60):
        value = [value, value]
    value.append(value)
    with pytest.raises(IncompatibleType, match="tags 28 and 29"):
        codec(Cbor).encode(value)


CUT = {
    "array": b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
    "map": b"\xbb\x00\x00\x00\xff\xff\xff\xff\xff\x01",
    "bytes": b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "text": b"\x7a\xff\xff\xff\xff",
    "many arrays": b"\x9a\x00\x00\xff\xff" * 1000,
    "deep": b"\x81" * 100_000,
    "tags": b"\xc1" * 100_000,
    "odd map": b"\xbf\x01\xff",
    "chunks of another kind": b"\x5f\x61a\xff",
    "a break": b"\xff",
    "nothing": b"",
}


@pytest.mark.parametrize("name", CUT)
def test_lengths_that_the_bytes_cannot_hold(name):
    start = time.perf_counter()
    with pytest.raises(CorruptMemory, match="encoded as CBOR"):
        codec(Cbor).decode(CUT[name])
    with pytest.raises(BadCbor):
        loads(CUT[name])
    assert time.perf_counter() - start < 1


ITEMS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
)


@given(ITEMS, st.booleans())
def test_what_cbor2_writes_is_well_formed(value, sharing):
    data = cbor2.dumps(value, value_sharing=sharing)
    assert loads(data) == (cbor2.loads(data), False)


@given(st.binary(max_size=40))
def test_bytes_that_are_refused_are_none_to_cbor2_either(data):
    stream = io.BytesIO(data)
    try:
        cbor2.CBORDecoder(stream).decode()
        whole = stream.tell() == len(data)
    except Exception:  # noqa: BLE001 - also those of tags
        whole = False
    if whole:
        loads(data)
    else:
        with pytest.raises(BadCbor):
            loads(data)


VALUES = [
    dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    dt.date(2020, 1, 1),
    decimal.Decimal("1.5"),
    fractions.Fraction(1, 3),
    uuid.UUID(int=7),
    ipaddress.ip_address("::1"),
    {1, 2, 3},
    2**200,
    json.loads('{"a": [1, {"b": null}]}'),
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_of_many_types_are_as_before(value):
    assert codec(Cbor).decode(codec(Cbor).encode(value)) == value
