"""Images of every structure, damage for them, and everything that can be asked of what is left.

`try_image` does all of it for one number: the same number makes the same image and the same questions.
"""

from __future__ import annotations

import faulthandler
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from stable_structures import (
    PAGE_SIZE,
    Blob,
    CorruptMemory,
    IncompatibleType,
    MemoryManager,
    OutOfMemory,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    u16,
    u32,
    u64,
)

from .golden_replay import pattern
from .memories import ListMemory

SECONDS_PER_IMAGE = 30
SPARE_PAGES = 64

Operation = Callable[[Any, random.Random], Any]


# ---- what lies in an image, and what is asked of it ----


@dataclass
class Kind:
    """A structure: how it is opened, filled, asked and changed."""

    name: str
    open: Callable[..., Any]
    fill: Callable[[Any, random.Random], None]
    questions: list[Operation]
    changes: list[Operation]
    memories: int = 1
    images: list[list[bytes]] = field(default_factory=list)


def short_or_long(random_: random.Random, longest: int) -> bytes:
    return pattern(min(longest, random_.choice([0, 2, 9, 30, random_.randrange(longest)])), random_.randrange(256))


def fill_map(make_key: Operation, make_value: Operation) -> Callable[[Any, random.Random], None]:
    def fill(tree: Any, random_: random.Random) -> None:
        for i in range(random_.choice([0, 3, 40, 150])):
            tree[make_key(tree, random_)] = make_value(tree, random_)
            if i % 4 == 3:
                tree.pop_first()

    return fill


def take(count: int, iterator: Iterator[Any]) -> list[Any]:
    """No more than `count`: a walk through a damaged structure ends, but perhaps late."""
    return [item for _, item in zip(range(count), iterator, strict=False)]


def map_kind(name: str, types: tuple[Any, Any], key: Callable[[random.Random], Any], value: Callable[[random.Random], Any]) -> Kind:
    most = 20_000
    questions: list[Operation] = [
        lambda m, _: len(m),
        lambda m, r: m.get(key(r)),
        lambda m, r: key(r) in m,
        lambda m, _: m.first_key_value(),
        lambda m, _: m.last_key_value(),
        lambda m, _: take(most, iter(m.items())),
        lambda m, _: take(most, reversed(m)),
        lambda m, r: take(most, m.range(key(r), key(r), inclusive=(r.random() < 0.5, r.random() < 0.5), reverse=r.random() < 0.5)),
        lambda m, r: take(most, m.iter_from_prev_key(key(r))),
        lambda m, r: m.range().skip(r.randrange(1000)),
        lambda m, r: m.get_many([key(r) for _ in range(20)]),
        lambda m, r: m.entry(key(r)).get(),
        lambda m, _: m.bytes_used(),
        lambda m, _: m.violations(),
    ]
    changes: list[Operation] = [
        lambda m, r: m.insert(key(r), value(r)),
        lambda m, r: m.insert(key(r), value(r)),
        lambda m, r: m.__setitem__(key(r), value(r)),
        lambda m, r: m.remove(key(r)),
        lambda m, r: m.pop(key(r), None),
        lambda m, r: m.remove(next(iter(m.keys_range(key(r))), key(r))),
        lambda m, _: m.pop_first(),
        lambda m, _: m.pop_last(),
        lambda m, r: m.insert_many([key(r) for _ in range(9)], [value(r) for _ in range(9)]),
        lambda m, r: m.remove_many([key(r) for _ in range(9)]),
        lambda m, r: m.entry(key(r)).set(value(r)),
        lambda m, _: m.clear(),
    ]
    return Kind(name, StableBTreeMap[types], fill_map(lambda _, r: key(r), lambda _, r: value(r)), questions, changes)


ROW_QUESTIONS: list[Operation] = [
    lambda s, _: len(s),
    lambda s, _: take(20_000, iter(s)),
    lambda s, _: s.bytes_used(),
    lambda s, _: s.violations(),
]
SEQUENCE_QUESTIONS: list[Operation] = [
    lambda s, r: s.get(r.choice([0, 1, 5, 70, 2**40])),
    lambda s, r: s[r.randrange(100)],
    lambda s, r: s[-1 - r.randrange(100)],
    lambda s, r: s[r.randrange(50) : r.randrange(100)],
    lambda s, _: take(20_000, reversed(s)),
]


def fill_row(value: Callable[[random.Random], Any], add: str) -> Callable[[Any, random.Random], None]:
    def fill(row: Any, random_: random.Random) -> None:
        for _ in range(random_.choice([0, 2, 100])):
            getattr(row, add)(value(random_))

    return fill


def vec_kind(name: str, element: Any, value: Callable[[random.Random], Any]) -> Kind:
    changes: list[Operation] = [
        lambda v, r: v.push(value(r)),
        lambda v, _: v.pop(),
        lambda v, r: v.set(r.randrange(100), value(r)),
        lambda v, r: v.extend([value(r) for _ in range(9)]),
        lambda v, _: v.clear(),
    ]
    return Kind(name, StableVec[element], fill_row(value, "push"), ROW_QUESTIONS + SEQUENCE_QUESTIONS, changes)


