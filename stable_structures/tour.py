# SPDX-License-Identifier: Apache-2.0
"""The verb `tour`: create, fill and close a memory file, then show its content from another process."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any, Final

from .inspect.cli.guard import guarded
from .inspect.cli.text import Printer, human
from .memory.manager import MemoryManager
from .memory.memory import StableMemory
from .principal import Principal
from .storable import Cbor, f64, u32, u64
from .structures.btreemap import StableBTreeMap
from .structures.btreeset import StableBTreeSet
from .structures.cell import StableCell
from .structures.log import StableLog
from .structures.minheap import StableMinHeap
from .structures.vec import StableVec
from .upgrade import UpgradeHooks

UPGRADES: Final = 0
_FEW: Final = 2
_EXAMPLE: Final = "example:\n  stable-structures tour --dir /tmp/tour && stable-structures inspect /tmp/tour/tour.bin"


def add_verbs(verbs: Any) -> None:
    """Add `tour` to the subparsers of a parser."""
    summary = "Create a memory file with every structure in it, and inspect it from a new process."
    parser = verbs.add_parser(
        "tour", help=summary, description=summary, epilog=_EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", metavar="DIR", type=Path, help="the folder for tour.bin (default: a new temporary folder)")
    parser.add_argument("--reopen", metavar="FILE", type=Path, help=argparse.SUPPRESS)
    parser.set_defaults(run=lambda arguments: guarded(_run, arguments))


def _run(arguments: argparse.Namespace) -> int:
    if arguments.reopen is not None:
        return _show(arguments.reopen, Printer())
    directory = arguments.dir or Path(tempfile.mkdtemp(prefix="stable-structures-"))
    directory.mkdir(parents=True, exist_ok=True)
    path = (directory / "tour.bin").resolve()
    if path.exists():
        raise FileExistsError(f"{path}: file already exists; remove it, or choose another --dir")
    try:
        _make(path, Printer())
    except BaseException:  # a half-written file would be taken for one of the user's
        for name in (path, path.with_name(f"{path.name}-wal")):
            name.unlink(missing_ok=True)
        raise
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", __package__, "tour", "--reopen", path], check=False).returncode  # noqa: S603 - ourselves


def _open(manager: MemoryManager) -> dict[int, Any]:
    """Return a structure of each kind, by the number of its memory; the log takes two."""
    structures = [
        StableBTreeMap[Principal, u64](manager.get(1)),
        StableBTreeSet[str](manager.get(2)),
        StableVec[f64](manager.get(3)),
        StableCell[Cbor[dict[str, int]]](manager.get(4), {"fee": 10}),
        StableMinHeap[tuple[u64, u32]](manager.get(5)),
        StableLog[str](manager.get(6), manager.get(7)),
    ]
    return dict(enumerate(structures, 1))


def _fill(structures: dict[int, Any]) -> None:
    balances, names, prices, config, deadlines, events = structures.values()
    for account in range(1000):
        balances.insert(Principal(account.to_bytes(4, "big")), account * 100)
    names |= {"Ada", "Edsger", "Grace", "Niklaus"}
    prices.extend([9.5, 9.75, 10.25])
    config.set({"fee": 25, "decimals": 8})
    deadlines.push_many([(1700, 3), (1200, 1), (1500, 2)])
    events.extend(["installed", "fee raised to 25"])


def _make(path: Path, printer: Printer) -> None:
    state = {"data_on_the_heap": list(range(8)), "greeting": "hello"}
    printer.line(f"1. A memory file: {path}")
    with StableMemory.open(path, "x") as memory:
        manager = MemoryManager(memory, bucket_pages=1)
        _fill(_open(manager))
        printer.line("2. A manager divides it into memories, and each structure gets one (a log two).")
        hooks = UpgradeHooks(manager.get(UPGRADES))
        hooks.pre_upgrade(lambda: state)
        hooks.run_pre_upgrade()
        printer.line(f"3. The heap is backed up in memory {UPGRADES}: {state}")
    printer.line(f"4. Process {os.getpid()} closes the file.")


def _show(path: Path, printer: Printer) -> int:
    printer.line(f"5. Process {os.getpid()} opens it, for reading only, and finds:")
    printer.line()
    with StableMemory.open(path, "r") as memory, memory.transaction():
        manager = MemoryManager.load(memory)
        structures, sizes = _open(manager), manager.sizes()
        rows = [_row(number, structure, sizes) for number, structure in structures.items()]
        hooks = UpgradeHooks(manager.get(UPGRADES))
        hooks.post_upgrade(lambda state: rows.insert(0, (UPGRADES, "backup of the heap", None, sizes[UPGRADES], state)))
        hooks.run_post_upgrade()
        for structure in structures.values():
            structure.check()
        size = memory.nbytes
    printer.table(("memory", "structure", "entries", "pages", "first entry"), rows)
    printer.line()
    printer.line("Every structure keeps every rule of the format.", "green")
    printer.line(f"The file, a bare image of {human(size)}: {path}")
    printer.line(f"Look into it: stable-structures inspect {shlex.quote(str(path))}")
    _draw(path, printer)
    return 0


def _draw(path: Path, printer: Printer) -> None:
    from .inspect import draw, open_image  # noqa: PLC0415 - the command line starts quickly without

    page = path.with_suffix(".html")
    with open_image(path) as image:
        draw(image, page)
    printer.line(f"See every byte of it in a browser: {page.as_uri()}")


def _row(number: int, structure: Any, sizes: dict[int, int]) -> tuple[object, ...]:
    name, pages = type(structure).__name__, sizes[number]
    if isinstance(structure, StableCell):
        return number, name, None, pages, structure.get()
    entries = (
        [f"{key} -> {value}" for key, value in islice(structure.items(), _FEW)]
        if isinstance(structure, StableBTreeMap)
        else islice(structure, _FEW)
    )
    more = [] if len(structure) <= _FEW else ["..."]
    return number, name, len(structure), pages, ", ".join([*map(str, entries), *more])
