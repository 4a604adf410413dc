# SPDX-License-Identifier: Apache-2.0
"""What a map's memory does not say, found by trying: whether keys have one size, and in which order they are.

A layout is tried on a sample of nodes. The right one parses all of them: each size fits, the entries end where the chain
of pages ends, and the keys ascend. Wrong ones nearly always fail on the first node with more than one entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cmp_to_key, lru_cache
from itertools import pairwise
from operator import ge, le
from typing import Any, Final

import numpy as np
import numpy.typing as npt

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
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


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
"""Orders that are tried if the type of the keys is not given, the likeliest first."""


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


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Every layout that is tried: the first one is that of keys of any size.

    With each, the one size of its keys (of the first: 0) and its largest value.
    """

    layouts: tuple[NodeLayout, ...]
    sizes: Numbers
    largest: Numbers


@lru_cache(maxsize=16)
def _candidates(total: int | None) -> _Candidates:
    """Return every layout that keys may have in a map whose largest key and value have `total` bytes together."""
    limit = UNBOUNDED_MARK if total is None else total
    sizes = list(range(min(limit, _LARGEST_FIXED) + 1))
    sizes += [limit] * (total is not None and limit > _LARGEST_FIXED)
    largest = [limit if total is None else limit - size for size in sizes]
    fixed = [NodeLayout(size, size, most, certain=False) for size, most in zip(sizes, largest, strict=True)]
    return _Candidates((NodeLayout(None, limit, limit, certain=False), *fixed), np.array([0, *sizes]), np.array([limit, *largest]))


def infer_layout(space: Space, sample: Sequence[int], total: int | None) -> NodeLayout:
    """Return the layout that fits the nodes at these addresses best. O(256 * nodes).

    Hundreds of layouts are tried on each node. What their values speak for is found for all of them; the order of the
    keys, which can only speak against a layout, just for those that may be the best.
    """
    race = _Race(_candidates(total))
    for address in sample:
        if len(race.left) == 1:
            break
        race.add(_Trial(space, address))
    return race.best()


class _Race:
    """What each layout has scored, at first without the order of the keys; those that cannot be the best any more are left out."""

    def __init__(self, candidates: _Candidates) -> None:
        self._candidates = candidates
        self._layouts = candidates.layouts
        self.left: Numbers = np.arange(len(self._layouts))
        """Places of those that may be the best, ascending."""
        self._good = np.zeros(len(self._layouts), np.int64)
        """How many nodes each one fits."""
        self._score = np.array(
            [_PRIOR if one.key_fixed in _USUAL else _PRIOR_OF_ANY if one.key_fixed is None else 0 for one in self._layouts], np.int64
        )
        self._trials: list[tuple[_Trial, Flags]] = []
        """Each node that was tried, and for each place whether it fits."""

    def add(self, trial: _Trial) -> None:
        left = self.left
        fits, scores = trial.scores(self._candidates, left)
        if not fits.any():
            return
        self._score[left] += np.where(fits, scores + _MISS, 0)
        self._good[left] += fits
        self._trials.append((trial, self._spread(fits)))
        good = self._good[left]
        self.left = left[2 * (good + 1) >= good.max()]  # the right one may miss a node that is damaged

    def _spread(self, fits: Flags) -> Flags:
        spread = np.zeros(len(self._layouts), np.bool_)
        spread[self.left] = fits
        return spread

    def best(self) -> NodeLayout:
        """Return the layout with the highest score, the first one of several."""
        best, found = -math.inf, int(self.left[0])
        for place in sorted(self.left.tolist(), key=lambda place: -self._score[place]):
            if self._score[place] < best:
                break
            score = self._with_order(place)
            if score > best or (place < found and score == best):
                best, found = score, place
        return self._layouts[found]

    def _with_order(self, place: int) -> int:
        disorder = sum(trial.disorder(self._layouts[place]) for trial, fits in self._trials if fits[place])
        return int(self._score[place]) - _DISORDER * disorder


class _Trial:
    """A node of the sample: how well layouts fit it. What no layout changes is read once."""

    def __init__(self, space: Space, address: int) -> None:
        self._space, self._address = space, address
        self._run: bytes | None = None
        self._fits: bool | None = None
        """Where all layouts are the same to it: whether it fits."""
        try:
            self._first = space.checked(address, space.page)
            node = space.node(address, NodeLayout(), whole=self._first[3] == 1, first=self._first)
            if node.version == 1:
                self._fits = True
                return
            self._run = node.run.whole(_FEW_PAGES)
        except Damage:  # a chain that breaks does not end where the entries end, in any layout
            self._fits = False
            return
        self._at, self._count = node.end, self._first[5] | self._first[6] << 8
        if self._run is not None:
            self._least = len(self._run) - (space.page - OVERFLOW_HEADER if node.run.pages else space.page)

    def scores(self, candidates: _Candidates, places: Numbers) -> tuple[Flags, Numbers]:
        """Return of the layouts at these places which ones fit, and what the values speak for each that does.

        That is less the disorder that `disorder` does not count.
        """
        if self._fits is not None:
            return np.full(len(places), self._fits), np.zeros(len(places), np.int64)
        slow = np.flatnonzero(places == 0)  # the layout of keys of any size
        if self._run is not None:
            fits, scores = self._scores_in(self._run, candidates.sizes[places], candidates.largest[places])
        else:
            slow, fits, scores = np.arange(len(places)), np.zeros(len(places), np.bool_), np.zeros(len(places), np.int64)
        for i in slow:
            score = self._slow_score(candidates.layouts[places[i]])
            fits[i], scores[i] = score is not None, score or 0
        return fits, scores

    def _scores_in(self, run: bytes, sizes: Numbers, largest: Numbers) -> tuple[Flags, Numbers]:
        """For a node in a run of few pages and keys of one size, nearly all trials: all layouts go from value to value together."""
        every = np.ndarray(len(run) + 1, "<u4", run + bytes(4), strides=(1,))  # the number at each byte
        at, fits, nonzero = self._at + self._count * sizes, np.ones(len(sizes), np.bool_), np.zeros(len(sizes), np.int64)
        for _ in range(self._count):
            size = every[np.minimum(at, len(run))]  # whoever is past the end stays there
            fits &= size <= largest
            nonzero += size > 0
            at = np.minimum(at, len(run)) + size + 4
        fits &= (at > self._least) & (at <= len(run))
        return fits, _ZERO * self._count + (_NONZERO - _ZERO) * nonzero

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
    least, found = math.inf, ORDERS[0]
    for order in ORDERS:
        broken = sum(map(order.broken, lists))
        if broken < least:
            least, found = broken, order
        if not least:
            break  # no later one is better
    return found
