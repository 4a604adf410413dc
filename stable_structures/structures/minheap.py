# SPDX-License-Identifier: Apache-2.0
"""StableMinHeap: a binary heap that lives in a memory (docs/format.md#vec-and-min-heap)."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from .. import _native as native
from .arguments import Part, method
from .slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from ..storable import Codec

T = TypeVar("T")


class StableMinHeap(Slots[T]):
    """A heap in a memory with the least value first: `StableMinHeap[T](memory)` loads the one there is, or makes a new one.

    Values are of a type with a bound and are ordered by their type; `StableMinHeap[Reverse[T]]` gives the greatest
    first. Floats are allowed: NaN is less than nothing and nothing is less than NaN, so one that is in the heap may hide
    smaller ones from `pop`. The bytes are those of the crate's `MinHeap`.

    Making one raises `MemoryInUse` where another live structure has the memory, `BadMagic` and `UnsupportedVersion`,
    `IncompatibleType` where the values that are there are of another size, `CorruptMemory` and `OutOfMemory`.

    >>> from stable_structures import StableMemory, StableMinHeap, u64
    >>> tasks = StableMinHeap[tuple[u64, u64]](StableMemory())
    >>> tasks.push_many([(5, 1), (3, 2), (9, 3)])
    >>> tasks.pop(), tasks.peek(), len(tasks)
    ((3, 2), (5, 1), 2)
    """

    _c_name: ClassVar[str] = "heap"
    _order: ClassVar[native.KeyOrder]

    if not TYPE_CHECKING:

        def __class_getitem__(cls, types: Any) -> Any:
            return cls._specialise(types)

    @classmethod
    def _check_types(cls, codecs: tuple[Codec[Any], ...]) -> None:
        codecs[0].require_heap()
        super()._check_types(codecs)

    @classmethod
    def _lanes(cls, codecs: tuple[Codec[Any], ...]) -> dict[str, Any]:
        value = Part("value", codecs[0])
        source, function = _PEEK + indent(value.answer("peek", "return None"), "    "), f"ss_heap_peek{value.suffix}"
        made = {"peek": method(source, [], function, **value.names)}
        return {**cls._slot_lanes(codecs[0]), **cls._documented(made), "_order": native.KeyOrder(codecs[0])}

    def _open_slots(self, memory: Any, mode: int, out: Any) -> int:
        bound, order = self._value.codec.bound, self._order
        by = (order.terms, order.count, order.callback, order.anchor)
        return int(native.call.ss_heap_open(memory, mode, bound.max_size, bound.is_fixed_size, *by, out))

    def push(self, value: T) -> None:
        """Puts a value in. O(log n).

        Raises `BoundExceeded`, `IncompatibleType`, `OutOfMemory`, and what a user's `<` raises; nothing is changed then.

        >>> from stable_structures import StableMemory, StableMinHeap, u64
        >>> h = StableMinHeap[u64](StableMemory())
        >>> h.push(2)
        >>> h.push(1)
        >>> h.peek()
        1
        """
        self._untyped(value)

    def pop(self) -> T | None:
        """Takes the least value out; None where the heap is empty, as in the crate. O(log n).

        >>> from stable_structures import StableMemory, StableMinHeap, u64
        >>> h = StableMinHeap[u64](StableMemory())
        >>> h.push_many([2, 1])
        >>> h.pop(), h.pop(), h.pop()
        (1, 2, None)
        """
        self._untyped()

    def peek(self) -> T | None:
        """The least value, which stays; None where the heap is empty. O(1).

        >>> from stable_structures import StableMemory, StableMinHeap, u64
        >>> StableMinHeap[u64](StableMemory()).peek() is None
        True
        """
        self._untyped()

    def push_many(self, values: npt.ArrayLike | Iterable[T]) -> None:
        """Puts many values in with one call. All or nothing, with the bytes of the loop. O(n log n).

        Takes a numpy array of what numpy can hold, and any iterable. Raises as `push`; nothing is changed then.

        >>> from stable_structures import Reverse, StableMemory, StableMinHeap, u64
        >>> h = StableMinHeap[Reverse[u64]](StableMemory())
        >>> h.push_many([1, 3, 2])
        >>> h.pop()
        3
        """
        self._add_many(values, "push_many")

    def _absorb(self, batch: list[T]) -> None:
        self.push_many(batch)

    def _read(self, start: int, stop: int) -> list[T] | None:
        pieces = self._pieces(start, stop)
        return None if pieces is None else list(map(self._value.codec.decode, pieces))

    def _pieces(self, start: int, stop: int) -> list[bytes] | None:
        get = native.call.ss_heap_get
        pieces = []
        for index in range(start, stop):
            size = get(self._handle, index)
            if size == native.NO_VALUE:
                return None
            pieces.append(native.result(native.check(size, "iteration")))
        return pieces


_PEEK: Final = """
def peek(self):
    answer = call(self._handle)
"""
