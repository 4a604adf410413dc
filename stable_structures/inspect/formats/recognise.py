# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLR2004 - offsets and sizes of formats that others fixed
"""What a memory is, by its first and last bytes (docs/platform.md#recogniser-rules)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import cbor2

from ...encodings.candid.codec import CandidError
from ...encodings.candid.untyped import read_message
from ...encodings.limits import TooMuch
from ...memory.memory import PAGE_SIZE
from ..budget import require_modest_cbor
from ..source import Source, any_set
from .layout import (
    ALLOCATED_BUCKETS_AT,
    ALLOCATOR_AT,
    ALLOCATOR_BEGINS,
    BUCKET_PAGES_AT,
    BUCKETS,
    CHUNK_BEGINS,
    FIRST_CHUNK,
    FREE,
    LOG_ENDS_AT,
    MAGICS,
    MANAGER_MAGIC,
    OWNERS_AT,
    RESERVED_AT,
    SIZES_AT,
    TABLES_SIZE,
    VERSION_AT,
    VERSIONS,
    u16,
    u32,
    u64,
)
from .sqlite import find_database

STRUCTURES: Final = frozenset(MAGICS.values()) - {"manager"}
_HEAD: Final = 4096
_END: Final = 64
_SAVED: Final = 16 << 20
_LOOKED_AT: Final = 64 << 20
_LOOKED_AT_FAR: Final = 1 << 20
_BLOCK_TABLE: Final = 34
_BLOCKS: Final = 32_768
_UNOWNED: Final = 64
"""Entries of a manager's table that say nobody; fewer are no sign of one."""
_MOTOKO_BLOCK: Final = 8 << 20
_EOP_AT: Final = 0x480000
_EOP: Final = "MOTOKO ORTHOGONAL PERSISTENCE 64".encode("utf-32-le")


@dataclass(slots=True)
class Recognition:
    """What it is: `kind` for programs, `title` for people; `certain` is False for a guess."""

    kind: str
    title: str
    facts: dict[str, Any] = field(default_factory=dict)
    certain: bool = True
    damage: list[str] = field(default_factory=list)
    """What speaks for damage."""


def recognise(source: Source, *, is_virtual: bool = False) -> Recognition:
    """Return what the memory is; in a virtual memory there is no actor of Motoko.

    O(1), but for a memory that begins with zeros: up to 64 MiB are looked at then, 1 MiB far away.
    """
    if source.nbytes == 0:
        return Recognition("empty", "an empty memory: no pages")
    head = source.head(_HEAD)
    for rule in _RULES:
        if is_virtual and rule in _MOTOKO:
            continue
        found = rule(source, head)
        if found is not None:
            return found
    return Recognition("unknown", "not recognised", {"first bytes": head[:32].hex()})


def _tail(source: Source) -> bytes:
    """Return the last bytes; what is far is asked for them only by the rules that need them."""
    return source.read(max(0, source.nbytes - _END), min(_END, source.nbytes))


def _manager(source: Source, head: bytes) -> Recognition | None:
    if head[:3] != MANAGER_MAGIC:
        return None
    head = head.ljust(RESERVED_AT, b"\0")
    found = Recognition("manager", "a memory manager with virtual memories", {"layout version": head[VERSION_AT]})
    allocated, pages = u16(head, ALLOCATED_BUCKETS_AT), u16(head, BUCKET_PAGES_AT)
    found.facts |= {"buckets": allocated, "bucket pages": pages}
    if head[3] != 1:
        found.damage.append(f"layout version {head[3]} is not known")
    if pages == 0 or allocated > BUCKETS:
        found.damage.append(f"{allocated} buckets of {pages} pages cannot be")
    elif PAGE_SIZE * (1 + allocated * pages) > source.nbytes:
        found.damage.append(
            f"{allocated} buckets of {pages} pages need {PAGE_SIZE * (1 + allocated * pages):,} bytes, there are {source.nbytes:,}"
        )
    return found


