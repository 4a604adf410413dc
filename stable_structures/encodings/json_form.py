# SPDX-License-Identifier: Apache-2.0
"""Values as JSON can say them: bytes as "0x...", principals as text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from .candid.types import Some

_MOST_BITS: Final = 1 << 13
"""Of an integer that is shown in decimal digits: Python refuses more than 4,300 of these, and takes long for many."""


def to_json(value: Any) -> Any:  # noqa: PLR0911 - one for each kind of value
    """Return a value as JSON can say it: bytes as "0x...", principals as text, what JSON lacks as text. O(size).

    >>> to_json((b"ab", 2**60, float("nan"), {1: None}))
    ['0x6162', 1152921504606846976, 'NaN', [[1, None]]]
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _MOST_BITS else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value).replace("nan", "NaN").replace("inf", "Infinity")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"0x{bytes(value).hex()}"
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: to_json(item) for key, item in value.items()}
        return [[to_json(key), to_json(item)] for key, item in value.items()]
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    if isinstance(value, Some):
        return [to_json(value.value)]
    return _words(value)


def _words(value: Any) -> str:
    """Return the text of a value; its type if that is a number of too many digits."""
    try:
        return str(value)
    except (ValueError, RecursionError):
        return f"<{type(value).__name__}>"


_encode: Final = json.JSONEncoder(ensure_ascii=False).encode


def json_text(value: Any) -> str:
    r"""JSON on one line, in which whatever is not printable is escaped: a terminal obeys none of it. O(size).

    >>> print(json_text({"name": "Eve\u202e"}))
    {"name": "Eve\u202e"}
    """
    text = _encode(value)
    return text if text.isprintable() else "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)
