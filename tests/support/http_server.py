# SPDX-License-Identifier: Apache-2.0
"""A real HTTP server with ranges, which counts what it is asked for and can be made to misbehave."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class Files:
    """What the server has, how it behaves, and what it was asked for."""

    def __init__(self):
        self.content = {}  # path -> bytes, or an object with read(offset, length) and nbytes
        self.etags = {}
        self.requests = []  # (method, path, first, bytes sent)
        self.ranges = True
        self.validators = True
        self.statuses = []  # answers of the next requests, before the server behaves again
        self.cut_after = None  # bytes of a body after which the connection ends
        self.cuts = 0
        self.delay = 0.0
        self.encoding = None
        self.wrong_start = 0
        self.refused = 0  # the status for every name without a query
        self.failing = {}  # path -> status
        self.page = None  # what it sends for every name that it does not have
        self.answer = None  # called with the handler instead of its own answer, for the names that it has
        self.before = None  # called with the number of requests before each answer

    def put(self, path, data, etag="one"):
        self.content[path] = data
        self.etags[path] = f'"{etag}"'

    @property
    def count(self):
        return len(self.requests)

    @property
    def sent(self):
        return sum(size for *_, size in self.requests)

    def forget(self):
        self.requests.clear()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, *, body):
        files = self.server.files
        path = self.path.partition("?")[0]
        if files.before is not None:
            files.before(files.count)
        time.sleep(files.delay)
        data = files.content.get(path, files.page)
        if files.answer is not None and data is not None:
            files.answer(self)
            return
        status = files.statuses.pop(0) if files.statuses else 404 if data is None else 200
        status = files.failing.get(path, files.refused if files.refused and "?" not in self.path else status)
        if status != 200:
            files.requests.append((self.command, path, 0, 0))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = len(data) if isinstance(data, bytes) else data.nbytes
        first, last, found = 0, size - 1, _RANGE.fullmatch(self.headers.get("Range", ""))
        if found and files.ranges:
            first, last = int(found[1]), min(int(found[2]), size - 1)
            if first >= size:
                files.requests.append((self.command, path, first, 0))
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first + files.wrong_start}-{last}/{size}")
        else:
            self.send_response(200)
        length = last + 1 - first
        files.requests.append((self.command, path, first, length))
        self.send_header("Content-Length", str(length))
        if files.validators:
            self.send_header("ETag", files.etags.get(path, '"page"'))
        if files.encoding:
            self.send_header("Content-Encoding", files.encoding)
        self.end_headers()
        if body:
            self._send(data, first, length)

    def _send(self, data, first, length):
        files = self.server.files
        part = data[first : first + length] if isinstance(data, bytes) else data.read(first, length)
        if files.cut_after is not None and length > files.cut_after:
            files.cuts += 1  # before the other side can know of it
            self.wfile.write(part[: files.cut_after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return
        try:
            self.wfile.write(part)
        except (BrokenPipeError, ConnectionResetError):  # the other side has seen enough
            self.close_connection = True


@contextmanager
def serving():
    """Provide (the server's name, what it has)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.files = Files()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
