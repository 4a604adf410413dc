# SPDX-License-Identifier: Apache-2.0
"""Where the package can run, checked before anything is imported that would fail with a stranger message."""

import sys

_FREE_THREADED_FROM = (3, 14)  # cffi's first


def refusal(
    *,
    system: str = sys.platform,
    byteorder: str = sys.byteorder,
    bits: int = sys.maxsize.bit_length() + 1,
    implementation: str = sys.implementation.name,
    free_threaded: bool = "t" in getattr(sys, "abiflags", ""),
    version: tuple[int, int] = sys.version_info[:2],
) -> str | None:
    """Return why the package cannot run on this interpreter, or None if it can. O(1)."""
    if system == "win32":
        return "stable_structures runs on Linux and macOS; on Windows, use it in WSL"
    if byteorder != "little" or bits != 64 or not system.startswith(("linux", "darwin")):
        return (
            "stable_structures runs on 64-bit little-endian Linux and macOS (x86-64, arm64); "
            f"this is a {bits}-bit {byteorder}-endian Python on {system}"
        )
    if implementation != "cpython":
        return f"stable_structures needs CPython 3.11 or newer; this is {implementation}"
    if free_threaded and version < _FREE_THREADED_FROM:
        return (
            "stable_structures needs free-threaded Python 3.14 or newer, or a Python with the GIL from 3.11; "
            f"this is free-threaded {version[0]}.{version[1]}"
        )
    return None
