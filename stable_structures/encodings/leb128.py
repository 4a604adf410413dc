# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLR2004 - the numbers are those of LEB128
"""LEB128: whole numbers in groups of seven bits, the lowest first; all bytes but the last have their highest bit set.

Candid, Wasm and the formats that are built on them all use it. Bytes of strangers may announce numbers of any length, so a
reader says how many bytes it accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_SHORT: Final = 64
"""Bytes of a number that is put together byte by byte, which takes the square of their count."""
_DIGITS: Final = [f"{byte & 127:07b}" for byte in range(256)]
"""The binary digits of the number that are in each byte."""
U64_BYTES: Final = 10
"""What a number of 64 bits needs at most."""


class TooLong(ValueError):
    """A number has more bytes than its reader accepts."""


def unsigned(data: Sequence[int], at: int, most: int | None = None) -> tuple[int, int]:
    r"""Return the unsigned number at an offset, and where it ends. O(its bytes); their square if `most` is given.

    Raises `IndexError` if it is cut off, and `TooLong` if it has more than `most` bytes.

    >>> unsigned(b"\xe5\x8e\x26", 0)
    (624485, 3)
    """
    result, shift, start = 0, 0, at
    last = 7 * (_SHORT if most is None else most)
    while shift < last:
        byte = data[at]
        at += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result, at
        shift += 7
    if most is None:
        return _long(data, start, at)
    raise TooLong(f"a number of more than {most} bytes")


def _long(data: Sequence[int], start: int, at: int) -> tuple[int, int]:
    """Return as `unsigned`, by its binary digits, for a number that goes on at `at`."""
    while data[at] >= 128:
        at += 1
    digits = "".join([_DIGITS[byte] for byte in reversed(data[start : at + 1])])
    return int(digits, 2), at + 1


def signed(data: Sequence[int], at: int, most: int | None = None) -> tuple[int, int]:
    r"""Return the signed number at an offset, and where it ends. Costs and raises as `unsigned`.

    >>> signed(b"\xc0\xbb\x78", 0)
    (-123456, 3)
    """
    result, end = unsigned(data, at, most)
    return (result - (1 << 7 * (end - at)) if data[end - 1] & 64 else result), end


def uleb(number: int) -> bytes:
    """Return an unsigned number of any size as LEB128. O(its bytes^2), which counts from thousands of them on.

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
    """Return a signed number of any size as LEB128. O(its bytes^2), as `uleb`.

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
