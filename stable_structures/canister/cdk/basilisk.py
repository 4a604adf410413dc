# SPDX-License-Identifier: Apache-2.0
"""`import basilisk` inside a canister under test: the names and behaviour of ic-basilisk 0.16 (docs/platform.md#basilisk).

The six structures live in the canister's own manager. Memory 254 holds the persisted files; as in the real canister, it is
created first, before the source runs. Methods, hooks and `ic` are those of `stable_structures.canister`.
The real canister seeds `random` from the management canister right after it starts; here `random` is the test's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Optional, TypeVar

from ...errors import BoundExceeded, OutOfBounds, OutOfMemory
from ...memory.stored import Stored, init_as_the_crate
from ...storable import Blob
from ...structures.btreemap import StableBTreeMap as _Map
from ...structures.cell import StableCell as _Cell
from ...structures.log import StableLog as _Log
from ...structures.minheap import StableMinHeap as _Heap
from ...structures.vec import StableVec as _Vec
from .. import message as messages
from ..errors import Trap, called_trap
from ..message import Kind, Message, Reply
from ..program import describe
from . import common, kinds
from .candid import SCALARS
from .common import CdkIc, CommonCdkAdapter, running
from .files import FILES_ID, FileStoreError, FileStoreLimitError, FileSystem, FileTooLargeError
from .tagged import HINTS, Principal, decode, encode, hint_of

if TYPE_CHECKING:
    from ..calls import Call
    from ..program import Program

S = TypeVar("S", bound=Stored)
T = TypeVar("T")

_MAX_SIZE: Final = 2_000_000
_ELEMENT: Final = Blob(_MAX_SIZE)
_BYTES: Final = _Map[bytes, bytes]
_PLACE: Final = "src/stable_structures.rs"


def _store(kind: str, ids: tuple[int, ...], structure: type[S], *given: Any) -> S:
    """Return the structure of this kind in these memories, one for all objects of the program."""
    message = running()
    program = message.canister.python
    if program is None:
        raise RuntimeError("no program is installed")
    key = (kind, ids[0])
    if key not in program.stores:
        manager = message.canister.program_manager()
        program.stores[key] = init_as_the_crate(structure, message.canister.logs.append, *map(manager.get, ids), *given)
    found: S = program.stores[key]
    return found


def _guarded(operation: Callable[[], T], what: str) -> T:
    """Return the result of an operation; panic, as the real canister does, if it raises."""
    try:
        return operation()
    except (BoundExceeded, OutOfMemory, OutOfBounds) as error:
        common.panic(running(), f"{what}: {error}", _PLACE)


def file_store() -> _Map[bytes, bytes]:
    """Return the map of persisted files: path to content, both unencoded."""
    return _store("map", (FILES_ID,), _BYTES)


class _MapMeta(type):
    def __getitem__(cls, types: Any) -> Callable[..., StableBTreeMap]:
        key, value = types if isinstance(types, tuple) and len(types) == 2 else (types, None)  # noqa: PLR2004

        def factory(memory_id: int = 0, max_key_size: int = 100, max_value_size: int = 100) -> StableBTreeMap:
            return StableBTreeMap(memory_id, max_key_size, max_value_size, key, value)

        return factory


class StableBTreeMap(metaclass=_MapMeta):
    """Basilisk's map: `StableBTreeMap[K, V](memory_id=0)`; keys in the order of their encodings. The sizes are ignored."""

    def __init__(
        self, memory_id: int = 0, max_key_size: int = 100, max_value_size: int = 100, _key_type: Any = None, _val_type: Any = None
    ) -> None:
        del max_key_size, max_value_size
        self._memory_id, self._key, self._value = memory_id, hint_of(_key_type), hint_of(_val_type)
        self._open()

    def _open(self) -> _Map[bytes, bytes]:
        return _store("map", (self._memory_id,), _BYTES)

    def get(self, key: Any) -> Any:
        """Return the value, or None. O(log n)."""
        found = self._open().get(encode(key, self._key))
        return None if found is None else decode(found)

    def insert(self, key: Any, value: Any) -> Any:
        """Set a value; return the one before, or None. O(log n)."""
        store = self._open()
        raw_key, raw = encode(key, self._key), encode(value, self._value)
        before = _guarded(lambda: store.insert(raw_key, raw), "insert")
        return None if before is None else decode(before)

    def remove(self, key: Any) -> Any:
        """Remove a key; return its value, or None. O(log n)."""
        before = self._open().remove(encode(key, self._key))
        return None if before is None else decode(before)

    def contains_key(self, key: Any) -> bool:
        """Return whether the key is present. O(log n)."""
        return encode(key, self._key) in self._open()

    def is_empty(self) -> bool:
        """Return whether it is empty."""
        return len(self._open()) == 0

    def keys(self) -> list[Any]:
        """Return all keys, in the order of their encodings."""
        return [decode(key) for key in self._open()]

    def values(self) -> list[Any]:
        """Return all values, in the order of their keys."""
        return [decode(value) for value in self._open().values()]

    def items(self) -> list[tuple[Any, Any]]:
        """Return all pairs, in the order of the keys."""
        return [(decode(key), decode(value)) for key, value in self._open().items()]

    def len(self) -> int:
        """Return the number of entries."""
        return len(self._open())

    def range(self, start: Any, end: Any = None, limit: int = 1000) -> list[tuple[Any, Any]]:
        """Return at most `limit` pairs with start <= key < end, in order; no end if it is None."""
        if limit < 0:
            raise ValueError("limit must be >= 0")
        stop = None if end is None else encode(end, self._key)
        pairs = self._open().range(encode(start, self._key), stop)
        return [(decode(key), decode(value)) for _, (key, value) in zip(range(limit), pairs, strict=False)]