def make_kinds() -> list[Kind]:
    number = lambda r: r.choice([r.randrange(300), r.randrange(2**64)])  # noqa: E731
    heap_value = lambda r: (r.randrange(2**16), short_or_long(r, 20))  # noqa: E731
    return [
        map_kind("map of numbers", (u64, u64), number, number),
        map_kind("map of bytes", (bytes, bytes), lambda r: short_or_long(r, 2500), lambda r: short_or_long(r, 5000)),
        map_kind("map of texts", (str | None, tuple[u16, str, bytes]), lambda r: r.choice([None, "a" * r.randrange(60), str(r.random())]),
                 lambda r: (r.randrange(2**16), "x" * r.randrange(300), short_or_long(r, 900))),
        Kind(
            "set of tuples",
            StableBTreeSet[tuple[Blob(8), u32]],
            lambda s, r: [s.insert((short_or_long(r, 8), r.randrange(50))) for _ in range(r.choice([0, 5, 100]))] and None,
            [*ROW_QUESTIONS, lambda s, r: (short_or_long(r, 8), 5) in s, lambda s, _: s.first(), lambda s, _: s.last(),
             lambda s, r: take(9999, s.range((b"a", r.randrange(9)), None, reverse=r.random() < 0.5))],
            [lambda s, r: s.insert((short_or_long(r, 8), r.randrange(50))), lambda s, r: s.remove((short_or_long(r, 8), r.randrange(50))),
             lambda s, _: s.pop_first(), lambda s, _: s.pop_last(), lambda s, _: s.clear()],
        ),
        vec_kind("vec of numbers", u64, number),
        vec_kind("vec of blobs", Blob(300), lambda r: short_or_long(r, 300)),
        Kind(
            "heap of tuples",
            StableMinHeap[tuple[u16, Blob(20)]],
            fill_row(heap_value, "push"),
            [*ROW_QUESTIONS, lambda h, _: h.peek()],
            [lambda h, r: h.push(heap_value(r)), lambda h, _: h.pop(), lambda h, r: h.push_many([heap_value(r) for _ in range(9)]),
             lambda h, _: h.clear()],
        ),
        Kind(
            "log",
            StableLog[bytes],
            fill_row(lambda r: short_or_long(r, 900), "append"),
            [*ROW_QUESTIONS, *SEQUENCE_QUESTIONS, lambda s, _: s.first(), lambda s, _: s.last(), lambda s, _: s.log_size_bytes()],
            [lambda s, r: s.append(short_or_long(r, 5000)), lambda s, r: s.extend([short_or_long(r, 90)] * 5), lambda s, _: s.clear()],
            memories=2,
        ),
        Kind(
            "cell",
            lambda memory: StableCell[str](memory, "default"),
            lambda cell, r: cell.set("v" * r.choice([0, 50, 70_000])) and None,
            [lambda c, _: c.get(), lambda c, _: c.value, lambda c, _: c.bytes_used(), lambda c, _: c.violations()],
            [lambda c, r: c.set("w" * r.randrange(100_000))],
        ),
    ]  # fmt: skip


def image_of(memory: Any) -> bytes:
    return memory.read(0, memory.size() * PAGE_SIZE)


