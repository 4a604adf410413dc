# SPDX-License-Identifier: Apache-2.0
"""Save the Python heap of a program before a message, and restore it after a trap.

The platform restores the whole Wasm memory. Here every object that is reachable from the program's modules, timers and
suspended calls is visited before a message and its content saved; after a trap the same objects get the
same content again, so identities stay. Objects that did not change are only compared.

Restored: module globals; dict, list, set, bytearray, deque, OrderedDict and their subclasses; attributes, slots and class of
objects whose class is the program's; attributes of its classes and functions; closures; the state of `random.Random`; numpy
arrays of numbers.
Not restored: the inner state of extension types and of the standard library (an lru_cache, an iterator that has moved on, an open
file), the state of shared modules, and threads. `heap="reimport"` runs the source again after a trap instead.

The heap is walked in waves: all objects at one distance from the roots, those of one type together. Each step of a wave is one
call into C for thousands of objects (`map`, `gc.get_referents`); a Python frame for each object would cost twenty times as much.
The walked objects must not change meanwhile, so nothing here runs the program's code: containers are read without the methods that
their subclasses override.
"""

from __future__ import annotations

import builtins
import functools
import gc
import random
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, repeat
from operator import eq, is_
from typing import Any, Final

import numpy as np

from ..errors import Unsupported
from ..memory.memory import NativeMemory
from ..storable.lifetimes import MADE_FOR
from ..structures.structure import Structure
from .modules import one_at_a_time

Restore = Callable[[], None]

_LEAVES: Final = frozenset({int, float, complex, str, bytes, bool, type(None), type(...), range, slice})
_CLASS_SKIPPED: Final = frozenset({"__dict__", "__weakref__", "__doc__", "__abstractmethods__", "_abc_impl", MADE_FOR})
_CHUNK: Final = 512
"""How many objects to compare at once; if one of them changed, each is compared."""
_FEW: Final = 4
"""If a wave has at most this many classes, it is faster to scan it once for each class."""
_MOST_PASSES: Final = 4
"""An object that the message created is destroyed when nothing holds it any more; its `__del__` may then change restored objects."""
_MISSING: Final = object()


def _without_collection(body: Callable[[], None]) -> None:
    """Run something without garbage collection, which would scan all objects again and again: there are many new copies."""
    one_at_a_time(lambda: _with_collection_off(body))  # if two threads both turned it off and on, it could stay off


def _with_collection_off(body: Callable[[], None]) -> None:
    was = gc.isenabled()
    try:
        gc.disable()
        body()
    finally:
        if was:
            gc.enable()


# ---- content that is saved for many objects at once ----


