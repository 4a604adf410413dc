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
    r"\b(it|OUT|file|folder|something) is there already\b|\bgive another name\b": "already exists; choose another name",
    r"\bnothing leads to any more\b": "orphaned",
    r"\bsaid to have\b": "recorded",
    r"\btakes a whole number\b": "expected an integer",
    r"\bwithout being believed\b": "as untrusted input",
    r"\bholds? (the writer|writers) off\b": "blocks",
}
# What a canister or a command says there is part of the example.
QUOTED = {"told to fail", "pre_upgrade was told to fail"}

ANY = re.compile("|".join(AVOID))
# One of these stands in whatever they find: a search for a text takes a hundredth of that for a pattern.
LITERALS = (
    *("ives ", "where it ", "where there ", "told", "anew", "is no ", "if it is not there", "not the crate's", "in the midst"),
    *(
        "there already",
        "give another name",
        "leads to any more",
        "said to have",
        "takes a whole",
        "being believed",
        "writer off",
        "writers off",
    ),
)
SOURCES = sorted(
    path
    for pattern in (
        "stable_structures/**/*.py",
        "examples/**/*.py",
        "tests/**/*.py",
        "benches/**/*.py",
        "tools/**/*.py",
        "native/**/*.[ch]",
    )
    for path in ROOT.glob(pattern)
    if path != Path(__file__)
)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def prose(path):
    """The lines that people read: of a page all but its code, of a module or a file of C its comments and texts of several words."""
    text = path.read_text(encoding="utf-8")
    if path.suffix in {".c", ".h"}:
        for found in re.finditer(r'/\*.*?\*/|"[^"\n]* [^"\n]*"', text, re.DOTALL):
            yield from enumerate(found[0].split("\n"), text.count("\n", 0, found.start()) + 1)
    elif path.suffix == ".md":
        yield from enumerate(re.sub(r"```.*?```|`[^`\n]*`", lambda code: "\n" * code[0].count("\n"), text, flags=re.DOTALL).split("\n"), 1)
    elif may_have_one(text):
        yield from prose_of_module(text)


def may_have_one(text):
    """Whether it is worth parsing: a comment stands in the text as it is, a text may be written in pieces and with escapes."""
    return has_one(text) or has_one(re.sub(r"""\\\n|["']\s*\w?\w?["']""", "", text).replace("\\n", " ").replace("\\t", " "))


def has_one(text):
    return any(literal in text for literal in LITERALS) and ANY.search(text)


def prose_of_module(text):
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
        if has_one(line)
        for word, instead in AVOID.items()
        if re.search(word, line) and not any(quoted in line for quoted in QUOTED)
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
        "out.bin: it is there already; give another name",
        "nodes that nothing leads to any more",
        "memory 3 said to have 5 pages",
        "u64 takes a whole number",
        "read without being believed",
        "it holds the writer off",
    ],
)
def test_the_words_are_found(line):
    assert any(re.search(word, line) for word in AVOID)
    assert has_one(line)


@pytest.mark.parametrize("word", AVOID)
def test_each_pattern_asks_for_one_of_the_literals(word):
    """A pattern without its literals finds what they leave out: so each way through it has one."""
    spelled = word.replace(r"\b", "").replace(r"(?<!there )", "")
    assert all(any(literal in way for literal in LITERALS) for way in ways_of(spelled))


def ways_of(pattern):
    """Every text that a pattern of words, groups, classes and optional letters matches."""
    group = re.search(r"\(([^()]*)\)|\[(\w)(\w)\]|(\w)\?", pattern)
    if group is None:
        return pattern.split("|")
    inner = group[1].split("|") if group[1] else [group[2], group[3]] if group[2] else [group[4], ""]
    return [way for each in inner for way in ways_of(pattern[: group.start()] + each + pattern[group.end() :])]


@pytest.mark.parametrize(
    "code",
    [
        "# it starts anew on a memory",
        '"""Gives the one before."""',
        'f("x is no "\n  "principal")',
        "f('x is no '\n  f\"principal {x}\")",
        'f("twice\\nanew, or\\tnot")',
        'f("x is no \\\nprincipal")',
    ],
)
def test_words_are_found_in_every_text_of_a_module(code, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(code)
    assert any(ANY.search(line) for _, line in prose(path))


def test_names_of_the_package_use_the_same_words():
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES if path.is_relative_to(ROOT / "stable_structures")}
    assert [path for path, text in texts.items() if re.search(r"(?i)(\b|_)told(\b|_)", text)] == []  # given, listed, reported
