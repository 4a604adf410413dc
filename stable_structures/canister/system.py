# SPDX-License-Identifier: Apache-2.0
"""`ic`: the system calls that a canister's code can make while a message runs (docs/platform.md#stable-memory).

Every function acts on the running message, raises `Unsupported` outside a canister, and traps if the platform does not
allow the call. Costs are O(1) plus the bytes that are copied.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ..memory.memory import PAGE_SIZE
from ..principal import Principal
from . import message as messages
from .calls import Call
from .errors import RejectCode, called_trap, wasm_trap
from .installed import Pending
from .message import Message, Reply

if TYPE_CHECKING:
    from ..memory.manager import MemoryManager
    from ..memory.memory import NativeMemory

_LIMIT_32: Final = 2**32
_TOO_LARGE: Final = "32 bit stable memory api used on a memory larger than 4GB"
_OUT_OF_BOUNDS: Final = "stable memory out of bounds"
_MAX_CERTIFIED: Final = 32
_SHOWN_BITS: Final = 256
"""Of a number in an error: Python refuses to write one of more than 4,300 digits."""
_NANOSECONDS: Final = 1_000_000_000


def _allowed(api: str) -> Message:
    message = messages.current(f"ic0.{api}")
    message.allow(api)
    return message


def _number(value: object, bits: int, what: str) -> int:
    """Return an argument for a system call; one that does not fit raises a Python error, as in the CDKs."""
    number = operator.index(value)  # type: ignore[arg-type]
    if not 0 <= number < 2**bits:
        raise OverflowError(f"{what} must be 0 to {2**bits - 1}, got {number if number.bit_length() <= _SHOWN_BITS else 'a larger one'}")
    return number


# ---- stable memory, 64 bits ----


def stable64_size() -> int:
    """Return the pages of the stable memory."""
    return _allowed("stable64_size").canister.memory.size()


def stable64_grow(pages: int) -> int:
    """Add zero pages; return the size before, or -1 if the limit is reached."""
    memory = _allowed("stable64_grow").canister.memory
    count = _number(pages, 64, "stable64_grow: pages")
    return memory.grow(count) if count < 2**47 else -1


def stable64_read(offset: int, length: int) -> bytes:
    """Return bytes of the stable memory; trap past its end. Reading 0 bytes works at any offset."""
    message = _allowed("stable64_read")
    offset, length = _number(offset, 64, "stable64_read: offset"), _number(length, 64, "stable64_read: length")
    _check_range(message, offset, length)
    return message.canister.memory.read(offset, length) if length else b""


def stable64_write(offset: int, data: bytes) -> None:
    """Write to the stable memory; trap past its end; never grow it."""
    message = _allowed("stable64_write")
    offset = _number(offset, 64, "stable64_write: offset")
    _check_range(message, offset, len(data))
    if data:
        message.canister.memory.write(offset, data)


def _check_range(message: Message, offset: int, length: int) -> None:
    if length and offset + length > message.canister.memory.nbytes:
        message.raise_trap(wasm_trap(_OUT_OF_BOUNDS))


# ---- stable memory, 32 bits ----


def _check_32(message: Message) -> None:
    if message.canister.memory.nbytes > _LIMIT_32:
        message.raise_trap(wasm_trap(_TOO_LARGE))


def stable_size() -> int:
    """Return the pages of the stable memory; trap if it is larger than 4 GiB."""
    message = _allowed("stable_size")
    _check_32(message)
    return message.canister.memory.size()


def stable_grow(pages: int) -> int:
    """Add zero pages; return -1 if it would become larger than 4 GiB; trap if it is already."""
    message = _allowed("stable_grow")
    count = _number(pages, 32, "stable_grow: pages")
    _check_32(message)
    memory = message.canister.memory
    return -1 if memory.size() + count > _LIMIT_32 // PAGE_SIZE else memory.grow(count)


def stable_read(offset: int, length: int) -> bytes:
    """Return bytes of the stable memory; trap past its end, or if it is larger than 4 GiB."""
    message = _allowed("stable_read")
    offset, length = _number(offset, 32, "stable_read: offset"), _number(length, 32, "stable_read: length")
    if length:
        _check_32(message)
    return stable64_read(offset, length)


def stable_write(offset: int, data: bytes) -> None:
    """Write to the stable memory; trap past its end, or if it is larger than 4 GiB."""
    message = _allowed("stable_write")
    offset = _number(offset, 32, "stable_write: offset")
    if data:
        _check_32(message)
    stable64_write(offset, data)


def stable_bytes() -> bytes:
    """Return the whole stable memory, through the 32-bit calls."""
    return stable_read(0, stable_size() * PAGE_SIZE) if stable_size() else b""


# ---- the message and the canister ----


def time() -> int:
    """Return nanoseconds since 1970: the same throughout a message, and never less than before."""
    return _allowed("time").time


def caller() -> Principal:
    """Return the sender of the message; the canister itself for timers and heartbeats."""
    return _allowed("msg_caller").context.caller


def id() -> Principal:  # noqa: A001 - the platform's CDKs call it that
    """Return the canister's own principal."""
    return _allowed("canister_self").canister.id


def method_name() -> str:
    """Return the method of the call that inspect_message checks."""
    return _allowed("msg_method_name").context.method


def accept_message() -> None:
    """Accept the call that inspect_message checks."""
    _allowed("accept_message").accepted = True


def is_controller(principal: Principal) -> bool:
    """Return whether the principal controls the canister."""
    return principal in _allowed("is_controller").canister.controllers


