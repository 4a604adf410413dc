# SPDX-License-Identifier: Apache-2.0
"""What else keeps an ordered map in a Python program. Keys and values in the form that each takes are made outside the clock,
but for `lmdb, ints`.

lmdb, sqlite3 and rocksdict get everything in one transaction, and nothing is synced: their work in memory is compared with ours. lmdb
writes through a writable map and reads in a transaction for reading, as its documentation says for speed.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from .contestant import Contestant, Work, WrongResult, assign, delete, drain, each
from .work import PEERS_UP_TO, Batch

LMDB_MAP_BYTES = 1 << 33
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system without a disk, if there is one


class Peer(Contestant):
    """An ordered map other than ours."""

    largest = PEERS_UP_TO
    held: Any

    def insert(self, batch: Batch) -> Work:
        return assign(self.held, batch.keys, batch.values)

    def set(self, batch: Batch) -> Work:
        return self.insert(batch)

    def get(self, batch: Batch) -> Work:
        return each(self.held.get, batch.keys)

    def iterate(self, _: Batch) -> Work:
        return drain(self.held.items)

    def remove(self, batch: Batch) -> Work:
        return delete(self.held, batch.keys)


class SortedDict(Peer):
    name = "SortedDict"
    needs = "sortedcontainers"

    def fresh(self) -> None:
        self.held = import_module("sortedcontainers").SortedDict()

    def entries(self) -> Iterable[tuple[Any, Any]]:
        return list(self.held.items())


class SortedSet(Peer):
    name = "SortedSet"
    needs = "sortedcontainers"

    def fresh(self) -> None:
        self.held = import_module("sortedcontainers").SortedSet()

    def insert(self, batch: Batch) -> Work:
        return each(self.held.add, batch.keys)

    def contains(self, batch: Batch) -> Work:
        return each(self.held.__contains__, batch.keys)

    def iterate(self, _: Batch) -> Work:
        return drain(self.held.__iter__)

    def remove(self, batch: Batch) -> Work:
        return each(self.held.remove, batch.keys)


class BTrees(Peer):
    """QQBTree: unsigned 64-bit keys and values, in C."""

    name = "BTrees"
    needs = "BTrees"

    def fresh(self) -> None:
        self.held = import_module("BTrees.QQBTree").QQBTree()

    def entries(self) -> Iterable[tuple[Any, Any]]:
        return list(self.held.items())


class _OnDisk(Peer):
    """Keeps files, where possible in shared memory."""

    directory: Path | None = None

    def _new_directory(self) -> str:
        self.close()
        self.directory = Path(tempfile.mkdtemp(prefix="ss-bench-", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
        return str(self.directory)

    def close(self) -> None:
        if self.directory is not None:
            self._shut()
            shutil.rmtree(self.directory)
            self.directory = None

    def _shut(self) -> None:
        raise NotImplementedError

    def check(self, operation: str, batch: Batch, result: Any) -> None:
        if operation == "get" and result != batch.raw_values[-1]:
            raise WrongResult(f"{self.name}: get gave {result}, not {batch.raw_values[-1]!r}")


class Lmdb(_OnDisk):
    """As its documentation says for speed: a writable map without syncs; writes in one transaction, reads in one for reading."""

    name = "lmdb"
    needs = "lmdb"
    writes = False

    def fresh(self) -> None:
        path = self._new_directory()
        options = {"map_size": LMDB_MAP_BYTES, "sync": False, "metasync": False, "writemap": True, "map_async": True}
        self.environment = import_module("lmdb").open(path, **options)
        self.held = self.environment.begin()
        self.writes = False

    def _shut(self) -> None:
        self.held.abort()
        self.environment.close()

    def transaction(self, *, write: bool) -> Any:
        """Return the transaction for an operation; outside the clock it commits the one before."""
        if write != self.writes:
            self.held.commit()
            self.held, self.writes = self.environment.begin(write=write), write
        return self.held

    def insert(self, batch: Batch) -> Work:
        return each(self.transaction(write=True).put, batch.raw_keys, batch.raw_values)

    def get(self, batch: Batch) -> Work:
        return each(self.transaction(write=False).get, batch.raw_keys)

    def iterate(self, _: Batch) -> Work:
        return drain(self.transaction(write=False).cursor)

    def remove(self, batch: Batch) -> Work:
        return each(self.transaction(write=True).delete, batch.raw_keys)

    def entries(self) -> Iterable[tuple[Any, Any]]:
        return _numbers(self.transaction(write=False).cursor())

    def footprint(self) -> int:
        """Bytes of the file that are in use."""
        self.transaction(write=False)
        return (int(self.environment.info()["last_pgno"]) + 1) * int(self.environment.stat()["psize"])


class LmdbInts(Lmdb):
    """With what a program does that has integers: the conversions are inside the clock."""

    name = "lmdb, ints"

    def insert(self, batch: Batch) -> Work:
        keys, values, put = batch.keys, batch.values, self.transaction(write=True).put

        def loop() -> None:
            for key, value in zip(keys, values, strict=True):
                put(key.to_bytes(8, "big"), value.to_bytes(8, "big"))

        return loop

    def get(self, batch: Batch) -> Work:
        keys, get = batch.keys, self.transaction(write=False).get

        def loop() -> int:
            value = 0
            for key in keys:
                value = int.from_bytes(get(key.to_bytes(8, "big")), "big")
            return value

        return loop

    def iterate(self, _: Batch) -> Work:
        cursor = self.transaction(write=False).cursor

        def loop() -> tuple[int, int] | None:
            entry = None
            for key, value in cursor():
                entry = int.from_bytes(key, "big"), int.from_bytes(value, "big")
            return entry

        return loop

    def remove(self, batch: Batch) -> Work:
        keys, remove = batch.keys, self.transaction(write=True).delete

        def loop() -> None:
            for key in keys:
                remove(key.to_bytes(8, "big"))

        return loop

    def check(self, operation: str, batch: Batch, result: Any) -> None:
        Contestant.check(self, operation, batch, result)


class RocksDict(_OnDisk):
    name = "rocksdict"
    needs = "rocksdict"

    def fresh(self) -> None:
        rocksdict = import_module("rocksdict")
        self.held = rocksdict.Rdict(self._new_directory(), rocksdict.Options(raw_mode=True))
        options = rocksdict.WriteOptions()
        options.disable_wal = True
        self.held.set_write_options(options)

    def _shut(self) -> None:
        self.held.close()

    def insert(self, batch: Batch) -> Work:
        return assign(self.held, batch.raw_keys, batch.raw_values)

    def get(self, batch: Batch) -> Work:
        return each(self.held.get, batch.raw_keys)

    def remove(self, batch: Batch) -> Work:
        return delete(self.held, batch.raw_keys)

    def entries(self) -> Iterable[tuple[Any, Any]]:
        return _numbers(self.held.items())

    def footprint(self) -> int:
        """Bytes of its files."""
        self.held.flush()
        return sum(path.stat().st_size for path in (self.directory or Path()).rglob("*") if path.is_file())


class Sqlite(Peer):
    """An INTEGER PRIMARY KEY in memory."""

    name = "sqlite3"

    def fresh(self) -> None:
        self.held = sqlite3.connect(":memory:", isolation_level=None)
        self.held.execute("CREATE TABLE map (key INTEGER PRIMARY KEY, value INTEGER)")
        self.held.execute("BEGIN")

    def insert(self, batch: Batch) -> Work:
        return _statements(self.held, "INSERT OR REPLACE INTO map VALUES (?, ?)", batch.signed_keys, batch.values)

    def get(self, batch: Batch) -> Work:
        return _queries(self.held, "SELECT value FROM map WHERE key = ?", batch.signed_keys)

    def iterate(self, _: Batch) -> Work:
        return drain(lambda: self.held.execute("SELECT key, value FROM map ORDER BY key"))

    def remove(self, batch: Batch) -> Work:
        return _statements(self.held, "DELETE FROM map WHERE key = ?", batch.signed_keys)

    def entries(self) -> Iterable[tuple[Any, Any]]:
        return [(key + (1 << 63), value) for key, value in self.held.execute("SELECT key, value FROM map ORDER BY key")]

    def footprint(self) -> int:
        """Bytes of its pages."""
        return int(self.held.execute("PRAGMA page_count").fetchone()[0]) * int(self.held.execute("PRAGMA page_size").fetchone()[0])


def _statements(database: sqlite3.Connection, statement: str, *columns: list[Any]) -> Work:
    def loop() -> None:
        for row in zip(*columns, strict=True):
            database.execute(statement, row)

    return loop


def _queries(database: sqlite3.Connection, query: str, keys: list[int]) -> Work:
    def loop() -> Any:
        row = None
        for key in keys:
            row = database.execute(query, (key,)).fetchone()
        return row and row[0]

    return loop


def _numbers(items: Iterable[tuple[bytes, bytes]]) -> list[tuple[int, int]]:
    return [(int.from_bytes(key, "big"), int.from_bytes(value, "big")) for key, value in items]
