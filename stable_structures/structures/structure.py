# SPDX-License-Identifier: Apache-2.0
"""What all structures share: how they are opened, checked, measured and released."""

from __future__ import annotations

from itertools import islice
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from .. import _native as native
from ..errors import CorruptMemory, IncompatibleType, StableError
from ..memory.memory import Memory
from ..memory.stored import Stored
from ..storable import Codec, codec
from ..storable.lifetimes import kept_for
from .html import FIRST, table
from .misfit import LOOKED_AT, is_damage, misfit, tried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


class Structure(Stored):
    """Base of the structures. `S[types](memory)` loads an existing structure, or creates one on an empty memory.

    A memory is empty if it has no pages, or if every byte is zero. Holes of a file that was not written since it was opened are
    known to be zeros without reading them; of the rest, at most 256 MiB are read, up to the first byte that is not zero. A
    memory with anything else, or with more zeros than that, raises `BadMagic`, which says what is there; nothing is changed.
    `S[types].new(memory)` **overwrites** whatever is there.

    >>> from stable_structures import StableCell, StableMemory, StableVec, u64
    >>> memory = StableMemory()
    >>> StableCell[u64](memory, 7).get()
    7
    >>> StableVec[u64](memory)
    Traceback (most recent call last):
    stable_structures.errors.BadMagic: ...
    """

    _parameters: ClassVar[str] = "T"
    _codecs: ClassVar[tuple[Codec[Any], ...]] = ()
    _special: ClassVar[dict[tuple[type, tuple[Codec[Any], ...]], type[Any]]] = {}
    _generation: memoryview
    _opened_on = (*Stored._opened_on, "_generation")

    @classmethod
    def _specialise(cls, types: Any) -> type[Self]:
        """Return the class for these types, made once: it knows its codecs and has the methods for numbers if they fit."""
        given = types if isinstance(types, tuple) else (types,)
        if cls._codecs:
            raise TypeError(f"{cls.__name__} already has its types; use it as it is")
        count = len(cls._parameters)
        if len(given) != count:
            raise TypeError(f"{cls.__name__}[{', '.join(cls._parameters)}] takes {count} type{'s' * (count > 1)}, got {len(given)}")
        codecs = tuple(codec(tp) for tp in given)
        key = (cls, codecs)
        special = Structure._special.get(key)
        if special is None:
            table = kept_for(codecs, Structure._special)
            special = table.get(key)
        if special is None:
            name = f"{cls.__name__}[{', '.join(c.name for c in codecs)}]"
            cls._check_types(codecs)
            body = {"_codecs": codecs, "__module__": cls.__module__, "__qualname__": name, "__doc__": cls.__doc__}
            body.update(cls._specialised(codecs))
            special = table.setdefault(key, type(name, (cls,), body))
        return special

    @classmethod
    def _check_types(cls, codecs: tuple[Codec[Any], ...]) -> None:
        """Raise `IncompatibleType` if the structure cannot hold these types."""

    @classmethod
    def _specialised(cls, codecs: tuple[Codec[Any], ...]) -> dict[str, Any]:  # noqa: ARG003 - for those that override it
        """Return the attributes of the class for these types, apart from its codecs."""
        return {}

    _hot: ClassVar[tuple[str, ...]] = ()
    """The methods of which each class for types has its own copy."""

    @classmethod
    def _own_methods(cls, forms: dict[str, Any]) -> dict[str, Any]:
        """Copy of the hot methods: of the ones for numbers (`forms`), else of the general ones; but not of a user's own."""
        made = {}
        for name in cls._hot:
            general = getattr(cls, name)
            if general.__module__.startswith(f"{__package__}."):
                made[name] = _copied(forms.get(name, general), general)
        return made

    def _tell_apart(self, error: BaseException) -> None:
        if not is_damage(error):
            return
        try:
            self._check()
            found = tried(self._codecs, self._sample(LOOKED_AT))
        except StableError:
            return
        if found.is_misfit:
            raise misfit(type(self).__name__, error.rule or str(error), found.sizes) from error

    def _fail(self, status: int, operation: str) -> NoReturn:
        """Raise as `native.fail`, but report wrong types if those are the cause."""
        try:
            native.fail(status, operation)
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _checked(self, status: int, operation: str) -> int:
        """Check as `native.check`, but report wrong types if those are the cause."""
        return status if status >= 0 else self._fail(status, operation)

    def _result_number(self, operation: str) -> int:
        """Return as `native.result_number`, but report wrong types if those are the cause."""
        return native.result_number(operation, self._fail)

    def _made(self, decode: Callable[[bytes], Any], data: bytes) -> Any:
        """Return a value decoded from bytes; if that fails, check whether the types are wrong."""
        try:
            return decode(data)
        except CorruptMemory as error:
            self._tell_apart(error)
            raise

    def _sample(self, most: int) -> Iterable[Sequence[bytes]]:
        """Return the first entries, encoded, each as its parts."""
        raise NotImplementedError

    def _require_types(self) -> None:
        if not self._codecs:
            name = type(self).__name__
            raise IncompatibleType(f"{name} needs its types: write {name}[{', '.join(self._parameters)}](memory)")

    def _open_handle(self, memory: Memory, opened: Callable[[Any, Any], int]) -> None:
        """Open as `_take_memory` does, after checking that the class has its types."""
        self._require_types()
        self._take_memory(memory, opened)
        self._generation = native.generation(self._native_memory._handle)

    def into_memory(self) -> Memory:
        """Release the memory and return it; from then on the structure raises `Closed`. O(1).

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> memory = StableMemory()
        >>> StableVec[u64](memory).into_memory() is memory
        True
        """
        native.check(getattr(native.call, f"ss_{self._c_name}_detach")(self._handle), "into_memory")
        return self.memory

    def copy_into(self, target: Structure, progress: Callable[[int, int], object] | None = None) -> None:
        """Copy everything into another structure of the same kind, which may have other types, such as a larger bound.

        Values are decoded with the types of this structure and encoded with those of the target, in batches; after each batch
        `progress(done, total)` is called. If a value does not fit, its error is raised, this structure is unchanged, and the target
        holds the batches before it. O(n), or O(n log n) into a map or set.

        >>> from stable_structures import Blob, StableBTreeMap, StableMemory, u64
        >>> old = StableBTreeMap[u64, Blob(4)](StableMemory())
        >>> old[1] = b"abcd"
        >>> new = StableBTreeMap[u64, bytes](StableMemory())
        >>> old.copy_into(new, print)
        1 1
        >>> new[1]
        b'abcd'
        """
        if (self._c_name, len(self._codecs)) != (target._c_name, len(target._codecs)) or target is self:  # map and set are B-trees
            raise IncompatibleType(f"copy_into: the target of a {type(self).__name__} must be of the same kind, got {target!r}")
        done, total = 0, self._count()
        for batch in self._batches():
            target._absorb(batch)
            done += len(batch)
            if progress is not None:
                progress(done, total)

    def _batches(self) -> Iterator[list[Any]]:
        """Return the content of the structure, in batches of limited size."""
        raise NotImplementedError

    def _absorb(self, batch: list[Any]) -> None:
        """Add one of those batches."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """Return a table for notebooks: the first entries, the types and the sizes. O(log n)."""
        try:
            rows = [*islice(self._shown(), FIRST + 1)]
            count, used = self._count(), self.bytes_used()
        except Exception as error:  # noqa: BLE001 - a notebook shows an error in the place of the table
            return table(repr(self), ["error"], [[f"{type(error).__name__}: {error}"]])
        more = f", the first {FIRST} shown" if len(rows) > FIRST else ""
        under = f"{count:,} entries{more}; {used.live:,} bytes used of {used.reserved:,}"
        return table(type(self).__name__, self._shown_names(), rows[:FIRST], under)

    def _shown_names(self) -> list[str]:
        """Return the names of the columns, with their types."""
        names = ("key", "value") if len(self._codecs) > 1 else ("value",)
        return [f"{name}: {codec.name}" for name, codec in zip(names, self._codecs, strict=True)]

    def _shown(self) -> Iterator[Sequence[Any]]:
        """Return the entries as rows of a table."""
        return ([value] for value in self)  # type: ignore[attr-defined]

    def is_empty(self) -> bool:
        """Return whether there is nothing in it. O(1).

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> StableVec[u64](StableMemory()).is_empty()
        True
        """
        return self._count() == 0

    def _count(self) -> int:
        """Return the number of values."""
        return len(self)  # type: ignore[arg-type]


def _copied(method: FunctionType, general: FunctionType) -> FunctionType:
    """Return a copy of a method with the docstring of the general one.

    The interpreter keeps what it has learnt about attributes together with the code. Code that serves classes of several types learns
    nothing: the copy costs a class some kilobytes, and saves a call up to a tenth of its time.
    """
    made = FunctionType(method.__code__.replace(), method.__globals__, general.__name__, method.__defaults__, method.__closure__)
    made.__doc__, made.__module__, made.__qualname__ = general.__doc__, general.__module__, general.__qualname__
    made.__annotations__ = general.__annotations__
    return made


def length_problem(length: int, what: str) -> CorruptMemory:
    """For a length that Python's `len` cannot give."""
    return CorruptMemory(f"{what}: invalid length {length}; run check()")
