# SPDX-License-Identifier: Apache-2.0
"""StableCell: one value that lives in a memory (docs/format.md#cell)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeVar

from .. import _native as native
from .._native import result
from ..errors import CorruptMemory
from ..memory.stored import INIT, LOAD, NEW
from .number_forms import Argument, cell_forms
from .structure import Structure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..memory.memory import Memory
    from ..storable import Codec

T = TypeVar("T")

_get: Final = native.call.ss_cell_get
_set: Final = native.call.ss_cell_replace
_put: Final = native.call.ss_cell_set


class StableCell(Structure, Generic[T]):
    """One value in a memory: `StableCell[T](memory, default)` loads an existing cell, or creates one with the default.

    The default is stored on an empty memory only, whose bytes are all zero; `StableCell.load(memory)` requires a cell and
    takes no default, `StableCell.new(memory, value)` overwrites whatever is there (the crate's `init` does too). Each `get`
    reads the value from the memory: changing its result, such as a dict, does not change the cell until you set it. The
    bytes are those of the crate's `Cell`.

    Creating one raises `BadMagic` if the memory holds something else, `MemoryInUse` if another live structure uses it,
    `UnsupportedVersion`, `CorruptMemory`, `OutOfMemory`, and as `set` for the default.

    >>> from stable_structures import Cbor, StableCell, StableMemory
    >>> config = StableCell[Cbor[dict]](StableMemory(), {"fee": 10})
    >>> config.set({"fee": 20}), config.value
    ({'fee': 10}, {'fee': 20})
    """

    _c_name: ClassVar[str] = "cell"
    _hot = ("get", "set", "_assign")
    _argument: ClassVar[Argument]

    if not TYPE_CHECKING:

        def __class_getitem__(cls, types: Any) -> Any:
            return cls._specialise(types)

    @classmethod
    def _specialised(cls, codecs: tuple[Codec[Any], ...]) -> dict[str, Any]:
        value = Argument(codecs[0])
        made = cls._own_methods(cell_forms(value))
        if {"get", "_assign"} <= made.keys() and cls.value is StableCell.value:
            made["value"] = property(made["get"], made["_assign"], doc=cls.value.__doc__)
        return {"_argument": value, **made}

    def __init__(self, memory: Memory, default: T) -> None:
        self._begin(INIT, memory, default)

    def _shown(self) -> Iterator[Sequence[Any]]:
        return iter([[self.get()]])

    @classmethod
    def new(cls, memory: Memory, default: T) -> Self:
        """Create a cell with this value; **overwrites** whatever the memory holds. O(size). Raises as the constructor does.

        >>> from stable_structures import StableCell, StableMemory, u64
        >>> StableCell[u64].new(StableMemory(), 7).get()
        7
        """
        return cls._open(NEW, memory, default)

    @classmethod
    def load(cls, memory: Memory) -> Self:
        """Open the cell that the memory holds; raise `BadMagic` if it holds none. O(1).

        >>> from stable_structures import StableCell, StableMemory, u64
        >>> StableCell[u64].load(StableMemory())
        Traceback (most recent call last):
        stable_structures.errors.BadMagic: ...
        """
        return cls._open(LOAD, memory)

    def _start(self, mode: int, memory: Memory, *args: Any) -> None:
        self._require_types()
        data = self._codecs[0].encode(args[0]) if args else b""
        self._open_handle(memory, lambda under, out: native.call.ss_cell_open(under, mode, data, len(data), out))
        # An attribute of the object is found faster than one of its class.
        value = self._argument
        self._encode, self._plain, self._restore = value.encode, value.plain, value.restore
        self._direct, self._bias, self._limit, self._width = value.direct, value.bias, value.limit, value.width

    def get(self) -> T:
        """Return the value. O(size). Raises `CorruptMemory` if the bytes are not a value of its type.

        >>> from stable_structures import StableCell, StableMemory, u64
        >>> StableCell[u64](StableMemory(), 7).get()
        7
        """
        size: int = _get(self._handle)
        if size < 0:
            self._fail(size, "get")
        restore = self._restore
        data: Any = result(size)
        try:
            return restore(data) if restore else data  # type: ignore[no-any-return]
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def set(self, value: T) -> T:
        """Set the value; return the previous one. O(size).

        Raises `BoundExceeded` (also for more than 2**32-1 bytes), `IncompatibleType` and `OutOfMemory`; the value is unchanged then.

        >>> from stable_structures import StableCell, StableMemory, u64
        >>> cell = StableCell[u64](StableMemory(), 7)
        >>> cell.set(8), cell.get()
        (7, 8)
        """
        data: Any = value
        if type(value) is not self._plain:
            encode = self._encode
            data = encode(value)
        size = _set(self._handle, data, len(data))
        if size < 0:
            self._fail(size, "set")
        old: Any = result(size)
        restore = self._restore
        try:
            return restore(old) if restore else old  # type: ignore[no-any-return]
        except BaseException as error:
            _put(self._handle, old, len(old))
            self._tell_apart(error)
            raise

    @property
    def value(self) -> T:
        """Return the value, or assign to it. O(size). Raises as `get` and `set`.

        >>> from stable_structures import StableCell, StableMemory, u64
        >>> cell = StableCell[u64](StableMemory(), 7)
        >>> cell.value += 1
        >>> cell.value
        8
        """
        return self.get()  # in a class for a type, this property consists of `get` and `_assign` themselves

    @value.setter
    def value(self, value: T) -> None:
        self._assign(value)

    def _assign(self, value: T) -> None:
        """Set the value."""
        data: Any = value
        if type(value) is not self._plain:
            encode = self._encode
            data = encode(value)
        status = _put(self._handle, data, len(data))
        if status < 0:
            self._argument.fail(status, "set", value, self)

    def _get_or_raise(self) -> T:
        """Return the value if the core's number is a status, or raise its error."""
        native.call.ss_result_drop()
        data = native.result(native.check(native.call.ss_cell_get(self._handle), "get"))
        return self._made(self._codecs[0].decode, data)  # type: ignore[no-any-return]

    def _sample(self, most: int) -> Iterable[Sequence[bytes]]:  # noqa: ARG002 - there is one
        return [(native.result(native.check(native.call.ss_cell_get(self._handle), "get")),)]

    def _count(self) -> int:
        return 1

    def _batches(self) -> Iterator[list[T]]:
        yield [self.get()]

    def _absorb(self, batch: list[T]) -> None:
        (self.value,) = batch

    def __repr__(self) -> str:
        try:
            return f"<{type(self).__name__} of {native.usage(native.call.ss_cell_usage, self._handle)[0]} bytes>"
        except Exception as error:  # noqa: BLE001 - a repr must not raise
            return f"<{type(self).__name__}, {type(error).__name__}>"
