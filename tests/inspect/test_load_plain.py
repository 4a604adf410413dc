"""Encodings that `load` makes in columns are those of each value, or there are none: then it goes value by value."""

from __future__ import annotations

import itertools
import json
import struct
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stable_structures import Principal, codec, u64
from stable_structures.encodings.columns import Encoded
from stable_structures.encodings.json_form import json_text, to_json
from stable_structures.encodings.principals import principals_of
from stable_structures.inspect import Unreadable, load
from stable_structures.inspect.cells import cbor_item, csv_cell, from_csv
from stable_structures.inspect.rewrite import loading
from stable_structures.inspect.rewrite.batches import NO_VALUE
from stable_structures.inspect.rewrite.plain import encodings as at_once
from stable_structures.inspect.rewrite.plain import is_known
from stable_structures.inspect.sqlite import from_sqlite, sqlite_cell
from stable_structures.inspect.values import from_json, reading_of
from stable_structures.principal import InvalidPrincipal
from stable_structures.storable import Codec, parse_type

from ..support.examples import examples
from .test_dump_round_trip import VALUES, some_of
from .test_load_columns import is_as_row_by_row

pytestmark = pytest.mark.usefixtures("without_fsync")

MORE = [
    *("tuple<u32, bool, f64>", "tuple<tuple<u32, array<3>>, f32>", "tuple<principal, u64>", "tuple<string, bytes, u8>", "option<f32>"),
    *("tuple<option<u8>, unit>", "tuple<reverse<i16>, i64>", "array<0>", "reverse<tuple<u8, bool>>", "option<tuple<principal, bool>>"),
    "tuple<u128, blob<2>>",
]
NAMES = list(dict.fromkeys([*VALUES, *MORE]))
KNOWN = [name for name in NAMES if is_known(parse_type(name))]


def csv_text(tp: Codec[Any], data: bytes) -> str:
    return csv_cell(reading_of(tp), safe=len(data) % 2 == 0, plain=False)(data)[0]


WAYS: dict[str, Any] = {
    "jsonl": (lambda tp, data: json.loads(json_text(to_json(tp.decode(data)))), from_json),
    "cbor": (lambda tp, data: cbor2.loads(cbor_item(tp.decode(data))), from_json),
    "csv": (csv_text, from_csv),
    "sqlite": (lambda tp, data: sqlite_cell(reading_of(tp))(data)[0], from_sqlite),
}
TEXT = "ryjl3-tyaaa-aaaaa-aaaba-cai"
PRINCIPALS = [
    *(TEXT, TEXT.upper(), TEXT.title(), TEXT.replace("-", ""), TEXT.replace("ryjl3-", "ryjl-3"), f" {TEXT}", f"{TEXT} ", f"{TEXT}-"),
    *(f"{TEXT[:-1]}a", TEXT[:-1], f"{TEXT}a", f"{TEXT}=", f"a{TEXT[1:]}", TEXT.replace("a", "1"), TEXT.replace("-", "_"), TEXT + "-aa"),
    *(
        "2vxsx-fae",
        "2vxsx-faf",
        "2vxsx-fa",
        "2VXSX-FAE",
        "aaaaa-aa",
        "aaaaa-ab",
        "aaaaa",
        "aaaa",
        "a",
        "-",
        "",
        "aaaaaaaa",
        "em77e-bvlzu-aq",
    ),
    *(Principal(bytes(29)).to_text(), Principal(b"\xff" * 28).to_text(), Principal(b"\xff" * 29).to_text() + "-aaaaa", "\u212aaaaa-aa"),
]
ODD: list[Any] = [
    *(
        True,
        False,
        0,
        1,
        -1,
        1.0,
        -0.0,
        1.5,
        1e39,
        float("nan"),
        float("inf"),
        None,
        2**31,
        2**63,
        2**64,
        2**127,
        2**128,
        -(2**64),
        10**400,
    ),
    *("true", "false", "True", "1", " 1", "1 ", "+1", "-1", "1_0", "\u0661", "1.0", "1e3", "nan", "NaN", "-inf", "Infinity", "null", "x"),
    *("0x", "0x6", "0x61", "0X61", "61", "0x6 1", "0x61 62", " 0x61", "0x 61", "0x6A", "0x0x61", "0xzz", "0x\u0661\u0661", "0x616161"),
    *("", " ", "'", "'=1", "'true", '"', '"x"', "[1]", "[1, true]", '[1, "0x61"]', "[1, 2], [3", "[1] ", "\ud800", "\x00'", "{}"),
    *([], [1], [1, 2], [1, True, 2.0], [1, True, "2"], [None, None], ["x", "0x61", 1], [[1, "0x616161"], 1.0], [[1], 1.0], {}, {"a": 1}),
    *(b"", b"a", b"abc", b"x" * 40, struct.unpack(">d", b"\x7f\xf0\0\0\x20\0\0\0")[0], (1, 2)),
    *PRINCIPALS,
]
SHOWN_BY_SQLITE = (int, float, str, bytes, type(None))


