# SPDX-License-Identifier: Apache-2.0
"""Compiled modules, kept in the user's cache folder from one process to the next.

A compiled module is machine code that will run, so a file is used only if this user owns it, nobody else may write to it or
to its folder, and its content has the checksum in front of it. Files are written under another name and renamed, so a killed
process leaves no half-written one. `STABLE_STRUCTURES_CACHE` names another folder; if it is empty, nothing is cached.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import mmap
import os
import platform
import stat
import sys
import tempfile
from pathlib import Path
from typing import Final

_VARIABLE: Final = "STABLE_STRUCTURES_CACHE"
_FOREIGN: Final = stat.S_IWGRP | stat.S_IWOTH
_DIGEST: Final = 32
_MOST_FILES: Final = 400


@functools.cache
def _machine() -> str:
    """Return the machine that code is compiled for."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        flags = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
        return platform.machine() + "\n".join(flags)
    return platform.machine() + platform.processor()


def key(data: bytes, settings: str) -> str:
    """Return the cache name of a module compiled with these settings, on this machine. O(size)."""
    digest = hashlib.sha256(data)
    digest.update(f"\n{settings}\n{sys.platform}\n{_machine()}".encode())
    return digest.hexdigest()


def folder() -> Path | None:
    """Return the cache folder; None if there is none."""
    given = os.environ.get(_VARIABLE)
    if given is not None:
        return Path(given) if given else None
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "stable-structures" / "wasm"
    except RuntimeError:  # the home folder is unknown
        return None


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid == os.getuid() and not found.st_mode & _FOREIGN


def load(name: str) -> memoryview | None:
    """Return the cached content of this name; None if there is none that can be trusted. O(size)."""
    where = folder()
    if where is None:
        return None
    try:
        if not _is_ours(where.stat()):
            return None
        descriptor = os.open(where / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - of the descriptor that is looked at
            if not _is_ours(os.fstat(descriptor)):
                return None
            found = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    except (OSError, ValueError):  # an empty file cannot be mapped
        return None
    digest, content = found[:_DIGEST], found[_DIGEST:]
    return content if hashlib.sha256(content).digest() == digest else None


def store(name: str, content: bytes) -> None:
    """Cache something, if possible. O(size)."""
    where = folder()
    if where is None:
        return
    with contextlib.suppress(OSError):
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours(where.stat()):
            return
        descriptor, temporary = tempfile.mkstemp(dir=where)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - of the descriptor that was just made
                file.write(hashlib.sha256(content).digest() + content)
            Path(temporary).replace(where / name)
            _prune(where)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _prune(where: Path) -> None:
    """Remove the oldest files if there are many. Names are counted first: to look at each file takes as long as a small module."""
    if len(os.listdir(where)) <= _MOST_FILES:  # noqa: PTH208 - not as paths
        return
    files = [path for path in where.iterdir() if path.is_file()]
    if len(files) > _MOST_FILES:
        for path in sorted(files, key=lambda one: one.stat().st_mtime)[: _MOST_FILES // 4]:
            path.unlink(missing_ok=True)


def forget(name: str) -> None:
    """Remove something from the cache."""
    where = folder()
    if where is not None:
        with contextlib.suppress(OSError):
            (where / name).unlink(missing_ok=True)
