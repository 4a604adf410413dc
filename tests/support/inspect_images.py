"""Images for the tests of stable_structures.inspect: those behind the golden traces, and where in them what means something."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stable_structures import PAGE_SIZE
from stable_structures.inspect import open_image
from stable_structures.inspect.formats.layout import FIRST_CHUNK
from stable_structures.inspect.formats.maps import MapReader
from stable_structures.inspect.formats.nodes import Node
from stable_structures.inspect.formats.sequences import LogReader, SlotReader
from stable_structures.inspect.formats.survey import batches
from stable_structures.inspect.image import Part
from stable_structures.storable import parse_type

from . import golden_replay


def read(memory: Any) -> bytes:
    return memory.read(0, memory.size() * PAGE_SIZE)


@cache
def golden(name: str) -> tuple[bytes, ...]:
    """The memories at the end of a trace; of a canister, the managed one. A log has two."""
    if name.startswith("canister"):
        *_, canister = golden_replay.replay_canister(name, only_last_digest=True)
        return (read(canister.memory),)
    *_, player = golden_replay.replay(name)
    return tuple(map(read, player.memories))


@cache
def old(name: str) -> bytes:
    """The image that a trace begins with: a map whose nodes are all of layout 1."""
    return gzip.decompress((golden_replay.GOLDEN / f"{name}.v1.bin.gz").read_bytes())


OLD = sorted(path.name.removesuffix(".v1.bin.gz") for path in golden_replay.GOLDEN.glob("*.v1.bin.gz"))


@cache
def fuller(name: str) -> bytes:
    """The image of a vec at its longest, since their traces end with one element."""
    best = b""
    for player in golden_replay.replay(name):
        length = len(player.structure)
        if length:
            best = max(best, read(player.memories[0]), key=lambda data: int.from_bytes(data[4:12], "little"))
    return best


def traces() -> list[str]:
    return golden_replay.traces()


def types_of(name: str) -> dict[int | None, tuple[Any, Any]]:
    """The types that the header of a trace tells, as `inspect` takes them."""
    header, _ = golden_replay.read_trace(name)
    if header["structure"] != "canister":
        found = [parse_type(header[part]) for part in ("key", "value") if part in header]
        return {None: _pair(header["structure"], found)}
    told: dict[int | None, tuple[Any, Any]] = {}
    for text, described in header["memories"].items():
        kind, _, types = re.fullmatch(r"(\w+)( index)?(.*)", described).groups()
        if described != "log data":
            parts = golden_replay.split_types(types) if kind == "btreemap" else [types[1:-1]]
            told[int(text)] = _pair(kind, [parse_type(part) for part in parts])
    return told


def _pair(kind: str, found: list[Any]) -> tuple[Any, Any]:
    if kind == "btreeset":
        return found[0], parse_type("unit")
    return (found[0], found[1]) if len(found) > 1 else (None, found[0])


class Patched:
    """A memory that has other bytes in some places than the image below; a copy of 64 MiB each time would take too long."""

    def __init__(self, data: bytes, patches: dict[int, bytes], pages: int | None = None) -> None:
        self.data, self.patches = data, patches
        self.pages = len(data) // PAGE_SIZE if pages is None else pages

    def size(self) -> int:
        return self.pages

    def grow(self, _pages: int, /) -> int:
        return -1

    def write(self, _offset: int, _data: bytes, /) -> None:
        raise AssertionError("the inspector wrote to what it looks at")

    def read(self, offset: int, length: int, /) -> bytes:
        found = self.data[offset : offset + length]
        for at, patch in self.patches.items():
            low, high = max(at, offset), min(at + len(patch), offset + length)
            if low < high:
                found = found[: low - offset] + patch[low - at : high - at] + found[high - offset :]
        return found

    def whole(self) -> bytes:
        return self.read(0, self.pages * PAGE_SIZE)


# ---- which bytes mean something ----


@dataclass(frozen=True)
class Meaning:
    """Bytes that are read when the structures are used, by the kind of what they say; addresses in the image."""

    kind: str
    start: int
    stop: int


def meanings(data: bytes) -> list[Meaning]:
    """Every range of a sound image that means something."""
    with open_image(data) as image:
        found = []
        if image.manager is not None:
            found += [Meaning("manager: header", 0, 8), Meaning("manager: owners", 2080, 2080 + image.manager.allocated)]
            found += [Meaning("manager: sizes", 40 + 8 * i, 48 + 8 * i) for i in image.manager.ids()]
        for part in image.parts.values():
            for one in _of_part(part):
                at = part.source.physical(one.start)
                assert part.source.physical(one.stop - 1) - at < one.stop - one.start + 10**9
                found.append(Meaning(one.kind, at, at + one.stop - one.start))
        return [one for one in found if one.stop > one.start]


def _of_part(part: Part) -> Iterator[Meaning]:
    if part.kind == "log data":
        yield Meaning("log: header", 0, 4)
        if part.index is not None:
            yield Meaning("log: entries", 32, part.index.open().live_data())
    elif part.is_structure:
        reader = part.open()
        if isinstance(reader, MapReader):
            yield from _of_map(reader)
        elif isinstance(reader, SlotReader):
            yield from _of_slots(reader)
        elif isinstance(reader, LogReader):
            yield Meaning("log: header", 0, 4)
            yield Meaning("log: count", 32, 40)
            yield Meaning("log: ends", 40, reader.live())
        else:
            yield Meaning("cell: header", 0, 4)
            yield Meaning("cell: size", 4, 8)
            yield Meaning("cell: value", 8, reader.live())


def _of_slots(reader: SlotReader) -> Iterator[Meaning]:
    yield Meaning("row: header", 0, 4)
    yield Meaning("row: length", 4, 12)
    yield Meaning("row: element bound", 12, 17)
    for i in range(reader.readable()):
        at = reader.address(i)
        size = len(reader.element(i))
        yield Meaning("row: element size", at, at + reader.size_bytes)
        yield Meaning("row: element", at + reader.size_bytes, at + reader.size_bytes + size)


def _of_map(reader: MapReader) -> Iterator[Meaning]:
    yield Meaning("map: magic and version", 0, 4)
    yield Meaning("map: page size", 4, 12)
    yield Meaning("map: root", 12, 20)
    yield Meaning("map: length", 20, 28)
    yield Meaning("allocator: header", 52, 56)
    yield Meaning("allocator: size", 60, 68)
    yield Meaning("allocator: count", 68, 76)
    yield Meaning("allocator: free list", 76, 84)
    for index in range(reader.end_of_chunks() + 1):
        chunk = FIRST_CHUNK + index * reader.space.stride
        yield Meaning("chunk: magic, version, allocated", chunk, chunk + 5)
        if reader.source.read(chunk + 4, 1) == b"\0":
            yield Meaning("chunk: next free", chunk + 8, chunk + 16)
    for address in {at: None for batch in batches(reader, None) for at in batch[4].tolist()}:
        yield from _of_node(reader, reader.space.node(address, reader.layout))


def _of_node(reader: MapReader, node: Node) -> Iterator[Meaning]:
    """Of what lies in the first page, and the heads of the others."""
    at, page = node.address, len(node.run.first)
    yield Meaning("node: header", at, at + 7)
    children_at = 15 if node.version == 2 else 7 + len(node.keys) * (8 + reader.max_key + reader.max_value)
    if node.version == 2:
        yield Meaning("node: first overflow", at + 7, at + 15)
    yield Meaning("node: children", at + children_at, at + children_at + 8 * len(node.children))
    for overflow in node.run.pages:
        yield Meaning("overflow: header", overflow, overflow + 11)
    for kind, start, size in _entry_places(reader, node, children_at):
        if start + size <= page:
            yield Meaning(kind, at + start, at + start + size)


def _entry_places(reader: MapReader, node: Node, children_at: int) -> Iterator[tuple[str, int, int]]:
    for offset, size in node.values:
        yield "node: value size", offset - 4, 4
        yield "node: value", offset, size
    if node.version == 1:
        for i, key in enumerate(node.keys):
            slot = 7 + i * (8 + reader.max_key + reader.max_value)
            yield "node: key size", slot, 4
            yield "node: key", slot + 4, len(key)
        return
    place = children_at + 8 * len(node.children)
    for key in node.keys:
        if reader.layout.key_fixed is None:
            yield "node: key size", place, 4
            place += 4
        yield "node: key", place, len(key)
        place += len(key)


# ---- snapshots, as docs/platform.md#snapshots-on-disk says ----


def metadata(size: int) -> dict[str, Any]:
    return {
        "source": {"taken_from_canister": None},
        "taken_at_timestamp": 1_760_000_000_123_456_789,
        "wasm_module_size": 1_234_567,
        "wasm_memory_size": 3 * PAGE_SIZE,
        "stable_memory_size": size,
        "globals": [{"i32": 1048576}, {"i64": 7}, None],
        "wasm_chunk_store": [{"hash": [1, 2, 3]}],
        "canister_version": 42,
        "certified_data": [0, 1, 2],
        "global_timer": "inactive",
        "on_low_wasm_memory_hook_status": None,
    }


def make_dfx(folder: Path, image: bytes) -> Path:
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps(metadata(len(image)), indent=2))
    (folder / "wasm_module.bin").write_bytes(b"\0asm")
    (folder / "wasm_memory.bin").write_bytes(bytes(PAGE_SIZE))
    if image:
        (folder / "stable_memory.bin").write_bytes(image)
    return folder


def make_icp(folder: Path, image: bytes) -> Path:
    make_dfx(folder, image)
    (folder / "wasm_chunk_store").mkdir()
    (folder / "stable_memory.bin").write_bytes(image)
    return folder


def make_juno(folder: Path, image: bytes) -> Path:
    folder.mkdir()
    camel = {re.sub(r"_(\w)", lambda m: m[1].upper(), name): value for name, value in metadata(len(image)).items()}
    camel["stableMemorySize"] = {"__bigint__": str(len(image))}
    stable = {"filename": "stable.bin", "size": len(image), "hash": "0" * 64} if image else None
    data = {"wasmModule": {"filename": "wasm-code.bin"}, "stableMemory": stable}
    (folder / "metadata.json").write_text(json.dumps({"snapshotId": "0x0a", "data": data, "metadata": camel}))
    if image:
        (folder / "stable.bin").write_bytes(image)
    return folder


def make_gzip(path: Path, image: bytes) -> Path:
    path.write_bytes(gzip.compress(image, 1))
    return path
