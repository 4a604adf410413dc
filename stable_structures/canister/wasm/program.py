# SPDX-License-Identifier: Apache-2.0
"""An installed Wasm program: its methods and hooks, its heap, and how a message runs in it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ... import _native as native
from ...encodings.candid.types import Interface
from ...errors import SourceError
from ..calls import Call
from ..errors import Trap, wasm_trap
from ..folder import Folder, State, memory_parts
from ..installed import HeapMode, Method, Pending
from ..installed import Program as Installed
from ..message import INSTALLS, CallContext, Kind, Message, Reply
from ..modules import one_at_a_time
from ..program import program_numbers
from ..source import is_wasm
from . import service
from .binary import FUNCTION, Module, read_module, type_of
from .engine import Compiled, Instance, MachineTrap, compile_module, heap_for, new_heap
from .heap import Heap
from .message import Messenger, trap_of

if TYPE_CHECKING:
    from ...memory.manager import MemoryManager
    from ..canister import Canister

_HOOKS: Final = {Kind.INIT: "canister_init", Kind.PRE_UPGRADE: "canister_pre_upgrade", Kind.POST_UPGRADE: "canister_post_upgrade"}
_METHODS: Final = {"update": Kind.UPDATE, "query": Kind.QUERY, "composite_query": Kind.COMPOSITE_QUERY}
_ONE_WAY: Final = (2**32 - 1, 2**64 - 1)
_MOST_CANDID: Final = 4 << 20
_MOST_INTERFACES: Final = 64
_interfaces: Final[dict[tuple[bytes, str | None], Interface | None]] = {}
"""Interfaces that were determined before, by the hash of the module and the text of its `did`."""


def _no_function() -> None:
    """Do nothing: a Wasm method has no Python function."""


@dataclass(frozen=True)
class WasmCode:
    """A module that can be installed, with its options."""

    module: Module
    did: str | None = None
    path: Path | None = None
    given: bytes = field(default=b"", repr=False)

    @property
    def name(self) -> str:
        """Return the name to show."""
        return "module" if self.path is None else self.path.name.partition(".")[0]

    def interface(self) -> Interface | None:
        """Return the Candid interface; determined at the first use, if needed by running the module. Raises `SourceError`."""
        did = self.did if self.did is not None else service.did_beside(self.path)
        key = (self.module.hash, did)
        if key not in _interfaces:
            while len(_interfaces) >= _MOST_INTERFACES:
                del _interfaces[next(iter(_interfaces))]
            _interfaces[key] = service.find_interface(self.module, did, self._ask)
        return _interfaces[key]

    def _ask(self) -> str | None:
        """Return the result of ic-cdk's `get_candid_pointer`, on a temporary instance, because it allocates."""
        export = self.module.exports.get("get_candid_pointer")
        if export is None or export.kind != FUNCTION or type_of(self.module, export.number) != b"\x60\0\1\x7f":
            return None
        heap = new_heap(is64=self.module.is64)
        instance = Instance(compile_module(self.module), heap)
        handle = native.owned(native.call.ss_ic0_new_message(), native.call.ss_ic0_free_message)
        handle.mode, handle.heap, handle.instruction_limit = native.call.SS_IC0_START, heap.handle, 10**9
        try:
            found: list[int] = []
            one_at_a_time(lambda: found.append(instance.run(instance.function("get_candid_pointer"), handle)))
        except MachineTrap:
            return None
        at = found[0]
        text = heap.read(at, max(0, min(_MOST_CANDID, heap.size - at))) if at < heap.size else b""
        return text.partition(b"\0")[0].decode("utf-8", "replace")


@functools.lru_cache(maxsize=32)
def _read(given: bytes) -> Module:
    """Read a module, or return the one read before; nobody changes it."""
    return read_module(given)


