# SPDX-License-Identifier: Apache-2.0
"""Memories: sequences of 65,536-byte pages with four operations, size, grow, read and write (docs/format.md#memory)."""

from __future__ import annotations

import atexit
import contextlib
import functools
import math
import operator
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Protocol, Self, SupportsIndex, TypeAlias, runtime_checkable

from .. import _native as native
from ..errors import OutOfBounds
from .transaction import Transaction, settled

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
    """The four methods that make any object a memory; write your own and pass it to a structure or a manager.

    Sizes are in pages, offsets and lengths in bytes. New pages are zero. Access past the end raises and changes nothing.
    If a method raises, the structure's operation raises the same exception and the structure stays as it was. If the memory
    cannot be restored at that moment, the next operation restores it first, and raises until it can.
    """

    def size(self) -> int:
        """Pages. Asked once in an operation, and again after each growth."""
        ...

    def grow(self, pages: int, /) -> int:
        """Add zero pages; return the size before, or -1 if the memory cannot grow."""
        ...

    def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        ...

    def write(self, offset: int, data: bytes, /) -> None:
        """Write the bytes at `offset`."""
        ...


Mode: TypeAlias = Literal["r", "r+", "x"]
Durability: TypeAlias = Literal["none", "normal", "full"]

_MODES: Final = {"r": native.call.SS_FILE_READ, "r+": native.call.SS_FILE_WRITE, "x": native.call.SS_FILE_CREATE}
_PERMISSIONS: Final = 0o10000
_DURABILITIES: Final = {
    "none": native.call.SS_DURABLE_NONE,
    "normal": native.call.SS_DURABLE_NORMAL,
    "full": native.call.SS_DURABLE_FULL,
}


