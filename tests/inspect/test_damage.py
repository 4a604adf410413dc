"""Damaged images: never anything but an answer, and what `check` finds, by the kind of what was damaged.

`DAMAGED=100000 pytest -s -m slow tests/inspect/test_damage.py -k is_found` takes that many, and prints the fractions.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

import pytest

from stable_structures import PAGE_SIZE, StableBTreeMap, StableError, StableMemory
from stable_structures.inspect import Unreadable, check, inspect, open_image
from stable_structures.inspect.compare import diff
from stable_structures.inspect.dump import table
from stable_structures.inspect.formats.layout import Damage
from stable_structures.inspect.picture.scene import read_scene
from stable_structures.inspect.repair.salvage import repair
from stable_structures.inspect.source import PastEnd

from ..support.inspect_images import OLD, Meaning, Patched, fuller, golden, meanings, old, traces, types_of
from ..support.soundness import is_sound

pytestmark = pytest.mark.usefixtures("without_fsync")

Types = dict[int | None, tuple[Any, Any]]

LARGE = 4 << 20  # images that take the judge long
CONTENTS = {  # where some changes give other contents and nothing else: other bytes, a shorter row, another boundary
    "cell: size",
    "cell: value",
    "log: count",
    "log: ends",
    "log: entries",
    "manager: sizes",
    "node: key",
    "node: key size",
    "node: value",
    "node: value size",
    "row: element",
    "row: element bound",
    "row: element size",
    "row: length",
}
OF_TYPES = (  # words of the rules that nobody can check without knowing the types
    "is encoded as",
    "fits its type",
    "the bound of the element type",
    "keys ascend",
    "less than its parent",
)


@cache
def images() -> list[tuple[str, bytes, Types]]:
    single = [name for name in traces() if not name.startswith("log")]  # two memories: those of the canisters are in one
    ends = [(name, fuller(name) if name.startswith("vec") else golden(name)[0], types_of(name)) for name in single]
    return ends + [(f"{name}, layout 1", old(name), types_of(name)) for name in OLD]


@cache
def places() -> dict[str, list[tuple[int, Meaning]]]:
    """Where each kind of meaning is: (image, range)."""
    found: dict[str, list[tuple[int, Meaning]]] = defaultdict(list)
    for number, (_, data, _) in enumerate(images()):
        for one in meanings(data):
            found[one.kind].append((number, one))
    return found


def flips(rng: random.Random) -> Iterator[tuple[str, int, int, bytes]]:
    """One bit of a byte that means something: kind, image, address, the new byte. Every kind as often."""
    kinds = sorted(places())
    while True:
        for kind in kinds:
            number, where = rng.choice(places()[kind])
            at = rng.randrange(where.start, where.stop)
            yield kind, number, at, bytes([images()[number][1][at] ^ 1 << rng.randrange(8)])


def test_sound_images_are_sound_with_and_without_types():
    for name, data, types in images():
        assert check(data) == [], name
        assert check(data, types=types) == [], name


def noticed(memory: Patched, types: Types | None = None) -> bool:
    """Whether `check` says damaged, or not recognised."""
    return bool(check(memory, types=types)) or open_image(memory).recognition.kind == "unknown"


class Tally:
    """How many of each kind were tried, found with the types told and without, and proven to be other sound memories.

    `soundness.is_sound` is the judge: what `check` does not find has left a memory that is sound, with other contents;
    what it finds has not. One in `judged` is judged, and checked without types.
    """

    def __init__(self, judged: int) -> None:
        self.judged = judged
        self.tried, self.found = Counter[str](), Counter[str]()
        self.untold, self.found_untold, self.sound = Counter[str](), Counter[str](), Counter[str]()

    def run(self, rng: random.Random, trials: int) -> None:
        for kind, number, at, new in islice(flips(rng), trials):
            _, data, types = images()[number]
            memory = Patched(data, {at: new})
            found = noticed(memory, types)
            self.tried[kind] += 1
            self.found[kind] += found
            if rng.randrange(self.judged) == 0:
                self.judge(kind, memory, types, found=found)

    def judge(self, kind: str, memory: Patched, types: Types, *, found: bool) -> None:
        if not found or len(memory.data) < LARGE:
            self.sound[kind] += not found
            assert is_sound(memory.whole(), types) != found, f"{kind}: {memory.patches}, found {found}, and sound too"
        untold = noticed(memory)
        self.untold[kind] += 1
        self.found_untold[kind] += untold
        if found and not untold:
            rules = {one.rule for one in check(memory, types=types)}
            assert all(any(word in rule for word in OF_TYPES) for rule in rules), rules

    def show(self) -> None:
        rows = [f"{'one bit in':34}{'tried':>8}{'found':>8}{'without types':>15}{'of':>7}{'proven sound':>14}"]
        for kind, count in sorted(self.tried.items()):
            untold = self.untold[kind]
            rows.append(
                f"{kind:34}{count:8}{self.found[kind] / count:8.1%}{self.found_untold[kind] / max(1, untold):15.1%}"
                f"{untold:7}{self.sound[kind]:14}"
            )
        sys.stdout.write("\n".join(["", *rows, f"{self.tried.total()} damaged images", ""]))


def test_one_bit_of_what_means_something_is_found_unless_another_sound_memory_is_left(seed):
    tally = Tally(judged=1)
    tally.run(random.Random(seed), 80)
    assert all(tally.found[kind] == count for kind, count in tally.tried.items() if kind not in CONTENTS)


def rounds(duration: float, step: int) -> Iterator[int]:
    """Counts images, `step` at a time: for --duration seconds, or with DAMAGED=n so many."""
    wanted, start, done = os.environ.get("DAMAGED"), time.monotonic(), 0
    while (time.monotonic() - start < duration) if wanted is None else (done < int(wanted)):
        yield done
        done += step


@pytest.mark.slow
def test_one_bit_of_what_means_something_is_found_at_length(seed, duration):
    rng, tally = random.Random(seed), Tally(judged=5)
    try:
        for _ in rounds(duration, 128):
            tally.run(rng, 128)
    finally:
        tally.show()


# ---- the core's own check is a second witness ----


def core_finds(data: bytes, types: tuple[Any, Any]) -> bool:
    memory = StableMemory()
    memory.grow(len(data) // PAGE_SIZE)
    memory.write(0, data)
    try:
        return bool(StableBTreeMap[types].load(memory).violations())
    except StableError:
        return True


def test_what_the_core_finds_in_a_map_is_found(seed):
    rng = random.Random(seed)
    source = flips(rng)
    checked = 0
    while checked < 150:
        kind, number, at, new = next(source)
        name, data, types = images()[number]
        if not name.startswith("btreemap"):
            continue
        checked += 1
        memory = Patched(data, {at: new})
        if core_finds(memory.whole(), types[None]):
            assert noticed(memory, types), f"{name}: {kind} at {at}: the core finds damage, check does not"


# ---- nothing but an answer ----


def wounds(rng: random.Random, data: bytes) -> Patched:
    """A bit, a number, a zeroed block, bytes from elsewhere, or a shorter file."""
    length = len(data.rstrip(b"\0")) or 1
    at = rng.randrange(length)
    what = rng.randrange(6)
    if what == 0:
        return Patched(data, {}, pages=rng.randrange(1, len(data) // PAGE_SIZE + 1))
    if what == 1:
        return Patched(data, {at: rng.choice([bytes(8), b"\xff" * 8, rng.randrange(length).to_bytes(8, "little"), rng.randbytes(8)])})
    if what == 2:
        return Patched(data, {at & ~511: bytes(512)})
    if what == 3:
        other = rng.randrange(length)
        return Patched(data, {at: data[other : other + rng.randrange(1, 2000)]})
    places = [rng.randrange(min(length, 4096)) for _ in range(rng.randrange(1, 6))]
    return Patched(data, {place: rng.randbytes(1) for place in places})


def use_everything(memory: Patched, types: Types | None, tmp: Any) -> None:
    """Every command on a damaged memory; each answers or says why not.

    What repair writes is sound; only an order that was not told may be guessed in another way from what is left.
    """
    inspect(memory, types=types)
    inspect(memory, deep=True)
    check(memory, types=types)
    with open_image(memory) as image:
        read_scene(image, types=types)
        for part in image.parts.values():
            try:
                rows = table(part, types, note=lambda _: None)
                for at, value in rows.rows:
                    rows.value.read(value)
                    if rows.key is not None:
                        rows.key.read(at)
            except (Unreadable, Damage):
                pass
    diff(memory, memory)
    out = tmp / "repaired.bin"
    try:
        results = repair(memory, out, types=types)
    except Unreadable:
        return
    lost = {one.memory for one in results if one.kind == "log data" and one.lost}  # without their index; the bytes are kept
    left = [one for one in check(out, types=types) if "a guess" not in one.rule and not (one.memory in lost and one.rule == NO_INDEX)]
    assert not left, left[:3]
    out.unlink()


ROUNDS = 30
NO_INDEX = "the data of a log have an index"


def wound_one(rng: random.Random, tmp: Any) -> None:
    name, data, types = rng.choice(images())
    state = rng.getstate()
    memory = wounds(rng, data)
    try:
        use_everything(memory, rng.choice([None, types]), tmp)
    except (PastEnd, Damage, Exception) as error:
        error.add_note(f"{name}: patches {dict(list(memory.patches.items())[:5])}, {memory.pages} pages, state {hash(state)}")
        raise


def test_damaged_images_give_answers_and_repair_gives_sound_ones(seed, quick_path):
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        wound_one(rng, quick_path)


@pytest.mark.slow
def test_damaged_images_give_answers_at_length(seed, duration, quick_path):
    rng, done = random.Random(seed), 0
    for done in rounds(duration, 1):  # noqa: B007 - told below
        wound_one(rng, quick_path)
    sys.stdout.write(f"\n{done + 1} damaged images: an answer by every command\n")
