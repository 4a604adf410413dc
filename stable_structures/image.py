# SPDX-License-Identifier: Apache-2.0
"""An image at rest as structures of the library, for reading only: `open_image`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from .errors import Closed, CorruptMemory, IncompatibleType, StableError
from .inspect.fit import open_image as open_looking
from .inspect.formats.layout import Damage
from .inspect.guessed import Sides, types_of
from .inspect.image import Part, SchemaFiles
from .inspect.remote.names import is_remote, local_path
from .inspect.source import Source, Unreadable
from .memory.cached import CachedMemory
from .structures.btreemap import StableBTreeMap
from .structures.btreeset import StableBTreeSet
from .structures.cell import StableCell
from .structures.html import table
from .structures.log import StableLog
from .structures.minheap import StableMinHeap
from .structures.vec import StableVec

if TYPE_CHECKING:
    from .inspect.image import Image as Looking
    from .memory.memory import Memory, NativeMemory
    from .partitions import By, Partition

    Structure: TypeAlias = (
        StableBTreeMap[Any, Any] | StableBTreeSet[Any] | StableVec[Any] | StableMinHeap[Any] | StableLog[Any] | StableCell[Any]
    )

Id: TypeAlias = int | None

_SHOWN: Final = 20


def open_image(
    source: str | Path | Memory | bytes,
    *,
    schema: str | Path | None = None,
    did: str | Path | None = None,
    words: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Image:
    """Open an image for reading: a file, a gzip of one, the folder of a snapshot, bytes, or a memory. O(1), O(size) for a gzip.

    Its memories are structures with types. These come from the schema (docs/inspect.md#the-schema): `schema`, or memories.toml
    beside the image. What no schema says is guessed from a sample, and `Image.types` says so. Names of Candid's fields come
    from `did`, from the module in the snapshot's folder, and from `words`. A name such as `https://host/image.bin` or
    `s3://bucket/snapshot/` is read where it is, with the `storage_options` of its fsspec file system (extra `remote`).

    Nothing is written or mapped, and memory use does not follow the size of the image. Raises `Unreadable` for what is not an
    image, and `Misfit`, which is one, for a schema that does not fit it.

    >>> from stable_structures import MemoryManager, StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](MemoryManager(memory).get(3)).update({7: "Ada", 9: "Grace"})
    >>> with open_image(memory) as image:
    ...     dict(image[3])
    {7: 'Ada', 9: 'Grace'}
    """
    return Image(source, SchemaFiles(schema, did, words), storage_options)


@dataclass(frozen=True, slots=True)
class Types:
    """The types of a memory's structure; `guessed` says of key and value whether they are guesses."""

    structure: str
    """map, set, vec, heap, log or cell"""
    key: str | None
    """The type of the keys as text; None if there are no keys."""
    value: str | None
    """The type of the values or elements; None if there are none."""
    guessed: tuple[bool, bool]

    def __str__(self) -> str:
        sides = zip((self.key, self.value), self.guessed, strict=True)
        return f"{self.structure}[{', '.join(f'{name}?' if guess else name for name, guess in sides if name is not None)}]"


