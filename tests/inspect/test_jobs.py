"""`--jobs`: the same bytes and words whatever the number of processes, and nothing left of them, whatever ends the verb."""

from __future__ import annotations

import io
import os
import random
import re
import signal
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from stable_structures import MemoryManager, StableBTreeMap, StableBTreeSet, StableLog, StableMemory, StableVec, u64
from stable_structures.inspect import NotWhole, Unreadable, check, diff, dump, jobs, open_image, repair, shrink
from stable_structures.inspect.cli import guard
from stable_structures.inspect.formats import survey
from stable_structures.inspect.formats.layout import Damage
from stable_structures.inspect.parts import write_parts
from stable_structures.inspect.source import no_progress
from stable_structures.inspect.writing import NewFile
from stable_structures.storable import parse_type

from ..support import command
from ..support.inspect_images import read

pytestmark = [
    pytest.mark.usefixtures("without_fsync"),
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one process"),
]
SCHEMA = "".join(
    f'[memories.{memory}]\nstructure = "{structure}"\n{types}\n'
    for memory, structure, types in (
        (0, "map", 'key = "u64"\nvalue = "string"'),
        (1, "vec", 'value = "u64"'),
        (2, "set", 'key = "u64"'),
        (3, "log", 'value = "string"'),
        (9, "map", 'key = "u64"\nvalue = "string"'),
    )
)


def made(path: Path, *, changed: bool = False, damaged: bool = False, numbers: int = 20_000) -> Path:
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
    if damaged:
        nodes = [at for at in range(len(data)) if data[at : at + 4] == b"BTN\x02"]
        for at in nodes[5:400:60]:
            data[at] = 0
    path.write_bytes(data)
    return path


@pytest.fixture(params=["sound", "damaged"])
def image(request, tmp_path) -> Path:
    return made(tmp_path / "image.bin", damaged=request.param == "damaged")


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch):
    monkeypatch.setattr(jobs, "LEAST", 1)


def outcome(run: Any) -> Any:
    try:
        return run()
    except (Unreadable, Damage, OSError) as error:
        return type(error), str(error)


def tree(path: Path) -> Any:
    if path.is_dir():
        return {one.name: one.read_bytes() for one in path.iterdir()}
    return path.read_bytes() if path.exists() else None


@pytest.fixture
def forks(monkeypatch) -> list[int]:
    """The children that were started."""
    found: list[int] = []
    fork = os.fork

    def counted() -> int:
        found.append(fork())
        return found[-1]

    monkeypatch.setattr(os, "fork", counted)
    return found


@pytest.mark.parametrize("verb", ["check", "diff", "shrink", "repair", "dump"])
def test_the_number_of_processes_changes_nothing(verb, image, tmp_path, forks):
    other, found, others = made(tmp_path / "other.bin", changed=True), [], children()
    (tmp_path / "memories.toml").write_text(SCHEMA)
    for number in (1, 2, 64):
        out = tmp_path / f"out{number}" / "x.bin"
        out.parent.mkdir()
        runs: dict[str, Any] = {
            "check": lambda n=number: check(image, jobs=n),
            "diff": lambda n=number: [(one, one.key.label, one.value.label) for one in diff(image, other, jobs=n)],
            "shrink": lambda n=number, o=out: shrink(image, o, jobs=n),
            "repair": lambda n=number, o=out: repair(image, o, jobs=n),
            "dump": lambda n=number, o=out: write_parts([str(image)], o, jobs=n, note=[].append),
        }
        said = outcome(runs[verb])
        assert [one.name for one in out.parent.iterdir()] in (["x.bin"], [])
        found.append((str(said).replace(str(out.parent), ""), tree(out)))
        assert children() == others
        assert bool(forks) is (number > 1) or isinstance(said, tuple)
        forks.clear()
    assert all(one == found[0] for one in found[1:])


