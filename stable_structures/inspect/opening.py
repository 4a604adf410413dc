# SPDX-License-Identifier: Apache-2.0
"""How a name becomes an image: files, pipes, snapshots, objects on other machines, each with the log and the schema beside it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ..encodings.candid.codec import NO_NAMES
from ..encodings.candid.names import Names, names_in, names_of_sections
from ..encodings.wasm import custom_sections
from ..errors import SourceError
from ..memory.memory import PAGE_SIZE, Memory
from . import missing
from .formats.gzipped import MAGIC as GZIP
from .formats.gzipped import unzip
from .formats.layout import Damage, Finding
from .formats.managed import read_manager
from .formats.motoko import stable_variables
from .formats.recognise import Recognition, recognise
from .formats.snapshot import METADATA, STABLE_NAMES, Snapshot, is_of_snapshot, open_snapshot
from .formats.unnamed import drained
from .formats.wal import LOG_MAGIC, LoggedObject, LoggedSource, WalContents, read_far_log, read_log
from .formats.zstd import is_zstd, unzstd
from .image import Image, Part, SchemaFiles, parts_of, tell
from .remote.place import Place, RemotePlace, place_of, read_beside
from .remote.source import RemoteSource
from .schema import Schema, find_schema, read_schema, read_text
from .source import BytesSource, FileSource, MemorySource, Progress, Source, Unreadable, no_progress
from .writing import descriptor_of


def open_unchecked(
    what: str | Path | Memory | bytes,
    progress: Progress = no_progress,
    files: SchemaFiles | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Image:
    """Open as `fit.open_image`, without a look at whether the schema fits."""
    path = place_of(what, storage_options) if isinstance(what, (str, Path)) else None
    if isinstance(path, RemotePlace):
        path = _as_folder(path)
    schema = _schema_of(path, files or SchemaFiles())
    if path is not None:
        image = _open_path(path, progress) if isinstance(path, Path) else _open_remote(path, progress)
    else:
        assert not isinstance(what, (str, Path))  # noqa: S101 - asked above
        image = _image("memory", BytesSource(what) if isinstance(what, bytes) else MemorySource(what), None)
    image.names = names_of(schema, image.snapshot, None if files is None else files.words)
    _tell(image, schema)
    if image.recognition.kind == "motoko-dump":
        image.recognition.facts |= stable_variables(image.source, image.names)
    return image


def _schema_of(path: Place | None, files: SchemaFiles) -> Schema:
    if files.schema is not None:
        return read_schema(files.schema, did=files.did)
    beside = None if path is None else find_schema(path)
    if beside is None:
        return Schema(did=None if files.did is None else place_of(files.did))
    return read_schema(beside, given=False, did=files.did)


def names_of(schema: Schema, snapshot: Snapshot | None, words: str | Path | None) -> Names:
    """Return the names that fields may have. Raises `Unreadable` for an interface or words that cannot be read."""
    texts = [None if path is None else read_text(place_of(path)) for path in (schema.did, words or schema.words)]
    did, more = ((lambda text=text: {} if text is None else names_in(text)) for text in texts)
    return Names([did, lambda: _names_of_module(snapshot), more])


def _names_of_module(snapshot: Snapshot | None) -> Mapping[int, str]:
    """Return the names in the module of a snapshot; none if it is not there, or damaged."""
    if snapshot is None or snapshot.module is None:
        return NO_NAMES
    try:
        return names_of_sections(custom_sections(read_beside(snapshot.module)))
    except (SourceError, OSError, MemoryError) as error:
        snapshot.notes.append(f"{snapshot.module.name}: no names of Candid fields can be taken from it: {error}")
        return NO_NAMES


def _tell(image: Image, schema: Schema) -> None:
    """Set what the schema says of each memory."""
    image.schema = schema
    tell(image.parts, schema, image.names)


_NO_IMAGES: Final = frozenset({".toml", ".did", ".txt", ".md", ".json", ".csv", ".jsonl", ".cbor", ".parquet", ".html", ".wasm"})


def images_in(path: str) -> list[str]:
    """Return what there is to open in a folder that is not a snapshot: its files and the snapshots below it; else the path. O(files).

    Logs are left out, names that begin with a dot, and what is named as a text, a dump or a module. Raises `Unreadable` for a
    folder without an image.
    """
    folder = Path(path)
    if not folder.is_dir() or (folder / METADATA).exists():
        return [path]
    try:
        found = [str(one) for one in sorted(folder.iterdir()) if _may_be_image(one)]
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from error
    logs = {f"{one}-wal" for one in found}
    inner = [each for one in found if one not in logs for each in (_images_below(one) if Path(one).is_dir() else [one])]
    if not inner:
        raise Unreadable(f"{path}: a folder without an image or a snapshot")
    return inner


def all_images_in(given: list[str]) -> list[str]:
    """Return what there is to open in each of these. Where there are several, one without an image is named itself, as if it were one.

    Whoever opens it says what is wrong with it, and goes on with the others. O(files). Raises `Unreadable` for a single one.
    """
    if len(given) == 1:
        return images_in(given[0])
    found: list[str] = []
    for path in given:
        try:
            found += images_in(path)
        except Unreadable:
            found.append(path)
    return found


def _may_be_image(path: Path) -> bool:
    return not (path.name.startswith(".") or path.suffix in _NO_IMAGES or path.is_symlink())


def _images_below(folder: str) -> list[str]:
    """Return what is in a folder inside; one that cannot be read, or is empty, is named itself, so that whoever opens it says so."""
    try:
        return images_in(folder)
    except Unreadable as error:
        return [folder] if isinstance(error.__cause__, OSError) or not any(Path(folder).iterdir()) else []


def _open_path(path: Path, progress: Progress) -> Image:
    descriptor = descriptor_of(path)
    if descriptor is not None:
        name = "standard input" if descriptor == 0 else str(path)
        return _image(name, _open_descriptor(descriptor, path, name, progress), None)
    try:
        if path.is_dir():
            return _open_folder(path, progress)
        if path.name == METADATA and path.exists():
            return _open_folder(path.parent, progress)
        if is_of_snapshot(path):
            return _open_folder(path.parent, progress)
    except Unreadable:
        raise
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from None
    return _image(str(path), _open_file(path, progress), None)


def _as_folder(place: RemotePlace) -> RemotePlace:
    """Return the name with a slash at its end, if there is no object of it, but the metadata of a snapshot below it; else as it is.

    So whatever lies beside an image is looked for in the folder, as it is on this machine. O(1). Raises `Unreadable`.
    """
    if place.is_dir() or place.name == METADATA or place.exists():
        return place
    metadata = place / METADATA
    return metadata.parent if metadata.exists() else place


def _open_remote(place: RemotePlace, progress: Progress) -> Image:
    """Open an object, or the folder of a snapshot."""
    if place.is_dir():
        return _open_folder(place, progress)
    if place.name == METADATA or (place.name in STABLE_NAMES and is_of_snapshot(place)):
        return _open_folder(place.parent, progress)
    return _image(str(place), _open_far(place, progress), None)


def _open_far(place: RemotePlace, progress: Progress) -> Source:
    source = RemoteSource(place.object())
    unpack = _unpacker(source)
    if unpack is not None:
        return unpack(source, progress, str(place))
    return _with_far_log(source, place, place.parent / f"{place.name}-wal")


def _with_far_log(source: RemoteSource, place: RemotePlace, log: RemotePlace) -> RemoteSource:
    """Return the object as the log beside it makes it, as `_with_log` does for a file."""
    try:
        if not log.is_offered() or log.object().fetch(0, min(len(LOG_MAGIC), log.object().nbytes)) != LOG_MAGIC:
            return source
        found = read_far_log(log, source.nbytes)
    except Unreadable as error:
        _without_log(source, log.name, error)
        return source
    source.is_memory = found.damage is None and not found.records
    if not _is_applied(source, found):
        return source
    logged = RemoteSource(LoggedObject(place.object(), found))
    _say_applied(logged, source, found)
    return logged


def _open_folder(folder: Place, progress: Progress) -> Image:
    snapshot = open_snapshot(folder)
    stable = snapshot.stable_memory
    source: Source = (
        BytesSource(b"") if stable is None else _open_file(stable, progress) if isinstance(stable, Path) else _open_far(stable, progress)
    )
    image = _image(str(folder), source, snapshot)
    image.notes += snapshot.notes
    return image


def _open_descriptor(descriptor: int, path: Path, name: str, progress: Progress) -> FileSource:
    """Return what a pipe gives until it ends, or the file that is open as this descriptor."""
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return _open_file(path, progress)
    except OSError as error:
        raise Unreadable(f"{name}: cannot be read: {error.strerror}") from None
    source = drained(descriptor, name)
    unpack = _unpacker(source)
    return source if unpack is None else unpack(source, progress, name)


def _unpacker(source: Source) -> Callable[[Source, Progress, str], FileSource] | None:
    """Return what unpacks a source; None if it is not packed."""
    head = source.head(4)
    return unzip if head.startswith(GZIP) else unzstd if is_zstd(head) else None


def _open_file(path: Path, progress: Progress) -> FileSource:
    source = FileSource(path)
    log = log_beside(path)
    unpack = _unpacker(source)
    if unpack is not None:
        source = unpack(source, progress, "")
        if log is not None:
            word = "gzip" if unpack is unzip else "zstd file"
            source.notes.append(f"{log.name} lies beside it, but a {word} has no log: what is shown is the {word} alone")
        return source
    if source.is_written():
        source.notes.append("a program has it open for writing at this moment: what is shown may be of several commits, and look damaged")
    return source if log is None else _with_log(source, log)


def log_beside(path: Path) -> Path | None:
    """Return the log that belongs to a file: it lies beside the file itself, wherever links to it are."""
    log = Path(f"{path.resolve()}-wal")
    return log if log.exists() or log.is_symlink() else None


def _with_log(source: FileSource, path: Path) -> FileSource:
    """Return the file as the log beside it makes it, if that is known; neither is written."""
    try:
        log = read_log(path, source)
    except Unreadable as error:
        _without_log(source, path.name, error)
        return source
    if log is None:
        return source
    source.is_memory = log.damage is None and not log.records
    if not _is_applied(source, log):
        return source
    source.close()
    logged = LoggedSource(source.path, log)
    logged.begin_with(source)  # the log was read in between
    _say_applied(logged, source, log)
    return logged


_BESIDE: Final = "lies beside it: a program has the memory open, or ended without closing it"


def _without_log(source: Source, name: str, error: Unreadable) -> None:
    source.problems.append(Finding(None, "log", f"the log beside a file can be read ({error})", 0, 0, "unreadable", ""))
    source.notes.append(f"{name} {_BESIDE}; it cannot be read ({error}), and this is the file alone")


def _is_applied(source: Source, log: WalContents) -> bool:
    """Return whether the records of a log are to be laid over a source; say of it what is wrong with the log, or why not."""
    name = log.path.name
    if log.damage is not None:
        source.problems.append(log.damage)
        rule = log.damage.rule.removeprefix(f"{name}: ")
        source.notes.append(f"{name} is damaged behind its record {log.records}, and opening the memory will be refused: {rule}")
    elif not log.records:
        source.notes.append(f"{name} {_BESIDE}; it holds no changes, all is in the file")
    if log.records and not log.is_of_file:
        pages = f"{log.base_pages} to {log.pages} pages"
        source.notes.append(f"{name} lies beside it, but is not of this file ({pages}), and this is the file alone")
    return log.is_of_file


def _say_applied(logged: Source, source: Source, log: WalContents) -> None:
    logged.problems += source.problems
    applied = f"{log.path.name} {_BESIDE}; shown is what was committed, {log.records} records of the log over the file"
    logged.notes = [*source.notes, applied]


def _image(name: str, source: Source, snapshot: Snapshot | None) -> Image:
    recognition = recognise(source)
    image = Image(name, source, recognition, snapshot, notes=list(source.notes))
    if source.nbytes == 0 and snapshot is None and isinstance(source, (FileSource, RemoteSource)) and not source.is_memory:
        image.recognition = recognition = Recognition(
            "empty", "a file of 0 bytes: a memory without pages, or all of it is lost", certain=False
        )
    if recognition.kind != "manager":
        image.parts[None] = Part(None, source, recognition, source.nbytes // PAGE_SIZE)
    else:
        try:
            image.manager = read_manager(source)
            image.parts |= parts_of(image.manager)
        except Damage as damage:
            recognition.damage.append(str(damage))
    image.problems = missing.find(image)
    if source.nbytes == 0 and image.problems:
        image.recognition = Recognition("cut", "cut off: nothing of it is there")
        image.parts[None] = Part(None, source, image.recognition, 0)
    return image
