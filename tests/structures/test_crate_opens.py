"""The Rust crate opens what we wrote again: images that `shrink` and `repair` made, and files that a durable memory left.

A program of its own (benches/rust/src/bin/contents.rs, cargo builds it) reads every entry, looks up every key and empties
the maps; what it reads is held against what the library reads.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from stable_structures import (
    PAGE_SIZE,
    MemoryManager,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
)
from stable_structures.inspect import open_image, repair, shrink
from stable_structures.inspect.formats.maps import MapReader
from stable_structures.storable import Codec

from ..support import golden_replay
from ..support.golden_replay import traces
from ..support.inspect_images import OLD, Patched, fuller, golden, old, types_of

# Behind everything else, so that the installed package stays the one that is tested.
sys.path.append(str(Path(__file__).resolve().parents[2]))
from benches.crate import build, version

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")]

BARE = [name for name in traces() if not name.startswith(("log", "canister"))]
MAPS = [name for name in traces() if name.startswith(("btreemap", "btreeset"))]
CANISTERS = traces("canister")


@pytest.fixture(scope="module")
def crate() -> Path:
    return build("contents")


def structures(name: str) -> dict[str, str]:
    """What the header of a trace says is there, by memory id, `-` for a bare one."""
    header, _ = golden_replay.read_trace(name)
    if header["structure"] == "canister":
        return {memory: described for memory, described in header["memories"].items() if described != "log data"}
    return {"-": f"{header['structure']}<{','.join(header[part] for part in ('key', 'value') if part in header)}>"}


def read_by_crate(crate: Path, name: str, path: Path) -> dict[str, str]:
    orders = "".join(f"{memory} {described}\n" for memory, described in structures(name).items())
    done = subprocess.run([crate, path], input=orders, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def read_by_us(name: str, image: bytes) -> dict[str, str]:
    memory = StableMemory()
    memory.grow(len(image) // PAGE_SIZE)
    memory.write(0, image)
    manager = None if list(structures(name)) == ["-"] else MemoryManager.load(memory)
    found = {}
    for where, described in structures(name).items():
        kind = re.fullmatch(r"(\w+)( index)?<.*>", described)[1]  # type: ignore[index]
        memories = [memory] if manager is None else [manager.get(int(where))]
        if kind == "log" and manager is not None:
            memories.append(manager.get(int(where) + 1))
        found[where] = told(rows(kind, memories, *types_of(name)[None if where == "-" else int(where)]))
    return found


def rows(kind: str, memories: list[Any], key: Codec[Any] | None, value: Codec[Any]) -> Iterable[tuple[bytes, bytes]]:
    if kind == "btreemap" and key is not None:
        return [(key.encode(k), value.encode(v)) for k, v in StableBTreeMap[key, value].load(*memories).items()]
    if kind == "btreeset" and key is not None:
        return [(key.encode(k), b"") for k in StableBTreeSet[key].load(*memories)]
    if kind == "minheap":
        heap = StableMinHeap[value].load(*memories)  # type: ignore[valid-type]
        return [(b"", value.encode(heap.pop())) for _ in range(len(heap))]
    opened: Any = {"vec": StableVec, "cell": StableCell, "log": StableLog}[kind][value]
    row = [opened(*memories, b"none").get()] if kind == "cell" else opened.load(*memories)
    return [(b"", value.encode(element)) for element in row]


def told(pairs: Iterable[tuple[bytes, bytes]]) -> str:
    lines = [f"{key.hex()} {value.hex()}\n" for key, value in pairs]
    return f"{len(lines)} {hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def image_of(name: str) -> bytes:
    return fuller(name) if name.startswith("vec") else golden(name)[0]


def test_the_crate_knows_every_structure_of_the_traces(crate, tmp_path):
    """The comparison itself: on what the crate wrote, both read the same."""
    for name in [*BARE, *CANISTERS]:
        path = tmp_path / name
        path.write_bytes(image_of(name))
        found = read_by_crate(crate, name, path)
        assert found == read_by_us(name, image_of(name)), name
        assert found.keys() == structures(name).keys()
        assert any(not one.startswith("0 ") for one in found.values()), name
        path.unlink()


@pytest.mark.parametrize("name", [*BARE, *CANISTERS])
def test_the_crate_reads_a_shrunk_image(crate, name, tmp_path):
    shrink(image_of(name), tmp_path / "small.bin", types=types_of(name))
    assert read_by_crate(crate, name, tmp_path / "small.bin") == read_by_us(name, image_of(name))


@pytest.mark.parametrize("name", OLD)
def test_the_crate_reads_a_shrunk_map_of_layout_1(crate, name, tmp_path):
    shrink(old(name), tmp_path / "small.bin", types=types_of(name))
    found = read_by_crate(crate, name, tmp_path / "small.bin")
    assert found == read_by_us(name, old(name))
    assert not found["-"].startswith("0 ")


@pytest.mark.parametrize("name", MAPS)
def test_the_crate_reads_a_repaired_map(crate, name, tmp_path):
    types = types_of(name)
    reader = open_image(image_of(name)).part(None).open(*types[None])
    assert isinstance(reader, MapReader)
    damaged = Patched(image_of(name), {reader.root: bytes(reader.page)})
    (result,) = repair(damaged, tmp_path / "saved.bin", types=types)
    found = read_by_crate(crate, name, tmp_path / "saved.bin")
    assert found == read_by_us(name, (tmp_path / "saved.bin").read_bytes())
    assert found["-"].startswith(f"{result.kept} ")
    assert 0 < result.missing < 12


@pytest.mark.parametrize("name", CANISTERS)
def test_the_crate_reads_a_repaired_canister(crate, name, tmp_path):
    """A bucket that was marked as nobody's is where it belongs again."""
    repair(Patched(image_of(name), {2080: b"\xff"}), tmp_path / "saved.bin", types=types_of(name))
    assert read_by_crate(crate, name, tmp_path / "saved.bin") == read_by_us(name, image_of(name))


@pytest.mark.parametrize("name", ["btreemap_bytes_bytes", "vec_blob300", "canister_bucket16"])
@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_the_crate_reads_a_file_at_rest(crate, name, durability, tmp_path):
    image = image_of(name)
    with StableMemory.open(tmp_path / "state.bin", durability=durability) as memory, memory.transaction():
        memory.grow(len(image) // PAGE_SIZE)
        memory.write(0, image)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.bin"]
    assert read_by_crate(crate, name, tmp_path / "state.bin") == read_by_us(name, image)


def test_it_is_the_version_that_the_format_is_of():
    assert version() == "0.7.2"
