# SPDX-License-Identifier: Apache-2.0
"""Many values in one call: conversion between users' arrays or lists and the buffers of the core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np

from .. import _native as native
from ..encodings.columns import Encoded
from ..storable import Blob, IntLane
from ..storable.base import refuse_masked
from ..storable.octets import BytesCodec
from .in_arrow import arrow, is_arrow_column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from ..storable import Codec

T = TypeVar("T")

_WHOLE: Final = (1, 2, 4, 8)


class Column(Generic[T]):
    """How the values of one codec cross in bulk."""

    def __init__(self, codec: Codec[T]) -> None:
        self._codec = codec
        lane = codec.lane
        dtype = codec.native_dtype
        self._bias = lane.bias if isinstance(lane, IntLane) else 0
        self._is_raw = isinstance(codec, BytesCodec | Blob)
        self.is_number = dtype is not None and dtype.kind in "iuf" and dtype.itemsize in _WHOLE
        """Whether numpy holds the values as numbers of this machine."""

    def take(self, values: npt.ArrayLike | Iterable[T]) -> tuple[Any, int]:
        """Return the user's values as the core takes them, and their number. O(n). Raises before anything is written, as the codec does."""
        if isinstance(values, np.ndarray):
            return self._take_array(values)
        if is_arrow_column(values):
            values = arrow("this column").column_of(values, self._codec)
        if isinstance(values, Encoded):
            return self._take_encoded(values)
        items: list[Any] = list(values)  # type: ignore[arg-type]
        if self.is_number and isinstance(self._codec.lane, IntLane):
            array = _whole_numbers(items)
            if array is not None:
                return self._take_array(array)
        return self._take_items(items)

    def _take_encoded(self, column: Encoded) -> tuple[Any, int]:
        """Return what Arrow gave: of a type of one size in rows, else with the ends."""
        bound = self._codec.bound
        rows = column.rows(bound.max_size) if bound.is_fixed_size and bound.max_size else None
        if rows is not None:
            return native.column(column.data, None, rows.shape[1], native=False), column.count
        return native.column(column.data, column.all_ends(), 0, native=False), column.count

    def _take_array(self, array: npt.NDArray[Any]) -> tuple[Any, int]:
        codec = self._codec
        refuse_masked(array, codec.name)
        if codec.dtype is None:
            if array.dtype.kind == "V" and array.dtype.fields is None and array.ndim == 1 and self._is_raw:
                data = np.ascontiguousarray(array).view(np.uint8)
                return native.column(data, None, array.itemsize, native=False, of=array), len(array)
            return self._take_items(array.tolist() if array.ndim == 1 else list(array))
        if self.is_number and array.dtype == codec.native_dtype and array.ndim == 1:
            data = np.ascontiguousarray(array).view(np.uint8)
            return native.column(data, None, array.itemsize, native=True, bias=self._bias, of=array), len(array)
        return native.column(codec.encode_array(array), None, codec.dtype.itemsize, native=False, of=array), len(array)

    def _take_items(self, items: list[T]) -> tuple[Any, int]:
        are_encoded = self._codec.as_is and set(map(type, items)) == {bytes}
        bound = self._codec.bound
        if bound.is_fixed_size and bound.max_size:
            return native.column(b"".join(map(self._codec.encode, items)), None, bound.max_size, native=False), len(items)
        encoded: list[Any] = items if are_encoded else list(map(self._codec.encode, items))
        ends = np.cumsum(np.fromiter(map(len, encoded), np.uint64, len(encoded)), dtype=np.uint64)
        return native.column(b"".join(encoded), ends, 0, native=False), len(encoded)

    def room(self, count: int, make: Callable[..., npt.NDArray[Any]] = np.empty) -> tuple[npt.NDArray[Any], Any]:
        """Return an array for `count` values, made by `make`, and the pointer that the core fills. Raises `IncompatibleType`."""
        codec = self._codec
        if codec.dtype is None or codec.native_dtype is None:
            codec.refuse_array("use items(), or read the values one by one")
        if self.is_number:
            array = make(count, codec.native_dtype)
            return array, native.room(array, native=True, bias=self._bias)
        raw = make(count, np.dtype((np.void, codec.dtype.itemsize)))
        return raw, native.room(raw, native=False)

    def give(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a filled array as the user gets it."""
        return array if self.is_number else self._codec.decode_array(array.view(np.uint8))


def raw_room(count: int, size: int) -> tuple[npt.NDArray[np.uint8], Any]:
    """Return an array for `count` encodings of one size, and the pointer that the core fills."""
    rows = np.empty((count, size), np.uint8)
    return rows, native.room(rows.reshape(-1).view(np.dtype((np.void, size))), native=False)


def numbered(array: npt.NDArray[Any]) -> Encoded:
    """Return numbers that the core decoded as a column."""
    return Encoded(np.empty(0, np.uint8), len(array), numbers=array)


def _whole_numbers(items: list[Any]) -> npt.NDArray[Any] | None:
    """Return a list of integers as an array; None if numpy would have to change a value."""
    if not items:
        return None
    try:
        array = np.array(items)
    except (ValueError, OverflowError):
        return None
    return array if array.dtype.kind in "iu" and array.ndim == 1 else None
