"""Columns as other libraries give them: behind dictionaries, in runs, views, types of Arrow's extensions; and columns that are misnamed."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from uuid import UUID

import pytest

from stable_structures import (
    Array,
    Cbor,
    IncompatibleType,
    Principal,
    Record,
    StableBTreeMap,
    StableLog,
    StableMemory,
    storable,
    u8,
    u32,
    u64,
    u128,
)

pa = pytest.importorskip("pyarrow")
ANONYMOUS, MANAGEMENT = Principal(b"\x04"), Principal(b"")


@storable
@dataclass(frozen=True)
class Payment:
    to: Principal
    amount: Decimal
    number: UUID
    note: str


def as_dictionary(array):
    return array.dictionary_encode()


def as_view_in_a_dictionary(array):
    view = pa.string_view() if pa.types.is_string(array.type) else pa.binary_view() if pa.types.is_binary(array.type) else array.type
    return pa.DictionaryArray.from_arrays(pa.array(range(len(array)), pa.uint8()), array.cast(view))


def as_runs(array):
    return pa.RunEndEncodedArray.from_arrays(pa.array(range(1, len(array) + 1), pa.int32()), array)


def as_slice(array):
    return pa.concat_arrays([array, array]).dictionary_encode().slice(len(array))


def as_view(array):
    kinds = {pa.string(): pa.string_view(), pa.binary(): pa.binary_view()}
    return array.cast(kinds.get(array.type, array.type))


def as_large(array):
    kinds = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
    return array.cast(kinds.get(array.type, array.type))


IDS = [UUID(int=1), UUID(int=2)]
COLUMNS = {
    "str": (str, ["a", "é"], pa.array(["a", "é"])),
    "bytes": (bytes, [b"a", b""], pa.array([b"a", b""])),
    "u32": (u32, [5, 6], pa.array([5, 6], pa.uint32())),
    "array": (Array(2), [b"ab", b"cd"], pa.array([b"ab", b"cd"])),
    "u128": (u128, [5, 6], pa.array([Decimal(5), Decimal(6)], pa.decimal128(38, 0))),
    "principal": (Principal, [ANONYMOUS, MANAGEMENT], pa.array([str(ANONYMOUS), str(MANAGEMENT)])),
    "principal as bytes": (Principal, [ANONYMOUS, MANAGEMENT], pa.array([b"\x04", b""])),
    "decimal as text": (Decimal, [Decimal("1.5"), Decimal(-2)], pa.array(["1.50", "-2"])),
    "decimal": (Decimal, [Decimal("1.5"), Decimal(-2)], pa.array([Decimal("1.50"), Decimal(-2)], pa.decimal128(9, 2))),
    "decimal as integer": (Decimal, [Decimal(1), Decimal(-2)], pa.array([1, -2])),
    "uuid": (UUID, IDS, pa.array([one.bytes for one in IDS], pa.uuid())),
    "uuid as bytes": (UUID, IDS, pa.array([one.bytes for one in IDS], pa.binary(16))),
    "uuid as text": (UUID, IDS, pa.array([str(one) for one in IDS])),
}
WAYS = [as_dictionary, as_view_in_a_dictionary, as_runs, as_slice, as_view, as_large]


def log_of(tp):
    return StableLog[tp](StableMemory(), StableMemory())


@pytest.mark.parametrize(("name", "way"), list(product(COLUMNS, WAYS)), ids=lambda one: getattr(one, "__name__", one))
def test_a_column_is_the_same_however_it_is_kept(name, way):
    tp, values, column = COLUMNS[name]
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage if way is not as_large else column  # Arrow itself makes dictionaries and runs of plain types alone
    kept = way(column)
    log, rows = log_of(tp), log_of(tuple[tp, u8, None])
    log.extend(kept)
    assert list(log) == values
    unit = pa.nulls(len(kept))
    rows.extend(pa.StructArray.from_arrays([kept, pa.array([1, 2], pa.uint8()), unit], ["f0", "f1", "f2"]))
    assert list(rows) == [(values[0], 1, None), (values[1], 2, None)]
    made = StableBTreeMap[u64, tp].from_arrow(StableMemory(), pa.table({"key": pa.array([7, 8], pa.uint64()), "value": kept}))
    assert dict(made) == dict(zip((7, 8), values, strict=True))


def test_fields_of_a_record_are_taken_from_dictionaries():
    made = log_of(Record([("a", "<u4"), ("b", "S3")]))
    made.extend(
        pa.StructArray.from_arrays([as_dictionary(pa.array([1, 2], pa.uint32())), as_dictionary(pa.array([b"x", b"yy"]))], ["a", "b"])
    )
    assert [(int(one["a"]), bytes(one["b"])) for one in made] == [(1, b"x"), (2, b"yy")]


@pytest.mark.parametrize(
    ("field", "column"),
    [
        ("amount", pa.array([0.1])),
        ("amount", pa.array([True])),
        ("number", pa.array([5])),
        ("to", pa.array([5])),
        ("number", pa.array([b"x"])),
    ],
)
def test_a_part_of_another_type_is_refused_with_a_sentence(field, column):
    parts = {
        "to": pa.array([str(ANONYMOUS)]),
        "amount": pa.array(["1"]),
        "number": pa.array([str(IDS[0])]),
        "note": pa.array(["x"]),
    } | {field: column}
    log = log_of(Payment)
    with pytest.raises(IncompatibleType):
        log.extend(pa.StructArray.from_arrays(list(parts.values()), list(parts)))
    assert not len(log)


def test_a_column_of_nulls_alone_is_a_column_of_options():
    made = StableBTreeMap[u64, str | None](StableMemory())
    made.insert_many(pa.table({"key": pa.array([1, 2], pa.uint64()), "value": pa.nulls(2)}))
    assert dict(made) == {1: None, 2: None}


def test_categories_of_polars_come_in_and_its_own_numbers_are_refused():
    polars = pytest.importorskip("polars")
    made = StableBTreeMap[u64, str](StableMemory())
    for key, kind in enumerate((polars.Categorical, polars.Enum(["a", "b"]))):
        made.insert_many(polars.DataFrame({"key": [key], "value": polars.Series(["b"], dtype=kind)}))
    assert dict(made) == {0: "b", 1: "b"}
    lists = log_of(Cbor[list[str]])
    lists.extend(polars.DataFrame({"value": [["a", "b"]]}, schema={"value": polars.List(polars.Categorical)}))
    assert list(lists) == [["a", "b"]]
    wide = log_of(u128)
    for given in (polars.Series([1], dtype=polars.Int128), polars.DataFrame({"value": polars.Series([1], dtype=polars.Int128)})):
        with pytest.raises(IncompatibleType, match="cast them first"):
            wide.extend(given)
    assert not len(wide)


@pytest.mark.parametrize(
    "names", [("value", "key"), ("value", "id"), ("id", "key"), ("Value", "Key"), ("VALUE", "x"), ("key", "key"), ("key", "x")]
)
def test_columns_are_never_taken_for_each_other(names):
    """By both names, or in order if neither name is there: else a value would be stored as a key."""
    made = StableBTreeMap[u64, u64](StableMemory())
    table = pa.table([pa.array([1], pa.uint64()), pa.array([2], pa.uint64())], names=list(names))
    if set(names) == {"key", "value"}:
        made.insert_many(table)
        assert dict(made) == {2: 1}
        return
    with pytest.raises(IncompatibleType, match="expected a table with the columns key, value"):
        made.insert_many(table)
    assert not made


def test_columns_of_other_names_are_taken_in_order():
    made = StableBTreeMap[u64, u64](StableMemory())
    made.insert_many(pa.table([pa.array([1], pa.uint64()), pa.array([2], pa.uint64())], names=["id", "amount"]))
    assert dict(made) == {1: 2}
