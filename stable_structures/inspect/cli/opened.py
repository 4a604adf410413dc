# SPDX-License-Identifier: Apache-2.0
"""What verbs share when they run: the image that is opened, the types that are given, what is missing of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ...encodings.json_form import to_json
from .. import missing
from ..fit import open_image, require_all_fit
from ..formats.layout import Damage
from ..image import Image, Part, Types
from ..opening import all_images_in
from ..source import TROUBLES
from ..writing import is_standard_output
from .given import files_of
from .guard import DAMAGED, SOUND, complain, trouble
from .text import Printer, ProgressBar

_MOST_SAID: Final = 20


def each(arguments: argparse.Namespace, one: Callable[[argparse.Namespace, bool], tuple[int, Any]]) -> int:
    """Run a verb on each file; return the exit code of the worst. `one` also gets whether others came before."""
    paths = all_images_in(arguments.file)
    codes: list[int] = []
    found: list[Any] = []
    for path in paths:
        try:
            code, made = one(argparse.Namespace(**{**vars(arguments), "file": path}), bool(codes))
        except TROUBLES as error:
            if len(paths) == 1 or isinstance(error, BrokenPipeError):
                raise
            code, made = trouble(error), {"file": path, "result": "unreadable", "error": str(error)}
        codes.append(code)
        found.append(made)
    if arguments.json:
        print_json(found if len(arguments.file) > 1 or paths != arguments.file else found[0])
    return max(codes)


def types_by_id(arguments: argparse.Namespace) -> Types:
    """Return the given types, by the id of the memory, for verbs that open the image themselves."""
    types = arguments.key_type, arguments.value_type
    memory = arguments.memory
    if isinstance(memory, str):
        with open_image(arguments.file, files=files_of(arguments)) as image:
            memory = image.part(memory).id
    return {} if types == (None, None) else {memory: types}


def given_types(arguments: argparse.Namespace, image: Image) -> Types:
    """Return the given types, by memory. Raises `Misfit` if they are not those of the memory, unless the options say to keep going."""
    if arguments.key_type is None and arguments.value_type is None:
        return {}
    types: Types = {image.part(arguments.memory).id: (arguments.key_type, arguments.value_type)}
    if not getattr(arguments, "keep_going", False):
        require_all_fit(image, types)
    return types


@contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[tuple[Image, ProgressBar]]:
    """Provide the image of a verb, and where it reports progress to."""
    with ProgressBar() as bar, open_image(arguments.file, bar, files_of(arguments)) as image:
        yield image, bar


def keep_only(image: Image, memory: int | str | None) -> None:
    """Keep one memory of the image, and what belongs to it."""
    if memory is not None:
        part = image.part(memory)
        image.parts = {one.id: one for one in (part.index, part, part.data) if one is not None}
        image.problems = [problem for problem in image.problems if problem.memory is None or problem.memory in image.parts]


def whole(image: Image, part: Part | None, *, keep_going: bool) -> int:
    """Return the exit code for what is missing of an image, or of one memory of it; it is said on the error stream."""
    found = missing.of_image(image) if part is None else missing.of_part(image, part)
    for problem in found[:_MOST_SAID]:
        complain(f"{image.name}: {missing.problem_text(problem)}")
    if not found and is_nothing(image) and not keep_going:
        return complain(f"{image.name}: {image.title}; --keep-going takes it as empty")
    return DAMAGED if found and not keep_going else SOUND


def say_passed_over(gone: list[Damage]) -> None:
    """Say what was left out because it is damaged."""
    for damage in gone[:_MOST_SAID]:
        complain(f"passed over: {damage}")


def is_nothing(image: Image) -> bool:
    """Return whether there are no bytes, and nothing that says that there are to be none."""
    return image.recognition.kind == "empty" and not image.recognition.certain


def print_json(found: Any, printer: Printer | None = None) -> None:
    """Print a result for programs."""
    (printer or Printer()).write(json.dumps(to_json(found), ensure_ascii=True, indent=2) + "\n")


def summary(arguments: argparse.Namespace) -> Printer:
    """Return where a verb reports what it wrote: not into its own output."""
    return Printer(sys.stderr if is_standard_output(arguments.out) else sys.stdout)


def say_folder(arguments: argparse.Namespace) -> None:
    """Say what is to be known of a new folder before it is uploaded."""
    from ..rewrite.folder import notes_of  # noqa: PLC0415 - inspect and check start quickly without

    if Path(arguments.out).is_dir():
        for text in notes_of(Path(arguments.out)):
            complain(f"{arguments.out}: {text}")
