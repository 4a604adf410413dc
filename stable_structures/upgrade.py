# SPDX-License-Identifier: Apache-2.0
"""Backups of the heap around an upgrade (docs/format.md#backup-of-the-heap).

    offset  size
    0       4       length n of the CBOR, little-endian
    4       n       one CBOR item; the rest of an older, longer backup after it stays

A memory has room for one backup. It is written in one operation of the core, after every possible error of the state has
been raised: until then the old backup is untouched, and after it the new one is complete. In between, many encoded bytes
wait in a temporary file, so that the process needs memory for the state only once.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar, cast

import cbor2

from . import _native as native
from .errors import BadMagic, BoundExceeded, CorruptMemory, IncompatibleType, OutOfMemory, StableError
from .memory.memory import PAGE_SIZE, Memory, NativeMemory, native_memory
from .memory.stream import Reader, Writer
from .storable.blame import raise_of_cause, raise_of_moment

if TYPE_CHECKING:
    import _typeshed

Save = TypeVar("Save", bound=Callable[[], Any])
Load = TypeVar("Load", bound=Callable[[Any], Any])

MAX_LENGTH: Final = 2**32 - 1
"""The maximum length of the CBOR, which the length field can express."""
MAX_NESTING: Final = 100
"""How deep lists, maps and so on may nest; all readers of CBOR, the crate's too, have a limit."""

_PREFIX: Final = 4
_PIECE: Final = 2**16
_IN_MEMORY: Final = 2**23
"""An encoded state of more bytes than this waits in a file."""


def backup(memory: Memory, state: Any) -> None:
    """Write a state at the start of a separate memory, replacing an older backup. O(bytes).

    `state` is anything that the cbor2 package encodes: None, numbers, text, bytes, lists, maps, sets, datetimes and so on, at most
    100 deep. Tuples come back as lists. The process needs no room for the encoded bytes: more than 8 MiB wait in a
    temporary file without a name, in TMPDIR or /var/tmp. If an older backup is overwritten within a transaction, or in
    a file with a log, the old bytes are kept until the end.

    Raises `IncompatibleType` for a state that cannot be encoded, `BoundExceeded` for more than 2**32 - 1 bytes, `OutOfMemory`
    if the memory cannot grow, `BadMagic` if it holds something else, `MemoryInUse` if that is live, `ReadOnly`,
    `Closed`, `OSError` if there is no space for the temporary file; the older backup is intact then. Only a memory written
    in Python is written piece by piece, so that an exception of that memory can damage the backup.

    >>> from stable_structures import StableMemory
    >>> from stable_structures.upgrade import backup, restore
    >>> memory = StableMemory()
    >>> backup(memory, {"data_on_the_heap": [1, 2, 3]})
    >>> memory.read(0, 8).hex(), restore(memory)
    ('16000000a1706461', {'data_on_the_heap': [1, 2, 3]})
    """
    under = native_memory(memory)
    reservation = native.reserve(under._handle, "backup")
    try:
        with _encoded(state) as spool:
            _refuse_others(memory)
            _write(memory, spool)
    finally:
        native.release(reservation)


def restore(memory: Memory) -> Any:
    """Return the state that `backup`, or the crate's pattern with ciborium, wrote. O(bytes).

    Raises `BadMagic` if there is no backup (a memory never written, or one that holds something else), `CorruptMemory` with
    the address of the damage, also if shared references (tags 28 and 29, which `backup` never writes) expand to more than
    1,048,576 items, `Closed`. An error that does not come from the bytes, such as a time-out, is raised unchanged.

    >>> from stable_structures import StableMemory
    >>> from stable_structures.upgrade import backup, restore
    >>> memory = StableMemory()
    >>> restore(memory)
    Traceback (most recent call last):
    stable_structures.errors.BadMagic: restore: no backup found in this memory; ...
    >>> backup(memory, [1, {"a": None}])
    >>> restore(memory)
    [1, {'a': None}]
    """
    try:
        return _decoded(memory)
    except CorruptMemory as error:
        found = _structure(memory)
        if found is None:
            raise
        raise BadMagic(f"restore: the memory holds {found}, not a backup; pass the hooks a separate memory") from error


