# SPDX-License-Identifier: Apache-2.0
"""Plots over sizes, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from . import crate, ours, program
from .groups import SWEEPS, Sweep
from .measure import Results, Times

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES: Final[dict[str, dict[str, Any]]] = {
    ours.SINGLE: {"color": "#0b5cad", "linewidth": 2.4, "marker": "o", "zorder": 5},
    ours.BULK: {"color": "#0b5cad", "linewidth": 2.4, "marker": "o", "linestyle": "--", "zorder": 5},
    crate.NAME: {"color": "#c8501e", "linewidth": 2.4, "marker": "s", "zorder": 4},
    "lmdb": {"color": "#6a9a3a"},
    "sqlite3": {"color": "#8a6fb0"},
    "SortedDict": {"color": "#c29a1b"},
    "BTrees": {"color": "#3b9b9b"},
    "rocksdict": {"color": "#b5638f"},
}
PLAIN: Final[dict[str, Any]] = {"color": "#888888", "linestyle": ":"}
SETTINGS: Final[Any] = {"svg.hashsalt": "benches", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
WIDTH: Final = 4.2
HEIGHT: Final = 3.4
_DECADE: Final = 10


@dataclass(frozen=True)
class Picture:
    """A file in the directory of the results."""

    title: str
    file: str


def draw(results: Results, out: Path, note: Callable[[str], None], most: int | None = None) -> list[Picture]:
    """Write NAME.svg for each structure that was measured over sizes, or for at most so many, and work.svg."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra
    except ImportError:
        note("Without plots: matplotlib is not installed")
        return []
    mpl.use("Agg")
    with mpl.rc_context(SETTINGS):
        titles = {(times.group, times.sweep) for times in results.times.values()}
        measured = [sweep for sweep in SWEEPS if (sweep.title, True) in titles]
        found = [_picture(results, sweep, out) for sweep in measured[:most]]
        return [*found, _work(results, out)] if (program.TITLE, False) in titles else found


def _work(results: Results, out: Path) -> Picture:
    """Draw a row of bars for each stage of a program's work."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - an extra

    figure, grid = plt.subplots(1, len(program.STAGES), figsize=(2.6 * len(program.STAGES), HEIGHT), layout="constrained")
    for axes, stage in zip(grid.flat, program.STAGES, strict=True):
        found = [times for times in results.times.values() if (times.group, times.operation) == (program.TITLE, stage)]
        found.sort(key=lambda times: -times.median)
        colours = [STYLES.get(times.contestant, {}).get("color") or _colour(times.contestant) for times in found]
        axes.barh([times.contestant for times in found], [times.median for times in found], color=colours)
        axes.set(title=stage, xscale="log", xlabel="ns")
    figure.suptitle("A program's work: ns for each row, key or range")
    figure.savefig(out / "work.svg", metadata={"Date": None})
    plt.close(figure)
    return Picture("A program's work", "work.svg")


def _colour(contestant: str) -> str:
    return str((STYLES[ours.SINGLE] if contestant in program.OURS else PLAIN)["color"])


def _picture(results: Results, sweep: Sweep, out: Path) -> Picture:
    import matplotlib.pyplot as plt  # noqa: PLC0415 - an extra

    columns = min(2, len(sweep.operations))
    rows = -(-len(sweep.operations) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(WIDTH * columns, HEIGHT * rows), squeeze=False, layout="constrained")
    for axes, operation in zip(grid.flat, sweep.operations, strict=False):
        _panel(axes, results, sweep, operation)
    handles = {label: handle for axes in grid.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(f"{sweep.title}: ns per operation over entries")
    figure.savefig(out / f"{sweep.file}.svg", metadata={"Date": None})
    plt.close(figure)
    return Picture(f"{sweep.title} over sizes", f"{sweep.file}.svg")


def _panel(axes: Axes, results: Results, sweep: Sweep, operation: str) -> None:
    from matplotlib.ticker import NullLocator  # noqa: PLC0415 - an extra

    lines: dict[str, list[Times]] = {}
    for times in results.times.values():
        if (times.group, times.operation, times.sweep) == (sweep.title, operation, True):
            lines.setdefault(times.contestant, []).append(times)
    for name, points in lines.items():
        points.sort(key=lambda times: times.size)
        sizes, style = [point.size for point in points], STYLES.get(name, PLAIN)
        axes.plot(sizes, [point.median for point in points], label=name, **{"linewidth": 1.2, "marker": ".", "markersize": 4, **style})
        axes.fill_between(sizes, [min(p.ns) for p in points], [max(p.ns) for p in points], color=style["color"], alpha=0.12, linewidth=0)
    axes.set(xscale="log", yscale="log", title=operation)
    axes.grid(visible=True, which="major", alpha=0.3)
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        if high > _DECADE * low:  # between powers of ten matplotlib writes no numbers then, and marks alone take half the time
            axis.set_minor_locator(NullLocator())
