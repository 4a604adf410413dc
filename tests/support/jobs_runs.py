"""Verbs with several processes, for test_jobs.py: functions that run in a small process (`command.call`).

A worker of pytest is large, so that each fork of it takes long.
"""

from __future__ import annotations

import io
import os
import random
import re
from functools import cache
from pathlib import Path
from typing import Any

from stable_structures import MemoryManager, StableBTreeMap, StableBTreeSet, StableLog, StableMemory, StableVec, u64
from stable_structures.inspect import Unreadable, check, diff, dump, jobs, open_image, repair, shrink
from stable_structures.inspect.formats import survey
from stable_structures.inspect.formats.layout import Damage
from stable_structures.inspect.parts import write_parts
from stable_structures.storable import parse_type

from .inspect_images import read

TYPES = {0: ("u64", "string"), 1: (None, "u64"), 2: ("u64", None), 3: (None, "string"), 9: ("u64", "string")}
ASKED: dict[str, tuple[int, dict[str, Any]]] = {
    "map": (0, {}),
    "map unordered": (0, {"unordered": True}),
    "map raw": (0, {"raw": True}),
    "part of a map": (9, {"start": "1000", "stop": "4000"}),
    "vec": (1, {}),
    "part of a vec": (1, {"start": 77, "stop": 3_000}),
    "set": (2, {}),
    "log": (3, {}),
}


def made(path: Path, *, changed: bool = False, damaged: bool = False, numbers: int = 20_000) -> Path:
    """An image with a structure of each kind."""
    path.write_bytes(image_of(changed, damaged, numbers))
    return path


@cache
def image_of(changed: bool, damaged: bool, numbers: int) -> bytes:
    memory, order = StableMemory(), random.Random(3)
    manager = MemoryManager(memory, bucket_pages=1)
    for number in (0, 9):
        users = StableBTreeMap[u64, str](manager.get(number))
        for key in order.sample(range(5000), 2000):
            users[key] = "x" * (key % 97)
        for key in order.sample(sorted(users), 700 + changed):
            del users[key]
    StableVec[u64](manager.get(1)).extend(range(numbers + changed))
    StableBTreeSet[u64](manager.get(2)).insert_many(order.sample(range(10**6), 4000))
    StableLog[str](manager.get(3), manager.get(4)).extend(map(str, range(5000)))
    data = bytearray(read(memory))
    for at in [at for at in range(65536, len(data), 4096) if data[at + 7 : at + 10] == b"BTN"][:9] if damaged else ():
        data[at + 7 : at + 10] = b"XXX"
    for node in [*re.finditer(rb"BTN\x02", data)][5:400:60] if damaged else ():
        data[node.start()] = 0
    return bytes(data)


def outcome(run: Any) -> Any:
    """What it returns, or the error that it raises."""
    try:
        return run()
    except (Unreadable, Damage, OSError) as error:
        return type(error), str(error)


def children() -> list[int]:
    """Those of this process."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def count_forks() -> list[int]:
    """Return what gets the children that are started from now on."""
    found: list[int] = []
    fork = os.fork

    def counted() -> int:
        found.append(fork())
        return found[-1]

    os.fork = counted
    return found


def tree(path: Path) -> Any:
    """The contents of a file or a folder."""
    if path.is_dir():
        return {one.name: one.read_bytes() for one in path.iterdir()}
    return path.read_bytes() if path.exists() else None


# ---- a verb ----


def compare_verbs(verb: str, image: Path, other: Path, folder: Path) -> None:
    """A verb does and says the same with 1, 2 and 64 processes."""
    jobs.LEAST = 1
    forks, found = count_forks(), []
    for number in (1, 2, 64):
        out = folder / f"out{number}" / "x.bin"
        out.parent.mkdir()
        said = outcome(lambda n=number, o=out: run_verb(verb, image, other, o, n))
        assert [one.name for one in out.parent.iterdir()] in (["x.bin"], [])
        found.append((str(said).replace(str(out.parent), ""), tree(out)))
        assert not children()
        assert bool(forks) is (number > 1) or isinstance(said, tuple)
        forks.clear()
    assert all(one == found[0] for one in found[1:])


def run_verb(verb: str, image: Path, other: Path, out: Path, number: int) -> Any:
    """What a verb returns with so many processes."""
    runs: dict[str, Any] = {
        "check": lambda: check(image, jobs=number),
        "diff": lambda: [(one, one.key.label, one.value.label) for one in diff(image, other, jobs=number)],
        "shrink": lambda: shrink(image, out, jobs=number),
        "repair": lambda: repair(image, out, jobs=number),
        "dump": lambda: write_parts([str(image)], out, jobs=number, note=[].append),
    }
    return runs[verb]()


# ---- texts ----


def make_batches_small(nbytes: int = 96 << 10) -> None:
    """For the rest of this process."""
    jobs.LEAST = 1
    dump._BYTES, dump._ROWS = 64 << 10, 1000
    survey.batches.__kwdefaults__["nbytes"] = nbytes


def texts(image: Path, asked: str, form: str, number: int, *, guessed: bool = False, **options: Any) -> Any:
    """What is written, and the error that ends it, if one does."""
    memory, words = ASKED[asked]
    out = io.BytesIO()
    with open_image(image) as opened:
        part = opened.part(memory)
        types = {} if guessed else {memory: tuple(None if one is None else parse_type(one) for one in TYPES[memory])}
        found = outcome(lambda: dump.write(dump.table(part, types, **words), form, out, jobs=dump.jobs_for(part, number), **options))
    return found, out.getvalue()


def compare_texts(image: Path, asked: str, form: str) -> None:
    """One process and three write the same."""
    make_batches_small()
    forks = count_forks()
    of_texts = [{"safe_csv": True}, {"plain": True}] if form == "csv" and asked in ("map", "map raw", "log") else []
    for options in [{}, {"guessed": True}, *of_texts]:
        alone = texts(image, asked, form, 1, **options)
        assert not forks
        assert isinstance(alone[0], int)
        assert texts(image, asked, form, 3, **options) == alone
        assert len(forks) > 1
        forks.clear()
    assert not children()


def compare_damaged_texts(image: Path, asked: str, form: str) -> None:
    """One process and three end at the same row. Batches are smaller still: damage in the middle has whole ones before it."""
    make_batches_small(48 << 10)
    forks = count_forks()
    alone = texts(image, asked, form, 1)
    assert isinstance(alone[0], tuple), alone[0]
    assert not forks
    assert texts(image, asked, form, 3) == alone
    assert forks or asked == "map unordered"  # all of it is looked at before anything is written
    assert len(alone[1]) > 1000 or asked == "map unordered"


def write_into_a_pipe_that_closes(image: Path) -> None:
    """No process is left of it."""

    class Pipe(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 20_000:
                raise BrokenPipeError
            return super().write(data)

    make_batches_small()
    forks = count_forks()
    with open_image(image) as opened:
        table = dump.table(opened.part(0), {0: (parse_type("u64"), parse_type("string"))})
        try:
            dump.write(table, "jsonl", Pipe(), jobs=3)
        except BrokenPipeError:
            assert forks
            assert not children()
        else:
            raise AssertionError("it was written")
