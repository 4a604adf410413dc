# SPDX-License-Identifier: Apache-2.0
"""An installed program: its modules, the methods and hooks that it exports, and what it has on its heap beside them."""

from __future__ import annotations

import inspect
import itertools
import reprlib
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .calls import Call
from .errors import SourceError, Trap, Unsupported, called_trap, violation
from .message import Kind, Message, Reply
from .modules import Modules

if TYPE_CHECKING:
    from types import ModuleType

    from ..manager import MemoryManager
    from .calls import Task
    from .cdk.files import FileSystem
    from .source import Code

F = TypeVar("F", bound=Callable[..., Any])

MARK: Final = "__canister__"
METHODS: Final[dict[str, Kind]] = {"query": Kind.QUERY, "update": Kind.UPDATE, "composite_query": Kind.COMPOSITE_QUERY}
HOOKS: Final = ("init", "pre_upgrade", "post_upgrade", "heartbeat", "inspect_message")

_numbers: Final = itertools.count(1)


@dataclass(frozen=True)
class Mark:
    """What a decorator says of a function."""

    role: str
    guard: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Method:
    """A function that the program exports."""

    name: str
    kind: Kind
    function: Callable[..., Any]
    guard: Callable[..., Any] | None = None

    def wrong_arguments(self, args: tuple[Any, ...], error: TypeError) -> TypeError | None:
        """The error of a call that did not reach the function, with its signature; None where the function itself raised it."""
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            return None
        try:
            inspect.signature(self.function, follow_wrapped=False).bind(*args)
        except TypeError:
            return TypeError(f"{error}; call it as {self.name}{inspect.signature(self.function)}")
        except ValueError:  # written in C, and it does not tell its arguments
            pass
        return None


def mark(function: F, role: str, guard: Callable[..., Any] | None = None) -> F:
    """Marks a function as a method or hook; gives the function itself."""
    if not callable(function):
        raise TypeError(f"@{role} goes above a function, got {type(function).__name__}")
    setattr(function, MARK, Mark(role, guard))
    return function


