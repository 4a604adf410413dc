# SPDX-License-Identifier: Apache-2.0
"""Rehearse an upgrade on the real state: see what would happen before it happens.

`rehearse` runs the upgrade on the heap and stable memory of a snapshot, which it does not change. It reports whether the upgrade succeeds,
what it costs against the platform's limits, what changed in each structure, whether the result is sound, and whether callers still work.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from . import inspect as inspector
from .canister import Canister, Limits, Rejected, SourceError, Trapped, Unsupported
from .canister.folder import check_is_new
from .canister.message import Kind
from .canister.source import wasm_of
from .encodings.candid.codec import CandidError, decode, encode, infer
from .encodings.candid.subtype import incompatible
from .encodings.candid.text import fit_all, parse_values, show_values
from .encodings.candid.types import Interface, Some
from .encodings.motoko import NotRead, Signature, changes, read_signature
from .inspect.remote.names import is_remote, shown
from .inspect.report import soundness, unchecked

if TYPE_CHECKING:
    from .canister.given import Persistence
    from .canister.source import Source

_HOOKS: Final = {Kind.PRE_UPGRADE: "pre_upgrade", Kind.START: "start", Kind.POST_UPGRADE: "post_upgrade"}
_TRAP: Final = "[TRAP]: "
"""How a trap begins in a canister's log, as on the platform."""
_WARNING_SHARE: Final = 0.8
_PAGE: Final = 65536
_GOES_ON: Final = "\n      | "
"""Between the lines of a text that a canister wrote, so that none of them looks like one of the report."""
_CALL: Final = re.compile(r"\s*(?P<name>[^\s(]+|\"[^\"]*\")\s*(?P<values>\(.*\))?\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """A call made after the upgrade: its reply, as Candid text, or why it failed."""

    call: str
    answer: str | None
    error: str | None
    instructions: int


@dataclass
class Rehearsal:
    """What an upgrade would do. `ok` is true if it succeeds, the result is sound, and every call was answered."""

    snapshot: Path
    failure: str | None = None
    """Why the upgrade fails, with the hook that trapped."""
    instructions: dict[str, int] = field(default_factory=dict)
    """Instructions of each hook that ran."""
    instruction_limit: int = 0
    stable_pages: tuple[int, int] = (0, 0)
    changed_bytes: int = 0
    """Bytes of stable memory that changed, in blocks of 4 KiB."""
    changed_limit: int = 0
    heap_bytes: tuple[int, int] = (0, 0)
    differences: list[inspector.PartDiff] = field(default_factory=list)
    """What changed in each structure of the stable memory."""
    damage: list[inspector.Finding] = field(default_factory=list)
    """Broken rules of the stable memory after the upgrade."""
    unchecked: list[str] = field(default_factory=list)
    """What the check has no rules for, a phrase each: such a memory is not recognised, or holds the bytes of another library."""
    damage_before: int = 0
    """How many rules were broken before the upgrade; determined only if the result is damaged."""
    candid: list[str] | None = None
    """What callers of the old interface lose; None if an interface is not known."""
    stable_types: list[str] = field(default_factory=list)
    """Stable variables of Motoko that are gone or have another type."""
    heap_dropped: bool = False
    """Whether the old module keeps its variables on its heap, and the upgrade replaces that."""
    timer_traps: list[str] = field(default_factory=list)
    """Traps of timers that the new code set for the moment after the upgrade: each is undone, and the upgrade stays."""
    untried: str | None = None
    """Why what the new code began after the upgrade (timers that are due at once) could not be run to its end."""
    calls: list[Answer] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    canister: Canister | None = None
    """The canister after the upgrade, to inspect and to call."""

    @property
    def ok(self) -> bool:
        """Return whether nothing failed and nothing is damaged."""
        return self.failure is None and not self.damage and all(one.error is None for one in self.calls)

    @property
    def warnings(self) -> list[str]:
        """Return warnings: limits that are near, and changes that may surprise."""
        found = []
        used = sum(self.instructions.values())
        if self.instruction_limit and used >= _WARNING_SHARE * self.instruction_limit:
            found.append(f"the hooks use {_share(used, self.instruction_limit)} of the instructions that an upgrade may use")
        if self.changed_limit and self.changed_bytes >= _WARNING_SHARE * self.changed_limit:
            found.append(
                f"the hooks change {_share(self.changed_bytes, self.changed_limit)} of the stable memory that an upgrade may change"
            )
        found += [f"{_place(one)} was a {one.kinds[0]}, is {one.kinds[1] or 'not known'}" for one in self.differences if _is_other(one)]
        found += [f"callers: {line}" for line in self.candid or []]
        found += [f"stable variables: {line}" for line in self.stable_types]
        if self.heap_dropped:
            found.append(
                "the stable variables of this Motoko canister are on its heap, and all of them are lost: its memory is replaced; "
                "keep it (--wasm-memory-persistence keep)"
            )
        found += [f"a timer that the new code set trapped right after the upgrade: {line}" for line in self.timer_traps]
        if self.untried is not None:
            found.append(f"what the new code began after the upgrade could not be tried: {self.untried}")
        if self.damage_before:
            found.append(f"the stable memory had {self.damage_before} broken rules before the upgrade")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dict for JSON."""
        differences = [one for one in self.differences if not one.same]
        return {
            "ok": self.ok,
            "snapshot": str(self.snapshot),
            "failure": self.failure,
            "instructions": self.instructions,
            "instruction_limit": self.instruction_limit,
            "stable_pages": list(self.stable_pages),
            "changed_bytes": self.changed_bytes,
            "changed_limit": self.changed_limit,
            "heap_bytes": list(self.heap_bytes),
            "differences": [{"memory": one.memory, "kinds": list(one.kinds), **_counts(one)} for one in differences],
            "damage": [str(one) for one in self.damage],
            "unchecked": self.unchecked,
            "damage_before": self.damage_before,
            "candid": self.candid,
            "stable_types": self.stable_types,
            "heap_dropped": self.heap_dropped,
            "calls": [vars(one) for one in self.calls],
            "warnings": self.warnings,
            "logs": self.logs,
        }

    def __str__(self) -> str:
        return "\n".join(line.replace("\n", _GOES_ON) for line in _lines(self))


def rehearse(  # noqa: PLR0913 - each by its name
    snapshot: str | os.PathLike[str],
    source: Source,
    arg: Any = None,
    *,
    calls: Iterable[str] = (),
    skip_pre_upgrade: bool = False,
    wasm_memory_persistence: Persistence | None = "auto",
    did: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Rehearsal:
    r"""Upgrade the canister of a snapshot folder to another module, in this process, and report what happened.

    `calls` are made afterwards, as text: `balance("ada")`. `save` is a new folder for the snapshot of the result, with what the calls
    changed. The snapshot itself is never changed. O(what the hooks do + stable memory that is not zero).

    Raises `SourceError` for an invalid snapshot, module or call, and if something is in the folder `save` already; `Unsupported`
    without the extra `wasm`. An upgrade that fails raises nothing: the report says so.

    >>> from stable_structures.rehearsal import rehearse
    >>> found = rehearse("snapshot", "new.wasm", calls=['balance("ada")'])  # doctest: +SKIP
    >>> assert found.ok, str(found)  # doctest: +SKIP
    """
    if is_remote(snapshot):
        raise SourceError(f"{shown(str(snapshot))}: rehearse runs the canister, so it needs the snapshot on this machine: download it")
    return rehearse_state(
        lambda: Canister.from_snapshot(snapshot, limits=limits),
        Path(snapshot),
        source,
        arg,
        calls=calls,
        skip_pre_upgrade=skip_pre_upgrade,
        wasm_memory_persistence=wasm_memory_persistence,
        did=did,
        save=save,
    )


def rehearse_state(  # noqa: PLR0913 - each by its name
    open_state: Callable[[], Canister],
    name: Path,
    source: Source,
    arg: Any = None,
    *,
    calls: Iterable[str] = (),
    skip_pre_upgrade: bool = False,
    wasm_memory_persistence: Persistence | None = "auto",
    did: str | os.PathLike[str] | None = None,
    save: str | os.PathLike[str] | None = None,
) -> Rehearsal:
    """Rehearse as `rehearse` does, on a canister that `open_state` makes: a new one with the same state each time it is called."""
    if save is not None:
        check_is_new(save)
    canister = open_state()
    wanted = [_parse_call(one) for one in calls]
    old = _interface(canister)
    found = Rehearsal(name, canister=canister)
    pages, heap, variables = canister.memory.size(), canister.heap_size, _signature(_code(canister))
    drops_heap = wasm_memory_persistence == "replace" and _keeps_variables_on_heap(canister)
    canister.last_instructions, canister.last_changes = {}, {}
    program, logged = canister.program, len(canister.logs)
    try:
        canister.upgrade(source, arg, skip_pre_upgrade=skip_pre_upgrade, wasm_memory_persistence=wasm_memory_persistence, did=did)
    except Rejected as error:
        found.failure = _failure(canister, error)
    except Unsupported as error:
        if canister.program is program:  # the harness cannot run the upgrade itself
            raise
        found.untried = str(error)
    _measure(found, canister, pages, heap)
    if variables is not None and (after := _signature_of(source)) is not None:
        found.stable_types = changes(variables, after)
    if found.failure is None:
        found.timer_traps = [line.removeprefix(_TRAP) for line in canister.logs[logged:] if line.startswith(_TRAP)]
        _compare(found, canister, open_state, old)
        found.heap_dropped = drops_heap
        found.calls = [_make_call(canister, *one) for one in wanted]
        if save is not None:
            canister.save_snapshot(save)
    found.logs = list(canister.logs)
    return found


# ---- the parts ----


def _interface(canister: Canister) -> Interface | None:
    """Return the interface of a canister; None if it is not known or is invalid."""
    if canister.module_hash is None:  # Python needs no wasmtime
        return None
    from .canister.wasm.program import WasmProgram  # noqa: PLC0415 - wasmtime is for those who use it

    program = canister.program
    try:
        return program.code.interface() if isinstance(program, WasmProgram) else None
    except SourceError:
        return None


def _image_of(canister: Canister) -> Any:
    return canister.memory if canister.memory.size() else None


def _failure(canister: Canister, error: Rejected) -> str:
    kinds = list(canister.last_instructions)
    where = _HOOKS.get(kinds[-1]) if kinds and isinstance(error, Trapped) else None
    return f"{where}: {error}" if where else str(error)


def _measure(found: Rehearsal, canister: Canister, pages: int, heap: int) -> None:
    found.instructions = {_HOOKS[kind]: count for kind, count in canister.last_instructions.items() if kind in _HOOKS}
    found.instruction_limit = canister.limits.instructions_install
    found.stable_pages, found.heap_bytes = (pages, canister.memory.size()), (heap, canister.heap_size)
    found.changed_bytes = canister.last_changes.get(Kind.POST_UPGRADE, 0)  # not those of timers that run at once
    found.changed_limit = canister.limits.dirty_install


def _compare(found: Rehearsal, canister: Canister, open_state: Callable[[], Canister], old: Interface | None) -> None:
    new = _interface(canister)
    found.candid = None if old is None or new is None else incompatible(new, old)
    after = _image_of(canister)
    if after is None:
        return
    with inspector.open_image(after) as image:
        found.damage, found.unchecked = inspector.check(image), unchecked(image)
    if found.stable_pages[0]:
        before = open_state()
        try:
            found.differences = inspector.diff(before.memory, after)
            found.damage_before = len(inspector.check(before.memory)) if found.damage else 0  # sound now: sound before
        finally:
            before.close()


def _code(canister: Canister) -> Any:
    return getattr(canister.program, "code", None)


def _signature(code: Any) -> Signature | None:
    """Return the stable variables of a Motoko program, as its compiler recorded them; None of another, or if the form is not known."""
    module = getattr(code, "module", None)
    section = module.section("motoko:stable-types") if module is not None else None
    try:
        return read_signature(section.decode("utf-8", "replace")) if section is not None else None
    except NotRead:
        return None


def _signature_of(source: Source) -> Signature | None:
    """Return that of a module that was perhaps not installed."""
    from .canister.wasm.program import read_code  # noqa: PLC0415 - wasmtime is for those who use it

    try:
        given = wasm_of(source)
        return None if given is None else _signature(read_code(*given[:1]))
    except (Rejected, SourceError):
        return None


def _keeps_variables_on_heap(canister: Canister) -> bool:
    """Return whether it is a Motoko program with enhanced orthogonal persistence."""
    from .canister.wasm.program import WasmCode  # noqa: PLC0415 - as above

    code = _code(canister)
    return isinstance(code, WasmCode) and code.module.persistent


def _parse_call(text: str) -> tuple[str, str, list[Any]]:
    found = _CALL.match(text)
    if found is None:
        raise SourceError(f'invalid call {text!r}; write it as in balance("ada")')
    return text, found["name"].strip('"'), parse_values(found["values"] or "()")


def call_text(  # noqa: PLR0913 - each by its name
    canister: Canister,
    method: str,
    values: Sequence[Any],
    *,
    query: bool | None = None,
    caller: str | None = None,
    cycles: int = 0,
) -> str:
    """Make a call with typed-in values; return the reply as Candid text. `query` None: as the method is. Raises as `call`."""
    interface = _interface(canister)
    known = None if interface is None else interface.methods.get(method)
    kind = canister.program.methods.get(method) if canister.program is not None else None
    if query is None:
        query = kind is not None and kind.kind is not Kind.UPDATE
    if canister.module_hash is None:
        plain = [value.value if isinstance(value, Some) else value for value in values]
        ask = canister.query if query else partial(canister.call, cycles=cycles)
        return _python_text(ask(method, *plain, caller=caller))
    if known is not None:
        arg = encode(fit_all(values, known.args), known.args)
    else:
        arg = b"DIDL\0\0" if not values else _only_bytes(method, values)
    data = canister.query_raw(method, arg, caller=caller) if query else canister.call_raw(method, arg, caller=caller, cycles=cycles)
    return f"0x{data.hex()}" if known is None else show_values(decode(data, known.results), known.results)


def _python_text(answer: Any) -> str:
    """Return the reply of a canister in Python as Candid text, with inferred types."""
    if answer is None:
        return "()"
    try:
        return show_values([answer], [infer(answer)])
    except Unsupported:
        return f"({answer!r})"


def _only_bytes(method: str, values: Sequence[Any]) -> bytes:
    if len(values) == 1 and isinstance(values[0], bytes):
        return values[0]
    raise SourceError(f'{method}: the canister\'s Candid interface is not known: pass --did, or the message as (blob "DIDL...")')


def _make_call(canister: Canister, text: str, method: str, values: list[Any]) -> Answer:
    canister.call_instructions = 0
    try:
        return Answer(text, call_text(canister, method, values), None, canister.call_instructions)
    except (Rejected, CandidError, Unsupported, TypeError, OverflowError) as error:
        return Answer(text, None, str(error), canister.call_instructions)


# ---- as text ----


def _share(used: int, limit: int) -> str:
    return f"{100 * used / limit:.2f} %"


def _place(one: inspector.PartDiff) -> str:
    return "stable memory" if one.memory is None else f"memory {one.memory}"


def _is_other(one: inspector.PartDiff) -> bool:
    """Return whether a structure is gone or replaced by another kind."""
    return one.kinds[0] is not None and one.kinds[0] != one.kinds[1]


def _counts(one: inspector.PartDiff) -> dict[str, int]:
    found = {"added": 0, "removed": 0, "changed": 0}
    for change in one.changes:
        found[change.what] += 1
    return found


def _what_changed(one: inspector.PartDiff) -> str:
    counts = [f"{count} {what}" for what, count in _counts(one).items() if count]
    before, after = one.sizes
    if not before:
        return ", ".join([f"new, {after:,} bytes", *counts])
    if not counts and not one.ranges:
        return f"{before:,} -> {after:,} bytes"
    return ", ".join(counts) or f"{len(one.ranges)} ranges of bytes changed"


def _lines(found: Rehearsal) -> Iterable[str]:
    yield f"rehearsal on {found.snapshot}: " + ("the upgrade succeeds" if found.failure is None else "THE UPGRADE FAILS")
    if found.failure is not None:
        yield f"  {found.failure}"
    used = sum(found.instructions.values())
    steps = ", ".join(f"{name} {count:,}" for name, count in found.instructions.items()) or "no hook ran"
    yield f"  instructions    {used:,} of {found.instruction_limit:,} ({_share(used, found.instruction_limit)}): {steps}"
    pages, heap = found.stable_pages, found.heap_bytes
    yield f"  stable memory   {pages[0]:,} -> {pages[1]:,} pages, {found.changed_bytes:,} bytes changed of {found.changed_limit:,}"
    yield f"  heap            {heap[0]:,} -> {heap[1]:,} bytes"
    if found.failure is None:
        yield from _result_lines(found)
    for line in found.warnings:
        yield f"  warning: {line}"


def _result_lines(found: Rehearsal) -> Iterable[str]:
    changed = [one for one in found.differences if not one.same]
    for one in changed:
        yield f"  {_place(one):15} {one.kinds[1] or one.kinds[0]}: {_what_changed(one)}"
    if found.differences and not changed:
        yield "  structures      nothing changed"
    broken = f"{len(found.damage)} BROKEN RULES: {found.damage[0]}" if found.damage else ""
    yield f"  check           {broken or soundness(found.unchecked)}"
    if found.candid is not None:
        yield "  Candid          " + ("callers are not affected" if not found.candid else f"{len(found.candid)} methods are not compatible")
    for answer in found.calls:
        said = answer.answer if answer.error is None else f"FAILED: {answer.error}"
        yield f"  {answer.call} -> {said} ({answer.instructions:,} instructions)"
