"""Damaged memories give answers or CorruptMemory, and check() names each rule that can be broken."""

from __future__ import annotations

import contextlib
import gzip
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stable_structures import (
    PAGE_SIZE,
    BadMagic,
    Blob,
    CorruptMemory,
    IncompatibleType,
    MemoryManager,
    StableBTreeMap,
    StableBTreeSet,
    StableMemory,
    UnsupportedVersion,
    u8,
    u64,
)
from stable_structures.storable import Codec, codec

from ..support.byte_model import ModelMap, Node
from ..support.damaged_images import image_of, memory_of, try_image
from ..support.golden_replay import GOLDEN, pattern
from ..support.memories import ListMemory

# ---- many images ----


def test_damaged_images_give_answers_or_say_what_is_wrong(seed, duration):
    """Some thousands of every structure; tests/fuzz goes on for as long as it is asked to."""
    until, number = time.monotonic() + 2 * duration, 0
    while time.monotonic() < until:
        try_image(seed, number)
        number += 1
    assert number > 50


# ---- one damage at a time ----


class Damaged:
    """A sound map, what the byte model knows about where everything lies, and ways to spoil it."""

    def __init__(self, types: tuple[Any, Any], entries: dict[Any, Any], removed: list[Any]) -> None:
        self.types: tuple[Codec[Any], Codec[Any]] = (codec(types[0]), codec(types[1]))
        memory = StableMemory()
        tree = StableBTreeMap[types](memory)
        tree.update(entries)
        for key in removed:
            del tree[key]
        tree.check()
        self.image = bytearray(image_of(memory))
        bounds = [(c.bound.max_size, c.bound.is_fixed_size) for c in self.types]
        self.model = ModelMap(bounds[0], bounds[1], bytes, bytes(self.image))

    @property
    def root(self) -> Node:
        return self.model.load(self.model.root)

    def child(self, *path: int) -> Node:
        node = self.root
        for i in path:
            node = self.model.load(node.children[i])
        return node

    def leaf_with_overflow(self) -> tuple[Node, list[int]]:
        for node in self.nodes():
            pages = self.model._overflow_pages(node.address)
            if node.leaf and len(pages) > 2:
                return node, pages
        raise LookupError("no leaf has overflow pages")

    def nodes(self, address: int | None = None) -> Iterator[Node]:
        node = self.model.load(self.model.root if address is None else address)
        yield node
        for child in node.children:
            yield from self.nodes(child)

    def free_chunks(self) -> list[int]:
        chunks, at = [], self.number(76)
        while at:
            chunks.append(at)
            at = self.number(at + 8)
        return chunks

    def number(self, at: int, size: int = 8) -> int:
        return int.from_bytes(self.image[at : at + size], "little")

    def put(self, at: int, number: int, size: int = 8) -> None:
        self.image[at : at + size] = number.to_bytes(size, "little")

    def check(self, make: Callable[[int], Any]) -> tuple[CorruptMemory, set[tuple[str, int]]]:
        """What check() raises, and all that violations() finds."""
        tree = StableBTreeMap[self.types].load(memory_of(make, bytes(self.image)))
        with pytest.raises(CorruptMemory) as caught:
            tree.check()
        return caught.value, {(violation.rule, violation.address) for violation in tree.violations()}


def numbers() -> Damaged:
    """Three levels, free chunks, no overflow."""
    return Damaged((u64, u64), {i: i for i in range(150)}, list(range(60, 90)))


def texts() -> Damaged:
    """Two levels, free chunks, leaves with several overflow pages."""
    return Damaged((bytes, bytes), {bytes([i]): pattern(i * 40, i) for i in range(40, 140)}, [bytes([i]) for i in range(60, 80)])


def equals() -> Damaged:
    """Leaves with overflow pages that could be each other's."""
    return Damaged((bytes, bytes), {bytes([i]): pattern(700, 5) for i in range(60)}, [])


def put_keys(d: Damaged, node: Node, first: int, second: int) -> None:
    """Entries change places (u64 keys)."""
    at = node.address + 15 + 8 * len(node.children)
    a, b = at + 8 * first, at + 8 * second
    d.image[a : a + 8], d.image[b : b + 8] = d.image[b : b + 8], d.image[a : a + 8]


def shift_child(d: Damaged) -> None:
    """The keys of a leaf get larger than the entry behind it."""
    leaf = d.child(0, 0)
    for i in range(len(leaf.entries)):
        d.image[leaf.address + 15 + 8 * i] = 1


