"""memories.toml: what it says is used by every verb; what it says wrongly is an error that names the file and the key."""

from __future__ import annotations

import json
import subprocess

import pytest

from stable_structures import (
    Array,
    Blob,
    Candid,
    Cbor,
    IncompatibleType,
    MemoryManager,
    Principal,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    codec,
    f64,
    u8,
    u32,
    u64,
)
from stable_structures import open_image as open_structures
from stable_structures.encodings.wasm import HEADER
from stable_structures.inspect import Misfit, SchemaFiles, Unreadable, check, inspect, open_image
from stable_structures.inspect.guessed import first_schema
from stable_structures.inspect.schema import read_schema
from stable_structures.storable import parse_type

from ..support.command import run

USER = "record { name : text; age : nat8 }"
DID = "type User = record { name : text; age : nat8 }; service : { get : () -> (User) query }"
WHOLE = """
[memories.0]
name = "users"
structure = "map"
key = "principal"
value = "candid<record { name : text; age : nat8 }>"
[memories.1]
name = "points"
structure = "vec"
value = "u64"
[memories.2]
name = "events"
structure = "log"
value = "string"
data = 3
"""


def principal(number):
    return Principal(bytes([number]) * 8 + b"\1\1")


def fill(memory):
    manager = MemoryManager(memory, bucket_pages=1)
    users = StableBTreeMap[Principal, Candid(USER)](manager.get(0))
    users.update({principal(i): {"name": f"user {i}", "age": i} for i in range(30)})
    StableVec[u64](manager.get(1)).extend(range(100, 200))
    StableLog[str](manager.get(2), manager.get(3)).extend(["began", "ended"])
    StableBTreeSet[str](manager.get(4)).update(["x", "yy"])
    StableCell[Cbor](manager.get(5), {"fee": 1})
    StableMinHeap[u32](manager.get(6)).push_many([3, 1, 2])
    StableBTreeMap[u64, tuple[f64, u32, Array(12)]](manager.get(7)).insert_many(range(3), [(1.5, 2, b"x" * 12)] * 3)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "x.bin"
    with StableMemory.open(path, durability="none") as memory:
        fill(memory)
    return path


def lines(made):
    return [json.loads(line) for line in made.splitlines()]


def verb(*words):
    made = run(words)
    return made.returncode, made.stdout, made.stderr


def test_each_verb_takes_names_and_types_from_the_schema_beside_the_image(image, tmp_path):
    (tmp_path / "memories.toml").write_text(WHOLE)
    code, out, _ = verb("dump", image, "--memory", "users", "--limit", "1")
    assert (code, lines(out)) == (0, [{"key": str(principal(0)), "value": {"age": 0, "name": "user 0"}}])
    code, out, _ = verb("get", image, "--memory", "users", "--key", str(principal(7)))
    assert (code, json.loads(out)) == (0, {"age": 7, "name": "user 7"})
    report = json.loads(verb("inspect", image, "--json")[1])
    assert [(one["memory"], one["name"], one["value_type"]) for one in report["memories"][:3]] == [
        (0, "users", "candid<record { age : nat8; name : text }>"), (1, "points", "u64"), (2, "events", "str"),
    ]  # fmt: skip
    assert verb("check", image)[0] == 0
    for name in ("shrink", "repair"):
        assert verb(name, image, "-o", tmp_path / f"{name}.bin")[0] == 0
    assert verb("diff", image, tmp_path / "shrink.bin", "--memory", "users")[0] == 0
    assert verb("export", image, "--memory", "points", "-o", tmp_path / "points.bin")[0] == 0
    dump = tmp_path / "users.jsonl"
    dump.write_text(verb("dump", image, "--memory", "users")[1])
    made = tmp_path / "made.bin"
    assert verb("load", dump, "--memory", "users", "--schema", tmp_path / "memories.toml", "-o", made)[0] == 0
    with open_image(made, files=SchemaFiles(tmp_path / "memories.toml")) as found:
        assert found.part("users").id == 0
        assert check(found) == []


def test_a_name_that_no_memory_has_is_said(image, tmp_path):
    assert "no schema names its memories" in verb("dump", image, "--memory", "users")[2]
    (tmp_path / "memories.toml").write_text(WHOLE)
    code, _, error = verb("dump", image, "--memory", "user")
    assert code == 2
    assert "'users', 'points', 'events'" in error