def _structure(_source: Source, head: bytes) -> Recognition | None:
    kind = MAGICS.get(head[:3])
    if kind is None:
        return None
    found = Recognition(kind, f"a bare {kind}", {"layout version": head[3] if len(head) > 3 else None})
    if found.facts["layout version"] not in VERSIONS[kind]:
        found.damage.append(f"layout version {found.facts['layout version']} is not known")
    return found


def _nearly(source: Source, head: bytes) -> Recognition | None:
    """Three of the four bytes of a magic and its version: chance has that once in four million, damage always."""
    for magic, kind in MAGICS.items():
        for version in VERSIONS[kind]:
            whole = magic + bytes([version])
            if len(head) > 4 and sum(a == b for a, b in zip(head, whole, strict=False)) == 3:
                if kind == "log index" and not _may_be_log_index(source):
                    continue  # the data of a log, which begin with GLD
                found = _manager(source, whole + head[4:]) or _structure(source, whole + head[4:])
                if found is not None:
                    found.damage.append(f"it begins with {head[:4].hex()}, nearly as a {kind} does: {whole.hex()}")
                return found
    return None


def _may_be_log_index(source: Source) -> bool:
    """Return whether there is room for as many entries as a log's index would count, and the last does not end before the first. O(1)."""
    if source.nbytes < LOG_ENDS_AT:
        return False
    count = u64(source.read(LOG_ENDS_AT - 8, 8), 0)
    if LOG_ENDS_AT + 8 * count > source.nbytes:
        return False
    first, last = (u64(source.read(LOG_ENDS_AT + 8 * i, 8), 0) if count else 0 for i in (0, count - 1))
    return first <= last


def has_entries(source: Source) -> bool:
    """Return whether it may be the index of a log that is not empty, whatever it begins with. O(1)."""
    return _may_be_log_index(source) and any(source.read(LOG_ENDS_AT - 8, 8))


def _manager_without_magic(source: Source, head: bytes) -> Recognition | None:
    """Return a manager whose first bytes are gone: behind the owners of its buckets, each entry of the table says nobody."""
    if len(head) < _HEAD or any(head[RESERVED_AT:SIZES_AT]):
        return None
    allocated = u16(head, ALLOCATED_BUCKETS_AT)
    owners = source.head(TABLES_SIZE)[OWNERS_AT:]
    if len(owners) != BUCKETS or not 0 < allocated < BUCKETS - _UNOWNED or owners.count(FREE, allocated) != BUCKETS - allocated:
        return None
    found = _manager(source, MANAGER_MAGIC + b"\1" + head[VERSION_AT + 1 :])
    if found is not None:
        found.damage.append(f"it begins with {head[:4].hex()}, not with MGR and version 1")
    return found


def _map_without_magic(_source: Source, head: bytes) -> Recognition | None:
    """Return a map whose header is gone: its allocator and first chunk are still there."""
    if head[ALLOCATOR_AT : ALLOCATOR_AT + 3] != ALLOCATOR_BEGINS[:3] or head[FIRST_CHUNK : FIRST_CHUNK + 3] != CHUNK_BEGINS[:3]:
        return None
    return Recognition("map", "a bare map", damage=[f"its header begins with {head[:4].hex()}, not with BTR"])