class Dialect:
    """How the code of one CDK behaves where CDKs differ. This one is our own plain form."""

    name = "plain"
    overwrites = False
    """Whether the platform's structures overwrite what a memory holds that is none of them."""

    def start(self, program: Program) -> None:
        """Before the program's first line that uses the CDK."""

    def made(self, program: Program) -> None:
        """After the program's source has run: finds what it exports."""
        found: dict[str, Any] = {
            name: item for name, item in vars(program.main).items() if hasattr(item, MARK) and not isinstance(item, type)
        }
        for name, function in found.items():
            program.export(name, function)

    def before_hook(self, program: Program, kind: Kind) -> None:
        """Before the hook of a lifecycle message."""

    def after_hook(self, program: Program, kind: Kind) -> None:
        """After the hook of a lifecycle message."""

    def failure(self, message: Message, error: BaseException) -> Trap:
        """The trap for a Python exception that nobody caught in this message."""
        del message
        return called_trap(describe(error))

    def failed_source(self, error: BaseException) -> Trap:
        """The trap for an exception while the source ran."""
        return called_trap(describe(error))

    def as_call(self, given: Any) -> Call | None:
        """What a method yielded as a call; None where it is none."""
        return given if isinstance(given, Call) else None

    def check_guard(self, guard: Callable[..., Any], message: Message) -> bool:
        """Runs the guard of a method; whether the method may run. Ours raises, or says why not as text."""
        refused = guard()
        if refused is None or refused is True:
            return True
        message.answer(Reply(rejected=True, message=refused if isinstance(refused, str) else f"{guard.__name__} refused the call"))
        return False

    def inward(self, value: Any) -> Any:
        """A value of the test, or of another canister, as the program's code sees it."""
        return value

    def outward(self, value: Any) -> Any:
        """A value of the program's code as the test, or another canister, gets it."""
        return value

    def arguments(self, method: Method, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of a call as the method is to have them."""
        del method
        return args

    def replies_by_itself(self, method: Method) -> bool:
        """Whether the method answers by `ic.reply` and what it returns is no answer."""
        return not method.name  # ours never does

    def from_raw(self, method: Method, data: bytes) -> tuple[Any, ...]:
        """The arguments of a call that came as Candid."""
        raise Unsupported(
            f"{method.name} got {len(data)} bytes: calls with raw Candid arguments are for canisters written with kybra or basilisk"
        )

    def to_raw(self, method: Method, value: Any) -> bytes:
        """The Candid of a method's answer."""
        raise Unsupported(
            f"{method.name} answered {type(value).__name__}: raw Candid answers are for canisters written with kybra or basilisk"
        )


def describe(error: BaseException) -> str:
    """`TypeName: message`, as the CDKs report a Python exception."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@dataclass
class Timer:
    """A function that is to run at a time, once or (interval > 0) again and again."""

    due: int
    interval: int
    function: Callable[[], Any]


class Timers:
    """The timers of a program, by number."""

    def __init__(self) -> None:
        self.entries: dict[int, Timer] = {}
        self._next = 1

    def __repr__(self) -> str:
        return f"<Timers: {len(self.entries)} due {reprlib.repr(sorted(timer.due for timer in self.entries.values()))}>"

    def add(self, due: int, interval: int, function: Callable[[], Any]) -> int:
        """A new timer; gives its number."""
        if not callable(function):
            raise TypeError(f"a timer runs a function, got {type(function).__name__}")
        number = self._next
        self._next += 1
        self.entries[number] = Timer(due, interval, function)
        return number

    def clear(self, number: int) -> None:
        """Forgets a timer."""
        self.entries.pop(number, None)

    def first_due(self, until: int) -> int | None:
        """The number of the timer that is due first, by `until`."""
        due = [(timer.due, number) for number, timer in self.entries.items() if timer.due <= until]
        return min(due)[1] if due else None

    def image(self) -> tuple[int, dict[int, Timer]]:
        """What `restore` needs."""
        return self._next, {number: Timer(**vars(timer)) for number, timer in self.entries.items()}

    def restore(self, image: tuple[int, dict[int, Timer]]) -> None:
        """Puts the timers back as they were."""
        self._next, entries = image
        self.entries = {number: Timer(**vars(timer)) for number, timer in entries.items()}


class Program:
    """One run of a canister's source: a namespace of its own."""

    def __init__(self, code: Code) -> None:
        from .actor import PLAIN  # noqa: PLC0415 - the plain form is made of what is here

        self.code = code
        self.number = next(_numbers)
        self.modules = Modules(code.search, {})
        self.dialect: Dialect = PLAIN
        self.methods: dict[str, Method] = {}
        self.hooks: dict[str, Method] = {}
        self.timers = Timers()
        self.tasks: set[Task] = set()
        self.actor: Any = None
        self.manager: MemoryManager | None = None
        self.stores: dict[Any, Any] = {}
        """Structures that the CDK keeps for the program, by what names them there."""
        self.files: FileSystem | None = None
        self.main: ModuleType
        self._while_active = ExitStack()

    def __repr__(self) -> str:
        return f"<Program {self.number} {self.code.name}, {self.dialect.name}, {len(self.methods)} methods>"

    @contextmanager
    def active(self) -> Iterator[None]:
        """The program's modules, and its files where it has some, in place of the test's."""
        from .cdk import Finder  # noqa: PLC0415 - the CDKs are made of what is here

        finder = Finder(self)
        with self.modules.active(), ExitStack() as self._while_active:
            sys.meta_path.insert(0, finder)
            self._while_active.callback(sys.meta_path.remove, finder)
            if self.files is not None:
                self._while_active.enter_context(self.files.active())
            yield

    def use_files(self, files: FileSystem) -> None:
        """From here on the program has files of its own. It must be active."""
        self.files = files
        self._while_active.enter_context(files.active())

    def load(self) -> None:
        """Runs the source and finds what it exports. The program must be active. Raises `Trap`."""
        try:
            self.main = self.code.run()
            self.dialect.made(self)
        except (Unsupported, SourceError):
            raise
        except Exception as error:
            raise self.dialect.failed_source(error) from error
        if not self.methods and not self.hooks and self.dialect.name == "plain":  # else it was written as a canister
            raise SourceError(
                f"{self.code.filename} exports nothing: "
                "put @query or @update (of stable_structures.canister, basilisk or kybra) above its methods"
            )

    def speak(self, dialect: Dialect) -> None:
        """The program uses this CDK."""
        if self.dialect.name not in ("plain", dialect.name):
            raise Unsupported(f"the canister imports {dialect.name} and {self.dialect.name}; a canister is written with one of them")
        if self.dialect.name != dialect.name:
            self.dialect = dialect
            dialect.start(self)

    def export(self, name: str, function: Callable[..., Any]) -> None:
        """Exports a function that has a mark."""
        marked: Mark = getattr(function, MARK)
        if marked.role in METHODS:
            self.methods[name] = Method(name, METHODS[marked.role], function, marked.guard)
            return
        if marked.role in self.hooks:
            other = self.hooks[marked.role].name
            raise SourceError(f"two functions are @{marked.role}: {other} and {name}; a canister has one")
        self.hooks[marked.role] = Method(name, Kind.UPDATE, function, marked.guard)

    def run_hook(self, role: str, args: tuple[Any, ...], message: Message) -> Any:
        """Runs a hook where there is one, with as many of the arguments as it takes."""
        hook = self.hooks.get(role)
        if hook is None:
            return None
        if hook.guard is not None and not self.dialect.check_guard(hook.guard, message):
            return None
        return hook.function(*args[: _positional(hook.function)])

    def heap_roots(self) -> list[Any]:
        """What the program's objects are reachable from."""
        tasks = [frame for task in self.tasks for frame in task.frames]
        timers = [timer.function for timer in self.timers.entries.values()]
        files = [] if self.files is None else self.files.roots()
        return [*self.modules.private.values(), self.actor, *tasks, *timers, *files]


def _positional(function: Callable[..., Any]) -> int:
    """How many positional arguments a function takes."""
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return sys.maxsize
    return sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)


def refuse_call(message: Message) -> Trap:
    """The trap of a message that waits for a call and may not make one."""
    return violation("ic0_call_new", message.kind.value)
