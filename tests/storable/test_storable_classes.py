# SPDX-License-Identifier: Apache-2.0
"""What is stored field by field or by a class of its own: classes, dataclasses, numpy records, CBOR."""

import dataclasses
import enum
import math
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, TypedDict
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stable_structures.errors import BoundExceeded, CorruptMemory, IncompatibleType
from stable_structures.storable import (
    Blob,
    Bounded,
    Cbor,
    Codec,
    Order,
    OrderKind,
    Record,
    Reverse,
    Unbounded,
    codec,
    i8,
    parse_type,
    storable,
    u8,
    u16,
    u32,
)

POINT = np.dtype([("x", "<i4"), ("y", "<u2"), ("tag", "S3")])


class Colour(enum.Enum):
    RED = 1


def decode_damaged(tp: Codec[Any], data: bytes) -> None:
    try:
        tp.decode(data)
    except CorruptMemory as error:
        complete = bool(error.rule) and error.rule in str(error) and "the memory is damaged" in str(error)
        if not complete:
            raise


# ---- classes ----


class Word:
    BOUND = Bounded(4, is_fixed_size=False)

    def __init__(self, text: str) -> None:
        self.text = text

    def to_bytes(self) -> bytes:
        return self.text.encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Word":
        return cls(data.decode())

    def __lt__(self, other: "Word") -> bool:
        return self.text[::-1] < other.text[::-1]


class Bytewise(Word):
    ORDER = "bytes"


def test_a_class_with_the_three_attributes_is_stored():
    tp = codec(Word)
    assert tp.decode(tp.encode(Word("abc"))).text == "abc"
    assert tp.bound == Bounded(4, is_fixed_size=False)
    assert tp.order.kind is OrderKind.PYTHON
    assert tp.less(Word("za"), Word("ab"))
    assert tp.compare(Word("ab"), Word("ab")) == 0
    tp.require_key()


def test_a_class_may_be_ordered_by_its_bytes():
    tp = codec(Bytewise)
    assert tp.order.kind is OrderKind.BYTES
    assert tp.less(Bytewise("ab"), Bytewise("za"))


def test_a_part_that_python_compares_makes_the_whole_one():
    for tp in (tuple[u8, Word], Word | None, Reverse[Word], tuple[u8, str, Word]):
        assert codec(tp).order.kind is OrderKind.PYTHON
    assert codec(tuple[u8, Word]).less((1, Word("za")), (1, Word("ab")))


def test_a_class_is_told_what_is_wrong_with_it():
    class NoBound:
        def to_bytes(self) -> bytes: ...

    class BadBound(Word):
        BOUND = 4

    class BadOrder(Word):
        ORDER = "byte"

    class NoOrder(Word):
        __lt__ = object.__lt__

    with pytest.raises(IncompatibleType, match="NoBound cannot be stored: it lacks from_bytes and BOUND; a stored class has"):
        codec(NoBound)
    with pytest.raises(IncompatibleType, match=r"BadBound.BOUND is 4; set it to Unbounded or Bounded"):
        codec(BadBound)
    with pytest.raises(IncompatibleType, match=r"BadOrder.ORDER is 'byte'; set it to"):
        codec(BadOrder)
    with pytest.raises(IncompatibleType, match=r"NoOrder cannot be a key: it defines no order; define __lt__"):
        codec(NoOrder).require_key()
    with pytest.raises(IncompatibleType, match="cannot be in a heap"):
        codec(NoOrder).require_heap()


