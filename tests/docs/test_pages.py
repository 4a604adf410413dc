# SPDX-License-Identifier: Apache-2.0
"""Every example of every page runs: ```python blocks of a page in one namespace, ```bash run blocks in a shell, the programs of examples/.

And what the pages and the code refer to is there: files, anchors, commands that CI takes from a page.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from stable_structures import MemoryManager, Principal, StableBTreeMap, StableMemory, u64

from ..support import command
from ..support.http_server import serving
from ..support.inspect_images import make_dfx

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = ROOT / "examples"


def blocks(info: str, page: Path) -> list[tuple[int, str]]:
    """Line number and text of each block whose opening fence says just `info`."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{re.escape(info)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text[: match.start(1)].count("\n"), match[1]) for match in found]


def each(info: str):
    return [pytest.param(page, text, id=f"{page.name}:{line + 1}") for page in PAGES for line, text in blocks(info, page)]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks("python", page)], ids=lambda page: page.name)
def test_python_examples_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    for line, source in blocks("python", page):
        # Blank lines in front, so that a traceback names the line of the page.
        exec(compile("\n" * line + source, page, "exec"), namespace)  # noqa: S102


def our_environment() -> dict[str, str]:
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def in_our_environment(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=our_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def readers_files(tmp_path, monkeypatch):
    """Files for the names in the pages' commands: SNAPSHOT, snapshots/, users.csv; return names on other machines with those to take."""
    monkeypatch.chdir(tmp_path)
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    StableBTreeMap[Principal, u64](manager.get(0)).update({Principal(bytes([number])): number for number in range(9)})
    StableBTreeMap[u64, str](manager.get(3)).update({number: f"user {number}" for number in range(100)})
    image = memory.read(0, memory.nbytes)
    for folder in (tmp_path / "SNAPSHOT", tmp_path / "snapshots" / "ledger", tmp_path / "snapshots" / "orders"):
        folder.parent.mkdir(exist_ok=True)
        make_dfx(folder, image)
        (folder / "memories.toml").write_text('[memories.0]\nkey = "principal"\n[memories.3]\nname = "users"\nkey = "u64"\nvalue = "str"\n')
    (tmp_path / "users.csv").write_text("key,value\n1,Ada\n2,Grace\n")
    with serving() as (url, files):
        for path in (tmp_path / "SNAPSHOT").iterdir():
            files.put(f"/ledger/{path.name}", path.read_bytes())
        yield {"https://host/snapshots": url, "s3://bucket": url}


def run_line(line: str, places: dict[str, str]) -> bool:
    """Run a line for a reader's own files; return whether it is one that can be run here."""
    for name, place in places.items():
        line = line.replace(name, place)
    words = shlex.split(line, comments=True)
    if words[:1] == ["stable-structures"]:
        words = words[1 : words.index("|") if "|" in words else None]
        words = [path for word in words for path in (sorted(glob.glob(word)) if "*" in word else [word])]  # noqa: PTH207 - as a shell does
        done = command.run(words, cwd=Path.cwd())
        assert done.returncode == 0, done.stdout + done.stderr
    elif words[:2] == ["duckdb", "-c"]:
        assert sorted(pytest.importorskip("duckdb").sql(words[2]).fetchall()) == [("ledger", 100), ("orders", 100)]
    elif words[:1] == ["sqlite3"]:
        with contextlib.closing(sqlite3.connect(words[1])) as database:
            assert len(database.execute(words[2]).fetchall()) == 100
    elif line.startswith("polars."):
        assert len(eval(line, {"polars": pytest.importorskip("polars")}).collect()) == 100  # noqa: S307 - a line of our pages
    elif line.startswith("dask."):
        pytest.importorskip("dask.dataframe")
        assert len(eval(line, {"dask": sys.modules["dask"]})) == 200  # noqa: S307 - a line of our pages
    else:
        return False
    return True


@pytest.mark.parametrize(("page", "block"), [one for one in each("text") if one.values[1].startswith("stable-structures ")])
def test_commands_for_a_readers_own_files_succeed(page, block, readers_files):  # noqa: ARG001 - the page names the test
    if "://" in block:
        pytest.importorskip("aiohttp", reason="the extra 'remote' is not installed")
    if "all/" in block or ".parquet" in block:
        pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    assert sum(run_line(line, readers_files) for line in block.splitlines()) > 0


@pytest.mark.parametrize(("page", "block"), each("bash run"))
def test_commands_marked_as_runnable_succeed(page, block, tmp_path):
    if page == README:  # what is tried first: every interpreter is one that starts
        in_our_environment([shutil.which("bash"), "-euo", "pipefail", "-c", block], tmp_path)
        return
    done = command.in_shell(block, tmp_path, our_environment())
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_order_book_goes_on_where_it_stopped(tmp_path):
    again = [sys.executable, str(EXAMPLES / "order_book.py"), "book.bin"]
    assert in_our_environment(again, tmp_path) == "traded 6; waiting: 1 asks, 0 bids; trades so far: 2\n"
    assert "trades so far: 5" in in_our_environment(again, tmp_path)


def test_the_canister_of_the_examples_passes_its_tests(tmp_path):
    shutil.copytree(EXAMPLES / "counter", tmp_path / "counter", ignore=shutil.ignore_patterns("__pycache__"))
    assert "3 passed" in command.run_pytest("-q", "-p", "no:cacheprovider", "counter", cwd=tmp_path).stdout


@pytest.mark.parametrize(("name", "count"), [("rust_counter", 4), ("motoko_counter", 3)])
def test_the_wasm_canisters_of_the_examples_pass_their_tests(name, count, tmp_path):
    pytest.importorskip("wasmtime")
    shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    assert f"{count} passed" in command.run_pytest("-q", "-p", "no:cacheprovider", name, cwd=tmp_path).stdout


def test_a_snapshot_is_rescued(tmp_path):
    make = """
from stable_structures import MemoryManager, StableBTreeMap, StableMemory, u64
with StableMemory.open("damaged.bin") as memory:
    StableBTreeMap[u64, str](MemoryManager(memory).get(0)).update({i: f"user {i}" for i in range(1000)})
data = bytearray(open("damaged.bin", "rb").read())
at = data.index(b"BTN", 70000)
data[at : at + 3] = b"???"
open("damaged.bin", "wb").write(data)
"""
    in_our_environment([sys.executable, "-c", make], tmp_path)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "rescue_snapshot.py"), "damaged.bin", "rescued.bin"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert re.search(r"99\d entries saved", done.stdout), done.stdout


