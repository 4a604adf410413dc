# SPDX-License-Identifier: Apache-2.0
"""Guesses at the types of a structure that can be opened with them, and written into a schema.

A guess must fit how the bytes lie: keys of one size without their sizes need a type of that size, and elements of a vec
the bound in its header. Where no usual type fits, it is bytes of that size.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..encodings.candid.codec import CandidError, message_types
from ..storable import Array, Blob, Candid, Codec, parse_type
from ..storable.base import Data, python_order
from ..storable.octets import BYTES
from ..storable.order import OrderKind
from ..storable.scalars import UNIT
from .budget import guessing
from .formats.inference import InferredOrder, order_of
from .formats.layout import UNBOUNDED_MARK, Damage
from .formats.maps import MapReader
from .formats.sequences import SequenceReader, SlotReader
from .image import Image, Part
from .samples import sample_elements, sample_entries
from .schema import MemoryType, Row, schema_text
from .values import Reading, guess, named

_NAMES: Final = {"text": "str", "JSON": "str", "Principal": "principal", "CBOR": "cbor", "Basilisk": "basilisk", "unit": "unit"}
_NUMBERS: Final = ("u8", "u16", "u32", "u64", "u128", "f32", "f64")


class Sides(NamedTuple):
    """The types of a structure; of one without keys, `key` is None."""

    key: Codec[Any] | None
    value: Codec[Any] | None
    guessed: tuple[bool, bool] = (False, False)
    """Which of them are guesses."""


def types_of(part: Part, given: Sides | None = None, *, exact_candid: bool = False) -> Sides:
    """Return the types of a structure: those of the schema, else guesses that fit how its bytes lie. O(1): of a sample.

    `exact_candid`: with the type that all messages of the sample have. Raises `Damage`, and `Unreadable` if there is no structure.
    """
    sides = part.given.types if given is None else given[:2]
    key, value = (None if one is None else named(one, part.names) for one in sides)
    reader = part.open(key, value)
    with guessing():
        if isinstance(reader, MapReader):
            return _of_map(part, reader, key, value, exact_candid=exact_candid)
        found = value or key or _of_elements(part, reader, exact_candid=exact_candid)
        return Sides(None, found, (False, value is None and key is None))


def _of_map(part: Part, reader: MapReader, key: Codec[Any] | None, value: Codec[Any] | None, *, exact_candid: bool) -> Sides:
    keys, values = sample_entries(reader)
    layout, guessed = reader.layout, (key is None, value is None)
    most_key, most_value = (reader.max_key, reader.max_value) if reader.derived else (None, None)
    if key is None:
        seen, has_sizes = _codec(part, keys, exact_candid=exact_candid), layout.key_fixed is None
        if seen.key_problem:  # numbers that look like floats, or nothing at all
            seen = BYTES
        key = _fitting(_with_sizes(seen) if has_sizes else seen, layout.key_fixed, most_key, exact=not has_sizes)
        key = _in_order(key, reader.order, keys)
    if value is None:
        found = UNIT if part.word == "set" else _codec(part, values, exact_candid=exact_candid)
        value = _fitting(found, None, most_value, exact=False)
    return Sides(key, value, guessed)


class AsSeen(Codec[bytes]):
    """Bytes that are ordered as the keys of a map are seen to be, so that lookups and ranges find them."""

    as_is = True

    def __init__(self, part: Codec[Any], order: InferredOrder) -> None:
        super().__init__(part.name, part.bound, python_order(part.bound), part, order.name)
        self._ascends = order.ascends

    def encode(self, value: Data) -> bytes:
        """Return the bytes."""
        return BYTES.encode(value)

    def decode(self, data: Data) -> bytes:
        """Return the bytes."""
        return bytes(data)

    def compare(self, a: bytes, b: bytes) -> int:
        """Return -1, 0 or 1 by the order that was seen."""
        return 0 if a == b else -1 if self._ascends(a, b) else 1


def _in_order(key: Codec[Any], order: InferredOrder, keys: list[bytes]) -> Codec[Any]:
    """Return a guess at the type of keys if it orders them as the map does, else their bytes in the order that was seen."""
    order_of_type = order_of(key)
    if order.name == "bytes" and key.order.kind is OrderKind.BYTES:
        return key
    try:
        same = all(order_of_type.ascends(a, b) == order.ascends(a, b) for a, b in pairwise(keys))
    except TypeError:
        same = False
    return key if same else AsSeen(BYTES if key.bound.max_size is None else key, order)


def _of_elements(part: Part, reader: SequenceReader, *, exact_candid: bool) -> Codec[Any]:
    found = _codec(part, sample_elements(reader), exact_candid=exact_candid)
    if isinstance(reader, SlotReader):
        found = found if reader.fixed else _with_sizes(found)
        return _fitting(found, reader.max_size if reader.fixed else None, reader.max_size, exact=reader.fixed)
    return found


def _with_sizes(found: Codec[Any]) -> Codec[Any]:
    """Return a type whose sizes are stored: bytes for those of a fixed size, since what was seen only happens to have one size."""
    return BYTES if found.bound.is_fixed_size else found


def _fitting(found: Codec[Any], fixed: int | None, most: int | None, *, exact: bool) -> Codec[Any]:
    """Return a type if its bound is that of the bytes, else bytes with that bound."""
    bound = found.bound
    if exact:
        return found if bound.is_fixed_size and bound.max_size == fixed else Array(fixed or 0)
    if most is None or most == UNBOUNDED_MARK:
        return found
    return found if bound.max_size == most else Blob(most)


def _codec(part: Part, samples: list[bytes], *, exact_candid: bool) -> Codec[Any]:
    """Return the type that all samples decode as."""
    reading: Reading = guess(samples)
    name = reading.name.partition(" ")[0]
    if name == "Candid":
        return (_exact(samples, part) if exact_candid else None) or Candid(names=part.names)
    return parse_type(_NAMES.get(name, name)) if name in _NAMES or name in _NUMBERS else BYTES


def _exact(samples: list[bytes], part: Part) -> Candid | None:
    """Return the Candid type of all messages, if they have one and a line holds it."""
    try:
        found = {message_types(data, part.names) for data in samples if data}
    except CandidError:
        return None
    types = found.pop() if len(found) == 1 else None
    return None if types is None else Candid(types)


# ---- a first schema ----


def first_schema(image: Image) -> str:
    """Return the text of a schema of an image: what is known of its memories, and guesses, which are marked. O(memories)."""
    did = image.schema.did
    return schema_text(
        [_row_of(part) for part in image.parts.values()], None if did is None else str(did.resolve() if isinstance(did, Path) else did)
    )


def _row_of(part: Part) -> Row:
    word = part.word.removesuffix(" index")
    if not part.is_structure:
        where = "log data: its index is in another memory" if part.index is not None else part.title
        return Row(MemoryType(part.id, part.given.name), comments=(where,))
    memory = MemoryType(part.id, part.given.name, word, data=None if part.data is None else part.data.id)
    try:
        sides = types_of(part, exact_candid=True)
    except Damage as damage:
        return Row(memory, comments=(f"damaged: {damage}",))
    guesses = tuple(name for name, guessed in zip(("key", "value"), sides.guessed, strict=True) if guessed)
    if guesses and getattr(part.open(), "length", 1) == 0:
        return Row(memory, _text(part.given.key), _text(part.given.value), comments=("empty: nobody can guess its types",))
    key, value = sides.key, None if word == "set" else sides.value
    if isinstance(key, AsSeen):
        return Row(memory, None, _text(value), guesses, (f"key = ... is not known: the keys are not ordered as {key.name}",))
    return Row(memory, _text(key), _text(value), guesses)


def _text(codec: Codec[Any] | None) -> str | None:
    return None if codec is None else codec.name