def test_what_a_class_gives_is_checked():
    class Forgetful(Word):
        def to_bytes(self):
            return "text" if self.text else None

        @classmethod
        def from_bytes(cls, data):
            pass

    with pytest.raises(BoundExceeded, match="Word holds at most 4 bytes, got 5; shorten the value"):
        codec(Word).encode(Word("abcde"))
    with pytest.raises(IncompatibleType, match=r"expected an instance of .*Word for .*Word, got 'abc' of type str"):
        codec(Word).encode("abc")
    with pytest.raises(IncompatibleType, match=r"expected bytes from .*to_bytes\(\) for .*, got 'text' of type str"):
        codec(Forgetful).encode(Forgetful("x"))
    with pytest.raises(IncompatibleType, match=r"expected an instance from .*from_bytes\(\) for .*, got None.*; return it"):
        codec(Forgetful).decode(b"x")
    with pytest.raises(
        CorruptMemory, match=r"Word: from_bytes\(\) must accept what to_bytes\(\) returned; on 1 bytes it raised UnicodeDecodeError"
    ):
        codec(Word).decode(b"\xff")


# ---- dataclasses ----


@storable
@dataclasses.dataclass(frozen=True)
class Score:
    points: u32
    level: u8


@storable
@dataclasses.dataclass
class User:
    KIND: ClassVar[str] = "user"
    name: str
    score: Score
    email: str | None = None
    tags: Annotated[bytes, Blob(3)] = b""


@storable
@dataclasses.dataclass(kw_only=True)
class Keyed:
    group: Reverse[u16]
    name: str


def test_a_dataclass_is_laid_out_field_by_field():
    user = User("ann", Score(5, 1), None, b"ab")
    encoded = b"\0\0\0\3ann" + b"\0\0\0\5\1" + b"\0\0\0\1\0" + b"ab"
    assert codec(User).encode(user) == encoded == user.to_bytes()
    assert User.from_bytes(encoded) == user == codec(User).decode(encoded)
    assert User.BOUND is Unbounded
    assert codec(User).order.kind is OrderKind.PYTHON
    assert codec(User).name == "User"


def test_a_dataclass_of_fixed_parts_is_fixed():
    assert Bounded(5, is_fixed_size=True) == Score.BOUND
    assert codec(Score).encode(Score(1, 2)) == b"\0\0\0\1\2"
    assert codec(Score).order == Order(OrderKind.BYTES, 5, fixed=True)
    assert codec(tuple[Score, u8]).order.kind is OrderKind.BYTES


@given(st.binary(max_size=40))
def test_damaged_dataclasses_are_found(data):
    for cls in (User, Score, Keyed):
        decode_damaged(codec(cls), data)


def test_the_bound_of_a_dataclass_counts_its_sizes():
    cls = storable(dataclasses.make_dataclass("Row", [("a", Blob(7)), ("b", u8), ("c", Blob(9))]))
    assert Bounded(7 + 4 + 1 + 9, is_fixed_size=False) == cls.BOUND


def test_dataclasses_nest_and_may_be_optional():
    tp = codec(User | None)
    assert tp.decode(tp.encode(None)) is None
    keyed = Keyed(group=3, name="x")
    assert codec(Keyed).decode(codec(Keyed).encode(keyed)) == keyed
    assert codec(Keyed).less(Keyed(group=4, name="a"), Keyed(group=3, name="a"))


def test_a_dataclass_refuses_what_it_cannot_make_again():
    class Plain:
        x: u8

    @dataclasses.dataclass
    class Hidden:
        x: u8
        y: u8 = dataclasses.field(default=0, init=False)

    @dataclasses.dataclass
    class Given:
        x: u8
        y: dataclasses.InitVar[int]

    @dataclasses.dataclass
    class Empty:
        pass

    @dataclasses.dataclass
    class Twice:
        x: u8
        BOUND: ClassVar[Any] = Unbounded

    @dataclasses.dataclass
    class Wide:
        x: int

    @dataclasses.dataclass
    class Missing:
        x: "NotThere"  # noqa: F821

    @dataclasses.dataclass(frozen=True)
    class Derived(Score):
        extra: u8 = 0

    for cls, message in [
        (Plain, "@storable expects a dataclass, but .*Plain is not one; write @storable above @dataclass"),
        (Hidden, "because of y; use fields"),
        (Given, "because of y; use fields"),
        (Empty, "Empty has no fields"),
        (Twice, "Twice defines BOUND itself"),
        (Wide, "Wide.x: int cannot be stored: say its width"),
        (Missing, "name 'NotThere' is not defined; define or import the types"),
    ]:
        with pytest.raises(IncompatibleType, match=message):
            storable(cls)
    with pytest.raises(IncompatibleType, match="its own fields would be lost; put @storable above it too"):
        codec(Derived)