def _regions(source: Source, head: bytes) -> Recognition | None:
    between = head[:4] == bytes(4) and head[4:8] == b"GION" and _tail(source)[-8:-4] == b"MORE"
    if head[:8] != b"MOREGION" and not between:
        return None
    head = source.head(_BLOCK_TABLE + 11 * _BLOCKS).ljust(_BLOCK_TABLE, b"\0")
    facts: dict[str, Any] = {
        "version": u32(head, 8),
        "pages per block": int.from_bytes(head[12:14], "little"),
        "block base": u64(head, 14),
        "allocated blocks": u32(head, 22),
        "allocated regions": u64(head, 26),
    }
    owned: dict[int, int] = {}
    end = 0
    for at in range(_BLOCK_TABLE, min(_BLOCK_TABLE + 11 * min(_BLOCKS, u32(head, 22)), len(head) - 10), 11):
        region = u64(head, at)
        if region:
            owned[region - 1] = owned.get(region - 1, 0) + head[at + 10]
            end = u64(head, 14) + (at - _BLOCK_TABLE) // 11 * _MOTOKO_BLOCK + head[at + 10] * PAGE_SIZE
    facts["regions (pages)"] = {f"region {number}": pages for number, pages in sorted(owned.items())}
    found = Recognition("motoko-regions", f"Motoko regions{', between upgrades' if between else ''}", facts)
    if end > source.nbytes:
        found.damage.append(f"cut off: the regions need {end:,} bytes, there are {source.nbytes:,}")
    return found


def _motoko_dump(source: Source, head: bytes) -> Recognition | None:
    length = u32(head, 0) if len(head) >= 8 else 0
    if length and head[4:8] == b"DIDL":
        title = "stable variables of a classical Motoko actor, between upgrades (version 0)"
        found = Recognition("motoko-dump", title, {"bytes of Candid": length})
        if 4 + length > source.nbytes:
            found.damage.append(f"cut off: its Candid has {length:,} bytes, there are {source.nbytes - 4:,}")
        return found
    tail = _tail(source) if length == 0 else b""
    if len(tail) == _END and 1 <= u32(tail, 60) <= 6:
        return _motoko_versioned(source, tail, u32(tail, 60))
    return None


def _motoko_versioned(source: Source, tail: bytes, version: int) -> Recognition | None:
    size = source.nbytes
    if version in (1, 2):
        logical = u32(tail, 52) * PAGE_SIZE
        dump = u32(source.read(logical, 4), 0) if logical + 4 <= size else 0
        if 0 < logical <= size and logical + 4 + dump <= size:
            what = "regions" if version == 2 else "stable memory"
            facts = {"version": version, "logical bytes": logical, "bytes of Candid": dump}
            return Recognition("motoko-dump", f"a classical Motoko actor with {what}, between upgrades (version {version})", facts)
    elif version in (3, 4):
        address, length = u64(tail, 32), u64(tail, 40)
        if address + length <= size:
            facts = {"version": version, "data at": address, "data bytes": length}
            return Recognition("motoko-dump", f"a Motoko graph copy, between upgrades (version {version})", facts)
    elif u64(tail, 48) <= size:
        facts = {"version": version, "logical bytes": u64(tail, 48)}
        return Recognition(
            "motoko-dump", f"a Motoko actor with enhanced orthogonal persistence, between upgrades (version {version})", facts
        )
    return None


def _motoko_heap(source: Source, _head: bytes) -> Recognition | None:
    if source.nbytes < _EOP_AT + len(_EOP) or source.read(_EOP_AT, len(_EOP)) != _EOP:
        return None
    return Recognition(
        "motoko-heap", "the main memory of a Motoko actor (enhanced orthogonal persistence), no stable memory; its data are in its heap"
    )


def _sqlite(source: Source, head: bytes) -> Recognition | None:
    if b"SQLite format 3" not in head[:24] and head[:8] != b"ICSQLITE":
        return None
    found = find_database(source)
    if found is None:
        return None
    facts: dict[str, Any] = {"layout": found.layout, "page size": found.page_size, "pages": found.pages, "bytes": found.size}
    facts |= {"note": "; ".join(found.notes)} if found.notes else {}
    return Recognition("sqlite", "a SQLite database", facts, damage=list(found.problems))


def _stable_save(source: Source, head: bytes) -> Recognition | None:
    if head[:4] != b"DIDL":
        return None
    found = Recognition("stable-save", "a Candid message of ic-cdk's stable_save")
    try:
        types, values, length = read_message(source.head(_SAVED))
        found.facts = {"types": types, "bytes": length, "values": values}
    except TooMuch as error:
        found.facts = {"values": f"(not shown: {error})"}
    except CandidError as error:
        if source.nbytes > _SAVED:
            found.facts = {"values": "(too large to decode)"}
        else:
            found.damage.append(f"the message cannot be decoded: {error}")
    return found


