"""`shrink` never makes a map larger, and packs it in the way that takes the fewest chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stable_structures import Array, Blob, MemoryManager, StableBTreeMap, StableMemory, u64
from stable_structures.inspect import check, inspect
from stable_structures.inspect.rewrite.rewrite import shrink

from ..support.examples import examples
from ..support.places import filled

pytestmark = pytest.mark.usefixtures("without_fsync")


def demand_smaller(memory: StableMemory, types: tuple[Any, Any], folder: Any) -> tuple[int, int]:
    """Shrinks it; returns the chunks before and after."""
    out = folder / "out.bin"
    out.unlink(missing_ok=True)
    done = shrink(memory, out)
    assert done.after <= done.before
    before, after = inspect(memory).memories[0], inspect(out).memories[0]
    assert check(out) == []
    small = StableBTreeMap[types].load(filled(StableMemory(), out.read_bytes()))
    small.check()
    assert list(small.items()) == list(StableBTreeMap[types].load(memory).items())
    return before.allocated or 0, after.allocated or 0


@pytest.mark.parametrize("count", [1, 11, 12, 71, 145, 2000])
@pytest.mark.parametrize("sizes", [(24, 32), (24, 24), (8, 8), (32, 128), (100, 700)])
@pytest.mark.parametrize("how", ["inserted", "built", "shuffled"])
def test_fixed_sizes(count, sizes, how, tmp_path):
    types = Array(sizes[0]), Array(sizes[1])
    keys = [i.to_bytes(sizes[0], "big") for i in range(count)]
    values = [bytes([i % 256]) * sizes[1] for i in range(count)]
    memory = StableMemory()
    if how == "built":
        StableBTreeMap[types].from_sorted(memory, keys, values)
    else:
        order = np.random.default_rng(1).permutation(count) if how == "shuffled" else range(count)
        StableBTreeMap[types](memory).insert_many([keys[i] for i in order], [values[i] for i in order])
    before, after = demand_smaller(memory, types, tmp_path)
    assert after <= before


@settings(deadline=None, max_examples=examples(40))
@given(st.sampled_from([bytes, Blob(60), Blob(400)]), st.integers(0, 300), st.integers(1, 300), st.integers(0, 2**32))
def test_sizes_that_vary(tmp_path_factory, tp, count, most, seed):
    choice = np.random.default_rng(seed)
    memory = StableMemory()
    entries = {
        int(k): b"v" * int(choice.integers(0, min(most, tp.bound.max_size if isinstance(tp, Blob) else most) + 1)) for k in range(count)
    }
    StableBTreeMap[u64, tp](memory).insert_many(list(entries), list(entries.values()))
    demand_smaller(memory, (u64, tp), tmp_path_factory.mktemp("shrunk"))


def test_the_memory_of_the_report(tmp_path):
    memory = StableMemory()
    entries = StableBTreeMap[Array(24), Array(32)](MemoryManager(memory, bucket_pages=1).get(0))
    entries.insert_many([i.to_bytes(24, "big") for i in range(20_000)], [b"v" * 32] * 20_000)
    done = shrink(memory, tmp_path / "out.bin")
    assert done.after < 0.7 * done.before
