# SPDX-License-Identifier: Apache-2.0
"""The verbs that look into memories, for `stable-structures` and `python -m stable_structures`: thin, over this package.

Exit codes: 0 sound, done, the same; 1 damaged, entries lost, different, absent; 2 not recognised, unreadable, wrong use; 3 changed while
it was read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final

from ...encodings.json_form import json_text, to_json
from .. import missing, sqlite
from ..compare import diff, to_dict
from ..dump import OUTPUTS, export, get, table, write
from ..fit import Misfit, open_image
from ..formats.layout import Damage, Finding
from ..formats.recognise import STRUCTURES
from ..guessed import first_schema
from ..image import Image, Part, Types, images_in
from ..jobs import cores
from ..parts import write_parts
from ..repair.salvage import repair
from ..report import Report, check, inspect
from ..rewrite.folder import notes_of
from ..rewrite.rewrite import DEFAULT_BUCKET, import_part, load, shrink
from ..schema import STRUCTURES as STRUCTURE_WORDS
from ..source import Unreadable
from ..steady import CHANGED_TEXT, Look, may_have_changed, steady
from ..values import Reading, shorten
from ..writing import is_standard_output, is_stream, output
from . import completion, options, show
from .fleet import inspect_fleet
from .given import files_of, given_types, id_or_name, new_memory, settle_types, types_by_id, types_of_new
from .guard import CHANGED, DAMAGED, SOUND, TROUBLE, TROUBLES, Help, complain, guarded, trouble
from .text import Printer, ProgressBar, human, silence

_KNOWN: Final = (*STRUCTURES, "manager", "sqlite", "empty", "zeros", "ic-stable-memory")
_MOST_SAID: Final = 20
_BINARY: Final = ("cbor", "parquet")


def add_verbs(verbs: Any) -> None:
    """Add the verbs to the subparsers of a parser. Each sets `run`, which takes the arguments and returns the exit code."""
    for add in (_add_inspect, _add_check, _add_dump, _add_get, _add_load, _add_export, _add_import):
        add(verbs)
    for add in (_add_diff, _add_map, _add_repair, _add_shrink, _add_completion):
        add(verbs)


def _verb(verbs: Any, name: str, run: Callable[[argparse.Namespace], int], summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  stable-structures {example}",
        formatter_class=Help,
    )

    def typed(arguments: argparse.Namespace) -> int:
        settle_types(arguments)
        return run(arguments)

    parser.set_defaults(run=lambda arguments: guarded(typed, arguments))
    return parser


# ---- what several verbs do ----


def _each(arguments: argparse.Namespace, one: Callable[[argparse.Namespace, bool], tuple[int, Any]]) -> int:
    """Run a verb on each file; return the exit code of the worst. `one` also gets whether others came before."""
    paths = [path for given in arguments.file for path in images_in(given)]
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
        _print_json(found if len(arguments.file) > 1 or paths != arguments.file else found[0])
    return max(codes)


@contextmanager
def _opened(arguments: argparse.Namespace) -> Iterator[tuple[Image, ProgressBar]]:
    with ProgressBar() as bar, open_image(arguments.file, bar, files_of(arguments)) as image:
        yield image, bar


def _only(image: Image, memory: int | str | None) -> None:
    """Keep one memory of the image, and what belongs to it."""
    if memory is not None:
        part = image.part(memory)
        image.parts = {one.id: one for one in (part.index, part, part.data) if one is not None}
        image.problems = [problem for problem in image.problems if problem.memory is None or problem.memory in image.parts]


def _whole(image: Image, part: Part | None, *, keep_going: bool) -> int:
    """Return the exit code for what is missing of an image, or of one memory of it; it is said on the error stream."""
    found = missing.of_image(image) if part is None else missing.of_part(image, part)
    for problem in found[:_MOST_SAID]:
        complain(f"{image.name}: {missing.problem_text(problem)}")
    if not found and _is_nothing(image) and not keep_going:
        return complain(f"{image.name}: {image.recognition.title}; --keep-going takes it as empty")
    return DAMAGED if found and not keep_going else SOUND


def _is_nothing(image: Image) -> bool:
    """Return whether there are no bytes, and nothing that says that there are to be none."""
    return image.recognition.kind == "empty" and not image.recognition.certain


def _print_json(found: Any, printer: Printer | None = None) -> None:
    (printer or Printer()).write(json.dumps(to_json(found), ensure_ascii=True, indent=2) + "\n")


def _summary(arguments: argparse.Namespace) -> Printer:
    """Return where a verb reports what it wrote: not into its own output."""
    return Printer(sys.stderr if is_standard_output(arguments.out) else sys.stdout)


def _say_folder(arguments: argparse.Namespace) -> None:
    """Say what is to be known of a new folder before it is uploaded."""
    if Path(arguments.out).is_dir():
        for text in notes_of(Path(arguments.out)):
            complain(f"{arguments.out}: {text}")


# ---- inspect ----


def _add_inspect(verbs: Any) -> None:
    summary = "Say what a memory is, and what is in it. Exit code 1: something that was looked at is damaged or missing."
    parser = _verb(verbs, "inspect", _inspect, summary, "inspect stable_memory.bin")
    options.add_files(parser)
    parser.add_argument("--deep", action="store_true", help="walk everything, however large, and show all about each memory")
    parser.add_argument("--json", action="store_true", help="for programs; of several files a list, with --summary a line each")
    text = "one line for each FILE, as for a folder of snapshots: size, use, structures, age, warnings"
    parser.add_argument("--summary", action="store_true", help=text)
    text = "write a first schema of the memories of one file; guesses are marked"
    parser.add_argument("--write-schema", dest="out", metavar="OUT", type=options.output_path, help=text)
    options.add_types(parser)


def _inspect(arguments: argparse.Namespace) -> int:
    if arguments.out is not None and len(arguments.file) > 1:
        raise Unreadable("--write-schema is for one FILE; give one, or leave it out")
    detailed = arguments.deep or arguments.memory is not None or arguments.out is not None
    if arguments.summary or not detailed:
        names = [path for given in arguments.file for path in images_in(given)]
        if arguments.summary or names != arguments.file:
            return inspect_fleet(names, files_of(arguments), as_json=arguments.json)
    return _each(arguments, _inspect_one)


def _inspect_one(arguments: argparse.Namespace, heading: bool) -> tuple[int, Any]:
    (code, report), is_changing = steady(lambda: _inspected(arguments))
    if is_changing:
        code, report.damage = CHANGED, [CHANGED_TEXT]
    if not arguments.json:
        printer = Printer()
        if heading:
            printer.line()
        show.report(report, printer, details=arguments.deep or arguments.memory is not None)
    return code, report.to_dict()


def _inspected(arguments: argparse.Namespace) -> Look[tuple[int, Report]]:
    with _opened(arguments) as (image, bar):
        _only(image, arguments.memory)
        if arguments.out is not None:
            with output(arguments.out) as out:
                out.write(first_schema(image).encode())
        report = inspect(image, deep=arguments.deep or None, types=given_types(arguments, image), progress=bar)
        changed = may_have_changed(image) and arguments.out is None
    code = DAMAGED if report.damaged else TROUBLE if report.kind == "unknown" or _is_nothing(image) else SOUND
    return Look((code, report), report.wrong(), changed)


# ---- check ----


def _add_check(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "check",
        _check,
        "Check every rule of the manager and of every structure. Exit code 0: sound, 1: damaged, 2: not recognised or unreadable, "
        "3: changed while it was read.",
        "check stable_memory.bin",
    )
    options.add_files(parser)
    parser.add_argument("--json", action="store_true", help="for programs; of several files a list")
    parser.add_argument("--limit", type=options.count, metavar="N", help="show at most N broken rules of a file; all are counted")
    parser.add_argument("--integrity", action="store_true", help="let SQLite check its databases in memories, by a temporary copy")
    options.add_jobs(parser)
    options.add_types(parser)


def _check(arguments: argparse.Namespace) -> int:
    return _each(arguments, lambda one, _: _check_one(one))


def _check_one(arguments: argparse.Namespace) -> tuple[int, Any]:
    (image, findings), is_changing = steady(lambda: _checked(arguments))
    known = image.recognition.kind in _KNOWN and not _is_nothing(image)
    code = CHANGED if is_changing else DAMAGED if findings else SOUND if known else TROUBLE
    title, notes = image.recognition.title, image.notes
    if not arguments.json:
        _show_findings(arguments, findings, f"{image.name}: {title}", notes, code)
    result = {SOUND: "sound", DAMAGED: "damaged", TROUBLE: "not recognised", CHANGED: "changed while it was read"}[code]
    shown = [] if is_changing else [asdict(one) for one in findings[: arguments.limit]]
    return code, {"file": image.name, "result": result, "what": title, "count": len(findings), "notes": notes, "violations": shown}


def _checked(arguments: argparse.Namespace) -> Look[tuple[Image, list[Finding]]]:
    with _opened(arguments) as (image, bar):
        _only(image, arguments.memory)
        findings = _findings(arguments, image, bar)
        if arguments.integrity:
            for part in image.parts.values():
                sqlite.check_integrity(part, lambda damage, part=part: findings.append(part.finding(damage)))  # type: ignore[misc]
        return Look((image, findings), [str(one) for one in findings], may_have_changed(image))


def _findings(arguments: argparse.Namespace, image: Image, bar: ProgressBar) -> list[Finding]:
    """Return, if the types do not fit, the rules broken whatever the types are; raise `Misfit` if there are none."""
    try:
        return check(image, types=given_types(arguments, image), progress=bar, jobs=arguments.jobs or cores())
    except Misfit as error:
        findings = check(image, progress=bar, jobs=arguments.jobs or cores())
        if not findings:
            raise
        complain(str(error))
        return findings


def _show_findings(arguments: argparse.Namespace, findings: list[Finding], title: str, notes: list[str], code: int) -> None:
    printer = Printer()
    for text in notes:
        printer.folded(f"note: {text}", style="yellow")
    if code == TROUBLE:
        printer.folded(f"{title}: there are no rules to check")
    elif code == CHANGED:
        printer.folded(f"{title}: {CHANGED_TEXT}", style="yellow")
    elif code == SOUND:
        printer.folded(f"{title}: sound", style="green")
    else:
        show.findings(findings[: arguments.limit], printer)
        printer.folded(f"{title}: damaged, {len(findings)} broken rules", style="red")


# ---- dump and get ----


def _add_dump(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "dump",
        _dump,
        "Print the entries of one memory. With given types, or with --raw, load turns them into the same bytes again.",
        "dump stable_memory.bin --memory 3 --key-type principal --value-type cbor --limit 10",
    )
    options.add_files(parser)
    options.add_types(parser)
    parser.add_argument("--from", dest="start", metavar="K", help="begin with this key (or index)")
    parser.add_argument("--to", dest="stop", metavar="K", help="end before this key (or index)")
    parser.add_argument("--limit", type=options.count, metavar="N", help="at most N entries")
    parser.add_argument("--format", choices=(*OUTPUTS, "sqlite"), help="default: by the name of OUT, else jsonl; sqlite takes all memories")
    parser.add_argument("--raw", action="store_true", help="encoded bytes, undecoded")
    parser.add_argument("--keep-going", action="store_true", help="pass over what is damaged or cut off, and say so at the end")
    parser.add_argument(
        "--safe-csv",
        action="store_true",
        help="write ' before texts that a spreadsheet would take for formulas (= + - @ tab CR); load takes it away again",
    )
    parser.add_argument(
        "--unordered",
        action="store_true",
        help="write a map's entries as they lie, not in the order of their keys; the file is read from end to end (Parquet always)",
    )
    options.add_jobs(parser)
    options.add_out(
        parser, "a file; a folder for several FILEs, or if it ends with a slash; without it, to the standard output", required=False
    )


def _dump(arguments: argparse.Namespace) -> int:
    if len(arguments.file) > 1 or (arguments.out or "").endswith("/"):
        return _dump_parts(arguments)
    arguments.file = arguments.file[0]
    if arguments.format == "sqlite" or (arguments.format is None and Path(arguments.out or "").suffix in sqlite.SUFFIXES):
        return _dump_database(arguments)
    gone: list[Damage] = []
    with _opened(arguments) as (image, _):
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
                write(rows, form, out, safe_csv=arguments.safe_csv, plain=plain)
        except BrokenPipeError:
            if not gone:
                raise
            silence(sys.stdout)
        code = _whole(image, part, keep_going=arguments.keep_going)
    for damage in gone[:_MOST_SAID]:
        complain(f"passed over: {damage}")
    return DAMAGED if gone else code


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

    names = [path for given in arguments.file for path in images_in(given)]
    note, left_out = (gone.append, skip) if arguments.keep_going else (None, None)
    jobs = arguments.jobs or cores()
    made = write_parts(names, arguments.out.rstrip("/"), files=files_of(arguments), note=note, skipped=left_out, jobs=jobs)
    for damage in gone[:_MOST_SAID]:
        complain(f"passed over: {damage}")
    _summary(arguments).line(f"{arguments.out}: {len(made)} files, {sum(one['rows'] for one in made):,} rows")
    return DAMAGED if gone or skipped else SOUND


def _dump_database(arguments: argparse.Namespace) -> int:
    """Write all memories, or the one that is given, into a new SQLite database."""
    if arguments.out is None:
        raise Unreadable("sqlite is not for the standard output; give -o OUT")
    if (arguments.start, arguments.stop, arguments.limit) != (None, None, None):
        raise Unreadable("--from, --to and --limit are not for sqlite, which has WHERE and LIMIT; leave them out")
    gone: list[Damage] = []
    with _opened(arguments) as (image, _):
        only = arguments.memory is not None
        part = image.part(arguments.memory) if only else None
        code = _whole(image, part, keep_going=arguments.keep_going)
        note = gone.append if arguments.keep_going else None
        if code != SOUND:
            return complain("nothing was written; --keep-going goes on without the rest", code)
        types = given_types(arguments, image)
        made = sqlite.write_database(image, arguments.out, types, memory=part.id if part else None, only=only, note=note, raw=arguments.raw)
    for damage in gone[:_MOST_SAID]:
        complain(f"passed over: {damage}")
    for name, count in made.items():
        _summary(arguments).line(f"{arguments.out}: {name}, {count} rows")
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


def _add_get(verbs: Any) -> None:
    parser = _verb(
        verbs, "get", _get, "Print one entry, by its key or index.", "get stable_memory.bin --memory 3 --key alice --key-type string"
    )
    options.add_file(parser)
    options.add_types(parser)
    parser.add_argument(
        "--key", required=True, metavar="K", help="the key as text, a number, JSON, or bytes as 0x6162; of a vec, heap or log, the index"
    )
    parser.add_argument("--raw", action="store_true", help="the encoded bytes as they are")
    options.add_keep_going(parser)


def _get(arguments: argparse.Namespace) -> int:
    with _opened(arguments) as (image, _):
        part = image.part(arguments.memory)
        found = get(part, arguments.key, given_types(arguments, image))
        code, label = _whole(image, part, keep_going=arguments.keep_going), part.label
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


# ---- load, export, import ----


def _add_load(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "load",
        _load,
        "Build an image from a dump, with the bytes that the crate would write.",
        "load users.jsonl --key-type u64 --value-type string --memory 0 -o image.bin",
    )
    options.add_file(parser, "dump", "a dump: JSON lines, CSV, a CBOR sequence or Parquet")
    options.add_types(parser)
    parser.add_argument("--structure", choices=STRUCTURE_WORDS, help="what to make (default: as the schema says, else map)")
    parser.add_argument("--format", choices=(*OUTPUTS, "sqlite"), help="default: by the name of the dump")
    parser.add_argument(
        "--bucket-pages", type=options.count, default=DEFAULT_BUCKET, metavar="N", help="of the manager, with --memory (default: 128)"
    )
    parser.add_argument(
        "--into", metavar="FILE", help="an image or a snapshot's folder whose other memories are kept (without it: a new image)"
    )
    options.add_out(parser, "the image to write; a folder, if --into is a snapshot's and OUT does not end in .bin")


def _load(arguments: argparse.Namespace) -> int:
    memory = new_memory(arguments)
    key, value = types_of_new(arguments, memory)
    with ProgressBar() as bar:
        count = load(
            arguments.dump,
            arguments.out,
            structure=arguments.structure or memory.structure or "map",
            key=key,
            value=value,
            memory=memory.id,
            bucket_pages=arguments.bucket_pages,
            form=arguments.format,
            into=arguments.into,
            progress=bar,
        )
    _summary(arguments).line(f"{arguments.out}: {count} entries")
    _say_folder(arguments)
    return SOUND


def _add_export(verbs: Any) -> None:
    parser = _verb(
        verbs, "export", _export, "Write one virtual memory as a file of its own.", "export stable_memory.bin --memory 3 -o users.bin"
    )
    options.add_file(parser)
    options.add_memory(parser, "the virtual memory: its id, or its name in the schema")
    options.add_keep_going(parser)
    options.add_out(parser, "the file to write; a SQLite database in the memory alone, if OUT ends in .sqlite, .sqlite3 or .db")


def _export(arguments: argparse.Namespace) -> int:
    with _opened(arguments) as (image, _):
        part: Part = image.part(arguments.memory)
        code = _whole(image, part, keep_going=arguments.keep_going)
        if code != SOUND:
            return complain("nothing was written; repair saves what is there, and --keep-going goes on without the rest", code)
        as_database = part.kind == "sqlite" and Path(arguments.out).suffix in sqlite.SUFFIXES
        size = sqlite.export_database(part, arguments.out) if as_database else export(part, arguments.out, keep_going=arguments.keep_going)
        label = part.label
    _summary(arguments).line(f"{arguments.out}: {label}, {human(size)}")
    return SOUND


def _add_import(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "import",
        _import,
        "Put a file into an image, as one of its virtual memories.",
        "import users.bin --memory 3 --into stable_memory.bin -o changed.bin",
    )
    options.add_file(parser, "part", "the memory, as export writes it")
    text = "the id that it gets, or its name in the schema; what has it is replaced"
    parser.add_argument("--memory", type=id_or_name, required=True, metavar="ID", help=text)
    parser.add_argument("--schema", metavar="FILE", help=options.SCHEMA_HELP)
    parser.add_argument(
        "--into", metavar="FILE", type=options.input_path, help="the image whose other memories are kept (without it: a new one)"
    )
    parser.add_argument("--bucket-pages", type=options.count, default=DEFAULT_BUCKET, metavar="N", help="of a new image (default: 128)")
    options.add_keep_going(parser)
    options.add_out(parser, "the image to write")


def _import(arguments: argparse.Namespace) -> int:
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
    show.moved(moved, _summary(arguments))
    _say_folder(arguments)
    return SOUND


# ---- diff ----


def _add_diff(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "diff",
        _diff,
        "Show what is different between two memories. Exit code 0: nothing, 1: something, 2: trouble.",
        "diff before.bin after.bin",
    )
    options.add_file(parser, "a")
    options.add_file(parser, "b")
    options.add_types(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--limit",
        type=options.count,
        default=None,
        metavar="N",
        help="show at most N entries of each memory; all are counted (default: 20, with --json all)",
    )
    options.add_keep_going(parser)
    options.add_jobs(parser)


def _diff(arguments: argparse.Namespace) -> int:
    files = files_of(arguments)
    with ProgressBar() as bar, open_image(arguments.a, bar, files) as a, open_image(arguments.b, bar, files) as b:
        memory = a.part(arguments.memory).id if isinstance(arguments.memory, str) else arguments.memory
        for image in (a, b):
            if image.recognition.kind == "manager" and memory is not None and memory in image.parts:
                _only(image, memory)
        types: Types = {memory: (arguments.key_type, arguments.value_type)}
        found = diff(a, b, types=types, progress=bar, jobs=arguments.jobs or cores())
        code = max(_whole(image, None, keep_going=arguments.keep_going) for image in (a, b))
    if arguments.json:
        _print_json([to_dict(one, _readable, arguments.limit) for one in found])
    else:
        show.differences(found, Printer(), 20 if arguments.limit is None else arguments.limit)
    return code if all(one.same for one in found) else max(code, DAMAGED)


def _readable(reading: Reading, data: Any) -> Any:
    return to_json(reading.read(data))


# ---- map ----


def _add_map(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "map",
        _map,
        "Draw a memory: buckets by owner, pages by fill, nodes by depth, free and stale space.",
        "map stable_memory.bin -o map.html",
    )
    options.add_file(parser)
    options.add_types(parser)
    options.add_keep_going(parser)
    parser.add_argument("--format", choices=("html", "png", "svg"), help="default: by the name of OUT; html for the standard output")
    options.add_out(parser, "map.html (zoomable, one file), map.svg or map.png (these two need matplotlib)")


def _map(arguments: argparse.Namespace) -> int:
    from ..picture.picture import draw  # noqa: PLC0415 - an extra, or only this verb needs it

    with _opened(arguments) as (image, bar):
        _only(image, arguments.memory)
        draw(image, arguments.out, form=arguments.format, types=given_types(arguments, image), progress=bar)
        code = _whole(image, None, keep_going=arguments.keep_going)
    if not is_stream(arguments.out):
        Printer().line(f"{arguments.out}: {human(Path(arguments.out).stat().st_size)}")
    return code


# ---- repair and shrink ----


def _add_repair(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "repair",
        _repair,
        "Save every readable entry into a new image. Exit code 0: nothing was lost, 1: something was, 2: trouble.",
        "repair damaged.bin -o saved.bin",
    )
    options.add_file(parser)
    options.add_types(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    options.add_jobs(parser)
    options.add_out(parser, "the image to write (of a snapshot: a folder, unless OUT ends in .bin); FILE is never changed")


def _repair(arguments: argparse.Namespace) -> int:
    with ProgressBar() as bar:
        types, jobs = types_by_id(arguments), arguments.jobs or cores()
        done = repair(arguments.file, arguments.out, types=types, files=files_of(arguments), progress=bar, jobs=jobs)
    if arguments.json:
        _print_json([{**asdict(one), "missing": one.missing} for one in done], _summary(arguments))
    else:
        show.salvage(done, _summary(arguments))
    _say_folder(arguments)
    return SOUND if all(one.whole for one in done) else DAMAGED


def _add_shrink(verbs: Any) -> None:
    parser = _verb(
        verbs, "shrink", _shrink, "Write a memory compactly; the crate reads it as before.", "shrink stable_memory.bin -o small.bin"
    )
    options.add_file(parser)
    options.add_types(parser)
    parser.add_argument(
        "--bucket-pages",
        type=options.count,
        metavar="N",
        help="other buckets than before; smaller ones waste less (the crate keeps what it finds)",
    )
    options.add_keep_going(parser)
    options.add_jobs(parser)
    options.add_out(parser, "the image to write (of a snapshot: a folder, unless OUT ends in .bin); FILE is never changed")


def _shrink(arguments: argparse.Namespace) -> int:
    with ProgressBar() as bar:
        done = shrink(
            arguments.file,
            arguments.out,
            types=types_by_id(arguments),
            files=files_of(arguments),
            bucket_pages=arguments.bucket_pages,
            keep_going=arguments.keep_going,
            progress=bar,
            jobs=arguments.jobs or cores(),
        )
    printer = _summary(arguments)
    show.moved(done.memories, printer)
    printer.line(f"{arguments.out}: {human(done.before)} became {human(done.after)}")
    _say_folder(arguments)
    return SOUND


# ---- completion ----


def _add_completion(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "completion",
        _completion,
        "Print a script that completes the verbs and options in a shell.",
        "completion bash > ~/.local/share/bash-completion/completions/stable-structures",
    )
    parser.add_argument("shell", choices=completion.SHELLS)


def _completion(arguments: argparse.Namespace) -> int:
    Printer().write(completion.script(arguments.shell, arguments.parser))
    return SOUND
