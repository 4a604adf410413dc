# SPDX-License-Identifier: Apache-2.0
"""What the verbs show to people."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from ...memory.memory import PAGE_SIZE
from ..values import shorten
from .text import Printer, human

if TYPE_CHECKING:
    from ..compare import PartDiff
    from ..formats.layout import Finding
    from ..repair.losses import Salvage
    from ..report import Contents, Report
    from ..rewrite.rewrite import Moved

_MOST_BUCKETS: Final = 400
_MOST_LISTED: Final = 20
_COLUMNS: Final = 80
"""Of what `inspect` writes into a pipe, unless COLUMNS says another width."""
_LONGEST_TITLE: Final = 60


def report(found: Report, printer: Printer, *, details: bool) -> None:
    """`inspect`: what it is, how its bytes are used, a table of the memories; with `details`, or of a single one, all about each."""
    printer.folded(f"{found.name}: {found.title}{'' if found.certain else ' (a guess)'}", style="bold")
    _use(found, printer)
    if found.snapshot is not None:
        printer.line(f"a snapshot of {found.snapshot['tool']}, {found.snapshot['state']}")
        _facts({name: value for name, value in found.snapshot.items() if name not in ("tool", "state")}, printer)
    _facts({name: value for name, value in found.facts.items() if value not in (0, None) and name not in _IN_WORDS}, printer)
    for text in found.notes:
        printer.folded(f"note: {text}", style="yellow")
    for text in found.damage:
        printer.folded(f"damage: {text}", style="red")
    is_shown = found.bucket_map is not None or (bool(found.memories) and found.memories[0].length is not None)
    if found.memories and is_shown:
        printer.line()
        _memories(found.memories, printer)
        for one in found.memories if details or len(found.memories) == 1 else ():
            _details(one, printer)
    if found.bucket_map and details:
        printer.line()
        _buckets(found, printer)
    if is_shown:
        _hints(found, printer, details=details)


_IN_WORDS: Final = ("buckets", "bucket pages", "layout version")
"""Facts that other lines say."""


def _use(found: Report, printer: Printer) -> None:
    """How the bytes are used, what `shrink` would save, and how far a manager can grow."""
    if not found.nbytes or not found.is_all or (found.bucket_map is None and all(one.length is None for one in found.memories)):
        printer.line(f"{human(found.nbytes)}, {_counted(found.nbytes // PAGE_SIZE, 'page')}")
        return
    printer.folded(
        f"{human(found.nbytes)}: {human(found.used)} used, {human(found.free_inside)} free inside, {human(found.never_used)} never used"
    )
    if found.shrunk is not None:
        option = "" if found.shrunk_bucket_pages is None else f" --bucket-pages {found.shrunk_bucket_pages}"
        printer.folded(f"shrink{option} would save {human(found.nbytes - found.shrunk)} or more: at most {human(found.shrunk)} are left")
    if found.bucket_map is not None and found.most_buckets is not None and found.bucket_pages:
        most = human(found.most_buckets * found.bucket_pages * PAGE_SIZE)
        pages = _counted(found.bucket_pages, "page")
        printer.folded(f"{len(found.bucket_map):,} of {found.most_buckets:,} buckets of {pages}; all of them would be {most}")


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _facts(facts: dict[str, Any], printer: Printer) -> None:
    for name, value in facts.items():
        if isinstance(value, dict):
            _facts({f"{name}, {inner}": item for inner, item in value.items()}, printer)
        else:
            printer.folded(f"  {name}: {shorten(value, 200)}", _COLUMNS)


def _memories(memories: list[Contents], printer: Printer) -> None:
    columns = ["memory", "structure", "length", "types", "used", "free", "never used"]
    printer.table(columns, [_row(one) for one in memories], _COLUMNS)
    for one in memories:
        where = "" if one.memory is None else f"memory {one.memory}: "
        if one.lost_chunks:
            printer.line(f"{where}{one.lost_chunks:,} orphaned chunks", "yellow")
        for text in one.notes:
            printer.folded(f"{where}{text}", style="yellow")


def _memory_label(one: Contents) -> object:
    number = "-" if one.memory is None else one.memory
    return number if one.name is None else f"{number} {shorten(one.name, 30)}"


def _row(one: Contents) -> list[object]:
    return [
        _memory_label(one),
        _word(one) if _word(one) not in ("unknown", "prefixed") else shorten(one.title, _LONGEST_TITLE),
        None if one.length is None else f"{one.length:,}",
        _types(one),
        human(one.used),
        "?" if one.free_inside is None else human(one.free_inside),
        human(one.never_used) if one.free_inside is not None else f"<{human(one.never_used)}",
    ]


def _word(one: Contents) -> str:
    return "set" if one.facts.get("set") else one.kind


def _types(one: Contents) -> str:
    """`u64 -> string`; of a set that of its keys."""
    return " -> ".join(filter(None, (one.key_type, None if one.facts.get("set") else one.value_type)))


def _details(one: Contents, printer: Printer) -> None:
    """All that is known of one memory."""
    printer.line()
    printer.line(f"{'' if one.memory is None else f'memory {one.memory}, '}{_word(one)}", "bold")
    about = "" if one.whole else "~"
    lines = {
        "keys": _sizes(one.key_bound, one.key_sizes, about, one.key_type),
        "order": one.key_order,
        "values" if one.key_type else "elements": None
        if one.facts.get("set")
        else _sizes(one.value_bound, one.value_sizes, about, one.value_type),
        "levels": one.depth,
        "fill": None if one.fill is None else f"{about}{one.fill:.0%} of the entries that its nodes can hold",
        "live": human(one.live),
        "allocated": human(one.allocated),
        "reserved": human(one.reserved) if one.buckets is None else f"{human(one.reserved)} in {_counted(one.buckets, 'bucket')}",
        "free chunks": one.free_chunks,
        "layout": one.layout,
    }
    lines |= {name: value for name, value in one.facts.items() if name != "set"}
    lines |= {"first": _entry(one.first[0], one) if one.first else None, "last": _entry(one.last[0], one) if one.last else None}
    for name, value in lines.items():
        if value is not None:
            printer.folded(f"  {name}: {shorten(value, 120)}", _COLUMNS)


def _entry(found: Any, one: Contents) -> str:
    if not isinstance(found, list) or one.kind != "map" or len(found) != 2:  # noqa: PLR2004 - key and value
        return shorten(found, 100)
    return shorten(found[0], 100) if one.facts.get("set") else f"{shorten(found[0], 40)} -> {shorten(found[1], 60)}"


def _sizes(bound: str | None, observed: tuple[int, int] | None, about: str, type_name: str | None) -> str | None:
    """`u64, 8 B` or `string?, 3..97 B (<= 100)`: the type, what was seen, and the bound."""
    if observed is None:
        return ", ".join(filter(None, (type_name, bound))) or None
    seen = str(observed[0]) if observed[0] == observed[1] else f"{observed[0]}..{observed[1]}"
    size = f"{seen} B" if bound == f"= {seen}" else f"{about}{seen} B{f' ({bound})' if bound else ''}"
    return f"{type_name}, {size}" if type_name else size


def _hints(found: Report, printer: Printer, *, details: bool) -> None:
    """Say what the marks mean, and how to see more."""
    shown = [one for one in found.memories if details or len(found.memories) == 1]
    hints = []
    if any(one.free_inside is None for one in found.memories):
        hints.append("? under free was not counted; --deep counts it")
    if any("?" in (one.key_type or "") + (one.value_type or "") for one in found.memories):
        hints.append("? is a guess; give the types: --memory ID --key-type TYPE --value-type TYPE")
    if any(not one.whole for one in shown):
        hints.append("~ of a sample; --deep walks everything")
    if not shown and any(one.length is not None for one in found.memories):
        hints.append("more: --memory ID shows all about one, --deep walks and shows everything")
    for text in hints:
        printer.folded(text)


def _buckets(found: Report, printer: Printer) -> None:
    """Show runs of buckets with one owner: 0-3: memory 0, ..."""
    assert found.bucket_map is not None  # noqa: S101 - asked by the caller
    shown = {one.memory for one in found.memories}
    runs, at = [], 0
    for owner, group in groupby(found.bucket_map):
        count = len(list(group))
        name = f"{at}" if count == 1 else f"{at}-{at + count - 1}"
        if owner in shown or owner is None:
            runs.append(f"{name}: {'nobody' if owner is None else f'memory {owner}'}")
        at += count
    printer.line(f"{_counted(len(found.bucket_map), 'bucket')} of {_counted(found.bucket_pages or 0, 'page')}:")
    rest = f", and {len(runs) - _MOST_BUCKETS:,} more" if len(runs) > _MOST_BUCKETS else ""
    printer.folded("  " + ", ".join(runs[:_MOST_BUCKETS]) + rest, _COLUMNS)


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
            printer.folded(f"{where}: lost: {text}", style="red")
        if len(one.lost) > _MOST_LISTED:
            printer.folded(f"{where}: and {len(one.lost) - _MOST_LISTED} more; --json has all", style="red")
        for text in one.notes[:_MOST_LISTED]:
            printer.folded(f"{where}: {text}", style="yellow")
        if len(one.notes) > _MOST_LISTED:
            printer.folded(f"{where}: and {len(one.notes) - _MOST_LISTED} more; --json has all", style="yellow")


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
