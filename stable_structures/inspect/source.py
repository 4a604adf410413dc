# SPDX-License-Identifier: Apache-2.0
"""Where the bytes come from: files, gzips, running memories, and virtual memories inside of them. Nothing here writes.

Files are read with `pread`, not mapped: memory use does not follow the size of the file, a file that is cut off under
us raises an error instead of a signal, and no lock is taken, so no writer is ever held up.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn, Self, SupportsIndex, TypeAlias

import numpy as np

from .. import _native as native
from ..errors import StableError
from ..memory.cached import CachedFile, CachedMemory, Pieces
from ..memory.memory import PAGE_SIZE, Memory, NativeMemory, StableMemory
from .allowance import share
from .beside import LOCK
from .formats.layout import Damage, Finding

BLOCK: Final = 1 << 20
"""Bytes that are read at once where a whole range is read."""

_WRITER_LOCK: Final = 1 << 62
"""The byte that a writer of a memory file locks (native/file_private.h)."""

Progress: TypeAlias = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and how much there is."""


def no_progress(_what: str, _done: int, _total: int) -> None:
    """Ignore the report."""


class Unreadable(StableError, OSError):
    """What was given cannot be read, or is nothing that can be looked into."""


class NotWhole(Unreadable):
    """What was given is cut off or damaged, and to go on would hide it."""


class Shorter(Unreadable):
    """A file became shorter while it was read: at another moment it can be."""


class PastEnd(StableError, IndexError):
    """An address outside of the memory, found in the memory."""


TROUBLES: Final = (Damage, StableError, OSError, ValueError, TypeError, MemoryError, RecursionError)
"""What looking at an image may raise."""


