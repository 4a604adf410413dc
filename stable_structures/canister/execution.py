# SPDX-License-Identifier: Apache-2.0
"""Run a message all or nothing (docs/platform.md#atomicity), step by step if it waits for other canisters.

What must be undone in any case is a `with` or `try` of the function that calls the body, and no generator that stands for one: a signal
handler may raise between two steps of the library that drives the generator, which then stays where it is until its traceback goes.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..errors import SourceError, Unsupported
from ..memory.transaction import Transaction, was_committed
from . import core
from . import message as messages
from .errors import ErrorCode, Rejected, Trap, Trapped
from .installed import Callback, Method, Pending, Program
from .message import INSTALLS, CallContext, Kind, Message, Outcome, Reply
from .modules import one_at_a_time
from .queue import current_queue, with_queue
from .routing import deliver

if TYPE_CHECKING:
    from .canister import Canister

_GIB: Final = 2**30


@dataclass(frozen=True)
class Limits:
    """What the platform allows a canister, in bytes and instructions; with `heap` None, only the machine limits the heap.

    `dirty_*`: stable memory that one message may change, counted in blocks of 4 KiB. Reads are not counted. The heap of a
    Python program is measured as `sys.getsizeof` of its objects after each changing message. Instructions are counted for
    Wasm programs, with the platform's weights.
    """

    stable_memory: int = 500 * _GIB
    heap: int | None = None
    dirty_update: int = 2 * _GIB
    dirty_install: int = 8 * _GIB
    dirty_query: int = 1 * _GIB
    snapshots: int = 10
    instructions_update: int = 40_000_000_000
    instructions_install: int = 300_000_000_000
    instructions_query: int = 5_000_000_000
    instructions_inspect: int = 200_000_000

    def dirty(self, kind: Kind) -> int:
        """Return how many bytes a message of this kind may change."""
        if kind in INSTALLS:
            return self.dirty_install
        return self.dirty_update if kind.keeps_changes else self.dirty_query

    def instructions(self, kind: Kind) -> int:
        """Return how many instructions a message of this kind may use."""
        if kind in INSTALLS:
            return self.instructions_install
        if kind is Kind.INSPECT:
            return self.instructions_inspect
        return self.instructions_update if kind.keeps_changes else self.instructions_query


@dataclass(slots=True)
class _State:
    """What a trap restores besides the stable memory, and the version that follows if there is no trap."""

    keeps_changes: bool

    next_version: int
    certified_data: bytes
    cycles: int
    global_timer: int
    program: Program | None
    restore_program: Callable[[], None]


def _nothing() -> None:
    """Restore nothing, for an empty canister."""


class Execution:
    """Runs the messages of one canister."""

    def __init__(self, canister: Canister) -> None:
        self.canister = canister
        self._open: dict[int, CallContext] = {}
        self.composite = False

    @property
    def open_contexts(self) -> int:
        """Return how many calls are not over."""
        return len(self._open)

    # ---- all or nothing ----

    def _state(self, kind: Kind, counts: bool) -> _State:
        canister, program, keeps = self.canister, self.canister.program, kind.keeps_changes
        restore = _nothing if program is None else program.image(canister.heap)
        next_version = canister.version + counts
        return _State(keeps, next_version, canister.certified_data, canister.cycles, canister.global_timer, program, restore)

    def _restore(self, state: _State) -> None:
        canister = self.canister
        canister.certified_data, canister.cycles, canister.global_timer = state.certified_data, state.cycles, state.global_timer
        given_up = canister.program
        canister.put_program(state.program)
        state.restore_program()
        if given_up is not None and given_up is not state.program:
            given_up.close()

    def atomic(self, kind: Kind, body: Callable[[], None], *, counts: bool = False) -> None:
        """Keep all changes of `body`, or none; never those of a query. Raises `Trapped` for a trap.

        `counts`: if its changes are kept, the canister's version grows by one.
        """
        try:
            one_at_a_time(lambda: self._all_or_nothing(kind, body, counts))
        except Trap as error:
            cause = _cause(error)
            raise self._trapped(error) from (None if cause is error else cause)

    def _all_or_nothing(self, kind: Kind, body: Callable[[], None], counts: bool) -> None:
        state, transaction, settled = self._state(kind, counts), self.canister.memory.transaction(), False
        try:
            try:
                with transaction:
                    self._inside(kind, body)
                    if not state.keeps_changes:
                        self._discard(transaction)
            except BaseException as error:
                _forget_locals(_cause(error))
                raise
        finally:
            try:
                self._settle_program(state, transaction)
                settled = True
            finally:
                if not settled:  # a signal handler raised meanwhile
                    self._settle_program(state, transaction)

    def _settle_program(self, state: _State, transaction: Transaction) -> None:
        """Commit or restore the program and its heap, as the stable memory was. Doing it twice does no harm."""
        if not (state.keeps_changes and was_committed(transaction)):
            self._restore(state)
            return
        self.canister.version = state.next_version
        if self.canister.program is not None:
            self.canister.program.commit()

    def _inside(self, kind: Kind, body: Callable[[], None]) -> None:
        """Run inside the transaction. If it fails, structures opened in it do not count: their memories have their earlier owners."""
        try:
            body()
            self._check_limits(kind)
        except BaseException:
            self._forget_leases()
            raise

    def _discard(self, transaction: Transaction) -> None:
        """Undo the changes of a query, at the end of its transaction's block."""
        self._forget_leases()
        transaction.rollback()

    def _forget_leases(self) -> None:
        if self.canister.heap != "keep":
            core.forget_leases(self.canister.memory)

    def _trapped(self, trap: Trap) -> Trapped:
        """Return the trap as the test sees it, and log it."""
        self.canister.logs.append(f"[TRAP]: {trap.message}")
        return Trapped(trap.error_code, trap.message)

    def _check_limits(self, kind: Kind) -> None:
        canister, limits = self.canister, self.canister.limits
        limit = limits.dirty(kind)
        canister.last_changed = canister.last_changes[kind] = core.changed_bytes(canister.memory)
        if canister.last_changed > limit:
            raise Trap(
                ErrorCode.MEMORY_ACCESS_LIMIT,
                "Canister exceeded memory access limits: Exceeded the limit for the number of modified pages in the stable memory "
                f"in a single message execution: limit: {limit // 1024} KB.",
            )
        if limits.heap is not None and canister.program is not None and kind in (*INSTALLS, Kind.UPDATE):
            used = canister.program.heap_used()
            if used > limits.heap:
                raise Trap(
                    ErrorCode.HEAP_LIMIT,
                    f"Canister exceeded its current Wasm memory limit of {limits.heap} bytes. The peak Wasm memory usage was {used} bytes.",
                )

    # ---- one message ----

    def running(self, message: Message, body: Callable[[Message], None]) -> None:
        """Run code of the program: its exceptions come out as `Trap`, even those that it caught itself."""
        program = self.canister.program
        if program is None:
            raise no_module()

        def guarded() -> None:
            try:
                body(message)
            except (Unsupported, SourceError):
                raise
            except (Exception, SystemExit) as error:
                raise program.failure(message, error) from error

        running = messages.running()
        before = len(running)
        try:
            running.append(message)
            program.run(guarded)
        finally:
            del running[before:]  # no call, before which a signal handler might raise
        if message.trap is not None:
            raise message.trap

    def message(self, kind: Kind, context: CallContext) -> Message:
        """Return a new message at the canister's time."""
        return Message(self.canister, kind, context, self.canister.time)

    def system_context(self, method: str = "", args: tuple[Any, ...] = ()) -> CallContext:
        """Return the context for a message that the system starts: it has no caller, and nobody waits for it."""
        return CallContext(self.canister.id, method, args, Reply())

    # ---- a call, from its first message to its reply ----

    def run(self, kind: Kind, context: CallContext, start: Callable[[Message], None]) -> Outcome | None:
        """Run an entry point, and all that follows, until no call is open; return how the call was answered."""
        outcomes: list[Outcome] = []
        context.respond = outcomes.append
        with_queue(lambda: self.begin(kind, context, start))
        return outcomes[0] if outcomes else None

    def begin(self, kind: Kind, context: CallContext, start: Callable[[Message], None]) -> None:
        """Run the first message of a call; put the calls that it makes on the queue."""
        current_queue().opened.append(self._forget(context))
        self._open[id(context)] = context
        if kind is not Kind.COMPOSITE_QUERY:
            self._step(kind, context, start)
            return
        self.composite = context.composite = True
        try:
            self.atomic(kind, lambda: with_queue(lambda: self._step(kind, context, start)))
        finally:
            self.composite = False

    def _step(self, kind: Kind, context: CallContext, body: Callable[[Message], None]) -> None:
        """Run one message of a call. If it traps, the call fails with that trap when nothing else is open."""
        try:
            self._segment(kind, context, body)
        except Trapped as error:
            context.error = error
        self._settle(context)

    def _segment(self, kind: Kind, context: CallContext, body: Callable[[Message], None]) -> None:
        """Run one message; if it traps, roll it back and discard its reply."""
        message, before = self.message(kind, context), (context.reply, context.cycles)
        try:
            if context.composite:
                self._inside_composite(message, body)
            else:
                self.atomic(kind, lambda: self.running(message, body), counts=kind.keeps_changes)
        except BaseException as error:
            context.reply, context.cycles = before
            if isinstance(error, Trapped):
                self._after_trap()
            raise
        for pending in message.pending:
            self._send(context, pending)

    def _inside_composite(self, message: Message, body: Callable[[Message], None]) -> None:
        """Undo the changes of a composite query at its end; until then its messages see them."""
        try:
            self.running(message, body)
        except Trap as error:
            cause = _cause(error)
            raise self._trapped(error) from (None if cause is error else cause)

    def _after_trap(self) -> None:
        if self.canister.heap == "reimport":
            self.canister.reimport()

    def _settle(self, context: CallContext) -> None:
        """Answer the call when it can be answered, and end it when none of its own calls is open."""
        program = self.canister.program
        if context.closed:
            return
        if context.found is not None and context.reply is not None and not context.responded:
            self._answer(context, context.reply if program is None else program.outward(context.reply))
        if context.outstanding:
            return
        if not context.responded:
            self._answer(context, self._last_answer(context))
        self._forget(context)()

    def _last_answer(self, context: CallContext) -> Outcome:
        if context.error is not None:
            return context.error
        program = self.canister.program
        reply = None if program is None or context.found is None else program.returned(context.found, context)
        if reply is not None or context.found is None:
            return reply or Reply()
        return Rejected(ErrorCode.DID_NOT_REPLY, f"Canister {self.canister.id} did not reply to the call")

    def _answer(self, context: CallContext, outcome: Outcome) -> None:
        context.responded = True
        if context.respond is not None:
            context.respond(outcome)

    def _forget(self, context: CallContext) -> Callable[[], None]:
        """End a call, whether or not it was answered. Ending it twice does no harm."""

        def forget() -> None:
            self._open.pop(id(context), None)
            context.closed = True
            self.canister.context_closed()

        return forget

    # ---- calls to others, and their replies ----

    def _send(self, context: CallContext, pending: Pending) -> None:
        if pending.callback is not None:
            context.outstanding += 1
        queue, answered = current_queue(), _once(partial(self.canister.count_call, pending.call.principal, -1))
        self.canister.count_call(pending.call.principal, 1)
        queue.opened.append(answered)

        def respond(reply: Reply, refund: int) -> None:
            answered()
            queue.put(partial(self._respond, context, pending, reply, refund))

        queue.put(partial(deliver, self.canister, pending.call, respond, query=context.composite))

    def _respond(self, context: CallContext, pending: Pending, reply: Reply, refund: int) -> None:
        """Run the callback for another canister's reply, as a separate message."""
        callback = pending.callback
        if callback is None:
            self.canister.cycles += refund
            return
        context.outstanding -= 1
        kind = Kind.REJECT if reply.rejected else Kind.REPLY
        program = self.canister.program
        if program is None or not callback.belongs_to(program):
            self.canister.cycles += refund
            context.error = Trapped(
                ErrorCode.TRAPPED, "Canister trapped: the code that waited for this answer was replaced while it waited"
            )
            self._settle(context)
            return

        def body(message: Message) -> None:
            message.refunded = refund
            message.rejection = reply if reply.rejected else None
            self.canister.cycles += refund
            callback.run(message, reply)

        try:
            self._segment(kind, context, body)
        except Trapped as error:
            context.error = error
            self.canister.cycles += refund
            self._clean_up(context, callback, reply)
        self._settle(context)

    def _clean_up(self, context: CallContext, callback: Callback, reply: Reply) -> None:
        """Run the cleanup of a callback that trapped; if the cleanup traps too, only the log records it."""
        if callback.cleanup is None:
            return
        clean = callback.cleanup

        def body(message: Message) -> None:
            message.rejection = reply if reply.rejected else None
            clean(message)

        try:
            self._segment(Kind.CLEANUP, context, body)
        except Trapped:
            self.canister.logs.append("call_on_cleanup also failed")


