# SPDX-License-Identifier: Apache-2.0
"""Each example of the README and the guides runs: ```python blocks one after the other in one namespace, ```bash run blocks in a shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
GUIDE = README.parent / "docs" / "durability.md"


def blocks(info: str, page: Path = README) -> list[tuple[int, str]]:
    """Line number and text of each block whose opening fence says just `info`."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{re.escape(info)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text[: match.start(1)].count("\n"), match[1]) for match in found]


@pytest.mark.parametrize("page", [README, GUIDE], ids=lambda page: page.name)
def test_python_examples_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = blocks("python", page)
    assert examples
    namespace = {"__name__": "readme"}
    for line, source in examples:
        # Blank lines in front, so that a traceback names the line of the page.
        exec(compile("\n" * line + source, page, "exec"), namespace)  # noqa: S102


@pytest.mark.parametrize("command", [pytest.param(text, id=f"line {line + 1}") for line, text in blocks("bash run")])
def test_commands_marked_as_runnable_succeed(command, tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run([shutil.which("bash"), "-euo", "pipefail", "-c", command], cwd=tmp_path, env={**os.environ, "PATH": path}, check=True)


@pytest.mark.parametrize("name", ["install", "test", "develop"])
def test_the_commands_that_ci_takes_from_the_readme_are_there(name):
    assert len(blocks(f"bash {name}")) == 1
