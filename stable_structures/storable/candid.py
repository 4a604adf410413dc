# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - Codec says what encode, decode and compare do
"""Values as the canisters' CDKs write them: Candid messages (ic-cdk, Kybra), and Basilisk's tagged values. Extension: not in the crate.

A Candid message says its types, but not the names of fields and variants: these are hashes in it. They come from the
type that is given, or from a table of names by their hashes.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping
from typing import Any, Final

from ..encodings.basilisk import BasiliskError, Reader, encoded
from ..encodings.candid.codec import NO_NAMES, CandidError, decode, encode, encode_untyped
from ..encodings.candid.types import NAT8, Opt, Primitive, Record, Type, Vec, parse_types, resolve, type_text, with_names
from ..encodings.limits import TooMuch
from ..errors import BoundExceeded, IncompatibleType, SourceError, Unsupported
from ..principal import Principal
from .base import Codec, Data, python_order, shown
from .bound import Unbounded
from .order import OrderKind, leaf

_DEEPEST: Final = 400
_NO_ORDER: Final = frozenset({"float32", "float64", "reserved", "empty", "null"})
_KEY_PROBLEM: Final = (
    "the order of its values is known to the canister's code alone; "
    "only numbers, text, bool, blob, principal and tuples of these can be keys"
)


class Candid(Codec[Any]):
    r"""A Candid message: `Candid()` for whatever the message says, `Candid("record { name : text; age : nat8 }")` for one type.

    Values are as in the harness: records are dicts (tuples if their fields are 0, 1, 2...), a variant is a dict of its tag, blobs
    are bytes. Several types in parentheses, `Candid("(nat, text)")`, are a tuple of values. Decoding follows Candid's rules of
    subtyping: unknown fields are left out, missing options are None. Without a type, `names` may say which names fields have,
    by their hashes, and only values whose type is clear can be encoded. O(size) for each value.

    >>> from stable_structures.storable import Candid
    >>> person = Candid("record { name : text; age : nat8 }")
    >>> data = person.encode({"name": "Ada", "age": 36})
    >>> person.decode(data)
    {'age': 36, 'name': 'Ada'}
    >>> Candid().decode(data)
    {'_4846783': 36, '_1224700491': 'Ada'}
    """

    def __init__(
        self,
        text: str | tuple[Type, ...] | None = None,
        *,
        names: Mapping[int, str] = NO_NAMES,
        types: Mapping[str, Type] | None = None,
    ) -> None:
        self.types = _types_of(text, types) if isinstance(text, str) else text
        """The type of each value of a message; None if the message says it."""
        self.names = names
        name = "candid" if self.types is None else f"candid<{_text_of(self.types)}>"
        identity = (tuple(sorted(names.items())),) if self.types is None else self.types
        super().__init__(name, Unbounded, python_order(Unbounded), name, *identity)
        if self.types is not None and not all(_has_order(one, ()) for one in self.types):
            self.key_problem = self.heap_problem = _KEY_PROBLEM

    def encode(self, value: Any) -> bytes:
        try:
            if self.types is None:
                return encode_untyped([value])
            return encode([value] if len(self.types) == 1 else self._several(value), self.types)
        except OverflowError as error:
            raise BoundExceeded(f"{self.name} cannot hold {shown(value)}: {error}") from None
        except Unsupported:
            raise IncompatibleType(
                f"candid: the type of {shown(value)} is not clear; give it, as in candid<record {{ name : text }}>"
            ) from None
        except (TypeError, ValueError, RecursionError) as error:
            raise IncompatibleType(f"{self.name} cannot hold {shown(value)}: {error}") from None

    def _several(self, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, tuple):
            self._wrong_type(value, f"a tuple of {len(self.types or ())} values")
        return value

    def decode(self, data: Data) -> Any:
        try:
            values = decode(bytes(data), self.types, names=self.names, whole=True)
        except CandidError as error:
            self._corrupt(f"encoded as a Candid message; {error}")
        return values[0] if len(values) == 1 else tuple(values)

    def compare(self, a: Any, b: Any) -> int | None:
        try:
            return -1 if a < b else 0 if a == b else 1 if b < a else None
        except TypeError:
            return None

    def with_names(self, names: Mapping[int, str]) -> Candid:
        """Return the same type with these names for fields that have none of their own, only a hash. O(parts)."""
        if self.types is None:
            return Candid(names=names) if names else self
        types = tuple(with_names(one, names) for one in self.types)
        return self if types == self.types else Candid(types)


def _types_of(text: str, types: Mapping[str, Type] | None) -> tuple[Type, ...]:
    """Return the types that a text says: one, or several in parentheses. Raises `IncompatibleType`."""
    try:
        found = parse_types(text if text.lstrip().startswith("(") else f"({text})", types)
        for one in found:
            _require_known(one, ())
    except (SourceError, IndexError, ValueError, RecursionError) as error:
        raise IncompatibleType(
            f"invalid Candid type {text[:100]!r}: {error}; write for example record {{ name : text; age : nat8 }}"
        ) from None
    return found


def _require_known(given: Type, inside: tuple[Type, ...]) -> None:
    """Raise `SourceError` for a name that is not defined, at any depth."""
    found = resolve(given)
    if given in inside:
        return
    if isinstance(found, (Opt, Vec)):
        _require_known(found.item, (*inside, given))
    for one in getattr(found, "fields", ()):
        _require_known(one.type, (*inside, given))


def _text_of(types: tuple[Type, ...]) -> str:
    return type_text(types[0]) if len(types) == 1 else f"({', '.join(map(type_text, types))})"


def _has_order(given: Type, inside: tuple[Type, ...]) -> bool:
    """Return whether everybody orders the values of a type in the same way."""
    found = resolve(given)
    if isinstance(found, Primitive):
        return found.name not in _NO_ORDER
    if isinstance(found, Vec):
        return resolve(found.item) == NAT8
    return (
        isinstance(found, Record)
        and found.is_tuple
        and given not in inside
        and all(_has_order(one.type, (*inside, given)) for one in found.fields)
    )


class Basilisk(Codec[Any]):
    r"""A value as Basilisk, the Python CDK, writes it: a tag, then the value (docs/platform.md#basilisk). O(size) for each value.

    Keys are ordered by their bytes, as in Basilisk: so text by its length first. Numbers are written as Python's `int` and
    `float`; those that a canister wrote with a width of their own, as nat8, are read, and written back as `int`.

    >>> from stable_structures.storable import Basilisk
    >>> Basilisk().decode(Basilisk().encode({"name": "Ada", "age": 36}))
    {'name': 'Ada', 'age': 36}
    """

    def __init__(self) -> None:
        super().__init__("basilisk", Unbounded, leaf(OrderKind.BYTES, Unbounded))

    def encode(self, value: Any) -> bytes:
        try:
            return encoded(value, Principal, str)
        except (ValueError, struct.error, RecursionError, OverflowError) as error:
            raise IncompatibleType(f"basilisk cannot hold {shown(value)}: {error}") from None

    def decode(self, data: Data) -> Any:
        data = bytes(data)
        try:
            value, end = Reader(data, Principal.from_text, _DEEPEST).read()
        except (BasiliskError, TooMuch) as error:
            self._corrupt(f"encoded as Basilisk encodes; {error}")
        if end != len(data):
            self._corrupt(f"encoded as Basilisk encodes; {len(data) - end} bytes behind the value")
        return value

    def compare(self, a: Any, b: Any) -> int:
        x, y = self.encode(a), self.encode(b)
        return (x > y) - (x < y)


CANDID: Final = Candid()
BASILISK: Final = Basilisk()


@functools.lru_cache(maxsize=256)
def candid_of(text: str) -> Candid:
    """Return the codec of a Candid type, made once."""
    return Candid(text)
