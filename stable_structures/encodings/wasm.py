# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLR2004 - codes of the Wasm format
r"""The sections of a Wasm module, which is read front to back and may be gzipped.

"\\0asm" 01 00 00 00, then sections: kind (1 byte), size (LEB128), content

  0 custom   1 types   2 imports   3 functions   4 tables   5 memory   6 globals   7 exports   8 start   9 elements
  10 code   11 data   12 number of data segments
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from ..errors import SourceError
from .leb128 import U64_BYTES, TooLong, unsigned

MAGIC: Final = b"\0asm"
GZIP: Final = b"\x1f\x8b\x08"
HEADER: Final = b"\0asm\x01\0\0\0"
CUSTOM: Final = 0

_MOST_UNPACKED: Final = 100 << 20


class Reader:
    """Reads a section from its start to its end; raises `IndexError` past the end."""

    def __init__(self, data: bytes | memoryview, at: int = 0) -> None:
        self.data = data
        self.at = at

    def byte(self) -> int:
        """Read one byte."""
        value = self.data[self.at]
        self.at += 1
        return value

    def number(self) -> int:
        """Read an unsigned LEB128 number."""
        try:
            result, self.at = unsigned(self.data, self.at, U64_BYTES)
        except TooLong as error:
            raise IndexError(str(error)) from None
        return result

    def numbers(self, count: int) -> Iterable[int]:
        """Read `count` numbers. Fast if each is one byte, as for the types of most functions."""
        short = bytes(self.data[self.at : self.at + count])
        if len(short) == count and short.isascii():
            self.at += count
            return short
        return [self.number() for _ in range(count)]

    def take(self, size: int) -> bytes:
        """Read `size` bytes."""
        if self.at + size > len(self.data):
            raise IndexError("a part ends after its section")
        self.at += size
        return bytes(self.data[self.at - size : self.at])

    def text(self) -> str:
        """Read a name."""
        return self.take(self.number()).decode()

    def limits(self) -> tuple[int, int]:
        """Read flag and minimum of a table or memory."""
        flags = self.byte()
        first = self.number()
        if flags & 1:
            self.number()
        return flags, first

    def constant(self) -> None:
        """Skip a constant expression."""
        while True:
            op = self.byte()
            if op == 0x0B:
                return
            if op in (0x41, 0x42, 0x23, 0xD2, 0xD0):
                self.number()
            elif op == 0x43:
                self.take(4)
            elif op == 0x44:
                self.take(8)
            elif op == 0xFD:
                self.number()
                self.take(16)


def sections(data: bytes, only: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Iterate over kind and content of each section, or of those of one kind. Raises `IndexError` if one is cut."""
    reader = Reader(data, len(HEADER))
    while reader.at < len(data):
        kind, size = reader.byte(), reader.number()
        if only is None or kind == only:
            yield kind, reader.take(size)
            continue
        reader.at += size
        if reader.at > len(data):
            raise IndexError("a part ends after its section")


def custom_sections(given: bytes) -> dict[str, bytes]:
    r"""Return the custom sections of a module by name, the first of each. O(size). Raises `SourceError` if it is not a module.

    >>> custom_sections(HEADER + b"\x00\x06\x03did{}")
    {'did': b'{}'}
    """
    data, found = unpacked(given), dict[str, bytes]()
    if not data.startswith(HEADER):
        raise SourceError(f"these {len(given)} bytes are not a Wasm module; pass the .wasm or .wasm.gz that the build wrote")
    try:
        for _, content in sections(data, CUSTOM):
            reader = Reader(content)
            found.setdefault(reader.text(), content[reader.at :])
    except (IndexError, UnicodeDecodeError) as error:
        raise SourceError(f"the Wasm module of {len(given)} bytes is cut off or damaged ({error}); build or download it again") from None
    return found


class TooLarge(SourceError):
    """A module that is larger than the platform takes."""


def unpacked(given: bytes) -> bytes:
    """Return a module without its gzip. O(size). Raises `SourceError` for a damaged one, and `TooLarge`."""
    if not given.startswith(GZIP):
        return given
    try:
        unpacker = zlib.decompressobj(wbits=31)
        data = unpacker.decompress(given, _MOST_UNPACKED + 1)
    except zlib.error as error:
        raise SourceError(f"the gzip file of {len(given)} bytes is damaged: {error}; build or download it again") from None
    if len(data) > _MOST_UNPACKED:
        raise TooLarge(f"it is larger than {_MOST_UNPACKED} bytes unpacked")
    if not unpacker.eof:
        raise SourceError(f"the gzip file of {len(given)} bytes is cut off; build or download it again")
    return data
