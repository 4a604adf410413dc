# SPDX-License-Identifier: Apache-2.0
"""The Python heap of a program: what it held, so that a trapped message leaves it as it was.

The platform puts the whole Wasm memory back. Here every object that is reachable from the program's modules, timers and
suspended calls is visited before a message, and what it holds is noted; after a trap the same objects get the
same content again, so identities stay.

Restored: module globals; dict, list, set, bytearray, deque, OrderedDict and their subclasses; attributes and slots of
objects whose class is the program's; attributes of its classes and functions; closures; the state of `random.Random`; numpy
arrays of numbers.
Not restored: what extension types and the standard library keep inside (an lru_cache, an iterator that has moved on, an open
file), the state of shared modules, and threads. `heap="reimport"` runs the source anew after a trap instead.
"""

from __future__ import annotations

import builtins
import functools
import random
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np

from ..memory import NativeMemory
from ..structure import Structure

Restore = Callable[[], None]

_ATOMS: Final = (int, float, complex, str, bytes, bool, type(None), type(...), range, slice)
_CLASS_SKIPPED: Final = frozenset({"__dict__", "__weakref__", "__doc__", "__abstractmethods__", "_abc_impl"})


class HeapImage:
    """What a program's objects held at one moment. Taking it costs O(objects of the program), as does restoring it."""

    def __init__(self, roots: Iterable[object], owns: Callable[[str | None], bool]) -> None:
        self._owns = owns
        self._restores: list[Restore] = []
        self._kept: list[object] = []
        self._seen: set[int] = {id(vars(builtins)), id(sys.modules)}
        self._stack: list[object] = list(roots)
        self.size = 0
        """Bytes of all objects that were visited, as `sys.getsizeof` tells; of numbers nothing."""
        while self._stack:
            self._visit(self._stack.pop())

    def restore(self) -> None:
        """Puts the content back. Can be done any number of times."""
        for restore in self._restores:
            restore()

    def _visit(self, item: Any) -> None:
        if type(item) in _ATOMS:
            self.size += sys.getsizeof(item) if type(item) in (str, bytes) else 0
            return
        if id(item) in self._seen:
            return
        self._seen.add(id(item))
        self._kept.append(item)  # so that no other object gets its id
        self.size += sys.getsizeof(item, 0)
        handler = _HANDLERS.get(type(item))
        if handler is not None:
            handler(self, item)
        elif isinstance(item, type):
            self._visit_class(item)
        elif not isinstance(item, (Structure, NativeMemory)):
            self._visit_instance(item)

    # ---- containers ----

    def _visit_dict(self, item: dict[Any, Any]) -> None:
        saved = dict(item)
        self._stack += saved.keys()
        self._stack += saved.values()
        self._restores.append(functools.partial(_refill_dict, item, saved))

    def _visit_ordered(self, item: OrderedDict[Any, Any]) -> None:
        saved = list(OrderedDict.items(item))
        self._stack += [part for pair in saved for part in pair]
        self._restores.append(functools.partial(_refill_ordered, item, saved))

    def _visit_list(self, item: list[Any]) -> None:
        saved = list(item)
        self._stack += saved
        self._restores.append(functools.partial(list.__setitem__, item, slice(None), saved))

    def _visit_set(self, item: set[Any]) -> None:
        saved = set(item)
        self._stack += saved
        self._restores.append(functools.partial(_refill_set, item, saved))

    def _visit_deque(self, item: deque[Any]) -> None:
        saved = list(item)
        self._stack += saved
        self._restores.append(functools.partial(_refill_deque, item, saved))

    def _visit_bytearray(self, item: bytearray) -> None:
        saved = bytes(item)
        self._restores.append(functools.partial(bytearray.__setitem__, item, slice(None), saved))

    def _visit_items(self, item: Iterable[Any]) -> None:
        self._stack += item

    def _visit_mapping(self, item: Mapping[Any, Any]) -> None:
        self._stack += item.values()

    def _visit_array(self, item: np.ndarray[Any, Any]) -> None:
        if item.dtype.hasobject or not item.flags.writeable:
            return
        saved = item.copy()
        self._restores.append(functools.partial(np.copyto, item, saved))

    def _visit_random(self, item: random.Random) -> None:
        self._restores.append(functools.partial(item.setstate, item.getstate()))

    # ---- code ----

    def _visit_module(self, item: types.ModuleType) -> None:
        if self._owns(item.__name__):
            self._stack.append(vars(item))

    def _visit_function(self, item: types.FunctionType) -> None:
        if not self._owns(item.__globals__.get("__name__")):
            return
        self._stack += [vars(item), item.__defaults__, item.__kwdefaults__]
        self._stack += item.__closure__ or ()

    def _visit_method(self, item: types.MethodType) -> None:
        self._stack += [item.__self__, item.__func__]

    def _visit_partial(self, item: functools.partial[Any]) -> None:
        self._stack += [item.func, item.args, item.keywords]

    def _visit_property(self, item: property) -> None:
        self._stack += [item.fget, item.fset, item.fdel]

    def _visit_wrapped(self, item: staticmethod[..., Any]) -> None:
        self._stack.append(item.__func__)

    def _visit_cell(self, item: types.CellType) -> None:
        try:
            content = item.cell_contents
        except ValueError:  # not filled yet
            self._restores.append(functools.partial(_empty_cell, item))
            return
        self._stack.append(content)
        self._restores.append(functools.partial(setattr, item, "cell_contents", content))

    def _visit_generator(self, item: types.GeneratorType[Any, Any, Any]) -> None:
        if item.gi_frame is not None:
            self._stack += [*item.gi_frame.f_locals.values(), item.gi_yieldfrom]

    def _visit_coroutine(self, item: types.CoroutineType[Any, Any, Any]) -> None:
        if item.cr_frame is not None:
            self._stack += [*item.cr_frame.f_locals.values(), item.cr_await]

    def _visit_class(self, item: type) -> None:
        if not self._owns(item.__module__):
            return
        saved = {name: value for name, value in vars(item).items() if name not in _CLASS_SKIPPED}
        self._stack += saved.values()
        self._restores.append(functools.partial(_refill_class, item, saved))

    # ---- instances ----

    def _visit_instance(self, item: Any) -> None:
        """An object of a class that has no handler of its own: its content as a container, and its attributes."""
        cls = type(item)
        for base in cls.__mro__[1:-1]:
            handler = _HANDLERS.get(base)
            if handler is not None:
                handler(self, item)
                break
        if not any(self._owns(base.__module__) for base in cls.__mro__) and cls is not types.SimpleNamespace:
            return
        attributes = getattr(item, "__dict__", None)
        if type(attributes) is dict:
            self._stack.append(attributes)
        for base in cls.__mro__:
            self._visit_slots(item, base)

    def _visit_slots(self, item: Any, base: type) -> None:
        if "__slots__" not in vars(base):
            return
        for member in vars(base).values():
            if isinstance(member, types.MemberDescriptorType):
                value = _slot(item, member)
                self._stack.append(value)
                self._restores.append(functools.partial(_restore_slot, item, member, value))


