# SPDX-License-Identifier: Apache-2.0
"""Convert indices to what the core takes."""

from __future__ import annotations

import operator
from typing import Any, Final

from ..errors import OutOfBounds

LIMIT: Final = 2**63
"""An index that is past every end, and still a number for the core."""
LOWEST: Final = -LIMIT
"""An index that is before every beginning."""


def bounded(index: Any) -> int:
    """Convert an index that counts from 0, as in the crate; one that is too large for the core becomes one past every end."""
    number = operator.index(index)
    if number < 0:
        raise OutOfBounds(f"expected an index of 0 or more, got {number}; use v[{number}] to count from the end")
    return min(number, LIMIT)
