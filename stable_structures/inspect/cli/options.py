# SPDX-License-Identifier: Apache-2.0
"""The options that several verbs have: how a parser gets them, and what their values mean."""

from __future__ import annotations

import argparse
from typing import Any, Final

from ...errors import StableError
from ...storable import Codec
from ..fit import open_image, require_all_fit
from ..image import Image, SchemaFiles, Types
from ..schema import NO_SCHEMA, MemoryType, read_schema, type_of
from ..source import Unreadable

_FILE_HELP: Final = (
    "an image, a gzip or zstd file of one, or the folder of a snapshot (dfx, icp-cli, Juno); here, or as https://... or s3://..."
)


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
        type=named_type,
        metavar="TYPE",
        help="type of the keys: u64, string, 'blob<29>', principal, 'tuple<u32,bool>'...",
    )
    parser.add_argument("--value-type", type=named_type, metavar="TYPE", help="type of the values, or of a vec's, log's or cell's elements")


def add_memory(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the memory, with the files that name it and the fields in it."""
    parser.add_argument("--memory", type=_id_or_name, metavar="ID", help=text)
    parser.add_argument("--schema", metavar="FILE", help="names and types of the memories (default: memories.toml beside FILE)")
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


def _id_or_name(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() else text


def named_type(text: str) -> Codec[Any]:
    """Return the type of that name."""
    try:
        return type_of(text)
    except (StableError, TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def count(text: str) -> int:
    """Return a number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def schema_files(arguments: argparse.Namespace) -> SchemaFiles:
    """Return the files that say what is in an image."""
    return SchemaFiles(arguments.schema, arguments.did, arguments.words)


def types_by_id(arguments: argparse.Namespace) -> Types:
    """Return the given types, by the id of the memory, for verbs that open the image themselves."""
    types = arguments.key_type, arguments.value_type
    memory = arguments.memory
    if isinstance(memory, str):
        with open_image(arguments.file, files=schema_files(arguments)) as image:
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


def memory_in_schema(arguments: argparse.Namespace) -> MemoryType:
    """Return what the schema says of the memory that is to be made."""
    memory = arguments.memory
    schema = NO_SCHEMA if arguments.schema is None else read_schema(arguments.schema, did=arguments.did)
    if not isinstance(memory, str):
        return schema.of(memory)
    try:
        return schema.of(schema.id_of(memory))
    except KeyError:
        raise Unreadable(f"memory {memory!r} not found; give its id, or --schema with a file that names it") from None
