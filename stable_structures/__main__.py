# SPDX-License-Identifier: Apache-2.0
"""The command line, `stable-structures` or `python -m stable_structures`: the verbs come from the packages.

A package adds verbs with a function that takes the subparsers; each verb sets `run`, which takes the parsed arguments and
returns the exit code: 0 success, 1 a negative result (damaged, different, absent), 2 wrong use or unreadable.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import cache

from . import __version__, commands, tour
from .inspect.cli import verbs as cli
from .inspect.cli.guard import SOUND, Help, Parser, complain, prepare_streams, settled

OVERVIEW = """\
stable-structures: what happens to a canister's data

  tour                             first steps: a memory file, its contents, its picture
  inspect, check, map              what a memory holds, whether it is sound, a page that shows every byte
  dump, get, load, export, import  entries out and in: CSV, JSON lines, Parquet, CBOR; one memory of many
  diff, shrink, repair             what changed, a smaller image, all that can be saved from a damaged one
  rescue                           data out of images of the crate ic-stable-memory
  rehearse                         an upgrade, tried on the real data before it is real
  canister                         a canister in a folder: deploy, call, query, upgrade
  completion                       completions for your shell

usage: stable-structures VERB ...   (VERB --help says more, with an example)
"""

_ADD_VERBS = (tour.add_verbs, cli.add_verbs, commands.add_verbs)


@cache
def parser() -> argparse.ArgumentParser:
    """Return the parser with all verbs."""
    made = Parser(
        prog="stable-structures",
        description="Create, inspect, check, compare and repair memories of the Internet Computer's stable structures.",
        epilog="example:\n  stable-structures tour\n  stable-structures VERB --help",
        formatter_class=Help,
    )
    made.add_argument("--version", action="version", version=f"stable-structures {__version__}")
    verbs = made.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    for add_verbs in _ADD_VERBS:
        add_verbs(verbs)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code; wrong use ends with 2."""
    prepare_streams()
    try:
        made = parser()
        if not (sys.argv[1:] if arguments is None else arguments):
            made.exit(2, OVERVIEW)  # for a script, a missing verb is wrong use
        given = made.parse_args(arguments, argparse.Namespace(parser=made, is_alone=arguments is None))
    except SystemExit as end:  # --help, --version, wrong use
        raise SystemExit(settled(end.code if isinstance(end.code, int) else 0)) from None
    except BrokenPipeError:
        raise SystemExit(settled(SOUND)) from None
    except OSError as error:
        raise SystemExit(settled(complain(f"cannot write the output: {error.strerror or error}"), reported=True)) from None
    return int(given.run(given))


if __name__ == "__main__":
    sys.exit(main())
