"""The command line: its verbs, exit codes and pipes, and the tour."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stable_structures import MemoryManager, Principal, StableBTreeMap, StableMemory, __main__, u64
from stable_structures.inspect.cli import verbs
from stable_structures.upgrade import restore

from ..support import command

COMMAND = [sys.executable, "-m", "stable_structures"]
VERBS = sorted(__main__.parser()._subparsers._group_actions[0].choices)


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return command.run(arguments, **options)


def test_alone_it_shows_what_it_can_do_in_a_few_lines():
    result = run()
    lines = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (2, "")
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 110
    named = set(re.findall(r"[a-z]+", " ".join(line[:34] for line in lines if line.startswith("  "))))
    assert named == set(VERBS)


# ---- the tour ----


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tour") / "not there yet"
    words = [*COMMAND, "tour", "--dir", directory]
    return directory / "tour.bin", subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_the_tour_succeeds_and_says_where_the_file_is(tour):
    path, result = tour
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count(str(path)) == 3
    assert path.with_suffix(".html").as_uri() in result.stdout
    assert f"inspect '{path}'" in result.stdout
    assert sorted(path.parent.iterdir()) == [path, path.with_suffix(".html")]


def test_another_process_shows_what_is_in_the_file(tour):
    _, result = tour
    closing, opening = re.findall(r"Process (\d+)", result.stdout)
    assert closing != opening
    shown = result.stdout.split(f"Process {opening}")[1]
    for text in (
        "0  backup of the heap",
        "{'data_on_the_heap': [0, 1, 2, 3, 4, 5, 6, 7], 'greeting': 'hello'}",
        "1  StableBTreeMap[Principal, u64]       1000",
        "efcn6-haaaa-aaa -> 0",
        "2  StableBTreeSet[str]                     4",
        "3  StableVec[f64]                          3",
        "4  StableCell[Cbor[dict[str, int]]]               1  {'fee': 25, 'decimals': 8}",
        "5  StableMinHeap[tuple[u64, u32]]          3      1  (1200, 1)",
        "6  StableLog[str]                          2      1  installed, fee raised to 25",
        "keeps every rule",
    ):
        assert text in shown


def test_the_file_of_the_tour_is_an_image(tour):
    path, _ = tour
    with StableMemory.open(path, "r") as memory, memory.transaction():
        manager = MemoryManager.load(memory)
        assert restore(manager.get(0)) == {"data_on_the_heap": list(range(8)), "greeting": "hello"}
        balances = StableBTreeMap[Principal, u64](manager.get(1))
        assert len(balances) == 1000
        assert balances[Principal((999).to_bytes(4, "big"))] == 99_900
    assert path.stat().st_size == memory_bytes(path)


def memory_bytes(path: Path) -> int:
    with StableMemory.open(path, "r") as memory:
        return memory.nbytes


def test_a_file_that_is_there_is_not_overwritten(tour, capsys):
    path, _ = tour
    before = path.read_bytes()
    assert __main__.main(["tour", "--dir", str(path.parent)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"stable-structures: .*tour\.bin: file already exists; remove it, or choose another --dir\n", err)
    assert path.read_bytes() == before


def test_without_a_directory_the_tour_makes_one(tmp_path):
    result = run("tour", env={**os.environ, "TMPDIR": str(tmp_path)})
    assert result.returncode == 0
    (path,) = tmp_path.glob("*/tour.bin")
    assert str(path) in result.stdout


def test_a_directory_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert __main__.main(["tour", "--dir", str(tmp_path / "file" / "inside")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("content", [None, b"", bytes(65_536), b"x" * 100])
def test_a_file_that_is_no_tour(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    assert __main__.main(["tour", "--reopen", str(tmp_path / "file")]) == 2
    assert re.fullmatch(r"stable-structures: .+\n", capsys.readouterr().err)


def test_the_tour_ends_with_the_code_of_the_process_that_looks(monkeypatch, tmp_path):
    ended = subprocess.CompletedProcess([], 3)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with contextlib.redirect_stdout(io.StringIO()):
        assert __main__.main(["tour", "--dir", str(tmp_path)]) == 3


# ---- where the output goes ----


def test_plain_text_where_there_is_no_terminal(tour):
    _, result = tour
    assert result.stdout.isascii()
    assert "\x1b" not in result.stdout


def test_a_table_on_a_terminal(tmp_path):
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "tour", "--dir", tmp_path], stdout=follower, env={**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    ) as process:
        os.close(follower)
        output = b""
        with contextlib.suppress(OSError):  # Linux says EIO at the end
            while data := os.read(leader, 4096):
                output += data
    os.close(leader)
    assert process.returncode == 0
    assert b"\x1b[" in output
    assert b"StableVec[f64]" in output


@pytest.mark.parametrize("lines", [0, 8])
def test_a_pipe_that_is_closed_early_ends_it_quietly(tmp_path, lines):
    reader, writer = os.pipe()
    with command.Process(["tour", "--dir", tmp_path], stdout=writer) as process:
        os.close(writer)
        with os.fdopen(reader, "rb", buffering=0) as output:
            for _ in range(lines):
                output.readline()
        assert process.communicate() == (b"", b"")
    assert process.returncode == 0


def test_a_closed_output(tmp_path):
    result = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *COMMAND, "tour", "--dir", tmp_path], capture_output=True, check=False)  # noqa: S607
    assert (result.returncode, result.stderr) == (0, b"")
    assert (tmp_path / "tour.bin").exists()


# ---- verbs ----


def test_the_verbs_are_those_that_packages_add():
    assert {"tour", "inspect", "check"} <= set(VERBS)


def test_help_lists_every_verb_and_has_an_example():
    result = run("--help")
    assert result.returncode == 0
    assert "example:\n  stable-structures tour" in result.stdout
    for verb in VERBS:
        assert re.search(rf"^    {verb}\b", result.stdout, re.MULTILINE), verb


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_with_an_example(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        __main__.main([verb, "--help"])
    assert ended.value.code == 0
    assert f"example:\n  stable-structures {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["no-such-verb"], ["tour", "--no-such-option"], ["tour", "more"]])
def test_wrong_use_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        __main__.main(arguments)
    assert ended.value.code == 2
    assert "usage: stable-structures" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as ended:
        __main__.main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"stable-structures \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_the_script_is_the_module():
    script = Path(sys.executable).parent / "stable-structures"
    result = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == run("--version").stdout


LOADED = """
import sys
from stable_structures.__main__ import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print([name for name in sys.modules if name.startswith(("stable_structures.", "sqlite3", "pyarrow", "tomllib", "pandas"))], file=sys.stderr)
"""
HEAVY = ("inspect.compare", "inspect.dump", "inspect.rewrite", "inspect.picture", "inspect.sqlite", "rescue", "canister", "arrow")


@pytest.mark.parametrize("words", [["--help"], ["inspect"], ["check"]])
def test_a_verb_imports_only_what_it_needs(words, tmp_path):
    """The command line starts in half the time; this is what makes it so."""
    path = tmp_path / "image.bin"
    with StableMemory.open(path) as memory:
        StableBTreeMap[u64, str](memory)[1] = "Ada"
    given = [*words, str(path)] if words[0] != "--help" else words
    done = subprocess.run([sys.executable, "-c", LOADED, *given], check=True, capture_output=True, text=True)
    loaded = ast.literal_eval(done.stderr)
    assert not [name for name in loaded if not name.startswith("stable_structures.")]
    unneeded = [name for name in HEAVY if f"stable_structures.{name}" in loaded]
    assert unneeded == []
    assert ("stable_structures.inspect.image" in loaded) is (words != ["--help"])


def test_what_each_verb_runs_is_there():
    source = Path(verbs.__file__).read_text(encoding="utf-8")
    names = re.findall(r'"((?:looking|entries|images|verbs)\.\w+)"', source)
    assert len(names) == 12
    assert all(callable(verbs._imported(name)) for name in names)