class StableBTreeSet:
    """Basilisk's set: a map whose values are empty."""

    def __init__(self, memory_id: int = 0, _key_type: Any = None) -> None:
        self._memory_id, self._key = memory_id, hint_of(_key_type)
        self._open()

    def _open(self) -> _Map[bytes, bytes]:
        return _store("set", (self._memory_id,), _BYTES)

    def insert(self, key: Any) -> bool:
        """Add a key; return whether it is new."""
        store, raw = self._open(), encode(key, self._key)
        return _guarded(lambda: store.insert(raw, b""), "insert") is None

    def remove(self, key: Any) -> bool:
        """Remove a key; return whether it was present."""
        return self._open().remove(encode(key, self._key)) is not None

    def contains(self, key: Any) -> bool:
        """Return whether the key is present."""
        return encode(key, self._key) in self._open()

    def is_empty(self) -> bool:
        """Return whether it is empty."""
        return len(self._open()) == 0

    def items(self) -> list[Any]:
        """Return all keys, in the order of their encodings."""
        return [decode(key) for key in self._open()]

    def len(self) -> int:
        """Return the number of keys."""
        return len(self._open())


class StableVec:
    """Basilisk's vector; an encoding has at most 2,000,000 bytes."""

    def __init__(self, memory_id: int = 0, _val_type: Any = None) -> None:
        self._memory_id, self._value = memory_id, hint_of(_val_type)
        self._open()

    def _open(self) -> _Vec[bytes]:
        return _store("vec", (self._memory_id,), _Vec[_ELEMENT])  # type: ignore[valid-type]

    def get(self, index: int) -> Any:
        """Return the element, or None past the end."""
        return decode(self._open()[index]) if _index(index) < len(self._open()) else None

    def push(self, value: Any) -> None:
        """Append a value."""
        store, raw = self._open(), encode(value, self._value)
        _guarded(lambda: store.push(raw), "svec push failed")

    def pop(self) -> Any:
        """Remove the last value and return it, or None."""
        raw = self._open().pop() if len(self._open()) else None
        return None if raw is None else decode(raw)

    def set(self, index: int, value: Any) -> None:
        """Set an element; past the end the canister panics."""
        store, raw = self._open(), encode(value, self._value)
        if _index(index) >= len(store):
            common.panic(running(), "assertion failed: index < self.len()", _PLACE)
        _guarded(lambda: store.__setitem__(index, raw), "svec set failed")

    def len(self) -> int:
        """Return the number of elements."""
        return len(self._open())

    def is_empty(self) -> bool:
        """Return whether it is empty."""
        return self.len() == 0


class StableLog:
    """Basilisk's log, in two memories."""

    def __init__(self, memory_id_index: int = 0, memory_id_data: int = 1, _val_type: Any = None) -> None:
        self._ids, self._value = (memory_id_index, memory_id_data), hint_of(_val_type)
        self._open()

    def _open(self) -> _Log[bytes]:
        return _store("log", self._ids, _Log[bytes])

    def append(self, value: Any) -> int:
        """Append a value; return its index."""
        store, raw = self._open(), encode(value, self._value)
        return _guarded(lambda: store.append(raw), "slog append failed")

    def get(self, index: int) -> Any:
        """Return the value, or None past the end."""
        return decode(self._open()[index]) if _index(index) < len(self._open()) else None

    def len(self) -> int:
        """Return the number of values."""
        return len(self._open())

    def is_empty(self) -> bool:
        """Return whether it is empty."""
        return self.len() == 0


