"""What verbs write, and where to: whole files or none, whatever ends them, and no output that makes them fall over."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stable_structures import MemoryManager, StableBTreeMap, StableLog, StableMemory, u64
from stable_structures.inspect import Unreadable, open_image
from stable_structures.inspect.dump import export
from stable_structures.inspect.rewrite.build import ImageFile
from stable_structures.inspect.writing import NewFile, output

from ..support import command
from ..support.inspect_images import read

COMMAND = [sys.executable, "-m", "stable_structures"]
PLAIN = {**os.environ, "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """A manager with a map that takes more than the buffers of pipes and files, and a log."""
    return make_image(tmp_path_factory.mktemp("image"), 3000)


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """With a map that takes the verbs some tenths of a second, so that there is a moment to disturb them."""
    return make_image(tmp_path_factory.mktemp("large"), 20_000)


def make_image(folder: Path, entries: int) -> Path:
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    StableBTreeMap[u64, str](manager.get(0)).update({i: f"user {i} \u00e4\u202e\U0001f600" for i in range(entries)})
    StableLog[str](manager.get(1), manager.get(2)).extend(["a", "b"])
    (folder / "image.bin").write_bytes(read(memory))
    export(open_image(memory).part(0), folder / "part.bin")
    lines = [json.dumps({"key": i, "value": f"user {i}"}) for i in range(entries)]
    (folder / "dump.jsonl").write_text("\n".join(lines))
    data = bytearray(read(memory))
    node = data.index(b"BTN\x02\x00", 65536)
    data[node : node + 3] = b"XXX"
    (folder / "damaged.bin").write_bytes(data)
    return folder / "image.bin"


TYPES = ["--memory", "0", "--key-type", "u64", "--value-type", "string"]
WRITERS: dict[str, list[str]] = {
    "dump": ["dump", "IMAGE", *TYPES, "-o", "OUT"],
    "dump csv": ["dump", "IMAGE", *TYPES, "--format", "csv", "-o", "OUT"],
    "dump cbor": ["dump", "IMAGE", *TYPES, "--format", "cbor", "-o", "OUT"],
    "dump parquet": ["dump", "IMAGE", *TYPES, "--format", "parquet", "-o", "OUT"],
    "load": ["load", "FOLDER/dump.jsonl", "--key-type", "u64", "--value-type", "string", "-o", "OUT"],
    "export": ["export", "IMAGE", "--memory", "0", "-o", "OUT"],
    "import": ["import", "FOLDER/part.bin", "--memory", "9", "--into", "IMAGE", "-o", "OUT"],
    "map html": ["map", "IMAGE", "-o", "OUT.html"],
    "map svg": ["map", "IMAGE", "-o", "OUT.svg"],
    "repair": ["repair", "IMAGE", "-o", "OUT"],
    "shrink": ["shrink", "IMAGE", "-o", "OUT"],
}
READERS: dict[str, list[str]] = {
    "--help": ["--help"],
    "--version": ["--version"],
    **{f"{verb} --help": [verb, "--help"] for verb in ("tour", "dump")},
    "inspect": ["inspect", "IMAGE"],
    "inspect --json": ["inspect", "IMAGE", "--json"],
    "check": ["check", "IMAGE"],
    "check damaged": ["check", "FOLDER/damaged.bin"],
    "check --json": ["check", "IMAGE", "--json"],
    **{f"dump to it, {form}": ["dump", "IMAGE", *TYPES, "--format", form] for form in ("jsonl", "csv", "cbor", "parquet")},
    "dump a little": ["dump", "IMAGE", *TYPES, "--limit", "1"],
    "get": ["get", "IMAGE", "--memory", "0", "--key", "7"],
    "get --raw": ["get", "IMAGE", "--memory", "0", "--key", "7", "--raw"],
    "diff": ["diff", "IMAGE", "IMAGE", "--memory", "1"],
    "diff different": ["diff", "IMAGE", "FOLDER/damaged.bin"],
    "diff --json": ["diff", "IMAGE", "FOLDER/damaged.bin", "--json"],
    "repair damaged": ["repair", "FOLDER/damaged.bin", "-o", "OUT"],
    "repair --json": ["repair", "FOLDER/damaged.bin", "-o", "OUT", "--json"],
    "completion": ["completion", "bash"],
    "tour": ["tour", "--dir", "OUT"],
}
ALL = {**WRITERS, **READERS}
NOT_AS_HOPED = {"check damaged", "diff different", "diff --json", "repair damaged", "repair --json"}
"""End with 1."""


BUFFERED = [(name, "") for name in ALL] + [
    (name, "1") for name in ("--help", "check damaged", "diff --json", "dump a little", "get", "shrink")
]
"""Without a buffer it is another call that fails."""


def words(name: str, image: Path, out: Path) -> list[str]:
    places = {"IMAGE": str(image), "FOLDER": str(image.parent), "OUT": str(out)}
    found = ALL[name]
    for place, path in places.items():
        found = [word.replace(place, path) for word in found]
    return [*COMMAND, *found]


def run(name: str, image: Path, out: Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return command.run(words(name, image, out)[len(COMMAND) :], text=False, **{"env": PLAIN, **options})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- whatever the output is ----


@pytest.mark.parametrize(("name", "unbuffered"), BUFFERED)
def test_a_closed_pipe_ends_every_verb_quietly_with_its_own_code(name, unbuffered, image, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(name, image, tmp_path / "out", stdout=writer, env={**PLAIN, "PYTHONUNBUFFERED": unbuffered})
    os.close(writer)
    assert (done.returncode, done.stderr) == (int(name in NOT_AS_HOPED), b"")


@pytest.mark.parametrize(("name", "unbuffered"), BUFFERED)
def test_an_output_that_is_full_ends_with_2_and_a_sentence(name, unbuffered, image, tmp_path):
    silent = name in WRITERS and name.startswith("dump")
    with Path("/dev/full").open("wb") as full:
        done = run(name, image, tmp_path / "out", stdout=full, env={**PLAIN, "PYTHONUNBUFFERED": unbuffered})
    assert done.returncode == (0 if silent else 2)
    assert len(done.stderr.splitlines()) == (0 if silent else 1) or name == "tour"
    assert (b"No space left on device" in done.stderr) is not silent


@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict"])
@pytest.mark.parametrize("name", ALL)
def test_no_encoding_of_the_output_makes_a_verb_fall_over(name, encoding, image, tmp_path):
    folder = tmp_path / os.fsdecode(b"n\xc3\xa4me \xff\xfe \xe2\x80\xae")
    folder.mkdir()
    for path in image.parent.iterdir():
        (folder / path.name).hardlink_to(path)
    done = run(name, folder / image.name, folder / "\u6771 out", env={**os.environ, "TERM": "dumb", "PYTHONIOENCODING": encoding})
    assert done.returncode == int(name in NOT_AS_HOPED), done.stderr
    assert b"Traceback" not in done.stderr + done.stdout


IMITATED: list[tuple[str, dict[str, str], str]] = [
    ("get", {"PYTHONIOENCODING": "ascii"}, "file"),
    ("get", {"PYTHONIOENCODING": "latin-1:replace"}, "file"),
    ("check damaged", {"PYTHONUNBUFFERED": "1"}, "full"),
    ("dump a little", {"PYTHONUNBUFFERED": "1"}, "pipe"),
    ("--help", {"PYTHONUNBUFFERED": ""}, "full"),
]


@pytest.mark.parametrize(("name", "environment", "where"), IMITATED)
def test_a_forked_command_does_what_an_interpreter_does_that_starts(name, environment, where, image, tmp_path):
    """Of what the forked ones only imitate: the environment that Python itself reads."""
    options: dict[str, Any] = {"env": {**PLAIN, **environment}}
    found = []
    for started in (False, True):
        path = Path("/dev/full") if where == "full" else tmp_path / f"{started}"
        reader, writer = os.pipe() if where == "pipe" else (None, os.open(path, os.O_WRONLY | os.O_CREAT))
        if reader is not None:
            os.close(reader)
        made = words(name, image, tmp_path / "out")
        if started:
            done = subprocess.run(made, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60, **options)
        else:
            done = command.run(made[len(COMMAND) :], stdout=writer, text=False, **options)
        os.close(writer)
        found.append((done.returncode, done.stderr, path.read_bytes() if where == "file" else b""))
    assert found[0] == found[1]


def test_json_in_letters_that_the_output_has_not_is_still_json(image, tmp_path):
    for encoding in ("ascii", "utf-8"):
        done = run("get", image, tmp_path, env={**PLAIN, "PYTHONIOENCODING": encoding})
        assert json.loads(done.stdout.decode(encoding)) == "user 7 \u00e4\u202e\U0001f600"
        assert b"\xe2\x80\xae" not in done.stdout


def test_without_standard_streams(image, tmp_path):
    for name in ("--help", "get", "shrink"):
        script = " ".join(f"'{word}'" for word in words(name, image, tmp_path / "out"))
        assert subprocess.run(["/bin/sh", "-c", f"exec {script} <&- >&- 2>&-"], check=False, timeout=60).returncode == 0
    assert subprocess.run(["/bin/sh", "-c", f"exec {' '.join(COMMAND)} nonsense 2>&-"], check=False, timeout=60).returncode == 2


# ---- whole files, or none ----


@pytest.mark.parametrize("name", WRITERS)
def test_every_verb_writes_its_file_and_refuses_one_that_is_there(name, image, tmp_path):
    done = run(name, image, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.iterdir()
    assert made.stat().st_mode & 0o777 == 0o666 & ~umask()
    before = made.read_bytes()
    again = run(name, image, tmp_path / "out")
    assert (again.returncode, b"file already exists" in again.stderr) == (2, True)
    assert (made.read_bytes(), names(tmp_path)) == (before, [made.name])


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_that_leads_nowhere_is_refused(name, image, tmp_path):
    suffix = "".join(word.removeprefix("OUT") for word in WRITERS[name] if word.startswith("OUT"))
    (tmp_path / f"out{suffix}").symlink_to(tmp_path / "elsewhere")
    done = run(name, image, tmp_path / "out")
    assert (done.returncode, b"file already exists" in done.stderr) == (2, True)
    assert names(tmp_path) == [f"out{suffix}"]


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_nothing(name, image, tmp_path):
    """A limit for the size of files ends writes as a full disk does."""
    done = run(name, image, tmp_path / "out", limits={resource.RLIMIT_FSIZE: 5000})
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert b"cannot be written: " in done.stderr
    assert b"File too large" in done.stderr
    assert names(tmp_path) == []


@contextlib.contextmanager
def writing(name: str, image: Path, folder: Path, *, started: bool = False) -> Iterator[command.Process | subprocess.Popen[bytes]]:
    """A verb that has begun to write: forked, or an interpreter that is started for it."""
    made, pipes = words(name, image, folder / "out"), {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": PLAIN}
    with subprocess.Popen(made, **pipes) if started else command.Process(made[len(COMMAND) :], **pipes) as process:
        while process.poll() is None and not any(folder.iterdir()):
            time.sleep(0.001)
        yield process


SIGNALS = [(name, signal.SIGINT) for name in WRITERS] + [
    (name, number) for name in ("dump", "load", "shrink") for number in (signal.SIGTERM, signal.SIGHUP)
]


@pytest.mark.parametrize(("name", "number"), SIGNALS)
def test_a_signal_leaves_nothing_and_says_so(name, number, large, tmp_path):
    for attempt in range(9):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with writing(name, large, folder, started=(name, number) == ("dump", signal.SIGINT)) as process:
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        if process.returncode == 2 and b"nothing was written" in errors:
            break
        assert len(names(folder)) == 1  # it was done before
        assert process.returncode == 0 or f"{folder / 'out'}" in errors.decode()
    reason = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
    assert (process.returncode, errors.decode()) == (2, f"stable-structures: {reason}; nothing was written\n")
    assert names(folder) == []


@pytest.mark.parametrize("name", WRITERS)
def test_a_kill_leaves_no_part_of_a_file_under_the_name_that_was_asked_for(name, large, tmp_path):
    with writing(name, large, tmp_path) as process:
        process.kill()
        process.communicate(timeout=60)
    left = names(tmp_path)
    assert all(one.startswith(".out") and one.endswith(".part") for one in left) or process.returncode == 0
    if process.returncode:
        assert run(name, large, tmp_path / "out").returncode == 0


def test_signals_that_are_ignored_stay_so(large, tmp_path):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a child takes this over
    try:
        with writing("shrink", large, tmp_path, started=True) as process:
            process.send_signal(signal.SIGHUP)
            process.communicate(timeout=60)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (process.returncode, names(tmp_path)) == (0, ["out"])


def test_where_pyarrow_is_missing_nothing_is_left(image, tmp_path):
    script = "import sys; sys.modules['pyarrow'] = None; from stable_structures.__main__ import main; sys.exit(main(sys.argv[1:]))"
    arguments = words("dump parquet", image, tmp_path / "out")[len(COMMAND) :]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, check=False, timeout=60)
    assert (done.returncode, b"pip install" in done.stderr) == (2, True)
    assert names(tmp_path) == []


def test_an_error_in_the_midst_leaves_nothing(large, tmp_path):
    """The damage lies behind thousands of entries."""
    for form in ("jsonl", "csv", "cbor", "parquet"):
        done = command.run(["dump", large.parent / "damaged.bin", *TYPES, "--format", form, "-o", tmp_path / "out"])
        assert done.returncode == 1
        assert names(tmp_path) == []


class Alarm(BaseException):
    pass


def alarm_after(lines: int) -> Any:
    """A trace function that raises before the so-many-th line of writing.py, where a signal handler may."""
    left = lines

    def trace(frame: Any, event: str, _argument: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.endswith("writing.py"):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise Alarm
        return trace

    return trace


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_at_any_moment_leaves_nothing(tmp_path):
    """Between any two lines, while a file is begun, written, kept or given up: there is the whole file then, or none."""
    whole, lines = 0, 0
    while whole < 2:  # the second one is done before the alarm
        lines += 1
        path = tmp_path / f"{lines}"
        sys.settrace(alarm_after(lines))
        try:
            with output(path) as out:
                out.write(b"whole")
            whole += 1
        except Alarm:
            pass
        finally:
            sys.settrace(None)
        gc.collect()
        assert not path.exists() or path.read_bytes() == b"whole"
        assert [name for name in names(tmp_path) if name.endswith(".part")] == [], lines
    assert lines > 30


def test_what_comes_to_the_name_meanwhile_is_not_overwritten(tmp_path):
    with NewFile(tmp_path / "out") as new:
        new.file.write(b"ours")
        (tmp_path / "out").write_bytes(b"theirs")
        with pytest.raises(Unreadable, match="file already exists"):
            new.keep()
    assert (names(tmp_path), (tmp_path / "out").read_bytes()) == (["out"], b"theirs")


@pytest.mark.parametrize("theirs", [False, True])
def test_a_file_system_without_hard_links(theirs, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with pytest.raises(Unreadable, match="file already exists") if theirs else contextlib.nullcontext(), output(tmp_path / "out") as out:
        out.write(b"ours")
        if theirs:
            (tmp_path / "out").write_bytes(b"theirs")
    assert (names(tmp_path), (tmp_path / "out").read_bytes()) == (["out"], b"theirs" if theirs else b"ours")


@pytest.mark.parametrize("name", ["x" * 300, "no such folder/x", "a\0b", "", ".", "file/x"])
def test_a_name_that_cannot_be_is_refused_at_the_start(name, tmp_path):
    (tmp_path / "file").touch()
    for kind in (NewFile, ImageFile):
        with pytest.raises(Unreadable):
            kind(f"{tmp_path}/{name}")
    assert names(tmp_path) == ["file"]


def test_a_long_name_has_room_for_its_temporary_one(tmp_path):
    for name in ("x" * 255, "\u6771" * 85):
        with output(tmp_path / name) as out:
            out.write(b"1")
    assert len(names(tmp_path)) == 2


def test_a_child_of_a_fork_leaves_the_file_of_its_parent_alone(tmp_path):
    with NewFile(tmp_path / "out") as new:
        child = os.fork()
        if child == 0:
            new._discard()
            os._exit(0)
        os.waitpid(child, 0)
        new.keep()
    assert names(tmp_path) == ["out"]


# ---- devices and pipes ----

STREAMED = [name for name in WRITERS if not name.startswith("map")]
WAYS = [(name, "pipe") for name in STREAMED] + [(name, way) for name in ("dump", "export") for way in ("file", "fifo", "fd")]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_a_device_or_pipe_is_written_to(name, way, image, tmp_path):
    run(name, image, tmp_path / "wanted")
    wanted = (tmp_path / "wanted").read_bytes()
    if way == "fifo":
        os.mkfifo(tmp_path / "fifo")
        found: list[bytes] = []
        thread = threading.Thread(target=lambda: found.append((tmp_path / "fifo").read_bytes()))
        thread.start()
        done = run(name, image, tmp_path / "fifo")
        thread.join(60)
        assert (done.returncode, found) == (0, [wanted])
    elif way == "file":
        with (tmp_path / "file").open("wb") as file:
            done = run(name, image, Path("/dev/stdout"), stdout=file)
        assert (done.returncode, (tmp_path / "file").read_bytes()) == (0, wanted)
    else:
        target = Path("/dev/stdout" if way == "pipe" else "/dev/fd/1")
        done = run(name, image, target)
        assert (done.returncode, done.stdout) == (0, wanted)
    assert not [one for one in names(tmp_path) if one.startswith(".")]


def test_a_device_that_is_full_is_said(image):
    for name in STREAMED:
        done = run(name, image, Path("/dev/full"))
        assert (done.returncode, b"/dev/full: cannot be written: No space left" in done.stderr) == (2, True), name


def test_binary_forms_are_not_for_a_terminal(image, tmp_path):
    main, side = os.openpty()
    for name in ("dump to it, cbor", "dump to it, parquet", "get --raw"):
        done = run(name, image, tmp_path, stdout=side)
        assert (done.returncode, b"terminal" in done.stderr) == (2, True)
    os.close(side)
    os.close(main)
