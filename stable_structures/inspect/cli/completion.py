# SPDX-License-Identifier: Apache-2.0
"""Scripts that complete the command line in bash, zsh and fish, made from the parsers, so that they cannot fall behind."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

SHELLS: Final = ("bash", "zsh", "fish")
_NAME: Final = "stable-structures"

_BASH: Final = """\
_stable_structures() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} options=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{verbs}" -- "$word"))
        return
    fi
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word"; [[ $options == -* ]] || compgen -W "$options" -- "$word")
    fi
}}
complete -F _stable_structures {name}
"""

_ZSH: Final = """\
#compdef {name}
_stable_structures() {{
    if (( CURRENT == 2 )); then
        compadd {verbs}
        return
    fi
    case $words[2] in
{cases}
    esac
    _files
}}
compdef _stable_structures {name}
"""


def words(parser: argparse.ArgumentParser) -> list[str]:
    """The options of a verb, and what its positional arguments can be where that is a list."""
    found: list[str] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        found += action.option_strings or [str(choice) for choice in action.choices or ()]
    return found


def script(shell: str, verbs: Mapping[str, argparse.ArgumentParser]) -> str:
    """The script for a shell. O(options)."""
    if shell == "fish":
        return _fish(verbs)
    form = "        {}) options='{}' ;;" if shell == "bash" else "        {}) compadd -- {} ;;"
    cases = "\n".join(form.format(name, " ".join(words(parser))) for name, parser in verbs.items())
    return (_BASH if shell == "bash" else _ZSH).format(name=_NAME, verbs=" ".join(verbs), cases=cases)


def _fish(verbs: Mapping[str, argparse.ArgumentParser]) -> str:
    lines = [f"complete -c {_NAME} -n __fish_use_subcommand -f -a '{' '.join(verbs)}'"]
    for name, parser in verbs.items():
        for word in words(parser):
            option = f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}" if word.startswith("-") else f"-a {word}"
            lines.append(f"complete -c {_NAME} -n '__fish_seen_subcommand_from {name}' {option}")
    return "\n".join(lines) + "\n"