_MISSING: Final = object()


def _slot(item: object, member: types.MemberDescriptorType) -> Any:
    try:
        return member.__get__(item)
    except AttributeError:
        return _MISSING


def _restore_slot(item: Any, member: types.MemberDescriptorType, value: Any) -> None:
    if value is not _MISSING:
        member.__set__(item, value)
    elif _slot(item, member) is not _MISSING:
        member.__delete__(item)


def _refill_dict(item: dict[Any, Any], saved: dict[Any, Any]) -> None:
    dict.clear(item)
    dict.update(item, saved)


def _refill_ordered(item: OrderedDict[Any, Any], saved: list[tuple[Any, Any]]) -> None:
    OrderedDict.clear(item)
    for key, value in saved:
        OrderedDict.__setitem__(item, key, value)


def _refill_set(item: set[Any], saved: set[Any]) -> None:
    set.clear(item)
    set.update(item, saved)


def _refill_deque(item: deque[Any], saved: list[Any]) -> None:
    deque.clear(item)
    deque.extend(item, saved)


def _empty_cell(cell: types.CellType) -> None:
    try:
        del cell.cell_contents
    except ValueError:
        return


def _refill_class(item: type, saved: dict[str, Any]) -> None:
    now = {name: value for name, value in vars(item).items() if name not in _CLASS_SKIPPED}
    for name in now.keys() - saved.keys():
        type.__delattr__(item, name)
    for name, value in saved.items():
        if now.get(name, _MISSING) is not value:
            type.__setattr__(item, name, value)


_HANDLERS: Final[dict[type, Callable[[HeapImage, Any], None]]] = {
    dict: HeapImage._visit_dict,  # noqa: SLF001 - a table of this class
    OrderedDict: HeapImage._visit_ordered,  # noqa: SLF001
    list: HeapImage._visit_list,  # noqa: SLF001
    set: HeapImage._visit_set,  # noqa: SLF001
    deque: HeapImage._visit_deque,  # noqa: SLF001
    bytearray: HeapImage._visit_bytearray,  # noqa: SLF001
    tuple: HeapImage._visit_items,  # noqa: SLF001
    frozenset: HeapImage._visit_items,  # noqa: SLF001
    types.MappingProxyType: HeapImage._visit_mapping,  # noqa: SLF001
    np.ndarray: HeapImage._visit_array,  # noqa: SLF001
    random.Random: HeapImage._visit_random,  # noqa: SLF001
    types.ModuleType: HeapImage._visit_module,  # noqa: SLF001
    types.FunctionType: HeapImage._visit_function,  # noqa: SLF001
    types.MethodType: HeapImage._visit_method,  # noqa: SLF001
    functools.partial: HeapImage._visit_partial,  # noqa: SLF001
    property: HeapImage._visit_property,  # noqa: SLF001
    staticmethod: HeapImage._visit_wrapped,  # noqa: SLF001
    classmethod: HeapImage._visit_wrapped,  # noqa: SLF001
    types.CellType: HeapImage._visit_cell,  # noqa: SLF001
    types.GeneratorType: HeapImage._visit_generator,  # noqa: SLF001
    types.CoroutineType: HeapImage._visit_coroutine,  # noqa: SLF001
}
