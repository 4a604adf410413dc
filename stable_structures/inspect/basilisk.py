# SPDX-License-Identifier: Apache-2.0
"""Reads the values of Basilisk, the Python CDK: a tag, then big-endian numbers and lengths (docs/platform.md#basilisk)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

from ..principal import InvalidPrincipal, Principal
from .budget import MOST_ITEMS, TooMuch, require_moderate

_FIXED: Final[dict[int, struct.Struct]] = {
    2: struct.Struct(">q"),
    3: struct.Struct(">d"),
    0x10: struct.Struct(">B"),
    0x11: struct.Struct(">H"),
    0x12: struct.Struct(">I"),
    0x13: struct.Struct(">Q"),
    0x14: struct.Struct(">b"),
    0x15: struct.Struct(">h"),
    0x16: struct.Struct(">i"),
    0x17: struct.Struct(">f"),
}
_NONE, _BOOL, _STR, _BYTES, _PRINCIPAL, _LIST, _DICT, _TUPLE = 0, 1, 4, 5, 6, 7, 8, 9
_DEPTH: Final = 100
_LARGE: Final = 2**61 - 1
_MOST_LARGE_KEYS: Final = 1000
"""Keys whose hashes their writer can choose; many of them make a dict slow."""


class BasiliskError(ValueError):
    """Bytes that Basilisk did not write."""


def decode(data: bytes) -> Any:
    r"""The value of an encoding. O(size). Raises `BasiliskError`, and `TooMuch` for more bytes or items than are guessed at.

    >>> decode(bytes.fromhex("0400000002") + b"hi"), decode(b"\x02" + (7).to_bytes(8, "big"))
    ('hi', 7)
    """
    require_moderate(data)
    value, end = _value(data, 0, _Left(MOST_ITEMS, _DEPTH))
    if end != len(data):
        raise BasiliskError(f"{len(data) - end} bytes behind the value")
    return value


def _take(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise BasiliskError(f"{size} bytes at {at} of {len(data)}")
    return data[at : at + size]


@dataclass(slots=True)
class _Left:
    """How many values, and how many levels, may still come."""

    values: int
    levels: int


def _value(data: bytes, at: int, left: _Left) -> tuple[Any, int]:
    if left.levels < 0:
        raise BasiliskError("nested too deep")
    left.values -= 1
    if left.values < 0:
        raise TooMuch(f"more than {MOST_ITEMS} values")
    tag = _take(data, at, 1)[0]
    at += 1
    if tag == _NONE:
        return None, at
    if tag == _BOOL:
        return _bool(_take(data, at, 1)[0]), at + 1
    if tag in _FIXED:
        number = _FIXED[tag]
        return number.unpack(_take(data, at, number.size))[0], at + number.size
    if tag > _TUPLE:
        raise BasiliskError(f"tag {tag}")
    size = int.from_bytes(_take(data, at, 4), "big")
    at += 4
    if tag in (_STR, _BYTES, _PRINCIPAL):
        return _of_bytes(tag, _take(data, at, size)), at + size
    return _items(tag, data, at, size, left)


def _bool(byte: int) -> bool:
    if byte > 1:
        raise BasiliskError(f"a bool of {byte}")
    return bool(byte)


def _of_bytes(tag: int, raw: bytes) -> Any:
    try:
        return raw if tag == _BYTES else raw.decode() if tag == _STR else Principal.from_text(raw.decode())
    except (UnicodeDecodeError, InvalidPrincipal) as error:
        raise BasiliskError(str(error)) from None


def _items(tag: int, data: bytes, at: int, count: int, left: _Left) -> tuple[Any, int]:
    """A list, tuple or dict of `count` items; each has one byte at least."""
    if count > len(data) - at:
        raise BasiliskError(f"{count} items in {len(data) - at} bytes")
    items = []
    left.levels -= 1
    for _ in range(count * (2 if tag == _DICT else 1)):
        value, at = _value(data, at, left)
        items.append(value)
    left.levels += 1
    if tag == _DICT:
        if sum(isinstance(key, tuple) or (isinstance(key, (int, float)) and abs(key) >= _LARGE) for key in items[::2]) > _MOST_LARGE_KEYS:
            raise TooMuch(f"more than {_MOST_LARGE_KEYS} keys that are no text and no usual number")
        try:
            return dict(zip(items[::2], items[1::2], strict=True)), at
        except TypeError as error:
            raise BasiliskError(f"a key of a dict: {error}") from None
    return (items if tag == _LIST else tuple(items)), at
