# SPDX-License-Identifier: Apache-2.0
"""The machine: wasmtime with the platform's settings, compiled modules, instances. The only module that knows wasmtime.

Nothing is linked at build time: the core gets the functions that it needs by address. The shared C structures are checked
once against the sizes in wasmtime's own bindings.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from importlib.metadata import version
from typing import Any, Final

from ... import _native as native
from ...errors import Unsupported, remade
from . import cache
from .binary import Module, invalid
from .heap import Heap
from .rewrite import VERSION, rewrite

try:
    import wasmtime
    from wasmtime import _bindings
except ImportError as error:
    raise Unsupported("Wasm canisters need wasmtime: pip install 'stable-structures[wasm]' (or wasmtime>=50,<51)") from error

bindings: Final[Any] = _bindings
"""The C interface, for which the package has no types."""

_KNOWN: Final = "50"
_SIZES: Final = {
    "wasmtime_val_raw_t": 16,
    "wasmtime_val_t": 32,
    "wasmtime_global_t": 24,
    "wasmtime_func_t": 16,
    "wasmtime_linear_memory_t": 32,
    "wasmtime_memory_creator_t": 24,
    "wasm_valtype_vec_t": 16,
}
_FUNCTIONS: Final = (
    "wasmtime_func_call_unchecked",
    "wasmtime_trap_new",
    "wasmtime_error_new",
    "wasmtime_linker_define_func_unchecked",
    "wasm_functype_new",
    "wasm_functype_delete",
    "wasm_valtype_new",
    "wasm_valtype_vec_new",
    "wasmtime_global_get",
    "wasmtime_global_set",
)
_GUARD: Final = 32 << 20
_GIB: Final = 1 << 30
_RESERVED: Final = {False: 4 * _GIB, True: 8 * _GIB}
_STACK: Final = 5 << 20
_MOST_HEAP: Final = {False: 4 * _GIB, True: 6 * _GIB}
_MACHINE_TRAPS: Final = {
    0: "stack overflow",
    1: "heap out of bounds",
    3: "table out of bounds",
    7: "integer division by 0",
    9: "unreachable",
}
_UNREACHABLE: Final = 9
_OTHER_TRAPS: Final = {
    4: "function not found in table",
    5: "function signature mismatch",
    6: "integer overflow",
    8: "conversion to integer failed",
}


class MachineTrap(Exception):
    """A trap; `code` is 502, 503, 504 or 522."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `copy` and `pickle`."""
        return remade(super().__reduce__())


@functools.cache
def _version() -> str:
    """Return the version of the package, cached: reading it takes a millisecond."""
    return version("wasmtime")


def _check_version() -> None:
    found = _version()
    fits = found.split(".")[0] == _KNOWN and all(ctypes.sizeof(getattr(bindings, name)) == size for name, size in _SIZES.items())
    if not fits or sys.byteorder != "little" or sys.maxsize < 2**32:
        raise Unsupported(
            f"wasmtime {found} is not supported by this version of stable-structures: "
            "pip install 'wasmtime>=50,<51', on a 64-bit little-endian machine"
        )


def _address(name: str) -> int:
    return int(ctypes.cast(getattr(bindings.dll, name), ctypes.c_void_p).value or 0)


@functools.cache
def _creator() -> Any:
    """Return the host memory creator; kept for the life of the process."""
    _check_version()
    native.check(native.call.ss_ic0_use_engine(native.addresses([_address(name) for name in _FUNCTIONS]), len(_FUNCTIONS)), "wasmtime")
    creator = bindings.wasmtime_memory_creator_t()
    ctypes.memset(ctypes.byref(creator), 0, ctypes.sizeof(creator))
    place = ctypes.c_void_p.from_buffer(creator, bindings.wasmtime_memory_creator_t.new_memory.offset)
    place.value = native.call.ss_ic0_new_memory()
    return creator


