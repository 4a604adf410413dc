"""A signal handler may raise at the end of each turn of a loop: a block that must be left properly contains no loop that can miss it.

CPython 3.12 to 3.14 forget the jump back of some loops and comprehensions in the table of what handles exceptions, so an exception of
a signal handler there passes by the end of the `with` or `try` around it. Such a loop belongs in a function of its own; so does what
3.14 makes a loop of, `any(...)` and its kin over a generator.
"""

import ast
import dis
import sys
from pathlib import Path
from types import CodeType

import pytest

import stable_structures

ROOT = Path(stable_structures.__file__).parent

# Their blocks only close a file or a buffer, which does so itself when nothing refers to it any more, or end a display.
HARMLESS = {
    "_Writer._image",
    "_machine",
    "_unwinding_signals",
    "diff_images",
    "drained",
    "inspect_fleet",
    "to_dict",
    "unzip",
    "repair",
    "_read_cbor",
    "_fits",
}


def blocks(tree):
    """Lines of the bodies that have an end of their own."""
    for node in ast.walk(tree):
        cleans = isinstance(node, ast.Try) and (node.finalbody or any(each.type is None for each in node.handlers))
        if isinstance(node, (ast.With, ast.AsyncWith)) or cleans:
            yield range(node.body[0].lineno, node.body[-1].end_lineno + 1)


def codes(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def jumps_back(code):
    """For each: the offset at which an exception of a signal handler comes up, and the line."""
    steps, high = code.co_code, 0
    for index, (line, *_) in enumerate(code.co_positions()):
        operation, low = dis.opname[steps[2 * index]], steps[2 * index + 1] | high << 8
        high = low if operation == "EXTENDED_ARG" else 0
        if operation == "JUMP_BACKWARD":  # 3.12 looks for signals when it has jumped, 3.13 before
            yield 2 * (index - low if sys.version_info < (3, 13) else index), line


def uncovered(source, name):
    """Functions with a jump back inside such a block that no entry of the exception table covers."""
    bodies = list(blocks(ast.parse(source)))
    for code in codes(compile(source, name, "exec")) if bodies else ():
        table = dis._parse_exception_table(code)
        for offset, line in jumps_back(code) if code.co_name != "<genexpr>" else ():
            inside = any(line in body and body.start > code.co_firstlineno for body in bodies)
            if inside and not any(entry.start <= offset < entry.end for entry in table):
                yield code.co_qualname


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 has neither inlined comprehensions nor this gap")
def test_no_loop_in_a_block_that_must_be_left_properly():
    found = {name for path in sorted(ROOT.rglob("*.py")) for name in uncovered(path.read_text(encoding="utf-8"), str(path))}
    assert found <= HARMLESS


@pytest.mark.skipif(not (3, 13) <= sys.version_info[:2] <= (3, 14), reason="about the compilers of Python 3.13 and 3.14")
def test_it_finds_the_gap():
    source = "def f(lock, items):\n    with lock:\n        return {one for one in items if one}\n"
    assert list(uncovered(source, "text")) == ["f"]
