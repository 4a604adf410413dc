# SPDX-License-Identifier: Apache-2.0
"""Stable structures of the Internet Computer for Python, with the same bytes as the Rust crate ic-stable-structures."""

__version__ = "0.1.0"  # the one place: pyproject.toml reads it here

from pkgutil import extend_path as _extend_path

from ._platform import Interpreter as _Interpreter
from ._platform import refusal as _refusal

if _why := _refusal(_Interpreter()):
    raise ImportError(_why)

# In a checkout after a plain `pip install .`, `python -m` finds this directory first, but the compiled module is in the installed one.
__path__ = _extend_path(__path__, __name__)

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from .errors import (
    BadMagic,
    BoundExceeded,
    Closed,
    CommitUnknown,
    CorruptMemory,
    IncompatibleType,
    Locked,
    MemoryInUse,
    OutOfBounds,
    OutOfMemory,
    ReadOnly,
    StableError,
    UnsupportedVersion,
    WalCorrupt,
)
from .memory.manager import MemoryManager, VirtualMemory
from .memory.memory import MAX_PAGES, PAGE_SIZE, Memory, RestrictedMemory, StableMemory
from .memory.stream import Reader, Writer
from .memory.transaction import Transaction
from .principal import Principal
from .storable import (
    Array,
    Basilisk,
    Blob,
    Bounded,
    Candid,
    Cbor,
    Codec,
    Record,
    Reverse,
    Unbounded,
    codec,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    i128,
    storable,
    u8,
    u16,
    u32,
    u64,
    u128,
)
from .structures.btreemap import StableBTreeMap
from .structures.btreeset import StableBTreeSet
from .structures.cell import StableCell
from .structures.certified import CertifiedMap
from .structures.log import StableLog
from .structures.minheap import StableMinHeap
from .structures.vec import StableVec
from .upgrade import UpgradeHooks

if _TYPE_CHECKING:
    from .image import Image, open_image


def __getattr__(name: str) -> _Any:
    """Import what needs the tools only when it is asked for."""
    if name in ("Image", "open_image"):
        from . import image  # noqa: PLC0415 - it takes as long as all the rest

        return getattr(image, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "MAX_PAGES",
    "PAGE_SIZE",
    "Array",
    "BadMagic",
    "Basilisk",
    "Blob",
    "BoundExceeded",
    "Bounded",
    "Candid",
    "Cbor",
    "CertifiedMap",
    "Closed",
    "Codec",
    "CommitUnknown",
    "CorruptMemory",
    "Image",
    "IncompatibleType",
    "Locked",
    "Memory",
    "MemoryInUse",
    "MemoryManager",
    "OutOfBounds",
    "OutOfMemory",
    "Principal",
    "ReadOnly",
    "Reader",
    "Record",
    "RestrictedMemory",
    "Reverse",
    "StableBTreeMap",
    "StableBTreeSet",
    "StableCell",
    "StableError",
    "StableLog",
    "StableMemory",
    "StableMinHeap",
    "StableVec",
    "Transaction",
    "Unbounded",
    "UnsupportedVersion",
    "UpgradeHooks",
    "VirtualMemory",
    "WalCorrupt",
    "Writer",
    "codec",
    "f32",
    "f64",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "open_image",
    "storable",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
]
