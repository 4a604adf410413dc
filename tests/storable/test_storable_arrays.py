# SPDX-License-Identifier: Apache-2.0
"""Numpy arrays across the border: the same bytes as item by item, and nothing cut off or rounded."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stable_structures import StableBTreeMap, StableMemory, StableVec
from stable_structures.errors import BoundExceeded, CorruptMemory, IncompatibleType
from stable_structures.principal import Principal
from stable_structures.storable import (
    Array,
    Blob,
    Cbor,
    Record,
    Reverse,
    codec,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    i128,
    storable,
    u8,
    u16,
    u32,
    u64,
    u128,
)

from ..support.any_type import LEAVES, compounds
from ..support.examples import examples

POINT = np.dtype([("x", "<i4"), ("y", "<u2"), ("tag", "S3")])


@storable
@dataclasses.dataclass(frozen=True)
class Score:
    points: u32
    level: u8


# ---- numpy arrays ----

ARRAYS = [
    (u8, [0, 255]), (u16, [0, 65535]), (u32, [7, 2**32 - 1]), (u64, [1, 2**64 - 1]),
    (i8, [-128, 127]), (i16, [-1, 1]), (i32, [-(2**31), 0]), (i64, [-(2**63), 2**63 - 1]),
    (f32, [0.5, -1.0]), (f64, [0.1, -0.0]), (bool, [True, False]), (Reverse[u32], [1, 2]),
]  # fmt: skip


@pytest.mark.parametrize(("tp", "values"), ARRAYS)
def test_arrays_have_the_bytes_of_their_items(tp, values):
    made = codec(tp)
    array = np.array(values, made.native_dtype)
    encoded = made.encode_array(array)
    assert bytes(encoded) == b"".join(map(made.encode, values)) == bytes(made.encode_array(values))
    assert (encoded.dtype, encoded.ndim, encoded.flags.c_contiguous) == (np.uint8, 1, True)
    back = made.decode_array(encoded)
    assert (back.dtype, back.tolist(), back.flags.writeable) == (made.native_dtype, values, True)
    assert made.decode_array(bytes(encoded)).tolist() == values
    assert made.decode_array(b"").tolist() == []
    assert made.encode_array(array[:0]).size == 0
    assert bytes(made.encode_array(array[::-1])) == b"".join(map(made.encode, values[::-1]))
    assert made.dtype.itemsize == made.bound.max_size


@pytest.mark.parametrize(
    ("tp", "array"),
    [
        (u64, np.arange(3, dtype=np.uint32)),
        (u64, np.arange(3)),
        (u8, np.array([0, 255])),
        (i8, np.array([127], np.uint64)),
        (i64, np.array([2**63 - 1], np.uint64)),
        (u16, np.array([1], ">u2")),
        (u8, np.array([True, False])),
        (f64, np.array([0.5], np.float32)),
        (f64, np.array([3])),
        (f32, np.array([3], np.int16)),
    ],
)
def test_arrays_of_other_dtypes_are_taken_where_nothing_is_lost(tp, array):
    assert codec(tp).decode_array(codec(tp).encode_array(array)).tolist() == array.tolist()


@pytest.mark.parametrize(
    ("tp", "array", "error", "message"),
    [
        (u64, np.array([3, -1]), BoundExceeded, "u64 holds 0 to 18446744073709551615, got -1 at index 1; use a signed type"),
        (i64, np.array([2**63], np.uint64), BoundExceeded, "got 9223372036854775808 at index 0; use a wider type"),
        (u8, np.array([1, 256]), BoundExceeded, "u8 holds 0 to 255, got 256 at index 1"),
        (
            u64,
            np.array([1.0]),
            IncompatibleType,
            r"expected an array of uint64 for u64, got float64 of shape \(1,\); convert it with array.astype",
        ),
        (f32, np.array([1.0]), IncompatibleType, r"expected an array of float32 for f32, got float64 .*array.astype\('float32'\)"),
        (f64, np.array(["x"]), IncompatibleType, "expected an array of float64 for f64, got <U1"),
        (bool, np.array([1]), IncompatibleType, r"expected an array of bool for bool, got int64 .*astype\(bool\)"),
        (u8, np.zeros((2, 2), np.uint8), IncompatibleType, r"shape \(2, 2\); pass one dimension"),
        (u8, np.array(1), IncompatibleType, "pass one dimension"),
        (Array(3), np.zeros(2, "V4"), IncompatibleType, r"a uint8 array of shape \(n, 3\) is accepted too"),
        (u8, [1, 256], BoundExceeded, "u8 holds 0 to 255, got 256"),
        (u8, [1, 1.5], IncompatibleType, "expected an integer for u8"),
        (str, np.array(["x"]), IncompatibleType, "str has no numpy form.*pass the values one by one"),
        (u128, [1], IncompatibleType, "u128 has no numpy form"),
        (tuple[u8, u8], np.zeros(1, "u1"), IncompatibleType, "pass a structured array with these names in this order"),
        (tuple[u8, u8], np.zeros(1, [("f0", "u1", (1,)), ("f1", "u1")]), IncompatibleType, r"for u8, got uint8 of shape \(1, 1\)"),
        (tuple[u8, u8], np.zeros(3, [("f0", "u1"), ("f1", "u1", (3,))]), IncompatibleType, r"for u8, got uint8 of shape \(3, 3\)"),
        (tuple[u8, Array(2)], np.zeros(3, [("f0", "u1"), ("f1", "u1", (3,))]), IncompatibleType, r"for Array\(2\), got uint8 of shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tp, array, error, message):
    with pytest.raises(error, match=message):
        codec(tp).encode_array(array)


@pytest.mark.parametrize("tp", [str, bytes, Principal, u128, i128, None, Blob(3), u8 | None, tuple[u8, str, u8], Cbor, Array(0)])
def test_types_without_a_numpy_form_say_so(tp):
    assert codec(tp).dtype is None
    assert codec(tp).native_dtype is None
    with pytest.raises(IncompatibleType, match="has no numpy form"):
        codec(tp).decode_array(b"")


def test_byte_arrays_cross_in_three_shapes():
    tp = Array(3)
    rows = np.frombuffer(b"abc\0\0\0", np.uint8).reshape(2, 3)
    for array in (rows, rows.view("V3").reshape(-1), rows.view("S3").reshape(-1)):
        assert bytes(tp.encode_array(array)) == b"abc\0\0\0"
    assert tp.native_dtype == np.dtype("V3")
    assert [item.tobytes() for item in tp.decode_array(b"abcdef")] == [b"abc", b"def"]


def test_a_field_of_bytes_may_be_an_array_of_bytes():
    rows = np.array([(1, [97, 98, 99]), (2, [100, 101, 102])], [("f0", "u1"), ("f1", "u1", (3,))])
    assert bytes(codec(tuple[u8, Array(3)]).encode_array(rows)) == b"\x01abc\x02def"
    assert bytes(codec(tuple[u8, Array(3)]).encode_array(rows[::-1])) == b"\x02def\x01abc"


def test_tuples_and_dataclasses_of_fixed_parts_cross_as_structured_arrays():
    tp = codec(tuple[u16, i8])
    array = np.array([(1, -1), (2, 0)], tp.native_dtype)
    assert bytes(tp.encode_array(array)) == tp.encode((1, -1)) + tp.encode((2, 0))
    assert tp.decode_array(tp.encode_array(array)).tolist() == [(1, -1), (2, 0)]
    scores = np.array([(70000, 3)], [("points", "i8"), ("level", "i8")])
    assert bytes(codec(Score).encode_array(scores)) == Score(70000, 3).to_bytes()
    assert codec(Score).native_dtype.names == ("points", "level")
    with pytest.raises(BoundExceeded, match="u8 holds 0 to 255, got 300"):
        codec(Score).encode_array(np.array([(1, 300)], [("points", "i8"), ("level", "i8")]))


def test_records_cross_as_they_are():
    array = np.array([(1, 2, b"abc"), (-3, 4, b"")], POINT)
    tp = Record(POINT)
    assert bytes(tp.encode_array(array)) == array.tobytes()
    assert tp.decode_array(array.tobytes()).tolist() == array.tolist()
    with pytest.raises(IncompatibleType, match="if you accept the loss"):
        tp.encode_array(np.zeros(1, [("x", "<i8"), ("y", "<u2"), ("tag", "S3")]))


def test_damaged_arrays_are_found():
    with pytest.raises(CorruptMemory, match="found 2 at index 1"):
        codec(bool).decode_array(b"\0\2")
    with pytest.raises(CorruptMemory, match="whole items of 2 bytes, found 3 bytes"):
        codec(u16).decode_array(b"abc")


# ---- numbers: exactly, or refused ----

NUMBERS = [u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64, bool]
DTYPES = ["?", *"bhilqBHILQ", "e", "f", "d"]
EDGES = [sign * (2**bits + more) for bits in (0, 7, 8, 11, 15, 16, 24, 31, 32, 53, 54, 63, 64) for more in (-1, 0, 1) for sign in (1, -1)]


def numbers():
    return st.sampled_from(EDGES) | st.integers(-(2**65), 2**65) | st.booleans() | st.sampled_from([0.0, -0.5, 0.1, 1e300, 2.0**53, 255.0])


def is_kept(tp, given, found):
    """An integer or bool is what it was; a float too, or rounded to an f32."""
    if isinstance(given, float) and tp is f32:
        return found == np.float32(given)
    return found == given


def stored(tp, values, array):
    """What is stored of numbers in each of the ways that there are: a value, a row, many at once, fields of records."""
    made, row, vec = codec(tp), codec(tuple[tp, u8]), StableVec[tp](StableMemory())
    one = values[0] if array is None else array[0]
    yield lambda: [made.decode(made.encode(one))]
    yield lambda: [row.decode(row.encode((one, 1)))[0]]
    yield lambda: vec.extend(values if array is None else array) or list(vec)
    if made.dtype is None or tp is bool:
        return
    record = Record([("f0", made.native_dtype), ("f1", "u1")])
    yield lambda: [record.decode(record.encode((one, 1)))["f0"].item()]
    if array is not None:
        pairs = np.array([(item, 1) for item in array], [("f0", array.dtype), ("f1", "u1")])
        yield lambda: [row.decode(data)[0] for data in split(row.encode_array(pairs), row)]
        yield lambda: list(record.decode_array(record.encode_array(pairs))["f0"].tolist())


@pytest.mark.parametrize("tp", NUMBERS)
@settings(max_examples=examples(100))
@given(values=st.lists(numbers(), min_size=1, max_size=3), dtype=st.sampled_from([None, *DTYPES]))
def test_a_number_is_stored_exactly_or_refused(tp, values, dtype):
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            array = None if dtype is None else np.array(values, dtype)
        except OverflowError:
            return
        values = values if array is None else array.tolist()
        for way in stored(tp, values, array):
            try:
                found = way()
            except (BoundExceeded, IncompatibleType):
                continue
            assert all(is_kept(tp, one, other) for one, other in zip(values, found, strict=False))


def split(data, made):
    size = made.bound.max_size
    return [bytes(data[at : at + size]) for at in range(0, len(data), size)]


def test_what_a_float_would_round_is_said_with_its_place():
    with pytest.raises(BoundExceeded, match=r"f64 cannot hold 9007199254740993 at index 1: it would become 9007199254740992; pass float"):
        codec(f64).encode_array(np.array([1, 2**53 + 1]))
    prices = StableBTreeMap[u64, f64](StableMemory())
    for given_ in ([1, 2**53 + 1], np.array([1, 2**53 + 1]), np.array([1, 2**64 - 1], np.uint64)):
        with pytest.raises(BoundExceeded, match="f64 cannot hold"):
            prices.insert_many([1, 2], given_)
    with pytest.raises(BoundExceeded, match="f64 cannot hold"):
        prices[1] = np.int64(2**53 + 1)
    assert len(prices) == 0
    prices.insert_many([1, 2], np.array([2**62, -(2**63)]))
    assert dict(prices) == {1: 2.0**62, 2: -(2.0**63)}


FIXED = st.recursive(st.sampled_from([leaf for leaf in LEAVES if codec(leaf[0]).dtype is not None]), compounds, max_leaves=6)


@settings(max_examples=examples(300), deadline=None)
@given(data=st.data())
def test_arrays_of_any_type_have_the_bytes_of_their_items(data):
    """Every type with a numpy form, however its parts are nested; on a memory as well."""
    tp, values = data.draw(FIXED.filter(lambda one: codec(one[0]).dtype is not None))
    made, items = codec(tp), data.draw(st.lists(values, min_size=1, max_size=3))
    encoded = b"".join(map(made.encode, items))
    array = made.decode_array(encoded)
    assert array.dtype == made.native_dtype
    assert bytes(made.encode_array(array)) == encoded
    vec = StableVec[made](StableMemory())
    vec.extend(array)
    assert list(map(made.encode, vec)) == list(map(made.encode, items))
    assert vec.to_numpy().tobytes() == array.tobytes()
