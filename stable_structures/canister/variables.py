# SPDX-License-Identifier: Apache-2.0
"""Stable variables: saved before an upgrade, reloaded after it, and then overwritten with zeros.

Before the upgrade, one virtual memory of the canister's manager gets the pattern of docs/format.md#backup-of-the-heap, with a
CBOR map from names to values. After it, the memory holds only zeros, so that nobody mistakes old values for new ones.
"""

from __future__ import annotations

import copy
import types
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    NewType,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
    overload,
)

from ..errors import IncompatibleType, StableError
from ..storable import Cbor, codec
from ..upgrade import backup, restore
from .annotations import ANNOTATION_ERRORS

if TYPE_CHECKING:
    from ..memory.memory import NativeMemory
    from ..storable import Codec

T = TypeVar("T")

_MISSING: Final = object()
_PREFIX: Final = 4
_CHUNK: Final = 65536


@dataclass(frozen=True)
class UpgradeReport:
    """What happened to the stable variables in an upgrade: their names."""

    kept: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    """They got their default."""
    removed: tuple[str, ...] = ()
    """They were saved, but the new code no longer has them: their values are gone."""


class ChangedType(StableError, TypeError):
    """A stable variable was saved with another type than the new code declares."""


class StableVariable(Generic[T]):
    """An attribute of an actor that survives upgrades; see `stable`."""

    name: str
    owner: type

    def __init__(self, default: T) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name, self.owner = name, owner

    @overload
    def __get__(self, actor: None, owner: type) -> StableVariable[T]: ...
    @overload
    def __get__(self, actor: object, owner: type) -> T: ...
    def __get__(self, actor: object | None, owner: type) -> T | StableVariable[T]:
        if actor is None:
            return self
        values = vars(actor)
        if self.name not in values:
            values[self.name] = copy.deepcopy(self.default)
        return values[self.name]  # type: ignore[no-any-return]

    def __set__(self, actor: object, value: T) -> None:
        vars(actor)[self.name] = value

    def declared(self) -> Any:
        """Return the annotated type; without an annotation that of the default; Any for None."""
        hints = {name: hint for cls in reversed(self.owner.__mro__) for name, hint in _hints(cls).items()}
        if self.name in hints:
            return hints[self.name]
        return Any if self.default is None else type(self.default)

    def codec(self) -> Codec[Any]:
        """Return the codec that restores its values from CBOR."""
        declared: Any = self.declared()
        kind: Any = Cbor
        made: Codec[Any] = codec(kind if declared is Any else kind[declared])
        return made


def _hints(cls: type) -> dict[str, Any]:
    try:
        return get_type_hints(cls)
    except ANNOTATION_ERRORS:
        return {}


def stable(default: T) -> Any:
    """Return a variable that survives upgrades, in the body of an `Actor`; each actor starts with a copy of the default.

    It is saved as CBOR before an upgrade and reloaded after it. Its type is the annotation (`names: dict[str, int] =
    stable({})`), or that of the default; if new code gives it another type, the upgrade fails and nothing has changed.

    >>> from stable_structures.canister import Actor, stable
    >>> class Counter(Actor):
    ...     value = stable(0)
    >>> Counter().value
    0
    """
    return StableVariable(default)


def variables_of(actor: object) -> dict[str, StableVariable[Any]]:
    """Return the stable variables of an actor's class, by name, those of its bases first."""
    classes = reversed(type(actor).__mro__)
    return {name: item for cls in classes for name, item in vars(cls).items() if isinstance(item, StableVariable)}


def save(actor: object, memory: NativeMemory) -> None:
    """Write the stable variables of an actor. O(size). Raises `IncompatibleType` for a value that CBOR cannot hold."""
    values = {}
    for name in variables_of(actor):
        try:
            values[name] = codec(Cbor).decode(codec(Cbor).encode(getattr(actor, name)))  # dataclasses as maps, and so on
        except StableError as error:
            raise IncompatibleType(f"stable variable {name}: {error}") from error
    backup(memory, values)


def load(actor: object, memory: NativeMemory) -> UpgradeReport:
    """Set the stable variables of an actor from their saved values, then overwrite those with zeros. O(size).

    Raises `ChangedType`; the saved values are untouched then, and the failing upgrade rolls back.
    """
    saved = _saved(memory)
    declared = variables_of(actor)
    for name, variable in declared.items():
        if name in saved:
            setattr(actor, name, _as_declared(variable, saved[name]))
    erase(memory)
    kept = tuple(name for name in declared if name in saved)
    new = tuple(name for name in declared if name not in saved)
    return UpgradeReport(kept, new, tuple(name for name in saved if name not in declared))


def _saved(memory: NativeMemory) -> dict[str, Any]:
    if saved_bytes(memory) == 0:
        return {}
    saved = restore(memory)
    if not isinstance(saved, dict):
        raise ChangedType(
            f"the memory of the stable variables holds a {type(saved).__name__}, not a map of names; something else was saved there"
        )
    return saved


def saved_bytes(memory: NativeMemory) -> int:
    """Return the length of the saved values; 0 if there are none."""
    return int.from_bytes(memory.read(0, _PREFIX), "little") if memory.size() else 0


def erase(memory: NativeMemory) -> None:
    """Overwrite the saved values, and their length, with zeros. O(size)."""
    end = saved_bytes(memory) + _PREFIX if memory.size() else 0
    for offset in range(0, end, _CHUNK):
        memory.write(offset, bytes(min(_CHUNK, end - offset)))


def _as_declared(variable: StableVariable[Any], value: Any) -> Any:
    """Return a saved value with the type that the new code declares."""
    declared = variable.declared()
    if declared is Any:
        return value
    try:
        restored = variable.codec().decode(codec(Cbor).encode(value))
    except StableError as error:
        raise _changed(variable, value) from error
    if not _fits(restored, declared):
        raise _changed(variable, value)
    return restored


def _fits(value: Any, declared: Any) -> bool:
    """Return whether a value is of a declared type, as far as a type can tell: exactly for numbers (True is not an int)."""
    origin = get_origin(declared)
    if isinstance(declared, NewType):
        return _fits(value, declared.__supertype__)
    if origin in (Union, types.UnionType):
        return any(_fits(value, member) for member in get_args(declared))
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in get_args(declared))
    if declared is None:
        return value is None
    return _is_instance(value, dict if is_typeddict(declared) else origin or declared)


def _is_instance(value: Any, cls: Any) -> bool:
    """Return whether a value is of a class; of anything else (Any, a protocol), Python cannot tell, so it is."""
    if cls in (int, float):
        return type(value) is cls
    try:
        return isinstance(value, cls)
    except TypeError:
        return True


def _changed(variable: StableVariable[Any], value: Any) -> ChangedType:
    declared = variable.declared()
    name = getattr(declared, "__name__", str(declared))
    return ChangedType(
        f"stable variable {variable.owner.__name__}.{variable.name} was saved as {type(value).__name__} and is declared as {name} now: "
        "give it a new name and convert the old one in @post_upgrade"
    )
