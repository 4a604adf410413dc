# SPDX-License-Identifier: Apache-2.0
"""How a message runs: all of it or nothing (IC.md 2.3), step by step where it waits for other canisters."""

from __future__ import annotations

import contextlib
import copy
import difflib
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..errors import StableError
from ..principal import Principal
from ..structure import Structure
from . import atomic, calls
from . import message as messages
from .calls import Call, Step, Task
from .errors import ErrorCode, RejectCode, Rejected, SourceError, Trap, Trapped, Unsupported
from .heap import HeapImage, heap_size
from .message import CallContext, Kind, Message, Reply
from .modules import one_at_a_time
from .program import Method, Program, refuse_call

if TYPE_CHECKING:
    from .canister import Canister

_GIB: Final = 2**30
_INSTALLS: Final = (Kind.INIT, Kind.PRE_UPGRADE, Kind.POST_UPGRADE)


@dataclass(frozen=True)
class Limits:
    """What the platform allows a canister, in bytes (IC.md 2.2); `heap` None leaves the heap unmeasured.

    `dirty_*`: stable memory that one message may change, counted in 4 KiB. What a message reads is not counted, and
    neither are instructions. The heap is measured as `sys.getsizeof` of the program's objects after each changing message.
    """

    stable_memory: int = 500 * _GIB
    heap: int | None = None
    dirty_update: int = 2 * _GIB
    dirty_install: int = 8 * _GIB
    dirty_query: int = 1 * _GIB
    snapshots: int = 10

    def dirty(self, kind: Kind) -> int:
        """How much a message of this kind may change."""
        if kind in _INSTALLS:
            return self.dirty_install
        return self.dirty_update if kind.keeps_changes else self.dirty_query


@dataclass
class _State:
    """What a trap puts back beside the stable memory and the objects of the program."""

    certified_data: bytes
    cycles: int
    program: Program | None
    timers: Any
    stores: dict[Any, Any]
    manager: Any


def private_copy(value: Any) -> Any:
    """A value as it crosses the border of a canister: a copy, so that nobody shares a heap; itself where it cannot be copied."""
    try:
        return copy.deepcopy(value)
    except (TypeError, ValueError, AttributeError, copy.Error):
        return value


class _Discard(BaseException):
    """Ends a query: nothing that it changed stays."""


