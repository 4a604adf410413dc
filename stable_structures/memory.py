# SPDX-License-Identifier: Apache-2.0
"""Memories: rows of 65,536-byte pages with four operations, size, grow, read and write (FORMAT section 1)."""

from __future__ import annotations

import operator
import weakref
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, runtime_checkable

from . import _native as native
from .errors import OutOfBounds

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt

PAGE_SIZE: Final[int] = native.PAGE_SIZE
"""Bytes of a page: 65,536."""
MAX_PAGES: Final[int] = native.MAX_PAGES
"""Pages of the largest stable memory of a canister: 8,192,000, which is 500 GiB."""


@runtime_checkable
class Memory(Protocol):
    """What any object needs to be used as a memory; write your own and pass it to a structure or a manager.

    Sizes are in pages, offsets and lengths in bytes. New pages are zero. Access past the end raises and changes nothing.
    What a method raises comes out of the structure's operation as it is, and the structure stays as it was.
    """

    def size(self) -> int:
        """Pages."""
        ...

    def grow(self, pages: int, /) -> int:
        """Adds zero pages; the size before, or -1 where it cannot grow."""
        ...

    def read(self, offset: int, length: int, /) -> bytes:
        """Exactly `length` bytes from `offset`."""
        ...

    def write(self, offset: int, data: bytes, /) -> None:
        """Writes the bytes at `offset`."""
        ...


def _count(value: int, what: str) -> int:
    number = operator.index(value)
    if number < 0:
        raise OutOfBounds(f"{what} must not be negative, got {number}")
    return number


class NativeMemory:
    """A memory of the C core. Not made directly: see `StableMemory`, `RestrictedMemory` and `MemoryManager.get`."""

    _handle: Any

    def size(self) -> int:
        """Pages. O(1). Raises `Closed`.

        >>> StableMemory().size()
        0
        """
        return native.check(native.call.ss_access_size(self._handle), "size")

    def grow(self, pages: int) -> int:
        """Adds zero pages; the size before, or -1 where the memory cannot grow (its limit, a full disk), which changes nothing.

        O(1) without a file. Raises `Closed`, `ReadOnly`, and `OutOfBounds` for a negative number of pages.

        >>> memory = StableMemory(max_pages=2)
        >>> memory.grow(2), memory.grow(1), memory.size()
        (0, -1, 2)
        """
        old = native.call.ss_access_grow(self._handle, _count(pages, "pages"))
        return -1 if old == native.call.SS_OUT_OF_MEMORY else native.check(old, "grow")

    def read(self, offset: int, length: int) -> bytes:
        r"""A copy of `length` bytes. O(length). Raises `OutOfBounds` past the end, `Closed`.

        >>> memory = StableMemory()
        >>> _ = memory.grow(1)
        >>> memory.read(0, 3)
        b'\x00\x00\x00'
        """
        return native.read(self._handle, _count(offset, "offset"), _count(length, "length"))

    def readinto(self, offset: int, buffer: Any) -> int:
        """Fills a writable buffer; gives its length. O(length). Raises `OutOfBounds` past the end, `Closed`.

        >>> memory = StableMemory()
        >>> _ = memory.grow(1)
        >>> memory.readinto(0, bytearray(10))
        10
        """
        return native.readinto(self._handle, _count(offset, "offset"), buffer)

    def write(self, offset: int, data: Any) -> None:
        r"""Writes a buffer. O(length). Raises `OutOfBounds` past the end (nothing is written then), `Closed`, `ReadOnly`.

        The bytes of a live structure belong to it: writing there damages it.

        >>> memory = StableMemory()
        >>> _ = memory.grow(1)
        >>> memory.write(7, b"abc")
        >>> memory.read(6, 5)
        b'\x00abc\x00'
        """
        native.write(self._handle, _count(offset, "offset"), data)

    @property
    def nbytes(self) -> int:
        """Size in bytes: pages * 65,536. O(1). Raises `Closed`."""
        return self.size() * PAGE_SIZE

    def close(self) -> None:
        """Closes the memory and everything on it; later use raises `Closed`. Closing twice is allowed.

        A virtual or restricted memory closes the memory that it lies in. Views stay readable until they are gone.
        """
        native.check(native.call.ss_memory_close(self._handle), "close")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


