# SPDX-License-Identifier: Apache-2.0
"""Transactions as `with` and `async with` blocks.

A signal handler may raise between any two steps of Python. What it interrupts must be either an entered block or no
transaction at all. So the object that holds a transaction in the core (`Grip.held`) exists before the transaction begins,
and rolls it back when it is destroyed. While a block is open, the only reference to its grip is on the stack of the `with`
statement: the grip is the very object that the statement calls at the end of the block. If that call is cut short before
its first step, the reference goes, and the transaction with it. Frames that a traceback may keep must hold no reference,
so functions here delete their variable of it.

A generator or coroutine may be garbage inside its block, in a circle. The collector then clears weak references to the grip, and
runs the destructor of what it holds before the block has seen `GeneratorExit`. So the grip keeps that where the collector does
not look (`native.unseen`), and the block finds it there.
"""

from __future__ import annotations

import functools
import weakref
from sys import modules
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeAlias, TypeVar, overload

from .. import _native as native
from ..errors import MemoryInUse
from ..tasks import NO_LOOP, loop, running
from . import turns

R_co = TypeVar("R_co", covariant=True)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from .memory import NativeMemory

    _ExitOf: TypeAlias = Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], R_co]


_ABSENT: Final[int] = native.call.SS_ABSENT
# Functions of the core, bound directly: no signal handler runs between the step that calls them and their work.
_begin, _commit, _rollback, _drop = (getattr(native.call, f"ss_held_{name}") for name in ("begin", "commit", "rollback", "drop"))


class _Done:
    """The result of `__aexit__`, which has already done its work when it was called."""

    def __await__(self) -> Iterator[None]:
        return iter(())


class _Block:
    """A block that is open, or the next one to open. It does not keep its grip alive."""

    __slots__ = ("answer", "committed", "grip", "idle", "lent", "number", "unseen")

    def __init__(self, answer: _Done | None, idle: list[Grip]) -> None:
        self.answer = answer
        self.idle = idle
        self.number = 1
        """The number of the block, among all that had this grip."""
        self.committed = 0
        """The number of the last block that was committed at its end."""
        self.grip: Callable[[], Grip | None] = lambda: None
        """Returns its grip; None if that is gone, or garbage together with the block's generator."""
        self.unseen: Any = None
        """Holds a weak reference to the room in which the grip keeps the transaction. The collector clears none that it does not see."""
        self.lent = False
        """Whether its grip was read as `__exit__` while its transaction was open."""


class Grip(functools.partial[Any]):
    """The object that a `with` statement calls when its block ends, and that holds the transaction until then."""

    block: _Block
    held: Any
    unseen: Any


# Grips of blocks that have ended, for reuse. Creating one costs as much as a transaction.
_idle: Final[list[Grip]] = []
_idle_async: Final[list[Grip]] = []
_DONE: Final = _Done()
# Grips of transactions that were begun without `with`; nothing else keeps those alive.
_by_hand: Final[set[Grip]] = set()


def _new_grip(answer: _Done | None, idle: list[Grip]) -> Grip:
    block = _Block(answer, idle)
    grip = Grip(_leave, block)
    try:
        grip.block, grip.held = block, native.new_transaction()
        grip.unseen, block.unseen = native.unseen(), native.unseen()
        grip.unseen[0] = grip.held
        block.grip, block.unseen[0] = weakref.ref(grip), weakref.ref(grip.unseen)
        return grip
    finally:
        del grip


def _leave(block: _Block, kind: type[BaseException] | None, _error: object, _traceback: object) -> _Done | None:
    """End a block. Only its grip calls this, so the grip still exists; it has no other owner."""
    grip: Any = None
    held: Any = None
    try:
        grip = block.grip()
        held = block.unseen[0]()[0] if grip is None else grip.held
        if kind is not None:
            _drop(held)
        elif (status := _commit(held)) < 0:
            native.fail(status, "commit")
    except BaseException:
        if held is not None:
            if native.call.ss_held_was_committed(held):
                block.committed = block.number
            _drop(held)
        raise
    else:
        if kind is None:
            block.committed = block.number
        block.number += 1
        if grip is not None:
            block.idle.append(grip)
    finally:
        grip = held = None
    if _by_hand or turns.queues:
        settled()
    return block.answer


class _Exit(Generic[R_co]):
    """`__exit__` or `__aexit__`: read from a transaction it is the grip, which a `with` statement takes before it enters."""

    __slots__ = ("_answer", "_by_class", "_idle")

    def __init__(self, answer: _Done | None, idle: list[Grip], by_class: Callable[..., R_co]) -> None:
        self._answer, self._idle, self._by_class = answer, idle, by_class

    @overload
    def __get__(self, transaction: None, owner: type[Transaction]) -> Callable[..., R_co]: ...
    @overload
    def __get__(self, transaction: Transaction, owner: type[Transaction]) -> _ExitOf[R_co]: ...
    def __get__(self, transaction: Transaction | None, owner: type[Transaction]) -> Any:
        if transaction is None:
            return self._by_class
        if transaction._block is not None:
            grip = _grip_of(transaction)
            if grip is not None and native.is_open(grip.held):
                grip.block.lent = True
                return grip
        grip = None
        try:  # noqa: SIM105 - suppress() would cost as much as all the rest
            grip = self._idle.pop()
        except IndexError:
            pass  # an object created here would be kept by this exception, as the context of a later one
        try:
            if grip is None:
                grip = _new_grip(self._answer, self._idle)
            transaction._block = block = grip.block
            transaction._number = block.number
            return grip
        finally:
            del grip