def read_code(given: bytes, did: Any = None, path: Path | None = None) -> WasmCode:
    """Return the code of a module. Raises `SourceError` and `Rejected` (IC0505). O(size) the first time."""
    return WasmCode(_read(given), service.did_text(did), path, given)


class WasmProgram:
    """An installed module."""

    overwrites = False

    def __init__(self, canister: Canister, code: WasmCode, kept: Callable[[], Heap] | None = None) -> None:
        self.canister = canister
        self.code = code
        self.number = next(program_numbers)
        self.manager: MemoryManager | None = None
        self.compiled: Compiled = compile_module(code.module)
        self.methods = {name: Method(name, _METHODS[kind], _no_function) for name, kind in code.module.methods().items()}
        self._entries = {name: f"canister_{kind} {name}" for name, kind in code.module.methods().items()}
        self.instance: Instance
        self._kept = kept
        self._messenger = Messenger(canister, is64=code.module.is64)
        self._exports = code.module.exports
        self._closed = False
        self._interface: list[Interface | None] = []

    @property
    def name(self) -> str:
        """Return the name of its file."""
        return self.code.name

    @property
    def interface(self) -> Interface | None:
        """Return its Candid interface. Raises `SourceError`."""
        if not self._interface:
            self._interface.append(self.code.interface())
        return self._interface[0]

    @property
    def heap(self) -> Heap:
        """Return its heap."""
        return self.instance.heap

    # ---- all or nothing ----

    def image(self, heap: HeapMode) -> Callable[[], None]:
        """Save the globals; the heap itself keeps its committed content. O(globals)."""
        del heap
        manager = self.manager
        self.instance.save_globals()

        largest = 0

        def restore() -> None:
            nonlocal largest
            self.manager, heap = manager, self.instance.heap
            largest = max(largest, heap.size)  # also of a restore that a signal handler cut short
            heap.rollback()
            if heap.size < largest or self.compiled.writes_tables:
                self._make_anew()
            else:
                self.instance.restore_globals()

        return restore

    def _make_anew(self) -> None:
        """Create another instance on the committed heap, with the saved globals."""
        self.instance.make()
        self.instance.heap.rollback()
        self.instance.restore_globals()

    def commit(self) -> None:
        """Keep the content of the heap; tables never survive a message. O(pages that changed)."""
        self.instance.heap.commit()
        if self.compiled.writes_tables:
            self.instance.save_globals()
            self._make_anew()

    def state(self) -> State:
        """Return the state for a snapshot. O(1); writing it is O(bytes)."""
        canister, heap = self.canister, self.instance.heap
        return State(
            self.code.given,
            heap.size,
            heap.parts(),
            canister.memory.nbytes,
            memory_parts(canister.memory),
            self.instance.read_globals(self.snapshot_globals),
            canister.certified_data,
            canister.version,
            canister.time,
            canister.global_timer,
        )

    @property
    def snapshot_globals(self) -> list[str]:
        """Return the mutable globals in the order of the platform's snapshots: exported ones first."""
        first = [f"ss global {one.number}" for one in self.code.module.exported_globals]
        return first + [name for name in self.compiled.globals if name not in first]

    def again(self) -> WasmProgram:
        """Return a program of the same module."""
        return WasmProgram(self.canister, self.code)

    def snapshot(self) -> Callable[[], Installed]:
        """Return a copy of heap and globals. O(heap)."""
        heap, values = self.instance.heap.clone(), self.instance.read_globals(self.compiled.globals)

        def load() -> Installed:
            made = self.again()
            made.begin_with(heap.clone())
            made.instance.write_globals(self.compiled.globals, values)
            return made

        return load

    def close(self) -> None:
        """Free the heap. Do nothing if it never had an instance."""
        self._closed = True
        if hasattr(self, "instance"):
            del self.instance

    def heap_used(self) -> int:
        """Return the bytes of the heap."""
        return self.instance.heap.size

    def run(self, body: Callable[[], None]) -> None:
        """Run the code: Wasm needs no preparation."""
        body()

    def failure(self, message: Message, error: BaseException) -> Trap:
        """Raise the error: Python exceptions come from the harness itself, so they are not traps."""
        del message
        raise error

    # ---- the first code, hooks ----

    def load(self, message: Message) -> None:
        """Create the instance, on a new heap or on the kept one, and run (start)."""
        module = self.code.module
        heap = new_heap(is64=module.is64) if self._kept is None else heap_for(self._kept(), is64=module.is64)
        if self._kept is not None and heap.size < module.minimum * 65536:
            heap.grow(module.minimum * 65536)
            heap.commit()
        keeps, self._kept = self._kept is not None, None
        self.instance = Instance(self.compiled, heap)
        if keeps:
            heap.rollback()
        if "ss start" in self.compiled.exports:
            kind, message.kind = message.kind, Kind.START
            self._run("ss start", message)
            message.kind = kind

    def begin_with(self, heap: Heap) -> None:
        """Create the instance on a heap that holds a snapshot."""
        self._kept = None
        self.instance = Instance(self.compiled, heap)
        heap.rollback()

    def lifecycle(self, kind: Kind, args: tuple[Any, ...], message: Message) -> None:
        """Run the hook of a lifecycle message."""
        del args
        if _HOOKS[kind] in self._exports:
            self._run(_HOOKS[kind], message)

    def has_inspect(self) -> bool:
        """Return whether it exports canister_inspect_message."""
        return "canister_inspect_message" in self._exports

    def inspect(self, message: Message) -> None:
        """Run canister_inspect_message."""
        self._run("canister_inspect_message", message)

    # ---- messages ----

    def enter(self, method: Method, message: Message) -> None:
        """Run a method."""
        self._run_function(self.instance.function(self._entries[method.name]), message)

    def run_callback(self, index: int, environment: int, message: Message, reply: Reply | None) -> None:
        """Run a function of the table."""
        try:
            function = self.instance.table_function(index)
        except MachineTrap as error:
            message.raise_trap(trap_of(error))
        self._run_function(function, message, environment, reply)

    def _run(self, export: str, message: Message) -> None:
        self._run_function(self.instance.function(export), message)

    def _run_function(self, function: int, message: Message, environment: int | None = None, reply: Reply | None = None) -> None:
        canister, context = message.canister, message.context
        had_reply = context.reply is not None
        limit = canister.limits.instructions(message.kind)
        if message.kind in INSTALLS:  # one limit for all hooks of an upgrade
            limit = max(0, limit - context.instructions)
        handle = self._messenger.fill(message, self.instance.heap, limit, reply)
        try:
            self.instance.run(function, handle, environment)
        except MachineTrap as error:
            message.raise_trap(trap_of(error))
        finally:
            canister.instructions = handle.instructions
            context.instructions += handle.instructions
            canister.note_instructions(message.kind, handle.instructions)
            self._messenger.keep_log()
        if handle.instructions > limit:
            text = f"Canister exceeded the limit of {limit} instructions for single message execution."
            message.raise_trap(trap_of(MachineTrap(522, text)))
        for call, callbacks in self._messenger.apply(message, had_reply):
            message.pending.append(Pending(call, _callback_of(callbacks)))

    # ---- values ----

    def prepare(self, args: tuple[Any, ...], method: Method) -> tuple[Any, ...]:
        """Return the arguments as one message."""
        return (service.arguments(self.interface, method.name, args),)

    def receive(self, call: Call, method: Method) -> tuple[Any, ...]:
        """Return the arguments of another canister's call."""
        return call.args if call.raw else self.prepare(call.args, method)

    def outward(self, reply: Reply) -> Reply:
        """Return the reply itself: bytes need no copy."""
        return reply

    def returned(self, method: Method, context: CallContext) -> Reply | None:
        """Return None: a Wasm method replies itself, or not at all."""
        del method, context
        return None

    def respond(self, call: Call, method: Method, reply: Reply) -> Reply:
        """Return the reply as values if the caller is Python."""
        if call.raw or reply.rejected:
            return reply
        return Reply(service.answer(self.interface, method.name, reply.value))

    def show(self, reply: Reply, method: Method) -> Any:
        """Return the value of a reply."""
        return service.answer(self.interface, method.name, reply.value)

    # ---- time ----

    def next_timer(self, until: int) -> tuple[int, Callable[[Message], None]] | None:
        """Return the global timer if it is due, and clear it before canister_global_timer runs."""
        due = self.canister.global_timer
        if not due or due > until:
            return None
        self.canister.global_timer = 0
        if "canister_global_timer" not in self._exports:
            return None
        return due, lambda message: self._run("canister_global_timer", message)

    def heartbeat(self) -> Callable[[Message], None] | None:
        """Return a function that runs canister_heartbeat; None if it is not exported."""
        return self.exported("canister_heartbeat")

    def exported(self, name: str) -> Callable[[Message], None] | None:
        """Return a function that runs an entry point without arguments; None if it is not exported."""
        return (lambda message: self._run(name, message)) if name in self._exports else None


