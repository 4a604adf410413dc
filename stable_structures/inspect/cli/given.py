# SPDX-License-Identifier: Apache-2.0
"""What the options of a command line say about memories: which one, and its types, by the schema or by themselves."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ...errors import IncompatibleType, StableError
from ...storable import Codec
from ..image import SchemaFiles
from ..opening import names_of
from ..remote.place import Place, place_of
from ..schema import NO_SCHEMA, MemoryType, Schema, find_schema, interface_types, read_schema, type_of
from ..source import Unreadable
from ..values import named


def type_option(text: str) -> Codec[Any] | str:
    """Return the type that an option says; the text itself if it may name types of Candid that --did defines (`settle_types`)."""
    try:
        return type_of(text)
    except (StableError, TypeError, ValueError) as error:
        if "candid" in text.lower():
            return text
        raise argparse.ArgumentTypeError(str(error)) from None


def settle_types(arguments: argparse.Namespace) -> None:
    """Make types of the options that name types of an interface. Raises `Unreadable`, and `IncompatibleType` for one that is none."""
    for side in ("key_type", "value_type"):
        text = getattr(arguments, side, None)
        if isinstance(text, str):
            try:
                setattr(arguments, side, type_of(text, interface_types(_interface(arguments))))
            except IncompatibleType as error:
                raise IncompatibleType(f"--{side.replace('_', '-')}: {error}") from None


def _interface(arguments: argparse.Namespace) -> Place | None:
    if arguments.did is not None:
        return place_of(arguments.did)
    image = next((found for name in ("into", "file", "a") if (found := getattr(arguments, name, None)) is not None), None)
    return _schema(arguments, image[0] if isinstance(image, list) else image).did


def files_of(arguments: argparse.Namespace) -> SchemaFiles:
    """Return the files that say what is in an image."""
    return SchemaFiles(arguments.schema, arguments.did, arguments.words)


def _schema(arguments: argparse.Namespace, beside: object) -> Schema:
    """Return the schema that is given, or lies beside an image."""
    did = getattr(arguments, "did", None)
    if arguments.schema is not None:
        return read_schema(arguments.schema, did=did)
    found = find_schema(place_of(beside)) if isinstance(beside, (str, Path)) else None
    return NO_SCHEMA if found is None else read_schema(found, given=False, did=did)


def new_memory(arguments: argparse.Namespace) -> MemoryType:
    """Return what the schema says of the memory that is to be made: the schema that is given, else that of the image it goes into."""
    memory, schema = arguments.memory, _schema(arguments, arguments.into)
    if not isinstance(memory, str):
        return schema.of(memory)
    try:
        return schema.of(schema.id_of(memory))
    except KeyError:
        raise Unreadable(f"memory {memory!r} not found; give its id, or --schema with a file that names it") from None


def types_of_new(arguments: argparse.Namespace, made: MemoryType) -> tuple[Codec[Any] | None, Codec[Any] | None]:
    """Return the types of keys and of values of the memory that is to be made, with the names that `dump` writes."""
    schema = _schema(arguments, arguments.into)
    if schema.did is None and arguments.did is not None:
        schema = Schema(did=place_of(arguments.did))
    names = names_of(schema, None, arguments.words)
    sides = arguments.key_type or made.key, arguments.value_type or made.value
    return tuple(None if one is None else named(one, names) for one in sides)  # type: ignore[return-value] # two
