# SPDX-License-Identifier: Apache-2.0
"""Names beside what a verb writes, until all of it is there, and what a verb that was killed left under them.

    .NAME-xxxxxxxxxxxx.part     a file or a folder; while somebody makes it, a lock of the system is on it

The system takes the lock away when the last process that makes it has ended, whatever ended that. So what has no lock is left
over, and the next verb that writes NAME removes it. Where locks are not known (on other systems than Linux, or some network file
systems), nothing is removed.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..memory.folders import remove_folder

LOCK: Final = struct.Struct("hhqqi")
"""The system's `struct flock`: type, whence, start, length, process."""
_HELD: Final = (1 << 62) + 1024
"""The byte that is locked: none that a memory has, nor the one that its writer locks."""
_LONGEST: Final = 40
_LETTERS: Final = 12


def name_beside(path: Path) -> Path:
    """Return a new temporary name for a path, in the same folder. O(1)."""
    return path.with_name(f"{_begin(path)}{secrets.token_hex(_LETTERS // 2)}.part")


def hold(descriptor: int) -> None:
    """Say that this process and its children make what is open, until it is closed in all of them. O(1)."""
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, LOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, _HELD, 1, 0))


def remove_leftovers(path: Path) -> None:
    """Remove what verbs that were killed left of this path. O(names in the folder)."""
    if sys.platform != "linux":
        return
    left = re.compile(re.escape(_begin(path)) + f"[0-9a-f]{{{_LETTERS}}}\\.part")
    try:
        there = list(path.parent.iterdir())
    except OSError:
        return
    for one in there:
        if left.fullmatch(one.name) and not _is_held(one):
            with suppress(OSError):
                remove_folder(one)


def _begin(path: Path) -> str:
    return f".{path.name[:_LONGEST]}-"


def _is_held(path: Path) -> bool:
    """Return whether somebody makes it, or it cannot be known."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _HELD, 1, 0))
        return bool(LOCK.unpack(found)[0] != fcntl.F_UNLCK)
    except OSError:
        return True
    finally:
        os.close(descriptor)
