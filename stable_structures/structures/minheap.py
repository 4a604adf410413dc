# SPDX-License-Identifier: Apache-2.0
"""StableMinHeap: a binary heap that lives in a memory (docs/format.md#vec-and-min-heap)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from .. import _native as native
from .._native import NO_VALUE, result
from ..errors import CorruptMemory
from .number_forms import Argument, heap_forms
from .sequence import SequenceIterator
from .slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from ..storable import Codec

T = TypeVar("T")

_length: Final = native.call.ss_heap_length
_push: Final = native.call.ss_heap_push
_pop: Final = native.call.ss_heap_pop
_peek: Final = native.call.ss_heap_peek


class StableMinHeap(Slots[T]):
    """A heap in a memory, smallest value first: `StableMinHeap[T](memory)` loads an existing heap, or creates one.

    Values have a bounded type, and are ordered as their type says; `StableMinHeap[Reverse[T]]` returns the greatest first.
    Floats are allowed, but NaN compares as neither smaller nor greater than anything, so a NaN in the heap may hide smaller
    values from `pop`. The bytes are those of the crate's `MinHeap`.

    Creating one raises `MemoryInUse` if another live structure uses the memory, `BadMagic`, `UnsupportedVersion`,
    `IncompatibleType` if the existing values have another size, `CorruptMemory` and `OutOfMemory`.

    >>> from stable_structures import StableMemory, StableMinHeap, u64
    >>> tasks = StableMinHeap[tuple[u64, u64]](StableMemory())
    >>> tasks.push_many([(5, 1), (3, 2), (9, 3)])
    >>> tasks.pop(), tasks.peek(), len(tasks)
    ((3, 2), (5, 1), 2)
    """

    _c_name: ClassVar[str] = "heap"
    _hot = ("push", "pop", "peek", "__len__")
    _order: ClassVar[native.KeyOrder]

    if not TYPE_CHECKING:

        def __class_getitem__(cls, types: Any) -> Any:
            return cls._specialise(types)

    @classmethod
    def _check_types(cls, codecs: tuple[Codec[Any], ...]) -> None:
        codecs[0].require_heap()
        super()._check_types(codecs)

    @classmethod
    def _specialised(cls, codecs: tuple[Codec[Any], ...]) -> dict[str, Any]:
        value = Argument(codecs[0])
        return {**cls._of_type(value), **cls._own_methods(heap_forms(value)), "_order": native.KeyOrder(codecs[0])}

    def _open_slots(self, memory: Any, mode: int, out: Any) -> int:
        bound, order = self._value.codec.bound, self._order
        by = (order.terms, order.count, order.callback, order.anchor)
        return int(native.call.ss_heap_open(memory, mode, bound.max_size, bound.is_fixed_size, *by, out))

    def __len__(self) -> int:
        """Return the number of values. O(1)."""
        length: int = _length(self._handle)
        return length if length >= 0 else self._fail(length, "len")

    def push(self, value: T) -> None:
        """Insert a value. O(log n).

        Raises `BoundExceeded`, `IncompatibleType`, `OutOfMemory`, and whatever a user's `<` raises; nothing is changed then.

        >>> from stable_structures import StableMemory, StableMinHeap, u64
        >>> h = StableMinHeap[u64](StableMemory())
        >>> h.push(2)
        >>> h.push(1)
        >>> h.peek()
        1
        """
        encode = self._encode
        data = encode(value)
        status: int = _push(self._handle, data, len(data))
        if status < 0:
            self._value.fail(status, "push", value, self)

    def pop(self) -> T | None:
        """Remove the smallest value and return it; None if the heap is empty, as in the crate. O(log n).

        >>> from stable_structures import StableMemory, StableMinHeap, u64
        >>> h = StableMinHeap[u64](StableMemory())
        >>> h.push_many([2, 1])
        >>> h.pop(), h.pop(), h.pop()
        (1, 2, None)
        """
        size: int = _pop(self._handle)
        if size < 0:
            return None if size == NO_VALUE else self._fail(size, "pop")
        return self._restored(result(size), _push)

    def peek(self) -> T | None:
        """Return the smallest value without removing it; None if the heap is empty. O(1).

        >>> from stable_structures import StableMemory, StableMinHeap, u64
        >>> StableMinHeap[u64](StableMemory()).peek() is None
        True
        """
        size: int = _peek(self._handle)
        if size < 0:
            return None if size == NO_VALUE else self._fail(size, "peek")
        restore = self._restore
        data: Any = result(size)
        try:
            return restore(data) if restore else data  # type: ignore[no-any-return]
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def push_many(self, values: npt.ArrayLike | Iterable[T]) -> None:
        """Insert many values in one call. All or nothing, with the same bytes as a loop of `push`. O(n log n).

        Takes a numpy array of a type that numpy can hold, and any iterable. Raises as `push`; nothing is changed then.

        >>> from stable_structures import Reverse, StableMemory, StableMinHeap, u64
        >>> h = StableMinHeap[Reverse[u64]](StableMemory())
        >>> h.push_many([1, 3, 2])
        >>> h.pop()
        3
        """
        self._add_many(values, "push_many")

    def _absorb(self, batch: Any) -> None:
        self.push_many(batch)

    def _whole(self) -> list[T]:
        while True:
            values = SequenceIterator(self)
            try:
                return list(values)
            except RuntimeError:  # from the iterator, or from a user's type
                if not values.is_outdated:
                    raise

    def _read(self, start: int, stop: int, length: int) -> list[T] | None:
        pieces = self._pieces(start, stop, length)
        return None if pieces is None else self._value.codec.decode_many(pieces)

    def _pieces(self, start: int, stop: int, length: int = native.ANY_LENGTH) -> list[bytes] | None:  # noqa: ARG002 - read one by one
        get = native.call.ss_heap_get
        pieces = []
        for index in range(start, stop):
            size = get(self._handle, index)
            if size == native.NO_VALUE:
                return None
            pieces.append(native.result(native.check(size, "iteration")))
        return pieces
