"""What the tests of the inspector share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder that is made there has a name of its own
"""Where Linux keeps files in the machine's memory: to make and remove one takes a tenth of the time that it takes on a disk."""
ENOUGH = 2 << 30
"""Free bytes of it, for all processes of a run. A container often has 64 MiB in all."""


@pytest.fixture(scope="module")
def without_fsync() -> Iterator[None]:
    """Files that are written are not waited for until they are on the disk: for tests of what is in them.

    That no name ever leads to half a file is held by test_outputs.py, which waits as users do.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def quick_folder() -> Iterator[Path]:
    """A folder off the disk where that can be, for all tests of this process."""
    usable = IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free >= ENOUGH
    with tempfile.TemporaryDirectory(prefix="stable-structures-tests-", dir=IN_MEMORY if usable else None) as folder:
        yield Path(folder)


@pytest.fixture
def quick_path(quick_folder: Path) -> Iterator[Path]:
    """Like `tmp_path`, off the disk where that can be: for tests that make thousands of small files, and are about what is in them."""
    with tempfile.TemporaryDirectory(dir=quick_folder) as folder:
        yield Path(folder)