def _once(action: Callable[[], None]) -> Callable[[], None]:
    """Run an action at the first call only."""
    done = False

    def run() -> None:
        nonlocal done
        if not done:
            done = True
            action()

    return run


def no_module() -> Rejected:
    """Return the rejection of an empty canister."""
    return Rejected(ErrorCode.NO_MODULE, "Attempted to execute a message, but the canister contains no Wasm module.")


def _cause(error: BaseException) -> BaseException:
    """Return the Python exception behind a trap."""
    return error.__cause__ if isinstance(error, Trap) and error.__cause__ is not None else error


def _forget_locals(error: BaseException | None) -> None:
    """Clear the frames of a traceback: their variables belong to a heap that is gone, and structures among them would stay open."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def method_or_reject(program: Program, name: str, *, query: bool) -> Method:
    """Return the method of a call. Raises `Rejected` if there is none, with a hint to the existing ones."""
    method = program.methods.get(name)
    if method is None or (query and method.kind is Kind.UPDATE) or (not query and method.kind is Kind.COMPOSITE_QUERY):
        sort = "query" if query else "update"
        raise Rejected(ErrorCode.METHOD_NOT_FOUND, f"Canister has no {sort} method '{name}'{_instead(program, name, method)}")
    return method


def _instead(program: Program, name: str, method: Method | None) -> str:
    """Return the hint at the end of the message about an unknown method."""
    if method is not None:
        kind, function = ("an update", "call") if method.kind is Kind.UPDATE else ("a composite query", "query")
        return f": it is {kind}, use {function}('{name}', ...)"
    known = f"its methods: {', '.join(sorted(program.methods)) or 'none'}"
    near = difflib.get_close_matches(str(name), program.methods, n=3)
    if near:
        return f": did you mean {' or '.join(map(repr, near))}? ({known})"
    places = (getattr(program, "main", None), getattr(program, "actor", None))
    if any(callable(getattr(place, str(name), None)) for place in places if place is not None):
        return f": '{name}' is a function, but not exported; put @query or @update above it ({known})"
    return f" ({known})"
