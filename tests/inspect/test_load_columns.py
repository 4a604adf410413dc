"""`load` reads dumps in columns: the same bytes as row by row, and the same words, wherever the batches end."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stable_structures import MemoryManager, StableBTreeMap, StableBTreeSet, StableLog, StableMemory, StableMinHeap, StableVec, codec, u64
from stable_structures.inspect import Unreadable, load, open_image, parquet
from stable_structures.inspect.dump import table, write
from stable_structures.inspect.rewrite import loading, rewrite
from stable_structures.inspect.writing import OUTPUTS
from stable_structures.storable import parse_type

from ..support.examples import examples

pytestmark = pytest.mark.usefixtures("without_fsync")

pa = pytest.importorskip("pyarrow", reason="an extra; the test extra brings it")
pq = pytest.importorskip("pyarrow.parquet", reason="an extra; the test extra brings it")

TYPES = [
    *("u8", "i16", "u64", "i64", "u128", "f32", "f64", "bool"),
    *("string", "option<string>", "bytes", "blob<3>", "cbor", "tuple<u8, u16>"),
]
CELLS = [
    *("", "0", "1", "-1", "7", "300", "1_0", " 2", "0x61", "1e300", "nan", "inf", "true", "[1]", '[1, "x"]', '"'),
    *("'", "'=1", "'-5", "''=x", "don't", "a,b", "a\nb", 'q"q', "encoded:0x61", "encoded:0x", "x\r\ny", "\x00'", "\xe9"),
    *("18446744073709551615", "9223372036854775808"),
]
ITEMS: list[Any] = [*CELLS, 0, 1, -1, 300, 2**63, 2**64, 2**130, 1.5, 1e300, float("nan"), True, None, [1, "x"], {"a": 1}]


def outcome(path: Path, out: Path, **options: Any) -> Any:
    """The bytes, or what is said."""
    out.unlink(missing_ok=True)
    try:
        count = rewrite.load(path, out, **options)
    except Unreadable as error:
        assert not out.exists()
        return str(error)
    return count, out.read_bytes()


def is_as_row_by_row(path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    out = path.with_name("out.bin")
    found = outcome(path, out, **options)
    with monkeypatch.context() as patch:
        patch.setattr(rewrite._Filler, "add_many", lambda *_: None)
        patch.setattr(loading, "_BLOCK", 1 << 30)
        assert outcome(path, out, **options) == found
    return found


def quoted(text: str, always: bool) -> str:
    plain = not always and not set(text) & set('",\r\n')
    return text if plain else f'"{text.replace(chr(34), chr(34) * 2)}"'


def csv_text(rows: list[tuple[str, str, bool]], noise: list[tuple[int, str]]) -> str:
    lines = [f"{quoted(key, always)},{quoted(value, always)}\n" for key, value, always in rows]
    for place, line in noise:
        lines.insert(place % (len(lines) + 1), line)
    return "key,value\n" + "".join(lines)


NOISE = ["\n", "1\n", "1,2,3\n", 'a"b,c\n', '"a"b,c\n', "\r,x\n", '"open,1\n']


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from([*TYPES[:5], "string", "bytes"]),
    value=st.sampled_from(TYPES),
    rows=st.lists(st.tuples(st.sampled_from(CELLS), st.sampled_from(CELLS), st.booleans()), max_size=12),
    noise=st.lists(st.tuples(st.integers(0, 20), st.sampled_from(NOISE)), max_size=2),
    block=st.integers(1, 60),
)
@example(key="u64", value="string", rows=[("1", "a\nb\nc", False), ("x", "", False)], noise=[], block=1)
@example(key="u64", value="f32", rows=[("1", "1e300", False)], noise=[], block=60)
@example(key="u64", value="string", rows=[("1", "\x00'", False), ("2", "'=1", False)], noise=[], block=60)
def test_csv_is_read_as_row_by_row(key, value, rows, noise, block, quick_path, monkeypatch):  # noqa: PLR0913, PLR0917 - the cases
    path = quick_path / "dump.csv"
    path.write_text(csv_text(rows, noise), newline="")
    monkeypatch.setattr(loading, "_BLOCK", block)
    is_as_row_by_row(path, monkeypatch, key=parse_type(key), value=parse_type(value))


LINES = [
    *("", "  ", "[1]", "{", '{"key": 1}', '{"key": 1, "value": 2} x', '{"key": 1, "value": 2}, {}'),
    *('{"value": "x", "key": "1"}', "\ufeff{}"),
]


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from([*TYPES[:5], "string", "bytes"]),
    value=st.sampled_from(TYPES),
    rows=st.lists(st.tuples(st.sampled_from(ITEMS), st.sampled_from(ITEMS)), max_size=12),
    noise=st.lists(st.tuples(st.integers(0, 20), st.sampled_from(LINES)), max_size=2),
    block=st.integers(1, 100),
)
def test_json_lines_are_read_as_row_by_row(key, value, rows, noise, block, quick_path, monkeypatch):  # noqa: PLR0913, PLR0917 - the cases
    lines = [json.dumps({"key": one, "value": two}) for one, two in rows]
    for place, line in noise:
        lines.insert(place % (len(lines) + 1), line)
    path = quick_path / "dump.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    monkeypatch.setattr(loading, "_BLOCK", block)
    is_as_row_by_row(path, monkeypatch, key=parse_type(key), value=parse_type(value))


ODD: list[Any] = [1, [1], [1, 2, 3], [b"x", b"y", {"raw": True}], [1, 2, {}]]


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.sampled_from(TYPES),
    rows=st.lists(st.sampled_from(ITEMS), max_size=12),
    noise=st.lists(st.tuples(st.integers(0, 20), st.sampled_from(ODD)), max_size=2),
    tail=st.sampled_from([b"", b"\x82", b"\xff"]),
    block=st.integers(1, 60),
)
def test_cbor_is_read_as_row_by_row(value, rows, noise, tail, block, quick_path, monkeypatch):  # noqa: PLR0913, PLR0917 - the cases
    items: list[Any] = [[number, item] for number, item in enumerate(rows)]
    for place, item in noise:
        items.insert(place % (len(items) + 1), item)
    path = quick_path / "dump.cbor"
    path.write_bytes(b"".join(map(cbor2.dumps, items)) + tail)
    monkeypatch.setattr(loading, "_BLOCK", block)
    is_as_row_by_row(path, monkeypatch, key=codec(u64), value=parse_type(value))


COLUMNS: dict[str, Any] = {
    "as dumped": ([1, 2, 3], pa.uint64(), ["a", "b", "c"], pa.string()),
    "signed": ([1, 2, 3], pa.int64(), ["a", "b", "c"], pa.string()),
    "too small": ([1, -2, 3], pa.int64(), ["a", "b", "c"], pa.string()),
    "texts": (["1", "x", "3"], pa.string(), ["a", "b", "c"], pa.string()),
    "nulls": ([1, None, 3], pa.uint64(), ["a", "b", "c"], pa.string()),
    "dictionary": ([1, 2, 3], pa.uint64(), ["a", "b", "a"], pa.dictionary(pa.int32(), pa.string())),
    "twice": ([1, 1, 1], pa.uint64(), ["a", "b", "c"], pa.string()),
}


BESIDE = [None, [None, None, None], [b"x", None, b"y"], [b"x", b"z", b"y"], [b"x", b"\xff", b"y"]]


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("beside", BESIDE)
def test_parquet_is_read_as_row_by_row(name, beside, quick_path, monkeypatch):
    keys, key_type, values, value_type = COLUMNS[name]
    made = {"key": pa.array(keys, key_type), "value": pa.array(values, value_type)}
    if beside is not None:
        made["value_bytes"] = pa.array(beside, pa.binary())
    pq.write_table(pa.table(made), quick_path / "dump.parquet")
    is_as_row_by_row(quick_path / "dump.parquet", monkeypatch, key=codec(u64), value=codec(str))


@pytest.mark.parametrize("form", OUTPUTS)
@pytest.mark.parametrize("structure", ["map", "set", "vec", "heap", "log"])
def test_nothing_is_loaded_one_by_one_where_types_are_given(structure, form, quick_path, monkeypatch):
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    if structure == "map":
        StableBTreeMap[u64, str](manager.get(3)).update({i: f"user {i}" for i in range(3000)})
    elif structure == "log":
        StableLog[u64](manager.get(3), manager.get(4)).extend(range(3000))
    else:
        made: Any = {"set": StableBTreeSet, "vec": StableVec, "heap": StableMinHeap}[structure][u64](manager.get(3))
        for i in range(3000):
            made.insert(i) if structure == "set" else made.push(i)
    types = (
        (codec(u64), parse_type("unit")) if structure == "set" else (codec(u64), codec(str)) if structure == "map" else (None, codec(u64))
    )
    with (quick_path / f"dump.{form}").open("wb") as out, open_image(memory) as image:
        write(table(image.part(3), {3: types}), form, out)
    monkeypatch.setattr(rewrite._Filler, "add", lambda *_: pytest.fail("one by one"))
    done = rewrite.load(
        quick_path / f"dump.{form}", quick_path / "out.bin", structure=structure, key=types[0], value=types[1], memory=3, bucket_pages=1
    )
    assert done == 3000
    assert (quick_path / "out.bin").read_bytes() == memory.read(0, memory.nbytes)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_the_line_is_said_however_far_it_is_in_the_file(form, quick_path):
    lines = [f"{i},text {i}" if form == "csv" else json.dumps({"key": i, "value": f"text {i}"}) for i in range(50_000)]
    lines[43_210] = "x,y" if form == "csv" else '{"key": "x", "value": "y"}'
    head = ["key,value"] if form == "csv" else []
    path = quick_path / f"dump.{form}"
    path.write_text("\n".join(head + lines))
    with pytest.raises(Unreadable, match=f"line {43_211 + len(head)}: "):
        rewrite.load(path, quick_path / "out.bin", key=codec(u64), value=codec(str))
    assert not (quick_path / "out.bin").exists()


def test_a_large_row_group_of_parquet_is_read_piece_by_piece(quick_path):
    path, size, count = quick_path / "one.parquet", 4096, 8192
    values = [random.Random(i).randbytes(size) for i in range(64)] * (count // 64)
    table = pa.table({"key": pa.array(range(count), pa.uint64()), "value": values})
    pq.write_table(table, path, row_group_size=count, use_dictionary=False, compression="none")
    del table, values
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for batch in parquet.batches_of(path, path):
        most, rows = max(most, pa.total_allocated_bytes() - before - batch.nbytes), rows + batch.num_rows
    assert rows == count
    assert most < size * count // 2


@pytest.mark.parametrize("kind", ["date32", "timestamp", "zone", "time"])
@pytest.mark.parametrize("value", ["u64", "datetime", "cbor", None])
def test_a_moment_of_parquet_that_python_has_not_is_refused(quick_path, kind, value):
    types = {"date32": pa.date32(), "timestamp": pa.timestamp("us"), "zone": pa.timestamp("us", "No/Where"), "time": pa.time64("us")}
    column = pa.array([2**31 - 1 if kind == "date32" else 2**62], types[kind])
    pq.write_table(pa.table({"key": pa.array([1], pa.uint64()), "value": column}), quick_path / "a.parquet")
    with pytest.raises(Unreadable, match="a\\.parquet, entr"):
        load(quick_path / "a.parquet", quick_path / "out.bin", key=parse_type("u64"), value=None if value is None else parse_type(value))
    assert not (quick_path / "out.bin").exists()
