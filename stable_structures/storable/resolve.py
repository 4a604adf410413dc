# SPDX-License-Identifier: Apache-2.0
"""Turn a type annotation into its codec."""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Callable
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    ForwardRef,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    is_typeddict,
    overload,
)

import numpy as np

from ..errors import IncompatibleType
from ..principal import Principal
from .base import Codec, T
from .compound import OptionCodec, Tuple2Codec, Tuple3Codec
from .lifetimes import kept_for
from .moments import MOMENTS
from .octets import BYTES, PRINCIPAL, STR
from .scalars import BOOL, UNIT
from .structs import CODEC_ATTRIBUTE, PROTOCOL, ClassCodec, StructCodec, missing_attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLAIN: Final[dict[Any, Codec[Any]]] = {
    bool: BOOL,
    str: STR,
    bytes: BYTES,
    None: UNIT,
    type(None): UNIT,
    Principal: PRINCIPAL,
    **MOMENTS,
}

_MEMBERS: Final = "to_bytes(self), from_bytes(data) and BOUND"

_CHOICES: Final = (
    "u8 u16 u32 u64 u128, i8 i16 i32 i64 i128, f32 f64, bool, str, bytes, None, Principal, datetime, date, UUID, Decimal, "
    "Blob(max_size), Array(size), tuple[A, B], "
    "tuple[A, B, C], T | None, Reverse[T], Cbor[T], Record(dtype), a dataclass with @storable, "
    f"or a class with {_MEMBERS}"
)

_HINTS: Final[dict[Any, str]] = {
    int: "say its width: u8, u16, u32, u64, u128, or i8, i16, i32, i64, i128 for negative numbers",
    float: "say its width: f64 (Python's own) or f32",
    bytearray: "use bytes, which accepts a bytearray too",
    memoryview: "use bytes, which accepts a memoryview too",
    complex: "use tuple[f64, f64]",
    list: "use Cbor[list], or a separate structure",
    dict: "use Cbor[dict], or a separate map",
    set: "use Cbor[set], or a StableBTreeSet beside it",
    frozenset: "use Cbor[frozenset], or a StableBTreeSet beside it",
    object: "use Cbor for values of any type",
    tuple: "say the types: tuple[A, B] or tuple[A, B, C]",
}


@overload
def codec(tp: Codec[T]) -> Codec[T]: ...


@overload
def codec(tp: type[T]) -> Codec[T]: ...


@overload
def codec(tp: object) -> Codec[Any]: ...


def codec(tp: object) -> Codec[Any]:
    r"""Return the codec of a type: `.bound`, `.encode`, `.decode`. O(1) after the first time.

    Raises `IncompatibleType`, which lists the choices, for a type that cannot be stored.

    >>> from stable_structures.storable import codec, u16
    >>> codec(u16).encode(258)
    b'\x01\x02'
    >>> codec(tuple[u16, bool]).bound
    Bounded(max_size=3, is_fixed_size=True)
    >>> codec(int)
    Traceback (most recent call last):
    stable_structures.errors.IncompatibleType: int cannot be stored: say its width: u8, u16, ...
    """
    if isinstance(tp, Codec):
        return tp
    try:
        hash(tp)
    except TypeError:
        return _resolve(tp)
    return _known.get(tp) or _kept(tp)


_known: Final[dict[Any, Codec[Any]]] = {}
_MOST_KNOWN: Final = 1024


def _kept(tp: Any) -> Codec[Any]:
    """Return the codec of a type from its table; add it if it is new."""
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    table = kept_for(tp, _known)
    made = table.get(tp)
    if made is None:
        made = table[tp] = _resolve(tp)
    return made


def _resolve(tp: Any) -> Codec[Any]:
    """Return the codec of one annotation; its parts go through `codec` again."""
    if tp is None or (isinstance(tp, type) and tp in _PLAIN):
        return _PLAIN[tp]
    origin = get_origin(tp)
    if origin in _FORMS:
        return _FORMS[origin](tp)
    renamed = getattr(tp, "__supertype__", None) or getattr(tp, "__value__", None) if origin is None else None
    if renamed is not None and not isinstance(tp, type):  # and `type X = ...`
        return codec(renamed)
    return _of_class(tp)


