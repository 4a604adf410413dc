"""Dumps in columns are the dumps of the rows, byte for byte in CSV and value for value in Parquet."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from typing import Any

import pytest

from stable_structures import StableBTreeMap, StableMemory, StableVec, codec, f64, i32, u16, u64
from stable_structures.inspect import open_image
from stable_structures.inspect.dump import table, write

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


def written(rows: Any, form: str) -> bytes:
    out = io.BytesIO()
    write(rows, form, out)
    return out.getvalue()


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
