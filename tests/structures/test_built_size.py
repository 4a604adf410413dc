"""A map of `from_sorted` is never larger than one that was filled in order, one by one, and is sound whatever the sizes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stable_structures import Array, Blob, StableBTreeMap, StableBTreeSet, StableMemory, u64

from ..support.places import image

COUNTS = [1, 5, 11, 12, 13, 23, 24, 60, 71, 72, 130, 143, 144, 145, 500, 1727, 1728, 2000]


def both(key: Any, value: Any, entries: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    """The map built from the entries, and filled with them."""
    keys, values = [key for key, _ in entries], [value for _, value in entries]
    built = StableBTreeMap[key, value].from_sorted(StableMemory(), keys, values)
    filled = StableBTreeMap[key, value](StableMemory())
    for k, v in entries:
        filled[k] = v
    return built, filled


def demand_small(built: Any, filled: Any) -> None:
    built.check()
    assert list(built.items()) == list(filled.items())
    assert built.bytes_used().allocated <= filled.bytes_used().allocated
    assert built.memory.size() <= filled.memory.size()


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("sizes", [(24, 32), (8, 24), (8, 8), (1, 300), (32, 128), (29, 1), (100, 700), (4, 2000)])
def test_fixed_sizes(count, sizes):
    key, value = Array(sizes[0]), Array(sizes[1])
    entries = [(i.to_bytes(sizes[0], "big"), bytes([i % 256]) * sizes[1]) for i in range(min(count, 256 ** sizes[0]))]
    demand_small(*both(key, value, entries))


@settings(deadline=None)
@given(
    st.sampled_from([bytes, Blob(60), Blob(400)]),
    st.sampled_from([bytes, Blob(60), Blob(400)]),
    st.sampled_from(COUNTS),
    st.tuples(st.integers(0, 56), st.integers(0, 60)),
    st.integers(0, 2**32),
)
def test_sizes_that_vary(key, value, count, sizes, seed):
    choice = np.random.default_rng(seed)
    entries = [
        (i.to_bytes(4, "big") + b"k" * int(choice.integers(0, sizes[0] + 1)), b"v" * int(choice.integers(0, sizes[1] + 1)))
        for i in range(count)
    ]
    demand_small(*both(key, value, entries))


@pytest.mark.parametrize("count", COUNTS)
def test_sets(count):
    keys = [i.to_bytes(24, "big") for i in range(count)]
    built = StableBTreeSet[Array(24)].from_sorted(StableMemory(), keys)
    filled = StableBTreeSet[Array(24)](StableMemory())
    for key in keys:
        filled.insert(key)
    built.check()
    assert list(built) == keys
    assert built.bytes_used().allocated <= filled.bytes_used().allocated


def test_bytes_of_a_map_whose_full_nodes_fit_are_as_they_were():
    memory = StableMemory()
    StableBTreeMap[u64, str].from_sorted(memory, range(5000), [f"user {i}" for i in range(5000)])
    assert hashlib.sha256(image(memory)).hexdigest().startswith("b6fd8660b305f7d8")


def test_the_map_of_the_report_is_smaller_now():
    entries = [(i.to_bytes(24, "big"), b"v" * 32) for i in range(20_000)]
    built, filled = both(Array(24), Array(32), entries)
    demand_small(built, filled)
    built.remove_many([key for key, _ in entries[::3]])
    built.check()
