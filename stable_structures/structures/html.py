# SPDX-License-Identifier: Apache-2.0
"""Tables for notebooks: the first entries of a structure, its types and sizes. Everything is escaped, and short whatever it shows."""

from __future__ import annotations

import html
import reprlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from ..principal import Principal

FIRST: Final = 10
"""Rows that are shown."""
_MOST: Final = 80
"""Letters of a cell."""
_STYLE: Final = "text-align:left;vertical-align:top"

_short: Final = reprlib.Repr()
_short.maxstring = _short.maxother = _MOST
_short.maxlevel, _short.maxdict, _short.maxlist, _short.maxtuple, _short.maxlong = 4, 6, 6, 6, _MOST


def cell_text(value: Any) -> str:
    """Return a value as short text, in which whatever is not printable is escaped. O(what is shown)."""
    text = str(value) if isinstance(value, Principal) else value if isinstance(value, str) else _short.repr(value)
    text = text[: _MOST + 1]
    text = "".join(letter if letter.isprintable() else "\N{MIDDLE DOT}" for letter in text)
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}\N{HORIZONTAL ELLIPSIS}"


def table(title: str, names: Sequence[str], rows: Iterable[Sequence[Any]], under: str = "") -> str:
    """Return a table of HTML: a title above, the names of the columns, rows of values, a line below. O(what is shown)."""
    head = "".join(f'<th style="{_STYLE}">{html.escape(name)}</th>' for name in names)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    below = f"<div><small>{html.escape(under)}</small></div>" if under else ""
    shown = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div><div><strong>{html.escape(cell_text(title))}</strong></div>{shown}{below}</div>"


def _cell(value: Any) -> str:
    return f'<td style="{_STYLE}">{html.escape(cell_text(value))}</td>'
