# SPDX-License-Identifier: Apache-2.0
"""What docs/architecture.md draws is so: the way of a key, the folders, and where each invariant is stated."""

from __future__ import annotations

import inspect
import re
from itertools import pairwise
from pathlib import Path

import pytest

from stable_structures import StableBTreeMap, u64

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def rows(heading: str, width: int) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)[1]
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    assert all(len(row) >= width for row in cells)
    return cells[2:]


HOPS = [
    (name, ROOT / (file if file.startswith("native/") else f"stable_structures/{file}"))
    for _, name, file, _ in rows("From a key to its bytes", 4)
]


def defines(path: Path, name: str) -> bool:
    """Whether a file of C has the body of a function."""
    return re.search(rf"^[a-z][\w *]*\b{name}\([^;{{]*\{{", path.read_text(encoding="utf-8"), re.MULTILINE) is not None


def test_the_way_of_a_key_has_at_most_ten_steps():
    assert 5 <= len(HOPS) <= 10
    assert HOPS[0][0] == "StableBTreeMap.__setitem__"
    assert HOPS[-1][0] == "memcpy"


def test_the_method_of_the_drawing_is_the_one_that_runs():
    runs = Path(inspect.getsourcefile(StableBTreeMap[u64, str].__setitem__))  # the package may be installed elsewhere
    assert runs.parts[-3:] == HOPS[0][1].parts[-3:]


@pytest.mark.parametrize(("name", "path"), HOPS[1:-1])
def test_each_step_is_a_function_of_that_file(name, path):
    assert defines(path, name)


@pytest.mark.parametrize(("step", "following"), list(pairwise(HOPS)), ids=lambda step: step[0])
def test_each_file_leads_to_the_next_step(step, following):
    text = step[1].read_text(encoding="utf-8")
    called = "storage_ops->touch(" if following[0] == "touch" else following[0]
    assert called in text or called.removesuffix("_watched") in text


def test_the_journal_is_what_touch_means():
    assert re.search(r"\.touch = touch\b", next(path for name, path in HOPS if name == "touch").read_text(encoding="utf-8"))


def stated(path: Path) -> set[str]:
    """The invariants that the head of a file of C states."""
    return set(re.findall(r"^ \* +([A-Z]\d+)  ", path.read_text(encoding="utf-8"), re.MULTILINE))


def listed() -> dict[str, Path]:
    found = {}
    for letters, _, file in rows("Invariants", 3):
        for part in letters.split(", "):
            first, _, last = part.partition(" to ")
            for number in range(int(first[1:]), int((last or first)[1:]) + 1):
                assert f"{first[0]}{number}" not in found
                found[f"{first[0]}{number}"] = ROOT / file
    return found


def test_every_invariant_is_listed_with_the_file_that_states_it():
    in_code = {(name, path) for path in (ROOT / "native").glob("*/*.[ch]") for name in stated(path)}
    assert in_code == set(listed().items())


def test_no_comment_refers_to_an_invariant_that_is_not_there():
    known = set(listed()) | {"B6"}
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "native").glob("*/*.[ch]"))
    referred = set(re.findall(r"\(([A-Z]\d+)\)", text))
    assert referred <= known, referred - known


def test_the_folders_are_there():
    named = [name for name, _ in rows("Layers", 2)]
    assert all((ROOT / name).is_dir() for name in named)
    there = {f"native/{path.name}/" for path in (ROOT / "native").iterdir() if path.is_dir() and path.name != "tests"}
    assert there <= set(named)
