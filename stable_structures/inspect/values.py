# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLR2004 - sizes that types have
"""Encoded values in readable form: by the given type, or by a guess at what decodes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Final

import cbor2
import numpy as np

from ..encodings.candid import untyped as candid
from ..encodings.candid.codec import NO_NAMES
from ..encodings.json_form import to_json
from ..encodings.limits import count_items, require_moderate
from ..errors import IncompatibleType, StableError
from ..principal import Principal
from ..storable import Candid, Codec
from ..storable.compound import OptionCodec, ReverseCodec, RowCodec
from ..storable.moments import DateCodec, DatetimeCodec, DecimalCodec, UuidCodec
from ..storable.octets import Array, Blob, BytesCodec, PrincipalCodec
from ..storable.records import Record
from ..storable.scalars import BoolCodec, FloatCodec, IntCodec
from . import basilisk
from .budget import guessing, is_modest, require_modest_cbor

_PRINTABLE: Final = 0.9
_NUMBER_SIZES: Final = {1: "u8", 2: "u16", 4: "u32", 8: "u64", 16: "u128"}
_LOOKED_AT: Final = 1 << 16
_BYTES_AS_ITEM: Final = 64
"""Bytes of text whose reading costs as much as a number among many."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read encoded values: `decode` raises `ValueError`; `certain` says whether the type was given."""

    name: str
    decode: Callable[[bytes], Any] = field(compare=False)
    certain: bool = False
    codec: Codec[Any] | None = None
    """The given type."""

    @property
    def label(self) -> str:
        """Return the name, with a mark where it is a guess."""
        return self.name if self.certain else f"{self.name}?"

    def read(self, data: bytes) -> Any:
        """Return the value, or the bytes if they do not decode, or if the value is far larger than they are."""
        return self.attempt(data)[0]

    def attempt(self, data: bytes) -> tuple[Any, bool]:
        """Return what `read` gives, and whether it is the value. O(size)."""
        try:
            value = self.decode(data)
        except (ValueError, RecursionError, StableError):
            return data, False
        return (value, True) if type(value) in _FLAT or is_modest(value, len(data)) else (data, False)


_FLAT: Final = frozenset({int, str, bytes, float, bool, type(None), Principal})


def named(codec: Codec[Any], names: Mapping[int, str]) -> Codec[Any]:
    """Return a type whose fields of Candid have these names, if only their hashes are known. O(parts)."""
    if isinstance(codec, Candid):
        return codec.with_names(names)
    if isinstance(codec, OptionCodec):
        part = named(codec.part, names)
        return codec if part is codec.part else OptionCodec(part)
    return codec


def reading_of(codec: Codec[Any], names: Mapping[int, str] = NO_NAMES) -> Reading:
    """Read by a given type; `names` are those of Candid's fields where the type does not say them."""
    codec = named(codec, names)
    return Reading(codec.name, codec.decode, certain=True, codec=codec)


def read_as(codec: Codec[Any] | None, samples: Sequence[bytes], names: Mapping[int, str] = NO_NAMES) -> Reading:
    """Read by a type if it is given, else as the samples look. O(bytes)."""
    return guess(samples, names) if codec is None else reading_of(codec, names)


