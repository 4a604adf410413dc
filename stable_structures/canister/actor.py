# SPDX-License-Identifier: Apache-2.0
"""The library's own form of a canister: decorated functions or one `Actor` with stable variables."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, overload

from ..errors import SourceError
from ..memory.memory import native_memory
from ..upgrade import UpgradeHooks
from . import core
from . import message as messages
from .message import Kind
from .program import MARK, CdkAdapter, Program, mark
from .variables import UpgradeReport, load, save, saved_bytes, variables_of

if TYPE_CHECKING:
    from ..memory.memory import NativeMemory

F = TypeVar("F", bound=Callable[..., Any])
Guard = Callable[[], Any]


class Actor:
    """A canister as a class: one instance lives as long as its code is installed.

    Attributes created with `stable` survive upgrades; all others are initialised again. `@update`, `@query` and the hooks go above methods.
    A program has one actor. Stable variables are saved in memory `STABLE_MEMORY_ID` (254) of the canister's manager, so a
    canister with stable variables keeps its own structures in `ic.manager().get(id)` with other ids.

    >>> from stable_structures.canister import Canister
    >>> source = '''
    ... from stable_structures.canister import Actor, stable, update
    ... class Counter(Actor):
    ...     value = stable(0)
    ...     hits = 0
    ...     @update
    ...     def inc(self):
    ...         self.value += 1
    ...         self.hits += 1
    ...         return self.value, self.hits
    ... '''
    >>> counter = Canister.install(source)
    >>> counter.call("inc")
    (1, 1)
    >>> counter.upgrade(source).kept
    ('value',)
    >>> counter.call("inc")
    (2, 1)
    """

    STABLE_MEMORY_ID: ClassVar[int] = 254


@overload
def query(function: F, /) -> F: ...
@overload
def query(*, guard: Guard | None = None) -> Callable[[F], F]: ...
def query(function: Any = None, /, *, guard: Guard | None = None) -> Any:
    """Export a function as a query: whatever it changes is undone.

    The guard runs first: it raises, or returns a text, to reject the call.
    """
    return _decorated(function, "query", guard)


@overload
def update(function: F, /) -> F: ...
@overload
def update(*, guard: Guard | None = None) -> Callable[[F], F]: ...
def update(function: Any = None, /, *, guard: Guard | None = None) -> Any:
    """Export a function as an update: what it changes stays, unless it raises. `async def` may await other canisters."""
    return _decorated(function, "update", guard)


@overload
def composite_query(function: F, /) -> F: ...
@overload
def composite_query(*, guard: Guard | None = None) -> Callable[[F], F]: ...
def composite_query(function: Any = None, /, *, guard: Guard | None = None) -> Any:
    """Export a query that may await queries of other canisters."""
    return _decorated(function, "composite_query", guard)


def init(function: F) -> F:
    """Register the hook that runs once, after the source, when the canister is installed."""
    return mark(function, "init")


def pre_upgrade(function: F) -> F:
    """Register the hook that runs in the old code before an upgrade; stable variables are saved after it."""
    return mark(function, "pre_upgrade")


def post_upgrade(function: F) -> F:
    """Register the hook that runs in the new code after an upgrade; stable variables are loaded before it."""
    return mark(function, "post_upgrade")


def heartbeat(function: F) -> F:
    """Register the hook that runs once a round (`Canister.advance_time`)."""
    return mark(function, "heartbeat")


def inspect_message(function: F) -> F:
    """Register the hook that checks calls from outside; a call passes if the hook calls `ic.accept_message()`."""
    return mark(function, "inspect_message")


def _decorated(function: Any, role: str, guard: Guard | None) -> Any:
    if function is None:
        return lambda decorated: mark(decorated, role, guard)
    return mark(function, role, guard)


class PlainAdapter(CdkAdapter):
    """The library's own form: module functions and one actor."""

    name = "plain"

    def made(self, program: Program) -> None:
        """Export the module's functions and the actor's methods, and create the actor."""
        super().made(program)
        actors = [item for item in vars(program.main).values() if _is_actor_of(item, program)]
        if len(actors) > 1:
            raise SourceError(f"{program.code.filename} has the actors {', '.join(cls.__name__ for cls in actors)}; it must have one")
        if actors:
            program.actor = actors[0]()
            for name in dir(actors[0]):
                if not name.startswith("__") and hasattr(getattr(actors[0], name), MARK):
                    program.export(name, getattr(program.actor, name))

    def before_hook(self, program: Program, kind: Kind) -> None:
        """Load the stable variables before the hook after an upgrade."""
        if kind is Kind.POST_UPGRADE:
            canister = messages.current().canister
            canister.last_upgrade = self._load(program)
            for name in canister.last_upgrade.removed if canister.last_upgrade else ():
                canister.logs.append(f"upgrade: the stable variable {name} is gone, its value was dropped")

    def after_hook(self, program: Program, kind: Kind) -> None:
        """Run `UpgradeHooks` if the program lacks the hook; then, before an upgrade, save the stable variables."""
        if kind is Kind.PRE_UPGRADE and "pre_upgrade" not in program.hooks:
            for hooks in _upgrade_hooks(program):
                hooks.run_pre_upgrade()
        if kind is Kind.POST_UPGRADE and "post_upgrade" not in program.hooks:
            for hooks in _upgrade_hooks(program):
                if saved_bytes(native_memory(hooks.memory)):  # the code before had hooks too
                    hooks.run_post_upgrade()
        if kind is Kind.PRE_UPGRADE and program.actor is not None and variables_of(program.actor):
            save(program.actor, _memory_of(program))

    def _load(self, program: Program) -> UpgradeReport | None:
        if program.actor is None:
            return None
        if not core.holds_manager(messages.current().canister.memory):
            return UpgradeReport(new=tuple(variables_of(program.actor)))
        return load(program.actor, _memory_of(program))


def _upgrade_hooks(program: Program) -> list[UpgradeHooks]:
    """Return the hooks that are globals of the program's modules. It must be active."""
    modules = [module for name, module in sys.modules.copy().items() if program.modules.owns(name)]
    found = [item for module in modules for item in vars(module).values() if isinstance(item, UpgradeHooks)]
    return list({id(item): item for item in found}.values())


def _is_actor_of(item: object, program: Program) -> bool:
    """Return whether it is an actor class that the program defines, and not the base of another one."""
    if not (isinstance(item, type) and issubclass(item, Actor) and item is not Actor and program.modules.owns(item.__module__)):
        return False
    return not any(isinstance(other, type) and other is not item and issubclass(other, item) for other in vars(program.main).values())


def _memory_of(program: Program) -> NativeMemory:
    canister = messages.current().canister
    memory = canister.memory
    if memory.size() and not core.holds_manager(memory):
        raise SourceError(
            "stable variables need a manager, and the stable memory holds something else: "
            "keep the structures in ic.manager().get(id), not in ic.memory()"
        )
    return canister.program_manager().get(program.actor.STABLE_MEMORY_ID)


PLAIN: Final = PlainAdapter()
"""The form of a program that imports no CDK."""
