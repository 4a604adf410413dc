# SPDX-License-Identifier: Apache-2.0
"""The interface of an installed program, Python or Wasm, that the harness uses."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from ..memory.manager import MemoryManager
    from .calls import Call
    from .errors import Trap
    from .message import CallContext, Kind, Message, Reply

HeapMode: TypeAlias = Literal["restore", "reimport", "keep"]


@dataclass(frozen=True)
class Method:
    """A method that the program exports; `function` and `guard` are for Python."""

    name: str
    kind: Kind
    function: Callable[..., Any]
    guard: Callable[..., Any] | None = None

    def wrong_arguments(self, args: tuple[Any, ...], error: TypeError) -> TypeError | None:
        """Return the error of a call that did not reach the function, with its signature; None if the function itself raised it."""
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            return None
        try:
            inspect.signature(self.function, follow_wrapped=False).bind(*args)
        except TypeError:
            return TypeError(f"{error}; call it as {self.name}{inspect.signature(self.function)}")
        except ValueError:  # written in C, without a signature
            pass
        return None


class Callback(Protocol):
    """The code that runs when a call is answered."""

    @property
    def cleanup(self) -> Callable[[Message], None] | None:
        """Return the code to run if the callback traps."""

    def belongs_to(self, program: Program) -> bool:
        """Return whether this program can run it."""

    def run(self, message: Message, reply: Reply) -> None:
        """Run it with the reply."""


@dataclass
class Pending:
    """A call to make when its message has succeeded; without a callback nobody waits for the reply."""

    call: Call
    callback: Callback | None


class Program(Protocol):
    """An installed program. Its code runs inside `run()`, and a `Trap` is how it fails."""

    number: int
    manager: MemoryManager | None
    methods: dict[str, Method]

    @property
    def name(self) -> str:
        """Return the name to show."""

    @property
    def overwrites(self) -> bool:
        """Return whether its manager is created over whatever the stable memory holds."""

    @property
    def code(self) -> Any:
        """Return the code that it was created from, to install it again."""

    def again(self) -> Program:
        """Return a program of the same code that has not started."""

    def image(self, heap: HeapMode) -> Callable[[], None]:
        """Return a function that restores the program to its current state."""

    def commit(self) -> None:
        """Keep its current state."""

    def close(self) -> None:
        """Release its resources; it will not run again."""

    def snapshot(self) -> Callable[[], Program]:
        """Return a function that creates programs in the current state of this one."""

    def heap_used(self) -> int:
        """Return the size of its heap in bytes."""

    def run(self, body: Callable[[], None]) -> None:
        """Run some of its code, with its modules and files in place."""

    def failure(self, message: Message, error: BaseException) -> Trap:
        """Return the trap for a Python exception in its message."""

    def load(self, message: Message) -> None:
        """Run its first code: the source of a module, or (start)."""

    def lifecycle(self, kind: Kind, args: tuple[Any, ...], message: Message) -> None:
        """Run the hook of a lifecycle message, if there is one."""

    def has_inspect(self) -> bool:
        """Return whether calls from outside are inspected."""

    def inspect(self, message: Message) -> None:
        """Inspect a call from outside."""

    def prepare(self, args: tuple[Any, ...], method: Method) -> tuple[Any, ...]:
        """Convert arguments of the test to those that the program gets."""

    def receive(self, call: Call, method: Method) -> tuple[Any, ...]:
        """Convert the arguments of another canister's call to those that the program gets."""

    def enter(self, method: Method, message: Message) -> None:
        """Run the first message of a call."""

    def outward(self, reply: Reply) -> Reply:
        """Return a reply, as others get it."""

    def returned(self, method: Method, context: CallContext) -> Reply | None:
        """Return the reply of a method that has ended without one; None if it did not reply."""

    def respond(self, call: Call, method: Method, reply: Reply) -> Reply:
        """Return a reply, as the canister that made this call gets it."""

    def show(self, reply: Reply, method: Method) -> Any:
        """Return the value of a reply, as the test gets it."""

    def next_timer(self, until: int) -> tuple[int, Callable[[Message], None]] | None:
        """Return the time and function of the timer that is due first, by `until`, and remove it."""

    def heartbeat(self) -> Callable[[Message], None] | None:
        """Return the function to run once per round."""
