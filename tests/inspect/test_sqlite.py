# SPDX-License-Identifier: Apache-2.0
"""Dumps as SQLite, and databases that canisters keep in a memory: what goes in comes out, whole or not at all."""

from __future__ import annotations

import math
import sqlite3
import struct
from contextlib import closing
from datetime import UTC

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stable_structures import MemoryManager, Principal, StableBTreeMap, StableBTreeSet, StableLog, StableMemory, StableVec, codec, u64
from stable_structures.inspect import Unreadable, check, inspect, load, open_image, table
from stable_structures.inspect.formats.sqlite import find_database
from stable_structures.inspect.sqlite import export_database, integrity, write_database
from stable_structures.storable import parse_type

from ..support import command
from ..support.any_type import TYPES
from ..support.examples import examples
from ..support.inspect_images import read

pytestmark = pytest.mark.usefixtures("without_fsync")
PAGE = 65536


def rows(path, query):
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


# ---- dumps ----

INTEGERS = {name: st.integers(-(2 ** (bits - 1)) if name[0] == "i" else 0, 2 ** (bits - (name[0] == "i")) - 1) for name, bits in (
    ("u8", 8), ("u16", 16), ("u32", 32), ("u64", 64), ("u128", 128), ("i8", 8), ("i64", 64), ("i128", 128))}  # fmt: skip
VALUES = {
    **INTEGERS,
    "f32": st.floats(width=32),
    "f64": st.floats(),
    "bool": st.booleans(),
    "string": st.text(),
    "vec<u8>": st.binary(max_size=40),
    "blob<8>": st.binary(max_size=8),
    "principal": st.binary(max_size=29).map(Principal),
    "tuple<u64,i32>": st.tuples(INTEGERS["u64"], st.integers(-9, 9)),
    "tuple<f64,bool>": st.tuples(st.floats(), st.booleans()),
    "datetime": st.datetimes(timezones=st.just(UTC)),
    "date": st.dates(),
    "UUID": st.uuids(),
    "Decimal": st.decimals(allow_nan=False),
    "option<datetime>": st.datetimes(timezones=st.just(UTC)),  # its size is fixed: it has no None, as in the crate
    "option<Decimal>": st.none() | st.decimals(allow_nan=False),
    "tuple<date,UUID>": st.tuples(st.dates(), st.uuids()),
    "option<u64>": INTEGERS["u64"],
    "option<vec<u8>>": st.none() | st.binary(max_size=9),
    "option<string>": st.none() | st.text(),
    "option<bool>": st.booleans(),
    "cbor": st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text() | st.binary() | st.floats(), st.lists, max_leaves=4
    ),
}


KEYS = ["u64", "i64", "u128", "bool", "string", "vec<u8>", "principal", "datetime", "date", "UUID", "Decimal"]


@pytest.mark.parametrize("name", KEYS)
@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_every_key_comes_back(tmp_path_factory, name, data):
    folder, codec = tmp_path_factory.mktemp("sqlite"), parse_type(name)
    memory = StableMemory()
    kept = StableBTreeMap[codec, u64](memory)
    kept.update({key: i for i, key in enumerate(data.draw(st.lists(VALUES[name], min_size=1, max_size=20)))})
    types = {None: (codec, parse_type("u64"))}
    write_database(open_image(memory), folder / "dump.sqlite", types)
    load(folder / "dump.sqlite", folder / "back.bin", key=codec, value=parse_type("u64"))
    with open_image(memory) as before, open_image(folder / "back.bin") as after:
        assert list(table(before.part(None), raw=True).rows) == list(table(after.part(None), raw=True).rows)


