"""Damaged images: never anything but an answer, and what `check` finds, by the kind of what was damaged.

`DAMAGED=100000 pytest -s -m slow tests/test_inspect_damage.py` takes that many, and prints the fractions.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from stable_structures import PAGE_SIZE, StableBTreeMap, StableError, StableMemory
from stable_structures.inspect import Unreadable, check, inspect, open_image
from stable_structures.inspect.compare import diff
from stable_structures.inspect.dump import table
from stable_structures.inspect.layout import Damage
from stable_structures.inspect.salvage import repair
from stable_structures.inspect.scene import read_scene
from stable_structures.inspect.source import PastEnd

from .inspect_images import Meaning, Patched, fuller, golden, meanings, traces, types_of

NO_RULE = {  # kinds of which no rule can know, whatever is told: other bytes that mean something else are as good
    "cell: value",
    "log: entries",
    "node: value",
    "node: key",
    "row: element",
}
IN_PART = {  # kinds of which some changes give another sound memory: shorter, or with a boundary elsewhere
    "cell: size": 0.2,
    "log: count": 0.8,
    "log: ends": 0.75,
    "manager: sizes": 0.85,
    "node: key size": 0.85,
    "node: value size": 0.8,
    "row: element bound": 0.7,
    "row: element size": 0.3,
    "row: length": 0.6,
}


@cache
def images() -> list[tuple[str, bytes, dict[int | None, tuple[Any, Any]]]]:
    single = [name for name in traces() if not name.startswith("log")]  # two memories: those of the canisters are in one
    return [(name, fuller(name) if name.startswith("vec") else golden(name)[0], types_of(name)) for name in single]


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


def noticed(memory: Patched, types: dict[int | None, tuple[Any, Any]] | None = None) -> bool:
    """Whether `check` says damaged, or not recognised."""
    return bool(check(memory, types=types)) or open_image(memory).recognition.kind == "unknown"


def measure(rng: random.Random, trials: int) -> tuple[Counter[str], Counter[str], Counter[str]]:
    tried, found, with_types = Counter[str](), Counter[str](), Counter[str]()
    source = flips(rng)
    for _ in range(trials):
        kind, number, at, new = next(source)
        _, data, types = images()[number]
        memory = Patched(data, {at: new})
        tried[kind] += 1
        found[kind] += noticed(memory)
        with_types[kind] += noticed(memory, types)
    return tried, found, with_types


def judge(tried: Counter[str], found: Counter[str], with_types: Counter[str]) -> None:
    rows = [f"{kind:34}{tried[kind]:8}{found[kind] / tried[kind]:8.1%}{with_types[kind] / tried[kind]:12.1%}" for kind in sorted(tried)]
    sys.stdout.write("\n".join(["", f"{'one bit in':34}{'tried':>8}{'found':>8}{'with types':>12}", *rows, ""]))
    for kind, count in tried.items():
        assert count < 30 or with_types[kind] >= found[kind] * 0.9, kind
        if kind not in NO_RULE | IN_PART.keys():
            assert found[kind] == count, f"{kind}: {count - found[kind]} of {count} not found"
        elif kind in IN_PART and count >= 30:
            assert with_types[kind] >= IN_PART[kind] * count, f"{kind}: only {with_types[kind]} of {count} found"


def test_one_bit_of_what_means_something_is_found(seed):
    judge(*measure(random.Random(seed), 320))


@pytest.mark.slow
def test_one_bit_of_what_means_something_is_found_at_length(seed, duration):
    """By default for --duration seconds; with DAMAGED=n for so many images."""
    rng, wanted = random.Random(seed), os.environ.get("DAMAGED")
    totals = (Counter[str](), Counter[str](), Counter[str]())
    start = time.monotonic()
    while (time.monotonic() - start < duration) if wanted is None else (sum(totals[0].values()) < int(wanted)):
        for total, more in zip(totals, measure(rng, 128), strict=True):
            total.update(more)
    judge(*totals)


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
    while checked < 300:
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


def use_everything(memory: Patched, types: dict[int | None, tuple[Any, Any]] | None, tmp: Any) -> None:
    """Every command on a damaged memory; each gives an answer or says why not.

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
        repair(memory, out, types=types)
    except Unreadable:
        return
    left = [one for one in check(out, types=types) if "a guess" not in one.rule]
    assert not left, left[:3]
    out.unlink()


ROUNDS = 30


def wound_one(rng: random.Random, tmp: Any) -> None:
    name, data, types = rng.choice(images())
    state = rng.getstate()
    memory = wounds(rng, data)
    try:
        use_everything(memory, rng.choice([None, types]), tmp)
    except (PastEnd, Damage, Exception) as error:
        error.add_note(f"{name}: patches {dict(list(memory.patches.items())[:5])}, {memory.pages} pages, state {hash(state)}")
        raise


def test_damaged_images_give_answers_and_repair_gives_sound_ones(seed, tmp_path):
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        wound_one(rng, tmp_path)


@pytest.mark.slow
def test_damaged_images_give_answers_at_length(seed, duration, tmp_path):
    rng, start = random.Random(seed), time.monotonic()
    while time.monotonic() - start < duration:
        wound_one(rng, tmp_path)
