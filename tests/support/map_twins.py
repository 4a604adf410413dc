"""A StableBTreeMap beside two twins: a plain dict, and the byte model of the format that knows every byte of the memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

import stable_structures
from stable_structures import PAGE_SIZE, Memory, RestrictedMemory, StableBTreeMap, StableMemory
from stable_structures.storable import Codec, codec

from .byte_model import ModelMap, rank_of
from .memories import ListMemory

ABSENT = object()


class Scattered:
    """Memory 3 of a manager with buckets of one page; after `scatter` its next page will not follow its last one."""

    def __init__(self, base: Memory) -> None:
        manager = stable_structures.MemoryManager(base, bucket_pages=1)
        self.memory, self._neighbour = manager.get(3), manager.get(9)

    def scatter(self) -> None:
        missing = self.memory.size() - self._neighbour.size()
        if missing > 0:
            self._neighbour.grow(missing)


MEMORIES: dict[str, Callable[[], Any]] = {
    "flat": StableMemory,
    "restricted": lambda: RestrictedMemory(StableMemory(), range(2, 5000)),
    "python": ListMemory,
    "scattered": lambda: Scattered(StableMemory()),
    "scattered_python": lambda: Scattered(ListMemory(10_000)),
}


class MapTwins:
    """Each operation is done on all three, and must give the same; `check` compares everything."""

    def __init__(self, key: Any, value: Any, memory_kind: str) -> None:
        self.key: Codec[Any] = codec(key)
        self.value: Codec[Any] = codec(value)
        made = MEMORIES[memory_kind]()
        self.scattered = made if isinstance(made, Scattered) else None
        self.memory = made.memory if isinstance(made, Scattered) else made
        self.type = StableBTreeMap[self.key, self.value]
        self.map = self.type(self.memory)
        self.dict: dict[bytes, bytes] = {}
        self._rank = rank_of(self.key)
        self.model = ModelMap(_bound(self.key), _bound(self.value), self._rank)

    def load(self, key: Codec[Any], value: Codec[Any], memory: Any, image: bytes) -> None:
        """Instead of a new map, the one that the memory holds; `image` is what lies in it."""
        self.key, self.value, self.memory, self.scattered = key, value, memory, None
        self.type = StableBTreeMap[key, value]
        self.map = self.type(memory)
        self._rank = rank_of(key)
        self.model = ModelMap(_bound(key), _bound(value), self._rank, image)
        self.dict = dict(self.model.entries())

    # ---- the twin in order ----

    def keys(self) -> list[bytes]:
        return sorted(self.dict, key=self._rank)

    def in_range(self, start: Any, stop: Any, inclusive: tuple[bool, bool]) -> list[bytes]:
        keys = self.keys()
        ranks = [self._rank(key) for key in keys]
        low = 0 if start is None else (bisect_left if inclusive[0] else bisect_right)(ranks, self._rank(self.key.encode(start)))
        high = len(keys) if stop is None else (bisect_right if inclusive[1] else bisect_left)(ranks, self._rank(self.key.encode(stop)))
        return keys[low:high]

    def from_previous(self, bound: Any) -> list[bytes]:
        keys = self.keys()
        return keys[max(bisect_left([self._rank(key) for key in keys], self._rank(self.key.encode(bound))) - 1, 0) :]

    def pair(self, key: bytes) -> tuple[Any, Any]:
        return self.key.decode(key), self.value.decode(self.dict[key])

    def same(self, found: Any, wanted: bytes | None) -> None:
        """A value of the map against an encoded one."""
        if wanted is None:
            assert found is None
        else:
            assert self.value.encode(found) == wanted

    def same_entry(self, found: Any, key: bytes | None) -> None:
        if key is None:
            assert found is None
        else:
            assert (self.key.encode(found[0]), self.value.encode(found[1])) == (key, self.dict[key])

    def same_entries(self, found: Any, keys: list[bytes]) -> None:
        assert [(self.key.encode(k), self.value.encode(v)) for k, v in found] == [(key, self.dict[key]) for key in keys]

    # ---- operations ----

    def insert(self, key: Any, value: Any) -> None:
        k, v = self.key.encode(key), self.value.encode(value)
        old = self.dict.get(k)
        self.same(self.map.insert(key, value), old)
        assert self.model.insert(k, v) == old
        self.dict[k] = v

    def set_item(self, key: Any, value: Any) -> None:
        self.map[key] = value
        self.dict[self.key.encode(key)] = self.value.encode(value)
        self.model.insert(self.key.encode(key), self.value.encode(value))

    def _drop(self, key: Any) -> bytes | None:
        k = self.key.encode(key)
        assert self.model.remove(k) == self.dict.get(k)
        return self.dict.pop(k, None)

    def remove(self, key: Any) -> None:
        self.same(self.map.remove(key), self._drop(key))

    def delete_item(self, key: Any) -> None:
        wanted = self._drop(key)
        assert _raised(lambda: self.map.__delitem__(key)) is (KeyError if wanted is None else None)

    def pop(self, key: Any) -> None:
        k = self.key.encode(key)
        if k in self.dict:
            self.same(self.map.pop(key), self.dict[k])
            self._drop(key)
        else:
            # As dict, it looks first: nothing is changed.
            assert _raised(lambda: self.map.pop(key)) is KeyError

    def pop_default(self, key: Any) -> None:
        found, wanted = self.map.pop(key, ABSENT), self._drop(key)
        assert found is ABSENT if wanted is None else self.value.encode(found) == wanted

    def get(self, key: Any) -> None:
        k = self.key.encode(key)
        wanted = self.dict.get(k)
        assert self.model.get(k) == wanted
        assert (key in self.map) == (k in self.dict) == self.map.contains_key(key)
        if wanted is None:
            assert self.map.get(key) is None
            assert self.map.get(key, ABSENT) is ABSENT
            assert _raised(lambda: self.map[key]) is KeyError
        else:
            self.same(self.map.get(key), wanted)
            self.same(self.map[key], wanted)

    def _end(self, found: Any, *, last: bool) -> None:
        keys = self.keys()
        self.same_entry(found, None if not keys else keys[-1 if last else 0])

    def ends(self) -> None:
        self._end(self.map.first_key_value(), last=False)
        self._end(self.map.last_key_value(), last=True)

    def pop_end(self, *, last: bool) -> None:
        self._end(self.map.pop_last() if last else self.map.pop_first(), last=last)
        entry = self.model.pop_last() if last else self.model.pop_first()
        if entry is not None:
            assert self.dict.pop(entry[0]) == entry[1]

    def pop_item(self) -> None:
        if not self.dict:
            assert _raised(self.map.popitem) is KeyError
            return
        self._end(self.map.popitem(), last=True)
        entry = self.model.pop_last()
        assert entry is not None
        del self.dict[entry[0]]

    def set_default(self, key: Any, value: Any) -> None:
        k = self.key.encode(key)
        found = self.map.setdefault(key, value)
        if k not in self.dict:
            self.dict[k] = self.value.encode(value)
            self.model.insert(k, self.dict[k])
        self.same(found, self.dict[k])

    def update(self, pairs: list[tuple[Any, Any]]) -> None:
        self.map.update(pairs)
        for key, value in pairs:
            self.dict[self.key.encode(key)] = self.value.encode(value)
            self.model.insert(self.key.encode(key), self.value.encode(value))

    def clear(self) -> None:
        self.map.clear()
        self.model.clear()
        self.dict.clear()

    def ranges(self, start: Any, stop: Any, inclusive: tuple[bool, bool], *, reverse: bool) -> None:
        keys = self.in_range(start, stop, inclusive)
        if reverse:
            keys.reverse()
        options = {"inclusive": inclusive, "reverse": reverse}
        self.same_entries(self.map.range(start, stop, **options), keys)
        assert [self.key.encode(k) for k in self.map.keys_range(start, stop, **options)] == keys
        assert [self.value.encode(v) for v in self.map.values_range(start, stop, **options)] == [self.dict[key] for key in keys]

    def from_prev_key(self, bound: Any) -> None:
        self.same_entries(self.map.iter_from_prev_key(bound), self.from_previous(bound))

    def both_ends(self, start: Any, stop: Any, steps: list[int], *, reverse: bool) -> None:
        """Steps of an iterator: 0 forward, 1 back, n > 1 skips n."""
        iterator, keys = self.map.range(start, stop, reverse=reverse), self.in_range(start, stop, (True, False))
        if reverse:
            keys.reverse()
        for step in steps:
            if step > 1:
                assert iterator.skip(step) == min(step, len(keys))
                del keys[:step]
            elif keys:
                self.same_entry(iterator.next_back() if step else next(iterator), keys.pop(-1 if step else 0))
            else:
                assert _raised(iterator.next_back if step else lambda: next(iterator)) is StopIteration
        self.same_entries(list(iterator), keys)

    def views(self) -> None:
        keys = self.keys()
        assert list(map(self.key.encode, self.map)) == keys == list(map(self.key.encode, self.map.keys()))
        assert [self.key.encode(k) for k in reversed(self.map)] == keys[::-1]
        assert [self.value.encode(v) for v in self.map.values()] == [self.dict[key] for key in keys]
        self.same_entries(self.map.items(), keys)
        self.same_entries(reversed(self.map.items()), keys[::-1])
        assert len(self.map) == len(keys) == len(self.map.keys()) == len(self.map.items()) == self.model.length
        assert self.map.is_empty() is (not keys)
        for key in keys[:3]:
            entry = self.pair(key)
            assert entry in self.map.items()
            assert entry[0] in self.map.keys()  # noqa: SIM118 - the view is what is tested

    def reopen(self) -> None:
        self.map.into_memory()
        self.map = self.type(self.memory)
        self.model = ModelMap(_bound(self.key), _bound(self.value), self._rank, bytes(self.model.memory.data))

    # ---- everything ----

    def check(self) -> None:
        """The map is sound, and its memory is the model's, byte for byte."""
        if self.scattered:
            self.scattered.scatter()
        self.map.check()
        assert len(self.map) == len(self.dict)
        pages = self.memory.size()
        assert pages * PAGE_SIZE == len(self.model.memory.data)
        found = self.memory.read(0, pages * PAGE_SIZE)
        if found != self.model.memory.data:
            at = next(i for i, (a, b) in enumerate(zip(found, self.model.memory.data, strict=True)) if a != b)
            raise AssertionError(f"byte {at:#x} is {found[at]:#x}, the model has {self.model.memory.data[at]:#x}")

    def same_contents(self) -> None:
        self.same_entries(self.map.iter(), self.keys())
        assert self.model.entries() == [(key, self.dict[key]) for key in self.keys()]


def _bound(of: Codec[Any]) -> tuple[int | None, bool]:
    return of.bound.max_size, of.bound.is_fixed_size


def _raised(call: Callable[[], Any]) -> type[BaseException] | None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - which one is the question
        return type(error)
    return None