@pytest.mark.parametrize("arguments", [[], ["damaged.bin"], ["damaged.bin", "rescued.bin", "more"]])
def test_the_example_says_how_it_is_called(arguments, tmp_path):
    command = [sys.executable, str(EXAMPLES / "rescue_snapshot.py"), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "usage: python rescue_snapshot.py stable_memory.bin rescued.bin\n")


@pytest.mark.parametrize(("name", "page"), [("install", README), ("test", README), ("develop", CONTRIBUTING)])
def test_the_commands_that_ci_takes_from_a_page_are_there(name, page):
    assert len(blocks(f"bash {name}", page)) == 1


# ---- references ----


def slug(heading: str) -> str:
    """The anchor that mkdocs and GitHub give a heading of ours."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def references():
    """Each page of docs/ that the code names, with its anchor, and each link in a page."""
    code = [
        *ROOT.glob("native/**/*.[ch]"),
        *ROOT.glob("stable_structures/**/*.py"),
        *ROOT.glob("tests/**/*.py"),
        *ROOT.glob("benches/**/*.py"),
    ]
    for path in code:
        for page, anchor in re.findall(r"docs/(\w[\w-]*\.md)(?:#([\w-]+))?", path.read_text(encoding="utf-8")):
            yield str(path.relative_to(ROOT)), ROOT / "docs" / page, anchor
    for path in [*PAGES, *ROOT.glob("*.md")]:
        for target in re.findall(
            r"\]\((?!https?:)([^)\s]+)\)", re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        ):
            name, _, anchor = target.partition("#")
            yield str(path.relative_to(ROOT)), (path.parent / name if name else path), anchor


REFERENCES = sorted(set(references()))


def test_there_are_references_to_check():
    assert len(REFERENCES) > 60


@pytest.mark.parametrize(("source", "page", "anchor"), REFERENCES, ids=lambda part: getattr(part, "name", str(part)))
def test_what_is_referred_to_is_there(source, page, anchor):
    assert page.exists(), f"{source} refers to {page}"
    assert not anchor or anchor in anchors(page), f"{source} refers to #{anchor} of {page.name}"


def test_the_readme_is_one_page():
    assert README.read_text(encoding="utf-8").count("\n") <= 120


@pytest.mark.parametrize("name", ["DES" + "IGN", "FOR" + "MAT", "IC" + r"\.md", "DURA" + "BILITY"])
def test_documents_outside_the_repository_are_not_named(name):
    files = [
        *ROOT.glob("native/**/*"),
        *ROOT.glob("stable_structures/**/*.py"),
        *ROOT.glob("tests/**/*.py"),
        *ROOT.glob("docs/*"),
        *ROOT.glob("*.md"),
    ]
    texts = {
        path: path.read_text(encoding="utf-8") for path in files if path.is_file() and path.suffix in {".py", ".c", ".h", ".md", ".txt"}
    }
    assert [str(path) for path, text in texts.items() if re.search(name, text)] == []
