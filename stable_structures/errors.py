# SPDX-License-Identifier: Apache-2.0
"""Every exception of the library.

Each error subclasses `StableError` and the built-in that you would expect. Its message says what happened, with which
numbers, and what to do. The C core reports negative codes; `_native.check` is the one place that turns a code into one of
these.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any


class StableError(Exception):
    """Base of every error that this library raises.

    `code` is the status of the C core that it stands for, or 0 if the error was found in Python.
    """

    code: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `copy` and `pickle` with all attributes, whatever arguments the class takes."""
        return remade(super().__reduce__())


def remade(reduced: str | tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the `__reduce__` result of an exception so that it is rebuilt without calling its class: `args` may not be its arguments."""
    assert isinstance(reduced, tuple)  # noqa: S101 - a string is what classes in C without content give
    cls, args, *state = reduced
    return (_remake, (cls, args), *state)


def _remake(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    if not isinstance(cls.__init__, FunctionType):
        return cls(*args)
    new = Exception.__new__ if issubclass(cls, MemoryError) else cls.__new__  # MemoryError.__new__ accepts no other class
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
    """A buffer that is not contiguous, or that is read-only; Python's own calls raise `BufferError`."""


class CorruptMemory(StableError, ValueError):
    """The memory breaks a rule of the format.

    `address` is the byte offset of the damage in the structure's memory; `rule` names the rule.
    """

    address: int | None = None
    rule: str = ""


class BadMagic(CorruptMemory):
    """The memory holds something other than the requested structure; nothing was changed."""


class UnsupportedVersion(CorruptMemory):
    """The structure was written in a layout version that this library does not know."""


class MemoryInUse(StableError, RuntimeError):
    """A second live structure on one memory, or the use of a busy memory; two structures would corrupt each other."""


class Closed(StableError, ValueError):
    """The memory or the structure was closed or released."""


class ReadOnly(StableError, PermissionError):
    """A write to a memory that was opened read-only."""


class Locked(StableError, BlockingIOError):
    """Another process, or another handle of this one, has the file open for writing."""


class CommitUnknown(StableError, OSError):
    """The disk failed while a commit was made durable: the next opening of the file decides whether the commit happened."""


class WalCorrupt(StableError, ValueError):
    """The write-ahead log is damaged in a way that a crash cannot explain; nothing was changed."""


class Unsupported(StableError, NotImplementedError):
    """A feature of the platform or of a CDK that the harness does not support; the message names it."""


class MissingExtra(StableError, ImportError):
    """An optional library is not installed; the message says which extra brings it."""


class SourceError(StableError, ValueError):
    """The argument of install or upgrade is not a valid canister; the message says why and what to do."""
