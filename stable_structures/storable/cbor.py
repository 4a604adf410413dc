# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - Codec says what encode, decode and compare do
"""CBOR values: all that the cbor2 package encodes, deterministically: equal values have equal bytes. Not in the crate.

Maps and sets are sorted and floats take their shortest form (cbor2's `canonical`). Dataclasses and enums are encoded
as the map of their fields and as their value; `Cbor[T]` restores them if T says where they are.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import types
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, TypeAlias, Union, get_args, get_origin, get_type_hints, is_typeddict

import cbor2
import numpy as np

from .. import _native as native
from ..errors import IncompatibleType
from .base import Codec, Data, python_order, shown
from .blame import raise_of_cause, raise_of_moment
from .bound import Unbounded

MAX_NESTING: Final = 400
"""How deep lists, maps and so on may nest; the decoder of cbor2 goes no deeper."""

_SAFE_NESTING: Final = MAX_NESTING // 4
"""A depth that surely stays below that, although a set, for example, costs more than one level of CBOR."""

_CONTAINERS: Final = (list, tuple, dict, set, frozenset)

_ENDLESS: Final = "it contains itself, and only plain Cbor, or Cbor of plain lists and maps, can hold that"

Restore: TypeAlias = Callable[[Any], Any]


class BadCbor(ValueError):
    """Bytes that are not one CBOR item, or one whose references expand to too much."""


def loads(data: bytes) -> tuple[Any, bool]:
    """Return the value of bytes parsed as untrusted input, and whether it contains itself. O(size).

    Raises `BadCbor` if they are not one well-formed item, nest more than 1,000 deep, or if shared references (tags 28 and
    29) expand to more than 1,048,576 items: such a value takes hundreds of bytes, but walking, hashing or printing it never ends.
    An error that does not come from the bytes, such as a time-out, is raised unchanged.
    """
    problem = native.cbor_problem(data)
    if isinstance(problem, str):
        raise BadCbor(f"encoded as CBOR; {problem}")
    stream = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(stream).decode()
    except Exception as error:  # tags call constructors of many types
        raise_of_moment(error)
        raise BadCbor(f"encoded as CBOR; {type(error).__name__}: {error}") from error
    if stream.tell() != len(data):
        raise BadCbor(f"encoded as one CBOR item, found {len(data) - stream.tell()} more bytes after it")
    return value, problem


class CborCodec(Codec[Any]):
    """`Cbor[T]`: any value that cbor2 takes. Unbounded; not usable as a key, because lists and maps of mixed values have no order.

    A value that contains itself keeps its shared references; in any other value they become copies. References that expand to
    more than 1,048,576 items are refused, in both directions.
    """

    key_problem = heap_problem = (
        "values such as maps have no order; use str, an integer, a tuple or a @storable dataclass, and use CBOR for the values"
    )

    def __init__(self, target: Any = Any) -> None:
        name = "Cbor" if target is Any else f"Cbor[{getattr(target, '__qualname__', None) if isinstance(target, type) else target}]"
        super().__init__(name, Unbounded, python_order(Unbounded), name, target)  # A | B equals B | A, but here the first that fits counts
        self.target = target
        """The type of the values, as far as it is said."""
        self._restore = restorer(target)

    def encode(self, value: Any) -> bytes:
        try:
            if _is_deeper(value, _SAFE_NESTING):
                return self._encode_deep(value)
            return cbor2.dumps(value, canonical=True, default=_plain)
        except (cbor2.CBORError, TypeError, ValueError, RecursionError) as error:
            raise_of_cause(error)
            raise IncompatibleType(f"{self.name} cannot hold {shown(value)}: {error}; {_hint(error)}") from error

    def decode(self, data: Data) -> Any:
        try:
            value, is_endless = loads(bytes(data))
        except BadCbor as error:
            raise self._corruption(str(error)) from error
        if self._restore is None:
            return value
        if is_endless:
            self._corrupt(f"fits {self.name}; {_ENDLESS}")
        return self._restored(value)

    def _encode_deep(self, value: Any) -> bytes:
        """Return the bytes of a value that contains itself, with its references; refuse one that could not be read again."""
        endless = _is_deeper(value, MAX_NESTING)
        if endless and _depth_once(value) > MAX_NESTING:
            raise ValueError(f"it is nested more than {MAX_NESTING} deep")
        data = cbor2.dumps(value, canonical=True, value_sharing=endless, default=_plain)
        _, is_endless = loads(data)
        if is_endless and self._restore is not None:
            raise ValueError(_ENDLESS)
        return data

    def _restored(self, value: Any) -> Any:
        try:
            return self._restore(value) if self._restore is not None else value
        except Exception as error:
            raise_of_moment(error)
            raise self._corruption(f"fits {self.name}; {error}", "the class changed since it was written") from error


def _hint(error: Exception) -> str:
    if "naive datetime" in str(error):
        return "set the datetime's tzinfo"
    if "nest" in str(error):
        return "store it flat, for example as a map from names to items"
    return "turn it into numbers, text, bytes, lists, maps or dataclasses first"


def _plain(encoder: cbor2.CBOREncoder, value: Any) -> Any:
    """Return a form that cbor2 can encode, for a value that it does not know."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return encoder.encode({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, enum.Enum):
        return encoder.encode(value.value)
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        return encoder.encode(value.item())
    raise cbor2.CBOREncodeError(f"no CBOR form for {shown(value)}")


