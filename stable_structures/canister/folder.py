# SPDX-License-Identifier: Apache-2.0
"""A canister as the folder of a snapshot, as dfx, icp-cli and Juno download it, and as the harness writes it (as dfx does).

    metadata.json       sizes, globals, certified data, version, timer
    wasm_module.bin     the module
    wasm_memory.bin     the heap
    stable_memory.bin   the stable memory; absent if it is empty

Reading copies nothing: heap and stable memory read the files directly, which are never written and must not change. A folder
is written under another name beside its target, and moved there when it is complete:

    .NAME.new-xxxxxxxx  the new one, until it is complete
    .NAME.old-xxxxxxxx  the old one, for a moment, where the system cannot exchange two folders

Only a snapshot is replaced, and other files in its folder stay.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..encodings.limits import whole_number
from ..errors import SourceError
from ..memory.folders import inside, remove_folder, sync_folder
from ..memory.memory import PAGE_SIZE, NativeMemory
from .core import exchange_paths

METADATA: Final = "metadata.json"
MODULE, HEAP, STABLE = "wasm_module.bin", "wasm_memory.bin", "stable_memory.bin"
_JUNO: Final = {MODULE: ("wasmModule", "wasm-code.bin"), HEAP: ("heap", "heap.bin"), STABLE: ("stableMemory", "stable.bin")}
_PROGRESS: Final = ".download_progress.json"
_LARGEST_METADATA: Final = 64 << 20
_LARGEST_MODULE: Final = 128 << 20
"""More than the 100 MiB of a module that the platform installs, packed or not."""
_STEP: Final = 1 << 20
COUNTERS: Final = 1 << 63
"""Versions and times of a folder are less, so that they fit 64 bits while they count on. What comes to it is saved as one less."""
_KINDS: Final = ("i32", "i64", "f32", "f64", "v128")
_RANGES: Final = {"i32": range(-(1 << 31), 1 << 32), "i64": range(-(1 << 63), 1 << 64), "v128": range(1 << 128)}
"""What a global of integers holds, with or without a sign."""
_OF_SNAPSHOTS: Final = {METADATA, MODULE, HEAP, STABLE, _PROGRESS, *(name for _, name in _JUNO.values())}


@dataclass
class Folder:
    """The content of a folder."""

    path: Path
    module: bytes
    heap: Path | None
    heap_size: int
    stable: Path | None
    stable_pages: int
    globals: list[tuple[int, int | float]]
    certified_data: bytes
    version: int
    taken_at: int
    global_timer: int
    """When it is due; 0 if it is not set, or if the snapshot was taken from a running canister."""


def read_folder(path: str | os.PathLike[str]) -> Folder:
    """Read the metadata of a folder and compare the files with it. O(size of the module).

    Raises `SourceError` for an invalid or incompletely downloaded snapshot.
    """
    folder = Path(path)
    given = _metadata(folder)
    names = _names(given)
    if (folder / _PROGRESS).exists():
        raise SourceError(f"{folder}: the download is not finished ({_PROGRESS} exists); resume it")
    known = given["metadata"] if "metadata" in given and isinstance(given["metadata"], dict) else given
    known = {_snake(name): _plain(value) for name, value in known.items()}
    sizes = {name: _number(folder, known, key) for name, key in _SIZES.items()}
    paths = {name: _file(folder / names[name], sizes[name]) for name in (MODULE, HEAP, STABLE)}
    module = paths[MODULE]
    if module is None:
        raise SourceError(f"{folder}: the snapshot has no module, so it was taken of an empty canister; take one of an installed canister")
    if sizes[STABLE] % PAGE_SIZE or sizes[HEAP] % PAGE_SIZE:
        raise SourceError(f"{folder / METADATA}: sizes of memories must be whole pages of {PAGE_SIZE} bytes; download the snapshot again")
    return Folder(
        folder,
        _read_module(module, sizes[MODULE]),
        paths[HEAP],
        sizes[HEAP],
        paths[STABLE],
        sizes[STABLE] // PAGE_SIZE,
        _globals(known.get("globals"), folder),
        _bytes(known.get("certified_data"), folder),
        _number(folder, known, "canister_version", missing=0, limit=COUNTERS),
        _number(folder, known, "taken_at_timestamp", missing=0, limit=COUNTERS),
        _timer(known.get("global_timer"), folder),
    )


_SIZES: Final = {MODULE: "wasm_module_size", HEAP: "wasm_memory_size", STABLE: "stable_memory_size"}


def _metadata(folder: Path) -> dict[str, Any]:
    path = folder / METADATA
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would have to be waited for
            raise SourceError(f"{path}: this is not a regular file; pass the folder that dfx, icp or juno downloaded")
        if found.st_size > _LARGEST_METADATA:
            raise SourceError(f"{path}: {found.st_size} bytes are too many for metadata; is this a snapshot folder?")
        given = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise SourceError(f"{folder}: not a snapshot: {METADATA} not found; pass the folder that dfx, icp or juno downloaded") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot read it: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: invalid JSON: {error}; download the snapshot again") from None
    if not isinstance(given, dict):
        raise SourceError(f"{path}: the JSON is not a snapshot's metadata; download it again")
    return given


def _names(given: dict[str, Any]) -> dict[str, str]:
    """Return the names of the files; Juno's metadata contain them."""
    data = given.get("data")
    if "snapshotId" not in given and not isinstance(data, dict):
        return {name: name for name in (MODULE, HEAP, STABLE)}
    out = {}
    for name, (key, usual) in _JUNO.items():
        one = data.get(key) if isinstance(data, dict) else None
        out[name] = Path(str(one.get("filename", usual))).name if isinstance(one, dict) else usual
    return out


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _plain(value: Any) -> Any:
    """Return a value; Juno writes large numbers and bytes as objects with one key."""
    if isinstance(value, dict) and "__bigint__" in value:
        return whole_number(value["__bigint__"])
    if isinstance(value, dict) and "__uint8array__" in value:
        return value["__uint8array__"]
    return value


