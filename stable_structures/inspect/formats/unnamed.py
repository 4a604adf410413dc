# SPDX-License-Identifier: Apache-2.0
"""What is not a file to read at any place: written to a temporary file without a name, with holes where there are zeros."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Self

from ..source import BLOCK, FileSource, Progress, Source, Unreadable, any_set
from .layout import Finding

_GRAIN: Final = 4 << 10
MOST: Final = 500 << 30
"""As much as a stable memory can have."""
_MOST_DATA: Final = 1 << 30


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


class BrokenStream(Exception):
    """A packed stream cannot be read further."""


class Packed:
    """A stream that is unpacked, up to its first error: what it is called, how far it was read, and what is wrong with it."""

    word: str
    format: str
    cut_off: str
    """What rules begin with that say that it ends too early."""
    most_ratio: int
    """A stream that unpacks to a GiB of data, and to more than this many times its size, is not a memory."""

    def __init__(self, packed: Source, tell: Callable[[int], None]) -> None:
        self.packed, self.tell = packed, tell
        self.at = 0
        self.problems: list[Finding] = []
        self.is_nothing = False
        """Whether nothing can be unpacked, though it is not cut off there."""
        self.some = False
        """Whether anything was unpacked."""

    def unpacked(self) -> Iterator[bytes]:
        """Return the content. Ends at the first error, and notes it."""
        try:
            yield from self.parts()
        except BrokenStream:
            return

    def parts(self) -> Iterator[bytes]:
        """Return the content; raise `BrokenStream` at the first error, which is noted."""
        raise NotImplementedError

    def note(self, rule: str, found: int | str, expected: int | str) -> None:
        """Note that a rule is broken here."""
        self.problems.append(Finding(None, self.format, rule, self.at, self.at, found, expected))

    def fail(self, rule: str, found: int | str, expected: int | str) -> NoReturn:
        """Note a broken rule that ends the stream."""
        self.note(rule, found, expected)
        self.is_nothing = not self.some and not rule.startswith(self.cut_off)
        raise BrokenStream


def unpack(kind: type[Packed], what: str | Path | Source, progress: Progress, name: str) -> FileSource:
    """Unpack a stream, which messages call `name`, and close it, to a temporary file without a name, with holes for zeros. O(size).

    What is wrong with it stands in the source's `problems`. Raises `Unreadable` if nothing of it can be unpacked, or if it unpacks to
    more than a memory can be, or to far more data than it has itself.
    """
    with what if isinstance(what, Source) else FileSource(what) as packed:
        stream = kind(packed, lambda done: progress("unpacking", done, packed.nbytes))
        path = packed.path if isinstance(packed, FileSource) else name
        source = _content(stream, path, max(_MOST_DATA, kind.most_ratio * packed.nbytes))
    source.problems += stream.problems
    if stream.problems:
        early = any(one.rule.startswith(stream.cut_off) for one in stream.problems)
        source.notes.append(f"the {stream.word} {'ends too early' if early else 'is damaged'}; what it holds up to there is shown")
    return source


def _content(stream: Packed, path: str | Path, most_data: int) -> FileSource:
    too_much = f", which no {stream.word} of a memory does; unpack it by itself if it is one"
    with Unnamed(path, MOST, most_data, ("it unpacks to", too_much)) as out:
        _write_all(out, stream.unpacked())
        if stream.is_nothing:
            first = stream.problems[0]
            raise Unreadable(f"{path}: cannot be read: {first.rule}: found {first.found} at byte {stream.at}")
        return out.source()


def _write_all(out: Unnamed, pieces: Iterable[bytes]) -> None:
    for data in pieces:
        out.write(data)


def drained(descriptor: int, name: str) -> FileSource:
    """Return all that a pipe gives until it ends. O(size). Raises `Unreadable`."""
    if os.isatty(descriptor):
        raise Unreadable(f"{name}: it is a terminal; give a file, or let a program write into the pipe")
    with Unnamed(name) as out:
        try:
            _write_all(out, iter(lambda: os.read(descriptor, BLOCK), b""))
        except OSError as error:
            if isinstance(error, Unreadable):
                raise
            raise Unreadable(f"{name}: cannot be read: {error.strerror}") from None
        return out.source()
