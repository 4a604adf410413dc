# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLR2004 - the numbers are those of LEB128
"""LEB128: whole numbers in groups of seven bits, the lowest first; all bytes but the last have their highest bit set.

Candid, Wasm and the formats that are built on them all use it. Bytes of strangers may announce numbers of any length, so a
reader says how many bytes it accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

U64_BYTES: Final = 10
"""What a number of 64 bits needs at most."""


class TooLong(ValueError):
    """A number has more bytes than its reader accepts."""


def unsigned(data: Sequence[int], at: int, most: int | None = None) -> tuple[int, int]:
    r"""Return the unsigned number at an offset, and where it ends. O(its bytes).

    Raises `IndexError` if it is cut off, and `TooLong` if it has more than `most` bytes.

    >>> unsigned(b"\xe5\x8e\x26", 0)
    (624485, 3)
    """
    result = shift = 0
    while most is None or shift < 7 * most:
        byte = data[at]
        at += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result, at
        shift += 7
    raise TooLong(f"a number of more than {most} bytes")


def signed(data: Sequence[int], at: int, most: int | None = None) -> tuple[int, int]:
    r"""Return the signed number at an offset, and where it ends. O(its bytes). Raises as `unsigned`.

    >>> signed(b"\xc0\xbb\x78", 0)
    (-123456, 3)
    """
    result, end = unsigned(data, at, most)
    return (result - (1 << 7 * (end - at)) if data[end - 1] & 64 else result), end


def uleb(number: int) -> bytes:
    """Return an unsigned number of any size as LEB128. O(its bytes).

    >>> uleb(624485).hex()
    'e58e26'
    """
    if number < 128:
        return bytes((number,))
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def sleb(number: int) -> bytes:
    """Return a signed number of any size as LEB128. O(its bytes).

    >>> sleb(-123456).hex()
    'c0bb78'
    """
    out = bytearray()
    while True:
        byte = number & 127
        number >>= 7
        if (number == 0 and not byte & 64) or (number == -1 and byte & 64):
            out.append(byte)
            return bytes(out)
        out.append(byte | 128)
