# SPDX-License-Identifier: Apache-2.0
"""Any storable type with its values, for hypothesis: `TYPES` draws a type, nested at random, and the strategy of its values."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any, TypedDict

import numpy as np
from hypothesis import strategies as st

from stable_structures import (
    Array,
    Basilisk,
    Blob,
    Candid,
    Cbor,
    Principal,
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
)  # fmt: skip


class Point(TypedDict):
    x: int
    y: float


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Order:
    price: float
    tags: list[str]
    note: str | None
    colour: Colour


RECORD = Record(
    [("n", "i4"), ("flag", "?"), ("name", "S3"), ("raw", "V2"), ("grid", "f4", (2, 2)), ("at", "M8[us]"), ("in", [("u", "u1")])]
)
SIZE = codec(RECORD).bound.max_size
FLAG = 4
RECORDS = st.binary(min_size=SIZE, max_size=SIZE).map(
    lambda data: np.frombuffer(data[:FLAG] + bytes([data[FLAG] & 1]) + data[FLAG + 1 :], codec(RECORD).dtype)[0]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INT64 = st.integers(-(2**63), 2**63 - 1)


ANY_CBOR = st.recursive(
    st.none() | st.booleans() | INT64 | TEXTS | st.binary(max_size=4), lambda one: st.lists(one, max_size=3), max_leaves=5
)


def integers(bits, *, signed):
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)


LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    *((tp, integers(bits, signed=False)) for tp, bits in ((u8, 8), (u16, 16), (u32, 32), (u64, 64), (u128, 128))),
    *((tp, integers(bits, signed=True)) for tp, bits in ((i8, 8), (i16, 16), (i32, 32), (i64, 64), (i128, 128))),
    (f64, st.floats()),
    (f32, st.floats(width=32)),
    (bool, st.booleans()),
    (str, TEXTS),
    (bytes, st.binary(max_size=8)),
    (Blob(5), st.binary(max_size=5)),
    (Array(3), st.binary(min_size=3, max_size=3)),
    (Array(0), st.just(b"")),
    (Principal, st.binary(max_size=29).map(Principal)),
    (None, st.none()),
    (RECORD, RECORDS),
    (Cbor, ANY_CBOR),
    (Cbor[list[int]], st.lists(INT64, max_size=3)),
    (Cbor[dict[str, float]], st.dictionaries(TEXTS, st.floats(allow_nan=False), max_size=3)),
    (Cbor[Point], st.fixed_dictionaries({"x": INT64, "y": st.floats(allow_nan=False)})),
    (Cbor[Order], st.builds(Order, st.floats(allow_nan=False), st.lists(TEXTS, max_size=2), st.none() | TEXTS, st.sampled_from(Colour))),
    (Cbor[tuple[int, str | None]], st.tuples(INT64, st.none() | TEXTS)),
    (Cbor[dt.date], st.dates()),
    (Candid(), st.integers(0, 2**70) | TEXTS | st.booleans() | st.binary(max_size=5)),
    (Candid("record { name : text; age : opt nat8; of : vec record { nat; principal } }"), st.fixed_dictionaries(
        {"name": TEXTS, "age": st.none() | st.integers(0, 255),
         "of": st.lists(st.tuples(st.integers(0, 10**30), st.binary(max_size=29).map(Principal)), max_size=2)})),
    (Candid("variant { a : nat8; b; tag : blob }"), st.one_of(
        st.integers(0, 255).map(lambda n: {"a": n}), st.just({"b": None}), st.binary(max_size=4).map(lambda data: {"tag": data}))),
    (dt.datetime, st.datetimes(timezones=st.just(dt.UTC))),
    (dt.date, st.dates()),
    (uuid.UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False)),
    (Basilisk(), st.lists(INT64 | TEXTS, max_size=3)),
]  # fmt: skip


@st.composite
def fields_of(draw, inner):
    parts = draw(st.lists(inner, min_size=1, max_size=3))
    made = dataclasses.make_dataclass("Made", [(f"part{i}", Any) for i in range(len(parts))])
    made.__annotations__ = {f"part{i}": codec(tp) for i, (tp, _) in enumerate(parts)}
    for name, tp in made.__annotations__.items():
        made.__dataclass_fields__[name].type = tp
    return storable(made), st.builds(made, *(values for _, values in parts))


def compounds(inner):
    return st.one_of(
        inner.map(lambda one: (codec(one[0]) | None, one[1] if codec(one[0]).bound.is_fixed_size else st.none() | one[1])),
        inner.map(lambda one: (Reverse[codec(one[0])], one[1])),
        st.tuples(inner, inner, inner).map(lambda three: (tuple[tuple(codec(tp) for tp, _ in three)], st.tuples(*(v for _, v in three)))),
        st.tuples(inner, inner)
        .filter(lambda two: all(codec(tp).bound.max_size is not None for tp, _ in two))
        .map(lambda two: (tuple[tuple(codec(tp) for tp, _ in two)], st.tuples(*(v for _, v in two)))),
        fields_of(inner),
    )


TYPES = st.recursive(st.sampled_from(LEAVES), compounds, max_leaves=4)