class UpgradeHooks:
    """Saves the heap before an upgrade and loads it after, in a separate memory.

    Register one function with each decorator. The result of the first is backed up; the second receives it. Your own upgrade
    runs them with `run_pre_upgrade()` and `run_post_upgrade()`. A `Canister` runs them automatically if they are globals of a
    canister in this library's own form that has no `@pre_upgrade` (or `@post_upgrade`).

    >>> from stable_structures import MemoryManager, StableMemory, UpgradeHooks
    >>> memory, state = StableMemory(), {"fee": 10}
    >>> hooks = UpgradeHooks(MemoryManager(memory).get(0))
    >>> @hooks.pre_upgrade
    ... def save():
    ...     return state
    >>> @hooks.post_upgrade
    ... def load(saved):
    ...     state.update(saved)
    >>> hooks.run_pre_upgrade()
    >>> state.clear()
    >>> hooks.run_post_upgrade()
    >>> state
    {'fee': 10}
    """

    def __init__(self, memory: Memory) -> None:
        native_memory(memory)
        self.memory = memory
        self._save: Callable[[], Any] | None = None
        self._load: Callable[[Any], Any] | None = None

    def pre_upgrade(self, function: Save) -> Save:
        """Register the function whose result is backed up; return it. O(1). Raises `ValueError` for a second one.

        >>> from stable_structures import StableMemory, UpgradeHooks
        >>> hooks = UpgradeHooks(StableMemory())
        >>> @hooks.pre_upgrade
        ... def save():
        ...     return {"fee": 10}
        """
        self._save = _only("pre_upgrade", self._save, function)
        return function

    def post_upgrade(self, function: Load) -> Load:
        """Register the function that gets what was backed up; return it. O(1). Raises `ValueError` for a second one.

        >>> from stable_structures import StableMemory, UpgradeHooks
        >>> hooks = UpgradeHooks(StableMemory())
        >>> @hooks.post_upgrade
        ... def load(saved):
        ...     print(saved)
        """
        self._load = _only("post_upgrade", self._load, function)
        return function

    def run_pre_upgrade(self) -> None:
        """Back up what the pre_upgrade function returns; do nothing without one. O(bytes).

        Raises what `backup` and the function raise, and `IncompatibleType` if it returned None, which a forgotten
        `return` does. The older backup is intact then.

        >>> from stable_structures import StableMemory, UpgradeHooks
        >>> from stable_structures.upgrade import restore
        >>> hooks = UpgradeHooks(StableMemory())
        >>> save = hooks.pre_upgrade(lambda: [1, 2])
        >>> hooks.run_pre_upgrade()
        >>> restore(hooks.memory)
        [1, 2]
        """
        if self._save is None:
            return
        state = self._save()
        if state is None:
            raise IncompatibleType(f"pre_upgrade: {_name(self._save)} returned None, so nothing would be saved; return the state")
        backup(self.memory, state)

    def run_post_upgrade(self) -> None:
        """Restore the backup and pass it to the post_upgrade function; do nothing without one. O(bytes).

        Raises what `restore` and the function raise.

        >>> from stable_structures import StableMemory, UpgradeHooks
        >>> from stable_structures.upgrade import backup
        >>> hooks = UpgradeHooks(StableMemory())
        >>> load = hooks.post_upgrade(print)
        >>> backup(hooks.memory, [1, 2])
        >>> hooks.run_post_upgrade()
        [1, 2]
        """
        if self._load is not None:
            self._load(restore(self.memory))

    def __repr__(self) -> str:
        return f"<UpgradeHooks in {self.memory!r}: pre_upgrade {_name(self._save)}, post_upgrade {_name(self._load)}>"


def _name(function: Any) -> str:
    return "none" if function is None else getattr(function, "__qualname__", repr(function))


def _only(hook: str, registered: Any, function: Any) -> Any:
    if not callable(function):
        raise TypeError(f"@hooks.{hook} must be written above a function, without brackets; got {function!r}")
    if registered is not None:
        raise ValueError(
            f"{hook}: {_name(registered)} is registered already, and {_name(function)} would overwrite its backup; "
            f"save everything in one function, or use a second UpgradeHooks on another memory"
        )
    return function


# ---- encoding ----


