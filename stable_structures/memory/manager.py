# SPDX-License-Identifier: Apache-2.0
"""MemoryManager: up to 255 memories in one (docs/format.md#memory-manager)."""

from __future__ import annotations

import operator
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self

from .. import _native as native
from ..errors import Closed, MemoryInUse, OutOfBounds
from .memory import NativeMemory
from .stored import INIT, NEW, Stored, alive

if TYPE_CHECKING:
    from .memory import Memory

DEFAULT_BUCKET_PAGES: Final = 128
MAX_BUCKET_PAGES: Final = 2**16 - 1
_MEMORIES: Final[int] = native.call.SS_MANAGER_MEMORIES


class VirtualMemory(NativeMemory):
    """One of a manager's memories, usable like any other memory. Do not create it directly: see `MemoryManager.get`.

    It takes buckets from the manager as it grows, and keeps the manager alive. If the memory below or the table of buckets
    is full, `grow` returns -1 and changes nothing.

    >>> from stable_structures import MemoryManager, StableMemory
    >>> manager = MemoryManager(StableMemory(), bucket_pages=16)
    >>> memory = manager.get(7)
    >>> memory.grow(1), memory.id, memory.manager is manager
    (0, 7, True)
    """

    id: Final[int]
    """The memory's number in its manager, 0 to 254."""
    manager: Final[MemoryManager]
    """The manager that this memory belongs to."""

    def __init__(self, manager: MemoryManager, number: int, handle: Any) -> None:
        self.id = number
        self.manager = manager
        self._handle = handle
        self._keep_unseen()

    def __repr__(self) -> str:
        return f"<VirtualMemory {self.id} of {self.manager!r}>"


def _forked() -> None:
    """Replace the locks of all managers in the child of a fork: a thread that does not exist in the child may have held one."""
    for stored in alive():
        if isinstance(stored, MemoryManager):
            stored._lock = threading.RLock()


os.register_at_fork(after_in_child=_forked)


