# SPDX-License-Identifier: Apache-2.0
"""Indices as the core takes them."""

from __future__ import annotations

import operator
from typing import Any, Final

from ..errors import OutOfBounds

LIMIT: Final = 2**63
"""An index that is past every end, and still a number for the core."""
LOWEST: Final = -LIMIT
"""An index that is before every beginning."""


def bounded(index: Any) -> int:
    """The crate's kind of index as the core takes it: what is too large for it is past every end."""
    number = operator.index(index)
    if number < 0:
        raise OutOfBounds(f"an index counts from 0, got {number}; v[{number}] counts from the end")
    return min(number, LIMIT)
