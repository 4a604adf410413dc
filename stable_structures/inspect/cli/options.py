# SPDX-License-Identifier: Apache-2.0
"""The options that several verbs have. What they say about memories is found out in `given`."""

from __future__ import annotations

import argparse
from typing import Final

from .given import id_or_name, type_option

_FILE_HELP: Final = (
    "an image, a gzip or zstd file of one, or the folder of a snapshot (dfx, icp-cli, Juno); here, or as https://... or s3://..."
)
SCHEMA_HELP: Final = "names and types of the memories (default: memories.toml beside FILE)"


def add_file(parser: argparse.ArgumentParser, name: str = "file", text: str = _FILE_HELP) -> None:
    """Add FILE, or another argument that is one input."""
    parser.add_argument(name, metavar=name.upper(), type=input_path, help=f"{text}; - is the standard input")


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add FILE, one or more: files and folders."""
    text = f"{_FILE_HELP}; of another folder, everything in it; - is the standard input"
    parser.add_argument("file", metavar="FILE", nargs="+", type=input_path, help=text)


def add_types(parser: argparse.ArgumentParser) -> None:
    """Add the memory and the types of what is in it."""
    add_memory(parser, "the virtual memory: its id, 0 to 254, or its name in the schema (without it: all, or the only one)")
    parser.add_argument(
        "--key-type",
        type=type_option,
        metavar="TYPE",
        help="type of the keys: u64, string, 'blob<29>', principal, 'tuple<u32,bool>'...",
    )
    parser.add_argument(
        "--value-type", type=type_option, metavar="TYPE", help="type of the values, or of a vec's, log's or cell's elements"
    )


def add_memory(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the memory, with the files that name it and the fields in it."""
    parser.add_argument("--memory", type=id_or_name, metavar="ID", help=text)
    parser.add_argument("--schema", metavar="FILE", help=SCHEMA_HELP)
    parser.add_argument("--did", metavar="FILE", help="an interface with the names of Candid's fields")
    parser.add_argument("--words", metavar="FILE", help="a text with more names of Candid's fields")


def add_keep_going(parser: argparse.ArgumentParser) -> None:
    """Add the leave to go on without what is missing."""
    parser.add_argument("--keep-going", action="store_true", help="go on where FILE is cut off or damaged, with what is there")


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add the number of processes."""
    text = "processes that work at once, a memory each, from two memories of 32 MiB on (default: all cores; 1: none but this one)"
    parser.add_argument("--jobs", type=_positive, default=None, metavar="N", help=text)


def add_out(parser: argparse.ArgumentParser, text: str, *, required: bool = True) -> None:
    """Add the output."""
    parser.add_argument("-o", "--out", metavar="OUT", type=output_path, required=required, help=f"{text}; - is the standard output")


def input_path(text: str) -> str:
    """Return the path of an input; - is the standard input."""
    return "/dev/stdin" if text == "-" else text


def output_path(text: str) -> str:
    """Return the path of an output; - is the standard output."""
    return "/dev/stdout" if text == "-" else text


def count(text: str) -> int:
    """Return a number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)
