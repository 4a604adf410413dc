# SPDX-License-Identifier: Apache-2.0
"""Partitions of structures: together they are the whole, nothing twice, whatever the map is like; read by other processes too."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stable_structures import (
    CorruptMemory,
    MemoryManager,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    open_image,
    u64,
)
from stable_structures.errors import StableError
from stable_structures.inspect import Unreadable
from stable_structures.inspect.dump import table
from stable_structures.inspect.formats.layout import Damage

from ..support.examples import examples
from ..support.inspect_images import OLD, meanings, old, read, types_of

pyarrow = pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")


def saved(tmp_path, memory):
    path = tmp_path / "image.bin"
    path.write_bytes(read(memory))
    return path


def grown(kind, keys, removed, value):
    """A map with a history: nodes that were freed and used again, and overflow pages if values are large."""
    memory = StableMemory()
    made = StableBTreeMap[kind](MemoryManager(memory, bucket_pages=1).get(3))
    for key in keys:
        made[key] = value(key)
    for key in removed:
        made.pop(key, None)
    return memory, dict(made.items())


SHAPES = {
    "numbers": ((u64, u64), lambda key: key * 3),
    "small texts": ((u64, str), lambda key: f"{key}"),
    "overflow pages": ((u64, str), lambda key: "x" * (key * 37 % 3000)),
    "huge values": ((u64, bytes), lambda key: bytes([key % 251]) * (20_000 if key % 50 == 0 else 5)),
}


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=examples(4), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(0, 600),
    share=st.floats(0, 1),
    count=st.integers(1, 40),
    by=st.sampled_from(["chunks", "keys"]),
)
def test_all_parts_together_are_the_whole(tmp_path_factory, shape, seed, size, share, count, by):  # noqa: PLR0913, PLR0917 - the cases
    kind, value = SHAPES[shape]
    order = random.Random(seed)
    keys = order.sample(range(10_000), size)
    memory, expected = grown(kind, keys, order.sample(keys, int(share * size)), value)
    (path := tmp_path_factory.mktemp("p") / "image.bin").write_bytes(read(memory))
    schema = path.with_name("memories.toml")
    schema.write_text(f'[memories.3]\nkey = "u64"\nvalue = "{"u64" if kind[1] is u64 else "string" if kind[1] is str else "vec<u8>"}"\n')
    with open_image(path) as image:
        parts = image.partitions(3, count, by=by)
    assert 1 <= len(parts) <= count
    found = [entry for part in parts for entry in pickle.loads(pickle.dumps(part))]  # noqa: S301 - our own
    assert sorted(key for key, _ in found) == sorted(expected)  # each once
    assert dict(found) == expected
    if by == "keys":
        assert [key for key, _ in found] == sorted(expected)
    last = parts[-1].to_arrow()
    assert list(zip(last["key"].to_pylist(), last["value"].to_pylist(), strict=True)) == list(parts[-1])


def test_layout_1_and_maps_that_were_cleared(tmp_path):
    for name in OLD:
        key, value = types_of(name)[None]
        path = tmp_path / f"{name}.bin"
        path.write_bytes(old(name))
        (tmp_path / "memories.toml").write_text(f'[image]\nkey = "{key.name}"\nvalue = "{value.name}"\n')
        with open_image(path) as image:
            for memory in image.memories:
                if image.types(memory).structure not in ("map", "set"):
                    continue
                whole = Counter(map(repr, image[memory].items() if image.types(memory).structure == "map" else image[memory]))
                for by in ("chunks", "keys"):
                    assert Counter(repr(one) for part in image.partitions(memory, 5, by=by) for one in part) == whole
    (tmp_path / "memories.toml").unlink()
    memory = StableMemory()
    cleared = StableBTreeMap[u64, u64](memory)
    cleared.update({i: i for i in range(3000)})
    cleared.clear()
    cleared.update({1: 1})
    with open_image(saved(tmp_path, memory)) as image:
        assert [entry for part in image.partitions(None, 7) for entry in part] == [(1, 1)]


def test_sets_and_rows(tmp_path):
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    StableBTreeSet[u64](manager.get(0)).update(range(500))
    StableVec[u64](manager.get(1)).extend(range(777))
    StableLog[str](manager.get(2), manager.get(3)).extend([f"line {i}" for i in range(100)])
    StableCell[u64](manager.get(4), 9)
    StableMinHeap[u64](manager.get(5)).push_many(range(50))
    with open_image(saved(tmp_path, memory)) as image:
        for by in ("chunks", "keys"):
            assert sorted(one for part in image.partitions(0, 4, by=by) for one in part) == list(range(500))
        assert [one for part in image.partitions(1, 9) for one in part] == list(range(777))
        assert [one for part in image.partitions(2, 3) for one in part] == [f"line {i}" for i in range(100)]
        with pytest.raises(ValueError, match="one value"):
            image.partitions(4, 3)
        assert sorted(one for part in image.partitions(5, 3) for one in part) == list(range(50))
        with pytest.raises(ValueError, match="rows"):
            image.partitions(1, 3, by="keys")
        with pytest.raises(ValueError, match="1 partition"):
            image.partitions(1, 0)


def test_parts_have_like_sizes_and_other_engines_read_them(tmp_path):
    memory = StableMemory()
    numbers = StableBTreeMap[u64, u64](memory)
    for key in random.Random(5).sample(range(100_000), 20_000):
        numbers[key] = key % 10
    path = saved(tmp_path, memory)
    with open_image(path) as image:
        for by in ("chunks", "keys"):
            sizes = [part.to_arrow().num_rows for part in image.partitions(None, 10, by=by)]
            assert sum(sizes) == 20_000
            assert max(sizes) < 2 * 2000
        parts = image.partitions(None, 3)
    polars = pytest.importorskip("polars")
    assert sum(polars.DataFrame(part).height for part in parts) == 20_000
    duckdb = pytest.importorskip("duckdb")
    first = parts[0].to_arrow()
    assert duckdb.sql("SELECT count(*) FROM first").fetchall() == [(first.num_rows,)]


def test_an_image_without_a_name_has_none():
    memory = StableMemory()
    StableBTreeMap[u64, u64](memory).update({1: 1})
    with open_image(memory) as image, pytest.raises(Unreadable, match="with a name"):
        image.partitions(None, 2)


# ---- Dask ----


@pytest.fixture
def ten_parts(tmp_path):
    memory = StableMemory()
    users = StableBTreeMap[u64, str](MemoryManager(memory, bucket_pages=4).get(0))
    users.update({i: f"group {i % 7}" for i in range(20_000)})
    return saved(tmp_path, memory)


def test_dask_reads_what_one_process_reads(ten_parts):
    pytest.importorskip("dask.dataframe", reason="the extra 'dask' is not installed")
    from stable_structures.dask import read_map  # noqa: PLC0415 - an extra

    for by in ("chunks", "keys"):
        frame = read_map(ten_parts, 0, npartitions=10, by=by)
        assert frame.npartitions == 10
        counts = frame.groupby("value").size().compute(scheduler="synchronous").to_dict()
        assert counts == Counter(f"group {i % 7}" for i in range(20_000))


@pytest.mark.slow
def test_two_workers_of_dask_distributed_read_what_one_process_reads(ten_parts):
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    from stable_structures.dask import read_map  # noqa: PLC0415 - an extra

    with open_image(ten_parts) as image:
        whole = {int(key): value for key, value in image[0].items()}
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, distributed.Client(cluster):
        frame = read_map(ten_parts, 0, npartitions=10).compute()
    assert dict(zip(frame["key"].tolist(), frame["value"].tolist(), strict=True)) == whole
    assert len(frame) == len(whole)


@pytest.mark.parametrize("where", ["state.bin", "folder/state.bin"])
def test_a_pickled_part_is_read_in_any_working_directory(tmp_path, monkeypatch, where):
    folder = (tmp_path / where).parent
    folder.mkdir(exist_ok=True)
    with StableMemory.open(tmp_path / where) as memory:
        StableBTreeMap[u64, str](MemoryManager(memory).get(0)).update({i: f"user {i}" for i in range(100)})
    (tmp_path / "types.toml").write_text('[memories.0]\nname = "users"\nkey = "u64"\nvalue = "string"\n')
    (tmp_path / "words.txt").write_text("name")
    monkeypatch.chdir(tmp_path)
    with open_image(where, schema="types.toml", words=Path("words.txt")) as image:
        assert image.name == where
        packed = pickle.dumps((image, image.partitions("users", 2)))
    monkeypatch.chdir("/")
    copy, parts = pickle.loads(packed)  # noqa: S301 - our own
    with copy:
        assert len(copy["users"]) == sum(len(list(part)) for part in parts) == 100


# ---- damage: never silently short ----


WAYS = {
    "chunks": lambda image: sum(len(list(part)) for part in image.partitions(3, 3, by="chunks")),
    "keys": lambda image: sum(len(list(part)) for part in image.partitions(3, 3, by="keys")),
    "pickled": lambda image: sum(len(list(pickle.loads(pickle.dumps(part)))) for part in image.partitions(3, 3)),  # noqa: S301 - our own
    "Arrow": lambda image: image[3].to_arrow().num_rows,
    "dump": lambda image: sum(1 for _ in table(image._part(3)).rows),
    "unordered dump": lambda image: sum(1 for _ in table(image._part(3), unordered=True).rows),
}


@pytest.fixture(scope="module")
def damageable(tmp_path_factory):
    memory, expected = grown((u64, str), range(300), range(40, 90), lambda key: "x" * (key * 37 % 1500))
    folder = tmp_path_factory.mktemp("damage")
    (folder / "memories.toml").write_text('[memories.3]\nname = "users"\nkey = "u64"\nvalue = "string"\n')
    data = read(memory)
    return folder / "image.bin", data, len(expected), [one for one in meanings(data) if "manager" not in one.kind]


@pytest.mark.parametrize("way", WAYS)
def test_damage_is_an_error_or_changes_no_number_of_entries(damageable, way):
    path, data, count, places = damageable
    order, kinds = random.Random(way), {}
    for place in places:
        kinds.setdefault(place.kind, []).append(place)
    refused = 0
    for kind, found in kinds.items():
        for place in order.sample(found, min(len(found), 3)):
            damaged = bytearray(data)
            damaged[order.randrange(place.start, place.stop)] ^= 1 << order.randrange(8)
            path.write_bytes(damaged)
            try:
                with open_image(path) as image:
                    assert WAYS[way](image) == count, (kind, place)
            except (StableError, Damage, KeyError):
                refused += 1
    assert refused > len(kinds) / 2


def test_an_error_names_the_map_and_what_is_missing(damageable):
    path, data, count, places = damageable
    damaged = bytearray(data)
    length = next(place for place in places if place.kind == "map: length")
    damaged[length.start] ^= 1
    path.write_bytes(damaged)
    with open_image(path) as image:
        parts = image.partitions("users", 3)
        assert [part.length for part in parts] == [count ^ 1] * 3
        read_ = [len(list(part)) for part in parts[:2]]
        with pytest.raises(
            CorruptMemory, match=rf"memory 3 'users', map: its parts have {count} entries together, and it counts {count ^ 1}"
        ):
            list(parts[2])
        assert sum(read_) < count
        assert [len(list(pickle.loads(pickle.dumps(part)))) for part in image.partitions("users", 3)[:2]] == read_  # noqa: S301 - our own
    chunk = next(place for place in places if place.kind.startswith("node"))
    damaged = bytearray(data)
    damaged[chunk.start - 16] ^= 0xFF
    path.write_bytes(damaged)
    with (
        open_image(path) as image,
        pytest.raises(CorruptMemory, match="memory 3 'users', map: a chunk is a node, an overflow page or free"),
    ):
        [list(part) for part in image.partitions("users", 3)]


def test_parts_are_of_the_version_that_was_divided(tmp_path):
    path = tmp_path / "image.bin"
    with StableMemory.open(path) as memory:
        StableBTreeMap[u64, u64](memory).update({i: i for i in range(1000)})
    with open_image(path) as image:
        parts = image.partitions(None, 3, by="keys")
    with StableMemory.open(path) as memory:
        StableBTreeMap[u64, u64](memory)[2000] = 1
    for part in parts:
        with pytest.raises(Unreadable, match="make the parts again"):
            part.to_arrow()


def test_a_vec_that_is_cut_off_is_no_short_part(tmp_path):
    memory = StableMemory()
    StableVec[u64](memory).extend(range(30_000))
    path = saved(tmp_path, memory)
    with open_image(path) as image:
        parts = image.partitions(None, 3)
    path.write_bytes(path.read_bytes()[:65536])
    for part in parts:
        with pytest.raises(CorruptMemory):
            list(part)
