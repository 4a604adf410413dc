# SPDX-License-Identifier: Apache-2.0
"""What map and set share: the B-tree, its cursors, and ranges of it (docs/format.md#b-tree-map)."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, TypeVar

import numpy as np

from .. import _native as native
from ..encodings.columns import Encoded
from ..errors import CorruptMemory, StableError
from ..memory.stored import INIT
from .bulk import Column, numbered, raw_room
from .in_arrow import InArrow
from .iterators import Batches
from .misfit import is_damage, misfit
from .number_forms import UNREADABLE, UNSOUND, Argument
from .short_forms import REFUSED
from .structure import Structure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy.typing as npt

    from ..memory.memory import Memory
    from ..storable import Codec

T = TypeVar("T")

KEYS: Final[int] = native.call.SS_WANT_KEYS
VALUES: Final[int] = native.call.SS_WANT_VALUES
_next_entries: Final = native.call.ss_cursor_next
_FROM_FIRST: Final[int] = native.call.SS_FROM_FIRST
_TO_LAST: Final[int] = native.call.SS_TO_LAST
COPY_BATCH: Final = 4096
_FIRST_BATCH: Final = 16
_RANGE_BATCH: Final = 128
"""Of a range with two ends, which is probably small and read as a whole."""
_LAST_BATCH: Final = 1024
_LARGEST_CHUNK: Final = 1 << 20
_BATCH_BYTES: Final = 256 * 1024
_CORRUPT: Final[int] = native.call.SS_CORRUPT
OK: Final[int] = native.call.SS_OK
_ABSENT: Final[int] = native.call.SS_ABSENT
_ALARM: Final[int] = native.call.SS_WANT_ALARM
contains: Final = native.call.ss_btree_contains_bytes


class TreeIterator(Batches[T]):
    """An iterator over a range of a map or set from both ends, with `next_back()` and `skip(n)`.

    It is lazy, holds no lock, and raises `RuntimeError` if the map has changed since the iterator was created. As with a dict,
    however, the thread that iterates may give existing keys other values, by `m[key] = value`, `update` or an entry, and the
    iterator then returns those. Each step is O(1) on average, creating one is O(log n).
    """

    def __init__(self, tree: Tree, cursor: tuple[Any, Any], want: int, *, reverse: bool, batch: int = _FIRST_BATCH) -> None:
        spec = tree._specs[want]
        self._tree = tree
        self._owner, self._cursor = cursor
        self._batch = batch
        self._spec = spec
        super().__init__(tree._generation, spec.finish, reverse=reverse)

    def _tell_apart(self, error: BaseException) -> None:
        self._tree._tell_apart(error)

    def __repr__(self) -> str:
        backwards = ", backwards" if self._reverse else ""
        return f"<{type(self).__name__} over {self._tree!r}{backwards}>"

    def _demand_unchanged(self) -> bool:
        overwritten = native.check(native.call.ss_cursor_valid(self._cursor[0]), "iteration") == _ABSENT
        return overwritten and self._spec.values != 0

    def _pass_over(self, n: int, *, back: bool) -> int:
        return self._tree._checked(native.call.ss_cursor_skip(self._cursor[0], n, back), "skip")

    def _give_back(self, n: int, *, back: bool) -> None:
        self._tree._checked(native.call.ss_cursor_give_back(self._cursor[0], n, back), "iteration")

    def _fetch(self, *, back: bool) -> Iterable[Any] | None:
        if self._at_end:
            return None
        spec, batch = self._spec, self._batch
        self._torn = True
        size = _next_entries(self._cursor[0], batch, _BATCH_BYTES, spec.want | _ALARM, back)
        if size == _CORRUPT and spec.careful is not None:
            self._spec = spec = spec.careful
            self._finish = spec.finish
            size = _next_entries(self._cursor[0], batch, _BATCH_BYTES, spec.want | _ALARM, back)
        try:
            if size < 0:
                self._torn = False
                native.fail(size, "iteration")
            keys, values = native.entries(size, keys=spec.keys, values=spec.values)
        except CorruptMemory as error:
            self._tell_apart(error)
            raise
        count = len(keys or values)
        self._batch = min(batch * 2, _LAST_BATCH)
        self._at_end = count < batch and size < _BATCH_BYTES
        return spec.joined(keys, values) if count else None


class IterationSpec(NamedTuple):
    """How keys, values or entries of a tree cross, and what makes of them what an iterator yields."""

    want: int
    keys: native.Form
    values: native.Form
    finish: Callable[[Any], Any] | None
    careful: IterationSpec | None
    """How they cross if some have not the size of their type: as bytes, so that those before them can be yielded."""

    @classmethod
    def of(cls, key: Argument, value: Argument, want: int) -> IterationSpec:
        """Return the spec for a tree with these keys and values."""
        careful = None
        if (key.layout and want & KEYS) or (value.layout and want & VALUES):
            restorers = _careful_restorer(key), _careful_restorer(value)
            careful = cls._of(want, (key, value), (None, None), restorers, None)
        return cls._of(want, (key, value), (key.layout, value.layout), (_restorer(key), _restorer(value)), careful)

    @classmethod
    def _of(cls, want: int, parts: Any, layouts: Any, restorers: Any, careful: IterationSpec | None) -> IterationSpec:
        forms = []
        codes = want
        for part, layout, wanted, numbers, rows in zip(parts, layouts, _WANTED, _NUMBERS, _ROWS, strict=True):
            form: native.Form = 0
            if want & wanted:
                form = 2 if part.is_number else layout.split if layout else 1
            codes |= numbers if form == 2 else rows if callable(form) else 0  # noqa: PLR2004 - the form
            forms.append(form)
        return cls(codes, forms[0], forms[1], _finisher(restorers[0], restorers[1], want), careful)

    def joined(self, keys: list[Any], values: list[Any]) -> Iterable[Any]:
        """Return the result of `native.entries`, one item for each entry."""
        return zip(keys, values) if self.keys and self.values else keys or values  # noqa: B905 - as many; `strict` takes longer than all


_WANTED: Final = (KEYS, VALUES)
_NUMBERS: Final[tuple[int, int]] = (native.call.SS_WANT_KEY_NUMBERS, native.call.SS_WANT_VALUE_NUMBERS)
_ROWS: Final[tuple[int, int]] = (native.call.SS_WANT_KEY_ROWS, native.call.SS_WANT_VALUE_ROWS)


def _restorer(argument: Argument) -> Callable[[Any], Any] | None:
    """Return a function that makes a key or value from a result of C; None if none is needed."""
    if not argument.is_number:
        return argument.layout.finish if argument.layout else argument.restore
    bias = argument.bias
    return (lambda number: number - bias) if bias else None


def _careful_restorer(argument: Argument) -> Callable[[Any], Any] | None:
    """Return the same for an iterator whose first items have crossed as rows, and the others as bytes."""
    finish = _restorer(argument)
    if argument.layout is None:
        return finish
    decode = argument.decode
    return lambda raw: decode(raw) if type(raw) is bytes else finish(raw) if finish else raw


def _finisher(key_of: Callable[[Any], Any] | None, value_of: Callable[[Any], Any] | None, want: int) -> Callable[[Any], Any] | None:
    """Return a function that makes what an iterator yields from a result of C; None if none is needed."""
    if not want & VALUES:
        return key_of
    if not want & KEYS:
        return value_of
    if value_of is None:
        return None if key_of is None else lambda raw: (key_of(raw[0]), raw[1])
    if key_of is None:
        return lambda raw: (raw[0], value_of(raw[1]))
    return lambda raw: (key_of(raw[0]), value_of(raw[1]))


_PAIRS: Final = (tuple, list)
_STARTS: Final[tuple[int, int]] = (native.call.SS_AFTER, native.call.SS_FROM)
_STOPS: Final[tuple[int, int]] = (native.call.SS_BEFORE, native.call.SS_UPTO)


def end_kinds(start: object, stop: object, inclusive: Any) -> tuple[int, int]:
    """Return the core's codes for both ends of a range."""
    if not isinstance(inclusive, _PAIRS) or len(inclusive) != 2:  # noqa: PLR2004 - the two ends
        raise TypeError(f"inclusive must say for each end whether it belongs to the range, as in (True, False); got {inclusive!r}")
    return _FROM_FIRST if start is None else _STARTS[bool(inclusive[0])], _TO_LAST if stop is None else _STOPS[bool(inclusive[1])]


