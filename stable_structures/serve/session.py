# SPDX-License-Identifier: Apache-2.0
"""The canister behind a page: what it is, calls and queries, upgrades and their rehearsals, and the map of its stable memory.

Each message is one command on the folder, as `canister call` is: it takes the folder's lock, loads, runs, saves, and releases the lock
back. So the shell and the page work on one canister at the same time, and a process that is killed loses nothing that was answered.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..canister import Canister, ErrorCode, Rejected, SourceError, Trapped
from ..canister.folder import STABLE
from ..canister.message import INSTALLS, Kind
from ..canister.program import Program as PythonProgram
from ..canister.source import decoded, is_wasm
from ..canister.wasm.program import WasmProgram, read_code
from ..deployment import Deployment
from ..encodings.candid.codec import CandidError
from ..encodings.candid.types import NAT8, Func, Interface, Opt, Type, Vec, function_text, parse_interface, type_text
from ..errors import StableError
from ..inspect import open_image
from ..inspect.picture.picture import page as picture_page
from ..inspect.picture.scene import Scene, read_scene
from ..inspect.report import soundness
from ..rehearsal import Rehearsal, call_text, rehearse_state
from .changes import NOTHING, Changes, compare, image_of
from .forms import InvalidInput, Types, comments, read_all
from .python import parameters

LONGEST_ANSWER: Final = 1 << 20
"""Characters of an answer that a page gets; the rest of a longer one is left out, and it says so."""
LARGEST_MAP: Final = 256 << 20
"""Bytes of stable memory that are drawn without being asked to."""
SLOWEST_MAP: Final = 1.5
"""Seconds that drawing may take; a map that took longer is drawn only if somebody asks, because calls wait for it."""
LARGEST_MODULE: Final = 100 << 20
_MOST_LOGS: Final = 500
_LONGEST_LOG: Final = 20_000
_MILLISECONDS: Final = 1000
_INTERNAL: Final = ("__motoko", "@motoko", "<ic-cdk internal>")
_PATIENCE: Final = 30.0


class Stale(StableError, RuntimeError):
    """The canister is not as it was any more when its upgrade was rehearsed."""


@dataclass(frozen=True)
class Module:
    """A module that was uploaded, to be rehearsed and installed."""

    name: str
    data: bytes
    source: Any
    init: tuple[Type, ...]

    @property
    def hash(self) -> str:
        """Its SHA-256."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Argument:
    """An argument of a method: `type` None is one of any type, `required` False one that may be left out."""

    name: str
    type: Type | None
    required: bool = True


@dataclass(frozen=True)
class Signature:
    """How a method is called."""

    name: str
    kind: Kind
    arguments: tuple[Argument, ...]
    text: str
    comment: str = ""


