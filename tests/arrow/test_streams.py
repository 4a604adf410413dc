"""Structures and images as streams: pyarrow, DuckDB and Polars read them; in batches, of one moment, and without what is not asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from stable_structures import (
    Array,
    Candid,
    MemoryManager,
    StableBTreeMap,
    StableBTreeSet,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    f64,
    open_image,
    u8,
    u32,
    u64,
)

pa = pytest.importorskip("pyarrow")
TRADE = tuple[f64, u32, Array(12)]


@pytest.fixture
def trades():
    made = StableBTreeMap[u64, TRADE](StableMemory())
    made.insert_many(range(1000), [(i / 2, i, b"x" * 12) for i in range(1000)])
    return made


def test_pyarrow_reads_every_structure():
    heap = StableMinHeap[u8](StableMemory())
    heap.push_many([3, 1, 2])
    log, vec = StableLog[str](StableMemory(), StableMemory()), StableVec[u64](StableMemory())
    log.extend(["a", "bb"])
    vec.extend(range(5))
    names, elements = StableBTreeMap[str, None](StableMemory()), StableBTreeSet[str](StableMemory())
    names["x"] = None
    elements.add("x")
    tables = [pa.table(one).to_pydict() for one in (heap, log, vec, names, elements)]
    assert tables == [
        {"value": list(heap)}, {"value": ["a", "bb"]}, {"value": [0, 1, 2, 3, 4]}, {"key": ["x"], "value": [None]}, {"key": ["x"]},
    ]  # fmt: skip


def test_duckdb_aggregates_over_a_map_and_over_an_image(trades, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    assert duckdb.sql("select sum(value.f0), max(key), count(*) from trades").fetchall() == [(249750.0, 999, 1000)]
    path = tmp_path / "x.bin"
    with StableMemory.open(path, durability="none") as memory:
        StableBTreeMap[u64, TRADE].from_arrow(MemoryManager(memory).get(3), trades.to_arrow())
    (tmp_path / "memories.toml").write_text(
        '[memories.3]\nname = "trades"\nstructure = "map"\nkey = "u64"\nvalue = "tuple<f64,u32,array<12>>"'
    )
    with open_image(path) as image:
        of_image = image["trades"]  # noqa: F841 - DuckDB finds it by its name
        assert duckdb.sql("select sum(value.f0) from of_image where key >= 500").fetchall() == [(187375.0,)]
    back = StableBTreeMap[u64, TRADE](StableMemory())
    assert back.insert_many(duckdb.sql("from trades").to_arrow_table()) == 1000
    assert back == trades


def test_polars_takes_streams_and_gives_tables_back(trades):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(trades.arrow_reader())
    assert frame["value"].struct.field("f0").sum() == 249750.0
    back = StableBTreeMap[u64, TRADE](StableMemory())
    back.insert_many(frame)
    assert back == trades
    vec = StableVec[u64](StableMemory())
    vec.extend(frame["key"])
    assert list(vec) == list(range(1000))


def test_parts_of_structures_are_read_alone(trades):
    assert trades.to_arrow(10, 13).column("key").to_pylist() == [10, 11, 12]
    vec = StableVec[u64](StableMemory())
    vec.extend(range(10))
    assert vec.to_arrow(-3).to_pydict() == {"value": [7, 8, 9]}
    assert vec.to_arrow(2, 4).to_pydict() == {"value": [2, 3]}


def test_batches_are_bounded_and_of_one_moment():
    made = StableBTreeMap[u64, bytes](StableMemory())
    made.update(dict.fromkeys(range(300), b"x" * 100000))
    reader = made.arrow_reader()
    first = reader.read_next_batch()
    assert first.nbytes < 9 << 20
    large = StableBTreeMap[u64, Array(1_000_000)](StableMemory())
    large.update({i: bytes(1_000_000) for i in range(20)})
    assert [batch.num_rows for batch in large.arrow_reader()] == [8, 8, 4]
    made[1000] = b""
    with pytest.raises(RuntimeError, match="changed"):
        reader.read_next_batch()
    assert sum(batch.num_rows for batch in made.arrow_reader()) == 301
    reader = made.arrow_reader()
    reader.read_next_batch()
    made[299] = b"y" * 100000  # of the same size, in its place
    with pytest.raises(RuntimeError, match="changed"):
        reader.read_all()


def test_names_in_a_snapshot_are_names_of_fields():
    made = StableBTreeMap[u8, Candid("record { name : text; age : nat8 }")](StableMemory())
    made[1] = {"name": "Ada", "age": 36}
    assert made.to_arrow().to_pylist() == [{"key": 1, "value": {"age": 36, "name": "Ada"}}]
    untyped = StableBTreeMap[u8, Candid()].load(made.into_memory())
    field = untyped.to_arrow().schema.field("value")
    assert (field.type, field.metadata[b"stable_structures.form"]) == (pa.string(), b"json")


def test_a_wrong_table_changes_nothing(trades):
    before = dict(trades)
    for table in (pa.table({"key": [1]}), pa.table({"key": [1], "value": ["x"]}), pa.table({"a": [1], "b": [1], "c": [1]})):
        with pytest.raises(TypeError):
            trades.insert_many(table)
    with pytest.raises(TypeError, match="or one table"):
        trades.insert_many([1, 2])
    assert dict(trades) == before


def test_without_pyarrow_the_error_names_the_extra():
    code = """
