# SPDX-License-Identifier: Apache-2.0
"""Stable variables of a classical Motoko actor, as its upgrade leaves them in stable memory: one Candid message, a record.

    version 0        u32 length | DIDL ...
    version 1, 2     logical pages | u32 length | DIDL ... | last 64 bytes of the memory: ... u32 logical pages (52) u32 version (60)

The message says the types, with hashes for names; these come from the module beside it (its section `motoko:stable-types`), or
from an interface that is given. Blobs, arrays and records are shown; what Motoko shares between variables stands in each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...encodings.candid.codec import CandidError, message_types
from ...encodings.candid.types import Record, type_text
from ...encodings.candid.untyped import read_message
from ...encodings.limits import TooMuch
from ...memory.memory import PAGE_SIZE
from ..source import PastEnd, Source
from .layout import u32

_TRAILER: Final = 64
_PAGES_AT: Final = 52
_VERSION_AT: Final = 60
_MOST: Final = 16 << 20
_REGIONS: Final = 2


def stable_variables(source: Source, names: Mapping[int, str]) -> dict[str, Any]:
    """Return what can be decoded of a dump: types and values of the stable variables by name, or why not. O(size), 16 MiB at most."""
    try:
        data = _message(source)
        if data is None:
            return {}
        values = read_message(data, names)[1]
        types = message_types(data, names)
    except TooMuch as error:
        return {"stable variables": f"(not shown: {error})"}
    except (CandidError, PastEnd) as error:
        return {"stable variables": f"(cannot be decoded: {error})"}
    found: dict[str, Any] = {"stable variables": _record(values)}
    if types is not None and len(types) == 1 and isinstance(types[0], Record):
        found["types of stable variables"] = {one.name: type_text(one.type) for one in types[0].fields}
    return found


def _record(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _message(source: Source) -> bytes | None:
    """Return the Candid message; None if this version has none, or it is too large to show."""
    at = 0
    if u32(source.read(0, 4), 0) == 0:
        end = source.read(source.nbytes - _TRAILER, _TRAILER)
        if not 1 <= u32(end, _VERSION_AT) <= _REGIONS:
            return None
        at = u32(end, _PAGES_AT) * PAGE_SIZE
    length = u32(source.read(at, 4), 0)
    if length > _MOST:
        raise TooMuch(f"{length:,} bytes")
    return source.read(at + 4, length)