class Session:
    """The canister of a folder, for one page. Not for several threads at once.

    Raises `SourceError` for a folder without a canister, `Locked` if another command has it for too long.
    """

    def __init__(self, folder: str | Path, *, did: str | Path | None = None) -> None:
        self._deployment = Deployment(folder, did=did, patience=_PATIENCE)
        self._module: Module | None = None
        self._signatures: dict[str, Signature] = {}
        self._image = image_of(self._stable)
        self._seen = self._deployment.revision()
        self._changes: Changes = NOTHING
        self._seconds = 0.0
        self.state()

    @property
    def _stable(self) -> Path:
        return self._deployment.folder / STABLE

    # ---- what it is ----

    def revision(self) -> str:
        """Return a text that changes with the state, whoever changed it. O(1)."""
        return self._deployment.revision()

    def state(self) -> dict[str, Any]:
        """Return what the page shows of the canister. O(size of the module), and for Python what its source does."""
        with self._deployment.read() as canister:
            return self._state(canister)

    def _state(self, canister: Canister) -> dict[str, Any]:
        signatures = _signatures(canister, self._deployment.did)
        self._signatures = {one.name: one for one in signatures}
        types = Types()
        return {
            "revision": self.revision(),
            "folder": str(self._deployment.folder),
            "name": self._deployment.folder.name,
            "id": str(canister.id),
            "status": canister.status,
            "version": canister.version,
            "language": "Python" if canister.module_hash is None else "Wasm",
            "hash": None if canister.module_hash is None else canister.module_hash.hex(),
            "cycles": str(canister.cycles),
            "heap": None if canister.module_hash is None else canister.heap_size,
            "stable": canister.memory.nbytes,
            "controllers": [str(one) for one in canister.controllers],
            "methods": [_describe(one, types) for one in signatures],
            "types": types.table,
            **_logs(canister.logs),
        }

    # ---- messages ----

    def call(self, given: dict[str, Any]) -> dict[str, Any]:
        """Make a call or a query as the page asks for it, and return what came of it; what a call changed is in the folder then."""
        name, query = _text(given, "method"), given.get("query") is True
        signature = self._signatures.get(name)
        if signature is None:
            raise SourceError(f"the canister has no method {name!r}: load the page again")
        caller, cycles = _text(given, "caller", "") or None, _cycles(given.get("cycles"))
        try:
            values = _values(given.get("args"), signature)
        except InvalidInput as error:
            return {"kind": "invalid", "message": str(error), "path": error.path}
        with self._deployment.read() if query else self._deployment.write() as canister:
            found = _run(canister, name, values, query=query, caller=caller, cycles=cycles)
        return {**found, "state": self._after(), "arguments": _shown(values, signature)}

    def set_status(self, given: dict[str, Any]) -> dict[str, Any]:
        """Stop or start the canister."""
        action = given.get("action")
        if action not in ("stop", "start"):
            raise SourceError("action is stop or start")
        with self._deployment.write() as canister:
            (canister.stop if action == "stop" else canister.start)()
        return {"state": self._after()}

    def _after(self) -> dict[str, Any]:
        """Return the state after a message of this page, whose changes the map lights: those of this message alone."""
        self._notice(self.revision())
        return self.state()

    # ---- upgrades ----

    def upload(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take a module that may be installed later. Raises `SourceError` and `Rejected` (IC0505) for what is not a module."""
        name, did = _text(given, "name"), _text(given, "did", "") or None
        try:
            data = base64.b64decode(_text(given, "data"), validate=True)
        except ValueError as error:  # binascii.Error is one, and there is another for what is not ASCII
            raise SourceError(f"the module is not base64: {error}") from None
        if len(data) > LARGEST_MODULE:
            raise SourceError(f"{name}: {len(data):,} bytes are more than a module may have ({LARGEST_MODULE:,})")
        self._module = module = _module_of(name, data, did)
        types = Types()
        arguments = [_describe_argument(Argument("", one), types) for one in module.init]
        return {"hash": module.hash, "size": len(data), "arguments": arguments, "types": types.table}

    def rehearse(self, given: dict[str, Any]) -> dict[str, Any]:
        """Try the upgrade to the uploaded module on the state as it is, and return what would happen. Nothing is changed."""
        module = self._uploaded(given)
        try:
            argument = _init_argument(given.get("args"), module)
        except InvalidInput as error:
            return {"kind": "invalid", "message": str(error), "path": error.path}
        calls = [line for line in _text(given, "calls", "").splitlines() if line.strip()]
        begun = time.perf_counter()
        with self._deployment.state() as open_state:
            revision = self.revision()

            def running() -> Canister:
                canister = open_state()
                canister.status = "running"  # for the calls that follow
                return canister

            found = rehearse_state(running, self._deployment.folder, module.source, argument, calls=calls, **_options(given))
        try:
            return {"kind": "rehearsal", "revision": revision, "ms": _since(begun), **_report(found)}
        finally:
            if found.canister is not None:
                found.canister.close()

    def upgrade(self, given: dict[str, Any]) -> dict[str, Any]:
        """Install the module that was rehearsed. Raises `Stale` if the canister changed since, `Rejected` as `Canister.upgrade`."""
        module = self._uploaded(given)
        argument = _init_argument(given.get("args"), module)
        begun = time.perf_counter()
        with self._unchanged(_text(given, "revision")) as canister:
            before = len(canister.logs)
            found = _outcome(lambda: f"upgraded to version {_upgraded(canister, module, argument, given)}")
            found |= {"instructions": _hooks_of(canister), "logs": _log_lines(canister.logs[before:]), "ms": _since(begun)}
        return {**found, "state": self._after()}

    @contextmanager
    def _unchanged(self, revision: str) -> Iterator[Canister]:
        """Load the canister for a change, if it is still in the state of that revision."""
        with self._deployment.write_if(revision) as canister:
            if canister is None:
                raise Stale("the canister has changed since the rehearsal: rehearse the upgrade again")
            yield canister

    def _uploaded(self, given: dict[str, Any]) -> Module:
        module = self._module
        if module is None or module.hash != given.get("hash"):
            raise Stale("another module was chosen meanwhile, or the server was started again: choose the file again")
        return module

    # ---- the map ----

    def map(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the picture of the stable memory and what changed since the state before. O(size of what is in it)."""
        with self._deployment.state():
            revision = self.revision()
            self._notice(revision)
            nbytes = len(self._image)
            answer: dict[str, Any] = {"revision": revision, "nbytes": nbytes, "changes": self._changes.to_dict(), "scene": None}
            by_itself = nbytes <= LARGEST_MAP and self._seconds <= SLOWEST_MAP
            if nbytes and (by_itself or given.get("large") is True):
                begun = time.perf_counter()
                answer["scene"] = self._scene().to_dict()
                self._seconds = time.perf_counter() - begun
            return answer

    def _notice(self, revision: str) -> None:
        """Compare the image with that of the revision seen last."""
        if revision != self._seen:
            image = image_of(self._stable)
            self._changes = compare(self._image, image)
            self._image, self._seen = image, revision

    def _scene(self) -> Scene:
        with open_image(self._deployment.folder) as image:
            return read_scene(image)

    def picture(self, nonce: str) -> str:
        """Return the page of the picture verb, for the stable memory as it is. Raises `SourceError` if there is none."""
        with self._deployment.state():
            if not self._stable.is_file():
                raise SourceError("the canister has no stable memory yet: there is nothing to draw")
            return picture_page(self._scene(), nonce=nonce)


# ---- signatures ----


def _signatures(canister: Canister, did: str | None) -> list[Signature]:
    program: Any = canister.program
    if isinstance(program, PythonProgram):
        return _of_python(program, None if did is None else parse_interface(did))
    interface = program.interface if isinstance(program, WasmProgram) else None
    if interface is None:
        shown = [one for one in program.methods.values() if not one.name.startswith(_INTERNAL)] if program is not None else []
        raw = (Argument("message", Opt(Vec(NAT8))),)
        return sorted((Signature(one.name, one.kind, raw, "(Candid bytes) -> (Candid bytes)") for one in shown), key=_order)
    return _of_interface(interface, program.methods)


def _order(one: Signature) -> str:
    return one.name


def _of_interface(interface: Interface, methods: dict[str, Any]) -> list[Signature]:
    above = comments(interface.text)
    return [
        Signature(name, methods[name].kind, _arguments(found), function_text(found), above.get(name, ""))
        for name, found in interface.methods.items()
        if name in methods
    ]


def _arguments(found: Func) -> tuple[Argument, ...]:
    names = found.names or ("",) * len(found.args)
    return tuple(Argument(name, one) for name, one in zip(names, found.args, strict=True))


def _of_python(program: PythonProgram, interface: Interface | None) -> list[Signature]:
    """Return the methods of a canister in Python, by a given interface, otherwise by annotations."""
    if interface is not None:
        return _of_interface(interface, program.methods)
    found = []
    for one in program.methods.values():
        arguments = tuple(Argument(*parameter) for parameter in parameters(one.function))
        sides = ", ".join(f"{each.name}" if each.type is None else f"{each.name} : {type_text(each.type)}" for each in arguments)
        mode = "" if one.kind is Kind.UPDATE else f" {one.kind.value.replace(' ', '_')}"
        found.append(Signature(one.name, one.kind, arguments, f"({sides}){mode}", (one.function.__doc__ or "").strip()))
    return found


def _describe(one: Signature, types: Types) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind.value,
        "text": one.text,
        "comment": one.comment,
        "arguments": [_describe_argument(each, types) for each in one.arguments],
    }


