# SPDX-License-Identifier: Apache-2.0
"""The inspector's map builder and that of the core make equal maps of the same entries: two programs, one format."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stable_structures import Array, Blob, StableBTreeMap, StableMemory, u32
from stable_structures.inspect import Unreadable, check, open_image
from stable_structures.inspect.formats.layout import Damage
from stable_structures.inspect.rewrite import build
from stable_structures.inspect.rewrite.build import MapBuilder, Output, form_of, in_batches
from stable_structures.storable import codec

from ..support.examples import examples
from ..support.places import image

pytestmark = pytest.mark.usefixtures("without_fsync")

TYPES: list[tuple[Any, Any]] = [(u32, Array(7)), (u32, bytes), (Blob(40), bytes), (bytes, Blob(300)), (Array(12), u32)]


def key_of(tp: Any, i: int) -> Any:
    return i if tp is u32 else i.to_bytes(12, "big") if tp == Array(12) else i.to_bytes(4, "big") + b"k" * (i * 7 % 30)


def value_of(tp: Any, i: int, size: int) -> Any:
    return i if tp is u32 else bytes([i % 256]) * (7 if tp == Array(7) else i * size % (size + 1))


def by_inspector(built: Any, types: tuple[Any, Any]) -> StableMemory:
    """The entries of a map, packed by the inspector in the form of that map."""
    reader = open_image(built.memory).part(None).open(*map(codec, types))
    memory = StableMemory()
    encoded = list(reader.entries())
    MapBuilder(form_of(reader, layout_1=False), Output(memory)).build(in_batches(encoded), len(encoded))
    return memory


@pytest.mark.parametrize("types", TYPES, ids=str)
@settings(deadline=None, max_examples=examples(25))
@given(st.integers(0, 1800), st.integers(0, 250))
@example(0, 0)
@example(1, 9)
@example(11, 9)
@example(12, 9)
@example(143, 60)
@example(144, 60)
@example(1728, 250)
def test_both_builders_make_sound_maps_of_the_same_entries(types, count, size):
    key, value = types
    keys, values = sorted(key_of(key, i) for i in range(count)), [value_of(value, i, size) for i in range(count)]
    built = StableBTreeMap[key, value].from_sorted(StableMemory(), keys, values)
    memory = by_inspector(built, types)
    assert not check(memory, types={None: (codec(key), codec(value))})
    assert image(memory)[:12] == image(built.memory)[:12]  # magic, version, page size
    packed = StableBTreeMap[key, value].load(memory)
    packed.check()
    assert list(packed.items()) == list(built.items()) == list(zip(keys, values, strict=True))
    for i in range(count, count + 30):  # the core goes on with what the inspector wrote
        for one in (packed, built):
            one[key_of(key, 10_000 + i)] = value_of(value, i, size)
    packed.check()
    assert list(packed.items()) == list(built.items())


@settings(max_examples=examples(60), deadline=None)
@given(
    key_fixed=st.none() | st.integers(0, 40),
    largest=st.integers(0, 200),
    page=st.integers(128, 4096),
    sizes=st.lists(st.integers(0, 200), min_size=1, max_size=400),
)
def test_where_no_full_node_overflows_full_nodes_are_best(key_fixed, largest, page, sizes):
    form = build.MapForm(2, page, build.UNBOUNDED_MARK, page, key_fixed)
    with build.Sizes() as given:
        given.add(np.array([min(size, largest) for size in sizes], np.uint64))
        if build.fits_always(form, largest):
            assert build.best_filling(form, given) == (build.FULL, build.full_chunks(form, len(sizes)))


@settings(max_examples=examples(60), deadline=None)
@given(
    key_fixed=st.none() | st.integers(0, 40),
    page=st.integers(128, 1024),
    sizes=st.lists(st.integers(0, 300), max_size=700),
    filling=st.tuples(st.integers(5, 11), st.integers(5, 11)),
    pieces=st.integers(1, 99),
)
def test_what_is_measured_by_sizes_is_what_is_written(key_fixed, page, sizes, filling, pieces):
    form, memory = build.MapForm(2, page, build.UNBOUNDED_MARK, page, key_fixed), StableMemory()
    key = bytes(key_fixed or 0)
    with pytest.MonkeyPatch.context() as patch, build.Sizes() as given:
        patch.setattr(build, "_SIZES", pieces)
        for at in range(0, len(sizes), 50):
            given.add(np.array(sizes[at : at + 50], np.uint64) + np.uint64(len(key)))
        ((chunks, nodes),) = build._measured(form, [filling], given)
    MapBuilder(form, Output(memory), filling).build(in_batches((key, bytes(size)) for size in sizes), len(sizes))
    data = memory.read(0, memory.nbytes)
    assert int.from_bytes(data[68:76], "little") == chunks
    assert data.count(b"BTN\2") == nodes


@pytest.mark.parametrize("entries_first", [True, False])
def test_sizes_and_entries_do_not_mix(entries_first):
    pack = build.native.Pack(build._numbers(build.MapForm(2, 256, build.UNBOUNDED_MARK, 256, None), build.FULL), 500)
    steps = [lambda: [pack.feed(one) for one in in_batches([(b"k", b"v")] * 20)], lambda: pack.measure(20)]
    steps[not entries_first]()
    with pytest.raises(ValueError, match="packing a map"):
        steps[entries_first]()


def test_more_sizes_than_were_said_are_refused():
    pack = build.native.Pack(build._numbers(build.MapForm(2, 256, build.UNBOUNDED_MARK, 256, None), build.FULL), 20)
    with pytest.raises(ValueError, match="packing a map"):
        pack.measure(21)


def test_fits_always_is_true_for_numbers_and_false_for_long_texts():
    form = build.MapForm(2, 1024, build.UNBOUNDED_MARK, 1024, 8)
    assert build.fits_always(form, 16)
    assert not build.fits_always(form, 100)


def test_an_output_that_cannot_grow_says_so():
    with pytest.raises(Unreadable, match="does not fit the new image"):
        Output(StableMemory(max_pages=1)).reach(65_537)


@pytest.mark.parametrize("count", [9, 10, 11, 30])
def test_a_map_is_built_of_as_many_entries_as_were_said_or_not_at_all(count):
    """A header would count others than there are."""
    entries = [(i.to_bytes(4, "big"), b"value") for i in range(10)]
    source = StableMemory()
    StableBTreeMap[u32, bytes](source)
    form, memory = form_of(open_image(source).part(None).open(codec(u32), codec(bytes)), layout_1=False), StableMemory()
    if count == 10:
        MapBuilder(form, Output(memory)).build(in_batches(entries), count)
        assert check(memory) == []
        return
    with pytest.raises(Damage, match="a map's length counts its entries"):
        MapBuilder(form, Output(memory)).build(in_batches(entries), count)
