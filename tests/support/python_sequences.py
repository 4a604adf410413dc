"""Vec, heap, log and cell in plain Python, as the inspector checked them before the core surveyed: the judge of the survey.

It reads element by element from a source, and shares nothing with the core.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stable_structures.inspect.encoding import require
from stable_structures.inspect.formats.inference import ORDERS, InferredOrder, order_of
from stable_structures.inspect.formats.layout import Damage
from stable_structures.inspect.source import Source
from stable_structures.storable import Codec

from .python_tables import check_magic, number, read

_HEAP_ORDERS = tuple(ORDERS[i] for i in (0, 2, 1))


class Sequence:
    """Elements by number; `found` is every broken rule after `check`. Raises `Damage` without a header."""

    length = 1

    def __init__(self, source: Source, kind: str, value: Codec[Any] | None) -> None:
        self.source, self.kind, self.value = source, kind, value
        self.found: list[Damage] = []
        check_magic(source, kind, self.found)

    def address(self, index: int) -> int:
        raise NotImplementedError

    def element(self, index: int) -> bytes:
        raise NotImplementedError

    def readable(self) -> int:
        raise NotImplementedError

    def elements(self) -> Iterator[tuple[int, bytes]]:
        for index in range(self.readable()):
            try:
                yield index, self.element(index)
            except Damage:
                continue

    def sizes(self) -> tuple[int, int] | None:
        sizes = [len(data) for _, data in self.elements()]
        return (min(sizes), max(sizes)) if sizes else None

    def check(self) -> list[Damage]:
        for index, data in self.elements() if self.value is not None else ():
            try:
                require(self.value, data)
            except ValueError as error:
                rule = f"an element is encoded as {self.value.name}"
                self.found.append(Damage(rule, self.address(index), f"element {index}: {error}", ""))
        return self.found


class Slots(Sequence):
    """A vec or a heap."""

    def __init__(self, source: Source, kind: str, value: Codec[Any] | None) -> None:
        super().__init__(source, kind, value)
        header = read(source, 0, 64, f"a {kind} has a header of 64 bytes")
        self.length, self.max_size, flag = number(header, 4, 8), number(header, 12, 4), header[16]
        if flag > 1:
            self.found.append(Damage("the fixed-size flag is 0 or 1", 16, flag, 1))
        self.fixed = flag != 0
        self.width = 0 if self.fixed else 1 if self.max_size <= 255 else 2 if self.max_size <= 65_535 else 4
        self.slot = self.width + self.max_size
        if self.length > self._room():
            rule = f"the elements of a {kind} lie inside the memory"
            self.found.append(Damage(rule, 4, self.length, f"at most {self._room()}"))
        if value is not None and (value.bound.max_size, value.bound.is_fixed_size) != (self.max_size, self.fixed):
            said = f"largest {self.max_size} bytes{', of one size' if self.fixed else ''}"
            self.found.append(Damage("the header says the bound of the element type", 12, said, repr(value.bound)))

    def _room(self) -> int:
        if not self.slot:
            return self.length
        whole, rest = divmod(max(0, self.source.nbytes - 64), self.slot)
        if self.length <= whole or not 0 < self.width <= rest:
            return whole
        size = number(self.source.read(self.address(whole), self.width), 0, self.width)
        return whole + (size <= self.max_size and self.width + size <= rest)

    def readable(self) -> int:
        return min(self.length, self._room() if self.slot else self.source.nbytes)

    def address(self, index: int) -> int:
        return 64 + index * self.slot

    def element(self, index: int) -> bytes:
        at = self.address(index)
        size = self.max_size if self.fixed else number(self.source.read(at, self.width), 0, self.width)
        if size > self.max_size:
            raise Damage("an element fits its slot", at, size, self.max_size)
        return self.source.read(at + self.width, size)

    def check(self) -> list[Damage]:
        for index in range(self.readable() if self.slot else 0):
            try:
                self.element(index)
            except Damage as damage:
                self.found.append(damage)
        super().check()
        if self.kind == "heap":
            self._judge_heap()
        return self.found

    def _orders(self) -> tuple[InferredOrder, ...]:
        if self.value is None:
            return _HEAP_ORDERS
        codec, told = self.value, order_of(self.value)

        def ascends(a: bytes, b: bytes) -> bool:
            try:
                codec.decode(a), codec.decode(b)
            except ValueError:
                return False
            return told.ascends(a, b)

        return (InferredOrder(codec.name, ascends, certain=True),)

    def _judge_heap(self) -> None:
        """No element is less than its parent; by one of the orders, if the type is not given."""
        best: tuple[InferredOrder, list[tuple[int, int]]] | None = None
        elements = dict(self.elements())
        for order in self._orders():
            pairs = [(i, (i - 1) // 2) for i in elements if i and (i - 1) // 2 in elements]
            broken = [(i, above) for i, above in pairs if order.ascends(elements[i], elements[above])]
            if best is None or len(broken) < len(best[1]):
                best = order, broken
            if not broken:
                return
        assert best is not None
        order, broken = best
        if not order.certain and len(broken) > max(2, 0.02 * self.length):
            return
        hint = "" if order.certain else f" (by {order.name}, a guess)"
        for child, parent in broken:
            rule = f"no element of a heap is less than its parent{hint}"
            self.found.append(Damage(rule, self.address(child), f"element {child}", f"element {parent}"))


class Cell(Sequence):
    """A cell."""

    def __init__(self, source: Source, value: Codec[Any] | None) -> None:
        super().__init__(source, "cell", value)
        self.size = number(read(source, 0, 8, "a cell has a header of 8 bytes"), 4, 4)
        if 8 + self.size > source.nbytes:
            self.found.append(Damage("the value of a cell lies inside the memory", 4, self.size, source.nbytes - 8))

    def readable(self) -> int:
        return int(8 + self.size <= self.source.nbytes)

    def address(self, _index: int) -> int:
        return 8

    def element(self, _index: int) -> bytes:
        return read(self.source, 8, self.size, "the value of a cell lies inside the memory")


class Log(Sequence):
    """A log's index, and its data if they are known."""

    def __init__(self, index: Source, data: Source | None, value: Codec[Any] | None) -> None:
        super().__init__(index, "log index", value)
        self.data = data
        self.length = number(read(index, 0, 40, "a log index has a header of 40 bytes"), 32, 8)
        room = (index.nbytes - 40) // 8
        if self.length > room:
            self.found.append(Damage("the ends of all entries lie inside the index", 32, self.length, f"at most {room}"))
        if data is not None:
            check_magic(data, "log data", self.found)

    def readable(self) -> int:
        return min(self.length, max(0, self.source.nbytes - 40) // 8)

    def address(self, index: int) -> int:
        return 40 + 8 * index

    def end(self, index: int) -> int:
        return 0 if index < 0 else number(self.source.read(40 + 8 * index, 8), 0, 8)

    def room(self) -> int:
        return 0 if self.data is None else max(0, self.data.nbytes - 32)

    def element(self, index: int) -> bytes:
        start, end = self.end(index - 1), self.end(index)
        if start > end or self.data is None or end > self.room():
            raise Damage("an entry lies inside the data memory", self.address(index), end)
        return self.data.read(32 + start, end - start)

    def check(self) -> list[Damage]:
        for i in range(self.readable()):
            start, end = self.end(i - 1), self.end(i)
            if end < start:
                self.found.append(Damage("the ends of entries ascend", self.address(i), end, f"at least {start}"))
            if self.data is not None and end > self.room():
                self.found.append(Damage("an entry lies inside the data memory", self.address(i), end, f"at most {self.room()}"))
        return super().check()
