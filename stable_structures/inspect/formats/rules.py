# SPDX-License-Identifier: Apache-2.0
"""The rules of the format in words: what the core's surveys note as numbers becomes `Damage` here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ... import _native as native
from ..source import Source
from .layout import ALLOCATOR_BEGINS, CHUNK_BEGINS, FIRST_CHUNK, NODE_MAGIC, OVERFLOW_MAGIC, Damage

Note: TypeAlias = Callable[[Damage], None]
LIMIT: Final = 10_000
"""Broken rules of one structure that are listed; more are counted."""
FEW: Final = 0.02
"""An order that fewer neighbours than this share break is that of a map or heap, and those are damage."""

_core: Final = native.call
_KINDS: Final[dict[str, int]] = {
    "map": _core.SS_SEEN_MAP,
    "vec": _core.SS_SEEN_VEC,
    "heap": _core.SS_SEEN_HEAP,
    "cell": _core.SS_SEEN_CELL,
    "log index": _core.SS_SEEN_LOG_INDEX,
    "log data": _core.SS_SEEN_LOG_DATA,
}
_BEGINNING: Final = 4
_CHUNK: Final = CHUNK_BEGINS.hex()


@dataclass(frozen=True, slots=True)
class _Words:
    """A rule. `kind`, `magic` and `expected` in braces stand for what is surveyed."""

    rule: str
    found: str = "number"
    """What a note's numbers mean: a number, an end (it is added to the address), bytes that are not those expected, or an element."""
    expected: str = "{expected}"


_RULES: Final[dict[int, _Words]] = {
    _core.SS_RULE_GRID: _Words("a chunk's address lies on the grid of chunks"),
    _core.SS_RULE_CHUNK_INSIDE: _Words("a chunk lies inside the memory", "end"),
    _core.SS_RULE_INSIDE: _Words("an address lies inside the memory", "end"),
    _core.SS_RULE_CHUNK_MAGIC: _Words("a chunk begins with CHK and version 1", "bytes", _CHUNK),
    _core.SS_RULE_ALLOCATED: _Words("a chunk that is reached from the tree is allocated"),
    _core.SS_RULE_NODE_MAGIC: _Words("a node begins with BTN", "bytes", NODE_MAGIC.hex()),
    _core.SS_RULE_LAYOUT: _Words("a node's layout version is known"),
    _core.SS_RULE_LEAF: _Words("a node is a leaf (0) or internal (1)"),
    _core.SS_RULE_COUNT: _Words("a node has 1 to 11 entries"),
    _core.SS_RULE_SLOT_KEY: _Words("a key fits its slot"),
    _core.SS_RULE_SLOT_VALUE: _Words("a value fits its slot"),
    _core.SS_RULE_RUN_INSIDE: _Words("a node's run lies inside the memory"),
    _core.SS_RULE_CHAIN_SHORT: _Words("a node's chain has the pages that its entries need"),
    _core.SS_RULE_CHAIN_LONG: _Words("a node's chain has no more pages than its entries need"),
    _core.SS_RULE_OVERFLOW_MAGIC: _Words("an overflow page begins with NOF", "bytes", OVERFLOW_MAGIC.hex()),
    _core.SS_RULE_CHAIN_CIRCLE: _Words("a node's chain has no cycle"),
    _core.SS_RULE_KEY_SIZE: _Words("a key fits its type"),
    _core.SS_RULE_VALUE_SIZE: _Words("a value fits its type"),
    _core.SS_RULE_DEPTH: _Words("a tree has fewer than 32 levels"),
    _core.SS_RULE_ONCE: _Words("every chunk is reached once"),
    _core.SS_RULE_MINIMUM: _Words("a node has at least 5 entries"),
    _core.SS_RULE_LEAF_DEPTH: _Words("all leaves have one depth"),
    _core.SS_RULE_FREE_MAGIC: _Words("a chunk begins with CHK and version 1", "bytes", _CHUNK),
    _core.SS_RULE_FREE_ALLOCATED: _Words("a chunk of the free list is not allocated"),
    _core.SS_RULE_FREE_CIRCLE: _Words("the free list has no cycle"),
    _core.SS_RULE_LOST: _Words("every chunk is in the tree or on the free list"),
    _core.SS_RULE_BEHIND_END: _Words("the free list ends behind the last chunk"),
    _core.SS_RULE_LENGTH: _Words("a map's length counts its entries"),
    _core.SS_RULE_LENGTH_LEAST: _Words("a map's length counts its entries", "number", "at least {expected}"),
    _core.SS_RULE_ALLOCATED_COUNT: _Words("the number of allocated chunks counts them"),
    _core.SS_RULE_ELEMENT_SIZE: _Words("an element fits its slot"),
    _core.SS_RULE_HEAP: _Words("no element of a heap is less than its parent", "element", "element {expected}"),
    _core.SS_RULE_ENDS_ASCEND: _Words("the ends of entries ascend", "number", "at least {expected}"),
    _core.SS_RULE_ENTRY_INSIDE: _Words("an entry lies inside the data memory", "number", "at most {expected}"),
    _core.SS_RULE_HEADER: _Words("a {kind} has a header of {expected} bytes"),
    _core.SS_RULE_MAGIC: _Words("a {kind} begins with {magic}", "bytes", "bytes"),
    _core.SS_RULE_VERSION: _Words("version of a {kind} is 1"),
    _core.SS_RULE_FIXED_FLAG: _Words("the fixed-size flag is 0 or 1"),
    _core.SS_RULE_ALLOCATOR_MAGIC: _Words("the allocator begins with BTA and version 1", "bytes", ALLOCATOR_BEGINS.hex()),
    _core.SS_RULE_CHUNK_SIZE: _Words("the allocator's chunks have the map's page size"),
    _core.SS_RULE_VALUE_INSIDE: _Words("the value of a cell lies inside the memory"),
    _core.SS_RULE_ENDS_INSIDE: _Words("the ends of all entries lie inside the index", "number", "at most {expected}"),
    _core.SS_RULE_BUCKET_SIZE: _Words("the bucket size is not 0"),
    _core.SS_RULE_BUCKET_COUNT: _Words("number of allocated buckets"),
    _core.SS_RULE_MANAGER_MAGIC: _Words("a memory manager begins with MGR and version 1", "bytes", "bytes"),
    _core.SS_RULE_RESERVED: _Words("the reserved bytes of a memory manager are zero"),
    _core.SS_RULE_NEVER_ALLOCATED: _Words("a bucket that was never allocated has no owner"),
    _core.SS_RULE_OWNER: _Words("an allocated bucket belongs to a memory", "number", "0 to 254"),
    _core.SS_RULE_BUCKET_INSIDE: _Words("a bucket in use ends inside the memory"),
    _core.SS_RULE_BUCKETS_OF_MEMORY: _Words("a memory owns as many buckets as its size needs"),
}
_OF_MAPS: Final = {_core.SS_RULE_VERSION: _Words("version of a map is 1 or 2")}
_WITHOUT_MAGIC: Final = _Words("a {kind} has a header")
ENDS_INSIDE: Final = _RULES[_core.SS_RULE_BUCKET_INSIDE].rule


