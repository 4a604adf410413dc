# SPDX-License-Identifier: Apache-2.0
"""The border to the C core: the only module that imports `ffi` and `lib`.

Other modules call functions of the core by their C names, as in `native.call.ss_vec_push(...)`; hot paths bind them once. Every
status passes through `check` or `fail`, the one place that turns it into an exception.
When the last reference to a handle goes, cffi releases it. The core counts references between handles, so the order of
release does not matter.

The file is long because it is the border: every function is a thin wrapper, and a second module with `ffi` and `lib` would
be a second place to look for a pointer that outlives its owner.
"""

from __future__ import annotations

import collections
import errno
import functools
import gc
import itertools
import operator
import os
import struct
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn, SupportsIndex

import numpy as np

from . import errors, tasks
from ._core import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from .storable import Codec

call: Final[Any] = lib
"""The functions of the core, by their C names."""

NULL: Final[Any] = ffi.NULL
PAGE_SIZE: Final[int] = lib.SS_PAGE_SIZE
MAX_PAGES: Final[int] = lib.SS_MAX_PAGES
NO_VALUE: Final[int] = lib.SS_NO_VALUE
NO_NUMBER: Final[int] = lib.SS_NO_NUMBER
ASK: Final[int] = lib.SS_ASK
ANY_LENGTH: Final[int] = lib.SS_ANY_LENGTH

_LARGE: Final = 1 << 20
_MOST_PAGES: Final = (1 << 64) // PAGE_SIZE - 1
"""More have bytes that no 64-bit address reaches."""
_CURSOR, _POSITION = ffi.typeof("ss_cursor **"), ffi.typeof("ss_position *")
# Looked up once, for the hot paths.
_unpack, _latest, _drop = ffi.unpack, lib.ss_result_chars, lib.ss_result_drop
_IN_THE_WAY: Final = (lib.SS_ABSENT, lib.SS_OTHER_TASK, lib.SS_LOCKED)
_open_cursor, _free_cursor = lib.ss_cursor_open, lib.ss_cursor_free_at
_gc, _release, _partial = ffi.gc, ffi.release, functools.partial
_object_of, _bytes_at, _move = ffi.from_handle, ffi.buffer, ffi.memmove
# As the destructor of a handle, partial(_keeps, owner) only keeps its owner alive; it runs no step of Python.
_keeps = operator.is_

_EXCEPTIONS: Final[dict[int, type[Exception]]] = {
    lib.SS_OUT_OF_BOUNDS: errors.OutOfBounds,
    lib.SS_OUT_OF_MEMORY: errors.OutOfMemory,
    lib.SS_NO_HEAP: errors.OutOfMemory,
    lib.SS_BOUND_EXCEEDED: errors.BoundExceeded,
    lib.SS_INCOMPATIBLE: errors.IncompatibleType,
    lib.SS_CORRUPT: errors.CorruptMemory,
    lib.SS_BAD_MAGIC: errors.BadMagic,
    lib.SS_BAD_VERSION: errors.UnsupportedVersion,
    lib.SS_IN_USE: errors.MemoryInUse,
    lib.SS_CLOSED: errors.Closed,
    lib.SS_READ_ONLY: errors.ReadOnly,
    lib.SS_LOCKED: errors.Locked,
    lib.SS_COMMIT_UNKNOWN: errors.CommitUnknown,
    lib.SS_WAL_CORRUPT: errors.WalCorrupt,
    lib.SS_REENTRANT: errors.MemoryInUse,
    lib.SS_CHANGED: RuntimeError,
    lib.SS_SYSTEM: OSError,
    lib.SS_ARGUMENT: ValueError,
    lib.SS_TRANSACTION: errors.MemoryInUse,
    lib.SS_UNORDERED: errors.IncompatibleType,
    lib.SS_OTHER_TASK: errors.MemoryInUse,
}

CHANGED_HINT: Final = (
    "create a new iterator; to add or remove while you iterate, collect the keys first, for example with list(m.keys()); "
    "if others write meanwhile, iterate inside `with memory.transaction():`"
)

_HINTS: Final[dict[int, str]] = {
    lib.SS_OUT_OF_BOUNDS: "check the offset against the size, or grow the memory first",
    lib.SS_OUT_OF_MEMORY: "nothing was changed; open the memory with a larger max_pages, free disk space, or remove entries",
    lib.SS_BOUND_EXCEEDED: "nothing was written; use a type with a larger bound, or an unbounded one",
    lib.SS_INCOMPATIBLE: "open it with the types that it was written with; copy_into() copies it into a structure with other types",
    lib.SS_CORRUPT: "nothing was changed; run check(), and restore a backup or salvage what is readable",
    lib.SS_BAD_MAGIC: "nothing was changed; open what is there, or use another memory: .new(memory) overwrites it",
    lib.SS_BAD_VERSION: "it was written by a newer library or is damaged; use a newer stable_structures",
    lib.SS_IN_USE: "use the live structure, or release it with into_memory() first",
    lib.SS_CLOSED: "open the memory again and open the structure again",
    lib.SS_READ_ONLY: 'open the memory with mode="r+"',
    lib.SS_LOCKED: "close the other handle first, or open with mode='r'",
    lib.SS_REENTRANT: "a key comparison or a memory callback must not use the memory that it serves",
    lib.SS_CHANGED: CHANGED_HINT,
    lib.SS_UNORDERED: "use keys with a total order: of two that are not equal (==), exactly one is less (<), and a < b < c means a < c",
    lib.SS_OTHER_TASK: "nothing was done; use `async with memory.transaction():`, which waits for this task's turn, and do the work inside",
}

_FILE_HINTS: Final[dict[int, str]] = {
    **_HINTS,
    lib.SS_CORRUPT: "nothing was changed; is it the image of a memory? If only zeros at its end are missing: truncate -s %65536 FILE",
    lib.SS_OUT_OF_MEMORY: "nothing was changed; open it with a larger max_pages, or free disk space",
    lib.SS_WAL_CORRUPT: "nothing was changed; keep the file and the log beside it (-wal), and restore a backup of both",
    lib.SS_READ_ONLY: 'open it once with mode="r+", which copies the log into the file',
}

_SETTLE_HINTS: Final[dict[int, str]] = {
    **_HINTS,
    lib.SS_LOCKED: "nothing is lost: the log beside the file keeps it for the next opening, or for a checkpoint once readers have closed",
}


def note_exit() -> None:
    """Make `Closed` say, from now on, that the end of the program closed the files."""
    _HINTS[lib.SS_CLOSED] = (
        "nothing was written: files are closed when a program ends, before functions that were registered with atexit "
        "ahead of `import stable_structures`; register them after it, or open the file again in them"
    )


_pending = threading.local()


def _keep(_kind: object, error: BaseException, _traceback: object) -> int:
    """Keep what a callback raised, so that the operation that failed can raise it."""
    _pending.error = error
    return int(lib.SS_CALLBACK)


# ---- while the core waits ----


@ffi.def_extern(onerror=_keep, error=lib.SS_CALLBACK)  # type: ignore[untyped-decorator]
def ss_python_poll() -> int:
    """Run one step of Python, before which the interpreter runs pending signal handlers; if one raises, the wait ends."""
    return 0


