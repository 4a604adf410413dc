# SPDX-License-Identifier: Apache-2.0
"""Every exception of the library.

Each derives from `StableError` and from the builtin that a Python user would catch, says what happened, with
which numbers, and what to do. The C core reports negative codes; `_native.check` is the one place that turns a
code into one of these.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any


class StableError(Exception):
    """Base of every error that this library raises by itself.

    `code` is the status of the C core that it stands for, or 0 where the error was found in Python.
    """

    code: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """For `copy` and `pickle`: all attributes, whatever the class is made from."""
        return remade(super().__reduce__())


def remade(reduced: str | tuple[Any, ...]) -> tuple[Any, ...]:
    """What the `__reduce__` of an exception gives, but without calling its class: its `args` are the text, not what it is made from."""
    assert isinstance(reduced, tuple)  # noqa: S101 - a string is what classes in C without content give
    cls, args, *state = reduced
    return (_remake, (cls, args), *state)


def _remake(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    if not isinstance(cls.__init__, FunctionType):
        return cls(*args)
    new = Exception.__new__ if issubclass(cls, MemoryError) else cls.__new__  # that of MemoryError is for itself alone
    error: BaseException = new(cls, *args)
    error.args = error.args or args
    return error


class OutOfBounds(StableError, IndexError):
    """An access past the end of a memory, or an index past the end of a sequence."""


class OutOfMemory(StableError, MemoryError):
    """A memory could not grow, or the process has no memory left; nothing was changed."""


class BoundExceeded(StableError, ValueError):
    """A value whose encoding is larger than its type's bound, or not of its fixed size; nothing was written."""


class IncompatibleType(StableError, TypeError):
    """The memory holds a structure of another element type, or a type cannot be used here."""


class UnusableBuffer(IncompatibleType, BufferError):
    """A buffer whose bytes do not lie in one piece, or that cannot be written into; Python's own calls raise `BufferError`."""


class CorruptMemory(StableError, ValueError):
    """The memory breaks a rule of the format.

    `address` is the byte offset of what is wrong, in the memory that the structure was given; `rule` names the rule.
    """

    address: int | None = None
    rule: str = ""


class BadMagic(CorruptMemory):
    """The memory holds something else than the structure that was asked for; nothing was changed."""


class UnsupportedVersion(CorruptMemory):
    """The structure was written in a layout version that this library does not know."""


class MemoryInUse(StableError, RuntimeError):
    """A second live structure on one memory, or a use of a memory that is busy; two of them would corrupt both."""


class Closed(StableError, ValueError):
    """The memory or the structure was closed or released."""


class ReadOnly(StableError, PermissionError):
    """A write to a memory that was opened read-only."""


class Locked(StableError, BlockingIOError):
    """Another process, or another handle of this one, has the file open for writing."""


class CommitUnknown(StableError, OSError):
    """The disk failed while a commit was made durable: whether it happened is decided when the file is opened again."""


class WalCorrupt(StableError, ValueError):
    """The write-ahead log is damaged in a way that a crash cannot explain; nothing was changed."""


class Unsupported(StableError, NotImplementedError):
    """Something of the platform, or of a CDK, that the harness does not have; the message names it."""


class SourceError(StableError, ValueError):
    """What was given to install or upgrade is no canister; the message says why and what to do."""
