# SPDX-License-Identifier: Apache-2.0
"""The command line, `stable-structures` or `python -m stable_structures`: verbs from the packages that have any.

A package adds verbs by a function that takes the subparsers; each verb sets `run`, which takes the parsed arguments and
gives the exit code: 0 as hoped, 1 not as hoped (damaged, different, absent), 2 wrong use or unreadable.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import __version__, commands, tour
from .inspect.cli import verbs as cli
from .inspect.cli.guard import SOUND, Parser, complain, prepare_streams, settled

_ADD_VERBS = (tour.add_verbs, cli.add_verbs, commands.add_verbs)


def parser() -> argparse.ArgumentParser:
    """The parser with all verbs."""
    made = Parser(
        prog="stable-structures",
        description="Memories of the Internet Computer's stable structures: made, looked into, checked, compared and repaired.",
        epilog="example:\n  stable-structures tour\n  stable-structures VERB --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"stable-structures {__version__}")
    verbs = made.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    for add_verbs in _ADD_VERBS:
        add_verbs(verbs)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and gives its exit code; wrong use ends with 2."""
    prepare_streams()
    try:
        made = parser()
        given = made.parse_args(arguments, argparse.Namespace(parser=made))
    except SystemExit as end:  # --help, --version, wrong use
        raise SystemExit(settled(end.code if isinstance(end.code, int) else 0)) from None
    except BrokenPipeError:
        raise SystemExit(settled(SOUND)) from None
    except OSError as error:
        raise SystemExit(settled(complain(f"the output cannot be written: {error.strerror or error}"), told=True)) from None
    return int(given.run(given))


if __name__ == "__main__":
    sys.exit(main())
