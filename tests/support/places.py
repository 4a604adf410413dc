"""Where the structures of the tests lie, how they are opened again, and faults in the memory under them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import settings

from stable_structures import PAGE_SIZE, MemoryManager, OutOfMemory, RestrictedMemory, StableMemory

from .examples import examples
from .memories import Boom, FailingMemory, ListMemory, Trigger

PLACES = ["flat", "managed", "restricted", "python", "managed_python"]

# Enough for what the machines do, on a machine that others use too; HYPOTHESIS_PROFILE=long for more.
SHORT = settings(max_examples=examples(10), stateful_step_count=max(30, settings().stateful_step_count // 2))


def image(memory: Any) -> bytes:
    """All bytes of a memory."""
    return bytes(memory.read(0, memory.size() * PAGE_SIZE)) if memory.size() else b""


def filled(memory: Any, data: bytes) -> Any:
    """The memory with these bytes in it."""
    memory.grow(-(-len(data) // PAGE_SIZE))
    if data:
        memory.write(0, data)
    return memory


class Place:
    """Two memories for structures, and what lies under them."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._open(self._base())

    def _base(self) -> Any:
        return ListMemory(5000) if self.kind.endswith("python") else StableMemory(max_pages=5000)

    def _open(self, *bases: Any) -> None:
        self.neighbour = None
        if self.kind.startswith("managed"):
            manager = MemoryManager(bases[0], bucket_pages=1)
            self.memories = [manager.get(3), manager.get(200)]
            self.neighbour = manager.get(9)
        elif self.kind == "restricted":
            self.memories = [RestrictedMemory(bases[0], range(2, 40)), RestrictedMemory(bases[0], range(40, 3000))]
        else:
            bases = bases if len(bases) > 1 else (bases[0], self._base())
            self.memories = list(bases)
        self.bases = bases

    def scatter(self) -> None:
        """The next pages of a managed memory will not follow its last one."""
        if self.neighbour is not None:
            self.neighbour.grow(1)

    def reopen(self) -> None:
        """As an upgrade does it: all handles go, the bytes stay."""
        images = [image(base) for base in self.bases]
        for base in self.bases:
            if isinstance(base, StableMemory):
                base.close()
        self._open(*(filled(self._base(), data) for data in images))

    def images(self) -> list[bytes]:
        return [image(base) for base in self.bases]


def raised(operation: Callable[[], Any]) -> type[BaseException] | None:
    """The type of what the operation raises."""
    try:
        operation()
    except Exception as error:  # noqa: BLE001 - that is the question
        return type(error)
    return None


# ---- faults ----

FAULTS = ["size", "grow", "refuse", "read", "write"]


def faults(make: Callable[..., Any], operation: Callable[[Any], Any], memories: int = 1) -> Iterator[Any]:
    """Does an operation with each call of each kind failing in turn, in one memory after the other, until it succeeds.

    `make(*memories)` opens the structure on memories written in Python. After each failure the bytes must be as they
    were; yields the structure to look at. Pages that a memory of the user grew by cannot be taken back, but are zero.
    """
    for which, kind in itertools.product(range(memories), FAULTS):
        for at in itertools.count(1):
            trigger = Trigger()
            used = [FailingMemory(trigger if n == which else Trigger(), 2000) for n in range(memories)]
            structure = make(*used)
            before = [bytes(memory.data) for memory in used]
            trigger.arm(kind, at)
            try:
                operation(structure)
            except Boom:
                assert kind != "refuse"
            except OutOfMemory:
                assert kind == "refuse"
            else:
                assert not trigger.fired, f"{kind} {at}: the failure was lost"
                break
            trigger.arm("", 0)
            for memory, data in zip(used, before, strict=True):
                assert memory.data.startswith(data), f"{kind} {at}: the bytes changed"
                assert not any(memory.data[len(data) :]), f"{kind} {at}: new pages are not zero"
            structure.check()
            yield structure


def refused_at_each_size(make: Callable[..., Any], step: Callable[[Any, int], Any], most_pages: int, memories: int = 1) -> None:
    """Steps on memories of 1, 2, ... pages until they are full: the step that fails changes no byte and nothing else."""
    for pages in range(1, most_pages + 1):
        used = [StableMemory(max_pages=pages) for _ in range(memories)]
        structure = make(*used)
        count = 0
        while True:
            before = [image(memory) for memory in used]
            try:
                step(structure, count)
            except OutOfMemory:
                break
            count += 1
        assert [image(memory) for memory in used] == before
        assert all(memory.size() <= pages for memory in used)
        assert len(structure) == count
        structure.check()
