"""With `--some-cases` each value of each parameter is tried, and some of their combinations; the header says how a run is repeated."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ..support import command
from ..support.combinations import some_of

TESTS = Path(__file__).parents[1]


class Case:
    """What `some_of` asks a test for."""

    def __init__(self, test: str, marks: list[str], **params: Any) -> None:
        self.nodeid = f"{test}[{'-'.join(map(str, params.values()))}]"
        self.callspec = SimpleNamespace(params=params)
        self.marks = [pytest.mark.parametrize(names, []).mark for names in marks]

    def iter_markers(self, name: str) -> Any:
        assert name == "parametrize"
        return self.marks


def cases(marks: list[str], **values: Any) -> list[Any]:
    return [Case("test_it", marks, **dict(zip(values, each, strict=True))) for each in itertools.product(*values.values())]


@pytest.mark.parametrize(("first", "second", "third"), [(10, 9, 1), (2, 2, 1), (40, 2, 1), (3, 4, 5), (7, 7, 2), (30, 2, 2)])
def test_each_value_is_tried_and_a_third_of_the_combinations(first, second, third):
    every = cases(["a", "b"], a=range(first), b=range(100, 100 + second), c=range(200, 200 + third))
    seen = set()
    for seed in range(40):
        kept = some_of(every, seed)
        assert kept == some_of(every, seed)
        for name in "abc":
            assert {case.callspec.params[name] for case in kept} == {case.callspec.params[name] for case in every}
        assert len(every) // 3 <= len(kept) <= max(len(every) // 3, first + second + third)
        seen |= kept
    assert seen == set(every)


def test_names_with_values_from_one_mark_do_not_combine():
    pairs = [Case("test_it", ["a, b"], a=n, b=n * 7 % 30) for n in range(30)]
    assert some_of(pairs, 1) == set(pairs)


def test_a_test_with_one_parameter_keeps_all_cases():
    for one in (cases(["a"], a=range(30)), cases([], a=range(30))):
        assert some_of(one, 1) == set(one)


def test_without_parameters_all_are_tried(request):
    assert some_of([request.node], 1) == {request.node}


TEST = """
import pytest

@pytest.mark.parametrize("a", [*range(10), *(pytest.param(n, marks=pytest.mark.slow) for n in range(20, 50))])
@pytest.mark.parametrize("b", range(100, 109))
def test_it(a, b, seed, request):
    with open("ran", "a") as out:
        out.write(f"{seed} {a} {b}\\n")
"""
SETTINGS = """
[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "-m not slow and not fuzz"]
testpaths = ["tests"]
markers = ["slow", "fuzz"]
"""


def run(folder: Path, *words: str) -> tuple[str, list[list[str]]]:
    """The seed that the header says, and of each case the seed and the parameters. A project with our settings and one test."""
    (folder / "tests" / "support").mkdir(parents=True, exist_ok=True)
    for name in ("conftest.py", *(f"support/{name}.py" for name in ("combinations", "command", "command_client", "command_server"))):
        shutil.copy(TESTS / name, folder / "tests" / name)
    (folder / "pyproject.toml").write_text(SETTINGS, encoding="utf-8")
    (folder / "tests" / "test_it.py").write_text(TEST, encoding="utf-8")
    (folder / "ran").unlink(missing_ok=True)
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "quick"}
    done = command.run_pytest(*words, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"--seed=(\d+)", done.stdout)
    assert found is not None
    return found[1], [line.split() for line in (folder / "ran").read_text(encoding="utf-8").splitlines()]


def test_every_process_of_a_run_has_the_seed_of_its_header(tmp_path):
    seed, ran = run(tmp_path, "-n2", "--some-cases")
    assert len(ran) == 30
    assert {each[0] for each in ran} == {seed}
    assert {each[1] for each in ran} == set(map(str, range(10)))
    assert {each[2] for each in ran} == set(map(str, range(100, 109)))
    assert sorted(run(tmp_path, "--some-cases", f"--seed={seed}")[1]) == sorted(ran)


def test_without_the_option_all_cases_are_tried(tmp_path):
    assert len(run(tmp_path)[1]) == 90
