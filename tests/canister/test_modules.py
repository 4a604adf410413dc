# SPDX-License-Identifier: Apache-2.0
"""Modules are heap: which are a canister's own, which are shared, and that the test's stay what they are."""

from __future__ import annotations

import builtins
import gc
import importlib
import itertools
import os
import re
import sys
import threading
import types
from importlib import metadata

import pytest

from stable_structures.canister import Canister, SourceError, Trapped, Unsupported
from stable_structures.canister.modules import is_shared

HEAD = "from stable_structures.canister import query, update\n"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder with a third-party package that keeps a registry, and a canister that uses it."""
    package = tmp_path / "site" / "pure_registry"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from .table import TABLE\ndef register(x): TABLE.append(x); return list(TABLE)\n")
    (package / "table.py").write_text("TABLE = []\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("pure_registry")]:
        del sys.modules[name]


USER = HEAD + "import pure_registry\n@update\ndef add(x): return pure_registry.register(x)\n"


@pytest.mark.usefixtures("site")
def test_third_party_packages_are_imported_anew_for_each_canister_and_upgrade():
    registry = importlib.import_module("pure_registry")
    registry.register("of the test")
    one, other = Canister.install(USER), Canister.install(USER)
    assert one.call("add", 1) == [1]
    assert one.call("add", 2) == [1, 2]
    assert other.call("add", 3) == [3]
    one.upgrade(USER)
    assert one.call("add", 4) == [4]
    assert registry.register("again") == ["of the test", "again"]
    assert sys.modules["pure_registry"] is registry


@pytest.mark.usefixtures("site")
def test_the_state_of_third_party_packages_is_rolled_back():
    canister = Canister.install(USER + "@update\ndef fail(x): pure_registry.register(x); raise RuntimeError\n")
    canister.call("add", 1)
    with pytest.raises(Trapped):
        canister.call("fail", 2)
    assert canister.call("add", 3) == [1, 3]


@pytest.mark.usefixtures("site")
def test_a_late_import_belongs_to_the_canister_too():
    source = HEAD + "@update\ndef add(x):\n    import pure_registry\n    return pure_registry.register(x)\n"
    source += "@update\ndef dynamic(x):\n    import importlib\n    return importlib.import_module('pure_registry').register(x)\n"
    canister = Canister.install(source)
    assert (canister.call("add", 1), canister.call("dynamic", 2)) == ([1], [1, 2])
    assert "pure_registry" not in sys.modules


@pytest.mark.usefixtures("site")
def test_an_import_in_a_trapped_call_did_not_happen():
    source = HEAD + "@update\ndef fail():\n    import pure_registry\n    pure_registry.register(1)\n    raise RuntimeError\n"
    source += "@update\ndef add(x):\n    import pure_registry\n    return pure_registry.register(x)\n"
    canister = Canister.install(source)
    with pytest.raises(Trapped):
        canister.call("fail")
    assert canister.call("add", 2) == [2]


def test_the_standard_library_and_extension_packages_are_shared():
    source = HEAD + "import collections, json, numpy, stable_structures\n"
    source += "@query\ndef ids(): return [id(m) for m in (collections, json, numpy, stable_structures)]\n"
    ids = [id(importlib.import_module(name)) for name in ("collections", "json", "numpy", "stable_structures")]
    assert Canister.install(source).query("ids") == ids


@pytest.fixture
def project(tmp_path):
    (tmp_path / "helper.py").write_text("value = 1\ndef bump():\n    global value\n    value += 1\n    return value\n")
    (tmp_path / "main.py").write_text(
        HEAD + "import helper\n@update\ndef bump(): return helper.bump()\n@query\ndef where(): return __name__, __file__\n"
    )
    return tmp_path


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_canister_of_several_files(project, as_folder):
    canister = Canister.install(project if as_folder else project / "main.py")
    assert (canister.call("bump"), canister.call("bump")) == (2, 3)
    (project / "helper.py").write_text("def bump(): return 'new'\n")
    assert canister.call("bump") == 4  # code that runs does not change
    canister.upgrade()
    assert canister.call("bump") == "new"
    assert canister.query("where") == ("main", str(project / "main.py"))
    assert "helper" not in sys.modules
    assert str(project) not in sys.path


@pytest.mark.parametrize("marked", [True, False], ids=["dfx.json", "working folder"])
def test_imports_are_looked_for_from_the_projects_folder_too(tmp_path, monkeypatch, marked):
    """As in `from src.shop.stock import stock`: there the CDKs build a canister."""
    folder = tmp_path / "src" / "shop"
    folder.mkdir(parents=True)
    (folder / "stock.py").write_text("stock = ['pear']\n")
    (folder / "main.py").write_text(HEAD + "from src.shop.stock import stock\n@query\ndef all(): return stock\n")
    if marked:
        (tmp_path / "dfx.json").write_text("{}")
    else:
        monkeypatch.chdir(tmp_path)
    assert Canister.install(folder / "main.py").query("all") == ["pear"]
    assert str(tmp_path) not in sys.path


def test_a_package_with_relative_imports(tmp_path):
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text(HEAD + "from .stock import take\n@update\ndef buy(): return take()\n")
    (package / "stock.py").write_text(
        "import dataclasses\n@dataclasses.dataclass\nclass Stock:\n    left: 'int' = 3\nstock = Stock()\ndef take():\n    stock.left -= 1\n    return stock.left\n"  # noqa: E501 - a canister's source
    )
    canister = Canister.install(str(package))
    assert (canister.call("buy"), canister.call("buy")) == (2, 1)


def test_a_module_object_is_run_anew_and_stays_as_it_is(project, monkeypatch):
    monkeypatch.syspath_prepend(str(project))
    helper = importlib.import_module("helper")
    module = importlib.import_module("main")
    canister = Canister.install(module)
    assert canister.call("bump") == 2
    assert helper.value == 1
    assert canister.module is not module
    for name in ("helper", "main"):
        del sys.modules[name]


def test_a_canister_file_may_be_called_like_a_module_of_the_standard_library(tmp_path):
    (tmp_path / "random.py").write_text(HEAD + "@query\ndef name(): return __name__\n")
    assert Canister.install(tmp_path / "random.py").query("name") == "canister_random"
    assert hasattr(importlib.import_module("random"), "randrange")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("no/such/file.py", "file not found"),
        (types.ModuleType("made_up"), "no source file"),
        (5, "pass a path, a module or source text"),
        (Canister, "pass a path, a module or source text"),
        ("def broken(:\n    pass\n", "line 1"),
        ("x = 1\n", "exports nothing"),
        (HEAD + "from stable_structures.canister import *\nclass A(Actor): pass\nclass B(Actor): pass\n", "actors A, B"),
        (HEAD + "from stable_structures.canister import *\n@init\ndef a(): pass\n@init\ndef b(): pass\n", "two functions are @init"),
        (
            HEAD + "from stable_structures.canister import *\n@init\n@post_upgrade\ndef a(): pass\n@post_upgrade\ndef b(): pass\n",
            "two functions",
        ),
        (HEAD + "@query\n@update\ndef a(): pass\n", "a is @query and @update: a method is one of them"),
        (
            HEAD + "from stable_structures.canister import init\n@update\n@init\ndef a(): pass\n",
            "a is @update and @init: a method is one of them",
        ),
        (
            HEAD + "from stable_structures.canister import init\n@init\n@query(guard=lambda: None)\ndef a(): pass\n",
            "a is @init and @query: a method is one of them",
        ),
    ],
    ids=[
        "path",
        "module",
        "number",
        "class",
        "syntax",
        "nothing",
        "actors",
        "hooks",
        "hook twice",
        "methods",
        "method, hook",
        "hook, method",
    ],
)
def test_what_is_no_canister_is_refused_and_says_why(source, problem):
    with pytest.raises((SourceError, Trapped), match=problem):
        Canister.install(source)


@pytest.mark.parametrize("head", ["stable_structures.canister", "basilisk", "kybra"])
@pytest.mark.parametrize("order", ["@init\n@post_upgrade\n", "@post_upgrade\n@init\n", "@init\n@post_upgrade\n@init\n"])
def test_one_function_may_be_several_hooks(head, order):
    source = f"from {head} import init, post_upgrade, update\nran = []\n{order}def begin() -> None:\n    ran.append(1)\n"
    source += (
        "@update\ndef count() -> int:\n    return len(ran)\n"
        if head.startswith("stable")
        else (f"from {head} import nat64\n@update\ndef count() -> nat64:\n    return len(ran)\n")
    )
    canister = Canister.install(source)
    assert canister.call("count") == 1
    canister.upgrade(source)
    assert canister.call("count") == 1


@pytest.mark.parametrize("role", ["query", "update"])
def test_a_wrapper_has_the_marks_of_what_it_wraps_or_its_own(role):
    source = (
        HEAD
        + f"""
