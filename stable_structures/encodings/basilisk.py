# SPDX-License-Identifier: Apache-2.0
"""Basilisk's encoding of keys and values: one tag byte, then the payload, integers big-endian (docs/platform.md#basilisk).

| tag | value | payload |
|---|---|---|
| 00 | None | - |
| 01 | bool | 1 byte |
| 02 | int | 8 bytes, signed |
| 03 | float | 8 bytes |
| 04 05 06 | str, bytes, Principal (its text) | length (4), bytes |
| 07 09 | list, tuple | count (4), items |
| 08 | dict | count (4), keys and values in insertion order |
| 10-13 | nat8 nat16 nat32 nat64 | 1 2 4 8 bytes |
| 14-16 | int8 int16 int32 | 1 2 4 bytes |
| 17 | float32 | 4 bytes |

10 to 17 are written only if the structure was given that type. Keys are ordered by these bytes: so text by its
length in bytes first, and negative plain integers behind the positive ones.

The harness reads what the canister wrote itself; the inspector reads bytes that anybody may have written, so it sets limits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from .limits import TooMuch

NONE, BOOL, INT, FLOAT, TEXT, BYTES, PRINCIPAL, LIST, DICT, TUPLE = range(0x0A)
NUMBERS: Final[dict[int, struct.Struct]] = {
    INT: struct.Struct(">q"),
    FLOAT: struct.Struct(">d"),
    0x10: struct.Struct(">B"),
    0x11: struct.Struct(">H"),
    0x12: struct.Struct(">I"),
    0x13: struct.Struct(">Q"),
    0x14: struct.Struct(">b"),
    0x15: struct.Struct(">h"),
    0x16: struct.Struct(">i"),
    0x17: struct.Struct(">f"),
}
COUNT: Final = struct.Struct(">I")


class BasiliskError(ValueError):
    """Bytes that Basilisk did not write."""


@dataclass(slots=True)
class Reader:
    """Reads one value."""

    data: bytes
    principal: Callable[[str], Any]
    """Makes a principal of its text; raises `ValueError` if the text is not one."""
    levels: int
    """How deep lists, tuples and dicts may nest."""
    values: int | None = None
    """How many values may still come; None: any number."""
    strict: bool = False
    """A bool is 0 or 1; Basilisk itself takes every other byte for True."""
    check_keys: Callable[[list[Any]], None] | None = None
    """Looks at the keys of a dict before it is made."""

    def read(self, at: int = 0) -> tuple[Any, int]:
        r"""Return the value at `at`, and where it ends. O(size). Raises `BasiliskError`, and `TooMuch` for too many values.

        >>> Reader(b"\x07\x00\x00\x00\x02\x01\x01\x00", str, levels=10).read()
        ([True, None], 8)
        """
        if self.values is not None:
            self.values -= 1
            if self.values < 0:
                raise TooMuch("more values than are shown")
        data = self.data
        if at >= len(data):
            raise BasiliskError(f"1 byte at {at} of {len(data)}")
        tag, at = data[at], at + 1
        number = NUMBERS.get(tag)
        if number is not None:
            return number.unpack(self._take(at, number.size))[0], at + number.size
        if tag == NONE:
            return None, at
        if tag == BOOL:
            return self._bool(self._take(at, 1)[0]), at + 1
        if tag > TUPLE:
            raise BasiliskError(f"unknown tag 0x{tag:02x}")
        count = COUNT.unpack(self._take(at, COUNT.size))[0]
        at += COUNT.size
        if tag <= PRINCIPAL:
            return self._of_bytes(tag, self._take(at, count)), at + count
        return self._items(tag, at, count)

    def _take(self, at: int, size: int) -> bytes:
        if at + size > len(self.data):
            raise BasiliskError(f"{size} bytes at {at} of {len(self.data)}")
        return self.data[at : at + size]

    def _bool(self, byte: int) -> bool:
        if self.strict and byte > 1:
            raise BasiliskError(f"a bool of {byte}")
        return byte != 0

    def _of_bytes(self, tag: int, raw: bytes) -> Any:
        if tag == BYTES:
            return raw
        try:
            text = raw.decode()
            return text if tag == TEXT else self.principal(text)
        except ValueError as error:
            raise BasiliskError(str(error)) from error

    def _items(self, tag: int, at: int, count: int) -> tuple[Any, int]:
        """Read a list, tuple or dict of `count` items; each has at least one byte."""
        if count > len(self.data) - at:
            raise BasiliskError(f"{count} items in {len(self.data) - at} bytes")
        if self.levels == 0:
            raise BasiliskError("nested too deep")
        self.levels -= 1
        items = []
        for _ in range(count * 2 if tag == DICT else count):
            value, at = self.read(at)
            items.append(value)
        self.levels += 1
        return (self._dict(items) if tag == DICT else items if tag == LIST else tuple(items)), at

    def _dict(self, items: list[Any]) -> dict[Any, Any]:
        if self.check_keys is not None:
            self.check_keys(items[::2])
        try:
            return dict(zip(items[::2], items[1::2], strict=True))
        except TypeError as error:
            raise BasiliskError(f"a key of a dict: {error}") from None


def encoded(value: Any, principal: type[Any], text_of: Callable[[Any], str]) -> bytes:  # noqa: PLR0911 - one for each tag
    r"""Return the bytes of a value; those of class `principal` are written as `text_of` says. O(size).

    Raises `ValueError` for what Basilisk cannot store, `struct.error` for a number out of range.

    >>> encoded([7, "x"], complex, str)
    b'\x07\x00\x00\x00\x02\x02\x00\x00\x00\x00\x00\x00\x00\x07\x04\x00\x00\x00\x01x'
    """
    if value is None:
        return b"\x00"
    if isinstance(value, bool):
        return b"\x01\x01" if value else b"\x01\x00"
    if isinstance(value, int):
        return b"\x02" + NUMBERS[INT].pack(value)
    if isinstance(value, float):
        return b"\x03" + NUMBERS[FLOAT].pack(value)
    if isinstance(value, str):
        return _sized(TEXT, value.encode())
    if isinstance(value, (bytes, bytearray)):
        return _sized(BYTES, bytes(value))
    if isinstance(value, principal):
        return _sized(PRINCIPAL, text_of(value).encode())
    return _encoded_items(value, lambda item: encoded(item, principal, text_of))


def _encoded_items(value: Any, inner: Callable[[Any], bytes]) -> bytes:
    if isinstance(value, dict):
        return bytes([DICT]) + COUNT.pack(len(value)) + b"".join(inner(key) + inner(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return bytes([LIST if isinstance(value, list) else TUPLE]) + COUNT.pack(len(value)) + b"".join(map(inner, value))
    raise ValueError(f"Cannot encode {type(value).__name__} for stable storage")


def _sized(tag: int, data: bytes) -> bytes:
    return bytes([tag]) + COUNT.pack(len(data)) + data
