# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLR2004 - codes and sizes of the Wasm format
"""A canister's module as bytes: what its sections say (encodings/wasm.py), checked against the platform's rules for modules."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ... import _native as native
from ...encodings.wasm import HEADER, MAGIC, Reader, TooLarge, sections, unpacked
from ...errors import SourceError
from ..errors import ErrorCode, Rejected

_MOST_FUNCTIONS: Final = 50_000
_MOST_GLOBALS: Final = 1_000
_MOST_METHODS: Final = 1_000
_MOST_METHOD_NAMES: Final = 20_000
_MOST_CUSTOM: Final = 16
_MOST_CUSTOM_BYTES: Final = 1 << 20

FUNCTION, TABLE, MEMORY, GLOBAL = range(4)
I32, I64, F32, F64, V128 = 0x7F, 0x7E, 0x7D, 0x7C, 0x7B

_HOOKS: Final = {
    f"canister_{name}"
    for name in ("init", "inspect_message", "heartbeat", "pre_upgrade", "post_upgrade", "global_timer", "on_low_wasm_memory")
}
METHOD_KINDS: Final = ("update", "query", "composite_query")
PERSISTENT: Final = "icp:private enhanced-orthogonal-persistence"


def invalid(rule: str) -> Rejected:
    """Return the rejection of a module that breaks a rule."""
    return Rejected(ErrorCode.INVALID_WASM, f"Canister's Wasm module is not valid: {rule}")


class Import(NamedTuple):
    """An import of the module."""

    module: str
    name: str
    kind: int


class Export(NamedTuple):
    """An export of the module."""

    kind: int
    number: int


class Global(NamedTuple):
    """A mutable global that the module defines: its number and its type."""

    number: int
    type: int


@dataclass
class Module:
    """The facts of a module. `data` is unpacked; `hash` is the SHA-256 of the installed file, as the platform shows it."""

    data: bytes
    hash: bytes
    imports: list[Import] = field(default_factory=list)
    exports: dict[str, Export] = field(default_factory=dict)
    custom: dict[str, bytes] = field(default_factory=dict)
    types: list[bytes] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    """The type of each function, imported ones first."""
    mutable: list[Global] = field(default_factory=list)
    exported_globals: list[Global] = field(default_factory=list)
    imported_functions: int = 0
    imported_globals: int = 0
    globals: int = 0
    has_memory: bool = False
    is64: bool = False
    minimum: int = 0
    """Initial pages of the heap."""
    has_table: bool = False
    start: int | None = None

    @property
    def persistent(self) -> bool:
        """Return whether it keeps its heap across upgrades (Motoko's enhanced orthogonal persistence)."""
        return PERSISTENT in self.custom

    def section(self, name: str) -> bytes | None:
        """Return a public or private custom section of the platform."""
        found = self.custom.get(f"icp:public {name}")
        return self.custom.get(f"icp:private {name}") if found is None else found

    def methods(self) -> dict[str, str]:
        """Return name and kind of each method."""
        found: dict[str, str] = {}
        for export in self.exports:
            prefix, space, name = export.partition(" ")
            kind = prefix.removeprefix("canister_")
            if space and prefix.startswith("canister_") and kind in METHOD_KINDS:
                if name in found:
                    raise invalid(f"the method {name!r} is exported as {found[name]} and as {kind}")
                found[name] = kind
        return found


def read_module(given: bytes) -> Module:
    """Read a module, which may be gzipped. O(size).

    Raises `SourceError` for bytes that are not a module, and `Rejected` (IC0505) for one that breaks a rule of the platform.
    """
    data = _unpacked(given)
    if not data.startswith(MAGIC):
        raise SourceError(f"these {len(given)} bytes are not a Wasm module; pass the .wasm or .wasm.gz that the build wrote")
    if not data.startswith(HEADER):
        raise invalid("its version is not 1: a component, or cut off; pass a core module")
    module = Module(data, hashlib.sha256(given).digest())
    try:
        for kind, content in sections(data):
            _READERS.get(kind, _skip)(module, Reader(content))
    except (IndexError, UnicodeDecodeError) as error:
        raise invalid(f"it is cut off or damaged ({error})") from None
    _check(module)
    return module


def _unpacked(given: bytes) -> bytes:
    try:
        return unpacked(given)
    except TooLarge as error:
        raise invalid(str(error)) from None


def _skip(module: Module, reader: Reader) -> None:
    """Skip a section that the harness ignores."""


def _read_custom(module: Module, reader: Reader) -> None:
    name = reader.text()
    module.custom[name] = bytes(reader.data[reader.at :])


def _read_types(module: Module, reader: Reader) -> None:
    for _ in range(reader.number()):
        start = reader.at
        if reader.byte() != 0x60:
            raise invalid("types other than functions: the platform has no garbage collection")
        for _ in range(2):
            for _ in range(reader.number()):
                reader.number()
        module.types.append(bytes(reader.data[start : reader.at]))


def _read_imports(module: Module, reader: Reader) -> None:
    for _ in range(reader.number()):
        found = Import(reader.text(), reader.text(), reader.byte())
        module.imports.append(found)
        if found.kind == FUNCTION:
            module.functions.append(reader.number())
            module.imported_functions += 1
        elif found.kind == GLOBAL:
            reader.take(2)
            module.imported_globals += 1
        elif found.kind == TABLE:
            reader.byte()
            reader.limits()
        else:
            reader.limits()


def _read_functions(module: Module, reader: Reader) -> None:
    count = reader.number()
    if count > _MOST_FUNCTIONS:
        raise invalid(f"it defines {count} functions, the platform allows {_MOST_FUNCTIONS}")
    module.functions += reader.numbers(count)


def _read_tables(module: Module, reader: Reader) -> None:
    count = reader.number()
    module.has_table = count > 0


def _read_memory(module: Module, reader: Reader) -> None:
    count = reader.number()
    if count > 1:
        raise invalid("it has more than one memory")
    if count:
        flags, module.minimum = reader.limits()
        module.has_memory, module.is64 = True, bool(flags & 4)


def _read_globals(module: Module, reader: Reader) -> None:
    module.globals = reader.number()
    if module.globals > _MOST_GLOBALS:
        raise invalid(f"it defines {module.globals} globals, the platform allows {_MOST_GLOBALS}")
    for number in range(module.globals):
        kind, mutable = reader.byte(), reader.byte()
        if mutable:
            module.mutable.append(Global(module.imported_globals + number, kind))
        reader.constant()


def _read_exports(module: Module, reader: Reader) -> None:
    for _ in range(reader.number()):
        name = reader.text()
        if name in module.exports:
            raise invalid(f"it exports {name!r} twice")
        module.exports[name] = Export(reader.byte(), reader.number())


def _read_start(module: Module, reader: Reader) -> None:
    module.start = reader.number()


_READERS: Final = {
    0: _read_custom,
    1: _read_types,
    2: _read_imports,
    3: _read_functions,
    4: _read_tables,
    5: _read_memory,
    6: _read_globals,
    7: _read_exports,
    8: _read_start,
}


# ---- the platform's rules ----


def known_functions() -> dict[str, int]:
    """Return the functions of ic0 and their numbers."""
    return {native.text(native.call.ss_ic0_name(index)): index for index in range(native.call.ss_ic0_count())}


def _check(module: Module) -> None:
    _check_imports(module)
    _check_exports(module)
    own = {name: content for name, content in module.custom.items() if name.startswith("icp:")}
    if len(own) > _MOST_CUSTOM:
        raise invalid(f"it has {len(own)} sections icp:*, the platform allows {_MOST_CUSTOM}")
    if sum(map(len, own.values())) > _MOST_CUSTOM_BYTES:
        raise invalid(f"its sections icp:* have more than {_MOST_CUSTOM_BYTES} bytes")
    mutable = {one.number: one for one in module.mutable}
    exported = dict.fromkeys(export.number for export in module.exports.values() if export.kind == GLOBAL)
    module.exported_globals = [mutable[index] for index in exported if index in mutable]


def _check_imports(module: Module) -> None:
    known = known_functions()
    for one in module.imports:
        if one.kind == MEMORY:
            raise invalid(f"it imports a memory ({one.module}.{one.name})")
        if one.module.startswith("wasi_"):
            raise invalid(f"it imports {one.module}.{one.name}, which the platform does not have; run wasi2ic on it first")
        if one.kind != FUNCTION or one.module != "ic0" or one.name not in known:
            raise invalid(f"it imports {one.module}.{one.name}, which the platform does not have")


def _check_exports(module: Module) -> None:
    methods = module.methods()
    if len(methods) > _MOST_METHODS:
        raise invalid(f"it has {len(methods)} methods, the platform allows {_MOST_METHODS}")
    if sum(len(name.encode()) for name in methods) > _MOST_METHOD_NAMES:
        raise invalid(f"the names of its methods have more than {_MOST_METHOD_NAMES} bytes")
    for name, export in module.exports.items():
        if not name.startswith("canister_"):
            continue
        prefix = name.partition(" ")[0].removeprefix("canister_")
        if name not in _HOOKS and not (" " in name and prefix in METHOD_KINDS):
            raise invalid(f"it exports {name!r}, which is not an entry point of the platform")
        if export.kind != FUNCTION or type_of(module, export.number) != b"\x60\0\0":
            raise invalid(f"its export {name!r} must be a function without arguments and results")


def type_of(module: Module, function: int) -> bytes:
    """Return the type of a function, encoded. Raises `Rejected` (IC0505) for a number that no function has."""
    try:
        return module.types[module.functions[function]]
    except IndexError:
        raise invalid(f"it has no function {function}") from None
