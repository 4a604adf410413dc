# SPDX-License-Identifier: Apache-2.0
"""A gzip as a source: unpacked to a temporary file, as far as it can be, with what is wrong with it.

    member     header (10 bytes, and what its flags say) | deflate | CRC-32 (4) | size modulo 2^32 (4)
    file       members, one behind the other; zeros may follow

Every byte that the stream holds before its end, or before its first error, is kept: the standard library's reader gives up
the last block of a stream that ends early.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..source import BLOCK, FileSource, Progress, Source, no_progress
from .layout import Finding
from .unnamed import MOST, unpacked

MAGIC: Final = b"\x1f\x8b"
_HEADER, _TRAILER, _DEFLATE = 10, 8, 8
_HEADER_CRC, _EXTRA, _NAME, _COMMENT, _UNKNOWN = 2, 4, 8, 16, 0xE0
_READ: Final = 64 << 10
_MOST_UNPACKED: Final = MOST
_MOST_DATA: Final = 1 << 30
_MOST_RATIO: Final = 200
"""For data that is not zeros: a gzip that unpacks to a GiB, and to more than this many times its size, is not a memory."""
_CUT_OFF: Final = "a gzip is not cut off"


def unzip(what: str | Path | Source, progress: Progress = no_progress, name: str = "") -> FileSource:
    """Unpack a gzip, which messages call `name`, and close it, to a temporary file that has no name, with holes for zeros. O(size).

    What is wrong with it stands in the source's `problems`. Raises `Unreadable` if the file cannot be read at all, or
    unpacks to more than a memory can be, or to far more data than it has itself.
    """
    with what if isinstance(what, Source) else FileSource(what) as packed:
        most_data = max(_MOST_DATA, _MOST_RATIO * packed.nbytes)
        reader = _Reader(packed, lambda done: progress("unpacking", done, packed.nbytes))
        return unpacked(reader, packed.path if isinstance(packed, FileSource) else name, _MOST_UNPACKED, most_data)


class _Broken(Exception):
    """The stream cannot be read further."""


class _Reader:
    """The members of a gzip, in order, up to the first that is not whole."""

    word, cut_off = "gzip", _CUT_OFF

    def __init__(self, packed: Source, tell: Any) -> None:
        self.packed, self.tell = packed, tell
        self.at = 0
        self.problems: list[Finding] = []
        self.is_nothing = False
        """Whether nothing can be unpacked, though it is not cut off there."""
        self._some = False

    def unpacked(self) -> Iterator[bytes]:
        """Return the content of the members. Ends at the first error, and notes it."""
        try:
            while True:
                yield from self._member()
                if not self._follows():
                    return
        except _Broken:
            return

    def _follows(self) -> bool:
        """Return whether another member begins here. Zeros up to the end are padding."""
        left = self.packed.nbytes - self.at
        if left == 0 or self.packed.is_zero(self.at):
            return False
        found = self.packed.read(self.at, min(left, 3))
        if found[:2] != MAGIC[: len(found)]:
            self._note("nothing follows the last member of a gzip", f"{left:,} bytes: {found.hex()}...", "the end, or another member")
            return False
        return True

    def _note(self, rule: str, found: int | str, expected: int | str) -> None:
        self.problems.append(Finding(None, "gzip", rule, self.at, self.at, found, expected))

    def _fail(self, rule: str, found: int | str, expected: int | str) -> None:
        self._note(rule, found, expected)
        self.is_nothing = not self._some and not rule.startswith(_CUT_OFF)
        raise _Broken

    def _take(self, length: int, what: str) -> bytes:
        left = self.packed.nbytes - self.at
        if left < length:
            self._fail(f"{_CUT_OFF} (it ends inside {what})", f"{left} bytes", f"at least {length} bytes")
        data = self.packed.read(self.at, length)
        self.at += length
        return data

    # ---- the header ----

    def _header(self) -> None:
        start = self.at
        head = self._take(_HEADER, "a header")
        flags = head[3]
        if head[2] != _DEFLATE or flags & _UNKNOWN:
            self.at = start
            self._fail("the header of a gzip has the method and flags that are defined", head[:4].hex(), "1f8b08 and flags below 20")
        if flags & _EXTRA:
            self._take(int.from_bytes(self._take(2, "a header"), "little"), "a header")
        for flag in (_NAME, _COMMENT):
            while flags & flag and self._take(1, "a header") != b"\0":
                pass
        if flags & _HEADER_CRC:
            total = zlib.crc32(self.packed.read(start, self.at - start)) & 0xFFFF
            found = int.from_bytes(self._take(2, "a header"), "little")
            if found != total:
                self._note("the checksum of a gzip's header is that of its bytes", f"{found:04x}", f"{total:04x}")

    # ---- the data ----

    def _member(self) -> Iterator[bytes]:
        self._header()
        total, size, stream = 0, 0, zlib.decompressobj(-zlib.MAX_WBITS)
        for data in self._inflated(stream):
            total, size = zlib.crc32(data, total), size + len(data)
            self._some = self._some or bool(data)
            yield data
        if not stream.eof:
            raise _Broken
        trailer = self._take(_TRAILER, "the checksum and size at its end")
        for found, made, what in ((trailer[:4], total, "checksum"), (trailer[4:], size % 2**32, "size")):
            if found != made.to_bytes(4, "little"):
                said = int.from_bytes(found, "little")
                self._note(f"the {what} at the end of a gzip is that of its data", f"{said:08x}", f"{made:08x}")

    def _inflated(self, stream: Any) -> Iterator[bytes]:
        """Return what the stream holds; `at` is behind it where it ends. Notes what keeps it from ending."""
        while not stream.eof:
            fed = self.packed.read(self.at, min(_READ, self.packed.nbytes - self.at))
            if not fed:
                yield stream.flush()
                if not stream.eof:
                    self._note(f"{_CUT_OFF} (it ends inside its data)", f"{self.at} bytes", "more")
                return
            before = stream.copy()
            try:
                yield from _pieces(stream, fed)
            except zlib.error as error:
                yield from self._up_to_error(before, fed)
                self._fail(f"the data of a gzip can be unpacked ({error})", self.at, "")
            self.at += len(fed) - len(stream.unused_data)
            self.tell(self.at)

    def _up_to_error(self, stream: Any, fed: bytes) -> Iterator[bytes]:
        """Return the same bytes once more, each by itself, so that nothing is lost of what comes before the one that is wrong."""
        for i in range(len(fed)):
            try:
                yield from _pieces(stream, fed[i : i + 1])
            except zlib.error:
                return
            self.at += 1


def _pieces(stream: Any, fed: bytes) -> Iterator[bytes]:
    """Return what these bytes unpack to, a block at a time."""
    data = stream.decompress(fed, BLOCK)
    yield data
    while stream.unconsumed_tail and not stream.eof:
        data = stream.decompress(stream.unconsumed_tail, BLOCK)
        yield data
