# SPDX-License-Identifier: Apache-2.0
"""How large the encoding of a type can be (docs/format.md#types)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..errors import BoundExceeded, IncompatibleType

MAX_SIZE: Final = 2**32 - 1
"""The largest bound: the format stores sizes in 4 bytes."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """No encoding is longer than `max_size` bytes; with `is_fixed_size` each has exactly that many. O(1).

    Raises `BoundExceeded` if `max_size` is not in 0..2**32-1.

    >>> Bounded(8, is_fixed_size=True)
    Bounded(max_size=8, is_fixed_size=True)
    """

    max_size: int
    is_fixed_size: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.max_size, bool) or not isinstance(self.max_size, int):
            raise IncompatibleType(f"a bound must be an integer, got {self.max_size!r}; write Bounded(max_size, is_fixed_size)")
        if not 0 <= self.max_size <= MAX_SIZE:
            raise BoundExceeded(f"a bound must be 0 to {MAX_SIZE} bytes, got {self.max_size}; use BOUND = Unbounded for larger values")


class UnboundedType:
    """The class of `Unbounded`."""

    __slots__ = ()

    max_size: Final = None
    is_fixed_size: Final = False

    def __repr__(self) -> str:
        return "Unbounded"

    def __reduce__(self) -> str:
        return "Unbounded"


Unbounded: Final = UnboundedType()
"""The bound of a type whose encodings may have any length.

>>> Unbounded, Unbounded.max_size, Unbounded.is_fixed_size
(Unbounded, None, False)
"""

Bound: TypeAlias = Bounded | UnboundedType


def sum_of_bounds(bounds: Sequence[Bound], extra: int = 0) -> Bound:
    """Return the bound of encodings placed one behind the other plus `extra` bytes; fixed if all are."""
    total = extra
    for bound in bounds:
        if not isinstance(bound, Bounded):
            return Unbounded
        total += bound.max_size
    return Bounded(total, all(bound.is_fixed_size for bound in bounds))
