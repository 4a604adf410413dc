# SPDX-License-Identifier: Apache-2.0
"""One message: the system's state while an entry point of a canister runs, and the system calls that it may make.

See docs/platform.md#system-calls-by-context.
"""

from __future__ import annotations

import enum
import reprlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..errors import Unsupported
from ..principal import Principal
from .errors import RejectCode, Rejected, Trap, violation

if TYPE_CHECKING:
    from .canister import Canister
    from .installed import Method, Pending


class Kind(enum.Enum):
    """The entry points of a canister, by the names that the platform's messages use."""

    INIT = "init"
    PRE_UPGRADE = "pre upgrade"
    POST_UPGRADE = "post upgrade"
    UPDATE = "update"
    QUERY = "query"
    COMPOSITE_QUERY = "composite query"
    REPLY = "reply callback"
    REJECT = "reject callback"
    TIMER = "global timer"
    HEARTBEAT = "heartbeat"
    INSPECT = "inspect message"
    CLEANUP = "cleanup"
    START = "start"

    def __init__(self, text: str) -> None:
        self.keeps_changes = text not in ("query", "composite query", "inspect message")
        """Whether the changes of the entry point stay; queries and inspect_message never keep anything."""

    __hash__ = object.__hash__  # that of Enum is a Python function


_CALLBACKS: Final = {Kind.REPLY, Kind.REJECT}
_TASKS: Final = {Kind.TIMER, Kind.HEARTBEAT}
LIFECYCLE: Final = (Kind.INIT, Kind.PRE_UPGRADE, Kind.POST_UPGRADE)
"""The hooks of an install or upgrade."""
INSTALLS: Final = (*LIFECYCLE, Kind.START)
"""All that runs in an install or upgrade, with one limit for all of it."""
_QUERIES: Final = {Kind.QUERY, Kind.COMPOSITE_QUERY}
_CHANGES: Final = {*LIFECYCLE, Kind.UPDATE, *_CALLBACKS, *_TASKS}
_SETS_TIMERS: Final = {*_CHANGES, Kind.CLEANUP}
_ANSWERS: Final = {Kind.UPDATE, *_QUERIES, *_CALLBACKS}

ALLOWED: Final[dict[str, set[Kind]]] = {
    "msg_arg_data": {Kind.INIT, Kind.POST_UPGRADE, Kind.UPDATE, *_QUERIES, Kind.REPLY, Kind.INSPECT},
    "msg_reply": _ANSWERS,
    "msg_reject": _ANSWERS,
    "msg_reject_code": {*_CALLBACKS, Kind.CLEANUP},
    "msg_reject_msg": {Kind.REJECT},
    "msg_cycles_available": {Kind.UPDATE, Kind.QUERY, *_CALLBACKS},
    "msg_cycles_accept": {Kind.UPDATE, Kind.QUERY, *_CALLBACKS},
    "msg_cycles_refunded": _CALLBACKS,
    "certified_data_set": _CHANGES,
    "data_certificate_copy": _QUERIES,
    "global_timer_set": _SETS_TIMERS,
    "call_new": {Kind.UPDATE, Kind.COMPOSITE_QUERY, *_CALLBACKS, *_TASKS},
    "accept_message": {Kind.INSPECT},
    "msg_method_name": {Kind.INSPECT},
}
"""Where a system call is allowed; those that are not listed are allowed everywhere."""


@dataclass(repr=False, slots=True)
class Reply:
    """The reply to a call: a value, or a rejection."""

    value: Any = None
    rejected: bool = False
    code: RejectCode = RejectCode.CANISTER_REJECT
    message: str = ""

    def __repr__(self) -> str:
        return f"<Reply: rejected, {self.code!r}, {self.message!r}>" if self.rejected else f"<Reply {reprlib.repr(self.value)}>"


Outcome: TypeAlias = Reply | Rejected
"""How a call ended: a reply of the canister, or a rejection of the platform."""


@dataclass(repr=False, slots=True)
class CallContext:
    """A call that is not answered yet; it spans all the messages that it takes."""

    caller: Principal
    method: str
    args: tuple[Any, ...]
    reply: Reply | None = None
    cycles: int = 0
    by_canister: bool = False
    found: Method | None = None
    """The method that was called; None if the system started the message."""
    replicated: bool = True
    composite: bool = False
    deadline: int = 0
    instructions: int = 0
    """Instructions of all messages of this call so far (Wasm)."""
    value: Any = None
    """What the method returned (Python)."""
    error: Rejected | None = None
    """Why the last failed message of this call failed."""
    outstanding: int = 0
    """Calls to others whose reply has a callback here."""
    responded: bool = False
    closed: bool = False
    respond: Callable[[Outcome], None] | None = None

    def __repr__(self) -> str:
        return f"<CallContext of {self.method}{reprlib.repr(self.args)} by {self.caller}>"


@dataclass(repr=False, slots=True)
class Message:
    """One execution of an entry point."""

    canister: Canister
    kind: Kind
    context: CallContext
    time: int
    version: int | None = None
    trap: Trap | None = None
    accepted: bool = False
    refunded: int = 0
    rejection: Reply | None = None
    pending: list[Pending] = field(default_factory=list)
    """Calls to make when the message has succeeded, in order."""

    def __repr__(self) -> str:
        return f"<Message: {self.kind.value} {self.context.method!r} of canister {self.canister.id}>"

    @property
    def data_certificate(self) -> bytes | None:
        """The certificate, which only a query from outside has, before its first call."""
        shown = self.kind in _QUERIES and not self.context.replicated and not self.context.by_canister
        return self.canister.data_certificate if shown else None

    def allow(self, api: str) -> None:
        """Trap if this system call is not allowed in this kind of message."""
        kinds = ALLOWED.get(api)
        if kinds is not None and self.kind not in kinds:
            self.raise_trap(violation(f"ic0_{api}", self.kind.value))

    def raise_trap(self, trap: Trap) -> None:
        """Raise a trap; code that catches it nevertheless does not save the message."""
        if self.trap is None:
            self.trap = trap
        raise trap

    def answer(self, reply: Reply) -> None:
        """Reply or reject; a second answer traps."""
        api = "msg_reject" if reply.rejected else "msg_reply"
        self.allow(api)
        if self.context.reply is not None:
            self.raise_trap(violation(f"ic0_{api}", "already answered"))
        self.context.reply = reply


class _Running(threading.local):
    """The messages that this thread runs, the innermost last."""

    def __init__(self) -> None:
        self.messages: list[Message] = []


_running: Final = _Running()


def running() -> list[Message]:
    """Return the messages of this thread, to begin one and to end it."""
    return _running.messages


def is_running() -> bool:
    """Return whether code of a canister is running."""
    return bool(_running.messages)


def current(what: str = "this") -> Message:
    """Return the running message. Raises `Unsupported` outside a canister."""
    if not _running.messages:
        raise Unsupported(f"{what} only works inside a canister; install the code with Canister.install(source) and call it")
    message = _running.messages[-1]
    if message.trap is not None:
        raise message.trap
    return message