@ffi.def_extern(onerror=_keep, error=lib.SS_CALLBACK)  # type: ignore[untyped-decorator]
def ss_python_compare_task(number: int) -> int:
    """Return whether this transaction belongs to the task that runs."""
    if tasks.running() == number:
        return int(lib.SS_TASK_SAME)
    return int(lib.SS_TASK_GONE if tasks.has_ended(number) else lib.SS_TASK_OTHER)


def _set_hooks() -> None:
    lib.ss_set_hooks(lib.ss_python_poll, lib.ss_python_compare_task, threading.main_thread().ident)


# ---- what loops have read ahead ----


loops: Final[dict[weakref.ref[Any], Callable[[], object]]] = {}
"""For each loop that goes through what it has read ahead: puts the rest of it back, and runs no step of Python.

The weak reference to the loop calls `loops.pop` when the loop is gone. A finalizer in Python could be interrupted by a signal handler,
whose exception the interpreter would only print: Ctrl-C without effect.
"""


class _Loops:
    """Iterated over, it yields one list of all of them: a collection of garbage meanwhile may end some."""

    __iter__ = staticmethod(functools.partial(map, list, (loops.values(),)))


class _EachLoop:
    """Iterated over, it yields each of that list."""

    __iter__ = staticmethod(functools.partial(itertools.chain.from_iterable, _Loops()))


class _Calls:
    """Each time it is iterated over, it calls all of them."""

    __iter__ = staticmethod(functools.partial(map, operator.call, _EachLoop()))


# The operation that made the change has its result still to hand over: a step of Python could run a signal handler here, which may use
# the core and raise. So all of this is done by functions of the interpreter.
ffi.def_extern(name="ss_python_alarm")(functools.partial(collections.deque(maxlen=0).extend, _Calls()))
lib.ss_set_alarm(lib.ss_python_alarm)

_set_hooks()
os.register_at_fork(after_in_child=_set_hooks)


def _thread_name(ident: int) -> str:
    names = [thread.name for thread in threading.enumerate() if thread.ident == ident]
    return f"thread {names[0]!r}" if names else f"thread {ident}"


_ERRNOS: Final = 256
"""Above every errno: a larger number beside OUT_OF_MEMORY is one of pages or bytes."""


def _message(status: int, operation: str, hints: Mapping[int, str] = _HINTS) -> str:
    failure = lib.ss_last_failure()
    text = ffi.string(lib.ss_status_text(status)).decode()
    hint = hints.get(status)
    rule, _, advice = ffi.string(failure.rule).decode().partition("; ") if failure.status == status and failure.rule else ("", "", "")
    hint = advice or hint  # a rule with better advice appends it after a semicolon
    if status == lib.SS_IN_USE:  # its numbers are pages that another structure holds
        text = rule or text
    elif failure.status == status:
        text += f" ({rule})" if rule else ""
        held_by = failure.address if status == lib.SS_TRANSACTION else 0
        facts = [f"held by {_thread_name(held_by)}"] if held_by else []
        facts += [f"at byte {failure.address:#x}"] if not held_by and (failure.address or status == lib.SS_CORRUPT) else []
        if status == lib.SS_OUT_OF_MEMORY and 0 < failure.number < _ERRNOS and not failure.limit:
            facts.append(os.strerror(failure.number))  # a full disk (ss_fail_errno)
        elif failure.number or failure.limit:
            facts.append(f"{failure.number} against {failure.limit}")
        text += ": " + ", ".join(facts) if facts else ""
    return f"{operation}: {text}; {hint}" if hint else f"{operation}: {text}"


def _system_error(operation: str) -> OSError:
    """Return the operating system's error, as the subclass for its errno.

    A signal handler that has used a structure in the meantime may have left another failure.
    """
    failure = lib.ss_last_failure()
    if failure.status != lib.SS_SYSTEM:
        return OSError(errno.EIO, f"{operation}: {ffi.string(lib.ss_status_text(lib.SS_SYSTEM)).decode()}")
    rule = "" if failure.rule == ffi.NULL else f" ({ffi.string(failure.rule).decode()})"
    return OSError(int(failure.number), f"{operation}: {os.strerror(failure.number)}{rule}")


def _exception(status: int, operation: str, hints: Mapping[int, str] = _HINTS) -> BaseException:
    if status == lib.SS_CALLBACK:
        error: BaseException = _pending.__dict__.pop("error", None) or errors.StableError(_message(status, operation))
        return error
    kind = _EXCEPTIONS.get(status, errors.StableError)
    failure = lib.ss_last_failure()
    if kind is OSError:
        return _system_error(operation)
    error = kind(_message(status, operation, hints))
    if isinstance(error, errors.StableError):
        error.code = status
    if isinstance(error, errors.CorruptMemory) and failure.status == status:
        error.address = int(failure.address)
        error.rule = "" if failure.rule == ffi.NULL else ffi.string(failure.rule).decode()
    return error


def fail(status: int, operation: str, hints: Mapping[int, str] = _HINTS) -> NoReturn:
    """Raise the exception for a negative status of the core."""
    raise _exception(status, operation, hints)


def check(status: int, operation: str) -> int:
    """Return a status or count of the core, or raise if it is negative."""
    if status < 0:
        fail(status, operation)
    return status


def result_number(operation: str, failed: Callable[..., NoReturn] = fail, *given: Any) -> int:
    """Return the result of a function that returned ASK: a number that looks like a signal, or raise its error by `failed`."""
    answer = _fetched(lib.SS_ASKED_SIZE)
    status = int.from_bytes(answer[:8], "little", signed=True)
    if status < 0:
        failed(status, operation, *given)
    return int.from_bytes(answer[8:], "little")


def number(answer: int, operation: str) -> int:
    """Return the result of a function that returns a number, or ASK."""
    return int(answer) if answer < ASK else result_number(operation)


_ELSEWHERE: Final[int] = lib.SS_ELSEWHERE
_first = lib.ss_result_offer()
at_hand, waiting = ffi.buffer(_first.bytes), memoryview(ffi.buffer(ffi.addressof(_first, "next")))
"""Where the usual result lies, and whether it does: `waiting[0] = 0` drops it (see `result`)."""


def result(size: int) -> bytes:
    """Return the bytes that the last call of this thread produced; `size` is what the call returned (native/core/result.h).

    The usual result is copied from its place and dropped without a call, which would cost twice as much. If a signal handler
    raises between the call and this copy, the place stays taken: later results are right, and cost a call again.
    """
    if size < _ELSEWHERE:
        data: bytes = at_hand[:size]
        waiting[0] = 0
        return data
    return _fetched(size - _ELSEWHERE)


def _fetched(size: int) -> bytes:
    """Return and drop the latest result, wherever it is."""
    data: bytes = _unpack(_latest(), size)
    _drop()
    return data


def new_handle(kind: str, opened: Callable[[Any], int], release: Any, operation: str, hints: Mapping[int, str] = _HINTS) -> Any:
    """Call a function of the core that stores a new `kind *`; the handle is released with its last reference.

    A signal handler may raise between any two steps. So the place where the core stores the handle has an owner before the
    call: `release` takes a `kind **`, and is a function of the core, which no handler interrupts. The handle keeps that owner.
    `hints` replace the usual advice for a status.
    """
    out = _gc(ffi.new(f"{kind} **"), release)
    try:
        status = opened(out)
        if status < 0:
            fail(status, operation, hints)
        return _gc(out[0], _partial(_keeps, out))
    except BaseException:
        _release(out)
        raise


