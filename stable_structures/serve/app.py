# SPDX-License-Identifier: Apache-2.0
"""The requests of the page, and who may make them.

Whoever can reach the port must not reach the canister: another user of the machine, another page in the same browser, a name that
was rebound to 127.0.0.1. So each request needs

1. a Host header that is the server's own address,
2. the token of the address that the command printed (in the address for pages, in the Authorization header for all else),
3. for POST also a JSON body, of bounded size, and no Origin but the server's own.

No answer carries a CORS header. The page runs only scripts and styles that carry the nonce of its answer, and reaches only this server.
What a canister says is data (JSON) and never part of the page.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any, Final

from ..canister import Rejected
from ..errors import Locked, SourceError, StableError, Unsupported
from ..inspect.picture.picture import model_script
from .session import LARGEST_MODULE, Session, Stale

try:
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ImportError as error:
    raise Unsupported("canister serve needs starlette and uvicorn: pip install 'stable-structures[serve]'") from error

LARGEST_BODY: Final = 4 << 20
LARGEST_UPLOAD: Final = LARGEST_MODULE * 4 // 3 + (1 << 20)
_STACK: Final = 16 << 20
_LONGEST_LENGTH: Final = 20
"""Digits of a request's length; Python reads no more than 4,300."""
_SCRIPTS: Final = ("values.js", "answer.js", "map.js", "upgrade.js", "main.js")
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_BARE: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_DENIED: Final = "open the address that `stable-structures canister serve` printed: it ends in the token that this page needs"


def make_app(session: Session, token: str, hosts: tuple[str, ...]) -> Starlette:
    """Return the application. `hosts` are the addresses under which it may be asked, with their port."""
    requests = _Requests(session)
    posts = {"call": session.call, "status": session.set_status, "rehearse": session.rehearse, "upgrade": session.upgrade}
    routes = [
        Route("/", requests.page),
        Route("/picture", requests.picture),
        Route("/api/state", requests.get(session.state)),
        Route("/api/revision", requests.revision),
        Route("/api/map", requests.post(session.map, LARGEST_BODY), methods=["POST"]),
        Route("/api/module", requests.post(session.upload, LARGEST_UPLOAD), methods=["POST"]),
        *(Route(f"/api/{name}", requests.post(work, LARGEST_BODY), methods=["POST"]) for name, work in posts.items()),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(_Guard, token=token, hosts=hosts)
    return app


class _Answer(JSONResponse):
    """JSON in ASCII: a log, a folder's name or an error may hold half a character (a surrogate), which UTF-8 does not have."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _plain(text: str, status: int) -> Response:
    return PlainTextResponse(text.encode("utf-8", "backslashreplace"), status)


class _Guard:
    """Lets pass who may ask (rules 1 to 3 above), and gives every answer the headers that a browser needs."""

    def __init__(self, app: ASGIApp, token: str, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                headers = {**_HEADERS, "Content-Security-Policy": _BARE}
                added = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
                message["headers"] = [*message["headers"], *(one for one in added if one[0] not in present)]
            await send(message)

        refusal = self._refusal(Request(scope))
        await (self._app if refusal is None else refusal)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return PlainTextResponse("this server answers under its own address only", 421)
        if request.method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("this method is not allowed", 405)
        if not self._has_token(request):
            return PlainTextResponse(_DENIED, 403)
        return _refuse_post(request, hosts[0]) if request.method == "POST" else None

    def _has_token(self, request: Request) -> bool:
        if request.url.path.startswith("/api/"):
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            return scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), self._token)
        return hmac.compare_digest(request.query_params.get("token", "").encode("utf-8", "surrogatepass"), self._token)


def _refuse_post(request: Request, host: str) -> Response | None:
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return PlainTextResponse("this request comes from another page", 403)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return PlainTextResponse("expected Content-Type: application/json", 415)
    return None


class _Requests:
    """Each request runs in one thread, one after the other: it has the stack that Wasm needs, and the session is its own."""

    def __init__(self, session: Session) -> None:
        self._session = session
        before = threading.stack_size(_STACK)
        try:
            self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="canister")
            self._worker.submit(int).result()  # starts the thread, with that stack
        finally:
            threading.stack_size(before)

    async def _run(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *args)

    async def _json(self, work: Callable[..., Any], *args: Any) -> Response:
        try:
            return _Answer(await self._run(work, *args))
        except Exception as error:  # noqa: BLE001 - whatever it is, the page shows it and the server goes on
            return _failed(error)

    async def page(self, request: Request) -> Response:
        """Return the page, which is the same for every canister: it requests what it shows."""
        del request
        nonce = secrets.token_urlsafe(18)
        return HTMLResponse(_page(nonce), headers={"Content-Security-Policy": _policy(nonce)})

    async def picture(self, request: Request) -> Response:
        """Return the picture of the stable memory, to zoom and search in."""
        del request
        nonce = secrets.token_urlsafe(18)
        try:
            text = await self._run(self._session.picture, nonce)
        except Exception as error:  # noqa: BLE001 - as above
            return _plain(str(error), _status_of(error))
        return HTMLResponse(text, headers={"Content-Security-Policy": _policy(nonce)})

    async def revision(self, request: Request) -> Response:
        """Whether somebody changed the canister. Answered at once, also while a message runs."""
        del request
        return _Answer({"revision": self._session.revision()})

    def get(self, work: Callable[[], Any]) -> Callable[[Request], Any]:
        """Handle a request without a body."""

        async def answer(request: Request) -> Response:
            del request
            return await self._json(work)

        return answer

    def post(self, work: Callable[[dict[str, Any]], Any], largest: int) -> Callable[[Request], Any]:
        """Handle a request whose body is a JSON object."""

        async def answer(request: Request) -> Response:
            try:
                body = await _body(request, largest)
            except ClientDisconnect:
                return PlainTextResponse("", 400)
            if body is None:
                return _Answer({"error": f"the request is larger than {largest:,} bytes"}, 413)
            try:
                given = json.loads(body)
            except (ValueError, RecursionError):
                return _Answer({"error": "the request is not JSON"}, 400)
            if not isinstance(given, dict):
                return _Answer({"error": "the request is not a JSON object"}, 400)
            return await self._json(work, given)

        return answer


async def _body(request: Request, largest: int) -> bytes | None:
    """Return the body; None if it is too large, which is detected before reading all of it."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > _LONGEST_LENGTH or int(length) > largest:
        return None
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > largest:
            return None
    return bytes(found)


def _status_of(error: Exception) -> int:
    if isinstance(error, Locked):
        return 423
    if isinstance(error, Stale):
        return 409
    return 400 if isinstance(error, (SourceError, Rejected, Unsupported, StableError, TypeError, OverflowError)) else 500


def _failed(error: Exception) -> Response:
    text = str(error) if isinstance(error, (StableError, TypeError, OverflowError, OSError)) else f"{type(error).__name__}: {error}"
    return _Answer({"error": text[:20_000]}, _status_of(error))


def _policy(nonce: str) -> str:
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _page(nonce: str) -> str:
    """One page of the files in page/."""
    folder = files(__package__).joinpath("page")
    script = "\n".join([model_script(), *(folder.joinpath(name).read_text("utf-8") for name in _SCRIPTS)])
    text = folder.joinpath("page.html").read_text("utf-8").replace("/*@STYLE@*/", folder.joinpath("style.css").read_text("utf-8"))
    return text.replace("/*@SCRIPT@*/", script).replace("@NONCE@", nonce)