def _config(*, is64: bool) -> wasmtime.Config:
    config = wasmtime.Config()
    config.wasm_memory64 = True
    config.wasm_multi_memory = False
    config.wasm_threads = False
    config.wasm_relaxed_simd = False
    config.wasm_exceptions = False
    config.wasm_gc = False
    config.wasm_function_references = False  # nor would their calls be counted
    config.cranelift_nan_canonicalization = True
    pointer = config.ptr()
    bindings.wasmtime_config_async_stack_size_set(pointer, _STACK + (1 << 20))  # below the other one the engine ends the process
    config.max_wasm_stack = _STACK
    config.memory_init_cow = False  # with a memory creator it would end the process
    config.memory_may_move = False
    config.memory_reservation = _RESERVED[is64]
    config.memory_guard_size = _GUARD
    bindings.wasmtime_config_host_memory_creator_set(pointer, ctypes.byref(_creator()))
    return config


@functools.cache
def _engine(is64: bool) -> wasmtime.Engine:
    """Return the engine for 32-bit or 64-bit modules. O(1) after the first."""
    engine = wasmtime.Engine(_config(is64=is64))
    store = wasmtime.Store(engine)  # its first instance sets the signal handlers
    wasmtime.Instance(store, wasmtime.Module(engine, b"\0asm\x01\0\0\0"), [])
    native.call.ss_ic0_keep_signals()
    return engine


def new_heap(*, is64: bool) -> Heap:
    """Return an empty heap for a module of this width."""
    return Heap.new(_MOST_HEAP[is64], _RESERVED[is64] + 2 * _GUARD)


def heap_for(heap: Heap, *, is64: bool) -> Heap:
    """Return the same heap, or, for a module of another width, its content in a new heap. O(size) then."""
    if heap.reserved == _RESERVED[is64] + 2 * _GUARD:
        return heap
    made = new_heap(is64=is64)
    made.grow(heap.size)
    for offset, part in heap.parts():
        made.write(offset, part)
    made.commit()
    return made


# ---- compiled modules ----


class Compiled:
    """A module ready to be instantiated: one per content and process."""

    def __init__(self, module: Module) -> None:
        self.is64 = module.is64
        self.engine = _engine(module.is64)
        self.compiled = _compiled(module, self.engine)
        self.exports = {export.name for export in self.compiled.exports}
        self.writes_tables = "ss writes tables" in self.exports
        self.globals = [f"ss global {one.number}" for one in module.mutable]
        self._linker = wasmtime.Linker(self.engine)
        for name in {one.name for one in module.imports}:
            self._define(name, is64=module.is64)
        self.prepared = ctypes.POINTER(bindings.wasmtime_instance_pre_t)()
        error = bindings.wasmtime_linker_instantiate_pre(self._linker.ptr(), self.compiled.ptr(), ctypes.byref(self.prepared))
        if error:
            raise invalid(_text(wasmtime.WasmtimeError._from_ptr(error)))

    def _define(self, name: str, *, is64: bool) -> None:
        index = _numbers()[name]
        if is64 and native.call.ss_ic0_only_32(index):
            raise invalid(f"it imports ic0.{name}, which 64-bit canisters do not have")
        linker = ctypes.cast(self._linker.ptr(), ctypes.c_void_p).value
        native.check(native.call.ss_ic0_define(linker, index, is64), f"ic0.{name}")

    def __del__(self) -> None:
        if getattr(self, "prepared", None):
            bindings.wasmtime_instance_pre_delete(self.prepared)


@functools.cache
def _numbers() -> dict[str, int]:
    return {native.text(native.call.ss_ic0_name(index)): index for index in range(native.call.ss_ic0_count())}