import sys
from collections.abc import Sequence
sys.modules["pyarrow"] = None
from stable_structures import StableMemory, StableVec, u64
v = StableVec[u64](StableMemory())
v.extend([1])
for use in (v.to_arrow, v.__arrow_c_stream__, lambda: type(v).from_arrow(StableMemory(), None)):
    try:
        use()
    except ImportError as error:
        assert "stable-structures[arrow]" in str(error), error
    else:
        raise AssertionError(use)
print(list(v))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[1]\n", "")


def every_structure():
    heap, log = StableMinHeap[u64](StableMemory()), StableLog[str](StableMemory(), StableMemory())
    vec, elements, numbers = StableVec[u64](StableMemory()), StableBTreeSet[str](StableMemory()), StableBTreeMap[u64, str](StableMemory())
    heap.push_many([2**64 - 1, 3])
    log.extend(["a", "b"])
    vec.extend([2**64 - 1, 3])
    elements.update(["a", "b"])
    numbers.update({2**64 - 1: "a", 3: "b"})
    return [heap, log, vec, elements, numbers]


def version_of(engine):
    return tuple(map(int, engine.__version__.split(".")[:2]))


ENGINES = {
    "pyarrow": lambda engine, m: engine.table(m).to_pydict(),
    "polars": lambda engine, m: engine.DataFrame(m).to_dict(as_series=False),
    "polars from_dataframe": lambda engine, m: engine.from_dataframe(m).to_dict(as_series=False),
    "polars of a reader": lambda engine, m: engine.DataFrame(m.arrow_reader()).to_dict(as_series=False),
    "duckdb": lambda engine, m: engine.sql("from m").to_arrow_table().to_pydict(),  # noqa: ARG005 - by its name
    "pandas": lambda engine, m: engine.DataFrame.from_arrow(m).to_dict("list"),
}


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("made", every_structure(), ids=lambda one: type(one).__name__)
def test_every_engine_takes_every_structure_in_one_line(name, made):
    engine = pytest.importorskip(name.partition(" ")[0])
    if name == "pandas" and not hasattr(engine.DataFrame, "from_arrow"):
        pytest.skip("of pandas 3 on")
    if name == "polars" and version_of(engine) >= (2, 1):
        pytest.skip("of Polars before 2.1, as the extra brings it")
    if name == "polars" and isinstance(made, Sequence):
        assert engine.DataFrame(made)["column_0"].to_list() == list(made)  # a list of values, before it is a stream
        return
    if name == "polars from_dataframe" and version_of(engine) < (2, 0):
        pytest.skip("of Polars 2 on")
    assert ENGINES[name](engine, made) == made.to_arrow().to_pydict()
