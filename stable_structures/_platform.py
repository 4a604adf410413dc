# SPDX-License-Identifier: Apache-2.0
"""Where the package can run, checked before anything is imported that would fail with a stranger message."""

import sys
from typing import NamedTuple

_BITS = 64
_FREE_THREADED_FROM = (3, 14)  # cffi's first


class Interpreter(NamedTuple):
    """What of an interpreter and its machine decides. The defaults are those of this process."""

    system: str = sys.platform
    byteorder: str = sys.byteorder
    bits: int = sys.maxsize.bit_length() + 1
    implementation: str = sys.implementation.name
    free_threaded: bool = "t" in getattr(sys, "abiflags", "")
    version: tuple[int, int] = sys.version_info[:2]


def refusal(on: Interpreter) -> str | None:
    """Return why the package cannot run on an interpreter, or None if it can. O(1)."""
    if on.system == "win32":
        return "stable_structures runs on Linux and macOS; on Windows, use it in WSL"
    if on.byteorder != "little" or on.bits != _BITS or not on.system.startswith(("linux", "darwin")):
        return (
            "stable_structures runs on 64-bit little-endian Linux and macOS (x86-64, arm64); "
            f"this is a {on.bits}-bit {on.byteorder}-endian Python on {on.system}"
        )
    if on.implementation != "cpython":
        return f"stable_structures needs CPython 3.11 or newer; this is {on.implementation}"
    if on.free_threaded and on.version < _FREE_THREADED_FROM:
        return (
            "stable_structures needs free-threaded Python 3.14 or newer, or a Python with the GIL from 3.11; "
            f"this is free-threaded {on.version[0]}.{on.version[1]}"
        )
    return None
