# SPDX-License-Identifier: Apache-2.0
"""Where and with what it was measured."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import stable_structures

from . import crate

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("stable-structures", "numpy", "cffi", "lmdb", "sortedcontainers", "BTrees", "rocksdict", "duckdb")
CACHES: Final = Path("/sys/devices/system/cpu/cpu0/cache")


def describe() -> dict[str, Any]:
    """Everything that a reader needs to judge the numbers."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "caches": _caches(),
            "memory GiB": _memory(),
            "system": f"{platform.system()} {platform.release()}",
            "load at the start": _load(),
        },
        "versions": {"Python": platform.python_version(), "SQLite": sqlite3.sqlite_version, **_packages(), **_crate()},
        "commit": _said("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "build": "development build, WITHOUT LTO" if is_development_build() else "release build, with LTO",
    }


def is_development_build() -> bool:
    """Return whether what is measured is the editable install, which leaves link time optimisation out."""
    return Path(stable_structures.__file__).resolve().is_relative_to(ROOT)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n")
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _caches() -> dict[str, str]:
    """Level and kind of each cache of the first core, with its size."""
    return {
        f"L{_text(cache / 'level')} {_text(cache / 'type')}": _text(cache / "size")
        for cache in sorted(CACHES.glob("index*"))
        if (cache / "size").exists()
    }


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _memory() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _load() -> float:
    return round(os.getloadavg()[0], 2)


def _packages() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _crate() -> dict[str, str]:
    compiler = _said("rustc", "--version")
    return {"ic-stable-structures": crate.version(), "rustc": compiler.split()[1]} if compiler else {}


def _said(*command: str) -> str:
    program = shutil.which(command[0])
    if program is None:
        return ""
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)  # noqa: S603 - git and rustc
    return done.stdout.strip()


def note() -> str:
    """One line for tables."""
    about = describe()
    machine, versions = about["machine"], about["versions"]
    return f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {versions['Python']}, {sys.platform}"
