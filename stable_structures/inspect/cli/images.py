# SPDX-License-Identifier: Apache-2.0
"""Verbs that write an image, or hold two against each other: `load`, `import`, `diff`, `map`, `repair`, `shrink`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...encodings.json_form import to_json
from .. import parquet
from ..compare import diff, to_dict
from ..fit import open_image
from ..image import Types
from ..jobs import usual
from ..repair.salvage import repair
from ..rewrite.rewrite import import_part, load, shrink
from ..source import Unreadable
from ..values import Reading
from ..writing import is_stream
from . import show
from .given import files_of, new_memory, types_of_new
from .guard import DAMAGED, SOUND
from .opened import given_types, keep_only, opened, print_json, say_folder, summary, types_by_id, whole
from .text import Printer, ProgressBar, human


def load_dump(arguments: argparse.Namespace) -> int:
    """Run `load`."""
    if arguments.is_alone:
        parquet.be_lean()
    made = new_memory(arguments)
    key, value = types_of_new(arguments, made)
    with ProgressBar() as bar:
        count = load(
            arguments.dump,
            arguments.out,
            structure=arguments.structure or made.structure or "map",
            key=key,
            value=value,
            memory=made.id,
            bucket_pages=arguments.bucket_pages,
            form=arguments.format,
            into=arguments.into,
            progress=bar,
        )
    summary(arguments).line(f"{arguments.out}: {count} entries")
    say_folder(arguments)
    return SOUND


def import_memory(arguments: argparse.Namespace) -> int:
    """Run `import`."""
    memory = new_memory(arguments).id
    if memory is None:
        raise Unreadable(f"memory {arguments.memory!r} is the whole image in the schema; give the id of a virtual memory")
    with ProgressBar() as bar:
        moved = import_part(
            arguments.part,
            memory,
            arguments.out,
            into=arguments.into,
            bucket_pages=arguments.bucket_pages,
            keep_going=arguments.keep_going,
            progress=bar,
        )
    show.moved(moved, summary(arguments))
    say_folder(arguments)
    return SOUND


def diff_images(arguments: argparse.Namespace) -> int:
    """Run `diff`."""
    files = files_of(arguments)
    with ProgressBar() as bar, open_image(arguments.a, bar, files) as a, open_image(arguments.b, bar, files) as b:
        memory = a.part(arguments.memory).id if isinstance(arguments.memory, str) else arguments.memory
        for image in (a, b):
            if image.recognition.kind == "manager" and memory is not None and memory in image.parts:
                keep_only(image, memory)
        types: Types = {memory: (arguments.key_type, arguments.value_type)}
        found = diff(a, b, types=types, progress=bar, jobs=arguments.jobs or usual())
        code = max(whole(image, None, keep_going=arguments.keep_going) for image in (a, b))
    if arguments.json:
        print_json([to_dict(one, _readable, arguments.limit) for one in found])
    else:
        show.differences(found, Printer(), 20 if arguments.limit is None else arguments.limit)
    return code if all(one.same for one in found) else max(code, DAMAGED)


def _readable(reading: Reading, data: Any) -> Any:
    return to_json(reading.read(data))


def draw_map(arguments: argparse.Namespace) -> int:
    """Run `map`."""
    from ..picture.picture import draw  # noqa: PLC0415 - an extra, or only this verb needs it

    with opened(arguments) as (image, bar):
        keep_only(image, arguments.memory)
        draw(image, arguments.out, form=arguments.format, types=given_types(arguments, image), progress=bar)
        code = whole(image, None, keep_going=arguments.keep_going)
    if not is_stream(arguments.out):
        Printer().line(f"{arguments.out}: {human(Path(arguments.out).stat().st_size)}")
    return code


def repair_image(arguments: argparse.Namespace) -> int:
    """Run `repair`."""
    with ProgressBar() as bar:
        types, jobs = types_by_id(arguments), arguments.jobs or usual()
        done = repair(arguments.file, arguments.out, types=types, files=files_of(arguments), progress=bar, jobs=jobs)
    if arguments.json:
        print_json([{**asdict(one), "missing": one.missing} for one in done], summary(arguments))
    else:
        show.salvage(done, summary(arguments))
    say_folder(arguments)
    return SOUND if all(one.whole for one in done) else DAMAGED


def shrink_image(arguments: argparse.Namespace) -> int:
    """Run `shrink`."""
    with ProgressBar() as bar:
        done = shrink(
            arguments.file,
            arguments.out,
            types=types_by_id(arguments),
            files=files_of(arguments),
            bucket_pages=arguments.bucket_pages,
            keep_going=arguments.keep_going,
            progress=bar,
            jobs=arguments.jobs or usual(),
        )
    printer = summary(arguments)
    show.moved(done.memories, printer)
    printer.line(f"{arguments.out}: {human(done.before)} became {human(done.after)}")
    say_folder(arguments)
    return SOUND
