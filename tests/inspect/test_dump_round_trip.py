"""`dump`, then `load`: every key and value of every type comes back byte for byte, in every format and structure, or is refused."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import struct
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stable_structures import (
    MemoryManager,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    codec,
    u64,
)
from stable_structures.encodings.json_form import to_json
from stable_structures.errors import IncompatibleType
from stable_structures.inspect import Unreadable, open_image
from stable_structures.inspect.dump import table, write
from stable_structures.inspect.encoding import Encoded
from stable_structures.inspect.formats.layout import Damage
from stable_structures.inspect.rewrite.rewrite import load
from stable_structures.inspect.values import from_json, from_text
from stable_structures.inspect.writing import OUTPUTS
from stable_structures.storable import Codec, OptionCodec, Record, ReverseCodec, Tuple2Codec, Tuple3Codec, parse_type
from stable_structures.storable.cbor import CborCodec
from stable_structures.storable.moments import DateCodec, DatetimeCodec, DecimalCodec, UuidCodec
from stable_structures.storable.octets import PrincipalCodec, StrCodec
from stable_structures.storable.scalars import BoolCodec, FloatCodec, IntCodec, UnitCodec

from ..support.any_type import TYPES
from ..support.examples import examples

pytestmark = pytest.mark.usefixtures("without_fsync")

parquet = pytest.importorskip("pyarrow.parquet", reason="an extra; the test extra brings it")

TEXTS = [
    *("", " ", "x", "[1]", "{}", '{"a": 1}', "null", "true", "1", "-5", "1e5", "NaN", "0x61", "0x", "0xzz", '"', '"a"', '""', "'", "'x"),
    *("=1", "+1", "-a", "@a", "\t1", "\r", "\r1", "a\rb", "a\nb", "\r\n", "\n", ",", "a,b", 'a"b', "'=1", "''=1", "'@", "'\t", "'\r"),
    *("encoded:", "encoded:0x", "encoded:0x61", "encoded:0x6", "'encoded:0x61", "\ufeff", "\x00", "\x1b[2J", "\x9b", "\u202e", "\u2028"),
    *("\x85", "\x0b", "\U0001f600", "Zo\u00eb", "key", "value_bytes"),
]
CBOR = [
    *(b"\x00", b"\x18\x00", b"\xf6", b"\xf7", b"\xe0", b"\xf8\xff", b"\xf4", b"\x40", b"\x41a", b"\x60", b"\x80", b"\x9f\xff", b"\xa0"),
    *(bytes.fromhex("f97e00"), bytes.fromhex("fb7ff8000000000001"), bytes.fromhex("fa7fc00000"), bytes.fromhex("f98000")),
    *(bytes.fromhex("c249010000000000000000"), bytes.fromhex("c349010000000000000000"), bytes.fromhex("c100")),
    *(bytes.fromhex("a10102"), bytes.fromhex("a1410102"), bytes.fromhex("a2616101616102"), bytes.fromhex("d9010280"), b"\xd9\x03\xe7\x01"),
    *(bytes.fromhex("d82076687474703a2f2f7777772e6578616d706c652e636f6d"), b"\x81\x41\x00", b"\x82\x01\xf9\x7e\x00"),
    *(cbor2.dumps(text) for text in TEXTS),
]


@cache
def texts() -> st.SearchStrategy[str]:
    return st.sampled_from(TEXTS) | st.text(max_size=8) | st.builds("".join, st.lists(st.sampled_from(TEXTS), max_size=3))


@cache
def cbor() -> st.SearchStrategy[bytes]:
    leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts() | st.binary(max_size=4)
    keys = texts() | st.integers(0, 9) | st.binary(max_size=2)
    values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6)
    return st.sampled_from(CBOR) | st.builds(lambda value, canonical: cbor2.dumps(value, canonical=canonical), values, st.booleans())


@cache
def encodings(codec: Codec[Any]) -> st.SearchStrategy[bytes]:  # noqa: PLR0911 - one for each kind of type
    """Bytes that are a value of the type, among them such as no value of Python's leads back to."""
    if isinstance(codec, OptionCodec):
        some = encodings(codec.part).map(lambda data: data + b"\1")
        return some if codec.bound.is_fixed_size else some | st.just(b"\0")
    if isinstance(codec, (Tuple2Codec, Tuple3Codec)):
        parts = st.tuples(*map(encodings, codec.fields.values()))
        return parts.map(
            lambda datas: codec.encode(tuple(part.decode(one) for part, one in zip(codec.fields.values(), datas, strict=True)))
        )
    if isinstance(codec, MOMENTS):
        return MOMENTS_OF[type(codec)].map(codec.encode)
    if isinstance(codec, IntCodec):
        return (st.integers(codec.minimum, codec.maximum) | st.sampled_from([codec.minimum, codec.maximum])).map(codec.encode)
    special = {StrCodec: texts().map(str.encode), CborCodec: cbor(), BoolCodec: st.sampled_from([b"\0", b"\1"]), UnitCodec: st.just(b"")}
    if isinstance(codec, ReverseCodec):
        special[ReverseCodec] = encodings(codec.part)
    if type(codec) in special:
        return special[type(codec)]
    if isinstance(codec, Record):
        return st.tuples(st.integers(0, 9), st.binary(max_size=3).map(lambda text: text.rstrip(b"\0")), st.floats(width=32)).map(
            codec.encode
        )
    most = codec.bound.max_size
    assert isinstance(codec, (FloatCodec, PrincipalCodec)) or codec.as_is or "lob" in codec.name or "Array" in codec.name
    return st.binary(min_size=most if codec.bound.is_fixed_size else 0, max_size=8 if most is None else most)


