# SPDX-License-Identifier: Apache-2.0
"""Sequences: vec, heap, log, and the cell (docs/format.md#vec-and-min-heap and #log)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np

from ... import _native as native
from ...encodings.columns import Ends
from ...storable import Codec
from ...storable.order import OrderKind
from ..encoding import are_exact, encoding_in_core, require, sizes_of
from ..source import BLOCK, PastEnd, Progress, Source, no_progress
from .inference import ORDERS, InferredOrder, order_of
from .layout import CELL_AT, LOG_DATA_AT, LOG_ENDS_AT, SLOT_COUNT_AT, SLOT_SIZE_AT, SLOTS_AT, Damage, u64
from .rules import FEW, LIMIT, Note, damage_of, head_of, ignore, refuse, tell_more
from .survey import SEEN

Sizes: TypeAlias = tuple[int, int] | None
"""The least and the greatest size of some elements; None without any."""
Stretch: TypeAlias = tuple[int, bytes, Ends]
"""Elements one behind the other: the number of the first, their bytes, and the end of each therein."""
_core: Final = native.call
_STEP: Final = 1 << 16
_ONE_BYTE, _TWO_BYTES = 255, 65_535
_IN_CELL: Final = "the value of a cell lies inside the memory"
_IN_SLOT: Final = "a slot lies inside the memory"
_ENDS_IN_INDEX: Final = "the ends of all entries lie inside the index"
_HEAP_ORDERS: Final = (ORDERS[0], ORDERS[2], ORDERS[1])
"""Bytes, reversed bytes, length and then bytes."""


def _read(source: Source, at: int, length: int, rule: str) -> bytes:
    try:
        return source.read(at, length)
    except PastEnd:
        raise Damage(rule, at, source.nbytes, at + length) from None


def elements_of(stretch: Stretch) -> Iterator[tuple[int, bytes]]:
    """Return the elements of a stretch with their numbers. O(n)."""
    first, data, ends = stretch
    low = 0
    for index, high in enumerate(ends.tolist(), first):
        yield index, data[low:high]
        low = high


class SequenceReader:
    """Elements by number. `problems` are what is wrong with the header."""

    length: int

    def __init__(self, source: Source, kind: str, value: Codec[Any] | None = None) -> None:
        self.source, self.kind, self.value = source, kind, value
        self.head, self.problems = head_of(source, kind)

    def size(self, index: int) -> int:
        """Return how many bytes an element has, without reading them. O(1). Raises `Damage`, as `element` does."""
        raise NotImplementedError

    def element(self, index: int) -> bytes:
        """Return the bytes of an element. O(size). Raises `Damage`."""
        raise NotImplementedError

    def elements(self, start: int = 0, stop: int | None = None, note: Note | None = None) -> Iterator[tuple[int, bytes]]:
        """Elements with their numbers, in order, read in blocks if they can be. Unreadable ones are reported to `note`, or raised."""
        stretches = self.stretches(start, stop, note)
        return self.one_by_one(start, stop, note) if stretches is None else chain.from_iterable(map(elements_of, stretches))

    def one_by_one(self, start: int = 0, stop: int | None = None, note: Note | None = None) -> Iterator[tuple[int, bytes]]:
        """As `elements`, with a read or more for each."""
        for index in range(start, self.readable() if stop is None else min(stop, self.readable())):
            try:
                data = self.element(index)
            except Damage as damage:
                if note is None:
                    raise
                note(damage)
                continue
            yield index, data

    def stretches(self, start: int = 0, stop: int | None = None, note: Note | None = None) -> Iterator[Stretch] | None:  # noqa: ARG002 - other rows need them
        """Elements as they follow each other, in order; None if they can be read one by one only. O(n).

        A stretch has a block of bytes at most, or one element. Unreadable ones are reported to `note`, or raised.
        """
        return None

    def readable(self) -> int:
        """Return how many elements lie inside the memory."""
        raise NotImplementedError

    def check(self, note: Note, progress: Progress = no_progress) -> Sizes:
        """Report every broken rule, of each kind 10,000 at most; return the sizes of the elements that can be read. O(n)."""
        for problem in self.problems:
            note(problem)
        sizes = self._survey(note, progress)
        if self.value is not None and not self.is_for_core():
            self._decode_each(note, progress)
        return sizes

    def _survey(self, note: Note, progress: Progress) -> Sizes:
        """Let the core look at every element."""
        raise NotImplementedError

    def _run(self, survey: native.ElementsSurvey, progress: Progress) -> native.ElementsSurvey:
        done = 0
        while survey.step(_STEP):
            done += _STEP
            progress("walking the elements", done, self.length)
        if survey.status < 0:
            self.source.fail(survey.status)
        return survey

    def _tell(self, survey: native.ElementsSurvey, note: Note) -> None:
        notes, count = survey.notes()
        for one in notes:
            if one[0] == _core.SS_RULE_VALUE_ENCODING:
                self._decode(one[2], self.element(one[2]), note)
            else:
                note(damage_of(one, self.kind))
        tell_more(note, count, len(notes), "elements are wrong")

    def is_for_core(self) -> bool:
        """Return whether the core can hold the elements against their type; else only Python can."""
        return encoding_in_core(self.value) is not None

    def live(self) -> int:
        """Bytes up to the end of the last element."""
        raise NotImplementedError

    def least_bytes(self) -> int:
        """Return how many bytes the structure has by its header."""
        raise NotImplementedError

    def _decode_each(self, note: Note, progress: Progress) -> None:
        """Check every element against the given type, which the core does not know."""
        stretches = self.stretches(note=ignore)
        if stretches is None:
            self._decode_these(self.elements(note=ignore), note, progress)
            return
        for one in stretches:
            progress("decoding", one[0], self.length)
            if not are_exact(self.value, one[1], one[2]):
                self._decode_these(elements_of(one), note, progress)

    def _decode_these(self, elements: Iterator[tuple[int, bytes]], note: Note, progress: Progress) -> None:
        for index, data in elements:
            self._decode(index, data, note)
            if index % 4096 == 0:
                progress("decoding", index, self.length)

    def _decode(self, index: int, data: bytes, note: Note) -> None:
        try:
            if self.value is not None:
                require(self.value, data)
        except ValueError as error:
            note(
                Damage(
                    f"an element is encoded as {self.value.name if self.value else ''}",
                    self.address(index),
                    f"element {index}: {error}",
                    "",
                )
            )

    def address(self, index: int) -> int:
        """Return where an element is."""
        raise NotImplementedError

    def is_at_hand(self, index: int) -> bool:
        """Return whether the beginning of an element is read without a request to another machine. O(1)."""
        return self.source.is_at_hand(self.address(index), 1)


class SlotReader(SequenceReader):
    """A vec or a heap: a header and slots of one size."""

    def __init__(self, source: Source, kind: str, value: Codec[Any] | None = None) -> None:
        super().__init__(source, kind, value)
        self.length = int(self.head.count)
        self._lay_out(int(self.head.size), fixed=self.head.flag != 0)
        self._check_length()
        self._check_type()

    def _lay_out(self, max_size: int, *, fixed: bool) -> None:
        self.max_size, self.fixed = max_size, fixed
        self.size_bytes = 0 if fixed else 1 if max_size <= _ONE_BYTE else 2 if max_size <= _TWO_BYTES else 4
        self.slot = self.size_bytes + max_size

    def as_given(self) -> SlotReader | None:
        """Return the same slots by the bound of the given type; None if the header says the same, or there is none."""
        if self.value is None or self.value.bound.max_size is None or self.has_bound_of(self.value):
            return None
        typed = copy(self)
        typed._lay_out(self.value.bound.max_size, fixed=self.value.bound.is_fixed_size)
        return typed

    def has_bound_of(self, codec: Codec[Any]) -> bool:
        """Return whether the header says the bound of a type."""
        return (codec.bound.max_size, codec.bound.is_fixed_size) == (self.max_size, self.fixed)

    def packed(self, data: bytes) -> bytes:
        """Return the slot of an element: its size, if any, and its bytes, with zeros behind them."""
        size = len(data).to_bytes(self.size_bytes, "little") if self.size_bytes else b""
        return (size + data).ljust(self.slot, b"\0")

    def _check_length(self) -> None:
        room = self._room() if self.slot else self.length
        if self.length > room:
            self.problems.append(
                Damage(f"the elements of a {self.kind} lie inside the memory", SLOT_COUNT_AT, self.length, f"at most {room}")
            )

    def _room(self) -> int:
        """Return how many elements lie inside the memory: whole slots, and one more whose slot ends behind it, but not what it holds."""
        whole, rest = divmod(max(0, self.source.nbytes - SLOTS_AT), self.slot)
        if self.length <= whole or not 0 < self.size_bytes <= rest:
            return whole
        size = int.from_bytes(self.source.read(self.address(whole), self.size_bytes), "little")
        return whole + (size <= self.max_size and self.size_bytes + size <= rest)

    def _slots(self, first: int, count: int) -> bytes:
        """Return so many slots. The last one may reach behind the end of the memory, if its element does not: zeros are there."""
        at, size = self.address(first), count * self.slot
        inside = min(size, max(self.source.nbytes - at, 0))
        if inside < size and self._room() < first + count:
            raise Damage(_IN_SLOT, at, self.source.nbytes, at + size)
        return _read(self.source, at, inside, _IN_SLOT).ljust(size, b"\0")

    def _check_type(self) -> None:
        if self.value is not None and not self.has_bound_of(self.value):
            found = f"largest {self.max_size} bytes{', of one size' if self.fixed else ''}"
            self.problems.append(Damage("the header says the bound of the element type", SLOT_SIZE_AT, found, repr(self.value.bound)))

    def readable(self) -> int:
        """As many as there are slots inside the memory, and no more than the length."""
        return min(self.length, self._room() if self.slot else self.source.nbytes)

    def address(self, index: int) -> int:
        """Return the slot."""
        return SLOTS_AT + index * self.slot

    def size(self, index: int) -> int:
        """By the header, or as the slot says."""
        at, size = self.address(index), self.max_size
        if self.size_bytes:
            size = int.from_bytes(_read(self.source, at, self.size_bytes, _IN_SLOT), "little")
        if size > self.max_size:
            raise self._too_large(index, size)
        if at + self.size_bytes + size > self.source.nbytes:
            raise Damage(_IN_SLOT, at, self.source.nbytes, at + self.slot)
        return size

    def _too_large(self, index: int, size: int) -> Damage:
        return Damage("an element fits its slot", self.address(index), size, self.max_size)

    def element(self, index: int) -> bytes:
        """Return the bytes of an element."""
        size = self.size(index)
        return self.source.read(self.address(index) + self.size_bytes, size)

    def stretches(self, start: int = 0, stop: int | None = None, note: Note | None = None) -> Iterator[Stretch] | None:
        """As SequenceReader; None if slots have no bytes, or if they are large and an element may use little of one."""
        last = self.readable() if stop is None else min(stop, self.readable())
        if not self.slot or (self.slot > BLOCK and not self.fixed):
            return None
        step = max(1, BLOCK // self.slot)
        return chain.from_iterable(self._stretches_in(first, min(step, last - first), note) for first in range(start, last, step))

    def _stretches_in(self, first: int, count: int, note: Note | None) -> Iterator[Stretch]:
        block = self._slots(first, count)
        if self.fixed:
            yield first, block, np.arange(1, count + 1, dtype=np.uint64) * np.uint64(self.slot)
            return
        rows = np.frombuffer(block, np.uint8).reshape(count, self.slot)
        sizes, held = rows[:, : self.size_bytes].copy().view(f"<u{self.size_bytes}")[:, 0].astype(np.uint64), rows[:, self.size_bytes :]
        low = 0
        for gap in [*np.flatnonzero(sizes > self.max_size).tolist(), count]:
            if low < gap:
                inside = np.arange(self.max_size) < sizes[low:gap, np.newaxis]
                yield first + low, held[low:gap][inside].tobytes(), np.cumsum(sizes[low:gap], dtype=np.uint64)
            if gap < count:
                (note or refuse)(self._too_large(first + gap, int(sizes[gap])))
            low = gap + 1

    def least_bytes(self) -> int:
        """Header and as many slots as the length says; the last one may lie behind the end of the memory if its element does not."""
        whole = SLOTS_AT + self.length * self.slot
        return min(whole, self.source.nbytes) if self.readable() == self.length else whole

    def live(self) -> int:
        """Header and slots in use."""
        return min(SLOTS_AT + self.readable() * self.slot, self.source.nbytes)

    def is_for_core(self) -> bool:
        """As SequenceReader; a type of another bound than the header's is Python's, and so is an order that the core does not know."""
        codec = self.value
        if codec is None:
            return self.slot > 0
        is_ordered = self.kind != "heap" or codec.order.kind is not OrderKind.PYTHON
        return self.slot > 0 and is_ordered and self.has_bound_of(codec) and super().is_for_core()

    def check(self, note: Note, progress: Progress = no_progress) -> Sizes:
        """As SequenceReader; of a heap the order, too."""
        sizes = super().check(note, progress)
        if self.kind == "heap" and not self.is_for_core():
            self._judge_heap(note, lambda order: self._broken(order, progress))
        return sizes

    def _survey(self, note: Note, progress: Progress) -> Sizes:
        """Let the core look at every element, and of a heap at each of the orders that it may have."""
        if not self.slot:
            return (0, 0) if self.readable() else None
        is_heap = self.kind == "heap" and self.is_for_core()
        first = self.heap_orders()[0] if is_heap else None
        survey = self._surveyed(first, progress)
        self._tell(survey, note)
        if first is not None:
            self._judge_heap(note, lambda order: (survey if order.name == first.name else self._surveyed(order, progress)).disorder())
        return survey.sizes()

    def _surveyed(self, order: InferredOrder | None, progress: Progress) -> native.ElementsSurvey:
        """Return the core's survey, by an order of a heap. Raises `Unreadable`."""
        codec = self.value if order is not None and order.certain else None
        kind = _core.SS_SEEN_ANY if order is None else _core.SS_SEEN_TERMS if codec is not None else SEEN[order.name]
        encoding = encoding_in_core(self.value) if self.is_for_core() else None
        numbers = {
            "bytes": self.source.nbytes, "first": SLOTS_AT, "count": self.readable(), "slot": self.slot, "size_bytes": self.size_bytes,
            "max_size": self.max_size, "order": kind, "encoding": encoding or 0,
        }  # fmt: skip
        memory = self.source.memory()  # alive while the core reads
        return self._run(native.slots_survey(memory._handle, numbers, codec, LIMIT), progress)

    # ---- the heap ----

    def heap_orders(self) -> tuple[InferredOrder, ...]:
        """Return the order of the type, or those that are tried."""
        if self.value is None:
            return _HEAP_ORDERS
        codec, order_of_type = self.value, order_of(self.value)

        def ascends(a: bytes, b: bytes) -> bool:
            try:  # undecodable elements are reported already
                codec.decode(a), codec.decode(b)
            except ValueError:
                return False
            return order_of_type.ascends(a, b)

        return (InferredOrder(codec.name, ascends, certain=True),)

    def _judge_heap(self, note: Note, broken_by: Callable[[InferredOrder], tuple[list[Any], int]]) -> None:
        """No element is less than its parent; by one of the orders, if the type is not given."""
        best: tuple[InferredOrder, list[Any], int] | None = None
        for order in self.heap_orders():
            broken, count = broken_by(order)
            if best is None or count < best[2]:
                best = order, broken, count
            if not count:
                return
        assert best is not None  # noqa: S101 - there is an order
        order, broken, count = best
        if not order.certain and count > max(2, FEW * self.length):
            return  # an order that is not known: inspect says so
        hint = "" if order.certain else f" (by {order.name}, a guess)"
        rule = f"no element of a heap is less than its parent{hint}"
        for _, address, child, parent, *_ in broken:
            note(Damage(rule, address, f"element {child}", f"element {parent}"))
        tell_more(note, count, len(broken), "elements are less than their parents")

    def _broken(self, order: InferredOrder, progress: Progress) -> tuple[list[Any], int]:
        """Return the elements that are less than their parents, as the core notes them, and how many.

        Two readings side by side: children, and parents at half the pace.
        """
        children = self.elements(note=ignore)
        parents = self.elements(note=ignore)
        found: list[Any] = []
        place, parent = -1, b""
        next(children, None)
        for child, data in children:
            while place < (child - 1) // 2:
                place, parent = next(parents)
            if place == (child - 1) // 2 and order.ascends(data, parent):
                found.append((_core.SS_RULE_HEAP, self.address(child), child, place))
            if child % 65536 == 0:
                progress("comparing the heap", child, self.length)
        return found, len(found)


