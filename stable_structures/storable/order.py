# SPDX-License-Identifier: Apache-2.0
"""How encoded values are compared without decoding them: the description of a type for native/structures/order.h.

An `Order` is a tree that mirrors the type. Its parts carry their bounds, because the C core uses them to find the parts of
a tuple inside its encoding. If concatenation keeps the order of the bytes, the tree shrinks to BYTES, so that
`tuple[u32, u32]` compares as one integer of 8 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from .bound import Bound, Bounded, Unbounded, sum_of_bounds

MAX_TERMS: Final = 64
"""The C core takes trees of at most this many nodes; larger ones are compared in Python."""


class OrderKind(IntEnum):
    """The kinds of comparison of the C core; the numbers are those of `enum ss_order_kind`."""

    BYTES = 0
    """Lexicographic, a prefix before what it begins."""
    LENGTH_FIRST = 1
    """By length, then by bytes."""
    OPTION = 2
    """The part then the byte 1, or the single byte 0, which comes first."""
    REVERSE = 3
    """The reverse order of the part."""
    TUPLE2 = 4
    """Two parts, laid out as docs/format.md#types says."""
    TUPLE3 = 5
    """Three parts, laid out as docs/format.md#types says."""
    FLOAT = 6
    """Big-endian IEEE 754 of 4 or 8 bytes; partial, so in heaps only."""
    PYTHON = 7
    """Decode both and ask `Codec.compare`."""


@dataclass(frozen=True, slots=True)
class Term:
    """One node of an order as the C core takes it: parts are indices of later terms."""

    kind: OrderKind
    max_size: int | None
    fixed: bool
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """How encodings compare; `max_size` is None if there is no bound."""

    kind: OrderKind
    max_size: int | None
    fixed: bool
    parts: tuple[Order, ...] = ()

    def size(self) -> int:
        """Return the number of nodes. O(n)."""
        return 1 + sum(part.size() for part in self.parts)

    def terms(self) -> list[Term]:
        """Return the tree as a list, parents before their parts; the root is first. O(n).

        >>> order = Order(OrderKind.REVERSE, 4, True, (Order(OrderKind.BYTES, 4, True),))
        >>> [(int(term.kind), term.max_size, term.fixed, term.parts) for term in order.terms()]
        [(3, 4, True, (1,)), (0, 4, True, ())]
        """
        nodes = [self]
        links: list[tuple[int, ...]] = []
        for node in nodes:
            links.append(tuple(range(len(nodes), len(nodes) + len(node.parts))))
            nodes.extend(node.parts)
        return [Term(node.kind, node.max_size, node.fixed, link) for node, link in zip(nodes, links, strict=True)]


def leaf(kind: OrderKind, bound: Bound) -> Order:
    """Return an order without parts."""
    return Order(kind, bound.max_size, bound.is_fixed_size)


def compound(kind: OrderKind, bound: Bound, *parts: Order) -> Order:
    """Return the order of a type made of others, in the smallest form with the same results."""
    order = Order(kind, bound.max_size, bound.is_fixed_size, parts)
    if any(part.kind is OrderKind.PYTHON for part in parts) or order.size() > MAX_TERMS:
        return leaf(OrderKind.PYTHON, bound)
    if kind is OrderKind.REVERSE and parts[0].kind is OrderKind.REVERSE:
        return parts[0].parts[0]
    return leaf(OrderKind.BYTES, bound) if _is_bytewise(kind, parts) else order


def _is_bytewise(kind: OrderKind, parts: Sequence[Order]) -> bool:
    """Return whether the bytes of the whole compare as the parts do.

    They do if fixed parts are followed by one that may be shorter: in a tuple of three nothing follows the last part, and in a
    tuple of two its padding is zeros and its length comes last, so a prefix sorts before what it begins. A fixed-size option
    cannot store None, so only the tag 1 occurs.
    """
    if any(part.kind is not OrderKind.BYTES for part in parts):
        return False
    if kind is OrderKind.OPTION:
        return parts[0].fixed
    return kind in (OrderKind.TUPLE2, OrderKind.TUPLE3) and all(part.fixed for part in parts[:-1])


_NOTHING: Final = Order(OrderKind.BYTES, 0, fixed=True)


def concatenation(parts: Sequence[Order]) -> Order:
    """Return the order of parts stored back to back, all but the last fixed.

    A tuple of three whose first two are fixed has that layout, so a chain of (nothing, part, the rest) expresses it.
    """
    order = parts[-1]
    for part in reversed(parts[:-1]):
        order = compound(OrderKind.TUPLE3, sum_of_bounds([_bound(part), _bound(order)]), _NOTHING, part, order)
    return order


def _bound(order: Order) -> Bound:
    return Unbounded if order.max_size is None else Bounded(order.max_size, order.fixed)