def lengthen_free_list(d: Damaged) -> None:
    """The end of the free list moves on: chunks between were never used, yet are nowhere."""
    end = d.free_chunks()[-1]
    stride = 16 + d.model.page
    d.put(d.free_chunks()[-2] + 8, end + 3 * stride)
    d.image[end + 3 * stride : end + 3 * stride + 16] = d.image[end : end + 16]


def shorten_free_list(d: Damaged) -> None:
    """The free list ends before chunks that are in use."""
    d.put(d.free_chunks()[0] + 8, 0)


def deepen(d: Damaged) -> None:
    """An internal node below another, so that its leaves are deeper than the others."""
    inner, other = d.child(0), d.child(1)
    d.put(inner.address + 15, other.address)


def circle_of_overflow(d: Damaged) -> None:
    node, pages = d.leaf_with_overflow()
    d.put(pages[-1] + 3, pages[0])
    # The run says that it is longer than the memory could be walked without going in a circle.
    size_at = node.address + 15
    d.put(size_at, 60_000, 4)


def shared_overflow(d: Damaged) -> None:
    """Two leaves with the same overflow pages."""
    nodes = [node for node in d.nodes() if len(d.model._overflow_pages(node.address)) > 1]
    pages = [d.model._overflow_pages(node.address) for node in nodes]
    one, other = next((a, b) for a in range(len(nodes)) for b in range(a) if len(pages[a]) == len(pages[b]))
    d.put(nodes[one].address + 7, pages[other][0])


