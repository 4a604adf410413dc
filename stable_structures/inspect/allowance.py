# SPDX-License-Identifier: Apache-2.0
"""How much memory a verb may have, whatever the size of its files, and how its processes share it.

    BUDGET  =  the verb itself  +  each further process  +  one share for each process: cache | slices | batches

What is sized by memory asks here: the cache of a file (source.py), the slices of a survey (formats/survey.py), and how many
processes a verb starts by itself (jobs.py). The shares are small without harm: a system keeps what was read of a file, and a
tree is read in the order of its addresses. A file that is larger than the machine's memory is read more often by small slices.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

BUDGET: Final = 200 << 20
"""Bytes for all processes of a verb, without the system's cache of files (docs/inspect.md)."""
_ITSELF: Final = 64 << 20
"""The interpreter, numpy and this package, with what they hold of an image."""
_ARROW: Final = 48 << 20
"""Arrow, and what writes a file of Parquet."""
_PROCESS: Final = 20 << 20
"""What a process holds as soon as it works: pages of the verb that it changed."""
_PARQUET: Final = 8 << 20
"""What it holds if it writes Parquet."""
_LEAST: Final = 12 << 20
"""The least share that is given out; with less a survey would be slow."""

_processes = 1


@dataclass(frozen=True, slots=True)
class Share:
    """What one process may use, in bytes."""

    cache: int
    """Blocks of the file."""
    slices: int
    """Nodes of a tree that are to be read; the rest is for batches of entries."""


def share() -> Share:
    """Return what this process may use. O(1).

    >>> one = share()
    >>> one.cache + one.slices < BUDGET
    True
    """
    room = max(_LEAST, _room(_processes))
    return Share(room // 8, room * 5 // 8)


def most_processes(cores: int, *, arrow: bool = False) -> int:
    """Return how many processes the budget has room for; `arrow` if they write Parquet. O(cores).

    >>> most_processes(1), most_processes(64) < 64
    (1, True)
    """
    return max((count for count in range(2, cores + 1) if _room(count, arrow=arrow) >= _LEAST), default=1)


def share_among(processes: int) -> None:
    """Make this process one of several that share the budget: for a child, as soon as it is one."""
    global _processes  # noqa: PLW0603 - of this process, which does nothing else any more
    _processes = processes


def _room(processes: int, *, arrow: bool | None = None) -> int:
    """Return the share of each of several processes. A single one is the verb itself."""
    has_arrow = "pyarrow" in sys.modules if arrow is None else arrow
    each = _PROCESS + _PARQUET * has_arrow
    left = BUDGET - _ITSELF - _ARROW * has_arrow - (each * processes if processes > 1 else 0)
    return left // processes