def unseen() -> Any:
    """Return room for one object that the collector of garbage does not see in there (arrays take no part in it).

    If objects that refer to one another are garbage together, the collector first runs all finalizers, and those of cffi release
    their handles, in any order. A `__del__` of the user that still uses a structure would meet freed memory. So every object that
    keeps a handle of its own keeps it here too: the handle is then no garbage before its object is gone.
    """
    return np.empty(1, object)  # empty, because a frame of this function that held the handle could outlive it in a traceback


def magic(name: str) -> bytes:
    """Return the three bytes with which a part of the format begins, by their name in magics.h."""
    found: bytes = ffi.string(getattr(lib, name))
    return found


def contents_name(head: bytes) -> str | None:
    """Return what a memory that begins with these bytes holds, as in "a StableVec"; None if unknown."""
    name = lib.ss_contents_name(head, len(head))
    return None if name == ffi.NULL else ffi.string(name).decode()


def fit(handle: Any) -> tuple[int, list[tuple[int, int]]]:
    """Return a status that says whether a map is sound and has its types, and the smallest and largest sizes of its keys and values."""
    sizes = ffi.new("struct ss_fit *")
    status = lib.ss_btree_fit(handle, sizes)
    return status, [(sizes.key_least, sizes.key_most), (sizes.value_least, sizes.value_most)] if sizes.entries else []


def cbor_problem(data: bytes) -> str | bool:
    """Return why bytes are not one CBOR item or expand to too much; otherwise whether the item contains itself."""
    status = lib.ss_cbor_check(data, len(data))
    return "{} (byte {})".format(*_broken_rule(status, "cbor")) if status < 0 else bool(status)


def _broken_rule(status: int, operation: str) -> tuple[str, int]:
    """Return the rule of the format that is broken, and its address."""
    failure = lib.ss_last_failure()
    if status != lib.SS_CORRUPT or failure.status != status:
        fail(status, operation)
    numbers = f": {failure.number} against {failure.limit}" if failure.limit else ""
    return ffi.string(failure.rule).decode() + numbers, int(failure.address)


class CborWalk:
    """Checks the bytes of one CBOR item as they arrive, before a decoder reads them."""

    def __init__(self, total: int) -> None:
        self._walk = ffi.gc(lib.ss_cbor_new(total), lib.ss_cbor_free)
        if self._walk == NULL:
            raise errors.OutOfMemory("cbor: the process has no memory left")

    def feed(self, data: Any) -> tuple[str, int] | None:
        """Return the broken rule of the bytes so far, and its offset; or None."""
        with ffi.from_buffer("uint8_t[]", data) as piece:
            status = lib.ss_cbor_feed(self._walk, piece, len(piece))
        return _broken_rule(status, "cbor") if status < 0 else None


def text(chars: Any) -> str:
    """Return a zero-terminated text of the core."""
    found: bytes = ffi.string(chars)
    return found.decode()


def address(pointer: Any) -> int:
    """Return the address of a pointer of the core, for the functions that take one as a number."""
    return int(ffi.cast("uintptr_t", pointer))


def addresses(values: Sequence[int]) -> Any:
    """Return an array of addresses."""
    return ffi.new("uintptr_t[]", list(values))


def out_numbers(count: int) -> Any:
    """Return an array of 64-bit numbers for the core to fill."""
    return ffi.new("uint64_t[]", count)


def out_addresses(count: int) -> Any:
    """Return an array of addresses for the core to fill."""
    return ffi.new("uintptr_t[]", count)


def at_address(number: int) -> Any:
    """Return a pointer to an address."""
    return ffi.cast("void *", number)


def buffer(data: Any) -> Any:
    """Return the bytes of a buffer, to be used in a `with` block."""
    return ffi.from_buffer("uint8_t[]", data)


def owned(pointer: Any, release: Any) -> Any:
    """Return a pointer of the core that is released with its last reference; raise if there was no memory for it."""
    if pointer == NULL:
        fail(lib.SS_NO_HEAP, "memory for a handle")
    return ffi.gc(pointer, release)


def copied(pointer: Any, size: int) -> bytes:
    """Return a copy of bytes of the core."""
    data: bytes = ffi.buffer(pointer, size)[:] if size else b""
    return data


def path_bytes(path: str) -> Any:
    """Return a path as C takes it."""
    return ffi.new("char[]", os.fsencode(path))


# ---- memories ----


def read(handle: Any, offset: int, length: int) -> bytes:
    """Return bytes of a memory."""
    if length > _LARGE:  # check that so many exist before allocating them
        size = check(lib.ss_access_size(handle), "read") * PAGE_SIZE
        if offset + length > size:
            raise errors.OutOfBounds(f"read: {length} bytes at {offset:#x} of a memory of {size}; {_HINTS[lib.SS_OUT_OF_BOUNDS]}")
    found = unfilled(length)
    check(lib.ss_access_read(handle, offset, ffi.from_buffer(found), length), "read")
    return bytes(found)


def unfilled(length: int) -> bytes | bytearray:
    """Return bytes for the core to fill, in place: nobody has seen them yet. A copy of what was read takes longer than the reading."""
    return bytes(length) if length > 1 else bytearray(length)  # Python shares the shortest ones


def _buffer(data: Any, operation: str, *, writable: bool) -> Any:
    """Return the bytes of a user's buffer, in place. Raises as cffi does if it is not suitable."""
    buffer = ffi.from_buffer("uint8_t[]", data, require_writable=writable)
    objects = data.dtype.hasobject if isinstance(data, np.ndarray) else isinstance(data, memoryview) and "O" in data.format
    if objects:  # addresses, which are meaningless in a memory
        raise errors.IncompatibleType(f"{operation}: a {type(data).__name__} of Python objects is not a buffer of bytes; encode them first")
    return buffer


def _source(data: Any, operation: str) -> Any:
    """Return a user's buffer to be read."""
    name = type(data).__name__
    try:
        return _buffer(data, operation, writable=False)
    except errors.IncompatibleType:
        raise
    except TypeError:
        raise errors.IncompatibleType(
            f"{operation} takes bytes or another buffer, got {name}; encode text first, for example with text.encode()"
        ) from None
    except (BufferError, ValueError):
        raise errors.UnusableBuffer(
            f"{operation}: the bytes of this {name} are not contiguous, or it was released; pass a copy, such as .tobytes() returns"
        ) from None


def target(buffer: Any, operation: str) -> Any:
    """Return a user's buffer as a target to fill."""
    try:
        return _buffer(buffer, operation, writable=True)
    except errors.IncompatibleType:
        raise
    except (BufferError, TypeError, ValueError):
        raise errors.UnusableBuffer(
            f"{operation}: expected a writable, contiguous buffer, got {type(buffer).__name__}; use a bytearray, or np.empty(n, np.uint8)"
        ) from None


def readinto(handle: Any, offset: int, buffer: Any) -> int:
    """Fill a writable buffer from a memory; return its length."""
    with target(buffer, "readinto") as room:
        fill(handle, offset, room, len(room))
        return len(room)


def fill(handle: Any, offset: int, room: Any, count: int) -> None:
    """Fill the beginning of a `target` from a memory."""
    check(lib.ss_access_read(handle, offset, room, count), "readinto")