def children() -> list[int]:
    """Those of this process; the server of forked verbs may be one."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def test_a_damaged_memory_is_said_as_one_process_says_it(tmp_path):
    image = made(tmp_path / "image.bin", damaged=True)
    said = []
    for number in (1, 2):
        with pytest.raises(NotWhole) as error:
            shrink(image, tmp_path / "out.bin", jobs=number)
        said.append(str(error.value))
    assert said[0] == said[1]
    assert [one.name for one in tmp_path.iterdir()] == ["image.bin"]


@pytest.mark.parametrize("status", ["kill", "exit"])
def test_a_process_that_is_killed_is_said_and_the_others_end(status):
    def die(_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL) if status == "kill" else os._exit(3)

    tasks = [jobs.Task(1, lambda _: time.sleep(60)), jobs.Task(2, die), jobs.Task(1, lambda _: None)]
    before, others = time.monotonic(), children()
    with pytest.raises(jobs.ProcessLost, match="--jobs 1"):
        list(jobs.results(tasks, 2, no_progress))
    assert time.monotonic() - before < 30
    assert children() == others


def test_results_come_in_order_and_few_run_at_once(tmp_path):
    def run(number: int) -> int:
        (tmp_path / f"{number}").touch()
        time.sleep(0.02)
        seen = len(list(tmp_path.iterdir()))
        (tmp_path / f"{number}").unlink()
        return seen

    tasks = [jobs.Task(number % 5 + 1, lambda _, n=number: (n, run(n), "x" * 200_000)) for number in range(12)]
    found = list(jobs.results(tasks, 3, no_progress))
    assert [number for number, _, _ in found] == list(range(12))
    assert max(seen for _, seen, _ in found) <= 3


def test_small_memories_start_no_process(monkeypatch):
    monkeypatch.setattr(jobs, "LEAST", 10)
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a process"))
    tasks = [jobs.Task(size, lambda _, s=size: s) for size in (9, 1, 100)]
    assert list(jobs.results(tasks, 8, no_progress)) == [9, 1, 100]
    assert list(jobs.results(tasks[2:] * 2, 1, no_progress)) == [100, 100]


# ---- batches of one memory ----


def test_what_is_streamed_comes_in_order_with_what_processes_made_of_it(tmp_path):
    def run(number: int) -> tuple[int, int]:
        (tmp_path / f"{number}").touch()
        time.sleep(0.02 * (number % 3))
        seen = len(list(tmp_path.iterdir()))
        (tmp_path / f"{number}").unlink()
        return number if number % 4 else 1 // 0, seen

    others = children()
    found = list(jobs.streamed(range(12), run, 3))
    assert [number for number, _ in found] == list(range(12))
    assert [number for number, one in found if one is None] == [0, 4, 8]
    assert all(one is None or (one[0] == number and one[1] <= 6) for number, one in found)
    assert [one for _, one in jobs.streamed(range(3), run, 1)] == [None] * 3
    assert children() == others


def test_what_cannot_be_read_is_raised_behind_what_came_before():
    def items():
        yield from range(5)
        raise KeyError("gone")

    def take() -> None:
        for one in jobs.streamed(items(), str, 4):
            found.append(one)  # noqa: PERF402 - what came before the error

    others, found = children(), []
    with pytest.raises(KeyError, match="gone"):
        take()
    assert found == [(number, str(number)) for number in range(5)]
    assert children() == others


def test_who_takes_no_more_leaves_no_process():
    others = children()
    streamed = jobs.streamed(range(9), lambda _: b"x" * 10**6, 3)
    next(streamed)
    streamed.close()
    assert children() == others


def test_a_process_that_is_killed_ends_what_is_streamed():
    def run(number: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL) if number == 2 else time.sleep(0.1)

    others, found = children(), []
    with pytest.raises(jobs.ProcessLost, match="--jobs 1"):
        found += jobs.streamed(range(9), run, 3)
    assert children() == others


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


@pytest.fixture
def small_batches(monkeypatch) -> None:
    monkeypatch.setattr(jobs, "LEAST", 1)
    monkeypatch.setattr(dump, "_BYTES", 64 << 10)
    monkeypatch.setattr(dump, "_ROWS", 1000)
    monkeypatch.setitem(survey.batches.__kwdefaults__, "nbytes", 96 << 10)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("whole") / "image.bin", numbers=4_000)


def texts(image: Path, asked: str, form: str, number: int, *, guessed: bool = False, **options: Any) -> Any:
    """What is written, and the error that ends it, if one does."""
    memory, words = ASKED[asked]
    out = io.BytesIO()
    with open_image(image) as opened:
        part = opened.part(memory)
        types = {} if guessed else {memory: tuple(None if one is None else parse_type(one) for one in TYPES[memory])}
        found = outcome(lambda: dump.write(dump.table(part, types, **words), form, out, jobs=dump.jobs_for(part, number), **options))
    return found, out.getvalue()


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("form", ["csv", "jsonl", "cbor"])
@pytest.mark.parametrize("asked", ASKED)
def test_texts_are_the_same_whatever_the_number_of_processes(asked, form, whole, forks):
    others = children()
    of_texts = [{"safe_csv": True}, {"plain": True}] if form == "csv" and asked in ("map", "map raw", "log") else []
    for options in [{}, {"guessed": True}, *of_texts]:
        alone = texts(whole, asked, form, 1, **options)
        assert not forks
        assert isinstance(alone[0], int)
        assert texts(whole, asked, form, 3, **options) == alone
        assert len(forks) > 1
        forks.clear()
    assert children() == others


@pytest.fixture
def smaller_batches(monkeypatch) -> None:
    """Damage in the middle has whole batches before it."""
    monkeypatch.setitem(survey.batches.__kwdefaults__, "nbytes", 48 << 10)


@pytest.mark.usefixtures("small_batches", "smaller_batches")
@pytest.mark.parametrize("form", ["csv", "jsonl", "cbor"])
@pytest.mark.parametrize(
    "place", [*product(["map", "map unordered", "part of a map"], ["a value", "a node"]), ("log", "an entry")], ids=str
)
def test_damage_ends_texts_at_the_same_row(place, form, whole, tmp_path, forks):
    asked, what = place
    data = bytearray(whole.read_bytes())
    with open_image(whole) as opened:
        part = opened.part(ASKED[asked][0])
        reader = part.open(*(None if one is None else parse_type(one) for one in TYPES[part.id]))
        if asked == "log":
            data[reader.data.physical(reader.end(3_000))] = 0xFF
        elif what == "a node":
            node = next(node for node, i in reader.entries_between((2500).to_bytes(8, "big"), None) if node.leaf)
            data[part.source.physical(node.address)] = 0
        else:
            key = next(key for key, value in reader.entries() if key > (2500).to_bytes(8, "big") and len(value) > 20)
            where = data.index(b"x" * len(reader.find(key)), part.source.physical(holder(reader, key)))
            data[where] = 0xFF
    image = tmp_path / "image.bin"
    image.write_bytes(data)
    alone = texts(image, asked, form, 1)
    assert isinstance(alone[0], tuple), alone[0]
    assert not forks
    assert texts(image, asked, form, 3) == alone
    assert forks or asked == "map unordered"  # all of it is looked at before anything is written
    assert len(alone[1]) > 1000 or asked == "map unordered"


def holder(reader: Any, key: bytes) -> int:
    """The address of the node with the key."""
    return next(node.address for node, i in reader.entries_between(key, None) if node.keys[i] == key)


@pytest.mark.usefixtures("small_batches")
def test_a_closed_pipe_leaves_no_process(whole):
    class Pipe(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 20_000:
                raise BrokenPipeError
            return super().write(data)

    others = children()
    with open_image(whole) as opened, pytest.raises(BrokenPipeError):
        dump.write(dump.table(opened.part(0), {0: (parse_type("u64"), parse_type("string"))}), "jsonl", Pipe(), jobs=3)
    assert children() == others


SCRIPT = """
import os, sys, time
os.setsid()
from stable_structures.inspect import jobs, report
from stable_structures.__main__ import main
jobs.LEAST = 1
def slow(part, note, types, progress):
    for _ in range(600):
        progress("", 0, 0)
        time.sleep(0.1)