class Memories(Mapping[Any, "Structure"]):
    """The structures of an image by the id of their memory, in the order of the ids; they are also found by the names of the schema."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def __getitem__(self, memory: int | str | None) -> Structure:
        return self._image[memory]

    def __contains__(self, memory: object) -> bool:
        return memory in self._ids() or (isinstance(memory, str) and memory in self.names())

    def __iter__(self) -> Iterator[Id]:
        return iter(self._ids())

    def __len__(self) -> int:
        return len(self._ids())

    def _ids(self) -> list[Id]:
        return [part.id for part in self._image._looking.parts.values() if part.is_structure]

    def names(self) -> dict[str, Id]:
        """Return the ids of the memories that have names in the schema. O(memories)."""
        parts = self._image._looking.parts
        return {name: memory for memory in self._ids() if (name := parts[memory].given.name) is not None}

    def __repr__(self) -> str:
        return f"<memories of {self._image!r}>"


class Image:
    """An image at rest, for reading only; made by `open_image`. A context manager, which closes the file.

    `image[3]`, or `image["users"]` by its name in the schema, is the structure in a memory: a `StableBTreeMap`, `StableVec` and
    so on, opened when it is first asked for. Whatever would change one raises `ReadOnly`. An image that is one bare structure
    has it as `image[None]`. An image of a file can be pickled: the copy opens the file again.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({7: "Ada", 9: "Grace"})
    >>> image = open_image(memory)
    >>> image
    <Image memory: a bare map>
    >>> image[None][9], str(image.types(None)), list(image.memories)
    ('Grace', 'map[u64?, str?]', [None])
    """

    def __init__(
        self, source: str | Path | Memory | bytes, files: SchemaFiles | None = None, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        files = files or SchemaFiles()
        self._given, self._options = _anywhere(source), storage_options
        self._files = SchemaFiles(_anywhere(files.schema), _anywhere(files.did), _anywhere(files.words))
        self._looking: Looking = open_looking(source, files=files, storage_options=storage_options)
        self._opened: dict[Id, Structure] = {}
        self._memories: list[NativeMemory] = []
        self._closed = False
        self._title: str | None = None
        """Its title when it was closed; afterwards nothing can be read."""

    @property
    def name(self) -> str:
        """Return the name of the file or folder, for messages. O(1)."""
        return self._looking.name

    @property
    def title(self) -> str:
        """Return what it is, in words; of a closed image, as far as it was known. O(1), but for the first time, if it is a bare map."""
        return self._looking.title if self._title is None else self._title

    @property
    def notes(self) -> list[str]:
        """Return what a reader should know: a log beside the file, a schema that does not fit. O(1)."""
        return list(self._looking.notes)

    @property
    def memories(self) -> Memories:
        """Return its structures, as a mapping by id. O(1)."""
        return Memories(self)

    def types(self, memory: int | str | None = None) -> Types:
        """Return the types of a memory's structure, as text. O(1): of a sample. Raises as `image[memory]`."""
        part = self._part(memory)
        sides = self._sides(part)
        word = part.word.removesuffix(" index")
        return Types(word, *_names(word, sides), sides.guessed)

    def raw(self, memory: int | str | None = None) -> NativeMemory:
        """Return a memory itself, whatever it holds: for the classes of your choice, read only. O(buckets). Raises `KeyError`.

        >>> from stable_structures import StableMemory, StableVec, u64
        >>> memory = StableMemory()
        >>> StableVec[u64](memory).extend([1, 2])
        >>> list(StableVec[u64].load(open_image(memory).raw()))
        [1, 2]
        """
        return self._memory(self._part(memory))

    def __getitem__(self, memory: int | str | None) -> Structure:
        """Return the structure in a memory. O(1). Raises `KeyError` for an unknown id or name, `Unreadable` if it holds none."""
        part = self._part(memory)
        if part.id not in self._opened:
            self._opened[part.id] = self._open(part)
        return self._opened[part.id]

    def __contains__(self, memory: object) -> bool:
        return memory in self.memories

    def __iter__(self) -> Iterator[Id]:
        return iter(self.memories)

    def partitions(self, memory: int | str | None, count: int, *, by: By | None = None) -> list[Partition]:
        """Return about `count` parts of a structure that other processes read, each by itself (docs/data-out.md#partitions).

        `by`: "chunks" is a map as it lies, each part read from end to end; "keys" is a map in order, with bounds from the upper
        levels of its tree; "rows" are ranges of a vec, heap or log. All parts together have each entry once. Their count may be less
        by keys, if the map is small. O(count) by keys and rows, O(free chunks) by chunks. Raises `Unreadable` for an image
        without a name, `CorruptMemory`, and `ValueError` for what a structure is not divided by.
        """
        from .partitions import partitions  # noqa: PLC0415 - most images are read whole

        return partitions(self, self._part(memory).id, count, by)

    def _part(self, memory: int | str | None) -> Part:
        if self._closed:
            raise Closed(f"{self.name}: the image is closed; open it again")
        try:
            return self._looking.part(memory)
        except Unreadable as error:
            raise KeyError(str(error)) from None

    def _sides(self, part: Part) -> Sides:
        try:
            return types_of(part)
        except Damage as damage:
            raise CorruptMemory(f"{self.name}: {part.label}: {damage}; run check to see all of it") from None

    def _open(self, part: Part) -> Structure:
        sides, memories, kind = self._sides(part), [self._memory(part)], _CLASSES[part.word.removesuffix(" index")]
        if kind is StableLog:
            if part.data is None:
                raise Unreadable(f"{self.name}: {part.label}: the memory with its data is not known; name it in the schema: data = ID")
            memories.append(self._memory(part.data))
        types: Any = (sides.key, sides.value) if kind is StableBTreeMap else sides.value if sides.key is None else sides.key
        try:
            opened: Structure = kind[types].load(*memories)
        except IncompatibleType as error:
            if not any(sides.guessed):
                raise
            unknown = f"its types cannot be guessed from what is in it ({error})"
            raise Unreadable(f"{self.name}: {part.label}: {unknown}; give them in a schema") from None
        return opened

    def _memory(self, part: Part) -> NativeMemory:
        made = CachedMemory(_Read(part.source), part.source.nbytes) if self._is_running else part.source.memory()
        self._memories.append(made)
        return made

    @property
    def _is_running(self) -> bool:
        """Return whether it is a memory that a program may use meanwhile: its structures are not ours to open."""
        return not isinstance(self._given, (str, Path, bytes))

    def close(self) -> None:
        """Close the file, and its structures, which raise `Closed` then. Closing twice is allowed. O(memories)."""
        if self._closed:
            return
        self._title, self._closed = self._looking.known_title, True
        self._opened.clear()
        while self._memories:
            self._memories.pop().close()
        self._looking.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `pickle` for images of files: what they were opened from."""
        if self._is_running:
            raise TypeError(f"{self!r} cannot be pickled: it is an image of a memory in this process; save it as a file, and open that")
        return Image, (self._given, self._files, self._options)

    def _repr_html_(self) -> str:
        """Return a table for notebooks: the memories, with names, structures, types and lengths. O(memories)."""
        if self._closed:
            return table(repr(self), [], [])
        rows = []
        for part in self._looking.parts.values():
            if part.is_structure:
                types = str(self.types(part.id)) if part.id in self else ""
                rows.append(["" if part.id is None else part.id, part.given.name or "", types, _length(self, part.id)])
            else:
                rows.append(["" if part.id is None else part.id, part.given.name or "", part.title, ""])
        return table(f"{self.name}: {self.title}", ["memory", "name", "holds", "entries"], rows, "? marks a guess; a schema says it")

    def __repr__(self) -> str:
        return f"<Image {self.name}: {self.title}{', closed' if self._closed else ''}>"


def _length(image: Image, memory: Id) -> str:
    """Return how many entries a memory has, or what is wrong with it."""
    try:
        found = image[memory]
        return "1" if isinstance(found, StableCell) else f"{len(found):,}"
    except (StableError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def _anywhere(given: Any) -> Any:
    """Return a name that leads to the same file from every working directory: copies of an image are opened in other processes. O(1)."""
    if isinstance(given, str) and not is_remote(given):
        given = Path(local_path(given))
    try:
        return given.absolute() if isinstance(given, Path) else given
    except OSError:  # there is no working directory any more; opening it says so
        return given


class _Read:
    """A source as a cached memory asks it."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def fetch(self, offset: int, length: int) -> bytes:
        """Return the bytes."""
        return self._source.read(offset, length)


_CLASSES: Final[dict[str, Any]] = {
    "map": StableBTreeMap,
    "set": StableBTreeSet,
    "vec": StableVec,
    "heap": StableMinHeap,
    "log": StableLog,
    "cell": StableCell,
}


def _names(word: str, sides: Sides) -> tuple[str | None, str | None]:
    key = None if sides.key is None else sides.key.name
    return key, None if word == "set" or sides.value is None else sides.value.name
