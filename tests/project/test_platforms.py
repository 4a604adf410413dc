"""Where the package can run, and what it says elsewhere; one version, in one place."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import stable_structures
from stable_structures._platform import Interpreter, refusal

ROOT = Path(__file__).parents[2]
HERE = {
    "system": "linux",
    "byteorder": "little",
    "bits": 64,
    "implementation": "cpython",
    "free_threaded": False,
    "version": (3, 11),
}


@pytest.mark.parametrize(
    "there",
    [{}, {"system": "darwin"}, {"version": (3, 15)}, {"free_threaded": True, "version": (3, 14)}],
)
def test_it_runs_on(there):
    assert refusal(Interpreter(**(HERE | there))) is None


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ({"system": "win32"}, "on Windows, use it in WSL"),
        ({"system": "freebsd14"}, "Linux and macOS .*on freebsd14"),
        ({"byteorder": "big"}, "64-bit big-endian Python on linux"),
        ({"bits": 32}, "32-bit little-endian Python on linux"),
        ({"implementation": "pypy"}, "needs CPython 3.11 or newer; this is pypy"),
        ({"free_threaded": True, "version": (3, 13)}, "free-threaded Python 3.14 or newer.*free-threaded 3.13"),
    ],
)
def test_elsewhere_one_sentence_says_why_not(there, says):
    sentence = refusal(Interpreter(**(HERE | there)))
    assert sentence is not None
    assert re.search(says, sentence)
    assert "\n" not in sentence


def test_the_version_is_written_once():
    assert stable_structures.__version__ == version("stable-structures")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert f"## [{stable_structures.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
