# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLC0415 - rich takes a tenth of a second that pipes need not wait for
"""What the verbs print: tables and progress by rich on a terminal, plain text elsewhere."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import IO, Any, Final, Self

from ..source import Progress

_STEP: Final = 1024
_GAP: Final = 3
"""Between two columns of a table by rich."""
_LEFT: Final = frozenset(
    {"structure", "what", "rule", "key", "value", "before", "after", "types", "note", "order", "memory is", "first entry"}
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

    def write(self, text: str) -> None:
        """Text as it is."""
        try:
            self.stream.write(text)
        except BrokenPipeError:
            silence(self.stream)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table; leave out a column that is empty in every row."""
        cells = [["" if cell is None else clean(cell) for cell in row] for row in rows]
        kept = [i for i in range(len(columns)) if any(row[i] for row in cells)]
        columns, cells = [columns[i] for i in kept], [[row[i] for i in kept] for row in cells]
        if self._console is None:
            self._plain_table(columns, cells)
            return
        tables = _fitting(columns, cells, self._console.width)
        for shown in tables:
            self._rich_table([columns[i] for i in shown], [[row[i] for i in shown] for row in cells])
        if not tables:
            for row in cells:
                self.line(", ".join(f"{name} {cell}" for name, cell in zip(columns, row, strict=True) if cell))

    def _rich_table(self, columns: Sequence[str], rows: list[list[str]]) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for name in columns:
            text = name in _LEFT
            least = max(map(_width, name.split()))
            made.add_column(name, justify="left" if text else "right", overflow="fold", no_wrap=not text, min_width=least)
        for row in rows:
            made.add_row(*(Text(cell) for cell in row))
        self._console.print(made, soft_wrap=False)

    def _plain_table(self, columns: Sequence[str], rows: list[list[str]]) -> None:
        widths = [max(map(_width, column)) for column in zip(columns, *rows, strict=True)]
        for row in (columns, *rows):
            parts = []
            for name, cell, width in zip(columns, row, widths, strict=True):
                space = " " * (width - _width(cell))
                parts.append(cell + space if name in _LEFT else space + cell)
            self.write("  ".join(parts).rstrip() + "\n")


def _fitting(columns: Sequence[str], rows: list[list[str]], room: int) -> list[list[int]]:
    """Return which columns to show in one table: all, or, where they are too wide and the first names the rows, a few at a time.

    None at all where they are too wide and it does not.
    """
    names = [row[0] for row in rows] if columns else []
    widths = [max(_width(cell) for cell in column) + _GAP for column in zip(columns, *rows, strict=True)]
    if sum(widths) <= room or len(columns) < 3:  # noqa: PLR2004 - two columns can fold
        return [list(range(len(columns)))]
    if len(set(names)) < len(names):
        return []
    tables: list[list[int]] = [[0]]
    for i in range(1, len(columns)):
        if len(tables[-1]) > 1 and sum(widths[j] for j in tables[-1]) + widths[i] > room:
            tables.append([0])
        tables[-1].append(i)
    return tables


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


def as_progress(bar: ProgressBar) -> Progress:
    """For functions that take one."""
    return bar
