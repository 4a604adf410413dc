"""Migration: what comes out is what was in, sorted and of our types; the command line around it."""

from __future__ import annotations

import gzip
import json
import subprocess
from types import SimpleNamespace

import pytest

from stable_structures import (
    Array,
    Blob,
    IncompatibleType,
    MemoryManager,
    Principal,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableVec,
    codec,
    u8,
    u16,
    u32,
    u64,
)
from stable_structures.inspect import check, inspect
from stable_structures.rescue import NotOwned, Root, SBox, SchemaError, SHashMap, SLog, SVec, migrate, open_ism, parse_schema, read_schema
from stable_structures.rescue.migrate import target

from ..support import command
from ..support.ism_crate import Allocator, Log, Space, Table, Tree, Vec
from ..support.ism_damage import moments
from ..support.ism_traces import GOLDEN, NOTE, Replay, annotation, element

SCHEMA = """
width = 4
[keys.1]
type = "SHashMap<Principal, u64>"
[keys.2]
type = "SBTreeMap<SBox<String>, SBox<Vec<u8>>>"
[keys.3]
type = "SLog<(u32, u16)>"
[keys.4]
type = "SBTreeSet<u32>"
memory = 0
[keys.5]
type = "SVec<SBox<String>>"
[keys.6]
type = "SCertifiedBTreeMap<u64, u64>"
[keys.7]
type = "SHashSet<u64>"
[keys.8]
type = "String"
"""


@pytest.fixture(scope="module")
def canister():
    trace = Replay(GOLDEN / "canister.trace.gz")
    for _ in trace.play():
        pass
    return trace.expected()