@pytest.mark.parametrize("name", VALUES)
@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_every_value_comes_back(tmp_path_factory, name, data):
    folder, codec = tmp_path_factory.mktemp("sqlite"), parse_type(name)
    memory = StableMemory()
    kept = StableBTreeMap[u64, codec](memory)
    kept.update(enumerate(data.draw(st.lists(VALUES[name], min_size=1, max_size=20))))
    types = {None: (parse_type("u64"), codec)}
    write_database(open_image(memory), folder / "dump.sqlite", types)
    load(folder / "dump.sqlite", folder / "back.bin", key=parse_type("u64"), value=codec)
    assert (folder / "back.bin").read_bytes() == read(memory)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_any_type_comes_back(tmp_path_factory, data):
    tp, values = data.draw(TYPES)
    folder, given_type, memory = tmp_path_factory.mktemp("sqlite"), codec(tp), StableMemory()
    kept = StableBTreeMap[u64, given_type](memory)
    kept.update(enumerate(data.draw(st.lists(values, max_size=6))))
    types = {None: (codec(u64), given_type)}
    write_database(open_image(memory), folder / "dump.sqlite", types)
    load(folder / "dump.sqlite", folder / "back.bin", key=codec(u64), value=given_type)
    with open_image(memory) as before, open_image(folder / "back.bin") as after:
        assert list(table(before.part(None), raw=True).rows) == list(table(after.part(None), raw=True).rows)


def test_every_memory_is_a_table(tmp_path):
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    StableBTreeMap[u64, str](manager.get(0)).update({1: "Ada", 2: "Grace", 2**63 + 5: "Edsger"})
    StableBTreeSet[str](manager.get(1)).update({"x", "y"})
    StableVec[u64](manager.get(2)).extend([7, 8])
    StableLog[str](manager.get(3), manager.get(4)).extend(["first", "second"])
    (tmp_path / "image.bin").write_bytes(read(memory))
    (tmp_path / "memories.toml").write_text(
        '[memories.0]\nname = "users; DROP TABLE \\"x\\""\nkey = "u64"\nvalue = "string"\n[memories.1]\nname = "Memories"\nkey = "string"\n'
        '[memories.2]\nname = "sqlite_master"\nvalue = "u64"\n[memories.3]\nname = "events"\nvalue = "string"\n'
    )
    out = tmp_path / "all.sqlite"
    done = command.run(["dump", tmp_path / "image.bin", "-o", out])
    assert done.returncode == 0, done.stderr
    tables = rows(out, "SELECT memory, name, structure, key, value, entries FROM memories WHERE name IS NOT NULL ORDER BY memory")
    assert [row[0] for row in tables] == [0, 1, 2, 3]
    assert [row[1] for row in tables] == ['users; DROP TABLE "x"', "memory_1", "memory_2", "events"]
    assert [row[5] for row in tables] == [3, 2, 2, 2]
    users = rows(out, 'SELECT key, value FROM "users; DROP TABLE ""x""" ORDER BY value')
    assert users == [(1, "Ada"), (str(2**63 + 5), "Edsger"), (2, "Grace")]
    assert rows(out, "SELECT * FROM events") == [(0, "first"), (1, "second")]
    assert rows(out, "SELECT sum(value) FROM memory_2") == [(15,)]
    assert rows(out, "PRAGMA integrity_check") == [("ok",)]
    done = command.run(["dump", tmp_path / "image.bin", "--memory", "events", "--format", "sqlite", "-o", tmp_path / "one.x"])
    assert done.returncode == 0
    assert rows(tmp_path / "one.x", "SELECT name FROM memories") == [("events",)]
    load(tmp_path / "one.x", tmp_path / "log.bin", structure="log", value=parse_type("string"), memory=3, bucket_pages=1, form="sqlite")
    assert inspect(tmp_path / "log.bin").memories[0].length == 2
    with pytest.raises(Unreadable, match="4 tables"):
        load(out, tmp_path / "no.bin", key=parse_type("u64"))


@pytest.mark.parametrize(
    ("names", "tables"),
    [
        ({1: "users", 2: "users by key"}, ["users", "memory_2", "memory_3"]),
        ({1: "memory_2"}, ["memory_1", "memory_2", "memory_3"]),
        ({1: "MEMORY_3", 2: "memory_1"}, ["memory_1", "memory_2", "memory_3"]),
        ({1: "memory_2", 2: "memories"}, ["memory_1", "memory_2", "memory_3"]),
        ({1: "a", 2: "A", 3: "memory_3"}, ["a", "memory_2", "memory_3"]),
    ],
)
def test_names_that_meet_leave_every_memory_its_table(tmp_path, names, tables):
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    for id_ in (1, 2, 3):
        StableBTreeMap[u64, str](manager.get(id_)).update({id_: "x"})
    (tmp_path / "image.bin").write_bytes(read(memory))
    texts = [f'[memories.{id_}]\nname = "{name}"\n' for id_, name in names.items()]
    (tmp_path / "memories.toml").write_text("".join(texts))
    done = command.run(["dump", tmp_path / "image.bin", "-o", tmp_path / "all.sqlite"])
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "all.sqlite", "SELECT name FROM memories WHERE name IS NOT NULL ORDER BY memory") == [(one,) for one in tables]
    counted = [rows(tmp_path / "all.sqlite", f'SELECT count(*) FROM "{one}"') for one in tables]  # noqa: S608 - names of this test
    assert counted == [[(1,)]] * 3