import functools
def logged(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args), "logged"
    return wrapper
@logged
@query
def inside(): return 1
@{role}
@logged
@query
def outside(): return 2
"""
    )
    canister = Canister.install(source)
    assert canister.query("inside") == (1, "logged")
    assert (canister.query if role == "query" else canister.call)("outside") == (2, "logged")


def test_an_empty_folder_says_what_it_lacks(tmp_path):
    with pytest.raises(SourceError, match=r"neither __init__.py nor main.py"):
        Canister.install(tmp_path)


# ---- the CDKs' names ----


@pytest.fixture
def real_kybra(tmp_path, monkeypatch):
    """A package named kybra, as somebody who uses the real one has it."""
    (tmp_path / "kybra.py").write_text("REAL = True\nclass StableBTreeMap: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("kybra")
    sys.modules.pop("kybra", None)


def test_the_drop_in_is_inside_canisters_only(real_kybra):
    source = "from kybra import query, nat\nimport kybra\n@query\ndef real() -> bool: return hasattr(kybra, 'REAL')\n"
    assert Canister.install(source).query("real") is False
    assert importlib.import_module("kybra") is real_kybra
    assert real_kybra.REAL


def test_without_the_real_package_the_name_is_unknown_outside():
    Canister.install("from basilisk import query\n@query\ndef f(): return 1\n")
    for name in ("basilisk", "bsk"):
        assert name not in sys.modules
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)


def test_the_file_functions_of_a_basilisk_canister_end_with_the_call():
    functions = builtins.open, os.remove, os.rename, os.listdir, os.path.exists
    source = (
        "from basilisk import *\nimport os\n@update\ndef f():\n    open('/x', 'w').close()\n    os.remove('/x')\n    raise ValueError\n"
    )
    with pytest.raises(Trapped):
        Canister.install(source).call("f")
    assert functions == (builtins.open, os.remove, os.rename, os.listdir, os.path.exists)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("import basilisk.canisters.xrc", "basilisk.canisters.xrc is not part"),
        ("import _basilisk_ic", "_basilisk_ic"),
        ("import kybra.canisters.icrc", "kybra.canisters.icrc is not part"),
        ("from kybra import *\nimport basilisk", "imports basilisk and kybra"),
    ],
)
def test_what_of_a_cdk_is_not_there_is_named(line, named):
    with pytest.raises(Unsupported, match=named):
        Canister.install(line + "\n")


def test_system_calls_outside_a_canister_say_where_they_work():
    from stable_structures.canister import ic  # noqa: PLC0415

    with pytest.raises(Unsupported, match=r"ic0\.time only works inside a canister"):
        ic.time()


def test_other_threads_may_import_meanwhile(tmp_path):
    (tmp_path / "main.py").write_text(HEAD + "n = 0\n@update\ndef inc():\n    global n\n    n += 1\n    return n\n")
    done = threading.Event()

    def import_modules():
        for number in itertools.cycle(range(500)):
            sys.modules[f"json.of_threads_{number}"] = types.ModuleType("made")
            if number == 499:
                for each in range(500):
                    sys.modules.pop(f"json.of_threads_{each}", None)
                if done.is_set():
                    return

    thread, interval, threshold = threading.Thread(target=import_modules), sys.getswitchinterval(), gc.get_threshold()
    made = Canister.install(tmp_path / "main.py")
    sys.setswitchinterval(1e-6)
    gc.set_threshold(5)  # a garbage collection during list(table.items()) lets the other thread run
    thread.start()
    try:
        assert [made.call("inc") for _ in range(200)] == list(range(1, 201))
        made.upgrade(tmp_path / "main.py")
    finally:
        done.set()
        thread.join()
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval)


def test_what_serves_the_page_is_shared():
    """Its threads import parts of it late; a package whose modules are out of the table cannot be imported from."""
    waiting, seen = ["starlette", "uvicorn"], set()
    while waiting:
        name = re.match(r"[\w.-]+", waiting.pop())[0].lower()
        try:
            further = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # for other Pythons or systems
            continue
        waiting += [one for one in further if "extra" not in one and name not in seen]
        seen.add(name)
    assert {"starlette", "uvicorn", "anyio"} <= seen
    assert [name for name in seen if not is_shared(name.replace("-", "_"))] == []
