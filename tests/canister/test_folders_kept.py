# SPDX-License-Identifier: Apache-2.0
"""Folders of canisters and snapshots: what somebody else put there stays, and what a canister said is on the disk before it is printed."""

import json
import os
import random

import pytest

from stable_structures import deployment, rehearsal
from stable_structures.__main__ import main
from stable_structures.canister import Canister, SourceError, folder

from .test_deployment import ACTOR, BUILT, shell

pytest.importorskip("wasmtime")
LEDGER = BUILT / "ledger.wasm.gz"
__all__ = ["shell"]


def files(place):
    return {str(one.relative_to(place)): one.read_bytes() for one in place.rglob("*") if one.is_file()}


def names(place):
    return sorted(one.name for one in place.iterdir())


@pytest.fixture
def ledger(tmp_path, shell):
    shell("deploy", LEDGER, tmp_path / "ledger", "--arg", "(opt 7)")
    return tmp_path / "ledger"


def occupied(kind, place):
    """Put something other than a snapshot at a place."""
    if kind == "file":
        place.write_text("precious")
    elif kind == "folder":
        (place / "inner").mkdir(parents=True)
        (place / "inner" / "thesis.txt").write_text("precious")
    elif kind == "dangling link":
        place.symlink_to(place.with_name("elsewhere"))
    else:
        (place.with_name("real")).mkdir()
        (place.with_name("real") / "thesis.txt").write_text("precious")
        place.symlink_to(place.with_name("real"))


KINDS = ("file", "folder", "dangling link", "link to a folder")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dangling link"])
def test_nothing_but_a_snapshot_is_replaced(kind, tmp_path, canister):
    occupied(kind, tmp_path / "out")
    before = files(tmp_path)
    with pytest.raises(SourceError, match="file already exists; choose a new or empty folder, or remove it"):
        canister(LEDGER, (7,)).save_snapshot(tmp_path / "out")
    assert files(tmp_path) == before


@pytest.mark.parametrize("kind", [*KINDS, "the snapshot itself", "another snapshot"])
def test_the_result_of_a_rehearsal_needs_a_new_folder(kind, ledger, tmp_path, capsys, shell):
    out = tmp_path / "out"
    if kind == "the snapshot itself":
        out = ledger
    elif kind == "another snapshot":
        shell("deploy", LEDGER, out, "--arg", "(opt 7)")
    else:
        occupied(kind, out)
    before = files(tmp_path)
    assert main(["rehearse", str(ledger), str(LEDGER), "--arg", "(null)", "-o", str(out)]) == 2
    assert "file already exists" in capsys.readouterr().err
    with pytest.raises(SourceError, match="file already exists"):
        rehearsal.rehearse(ledger, LEDGER, (None,), save=out)
    assert files(tmp_path) == before


def test_an_empty_folder_is_as_good_as_a_new_one(ledger, tmp_path):
    (tmp_path / "out").mkdir()
    assert main(["rehearse", str(ledger), str(LEDGER), "--arg", "(null)", "-o", str(tmp_path / "out")]) == 0
    assert Canister.from_snapshot(tmp_path / "out").query("accounts") == []


@pytest.mark.parametrize("links", [True, False])
def test_files_beside_a_snapshot_stay(links, ledger, shell, canister, monkeypatch):
    """A schema, notes, a folder of notes: through messages, an upgrade, and another snapshot."""
    if not links:

        def refuse(*_, **__):
            raise OSError("no links here")

        monkeypatch.setattr(os, "link", refuse)
    (ledger / "memories.toml").write_text('[memories.0]\nname = "accounts"\n')
    (ledger / "notes" / "deep").mkdir(parents=True)
    (ledger / "notes" / "deep" / "a.txt").write_text("precious")
    (ledger / "link").symlink_to("memories.toml")
    for verb in (
        ("call", ledger, "deposit", '("ada", 5)'),
        ("stop", ledger),
        ("start", ledger),
        ("upgrade", ledger, LEDGER, "--arg", "(null)"),
    ):
        assert not shell(*verb).startswith(("1", "2"))
    canister(LEDGER, (7,)).save_snapshot(ledger)
    assert (ledger / "memories.toml").read_text() == '[memories.0]\nname = "accounts"\n'
    assert (ledger / "notes" / "deep" / "a.txt").read_text() == "precious"
    assert (ledger / "link").readlink().name == "memories.toml"
    assert Canister.from_snapshot(ledger).query("accounts") == []


def test_a_folder_has_one_lock_whatever_its_name(ledger, tmp_path, shell):
    """A link stays a link, and its commands change the folder that it names."""
    (tmp_path / "link").symlink_to(ledger.name)
    assert shell("call", tmp_path / "link", "deposit", '("ada", 5)') == "(5 : nat64)"
    assert (tmp_path / "link").is_symlink()
    assert shell("query", ledger, "balance", '("ada")') == "(opt (5 : nat64))"
    one, other = deployment.Deployment(tmp_path / "link", patience=0), deployment.Deployment(ledger, patience=0)
    with one.write(), pytest.raises(deployment.Locked), other.write():
        pass


NEIGHBOURS = ("c.new", "c.new-abcdefgh", "c.old", ".c.newer", "c", "*", "[c]", "c?")


