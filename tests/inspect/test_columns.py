"""Dumps in columns are the dumps of the rows: byte for byte, in Parquet value for value."""

from __future__ import annotations

import io
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stable_structures import StableBTreeMap, StableMemory, StableVec, codec, f64, i32, u16, u64
from stable_structures.inspect import Unreadable, open_image, sqlite
from stable_structures.inspect.dump import table, write
from stable_structures.inspect.encoding import Encoded, are_exact, require
from stable_structures.storable import Codec, parse_type

from ..support.examples import examples
from .test_dump_round_trip import FIXED, KEYS, VALUES, encodings, made, some_of

TEXTS = ["", "plain", 'comma, and "quote"', "line\nbreak", "'=1", "=1", "encoded:0x00", "Zürich", "x" * 3000]
MAKE: dict[Any, Any] = {
    u64: lambda rng: rng.randrange(2**64),
    u16: lambda rng: rng.randrange(2**16),
    i32: lambda rng: rng.randrange(-(2**31), 2**31),
    f64: lambda rng: rng.choice([rng.random(), float("nan"), float("inf"), -0.0]),
    str: lambda rng: rng.choice(TEXTS) + str(rng.randrange(100)),
    bytes: lambda rng: rng.randbytes(rng.randrange(9)),
    bool: lambda rng: rng.random() < 0.5,
}


def written(rows: Any, form: str, part: Any = None) -> bytes:
    if form == "sqlite":
        return database_of(rows, part)
    out = io.BytesIO()
    write(rows, form, out)
    return out.getvalue()


def database_of(rows: Any, part: Any) -> bytes:
    """The bytes of the database, or what was refused."""
    with closing(sqlite3.connect(":memory:")) as database:
        try:
            sqlite._fill_all(database, [part], lambda _: rows)
        except Unreadable as refusal:
            return str(refusal).encode()
        return database.serialize()


def both(memory: Any, types: Any, form: str, *, unordered: bool = False) -> tuple[bytes, bytes]:
    image = open_image(memory)
    by_rows = replace(table(image.part(None), types), columns=None)
    return written(by_rows, form), written(table(image.part(None), types, unordered=unordered), form)


@pytest.mark.parametrize("value", [u64, i32, f64, str, bytes, bool], ids=str)
@pytest.mark.parametrize("key", [u64, u16, i32, str], ids=str)
def test_columns_of_a_map_are_its_rows(key, value, seed):
    rng = random.Random(f"{seed}{key}{value}")
    memory = StableMemory()
    entries = StableBTreeMap[key, value](memory)
    for _ in range(700):
        entries[MAKE[key](rng)] = MAKE[value](rng)
    types = {None: (codec(key), codec(value))}
    rows, columns = both(memory, types, "csv")
    assert rows == columns
    pq = pytest.importorskip("pyarrow.parquet")
    ordered, unordered = (pq.read_table(io.BytesIO(data)) for data in both(memory, types, "parquet", unordered=True))
    assert ordered.schema == unordered.schema
    shown = [sorted(map(repr, one.to_pylist())) for one in (ordered, unordered)]
    assert shown[0] == shown[1]


@pytest.mark.parametrize("value", [u64, i32, f64, bool], ids=str)
def test_columns_of_a_vec_are_its_rows(value, seed):
    rng = random.Random(seed)
    memory = StableMemory()
    StableVec[value](memory).extend([MAKE[value](rng) for _ in range(3000)])
    rows, columns = both(memory, {None: (None, codec(value))}, "csv")
    assert rows == columns


def placed(structure: str, tp: Codec[Any], datas: list[bytes]) -> tuple[StableMemory, int | None, tuple[Any, Any]]:
    """Encodings in a structure: the memory, the number of the part, and the types of its keys and values."""
    if structure != "map":
        return made(structure, tp, datas), 3 if structure == "log" else None, (tp, None) if structure == "set" else (None, tp)
    memory = StableMemory()
    StableBTreeMap[u64, Encoded(tp)](memory).update(enumerate(datas))
    return memory, None, (codec(u64), tp)


@cache
def names(structure: str) -> st.SearchStrategy[str]:
    return st.sampled_from({"set": KEYS, "vec": FIXED}.get(structure, VALUES))


@pytest.mark.parametrize("form", ["csv", "jsonl", "cbor", "sqlite"])
@pytest.mark.parametrize("structure", ["map", "set", "vec", "log"])
@settings(max_examples=examples(100), deadline=None)
@given(data=st.data())
def test_columns_of_any_type_are_the_rows_of_any_bytes(structure, form, data):
    tp = parse_type(data.draw(names(structure)))
    datas = data.draw(some_of(tp, 4))
    memory, number, types = placed(structure, tp, datas)
    part = open_image(memory).part(number)
    given_types, guessed = {number: types}, {}
    for known in (given_types, guessed):
        one, other = table(part, known), table(part, known)
        rows = list(one.rows)
        assert written(other, form, part) == written(replace(one, rows=iter(rows), columns=None), form, part)
        if one.columns is not None:
            assert [row for columns in one.columns for row in columns.rows()] == rows


