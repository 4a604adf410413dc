# SPDX-License-Identifier: Apache-2.0
"""`import kybra` inside a canister under test: the names and behaviour of Kybra 0.7 (docs/platform.md#kybras-map).

Its map stores Candid messages, ordered as Rust orders the decoded values, in a virtual memory of the canister's manager. The
first operation creates map and manager. The map of a real canister (layout version 1) stays version 1. A new map gets layout
version 2, which Kybra's own crate 0.5.6 cannot read; every later crate can.
The real canister seeds `random` from the management canister right after it starts; here `random` is the test's.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, Optional, TypedDict, TypeVar

from ...errors import BoundExceeded, IncompatibleType, OutOfMemory
from ...memory.stored import init_as_the_crate
from ...storable import Bounded, Codec
from ...storable.base import Data, python_order
from ...storable.lifetimes import MADE_FOR
from ...structures.btreemap import StableBTreeMap as _Map
from ..errors import Trap, called_trap
from ..message import Message, Reply
from . import common, kinds
from .candid import RECORD, SCALARS, VARIANT, CandidType, candid_type, icp
from .common import CdkIc, CommonCdkAdapter, panic, running

if TYPE_CHECKING:
    from ...memory.memory import NativeMemory
    from ..program import Program

T = TypeVar("T")

_PLACE: Final = "ic-stable-structures-0.5.6/src/btreemap.rs:1:1"
_MAX_MEMORY: Final = 254
_SIZES_AT: Final = 4


class CandidCodec(Codec[Any]):
    """Keys or values as Candid messages of at most `max_size` bytes; a larger one panics as in the crate."""

    def __init__(self, kind: CandidType, max_size: int, role: str) -> None:
        bound = Bounded(max_size, is_fixed_size=False)
        super().__init__(f"candid {kind.name} of at most {max_size} bytes", bound, python_order(bound), kind, max_size, role)
        self.kind = kind
        self._role = role
        vars(self)[MADE_FOR] = {}  # each program has its own codecs, which its maps keep alive

    def encode(self, value: Any) -> bytes:
        """Return the Candid message of a value."""
        data = self.kind.encode(value)
        most = self.bound.max_size or 0
        if len(data) > most:
            panic(running(), f"{self._role} is too large. Expected <= {most} bytes, found {len(data)} bytes", _PLACE)
        return data

    def decode(self, data: Data) -> Any:
        """Return the value of a Candid message."""
        return self.kind.decode(bytes(data))

    def compare(self, a: Any, b: Any) -> int | None:
        """Compare as Rust's `Ord` of the decoded type."""
        return self.kind.compare(a, b)


class _Typed:
    """`StableBTreeMap[K, V]`, to call with the memory and the sizes."""

    def __init__(self, key: Any, value: Any) -> None:
        self._types = key, value

    def __call__(self, memory_id: int, max_key_size: int, max_value_size: int) -> StableBTreeMap:
        return StableBTreeMap(memory_id, max_key_size, max_value_size, _types=self._types)


class StableBTreeMap:
    """Kybra's map: `StableBTreeMap[K, V](memory_id=..., max_key_size=..., max_value_size=...)`.

    The sizes count Candid bytes. A larger key or value traps, and no `except` sees it.
    """

    def __init__(self, memory_id: int, max_key_size: int, max_value_size: int, *, _types: tuple[Any, Any] | None = None) -> None:
        if _types is None:
            raise TypeError(
                "StableBTreeMap needs its types: write StableBTreeMap[K, V](memory_id=..., max_key_size=..., max_value_size=...)"
            )
        if not 0 <= memory_id <= _MAX_MEMORY:
            raise ValueError(f"StableBTreeMap: memory_id must be 0 to {_MAX_MEMORY}, got {memory_id}")
        if not (0 <= max_key_size < 2**32 and 0 <= max_value_size < 2**32):
            raise ValueError(f"StableBTreeMap: sizes must be 0 to {2**32 - 1}, got {max_key_size} and {max_value_size}")
        self.memory_id = memory_id
        self._sizes = max_key_size, max_value_size
        self._types = _types

    def __class_getitem__(cls, types: Any) -> _Typed:
        if not isinstance(types, tuple) or len(types) != 2:  # noqa: PLR2004 - K and V
            raise TypeError("StableBTreeMap[K, V] takes two types")
        return _Typed(*types)

    def _open(self) -> _Map[Any, Any]:
        """Return the map in the canister's manager, created or loaded at the first operation."""
        message = running()
        program = message.canister.python
        if program is None:
            raise RuntimeError("no program is installed")
        found: _Map[Any, Any] | None = program.stores.get(("kybra", self.memory_id))
        if found is None:
            found = program.stores["kybra", self.memory_id] = self._load(
                message, program, message.canister.program_manager().get(self.memory_id)
            )
        return found

    def _load(self, message: Message, program: Program, memory: NativeMemory) -> _Map[Any, Any]:
        names = vars(program.main) if hasattr(program, "main") else {}
        roles, codecs = ("Key", "Value"), []
        for role, given, size in zip(roles, self._types, self._sizes, strict=True):
            codecs.append(CandidCodec(candid_type(given, names), size, role))
        try:
            return init_as_the_crate(_Map[codecs[0], codecs[1]], message.canister.logs.append, memory)  # type: ignore[valid-type]
        except IncompatibleType:
            for name, size, at in zip(("max_key_size", "max_value_size"), self._sizes, (_SIZES_AT, _SIZES_AT + 4), strict=True):
                stored = int.from_bytes(memory.read(at, 4), "little")
                if size > stored:
                    panic(message, f"{name} must be <= {stored}", _PLACE)
            raise

    def contains_key(self, key: Any) -> bool:
        """Return whether the key is present. O(log n)."""
        return self._open().contains_key(key)

    def get(self, key: Any) -> Any:
        """Return the value, or None. O(log n)."""
        return self._open().get(key)

    def insert(self, key: Any, value: Any) -> Any:
        """Set a value; return the one before, or None. O(log n)."""
        try:
            return self._open().insert(key, value)
        except (BoundExceeded, OutOfMemory) as error:
            panic(running(), str(error), _PLACE)

    def is_empty(self) -> bool:
        """Return whether it is empty."""
        return self._open().is_empty()

    def items(self) -> list[tuple[Any, Any]]:
        """Return all pairs, in the order of the keys."""
        return list(self._open().items())

    def keys(self) -> list[Any]:
        """Return all keys, in order."""
        return list(self._open().keys())

    def len(self) -> int:
        """Return the number of entries."""
        return len(self._open())

    def remove(self, key: Any) -> Any:
        """Remove a key; return its value, or None. O(log n)."""
        return self._open().remove(key)

    def values(self) -> list[Any]:
        """Return all values, in the order of their keys."""
        return list(self._open().values())