def _number(folder: Path, known: dict[str, Any], key: str, missing: int | None = None, limit: int = 1 << 64) -> int:
    """Return a number of the metadata; `missing` if they do not have it, where that may be."""
    value = whole_number(known.get(key))
    value = missing if value is None else value
    if not isinstance(value, int) or not 0 <= value < limit:
        raise SourceError(f"{folder / METADATA}: {key} is {_shown(value)}; this is not a snapshot's metadata")
    return value


def _shown(value: object) -> str:
    return f"{value!r:.80}"


def _file(path: Path, size: int) -> Path | None:
    if size == 0:
        return None
    try:
        found = path.stat().st_size if path.is_file() else 0
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: cannot read it: {getattr(error, 'strerror', None) or error}") from None
    if found < size:
        raise SourceError(f"{path}: it has {found} of {size} bytes: the download stopped too early; download it again, or use --resume")
    return path


def _read_module(path: Path, size: int) -> bytes:
    if size > _LARGEST_MODULE:
        raise SourceError(f"{path}: a module of {size} bytes is larger than any that the platform installs; is this a snapshot folder?")
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise SourceError(f"{path}: cannot read it: {error.strerror}") from None


def _bytes(value: Any, folder: Path) -> bytes:
    with contextlib.suppress(TypeError, ValueError):
        if value is None or isinstance(value, list):
            return bytes(value or [])
    raise SourceError(f"{folder / METADATA}: certified_data is not bytes; download the snapshot again")


def _globals(values: Any, folder: Path) -> list[tuple[int, int | float]]:
    if values is None or isinstance(values, list):
        return [_global(one, folder) for one in values or []]
    raise SourceError(f"{folder / METADATA}: globals are {_shown(values)}, not a list; download the snapshot again")


def _global(value: Any, folder: Path) -> tuple[int, int | float]:
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        ((kind, number),) = value.items() if isinstance(value, dict) else [("", None)]
        kind, number = kind.lower(), _plain(number)
        if kind == "v128" and isinstance(number, list):
            number = sum(digit << 32 * place for place, digit in enumerate(number))
        if kind in _RANGES and isinstance(number, int) and number in _RANGES[kind]:
            return _KINDS.index(kind), number
        if kind.startswith("f") and kind in _KINDS and isinstance(number, (int, float)):
            return _KINDS.index(kind), float(number)
    raise SourceError(f"{folder / METADATA}: invalid value {_shown(value)} of a global; download the snapshot again")


def _timer(value: Any, folder: Path) -> int:
    active = _plain(value["active"]) if isinstance(value, dict) and "active" in value else 0
    return _number(folder, {"global_timer": active}, "global_timer")


# ---- writing ----


def memory_parts(memory: NativeMemory) -> Iterator[tuple[int, bytes]]:
    """Iterate over offset and bytes of the parts of a memory that are not all zeros. O(size)."""
    zeros = bytes(_STEP)
    for offset in range(0, memory.nbytes, _STEP):
        part = memory.read(offset, min(_STEP, memory.nbytes - offset))
        if part != zeros[: len(part)]:
            yield offset, part


@dataclass
class State:
    """The state to write."""

    module: bytes
    heap_size: int
    heap: Iterable[tuple[int, bytes]]
    stable_size: int
    stable: Iterable[tuple[int, bytes]]
    globals: list[tuple[int, int | float]]
    certified_data: bytes
    version: int
    taken_at: int
    global_timer: int


