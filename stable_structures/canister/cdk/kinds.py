# SPDX-License-Identifier: Apache-2.0
"""Values and annotations that the CDKs' modules and their Candid both know: principals, references to methods, marks."""

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
        """In hexadecimal, with 0x."""
        return "0x" + self.bytes.hex()

    __str__ = to_str


class CdkPrincipal:
    """A principal as the CDKs' classes have it: `from_str`, `to_str`, `bytes`, `hex`. Compared by identity, as Kybra's is."""

    __slots__ = ("_raw",)

    def __init__(self, bytes: bytes = b"") -> None:  # noqa: A002 - the CDKs' word
        self._raw = Principal(bytes).bytes

    @classmethod
    def management_canister(cls) -> Any:
        """The principal without bytes."""
        return cls()

    @classmethod
    def anonymous(cls) -> Any:
        """The caller who has not signed in."""
        return cls(b"\x04")

    @classmethod
    def self_authenticating(cls, pubkey: str | bytes) -> Any:
        """The principal of a public key in DER form, given as bytes or in hexadecimal."""
        raw = bytes.fromhex(pubkey) if isinstance(pubkey, str) else pubkey
        return cls(hashlib.sha224(raw).digest() + b"\x02")

    @classmethod
    def from_str(cls, s: str) -> Any:
        """The principal of a text."""
        try:
            return cls(Principal.from_text(s).bytes)
        except InvalidPrincipal as error:
            raise Exception("principal format error") from error  # noqa: TRY002 - what the CDKs raise

    @classmethod
    def from_hex(cls, s: str) -> Any:
        """The principal of bytes in hexadecimal."""
        return cls(bytes.fromhex(s.lower()))

    @property
    def bytes(self) -> bytes:
        """The raw bytes."""
        return self._raw

    @property
    def hex(self) -> str:
        """The raw bytes in hexadecimal, upper case."""
        return self._raw.hex().upper()

    @property
    def isPrincipal(self) -> bool:  # noqa: N802 - the CDKs' word
        """True."""
        return True

    def to_str(self) -> str:
        """The text."""
        return Principal(self._raw).to_text()

    def to_account_id(self, sub_account: int = 0) -> AccountIdentifier:
        """The ledger's account of this principal."""
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
    """What a reference to a method says of it: `mode` is query, update or oneway."""

    mode: str
    args: tuple[Any, ...]
    result: Any = None


class FuncTuple:
    """A reference to a method in annotations; its values are tuples of a principal and the method's name."""

    signature: Any = None

    def __new__(cls, reference: Iterable[Any]) -> tuple[Any, ...]:  # type: ignore[misc]
        """A plain tuple."""
        return tuple(reference)


class Marked:
    """`Manual[T]` and `Async[T]` in an annotation: the name, and T."""

    def __init__(self, name: str, item: Any) -> None:
        self.name, self.item = name, item

    def __repr__(self) -> str:
        return f"{self.name}[{self.item!r}]"
