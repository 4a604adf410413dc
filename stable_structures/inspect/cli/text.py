# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLC0415 - rich takes a tenth of a second that pipes need not wait for
"""What the verbs print: tables that fit, colours and progress by rich on a terminal, plain text elsewhere."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from itertools import zip_longest
from types import TracebackType
from typing import IO, Any, Final, Self

_STEP: Final = 1024
_GAP: Final = 2
"""Between two columns of a table."""
_LEAST: Final = 10
"""Columns of texts are folded to this width at least."""
_LEFT: Final = frozenset(
    {
        "canister",
        "result",
        "structures",
        "warnings",
        "structure",
        "what",
        "rule",
        "key",
        "value",
        "before",
        "after",
        "types",
        "note",
        "order",
        "memory is",
        "first entry",
        "found",
        "expected",
    }
)


def clean(value: object) -> str:
    """Text without what a terminal would obey or cannot show."""
    text = str(value)
    return "".join(letter if letter.isprintable() else "\N{MIDDLE DOT}" for letter in text)


def silence(stream: IO[str]) -> None:
    """Discard all output from now on: its reader is gone, and Python would otherwise fail to write the rest at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Printer:
    """Writes to a stream, with rich where it is a terminal. A pipe that its reader closed takes the rest in silence."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream
        self._console: Any = None
        if self.stream.isatty():
            from rich.console import Console

            self._console = Console(file=self.stream, highlight=False, soft_wrap=True)

    def line(self, text: str = "", style: str = "") -> None:
        """One line."""
        text = clean(text)
        if self._console is not None:
            self._console.print(text, style=style or None, markup=False)
        else:
            self.write(f"{text}\n")

    def folded(self, text: str, room: int | None = None, style: str = "") -> None:
        """One line, in as many as it takes where it is wider than the terminal, COLUMNS or `room`; without all these one."""
        indent, width = " " * (len(text) - len(text.lstrip())), self.width or room
        if width is None:
            self.line(text, style)
            return
        for line in _folded(clean(text.lstrip()), max(_LEAST, width - len(indent))):
            self.line(indent + line, style)

    def write(self, text: str) -> None:
        """Text as it is."""
        try:
            self.stream.write(text)
        except BrokenPipeError:
            silence(self.stream)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], room: int | None = None) -> None:
        """Print a table; leave out a column that is empty in every row.

        Texts are folded so that it fits the terminal, or COLUMNS, or `room`; if that is too narrow, each row is one line.
        """
        cells = [["" if cell is None else clean(cell) for cell in row] for row in rows]
        kept = [i for i in range(len(columns)) if any(row[i] for row in cells)]
        columns, cells = [columns[i] for i in kept], [[row[i] for i in kept] for row in cells]
        widths = _widths(columns, cells, self.width or room)
        if widths is None:
            for row in cells:
                self.folded(", ".join(f"{name} {cell}" for name, cell in zip(columns, row, strict=True) if cell))
            return
        for number, row in enumerate((list(columns), *cells)):
            for line in _folded_row(columns, row, widths):
                self.line(line, "" if number else "bold")

    @property
    def width(self) -> int | None:
        """Columns of the terminal, or those that COLUMNS says; None if nobody says it."""
        said = os.environ.get("COLUMNS", "")
        if said.isdecimal() and int(said):
            return int(said)
        return None if self._console is None else int(self._console.width)


def _widths(columns: Sequence[str], rows: list[list[str]], room: int | None) -> list[int] | None:
    """Return the width of each column: texts narrower than they are where all is wider than `room`. None if that is not enough."""
    widths = [max(map(_width, column)) for column in zip(columns, *rows, strict=True)]
    least = [min(width, max(_LEAST, _width(name))) if name in _LEFT else width for name, width in zip(columns, widths, strict=True)]
    over = 0 if room is None else sum(widths) + _GAP * (len(widths) - 1) - room
    while over > 0:
        i = max(range(len(widths)), key=lambda i: (widths[i] > least[i], widths[i]))
        if widths[i] == least[i]:
            return None
        widths[i], over = widths[i] - 1, over - 1
    return widths


def _folded_row(columns: Sequence[str], row: list[str], widths: list[int]) -> list[str]:
    """Return the lines of a row of a table."""
    parts = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
    lines = []
    for pieces in zip_longest(*parts, fillvalue=""):
        cells = []
        for name, piece, width in zip(columns, pieces, widths, strict=True):
            space = " " * (width - _width(piece))
            cells.append(piece + space if name in _LEFT else space + piece)
        lines.append((" " * _GAP).join(cells).rstrip())
    return lines


def _folded(text: str, width: int) -> list[str]:
    """Return a text in lines, broken between words where that is possible."""
    lines = []
    while _width(text) > width:
        end = next(i for i in range(1, len(text) + 1) if i == len(text) or _width(text[: i + 1]) > width)
        space = text.rfind(" ", 0, end + 1)
        end = space if space > 0 else end
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [*lines, text]


def _width(text: str) -> int:
    """Return the columns of the terminal."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def human(size: int | None) -> str | None:
    """Bytes in the unit that suits: 1,536 is 1.5 KiB.

    >>> human(100), human(1536), human(10 << 30)
    ('100 B', '1.5 KiB', '10.0 GiB')
    """
    if size is None:
        return None
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < _STEP or unit == "GiB":
            break
        amount /= _STEP
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


class ProgressBar(AbstractContextManager["ProgressBar"]):
    """A bar on the error stream where that is a terminal; else nothing. Calling it tells how far things are."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._what = ""

    def __enter__(self) -> Self:
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(file=sys.stderr), transient=True)
            self._bar.start()
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        """One more step."""
        if self._bar is None:
            return
        if what != self._what or self._task is None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task, self._what = self._bar.add_task(what, total=total or None), what
        self._bar.update(self._task, completed=min(done, total) if total else done, total=total or None)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
