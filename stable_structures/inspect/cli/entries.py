# SPDX-License-Identifier: Apache-2.0
"""`dump`, `get` and `export` on the command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from ...encodings.json_form import json_text, to_json
from .. import parquet, sqlite
from ..dump import export, get, jobs_for, table, write
from ..formats.layout import Damage
from ..image import Part
from ..jobs import usual
from ..opening import all_images_in
from ..parts import write_parts
from ..source import Unreadable
from ..values import shorten
from ..writing import OUTPUTS, is_stream, output
from .given import files_of
from .guard import DAMAGED, SOUND, complain
from .opened import given_types, opened, say_passed_over, summary, whole
from .text import Printer, human, silence

_BINARY = ("cbor", "parquet")


def dump_entries(arguments: argparse.Namespace) -> int:
    """Run `dump`."""
    if arguments.is_alone:
        parquet.be_lean()
    if len(arguments.file) > 1 or (arguments.out or "").endswith("/"):
        return _dump_parts(arguments)
    arguments.file = arguments.file[0]
    if arguments.format == "sqlite" or (arguments.format is None and Path(arguments.out or "").suffix in sqlite.SUFFIXES):
        return _dump_database(arguments)
    gone: list[Damage] = []
    with opened(arguments) as (image, _):
        part = image.part(arguments.memory)
        suffix = Path(arguments.out or "").suffix.removeprefix(".")
        form = arguments.format or (suffix if suffix in OUTPUTS else "jsonl")
        rows = table(
            part,
            given_types(arguments, image),
            start=arguments.start,
            stop=arguments.stop,
            limit=arguments.limit,
            raw=arguments.raw,
            note=gone.append if arguments.keep_going else None,
            unordered=arguments.unordered or form == "parquet",
        )
        if arguments.safe_csv and form != "csv":
            raise Unreadable(f"--safe-csv is for CSV, and this is {form}; give --format csv, or leave it out")
        try:
            with _rows_out(arguments.out, form) as (out, plain):
                write(rows, form, out, safe_csv=arguments.safe_csv, plain=plain, jobs=_jobs(arguments, part))
        except BrokenPipeError:
            if not gone:
                raise
            silence(sys.stdout)
        code = whole(image, part, keep_going=arguments.keep_going)
    say_passed_over(gone)
    return DAMAGED if gone else code


def _jobs(arguments: argparse.Namespace, part: Part) -> int:
    """Return how many processes write the rows. One with --keep-going, which lists damage in the order of the rows, and with --limit."""
    return 1 if arguments.keep_going or arguments.limit is not None else jobs_for(part, arguments.jobs or usual())


def _dump_parts(arguments: argparse.Namespace) -> int:
    """Write all structures of the images into a folder of Parquet files."""
    if arguments.out is None or is_stream(arguments.out) or arguments.format not in (None, "parquet"):
        raise Unreadable("several FILEs become a folder of Parquet files: give -o FOLDER/, and no other --format")
    chosen = (arguments.memory, arguments.key_type, arguments.value_type, arguments.start, arguments.stop, arguments.limit)
    if any(one is not None for one in chosen) or arguments.raw or arguments.safe_csv:
        raise Unreadable("a folder takes all of every structure, by its schema: leave the other options out, or dump one memory")
    gone: list[Damage] = []
    skipped: list[str] = []

    def skip(name: str, error: BaseException) -> None:
        skipped.append(name)
        complain(f"{name}: left out: {error}")

    names = all_images_in(arguments.file)
    note, left_out = (gone.append, skip) if arguments.keep_going else (None, None)
    jobs = arguments.jobs or usual(arrow=True)
    made = write_parts(names, arguments.out.rstrip("/"), files=files_of(arguments), note=note, skipped=left_out, report=complain, jobs=jobs)
    say_passed_over(gone)
    summary(arguments).line(f"{arguments.out}: {len(made)} files, {sum(one['rows'] for one in made):,} rows")
    return DAMAGED if gone or skipped else SOUND


def _dump_database(arguments: argparse.Namespace) -> int:
    """Write all memories, or the one that is given, into a new SQLite database."""
    if arguments.out is None:
        raise Unreadable("sqlite is not for the standard output; give -o OUT")
    if (arguments.start, arguments.stop, arguments.limit) != (None, None, None):
        raise Unreadable("--from, --to and --limit are not for sqlite, which has WHERE and LIMIT; leave them out")
    gone: list[Damage] = []
    with opened(arguments) as (image, _):
        only = arguments.memory is not None
        part = image.part(arguments.memory) if only else None
        code = whole(image, part, keep_going=arguments.keep_going)
        note = gone.append if arguments.keep_going else None
        if code != SOUND:
            return complain("nothing was written; --keep-going goes on without the rest", code)
        types = given_types(arguments, image)
        made = sqlite.write_database(image, arguments.out, types, memory=part.id if part else None, only=only, note=note, raw=arguments.raw)
        left_out = [] if only else image.without_entries()
    say_passed_over(gone)
    for text in left_out:
        complain(f"{arguments.file}: {text}")
    for name, count in made.items():
        summary(arguments).line(f"{arguments.out}: {name}, {count} rows")
    return DAMAGED if gone else SOUND


@contextmanager
def _rows_out(path: str | None, form: str) -> Iterator[tuple[IO[bytes], bool]]:
    """Where rows go, and whether that is a terminal, which obeys what is not printable."""
    with output(path) if path is not None else nullcontext(sys.stdout.buffer) as out:
        plain = out.isatty()
        if plain and form in _BINARY:
            raise Unreadable(f"{form} is not for a terminal; give -o OUT, or another --format")
        yield out, plain
        out.flush()


def get_entry(arguments: argparse.Namespace) -> int:
    """Run `get`."""
    with opened(arguments) as (image, _):
        part = image.part(arguments.memory)
        found = get(part, arguments.key, given_types(arguments, image))
        code, label = whole(image, part, keep_going=arguments.keep_going), part.label
    if found is None:
        return complain(f"{label}: there is no {shorten(arguments.key)}", DAMAGED)
    data, reading = found
    if not arguments.raw:
        Printer().write(f"{_json_that_fits(to_json(reading.read(data)))}\n")
        return code
    if sys.stdout.isatty() and not _is_plain(data):
        raise Unreadable("these bytes are not plain text, and a terminal would obey them; write them to a file or a pipe")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return code


def _json_that_fits(made: Any) -> str:
    """JSON in letters that the output has."""
    text = json_text(made)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return json.dumps(made)
    return text


def _is_plain(data: bytes) -> bool:
    try:
        return all(line.isprintable() for line in data.decode().replace("\t", " ").split("\n"))
    except UnicodeDecodeError:
        return False


def export_memory(arguments: argparse.Namespace) -> int:
    """Run `export`."""
    with opened(arguments) as (image, _):
        part: Part = image.part(arguments.memory)
        code = whole(image, part, keep_going=arguments.keep_going)
        if code != SOUND:
            return complain("nothing was written; repair saves what is there, and --keep-going goes on without the rest", code)
        as_database = part.kind == "sqlite" and Path(arguments.out).suffix in sqlite.SUFFIXES
        size = sqlite.export_database(part, arguments.out) if as_database else export(part, arguments.out, keep_going=arguments.keep_going)
        label = part.label
    summary(arguments).line(f"{arguments.out}: {label}, {human(size)}")
    return SOUND