class MemoryManager(Stored):
    """Divide a memory into buckets of pages and share them out to up to 255 memories, each of which grows independently.

    `MemoryManager(memory)` loads an existing manager, or creates one with `bucket_pages` pages per bucket (1 to 65,535; an
    existing manager keeps its stored number). Its bytes are those of the crate's `MemoryManager`. It creates a manager only on
    an empty memory, whose bytes are all zero. On a memory that holds something else it raises `BadMagic`;
    `MemoryManager.new` overwrites it (the crate's `init` does too). O(buckets); on an empty memory O(bytes) up to 256 MiB.
    Raises `MemoryInUse` if a live manager or structure uses the memory, `UnsupportedVersion`, `CorruptMemory`, `OutOfMemory`,
    and `ValueError` if `bucket_pages` is out of range.

    >>> from stable_structures import MemoryManager, StableBTreeMap, StableMemory, u64
    >>> manager = MemoryManager(StableMemory())
    >>> users = StableBTreeMap[u64, str](manager.get(0))
    >>> names = StableBTreeMap[str, u64](manager[1])
    >>> manager.sizes()
    {0: 1, 1: 1}
    """

    _c_name: ClassVar[str] = "manager"
    _held_in: ClassVar[str] = "_live"
    _opened_on = (*Stored._opened_on, "_lock", "_memories")
    _instead_of_memory: ClassVar[str] = "pass one of its memories, such as manager.get(0)"
    _live: Any

    def __init__(self, memory: Memory, bucket_pages: int = DEFAULT_BUCKET_PAGES) -> None:
        self._begin(INIT, memory, bucket_pages)

    @classmethod
    def new(cls, memory: Memory, bucket_pages: int = DEFAULT_BUCKET_PAGES) -> Self:
        """Create a manager of empty memories; **overwrites** whatever the memory holds. O(1). Raises as the constructor does.

        >>> from stable_structures import MemoryManager, StableMemory
        >>> MemoryManager.new(StableMemory(), bucket_pages=16).bucket_pages
        16
        """
        return cls._open(NEW, memory, bucket_pages)

    def _start(self, mode: int, memory: Memory, *args: Any) -> None:
        (bucket_pages,) = args or (DEFAULT_BUCKET_PAGES,)
        if not 1 <= operator.index(bucket_pages) <= MAX_BUCKET_PAGES:
            raise ValueError(f"MemoryManager: bucket_pages must be 1 to {MAX_BUCKET_PAGES}, got {bucket_pages}; the crate's default is 128")
        self._lock = threading.RLock()  # reentrant: a finalizer may run in the middle and call back
        self._memories: weakref.WeakValueDictionary[int, VirtualMemory] = weakref.WeakValueDictionary()
        self._take_memory(memory, lambda under, out: native.call.ss_manager_open(under, mode, bucket_pages, out))

    @property
    def _handle(self) -> Any:
        if self._live is None:
            self._refuse()
        return self._live

    @_handle.setter
    def _handle(self, handle: Any) -> None:
        self._live = handle

    def _refuse(self) -> NoReturn:
        raise Closed(f"{self!r} has released its memory; create a new manager on it")

    def get(self, number: int, /) -> VirtualMemory:
        """Return memory `number`, 0 to 254; always the same object while anybody holds it. O(buckets) the first time.

        Raises `OutOfBounds` for any other number, `Closed`, and `CorruptMemory` if its buckets break a rule.

        >>> from stable_structures import MemoryManager, StableMemory
        >>> manager = MemoryManager(StableMemory())
        >>> manager.get(3) is manager[3]
        True
        """
        index = operator.index(number)
        if not 0 <= index < _MEMORIES:
            raise OutOfBounds(f"MemoryManager: invalid memory number {index}; use 0 to {_MEMORIES - 1}")
        with self._lock:
            known = self._memories.get(index)
            if known is None:
                known = self._memories.setdefault(index, VirtualMemory(self, index, self._open_virtual(index)))
        return known

    __getitem__ = get
    __iter__ = None  # otherwise Python would count the numbers up until one fails

    def _open_virtual(self, number: int) -> Any:
        return native.new_handle(
            "ss_memory",
            lambda out: native.call.ss_manager_get(self._handle, number, out),
            native.call.ss_memory_release_at,
            f"memory {number} of a manager",
        )

    @property
    def bucket_pages(self) -> int:
        """Return the number of pages per bucket, as stored. O(1).

        >>> from stable_structures import MemoryManager, StableMemory
        >>> memory = StableMemory()
        >>> MemoryManager(memory, bucket_pages=16).into_memory() is memory
        True
        >>> MemoryManager(memory, bucket_pages=128).bucket_pages
        16
        """
        return native.manager_info(self._handle)[0]

    @property
    def allocated_buckets(self) -> int:
        """Return how many of the 32,768 buckets belong to memories. O(1). A bucket is never released.

        >>> from stable_structures import MemoryManager, StableMemory
        >>> manager = MemoryManager(StableMemory(), bucket_pages=2)
        >>> manager.get(0).grow(3), manager.allocated_buckets
        (0, 2)
        """
        return native.manager_info(self._handle)[1]

    def sizes(self) -> dict[int, int]:
        """Return the number of pages of each memory that has any, by memory number. O(1).

        >>> from stable_structures import MemoryManager, StableMemory
        >>> manager = MemoryManager(StableMemory())
        >>> manager.get(5).grow(3)
        0
        >>> manager.sizes()
        {5: 3}
        """
        return {number: pages for number, pages in enumerate(native.manager_sizes(self._handle)) if pages}

    def into_memory(self) -> Memory:
        """Release the memory and return it; from then on the manager raises `Closed`. O(1).

        Raises `MemoryInUse` while anybody holds one of its memories (the crate returns `None` then).

        >>> from stable_structures import MemoryManager, StableMemory
        >>> memory = StableMemory()
        >>> MemoryManager(memory).into_memory() is memory
        True
        """
        with self._lock:
            if self._live is None:
                self._refuse()
            held = sorted(self._memories.keys())
            if held:
                numbers = ", ".join(map(str, held))
                raise MemoryInUse(f"into_memory: memory {numbers} of the manager is in use; drop it and the structures on it first")
            self._live = self._unseen = None  # another thread may be inside a call; it keeps the handle until the call ends
        return self.memory

    def __repr__(self) -> str:
        return f"<MemoryManager on {self.memory!r}>"
