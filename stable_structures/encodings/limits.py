# SPDX-License-Identifier: Apache-2.0
"""How much may be spent on one encoded value that anybody may have written: bytes, depth and items."""

from __future__ import annotations

from typing import Final

MOST_BYTES: Final = 4 << 20
"""Of a value that is guessed at."""
MOST_DEPTH: Final = 100
MOST_ITEMS: Final = 200_000


class TooMuch(ValueError):
    """A value that exceeds a limit."""


def require_moderate(data: bytes) -> None:
    """Raise `TooMuch` for more bytes than are guessed at."""
    if len(data) > MOST_BYTES:
        raise TooMuch(f"{len(data):,} bytes; at most {MOST_BYTES:,} are guessed at")
