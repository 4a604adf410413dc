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
from .unnamed import BrokenStream, Packed, unpack

MAGIC: Final = b"\x1f\x8b"
_HEADER, _TRAILER, _DEFLATE = 10, 8, 8
_HEADER_CRC, _EXTRA, _NAME, _COMMENT, _UNKNOWN = 2, 4, 8, 16, 0xE0
_READ: Final = 64 << 10
_CUT_OFF: Final = "a gzip is not cut off"


def unzip(what: str | Path | Source, progress: Progress = no_progress, name: str = "") -> FileSource:
    """Unpack a gzip as `unpack` does. O(size). Raises `Unreadable`."""
    return unpack(_Gzip, what, progress, name)


class _Gzip(Packed):
    """The members of a gzip, in order, up to the first that is not whole."""

    word, format, cut_off, most_ratio = "gzip", "gzip", _CUT_OFF, 200

    def parts(self) -> Iterator[bytes]:
        while True:
            yield from self._member()
            if not self._follows():
                return

    def _follows(self) -> bool:
        """Return whether another member begins here. Zeros up to the end are padding."""
        left = self.packed.nbytes - self.at
        if left == 0 or self.packed.is_zero(self.at):
            return False
        found = self.packed.read(self.at, min(left, 3))
        if found[:2] != MAGIC[: len(found)]:
            self.note("nothing follows the last member of a gzip", f"{left:,} bytes: {found.hex()}...", "the end, or another member")
            return False
        return True

    def _take(self, length: int, what: str) -> bytes:
        left = self.packed.nbytes - self.at
        if left < length:
            self.fail(f"{_CUT_OFF} (it ends inside {what})", f"{left} bytes", f"at least {length} bytes")
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
            self.fail("the header of a gzip has the method and flags that are defined", head[:4].hex(), "1f8b08 and flags below 20")
        if flags & _EXTRA:
            self._take(int.from_bytes(self._take(2, "a header"), "little"), "a header")
        for flag in (_NAME, _COMMENT):
            while flags & flag and self._take(1, "a header") != b"\0":
                pass
        if flags & _HEADER_CRC:
            total = zlib.crc32(self.packed.read(start, self.at - start)) & 0xFFFF
            found = int.from_bytes(self._take(2, "a header"), "little")
            if found != total:
                self.note("the checksum of a gzip's header is that of its bytes", f"{found:04x}", f"{total:04x}")

    # ---- the data ----

    def _member(self) -> Iterator[bytes]:
        self._header()
        total, size, stream = 0, 0, zlib.decompressobj(-zlib.MAX_WBITS)
        for data in self._inflated(stream):
            total, size = zlib.crc32(data, total), size + len(data)
            self.some = self.some or bool(data)
            yield data
        if not stream.eof:
            raise BrokenStream
        trailer = self._take(_TRAILER, "the checksum and size at its end")
        for found, made, what in ((trailer[:4], total, "checksum"), (trailer[4:], size % 2**32, "size")):
            if found != made.to_bytes(4, "little"):
                said = int.from_bytes(found, "little")
                self.note(f"the {what} at the end of a gzip is that of its data", f"{said:08x}", f"{made:08x}")

    def _inflated(self, stream: Any) -> Iterator[bytes]:
        """Return what the stream holds; `at` is behind it where it ends. Notes what keeps it from ending."""
        while not stream.eof:
            fed = self.packed.read(self.at, min(_READ, self.packed.nbytes - self.at))
            if not fed:
                yield stream.flush()
                if not stream.eof:
                    self.note(f"{_CUT_OFF} (it ends inside its data)", f"{self.at} bytes", "more")
                return
            before = stream.copy()
            try:
                yield from _pieces(stream, fed)
            except zlib.error as error:
                yield from self._up_to_error(before, fed)
                self.fail(f"the data of a gzip can be unpacked ({error})", self.at, "")
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