def _internet_identity(_source: Source, head: bytes) -> Recognition | None:
    if head[:3] == b"IIC":
        return Recognition("internet-identity", "the storage of Internet Identity", {"version": head[3] if len(head) > 3 else None})
    return Recognition("internet-identity", "the persistent state of Internet Identity") if head[:4] == b"IIPS" else None


def _zeros(source: Source, head: bytes) -> Recognition | None:
    if any(head):
        return None
    looked, whole = 0, True
    most, block = (_LOOKED_AT_FAR, _LOOKED_AT_FAR) if source.is_far else (_LOOKED_AT, None)
    for offset, data in source.blocks(0, source.nbytes, block):
        if any_set(data):
            return None
        looked += len(data)
        if looked >= most:
            whole = offset + len(data) == source.nbytes
            break
    said = "all zeros" if whole else f"zeros, as far as was looked ({looked >> 20} MiB of data)"
    return Recognition(
        "zeros",
        f"{said}: a memory that was never written, or a running classical Motoko actor",
        {"pages": source.nbytes // PAGE_SIZE},
        whole,
    )


def _prefixed(source: Source, head: bytes) -> Recognition | None:
    """Return a u32 length and a payload that decodes; zeros or older, longer payloads may lie behind it."""
    length = u32(head, 0) if len(head) >= 4 else 0
    if not 0 < length <= source.nbytes - 4:
        return None
    payload = source.read(4, min(length, _SAVED))
    for name, decode in _PAYLOADS:
        try:
            facts = {"bytes": length, "payload": name, "value": decode(payload) if length == len(payload) else "(too large to show)"}
        except TooMuch as error:
            facts = {"bytes": length, "payload": name, "value": f"(not shown: {error})"}
        except Exception:  # noqa: BLE001, S112 - bytes of anybody
            continue
        return Recognition("prefixed", f"a length and {length:,} bytes of {name} (backup of a heap, dfn_core)", facts, certain=False)
    if not source.is_zero(4 + length, min(source.nbytes, 4 + length + _SAVED)) or length < 16:
        return None
    return Recognition("prefixed", f"perhaps a length and {length:,} bytes of an unknown encoding", {"bytes": length}, certain=False)


def _cbor(payload: bytes) -> Any:
    if payload[0] >> 5 not in (4, 5, 6):
        raise ValueError("no list, map or tag")
    require_modest_cbor(payload)
    return cbor2.loads(payload)


def _candid(payload: bytes) -> Any:
    return read_message(payload)[1]


def _utf8(payload: bytes) -> str:
    text = payload.decode()
    if not all(letter.isprintable() or letter.isspace() for letter in text):
        raise ValueError("not printable")
    return text


_PAYLOADS: Final[tuple[tuple[str, Callable[[bytes], Any]], ...]] = (("Candid", _candid), ("CBOR", _cbor), ("text", _utf8))


def _ic_stable_memory(source: Source, _head: bytes) -> Recognition | None:
    """No magic: blocks with two equal size words, and a pointer at 0 to the allocator if it was saved (docs/format-ism.md)."""
    from ...rescue.summary import summary  # noqa: PLC0415 - it stands beside the tools, and needs them

    found = summary(source)
    return None if found is None else Recognition("ic-stable-memory", found.title, found.facts, damage=found.damage)


_RULES: Final[tuple[Callable[[Source, bytes], Recognition | None], ...]] = (
    _regions,
    _manager,
    _structure,
    _nearly,
    _map_without_magic,
    _manager_without_magic,
    _sqlite,
    _stable_save,
    _internet_identity,
    _motoko_heap,
    _motoko_dump,
    _zeros,
    _ic_stable_memory,
    _prefixed,
)
_MOTOKO: Final = (_regions, _motoko_heap, _motoko_dump)
