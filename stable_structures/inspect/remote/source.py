# SPDX-License-Identifier: Apache-2.0
"""An object on another machine as a source: through the cache of the core, which asks for blocks, and for many in sequence."""

from __future__ import annotations

from typing import Final, NoReturn, SupportsIndex

from ...memory.cached import CachedMemory
from ...memory.memory import NativeMemory
from ..source import Source
from .objects import RemoteObject

_AT_ONCE: Final = 8 << 20
"""Bytes of the largest request of the cache."""
_CACHE: Final = 256 << 20
"""Bytes that the cache may have; it has as many as were read. Far away it pays to read a structure from end to end, and once."""


class RemoteSource(Source):
    """The bytes of an object; all reads go through one cache.

    >>> from .place import RemotePlace
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe("/image.bin", b"abcdef")
    >>> with RemoteSource(RemotePlace("memory://image.bin").object()) as source:
    ...     source.read(2, 3)
    b'cde'
    """

    is_far = True
    block_bytes = _AT_ONCE

    def __init__(self, found: RemoteObject) -> None:
        super().__init__(found.nbytes)
        self._object, self.version = found, {"bytes": found.nbytes, **found.version}
        self._cached = CachedMemory(found, found.nbytes, cache=_CACHE)
        self.notes += found.notes

    @property
    def cheap_bytes(self) -> int:
        """A structure that fits the cache of its own."""
        return _CACHE - (16 << 20)

    def memory(self) -> NativeMemory:
        """Return the object through the cache."""
        return self._cached

    def is_at_hand(self, offset: int, length: int) -> bool:
        """Return whether a read costs no request."""
        return self._cached.has(offset, length)

    def usage(self) -> tuple[int, int]:
        """Return how often the object was asked for bytes, and for how many. O(1)."""
        return self._cached.usage()

    def _read(self, offset: int, length: int) -> bytes:
        return self._cached.read(offset, length)

    def close(self) -> None:
        """Let go of the connection."""
        self._object.close()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """For `copy` and `pickle`: a connection cannot be copied."""
        raise TypeError(f"{self._object.name}: an open image cannot be copied or pickled; pass its name on")
