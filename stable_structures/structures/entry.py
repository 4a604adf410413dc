# SPDX-License-Identifier: Apache-2.0
"""Entry: looking at a key of a map and then changing it, with one way down instead of two. Ours, not the crate's."""

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


class Entry(Generic[K, V]):
    """A key of a map, present or not. Made by `StableBTreeMap.entry`.

    The way down is remembered: a change that follows a look costs O(1) where it splits no node and the map is as it was;
    else, and for every removal, O(log n). An entry never goes stale: where the map has changed, it looks again.
    """

    def __init__(self, tree: StableBTreeMap[K, V], key: K) -> None:
        self._map = tree
        self.key: Final = key
        self._encoded = tree._key.codec.encode(key)
        self._place = native.new_place()
        self._look()

    def _look(self) -> None:
        handle = self._map._handle
        self._raw = native.locate(handle, self._encoded, self._place)
        self._seen = native.place_changes(self._place)

    def _changes(self) -> int:
        return native.number(native.call.ss_btree_changes(self._map._handle), "entry")

    def _fresh(self) -> bytes | None:
        """The encoded value as it is now."""
        if self._changes() != self._seen:
            self._look()
        return self._raw

    @property
    def exists(self) -> bool:
        """Whether the key is there. O(1) while the map does not change.

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
        """The value, or `default`. O(1) while the map does not change.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> StableBTreeMap[u64, str](StableMemory()).entry(1).get("?")
        '?'
        """
        raw = self._fresh()
        return default if raw is None else self._decoded(raw)

    def _decoded(self, raw: bytes) -> Any:
        try:
            return self._map._value.codec.decode(raw)
        except CorruptMemory as error:
            self._map._tell_apart(error)
            raise

    def set(self, value: V) -> None:
        """Sets the value. Raises `BoundExceeded`, `IncompatibleType`, `OutOfMemory`; nothing is changed then.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.entry(1).set("a")
        >>> m[1]
        'a'
        """
        handle, encoded = self._map._handle, self._map._value.codec.encode(value)
        native.put_at(handle, self._place, self._encoded, encoded)
        self._raw, self._seen = encoded, native.place_changes(self._place)  # nothing can fail after the change

    def setdefault(self, default: V) -> V:
        """The value; sets it to `default` first where the key is absent.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> StableBTreeMap[u64, str](StableMemory()).entry(1).setdefault("a")
        'a'
        """
        raw: Any = self._fresh()
        if raw is None:
            self.set(default)
            raw = self._raw
        return self._decoded(raw)  # type: ignore[no-any-return]

    def update(self, function: Callable[[V], V], default: Any = _MISSING) -> V:
        """Sets the value to `function(value)` and gives it; `default` stands in where the key is absent.

        Raises `KeyError` where the key is absent and there is no default, and what the function raises; nothing is changed then.

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, u64](StableMemory())
        >>> m.entry(1).update(lambda hits: hits + 1, default=0), m.entry(1).update(lambda hits: hits + 1)
        (1, 2)
        """
        old = self.get(default)
        if old is _MISSING:
            raise KeyError(self.key)
        new = function(old)
        self.set(new)
        return new

    def remove(self) -> V | None:
        """Removes the key; gives its value, or None where it was absent. O(log n).

        >>> from stable_structures import StableBTreeMap, StableMemory, u64
        >>> m = StableBTreeMap[u64, str](StableMemory())
        >>> m.update({1: "a"})
        >>> m.entry(1).remove(), len(m)
        ('a', 0)
        """
        return self._map.remove(self.key)

    def __repr__(self) -> str:
        return f"<Entry {self.key!r} of {self._map!r}>"
