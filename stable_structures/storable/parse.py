# SPDX-License-Identifier: Apache-2.0
"""Turn the text of a type into its codec, for trace headers and the command line.

    type   = name | name '<' type, ... '>' | name '[' type, ... ']' | name '(' literal ')' | '(' type, ... ')' | type '|' None
           | '[u8;' number ']' | 'opt' type | 'candid' '<' a type in Candid's own notation '>' | 'Cbor' '[' of Python's own types ']'

Names are the crate's (`vec<u8>`, `string`, `unit`, `option<T>`, `tuple<A,B>`, `blob<N>`, with or without a path such as
`std::cmp::`), Python's or Candid's (`nat64`, `text`, `vec nat8`, `opt T`), in upper or lower case. A record or variant of
Candid is stored as a message: `candid<record { name : text }>`.
"""

from __future__ import annotations

import ast
import contextlib
import re
import types
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..encodings.candid.types import Type
from ..errors import IncompatibleType
from ..principal import Principal
from . import scalars
from .annotations import Cbor
from .base import Codec
from .candid import BASILISK, CANDID, Candid, candid_of
from .compound import OptionCodec, ReverseCodec
from .moments import MOMENTS
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
    "candid": CANDID,
    **{name.name.lower(): name for name in MOMENTS.values()},
    "basilisk": BASILISK,
    # Candid's
    **{f"nat{bits}": codec(getattr(scalars, f"u{bits}")) for bits in (8, 16, 32, 64)},
    **{f"int{bits}": codec(getattr(scalars, f"i{bits}")) for bits in (8, 16, 32, 64)},
    "float32": codec(scalars.f32),
    "float64": codec(scalars.f64),
    "text": STR,
    "null": UNIT,
}

_ANGLES: Final = str.maketrans("<>", "[]")
_QUOTED: Final = re.compile(r"('[^']*'|\"[^\"]*\")")
_CANDID: Final = re.compile(r"\bcandid\s*<", re.IGNORECASE)
_CANDID_CALL: Final = re.compile(r"\bcandid\s*\(\s*('[^']*'|\"[^\"]*\")\s*\)", re.IGNORECASE)
_CANDID_MARK: Final = re.compile(r'"(?:[^"\\]|\\.)*"|->|[<>]')
_OPT: Final = re.compile(r"\bopt\s+(?=\S)", re.IGNORECASE)
_VEC_NAT8: Final = re.compile(r"\bvec\s+nat8\b", re.IGNORECASE)
_ARRAY: Final = re.compile(r"\[\s*u8\s*;\s*([0-9]+)\s*\]", re.IGNORECASE)
_PATH: Final = re.compile(r"\b(?:[A-Za-z_]\w*::)+(?=[A-Za-z_])")
_MESSAGE: Final = re.compile(r"\s*(?:(?:record|variant|service)\s*\{|vec\s+\w|func\s*\(|(?:nat|reserved|empty)\s*\Z)", re.IGNORECASE)
_MAX_TEXT: Final = 4096


def parse_type(text: str, named: Mapping[str, Type] | None = None) -> Codec[Any]:
    r"""Return the codec of a type that is written as text, in the crate's spelling, in Python's or in Candid's. O(length).

    `named` are those that `candid<...>` may name. Raises `IncompatibleType` for an invalid type. `parse_type(codec.name)`
    returns an equal codec, except for classes and named types.

    >>> parse_type("tuple<blob<3>,u16>")
    codec(tuple[Blob(3), u16])
    >>> parse_type("str | None").encode("x")
    b'x\x01'
    >>> parse_type("opt nat64"), parse_type("candid<record { age : nat8 }>")
    (codec(u64 | None), codec(candid<record { age : nat8 }>))
    """
    try:
        plain, messages = _without_candid(text, named)
        return _type_of(tree_of(plain), messages)
    except IncompatibleType:
        raise
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise IncompatibleType(f"invalid type {text[:100]!r}: {error}; write for example u64, string, blob<29>, tuple<u32,bool>") from None


Messages = Mapping[str, Codec[Any]]
"""The Candid types in a text, by the names that stand for them in it."""


def _without_candid(text: str, named: Mapping[str, Type] | None) -> tuple[str, Messages]:
    """Return the text with a name in the place of each `candid<...>`, whose content is not in the grammar of the rest."""
    if len(text) > _MAX_TEXT:
        raise ValueError(f"it has {len(text)} characters, at most {_MAX_TEXT}")
    text = _CANDID_CALL.sub(lambda found: f"candid<{found[1][1:-1]}>", text)
    out, at, messages = [], 0, dict[str, Codec[Any]]()
    while (found := _CANDID.search(text, at)) is not None:
        end = _end_of_angles(text, found.end())
        name = f"candid__{len(messages)}"
        messages[name] = Candid(text[found.end() : end - 1], types=named) if named else candid_of(text[found.end() : end - 1])
        out += [text[at : found.start()], name]
        at = end
    plain = "".join([*out, text[at:]])
    for spelling, ours in ((_VEC_NAT8, "bytes"), (_ARRAY, r"array<\1>"), (_PATH, "")):
        plain = spelling.sub(ours, plain)
    if _MESSAGE.match(plain):
        raise ValueError(f"it is a type of Candid that is stored as a message: write candid<{plain.strip()}>")
    return _OPT.sub("~", plain), messages


