"""The command line, or a piece of Python, as a process of its own in milliseconds: a server with the package forks for each call.

All processes of a test run share the server (command_server.py): the one that starts the tests starts it, too, and it imports
nothing until it is asked.

What a caller gives as in `subprocess` is the process's own: streams, environment, limits. It runs `main` with the given
words and ends as an interpreter ends, so its exit code, its signals and what it does to its streams are real. Only the start
of an interpreter is not: `PYTHONIOENCODING` and `PYTHONUNBUFFERED` are applied by `take_streams`, as CPython does; and at the
end, the modules are not taken apart. Tests of the start itself and of the memory that is needed start an interpreter, and so
do some of each kind that is here.

    the test -- request, streams --> server -- fork --> main(words)
        ^-- its number, its status --'
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from . import command_client

COMMAND = [sys.executable, "-m", "stable_structures"]
LONG = 60
"""The address of a socket has room for a hundred bytes."""
CALL = """
import importlib, json, sys
from pathlib import Path
folder, module, function, words = sys.argv[1:]
sys.path.append(folder)
words = json.loads(words, object_hook=lambda one: Path(one["path"]))
getattr(importlib.import_module(module), function)(*words)
"""
PYTEST = "import sys, pytest; sys.path.insert(0, ''); sys.exit(pytest.main(sys.argv[1:]))"


class Process:
    """As `subprocess.Popen`, of `stable-structures WORDS`."""

    def __init__(  # noqa: PLR0913 - as subprocess.Popen
        self,
        words: Sequence[object],
        *,
        stdin: int | None = None,
        stdout: IO[Any] | int = subprocess.PIPE,
        stderr: IO[Any] | int = subprocess.PIPE,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        limits: Mapping[int, int] | None = None,
        code: str | None = None,
        server: str = "verbs",
    ) -> None:
        self.returncode: int | None = None
        self._pipes: dict[int, int] = {}
        """Our end of each pipe, and the stream that it is: 1 or 2."""
        theirs = [os.open(os.devnull, os.O_RDONLY) if stdin is None else os.dup(stdin), self._given(1, stdout), self._given(2, stderr)]
        request = {
            "words": [str(word) for word in words],
            "env": dict(os.environ if env is None else env),
            "cwd": str(cwd or Path.cwd()),
            "limits": list((limits or {}).items()),
            "code": code,
        }
        self._reports = command_client.ask(str(servers() / server), request, theirs)
        for descriptor in theirs:
            os.close(descriptor)
        self.pid = int(self._reports.readline())

    def _given(self, stream: int, what: IO[Any] | int) -> int:
        if what != subprocess.PIPE:
            return os.dup(what if isinstance(what, int) else what.fileno())
        ours, theirs = os.pipe()
        self._pipes[ours] = stream
        return theirs

    def poll(self) -> int | None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._reports, selectors.EVENT_READ)
            if self.returncode is None and selector.select(0):
                self.wait()
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(int(self._reports.readline()))
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def line(self) -> str:
        """The next line of its output, read byte by byte: `communicate` gets all behind it."""
        (out,) = (descriptor for descriptor, stream in self._pipes.items() if stream == 1)
        found = b""
        while not found.endswith(b"\n") and (more := os.read(out, 1)):
            found += more
        return found.decode().rstrip("\n")

    def communicate(self, timeout: float = 120) -> tuple[bytes, bytes]:
        """What it wrote to both streams until its end."""
        end, found = time.monotonic() + timeout, {1: b"", 2: b""}
        with selectors.DefaultSelector() as selector:
            for descriptor, stream in self._pipes.items():
                selector.register(descriptor, selectors.EVENT_READ, stream)
            while self._pipes:
                ready = selector.select(max(0, end - time.monotonic()))
                if not ready:
                    self.kill()
                    raise TimeoutError(f"it runs for more than {timeout} s")
                for key, _ in ready:
                    more = os.read(key.fd, 1 << 16)
                    found[key.data] += more
                    if not more:
                        selector.unregister(key.fd)
                        del self._pipes[key.fd]
                        os.close(key.fd)
        self.wait()
        return found[1], found[2]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None) -> None:
        for descriptor in self._pipes:
            os.close(descriptor)
        self._pipes.clear()
        if kind is not None:
            self.kill()
        self.wait()
        self._reports.close()


def run(words: Sequence[object], *, text: bool = True, timeout: float = 120, **options: Any) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run`, of `stable-structures WORDS`; what it writes is kept where no other stream is given."""
    with Process(words, **options) as process:
        found: tuple[Any, ...] = process.communicate(timeout)
        if text:
            encoding = (options.get("env") or {}).get("PYTHONIOENCODING", "utf-8").partition(":")[0]
            found = tuple(re.sub("\r\n?", "\n", data.decode(encoding)) for data in found)
        return subprocess.CompletedProcess([*COMMAND, *map(str, words)], process.wait(), *found)


def run_given(words: Sequence[object], given: bytes, **options: Any) -> subprocess.CompletedProcess[Any]:
    """As `run`, with `given` in a pipe as its standard input."""
    reader, writer = os.pipe()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "wb") as pipe:
            pipe.write(given)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        return run(words, stdin=reader, **options)
    finally:
        os.close(reader)
        writing.join()


def python(code: str, *arguments: object, check: bool = True, **options: Any) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run` of `python -c CODE ARGUMENTS`, with the package imported already."""
    done = run(arguments, code=code, **options)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def call(function: Callable[..., None], *words: object) -> None:
    """Call a function of this folder, which must neither fail nor be killed, in a process of its own. Words cross as JSON, or as paths."""
    given = json.dumps(words, default=lambda path: {"path": str(path)})
    done = run([Path(__file__).parents[2], function.__module__, function.__name__, given], code=CALL)
    assert done.returncode == 0, (done.returncode, done.stderr)


def run_pytest(*arguments: str, **options: Any) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run` of `python -m pytest ARGUMENTS`, with pytest and its plugins imported already."""
    return run(arguments, code=PYTEST, server="pytest", **options)


def in_shell(commands: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` of a shell, in which `python -m stable_structures` is a process of the server; any other `python` is its own."""
    client = shlex.join([sys.executable, "-IS", command_client.__file__, str(servers() / "verbs")])
    python = (
        f'python() {{ if [ "${{1:-}} ${{2:-}}" = "-m stable_structures" ]; then {client} "${{@:3}}"; else command python "$@"; fi; }}\n'
    )
    words = ["bash", "-euo", "pipefail", "-c", python + commands]
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)


_folder: Path | None = None
"""With a socket for each server."""


def servers() -> Path:
    """The folder with the sockets of the servers; they live as long as the process that was the first to ask."""
    if _folder is None:
        share(Path(tempfile.mkdtemp(prefix="servers-", dir=None if len(tempfile.gettempdir()) < LONG else "/tmp")))  # noqa: S108
        for kind in ("verbs", "pytest"):
            _start(kind)
        atexit.register(shutil.rmtree, _folder)
    return _folder


def share(folder: Path) -> None:
    """Use the servers of another process."""
    global _folder  # noqa: PLW0603 - of this process
    _folder = folder


def _start(kind: str) -> None:
    """A server, which ends with its standard input."""
    with socket.socket(socket.AF_UNIX) as calls:
        calls.bind(str(_folder / kind))
        calls.listen()
        command = [sys.executable, "-P", str(Path(__file__).with_name("command_server.py")), str(calls.fileno()), kind]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # a process with threads should not fork
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
        process = subprocess.Popen(command, pass_fds=[calls.fileno()], env=environment, **streams)
    atexit.register(process.communicate, timeout=60)
