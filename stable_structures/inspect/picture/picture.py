# SPDX-License-Identifier: Apache-2.0
"""The picture of a memory: `draw` writes it as HTML by itself, as PNG or SVG with matplotlib."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cli.text import human
from ..image import Image, Types
from ..source import Progress, Unreadable, no_progress
from ..writing import NewFile, is_stream
from .scene import COLOURS, NAMES, Scene, What, owner_colours, read_scene

OUTPUTS: Final = ("html", "png", "svg")
_WIDTH, _HEIGHT, _POINTS = 256, 128, 8
_LEAST_CELL: Final = 16
_NOBODY: Final = "#fb7185"


def draw(image: Image, out: str | Path, *, form: str | None = None, types: Types | None = None, progress: Progress = no_progress) -> Scene:
    """Draw a memory to a file, in the `form` html, png or svg; by itself as its name ends. O(size of what is in it). Raises `Unreadable`.

    A pipe or device, whose name says nothing, gets html.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({i: f"user {i}" for i in range(100)})
    >>> from tempfile import TemporaryDirectory
    >>> from stable_structures.inspect import open_image
    >>> with TemporaryDirectory() as folder, open_image(memory) as image:
    ...     scene = draw(image, f"{folder}/map.html")
    >>> scene.memories[0].nodes_by_depth
    [1, 2, 16]
    """
    path = Path(out)
    form = form or path.suffix.removeprefix(".").lower() or ("html" if is_stream(out) else "")
    if form not in OUTPUTS:
        raise Unreadable(f"{out}: the name says the format: end it in .html, .png or .svg, or give --format")
    if image.source.nbytes == 0:
        raise image.unreadable("there is nothing to draw")
    figure = None if form == "html" else _empty_figure()
    with NewFile(path) as new:
        if form == "png" and new.is_terminal:
            raise Unreadable("png is not for a terminal; give -o OUT, or --format html")
        scene = read_scene(image, types=types, progress=progress)
        if figure is None:
            new.file.write(page(scene).encode())
        else:
            _fill(figure, scene)
            figure.savefig(new.file, format=form, metadata={"Date": None} if form == "svg" else None)
        new.keep()
    return scene


def page(scene: Scene, *, nonce: str = "") -> str:
    """Return the picture as one HTML file that needs nothing else. O(chunks).

    `nonce` is the one of a server's Content-Security-Policy.
    """
    folder = files(__package__)
    template = folder.joinpath("page.html").read_text("utf-8").replace("/*@MODEL@*/", model_script())
    for tag in ("<style>", "<script>") if nonce else ():
        template = template.replace(tag, f'{tag[:-1]} nonce="{nonce}">')
    data = json.dumps(scene.to_dict(), ensure_ascii=True).replace("<", "\\u003c")
    return template.replace('"@SCENE@"', data)


def model_script() -> str:
    """Return the JavaScript that describes a scene: the content of an address, in words and as a colour."""
    return files(__package__).joinpath("model.js").read_text("utf-8")


def _empty_figure() -> Any:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, or only this verb needs it
    except ImportError:
        raise Unreadable(
            "PNG and SVG need matplotlib: pip install 'stable-structures[plot]'; a name that ends in .html needs nothing"
        ) from None
    return Figure(figsize=(14, 10.5), dpi=110)


# ---- cells ----


def cell_size(nbytes: int) -> int:
    """Bytes of a cell: a power of two, so that all of them fit the picture."""
    size = _LEAST_CELL
    while size * _WIDTH * _HEIGHT < nbytes:
        size *= 2
    return size


def cells(scene: Scene) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], int]:
    """Return the kind and owner of each cell of the picture, row by row, and the bytes of a cell.

    Of points spread over a cell the most frequent counts, but what is lost is always seen.
    """
    size = cell_size(scene.nbytes)
    rows = max(1, -(-scene.nbytes // (size * _WIDTH)))
    starts = np.arange(rows * _WIDTH, dtype=np.int64) * size
    points = np.stack([starts + size * i // _POINTS for i in range(_POINTS)])
    what, memory = scene.classify(points.reshape(-1))
    what, memory = what.reshape(_POINTS, -1), memory.reshape(_POINTS, -1)
    counts = np.stack([(what == kind).sum(axis=0) for kind in What])
    counts[What.LOST] *= _POINTS
    chosen = counts.argmax(axis=0).astype(np.uint8)
    at = (what == chosen).argmax(axis=0)
    return chosen.reshape(rows, _WIDTH), memory[at, np.arange(len(starts))].reshape(rows, _WIDTH), size


def _rgb(colours: list[str]) -> npt.NDArray[np.uint8]:
    return np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], np.uint8)


def _owner_image(memory: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    table = _rgb([_NOBODY, COLOURS[What.TABLE], COLOURS[What.OUTSIDE], *owner_colours(int(memory.max(initial=0)) + 1)])
    return table[memory + 3]


# ---- matplotlib ----


def _fill(figure: Any, scene: Scene) -> None:
    what, memory, size = cells(scene)
    grid = figure.add_gridspec(3, 3, height_ratios=(1.1, 3.2, 1.3), hspace=0.32, wspace=0.25, left=0.07, right=0.98, top=0.92, bottom=0.06)
    figure.suptitle(f"{_fitting(scene.name)}\n{scene.title}, {human(scene.nbytes)}", fontsize=12)
    _panel(figure.add_subplot(grid[0, :2]), _owner_image(memory), size, "whose it is")
    kinds = _rgb([COLOURS[kind] for kind in What])
    _panel(figure.add_subplot(grid[1, :]), kinds[what], size, f"what is in it; a cell is {human(size)}")
    _legends(figure.add_subplot(grid[0, 2]), scene, set(np.unique(what).tolist()))
    _depths(figure.add_subplot(grid[2, 0]), scene)
    _fills(figure.add_subplot(grid[2, 1:]), scene)


def _fitting(name: str, most: int = 90) -> str:
    name = "".join(letter if letter.isprintable() and ord(letter) < 0x2000 else "?" for letter in name).replace("$", r"\$")  # noqa: PLR2004 - said by the format
    return name if len(name) <= most else f"...{name[-most:]}"


def _panel(axes: Any, pixels: npt.NDArray[np.uint8], size: int, title: str) -> None:
    axes.imshow(pixels, aspect="auto", interpolation="nearest")
    axes.set_title(title, fontsize=10, loc="left")
    rows = len(pixels)
    ticks = sorted({round(i * (rows - 1) / 4) for i in range(5)})
    axes.set_yticks(ticks, [f"{row * size * _WIDTH:#x}" for row in ticks], fontsize=7)
    columns = [0, 64, 128, 192, 255]
    axes.set_xticks(columns, [f"+{human(column * size)}" for column in columns], fontsize=7)


def _legends(axes: Any, scene: Scene, seen: set[int]) -> None:
    from matplotlib.patches import Patch  # noqa: PLC0415 - an extra, or only this verb needs it

    axes.axis("off")
    kinds = [Patch(facecolor=COLOURS[what], edgecolor="#71717a", linewidth=0.4, label=NAMES[what]) for what in What if what in seen]
    most = 12
    colours = owner_colours(len(scene.memories))
    owners = [Patch(facecolor=colour, label=one.name) for colour, one in zip(colours, scene.memories[:most], strict=False)]
    if len(scene.memories) > most:
        owners.append(Patch(facecolor="white", label=f"and {len(scene.memories) - most} more"))
    first = axes.legend(
        handles=owners, fontsize=7, loc="upper left", bbox_to_anchor=(-0.12, 1.16), frameon=False, title="whose it is", title_fontsize=8
    )
    axes.add_artist(first)
    axes.legend(
        handles=kinds, fontsize=7, loc="upper left", bbox_to_anchor=(0.46, 1.16), frameon=False, title="what is in it", title_fontsize=8
    )


def _depths(axes: Any, scene: Scene) -> None:
    maps = [(i, one) for i, one in enumerate(scene.memories) if one.nodes_by_depth]
    axes.set_title("nodes by depth", fontsize=10, loc="left")
    if not maps:
        axes.axis("off")
        return
    width = 0.8 / len(maps)
    for position, (i, one) in enumerate(maps):
        places = np.arange(len(one.nodes_by_depth)) + position * width - 0.4 + width / 2
        axes.bar(places, one.nodes_by_depth, width, color=owner_colours(i + 1)[i])
    axes.set_yscale("log")
    axes.set_xticks(range(max(len(one.nodes_by_depth) for _, one in maps)))
    axes.tick_params(labelsize=7)


def _fills(axes: Any, scene: Scene) -> None:
    maps = [(i, one) for i, one in enumerate(scene.memories) if sum(one.fills)]
    axes.set_title("entries in a node (share of the nodes)", fontsize=10, loc="left")
    if not maps:
        axes.axis("off")
        return
    for i, one in maps:
        shares = np.array(one.fills[1:]) / sum(one.fills)
        axes.plot(range(1, 12), shares, marker="o", markersize=3, color=owner_colours(i + 1)[i], label=one.name)
    axes.set_xticks(range(1, 12))
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, frameon=False)
