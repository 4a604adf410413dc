# SPDX-License-Identifier: Apache-2.0
"""Scripts that complete the command line in a shell, made by shtab from the parsers, so that they cannot fall behind."""

from __future__ import annotations

import argparse
from typing import Final

from ..source import Unreadable

SHELLS: Final = ("bash", "zsh", "fish", "tcsh")
_NO_FILES: Final = frozenset({"TYPE", "K", "N", "ID"})
"""What metavars call an argument that is not the name of a file."""


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the script for a shell. O(options). Raises `Unreadable`, which names the extra, without shtab."""
    try:
        import shtab  # noqa: PLC0415 - optional
    except ModuleNotFoundError:
        raise Unreadable("completions need shtab: pip install 'stable-structures[completion]'") from None
    for each in _parsers(parser):
        for action in each._actions:
            if _is_file(action):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    text: str = shtab.complete(parser, shell=shell)
    return text


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return the parser and those of its verbs."""
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [inner for verb in action.choices.values() for inner in _parsers(verb)]
    return found


def _is_file(action: argparse.Action) -> bool:
    """Return whether an argument takes the name of a file."""
    if action.nargs == 0 or action.choices is not None or action.help is argparse.SUPPRESS:
        return False
    return isinstance(action.metavar, str) and action.metavar not in _NO_FILES
