# SPDX-License-Identifier: Apache-2.0
"""The slot array under vec and heap (docs/format.md#vec-and-min-heap): elements of bounded size, one by one and in bulk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from .. import _native as native
from ..encodings.columns import Encoded
from ..errors import IncompatibleType
from ..memory.stored import INIT
from .bulk import Column
from .sequence import BATCH_BYTES, SequenceStructure, encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from ..memory.memory import Memory
    from ..storable import Codec
    from .number_forms import Argument

T = TypeVar("T")

_SIZE_BYTES: Final = 4


class Slots(SequenceStructure[T]):
    """A sequence of elements of a bounded type."""

    _column: ClassVar[Column[Any]]

    def __init__(self, memory: Memory) -> None:
        self._begin(INIT, memory)

    def _start(self, mode: int, memory: Memory, *args: Any) -> None:
        if args:
            raise TypeError(f"{type(self).__name__} takes one memory, got {1 + len(args)}")
        self._open_handle(memory, lambda under, out: self._open_slots(under, mode, out))
        self._bind()

    def _open_slots(self, memory: Any, mode: int, out: Any) -> int:
        raise NotImplementedError

    @classmethod
    def _check_types(cls, codecs: tuple[Codec[Any], ...]) -> None:
        if codecs[0].bound.max_size is None:
            raise IncompatibleType(
                f"{cls.__name__} cannot hold {codecs[0].name}, which has no maximum size; "
                "use a bounded type such as Blob(max_size), or a StableLog or StableBTreeMap, which hold any size"
            )

    @classmethod
    def _of_type(cls, value: Argument) -> dict[str, Any]:
        """Return the attributes of every class for these values."""
        return {"_value": value, "_column": Column(value.codec)}

    def _restored(self, old: bytes, put_back: Callable[[Any, bytes, int], int]) -> T:
        """Return a value that was removed; insert it again if its bytes are not a value of the type."""
        try:
            return self._value.decode(old)  # type: ignore[no-any-return]
        except BaseException as error:
            put_back(self._handle, old, len(old))
            self._tell_apart(error)
            raise

    def _add_many(self, values: npt.ArrayLike | Iterable[T], operation: str) -> None:
        """Add all values in one call, with the same bytes as a loop; all or nothing."""
        codec, name = self._value.codec, f"ss_{self._c_name}_{operation}"
        values = self._still_values(values)
        fixed = codec.bound.is_fixed_size
        column, count = self._column.take(values) if fixed else encoded(codec, values)
        if column.native:
            status = getattr(native.call, f"{name}_ints")(self._handle, column.data, count, column.bias)
        elif column.ends:
            status = getattr(native.call, f"{name}_var")(self._handle, column.data, column.ends, count)
        else:
            status = getattr(native.call, name)(self._handle, column.data, count)
        self._checked(status, operation)

    def _absorb(self, batch: Any) -> None:
        self._add_many(batch, "extend")

    def _arrow_insert(self, columns: list[Encoded]) -> object:
        self._absorb(columns[0])
        return None

    def _batch_length(self) -> int:
        return max(1, BATCH_BYTES // ((self._value.codec.bound.max_size or 0) + _SIZE_BYTES))