class _Saved:
    """Objects of one type, each with its saved content."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.saved: list[Any] = []

    def add(self, items: list[Any]) -> list[Any]:
        """Save the content of these objects; return it."""
        saved = self.save(items)
        self.items += items
        self.saved += saved
        return saved

    def restore(self) -> bool:
        """Restore what changed; return whether anything had."""
        changed = False
        for start in range(0, len(self.items), _CHUNK):
            items, saved = self.items[start : start + _CHUNK], self.saved[start : start + _CHUNK]
            if self.same(items, saved):
                continue
            changed = True
            for item, one in zip(items, saved, strict=True):
                if not self.same([item], [one]):
                    self.put_back(item, one)
        return changed

    def save(self, items: list[Any]) -> list[Any]:
        """Return the content of each object."""
        raise NotImplementedError

    def same(self, items: list[Any], saved: list[Any]) -> bool:
        """Return whether each still holds the same objects as saved, in the same order."""
        raise NotImplementedError

    def put_back(self, item: Any, saved: Any) -> None:
        """Restore the saved content of one object."""
        raise NotImplementedError


def _all_identical(one: Iterable[Any], other: Iterable[Any]) -> bool:
    return all(map(is_, one, other))


def _same_items(items: list[Any], saved: list[Any], base: Any) -> bool:
    """Return whether each container, read as a `base`, has its saved length and items (of a dict: keys)."""
    return all(map(eq, map(base.__len__, items), map(len, saved))) and _all_identical(
        chain.from_iterable(map(base.__iter__, items)), chain.from_iterable(saved)
    )


def _identical_values(items: list[Any], saved: list[Any], values: Callable[[Any], Any]) -> bool:
    return _all_identical(chain.from_iterable(map(values, items)), chain.from_iterable(map(dict.values, saved)))


class _Dicts(_Saved):
    def save(self, items: list[Any]) -> list[Any]:
        if type(items[0]).__iter__ is dict.__iter__:
            return list(map(dict.copy, items))
        return list(map(dict, map(dict.items, items)))  # as dict.copy would call what the subclass overrides

    def same(self, items: list[Any], saved: list[Any]) -> bool:
        return _same_items(items, saved, dict) and _identical_values(items, saved, dict.values)

    def put_back(self, item: Any, saved: Any) -> None:
        dict.clear(item)
        dict.update(item, saved)


class _OrderedDicts(_Saved):
    def save(self, items: list[Any]) -> list[Any]:
        return list(map(dict, map(OrderedDict.items, items)))

    def same(self, items: list[Any], saved: list[Any]) -> bool:
        return _same_items(items, saved, OrderedDict) and _identical_values(items, saved, OrderedDict.values)

    def put_back(self, item: Any, saved: Any) -> None:
        OrderedDict.clear(item)
        for key, value in saved.items():
            OrderedDict.__setitem__(item, key, value)


class _Lists(_Saved):
    def save(self, items: list[Any]) -> list[Any]:
        return list(map(list.copy, items))

    def same(self, items: list[Any], saved: list[Any]) -> bool:
        return _same_items(items, saved, list)

    def put_back(self, item: Any, saved: Any) -> None:
        list.__setitem__(item, slice(None), saved)


class _Deques(_Saved):
    def save(self, items: list[Any]) -> list[Any]:
        return list(map(list, map(deque.__iter__, items)))

    def same(self, items: list[Any], saved: list[Any]) -> bool:
        return _same_items(items, saved, deque)

    def put_back(self, item: Any, saved: Any) -> None:
        deque.clear(item)
        deque.extend(item, saved)


class _Sets(_Saved):
    """Sets, compared by their elements: a copy of a set may have another order."""

    def save(self, items: list[Any]) -> list[Any]:
        return list(map(set.copy, items))

    def same(self, items: list[Any], saved: list[Any]) -> bool:
        return all(map(eq, map(set.__len__, items), map(len, saved))) and all(
            set(map(id, now)) == set(map(id, before)) for now, before in zip(map(set.__iter__, items), saved, strict=True)
        )

    def put_back(self, item: Any, saved: Any) -> None:
        set.clear(item)
        set.update(item, saved)


class _Bytearrays(_Saved):
    def save(self, items: list[Any]) -> list[Any]:
        return list(map(bytearray.copy, items))

    def same(self, items: list[Any], saved: list[Any]) -> bool:
        return all(map(bytearray.__eq__, items, saved))

    def put_back(self, item: Any, saved: Any) -> None:
        try:
            bytearray.__setitem__(item, slice(None), saved)
        except BufferError as error:
            raise Unsupported(
                f"rollback cannot restore a bytearray from {len(item)} to {len(saved)} bytes while a memoryview of it exists: "
                'release the view, or install with heap="reimport"'
            ) from error


class _Instances(_Saved):
    """The class and the attribute dict of objects; the content of that dict is saved as for any dict."""

    def __init__(self, cls: type, attributes: Any) -> None:
        super().__init__()
        self._cls, self._attributes = cls, attributes

    def save(self, items: list[Any]) -> list[Any]:
        return [None] * len(items) if self._attributes is None else list(map(self._attributes.__get__, items))

    def same(self, items: list[Any], saved: list[Any]) -> bool:
        return _all_identical(map(type, items), repeat(self._cls)) and _all_identical(self.save(items), saved)

    def put_back(self, item: Any, saved: Any) -> None:
        if type(item) is not self._cls:
            object.__setattr__(item, "__class__", self._cls)
        if self._attributes is not None and self._attributes.__get__(item) is not saved:
            self._attributes.__set__(item, saved)


class _Slots(_Saved):
    """One slot of objects."""

    def __init__(self, member: types.MemberDescriptorType) -> None:
        super().__init__()
        self._member = member

    def save(self, items: list[Any]) -> list[Any]:
        try:
            return list(map(self._member.__get__, items))
        except AttributeError:  # empty in one of them
            return [self._value(item) for item in items]

    def _value(self, item: object) -> Any:
        try:
            return self._member.__get__(item)
        except AttributeError:
            return _MISSING

    def same(self, items: list[Any], saved: list[Any]) -> bool:
        return _all_identical(self.save(items), saved)

    def put_back(self, item: Any, saved: Any) -> None:
        if saved is not _MISSING:
            self._member.__set__(item, saved)
        else:
            self._member.__delete__(item)


_CONTAINERS: Final[dict[type, type[_Saved]]] = {
    dict: _Dicts,
    OrderedDict: _OrderedDicts,
    list: _Lists,
    deque: _Deques,
    set: _Sets,
}
_SEQUENCES: Final[dict[type, Any]] = {tuple: tuple.__iter__, frozenset: frozenset.__iter__}
"""Immutable containers, each with the function that reads its content."""


class _Plan:
    """What to save for objects of a class that is not built in."""

    def __init__(self, cls: type, owns: Callable[[str | None], bool]) -> None:
        known = (base for base in cls.__mro__[1:-1] if base in _CONTAINERS or base in _SEQUENCES or base in _EACH or base is bytearray)
        self.base: type | None = next(known, None)
        self.owned = cls is types.SimpleNamespace or any(owns(base.__module__) for base in cls.__mro__)
        self.attributes = _attributes(cls) if self.owned else None
        self.slots = _slots(cls) if self.owned else []


def _attributes(cls: type) -> Any:
    """Return the descriptor that reads and sets `__dict__` of the objects of a class; None if they have none."""
    kinds = (types.GetSetDescriptorType, types.MemberDescriptorType)
    return next((found for base in cls.__mro__ if isinstance(found := vars(base).get("__dict__"), kinds)), None)


def _slots(cls: type) -> list[types.MemberDescriptorType]:
    slotted = (vars(base).values() for base in cls.__mro__ if "__slots__" in vars(base))
    return [member for member in chain.from_iterable(slotted) if isinstance(member, types.MemberDescriptorType)]


# ---- the walk ----


class HeapImage:
    """The content of a program's objects at one moment. Taking it costs O(objects of the program), as does restoring it."""

    def __init__(self, roots: Iterable[object], owns: Callable[[str | None], bool]) -> None:
        self._owns = owns
        self._plans: dict[type, _Plan] = {}
        self._saved: dict[object, Any] = {}
        self._restores: list[Restore] = []
        self._seen = {id(vars(builtins)), id(sys.modules)}
        self._kept: list[object] = []
        self._found: list[Any] = list(roots)
        _without_collection(self._visit_all)

    def __repr__(self) -> str:
        return f"<HeapImage of {len(self._kept)} objects>"

    def restore(self) -> None:
        """Restore the content, any number of times. Raises `Unsupported` if a memoryview prevents it."""
        _without_collection(self._restore_all)

    def _restore_all(self) -> None:
        for _ in range(_MOST_PASSES):
            if not self._restore_once():
                return

    def _restore_once(self) -> bool:
        """Restore; return whether anything had changed. Bytearrays come last, when objects with memoryviews of them may be gone."""
        for restore in self._restores:
            restore()
        others = [saved.restore() for key, saved in self._saved.items() if key is not bytearray]
        return (bytearray in self._saved and self._saved[bytearray].restore()) or any(others)

    def _visit_all(self) -> None:
        while self._found:
            self._visit_wave()

    def _visit_wave(self) -> None:
        """Visit all objects that were found but not visited yet."""
        wave, self._found = self._fresh(self._found), []
        self._kept += wave  # so that no other object gets their ids
        kinds = set(map(type, wave))
        if len(kinds) <= _FEW:
            groups = {cls: [item for item in wave if type(item) is cls] for cls in kinds}
        else:
            groups = {cls: [] for cls in kinds}
            for item in wave:
                groups[type(item)].append(item)
        for cls, items in groups.items():
            self._visit(cls, cls, items)

    def _fresh(self, found: list[Any]) -> list[Any]:
        """Return the objects that are not leaves and were not visited yet, each once."""
        holders = [item for item in found if type(item) not in _LEAVES]
        ids = list(map(id, holders))
        known = not self._seen.isdisjoint(ids)
        if known:
            holders = [item for item in holders if id(item) not in self._seen]
        before = len(self._seen)
        self._seen.update(ids)
        if len(self._seen) == before + len(holders):
            return holders
        return list({id(item): item for item in holders}.values())

    def _visit(self, cls: type, base: type, items: list[Any]) -> None:
        """Visit objects of class `cls` as those of its built-in base."""
        if base in _CONTAINERS:
            self._visit_containers(base, items)
        elif base in _SEQUENCES:
            self._found += chain.from_iterable(map(_SEQUENCES[base], items))
        elif base is bytearray:
            self._group(bytearray, _Bytearrays).add(items)
        elif base in _EACH:
            for item in items:
                _EACH[base](self, item)
        elif issubclass(cls, type):
            for item in items:
                self._visit_class(item)
        elif not issubclass(cls, (Structure, NativeMemory)):
            self._visit_instances(cls, items)

    def _group(self, key: object, make: Callable[[], Any]) -> Any:
        group = self._saved.get(key)
        if group is None:
            group = self._saved[key] = make()
        return group

    def _visit_containers(self, base: type, items: list[Any]) -> None:
        group = self._group((base, type(items[0])), _CONTAINERS[base])
        for start in range(0, len(items), _CHUNK):  # a few at a time: what was just copied is in the processor's cache
            saved = group.add(items[start : start + _CHUNK])
            self._found += [item for item in gc.get_referents(*saved) if type(item) not in _LEAVES]

    def _visit_instances(self, cls: type, items: list[Any]) -> None:
        """Visit objects of a class without its own visitor: their content as containers, and their attributes."""
        plan = self._plans.get(cls)
        if plan is None:
            plan = self._plans[cls] = _Plan(cls, self._owns)
        if plan.owned:
            attributes = self._group((_Instances, cls), lambda: _Instances(cls, plan.attributes)).add(items)
            self._found += attributes
        if plan.base is not None:
            self._visit(cls, plan.base, items)
        for member in plan.slots:
            self._found += self._group((cls, member), functools.partial(_Slots, member)).add(items)

    # ---- single objects ----

    def _visit_mapping(self, item: Mapping[Any, Any]) -> None:
        self._found += item.values()

    def _visit_array(self, item: np.ndarray[Any, Any]) -> None:
        if item.dtype.hasobject or not item.flags.writeable:
            return
        saved = item.copy()
        self._restores.append(functools.partial(np.copyto, item, saved))

    def _visit_random(self, item: random.Random) -> None:
        self._restores.append(functools.partial(item.setstate, item.getstate()))

    def _visit_module(self, item: types.ModuleType) -> None:
        if self._owns(item.__name__):
            self._found.append(vars(item))

    def _visit_function(self, item: types.FunctionType) -> None:
        if not self._owns(item.__globals__.get("__name__")):
            return
        self._found += [vars(item), item.__defaults__, item.__kwdefaults__]
        self._found += item.__closure__ or ()

    def _visit_method(self, item: types.MethodType) -> None:
        self._found += [item.__self__, item.__func__]

    def _visit_builtin_method(self, item: types.BuiltinMethodType) -> None:
        self._found.append(item.__self__)  # as in `add = [].append`

    def _visit_partial(self, item: functools.partial[Any]) -> None:
        self._found += [item.func, item.args, item.keywords]

    def _visit_property(self, item: property) -> None:
        self._found += [item.fget, item.fset, item.fdel]

    def _visit_wrapped(self, item: staticmethod[..., Any]) -> None:
        self._found.append(item.__func__)

    def _visit_cell(self, item: types.CellType) -> None:
        try:
            content = item.cell_contents
        except ValueError:  # not filled yet
            self._restores.append(functools.partial(_empty_cell, item))
            return
        self._found.append(content)
        self._restores.append(functools.partial(setattr, item, "cell_contents", content))

    def _visit_generator(self, item: types.GeneratorType[Any, Any, Any]) -> None:
        if item.gi_frame is not None:
            self._found += [*item.gi_frame.f_locals.values(), item.gi_yieldfrom]

    def _visit_coroutine(self, item: types.CoroutineType[Any, Any, Any]) -> None:
        if item.cr_frame is not None:
            self._found += [*item.cr_frame.f_locals.values(), item.cr_await]

    def _visit_class(self, item: type) -> None:
        if not self._owns(item.__module__):
            return
        saved = {name: value for name, value in vars(item).items() if name not in _CLASS_SKIPPED}
        self._found += saved.values()
        self._restores.append(functools.partial(_refill_class, item, saved))