def program_of_folder(canister: Canister, folder: Folder, did: Any = None) -> WasmProgram:
    """Return the program of a snapshot. Raises `SourceError` if module and metadata do not match."""
    if not is_wasm(folder.module):
        raise SourceError(
            f"{folder.path}: its module is not Wasm; a canister in Python is upgraded with: stable-structures canister upgrade"
        )
    made = WasmProgram(canister, read_code(folder.module, did))
    module = made.code.module
    if module.has_memory and folder.heap_size < module.minimum * 65536:
        raise SourceError(
            f"{folder.path}: the heap has {folder.heap_size} bytes, the module begins with {module.minimum * 65536}: "
            "files of two snapshots are mixed"
        )
    heap = new_heap(is64=module.is64)
    if folder.heap is not None:
        heap.load(folder.heap, folder.heap_size)
    made.begin_with(heap)
    names = made.snapshot_globals
    if len(folder.globals) < len(names):
        raise SourceError(
            f"{folder.path}: the metadata have {len(folder.globals)} globals, the module {len(names)}: files of two snapshots are mixed"
        )
    try:
        made.instance.write_globals(names, folder.globals[: len(names)])
    except ValueError as error:
        raise SourceError(f"{folder.path}: {error}: files of two snapshots are mixed") from None
    return made


