# SPDX-License-Identifier: Apache-2.0
"""The types of a Python canister's methods, from its annotations, as far as they have a Candid type."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple

from ..canister.cdk.candid import ScalarMeta, is_variant
from ..canister.cdk.kinds import CdkPrincipal
from ..encodings.candid.types import NAT8, NULL, Opt, Primitive, Record, Type, Variant, Vec, make_field
from ..principal import Principal

_PLAIN: Final[dict[Any, Type]] = {
    int: Primitive("int"),
    float: Primitive("float64"),
    bool: Primitive("bool"),
    str: Primitive("text"),
    bytes: Vec(NAT8),
    NoneType: NULL,
    None: NULL,
}
_DEEPEST: Final = 8


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
    hints = _hints(function)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        Parameter(one.name, candid_type(hints.get(one.name, Any)), one.default is inspect.Parameter.empty)
        for one in found
        if one.kind in positional
    ]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations; text is evaluated if possible."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - the canister's own annotations may raise anything
        return dict(getattr(function, "__annotations__", {}))


def candid_type(annotation: Any, depth: int = 0) -> Type | None:  # noqa: PLR0911 - one for each sort of annotation
    """Return the Candid type of an annotation, None if it has none that is known here."""
    if depth > _DEEPEST:
        return None
    if isinstance(annotation, ScalarMeta):
        return Vec(NAT8) if annotation.__name__ == "blob" else Primitive(annotation.__name__)
    if typing.is_typeddict(annotation):
        return _fields(annotation, depth)
    if isinstance(annotation, type) and issubclass(annotation, (Principal, CdkPrincipal)):
        return Primitive("principal")
    try:
        if annotation in _PLAIN:
            return _PLAIN[annotation]
    except TypeError:  # not hashable
        return None
    return _generic(annotation, depth)


def _generic(annotation: Any, depth: int) -> Type | None:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return candid_type(args[0], depth)
    inner = [candid_type(one, depth + 1) for one in args if one not in (NoneType, Ellipsis)]
    known = [one for one in inner if one is not None]
    if len(known) != len(inner) or not known:
        return None
    if origin in (typing.Union, UnionType):
        return Opt(known[0]) if len(known) == 1 and NoneType in args else None
    if origin is list:
        return Vec(known[0])
    if origin is tuple and Ellipsis not in args:
        return Record(tuple(make_field(str(place), one) for place, one in enumerate(known)))
    return None


def _fields(annotation: Any, depth: int) -> Type | None:
    """Return the record or variant of a class of fields."""
    fields = {name: candid_type(one, depth + 1) for name, one in _hints(annotation).items()}
    made = tuple(sorted(make_field(name, one) for name, one in fields.items() if one is not None))
    if len(made) != len(fields):
        return None
    return Variant(made) if is_variant(annotation) else Record(made)
