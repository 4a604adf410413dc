# SPDX-License-Identifier: Apache-2.0
"""Names of objects on other machines: `https://host/image.bin`, `s3://bucket/image.bin`, any name that fsspec knows.

Messages show a name without what must stay secret: the password before the host, and the query behind the path, which is
the signature of a link that somebody was sent.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?:://|::)")
_FILE: Final = "file://"
_HTTP: Final = ("http://", "https://")
_USER: Final = re.compile(r"(?<=://)[^/?#\s]*@")
_QUERY: Final = re.compile(r"""(?<=[^\s'"<>()])\?[^\s'"<>()]+""")


def is_remote(what: Any) -> bool:
    """Return whether it is the name of an object on another machine. O(1).

    >>> is_remote("s3://bucket/image.bin"), is_remote("image.bin"), is_remote("file:///tmp/image.bin")
    (True, False, False)
    """
    return isinstance(what, str) and _SCHEME.match(what) is not None and not what.startswith(_FILE)


def local_path(what: str) -> str:
    """Return the path of a name of a file on this machine, `file:///tmp/image.bin` too. O(1)."""
    return unquote(what.removeprefix(_FILE)) if what.startswith(_FILE) else what


def is_http(name: str) -> bool:
    """Return whether it is read over HTTP. O(1)."""
    return name.lower().startswith(_HTTP)


def split_query(name: str) -> tuple[str, str]:
    """Return the name up to its query, and the query with its question mark; only HTTP has one. O(1)."""
    before, mark, query = name.partition("?") if is_http(name) else (name, "", "")
    return before, mark + query


def shown(name: str) -> str:
    """Return the name for messages. O(1).

    >>> shown("https://ada:secret@host/image.bin?signature=abc")
    'https://host/image.bin'
    """
    return _USER.sub("", split_query(name)[0])


def without_secrets(text: str) -> str:
    """Return what another library says, on one line, without the passwords and queries of the names in it. O(size).

    >>> without_secrets("cannot connect to https://ada:secret@host/image.bin?signature=abc (refused)")
    'cannot connect to https://host/image.bin (refused)'
    """
    return " ".join(_QUERY.sub("", _USER.sub("", text)).split())
