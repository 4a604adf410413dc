# SPDX-License-Identifier: Apache-2.0
"""Transactions as `with` and `async with` blocks.

A signal handler may raise between any two steps of Python, and what it interrupts must be either a block that was
entered or no transaction at all. So what holds a transaction in the core (`Grip.held`) is there before it begins, and
rolls it back with the end of its own life. While a block is open its only reference is on the stack of the `with`
statement, as the very object that is called at the end of the block: should that call be cut short before its first
step, the reference goes, and the transaction with it. Frames that a traceback keeps have none.
"""

from __future__ import annotations

import functools
import itertools
import weakref
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeAlias, TypeVar, overload

from . import _native as native
from . import tasks, turns
from .errors import MemoryInUse

R = TypeVar("R", covariant=True)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .memory import NativeMemory

    _ExitOf: TypeAlias = Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], R]


_end, _abandon = native.call.ss_transaction_end, native.call.ss_transaction_abandon
_numbers: Final = itertools.count(1)


class _Block:
    """A block that is open, or the next one to open. It does not keep its grip alive."""

    __slots__ = ("answer", "grip", "number", "transaction")

    def __init__(self, answer: _Done | None) -> None:
        self.answer = answer
        self.number = 0
        self.transaction: Transaction | None = None
        self.grip: Callable[[], Grip | None] = lambda: None


class Grip(functools.partial[Any]):
    """What a `with` statement calls when its block ends, and what holds the transaction until then."""

    held: Any


def _new_grip(answer: _Done | None) -> Grip:
    block = _Block(answer)
    grip = Grip(_leave, block)
    grip.held = native.new_transaction()
    block.grip = weakref.ref(grip)
    return grip


class _Done:
    """What `__aexit__` gives: it did its work when it was called."""

    def __await__(self) -> Any:
        return iter(())


# Grips of blocks that have ended, for the next ones: one list for `with`, one for `async with`.
_idle: Final[dict[_Done | None, list[Grip]]] = {None: [], _Done(): []}
_SYNC, _ASYNC = _idle
# Grips of transactions that were begun by hand; nothing else keeps those alive.
_by_hand: Final[dict[_Block, Grip]] = {}


def _leave(block: _Block, kind: type[BaseException] | None, _error: object, _traceback: object) -> _Done | None:
    """The end of a block."""
    grip, number = block.grip(), block.number
    if grip is None:
        return block.answer
    try:
        if kind is not None:
            _abandon(grip.held, number)
        elif (status := _end(grip.held, number, True)) < 0:  # noqa: FBT003 - a C function
            native.fail(status, "commit")
    except BaseException:
        _abandon(grip.held, number)
        raise
    finally:
        _reuse(block, grip)
    return block.answer


def _reuse(block: _Block, grip: Grip) -> None:
    """The transaction of the block has ended."""
    transaction, block.transaction, block.number = block.transaction, None, 0
    if transaction is None:
        return
    transaction._block = None  # noqa: SLF001 - the two know each other
    if _by_hand:
        _by_hand.pop(block, None)
    _idle[block.answer].append(grip)
    if turns.queues:
        turns.ended(transaction._memory._root)  # noqa: SLF001


class _Exit(Generic[R]):
    """`__exit__` or `__aexit__`: of a transaction its grip, which its block takes from here."""

    __slots__ = ("_answer", "_by_class")

    def __init__(self, answer: _Done | None, by_class: Callable[..., R]) -> None:
        self._answer = answer
        self._by_class = by_class

    @overload
    def __get__(self, transaction: None, owner: type[Transaction]) -> Callable[..., R]: ...
    @overload
    def __get__(self, transaction: Transaction, owner: type[Transaction]) -> _ExitOf[R]: ...
    def __get__(self, transaction: Transaction | None, owner: type[Transaction]) -> Any:
        return self._by_class if transaction is None else _grip_of(transaction) or _take_grip(transaction, self._answer)


def _grip_of(transaction: Transaction) -> Grip | None:
    """That of its open block, or of one that is about to be opened."""
    block = transaction._block  # noqa: SLF001
    return None if block is None else block.grip()


