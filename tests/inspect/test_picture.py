"""The picture: what it says of every address, and that a real browser draws it and answers under the pointer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from stable_structures import PAGE_SIZE, MemoryManager, StableBTreeMap, StableCell, StableLog, StableMemory, StableVec, u64
from stable_structures.inspect import Unreadable, open_image
from stable_structures.inspect.picture import scene
from stable_structures.inspect.picture.picture import cells, draw, page
from stable_structures.inspect.picture.scene import COLOURS, Scene, What, read_scene

from ..support.browser import needs_browser
from ..support.inspect_images import Patched, golden, meanings, read, traces


def canister() -> StableMemory:
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=2)
    users, texts = StableBTreeMap[u64, str](manager.get(0)), StableBTreeMap[str, bytes](manager.get(1))
    numbers, lines = StableVec[u64](manager.get(2)), StableLog[str](manager.get(3), manager.get(4))
    StableCell[str](manager.get(5), "the value")
    for i in range(600):
        users.insert(i * 7 % 1000, f"user {i}")
        texts.insert(f"text {i}", b"x" * (i * 5))
        numbers.push(i)
        lines.append(f"line {i}")
    for i in range(150):
        texts.remove(f"text {599 - i}")
    return memory


def scene_of(data: Any) -> Scene:
    with open_image(data) as image:
        return read_scene(image)


WHAT = {
    "manager": What.TABLE,
    "map": What.HEADER,
    "allocator": What.HEADER,
    "overflow": What.OVERFLOW,
    "cell: value": What.DATA,
    "row: element": What.DATA,
}


@pytest.mark.parametrize("name", [name for name in traces() if name.startswith(("btreemap", "canister"))])
def test_every_address_that_means_something_is_shown_as_what_it_is(name):
    data = golden(name)[0]
    scene = scene_of(data)
    found = meanings(data)
    what, _ = scene.classify(np.array([one.start for one in found]))
    for one, seen in zip(found, what.tolist(), strict=True):
        wanted = WHAT.get(one.kind) or WHAT.get(one.kind.split(":")[0])
        if one.kind.startswith("node"):
            assert seen in (What.LEAF, What.INTERNAL), one
        elif wanted is not None:
            assert seen == wanted, one


def test_lost_nodes_are_seen_however_small_they_are_in_the_picture():
    data = golden("btreemap_bytes_bytes")[0]
    with open_image(data) as image:
        reader = image.part(None).open()
        root: int = reader.root  # type: ignore[union-attr]
    scene = scene_of(Patched(data, {root: b"X"}))
    assert What.LOST in cells(scene)[0]
    assert What.LOST not in cells(scene_of(data))[0]


def test_the_legend_says_what_is_there_and_nothing_else():
    data = golden("btreemap_bytes_bytes")[0]
    with open_image(data) as image:
        reader = image.part(None).open()
        root: int = reader.root  # type: ignore[union-attr]
    for memory in (Patched(data, {root: b"X"}), Patched(data, {}), canister(), Patched(golden("canister_bucket16")[0], {2080: b"\xff"})):
        scene = scene_of(memory)
        what, _ = scene.classify(np.arange(0, scene.nbytes, 8))
        assert set(np.unique(what).tolist()) <= set(scene.present())
        assert all(what_ in what for what_ in scene.present() if what_ != What.OUTSIDE)


@pytest.mark.parametrize("form", ["png", "svg"])
def test_a_picture_has_the_colours_of_what_is_there(form, tmp_path):
    path = tmp_path / f"my map.{form}"
    with open_image(canister()) as image:
        scene = draw(image, path)
    if form == "png":
        pixels = np.unique((matplotlib.image.imread(path)[..., :3] * 255).round().astype(int) @ [1 << 16, 1 << 8, 1])
        for what in np.unique(cells(scene)[0]).tolist():
            assert int(COLOURS[What(what)].removeprefix("#"), 16) in pixels, What(what)
    else:
        assert path.read_text().count("<image") == 2


def test_what_cannot_be_drawn_is_refused(tmp_path):
    for data, name in ((b"", "x.html"), (bytes(PAGE_SIZE), "x.gif"), (bytes(PAGE_SIZE), "x")):
        with open_image(data) as image, pytest.raises(Unreadable):
            draw(image, tmp_path / name)


def test_the_page_needs_nothing_else():
    text = page(scene_of(canister()))
    assert not re.search(r"""(src|href)\s*=|url\(|@import|https?://|fetch\(|XMLHttpRequest""", text)


def test_text_of_a_memory_cannot_end_the_script():
    memory = StableMemory()
    StableBTreeMap[str, str](memory).insert("</script><script>alert(1)</script>", "x")
    assert "</script><script>alert" not in page(scene_of(memory))


# ---- in a real browser ----


@pytest.fixture
def browse(browser):
    """Open a page and run a script in it; return what it gives."""

    def look(path: Path, script: str, width: int = 1280, height: int = 800, *, dark: bool = False) -> Any:
        browser.look(width, height, dark=dark)
        browser.errors.clear()
        browser.open(path.as_uri())
        found = browser.run(script)
        assert browser.errors == []
        return found

    yield look
    browser.open("about:blank")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> tuple[Path, Scene]:
    path = tmp_path_factory.mktemp("map") / "map.html"
    with open_image(canister()) as image:
        return path, draw(image, path)


@needs_browser
def test_a_browser_draws_what_is_there(drawn, browse, browser):
    path, _ = drawn
    browse(path, "drawNow()")
    browser.shot(path.parent / "shot.png")
    pixels = (matplotlib.image.imread(path.parent / "shot.png")[60:, 60:960, :3] * 255).round().astype(int).reshape(-1, 3)
    counts = dict(zip(*np.unique(pixels @ [65536, 256, 1], return_counts=True), strict=True))
    for what in (What.TABLE, What.LEAF, What.INTERNAL, What.OVERFLOW, What.DATA, What.UNUSED):
        assert counts.get(int(COLOURS[what][1:], 16), 0) > 20, what


POINTED = {0: (150, "leaf"), 1: (150, "leaf"), 2: (100, "element 4"), 4: (100, "entry"), 5: (10, "elements, entries, value")}
"""Of each memory an offset, and what stands there."""


@needs_browser
def test_under_the_pointer_are_address_owner_and_content(drawn, browse):
    path, _ = drawn
    with open_image(canister()) as image:
        addresses = [image.parts[memory].source.physical(offset) for memory, (offset, _) in POINTED.items()]
    script = f"""
        {addresses}.map(address => {{
            location.hash = '0x' + address.toString(16); followLink(); drawNow();
            const place = placeOf(address), box = view.getBoundingClientRect();
            const x = box.left + place.x + CELL / 2, y = box.top + place.y - top_ + CELL / 2;
            view.dispatchEvent(new PointerEvent('pointermove', {{clientX: x, clientY: y}}));
            return document.getElementById('tip').innerText;
        }})"""
    tips = browse(path, script)
    for (memory, (_, wanted)), tip in zip(POINTED.items(), tips, strict=True):
        assert re.search(r"address\s+0x[0-9a-f]+", tip), tip
        assert f"memory {memory}: " in tip, tip
        assert wanted in tip or "internal node" in tip, tip


@needs_browser
def test_what_is_damaged_is_marked_where_it_is(tmp_path, browse, browser):
    data, memory = bytearray(read(canister())), 0
    with open_image(bytes(data)) as image:
        part = image.parts[memory]
        node = next(iter(part.open().entries_between(b"", None)))[0].address
        address = part.source.physical(node)
    data[address] ^= 0xFF
    path = tmp_path / "map.html"
    path.write_text(page(scene_of(bytes(data))), encoding="utf-8")
    script = f"location.hash = '{address:#x}'; followLink(); cursor = null; drawNow(); const place = placeOf({address});"
    script += "const ratio = view.width / view.clientWidth, context = view.getContext('2d');"
    script += (
        "const pixel = (x, y) => [...context.getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data].slice(0, 3).join();"
    )
    script += "const ring = pixel(place.x, place.y - top_), beside = pixel(place.x + 8 * CELL, place.y - top_);"
    script += f"[ring, beside, describe({address}).at(-1), describe({address} + 64).at(-1)[0]]"
    ring, beside, said, other = browse(path, script)
    assert ring == "185,28,28"  # --bad
    assert beside != ring
    assert said[0] == "damage"
    assert "node" in said[1]
    assert other == "content"
    assert browser.run("document.getElementById('legend').innerText").endswith("\ndamage")


def nbytes(text: str) -> float:
    amount, unit = text.split()
    return float(amount) * {"B": 1, "KiB": 1024, "MiB": 1 << 20}[unit]


@needs_browser
def test_the_wheel_zooms_and_the_buttons_change_the_colours(drawn, browse, browser):
    path, _ = drawn
    script = "const before = document.getElementById('scale').textContent; const box = view.getBoundingClientRect();"
    script += "const where = {deltaY: -1, clientX: box.left + 200, clientY: box.top + 100, cancelable: true};"
    script += "view.dispatchEvent(new WheelEvent('wheel', where)); drawNow();"
    script += "document.querySelector('[data-mode=fill]').click(); drawNow();"
    script += "[before, document.getElementById('scale').textContent]"
    before, after = (re.match(r"a cell is ([\d.]+ [KM]?i?B)", scale)[1] for scale in browse(path, script))
    assert nbytes(after) == nbytes(before) / 2
    assert "100% of a page in use" in browser.run("document.body.innerText")


@needs_browser
def test_a_browser_draws_ten_gibibytes(tmp_path, browse):
    image = tmp_path / "big.bin"
    data = read(canister())
    with image.open("wb") as file:
        file.write(data)
        file.truncate(10 << 30)
    path = tmp_path / "big.html"
    with open_image(image) as opened:
        draw(opened, path)
    dom = browse(path, "document.documentElement.outerHTML")
    assert re.search(r'id="scale">a cell is [\d.]+ (B|[KM]iB), from 0x0', dom)
    assert re.search(r"<b>10\.0 GiB</b><span>reserved, never used", dom)


TOUR = """
const result = {}, box = () => view.getBoundingClientRect();
const press = key => view.dispatchEvent(new KeyboardEvent('keydown', {key}));
const mouse = (type, place) => {
  const where = {pointerId: 1, clientX: box().left + place.x + CELL / 2, clientY: box().top + place.y - top_ + CELL / 2};
  view.dispatchEvent(new PointerEvent(type, where));
};
result.width = document.documentElement.scrollWidth - window.innerWidth;
result.narrow = getComputedStyle(document.body).display;
result.background = getComputedStyle(document.documentElement).backgroundColor;
result.shares = document.getElementById('headline').getAttribute('aria-label');
result.bands = bands.map(band => band.title);
result.folded = bands.filter(band => band.never).length;
result.seen = bands.every(band => band.end < view.clientHeight);
document.getElementById('search').value = '0:0x64';
document.getElementById('search').dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}));
result.searched = [location.hash, document.getElementById('pinned').textContent];
document.getElementById('search').value = '0xffffffffffff';
document.getElementById('search').dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}));
result.refused = document.getElementById('pinned').textContent;
drawNow(); press('ArrowRight'); result.said = document.getElementById('said').textContent;
const before = cell; press('+'); result.zoomed = cell === before / 2; drawNow();
for (let i = 0; i < 60; i++) press('+');
drawNow(); result.least = cell;
press('Home'); drawNow(); result.whole = cell === widest() && top_ === 0;
const place = placeOf(bands[2].address(0));
mouse('pointerdown', place); mouse('pointerup', place); result.clicked = document.getElementById('pinned').textContent;
result.walked = [];
for (const band of bands) {
  cursor = band.address(Math.max(0, band.bytes - 1));
  step(1);
  result.walked.push(bands.indexOf(bandOf(cursor)[0]));
}
for (const button of document.querySelectorAll('#memories button')) { button.click(); drawNow(); }
result.scripts = document.scripts.length;
result.owned = document.title.startsWith('owned') || Boolean(document.querySelector('img, b b'));
result
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """The canister, under names that try to be markup: of the file, in the schema, as a key."""
    folder = tmp_path_factory.mktemp("hostile")
    image = folder / "a<img src=x onerror=document.title='owned'>.bin"
    memory = canister()
    texts = StableBTreeMap[str, bytes](MemoryManager(memory).get(9))
    texts.insert("<!--<script>document.title='owned'</script>", b"x")
    image.write_bytes(read(memory))
    (folder / "memories.toml").write_text("[memories.0]\nname = \"<img src=x onerror=document.title='owned'>\"\n")
    path = folder / "map.html"
    with open_image(image) as opened:
        draw(opened, path)
    return path


@needs_browser
@pytest.mark.parametrize(("columns", "theme"), [(1280, "light"), (420, "dark")])
def test_the_page_works_wide_and_narrow_dark_and_light_by_mouse_and_keys(columns, theme, hostile, browse):
    found = browse(hostile, TOUR, columns, 900, dark=theme == "dark")
    assert found["width"] <= 0
    assert (found["narrow"] == "block") == (columns == 420)
    red = int(re.findall(r"\d+", found["background"])[0])
    assert (red > 200) == (theme == "light")
    assert re.search(r"used, .*free inside, .*reserved, never used", found["shares"])
    assert found["bands"][:3] == [
        "manager's tables",
        "memory 0 \u00b7 <img src=x onerror=document.title='owned'> \u00b7 map",
        "memory 1 \u00b7 map",
    ]
    assert found["folded"] == 7
    assert found["searched"][0] == "#0x10064"
    assert "memory 0: map" in found["searched"][1]
    assert "not found" in found["refused"]
    assert "address 0x10068" in found["said"]
    assert found["zoomed"]
    assert found["least"] == 1
    assert found["whole"]
    assert "memory 1: map" in found["clicked"]
    assert found["walked"] == [*range(1, 8), 7]
    assert not found["owned"]
    assert found["scripts"] == 2


def test_large_maps_are_drawn_in_groups_whose_chunks_are_those_of_the_whole(monkeypatch):
    """Of each group the greatest of what, depth and fill; and no column has more than as many as a page may have."""
    memory = StableMemory()
    users = StableBTreeMap[u64, bytes](memory)
    users.update({key: bytes(key % 3000) for key in range(2000)})
    for key in range(0, 2000, 3):
        del users[key]
    with open_image(memory) as image:
        whole = read_scene(image).memories[0]
        assert whole.group == 1
        for most in (len(whole.what) - 1, 37, 5, 1):
            monkeypatch.setattr(scene, "_MOST_CHUNKS", most)
            some = read_scene(image).memories[0]
            assert len(some.what) <= most
            assert not some.labels
            for name in ("what", "depth", "fill"):
                column = getattr(whole, name)
                padded = np.pad(column, (0, len(some.what) * some.group - len(column)))
                assert np.array_equal(getattr(some, name), padded.reshape(-1, some.group).max(axis=1)), name