def test_a_derived_dataclass_is_stored_as_itself():
    @storable
    @dataclasses.dataclass(frozen=True)
    class Derived(Score):
        extra: u8 = 0

    assert codec(Derived).decode(codec(Derived).encode(Derived(1, 2, 3))) == Derived(1, 2, 3)
    with pytest.raises(IncompatibleType, match=r"expected an instance of .*Score itself"):
        codec(Score).encode(Derived(1, 2, 3))


def test_what_a_dataclass_refuses_of_its_fields_is_corruption():
    @storable
    @dataclasses.dataclass
    class Positive:
        x: i8

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("x is negative")

    with pytest.raises(CorruptMemory, match=r"Positive\(\) must accept its stored fields; it raised ValueError\('x is negative'\)"):
        codec(Positive).decode(b"\0")


# ---- numpy records ----


def test_a_record_is_its_bytes():
    tp = Record(POINT)
    value = np.array((-2, 3, b"abc"), POINT)[()]
    assert tp.encode(value) == value.tobytes() == tp.encode((-2, 3, b"abc")) == b"\xfe\xff\xff\xff\x03\x00abc"
    assert tp.decode(value.tobytes()) == value
    assert tp.bound == Bounded(9, is_fixed_size=True)
    assert not tp.decode(value.tobytes()).flags.writeable
    assert hash(tp.decode(value.tobytes())) == hash(tp.decode(value.tobytes()))


def test_records_are_little_endian_and_their_gaps_are_zero():
    gaps = np.dtype([("a", ">u1"), ("b", ">u4")], align=True)
    tp = Record(gaps)
    dirty = np.frombuffer(b"\x01\xaa\xbb\xcc\x00\x00\x00\x02", gaps)[0]
    assert tp.encode(dirty) == b"\x01\0\0\0\x02\0\0\0" == tp.encode((1, 2))
    assert bytes(tp.encode_array(np.array([dirty, dirty], gaps))) == tp.encode(dirty) * 2
    assert parse_type(tp.name) == tp


def test_records_are_ordered_by_their_fields():
    tp = Record(POINT)
    assert tp.order.kind is OrderKind.PYTHON
    assert tp.less(tp.decode(tp.encode((-1, 9, b""))), tp.decode(tp.encode((1, 0, b""))))
    nested = Record([("n", [("v", "<i2", (2,))])])
    a, b = (nested.decode(nested.encode((([1, value],),))) for value in (-5, 2))
    assert (nested.less(a, b), nested.less(b, a), nested.compare(a, a)) == (True, False, 0)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ((1.5, 0, b""), BoundExceeded),
        ((2**40, 0, b""), BoundExceeded),
        ((0, 0, b"abcd"), BoundExceeded),
        ((0, 0), IncompatibleType),
        ((0, "x", b""), IncompatibleType),
        ("abc", IncompatibleType),
        ([1, 2, b""], IncompatibleType),
        (np.zeros((), [("x", "<i8"), ("y", "<u2"), ("tag", "S3")])[()], IncompatibleType),
        (np.zeros((), [("z", "<i4"), ("y", "<u2"), ("tag", "S3")])[()], IncompatibleType),
    ],
)
def test_a_record_takes_nothing_that_it_would_change(value, error):
    with pytest.raises(error, match="Record"):
        Record(POINT).encode(value)