def one_by_one(tp: Codec[Any], back: Any, items: list[Any]) -> list[bytes] | None:
    try:
        return [tp.encode(back(tp, item)) for item in items]
    except NO_VALUE:
        return None


def agree(tp: Codec[Any], back: Any, items: list[Any]) -> bool:
    """Whether there are encodings in columns; then they are those of each value, of which there are some."""
    try:
        found = at_once(tp, back, items)
    except NO_VALUE:
        return False
    if found is None:
        return False
    assert found.pieces() == one_by_one(tp, back, items)
    assert found.count == len(items)
    return True


def fits_way(way: str, item: Any) -> bool:
    return isinstance(item, str) if way == "csv" else type(item) in SHOWN_BY_SQLITE if way == "sqlite" else True


def changed(item: Any, odd: Any, place: int) -> list[Any]:
    """What is like an item: with another part, with one more, with one less."""
    if isinstance(item, list):
        at = place % (len(item) + 1)
        inner = [[*item[:at], one, *item[at + 1 :]] for one in changed(item[at], odd, place // 7)] if at < len(item) else []
        return [*inner, [*item[:at], odd, *item[at + 1 :]], [*item, odd], item[:at]]
    if isinstance(item, str):
        at, more = place % (len(item) + 1), odd if isinstance(odd, str) else str(odd)
        return [item[:at] + more + item[at:], item[:at] + more[:1] + item[at + 1 :], item.upper(), item[:at], odd]
    return [odd]


# Made once: to make one takes hypothesis longer than to draw from it.
KINDS, ODDS, FEW, PLACES = st.sampled_from(KNOWN), st.sampled_from(ODD), st.integers(0, 2), st.integers(0, 200)


@st.composite
def columns(draw: st.DrawFn, way: str) -> tuple[Codec[Any], list[Any]]:
    tp = parse_type(draw(KINDS))
    said = WAYS[way][0]
    items = [said(tp, data) for data in draw(some_of(tp, 4))]
    for _ in range(draw(FEW)):
        at = draw(st.integers(0, len(items) - 1))
        odd = draw(ODDS)
        others = [one for one in changed(items[at], odd, draw(PLACES)) if fits_way(way, one)]
        items[at] = draw(st.sampled_from(others)) if others else items[at]
    return tp, items


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=examples(400), deadline=None)
@given(data=st.data())
def test_columns_of_any_type_are_the_values_of_each(way, data):
    tp, items = data.draw(columns(way))
    agree(tp, WAYS[way][1], items)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", KNOWN)
def test_odd_values_are_never_others_in_columns(name, way):
    """Each alone, and each beside a sound one."""
    tp, (said, back) = parse_type(name), WAYS[way]
    sound = said(tp, min((found for found in SOUND if value_or_none(tp, found)), key=len))
    parts = 2 + name.count(",") if name.startswith("tuple") else 0
    rows = [list(row) for row in itertools.islice(itertools.product(ODD[::3], repeat=parts), 0, 4000, 7)] if 0 < parts < 3 else []
    for odd in [*ODD, *rows]:
        item = json_text(to_json(odd)) if way in ("csv", "sqlite") and isinstance(odd, (list, dict, tuple)) else odd
        for items in ([item], [sound, item], [item, sound]):
            if fits_way(way, item):
                agree(tp, back, items)


SOUND = [
    parse_type("tuple<u8, option<string>, f64>").encode((1, None, 1.5)),
    parse_type("tuple<option<u8>, unit>").encode((1, None)),
    b"",
    *(bytes(size) for size in range(1, 40)),
    *(bytes(size) + b"\1" for size in range(40)),
    b"\1\1\1\1",
]


def value_or_none(tp: Codec[Any], data: bytes) -> bool:
    try:
        return tp.encode(tp.decode(data)) == data
    except NO_VALUE:
        return False


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", KNOWN)
def test_what_dump_writes_is_taken_in_columns(name, way):
    tp, (said, back) = parse_type(name), WAYS[way]
    sound = [data for data in SOUND if value_or_none(tp, data)]
    items = [said(tp, data) for data in sound]
    if way == "csv" and "option<string>" in name:  # the empty text has quotes, which are read one by one
        items = [item for item in items if item[:1] != '"']
    items = [item for item in items if not str(item).startswith("encoded:")]
    assert items
    assert agree(tp, back, items)


@pytest.mark.parametrize("name", ["cbor", "datetime", "tuple<date, Decimal, u8>", "option<UUID>", "tuple<string, cbor, string>"])
def test_other_types_are_not_known(name):
    assert not is_known(parse_type(name))


def of_text(text: str) -> bytes | None:
    try:
        return Principal.from_text(text).bytes
    except InvalidPrincipal:
        return None


@settings(max_examples=examples(300))
@given(
    st.binary(max_size=29), st.integers(0, 70), st.sampled_from([*"-aq27A Z1=\u212a\xe9\0", "", "aa", "--"]), st.sampled_from(PRINCIPALS)
)
@example(b"", 7, "b", TEXT)
def test_a_changed_principal_is_one_or_none(raw, place, letter, other):
    text = Principal(raw).to_text()
    for one in (text, text[:place] + letter + text[place + 1 :], text[:place] + letter + text[place:], text[:place], other):
        found = principals_of(Encoded.of([text.encode(), one.encode()]))
        assert found is None or found.pieces() == [raw, of_text(one)]
        assert found is not None or one not in (text, of_text(one) and Principal(of_text(one) or b"").to_text())


def test_every_neighbour_of_a_principal_is_refused_as_alone():
    letters = "abcdefghijklmnopqrstuvwxyz234567-ABZ018 ="
    for text in ("aaaaa-aa", "2vxsx-fae", "em77e-bvlzu-aq", TEXT):
        for place, letter in itertools.product(range(len(text)), letters):
            one = text[:place] + letter + text[place + 1 :]
            found = principals_of(Encoded.of([one.encode()]))
            assert (found.pieces() if found is not None else None) == ([of_text(one)] if one == text else None)


def test_principals_of_each_length_and_of_many_batches_come_back():
    raws = [bytes([size, 255 - number % 256] * 15)[:size] for number in range(700) for size in range(30)]
    raws += [b"\1" * 10] * 40_000
    texts = {raw: Principal(raw).to_text().encode() for raw in set(raws)}
    found = principals_of(Encoded.of([texts[raw] for raw in raws]))
    assert found is not None
    assert found.pieces() == raws
    assert principals_of(Encoded.of([b"x" * 63, b"x" * 64])) is None
    empty = principals_of(Encoded.of([]))
    assert empty is not None
    assert empty.count == 0


RAW = [
    {"raw": True},
    {"raw": False},
    {"raw": 1},
    {"raw": None},
    {"raw": [1]},
    {"value_bytes": b"a"},
    {"value_bytes": b""},
    {"value_bytes": "0x61"},
    {"value_bytes": ""},
    {"key_bytes": b"k", "value_bytes": None},
    {"value": b"x"},
    {"index": b"x"},
    {1: b"x"},
    {},
]


@pytest.mark.parametrize(("structure", "value"), [("map", b"v"), ("map", "v"), ("map", None), ("set", None), ("vec", b"v")])
@pytest.mark.parametrize("first", [None, *RAW], ids=repr)
def test_what_stands_behind_a_pair_is_read_as_row_by_row(first, structure, value, quick_path, monkeypatch):
    path = quick_path / "dump.cbor"
    for second in (None, *RAW):
        rows = [[b"k", value] if more is None else [b"k%d" % number, value, more] for number, more in enumerate((first, second))]
        path.write_bytes(b"".join(map(cbor2.dumps, rows)))
        for tp in ("blob<3>", "option<blob<3>>")[: 2 if structure == "map" else 1]:
            is_as_row_by_row(path, monkeypatch, structure=structure, key=parse_type("bytes"), value=parse_type(tp))


def test_bytes_behind_pairs_are_taken_in_columns():
    for more in ({"value_bytes": b""}, {"raw": True}, {"raw": False}, {"key_bytes": b"k"}, {}):
        assert loading._cbor_columns([[b"k", None, more], [b"l", None, more]]) is not None
    assert loading._cbor_columns([[b"k", None, {"value_bytes": b""}], [b"l", None]]) is not None


pa = pytest.importorskip("pyarrow", reason="an extra; the test extra brings it")
pq = pytest.importorskip("pyarrow.parquet", reason="an extra; the test extra brings it")


def parquet(path: Path, column: Any) -> Path:
    pq.write_table(pa.table({"key": pa.array(range(len(column)), pa.uint64()), "value": column}), path)
    return path


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string()], ids=str)
@pytest.mark.parametrize("text", [*PRINCIPALS, None], ids=repr)
@pytest.mark.parametrize("name", ["principal", "option<principal>"])
def test_principals_of_parquet_are_read_as_row_by_row(name, text, type_, quick_path, monkeypatch):
    column = pa.array(["2vxsx-fae", text, TEXT], type_)
    is_as_row_by_row(parquet(quick_path / "a.parquet", column), monkeypatch, key=codec(u64), value=parse_type(name))