MOMENTS_OF: dict[type, st.SearchStrategy[Any]] = {
    DatetimeCodec: st.datetimes(timezones=st.just(UTC))
    | st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)]),
    DateCodec: st.dates(),
    UuidCodec: st.uuids(),
    DecimalCodec: st.decimals(allow_nan=False)
    | st.sampled_from(
        list(map(Decimal, ("0", "-0.0", "1E+20", "1E-7", "-1.50", "1E+99999", "-1E-99999", "Infinity", "-Infinity", "9" * 60)))
    ),
}
MOMENTS = tuple(MOMENTS_OF)
OF_MOMENTS = ["datetime", "date", "UUID", "Decimal"]
INTEGERS = [f"{sign}{bits}" for sign in "ui" for bits in (8, 16, 32, 64, 128)]
KEYS = [*INTEGERS, "bool", "string", "bytes", "blob<5>", "array<3>", "principal", "reverse<i16>", "option<string>", "tuple<u8, blob<3>>"]
KEYS += [*OF_MOMENTS, "reverse<date>", "tuple<datetime, UUID>"]
FIXED = [
    *INTEGERS,
    "f32",
    "f64",
    "bool",
    "blob<5>",
    "array<3>",
    "principal",
    "option<blob<2>>",
    "tuple<i8, bool>",
    "tuple<u8, blob<3>, f32>",
    *("datetime", "date", "UUID", "option<date>"),
]
VALUES = [
    *dict.fromkeys([*KEYS, *FIXED]),
    *(
        "unit",
        "cbor",
        "option<cbor>",
        "option<option<string>>",
        "option<unit>",
        "option<bytes>",
        "option<option<blob<3>>>",
        "option<principal>",
    ),
    *("option<datetime>", "option<Decimal>", "tuple<date, Decimal, u8>", "tuple<u8, UUID, option<date>>", "option<option<UUID>>"),
    *("option<tuple<option<blob<2>>, u8>>", "tuple<string, cbor, string>", "tuple<u8, option<string>, f64>", "reverse<option<string>>"),
    "reverse<tuple<u8, bool, reverse<i16>>>",
    "Record([('a', '<u4'), ('b', 'S3'), ('c', '<f4')])",
]


@cache
def some_of(codec: Codec[Any], most: int) -> st.SearchStrategy[list[bytes]]:
    """Made once: to make it takes hypothesis longer than to draw from it."""
    return st.lists(encodings(codec), min_size=1, max_size=most)