def write(handle: Any, offset: int, data: Any, *, growing: bool = False) -> int:
    """Write a buffer to a memory; return its length."""
    function = lib.ss_access_write_growing if growing else lib.ss_access_write
    with _source(data, "write") as source:
        check(function(handle, offset, source, len(source)), "write")
        return len(source)


def open_file(path: str, options: dict[str, int]) -> Any:
    """Return a handle over a memory file; the options are those of ss_file_options."""
    name = path_bytes(path)
    given = ffi.new("ss_file_options *", {"path": name, **options})
    operation = f"StableMemory.open({path!r})"
    opened = lambda out: lib.ss_file_open_with(given, out)  # noqa: E731
    try:
        return new_handle("ss_memory", opened, lib.ss_memory_release_at, operation, _FILE_HINTS)
    except errors.OutOfMemory:
        if gc.collect() == 0:  # memories that are garbage together hold their address space until then
            raise
    return new_handle("ss_memory", opened, lib.ss_memory_release_at, operation, _FILE_HINTS)


def settle(function: Any, handle: Any, operation: str) -> None:
    """Close a memory, or copy the log of a file into it."""
    status = function(handle)
    if status < 0:
        raise _exception(status, operation, _SETTLE_HINTS)


def reserve(handle: Any, operation: str) -> Any:
    """Keep structures off a memory until `release`; raise if a live one uses it."""
    reservation = _gc(ffi.new("ss_reservation *"), lib.ss_reservation_drop)
    try:
        check(lib.ss_reservation_take(reservation, handle), operation)
    except BaseException:
        _release(reservation)
        raise
    return reservation


release: Final[Any] = _release
"""Ends a lease from `reserve` at once. It runs no step of Python, so that nothing interrupts it."""


# ---- transactions ----


def new_transaction() -> Any:
    """Return the object that holds a transaction in the core, and rolls it back when it is destroyed."""
    return _gc(ffi.new("ss_held *"), lib.ss_held_drop)


def begin_for(held: Any, handle: Any, task: int) -> int:
    """Begin a transaction of a task, waiting for those of other threads; return a status."""
    return int(lib.ss_held_begin_for(held, handle, task, True))


def try_to_begin(held: Any, handle: Any, task: int) -> bool:
    """Begin a transaction if no other one is open; return whether it began."""
    status = lib.ss_held_begin_for(held, handle, task, False)
    return status not in _IN_THE_WAY and check(status, "transaction") == 0


def is_open(held: Any) -> bool:
    """Return whether it holds a transaction."""
    return bool(lib.ss_held_is_open(held))


def patience(handle: Any) -> float:
    """Return how long operations on a memory wait, in seconds."""
    return float(lib.ss_transaction_patience(handle)) / 1000


def is_read_only(handle: Any) -> bool:
    """Return whether nobody changes a memory by this handle; others may change its file."""
    return bool(lib.ss_memory_is_read_only(handle))


def glance(handle: Any) -> str:
    """Return the state of a memory in words, without waiting for anybody."""
    pages = lib.ss_access_glance(handle) if handle is not None else lib.SS_CLOSED
    return {lib.SS_CLOSED: "closed", lib.SS_IN_USE: "in use"}.get(pages, f"{pages} page{'s' * (pages != 1)}")


def is_usable(handle: Any) -> bool:
    """Return whether a memory is open, without waiting for anybody."""
    return handle is not None and lib.ss_access_glance(handle) != lib.SS_CLOSED


def generation(handle: Any) -> memoryview:
    """Return the number that moves with every change on a memory's root, to be read as `[0]` while the memory lives."""
    return memoryview(ffi.buffer(lib.ss_access_generation(handle), 8)).cast("Q")


def root(handle: Any) -> int:
    """Return a number that is the same for all memories over one root, while it lives."""
    return int(ffi.cast("uintptr_t", lib.ss_access_generation(handle)))


class _Bytes:
    """A view of a memory for numpy, which ends with the last array that shows it."""

    def __init__(self, view: Any) -> None:
        self._view = view
        address = int(ffi.cast("uintptr_t", view.bytes))
        self.__array_interface__ = {"version": 3, "shape": (int(view.length),), "typestr": "|u1", "data": (address, True)}


def view(handle: Any, offset: int, length: int | None) -> npt.NDArray[np.uint8]:
    """Return a read-only array over the bytes of a flat memory, without a copy."""
    taken = ffi.gc(ffi.new("ss_view *"), lib.ss_view_drop)
    status = lib.ss_view_take(taken, handle, offset, 2**64 - 1 if length is None else min(length, 2**64 - 2))
    if status == lib.SS_OUT_OF_BOUNDS:
        size = check(lib.ss_access_size(handle), "view") * PAGE_SIZE
        end = size if length is None else offset + length
        raise errors.OutOfBounds(f"view: bytes {offset} to {end} of a memory of {size} bytes; check the range")
    check(status, "view")
    return np.asarray(_Bytes(taken))


@ffi.def_extern(onerror=_keep, error=lib.SS_CALLBACK)  # type: ignore[untyped-decorator]
def ss_python_size(self: Any, pages: Any) -> int:
    """Size of a foreign memory; asked once in an operation, and after each growth."""
    found = _object_of(self).size()
    if type(found) is int and 0 <= found <= _MOST_PAGES:  # nearly always: to ask a protocol takes longer than all else here
        pages[0] = found
        return 0
    problem = f"size() of a memory written in Python returned {found!r}; it must return the number of pages"
    number = _pages_of(found, problem)
    if number < 0:
        raise OverflowError(problem)
    pages[0] = number
    return 0


def _pages_of(found: Any, problem: str) -> int:
    """Return what a user's method says of pages, if it is a number for which there are addresses."""
    if type(found) is not int and not isinstance(found, SupportsIndex):
        raise TypeError(problem)
    number = operator.index(found)
    if number > _MOST_PAGES:
        raise OverflowError(f"{problem}, at most {_MOST_PAGES:,}")
    return number


@ffi.def_extern(onerror=_keep, error=lib.SS_CALLBACK)  # type: ignore[untyped-decorator]
def ss_python_grow(self: Any, pages: int, old: Any) -> int:
    """Grow a foreign memory."""
    before = _object_of(self).grow(pages)
    before = _pages_of(before, f"grow({pages}) of a memory written in Python returned {before!r}; it must return the pages before, or -1")
    if before < 0:
        return int(lib.SS_OUT_OF_MEMORY)
    old[0] = before
    return 0


@ffi.def_extern(onerror=_keep, error=lib.SS_CALLBACK)  # type: ignore[untyped-decorator]
def ss_python_read(self: Any, offset: int, to: Any, length: int) -> int:
    """Read from a foreign memory."""
    data = _object_of(self).read(offset, length)
    if type(data) is bytes and len(data) == length:  # nearly always
        _move(to, data, length)
        return 0
    _copy(data, to, length, f"read({offset}, {length}) of a memory written in Python")
    return 0