@pytest.mark.parametrize("name", ["c", "*", "[c]", "c?"])
@pytest.mark.parametrize("exchanges", [True, False])
def test_a_writer_touches_nothing_of_its_neighbours(name, exchanges, tmp_path, monkeypatch):
    """Neither their folders nor their locks nor what they are writing at this moment."""
    if not exchanges:
        monkeypatch.setattr(folder, "exchange_paths", lambda *_: False)
    (tmp_path / "counter.py").write_text(ACTOR)
    written = deployment.Deployment(tmp_path / name)
    written.deploy(tmp_path / "counter.py")
    for other in NEIGHBOURS:
        if other != name:
            (tmp_path / other).mkdir()
            (tmp_path / f".{other}.lock").touch()
            (tmp_path / f".{other}.new-12345678").mkdir()
    before = names(tmp_path)
    for number in (1, 2):
        with written.write() as canister:
            assert canister.call("inc") == number
    assert names(tmp_path) == before


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_kill_where_folders_cannot_be_exchanged(step, tmp_path, monkeypatch):
    """Between any two of the three renames, the next command finds the old or the new state."""
    (tmp_path / "counter.py").write_text(ACTOR)
    written = deployment.Deployment(tmp_path / "c")
    written.deploy(tmp_path / "counter.py")
    if pid := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    else:
        monkeypatch.setattr(folder, "exchange_paths", lambda *_: False)
        rename, done = folder.Path.rename, []

        def killed(self, target):
            rename(self, target)
            done.append(target)
            if len(done) == step:
                os.kill(os.getpid(), 9)

        monkeypatch.setattr(folder.Path, "rename", killed)
        with written.write() as canister:
            canister.call("inc")
        os._exit(1)
    with written.write() as canister:
        assert canister.call("inc") == (1 if step == 1 else 2)
    assert names(tmp_path) == [".c.lock", "c", "counter.py"]


WRONG = {
    "id": [5, None, "abc", "", ["2vxsx-fae"]],
    "controllers": [None, "2vxsx-fae", ["zz"], [5]],
    "time": ["a", -1, 1.5, 2**64, None, True],
    "cycles": ["a", -1, 1.5, 2**128, None],
    "env": [3, None, [], {"a": 5}],
    "logs": [None, "abc", [1], {}],
    "status": ["", "foo", None, 5, []],
    "did": [7, None, []],
}


def test_facts_that_no_canister_has(ledger, shell):
    """Missing or of another type: one line with the file, the fact and what to do, exit code 2."""
    path = ledger / "canister.json"
    whole = json.loads(path.read_text())
    broken = [{**whole, name: value} for name, values in WRONG.items() for value in values]
    broken += [{name: value for name, value in whole.items() if name != left_out} for left_out in whole if left_out != "did"]
    texts = [json.dumps(one) for one in [*broken, [], 5, "x", None]] + ["", "{", "\x00", "[" * 100_000]
    for text in texts:
        path.write_text(text)
        for verb in (("status",), ("query", "accounts"), ("call", "deposit", '("a", 1)')):
            said = shell(verb[0], ledger, *verb[1:])
            assert said.startswith(f"2: {path}: "), (text[:80], said)
            assert "restore the file, or remove it" in said
            assert len(said.splitlines()) == 1
    path.unlink()
    assert shell("call", ledger, "deposit", '("a", 1)') == "(1 : nat64)"


LATIN = '# -*- coding: latin-1 -*-\nfrom stable_structures.canister import query\n@query\ndef name():\n    return "Zo\u00eb"\n'


@pytest.mark.parametrize(
    "source",
    [LATIN.encode("latin-1"), b"\xef\xbb\xbf" + LATIN.partition("\n")[2].encode(), LATIN.partition("\n")[2].replace("\n", "\r\n").encode()],
    ids=["cookie", "mark", "crlf"],
)
def test_source_is_read_as_python_reads_it(source, shell, tmp_path):
    (tmp_path / "name.py").write_bytes(source)
    assert shell("deploy", tmp_path / "name.py", tmp_path / "c").endswith("-cai")
    assert shell("query", tmp_path / "c", "name") == '("Zoë")'
    assert shell("upgrade", tmp_path / "c", tmp_path / "name.py") == "upgraded to version 2"
    assert shell("query", tmp_path / "c", "name") == '("Zoë")'


def test_bytes_that_are_no_source(shell, tmp_path):
    for number, source in enumerate(
        (b"# coding: latin-1\x00\xff", b"x = '\xff'\n", b"# coding: nonsense\n", random.Random(5).randbytes(99))
    ):
        (tmp_path / "bad.py").write_bytes(source)
        said = shell("deploy", tmp_path / "bad.py", tmp_path / str(number))
        assert said.startswith("2: ")
        assert "bad.py" in said or "memory:" in said
        assert not (tmp_path / str(number)).exists()


def test_a_python_canister_cannot_be_rehearsed(shell, tmp_path, capsys):
    (tmp_path / "counter.py").write_text(ACTOR)
    shell("deploy", tmp_path / "counter.py", tmp_path / "c")
    assert main(["rehearse", str(tmp_path / "c"), str(LEDGER)]) == 2
    assert f"{tmp_path / 'c'}: its module is not Wasm" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [("call", "inc", "()"), ("stop",), ("start",), ("upgrade", "counter.py")])
def test_an_answer_that_is_not_saved_is_not_given(verb, shell, tmp_path, monkeypatch):
    """Whoever reads an answer may rely on it."""
    (tmp_path / "counter.py").write_text(ACTOR)
    shell("deploy", tmp_path / "counter.py", tmp_path / "c")

    def full(*_):
        raise OSError(28, "No space left on device", "c")

    monkeypatch.setattr(deployment, "write_folder", full)
    monkeypatch.chdir(tmp_path)
    said = []
    monkeypatch.setattr("stable_structures.commands._say", said.append)
    assert shell(verb[0], tmp_path / "c", *verb[1:]).startswith("2: ")
    assert said == []
