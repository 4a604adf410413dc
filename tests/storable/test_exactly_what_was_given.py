# SPDX-License-Identifier: Apache-2.0
"""What a type cannot hold exactly, or what only looks like a value of it, is refused and not changed."""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import numpy as np
import pytest

from stable_structures import (
    BoundExceeded,
    Candid,
    Cbor,
    CorruptMemory,
    IncompatibleType,
    Principal,
    StableBTreeMap,
    StableMemory,
    f32,
    f64,
    u64,
)
from stable_structures.encodings.candid.types import parse_interface
from stable_structures.encodings.leb128 import sleb, uleb
from stable_structures.principal import InvalidPrincipal
from stable_structures.storable import codec

LARGE = 2**53 + 1


class Bytes:
    """Has what a principal has."""

    bytes = b"\x04"


@pytest.mark.parametrize("value", [UUID(int=7), Bytes(), b"\x04", "2vxsx-fae", None])
def test_only_a_principal_is_a_principal(value):
    with pytest.raises(IncompatibleType, match="expected a Principal"):
        codec(Principal).encode(value)
    tree = StableBTreeMap[Principal, u64](StableMemory())
    tree[Principal(b"\x04")] = 1
    assert value not in tree


def test_letters_that_become_others_in_lower_case_are_not_letters_of_a_principal():
    text = next(text for text in (str(Principal(bytes([number] * 10))) for number in range(100)) if "k" in text)
    assert Principal.from_text(text.upper()) == Principal.from_text(text)
    for strange in ("\N{KELVIN SIGN}", "\N{FULLWIDTH LATIN SMALL LETTER K}"):
        with pytest.raises(InvalidPrincipal, match="it contains"):
            Principal.from_text(text.replace("k", strange))


@pytest.mark.parametrize("tp", [f64, f32])
@pytest.mark.parametrize("value", [LARGE, np.int64(LARGE), Decimal(LARGE), Fraction(LARGE), Decimal("0.1"), Fraction(1, 3)])
def test_a_float_holds_other_numbers_exactly_or_not_at_all(tp, value):
    with pytest.raises(BoundExceeded, match="it would become"):
        codec(tp).encode(value)
    for exact in (Decimal("0.5"), Fraction(3, 4), Decimal(2**20), 7, Decimal("NaN"), Decimal("-Infinity")):
        assert codec(tp).encode(exact) == codec(tp).encode(float(exact))


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="the machine has no longer floats")
def test_a_longer_float_is_not_rounded():
    with pytest.raises(BoundExceeded, match="it would become"):
        codec(f64).encode(np.longdouble(2) ** 60 + 1)
    assert codec(f64).decode(codec(f64).encode(np.longdouble(0.5))) == 0.5


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_a_float_of_candid_rounds_no_integer(name):
    with pytest.raises(BoundExceeded, match="does not say exactly"):
        Candid(name).encode(LARGE)
    assert Candid(name).decode(Candid(name).encode(2**20)) == 2**20


def test_a_blob_of_candid_is_made_of_bytes():
    blob = Candid("blob")
    with pytest.raises(IncompatibleType, match="expected blob"):
        blob.encode(memoryview(array("Q", [1, 2])))
    assert blob.decode(blob.encode(memoryview(b"ab"))) == b"ab"


@dataclass
class A:
    x: int


@dataclass
class B:
    x: int


def test_the_first_member_of_a_union_counts_whichever_union_was_used_before():
    for tp, first in ((A | B, A), (B | A, B), (list[A | B], A), (list[B | A], B)):
        made = codec(Cbor[tp])
        is_list = first is not None and "list" in str(tp)
        found = made.decode(made.encode([B(1)] if is_list else B(1)))
        assert type(found[0] if is_list else found) is first
    assert codec(Cbor[A | B]) is codec(Cbor[A | B])


class Finer(datetime):
    """As a Timestamp of pandas."""

    nanosecond = 0


def test_nanoseconds_are_not_cut_off():
    moment = Finer(2020, 1, 1, tzinfo=UTC)
    assert codec(datetime).decode(codec(datetime).encode(moment)) == moment
    moment.nanosecond = 1
    with pytest.raises(BoundExceeded, match="nanoseconds"):
        codec(datetime).encode(moment)
    assert codec(datetime).decode(codec(datetime).encode(moment + timedelta(0))) == datetime(2020, 1, 1, tzinfo=UTC)


# ---- short messages that would take long ----


def message_of_nothing(levels: int) -> bytes:
    """A record of two records of two records ... of nulls: no byte for a value."""
    types = sleb(-20) + uleb(2) + uleb(0) + sleb(-1) + uleb(1) + sleb(-1)
    for level in range(levels - 1):
        types += sleb(-20) + uleb(2) + uleb(0) + sleb(level) + uleb(1) + sleb(level)
    return b"DIDL" + uleb(levels) + types + uleb(1) + sleb(levels - 1)


@pytest.mark.parametrize("wanted", [Candid(), Candid("opt nat8"), Candid("reserved")], ids=str)
def test_a_message_of_many_values_without_bytes_is_refused(wanted):
    began = time.monotonic()
    with pytest.raises(CorruptMemory, match="more values without bytes"):
        wanted.decode(message_of_nothing(40))
    assert time.monotonic() - began < 20
    assert Candid().decode(message_of_nothing(2)) == ((None, None), (None, None))


def test_many_records_with_a_null_are_read():
    """More nulls than a message without bytes may have."""
    several = Candid("vec record { nat8; null }")
    values = [(1, None)] * 101_000
    assert several.decode(several.encode(values)) == values


@pytest.mark.parametrize("size", [63, 64, 65, 100, 2_000_000])
def test_a_long_number_is_read_in_the_time_of_its_bytes(size):
    began = time.monotonic()
    number = Candid("nat").decode(b"DIDL\0\x01\x7d" + b"\xff" * (size - 1) + b"\1")
    assert number == 2 ** (7 * (size - 1) + 1) - 1
    assert Candid("int").decode(b"DIDL\0\x01\x7c" + b"\x80" * (size - 1) + b"\x7f") == -(2 ** (7 * (size - 1)))
    assert time.monotonic() - began < 20


def test_a_long_interface_is_read_in_the_time_of_its_size():
    text = "service : {\n" + "".join(f"  m{number} : (nat) -> (text) query;\n" for number in range(20_000)) + "}"
    began = time.monotonic()
    assert len(parse_interface(text).methods) == 20_000
    assert time.monotonic() - began < 20
