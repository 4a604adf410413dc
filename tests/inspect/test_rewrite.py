"""repair, shrink, load, export, import and diff: nothing is lost that need not be, and the crate's rules hold in what is written."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Iterator
from functools import partial
from itertools import zip_longest
from typing import Any

import cbor2
import pytest

from stable_structures import (
    PAGE_SIZE,
    Array,
    Blob,
    Cbor,
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
    u32,
    u64,
)
from stable_structures.__main__ import main
from stable_structures.inspect import Unreadable, check, inspect, open_image
from stable_structures.inspect.compare import diff
from stable_structures.inspect.dump import export, get, table, write
from stable_structures.inspect.formats import sequences
from stable_structures.inspect.formats.layout import LENGTH_AT, LOG_ENDS_AT
from stable_structures.inspect.formats.maps import MapReader
from stable_structures.inspect.formats.nodes import Node
from stable_structures.inspect.formats.survey import batches, entries_of
from stable_structures.inspect.image import SchemaFiles
from stable_structures.inspect.repair.salvage import repair
from stable_structures.inspect.rewrite.rewrite import import_part, load, shrink
from stable_structures.inspect.source import NotWhole
from stable_structures.storable import parse_type

from ..support import golden_replay
from ..support.inspect_images import OLD, Patched, fuller, golden, make_dfx, old, read, traces, types_of

pytestmark = pytest.mark.usefixtures("without_fsync")

MAPS = [name for name in traces() if name.startswith(("btreemap", "btreeset"))]


def reader(what: Any, memory: int | None = None, types: Any = (None, None)) -> MapReader:
    found = open_image(what).part(memory).open(*types)
    assert isinstance(found, MapReader)
    return found


def entries(what: Any, memory: int | None = None, types: Any = (None, None)) -> list[tuple[bytes, bytes]]:
    return list(reader(what, memory, types).entries())


def nodes(map_reader: MapReader) -> list[Node]:
    found: list[Node] = []

    def walk(address: int) -> None:
        node = map_reader.space.node(address, map_reader.layout)
        found.append(node)
        for child in node.children:
            walk(child)

    walk(map_reader.root)
    return found


def opened(path: Any) -> StableMemory:
    memory = StableMemory()
    data = path.read_bytes()
    memory.grow(len(data) // PAGE_SIZE)
    memory.write(0, data)
    return memory


# ---- repair ----


def some_nodes(sound: MapReader, seed: int) -> list[Node]:
    """The root, some other internal nodes and some leaves; other ones in each run."""
    root, *others = nodes(sound)
    inner, leaves = ([node for node in others if node.leaf is leaf] for leaf in (False, True))
    choose = random.Random(seed)
    return [root, *choose.sample(inner, min(4, len(inner))), *choose.sample(leaves, min(4, len(leaves)))]


def destroy(data: bytes, types: Any, told: Any, tmp_path: Any, seed: int) -> None:
    """Each node in turn is zeroed: all entries but its own are there afterwards."""
    whole, sound = entries(data, types=types[None]), reader(data, types=types[None])
    for node in some_nodes(sound, seed):
        out = tmp_path / "out.bin"
        (result,) = repair(Patched(data, {node.address: bytes(sound.page)}), out, types=told)
        own = {(key, node.value(i)) for i, key in enumerate(node.keys)}
        left = entries(out, types=types[None])
        assert left == [entry for entry in whole if entry not in own]
        assert (result.expected, result.kept, result.missing) == (len(whole), len(left), len(own))
        assert any(f"at {node.address}" in text for text in result.lost)
        assert check(out, types=types) == []
        out.unlink()


@pytest.mark.parametrize("name", MAPS)
def test_a_destroyed_node_costs_its_own_entries_and_no_other(name, tmp_path, seed):
    """Those below an internal node are found again by their chunks."""
    destroy(golden(name)[0], types_of(name), types_of(name), tmp_path, seed)


@pytest.mark.parametrize("name", ["btreemap_bytes_bytes", "btreemap_u64_u64", "btreemap_v1_u64_blob100", "btreeset_string"])
def test_a_destroyed_node_costs_no_more_where_no_type_is_told(name, tmp_path, seed):
    destroy(golden(name)[0], types_of(name), None, tmp_path, seed)


@pytest.mark.parametrize("name", OLD)
def test_a_destroyed_node_of_layout_1_costs_no_more(name, tmp_path, seed):
    assert {node.version for node in nodes(reader(old(name), types=types_of(name)[None]))} == {1}
    destroy(old(name), types_of(name), types_of(name), tmp_path, seed)


def test_a_destroyed_node_costs_no_more_among_nodes_of_both_layouts(tmp_path, seed):
    types = types_of("btreemap_v1_u64_blob100")
    (tmp_path / "old.bin").write_bytes(old("btreemap_v1_u64_blob100"))
    memory = opened(tmp_path / "old.bin")
    users = StableBTreeMap[types[None]].load(memory)
    for i in range(60):
        users.insert(i << 57, b"%d" % i)
    assert {node.version for node in nodes(reader(read(memory), types=types[None]))} == {1, 2}
    destroy(read(memory), types, types, tmp_path, seed)


@pytest.mark.parametrize("name", MAPS)
def test_a_damaged_node_does_not_change_what_is_guessed_of_the_others(name):
    data = golden(name)[0]
    sound = reader(data)
    for address in sound.sample:
        for patch in (bytes(200), b"\xff" * 40, bytes(range(7, 90))):
            damaged = reader(Patched(data, {address + 15: patch}))
            assert damaged.layout == sound.layout


@pytest.mark.parametrize("name", ["btreemap_bytes_bytes", "btreemap_u64_u64", "btreemap_v1_blob10_blob30"])
def test_what_repair_writes_the_library_opens(name, tmp_path):
    data, types = golden(name)[0], types_of(name)
    root = reader(data).root
    repair(Patched(data, {root: bytes(20)}), tmp_path / "out.bin", types=types)
    found = StableBTreeMap[types[None]].load(opened(tmp_path / "out.bin"))
    found.check()
    assert len(found) > 100


def test_a_broken_chain_costs_the_values_in_it_and_the_other_entries_of_the_node_stay(tmp_path):
    data = golden("btreemap_bytes_bytes")[0]
    sound = reader(data)
    node = next(node for node in nodes(sound) if len(node.run.pages) > 3)
    (result,) = repair(Patched(data, {node.run.pages[-1]: b"XXX"}), tmp_path / "out.bin")
    lost = set(entries(data)) - set(entries(tmp_path / "out.bin"))
    assert 0 < len(lost) < len(node.keys)
    assert {key for key, _ in lost} <= set(node.keys)
    assert result.missing == len(lost)


def test_a_map_whose_header_is_gone_is_saved(tmp_path):
    data = golden("btreemap_u64_u64")[0]
    (result,) = repair(Patched(data, {0: b"????"}), tmp_path / "out.bin")
    assert entries(tmp_path / "out.bin") == entries(data)
    assert result.whole


def test_entries_from_before_a_clearing_do_not_come_back(tmp_path):
    memory = StableMemory()
    users = StableBTreeMap[u64, u64](memory)
    users.update({i: i for i in range(1000)})
    users.clear()
    users.update(dict.fromkeys(range(100), 7))
    data = read(memory)
    node = next(node for node in nodes(reader(data)) if not node.leaf)
    repair(Patched(data, {node.address: bytes(10)}), tmp_path / "out.bin")
    assert all(value == (7).to_bytes(8, "big") for _, value in entries(tmp_path / "out.bin"))


def test_a_damaged_element_leaves_an_empty_one_so_that_the_others_keep_their_numbers(tmp_path):
    memory = StableMemory()
    words = StableVec[parse_type("blob<20>")](memory)
    for i in range(10):
        words.push(b"%d" % i)
    (result,) = repair(Patched(read(memory), {64 + 3 * 21: b"\xff"}), tmp_path / "out.bin")
    assert list(StableVec[parse_type("blob<20>")](opened(tmp_path / "out.bin"))) == [
        b"0",
        b"1",
        b"2",
        b"",
        *(b"%d" % i for i in range(4, 10)),
    ]
    assert (result.kept, len(result.lost)) == (9, 1)
    assert "element 3" in result.lost[0]


def log_in(manager: MemoryManager) -> StableLog[str]:
    return StableLog[str](manager.get(2), manager.get(3))


def test_a_damaged_end_costs_two_entries_of_a_log(tmp_path):
    memory = StableMemory()
    log = log_in(MemoryManager(memory, bucket_pages=1))
    for i in range(10):
        log.append(f"line {i}")
    image = open_image(memory)
    at = image.parts[2].source.physical(40 + 8 * 4)
    results = repair(Patched(read(memory), {at: b"\xff" * 8}), tmp_path / "out.bin")
    saved = list(log_in(MemoryManager(opened(tmp_path / "out.bin"))))
    assert saved == [f"line {i}" if i not in (4, 5) else "" for i in range(10)]
    assert [len(one.lost) for one in results if one.kind == "log index"] == [2]


PAIR = parse_type("tuple<blob<5>,bool>")


def row_of(kind: str, values: list[Any], element: Any) -> tuple[bytes, Any]:
    """The image of a row, and how to open one."""
    memory = StableMemory()
    opener = {"vec": StableVec, "heap": StableMinHeap}[kind][element]
    row = opener(memory)
    for value in values:
        row.push(value)
    return read(memory), opener


def test_an_element_that_is_no_value_of_the_told_type_is_lost(tmp_path):
    pairs = [(b"%d" % i, i % 2 == 0) for i in range(10)]
    data, vec = row_of("vec", pairs, PAIR)
    memory, types = Patched(data, {64 + 3 * 8 + 6: b"\x07"}), {None: (None, PAIR)}
    (untold,) = repair(memory, tmp_path / "untold.bin")
    assert untold.whole
    (result,) = repair(memory, tmp_path / "out.bin", types=types)
    assert list(vec(opened(tmp_path / "out.bin"))) == [*pairs[:3], (b"", False), *pairs[4:]]
    assert (result.kept, result.missing, len(result.lost)) == (9, 1, 1)
    assert "element 3" in result.lost[0]
    assert check(memory, types=types) != []
    assert check(tmp_path / "out.bin", types=types) == []


def test_an_encoding_that_the_type_does_not_have_is_damage_and_its_value_is_saved(tmp_path):
    pairs = [(b"%d" % i, i % 2 == 0) for i in range(10)]
    data, vec = row_of("vec", pairs, PAIR)
    memory, types = Patched(data, {64 + 3 * 8 + 4: b"?"}), {None: (None, PAIR)}
    assert ["element 3" in str(one.found) for one in check(memory, types=types)] == [True]
    (result,) = repair(memory, tmp_path / "out.bin", types=types)
    assert result.whole
    assert "element 3" in result.notes[0]
    assert list(vec(opened(tmp_path / "out.bin"))) == pairs
    assert check(tmp_path / "out.bin", types=types) == []


def test_what_is_lost_of_a_heap_leaves_no_gap_and_the_rest_is_a_heap(tmp_path):
    pairs = [(b"%d" % i, i % 2 == 0) for i in range(10)]
    data, heap = row_of("heap", pairs, PAIR)
    (result,) = repair(Patched(data, {64 + 6: b"\x07"}), tmp_path / "out.bin", types={None: (None, PAIR)})
    saved = heap(opened(tmp_path / "out.bin"))
    assert [saved.pop() for _ in range(len(saved))] == pairs[1:]
    assert result.missing == 1
    assert check(tmp_path / "out.bin", types={None: (None, PAIR)}) == []


@pytest.mark.parametrize("patch", [{12: b"\xff"}, {16: b"\x01"}, {4: b"\xff" * 8}, {4: b"\x0a\x00\x00\x00\x01"}])
def test_a_row_whose_header_is_damaged_is_saved(patch, tmp_path):
    pairs = [(b"%d" % i, i % 2 == 0) for i in range(10)]
    data, vec = row_of("vec", pairs, PAIR)
    types = {None: (None, PAIR)}
    repair(Patched(data, patch), tmp_path / "out.bin", types=types)
    assert list(vec(opened(tmp_path / "out.bin"))) == pairs
    assert check(tmp_path / "out.bin", types=types) == []


def test_an_end_that_is_too_small_costs_no_entry_before_it(tmp_path):
    """It contradicts the end before it, which the end behind it bears out."""
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    log_in(manager).extend(f"line {i}" for i in range(10))
    manager.get(2).write(LOG_ENDS_AT + 8 * 5, bytes(8))
    repair(data_memory(read(memory)), tmp_path / "out.bin", types={2: (None, parse_type("string"))})
    assert list(log_in(MemoryManager(opened(tmp_path / "out.bin")))) == ["" if i in (5, 6) else f"line {i}" for i in range(10)]


def test_a_key_that_is_there_twice_is_saved_once(tmp_path):
    """A damaged key that reads as its neighbour: the saved map keeps the rules, and the report says that there was another."""
    memory = StableMemory()
    StableBTreeMap[u64, u64](memory).update({i: i + 1000 for i in range(100)})
    one, two, three = (i.to_bytes(8, "big") for i in (1, 2, 3))
    data = read(memory).replace(one + two + three, one + three + three)
    (result,) = repair(data_memory(data), tmp_path / "out.bin", types={None: (parse_type("u64"), parse_type("u64"))})
    assert check(tmp_path / "out.bin") == []
    keys = [key for key, _ in entries(tmp_path / "out.bin")]
    assert keys == sorted({i.to_bytes(8, "big") for i in range(100) if i != 2})
    assert (result.kept, result.missing) == (99, 1)
    assert any("second entry" in note for note in result.notes)


def test_entries_are_not_loaded_into_half_an_image(tmp_path):
    (tmp_path / "half.bin").write_bytes(golden("canister_bucket16")[0][: 20 * PAGE_SIZE])
    (tmp_path / "dump.csv").write_text("key,value\n1,2\n")
    types = {"key": parse_type("u64"), "value": parse_type("u64")}
    with pytest.raises(NotWhole):
        load(tmp_path / "dump.csv", tmp_path / "out.bin", memory=200, into=tmp_path / "half.bin", **types)
    assert not (tmp_path / "out.bin").exists()


def test_entries_of_a_log_that_are_no_text_are_lost(tmp_path):
    memory = StableMemory()
    log = log_in(MemoryManager(memory, bucket_pages=1))
    for i in range(10):
        log.append(f"line {i}")
    at = open_image(memory).parts[3].source.physical(32 + 4 * 6)
    types = {2: (None, parse_type("string"))}
    repair(Patched(read(memory), {at: b"\xff"}), tmp_path / "out.bin", types=types)
    assert list(log_in(MemoryManager(opened(tmp_path / "out.bin")))) == [f"line {i}" if i != 4 else "" for i in range(10)]
    assert check(tmp_path / "out.bin", types=types) == []


def test_the_value_of_a_cell_that_is_no_text_is_lost_and_the_default_takes_its_place(tmp_path):
    memory = StableMemory()
    StableCell[str](memory, "a value")
    damaged = Patched(read(memory), {10: b"\xff"})
    (result,) = repair(damaged, tmp_path / "out.bin", types={None: (None, parse_type("string"))})
    assert not result.whole
    assert StableCell[str](opened(tmp_path / "out.bin"), "default").get() == "default"
    (untold,) = repair(damaged, tmp_path / "untold.bin")
    assert untold.whole
    assert StableCell[bytes](opened(tmp_path / "untold.bin"), b"").get() == b"a \xffalue"


def test_a_value_of_a_map_that_is_no_text_is_lost(tmp_path):
    memory = StableMemory()
    users = StableBTreeMap[u64, str](memory)
    users.update({i: f"user {i}" for i in range(100)})
    types = {None: (parse_type("u64"), parse_type("string"))}
    users_reader = reader(memory)
    found = (one for batch in batches(users_reader, None) for one in entries_of(batch))
    address, i = next((node, i) for node, i, key, _ in found if key == (42).to_bytes(8, "big"))
    at = address + users_reader.space.node(address, users_reader.layout).values[i][0]
    (result,) = repair(Patched(read(memory), {at: b"\xff"}), tmp_path / "out.bin", types=types)
    saved = dict(StableBTreeMap[u64, str].load(opened(tmp_path / "out.bin")).items())
    assert saved == {i: f"user {i}" for i in range(100) if i != 42}
    assert result.missing == 1
    assert "value of key 000000000000002a" in result.lost[0]


def test_a_heap_whose_type_is_told_is_put_in_order(tmp_path):
    memory = StableMemory()
    heap = StableMinHeap[u32](memory)
    for i in range(100):
        heap.push(i)
    repair(Patched(read(memory), {64 + 4 * 90: bytes(4)}), tmp_path / "out.bin", types={None: (None, parse_type("u32"))})
    saved = StableMinHeap[u32](opened(tmp_path / "out.bin"))
    assert [saved.pop() for _ in range(100)] == sorted([0, *(i for i in range(100) if i != 90)])


# ---- repair of a manager's tables ----


def table_damage(data: bytes, rng: random.Random) -> Iterator[tuple[str, int, bytes]]:
    """One byte of each field of the tables: what, where, the new byte."""
    allocated, sizes = int.from_bytes(data[4:6], "little"), [i for i in range(255) if any(data[40 + 8 * i : 48 + 8 * i])]
    used = sorted(set(data[2080 : 2080 + allocated]))
    for at in (*range(3), *range(4, 40), *(40 + 8 * i + k for i in sizes for k in range(8))):
        yield "header or size", at, bytes([data[at] ^ 1 << rng.randrange(8)])
    for bucket in range(allocated):
        for owner in (255, 77, rng.choice([i for i in used if i != data[2080 + bucket]])):
            yield "owner", 2080 + bucket, bytes([owner])
    for bucket in (allocated, allocated + 1, 5000):
        yield "owner of what was never allocated", 2080 + bucket, bytes([rng.choice([0, 3, 99])])


@pytest.mark.parametrize("name", ["canister_bucket1", "canister_bucket16", "canister_bucket128"])
def test_one_damaged_byte_of_the_managers_table_costs_nothing(name, seed, tmp_path):
    """What it said stands there a second time, or the structures show it."""
    data, types, rng = golden(name)[0], types_of(name), random.Random(seed)
    cases, sound = list(table_damage(data, rng)), open_image(data_memory(data))
    for what, at, new in rng.sample(cases, 6 if len(data) < PAGE_SIZE * 200 else 2):
        memory, out = Patched(data, {at: new}), tmp_path / "out.bin"
        results = repair(memory, out, types=types)
        place = f"{what} at {at}: {data[at]} became {new[0]}: {[one.notes for one in results if one.kind == 'manager']}"
        assert all(one.whole or all("it may also be bucket" in text for text in one.lost) for one in results), place
        assert all(not one.changes for one in diff(sound, out, types=types) if one.memory in types), place
        assert check(out, types=types) == [], place
        out.unlink()


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("name", ["canister_bucket1", "canister_bucket16", "canister_bucket128"])
def test_a_file_that_is_cut_off_is_not_taken_for_one_of_smaller_buckets(name, told, seed, tmp_path):
    """Half a file has as many structures at half the distance: what is not in it is a loss, and nothing goes to another memory."""
    data, types = golden(name)[0], types_of(name) if told else None
    whole = {one.memory: one.kept for one in repair(data_memory(data), tmp_path / "whole.bin", types=types)}
    allocated, pages = int.from_bytes(data[4:6], "little"), len(data) // PAGE_SIZE
    fitting = range(1 + allocated, pages, allocated)
    for number in {*random.Random(seed).sample(fitting, min(3, len(fitting))), pages // 2 + 1}:
        results = repair(Patched(data, {}, pages=number), tmp_path / "out.bin", types=types)
        assert not any("the size of a bucket said" in note for one in results for note in one.notes), number
        assert any(one.lost for one in results), number
        assert all(one.lost or one.kept == whole[one.memory] for one in results if one.kind != "manager"), number
        (tmp_path / "out.bin").unlink()


def test_a_bucket_of_another_is_found_beside_sizes_that_cannot_be(tmp_path):
    """No memory lacks more buckets than there are to spare: whatever says so does not hide the one that went astray."""
    data, types = golden("canister_bucket128")[0], types_of("canister_bucket128")
    sound = open_image(data_memory(data))
    for wrong in ({595: b"n", 933: b"F"}, {40 + 8 * 69 + 5: b"\1", 2080 + 4000: b"\7"}):
        for bucket, owner in ((2, b"\1"), (0, b"\3"), (5, b"\4")):
            memory, out = Patched(data, {2080 + bucket: owner, **wrong}), tmp_path / "out.bin"
            results = repair(memory, out, types=types)
            assert all(one.whole or all("it may also be bucket" in text for text in one.lost) for one in results), results
            assert all(not one.changes for one in diff(sound, out, types=types) if one.memory in types)
            assert check(out, types=types) == []
            out.unlink()


@pytest.mark.parametrize("name", ["canister_bucket16", "canister_bucket128"])
def test_without_types_a_bucket_is_never_given_to_another_memory_without_a_word(name, tmp_path):
    data = golden(name)[0]
    allocated = int.from_bytes(data[4:6], "little")
    owners, sound = data[2080 : 2080 + allocated], open_image(data_memory(data))
    cases = [(bucket, owner) for bucket in range(allocated) for owner in sorted(set(owners)) if owner != owners[bucket]]
    unsure = 0
    for bucket, owner in cases[:: max(1, len(cases) // 12)]:
        results = repair(Patched(data, {2080 + bucket: bytes([owner])}), tmp_path / "out.bin")
        if all(one.whole for one in results):
            assert all(not one.changes for one in diff(sound, tmp_path / "out.bin", types=types_of(name))), (bucket, owner)
        else:
            unsure += 1
            assert any("a schema with the structures" in text for one in results for text in one.lost), results
        (tmp_path / "out.bin").unlink()
    assert unsure < len(cases)


def test_the_schema_counts_in_repair(tmp_path):
    """Which data are whose, which memory a bucket belongs to, and which values are none: as the schema says."""
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    few, many = StableLog[str](manager.get(0), manager.get(3)), StableLog[str](manager.get(2), manager.get(1))
    few.extend(["a"] * 10)
    many.extend([f"line {i}" for i in range(1000)])
    texts, numbers = StableBTreeMap[u64, bytes](manager.get(5)), StableBTreeMap[u64, u64](manager.get(6))
    texts.update(dict.fromkeys(range(9), b"text"))
    numbers.update({i: i for i in range(9)})
    schema = tmp_path / "memories.toml"
    schema.write_text(
        "[memories.0]\ndata = 3\nvalue = 'string'\n[memories.2]\ndata = 1\nvalue = 'string'\n"
        "[memories.5]\nstructure = 'map'\nkey = 'u64'\nvalue = 'string'\n[memories.6]\nstructure = 'map'\nkey = 'u64'\nvalue = 'u64'\n"
    )
    whole, files = bytearray(read(memory)), SchemaFiles(schema)

    def rows(what: Any) -> Any:
        with open_image(what, files=files) as image:
            return {part.id: list(table(part, raw=True).rows) for part in image.parts.values() if part.is_structure}

    results = repair(bytes(whole), tmp_path / "sound.bin", files=files)
    assert all(one.whole for one in results)
    assert {one.memory: one.kept for one in results if one.kind == "log index"} == {0: 10, 2: 1000}
    assert rows(tmp_path / "sound.bin") == rows(bytes(whole))
    at = next(at for at, owner in enumerate(whole[2080:2100]) if owner == 6)
    whole[2080 + at] = 5
    results = repair(bytes(whole), tmp_path / "moved.bin", files=files)
    assert all(one.whole for one in results), results
    assert rows(tmp_path / "moved.bin") == rows(tmp_path / "sound.bin")
    whole[2080 + at] = 6
    whole[whole.index(b"text")] = 0xFF
    lost = {one.memory: one.lost for one in repair(bytes(whole), tmp_path / "value.bin", files=files) if one.lost}
    assert list(lost) == [5]


def test_two_of_one_type_may_have_changed_places_and_that_is_a_loss(tmp_path):
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    for number in (1, 0):
        StableBTreeMap[u64, str](manager.get(number)).update(dict.fromkeys(range(9), f"of {number}"))
    data = bytearray(read(memory))
    data[2080:2082] = bytes([1, 1])
    types = dict.fromkeys((0, 1), (parse_type("u64"), parse_type("string")))
    assert not all(one.whole for one in repair(bytes(data), tmp_path / "out.bin", types=types))


def test_a_bucket_that_is_not_found_is_a_loss(tmp_path):
    """Two memories lack one each, and two have one too many: nothing says which is whose."""
    data, types = golden("canister_bucket128")[0], types_of("canister_bucket128")
    memory = Patched(data, {2080 + 2: b"\1", 2080 + 4: b"\0"})
    found = next(one for one in repair(memory, tmp_path / "out.bin", types=types) if one.kind == "manager")
    assert [re.search(r"memory (\d+) lacks 1 of the buckets", text)[1] for text in found.lost] == ["2", "4"]
    assert not found.whole


@pytest.mark.parametrize("half", ["index", "data"])
def test_half_of_a_log_is_a_loss(half, tmp_path, capsys):
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    StableVec[u64](manager.get(0)).extend(range(9))
    StableLog[str](manager.get(3), manager.get(4)).extend(["a", "b"])
    manager.get(3 if half == "index" else 4).write(0, bytes(64))
    path = tmp_path / "half.bin"
    path.write_bytes(read(memory))
    results = {one.memory: one for one in repair(path, tmp_path / "out.bin")}
    mine = results[4 if half == "index" else 3]
    assert len(mine.lost) == 1
    assert f"the {half} of the log" in mine.lost[0]
    assert results[0].whole
    assert main(["repair", str(path), "-o", str(tmp_path / "again.bin")]) == 1
    assert f"the {half} of the log" in " ".join("".join(capsys.readouterr()).split())


def test_what_is_nothing_of_the_crate_is_not_repaired(tmp_path):
    with pytest.raises(Unreadable, match="nothing to save"):
        repair(bytes(PAGE_SIZE), tmp_path / "out.bin")
    assert list(tmp_path.iterdir()) == []


# ---- shrink ----


@pytest.mark.parametrize("name", MAPS)
def test_a_shrunk_map_holds_the_same_and_the_library_goes_on_with_it(name, tmp_path):
    data, (key, value) = golden(name)[0], types_of(name)[None]
    shrink(data, tmp_path / "out.bin")
    assert entries(tmp_path / "out.bin") == entries(data)
    assert check(tmp_path / "out.bin", types=types_of(name)) == []
    before, after = inspect(data_memory(data)).memories[0], inspect(tmp_path / "out.bin").memories[0]
    assert (after.layout, after.key_bound) == (before.layout, before.key_bound)
    assert (after.allocated or 0) <= (before.allocated or 0)
    memory = opened(tmp_path / "out.bin")
    kind = StableBTreeMap[key, value] if name.startswith("btreemap") else StableBTreeSet[key]
    found: Any = kind.load(memory)
    found.check()
    while len(found):
        found.pop_first()
        found.pop_last()
    found.check()


@pytest.mark.parametrize("name", OLD)
def test_a_shrunk_map_of_layout_1_keeps_its_layout(name, tmp_path):
    types = types_of(name)
    shrink(old(name), tmp_path / "out.bin", types=types)
    assert entries(tmp_path / "out.bin", types=types[None]) == entries(old(name), types=types[None])
    assert {node.version for node in nodes(reader(tmp_path / "out.bin", types=types[None]))} == {1}
    assert check(tmp_path / "out.bin", types=types) == []


def data_memory(data: bytes) -> Patched:
    return Patched(data, {})


@pytest.mark.parametrize("name", ["canister_bucket1", "canister_bucket16", "canister_bucket128"])
def test_a_shrunk_canister_holds_the_same(name, tmp_path):
    """Played on: the structures of the trace are opened on the shrunk memory and read to the end."""
    data, types = golden(name)[0], types_of(name)
    result = shrink(data, tmp_path / "out.bin", bucket_pages=1)
    assert result.after < result.before or name == "canister_bucket1"
    assert check(tmp_path / "out.bin", types=types) == []
    assert all(one.changes == [] for one in diff(data_memory(data), tmp_path / "out.bin", types=types))
    header, _ = golden_replay.read_trace(name)
    canister = golden_replay.Canister(header, opened(tmp_path / "out.bin"))
    canister.open()
    for player in canister.players.values():
        if hasattr(player.structure, "check"):
            player.structure.check()


def test_shrinking_a_map_with_room_to_spare_saves_it(tmp_path):
    memory = StableMemory()
    users = StableBTreeMap[u64, str](memory)
    users.update(dict.fromkeys(range(5000), "x" * 100))
    for i in range(4900):
        users.remove(i)
    result = shrink(memory, tmp_path / "out.bin")
    assert memory.size() > 10
    assert result.after == PAGE_SIZE
    assert dict(StableBTreeMap[u64, str].load(opened(tmp_path / "out.bin")).items()) == dict(users.items())


def test_a_damaged_memory_is_not_shrunk(tmp_path):
    data = golden("btreemap_u64_u64")[0]
    with pytest.raises(Unreadable, match="run check"):
        shrink(Patched(data, {reader(data).root: b"X"}), tmp_path / "out.bin")
    assert list(tmp_path.iterdir()) == []


# ---- dump, load ----


def dumped(what: Any, form: str, memory: int | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    write(table(open_image(what).part(memory), **options), form, out)
    return out.getvalue()


@pytest.mark.parametrize("form", ["jsonl", "csv", "cbor"])
@pytest.mark.parametrize("name", [name for name in MAPS if "v1" not in name])
def test_a_dump_loads_to_the_same_entries(name, form, tmp_path):
    data, types = golden(name)[0], types_of(name)
    key, value = types[None]
    path = tmp_path / f"dump.{form}"
    path.write_bytes(dumped(data, form, types=types))
    count = load(path, tmp_path / "out.bin", key=key, value=value)
    assert entries(tmp_path / "out.bin", types=types[None]) == entries(data, types=types[None])
    assert count == len(entries(data))


def test_a_dump_of_guesses_keeps_the_bytes(tmp_path):
    data = golden("btreemap_string_u128")[0]
    path = tmp_path / "dump.jsonl"
    path.write_bytes(dumped(data, "jsonl"))
    key, value = types_of("btreemap_string_u128")[None]
    load(path, tmp_path / "out.bin", key=key, value=value)
    assert entries(tmp_path / "out.bin") == entries(data)


def test_all_structures_load(tmp_path):
    for structure, name, types in (("vec", "vec_u64", "u64"), ("heap", "minheap_u64", "u64")):
        data = fuller(name)
        path = tmp_path / f"{structure}.jsonl"
        path.write_bytes(dumped(data, "jsonl", types={None: (None, parse_type(types))}))
        load(path, tmp_path / f"{structure}.bin", structure=structure, value=parse_type(types))
        assert inspect(tmp_path / f"{structure}.bin").memories[0].length == inspect(data_memory(data)).memories[0].length
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({"value": f"line {i}"}) + "\n" for i in range(5)))
    load(path, tmp_path / "log.bin", structure="log", value=parse_type("string"), memory=2)
    assert list(log_in(MemoryManager(opened(tmp_path / "log.bin")))) == [f"line {i}" for i in range(5)]


def test_a_loaded_log_takes_the_place_of_no_other_memory(tmp_path):
    """A log takes two memories: the second must be free, or hold the data of the log that is replaced."""
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    log_in(manager).append("old")
    StableVec[u64](manager.get(8)).extend(range(9))
    manager.get(20).grow(1)
    (tmp_path / "image.bin").write_bytes(read(memory))
    (tmp_path / "log.jsonl").write_text('{"value": "new"}\n')
    for place in (0, 2, 7, 19, 1):
        out = tmp_path / f"{place}.bin"
        made = partial(
            load, tmp_path / "log.jsonl", out, structure="log", value=parse_type("string"), memory=place, into=tmp_path / "image.bin"
        )
        if place + 1 in (2, 8):
            with pytest.raises(Unreadable, match=f"into memory {place + 1}, which holds a (log|vec)"):
                made()
            assert not out.exists()
        else:
            made()
            changed = {one.memory for one in diff(read(memory), out) if not one.same}
            assert changed <= {place, place + 1}


def test_csv_and_cbor_say_the_same():
    types = {None: (parse_type("string"), parse_type("u128"))}
    data = golden("btreemap_string_u128")[0]
    rows = list(csv.reader(io.StringIO(dumped(data, "csv", types=types).decode())))
    stream = io.BytesIO(dumped(data, "cbor", types=types))
    items = [cbor2.load(stream) for _ in rows[1:]]
    assert rows[0] == ["key", "value"]
    assert [[key, str(value)] for key, value in items] == rows[1:]


def test_parquet_holds_the_entries(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="an extra; the test extra brings it")
    types = {None: (parse_type("u64"), parse_type("u64"))}
    data = golden("btreemap_u64_u64")[0]
    (tmp_path / "out.parquet").write_bytes(dumped(data, "parquet", types=types))
    found = parquet.read_table(tmp_path / "out.parquet").to_pydict()
    wanted = [(int.from_bytes(key, "big"), int.from_bytes(value, "big")) for key, value in entries(data)]
    assert list(zip(found["key"], found["value"], strict=True)) == wanted


def test_ranges_and_limits():
    memory = StableMemory()
    users = StableBTreeMap[u64, str](memory)
    users.update({i: f"user {i}" for i in range(0, 1000, 3)})
    types = {None: (parse_type("u64"), parse_type("string"))}
    for start, stop in ((None, None), ("10", None), (None, "500"), ("33", "34"), ("12", "700"), ("2000", None)):
        low, high = (None if end is None else int(end) for end in (start, stop))
        rows = [json.loads(line)["key"] for line in dumped(memory, "jsonl", types=types, start=start, stop=stop, limit=50).splitlines()]
        assert rows == [key for key, _ in users.range(low, high)][:50]


def test_get_finds_every_entry_and_no_other():
    memory = StableMemory()
    owners = StableBTreeMap[Principal, Cbor](memory)
    people = [Principal(bytes([i]) * (i % 29)) for i in range(1, 60)]
    for i, who in enumerate(people):
        owners.insert(who, {"n": i})
    types = {None: (parse_type("principal"), parse_type("cbor"))}
    part = open_image(memory).part(None)
    for i, who in enumerate(people):
        if owners[who] == {"n": i}:
            found = get(part, who.to_text(), types)
            assert found is not None
            assert found[1].read(found[0]) == {"n": i}
    assert get(part, "2vxsx-fae", types) is None


# ---- export, import ----


def test_an_exported_memory_comes_back(tmp_path):
    data = golden("canister_bucket16")[0]
    export(open_image(data).part(0), tmp_path / "users.bin")
    assert entries(tmp_path / "users.bin") == entries(data, 0)
    source = make_dfx(tmp_path / "snapshot", data)
    import_part(tmp_path / "users.bin", 77, tmp_path / "out.bin", into=source)
    assert entries(tmp_path / "out.bin", 77) == entries(data, 0)
    assert all(one.same for one in diff(data_memory(data), tmp_path / "out.bin") if one.memory != 77)
    assert check(tmp_path / "out.bin") == []
    import_part(tmp_path / "users.bin", 3, tmp_path / "new.bin", bucket_pages=2)
    assert entries(tmp_path / "new.bin", 3) == entries(data, 0)


# ---- diff ----


def test_diff_tells_exactly_what_was_added_removed_and_changed():
    rng = random.Random(11)
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=2)
    users, texts = StableBTreeMap[u64, str](manager.get(1)), StableBTreeMap[str, bytes](manager.get(2))
    for i in range(2000):
        users.insert(rng.randrange(10_000), f"user {i}")
        texts.insert(f"text {rng.randrange(3000)}", rng.randbytes(rng.randrange(3000)))
    for _ in range(8):
        before = read(memory), dict(users.items()), dict(texts.items())
        for _ in range(rng.randrange(30)):
            users.insert(rng.randrange(10_000), f"new {rng.random()}")
            texts.insert(f"text {rng.randrange(3000)}", rng.randbytes(rng.randrange(9000)))
            if rng.random() < 0.5:
                users.pop_first()
                texts.remove(f"text {rng.randrange(3000)}")
        found = {one.memory: one for one in diff(data_memory(before[0]), memory)}
        for number, then, now in ((1, before[1], dict(users.items())), (2, before[2], dict(texts.items()))):
            said = {(change.key, change.before, change.after) for change in found[number].changes}
            assert said == expected_changes(then, now)


def expected_changes(old: dict[Any, Any], new: dict[Any, Any]) -> set[tuple[Any, Any, Any]]:
    def encoded(value: Any) -> Any:
        return None if value is None else value if isinstance(value, bytes) else value.encode()

    def key_of(key: Any) -> bytes:
        return key.to_bytes(8, "big") if isinstance(key, int) else key.encode()

    return {(key_of(key), encoded(old.get(key)), encoded(new.get(key))) for key in {**old, **new} if old.get(key) != new.get(key)}


def test_diff_after_a_clearing_says_that_all_is_gone():
    memory = StableMemory()
    users = StableBTreeMap[u64, u64](memory)
    users.update({i: i for i in range(500)})
    before = read(memory)
    users.clear()
    (found,) = diff(data_memory(before), memory)
    assert len(found.changes) == 500
    assert {change.what for change in found.changes} == {"removed"}


def test_diff_of_rows_and_of_unknown_bytes():
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    vec, log, raw = StableVec[u64](manager.get(0)), log_in(manager), manager.get(9)
    raw.grow(1)
    raw.write(10, b"\xff\xfe unknown")
    for i in range(300):
        vec.push(i)
        log.append(f"line {i}")
    before = read(memory)
    vec.set(17, 99)
    vec.push(300)
    log.append("one more")
    raw.write(5000, b"!")
    found = {one.memory: one for one in diff(data_memory(before), memory)}
    assert [(change.what, change.key) for change in found[0].changes] == [("changed", 17), ("added", 300)]
    assert [(change.what, change.key, change.after) for change in found[2].changes] == [("added", 300, b"one more")]
    assert found[9].ranges == [(4608, 5120)]


def test_diff_of_logs_is_that_of_their_entries(seed, monkeypatch):
    """Also where the same bytes are cut into other entries, so that an entry begins elsewhere and ends where it did."""
    monkeypatch.setattr(sequences, "BLOCK", 3 * 8)  # three ends at once
    rng = random.Random(seed)
    for _ in range(10):
        logs, memories = [], []
        for _ in range(2):
            manager = MemoryManager(StableMemory(), bucket_pages=1)
            logs.append(["a" * rng.randrange(3) + "b" * (rng.random() < 0.1) for _ in range(rng.randrange(9))])
            log_in(manager).extend(logs[-1])
            memories.append(manager.memory)
        places = [(i, a, b) for i, (a, b) in enumerate(zip_longest(*logs)) if a != b]
        found = next((one.changes for one in diff(*memories) if one.memory == 2), [])
        said = [(one.key, *(None if data is None else data.decode() for data in (one.before, one.after))) for one in found]
        assert said == places


def test_diff_of_vecs_is_that_of_their_elements(seed):
    rng = random.Random(seed)
    for of_type in (u64, Array(5), Array(512), Array(700), Blob(300)):
        memories = [StableMemory(), StableMemory()]
        vecs = [StableVec[of_type](memory) for memory in memories]
        size = 8 if of_type is u64 else codec(of_type).bound.max_size
        make = lambda of_type=of_type, size=size: rng.randrange(2) if of_type is u64 else bytes([rng.randrange(2)]) * size  # noqa: E731
        for vec in vecs:
            vec.extend(make() for _ in range(rng.randrange(400)))
        wanted = [(i, a, b) for i, (a, b) in enumerate(zip_longest(*vecs)) if a != b]
        read = lambda data, of_type=of_type: None if data is None else codec(of_type).decode(data)  # noqa: E731
        assert [(one.key, read(one.before), read(one.after)) for one in diff(*memories)[0].changes] == wanted


def test_diff_of_rows_whose_slots_have_one_size_and_another_form():
    """Five bytes each, and four with their size before them, are slots of the same bytes and other elements."""
    memories = [StableMemory(), StableMemory()]
    for memory, of_type, element in zip(memories, (Array(5), Blob(4)), (b"\4abcd", b"abcd"), strict=True):
        StableVec[of_type](memory).extend([element] * 200)
    (found,) = diff(*memories)
    assert [(one.before, one.after) for one in found.changes] == [(b"\4abcd", b"abcd")] * 200


def test_diff_of_the_data_of_a_log_whose_index_is_gone_is_that_of_their_bytes():
    """On either side: without both indexes there are no entries that would say what is different."""
    memories = [StableMemory(), StableMemory()]
    for memory, text in zip(memories, ("one", "two"), strict=True):
        log_in(MemoryManager(memory, bucket_pages=1)).append(text)
    MemoryManager(memories[1]).get(2).write(0, bytes(64))
    for pair in (memories, memories[::-1]):
        found = {one.memory: one for one in diff(*pair)}
        assert found[3].ranges == [(0, 512)]


def test_what_is_damaged_is_never_the_same_and_its_bytes_are_compared():
    memories = [StableMemory(), StableMemory()]
    for memory in memories:
        StableVec[Blob(4)](memory).extend([b"abcd"] * 500)
    memories[1].write(64 + 5 * 300, b"\xff")  # a size above the largest
    for pair in (memories, memories[::-1]):
        (found,) = diff(*pair)
        assert (found.same, found.changes, found.ranges) == (False, [], [(1536, 2048)])
        assert found.notes[0].startswith("damaged: ")


@pytest.mark.parametrize("damage", [(0, b"XXX"), (4, b"\x09"), (-16, b"XXXX"), (-12, b"\0")], ids=["node", "count", "chunk", "flag"])
def test_entries_of_a_damaged_node_are_not_called_removed(damage):
    """Bytes that no longer look like a node may be damage: only what the tree leads to, and can be read, is a difference."""
    memories = [StableMemory(), StableMemory()]
    for memory in memories:
        StableBTreeMap[u64, u64](memory).update({i: i for i in range(500)})
    at, data = damage
    memories[1].write(reader(memories[1]).space.address(20) + at, data)
    for pair in (memories, memories[::-1]):
        (found,) = diff(*pair)
        assert (found.same, found.changes, found.is_by_entry) == (False, [], False)
        assert found.notes[0].startswith("damaged: ")


def test_a_damaged_length_is_no_other_layout():
    memories = [StableMemory(), StableMemory()]
    for memory in memories:
        StableBTreeMap[u64, u64](memory).update({i: i for i in range(50)})
    memories[1].write(LENGTH_AT, b"\x31")
    assert [one.same for one in diff(*memories)] == [False]


def test_a_memory_of_unknown_bytes_that_grew_is_not_the_same():
    memories = [StableMemory(), StableMemory()]
    for pages, memory in enumerate(memories, 1):
        memory.grow(pages)
        memory.write(9, b"unknown")
    (found,) = diff(*memories)
    assert (found.same, found.ranges) == (False, [])