class _Limited(io.RawIOBase):
    """Passes bytes on in pieces, up to the maximum length of a backup."""

    def __init__(self, to: IO[bytes]) -> None:
        self.length = 0
        self._to = to

    def writable(self) -> bool:
        return True

    def write(self, data: _typeshed.ReadableBuffer, /) -> int:
        with memoryview(data) as view:
            self.length += len(view)
            if self.length > MAX_LENGTH:
                raise BoundExceeded(
                    f"backup: the state is longer than {MAX_LENGTH} bytes of CBOR, the longest backup; nothing was written. "
                    f"Keep large data in a stable structure"
                )
            for start in range(0, len(view), _PIECE):
                self._to.write(view[start : start + _PIECE])
            return len(view)


@contextlib.contextmanager
def _encoded(state: Any) -> Iterator[tempfile.SpooledTemporaryFile[bytes]]:
    """Provide the backup of a state as a file, positioned at its start."""
    long = _survey(state)
    directory = None if "TMPDIR" in os.environ or not os.access("/var/tmp", os.W_OK) else "/var/tmp"  # noqa: S108 - /tmp may be memory
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=directory) as spool:
        spool.write(bytes(_PREFIX))
        limited = _Limited(spool)
        try:
            cbor2.dump(state, cast("IO[bytes]", limited), **(_LONG if long else {}))
        except StableError:
            raise
        except (cbor2.CBORError, TypeError, ValueError, OverflowError) as error:
            raise_of_cause(error)
            raise IncompatibleType(
                f"backup: the state cannot be encoded as CBOR: {error}; nothing was written. "
                f"Turn it into lists, maps, numbers, text and bytes first, for example with dataclasses.asdict"
            ) from error
        spool.seek(0)
        spool.write(limited.length.to_bytes(_PREFIX, "little"))
        spool.seek(0)
        yield spool


def _children(value: Any) -> Iterable[Any] | None:
    """Return the content of a container that cbor2 may know; None for anything else."""
    if isinstance(value, Mapping):
        return chain(value.keys(), value.values())
    if isinstance(value, Sequence | AbstractSet) and not isinstance(value, memoryview | range):
        return value
    return (value.value,) if isinstance(value, cbor2.CBORTag) else None


_FLAT: Final = frozenset({int, float, bool, type(None)})
_BYTES: Final = frozenset({str, bytes, bytearray})


def _survey(state: Any) -> bool:
    """Return whether a state holds any long text or bytes. Raises if it nests too deep, which would crash cbor2."""
    long = False
    path = [iter((state,))]
    while path:
        for value in path[-1]:
            kind = type(value)
            if kind in _FLAT:
                continue
            if kind in _BYTES:
                long = long or len(value) > _PIECE
            elif (children := _children(value)) is not None:
                path.append(iter(children))
                break
        else:
            path.pop()
        if len(path) > MAX_NESTING + 1:
            raise IncompatibleType(
                f"backup: the state nests more than {MAX_NESTING} deep, or contains itself; nothing was written. "
                f"Make it flat, for example as a map from names to items"
            )
    return long


def _encode_bytes(encoder: cbor2.CBOREncoder, value: bytes) -> None:
    encoder.encode_length(2, len(value))
    for start in range(0, len(value), _PIECE):
        encoder.write(bytes(value[start : start + _PIECE]))


def _encode_text(encoder: cbor2.CBOREncoder, value: str) -> None:
    encoder.encode_length(3, sum(len(value[start : start + _PIECE].encode()) for start in range(0, len(value), _PIECE)))
    for start in range(0, len(value), _PIECE):
        encoder.write(value[start : start + _PIECE].encode())


_LONG: Final[dict[str, Any]] = {"encoders": {bytes: _encode_bytes, bytearray: _encode_bytes, str: _encode_text}}
"""For cbor2, which otherwise copies each text and bytes object twice."""


# ---- writing ----


_HEAD: Final = 64


def _structure(memory: Memory) -> str | None:
    """Return the kind of structure or file that a memory begins with; None if unknown."""
    under = native_memory(memory)
    return native.contents_name(under.read(0, _HEAD)) if under.size() else None