@pytest.mark.parametrize("typed", [True, False], ids=["typed", "guessed"])
@pytest.mark.parametrize("way", [("csv", {}), ("csv", {"safe_csv": True}), ("csv", {"plain": True}), ("jsonl", {}), ("cbor", {})], ids=str)
@pytest.mark.parametrize("structure", ["map", "log"])
@pytest.mark.parametrize("texts", [TEXTS, ["=1", "-5", "@a", "\ta", "+x"], ["\x1b[2J", "a\tb", "\0"], ["plain", "x"]], ids=repr)
def test_batches_for_processes_are_written_as_by_one(texts, structure, way, typed, monkeypatch):
    """Without the processes, which test_jobs.py has."""
    monkeypatch.setattr("stable_structures.inspect.dump.streamed", lambda batches, convert, _: ((one, convert(one)) for one in batches))
    tp = parse_type("string")
    memory, number, types = placed(structure, tp, [text.encode() for text in texts] * 20)

    def made_by(jobs: int) -> bytes:
        out, (form, options) = io.BytesIO(), way
        write(table(open_image(memory).part(number), {number: types} if typed else {}), form, out, jobs=jobs, **options)
        return out.getvalue()

    assert made_by(2) == made_by(1)


TAKEN_AT_ONCE = [
    "u8",
    "i64",
    "f64",
    "bool",
    "string",
    "bytes",
    "blob<5>",
    "array<3>",
    "principal",
    "tuple<i8, bool>",
    "reverse<i16>",
    "unit",
]


@pytest.mark.parametrize("name", [*TAKEN_AT_ONCE, "tuple<u32, array<2>, f64>", "tuple<tuple<u8, i16>, bool>"])
def test_types_that_texts_know_are_not_written_value_by_value(name, monkeypatch):
    tp = parse_type(name)
    samples = {"string": b"ab", "principal": b"\4", "bytes": b"", "unit": b"", "tuple<i8, bool>": b"\1\1"}
    some = samples.get(name, b"\1" * (tp.bound.max_size or 0))
    memory, number, types = placed("log", tp, [some] * 100)
    part = open_image(memory).part(number)
    by_rows = {
        form: written(replace(table(part, {number: types}), columns=None), form, part) for form in ("csv", "jsonl", "cbor", "sqlite")
    }
    for place in ("dump._rows_of", "sqlite._row_by_row"):
        monkeypatch.setattr(f"stable_structures.inspect.{place}", lambda *_: pytest.fail(f"{name} goes row by row"))
    assert {form: written(table(part, {number: types}), form, part) for form in by_rows} == by_rows
    assert by_rows["jsonl"].count(b"\n") == 100


@cache
def encodings_and_others(tp: Codec[Any]) -> st.SearchStrategy[list[bytes]]:
    most = tp.bound.max_size or 0
    return st.lists(encodings(tp) | st.binary(min_size=most, max_size=most) | st.binary(max_size=most + 1), max_size=4)


@pytest.mark.parametrize("name", ["tuple<i8, bool>", "tuple<u8, array<3>, f32>", "principal", "u16", "array<3>", "tuple<u8, blob<3>>"])
@settings(max_examples=examples(60))
@given(data=st.data())
def test_what_is_exact_in_columns_is_exact(name, data):
    tp = parse_type(name)
    pieces = data.draw(encodings_and_others(tp))
    if are_exact(tp, b"".join(pieces), np.cumsum(list(map(len, pieces)), dtype=np.uint64)):
        for one in pieces:
            require(tp, one)


ODD_INTEGERS = [0, 2**63 - 1, 2**63, 2**64 - 1]
ODD_FLOATS = [1.5, -0.0, float("inf"), float("nan"), 1e300, 5e-324]


@pytest.mark.parametrize("form", ["csv", "jsonl", "cbor", "sqlite"])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("u64", ODD_INTEGERS),
        ("reverse<u64>", ODD_INTEGERS),
        ("i64", [0, -1, 2**63 - 1, -(2**63)]),
        ("f64", ODD_FLOATS),
        ("reverse<f64>", ODD_FLOATS),
        ("tuple<u64, f64>", [(n, x) for n in ODD_INTEGERS for x in ODD_FLOATS]),
        ("reverse<tuple<u64, f64>>", [(2**64 - 1, -0.0), (1, 2.5)]),
        ("bool", [True, False]),
        ("string", ["", "a", "\0", "Zürich", "'", '"', "\ud7ff", "x" * 70000]),
    ],
)
def test_odd_values_among_usual_ones(name, values, form):
    """Each alone, which may go at once, and between others, which then may not."""
    tp = parse_type(name)
    usual = tp.encode(values[0])
    for datas in [[tp.encode(value)] * 3 for value in values] + [[usual, tp.encode(value), usual] for value in values]:
        memory, number, types = placed("log", tp, datas)
        part = open_image(memory).part(number)
        rows = table(part, {number: types})
        assert written(rows, form, part) == written(replace(table(part, {number: types}), columns=None), form, part)