def _end_of_angles(text: str, start: int) -> int:
    """Return where the angle bracket that was opened before `start` is closed, behind it."""
    depth = 1
    for mark in _CANDID_MARK.finditer(text, start):
        depth += {"<": 1, ">": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    raise ValueError("candid< is not closed with >")


def tree_of(text: str) -> ast.expr:
    """Return the text of a type as a Python expression: outside quotes, angle brackets become square ones. O(length).

    Raises `SyntaxError`, `ValueError`, `RecursionError` or `MemoryError` for a text that is none.

    >>> ast.unparse(tree_of("tuple<u8, vec<u8>>"))
    'tuple[u8, vec[u8]]'
    """
    parts = _QUOTED.split(text.strip())
    parts[::2] = [part.translate(_ANGLES) for part in parts[::2]]
    return ast.parse("".join(parts), mode="eval").body


def _type_of(node: ast.expr, messages: Messages) -> Codec[Any]:
    match node:
        case ast.Constant(value=None):
            found: Codec[Any] | None = UNIT
        case ast.Name(id=name):
            found = messages.get(name) or _NAMES.get(name.lower())
        case ast.Tuple(elts=parts):
            found = _tuple_of(parts, messages)
        case (
            ast.BinOp(op=ast.BitOr(), left=part, right=ast.Constant(value=None))
            | ast.BinOp(op=ast.BitOr(), left=ast.Constant(value=None), right=part)
            | ast.UnaryOp(op=ast.Invert(), operand=part)
        ):
            found = OptionCodec(_type_of(part, messages))
        case ast.Call(func=ast.Name(id=name), args=[], keywords=[]) if name.lower() in ("candid", "basilisk"):
            found = _NAMES[name.lower()]
        case ast.Subscript(value=ast.Name(id=name), slice=inner) | ast.Call(func=ast.Name(id=name), args=[inner], keywords=[]):
            found = _applied(name.lower(), inner, messages)
        case _:
            found = None
    if found is None:
        raise ValueError(f"unknown name {ast.unparse(node)}")
    return found


def _applied(name: str, inner: ast.expr, messages: Messages) -> Codec[Any] | None:
    """Return the codec of `name<inner>` or `name(inner)`."""
    if name in _LITERAL:
        return _LITERAL[name](ast.literal_eval(inner))
    if name == "tuple":
        return _tuple_of(inner.elts if isinstance(inner, ast.Tuple) else [inner], messages)
    if name == "cbor":
        return _cbor_of(inner, messages)
    if name == "annotated" and isinstance(inner, ast.Tuple):
        return _type_of(inner.elts[-1], messages)
    part = _type_of(inner, messages) if name in _WRAPPERS else None
    return None if part is None else _WRAPPERS[name](part)


def _cbor_of(node: ast.expr, messages: Messages) -> Codec[Any]:
    """Return the codec of values as CBOR; storable types such as u64 say nothing of how CBOR has them."""
    try:
        return codec(Cbor[_annotation(node)])  # type: ignore[misc] # a type at run time
    except ValueError:
        with contextlib.suppress(ValueError):
            _type_of(node, messages)
            return _NAMES["cbor"]
        raise


def _annotation(node: ast.expr) -> Any:
    """Return the annotation of a value of CBOR: one of Python's containers or scalars."""
    match node:
        case ast.Name(id=name) if name in _IN_CBOR:
            return _IN_CBOR[name]
        case ast.Constant(value=value) if value is None or value is ...:
            return value
        case ast.Subscript(value=ast.Name(id="list" | "dict" | "tuple" as name), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            if name == "tuple" or len(parts) == _PARTS[name]:
                return types.GenericAlias(_IN_CBOR[name], tuple(map(_annotation, parts)))
        case ast.BinOp(op=ast.BitOr(), left=a, right=b):
            left, right = _annotation(a), _annotation(b)
            return left if left == right else left | right
    raise ValueError(f"Cbor cannot be said to be {ast.unparse(node)}; write Cbor alone, or for example Cbor[dict[str, int]]")


def _tuple_of(nodes: list[ast.expr], messages: Messages) -> Codec[Any]:
    parts = tuple(_type_of(node, messages) for node in nodes)
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
}
_PARTS: Final = {"list": 1, "dict": 2}
_IN_CBOR: Final[dict[str, Any]] = {one.__name__: one for one in (bool, int, float, str, bytes, list, tuple, dict, Principal)}
