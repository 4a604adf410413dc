# SPDX-License-Identifier: Apache-2.0
"""A memory that is only looked at: any source of bytes, read in blocks that are kept while there is room.

The core reads it as it reads every memory, so structures open on it as they are, whatever the bytes come from and however
many there are.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from .. import _native as native
from .memory import NativeMemory

CACHE_BYTES: Final[int] = native.call.SS_CACHE_DEFAULT
"""Bytes that a cache may have unless its owner says otherwise: 64 MiB."""
BLOCK_BYTES: Final[int] = native.call.SS_CACHE_BLOCK
"""Bytes of a block: 256 KiB. A source is asked for whole blocks, for all that a read needs at once, and for up to 32 in sequence."""


class Fetching(Protocol):
    """Where bytes come from: a file on another machine, an archive, anything with offsets.

    `fetch` returns exactly `length` bytes from `offset` on; both lie inside the size that the memory was given. What it
    raises fails the operation that needed the bytes, and nothing of a failed fetch is kept.
    """

    def fetch(self, offset: int, length: int, /) -> bytes:
        """Return `length` bytes from `offset` on."""


class CachedMemory(NativeMemory):
    """The bytes of a source as a memory that cannot be written.

    Reads cost O(length) and at most one request for each block that is not in the cache; memory is at most `cache`
    bytes, the table of blocks (16 bytes a MiB of the source) and 8 MiB. Its size is rounded up to whole pages, with
    zeros. Writing and growing raise `ReadOnly`.

    >>> from stable_structures import StableMemory, StableBTreeMap, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, u64](memory).update({i: i * i for i in range(1000)})
    >>> class Remote:
    ...     def fetch(self, offset: int, length: int) -> bytes:
    ...         return memory.read(offset, length)
    >>> looked_at = CachedMemory(Remote(), memory.nbytes)
    >>> StableBTreeMap[u64, u64].load(looked_at)[30]
    900
    >>> looked_at.usage()[0]
    1
    """

    def __init__(self, source: Fetching, nbytes: int, *, cache: int = CACHE_BYTES) -> None:
        self._handle, self._anchor = native.new_cached(source, nbytes, cache)
        self._keep_unseen()

    def usage(self) -> tuple[int, int]:
        """How often the source was asked, and for how many bytes in all. O(1)."""
        return native.cached_usage(self._handle)

    def has(self, offset: int, length: int) -> bool:
        """Return whether reading these bytes would ask the source for nothing. O(length / 256 KiB)."""
        return native.cached_has(self._handle, offset, length)


class CachedFile(CachedMemory):
    """A file that is read with `pread`, never mapped: a file that is cut off meanwhile is an error, not a signal.

    With the contents of a log, the memory as the last commit left it. Raises `OSError`.
    """

    def __init__(self, fd: int, file_bytes: int, log: Any = None, nbytes: int | None = None, *, cache: int = CACHE_BYTES) -> None:
        self._log = log
        self._handle = native.new_cached_file(fd, file_bytes, log, file_bytes if nbytes is None else nbytes, cache)
        self._keep_unseen()


class Pieces(NativeMemory):
    """Buckets of a memory, one behind the other: a virtual memory by a table that was read elsewhere. Looked at only."""

    def __init__(self, base: NativeMemory, offsets: Any, bucket_bytes: int, nbytes: int) -> None:
        self._base = base
        self._handle = native.new_pieces(base._handle, offsets, bucket_bytes, nbytes)
        self._keep_unseen()
