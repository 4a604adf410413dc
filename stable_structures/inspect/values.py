# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLR2004 - sizes that types have
"""Encoded values as something to read: by the type that was told, or by a guess at what decodes."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import cbor2
import numpy as np

from ..errors import IncompatibleType, StableError
from ..principal import Principal
from ..storable import Codec
from ..storable.compound import OptionCodec, ReverseCodec, RowCodec
from . import basilisk, candid

_PRINTABLE: Final = 0.9
_NUMBER_SIZES: Final = {1: "u8", 2: "u16", 4: "u32", 8: "u64", 16: "u128"}
_LARGEST_EXACT: Final = 2**53


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read encoded values: `decode` raises `ValueError`; `certain` says whether the type was told."""

    name: str
    decode: Callable[[bytes], Any] = field(compare=False)
    certain: bool = False

    @property
    def label(self) -> str:
        """The name, with a mark where it is a guess."""
        return self.name if self.certain else f"{self.name}?"

    def read(self, data: bytes) -> Any:
        """The value, or the bytes where they do not decode."""
        try:
            return self.decode(data)
        except ValueError:
            return data


def reading_of(codec: Codec[Any]) -> Reading:
    """By a type that was told."""
    return Reading(codec.name, codec.decode, certain=True)


def _cbor(data: bytes) -> Any:
    """A list, map or text: shorter items decode too often by chance."""
    if not data or data[0] >> 5 not in (3, 4, 5, 6):
        raise ValueError("no list, map, text or tag")
    stream = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(stream).decode()
    except Exception as error:  # noqa: BLE001 - tags run constructors of many types
        raise ValueError(str(error)) from None
    if stream.tell() != len(data):
        raise ValueError("bytes behind the item")
    return value


def _json(data: bytes) -> Any:
    if data[:1] not in (b"{", b"[", b'"'):
        raise ValueError("no object, list or text")
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _text(data: bytes) -> str:
    text = data.decode()
    if sum(letter.isprintable() or letter in "\n\r\t" for letter in text) < _PRINTABLE * len(text):
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


def guess(samples: Sequence[bytes]) -> Reading:
    r"""What all samples decode as; plain bytes where nothing fits. O(bytes). Never certain.

    >>> guess([b"hello", b"you"]).label, guess([bytes(7) + b"x", bytes(8)]).label, guess([b"\xff\xfe\xfd"]).label
    ('text?', 'u64?', 'bytes')
    """
    told = [data for data in samples if data]
    sizes = {len(data) for data in samples}
    if not told:
        return Reading("unit", _unit) if samples else RAW
    if sizes == {8} or (len(sizes) == 1 and sizes <= {1, 2, 4}) or (sizes == {16} and not _fits(_GUESSES[0], told)):
        return _number_guess(sizes.pop(), told)
    for reading in _GUESSES:
        if _fits(reading, told):
            return _named(reading, told)
    return RAW


def _fits(reading: Reading, samples: Sequence[bytes]) -> bool:
    if reading.name == "Basilisk" and all(len(data) == 1 for data in samples):
        return False
    try:
        for data in samples:
            reading.decode(data)
    except (ValueError, StableError):
        return False
    return True


def _number_guess(size: int, samples: Sequence[bytes]) -> Reading:
    """Numbers that are small enough to be meant as such; text and floats of just that size are likelier otherwise."""
    if all(_fits(_GUESSES[-1], [data]) and data.isascii() and data.strip(b"\0") == data for data in samples) and size > 1:
        return _GUESSES[-1]
    codec_name = _NUMBER_SIZES[size]
    if size in (4, 8) and all(_looks_like_float(data) for data in samples):
        return Reading(f"f{8 * size}", _FLOATS[size])
    if size == 16 and any(data[0] for data in samples):
        return RAW
    return Reading(codec_name, _number)


def _float(data: bytes, size: int) -> float:
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes are no f{8 * size}")
    return float(np.frombuffer(data, f">f{size}")[0])


_FLOATS: Final[dict[int, Callable[[bytes], Any]]] = {4: partial(_float, size=4), 8: partial(_float, size=8)}


def _looks_like_float(data: bytes) -> bool:
    """A number between a millionth and a million millions, or zero."""
    number = abs(float(np.frombuffer(data, f">f{len(data)}")[0]))
    return data[0] & 0x7F >= 0x38 and math.isfinite(number) and 1e-6 <= number <= 1e12


def _named(reading: Reading, samples: Sequence[bytes]) -> Reading:
    """With what Candid says of its types, where all samples say the same."""
    if reading.name != "Candid":
        return reading
    names = {", ".join(candid.read_message(data)[0]) for data in samples}
    return Reading(f"Candid {names.pop()}", reading.decode) if len(names) == 1 else reading


# ---- JSON ----


def to_json(value: Any) -> Any:  # noqa: PLR0911 - one for each kind of value
    """A value as JSON can say it: bytes as "0x...", principals as text, what JSON lacks as text. O(size).

    >>> to_json((b"ab", 2**60, float("nan"), {1: None}))
    ['0x6162', 1152921504606846976, 'NaN', [[1, None]]]
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value).replace("nan", "NaN").replace("inf", "Infinity")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"0x{bytes(value).hex()}"
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: to_json(item) for key, item in value.items()}
        return [[to_json(key), to_json(item)] for key, item in value.items()]
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    return str(value)


def from_json(codec: Codec[Any], value: Any) -> Any:
    """What `to_json` made of a value of the type, as a value again. O(size). Raises `IncompatibleType`.

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
    return _plain_from_json(codec, value)


def _plain_from_json(codec: Codec[Any], value: Any) -> Any:
    if isinstance(value, str):
        if codec.name == "Principal":
            return Principal.from_text(value)
        if codec.name in ("f32", "f64"):
            return float(value)
        if codec.name == "bool" and value in ("true", "false"):
            return value == "true"
        if codec.name == "bytes" or codec.name.startswith(("Blob", "Array")):
            return unhex(value)
        if codec.name.startswith(("u", "i")) and codec.bound.is_fixed_size:
            return int(value)
    return value


def unhex(text: str) -> bytes:
    """The bytes of "0x6162". Raises `IncompatibleType`."""
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise IncompatibleType(f"{text[:40]!r} are no bytes; write them in hexadecimal, as 0x6162") from None


def from_text(codec: Codec[Any], text: str) -> Any:
    """A value as a user writes it on the command line: text as it is, anything else as JSON. Raises `IncompatibleType`.

    >>> from ..storable import parse_type
    >>> from_text(parse_type("u64"), "7"), from_text(parse_type("str"), "7"), from_text(parse_type("bytes"), "0x37")
    (7, '7', b'7')
    """
    if codec.name == "str":
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if codec.name == "bytes" or codec.name.startswith(("Blob", "Array")):
        value = text
    try:
        made = from_json(codec, value)
        codec.encode(made)
    except (ValueError, TypeError) as error:
        raise IncompatibleType(f"{text!r} is no {codec.name}: {error}") from None
    return made


def shorten(value: Any, most: int = 60) -> str:
    """A value for a table."""
    text = json.dumps(to_json(value), ensure_ascii=False) if not isinstance(value, str) else value
    text = "".join(letter if letter.isprintable() else "\N{MIDDLE DOT}" for letter in text)
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def is_exact(number: int) -> bool:
    """Whether JavaScript reads the number as it is."""
    return abs(number) <= _LARGEST_EXACT
