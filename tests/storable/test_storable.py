# SPDX-License-Identifier: Apache-2.0
"""Every type: its bytes, bounds and order, what it refuses, and what damaged bytes do."""

import copy
import dataclasses
import enum
import gzip
import json
import math
import pickle
import re
import struct
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NewType, Optional, TypedDict, TypeVar

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stable_structures.errors import BoundExceeded, CorruptMemory, IncompatibleType, StableError
from stable_structures.principal import Principal
from stable_structures.storable import (
    Array,
    Blob,
    Bounded,
    BytesLane,
    Cbor,
    Codec,
    IntLane,
    OptionCodec,
    Order,
    OrderKind,
    Record,
    Reverse,
    ReverseCodec,
    Tuple2Codec,
    Tuple3Codec,
    Unbounded,
    codec,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    i128,
    parse_type,
    storable,
    u8,
    u16,
    u32,
    u64,
    u128,
)

from ..support.examples import examples

GOLDEN = Path(__file__).parents[1] / "golden"
UNSIGNED = {8: u8, 16: u16, 32: u32, 64: u64, 128: u128}
SIGNED = {8: i8, 16: i16, 32: i32, 64: i64, 128: i128}
POINT = np.dtype([("x", "<i4"), ("y", "<u2"), ("tag", "S3")])


# ---- the crate's own facts ----


def golden_value(tp: Codec[Any], value: Any) -> Any:
    """A value of encodings.jsonl: bytes are hex there, tuples are lists, and "x*300" is 300 times x."""
    if isinstance(tp, (Tuple2Codec, Tuple3Codec)):
        return tuple(golden_value(part, item) for part, item in zip(tp.fields.values(), value, strict=True))
    if isinstance(tp, (OptionCodec, ReverseCodec)):
        return None if value is None else golden_value(tp.part, value)
    if tp == codec(Principal):
        return Principal(bytes.fromhex(value))
    if tp == codec(str) and "*" in value:
        text, times = value.split("*")
        return text * int(times)
    return bytes.fromhex(value) if isinstance(tp, (Blob, Array)) or tp == codec(bytes) else value


@pytest.mark.parametrize("line", (GOLDEN / "encodings.jsonl").read_text(encoding="utf-8").splitlines())
def test_the_bytes_and_bounds_are_those_of_the_crate(line):
    fact = json.loads(line)
    tp = parse_type(fact["type"])
    value = golden_value(tp, fact["value"])
    if value is None and tp.bound.is_fixed_size:
        with pytest.raises(BoundExceeded):  # the crate encodes it, and fails when it is stored
            tp.encode(value)
    else:
        assert tp.encode(value) == bytes.fromhex(fact["bytes"])
    assert repr(tp.decode(bytes.fromhex(fact["bytes"]))) == repr(value)  # repr tells -0.0 from 0.0
    assert tp.bound == (Unbounded if fact["bound"] is None else Bounded(*fact["bound"]))


@pytest.mark.parametrize("trace", sorted(path.name for path in GOLDEN.glob("*.trace.gz")))
def test_the_types_of_every_trace_are_known(trace):
    with gzip.open(GOLDEN / trace, "rt") as lines:
        header = json.loads(next(lines))
    for role in ("key", "value"):
        if role in header:
            assert parse_type(header[role]).bound is not None


# ---- one strategy of types with their values ----


@dataclasses.dataclass(frozen=True)
class Case:
    """A codec and a strategy for its values."""

    codec: Codec[Any]
    values: st.SearchStrategy[Any]


def int_case(bits: int, *, signed: bool) -> Case:
    low = -(1 << (bits - 1)) if signed else 0
    return Case(codec((SIGNED if signed else UNSIGNED)[bits]), st.integers(low, low + (1 << bits) - 1))


SIZES = st.sampled_from([0, 1, 2, 3, 40, 255, 256, 300])
KEYS = st.one_of(
    st.builds(int_case, st.sampled_from(sorted(UNSIGNED)), signed=st.booleans()),
    st.just(Case(codec(bool), st.booleans())),
    st.just(Case(codec(str), st.text(st.characters(codec="utf-8"), max_size=6))),
    st.just(Case(codec(bytes), st.binary(max_size=4))),
    st.just(Case(codec(Principal), st.builds(Principal, st.binary(max_size=29)))),
    SIZES.map(lambda size: Case(Blob(size), st.binary(max_size=min(size, 3)))),
    SIZES.map(lambda size: Case(Array(size), st.binary(min_size=size, max_size=size))),
)
LEAVES = KEYS | st.sampled_from(
    [
        Case(codec(f64), st.floats()),
        Case(codec(f32), st.floats(width=32)),
        Case(codec(None), st.none()),
    ]
)


