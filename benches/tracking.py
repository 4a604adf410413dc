# SPDX-License-Identifier: Apache-2.0
"""What it costs a write, with no transaction open, that there could be one: the C core against itself with the test for it taken out."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from . import ours
from .cost import NATIVE, build, image, timed
from .measure import Results, Say, Times
from .transactions import TITLE
from .work import Sizes

TEST: Final = "return SS_UNLIKELY(root->watch != 0) ? ss_root_touch_watched(root, offset, length) : SS_OK;"
NO_TEST: Final = "(void)root, (void)offset, (void)length; return SS_OK;"
WITHOUT: Final = "without tracking"
OPERATIONS: Final = {"memory.write": "write of 8 bytes in C", "vec.push": "vec push in C", "map.insert": "map insert in C"}
ENTRIES: Final = 10_000
TURNS: Final = 8
"""In each round, of which the mean counts: a processor whose clock changes now and then is alike for both."""


class NoTest(Exception):
    """The core's source does not have the test where it was."""


def measure(sizes: Sizes, results: Results, say: Say) -> None:
    """Raise `NoCompiler` and `NoTest`."""
    with tempfile.TemporaryDirectory() as directory:
        drivers = {ours.SINGLE: build(Path(directory) / "with"), WITHOUT: build(Path(directory) / "without", _without(Path(directory)))}
        for operation, title in OPERATIONS.items():
            kind = "map" if operation.startswith("map") else "vec"
            path = image(kind, ENTRIES, Path(directory))
            for _ in range(sizes.rounds):
                turns = [{name: timed(driver, operation, path, ENTRIES) for name, driver in drivers.items()} for _ in range(TURNS)]
                for name in drivers:
                    results.add(Times(TITLE, title, name, 1, sweep=False), sum(turn[name] for turn in turns) / TURNS)
            pair = [results.of(TITLE, title, name, 1) for name in drivers]
            say(f"{title}: " + ", ".join(f"{times.contestant} {times.median:.1f} ns" for times in pair if times))


def _without(directory: Path) -> Path:
    """Return a copy of the core without the test."""
    copy = directory / "native"
    shutil.copytree(NATIVE, copy, ignore=shutil.ignore_patterns("tests"))
    header = copy / "memory" / "memory.h"
    text = header.read_text(encoding="utf-8")
    if text.count(TEST) != 1:
        raise NoTest(f"{header.name} has no line {TEST!r}")
    header.write_text(text.replace(TEST, NO_TEST), encoding="utf-8")
    return copy