class Execution:
    """Runs the messages of one canister."""

    def __init__(self, canister: Canister) -> None:
        self.canister = canister
        self.open_contexts = 0
        self.composite = False

    # ---- all or nothing ----

    def _state(self) -> _State:
        canister, program = self.canister, self.canister.program
        timers = None if program is None else program.timers.image()
        stores = {} if program is None else dict(program.stores)
        return _State(canister.certified_data, canister.cycles, program, timers, stores, program and program.manager)

    def _restore(self, state: _State, image: HeapImage | None, modules: dict[str, Any] | None) -> None:
        canister, program = self.canister, state.program
        canister.certified_data, canister.cycles = state.certified_data, state.cycles
        canister.put_program(program)
        if program is not None:
            program.timers.restore(state.timers)
            for name in program.stores.keys() - state.stores.keys():
                release(program.stores[name])
            program.stores, program.manager = state.stores, state.manager
        if image is not None and program is not None and modules is not None:
            image.restore()
            program.modules.private = modules

    def heap_image(self) -> HeapImage | None:
        """What the program's objects hold; None where they are not restored."""
        program = self.canister.program
        if program is None or self.canister.heap != "restore":
            return None
        private = program.modules.private
        return HeapImage(program.heap_roots(), private.__contains__)

    @contextmanager
    def atomic(self, kind: Kind) -> Iterator[None]:
        """Everything inside happens, or nothing; always nothing for queries. Raises `Trapped` for a trap."""
        with one_at_a_time, self._atomic(kind):
            yield

    @contextmanager
    def _atomic(self, kind: Kind) -> Iterator[None]:
        state, image = self._state(), self.heap_image()
        modules = None if state.program is None else dict(state.program.modules.private)
        try:
            with self.canister.memory.transaction(), self._forgetting():
                yield
                self._check_limits(kind)
                if not kind.keeps_changes:
                    raise _Discard  # noqa: TRY301 - it ends the transaction
        except _Discard:
            self._restore(state, image, modules)
        except BaseException as error:
            cause = error.__cause__ if isinstance(error, Trap) and error.__cause__ is not None else error
            _forget_locals(cause)
            self._restore(state, image, modules)
            if not isinstance(error, Trap):
                raise
            self.canister.logs.append(f"[TRAP]: {error.message}")
            raise Trapped(error.error_code, error.message) from (None if cause is error else cause)

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        """Structures that were opened inside do not count where it fails: the objects that had them are as before."""
        memory = self.canister.memory
        try:
            yield
        except BaseException:
            if self.canister.heap != "keep":
                atomic.forget_claims(memory)
            raise

    def _check_limits(self, kind: Kind) -> None:
        canister, limits = self.canister, self.canister.limits
        limit = limits.dirty(kind)
        if atomic.changed_bytes(canister.memory) > limit:
            raise Trap(
                ErrorCode.MEMORY_ACCESS_LIMIT,
                "Canister exceeded memory access limits: Exceeded the limit for the number of modified pages in the stable memory "
                f"in a single message execution: limit: {limit // 1024} KB.",
            )
        if limits.heap is not None and canister.program is not None and kind in (*_INSTALLS, Kind.UPDATE):
            used = heap_size(canister.program.heap_roots(), canister.program.modules.private.__contains__)
            if used > limits.heap:
                raise Trap(
                    ErrorCode.HEAP_LIMIT,
                    f"Canister exceeded its current Wasm memory limit of {limits.heap} bytes. The peak Wasm memory usage was {used} bytes.",
                )

    # ---- one message ----

    @contextmanager
    def running(self, message: Message) -> Iterator[None]:
        """The program's code runs inside: its exceptions come out as `Trap`, also those that it caught itself."""
        program = self.canister.program
        if program is None:
            raise no_module()
        messages.begin(message)
        try:
            with program.active():
                try:
                    yield
                except (Unsupported, SourceError):
                    raise
                except (Exception, SystemExit) as error:
                    raise program.dialect.failure(message, error) from error
        finally:
            messages.end()
        if message.trap is not None:
            raise message.trap

    def message(self, kind: Kind, context: CallContext) -> Message:
        """A message at the canister's time."""
        return Message(self.canister, kind, context, self.canister.time)

    def system_context(self, method: str = "", args: tuple[Any, ...] = ()) -> CallContext:
        """The context of what the system starts: nobody calls, nobody waits."""
        return CallContext(self.canister.id, method, args, Reply())

    # ---- a method, from call to answer ----

    def run(self, kind: Kind, context: CallContext, start: Callable[[Message], Any]) -> Any:
        """Runs an entry point to its end; what it returned at last."""
        self.open_contexts += 1
        try:
            if kind is not Kind.COMPOSITE_QUERY:
                return self._drive(kind, context, start)
            self.composite = True
            with self.atomic(kind):
                return self._drive(kind, context, start)
        finally:
            self.composite = False if kind is Kind.COMPOSITE_QUERY else self.composite
            self.open_contexts -= 1
            self.canister.context_closed()

    def _drive(self, kind: Kind, context: CallContext, start: Callable[[Message], Any]) -> Any:
        program = self.canister.program
        step, task = self._first(kind, context, start)
        while step.call is not None and task is not None:
            step.call.args = program.dialect.outward(step.call.args) if program is not None else step.call.args
            answered = self.send(step.call, query=kind is Kind.COMPOSITE_QUERY)
            if self.canister.program is not program:
                raise Trapped(ErrorCode.TRAPPED, "Canister trapped: the code that waited for this answer was replaced while it waited")
            step = self._resume(task, step.call, answered, context, composite=kind is Kind.COMPOSITE_QUERY)
        return step.value

    def _first(self, kind: Kind, context: CallContext, start: Callable[[Message], Any]) -> tuple[Step, Task | None]:
        program = self.canister.program
        if program is None:
            raise no_module()
        task: Task | None = None

        def body(message: Message) -> Step:
            nonlocal task
            value = start(message)
            if not calls.is_waiting(value):
                return Step(None, value)
            task = Task(value, program.dialect.as_call)
            return self._take_step(message, task, None, None)

        return self._segment(kind, context, body), task

    def _resume(self, task: Task, call: Call, answered: tuple[Reply, int], context: CallContext, *, composite: bool) -> Step:
        """The callback: the answer of the other canister goes into the waiting code."""
        reply, refunded = answered
        kind = Kind.REJECT if reply.rejected else Kind.REPLY

        def body(message: Message) -> Step:
            program = self.canister.program
            if program is not None and not call.raw:
                reply.value = program.dialect.inward(reply.value)
            message.refunded = refunded
            message.rejection = reply if reply.rejected else None
            self.canister.cycles += refunded
            return self._take_step(message, task, *calls.deliver(call, reply))

        return self._segment(kind, context, body, inside_query=composite)

    def _take_step(self, message: Message, task: Task, answer: Any, error: BaseException | None) -> Step:
        from . import system  # noqa: PLC0415 - system is for the code inside

        program = self.canister.program
        step = task.step(answer, error)
        if step.call is not None:
            if message.kind in (Kind.QUERY, *_INSTALLS, Kind.INSPECT):
                message.raise_trap(refuse_call(message))
            system.pay(message, step.call)
        if program is not None:
            (program.tasks.discard if step.call is None else program.tasks.add)(task)
        return step

    def _segment(self, kind: Kind, context: CallContext, body: Callable[[Message], Step], *, inside_query: bool = False) -> Step:
        """One message: rolled back where it traps, and then the answer that it gave counts no more."""
        message, answered = self.message(kind, context), context.reply
        composite = kind is Kind.COMPOSITE_QUERY or inside_query
        try:
            with contextlib.nullcontext() if composite else self.atomic(kind), self.running(message):
                step = body(message)
        except BaseException as error:
            context.reply = answered
            if isinstance(error, Trapped):
                self._after_trap()
            raise
        if kind.keeps_changes and not composite:
            self.canister.count_version()
        for call in message.notifications:
            self.send(call, query=False)
        return step

    def _after_trap(self) -> None:
        if self.canister.heap == "reimport":
            self.canister.reimport()

    # ---- calls to others ----

    def send(self, call: Call, *, query: bool) -> tuple[Reply, int]:
        """Delivers a call; the reply and the cycles that come back."""
        canister = self.canister
        handler = canister.handlers.get((call.principal, call.method)) or canister.handlers.get((call.principal, ""))
        if handler is not None:
            return _handled(handler, call), 0
        target = canister.find(call.principal)
        if target is None:
            return _unknown(call), call.cycles
        if target.composite_is_open:
            raise Unsupported(f"{call.method}: a composite query that calls back into a canister which waits in a composite query")
        return target.receive(call, canister.id, query=query)