def option_of(case: Case) -> Case:
    values = case.values if case.codec.bound.is_fixed_size else st.none() | case.values
    return Case(OptionCodec(case.codec), values)


def pair_of(a: Case, b: Case) -> Case:
    return Case(codec(tuple[a.codec, b.codec]), st.tuples(a.values, b.values))


def triple_of(a: Case, b: Case, c: Case) -> Case:
    return Case(codec(tuple[a.codec, b.codec, c.codec]), st.tuples(a.values, b.values, c.values))


def compounds(part: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    bounded = part.filter(lambda case: case.codec.bound is not Unbounded)
    # Some(None) of Rust has no form in Python, so an option holds what is never None.
    never_none = part.filter(lambda case: not isinstance(case.codec, OptionCodec) and case.codec != codec(None))
    return st.one_of(
        never_none.map(option_of),
        part.map(lambda case: Case(ReverseCodec(case.codec), case.values)),
        st.builds(pair_of, bounded, bounded),
        st.builds(triple_of, part, part, part),
    )


CASES = st.recursive(LEAVES, compounds, max_leaves=6)
KEY_CASES = st.recursive(KEYS, compounds, max_leaves=6)


def same(a: Any, b: Any) -> bool:
    """Equality in which NaN is itself and zeros have a sign."""
    return repr(a) == repr(b)


@given(st.data(), CASES)
def test_every_value_comes_back(data, case):
    value = data.draw(case.values)
    encoded = case.codec.encode(value)
    assert same(case.codec.decode(encoded), value)
    assert same(case.codec.decode(memoryview(encoded)), value)
    assert same(case.codec.decode(bytearray(encoded)), value)


@given(st.data(), CASES)
def test_no_encoding_leaves_its_bound(data, case):
    bound = case.codec.bound
    size = len(case.codec.encode(data.draw(case.values)))
    if isinstance(bound, Bounded):
        assert size == bound.max_size if bound.is_fixed_size else size <= bound.max_size


@given(st.data(), CASES)
def test_damaged_bytes_give_a_value_or_corrupt_memory(data, case):
    encoded = bytearray(case.codec.encode(data.draw(case.values)))
    for _ in range(3):
        damage = data.draw(st.sampled_from(["flip", "cut", "add"]))
        if damage == "flip" and encoded:
            encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
        elif damage == "cut":
            del encoded[data.draw(st.integers(0, len(encoded))) :]
        else:
            encoded += data.draw(st.binary(max_size=3))
        decode_damaged(case.codec, bytes(encoded))


def decode_damaged(tp: Codec[Any], data: bytes) -> None:
    try:
        tp.decode(data)
    except CorruptMemory as error:
        complete = bool(error.rule) and error.rule in str(error) and "the memory is damaged" in str(error)
        if not complete:
            raise


@given(CASES, st.binary(max_size=40))
def test_any_bytes_give_a_value_or_corrupt_memory(case, data):
    decode_damaged(case.codec, data)


@given(CASES)
def test_names_are_types_and_codecs_are_values(case):
    assert parse_type(case.codec.name) == case.codec
    assert hash(parse_type(case.codec.name)) == hash(case.codec)
    assert case.codec.name in repr(case.codec)
    assert case.codec != Blob(12345)
    assert case.codec != case.codec.name


# ---- order ----


def compare_encoded(order: Order, a: bytes, b: bytes) -> int | None:  # noqa: PLR0911 - one for each kind
    """What native/order.c does: compares two encodings without decoding them."""
    match order.kind:
        case OrderKind.BYTES:
            return (a > b) - (a < b)
        case OrderKind.LENGTH_FIRST:
            return ((len(a), a) > (len(b), b)) - ((len(a), a) < (len(b), b))
        case OrderKind.REVERSE:
            return compare_encoded(order.parts[0], b, a)
        case OrderKind.FLOAT:
            layout = {4: ">f", 8: ">d"}[order.max_size]
            (x,), (y,) = struct.unpack(layout, a), struct.unpack(layout, b)
            return -1 if x < y else 1 if x > y else 0 if x == y else None
        case OrderKind.OPTION:
            some_a, some_b = a[-1], b[-1]
            return compare_encoded(order.parts[0], a[:-1], b[:-1]) if some_a and some_b else some_a - some_b
    split = {OrderKind.TUPLE2: split_tuple2, OrderKind.TUPLE3: split_tuple3}[order.kind]
    for part, x, y in zip(order.parts, split(order, a), split(order, b), strict=True):
        if (result := compare_encoded(part, x, y)) != 0:
            return result
    return 0


def size_bytes(size: int) -> int:
    return 1 if size < 2**8 else 2 if size < 2**16 else 4


def split_tuple2(order: Order, data: bytes) -> list[bytes]:
    parts = []
    at, sizes_at = 0, sum(part.max_size for part in order.parts)
    for part in order.parts:
        size = part.max_size
        if not part.fixed:
            end = sizes_at + size_bytes(part.max_size)
            size, sizes_at = int.from_bytes(data[sizes_at:end], "big"), end
        parts.append(data[at : at + size])
        at += part.max_size
    assert sizes_at == len(data)
    return parts


def split_tuple3(order: Order, data: bytes) -> list[bytes]:
    parts = []
    plain = all(part.fixed for part in order.parts[:2])
    at = 0 if plain else 1
    for part, shift in zip(order.parts[:2], (2, 0), strict=True):
        size = part.max_size
        if not part.fixed:
            end = at + (data[0] >> shift & 3) + 1
            size, at = int.from_bytes(data[at:end], "big"), end
        parts.append(data[at : at + size])
        at += size
    return [*parts, data[at:]]


@settings(max_examples=examples(300))
@given(st.data(), CASES)
def test_encodings_compare_as_their_values_do(data, case):
    a, b = data.draw(case.values), data.draw(case.values)
    assume(case.codec.order.kind is not OrderKind.PYTHON)
    assert compare_encoded(case.codec.order, case.codec.encode(a), case.codec.encode(b)) == case.codec.compare(a, b)
    assert case.codec.less(a, b) == (case.codec.compare(a, b) == -1)


def plain_order(tp: Codec[Any], value: Any) -> Any:
    """A Python value that sorts as `value` does in its type, written without looking at the codecs."""
    if isinstance(tp, OptionCodec):
        return (0,) if value is None else (1, plain_order(tp.part, value))
    if isinstance(tp, ReverseCodec):
        return Opposite(plain_order(tp.part, value))
    if isinstance(tp, (Tuple2Codec, Tuple3Codec)):
        return tuple(map(plain_order, tp.fields.values(), value))
    if isinstance(value, Principal):
        return (len(value.bytes), value.bytes)
    return (value is not None, value or 0) if value is None else value


class Opposite:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return self.value == other.value

    def __lt__(self, other):
        return other.value < self.value

    __hash__ = None


@settings(max_examples=examples(200))
@given(st.data(), KEY_CASES)
def test_the_order_of_keys_is_the_one_of_the_crate(data, case):
    values = data.draw(st.lists(case.values, min_size=2, max_size=5))
    for a in values:
        for b in values:
            x, y = plain_order(case.codec, a), plain_order(case.codec, b)
            assert case.codec.compare(a, b) == (-1 if x < y else 1 if y < x else 0)


@pytest.mark.parametrize("bits", sorted(SIGNED))
@given(data=st.data())
def test_signed_integers_keep_their_order_as_bytes(bits, data):
    case = int_case(bits, signed=True)
    a, b = data.draw(case.values), data.draw(case.values)
    assert (case.codec.encode(a) < case.codec.encode(b)) == (a < b)
    assert case.codec.encode(a) == (a + 2 ** (bits - 1)).to_bytes(bits // 8, "big")


@pytest.mark.parametrize(
    ("tp", "kind"),
    [
        (u64, OrderKind.BYTES),
        (Principal, OrderKind.LENGTH_FIRST),
        (str | None, OrderKind.OPTION),
        (Reverse[u8], OrderKind.REVERSE),
        (Reverse[Reverse[u8]], OrderKind.BYTES),
        (f64, OrderKind.FLOAT),
        (u16 | None, OrderKind.BYTES),
        (tuple[u32, u32], OrderKind.BYTES),
        (tuple[u32, Annotated[bytes, Blob(9)]], OrderKind.BYTES),
        (tuple[Annotated[bytes, Blob(9)], u32], OrderKind.TUPLE2),
        (tuple[u32, Reverse[u32]], OrderKind.TUPLE2),
        (tuple[u8, i8, str], OrderKind.BYTES),
        (tuple[u8, str, u16], OrderKind.TUPLE3),
    ],
)
def test_the_order_of_encodings_is_as_simple_as_it_can_be(tp, kind):
    assert codec(tp).order.kind is kind
    assert (codec(tp).order.max_size, codec(tp).order.fixed) == (codec(tp).bound.max_size, codec(tp).bound.is_fixed_size)


def test_the_numbers_of_the_kinds_are_those_of_the_core():
    header = (Path(__file__).parents[2] / "native" / "structures" / "order.h").read_text()
    numbers = {name.replace("CALLBACK", "PYTHON"): int(number) for name, number in re.findall(r"SS_ORDER_(\w+) = (\d)", header)}
    assert numbers == {kind.name: int(kind) for kind in OrderKind}


def test_an_order_becomes_terms_with_parents_first():
    terms = codec(tuple[str | None, Principal, Reverse[u16]]).order.terms()
    assert [(term.kind.name, term.max_size, term.fixed, term.parts) for term in terms] == [
        ("TUPLE3", None, False, (1, 2, 3)),
        ("OPTION", None, False, (4,)),
        ("LENGTH_FIRST", 29, False, ()),
        ("REVERSE", 2, True, (5,)),
        ("BYTES", None, False, ()),
        ("BYTES", 2, True, ()),
    ]


def test_an_order_too_large_for_the_core_is_left_to_python():
    tp = codec(str)
    for _ in range(6):
        tp = codec(tuple[tp, str, Reverse[str]])
    assert tp.order.kind is OrderKind.TUPLE3
    assert codec(tuple[tp, tp, tp]).order.kind is OrderKind.PYTHON


def test_floats_compare_partially():
    nan = math.nan
    assert [codec(f64).compare(a, b) for a, b in [(1.0, 2.0), (2.0, 1.0), (0.0, -0.0), (nan, 1.0), (nan, nan)]] == [-1, 1, 0, None, None]
    assert codec(tuple[f64, u8]).compare((nan, 1), (nan, 2)) is None
    assert not codec(Reverse[f64]).less(nan, 1.0)


@pytest.mark.parametrize("tp", [f32, f64, f64 | None, Reverse[f32], tuple[u8, f64], tuple[u8, tuple[u8, f32], str]])
def test_floats_are_no_keys_but_may_be_in_a_heap(tp):
    assert not codec(tp).orderable_as_key
    codec(tp).require_heap()
    with pytest.raises(IncompatibleType, match=r"cannot be a key.*floats have no total order.*use an integer"):
        codec(tp).require_key()


@pytest.mark.parametrize("tp", [None, tuple[u8, None], Cbor, Cbor[int], Cbor[int] | None])
def test_unit_and_cbor_are_no_keys(tp):
    with pytest.raises(IncompatibleType, match=r"cannot be a key: .*use"):
        codec(tp).require_key()


@pytest.mark.parametrize("tp", [u8, i128, bool, str, bytes, Principal, Blob(3), Array(3), Reverse[str], str | None, tuple[u8, str, bool]])
def test_the_rest_can_be_keys(tp):
    codec(tp).require_key()
    codec(tp).require_heap()
    assert codec(tp).orderable_as_key


FIELDS = {"a": Reverse[u16], "b": Principal, "c": u8, "d": str, "e": Annotated[bytes, Blob(2)], "f": i16, "g": bool}
FIELD_VALUES = {
    "a": st.integers(0, 3),
    "b": st.builds(Principal, st.binary(max_size=2)),
    "c": st.integers(0, 3),
    "d": st.text("ab", max_size=2),
    "e": st.binary(max_size=2),
    "f": st.integers(-2, 2),
    "g": st.booleans(),
}


@settings(max_examples=examples(200))
@given(st.data(), st.permutations(sorted(FIELDS)), st.integers(1, 5))
def test_dataclasses_are_ordered_as_tuples_of_their_fields(data, names, count):
    cls = storable(dataclasses.make_dataclass("Row", [(name, FIELDS[name]) for name in names[:count]]))
    tp = codec(cls)
    rows = [data.draw(st.tuples(*(FIELD_VALUES[name] for name in names[:count]))) for _ in range(2)]
    a, b = (cls(*row) for row in rows)
    assert tp.decode(tp.encode(a)) == a
    expected = 0
    for name, x, y in zip(names, *rows, strict=False):
        expected = expected or codec(FIELDS[name]).compare(x, y)
    assert tp.compare(a, b) == expected
    if tp.order.kind is not OrderKind.PYTHON:
        assert compare_encoded(tp.order, tp.encode(a), tp.encode(b)) == expected
    variable = [name for name in names[: count - 1] if not codec(FIELDS[name]).bound.is_fixed_size]
    assert (tp.order.kind is OrderKind.PYTHON) == bool(variable)


# ---- lanes ----


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_integers_of_up_to_8_bytes_cross_as_integers(bits):
    assert codec(UNSIGNED[bits]).lane == IntLane(bits // 8, 0)
    assert codec(SIGNED[bits]).lane == IntLane(bits // 8, 2 ** (bits - 1))
    assert codec(Reverse[UNSIGNED[bits]]).lane == IntLane(bits // 8, 0)


@pytest.mark.parametrize("tp", [u128, i128, f64, bool, None, str, bytes, Principal, tuple[u8, u8], u8 | None, Blob(8), Cbor])
def test_everything_else_crosses_as_bytes(tp):
    assert codec(tp).lane == BytesLane()


# ---- numbers ----


@pytest.mark.parametrize("bits", sorted(UNSIGNED))
@pytest.mark.parametrize("signed", [False, True])
def test_integers_stop_at_their_ends(bits, signed):
    tp = codec((SIGNED if signed else UNSIGNED)[bits])
    low = -(2 ** (bits - 1)) if signed else 0
    high = low + 2**bits - 1
    assert [tp.decode(tp.encode(value)) for value in (low, high)] == [low, high]
    for value in (low - 1, high + 1, 10**60, -(10**60)):
        with pytest.raises(BoundExceeded, match=rf"{tp.name} holds {low} to {high}, got {value}; use a"):
            tp.encode(value)


@pytest.mark.parametrize("tp", [u8, u64, u128, i8, i64, i128])
@pytest.mark.parametrize("value", [1.0, "1", None, b"1", [1], Decimal(1)])
def test_integers_take_whole_numbers_only(tp, value):
    with pytest.raises(IncompatibleType, match=r"expected an integer for .*, got .* of type .*; convert it with int\(\) first"):
        codec(tp).encode(value)


@pytest.mark.parametrize("tp", [u8, u64, u128, i8, i64, i128])
def test_integers_take_whatever_is_a_whole_number(tp):
    assert codec(tp).decode(codec(tp).encode(np.int8(7))) == 7
    assert codec(tp).encode(True) == codec(tp).encode(1)


def test_floats_round_as_c_does_and_refuse_what_is_none():
    assert codec(f32).decode(codec(f32).encode(0.1)) == np.float32(0.1)
    assert codec(f64).decode(codec(f64).encode(3)) == 3.0
    assert math.isnan(codec(f64).decode(codec(f64).encode(math.nan)))
    with pytest.raises(BoundExceeded, match=r"f32 cannot hold 1e\+300 of type float: it is too large; use a number in range"):
        codec(f32).encode(1e300)
    with pytest.raises(BoundExceeded, match="too large"):
        codec(f64).encode(10**400)
    with pytest.raises(IncompatibleType, match=r"expected a number for f64, got '1' of type str; convert it with float\(\) first"):
        codec(f64).encode("1")


def test_bool_takes_true_and_false_only():
    assert codec(bool).encode(np.True_) == b"\x01"
    assert codec(bool).encode(np.False_) == b"\x00"
    with pytest.raises(IncompatibleType, match=r"expected True or False for bool, got 1 of type int; convert it with bool\(\) first"):
        codec(bool).encode(1)
    with pytest.raises(CorruptMemory, match="bool: encoded as the byte 0 or 1, found 02"):
        codec(bool).decode(b"\x02")


def test_unit_is_none_and_nothing_else():
    with pytest.raises(IncompatibleType, match="expected None for None, got 0 of type int"):
        codec(None).encode(0)
    with pytest.raises(CorruptMemory, match="encoded in 0 bytes, found 1"):
        codec(None).decode(b"\0")


# ---- text and bytes ----


def test_text_is_utf8_without_surrogates():
    with pytest.raises(BoundExceeded, match=r"lone surrogate at index 1 .* no UTF-8 form.*surrogatepass"):
        codec(str).encode("a\ud800")
    with pytest.raises(IncompatibleType, match=r"expected a str for str, got b'x' of type bytes; use the type bytes for raw bytes"):
        codec(str).encode(b"x")
    with pytest.raises(CorruptMemory, match="str: encoded as UTF-8, found invalid start byte at byte 1 of 3"):
        codec(str).decode(b"a\xffb")


@pytest.mark.parametrize("tp", [bytes, Blob(9), Array(3)])
def test_bytes_come_from_any_buffer_of_bytes(tp):
    for value in (b"abc", bytearray(b"abc"), memoryview(b"abc"), np.frombuffer(b"abc", np.uint8), memoryview(b"a-b-c")[::2]):
        assert codec(tp).encode(value) == b"abc"
        assert type(codec(tp).encode(value)) is bytes
    with pytest.raises(IncompatibleType, match=r"expected bytes for .*, got 'abc' of type str; encode text first"):
        codec(tp).encode("abc")
    with pytest.raises(IncompatibleType, match=r"expected bytes for .*, got a buffer of 'l' items, shape \(1,\)"):
        codec(tp).encode(np.ones(1, np.int64))
    with pytest.raises(IncompatibleType, match=r"expected bytes for .*, got 3 of type int"):
        codec(tp).encode(3)


def test_blobs_and_arrays_keep_their_sizes():
    with pytest.raises(BoundExceeded, match=r"Blob\(3\) holds at most 3 bytes, got 4; use Blob\(4\) in a new structure, or bytes"):
        Blob(3).encode(b"abcd")
    with pytest.raises(BoundExceeded, match=r"Array\(3\) holds exactly 3 bytes, got 2; pad it"):
        Array(3).encode(b"ab")
    with pytest.raises(CorruptMemory, match=r"Blob\(3\): encoded in at most 3 bytes, found 4"):
        Blob(3).decode(b"abcd")
    with pytest.raises(CorruptMemory, match=r"Array\(3\): encoded in 3 bytes, found 4"):
        Array(3).decode(b"abcd")
    with pytest.raises(CorruptMemory, match="Principal: encoded in at most 29 bytes, found 30"):
        codec(Principal).decode(bytes(30))
    with pytest.raises(IncompatibleType, match=r"expected a Principal for Principal, got .*; create one with Principal.from_text"):
        codec(Principal).encode("aaaaa-aa")


@pytest.mark.parametrize(
    ("size", "error"), [(-1, BoundExceeded), (2**32, BoundExceeded), (1.5, IncompatibleType), (True, IncompatibleType)]
)
def test_a_bound_is_a_number_of_bytes_that_the_format_can_store(size, error):
    for make in (Blob, Array, Bounded):
        with pytest.raises(error, match="a bound must be"):
            make(size)


# ---- compounds ----


def test_none_beside_a_fixed_size_type_is_refused_as_in_the_crate():
    with pytest.raises(
        BoundExceeded, match=r"u64 \| None cannot hold None: its encoding is always 9 bytes, but None is one byte.*crate.*Blob\(8\)"
    ):
        codec(u64 | None).encode(None)
    assert codec(u64 | None).decode(b"\0") is None


@pytest.mark.parametrize("data", [b"", b"\2", b"\0\0", b"xy"])
def test_the_tag_of_an_option_is_checked(data):
    with pytest.raises(CorruptMemory, match="an option ends in the byte 1, or is the single byte 0"):
        codec(str | None).decode(data)


def test_a_tuple_of_two_needs_two_bounds():
    with pytest.raises(
        IncompatibleType, match=r"tuple\[u8, str\] cannot be stored: .*str has none.*Blob\(max_size\).*tuple\[u8, str, None\].*@storable"
    ):
        codec(tuple[u8, str])
    assert codec(tuple[u8, str, None]).decode(codec(tuple[u8, str, None]).encode((1, "x", None))) == (1, "x", None)


@pytest.mark.parametrize("tp", [tuple[u8, u8], tuple[u8, u8, u8], tuple[str, u8, u8]])
def test_tuples_take_tuples_of_their_length(tp):
    parts = len(codec(tp).fields)
    for value in ([1] * parts, 1, "xyz", None):
        with pytest.raises(IncompatibleType, match=rf"expected a tuple of {parts} for .*; convert it with tuple\(\) first"):
            codec(tp).encode(value)
    with pytest.raises(IncompatibleType, match=rf"expected a tuple of {parts}, not of 4"):
        codec(tp).encode((1, 2, 3, 4))


def test_damaged_sizes_in_tuples_are_found():
    pair = codec(tuple[Annotated[bytes, Blob(3)], u16])
    with pytest.raises(CorruptMemory, match="parts of at most 3 and 2 bytes, found 4 and 2"):
        pair.decode(b"aaa\0\1\4")
    with pytest.raises(CorruptMemory, match="encoded in 6 bytes, found 5"):
        pair.decode(b"aaa\0\1")
    triple = codec(tuple[u8, str, u16])
    with pytest.raises(CorruptMemory, match="a size field has 1, 2 or 4 bytes, found 3"):
        triple.decode(b"\x02\x01\0\0\0\0\1")
    with pytest.raises(CorruptMemory, match="a part of 9 bytes at 3 ends inside the value, which has 6 bytes"):
        triple.decode(b"\x00\x01\x09abc")
    with pytest.raises(CorruptMemory, match="found no bytes"):
        triple.decode(b"")


@pytest.mark.parametrize("sizes", [(255, 256), (65535, 65536), (0, 65536)])
def test_sizes_in_a_tuple_of_three_take_as_few_bytes_as_they_need(sizes):
    tp = codec(tuple[bytes, bytes, bytes])
    value = (bytes(sizes[0]), bytes(sizes[1]), b"c")
    lengths = [size_bytes(size) for size in sizes]
    encoded = tp.encode(value)
    assert encoded[0] == (lengths[0] - 1) << 2 | (lengths[1] - 1)
    assert len(encoded) == 2 + sum(sizes) + sum(lengths)
    assert tp.decode(encoded) == value


@pytest.mark.parametrize(
    ("tp", "bound"),
    [
        (tuple[u64, u64, Blob(8)], Bounded(24, is_fixed_size=False)),
        (tuple[Blob(8), u64, u64], Bounded(26, is_fixed_size=False)),
        (tuple[Blob(8), Blob(256), u64], Bounded(8 + 256 + 8 + 1 + 1 + 2, is_fixed_size=False)),
        (tuple[Blob(8), Blob(70000)], Bounded(8 + 70000 + 1 + 4, is_fixed_size=False)),
        (tuple[Blob(8), u8, str], Unbounded),
        (Reverse[Blob(8)], Bounded(8, is_fixed_size=False)),
        (str | None, Unbounded),
        (tuple[None, None], Bounded(2, is_fixed_size=False)),
    ],
)
def test_bounds_of_compounds(tp, bound):
    assert codec(tp).bound == bound


def test_a_compound_larger_than_the_format_can_store_is_refused():
    with pytest.raises(BoundExceeded, match="a bound must be 0 to 4294967295 bytes, got 4294967296"):
        codec(Array(2**32 - 1) | None)


def test_reverse_changes_the_order_and_nothing_else():
    tp = codec(Reverse[tuple[u8, str, u16]])
    value = (1, "abc", 3)
    assert tp.encode(value) == codec(tuple[u8, str, u16]).encode(value)
    assert tp.less((2, "", 0), (1, "", 0))
    assert codec(tuple[Reverse[u8], u8]).less((2, 0), (1, 0))
    assert codec(Reverse[str] | None).less(None, "a")
    assert codec(Reverse[str | None]).less("a", None)


# ---- annotations ----


@pytest.mark.parametrize(
    ("tp", "same_as"),
    [
        (Annotated[bytes, Blob(29)], Blob(29)),
        (Annotated[bytes, "a note", Array(20)], Array(20)),
        (Optional[u8], u8 | None),  # noqa: UP045 - both spellings are taken
        (Blob(3) | None, Annotated[bytes, Blob(3)] | None),
        (None | Blob(3), Annotated[bytes, Blob(3)] | None),
        (Annotated[str, "a note"], str),
        (NewType("UserId", u64), u64),
        (type(None), None),
        (Reverse[Blob(3)], Reverse[Annotated[bytes, Blob(3)]]),
        (Record(POINT), Annotated[np.void, Record(POINT)]),
    ],
)
def test_one_type_has_one_codec_however_it_is_written(tp, same_as):
    assert codec(tp) == codec(same_as)
    assert codec(codec(tp)) is codec(tp)


def test_codecs_are_cached():
    assert codec(tuple[u8, u16]) is codec(tuple[u8, u16])
    assert codec(Annotated[bytes, Blob(3), ["unhashable"]]) == Blob(3)


class Colour(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    a: int
    b: int


class Options(TypedDict):
    fee: int


@dataclasses.dataclass
class Bare:
    x: int


@pytest.mark.parametrize(
    ("tp", "message"),
    [
        (int, r"int cannot be stored: say its width: u8, u16, u32, u64, u128, or i8, i16, i32, i64, i128 for negative"),
        (float, r"float cannot be stored: say its width: f64 \(Python's own\) or f32"),
        (list, r"list cannot be stored: use Cbor\[list\]"),
        (list[u8], r"list\[.*\] cannot be stored: use Cbor\[list\]"),
        (dict[str, u8], r"use Cbor\[dict\]"),
        (bytearray, r"use bytes"),
        (object, r"use Cbor"),
        (tuple, r"say the types: tuple\[A, B\] or tuple\[A, B, C\]"),
        (tuple[u8], r"tuples must have two or three parts, not 1; nest tuples.*@storable"),
        (tuple[u8, u8, u8, u8], r"two or three parts, not 4; nest tuples.*@storable"),
        (tuple[()], r"not 0; use None for nothing"),
        (tuple[u8, ...], r"use Cbor for any number of them"),
        (tuple[u8, int], r"int cannot be stored"),
        (Annotated[bytes, Blob], r"Blob needs its size or dtype: write Blob\(\.\.\.\)"),
        (u8 | str, r"a union must be one type and None; use Cbor"),
        ("u64", r"'u64' cannot be stored: it is a str; pass the type itself, or parse_type\(text\)"),
        (TypeVar("K"), r"it is a type variable; pass a type"),
        (Reverse, r"say the type: Reverse\[T\]"),
        (Bare, r"Bare cannot be stored: put @storable above @dataclass"),
        (Colour, r"store its value"),
        (Pair, r"use tuple\[A, B\]"),
        (Options, r"use Cbor\[...\]"),
        (np.uint64, r"use u8 to u64"),
        (enum.IntEnum("Number", "ONE"), r"store its value"),
        (Fraction, r"use one of u8 u16"),
        (3, r"3 cannot be stored: use one of u8 u16"),
        (Any, r"Any cannot be stored: use one of u8"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_the_way_out(tp, message):
    with pytest.raises(IncompatibleType, match=message):
        codec(tp)


# ---- text of types ----


@pytest.mark.parametrize(
    ("text", "tp"),
    [
        ("vec<u8>", bytes),
        ("Vec<u8>", bytes),
        ("unit", None),
        ("()", None),
        ("String", str),
        ("option<blob<6>>", Blob(6) | None),
        ("Optional[str]", str | None),
        ("None | str", str | None),
        ("tuple<u32,u16>", tuple[u32, u16]),
        ("(u32, u16)", tuple[u32, u16]),
        (" tuple[u8, tuple[u8, bool], str] ", tuple[u8, tuple[u8, bool], str]),
        ("reverse<array<20>>", Reverse[Array(20)]),
        ("Annotated[bytes, Blob(29)]", Blob(29)),
        ("cbor", Cbor),
        ("Cbor[u8]", Cbor),
        ("Record([('x', '<i4'), ('y', '<u2'), ('tag', 'S3')])", Record(POINT)),
        ("tuple[Record([('x', '<i4')]), u8]", tuple[Record([("x", "<i4")]), u8]),
    ],
)
def test_types_are_read_from_text(text, tp):
    assert parse_type(text) == codec(tp)


@pytest.mark.parametrize(
    "text",
    ["", "u65", "u8 u8", "vec<str>", "tuple<u8>", "blob", "blob<x>", "blob<-1>", "u8 | str", "u8[u8]", "f()", "__import__('os')",
     "option<", "(" * 300, "option<" * 3000, "Record('O')", "1 + 1", "x.y", "u8 + None", "\0", "Blob(1, 2)", "lambda: 0"],
)  # fmt: skip
def test_text_that_is_no_type_is_refused(text):
    with pytest.raises((IncompatibleType, BoundExceeded)):
        parse_type(text)


# ---- the small print ----


def test_unbounded_is_one_value():
    assert pickle.loads(pickle.dumps(Unbounded)) is Unbounded  # noqa: S301 - our own bytes
    assert copy.deepcopy(Unbounded) is Unbounded
    assert (Unbounded.max_size, Unbounded.is_fixed_size, repr(Unbounded)) == (None, False, "Unbounded")


def test_every_error_is_one_of_ours_and_a_builtin():
    with pytest.raises(StableError):
        codec(u8).encode(256)
    with pytest.raises(ValueError, match="u8 holds"):
        codec(u8).encode(256)
    with pytest.raises(TypeError):
        codec(u8).encode("x")