def _describe_argument(one: Argument, types: Types) -> dict[str, Any]:
    return {"name": one.name, "type": types.describe(one.type), "required": one.required}


# ---- values ----


def _text(given: dict[str, Any], name: str, missing: str | None = None) -> str:
    value = given.get(name, missing)
    if not isinstance(value, str):
        raise SourceError(f"the request has no text {name!r}")
    return value


def _cycles(given: Any) -> int:
    text = str(given or "0").replace("_", "").strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= 38):  # noqa: PLR2004 - u128 has 39 digits
        raise SourceError(f"expected cycles as a whole number, got {text[:50]!r}")
    return int(text)


def _values(given: Any, signature: Signature) -> list[Any]:
    """Return the values of a call; optional ones at the end that were left out are None in the request."""
    wanted = list(signature.arguments)
    values = list(given) if isinstance(given, list) else given
    if isinstance(values, list) and len(values) == len(wanted):
        while wanted and not wanted[-1].required and values[-1] is None:
            wanted.pop()
            values.pop()
    found = read_all(values, [one.type for one in wanted])
    return [one for one in found if one is not None] if signature.text.startswith("(Candid bytes)") else found


def _shown(values: list[Any], signature: Signature) -> str | None:
    """Return the arguments as Candid text, for the same call in the shell; None if there is none."""
    from ..encodings.candid.codec import infer  # noqa: PLC0415 - rarely more than shown
    from ..encodings.candid.text import show_values  # noqa: PLC0415 - as above

    declared = [one.type for one in signature.arguments]
    try:
        types = [infer(value) if one is None else one for value, one in zip(values, declared, strict=False)]
        shown = show_values(values, types)
    except (StableError, TypeError, ValueError):
        return None
    return shown if len(shown) <= _LONGEST_LOG else None


