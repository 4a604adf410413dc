# SPDX-License-Identifier: Apache-2.0
"""The Candid interface of a module: find it, and convert the values of its methods."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from ...encodings.candid.codec import EMPTY, MAGIC, decode, encode, has_none
from ...encodings.candid.types import Func, Interface, Type, parse_interface, parse_types
from ...errors import SourceError, Unsupported
from .binary import Module

_HOW: Final = (
    "pass did=..., put the .did file beside the .wasm, end the Rust source with ic_cdk::export_candid!(), or pass Candid bytes to call_raw"
)


def did_text(did: str | os.PathLike[str] | None) -> str | None:
    """Return the text of `did=`: a file, or the text itself, which has a brace. O(size).

    Raises `SourceError` for a file that is missing or cannot be read.
    """
    if did is None:
        return None
    text = os.fspath(did)
    if "{" in text:
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SourceError(f"{text:.200}: file not found; pass the .did file of the canister, or its text") from None
    except (OSError, ValueError) as error:
        raise _unreadable(text, error) from None


def did_beside(path: Path | None) -> str | None:
    """Return the text of the .did file beside a module; None if there is none. O(size). Raises `SourceError` if it cannot be read."""
    if path is None:
        return None
    name = path.name.removesuffix(".gz").removesuffix(".wasm")
    beside = path.with_name(name + ".did")
    try:
        return beside.read_text(encoding="utf-8") if beside.is_file() else None
    except (OSError, ValueError) as error:
        raise _unreadable(str(beside), error) from None


def _unreadable(path: str, error: Exception) -> SourceError:
    """Return the error of a .did file that cannot be read, or whose bytes are not UTF-8."""
    return SourceError(f"{path:.200}: cannot read it as a Candid interface: {getattr(error, 'strerror', None) or error}")


def find_interface(module: Module, did: str | None, ask: Callable[[], str | None]) -> Interface | None:
    """Return the interface: from `did`, from the module's sections, or by running the module with `ask`."""
    text = did
    if text is None:
        found = module.section("candid:service")
        text = None if found is None else found.decode("utf-8", "replace")
    if text is None:
        text = ask()
    if text is None:
        return None
    interface = parse_interface(text)
    args = module.section("candid:args")
    if args is not None and not interface.init:
        interface = Interface(parse_types(args.decode("utf-8", "replace")), interface.methods, text, interface.types)
    return interface


class Raw(bytes):
    """An argument that is passed on as it is, whether it is Candid or not."""


def is_message(value: Any) -> bool:
    """Return whether a value is a message already, and no value to encode."""
    return isinstance(value, Raw) or (isinstance(value, (bytes, bytearray, memoryview)) and bytes(value[:4]) == MAGIC)


def arguments(interface: Interface | None, method: str, args: Sequence[Any]) -> bytes:
    """Return the arguments of a call as a message."""
    found = _method(interface, method)
    if found is not None:
        return encode(_filled(args, found.args), found.args)
    if len(args) == 1 and is_message(args[0]):
        return bytes(args[0])
    if not args:
        return EMPTY
    raise Unsupported(f"{method}: the canister's Candid interface is unknown or does not contain it: {_HOW}")


def install_argument(interface: Interface | None, arg: Any) -> bytes:
    """Return the argument of install or upgrade as a message; a tuple is several arguments, None is no argument."""
    if is_message(arg):
        return bytes(arg)
    args = arg if isinstance(arg, tuple) else () if arg is None else (arg,)
    if interface is not None and interface.init:
        return EMPTY if arg is None and not all(map(has_none, interface.init)) else encode(_filled(args, interface.init), interface.init)
    if args and interface is None:
        raise Unsupported(f"the argument of install: the canister's Candid interface is unknown: {_HOW}")
    return encode(args, ())


def _filled(args: Sequence[Any], types: Sequence[Type]) -> Sequence[Any]:
    """Add None for options at the end that were left out."""
    if len(args) >= len(types):
        return args
    missing = types[len(args) :]
    return [*args, *(None for _ in missing)] if all(map(has_none, missing)) else args


def answer(interface: Interface | None, method: str, data: bytes) -> Any:
    """Return the value of a reply: one, a tuple of several, or None; the bytes if the interface is unknown."""
    found = _method(interface, method)
    if found is None:
        return data
    values = decode(data, found.results)
    return values[0] if len(values) == 1 else tuple(values) if values else None


def _method(interface: Interface | None, method: str) -> Func | None:
    return None if interface is None else interface.methods.get(method)
