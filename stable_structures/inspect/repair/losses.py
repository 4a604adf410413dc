# SPDX-License-Identifier: Apache-2.0
"""What `repair` tells of each memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_MOST_LISTED: Final = 1000


@dataclass(slots=True)
class Salvage:
    """What became of one memory."""

    memory: int | None
    kind: str
    expected: int | None
    """The number of entries by the structure's header; None if that is damaged or there are none."""
    kept: int = 0
    lost: list[str] = field(default_factory=list)
    """What is gone, each with its place; the first thousand."""
    notes: list[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Entries that are gone, by the header's count."""
        return 0 if self.expected is None else max(0, self.expected - self.kept)

    @property
    def whole(self) -> bool:
        """Return whether nothing was lost."""
        return not self.lost and not self.missing

    def lose(self, what: str) -> None:
        """Something is gone."""
        if len(self.lost) < _MOST_LISTED:
            self.lost.append(what)

    def note(self, what: str) -> None:
        """Something to know, though nothing is gone."""
        if len(self.notes) < _MOST_LISTED:
            self.notes.append(what)
