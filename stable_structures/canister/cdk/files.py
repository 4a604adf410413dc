# SPDX-License-Identifier: Apache-2.0
"""The file system of a Basilisk canister: files on the heap; written files are also kept in stable memory.

See docs/platform.md#basilisk.

A file that `open` opened for writing is stored in the map of memory 254 when it is closed, path to content, unless its
path is in /tmp, /proc or /dev. After an upgrade, once the hook has run, the files are restored. Inside the canister `open`,
`io.open`, `pathlib` and the functions of `os` in `FUNCTIONS` work on these files; as in the real canister, files that
`pathlib` and `io.open` write stay on the heap.
"""

from __future__ import annotations

import builtins
import io
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

FILES_ID: Final = 254
"""The memory of the persisted files."""
MAX_FILE_SIZE: Final = 50_000_000
MAX_FILES: Final = 10_000
MAX_TOTAL_SIZE: Final = 200_000_000
_VOLATILE: Final = ("/tmp/", "/proc/", "/dev/")  # noqa: S108 - paths inside the canister
FUNCTIONS: Final = ("remove", "unlink", "rename", "listdir", "scandir", "mkdir", "makedirs", "rmdir", "stat")
PATH_FUNCTIONS: Final = ("exists", "isfile", "isdir", "getsize")
_SOURCES: Final = (".py", ".pyc", ".pyi", ".so")
"""Suffixes that imports read from the machine's own files while the canister's functions are active."""


_open_of_the_machine: Final = io.open
_stat_of_the_machine: Final = os.stat


class FileStoreError(Exception):
    """A file that cannot be persisted."""


class FileTooLargeError(FileStoreError):
    """A file larger than the store accepts."""


class FileStoreLimitError(FileStoreError):
    """The store is full."""


class _Binary(io.BytesIO):
    """An open file: closing it writes its bytes back to the file system."""

    def __init__(self, put: Callable[[str, bytes], None], path: str, mode: str, content: bytes) -> None:
        super().__init__(content)
        self.name, self._put, self._mode = path, put, mode
        if "a" in mode:
            self.seek(0, io.SEEK_END)

    def readable(self) -> bool:
        """Return whether it was opened for reading."""
        return "r" in self._mode or "+" in self._mode

    def writable(self) -> bool:
        """Return whether it was opened for writing."""
        return any(letter in self._mode for letter in "wax+")

    def write(self, data: Any) -> int:
        """Write bytes; at the end in the modes with `a`."""
        if not self.writable():
            raise io.UnsupportedOperation("not writable")
        if "a" in self._mode:
            self.seek(0, io.SEEK_END)
        return super().write(data)

    def close(self) -> None:
        """Write the content back and, if it changed, into stable memory."""
        if not self.closed:
            content = self.getvalue()
            super().close()
            if self.writable():
                self._put(self.name, content)


class _Entry:
    """The entry of `scandir` for a file or folder."""

    def __init__(self, system: FileSystem, name: str, path: str) -> None:
        self._system, self.name, self.path = system, name, path

    def is_dir(self, **_: bool) -> bool:
        return self._system.isdir(self.path)

    def is_file(self, **_: bool) -> bool:
        return self._system.isfile(self.path)

    def is_symlink(self) -> bool:
        return False