def test_a_schema_beside_another_image_is_passed_over_where_it_does_not_fit(image, tmp_path):
    (tmp_path / "memories.toml").write_text('[memories.1]\nvalue = "f64"\n[memories.7]\nkey = "string"\n[memories.9]\nname = "nothing"')
    found = inspect(image)
    assert not found.damaged
    assert [note.partition(": ")[2].partition(":")[0] for note in found.notes] == ["memory 7 is passed over", "nothing"]
    assert check(image) == []
    with pytest.raises(Misfit, match=r"memories.toml: memory 7: .*correct the schema"):
        open_image(image, files=SchemaFiles(tmp_path / "memories.toml"))


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("[memories.0", "", "not TOML"),
        ("memory = 1", "memory", "do you mean memories?"),
        ("memories = 1", "memories", "one table for each memory"),
        ("[memories.255]", "memories.255", "0 to 254"),
        ("[memories.x]", "memories.x", "0 to 254"),
        ("[memories]\n0 = 1", "memories.0", "expected a table"),
        ('[memories.0]\nkeys = "u64"', "memories.0.keys", "do you mean key?"),
        ('[memories.0]\nkey = "u65"', "memories.0.key", "unknown name u65"),
        ("[memories.0]\nkey = 64", "memories.0.key", "a text in quotes"),
        ('[memories.0]\nkey = "f64"\nstructure = "map"', "memories.0.key", "cannot be a key"),
        ('[memories.0]\nkey = "u64"\nstructure = "vec"', "memories.0.key", "no keys"),
        ('[memories.0]\nvalue = "u64"\nstructure = "set"', "memories.0.value", "no values"),
        ('[memories.0]\nstructure = "tree"', "memories.0.structure", "map, set, vec, heap, log, cell"),
        ("[memories.0]\ndata = true", "memories.0.data", "0 to 254"),
        ('[memories.0]\nname = "a\\nb"', "memories.0.name", "printable"),
        ('[memories.0]\nname = "a"\n[memories.1]\nname = "a"', "name", "2 memories"),
        ('did = "none.did"\n[memories.0]\nvalue = "candid<User>"', "", "none.did: cannot be read"),
        ('[memories.0]\nvalue = "candid<User>"', "memories.0.value", "does not define the type User"),
        ('[memories.0]\nvalue = "record { a : nat }"', "memories.0.value", "write candid<record { a : nat }>"),
    ],
)
def test_a_wrong_schema_is_an_error_with_file_key_and_what_to_do(tmp_path, text, where, what):
    path = tmp_path / "memories.toml"
    path.write_text(text)
    with pytest.raises(Unreadable) as caught:
        read_schema(path)
    said = str(caught.value)
    assert what in said
    assert said.startswith(f"{path}: {where}" if where else str(tmp_path))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("nat64", "u64"), ("int32", "i32"), ("float64", "f64"), ("text", "string"), ("blob", "vec<u8>"), ("vec nat8", "bytes"),
        ("opt text", "option<string>"), ("tuple<opt nat8, blob, None>", "tuple[u8 | None, bytes, None]"), ("blob<29>", "Blob(29)"),
        ("CANDID<opt blob>", "candid<opt vec nat8>"), ("null", "unit"), ("[u8; 20]", "Array(20)"), ("Option<[u8;4]>", "Array(4) | None"),
        ("candid::Principal", "principal"), ("std::cmp::Reverse<std::string::String>", "Reverse[str]"), ("Candid()", "candid"),
        ("Candid('opt blob')", "candid<opt vec nat8>"), ("Basilisk()", "basilisk"),
        ("cbor<dict<str, list<int | None>>>", "Cbor[dict[str, list[int | None]]]"),
    ],
)  # fmt: skip
def test_types_are_spelled_as_in_the_crate_in_python_and_in_candid(tmp_path, text, same):
    path = tmp_path / "memories.toml"
    path.write_text(f'[image]\nvalue = "{text}"')
    assert read_schema(path).of(None).value == parse_type(same)


@pytest.mark.parametrize(
    "tp",
    [Cbor, Cbor[dict], Cbor[dict[str, list[int | None]]], Cbor[tuple[int, ...]], Candid(), Candid(USER)],
    ids=str,
)
def test_the_name_of_a_type_is_its_spelling(tp):
    assert parse_type(codec(tp).name) == codec(tp)


@pytest.mark.parametrize(
    "text", ["Cbor[Foo]", "Cbor[dict[str]]", "Cbor[int[str]]", "Cbor[1]", "Cbor[... | int]", "[u16; 4]", "[u8; -1]", "a::"]
)
def test_a_type_that_is_none_is_refused_with_examples(text):
    with pytest.raises(IncompatibleType, match="write for example"):
        parse_type(text)


