# SPDX-License-Identifier: Apache-2.0
"""A file with the log that a program left beside it: what the memory is by both, without writing to either.

The log holds what was committed and is perhaps not in the file yet. Opening the memory for writing would put it there;
for looking, its pieces are laid over the file's bytes. The core reads the log, by the code that recovers from it, so
that both say the same of every log.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ... import _native as native
from ...memory.cached import CachedFile
from ...memory.memory import PAGE_SIZE, NativeMemory
from ..remote.objects import RemoteObject
from ..remote.place import Place, RemotePlace
from ..source import FileSource, Unreadable
from .layout import Finding

LOG_MAGIC: Final = b"SMWALv01"
"""The first bytes of a log (native/storage/wal.c)."""
_BLOCK: Final = 4096
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class _Piece:
    """Bytes [start, stop) of the memory lie in the log from `at` on."""

    start: int
    stop: int
    at: int


class WalContents:
    """What a log holds for a file of so many bytes: the records that recovery would put into it.

    `damage` says why recovery would refuse the log; the records are then those before what is wrong, and none where the
    log is not of this file.
    """

    def __init__(self, path: Place, handle: Any, file_bytes: int) -> None:
        self.path, self.handle = path, handle
        self._unseen = native.unseen()
        self._unseen[0] = handle
        self.records, self.base_pages, self.pages = int(handle.records), int(handle.base_pages), int(handle.pages)
        """The last of them is the size of the memory after the last record."""
        self.damage: Finding | None = None
        refused = native.log_damage(handle, file_bytes)
        if refused is not None:
            rule, address, number, limit = refused
            self.damage = Finding(None, "log", f"{path.name}: {rule}", address, address, number, limit)
        at_rest, pages = file_bytes % PAGE_SIZE == 0, file_bytes // PAGE_SIZE
        self.is_of_file = self.records > 0 and at_rest and self.base_pages <= pages <= self.pages
        """Whether the records can be laid over the file."""
        self.pieces: dict[int, list[_Piece]] = {}
        """By block of the memory, in the order in which they were written."""
        if self.is_of_file:
            for offset, length, at in native.log_spans(handle).tolist():
                self._lay(_Piece(offset, offset + length, at))

    def read(self, at: int, length: int) -> bytes:
        """Bytes of the log. Raises `Unreadable`."""
        try:
            return native.log_read(self.handle, at, length)
        except OSError as error:
            raise Unreadable(f"{self.path}: cannot be read: {error.strerror}") from None

    def laid_over(self, data: bytes, offset: int) -> bytes:
        """Return bytes of the file from `offset` on with what the log holds of them. O(bytes + pieces). Raises `Unreadable`."""
        blocks, pieces = range(offset // _BLOCK, -(-(offset + len(data)) // _BLOCK)), self.pieces
        mine = [block for block in blocks if block in pieces] if len(blocks) < len(pieces) else sorted(pieces.keys() & set(blocks))
        if not mine:
            return data
        made = bytearray(data)
        for piece in (one for block in mine for one in pieces[block]):
            start, stop = max(piece.start, offset), min(piece.stop, offset + len(data))
            if start < stop:
                made[start - offset : stop - offset] = self.read(piece.at + start - piece.start, stop - start)
        return bytes(made)

    def _lay(self, piece: _Piece) -> None:
        for block in range(piece.start // _BLOCK, -(-piece.stop // _BLOCK)):
            start, stop = max(piece.start, block * _BLOCK), min(piece.stop, (block + 1) * _BLOCK)
            self.pieces.setdefault(block, []).append(_Piece(start, stop, piece.at + start - piece.start))


def read_log(path: Path, file: FileSource) -> WalContents | None:
    """Return what the log at this path holds for the file; None if there is none. O(length). Raises `Unreadable`.

    A program that goes on writing changes log and file while they are read, so what looks damaged is read again then.
    """
    for tries in range(_TRIES):
        try:
            handle = native.open_log(str(path))
        except (OSError, MemoryError) as error:
            raise Unreadable(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        if handle is None:
            return None
        found = WalContents(path, handle, file.size_now() if file.is_written() else file.nbytes)
        if found.damage is None or tries == _TRIES - 1 or not file.is_written():
            return found
    return None


def read_far_log(place: RemotePlace, file_bytes: int) -> WalContents:
    """Return what a log on another machine holds for an image of so many bytes. O(length). Raises `Unreadable`, also if it is large."""
    data = place.read_bytes()
    try:
        return WalContents(place, native.log_of(data), file_bytes)
    except (OSError, MemoryError) as error:
        raise Unreadable(f"{place}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


class LoggedObject(RemoteObject):
    """An object on another machine, with the pieces of the log beside it over it. The log is in memory."""

    def __init__(self, found: RemoteObject, log: WalContents) -> None:
        super().__init__(found.name)
        self.notes += found.notes
        self.log, self._object = log, found
        self._version = {**found.version, "log": (int(log.handle.generation), log.records)}
        self.nbytes = max(found.nbytes, log.pages * PAGE_SIZE)

    def fetch(self, offset: int, length: int) -> bytes:
        """Return the bytes as the last commit left them."""
        there = max(0, min(length, self._object.nbytes - offset))
        data = self._object.fetch(offset, there) if there else b""
        return self.log.laid_over(data + bytes(length - there), offset)

    def close(self) -> None:
        """Let go of the connection."""
        self._object.close()


class LoggedSource(FileSource):
    """The memory as its last commit left it: the file, with the pieces of the log over it."""

    def __init__(self, path: Path, log: WalContents) -> None:
        super().__init__(path)
        self.log = log
        self._file_bytes = self.nbytes
        self.nbytes = max(self.nbytes, log.pages * PAGE_SIZE)

    def _cached(self, cache: int) -> NativeMemory:
        return CachedFile(self._fd, self._file_bytes, self.log.handle, self.nbytes, cache=cache)

    def _read(self, offset: int, length: int) -> bytes:
        there = max(0, min(length, self._file_bytes - offset))
        data = (super()._read(offset, there) if there else b"") + bytes(length - there)
        return self.log.laid_over(data, offset)

    def extents(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Those of the file, and the blocks in the log."""
        found = list(super().extents(start, min(stop, self._file_bytes)))
        for block in self.log.pieces:
            low, high = max(start, block * _BLOCK), min(stop, (block + 1) * _BLOCK)
            found += [(low, high)] if low < high else []
        return _merged(sorted(found))


def _merged(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start = stop = -1
    for low, high in ranges:
        if low > stop:
            if stop > start:
                yield start, stop
            start = low
        stop = max(stop, high)
    if stop > start:
        yield start, stop
