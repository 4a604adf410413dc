# SPDX-License-Identifier: Apache-2.0
"""The heap of a Wasm program: a handle on bytes of the core that can be restored to their last committed state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final, Literal

from ... import _native as native

Kind = Literal["any", "mapped", "copying"]
_KINDS: Final = {
    "any": native.call.SS_HEAP_ANY,
    "mapped": native.call.SS_HEAP_MAPPED,
    "copying": native.call.SS_HEAP_COPYING,
}
_VARIABLE: Final = "STABLE_STRUCTURES_HEAP"
_STEP: Final = 1 << 20
_size: Final = native.call.ss_heap_image_size


class Heap:
    """The bytes of a heap. An instance on it keeps it alive."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self._unseen = native.unseen()
        self._unseen[0] = handle

    @classmethod
    def new(cls, limit: int, reserved: int, kind: Kind | None = None) -> Heap:
        """Return an empty heap. The kind is that of `STABLE_STRUCTURES_HEAP` (mapped, copying), or one that works here."""
        wanted = _KINDS.get(kind or os.environ.get(_VARIABLE, "any"), _KINDS["any"])
        opened = lambda out: native.call.ss_heap_image_new(limit, reserved, wanted, out)  # noqa: E731
        return cls(native.new_handle("ss_heap_image", opened, native.call.ss_heap_image_release_at, "a heap"))

    def clone(self) -> Heap:
        """Return another heap with the current content of this one. O(size)."""
        opened = lambda out: native.call.ss_heap_image_clone(self.handle, out)  # noqa: E731
        return Heap(native.new_handle("ss_heap_image", opened, native.call.ss_heap_image_release_at, "a copy of a heap"))

    def load(self, path: os.PathLike[str], size: int) -> None:
        """Begin an empty heap with the bytes of a file, which is never written. O(1) if it can be mapped."""
        native.check(native.call.ss_heap_image_load(self.handle, native.path_bytes(os.fspath(path)), size), "heap of a snapshot")

    @property
    def size(self) -> int:
        """Bytes."""
        size: int = _size(self.handle)
        return size

    @property
    def reserved(self) -> int:
        """Return the bytes of address space."""
        return int(native.call.ss_heap_image_reserved(self.handle))

    @property
    def mapped(self) -> bool:
        """Return whether the cost of a commit depends on the changed pages instead of the size."""
        return bool(native.call.ss_heap_image_is_mapped(self.handle))

    @property
    def changed(self) -> int:
        """Return the bytes of the pages that the last commit kept."""
        return int(native.call.ss_heap_image_changed(self.handle)) * 4096

    def grow(self, size: int) -> None:
        """Grow it to `size` bytes."""
        native.check(native.call.ss_heap_image_grow(self.handle, size), "heap")

    def commit(self) -> None:
        """Keep its current content. O(pages that changed)."""
        native.check(native.call.ss_heap_image_commit(self.handle), "heap")

    def rollback(self) -> bool:
        """Restore the committed content; return True if it became smaller: then its instance must be created again."""
        return bool(native.check(native.call.ss_heap_image_rollback(self.handle), "heap"))

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of it."""
        found = native.unfilled(length)
        with native.buffer(found) as target:
            native.check(native.call.ss_heap_image_read(self.handle, offset, target, length), "heap")
        return bytes(found)

    def write(self, offset: int, data: bytes) -> None:
        """Change bytes of it."""
        with native.buffer(data) as source:
            native.check(native.call.ss_heap_image_write(self.handle, offset, source, len(data)), "heap")

    def parts(self) -> Iterator[tuple[int, bytes]]:
        """Iterate over offset and bytes of the parts that are not all zeros. O(size)."""
        zeros = bytes(_STEP)
        for offset in range(0, self.size, _STEP):
            part = self.read(offset, min(_STEP, self.size - offset))
            if part != zeros[: len(part)]:
                yield offset, part
