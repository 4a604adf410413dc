"""Every verb as its own process: exit codes, closed pipes, with and without a terminal, names with spaces, unreadable and huge files."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import resource
import struct
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from stable_structures import PAGE_SIZE, MemoryManager, StableBTreeMap, StableLog, StableMemory, StableVec, u64
from stable_structures.__main__ import main
from stable_structures.inspect.rewrite.build import ImageFile

from ..support import command
from ..support.inspect_images import golden, make_dfx, read

COMMAND = [sys.executable, "-m", "stable_structures"]
PLAIN = {**os.environ, "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
MOST_MEMORY = 200 << 20


def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    return command.run(arguments, env=PLAIN, **options)


def good(*arguments: Any, code: int = 0) -> str:
    done = run(*arguments)
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """A canister in a file whose name has spaces, quotes and a letter that is not ASCII."""
    path = tmp_path_factory.mktemp("a folder") / "my 'stable' m\u00e9mory.bin"
    path.write_bytes(golden("canister_bucket16")[0])
    return path


@pytest.fixture(scope="module")
def damaged(image: Path, tmp_path_factory) -> Path:
    data = bytearray(image.read_bytes())
    node = data.index(b"BTN\x02\x00", PAGE_SIZE)
    data[node : node + 3] = b"XXX"
    path = tmp_path_factory.mktemp("damaged") / "damaged.bin"
    path.write_bytes(data)
    return path


# ---- what each verb says ----


def test_inspect(image):
    out = good("inspect", image)
    assert re.search(r"^ +254 +map +706 ", out, re.MULTILINE)
    assert "0: memory 0, 1: memory 1" in good("inspect", image, "--deep")
    found = json.loads(good("inspect", image, "--json", "--deep"))
    assert [one["memory"] for one in found["memories"]] == [0, 1, 2, 3, 4, 5, 200, 254]
    assert json.loads(good("inspect", image, "--json", "--memory", 1))["memories"][0]["kind"] == "vec"


def test_check(image, damaged):
    assert "sound" in good("check", image)
    out = good("check", damaged, code=1)
    assert "a node begins with BTN" in out
    found = json.loads(good("check", damaged, "--json", code=1))
    assert found["result"] == "damaged"
    assert {"memory", "structure", "rule", "address", "physical", "found", "expected"} == set(found["violations"][0])


def test_dump_and_get(image, tmp_path):
    lines = good("dump", image, "--memory", 254, "--key-type", "u64", "--value-type", "u64", "--limit", 3).splitlines()
    entry = json.loads(lines[1])
    assert (len(lines), set(entry)) == (3, {"key", "value"})
    assert int(good("get", image, "--memory", 254, "--key", entry["key"], "--key-type", "u64", "--value-type", "u64")) == entry["value"]
    good("get", image, "--memory", 254, "--key", 123, "--key-type", "u64", code=1)
    for form in ("csv", "cbor", "jsonl", "parquet"):
        good("dump", image, "--memory", 254, "-o", tmp_path / f"d.{form}")
        assert (tmp_path / f"d.{form}").stat().st_size > 1000
    assert len(good("dump", image, "--memory", 1, "--from", 10, "--to", 20).splitlines()) == 10


def test_load_export_import_shrink_diff(image, tmp_path):
    good("dump", image, "--memory", 254, "--key-type", "u64", "--value-type", "u64", "-o", tmp_path / "d.jsonl")
    assert "706 entries" in good(
        "load", tmp_path / "d.jsonl", "--key-type", "u64", "--value-type", "u64", "--memory", 254, "-o", tmp_path / "loaded.bin"
    )
    out = good("diff", image, tmp_path / "loaded.bin", "--memory", 254, "--key-type", "u64", "--value-type", "u64")
    assert "no difference" in out
    good("export", image, "--memory", 254, "-o", tmp_path / "one.bin")
    good("import", tmp_path / "one.bin", "--memory", 254, "--into", image, "-o", tmp_path / "same.bin")
    assert "no difference" in good("diff", image, tmp_path / "same.bin")
    good("shrink", image, "--bucket-pages", 1, "-o", tmp_path / "small.bin")
    assert (tmp_path / "small.bin").stat().st_size < image.stat().st_size / 4
    assert "sound" in good("check", tmp_path / "small.bin")


def test_repair(damaged, tmp_path):
    before = damaged.read_bytes()
    out = good("repair", damaged, "-o", tmp_path / "saved.bin", code=1)
    assert "lost: a node with keys" in out
    assert "sound" in good("check", tmp_path / "saved.bin")
    assert damaged.read_bytes() == before
    good("repair", tmp_path / "saved.bin", "-o", tmp_path / "again.bin")


def test_every_verb_has_help_with_an_example():
    verbs = re.findall(r"^    (\w+)\s", good("--help"), re.MULTILINE)
    assert set(verbs) >= {"inspect", "check", "dump", "get", "load", "export", "import", "diff", "map", "repair", "shrink", "completion"}
    for verb in verbs:
        assert f"stable-structures {verb}" in good(verb, "--help")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_completion_knows_every_verb_and_no_hidden_option(shell):
    script = good("completion", shell)
    assert all(verb in script for verb in ("inspect", "check", "keep-going", "shrink"))
    assert "reopen" not in script


def test_bash_completes_verbs_options_and_names_with_spaces(tmp_path):
    (tmp_path / "completion.sh").write_text(good("completion", "bash"))
    (tmp_path / "my image.bin").touch()
    script = """
