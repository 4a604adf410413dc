# SPDX-License-Identifier: Apache-2.0
"""What the verbs show to people."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from ..compare import PartDiff
from ..formats.layout import Finding
from ..repair.losses import Salvage
from ..report import Contents, Report
from ..rewrite.rewrite import Moved
from ..values import shorten
from .text import Printer, human

_MOST_BUCKETS = 400
_MOST_LISTED = 20


def report(found: Report, printer: Printer) -> None:
    """`inspect`: what it is, a table of the memories, their first entries, the buckets, what is wrong."""
    printer.line(f"{found.name}: {found.title}{'' if found.certain else ' (a guess)'}", "bold")
    printer.line(f"{human(found.nbytes)}, {found.nbytes // 65536:,} pages")
    if found.snapshot is not None:
        printer.line(f"a snapshot of {found.snapshot['tool']}, {found.snapshot['state']}")
        _facts({name: value for name, value in found.snapshot.items() if name not in ("tool", "state")}, printer)
    _facts({name: value for name, value in found.facts.items() if value not in (0, None)}, printer)
    for text in found.notes:
        printer.line(f"note: {text}", "yellow")
    for text in found.damage:
        printer.line(f"damage: {text}", "red")
    if found.memories and (found.bucket_map is not None or found.memories[0].length is not None):
        printer.line()
        _memories(found.memories, printer)
    if found.bucket_map:
        printer.line()
        _buckets(found, printer)


def _facts(facts: dict[str, Any], printer: Printer) -> None:
    for name, value in facts.items():
        if isinstance(value, dict):
            _facts({f"{name}, {inner}": item for inner, item in value.items()}, printer)
        else:
            printer.line(f"  {name}: {shorten(value, 200)}")


def _memories(memories: list[Contents], printer: Printer) -> None:
    columns = [
        "memory",
        "structure",
        "length",
        "key",
        "value",
        "types",
        "order",
        "depth",
        "fill",
        "live",
        "allocated",
        "reserved",
        "free chunks",
        "buckets",
    ]
    printer.table(columns, [_row(one) for one in memories])
    firsts = [(one.memory, _first(one)) for one in memories if one.first]
    if firsts:
        printer.line()
        printer.table(["memory", "first entry"], [(("-" if memory is None else memory), text) for memory, text in firsts])
    for one in memories:
        where = "" if one.memory is None else f"memory {one.memory}: "
        for name, value in one.facts.items():
            printer.line(f"{where}{name}: {shorten(value, 120)}")
        if one.lost_chunks:
            printer.line(f"{where}{one.lost_chunks:,} chunks that nothing leads to", "yellow")
        for text in one.notes:
            printer.line(f"{where}{text}", "yellow")
    if any(not one.whole for one in memories):
        printer.line("~ of a sample; --deep walks everything")
    if any("?" in (one.key_type or "") + (one.value_type or "") + (one.key_order or "") for one in memories):
        printer.line("? a guess by what decodes; tell it with --memory ID --key-type TYPE --value-type TYPE")


def _first(one: Contents) -> str:
    first = one.first[0]
    return (
        f"{shorten(first[0], 40)} -> {shorten(first[1], 60)}"
        if isinstance(first, list) and one.kind == "map" and len(first) == 2  # noqa: PLR2004 - said by the format
        else shorten(first, 100)
    )


def _memory_label(one: Contents) -> object:
    number = "-" if one.memory is None else one.memory
    return number if one.name is None else f"{number} {shorten(one.name, 30)}"


def _row(one: Contents) -> list[object]:
    about = "" if one.whole else "~"
    types = " -> ".join(filter(None, (one.key_type, one.value_type)))
    fill = None if one.fill is None else f"{about}{one.fill:.0%}"
    word = "set" if one.facts.get("set") else one.kind
    return [
        _memory_label(one),
        word if word not in ("unknown", "prefixed") else one.title,
        None if one.length is None else f"{one.length:,}",
        _sizes(one.key_bound, one.key_sizes, about),
        _sizes(one.value_bound, one.value_sizes, about),
        types,
        one.key_order,
        one.depth,
        fill,
        human(one.live),
        human(one.allocated),
        human(one.reserved),
        one.free_chunks,
        one.buckets,
    ]


def _sizes(bound: str | None, observed: tuple[int, int] | None, about: str) -> str | None:
    """`= 8` or `<= 100 (3..97)`: the bound, and what was seen."""
    if observed is None:
        return bound
    seen = str(observed[0]) if observed[0] == observed[1] else f"{observed[0]}..{observed[1]}"
    if bound == f"= {seen}":
        return f"{seen} B"
    return f"{about}{seen} B{f' ({bound})' if bound else ''}"


def _buckets(found: Report, printer: Printer) -> None:
    """Return runs of buckets with one owner: 0-3: memory 0, ..."""
    assert found.bucket_map is not None  # noqa: S101 - asked by the caller
    printer.line(f"{len(found.bucket_map)} buckets of {found.bucket_pages} pages:")
    runs, at = [], 0
    for owner, group in groupby(found.bucket_map):
        count = len(list(group))
        name = f"{at}" if count == 1 else f"{at}-{at + count - 1}"
        runs.append(f"{name}: {'nobody' if owner is None else f'memory {owner}'}")
        at += count
    printer.line("  " + ", ".join(runs[:_MOST_BUCKETS]) + (f", and {len(runs) - _MOST_BUCKETS} more" if len(runs) > _MOST_BUCKETS else ""))


def findings(found: list[Finding], printer: Printer) -> None:
    """`check`: a broken rule a line."""
    columns = ["memory", "structure", "address", "in the file", "rule", "found", "expected"]
    rows = [
        (
            "-" if one.memory is None else one.memory,
            one.structure,
            one.address,
            one.physical if one.physical >= 0 else "outside",
            one.rule,
            _cut(one.found),
            _cut(one.expected),
        )
        for one in found
    ]
    printer.table(columns, rows)


def _cut(value: object) -> str:
    return shorten(str(value), 60)


def moved(rows: list[Moved], printer: Printer) -> None:
    """`shrink` and `import`: bytes before and after."""
    printer.table(
        ["memory", "structure", "before", "after", "note"],
        [("-" if one.memory is None else one.memory, one.kind, human(one.before), human(one.after), one.note) for one in rows],
    )


def salvage(rows: list[Salvage], printer: Printer) -> None:
    """`repair`: what was kept, and what is gone."""
    printer.table(
        ["memory", "structure", "entries", "saved", "lost"],
        [
            (
                "-" if one.memory is None else one.memory,
                one.kind,
                one.expected,
                one.kept if one.expected is not None else None,
                one.missing or None,
            )
            for one in rows
        ],
    )
    for one in rows:
        where = one.kind if one.memory is None else f"memory {one.memory}"
        for text in one.lost[:_MOST_LISTED]:
            printer.line(f"{where}: lost: {text}", "red")
        if len(one.lost) > _MOST_LISTED:
            printer.line(f"{where}: and {len(one.lost) - _MOST_LISTED} more; --json has all", "red")
        for text in one.notes[:_MOST_LISTED]:
            printer.line(f"{where}: {text}", "yellow")
        if len(one.notes) > _MOST_LISTED:
            printer.line(f"{where}: and {len(one.notes) - _MOST_LISTED} more; --json has all", "yellow")


def differences(rows: list[PartDiff], printer: Printer, limit: int) -> None:
    """`diff`: a table, then the entries."""
    columns = ["memory", "structure", "length", "size", "added", "removed", "changed", "changed bytes"]
    printer.table(columns, [_difference(one) for one in rows])
    for one in rows:
        if one.changes:
            printer.line()
            _changes(one, printer, limit)
        for text in one.notes:
            printer.line(f"memory {one.memory}: {text}", "yellow")
        for low, high in one.ranges[:limit]:
            printer.line(f"{'' if one.memory is None else f'memory {one.memory}: '}bytes {low} to {high} are different")
    if all(one.same for one in rows):
        printer.line("no difference", "green")


def _difference(one: PartDiff) -> list[object]:
    counts = {what: sum(change.what == what for change in one.changes) or None for what in ("added", "removed", "changed")}
    return [
        "-" if one.memory is None else one.memory,
        _arrow(*one.kinds),
        _arrow(*one.lengths),
        _arrow(*map(human, one.sizes)),
        *counts.values(),
        human(sum(high - low for low, high in one.ranges)) if one.ranges else None,
    ]


def _arrow(before: object, after: object) -> str | None:
    if before == after:
        return None if before is None else str(before)
    return f"{'-' if before is None else before} -> {'-' if after is None else after}"


def _changes(one: PartDiff, printer: Printer, limit: int) -> None:
    rows = []
    for change in one.changes[:limit]:
        key = change.key if isinstance(change.key, int) else one.key.read(change.key)
        sides = ["" if data is None else shorten(one.value.read(data), 50) for data in (change.before, change.after)]
        rows.append((change.what, shorten(key, 40), *sides))
    if one.memory is not None:
        printer.line(f"memory {one.memory}:")
    printer.table(["what", "key", "before", "after"], rows)
    if len(one.changes) > limit:
        printer.line(f"and {len(one.changes) - limit} more")
