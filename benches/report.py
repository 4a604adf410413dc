# SPDX-License-Identifier: Apache-2.0
"""The page of results, and the short form of it for docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from . import canisters, certified, crate, ours, program, transactions
from .aims import MAP, PEERS, WIDE, Ratio, Verdict, verdicts
from .cost import Cost, Level, Model, least, wait
from .groups import GROUPS, SWEEPS, Sweep
from .measure import Results, Times
from .plots import Picture

if TYPE_CHECKING:
    from .runner import Findings

BEGIN: Final = "<!-- benches: begin -->"
END: Final = "<!-- benches: end -->"
OWN: Final = {ours.SINGLE: "ours, one by one from Python", ours.BULK: "ours, in bulk", crate.NAME: "Rust crate"}
AMONG_PEERS: Final = {
    ours.SINGLE: "ours, one by one",
    ours.BULK: "ours, in bulk",
    "BTrees": "BTrees",
    "SortedDict": "SortedDict",
    "lmdb": "lmdb, in one transaction, of bytes made before",
    "lmdb, ints": "lmdb, in one transaction, from and to int",
    "rocksdict": "rocksdict",
    "sqlite3": "sqlite3",
    "dict": "dict",
}
CLOCK_NAMES: Final = {"wall": "elapsed", "cpu": "of the processor"}
RESULTS: Final = "`benches/results/results.md`"
EXACT_BELOW: Final = 100


def page(findings: Findings, pictures: list[Picture]) -> str:
    """results.md."""
    parts = [
        _head(findings),
        _aims(verdicts(findings.results, findings.sizes)),
        *(_group(findings, title, size) for title, size in _groups(findings)),
        *(_sweep(findings.results, sweep) for sweep in SWEEPS),
        _transactions(findings),
        _work(findings),
        _canisters(findings),
        _certified(findings),
        _spaces(findings),
        _cost_section(findings),
        _digests(findings),
        "\n".join(f"![{picture.title}]({picture.file})" for picture in pictures),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | None) -> str:
    """Three digits are what a time is good for."""
    if value is None:
        return ""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}" if value < EXACT_BELOW else f"{float(f'{value:.3g}'):,.0f}"


def _head(findings: Findings) -> str:
    about = findings.about
    machine = ", ".join(f"{name}: {value}" for name, value in about["machine"].items())
    versions = ", ".join(f"{name} {value}" for name, value in about["versions"].items())
    lines = [
        "# Results",
        "",
        f"Made by `python -m benches` on {about['date']} at commit {about['commit']} ({about['build']}); `results.json` has every round.",
        "",
        f"Machine: {machine}.",
        "",
        f"Versions: {versions}.",
        "",
        f"Times ({CLOCK_NAMES[about['clock']]}) are medians of {findings.sizes.rounds} rounds in nanoseconds per operation,",
        "with the lowest and the highest in brackets.",
        "In each round all contestants take turns at an operation before the next begins. Results are checked, and the SHA-256 of",
        "our memory equals that of the Rust crate's after each operation, before a time counts.",
        *(f"\n{note}" for note in findings.notes),
        *(f"\n**FAILED: {failure}. The times of that group do not count and are not shown.**" for failure in findings.results.failures),
    ]
    return "\n".join(lines)


def _aims(judged: list[Verdict]) -> str:
    rows = [[v.work, v.against, f"≤ {v.limit:g}", _ratio(v.ratio), v.word] for v in judged]
    met, measured = sum(v.word == "met" for v in judged), sum(v.ratio is not None for v in judged)
    title = f"## Aims\n\n{met} of {measured} met. Ratios of medians, with the lowest and highest ratio of a round."
    return f"{title}\n\n{table(('work', 'against', 'aim', 'measured', 'verdict'), rows)}"


def _ratio(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _groups(findings: Findings) -> list[tuple[str, int]]:
    return [(group.title, group.size(findings.sizes)) for group in GROUPS]


def _names(results: Results, title: str, size: int) -> tuple[list[str], list[str]]:
    """Return the contestants and operations that have times."""
    times = [each for each in results.times.values() if (each.group, each.size, each.sweep) == (title, size, False)]
    contestants = list(dict.fromkeys(each.contestant for each in times))
    return sorted(contestants, key=_place), list(dict.fromkeys(each.operation for each in times))


def _place(contestant: str) -> tuple[int, str]:
    """Order ours first, then the crate, then the rest."""
    order = [ours.SINGLE, ours.BULK, "ours, from_sorted", "ours, exclusive", crate.NAME]
    return (order.index(contestant) if contestant in order else len(order), contestant)


def _spread(times: Times | None) -> str:
    return "" if times is None else f"{number(times.median)} ({number(min(times.ns))} to {number(max(times.ns))})"


def _group(findings: Findings, title: str, size: int) -> str:
    contestants, operations = _names(findings.results, title, size)
    if not contestants:
        return ""
    rows = [[name, *(_spread(findings.results.of(title, operation, name, size)) for operation in operations)] for name in contestants]
    return f"## {title}, {size:,} entries\n\n{table(('ns per operation', *operations), rows)}"


def _sweep(results: Results, sweep: Sweep) -> str:
    title = sweep.title
    found = [each for each in results.times.values() if each.group == title and each.sweep]
    if not found:
        return ""
    sizes = sorted({each.size for each in found})
    names = sorted({each.contestant for each in found}, key=_place)
    tables = []
    for operation in sweep.operations:
        rows = [[name, *(_median(results.of(title, operation, name, n, sweep=True)) for n in sizes)] for name in names]
        rows = [row for row in rows if any(row[1:])]
        tables.append(table((f"{operation}, ns", *(f"{n:,}" for n in sizes)), rows))
    done = "is read, or put in and taken out again," if sweep.read else "is put in and taken out again"
    head = f"Structures of so many entries; a tenth of them, at most {sweep.most:,}, {done} at a time."
    return f"## {title} over sizes\n\n{head}\n\n" + "\n\n".join(tables)


def _median(times: Times | None) -> str:
    return "" if times is None else number(times.median)


def _each(results: Results, title: str) -> str:
    """Return a table of operations without a comparison, in microseconds; nothing if none was measured."""
    found = [each for each in results.times.values() if each.group == title]
    if not found:
        return ""
    names = sorted({each.contestant for each in found}, key=_place)
    operations = dict.fromkeys(each.operation for each in found)
    rows = [[operation, *(_micro(results.of(title, operation, name, 1)) for name in names)] for operation in operations]
    return table(("µs each", *names), rows)


def _canisters(findings: Findings) -> str:
    rows = _each(findings.results, canisters.TITLE)
    head = "Elapsed times, the harness with all that it does around a message. How each is taken: `benches/canisters.py`."
    return f"## {canisters.TITLE}\n\n{head}\n\n{rows}" if rows else ""


def _certified(findings: Findings) -> str:
    rows = _each(findings.results, certified.TITLE)
    head = f"{findings.sizes.map:,} entries, u64 → u64. How each is taken: `benches/certified.py`."
    return f"## {certified.TITLE}\n\n{head}\n\n{rows}" if rows else ""


def _transactions(findings: Findings) -> str:
    rows = _each(findings.results, transactions.TITLE)
    if not rows:
        return ""
    text = f"## Transactions\n\nElapsed times.\n\n{rows}"
    for name, calls in findings.calls.items():
        text += f"\n\nSystem calls of a small full commit, {name}: " + ", ".join(f"{count:g} {call}" for call, count in calls.items()) + "."
    return text


def _work(findings: Findings) -> str:
    rows = work_rows(findings)
    if not rows:
        return ""
    head = f"{findings.sizes.work:,} rows of u64 → (f64, u32, 12 bytes) in a file; what each stage is: `benches/program.py`. A range has"
    text = f"{head}\n{program.RANGE} rows; nanoseconds for each row, key or range. The size is in bytes for each row."
    return f"## A program's work\n\n{text}\n\n{table(('ns', *program.STAGES, 'file'), rows)}"


def work_rows(findings: Findings) -> list[list[str]]:
    """Return a row for each side: its median at each stage, and its size."""
    found = {
        side.name: [findings.results.of(program.TITLE, stage, side.name, findings.sizes.work) for stage in (*program.STAGES, program.SIZE)]
        for side in program.SIDES
    }
    return [[name, *map(_median, times)] for name, times in found.items() if any(times)]


def _micro(times: Times | None) -> str:
    if times is None:
        return ""
    low, high = (number(end / 1000) for end in (min(times.ns), max(times.ns)))
    return f"{number(times.median / 1000)} ({low} to {high})"


def _spaces(findings: Findings) -> str:
    if not findings.spaces:
        return ""
    rows = [[each.contestant, number(each.stored), number(each.resident)] for each in findings.spaces]
    head = "Bytes for each entry of u64 → u64 (16 bytes): in the memory or file, and by which a fresh process grows."
    title = f"## Space, {findings.spaces[0].size:,} entries\n\n{head}"
    return f"{title}\n\n{table(('bytes per entry', 'stored', 'resident'), rows)}"


def _digests(findings: Findings) -> str:
    if not findings.results.digests:
        return ""
    compared = [each for each in findings.results.digests if crate.NAME in str(each["sides"])]
    count = len(findings.results.digests)
    return f"## Digests\n\n{count} times memories were compared, {len(compared)} times with the Rust crate's; all were equal."


# ---- the cost model ----


def _cost_section(findings: Findings) -> str:
    return f"## Cost model\n\n{cost_model(findings)}" if findings.model else ""


def cost_model(findings: Findings) -> str:
    """Return the tables of docs/cost-model.md."""
    model = findings.model
    if model is None:
        return "Not measured."
    latency = ", ".join(f"{_binary(size)} {number(ns)}" for size, ns in list(model.latency.items())[::3])
    once = f"a get on a map of one entry takes {number(model.one_entry_c)} in C and {number(model.one_entry_python)} from Python"
    where = f"{findings.about['machine']['processor']}, {findings.about['date']}"
    return "\n\n".join(
        (
            f"Measured on {where}. Nanoseconds of a load that waits for the one before it, within {latency}; {once}.",
            _costs(findings, model),
            *(_levels(size, levels, model.latency) for size, levels in model.levels.items()),
        )
    )


def _costs(findings: Findings, model: Model) -> str:
    rows = []
    for each in model.costs:
        floor = model.levels.get(each.size) if each.operation == "map.get" else None
        counts = (each.instructions, each.l1, each.l2, each.l3)
        waits = number(least(floor, model.latency)) if floor else ""
        rows.append([each.operation, f"{each.size:,}", *map(number, counts), waits, number(each.ns), _from_python(findings.results, each)])
    head = (
        "per operation",
        "entries",
        "instructions",
        "lines not in L1",
        "not in L2",
        "not in L3",
        "waits, ns",
        "in C, ns",
        "from Python, ns",
    )
    return table(head, rows)


def _from_python(results: Results, each: Cost) -> str:
    """Return the median of the same operation in the sweep of this run."""
    kind, _, operation = each.operation.partition(".")
    title = next(sweep.title for sweep in SWEEPS if sweep.case == f"{kind}_u64")
    name = ours.BULK if operation.endswith("_many") else ours.SINGLE
    return _median(results.of(title, operation.removesuffix("_many"), name, each.size, sweep=True))


def _binary(size: int) -> str:
    return f"{size / 2**20:,.3g} MiB" if size >= 1 << 20 else f"{size / 2**10:,.3g} KiB"


def _levels(size: int, levels: list[Level], latency: dict[int, float]) -> str:
    rows = [
        [str(each.depth), f"{each.nodes:,}", f"{each.lines:.1f}", f"{each.reached:.0%}", _binary(each.total), number(wait(each, latency))]
        for each in levels
    ]
    lines = sum(each.lines * each.reached for each in levels)
    head = ("level", "nodes", "lines touched", "lookups that come here", "those lines, down to here", "a load from there, ns")
    text = f"A get among {size:,} entries: {lines:.1f} lines on {sum(each.reached for each in levels):.1f} levels, "
    return f"{text}waits of {number(least(levels, latency))} ns at least.\n\n{table(head, rows)}"


# ---- docs/performance.md ----


def between_marks(text: str, new: str) -> str:
    """Return a page with other text between its two marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n{new}\n{end}{after}" if begin and end else text