def write_folder(path: str | os.PathLike[str], state: State, extra: dict[str, str] | None = None) -> None:
    """Write a folder, all or nothing; replaces the snapshot in it. `extra` are additional text files. O(bytes that are not zero).

    After a power loss there is either the old or the new one. Raises `SourceError` if something else than a snapshot is there.
    """
    target = Path(os.path.realpath(path))
    _check_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    made = _beside(target, "new")
    try:
        _write(made / MODULE, len(state.module), [(0, state.module)])
        _write(made / HEAP, state.heap_size, state.heap)
        if state.stable_size:
            _write(made / STABLE, state.stable_size, state.stable)
        for name, text in (extra or {}).items():
            _write(made / name, len(text.encode()), [(0, text.encode())])
        text = json.dumps(_metadata_of(state), indent=2)
        _write(made / METADATA, len(text.encode()), [(0, text.encode())])
        made.chmod(0o755)
        _carry_over(target, made)
        sync_folder(made)
        replace_folder(made, target)
    except BaseException:
        remove_folder(made)
        raise


def check_is_new(path: str | os.PathLike[str]) -> None:
    """Raise `SourceError` if a path is neither free nor an empty folder. O(1)."""
    if os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path)):  # noqa: PTH112, PTH208 - of any path
        raise SourceError(f"{path}: folder or file already exists; choose a new or empty folder, or remove it")


def _check_replaceable(target: Path) -> None:
    if not _is_snapshot(target):
        check_is_new(target)


def _is_snapshot(folder: Path) -> bool:
    """Return whether a folder is one; other programs have files of that name too."""
    try:
        given = _metadata(folder)
    except SourceError:
        return False
    return _SIZES[MODULE] in given or {"data", "metadata"} <= given.keys()


def _carry_over(old: Path, new: Path) -> None:
    """Keep what somebody put beside a snapshot, such as a schema: as links, so that it is in both folders until one is removed."""
    for entry in inside(old):
        if entry.name not in _OF_SNAPSHOTS and not os.path.lexists(new / entry.name):
            _link(entry, new / entry.name)


def _link(entry: Path, new: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        new.mkdir()
        for inner in entry.iterdir():
            _link(inner, new / inner.name)
        return
    try:
        os.link(entry, new, follow_symlinks=False)
    except OSError:  # a file system without links
        shutil.copy2(entry, new, follow_symlinks=False)


def _beside(target: Path, kind: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{target.name}.{kind}-", dir=target.parent))


def settle(target: Path) -> None:
    """Remove what a killed writer left beside a folder; put the folder back if the writer had moved it away. The caller holds its lock."""
    for old in _left(target, "old"):
        if target.exists():
            remove_folder(old)
        else:
            old.rename(target)
    for new in _left(target, "new"):
        remove_folder(new)


def _left(target: Path, kind: str) -> list[Path]:
    ours = re.compile(re.escape(f".{target.name}.{kind}-") + "[a-z0-9_]{8}")
    return [entry for entry in inside(target.parent) if ours.fullmatch(entry.name)]


def replace_folder(made: Path, target: Path) -> None:
    """Replace a folder by another one."""
    if target.exists():
        exchange(made, target)
        remove_folder(made)
    else:
        made.rename(target)
    sync_folder(target.parent)


def exchange(one: Path, other: Path) -> None:
    """Exchange two folders in one step if the system can, otherwise in two, each of which may be the last before a crash."""
    if not exchange_paths(str(one), str(other)):
        aside = _beside(other, "old")
        try:
            other.rename(aside)
            one.rename(other)
        except BaseException:
            if other.exists():
                remove_folder(aside)
            else:
                aside.rename(other)
            raise
        aside.rename(one)


def _write(path: Path, size: int, parts: Iterable[tuple[int, bytes]]) -> None:
    with path.open("wb") as file:
        for offset, data in parts:
            file.seek(offset)
            file.write(data)
        file.truncate(size)
        file.flush()
        os.fsync(file.fileno())


def _metadata_of(state: State) -> dict[str, Any]:
    return {
        "source": {"metadata_upload": None},
        "taken_at_timestamp": min(state.taken_at, COUNTERS - 1),
        "wasm_module_size": len(state.module),
        "globals": [{_KINDS[kind]: _digits(value) if _KINDS[kind] == "v128" else value} for kind, value in state.globals],
        "wasm_memory_size": state.heap_size,
        "stable_memory_size": state.stable_size,
        "wasm_chunk_store": [],
        "canister_version": min(state.version, COUNTERS - 1),
        "certified_data": list(state.certified_data),
        "global_timer": {"active": state.global_timer} if state.global_timer else "inactive",
        "on_low_wasm_memory_hook_status": "condition_not_satisfied",
    }


def _digits(value: float) -> list[int]:
    out, rest = [], int(value)
    while rest:
        out.append(rest & 0xFFFFFFFF)
        rest >>= 32
    return out
