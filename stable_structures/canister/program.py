# SPDX-License-Identifier: Apache-2.0
"""An installed program: its modules, its exported methods and hooks, and the rest of its heap."""

from __future__ import annotations

import inspect
import itertools
import reprlib
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..encodings.candid.codec import decode
from ..errors import SourceError, StableError, Unsupported
from . import calls, system
from .annotations import encoded_reply
from .calls import Call, Task
from .cdk import Finder
from .errors import Trap, called_trap, violation
from .heap import HeapImage, heap_size
from .installed import HeapMode, Method, Pending
from .installed import Program as Installed
from .message import INSTALLS, CallContext, Kind, Message, Reply
from .modules import Modules
from .routing import private_copy

if TYPE_CHECKING:
    from types import ModuleType

    from ..memory.manager import MemoryManager
    from ..structures.structure import Structure
    from .cdk.files import FileSystem
    from .source import Code

F = TypeVar("F", bound=Callable[..., Any])

MARK: Final = "__canister__"
METHODS: Final[dict[str, Kind]] = {"query": Kind.QUERY, "update": Kind.UPDATE, "composite_query": Kind.COMPOSITE_QUERY}
HOOKS: Final = ("init", "pre_upgrade", "post_upgrade", "heartbeat", "inspect_message")

_LIFECYCLE: Final = {Kind.INIT: "init", Kind.PRE_UPGRADE: "pre_upgrade", Kind.POST_UPGRADE: "post_upgrade"}

program_numbers: Final = itertools.count(1)
"""Numbers all programs, Python or Wasm: a memory records by it which program uses it."""


@dataclass(frozen=True)
class Mark:
    """What a decorator records about a function."""

    role: str
    guard: Callable[..., Any] | None
    owner: int
    """The function's `id`: `functools.wraps` copies the marks of another one, which a mark of the wrapper's own replaces."""


def mark(function: F, role: str, guard: Callable[..., Any] | None = None) -> F:
    """Mark a function as a method or hook; return the function itself. One function may be several hooks, but only one method."""
    if not callable(function):
        raise TypeError(f"@{role} must be written above a function, got {type(function).__name__}")
    marks = [one for one in getattr(function, MARK, ()) if one.owner == id(function) and one.role != role]
    for other in marks:
        if role in METHODS or other.role in METHODS:
            name = getattr(function, "__name__", type(function).__name__)
            raise TypeError(f"{name} is @{role} and @{other.role}: a method is one of them; write two functions")
    setattr(function, MARK, (*marks, Mark(role, guard, id(function))))
    return function


