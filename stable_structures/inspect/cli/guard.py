# SPDX-License-Identifier: Apache-2.0
"""What every verb runs in: errors and signals become one line and an exit code, whatever the output is connected to.

Exit codes: 0 sound, done, the same; 1 damaged, entries lost, different, absent; 2 not recognised, unreadable, wrong use,
stopped; 3 changed while it was read. A pipe that its reader closed ends a verb quietly, with the code that it has come to.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

from ..formats.layout import Damage
from ..source import TROUBLES, NotWhole
from ..writing import is_stream
from .text import silence

SOUND, DAMAGED, TROUBLE, CHANGED = 0, 1, 2, 3
_SIGNALS: Final = ("SIGTERM", "SIGHUP")


class Stopped(KeyboardInterrupt):
    """A signal that ends the process; as Ctrl+C it unwinds, so that a file that is being written is removed."""


def input_path(text: str) -> str:
    """Return the path that an argument names; - is the standard input. O(1)."""
    return "/dev/stdin" if text == "-" else text


def output_path(text: str) -> str:
    """Return the path that an argument names; - is the standard output. O(1)."""
    return "/dev/stdout" if text == "-" else text


def guarded(run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Return the exit code of a verb. Errors become one line on the error stream, a closed pipe ends it quietly."""
    out: str | None = getattr(arguments, "out", None)
    fresh = out is not None and not os.path.lexists(out)
    try:
        with _unwinding_signals():
            code = run(arguments)
    except BrokenPipeError:
        code = SOUND
    except KeyboardInterrupt as stop:
        word = f"stopped by {stop}" if isinstance(stop, Stopped) else "interrupted"
        return settled(complain(f"{word}{_what_is_left(out, fresh=fresh)}"), reported=True)
    except TROUBLES as error:
        return settled(trouble(error), reported=True)
    return settled(code)


def trouble(error: BaseException) -> int:
    """Say an error in one line; return its exit code."""
    if isinstance(error, Damage):
        return complain(f"damaged: {error}; run check to see all of it", DAMAGED)
    return complain(str(error) or type(error).__name__, DAMAGED if isinstance(error, NotWhole) else TROUBLE)


def _what_is_left(out: str | None, *, fresh: bool) -> str:
    """Say whether the file was written: it gets its name when it is complete, or never."""
    if out is None or is_stream(out):
        return ""
    return f"; {out} was written" if fresh and os.path.lexists(out) else "; nothing was written"


def settled(code: int, *, reported: bool = False) -> int:
    """Return the exit code after what was printed has arrived: that of an error if it cannot. Python itself would end with 120.

    With `reported`, an error line was already printed, and one is enough.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
    except (OSError, ValueError) as error:
        silence(sys.stdout)
        return code if reported else complain(f"the output cannot be written: {getattr(error, 'strerror', None) or error}")
    return code


def complain(text: str, code: int = TROUBLE) -> int:
    """One line on the error stream; return the exit code."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"stable-structures: {''.join(letter if letter.isprintable() else '?' for letter in text)}\n")
        sys.stderr.flush()
    return code


def prepare_streams() -> None:
    """Make the streams accept every text: what their encoding lacks is written as an escape, and if there is none, nowhere."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for the rest of the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _unwinding_signals() -> Iterator[None]:
    """Make signals that would end the process raise `Stopped` in the block; those that are ignored stay so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for name in _SIGNALS if (number := getattr(signal, name, None)) is not None]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number, handler in before.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, _stop)
        yield
    finally:
        for number, handler in before.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, handler)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(signal.Signals(number).name)


class Help(argparse.RawDescriptionHelpFormatter):
    """Help that keeps the lines of examples, and folds sentences that are wider than the terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = text.splitlines()
        return "\n".join(
            line if line.startswith(" ") or len(line) <= width else textwrap.fill(line, width, initial_indent=indent) for line in lines
        )


class Parser(argparse.ArgumentParser):
    """A parser that tells where its help could not be written; argparse itself passes over it. Options are written out."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **options})

    def _print_message(self, message: str, file: Any = None) -> None:
        if message and file is sys.stdout:
            file.write(message)
        else:
            with suppress(OSError):
                super()._print_message(message, file)
