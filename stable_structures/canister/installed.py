# SPDX-License-Identifier: Apache-2.0
"""What the harness needs of an installed program, whether it is Python or Wasm."""

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
        except ValueError:  # written in C, and it does not tell its arguments
            pass
        return None


class Callback(Protocol):
    """What runs when a call is answered."""

    @property
    def cleanup(self) -> Callable[[Message], None] | None:
        """Return what runs where the callback traps."""

    def belongs_to(self, program: Program) -> bool:
        """Return whether this program can run it."""

    def run(self, message: Message, reply: Reply) -> None:
        """Run it with the answer."""


@dataclass
class Pending:
    """A call that is made when its message has ended well; without a callback nobody waits for the answer."""

    call: Call
    callback: Callback | None


class Program(Protocol):
    """An installed program. Its code runs inside `run()`, and a `Trap` is how it fails."""

    number: int
    manager: MemoryManager | None
    methods: dict[str, Method]

    @property
    def name(self) -> str:
        """Return what to call it."""

    @property
    def overwrites(self) -> bool:
        """Return whether its manager is made over whatever the stable memory holds."""

    @property
    def code(self) -> Any:
        """Return what it was made of, to be installed again."""

    def again(self) -> Program:
        """Return a program of the same code that has not begun."""

    def image(self, heap: HeapMode) -> Callable[[], None]:
        """Return what puts the program back to where it is now."""

    def commit(self) -> None:
        """What it holds now stays."""

    def close(self) -> None:
        """It will not run again."""

    def snapshot(self) -> Callable[[], Program]:
        """Return what gives a program that is as this one is now, any number of times."""

    def heap_used(self) -> int:
        """Bytes of its heap."""

    def run(self, body: Callable[[], None]) -> None:
        """Runs some of its code, with its modules and files in place."""

    def failure(self, message: Message, error: BaseException) -> Trap:
        """Return the trap for a Python exception in its message."""

    def load(self, message: Message) -> None:
        """Its first code: the source of a module, or (start)."""

    def lifecycle(self, kind: Kind, args: tuple[Any, ...], message: Message) -> None:
        """Run the hook of a lifecycle message, if there is one."""

    def has_inspect(self) -> bool:
        """Return whether calls from outside are inspected."""

    def inspect(self, message: Message) -> None:
        """Look at a call from outside."""

    def prepare(self, args: tuple[Any, ...], method: Method) -> tuple[Any, ...]:
        """Arguments as the test gives them, as the program gets them."""

    def receive(self, call: Call, method: Method) -> tuple[Any, ...]:
        """Arguments of another canister's call, as the program gets them."""

    def enter(self, method: Method, message: Message) -> None:
        """The first message of a call."""

    def outward(self, reply: Reply) -> Reply:
        """Return an answer, as others get it."""

    def returned(self, method: Method, context: CallContext) -> Reply | None:
        """Return the answer of a method that has ended without giving one; None if it did not reply."""

    def respond(self, call: Call, method: Method, reply: Reply) -> Reply:
        """Return an answer, as the canister that made this call gets it."""

    def show(self, reply: Reply, method: Method) -> Any:
        """Return the value of an answer, as the test gets it."""

    def next_timer(self, until: int) -> tuple[int, Callable[[Message], None]] | None:
        """Return the timer that is due first, by `until`: when, and what runs. It is taken from the list."""

    def heartbeat(self) -> Callable[[Message], None] | None:
        """Return what runs once a round."""
