# SPDX-License-Identifier: Apache-2.0
"""Words that people trip over stay out of docstrings, comments, messages and pages."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What not to write, and what to write instead.
AVOID = {
    r"\b[Gg]ives (the|a|an|its|what|how|whether|back|None|True|False)\b": "returns ...",
    r"\bwhere (it|there) (is|are) (none|no|not|nothing)\b": "if ...",
    r"\b(is|was|are) told\b|\btold (to|that|what|by)\b": "given, reported",
    r"\banew\b": "again",
    r"(?<!there )\bis no (principal|type|memory|key|module|name|file|number|snapshot|record|dataclass)\b": "is not a ..., invalid ...",
    r"\b(made|begun|opened) if it is not there\b": "created if missing",
    r"\bOurs, not the crate's\b": "Extension: not in the crate",
    r"\bin the midst\b": "in the middle, interrupted",
}
# Modules that were being rewritten when the others were read; they join when they have been.
LATER = ("stable_structures/rescue/",)

SOURCES = sorted(
    path
    for folder in ("stable_structures", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if not path.relative_to(ROOT).as_posix().startswith(LATER)
)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def prose(path):
    """The lines that people read: of a page all but its code, of a module its comments and texts of several words."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from enumerate(re.sub(r"```.*?```|`[^`\n]*`", lambda code: "\n" * code[0].count("\n"), text, flags=re.DOTALL).split("\n"), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield from enumerate(node.value.split("\n"), node.lineno)


@pytest.mark.parametrize("path", SOURCES + PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_words_of_a_private_dialect_are_avoided(path):
    found = [
        f"line {number}: {line.strip()!r}: write {instead!r}"
        for number, line in prose(path)
        for word, instead in AVOID.items()
        if re.search(word, line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "Gives the one before, or None",
        "the memory, where there is none, is made",
        "'x' is no principal",
        "what the core is told",
        "it starts anew on a memory",
        "Ours, not the crate's.",
    ],
)
def test_the_words_are_found(line):
    assert any(re.search(word, line) for word in AVOID)