class StableMemory(NativeMemory):
    """A flat memory, anonymous or (`StableMemory.open`) in a file.

    Address space for `max_pages` is reserved at once and uses no memory; pages are there as the memory grows. The
    address never moves. Where the system refuses so much address space, less is reserved and `reserved_pages` says how much.

    >>> with StableMemory(max_pages=10) as memory:
    ...     memory.grow(3), memory.size(), memory.nbytes
    (0, 3, 196608)
    """

    def __init__(self, *, max_pages: int = MAX_PAGES) -> None:
        self._handle = native.new_handle(
            "ss_memory",
            lambda out: native.call.ss_memory_new_flat(_count(max_pages, "max_pages"), out),
            native.call.ss_memory_release,
            f"StableMemory(max_pages={max_pages})",
        )

    @property
    def reserved_pages(self) -> int:
        """Pages for which there is address space; growth past them is refused. O(1)."""
        return int(native.call.ss_access_reserved_pages(self._handle))

    def view(self, offset: int = 0, length: int | None = None) -> npt.NDArray[np.uint8]:
        """The bytes as a read-only numpy array of uint8, without a copy; to the end where `length` is None. O(1).

        The view shows later changes and stays valid when the memory grows or is closed. Raises `OutOfBounds`, `Closed`.

        >>> memory = StableMemory()
        >>> _ = memory.grow(1)
        >>> view = memory.view(0, 4)
        >>> memory.write(1, b"xy")
        >>> view.tolist()
        [0, 120, 121, 0]
        """
        return native.view(self._handle, _count(offset, "offset"), None if length is None else _count(length, "length"))

    def __repr__(self) -> str:
        return f"<StableMemory at {id(self):#x}>"


class RestrictedMemory(NativeMemory):
    """Pages `range.start` to `range.stop` of another memory, as a memory of its own (FORMAT section 1).

    Growing it while the base is shorter than `range.start` grows the base to there first; growing past `range.stop` is
    refused (-1). Raises `ValueError` for a range with a step.

    >>> base = StableMemory()
    >>> part = RestrictedMemory(base, range(2, 5))
    >>> part.grow(2), part.size(), base.size(), part.grow(2)
    (0, 2, 4, -1)
    """

    def __init__(self, memory: Memory, pages: range) -> None:
        if pages.step != 1 or pages.start < 0:
            raise ValueError(f"RestrictedMemory: {pages} is no range of pages; use range(first, end) with 0 <= first <= end")
        self.memory = memory
        self.pages = pages
        base = native_memory(memory)
        self._base = base
        self._handle = native.new_handle(
            "ss_memory",
            lambda out: native.call.ss_memory_new_restricted(base._handle, pages.start, max(pages.start, pages.stop), out),  # noqa: SLF001
            native.call.ss_memory_release,
            f"RestrictedMemory({pages})",
        )

    def __repr__(self) -> str:
        return f"RestrictedMemory({self.memory!r}, {self.pages})"


class _ForeignMemory(NativeMemory):
    """The core's side of a memory written in Python."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._handle, self._anchor = native.new_foreign(memory)


_foreign: weakref.WeakValueDictionary[int, _ForeignMemory] = weakref.WeakValueDictionary()


def native_memory(memory: Memory) -> NativeMemory:
    """The memory as the core knows it: itself, or the one wrapper of an object written in Python. O(1).

    Raises `TypeError` for an object that lacks one of the four operations.
    """
    if isinstance(memory, NativeMemory):
        return memory
    missing = [name for name in ("size", "grow", "read", "write") if not callable(getattr(memory, name, None))]
    if missing:
        raise TypeError(
            f"a memory needs size, grow, read and write; {type(memory).__name__} lacks {', '.join(missing)}. "
            "Use StableMemory() or StableMemory.open(path)"
        )
    wrapper = _foreign.get(id(memory))
    if wrapper is None:
        wrapper = _foreign[id(memory)] = _ForeignMemory(memory)
    return wrapper