report.check_part = slow
sys.exit(main(sys.argv[1:]))
"""


def group(leader: int) -> list[int]:
    """The processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("how", ["ctrl+c", "term", "kill"])
def test_no_process_is_left_whatever_ends_the_verb(how, tmp_path):
    image = made(tmp_path / "image.bin")
    with command.Process(["check", image, "--jobs", "3"], code=SCRIPT) as process:
        end = time.monotonic() + 60
        while len(group(process.pid)) < 4 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(group(process.pid)) == 4
        if how == "ctrl+c":
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        else:
            process.send_signal(signal.SIGTERM if how == "term" else signal.SIGKILL)
        _, said = process.communicate(30)
        assert process.returncode == (-signal.SIGKILL if how == "kill" else guard.TROUBLE)
        while group(process.pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert not group(process.pid)
        lines = said.decode().splitlines()
        assert len(lines) == (0 if how == "kill" else 1), lines


KILLED = """
import os, signal, sys
os.setsid()
from stable_structures.inspect import jobs, parts, writing
from stable_structures.inspect.rewrite import build
from stable_structures.__main__ import main
jobs.LEAST = 1
def die(*_):
    os.kill(os.getppid() if os.getpid() != FIRST else FIRST, signal.SIGKILL)
    signal.pause()
FIRST = os.getpid()
if sys.argv[1] == "dump":
    parts._Writer._part = die
else:
    build.MapBuilder.build = die
sys.exit(main(sys.argv[1:]))
"""


def killed(words: list[str]) -> None:
    """Run a verb that is killed outright while it writes, and wait for its children to end."""
    with command.Process(words, code=KILLED) as process:
        process.communicate(60)
        assert process.returncode == -signal.SIGKILL
        end = time.monotonic() + 30
        while group(process.pid) and time.monotonic() < end:
            time.sleep(0.02)
        assert not group(process.pid)


@pytest.mark.parametrize("count", ["1", "3"])
@pytest.mark.parametrize("verb", ["shrink", "repair", "dump"])
def test_what_a_killed_verb_left_is_replaced_by_the_next_one(verb, count, tmp_path):
    image, name = made(tmp_path / "image.bin"), "out" + "/" * (verb == "dump")
    (tmp_path / "memories.toml").write_text(SCHEMA)
    out = tmp_path / "made"
    out.mkdir()
    words = [verb, str(image), "-o", f"{out}/{name}"]
    killed([*words, "--jobs", count])
    left = [one.name for one in out.iterdir()]
    assert len(left) == 1
    assert re.fullmatch(r"\.out-[0-9a-f]{12}\.part", left[0])
    other = out / ".other-0123456789ab.part"
    other.write_bytes(b"")
    with NewFile(out / "out") as running:  # what another verb makes at this moment is not taken for a leftover
        assert running.temporary is not None
        running.file.write(b"x")
        assert left[0] not in {one.name for one in out.iterdir()}
        assert running.temporary.exists()
        assert command.run(words).returncode == 0
        assert running.temporary.exists()
    assert sorted(one.name for one in out.iterdir()) == [other.name, "out"]


def test_the_option_takes_numbers_from_1_on(capsys):
    from stable_structures.__main__ import main  # noqa: PLC0415 - the command

    for word in ("0", "-1", "x"):
        with pytest.raises(SystemExit):
            main(["check", "x.bin", "--jobs", word])
        assert "1 or more" in capsys.readouterr().err or word == "-1"