DAMAGE: dict[str, tuple[Callable[[], Damaged], Callable[[Damaged], None], str]] = {
    "node magic": (numbers, lambda d: d.put(d.child(1).address, 0, 1), "a node begins with BTN"),
    "node version": (numbers, lambda d: d.put(d.child(1).address + 3, 3, 1), "a node has layout version 1 or 2"),
    "layout 1 in a version 2 map": (numbers, lambda d: d.put(d.child(1).address + 3, 1, 1), "layout 1 node lies in a map"),
    "node type": (numbers, lambda d: d.put(d.child(0).address + 4, 2, 1), "leaf (0) or internal (1)"),
    "no entries": (numbers, lambda d: d.put(d.child(0, 0).address + 5, 0, 2), "1 to 11 entries"),
    "too many entries": (numbers, lambda d: d.put(d.child(0, 0).address + 5, 12, 2), "1 to 11 entries"),
    "too few entries": (numbers, lambda d: d.put(d.child(0, 0).address + 5, 4, 2), "a node has at least 5 entries"),
    "root outside": (numbers, lambda d: d.put(12, 2**40), "a node lies inside the memory"),
    "root in the headers": (numbers, lambda d: d.put(12, 60), "a node lies inside the memory"),
    "child outside": (numbers, lambda d: d.put(d.root.address + 15, 2**64 - 10), "a node lies inside the memory"),
    "child is NULL": (numbers, lambda d: d.put(d.root.address + 15, 0), "a node lies inside the memory"),
    "child off the grid": (
        numbers,
        lambda d: (d.put(d.root.address + 15, d.child(0).address + 1), d.image.__setitem__(
            slice(d.child(0).address, d.child(0).address + 276), d.image[d.child(0).address - 1 : d.child(0).address + 275])),
        "a chunk's address lies on the grid of chunks",
    ),
    "child twice": (numbers, lambda d: d.put(d.child(0).address + 15, d.child(0).children[1]), "every chunk is reached once"),
    "child is its parent": (numbers, lambda d: d.put(d.child(0).address + 15, d.root.address), "every chunk is reached once"),
    "chunk of a node is free": (numbers, lambda d: d.put(d.child(0).address - 12, 0, 1), "a chunk in use is marked as allocated"),
    "chunk magic": (numbers, lambda d: d.put(d.child(0).address - 16, 0, 1), "a chunk begins with CHK"),
    "chunk version": (numbers, lambda d: d.put(d.child(0).address - 13, 2, 1), "a chunk has version 1"),
    "chunk flag": (numbers, lambda d: d.put(d.child(0).address - 12, 2, 1), "a chunk's allocated flag is 0 or 1"),
    "order in a node": (numbers, lambda d: put_keys(d, d.child(0, 0), 1, 2), "keys ascend strictly"),
    "order below an entry": (numbers, shift_child, "keys ascend strictly"),
    "equal keys": (numbers, lambda d: d.put(d.child(0, 0).address + 15 + 8, d.number(d.child(0, 0).address + 15)), "keys ascend strictly"),
    "depth": (numbers, deepen, "all leaves have one depth"),
    "length": (numbers, lambda d: d.put(20, 121), "a map's length counts its entries"),
    "allocated count": (numbers, lambda d: d.put(68, 3), "the number of allocated chunks counts them"),
    "free list head": (numbers, lambda d: d.put(76, d.free_chunks()[1]), "every chunk is in the tree or on the free list"),
    "free list outside": (numbers, lambda d: d.put(d.free_chunks()[0] + 8, 2**50 * 291 + 100), "a chunk lies inside the memory"),
    "free list off the grid": (numbers, lambda d: d.put(76, 2**40), "grid of chunks"),
    "free list in a circle": (numbers, lambda d: d.put(d.free_chunks()[2] + 8, d.free_chunks()[0]), "every chunk is reached once"),
    "free list on itself": (numbers, lambda d: d.put(d.free_chunks()[0] + 8, d.free_chunks()[0]), "every chunk is reached once"),
    "free list in the tree": (numbers, lambda d: d.put(d.free_chunks()[0] + 8, d.root.address - 16), "free list is not allocated"),
    "free chunk is allocated": (numbers, lambda d: d.put(d.free_chunks()[1] + 4, 1, 1), "a chunk of the free list is not allocated"),
    "free list too long": (numbers, lengthen_free_list, "every chunk is in the tree or on the free list"),
    "free list too short": (numbers, shorten_free_list, "the free list ends behind the last chunk"),
    "overflow magic": (texts, lambda d: d.put(d.leaf_with_overflow()[1][1], 0, 1), "an overflow page begins with NOF"),
    "overflow outside": (texts, lambda d: d.put(d.leaf_with_overflow()[1][0] + 3, 2**60), "an overflow page lies inside the memory"),
    "overflow too short": (texts, lambda d: d.put(d.leaf_with_overflow()[1][0] + 3, 0), "a node's run ends inside its pages"),
    "overflow too long": (texts, lambda d: d.put(d.leaf_with_overflow()[1][-1] + 3, d.leaf_with_overflow()[1][0]), "ends with the run"),
    "overflow page is free": (texts, lambda d: d.put(d.leaf_with_overflow()[1][2] - 12, 0, 1), "a chunk in use is marked as allocated"),
    "overflow twice": (equals, shared_overflow, "every chunk is reached once"),
    "overflow in a circle": (texts, circle_of_overflow, "a node's run"),
    "overflow dropped": (texts, lambda d: d.put(d.leaf_with_overflow()[0].address + 7, 0), "a node's run ends inside its pages"),
    "run past the memory": (texts, lambda d: d.put(d.leaf_with_overflow()[0].address + 15, 2**32 - 1, 4), "a node's run fits the memory"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(DAMAGE))
@pytest.mark.parametrize("make", [lambda pages: StableMemory(max_pages=pages), ListMemory], ids=["flat", "python"])
def test_check_names_what_is_broken(name, make):
    build, spoil, rule = DAMAGE[name]
    damaged = build()
    spoil(damaged)
    error, found = damaged.check(make)
    assert (error.rule, error.address) in found
    assert error.rule in str(error)
    assert f"at byte {error.address:#x}" in str(error)
    assert any(rule in broken for broken, _ in found), found


def test_check_finds_more_than_one():
    damaged = numbers()
    damaged.put(20, 5)
    put_keys(damaged, damaged.child(0, 0), 0, 3)
    put_keys(damaged, damaged.child(1, 1), 0, 1)
    damaged.put(damaged.child(2).address + 4, 9, 1)
    tree = StableBTreeMap[u64, u64].load(memory_of(lambda pages: StableMemory(max_pages=pages), bytes(damaged.image)))
    found = {(violation.rule, violation.address) for violation in tree.violations()}
    assert ("keys ascend strictly", damaged.child(0, 0).address) in found
    assert ("keys ascend strictly", damaged.child(1, 1).address) in found
    assert any(rule == "a map's length counts its entries" for rule, _ in found)
    assert any(rule.startswith("a node is a leaf") for rule, _ in found)


def test_keys_and_values_outside_the_bound_of_their_types_are_named():
    memory = StableMemory()
    tree = StableBTreeMap[Blob(8), Blob(8)](memory)
    # The root, which opening looks at, has short ones only.
    tree.update({b"%03d" % i: b"" for i in range(200)})
    tree[b"00000001"] = b"12345678"
    tree.into_memory()
    smaller = StableBTreeMap[Blob(4), Blob(8)](memory)
    with pytest.raises(CorruptMemory, match="a key fits its type"):
        smaller.check()
    smaller.into_memory()
    with pytest.raises(CorruptMemory, match="a value fits its type"):
        StableBTreeMap[Blob(8), Blob(4)](memory).check()


def structural_bytes(d: Damaged) -> list[int]:
    """Offsets whose every bit has a meaning: all but reserved and stale bytes, and the bytes of keys and values."""
    offsets = [*range(28), *range(52, 56), *range(60, 84)]
    nodes = list(d.nodes())
    for node in nodes:
        count, sizes_at = len(node.entries), node.address + 15 + 8 * len(node.children) + 8 * len(node.entries)
        offsets += [*range(node.address - 16, node.address - 11), *range(node.address, node.address + 15 + 8 * len(node.children))]
        offsets += [sizes_at + 12 * i + j for i in range(count) for j in range(4)]
    for chunk in d.free_chunks():
        offsets += [*range(chunk, chunk + 5), *range(chunk + 8, chunk + 16)]
    return offsets


def test_check_notices_every_bit_that_has_a_meaning():
    """Each bit of each header, count, address and size of a map, one by one."""
    damaged = numbers()
    memory = memory_of(lambda pages: StableMemory(max_pages=pages), bytes(damaged.image))
    tree = StableBTreeMap[u64, u64].load(memory)
    unnoticed = []
    for offset in structural_bytes(damaged):
        for bit in range(8):
            memory.write(offset, bytes([damaged.image[offset] ^ 1 << bit]))
            try:
                tree.check()
            except CorruptMemory:
                pass
            else:
                unnoticed.append((offset, bit))
        memory.write(offset, damaged.image[offset : offset + 1])
    tree.check()
    assert unnoticed == []


# ---- what a structure is, and what it is not ----


def test_a_memory_with_something_else_is_told_apart():
    memory = StableMemory()
    for load in (lambda: StableBTreeMap[u64, u64].load(memory), lambda: MemoryManager.load(memory)):
        with pytest.raises(BadMagic):
            load()
        memory.grow(1)
        with pytest.raises(BadMagic):
            load()
    memory.write(0, b"BTR\3")
    with pytest.raises(UnsupportedVersion):
        StableBTreeMap[u64, u64](memory)
    memory.write(0, b"BTR\2" + (127).to_bytes(4, "little") + b"\xff\xff\xff\xff")
    with pytest.raises(CorruptMemory, match="at least 128"):
        StableBTreeMap[u64, u64](memory)
    assert len(StableBTreeMap[u64, u64].new(memory)) == 0


def test_a_version_1_map_refuses_types_that_its_slots_cannot_hold():
    image = gzip.decompress((GOLDEN / "btreemap_v1_u64_blob100.v1.bin.gz").read_bytes())
    cases = [((u64, Blob(100)), False), ((u64, Blob(101)), True), ((Blob(9), Blob(100)), True), ((u64, bytes), True), ((bytes, u8), True)]
    for types, refused in cases:
        memory = memory_of(lambda pages: StableMemory(max_pages=pages), image)
        if refused:
            with pytest.raises(IncompatibleType, match="version 1 map"):
                StableBTreeMap[types](memory)
        else:
            StableBTreeMap[types](memory).check()
        assert image_of(memory)[: len(image)] == image


def test_a_map_of_other_types_is_an_error_or_an_answer_and_never_changes_by_reading():
    damaged = texts()
    image = bytes(damaged.image)
    for types in ((u64, u64), (str, str), (Blob(1), bytes), (u8, u64), (tuple[u8, str, bytes], u8)):
        memory = memory_of(lambda pages: StableMemory(max_pages=pages), image)
        with contextlib.suppress(CorruptMemory, IncompatibleType):
            tree = StableBTreeMap[types](memory)
            for use in (lambda t=tree: list(t.items()), tree.check, tree.first_key_value):
                with contextlib.suppress(CorruptMemory, IncompatibleType):
                    use()
        assert image_of(memory)[: len(image)] == image


def test_a_page_cut_off_is_noticed_and_what_is_left_can_be_read():
    entries = {i.to_bytes(2, "big"): pattern(300, i % 256) for i in range(900)}
    tree = StableBTreeMap[bytes, bytes](StableMemory())
    tree.update(entries)
    image = image_of(tree.memory)
    for pages in range(1, len(image) // PAGE_SIZE):
        memory = memory_of(lambda limit: StableMemory(max_pages=limit), image[: pages * PAGE_SIZE])
        cut = StableBTreeMap[bytes, bytes](memory)
        with pytest.raises(CorruptMemory, match="inside the memory"):
            cut.check()
        read = 0
        for key, value in entries.items():
            try:
                assert cut.get(key) == value
                read += 1
            except CorruptMemory:
                continue
        assert read < len(entries)


# ---- managers ----


def managed_map() -> tuple[bytes, dict[int, int]]:
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    entries = {i: i * i for i in range(6000)}
    tree = StableBTreeMap[u64, u64](manager.get(3))
    for key, value in entries.items():
        tree[key] = value
        if key % 1000 == 0:
            manager.get(0).grow(1)
    return image_of(memory), entries


MANAGER_DAMAGE = {
    "magic": (0, b"XGR", BadMagic),
    "version": (3, b"\2", UnsupportedVersion),
    "too many buckets": (4, b"\1\x80", CorruptMemory),
    "no bucket size": (6, b"\0\0", CorruptMemory),
    "other bucket size": (6, b"\7\0", CorruptMemory),
    "size beyond its buckets": (40 + 8 * 3, b"\xff\0\0\0\0\0\0\0", CorruptMemory),
    "size beyond everything": (40 + 8 * 3, b"\xff" * 8, CorruptMemory),
    "size too small": (40 + 8 * 3, b"\1\0\0\0\0\0\0\0", CorruptMemory),
    "size of nothing": (40 + 8 * 3, bytes(8), CorruptMemory),
    "bucket of another": (2080, b"\0", CorruptMemory),
    "bucket of nobody": (2081, b"\xff", CorruptMemory),
    "buckets beyond the last": (2080 + 500, b"\3", CorruptMemory),
}


@pytest.mark.parametrize("name", sorted(MANAGER_DAMAGE))
def test_damage_of_a_manager_is_an_error_and_not_a_wrong_answer(name):
    image, entries = managed_map()
    at, data, error = MANAGER_DAMAGE[name]
    memory = memory_of(lambda pages: StableMemory(max_pages=pages), image)
    memory.write(at, data)
    with pytest.raises(error):
        use_all(MemoryManager.load(memory), entries)
    sound = memory_of(lambda pages: StableMemory(max_pages=pages), image)
    manager = MemoryManager.load(sound)
    tree = StableBTreeMap[u64, u64].load(manager.get(3))
    sound.write(at, data)
    with pytest.raises(CorruptMemory):
        check_both(tree, manager)
    sound.write(0, image[:PAGE_SIZE])
    check_both(tree, manager)
    assert tree == entries


def use_all(manager: MemoryManager, entries: dict[int, int]) -> None:
    tree = StableBTreeMap[u64, u64].load(manager.get(3))
    tree.check()
    manager.check()
    assert tree == entries


def check_both(tree: StableBTreeMap[Any, Any], manager: MemoryManager) -> None:
    tree.check()
    manager.check()


def test_repairing_what_was_damaged_makes_a_live_map_sound_again():
    image, entries = managed_map()
    memory = memory_of(lambda pages: StableMemory(max_pages=pages), image)
    tree = StableBTreeMap[u64, u64].load(MemoryManager.load(memory).get(3))
    memory.write(2080, b"\xff" * 3)
    with pytest.raises(CorruptMemory):
        list(tree)
    memory.write(0, image[:PAGE_SIZE])
    tree.check()
    assert tree == entries


@pytest.mark.parametrize("said", [0, 1, 499, 501, 2**20, 2**40, 2**61])
@pytest.mark.parametrize("kind", [StableBTreeMap[u64, u64], StableBTreeSet[u64]])
def test_whole_arrays_are_not_of_another_length_than_the_header_says(kind, said):
    """A slice of an array would hide the entries that are missing."""
    memory = StableMemory()
    tree = kind.from_sorted(memory, *[range(500)] * len(kind._codecs))
    tree.into_memory()
    at = memory.read(0, 64).index((500).to_bytes(8, "little"))
    memory.write(at, said.to_bytes(8, "little"))
    tree = kind.load(memory)
    with pytest.raises(CorruptMemory, match=f"have 500 entries, its header says {said:,}"):
        tree.to_numpy()
    tree.into_memory()
    memory.write(at, (500).to_bytes(8, "little"))
    assert len(kind.load(memory).to_numpy(stop=400)[-1 if kind._codecs[1:] else slice(None)]) == 400
