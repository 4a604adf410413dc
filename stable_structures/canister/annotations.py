# SPDX-License-Identifier: Apache-2.0
"""Annotations as Candid types, as far as they have one: of the parameters of a Python canister, and of replies that cross as bytes."""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Final

from ..encodings.candid.codec import MAGIC, encode, encode_untyped
from ..encodings.candid.types import NAT8, NULL, Opt, Primitive, Record, Type, Variant, Vec, make_field
from ..principal import Principal
from ..storable.base import Codec
from .cdk.candid import ScalarMeta, is_variant
from .cdk.kinds import CdkPrincipal

_PLAIN: Final[dict[Any, Type]] = {
    int: Primitive("int"),
    float: Primitive("float64"),
    bool: Primitive("bool"),
    str: Primitive("text"),
    bytes: Vec(NAT8),
    NoneType: NULL,
    None: NULL,
}
_NUMBERS: Final = {
    **{f"u{bits}": Primitive(f"nat{bits}") for bits in (8, 16, 32, 64)},
    **{f"i{bits}": Primitive(f"int{bits}") for bits in (8, 16, 32, 64)},
    "u128": Primitive("nat"),
    "i128": Primitive("int"),
    "f32": Primitive("float32"),
    "f64": Primitive("float64"),
}
"""Of the codecs that stand in annotations such as `u64`."""
_DEEPEST: Final = 8
ANNOTATION_ERRORS: Final = (NameError, AttributeError, TypeError, ValueError, LookupError, ArithmeticError, SyntaxError, ImportError)
"""What the evaluation of annotations may raise, and no signal handler."""


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations; text is evaluated if possible."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except ANNOTATION_ERRORS:
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
        numbers = [_NUMBERS[one.name] for one in annotation.__metadata__ if isinstance(one, Codec) and one.name in _NUMBERS]
        return numbers[0] if numbers else candid_type(args[0], depth)
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
    fields = {name: candid_type(one, depth + 1) for name, one in hints_of(annotation).items()}
    made = tuple(sorted(make_field(name, one) for name, one in fields.items() if one is not None))
    if len(made) != len(fields):
        return None
    return Variant(made) if is_variant(annotation) else Record(made)


# ---- replies ----


def encoded_reply(function: Callable[..., Any], value: Any) -> bytes:
    """Return the Candid message of what a function returned; bytes that are already a message stay.

    Its type is that of the annotation if that has one and the value fits, else that of the value. O(size). Raises `Unsupported` for
    a value that could be of several types.
    """
    if isinstance(value, bytes) and value.startswith(MAGIC):
        return value
    declared = candid_type(hints_of(function).get("return", Any)) if getattr(function, "__annotations__", None) else None
    if declared is not None and declared != NULL:
        with contextlib.suppress(TypeError, ValueError, OverflowError, LookupError):  # it is not of the declared type
            return encode([value], [_fitted(declared, [value])])
    return encode_untyped(() if value is None else (value,))


def _fitted(declared: Type, values: list[Any]) -> Type:
    """Return a type with `nat` in place of Python's `int` if all numbers there are: it is accepted for both."""
    match declared:
        case Primitive("int"):
            return declared if any(value < 0 for value in values) else Primitive("nat")
        case Opt(inner):
            return Opt(_fitted(inner, [value for value in values if value is not None]))
        case Vec(inner) if inner != NAT8:
            return Vec(_fitted(inner, [item for value in values for item in value]))
        case Record(fields):
            return Record(
                tuple(field._replace(type=_fitted(field.type, [_part(value, field.name) for value in values])) for field in fields)
            )
    return declared


def _part(value: Any, name: str) -> Any:
    return value[name] if isinstance(value, dict) else value[int(name)]
