# SPDX-License-Identifier: Apache-2.0
"""Values and annotations that the CDKs' modules share with their Candid: principals, references to methods, marks."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...principal import InvalidPrincipal, Principal


class AccountIdentifier:
    """An account of the ledger: 32 bytes."""

    def __init__(self, hash: bytes) -> None:  # noqa: A002 - the CDKs' word
        self.bytes = hash

    def to_str(self) -> str:
        """Return the account in hexadecimal, with 0x."""
        return "0x" + self.bytes.hex()

    __str__ = to_str


class CdkPrincipal:
    """A principal with the interface of the CDKs' classes: `from_str`, `to_str`, `bytes`, `hex`. Compared by identity, as in Kybra."""

    __slots__ = ("_raw",)

    def __init__(self, bytes: bytes = b"") -> None:  # noqa: A002 - the CDKs' word
        self._raw = Principal(bytes).bytes

    @classmethod
    def management_canister(cls) -> Any:
        """Return the principal without bytes."""
        return cls()

    @classmethod
    def anonymous(cls) -> Any:
        """Return the caller who has not signed in."""
        return cls(b"\x04")

    @classmethod
    def self_authenticating(cls, pubkey: str | bytes) -> Any:
        """Return the principal of a public key in DER form, given as bytes or in hexadecimal."""
        raw = bytes.fromhex(pubkey) if isinstance(pubkey, str) else pubkey
        return cls(hashlib.sha224(raw).digest() + b"\x02")

    @classmethod
    def from_str(cls, s: str) -> Any:
        """Return the principal of a text."""
        try:
            return cls(Principal.from_text(s).bytes)
        except InvalidPrincipal as error:
            raise Exception("principal format error") from error  # noqa: TRY002 - what the CDKs raise

    @classmethod
    def from_hex(cls, s: str) -> Any:
        """Return the principal of bytes in hexadecimal."""
        return cls(bytes.fromhex(s.lower()))

    @property
    def bytes(self) -> bytes:
        """Return the raw bytes."""
        return self._raw

    @property
    def hex(self) -> str:
        """Return the raw bytes in hexadecimal, upper case."""
        return self._raw.hex().upper()

    @property
    def isPrincipal(self) -> bool:  # noqa: N802 - the CDKs' word
        """True."""
        return True

    def to_str(self) -> str:
        """Return the text."""
        return Principal(self._raw).to_text()

    def to_account_id(self, sub_account: int = 0) -> AccountIdentifier:
        """Return the ledger's account of this principal."""
        digest = hashlib.sha224(b"\x0aaccount-id" + self._raw + sub_account.to_bytes(32, "big")).digest()
        return AccountIdentifier(zlib.crc32(digest).to_bytes(4, "big") + digest)

    def __repr__(self) -> str:
        return f"Principal({self.to_str()})"

    def __str__(self) -> str:
        return self.to_str()

    def __deepcopy__(self, memo: dict[int, Any]) -> CdkPrincipal:
        return type(self)(self._raw)


@dataclass(frozen=True)
class Signature:
    """The signature in a reference to a method: `mode` is query, update or oneway."""

    mode: str
    args: tuple[Any, ...]
    result: Any = None


class FuncTuple:
    """A reference to a method in annotations; its values are tuples of a principal and the method's name."""

    signature: Any = None

    def __new__(cls, reference: Iterable[Any]) -> tuple[Any, ...]:  # type: ignore[misc]
        """Return a plain tuple."""
        return tuple(reference)


class Marked:
    """`Manual[T]` and `Async[T]` in an annotation: the name, and T."""

    def __init__(self, name: str, item: Any) -> None:
        self.name, self.item = name, item

    def __repr__(self) -> str:
        return f"{self.name}[{self.item!r}]"
