# SPDX-License-Identifier: Apache-2.0
"""Every public operation of the crate ic-stable-structures 0.7.2: what it is here, and the test that proves it.

A row is (the crate's item, ours, the test). Ours is a dotted name of the package, or None if there is none; then the
last column has the reason instead. The items are those of the crate's documentation on docs.rs.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

import stable_structures

MAP = "test_btreemap.py::test_map_is_its_twins"
SET = "test_btreeset.py::test_behaves_as_a_set"
VEC = "test_vec.py::test_behaves_as_a_list"
LOG = "test_log.py::test_behaves_as_a_list"
HEAP = "test_minheap.py::test_keeps_the_slots_of_the_format"
CELL = "test_cell.py::test_behaves_as_a_variable"
TRACES = "test_golden.py::test_trace"
CANISTERS = "test_golden.py::test_canister_trace"
NO_CACHE = "nodes are searched where they lie in memory: there is no cache of nodes to size or measure"
TESTS_ONLY = "for the crate's own tests; version 1 maps are loaded, not made"

TABLE = [
    # BTreeMap
    ("BTreeMap::init", "StableBTreeMap", TRACES),
    ("BTreeMap::new", "StableBTreeMap.new", "test_bulk.py::test_building_needs_ascending_keys"),
    ("BTreeMap::load", "StableBTreeMap.load", MAP),
    ("BTreeMap::init_v1", None, TESTS_ONLY),
    ("BTreeMap::new_v1", None, TESTS_ONLY),
    ("BTreeMap::with_node_cache", None, NO_CACHE),
    ("BTreeMap::node_cache_resize", None, NO_CACHE),
    ("BTreeMap::node_cache_num_slots", None, NO_CACHE),
    ("BTreeMap::node_cache_clear", None, NO_CACHE),
    ("BTreeMap::node_cache_reset_metrics", None, NO_CACHE),
    ("BTreeMap::node_cache_metrics", None, NO_CACHE),
    ("BTreeMap::node_cache_heap_usage", None, NO_CACHE),
    ("BTreeMap::insert", "StableBTreeMap.insert", MAP),
    ("BTreeMap::get", "StableBTreeMap.get", MAP),
    ("BTreeMap::contains_key", "StableBTreeMap.contains_key", MAP),
    ("BTreeMap::is_empty", "StableBTreeMap.is_empty", MAP),
    ("BTreeMap::len", "StableBTreeMap.__len__", MAP),
    (
        "BTreeMap::into_memory",
        "StableBTreeMap.into_memory",
        "test_btreemap.py::test_a_second_map_on_the_memory_is_refused_until_the_first_gives_it_back",
    ),
    ("BTreeMap::clear", "StableBTreeMap.clear", MAP),
    ("BTreeMap::clear_new", "StableBTreeMap.clear_new", MAP),
    ("BTreeMap::first_key_value", "StableBTreeMap.first_key_value", MAP),
    ("BTreeMap::last_key_value", "StableBTreeMap.last_key_value", MAP),
    ("BTreeMap::remove", "StableBTreeMap.remove", MAP),
    ("BTreeMap::pop_last", "StableBTreeMap.pop_last", MAP),
    ("BTreeMap::pop_first", "StableBTreeMap.pop_first", MAP),
    ("BTreeMap::iter", "StableBTreeMap.iter", MAP),
    ("BTreeMap::range", "StableBTreeMap.range", MAP),
    ("BTreeMap::iter_from_prev_key", "StableBTreeMap.iter_from_prev_key", MAP),
    ("BTreeMap::iter_upper_bound", None, "deprecated in the crate in favour of iter_from_prev_key, which is here"),
    ("BTreeMap::keys", "StableBTreeMap.keys", MAP),
    ("BTreeMap::keys_range", "StableBTreeMap.keys_range", MAP),
    ("BTreeMap::values", "StableBTreeMap.values", MAP),
    ("BTreeMap::values_range", "StableBTreeMap.values_range", MAP),
    ("Iter::next, next_back", "StableBTreeMap.range", MAP),
    ("Iter::nth", "StableBTreeMap.range", "test_btreemap.py::test_skip_takes_any_count"),
    ("LazyEntry::key, value, into_pair", "StableBTreeMap.items", MAP),
    # BTreeSet
    ("BTreeSet::init", "StableBTreeSet", TRACES),
    ("BTreeSet::new", "StableBTreeSet.new", SET),
    ("BTreeSet::load", "StableBTreeSet.load", SET),
    ("BTreeSet::insert", "StableBTreeSet.insert", SET),
    ("BTreeSet::contains", "StableBTreeSet.contains", SET),
    ("BTreeSet::is_empty", "StableBTreeSet.is_empty", SET),
    ("BTreeSet::len", "StableBTreeSet.__len__", SET),
    ("BTreeSet::into_memory", "StableBTreeSet.into_memory", SET),
    ("BTreeSet::clear", "StableBTreeSet.clear", SET),
    ("BTreeSet::first", "StableBTreeSet.first", SET),
    ("BTreeSet::last", "StableBTreeSet.last", SET),
    ("BTreeSet::remove", "StableBTreeSet.remove", SET),
    ("BTreeSet::pop_last", "StableBTreeSet.pop_last", SET),
    ("BTreeSet::pop_first", "StableBTreeSet.pop_first", SET),
    ("BTreeSet::iter", "StableBTreeSet.__iter__", SET),
    ("BTreeSet::range", "StableBTreeSet.range", SET),
    ("BTreeSet::union", "StableBTreeSet.union", SET),
    ("BTreeSet::intersection", "StableBTreeSet.intersection", SET),
    ("BTreeSet::symmetric_difference", "StableBTreeSet.symmetric_difference", SET),
    ("BTreeSet::is_disjoint", "StableBTreeSet.is_disjoint", SET),
    ("BTreeSet::is_subset", "StableBTreeSet.is_subset", SET),
    ("BTreeSet::is_superset", "StableBTreeSet.is_superset", SET),
    # Vec
    ("Vec::init", "StableVec", TRACES),
    ("Vec::new", "StableVec.new", "test_vec.py::test_three_ways_to_open"),
    ("Vec::into_memory", "StableVec.into_memory", "test_vec.py::test_a_live_structure_has_its_memory_for_itself"),
    ("Vec::clear", "StableVec.clear", VEC),
    ("Vec::is_empty", "StableVec.is_empty", VEC),
    ("Vec::len", "StableVec.__len__", VEC),
    ("Vec::set", "StableVec.set", VEC),
    ("Vec::get", "StableVec.get", VEC),
    ("Vec::push", "StableVec.push", VEC),
    ("Vec::pop", "StableVec.pop", VEC),
    ("Vec::iter", "StableVec.iter", VEC),
    # MinHeap
    ("MinHeap::init", "StableMinHeap", TRACES),
    ("MinHeap::new", "StableMinHeap.new", "test_minheap.py::test_ownership"),
    ("MinHeap::len", "StableMinHeap.__len__", HEAP),
    ("MinHeap::clear", "StableMinHeap.clear", HEAP),
    ("MinHeap::is_empty", "StableMinHeap.is_empty", HEAP),
    ("MinHeap::push", "StableMinHeap.push", HEAP),
    ("MinHeap::pop", "StableMinHeap.pop", HEAP),
    ("MinHeap::peek", "StableMinHeap.peek", HEAP),
    ("MinHeap::iter", "StableMinHeap.iter", "test_minheap.py::test_iterates_from_both_ends_of_the_slots"),
    ("MinHeap::into_memory", "StableMinHeap.into_memory", "test_minheap.py::test_ownership"),
    # Log
    ("Log::init", "StableLog", TRACES),
    ("Log::new", "StableLog.new", "test_log.py::test_three_ways_to_open"),
    ("Log::first", "StableLog.first", LOG),
    ("Log::last", "StableLog.last", LOG),
    ("Log::into_memories", "StableLog.into_memories", "test_log.py::test_ownership"),
    ("Log::clear", "StableLog.clear", LOG),
    ("Log::is_empty", "StableLog.is_empty", LOG),
    ("Log::index_size_bytes", "StableLog.index_size_bytes", "test_log.py::test_copying_and_sizes"),
    ("Log::data_size_bytes", "StableLog.data_size_bytes", "test_log.py::test_copying_and_sizes"),
    ("Log::log_size_bytes", "StableLog.log_size_bytes", "test_log.py::test_copying_and_sizes"),
    ("Log::len", "StableLog.__len__", LOG),
    ("Log::get", "StableLog.get", LOG),
    ("Log::iter", "StableLog.iter", LOG),
    ("Log::read_entry", None, "fills a buffer that Rust can use again; in Python get returns the entry"),
    ("Log::append", "StableLog.append", LOG),
    ("log::iter_thread_local", None, "borrows from a thread-local cell of Rust; in Python iter does"),
    # Cell
    ("Cell::new", "StableCell.new", "test_cell.py::test_three_ways_to_open"),
    ("Cell::init", "StableCell", "test_cell.py::test_another_structure_becomes_a_cell_only_when_asked"),
    ("Cell::get", "StableCell.get", CELL),
    ("Cell::set", "StableCell.set", CELL),
    ("Cell::into_memory", "StableCell.into_memory", "test_cell.py::test_ownership"),
    # Memories
    ("MemoryManager::init", "MemoryManager", CANISTERS),
    ("MemoryManager::init_with_bucket_size", "MemoryManager", CANISTERS),
    ("MemoryManager::get", "MemoryManager.get", CANISTERS),
    ("MemoryManager::into_memory", "MemoryManager.into_memory", "test_manager.py::test_into_memory_waits_for_the_memories"),
    ("MemoryId::new", "MemoryManager.get", "test_manager.py::test_there_are_255_memories"),
    ("VirtualMemory", "VirtualMemory", CANISTERS),
    ("RestrictedMemory::new", "RestrictedMemory", "test_golden.py::test_trace_on_another_memory"),
    ("Memory::size", "Memory.size", "test_golden.py::test_trace_on_another_memory"),
    ("Memory::grow", "Memory.grow", "test_golden.py::test_trace_on_another_memory"),
    ("Memory::read", "Memory.read", "test_golden.py::test_trace_on_another_memory"),
    ("Memory::write", "Memory.write", "test_golden.py::test_trace_on_another_memory"),
    ("DefaultMemoryImpl, VectorMemory", "StableMemory", TRACES),
    ("FileMemory", "StableMemory.open", "test_files.py::test_at_rest_the_file_is_the_bare_image"),
    ("Ic0StableMemory", None, "lives in a canister's Wasm; stable_structures.canister gives Python canisters theirs"),
    ("GrowFailed", "OutOfMemory", "test_vec.py::test_a_full_memory_refuses_and_changes_nothing"),
    ("InitError", "BadMagic", "test_vec.py::test_what_is_no_vec_is_refused"),
    ("WriteError", "OutOfMemory", "test_log.py::test_a_full_memory_refuses_and_changes_nothing"),
    ("NoSuchEntry", "OutOfBounds", "test_log.py::test_an_index_past_the_end_is_told"),
    # Streams
    ("reader::Reader", "Reader", "test_stream.py::test_what_is_written_is_read_back_and_the_rest_of_the_memory_is_untouched"),
    ("reader::BufferedReader", "Reader", "test_stream.py::test_buffered_streams"),
    ("reader::OutOfBounds", "Reader", "test_stream.py::test_a_reader_past_the_end_finds_nothing"),
    ("writer::Writer", "Writer", "test_stream.py::test_a_write_grows_by_the_fewest_pages"),
    ("writer::BufferedWriter", "Writer", "test_stream.py::test_buffered_streams"),
    # Types
    ("Storable, storable::Bound", "codec", "test_storable.py::test_the_bytes_and_bounds_are_those_of_the_crate"),
    ("storable::Blob", "Blob", "test_storable.py::test_the_bytes_and_bounds_are_those_of_the_crate"),
    ("UnboundedVecN, BoundedVecN", None, "for the crate's own benchmarks; bytes and Blob(n) are the same"),
    ("cmp::Reverse", "Reverse", "test_storable.py::test_the_bytes_and_bounds_are_those_of_the_crate"),
    ("Principal", "Principal", "test_storable.py::test_the_bytes_and_bounds_are_those_of_the_crate"),
]


@functools.cache
def functions_of(name: str) -> set[str]:
    (found,) = Path(__file__).parents[1].glob(f"*/{name}")
    tree = ast.parse(found.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("item", "ours", "proof"), TABLE, ids=[item for item, _, _ in TABLE])
def test_every_operation_of_the_crate_is_here_or_has_a_reason(item, ours, proof):
    if ours is None:
        assert "::" not in proof
        assert len(proof) > 20, f"{item} is missing without a reason"
        return
    found = functools.reduce(getattr, ours.split("."), stable_structures)
    assert found.__doc__, f"{ours} has no docstring"
    file, _, name = proof.partition("::")
    assert name in functions_of(file), f"{item}: there is no test {proof}"


def test_no_item_is_listed_twice():
    assert len({item for item, _, _ in TABLE}) == len(TABLE)