@pytest.mark.parametrize("data", [b"", b"\4", bytes(29), bytes(30), None], ids=repr)
@pytest.mark.parametrize("name", ["principal", "option<principal>", "reverse<principal>"])
def test_principals_as_bytes_of_parquet_are_read_as_row_by_row(name, data, quick_path, monkeypatch):
    column = pa.array([b"\4", data, bytes(3)], pa.binary())
    is_as_row_by_row(parquet(quick_path / "a.parquet", column), monkeypatch, key=codec(u64), value=parse_type(name))


@pytest.mark.parametrize("name", ["bytes", "blob<3>", "array<3>", "array<0>", "option<blob<3>>"])
@pytest.mark.parametrize("last", [b"", b"ab", b"abc", b"abcd", None], ids=repr)
def test_bytes_of_parquet_are_read_as_row_by_row(name, last, quick_path, monkeypatch):
    for first in (b"", b"abc"):
        column = pa.array([first, last], pa.binary())
        is_as_row_by_row(parquet(quick_path / "a.parquet", column), monkeypatch, key=codec(u64), value=parse_type(name))


ROWS: dict[str, Any] = {
    "sound": ("2vxsx-fae", 1),
    "upper case": ("2VXSX-FAE", 1),
    "no principal": ("2vxsx-faf", 1),
    "a null": (None, 1),
    "another null": ("2vxsx-fae", None),
    "all null": None,
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("second", ["u64", "u8", "option<u64>"])
def test_rows_of_parquet_are_read_as_row_by_row(row, second, quick_path, monkeypatch):
    type_ = pa.struct([("f0", pa.string()), ("f1", pa.uint8() if second == "u8" else pa.uint64())])
    rows = [ROWS["sound"], ROWS[row], (TEXT, 7)]
    column = pa.array([None if one is None else {"f0": one[0], "f1": one[1]} for one in rows], type_)
    path = parquet(quick_path / "a.parquet", column)
    is_as_row_by_row(path, monkeypatch, key=codec(u64), value=parse_type(f"tuple<principal, {second}>"))


@pytest.mark.parametrize("name", ["string", "option<string>", "principal", "tuple<string, u8, u8>"])
def test_a_text_of_parquet_that_is_no_utf8_is_refused(name, quick_path):
    texts = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(struct.pack("<3i", 0, 1, 2)), pa.py_buffer(b"a\xff")])
    if name.startswith("tuple"):
        texts = pa.StructArray.from_arrays([texts, *[pa.array([1, 2], pa.uint8())] * 2], ["f0", "f1", "f2"])
    path = parquet(quick_path / "a.parquet", texts)
    with pytest.raises(Unreadable, match="entries 1 to 2: a value cannot be read: 'utf-8' codec"):
        load(path, quick_path / "out.bin", key=codec(u64), value=parse_type(name))
    assert not (quick_path / "out.bin").exists()
