# SPDX-License-Identifier: Apache-2.0
"""Sequences: vec, heap, log, and the cell (docs/format.md#vec-and-min-heap and #log)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, Final

import numpy as np

from ... import _native as native
from ...storable import Codec
from ...storable.order import OrderKind
from ..encoding import encoding_in_core, require, takes_all_bytes
from ..source import BLOCK, PastEnd, Progress, Source, no_progress
from .inference import InferredOrder, order_of
from .layout import (
    BEGINS,
    CELL_AT,
    CELL_SIZE_AT,
    LOG_COUNT_AT,
    LOG_DATA_AT,
    LOG_ENDS_AT,
    SLOT_COUNT_AT,
    SLOT_FIXED_AT,
    SLOT_SIZE_AT,
    SLOTS_AT,
    VERSION_AT,
    Damage,
    u32,
    u64,
)
from .survey import LIMIT, SEEN

Note = Callable[[Damage], None]
_core: Final = native.call
_STEP: Final = 1 << 16
_ONE_BYTE, _TWO_BYTES = 255, 65_535
_FEW: Final = 0.02
_HEAP_ORDERS: Final = (
    InferredOrder("bytes", lambda a, b: a < b),
    InferredOrder("reversed bytes", lambda a, b: a > b),
    InferredOrder("length, then bytes", lambda a, b: (len(a), a) < (len(b), b)),
)


def _read(source: Source, at: int, length: int, rule: str) -> bytes:
    try:
        return source.read(at, length)
    except PastEnd:
        raise Damage(rule, at, source.nbytes, at + length) from None


def _check_magic(source: Source, kind: str, problems: list[Damage]) -> None:
    magic = _read(source, 0, 4, f"a {kind} has a header")
    wanted = BEGINS[kind][:3]
    if magic[:3] != wanted:
        problems.append(Damage(f"a {kind} begins with {wanted.decode()}", 0, magic[:3].hex(), wanted.hex()))
    if magic[VERSION_AT] != 1:
        problems.append(Damage(f"version of a {kind} is 1", VERSION_AT, magic[VERSION_AT], 1))


class SequenceReader:
    """Elements by number. `problems` are what is wrong with the header."""

    kind: str
    length: int

    def __init__(self, source: Source, value: Codec[Any] | None = None) -> None:
        self.source = source
        self.value = value
        self.problems: list[Damage] = []

    def element(self, index: int) -> bytes:
        """Return the bytes of an element. O(size). Raises `Damage`."""
        raise NotImplementedError

    def elements(self, start: int = 0, stop: int | None = None, note: Note | None = None) -> Iterator[tuple[int, bytes]]:
        """Elements with their numbers, in order. Unreadable ones are reported to `note`, or raised."""
        for index in range(start, self.readable() if stop is None else min(stop, self.readable())):
            try:
                data = self.element(index)
            except Damage as damage:
                if note is None:
                    raise
                note(damage)
                continue
            yield index, data

    def readable(self) -> int:
        """Return how many elements lie inside the memory."""
        raise NotImplementedError

    def check(self, note: Note, progress: Progress = no_progress) -> None:
        """Report every broken rule. O(n)."""
        raise NotImplementedError

    def live(self) -> int:
        """Bytes up to the end of the last element."""
        raise NotImplementedError

    def least_bytes(self) -> int:
        """Return how many bytes the structure has by its header."""
        raise NotImplementedError

    def decode_each(self, note: Note, progress: Progress) -> None:
        """Check every element against the given type."""
        if self.value is None or (takes_all_bytes(self.value) and self.has_sizes_of_type()):
            return
        for index, data in self.elements(note=lambda _: None):
            self._decode(index, data, note)
            if index % 4096 == 0:
                progress("decoding", index, self.length)

    def has_sizes_of_type(self) -> bool:
        """Return whether every element that can be read has a size that the type has."""
        return self.value is not None and self.value.bound.max_size is None

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


class SlotReader(SequenceReader):
    """A vec or a heap: a header and slots of one size."""

    def __init__(self, source: Source, kind: str, value: Codec[Any] | None = None) -> None:
        super().__init__(source, value)
        self.kind = kind
        _check_magic(source, kind, self.problems)
        header = _read(source, 0, SLOTS_AT, f"a {kind} has a header of 64 bytes")
        self.length, self.max_size, flag = u64(header, SLOT_COUNT_AT), u32(header, SLOT_SIZE_AT), header[SLOT_FIXED_AT]
        if flag > 1:
            self.problems.append(Damage("the fixed-size flag is 0 or 1", SLOT_FIXED_AT, flag, 1))
        self._lay_out(self.max_size, fixed=flag != 0)
        self._check_length()
        self._check_type()

    def _lay_out(self, max_size: int, *, fixed: bool) -> None:
        self.max_size, self.fixed = max_size, fixed
        self.size_bytes = 0 if fixed else 1 if max_size <= _ONE_BYTE else 2 if max_size <= _TWO_BYTES else 4
        self.slot = self.size_bytes + max_size

    def as_told(self) -> SlotReader | None:
        """Return the same slots by the bound of the given type; None if the header says the same, or there is none."""
        bound = None if self.value is None else self.value.bound
        if bound is None or bound.max_size is None or (bound.max_size, bound.is_fixed_size) == (self.max_size, self.fixed):
            return None
        typed = copy(self)
        typed._lay_out(bound.max_size, fixed=bound.is_fixed_size)
        return typed

    def has_sizes_of_type(self) -> bool:
        """By the header."""
        bound = None if self.value is None else self.value.bound
        return bound is not None and (bound.max_size, bound.is_fixed_size) == (self.max_size, self.fixed)

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
            raise Damage("a slot lies inside the memory", at, self.source.nbytes, at + size)
        return _read(self.source, at, inside, "a slot lies inside the memory").ljust(size, b"\0")

    def _check_type(self) -> None:
        if self.value is None:
            return
        bound = self.value.bound
        if bound.max_size != self.max_size or bound.is_fixed_size != self.fixed:
            found = f"largest {self.max_size} bytes{', of one size' if self.fixed else ''}"
            self.problems.append(Damage("the header says the bound of the element type", SLOT_SIZE_AT, found, repr(bound)))

    def readable(self) -> int:
        """As many as there are slots inside the memory, and no more than the length."""
        return min(self.length, self._room() if self.slot else self.source.nbytes)

    def address(self, index: int) -> int:
        """Return the slot."""
        return SLOTS_AT + index * self.slot

    def element(self, index: int) -> bytes:
        """Return the bytes of an element."""
        slot = self._slots(index, 1)
        if self.fixed:
            return slot
        size = int.from_bytes(slot[: self.size_bytes], "little")
        if size > self.max_size:
            raise Damage("an element fits its slot", self.address(index), size, self.max_size)
        return slot[self.size_bytes : self.size_bytes + size]

    def elements(self, start: int = 0, stop: int | None = None, note: Note | None = None) -> Iterator[tuple[int, bytes]]:
        """As SequenceReader, read in blocks."""
        last = self.readable() if stop is None else min(stop, self.readable())
        step = max(1, BLOCK // max(1, self.slot))
        for first in range(start, last, step):
            count = min(step, last - first)
            block = self._slots(first, count)
            for i in range(count):
                slot = block[i * self.slot : (i + 1) * self.slot]
                size = self.max_size if self.fixed else int.from_bytes(slot[: self.size_bytes], "little")
                if size <= self.max_size:
                    yield first + i, slot[self.size_bytes : self.size_bytes + size]
                    continue
                damage = Damage("an element fits its slot", self.address(first + i), size, self.max_size)
                if note is None:
                    raise damage
                note(damage)

    def least_bytes(self) -> int:
        """Header and as many slots as the length says; the last one may lie behind the end of the memory if its element does not."""
        whole = SLOTS_AT + self.length * self.slot
        return min(whole, self.source.nbytes) if self.readable() == self.length else whole

    def live(self) -> int:
        """Header and slots in use."""
        return min(SLOTS_AT + self.readable() * self.slot, self.source.nbytes)

    def check(self, note: Note, progress: Progress = no_progress) -> None:
        """Sizes of all elements, their encodings if the type is given, and the order of a heap; of each 10,000 notes at most. O(n)."""
        for problem in self.problems:
            note(problem)
        if self.is_for_core():
            self._survey(note, progress)
            return
        if not self.fixed and self.slot:
            self._check_sizes(note, progress)
        self.decode_each(note, progress)
        if self.kind == "heap":
            self._judge_heap(note, lambda order: self._broken(order, progress))

    def is_for_core(self) -> bool:
        """Return whether the core can hold the elements against their type; else only Python can."""
        if not 0 < self.slot <= _core.SS_MOST_SURVEYED_SLOT:
            return False
        codec = self.value
        if codec is None:
            return True
        is_ordered = self.kind != "heap" or codec.order.kind is not OrderKind.PYTHON
        return is_ordered and self.has_sizes_of_type() and encoding_in_core(codec) is not None

    def _survey(self, note: Note, progress: Progress) -> None:
        """Let the core look at every element, and of a heap at each of the orders that it may have."""
        survey = self._surveyed(self.heap_orders()[0] if self.kind == "heap" else None, progress)
        notes, count = survey.notes()
        for rule, address, found, expected, *_ in notes:
            if rule == _core.SS_RULE_ELEMENT_SIZE:
                note(Damage("an element fits its slot", address, found, expected))
            else:
                self._decode(found, self.element(found), note)
        if count > len(notes):
            note(Damage(f"{count - len(notes):,} more elements are wrong than are listed", 0, count, 0))
        if self.kind == "heap":
            first = self.heap_orders()[0].name
            self._judge_heap(note, lambda order: (survey if order.name == first else self._surveyed(order, progress)).disorder())

    def _surveyed(self, order: InferredOrder | None, progress: Progress) -> native.SlotsSurvey:
        """Return the core's survey, by an order of a heap. Raises `Unreadable`."""
        codec = self.value if order is not None and order.certain else None
        kind = _core.SS_SEEN_ANY if order is None else _core.SS_SEEN_TERMS if codec is not None else SEEN[order.name]
        numbers = {
            "bytes": self.source.nbytes, "first": SLOTS_AT, "count": self.readable(), "slot": self.slot, "size_bytes": self.size_bytes,
            "max_size": self.max_size, "order": kind, "encoding": encoding_in_core(self.value) or 0,
        }  # fmt: skip
        memory = self.source.memory()  # alive while the core reads
        survey = native.SlotsSurvey(memory._handle, native.slots_frame(numbers), codec, LIMIT)
        done = 0
        while survey.step(_STEP):
            done += _STEP
            progress("walking the elements", done, self.length)
        if survey.status < 0:
            self.source.fail(survey.status)
        return survey

    def _check_sizes(self, note: Note, progress: Progress) -> None:
        step, total = max(1, BLOCK // self.slot), self.readable()
        for first in range(0, total, step):
            count = min(step, total - first)
            block = np.frombuffer(self._slots(first, count), np.uint8).reshape(count, self.slot)
            sizes = np.zeros((count, 4), np.uint8)
            sizes[:, : self.size_bytes] = block[:, : self.size_bytes]
            column = sizes.view("<u4")[:, 0]
            for i in np.flatnonzero(column > self.max_size).tolist():
                note(Damage("an element fits its slot", self.address(first + i), int(column[i]), self.max_size))
            progress("walking the slots", first, total)

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
        if not order.certain and count > max(2, _FEW * self.length):
            return  # an order that is not known: inspect says so
        hint = "" if order.certain else f" (by {order.name}, a guess)"
        rule = f"no element of a heap is less than its parent{hint}"
        for _, address, child, parent, *_ in broken:
            note(Damage(rule, address, f"element {child}", f"element {parent}"))
        if count > len(broken):
            note(Damage(f"{count - len(broken):,} more elements are less than their parents than are listed", 0, count, 0))

    def _broken(self, order: InferredOrder, progress: Progress) -> tuple[list[Any], int]:
        """Return the elements that are less than their parents, as the core notes them, and how many.

        Two readings side by side: children, and parents at half the pace.
        """
        children = self.elements(note=lambda _: None)
        parents = self.elements(note=lambda _: None)
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

    kind = "cell"
    length = 1

    def __init__(self, source: Source, value: Codec[Any] | None = None) -> None:
        super().__init__(source, value)
        _check_magic(source, "cell", self.problems)
        self.size = u32(_read(source, 0, CELL_AT, "a cell has a header of 8 bytes"), CELL_SIZE_AT)
        if CELL_AT + self.size > source.nbytes:
            self.problems.append(Damage("the value of a cell lies inside the memory", CELL_SIZE_AT, self.size, source.nbytes - CELL_AT))

    def readable(self) -> int:
        """1, or 0 where the value does not lie inside the memory."""
        return int(CELL_AT + self.size <= self.source.nbytes)

    def address(self, index: int) -> int:  # noqa: ARG002 - a sequence of one
        """Behind the header."""
        return CELL_AT

    def element(self, index: int) -> bytes:  # noqa: ARG002 - a sequence of one
        """Return the value."""
        return _read(self.source, CELL_AT, self.size, "the value of a cell lies inside the memory")

    def least_bytes(self) -> int:
        """Header and value."""
        return CELL_AT + self.size

    def live(self) -> int:
        """Header and value."""
        return min(CELL_AT + self.size, self.source.nbytes)

    def check(self, note: Note, progress: Progress = no_progress) -> None:
        """Check the header, and the encoding if the type is given."""
        for problem in self.problems:
            note(problem)
        self.decode_each(note, progress)


class LogReader(SequenceReader):
    """A log: its index, and its data if they are known (`data` None: only sizes can be told)."""

    kind = "log index"

    def __init__(self, index: Source, data: Source | None, value: Codec[Any] | None = None) -> None:
        super().__init__(index, value)
        self.data = data
        _check_magic(index, "log index", self.problems)
        header = _read(index, 0, LOG_ENDS_AT, "a log index has a header of 40 bytes")
        self.length = u64(header, LOG_COUNT_AT)
        room = (index.nbytes - LOG_ENDS_AT) // 8
        if self.length > room:
            self.problems.append(Damage("the ends of all entries lie inside the index", LOG_COUNT_AT, self.length, f"at most {room}"))
        self.data_problems: list[Damage] = []
        if data is not None:
            _check_magic(data, "log data", self.data_problems)

    def readable(self) -> int:
        """As many as there are ends inside the index."""
        return min(self.length, max(0, self.source.nbytes - LOG_ENDS_AT) // 8)

    def room(self) -> int:
        """Bytes that entries can have."""
        return 0 if self.data is None else max(0, self.data.nbytes - LOG_DATA_AT)

    def end(self, index: int) -> int:
        """Return the end of an entry; -1 is the start."""
        at = LOG_ENDS_AT + 8 * index
        return 0 if index < 0 else u64(_read(self.source, at, 8, "the ends of all entries lie inside the index"), 0)

    def address(self, index: int) -> int:
        """Return the entry's end, in the index."""
        return LOG_ENDS_AT + 8 * index

    def element(self, index: int) -> bytes:
        """Return the bytes of an entry."""
        return self._slice(index, self.end(index - 1), self.end(index))

    def _slice(self, index: int, start: int, end: int) -> bytes:
        if start > end:
            raise Damage("the ends of entries ascend", self.address(index), end, f"at least {start}")
        if self.data is None or end > self.room():
            raise Damage("an entry lies inside the data memory", self.address(index), end, f"at most {self.room()}")
        return self.data.read(LOG_DATA_AT + start, end - start)

    def ends(self) -> Iterator[tuple[int, np.ndarray[Any, np.dtype[np.uint64]]]]:
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

    def check(self, note: Note, progress: Progress = no_progress) -> None:
        """Check that the ends ascend inside the data, and the encodings if the type is given."""
        for problem in self.problems + self.data_problems:
            note(problem)
        before = 0
        for first, ends in self.ends():
            previous = np.concatenate(([np.uint64(before)], ends[:-1]))
            for i in np.flatnonzero(ends < previous).tolist():
                note(Damage("the ends of entries ascend", self.address(first + i), int(ends[i]), f"at least {int(previous[i])}"))
            if self.data is not None:
                for i in np.flatnonzero(ends > np.uint64(self.room())).tolist():
                    note(Damage("an entry lies inside the data memory", self.address(first + i), int(ends[i]), f"at most {self.room()}"))
            before = int(ends[-1])
            progress("walking the index", first, self.length)
        if self.data is not None:
            self.decode_each(note, progress)