def _of_annotated(tp: Any) -> Codec[Any]:
    """Return the last codec among the annotations: `Reverse[u32]` has two, that of u32 and its own."""
    base, *extras = get_args(tp)
    codecs = [extra for extra in extras if isinstance(extra, Codec)]
    for extra in extras:
        if isinstance(extra, type) and issubclass(extra, Codec):
            _refuse(tp, f"{extra.__name__} needs its size or dtype: write {extra.__name__}(...)")
    return codecs[-1] if codecs else codec(base)


def _of_union(tp: Any) -> Codec[Any]:
    members = [member for member in get_args(tp) if member is not type(None)]
    if len(members) != 1:
        _refuse(tp, "a union must be one type and None; use Cbor for values of several types")
    return OptionCodec(codec(members[0]))


def _of_tuple(tp: Any) -> Codec[Any]:
    args = get_args(tp)
    if Ellipsis in args:
        _refuse(tp, "tuples must have two or three parts; use Cbor for any number of them")
    if len(args) not in _TUPLES:
        way_out = "nest tuples, as in tuple[A, tuple[B, C]], or use a dataclass with @storable"
        _refuse(tp, f"tuples must have two or three parts, not {len(args)}; {way_out if args else 'use None for nothing'}")
    return _TUPLES[len(args)](*map(codec, args))


_TUPLES: Final[dict[int, Callable[..., Codec[Any]]]] = {2: Tuple2Codec, 3: Tuple3Codec}

_FORMS: Final[dict[Any, Callable[[Any], Codec[Any]]]] = {
    Annotated: _of_annotated,
    Union: _of_union,
    types.UnionType: _of_union,
    tuple: _of_tuple,
}


def _of_class(tp: Any) -> Codec[Any]:
    if not isinstance(tp, type) or get_origin(tp) is not None:
        _refuse(tp, _hint(tp))
    made = getattr(tp, CODEC_ATTRIBUTE, None)
    if isinstance(made, StructCodec) and CODEC_ATTRIBUTE not in vars(tp):
        _refuse(tp, "the class it derives from is @storable, and its own fields would be lost; put @storable above it too")
    if isinstance(made, Codec):
        return made
    missing = missing_attributes(tp)
    if missing:
        has_some = len(missing) < len(PROTOCOL) and not issubclass(tp, (int, np.generic))
        _refuse(tp, f"it lacks {' and '.join(missing)}; a stored class has {_MEMBERS}" if has_some else _hint(tp))
    return ClassCodec(tp)


def _hint(tp: Any) -> str:
    """Return what to use instead."""
    known = _HINTS.get(get_origin(tp) or tp if isinstance(tp, type) or get_origin(tp) else None)
    if known:
        return known
    if isinstance(tp, (str, ForwardRef)):
        return "it is a str; pass the type itself, or parse_type(text)"
    if isinstance(tp, TypeVar):
        return "it is a type variable; pass a type"
    if getattr(tp, "__name__", "") == "Reverse":
        return "say the type: Reverse[T]"
    if isinstance(tp, type):
        return _class_hint(tp)
    return f"use one of {_CHOICES}"


def _class_hint(tp: type[Any]) -> str:
    hints: Sequence[tuple[bool, str]] = (
        (dataclasses.is_dataclass(tp), "put @storable above @dataclass, or use Cbor[...]"),
        (issubclass(tp, enum.Enum), "store its value, as in u8 or str, or use Cbor[...]"),
        (issubclass(tp, np.generic), "use u8 to u64, i8 to i64, f32, f64 or bool, which accept numpy arrays, or Record(dtype)"),
        (is_typeddict(tp), "use Cbor[...]"),
        (issubclass(tp, tuple), "use tuple[A, B], tuple[A, B, C] or a dataclass with @storable"),
        (issubclass(tp, int), _HINTS[int]),
    )
    return next((hint for fits, hint in hints if fits), f"use one of {_CHOICES}")


def _refuse(tp: Any, hint: str) -> NoReturn:
    name = tp.__qualname__ if isinstance(tp, type) and get_origin(tp) is None else repr(tp).replace("typing.", "")
    raise IncompatibleType(f"{name} cannot be stored: {hint}") from None
