# SPDX-License-Identifier: Apache-2.0
"""What users write in annotations beside plain types: `Reverse[T]`, `Cbor[T]` and `@storable`."""

from __future__ import annotations

import sys
from dataclasses import fields
from functools import partialmethod
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar, get_type_hints

from ..errors import IncompatibleType
from .base import Codec
from .cbor import CborCodec
from .compound import ReverseCodec
from .resolve import codec
from .structs import CODEC_ATTRIBUTE, StructCodec, check_dataclass

T = TypeVar("T")

if TYPE_CHECKING:
    Reverse: TypeAlias = Annotated[T, "the opposite order"]
    Cbor: TypeAlias = Annotated[T, "as CBOR"]
else:

    class Reverse:
        r"""T in reverse order, as the crate's `Reverse`; values are plain T. O(1).

        `StableMinHeap[Reverse[u32]]` pops the largest number first, and `StableBTreeMap[Reverse[u64], V]` iterates from the
        largest key down; in both you pass and get plain `int`. Type checkers see T.

        >>> from stable_structures.storable import codec, u32
        >>> newest_first = codec(Reverse[u32])
        >>> newest_first.encode(9), newest_first.less(9, 3)
        (b'\x00\x00\x00\t', True)
        """

        def __class_getitem__(cls, part: Any) -> Any:
            return Annotated[object if isinstance(part, Codec) else part, ReverseCodec(codec(part))]

    class Cbor:
        """Any value that the cbor2 package encodes; unbounded, never a key. Extension: not in the crate. O(1).

        T is the type of the values, for type checkers. At run time it restores dataclasses, enums and tuples, which CBOR cannot
        distinguish from maps, numbers and lists. Plain `Cbor` accepts and returns anything.

        >>> from stable_structures.storable import codec
        >>> settings = codec(Cbor[dict[str, int]])
        >>> settings.decode(settings.encode({"fee": 10}))
        {'fee': 10}
        """

        def __class_getitem__(cls, target: Any) -> Any:
            return Annotated[object if isinstance(target, Codec) else target, CborCodec(target)]

    setattr(Cbor, CODEC_ATTRIBUTE, CborCodec())


def _encode_with(value: T, made: Codec[T]) -> bytes:
    return made.encode(value)


C = TypeVar("C", bound=type[Any])


def storable(cls: C) -> C:
    """Make a dataclass storable, field by field, with the bound of its parts. Extension: not in the crate. O(fields), once.

    The class gets `BOUND`, `to_bytes()` and `from_bytes()`, and can be used like any other type; values are ordered by their
    fields, first to last. The layout is in `structs.py`: changing the fields changes it. Raises `IncompatibleType`
    if the class is not a dataclass, or a field has a type that cannot be stored.

    >>> from dataclasses import dataclass
    >>> from stable_structures.storable import codec, u8, u64
    >>> @storable
    ... @dataclass(frozen=True)
    ... class Score:
    ...     points: u64
    ...     level: u8
    >>> Score.BOUND
    Bounded(max_size=9, is_fixed_size=True)
    >>> codec(Score).decode(Score(5, 1).to_bytes())
    Score(points=5, level=1)
    """
    check_dataclass(cls)
    types = _field_types(cls, sys._getframe(1).f_locals)
    made = StructCodec(cls, {name: _field_codec(cls, name, tp) for name, tp in types.items()})
    setattr(cls, CODEC_ATTRIBUTE, made)
    cls.BOUND = made.bound
    cls.to_bytes = partialmethod(_encode_with, made)
    cls.from_bytes = staticmethod(made.decode)
    return cls


def _field_types(cls: type[Any], names: dict[str, Any]) -> dict[str, Any]:
    """Return the annotation of each field; text is looked up in the class's module and in the scope of the decorator."""
    try:
        hints = get_type_hints(cls, localns=names, include_extras=True)
    except NameError as error:
        raise IncompatibleType(f"{cls.__qualname__}: {error}; define or import the types of its fields before the class") from None
    return {field.name: hints[field.name] for field in fields(cls)}


def _field_codec(cls: type[Any], name: str, tp: Any) -> Codec[Any]:
    try:
        return codec(tp)
    except IncompatibleType as error:
        raise IncompatibleType(f"{cls.__qualname__}.{name}: {error}") from None
