# SPDX-License-Identifier: Apache-2.0
"""What only the harness asks of the core: the memory of one program given to another, the size of a transaction, folders exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .. import _native as native

if TYPE_CHECKING:
    from ..memory.memory import NativeMemory

BLOCK_SIZE: Final[int] = native.call.SS_BLOCK_SIZE
_MANAGER_MAGIC: Final = native.magic("SS_MANAGER_MAGIC")


def forget_leases(memory: NativeMemory) -> None:
    """Forget the leases of structures that were opened in this transaction.

    Structures that Python has not freed yet then block nobody.
    """
    native.call.ss_memory_forget_leases(memory._handle)


def changed_bytes(memory: NativeMemory) -> int:
    """Return how much the open transaction changed, in blocks of 4 KiB."""
    return native.check(native.call.ss_transaction_changed(memory._handle), "changed") * BLOCK_SIZE


def use_by(memory: NativeMemory, program: int) -> None:
    """Let this program use the memory from now on: structures of other programs do not block it."""
    native.call.ss_memory_set_program(memory._handle, program)


def shrink(memory: NativeMemory, pages: int) -> None:
    """Set the size of an anonymous memory back; pages above read as zeros after growing again."""
    native.check(native.call.ss_memory_shrink(memory._handle, pages), "shrink")


def begin_with(memory: NativeMemory, path: str, pages: int) -> None:
    """Begin an empty anonymous memory with the first pages of a file, which is never written and must stay as it is. O(1)."""
    status = native.call.ss_memory_begin_with(memory._handle, native.path_bytes(path), pages)
    native.check(status, f"stable memory of {path}")


def exchange_paths(one: str, other: str) -> bool:
    """Exchange two folders in one step; False if the system cannot. Raises `OSError`."""
    return not native.check(native.call.ss_exchange_paths(native.path_bytes(one), native.path_bytes(other)), f"{one} and {other}")


def holds_manager(memory: NativeMemory) -> bool:
    """Return whether a memory begins as a memory manager does. O(1)."""
    return memory.size() > 0 and memory.read(0, len(_MANAGER_MAGIC)) == _MANAGER_MAGIC


def same_memory(one: NativeMemory, other: NativeMemory) -> bool:
    """Return whether both are ranges of one root."""
    return bool(native.call.ss_access_generation(one._handle) == native.call.ss_access_generation(other._handle))
