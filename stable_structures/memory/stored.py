# SPDX-License-Identifier: Apache-2.0
"""What structures and managers share: how they open, check, measure and release their memory."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self, SupportsIndex, TypeVar

from .. import _native as native
from ..errors import BadMagic, CorruptMemory
from .memory import Memory, native_memory

if TYPE_CHECKING:
    from collections.abc import Callable

INIT: Final[int] = native.call.SS_INIT
NEW: Final[int] = native.call.SS_NEW
LOAD: Final[int] = native.call.SS_LOAD
INIT_OVERWRITE: Final[int] = native.call.SS_INIT_OVERWRITE


@dataclass(frozen=True, slots=True)
class BytesUsed:
    """Bytes that a structure uses: `live` for its content, `allocated` in chunks or slots, `reserved` in pages of its memory."""

    live: int
    allocated: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule that `violations()` found: the rule in words, and the byte offset in the structure's memory."""

    rule: str
    address: int
    found: int
    expected: int


class Stored:
    """The base of everything that is stored in a memory: a structure, or a manager of memories."""

    _c_name: ClassVar[str]
    _held_in: ClassVar[str] = "_handle"
    """The attribute that holds the only reference to the handle."""
    _opened_on: ClassVar[tuple[str, ...]] = ("memory", "_native_memory", "_unseen")
    """The other attributes that say on what it is open."""
    _instead_of_memory: ClassVar[str] = "pass a separate memory, such as manager.get(1), or the one that into_memory() releases"

    _handle: Any
    _unseen: Any = None
    memory: Memory
    """The memory that it was opened on."""

    @classmethod
    def new(cls, memory: Memory, *args: Any) -> Self:
        """Create an empty structure; **overwrites** whatever the memory holds. O(1). Raises `MemoryInUse`, `OutOfMemory`, `ReadOnly`.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> memory = StableMemory()
        >>> StableVec[u64](memory).push(7)
        >>> len(StableVec[u64].new(memory))
        0
        """
        return cls._open(NEW, memory, *args)

    @classmethod
    def load(cls, memory: Memory, *args: Any) -> Self:
        """Open the structure that the memory holds; raises `BadMagic` if it holds none. O(1).

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> StableVec[u64].load(StableMemory())
        Traceback (most recent call last):
        stable_structures.errors.BadMagic: ...
        """
        return cls._open(LOAD, memory, *args)

    @classmethod
    def _open(cls, mode: int, memory: Memory, *args: Any) -> Self:
        return cls.__new__(cls)._begin(mode, memory, *args)

    def _begin(self, mode: int, memory: Memory, *args: Any) -> Self:
        """Start as `_start` does, all or nothing: a signal handler may raise anywhere, and a kept traceback must not keep the memory.

        An object may be open already: somebody calls its `__init__` a second time.
        """
        names = (self._held_in, *self._opened_on)
        before = [getattr(self, name, None) for name in names]  # not by __dict__: creating that would slow down every method
        try:
            self._start(mode, memory, *args)
        except BaseException:
            for name, value in zip(names, before, strict=True):
                setattr(self, name, value)
            if before[0] is None:
                _alive.pop(id(self), None)
            raise
        return self

    def _start(self, mode: int, memory: Memory, *args: Any) -> None:
        raise NotImplementedError

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse `copy` and `pickle`: two structures on one memory, or one without its memory, would not be a copy."""
        name = type(self).__name__
        raise TypeError(
            f"{name} cannot be copied or pickled: it is a view of its memory; copy its content, for example with copy_into() or list()"
        )

    def _take_memory(self, memory: Memory, opened: Callable[[Any, Any], int]) -> None:
        """Set `_handle`: `opened(memory handle, out)` calls the core."""
        under = native_memory(memory)
        self.memory = memory
        self._native_memory = under
        release = getattr(native.call, f"ss_{self._c_name}_free_at")
        in_core = lambda out: opened(under._handle, out)  # noqa: E731
        setattr(self, self._held_in, native.new_handle(f"ss_{self._c_name}", in_core, release, type(self).__name__))
        self._unseen = native.unseen()
        self._unseen[0] = getattr(self, self._held_in)
        _alive[id(self)] = self

    def check(self) -> None:
        """Walk everything; raise `CorruptMemory` with the first broken rule. O(n).

        Raises `IncompatibleType` if the structure is sound but holds other types than it was opened with.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> StableVec[u64](StableMemory()).check()
        """
        try:
            self._check()
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _check(self) -> None:
        native.check(getattr(native.call, f"ss_{self._c_name}_check")(self._handle, native.NULL, native.NULL), "check")

    def _tell_apart(self, error: BaseException) -> None:
        """Raise `IncompatibleType` if an error does not come from damage but from wrong types. O(n), but only after an error."""

    def violations(self) -> list[Violation]:
        """Walk everything and list every broken rule; the list of a sound structure is empty. O(n).

        Raises `IncompatibleType` if the structure is sound but holds other types than it was opened with.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> StableVec[u64](StableMemory()).violations()
        []
        """
        found = native.violations(getattr(native.call, f"ss_{self._c_name}_check"), self._handle)
        if found:
            self._tell_apart(CorruptMemory(found[0][1]))
        return [Violation(rule, address, number, limit) for _, rule, address, number, limit in found]

    def bytes_used(self) -> BytesUsed:
        """Return how many bytes are live, allocated and reserved. O(1).

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> StableVec[u64](StableMemory()).bytes_used()
        BytesUsed(live=64, allocated=64, reserved=65536)
        """
        return BytesUsed(*native.usage(getattr(native.call, f"ss_{self._c_name}_usage"), self._handle))


_alive: Final[weakref.WeakValueDictionary[int, Stored]] = weakref.WeakValueDictionary()


def alive() -> list[Stored]:
    """Return every structure and manager that somebody holds, so that a harness can close what the last program left open."""
    return [found for ref in _alive.valuerefs() if (found := ref()) is not None]


S = TypeVar("S", bound=Stored)


def init_as_the_crate(kind: type[S], report: Callable[[str], object], *given: Any) -> S:
    """Open a structure as the crate's `init` does, for platform code: **overwrites** whatever else is there, and reports it."""
    try:
        return kind._open(INIT, *given)
    except BadMagic as error:
        made = kind._open(INIT_OVERWRITE, *given)
        report(f"{kind.__name__}: {error.rule or error}; it was overwritten, as the platform does it")
        return made
