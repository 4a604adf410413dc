"""The process that forks for each request of command.py; it has imported what is wanted of it: `command_server.py SOCKET KIND`.

A request is a connection of its own. On it come, first, the three standard streams, and then the rest as JSON; the number of
the new process goes back, and its status when it ends.
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
import resource
import select
import signal
import socket
import sys
import tempfile
import threading
from typing import Any, NoReturn

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


class Server:
    """Forks for each request of any of its callers."""

    def __init__(self, calls: socket.socket) -> None:
        self.calls = calls
        self._running: dict[int, socket.socket] = {}
        """The processes, each with its caller."""
        self._ends, self._waking = socket.socketpair()
        for one in (self._ends, self._waking):
            one.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waking.fileno())

    def serve(self) -> tuple[str | None, list[str]]:
        """Return, in a process of its own, the code and the words of each request; report its number and, at its end, its status."""
        while True:
            ready, _, _ = select.select([self.calls, self._ends, sys.stdin], [], [])
            if sys.stdin in ready:
                os._exit(0)
            if self._ends in ready:
                self._ends.recv(1 << 10)
                self._reap()
            if self.calls in ready and (request := self._answer(self.calls.accept()[0])):
                return request

    def _answer(self, caller: socket.socket) -> tuple[str | None, list[str]] | None:
        """In the new process, return what it has to do."""
        _, streams, _, _ = socket.recv_fds(caller, 1, 3)
        child = os.fork()
        if child == 0:
            self._leave()
            with caller, caller.makefile("rb") as asked:
                request = json.load(asked)
            return take_over(request, streams)
        for descriptor in streams:
            os.close(descriptor)
        self._running[child] = caller
        report(caller, child)
        return None

    def _leave(self) -> None:
        """In the new process: nothing of the server stays open."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in (self.calls, self._ends, self._waking, *self._running.values()):
            one.close()

    def _reap(self) -> None:
        """Report the status of each process that has ended."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                with self._running.pop(found[0]) as caller:
                    report(caller, found[1])


def report(caller: socket.socket, number: int) -> None:
    with contextlib.suppress(ConnectionError):
        caller.sendall(f"{number}\n".encode())


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
