# SPDX-License-Identifier: Apache-2.0
"""The process of `canister serve`: an address on this machine only, and a token that is new for each run."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..errors import SourceError, Unsupported

HOST: Final = "127.0.0.1"
_GRACE: Final = 5


def serve(folder: Path, say: Callable[[str], None], *, port: int = 0, did: Path | None = None, browse: bool = False) -> None:
    """Serve the page of a folder's canister until interrupted; `say` gets its address. `port` 0 is any free one.

    Raises `Unsupported` without the extra `serve`, `SourceError` for a folder without a canister and for a port in use.
    """
    try:
        import uvicorn  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise Unsupported("canister serve needs starlette and uvicorn: pip install 'stable-structures[serve]'") from error
    from .app import make_app  # noqa: PLC0415 - needs the extra too
    from .session import Session  # noqa: PLC0415 - and wasmtime

    session, token = Session(folder, did=did), secrets.token_urlsafe(24)
    with _listening(port) as listener:
        port = listener.getsockname()[1]
        hosts = (f"{HOST}:{port}", f"localhost:{port}")
        app = make_app(session, token, hosts)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none", timeout_graceful_shutdown=_GRACE
        )
        address = f"http://{HOST}:{port}/?token={token}"
        say(f"{folder} is at {address}\nWhoever has this address can change the canister. Ctrl-C ends it.")
        if browse:
            webbrowser.open(address)
        uvicorn.Server(config).run(sockets=[listener])


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise SourceError(f"port {port} of {HOST} cannot be used ({error}): choose another with --port, or leave it out for any") from None
    return listener
