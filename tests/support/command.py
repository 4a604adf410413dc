"""Our command line as a process of its own, without the half second in which an interpreter starts and imports.

A server process imports the command once and forks for each run (multiprocessing's forkserver), so a run has its own file
descriptors, signals, working folder and exit code. Some tests still start an interpreter: those of signals, of closed
streams and of the installed command itself.
"""

from __future__ import annotations

import atexit
import functools
import io
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "stable_structures"]
ROOT = str(Path(__file__).parents[2])


@functools.cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["stable_structures.__main__", "matplotlib.pyplot"])
    return context


def _stream(descriptor: int, environment: Mapping[str, str], *, error: bool = False) -> io.TextIOWrapper:
    """Return what an interpreter makes of a descriptor at its start."""
    encoding, _, errors = environment.get("PYTHONIOENCODING", "utf-8").partition(":")
    unbuffered = bool(environment.get("PYTHONUNBUFFERED"))
    raw: Any = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=encoding,
        errors="backslashreplace" if error else errors or "strict",
        line_buffering=error or raw.isatty(),
        write_through=unbuffered,
    )


def _child(words: list[str], outputs: list[Any], environment: dict[str, str], folder: str, limits: Mapping[int, int]) -> None:
    for which, most in limits.items():
        resource.setrlimit(which, (most, most))
    for descriptor, output in enumerate(outputs, 1):
        os.dup2(output.detach(), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout, sys.stderr = _stream(1, environment), _stream(2, environment, error=True)
    sys.argv = ["stable-structures", *words]
    from stable_structures.__main__ import main  # noqa: PLC0415 - the server has it

    code: Any = 1
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    atexit._run_exitfuncs()  # noqa: SLF001 - a forked process ends without them
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = 120
    os._exit(code if isinstance(code, int) else int(code is not None))


def run(  # noqa: PLR0913 - as subprocess.run
    words: Sequence[object],
    *,
    stdout: Any = subprocess.PIPE,
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    text: bool = True,
    timeout: float = 120,
    limits: Mapping[int, int] | None = None,
) -> subprocess.CompletedProcess[Any]:
    """Run `stable-structures WORDS` as `subprocess.run` would. Standard error is always kept, standard output unless another is given."""
    with tempfile.TemporaryFile() as kept, tempfile.TemporaryFile() as errors:
        output = kept if stdout == subprocess.PIPE else stdout
        descriptors = [each if isinstance(each, int) else each.fileno() for each in (output, errors)]
        # Pickled while the server starts the process: only then can a descriptor be handed over.
        handed = [_Handed(each) for each in descriptors]
        environment = dict(env or os.environ)
        process = _server().Process(
            target=_child, args=([str(word) for word in words], handed, environment, str(cwd or Path.cwd()), dict(limits or {}))
        )
        sys.path.append(ROOT)  # where the child finds this module
        try:
            process.start()
        finally:
            sys.path.pop()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([*COMMAND, *map(str, words)], timeout)
        shown = []
        for file in (kept, errors):
            file.seek(0)
            data = file.read()
            shown.append(data.decode((env or {}).get("PYTHONIOENCODING", "utf-8").partition(":")[0]) if text else data)
        return subprocess.CompletedProcess([*COMMAND, *map(str, words)], process.exitcode, *shown)


class _Handed:
    """A descriptor that goes to the child with the start of it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> Any:
        return _taken, (multiprocessing.reduction.DupFd(self.descriptor),)


class _Taken:
    def __init__(self, handed: Any) -> None:
        self.handed = handed

    def detach(self) -> int:
        return self.handed.detach()


def _taken(handed: Any) -> _Taken:
    return _Taken(handed)
