# SPDX-License-Identifier: Apache-2.0
"""Check encodings against a given type.

That bytes decode is not enough: padding that is not zero, or sizes written wider than they need be, decode too, and
nobody writes them. If the format leaves no choice there is one encoding of each value, and `exact` gives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np

from .. import _native as native
from ..encodings.columns import Ends
from ..errors import StableError
from ..principal import MAX_LENGTH
from ..storable import Codec, OptionCodec, ReverseCodec, Tuple2Codec, Tuple3Codec
from ..storable.base import Data
from ..storable.columns import with_bytes
from ..storable.octets import Array, Blob, BytesCodec, PrincipalCodec, StrCodec
from ..storable.scalars import BoolCodec, FloatCodec, IntCodec, UnitCodec

_SMALL: Final = 64
_core: Final = native.call
_ALL_VALUES: Final = (IntCodec, FloatCodec, BytesCodec, Blob, Array, UnitCodec)


class Encoded(Codec[bytes]):
    """A type whose values are given and taken as their encodings, so that these stay as they are, byte for byte.

    Bound and order are those of the type, and so is what a structure writes.
    """

    as_is = True

    def __init__(self, part: Codec[Any]) -> None:
        super().__init__(part.name, part.bound, part.order, part)
        self.part = part
        self.key_problem, self.heap_problem = part.key_problem, part.heap_problem

    def encode(self, value: bytes) -> bytes:
        """Return the value: it is encoded already."""
        return value

    def decode(self, data: Data) -> bytes:
        """Return the encoding, as it is."""
        return bytes(data)

    def compare(self, a: bytes, b: bytes) -> int | None:
        """As the values that are encoded."""
        return self.part.compare(self.part.decode(a), self.part.decode(b))


def exact(codec: Codec[Any], data: bytes) -> bytes:
    r"""Return the one encoding of the value that these bytes are. O(size). Raises `ValueError` if they are not a value.

    What a type leaves open (CBOR, the bits of a NaN, a class of the user's) is taken as it is.

    >>> from ..storable import parse_type
    >>> exact(parse_type("tuple<blob<2>, u8>"), b"a?\x07\x01")
    b'a\x00\x07\x01'
    """
    codec.decode(data)
    frame = _frame(codec)
    return data if frame is None else bytes(frame.encode(frame.decode(data)))


def require(codec: Codec[Any], data: bytes) -> None:
    """Raise `ValueError` if the bytes are not a value of the type, or another encoding than the type has. O(size)."""
    made = exact(codec, data)
    if made != data:
        at = next((i for i, (a, b) in enumerate(zip(made, data, strict=False)) if a != b), min(len(made), len(data)))
        raise ValueError(f"{codec.name}: the value is encoded in another way than the type encodes it, from byte {at} on")


def is_flat(codec: Codec[Any]) -> bool:
    """Return whether values are numbers, bools, bytes of one size or tuples of these: numpy reads them as the type does. O(parts)."""
    if isinstance(codec, ReverseCodec):
        return is_flat(codec.part)
    if isinstance(codec, (Tuple2Codec, Tuple3Codec)):
        return all(map(is_flat, codec.fields.values()))
    return codec.dtype is not None and isinstance(codec, (IntCodec, FloatCodec, BoolCodec, Array))


def are_exact(codec: Codec[Any] | None, data: bytes, ends: Ends) -> bool:
    r"""Return whether `require` accepts each of many encodings, which end at `ends`. O(size), in numpy.

    False says nothing: a type may be one that only `require` knows.

    >>> from ..storable import parse_type
    >>> are_exact(parse_type("tuple<u8, bool>"), b"a\0b\1", np.array([2, 4], np.uint64))
    True
    """
    if codec is None or not len(ends):
        return True
    sizes = np.diff(ends, prepend=np.uint64(0))
    if isinstance(codec, PrincipalCodec):
        return int(sizes.max()) <= MAX_LENGTH
    if not is_flat(codec) or bool((sizes != codec.bound.max_size).any()):
        return False
    try:
        codec.decode_array(data)
    except StableError:
        return False
    return True


def encoding_in_core(codec: Codec[Any] | None) -> int | None:
    """Return what the core checks of encodings that have the size of the type; None if only Python can tell.

    >>> from ..storable import parse_type
    >>> [encoding_in_core(parse_type(text)) is None for text in ("u64", "string", "principal")]
    [False, False, True]
    """
    if codec is None:
        return int(_core.SS_ENCODED_ANY)
    if isinstance(codec, _ALL_VALUES):
        return int(_core.SS_ENCODED_SIZE)
    if isinstance(codec, BoolCodec):
        return int(_core.SS_ENCODED_BOOL)
    return int(_core.SS_ENCODED_UTF8) if isinstance(codec, StrCodec) else None


def sizes_of(codec: Codec[Any] | None) -> tuple[int, int]:
    """Return the least and the greatest size of an encoding; without a type, and of one without a bound, any size.

    >>> from ..storable import parse_type
    >>> sizes_of(parse_type("u64")), sizes_of(parse_type("blob<9>"))
    ((8, 8), (0, 9))
    """
    most = None if codec is None else codec.bound.max_size
    if codec is None or most is None:
        return 0, 2**64 - 1
    return (most if codec.bound.is_fixed_size else 0), most


@lru_cache(maxsize=256)
def _frame(codec: Codec[Any]) -> Codec[Any] | None:
    """Return the type with plain bytes in the place of its parts: its sizes, padding and tags. None if it has none."""
    frame = _with_plain_parts(codec)
    return frame if isinstance(frame, (OptionCodec, Tuple2Codec, Tuple3Codec)) else None


def _with_plain_parts(codec: Codec[Any]) -> Codec[Any]:
    if isinstance(codec, ReverseCodec):
        return _with_plain_parts(codec.part)
    if isinstance(codec, (Tuple2Codec, Tuple3Codec)):
        return type(codec)(*map(_with_plain_parts, codec.fields.values()))
    if isinstance(codec, OptionCodec):
        part = _with_plain_parts(codec.part)
        if not isinstance(part, OptionCodec):  # Python has one None if Rust has two
            return OptionCodec(part)
    return with_bytes(codec)


@lru_cache(maxsize=256)
def filler(codec: Codec[Any]) -> bytes | None:
    r"""Return the smallest value of a type: no bytes if it can be, else zeros. It stands where a value is gone. None if there is none.

    >>> from ..storable import parse_type
    >>> filler(parse_type("string")), filler(parse_type("tuple<u8, bool>")), filler(parse_type("option<u8>"))
    (b'', b'\x00\x00', b'\x00\x01')
    """
    return next((data for data in _least(codec) if _is_value(codec, data)), None)


def _least(codec: Codec[Any]) -> Iterator[bytes]:
    most = codec.bound.max_size
    sizes = [most] if most is not None and codec.bound.is_fixed_size else [*range(_SMALL if most is None else min(_SMALL, most) + 1), most]
    for size in sizes:
        if size is not None:
            yield bytes(size)
            if size:
                yield bytes(size - 1) + b"\1"  # of an option


def _is_value(codec: Codec[Any], data: bytes) -> bool:
    try:
        require(codec, data)
    except (ValueError, StableError):
        return False
    return True
