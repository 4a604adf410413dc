# SPDX-License-Identifier: Apache-2.0
"""A file with the log that a program left beside it: what the memory is by both, without writing to either.

The log (native/wal.c has its picture) holds what was committed and is perhaps not in the file yet. Opening the memory
for writing would put it there; for looking, its pieces are laid over the file's bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .. import _native as native
from ..memory import PAGE_SIZE
from .source import BLOCK as READ_AT_ONCE
from .source import BytesSource, FileSource, Source, Unreadable

_BLOCK: Final = 4096
_HEADER: Final = struct.Struct("<8sIIQQQQQQ")
_RECORD: Final = struct.Struct("<IHHQQQQIIQQ")
_PIECE: Final = struct.Struct("<QQ")
_RECORD_MAGIC: Final = 0x43524D53
_PACKED: Final = 2
_SUM_AT, _TABLE_AT, _PACKING = 56, 64, 64
_MOST_KEPT: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class _Piece:
    """Bytes [start, stop) of the memory lie in the log from `at` on."""

    start: int
    stop: int
    at: int


@dataclass(slots=True)
class Log:
    """The records of the generation that counts, up to the first that is not complete."""

    path: Path
    source: Source
    base_pages: int
    pages: int
    """Of the memory after the last record."""
    records: int = 0
    pieces: dict[int, list[_Piece]] = field(default_factory=dict)
    """By block of the memory, in the order in which they were written."""
    gap: bool = False
    """Whether records follow behind one that is not complete: more than a crash was at work."""


def read_log(path: Path) -> Log:
    """The log in this file. O(length). Raises `Unreadable` where it is none."""
    source = _kept(FileSource(path))
    heads = (_header(source, at) for at in (0, _BLOCK))
    best = max((head for head in heads if head is not None), default=None)
    if best is None:
        raise Unreadable(f"{path}: none of the two headers of a log is valid")
    _, salt, base_pages, previous = best
    log, at = Log(path, source, base_pages, base_pages), 2 * _BLOCK
    while (found := _next_record(log, at, salt, previous)) is not None:
        at, previous = found
    log.gap = _goes_on(log, at, salt)
    return log


def _kept(source: FileSource) -> Source:
    """The bytes as they are now where they are few: a program that goes on writes new records over them."""
    if source.nbytes > _MOST_KEPT:
        return source
    data = source.read(0, source.nbytes)
    source.close()
    return BytesSource(data)


def _header(source: Source, at: int) -> tuple[int, int, int, int] | None:
    """Generation, salt, pages of the file, and the sum."""
    if at + _HEADER.size > source.nbytes:
        return None
    data = source.read(at, _HEADER.size)
    magic, version, block, generation, salt, pages, _inode, _zero, total = _HEADER.unpack(data)
    good = (magic, version, block) == (b"SMWALv01", 1, _BLOCK) and total == native.checksum([data[:_SUM_AT]], 0)
    return (generation, salt, pages, total) if good else None


def _next_record(log: Log, at: int, salt: int, previous: int) -> tuple[int, int] | None:
    """Takes the next record into the log; gives its end and its sum. It is at the place, or at the next block."""
    for place in dict.fromkeys((at, -(-at // _BLOCK) * _BLOCK)):
        if place + _RECORD.size <= log.source.nbytes:
            head = _RECORD.unpack(log.source.read(place, _RECORD.size))
            if head[:2] == (_RECORD_MAGIC, 1) and head[3:6] == (salt, log.records + 1, previous):
                end = _take(log, place, head)
                if end is not None:
                    return end, head[-1]
    return None


def _take(log: Log, at: int, head: tuple[int, ...]) -> int | None:
    """The end of the record, or None where it is not complete."""
    _, _, flags, _, _, previous, pages, count, _, length, total = head
    unit = 1 if flags & _PACKED else _BLOCK
    table_end = -(-(_TABLE_AT + _PIECE.size * count) // unit) * unit
    end = at + table_end + length * unit
    if end > log.source.nbytes or total != native.checksum(_parts(log.source, at, end), previous):
        return None
    table = list(_PIECE.iter_unpack(log.source.read(at + _TABLE_AT, _PIECE.size * count)))
    if not _is_placed(table, length, pages * PAGE_SIZE // unit):
        raise Unreadable(f"{log.path}: the pieces of the record at {at} are not in order, in the memory and as long as its data")
    place = at + table_end
    for first, size in table:
        _lay(log, _Piece(first * unit, (first + size) * unit, place))
        place += size * unit
    log.pages, log.records = pages, log.records + 1
    return -(-end // _PACKING) * _PACKING


def _is_placed(table: list[tuple[int, int]], length: int, room: int) -> bool:
    """Whether the sum of a record was made for pieces that make sense."""
    ends = [0, *(first + size for first, size in table)]
    in_order = all(end <= first for end, (first, _) in zip(ends, table, strict=False))
    return in_order and ends[-1] <= room and sum(size for _, size in table) == length


def _parts(source: Source, at: int, end: int) -> Iterator[bytes]:
    """The bytes of a record, with zeros for its sum."""
    yield source.read(at, _SUM_AT) + bytes(8)
    for start in range(at + _TABLE_AT, end, READ_AT_ONCE):
        yield source.read(start, min(READ_AT_ONCE, end - start))


def _lay(log: Log, piece: _Piece) -> None:
    for block in range(piece.start // _BLOCK, -(-piece.stop // _BLOCK)):
        start, stop = max(piece.start, block * _BLOCK), min(piece.stop, (block + 1) * _BLOCK)
        log.pieces.setdefault(block, []).append(_Piece(start, stop, piece.at + start - piece.start))


def _goes_on(log: Log, at: int, salt: int) -> bool:
    """Whether a later record of this generation begins at a block behind the last that was taken."""
    for place in range(-(-at // _BLOCK) * _BLOCK, log.source.nbytes - _RECORD.size, _BLOCK):
        head = _RECORD.unpack(log.source.read(place, _RECORD.size))
        if head[:2] == (_RECORD_MAGIC, 1) and head[3] == salt and head[4] > log.records + 1:
            return True
    return False


class LoggedSource(FileSource):
    """The memory as its last commit left it: the file, with the pieces of the log over it."""

    def __init__(self, path: Path, log: Log) -> None:
        super().__init__(path)
        self.log = log
        self._file_bytes = self.nbytes
        self.nbytes = max(self.nbytes, log.pages * PAGE_SIZE)

    def _read(self, offset: int, length: int) -> bytes:
        there = max(0, min(length, self._file_bytes - offset))
        data = (super()._read(offset, there) if there else b"") + bytes(length - there)
        blocks = range(offset // _BLOCK, -(-(offset + length) // _BLOCK))
        pieces = self.log.pieces
        mine = [block for block in blocks if block in pieces] if len(blocks) < len(pieces) else sorted(pieces.keys() & set(blocks))
        return self._patched(data, offset, mine) if mine else data

    def _patched(self, data: bytes, offset: int, blocks: list[int]) -> bytes:
        made = bytearray(data)
        for block in blocks:
            for piece in self.log.pieces[block]:
                start, stop = max(piece.start, offset), min(piece.stop, offset + len(data))
                if start < stop:
                    made[start - offset : stop - offset] = self.log.source.read(piece.at + start - piece.start, stop - start)
        return bytes(made)

    def extents(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Those of the file, and the blocks in the log."""
        found = list(super().extents(start, min(stop, self._file_bytes)))
        for block in self.log.pieces:
            low, high = max(start, block * _BLOCK), min(stop, (block + 1) * _BLOCK)
            found += [(low, high)] if low < high else []
        return _merged(sorted(found))

    def close(self) -> None:
        """Closes the file and the log."""
        super().close()
        with suppress(AttributeError):  # of one that was never opened
            self.log.source.close()


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
