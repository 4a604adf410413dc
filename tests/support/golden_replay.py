"""Plays the traces of tests/golden through the public interface (the notation: docs/format.md#traces).

Each operation is held against the result that the trace tells, each `#` line against the size and digest of the memory.
A trace of one structure can be played on any memory: what lies in it is the same, wherever it lies.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import stable_structures
from stable_structures import PAGE_SIZE, StableMemory
from stable_structures.storable import Codec, parse_type

GOLDEN = Path(__file__).parents[1] / "golden"
PATTERN_FROM = 17  # shorter bytes are written in hex


def traces(prefix: str = "") -> list[str]:
    return sorted(path.name.removesuffix(".trace.gz") for path in GOLDEN.glob(f"{prefix}*.trace.gz"))


def read_trace(name: str) -> tuple[dict[str, Any], list[str]]:
    header, *lines = gzip.decompress((GOLDEN / f"{name}.trace.gz").read_bytes()).decode().splitlines()
    return json.loads(header), lines


# ---- the notation of bytes ----


@cache
def period(start: int) -> bytes:
    return bytes((start + 31 * j) % 256 for j in range(256))


def pattern(length: int, start: int) -> bytes:
    return (period(start) * (length // 256 + 1))[:length]


def parse_bytes(text: str) -> bytes:
    if text == "=":
        return b""
    if text.startswith("*"):
        length, start = text[1:].split(".")
        return pattern(int(length), int(start))
    return bytes.fromhex(text)


def show_bytes(data: bytes | None) -> str:
    if data is None:
        return "-"
    if len(data) >= PATTERN_FROM and data == pattern(len(data), data[0]):
        return f"*{len(data)}.{data[0]}"
    return data.hex() or "="


def digest(memory: Any) -> str:
    """Size and sha256 of a memory, as a trace writes them."""
    pages = memory.size()
    data = memory.view() if isinstance(memory, StableMemory) and pages else memory.read(0, pages * PAGE_SIZE)
    return f"{pages} {hashlib.sha256(data).hexdigest()}"


# ---- players: one per structure; each operation returns its result in the notation of the traces ----


class Player:
    """A structure and the operations of its traces."""

    def __init__(self, types: list[Codec[Any]], *memories: Any) -> None:
        self.types = types
        self.memories = memories
        self.structure: Any = None

    def open(self) -> None:
        self.structure = self.make()

    def make(self) -> Any:
        raise NotImplementedError

    def reopen(self) -> None:
        if self.structure is not None:
            self.release()
        self.open()

    def release(self) -> None:
        self.structure.into_memory()

    def play(self, operation: str, arguments: list[str]) -> str:
        return getattr(self, f"do_{operation}")(*arguments)

    def arity(self, operation: str) -> int:
        """How many fields of a line are arguments; the others are the result."""
        function = getattr(self, f"do_{operation}")
        return function.__code__.co_argcount - 1

    def value(self, text: str, type_index: int = -1) -> Any:
        return self.types[type_index].decode(parse_bytes(text))

    def show(self, value: Any, type_index: int = -1) -> str:
        return show_bytes(None if value is None else self.types[type_index].encode(value))

    def do_c(self) -> str:
        self.structure.clear()
        return ""


class MapPlayer(Player):
    def make(self) -> Any:
        key, value = self.types
        return stable_structures.StableBTreeMap[key, value](*self.memories)

    def show_key(self, key: Any) -> str:
        return show_bytes(self.types[0].encode(key))

    def show_value(self, value: Any) -> str:
        return show_bytes(self.types[1].encode(value))

    def key(self, text: str) -> Any:
        return self.value(text, 0)

    def do_i(self, key: str, value: str) -> str:
        k = self.key(key)
        had = k in self.structure
        old = self.structure.insert(k, self.value(value))
        return self.show_value(old) if had else self.absent(old)

    def do_r(self, key: str) -> str:
        k = self.key(key)
        had = self.structure.contains_key(k)
        old = self.structure.remove(k)
        return self.show_value(old) if had else self.absent(old)

    def do_g(self, key: str) -> str:
        k = self.key(key)
        if k not in self.structure:
            return self.absent(self.structure.get(k))
        assert self.types[1].encode(self.structure[k]) == self.types[1].encode(self.structure.get(k))
        return self.show_value(self.structure.get(k))

    def absent(self, value: Any) -> str:
        assert value is None
        return "-"

    def entry(self, entry: tuple[Any, Any] | None) -> str:
        return "-" if entry is None else f"{self.show_key(entry[0])} {self.show_value(entry[1])}"

    def do_f(self) -> str:
        first = self.entry(self.structure.first_key_value())
        popped = self.entry(self.structure.pop_first())
        assert first == popped
        return popped

    def do_l(self) -> str:
        last = self.entry(self.structure.last_key_value())
        popped = self.entry(self.structure.pop_last())
        assert last == popped
        return popped

    def do_n(self) -> str:
        return str(len(self.structure))

    def do_a(self) -> str:
        lines = [self.entry(entry) for entry in self.structure.iter()]
        assert [self.entry(entry) for entry in self.structure.range(reverse=True)] == lines[::-1]
        return f"{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"


class SetPlayer(Player):
    def make(self) -> Any:
        return stable_structures.StableBTreeSet[self.types[0]](*self.memories)

    def do_i(self, key: str) -> str:
        return str(int(self.structure.insert(self.value(key))))

    def do_r(self, key: str) -> str:
        return str(int(self.structure.remove(self.value(key))))


class VecPlayer(Player):
    def make(self) -> Any:
        return stable_structures.StableVec[self.types[0]](*self.memories)

    def do_p(self, value: str) -> str:
        self.structure.push(self.value(value))
        return ""

    def do_s(self, index: str, value: str) -> str:
        self.structure.set(int(index), self.value(value))
        return ""

    def do_q(self) -> str:
        return self.show(self.structure.pop()) if len(self.structure) else "-"

    def do_g(self, index: str) -> str:
        return self.show(self.structure.get(int(index)))


class HeapPlayer(Player):
    def make(self) -> Any:
        return stable_structures.StableMinHeap[self.types[0]](*self.memories)

    def do_p(self, value: str) -> str:
        self.structure.push(self.value(value))
        return ""

    def do_q(self) -> str:
        least = self.show(self.structure.peek())
        popped = self.show(self.structure.pop())
        assert least == popped
        return popped


class LogPlayer(Player):
    def make(self) -> Any:
        return stable_structures.StableLog[self.types[0]](*self.memories)

    def release(self) -> None:
        self.structure.into_memories()

    def do_a(self, value: str) -> str:
        return str(self.structure.append(self.value(value)))

    def do_g(self, index: str) -> str:
        return self.show(self.structure.get(int(index)))


class CellPlayer(Player):
    default = bytes([9, 40, 71])

    def make(self) -> Any:
        return stable_structures.StableCell[self.types[0]](*self.memories, self.types[0].decode(self.default))

    def do_init(self, value: str) -> str:
        self.default = parse_bytes(value)
        self.open()
        assert self.show(self.structure.get()) == value
        return ""

    def do_s(self, value: str) -> str:
        old = self.show(self.structure.set(self.value(value)))
        assert self.show(self.structure.get()) == value
        return old


PLAYERS: dict[str, type[Player]] = {
    "btreemap": MapPlayer,
    "btreeset": SetPlayer,
    "vec": VecPlayer,
    "minheap": HeapPlayer,
    "log": LogPlayer,
    "cell": CellPlayer,
}


# ---- one structure ----


def replay(name: str, make_memory: Callable[[], Any] = StableMemory, after: Callable[[], None] = lambda: None) -> Iterator[Player]:
    """Plays a trace of one structure; yields its player after each reopening and at the end. `after` runs after each line."""
    header, lines = read_trace(name)
    types = [parse_type(header[part]) for part in ("key", "value") if part in header]
    memories = tuple(make_memory() for _ in range(2 if header["structure"] == "log" else 1))
    player = PLAYERS[header["structure"]](types, *memories)
    if not lines[0].startswith(("load ", "init ")):
        player.open()
    for number, line in enumerate(lines, 2):
        if line == "o":
            player.reopen()
            yield player
        elif line.startswith("load "):
            image = gzip.decompress((GOLDEN / line[5:]).read_bytes())
            memories[0].grow(len(image) // PAGE_SIZE)
            memories[0].write(0, image)
        else:
            step(player, line, f"{name}, line {number}", memories)
        after()
    yield player


def step(player: Player, line: str, where: str, memories: tuple[Any, ...]) -> None:
    """One line of a trace that is an operation or a digest."""
    operation, *fields = line.split(" ")
    if operation == "#":
        found = " ".join(digest(memory) for memory in memories)
        assert found == " ".join(fields), f"{where}: the memory is another: {found}"
        return
    count = player.arity(operation)
    found = player.play(operation, fields[:count])
    assert found == " ".join(fields[count:]), f"{where}: {line[:200]} gave {found[:200]}"


# ---- a canister: eight structures on one manager ----


class Canister:
    """The structures of a canister trace, opened in the order of their ids."""

    def __init__(self, header: dict[str, Any], memory: StableMemory) -> None:
        self.header = header
        self.memory = memory
        self.manager: Any = None
        self.players: dict[int, Player] = {}

    def open(self) -> None:
        self.manager = stable_structures.MemoryManager(self.memory, bucket_pages=self.header["bucket_pages"])
        for text, described in self.header["memories"].items():
            kind, _, types = re.fullmatch(r"(\w+)( index)?(.*)", described).groups()  # type: ignore[union-attr]
            if described == "log data":
                continue
            ids = [int(text)] + [int(text) + 1] * (kind == "log")
            parts = [parse_type(part) for part in split_types(types)] if kind == "btreemap" else [parse_type(types[1:-1])]
            player = PLAYERS[kind](parts, *(self.manager.get(i) for i in ids))
            player.open()
            self.players[int(text)] = player

    def reopen(self) -> None:
        """As an upgrade does it: all handles go, the bytes stay."""
        before, self.memory = self.memory, StableMemory()
        self.memory.grow(before.size())
        self.memory.write(0, before.view())
        before.close()
        self.open()


def split_types(types: str) -> list[str]:
    """The types of `<K,V>`."""
    depth, parts = 0, [""]
    for letter in types[1:-1]:
        depth += (letter == "<") - (letter == ">")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def replay_canister(name: str, *, only_last_digest: bool = False) -> Iterator[Canister]:
    """Plays a trace of a canister; yields it after each reopening and at the end.

    With `only_last_digest`, the memory is compared with the trace only at its end: for callers that want nothing but the image.
    """
    header, lines = read_trace(name)
    canister = Canister(header, StableMemory())
    canister.open()
    for number, line in enumerate(lines, 2):
        where = f"{name}, line {number}"
        if line == "o":
            canister.reopen()
            yield canister
        elif line.startswith("@"):
            identity, operation = line[1:].split(" ", 1)
            step(canister.players[int(identity)], operation, where, ())
        elif not only_last_digest or line is lines[-1]:
            step(next(iter(canister.players.values())), line, where, (canister.memory,))
    yield canister


# ---- the rule of scale.json ----


def splitmix(seed: int, count: int) -> list[int]:
    """The first numbers of SplitMix64."""
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    numbers: list[int] = (z ^ (z >> np.uint64(31))).tolist()
    return numbers
