"""Types that are not those of a memory are distinguished from damage, for every pair of types and every structure."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stable_structures import (
    Blob,
    IncompatibleType,
    MemoryManager,
    Principal,
    Reverse,
    StableBTreeMap,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    u8,
    u64,
)
from stable_structures.inspect import Unreadable, get, open_image, table
from stable_structures.inspect.fit import misfit
from stable_structures.inspect.formats.layout import LOG_ENDS_AT
from stable_structures.storable import parse_type

from ..support.inspect_images import read
from .test_cut import DAMAGED, SOUND, TROUBLE, run

pytestmark = pytest.mark.usefixtures("without_fsync")

MAKERS: dict[str, Any] = {
    "u8": lambda i: i % 256,
    "u16": lambda i: i,
    "u32": lambda i: i * 70000,
    "u64": lambda i: i * 10**14,
    "u128": lambda i: i * 10**30,
    "i32": lambda i: i * 70000 - 10**7,
    "i64": lambda i: (i - 150) * 10**15,
    "f64": lambda i: (i - 150) / 7,
    "bool": lambda i: bool(i % 2),
    "string": lambda i: f"user number {i}"[: 6 + i % 12],
    "bytes": lambda i: random.Random(i).randbytes(random.Random(i).randrange(20)),
    "principal": lambda i: Principal(random.Random(i).randbytes(28) + b"\2"),
    "blob<29>": lambda i: random.Random(i).randbytes(i % 30),
    "blob<8>": lambda i: random.Random(i).randbytes(i % 9),
    "tuple<u32,bool>": lambda i: (i * 1000, bool(i % 2)),
    "unit": lambda _: None,
}
TOLD = {name: parse_type(name) for name in MAKERS}


def differ(one: str, other: str) -> bool:
    """Whether the bytes of many values of a type cannot be values of the other."""
    try:
        for i in range(300):
            TOLD[other].decode(TOLD[one].encode(MAKERS[one](i)))
    except (ValueError, TypeError):
        return True
    return False


@cache
def values_of(name: str) -> bytes:
    memory = StableMemory()
    StableBTreeMap[u64, TOLD[name]](memory).update({i: MAKERS[name](i) for i in range(300)})
    return read(memory)


@cache
def keys_of(name: str) -> bytes:
    memory = StableMemory()
    StableBTreeMap[TOLD[name], u64](memory).update({MAKERS[name](i): i for i in range(300)})
    return read(memory)


@pytest.mark.parametrize("written", MAKERS)
@pytest.mark.parametrize("told", MAKERS)
def test_values_of_another_type_are_told_from_damage(written, told):
    with open_image(values_of(written)) as image:
        reason = misfit(image.part(None), TOLD["u64"], TOLD[told])
    assert (reason is not None) == differ(written, told), reason
    if reason is not None:
        assert "does not fit the given types; the sizes say" in reason


AS_KEYS = [name for name in MAKERS if name not in ("f64", "unit")]


@pytest.mark.parametrize("written", AS_KEYS)
@pytest.mark.parametrize("told", AS_KEYS)
def test_keys_of_another_type_are_told_from_damage(written, told):
    """Keys of one size are stored without it, so types of one size and others never fit each other."""
    fixed = {name: TOLD[name].bound.is_fixed_size for name in (written, told)}
    with open_image(keys_of(written)) as image:
        reason = misfit(image.part(None), TOLD[told], TOLD["u64"])
    if written == told:
        assert reason is None, reason
    elif fixed[written] != fixed[told] or differ(written, told):
        assert reason is not None


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    StableBTreeMap[u64, str](manager.get(0)).update({i: f"user number {i}" for i in range(2000)})
    StableVec[u64](manager.get(1)).extend(range(2000))
    StableMinHeap[u64](manager.get(2)).push_many(list(range(2000)))
    StableLog[str](manager.get(3), manager.get(4)).extend(["\u00e9ntry"] * 500)
    StableCell[str](manager.get(5), "a cell's text")
    path = tmp_path_factory.mktemp("fit") / "image.bin"
    path.write_bytes(read(memory))
    return path


@pytest.mark.parametrize(
    ("memory", "wrong", "right"),
    [
        (0, ["string", "string"], ["u64", "string"]),
        (0, ["u64", "u64"], ["u64", "string"]),
        (0, ["u32", "string"], ["u64", "string"]),
        (1, ["u32"], ["u64"]),
        (1, ["string"], ["u64"]),
        (2, ["principal"], ["u64"]),
        (2, ["u128"], ["u64"]),
        (3, ["u64"], ["string"]),
        (5, ["u64"], ["string"]),
    ],
)
def test_no_verb_says_damaged_where_the_types_are_wrong(memory, wrong, right, image, tmp_path):
    def types(told: list[str], key: str = "--key-type") -> list[str]:
        return [key, told[0], "--value-type", told[1]] if len(told) == 2 else ["--value-type", told[0]]

    for verb in (["check"], ["dump"], ["inspect"], ["map", "-o", tmp_path / "m.html"], ["shrink", "-o", tmp_path / "s"], ["diff", image]):
        out = [one for one in verb[1:] if one != image]
        files = [image, image] if verb[0] == "diff" else [image]
        code, _, errors = run(verb[0], *files, "--memory", memory, *types(wrong), *out)
        assert code == TROUBLE, f"{verb[0]}: {code} {errors}"
        assert "does not fit the given types; the sizes say" in errors
        assert "damaged:" not in errors
        assert run(verb[0], *files, "--memory", memory, *types(right), *out)[0] == SOUND
    code, _, errors = run("get", image, "--memory", memory, "--key", "0", *types(wrong, "--key-type"))
    assert (code, "does not fit the given types" in errors) == (TROUBLE, True)
    assert run("get", image, "--memory", memory, "--key", "0", *types(right, "--key-type"))[0] == SOUND
    with open_image(image) as opened:
        told = {memory: (TOLD[wrong[0]] if len(wrong) == 2 else None, TOLD[wrong[-1]])}
        for error in (IncompatibleType, Unreadable):
            with pytest.raises(error):
                table(opened.part(memory), told)
            with pytest.raises(error):
                get(opened.part(memory), "0", told)


def test_repair_does_not_throw_away_what_has_other_types(image, tmp_path):
    code, _, errors = run("repair", image, "--memory", 0, "--key-type", "u64", "--value-type", "u64", "-o", tmp_path / "saved.bin")
    assert (code, (tmp_path / "saved.bin").exists()) == (TROUBLE, False)
    assert "does not fit the given types" in errors


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_of_many_that_do_not_decode_are_damage_of_those(count, tmp_path):
    memory = StableMemory()
    StableBTreeMap[u64, str](memory).update({i: f"user number {i:06}" for i in range(3000)})
    data = read(memory)
    for i in range(count):  # what was moved is still where it was
        name = f"user number {i * 700 + 3:06}".encode()
        data = data.replace(name, b"\xff" + name[1:])
    path = tmp_path / "image.bin"
    path.write_bytes(data)
    types = ["--key-type", "u64", "--value-type", "string"]
    assert run("check", path)[0] == SOUND
    code, out, _ = run("check", path, *types)
    assert code == DAMAGED
    assert out.count("a value is encoded as str") == count
    code, out, errors = run("dump", path, *types)
    assert (code, "damaged:" in errors, len(out.splitlines())) == (DAMAGED, True, 3)
    code, out, errors = run("dump", path, *types, "--keep-going")
    assert (code, errors.count("passed over"), len(out.splitlines())) == (DAMAGED, count, 3000)
    code, _, errors = run("get", path, "--key-type", "u64", "--value-type", "string", "--key", "3")
    assert (code, "damaged:" in errors) == (DAMAGED, True)
    assert run("get", path, "--key-type", "u64", "--value-type", "string", "--key", "4")[0] == SOUND
    assert run("check", path, "--key-type", "u64", "--value-type", "u64")[0] == TROUBLE


def test_damage_is_not_called_another_type(tmp_path):
    """What breaks a rule that needs no types is damage, whatever types are given."""
    data = bytearray(values_of("string"))
    node = data.index(b"BTN\x02\x00")
    data[node : node + 3] = b"XXX"
    path = tmp_path / "image.bin"
    path.write_bytes(data)
    for value in ("string", "u64"):
        code, out, errors = run("check", path, "--key-type", "u64", "--value-type", value)
        assert (code, "a node begins with BTN" in out) == (DAMAGED, True)
        assert ("does not fit" in errors) == (value == "u64")


@pytest.mark.parametrize(("count", "is_misfit"), [(0, False), (2, False), (3, True), (30, True)])
def test_a_minority_that_is_no_value_is_another_type_if_something_else_reads_all(count, is_misfit):
    """All have the size of the type: numbers that mostly are 0 and 1 would otherwise be called damaged bools."""
    memory = StableMemory()
    StableVec[u8](memory).extend([7 if i < count else i % 2 for i in range(60)])
    assert (misfit(open_image(memory).part(None), None, TOLD["bool"]) is not None) == is_misfit


@pytest.mark.parametrize(("count", "is_misfit"), [(2, False), (8, False), (9, True), (11, True)])
def test_a_few_neighbours_in_another_order_may_be_damage(count, is_misfit):
    """Keys that descend are of another type only where so many do that it is not by chance."""
    memory = StableMemory()
    StableBTreeMap[Reverse[u64], u64](memory).update({i: i for i in range(count)})
    assert (misfit(open_image(memory).part(None), TOLD["u64"], None) is not None) == is_misfit


def test_a_bound_that_the_bytes_contradict_is_damage_and_another_one_is_another_type():
    """Slots that lie as the given type says, under a header that says larger ones, were written with that type."""
    damaged, other = StableMemory(), StableMemory()
    for memory, size in ((damaged, 4), (other, 9)):
        StableVec[Blob(size)](memory).extend([b"abcd"] * 100)
    damaged.write(12, b"\x09")
    found = [misfit(open_image(memory).part(None), None, parse_type("blob<4>")) for memory in (damaged, other)]
    assert [one is None for one in found] == [True, False]


def test_entries_between_ends_that_are_damaged_do_not_speak_against_a_type():
    """An end that is wrong costs its own entry and changes the size of the next one: no size of such a log says anything of the type."""
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    StableLog[u64](manager.get(0), manager.get(1)).extend(range(60))
    for i in range(5, 60, 4):
        manager.get(0).write(LOG_ENDS_AT + 8 * i, bytes(8))
    assert misfit(open_image(memory).part(0), None, TOLD["u64"]) is None