def test_what_sqlite_does_not_keep_stands_beside_as_bytes(tmp_path):
    memory = StableMemory()
    StableVec[parse_type("f64")](memory).extend([1.5, -0.0, math.inf, math.nan])
    write_database(open_image(memory), tmp_path / "x.sqlite", {None: (None, parse_type("f64"))})
    found = rows(tmp_path / "x.sqlite", 'SELECT value, value_bytes FROM image ORDER BY "index"')
    assert [value for value, _ in found] == [1.5, None, math.inf, None]
    assert [exact is None for _, exact in found] == [True, False, True, False]


def test_guesses_have_their_bytes_beside(tmp_path):
    memory = StableMemory()
    StableBTreeMap[u64, str](memory).update({7: "Ada"})
    write_database(open_image(memory), tmp_path / "x.db")
    assert rows(tmp_path / "x.db", "SELECT key, value, key_bytes, value_bytes FROM image") == [(7, "Ada", (7).to_bytes(8, "big"), b"Ada")]
    load(tmp_path / "x.db", tmp_path / "back.bin", key=parse_type("u64"), value=parse_type("string"))
    assert (tmp_path / "back.bin").read_bytes() == read(memory)


@pytest.mark.parametrize("keep_going", [False, True])
def test_damage_leaves_nothing_or_says_what_is_passed_over(tmp_path, keep_going):
    memory = StableMemory()
    StableBTreeMap[u64, str](memory).update({i: f"user {i}" for i in range(1000)})
    data = bytearray(read(memory))
    at = data.index(b"BTN\x02\x00", 30_000)
    data[at : at + 3] = b"XXX"
    (tmp_path / "bad.bin").write_bytes(data)
    words = ["dump", tmp_path / "bad.bin", "--key-type", "u64", "--value-type", "string", "-o", tmp_path / "out.sqlite"]
    done = command.run([*words, *["--keep-going"] * keep_going])
    assert done.returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == (["bad.bin", "out.sqlite"] if keep_going else ["bad.bin"])
    if keep_going:
        assert 900 < rows(tmp_path / "out.sqlite", "SELECT count(*) FROM image")[0][0] < 1000


def test_it_is_not_for_pipes_or_parts_of_a_memory(tmp_path):
    memory = StableMemory()
    StableBTreeMap[u64, u64](memory).update({1: 1})
    (tmp_path / "x.bin").write_bytes(read(memory))
    for words in (["--format", "sqlite"], ["--format", "sqlite", "-o", "/dev/stdout"], ["-o", tmp_path / "y.sqlite", "--limit", "3"]):
        assert command.run(["dump", tmp_path / "x.bin", *words]).returncode == 2
    (tmp_path / "there.sqlite").write_bytes(b"mine")
    assert command.run(["dump", tmp_path / "x.bin", "-o", tmp_path / "there.sqlite"]).returncode == 2
    assert (tmp_path / "there.sqlite").read_bytes() == b"mine"


# ---- databases in memories ----


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("database") / "x.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
        made.executemany("INSERT INTO users VALUES (?, ?)", [(i, f"user {i}") for i in range(3000)])
        made.commit()
    return path.read_bytes()


def fnv(data: bytes) -> int:
    total = 0xCBF29CE484222325
    for byte in data:
        total = (total ^ byte) * 0x100000001B3 % 2**64
    return total