def run(*arguments):
    return command.run(arguments)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_canister_by_the_command_line(canister, tmp_path):
    (tmp_path / "ism.toml").write_text(SCHEMA, encoding="utf-8")
    out = tmp_path / "new.bin"
    done = run("rescue", GOLDEN / "canister.bin.gz", "--schema", tmp_path / "ism.toml", "-o", out, "--bucket-pages", 1, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["owned"]
    assert [one["memories"] for one in told["migrated"]] == [[1], [2], [3, 4], [0], [5, 6], [7], [8], [9]]
    assert check(out) == []
    with StableMemory.open(out, "r") as memory:
        manager = MemoryManager(memory)
        assert dict(StableBTreeMap[Principal, u64](manager.get(1)).items()) == canister[1]
        assert dict(StableBTreeMap[str, bytes](manager.get(2)).items()) == canister[2]
        assert list(StableLog[tuple[u32, u16]](manager.get(3), manager.get(4))) == canister[3]
        assert set(StableBTreeSet[u32](manager.get(0))) == canister[4]
        assert list(StableLog[str](manager.get(5), manager.get(6))) == canister[5]
        assert dict(StableBTreeMap[u64, u64](manager.get(7)).items()) == canister[6]
        assert set(StableBTreeSet[u64](manager.get(8))) == canister[7]
        assert StableCell[str](manager.get(9), "").value == NOTE == canister[8]


def test_from_a_pipe_into_a_pipe(tmp_path):
    (tmp_path / "ism.toml").write_text(SCHEMA, encoding="utf-8")
    words = [*command.COMMAND, "rescue", "-", "--schema", "ism.toml", "-o", "-"]
    image = gzip.decompress((GOLDEN / "canister.bin.gz").read_bytes())
    done = subprocess.run(words, input=image, capture_output=True, check=False, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"ownership check: succeeds" in done.stderr
    assert names(tmp_path) == ["ism.toml"]
    (tmp_path / "new.bin").write_bytes(done.stdout)
    assert check(tmp_path / "new.bin") == []


def test_nothing_is_written_if_the_ownership_check_fails(tmp_path):
    (tmp_path / "ism.toml").write_text(SCHEMA.replace("SBTreeSet<u32>", "SBTreeSet<u64>"), encoding="utf-8")
    arguments = ("rescue", GOLDEN / "canister.bin.gz", "--schema", tmp_path / "ism.toml", "-o", tmp_path / "new.bin")
    done = run(*arguments)
    assert done.returncode == 2
    assert "ownership check" in done.stderr
    assert names(tmp_path) == ["ism.toml"]
    done = run(*arguments, "--force")
    assert done.returncode == 1
    assert "85 entries" in done.stdout
    assert names(tmp_path) == ["ism.toml", "new.bin"]


def test_without_out_it_checks(tmp_path):
    (tmp_path / "ism.toml").write_text('width = 4\n[keys.0]\ntype = "SBTreeMap<u64, u64>"\n', encoding="utf-8")
    done = run("rescue", GOLDEN / "bt_bug_stack.bin.gz", "--schema", tmp_path / "ism.toml")
    assert done.returncode == 1
    assert "stale-stack" in done.stdout
    assert "FAILS" in done.stdout
    done = run("rescue", GOLDEN / "bt_bug_rev.bin.gz", "--schema", tmp_path / "ism.toml")
    assert done.returncode == 0
    assert "note" in done.stdout


@pytest.mark.parametrize(
    ("name", "count", "lost"),
    [("bt_bug_stack", 400, 0), ("bt_bug_stack2", 205, 1), ("hm_bug_retain", 133, 26), ("vec_bug_oom", 2052, 0), ("log_bug_oom", 2164, 0)],
)
def test_damaged_images_by_force(name, count, lost):
    memory = StableMemory()
    (done,) = migrate(open_ism(GOLDEN / f"{name}.bin.gz", {0: annotation(name)}), memory, force=True)
    assert (done.entries, len(done.lost)) == (count, lost)
    assert check(memory) == []


def test_inspect_and_check_say_what_to_do():
    report = inspect(GOLDEN / "canister.bin.gz")
    assert report.kind == "ic-stable-memory"
    assert "stable-structures rescue" in report.facts["what to do"]
    assert (report.facts["blocks"], report.facts["saved keys"]) == (264, list(range(1, 9)))
    assert check(GOLDEN / "canister.bin.gz") == []
    for name in ("bt_bug_rev", "hm_bug_retain", "log_bug_oom", "bt_bug_stack", "bt_bug_stack2"):
        assert inspect(GOLDEN / f"{name}.bin.gz").kind == "ic-stable-memory"
        assert check(GOLDEN / f"{name}.bin.gz") == []
    assert any("size words" in finding.rule for finding in check(GOLDEN / "vec_bug_oom.bin.gz"))


def test_vec_elements_with_a_bound_go_into_a_vec():
    trace = Replay(GOLDEN / "vec_struct.trace.gz")
    for count, _ in enumerate(trace.play()):
        if count == 40:
            break
    data, types = trace.saved_image()
    memory = StableMemory()
    (done,) = migrate(open_ism(data, types), memory)
    assert done.structure == "StableVec"
    stored = StableVec[tuple[u16, Blob(8) | None, tuple[bool, tuple[u8, u32]]]](MemoryManager(memory).get(0))
    options = [None if one.b is None else one.b.to_bytes(8, "big") for one in trace.expected()[0]]
    assert list(stored) == [(one.a, b, (one.c, one.d)) for one, b in zip(trace.expected()[0], options, strict=True)]


def test_containers_in_containers_get_keys_of_both():
    trace = Replay(GOLDEN / "nest.trace.gz")
    for count, _ in enumerate(trace.play()):
        if count == 50:
            break
    data, types = trace.saved_image()
    memory = StableMemory()
    (done,) = migrate(open_ism(data, types), memory)
    wanted = {(key, i): text for key, texts in trace.expected()[0].items() for i, text in enumerate(texts)}
    assert done.entries == len(wanted) > 10
    assert dict(StableBTreeMap[tuple[u64, u64], str](MemoryManager(memory).get(0)).items()) == wanted


def test_keys_of_an_unsaved_image_are_told_apart_by_type():
    trace = Replay(GOLDEN / "canister.trace.gz")
    for count, _ in enumerate(trace.play()):
        if count == 40:
            break
    types = {key: annotation(full) for key, full in enumerate(trace.forms.values())}
    del types[2], types[4]  # the log and the vec: their lengths are lost
    memory = StableMemory()
    done = migrate(open_ism(bytes(trace.a.mem), types), memory)
    assert [one.entries for one in done] == [len(trace.expected()[key]) for key in types]
    with pytest.raises(NotOwned, match="length"):
        migrate(open_ism(bytes(trace.a.mem), {4: annotation("vec_boxstr")}), StableMemory())


@pytest.mark.parametrize(
    ("text", "stored", "value", "converted"),
    [
        ("(u8, u16, u32, u64)", tuple[u8, u16, tuple[u32, u64]], (1, 2, 3, 4), (1, 2, (3, 4))),
        ("Option<u32>", Blob(4) | None, 258, b"\0\0\1\2"),
        ("char", u32, "a", 97),
        ("usize", u64, 7, 7),
        ("[bool; 2]", Array(2), (True, False), b"\1\0"),
        ("Nat", Array(32), 258, bytes(30) + b"\1\2"),
        ("Int", Array(32), -1, b"\x7f" + b"\xff" * 31),
        ("(u8,)", u8, (3,), 3),
        ("SBox<String>", str, "x", "x"),
    ],
)
def test_how_values_are_stored(text, stored, value, converted):
    made = target(parse_schema(f'width = 4\n[keys.1]\ntype = "{text}"').types[1])
    assert codec(made.type) == codec(stored)
    assert made.convert(value) == converted


def test_structs_and_enums_of_a_schema():
    schema = parse_schema("""
        width = 4
        [types.Account]
        fields = { owner = "Principal", status = "Status" }
        [types.Status]
        variants = { Open = [], Paid = ["u64"], Late = { days = "u8" } }
        [keys.1]
        type = "SVec<Account>"
    """)
    account = schema.types[1].part
    value = account.decode(bytes([1, 4]) + bytes(28) + b"\1" + (7).to_bytes(8, "little"), Space)
    assert (value.owner, value.status.value0) == (Principal(b"\4"), 7)
    made = target(account)
    assert codec(made.type) == codec(tuple[Principal, tuple[u8, Blob(8)]])
    assert made.convert(value) == (Principal(b"\4"), (1, (7).to_bytes(8, "big")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "width"),
        ("width = 4", "no keys"),
        ("width = 4\n[keys.x]\ntype = 'u8'", "number"),
        ("width = 4\n[keys.1]\ntype = 'SVec<String>'", "SBox"),
        ("width = 4\n[keys.1]\ntype = 'SVec<u8'", "'<' was never closed"),
        ("width = 4\n[keys.1]\ntype = 'SVec<u8>>'", "unmatched '>'"),
        ("width = 4\n[keys.1]\ntype = 'Nope'", "types.Nope"),
        ("width = 4\n[keys.1]\ntype = 'HashMap<u8, u8>'", "not known"),
        ("width = 4\n[keys.1]\ntype = '[u64; 3]'", "cannot encode"),
        ("width = 4\n[keys.1]\ntype = '$'", "not a type"),
        ("width = 4\n[keys.1]\nmemory = 3", "type ="),
        ("width = 4\n[keys.1]\ntype = 'u8'\nmemory = 255", "254"),
        ("width = 4\n[types.L]\nfields = { next = 'L' }\n[keys.1]\ntype = 'L'", "itself"),
        ("width = 4\n[types.L]\n[keys.1]\ntype = 'L'", "variants"),
        ("width = 4\n[keys.1]\ntype = '" + "SBox<" * 50 + "u8" + ">" * 50 + "'", "in each other"),
        ("width = ", "TOML"),
        ("width = " + "[" * 20000, "TOML"),
        ("width = 4\n[keys.1]\ntype = 'SVec<1>'", "not a type"),
        ("width = 4\n[keys.1]\ntype = 'SVec<u8>()'", "not a type"),
        ("width = 4\n[keys.1]\ntype = '" + "(" * 5000 + "'", "not a type"),
        ("width = 4\nwide = 1", "wide"),
        ("width = 4.0\n[keys.1]\ntype = 'u8'", "width = 4"),
        ("width = 4\n[keys.1]\ntype = 'u8'\n[keys.01]\ntype = 'u16'", "keys.01"),
        ("width = 4\n[keys." + "9" * 5000 + "]\ntype = 'u8'", "number"),
        ("width = 4\n[keys.1]\ntype = 'u8'\nmemory = true", "254"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(text, said):
    with pytest.raises(SchemaError, match=said):
        parse_schema(text)


def test_files_and_memories_that_cannot_be(tmp_path):
    with pytest.raises(SchemaError, match="cannot be read"):
        read_schema(tmp_path / "none.toml")
    image = open_ism(GOLDEN / "canister.bin.gz", parse_schema(SCHEMA).types)
    roots = {key: Root(tp, 7) for key, tp in image.types.items()}
    with pytest.raises(SchemaError, match="same memory"):
        migrate(image, StableMemory(), roots)
    with pytest.raises(IncompatibleType, match="cannot be migrated"):
        target(parse_schema('width = 4\n[keys.1]\ntype = "Option<SVec<u8>>"').types[1])


def test_more_keys_than_a_manager_has_memories_are_refused_before_anything_is_written():
    image = open_ism(moments("log_u64")[1][0], dict.fromkeys(range(256), SLog[u64]))
    memory = StableMemory()
    with pytest.raises(SchemaError, match="512 memories"):
        migrate(image, memory)
    assert memory.size() == 0


def nested(kind, entries, broken):
    """A map of containers of boxes, in which some boxes lead to no block."""
    crate, text, number = Allocator(), element(SBox[str]), element(u64)
    form = Vec if kind is SVec else Log
    table = Table(crate, number, SimpleNamespace(n=len(form(crate, text).header())))
    for key in range(entries):
        inner = form(crate, text)
        for i in range(5):
            inner.push((1).to_bytes(8, "little") if (key, i) in broken else text.make(crate, f"*{key + 1}.{i}"))
        table.insert(key.to_bytes(8, "little"), inner.header())
    crate.roots[0] = crate.allocate(len(table.header()))
    crate.write(crate.roots[0] + 8, table.header())
    crate.pre_upgrade()
    return open_ism(bytes(crate.mem), {0: SHashMap[u64, kind[SBox[str]]]})


@pytest.mark.parametrize("kind", [SVec, SLog])
def test_damage_in_a_container_in_a_container_loses_only_what_is_damaged(kind):
    broken = {(2, 1), (2, 4), (5, 0)}
    with pytest.raises(NotOwned):
        migrate(nested(kind, 7, broken), StableMemory())
    memory = StableMemory()
    (done,) = migrate(nested(kind, 7, broken), memory, force=True)
    assert (done.entries, len(done.lost)) == (35 - 3, 3)
    stored = StableBTreeMap[tuple[u64, u64], str](MemoryManager(memory).get(0))
    texts = [text for _, text in stored.items()]
    assert texts == [element(SBox[str]).value_of(f"*{k + 1}.{i}") for k in range(7) for i in range(5) if (k, i) not in broken]


@pytest.mark.parametrize("count", [1, 4, 5, 12, 40])
@pytest.mark.parametrize("kind", [SVec, SLog])
def test_a_length_that_is_not_in_the_image_is_never_taken_without_force(kind, count):
    """Elements that were popped lie where the last ones do, and nothing tells which are which."""
    crate, part = Allocator(), element(u64)
    made = (Vec if kind is SVec else Log)(crate, part)
    for i in range(count + 3):
        made.push((i + 1).to_bytes(8, "little"))
    for _ in range(3):
        made.pop()
    image = open_ism(bytes(crate.mem), {0: kind[u64]})
    memory = StableMemory()
    with pytest.raises(NotOwned, match="length"):
        migrate(image, memory)
    assert memory.size() == 0
    (done,) = migrate(image, StableMemory(), force=True)
    assert done.entries >= count


STATE = """
width = 4
[types.State]
fields = { version = "u32", users = "SBTreeMap<u64, u64>", rest = "(SLog<u32>, SBox<Names>)" }
[types.Names]
fields = { all = "SVec<SBox<String>>", count = "u8" }
[keys.0]
type = "State"
memory = 9
[keys.1]
type = "u64"
"""


def state(*, broken):
    """A canister whose whole state is one struct; or one of its trees leads to no block."""
    crate, text, number = Allocator(), element(SBox[str]), element(u64)
    users, hist, names = Tree(crate, number, number), Log(crate, element(u32)), Vec(crate, text)
    for i in range(40):
        users.insert(i.to_bytes(8, "little"), (i * i).to_bytes(8, "little"))
        hist.push(i.to_bytes(4, "little"))
        names.push(text.make(crate, f"*{i}.3"))
    boxed = crate.allocate(17)
    crate.write(boxed + 8, names.header() + b"\x05")
    tree = (1).to_bytes(8, "little") * 2 if broken else users.header()
    data = (7).to_bytes(4, "little") + tree + hist.header() + boxed.to_bytes(8, "little")
    crate.roots = {0: crate.allocate(len(data)), 1: crate.allocate(8)}
    crate.write(crate.roots[0] + 8, data)
    crate.write(crate.roots[1] + 8, (3).to_bytes(8, "little"))
    crate.pre_upgrade()
    schema = parse_schema(STATE)
    return open_ism(bytes(crate.mem), schema.types), schema.roots


@pytest.mark.parametrize("broken", [False, True])
def test_a_struct_of_containers_is_migrated_field_by_field(broken):
    image, roots = state(broken=broken)
    assert image.owned != broken
    memory = StableMemory()
    if broken:
        with pytest.raises(NotOwned):
            migrate(image, memory, roots)
    done = migrate(image, memory, roots, force=broken)
    assert [(one.key, one.source, one.memories) for one in done] == [
        (0, "State.version, u32", [9]),
        (0, "State.users, SBTreeMap<u64, u64>", [0]),
        (0, "State.rest.0, SLog<u32>", [1, 2]),
        (0, "State.rest.1.all, SVec<SBox<String>>", [3, 4]),
        (0, "State.rest.1.count, u8", [5]),
        (1, "u64", [6]),
    ]
    assert [bool(one.lost) for one in done] == [False, broken, False, False, False, False]
    manager = MemoryManager(memory)
    assert [StableCell[u32](manager.get(9), 0).value, StableCell[u8](manager.get(5), 0).value] == [7, 5]
    assert dict(StableBTreeMap[u64, u64](manager.get(0)).items()) == ({} if broken else {i: i * i for i in range(40)})
    assert list(StableLog[u32](manager.get(1), manager.get(2))) == list(range(40))
    assert list(StableLog[str](manager.get(3), manager.get(4))) == [element(SBox[str]).value_of(f"*{i}.3") for i in range(40)]
    assert check(memory) == []
