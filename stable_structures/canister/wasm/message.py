# SPDX-License-Identifier: Apache-2.0
"""One message of a Wasm program: the input of the system functions, and their effects, to and from the core."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ... import _native as native
from ...encodings.candid.codec import MAGIC, decode
from ...principal import Principal
from ..annotations import encoded_reply
from ..calls import Call, Handler
from ..errors import ErrorCode, RejectCode, Trap, called_trap, wasm_trap
from ..message import CallContext, Kind, Message, Reply

if TYPE_CHECKING:
    from ..canister import Canister
    from .engine import MachineTrap
    from .heap import Heap

_lib: Final = native.call
_LOW: Final = 2**64 - 1
_MIB: Final = 1 << 20
_MOST_CYCLES: Final = 2**128 - 1
"""Of a balance, as on the platform: what is given beyond that is lost."""
_CALL: Final = struct.Struct("<14Q")
_STATUS: Final = {"running": 1, "stopping": 2, "stopped": 3}
_BEST_EFFORT: Final = 300
_NANOSECONDS: Final = 1_000_000_000
_UNKNOWN: Final = object()

_MODES: Final = {
    Kind.START: _lib.SS_IC0_START,
    Kind.INIT: _lib.SS_IC0_INIT,
    Kind.POST_UPGRADE: _lib.SS_IC0_INIT,
    Kind.PRE_UPGRADE: _lib.SS_IC0_PRE_UPGRADE,
    Kind.UPDATE: _lib.SS_IC0_UPDATE,
    Kind.QUERY: _lib.SS_IC0_QUERY,
    Kind.COMPOSITE_QUERY: _lib.SS_IC0_COMPOSITE_QUERY,
    Kind.REPLY: _lib.SS_IC0_REPLY,
    Kind.REJECT: _lib.SS_IC0_REJECT,
    Kind.CLEANUP: _lib.SS_IC0_CLEANUP,
    Kind.INSPECT: _lib.SS_IC0_INSPECT,
    Kind.TIMER: _lib.SS_IC0_TASK,
    Kind.HEARTBEAT: _lib.SS_IC0_TASK,
}
_COMPOSITE: Final = {
    Kind.REPLY: _lib.SS_IC0_COMPOSITE_REPLY,
    Kind.REJECT: _lib.SS_IC0_COMPOSITE_REJECT,
    Kind.CLEANUP: _lib.SS_IC0_COMPOSITE_CLEANUP,
}


def mode_of(kind: Kind, context: CallContext) -> int:
    """Return the mode of an entry point, as the core's number."""
    if kind is Kind.QUERY and context.replicated:
        return int(_lib.SS_IC0_REPLICATED_QUERY)
    return int(_COMPOSITE.get(kind, 0) if context.composite and kind in _COMPOSITE else _MODES[kind])


@dataclass(frozen=True)
class Prices:
    """The results of `ic0.cost_*`: prices of a subnet with 13 nodes, in cycles."""

    call_base: int = 260_000 + 5_000_000 + 40_000_000_000
    """Includes the instructions for the reply, paid in advance: twice as much for 64-bit canisters."""
    call_byte: int = 1_000
    create_canister: int = 500_000_000_000
    http_base: int = 49_140_000
    http_request_byte: int = 5_200
    http_response_byte: int = 10_400
    sign: int = 26_153_846_153
    derive: int = 26_153_846_153


@dataclass
class WireCall(Call):
    """A call of a Wasm program: its argument is a Candid message."""

    deadline: int = 0

    def values(self) -> tuple[Any, ...]:
        """Return the arguments typed by the message, for a test's handler; the bytes themselves if they are not Candid."""
        data = self.args[0]
        if not data.startswith(MAGIC):
            return (data,) if data else ()
        return tuple(decode(data))

    def packed(self, handler: Handler, value: Any) -> bytes:
        """Return a handler's reply as a message, typed by its annotation or else by the value; bytes that already are one stay."""
        return encoded_reply(handler, value)