def test_fields_known_by_hashes_get_their_names_from_the_interface(image, tmp_path):
    """A first schema knows hashes alone: whatever says names later names its fields, too, in each verb and back into an image."""
    first, did = tmp_path / "first.toml", tmp_path / "x.did"
    did.write_text(DID)
    assert verb("inspect", image, "--write-schema", first)[0] == 0
    named = ("--schema", first, "--did", did, "--memory", 0)
    dumped = lines(verb("dump", image, *named)[1])
    assert dumped[3]["value"] == {"age": 3, "name": "user 3"}
    assert "age : nat8; name : text" in verb("inspect", image, "--json", *named)[1]
    with open_structures(image, schema=first, did=did) as opened:
        assert opened[0][principal(3)] == {"age": 3, "name": "user 3"}
        assert str(opened[0].to_arrow().schema.field("value").type) == "struct<age: uint8, name: string>"
    out = tmp_path / "users.jsonl"
    assert verb("dump", image, *named, "-o", out)[0] == 0
    assert verb("load", out, *named, "-o", tmp_path / "loaded.bin")[0] == 0
    assert verb("diff", image, tmp_path / "loaded.bin", "--memory", 0)[0] == 0
    code, _, error = verb("load", out, "--schema", first, "--memory", 0, "-o", tmp_path / "unnamed.bin")
    assert (code, "got the field 'age'" in error) == (2, True)


def test_names_reach_a_message_of_unknown_type_in_the_schema(image, tmp_path):
    (tmp_path / "memories.toml").write_text('[memories.0]\nkey = "principal"\nvalue = "candid"\n[memories.1]\nvalue = "opt candid<nat>"\n')
    did = tmp_path / "x.did"
    did.write_text(DID)
    with open_structures(image, did=did) as opened:
        assert opened[0][principal(3)] == {"age": 3, "name": "user 3"}


def test_an_option_may_name_a_type_of_the_interface(image, tmp_path):
    did = tmp_path / "x.did"
    did.write_text(DID)
    types = ("--memory", 0, "--key-type", "principal", "--value-type", "candid<User>")
    assert lines(verb("dump", image, *types, "--did", did)[1])[3]["value"] == {"age": 3, "name": "user 3"}
    (tmp_path / "memories.toml").write_text('did = "x.did"')
    assert lines(verb("dump", image, *types)[1])[3]["value"] == {"age": 3, "name": "user 3"}
    (tmp_path / "memories.toml").unlink()
    for text in ("candid<User>", "candid<User", "candid<nat", "candidate"):
        code, _, error = verb("dump", image, "--memory", 0, "--value-type", text)
        assert (code, "--value-type" in error) == (2, True)


def test_load_and_import_know_the_schema_of_the_image_that_they_go_into(image, tmp_path):
    (tmp_path / "memories.toml").write_text(WHOLE)
    out, part = tmp_path / "users.jsonl", tmp_path / "part.bin"
    assert verb("dump", image, "--memory", "users", "-o", out)[0] == 0
    assert verb("load", out, "--memory", "users", "--into", image, "-o", tmp_path / "loaded.bin")[0] == 0
    assert verb("diff", image, tmp_path / "loaded.bin")[0] == 0
    assert verb("export", image, "--memory", "points", "-o", part)[0] == 0
    assert verb("import", part, "--memory", "points", "--into", image, "-o", tmp_path / "same.bin")[0] == 0
    assert verb("diff", image, tmp_path / "same.bin")[0] == 0
    assert verb("import", part, "--memory", "pints", "--into", image, "-o", tmp_path / "none.bin")[0] == 2
    assert not (tmp_path / "none.bin").exists()
    (tmp_path / "memories.toml").write_text('[image]\nname = "all"')
    assert verb("import", part, "--memory", "all", "--into", image, "-o", tmp_path / "none.bin")[0] == 2


