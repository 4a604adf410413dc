# SPDX-License-Identifier: Apache-2.0
"""Stable structures of the Internet Computer for Python, with the same bytes as the Rust crate ic-stable-structures."""

import sys as _sys
from pkgutil import extend_path as _extend_path

if _sys.byteorder != "little" or _sys.maxsize < 2**63 - 1 or not _sys.platform.startswith(("linux", "darwin")):
    raise ImportError(
        "stable_structures runs on 64-bit little-endian Linux and macOS (x86-64, arm64); "
        f"this is a {_sys.maxsize.bit_length() + 1}-bit {_sys.byteorder}-endian Python on {_sys.platform}"
    )

# In a checkout after a plain `pip install .`, `python -m` finds this directory first, and the compiled module is in the installed one.
__path__ = _extend_path(__path__, __name__)

from .btreemap import StableBTreeMap
from .memory import MAX_PAGES, PAGE_SIZE, Memory, RestrictedMemory, StableMemory
from .storable import u64
