# SPDX-License-Identifier: Apache-2.0
"""Numbers as LEB128: each comes back, wherever it lies; those that are cut off or too long are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stable_structures.encodings.leb128 import U64_BYTES, TooLong, signed, sleb, uleb, unsigned

BIG = 1 << 200


@given(st.integers(0, BIG), st.binary(max_size=3), st.binary(max_size=3))
def test_unsigned_numbers_come_back(number: int, before: bytes, behind: bytes) -> None:
    encoded = uleb(number)
    assert unsigned(before + encoded + behind, len(before)) == (number, len(before) + len(encoded))
    assert len(encoded) == max(1, -(-number.bit_length() // 7))


@given(st.integers(-BIG, BIG), st.binary(max_size=3), st.binary(max_size=3))
def test_signed_numbers_come_back(number: int, before: bytes, behind: bytes) -> None:
    encoded = sleb(number)
    assert signed(before + encoded + behind, len(before)) == (number, len(before) + len(encoded))


@given(st.integers(0, BIG), st.integers(1, 40))
def test_no_more_bytes_are_read_than_are_accepted(number: int, most: int) -> None:
    for encoded, read in ((uleb(number), unsigned), (sleb(number), signed)):
        if len(encoded) <= most:
            assert read(encoded, 0, most) == (number, len(encoded))
        else:
            with pytest.raises(TooLong, match=f"more than {most} bytes"):
                read(encoded, 0, most)


@given(st.integers(0, BIG))
def test_a_number_that_is_cut_off(number: int) -> None:
    for encoded, read in ((uleb(number), unsigned), (sleb(-number), signed)):
        with pytest.raises(IndexError):
            read(encoded[:-1], 0)


def test_numbers_of_64_bits_take_at_most_ten_bytes() -> None:
    assert len(uleb((1 << 64) - 1)) == len(sleb(-(1 << 63))) == U64_BYTES
    assert unsigned(b"\x80" * 9 + b"\0", 0, U64_BYTES) == (0, 10)
    with pytest.raises(TooLong):
        unsigned(b"\x80" * 10 + b"\0", 0, U64_BYTES)
