# SPDX-License-Identifier: Apache-2.0
"""What mkdocs needs to show our pages: fences without the words that mark them for the tests, doctests as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

_FENCE = re.compile(r"^```(bash|python) \w+$", re.MULTILINE)
_DOCTEST = re.compile(r"(?:^>>> .*\n(?:.+\n?)*)", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn "```bash run" into a plain block of bash, as a hook of mkdocs."""
    return _FENCE.sub(r"```\1", markdown)


class Doctests(griffe.Extension):
    """The extension of griffe: an example in a docstring becomes a fenced block."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Each class, function and module, before mkdocstrings renders it."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """Return a docstring with its examples in fences."""
    return _DOCTEST.sub(lambda example: f"```python\n{example[0].rstrip()}\n```\n", text + "\n").rstrip()
