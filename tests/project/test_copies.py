# SPDX-License-Identifier: Apache-2.0
"""Exceptions and results can be copied, deep-copied and pickled whole; what cannot be says so. A walk finds every class."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect as python_inspect
import itertools
import multiprocessing
import pickle
import pkgutil
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import stable_structures
from stable_structures import (
    Blob,
    BoundExceeded,
    Cbor,
    CorruptMemory,
    MemoryManager,
    OutOfBounds,
    Record,
    StableBTreeMap,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    codec,
    f32,
    f64,
    i8,
    i64,
    i128,
    u8,
    u16,
    u32,
    u64,
    u128,
)
from stable_structures import inspect as inspector
from stable_structures.canister import CallRejected, Canister, ErrorCode, Limits, RejectCode, Rejected, SourceError, Trapped
from stable_structures.inspect.formats.layout import Damage
from stable_structures.rescue.findings import Fault

storable = importlib.import_module("stable_structures.storable")  # a function of the package has its name


def modules():
    names = (found.name for found in pkgutil.walk_packages(stable_structures.__path__, "stable_structures."))
    return [stable_structures, *(importlib.import_module(name) for name in names if not name.endswith("__main__"))]


def classes(kind):
    found = {item for module in modules() for item in vars(module).values() if isinstance(item, type) and kind(item)}
    ours = (item for item in found if item.__module__.startswith("stable_structures"))
    return sorted(ours, key=lambda item: (item.__module__, item.__qualname__))


EXCEPTIONS = classes(lambda item: issubclass(item, BaseException))
SAMPLES = {
    "error_code": ErrorCode.HEAP_LIMIT,
    "reject_code": RejectCode.SYS_TRANSIENT,
    "message": "what happened",
    "code": 503,
    "text": "unreachable",
    "rule": "a rule",
    "address": 4096,
    "found": 7,
    "expected": "8",
    "fault": Fault.STALE_STACK,
    "path": [0, 2],
}
"""For every argument that an exception of ours takes by name: a new one needs a line here."""
WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {protocol}": lambda item, protocol=protocol: pickle.loads(pickle.dumps(item, protocol)) for protocol in range(2, 6)},  # noqa: S301 - ours
}


def sample(cls):
    """An exception of a class, with every attribute set that it may have."""
    own = next((base for base in cls.__mro__ if "__init__" in vars(base)), cls)
    if own.__module__.startswith("stable_structures"):
        names = [name for name in python_inspect.signature(own.__init__).parameters if name != "self"]
        error = cls(**{name: SAMPLES[name] for name in names})
    else:
        error = cls(28, "No space left on device", "state.bin") if issubclass(cls, OSError) else cls("what happened")
    error.code = 5
    if issubclass(cls, CorruptMemory):
        error.address, error.rule = 12, "a rule"
    error.add_note("a note")
    error.detail = {"more": [1]}
    return error


def facts(error):
    names = ("errno", "strerror", "filename", "name", "path", "msg")
    return type(error), str(error), repr(error), error.args, vars(error), [getattr(error, name, None) for name in names]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cls", EXCEPTIONS, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_every_exception_keeps_all_that_it_says(cls, way):
    error = sample(cls)
    again = WAYS[way](error)
    assert facts(again) == facts(error)
    if way != "copy":
        assert again.detail is not error.detail


def test_the_walk_finds_them():
    names = {cls.__name__ for cls in EXCEPTIONS}
    assert {"StableError", "CommitUnknown", "Trapped", "CallRejected", "ChangedType", "Damage", "Unreadable", "Trap"} <= names
    assert len(EXCEPTIONS) > 30


def test_a_class_that_a_user_derives_keeps_what_it_says():
    for error in (UsersTrapped(ErrorCode.TRAPPED, "why"), UsersOwn(1, 2)):
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - ours
        assert facts(again) == facts(error)


class UsersTrapped(Trapped):
    pass


class UsersOwn(stable_structures.OutOfMemory):
    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")
        self.one, self.other = one, other


# ---- results ----


def image(path, value):
    with StableMemory.open(path) as memory:
        manager = MemoryManager(memory, bucket_pages=1)
        StableBTreeMap[u64, str](manager.get(0)).update(dict.fromkeys(range(30), value))
        StableBTreeMap[u64, Cbor[dict]](manager.get(1)).insert(1, {"a": value})
        StableVec[f64](manager.get(2)).extend([1.5, float(len(value))])
        StableLog[bytes](manager.get(3), manager.get(4)).append(value.encode())
        StableCell[u128](manager.get(5), 1).set(len(value))
    return path


@pytest.fixture
def results(tmp_path):
    """An instance of every class whose objects are results of a public function."""
    one, other = image(tmp_path / "one.bin", "a"), image(tmp_path / "other.bin", "bb")
    told = (codec(u64), codec(str))
    damaged = bytearray(one.read_bytes())
    at = damaged.index(b"BTN")
    damaged[at : at + 3] = b"xxx"
    broken = tmp_path / "broken.bin"
    broken.write_bytes(damaged)
    memory = StableMemory()
    vec = StableVec[u64](memory)
    vec.push(1)
    source = "from stable_structures.canister import Actor, stable, update\nclass A(Actor):\n    x = stable(1)\n"
    source += "    @update\n    def f(self): pass\n"
    canister = Canister.install(source)
    report = inspector.inspect(one)
    return [
        report,
        *report.memories,
        inspector.inspect(broken),
        *inspector.check(broken),
        *inspector.diff(one, other),
        *inspector.diff(one, other, types={0: told}),
        *inspector.repair(broken, tmp_path / "repaired.bin"),
        inspector.shrink(one, tmp_path / "small.bin"),
        vec.bytes_used(),
        canister.upgrade(source),
        Limits(heap=5),
        storable.Bounded(8, is_fixed_size=True),
        stable_structures.Principal.anonymous(),
        inspector.SchemaFiles("memories.toml"),
        memory.size(),
        *violations(),
    ]


def violations():
    from stable_structures.memory.stored import Violation  # noqa: PLC0415 - only here

    return [Violation("a rule", 1, 2, 3)]


REFUSED = {"Image", "Part", "Table"}
"""Results that read an open file."""


def test_results_are_the_same_after_every_way(results):
    for result in results:
        for name, way in WAYS.items():
            again = way(result)
            assert again == result, (type(result), name)
            assert repr(again) == repr(result) or "Reading" in repr(result)


def test_there_is_a_sample_of_every_public_result(results):
    held = [getattr(result, name, []) for result in results for name in ("memories", "changes")]
    parts = {type(part) for part in [*results, *itertools.chain(*held)]}
    packages = (stable_structures, stable_structures.canister, inspector, storable)
    public = {item for package in packages for item in exported(package)}
    found = {item for item in public if dataclasses.is_dataclass(item) and item.__name__ not in REFUSED}
    found -= {stable_structures.canister.Call, storable.Order, storable.Term}
    found -= {storable.IntLane, storable.BytesLane}
    assert found <= parts, found - parts


def exported(module):
    return [getattr(module, name) for name in module.__all__ if isinstance(getattr(module, name), type)]


@pytest.mark.parametrize("way", WAYS)
def test_codecs_of_all_types(way):
    numbers = (u8, u16, u32, u64, u128, i8, i64, i128, f32, f64, bool)
    for tp in (*numbers, str, bytes, None, Cbor[dict], tuple[u64, u8], u32 | None, Blob(9), Record([("a", "u1")])):
        again = WAYS[way](codec(tp))
        assert (again.name, again.bound) == (codec(tp).name, codec(tp).bound)
    assert WAYS[way](codec(u64)).encode(5) == codec(u64).encode(5)
    record = Record([("a", "u1"), ("b", "S3")])
    assert WAYS[way](record).encode((5, b"x")) == record.encode((5, b"x")) == b"\x05x\0\0"


def unpicklable(tmp_path):
    memory = StableMemory()
    map_ = StableBTreeMap[u64, u64](memory)
    canister = Canister.install("from stable_structures.canister import update\n@update\ndef f(): pass\n")
    opened = inspector.open_image(image(tmp_path / "open.bin", "a"))
    vec, heap = StableVec[u64](StableMemory()), StableMinHeap[u64](StableMemory())
    return [memory, map_, map_.range(1), vec, heap, canister, canister.snapshot(), opened]


def test_what_cannot_be_copied_says_so(tmp_path):
    for item in unpicklable(tmp_path):
        for way in (copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot be copied or pickled"):
                way(item)
    opened = inspector.open_image(tmp_path / "open.bin")
    for part in opened.parts.values():
        with pytest.raises(TypeError, match="open image"):
            copy.deepcopy(part)


# ---- through processes ----


def in_worker(what):
    """Raises, in another process, what the name says."""
    if what == "trap":
        source = "from stable_structures.canister import update\n@update\ndef f(): raise ValueError('no')\n"
        Canister.install(source).call("f")
    elif what == "rejected":
        Canister.install("from stable_structures.canister import update\n@update\ndef f(): pass\n").call("g")
    elif what == "call rejected":
        raise CallRejected(RejectCode.SYS_FATAL, "busy")
    elif what == "source":
        Canister.install("no/such/file.py")
    elif what == "bound":
        StableBTreeMap[u8, u8](StableMemory()).insert(1, 256)
    elif what == "bounds":
        StableMemory().read(0, 1)
    elif what == "corrupt":
        memory = StableMemory()
        memory.grow(1)
        memory.write(0, b"BTR\7")
        StableBTreeMap[u64, u64].load(memory)
    elif what == "damage":
        raise Damage("a rule", 1, 2, 3)
    return inspector.check(b"BTR\7" + bytes(65532)) if what == "findings" else None


RAISES = {
    "trap": Trapped,
    "rejected": Rejected,
    "call rejected": CallRejected,
    "source": SourceError,
    "bound": BoundExceeded,
    "bounds": OutOfBounds,
    "corrupt": CorruptMemory,
    "damage": Damage,
}


def test_a_process_pool_survives_our_exceptions(monkeypatch):
    # The worker imports this module by its name; behind the rest, so that it meets the same package as the test.
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for what, cls in RAISES.items():
            error = pool.submit(in_worker, what).exception(timeout=60)
            assert isinstance(error, cls), (what, error)
            if isinstance(error, Rejected):
                assert error.code == error.error_code
                assert error.message in str(error)
                assert isinstance(error.reject_code, RejectCode)
        assert pool.submit(in_worker, "corrupt").exception(timeout=60).code
