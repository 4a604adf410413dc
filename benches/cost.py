# SPDX-License-Identifier: Apache-2.0
"""The cost model: instructions and cache misses of one operation, counted by callgrind, and the nanoseconds they take in C,
against what a lookup has to touch (levels x lines) and how long the machine takes to bring a line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .measure import FILL_STEP, Say
from .ours import BulkHeap, BulkMap, BulkVec, Map, Ours
from .work import pick, run

NATIVE: Final = Path(__file__).resolve().parent.parent / "native"
DRIVER: Final = Path(__file__).resolve().parent / "native" / "cost.c"
FLAGS: Final = ("-std=c11", "-D_GNU_SOURCE", "-D_DARWIN_C_SOURCE", "-O3", "-flto", "-DNDEBUG", "-g")
MOST: Final = 20_000
PART: Final = 10
"""The driver measures so many operations at a time; of those that change the structure, a tenth of its entries at most."""
LINE: Final = 64
KINDS: Final[dict[str, tuple[type[Ours], str]]] = {"map": (BulkMap, "insert"), "vec": (BulkVec, "push"), "heap": (BulkHeap, "push")}
MAP_OPERATIONS: Final = ("map.get", "map.insert", "map.remove", "map.get_many", "map.insert_many", "map.remove_many")
ROW_OPERATIONS: Final = ("vec.get", "vec.push", "heap.push", "heap.pop")
MAP_SIZES: Final = (10_000, 1_000_000, 10_000_000)
ROW_SIZES: Final = (1_000_000,)
L1: Final = 32 << 10
L2: Final = 1 << 20
L3: Final = 32 << 20
CHASES: Final = tuple(16 << shift for shift in range(10, 26))
"""Bytes within which the latency of a load is measured: 16 KiB, 32 KiB, ... 512 MiB."""
LOOKUPS: Final = 2_000
ONE_ENTRY_CALLS: Final = 100_000

Bytes = npt.NDArray[np.uint8]


class NoCompiler(Exception):
    """The driver cannot be built here."""


@dataclass(frozen=True)
class Cost:
    """One operation on a structure of `size` entries. Misses are lines that were not in a cache of that size; None without valgrind."""

    operation: str
    size: int
    ns: float
    instructions: float | None
    l1: float | None
    l2: float | None
    l3: float | None


@dataclass(frozen=True)
class Level:
    """A level of a map's tree, the root's first; `lines` is what one lookup has to read of it."""

    depth: int
    nodes: int
    lines: float
    reached: float
    """Share of the lookups that come this far."""
    total: int
    """Bytes of the levels so far, as many lines of each node as a lookup reads."""


@dataclass(frozen=True)
class Model:
    """Everything for the page."""

    costs: list[Cost]
    levels: dict[int, list[Level]]
    latency: dict[int, float]
    """Nanoseconds of a load that waits for the one before it, all within so many bytes."""
    one_entry_python: float
    one_entry_c: float


def measure(maps: tuple[int, ...], rows: tuple[int, ...], say: Say) -> Model:
    """Measure maps, vecs and heaps of these sizes. Raises `NoCompiler`."""
    with tempfile.TemporaryDirectory() as directory:
        driver = build(Path(directory))
        latency = {size: float(_run(str(driver), "chase", str(size))) for size in CHASES}
        say(f"a dependent load within: {', '.join(f'{size >> 10:,} KiB {ns:.1f} ns' for size, ns in latency.items())}")
        costs: list[Cost] = []
        levels: dict[int, list[Level]] = {}
        for operation, size in [*product(MAP_OPERATIONS, maps), *product(ROW_OPERATIONS, rows)]:
            kind = operation.split(".")[0]
            path = image(kind, size, Path(directory))
            costs.append(cost(driver, operation, path, size, say))
            if kind == "map" and size not in levels:
                levels[size] = list(levels_of(np.memmap(path, np.uint8, "r"), size))
        one = image("map", 1, Path(directory))
        return Model(costs, levels, latency, _python_call(), timed(driver, "map.get", one, 1))


def build(directory: Path, native: Path = NATIVE) -> Path:
    """Return the driver, with the C core and the flags of a release."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise NoCompiler("no C compiler")
    directory.mkdir(exist_ok=True)
    driver = directory / "cost"
    sources = [str(source) for source in (*sorted(native.glob("*/*.c")), DRIVER)]
    command = [compiler, *FLAGS, f"-I{native}", *sources, "-lpthread", "-o", str(driver)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the compiler
    if done.returncode:
        raise NoCompiler(f"the C compiler failed:\n{done.stderr}")
    return driver


def image(kind: str, size: int, directory: Path) -> Path:
    """Return a memory with `size` entries, as a file; made once."""
    path = directory / f"{kind}-{size}"
    if path.exists():
        return path
    subject = KINDS[kind][0]()
    subject.fresh()
    for lo in range(0, size, FILL_STEP):
        subject.fill(run(lo, min(lo + FILL_STEP, size)), KINDS[kind][1])
    subject.save(path)
    return path


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - our driver, and valgrind


def timed(driver: Path, operation: str, path: Path, size: int) -> float:
    """Return the nanoseconds of an operation in C: the median of some rounds."""
    return float(_run(*_command(driver, operation, path, size)))


def _command(driver: Path, operation: str, path: Path, size: int) -> tuple[str, ...]:
    return str(driver), operation, str(path), str(size), str(count_of(operation, size))


def count_of(operation: str, size: int) -> int:
    """Return how many operations to time at once."""
    return MOST if "get" in operation else max(1, min(MOST, size // PART))


def cost(driver: Path, operation: str, path: Path, size: int, say: Say) -> Cost:
    command = _command(driver, operation, path, size)
    ns, near, far = timed(driver, operation, path, size), callgrind(command, L2), callgrind(command, L3)
    if near is None or far is None:
        found = Cost(operation, size, ns, None, None, None, None)
    else:
        found = Cost(operation, size, ns, near["Ir"], near["D1mr"] + near["D1mw"], near["DLmr"] + near["DLmw"], far["DLmr"] + far["DLmw"])
    say(f"{operation}, {size:,}: {found}")
    return found


def callgrind(command: tuple[str, ...], last: int) -> dict[str, float] | None:
    """Return the events per operation, with a last level of so many bytes; None without valgrind."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return None
    caches = (f"--I1={L1},8,{LINE}", f"--D1={L1},8,{LINE}", f"--LL={last},16,{LINE}")
    with tempfile.NamedTemporaryFile() as out:
        options = ("--tool=callgrind", "--instr-atstart=no", "--cache-sim=yes", *caches, f"--callgrind-out-file={out.name}")
        _run(valgrind, *options, *command)
        text = Path(out.name).read_text(encoding="utf-8")
    names, totals = (re.search(rf"^{word}: (.*)$", text, re.MULTILINE) for word in ("events", "totals"))
    if names is None or totals is None:
        return None
    return {name: int(total) / int(command[-1]) for name, total in zip(names[1].split(), totals[1].split(), strict=True)}


def _python_call() -> float:
    """Return the nanoseconds of a get from Python on a map of one entry: all that does not depend on the size."""
    subject = Map()
    subject.fresh()
    subject.fill(run(0, 1), "insert")
    batch = pick(0, ONE_ENTRY_CALLS, 1)
    return min(subject.time("get", [batch]) for _ in range(9)) / ONE_ENTRY_CALLS


# ---- what a lookup has to touch (docs/format.md#b-tree-map, layout 2, fixed keys of 8 bytes) ----

ROOT_AT: Final = 12
PAGE_SIZE_AT: Final = 4
TYPE_AT, COUNT_AT, OVERFLOW_AT, CHILDREN_AT = 4, 5, 7, 15
KEY, VALUE = 8, 12
"""Bytes of a key, and of a value with its size field."""


def levels_of(memory: Any, size: int) -> Iterator[Level]:
    """Level by level from the root."""
    touched = _touched(memory, size)
    nodes = np.array([_u64(memory, ROOT_AT)], np.uint64)
    total = 0
    for depth, (reached, lines) in enumerate(touched):
        total += round(len(nodes) * lines * LINE)
        yield Level(depth, len(nodes), lines, reached, total)
        if depth + 1 < len(touched):
            nodes = _children(memory, nodes)


def _u64(memory: Any, at: int) -> int:
    return int.from_bytes(memory[at : at + 8].tobytes(), "little")


def _children(memory: Any, nodes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the addresses of all children of these nodes."""
    counts = memory[nodes + np.uint64(COUNT_AT)].astype(np.int64) + 1
    starts = np.repeat(nodes, counts) + np.uint64(CHILDREN_AT)
    places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    at = starts + places.astype(np.uint64) * np.uint64(8)
    octets = memory[at[:, None] + np.arange(8, dtype=np.uint64)]
    return np.ascontiguousarray(octets).view("<u8").ravel()


def _touched(memory: Any, size: int) -> list[tuple[float, float]]:
    """For each level: which share of lookups reaches it, and how many lines they read there, on average."""
    sums: list[list[int]] = []
    for key in pick(0, LOOKUPS, size).keys:
        for depth, lines in enumerate(_descend(memory, key)):
            if depth == len(sums):
                sums.append([0, 0])
            sums[depth][0] += 1
            sums[depth][1] += lines
    return [(count / LOOKUPS, lines / count) for count, lines in sums]


def _descend(memory: Any, key: int) -> Iterator[int]:
    """Return how many lines a lookup reads in each node of its way: header, keys of a binary search, the child or the value."""
    page_size = int.from_bytes(memory[PAGE_SIZE_AT : PAGE_SIZE_AT + 4].tobytes(), "little")
    address = _u64(memory, ROOT_AT)
    while True:
        node = memory[address : address + page_size].tobytes()
        count = int.from_bytes(node[COUNT_AT : COUNT_AT + 2], "little")
        keys_at = CHILDREN_AT + (8 * (count + 1) if node[TYPE_AT] else 0)
        read, index, found = _search(node, keys_at, count, key)
        lines = {address // LINE, *((address + at) // LINE for at in read)}
        if not found and not node[TYPE_AT]:
            raise ValueError(f"{key} is not in the map")
        last = keys_at + KEY * count + VALUE * index if found else CHILDREN_AT + 8 * index
        end = last + (VALUE if found else 8)
        yield len(lines | {(address + last) // LINE, (address + min(end, page_size) - 1) // LINE}) + (end > page_size)
        if found:
            return
        address = int.from_bytes(node[last:end], "little")


def _search(node: bytes, keys_at: int, count: int, key: int) -> tuple[set[int], int, bool]:
    """Return the bytes that a binary search reads, where it ends, and whether it found the key."""
    low, high, read = 0, count, set()
    while low < high:
        middle = (low + high) // 2
        at = keys_at + KEY * middle
        read |= {at, at + KEY - 1}
        here = int.from_bytes(node[at : at + KEY], "big")
        if here == key:
            return read, middle, True
        low, high = (middle + 1, high) if here < key else (low, middle)
    return read, low, False


def wait(level: Level, latency: dict[int, float]) -> float:
    """Return the nanoseconds of a load from what this level and those above it take."""
    return latency[next((size for size in CHASES if size >= level.total), CHASES[-1])]


def least(levels: list[Level], latency: dict[int, float]) -> float:
    """Return the nanoseconds that the loads of a lookup take which wait for one another: one per level, the lines of a node at once."""
    return sum(level.reached * wait(level, latency) for level in levels)
