# SPDX-License-Identifier: Apache-2.0
"""Basilisk's types, and their values as bytes, as a canister writes them (the tags: encodings/basilisk.py)."""

from __future__ import annotations

from typing import Any, Final

from ...encodings.basilisk import NUMBERS, BasiliskError, Reader, encoded
from ...errors import CorruptMemory
from ...storable.blame import raise_of_moment
from .kinds import CdkPrincipal


class Principal(CdkPrincipal):
    """Basilisk's principal: created from bytes or text, compared by value."""

    __slots__ = ()

    def __init__(self, arg: bytes | str | None = None) -> None:
        super().__init__(CdkPrincipal.from_str(arg).bytes if isinstance(arg, str) else arg or b"")

    def __eq__(self, other: object) -> bool:
        return self._raw == other._raw if isinstance(other, Principal) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._raw)

    def __repr__(self) -> str:
        return f"Principal({self.to_str()!r})"


class Hint:
    """A type in the brackets of a structure that has its own encoding."""

    _stable_tag: int
    _stable_fmt: str


class nat8(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x10, NUMBERS[0x10].format


class nat16(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x11, NUMBERS[0x11].format


class nat32(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x12, NUMBERS[0x12].format


class nat64(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x13, NUMBERS[0x13].format


class int8(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x14, NUMBERS[0x14].format


class int16(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x15, NUMBERS[0x15].format


class int32(Hint, int):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x16, NUMBERS[0x16].format


class float32(Hint, float):  # noqa: N801, D101
    _stable_tag, _stable_fmt = 0x17, NUMBERS[0x17].format


HINTS: Final[tuple[type[Hint], ...]] = (nat8, nat16, nat32, nat64, int8, int16, int32, float32)
_MOST_NESTING: Final = 400


def hint_of(given: Any) -> type[Hint] | None:
    """Return the type in the brackets, if it has its own encoding."""
    return given if isinstance(given, type) and issubclass(given, Hint) else None


def encode(value: Any, hint: type[Hint] | None = None) -> bytes:
    r"""Return the bytes of a value. O(size). Raises `ValueError` for what Basilisk cannot store, `struct.error` for a number out of range.

    >>> encode("Ada"), encode(258, nat16), encode([True, None])
    (b'\x04\x00\x00\x00\x03Ada', b'\x11\x01\x02', b'\x07\x00\x00\x00\x02\x01\x01\x00')
    """
    if hint is not None:
        return bytes([hint._stable_tag]) + NUMBERS[hint._stable_tag].pack(value)
    return encoded(value, CdkPrincipal, CdkPrincipal.to_str)


def decode(data: bytes) -> Any:
    r"""Return the value decoded from bytes. O(size). Raises `CorruptMemory` if they are not a value.

    >>> decode(b"\x02" + bytes(7) + b"\x07"), decode(b"\x09\x00\x00\x00\x01\x03" + bytes(8))
    (7, (0.0,))
    """
    try:
        return Reader(data, _principal, _MOST_NESTING).read()[0]
    except BasiliskError as error:
        raise CorruptMemory(
            f"{len(data)} bytes are not a value that Basilisk wrote: {error}; the memory is damaged, or another program wrote it"
        ) from error


def _principal(text: str) -> Principal:
    try:
        return Principal(text)
    except Exception as error:
        raise_of_moment(error)
        raise ValueError(f"invalid principal {text!r}") from error
