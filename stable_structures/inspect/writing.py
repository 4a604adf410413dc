# SPDX-License-Identifier: Apache-2.0
"""New files, for every verb that writes one: a file gets its name when all of it is there, or never.

Until then it lies beside its place under a name of its own, which errors and signals remove. Only a process that is killed
outright leaves that name behind (beside.py), and never a part of a file under the name that was asked for.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from ..errors import StableError
from ..memory.folders import remove_folder, sync_folder
from .beside import hold, name_beside, remove_leftovers
from .source import BLOCK, Unreadable

OUTPUTS: Final = ("jsonl", "csv", "cbor", "parquet")
"""Formats of entries that `dump` writes and `load` reads."""
_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_STANDARD: Final = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
"""What file systems say that have no hard links."""


class NewFile:
    """A new file to write to: `file` is a binary file, for reading too. It gets its name by `keep`; without it nothing is left.

    A device or a pipe (`/dev/stdout`, a fifo) is written to instead: at once where `in_order` says that `file` is written
    from front to back and not read, else by `keep`. O(1). Raises `Unreadable` if a file already exists or cannot be made.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with NewFile(f"{folder}/users.txt") as out:
    ...         _ = out.file.write(b"Ada")
    ...         before = Path(f"{folder}/users.txt").exists()
    ...         out.keep()
    ...     before, Path(f"{folder}/users.txt").read_bytes()
    (False, b'Ada')
    """

    file: IO[bytes]

    def __init__(self, path: str | Path, *, in_order: bool = False) -> None:
        self.path = Path(path)
        self._state: dict[str, Any] = {"process": os.getpid()}
        # Owned before anything is made, so that a signal between two steps leaves nothing either.
        self._discard = weakref.finalize(self, _remove, self._state)
        try:
            self._stream = _stream(path)
            self.file = self._open(in_order=in_order)
        except (OSError, ValueError) as error:
            _remove(self._state)
            raise unwritable(path, error) from None

    def _open(self, *, in_order: bool) -> IO[bytes]:
        if self._stream is not None:
            return self._stream if in_order else tempfile.TemporaryFile(prefix="stable-structures-")
        remove_leftovers(self.path)
        name = self._state["name"] = name_beside(self.path)
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError:
            self._state["name"] = None  # not made, or not ours
            raise
        hold(descriptor)
        if not os.fstat(descriptor).st_nlink:  # another verb took it for a leftover before it was held
            os.close(descriptor)
            return self._open(in_order=in_order)
        return os.fdopen(descriptor, "w+b", buffering=BLOCK)

    @property
    def temporary(self) -> Path | None:
        """Where the bytes lie until `keep`; None for a device or a pipe. O(1)."""
        name: Path | None = self._state.get("name")
        return name

    @property
    def is_terminal(self) -> bool:
        """Whether somebody reads the bytes as they are, and a terminal obeys them. O(1)."""
        return self._stream is not None and self._stream.isatty()

    def keep(self) -> None:
        """Give the file its name, once all of it is on the disk. O(size). Raises `Unreadable` if another has the name by now."""
        self.file.flush()
        if self._stream is None:
            os.fsync(self.file.fileno())
            _name(self._state["name"], self.path)
        elif self._stream is not self.file:
            _pour(self.file, self._stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for file in (self.file, self._stream):
            if file is not None:
                with suppress(OSError):  # what was not flushed is not kept either
                    file.close()
        _remove(self._state)
        self._discard.detach()
        quiet = isinstance(error, BrokenPipeError) and self._stream is not None
        if isinstance(error, OSError) and not isinstance(error, StableError) and not quiet:
            raise unwritable(self.path, error) from None


class NewFolder:
    """A new folder to fill: it is `made`, and gets its name by `keep`; without it nothing is left.

    O(1). Raises `Unreadable` if something already exists there or it cannot be made.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with NewFolder(f"{folder}/parts") as out:
    ...         _ = (out.made / "users.txt").write_text("Ada")
    ...         out.keep()
    ...     os.listdir(f"{folder}/parts")
    ['users.txt']
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if os.path.lexists(self.path):
            raise _taken(self.path)
        remove_leftovers(self.path)
        self._state: dict[str, Any] = {"process": os.getpid()}
        self._discard = weakref.finalize(self, _remove, self._state)
        try:
            self.made = self._make()
        except OSError as error:
            self._discard()
            raise unwritable(self.path, error) from None

    def _make(self) -> Path:
        while True:
            made = self._state["name"] = name_beside(self.path)
            made.mkdir()
            try:
                descriptor = self._state["descriptor"] = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:  # another verb took it for a leftover before it was held
                continue
            hold(descriptor)
            if os.path.lexists(made):
                return made
            os.close(self._state.pop("descriptor"))

    def keep(self) -> None:
        """Give the folder its name, once the names in it are on the disk. O(1). Raises `Unreadable` if another has the name by now."""
        try:
            _sync(self.made)
            if os.path.lexists(self.path):
                raise _taken(self.path)
            self.made.rename(self.path)
            _sync(self.path.parent)
        except OSError as error:
            raise unwritable(self.path, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()


@contextmanager
def output(path: str | Path) -> Iterator[IO[bytes]]:
    """Provide a new file to write from front to back, kept if the block succeeds. Raises `Unreadable`.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with output(f"{folder}/users.txt") as out:
    ...         _ = out.write(b"Ada")
    ...     Path(f"{folder}/users.txt").read_bytes()
    b'Ada'
    """
    with NewFile(path, in_order=True) as new:
        yield new.file
        new.keep()


def is_stream(path: str | Path) -> bool:
    """Return whether a path is a device or a pipe, which is written to as it is. O(1)."""
    try:
        return descriptor_of(path) is not None or _is_device(Path(path).stat())
    except (OSError, ValueError):
        return False


def is_standard_output(path: str | Path) -> bool:
    """Return whether what is written to a path ends up where the standard output does. O(1)."""
    try:
        return is_stream(path) and os.path.samestat(Path(path).stat(), os.fstat(1))
    except OSError:
        return False


def descriptor_of(path: str | Path) -> int | None:
    """Return the descriptor of this process that a path is a name of, as `/dev/stdin` is of 0; else None. O(1)."""
    found = _DESCRIPTOR.fullmatch(str(path))
    return int(found[1]) if found else _STANDARD.get(str(path))


def _is_device(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) or stat.S_ISFIFO(found.st_mode)


def _stream(path: str | Path) -> IO[bytes] | None:
    """Return the device or pipe of that name, open; None if there is nothing of that name. Raises `Unreadable` for anything else."""
    descriptor = descriptor_of(path)
    if descriptor is not None:
        return os.fdopen(os.dup(descriptor), "wb")
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        if Path(path).is_symlink():
            raise _taken(path) from None
        return None
    if not _is_device(found):
        raise _taken(path)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY), "wb")


def _taken(path: object) -> Unreadable:
    return Unreadable(f"{path}: file already exists; choose another name, or remove it")


def unwritable(path: object, error: BaseException) -> Unreadable:
    """Return what to raise if a path cannot be written; the error itself if it says so already. O(1)."""
    if isinstance(error, Unreadable):
        return error
    return Unreadable(f"{path}: cannot be written: {(error.strerror if isinstance(error, OSError) else None) or error}")


def _name(temporary: Path, path: Path) -> None:
    """Give the file a second name, by a link, which never replaces another file; the first name is removed later."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            raise _taken(path) from None
        temporary.rename(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    with suppress(OSError):  # not every file system syncs folders
        sync_folder(folder)


def _pour(file: IO[bytes], stream: IO[bytes]) -> None:
    file.seek(0)
    while block := file.read(BLOCK):
        stream.write(block)
    stream.flush()


def _remove(state: dict[str, Any]) -> None:
    """Remove what has the temporary name still; a child of a fork leaves its parent's alone."""
    if (descriptor := state.pop("descriptor", None)) is not None:
        os.close(descriptor)
    name = state.get("name")
    if name is not None and state["process"] == os.getpid():
        remove_folder(name)
        state["name"] = None
