"""A memory that another handle writes while it is looked at: what is seen is one commit, or an error."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest

from stable_structures import MemoryInUse, MemoryManager, StableBTreeMap, StableMemory, u64
from stable_structures.inspect import check, diff, inspect, open_image, opening, steady
from stable_structures.inspect.cli import looking
from stable_structures.inspect.cli.guard import CHANGED, DAMAGED, SOUND, TROUBLE
from stable_structures.inspect.formats import survey
from stable_structures.inspect.formats.layout import Finding
from stable_structures.inspect.source import FileSource
from stable_structures.memory.cached import CachedMemory

from ..support import command
from .test_cut import run

Pair = tuple[StableBTreeMap[u64, u64], StableMemory]


@pytest.fixture(params=["normal", "full"])
def live(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A map of a writer, and a reader of its file; what is looked at takes many steps."""
    monkeypatch.setattr(survey, "_STEP", 16)
    path = tmp_path / "live.bin"
    with StableMemory.open(path, durability=request.param, log_limit=1) as writer, StableMemory.open(path, "r") as reader:
        entries = StableBTreeMap[u64, u64](MemoryManager(writer).get(3))
        entries.update((number, number) for number in range(3000))
        yield entries, reader


def rewriting(entries: StableBTreeMap[u64, u64]) -> Callable[..., None]:
    """What commits other entries at each step."""
    begin = 0

    def step(*_: object) -> None:
        nonlocal begin
        begin += 3000
        entries.clear()
        entries.update((number, number) for number in range(begin, begin + 1000 + begin % 7))

    return step


def test_check_sees_one_commit(live: Pair) -> None:
    entries, reader = live
    assert check(reader, progress=rewriting(entries)) == []
    assert len(entries) < 3000
    with open_image(reader) as image:
        assert check(image, progress=rewriting(entries)) == []
    with reader.transaction():  # of the caller: the check is part of it
        assert check(reader, progress=rewriting(entries)) == []


def test_inspect_sees_one_commit(live: Pair) -> None:
    entries, reader = live
    found = inspect(reader, deep=True, progress=rewriting(entries))
    assert not found.damaged
    assert found.memories[0].length == 3000


def test_an_image_that_was_opened_before_sees_one_commit(live: Pair) -> None:
    """Not where the memories lay when it was opened, with what is in them now."""
    entries, reader = live
    with open_image(reader) as image:
        while inspect(reader).memories[0].reserved <= image.parts[3].source.nbytes:
            entries.update((number, number) for number in range(len(entries), 2 * len(entries)))
        assert check(image) == []
        found = inspect(image, deep=True)
        assert not found.damaged
        assert found.memories[0].length == len(entries)
        assert not any(part.changes for part in diff(image, reader.read(0, reader.nbytes)))


def test_diff_sees_one_commit(live: Pair) -> None:
    entries, reader = live
    before = reader.read(0, reader.nbytes)
    assert not any(part.changes for part in diff(before, reader, progress=rewriting(entries)))
    entries[1] = 7
    assert any(part.changes for part in diff(before, reader))


# ---- the command line, beside a writer ----

AT = 65_536 + 116  # of the first node


def spoil(path: Path, number: int) -> None:
    """The first byte of the first node, as another commit may leave it between two reads."""
    with path.open("r+b") as file:
        file.seek(AT)
        file.write(bytes([number]))


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Path]:
    """A file at rest that a program has open for writing."""
    path = tmp_path / "written.bin"
    with StableMemory.open(path) as memory:
        StableBTreeMap[u64, u64](MemoryManager(memory, bucket_pages=1).get(3)).update((number, number) for number in range(30))
    with StableMemory.open(path):
        yield path


@pytest.mark.parametrize("verb", [["check"], ["inspect", "--deep"], ["inspect", "--summary"]])
def test_what_is_sound_when_it_is_read_again_is_sound(written: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]) -> None:
    sound = written.read_bytes()
    spoil(written, 1)
    monkeypatch.setattr(steady.time, "sleep", lambda _: written.write_bytes(sound))
    code, out, _ = run(*verb, written)
    assert code == SOUND, out


@pytest.mark.parametrize("verb", [["check"], ["inspect", "--deep"], ["inspect", "--summary"], ["check", "--json"]])
def test_what_is_wrong_in_another_way_each_time_has_no_verdict(written: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]) -> None:
    sound, counted = written.read_bytes(), count(1)

    def another(_: float) -> None:
        written.write_bytes(sound)
        spoil(written, next(counted))

    another(0)
    monkeypatch.setattr(steady.time, "sleep", another)
    code, out, _ = run(*verb, written)
    assert code == CHANGED, out
    assert "changed while" in out
    assert "damaged, " not in out