def _text(error: Exception) -> str:
    """Return the text of an engine's error, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:4])


def _deserialized(engine: wasmtime.Engine, stored: memoryview) -> wasmtime.Module:
    """As `Module.deserialize`, which copies the bytes first. O(size)."""
    made = ctypes.POINTER(bindings.wasmtime_module_t)()
    data = (ctypes.c_uint8 * len(stored)).from_buffer(stored)
    error = bindings.wasmtime_module_deserialize(engine.ptr(), data, len(stored), ctypes.byref(made))
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)
    return wasmtime.Module._from_ptr(made)


def _compiled(module: Module, engine: wasmtime.Engine) -> wasmtime.Module:
    key = cache.key(module.data, f"wasmtime {_version()}, rewrite {VERSION}, 64-bit {module.is64}")
    stored = cache.load(key)
    if stored is not None:
        try:
            return _deserialized(engine, stored)
        except wasmtime.WasmtimeError:
            cache.forget(key)
    try:
        wasmtime.Module.validate(engine, module.data)
        made = wasmtime.Module(engine, rewrite(module))
    except wasmtime.WasmtimeError as error:
        raise invalid(_text(error)) from None
    cache.store(key, bytes(made.serialize()))
    return made


_known: Final[dict[bytes, Compiled]] = {}
_MOST_KNOWN: Final = 64
_lock: Final = threading.Lock()


def compile_module(module: Module) -> Compiled:
    """Return the compiled module. O(size) the first time, then O(1); from the user's cache folder if it is cached.

    Raises `Rejected` (IC0505) for a module that is not valid.
    """
    with _lock:
        return _known_or_new(module)


def _known_or_new(module: Module) -> Compiled:
    found = _known.get(module.hash)
    if found is None:
        found = Compiled(module)
        while len(_known) >= _MOST_KNOWN:
            del _known[next(iter(_known))]
        _known[module.hash] = found
    return found


# ---- instances ----


class Instance:
    """An instance on a heap. It is created again on the same heap if that became smaller, or if tables may have changed."""

    def __init__(self, compiled: Compiled, heap: Heap) -> None:
        self.compiled = compiled
        self.heap = heap
        self.handle: Any = None
        self._trap, self._error, self._result = native.out_addresses(1), native.out_addresses(1), native.out_numbers(1)
        self.make()

    def make(self) -> None:
        """Create it again. Its data segments are written to the heap, not committed; its globals and tables are fresh."""
        self._store = wasmtime.Store(self.compiled.engine)
        self._context = self._store._context()
        self._functions: dict[str, Any] = {}
        self._addresses: dict[str, int] = {}
        made, trap = bindings.wasmtime_instance_t(), ctypes.POINTER(bindings.wasm_trap_t)()
        native.call.ss_ic0_next_heap(self.heap.handle)
        error = bindings.wasmtime_instance_pre_instantiate(self.compiled.prepared, self._context, ctypes.byref(made), ctypes.byref(trap))
        native.call.ss_ic0_next_heap(native.NULL)
        if error:
            raise invalid(_text(wasmtime.WasmtimeError._from_ptr(error)))
        if trap:
            raise invalid(_text(wasmtime.Trap._from_ptr(trap)))
        self._made = made
        self._table: Any = None
        counter = self._export("ss counter").of.global_
        names = self.compiled.globals
        globals_ = (bindings.wasmtime_global_t * max(1, len(names)))(*[self._export(name).of.global_ for name in names])
        context = ctypes.cast(self._context, ctypes.c_void_p).value
        places = native.at_address(ctypes.addressof(counter)), native.at_address(ctypes.addressof(globals_))
        if self.handle is None:
            found = native.call.ss_ic0_new_instance(context, *places, len(names))
            self.handle = native.owned(found, native.call.ss_ic0_free_instance)
        else:
            native.call.ss_ic0_rebind_instance(self.handle, context, *places)
        self._unseen = native.unseen()
        self._unseen[0] = (self.compiled, self._store, self.handle)

    def _export(self, name: str) -> Any:
        item, text = bindings.wasmtime_extern_t(), name.encode()
        buffer = ctypes.create_string_buffer(text, len(text))
        if not bindings.wasmtime_instance_export_get(self._context, ctypes.byref(self._made), buffer, len(text), ctypes.byref(item)):
            raise KeyError(name)
        return item

    def function(self, name: str) -> int:
        """Return the address of an exported function, to run it."""
        found = self._addresses.get(name)
        if found is None:
            self._functions[name] = function = self._export(name).of.func
            found = self._addresses[name] = ctypes.addressof(function)
        return found

    def table_function(self, index: int) -> int:
        """Return the address of a function of the table, until the next call. Raises `MachineTrap` if there is none."""
        value = bindings.wasmtime_val_t()
        if "ss table" not in self.compiled.exports:
            raise MachineTrap(502, "table out of bounds")
        if self._table is None:
            self._table = self._export("ss table").of.table
        if index >= 2**32 or not bindings.wasmtime_table_get(self._context, ctypes.byref(self._table), index, ctypes.byref(value)):
            raise MachineTrap(502, "table out of bounds")
        if value.of.funcref.store_id == 0:
            raise MachineTrap(502, "function not found in table")
        found = bindings.wasmtime_func_t.from_buffer_copy(value.of.funcref)
        if not self._is_callback(found):
            raise MachineTrap(502, "function signature mismatch")
        self._functions[""] = found
        return ctypes.addressof(found)

    def _is_callback(self, function: Any) -> bool:
        """Return whether it takes an address and returns nothing; its calls are not checked again."""
        kind = bindings.wasmtime_func_type(self._context, ctypes.byref(function))
        params = bindings.wasm_functype_params(kind).contents
        results = bindings.wasm_functype_results(kind).contents
        wanted = 1 if self.compiled.is64 else 0
        fits = params.size == 1 and results.size == 0 and bindings.wasm_valtype_kind(params.data[0]) == wanted
        bindings.wasm_functype_delete(kind)
        return bool(fits)

    # ---- globals ----

    def save_globals(self) -> None:
        """Save the values of the mutable globals."""
        native.call.ss_ic0_save_globals(self.handle)

    def restore_globals(self) -> None:
        """Restore the saved values."""
        native.check(native.call.ss_ic0_restore_globals(self.handle), "globals of a canister")

    def read_globals(self, names: list[str]) -> list[tuple[int, int | float]]:
        """Return kind (0 i32, 1 i64, 2 f32, 3 f64, 4 v128) and value of globals."""
        out = []
        for name in names:
            value = bindings.wasmtime_val_t()
            bindings.wasmtime_global_get(self._context, ctypes.byref(self._export(name).of.global_), ctypes.byref(value))
            out.append((int(value.kind), _value(value)))
        return out

    def write_globals(self, names: list[str], values: list[tuple[int, int | float]]) -> None:
        """Set globals."""
        for name, (kind, number) in zip(names, values, strict=True):
            value = bindings.wasmtime_val_t()
            value.kind = kind
            if kind == _V128:
                value.of.v128 = (ctypes.c_ubyte * 16)(*int(number).to_bytes(16, "little"))
            else:
                setattr(value.of, ("i32", "i64", "f32", "f64")[kind], number)
            error = bindings.wasmtime_global_set(self._context, ctypes.byref(self._export(name).of.global_), ctypes.byref(value))
            if error:
                raise ValueError(f"the global {name.removeprefix('ss ')} of the module has another type than its value")

    # ---- running ----

    def run(self, function: int, message: Any, environment: int | None = None) -> int:
        """Run the function at an address with a message of the core. Raises `MachineTrap`."""
        trap, error = self._trap, self._error
        if not _run(message, self.handle, function, environment is not None, environment or 0, trap, error, self._result):
            return int(self._result[0])
        raise self._trapped(message, int(trap[0]), int(error[0]))

    def _trapped(self, message: Any, trap: int, error: int) -> BaseException:
        kind, other = 255, None
        if trap:
            found = wasmtime.Trap._from_ptr(ctypes.cast(trap, ctypes.POINTER(bindings.wasm_trap_t)))
            number = ctypes.c_uint8(255)
            bindings.wasmtime_trap_code(found.ptr(), ctypes.byref(number))
            kind = number.value
        if error:
            other = wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, ctypes.POINTER(bindings.wasmtime_error_t)))
        if message.trap_code:
            size = native.out_numbers(1)
            text = native.call.ss_ic0_output(message, native.call.SS_IC0_TRAP, size)
            return MachineTrap(message.trap_code, native.copied(text, size[0]).decode("utf-8", "replace"))
        if other is not None:
            return other
        if kind == _UNREACHABLE and message.instructions > message.instruction_limit:
            limit = message.instruction_limit
            return MachineTrap(522, f"Canister exceeded the limit of {limit} instructions for single message execution.")
        return MachineTrap(502, _MACHINE_TRAPS.get(kind) or _OTHER_TRAPS.get(kind, "unknown"))


_run: Final = native.call.ss_ic0_run
_V128: Final = 4


def _value(value: Any) -> int | float:
    if value.kind == _V128:
        return int.from_bytes(bytes(value.of.v128), "little")
    found: int | float = getattr(value.of, ("i32", "i64", "f32", "f64")[value.kind])
    return found