# ---- nesting ----


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value.keys(), *value.values())
    if isinstance(value, _CONTAINERS):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    return ()


_FLAT: Final = frozenset({int, str, bytes, float, bool, type(None)})


def _is_deeper(value: Any, limit: int) -> bool:
    """Return whether containers nest deeper than the limit, or contain themselves. O(size), level by level."""
    level = [value]
    for _ in range(limit):
        level = [child for parent in level for child in _children(parent) if type(child) not in _FLAT]
        if not level:
            return False
        level = list({id(child): child for child in level}.values())
    return True


def _depth_once(value: Any) -> int:
    """Return how deep containers nest if each is entered once, as in an encoding with references."""
    seen: set[int] = set()
    deepest = 0
    stack = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        deepest = max(deepest, depth)
        stack += [(child, depth + 1) for child in _children(item) if type(child) not in _FLAT]
    return deepest


# ---- making values of T again ----


def restorer(target: Any) -> Restore | None:
    """Return a function that turns a decoded value into a `target`; None if none is needed."""
    origin, args = get_origin(target), get_args(target)
    if origin is Annotated:
        return restorer(args[0])
    if origin in (Union, types.UnionType):
        return _of_union(args)
    if isinstance(target, type) and issubclass(target, enum.Enum):
        return target
    if dataclasses.is_dataclass(target) and isinstance(target, type):
        return _Fields(target).restore
    if is_typeddict(target):
        return _Fields(target).restore_map
    return _of_container(origin or target, args)


def _of_container(origin: Any, args: tuple[Any, ...]) -> Restore | None:
    if origin is tuple and args and args[-1] is not Ellipsis:
        return _of_tuple([restorer(arg) for arg in args])
    if origin is dict and args:
        return _of_dict(restorer(args[0]), restorer(args[1]))
    inner = restorer(args[0]) if args and origin in _CONTAINERS else None
    if origin in (tuple, frozenset) or (inner is not None and origin in (list, set)):
        return lambda value: origin(value if inner is None else map(inner, value))
    return None


def _of_tuple(inners: list[Restore | None]) -> Restore:
    def restore(value: Any) -> Any:
        if len(value) != len(inners):
            raise ValueError(f"expected a tuple of {len(inners)} items, found {len(value)}")
        return tuple(item if inner is None else inner(item) for inner, item in zip(inners, value, strict=True))

    return restore


def _of_dict(key: Restore | None, item: Restore | None) -> Restore | None:
    if key is None and item is None:
        return None
    return lambda value: {(k if key is None else key(k)): (v if item is None else item(v)) for k, v in value.items()}


def _of_union(members: tuple[Any, ...]) -> Restore | None:
    """Return a restorer: None stays None; any other value becomes the first member that it fits."""
    inners = [inner for member in members if member is not type(None) and (inner := restorer(member)) is not None]
    if not inners:
        return None

    def restore(value: Any) -> Any:
        for inner in inners if value is not None else ():
            try:
                return inner(value)
            except (TypeError, ValueError, AttributeError) as error:
                raise_of_moment(error)
        return value

    return restore


class _Fields:
    """The fields of a dataclass or TypedDict; their types are looked up at the first use, so that a class may refer to itself."""

    def __init__(self, cls: Any) -> None:
        self._class = cls
        self._restorers: dict[str, Restore | None] | None = None

    def _fields(self) -> dict[str, Restore | None]:
        if self._restorers is None:
            hints = get_type_hints(self._class)
            fields = [field.name for field in dataclasses.fields(self._class)] if dataclasses.is_dataclass(self._class) else list(hints)
            self._restorers = {name: restorer(hints[name]) for name in fields}
        return self._restorers

    def restore_map(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise TypeError(f"{self._class.__qualname__} is stored as a map, found {shown(value)}")
        restorers = self._fields()
        return {name: item if (inner := restorers.get(name)) is None else inner(item) for name, item in value.items()}

    def restore(self, value: Any) -> Any:
        """Restore an instance: ignore fields that the class no longer has; missing ones take their defaults."""
        known = self.restore_map(value)
        return self._class(**{name: known[name] for name in self._fields() if name in known})
