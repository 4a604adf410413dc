# SPDX-License-Identifier: Apache-2.0
"""An object over HTTP, by ranges (RFC 9110, 14): one GET for each read, on the connections of fsspec.

    opening      Range: bytes=0-262143     -> 206, Content-Range: bytes 0-262143/218169344, ETag, Last-Modified
    each read    Range: bytes=A-B          -> 206, Content-Range: bytes A-B/218169344, and the same ETag and Last-Modified

The first answer says how large the object is and which version it is; an answer that says otherwise is an error. So is a
server that sends the whole object instead of the range: it would send all of it for each block. What is small enough is
taken from such a server too.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any, Final

from ..source import Unreadable
from .names import without_secrets
from .objects import Absent, Refused, RemoteObject, unreadable

FIRST: Final = 256 << 10
"""Bytes that opening asks for: a block of the cache."""
TIMEOUT: float = 30.0
"""Seconds to wait for a connection, and for each next part of an answer, unless the options of fsspec say otherwise."""
_TRIES: Final = 3
_PAUSE: Final = 0.2
"""Seconds before the second try; the third waits twice as long."""
_WHOLE, _PART, _CLIENT_ERRORS, _TIMED_OUT, _NO_RANGE, _MANY, _SERVER_ERRORS = 200, 206, 400, 408, 416, 429, 500
_SPAN: Final = re.compile(r"bytes ([0-9]{1,19})-[0-9]{1,19}/([0-9]{1,19})")
_GONE: Final = (404, 410)
_REFUSED: Final = (401, 403, 407)


@dataclass(frozen=True, slots=True)
class _Answer:
    """Status, headers and body of an answer, the body as far as it is wanted."""

    status: int
    headers: Any
    body: bytes

    @property
    def version(self) -> dict[str, str]:
        """Return what tells one version of the object from another."""
        return {name: self.headers[name] for name in ("ETag", "Last-Modified") if name in self.headers}

    def span(self) -> tuple[int, int] | None:
        """Return where the body begins and how large the object is; None if the server does not say."""
        found = _SPAN.fullmatch(self.headers.get("Content-Range", ""))
        return None if found is None else (int(found[1]), int(found[2]))


class HttpObject(RemoteObject):
    """An object over HTTP. One request to open it, which brings its first bytes."""

    def __init__(self, name: str, system: Any, url: str) -> None:
        super().__init__(name)
        self._system, self._url = system, url
        answer = self._ask(0, FIRST)
        self._version = answer.version
        if answer.status == _PART:
            self.nbytes, self._first = self._opened(answer), answer.body
        else:  # of a server without ranges, or of an empty object
            self.nbytes, self._first = len(answer.body), answer.body
        if len(self._first) != min(FIRST, self.nbytes):
            raise self.short(0, min(FIRST, self.nbytes), len(self._first))
        if not self._version:
            self.notes.append("the server sends neither ETag nor Last-Modified, so only a change of its size would be noticed")

    def _opened(self, answer: _Answer) -> int:
        span = answer.span()
        if span is None or span[0] != 0:
            raise Unreadable(f"{self.name}: the server does not say how large it is (Content-Range); download the file")
        return self.sized(span[1])

    def fetch(self, offset: int, length: int) -> bytes:
        """Return the bytes."""
        if offset + length <= len(self._first):
            return self._first[offset : offset + length]
        answer = self._ask(offset, length)
        if answer.version != self._version:
            raise self.changed(self._version, answer.version)
        span = answer.span()
        if answer.status != _PART or span is None:
            raise self._no_ranges(answer.status)
        if span[1] != self.nbytes:
            raise self.changed(f"{self.nbytes:,} bytes", f"{span[1]:,} bytes")
        if span[0] != offset:
            raise Unreadable(f"{self.name}: the server sent another range than was asked for: from {span[0]:,}, not from {offset:,} on")
        if len(answer.body) != length:
            raise self.short(offset, length, len(answer.body))
        return answer.body

    def _ask(self, offset: int, length: int) -> _Answer:
        """Return the answer to one GET, tried again if the server is busy or the connection breaks. Raises `Unreadable`."""
        from aiohttp import ClientConnectionError, ClientPayloadError  # noqa: PLC0415 - an extra
        from fsspec.asyn import sync  # noqa: PLC0415 - an extra

        for tries in range(1, _TRIES + 1):
            try:
                answer: _Answer = sync(self._system.loop, self._get, offset, length)
            except Unreadable:
                raise
            except TimeoutError as error:
                raise unreadable(self.name, error) from None
            except (ClientConnectionError, ClientPayloadError) as error:
                if tries == _TRIES:
                    raise self._broken(error) from None
            except Exception as error:  # noqa: BLE001 - of another library
                raise unreadable(self.name, error) from None
            else:
                if not (tries < _TRIES and (answer.status == _MANY or answer.status >= _SERVER_ERRORS)):
                    return self._judged(answer, offset)
            time.sleep(_PAUSE * tries)
        raise AssertionError("the last try returns or raises")

    def _broken(self, error: Exception) -> Unreadable:
        cut = "the transfer was cut off" if "Payload" in type(error).__name__ else "the connection failed"
        words = without_secrets(str(error)) or type(error).__name__
        return Unreadable(f"{self.name}: {cut}, {_TRIES} times ({words}); try again, or look at the connection")

    async def _get(self, offset: int, length: int) -> _Answer:
        options = {**self._system.kwargs}
        headers = {**(options.pop("headers", None) or {}), "Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"}
        options["timeout"] = _timeout(options.pop("timeout", None))
        session = await self._system.set_session()
        async with session.get(self._system.encode_url(self._url), headers=headers, **options) as response:
            whole = response.status == _WHOLE and offset == 0 and (response.content_length or 0) > length
            wanted = response.status in (_WHOLE, _PART) and not whole
            return _Answer(response.status, response.headers, await _body(response, length) if wanted else b"")

    def _judged(self, answer: _Answer, offset: int) -> _Answer:
        """Return the answer if it has what was asked for. Raises `Unreadable`."""
        status, encoding = answer.status, answer.headers.get("Content-Encoding", "identity")
        if status in _GONE:
            raise Absent(f"{self.name}: not found (HTTP {status}); is the name right?")
        if status in _REFUSED:
            raise Refused(f"{self.name}: access is refused (HTTP {status}); a link may have expired, or credentials are missing")
        if status == _NO_RANGE and offset > 0:
            raise self.changed(f"{self.nbytes:,} bytes", f"at most {offset:,} bytes")
        if status == _WHOLE and (offset > 0 or len(answer.body) != int(answer.headers.get("Content-Length", -1))):
            raise self._no_ranges(status)
        if status not in (_WHOLE, _PART, _NO_RANGE):
            kind = Refused if _CLIENT_ERRORS <= status < _SERVER_ERRORS and status not in (_TIMED_OUT, _MANY) else Unreadable
            raise kind(f"{self.name}: the server answers with HTTP {status}; try again later")
        if encoding != "identity":
            raise Unreadable(f"{self.name}: the server sends it encoded ({encoding}), which leaves no places to read at; download it")
        return answer

    def _no_ranges(self, status: int) -> Unreadable:
        return Unreadable(
            f"{self.name}: the server does not send parts of a file (asked for a range, it answers with HTTP {status}); "
            "download it, or use a server that has ranges"
        )


async def _body(response: Any, length: int) -> bytes:
    """Return at most `length` bytes of the body, and one more that says that there are more."""
    data = bytearray()
    async for part in response.content.iter_chunked(1 << 20):
        data += part
        if len(data) > length:
            break
    return bytes(data)


def _timeout(given: Any) -> Any:
    """Return what aiohttp takes: a `ClientTimeout` as it is, or seconds (text, from an environment variable) for connecting and reading."""
    from aiohttp import ClientTimeout  # noqa: PLC0415 - an extra

    if given is not None and not isinstance(given, (int, float, str)):
        return given
    seconds = TIMEOUT if given is None else float(given)
    return ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