def _init_argument(given: Any, module: Module) -> Any:
    """Return the argument of post_upgrade: a tuple, or None for none."""
    if not module.init or given is None:
        return None
    return tuple(read_all(given, list(module.init)))


def _module_of(name: str, data: bytes, did: str | None) -> Module:
    if is_wasm(data):
        interface = read_code(data, did).interface()
        return Module(name, data, data, () if interface is None else interface.init)
    if not name.endswith(".py"):
        raise SourceError(f"{name}: this is neither a Wasm module (.wasm, .wasm.gz) nor Python source (.py)")
    return Module(name, data, decoded(data, name) + "\n", ())


# ---- what came of it ----


def _run(canister: Canister, method: str, values: list[Any], *, query: bool, caller: str | None, cycles: int) -> dict[str, Any]:  # noqa: PLR0913 - each by its name
    before, balance = len(canister.logs), canister.cycles
    canister.call_instructions = 0
    begun = time.perf_counter()
    found = _outcome(lambda: call_text(canister, method, values, query=query, caller=caller, cycles=cycles))
    return {
        **found,
        "ms": _since(begun),
        "query": query,
        "instructions": canister.call_instructions if canister.module_hash is not None else None,
        "limit": canister.limits.instructions(Kind.QUERY if query else Kind.UPDATE),
        "cycles": str(canister.cycles - balance),
        "logs": _log_lines(canister.logs[before:]),
    }


def _outcome(work: Any) -> dict[str, Any]:
    """Return the reply, or the rejection by the canister, the platform or the harness."""
    try:
        text = work()
    except Rejected as error:
        return {"kind": _kind_of(error), "code": str(error.code), "message": _cut(error.message)}
    except CandidError as error:
        return {"kind": "error", "message": _cut(f"the answer is not what the Candid interface says: {error}")}
    except (StableError, TypeError, OverflowError, ValueError) as error:
        return {"kind": "error", "message": _cut(str(error))}
    return {"kind": "answer", "text": text[:LONGEST_ANSWER], "length": len(text)}


def _kind_of(error: Rejected) -> str:
    if isinstance(error, Trapped):
        return "trap"
    return "reject" if error.code is ErrorCode.CANISTER_REJECTED else "refused"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_LOG else f"{text[:_LONGEST_LOG]}... ({len(text):,} characters)"


def _log_lines(lines: list[str]) -> list[str]:
    return [_cut(line) for line in lines[-_MOST_LOGS:]]


def _logs(lines: list[str]) -> dict[str, Any]:
    return {"logs": _log_lines(lines), "logCount": len(lines)}


def _since(begun: float) -> float:
    return round((time.perf_counter() - begun) * _MILLISECONDS, 2)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    persistence = given.get("persistence", "auto")
    if persistence not in ("auto", "keep", "replace"):
        raise SourceError("persistence is auto, keep or replace")
    return {"skip_pre_upgrade": given.get("skipPreUpgrade") is True, "wasm_memory_persistence": persistence}


def _upgraded(canister: Canister, module: Module, argument: Any, given: dict[str, Any]) -> int:
    canister.upgrade(module.source, argument, **_options(given))
    return canister.version


def _hooks_of(canister: Canister) -> int | None:
    counts = canister.last_instructions.items()
    return sum(count for kind, count in counts if kind in INSTALLS) if canister.module_hash is not None else None


def _report(found: Rehearsal) -> dict[str, Any]:
    report = found.to_dict()
    for one in report["calls"]:
        one.update({name: None if one[name] is None else _cut(one[name]) for name in ("answer", "error")})
    report["logs"], report["check"] = _log_lines(found.logs), soundness(found.unchecked)
    return report | {"text": _cut(str(found)), "counted": found.canister is not None and found.canister.module_hash is not None}
