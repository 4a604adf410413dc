# SPDX-License-Identifier: Apache-2.0
"""One object on another machine: its size, and ranges of its bytes, all of one version of it.

An object may be replaced while it is read. Then what was read before and what is read after do not belong together, so a
change is an error: S3 is asked for the version that was opened (If-Match), other file systems are asked after each read
whether the object is still the one that was opened.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from ..source import Unreadable
from .names import shown, without_secrets

_LARGEST: Final = 4 << 40
MISSING = "names on other machines need fsspec: pip install 'stable-structures[remote]'"


class Absent(Unreadable, FileNotFoundError):
    """The object does not exist."""


class Refused(Unreadable):
    """The server does not give it, whether it exists or not: credentials, or what a signed link does not cover."""


class RemoteObject:
    """The bytes of an object. `nbytes` is its size, `notes` what a user should know of it."""

    nbytes: int

    def __init__(self, name: str) -> None:
        self.name = shown(name)
        self.notes: list[str] = []
        self._version: dict[str, Any] = {}
        """What tells one version of the object from another; empty if nothing does."""

    @property
    def version(self) -> dict[str, Any]:
        """Return what tells one version of the object from another; empty if nothing does."""
        return self._version

    def fetch(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset` on: one request. Raises `Unreadable`, also if the object has changed."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of connections that are of this object alone."""

    def sized(self, nbytes: int) -> int:
        """Return the size that a server tells. Raises `Unreadable` if no image is so large: a cache has a table of its blocks."""
        if nbytes > _LARGEST:
            raise Unreadable(f"{self.name}: the server says that it has {nbytes:,} bytes, and no image has more than {_LARGEST >> 40} TiB")
        return nbytes

    def changed(self, before: object, after: object) -> Unreadable:
        """Return the error for an object that is not the one that was opened."""
        return Unreadable(f"{self.name}: it changed while it was read (from {before} to {after}); start again")

    def short(self, offset: int, length: int, found: int) -> Unreadable:
        """Return the error for an answer that ends too early."""
        if found > length:
            return Unreadable(f"{self.name}: the server sent more than the {length:,} bytes that were asked for; is there a proxy between?")
        return Unreadable(
            f"{self.name}: the transfer was cut off: {found:,} of the {length:,} bytes from {offset:,} on came; start again, "
            "or look at the connection"
        )


def file_system(name: str, options: dict[str, Any]) -> tuple[Any, str]:
    """Return the file system of a name, and the path in it. Raises `Unreadable`, which names the extra that is missing."""
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra
    except ImportError:
        raise Unreadable(f"{shown(name)}: {MISSING}") from None
    try:
        system, path = url_to_fs(name, **options)
    except ImportError as error:
        raise Unreadable(
            f"{shown(name)}: {without_secrets(str(error))}; {MISSING}, and for others than HTTP and S3 the package of that system"
        ) from None
    except (ValueError, TypeError) as error:
        raise Unreadable(f"{shown(name)}: cannot be opened: {without_secrets(str(error))}") from None
    return system, str(path)


def unreadable(name: str, error: BaseException) -> Unreadable:
    """Return an error of a file system in our words."""
    kind = type(error).__name__
    if isinstance(error, Unreadable):
        return error
    if isinstance(error, FileNotFoundError):
        return Absent(f"{name}: not found; is the name right?")
    if isinstance(error, PermissionError) or "Credential" in kind:
        why = "access is refused or needs credentials; set them as fsspec reads them (for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        return Refused(f"{name}: cannot be read: {why}")
    if kind == "FileExpired":
        return Unreadable(f"{name}: it changed while it was read; start again")
    if isinstance(error, TimeoutError) or "Timeout" in kind:
        return Unreadable(f"{name}: the server did not answer in time; try again, or look at the connection")
    circle = "the server leads from one name to the next without end" if "TooManyRedirects" in kind else ""
    return Unreadable(f"{name}: cannot be read: {circle or without_secrets(str(error)) or kind}")


class FsspecObject(RemoteObject):
    """An object of any file system of fsspec. O(1): its size and version are asked for."""

    def __init__(self, name: str, system: Any, path: str) -> None:
        super().__init__(name)
        self._system, self._path = system, path
        self._file: Any = None
        try:
            found = self._facts()
        except Exception as error:  # noqa: BLE001 - file systems raise what they like
            raise unreadable(self.name, error) from None
        if found.get("type") == "directory":
            raise Absent(f"{self.name}: a folder, and not one of a snapshot: metadata.json is not in it")
        if not isinstance(found.get("size"), int):
            raise Unreadable(f"{self.name}: its size is not known, so it cannot be read in parts; download it")
        self.nbytes = self.sized(int(found["size"]))
        self._version = _version_of(found)
        self._is_kept_by_server = False

    def _facts(self) -> dict[str, Any]:
        with suppress(AttributeError, NotImplementedError):
            self._system.invalidate_cache(self._path)
        found: dict[str, Any] = self._system.info(self._path)
        return found

    def fetch(self, offset: int, length: int) -> bytes:
        """Return the bytes."""
        try:
            if self._file is None:
                self._open()
            self._file.seek(offset)
            data = bytes(self._file.read(length))
            if not self._is_kept_by_server:
                self._require_same()
        except Exception as error:  # noqa: BLE001 - as above
            raise unreadable(self.name, error) from None
        if len(data) != length:
            raise self.short(offset, length, len(data))
        return data

    def _open(self) -> None:
        """Open it so that each read is one request, and none is read ahead: the cache is ours."""
        self._file = self._system.open(self._path, "rb", cache_type="none")
        asked = getattr(self._file, "read_kw", None) or getattr(self._file, "req_kw", None) or {}
        self._is_kept_by_server = "IfMatch" in asked
        if self._is_kept_by_server and asked["IfMatch"] != self._version.get("ETag"):
            raise self.changed(self._version.get("ETag"), asked["IfMatch"])

    def _require_same(self) -> None:
        found = _version_of(self._facts())
        if found != self._version:
            raise self.changed(self._version, found)

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(Exception):  # nothing is lost of what was only read
                file.close()


def _version_of(found: dict[str, Any]) -> dict[str, Any]:
    """Return what tells one version of an object from another."""
    names = ("size", "ETag", "etag", "md5Hash", "generation", "VersionId", "mtime", "LastModified", "last_modified", "created", "ino")
    return {name: found[name] for name in names if found.get(name) is not None}
