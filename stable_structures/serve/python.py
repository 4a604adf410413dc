# SPDX-License-Identifier: Apache-2.0
"""The parameters of a Python canister's methods, from its annotations."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from ..canister.annotations import candid_type, hints_of
from ..encodings.candid.types import Type


class Parameter(NamedTuple):
    """A parameter of a method. `type` is None if its annotation says nothing that Candid knows."""

    name: str
    type: Type | None
    required: bool


def parameters(function: Callable[..., Any]) -> list[Parameter]:
    """Return the positional parameters of a method.

    >>> def transfer(to: str, amount: int, memo: bytes | None = None) -> None: ...
    >>> [one.name for one in parameters(transfer)], parameters(transfer)[1].type
    (['to', 'amount', 'memo'], Primitive(name='int'))
    """
    try:
        found = list(inspect.signature(function, follow_wrapped=False).parameters.values())
    except (TypeError, ValueError):
        return []
    hints = hints_of(function)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        Parameter(one.name, candid_type(hints.get(one.name, Any)), one.default is inspect.Parameter.empty)
        for one in found
        if one.kind in positional
    ]