source ./completion.sh
complete_it() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    complete=$(complete -p stable-structures | sed 's/.*-F \\([^ ]*\\).*/\\1/')
    "$complete" stable-structures "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    printf "%s\\n" "${COMPREPLY[@]}"
}
complete_it stable-structures in; complete_it stable-structures check --li; complete_it stable-structures inspect my
"""
    done = subprocess.run(["/bin/bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines() == ["inspect", "--limit", "my image.bin"]
    assert done.stderr == ""


def test_without_shtab_the_extra_is_named():
    code = "import sys; sys.modules['shtab'] = None; from stable_structures.__main__ import main; sys.exit(main(['completion', 'bash']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "stable-structures[completion]" in done.stderr


# ---- trouble ----


def unreadable_things(folder: Path) -> list[Path]:
    (folder / "folder").mkdir()
    (folder / "text.txt").write_text("no memory at all, just text\n" * 3)
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "bad.gz").write_bytes(b"\x1f\x8b\x08" + bytes(50))
    return [
        folder / "folder",
        folder / "text.txt",
        folder / "pipe",
        folder / "loop",
        folder / "absent.bin",
        Path("/dev/zero"),
        folder / "bad.gz",
    ]


VERBS: list[list[Any]] = [
    ["inspect"],
    ["check"],
    ["dump"],
    ["get", "--key", "1"],
    ["export", "-o", "OUT"],
    ["map", "-o", "OUT.html"],
    ["repair", "-o", "OUT"],
    ["shrink", "-o", "OUT"],
    ["diff", "FILE"],
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_what_cannot_be_read_is_said_in_one_line_and_ends_with_2(verb, tmp_path):
    for thing in unreadable_things(tmp_path):
        if thing.name == "text.txt" and verb[0] in ("map", "export", "diff"):
            continue  # these take any bytes
        arguments = [str(tmp_path / one) if "OUT" in one else str(thing) if one == "FILE" else one for one in verb[1:]]
        done = run(verb[0], thing, *arguments)
        assert done.returncode == 2, f"{thing}: {done.returncode} {done.stdout} {done.stderr}"
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) <= 1
        assert not list(tmp_path.glob("*OUT*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything; CI's other user does not")
def test_a_file_without_permission_is_refused(image, tmp_path):
    path = tmp_path / "secret.bin"
    path.write_bytes(image.read_bytes())
    path.chmod(0)
    assert "Permission denied" in run("inspect", path).stderr


def test_wrong_use_ends_with_2(image, tmp_path):
    for arguments in (
        ["nonsense"],
        ["inspect"],
        ["inspect", image, "--memory", 99],
        ["dump", image],
        ["dump", image, "--memory", 254, "--key-type", "u65"],
        ["dump", image, "--memory", 0, "--from", "x"],
        ["get", image, "--memory", 254, "--key", "x", "--key-type", "u64"],
        ["export", image, "--memory", 0, "-o", image],
        ["map", image, "-o", tmp_path / "x.gif"],
        ["import", image, "--memory", 300, "-o", tmp_path / "x.bin"],
        ["load", image, "-o", tmp_path / "x.bin"],
        ["shrink", image, "-o", tmp_path / "no such folder" / "x.bin"],
    ):
        done = run(*arguments)
        assert done.returncode == 2, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
    assert image.read_bytes() == golden("canister_bucket16")[0]


@pytest.mark.parametrize(
    "verb", [["inspect"], ["dump", "--memory", "0"], ["check"], ["inspect", "--json"], ["completion", "bash"]], ids=" ".join
)
def test_a_pipe_that_closes_ends_a_verb_quietly(verb, image, damaged):
    file = damaged if verb[0] == "check" else image
    words = verb if verb[0] == "completion" else [verb[0], str(file), *verb[1:]]
    reader, writer = os.pipe()
    os.close(reader)
    if verb == ["inspect"]:  # a whole interpreter
        done = subprocess.run([*COMMAND, *words], stdout=writer, stderr=subprocess.PIPE, env=PLAIN, check=False)
    else:
        done = command.run(words, stdout=writer, env=PLAIN, text=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1 if verb[0] == "check" else 0, b"")


def test_a_full_disk_is_said(image):
    with Path("/dev/full").open("w") as full:
        done = run("dump", image, "--memory", 0, stdout=full)
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_any_standard_streams(image):
    script = f'exec {sys.executable} -m stable_structures check "$1" <&- >&- 2>&-'
    done = subprocess.run(["/bin/sh", "-c", script, "sh", str(image)], check=False, timeout=60)
    assert done.returncode == 0


def on_terminal(columns: int, *arguments: object, started: bool = False) -> tuple[int, str]:
    """The exit code and what a terminal of that width is sent, by a process that is forked, or an interpreter started for it."""
    main, side = pty.openpty()
    environment = {**PLAIN, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    streams: dict[str, Any] = {"stdout": side, "stderr": side, "env": environment}
    with subprocess.Popen([*COMMAND, *map(str, arguments)], **streams) if started else command.Process(arguments, **streams) as process:
        os.close(side)
        seen = b""
        while True:
            try:
                more = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            seen += more
    os.close(main)
    return process.returncode, seen.decode()


def test_on_a_terminal_tables_have_colours_and_elsewhere_none(damaged):
    code, seen = on_terminal(150, "check", damaged, started=True)
    assert code == 1
    assert "\x1b[" in seen
    assert "begins with BTN" in seen
    assert "\x1b" not in run("check", damaged).stdout


@pytest.mark.parametrize("columns", [60, 80, 120, 250])
def test_tables_are_readable_on_narrow_terminals(image, damaged, columns):
    """No word is broken, no number is cut, no line of a table is longer than the terminal."""
    seen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", on_terminal(columns, "inspect", image)[1])
    lines = seen.splitlines()
    for word in ("memory", "structure", "length", "used", "free", "never used", "log index", "log data", "706"):
        assert word in seen, word
    start = next((i for i, line in enumerate(lines) if line.startswith("memory  structure")), None)
    assert (start is None) == (columns == 60)
    assert all(len(line) <= columns for line in lines[start or len(lines) :])
    seen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", on_terminal(columns, "check", damaged)[1])
    for word in ("node", "begins", "BTN"):
        assert word in seen


def test_a_terminal_gets_nothing_to_obey_from_a_memory(tmp_path):
    memory = StableMemory()
    StableBTreeMap[str, str](memory).insert("\x1b[31mkey\x07", "\u202evalue\n[red]x[/red]")
    path = tmp_path / "evil \x1b[2J.bin"
    path.write_bytes(read(memory))
    for verb in (["inspect"], ["check"], ["diff", make_dfx(tmp_path / "snapshot", read(StableMemory()))]):
        done = run(verb[0], path, *verb[1:])
        assert not set(done.stdout + done.stderr) & set("\x1b\x07\u202e")


# ---- huge files ----


@pytest.fixture(scope="module")
def huge(tmp_path_factory) -> Path:
    """10 GiB, nearly all of it holes: a map that was grown far beyond what it needs, a vec, and bytes of nobody's."""
    path = tmp_path_factory.mktemp("huge") / "huge.bin"
    rng = random.Random(1)
    with ImageFile(path) as file:
        manager = MemoryManager(file)
        users, numbers, raw = StableBTreeMap[u64, str](manager.get(0)), StableVec[u64](manager.get(7)), manager.get(3)
        for i in range(3000):
            users.insert(rng.randrange(10**6), f"user {i}")
            numbers.push(i)
        raw.grow(16_000)
        raw.write(5, b"\xff\xfe raw")
        manager.get(0).grow(145 * 1024)
        for i in range(300):
            users.insert(rng.randrange(10**6), f"late {i}")
        file.keep()
    assert path.stat().st_size > 10 << 30
    return path


