# SPDX-License-Identifier: Apache-2.0
"""Turn the text of a type into its codec, for trace headers and the command line.

    type   = name | name '<' type, ... '>' | name '[' type, ... ']' | name '(' literal ')' | '(' type, ... ')' | type '|' None

Names are the crate's (`vec<u8>`, `string`, `unit`, `option<T>`, `tuple<A,B>`, `blob<N>`) or Python's, in upper or lower case.
"""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Callable
from typing import Any, Final

from ..errors import IncompatibleType
from . import scalars
from .annotations import Cbor
from .base import Codec
from .compound import OptionCodec, ReverseCodec
from .octets import BYTES, PRINCIPAL, STR, Array, Blob
from .records import Record
from .resolve import codec
from .scalars import BOOL, UNIT

_NUMBERS: Final = ("u8", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128", "f32", "f64")

_NAMES: Final[dict[str, Codec[Any]]] = {
    **{name: codec(getattr(scalars, name)) for name in _NUMBERS},
    "bool": BOOL,
    "unit": UNIT,
    "none": UNIT,
    "str": STR,
    "string": STR,
    "bytes": BYTES,
    "principal": PRINCIPAL,
    "cbor": codec(Cbor),
}

_ANGLES: Final = str.maketrans("<>", "[]")
_QUOTED: Final = re.compile(r"('[^']*'|\"[^\"]*\")")
_MAX_TEXT: Final = 4096


def parse_type(text: str) -> Codec[Any]:
    r"""Return the codec of a type that is written as text, in the crate's spelling or in Python's. O(length).

    Raises `IncompatibleType` for an invalid type. `parse_type(codec.name)` returns an equal codec, except for classes.

    >>> parse_type("tuple<blob<3>,u16>")
    codec(tuple[Blob(3), u16])
    >>> parse_type("str | None").encode("x")
    b'x\x01'
    """
    try:
        return _type_of(_tree(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise IncompatibleType(f"invalid type {text[:100]!r}: {error}; write for example u64, string, blob<29>, tuple<u32,bool>") from None


def _tree(text: str) -> ast.expr:
    """Return the text as a Python expression: outside quotes, angle brackets become square ones."""
    if len(text) > _MAX_TEXT:
        raise ValueError(f"it has {len(text)} characters, at most {_MAX_TEXT}")
    parts = _QUOTED.split(text.strip())
    parts[::2] = [part.translate(_ANGLES) for part in parts[::2]]
    return ast.parse("".join(parts), mode="eval").body


def _type_of(node: ast.expr) -> Codec[Any]:
    match node:
        case ast.Constant(value=None):
            found: Codec[Any] | None = UNIT
        case ast.Name(id=name):
            found = _NAMES.get(name.lower())
        case ast.Tuple(elts=parts):
            found = _tuple_of(parts)
        case (
            ast.BinOp(op=ast.BitOr(), left=part, right=ast.Constant(value=None))
            | ast.BinOp(op=ast.BitOr(), left=ast.Constant(value=None), right=part)
        ):
            found = OptionCodec(_type_of(part))
        case ast.Subscript(value=ast.Name(id=name), slice=inner) | ast.Call(func=ast.Name(id=name), args=[inner], keywords=[]):
            found = _applied(name.lower(), inner)
        case _:
            found = None
    if found is None:
        raise ValueError(f"unknown name {ast.unparse(node)}")
    return found


def _applied(name: str, inner: ast.expr) -> Codec[Any] | None:
    """Return the codec of `name<inner>` or `name(inner)`."""
    if name in _LITERAL:
        return _LITERAL[name](ast.literal_eval(inner))
    if name == "tuple":
        return _tuple_of(inner.elts if isinstance(inner, ast.Tuple) else [inner])
    if name == "annotated" and isinstance(inner, ast.Tuple):
        return _type_of(inner.elts[-1])
    part = _type_of(inner) if name in _WRAPPERS else None
    return None if part is None else _WRAPPERS[name](part)


def _tuple_of(nodes: list[ast.expr]) -> Codec[Any]:
    parts = tuple(_type_of(node) for node in nodes)
    return codec(types.GenericAlias(tuple, parts)) if parts else UNIT


def _vec_of(part: Codec[Any]) -> Codec[Any]:
    if part != _NAMES["u8"]:
        raise ValueError(f"vec<{part.name}> cannot be stored; only vec<u8> can")
    return BYTES


_LITERAL: Final[dict[str, Callable[[Any], Codec[Any]]]] = {"blob": Blob, "array": Array, "record": Record}
_WRAPPERS: Final[dict[str, Callable[[Codec[Any]], Codec[Any]]]] = {
    "option": OptionCodec,
    "optional": OptionCodec,
    "reverse": ReverseCodec,
    "vec": _vec_of,
    "cbor": lambda _: _NAMES["cbor"],
}
