# SPDX-License-Identifier: Apache-2.0
"""StableVec: a growable array that lives in a memory (docs/format.md#vec-and-min-heap)."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, ClassVar, Final, SupportsIndex, TypeVar

import numpy as np

from .. import _native as native
from .._native import NO_VALUE, result
from ..encodings.columns import Encoded
from ..errors import CorruptMemory
from .indices import LIMIT, LOWEST, bounded
from .number_forms import Argument, vec_forms
from .sequence import IndexedSequence
from .slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from ..storable import Codec

T = TypeVar("T")

_length: Final = native.call.ss_vec_length
_push: Final = native.call.ss_vec_push
_pop: Final = native.call.ss_vec_pop
_set: Final = native.call.ss_vec_set
_set_item: Final = native.call.ss_vec_set_item


class StableVec(Slots[T], IndexedSequence[T]):
    """A growable array in a memory: `StableVec[T](memory)` loads an existing vec, or creates one.

    Elements have a bounded type, each in a slot of its maximum size, so that every operation on one is O(1). The bytes are
    those of the crate's `Vec`. Operations have the crate's names; it is also a `Sequence` with item assignment, `append` and
    `extend`.

    Creating one raises `MemoryInUse` if another live structure uses the memory, `BadMagic` and `UnsupportedVersion`,
    `IncompatibleType` if the existing elements have another size, `CorruptMemory` and `OutOfMemory`.

    >>> from stable_structures import StableMemory, StableVec, f64
    >>> scores = StableVec[f64](StableMemory())
    >>> scores.push(0.5)
    >>> scores.extend([1.5, 2.5])
    >>> scores[-1], len(scores), scores.to_numpy()
    (2.5, 3, array([0.5, 1.5, 2.5]))
    """

    _c_name: ClassVar[str] = "vec"
    _hot = ("get", "__getitem__", "set", "__setitem__", "push", "append", "pop", "__len__")
    _lookups = native.call.ss_vec_get, native.call.ss_vec_item

    if not TYPE_CHECKING:

        def __class_getitem__(cls, types: Any) -> Any:
            return cls._specialise(types)

    @classmethod
    def _specialised(cls, codecs: tuple[Codec[Any], ...]) -> dict[str, Any]:
        value = Argument(codecs[0])
        return {**cls._of_type(value), **cls._own_methods(vec_forms(value))}

    def _open_slots(self, memory: Any, mode: int, out: Any) -> int:
        bound = self._value.codec.bound
        return int(native.call.ss_vec_open(memory, mode, bound.max_size, bound.is_fixed_size, out))

    def __len__(self) -> int:
        """Return the number of elements. O(1)."""
        length: int = _length(self._handle)
        return length if length >= 0 else self._fail(length, "len")

    # ---- one element ----

    def push(self, value: T) -> None:
        """Append a value; `append` is the same. O(1).

        Raises `BoundExceeded`, `IncompatibleType`, `OutOfMemory`; nothing is changed then.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.push(1)
        >>> v.append(2)
        >>> list(v)
        [1, 2]
        """
        encode = self._encode
        data = encode(value)
        status: int = _push(self._handle, data, len(data))
        if status < 0:
            self._value.fail(status, "push", value, self)

    append = push

    def pop(self) -> T | None:
        """Remove the last value and return it; None if the vec is empty, as in the crate. O(1).

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.push(1)
        >>> v.pop(), v.pop()
        (1, None)
        """
        size: int = _pop(self._handle)
        if size < 0:
            return None if size == NO_VALUE else self._fail(size, "pop")
        return self._restored(result(size), _push)

    def set(self, index: int, value: T) -> None:
        """Set the value at an index. O(1).

        Raises `OutOfBounds` past the end and for a negative index, `BoundExceeded`, `IncompatibleType`, and `OutOfMemory`
        if a longer value at the very end does not fit; nothing is changed then.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> v = StableVec[u64](StableMemory())
        >>> v.extend([1, 2])
        >>> v.set(0, 5)
        >>> v[0]
        5
        """
        if type(index) is not int or not 0 <= index < LIMIT:
            index = bounded(index)
        encode = self._encode
        data = encode(value)
        status: int = _set(self._handle, index, data, len(data))
        if status < 0:
            self._set_failed(status, index, value)

    def __setitem__(self, index: SupportsIndex, value: T) -> None:
        """Set the value at an index, a negative one counts from the end. O(1). Raises as `set`, and `TypeError` for a slice."""
        if type(index) is not int or not LOWEST <= index < LIMIT:
            index = self._place(index)
        encode = self._encode
        data = encode(value)
        status: int = _set_item(self._handle, index, data, len(data))
        if status < 0:
            self._set_failed(status, index, value)

    def _place(self, index: Any) -> int:
        """Return a plain index for one to assign to, such as a numpy integer."""
        if isinstance(index, slice):
            raise TypeError(
                f"{type(self).__name__} does not support assignment to a slice; assign item by item, or build a new vec with extend()"
            )
        number = operator.index(index)
        return number if LOWEST <= number < LIMIT else self._past(number)

    def _set_failed(self, status: int, index: int, value: T) -> None:
        if status == native.call.SS_OUT_OF_BOUNDS:
            self._past(index)
        if status == native.call.SS_BOUND_EXCEEDED:
            self._value.codec.encode(value)
        self._fail(status, "set")

    # ---- many elements ----

    def extend(self, values: npt.ArrayLike | Iterable[T]) -> None:
        """Append many values in one call. All or nothing, with the same bytes as a loop. O(n), for arrays at memory speed.

        Takes a numpy array of a type that numpy can hold, and any iterable. Raises `BoundExceeded`, `IncompatibleType` for a
        dtype that would lose precision, and `OutOfMemory`; nothing is changed then.

        >>> import numpy as np
        >>> from stable_structures import StableMemory, StableVec, u32
        >>> v = StableVec[u32](StableMemory())
        >>> v.extend(np.arange(3))
        >>> v.extend(n * n for n in range(3))
        >>> list(v)
        [0, 1, 2, 0, 1, 4]
        """
        self._add_many(values, "extend")

    def to_numpy(self, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """Return the elements from `start` to `stop`, as in a slice, as a new array. O(n), at the speed of memory.

        Raises `IncompatibleType` if numpy cannot hold the elements.

        >>> from stable_structures import StableMemory, StableVec, i16
        >>> v = StableVec[i16](StableMemory())
        >>> v.extend([1, -2, 3])
        >>> v.to_numpy(-2)
        array([-2,  3], dtype=int16)
        """
        if self._value.codec.dtype is None:
            self._value.codec.refuse_array("use list()")
        while True:
            length = len(self)
            first, last, _ = slice(start, stop).indices(length)
            array = self._export(first, max(first, last), length)
            if array is not None:  # else another thread made it longer or shorter: the indices are others now
                return array

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return a new array, for `numpy.asarray`. O(n). Raises `ValueError` for `copy=False`, since it is always a copy."""
        if copy is False:
            raise ValueError(f"{type(self).__name__} only returns copies; leave out copy=False, or use memory.view()")
        array = self.to_numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def _export(self, start: int, stop: int, length: int) -> np.ndarray[Any, Any] | None:
        """Return as `_read`, for elements of a type that numpy can hold."""
        array, room = self._column.room(stop - start)
        if room.native:
            status = native.call.ss_vec_export_ints(self._handle, start, stop, length, room.data, room.bias)
        else:
            status = native.call.ss_vec_export(self._handle, start, stop, length, room.data)
        if status == native.call.SS_OUT_OF_BOUNDS:
            return None
        self._checked(status, "to_numpy")
        try:
            return self._column.give(array)
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _read(self, start: int, stop: int, length: int) -> list[T] | None:
        if self._column.is_number:
            array = self._export(start, stop, length)
            return None if array is None else array.tolist()
        pieces = self._pieces(start, stop, length)
        return None if pieces is None else self._value.codec.decode_many(pieces)

    def _encoded(self, start: int, stop: int) -> Encoded | None:
        bound = self._value.codec.bound
        if not bound.is_fixed_size or not bound.max_size:
            found = native.exported_column(native.call.ss_vec_export_var, self._handle, start, stop, native.ANY_LENGTH)
            return None if found is None else Encoded(np.frombuffer(found[0], np.uint8), stop - start, ends=found[1])
        rows = np.empty((stop - start, bound.max_size), np.uint8)
        status = native.call.ss_vec_export(self._handle, start, stop, native.ANY_LENGTH, native.flags(rows))
        if status == native.call.SS_OUT_OF_BOUNDS:
            return None
        self._checked(status, "to_arrow")
        return Encoded.of_rows(rows)

    def _pieces(self, start: int, stop: int, length: int = native.ANY_LENGTH) -> list[bytes] | None:
        return native.exported(native.call.ss_vec_export_var, self._handle, start, stop, length)