def _handled(handler: calls.Handler, call: Call) -> Reply:
    """The answer of what the test registered: it returns the value, or raises `Rejected`."""
    try:
        return Reply(private_copy(handler(*private_copy(call.args))))
    except Rejected as error:
        return calls.rejection_of(error)


def _unknown(call: Call) -> Reply:
    if call.principal == Principal.management_canister():
        raise Unsupported(
            f"the management canister's {call.method}: the harness has none; "
            f"register one with canister.register('aaaaa-aa', {call.method!r}, function)"
        )
    text = f"{ErrorCode.CANISTER_NOT_FOUND}: Canister {call.principal} not found"
    return Reply(rejected=True, code=RejectCode.DESTINATION_INVALID, message=text)


def no_module() -> Rejected:
    """The rejection of an empty canister."""
    return Rejected(ErrorCode.NO_MODULE, "Attempted to execute a message, but the canister contains no Wasm module.")


def release(structure: Structure) -> None:
    """Closes a structure that no code is to use any more."""
    with contextlib.suppress(StableError):  # what it lies in may be gone already
        getattr(structure, "into_memories", structure.into_memory)()


def _forget_locals(error: BaseException | None) -> None:
    """Clears the frames of a traceback: their variables are of a heap that is gone, and structures among them would stay open."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def method_or_reject(program: Program, name: str, *, query: bool) -> Method:
    """The method of a call. Raises `Rejected` where there is none, which says what is there."""
    method = program.methods.get(name)
    if method is None or (query and method.kind is Kind.UPDATE) or (not query and method.kind is Kind.COMPOSITE_QUERY):
        sort = "query" if query else "update"
        raise Rejected(ErrorCode.METHOD_NOT_FOUND, f"Canister has no {sort} method '{name}'{_instead(program, name, method)}")
    return method


def _instead(program: Program, name: str, method: Method | None) -> str:
    """What the message about a method that is not there goes on to say."""
    if method is not None:
        kind, function = ("an update", "call") if method.kind is Kind.UPDATE else ("a composite query", "query")
        return f": it is {kind}, use {function}('{name}', ...)"
    known = f"its methods: {', '.join(sorted(program.methods)) or 'none'}"
    near = difflib.get_close_matches(str(name), program.methods, n=3)
    if near:
        return f": did you mean {' or '.join(map(repr, near))}? ({known})"
    places = (getattr(program, "main", None), program.actor)
    if any(callable(getattr(place, str(name), None)) for place in places if place is not None):
        return f": '{name}' is there, but nothing exports it, put @query or @update above it ({known})"
    return f" ({known})"