@pytest.mark.parametrize(("structure", "kind"), [("set", StableBTreeSet), ("map", StableBTreeMap)])
@pytest.mark.parametrize("keys", [[], [principal(1)], [Principal(b"\1")], [principal(i) for i in range(20)]], ids=len)
def test_the_schema_says_whether_it_is_a_set_or_a_map_of_units(tmp_path, structure, kind, keys):
    """In an image both look the same, and an empty one or a single entry like a map of something else."""
    memory = StableMemory()
    StableBTreeSet[Principal](memory).update(keys)
    image, schema = tmp_path / "x.bin", tmp_path / "memories.toml"
    image.write_bytes(memory.read(0, memory.nbytes))
    schema.write_text(f'[image]\nstructure = "{structure}"\nkey = "principal"\n')
    with open_structures(image) as opened:
        assert isinstance(opened[None], kind)
        assert opened.types().structure == structure
        assert list(opened[None]) == keys
    found = json.loads(verb("inspect", image, "--json")[1])["memories"][0]
    assert bool(found["facts"].get("set")) == (structure == "set")
    assert verb("check", image)[0] == 0


@pytest.mark.parametrize("spelled", ["{}", "Stable{}", "kind"])
def test_structures_are_spelled_as_in_the_crate_in_python_and_here(spelled, tmp_path):
    names = {"BTreeMap": "map", "BTreeSet": "set", "Vec": "vec", "MinHeap": "heap", "Log": "log", "Cell": "cell"}
    for name, kind in names.items():
        word = kind if spelled == "kind" else spelled.format(name)
        path = tmp_path / "memories.toml"
        path.write_text(f'[memories.0]\nstructure = "{word}"\n')
        assert read_schema(path).of(0).structure == kind
        dump, out = tmp_path / "dump.jsonl", tmp_path / f"{word}.bin"
        dump.write_text('{"key": 1, "value": 2}\n' if kind == "map" else '{"key": 1}\n' if kind == "set" else '{"value": 1}\n')
        types = ["--key-type", "u64"] * (kind in ("map", "set")) + ["--value-type", "u64"] * (kind != "set")
        assert verb("load", dump, "--memory", "3", "--structure", word, *types, "-o", out)[:1] == (0,), word
        found = json.loads(verb("inspect", out, "--json")[1])["memories"][0]
        assert found["kind"] in (kind, f"{kind} index", "map" if kind == "set" else kind)
    for unknown in ("Stable", "StableMap", "btree", "Queue", ""):
        path.write_text(f'[memories.0]\nstructure = "{unknown}"\n')
        with pytest.raises(Unreadable, match="is not a structure; write one of map, set"):
            read_schema(path)


def test_a_map_with_values_is_not_a_set(image, tmp_path):
    schema = tmp_path / "wrong.toml"
    schema.write_text('[memories.0]\nstructure = "set"\nkey = "principal"')
    code, _, error = verb("check", image, "--schema", schema)
    assert (code, "it does not fit" in error) == (2, True)


def test_the_first_schema_says_nothing_of_the_types_of_what_is_empty(tmp_path):
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    StableBTreeMap[u64, str](manager.get(0))
    StableBTreeSet[str](manager.get(1))
    StableLog[str](manager.get(2), manager.get(3))
    with open_image(memory.read(0, memory.nbytes)) as found:
        text = first_schema(found)
    assert text.count("empty: nobody can guess its types") == 3
    assert "a guess" not in text.replace("marked as guesses", "")
    path = tmp_path / "memories.toml"
    path.write_text(text)
    assert set(read_schema(path).memories) == {0, 1, 2, 3}


def test_the_first_schema_is_read_back_and_fits(image, tmp_path):
    with open_image(image) as found:
        text = first_schema(found)
    assert 'value = "candid<record { 4846783 : nat8; 1224700491 : text }>"  # a guess' in text
    path = tmp_path / "first.toml"
    path.write_text(text)
    with open_image(image, files=SchemaFiles(path)) as found:
        assert [part.given.structure for part in found.parts.values()] == ["map", "vec", "log", None, "set", "cell", "heap", "map"]
        assert not found.notes
    assert verb("inspect", image, "--write-schema", tmp_path / "again.toml")[0] == 0
    assert (tmp_path / "again.toml").read_text() == text
    code, _, error = verb("inspect", image, "--write-schema", path)
    assert code == 2
    assert "already" in error