@pytest.mark.parametrize("verb", [["check"], ["inspect", "--deep"], ["inspect", "--summary"], ["check", "--json"]])
def test_what_is_wrong_in_the_same_way_beside_other_changes_has_no_verdict(
    written: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    """A program that goes on is often in the middle of the same: the first node is wrong each time, and what else is there differs."""
    spoil(written, 1)
    monkeypatch.setattr(steady.time, "sleep", going_on(written))
    code, out, _ = run(*verb, written)
    assert code == CHANGED, out
    assert "damaged, " not in out


def going_on(written: Path) -> Callable[[float], None]:
    """What changes the last byte each time."""
    counted = count(1)

    def go_on(_: float) -> None:
        with written.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(bytes([next(counted)]))

    return go_on


def test_python_is_told_the_same(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = written.read_bytes()
    spoil(written, 1)
    monkeypatch.setattr(steady.time, "sleep", lambda _: None)
    wrong, heard = check(written), list[Finding]()
    assert wrong
    assert check(written, tell=heard.append) == heard == wrong
    assert inspect(written).damaged
    monkeypatch.setattr(steady.time, "sleep", going_on(written))
    with pytest.raises(MemoryInUse, match="changed while it was read"):
        check(written)
    assert inspect(written).damage == [steady.CHANGED_TEXT]
    monkeypatch.setattr(steady.time, "sleep", lambda _: written.write_bytes(sound))
    assert check(written) == []
    spoil(written, 1)
    assert not inspect(written).damaged


@pytest.mark.parametrize("verb", ["check", "inspect"])
def test_what_stays_wrong_in_the_same_way_is_damaged(written: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    waited = list[float]()
    monkeypatch.setattr(steady.time, "sleep", waited.append)
    spoil(written, 1)
    code, out, _ = run(verb, written)
    assert code == DAMAGED
    assert "changed while" not in out
    assert sum(waited) >= 1


@pytest.mark.parametrize("verb", [["check"], ["inspect", "--deep"], ["inspect", "--summary"]])
def test_what_is_wrong_while_a_program_stands_still_for_a_moment_has_no_verdict(
    written: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    """It is in the middle of an operation, and other programs have the processors, for longer than some looks take."""
    now = [0.0]

    def stand_still(seconds: float) -> None:
        now[0] += seconds
        spoil(written, 1 + int(now[0] / 0.9))

    spoil(written, 1)
    monkeypatch.setattr(steady.time, "sleep", stand_still)
    code, out, _ = run(*verb, written)
    assert code == CHANGED, out
    assert "damaged, " not in out


def test_bytes_that_came_back_between_two_looks_are_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the same after both looks, but what was wrong was not: in between they were others."""
    monkeypatch.setattr(steady.time, "sleep", lambda _: None)
    looks = (steady.Look(number, [f"rule {number}"], "the same") for number in count())
    assert steady.steady(lambda: next(looks))[1]
    looks = (steady.Look(number, [f"rule {number > 2}"], "the same") for number in count(1))  # from the third on they agree
    assert steady.steady(lambda: next(looks)) == (5, False)


def test_the_state_of_a_file_is_that_of_its_bytes_and_of_their_places(tmp_path: Path) -> None:
    """A sum of what stands in a file with holes is not enough: a page may move."""
    path, found = tmp_path / "image.bin", set()
    for place in range(3):
        with path.open("wb") as file:
            file.seek(place << 21)
            file.write(b"page" * 1024)
            file.truncate(3 << 21)
        with open_image(path) as image:
            image.source.was_written = True
            found.add(steady.state_of(image, ["wrong"]))
    assert len(found) == 3


def test_a_file_that_is_written_after_it_was_opened_has_a_state(tmp_path: Path) -> None:
    """Nobody had it open for writing when it was opened, so only the change itself says that somebody writes."""
    path = tmp_path / "image.bin"
    with StableMemory.open(path) as memory:
        StableBTreeMap[u64, u64](MemoryManager(memory, bucket_pages=1).get(3))[1] = 1
    with open_image(path) as image:
        assert steady.state_of(image, ["wrong"]) is None
        with path.open("ab") as file:
            file.write(bytes(65_536))
        assert steady.state_of(image, ["wrong"]) is not None
        assert steady.state_of(image, []) is None


@pytest.mark.parametrize("verb", [["check"], ["inspect", "--deep"], ["inspect", "--summary"]])
def test_a_file_that_becomes_shorter_is_looked_at_again(written: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]) -> None:
    """As it does when a writer without a log rolls back what made it longer."""
    size, read, looks = written.stat().st_size, FileSource._read, count()

    def cut(source: FileSource, offset: int, length: int) -> bytes:
        if source.nbytes == 4 * size:
            os.truncate(written, offset)
        return read(source, offset, length)

    def put_back(_: float) -> None:
        written.write_bytes(sound)
        os.truncate(written, size if next(looks) else 4 * size)

    sound = written.read_bytes()
    os.truncate(written, 4 * size)
    monkeypatch.setattr(steady.time, "sleep", put_back)
    monkeypatch.setattr(FileSource, "_read", cut)
    code, out, errors = run(*verb, written)
    assert code == SOUND, out + errors


@pytest.mark.parametrize("verb", [["check"], ["inspect", "--deep"], ["inspect", "--summary"]])
def test_a_log_that_was_put_into_the_file_since_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]) -> None:
    """A killed program left it, and another one opens, changes and closes the file after the log was read: laid over that, it spoils it."""
    path, read, reads = left_by_a_killed_writer(tmp_path), opening.read_log, count()

    def late(*given: Any) -> Any:
        found = read(*given)
        if next(reads) == 0:
            with StableMemory.open(path) as memory:
                rewriting(StableBTreeMap[u64, u64](MemoryManager(memory).get(3)))()
        return found

    monkeypatch.setattr(opening, "read_log", late)
    code, out, _ = run(*verb, path)
    assert code == SOUND, out


def left_by_a_killed_writer(folder: Path) -> Path:
    path, there = folder / "left.bin", folder / "there.bin"
    with StableMemory.open(there) as memory:
        entries = StableBTreeMap[u64, u64](MemoryManager(memory, bucket_pages=1).get(3))
        entries.update((number, number) for number in range(3000))
        memory.checkpoint()
        del entries[7]  # a few blocks: the others are as the file has them
        shutil.copyfile(there, path)
        shutil.copyfile(f"{there}-wal", f"{path}-wal")
    return path


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_a_check_beside_a_busy_writer_never_says_damaged(tmp_path: Path, durability: Literal["none", "normal", "full"]) -> None:
    path = tmp_path / "busy.bin"
    with StableMemory.open(path, durability=durability, **limits(durability)) as memory:
        step, stop = rewriting(StableBTreeMap[u64, u64](MemoryManager(memory, bucket_pages=1).get(3))), threading.Event()

        def write() -> None:
            while not stop.is_set():
                step()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            codes = [command.run(["check", str(path)]).returncode for _ in range(1 if durability == "none" else 2)]
        finally:
            stop.set()
            writer.join()
    assert set(codes) <= {SOUND, CHANGED}


VERBS = ["check", "inspect", "inspect --deep", "inspect --summary", "dump --memory 3", "get --memory 3 --key 7", "repair", "map"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("seed", range(3))
def test_reads_of_different_moments_end_with_a_verdict_or_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, seed: int
) -> None:
    """Whatever a read finds need not be there at the next one: a node has other entries, or none."""
    moments, random, path = states(), Random(seed), tmp_path / "busy.bin"
    path.write_bytes(moments[0])
    monkeypatch.setattr(FileSource, "_read", lambda _, offset, length: random.choice(moments)[offset : offset + length])
    monkeypatch.setattr(FileSource, "memory", lambda source: CachedMemory(source, source.nbytes, cache=1 << 16))
    out = ["-o", tmp_path / "out"] if verb in ("repair", "map") else []
    code, _, errors = run(*verb.split(), path, *out)
    assert code in (SOUND, DAMAGED, TROUBLE, CHANGED)
    assert "Traceback" not in errors


def states() -> list[bytes]:
    """A map with many entries and few, in trees of different heights, at places that change."""
    memory = StableMemory()
    entries = StableBTreeMap[u64, u64](MemoryManager(memory, bucket_pages=1).get(3))
    return [moment(memory, entries, length) for length in (3000, 5, 200, 12, 900, 0, 40)]


def moment(memory: StableMemory, entries: StableBTreeMap[u64, u64], length: int) -> bytes:
    entries.clear()
    entries.update((number * length % 997, number) for number in range(length))
    return memory.read(0, memory.nbytes)


def limits(durability: str) -> dict[str, int]:
    return {} if durability == "none" else {"log_limit": 1}


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_a_writer_that_rests_after_three_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Any) -> None:
    """It commits before each read, so that without a log what a look sees is of several commits."""
    path, read, look, looks = tmp_path / "busy.bin", FileSource._read, looking._checked, list[Any]()

    def looked(arguments: Any) -> Any:
        looks.append(look(arguments))
        return looks[-1]

    with StableMemory.open(path, durability=durability, **limits(durability)) as memory:
        step = rewriting(StableBTreeMap[u64, u64](MemoryManager(memory, bucket_pages=1).get(3)))
        step()
        monkeypatch.setattr(looking, "_checked", looked)
        monkeypatch.setattr(FileSource, "_read", lambda *given: (step() if len(looks) < 3 else None) or read(*given))
        code, out, _ = run("check", path)
    assert code == SOUND, out
    assert [bool(look.wrong) for look in looks] == [True, True, True, False] if durability == "none" else [False]


def test_a_state_that_is_gone_is_an_error(live: Pair) -> None:
    entries, reader = live

    def flood(*_: object) -> None:
        for number in range(20):
            entries.update((key, number) for key in range(20000 * number, 20000 * (number + 1)))
        time.sleep(0.01)

    with pytest.raises(MemoryInUse, match="begin a new one"):
        check(reader, progress=flood)
    assert check(reader) == []