_OF_TAGS: Final = (cbor2.CBORError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What decoding raises for damaged bytes: tags run constructors of many types."""


def _cbor(data: bytes) -> Any:
    """Return a list, map or text: shorter items decode too often by chance."""
    if not data or data[0] >> 5 not in (3, 4, 5, 6):
        raise ValueError("no list, map, text or tag")
    require_modest_cbor(data)
    try:
        return cbor2.loads(data)
    except _OF_TAGS as error:
        raise ValueError(str(error)) from None


def _json(data: bytes) -> Any:
    if data[:1] not in (b"{", b"[", b'"'):
        raise ValueError("no object, list or text")
    require_moderate(data)
    count_items(len(data) // _BYTES_AS_ITEM)
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _text(data: bytes) -> str:
    require_moderate(data)
    count_items(len(data) // _BYTES_AS_ITEM)
    text = data.decode()
    start = text[:_LOOKED_AT]
    if not text.isprintable() and sum(letter.isprintable() or letter in "\n\r\t" for letter in start) < _PRINTABLE * len(start):
        raise ValueError("not printable")
    return text


def _principal(data: bytes) -> Principal:
    """Of users (29 bytes, the last a 2) and canisters (10 bytes, the last two 1)."""
    if not (len(data) == 29 and data[-1] == 2) and not (len(data) == 10 and data[-2:] == b"\1\1"):
        raise ValueError("no principal of a user or canister")
    return Principal(data)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _unit(data: bytes) -> None:
    """Of no bytes."""


RAW: Final = Reading("bytes", bytes, certain=True)

_GUESSES: Final[tuple[Reading, ...]] = (
    Reading("Candid", candid.decode),
    Reading("Basilisk", basilisk.decode),
    Reading("Principal", _principal),
    Reading("JSON", _json),
    Reading("CBOR", _cbor),
    Reading("text", _text),
)


def guess(samples: Sequence[bytes], names: Mapping[int, str] = NO_NAMES) -> Reading:
    r"""Return the type that all samples decode as; plain bytes if none fits. O(bytes). Never certain. `names`: as in `reading_of`.

    >>> guess([b"hello", b"you"]).label, guess([bytes(7) + b"x", bytes(8)]).label, guess([b"\xff\xfe\xfd"]).label
    ('text?', 'u64?', 'bytes')
    """
    with guessing():
        return next((_named(reading, samples, names) for reading in _likely(samples) if _fits(reading, samples)), RAW)


def is_unit_guess(reading: Reading) -> bool:
    """Return whether the guess is that no value has a byte, as of a set whose values' type was not given."""
    return reading.codec is None and reading.name == "unit"


def _likely(samples: Sequence[bytes]) -> Iterator[Reading]:
    """Return the types to try, in order."""
    not_empty = [data for data in samples if data]
    sizes = {len(data) for data in samples}
    if not not_empty:
        yield Reading("unit", _unit) if samples else RAW
    elif sizes == {8} or (len(sizes) == 1 and sizes <= {1, 2, 4}) or (sizes == {16} and not _fits(_GUESSES[0], not_empty)):
        yield _number_guess(sizes.pop(), not_empty)
    elif len(sizes) == 1 and _is_one_letter(not_empty):
        yield from reversed(_GUESSES[-2:])
    else:
        yield from _GUESSES


def _is_one_letter(samples: Sequence[bytes]) -> bool:
    """Return whether all are texts that begin with the letter that CBOR has before a text of their length: `item-0001`, `item-0002`."""
    letter = samples[0][0]
    return len(set(samples)) > 1 and letter == 0x60 + len(samples[0]) - 1 <= 0x77 and all(data[0] == letter for data in samples)


def _fits(reading: Reading, samples: Sequence[bytes]) -> bool:
    """Return whether all samples decode; empty ones do not count."""
    shown = [data for data in samples if data] or samples
    if reading.name == "Basilisk" and all(len(data) == 1 for data in shown):
        return False
    with guessing() as budget:
        for data in shown:
            with budget.spending():
                fits = budget.left > 0 and reading.attempt(data)[1]
            if not fits:
                return False
    return True


def _number_guess(size: int, samples: Sequence[bytes]) -> Reading:
    """Numbers that are small enough to be meant as such; text and floats of just that size are likelier otherwise."""
    if all(_fits(_GUESSES[-1], [data]) and data.isascii() and data.strip(b"\0") == data for data in samples) and size > 1:
        return _GUESSES[-1]
    codec_name = _NUMBER_SIZES[size]
    numbers = [data for data in samples if data.strip(b"\0")]
    if size in (4, 8) and numbers and all(_looks_like_float(data) for data in numbers):
        return Reading(f"f{8 * size}", _FLOATS[size])
    if size == 16 and any(data[0] for data in samples):
        return RAW
    return Reading(codec_name, _number)


def _float(data: bytes, size: int) -> float:
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes are not an f{8 * size}")
    return float(np.frombuffer(data, f">f{size}")[0])


_FLOATS: Final[dict[int, Callable[[bytes], Any]]] = {4: partial(_float, size=4), 8: partial(_float, size=8)}


def _looks_like_float(data: bytes) -> bool:
    """Return whether it is a number between a millionth and a million millions."""
    number = abs(float(np.frombuffer(data, f">f{len(data)}")[0]))
    return data[0] & 0x7F >= 0x38 and math.isfinite(number) and 1e-6 <= number <= 1e12


def _named(reading: Reading, samples: Sequence[bytes], names: Mapping[int, str]) -> Reading:
    """With what Candid says of its types, where all samples say the same."""
    if reading.name != "Candid":
        return reading
    said = {", ".join(candid.read_message(data, names)[0]) for data in samples if data}
    return Reading(f"Candid {said.pop()}" if len(said) == 1 else reading.name, partial(candid.decode, names=names))


# ---- JSON ----


def from_json(codec: Codec[Any], value: Any) -> Any:
    """Return what `to_json` made of a value of the type, as a value again. O(size). Raises `IncompatibleType`.

    >>> from ..storable import parse_type
    >>> from_json(parse_type("tuple<u32, blob<4>>"), [7, "0x6162"])
    (7, b'ab')
    """
    if isinstance(codec, OptionCodec):
        return None if value is None else from_json(codec.part, value)
    if isinstance(codec, ReverseCodec):
        return from_json(codec.part, value)
    if isinstance(codec, RowCodec) and isinstance(value, list):
        parts = tuple(codec.fields.values())
        if len(parts) != len(value):
            raise IncompatibleType(f"{codec.name} has {len(parts)} parts, got {len(value)}")
        return tuple(from_json(part, item) for part, item in zip(parts, value, strict=True))
    if isinstance(codec, Record) and isinstance(value, list):
        return tuple(value)
    return _plain_from_json(codec, value)


def _plain_from_json(codec: Codec[Any], value: Any) -> Any:  # noqa: PLR0911 - one for each kind of type
    if isinstance(value, str):
        if isinstance(codec, PrincipalCodec):
            return Principal.from_text(value)
        if isinstance(codec, FloatCodec):
            return float(value)
        if isinstance(codec, BoolCodec) and value in ("true", "false"):
            return value == "true"
        if is_octets(codec):
            return unhex(value)
        if isinstance(codec, IntCodec):
            return int(value)
        if isinstance(codec, MOMENTS):
            return codec.from_text(value)
    elif isinstance(codec, DecimalCodec) and type(value) is int:
        return Decimal(value)
    return value


MOMENTS: Final = (DatetimeCodec, DateCodec, UuidCodec, DecimalCodec)
"""Types whose values JSON, CSV and tables say as text of their own."""


def is_octets(codec: Codec[Any]) -> bool:
    """Return whether values are bytes."""
    return isinstance(codec, (BytesCodec, Blob, Array))


def unhex(text: str) -> bytes:
    """Return the bytes of "0x6162". Raises `IncompatibleType`."""
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise IncompatibleType(f"{text[:40]!r} are not bytes; write them in hexadecimal, as 0x6162") from None


def from_text(codec: Codec[Any], text: str) -> Any:
    """Return a value as a user writes it on the command line: text as it is, anything else as JSON. Raises `IncompatibleType`.

    >>> from ..storable import parse_type
    >>> from_text(parse_type("u64"), "7"), from_text(parse_type("str"), "7"), from_text(parse_type("bytes"), "0x37")
    (7, '7', b'7')
    """
    if codec.name == "str":
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if is_octets(codec) or isinstance(codec, MOMENTS):
        value = text
    elif value is not None and isinstance(codec, (OptionCodec, ReverseCodec)):
        return from_text(codec.part, text)
    try:
        made = from_json(codec, value)
        codec.encode(made)
    except (ValueError, TypeError) as error:
        raise IncompatibleType(f"{text!r} is not a value of {codec.name}: {error}") from None
    return made


def shorten(value: Any, most: int = 60) -> str:
    """Return a value for a table. O(size), of texts and bytes O(most)."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value[:most])  # more of it is cut off again
    text = value[: most + 1] if isinstance(value, str) else json.dumps(to_json(value), ensure_ascii=False)[: 2 * most + 8]
    text = "".join(letter if letter.isprintable() else "\N{MIDDLE DOT}" for letter in text)
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
