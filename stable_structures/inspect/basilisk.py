# SPDX-License-Identifier: Apache-2.0
"""Values of Basilisk, the Python CDK, within the limits of bytes that anybody may have written (encodings/basilisk.py)."""

from __future__ import annotations

from typing import Any

from ..encodings.basilisk import BasiliskError, Reader
from ..encodings.limits import MOST_DEPTH, MOST_ITEMS, TooMuch, count_items, require_moderate
from ..principal import Principal
from .budget import LARGE, MOST_ODD_KEYS

__all__ = ["BasiliskError", "decode"]


def decode(data: bytes) -> Any:
    r"""Return the value of an encoding. O(size). Raises `BasiliskError`, and `TooMuch` for more bytes or items than are guessed at.

    >>> decode(bytes.fromhex("0400000002") + b"hi"), decode(b"\x02" + (7).to_bytes(8, "big"))
    ('hi', 7)
    """
    require_moderate(data)
    reader = Reader(data, Principal.from_text, MOST_DEPTH, MOST_ITEMS, strict=True, check_keys=_check_keys)
    try:
        value, end = reader.read()
    finally:
        count_items(MOST_ITEMS - (reader.values or 0))
    if end != len(data):
        raise BasiliskError(f"{len(data) - end} bytes behind the value")
    return value


def _check_keys(keys: list[Any]) -> None:
    large = sum(isinstance(key, tuple) or (isinstance(key, (int, float)) and abs(key) >= LARGE) for key in keys)
    if large > MOST_ODD_KEYS:
        raise TooMuch(f"more than {MOST_ODD_KEYS} keys that are neither text nor usual numbers")