def with_superblock(data: bytes, zeros: list[tuple[int, int]] = []) -> bytes:  # noqa: B006 - never changed
    head = bytearray(160 + 16 * len(zeros))
    struct.pack_into("<8sIIQ", head, 0, b"ICSQLITE", 8, 4096, len(data))
    struct.pack_into("<QQQQQ", head, 112, PAGE, 0, len(data) // 4096, 8, len(zeros))
    for number, pair in enumerate(zeros):
        struct.pack_into("<QQ", head, 160 + 16 * number, *pair)
    struct.pack_into("<Q", head, 152, fnv(bytes(head)))
    return bytes(head).ljust(PAGE, b"\0") + data


LAYOUTS = {
    "pages": lambda data: data,
    "ic-sqlite": lambda data: len(data).to_bytes(8, "big") + data,
    "ic-sqlite-vfs": with_superblock,
}


def whole_pages(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // PAGE) * PAGE, b"\0")


@pytest.mark.parametrize("managed", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_database_is_recognised_checked_and_exported(database, tmp_path, layout, managed):
    content = whole_pages(LAYOUTS[layout](database))
    memory = StableMemory()
    target = MemoryManager(memory, bucket_pages=1).get(3) if managed else memory
    target.grow(len(content) // PAGE)
    target.write(0, content)
    (tmp_path / "image.bin").write_bytes(read(memory))
    found = inspect(tmp_path / "image.bin")
    kind, facts = (found.memories[0].kind, found.memories[0].facts) if managed else (found.kind, found.facts)
    assert (kind, facts["layout"], facts["bytes"], facts["page size"]) == ("sqlite", layout, len(database), 4096)
    assert check(tmp_path / "image.bin") == []
    done = command.run(["check", tmp_path / "image.bin", "--integrity"])
    assert done.returncode == 0, done.stdout + done.stderr
    done = command.run(["export", tmp_path / "image.bin", *["--memory", "3"] * managed, "-o", tmp_path / "out.sqlite"])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.sqlite").read_bytes() == database
    assert rows(tmp_path / "out.sqlite", "SELECT count(*), max(name) FROM users") == [(3000, "user 999")]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_damaged_database_is_said(database, tmp_path, layout):
    def judged(data: bytes) -> list[str]:
        content = whole_pages(LAYOUTS[layout](data))
        (tmp_path / "image.bin").write_bytes(content)
        return [one.rule for one in check(tmp_path / "image.bin")]

    assert judged(database) == []
    for at, text in ((16, "page size"), (21, "fractions"), (18, "versions"), (28, "pages of")):
        damaged = bytearray(database)
        damaged[at] ^= 0x55
        assert any(text in rule for rule in judged(bytes(damaged))), at
    part = open_image(whole_pages(LAYOUTS[layout](database[:8192] + b"\xff" * 4096 + database[12288:]))).part(None)
    assert integrity(part)
    (tmp_path / "image.bin").write_bytes(read_part(part))
    assert command.run(["check", tmp_path / "image.bin", "--integrity"]).returncode == 1


def read_part(part) -> bytes:
    return part.source.read(0, part.source.nbytes)


def test_a_cut_database_is_not_exported(database, tmp_path):
    part = open_image(database[: len(database) // 2]).part(None)
    with pytest.raises(Unreadable, match="inside the memory"):
        export_database(part, tmp_path / "out.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_ranges_of_zeros_read_as_zeros(database):
    found = find_database(open_image(with_superblock(database, [(3, 5)])).source)
    data = bytearray(len(database))
    for offset, block in found.blocks():
        data[offset : offset + len(block)] = block
    assert data == database[: 3 * 4096] + bytes(2 * 4096) + database[5 * 4096 :]
    damaged = bytearray(with_superblock(database, [(3, 5)]))
    damaged[164] ^= 1
    assert "checksum of the superblock" in find_database(open_image(bytes(damaged)).source).problems[0]


@pytest.mark.parametrize("name", [7, b"\xff"])
def test_a_database_of_others_with_a_table_of_that_name_is_refused(tmp_path, name):
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE memories (name)")
        other.execute("INSERT INTO memories VALUES (?)", (name,))
        other.commit()
    with pytest.raises(Unreadable, match="not a dump"):
        load(path, tmp_path / "out.bin", key=codec(u64), value=codec(u64))
    assert not (tmp_path / "out.bin").exists()
