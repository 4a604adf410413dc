# SPDX-License-Identifier: Apache-2.0
"""The import graph of both languages: layers only look down, and no two modules need each other."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
PACKAGE = ROOT / "stable_structures"

# A layer may use itself and what stands to the left of it.
C_LAYERS = {"core": 0, "memory": 1, "storage": 2, "structures": 2, "ic0": 3}
PYTHON_LAYERS = {
    "base": 0,
    "encodings": 1,
    "storable": 2,
    "memory": 3,
    "arrow": 3,
    "structures": 4,
    "canister": 5,
    "inspect": 5,
    "rescue": 5,
    "top": 6,
}
BASE = {"_native", "errors", "principal", "tasks", "_core"}
# The tools look into a running canister's memory through the public memory classes only; nothing of the harness knows them.
STRANGERS = {("canister", "inspect"), ("inspect", "canister"), ("storage", "structures"), ("structures", "storage")}


def c_edges():
    for path in sorted(NATIVE.glob("*/*.[ch]")):
        if path.parent.name in C_LAYERS:
            for name in re.findall(r'#include "([^"]+)"', path.read_text(encoding="utf-8")):
                yield str(path.relative_to(NATIVE)), name


def layer_of(module):
    """The layer of stable_structures.X.Y: its room, or what it is beside the rooms."""
    room = module.split(".")[1] if "." in module else "top"
    if room in PYTHON_LAYERS:
        return room
    return "base" if room in BASE else "structures" if room == "upgrade" else "top"


def module_of(path):
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in PACKAGE.rglob("*.py")}


def only_types(node):
    """Whether it is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(module):
    """The modules of ours that a module imports, inside its functions too."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    pending = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if only_types(node):
            continue
        pending += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr)]  # none of which imports
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("stable_structures")):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{target}.{alias.name}" if f"{target}.{alias.name}" in MODULES else target


@cache
def edges():
    """Every module with each module that it imports. Parsed when the first test asks, not when tests are collected."""
    return [(module, target) for module in sorted(MODULES) for target in sorted(set(imports(module)))]


def test_there_is_a_graph_to_look_at():
    assert len(list(c_edges())) > 60
    assert len(edges()) > 200


@pytest.mark.parametrize(("file", "header"), sorted(set(c_edges())))
def test_c_layers_look_down(file, header):
    own, other = file.split("/")[0], header.split("/")[0]
    assert (NATIVE / header).exists(), f"{file} includes {header}: write the room and the name"
    assert C_LAYERS[other] <= C_LAYERS[own]
    assert (own, other) not in STRANGERS


def test_python_layers_look_down():
    upward = [
        f"{module} imports {target}"
        for module, target in edges()
        if PYTHON_LAYERS[layer_of(target)] > PYTHON_LAYERS[layer_of(module)] or (layer_of(module), layer_of(target)) in STRANGERS
    ]
    assert upward == []


def circles(graph):
    """Groups of nodes that reach each other, by Tarjan's algorithm."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = [stack.pop()]
            while group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_no_python_modules_need_each_other():
    # A package's __init__ lists what its modules offer; its modules do not import from it.
    packages = {module for module, path in MODULES.items() if path.name == "__init__.py"}
    graph = {module: set() for module in MODULES}
    for module, target in edges():
        if target in MODULES and target != module and not (target in packages and module.startswith(target + ".")):
            graph[module].add(target)
    assert circles(graph) == []


def test_no_c_headers_need_each_other():
    graph: dict[str, set[str]] = {}
    for file, header in c_edges():
        if file.endswith(".h"):
            graph.setdefault(file, set()).add(header)
    assert circles(graph) == []


def test_only_the_border_touches_cffi():
    for module, path in MODULES.items():
        if module != "stable_structures._native":
            assert not re.search(r"^\s*from \S*_core import|import .*\b(ffi|lib)\b", path.read_text(encoding="utf-8"), re.MULTILINE), module


def test_the_core_does_not_know_python():
    for path in NATIVE.rglob("*.[ch]"):
        assert "Python.h" not in path.read_text(encoding="utf-8"), path


def test_rounding_up_stands_in_one_place():
    spelled = re.compile(r"\+ (\w+) - 1\) / \1 \* \1\b|\+ \d+\) & ~")
    places = {path.name for path in NATIVE.glob("*/*.[ch]") if path.parent.name in C_LAYERS and spelled.search(path.read_text("utf-8"))}
    assert places == {"bytes.h"}


def test_an_errno_becomes_a_status_in_one_place():
    """Elsewhere a full disk would be one more failure of the system."""
    for path in NATIVE.glob("*/*.c"):
        if path.parent.name in C_LAYERS and path.name != "error.c":
            found = re.findall(r"ss_fail\(SS_SYSTEM,[^;]*\b(?:errno|error)\b[^;]*;", path.read_text(encoding="utf-8"))
            assert found == [], path
