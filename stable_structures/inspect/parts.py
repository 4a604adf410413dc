# SPDX-License-Identifier: Apache-2.0
"""Many memories of many images as one folder of Parquet files, for DuckDB, Polars and Dask.

    OUT/ ledger-users.parquet  ledger-3.parquet  orders-0.parquet  ...      one for each structure
         manifest.json                                                     which file is of which memory, its types and rows

Each has the columns `canister` and `memory` behind its own, so that one query can take them all. The folder gets its name when all of
it is written, or never.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from . import parquet
from .dump import table
from .fit import open_image
from .formats.layout import Damage
from .formats.rules import Note
from .image import Image, Part, SchemaFiles
from .jobs import Task, allowed, results
from .missing import require_whole
from .source import Progress, Unreadable, no_progress
from .writing import NewFile, NewFolder

MANIFEST: Final = "manifest.json"
_ODD: Final = re.compile(r"[^\w.-]+")
_ENDS: Final = (".gz", ".zst", ".bin", ".img", ".raw")


def write_parts(  # noqa: PLR0913 - keyword-only choices
    names: Iterable[str],
    out: str | Path,
    *,
    files: SchemaFiles | None = None,
    note: Note | None = None,
    skipped: Callable[[str, BaseException], None] | None = None,
    report: Callable[[str], object] | None = None,
    jobs: int = 1,
) -> list[dict[str, Any]]:
    """Write every structure of some images into a new folder; return what the manifest says of each file. O(size).

    `jobs` processes write files at once (jobs.py). An image that cannot be read is left out and reported to `skipped`, damaged
    entries to `note`; `report` gets a phrase for each memory that is no structure. Raises `Unreadable`, and without these `Damage`:
    then nothing is written.
    """
    with NewFolder(out) as new:
        found = _Writer(new.made, files, note, report, jobs).write(names, skipped)
        if not found:
            raise Unreadable(f"{new.path}: nothing in these images has entries")
        (new.made / MANIFEST).write_text(json.dumps({"parts": found}, indent=2), encoding="utf-8")
        new.keep()
    return found


class _Writer:
    """Writes the files of a folder."""

    def __init__(
        self, folder: Path, files: SchemaFiles | None, note: Note | None, report: Callable[[str], object] | None, jobs: int
    ) -> None:
        self.folder, self.files, self.note, self.report, self.jobs = folder, files, note, report, jobs
        self.taken: set[str] = set()
        self.used: set[str] = set()

    def write(self, names: Iterable[str], skipped: Callable[[str, BaseException], None] | None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for name in names:
            try:
                found += self._image(name)
            except (Unreadable, Damage) as error:
                if skipped is None:
                    raise
                skipped(name, error)
        return found

    def _image(self, name: str) -> list[dict[str, Any]]:
        with open_image(name, files=self.files) as image:
            if self.note is None:
                require_whole(image)
            canister = self._canister(name)
            parts = [part for part in image.parts.values() if part.is_structure]
            parquet.require()
            tasks = [Task(part.source.nbytes, self._task(image, part, canister)) for part in parts]
            found = []
            for said, damages in results(tasks, allowed(self.jobs, image.source), no_progress):
                found.append(said)
                self._tell(damages)
            if self.report is not None:
                for text in image.without_entries():
                    self.report(f"{image.name}: {text}")
            return found

    def _canister(self, name: str) -> str:
        """Return what the name of an image says of its canister; each has another one."""
        base = name.rstrip("/").rpartition("/")[2]
        while base.endswith(_ENDS):
            base = base[: base.rindex(".")]
        chosen, number = base or "image", 1
        while chosen in self.taken:
            number += 1
            chosen = f"{base}_{number}"
        self.taken.add(chosen)
        return chosen

    def _tell(self, damages: list[Damage]) -> None:
        for damage in damages:
            if self.note is not None:
                self.note(damage)

    def _task(self, image: Image, part: Part, canister: str) -> Callable[[Progress], tuple[dict[str, Any], list[Damage]]]:
        memory = part.given.name or ("image" if part.id is None else str(part.id))
        file = self._file(f"{_ODD.sub('_', canister)}-{_ODD.sub('_', memory)}")
        return lambda _: self._part(image, part, canister, memory, file)

    def _part(self, image: Image, part: Part, canister: str, memory: str, file: str) -> tuple[dict[str, Any], list[Damage]]:
        gone: list[Damage] = []
        rows = table(part, unordered=True, note=None if self.note is None else gone.append)
        with NewFile(self.folder / file, in_order=True) as new:
            constants = {"canister": canister, "memory": memory}
            count = parquet.write(rows.names, (rows.key, rows.value), rows.rows, new.file, rows.columns, constants=constants)
            new.keep()
        types = {side: None if reading is None else reading.label for side, reading in (("key", rows.key), ("value", rows.value))}
        about = {"file": file, "source": image.name, "canister": canister, "memory": memory, "id": part.id}
        return {**about, "structure": part.word.removesuffix(" index"), **types, "rows": count}, gone

    def _file(self, base: str) -> str:
        chosen, number = base, 1
        while chosen in self.used:
            number += 1
            chosen = f"{base}_{number}"
        self.used.add(chosen)
        return f"{chosen}.parquet"
