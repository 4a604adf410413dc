# SPDX-License-Identifier: Apache-2.0
"""What a map's memory does not say, found by trying: whether keys have one size, and in which order they are.

A layout is tried on a sample of nodes. The right one parses all of them: each size fits, the entries end where the chain
of pages ends, and the keys ascend. Wrong ones nearly always fail on the first node with more than one entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cmp_to_key, partial
from itertools import pairwise
from operator import ge, le
from typing import Any, Final

from ...encodings.candid.codec import CandidError
from ...encodings.candid.untyped import decode
from ...storable import Codec
from .layout import OVERFLOW_HEADER, UNBOUNDED_MARK, Damage
from .nodes import Node, NodeLayout, Space

_USUAL: Final = (1, 2, 4, 8, 16)
_LARGEST_FIXED: Final = 256
_NONZERO, _ZERO, _PRIOR, _PRIOR_OF_ANY, _DISORDER = 10, 2, 15, 5, 30
_MISS: Final = 300
"""A node that does not fit counts as ten neighbours out of order: damage makes the right layout miss one, too."""

_FEW_PAGES: Final = 32
"""Overflow pages of a node that are read at once; longer chains hold large values, which no trial needs to read."""
_SIZE: Final[Callable[[bytes], int]] = partial(int.from_bytes, byteorder="little")


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
    """Return the layout that fits the nodes at these addresses best. O(256 * nodes).

    Hundreds of layouts are tried on each node. What their values speak for is found for all of them; the order of the
    keys, which can only speak against a layout, just for those that may be the best.
    """
    left = [_Tried(layout) for layout in candidates(total)]
    for address in sample:
        if len(left) == 1:
            break
        trial = _Trial(space, address)
        scores = [trial.score(one.layout) for one in left]
        if all(score is None for score in scores):
            continue
        for one, score in zip(left, scores, strict=True):
            one.add(trial, score)
        most = max(one.good for one in left)
        left = [one for one in left if 2 * (one.good + 1) >= most]  # the right one may miss a node that is damaged
    return _best(left).layout


class _Tried:
    """A layout, the nodes that it fits, and its score: at first without the order of the keys."""

    def __init__(self, layout: NodeLayout) -> None:
        self.layout, self.good = layout, 0
        self.score = _PRIOR if layout.key_fixed in _USUAL else _PRIOR_OF_ANY if layout.key_fixed is None else 0
        self._trials: list[_Trial] = []

    def add(self, trial: _Trial, score: int | None) -> None:
        if score is not None:
            self.score += score + _MISS
            self.good += 1
            self._trials.append(trial)

    def with_order(self) -> int:
        return self.score - _DISORDER * sum(trial.disorder(self.layout) for trial in self._trials)


def _best(left: Sequence[_Tried]) -> _Tried:
    """Return the layout with the highest score, the first one of several."""
    best, found = -math.inf, (0, left[0])
    for place, one in sorted(enumerate(left), key=lambda pair: -pair[1].score):
        if one.score < best:
            break
        score = one.with_order()
        if score > best or (place < found[0] and score == best):
            best, found = score, (place, one)
    return found[1]


class _Trial:
    """A node of the sample: how well layouts fit it. What no layout changes is read once."""

    def __init__(self, space: Space, address: int) -> None:
        self._space, self._address = space, address
        self.score: Callable[[NodeLayout], int | None]
        """What the values speak for a layout, less the disorder that `disorder` does not count; None if it does not fit."""
        self._run: bytes | None = None
        try:
            space.check_chunk(address)
            self._first = space.read(address, space.page)
            node = space.node(address, NodeLayout(), whole=self._first[3] == 1, first=self._first)
            if node.version == 1:
                self.score = lambda _: 0
                return
            self._run = node.run.whole(_FEW_PAGES)
        except Damage:  # a chain that breaks does not end where the entries end, in any layout
            self.score = lambda _: None
            return
        self._at, self._count = node.end, self._first[5] | self._first[6] << 8
        self.score = self._slow_score if self._run is None else self._fast_score
        if self._run is not None:
            self._zeros_at = len(self._run.rstrip(b"\0"))
            self._least = len(self._run) - (space.page - OVERFLOW_HEADER if node.run.pages else space.page)

    def _fast_score(self, layout: NodeLayout) -> int | None:
        """For a node in a run of few pages and keys of one size, nearly all trials."""
        if layout.key_fixed is None or self._run is None:
            return self._slow_score(layout)
        run, at, score, most = self._run, self._at + self._count * layout.key_fixed, 0, layout.value_max
        for left in range(self._count, 0, -1):
            if at >= self._zeros_at:  # no value has a byte from here on
                at, score = at + 4 * left, score + _ZERO * left
                break
            size = _SIZE(run[at : at + 4])
            if size > most or at + 4 > len(run):
                return None
            score += _NONZERO if size else _ZERO
            at += 4 + size
        return score if self._least < at <= len(run) else None

    def _slow_score(self, layout: NodeLayout) -> int | None:
        try:
            node = self._space.node(self._address, layout, first=self._first)
        except Damage:
            return None
        score = sum(_NONZERO if size else _ZERO for _, size in node.values)
        if layout.key_fixed is None:
            score += sum(_NONZERO if key else _ZERO for key in node.keys)
        return score - _DISORDER * min(order.broken(node.keys) for order in ORDERS[:3])

    def disorder(self, layout: NodeLayout) -> int:
        """Return how many neighbours among keys of one size are out of order."""
        size = layout.key_fixed
        if size is None or self._run is None:
            return 0
        at, count = self._at, self._count
        keys = [self._run[i : i + size] for i in range(at, at + count * size, size)] if size else [b""] * count
        broken = sum(map(ge, keys, keys[1:]))
        return min(broken, sum(map(le, keys, keys[1:]))) if broken else 0


def infer_order(nodes: Iterable[Node]) -> InferredOrder:
    """Return the order that most neighbours in these nodes keep; bytes where several do. O(keys)."""
    lists = [node.keys for node in nodes]
    return min(ORDERS, key=lambda order: sum(map(order.broken, lists)))