def test_names_come_from_the_interface_then_the_module_then_the_words(tmp_path):
    memory = StableMemory()
    StableBTreeMap[u8, Candid(USER)](memory)[1] = {"name": "Ada", "age": 36}
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "stable_memory.bin").write_bytes(memory.read(0, memory.nbytes))
    (folder / "metadata.json").write_text(json.dumps({"stable_memory_size": memory.nbytes}))

    def shown(**told):
        with open_image(folder, files=SchemaFiles(**told)) as found:
            return inspect(found).memories[0].first[0][1]

    assert shown() == {"_4846783": 36, "_1224700491": "Ada"}
    words, did = tmp_path / "words.txt", tmp_path / "x.did"
    words.write_text("age\nof no use\n")
    assert shown(words=words) == {"age": 36, "_1224700491": "Ada"}
    name = b"icp:public candid:service"
    body = bytes([len(name)]) + name + b"service : { get : () -> (record { name : text }) }"
    (folder / "wasm_module.bin").write_bytes(HEADER + b"\0" + bytes([len(body)]) + body)
    assert shown() == {"_4846783": 36, "name": "Ada"}
    packed = subprocess.run(["gzip", "-c", folder / "wasm_module.bin"], capture_output=True, check=True).stdout  # noqa: S607
    (folder / "wasm_module.bin").write_bytes(packed)
    assert shown(words=words) == {"age": 36, "name": "Ada"}
    (folder / "wasm_module.bin").write_bytes(packed[:40])
    assert shown() == {"_4846783": 36, "_1224700491": "Ada"}
    did.write_text(DID)
    assert shown(did=did) == {"age": 36, "name": "Ada"}
    with pytest.raises(Unreadable, match=r"none\.did"):
        shown(did=tmp_path / "none.did")


def test_bytes_of_a_bound_and_keys_of_an_unknown_order_keep_the_schema_true(tmp_path):
    memory = StableMemory()
    StableBTreeMap[tuple[Blob(4), u8], u64](memory).update({(b"a" * (i % 5), i): i for i in range(60)})
    path = tmp_path / "x.bin"
    path.write_bytes(memory.read(0, memory.nbytes))
    with open_image(path) as found:
        (tmp_path / "memories.toml").write_text(first_schema(found))
    with open_image(path, files=SchemaFiles(tmp_path / "memories.toml")) as found:
        assert check(found) == []


EIGHT = [number.to_bytes(8, "big") for number in range(60)]


@pytest.mark.parametrize(
    "made",
    [
        lambda memory: StableBTreeMap[bytes, u64](memory).update(zip(EIGHT, range(60), strict=True)),
        lambda memory: StableBTreeMap[codec(Blob(8)), u64](memory).update(zip(EIGHT, range(60), strict=True)),
        lambda memory: StableBTreeSet[Principal](memory).update(map(Principal, EIGHT)),
        lambda memory: StableVec[codec(Blob(8))](memory).extend(EIGHT),
        lambda memory: StableMinHeap[codec(Blob(8))](memory).push_many(EIGHT),
    ],
    ids=["bytes", "blob", "set", "vec", "heap"],
)
def test_bytes_that_happen_to_be_of_one_size_are_not_guessed_as_numbers(made, tmp_path):
    """Their sizes are stored, those of numbers are not."""
    memory = StableMemory()
    made(memory)
    path = tmp_path / "x.bin"
    path.write_bytes(memory.read(0, memory.nbytes))
    with open_structures(path) as opened:
        first = list(opened[None])
        assert [item[0] if isinstance(item, tuple) else item for item in first] == EIGHT
    with open_image(path) as found:
        (tmp_path / "memories.toml").write_text(first_schema(found))
    with open_image(path) as found:
        assert (check(found), found.notes) == ([], [])


@pytest.mark.parametrize("number", ["00", "007", "1_0", "9" * 5000])
def test_an_id_is_written_in_one_way(tmp_path, number):
    (tmp_path / "memories.toml").write_text(f'[memories.0]\nname = "a"\n[memories.{number}]\nname = "b"\n')
    with pytest.raises(Unreadable, match="expected the id of a memory"):
        read_schema(tmp_path / "memories.toml")


@pytest.mark.parametrize("memory", [2, 9])
def test_data_of_a_log_that_are_in_no_such_memory_are_a_wrong_schema_not_damage(tmp_path, memory):
    image = StableMemory()
    manager = MemoryManager(image)
    StableLog[str](manager.get(0), manager.get(1)).append("one")
    StableBTreeMap[u64, u64](manager.get(2)).insert(1, 1)
    path, schema = tmp_path / "x.bin", tmp_path / "memories.toml"
    path.write_bytes(image.read(0, image.nbytes))
    schema.write_text(f'[memories.0]\nstructure = "log"\ndata = {memory}\n')
    with open_image(path) as found:
        assert check(found) == []
        assert any(f"memory {memory}" in note and "passed over" in note for note in found.notes)
        assert found.part(0).data is found.part(1)
    with pytest.raises(Misfit, match=f"memory {memory}"):
        open_image(path, files=SchemaFiles(schema))
