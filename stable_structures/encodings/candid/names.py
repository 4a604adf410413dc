# SPDX-License-Identifier: Apache-2.0
"""Names of fields and variants, found again by their hashes: a Candid message holds nothing else of them.

Every word of a text may be such a name: of an interface (.did), of the types in a module (`motoko:stable-types`), or of
a list of words. A wrong one would need the same 32 bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

from .types import hash_name, unquote

_WORD: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|[^\W\d]\w*')
SECTIONS: Final = ("candid:service", "motoko:stable-types", "candid:args")
"""Sections of a module that hold names, the best first; each with `icp:public ` or `icp:private ` before it."""


def names_in(text: str) -> dict[int, str]:
    """Return the words of a text by their hashes. O(size).

    >>> names_in("type User = record { name : text; age : nat8 };")[4846783]
    'age'
    """
    found: dict[int, str] = {}
    for word in dict.fromkeys(_WORD.findall(text)):
        name = _unquoted(word)
        found.setdefault(hash_name(name), name)
        if name.endswith("_"):  # Motoko's way to write a name that is a word of its own
            found.setdefault(hash_name(name[:-1]), name[:-1])
    return found


def _unquoted(word: str) -> str:
    try:
        return unquote(word) if word[0] == '"' else word
    except (ValueError, IndexError, OverflowError):
        return word


def names_of_sections(custom: Mapping[str, bytes]) -> dict[int, str]:
    """Return the names in the custom sections of a module. O(size)."""
    found: dict[int, str] = {}
    for name in SECTIONS:
        for owner in ("icp:public ", "icp:private ", ""):
            found = names_in(custom.get(owner + name, b"").decode("utf-8", "replace")) | found
    return found


class Names(Mapping[int, str]):
    """Names by their hashes, from sources that are read when the first name is asked for; earlier ones come first."""

    def __init__(self, sources: Sequence[Callable[[], Mapping[int, str]]]) -> None:
        self._sources = sources

    @cached_property
    def _table(self) -> dict[int, str]:
        table: dict[int, str] = {}
        for source in self._sources:
            table = dict(source()) | table
        return table

    def __getitem__(self, number: int) -> str:
        return self._table[number]

    def get(self, number: int, default: str | None = None) -> str | None:  # type: ignore[override] # as of a dict
        """Return the name with this hash, or `default`. O(1) after the first time."""
        return self._table.get(number, default)

    def __iter__(self) -> Iterator[int]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)