def canister_version() -> int:
    """Return the version of the canister, which counts its changes."""
    message = _allowed("canister_version")
    return message.canister.version if message.version is None else message.version


def canister_status() -> int:
    """Return 1 for running, 2 for stopping, 3 for stopped."""
    return ("", "running", "stopping", "stopped").index(_allowed("canister_status").canister.status)


def performance_counter(counter: int = 0) -> int:
    """Return 0: the harness does not count instructions."""
    _allowed("performance_counter")
    return _number(counter, 32, "performance_counter") * 0


def debug_print(*args: object) -> None:
    """Print a line to the canister's log, which keeps it even if the message traps."""
    _allowed("debug_print").canister.logs.append(" ".join(map(str, args)))


def trap(message: str) -> NoReturn:
    """End the message and undo its changes. No `except Exception` catches it."""
    running = _allowed("trap")
    error = called_trap(str(message))
    running.raise_trap(error)
    raise error


def reply(value: Any = None) -> None:
    """Reply to the call before the method ends; a second reply traps."""
    messages.current("ic0.msg_reply").answer(Reply(value))


def reject(message: str) -> None:
    """Reject the call, with code 4."""
    messages.current("ic0.msg_reject").answer(Reply(rejected=True, code=RejectCode.CANISTER_REJECT, message=str(message)))


def reject_code() -> int:
    """Return, in a callback, why the call was rejected; 0 if it was not."""
    rejection = _allowed("msg_reject_code").rejection
    return 0 if rejection is None else int(rejection.code)


def reject_message() -> str:
    """Return, in a reject callback, the text of the rejection."""
    rejection = _allowed("msg_reject_msg").rejection
    return "" if rejection is None else rejection.message


# ---- certified data and cycles ----


def set_certified_data(data: bytes) -> None:
    """Set the data that the subnet certifies; more than 32 bytes trap."""
    message = _allowed("certified_data_set")
    if len(data) > _MAX_CERTIFIED:
        message.raise_trap(wasm_trap(f"certified_data_set: data has {len(data)} bytes, at most {_MAX_CERTIFIED}"))
    message.canister.certified_data = bytes(data)


def data_certificate() -> bytes | None:
    """Return, in a query from outside that `canister.query` runs, `canister.data_certificate` as the test set it; None elsewhere."""
    return messages.current("ic0.data_certificate_present").data_certificate


def canister_balance() -> int:
    """Return the cycles of the canister: a number that the test sets as `canister.cycles`, and that calls move."""
    return _allowed("canister_cycle_balance").canister.cycles


def msg_cycles_available() -> int:
    """Return the cycles that came with the call and are not accepted yet."""
    return _allowed("msg_cycles_available").context.cycles


def msg_cycles_accept(most: int) -> int:
    """Accept up to `most` of the cycles that came with the call; return how many."""
    message = _allowed("msg_cycles_accept")
    taken = min(_number(most, 128, "msg_cycles_accept"), message.context.cycles)
    message.context.cycles -= taken
    message.canister.cycles += taken
    return taken


def msg_cycles_refunded() -> int:
    """Return, in a callback, the refunded cycles of the call."""
    return _allowed("msg_cycles_refunded").refunded


# ---- timers and calls ----


def set_timer(delay: float, function: Callable[[], Any]) -> int:
    """Run a function once, `delay` seconds from now, as a separate message; return the timer's number.

    It runs in `Canister.advance_time`. Timers belong to the heap: an upgrade drops them.
    """
    return _add_timer(delay, function, 0)


def set_timer_interval(interval: float, function: Callable[[], Any]) -> int:
    """Run a function every `interval` seconds; with 0, once a round of the platform, which takes about a second."""
    return _add_timer(interval, function, round(interval * _NANOSECONDS) or _NANOSECONDS)


def _add_timer(delay: float, function: Callable[[], Any], interval: int) -> int:
    message = _allowed("global_timer_set")
    if delay < 0:
        raise ValueError(f"set_timer: the delay must not be negative, got {delay}")
    return message.canister.timers.add(message.time + round(delay * _NANOSECONDS), interval, function)


def clear_timer(timer: int) -> None:
    """Remove a timer; do nothing if it does not exist."""
    _allowed("global_timer_set").canister.timers.clear(timer)


def call(principal: Principal | str, method: str, *args: Any, cycles: int = 0) -> Call:
    """Return a call to another canister: `await` it in an `async def` method, or pass it to `notify`.

    It goes to the `Canister` of this principal in the same process, or to the function that the test registered for it. Awaiting it raises
    `CallRejected` if it was rejected.
    """
    _allowed("call_new")
    target = Principal.from_text(principal) if isinstance(principal, str) else principal
    return Call(target, method, args, _number(cycles, 128, "call: cycles"))


def notify(call: Call) -> None:
    """Make a call without waiting for a reply: it is sent when the message has succeeded."""
    message = _allowed("call_new")
    pay(message, call)
    message.pending.append(Pending(call, None))


def pay(message: Message, call: Call) -> None:
    """Take the cycles of a call from the canister; trap if it has too few."""
    if call.cycles > message.canister.cycles:
        message.raise_trap(wasm_trap(f"call_cycles_add: {call.cycles} cycles wanted, the canister has {message.canister.cycles}"))
    message.canister.cycles -= call.cycles


# ---- for code that uses this library ----


def memory() -> NativeMemory:
    """Return the canister's stable memory, for one structure on all of it or for your own manager."""
    return messages.current("ic.memory").canister.memory


def manager() -> MemoryManager:
    """Return the manager of the canister's stable memory, one per installed program; created at the first use."""
    return messages.current("ic.manager").canister.program_manager()