HUGE = [
    ["inspect", "FILE"],
    ["inspect", "FILE", "--deep"],
    ["check", "FILE"],
    ["dump", "FILE", "--memory", "0", "-o", "OUT.jsonl"],
    ["get", "FILE", "--memory", "7", "--key", "17"],
    ["export", "FILE", "--memory", "0", "-o", "OUT.bin"],
    ["diff", "FILE", "FILE"],
    ["map", "FILE", "-o", "OUT.html"],
    ["map", "FILE", "-o", "OUT.png"],
    ["repair", "FILE", "-o", "OUT.bin"],
    ["shrink", "FILE", "-o", "OUT.bin"],
]


@pytest.mark.parametrize("words", HUGE, ids=" ".join)
def test_ten_gibibytes_are_answered_in_200_mebibytes_without_reading_the_holes(words, huge, tmp_path):
    arguments = [word.replace("FILE", str(huge)).replace("OUT", str(tmp_path / "out")) for word in words]
    script = (
        "import json, resource, sys\nfrom stable_structures.__main__ import main\n"
        "code = main(sys.argv[1:])\n"
        "reads = [int(line.split()[1]) for line in open('/proc/self/io') if line.startswith('rchar')] if sys.platform == 'linux' else [0]\n"
        # Not ru_maxrss: it begins with the size of the process that forked this one.
        "peak = int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) * 1024 if sys.platform == 'linux' else 0\n"
        "print(json.dumps([code, peak, reads[0]]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, env=PLAIN, check=False, timeout=120)
    code, most, reads = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert most < MOST_MEMORY
    assert reads < 200 << 20
    for path in tmp_path.iterdir():
        assert path.stat().st_blocks * 512 < 100 << 20


def log_of_one(path: Path, size: int) -> None:
    """A log with an entry of so many zeros."""
    with ImageFile(path) as file:
        manager = MemoryManager(file, bucket_pages=1024)
        StableLog[bytes](manager.get(0), manager.get(1)).append(b"x")
        manager.get(1).grow(size // PAGE_SIZE + 1)
        manager.get(0).write(40, size.to_bytes(8, "little"))
        file.keep()


LARGE = 0xF0000000
ONE = {
    # headers of structures with one or two such elements, all zeros
    "cell": b"SCL\x01" + struct.pack("<I", LARGE),
    "vec": b"SVC\x01" + struct.pack("<QIB", 1, LARGE, 1),
    "vec of any size": b"SVC\x01" + struct.pack("<QIB", 2, LARGE // 2, 0),
    "heap": b"SMH\x01" + struct.pack("<QIB", 1, LARGE, 1),
}


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        *product(["cell", "vec", "vec of any size", "log"], ["inspect", "inspect --deep", "check", "map -o OUT"]),
        ("heap", "inspect"),  # the others compare elements, and have two of them at a time
    ],
)
def test_an_element_of_gibibytes_is_not_read_to_be_shown(name, verb, tmp_path):
    path = tmp_path / "image.bin"
    if name == "log":
        log_of_one(path, LARGE)
    else:
        with path.open("wb") as file:
            file.truncate(5 << 30)
            file.write(ONE[name])
    first, *words = verb.replace("OUT", str(tmp_path / "map.html")).split()
    done = run(first, path, *words, limits={resource.RLIMIT_AS: 2 << 30})
    assert (done.returncode, done.stderr) == (0, "")
    if verb == "inspect" and name in ("cell", "vec", "heap"):
        assert f"elements: bytes, {LARGE} B" in done.stdout


def test_zeros_of_ten_gibibytes_are_recognised_at_once(tmp_path):
    with (tmp_path / "zeros.bin").open("wb") as file:
        file.truncate(10 << 30)
    assert "all zeros" in good("inspect", tmp_path / "zeros.bin")


def test_address_space_is_not_taken_by_the_size_of_a_file(huge):
    """A limit of 4 GiB holds for a file of 10."""
    done = run("check", huge, limits={resource.RLIMIT_AS: 4 << 30})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("verb", ["inspect", "check", "dump", "get", "load", "diff", "map", "repair", "shrink"])
def test_options_have_one_name_in_every_verb(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    told = set(re.findall(r"(--[a-z-]+)", capsys.readouterr().out))
    assert {"--memory", "--key-type", "--value-type"} <= told
    assert ("--key" in told) == (verb == "get")
    assert "--value" not in told
    for old in (["--value", "u64"], *([] if verb == "get" else [["--key", "u64"]]), ["--key-t", "u64"]):
        with pytest.raises(SystemExit) as end:
            main([verb, "a", *(["b"] if verb == "diff" else []), *(["--key", "1"] if verb == "get" else ["-o", "c"]), *old])
        assert end.value.code == 2