def entries_of(what: Any, memory: int | None) -> list[tuple[Any, bytes]]:
    return list(table(open_image(what).part(memory), raw=True).rows)


def dumped(memory: StableMemory, number: int | None, form: str, types: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    raw = options.pop("raw", False)
    write(table(open_image(memory).part(number), types, raw=raw), form, out, **options)
    return out.getvalue()


def dumped_or_refused(memory: StableMemory, number: int | None, form: str, types: Any, **options: Any) -> bytes | None:
    """None for Parquet of a signalling NaN: its floats of 4 bytes come from Python's, which have none."""
    try:
        return dumped(memory, number, form, types, **options)
    except Unreadable as refusal:
        if form != "parquet" or "f32, or encoded in another way" not in str(refusal):
            raise
        return None


def comes_back(structure: str, memory: StableMemory, types: tuple[Any, Any], dump: Path, each: list[dict[str, Any]]) -> None:
    """Dumps in each way, loads and compares the encodings. The format is the end of the name `dump`."""
    number = 3 if structure == "log" else None
    entries = entries_of(memory, number)
    for way in each:
        written = dumped_or_refused(memory, number, dump.suffix[1:], {number: types}, **way)
        if written is not None:
            dump.write_bytes(written)
            assert loaded(structure, types, number, dump) == entries


def loaded(structure: str, types: tuple[Any, Any], number: int | None, dump: Path) -> list[tuple[Any, bytes]]:
    """The entries of the image that is made of a dump."""
    out, (key, value) = dump.with_name("out.bin"), types
    out.unlink(missing_ok=True)
    load(dump, out, structure=structure, key=key, value=value, memory=number, bucket_pages=1)
    return entries_of(out, number)


def made(structure: str, codec: Codec[Any], datas: list[bytes]) -> StableMemory:
    memory, encoded = StableMemory(), Encoded(codec)
    if structure == "cell":
        StableCell[encoded](memory, datas[0])
    elif structure == "set":
        kept = StableBTreeSet[encoded](memory)
        for data in datas:
            kept.insert(data)
    elif structure == "log":
        manager = MemoryManager(memory, bucket_pages=1)
        StableLog[encoded](manager.get(3), manager.get(4)).extend(datas)
    else:
        row: Any = {"vec": StableVec, "heap": StableMinHeap}[structure][encoded](memory)
        for data in datas:
            row.push(data)
    return memory


def tries(in_ci: int) -> settings:
    """All examples of a test write to the same folder."""
    return settings(max_examples=examples(in_ci), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


WAYS: list[dict[str, Any]] = [{}, {"raw": True}]
CSV_WAYS: list[dict[str, Any]] = [*WAYS, {"safe_csv": True}, {"plain": True}]


def ways(form: str) -> list[dict[str, Any]]:
    return CSV_WAYS if form == "csv" else WAYS


@pytest.mark.parametrize("form", OUTPUTS)
@tries(25)
@given(data=st.data())
def test_a_map_comes_back(form, quick_path, data):
    key, value = parse_type(data.draw(st.sampled_from(KEYS))), parse_type(data.draw(st.sampled_from(VALUES)))
    memory = StableMemory()
    users = StableBTreeMap[Encoded(key), Encoded(value)](memory)
    users.update(data.draw(st.dictionaries(encodings(key), encodings(value), max_size=6)))
    comes_back("map", memory, (key, value), quick_path / f"dump.{form}", ways(form))


@pytest.mark.parametrize("form", OUTPUTS)
@pytest.mark.parametrize("structure", ["set", "vec", "heap", "log", "cell"])
@tries(8)
@given(data=st.data())
def test_every_other_structure_comes_back(structure, form, quick_path, data):
    names = {"set": KEYS, "vec": FIXED, "heap": [*KEYS[:10], "f64", "blob<5>"], "log": VALUES, "cell": VALUES}[structure]
    codec = parse_type(data.draw(st.sampled_from([name for name in names if structure != "heap" or name not in ("string", "bytes")])))
    memory = made(structure, codec, data.draw(some_of(codec, 6)))
    told = (codec, None) if structure == "set" else (None, codec)
    comes_back(structure, memory, told, quick_path / f"dump.{form}", ways(form))


@pytest.mark.parametrize("form", OUTPUTS)
@pytest.mark.parametrize("name", VALUES)
@tries(8)
@given(data=st.data())
def test_every_type_comes_back(name, form, quick_path, data):
    codec = parse_type(name)
    memory = made("log", codec, data.draw(some_of(codec, 8)))
    comes_back("log", memory, (None, codec), quick_path / f"dump.{form}", ways(form))


@pytest.mark.parametrize("form", OUTPUTS)
@pytest.mark.parametrize("key", ["plain", "text"])
@pytest.mark.parametrize("value", ["plain", "text", "number", "nothing"])
def test_a_dump_of_guesses_comes_back(key, value, form, quick_path, seed):
    """Also where only one side has a guess: the other has nothing but its bytes."""
    order = random.Random(f"{seed}{key}{value}{form}")
    draw = {
        "plain": lambda: order.randbytes(9) + b"\xff\xfe",
        "text": lambda: b"user %d" % order.randrange(10 ** order.randrange(9)),
        "number": lambda: order.randrange(10**6).to_bytes(8, "big"),
        "nothing": bytes,
    }
    memory = StableMemory()
    StableBTreeMap[bytes, bytes](memory).update({draw[key](): draw[value]() for _ in range(60)})
    comes_back("map", memory, (None, None), quick_path / f"dump.{form}", [{}])


@pytest.mark.parametrize("form", OUTPUTS)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@tries(12)
@given(data=st.data())
def test_any_nested_type_comes_back_or_is_refused_with_a_sentence(form, quick_path, data):
    tp, values = data.draw(TYPES)
    given_type, memory, back = codec(tp), StableMemory(), quick_path / "back.bin"
    StableBTreeMap[u64, given_type](memory).update(enumerate(data.draw(st.lists(values, max_size=6))))
    with (quick_path / "dump").open("wb") as out:
        try:
            write(table(open_image(memory).part(None), {None: (codec(u64), given_type)}), form, out)
        except Unreadable as error:  # moments that Python and Parquet do not have
            assert form == "parquet"
            assert "give another type, --raw, or --format jsonl" in str(error)  # noqa: PT017 - the sentence
            return
    back.unlink(missing_ok=True)
    load(quick_path / "dump", back, form=form, key=codec(u64), value=given_type)
    with open_image(memory) as before, open_image(back) as after:
        assert list(table(before.part(None), raw=True).rows) == list(table(after.part(None), raw=True).rows)


@pytest.mark.parametrize("name", [*OF_MOMENTS, "reverse<Decimal>", "option<Decimal>", "option<date>"])
@settings(max_examples=examples(20))
@given(data=st.data())
def test_a_key_is_given_as_a_dump_shows_it(name, data):
    codec = parse_type(name)
    value = codec.decode(data.draw(encodings(codec)))
    assert from_text(codec, "null" if value is None else str(to_json(value))) == value


def test_a_number_without_a_point_is_a_decimal_too():
    assert from_json(parse_type("Decimal"), 5) == Decimal(5)
    assert from_text(parse_type("Decimal"), "5") == Decimal(5)
    with pytest.raises(IncompatibleType):
        parse_type("Decimal").encode(from_json(parse_type("Decimal"), 5.5))


# ---- what is in the files ----


def row_of(name: str, *datas: bytes, structure: str = "log") -> StableMemory:
    return made(structure, parse_type(name), list(datas))


def cells(name: str, *datas: bytes, **options: Any) -> list[str]:
    """The second column of a CSV dump, as every reader of CSV reads it."""
    text = dumped(row_of(name, *datas), 3, "csv", {3: (None, parse_type(name))}, **options).decode()
    return [row[1] for row in csv.reader(io.StringIO(text, newline=""), strict=True)][1:]


def test_texts_in_csv_are_what_they_are():
    texts = ["[1]", "", "a\rb", "0x61", "x" * 100_000, '"q"', "=1", "\ufeff"]
    assert cells("string", *map(str.encode, texts)) == texts


def test_an_empty_text_and_none_are_told_apart():
    assert cells("option<string>", b"\1", b"\0", b"x\1", b'"\1') == ['""', "", "x", '"\\""']


def test_safe_csv_marks_formulas_and_leaves_numbers_alone():
    texts = ["=1+1", "+1", "-x", "@x", "\tx", "\rx", "x", "'=1", "'x"]
    assert cells("string", *map(str.encode, texts), safe_csv=True) == ["'=1+1", "'+1", "'-x", "'@x", "'\tx", "'\rx", "x", "''=1", "'x"]
    assert cells("i16", parse_type("i16").encode(-5), safe_csv=True) == ["-5"]


def test_what_a_terminal_obeys_is_written_as_bytes_on_one():
    assert cells("string", b"\x1b[2J", "\x9b1m".encode(), b"fine", plain=True) == ["encoded:0x1b5b324a", "encoded:0xc29b316d", "fine"]


@pytest.mark.parametrize("name", ["string", "cbor"])
def test_json_lines_escape_what_a_terminal_obeys(name):
    text = "\x9b31m\u202e\u2066\x7f\x00\u2028\u200b\ufeff\U000e0001"
    data = text.encode() if name == "string" else cbor2.dumps({text: text})
    line = dumped(row_of(name, data), 3, "jsonl", {3: (None, parse_type(name))}).decode()
    assert line.rstrip("\n").isprintable()
    value = json.loads(line)["value"]
    assert value == (text if name == "string" else {text: text})


def test_a_guess_has_its_bytes_beside_it_in_every_format(tmp_path):
    memory = StableMemory()
    StableBTreeMap[str, str](memory).update({"a": '{"a":  1}', "b": "[]"})
    told = {None: (parse_type("string"), parse_type("string"))}
    for form in OUTPUTS:
        (tmp_path / f"d.{form}").write_bytes(dumped(memory, None, form, None))
        load(tmp_path / f"d.{form}", tmp_path / f"{form}.bin", key=told[None][0], value=told[None][1])
        assert entries_of(tmp_path / f"{form}.bin", None) == entries_of(memory, None)


def parquet_of(name: str, *datas: bytes) -> Any:
    return parquet.read_table(io.BytesIO(dumped(row_of(name, *datas), 3, "parquet", {3: (None, parse_type(name))})))


@pytest.mark.parametrize("name", ["u64", "u128", "i128", "i64"])
def test_parquet_takes_the_type_of_a_column_from_the_type_not_from_the_first_rows(name):
    codec = parse_type(name)
    found = parquet_of(name, *[codec.encode(1)] * 5000, codec.encode(codec.maximum), codec.encode(codec.minimum))
    assert str(found.schema.field("value").type) == {"u64": "uint64", "i64": "int64"}.get(name, "string")
    assert [int(value) for value in found["value"].to_pylist()[-2:]] == [codec.maximum, codec.minimum]


def test_parquet_of_floats_keeps_their_bits():
    datas = [
        struct.pack(">d", 1.5),
        bytes.fromhex("7ff8000000000123"),
        bytes.fromhex("fff0000000000000"),
        bytes.fromhex("8000000000000000"),
    ]
    found = parquet_of("f64", *datas)["value"].to_numpy()
    assert found.astype(">f8").tobytes() == b"".join(datas)
    assert math.copysign(1, found[3]) == -1


# ---- what is refused, with its place ----


REFUSED = {
    "latin1.csv": (b"key,value\n1,a\n2,\xe9\n", "line 3: no UTF-8"),
    "utf16.csv": ("key,value\n1,a\n".encode("utf-16"), "line 1: no UTF-8.*UTF-16"),
    "latin1.jsonl": (b'{"key": 1, "value": "a"}\n{"key": 2, "value": "\xe9"}\n', "line 2: no UTF-8"),
    "utf16.jsonl": ('{"key": 1, "value": "a"}\n'.encode("utf-16"), "line 1: no UTF-8"),
    "lone.csv": (b"key,value\n1,a\rb\n", "line 2: no CSV: a carriage return"),
    "mac.csv": (b"key,value\r1,a\r", "line 1: no CSV: a carriage return"),
    "comma.csv": (b"key,value\n1,a\n2,b,c\n", "line 3: 3 fields"),
    "short.csv": (b"key,value\n1\n", "line 2: 1 fields"),
    "twice.csv": (b"key,value,value\n1,a,b\n", "line 1: the header names a column twice"),
    "quotes.csv": (b'key,value\n1,"a"b\n', "line 2: no CSV"),
    "open.csv": (b'key,value\n1,a\n2,"b\nc\n', "no CSV"),
    "type.csv": (b'key,value\n1,a\n"2\n",b\nx,c\n', "line 5: "),
    "header.csv": (b"a,b\n1,2\n", "line 2: there is no 'key'"),
    "deep.jsonl": (b'{"key": 1, "value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "line 1: no JSON"),
    "huge.jsonl": (b'{"key": ' + b"9" * 10_000 + b', "value": "a"}\n', "line 1: no JSON"),
    "list.jsonl": (b'{"key": [1], "value": "a"}\n', "line 1: "),
    "bytes.jsonl": (b'{"key": 1, "value_bytes": 5}\n', "line 1: "),
    "nomatch.jsonl": (b'{"key": 1, "value_bytes": "0xff"}\n', "line 1: str"),
    "shared.cbor": (b"\x82\x01" + bytes.fromhex("d81c81d81d00"), "item 1: no array"),
    "short.cbor": (b"\x82\x01\x61a\x82\x01", "item 2: no array"),
    "number.cbor": (b"\x01", "item 1: no array"),
    "not.parquet": (b"PAR1 not at all", "cannot be read as Parquet"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_dump_is_refused_with_its_line(name, tmp_path):
    data, words = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Unreadable, match=words) as refusal:
        load(tmp_path / name, tmp_path / "out.bin", key=parse_type("u64"), value=parse_type("string"))
    assert name in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfkey,value\r\n1,a\r\n", b"key,value\n\n1,a\n", b'"key","value"\n"1","a"'])
def test_csv_as_others_write_it_is_read(content, tmp_path):
    (tmp_path / "d.csv").write_bytes(content)
    assert load(tmp_path / "d.csv", tmp_path / "out.bin", key=parse_type("u64"), value=parse_type("string")) == 1
    assert entries_of(tmp_path / "out.bin", None) == [((1).to_bytes(8, "big"), b"a")]


def test_a_field_may_be_long_and_the_limit_of_the_csv_module_stays(tmp_path):
    before = csv.field_size_limit()
    (tmp_path / "d.csv").write_text("key,value\n1," + "x" * 500_000 + "\n")
    load(tmp_path / "d.csv", tmp_path / "out.bin", key=parse_type("u64"), value=parse_type("string"))
    assert len(entries_of(tmp_path / "out.bin", None)[0][1]) == 500_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("count", [0, 2])
def test_a_cell_has_one_value(count, tmp_path):
    (tmp_path / "d.jsonl").write_text('{"value": 1}\n' * count)
    with pytest.raises(Unreadable, match="a cell has one value"):
        load(tmp_path / "d.jsonl", tmp_path / "out.bin", structure="cell", value=parse_type("u8"))


def test_parquet_says_which_entry_is_no_value_of_the_type():
    with pytest.raises(Damage, match=r"what is stored is encoded as u16"):
        dumped(row_of("bytes", b"\0\1", b"x"), 3, "parquet", {3: (None, parse_type("u16"))})


def test_a_record_of_numpy_comes_back():
    codec = Record([("a", "<u4"), ("b", "<f8")])
    data = codec.encode((1, 2.5))
    line = json.loads(dumped(made("log", codec, [data]), 3, "jsonl", {3: (None, codec)}))
    assert line == {"index": 0, "value": [1, 2.5]}
    assert np.frombuffer(data, codec.dtype)["b"] == 2.5
