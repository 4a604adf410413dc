"""`--jobs`: the same bytes and words whatever the number of processes, and nothing left of them, whatever ends the verb."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from stable_structures.inspect import NotWhole, jobs, open_image, shrink
from stable_structures.inspect.cli import guard
from stable_structures.inspect.source import no_progress
from stable_structures.inspect.writing import NewFile
from stable_structures.storable import parse_type

from ..support import command, jobs_runs
from ..support.jobs_runs import ASKED, TYPES, children, made

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


@pytest.fixture(params=["sound", "damaged"])
def image(request, tmp_path) -> Path:
    return made(tmp_path / "image.bin", damaged=request.param == "damaged")


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch):
    monkeypatch.setattr(jobs, "LEAST", 1)


@pytest.mark.parametrize("verb", ["check", "diff", "shrink", "repair", "dump"])
def test_the_number_of_processes_changes_nothing(verb, image, tmp_path):
    other = made(tmp_path / "other.bin", changed=True)
    (tmp_path / "memories.toml").write_text(SCHEMA)
    command.call(jobs_runs.compare_verbs, verb, image, other, tmp_path)


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


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("whole") / "image.bin", numbers=4_000)


@pytest.mark.parametrize("form", ["csv", "jsonl", "cbor"])
@pytest.mark.parametrize("asked", ASKED)
def test_texts_are_the_same_whatever_the_number_of_processes(asked, form, whole):
    command.call(jobs_runs.compare_texts, whole, asked, form)


@pytest.mark.parametrize("form", ["csv", "jsonl", "cbor"])
@pytest.mark.parametrize(
    "place", [*product(["map", "map unordered", "part of a map"], ["a value", "a node"]), ("log", "an entry")], ids=str
)
def test_damage_ends_texts_at_the_same_row(place, form, whole, tmp_path):
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
    command.call(jobs_runs.compare_damaged_texts, image, asked, form)


def holder(reader: Any, key: bytes) -> int:
    """The address of the node with the key."""
    return next(node.address for node, i in reader.entries_between(key, None) if node.keys[i] == key)


def test_a_closed_pipe_leaves_no_process(whole):
    command.call(jobs_runs.write_into_a_pipe_that_closes, whole)


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
