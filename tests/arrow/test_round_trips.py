"""Any storable type becomes Arrow and Parquet and comes back with the same bytes, or is refused with a sentence."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import uuid
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from stable_structures import (
    Array,
    Blob,
    BoundExceeded,
    Candid,
    Cbor,
    IncompatibleType,
    Principal,
    Record,
    StableBTreeMap,
    StableLog,
    StableMemory,
    StableVec,
    Unbounded,
    codec,
    f32,
    f64,
    i128,
    u8,
    u16,
    u32,
    u64,
    u128,
)

from ..support.any_type import LEAVES, TYPES
from ..support.examples import examples

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


class Word:
    BOUND = Unbounded

    def __init__(self, text: str) -> None:
        self.text = text

    def to_bytes(self) -> bytes:
        return self.text.encode()

    @staticmethod
    def from_bytes(data: bytes) -> Word:
        return Word(data.decode())


def log_of(tp, values):
    log = StableLog[codec(tp)](StableMemory(), StableMemory())
    log.extend(values)
    return log


def entries(log):
    return [log.read_entry(i) for i in range(len(log))]


def through_parquet(table):
    out = io.BytesIO()
    pq.write_table(table, out)
    out.seek(0)
    return pq.read_table(out)


@pytest.mark.parametrize(
    ("tp", "values"),
    [
        (Principal, [Principal(bytes(size)) for size in range(30)]),
        (Principal | None, [Principal(), None, Principal(b"\4")]),
        (Blob(3), [b"abc", b"", b"a"]),
        (tuple[Principal, u64], [(Principal(b"\4"), 7), (Principal(), 2**64 - 1)]),
        (tuple[str | None, Blob(2), bool], [("a", b"", True), (None, b"xy", False)]),
        (tuple[tuple[u8, Blob(2)], u128, str], [((1, b"x"), 2**100, "end"), ((2, b""), 0, "")]),
    ],
    ids=str,
)
@pytest.mark.parametrize("principals", ["text", "binary"])
@pytest.mark.parametrize("first", [0, 1])
def test_texts_and_rows_of_them_come_back_in_columns(tp, values, principals, first):
    """From the middle of an array, too."""
    column = log_of(tp, values).to_arrow(principals=principals).column("value").combine_chunks()
    again = log_of(tp, [])
    again.extend(column.slice(first))
    assert entries(again) == entries(log_of(tp, values[first:]))


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data(), st.sampled_from(["decimal", "decimal256", "text", "binary"]), st.sampled_from(["text", "binary"]), st.booleans())
def test_any_type_comes_back_from_arrow_and_parquet(data, wide, principals, binary):
    tp, values = data.draw(TYPES)
    given_values = data.draw(st.lists(values, max_size=6))
    log = log_of(tp, given_values)
    try:
        table = log.to_arrow(wide=wide, principals=principals, messages="binary" if binary else "json")
    except BoundExceeded as error:
        assert "Arrow" in str(error)  # noqa: PT017 - the sentence
        return
    assert table.num_rows == len(given_values)
    table.validate(full=True)
    for way in (lambda made: made, through_parquet):
        try:
            again = type(log).from_arrow(StableMemory(), way(table), StableMemory())
        except IncompatibleType as error:
            assert "JSON" in str(error)  # noqa: PT017 - the sentence
            assume(not binary)
            return
        assert entries(again) == entries(log)


@settings(max_examples=examples(5))
@pytest.mark.parametrize(("tp", "values"), [pytest.param(*one, id=str(codec(one[0]).name)[:30]) for one in LEAVES])
@given(st.data())
def test_the_types_of_columns_do_not_depend_on_the_values(tp, values, data):
    some = log_of(tp, [data.draw(values)])
    with contextlib.suppress(BoundExceeded):
        assert some.to_arrow().schema == log_of(tp, []).to_arrow().schema


def test_a_class_of_the_user_is_its_bytes():
    log = log_of(Word, [Word("a"), Word("bc")])
    assert log.to_arrow().to_pydict() == {"value": [b"a", b"bc"]}
    assert [word.text for word in type(log).from_arrow(StableMemory(), log.to_arrow(), StableMemory())] == ["a", "bc"]


def test_numbers_too_long_for_decimals_are_refused_with_the_way_out():
    log = log_of(u128, [5, 10**38])
    with pytest.raises(BoundExceeded, match=r"row 1 has more than 38 digits.*wide='text'"):
        log.to_arrow()
    assert log.to_arrow(wide="decimal256").column("value").to_pylist() == [5, 10**38]
    assert log_of(i128, [-(10**38) + 1, 10**38 - 1]).to_arrow().column("value").to_pylist() == [-(10**38) + 1, 10**38 - 1]
    with pytest.raises(BoundExceeded):
        log_of(i128, [-(10**38)]).to_arrow()


NO_TEXT = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xff")])
HIDDEN = pa.StructArray.from_arrays(
    [pa.array(["a", "b"]), pa.array(["aaaaa-aa"] * 2), pa.nulls(2)], ["f0", "f1", "f2"], mask=pa.array([True, False])
)


@pytest.mark.parametrize(
    ("tp", "column", "what"),
    [
        (u8, pa.array([1, 300]), "u8 cannot hold"),
        (u8, pa.array([1, None]), "row 1 of the column is null"),
        (u8, pa.array([1.0]), "expected a column of uint8"),
        (u8, pa.array(["1"]), "expected a column of uint8"),
        (f32, pa.array([0.1]), "float32"),
        (str, pa.array([1]), "expected a column of string"),
        (bytes, pa.array(["a"]), "expected a column of binary"),
        (Array(2), pa.array([b"a"]), "exactly 2 bytes"),
        (u128, pa.array([-1]), "cannot hold the number at row 0"),
        (tuple[u8, u8, u8], pa.array([{"f0": 1, "f1": 2}]), "lacks 'f2'"),
        (tuple[u8, u8, u8], pa.array([{"f0": 1, "f1": 2, "f2": None}]), "null"),
        (Principal, pa.array(["x"]), "Principal: invalid principal 'x'"),
        (Principal, pa.array(["aaaaa-aa", None]), "row 1 of the column is null"),
        (Principal, pa.array([b"x" * 30]), "at most 29 bytes"),
        (Blob(2), pa.array([b"a", b"abc"]), "at most 2 bytes"),
        (str, NO_TEXT, "str: the column is no text"),
        (str | None, NO_TEXT, "str: the column is no text"),
        (Principal, NO_TEXT, "not UTF-8"),
        (uuid.UUID, NO_TEXT, "not UTF-8"),
        (Decimal, NO_TEXT, "not UTF-8"),
        (
            tuple[str, u8, None],
            pa.StructArray.from_arrays([NO_TEXT, pa.array([1], pa.uint8()), pa.nulls(1)], ["f0", "f1", "f2"]),
            "not UTF-8",
        ),
        (tuple[Principal, u8], pa.array([{"f0": "x", "f1": 1}]), "Principal: invalid principal 'x'"),
        (tuple[Principal, u8], pa.array([{"f0": "aaaaa-aa", "f1": 1}, {"f0": None, "f1": 1}]), "the part 'f0' of a row is null"),
        (tuple[str, Principal, None], HIDDEN, "row 0 of the column is null"),
        (None, pa.array([1]), "null"),
        (f64, pa.array([2**53 + 1]), "f64 cannot hold"),
        (tuple[f64, u32], pa.array([{"f0": 2**53 + 1, "f1": 1}]), "f64 cannot hold"),
        (tuple[u8, u8], pa.StructArray.from_arrays([pa.array([1])] * 3, ["f0", "f1", "f0"]), "two fields of one name"),
        (Candid("nat"), pa.array([1.5]), "expected an integer"),
        (Candid("vec int"), pa.array([[Decimal("1.5")]]), "expected an integer"),
        (Candid("record { a : nat }"), pa.array([{"a": True}]), "expected an integer"),
        (Candid("float64"), pa.array([2**53 + 1]), "nearest to 9007199254740993"),
    ],
    ids=str,
)
def test_columns_that_do_not_fit_are_refused_and_nothing_is_written(tp, column, what):
    log = log_of(tp, [])
    with pytest.raises((IncompatibleType, BoundExceeded)) as caught:
        log.extend(column)
    assert what in str(caught.value)
    assert len(log) == 0


@pytest.mark.parametrize(
    ("tp", "column", "what"),
    [
        (u128, pa.array([1.5]), "expected a column of decimal128"),
        (u128, pa.array([Decimal("1.5")]), "data loss"),
        (u128 | None, pa.array([Decimal("1.5")]), "data loss"),
        (u128, pa.array(["1_0"]), "decimal digits"),
        (u8, pa.array([True]), "expected a column of uint8"),
        (u8, pa.array([True]).dictionary_encode(), "expected a column of uint8"),
        (f32, pa.array([0.1]), "float32"),
        (f64, pa.array([2**53 + 1]), "f64 cannot hold"),
        (dt.datetime, pa.array([1], pa.timestamp("ns", "UTC")), "lose data"),
        (dt.datetime, pa.array([1], pa.timestamp("us")), "expected a column of timestamp"),
    ],
    ids=str,
)
def test_a_part_of_a_row_is_neither_rounded_nor_cut(tp, column, what):
    """Rows without a fixed size go value by value, where Python would convert."""
    row = pa.StructArray.from_arrays([column, pa.array(["a"]), pa.nulls(1)], ["f0", "f1", "f2"])
    outer = pa.StructArray.from_arrays([row, pa.array(["a"]), pa.nulls(1)], ["f0", "f1", "f2"])
    inner = tuple[tp, str, None]
    for of, array in ((inner, row), (inner | None, row), (tuple[inner, str, None], outer)):
        log = log_of(of, [])
        with pytest.raises((IncompatibleType, BoundExceeded)) as caught:
            log.extend(array)
        assert what in str(caught.value)
        assert len(log) == 0


def test_what_lies_behind_a_null_row_does_not_count():
    parts = [pa.array([Decimal("1.5"), Decimal("2.0")]), pa.array(["a", "b"]), pa.nulls(2)]
    rows = pa.StructArray.from_arrays(parts, ["f0", "f1", "f2"], mask=pa.array([True, False]))
    assert list(log_of(tuple[u128, str, None] | None, rows)) == [None, (2, "b", None)]
    assert list(log_of(tuple[u128, str, None], rows.slice(1))) == [(2, "b", None)]


FIELDS = {
    "a": pa.array([1, 2], pa.uint32()),
    "b": pa.array([0.5, 0.25], pa.float32()),
    "c": pa.array([1, 2], pa.timestamp("us")),
    "s": pa.array([b"ab", b"cd"]),
    "l": pa.array([[1, 2], [3, 4]], pa.list_(pa.uint16(), 2)),
}


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        *[({name: None}, "expected a struct of a, b, c, s, l") for name in FIELDS],
        *[({name: pa.array([None, *column.to_pylist()[1:]], column.type)}, "has no null") for name, column in FIELDS.items()],
        ({"z": pa.array([1, 2])}, "expected a struct"),
        ({"a": pa.array([-1, 1])}, "not in range"),
        ({"a": pa.array([1.0, 2.0])}, "expected a column of uint32"),
        ({"b": pa.array([0.1, 0.2])}, "expected a column of float"),
        ({"b": pa.array([2**24 + 1, 1])}, "not in range"),
        ({"c": pa.array([1, 2], pa.timestamp("us", "Europe/Berlin"))}, "expected a column of timestamp"),
        ({"c": pa.array([1, 2], pa.timestamp("ns"))}, "lose data"),
        ({"s": pa.array([b"abcde", b""])}, "holds 4 bytes, got 5"),
        ({"s": pa.array([1.0, 2.0])}, "expected a column of binary"),
        ({"l": pa.array([[1, None], [3, 4]], pa.list_(pa.uint16(), 2))}, "has no null"),
        ({"l": pa.array([[1], [3, 4]])}, "cannot hold"),
        ({"l": pa.array([1, 2])}, "expected a column of fixed_size_list"),
    ],
)
def test_a_record_lacks_nothing_and_changes_nothing(changed, what):
    record = Record(np.dtype([("a", "<u4"), ("b", "<f4"), ("c", "M8[us]"), ("s", "S4"), ("l", "<u2", (2,))]))

    def struct(fields):
        return pa.StructArray.from_arrays(list(fields.values()), list(fields))

    swapped = log_of(record, struct(dict(reversed(FIELDS.items()))).slice(1))
    assert codec(record).encode(swapped[0]) == codec(record).encode(log_of(record, struct(FIELDS))[1])
    log = log_of(record, [])
    with pytest.raises((IncompatibleType, BoundExceeded)) as caught:
        log.extend(struct({name: column for name, column in {**FIELDS, **changed}.items() if column is not None}))
    assert what in str(caught.value)
    assert len(log) == 0


def test_wider_columns_are_taken_if_their_values_fit():
    assert list(log_of(f64, pa.array([2**53, -3]))) == [2.0**53, -3.0]
    assert list(log_of(u8, pa.array([1, 2], pa.int64()))) == [1, 2]
    assert list(log_of(f64, pa.array([1.5], pa.float32()))) == [1.5]
    assert list(log_of(str, pa.array(["a", "b"], pa.large_string()))) == ["a", "b"]
    assert list(log_of(str, pa.array(["a", "b", "a"]).dictionary_encode())) == ["a", "b", "a"]
    assert list(log_of(u128, pa.array([1, 2], pa.int64()))) == [1, 2]
    assert list(log_of(str, pa.array(["a", "b", "c"]).slice(1))) == ["b", "c"]
    assert list(log_of(tuple[u8, u8, u8], pa.array([{"f2": 3, "f1": 2, "f0": 1}] * 3).slice(1))) == [(1, 2, 3)] * 2


def test_a_choice_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="'text', 'binary'"):
        StableVec[u8](StableMemory()).to_arrow(principals="bytes")


def test_a_map_of_options_and_rows_comes_back():
    tp = StableBTreeMap[tuple[u8, str, u16], codec(tuple[f64, u32, Array(2)])]
    made = tp(StableMemory())
    made.update({(i % 250, f"k{i}", i): (i / 3, i, b"ab") for i in range(3000)})
    assert tp.from_arrow(StableMemory(), made) == made
    copy = tp(StableMemory())
    assert copy.insert_many(made.to_arrow()) == 3000
    assert copy == made


def test_rows_in_errors_are_counted_from_the_beginning():
    texts = pa.chunked_array([pa.array(["a"] * 1000), pa.array([], pa.string()), pa.array(["b", None])])
    for column in (texts, pa.table({"value": texts}), pa.table({"value": texts}).to_reader()):
        log = log_of(str, ["before"])
        with pytest.raises(IncompatibleType, match="row 1001 of the column is null"):
            log.extend(column)
        assert list(log) == ["before"]
    numbers = pa.chunked_array([pa.array([5] * 70, pa.int64()), pa.array([6, -1], pa.int64())])
    with pytest.raises(BoundExceeded, match="the number at row 71;"):
        log_of(u128, []).extend(numbers)
    with pytest.raises(BoundExceeded, match="u128 at row 70001 has"):
        log_of(u128, [1] * 70_001 + [10**38]).to_arrow()
    with pytest.raises(BoundExceeded, match="does not fit decimal128"):
        log_of(Candid("nat"), [10**50]).to_arrow()


@given(st.integers(1, 5).flatmap(lambda width: st.tuples(st.just(width), st.lists(st.binary(max_size=width), max_size=6))))
def test_padded_bytes_of_a_record_lose_the_zeros_at_their_ends_only(width_and_texts):
    width, texts = width_and_texts
    keys = np.arange(len(texts), dtype=np.uint64)
    rows = np.array([(text,) for text in texts], [("text", f"S{width}")])
    users = StableBTreeMap[u64, Record([("text", f"S{width}")])](StableMemory())
    users.insert_many(keys, rows)
    found = users.to_arrow()["value"].combine_chunks()
    found.validate(full=True)
    assert [row["text"] for row in found.to_pylist()] == [text.rstrip(b"\0") for text in texts]


@pytest.mark.parametrize(
    ("tp", "values", "view"),
    [
        (str | None, ["a", None, "bc"], pa.string_view()),
        (Blob(3) | None, [b"a", None], pa.binary_view()),
        (Blob(3) | None, [None, None], pa.binary_view()),
        (Principal | None, [Principal(b"\4"), None], pa.string_view()),
        (str, ["a", "bc"], pa.string_view()),
    ],
    ids=str,
)
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a tuple"])
def test_views_with_nulls_are_taken(tp, values, view, inside):
    """As Polars hands them over; Arrow itself selects nothing of them."""
    column = pa.array([value if value is None or not isinstance(value, Principal) else str(value) for value in values], view)
    wanted = values
    if inside:
        tp, wanted = tuple[u8, u8, tp], [(1, 2, value) for value in values]
        column = pa.StructArray.from_arrays(
            [pa.array([1] * len(values), pa.uint8()), pa.array([2] * len(values), pa.uint8()), column], ["f0", "f1", "f2"]
        )
    found = log_of(tp, [])
    found.extend(column)
    assert entries(found) == entries(log_of(tp, wanted))


def test_a_column_of_json_that_does_not_say_every_value_is_refused_in_tuples_too():
    column = pa.StructArray.from_arrays([pa.array([1], pa.uint8()), pa.nulls(1, pa.string()), pa.array(["a"])], ["f0", "f1", "f2"])
    with pytest.raises(IncompatibleType, match="messages='binary'"):
        log_of(tuple[u8, codec(Cbor) | None, str], []).extend(column)


def test_messages_in_tuples_are_encoded_in_one_way():
    """18 01 is a 1, too, but nobody writes it: a key of such bytes would not be found."""
    column = pa.StructArray.from_arrays([pa.array([0], pa.uint8()), pa.array([b"\x18\x01"]), pa.array(["x"])], ["f0", "f1", "f2"])
    found = log_of(tuple[u8, Cbor, str], [])
    found.extend(column)
    assert entries(found) == entries(log_of(tuple[u8, Cbor, str], [(0, 1, "x")]))