class Tree(InArrow, Structure):
    """A B-tree with the operations that do not depend on what its values are."""

    _c_name: ClassVar[str] = "btree"
    _key: ClassVar[Argument]
    _value: ClassVar[Argument]
    _specs: ClassVar[dict[int, IterationSpec]]
    _order: ClassVar[native.KeyOrder]
    _keys_column: ClassVar[Column[Any]]
    _values_column: ClassVar[Column[Any]]

    if not TYPE_CHECKING:

        def __class_getitem__(cls, types: Any) -> Any:
            if isinstance(types, tuple) and types and all(isinstance(tp, TypeVar) for tp in types):
                return cls  # the base of a class that gets its types itself
            return cls._specialise(types)

    def __init__(self, memory: Memory) -> None:
        self._begin(INIT, memory)

    _verdict: tuple[int, int, list[tuple[int, int]]] = (-1, 0, [])
    """What the core found the last time, and at which count of changes."""

    def _tell_apart(self, error: BaseException) -> None:
        if not is_damage(error):
            return
        changes = native.number(native.call.ss_btree_changes(self._handle), "check")
        if self._verdict[0] != changes:
            self._verdict = (changes, *native.fit(self._handle))
        _, status, sizes = self._verdict
        if status == native.call.SS_INCOMPATIBLE:
            raise misfit(type(self).__name__, error.rule or str(error), sizes) from error
        if status == native.call.SS_OK:
            super()._tell_apart(error)

    def _unreadable(self, error: BaseException, data: bytes) -> None:
        """Raise a better error than `error` for bytes that are not a value, if there is one."""
        if self._value.codec.quick and isinstance(error, UNSOUND):
            self._made(self._value.decode, data)
        self._tell_apart(error)

    def _restored(self, size: int) -> Any:
        """Return the value whose encoding is the result of the core, of this size."""
        restore, data = self._restore_value, native.result(size)
        try:
            return restore(data) if restore else data
        except UNREADABLE as error:
            self._unreadable(error, data)
            raise

    def _unsound(self, key: Any, value: Any) -> None:
        """Raise the error of the type if a quick function refused the key or the value."""
        for argument, given in ((self._key, key), (self._value, value)):
            if argument.codec.quick:
                try:
                    argument.encode(given)
                except StableError as error:
                    raise error from None

    def _sample(self, most: int) -> Iterable[Sequence[bytes]]:
        cursor, _ = native.new_cursor(self._handle, _FROM_FIRST, b"", _TO_LAST, b"")
        size = native.check(_next_entries(cursor[0], most, _LARGEST_CHUNK, KEYS | VALUES, 0), "iteration")
        keys, values = native.entries(size, keys=1, values=1)
        return zip(keys, values, strict=True) if len(self._codecs) > 1 else zip(keys, strict=True)

    def _start(self, mode: int, memory: Memory, *args: Any) -> None:
        if args:
            raise TypeError(f"{type(self).__name__} takes one memory, got {1 + len(args)}")
        self._open_handle(memory, lambda under, out: self._open_tree(under, mode, out))
        # An attribute of the object is found faster than one of its class.
        key, value = self._key, self._value
        self._encode_key, self._plain_key, self._direct_key, self._key_bias = key.encode, key.plain, key.direct, key.bias
        self._encode_value, self._plain_value, self._restore_value = value.encode, value.plain, value.quick_restore
        self._quick_encode_key, self._quick_encode_value = key.quick_encode, value.quick_encode
        self._direct_value, self._value_bias, self._limit = value.direct, value.bias, value.limit
        self._row_size = value.layout.size if value.layout else None
        self._read_row = value.layout.read if value.layout else None

    def _open_tree(self, memory: Any, mode: int, out: Any) -> int:
        return int(native.call.ss_btree_open(memory, mode, *self._given_types(), out))

    @classmethod
    def _given_types(cls) -> list[Any]:
        order = cls._order
        bounds = [native.bound(codec) for codec in (cls._key.codec, cls._value.codec)]
        return [order.terms, order.count, order.callback, order.anchor, *bounds]

    @classmethod
    def _check_types(cls, codecs: tuple[Codec[Any], ...]) -> None:
        codecs[0].require_key()

    @classmethod
    def _of_types(cls, key: Argument, value: Argument) -> dict[str, Any]:
        """Return the attributes of every class for these keys and values."""
        columns = {"_keys_column": Column(key.codec), "_values_column": Column(value.codec)}
        specs = {want: IterationSpec.of(key, value, want) for want in (KEYS, VALUES, KEYS | VALUES)}
        return {**columns, "_key": key, "_value": value, "_specs": specs, "_order": native.KeyOrder(key.codec)}

    def __contains__(self, key: object) -> bool:
        """Return whether the key is present; False for a key that its type cannot hold. O(log n)."""
        data: Any = key
        if type(key) is not self._plain_key:
            encode = self._quick_encode_key
            try:
                data = encode(key)
            except REFUSED:
                return False
            except UNSOUND:
                if self._key.codec.quick:
                    return False
                raise
        status: int = contains(self._handle, data, len(data))
        if status == OK:
            return True
        return False if status > OK else self._fail(status, "in")

    def __len__(self) -> int:
        """Return the number of entries. O(1)."""
        return native.check(native.call.ss_btree_length(self._handle), "len")

    def clear(self) -> None:
        """Remove everything, as `clear_new` in the crate; the memory keeps its size. O(1).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, u64](StableMemory())
        >>> m[1] = 2
        >>> m.clear()
        >>> len(m)
        0
        """
        native.check(native.call.ss_btree_clear(self._handle), "clear")

    clear_new = clear

    def remove_many(self, keys: npt.ArrayLike | Iterable[Any]) -> npt.NDArray[np.bool_]:
        """Remove many keys in one call; return which of them were present. All or nothing, with the same bytes as a loop.

        O(n log m), with the cache misses of several keys overlapped.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, u64](StableMemory())
        >>> m.update({1: 10, 2: 20})
        >>> m.remove_many([2, 3]).tolist(), list(m)
        ([True, False], [1])
        """
        column, count = self._keys_column.take(keys)
        found = np.zeros(count, np.bool_)
        self._checked(native.call.ss_btree_remove_many(self._handle, column, count, native.flags(found)), "remove_many")
        return found

    def _cursor(self, from_: int, start: Any, to: int, stop: Any) -> tuple[Any, Any]:
        encode = self._encode_key
        # None is a key if the type is an Option; the kinds say which ends count.
        low = b"" if from_ == _FROM_FIRST else encode(start)
        high = b"" if to == _TO_LAST else encode(stop)
        try:
            return native.new_cursor(self._handle, from_, low, to, high)
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _iterate(self, want: int, *, reverse: bool) -> TreeIterator[Any]:
        return TreeIterator(self, self._cursor(_FROM_FIRST, None, _TO_LAST, None), want, reverse=reverse)

    def _ranged(self, want: int, start: Any, stop: Any, inclusive: tuple[bool, bool], *, reverse: bool) -> TreeIterator[Any]:
        from_, to = end_kinds(start, stop, inclusive)
        batch = _RANGE_BATCH if from_ != _FROM_FIRST and to != _TO_LAST else _FIRST_BATCH
        return TreeIterator(self, self._cursor(from_, start, to, stop), want, reverse=reverse, batch=batch)

    def _changes(self) -> int:
        """Return a number that differs after the tree may have changed."""
        return native.number(native.call.ss_btree_changes(self._handle), "iteration")

    def _entries(self, want: int) -> list[Any]:
        """Return keys, values or entries, all read at one moment. O(n)."""
        spec = self._specs[want]
        if spec.careful is not None:
            with contextlib.suppress(CorruptMemory):
                return self._all_of(spec)
            spec = spec.careful
        try:
            return self._all_of(spec)
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _all_of(self, spec: IterationSpec) -> list[Any]:
        keys, values = native.all_entries(self._handle, spec.want, keys=spec.keys, values=spec.values)
        raw = spec.joined(keys, values)
        return list(raw) if spec.finish is None else list(map(spec.finish, raw))

    def _export(self, start: Any, stop: Any, inclusive: tuple[bool, bool], columns: Sequence[Column[Any]]) -> list[npt.NDArray[Any]]:
        """Return the keys of a range, and values if there are two columns, as arrays."""
        from_, to = end_kinds(start, stop, inclusive)
        cursor, _ = self._cursor(from_, start, to, stop)
        joined = self._exported_all(cursor, columns) if start is None and stop is None else self._exported_range(cursor, columns)
        try:
            return [column.give(array) for column, array in zip(columns, joined, strict=True)]
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _exported_all(self, cursor: Any, columns: Sequence[Column[Any]]) -> list[npt.NDArray[Any]]:
        """Return all entries, in arrays that are made once. Raises `CorruptMemory` if there are not as many as the header says."""
        changes, length = self._changes(), len(self)
        arrays = self._exported(cursor, min(length, self._native_memory.nbytes), columns)  # each entry has a byte
        more = self._checked(native.call.ss_cursor_skip(cursor[0], sys.maxsize, False), "to_numpy")
        self._require_all(len(arrays[0]) + more, length, changes)
        return arrays

    def _exported_range(self, cursor: Any, columns: Sequence[Column[Any]]) -> list[npt.NDArray[Any]]:
        size = _LAST_BATCH
        chunks = [self._exported(cursor, size, columns)]
        while len(chunks[-1][0]) == size:
            size = min(2 * size, _LARGEST_CHUNK)
            chunks.append(self._exported(cursor, size, columns))
        return [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in zip(*chunks, strict=True)]

    def _exported(self, cursor: Any, size: int, columns: Sequence[Column[Any]]) -> list[npt.NDArray[Any]]:
        """Return the next entries, at most `size`, in arrays that `Column.give` makes the user's."""
        arrays, rooms = zip(*(column.room(size) for column in columns), strict=True)
        taken = self._checked(native.call.ss_cursor_export(cursor[0], size, rooms[0], *rooms[1:] or (native.NULL,)), "to_numpy")
        return [array[:taken] for array in arrays]

    # ---- Arrow ----

    def _arrow_columns(self) -> dict[str, Codec[Any]]:
        return dict(zip(("key", "value"), self._codecs, strict=False))

    def _arrow_batches(self, start: Any, stop: Any, rows: int, nbytes: int) -> Iterator[list[Encoded]]:
        from_, to = end_kinds(start, stop, (True, False))
        changes, length, found = self._changes(), len(self), 0
        cursor, _ = self._cursor(from_, start, to, stop)
        sizes = [codec.bound.max_size if codec.bound.is_fixed_size else None for codec in self._codecs]
        while True:
            if all(sizes):
                batch = self._fixed_batch(cursor, max(1, min(rows, nbytes // sum(size or 0 for size in sizes))))
            else:
                batch = self._any_batch(cursor, rows, nbytes)
            if not batch[0].count:
                if start is None and stop is None:
                    self._require_all(found, length, changes)
                return
            found += batch[0].count
            if self._changes() != changes:  # a cursor goes on after a value was overwritten, and a table is of one moment
                raise RuntimeError(f"{self!r} changed while it was read; {native.CHANGED_HINT}")
            yield batch[: len(self._codecs)]

    def _require_all(self, found: int, length: int, changes: int) -> None:
        """Raise `CorruptMemory` if a whole tree had more or fewer entries than it counts, and was not changed meanwhile."""
        if found != length and self._changes() == changes:
            raise CorruptMemory(
                f"{self!r}: its nodes have {found:,} entries, its header says {length:,}; run check() to see what is damaged"
            )

    def _fixed_batch(self, cursor: Any, most: int) -> list[Encoded]:
        """Return the next entries, all of one size: rows of bytes, and numbers as numbers."""
        codecs, rooms, arrays = self._codecs, [], []
        for codec, column in zip(codecs, (self._keys_column, self._values_column), strict=False):
            array, room = column.room(most) if column.is_number else raw_room(most, codec.bound.max_size or 0)
            arrays.append(array)
            rooms.append(room)
        taken = self._checked(native.call.ss_cursor_export(cursor[0], most, rooms[0], *rooms[1:] or (native.NULL,)), "to_arrow")
        columns = zip(arrays, (self._keys_column, self._values_column), strict=False)
        return [numbered(array[:taken]) if column.is_number else Encoded.of_rows(array[:taken]) for array, column in columns]

    def _any_batch(self, cursor: Any, most: int, nbytes: int) -> list[Encoded]:
        """Return the next entries, whatever their sizes."""
        size = self._checked(_next_entries(cursor[0], most, nbytes, KEYS | VALUES, 0), "to_arrow")
        keys, key_ends, values, value_ends = native.entry_columns(size)
        count = len(key_ends)
        return [Encoded(keys, count, ends=key_ends), Encoded(values, count, ends=value_ends)]

    def __repr__(self) -> str:
        try:
            return f"<{type(self).__name__} of {len(self)} entries>"
        except Exception as error:  # noqa: BLE001 - a repr must not raise
            return f"<{type(self).__name__}, {type(error).__name__}>"