def _grip_of(transaction: Transaction) -> Grip | None:
    """Return the grip of its block that is open or about to open."""
    block = transaction._block
    return None if block is None or block.number != transaction._number else block.grip()


def _is_open(transaction: Transaction) -> bool:
    grip = _grip_of(transaction)
    try:
        return grip is not None and native.is_open(grip.held)
    finally:
        del grip


def was_committed(transaction: Transaction) -> bool:
    """Whether the end of its block kept the changes, also if an exception came out of a step after that (for the harness)."""
    block = transaction._block
    return block is not None and block.committed == transaction._number


def _exit_by_class(transaction: Transaction, kind: Any, error: Any, traceback: Any) -> None:
    grip = _grip_of(transaction)
    if grip is not None:
        grip(kind, error, traceback)


def _aexit_by_class(transaction: Transaction, kind: Any, error: Any, traceback: Any) -> _Done:
    _exit_by_class(transaction, kind, error, traceback)
    return _DONE


_exit: Final = _Exit[None](None, _idle, _exit_by_class)
_aexit: Final = _Exit[_Done](_DONE, _idle_async, _aexit_by_class)


class Transaction:
    """The result of `memory.transaction()`: a block of `with` or `async with` whose changes happen all or not at all.

    `commit()` and `rollback()` end it before its block ends; the rest of the block is outside the transaction.
    """

    __slots__ = ("__weakref__", "_block", "_memory", "_number")

    def __init__(self, memory: NativeMemory) -> None:
        self._memory = memory
        self._block: _Block | None = None
        self._number: int  # number of the block, once there is one

    def __enter__(self) -> Self:
        block = self._block
        grip = None if block is None or block.number != self._number else block.grip()  # as _grip_of, but without the cost of a call
        if grip is None:
            grip = self._take_by_hand(_exit)
        try:
            handle = self._memory._handle
            task = running() if "asyncio" in modules else NO_LOOP
            status = native.begin_for(grip.held, handle, task) if task else _begin(grip.held, handle)
            if status == 0:
                return self
        except BaseException:
            _drop(grip.held)
            raise
        finally:
            del grip
        return native.fail(status, "transaction")

    __exit__ = _exit

    async def __aenter__(self) -> Self:
        grip = _grip_of(self)
        if grip is None:
            grip = self._take_by_hand(_aexit)
        memory = self._memory
        try:
            begin = functools.partial(native.try_to_begin, grip.held, memory._handle, running())
            await turns.in_turn(memory._root, begin, native.patience(memory._handle), loop())
        except BaseException:
            _drop(grip.held)
            raise
        finally:
            begin = grip = None  # type: ignore[assignment]
        return self

    __aexit__ = _aexit

    def _take_by_hand(self, exit_: _Exit[Any]) -> Any:
        """Keep the grip until the transaction ends, since no `with` statement keeps it."""
        grip: Any = exit_.__get__(self, Transaction)
        _by_hand.add(grip)
        return grip

    def commit(self) -> None:
        """Keep the changes and end the transaction. O(changed bytes) in a file with a log, else O(1).

        Raises `MemoryInUse` if it is not open; `OutOfMemory` and `OSError` of a full or failing disk, after which
        everything is rolled back; `CommitUnknown`.

        >>> from stable_structures import StableMemory
        >>> memory = StableMemory()
        >>> with memory.transaction() as transaction:
        ...     _ = memory.grow(1)
        ...     transaction.commit()
        ...     raise ValueError("too late")
        Traceback (most recent call last):
        ValueError: too late
        >>> memory.size()
        1
        """
        self._finish("commit", _commit)

    def rollback(self) -> None:
        """Undo all changes, of bytes and size, and end the transaction. O(changed bytes). Raises `MemoryInUse` if it is not open.

        >>> from stable_structures import StableMemory
        >>> memory = StableMemory()
        >>> with memory.transaction() as transaction:
        ...     _ = memory.grow(1)
        ...     transaction.rollback()
        >>> memory.size()
        0
        """
        self._finish("rollback", _rollback)

    def _finish(self, operation: str, end: Callable[[Any], int]) -> None:
        """End the transaction inside its block; the block keeps the grip until the block ends."""
        block = self._block
        grip = None if block is None or block.number != self._number else block.grip()  # as in __enter__
        try:
            status = _ABSENT if grip is None else end(grip.held)
            if status == 0 and block is not None and grip in _by_hand:
                _by_hand.discard(grip)
                if not block.lent:  # else somebody may end a block with it: it must not serve another one
                    block.number += 1
                    block.idle.append(grip)
        finally:
            del grip
        if status == _ABSENT:
            raise MemoryInUse(f"{operation}: {self!r}; it has already ended, or never began")
        if _by_hand or turns.queues:
            settled()
        if status < 0:
            native.fail(status, operation)

    def __repr__(self) -> str:
        return f"<Transaction on {self._memory!r}, {'open' if _is_open(self) else 'not open'}>"


def settled() -> None:
    """Update the queues after a transaction ended before its block did."""
    _by_hand.difference_update([grip for grip in list(_by_hand) if not native.is_open(grip.held)])
    turns.ended()
