"""What the workflows run is what is here: parts of .ci/run, extras, files; and nothing runs there that is not pinned.

Their syntax is checked by actionlint, the scripts by shellcheck, both in the lint part of .ci/run.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
PARTS = set(re.findall(r"^part_(\w+)\(\)", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"].keys()


def runs(text):
    """The commands of a workflow, one for each step; none of ours has several lines."""
    return re.findall(r"^\s+- run: (.*)$", text, re.MULTILINE)


def matrix_parts(text):
    return [part for listed in re.findall(r"^\s+part: \[(.*?)\]", text, re.MULTILINE) for part in listed.split(", ")]


def problems(command, text):
    """What a command of a workflow names that is not there."""
    if command.startswith(".ci/run"):
        named = command.split()[1:]
        return {part for part in (matrix_parts(text) if '"$PART"' in named else []) if part not in PARTS} | {
            part for part in named if part != '"$PART"' and part not in PARTS
        }
    if command.startswith("pip install '.["):
        return set(command.split("[")[1].split("]")[0].split(",")) - EXTRAS
    return set() if command in KNOWN else {command}


KNOWN = {
    "mkdocs build --strict",  # the site part of .ci/run runs the same
    'echo "SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)" >> "$GITHUB_ENV"',
}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_runs_is_there(path):
    text = path.read_text(encoding="utf-8")
    assert len(runs(text)) == len(re.findall(r"\brun:", text))
    assert [problem for command in runs(text) for problem in problems(command, text)] == []


def test_what_is_not_there_is_found():
    assert problems(".ci/run install nonsense", "") == {"nonsense"}
    assert problems('.ci/run "$PART"', "        part: [tests, nonsense]\n") == {"nonsense"}
    assert problems("pip install '.[nonsense]'", "") == {"nonsense"}
    assert problems("curl | sh", "") == {"curl | sh"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_commits_and_say_their_version(path):
    uses = re.findall(r"uses: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    for action in uses:
        if action.startswith("./"):
            assert (ROOT / action).is_file()
        else:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", action), action


def test_every_part_of_ci_runs_in_a_workflow_or_in_the_whole():
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    whole = set(re.search(r"^    parts b ([\w ]+) >", script, re.MULTILINE)[1].split())
    whole |= set(re.search(r"^    parts a ([\w ]+) \|\|", script, re.MULTILINE)[1].split())
    nightly = set(matrix_parts((GITHUB / "workflows/nightly.yml").read_text(encoding="utf-8")))
    assert PARTS - whole - nightly == set()


def test_addresses_are_the_crates_until_the_project_has_its_own():
    urls = PROJECT["project"]["urls"]
    ours = {label: address for label, address in urls.items() if not label.startswith("Rust crate")}
    assert {label for label in urls if label not in ours} == {"Rust crate", "Rust crate: source", "Rust crate: documentation"}
    assert all(re.fullmatch(r"https://\S+stable-structures\S*", address) for address in urls.values())
    assert all(len(label) <= 32 for label in urls)  # PyPI takes no longer ones
    assert not ours or ours.keys() >= {"Repository", "Documentation", "Issues"}  # docs/versions.md: all of them at once


def test_dependabot_watches_every_folder_that_names_versions():
    there = {
        "github-actions": ["."],
        "pip": ["."],
        "cargo": [path.parent.relative_to(ROOT) for room in ("benches", "examples") for path in (ROOT / room).glob("*/Cargo.toml")],
    }
    text = (GITHUB / "dependabot.yml").read_text(encoding="utf-8")
    found = re.findall(r"package-ecosystem: (\S+)\n\s+directories: \[(.*)\]", text)
    assert {ecosystem: sorted(folders.split(", ")) for ecosystem, folders in found} == {
        ecosystem: sorted("/" + str(folder).strip(".") for folder in folders) for ecosystem, folders in there.items()
    }


def test_templates_lead_to_pages_and_commands_that_are_there():
    for path in [*GITHUB.glob("*.md"), *GITHUB.glob("ISSUE_TEMPLATE/*.md")]:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"\b(\w+\.md)\b", text):
            assert (ROOT / name).is_file() or (ROOT / "docs" / name).is_file(), name
        for command in re.findall(r"`stable-structures (\w+)", text):
            from stable_structures.__main__ import main  # noqa: PLC0415 - its parser is the list of verbs

            with pytest.raises(SystemExit) as ended:
                main([command, "--help"])
            assert ended.value.code == 0


def test_tools_are_programs_that_a_part_of_ci_runs():
    called = (ROOT / ".ci/run").read_text(encoding="utf-8") + "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "tools").iterdir()
    )
    for path in (ROOT / "tools").iterdir():
        assert path.stat().st_mode & 0o111, path
        assert f"tools/{path.name}" in called.replace(f"#   tools/{path.name}", ""), path
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0  # noqa: S607
