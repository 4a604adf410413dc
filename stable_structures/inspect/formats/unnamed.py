# SPDX-License-Identifier: Apache-2.0
"""What is not a file to read at any place: written to a temporary file without a name, with holes where there are zeros."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ..source import BLOCK, FileSource, Unreadable, any_set

_GRAIN: Final = 4 << 10
MOST: Final = 500 << 30
"""As much as a stable memory can have."""


class Unnamed:
    """A temporary file that is written from front to back, and then read. A context manager that removes its name."""

    def __init__(self, path: str | Path, most: int = MOST, most_data: int = MOST, words: tuple[str, str] = ("it holds", "")) -> None:
        self.path, self._words = path, words
        self._most, self._most_data, self._left = most, most_data, most_data
        self._file = tempfile.NamedTemporaryFile(prefix="stable-structures-")  # noqa: SIM115 - closed by __exit__

    def write(self, data: bytes) -> None:
        """Add bytes. O(size). Raises `Unreadable` if it is more than a memory can be, or more than was allowed that is not zero."""
        for at in range(0, len(data), _GRAIN):
            piece = data[at : at + _GRAIN]
            if any_set(piece):
                self._left -= self._file.write(piece)
            else:
                self._file.seek(len(piece), os.SEEK_CUR)
        if self._left < 0 or self._file.tell() > self._most:
            limit = f"{self._most_data:,} bytes of data" if self._left < 0 else f"{self._most:,} bytes"
            raise Unreadable(f"{self.path}: cannot be read: {self._words[0]} more than {limit}{self._words[1]}")

    def source(self) -> FileSource:
        """Return what was written; it lives on without the name."""
        self._file.truncate()
        self._file.flush()
        source = FileSource(self._file.name)
        source.path = Path(self.path)
        return source

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._file.close()


def drained(descriptor: int, name: str) -> FileSource:
    """Return all that a pipe gives until it ends. O(size). Raises `Unreadable`."""
    if os.isatty(descriptor):
        raise Unreadable(f"{name}: it is a terminal; give a file, or let a program write into the pipe")
    with Unnamed(name) as out:
        try:
            while data := os.read(descriptor, BLOCK):
                out.write(data)
        except OSError as error:
            if isinstance(error, Unreadable):
                raise
            raise Unreadable(f"{name}: cannot be read: {error.strerror}") from None
        return out.source()
