# SPDX-License-Identifier: Apache-2.0
"""Keep codecs and specialised classes only as long as the user's class that they were made for.

A global table would keep each class for ever, and with it the globals of its module: a program that runs its source
again (the canister harness, a reload) would leak everything that it held, including its memories, each time.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import typing
from collections.abc import Callable, Hashable, Iterator
from types import FunctionType, MethodType
from typing import Any, Final, NewType, get_args

from .base import Codec

MADE_FOR: Final = "__stable_made__"
"""The attribute in which a class keeps what was made for it. A codec that equals no other may hold such a table itself."""

_OUR_NAME: Final = __name__.partition(".")[0]
_OTHERS: Final = frozenset({_OUR_NAME, "builtins", "numpy", *sys.stdlib_module_names}) - {"__main__"}


def kept_for(types: object, shared: dict[Any, Any]) -> dict[Any, Any]:
    """Return the table of the first user's class among the parts of types or codecs; `shared` if there is none. O(parts)."""
    owner = next(_owners(types), None)
    if owner is None:
        return shared
    table: dict[Hashable, Any] | None = vars(owner).get(MADE_FOR)
    if table is None:
        table = {}
        try:
            type.__setattr__(owner, MADE_FOR, table)
        except TypeError:  # a class in C: it is never freed anyway
            return shared
    return table


def _owners(types: object) -> Iterator[Any]:
    """Return the user's classes among the parts of types and codecs, and the codecs that have their own table."""
    seen: set[int] = set()
    left: list[Any] = [types]
    while left:
        item = left.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, type) and not get_args(item):
            if item.__module__.partition(".")[0] not in _OTHERS:
                yield item
        elif isinstance(item, Codec) and MADE_FOR in vars(item):
            yield item
        else:
            left += _parts(item)


def _parts(item: Any) -> list[Any]:
    known = next((parts for kind, parts in _PARTS if isinstance(item, kind)), None)
    return list(get_args(item)) if known is None else known(item)


def _closed_over(function: FunctionType) -> list[Any]:
    found = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # not filled yet
            found.append(cell.cell_contents)
    return found


_PARTS: Final[tuple[tuple[Any, Callable[[Any], list[Any]]], ...]] = (
    (Codec, lambda item: [type(item), *vars(item).values()]),
    (dict, lambda item: [*item.keys(), *item.values()]),
    ((tuple, list), list),
    (MethodType, lambda item: [item.__self__]),
    (FunctionType, _closed_over),
    (functools.partial, lambda item: [item.func, *item.args, *item.keywords.values()]),
    (NewType, lambda item: [item.__supertype__]),
    (getattr(typing, "TypeAliasType", ()), lambda item: [item.__value__]),
)
