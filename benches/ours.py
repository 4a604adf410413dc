# SPDX-License-Identifier: Apache-2.0
"""This library: single calls, and bulk calls."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import stable_structures as ss

from .contestant import Contestant, Work, WrongResult, assign, drain, each, repeat
from .work import MANAGED_ID, Batch

SINGLE = "ours"
BULK = "ours, bulk"


class Ours(Contestant):
    """Our side of a structure: a memory, or two, and what is held there."""

    name = SINGLE
    memories: tuple[ss.StableMemory, ...] = ()
    held: Any = None

    def open(self, memory: ss.StableMemory) -> Any:
        """Return the structure in a memory."""
        raise NotImplementedError

    def fresh(self) -> None:
        self.load(b"")

    def load(self, image: Any) -> None:
        """Open the structure in an image of its memory."""
        self.held = None
        memory = ss.StableMemory()
        memory.grow(len(image) // ss.PAGE_SIZE)
        memory.write(0, image)
        self.memories = (memory,)
        self.held = self.open(memory)

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            self.memories[0].view().tofile(file)

    def digest(self) -> str | None:
        digest = hashlib.sha256()
        for memory in self.memories:
            digest.update(memory.view().data)
        return f"{digest.hexdigest()} {sum(memory.size() for memory in self.memories)}"

    def entries(self) -> Iterable[tuple[Any, Any]] | None:
        return self.held.items() if hasattr(self.held, "items") else None


class Map(Ours):
    def open(self, memory: ss.StableMemory) -> Any:
        return ss.StableBTreeMap[ss.u64, ss.u64](memory)

    def insert(self, batch: Batch) -> Work:
        return each(self.held.insert, batch.keys, batch.values)

    def set(self, batch: Batch) -> Work:
        return assign(self.held, batch.keys, batch.values)

    def get(self, batch: Batch) -> Work:
        return each(self.held.get, batch.keys)

    def iterate(self, _: Batch) -> Work:
        return drain(self.held.items)

    def remove(self, batch: Batch) -> Work:
        return each(self.held.remove, batch.keys)


class BulkMap(Map):
    name = BULK

    def insert(self, batch: Batch) -> Work:
        keys, values, held = batch.key_column, batch.value_column, self.held
        return lambda: held.insert_many(keys, values)

    set = insert

    def get(self, batch: Batch) -> Work:
        keys, held = batch.key_column, self.held
        return lambda: held.get_many(keys)

    def iterate(self, _: Batch) -> Work:
        work: Work = self.held.to_numpy
        return work

    def remove(self, batch: Batch) -> Work:
        keys, held = batch.key_column, self.held
        return lambda: held.remove_many(keys)

    def check(self, operation: str, batch: Batch, result: Any) -> None:
        good = True
        if operation == "get" and isinstance(result, tuple):
            good = bool(np.array_equal(result[0], batch.value_column)) and bool(result[1].all())
        elif operation == "get":
            good = result == batch.values
        elif operation == "remove":
            good = bool(result.all())
        elif operation in ("insert", "set"):
            good = result == len(batch)
        elif operation == "iterate":
            good = len(result[0]) == len(self.held) and bool((np.diff(result[0]) > 0).all())
        if not good:
            raise WrongResult(f"{self.name}: {operation} gave {result}")


class PackedMap(Map):
    """Our from_sorted: other bytes than those of insertions, so only its own time is of interest."""

    name = "ours, from_sorted"

    def insert(self, batch: Batch) -> Work:
        order = np.argsort(batch.numbers)
        keys, values, memory = batch.numbers[order], batch.indices[order], self.memories[0]
        self.held = None
        return lambda: ss.StableBTreeMap[ss.u64, ss.u64].from_sorted(memory, keys, values)

    def check(self, operation: str, batch: Batch, result: Any) -> None:
        self.held = result if operation == "insert" else self.held
        if len(self.held) != len(batch):
            raise WrongResult(f"{self.name}: {len(self.held)} entries")

    def can(self, operation: str) -> bool:
        return operation == "insert"

    def digest(self) -> str | None:
        return None


class WideMap(Map):
    """Managed: in memory 7 of a manager."""

    def open(self, memory: ss.StableMemory) -> Any:
        return ss.StableBTreeMap[bytes, bytes](ss.MemoryManager(memory).get(MANAGED_ID))


class BulkWideMap(WideMap, BulkMap):
    name = BULK

    def can(self, operation: str) -> bool:
        return operation != "iterate"  # numpy has no form for bytes of any length


class Set(Ours):
    def open(self, memory: ss.StableMemory) -> Any:
        return ss.StableBTreeSet[ss.u64](memory)

    def insert(self, batch: Batch) -> Work:
        return each(self.held.insert, batch.keys)

    def contains(self, batch: Batch) -> Work:
        return each(self.held.contains, batch.keys)

    def iterate(self, _: Batch) -> Work:
        return drain(self.held.__iter__)

    def remove(self, batch: Batch) -> Work:
        return each(self.held.remove, batch.keys)

    def check(self, operation: str, batch: Batch, result: Any) -> None:
        if operation in ("insert", "contains", "remove") and result is not True:
            raise WrongResult(f"{self.name}: {operation} gave {result} for {len(batch)} entries")


class BulkSet(Set):
    name = BULK

    def insert(self, batch: Batch) -> Work:
        keys, held = batch.key_column, self.held
        return lambda: held.insert_many(keys)

    def iterate(self, _: Batch) -> Work:
        work: Work = self.held.to_numpy
        return work

    def remove(self, batch: Batch) -> Work:
        keys, held = batch.key_column, self.held
        return lambda: held.remove_many(keys)

    def can(self, operation: str) -> bool:
        return operation != "contains"

    def check(self, operation: str, batch: Batch, result: Any) -> None:
        if operation == "remove" and not result.all():
            raise WrongResult(f"{self.name}: {operation} gave {result} for {len(batch)} entries")


class Vec(Ours):
    def open(self, memory: ss.StableMemory) -> Any:
        return ss.StableVec[ss.u64](memory)

    def push(self, batch: Batch) -> Work:
        return each(self.held.push, batch.keys)

    def get(self, batch: Batch) -> Work:
        return each(self.held.get, batch.values)

    def set(self, batch: Batch) -> Work:
        return each(self.held.set, batch.values, batch.values)

    def iterate(self, _: Batch) -> Work:
        return drain(self.held.__iter__)

    def pop(self, batch: Batch) -> Work:
        return repeat(self.held.pop, len(batch))

    def check(self, operation: str, batch: Batch, result: Any) -> None:
        if operation == "get" and result != batch.keys[-1]:
            raise WrongResult(f"{self.name}: get gave {result}, not {batch.keys[-1]}")


class BulkVec(Vec):
    name = BULK

    def push(self, batch: Batch) -> Work:
        items, held = batch.key_column, self.held
        return lambda: held.extend(items)

    def iterate(self, _: Batch) -> Work:
        work: Work = self.held.to_numpy
        return work

    def can(self, operation: str) -> bool:
        return operation in ("push", "iterate")


class Heap(Ours):
    def open(self, memory: ss.StableMemory) -> Any:
        return ss.StableMinHeap[ss.u64](memory)

    def push(self, batch: Batch) -> Work:
        return each(self.held.push, batch.keys)

    def pop(self, batch: Batch) -> Work:
        return repeat(self.held.pop, len(batch))


class BulkHeap(Heap):
    name = BULK

    def push(self, batch: Batch) -> Work:
        items, held = batch.key_column, self.held
        return lambda: held.push_many(items)

    def can(self, operation: str) -> bool:
        return operation == "push"


class Log(Ours):
    def fresh(self) -> None:
        self.held = None
        self.memories = (ss.StableMemory(), ss.StableMemory())
        self.held = ss.StableLog[bytes](*self.memories)

    def append(self, batch: Batch) -> Work:
        return each(self.held.append, batch.values)

    def get(self, batch: Batch) -> Work:
        return each(self.held.get, batch.indices.tolist())

    def iterate(self, _: Batch) -> Work:
        return drain(self.held.__iter__)


class BulkLog(Log):
    name = BULK

    def append(self, batch: Batch) -> Work:
        items, held = batch.value_column, self.held
        return lambda: held.extend(items)

    def can(self, operation: str) -> bool:
        return operation == "append"


class Cell(Ours):
    def open(self, memory: ss.StableMemory) -> Any:
        return ss.StableCell[ss.u64](memory, 0)

    def set(self, batch: Batch) -> Work:
        return each(self.held.set, batch.keys)

    def get(self, batch: Batch) -> Work:
        return repeat(self.held.get, len(batch))

    def check(self, operation: str, batch: Batch, result: Any) -> None:
        if operation == "get" and result != batch.keys[-1]:
            raise WrongResult(f"{self.name}: get gave {result}, not {batch.keys[-1]}")