def test_a_record_takes_a_scalar_that_casts_safely():
    narrow = np.array((1, 2, b"x"), [("x", "i2"), ("y", "u1"), ("tag", "S1")])[()]
    assert Record(POINT).encode(narrow) == Record(POINT).encode((1, 2, b"x"))


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("u4", "expects a structured dtype"),
        ([("x", "O")], "has no fixed bytes"),
        ([("x", "u1"), ("y", [("z", "O")])], "has no fixed bytes"),
        ([("x", np.longdouble)], "has no fixed bytes"),
        ({"names": ["a", "b"], "formats": ["u4", "u4"], "offsets": [0, 2]}, "its fields overlap"),
    ],
)
def test_records_hold_bytes_only(dtype, message):
    with pytest.raises(IncompatibleType, match=message):
        Record(dtype)


def test_damaged_records_are_found():
    with pytest.raises(CorruptMemory, match="encoded in 9 bytes, found 8"):
        Record(POINT).decode(bytes(8))
    text = Record([("a", "u1"), ("t", "U2")])
    with pytest.raises(CorruptMemory, match="code points up to 0x10ffff; the field at byte 1"):
        text.decode(b"\0" + b"\xff" * 8)
    with pytest.raises(CorruptMemory, match="code points"):
        text.decode_array(b"\0" + b"\xff" * 8)
    assert text.decode(text.encode((1, "hé")))["t"] == "hé"


def test_records_with_floats_or_dates_are_no_keys():
    with pytest.raises(IncompatibleType, match="it holds a float: floats have no total order"):
        Record([("x", "f4")]).require_key()
    assert Record([("x", "f4")]).compare((math.nan,), (1.0,)) is None
    with pytest.raises(IncompatibleType, match="no total order; use integer fields"):
        Record([("x", "M8[s]")]).require_key()
    assert Record([("x", "f4")]).encode((0.1,)) == np.float32(0.1).tobytes()
    with pytest.raises(BoundExceeded, match="it would become"):
        Record([("x", "f4")]).encode((1e300,))


# ---- CBOR ----


@dataclasses.dataclass
class Node:
    name: str
    children: "list[Node]" = dataclasses.field(default_factory=list)
    colour: Colour | None = None
    at: tuple[int, int] = (0, 0)