def _copy(data: Any, to: Any, length: int, what: str) -> None:
    """Copy what a user's method returned, if it is `length` bytes."""
    problem = f"{what} returned {{}}; it must return {length} bytes, or raise"
    try:
        view = memoryview(data)
    except TypeError:
        raise TypeError(problem.format(f"an object of type {type(data).__name__}")) from None
    with view:  # it knows its size, whatever len() of the object says
        if view.nbytes != length:
            raise ValueError(problem.format(f"{view.nbytes} bytes"))
        ffi.memmove(to, view if view.c_contiguous else view.tobytes(), length)


@ffi.def_extern(onerror=_keep, error=lib.SS_CALLBACK)  # type: ignore[untyped-decorator]
def ss_python_write(self: Any, offset: int, data: Any, length: int) -> int:
    """Write to a foreign memory."""
    _object_of(self).write(offset, _bytes_at(data, length)[:])
    return 0


_FOREIGN_OPS: Final[Any] = ffi.new(
    "ss_foreign_ops *",
    {"size": lib.ss_python_size, "grow": lib.ss_python_grow, "read": lib.ss_python_read, "write": lib.ss_python_write},
)


def new_foreign(memory: Any) -> tuple[Any, Any]:
    """Return a handle over a memory written in Python, and the object that must live as long."""
    anchor = ffi.new_handle(memory)
    handle = new_handle(
        "ss_memory", lambda out: lib.ss_memory_new_foreign(_FOREIGN_OPS, anchor, out), lib.ss_memory_release_at, "memory written in Python"
    )
    return handle, anchor


# ---- key orders ----


class KeyOrder:
    """The order of a codec's encodings in the core's form."""

    def __init__(self, codec: Codec[Any]) -> None:
        terms = codec.order.terms()
        self.count = len(terms)
        self.terms = ffi.new("ss_order_term[]", self.count)
        for term, out in zip(terms, self.terms, strict=True):
            out.kind = int(term.kind)
            out.fixed = term.fixed
            out.max_size = lib.SS_UNBOUNDED if term.max_size is None else term.max_size
            out.part = list(term.parts) + [-1] * (3 - len(term.parts))
        self._codec = codec
        self.anchor = ffi.new_handle(self)
        self.callback = lib.ss_python_compare

    def compare(self, a: bytes, b: bytes) -> int | None:
        """Compare encodings as `Codec.compare` does values; equal ones are the same key."""
        return 0 if a == b else self._codec.compare(self._codec.decode(a), self._codec.decode(b))


@ffi.def_extern(onerror=_keep, error=lib.SS_CALLBACK)  # type: ignore[untyped-decorator]
def ss_python_compare(self: Any, a: Any, a_size: int, b: Any, b_size: int, answer: Any) -> int:  # noqa: PLR0913, PLR0917 - the C type
    """Return a comparison of keys that only Python can do."""
    compared = _object_of(self).compare(_bytes_at(a, a_size)[:], _bytes_at(b, b_size)[:])
    answer[0] = lib.SS_NO_ORDER if compared is None else compared
    return 0


def bound(codec: Codec[Any]) -> Any:
    """Return the bound of a codec as an `ss_bound`."""
    size = codec.bound.max_size
    return ffi.new("ss_bound *", {"max_size": lib.SS_UNBOUNDED if size is None else size, "fixed": codec.bound.is_fixed_size})[0]


# ---- checks and sizes ----


@ffi.def_extern()  # type: ignore[untyped-decorator]
def ss_python_report(self: Any, violation: Any) -> None:
    """Record one broken rule of a check that continues."""
    rule = "" if violation.rule == ffi.NULL else ffi.string(violation.rule).decode()
    ffi.from_handle(self).append((int(violation.status), rule, int(violation.address), int(violation.number), int(violation.limit)))


def violations(checker: Any, *handles: Any) -> list[tuple[int, str, int, int, int]]:
    """Return every rule that a structure breaks: status, rule, address, number, limit."""
    found: list[tuple[int, str, int, int, int]] = []
    anchor = ffi.new_handle(found)
    status = checker(*handles, lib.ss_python_report, anchor)
    if status < 0 and not found:
        fail(status, "check")
    return found


def usage(function: Any, handle: Any) -> tuple[int, int, int]:
    """Return live, allocated and reserved bytes of a structure."""
    out = ffi.new("struct ss_usage *")
    check(function(handle, out), "bytes_used")
    return int(out.live), int(out.allocated), int(out.reserved)


def manager_info(handle: Any) -> tuple[int, int]:
    """Return the pages per bucket, and the number of allocated buckets."""
    out = ffi.new("struct ss_manager_info *")
    check(lib.ss_manager_info(handle, out), "MemoryManager")
    return int(out.bucket_pages), int(out.allocated_buckets)


def manager_sizes(handle: Any) -> Sequence[int]:
    """Return the pages of each memory of a manager."""
    sizes = ffi.new("uint64_t[]", lib.SS_MANAGER_MEMORIES)
    check(lib.ss_manager_tables(handle, sizes, ffi.new("uint8_t[]", lib.SS_MANAGER_BUCKETS)), "MemoryManager")
    return ffi.unpack(sizes, lib.SS_MANAGER_MEMORIES)


# ---- entries of maps, elements of sequences ----


def new_cursor(tree: Any, from_: int, low: bytes, to: int, high: bytes) -> tuple[Any, Any]:
    """Return a cursor over the range of a map: the location where the core stores it, once as its owner (see `new_handle`).

    An iterator keeps the location itself too. If it is garbage, that holds NULL once the owner has released the cursor (see `unseen`).
    """
    place = ffi.new(_CURSOR)
    cursor = _gc(place, _free_cursor)
    check(_open_cursor(tree, from_, low, len(low), to, high, len(high), cursor), "iteration")
    return cursor, place


Form = int | Callable[[bytes], list[Any]]
"""How keys or values come: 0 not wanted, 1 bytes, 2 numbers, or a function that takes rows of one size apart."""


def all_entries(tree: Any, want: int, *, keys: Form, values: Form) -> tuple[list[Any], list[Any]]:
    """Return all entries of a map, read at one moment, in the form of `entries`."""
    return entries(check(lib.ss_btree_entries(tree, want), "iteration"), keys=keys, values=values)


def entries(size: int, *, keys: Form, values: Form) -> tuple[list[Any], list[Any]]:
    """Split a result of entries into keys and values."""
    data = result(size)
    count, key_bytes = _unpack_head(data)
    middle = 24 + 8 * count if keys == 1 or keys == 2 else 24  # noqa: PLR1714, PLR2004 - a call of `in` takes longer; the forms
    end = middle + 8 * count if values == 1 or values == 2 else middle  # noqa: PLR1714, PLR2004
    row = memoryview(data)
    first: list[Any] = row[24:middle].cast("Q").tolist() if middle > 24 else []  # noqa: PLR2004 - the size of the head
    last: list[Any] = row[middle:end].cast("Q").tolist() if end > middle else []
    if keys == 1:
        first = _cut(data, end, first)
    elif callable(keys):
        first = keys(data[end : end + key_bytes])
    if values == 1:
        last = _cut(data, end + key_bytes, last)
    elif callable(values):
        last = values(data[end + key_bytes :])
    return first, last


_unpack_head: Final = struct.Struct("<QQ8x").unpack_from