class Source:
    """Bytes at addresses, as a structure sees its memory."""

    nbytes: int
    """Bytes in all."""
    is_memory: bool = False
    """Whether a log beside the file says that it is a memory, even without pages."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.notes: list[str] = []
        self.problems: list[Finding] = []
        """What is wrong with what was given, whatever is in it: it is cut off, its log is damaged."""

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes. Raises `PastEnd`, and `Unreadable` if the system cannot read."""
        if offset < 0 or length < 0 or offset + length > self.nbytes:
            raise PastEnd(f"bytes {offset} to {offset + length} of a memory of {self.nbytes} bytes")
        return self._read(offset, length)

    fetch = read
    """As the core asks for bytes."""

    def head(self, length: int) -> bytes:
        """Return the first bytes: `length` of them, or as many as there are."""
        return self.read(0, min(length, self.nbytes))

    def blocks(self, start: int = 0, stop: int | None = None, block: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Return what may not be zero from `start` to `stop`, as (offset, bytes); holes of a sparse file are left out."""
        block = block or self.block_bytes
        stop = self.nbytes if stop is None else min(stop, self.nbytes)
        for first, last in self.extents(start, stop):
            for offset in range(first, last, block):
                yield offset, self.read(offset, min(block, last - offset))

    def extents(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Return the ranges outside of which all bytes are zero; at least the system says so."""
        if start < stop:
            yield start, stop

    def is_zero(self, start: int = 0, stop: int | None = None) -> bool:
        """Return whether all bytes of the range are zero. O(bytes that are not holes)."""
        return not any(any_set(data) for _, data in self.blocks(start, stop))

    def physical(self, offset: int) -> int:
        """Return the address in the file or outermost memory."""
        return offset

    version: object = None
    """What tells one version of it from another; None where nothing does: a copy of a file has another time."""
    block_bytes: int = BLOCK
    """Bytes that are read at once where a whole range is read."""
    is_far: bool = False
    """Whether each read of what is not in the cache costs a request to another machine."""
    is_running: bool = False
    """Whether it is a memory that the program goes on using."""

    @property
    def cheap_bytes(self) -> int:
        """Return how large a structure may be that is read in any order: it fits the cache, or lies in memory. O(1)."""
        return share().cache * 3 // 4

    def is_at_hand(self, offset: int, length: int) -> bool:  # noqa: ARG002 - a file is near everywhere
        """Return whether bytes can be read without a request to another machine. O(length)."""
        return True

    def bring(self, length: int) -> None:
        """Read the first bytes into the cache, if they are far and fit it: many small reads of them then cost few requests."""
        length = min(length, self.nbytes)
        if self.is_far and length <= self.cheap_bytes and not self.is_at_hand(0, length):
            for _ in self.blocks(0, length):
                pass

    def memory(self) -> NativeMemory:
        """Return the same bytes as a memory of the core, for surveys. Its size is rounded up to whole pages, with zeros."""
        return CachedMemory(self, self.nbytes, cache=share().cache)

    def fail(self, status: int) -> NoReturn:
        """Raise the exception for an error of the core on that memory."""
        native.fail(status, "reading")

    def close(self) -> None:
        """Let go of files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, offset: int, length: int) -> bytes:
        raise NotImplementedError


def any_set(data: bytes) -> bool:
    """Return whether any byte is not zero; as fast as memory is read."""
    return data.count(0) != len(data)


class BytesSource(Source):
    """Bytes that are there already.

    >>> BytesSource(b"abcdef").read(2, 3)
    b'cde'
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(len(data))
        self._data = data

    def _read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


class _Descriptor:
    """A file that is closed once: when it is asked to, or when nobody holds it any more."""

    def __init__(self) -> None:
        self._fd = -1

    def open(self, path: str | Path) -> int:
        """Open a file for reading."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        return self._fd

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close


class FileSource(Source):
    """A regular file, read only and without a lock."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._fd = -1
        self._unseen = native.unseen()
        self._unseen[0] = _Descriptor()
        try:
            self._fd = self._unseen[0].open(path)
            found = os.fstat(self._fd)
        except (OSError, ValueError) as error:
            self.close()
            raise _unreadable(path, error) from None
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise Unreadable(f"{path}: not a regular file; give an image, a gzip of one, or the folder of a snapshot")
        super().__init__(found.st_size)
        self._first_state = _state(found)
        self.was_written = False
        """Whether a program had it open for writing when it was asked."""
        self._memory: NativeMemory | None = None
        self._cache = 0

    def memory(self) -> NativeMemory:
        """Return the file through a cache, which lives as long as the source, or until a process may have less than its parent had."""
        if self._memory is None or self._cache != share().cache:
            self._cache = share().cache
            self._memory = self._cached(self._cache)
        return self._memory

    def _cached(self, cache: int) -> NativeMemory:
        return CachedFile(self._fd, self.nbytes, cache=cache)

    def fail(self, status: int) -> NoReturn:
        """Raise `Unreadable` for what the system says."""
        failure = native.system_failure(status)
        if failure is None:
            native.fail(status, f"reading {self.path}")
        rule, at, number = failure
        if "shorter" in rule:
            raise self._cut(at)
        raise _unreadable(self.path, OSError(number, os.strerror(number)))

    def _cut(self, at: int) -> Shorter:
        return Shorter(f"{self.path}: it became shorter while it was read (byte {at} of {self.nbytes}); start again")

    def _read(self, offset: int, length: int) -> bytes:
        try:
            data = os.pread(self._fd, length, offset)
            while len(data) < length:  # signals, and reads of more than 2 GiB
                more = os.pread(self._fd, length - len(data), offset + len(data))
                if not more:
                    raise self._cut(offset + len(data))
                data += more
        except (OSError, MemoryError) as error:
            if isinstance(error, Unreadable):
                raise
            raise _unreadable(self.path, error) from None
        return data

    def size_now(self) -> int:
        """Bytes of the file at this moment."""
        return os.fstat(self._fd).st_size

    def is_written(self) -> bool:
        """Return whether a program has the file open as a memory for writing, as far as the system tells. Takes no lock."""
        if sys.platform != "linux":
            return False
        asked = LOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, _WRITER_LOCK, 1, 0)
        try:
            found = fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, asked)
        except OSError:
            return False
        is_written = bool(LOCK.unpack(found)[0] != fcntl.F_UNLCK)
        self.was_written = self.was_written or is_written
        return is_written

    def has_changed(self) -> bool:
        """Return whether a program has it open for writing now, or changed it since it was opened here, as far as the system tells."""
        return self.is_written() or _state(os.fstat(self._fd)) != self._first_state

    def begin_with(self, earlier: FileSource) -> None:
        """Take for a change also what happened to the file since another source of it was opened."""
        self.was_written, self._first_state = earlier.was_written, earlier._first_state

    def extents(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Return the file's data as the file system tells it; all of it where it cannot."""
        while start < stop:
            try:
                first = os.lseek(self._fd, start, os.SEEK_DATA)
                last = os.lseek(self._fd, first, os.SEEK_HOLE)
            except OSError as error:
                if error.errno != errno.ENXIO:  # ENXIO: only a hole is left
                    yield start, stop
                return
            if first >= stop:
                return
            yield first, min(last, stop)
            start = last

    def close(self) -> None:
        """Close the file."""
        self._memory, self._fd = None, -1
        self._unseen[0].close()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """For `copy` and `pickle`: two objects would close one file."""
        raise TypeError(
            f"{self.path}: an open image cannot be copied or pickled; copy the report that inspect() gives, or pass the path on"
        )


def _state(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


def _unreadable(path: object, error: BaseException) -> Unreadable:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return Unreadable(f"{path}: cannot be read: {reason}")


def read_small(path: str | Path, most: int) -> bytes:
    """Return all of a small file that lies beside an image, perhaps by somebody else's hand: no device, no pipe, no more than `most` bytes.

    O(size). Raises `Unreadable`, and `FileNotFoundError`.
    """
    with FileSource(path) if Path(path).exists() else _absent(path) as source:
        if source.nbytes > most:
            raise Unreadable(f"{path}: {source.nbytes:,} bytes are too many for what it should be")
        return source.read(0, source.nbytes)


def _absent(path: str | Path) -> NoReturn:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


class MemorySource(Source):
    """A running memory, as it is at each read; its size is the one it had at the start."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory.size() * PAGE_SIZE)
        self._memory, self.is_running = memory, True

    @property
    def cheap_bytes(self) -> int:
        """All of it, unless it is written in Python."""
        return self.nbytes if isinstance(self._memory, StableMemory) else super().cheap_bytes

    def memory(self) -> NativeMemory:
        """Return the running memory itself, or one that is written in Python through a cache of its own."""
        return self._memory if isinstance(self._memory, NativeMemory) else super().memory()

    def _read(self, offset: int, length: int) -> bytes:
        return self._memory.read(offset, length)


class VirtualSource(Source):
    """A virtual memory: the buckets of its id, in the order of the manager's table."""

    def __init__(self, base: Source, buckets: list[int], bucket_bytes: int, nbytes: int) -> None:
        super().__init__(nbytes)
        self._base, self._buckets, self._bucket_bytes = base, buckets, bucket_bytes
        self.block_bytes, self.is_far, self.is_running = base.block_bytes, base.is_far, base.is_running

    @property
    def cheap_bytes(self) -> int:
        """As the base says it."""
        return self._base.cheap_bytes

    def is_at_hand(self, offset: int, length: int) -> bool:
        """Return whether the base has it at hand."""
        if offset < 0 or offset + length > self.nbytes:
            return False
        return all(self._base.is_at_hand(at, stop - at) for at, stop, _ in self._pieces(offset, offset + length))

    def memory(self) -> NativeMemory:
        """Its buckets in the memory of the base."""
        offsets = PAGE_SIZE + np.array(self._buckets, np.uint64) * np.uint64(self._bucket_bytes)
        return Pieces(self._base.memory(), offsets.astype(np.uint64), self._bucket_bytes, self.nbytes)

    def fail(self, status: int) -> NoReturn:
        """As the base says it."""
        self._base.fail(status)

    def physical(self, offset: int) -> int:
        """Return the address in the managed memory."""
        bucket, inside = divmod(offset, self._bucket_bytes)
        if bucket >= len(self._buckets):
            return -1
        return self._base.physical(PAGE_SIZE + self._buckets[bucket] * self._bucket_bytes + inside)

    def _read(self, offset: int, length: int) -> bytes:
        bucket, inside = divmod(offset, self._bucket_bytes)
        if inside + length <= self._bucket_bytes and bucket < len(self._buckets):
            return self._base.read(PAGE_SIZE + self._buckets[bucket] * self._bucket_bytes + inside, length)
        return b"".join(self._base.read(at, stop - at) for at, stop, _ in self._pieces(offset, offset + length))

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Return the ranges of the base, each with the address here at which it begins."""
        while start < stop:
            bucket, inside = divmod(start, self._bucket_bytes)
            if bucket >= len(self._buckets):
                raise PastEnd(f"byte {start} of a virtual memory that owns {len(self._buckets)} buckets of {self._bucket_bytes} bytes")
            length = min(stop - start, self._bucket_bytes - inside)
            at = PAGE_SIZE + self._buckets[bucket] * self._bucket_bytes + inside
            yield at, at + length, start
            start += length

    def extents(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """As the base tells it."""
        for at, end, here in self._pieces(start, stop):
            for first, last in self._base.extents(at, min(end, self._base.nbytes)):
                yield first - at + here, last - at + here
