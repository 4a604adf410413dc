# SPDX-License-Identifier: Apache-2.0
"""StableLog: an append-only list of entries of any size, in two memories (docs/format.md#log)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self, TypeVar, cast

import numpy as np

from .. import _native as native
from ..encodings.columns import Encoded
from ..errors import CorruptMemory, OutOfBounds
from ..memory.memory import native_memory
from ..memory.stored import INIT, LOAD, NEW
from ..storable import BytesLane
from .indices import bounded
from .number_forms import Argument
from .sequence import BATCH_BYTES, IndexedSequence, encoded

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from ..memory.memory import Memory
    from ..storable import Codec

T = TypeVar("T")

_length: Final = native.call.ss_log_length
_append: Final = native.call.ss_log_append
_item: Final = native.call.ss_log_item


class StableLog(IndexedSequence[T]):
    """An append-only list of entries: `StableLog[T](index, data)` loads an existing log, or creates one.

    Entries may have any size. A log is created only if both memories are empty, which means that all their bytes are zero. If
    one holds something else, `BadMagic` is raised and neither is changed (the crate's `init` overwrites both). The bytes are
    those of the crate's `Log`. Operations have the crate's names; it is also a `Sequence` with `extend`.

    If the two memories are not in one file, an operation waits for transactions of other threads on either.

    Creating one raises `MemoryInUse` if another live structure uses one of the memories, or if both are the same,
    `BadMagic` if either memory holds something else, `UnsupportedVersion`, `CorruptMemory` and `OutOfMemory`.

    >>> from stable_structures import StableLog, StableMemory
    >>> events = StableLog[str](StableMemory(), StableMemory())
    >>> events.append("started"), events.append("stopped")
    (0, 1)
    >>> events[-1], list(events)
    ('stopped', ['started', 'stopped'])
    """

    _c_name: ClassVar[str] = "log"
    _hot = ("append", "get", "__getitem__", "__len__")
    _lookups = native.call.ss_log_get, native.call.ss_log_item

    _opened_on = (*IndexedSequence._opened_on, "data_memory", "_native_data")

    data_memory: Memory
    """The memory of the entries; `memory` is the index memory."""

    if not TYPE_CHECKING:

        def __class_getitem__(cls, types: Any) -> Any:
            return cls._specialise(types)

    def __init__(self, index: Memory, data: Memory) -> None:
        self._begin(INIT, index, data)

    @classmethod
    def new(cls, index: Memory, data: Memory) -> Self:
        """Create an empty log; **overwrites** whatever the memories hold. O(1). Raises `MemoryInUse`, `OutOfMemory`, `ReadOnly`.

        >>> from stable_structures import StableLog, StableMemory
        >>> len(StableLog[str].new(StableMemory(), StableMemory()))
        0
        """
        return cls._open(NEW, index, data)

    @classmethod
    def load(cls, index: Memory, data: Memory) -> Self:
        """Open the log that the memories hold; raise `BadMagic` if they hold none. O(1).

        >>> from stable_structures import StableLog, StableMemory
        >>> StableLog[str].load(StableMemory(), StableMemory())
        Traceback (most recent call last):
        stable_structures.errors.BadMagic: ...
        """
        return cls._open(LOAD, index, data)

    def _start(self, mode: int, memory: Memory, *args: Any) -> None:
        self.data_memory = args[0]
        self._native_data = native_memory(args[0])
        data = self._native_data._handle
        self._open_handle(memory, lambda under, out: native.call.ss_log_open(under, data, mode, out))
        self._bind()

    @classmethod
    def _specialised(cls, codecs: tuple[Codec[Any], ...]) -> dict[str, Any]:
        return {"_value": Argument(codecs[0], BytesLane()), **cls._own_methods({})}

    def __len__(self) -> int:
        """Return the number of entries. O(1)."""
        length: int = _length(self._handle)
        return length if length >= 0 else self._fail(length, "len")

    @property
    def index_memory(self) -> Memory:
        """Return the index memory. O(1).

        >>> from stable_structures import StableLog, StableMemory
        >>> log = StableLog[str](StableMemory(), StableMemory())
        >>> log.extend(["a", "bc"])
        >>> log.index_memory is log.memory
        True
        """
        return self.memory

    # ---- entries ----

    def append(self, value: T) -> int:
        """Append an entry; return its index. O(size).

        Raises `IncompatibleType`, `BoundExceeded` and `OutOfMemory`; the log is unchanged then.

        >>> from stable_structures import StableLog, StableMemory
        >>> StableLog[bytes](StableMemory(), StableMemory()).append(b"first")
        0
        """
        data: Any = value
        if type(value) is not self._plain:
            encode = self._encode
            data = encode(value)
        index: int = _append(self._handle, data, len(data))
        return index if index < native.ASK else self._result_number("append")

    def extend(self, values: npt.ArrayLike | Iterable[T]) -> None:
        """Append many entries in one call. All or nothing, with the same bytes as a loop of `append`. O(size). Raises as `append`.

        >>> from stable_structures import StableLog, StableMemory
        >>> log = StableLog[str](StableMemory(), StableMemory())
        >>> log.extend(["a", "b", "c"])
        >>> log[1:]
        ['b', 'c']
        """
        column, count = encoded(self._value.codec, self._still_values(values))
        self._checked(native.call.ss_log_extend(self._handle, column.data, column.ends, count), "extend")

    def to_numpy(self, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """Return the entries from `start` to `stop`, as in a slice, as a new array. O(n).

        Raises `IncompatibleType` if numpy cannot hold the entries.

        >>> from stable_structures import StableLog, StableMemory, f64, u32
        >>> log = StableLog[tuple[u32, f64]](StableMemory(), StableMemory())
        >>> log.extend([(1, 0.5), (2, 1.5), (3, 2.5)])
        >>> log.to_numpy(1)["f1"]
        array([1.5, 2.5])
        """
        codec = self._value.codec
        if codec.dtype is None:
            codec.refuse_array("use list()")
        pieces = None
        while pieces is None:  # another thread may make it longer: the indices are others then
            length = len(self)
            first, last, _ = slice(start, stop).indices(length)
            pieces = self._pieces(first, max(first, last), length)
        odd = next((piece for piece in pieces if len(piece) != codec.dtype.itemsize), None)
        try:
            if odd is not None:
                codec.decode(odd)
            return codec.decode_array(b"".join(pieces))
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def first(self) -> T | None:
        """Return the first entry, or None. O(size).

        >>> from stable_structures import StableLog, StableMemory
        >>> log = StableLog[str](StableMemory(), StableMemory())
        >>> log.extend(["a", "b", "c"])
        >>> log.first(), log.last()
        ('a', 'c')
        """
        return self.get(0)

    def last(self) -> T | None:
        """Return the last entry, or None. O(size).

        >>> from stable_structures import StableLog, StableMemory
        >>> log = StableLog[str](StableMemory(), StableMemory())
        >>> log.extend(["a", "bc"])
        >>> log.last()
        'bc'
        """
        size = _item(self._handle, -1)
        if size < 0:
            return None if size == native.NO_VALUE else self._fail(size, "last")
        return self._made(self._value.decode, native.result(size))  # type: ignore[no-any-return]

    def read_entry(self, index: int) -> bytes:
        r"""Return the bytes of an entry, not decoded. O(size). Raises `OutOfBounds` past the end.

        >>> from stable_structures import StableLog, StableMemory, u16
        >>> log = StableLog[u16](StableMemory(), StableMemory())
        >>> log.extend([258])
        >>> log.read_entry(0)
        b'\x01\x02'
        """
        size = native.call.ss_log_get(self._handle, bounded(index))
        if size == native.NO_VALUE:
            raise OutOfBounds(f"{type(self).__name__}: entry {index} not found; the log has {len(self)} entries")
        return native.result(self._checked(size, "read_entry"))

    # ---- the whole log ----

    def index_size_bytes(self) -> int:
        """Return the bytes in use of the index memory: 40, and 8 for each entry. O(1).

        >>> from stable_structures import StableLog, StableMemory
        >>> log = StableLog[str](StableMemory(), StableMemory())
        >>> log.extend(["a", "bc"])
        >>> log.index_size_bytes(), log.data_size_bytes(), log.log_size_bytes()
        (56, 35, 3)
        """
        return native.check(native.call.ss_log_index_size_bytes(self._handle), "index_size_bytes")

    def data_size_bytes(self) -> int:
        """Return the bytes in use of the data memory: 32, and the entries. O(1).

        >>> from stable_structures import StableLog, StableMemory
        >>> log = StableLog[str](StableMemory(), StableMemory())
        >>> log.extend(["a", "bc"])
        >>> log.data_size_bytes()
        35
        """
        return native.check(native.call.ss_log_data_size_bytes(self._handle), "data_size_bytes")

    def log_size_bytes(self) -> int:
        """Return the bytes of the entries alone. O(1).

        >>> from stable_structures import StableLog, StableMemory
        >>> log = StableLog[str](StableMemory(), StableMemory())
        >>> log.extend(["a", "bc"])
        >>> log.log_size_bytes()
        3
        """
        return native.check(native.call.ss_log_size_bytes(self._handle), "log_size_bytes")

    def into_memories(self) -> tuple[Memory, Memory]:
        """Release both memories and return them; from then on the log raises `Closed`. O(1).

        >>> from stable_structures import StableLog, StableMemory
        >>> index, data = StableMemory(), StableMemory()
        >>> StableLog[str](index, data).into_memories() == (index, data)
        True
        """
        native.check(native.call.ss_log_detach(self._handle), "into_memories")
        return self.memory, self.data_memory

    def into_memory(self) -> NoReturn:
        """Raise `TypeError`: a log uses two memories, and `into_memories` returns both. O(1).

        >>> from stable_structures import StableLog, StableMemory
        >>> log = StableLog[str](StableMemory(), StableMemory())
        >>> log.extend(["a", "bc"])
        >>> log.into_memory()
        Traceback (most recent call last):
        TypeError: StableLog[str] uses two memories; use into_memories()
        """
        raise TypeError(f"{type(self).__name__} uses two memories; use into_memories()")

    def _absorb(self, batch: list[T]) -> None:
        self.extend(batch)

    def _arrow_insert(self, columns: list[Encoded]) -> object:
        self.extend(cast("Any", columns[0]))
        return None

    def _encoded(self, start: int, stop: int) -> Encoded | None:
        found = native.exported_column(native.call.ss_log_export, self._handle, start, stop, native.ANY_LENGTH)
        return None if found is None else Encoded(np.frombuffer(found[0], np.uint8), stop - start, ends=found[1])

    def _read(self, start: int, stop: int, length: int) -> list[T] | None:
        pieces = self._pieces(start, stop, length)
        return None if pieces is None else self._value.codec.decode_many(pieces)

    def _pieces(self, start: int, stop: int, length: int = native.ANY_LENGTH) -> list[bytes] | None:
        return native.exported(native.call.ss_log_export, self._handle, start, stop, length)

    def _batch_length(self) -> int:
        average = self.log_size_bytes() // max(1, len(self))
        return max(1, BATCH_BYTES // (average + 1))
