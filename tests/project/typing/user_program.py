# SPDX-License-Identifier: Apache-2.0
"""A user's program as type checkers see it: `.ci/run` holds it against mypy --strict and pyright, a test runs it.

Each `assert_type` is a promise about what a checker infers from our annotations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, assert_type

import numpy as np
import numpy.typing as npt

from stable_structures import (
    Blob,
    Cbor,
    Memory,
    MemoryManager,
    Principal,
    Reverse,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    f64,
    storable,
    u8,
    u64,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Name = Annotated[bytes, Blob(29)]


@storable
@dataclass(frozen=True)
class User:
    name: str
    age: u8


class PythonMemory:
    """A memory of the user's own."""

    def __init__(self) -> None:
        self.data = bytearray()

    def size(self) -> int:
        return len(self.data) // 65536

    def grow(self, pages: int, /) -> int:
        old = self.size()
        self.data += bytes(pages * 65536)
        return old

    def read(self, offset: int, length: int, /) -> bytes:
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes, /) -> None:
        self.data[offset : offset + len(data)] = data


def maps(manager: MemoryManager) -> None:
    users = StableBTreeMap[u64, str](manager.get(0))
    assert_type(users.insert(1, "Ada"), str | None)
    assert_type(users.get(1), str | None)
    assert_type(users.get(2, "nobody"), str)
    assert_type(users[1], str)
    assert_type(users.pop(3, "nobody"), str)
    assert_type(users.first_key_value(), tuple[int, str] | None)
    assert_type(list(users), list[int])
    assert_type(list(users.items()), list[tuple[int, str]])
    assert_type(list(users.range(0, 5, reverse=True)), list[tuple[int, str]])
    assert_type(list(users.keys_range(0)), list[int])
    assert_type(users.entry(1).get(), str | None)
    names: Iterator[str] = iter(users.values())
    assert next(names) == "Ada"


def others(manager: MemoryManager) -> None:
    scores = StableVec[f64](manager.get(1))
    scores.extend([1.0, 2.5])
    assert_type(scores[0], float)
    assert_type(scores.pop(), float | None)
    config = StableCell[Cbor[dict[str, Any]]](manager.get(2), {"fee": 10})
    config.set({"fee": 12})
    words = StableBTreeSet[str](manager.get(3))
    assert_type(words.insert("a"), bool)
    assert_type(list(words), list[str])
    queue = StableMinHeap[Reverse[u64]](manager.get(4))
    queue.push(3)
    assert_type(queue.pop(), int | None)
    log = StableLog[bytes](manager.get(5), manager.get(6))
    assert_type(log.append(b"x"), int)
    assert_type(log.get(0), bytes | None)
    owners = StableBTreeMap[Principal, Annotated[bytes, Blob(29)]](manager.get(7))
    owners[Principal.anonymous()] = b"x"
    people = StableBTreeMap[u64, User](manager.get(8))
    people[1] = User("Ada", 36)
    assert_type(people[1], User)


def bulk(memory: Memory) -> npt.NDArray[Any]:
    numbers = StableBTreeMap[u64, u64](memory)
    numbers.insert_many(np.arange(10, dtype=np.uint64), range(10))
    keys, _values = numbers.to_numpy(2, 5)
    return keys


def main() -> None:
    manager = MemoryManager(StableMemory())
    maps(manager)
    others(manager)
    assert bulk(PythonMemory()).tolist() == [2, 3, 4]


if __name__ == "__main__":
    main()