class StableCell:
    """Basilisk's cell."""

    def __init__(self, memory_id: int = 0, default_value: Any = None, _val_type: Any = None) -> None:
        self._memory_id, self._value = memory_id, hint_of(_val_type)
        self._default = encode(default_value, self._value)
        self._open()

    def _open(self) -> _Cell[bytes]:
        return _store("cell", (self._memory_id,), _Cell[bytes], self._default)

    def get(self) -> Any:
        """Return the value."""
        return decode(self._open().get())

    def set(self, value: Any) -> None:
        """Set the value."""
        store, raw = self._open(), encode(value, self._value)
        _guarded(lambda: store.set(raw), "scell set failed")


class StableMinHeap:
    """Basilisk's heap: the smallest encoding comes first."""

    def __init__(self, memory_id: int = 0, _val_type: Any = None) -> None:
        self._memory_id, self._value = memory_id, hint_of(_val_type)
        self._open()

    def _open(self) -> _Heap[bytes]:
        return _store("heap", (self._memory_id,), _Heap[_ELEMENT])  # type: ignore[valid-type]

    def push(self, value: Any) -> None:
        """Add a value."""
        store, raw = self._open(), encode(value, self._value)
        _guarded(lambda: store.push(raw), "sheap push failed")

    def pop(self) -> Any:
        """Remove the smallest value and return it, or None."""
        raw = self._open().pop() if len(self._open()) else None
        return None if raw is None else decode(raw)

    def peek(self) -> Any:
        """Return the smallest value, or None."""
        raw = self._open().peek() if len(self._open()) else None
        return None if raw is None else decode(raw)

    def len(self) -> int:
        """Return the number of values."""
        return len(self._open())

    def is_empty(self) -> bool:
        """Return whether it is empty."""
        return self.len() == 0


def _index(index: Any) -> int:
    if not isinstance(index, int):
        raise TypeError(f"an index must be an int, got {type(index).__name__}")
    if index < 0:
        raise OverflowError(f"an index must not be negative, got {index}")
    return index


# ---- the module ----


class CallResult(dict[str, Any]):
    """The result of a call to another canister, as `result["Ok"]` and as `result.Ok`; a missing member is None as an attribute."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.get(name)


def _result_of(reply: Reply) -> CallResult:
    result = common.result_of(reply)
    return CallResult({"Err": result.Err} if reply.rejected else {"Ok": result.Ok})


class Ic(CdkIc):
    """`basilisk.ic`."""

    Principal = Principal

    @staticmethod
    def stable_bytes() -> bytes:
        """Trap: the manager owns stable memory."""
        text = (
            "ic.stable_bytes() is not available: the MemoryManager owns stable memory. "
            "Use StableBTreeMap/StableVec/etc. for persistent storage, or ic.stable_read(offset, length) "
            "for raw access to specific regions."
        )
        message = running()
        trap = called_trap(text)
        message.raise_trap(trap)
        raise trap


class _Named:
    """A type that only annotations use."""

    def __class_getitem__(cls, item: Any) -> Any:
        return cls


class Opt:
    """`Opt[T]` in annotations, `Opt(value)` for an optional argument of a call."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def __class_getitem__(cls, item: Any) -> Any:
        return Optional[item]  # noqa: UP045 - the item is not known yet


class Record(dict[str, Any]):
    """A record: a dict with the fields that a subclass annotates."""

    __candid_variant__ = False

    def __class_getitem__(cls, item: Any) -> Any:
        return cls

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__()


class Variant(Record):
    """A variant: a dict with one member."""

    __candid_variant__ = True