def _take_grip(transaction: Transaction, answer: _Done | None) -> Grip:
    try:
        grip = _idle[answer].pop()
    except IndexError:
        grip = _new_grip(answer)
    transaction._block = grip.args[0]  # noqa: SLF001
    return grip


def _exit_by_class(transaction: Transaction, kind: Any, error: Any, traceback: Any) -> None:
    grip = _grip_of(transaction)
    if grip is not None:
        grip(kind, error, traceback)


def _aexit_by_class(transaction: Transaction, kind: Any, error: Any, traceback: Any) -> _Done:
    _exit_by_class(transaction, kind, error, traceback)
    return _ASYNC


class Transaction:
    """What `memory.transaction()` gives: a block of `with` or `async with` whose changes happen all or not at all.

    `commit()` and `rollback()` end it before its block ends; the rest of the block is outside of it.
    """

    __slots__ = ("__weakref__", "_block", "_memory")

    def __init__(self, memory: NativeMemory) -> None:
        self._memory = memory
        self._block: _Block | None = None

    def __enter__(self) -> Self:
        grip = _grip_of(self)
        by_hand = grip is None  # a `with` statement has asked for it already
        if grip is None:
            grip = _take_grip(self, _SYNC)
        block: _Block = grip.args[0]
        number = next(_numbers)
        try:
            native.begin(grip.held, self._memory._handle, number, tasks.running())  # noqa: SLF001
            block.number, block.transaction = number, self
            if by_hand:
                _by_hand[block] = grip
        except BaseException:
            _abandon(grip.held, number)
            raise
        return self

    __exit__ = _Exit[None](_SYNC, _exit_by_class)

    async def __aenter__(self) -> Self:
        grip = _grip_of(self)
        by_hand = grip is None
        if grip is None:
            grip = _take_grip(self, _ASYNC)
        block: _Block = grip.args[0]
        number = next(_numbers)
        try:
            await self._wait_turn(functools.partial(native.try_to_begin, grip.held, self._memory._handle, number))  # noqa: SLF001
            block.number, block.transaction = number, self
            if by_hand:
                _by_hand[block] = grip
        except BaseException:
            _abandon(grip.held, number)
            raise
        return self

    __aexit__ = _Exit[_Done](_ASYNC, _aexit_by_class)

    async def _wait_turn(self, begin: Callable[[int], bool]) -> None:
        memory, task = self._memory, tasks.running()
        loop = tasks.loop()
        await turns.in_turn(memory._root, functools.partial(begin, task), native.patience(memory._handle), loop)  # noqa: SLF001

    def commit(self) -> None:
        """Keeps the changes and ends the transaction. O(changed bytes) in a file with a log, else O(1).

        Raises `MemoryInUse` where it is not open; `OutOfMemory` and `OSError` of a full or failing disk, after which
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
        self._finish("commit", keep=True)

    def rollback(self) -> None:
        """Puts back every byte and the size, and ends the transaction. O(changed bytes). Raises `MemoryInUse` where it is not open.

        >>> from stable_structures import StableMemory
        >>> memory = StableMemory()
        >>> with memory.transaction() as transaction:
        ...     _ = memory.grow(1)
        ...     transaction.rollback()
        >>> memory.size()
        0
        """
        self._finish("rollback", keep=False)

    def _finish(self, operation: str, *, keep: bool) -> None:
        """Ends it within its block, which has its grip until its own end."""
        block, grip = self._block, _grip_of(self)
        status = native.call.SS_ABSENT if block is None or grip is None else _end(grip.held, block.number, keep)
        if status == native.call.SS_ABSENT:
            raise MemoryInUse(f"{operation}: {self!r} is not open; it was ended before, or never begun")
        native.check(status, operation)
        settled(self._memory)

    def __repr__(self) -> str:
        grip = _grip_of(self)
        state = "open" if grip is not None and native.is_open(grip.held) else "not open"
        return f"<Transaction on {self._memory!r}, {state}>"


def settled(memory: NativeMemory) -> None:
    """A transaction on the memory ended before the end of its block."""
    for block, grip in list(_by_hand.items()) if _by_hand else ():
        if not native.is_open(grip.held):
            _reuse(block, grip)
    if turns.queues:
        turns.ended(memory._root)  # noqa: SLF001