def _words_of(rule: int, kind: str, expected: int) -> _Words:
    if rule == _core.SS_RULE_HEADER and expected == _BEGINNING:
        return _WITHOUT_MAGIC
    return (_OF_MAPS if kind == "map" else {}).get(rule) or _RULES[rule]


def damage_of(note: native.Note, kind: str = "") -> Damage:
    """Return a note of numbers in words; `kind` is that of the structure."""
    rule, address, number, expected, a, _, b, _ = note
    words = _words_of(rule, kind, expected)
    text = words.rule.format(kind=kind, magic=b.decode("latin-1"), expected=expected) if "{" in words.rule else words.rule
    forms: dict[str, int | str] = {"number": number, "end": address + number, "bytes": a.hex(), "element": f"element {number}"}
    if words.expected == "{expected}":
        return Damage(text, address, forms[words.found], expected)
    return Damage(text, address, forms[words.found], b.hex() if words.expected == "bytes" else words.expected.format(expected=expected))


def head_of(source: Source, kind: str) -> tuple[Any, list[Damage]]:
    """Return what the header of a structure says, as a `ss_seen_head`, and what is wrong with it. Raises `Damage` if it has none."""
    head, notes = native.survey_head(_KINDS[kind], source.head(FIRST_CHUNK), source.nbytes)
    problems = [damage_of(note, kind) for note in notes]
    if head is None:
        raise problems[0]
    return head, problems


def refuse(damage: Damage) -> None:
    """Raise what is reported: for whoever cannot go on without what is damaged."""
    raise damage


def ignore(_damage: Damage) -> None:
    """Pass over what is reported: somebody else reports it."""


def tell_more(note: Note, count: int, listed: int, what: str) -> None:
    """Say how many broken rules are not listed, if there are any."""
    if count > listed:
        note(Damage(f"{count - listed:,} more {what} than are listed", 0, count, 0))