class CellReader(SequenceReader):
    """A cell: one value."""

    length = 1

    def __init__(self, source: Source, value: Codec[Any] | None = None) -> None:
        super().__init__(source, "cell", value)
        self.nbytes = int(self.head.size)

    def readable(self) -> int:
        """1, or 0 where the value does not lie inside the memory."""
        return int(CELL_AT + self.nbytes <= self.source.nbytes)

    def size(self, index: int) -> int:  # noqa: ARG002 - a sequence of one
        """By the header."""
        if not self.readable():
            raise Damage(_IN_CELL, CELL_AT, self.source.nbytes, CELL_AT + self.nbytes)
        return self.nbytes

    def address(self, index: int) -> int:  # noqa: ARG002 - a sequence of one
        """Behind the header."""
        return CELL_AT

    def element(self, index: int) -> bytes:  # noqa: ARG002 - a sequence of one
        """Return the value."""
        return self.source.read(CELL_AT, self.size(0))

    def least_bytes(self) -> int:
        """Header and value."""
        return CELL_AT + self.nbytes

    def live(self) -> int:
        """Header and value."""
        return min(CELL_AT + self.nbytes, self.source.nbytes)

    def _survey(self, note: Note, progress: Progress) -> Sizes:  # noqa: ARG002 - one value
        if not self.readable():
            return None
        if self.value is not None and self.is_for_core():
            memory = self.source.memory()
            status, is_value = native.survey_value(memory._handle, CELL_AT, self.nbytes, encoding_in_core(self.value) or 0)
            if status < 0:
                self.source.fail(status)
            least, most = sizes_of(self.value)
            if not is_value or not least <= self.nbytes <= most:
                self._decode(0, self.element(0), note)
        return self.nbytes, self.nbytes