def short(findings: Findings) -> str:
    results, sizes, about = findings.results, findings.sizes, findings.about
    machine, versions = about["machine"], about["versions"]
    judged = verdicts(results, sizes)
    met, measured = sum(v.word == "met" for v in judged), sum(v.ratio is not None for v in judged)
    where = f"{machine['processor']}, {machine['system'].split('-')[0]}, Python {versions['Python']}"
    clock = CLOCK_NAMES[about["clock"]]
    rust = f"crate {versions.get('ic-stable-structures', '-')} native with LTO"
    return "\n\n".join(
        (
            f"Nanoseconds per operation ({clock}), medians of {sizes.rounds} interleaved rounds ({where}, {rust}), losses included:",
            _rows(results, MAP, sizes.map, ("insert", "get", "remove", "iterate"), OWN),
            _rows(results, WIDE, sizes.wide, ("insert", "get", "remove", "iterate"), OWN),
            _rows(results, PEERS, sizes.peers, ("set", "get", "remove", "iterate"), AMONG_PEERS),
            f"Of {measured} aims {met} are met: {RESULTS} has them all, with every structure, space, transactions and plots over sizes.",
        )
    )


def _rows(results: Results, title: str, size: int, operations: tuple[str, ...], names: dict[str, str]) -> str:
    """Make a table with contestants down and operations across."""
    rows = [[label, *(_median(results.of(title, operation, name, size)) for operation in operations)] for name, label in names.items()]
    return table((f"{size:,} entries, {title.removeprefix('map ')}", *operations), [row for row in rows if any(row[1:])])