class CdkAdapter:
    """How the code of one CDK behaves where CDKs differ. This one is our own plain form."""

    name = "plain"
    overwrites = False
    """Whether the platform's structures overwrite other content of a memory."""

    def start(self, program: Program) -> None:
        """Prepare for the program's first line that uses the CDK."""

    def made(self, program: Program) -> None:
        """Find the exports of the program after its source has run."""
        found: dict[str, Any] = {
            name: item for name, item in vars(program.main).items() if hasattr(item, MARK) and not isinstance(item, type)
        }
        for name, function in found.items():
            program.export(name, function)

    def before_hook(self, program: Program, kind: Kind) -> None:
        """Do what comes before the hook of a lifecycle message."""

    def after_hook(self, program: Program, kind: Kind) -> None:
        """Do what comes after the hook of a lifecycle message."""

    def failure(self, message: Message, error: BaseException) -> Trap:
        """Return the trap for a Python exception that nobody caught in this message."""
        del message
        return called_trap(describe(error))

    def failed_source(self, error: BaseException) -> Trap:
        """Return the trap for an exception while the source ran."""
        return called_trap(describe(error))

    def as_call(self, given: Any) -> Call | None:
        """Return the value that a method yielded, as a call; None if it is not a call."""
        return given if isinstance(given, Call) else None

    def check_guard(self, guard: Callable[..., Any], message: Message) -> bool:
        """Run the guard of a method; return whether the method may run. A guard of this form raises, or returns the reason as text."""
        refused = guard()
        if refused is None or refused is True:
            return True
        message.answer(Reply(rejected=True, message=refused if isinstance(refused, str) else f"{guard.__name__} refused the call"))
        return False

    def inward(self, value: Any) -> Any:
        """Return a value of the test, or of another canister, as the program's code sees it."""
        return value

    def outward(self, value: Any) -> Any:
        """Return a value of the program's code as the test, or another canister, gets it."""
        return value

    def arguments(self, method: Method, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments of a call as the method expects them."""
        del method
        return args

    def replies_by_itself(self, method: Method) -> bool:
        """Return whether the method replies by `ic.reply`, so that its result is not the reply."""
        return not method.name  # ours never does

    def from_raw(self, method: Method, data: bytes) -> tuple[Any, ...]:
        """Return the arguments of a call that came as Candid, typed by the message."""
        del method
        return tuple(decode(data))

    def to_raw(self, method: Method, value: Any) -> bytes:
        """Return the Candid of a method's reply, typed by its annotation or else by the value; bytes that are already a message stay."""
        return encoded_reply(method.function, value)


def describe(error: BaseException) -> str:
    """Return `TypeName: message`, as the CDKs report a Python exception."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@dataclass
class Timer:
    """A function to run at a given time, once or (interval > 0) repeatedly."""

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
        """Add a timer; return its number."""
        if not callable(function):
            raise TypeError(f"a timer needs a function, got {type(function).__name__}")
        number = self._next
        self._next += 1
        self.entries[number] = Timer(due, interval, function)
        return number

    def clear(self, number: int) -> None:
        """Forget a timer."""
        self.entries.pop(number, None)

    def first_due(self, until: int) -> int | None:
        """Return the number of the timer that is due first, by `until`."""
        due = [(timer.due, number) for number, timer in self.entries.items() if timer.due <= until]
        return min(due)[1] if due else None

    def image(self) -> tuple[int, dict[int, Timer]]:
        """Return the state that `restore` takes."""
        return self._next, {number: Timer(**vars(timer)) for number, timer in self.entries.items()}

    def restore(self, image: tuple[int, dict[int, Timer]]) -> None:
        """Put the timers back as they were."""
        self._next, entries = image
        self.entries = {number: Timer(**vars(timer)) for number, timer in entries.items()}


def _remove(items: list[Any], item: Any) -> None:
    if item in items:
        items.remove(item)


def _run_backwards(actions: list[Callable[[], None]]) -> None:
    for action in reversed(actions):
        action()


class Program:
    """One run of a canister's source, in its own namespace."""

    def __init__(self, code: Code, plain: CdkAdapter) -> None:
        """`plain` is the form of a program that imports no CDK."""
        self.code = code
        self._plain = plain
        self.number = next(program_numbers)
        self.modules = Modules(code.search, {})
        self.adapter: CdkAdapter = plain
        self.methods: dict[str, Method] = {}
        self.hooks: dict[str, Method] = {}
        self.timers = Timers()
        self.tasks: set[Task] = set()
        self.actor: Any = None
        self.manager: MemoryManager | None = None
        self.stores: dict[Any, Any] = {}
        """Structures that the CDK keeps for the program, by the CDK's key."""
        self.files: FileSystem | None = None
        self.main: ModuleType
        self._undo: list[Callable[[], None]] = []
        """What ends its turn: the machine's files and imports as they were."""

    def __repr__(self) -> str:
        return f"<Program {self.number} {self.code.name}, {self.adapter.name}, {len(self.methods)} methods>"

    def run(self, body: Callable[[], None]) -> None:
        """Run a function with the program's modules, and its files if it has some, in place of the test's."""
        self.modules.run(lambda: self._run(Finder(self), body))

    def _run(self, finder: Any, body: Callable[[], None]) -> None:
        undo = self._undo = [lambda: _remove(sys.meta_path, finder)]
        try:
            sys.meta_path.insert(0, finder)
            if self.files is not None:
                self.files.put_in_place(undo)
            body()
        finally:
            done = False
            try:
                _run_backwards(undo)
                done = True
            finally:
                if not done:  # a signal handler raised meanwhile; twice is as good as once
                    _run_backwards(undo)

    def use_files(self, files: FileSystem) -> None:
        """Give the program its own files from now on. It must run."""
        self.files = files
        files.put_in_place(self._undo)

    @property
    def name(self) -> str:
        """Return the name of its main module."""
        return self.code.name

    def load(self, message: Message) -> None:
        """Run the source and find its exports. The program must be active. Raises `Trap`."""
        del message
        try:
            self.main = self.code.run()
            self.adapter.made(self)
        except (Unsupported, SourceError):
            raise
        except Exception as error:
            raise self.adapter.failed_source(error) from error
        if not self.methods and not self.hooks and self.adapter.name == "plain":  # else it was written as a canister
            raise SourceError(
                f"{self.code.filename} exports nothing: "
                "put @query or @update (of stable_structures.canister, basilisk or kybra) above its methods"
            )

    def use_adapter(self, adapter: CdkAdapter) -> None:
        """Note that the program uses this CDK."""
        if self.adapter.name not in ("plain", adapter.name):
            raise Unsupported(f"the canister imports {adapter.name} and {self.adapter.name}; use only one of them in a canister")
        if self.adapter.name != adapter.name:
            self.adapter = adapter
            adapter.start(self)

    def export(self, name: str, function: Callable[..., Any]) -> None:
        """Export a function that has marks."""
        marks: tuple[Mark, ...] = getattr(function, MARK)
        for marked in marks:
            self._export_as(name, function, marked)

    def _export_as(self, name: str, function: Callable[..., Any], marked: Mark) -> None:
        if marked.role in METHODS:
            self.methods[name] = Method(name, METHODS[marked.role], function, marked.guard)
            return
        if marked.role in self.hooks:
            other = self.hooks[marked.role].name
            raise SourceError(f"two functions are @{marked.role}: {other} and {name}; a canister can have only one")
        self.hooks[marked.role] = Method(name, Kind.UPDATE, function, marked.guard)

    def run_hook(self, role: str, args: tuple[Any, ...], message: Message) -> Any:
        """Run a hook if there is one, with as many arguments as it takes."""
        hook = self.hooks.get(role)
        if hook is None:
            return None
        if hook.guard is not None and not self.adapter.check_guard(hook.guard, message):
            return None
        return hook.function(*args[: _positional(hook.function)])

    def heap_roots(self) -> list[Any]:
        """Return the roots of the program's objects."""
        tasks = [frame for task in self.tasks for frame in task.frames]
        timers = [timer.function for timer in self.timers.entries.values()]
        files = [] if self.files is None else self.files.roots()
        return [*self.modules.private.values(), self.actor, *tasks, *timers, *files]

    # ---- all or nothing ----

    def heap_image(self) -> HeapImage:
        """Return the content of its objects. O(objects)."""
        return HeapImage(self.heap_roots(), self.modules.private.__contains__)

    def heap_used(self) -> int:
        """Return the bytes of its objects by `sys.getsizeof`. O(objects)."""
        return heap_size(self.heap_roots(), self.modules.private.__contains__)

    @property
    def overwrites(self) -> bool:
        """Return whether its manager is created over whatever the stable memory holds, as the platform's drop-ins do."""
        return self.adapter.overwrites

    def image(self, heap: HeapMode) -> Callable[[], None]:
        """Return a function that restores timers, structures of the CDK and, with "restore", all objects. O(objects)."""
        timers, stores, manager, modules = self.timers.image(), dict(self.stores), self.manager, dict(self.modules.private)
        objects = self.heap_image() if heap == "restore" else None

        def restore() -> None:
            self.timers.restore(timers)
            for name in self.stores.keys() - stores.keys():
                release(self.stores[name])
            self.stores, self.manager = stores, manager
            if objects is not None:
                objects.restore()
                self.modules.private = modules

        return restore

    def snapshot(self) -> Callable[[], Installed]:
        """Return a function that restores this same program to its current state. O(objects)."""
        timers, stores, manager, modules = self.timers.image(), dict(self.stores), self.manager, dict(self.modules.private)
        objects = self.heap_image()

        def load() -> Installed:
            self.modules.private = dict(modules)
            self.timers.restore(timers)
            self.stores, self.manager = dict(stores), manager
            self.tasks.clear()
            objects.restore()
            return self

        return load

    def again(self) -> Program:
        """Return a program of the same source."""
        return Program(self.code, self._plain)

    def commit(self) -> None:
        """Do nothing: Python's objects need no commit."""

    def close(self) -> None:
        """Do nothing: Python frees its objects itself."""

    # ---- messages ----

    def failure(self, message: Message, error: BaseException) -> Trap:
        """Return the trap for a Python exception that nobody caught."""
        return self.adapter.failure(message, error)

    def lifecycle(self, kind: Kind, args: tuple[Any, ...], message: Message) -> None:
        """Run a lifecycle hook, with the CDK's additions."""
        role = _LIFECYCLE[kind]
        self.adapter.before_hook(self, kind)
        value = self.run_hook(role, args if kind is Kind.PRE_UPGRADE else self.adapter.inward(args), message)
        if calls.is_waiting(value):
            value.close()
            raise Unsupported(f"@{role} is a generator or a coroutine: it cannot make calls; set a timer with delay 0 that does")
        self.adapter.after_hook(self, kind)

    def has_inspect(self) -> bool:
        """Return whether it has @inspect_message."""
        return "inspect_message" in self.hooks

    def inspect(self, message: Message) -> None:
        """Run @inspect_message."""
        self.run_hook("inspect_message", message.context.args, message)

    def prepare(self, args: tuple[Any, ...], method: Method) -> tuple[Any, ...]:
        """Return a copy of the arguments, as the code sees them."""
        del method
        copied: tuple[Any, ...] = self.adapter.inward(private_copy(args))
        return copied

    def receive(self, call: Call, method: Method) -> tuple[Any, ...]:
        """Return the arguments of another canister's call."""
        return self.adapter.from_raw(method, call.args[0]) if call.raw else self.prepare(call.args, method)

    def enter(self, method: Method, message: Message) -> None:
        """Run a method to its end or its first call."""
        if method.guard is not None and not self.adapter.check_guard(method.guard, message):
            return
        args = self.adapter.arguments(method, message.context.args)
        try:
            value = method.function(*args)
        except TypeError as error:
            problem = method.wrong_arguments(args, error)
            if problem is None:
                raise
            raise self.adapter.failure(message, problem) from None
        self.begin(value, message)

    def begin(self, value: Any, message: Message) -> None:
        """Continue with the result of a function: a value, or something that runs step by step."""
        if calls.is_waiting(value):
            self.step(Task(value, self.adapter.as_call), message, None, None)
        else:
            message.context.value = value

    def step(self, task: Task, message: Message, answer: Any, error: BaseException | None) -> None:
        """Run a task until its next call or its end."""
        step = task.step(answer, error)
        if step.call is None:
            self.tasks.discard(task)
            message.context.value = step.value
            return
        if message.kind in (Kind.QUERY, *INSTALLS, Kind.INSPECT):
            message.raise_trap(refuse_call(message))
        system.pay(message, step.call)
        self.tasks.add(task)
        step.call.args = self.adapter.outward(step.call.args)
        message.pending.append(Pending(step.call, _Waiting(self, task, step.call)))

    def outward(self, reply: Reply) -> Reply:
        """Return a copy of a reply, as others get it."""
        return Reply(self.adapter.outward(private_copy(reply.value)), reply.rejected, reply.code, reply.message)

    def returned(self, method: Method, context: CallContext) -> Reply | None:
        """Return the method's result as its reply, unless the method replies itself."""
        return None if self.adapter.replies_by_itself(method) else self.outward(Reply(context.value))

    def respond(self, call: Call, method: Method, reply: Reply) -> Reply:
        """Return a reply, as Candid if the call was Candid."""
        return Reply(self.adapter.to_raw(method, reply.value)) if call.raw and not reply.rejected else reply

    def show(self, reply: Reply, method: Method) -> Any:
        """Return the value of a reply."""
        del method
        return reply.value

    def next_timer(self, until: int) -> tuple[int, Callable[[Message], None]] | None:
        """Remove and return the timer that is due first."""
        number = self.timers.first_due(until)
        if number is None:
            return None
        timer = self.timers.entries[number]
        due = timer.due
        timer.due += timer.interval
        if not timer.interval:
            self.timers.clear(number)
        return due, lambda message: self.begin(timer.function(), message)

    def heartbeat(self) -> Callable[[Message], None] | None:
        """Return the function that @heartbeat marks."""
        if "heartbeat" not in self.hooks:
            return None
        return lambda message: self.begin(self.run_hook("heartbeat", (), message), message)


@dataclass
class _Waiting:
    """A task that waits for the reply of a call."""

    program: Program
    task: Task
    call: Call

    @property
    def cleanup(self) -> None:
        """Return None: a generator has its own `finally`."""

    def belongs_to(self, program: Installed) -> bool:
        """Return whether its program still runs."""
        return program is self.program

    def run(self, message: Message, reply: Reply) -> None:
        """Pass the reply to the waiting code."""
        if not self.call.raw:
            reply.value = self.program.adapter.inward(reply.value)
        self.program.step(self.task, message, *calls.deliver(self.call, reply))


def release(structure: Structure) -> None:
    """Close a structure that no code may use any more."""
    with suppress(StableError):  # what it lies in may be gone already
        getattr(structure, "into_memories", structure.into_memory)()


def _positional(function: Callable[..., Any]) -> int:
    """Return how many positional arguments a function takes."""
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return sys.maxsize
    return sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)


def refuse_call(message: Message) -> Trap:
    """Return the trap of a message that awaits a call but may not make one."""
    return violation("ic0_call_new", message.kind.value)