def entry_columns(size: int) -> tuple[Any, Any, Any, Any]:
    """Split a result of entries into the bytes of keys, their ends, the bytes of values, their ends, as arrays. O(size)."""
    whole = np.frombuffer(result(size), np.uint8)
    numbers = whole[: len(whole) & -8].view(np.uint64)
    count, key_bytes = int(numbers[0]), int(numbers[1])
    data = whole[8 * (3 + 2 * count) :]
    return data[:key_bytes], numbers[3 : 3 + count], data[key_bytes:], numbers[3 + count : 3 + 2 * count]


def exported_column(function: Any, handle: Any, start: int, stop: int, length: int) -> tuple[bytes, npt.NDArray[np.uint64]] | None:
    """Return as `exported`, but the bytes together, with the end of each."""
    ends = np.empty(stop - start, np.uint64)
    size = function(handle, start, stop, length, ffi.from_buffer(_U64S, ends) if stop > start else ffi.new("uint64_t[]", 1))
    if size == lib.SS_OUT_OF_BOUNDS:
        return None
    return result(check(size, "get")), ends


def _cut(data: bytes, start: int, ends: Sequence[int]) -> list[bytes]:
    """Return the pieces of data[start:] that end where `ends` says."""
    if len(ends) >= _TOGETHER and ends[0] * len(ends) == ends[-1] > 0 and ends == [*range(ends[0], ends[-1] + 1, ends[0])]:
        return _cut_evenly(data, start, ends[0], len(ends))
    pieces, begin = [], start
    for end in ends:
        pieces.append(data[begin : start + end])
        begin = start + end
    return pieces


_TOGETHER: Final = 64
"""So many pieces of one size one call of `struct` takes apart, in half of the time that slices take."""


def _cut_evenly(data: bytes, start: int, size: int, count: int) -> list[bytes]:
    """Return `count` pieces of data[start:], each of `size` bytes."""
    pieces: list[bytes] = []
    rest = start + (count - count % _TOGETHER) * size
    form = f"{size}s" * _TOGETHER
    for at in range(start, rest, _TOGETHER * size):
        pieces += struct.unpack_from(form, data, at)
    pieces += [data[at : at + size] for at in range(rest, start + count * size, size)]
    return pieces


def exported(function: Any, handle: Any, start: int, stop: int, length: int) -> list[bytes] | None:
    """Return elements [start, stop) of a vec or log as bytes; None if there are fewer, or if its length is not `length`."""
    ends = ffi.new("uint64_t[]", stop - start)
    size = function(handle, start, stop, length, ends)
    if size == lib.SS_OUT_OF_BOUNDS:
        return None
    data = result(check(size, "get"))
    return _cut(data, 0, _unpack(ends, stop - start))


# ---- entry positions of a map ----


_locate, _set_at = lib.ss_btree_locate, lib.ss_btree_set_at
_ANYTHING, _NOTHING, _VALUE = lib.SS_EXPECT_ANYTHING, lib.SS_EXPECT_NOTHING, lib.SS_EXPECT_VALUE


def new_position() -> Any:
    """Return an entry position for `locate` to fill."""
    return ffi.new(_POSITION)


def locate(handle: Any, key: bytes, position: Any) -> bytes | None:
    """Return the value of a key, and store its entry position."""
    size = _locate(handle, key, len(key), position)
    return None if size == NO_VALUE else result(check(size, "entry"))


def position_changes(position: Any) -> int:
    """Return the changes of the map when the entry position was set or last used."""
    return int(position.changes)


def set_at(handle: Any, position: Any, key: bytes, value: bytes) -> int:
    """Set the value of the key at an entry position; return the map's change count after that."""
    return number(_set_at(handle, position, key, len(key), value, len(value), _ANYTHING, NULL, 0), "entry")


def replace_at(handle: Any, position: Any, key: bytes, old: bytes | None, value: bytes) -> int | None:
    """Do as `set_at` if the value of the key is `old` (None: if it is absent); otherwise change nothing and return None."""
    expect = _NOTHING if old is None else _VALUE
    data = old or b""
    changes = _set_at(handle, position, key, len(key), value, len(value), expect, data, len(data))
    return None if changes == NO_NUMBER else number(changes, "entry")


# ---- columns ----

