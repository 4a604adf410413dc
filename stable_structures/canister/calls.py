# SPDX-License-Identifier: Apache-2.0
"""Calls to other canisters, and the steps of a method that waits for them.

A method that waits is a generator (Kybra, Basilisk) or a coroutine (`async def`). Each step of it is a separate message:
its changes before a wait are committed, and a trap afterwards undoes only later changes (docs/platform.md#atomicity).
"""

from __future__ import annotations

import reprlib
import types
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final

from ..errors import Unsupported
from ..principal import Principal
from .errors import ErrorCode, RejectCode, Rejected
from .message import Reply

Handler = Callable[..., Any]
"""What a test registers for a canister that does not exist here: called with the arguments of the call."""


class CallRejected(Rejected):
    """What `await call(...)` raises if the other canister rejected or trapped; `message` is the reject message."""

    def __init__(self, reject_code: RejectCode, message: str) -> None:
        super().__init__(ErrorCode.CANISTER_REJECTED, message, reject_code)
        self.args = (message,)


@dataclass(repr=False)
class Call:
    """A call to make: `await` it (or yield it from a generator), or pass it to `notify`."""

    principal: Principal
    method: str
    args: tuple[Any, ...]
    cycles: int = 0
    raw: bool = False
    finish: Callable[[Reply], Any] | None = None
    """Turns the reply into the result for the waiting code; None: the value, or `CallRejected`."""

    def __repr__(self) -> str:
        return f"<Call of {self.principal}.{self.method}{reprlib.repr(self.args)}>"

    def __await__(self) -> Generator[Call, Any, Any]:
        return (yield self)

    def values(self) -> tuple[Any, ...]:
        """Return the arguments, for a handler of the test."""
        return self.args

    def packed(self, handler: Handler, value: Any) -> Any:
        """Return the reply of a test's handler, as the caller gets it."""
        del handler
        return value


class Step:
    """The result of one step of a method: it waits for `call`, or is done with `value`."""

    __slots__ = ("call", "value")

    def __init__(self, call: Call | None, value: Any = None) -> None:
        self.call = call
        self.value = value


_WAITING: Final = (types.GeneratorType, types.CoroutineType)


def is_waiting(value: object) -> bool:
    """Return whether a method returned something that runs step by step."""
    return isinstance(value, _WAITING)


class Task:
    """A running method: a generator or coroutine, and those that it waits for itself."""

    def __init__(self, start: Any, as_call: Callable[[Any], Call | None]) -> None:
        self._stack = [start]
        self._as_call = as_call

    @property
    def frames(self) -> list[Any]:
        """Return the suspended generators: part of the heap."""
        return self._stack

    def __repr__(self) -> str:
        return f"<Task {self._stack[0].__qualname__ if self._stack else 'done'}>"

    def step(self, answer: Any = None, error: BaseException | None = None) -> Step:
        """Run until the next call or the end. Raises what the code raises."""
        while True:
            top = self._stack[-1]
            try:
                given = top.throw(error) if error is not None else top.send(answer)
            except StopIteration as stop:
                self._stack.pop()
                if not self._stack:
                    return Step(None, stop.value)
                answer, error = stop.value, None
                continue
            answer = error = None
            if is_waiting(given):
                self._stack.append(given)
                continue
            call = given if isinstance(given, Call) else self._as_call(given)
            if call is None:
                raise Unsupported(f"a canister can only wait for calls to canisters, not for {type(given).__name__}; yield or await a call")
            return Step(call)

    def close(self) -> None:
        """End what is still suspended."""
        for generator in reversed(self._stack):
            generator.close()


def rejection_of(error: Rejected) -> Reply:
    """Return the part of a failed call that the caller sees."""
    explicit = error.error_code == ErrorCode.CANISTER_REJECTED
    return Reply(rejected=True, code=error.reject_code, message=error.message if explicit else str(error))


def deliver(call: Call, reply: Reply) -> tuple[Any, BaseException | None]:
    """Return the result of a reply for the waiting code: a value, or an exception."""
    if call.finish is not None:
        return call.finish(reply), None
    if not reply.rejected:
        return reply.value, None
    return None, CallRejected(reply.code, reply.message)
