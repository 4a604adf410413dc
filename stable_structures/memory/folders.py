# SPDX-License-Identifier: Apache-2.0
"""Folders on the disk: removed with all that is in them, and their names made durable."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def remove_folder(path: Path) -> None:
    """Remove a folder of ours with all that is in it, as far as the system lets us. O(files).

    Not by `shutil.rmtree`: if a signal handler raises in it, it closes a descriptor twice, and that error hides the handler's.
    """
    if not path.is_dir() or path.is_symlink():
        _quietly(path.unlink)
        return
    for inner in inside(path):
        remove_folder(inner)
    _quietly(path.rmdir)


def sync_folder(path: Path) -> None:
    """Write the names in a folder to the disk. O(1). Raises `OSError`, also where the file system cannot do that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _quietly(remove: Callable[[], None]) -> None:
    with suppress(OSError):
        remove()


def inside(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing where the system does not let us look. O(names)."""
    with suppress(OSError):
        return list(folder.iterdir())
    return []
