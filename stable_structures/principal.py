# SPDX-License-Identifier: Apache-2.0
"""Principals: the identifiers of users and canisters on the Internet Computer.

Raw, a principal is 0 to 29 bytes. Its text is the base32 form (lower case, no padding) of its CRC-32, big-endian,
followed by the raw bytes, in groups of five with a dash between (the interface specification of the IC).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import Final, TypeAlias

from .errors import StableError

MAX_LENGTH: Final = 29
"""The maximum length of a principal in bytes."""

_CHECKSUM_SIZE: Final = 4
_GROUP: Final = 5
_TEXT_LENGTH: Final = 63
"""Characters of the text of the longest principal: 53 of base32 and 10 dashes."""


_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz234567-")

_Bytes: TypeAlias = bytes  # inside Principal, `bytes` is its property


class InvalidPrincipal(StableError, ValueError):
    """Text or bytes that are not a principal; the message says which rule they break."""


class Principal:
    """An identifier of 0 to 29 bytes: immutable, hashable, ordered by length and then by bytes. O(1).

    Raises `InvalidPrincipal` for more than 29 bytes and `TypeError` for anything but bytes.

    >>> Principal(bytes([4])) == Principal.anonymous()
    True
    >>> str(Principal.from_text("ryjl3-tyaaa-aaaaa-aaaba-cai"))
    'ryjl3-tyaaa-aaaaa-aaaba-cai'
    """

    __slots__ = ("_raw",)

    _raw: bytes

    def __init__(self, raw: bytes | bytearray | memoryview = b"") -> None:
        if type(raw) is not bytes:
            raw = _as_bytes(raw)
        if len(raw) > MAX_LENGTH:
            raise InvalidPrincipal(f"a principal has at most {MAX_LENGTH} bytes, got {len(raw)}; hash a longer identifier first")
        _set_raw(self, raw)

    @classmethod
    def from_bytes(cls, raw: bytes | bytearray | memoryview) -> Principal:
        """Return the principal of raw bytes. O(1). Raises `InvalidPrincipal`.

        >>> Principal.from_bytes(b"").to_text()
        'aaaaa-aa'
        """
        return cls(raw)

    @classmethod
    def from_text(cls, text: str) -> Principal:
        r"""Return the principal for a text; the case of letters does not matter. O(1).

        Raises `InvalidPrincipal` for a wrong character, checksum, length or grouping.

        >>> Principal.from_text("2vxsx-fae").bytes
        b'\x04'
        >>> Principal.from_text("2vxsx-faf")
        Traceback (most recent call last):
        stable_structures.principal.InvalidPrincipal: invalid principal '2vxsx-faf': its checksum is d56f2b94, ...
        """
        if not isinstance(text, str):
            raise TypeError(f"the text of a principal is a str, got {type(text).__name__}; use Principal(raw) for raw bytes")
        lower = text.lower()
        principal = cls(_checked(text, _decoded(text, lower)))
        canonical = principal.to_text()
        if lower != canonical:
            grouped = lower.replace("-", "") == canonical.replace("-", "")
            problem = "its dashes are not after every fifth character" if grouped else "it ends in bits that belong to no byte"
            raise InvalidPrincipal(f"invalid principal {text!r}: {problem}; write {canonical!r}")
        return principal

    @classmethod
    def from_str(cls, text: str) -> Principal:
        """Return the same as `from_text`, under the name that other Python libraries for the IC use. O(length). Raises `InvalidPrincipal`.

        >>> Principal.from_str("aaaaa-aa") == Principal.management_canister()
        True
        """
        return cls.from_text(text)

    @classmethod
    def anonymous(cls) -> Principal:
        """Return the caller who has not signed in. O(1).

        >>> Principal.anonymous().to_text()
        '2vxsx-fae'
        """
        return cls(b"\x04")

    @classmethod
    def management_canister(cls) -> Principal:
        """Return the canister that manages canisters, which has no bytes. O(1).

        >>> Principal.management_canister().to_text()
        'aaaaa-aa'
        """
        return cls(b"")

    @classmethod
    def self_authenticating(cls, der_public_key: bytes) -> Principal:
        """Return the principal of a public key in DER form: its SHA-224, then the byte 2. O(size).

        >>> len(Principal.self_authenticating(b"a key in DER form").bytes)
        29
        """
        return cls(hashlib.sha224(der_public_key).digest() + b"\x02")

    @property
    def bytes(self) -> bytes:
        r"""Return the raw bytes. O(1).

        >>> Principal.anonymous().bytes
        b'\x04'
        """
        return self._raw

    def to_text(self) -> str:
        """Return the canonical text. O(1).

        >>> Principal(bytes.fromhex("abcd01")).to_text()
        'em77e-bvlzu-aq'
        """
        plain = base64.b32encode(_checksum(self._raw) + self._raw).decode().rstrip("=").lower()
        return "-".join(plain[at : at + _GROUP] for at in range(0, len(plain), _GROUP))

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"Principal.from_text({self.to_text()!r})"

    def __bytes__(self) -> _Bytes:
        return self._raw

    def __eq__(self, other: object) -> bool:
        return self._raw == other._raw if isinstance(other, Principal) else NotImplemented

    def __hash__(self) -> int:
        return hash((Principal, self._raw))

    def __lt__(self, other: object) -> bool:
        return self._rank() < other._rank() if isinstance(other, Principal) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self._rank() <= other._rank() if isinstance(other, Principal) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self._rank() > other._rank() if isinstance(other, Principal) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self._rank() >= other._rank() if isinstance(other, Principal) else NotImplemented

    def _rank(self) -> tuple[int, _Bytes]:
        return len(self._raw), self._raw

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Principal cannot be changed ({name!r}); create another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Principal cannot be changed ({name!r}); create another one")

    def __reduce__(self) -> tuple[type[Principal], tuple[_Bytes]]:
        return Principal, (self._raw,)


_set_raw = vars(Principal)["_raw"].__set__  # bypasses the guard of __setattr__
raw_of: Final[Callable[[Principal], bytes]] = vars(Principal)["_raw"].__get__
"""Returns the raw bytes of a principal, and of nothing else that has `bytes`, as a UUID has: raises `TypeError`."""


def _as_bytes(raw: object) -> bytes:
    if not isinstance(raw, (bytes, bytearray, memoryview)):
        hint = "; use Principal.from_text(text) for text" if isinstance(raw, str) else ""
        raise TypeError(f"expected bytes for a principal, got {type(raw).__name__}{hint}")
    return bytes(raw)


def _checksum(raw: bytes) -> bytes:
    return binascii.crc32(raw).to_bytes(_CHECKSUM_SIZE, "big")


def _decoded(text: str, lower: str) -> bytes:
    """Return the bytes encoded by the base32 characters, without checking them."""
    if len(lower) > _TEXT_LENGTH:
        raise InvalidPrincipal(
            f"invalid principal {text[:20]!r}...: {len(lower)} characters, at most {_TEXT_LENGTH}; check what was pasted"
        )
    plain = lower.replace("-", "").upper()
    strange = sorted(set(text) - _LETTERS)  # of the text itself: the sign of kelvin is a k in lower case
    if strange:
        raise InvalidPrincipal(f"invalid principal {text!r}: it contains {''.join(strange)!r}; use only a-z, 2-7 and dashes")
    try:
        return base64.b32decode(plain + "=" * (-len(plain) % 8))
    except binascii.Error:
        raise InvalidPrincipal(
            f"invalid principal {text!r}: {len(plain)} characters do not make whole bytes; check what was cut off"
        ) from None


def _checked(text: str, data: bytes) -> bytes:
    """Return the raw bytes after checking the checksum."""
    if len(data) < _CHECKSUM_SIZE:
        raise InvalidPrincipal(f"invalid principal {text!r}: {len(data)} bytes, fewer than the checksum of 4; check what was cut off")
    raw = data[_CHECKSUM_SIZE:]
    if len(raw) > MAX_LENGTH:
        raise InvalidPrincipal(f"invalid principal {text!r}: {len(raw)} bytes, at most {MAX_LENGTH}; check what was pasted")
    if data[:_CHECKSUM_SIZE] != _checksum(raw):
        found, wanted = data[:_CHECKSUM_SIZE].hex(), _checksum(raw).hex()
        raise InvalidPrincipal(f"invalid principal {text!r}: its checksum is {found}, but its bytes need {wanted}; look for a typing error")
    return raw
