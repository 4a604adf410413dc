# SPDX-License-Identifier: Apache-2.0
"""Entry: read a key of a map and then change it, with one descent instead of two. Extension: not in the crate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from .. import _native as native
from ..errors import CorruptMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from .btreemap import StableBTreeMap

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

_MISSING: Final = object()
_TRIES: Final = 10_000


class Entry(Generic[K, V]):
    """A key of a map, present or not. Made by `StableBTreeMap.entry`.

    The descent is remembered: a change after a read costs O(1) if it splits no node and the map has not changed; otherwise,
    and for every removal, O(log n). An entry never goes stale: if the map has changed, it looks again. Each method is one
    operation, also when other threads write, and threads may share an entry.
    """

    def __init__(self, tree: StableBTreeMap[K, V], key: K) -> None:
        self._map = tree
        self.key: Final = key
        self._encoded = tree._key.codec.encode(key)
        self._position = native.new_position()
        self._seen = tree._generation[0]
        raw = self._located()
        self._known = native.position_changes(self._position), raw
        """Changes of the map, and the encoded value that the key had at that number or later."""

    def _located(self) -> bytes | None:
        """Return the encoded value, found by a descent from the root."""
        try:
            return native.locate(self._map._handle, self._encoded, self._position)
        except CorruptMemory as error:
            self._map._tell_apart(error)
            raise

    def _fresh(self) -> bytes | None:
        """Return the encoded value as it is now."""
        now = self._map._changes()
        changes, raw = self._known
        if now != changes:
            raw = self._located()
            self._known = now, raw
        return raw

    def _replace(self, old: bytes | None, value: V) -> bool:
        """Set the value if the encoded one is still `old`; return whether it was."""
        data = self._map._value.encode(value)
        try:
            changes = native.replace_at(self._map._handle, self._position, self._encoded, old, data)
        except CorruptMemory as error:
            self._map._tell_apart(error)
            raise
        if changes is None:
            return False
        self._known = changes, data
        return True

    @property
    def exists(self) -> bool:
        """Return whether the key is present. O(1) while the map does not change.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> StableBTreeMap[u64, str](StableMemory()).entry(1).exists
        False
        """
        return self._fresh() is not None

    @overload
    def get(self, default: None = None, /) -> V | None: ...
    @overload
    def get(self, default: V | D, /) -> V | D: ...
    def get(self, default: Any = None, /) -> Any:
        """Return the value, or `default`. O(1) while the map does not change.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> StableBTreeMap[u64, str](StableMemory()).entry(1).get("?")
        '?'
        """
        raw = self._fresh()
        return default if raw is None else self._decoded(raw)

    def _decoded(self, raw: bytes) -> Any:
        return self._map._made(self._map._value.decode, raw)

    def set(self, value: V) -> None:
        """Set the value. Raises `BoundExceeded`, `IncompatibleType`, `OutOfMemory`; nothing is changed then.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.entry(1).set("a")
        >>> m[1]
        'a'
        """
        data = self._map._value.encode(value)
        try:
            self._known = native.set_at(self._map._handle, self._position, self._encoded, data), data
        except CorruptMemory as error:
            self._map._tell_apart(error)
            raise

    def setdefault(self, default: V) -> V:
        """Return the value, which is first set to `default` if the key is absent.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> StableBTreeMap[u64, str](StableMemory()).entry(1).setdefault("a")
        'a'
        """
        raw = self._fresh()
        while raw is None:
            raw = self._known[1] if self._replace(None, default) else self._fresh()
        return self._decoded(raw)  # type: ignore[no-any-return]

    def update(self, function: Callable[[V], V], default: Any = _MISSING) -> V:
        """Set the value to `function(value)` and return it; if the key is absent, `value` is `default`.

        If another thread sets the value meanwhile, the function is called again with the new value. Raises `KeyError` if the
        key is absent and there is no default, whatever the function raises, and `RuntimeError` if the value changes during every
        call of the function, for example by the function itself; nothing is changed then.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, u64](StableMemory())
        >>> m.entry(1).update(lambda hits: hits + 1, default=0), m.entry(1).update(lambda hits: hits + 1)
        (1, 2)
        """
        # What another thread does in between, the core notices: the value is no more the one that is expected.
        known = self._map._generation[0] == self._seen
        for _ in range(_TRIES):
            raw = self._known[1] if known else self._fresh()
            known = False
            if raw is None and default is _MISSING:
                raise KeyError(self.key)
            new = function(default if raw is None else self._decoded(raw))
            if self._replace(raw, new):
                return new
        raise RuntimeError(f"update: the value of {self.key!r} changed in each of {_TRIES} tries; the function must not change it")

    def remove(self) -> V | None:
        """Remove the key; return its value, or None if it was absent. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a"})
        >>> m.entry(1).remove(), len(m)
        ('a', 0)
        """
        return self._map.remove(self.key)

    def __repr__(self) -> str:
        return f"<Entry {self.key!r} of {self._map!r}>"
