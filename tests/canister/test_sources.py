# SPDX-License-Identifier: Apache-2.0
"""Canister sources are read as Python reads them, whatever they come from; what cannot be read is refused and says why."""

from __future__ import annotations

import codecs
import gc
import importlib
import linecache
import os
import sys
import traceback
from pathlib import Path

import pytest

from stable_structures.canister import Canister, SourceError, Trapped
from stable_structures.canister.plugin import beside

HEAD = "from stable_structures.canister import query\n"
BODY = HEAD + '@query\ndef word():\n    return "grüße"\n@query\ndef lines():\n    return """a\nb"""\n'

FORMS = {
    "utf-8": BODY.encode(),
    "BOM": codecs.BOM_UTF8 + BODY.encode(),
    "BOM and cookie": codecs.BOM_UTF8 + f"# coding: utf-8\n{BODY}".encode(),
    "latin-1": f"# -*- coding: latin-1 -*-\n{BODY}".encode("latin-1"),
    "cookie in the second line": f"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\n{BODY}".encode("cp1252"),
    "koi8-r": f"# coding=koi8-r\n{BODY.replace('grüße', 'мир')}".encode("koi8-r"),
    "CRLF": BODY.replace("\n", "\r\n").encode(),
    "lone CR": BODY.replace("\n", "\r").encode(),
    "mixed": BODY.replace("\n", "\r\n", 3).encode(),
    "form feeds": BODY.replace("@query", "\f\n@query").encode(),
    "no newline at the end": BODY.rstrip("\n").encode(),
}
WORDS = {"koi8-r": "мир"}
PLACES = ("file", "package", "folder", "submodule", "module", "module of a package")


def install(place, data, folder, monkeypatch):
    """Installs the source that stands in one of the places where source can be."""
    name = f"shop_{abs(hash((place, data))):x}"
    monkeypatch.syspath_prepend(str(folder))
    if place in ("file", "module"):
        (folder / f"{name}.py").write_bytes(data)
        return Canister.install(folder / f"{name}.py" if place == "file" else importlib.import_module(name))
    package = folder / name
    package.mkdir()
    if place == "folder":
        (package / "main.py").write_bytes(data)
    elif place == "submodule":
        (package / "part.py").write_bytes(data)
        (package / "__init__.py").write_text("from .part import word, lines\n")
    else:
        (package / "__init__.py").write_bytes(data)
    return Canister.install(importlib.import_module(name) if place == "module of a package" else str(package))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", FORMS)
def test_source_is_read_as_python_reads_it(place, form, tmp_path, monkeypatch):
    canister = install(place, FORMS[form], tmp_path, monkeypatch)
    assert (canister.query("word"), canister.query("lines")) == (WORDS.get(form, "grüße"), "a\nb")


@pytest.mark.parametrize(
    "change", [str, lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("\n", "\r")]
)
@pytest.mark.parametrize("cookie", ["", "# coding: latin-1\n"])
def test_text_is_text_whatever_its_cookie_says(change, cookie):
    canister = Canister.install(change(cookie + BODY))
    assert (canister.query("word"), canister.query("lines")) == ("grüße", "a\nb")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (BODY.encode() + b"\0", "null bytes"),
        (b"# coding: latin-2000\n" + BODY.encode(), "latin-2000"),
        (BODY.encode("latin-1"), "(?i)utf-8"),  # 3.14: Non-UTF-8 code
        (codecs.BOM_UTF8 + b"# coding: latin-1\n" + BODY.encode(), "latin-1|encoding problem"),
        (BODY.encode("utf-16"), r"null bytes|utf-8|encoded|non-UTF-8"),
        (HEAD.encode() + b"def broken(:\n", "line 2: "),
        (b"x = " + b"(" * 5000, "too many nested|too complex|compile"),
    ],
    ids=["null", "unknown cookie", "wrong utf-8", "BOM against cookie", "utf-16", "syntax", "nested"],
)
@pytest.mark.parametrize("place", ["file", "package", "folder"])
def test_what_python_cannot_read_is_refused(data, problem, place, tmp_path, monkeypatch):
    with pytest.raises(SourceError, match=problem) as refused:
        install(place, data, tmp_path, monkeypatch)
    assert str(tmp_path) in str(refused.value)


def test_a_submodule_that_python_cannot_read_traps_and_is_named(tmp_path, monkeypatch):
    for data in (b"x = 1\0\n", b"# coding: nothing\n", b"def broken(:\n"):
        with pytest.raises((SourceError, Trapped)) as refused:
            install("submodule", data, tmp_path, monkeypatch)
        assert "part" in str(refused.value) or "null" in str(refused.value)


@pytest.mark.parametrize("text", ["x = 1\0\n", "x = '\udc80'\n", "def broken(:\n    pass\n"])
def test_text_that_python_cannot_read_is_refused(text):
    with pytest.raises(SourceError, match="canister_source_"):
        Canister.install(text)


