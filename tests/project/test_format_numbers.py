# SPDX-License-Identifier: Apache-2.0
"""The numbers and magics of the format are typed once, in C; Python has them by the cdef file."""

import re
from pathlib import Path

import pytest

from stable_structures.inspect.formats import layout

ROOT = Path(__file__).parents[2]
MAGICS = {code.decode() for code in layout.MAGICS} | {"BTN", "NOF", "CHK", "BTA"}
C_FILES = sorted(path for path in (ROOT / "native").rglob("*.[ch]") if "tests" not in path.parts)


def without_comments(path):
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_each_magic_is_defined_once():
    text = (ROOT / "native/memory/magics.h").read_text(encoding="utf-8")
    assert set(re.findall(r'^#define SS_\w+_MAGIC "(\w+)"$', text, re.MULTILINE)) == MAGICS


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.name)
def test_no_other_file_of_c_spells_a_magic(path):
    found = re.findall(r'"(\w{3})(?:\\\w+)*"|\'(\w)\', \'(\w)\', \'(\w)\'', without_comments(path))
    spelled = {"".join(parts) for parts in found} & MAGICS
    assert path.name == "magics.h" or spelled == set()


def test_no_module_spells_a_magic():
    spelled = re.compile(rf'b"(?:{"|".join(sorted(MAGICS))})(?:\\x0\d)?"')
    assert [path.name for path in (ROOT / "stable_structures").rglob("*.py") if spelled.search(path.read_text(encoding="utf-8"))] == []


def test_the_layouts_of_the_inspector_hold_no_number_of_their_own():
    text = Path(layout.__file__).read_text(encoding="utf-8")
    assert re.findall(r"^[A-Z_]+: Final(?:\[int\])? = .*\b\d+$", text, re.MULTILINE) == []
    assert len(re.findall(r"^[A-Z_]+: Final\[int\] = _core\.\w+$", text, re.MULTILINE)) > 30
