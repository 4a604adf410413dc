# SPDX-License-Identifier: Apache-2.0
"""What is not a file to read at any place: written to a temporary file without a name, with holes where there are zeros."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from ..source import BLOCK, FileSource, Unreadable, any_set
from .layout import Finding

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


class Packed(Protocol):
    """A stream that is unpacked: what it is called, and what is wrong with it."""

    word: str
    cut_off: str
    """What rules begin with that say that it ends too early."""
    problems: list[Finding]
    is_nothing: bool
    """Whether nothing can be unpacked, though it is not cut off there."""
    at: int

    def unpacked(self) -> Iterator[bytes]:
        """Return its content, up to its first error."""


def unpacked(stream: Packed, path: str | Path, most: int, most_data: int) -> FileSource:
    """Return the content of a stream, as far as it can be unpacked, with what is wrong with it in `problems`. O(size).

    Raises `Unreadable` if it is nothing of its kind, or unpacks to more than `most` bytes, or to more than `most_data` that are not zero.
    """
    too_much = f", which no {stream.word} of a memory does; unpack it by itself if it is one"
    with Unnamed(path, most, most_data, ("it unpacks to", too_much)) as out:
        for data in stream.unpacked():
            out.write(data)
        if stream.is_nothing:
            first = stream.problems[0]
            raise Unreadable(f"{path}: cannot be read: {first.rule}: found {first.found} at byte {stream.at}")
        source = out.source()
    source.problems += stream.problems
    if stream.problems:
        early = any(one.rule.startswith(stream.cut_off) for one in stream.problems)
        source.notes.append(f"the {stream.word} {'ends too early' if early else 'is damaged'}; what it holds up to there is shown")
    return source


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
