# SPDX-License-Identifier: Apache-2.0
"""A program's work, from a file of rows to an analysis, in each value form of ours and with its peers.

A row is u64 → (f64, u32, 12 bytes), keys in no order. Every side works on a file, in one process, as its own documentation says for
speed, and keeps what is committed if the process dies: lmdb with `writemap` and without syncs, read in transactions for reading;
SQLite with a write-ahead log and `executemany`; rocksdict in raw mode; DuckDB, which is made for whole columns, with those only.

    ingest   all rows, row by row, in one transaction (sides with "arrays" in their name: in one call)
    change   get and set of one key after the other, in one transaction
    ranges   of 100 rows each, in a loop
    scan     all rows, in a loop
    analyse  all rows as numpy arrays, and sums of those

What each stage finds is compared before a time counts.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import numpy as np

import stable_structures as ss
from stable_structures.storable import Record

from .contestant import CLOCKS, WrongResult
from .measure import Results, Say, Times, leave_out_imports, turns, uncollected
from .work import PICK_SEED, Numbers, Sizes, run, splitmix

TITLE: Final = "a program's work"
STAGES: Final = ("ingest", "change", "ranges", "scan", "analyse")
SIZE: Final = "bytes of the file"
RANGE: Final = 100
CHANGED_PART: Final = 20
RANGES_PART: Final = 200
TEXT: Final = 12
LMDB_BYTES: Final = 1 << 33
ROW: Final = struct.Struct(f"<dI{TEXT}s")
KEY: Final = struct.Struct(">Q")
FIELDS: Final = np.dtype([("price", "<f8"), ("amount", "<u4"), ("code", f"V{TEXT}")])
SIGN: Final = 1 << 63

Row = tuple[float, int, bytes]


@dataclass(frozen=True)
class Rows:
    """What is worked on."""

    count: int

    @cached_property
    def keys(self) -> Numbers:
        return run(0, self.count).numbers

    @cached_property
    def sorted_keys(self) -> list[int]:
        return list(np.sort(self.keys).tolist())

    @cached_property
    def table(self) -> np.ndarray[Any, Any]:
        rows = np.zeros(self.count, FIELDS)
        rows["price"] = np.arange(self.count) / 4
        rows["amount"] = np.arange(self.count) % 1000
        rows["code"] = np.char.mod(f"%0{TEXT}d", np.arange(self.count)).astype(f"S{TEXT}").view(f"V{TEXT}")
        return rows

    @cached_property
    def rows(self) -> list[tuple[int, Row]]:
        """Return key and value of each row, as a reader of the file gives them."""
        return list(zip(self.keys.tolist(), self.table.tolist(), strict=True))

    @cached_property
    def changed(self) -> list[int]:
        picked = splitmix(PICK_SEED, np.arange(max(1, self.count // CHANGED_PART), dtype=np.uint64)) % np.uint64(self.count)
        return list(self.keys[picked].tolist())

    @cached_property
    def ends(self) -> list[tuple[int, int]]:
        """Return the first key of each range, and the first behind it."""
        count, keys = max(1, self.count // RANGES_PART), self.sorted_keys
        starts = splitmix(PICK_SEED + 1, np.arange(count, dtype=np.uint64)) % np.uint64(max(1, self.count - RANGE))
        return [(keys[at], keys[min(at + RANGE, self.count - 1)]) for at in starts.tolist()]

    def steps(self, stage: str) -> int:
        """Return how many operations a stage has."""
        return {"change": len(self.changed), "ranges": len(self.ends)}.get(stage, self.count)


class Side:
    """One way to do the work. A stage returns what it found."""

    name: ClassVar[str]
    needs: ClassVar[str | None] = None
    stages: ClassVar[tuple[str, ...]] = STAGES

    def __init__(self, data: Rows, directory: Path) -> None:
        self.data = data
        self.directory = directory
        self.open(directory / "data")

    def open(self, path: Path) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def ingest(self) -> int:
        raise NotImplementedError

    def change(self) -> int:
        raise NotImplementedError

    def ranges(self) -> tuple[int, int]:
        """Return the rows in all ranges, and the sum of their amounts."""
        raise NotImplementedError

    def scan(self) -> float:
        """Return the sum of the prices."""
        raise NotImplementedError

    def analyse(self) -> tuple[int, float, int]:
        """Return the number of rows, the sum of the prices over 1,000, and that of the amounts."""
        keys, prices, amounts = self.columns()
        return len(keys), float(prices[prices > 1000].sum()), int(amounts.sum(dtype=np.uint64))

    def columns(self) -> tuple[Any, Any, Any]:
        raise NotImplementedError

    def stored(self) -> int:
        """Return the bytes of its files, closed."""
        self.close()
        return sum(path.stat().st_size for path in self.directory.rglob("*") if path.is_file())


# ---- ours ----


@ss.storable
@dataclass(slots=True)
class Trade:
    price: ss.f64
    amount: ss.u32
    code: Annotated[bytes, ss.Array(TEXT)]


class Ours(Side):
    """Values as plain tuples."""

    name = "ours, tuple"
    form: ClassVar[Any] = tuple[ss.f64, ss.u32, Annotated[bytes, ss.Array(TEXT)]]

    def open(self, path: Path) -> None:
        self.memory = ss.StableMemory.open(path)
        self.held = ss.StableBTreeMap[ss.u64, self.form](self.memory)

    def close(self) -> None:
        self.memory.close()

    def ingest(self) -> int:
        held = self.held
        with self.memory.transaction():
            for key, row in self.data.rows:
                held[key] = row
        return len(held)

    def change(self) -> int:
        held = self.held
        with self.memory.transaction():
            for key in self.data.changed:
                price, amount, code = held[key]
                held[key] = (price, amount + 1, code)
        return len(held)

    def ranges(self) -> tuple[int, int]:
        count = total = 0
        for start, stop in self.data.ends:
            for _, row in self.held.range(start, stop):
                count += 1
                total += row[1]
        return count, total

    def scan(self) -> float:
        total = 0.0
        for _, row in self.held.items():  # noqa: PERF102 - a program wants the keys
            total += row[0]
        return total

    def columns(self) -> tuple[Any, Any, Any]:
        keys, rows = self.held.to_numpy()
        price, amount, _ = rows.dtype.names
        return keys, rows[price], rows[amount]


class OurRecords(Ours):
    """Values as numpy records, given as tuples."""

    name = "ours, Record"
    form = Record(FIELDS)

    def change(self) -> int:
        held = self.held
        with self.memory.transaction():
            for key in self.data.changed:
                price, amount, code = held[key].item()
                held[key] = (price, amount + 1, code)
        return len(held)

    def ranges(self) -> tuple[int, int]:
        count = total = 0
        for start, stop in self.data.ends:
            for _, row in self.held.range(start, stop):
                count += 1
                total += int(row[1])
        return count, total


class OurObjects(Ours):
    """Values as objects of a dataclass."""

    name = "ours, dataclass"
    form = Trade

    def ingest(self) -> int:
        held = self.held
        with self.memory.transaction():
            for key, row in self.data.rows:
                held[key] = Trade(*row)
        return len(held)

    def change(self) -> int:
        held = self.held
        with self.memory.transaction():
            for key in self.data.changed:
                trade = held[key]
                trade.amount += 1
                held[key] = trade
        return len(held)

    def ranges(self) -> tuple[int, int]:
        count = total = 0
        for start, stop in self.data.ends:
            for _, row in self.held.range(start, stop):
                count += 1
                total += row.amount
        return count, total

    def scan(self) -> float:
        total = 0.0
        for _, row in self.held.items():  # noqa: PERF102 - a program wants the keys
            total += row.price
        return total


class OurArrays(Ours):
    """Whole arrays, and a loop only where the work is one."""

    name = "ours, arrays"
    form = Record(FIELDS)
    stages = ("ingest", "change", "analyse")

    def ingest(self) -> int:
        with self.memory.transaction():
            return self.held.insert_many(self.data.keys, self.data.table)

    def change(self) -> int:
        keys = np.array(self.data.changed, np.uint64)
        unique, counts = np.unique(keys, return_counts=True)
        with self.memory.transaction():
            rows = np.array([row.item() for row in self.held.get_many(unique)], FIELDS)
            rows["amount"] += counts.astype(np.uint32)
            self.held.insert_many(unique, rows)
        return len(self.held)


# ---- peers ----


class Lmdb(Side):
    name = "lmdb"
    needs = "lmdb"

    def open(self, path: Path) -> None:
        lmdb = import_module("lmdb")
        self.environment = lmdb.open(str(path), map_size=LMDB_BYTES, subdir=False, writemap=True, map_async=True, sync=False, lock=False)

    def close(self) -> None:
        self.environment.close()

    def ingest(self) -> int:
        pack_key, pack = KEY.pack, ROW.pack
        with self.environment.begin(write=True) as transaction:
            put = transaction.put
            for key, row in self.data.rows:
                put(pack_key(key), pack(*row))
        return int(self.environment.stat()["entries"])

    def change(self) -> int:
        pack_key, pack, unpack = KEY.pack, ROW.pack, ROW.unpack
        with self.environment.begin(write=True) as transaction:
            get, put = transaction.get, transaction.put
            for key in self.data.changed:
                packed = pack_key(key)
                price, amount, code = unpack(get(packed))
                put(packed, pack(price, amount + 1, code))
        return int(self.environment.stat()["entries"])

    def ranges(self) -> tuple[int, int]:
        count = total = 0
        pack_key, unpack_key, unpack = KEY.pack, KEY.unpack, ROW.unpack
        with self.environment.begin() as transaction:
            cursor = transaction.cursor()
            for start, stop in self.data.ends:
                if cursor.set_range(pack_key(start)):
                    for key, data in cursor.iternext():
                        if unpack_key(key)[0] >= stop:
                            break
                        count += 1
                        total += unpack(data)[1]
        return count, total

    def scan(self) -> float:
        total, unpack_key, unpack = 0.0, KEY.unpack, ROW.unpack
        with self.environment.begin() as transaction:
            for key, data in transaction.cursor():
                unpack_key(key)  # a program wants it
                total += unpack(data)[0]
        return total

    def columns(self) -> tuple[Any, Any, Any]:
        with self.environment.begin() as transaction:
            pairs = list(transaction.cursor())
        keys = np.frombuffer(b"".join([key for key, _ in pairs]), ">u8").astype("<u8")
        rows = np.frombuffer(b"".join([data for _, data in pairs]), FIELDS)
        return keys, rows["price"], rows["amount"]

    def stored(self) -> int:
        pages = int(self.environment.info()["last_pgno"]) + 1  # with writemap the file has the size of the map
        size = pages * int(self.environment.stat()["psize"])
        self.close()
        return size


class Sqlite(Side):
    name = "sqlite3"

    def open(self, path: Path) -> None:
        self.held = sqlite3.connect(path, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=NORMAL",
            "CREATE TABLE rows (key INTEGER PRIMARY KEY, price REAL, amount INTEGER, code BLOB)",
        ):
            self.held.execute(statement)

    def close(self) -> None:
        self.held.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.held.close()

    def _count(self) -> int:
        return int(self.held.execute("SELECT count(*) FROM rows").fetchone()[0])

    def ingest(self) -> int:
        given = ((key - SIGN, *row) for key, row in self.data.rows)
        self.held.execute("BEGIN")
        self.held.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", given)
        self.held.execute("COMMIT")
        return self._count()

    def change(self) -> int:
        execute = self.held.execute
        execute("BEGIN")
        for key in self.data.changed:
            amount = execute("SELECT amount FROM rows WHERE key = ?", (key - SIGN,)).fetchone()[0]
            execute("UPDATE rows SET amount = ? WHERE key = ?", (amount + 1, key - SIGN))
        execute("COMMIT")
        return self._count()

    def ranges(self) -> tuple[int, int]:
        count = total = 0
        query = "SELECT key, price, amount, code FROM rows WHERE key >= ? AND key < ? ORDER BY key"
        for start, stop in self.data.ends:
            for row in self.held.execute(query, (start - SIGN, stop - SIGN)):
                count += 1
                total += row[2]
        return count, total

    def _all(self) -> Iterator[Any]:
        return self.held.execute("SELECT key, price, amount, code FROM rows ORDER BY key")

    def scan(self) -> float:
        total = 0.0
        for row in self._all():
            total += row[1]
        return total

    def columns(self) -> tuple[Any, Any, Any]:
        keys, prices, amounts, _ = zip(*self._all(), strict=True)
        return np.array(keys, np.int64), np.array(prices), np.array(amounts, np.uint32)


class RocksDict(Side):
    name = "rocksdict"
    needs = "rocksdict"

    def open(self, path: Path) -> None:
        rocksdict = import_module("rocksdict")
        self.held = rocksdict.Rdict(str(path), rocksdict.Options(raw_mode=True))
        self.count = 0

    def close(self) -> None:
        self.held.flush()
        self.held.close()

    def ingest(self) -> int:
        held, pack_key, pack = self.held, KEY.pack, ROW.pack
        for key, row in self.data.rows:
            held[pack_key(key)] = pack(*row)
        return self.data.count

    def change(self) -> int:
        held, pack_key, pack, unpack = self.held, KEY.pack, ROW.pack, ROW.unpack
        for key in self.data.changed:
            packed = pack_key(key)
            price, amount, code = unpack(held[packed])
            held[packed] = pack(price, amount + 1, code)
        return self.data.count

    def ranges(self) -> tuple[int, int]:
        count = total = 0
        pack_key, unpack_key, unpack = KEY.pack, KEY.unpack, ROW.unpack
        for start, stop in self.data.ends:
            for key, data in self.held.items(from_key=pack_key(start)):
                if unpack_key(key)[0] >= stop:
                    break
                count += 1
                total += unpack(data)[1]
        return count, total

    def scan(self) -> float:
        total, unpack_key, unpack = 0.0, KEY.unpack, ROW.unpack
        for key, data in self.held.items():
            unpack_key(key)
            total += unpack(data)[0]
        return total

    def columns(self) -> tuple[Any, Any, Any]:
        pairs = list(self.held.items())
        keys = np.frombuffer(b"".join([key for key, _ in pairs]), ">u8").astype("<u8")
        rows = np.frombuffer(b"".join([data for _, data in pairs]), FIELDS)
        return keys, rows["price"], rows["amount"]


class DuckDb(Side):
    """Whole columns."""

    name = "DuckDB, arrays"
    needs = "duckdb"
    stages = ("ingest", "scan", "analyse")

    def open(self, path: Path) -> None:
        self.held = import_module("duckdb").connect(str(path))
        self.held.execute("CREATE TABLE rows (key UBIGINT, price DOUBLE, amount UINTEGER, code BLOB)")

    def close(self) -> None:
        self.held.close()

    def ingest(self) -> int:
        pandas = import_module("pandas")
        table = self.data.table
        columns = {"key": self.data.keys, "price": table["price"], "amount": table["amount"], "code": table["code"].tolist()}
        given = pandas.DataFrame(columns)
        self.held.register("given", given)
        self.held.execute("INSERT INTO rows SELECT key, price, amount, code FROM given")
        self.held.unregister("given")
        return int(self.held.execute("SELECT count(*) FROM rows").fetchone()[0])

    def scan(self) -> float:
        total = 0.0
        found = self.held.execute("SELECT key, price, amount, code FROM rows ORDER BY key")
        while batch := found.fetchmany(10_000):
            for row in batch:
                total += row[1]
        return total

    def columns(self) -> tuple[Any, Any, Any]:
        found = self.held.execute("SELECT key, price, amount, code FROM rows ORDER BY key").fetchnumpy()
        return found["key"], found["price"], found["amount"]


SIDES: Final[tuple[type[Side], ...]] = (Ours, OurRecords, OurObjects, OurArrays, Lmdb, Sqlite, RocksDict, DuckDb)
OURS: Final = tuple(kind.name for kind in SIDES if issubclass(kind, Ours))


# ---- the run ----


def measure(sizes: Sizes, disk: Path, clock: str, results: Results, say: Say) -> None:
    """Measure all sides in `sizes.rounds` rounds; in each, all do a stage before the next begins."""
    data = Rows(sizes.work)
    kinds = []
    for kind in SIDES:
        if kind.needs is None or find_spec(kind.needs):
            kinds.append(kind)
        else:
            say(f"Without {kind.name}: {kind.needs} is not installed")
    leave_out_imports(kind.needs for kind in kinds if kind.needs)
    try:
        for number in range(sizes.rounds):
            _round(data, turns(kinds, number), disk, clock, partial(_note, results, data))
            say(f"{TITLE}, {data.count:,} rows: round {number + 1} of {sizes.rounds}")
            if number == 0:
                leave_out_imports()  # what the sides imported as they were used first
    except WrongResult as wrong:
        results.drop(TITLE, data.count, sweep=False)
        results.fail(wrong, say)


def _note(results: Results, data: Rows, stage: str, name: str, value: float) -> None:
    results.add(Times(TITLE, stage, name, data.count, sweep=False), value)


def _round(data: Rows, kinds: list[type[Side]], disk: Path, clock: str, note: Callable[[str, str, float], None]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ss-work-", dir=disk))
    sides: list[Side] = []
    try:
        for number, kind in enumerate(kinds):
            own = folder / str(number)
            own.mkdir()
            sides.append(kind(data, own))
        for stage in STAGES:
            found = {}
            for side in sides:
                if stage in side.stages:
                    with uncollected():
                        start = CLOCKS[clock]()
                        found[side.name] = getattr(side, stage)()
                        note(stage, side.name, (CLOCKS[clock]() - start) / data.steps(stage))
            _compare(stage, found)
        for side in sides:
            note(SIZE, side.name, side.stored() / data.count)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compare(stage: str, found: dict[str, Any]) -> None:
    """Raise `WrongResult` if not all found the same. A side that does not change rows has other amounts, which it leaves out."""
    if stage == "analyse":
        found = {name: each[:2] if name == DuckDb.name else each for name, each in found.items()}
        first = next(each for name, each in found.items() if name != DuckDb.name)
        same = all(_close(each, first[: len(each)]) for each in found.values())
    else:
        first = next(iter(found.values()))
        same = all(_close(each, first) for each in found.values())
    if not same:
        raise WrongResult(f"{TITLE}: {stage} found different things: {found}")


def _close(one: Any, other: Any) -> bool:
    """Return whether two results agree; sums of floats in another order may differ in the last digits."""
    return bool(np.allclose(np.array(one, float), np.array(other, float), rtol=1e-9, atol=0))
