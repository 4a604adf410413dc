# SPDX-License-Identifier: Apache-2.0
"""Convert users' arguments to what the harness needs: principals, images, arguments, options of an upgrade."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final, Literal

from ..memory.memory import PAGE_SIZE, StableMemory
from ..principal import Principal
from .errors import ErrorCode, Rejected
from .routing import private_copy
from .source import Code

if TYPE_CHECKING:
    from .wasm.program import WasmCode

Persistence = Literal["keep", "replace", "auto"]
"""The platform's option `wasm_memory_persistence`; "auto" is what its tools do."""

_numbers: Final = itertools.count(0xFFFF_FFFF_FFE0_0000)
"""Canister identifiers in tests begin where those of the platform's test server begin; real canisters (the ledger) are below."""


def principal_of(value: Principal | str | bytes) -> Principal:
    """Return a principal given as bytes or as text."""
    if isinstance(value, Principal):
        return value
    return Principal.from_text(value) if isinstance(value, str) else Principal(value)


def new_principal() -> Principal:
    """Return an identifier as the platform assigns them: a number, then two bytes of 1."""
    return Principal(next(_numbers).to_bytes(8, "big") + b"\x01\x01")


def install_args(code: Code | WasmCode, arg: Any) -> tuple[Any, ...]:
    """Return the argument of install or upgrade, as the program gets it; a tuple is several."""
    if isinstance(code, Code):
        copied: tuple[Any, ...] = private_copy(arg if isinstance(arg, tuple) else () if arg is None else (arg,))
        return copied
    from .wasm.service import install_argument, is_message  # noqa: PLC0415 - wasmtime is for those who use it

    return (install_argument(None if arg is None or is_message(arg) else code.interface(), arg),)


def keeps_heap(old: Code | WasmCode, new: Code | WasmCode, option: Persistence | None) -> bool:
    """Return whether an upgrade keeps the heap. Raises `Rejected` (IC0504) as the platform does."""
    before = not isinstance(old, Code) and old.module.persistent
    after = not isinstance(new, Code) and new.module.persistent
    if option == "auto":
        option = "keep" if before and after else None
    if option == "keep" and not after:
        raise Rejected(
            ErrorCode.CONTRACT_VIOLATION, "Invalid upgrade option: the new module does not support enhanced orthogonal persistence."
        )
    if option is None and before:
        raise Rejected(
            ErrorCode.CONTRACT_VIOLATION,
            "Missing upgrade option: Enhanced orthogonal persistence requires the `wasm_memory_persistence` upgrade option.",
        )
    return option == "keep" and not isinstance(old, Code)


def memory_of(image: bytes, max_pages: int) -> StableMemory:
    """Return a memory that holds an image."""
    if len(image) % PAGE_SIZE:
        raise ValueError(f"an image of stable memory must be whole pages of {PAGE_SIZE} bytes, got {len(image)}; is the file cut off?")
    memory = StableMemory(max_pages=max_pages)
    if memory.grow(len(image) // PAGE_SIZE) < 0:
        raise ValueError(f"the image has {len(image)} bytes, more than the limit of {max_pages} pages; pass larger limits")
    memory.write(0, image)
    return memory
