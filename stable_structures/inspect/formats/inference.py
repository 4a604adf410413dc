# SPDX-License-Identifier: Apache-2.0
"""What a map's memory does not say, found by trying: whether keys have one size, and in which order they are.

A layout is tried on a sample of nodes. The right one parses all of them: each size fits, the entries end where the chain
of pages ends, and the keys ascend. Wrong ones nearly always fail on the first node with more than one entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cmp_to_key
from itertools import pairwise
from operator import ge, le
from typing import Any, Final

from ...encodings.candid.codec import CandidError
from ...encodings.candid.untyped import decode
from ...storable import Codec
from .layout import OVERFLOW_HEADER, UNBOUNDED_MARK, Damage, u32
from .nodes import Node, NodeLayout, Space

_USUAL: Final = (1, 2, 4, 8, 16)
_LARGEST_FIXED: Final = 256
_NONZERO, _ZERO, _PRIOR, _DISORDER = 1.0, 0.2, 1.5, 3.0
_MISS: Final = 30.0
"""A node that does not fit counts as ten neighbours out of order: damage makes the right layout miss one, too."""

_FEW_PAGES: Final = 32
"""Overflow pages of a node that are read at once; longer chains hold large values, which no trial needs to read."""


@dataclass(frozen=True, slots=True)
class InferredOrder:
    """An order of encoded keys: `ascends(a, b)` says whether `a` comes before `b`."""

    name: str
    ascends: Callable[[bytes, bytes], bool]
    certain: bool = False

    def sort_key(self) -> Callable[[bytes], Any]:
        """For `sorted`."""
        if self.name == "bytes":
            return bytes
        return cmp_to_key(lambda a, b: -1 if self.ascends(a, b) else int(self.ascends(b, a)))

    def broken(self, keys: Iterable[bytes]) -> int:
        """Return how many neighbours do not ascend."""
        return sum(not self.ascends(a, b) for a, b in pairwise(keys))


def _option(a: bytes, b: bytes) -> bool:
    """None, the single byte 0, then the values, with a 1 behind each."""
    if not a or not b or (a != b"\0" and a[-1] != 1) or (b != b"\0" and b[-1] != 1):
        return False
    return (a != b"\0", a[:-1]) < (b != b"\0", b[:-1])


def _padded_pair(a: bytes, b: bytes) -> bool:
    """`tuple<blob<N>, T>` of both bounded: the lengths at the end decide between equal padded parts."""
    size = a[-1] if a else 0
    other = b[-1] if b else 0
    width = _pair_width(a, b)
    return width is not None and (a[: min(size, width)], a[width:-1]) < (b[: min(other, width)], b[width:-1])


def _pair_width(a: bytes, b: bytes) -> int | None:
    """Width of the first part, as far as two keys show it: what lies behind both lengths and is zero in both."""
    if len(a) != len(b) or not a:
        return None
    for second in (1, 2, 4, 8, 16):
        width = len(a) - 1 - second
        if width > 0 and all(key[-1] <= width and not any(key[key[-1] : width]) for key in (a, b)):
            return width
    return None


_LARGEST_CANDID: Final = 1 << 16
"""Of a key that is looked into while an order is sought."""


def _candid(a: bytes, b: bytes) -> bool:
    """Kybra: the order of what the Candid message says."""
    if max(len(a), len(b)) > _LARGEST_CANDID:
        return False
    try:
        return bool(decode(a) < decode(b))
    except (CandidError, TypeError):
        return False


ORDERS: Final[tuple[InferredOrder, ...]] = (
    InferredOrder("bytes", lambda a, b: a < b),
    InferredOrder("length, then bytes", lambda a, b: (len(a), a) < (len(b), b)),
    InferredOrder("reversed bytes", lambda a, b: a > b),
    InferredOrder("none first, then bytes", _option),
    InferredOrder("pair of a blob and a number", _padded_pair),
    InferredOrder("Candid value", _candid),
)
"""Orders that are tried where the type of the keys is not told, the likeliest first."""


def order_of(codec: Codec[Any]) -> InferredOrder:
    """Return the order of a given type."""

    def ascends(a: bytes, b: bytes) -> bool:
        try:
            return codec.compare(codec.decode(a), codec.decode(b)) == -1
        except ValueError:
            return False

    return InferredOrder(codec.name, ascends, certain=True)


def layout_of(key: Codec[Any] | None, value: Codec[Any] | None, base: NodeLayout) -> NodeLayout:
    """Return a layout with what the types say."""
    layout = base
    if key is not None:
        largest = UNBOUNDED_MARK if key.bound.max_size is None else key.bound.max_size
        layout = replace(layout, key_fixed=largest if key.bound.is_fixed_size else None, key_max=largest, certain=True)
    if value is not None:
        most = UNBOUNDED_MARK if value.bound.max_size is None else value.bound.max_size
        layout = replace(layout, value_max=most, value_fixed=most if value.bound.is_fixed_size else None)
    return layout


def candidates(total: int | None) -> Iterable[NodeLayout]:
    """Every layout that keys may have in a map whose largest key and value have `total` bytes together."""
    limit = UNBOUNDED_MARK if total is None else total
    yield NodeLayout(None, limit, limit, certain=False)
    sizes = list(range(min(limit, _LARGEST_FIXED) + 1))
    for size in sizes + [limit] * (total is not None and limit > _LARGEST_FIXED):
        yield NodeLayout(size, size, limit if total is None else limit - size, certain=False)


def infer_layout(space: Space, sample: Sequence[int], total: int | None) -> NodeLayout:
    """Return the layout that fits the nodes at these addresses best. O(256 * nodes)."""
    left: list[tuple[NodeLayout, int, float]] = [(layout, 0, _prior(layout)) for layout in candidates(total)]
    for address in sample:
        if len(left) == 1:
            break
        try_layout = _trial(space, address)
        tried = [(layout, good, score, try_layout(layout)) for layout, good, score in left]
        if all(found is None for *_, found in tried):
            continue
        left = [(layout, good + (found is not None), score + (found or 0.0)) for layout, good, score, found in tried]
        most = max(good for _, good, _ in left)
        left = [one for one in left if 2 * (one[1] + 1) >= most]  # the right one may miss a node that is damaged
    return max(left, key=lambda one: one[2] + _MISS * one[1])[0]


def _prior(layout: NodeLayout) -> float:
    return _PRIOR if layout.key_fixed in _USUAL else 0.5 if layout.key_fixed is None else 0.0


def _trial(space: Space, address: int) -> Callable[[NodeLayout], float | None]:
    """Return a function that says how well a layout fits the node at `address`, or None if it does not fit.

    Hundreds of layouts are tried on each node, so what no layout changes is read once, and keys of one size in a node of
    few pages, nearly all trials, have a short way of their own.
    """
    try:
        space.check_chunk(address)
        first = space.read(address, space.page)
        node = space.node(address, NodeLayout(), whole=first[3] == 1, first=first)
        run = node.run.whole(_FEW_PAGES)
    except Damage:  # a chain that breaks does not end where the entries end, in any layout
        return lambda _: None
    if node.version == 1:
        return lambda _: 0.0
    at, count, last = node.end, first[5] | first[6] << 8, space.page - OVERFLOW_HEADER if node.run.pages else space.page

    def trial(layout: NodeLayout) -> float | None:
        if layout.key_fixed is None or run is None:
            return _score(space, address, layout, first)
        found = _score_fixed(run, at, (count, layout.key_fixed), layout.value_max)
        return None if found is None or found[1] <= len(run) - last else found[0]

    return trial


def _score(space: Space, address: int, layout: NodeLayout, first: bytes) -> float | None:
    """How well a layout fits a node of layout 2; None if it does not."""
    try:
        node = space.node(address, layout, first=first)
    except Damage:
        return None
    score = sum(_NONZERO if size else _ZERO for _, size in node.values)
    if layout.key_fixed is None:
        score += sum(_NONZERO if key else _ZERO for key in node.keys)
    return score - _DISORDER * min(order.broken(node.keys) for order in ORDERS[:3])


def _score_fixed(run: bytes, at: int, count_and_size: tuple[int, int], most: int) -> tuple[float, int] | None:
    """As `_score`, for keys of one size from `at` on and values of at most `most` bytes; and where the entries end."""
    count, size = count_and_size
    keys_at, at, score, before = at, at + count * size, 0.0, len(run) - 4
    for _ in range(count):
        if at > before:
            return None
        value = u32(run, at)
        if value > most:
            return None
        score += _NONZERO if value else _ZERO
        at += 4 + value
    if at > len(run):
        return None
    keys = [run[i : i + size] for i in range(keys_at, keys_at + count * size, size)] if size else [b""] * count
    disorder = sum(map(ge, keys, keys[1:]))
    return score - _DISORDER * (disorder and min(disorder, sum(map(le, keys, keys[1:])))), at


def infer_order(nodes: Iterable[Node]) -> InferredOrder:
    """Return the order that most neighbours in these nodes keep; bytes where several do. O(keys)."""
    lists = [node.keys for node in nodes]
    return min(ORDERS, key=lambda order: sum(map(order.broken, lists)))
