"""Memories that are written in Python, for tests of the structures that lie in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stable_structures import PAGE_SIZE


class ListMemory:
    """A memory in a bytearray, with a limit."""

    def __init__(self, max_pages: int = 1000) -> None:
        self.data = bytearray()
        self.max_pages = max_pages

    def size(self) -> int:
        return len(self.data) // PAGE_SIZE

    def grow(self, pages: int, /) -> int:
        before = self.size()
        if before + pages > self.max_pages:
            return -1
        self.data.extend(bytes(pages * PAGE_SIZE))
        return before

    def read(self, offset: int, length: int, /) -> bytes:
        if offset + length > len(self.data):
            raise IndexError(f"read of {length} bytes at {offset} of {len(self.data)}")
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes, /) -> None:
        if offset + len(data) > len(self.data):
            raise IndexError(f"write of {len(data)} bytes at {offset} of {len(self.data)}")
        self.data[offset : offset + len(data)] = data


class Boom(Exception):
    """Raised by a FailingMemory."""


class FailingMemory(ListMemory):
    """Raises at its n-th call of one operation, counted from `arm`; `seen` counts the calls of that operation."""

    def __init__(self, max_pages: int = 1000) -> None:
        super().__init__(max_pages)
        self.kind, self.at, self.seen = "", 0, 0

    def arm(self, kind: str, at: int) -> None:
        self.kind, self.at, self.seen = kind, at, 0

    def _count(self, kind: str) -> None:
        if kind != self.kind:
            return
        self.seen += 1
        if self.seen == self.at:
            raise Boom(f"{kind} number {self.at}")

    def size(self) -> int:
        self._count("size")
        return super().size()

    def grow(self, pages: int, /) -> int:
        self._count("grow")
        if self.kind == "refuse":
            self.seen += 1
            if self.seen == self.at:
                return -1
        return ListMemory.size(self) if pages == 0 else self._grown(pages)

    def _grown(self, pages: int) -> int:
        before = len(self.data) // PAGE_SIZE
        if before + pages > self.max_pages:
            return -1
        self.data.extend(bytes(pages * PAGE_SIZE))
        return before

    def read(self, offset: int, length: int, /) -> bytes:
        self._count("read")
        return super().read(offset, length)

    def write(self, offset: int, data: bytes, /) -> None:
        self._count("write")
        super().write(offset, data)


Operation = Callable[[Any], Any]