class FileSystem:
    """The files of one program."""

    def __init__(self, store: Callable[[], Any]) -> None:
        self._store = store
        self.files: dict[str, bytes] = {}
        self.folders: set[str] = {"/"}

    def roots(self) -> list[Any]:
        """Return the objects that belong to the heap."""
        return [self.files, self.folders]

    # ---- the persisted part ----

    def keep(self, path: str, content: bytes) -> None:
        """Keep the content of a closed file, on the heap only."""
        self.files[_normal(path)] = content

    def put(self, path: str, content: bytes) -> None:
        """Store the content of a closed file, also in stable memory. Raises `FileStoreError` if the store has no room."""
        self.keep(path, content)
        if path.startswith(_VOLATILE):
            return
        store, key = self._store(), path.encode()
        self._check_room(path, content, store.get(key))
        store.insert(key, content)

    def _check_room(self, path: str, content: bytes, before: bytes | None) -> None:
        size = len(content)
        if size > MAX_FILE_SIZE:
            raise FileTooLargeError(f"File '{path}' ({size} bytes) exceeds {MAX_FILE_SIZE} byte limit - not persisted to stable memory")
        store = self._store()
        if before is None and len(store) >= MAX_FILES:
            raise FileStoreLimitError(f"File store full ({len(store)}/{MAX_FILES} files) - '{path}' not persisted to stable memory")
        old = 0 if before is None else len(before)
        if size > old and sum(map(len, store.values())) - old + size > MAX_TOTAL_SIZE:
            raise FileStoreLimitError(
                f"File store size limit ({MAX_TOTAL_SIZE} bytes) would be exceeded - '{path}' not persisted to stable memory"
            )

    def load(self) -> None:
        """Restore the persisted files."""
        for key, content in self._store().items():
            path = _normal(key.decode())
            self.files[path] = content
            self._add_folders(posixpath.dirname(path))

    def stats(self) -> dict[str, Any]:
        """Return count and sizes of the store, under Basilisk's names."""
        sizes = {key.decode(): len(content) for key, content in self._store().items()}
        largest = max(sizes, key=lambda path: sizes[path], default="")
        return {
            "files": len(sizes),
            "max_files": MAX_FILES,
            "total_bytes": sum(sizes.values()),
            "max_total_bytes": MAX_TOTAL_SIZE,
            "max_file_bytes": MAX_FILE_SIZE,
            "largest_bytes": sizes.get(largest, 0),
            "largest_path": largest,
        }

    # ---- the canister's view ----

    def open(self, file: Any, mode: str = "r", *_buffering: int, encoding: str | None = None, **options: Any) -> Any:
        """Open as the built-in `open`, on these files: written content is persisted."""
        return self._open(self.put, os.fspath(file), mode, encoding, options)

    def open_volatile(self, file: Any, mode: str = "r", *_buffering: int, encoding: str | None = None, **options: Any) -> Any:
        """Open as `io.open`, which `pathlib` uses: content stays on the heap. Imports read the machine's files."""
        path = os.fspath(file)
        if str(path).endswith(_SOURCES) and mode in ("r", "rb") and _normal(path) not in self.files:
            return _open_of_the_machine(path, mode, encoding=encoding)
        return self._open(self.keep, path, mode, encoding, options)

    def _open(self, put: Callable[[str, bytes], None], path: str, mode: str, encoding: str | None, options: dict[str, Any]) -> Any:
        name = _normal(path)
        letters = mode.replace("b", "").replace("t", "")
        if letters not in ("r", "w", "a", "x", "r+", "w+", "a+", "x+"):
            raise ValueError(f"invalid mode: {mode!r}")
        content = self._content(name, path, letters)
        raw = _Binary(put, path, letters, content)
        return raw if "b" in mode else io.TextIOWrapper(raw, encoding or "utf-8", options.get("errors"), options.get("newline"))

    def _content(self, name: str, path: str, letters: str) -> bytes:
        exists = name in self.files
        if name in self.folders:
            raise IsADirectoryError(21, "Is a directory", path)
        if letters[0] == "r" and not exists:
            raise FileNotFoundError(2, "No such file or directory", path)
        if letters[0] == "x" and exists:
            raise FileExistsError(17, "File exists", path)
        if letters[0] in "wx" or not exists:
            self._add_folders(posixpath.dirname(name))
            self.files[name] = b""
        return self.files[name]

    def _add_folders(self, path: str) -> None:
        while path not in self.folders:
            self.folders.add(path)
            path = posixpath.dirname(path)

    def remove(self, path: Any) -> None:
        """Remove as `os.remove`, from the store too."""
        name = _normal(os.fspath(path))
        if name not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        del self.files[name]
        self._store().remove(str(path).encode())

    unlink = remove

    def rename(self, src: Any, dst: Any) -> None:
        """Rename as `os.rename`. As in the real canister, the store changes only this name, not those of files in a folder."""
        old, new = _normal(os.fspath(src)), _normal(os.fspath(dst))
        if old == "/" or old not in (*self.files, *self.folders) or posixpath.dirname(new) not in self.folders:
            raise FileNotFoundError(2, "No such file or directory", src)
        for name in [name for name in (*self.files, *self.folders) if name == old or name.startswith(f"{old}/")]:
            renamed = new + name.removeprefix(old)
            if name in self.files:
                self.files[renamed] = self.files.pop(name)
            else:
                self.folders.remove(name)
                self.folders.add(renamed)
        content = self._store().remove(str(src).encode())
        if content is not None:
            self._store().insert(str(dst).encode(), content)

    def listdir(self, path: Any = "/") -> list[str]:
        """List names as `os.listdir`."""
        name = _normal(os.fspath(path))
        if name not in self.folders:
            raise FileNotFoundError(2, "No such file or directory", path)
        return sorted(
            {posixpath.basename(item) for item in (*self.files, *self.folders) if item != "/" and posixpath.dirname(item) == name}
        )

    @contextmanager
    def scandir(self, path: Any = "/") -> Iterator[Iterator[_Entry]]:
        """Iterate over entries as `os.scandir`, in a `with` block."""
        folder = os.fspath(path)
        yield (_Entry(self, name, posixpath.join(folder, name)) for name in self.listdir(path))

    def mkdir(self, path: Any, mode: int = 0o777) -> None:
        """Create a folder as `os.mkdir`."""
        del mode
        name = _normal(os.fspath(path))
        if name in self.folders or name in self.files:
            raise FileExistsError(17, "File exists", path)
        if posixpath.dirname(name) not in self.folders:
            raise FileNotFoundError(2, "No such file or directory", path)
        self.folders.add(name)

    def makedirs(self, name: Any, mode: int = 0o777, exist_ok: bool = False) -> None:
        """Create folders as `os.makedirs`."""
        del mode
        path = _normal(os.fspath(name))
        if path in self.files or (path in self.folders and not exist_ok):
            raise FileExistsError(17, "File exists", name)
        self._add_folders(path)

    def rmdir(self, path: Any) -> None:
        """Remove a folder as `os.rmdir`."""
        name = _normal(os.fspath(path))
        if self.listdir(path):
            raise OSError(39, "Directory not empty", path)
        self.folders.remove(name)

    def stat(self, path: Any, **options: Any) -> os.stat_result:
        """Return kind and size as `os.stat`. Imports see the machine's files."""
        if isinstance(path, int) or (str(path).endswith(_SOURCES) and not self.exists(path)):
            return _stat_of_the_machine(path, **options)
        if not self.exists(path):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        kind, size = (stat.S_IFDIR, 0) if self.isdir(path) else (stat.S_IFREG, self.getsize(path))
        return os.stat_result((kind | 0o777, 0, 0, 1, 0, 0, size, 0, 0, 0))

    def exists(self, path: Any) -> bool:
        """Return as `os.path.exists`."""
        return _normal(os.fspath(path)) in self.files or self.isdir(path)

    def isfile(self, path: Any) -> bool:
        """Return as `os.path.isfile`."""
        return _normal(os.fspath(path)) in self.files

    def isdir(self, path: Any) -> bool:
        """Return as `os.path.isdir`."""
        return _normal(os.fspath(path)) in self.folders

    def getsize(self, path: Any) -> int:
        """Return as `os.path.getsize`."""
        name = _normal(os.fspath(path))
        if name not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return len(self.files[name])

    def put_in_place(self, undo: list[Callable[[], None]]) -> None:
        """Make `open` and the functions of `os` work on these files; append to `undo` what restores the machine's functions."""
        of_os, of_path = ({name: getattr(self, name) for name in names} for names in (FUNCTIONS, PATH_FUNCTIONS))
        for module, names in ((builtins, {"open": self.open}), (io, {"open": self.open_volatile}), (os, of_os), (os.path, of_path)):
            _replace(module, names, undo)


def _normal(path: Any) -> str:
    text = path.decode() if isinstance(path, bytes) else str(path)
    return posixpath.normpath("/" + text.lstrip("/"))


def _replace(module: Any, names: dict[str, Any], undo: list[Callable[[], None]]) -> None:
    kept = {name: getattr(module, name) for name in names}
    undo.append(partial(vars(module).update, kept))
    vars(module).update(names)
