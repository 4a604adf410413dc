# SPDX-License-Identifier: Apache-2.0
"""Many canisters at a glance: one line for each image or snapshot, whatever is wrong with some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from .fit import open_image
from .formats.layout import Damage
from .image import Image, SchemaFiles
from .missing import UNFINISHED
from .report import Report, inspect
from .source import TROUBLES, NotWhole
from .steady import CHANGED_TEXT, Look, state_of, steady

SOUND, DAMAGED, UNREADABLE, UNKNOWN, CHANGED = "sound", "damaged", "unreadable", "not recognised", "changed while read"


@dataclass(slots=True)
class Line:
    """What there is to know of one canister at a glance. Sizes in bytes; None is what cannot be known."""

    file: str
    result: str
    """sound (as far as was looked), damaged, unreadable, not recognised, or changed while read"""
    size: int | None = None
    used: int | None = None
    structures: dict[str, int] = field(default_factory=dict)
    """How many there are of each kind."""
    entries: int | None = None
    taken_at: str | None = None
    """When the snapshot was taken, in UTC; None if it is not a snapshot."""
    age_seconds: int | None = None
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def survey(names: Iterable[str], files: SchemaFiles | None = None, now: datetime | None = None) -> Iterator[Line]:
    """Iterate over a line for each image or snapshot, as `inspect` sees it; what cannot be read is a line too. O(1) each in its size.

    >>> [line.result for line in survey(["/no/such/file"])]
    ['unreadable']
    """
    for name in names:
        yield _line(name, files, now or datetime.now(UTC))


def _line(name: str, files: SchemaFiles | None, now: datetime) -> Line:
    try:
        (image, report), is_changing = steady(lambda: _look(name, files))
    except TROUBLES as error:
        found = DAMAGED if isinstance(error, (NotWhole, Damage)) else UNREADABLE
        return Line(name, found, warnings=[str(error) or type(error).__name__])
    empty = image.recognition.kind == "empty" and not image.recognition.certain
    taken_at = None if image.snapshot is None else image.snapshot.taken_at
    is_unknown = report.kind == "unknown" or empty
    result = CHANGED if is_changing else DAMAGED if report.damaged else UNKNOWN if is_unknown else SOUND
    line = Line(name, result, report.nbytes, report.used, *_content(report))
    if taken_at is not None:
        line.taken_at, line.age_seconds = taken_at.isoformat(timespec="seconds"), int((now - taken_at).total_seconds())
    line.warnings = [CHANGED_TEXT] if is_changing else _warnings(report)
    return line


def _look(name: str, files: SchemaFiles | None) -> Look[tuple[Image, Report]]:
    with open_image(name, files=files) as image:
        report = inspect(image)
        wrong = report.wrong()
        return Look((image, report), wrong, state_of(image, wrong))


def _content(report: Report) -> tuple[dict[str, int], int | None]:
    counted = [one for one in report.memories if one.length is not None]
    kinds = Counter("set" if one.facts.get("set") else one.kind.removesuffix(" index") for one in counted)
    if not counted and report.kind not in ("manager", "empty", "unknown"):
        kinds[report.kind] += 1
    return dict(kinds), sum(one.length or 0 for one in counted) if counted else None


def _warnings(report: Report) -> list[str]:
    """Return what somebody should look at: damage first, then what is missing, then notes."""
    found = list(report.damage)
    if report.snapshot is not None and report.snapshot["state"] in UNFINISHED:
        found.append(f"the snapshot is {report.snapshot['state']}")
    for one in report.memories:
        where = "" if one.memory is None else f"memory {one.memory}: "
        found += [f"{where}{text}" for text in one.notes if one.damaged]
        found += [f"{where}{one.lost_chunks:,} orphaned chunks"] if one.lost_chunks else []
    return [*dict.fromkeys([*found, *report.notes])]