def _refuse_others(memory: Memory) -> None:
    found = _structure(memory)
    try:
        if found is not None:
            _decoded(memory)  # the length of a backup may read as a magic
        elif not _is_begun(memory):
            _length(native_memory(memory))
    except CorruptMemory as error:
        found = found or "bytes that are not a backup"
        raise BadMagic(
            f"backup: the memory holds {found}; nothing was written. Use a separate memory for backups, "
            f"or write(0, bytes(4)) to it first if what it holds is no longer needed"
        ) from error


def _is_begun(memory: Memory) -> bool:
    """Return whether no backup exists yet: there are no pages, or the length is 0."""
    under = native_memory(memory)
    return not under.size() or not any(under.read(0, _PREFIX))


def _lies_in_python(memory: Any) -> bool:
    """Return whether the memory is an object that was written in Python."""
    while isinstance(memory, NativeMemory):
        memory = getattr(getattr(memory, "manager", memory), "memory", None)
    return memory is not None


def _write(memory: Memory, spool: IO[bytes]) -> None:
    """Write all or nothing: in one operation, unless it is too long for one on a memory written in Python."""
    handle = native_memory(memory)._handle
    size = spool.seek(0, io.SEEK_END)
    spool.seek(0)
    if size <= _IN_MEMORY:
        native.write(handle, 0, spool.read(), growing=True)
    elif _lies_in_python(memory):
        _make_room(native_memory(memory), size)
        shutil.copyfileobj(spool, Writer(memory), _IN_MEMORY)
    else:
        spool.flush()
        with mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ) as data:
            native.write(handle, 0, data, growing=True)


def _make_room(memory: NativeMemory, size: int) -> None:
    missing = -(-size // PAGE_SIZE) - memory.size()
    if missing > 0 and memory.grow(missing) < 0:
        raise OutOfMemory(f"backup: {size} bytes need {missing} more pages, and the memory cannot grow; nothing was written")


# ---- reading ----


class _Backup(Reader):
    """The CBOR of a backup, checked before the decoder reads it.

    Not seekable, so that no decoder reads ahead, and `tell` returns where it stopped.
    """

    def __init__(self, memory: Memory, length: int) -> None:
        super().__init__(memory, _PREFIX)
        self.error: BaseException | None = None
        self._end = _PREFIX + length
        self._walk = native.CborWalk(length)

    def _bytes(self) -> int:
        return self._end

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: Any, /) -> int:
        try:
            count = super().readinto(buffer)
            self._look_at(memoryview(buffer)[:count])
        except BaseException as error:
            self.error = error
            raise
        return count

    def _look_at(self, piece: memoryview) -> None:
        problem = self._walk.feed(piece)
        if problem is not None:
            rule, offset = problem
            raise _damage(_PREFIX + offset, f"encoded as CBOR; {rule}")


def _damage(address: int, rule: str) -> CorruptMemory:
    error = CorruptMemory(f"restore: the backup is damaged at byte {address:#x}: {rule}; restore an older copy of the memory")
    error.address, error.rule = address, rule
    return error


def _length(memory: NativeMemory) -> int:
    """Return the length of the CBOR."""
    pages = memory.size()
    length = int.from_bytes(memory.read(0, _PREFIX), "little") if pages else 0
    if length == 0:
        raise BadMagic("restore: no backup found in this memory; run backup(memory, state), or the pre_upgrade hook, first")
    if _PREFIX + length > pages * PAGE_SIZE:
        raise _damage(0, f"its length field is {length} bytes, but the memory has {pages * PAGE_SIZE - _PREFIX} after it")
    return length


def _decoded(memory: Memory) -> Any:
    length = _length(native_memory(memory))
    raw = _Backup(memory, length)
    with io.BufferedReader(raw, _PIECE) as file:
        try:
            state = cbor2.CBORDecoder(file).decode()
        except Exception as error:  # tags call constructors of many types
            if raw.error is not None:
                raise raw.error from None
            raise_of_moment(error)
            raise _damage(file.tell(), f"encoded as CBOR; {type(error).__name__}: {error}") from error
        if file.tell() != _PREFIX + length:
            raise _damage(file.tell(), f"one CBOR item of {length} bytes; found {_PREFIX + length - file.tell()} more after it")
    return state