_alive: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""For each column the buffers that it points into, which live as long."""


def column(data: Any, ends: npt.NDArray[np.uint64] | None, size: int, *, native: bool, bias: int = 0, of: Any = None) -> Any:  # noqa: PLR0913
    """Return items for the core: `data` is a contiguous array or bytes, `ends` where each item ends, or None for items of `size`.

    `of` is the user's array that the data was made from. If the data is still in it, another thread may change it
    while the core reads it, so the core first copies what it reads twice.
    """
    buffer = ffi.from_buffer("uint8_t[]", data)
    end_buffer = ffi.NULL if ends is None else ffi.from_buffer("uint64_t[]", ends)
    stable = of is None or not np.may_share_memory(data, of)
    made = ffi.new("ss_column *", {"data": buffer, "ends": end_buffer, "size": size, "native": native, "bias": bias, "stable": stable})
    _alive[made] = (buffer, end_buffer)
    return made


def room(array: npt.NDArray[Any], *, native: bool, bias: int = 0) -> Any:
    """Return an output column over a contiguous array, which must live as long as it is used."""
    buffer = ffi.from_buffer("uint8_t[]", array.view(np.uint8), require_writable=True)
    made = ffi.new("ss_output_column *", {"data": buffer, "size": array.itemsize, "native": native, "bias": bias})
    _alive[made] = (buffer,)
    return made


def flags(array: npt.NDArray[Any]) -> Any:
    """Return an array for one byte per item."""
    return ffi.from_buffer("uint8_t[]", array.view(np.uint8), require_writable=True)


def pieces(size: int, count: int) -> list[bytes]:
    """Split a result of `count` 8-byte ends and the bytes after them."""
    data, middle = result(size), 8 * count
    return _cut(data, middle, memoryview(data)[:middle].cast("Q").tolist())


# ---- the log beside a file, read only ----


def open_log(path: str) -> Any:
    """Return a handle over the content of the log at this path, None if there is none. It is parsed as in recovery; nothing is written."""
    out = ffi.new("ss_wal_contents **")
    name = path_bytes(path)
    if check(lib.ss_wal_contents_new(name, out), path) == lib.SS_ABSENT:
        return None
    return ffi.gc(out[0], lib.ss_wal_contents_free)


def log_of(data: bytes) -> Any:
    """Return a handle over the content of a log that was read elsewhere, parsed as in recovery."""
    out = ffi.new("ss_wal_contents **")
    check(lib.ss_wal_contents_of(ffi.from_buffer(data), len(data), out), "reading a log")
    return ffi.gc(out[0], lib.ss_wal_contents_free)


def log_spans(log: Any) -> npt.NDArray[np.uint64]:
    """Return the records of a log, oldest first: for each its offset in the memory, its length and its offset in the log."""
    count = int(log.span_count)
    return np.frombuffer(bytes(ffi.buffer(log.spans, 24 * count)) if count else b"", np.uint64).reshape(-1, 3)


def log_read(log: Any, at: int, length: int) -> bytes:
    """Return bytes of a log."""
    found = unfilled(length)
    check(lib.ss_wal_contents_read(log, at, ffi.from_buffer(found), length), "reading a log")
    return bytes(found)


def log_damage(log: Any, file_bytes: int) -> tuple[str, int, int, int] | None:
    """Return why recovery would refuse a log: rule, address in the log, number, limit; None if it would accept it.

    `file_bytes` is the size of the file beside it.
    """
    failure = log.damage
    if failure.status >= 0:
        if lib.ss_wal_contents_fit(log, file_bytes) >= 0:
            return None
        failure = lib.ss_last_failure()
    rule = "" if failure.rule == ffi.NULL else ffi.string(failure.rule).decode()
    return rule, int(failure.address), int(failure.number), int(failure.limit)


# ---- memories that are looked at, and surveys of what is in them ----

_U64S, _U8S = "uint64_t[]", "uint8_t[]"


@ffi.def_extern(onerror=_keep, error=lib.SS_CALLBACK)  # type: ignore[untyped-decorator]
def ss_python_fetch(self: Any, offset: int, length: int, to: Any) -> int:
    """Bytes of a source that is written in Python."""
    _copy(ffi.from_handle(self).fetch(offset, length), to, length, f"fetch({offset}, {length})")
    return 0


def new_cached(source: Any, nbytes: int, cache: int) -> tuple[Any, Any]:
    """Return a handle over a source written in Python, and the object that must live as long."""
    anchor = ffi.new_handle(source)
    given = ffi.new("ss_cached_source *", {"self": anchor, "fetch": lib.ss_python_fetch})
    opened = lambda out: lib.ss_memory_new_cached(given[0], nbytes, cache, out)  # noqa: E731 - the call itself
    return new_handle("ss_memory", opened, lib.ss_memory_release_at, "CachedMemory"), anchor


def new_cached_file(fd: int, file_bytes: int, log: Any, nbytes: int, cache: int) -> Any:
    """Return a handle over a file, with its own descriptor, and over its log (None: no log)."""
    opened = lambda out: lib.ss_memory_new_cached_file(fd, file_bytes, NULL if log is None else log, nbytes, cache, out)  # noqa: E731
    return new_handle("ss_memory", opened, lib.ss_memory_release_at, "CachedMemory")


def new_pieces(base: Any, offsets: npt.NDArray[np.uint64], bucket_bytes: int, nbytes: int) -> Any:
    """Return a handle over buckets of a memory at these offsets, in this order."""
    given = ffi.from_buffer(_U64S, offsets) if len(offsets) else NULL
    opened = lambda out: lib.ss_memory_new_pieces(base, given, len(offsets), bucket_bytes, nbytes, out)  # noqa: E731
    return new_handle("ss_memory", opened, lib.ss_memory_release_at, "a virtual memory")


def cached_usage(handle: Any) -> tuple[int, int]:
    """How often a source was asked, and for how many bytes."""
    found = ffi.new("struct ss_cached_usage *")
    lib.ss_cached_measure(handle, found)
    return int(found.requests), int(found.bytes)


def cached_has(handle: Any, offset: int, length: int) -> bool:
    """Return whether bytes of a cached memory can be read without asking its source."""
    return bool(lib.ss_cached_has(handle, offset, length))


def system_failure(status: int) -> tuple[str, int, int] | None:
    """Return rule, offset and errno of the system call that failed last; None if it was something else."""
    failure = lib.ss_last_failure()
    if status != lib.SS_SYSTEM or failure.status != status:
        return None
    return "" if failure.rule == ffi.NULL else ffi.string(failure.rule).decode(), int(failure.address), int(failure.number)


Note = tuple[int, int, int, int, bytes, int, bytes, int]
"""Of a survey: rule, address, found, expected, and the first bytes and the size of each of two keys."""


def _notes(notes: Any, first: int = 0) -> list[Note]:
    """Return the recorded notes, from number `first` on."""
    found = []
    for i in range(first, int(notes.kept)):
        note = notes.list[i]
        a, b = (ffi.buffer(data)[: min(size, lib.SS_NOTE_BYTES)] for data, size in ((note.a, note.a_size), (note.b, note.b_size)))
        found.append((note.rule, note.address, note.found, note.expected, a, note.a_size, b, note.b_size))
    return found


def map_frame(numbers: Mapping[str, int]) -> Any:
    """Return a `ss_map_frame` of these numbers."""
    return ffi.new("ss_map_frame *", dict(numbers))


class MapSurvey:
    """A survey of a map (native/structures/survey.h), step by step."""

    def __init__(self, memory: Any, frame: Any, codec: Codec[Any] | None, limit: int, room: int) -> None:
        out = ffi.new("ss_map_survey **")
        order = None if codec is None else KeyOrder(codec)
        terms, count = (NULL, 0) if order is None else (order.terms, order.count)
        self.status = lib.ss_map_survey_new(memory, frame, terms, count, limit, room, out)
        self._survey = ffi.gc(out[0], lib.ss_map_survey_free)
        self._unseen = unseen()
        self._unseen[0] = self._survey
        self._reported = 0
        self.columns: tuple[npt.NDArray[np.uint8], ...] = ()

    def draw(self, chunks: int, group: int) -> None:
        """From here on depth, fill and kind are filled in by number of the chunk: `columns`, in which `group` chunks share a byte."""
        self.columns = tuple(np.zeros(chunks // group + 1, np.uint8) for _ in range(3))
        lib.ss_map_survey_draw(self._survey, *(ffi.from_buffer(_U8S, column) for column in self.columns), group)

    def step(self, nodes: int) -> bool:
        """Visits nodes; whether there are more. An error is left in `status`."""
        self.status = lib.ss_map_survey_step(self._survey, nodes)
        return bool(self.status == 0)

    def free_list(self) -> int:
        """Return the address of the end of the free list; 0 if a note says why it is unknown. An error is left in `status`."""
        self.status = lib.ss_map_survey_free_list(self._survey)
        return int(self.stats().end_of_chunks)

    def chunks(self) -> None:
        """Walk the free list and all chunks. An error is left in `status`."""
        self.status = lib.ss_map_survey_chunks(self._survey)

    def stats(self) -> Any:
        """Return a `struct ss_map_stats`."""
        return lib.ss_map_survey_stats(self._survey)

    def new_notes(self) -> list[Note]:
        """Those that were added since the last time."""
        notes = lib.ss_map_survey_notes(self._survey)
        found = _notes(notes, self._reported)
        self._reported += len(found)
        return found

    def left_out(self) -> int:
        """How many notes there were beyond those that are kept."""
        notes = lib.ss_map_survey_notes(self._survey)
        return int(notes.count - notes.kept)

    def disorder(self) -> list[Note]:
        """Neighbours that do not ascend, as far as they are kept."""
        return _notes(lib.ss_map_survey_disorder(self._survey))

    def reached(self, first: int, count: int) -> npt.NDArray[np.uint8]:
        """Return as what each of these chunks was reached (enum ss_reached)."""
        found = np.zeros(count, np.uint8)
        lib.ss_map_survey_reached(self._survey, first, count, ffi.from_buffer(_U8S, found))
        return found


class ElementsSurvey:
    """A survey of a vec or heap, or of a log (native/structures/survey.h), step by step."""

    def __init__(self, word: str, *given: Any) -> None:
        out = ffi.new(f"ss_{word}_survey **")
        self._functions = {name: getattr(lib, f"ss_{word}_survey_{name}") for name in ("step", "notes", "stats")}
        self.status = getattr(lib, f"ss_{word}_survey_new")(*given, out)
        self._survey = ffi.gc(out[0], getattr(lib, f"ss_{word}_survey_free"))
        self._unseen = unseen()
        self._unseen[0] = self._survey

    def step(self, elements: int) -> bool:
        """Visit elements; return whether there are more. An error is left in `status`."""
        self.status = self._functions["step"](self._survey, elements)
        return bool(self.status == 0)

    def notes(self) -> tuple[list[Note], int]:
        """Return what is wrong, as far as it is kept, and how much of it there is."""
        notes = self._functions["notes"](self._survey)
        return _notes(notes), int(notes.count)

    def sizes(self) -> tuple[int, int] | None:
        """Return the least and the greatest size of the elements that could be read; None without any."""
        stats = self._functions["stats"](self._survey)
        return (int(stats.least), int(stats.most)) if stats.count else None

    def disorder(self) -> tuple[list[Note], int]:
        """Return the elements of a heap that are less than their parents, as far as they are kept, and how many there are."""
        notes = lib.ss_slots_survey_disorder(self._survey)
        return _notes(notes), int(notes.count)


def slots_survey(memory: Any, numbers: Mapping[str, int], codec: Codec[Any] | None, limit: int) -> ElementsSurvey:
    """Return a survey of slots by a `ss_slots_frame` of these numbers, and by the order of a type."""
    order = None if codec is None else KeyOrder(codec)
    terms, count = (NULL, 0) if order is None else (order.terms, order.count)
    return ElementsSurvey("slots", memory, ffi.new("ss_slots_frame *", dict(numbers)), terms, count, limit)


def log_survey(index: Any, data: Any, numbers: Mapping[str, int], limit: int) -> ElementsSurvey:
    """Return a survey of a log by a `ss_log_frame` of these numbers; without data, only of its index."""
    return ElementsSurvey("log", index, NULL if data is None else data, ffi.new("ss_log_frame *", dict(numbers)), limit)


def survey_value(memory: Any, address: int, size: int, encoding: int) -> tuple[int, bool]:
    """Return a status, and whether a value is encoded like that."""
    found = ffi.new("bool *")
    return lib.ss_survey_value(memory, address, size, encoding, found), bool(found[0])


def survey_head(kind: int, data: bytes, nbytes: int) -> tuple[Any, list[Note]]:
    """Return the `ss_seen_head` of a structure's first bytes, or None if it has none, and what is wrong with it."""
    return _surveyed("ss_seen_head *", lambda found, notes: lib.ss_survey_head(kind, data, len(data), nbytes, found, notes))