def test_the_lines_of_a_traceback_are_those_of_the_source():
    source = HEAD + "note = '''\f\x0b\x1c\u2028\n'''\n\f\n@query\ndef fail():\n    raise ValueError(note)  # this line\n"
    for text in (source, "\ufeff" + source, source.replace("\n", "\r\n"), source.replace("\n", "\r")):
        with pytest.raises(Trapped) as trapped:
            Canister.install(text).query("fail")
        shown = traceback.format_exception(trapped.value)
        assert any("# this line" in line for line in shown)


# ---- text or path ----

ONE_LINE = "from stable_structures.canister import query; f = query(lambda: 10 / 2" + " + 0" * 2000 + ")"


def test_a_long_text_of_one_line_is_no_path(tmp_path):
    for text in (ONE_LINE, ONE_LINE.replace(" + 0", "+0")):
        assert Canister.install(text).query("f") == 5
        assert beside(text, tmp_path) == text


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_text_with_newlines_is_no_path(end, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = f"import shop.py{end}"
    (tmp_path / text).write_text("this file is not what is meant")
    with pytest.raises(Trapped, match="ModuleNotFoundError"):
        Canister.install(text)


@pytest.mark.parametrize(
    "missing",
    [
        "countr.py",
        "counter",
        "folder/countr.py",
        "./counter.pyy",
        "cuonter.py",
        Path("countr.py"),
        "foldr/counter.py",
        "folder/counter",
        "a b/c.py",
    ],
)
def test_a_path_that_is_not_there_is_said_to_be_so(missing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for place in (tmp_path, tmp_path / "folder"):
        (place / "counter.py").write_text(BODY)
    with pytest.raises(SourceError, match="file not found") as refused:
        Canister.install(missing)
    if "a b" not in str(missing):
        assert "did you mean" in str(refused.value)
        assert (
            str(tmp_path / "folder") in str(refused.value) if "fold" in str(missing) else str(tmp_path / "counter.py") in str(refused.value)
        )


def test_the_fixture_looks_beside_the_test_and_names_what_is_near_there(tmp_path):
    (tmp_path / "counter.py").write_text(BODY)
    assert beside("counter.py", tmp_path) == tmp_path / "counter.py"
    assert beside(Path("counter.py"), tmp_path) == tmp_path / "counter.py"
    with pytest.raises(SourceError, match="did you mean") as refused:
        Canister.install(beside("countr.py", tmp_path))
    assert str(tmp_path / "counter.py") in str(refused.value)


@pytest.mark.parametrize("path", ["a" * 5000, "a/" * 3000 + "x.py", Path("x" * 300), Path("null\0character.py"), "b" * 300 + ".py"])
def test_a_path_that_no_system_takes_is_refused_in_few_words(path, tmp_path):
    for source in (path, beside(path, tmp_path)):
        with pytest.raises(SourceError) as refused:
            Canister.install(source)
        length = len(str(refused.value))
        assert length < 600


def test_a_path_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    with pytest.raises(SourceError):
        Canister.install(tmp_path / "loop.py")
    (tmp_path / "pipe.py").mkdir()
    with pytest.raises(SourceError, match=r"neither __init__.py nor main.py"):
        Canister.install(tmp_path / "pipe.py")
    if os.getuid():
        (tmp_path / "secret.py").write_text(BODY)
        (tmp_path / "secret.py").chmod(0)
        with pytest.raises(SourceError, match=r"[Pp]ermission"):
            Canister.install(tmp_path / "secret.py")


def test_a_module_whose_file_is_gone_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "soon_gone.py").write_text(BODY)
    module = importlib.import_module("soon_gone")
    (tmp_path / "soon_gone.py").unlink()
    with pytest.raises(SourceError, match="soon_gone cannot be read again"):
        Canister.install(module)
    del sys.modules["soon_gone"]


# ---- what is released ----


def texts():
    return [name for name in linecache.cache if name.startswith("memory:canister_source_")]


def test_the_lines_of_a_text_are_released_with_its_program():
    gc.collect()
    before = set(texts())
    canister = Canister.install(BODY)
    for _ in range(5):
        canister.upgrade(BODY)
    with pytest.raises(SourceError):
        Canister.install("x = 1\n")
    with pytest.raises(Trapped):
        canister.upgrade("raise ValueError\n")
    gc.collect()
    assert len(set(texts()) - before) == 1  # of the program that runs
    canister.close()
    del canister
    gc.collect()
    assert set(texts()) <= before


def test_a_traceback_shows_the_lines_of_a_program_that_is_gone():
    with pytest.raises(Trapped) as trapped:
        Canister.install(HEAD + "@query\ndef fail():\n    raise ValueError  # this line\n").query("fail")
    gc.collect()
    assert "# this line" in "".join(traceback.format_exception(trapped.value))
