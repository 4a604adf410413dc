# SPDX-License-Identifier: Apache-2.0
"""The verbs that look into memories, for `stable-structures` and `python -m stable_structures`: their options.

What a verb does is a function in looking.py, entries.py or images.py, which is imported when the verb runs: so the command line starts
in half the time. Exit codes: 0 sound, done, the same; 1 damaged, entries lost, different, absent; 2 not recognised, unreadable, wrong
use; 3 changed while it was read.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from ...encodings.limits import whole_number
from ...memory.manager import DEFAULT_BUCKET_PAGES
from ..formats.layout import KINDS, kind_called
from ..writing import OUTPUTS
from . import completion
from .guard import SOUND, Help, guarded, input_path, output_path
from .text import Printer

_FILE_HELP: Final = (
    "an image, a gzip or zstd file of one, or the folder of a snapshot (dfx, icp-cli, Juno); here, or as https://... or s3://..."
)
_SCHEMA_HELP: Final = "names and types of the memories (default: memories.toml beside FILE)"


def add_verbs(verbs: Any) -> None:
    """Add the verbs to the subparsers of a parser. Each sets `run`, which takes the arguments and returns the exit code."""
    for add in (_add_inspect, _add_check, _add_dump, _add_get, _add_load, _add_export, _add_import):
        add(verbs)
    for add in (_add_diff, _add_map, _add_repair, _add_shrink, _add_completion):
        add(verbs)


def _verb(verbs: Any, name: str, run: str, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  stable-structures {example}",
        formatter_class=Help,
    )

    def typed(arguments: argparse.Namespace) -> int:
        if any(isinstance(getattr(arguments, side, None), str) for side in ("key_type", "value_type")):
            _imported("given.settle_types")(arguments)
        code: int = _imported(run)(arguments)
        return code

    parser.set_defaults(run=lambda arguments: guarded(typed, arguments))
    return parser


def _imported(name: str) -> Callable[..., Any]:
    """Return a function of this package by the name of its module and its own."""
    module, _, function = name.partition(".")
    found: Callable[..., Any] = getattr(import_module(f"{__package__}.{module}"), function)
    return found


# ---- arguments that several verbs have ----


def _file(parser: argparse.ArgumentParser, name: str = "file", text: str = _FILE_HELP) -> None:
    parser.add_argument(name, metavar=name.upper(), type=input_path, help=f"{text}; - is the standard input")


def _several(parser: argparse.ArgumentParser) -> None:
    text = f"{_FILE_HELP}; of another folder, everything in it; - is the standard input"
    parser.add_argument("file", metavar="FILE", nargs="+", type=input_path, help=text)


def _types(parser: argparse.ArgumentParser) -> None:
    _memory(parser, "the virtual memory: its id, 0 to 254, or its name in the schema (without it: all, or the only one)")
    parser.add_argument(
        "--key-type",
        type=_type,
        metavar="TYPE",
        help="type of the keys: u64, string, 'blob<29>', principal, 'tuple<u32,bool>'...",
    )
    parser.add_argument("--value-type", type=_type, metavar="TYPE", help="type of the values, or of a vec's, log's or cell's elements")


def _memory(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--memory", type=_id_or_name, metavar="ID", help=text)
    parser.add_argument("--schema", metavar="FILE", help=_SCHEMA_HELP)
    parser.add_argument("--did", metavar="FILE", help="an interface with the names of Candid's fields")
    parser.add_argument("--words", metavar="FILE", help="a text with more names of Candid's fields")


def _id_or_name(text: str) -> int | str:
    """Return the id of a memory, or its name in the schema."""
    number = whole_number(text)
    return number if isinstance(number, int) and number >= 0 else text


def _type(text: str) -> Any:
    return _imported("given.type_option")(text)


def _count(text: str) -> int:
    return _at_least(0, text)


def _positive(text: str) -> int:
    return _at_least(1, text)


def _at_least(least: int, text: str) -> int:
    number = whole_number(text)
    if not isinstance(number, int) or number < least:
        raise argparse.ArgumentTypeError(f"{text!r:.80} is not a number of {least} or more")
    return number


def _jobs(parser: argparse.ArgumentParser) -> None:
    text = "processes that work at once, on memories of 32 MiB or more (default: as cores and 200 MiB allow; 1: only this one)"
    parser.add_argument("--jobs", type=_positive, default=None, metavar="N", help=text)


def _out(parser: argparse.ArgumentParser, text: str, *, required: bool = True) -> None:
    parser.add_argument("-o", "--out", metavar="OUT", type=output_path, required=required, help=f"{text}; - is the standard output")


def _keep_going(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep-going", action="store_true", help="go on where FILE is cut off or damaged, with what is there")


# ---- inspect ----


def _add_inspect(verbs: Any) -> None:
    summary = "Say what a memory is, and what is in it. Exit code 1: something that was looked at is damaged or missing."
    parser = _verb(verbs, "inspect", "looking.inspect_files", summary, "inspect stable_memory.bin")
    _several(parser)
    parser.add_argument("--deep", action="store_true", help="walk everything, however large, and show all about each memory")
    parser.add_argument("--json", action="store_true", help="for programs; of several files a list, with --summary a line each")
    text = "one line for each FILE, as for a folder of snapshots: size, use, structures, age, warnings"
    parser.add_argument("--summary", action="store_true", help=text)
    text = "write a first schema of the memories of one file; guesses are marked"
    parser.add_argument("--write-schema", dest="out", metavar="OUT", type=output_path, help=text)
    _types(parser)


# ---- check ----


def _add_check(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "check",
        "looking.check_files",
        "Check every rule of the manager and of every structure. Exit code 0: sound, 1: damaged, 2: not recognised or unreadable, "
        "3: changed while it was read.",
        "check stable_memory.bin",
    )
    _several(parser)
    parser.add_argument("--json", action="store_true", help="for programs; of several files a list")
    parser.add_argument("--limit", type=_count, metavar="N", help="show at most N broken rules of a file; all are counted")
    parser.add_argument("--integrity", action="store_true", help="let SQLite check its databases in memories, by a temporary copy")
    _jobs(parser)
    _types(parser)


# ---- dump and get ----


def _add_dump(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "dump",
        "entries.dump_entries",
        "Print the entries of one memory. With given types, or with --raw, load turns them into the same bytes again.",
        "dump stable_memory.bin --memory 3 --key-type principal --value-type cbor --limit 10",
    )
    _several(parser)
    _types(parser)
    parser.add_argument("--from", dest="start", metavar="K", help="begin with this key (or index)")
    parser.add_argument("--to", dest="stop", metavar="K", help="end before this key (or index)")
    parser.add_argument("--limit", type=_count, metavar="N", help="at most N entries")
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
    _jobs(parser)
    _out(parser, "a file; a folder for several FILEs, or if it ends with a slash; without it, to the standard output", required=False)


def _add_get(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "get",
        "entries.get_entry",
        "Print one entry, by its key or index.",
        "get stable_memory.bin --memory 3 --key alice --key-type string",
    )
    _file(parser)
    _types(parser)
    parser.add_argument(
        "--key", required=True, metavar="K", help="the key as text, a number, JSON, or bytes as 0x6162; of a vec, heap or log, the index"
    )
    parser.add_argument("--raw", action="store_true", help="the encoded bytes as they are")
    _keep_going(parser)


# ---- load, export, import ----


def _add_load(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "load",
        "images.load_dump",
        "Build an image from a dump, with the bytes that the crate would write.",
        "load users.jsonl --key-type u64 --value-type string --memory 0 -o image.bin",
    )
    _file(parser, "dump", "a dump: JSON lines, CSV, a CBOR sequence, Parquet or SQLite")
    _types(parser)
    parser.add_argument("--structure", type=kind_called, choices=KINDS, help="what to make (default: as the schema says, else map)")
    parser.add_argument("--format", choices=(*OUTPUTS, "sqlite"), help="default: by the name of the dump")
    parser.add_argument(
        "--bucket-pages", type=_count, default=DEFAULT_BUCKET_PAGES, metavar="N", help="of the manager, with --memory (default: 128)"
    )
    parser.add_argument(
        "--into", metavar="FILE", help="an image or a snapshot's folder whose other memories are kept (without it: a new image)"
    )
    _out(parser, "the image to write; a folder, if --into is a snapshot's and OUT does not end in .bin")


def _add_export(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "export",
        "entries.export_memory",
        "Write one virtual memory as a file of its own.",
        "export stable_memory.bin --memory 3 -o users.bin",
    )
    _file(parser)
    _memory(parser, "the virtual memory: its id, or its name in the schema")
    _keep_going(parser)
    _out(parser, "the file to write; a SQLite database in the memory alone, if OUT ends in .sqlite, .sqlite3 or .db")


def _add_import(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "import",
        "images.import_memory",
        "Put a file into an image, as one of its virtual memories.",
        "import users.bin --memory 3 --into stable_memory.bin -o changed.bin",
    )
    _file(parser, "part", "the memory, as export writes it")
    text = "the id that it gets, or its name in the schema; what has it is replaced"
    parser.add_argument("--memory", type=_id_or_name, required=True, metavar="ID", help=text)
    parser.add_argument("--schema", metavar="FILE", help=_SCHEMA_HELP)
    parser.add_argument("--into", metavar="FILE", type=input_path, help="the image whose other memories are kept (without it: a new one)")
    parser.add_argument("--bucket-pages", type=_count, default=DEFAULT_BUCKET_PAGES, metavar="N", help="of a new image (default: 128)")
    _keep_going(parser)
    _out(parser, "the image to write")


# ---- diff ----


def _add_diff(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "diff",
        "images.diff_images",
        "Show what is different between two memories. Exit code 0: nothing, 1: something, 2: trouble.",
        "diff before.bin after.bin",
    )
    _file(parser, "a")
    _file(parser, "b")
    _types(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--limit",
        type=_count,
        default=None,
        metavar="N",
        help="show at most N entries of each memory; all are counted (default: 20, with --json all)",
    )
    _keep_going(parser)
    _jobs(parser)


# ---- map ----


def _add_map(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "map",
        "images.draw_map",
        "Draw a memory: buckets by owner, pages by fill, nodes by depth, free and stale space.",
        "map stable_memory.bin -o map.html",
    )
    _file(parser)
    _types(parser)
    _keep_going(parser)
    parser.add_argument("--format", choices=("html", "png", "svg"), help="default: by the name of OUT; html for the standard output")
    _out(parser, "map.html (zoomable, one file), map.svg or map.png (these two need matplotlib)")


# ---- repair and shrink ----


def _add_repair(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "repair",
        "images.repair_image",
        "Save every readable entry into a new image. Exit code 0: nothing was lost, 1: something was, 2: trouble.",
        "repair damaged.bin -o saved.bin",
    )
    _file(parser)
    _types(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    _jobs(parser)
    _out(parser, "the image to write (of a snapshot: a folder, unless OUT ends in .bin); FILE is never changed")


def _add_shrink(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "shrink",
        "images.shrink_image",
        "Write a memory compactly; the crate reads it as before.",
        "shrink stable_memory.bin -o small.bin",
    )
    _file(parser)
    _types(parser)
    parser.add_argument(
        "--bucket-pages",
        type=_count,
        metavar="N",
        help="other buckets than before; smaller ones waste less (the crate keeps what it finds)",
    )
    _keep_going(parser)
    _jobs(parser)
    _out(parser, "the image to write (of a snapshot: a folder, unless OUT ends in .bin); FILE is never changed")


# ---- completion ----


def _add_completion(verbs: Any) -> None:
    parser = _verb(
        verbs,
        "completion",
        "verbs.print_completion",
        "Print a script that completes the verbs and options in a shell.",
        "completion bash > ~/.local/share/bash-completion/completions/stable-structures",
    )
    parser.add_argument("shell", choices=completion.SHELLS)


def print_completion(arguments: argparse.Namespace) -> int:
    """Run `completion`."""
    Printer().write(completion.script(arguments.shell, arguments.parser))
    return SOUND
