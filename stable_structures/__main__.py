# SPDX-License-Identifier: Apache-2.0
"""The command line, `stable-structures` or `python -m stable_structures`: verbs from the packages that have any.

A package adds verbs by a function that takes the subparsers; each verb sets `run`, which takes the parsed arguments and
gives the exit code: 0 as hoped, 1 not as hoped (damaged, different, absent), 2 wrong use or unreadable.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from . import commands, tour
from .inspect import cli

_ADD_VERBS = (tour.add_verbs, cli.add_verbs, commands.add_verbs)


def parser() -> argparse.ArgumentParser:
    """The parser with all verbs."""
    made = argparse.ArgumentParser(
        prog="stable-structures",
        description="Memories of the Internet Computer's stable structures: made, looked into, checked, compared and repaired.",
        epilog="example:\n  stable-structures tour\n  stable-structures VERB --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"stable-structures {version('stable-structures')}")
    verbs = made.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    for add_verbs in _ADD_VERBS:
        add_verbs(verbs)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and gives its exit code; wrong use ends with 2."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
    given = parser().parse_args(arguments)
    return int(given.run(given))


if __name__ == "__main__":
    sys.exit(main())
