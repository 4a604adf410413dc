# SPDX-License-Identifier: Apache-2.0
"""CertifiedMap: a map whose root hash is always known (docs/format.md#certified-map, docs/certified.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from .. import _native as native
from .._native import NO_VALUE, result
from ..errors import IncompatibleType
from ..memory.memory import Memory, native_memory
from ..memory.stored import INIT, LOAD, NEW, BytesUsed
from ..storable.order import OrderKind
from .btreemap import StableBTreeMap
from .tree import end_kinds

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from ..storable import Codec

K = TypeVar("K")
V = TypeVar("V")
_TWO_MEMORIES: Final = "the memory of the hashes, as in CertifiedMap[K, V](manager.get(0), manager.get(1))"


class CertifiedMap(StableBTreeMap[K, V]):
    """A `StableBTreeMap` whose root hash is always known: `CertifiedMap[K, V](memory, hashes)`. Extension: not in the crate.

    The entries are in the crate's own map in `memory`, and any Rust canister opens it. Their hashes are in a second map in `hashes`, a
    memory of the same manager. Every operation that changes entries changes their hashes with them: both, or none.

    The hash tree has the encoded keys as labels and the encoded values as leaves. It depends on the entries alone, so two maps with the
    same entries have the same root hash. A change computes O(log n) hashes, beside those of the values of at most 8 neighbours.

    On an empty memory for hashes, those of all entries are computed once, O(n). Opening again computes nothing.

    Raises what `StableBTreeMap` raises; `IncompatibleType` if keys are not ordered by their encoded bytes; `ValueError` if the memories are
    not of one manager; `CorruptMemory` if the hashes count other entries than the map has, because something else has changed the map: then
    `rehash` computes them again. A changed value is not found by opening: `check()` compares everything.

    >>> from stable_structures import CertifiedMap, MemoryManager, StableMemory, hashtree, u64
    >>> manager = MemoryManager(StableMemory())
    >>> balances = CertifiedMap[u64, u64](manager.get(0), manager.get(1))
    >>> balances[7] = 100
    >>> proof = hashtree.HashTree.from_cbor(balances.witness(7))
    >>> proof.root_hash == balances.root_hash(), proof.lookup((7).to_bytes(8, "big")).data.hex()
    (True, '0000000000000064')
    """

    hashes: Memory
    """The memory of the hashes."""

    _opened_on = (*StableBTreeMap._opened_on, "hashes", "_native_hashes")

    if not TYPE_CHECKING:

        def __init__(self, memory: Memory, hashes: Memory) -> None:
            self._begin(INIT, memory, hashes)

    @classmethod
    def _check_types(cls, codecs: tuple[Codec[Any], ...]) -> None:
        super()._check_types(codecs)
        kind = codecs[0].order.kind
        if kind is not OrderKind.BYTES:
            raise IncompatibleType(
                f"CertifiedMap: keys of type {codecs[0].name} are not ordered by their encoded bytes, and labels of a hash tree are; "
                "use such a type (u64, str, bytes, Blob), for a Principal its bytes"
            )

    def _start(self, mode: int, memory: Memory, *args: Any) -> None:
        if len(args) != 1:
            raise TypeError(f"{type(self).__name__} takes two memories: the one of the map, and {_TWO_MEMORIES}; got {1 + len(args)}")
        self._require_types()
        hashes = args[0]
        under = native_memory(hashes)
        _require_two(native_memory(memory)._handle, under._handle)  # before anything is overwritten
        self.hashes = hashes
        self._native_hashes = under
        super()._start(mode, memory)
        if mode == _REHASH:
            native.check(native.call.ss_certified_attach(self._handle, under._handle, NEW), type(self).__name__)

    def _open_tree(self, memory: Any, mode: int, out: Any) -> int:
        if mode == _REHASH:
            return super()._open_tree(memory, LOAD, out)
        return int(native.call.ss_certified_open(memory, self._native_hashes._handle, mode, *self._given_types(), out))

    @classmethod
    def rehash(cls, memory: Memory, hashes: Memory) -> Self:
        """Open the map that is in `memory` and compute all hashes again, overwriting the content of `hashes`. O(n).

        For a map that something else has changed, or a damaged memory of hashes. Raises as `load`.

        >>> from stable_structures import CertifiedMap, MemoryManager, StableBTreeMap, StableMemory, u64
        >>> manager = MemoryManager(StableMemory())
        >>> StableBTreeMap[u64, str](manager.get(0)).insert(1, "by a Rust canister")
        >>> CertifiedMap[u64, str].rehash(manager.get(0), manager.get(1)).check()
        """
        return cls.__new__(cls)._begin(_REHASH, memory, hashes)

    @classmethod
    def from_sorted(  # type: ignore[override] # it takes two memories
        cls, memory: Memory, hashes: Memory, keys: npt.ArrayLike | Iterable[K], values: npt.ArrayLike | Iterable[V]
    ) -> Self:
        """Return a new map, packed from strictly ascending keys, as `StableBTreeMap.from_sorted`. O(n).

        >>> from stable_structures import CertifiedMap, MemoryManager, StableMemory, u64
        >>> manager = MemoryManager(StableMemory())
        >>> m = CertifiedMap[u64, u64].from_sorted(manager.get(0), manager.get(1), range(100), range(100))
        >>> len(m), m.check()
        (100, None)
        """
        return cls._filled(lambda: cls.new(memory, hashes), keys, values)

    def root_hash(self) -> bytes:
        """Return the root hash, 32 bytes: what a canister gives to `certified_data`. O(1).

        Raises `CorruptMemory` if the memory of hashes is damaged.

        >>> from stable_structures import CertifiedMap, MemoryManager, StableMemory, hashtree, u64
        >>> manager = MemoryManager(StableMemory())
        >>> m = CertifiedMap[u64, str](manager.get(0), manager.get(1))
        >>> m.root_hash() == hashtree.empty().root_hash
        True
        """
        return result(native.check(native.call.ss_certified_root(self._handle), "root_hash"))

    def witness(self, key: K) -> bytes:
        """Return a hash tree in CBOR that proves the value of a key, with the root hash of the map. O(log n).

        The label is the encoded key, the leaf the encoded value. Raises `KeyError` if the key is not there (`witness_absence` proves
        that), and `CorruptMemory` if the hashes are not those of the entries: a witness never proves what is not in the map.

        >>> from stable_structures import CertifiedMap, MemoryManager, StableMemory, hashtree
        >>> manager = MemoryManager(StableMemory())
        >>> m = CertifiedMap[str, str](manager.get(0), manager.get(1))
        >>> m.update(ada="1", grace="2")
        >>> hashtree.HashTree.from_cbor(m.witness("ada")).lookup("ada").data
        b'1'
        """
        data = self._key.encode(key)
        size = native.call.ss_certified_witness(self._handle, data, len(data))
        if size == NO_VALUE:
            raise KeyError(key)
        return result(self._checked(size, "witness"))

    def witness_absence(self, key: K) -> bytes:
        """Return a hash tree in CBOR that proves that a key is not there: the keys next to it are shown. O(log n).

        Raises `ValueError` if the key is there, and `CorruptMemory` as `witness`.

        >>> from stable_structures import CertifiedMap, MemoryManager, StableMemory, hashtree
        >>> manager = MemoryManager(StableMemory())
        >>> m = CertifiedMap[str, str](manager.get(0), manager.get(1))
        >>> m.update(ada="1", grace="2")
        >>> hashtree.HashTree.from_cbor(m.witness_absence("bob")).lookup("bob").status
        <Status.ABSENT: 'absent'>
        """
        data = self._key.encode(key)
        call = native.call
        while True:
            changes = self._changes()
            size = call.ss_certified_witness_range(self._handle, call.SS_FROM, data, len(data), call.SS_UPTO, data, len(data))
            proof = result(self._checked(size, "witness_absence"))
            is_there = key in self
            if self._changes() == changes:  # else another thread may have removed the key after the proof that it is there
                break
        if is_there:
            raise ValueError(f"witness_absence: key {key!r} is there; witness() proves what it has")
        return proof

    def witness_range(self, start: K | None = None, stop: K | None = None, *, inclusive: tuple[bool, bool] = (True, False)) -> bytes:
        """Return a hash tree in CBOR that proves all entries of a range, as `range` takes it. O(log n + entries).

        The keys next to the range are shown without their values: so it is proven to be complete. Raises `ValueError` if `stop` comes
        before `start`, and `CorruptMemory` as `witness`.

        >>> from stable_structures import CertifiedMap, MemoryManager, StableMemory, hashtree
        >>> manager = MemoryManager(StableMemory())
        >>> m = CertifiedMap[str, str](manager.get(0), manager.get(1))
        >>> m.update(a="1", b="2", c="3", d="4")
        >>> list(hashtree.walk(hashtree.HashTree.from_cbor(m.witness_range("b", "d"))))
        [((b'b',), b'2'), ((b'c',), b'3')]
        """
        from_, to = end_kinds(start, stop, inclusive)
        low = b"" if start is None else self._key.encode(start)
        high = b"" if stop is None else self._key.encode(stop)
        size = native.call.ss_certified_witness_range(self._handle, from_, low, len(low), to, high, len(high))
        return result(self._checked(size, "witness_range"))

    def hashes_bytes_used(self) -> BytesUsed:
        """Return how many bytes the hashes use, as `bytes_used` does for the map. O(1).

        >>> from stable_structures import CertifiedMap, MemoryManager, StableMemory, u64
        >>> manager = MemoryManager(StableMemory())
        >>> m = CertifiedMap[u64, u64](manager.get(0), manager.get(1))
        >>> m.insert_many(range(100), range(100))
        100
        >>> m.hashes_bytes_used().live > 0
        True
        """
        return BytesUsed(*native.usage(native.call.ss_certified_usage, self._handle))


_REHASH: Final = -1


def _require_two(memory: Any, hashes: Any) -> None:
    if native.root(memory) != native.root(hashes):
        raise ValueError(f"CertifiedMap: the map and its hashes lie in memories of one manager; give it {_TWO_MEMORIES}")
    held = [native.reserve(memory, "CertifiedMap"), native.reserve(hashes, "CertifiedMap")]
    for one in held:
        native.release(one)
