# SPDX-License-Identifier: Apache-2.0
"""A canister stored in a folder: each command loads it, runs, and saves it; in between, the folder is its state.

The folder is a snapshot as dfx downloads it, with one more file:

    canister.json    what a snapshot lacks: identity, status, controllers, cycles, logs, interface

One writer at a time holds the lock, a file beside the folder. The new state is also written beside the folder, and exchanged with it
in one step, so a killed process leaves the folder as it was before or after its message, never in between.

A canister in Python is saved as its stable memory after `@pre_upgrade`, and continues with `@post_upgrade`: its other variables are
initialised again by each command.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Final

from .canister import Canister, SourceError
from .canister.core import begin_with
from .canister.folder import COUNTERS, METADATA, MODULE, State, memory_parts, read_folder, settle, write_folder
from .canister.source import WASM_ENDINGS, decoded, is_wasm
from .canister.wasm.service import did_text
from .errors import Locked
from .principal import InvalidPrincipal, Principal

FACTS: Final = "canister.json"
_MOST_LOGS: Final = 1000
_NANOSECONDS: Final = 1_000_000_000


def _no_canister(folder: Path) -> SourceError:
    return SourceError(f"{folder}: no canister found; create one with: stable-structures canister deploy MODULE {folder}")


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f".{folder.name}.{ending}")


def _wait_for(lock: IO[str], folder: Path, kind: int, patience: float) -> None:
    until, pause = time.monotonic() + patience, 0.001
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise Locked(_in_use(lock, folder, patience)) from None
            time.sleep(pause)
            pause = min(0.05, pause * 2)
        else:
            return


def _in_use(lock: IO[str], folder: Path, patience: float) -> str:
    lock.seek(0)
    writer = lock.read(20)
    who = f"process {writer} is changing the canister" if writer.isdecimal() else "other commands are reading it"
    return f"{folder}: {who}, and has not finished within {patience:g} seconds; try again when it has, or end it (the folder stays whole)"


def _note_writer(lock: IO[str], text: str) -> None:
    """Write down who holds the lock, for the message of the one who waits in vain."""
    lock.seek(0)
    lock.truncate()
    lock.write(text)
    lock.flush()


class Deployment:
    """The canister of a folder. Use `read` and `write` in a `with` statement.

    `did` is its Candid interface (a file or its text) if neither the module nor the folder has one. A command waits for the others
    on the folder, at most `patience` seconds, then raises `Locked`.
    """

    def __init__(self, folder: str | Path, *, did: str | Path | None = None, patience: float = 60) -> None:
        self.folder = Path(os.path.realpath(folder))  # one lock for a folder, whatever name it is given by
        self.patience = patience
        self.did = did_text(did)

    def exists(self) -> bool:
        """Return whether the folder holds a canister."""
        return (self.folder / FACTS).is_file()

    def state(self) -> AbstractContextManager[Callable[[], Canister]]:
        """Yield a function that loads the canister, each time with the same state; nothing is saved, and the caller closes them."""
        return _States(self)

    def revision(self) -> str:
        """Return a text that changes whenever the state in the folder does; "" if there is no canister. O(1)."""
        try:
            found = self.folder.stat()
        except FileNotFoundError:
            return ""
        return f"{found.st_ino:x}-{found.st_mtime_ns:x}"

    def read(self) -> AbstractContextManager[Canister]:
        """Load the canister for reading: nothing is saved."""
        return _Always(self, saves=False)

    def write(self) -> AbstractContextManager[Canister]:
        """Load the canister for changes: it is saved at the end, even if a call was rejected, because of its log."""
        return _Always(self, saves=True)

    def write_if(self, revision: str) -> AbstractContextManager[Canister | None]:
        """Do as `write` if the state in the folder is still that of `revision`, else yield None."""
        return _IfUnchanged(self, revision)

    def deploy(self, source: str | Path, arg: Any = None, *, did: str | Path | None = None) -> Canister:
        """Install a module into a new folder. Raises `SourceError` if there is a canister already, `Trapped` for its init."""
        with _Lock(self.folder, shared=False, patience=self.patience, creates=True):
            if self.folder.exists() and any(self.folder.iterdir()):
                raise SourceError(f"{self.folder}: the folder is not empty; upgrade its canister, or choose another folder")
            canister = Canister(id=_new_principal())
            canister.is_in_folder = True
            canister.time = max(canister.time, time.time_ns())
            canister.install_code(as_source(source), arg, did=did)
            self.save(canister)
            canister.close()
        return canister

    # ---- loading ----

    def load(self) -> Canister:
        """Return the canister as the folder has it; the caller holds the lock."""
        facts = self._facts()
        given = read_folder(self.folder)
        principal, controllers = Principal.from_text(facts["id"]), facts["controllers"]
        if is_wasm(given.module):
            canister = Canister.from_snapshot(
                self.folder, id=principal, controllers=controllers, did=facts.get("did") if self.did is None else self.did
            )
        else:
            canister = Canister(id=principal, controllers=controllers)
            if given.stable is not None:
                begin_with(canister.memory, str(given.stable), given.stable_pages)
            canister.version, canister.certified_data = given.version, given.certified_data
        canister.is_in_folder = True
        canister.time, canister.cycles, canister.env = max(canister.time, facts["time"]), facts["cycles"], dict(facts["env"])
        if not is_wasm(given.module):
            canister.resume(_saved_text(given.module, self.folder / MODULE))
        canister.logs[:] = facts["logs"]
        canister.status = facts["status"]
        return canister

    def _facts(self) -> dict[str, Any]:
        path = self.folder / FACTS
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            if (self.folder / METADATA).is_file():
                return _new_facts()
            raise _no_canister(self.folder) from None
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{path}: invalid JSON: {error}; {_REPLACE}") from None
        _check_facts(path, found)
        return dict(found)

    # ---- saving ----

    def save(self, canister: Canister) -> None:
        """Make the canister's state that of the folder; the caller holds the lock."""
        program: Any = canister.program
        if canister.module_hash is not None:
            state, did = program.state(), program.code.did
        else:
            canister.run_pre_upgrade()
            state, did = _python_state(canister), None
        facts = {
            "id": str(canister.id),
            "status": canister.status,
            "controllers": [str(one) for one in canister.controllers],
            "cycles": canister.cycles,
            "time": min(canister.time, COUNTERS - 1),
            "env": canister.env,
            "logs": canister.logs[-_MOST_LOGS:],
        }
        if did is not None:
            facts["did"] = did
        elif canister.module_hash is not None and (text := _interface_of(canister)) is not None:
            facts["did"] = text
        write_folder(self.folder, state, {FACTS: json.dumps(facts, indent=2)})


