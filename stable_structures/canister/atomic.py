# SPDX-License-Identifier: Apache-2.0
"""What the harness alone asks of a memory: programs that take over from each other, and how much a transaction changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .. import _native as native

if TYPE_CHECKING:
    from ..memory.memory import NativeMemory

BLOCK_SIZE: Final[int] = native.call.SS_BLOCK_SIZE


def forget_leases(memory: NativeMemory) -> None:
    """Nobody uses the structures any more that were opened in this transaction.

    Where Python has not freed them yet, they are in nobody's way.
    """
    native.call.ss_memory_forget_leases(memory._handle)


def changed_bytes(memory: NativeMemory) -> int:
    """How much the open transaction changed, in blocks of 4 KiB."""
    return native.check(native.call.ss_transaction_changed(memory._handle), "changed") * BLOCK_SIZE


def use_by(memory: NativeMemory, program: int) -> None:
    """From here on this program uses the memory: structures of other programs are not in its way."""
    native.call.ss_memory_set_program(memory._handle, program)


def shrink(memory: NativeMemory, pages: int) -> None:
    """Sets the size of an anonymous memory back; what was above reads as zeros when it comes back."""
    native.check(native.call.ss_memory_shrink(memory._handle, pages), "shrink")


def begin_with(memory: NativeMemory, path: str, pages: int) -> None:
    """Begins an empty anonymous memory with the first pages of a file, which is never written and must stay as it is. O(1)."""
    status = native.call.ss_memory_begin_with(memory._handle, native.path_bytes(path), pages)
    native.check(status, f"stable memory of {path}")


def exchange_paths(one: str, other: str) -> bool:
    """Exchanges two folders in one step; False where the system cannot. Raises `OSError`."""
    return not native.check(native.call.ss_exchange_paths(native.path_bytes(one), native.path_bytes(other)), f"{one} and {other}")


def same_memory(one: NativeMemory, other: NativeMemory) -> bool:
    """Whether both are ranges of one root."""
    return bool(native.call.ss_access_generation(one._handle) == native.call.ss_access_generation(other._handle))
