# SPDX-License-Identifier: Apache-2.0
"""A canister at one moment: code, heap, stable memory and certified data (docs/platform.md#lifecycle-status)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn, SupportsIndex

from ..errors import StableError, Unsupported
from ..memory.memory import PAGE_SIZE
from . import core

if TYPE_CHECKING:
    from ..memory.memory import NativeMemory
    from .canister import Canister
    from .installed import Program

_ZEROS: Final = bytes(PAGE_SIZE)


class Snapshot:
    """The result of `Canister.snapshot()`. Pages of zeros take no memory."""

    def __init__(self, canister: Canister, program: Program) -> None:
        self.taken_at = canister.time
        self.version = canister.version
        self.certified_data = canister.certified_data
        self.pages = canister.memory.size()
        self._owner = canister.id
        self._memory = canister.memory
        self._program = program.snapshot()
        self._content = {number: page for number in range(self.pages) if (page := _page(canister.memory, number)) != _ZEROS}

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse `copy` and `pickle`: it holds the program's own objects."""
        raise TypeError(
            "a Snapshot cannot be copied or pickled: it holds the running program; use its image, the bytes of the stable memory"
        )

    def __repr__(self) -> str:
        return f"<Snapshot of canister {self._owner} at version {self.version}, {self.pages} pages>"

    @property
    def image(self) -> bytes:
        """Return the stable memory, byte for byte. O(its size)."""
        return b"".join(self._content.get(number, _ZEROS) for number in range(self.pages))

    def load(self, canister: Canister) -> None:
        """Restore everything (for `Canister.load_snapshot`)."""
        if canister.id != self._owner:
            raise ValueError(f"the snapshot was taken of canister {self._owner}, not of {canister.id}; pass its image to Canister.install")
        self._load_memory()
        canister.memory = self._memory
        canister.put_program(self._program())
        canister.certified_data = self.certified_data

    def _load_memory(self) -> None:
        memory = self._memory
        size = memory.size()
        if size > self.pages:
            try:
                core.shrink(memory, self.pages)
            except StableError as error:
                raise Unsupported(f"load_snapshot: stable memory has {size} pages, the snapshot {self.pages}: {error}") from error
            except ValueError as error:
                raise Unsupported(f"load_snapshot: stable memory in a file cannot shrink from {size} pages to {self.pages}") from error
        elif size < self.pages:
            memory.grow(self.pages - size)
        for number in range(self.pages):
            page = self._content.get(number, _ZEROS)
            if _page(memory, number) != page:
                memory.write(number * PAGE_SIZE, page)


def _page(memory: NativeMemory, number: int) -> bytes:
    return memory.read(number * PAGE_SIZE, PAGE_SIZE)
