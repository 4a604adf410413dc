"""Tables for notebooks: escaped, bounded, and there even if the structure is damaged."""

from __future__ import annotations

import re

import pytest

from stable_structures import (
    Cbor,
    MemoryManager,
    Principal,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    open_image,
    u64,
)

HOSTILE = "<script>alert(1)</script>\x1b[31m&\"'"


def text_of(html):
    return re.sub(r"<[^>]*>", " ", html)


def test_a_map_shows_its_first_rows_types_and_sizes():
    made = StableBTreeMap[u64, str](StableMemory())
    made.update({i: f"user {i}" for i in range(1000)})
    html = made._repr_html_()
    assert html.count("<tr>") == 11
    for word in ("StableBTreeMap[u64, str]", "key: u64", "value: str", "user 9", "1,000 entries, the first 10 shown", "bytes used"):
        assert word in html
    assert "user 10" not in html


def test_whatever_is_in_it_is_escaped_and_short():
    made = StableBTreeMap[str, Cbor](StableMemory())
    made.update({HOSTILE: [HOSTILE] * 1000, "long": "x" * 100_000, "deep": {"a": {"b": {"c": {"d": {"e": {}}}}}}})
    html = made._repr_html_()
    assert "<script" not in html
    assert "\x1b" not in html
    assert len(html) < 4000


@pytest.mark.parametrize("kind", [StableVec, StableMinHeap, StableLog, StableBTreeSet, StableCell])
def test_every_structure_has_one(kind):
    memories = [StableMemory() for _ in range(2 if kind is StableLog else 1)]
    if kind is StableCell:
        made = kind[Principal](*memories, Principal(b"\1"))
    else:
        made = kind[Principal](*memories)
        getattr(made, {StableMinHeap: "push_many", StableBTreeSet: "insert_many"}.get(kind, "extend"))([Principal(b"\1")])
    assert str(Principal(b"\1")) in made._repr_html_()
    assert "1 entries" in made._repr_html_()


def test_a_dead_or_damaged_one_says_so():
    memory = StableMemory()
    made = StableBTreeMap[u64, str](memory)
    made.update(dict.fromkeys(range(100), "x"))
    memory.write(20, b"\xff" * 7)
    assert "<table>" in made._repr_html_()
    memory.close()
    assert "Closed" in made._repr_html_()


def test_an_image_shows_its_memories():
    memory = StableMemory()
    manager = MemoryManager(memory)
    StableBTreeMap[u64, str](manager.get(0)).update({1: HOSTILE})
    StableVec[u64](manager.get(1)).extend(range(7))
    manager.get(2).grow(1)
    with open_image(memory) as image:
        html = image._repr_html_()
        assert "vec[u64?]" in html
        assert "<script" not in html
        assert "7" in text_of(html)
    assert "closed" in image._repr_html_()