def memory_of(make: Callable[[int], Any], image: bytes) -> Any:
    memory = make(len(image) // PAGE_SIZE + SPARE_PAGES)
    memory.grow(len(image) // PAGE_SIZE)
    memory.write(0, image)
    return memory


@lru_cache(maxsize=1)
def kinds() -> list[Kind]:
    """Each with some sound images of its own: flat ones, and one of a manager that has it in memory 3 and others around."""
    random_ = random.Random(20)
    made = make_kinds()
    for kind in made:
        for _ in range(5):
            flat = [StableMemory() for _ in range(kind.memories)]
            kind.fill(kind.open(*flat), random_)
            kind.images.append([image_of(memory) for memory in flat])
        for _ in range(3):
            base = StableMemory()
            manager = MemoryManager(base, bucket_pages=1)
            structure = kind.open(*(manager.get(3 + i) for i in range(kind.memories)))
            manager.get(0).grow(1)
            kind.fill(structure, random_)
            kind.images.append([image_of(base)])
    return made


# ---- damage ----


def strange_number(image: bytearray, random_: random.Random) -> int:
    return random_.choice(
        [
            0,
            random_.randrange(300),
            2**64 - 1 - random_.randrange(40),
            1 << random_.randrange(64),
            len(image) - random_.randrange(4000),
            random_.randrange(2**64),
            # Another number of the image, as an address of one thing stands for that of another.
            int.from_bytes(image[(at := place(image, random_)) : at + 8], "little"),
        ]
    )


def place(image: bytearray, random_: random.Random) -> int:
    """An offset: mostly in the headers, or near the beginning of what is there."""
    reach = random_.choice([8, 40, 140, 1200, 6000, len(image)])
    start = random_.choice([0, 0, 0, 2080, PAGE_SIZE, 2 * PAGE_SIZE, random_.randrange(len(image))])
    return min(start + random_.randrange(reach), len(image) - 1)


def damage(image: bytearray, others: list[bytes], random_: random.Random) -> None:
    at, size = place(image, random_), random_.choice([1, 2, 4, 8])
    match random_.randrange(7):
        case 0:
            image[at] ^= 1 << random_.randrange(8)
        case 1:
            image[at] = random_.choice([0, 1, 2, 255, random_.randrange(256)])
        case 2 | 3:
            image[at : at + size] = (strange_number(image, random_) % 256**size).to_bytes(size, "little")[: len(image) - at]
        case 4:
            length = min(random_.randrange(300), len(image) - at)
            image[at : at + length] = random_.randbytes(length)
        case 5:
            other = random_.choice(others)
            from_, length = (random_.randrange(len(other)) if random_.random() < 0.5 else at % len(other)), random_.randrange(3000)
            piece = other[from_ : from_ + length][: len(image) - at]
            image[at : at + len(piece)] = piece
        case 6:
            if len(image) > PAGE_SIZE and random_.random() < 0.4:
                del image[random_.randrange(1, len(image) // PAGE_SIZE) * PAGE_SIZE :]
    del image[len(image) // PAGE_SIZE * PAGE_SIZE :]


# ---- trying ----


class Broken(AssertionError):
    """Something else than an answer or a documented error."""


def expected(error: BaseException) -> bool:
    """What a damaged structure may say: that it is damaged, or is something else; or no memory for what it seems to need."""
    return isinstance(error, (CorruptMemory, IncompatibleType, OutOfMemory, IndexError, KeyError))


def attempt(call: Callable[[], Any]) -> tuple[bool, BaseException | None]:
    """Whether it answered, and its error."""
    try:
        call()
    except Exception as error:
        if not expected(error):
            raise
        return False, error
    return True, None


def open_all(kind: Kind, images: list[bytes], random_: random.Random, *, managed: bool) -> tuple[Any, list[Any]]:
    """The structure, if it can be opened, and the memories at the bottom."""
    make = random_.choice([lambda pages: StableMemory(max_pages=pages), ListMemory])
    bases = [memory_of(make, image) for image in images]
    structure = None
    opened = kind.open
    if hasattr(opened, "load") and random_.random() < 0.5:
        opened = opened.load

    def open_it() -> None:
        nonlocal structure
        memories = bases
        if managed:
            manager = MemoryManager.load(bases[0])
            memories = [manager.get(3 + i) for i in range(kind.memories)]
        structure = opened(*memories)

    attempt(open_it)
    return structure, bases


def ask_and_change(kind: Kind, structure: Any, bases: list[Any], random_: random.Random) -> None:
    attempt(structure.check)
    for _ in range(random_.randrange(12)):
        if random_.random() < 0.5:
            question = random_.choice(kind.questions)
            attempt(lambda question=question: question(structure, random_))
            continue
        change = random_.choice(kind.changes)
        before = [image_of(base) for base in bases]
        answered, error = attempt(lambda change=change: change(structure, random_))
        # An old value that cannot be decoded is put back, which need not give the same bytes; `address` tells the core's errors.
        by_core = isinstance(error, OutOfMemory) or getattr(error, "address", None) is not None
        if not answered and by_core and any(image_of(base)[: len(then)] != then for base, then in zip(bases, before, strict=True)):
            raise Broken(f"{type(structure).__name__}: a refused change left bytes behind: {error!r}")
    attempt(structure.check)


def try_image(seed: int, number: int) -> None:
    """Raises what is wrong; ends the process, with a traceback, where something takes far too long."""
    random_ = random.Random(f"{seed} {number}")
    kind = random_.choice(kinds())
    images = [bytearray(image) for image in random_.choice(kind.images)]
    managed = images[0].startswith(b"MGR")
    others = [image for other in (kind, random_.choice(kinds())) for images_ in other.images for image in images_]
    for _ in range(random_.choice([0, 1, 1, 1, 2, 4])):
        damage(random_.choice(images), others, random_)
    faulthandler.dump_traceback_later(SECONDS_PER_IMAGE, exit=True, file=sys.__stderr__)
    try:
        structure, bases = open_all(kind, [bytes(image) for image in images], random_, managed=managed)
        if structure is not None:
            ask_and_change(kind, structure, bases, random_)
    except Exception as error:
        raise Broken(f"{kind.name}: repeat with try_image({seed}, {number})") from error
    finally:
        faulthandler.cancel_dump_traceback_later()
