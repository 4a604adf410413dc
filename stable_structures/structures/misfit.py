# SPDX-License-Identifier: Apache-2.0
"""Decide whether an unreadable structure is damaged, or opened with other types than it was written with.

A memory does not record the types it was written with. If a structure is sound whatever its types, but much of its
content is not a value of the given types, then the types are wrong. One damaged byte in a sound structure spoils one value,
so a value that fails alone among many good ones is damaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ..errors import BadMagic, CorruptMemory, IncompatibleType, UnsupportedVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, TypeGuard

    from ..storable import Codec

LOOKED_AT: Final = 256
"""How many entries to try."""
_FEW: Final = 5
"""The types are wrong if at least one entry in this many fails."""


class Tried(NamedTuple):
    """How many entries were tried, how many of them failed to decode, and the smallest and largest size of each part."""

    entries: int
    failed: int
    sizes: tuple[tuple[int, int], ...]

    @property
    def is_misfit(self) -> bool:
        """Return whether the types are wrong, given that the structure is sound."""
        return self.failed > 0 and (self.failed == self.entries or (self.failed > 1 and self.failed >= self.entries / _FEW))


def tried(codecs: Sequence[Codec[Any]], entries: Iterable[Sequence[bytes]]) -> Tried:
    """Try to decode encoded entries, each as many parts as there are codecs. O(bytes)."""
    count = failed = 0
    sizes: list[tuple[int, int]] = []
    for entry in entries:
        count += 1
        failed += not all(_decodes(codec, part) for codec, part in zip(codecs, entry, strict=True))
        lengths = [len(part) for part in entry]
        sizes = [(min(low, n), max(high, n)) for (low, high), n in zip(sizes, lengths, strict=True)] if sizes else [(n, n) for n in lengths]
    return Tried(count, failed, tuple(sizes))


def _decodes(codec: Codec[Any], data: bytes) -> bool:
    try:
        codec.decode(data)
    except CorruptMemory:
        return False
    return True


def say_sizes(sizes: Sequence[tuple[int, int]]) -> str:
    """Return the sizes of keys and values, or of values, in words.

    >>> say_sizes([(8, 8), (0, 5)])
    'keys of 8 bytes and values of 0 to 5'
    """
    names = ("keys", "values") if len(sizes) > 1 else ("values",)
    texts = [f"{name} of {low}" + (f" to {high}" if high != low else "") for name, (low, high) in zip(names, sizes, strict=True)]
    return f"{texts[0]} bytes" + "".join(f" and {text}" for text in texts[1:])


def misfit(name: str, problem: str, sizes: Sequence[tuple[int, int]]) -> IncompatibleType:
    """Return the error for a sound structure that was opened with other types than it was written with."""
    there = f", and has {say_sizes(sizes)}" if sizes else ""
    return IncompatibleType(
        f"{name}: {problem}; the structure is sound{there}, so it was written with other types. "
        "Open it with those; if these are the right types, it is damaged: restore a backup"
    )


def is_damage(error: BaseException) -> TypeGuard[CorruptMemory]:
    """Return whether an error reports bytes that break a rule, and not another structure or version."""
    return isinstance(error, CorruptMemory) and not isinstance(error, BadMagic | UnsupportedVersion)