class _MeasuredHeap(HeapImage):
    """An image that also keeps texts, to measure the heap."""

    def __init__(self, roots: Iterable[object], owns: Callable[[str | None], bool]) -> None:
        self._texts: dict[int, str | bytes] = {}
        super().__init__(roots, owns)

    def _visit_wave(self) -> None:
        self._keep_texts(self._found)
        super()._visit_wave()

    def _visit_containers(self, base: type, items: list[Any]) -> None:
        super()._visit_containers(base, items)
        self._keep_texts(gc.get_referents(*items))
        if issubclass(base, dict):  # the image leaves keys out if all are texts; here they count
            self._keep_texts(chain.from_iterable(map(dict.__iter__, items)))

    def _keep_texts(self, found: Iterable[Any]) -> None:
        self._texts.update((id(item), item) for item in found if type(item) in (str, bytes))

    def size(self) -> int:
        """Return the bytes of all visited objects by `sys.getsizeof`; numbers count as nothing."""
        return sum(sys.getsizeof(item, 0) for item in chain(self._kept, self._texts.values()))


def heap_size(roots: Iterable[object], owns: Callable[[str | None], bool]) -> int:
    """Return the bytes of all reachable objects by `sys.getsizeof`, each counted once; numbers count as nothing. O(objects)."""
    return _MeasuredHeap(roots, owns).size()


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


_EACH: Final[dict[type, Callable[[HeapImage, Any], None]]] = {
    types.MappingProxyType: HeapImage._visit_mapping,
    np.ndarray: HeapImage._visit_array,
    random.Random: HeapImage._visit_random,
    types.ModuleType: HeapImage._visit_module,
    types.FunctionType: HeapImage._visit_function,
    types.MethodType: HeapImage._visit_method,
    types.BuiltinMethodType: HeapImage._visit_builtin_method,
    functools.partial: HeapImage._visit_partial,
    property: HeapImage._visit_property,
    staticmethod: HeapImage._visit_wrapped,
    classmethod: HeapImage._visit_wrapped,
    types.CellType: HeapImage._visit_cell,
    types.GeneratorType: HeapImage._visit_generator,
    types.CoroutineType: HeapImage._visit_coroutine,
}
