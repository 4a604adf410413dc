# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D101 - the table says what each stands for
"""The crate's types as annotations: `SBTreeMap[u64, SBox[str]]`, and what Python annotations stand for.

Rust                      here                          Rust            here
u8 .. u128, i8 .. i128    u8 .. u128, i8 .. i128        String          str (in a box)
f32 f64 bool ()           f32 f64 bool None             Vec<u8>         bytes (in a box)
usize isize char          usize isize char              Candid-derived  Candid (in a box)
Option<T>                 T | None                      own encoding    Custom(...)
(A, B, ...), 1 to 6       tuple[A, B, ...]              Principal       Principal
[u8; N]                   Array(N)                      Nat, Int        Nat, Int
[i8; N] (bool, char)      ArrayOf[i8, N]                derived struct  a dataclass
derived enum              A | B of dataclasses, in the order of the variants, or an enum.Enum if no variant has fields
"""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import IncompatibleType
from ..storable import Array, codec
from .containers import LogType, TableType, VecType
from .encodings import SCALARS, BoxType, CandidType, Option, Record, Text, Type, Variants, array_of
from .trees import TreeType

K = TypeVar("K")
V = TypeVar("V")
_MOST_PARTS: Final = 6

usize: Final = SCALARS["usize"]
isize: Final = SCALARS["isize"]
char: Final = SCALARS["char"]
Nat: Final = SCALARS["Nat"]
Int: Final = SCALARS["Int"]
Candid: Final = CandidType("Candid")
STRING: Final = Text("String", text=True)
BYTES: Final = Text("Vec<u8>", text=False)
UNIT: Final = SCALARS["()"]

if TYPE_CHECKING:

    class SBox(Generic[K]): ...

    class SVec(Generic[K]): ...

    class SLog(Generic[K]): ...

    class SHashSet(Generic[K]): ...

    class SBTreeSet(Generic[K]): ...

    class SCertifiedBTreeSet(Generic[K]): ...

    class SHashMap(Generic[K, V]): ...

    class SBTreeMap(Generic[K, V]): ...

    class SCertifiedBTreeMap(Generic[K, V]): ...

    class ArrayOf(Generic[K, V]): ...
else:

    class _Form:
        """One generic type of the crate: indexing makes it."""

        def __init__(self, name: str, parts: int, make: Callable[..., Type]) -> None:
            self.name, self._parts, self._make = name, parts, make

        def __getitem__(self, args: Any) -> Type:
            args = args if isinstance(args, tuple) else (args,)
            if len(args) != self._parts:
                raise IncompatibleType(f"{self.name} takes {self._parts} types, got {len(args)}")
            return self._make(*args)

        def __repr__(self) -> str:
            return self.name

    SBox = _Form("SBox", 1, lambda tp: BoxType(resolve(tp)))
    ArrayOf = _Form("ArrayOf", 2, lambda tp, count: array_of(resolve(tp), count))
    SVec = _Form("SVec", 1, lambda tp: VecType(_part(tp)))
    SLog = _Form("SLog", 1, lambda tp: LogType(_part(tp)))
    SHashSet = _Form("SHashSet", 1, lambda key: TableType(_part(key), None))
    SHashMap = _Form("SHashMap", 2, lambda key, value: TableType(_part(key), _part(value)))
    SBTreeSet = _Form("SBTreeSet", 1, lambda key: TreeType(_part(key), None))
    SBTreeMap = _Form("SBTreeMap", 2, lambda key, value: TreeType(_part(key), _part(value)))
    SCertifiedBTreeSet = _Form("SCertifiedBTreeSet", 1, lambda key: TreeType(_part(key), None, certified=True))
    SCertifiedBTreeMap = _Form("SCertifiedBTreeMap", 2, lambda key, value: TreeType(_part(key), _part(value), certified=True))


def _part(tp: Any) -> Type:
    """Return a type inside of a container: it has a fixed size there. Raises `IncompatibleType`."""
    made = resolve(tp)
    made.size(4)
    return made


def resolve(tp: Any) -> Type:
    """Return the type that an annotation stands for. O(parts). Raises `IncompatibleType`, which says what to write.

    >>> resolve(tuple[bool, str | None])
    Traceback (most recent call last):
    stable_structures.errors.IncompatibleType: String has no fixed size ...
    >>> from stable_structures import u32
    >>> resolve(tuple[bool, u32 | None])
    (bool, Option<u32>)
    """
    if isinstance(tp, Type):
        return tp
    plain = next((made for named, made in _PLAIN if tp is named), None)
    if plain is not None:
        return plain
    form = _FORMS.get(get_origin(tp))
    if form is not None:
        return form(tp)
    if isinstance(tp, type) and issubclass(tp, enum.Enum):
        return _plain_enum(tp)
    return _struct(tp) if isinstance(tp, type) and dataclasses.is_dataclass(tp) else _scalar(tp)


def _scalar(tp: Any) -> Type:
    """Return the type of the same name as our codec of an annotation, if the crate has one."""
    try:
        made = codec(tp)
    except IncompatibleType as error:
        raise IncompatibleType(f"{error}; of ic-stable-memory: docs/rescue.md#types") from None
    if isinstance(made, Array):
        return array_of(SCALARS["u8"], made.bound.max_size or 0)
    if made.name not in SCALARS:
        raise IncompatibleType(f"{made.name} is not a type of ic-stable-memory; see docs/rescue.md#types")
    return SCALARS[made.name]


def tuple_of(parts: list[Type]) -> Record:
    """Return the type of a tuple. Raises `IncompatibleType` for more parts than the crate has."""
    if not 1 <= len(parts) <= _MOST_PARTS:
        raise IncompatibleType(f"the crate has tuples of 1 to {_MOST_PARTS} parts, not of {len(parts)}; None stands for ()")
    names = ", ".join(part.name for part in parts)
    return Record(f"({names},)" if len(parts) == 1 else f"({names})", parts, None)


def _struct(cls: Any) -> Record:
    hints = get_type_hints(cls, include_extras=True)
    fields = [field.name for field in dataclasses.fields(cls)]
    return Record(cls.__qualname__, [_part(hints[name]) for name in fields], cls, fields)


def _union(tp: Any) -> Type:
    args = get_args(tp)
    members = [arg for arg in args if arg is not type(None)]
    if len(members) == 1:
        return Option(_part(members[0]))
    if not all(isinstance(one, type) and dataclasses.is_dataclass(one) for one in members):
        raise IncompatibleType("a union stands for a derived enum: its members are dataclasses, one for each variant")
    made: Type = enum_of(" | ".join(one.__qualname__ for one in members), [_struct(one) for one in members], [*members])
    return Option(made) if len(members) < len(args) else made


def enum_of(name: str, variants: list[Record], classes: list[Any]) -> Variants:
    """Return a derived enum whose variants are instances of classes."""
    return Variants(name, variants, lambda value: classes.index(type(value)))


def _plain_enum(cls: type[enum.Enum]) -> Variants:
    members = list(cls)
    variants = [Record(member.name, [], lambda member=member: member) for member in members]
    return Variants(cls.__qualname__, variants, members.index)


_PLAIN: Final[tuple[tuple[Any, Type], ...]] = ((str, STRING), (bytes, BYTES), (None, UNIT), (type(None), UNIT))

_FORMS: Final[dict[Any, Callable[[Any], Type]]] = {
    Union: _union,
    types.UnionType: _union,
    tuple: lambda tp: tuple_of([_part(arg) for arg in get_args(tp)]),
    Annotated: lambda tp: next((extra for extra in reversed(get_args(tp)) if isinstance(extra, Type)), None) or _scalar(tp),
}