def survey_manager(tables: bytes, nbytes: int) -> tuple[Any, list[Note]]:
    """Return the `struct ss_manager_stats` of a manager's tables, and what is wrong with them; None if nothing else can be said."""
    return _surveyed("struct ss_manager_stats *", lambda found, notes: lib.ss_survey_manager(tables, nbytes, found, notes))


def _surveyed(kind: str, survey: Callable[[Any, Any], int]) -> tuple[Any, list[Note]]:
    found, notes = ffi.new(kind), ffi.gc(lib.ss_survey_notes_new(1 << 17), lib.ss_survey_notes_free)
    status = survey(found, notes) if notes != NULL else lib.SS_NO_HEAP
    if status not in (lib.SS_OK, lib.SS_CORRUPT):
        fail(status, "a survey")
    return found if status == lib.SS_OK else None, _notes(notes)


class Entries:
    """Entries of a map in batches: in the order of the keys, or those of the nodes in these chunks."""

    def __init__(self, memory: Any, frame: Any, chunks: npt.NDArray[np.uint64] | None = None, *, keys_only: bool = False) -> None:
        out = ffi.new("ss_entries **")
        given = NULL if chunks is None else ffi.from_buffer(_U64S, chunks if len(chunks) else np.zeros(1, np.uint64))
        self.status = lib.ss_entries_new(memory, frame, given, 0 if chunks is None else len(chunks), keys_only, out)
        self._entries = ffi.gc(out[0], lib.ss_entries_free)
        self._unseen = unseen()
        self._unseen[0] = self._entries
        self._batch = ffi.new("ss_entries_batch *")
        self._keys_only = keys_only
        self._reported = 0

    def next(self, nbytes: int) -> Batch | None:
        """Return a copy of the next one; None at the end, or if `status` is an error."""
        self.status = lib.ss_entries_next(self._entries, nbytes, self._batch)
        batch = self._batch
        if self.status != 0:
            return None
        count = int(batch.count)
        ends = [np.frombuffer(ffi.buffer(column, 8 * count)[:], np.uint64) for column in (batch.key_ends, batch.value_ends, batch.nodes)]
        keys = ffi.buffer(batch.keys, int(ends[0][-1]))[:]
        values = b"" if self._keys_only else ffi.buffer(batch.values, int(ends[1][-1]))[:]
        return keys, ends[0], values, ends[1], ends[2], np.frombuffer(ffi.buffer(batch.numbers, count)[:], np.uint8)

    def new_notes(self) -> list[Note]:
        """Return what could not be read since the last call."""
        found = _notes(lib.ss_entries_notes(self._entries), self._reported)
        self._reported += len(found)
        return found


class Pack:
    """Packs entries that come in order into the chunks of a new map (native/structures/pack.h)."""

    def __init__(self, form: Mapping[str, int], count: int) -> None:
        out = ffi.new("ss_pack **")
        check(lib.ss_pack_new(ffi.new("ss_pack_form *", dict(form)), count, out), "packing a map")
        self._pack = ffi.gc(out[0], lib.ss_pack_free)
        self._unseen = unseen()
        self._unseen[0] = self._pack

    def feed(self, batch: Batch) -> bytes:
        """Return the chunks that the next entries complete. Raises `ValueError` for more entries than there were to be."""
        keys, key_ends, values, value_ends, *_ = batch
        ends = [ffi.from_buffer(_U64S, column) for column in (key_ends, value_ends)]
        check(lib.ss_pack_feed(self._pack, len(key_ends), keys, ends[0], values, ends[1]), "packing a map")
        at = ffi.new("const uint8_t **")
        size = int(lib.ss_pack_take(self._pack, at))
        return bytes(ffi.buffer(at[0], size)) if size else b""

    def measure(self, sums: npt.NDArray[np.uint64] | int) -> None:
        """Take sums of the sizes of the next entries in place of them, from any number on, or how many entries of no bytes there are."""
        given, count = (ffi.NULL, sums) if isinstance(sums, int) else (ffi.from_buffer(_U64S, sums), len(sums) - 1)
        check(lib.ss_pack_measure(self._pack, count, given), "packing a map")

    def nodes(self) -> int:
        """Return how many nodes are complete."""
        return int(lib.ss_pack_nodes(self._pack))

    def end(self) -> tuple[int, int] | None:
        """Return the address of the root, and how many chunks there are; None if entries are missing."""
        root, chunks = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        return None if lib.ss_pack_end(self._pack, root, chunks) != 0 else (int(root[0]), int(chunks[0]))


NOT_FIXED: Final[int] = lib.SS_NOT_FIXED
Batch = tuple[bytes, "npt.NDArray[np.uint64]", bytes, "npt.NDArray[np.uint64]", "npt.NDArray[np.uint64]", "npt.NDArray[np.uint8]"]
"""Keys, their ends, values, their ends, the node of each entry, its number in it."""
