"""Records of tuples: the short way by `struct` returns what the long way by numpy returns, or leaves it to that."""

from __future__ import annotations

import timeit
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stable_structures import BoundExceeded, CorruptMemory, IncompatibleType
from stable_structures.storable import Record

CODES = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "?", "S3", "U2", "V2", "V0", "S0", "M8[s]", "(2,)u2"]
VALUES: list[Any] = [
    *(0, 1, -1, 127, 128, 255, 256, 2**31, 2**63, 2**64 - 1, 2**64, -(2**63), 10**400),
    *(0.0, -0.0, 1.5, 2.0, 65504.0, 65520.0, 1e39, 1e300, float("inf"), float("nan"), float("-inf")),
    *(True, False, None, b"", b"ab", b"abc", b"abcd", b"a\0", b"\0", "", "a", "äö", "abc", "a\0", "\ud800", "1.5", "7"),
    *(np.uint8(5), np.int64(-5), np.float16(1.5), np.float32(1e38), np.float64(1e300), np.longdouble(2), np.bool_(True)),
    *(np.str_("ab"), np.bytes_(b"ab"), np.array(3), np.ma.masked, [1, 2], (1, 2), [1, 2, 3], np.array([1, 2]), np.datetime64(5, "s")),
    *(bytearray(b"ab"), 1 + 2j, object()),
]


def long_way(record: Record, row: Any) -> bytes:
    return record._converted(row).tobytes()


def outcome(encode: Any, value: Any) -> Any:
    try:
        return encode(value)
    except (IncompatibleType, BoundExceeded) as error:
        return type(error)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("align", [False, True])
def test_each_value_in_each_field_goes_both_ways_alike(code, align):
    dtype = np.dtype([("a", "u1"), ("x", code), ("z", "i8")], align=align)
    record = Record(dtype)
    for value in VALUES:
        row = (1, value, 2)
        assert outcome(record.encode, row) == outcome(lambda row: long_way(record, row), row), value


@given(st.lists(st.tuples(st.sampled_from(CODES), st.sampled_from(VALUES)), min_size=1, max_size=6), st.booleans(), st.integers(-1, 1))
def test_rows_go_both_ways_alike(fields, align, more):
    if all(code in ("S0", "V0") for code, _ in fields):
        return
    record = Record(np.dtype([(f"f{n}", code) for n, (code, _) in enumerate(fields)], align=align))
    row = tuple(value for _, value in fields)
    for given_row in (row, row[:more] if more < 0 else row + (1,) * more):
        first = outcome(record.encode, given_row)
        assert first == outcome(lambda row: long_way(record, row), given_row)
        assert outcome(record.encode, given_row) == first


@given(st.integers(0, 2**64 - 1), st.floats(), st.integers(-(2**31), 2**31 - 1), st.text(max_size=4), st.binary(max_size=4))
def test_what_goes_in_comes_out(a, b, c, text, data):
    record = Record([("a", ">u8"), ("b", "f8"), ("c", "i4"), ("d", "U4"), ("e", "S4")])
    row = (a, b, c, text, data)
    try:
        out = record.decode(record.encode(row)).item()
    except (IncompatibleType, BoundExceeded):
        assert text[-1:] == "\0" or data[-1:] == b"\0"
        return
    assert out == row or (np.isnan(b) and out[:1] + out[2:] == row[:1] + row[2:])


def test_fields_that_do_not_lie_in_their_order():
    dtype = np.dtype({"names": ["a", "b"], "formats": ["u1", "u2"], "offsets": [4, 0], "itemsize": 8})
    record = Record(dtype)
    assert record.encode((1, 2)) == b"\2\0\0\0\1\0\0\0"


def test_a_code_point_that_is_none_is_found_in_each_text():
    record = Record([("a", "u2"), ("b", "U2"), ("c", "U1")])
    for at in (2, 6, 10):
        data = bytearray(record.encode((1, "ab", "c")))
        data[at : at + 4] = (0x110000).to_bytes(4, "little")
        with pytest.raises(CorruptMemory, match="0x10ffff"):
            record.decode(bytes(data))
    data[10:14] = (0xD800).to_bytes(4, "little")
    assert record.decode(bytes(data))["c"] == "\ud800"


def test_a_tuple_is_encoded_about_as_fast_as_by_numpy_alone():
    fields = [("a", "u8"), ("b", "f8"), ("c", "u4")]
    record, dtype, row = Record(fields), np.dtype(fields), (5, 2.5, 7)
    ours, numpys = (
        min(timeit.repeat(use, number=2000, repeat=7)) for use in (lambda: record.encode(row), lambda: np.array(row, dtype).tobytes())
    )
    assert ours < 3 * numpys
