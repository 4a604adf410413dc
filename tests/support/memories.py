"""Memories that are written in Python, for tests of the structures that lie in them."""

from __future__ import annotations

from stable_structures import PAGE_SIZE


class ListMemory:
    """A memory in a bytearray, with a limit."""

    def __init__(self, max_pages: int = 1000) -> None:
        self.data = bytearray()
        self.max_pages = max_pages

    def size(self) -> int:
        return len(self.data) // PAGE_SIZE

    def grow(self, pages: int, /) -> int:
        before = len(self.data) // PAGE_SIZE
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


class Trigger:
    """Raises at the n-th call of one operation after `arm`, in whichever of its memories that is, and where it is lasting from then on.

    `refuse` answers -1 to a grow.
    """

    def __init__(self) -> None:
        self.arm("", 0)

    def arm(self, kind: str, at: int, *, lasting: bool = False) -> None:
        self.kind, self.at, self.seen, self.lasting = kind, at, 0, lasting

    @property
    def fired(self) -> bool:
        return bool(self.kind) and self.seen >= self.at

    def comes(self, kind: str) -> bool:
        if kind != self.kind:
            return False
        self.seen += 1
        return self.seen == self.at or (self.lasting and self.fired)

    def count(self, kind: str) -> None:
        if kind == self.kind and self.comes(kind):
            raise Boom(f"{kind} number {self.at}")


class FailingMemory(ListMemory):
    """Fails where its trigger says."""

    def __init__(self, trigger: Trigger, max_pages: int = 1000) -> None:
        super().__init__(max_pages)
        self._trigger = trigger

    def size(self) -> int:
        self._trigger.count("size")
        return super().size()

    def grow(self, pages: int, /) -> int:
        self._trigger.count("grow")
        return -1 if self._trigger.comes("refuse") else super().grow(pages)

    def read(self, offset: int, length: int, /) -> bytes:
        self._trigger.count("read")
        return super().read(offset, length)

    def write(self, offset: int, data: bytes, /) -> None:
        self._trigger.count("write")
        super().write(offset, data)