class KybraAdapter(CommonCdkAdapter):
    """How a Kybra canister behaves."""

    name = "kybra"

    def failure(self, message: Message, error: BaseException) -> Trap:
        """Return a trap with `TypeName: message`, with the colon even if there is no message."""
        del message
        return self.failed_source(error)

    def failed_source(self, error: BaseException) -> Trap:
        """Return the trap as for a method."""
        return called_trap(f"{type(error).__name__}: {error}")

    def check_guard(self, guard: Callable[..., Any], message: Message) -> bool:
        """Run a guard: it returns {"Ok": None}, or {"Err": text}, which rejects the call."""
        result = guard()
        if not isinstance(result, dict) or not ({"Ok", "Err"} & result.keys()):
            raise TypeError(f"expected Result but received {type(result).__name__}")
        if "Err" not in result:
            return True
        if message.context.reply is None:
            message.answer(Reply(rejected=True, message=str(result["Err"])))
        return False


# ---- the module ----

Opt = Optional


class GuardResult(TypedDict, total=False):
    """The result of a guard."""

    Ok: None
    Err: str


class Error(Exception):
    """Base of Kybra's exceptions."""


class CandidError(Error):
    """A value that cannot be encoded or decoded."""


ADAPTER: Final = KybraAdapter()

_DECORATORS: Final = ("query", "update", "heartbeat", "pre_upgrade", "inspect_message", "init", "post_upgrade")

_NAMES: Final[dict[str, Any]] = {
    **{name: SCALARS[name] for name in SCALARS if name not in ("int", "bool", "text", "blob", "principal", "null", "reserved", "empty")},
    "text": str,
    "blob": bytes,
    "null": None,
    "void": None,
    "reserved": Any,
    "empty": NoReturn,
    "Opt": Optional,
    "Manual": common.Manual,
    "Async": common.Async,
    "Alias": Annotated[T, None],
    "Tuple": tuple,
    "Vec": list,
    "Record": RECORD,
    "Variant": VARIANT,
    "TimerId": SCALARS["nat64"],
    "Duration": SCALARS["nat64"],
    "GuardResult": GuardResult,
    "GuardType": Callable[..., GuardResult],
    "Query": common.Query,
    "Update": common.Update,
    "Oneway": common.Oneway,
    "Func": common.Func,
    "FuncTuple": kinds.FuncTuple,
    "CallResult": common.CallResult,
    **dict.fromkeys(("NotifyResult", "RejectionCode", "StableMemoryError", "StableGrowResult", "Stable64GrowResult"), dict),
    **dict.fromkeys(("KeyTooLarge", "ValueTooLarge"), dict),
    "Principal": kinds.CdkPrincipal,
    "Service": common.Service,
    "AsyncInfo": common.AsyncInfo,
    "StableBTreeMap": StableBTreeMap,
    "Error": Error,
    "CandidError": CandidError,
    "ic": CdkIc,
    "match": common.match,
    "Generator": Generator,
    **dict.fromkeys(("service_method", "service_query", "service_update"), common.service_method),
}


def modules() -> dict[str, dict[str, Any]]:
    """Return the modules that a canister can import, with their names."""
    names = _NAMES | {role: common.decorator(role) for role in _DECORATORS} | {"canister": lambda cls: cls, "__version__": "0.7.1"}
    return {"kybra": names, **common.canister_modules("kybra")}


__all__ = ["ADAPTER", "CandidCodec", "KybraAdapter", "StableBTreeMap", "icp", "modules", "typing"]