def _interface_of(canister: Canister) -> str | None:
    """Return the text of the interface in a module; None if it has none, or an invalid one: the state is saved all the same."""
    try:
        return canister.candid
    except SourceError:
        return None


# ---- what canister.json says ----

_REPLACE: Final = "restore the file, or remove it: then the canister has a new identity"
_STATUSES: Final = ("running", "stopping", "stopped")


def _new_facts() -> dict[str, Any]:
    """Return those of a snapshot without the file."""
    return {
        "id": str(_new_principal()),
        "controllers": [],
        "time": 0,
        "cycles": 10**13,
        "env": {},
        "logs": [],
        "status": _STATUSES[0],
    }


def _is_principal(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(Principal.from_text(value))
    except InvalidPrincipal:
        return False


def _is_number(value: Any, bits: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**bits


def _are_all(kind: Callable[[Any], bool], values: Any) -> bool:
    return isinstance(values, list) and all(map(kind, values))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_environment(value: Any) -> bool:
    """Return whether it is names and values that have bytes: JSON can write half a character (a surrogate), which has none."""
    if not isinstance(value, dict):
        return False
    try:
        return all(isinstance(one, str) and one.encode() is not None for one in (*value, *value.values()))
    except UnicodeEncodeError:
        return False


def _is_interface(value: Any) -> bool:
    """Return whether it is the text of an interface, which has a brace, and not the path of a file that would be read."""
    return isinstance(value, str) and "{" in value


_RULES: Final[dict[str, Callable[[Any], bool]]] = {
    "id": _is_principal,
    "controllers": lambda value: _are_all(_is_principal, value),
    "time": lambda value: _is_number(value, 64) and value < COUNTERS,
    "cycles": lambda value: _is_number(value, 128),
    "env": _is_environment,
    "logs": lambda value: _are_all(_is_text, value),
    "status": lambda value: value in _STATUSES,
}


def _check_facts(path: Path, found: Any) -> None:
    """Raise `SourceError` for the first fact that is missing or is not what `save` writes."""
    if not isinstance(found, dict):
        raise SourceError(f"{path}: the JSON does not describe a canister; {_REPLACE}")
    for name, fits in _RULES.items():
        if name not in found:
            raise SourceError(f"{path}: {name!r} is missing; {_REPLACE}")
        if not fits(found[name]):
            raise SourceError(f"{path}: {name!r} is {found[name]!r:.80}, which no canister has; {_REPLACE}")
    if "did" in found and not _is_interface(found["did"]):
        raise SourceError(f"{path}: 'did' is not the text of a Candid interface; {_REPLACE}")


# ---- the blocks of `with` ----


class _Lock:
    """The lock of a folder: others wait. A writer removes what a killed one left behind. Raises `Locked` after `patience` seconds.

    Only `creates` makes the lock of a folder that was never one of a canister: whoever mistypes a name leaves no files behind.

    A class and no generator: a signal handler may raise between any two steps of Python, and what it interrupts is undone by `__exit__`,
    or, if that did not begin, with the objects, whose file is the lock.
    """

    def __init__(self, folder: Path, *, shared: bool, patience: float, creates: bool = False) -> None:
        self.folder, self.shared, self.patience, self.creates = folder, shared, patience, creates
        self._file: IO[str] | None = None

    def __enter__(self) -> None:
        try:
            self._take()
        except BaseException:
            self.release()
            raise

    def _take(self) -> None:
        path = _beside(self.folder, "lock")
        if self.creates:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
        elif not (self.folder.exists() or path.exists()):  # a folder whose writer was killed may be gone for a moment; its lock stays
            raise _no_canister(self.folder)
        self._file = path.open("a+", encoding="utf-8")
        _wait_for(self._file, self.folder, fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX, self.patience)
        if not self.shared:
            _note_writer(self._file, str(os.getpid()))
            settle(self.folder)

    def release(self) -> None:
        """Give the lock back. Doing it twice does no harm."""
        file = self._file
        if file is None:
            return
        try:
            if not (self.shared or file.closed):
                _note_writer(file, "")
        finally:
            file.close()

    def __exit__(self, *_: object) -> None:
        self.release()


class _States:
    """Reads the folder, as often as the block likes."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._lock = _Lock(deployment.folder, shared=True, patience=deployment.patience)

    def __enter__(self) -> Callable[[], Canister]:
        self._lock.__enter__()
        return self._deployment.load

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class _Use:
    """The canister of a folder, while a block uses it."""

    def __init__(self, deployment: Deployment, *, saves: bool) -> None:
        self._deployment, self._saves = deployment, saves
        self._lock = _Lock(deployment.folder, shared=not saves, patience=deployment.patience)
        self._canister: Canister | None = None

    def _open(self, revision: str | None = None) -> Canister | None:
        """Take the lock and load the canister, if it is of that revision."""
        try:
            self._lock.__enter__()
            if revision in (None, self._deployment.revision()):
                canister = self._deployment.load()
                if self._saves:
                    canister.advance_time(max(0, time.time_ns() - canister.time) / _NANOSECONDS)
                self._canister = canister
        except BaseException:
            self._lock.release()
            raise
        return self._canister

    def __exit__(self, *_: object) -> None:
        try:
            if self._canister is not None and self._saves:
                self._deployment.save(self._canister)
        finally:
            try:
                if self._canister is not None:
                    self._canister.close()
            finally:
                self._lock.release()


class _Always(_Use):
    def __enter__(self) -> Canister:
        canister = self._open()
        assert canister is not None  # noqa: S101 - it asks for no revision
        return canister


class _IfUnchanged(_Use):
    def __init__(self, deployment: Deployment, revision: str) -> None:
        super().__init__(deployment, saves=True)
        self._revision = revision

    def __enter__(self) -> Canister | None:
        return self._open(self._revision)


def _new_principal() -> Principal:
    """Return a new identity for each folder, from the range of the platform's test server."""
    return Principal((0xFFFF_FFFF_FFE0_0000 | time.time_ns() & 0xF_FFFF).to_bytes(8, "big") + b"\x01\x01")


def as_source(source: str | Path) -> Any:
    """Return a module as `Canister.install` takes it; Python is read as text, because the folder keeps it. Raises `SourceError`."""
    path = Path(source)
    if not path.is_file():
        raise SourceError(f"{path}: file not found; pass a .wasm, .wasm.gz or .py file")
    if path.name.endswith(WASM_ENDINGS):
        return path
    if path.suffix != ".py":
        raise SourceError(f"{path}: this is neither .wasm, .wasm.gz nor .py by its name; rename the file")
    text = decoded(path.read_bytes(), path)
    return text if "\n" in text else text + "\n"


def _saved_text(source: bytes, path: Path) -> str:
    """Return source as `save` writes it: in UTF-8, even if its first line names the encoding that it was in."""
    try:
        return source.decode()
    except UnicodeDecodeError:
        raise SourceError(f"{path}: this is neither a Wasm module nor Python source as it is saved here; restore the file") from None


def _python_state(canister: Canister) -> State:
    program: Any = canister.program
    memory = canister.memory
    source = program.code.text.encode()
    return State(source, 0, [], memory.nbytes, memory_parts(memory), [], canister.certified_data, canister.version, canister.time, 0)