class BasiliskAdapter(CommonCdkAdapter):
    """How a Basilisk canister behaves."""

    name = "basilisk"
    principal = Principal

    def as_call(self, given: Any) -> Call | None:
        """Return a yielded value as a call; its result is a dict here."""
        call = super().as_call(given)
        if call is not None:
            call.finish = _result_of
        return call

    def start(self, program: Program) -> None:
        """Create the file store before the source runs."""
        file_store()
        program.use_files(FileSystem(file_store))

    def after_hook(self, program: Program, kind: Kind) -> None:
        """Restore the persisted files after the hook of an upgrade."""
        if kind is Kind.POST_UPGRADE and program.files is not None:
            program.files.load()

    def failure(self, message: Message, error: BaseException) -> Trap:
        """Return the trap with the text of Basilisk's dispatcher."""
        program = message.canister.python
        role = {Kind.INIT: "init", Kind.PRE_UPGRADE: "pre_upgrade", Kind.POST_UPGRADE: "post_upgrade"}.get(
            message.kind, message.kind.name.lower()
        )
        hook = program.hooks.get(role) if program is not None else None
        if hook is not None:
            return called_trap(f"Error calling lifecycle '{hook.name}': {describe(error)}")
        if message.kind in (Kind.REPLY, Kind.REJECT):
            return called_trap(f"Error in async method '{message.context.method}': {describe(error)}")
        return called_trap(f"Error calling '{message.context.method}': {describe(error)}")

    def failed_source(self, error: BaseException) -> Trap:
        """Return the trap for a source that failed while it ran."""
        return called_trap(f"Panicked at 'Failed to execute Python code: {describe(error)}', src/python_init.rs")

    def check_guard(self, guard: Callable[..., Any], message: Message) -> bool:
        """Run a guard: it returns {"Ok": None}, or {"Err": text}, which traps."""
        try:
            result = guard()
        except Exception as error:
            raise called_trap(f"Guard function '{guard.__name__}' threw an exception: {describe(error)}") from error
        problem = _guard_problem(result)
        if problem is None:
            return True
        message.raise_trap(called_trap(problem))
        return False


def _guard_problem(result: Any) -> str | None:
    if not isinstance(result, dict) or not ({"Ok", "Err"} & result.keys()):
        return f"TypeError: expected Result but received {type(result).__name__}"
    refused = result.get("Err")
    if refused is not None:
        return refused if isinstance(refused, str) else f"TypeError: Expected type 'str' but '{type(refused).__name__}' found"
    if result.get("Ok") is not None:
        return f"TypeError: expected NoneType but received {type(result['Ok']).__name__}"
    return None if "Ok" in result else "TypeError: expected Result but received dict"


def guard_against_non_controllers() -> dict[str, Any]:
    """Return the result of the guard that Basilisk provides."""
    if messages.current().context.caller in messages.current().canister.controllers:
        return {"Ok": None}
    return {"Err": "Not Authorized: only controllers of this canister may call this method"}


def fs_stats() -> dict[str, Any]:
    """Return how much of the file store is used."""
    program = running().canister.python
    if program is None or program.files is None:
        raise RuntimeError("no file store")
    return program.files.stats()


ADAPTER: Final = BasiliskAdapter()

_NAMES: Final[dict[str, Any]] = {
    **{hint.__name__: hint for hint in HINTS},
    **{name: SCALARS[name] for name in ("nat", "int64", "float64")},
    **dict.fromkeys(("TimerId", "Duration"), int),
    **dict.fromkeys(("reserved", "empty", "Alias", "NotifyResult", "GuardType"), _Named),
    **dict.fromkeys(("query", "update", "composite_query", "heartbeat", "pre_upgrade", "inspect_message"), None),
    "text": str,
    "blob": bytes,
    "null": None,
    "void": None,
    "Opt": Opt,
    "Vec": list,
    "Tuple": tuple,
    "Func": common.Func,
    "Query": common.Query,
    "Update": common.Update,
    "Oneway": common.Oneway,
    "FuncTuple": kinds.FuncTuple,
    "Record": Record,
    "Variant": Variant,
    "Manual": common.Manual,
    "Async": common.Async,
    "GuardResult": dict,
    "StableGrowResult": dict,
    "Stable64GrowResult": dict,
    "RejectionCode": dict,
    "CallResult": CallResult,
    "Principal": Principal,
    "Service": common.Service,
    "StableBTreeMap": StableBTreeMap,
    "StableBTreeSet": StableBTreeSet,
    "StableCell": StableCell,
    "StableLog": StableLog,
    "StableMinHeap": StableMinHeap,
    "StableVec": StableVec,
    "FileStoreError": FileStoreError,
    "FileStoreLimitError": FileStoreLimitError,
    "FileTooLargeError": FileTooLargeError,
    "fs_stats": fs_stats,
    "guard_against_non_controllers": guard_against_non_controllers,
    "ic": Ic,
    "match": common.match,
    "service_method": common.service_method,
    "service_query": common.service_method,
    "service_update": common.service_method,
}
_DECORATORS: Final = ("query", "update", "composite_query", "heartbeat", "pre_upgrade", "inspect_message", "init", "post_upgrade")


def modules() -> dict[str, dict[str, Any]]:
    """Return the modules that a canister can import, with their names."""
    names = _NAMES | {role: common.decorator(role) for role in _DECORATORS} | {"canister": lambda cls: cls, "__version__": "0.16.1"}
    return {"basilisk": names, **common.canister_modules("basilisk")}
