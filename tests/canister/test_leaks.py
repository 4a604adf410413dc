# SPDX-License-Identifier: Apache-2.0
"""What a program held is released when it is replaced or gone: classes, source lines, memories, whatever was made for its types."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import gc
import linecache
import sys
import typing
import weakref
from pathlib import Path
from typing import Annotated, NewType

import numpy as np
import pytest

from stable_structures import (
    Bounded,
    Cbor,
    Reverse,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableError,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    codec,
    storable,
    u8,
    u64,
)
from stable_structures.canister import Canister, modules
from stable_structures.canister.source import Code
from stable_structures.storable.lifetimes import kept_for

HEAD = "from dataclasses import dataclass\nfrom stable_structures import *\n"
HEAD += "from stable_structures.canister import Actor, ic, query, stable, update\n"
STORABLE = """
@storable
@dataclass
class User:
    age: u64
    name: str
class Key:
    BOUND = Bounded(8, is_fixed_size=True)
    def __init__(self, n): self.n = n
    def to_bytes(self): return self.n.to_bytes(8, "big")
    @classmethod
    def from_bytes(cls, data): return cls(int.from_bytes(data, "big"))
    def __lt__(self, other): return self.n < other.n
    def __eq__(self, other): return self.n == other.n
    def __hash__(self): return self.n
@dataclass
class Note:
    text: str
users = StableBTreeMap[Key, User](ic.manager().get(0))
pairs = StableVec[tuple[Key, u64]](ic.manager().get(1))
notes = StableCell[Cbor[Note]](ic.manager().get(2), Note("none"))
maybe = StableBTreeMap[u64, User | None](ic.manager().get(3))
@update
def work(x):
    users[Key(x)] = User(x, "y"); pairs.push((Key(x), x)); notes.set(Note(str(x))); maybe[x] = None
    list(users.items()), list(pairs)
"""
CDK = """
from {cdk} import StableBTreeMap, nat64, update, Record
class R(Record):
    a: nat64
kept = StableBTreeMap[str, nat64]({arguments})
@update
def work(x: nat64) -> nat64:
    kept.insert(str(x), x)
    return x
"""
FORMS = {
    "types of its own": HEAD + STORABLE,
    "actor": HEAD + "class A(Actor):\n    x = stable({})\n    @update\n    def work(self, y): self.x[str(y)] = y\n",
    "basilisk": CDK.format(cdk="basilisk", arguments="memory_id=1"),
    "kybra": CDK.format(cdk="kybra", arguments="memory_id=1, max_key_size=50, max_value_size=50"),
    "timers": HEAD + "@update\ndef work(x): ic.set_timer(5, lambda: x)\n",
    "traps": HEAD + "seen = []\n@update\ndef work(x):\n    seen.append(x)\n    raise ValueError(x)\n",
    "fails": HEAD + "raise ValueError\n",
    "no source": HEAD + "def broken(:\n",
}


def release():
    """Collects the garbage, and empties Python's own caches of annotations, which hold the last 128 of them."""
    for empty in typing._cleanups:
        empty()
    gc.collect()
    gc.collect()


def held():
    """What there is of all that a program could leave behind."""
    release()
    maps = Path("/proc/self/maps")
    return {
        "programs": sum(isinstance(item, Code) for item in gc.get_objects()),
        "lines": len(linecache.cache),
        "modules": len(sys.modules),
        "functions at exit": atexit._ncallbacks(),
        "names": len(modules._shared),
        "memories": sum(isinstance(item, StableMemory) for item in gc.get_objects()),
        "mappings": len(maps.read_text().splitlines()) // 8 if maps.exists() else 0,
    }


@pytest.mark.parametrize("how", ["install", "upgrade"])
@pytest.mark.parametrize("form", FORMS)
def test_nothing_grows_with_the_number_of_installs(form, how):
    if form == "kybra":
        pytest.importorskip("icp_candid")
    canister = Canister.install(HEAD + "@query\ndef nothing(): pass\n") if how == "upgrade" else None

    def once(number):
        with contextlib.suppress(StableError):
            source = f"{FORMS[form]}# {number}\n"
            now = canister or Canister.install(source)
            if canister:
                canister.upgrade(source)
            now.call("work", number)
            if not canister:
                now.close()

    for number in range(3):
        once(number)
    before, objects = held(), len(gc.get_objects())
    for number in range(20):
        once(number)
    after = held()
    assert after == {**before, "mappings": min(after["mappings"], before["mappings"] + 1)}
    assert len(gc.get_objects()) - objects < 20 * 15  # a program that stayed would be hundreds each


def make_classes():
    @storable
    @dataclasses.dataclass
    class Row:
        number: u64
        name: str

    class Key:
        BOUND = Bounded(1, is_fixed_size=True)
        ORDER = "bytes"

        def to_bytes(self):
            return b"x"

        @classmethod
        def from_bytes(cls, _data):
            return cls()

    @dataclasses.dataclass
    class Plain:
        name: str

    return Row, Key, Plain


USES = {
    "map": lambda row, key, _: StableBTreeMap[key, row],
    "value": lambda row, _key, _: StableBTreeMap[u64, row],
    "set": lambda _row, key, _: StableBTreeSet[key],
    "vec": lambda _row, key, _: StableVec[key],
    "heap": lambda _row, key, _: StableMinHeap[Reverse[key]],
    "log": lambda row, _key, _: StableLog[row],
    "option": lambda row, _key, _: StableCell[row | None],
    "tuple": lambda _row, key, _: StableBTreeMap[tuple[key, u8], tuple[u64, key]],
    "cbor": lambda _row, _key, plain: StableCell[Cbor[dict[str, plain]]],
    "annotated": lambda row, _key, _: StableCell[Annotated[row, "a note"]],
    "renamed": lambda row, _key, _: StableCell[NewType("Renamed", row)],
}


@pytest.mark.parametrize("use", USES)
def test_what_was_made_for_a_class_goes_with_it(use):
    classes = make_classes()
    special = USES[use](*classes)
    again = USES[use](*classes)
    assert special is again or use == "renamed"
    structure = special(StableMemory()) if use in ("map", "set", "vec", "heap") else None
    gone = [weakref.ref(item) for item in (*classes, special)]
    del classes, special, again, structure
    release()
    assert not [ref() for ref in gone if ref() is not None]


def test_what_is_for_pythons_and_our_types_is_made_once():
    assert StableBTreeMap[u64, str] is StableBTreeMap[u64, str]
    assert codec(tuple[u64, u8]) is codec(tuple[u64, u8])
    first = weakref.ref(StableBTreeMap[u64, tuple[u64, u8]])
    gc.collect()
    assert first() is StableBTreeMap[u64, tuple[u64, u8]]


def test_classes_that_take_no_attributes_are_stored_as_well():
    """A class written in C keeps nothing; what is made for it is kept as for Python's own."""
    made = StableCell[Cbor[memoryview]]
    assert made is StableCell[Cbor[memoryview]]
    assert kept_for((codec(u64), np.ndarray), shared := {}) is shared
    foreign = type("Foreign", (), {})
    foreign.__module__ = "a_package"
    assert kept_for(foreign, shared) is vars(foreign)["__stable_made__"]
    assert kept_for(cffi_type(), shared) is shared


def cffi_type():
    """A class of a module that is neither ours nor Python's, and takes no attributes."""
    import _cffi_backend  # noqa: PLC0415 - what the library stands on

    return _cffi_backend.FFI
