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
length in bytes first, and negative plain integers after the positive ones.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from ...errors import CorruptMemory
from ...principal import InvalidPrincipal
from ...storable.blame import raise_of_moment
from .kinds import CdkPrincipal


class Principal(CdkPrincipal):
    """Basilisk's principal: created from bytes or text, compared by value."""

    __slots__ = ()

    def __init__(self, arg: bytes | str | None = None) -> None:
        super().__init__(CdkPrincipal.from_str(arg).bytes if isinstance(arg, str) else arg or b"")

    def __eq__(self, other: object) -> bool:
        return self._raw == other._raw if isinstance(other, Principal) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._raw)

    def __repr__(self) -> str:
        return f"Principal({self.to_str()!r})"


class Hint:
    """A type in the brackets of a structure that has its own encoding."""

    _stable_tag: int
    _stable_fmt: str


class nat8(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x10, ">B"


class nat16(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x11, ">H"


class nat32(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x12, ">I"


class nat64(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x13, ">Q"


class int8(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x14, ">b"


class int16(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x15, ">h"


class int32(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x16, ">i"


class float32(Hint, float):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x17, ">f"


HINTS: Final[tuple[type[Hint], ...]] = (nat8, nat16, nat32, nat64, int8, int16, int32, float32)
_STRUCTS: Final[dict[int, struct.Struct]] = {0x02: struct.Struct(">q"), 0x03: struct.Struct(">d")} | {
    hint._stable_tag: struct.Struct(hint._stable_fmt) for hint in HINTS
}
_MOST_NESTING: Final = 400
_COUNT: Final = struct.Struct(">I")
_TEXT, _BYTES, _PRINCIPAL, _LIST, _DICT, _TUPLE = range(0x04, 0x0A)


def hint_of(given: Any) -> type[Hint] | None:
    """Return the type in the brackets, if it has its own encoding."""
    return given if isinstance(given, type) and issubclass(given, Hint) else None


def encode(value: Any, hint: type[Hint] | None = None) -> bytes:
    r"""Return the bytes of a value. O(size). Raises `ValueError` for what Basilisk cannot store, `struct.error` for a number out of range.

    >>> encode("Ada"), encode(258, nat16), encode([True, None])
    (b'\x04\x00\x00\x00\x03Ada', b'\x11\x01\x02', b'\x07\x00\x00\x00\x02\x01\x01\x00')
    """
    if hint is not None:
        return bytes([hint._stable_tag]) + _STRUCTS[hint._stable_tag].pack(value)
    if value is None:
        return b"\x00"
    if isinstance(value, bool):
        return b"\x01\x01" if value else b"\x01\x00"
    if isinstance(value, int):
        return b"\x02" + _STRUCTS[0x02].pack(value)
    if isinstance(value, float):
        return b"\x03" + _STRUCTS[0x03].pack(value)
    return _encode_sized(value)


def _encode_sized(value: Any) -> bytes:
    if isinstance(value, str):
        return _sized(0x04, value.encode())
    if isinstance(value, (bytes, bytearray)):
        return _sized(0x05, bytes(value))
    if isinstance(value, CdkPrincipal):
        return _sized(0x06, value.to_str().encode())
    if isinstance(value, list):
        return b"\x07" + _COUNT.pack(len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        return b"\x08" + _COUNT.pack(len(value)) + b"".join(encode(key) + encode(item) for key, item in value.items())
    if isinstance(value, tuple):
        return b"\x09" + _COUNT.pack(len(value)) + b"".join(map(encode, value))
    raise ValueError(f"Cannot encode {type(value).__name__} for stable storage")


def _sized(tag: int, data: bytes) -> bytes:
    return bytes([tag]) + _COUNT.pack(len(data)) + data


def decode(data: bytes) -> Any:
    r"""Return the value decoded from bytes. O(size). Raises `CorruptMemory` if they are not a value.

    >>> decode(b"\x02" + bytes(7) + b"\x07"), decode(b"\x09\x00\x00\x00\x01\x03" + bytes(8))
    (7, (0.0,))
    """
    try:
        value, _ = _decode(data, 0, 0)
    except (struct.error, IndexError, UnicodeDecodeError, TypeError) as error:
        raise CorruptMemory(
            f"{len(data)} bytes are not a value that Basilisk wrote: {error}; the memory is damaged, or another program wrote it"
        ) from error
    return value


def _decode(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    tag, at = data[at], at + 1
    if tag == 0x00:
        return None, at
    if tag == 0x01:
        return data[at] != 0, at + 1
    number = _STRUCTS.get(tag)
    if number is not None:
        return number.unpack_from(data, at)[0], at + number.size
    if _TEXT <= tag <= _TUPLE:
        count = _COUNT.unpack_from(data, at)[0]
        return (
            _decode_text(data, at + _COUNT.size, tag, count)
            if tag <= _PRINCIPAL
            else _decode_items(data, at + _COUNT.size, tag, count, depth)
        )
    raise CorruptMemory(f"Unknown stable encoding tag 0x{tag:02x}; the memory is damaged, or another program wrote it")


def _decode_text(data: bytes, at: int, tag: int, size: int) -> tuple[Any, int]:
    raw, end = data[at : at + size], at + size
    if len(raw) < size:
        raise IndexError(f"expected {size} more bytes, found {len(raw)}")
    if tag == _BYTES:
        return raw, end
    text = raw.decode()
    if tag == _TEXT:
        return text, end
    try:
        return Principal(text), end
    except Exception as error:
        raise_of_moment(error)
        raise CorruptMemory(f"invalid principal {text!r}: {InvalidPrincipal.__name__}; the memory is damaged") from error


def _decode_items(data: bytes, at: int, tag: int, count: int, depth: int) -> tuple[Any, int]:
    if depth == _MOST_NESTING:
        raise CorruptMemory(f"the value nests more than {_MOST_NESTING} deep; the memory is damaged, or another program wrote it")
    items = []
    for _ in range(count * 2 if tag == _DICT else count):
        item, at = _decode(data, at, depth + 1)
        items.append(item)
    if tag == _DICT:
        return dict(zip(items[::2], items[1::2], strict=True)), at
    return (items if tag == _LIST else tuple(items)), at
