# SPDX-License-Identifier: Apache-2.0
"""A memory as a raw stream of bytes; `io.BufferedReader` and `io.BufferedWriter` are the buffered forms.

The end of the memory is the end of the file. A stream keeps nothing between two calls but its position, so it sees what
others write, and one memory may have any number of streams.
"""

from __future__ import annotations

import io
import operator
from typing import Any, Final, NoReturn

from .. import _native as native
from ..errors import Closed, OutOfBounds
from .memory import PAGE_SIZE, Memory, native_memory

_LARGEST_POSITION: Final = 2**63 - 1


class _Stream(io.RawIOBase):
    """The position, and what readers and writers share."""

    def __init__(self, memory: Memory, offset: int = 0) -> None:
        self.memory = memory
        self._native = native_memory(memory)
        self._position = _position(offset, "offset")

    def _check_open(self) -> None:
        if self.closed:
            raise Closed(f"{type(self).__name__} is closed; create a new one on the memory")

    def _bytes(self) -> int:
        return self._native.size() * PAGE_SIZE

    def _refuse(self, operation: str) -> NoReturn:
        self._check_open()
        raise io.UnsupportedOperation(f"{operation} on a {type(self).__name__}; use a Reader to read a memory and a Writer to write it")

    def seekable(self) -> bool:
        """Return True. O(1). Raises `Closed`.

        >>> from stable_structures import Reader, StableMemory
        >>> Reader(StableMemory()).seekable()
        True
        """
        self._check_open()
        return True

    def tell(self) -> int:
        """Return the offset in the memory of the next byte to read or write. O(1). Raises `Closed`.

        >>> from stable_structures import StableMemory, Writer
        >>> Writer(StableMemory(), 7).tell()
        7
        """
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to an offset from the start, the current position or the end of the memory; return the new offset. O(1).

        A position past the end is allowed: there is nothing to read there, and a write there grows the memory. Raises
        `OutOfBounds` for a position before the start, `ValueError` for any other `whence`, `Closed`.

        >>> from stable_structures import PAGE_SIZE, Reader, StableMemory
        >>> memory = StableMemory()
        >>> _ = memory.grow(1)
        >>> reader = Reader(memory)
        >>> reader.seek(-2, 2) == PAGE_SIZE - 2, len(reader.read())
        (True, 2)
        """
        self._check_open()
        if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
            raise ValueError(f"seek: whence must be 0 (start), 1 (current position) or 2 (end of the memory), got {whence}")
        start = 0 if whence == io.SEEK_SET else self._position if whence == io.SEEK_CUR else self._bytes()
        self._position = _position(start + operator.index(offset), "seek")
        return self._position

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self.closed else f'at byte {self._position}'} of {self.memory!r}>"


class Reader(_Stream):
    """Read a memory from `offset` on, as an `io.RawIOBase`; closing it does not close the memory.

    Creating one is O(1) and raises `OutOfBounds` for a negative offset, `TypeError` if `memory` is not a memory.

    >>> import io
    >>> from stable_structures import Reader, StableMemory, Writer
    >>> memory = StableMemory()
    >>> Writer(memory).write(b"hello, world")
    12
    >>> Reader(memory, 7).read(5), io.BufferedReader(Reader(memory)).peek()[:5]
    (b'world', b'hello')
    """

    def readable(self) -> bool:
        """Return True. O(1). Raises `Closed`.

        >>> from stable_structures import Reader, StableMemory
        >>> Reader(StableMemory()).readable(), Reader(StableMemory()).writable()
        (True, False)
        """
        self._check_open()
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a writable buffer up to the end of the memory; return the number of bytes read, 0 at the end. O(bytes).

        Raises `IncompatibleType`, which is a `TypeError`, for a buffer that is read-only or not contiguous, `Closed`.

        >>> from stable_structures import Reader, StableMemory
        >>> memory = StableMemory()
        >>> _ = memory.grow(1)
        >>> buffer = bytearray(5)
        >>> [Reader(memory, offset).readinto(buffer) for offset in (0, 65_533, 65_536)]
        [5, 3, 0]
        """
        self._check_open()
        with native.target(buffer, "readinto") as room:
            count = min(len(room), max(0, self._bytes() - self._position))
            if count:
                native.fill(self._native._handle, self._position, room, count)
        self._position += count
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most `size` bytes; all up to the end of the memory if `size` is negative or None. O(bytes). Raises `Closed`.

        >>> from stable_structures import Reader, StableMemory
        >>> memory = StableMemory()
        >>> _ = memory.grow(1)
        >>> len(Reader(memory).read(2)), len(Reader(memory, 536).read())
        (2, 65000)
        """
        self._check_open()
        left = max(0, self._bytes() - self._position)
        count = left if size is None or size < 0 else min(left, size)
        data = self._native.read(self._position, count) if count else b""
        self._position += count
        return data

    def readall(self) -> bytes:
        """Return all bytes up to the end of the memory. O(bytes). Raises `Closed`.

        >>> from stable_structures import Reader, StableMemory, Writer
        >>> memory = StableMemory()
        >>> Writer(memory, 65_534).write(b"ab")
        2
        >>> Reader(memory, 65_533).readall() == bytes(1) + b"ab"
        True
        """
        return self.read()

    def write(self, _data: Any, /) -> NoReturn:
        """Raise `io.UnsupportedOperation`."""
        self._refuse("write")


class Writer(_Stream):
    """Write to a memory from `offset` on, as an `io.RawIOBase`; closing it does not close the memory.

    A write past the end first grows the memory by the fewest pages. The bytes of a live structure belong to it, so give a
    writer a separate memory. Creating one is O(1) and raises `OutOfBounds` for a negative offset, `TypeError` if `memory` is
    not a memory.

    >>> import io, shutil
    >>> from stable_structures import StableMemory, Writer
    >>> memory = StableMemory()
    >>> with io.BufferedWriter(Writer(memory)) as file:
    ...     shutil.copyfileobj(io.BytesIO(b"a" * 65_537), file)
    >>> memory.size()
    2
    """

    def writable(self) -> bool:
        """Return True. O(1). Raises `Closed`.

        >>> from stable_structures import StableMemory, Writer
        >>> Writer(StableMemory()).writable(), Writer(StableMemory()).readable()
        (True, False)
        """
        self._check_open()
        return True

    def write(self, data: Any, /) -> int:
        """Write all bytes of a buffer, growing the memory by the fewest pages if needed; return their number. O(bytes).

        Raises `OutOfMemory` if the memory cannot grow (nothing is written then), `ReadOnly`, `Closed`, and `IncompatibleType` for what
        is not a contiguous buffer, such as text.

        >>> from stable_structures import StableMemory, Writer
        >>> memory = StableMemory()
        >>> Writer(memory, 65_535).write(b"ab"), memory.size()
        (2, 2)
        """
        self._check_open()
        count = native.write(self._native._handle, self._position, data, growing=True)
        self._position += count
        return count

    def readinto(self, _buffer: Any, /) -> NoReturn:
        """Raise `io.UnsupportedOperation`."""
        self._refuse("read")

    def readall(self) -> NoReturn:
        """Raise `io.UnsupportedOperation`."""
        self._refuse("read")


def _position(offset: int, what: str) -> int:
    position = operator.index(offset)
    if not 0 <= position <= _LARGEST_POSITION:
        raise OutOfBounds(f"{what}: invalid position {position} in a memory; it must be 0 to {_LARGEST_POSITION}")
    return position
