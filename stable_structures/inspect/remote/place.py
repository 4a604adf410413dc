# SPDX-License-Identifier: Apache-2.0
"""Names on another machine as a snapshot's folder needs them: what `pathlib.Path` has, as far as reading goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from ..source import Unreadable, read_small
from .http import HttpObject
from .names import is_http, is_remote, local_path, shown, split_query
from .objects import Absent, FsspecObject, Refused, RemoteObject, file_system

_LARGEST: Final = 64 << 20
_PAGE: Final = b"<"
"""How a page begins, and neither a schema nor a log."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """Of an object, as much of `os.stat_result` as is asked for."""

    st_size: int


class RemotePlace:
    """A name on another machine. Each object is asked for once, and stays the version that it was then.

    >>> place = RemotePlace("memory://snapshots/ledger/") / "metadata.json"
    >>> str(place), place.name, place.exists()
    ('memory://snapshots/ledger/metadata.json', 'metadata.json', False)
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.url = url
        self.options = dict(options or {})
        self._object: RemoteObject | None = None
        self._absent: Absent | None = None

    def __str__(self) -> str:
        return shown(self.url)

    @property
    def name(self) -> str:
        """Return the last part of the name."""
        return split_query(self.url)[0].rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> RemotePlace:
        """Return the folder that it is in; the query of a signed link is not of it."""
        return RemotePlace(split_query(self.url)[0].rstrip("/").rpartition("/")[0] + "/", self.options)

    def __truediv__(self, name: str) -> RemotePlace:
        return RemotePlace(f"{split_query(self.url)[0].rstrip('/')}/{name}", self.options)

    def object(self) -> RemoteObject:
        """Return the object. O(1), one request or two the first time. Raises `Absent`, and `Unreadable`."""
        if self._absent is not None:
            raise self._absent
        if self._object is None:
            system, path = file_system(self.url, self.options)
            try:
                self._object = HttpObject(self.url, system, path) if is_http(self.url) else FsspecObject(self.url, system, path)
            except Absent as absent:
                self._absent = absent
                raise
        return self._object

    def exists(self) -> bool:
        """Return whether there is such an object. O(1). Raises `Unreadable` if nobody can tell."""
        try:
            self.object()
        except Absent:
            return False
        return True

    is_file = exists

    def is_offered(self) -> bool:
        """Return whether there is such an object and it may be read. O(1). Raises `Unreadable` if nobody can tell.

        For what belongs to another object by its name alone: a link with a signature covers one name, and some servers have a page
        for every name.
        """
        try:
            return self.exists() and self.object().fetch(0, min(1, self.object().nbytes)) != _PAGE
        except Refused:
            return False

    def is_dir(self) -> bool:
        """Return whether the name says that it is a folder. O(1)."""
        return split_query(self.url)[0].endswith("/")

    def stat(self) -> _Facts:
        """Return its size. O(1). Raises `Absent`, and `Unreadable`."""
        return _Facts(self.object().nbytes)

    def read_bytes(self) -> bytes:
        """Return all of a small object. O(size). Raises `Absent`, and `Unreadable` if it is large."""
        found = self.object()
        if found.nbytes > _LARGEST:
            raise Unreadable(f"{self}: {found.nbytes:,} bytes are too many to be read at once")
        return found.fetch(0, found.nbytes) if found.nbytes else b""


Place: TypeAlias = Path | RemotePlace
"""A name here, or on another machine."""


def read_beside(place: Place, most: int = _LARGEST) -> bytes:
    """Return all of a small file, here or on another machine. O(size). Raises `Unreadable`, `FileNotFoundError` if it is absent."""
    return read_small(place, most) if isinstance(place, Path) else place.read_bytes()


def place_of(name: str | Place, options: Mapping[str, Any] | None = None) -> Place:
    """Return the place of a name. O(1).

    >>> str(place_of("a.bin")), str(place_of("s3://bucket/a.bin"))
    ('a.bin', 's3://bucket/a.bin')
    """
    if not isinstance(name, str):
        return name
    return RemotePlace(name, options) if is_remote(name) else Path(local_path(name))
