# SPDX-License-Identifier: Apache-2.0
"""Folders that `dfx canister snapshot download`, `icp canister snapshot download` and Juno write (docs/platform.md#snapshots-on-disk)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ...encodings.limits import whole_number
from ..remote.place import Place, place_of, read_beside
from ..source import Unreadable

METADATA: Final = "metadata.json"
STABLE_NAMES: Final = ("stable_memory.bin", "stable.bin")
"""What dfx and icp-cli, and Juno, call the stable memory's file."""
_LARGEST_METADATA: Final = 64 << 20
_PROGRESS: Final = ".download_progress.json"
_MODULES: Final = ("wasm_module.bin", "wasm-code.bin")


@dataclass(slots=True)
class Snapshot:
    """A folder: who wrote it, what its metadata say, and the stable memory's file, None if it has none."""

    folder: Place
    tool: str
    metadata: dict[str, Any]
    stable_memory: Place | None
    stable_memory_size: int
    state: str
    """complete, short, unfinished, missing, longer, or empty"""
    notes: list[str] = field(default_factory=list)

    @property
    def module(self) -> Place | None:
        """Return the file of the Wasm module, None if it is not in the folder."""
        return next((path for name in _MODULES if (path := self.folder / name).is_file()), None)

    @property
    def taken_at(self) -> datetime | None:
        """Return when it was taken, in UTC; None if its metadata do not say it."""
        found = _get(self.metadata, "taken_at_timestamp")
        try:
            return datetime.fromtimestamp(found / 1e9, UTC) if isinstance(found, int) else None
        except (ValueError, OverflowError, OSError):
            return None

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a reader wants to know of the metadata."""
        known = {
            "source": _source_of(self.metadata.get("source")),
            "taken at": _time_of(_get(self.metadata, "taken_at_timestamp")),
            "canister version": _get(self.metadata, "canister_version"),
            "Wasm module": _bytes_of(_get(self.metadata, "wasm_module_size")),
            "Wasm memory": _bytes_of(_get(self.metadata, "wasm_memory_size")),
            "stable memory": _bytes_of(self.stable_memory_size),
            "global timer": _get(self.metadata, "global_timer"),
        }
        return {name: value for name, value in known.items() if value is not None}


def open_snapshot(folder: str | Place) -> Snapshot:
    """Return the content of a folder. Raises `Unreadable` if it is not a snapshot."""
    folder = place_of(folder)
    given = _load(folder / METADATA)
    if "snapshotId" in given or "data" in given:
        try:
            return _juno(folder, given)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Unreadable(f"{folder / METADATA}: not the metadata of a snapshot of Juno: {error}; download it again") from None
    size = _number(given, "stable_memory_size", folder)
    path = folder / "stable_memory.bin"
    snapshot = Snapshot(folder, "dfx or icp-cli", given, path if path.exists() else None, size, "complete")
    if (folder / _PROGRESS).exists():
        snapshot.tool = "icp-cli"
        _judge_progress(snapshot)
    else:
        _judge(snapshot)
    return snapshot


def is_of_snapshot(path: Place) -> bool:
    """Return whether a file is the stable memory of the snapshot in whose folder it lies: then the metadata say how long it is."""
    try:
        snapshot = open_snapshot(path.parent) if path.is_file() and (path.parent / METADATA).is_file() else None
    except Unreadable:
        return False
    return snapshot is not None and snapshot.stable_memory is not None and snapshot.stable_memory.name == path.name


def _juno(folder: Place, given: dict[str, Any]) -> Snapshot:
    metadata = {_snake(name): value for name, value in dict(given.get("metadata") or {}).items()}
    stable = (given.get("data") or {}).get("stableMemory")
    name = stable.get("filename", "stable.bin") if isinstance(stable, dict) else None
    declared = _get(metadata, "stable_memory_size")
    size = int(declared if declared is not None else stable.get("size", 0) if isinstance(stable, dict) else 0)
    name = Path(str(name)).name if name else None
    if size < 0 or name in ("", "..", METADATA):
        raise ValueError(f"a stable memory of {size:,} bytes, in {name!r}")
    path = folder / name if name else None
    snapshot = Snapshot(folder, "Juno", metadata, path if path is not None and path.exists() else None, size, "complete")
    _judge(snapshot)
    return snapshot


def _judge(snapshot: Snapshot) -> None:
    """Compare the file's size with the metadata."""
    path, size = snapshot.stable_memory, snapshot.stable_memory_size
    found = 0 if path is None else path.stat().st_size
    if path is None and size:
        snapshot.state = "missing"
        snapshot.notes.append(f"the stable memory of {size:,} bytes is not in the folder: the download stopped before it; download again")
    elif found < size:
        snapshot.state = "short"
        snapshot.notes.append(
            f"the stable memory has {found:,} of {size:,} bytes: the download stopped too early; download again or go on with --resume"
        )
    elif found > size:
        snapshot.state = "longer"
        snapshot.notes.append(f"the stable memory has {found:,} bytes, the metadata say {size:,}: files of two snapshots may be mixed")
    elif size == 0:
        snapshot.state = "empty"


def _judge_progress(snapshot: Snapshot) -> None:
    """icp-cli makes the file in full size and fills it in any order; its progress file is there until it is done."""
    snapshot.state = "unfinished"
    try:
        progress = _load(snapshot.folder / _PROGRESS).get("stable_memory") or {}
        frontier = f"complete up to byte {int(progress.get('frontier', 0)):,}"
    except (Unreadable, ValueError, TypeError, AttributeError):
        frontier = "its progress file cannot be read"
    snapshot.notes.append(
        f"an unfinished download of icp-cli ({_PROGRESS} is there; the stable memory is {frontier}): "
        "what is missing reads as zeros; resume the download"
    )


def _load(path: Place) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_METADATA:
            raise Unreadable(f"{path}: {path.stat().st_size:,} bytes are too many for metadata; is this the folder of a snapshot?")
        found = json.loads(read_beside(path))
    except FileNotFoundError:
        raise Unreadable(
            f"{path.parent}: a folder without {METADATA} is not a snapshot; give an image or the folder of a snapshot"
        ) from None
    except OSError as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path}: no JSON: {error}; download the snapshot again") from None
    if not isinstance(found, dict):
        raise Unreadable(f"{path}: JSON, but no metadata of a snapshot")
    return found


def _get(metadata: dict[str, Any], name: str) -> Any:
    """Return a value; Juno writes large numbers as {"__bigint__": "..."}."""
    value = metadata.get(name)
    if isinstance(value, dict) and "__bigint__" in value:
        value = value["__bigint__"]
    return whole_number(value)


def _number(metadata: dict[str, Any], name: str, folder: Place) -> int:
    value = _get(metadata, name)
    if not isinstance(value, int) or value < 0:
        raise Unreadable(f"{folder / METADATA}: {name} is {value!r}; this is not the metadata of a snapshot")
    return value


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _source_of(value: Any) -> str | None:
    """`{"taken_from_canister": null}` -> taken from canister."""
    name = next(iter(value), None) if isinstance(value, dict) else value
    return None if name is None else _snake(str(name)).replace("_", " ").strip()


def _time_of(nanoseconds: Any) -> str | None:
    try:
        return None if nanoseconds is None else datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="seconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return str(nanoseconds)


def _bytes_of(size: Any) -> str | None:
    return f"{size:,} bytes" if isinstance(size, int) else None