class Messenger:
    """The message of one program in the core, filled again for each message."""

    def __init__(self, canister: Canister, *, is64: bool) -> None:
        self.canister = canister
        self.handle = native.owned(_lib.ss_ic0_new_message(), _lib.ss_ic0_free_message)
        self._unseen = native.unseen()
        self._unseen[0] = self.handle
        self.handle.is64 = is64
        self._size = native.out_numbers(1)
        self._memory: Any = None
        self._forget()
        self._set(_lib.SS_IC0_SELF, bytes(canister.id))
        prices = Prices(call_base=Prices.call_base + is64 * 40_000_000_000)
        for name, value in vars(prices).items():
            setattr(self.handle.prices, name, value)

    def _forget(self) -> None:
        """Forget what the message in the core contains."""
        self._entry: Any = None
        self._argument: bytes | None = None
        self._names: Any = None
        self._settings: Any = None
        self._was_busy = True
        self._certificate: Any = _UNKNOWN
        self._whole = True
        """Whether all of the above is in the core, which it may not be after an error or a signal handler that raised."""

    def _set(self, which: int, data: bytes) -> None:
        native.check(_lib.ss_ic0_set_input(self.handle, which, data, len(data)), "message")

    def fill(self, message: Message, heap: Heap, limit: int, reply: Reply | None = None) -> Any:
        """Fill the message; what is as in the one before stays. O(bytes of the inputs)."""
        handle, canister, context = self.handle, self.canister, message.context
        _lib.ss_ic0_clear(handle)
        if not self._whole:
            self._forget()
        self._whole = False
        self._memory = memory = canister.memory
        handle.stable, handle.heap = memory._handle, heap.handle
        version = canister.version if message.version is None else message.version
        composite, before = context.composite, context.instructions
        entry = (message.kind, context.replicated, composite, message.time, context.deadline, version, canister.status, limit, before)
        if entry != self._entry:
            self._fill_entry(message, version, limit)
            self._entry = entry
        answered = context.reply is not None
        handle.answered, handle.timer = answered, canister.global_timer
        cycles, available = min(canister.cycles, _MOST_CYCLES), 0 if answered else context.cycles
        handle.balance_low, handle.balance_high = cycles & _LOW, cycles >> 64
        handle.available_low, handle.available_high = available & _LOW, available >> 64
        self._fill_bytes(message, reply)
        self._whole = True
        return handle

    def _fill_entry(self, message: Message, version: int, limit: int) -> None:
        handle, kind, context = self.handle, message.kind, message.context
        handle.mode = mode_of(kind, context)
        handle.time, handle.deadline, handle.version = message.time, context.deadline, version
        handle.status = _STATUS[self.canister.status]
        handle.instruction_limit, handle.instructions_before = limit, context.instructions
        handle.reply_limit = (3 if kind is Kind.QUERY and not context.replicated else 2) * _MIB

    def _fill_bytes(self, message: Message, reply: Reply | None) -> None:
        canister, context, rejection = self.canister, message.context, message.rejection
        argument = context.args[0] if context.args else b""
        if reply is not None:
            argument = b"" if reply.rejected else reply.value
        if argument != self._argument:
            self._set(_lib.SS_IC0_ARGUMENT, argument)
            self._argument = bytes(argument)
        names = (context.caller, context.method, rejection, message.refunded)
        if names != self._names:
            self._fill_names(*names)
            self._names = names
        settings = (canister.controllers, canister.env, canister.root_key, canister.subnet)
        if settings != self._settings:
            self._fill_settings(*settings)
            self._settings = ([*canister.controllers], dict(canister.env), *settings[2:])  # of lists that may change, copies
        under_way = canister.under_way
        if under_way or self._was_busy:
            self._fill_under_way(under_way)
        if message.kind is not Kind.QUERY and message.kind is not Kind.INSPECT:
            self._was_busy = True  # there the message itself counts its calls
        self._fill_certificate(message)

    def _fill_names(self, caller: Principal, method: str, rejection: Reply | None, refunded: int) -> None:
        handle = self.handle
        self._set(_lib.SS_IC0_CALLER, bytes(caller))
        self._set(_lib.SS_IC0_METHOD, method.encode())
        self._set(_lib.SS_IC0_REJECT_MESSAGE, b"" if rejection is None else rejection.message.encode())
        handle.reject_code = 0 if rejection is None else int(rejection.code)
        handle.refunded_low, handle.refunded_high = refunded & _LOW, refunded >> 64

    def _fill_settings(self, controllers: list[Principal], env: dict[str, str], root_key: bytes, subnet: Principal) -> None:
        self._set(_lib.SS_IC0_CONTROLLERS, b"".join(bytes((len(one),)) + one for one in map(bytes, controllers)))
        self._set(_lib.SS_IC0_ENVIRONMENT, _variables(env))
        self._set(_lib.SS_IC0_ROOT_KEY, root_key)
        self._set(_lib.SS_IC0_SUBNET, bytes(subnet))

    def _fill_under_way(self, under_way: dict[Principal, int]) -> None:
        busy = [(bytes(one), count) for one, count in under_way.items() if count > 0]
        self._set(_lib.SS_IC0_UNDER_WAY, _under_way(busy))
        self._was_busy = bool(busy)

    def _fill_certificate(self, message: Message) -> None:
        data = message.data_certificate
        if data != self._certificate:
            native.check(_lib.ss_ic0_set_certificate(self.handle, native.NULL if data is None else data, len(data or b"")), "message")
            self._certificate = data

    # ---- its effects ----

    def output(self, which: int) -> bytes:
        """Return an output."""
        data = _lib.ss_ic0_output(self.handle, which, self._size)
        return native.copied(data, self._size[0])

    def keep_log(self) -> None:
        """Move printed lines to the log, also if the message trapped."""
        if not self.handle.log_size:
            return
        data, at = self.output(_lib.SS_IC0_LOG), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "little")
            self.canister.logs.append(data[at + 4 : at + 4 + size].decode("utf-8", "replace"))
            at += 4 + size

    def apply(self, message: Message, had_reply: bool) -> list[tuple[WireCall, tuple[int, ...]]]:
        """Apply the effects to the canister and the call; return the calls that it made, each with its callbacks."""
        handle, canister, context = self.handle, self.canister, message.context
        canister.cycles = handle.balance_low | handle.balance_high << 64
        context.cycles -= handle.accepted_low | handle.accepted_high << 64
        message.accepted = bool(handle.accepted)
        if handle.timer_set:
            canister.set_global_timer(handle.timer)
        if handle.certified_set:
            canister.certified_data = self.output(_lib.SS_IC0_CERTIFIED)
        if handle.answered and not had_reply:
            answer = self.output(_lib.SS_IC0_RESPONSE)
            rejected = handle.answered == 2  # noqa: PLR2004 - as in ic0.h
            text = answer.decode("utf-8", "replace") if rejected else ""
            context.reply = Reply(None if rejected else answer, rejected, RejectCode.CANISTER_REJECT, text)
        return list(self._calls(message)) if handle.calls_size else []

    def _calls(self, message: Message) -> Any:
        data, at = self.output(_lib.SS_IC0_CALLS), 0
        while at < len(data):
            head = _CALL.unpack_from(data, at)
            at += _CALL.size
            parts = []
            for size in head[:3]:
                parts.append(data[at : at + size])
                at += size
            deadline = message.time + min(head[13], _BEST_EFFORT) * _NANOSECONDS if head[12] else 0
            cycles = head[10] | head[11] << 64
            method = parts[1].decode("utf-8", "replace")
            yield WireCall(Principal(parts[0]), method, (parts[2],), cycles, raw=True, deadline=deadline), head[3:10]


def _under_way(busy: list[tuple[bytes, int]]) -> bytes:
    return b"".join(bytes((len(one),)) + one + count.to_bytes(4, "little") for one, count in busy)


def _variables(given: dict[str, str]) -> bytes:
    encoded = [(name.encode(), value.encode()) for name, value in sorted(given.items())]
    return b"".join(struct.pack("<II", len(name), len(value)) + name + value for name, value in encoded)


def trap_of(error: MachineTrap) -> Trap:
    """Return the trap that the test sees."""
    code = ErrorCode(error.code)
    if code is ErrorCode.CALLED_TRAP:
        return called_trap(error.text)
    if code is ErrorCode.TRAPPED:
        return wasm_trap(error.text)
    if code is ErrorCode.CONTRACT_VIOLATION:
        return Trap(code, f"Canister violated contract: {error.text}")
    return Trap(code, error.text)
