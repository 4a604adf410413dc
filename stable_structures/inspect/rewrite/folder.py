# SPDX-License-Identifier: Apache-2.0
"""New images out of snapshots: what was made of a snapshot's folder is a folder again, which dfx, icp-cli or Juno can upload.

    SNAPSHOT/ metadata.json  stable_memory.bin  wasm_module.bin  wasm_memory.bin  wasm_chunk_store/
       |          |                |                    |                |               |
       |      size, hash      what the verb makes   the same bytes: a clone (reflink), a second name (hard link), else a copy
       v          v                v                    v                v               v
    OUT/      metadata.json  stable_memory.bin  wasm_module.bin  wasm_memory.bin  wasm_chunk_store/

The new folder lies beside its place under a name of its own (beside.py) until all of it is on the disk.

A heap that was running knows where its structures lay. It goes on with another layout only after an upgrade, whose code opens
them again, and whose `pre_upgrade` must not write to the old places: hence `HEAP_NOTE`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from ...errors import StableError
from ...memory.memory import PAGE_SIZE
from ..formats.snapshot import METADATA, Snapshot
from ..image import Image
from ..source import Unreadable
from ..writing import NewFolder, is_stream, unwritable
from .build import ImageFile

HEAP_NOTE: Final = (
    "the heap in this snapshot may still know where the structures lay: after loading it, upgrade the canister before its first "
    "call, without its pre_upgrade (dfx: canister install --mode upgrade --skip-pre-upgrade)"
)
_BARE: Final = (".bin", ".img", ".raw")
_FICLONE: Final = 0x40049409
_SIZES: Final = {"wasm_module.bin": "wasm_module_size", "wasm_memory.bin": "wasm_memory_size"}


def image_output(out: str | Path, image: Image) -> ImageFile:
    """Return where a verb writes what it makes of an image: a folder for a snapshot, unless `out` is called as a file is.

    A name that ends in .bin, .img or .raw, a device or a pipe is a bare image. O(1). Raises `Unreadable`.
    """
    if image.snapshot is None or Path(out).suffix in _BARE or is_stream(out):
        return ImageFile(out)
    return SnapshotFile(out, image.snapshot)


class SnapshotFile(ImageFile):
    """The stable memory in a new folder of a snapshot. Without `keep` nothing is left.

    Raises `Unreadable` if the folder already exists, lies in the snapshot's, or cannot be made.
    """

    def __init__(self, out: str | Path, snapshot: Snapshot) -> None:
        if not isinstance(snapshot.folder, Path):
            raise Unreadable(
                f"{snapshot.folder}: a folder is made of one on this machine; download it, or give OUT a name that ends in .bin"
            )
        self._from, self._given = snapshot.folder, _metadata(snapshot.folder / METADATA)
        self._is_juno = snapshot.tool == "Juno"
        self.folder = Path(out)
        if self.folder.parent.resolve().is_relative_to(self._from.resolve()):
            raise Unreadable(f"{self.folder}: it lies in the snapshot's own folder, which is not changed; give OUT a place beside it")
        self._new = NewFolder(out)
        self._made = self._new.made
        super().__init__(self._made / self._stable_name())

    def _stable_name(self) -> str:
        if not self._is_juno:
            return "stable_memory.bin"
        stable = _juno_data(self._given).get("stableMemory")
        return Path(str(stable.get("filename", "stable.bin"))).name if isinstance(stable, dict) else "stable.bin"

    def keep(self) -> None:
        """Give the folder its name, once all of it is on the disk. O(size). Raises `Unreadable` if another has the name by now."""
        try:
            super().keep()
            self._forget_temporary()
            if not self.size():
                self.path.unlink()
            self._take_others()
            self._write_metadata()
            self._new.keep()
        except OSError as error:
            if isinstance(error, StableError):
                raise
            raise unwritable(self.folder, error) from None

    def _forget_temporary(self) -> None:
        """Remove the name that the stable memory had until now; it would be in the folder that is kept."""
        name = self.temporary
        if name is not None:
            with suppress(FileNotFoundError):
                name.unlink()

    def _take_others(self) -> None:
        """Take everything else that is in the folder, but what begins with a dot: progress of a download, other tools' files."""
        for path in sorted(self._from.iterdir()):
            own = path.name in (METADATA, self.path.name, f"{self.path.name}-wal") or path.name.startswith(".")
            if not own and path.is_dir():
                shutil.copytree(path, self._made / path.name, copy_function=_take)
            elif not own and path.is_file():
                _take(path, self._made / path.name)

    def _write_metadata(self) -> None:
        size = self.size() * PAGE_SIZE
        changed = self._juno_metadata(size) if self._is_juno else {**self._given, "stable_memory_size": size}
        path = self._made / METADATA
        with path.open("x", encoding="utf-8") as file:
            json.dump(changed, file, indent=2)
            file.flush()
            os.fsync(file.fileno())

    def _juno_metadata(self, size: int) -> dict[str, Any]:
        data, metadata = _juno_data(self._given), dict(self._given.get("metadata") or {})
        stable = data.get("stableMemory")
        old = metadata.get("stableMemorySize")
        metadata["stableMemorySize"] = (
            {"__bigint__": str(size)} if isinstance(old, dict) or old is None else str(size) if isinstance(old, str) else size
        )
        made = {"filename": self.path.name, "size": size, "hash": _sha256(self.path)} if size else None
        data["stableMemory"] = {**(stable if isinstance(stable, dict) else {}), **made} if made else None
        return {**self._given, "data": data, "metadata": metadata}

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            super().__exit__(kind, error, traceback)
        finally:
            self._new.__exit__(kind, error, traceback)


def notes_of(folder: Path) -> list[str]:
    """Return what is to be known of a folder before it is uploaded: what is missing of module and heap, and what the heap knows. O(1)."""
    given, notes = _metadata(folder / METADATA), []
    for name, key in _SIZES.items():
        size, path = given.get(key), folder / name
        found = path.stat().st_size if path.is_file() else 0
        if isinstance(size, int) and found < size:
            notes.append(f"{name} has {found:,} of {size:,} bytes, as in the folder that this one was made of: it cannot be uploaded")
    return [*notes, HEAP_NOTE]


def _metadata(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: cannot be read: {error}") from None
    return found if isinstance(found, dict) else {}


def _juno_data(given: dict[str, Any]) -> dict[str, Any]:
    return dict(given.get("data") or {})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _take(source: str | Path, target: str | Path) -> str:
    """Make a file of the same bytes: a clone where the file system has these, a second name of it, or a copy. O(1), O(size) for a copy."""
    if _clone(source, target):
        return str(target)
    try:
        os.link(Path(source).resolve(), target)  # link() itself does not follow a symbolic link, which may lead nowhere from there
    except OSError:
        shutil.copyfile(source, target)
    return str(target)


def _clone(source: str | Path, target: str | Path) -> bool:
    with Path(source).open("rb") as given, Path(target).open("xb") as made:
        try:
            fcntl.ioctl(made.fileno(), _FICLONE, given.fileno())
        except OSError:
            Path(target).unlink()
            return False
    return True
