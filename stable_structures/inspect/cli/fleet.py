# SPDX-License-Identifier: Apache-2.0
"""`inspect` of many canisters: a table with one line for each, or JSON lines as they come."""

from __future__ import annotations

import json
from typing import Final

from ...encodings.json_form import to_json
from ..fleet import CHANGED as IS_CHANGED
from ..fleet import DAMAGED as IS_DAMAGED
from ..fleet import SOUND as IS_SOUND
from ..fleet import Line, survey
from ..image import SchemaFiles
from ..values import shorten
from .guard import CHANGED, DAMAGED, SOUND, TROUBLE
from .text import Printer, ProgressBar, human

_COLUMNS: Final = ("canister", "result", "size", "used", "structures", "age", "warnings")
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_WIDE: Final = 60


def inspect_fleet(names: list[str], files: SchemaFiles, *, as_json: bool) -> int:
    """Show a line for each image; return the exit code of the worst."""
    printer, lines = Printer(), []
    with ProgressBar() as bar:
        for number, line in enumerate(survey(names, files), 1):
            lines.append(line)
            bar("looking at canisters", number, len(names))
            if as_json:
                printer.write(json.dumps(to_json(line.to_dict()), ensure_ascii=True) + "\n")
    if not as_json:
        printer.table(_COLUMNS, [_row(line) for line in lines])
        printer.line(_sum(lines))
    return max((_code(line) for line in lines), default=TROUBLE)


def _code(line: Line) -> int:
    return {IS_SOUND: SOUND, IS_DAMAGED: DAMAGED, IS_CHANGED: CHANGED}.get(line.result, TROUBLE)


def _row(line: Line) -> tuple[object, ...]:
    kinds = ", ".join(kind if count == 1 else f"{count} {kind}s" for kind, count in sorted(line.structures.items()))
    first = shorten(line.warnings[0], _WIDE) if line.warnings else ""
    more = f" (+{len(line.warnings) - 1})" if len(line.warnings) > 1 else ""
    return line.file, line.result, human(line.size), human(line.used), kinds, _age(line.age_seconds), first + more


def _age(seconds: int | None) -> str | None:
    """Return how long ago, in the unit that suits.

    >>> _age(30), _age(7200), _age(3 * 86_400)
    ('30 s', '2 h', '3 d')
    """
    if seconds is None:
        return None
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{max(0, seconds)} s"


def _sum(lines: list[Line]) -> str:
    sound = sum(line.result == IS_SOUND for line in lines)
    size, used = (human(sum(getattr(line, name) or 0 for line in lines)) for name in ("size", "used"))
    return f"{len(lines)} canisters, {sound} sound: {size}, {used} used"