class Settings(TypedDict):
    root: Node
    seen: frozenset[int]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(codec="utf-8"), max_size=5)
    | st.binary(max_size=5)
    | st.floats(allow_nan=False)
    | st.decimals(allow_nan=False, allow_infinity=False, places=3)
    | st.uuids()
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
)
CBOR_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(CBOR_VALUES)
def test_cbor_values_come_back(value):
    assert codec(Cbor).decode(codec(Cbor).encode(value)) == value


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), st.integers(), min_size=2), st.randoms())
def test_equal_maps_have_equal_cbor(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert codec(Cbor).encode(dict(items)) == codec(Cbor).encode(value)


def test_cbor_of_equal_values_is_equal_however_they_are_shared():
    part = [1]
    assert codec(Cbor).encode([part, part]) == codec(Cbor).encode([[1], [1]])
    assert codec(Cbor).encode({3, 1, 2}) == codec(Cbor).encode({2, 3, 1})


def test_cbor_makes_dataclasses_enums_and_tuples_again():
    tree = Node("root", [Node("a", colour=Colour.RED), Node("b", [Node("c")])], at=(1, 2))
    assert codec(Cbor[Node]).decode(codec(Cbor[Node]).encode(tree)) == tree
    several = {"x": [tree], "y": []}
    tp = codec(Cbor[dict[str, list[Node]]])
    assert tp.decode(tp.encode(several)) == several
    mapping: Settings = {"root": tree, "seen": frozenset({1})}
    assert codec(Cbor[Settings]).decode(codec(Cbor[Settings]).encode(mapping)) == mapping
    assert codec(Cbor[Node | None]).decode(codec(Cbor[Node | None]).encode(None)) is None
    assert codec(Cbor[Annotated[Node | int, "note"]]).decode(b"\x05") == 5
    assert codec(Cbor[tuple[int, ...]]).decode(codec(Cbor).encode([1, 2])) == (1, 2)
    assert codec(Cbor).decode(codec(Cbor).encode(Node("x"))) == {"name": "x", "children": [], "colour": None, "at": [0, 0]}


def test_cbor_keeps_a_dataclass_readable_when_its_fields_change():
    tp = codec(Cbor[Node])
    assert tp.decode(codec(Cbor).encode({"name": "x", "gone": 1})) == Node("x")
    with pytest.raises(CorruptMemory, match=r"fits Cbor\[Node\].*name.*the class changed"):
        tp.decode(codec(Cbor).encode({"gone": 1}))
    with pytest.raises(CorruptMemory, match="Node is stored as a map, found 1"):
        tp.decode(b"\x01")


def test_cbor_keeps_values_that_contain_themselves():
    loop: list[Any] = [1]
    loop.append({"self": loop})
    back = codec(Cbor).decode(codec(Cbor).encode(loop))
    assert back[0] == 1
    assert back[1]["self"] is back


def nested(depth: int, inner: Any = None) -> Any:
    value = inner
    for _ in range(depth):
        value = [value]
    return value


def test_cbor_nests_as_deep_as_it_can_be_read_again():
    assert codec(Cbor).decode(codec(Cbor).encode(nested(400))) == nested(400)
    for value in (nested(401), nested(100_000)):
        with pytest.raises(IncompatibleType, match=r"nest.*400.*; store it flat"):
            codec(Cbor).encode(value)
    with pytest.raises(CorruptMemory):
        codec(Cbor).decode(b"\x81" * 100_000 + b"\x01")


@pytest.mark.parametrize("inner", [{1}, Decimal(1), {"x": (1, 2)}, datetime(2020, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("depth", [99, 100, 397, 398, 399, 400])
def test_cbor_writes_nothing_that_it_cannot_read(depth, inner):
    value = nested(depth, inner)
    try:
        encoded = codec(Cbor).encode(value)
    except IncompatibleType:
        return
    assert len(codec(Cbor).decode(encoded)) == 1


def test_cbor_says_what_it_cannot_hold():
    assert codec(Cbor).decode(codec(Cbor).encode(np.int64(7))) == 7
    for value, message in [
        (object(), r"Cbor cannot hold <object objec.*no CBOR form.*turn it into"),
        ([1, {"x": object()}], "no CBOR form for <object"),
        (datetime(2020, 1, 1), "set the datetime's tzinfo"),  # noqa: DTZ001 - a naive one is the case
        (np.zeros(2), "no CBOR form"),
        (Node, "no CBOR form"),
        ("\ud800", "surrogate"),
    ]:
        with pytest.raises(IncompatibleType, match=message):
            codec(Cbor).encode(value)


@given(st.binary(max_size=60))
def test_damaged_cbor_is_found(data):
    decode_damaged(codec(Cbor), data)
    decode_damaged(codec(Cbor[Node]), data)
    decode_damaged(codec(Cbor[Settings]), data)


@given(CBOR_VALUES, st.data())
def test_cut_or_prolonged_cbor_is_corrupt(value, data):
    encoded = codec(Cbor).encode(value)
    with pytest.raises(CorruptMemory):
        codec(Cbor).decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])
    with pytest.raises(CorruptMemory, match="more bytes after it"):
        codec(Cbor).decode(encoded + data.draw(st.binary(min_size=1, max_size=9)))


@pytest.mark.parametrize(
    "value", [Decimal("1.50"), date(2020, 1, 2), UUID(int=5), {1, 2}, datetime(2020, 1, 2, tzinfo=UTC), 2**70, b"x", Counter(a=1)]
)
def test_cbor_holds_what_cbor2_holds(value):
    assert codec(Cbor).decode(codec(Cbor).encode(value)) == value
