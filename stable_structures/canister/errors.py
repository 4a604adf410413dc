# SPDX-License-Identifier: Apache-2.0
"""How a canister rejects: the platform's codes and texts (docs/platform.md#lifecycle-status), as exceptions.

A trap inside the canister's code is a `Trap`, which is not an `Exception`, because nothing in a canister's Python can catch
a trap. The test sees it as `Trapped`, or as another `Rejected`.
"""

from __future__ import annotations

import enum
from typing import Any, Final

from ..errors import StableError, remade


class RejectCode(enum.IntEnum):
    """The reject codes of the interface specification."""

    SYS_FATAL = 1
    SYS_TRANSIENT = 2
    DESTINATION_INVALID = 3
    CANISTER_REJECT = 4
    CANISTER_ERROR = 5
    SYS_UNKNOWN = 6


class ErrorCode(enum.IntEnum):
    """The error codes of the replica; 503 is written IC0503."""

    CANISTER_NOT_FOUND = 301
    CANISTER_REJECTED = 406
    TRAPPED = 502
    CALLED_TRAP = 503
    CONTRACT_VIOLATION = 504
    INVALID_WASM = 505
    DID_NOT_REPLY = 506
    STOPPED = 508
    STOPPING = 509
    NOT_STOPPED = 510
    INVALID_CONTROLLER = 512
    NON_EMPTY = 514
    REJECTED_MESSAGE = 516
    INSTRUCTION_LIMIT = 522
    MEMORY_ACCESS_LIMIT = 524
    METHOD_NOT_FOUND = 536
    NO_MODULE = 537
    HEAP_LIMIT = 539

    def __str__(self) -> str:
        return f"IC{self.value:04}"


_REJECT_CODES: Final[dict[ErrorCode, RejectCode]] = {
    ErrorCode.CANISTER_NOT_FOUND: RejectCode.DESTINATION_INVALID,
    ErrorCode.CANISTER_REJECTED: RejectCode.CANISTER_REJECT,
}


class Rejected(StableError, RuntimeError):
    """A message that the platform or the canister rejected.

    `message` is the platform's text, `error_code` (and `code`) its code (`ErrorCode`, as in IC0508) and `reject_code` what an
    inter-canister caller sees (`RejectCode`). Source: interface specification (canister status).
    """

    def __init__(self, error_code: ErrorCode, message: str, reject_code: RejectCode | None = None) -> None:
        super().__init__(f"{error_code!s}: {message}")
        self.code = self.error_code = error_code
        self.message = message
        self.reject_code = reject_code or _REJECT_CODES.get(error_code, RejectCode.CANISTER_ERROR)


class Trapped(Rejected):
    """A message that trapped: everything it changed is as before. `__cause__` is the Python exception, if there was one.

    The traceback of the cause shows where it happened; the local variables of its frames are cleared, because they
    belong to a heap that is gone. Source: interface specification (entry points).
    """


class Trap(BaseException):
    """A trap that leaves the canister's code."""

    def __init__(self, error_code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `copy` and `pickle`."""
        return remade(super().__reduce__())


def called_trap(message: str) -> Trap:
    """Return the trap of `ic0.trap` with a message."""
    return Trap(ErrorCode.CALLED_TRAP, f"Canister called `ic0.trap` with message: {message}")


def wasm_trap(problem: str) -> Trap:
    """Return a trap of the machine, such as an access out of bounds."""
    return Trap(ErrorCode.TRAPPED, f"Canister trapped: {problem}")


def panicked(message: str, place: str) -> Trap:
    """Return a Rust panic as ic-cdk's hook reports it."""
    return called_trap(f"Panicked at '{message}', {place}")


def violation(api: str, mode: str) -> Trap:
    """Return the trap for a system call that is not allowed here."""
    return Trap(ErrorCode.CONTRACT_VIOLATION, f'Canister violated contract: "{api}" cannot be executed in {mode} mode')
