# SPDX-License-Identifier: Apache-2.0
"""The modules of one installed program, separate from those of the test and of other canisters.

A canister's modules are its heap: its own files and third-party pure-Python packages are imported again at each install
and upgrade. Shared with the test are the standard library, packages with extension modules (which cannot be imported
twice), this library, the test tools, and the server of the page. Python's import works on one table, `sys.modules`. While a
program runs, the table contains its modules instead of the test's; afterwards the table is as before. One program at a time
runs in a process.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_SHARED_TOOLS: Final = frozenset(
    {
        "__main__",
        "__mp_main__",
        "stable_structures",
        "pytest",
        "_pytest",
        "pluggy",
        "iniconfig",
        "hypothesis",
        "_hypothesis_pytestplugin",
        "coverage",
        # The page of a canister: its server imports parts of these in other threads, while a canister runs.
        "starlette",
        "uvicorn",
        "anyio",
        "click",
        "h11",
        "idna",
        "typing_extensions",
        "httpx",
        "httpcore",
    }
)
_EXTENSIONS: Final = (*importlib.machinery.EXTENSION_SUFFIXES, ".pyd")

TEXT_MODULE: Final = "canister_source_"
"""The prefix of the name of a module that was installed from text."""

_turn: Final = threading.RLock()
"""Held by the thread whose message runs."""


def one_at_a_time(body: Callable[[], None]) -> None:
    """Run something while no other thread runs a message. Nests.

    A signal handler may raise between any two steps of Python. No `with` here: its entry is such a place (3.14), and so is the end
    of a loop or comprehension in its block (3.13). Between a step that raises in this `try` and the release there is none.
    """
    try:
        _turn.acquire()
        body()
    finally:
        try:  # noqa: SIM105 - the call of suppress() would be a place where a handler may raise
            _turn.release()
        except RuntimeError:  # the wait for the turn was interrupted
            pass


def _has_extension(folder: str) -> bool:
    return any(name.endswith(_EXTENSIONS) for _, _, files in os.walk(folder) for name in files)


def _is_shared_package(top: str) -> bool:
    """Return whether a top-level module outside the standard library has compiled code."""
    module = sys.modules.get(top)
    spec = getattr(module, "__spec__", None)
    if spec is None and module is None:
        spec = importlib.machinery.PathFinder.find_spec(top)
    if spec is None:
        return False
    if isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
        return True
    return any(_has_extension(folder) for folder in spec.submodule_search_locations or ())


class _Shared(dict[str, bool]):
    """Whether each module is shared, by its name, asked once. The table of a test has thousands, and each message goes through them."""

    def __missing__(self, name: str) -> bool:
        top = name.partition(".")[0]
        if top.startswith(TEXT_MODULE):  # each has its own name, so there is nothing to keep
            return False
        self[name] = known = self[top] if name != top else _is_shared_top(top)
        return known


def _is_shared_top(top: str) -> bool:
    return top in _SHARED_TOOLS or top in sys.stdlib_module_names or top in sys.builtin_module_names or _is_shared_package(top)


_shared: Final = _Shared()


def is_shared(name: str) -> bool:
    """Return whether the test and all canisters share a module. O(1) once it is known."""
    return _shared[name]


class Modules:
    """The private modules of a program, and the folders of its own files."""

    def __init__(self, search: list[str], given: dict[str, ModuleType]) -> None:
        self.search = search
        self.private: dict[str, ModuleType] = dict(given)

    def owns(self, name: str | None) -> bool:
        """Return whether a module of this name belongs to the program; while it is active, whether it will."""
        return name in self.private or (name in sys.modules and not is_shared(name))

    def run(self, body: Callable[[], None]) -> None:
        """Run a function with the program's modules in place of the test's. O(modules of the test)."""
        one_at_a_time(lambda: self._run(body))

    def _run(self, body: Callable[[], None]) -> None:
        put_back = _PutBack(self, _private())
        try:
            _exchange(put_back.host, self.private)
            sys.path[:0] = self.search
            sys.dont_write_bytecode = True  # a test rewrites its canisters too fast for the time stamps of bytecode
            put_back.begun = True
            body()
        finally:
            done = False
            try:
                put_back()
                done = True
            finally:
                if not done:  # a signal handler raised meanwhile
                    put_back()


def _private() -> dict[str, ModuleType]:
    """Return the modules in the table that are not shared. Only copy() is of one moment: list() may let another thread import."""
    return {name: module for name, module in sys.modules.copy().items() if not _shared[name]}


class _PutBack:
    """Puts the test's modules back in place of a program's. Twice is as good as once."""

    def __init__(self, modules: Modules, host: dict[str, ModuleType]) -> None:
        self.modules = modules
        self.host = host
        self.path, self.writes = list(sys.path), sys.dont_write_bytecode
        self.begun = False
        """Whether only the program's modules are in place."""
        self._found: dict[str, ModuleType] = {}

    def __call__(self) -> None:
        sys.path[:], sys.dont_write_bytecode = self.path, self.writes
        if self.begun and not self._found:
            self._found.update(_private())
        if self.begun:
            self.modules.private = self._found
        _exchange(self.modules.private, self.host)


def _exchange(out: dict[str, ModuleType], into: dict[str, ModuleType]) -> None:
    for name in out:
        sys.modules.pop(name, None)
    sys.modules.update(into)
