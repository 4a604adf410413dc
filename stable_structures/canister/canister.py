# SPDX-License-Identifier: Apache-2.0
"""`Canister`: a canister in the test process, installed, called, stopped, upgraded and rolled back as the platform does it.

The file is long because it holds one public class, a third of it docstrings and examples. How a message runs is in `execution`,
what a program is in `program` and `wasm`, snapshots are in `snapshot` and `folder`.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NoReturn, Self, SupportsIndex, TypeVar

from ..encodings.candid.codec import EMPTY, CandidError
from ..errors import Unsupported
from ..memory.memory import PAGE_SIZE, NativeMemory, RestrictedMemory, StableMemory
from ..memory.stored import alive
from ..principal import Principal
from ..structures.structure import Structure
from . import calls, core
from . import message as messages
from .actor import PLAIN
from .errors import ErrorCode, Rejected, Trapped
from .execution import Execution, Limits, method_or_reject, no_module
from .folder import read_folder, write_folder
from .given import Persistence, install_args, keeps_heap, memory_of, new_principal, principal_of
from .installed import HeapMode, Method, Program
from .message import CallContext, Kind, Message, Outcome, Reply
from .program import Program as PythonProgram
from .program import Timers, release
from .routing import Respond
from .snapshot import Snapshot
from .source import Code as PythonCode
from .source import Source, read_source, wasm_of
from .tracebacks import shorten, without_our_frames

if TYPE_CHECKING:
    from types import TracebackType

    from ..memory.manager import MemoryManager
    from .source import Code
    from .variables import UpgradeReport
    from .wasm.heap import Heap
    from .wasm.program import WasmCode, WasmProgram

Status = Literal["running", "stopping", "stopped"]
H = TypeVar("H", bound=calls.Handler)

START_TIME: Final = 1_620_328_630_000_000_000
"""The time at which a canister's clock begins, in nanoseconds: 6 May 2021, as in the platform's own test server."""
_NANOSECONDS: Final = 1_000_000_000
_LAST_TIME: Final = 2**64 - 1
_MOST_ROUNDS: Final = 1000


class Canister:
    """A canister under test. Create one with `Canister.install(source)`; `Canister()` is an empty one.

    `memory` is the stable memory (another object after reinstall and uninstall), `logs` what the canister printed and its
    traps, `time` its clock in nanoseconds, `cycles` its balance, `controllers`, `certified_data` and `data_certificate` plain
    attributes. Only one canister runs at a time in a process; other threads wait.

    >>> from stable_structures.canister import Canister
    >>> counter = Canister.install('''
    ... from stable_structures.canister import update
    ... count = 0
    ... @update
    ... def inc():
    ...     global count
    ...     count += 1
    ...     return count
    ... ''')
    >>> counter.call("inc"), counter.call("inc"), counter.status, counter.version
    (1, 2, 'running', 3)
    """

    _known: ClassVar[weakref.WeakValueDictionary[Principal, Canister]] = weakref.WeakValueDictionary()
    _timed: ClassVar[weakref.WeakSet[Canister]] = weakref.WeakSet()

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        memory: StableMemory | bytes | None = None,
        *,
        id: Principal | str | None = None,  # noqa: A002 - the platform's word
        controllers: Iterable[Principal | str] = (),
        limits: Limits | None = None,
        heap: HeapMode = "restore",
        env: dict[str, str] | None = None,
    ) -> None:
        """Create an empty canister of version 0. See `install` for the arguments."""
        self.limits = Limits() if limits is None else limits
        self.id = new_principal() if id is None else principal_of(id)
        self.controllers: list[Principal] = [principal_of(one) for one in controllers] or [Principal.anonymous()]
        self.memory: NativeMemory = self._stable_memory(memory)
        self.heap: HeapMode = heap
        self.status: Status = "running"
        self.version = 0
        self.time = START_TIME
        self.cycles = 10**13
        self.logs: list[str] = []
        self.certified_data = b""
        self.data_certificate: bytes | None = b"certificate of the test"
        self.global_timer = 0
        """When the timer of a Wasm program is due, in nanoseconds; 0 for none."""
        self.last_upgrade: UpgradeReport | None = None
        self.handlers: dict[tuple[Principal, str], calls.Handler] = {}
        self.is_in_folder = False
        """Whether a folder keeps it: no test can register functions there, so calls that the harness does not have are rejected."""
        self._program: Program | None = None
        self._empty_timers = Timers()
        self._execution = Execution(self)
        self.env: dict[str, str] = dict(env or {})
        """Environment variables that a Wasm program can ask for."""
        self.children: dict[Principal, Canister] = {}
        """Canisters that it made itself."""
        self.subnet = Principal(b"\x01" * 28 + b"\x02")
        self.root_key = b"root key of the test"
        self.instructions = 0
        """Instructions that the last message of a Wasm program used."""
        self.call_instructions = 0
        """Instructions of all messages of the last call from outside (Wasm)."""
        self.last_changed = 0
        """Bytes of stable memory that the last message changed, in blocks of 4 KiB."""
        self.last_changes: dict[Kind, int] = {}
        """The same for the last message of each kind; an upgrade is one of kind POST_UPGRADE, with all its hooks."""
        self.last_instructions: dict[Kind, int] = {}
        """Instructions that the last message of each kind used (Wasm)."""
        self._snapshots: list[weakref.ref[Snapshot]] = []
        self._under_way: dict[Principal, int] = {}
        Canister._known[self.id] = self

    def _stable_memory(self, given: StableMemory | bytes | None) -> NativeMemory:
        pages = self.limits.stable_memory // PAGE_SIZE
        if given is None:
            return StableMemory(max_pages=pages)
        if isinstance(given, (bytes, bytearray, memoryview)):
            return memory_of(bytes(given), pages)
        if not isinstance(given, StableMemory):
            raise TypeError(
                f"a canister's memory must be a StableMemory or an image's bytes, got {type(given).__name__}: rollback needs transactions"
            )
        return given if given.reserved_pages <= pages else RestrictedMemory(given, range(pages))

    # ---- install, upgrade, uninstall ----

    @classmethod
    @without_our_frames
    def install(  # noqa: PLR0913 - each by its name
        cls,
        source: Source,
        arg: Any = None,
        memory: StableMemory | bytes | None = None,
        *,
        id: Principal | str | None = None,  # noqa: A002 - the platform's word
        controllers: Iterable[Principal | str] = (),
        limits: Limits | None = None,
        heap: HeapMode = "restore",
        caller: Principal | str | None = None,
        did: str | os.PathLike[str] | None = None,
        env: dict[str, str] | None = None,
    ) -> Self:
        r"""Return a new canister that runs `source`: a .py file, a package folder, a module, source text, or a Wasm module.

        A Wasm module is a .wasm or .wasm.gz file or its bytes, as Rust, Motoko or TypeScript compile to; it needs
        `pip install 'stable-structures[wasm]'`. `did` is its Candid interface (a file or its text), if the module does not contain
        it; `env` are its environment variables. `heap` does not apply: its memory, globals and tables are restored as on the platform.

        The source runs in new modules, then its `@init` hook with `arg` (a tuple is several arguments). A `memory` that is not
        empty, for example the snapshot of a real canister, is continued: then `@post_upgrade` runs instead of `@init`. Bytes are
        copied into a new memory.

        `heap` says what a trap does to Python's objects: "restore" restores their content as far as possible
        (see `stable_structures.canister.heap`; O(objects) for each message), "reimport" runs the source again, "keep" leaves them.

        Raises `Trapped` if the source or the hook fails (nothing is installed then), `SourceError`. Source: interface specification
        (install_code).

        >>> from stable_structures.canister import Canister
        >>> source = "from stable_structures.canister import ic, query\n@query\ndef who():\n    return ic.caller()"
        >>> Canister.install(source).call("who", caller="2vxsx-fae")
        Principal.from_text('2vxsx-fae')
        """
        self = cls(memory, id=id, controllers=controllers, limits=limits, heap=heap, env=env)
        kind = Kind.POST_UPGRADE if self.memory.size() else Kind.INIT
        self._install(self._read(source, did), kind, arg, self.controllers[0] if caller is None else principal_of(caller))
        return self

    def _read(self, source: Source, did: str | os.PathLike[str] | None = None) -> Code | WasmCode:
        """Return the code of a source. Raises `SourceError`, and `Unsupported` for Wasm without the extra."""
        given = wasm_of(source)
        if given is None:
            if did is not None:
                raise TypeError("did= is only for Wasm modules; annotate the methods of a Python canister instead")
            return read_source(source)
        if self.heap != "restore":
            raise TypeError(f"heap={self.heap!r} is for canisters in Python; the heap of a Wasm module is always restored; leave out heap=")
        from .wasm.program import read_code  # noqa: PLC0415 - wasmtime is for those who use it

        return read_code(given[0], did, given[1])

    def _new_program(self, code: Code | WasmCode, kept: Callable[[], Heap] | None = None) -> Program:
        if isinstance(code, PythonCode):
            return PythonProgram(code, PLAIN)
        from .wasm.program import WasmProgram  # noqa: PLC0415 - as above

        return WasmProgram(self, code, kept)

    @without_our_frames
    def upgrade(  # noqa: PLR0913 - each by its name
        self,
        source: Source | None = None,
        arg: Any = None,
        *,
        skip_pre_upgrade: bool = False,
        memory: StableMemory | bytes | None = None,
        caller: Principal | str | None = None,
        did: str | os.PathLike[str] | None = None,
        wasm_memory_persistence: Persistence | None = "auto",
    ) -> UpgradeReport | None:
        r"""Install new code: run the old `@pre_upgrade`, then the new source and its `@post_upgrade`. Stable memory stays.

        `source` None is the same code again. The old heap, timers and waiting calls are gone. The upgrade is all or nothing: on
        any trap the old program continues with the stable memory as it was. With `memory`, the canister continues with that
        memory (a snapshot of a real canister) and the old program's hook does not run.

        `wasm_memory_persistence` is the platform's option for Motoko's enhanced orthogonal persistence; "auto" keeps the heap where
        both modules support it.

        Returns a report if the program has stable variables. Raises `Trapped`, `Rejected` for a caller who is not a controller
        (IC0512) and for an empty canister. Source: interface specification (install_code).

        >>> from stable_structures.canister import Canister
        >>> v1 = "from stable_structures.canister import query\n@query\ndef version():\n    return 1"
        >>> canister = Canister.install(v1)
        >>> canister.upgrade(v1.replace("1", "2"))
        >>> canister.call("version"), canister.version
        (2, 2)
        """
        self._check_controller(caller)
        program = self._program
        if program is None:
            raise no_module()
        code = program.code if source is None else self._read(source, did)
        by = self.controllers[0] if caller is None else principal_of(caller)
        if memory is not None:
            self._replace(self._stable_memory(memory), lambda: self._exchange_code(code, Kind.POST_UPGRADE, arg, by))
        else:
            keep = keeps_heap(program.code, code, wasm_memory_persistence)
            self._exchange_code(code, Kind.POST_UPGRADE, arg, by, pre_upgrade=not skip_pre_upgrade, keep=keep)
        self._run_due_timers()
        return self.last_upgrade

    @without_our_frames
    def reinstall(
        self,
        source: Source,
        arg: Any = None,
        *,
        caller: Principal | str | None = None,
        did: str | os.PathLike[str] | None = None,
    ) -> None:
        """Start over with empty stable memory, as a new object `memory`. If it traps, everything is as before.

        Source: interface specification (install_code).
        """
        self._check_controller(caller)
        code = self._read(source, did)
        by = self.controllers[0] if caller is None else principal_of(caller)
        certified, self.certified_data = self.certified_data, b""
        try:
            self._replace(self._stable_memory(None), lambda: self._exchange_code(code, Kind.INIT, arg, by))
        except BaseException:
            self.certified_data = certified
            raise
        self._run_due_timers()

    @without_our_frames
    def uninstall(self, *, caller: Principal | str | None = None) -> None:
        """Drop the code, the heap and the stable memory; the identity, the balance and the status stay.

        Source: interface specification (install_code; canister status).
        """
        self._check_controller(caller)
        self._check_idle()
        self.memory, self.certified_data = self._stable_memory(None), b""
        self._program = None
        self.version += 1

    @without_our_frames
    def install_code(
        self,
        source: Source,
        arg: Any = None,
        *,
        caller: Principal | str | None = None,
        did: str | os.PathLike[str] | None = None,
    ) -> None:
        """Install into this canister, which must be empty. Raises `Rejected` (IC0514) if it is not.

        Source: interface specification (install_code).
        """
        self._check_controller(caller)
        if self._program is not None:
            text = (
                f"Canister {self.id} cannot be installed because the canister is not empty. Try installing with mode='reinstall' instead."
            )
            raise Rejected(ErrorCode.NON_EMPTY, text)
        kind = Kind.POST_UPGRADE if self.memory.size() else Kind.INIT
        self._install(self._read(source, did), kind, arg, self.controllers[0] if caller is None else principal_of(caller))

    def _replace(self, memory: NativeMemory, install: Callable[[], None]) -> None:
        """Install on another memory; go back to the old one if it fails."""
        old, program = self.memory, self._program
        self.memory, self._program = memory, None
        try:
            install()
        except BaseException:
            self.memory, self._program = old, program
            raise
        if program is not None:
            program.close()

    def _install(self, code: Code | WasmCode, kind: Kind, arg: Any, caller: Principal) -> None:
        """Install, then run what the new code began with delay 0."""
        self._exchange_code(code, kind, arg, caller)
        self._run_due_timers()

    def _exchange_code(  # noqa: PLR0913 - each by its name
        self,
        code: Code | WasmCode,
        kind: Kind,
        arg: Any,
        caller: Principal,
        *,
        pre_upgrade: bool = False,
        keep: bool = False,
    ) -> None:
        """Run the hooks of an install or upgrade and put the new program in place, all or nothing."""
        self._check_idle()
        execution, old = self._execution, self._program
        kept_by: Any = old
        new = self._new_program(code, kept_by.heap.clone if keep else None)  # called after the last hook of the old program
        context = CallContext(caller, kind.value, install_args(code, arg), Reply())
        self.last_instructions = {}
        left_open = [] if old is None else self._structures()

        def start(message: Message) -> None:
            new.load(message)
            new.lifecycle(kind, context.args, message)

        def replace() -> None:
            if old is not None and pre_upgrade:
                execution.running(execution.message(Kind.PRE_UPGRADE, context), partial(old.lifecycle, Kind.PRE_UPGRADE, ()))
            self.put_program(new)
            self.last_upgrade, self.global_timer = None, 0
            message = execution.message(kind, context)
            message.version = self.version + 1
            execution.running(message, start)

        execution.atomic(kind, replace, counts=True)
        self._retire(left_open)
        if old is not None:
            old.close()

    def _retire(self, structures: list[weakref.ref[Structure]]) -> None:
        """Close what the old program left open, so that nobody writes through it; but not while a snapshot may restore it."""
        if any(ref() is not None for ref in self._snapshots):
            return
        for ref in structures:
            structure = ref()
            if structure is not None:
                release(structure)

    def _structures(self) -> list[weakref.ref[Structure]]:
        """Return the structures that are open on the stable memory. O(structures of the process)."""
        found = [item for item in alive() if isinstance(item, Structure) and core.same_memory(item._native_memory, self.memory)]
        return [weakref.ref(item) for item in found]

    def put_program(self, program: Program | None) -> None:
        """Make a program the running one (for the harness)."""
        self._program = program
        if program is not None:
            core.use_by(self.memory, program.number)

    @without_our_frames
    def reimport(self) -> None:
        """Run the program's source again, without hooks: the strict way to reset Python's globals after a trap.

        Everything that does not come from stable memory is then as after an import. Raises `Trapped` if that fails.
        """
        old = self._program
        if old is None:
            raise no_module()
        if self._is_wasm(old):
            raise Unsupported("reimport is for canisters in Python: the heap of a Wasm module is always restored")
        new, execution, left_open = old.again(), self._execution, self._structures()

        def replace() -> None:
            self.put_program(new)
            execution.running(execution.message(Kind.POST_UPGRADE, execution.system_context()), new.load)

        execution.atomic(Kind.POST_UPGRADE, replace)
        self._retire(left_open)

    def run_pre_upgrade(self) -> None:
        """Run the program's pre-upgrade hook without an upgrade: the stable memory then holds what it saved. Raises `Trapped`."""
        self._check_idle()
        program = self._program
        if program is None:
            raise no_module()
        context = CallContext(self.controllers[0], Kind.PRE_UPGRADE.value, (), Reply())
        execution = self._execution
        message = execution.message(Kind.PRE_UPGRADE, context)
        execution.atomic(Kind.PRE_UPGRADE, lambda: execution.running(message, partial(program.lifecycle, Kind.PRE_UPGRADE, ())))

    def resume(self, source: Source) -> None:
        """Continue with Python source on the stable memory as `run_pre_upgrade` left it; the version stays. Raises `Trapped`."""
        version = self.version
        self._install(self._read(source), Kind.POST_UPGRADE, None, self.controllers[0])
        self.version = version

    # ---- calls ----

    @without_our_frames
    def call(self, method: str, *args: Any, caller: Principal | str | None = None, cycles: int = 0) -> Any:
        """Call an update method, or a query method as an update; return its reply.

        Arguments and reply are passed as copies. All changes stay, or none if it traps; a method that waits for other canisters
        commits each time it waits. O(its work and, with heap="restore", the program's objects).

        Raises `Trapped`, or `Rejected`: by the method, by `@inspect_message`, for an unknown method (IC0536), a stopped
        (IC0508) or empty canister (IC0537), and for a method that never replies (IC0506). Source: interface specification (entry points;
        canister status).
        """
        self._check_idle()
        program = self._ready()
        found = method_or_reject(program, method, query=False)
        context = CallContext(self._caller(caller), method, program.prepare(args, found), cycles=cycles, found=found)
        self._inspect(program, context)
        return program.show(self._answer(found, Kind.QUERY if found.kind is Kind.QUERY else Kind.UPDATE, context), found)

    @without_our_frames
    def call_raw(self, method: str, arg: bytes = EMPTY, *, caller: Principal | str | None = None, cycles: int = 0) -> bytes:
        """Call an update method, or a query method as an update, with a Candid message; return the reply's message.

        Otherwise as `call`.
        """
        return self._raw(method, arg, Kind.UPDATE, CallContext(self._caller(caller), method, (), cycles=cycles))

    @without_our_frames
    def query_raw(self, method: str, arg: bytes = EMPTY, *, caller: Principal | str | None = None) -> bytes:
        """Call a query or composite query with a Candid message; return the reply's message. Otherwise as `query`."""
        return self._raw(method, arg, Kind.QUERY, CallContext(self._caller(caller), method, (), replicated=False))

    def _raw(self, method: str, arg: bytes, kind: Kind, context: CallContext) -> bytes:
        self._check_idle()
        program = self._ready()
        found = method_or_reject(program, method, query=kind is Kind.QUERY)
        call = calls.Call(self.id, method, (bytes(arg),), raw=True)
        context.found, context.args = found, _received(program, call, found)
        if kind is Kind.UPDATE:
            self._inspect(program, context)
        reply = self._answer(found, found.kind if kind is Kind.QUERY or found.kind is Kind.QUERY else kind, context)
        answer: bytes = program.respond(call, found, reply).value
        return answer

    @without_our_frames
    def query(self, method: str, *args: Any, caller: Principal | str | None = None) -> Any:
        """Call a query or composite query; whatever it changes is undone. Raises as `call` does.

        Source: interface specification (entry points).

        >>> from stable_structures.canister import Canister
        >>> canister = Canister.install('''
        ... from stable_structures.canister import query
        ... seen = []
        ... @query
        ... def look():
        ...     seen.append("me")
        ...     return len(seen)
        ... ''')
        >>> canister.query("look"), canister.query("look")
        (1, 1)
        """
        self._check_idle()
        program = self._ready()
        found = method_or_reject(program, method, query=True)
        context = CallContext(self._caller(caller), method, program.prepare(args, found), found=found, replicated=False)
        return program.show(self._answer(found, found.kind, context), found)

    def _answer(self, found: Method, kind: Kind, context: CallContext) -> Reply:
        """Run a call of the test to its end; return its reply. Raises `Rejected` if it was rejected."""
        program = self._ready()
        outcome = self._execution.run(kind, context, lambda message: program.enter(found, message))
        self.call_instructions = context.instructions
        if context.replicated:
            self._run_due_timers()
        if isinstance(outcome, Rejected):
            raise outcome
        reply = outcome or Reply()
        if reply.rejected:
            raise Rejected(ErrorCode.CANISTER_REJECTED, reply.message, reply.code)
        return reply

    def receive(self, call: calls.Call, caller: Principal, respond: Respond, *, query: bool) -> None:
        """Run a call from another canister; pass its reply and the refunded cycles to `respond` (for the harness)."""
        deadline = getattr(call, "deadline", 0)
        context = CallContext(caller, call.method, (), cycles=call.cycles, by_canister=True, replicated=not query, deadline=deadline)
        try:
            program = self._ready()
            found = method_or_reject(program, call.method, query=query)
            context.found, context.args = found, _received(program, call, found)
        except Rejected as error:
            respond(calls.rejection_of(error), context.cycles)
            return

        def answered(outcome: Outcome) -> None:
            try:
                reply = calls.rejection_of(outcome) if isinstance(outcome, Rejected) else program.respond(call, found, outcome)
            except Rejected as error:
                reply = calls.rejection_of(error)
            respond(reply, context.cycles)

        context.respond = answered
        kind = found.kind if query or found.kind is Kind.QUERY else Kind.UPDATE
        self._execution.begin(kind, context, lambda message: program.enter(found, message))

    def _inspect(self, program: Program, context: CallContext) -> None:
        """Let `@inspect_message`, if there is one, check a call from outside."""
        if not program.has_inspect():
            return
        execution = self._execution
        message = execution.message(Kind.INSPECT, context)
        execution.atomic(Kind.INSPECT, lambda: execution.running(message, program.inspect))
        context.instructions = 0  # the call itself begins afterwards
        if not message.accepted:
            raise Rejected(ErrorCode.REJECTED_MESSAGE, "Canister rejected the message")

    def _caller(self, caller: Principal | str | None) -> Principal:
        return Principal.anonymous() if caller is None else principal_of(caller)

    def _ready(self) -> Program:
        """Return the program; raise if the canister does not accept calls."""
        if self.status == "stopped":
            raise Rejected(ErrorCode.STOPPED, f"Canister {self.id} is stopped and therefore does not have a CallContextManager")
        if self.status == "stopping":
            raise Rejected(ErrorCode.STOPPING, f"Canister {self.id} is stopping")
        if self._program is None:
            raise no_module()
        return self._program

    def _check_idle(self) -> None:
        if messages.is_running():
            raise RuntimeError("a canister's code is running: inside it, reach other canisters by ic.call, not through a Canister object")

    def _check_controller(self, caller: Principal | str | None) -> None:
        if caller is not None and principal_of(caller) not in self.controllers:
            raise Rejected(ErrorCode.INVALID_CONTROLLER, f"Only the controllers of the canister {self.id} can control it.")

    # ---- status ----

    @without_our_frames
    def stop(self, *, caller: Principal | str | None = None) -> None:
        """Stop the canister: no calls, timers or heartbeats. While calls are open it is "stopping", until they are answered.

        Each step counts one version, so stopping a quiet canister counts two. Source: interface specification (canister version; canister
        status).
        """
        self._check_controller(caller)
        self.version += 1
        if self.status == "running":
            self.status = "stopping"
            self.context_closed()

    @without_our_frames
    def start(self, *, caller: Principal | str | None = None) -> None:
        """Start again; counts one version even if it runs. Source: interface specification (canister version; canister status)."""
        self._check_controller(caller)
        self.version += 1
        self.status = "running"

    def context_closed(self) -> None:
        """Note that a call was answered (for the harness)."""
        if self.status == "stopping" and not self._execution.open_contexts:
            self.status = "stopped"
            self.version += 1

    def count_version(self) -> None:
        """Note that a message changed the canister (for the harness)."""
        self.version += 1

    def count_call(self, callee: Principal, change: int) -> None:
        """Note that this canister made a call, or that one was answered (for the harness)."""
        self._under_way[callee] = self._under_way.get(callee, 0) + change

    @property
    def under_way(self) -> dict[Principal, int]:
        """Return how many calls to each canister are open (for the harness)."""
        return self._under_way

    @property
    def composite_is_open(self) -> bool:
        """Return whether the canister waits in a composite query (for the harness)."""
        return self._execution.composite

    # ---- time ----

    def advance_time(self, seconds: float = 0, *, rounds: int = 1) -> list[Trapped]:
        """Let time pass: timers run when they are due, each as a separate message, and the heartbeat once per round.

        The time is divided into `rounds` equal parts. Nothing runs unless the canister is running; its due timers then run later.
        Returns what trapped: a timer or heartbeat that traps is rolled back, and only the log records it.
        Source: interface specification (limits; install_code; canister status).

        >>> from stable_structures.canister import Canister
        >>> canister = Canister.install('''
        ... from stable_structures.canister import ic, init, query
        ... ticks = []
        ... @init
        ... def begin():
        ...     ic.set_timer_interval(60, lambda: ticks.append(ic.time() // 10**9))
        ... @query
        ... def count():
        ...     return len(ticks)
        ... ''')
        >>> canister.advance_time(600), canister.query("count")
        ([], 10)
        """
        self._check_idle()
        if not seconds >= 0 or rounds < 1:  # so that a NaN is refused too
            raise ValueError(f"advance_time: expected seconds of 0 or more and at least one round, got {seconds} seconds in {rounds}")
        if seconds > (_LAST_TIME - self.time) / _NANOSECONDS:
            raise ValueError(f"advance_time: {seconds} seconds are more than the clock has left: it counts nanoseconds in 64 bits")
        trapped: list[Trapped] = []
        start, span = self.time, round(seconds * _NANOSECONDS)
        for number in range(1, rounds + 1):
            self._run_timers(start + span * number // rounds, trapped)
            self._run_heartbeat(trapped)
        self._run_due_timers()
        return trapped

    def set_global_timer(self, due: int) -> None:
        """Set the timer of a Wasm program (for the harness)."""
        self.global_timer = due
        Canister._timed.add(self)

    def _run_due_timers(self) -> None:
        """Run due timers of Wasm programs at once, so that whatever a canister starts with delay 0 is done."""
        if not Canister._timed:
            return
        for _ in range(_MOST_ROUNDS):
            waiting = list(Canister._timed)
            Canister._timed.difference_update([one for one in waiting if not one.global_timer or one._program is None])
            due = [one for one in Canister._timed if one.global_timer <= one.time and one.status == "running"]
            if not due:
                return
            for one in due:
                one._run_timers(one.time, [])

    def run_low_memory_hook(self) -> list[Trapped]:
        """Run `canister_on_low_wasm_memory` of a Wasm program, if it has one, as a separate message; return what trapped."""
        self._check_idle()
        program = self._ready()
        trapped: list[Trapped] = []
        hook = self._wasm.exported("canister_on_low_wasm_memory") if self._is_wasm(program) else None
        if hook is not None:
            self._run_task(Kind.TIMER, hook, trapped)
        return trapped

    def _run_timers(self, until: int, trapped: list[Trapped]) -> None:
        while self.status == "running" and self._program is not None:
            timer = self._program.next_timer(until)
            if timer is None:
                break
            self.time = max(self.time, timer[0])
            self._run_task(Kind.TIMER, timer[1], trapped)
        self.time = max(self.time, until)

    def _run_heartbeat(self, trapped: list[Trapped]) -> None:
        beat = None if self._program is None else self._program.heartbeat()
        if self.status == "running" and beat is not None:
            self._run_task(Kind.HEARTBEAT, beat, trapped)

    def _run_task(self, kind: Kind, function: Callable[[Message], None], trapped: list[Trapped]) -> None:
        outcome = self._execution.run(kind, self._execution.system_context(), function)
        if isinstance(outcome, Trapped):
            shorten(outcome)
            trapped.append(outcome)

    @property
    def timers(self) -> Timers:
        """Return the timers of a Python program; a Wasm program keeps its own, see `global_timer`."""
        return self._program.timers if isinstance(self._program, PythonProgram) else self._empty_timers

    # ---- snapshots ----

    @without_our_frames
    def snapshot(self) -> Snapshot:
        """Return code, heap, stable memory and certified data at this moment. O(objects + stable memory). At most 10 live ones.

        It is valid for this canister only, for any number of `load_snapshot`; `snapshot().image` are the bytes of the stable
        memory. Raises `Rejected` for an empty canister. Source: interface specification (limits; canister status).
        """
        self._check_idle()
        self._snapshots = [ref for ref in self._snapshots if ref() is not None]
        if len(self._snapshots) >= self.limits.snapshots:
            raise Rejected(
                ErrorCode.CONTRACT_VIOLATION,
                f"Canister {self.id} has reached the maximum number of snapshots allowed: {self.limits.snapshots}.",
            )
        if self._program is None:
            raise no_module()
        taken = Snapshot(self, self._program)
        self._snapshots.append(weakref.ref(taken))
        return taken

    @without_our_frames
    def load_snapshot(self, snapshot: Snapshot) -> None:
        """Put code, heap, stable memory and certified data back; the version continues to count.

        Timers are part of the heap, so they are restored too.

        Stable memory in a file cannot shrink; raises `Unsupported` if it would have to. Source: interface specification (canister
        version; canister status).
        """
        self._check_idle()
        snapshot.load(self)
        self.version += 1

    @classmethod
    def from_snapshot(  # noqa: PLR0913 - each by its name
        cls,
        folder: str | os.PathLike[str],
        *,
        id: Principal | str | None = None,  # noqa: A002 - the platform's word
        controllers: Iterable[Principal | str] = (),
        limits: Limits | None = None,
        did: str | os.PathLike[str] | None = None,
        env: dict[str, str] | None = None,
    ) -> Self:
        """Return a canister from a snapshot of dfx, icp-cli or Juno: module, heap, globals, stable memory, certified data, version.

        The global timer is set if the snapshot says so. The folder is never written: heap and stable memory read its files directly,
        so those must not change while the canister lives. O(size of the module).

        Raises `SourceError` for an invalid or incompletely downloaded snapshot, `Rejected` (IC0505) for its
        module, `Unsupported` without `pip install 'stable-structures[wasm]'`.
        """
        from .wasm.program import program_of_folder  # noqa: PLC0415 - wasmtime is for those who use it

        given = read_folder(folder)
        self = cls(id=id, controllers=controllers, limits=limits, env=env)
        program = program_of_folder(self, given, did)
        if given.stable is not None:
            core.begin_with(self.memory, str(given.stable), given.stable_pages)
        self.put_program(program)
        self.certified_data, self.version = given.certified_data, given.version
        self.time = max(self.time, given.taken_at)
        self.set_global_timer(given.global_timer)
        return self

    def save_snapshot(self, folder: str | os.PathLike[str]) -> None:
        """Write a snapshot as dfx downloads it; `from_snapshot` and dfx can load it. An existing one is replaced.

        The folder is complete at any time: all of the old snapshot, or all of the new one. Other files in it stay. O(bytes that
        are not zero).

        Raises `Rejected` (IC0537) for an empty canister, `Unsupported` for one in Python, whose heap has no byte form, `SourceError`
        for a folder that holds something else than a snapshot.
        """
        self._check_idle()
        if self._program is None:
            raise no_module()
        write_folder(folder, self._wasm.state())

    # ---- the canister and its test ----

    def register(self, principal: Principal | str, method: str, function: H) -> H:
        """Answer calls of this canister to one that does not exist: `function(*args)` returns the reply, or raises `Rejected`.

        It runs between two messages of the canister, so it may call, stop or inspect it.

        >>> from stable_structures.canister import Canister
        >>> canister = Canister.install('''
        ... from stable_structures.canister import ic, update
        ... @update
        ... async def fee():
        ...     return await ic.call("ryjl3-tyaaa-aaaaa-aaaba-cai", "transfer_fee")
        ... ''')
        >>> _ = canister.register("ryjl3-tyaaa-aaaaa-aaaba-cai", "transfer_fee", lambda: 10_000)
        >>> canister.call("fee")
        10000
        """
        self.handlers[principal_of(principal), method] = function
        return function

    @classmethod
    def find(cls, principal: Principal) -> Canister | None:
        """Return the canister of this process with this principal, the one created last."""
        return cls._known.get(principal)

    def forget(self) -> None:
        """Remove the canister: calls no longer find it (for the harness)."""
        Canister._known.pop(self.id, None)
        self.close()

    @property
    def program(self) -> Program | None:
        """Return the installed program."""
        return self._program

    @property
    def python(self) -> PythonProgram | None:
        """Return the installed program if it is in Python (for the CDKs)."""
        return self._program if isinstance(self._program, PythonProgram) else None

    @property
    def module(self) -> Any:
        """Return the running main module, for inspection; None if the canister is empty or runs Wasm."""
        return self._program.main if isinstance(self._program, PythonProgram) else None

    @property
    def manager(self) -> MemoryManager:
        """Return the manager of the stable memory: the program's, or one opened on a memory that holds one.

        Raises `LookupError` if there is none: inspection must not create one.
        """
        program = self._program
        if program is not None and program.manager is not None:
            return program.manager
        if not core.holds_manager(self.memory):
            raise LookupError("the stable memory holds no manager; the program has not created one yet")
        return self.program_manager()

    def program_manager(self) -> MemoryManager:
        """Return the manager of the running program, created if missing (for the harness and `ic.manager`)."""
        from ..memory.manager import MemoryManager  # noqa: PLC0415 - keeps a canister without one light
        from ..memory.stored import init_as_the_crate  # noqa: PLC0415 - as above

        program = self._program
        if program is None:
            raise no_module()
        if program.manager is None:
            logged = self.logs.append
            program.manager = init_as_the_crate(MemoryManager, logged, self.memory) if program.overwrites else MemoryManager(self.memory)
        return program.manager

    # ---- Wasm ----

    def _is_wasm(self, program: Program | None) -> bool:
        return program is not None and not isinstance(program, PythonProgram)

    @property
    def _wasm(self) -> WasmProgram:
        if not self._is_wasm(self._program):
            raise Unsupported("this canister does not run a Wasm module")
        program: Any = self._program
        found: WasmProgram = program
        return found

    @property
    def module_hash(self) -> bytes | None:
        """Return the SHA-256 of the Wasm module as installed, so of the gzip file if it was one; None for Python."""
        return self._wasm.code.module.hash if self._is_wasm(self._program) else None

    @property
    def candid(self) -> str | None:
        """Return the text of the Wasm module's Candid interface; None if unknown."""
        interface = self._wasm.code.interface() if self._is_wasm(self._program) else None
        return None if interface is None else interface.text

    @property
    def heap_size(self) -> int:
        """Return the size of the program's heap in bytes. O(1) for Wasm, O(objects) for Python."""
        return 0 if self._program is None else self._program.heap_used()

    def note_instructions(self, kind: Kind, count: int) -> None:
        """Record how many instructions a message used (for the harness)."""
        self.last_instructions[kind] = count

    def close(self) -> None:
        """Forget the program and close the stable memory."""
        if self._program is not None:
            self._program.close()
        self._program = None
        self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse `copy` and `pickle`: its program runs in this process."""
        raise TypeError(
            "a Canister cannot be copied or pickled: its program runs here; "
            "install its source again, with memory=snapshot().image for its stable memory"
        )

    def __repr__(self) -> str:
        name = "empty" if self._program is None else self._program.name
        return f"<Canister {self.id} {name}, {self.status}, version {self.version}>"


def _received(program: Program, call: calls.Call, found: Method) -> tuple[Any, ...]:
    """Return the arguments of a call as the program gets them. Raises `Trapped` for a message that it cannot decode."""
    try:
        return program.receive(call, found)
    except CandidError as error:
        text = f"Canister called `ic0.trap` with message: the arguments cannot be decoded: {error}"
        raise Trapped(ErrorCode.CALLED_TRAP, text) from None