def _choice(value: str, choices: dict[str, int], what: str) -> int:
    if value not in choices:
        raise ValueError(f"{what} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return choices[value]


def _path(path: str | os.PathLike[str]) -> str:
    name = os.fsdecode(path)
    if "\0" in name:
        raise ValueError(f"path {name!r} contains a null character; remove it")
    return name


def _milliseconds(seconds: float) -> int:
    """Convert to milliseconds for the core, which reads 0 as its default."""
    if not 0 <= seconds < math.inf:
        raise ValueError(f"patience must be 0 seconds or more, got {seconds}")
    return min(max(1, round(seconds * 1000)), 2**32 - 1)


def _permissions(value: int) -> int:
    number = operator.index(value)
    if not 0 <= number < _PERMISSIONS:
        raise ValueError(f"permissions must be 0 to 0o7777, got {number:#o}; for example 0o600")
    return number


def _count(value: int, what: str) -> int:
    """Convert an offset or length for the core: a number above 64 bits becomes one past every end."""
    number = operator.index(value)
    if number < 0:
        raise OutOfBounds(f"{what} must not be negative, got {number}")
    return min(number, 2**64 - 1)


class NativeMemory:
    """A memory of the C core. Do not create it directly: see `StableMemory`, `RestrictedMemory` and `MemoryManager.get`."""

    _handle: Any
    _unseen: Any = None

    def _keep_unseen(self) -> None:
        self._unseen = native.unseen()
        self._unseen[0] = self._handle

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse `copy` and `pickle`: a second object on the same bytes would not be a copy."""
        name = type(self).__name__
        raise TypeError(f"a {name} cannot be copied or pickled; write its bytes, read(0, nbytes), to another memory")

    @functools.cached_property
    def _root(self) -> int:
        """Return an identifier that all memories over one root share."""
        return native.root(self._handle)

    def size(self) -> int:
        """Return the size in pages. O(1). Raises `Closed`.

        >>> StableMemory().size()
        0
        """
        return native.check(native.call.ss_access_size(self._handle), "size")

    def grow(self, pages: int) -> int:
        """Add zero pages; return the size before, or -1 if the memory cannot grow (its limit, a full disk): nothing changed then.

        O(1) without a file. Raises `Closed`, `ReadOnly`, and `OutOfBounds` for a negative number of pages.

        >>> memory = StableMemory(max_pages=2)
        >>> memory.grow(2), memory.grow(1), memory.size()
        (0, -1, 2)
        """
        old = native.call.ss_access_grow(self._handle, _count(pages, "pages"))
        return -1 if old == native.call.SS_OUT_OF_MEMORY else native.check(old, "grow")

    def read(self, offset: int, length: int) -> bytes:
        r"""Return a copy of `length` bytes. O(length). Raises `OutOfBounds` past the end, `Closed`.

        >>> memory = StableMemory()
        >>> _ = memory.grow(1)
        >>> memory.read(0, 3)
        b'\x00\x00\x00'
        """
        return native.read(self._handle, _count(offset, "offset"), _count(length, "length"))

    def readinto(self, offset: int, buffer: Any) -> int:
        """Fill a writable buffer; return its length. O(length).

        Raises `OutOfBounds` past the end, `Closed`, and `IncompatibleType` for a buffer that is read-only or not contiguous, such
        as every second item of an array.

        >>> memory = StableMemory()
        >>> _ = memory.grow(1)
        >>> memory.readinto(0, bytearray(10))
        10
        """
        return native.readinto(self._handle, _count(offset, "offset"), buffer)

    def write(self, offset: int, data: Any) -> None:
        r"""Write a buffer. O(length).

        Raises `OutOfBounds` past the end (nothing is written then), `Closed`, `ReadOnly`, and `IncompatibleType` for an object
        that is not a buffer (text, a list, an array of Python objects) or not contiguous (every second item of an array: write
        its `tobytes()`). The bytes of a live structure belong to it: writing there damages it.

        >>> memory = StableMemory()
        >>> _ = memory.grow(1)
        >>> memory.write(7, b"abc")
        >>> memory.read(6, 5)
        b'\x00abc\x00'
        """
        native.write(self._handle, _count(offset, "offset"), data)

    @property
    def nbytes(self) -> int:
        """Return the size in bytes: pages * 65,536. O(1). Raises `Closed`.

        >>> memory = StableMemory()
        >>> _ = memory.grow(2)
        >>> memory.nbytes
        131072
        """
        return self.size() * PAGE_SIZE

    def transaction(self) -> Transaction:
        """Return a context manager: `with memory.transaction():` keeps all changes of its block, or on an exception undoes them all.

        It covers every memory over the same file or anonymous memory, and belongs to the thread that began it: operations
        of other threads wait until it ends (30 seconds, or the `patience` of `StableMemory.open`), then raise `MemoryInUse`.
        It also belongs to the asyncio task that began it: if another task of the thread uses the memory, that raises
        `MemoryInUse` at once, and `async with memory.transaction():` waits for its turn without blocking the loop, first come,
        first served. A failing operation in the block undoes only itself. If the memory is open for reading, the block sees one
        state of the file. O(1) to begin, then O(1) more for each changed block of 4 KiB, whose old bytes are kept.

        Entering raises `MemoryInUse` if this thread already has one open, and for memories written in Python.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> memory = StableMemory()
        >>> accounts = StableBTreeMap[u64, u64](memory)
        >>> accounts.update({1: 100, 2: 0})
        >>> with memory.transaction():
        ...     accounts[2] += 150
        ...     accounts[1] -= 150
        Traceback (most recent call last):
        stable_structures.errors.BoundExceeded: ...
        >>> dict(accounts)
        {1: 100, 2: 0}
        >>> import asyncio
        >>> async def deposit(amount):
        ...     async with memory.transaction():
        ...         accounts[1] += amount
        ...         await asyncio.sleep(0)
        >>> async def main():
        ...     await asyncio.gather(deposit(1), deposit(2))
        >>> asyncio.run(main())
        >>> accounts[1]
        103
        """
        return Transaction(self)

    def commit(self) -> None:
        """Keep the changes of this thread's open transaction and end it. O(changed bytes). Raises as `Transaction.commit`.

        >>> memory = StableMemory()
        >>> with memory.transaction():
        ...     _ = memory.grow(1)
        ...     memory.commit()
        >>> memory.size()
        1
        """
        self._ended(native.call.ss_transaction_commit, "commit")

    def rollback(self) -> None:
        """Undo what this thread's open transaction changed and end it. O(changed bytes). Raises `MemoryInUse` if there is none.

        >>> memory = StableMemory()
        >>> with memory.transaction():
        ...     _ = memory.grow(1)
        ...     memory.rollback()
        >>> memory.size()
        0
        """
        self._ended(native.call.ss_transaction_rollback, "rollback")

    def _ended(self, function: Any, operation: str) -> None:
        native.check(function(self._handle), operation)
        settled()

    def sync(self) -> None:
        """Write all commits so far to the disk, so that they survive a power loss. O(bytes not yet on the disk); without a file O(1).

        Raises `CommitUnknown` if the disk fails (the memory is closed then), `MemoryInUse` in a transaction, `Closed`.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory, StableMemory.open(directory + "/state.bin") as memory:
        ...     _ = memory.grow(1)
        ...     memory.sync()
        """
        native.check(native.call.ss_memory_sync(self._handle), "sync")

    def checkpoint(self) -> None:
        """Copy the log into the file after a `sync`: then the file alone is the image. O(bytes changed since the last one).

        Raises `Locked` if readers still use the log when `patience` ends, `CommitUnknown`, `MemoryInUse` in a transaction, `Closed`.

        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as directory, StableMemory.open(directory + "/state.bin") as memory:
        ...     _ = memory.grow(2)
        ...     memory.checkpoint()
        ...     pathlib.Path(memory.path).stat().st_size
        131072
        """
        native.settle(native.call.ss_memory_checkpoint, self._handle, "checkpoint")

    def close(self) -> None:
        """Close the memory and everything on it; later use raises `Closed`. Closing twice is allowed.

        Closing a virtual or restricted memory closes the memory below it. Views stay readable: the part of a file that they show
        is copied (without its holes), because nothing stops another program from truncating a closed file. O(bytes in the log and
        in views) for a file. Raises `MemoryInUse` if views show more than 1 GiB of the file; the memory stays open then. Raises
        `Locked` if readers still use the log when `patience` ends, and `CommitUnknown` and `OSError` of a failing disk: the memory
        is closed then, and the log stays beside the file for the next opening.

        >>> memory = StableMemory()
        >>> memory.close()
        >>> memory.size()
        Traceback (most recent call last):
        stable_structures.errors.Closed: ...
        """
        native.settle(native.call.ss_memory_close, self._handle, "close")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


class StableMemory(NativeMemory):
    """A flat memory, anonymous or (`StableMemory.open`) in a file.

    Address space for `max_pages` is reserved at once and uses no memory; the system provides pages as the memory grows. The
    address never moves. If the system refuses so much address space, less is reserved; `reserved_pages` says how much.

    >>> with StableMemory(max_pages=10) as memory:
    ...     memory.grow(3), memory.size(), memory.nbytes
    (0, 3, 196608)
    """

    path: str | None = None
    """The path, as it was given; None for an anonymous memory."""
    mode: Mode = "r+"
    durability: Durability = "none"

    def __init__(self, *, max_pages: int = MAX_PAGES) -> None:
        self._handle = native.new_handle(
            "ss_memory",
            lambda out: native.call.ss_memory_new_flat(_count(max_pages, "max_pages"), out),
            native.call.ss_memory_release_at,
            f"StableMemory(max_pages={max_pages})",
        )
        self._keep_unseen()

    @classmethod
    def open(  # noqa: PLR0913 - keywords, as for Python's open
        cls,
        path: str | os.PathLike[str],
        mode: Mode = "r+",
        durability: Durability = "normal",
        max_pages: int = MAX_PAGES,
        *,
        patience: float = 30.0,
        permissions: int = 0o600,
        exclusive: bool = False,
        load: bool = False,
        log_limit: int = 256 << 20,
    ) -> Self:
        """Open a file as a memory. A closed file is the bare image, `pages * 65,536` bytes; any such image can be opened.

        `mode` is "r" (the file exists; this handle does not change it, others may write it meanwhile), "r+" (created if missing)
        or "x" (must not exist). One handle at a time writes; any number read. Readers of a file with a log
        see each commit (`exclusive`: the state at the last checkpoint). A symbolic link is refused.

        `durability` says what survives a crash; each operation outside a transaction is its own transaction:

        * "none": no log. An operation that a crash or kill interrupts may be half-written.
        * "normal": a killed process loses no commit; a power loss may lose the commits after the last `sync`, but never half of one.
        * "full": a commit is on the disk when it returns.

        While a file is open with a log, `NAME-wal` lies beside it and belongs to it. `patience` is how many seconds to wait
        for other threads' transactions, for readers, for a writer that is changing the file, and at opening for whoever is just
        opening or recovering it. `permissions` apply to a new file, before the umask. `exclusive` (for "full") writes the file
        itself only at checkpoints: there are fewer writes, and readers see only the checkpoints. `load` reads the file into memory
        instead of mapping it, so that a damaged disk raises `OSError` at opening instead of killing the process later. `log_limit`,
        in bytes, is how long the log of this writer may get because readers stay in their transactions; after that their next
        operation raises `MemoryInUse`.

        O(1), or O(bytes in the log) after a crash. Raises `OSError` (`FileNotFoundError`, `FileExistsError`, ...), `Locked`,
        `CorruptMemory` for a size that is not a multiple of a page, `WalCorrupt`, `OutOfMemory` for a file of more than
        `max_pages`, `ReadOnly` if a log holds commits but the file is not writable,
        `ValueError` for a mode, durability, patience or permissions that cannot be.

        >>> import tempfile
        >>> directory = tempfile.TemporaryDirectory()
        >>> with StableMemory.open(directory.name + "/state.bin") as memory:
        ...     with memory.transaction():
        ...         _ = memory.grow(1)
        ...         memory.write(0, b"abc")
        >>> with open(directory.name + "/state.bin", "rb") as file:
        ...     file.read(3), len(file.read())
        (b'abc', 65533)
        >>> directory.cleanup()
        """
        options = {
            "mode": _choice(mode, _MODES, "mode"),
            "durability": _choice(durability, _DURABILITIES, "durability"),
            "max_pages": _count(max_pages, "max_pages"),
            "patience": max(1, _milliseconds(patience)),  # 0 means the usual one there
            "permissions": _permissions(permissions),
            "exclusive": exclusive,
            "load": load,
            "kept_bytes": max(1, _count(log_limit, "log_limit")),
        }
        self = cls.__new__(cls)
        try:
            self.path, self.mode, self.durability = _path(path), mode, durability
            self._handle = native.open_file(self.path, options)
            native.check(native.call.ss_memory_set_patience(self._handle, _milliseconds(patience)), "open")
            self._keep_unseen()
            _files.add(self)
        except BaseException:  # a signal handler may raise anywhere; otherwise the traceback would keep the file open
            self._handle = self._unseen = None
            raise
        return self

    @property
    def reserved_pages(self) -> int:
        """Return the number of pages with reserved address space; growth past them is refused. O(1).

        >>> StableMemory(max_pages=100).reserved_pages >= 100
        True
        """
        return int(native.call.ss_access_reserved_pages(self._handle))

    def view(self, offset: int = 0, length: int | None = None) -> npt.NDArray[np.uint8]:
        """Return the bytes as a read-only numpy array of uint8, without a copy; up to the end if `length` is None. O(1).

        The view shows later changes and stays valid when the memory grows; when the memory is closed the view keeps what it showed last
        (`close` says what that costs). Raises `OutOfBounds`, `Closed`.

        If the memory is open for reading, or without a log, a view maps the file itself. If a program that does not know this
        library then truncates the file, the bytes are gone, and reading the view kills this process.

        >>> memory = StableMemory()
        >>> _ = memory.grow(1)
        >>> view = memory.view(0, 4)
        >>> memory.write(1, b"xy")
        >>> view.tolist()
        [0, 120, 121, 0]
        """
        return native.view(self._handle, _count(offset, "offset"), None if length is None else _count(length, "length"))

    def __repr__(self) -> str:
        if self.path is None:
            return f"<StableMemory, anonymous, {native.glance(self._handle)}>"
        state = "" if native.is_usable(self._handle) else ", closed"
        return f"<StableMemory {self.path!r}, {self.mode}, {self.durability}{state}>"


_files: weakref.WeakSet[StableMemory] = weakref.WeakSet()


@atexit.register
def _close_files() -> None:
    """Leave bare images behind when a program ends without closing its files."""
    native.note_exit()
    for memory in list(_files):
        with contextlib.suppress(Exception):
            native.settle(native.call.ss_memory_close_at_exit, memory._handle, "close")


class RestrictedMemory(NativeMemory):
    """Pages `range.start` to `range.stop` of another memory, as a separate memory.

    Growing it while the base is shorter than `range.start` first grows the base to there; growing past `range.stop` is
    refused (-1). Raises `ValueError` for a range with a step.

    >>> base = StableMemory()
    >>> part = RestrictedMemory(base, range(2, 5))
    >>> part.grow(2), part.size(), base.size(), part.grow(2)
    (0, 2, 4, -1)
    """

    def __init__(self, memory: Memory, pages: range) -> None:
        if not isinstance(pages, range) or pages.step != 1 or pages.start < 0:  # type: ignore[redundant-expr] # of other types, too
            raise ValueError(f"RestrictedMemory: invalid range of pages {pages}; use range(first, end) with 0 <= first <= end")
        self.memory = memory
        self.pages = pages
        first, end = (min(page, 2**64 - 1) for page in (pages.start, pages.stop))
        base = native_memory(memory)
        self._base = base
        self._handle = native.new_handle(
            "ss_memory",
            lambda out: native.call.ss_memory_new_restricted(base._handle, first, max(first, end), out),
            native.call.ss_memory_release_at,
            f"RestrictedMemory({pages})",
        )
        self._keep_unseen()

    def __repr__(self) -> str:
        return f"RestrictedMemory({self.memory!r}, {self.pages})"


class _ForeignMemory(NativeMemory):
    """The core's side of a memory written in Python."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._handle, self._anchor = native.new_foreign(memory)
        self._keep_unseen()


class _Wrappers:
    """The one wrapper of each memory written in Python: with two of them, two structures on one memory would not know of each other."""

    known: Final[weakref.WeakValueDictionary[int, _ForeignMemory]] = weakref.WeakValueDictionary()
    lock = threading.RLock()  # reentrant: a finalizer or signal handler may open a structure in the middle


def _forked() -> None:
    """Replace the lock in the child of a fork: a thread that does not exist in the child may have held it."""
    _Wrappers.lock = threading.RLock()


os.register_at_fork(after_in_child=_forked)


def native_memory(memory: Memory) -> NativeMemory:
    """Return the memory as the core knows it: itself, or the one wrapper of an object written in Python. O(1).

    Raises `TypeError` for an object that lacks one of the four operations; for a manager or structure, the message says what to pass.
    """
    if isinstance(memory, NativeMemory):
        return memory
    if isinstance(memory, type):
        raise TypeError(f"expected a memory, got the class {memory.__name__} itself; write {memory.__name__}()")
    missing = [name for name in ("size", "grow", "read", "write") if not callable(getattr(memory, name, None))]
    if missing:
        instead = getattr(type(memory), "_instead_of_memory", None)
        if instead is not None:
            raise TypeError(f"a {type(memory).__name__} is not a memory; {instead}")
        raise TypeError(
            f"a memory needs size, grow, read and write; {type(memory).__name__} lacks {', '.join(missing)}. "
            "Use StableMemory() or StableMemory.open(path)"
        )
    with _Wrappers.lock:
        wrapper = _Wrappers.known.get(id(memory))
        if wrapper is None:
            wrapper = _Wrappers.known[id(memory)] = _ForeignMemory(memory)
        return wrapper