@dataclass
class _Callback:
    """The arguments of `call_new`: functions of the table and their environments."""

    reply: tuple[int, int]
    reject: tuple[int, int]
    on_cleanup: tuple[int, int] | None

    @property
    def cleanup(self) -> Callable[[Message], None] | None:
        """Return the cleanup function."""
        return None if self.on_cleanup is None else self._clean_up

    def _clean_up(self, message: Message) -> None:
        program = message.canister.program
        if isinstance(program, WasmProgram) and self.on_cleanup is not None:
            program.run_callback(*self.on_cleanup, message, None)

    def belongs_to(self, program: Installed) -> bool:
        """Return True for any Wasm program: a callback is a number of the table, after an upgrade one of the new program's table."""
        return isinstance(program, WasmProgram)

    def run(self, message: Message, reply: Reply) -> None:
        """Run the one or the other."""
        program = message.canister.program
        if not isinstance(program, WasmProgram):
            raise wasm_trap("the canister runs no Wasm")
        program.run_callback(*(self.reject if reply.rejected else self.reply), message, reply)


def _callback_of(given: tuple[int, ...]) -> _Callback | None:
    """Return the callbacks of a call; None for a call that waits for no answer, which has functions that no table can have."""
    if given[0] in _ONE_WAY and given[2] in _ONE_WAY:
        return None
    return _Callback((given[0], given[1]), (given[2], given[3]), (given[5], given[6]) if given[4] else None)
