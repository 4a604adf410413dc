"""The command line, or a piece of Python, as a process of its own in milliseconds: a server with the package forks for each call.

All processes of a test run share it: the one that starts the tests starts it, too, and it imports nothing until it is asked.

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
import gc
import importlib
import io
import json
import os
import pkgutil
import re
import resource
import select
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
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn, Self

COMMAND = [sys.executable, "-m", "stable_structures"]
REQUEST = 1 << 20
IMPORTED_LATE = (
    "aiohttp",
    "fsspec.implementations.http",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "numpy.random",
    "pyarrow.parquet",
    "shtab",
    "uvicorn",
)
"""What verbs import of other projects when they need it; of this one, all that is not there for pytest or a cluster."""
NOT_OF_VERBS = ("stable_structures.__main__", "stable_structures.canister.plugin", "stable_structures.dask")
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
        ours, reports = socket.socketpair()
        self._reports = ours.makefile("r")
        ours.close()
        request = {
            "words": [str(word) for word in words],
            "env": dict(os.environ if env is None else env),
            "cwd": str(cwd or Path.cwd()),
            "limits": list((limits or {}).items()),
            "code": code,
        }
        socket.send_fds(_server(server), [json.dumps(request).encode()], [*theirs, reports.fileno()])
        reports.close()
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
    client = shlex.join([sys.executable, "-IS", str(Path(__file__).with_name("command_client.py")), str(_server("verbs").fileno())])
    python = (
        f'python() {{ if [ "${{1:-}} ${{2:-}}" = "-m stable_structures" ]; then {client} "${{@:3}}"; else command python "$@"; fi; }}\n'
    )
    words = ["bash", "-euo", "pipefail", "-c", python + commands]
    server = [_server("verbs").fileno()]
    return subprocess.run(words, cwd=cwd, env=env, pass_fds=server, capture_output=True, text=True, check=False)


_folder: Path | None = None
"""With a socket for each server."""


def servers() -> Path:
    """The folder with the sockets of the servers; they live as long as the process that was the first to ask."""
    if _folder is None:
        share(Path(tempfile.mkdtemp(prefix="servers-")))
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
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as calls:
        calls.bind(str(_folder / kind))
        calls.listen()
        command = [sys.executable, "-P", __file__, str(calls.fileno()), kind]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # a process with threads should not fork
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
        process = subprocess.Popen(command, pass_fds=[calls.fileno()], env=environment, **streams)
    atexit.register(process.communicate, timeout=60)


@cache
def _server(kind: str) -> socket.socket:
    """Of this process, as long as it lives."""
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.connect(str(servers() / kind))
    atexit.register(ours.close)
    return ours


# ---- the server ----


class Server:
    """Forks for each request of any of its callers."""

    def __init__(self, calls: socket.socket) -> None:
        self.calls = calls
        self._callers: list[socket.socket] = []
        self._running: dict[int, int] = {}
        """The processes, each with the stream that its caller reads."""
        self._ends, self._waking = socket.socketpair()
        for one in (self._ends, self._waking):
            one.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waking.fileno())

    def serve(self) -> tuple[str | None, list[str]]:
        """Return, in a process of its own, the code and the words of each request; report its number and, at its end, its status."""
        while True:
            ready, _, _ = select.select([self.calls, self._ends, sys.stdin, *self._callers], [], [])
            if sys.stdin in ready:
                os._exit(0)
            if self._ends in ready:
                self._ends.recv(1 << 10)
                self._reap()
            if self.calls in ready:
                self._callers.append(self.calls.accept()[0])
            for caller in ready:
                if caller in self._callers and (request := self._answer(caller)):
                    return request

    def _answer(self, caller: socket.socket) -> tuple[str | None, list[str]] | None:
        """In the new process, return what it has to do."""
        asked, descriptors, _, _ = socket.recv_fds(caller, REQUEST, 4)
        if not asked:
            self._callers.remove(caller)
            caller.close()
            return None
        *streams, reports = descriptors
        child = os.fork()
        if child == 0:
            self._leave()
            os.close(reports)
            return take_over(json.loads(asked), streams)
        self._running[child] = reports
        report(reports, child)
        for descriptor in streams:
            os.close(descriptor)
        return None

    def _leave(self) -> None:
        """In the new process: nothing of the server stays open."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in (self.calls, self._ends, self._waking, *self._callers):
            one.close()
        for descriptor in self._running.values():
            os.close(descriptor)

    def _reap(self) -> None:
        """Report the status of each process that has ended."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                reports = self._running.pop(found[0])
                report(reports, found[1])
                os.close(reports)


def report(reports: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(reports, f"{number}\n".encode())


def take_over(request: dict[str, Any], streams: list[int]) -> tuple[str | None, list[str]]:
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    for number, most in request["limits"]:
        resource.setrlimit(number, (most, most))
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    take_streams()
    return request["code"], list(request["words"])


def take_streams() -> None:
    """The two output streams, as an interpreter makes them when it starts."""
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for name, number in (("stdout", 1), ("stderr", 2)):
        raw: Any = open(number, "wb", buffering=0 if unbuffered else -1, closefd=False)  # noqa: SIM115 - for the rest of the process
        errors = "backslashreplace" if name == "stderr" else errors or "strict"
        made = io.TextIOWrapper(raw, encoding or "utf-8", errors, "\n", name == "stderr" or os.isatty(number), unbuffered)
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)


def execute(code: str | None, words: list[str]) -> int:
    if code is None:
        return main(words)
    sys.argv = ["-c", *words]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - the test's own
    return 0


def end(code: int) -> NoReturn:
    """As an interpreter ends, without taking apart what the server imported, which is most of the work of a small verb."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except (OSError, ValueError):
            code = 120
    os._exit(code)


def import_pytest() -> None:
    """pytest and its plugins, by a run without a test: it wants to be the one that imports them."""
    import pytest  # noqa: PLC0415 - not for verbs

    os.environ.pop("PYTEST_ADDOPTS", None)
    with tempfile.TemporaryDirectory() as empty:
        pytest.main(["-p", "no:cacheprovider", f"--rootdir={empty}", f"--config-file={os.devnull}", empty])


def import_verbs() -> None:
    ours = (module.name for module in pkgutil.walk_packages(stable_structures.__path__, "stable_structures."))
    for name in (*IMPORTED_LATE, *(name for name in ours if name not in NOT_OF_VERBS)):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    parser()
    with contextlib.suppress(ImportError):
        look_for_fonts()


def look_for_fonts() -> None:
    """The first text of a process, and its first power of ten, take longer than a picture."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    figure = Figure()
    figure.add_subplot(title="a").set(xscale="log")
    figure.savefig(io.BytesIO(), format="png")


if __name__ == "__main__":
    server = Server(socket.socket(fileno=int(sys.argv[1])))
    select.select([server.calls, sys.stdin], [], [])  # nobody may ever ask
    if sys.argv[2] == "pytest":
        import_pytest()
    else:
        import stable_structures
        from stable_structures.__main__ import main, parser

        import_verbs()
    gc.collect()
    gc.freeze()
    try:
        code = execute(*server.serve())
    except SystemExit as ended:
        if not isinstance(ended.code, int):
            raise
        code = ended.code
    end(code)