class LogReader(SequenceReader):
    """A log: its index, and its data if they are known (`data` None: only sizes are known)."""

    def __init__(self, index: Source, data: Source | None, value: Codec[Any] | None = None) -> None:
        super().__init__(index, "log index", value)
        self.length, self.data = int(self.head.count), data
        self.data_problems = [] if data is None else head_of(data, "log data")[1]
        self.problems += self.data_problems

    def readable(self) -> int:
        """As many as there are ends inside the index."""
        return min(self.length, max(0, self.source.nbytes - LOG_ENDS_AT) // 8)

    def room(self) -> int:
        """Bytes that entries can have."""
        return 0 if self.data is None else max(0, self.data.nbytes - LOG_DATA_AT)

    def end(self, index: int) -> int:
        """Return the end of an entry; -1 is the start."""
        at = LOG_ENDS_AT + 8 * index
        return 0 if index < 0 else u64(_read(self.source, at, 8, _ENDS_IN_INDEX), 0)

    def address(self, index: int) -> int:
        """Return the entry's end, in the index."""
        return LOG_ENDS_AT + 8 * index

    def is_at_hand(self, index: int) -> bool:
        """As SequenceReader: both the entry's ends, which are in the index, and its bytes, which are in the data."""
        if self.data is None or not all(self.source.is_at_hand(self.address(one), 8) for one in (index - 1, index) if one >= 0):
            return False
        start = LOG_DATA_AT + self.end(index - 1)
        return start >= self.data.nbytes or self.data.is_at_hand(start, 1)

    def size(self, index: int) -> int:
        """From end to end."""
        start, stop = self._span(index)
        return stop - start

    def element(self, index: int) -> bytes:
        """Return the bytes of an entry."""
        start, stop = self._span(index)
        assert self.data is not None  # noqa: S101 - or there was damage
        return self.data.read(LOG_DATA_AT + start, stop - start)

    def stretches(self, start: int = 0, stop: int | None = None, note: Note | None = None) -> Iterator[Stretch] | None:
        """As SequenceReader; None without data."""
        if self.data is None:
            return None
        last, step = self.readable() if stop is None else min(stop, self.readable()), BLOCK // 8
        return chain.from_iterable(self._stretches_in(self.data, at, min(last, at + step), note) for at in range(start, last, step))

    def _stretches_in(self, data: Source, first: int, last: int, note: Note | None) -> Iterator[Stretch]:
        known = np.frombuffer(_read(self.source, self.address(first), 8 * (last - first), _ENDS_IN_INDEX), "<u8").astype(np.uint64)
        starts, low = np.concatenate((np.array([self.end(first - 1)], np.uint64), known[:-1])), 0
        wrong = np.flatnonzero((starts > known) | (known > np.uint64(self.room()))).tolist()
        for gap in [*wrong, len(known)]:
            while low < gap:
                begin = int(starts[low])
                high = low + max(1, int(np.searchsorted(known[low:gap], np.uint64(begin + BLOCK), "right")))
                yield first + low, data.read(LOG_DATA_AT + begin, int(known[high - 1]) - begin), known[low:high] - starts[low]
                low = high
            if gap < len(known):
                (note or refuse)(self._outside(first + gap, int(starts[gap]), int(known[gap])))
            low = gap + 1

    def _span(self, index: int) -> tuple[int, int]:
        start, end = self.end(index - 1), self.end(index)
        if start > end or self.data is None or end > self.room():
            raise self._outside(index, start, end)
        return start, end

    def _outside(self, index: int, start: int, end: int) -> Damage:
        if start > end:
            return Damage("the ends of entries ascend", self.address(index), end, f"at least {start}")
        return Damage("an entry lies inside the data memory", self.address(index), end, f"at most {self.room()}")

    def ends(self) -> Iterator[tuple[int, Ends]]:
        """All ends, in blocks: (number of the first, ends)."""
        step, total = BLOCK // 8, self.readable()
        for first in range(0, total, step):
            count = min(step, total - first)
            yield first, np.frombuffer(self.source.read(LOG_ENDS_AT + 8 * first, 8 * count), "<u8")

    def least_bytes(self) -> int:
        """Of the index: header and as many ends as the length says."""
        return LOG_ENDS_AT + 8 * self.length

    def live(self) -> int:
        """Of the index."""
        return LOG_ENDS_AT + 8 * self.readable()

    def live_data(self) -> int:
        """Of the data memory."""
        count = self.readable()
        return 0 if self.data is None else min(LOG_DATA_AT + (self.end(count - 1) if count else 0), self.data.nbytes)

    def is_for_core(self) -> bool:
        """As SequenceReader; without data there is nothing to hold against a type."""
        return self.data is None or super().is_for_core()

    def _survey(self, note: Note, progress: Progress) -> Sizes:
        least, most = sizes_of(self.value)
        encoding = encoding_in_core(self.value) if self.data is not None else None
        numbers = {
            "index_bytes": self.source.nbytes, "data_bytes": 0 if self.data is None else self.data.nbytes, "count": self.readable(),
            "least": least, "most": most, "encoding": encoding or 0,
        }  # fmt: skip
        index, data = self.source.memory(), None if self.data is None else self.data.memory()
        survey = self._run(native.log_survey(index._handle, None if data is None else data._handle, numbers, LIMIT), progress)
        self._tell(survey, note)
        return survey.sizes()
