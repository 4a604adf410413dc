"""Hash trees: the interface specification's example, witnesses that ic-stable-memory wrote, hostile bytes, and a model."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import re
from collections import Counter
from pathlib import Path

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stable_structures import hashtree
from stable_structures.hashtree import (
    HashTree,
    HashTreeError,
    Kind,
    Status,
    branch_position,
    empty,
    fork,
    from_mapping,
    labeled,
    leaf,
    pruned,
    walk,
)

GOLDEN = Path(__file__).parents[1] / "golden"
ROOT = "eb5c5b2195e62d996b84c9bcc8259d19a83786a2f59e0878cec84c811f669aa0"
WHOLE = (
    "8301830183024161830183018302417882034568656c6c6f810083024179820345776f726c6483024162820344676f6f64"
    "8301830241638100830241648203476d6f726e696e67"
)
PRUNED = (
    "83018301830241618301820458201b4feff9bef8131788b0c9dc6dbad6e81e524249c879e9f10f71ce3749f5a63883024179820345776f726c64"
    "83024162820458207b32ac0c6ba8ce35ac82c255fc7906f7fc130dab2a090f80fe12f9c2cae83ba6"
    "8301820458"
    "20ec8324b8a1f1ac16bd2e806edba78006479c9877fed4eb464a25485465af601d830241648203476d6f726e696e67"
)
EXAMPLE = fork(
    fork(
        labeled("a", fork(fork(labeled("x", leaf(b"hello")), empty()), labeled("y", leaf(b"world")))),
        labeled("b", leaf(b"good")),
    ),
    fork(labeled("c", empty()), labeled("d", leaf(b"morning"))),
)


# ---- the interface specification ----


def test_the_example_of_the_specification_has_its_bytes_and_its_root_hash():
    assert EXAMPLE.root_hash.hex() == ROOT
    assert EXAMPLE.to_cbor().hex() == WHOLE
    assert HashTree.from_cbor(bytes.fromhex(WHOLE)) == EXAMPLE


def test_its_pruned_tree_comes_out_of_its_three_paths():
    proof = EXAMPLE.witness(["a", "y"], "ax", "d")
    assert proof.to_cbor().hex() == PRUNED
    assert proof.root_hash.hex() == HashTree.from_cbor(bytes.fromhex(PRUNED)).root_hash.hex() == ROOT


@pytest.mark.parametrize(
    ("path", "status", "data"),
    [
        (("a", "a"), Status.UNKNOWN, None),
        (("a", "y"), Status.FOUND, b"world"),
        (("aa",), Status.ABSENT, None),
        (("ax",), Status.ABSENT, None),
        (("b",), Status.UNKNOWN, None),
        (("bb",), Status.UNKNOWN, None),
        (("d",), Status.FOUND, b"morning"),
        (("e",), Status.ABSENT, None),
        (("a",), Status.ERROR, None),
        ((), Status.ERROR, None),
        (("d", "x"), Status.ABSENT, None),
    ],
)
def test_lookups_in_it_answer_as_the_specification_says(path, status, data):
    found = HashTree.from_cbor(bytes.fromhex(PRUNED)).lookup(*path)
    assert (found.status, found.data) == (status, data)


def test_lookups_that_end_at_each_kind_of_node():
    kinds = {empty(): Status.ABSENT, leaf(b""): Status.FOUND, pruned(bytes(32)): Status.UNKNOWN, labeled("a", empty()): Status.ERROR}
    assert [tree.lookup().status for tree in kinds] == list(kinds.values())
    assert labeled("k", empty()).lookup("k").status is Status.ABSENT


# ---- witnesses that ic-stable-memory 0.4.4 wrote ----


def witnesses():
    for line in gzip.decompress((GOLDEN / "ism_witnesses.txt.gz").read_bytes()).decode().splitlines():
        kind, *keys, root, data = line.split()
        yield kind, [bytes.fromhex(key) for key in keys], bytes.fromhex(root), bytes.fromhex(data)


def test_every_witness_of_the_crates_traces_has_its_root_hash_and_proves_what_it_is_for():
    seen = Counter()
    for kind, keys, root, data in witnesses():
        tree = HashTree.from_cbor(data)
        assert tree.root_hash == root
        assert tree.to_cbor() == data
        # The program that made them reversed the little-endian bytes of keys, so that labels ascend as keys do.
        labels = [key[::-1] for key in keys]
        seen[kind, tree.lookup(labels[0]).status] += 1
        assert tree.is_well_formed()
    assert seen["w", Status.FOUND]
    assert seen["p", Status.ABSENT]
    assert not seen["p", Status.FOUND]
    assert not seen["w", Status.ABSENT]


# ---- against a model ----

LABELS = st.binary(max_size=4)
TREES = st.recursive(st.binary(max_size=40), lambda below: st.dictionaries(LABELS, below, max_size=6), max_leaves=30).filter(
    lambda made: isinstance(made, dict)
)


def reference(tree):
    """Root hash by plain recursion over the decoded CBOR."""
    number, *rest = tree
    name = {0: "empty", 1: "fork", 2: "labeled", 3: "leaf"}.get(number)
    if name is None:
        return rest[0]
    parts = [part if isinstance(part, bytes) else reference(part) for part in rest]
    name = f"ic-hashtree-{name}"
    return hashlib.sha256(bytes([len(name)]) + name.encode() + b"".join(parts)).digest()


def leaves(values, path=()):
    for label in sorted(values):
        value = values[label]
        if isinstance(value, dict):
            yield from leaves(value, (*path, label))
        else:
            yield (*path, label), value


@given(TREES)
def test_a_tree_of_a_mapping_holds_it(values):
    tree = from_mapping(values)
    data = tree.to_cbor()
    assert cbor2.loads(data) is not None
    assert tree.root_hash == reference(cbor2.loads(data))
    assert data == cbor2.dumps(cbor2.loads(data))
    assert HashTree.from_cbor(data) == HashTree.from_cbor(bytes.fromhex("d9d9f7") + data) == tree
    assert pickle.loads(pickle.dumps(tree)) == tree  # noqa: S301 - our own
    assert list(walk(tree)) == list(leaves(values))
    assert tree.is_well_formed()
    for path, value in leaves(values):
        assert tree.lookup(*path).data == value


@given(TREES, st.lists(st.lists(LABELS, min_size=1, max_size=3), max_size=4), st.data())
def test_witnesses_show_what_was_asked_for_and_hide_the_rest(values, others, data):
    tree = from_mapping(values)
    known = [list(path) for path, _ in leaves(values)]
    paths = others + (data.draw(st.lists(st.sampled_from(known), max_size=3)) if known else [])
    proof = tree.witness(*paths)
    assert proof.root_hash == tree.root_hash == reference(cbor2.loads(proof.to_cbor()))
    for path in paths:
        assert proof.lookup(*path) == tree.lookup(*path)
    prefixes = {tuple(path[: n + 1]) for path in paths for n in range(len(path))}
    for path, _ in walk(proof):
        shown = any(path[: len(asked)] == tuple(asked) for asked in paths)
        ended = any(path[: len(prefix)] == prefix for prefix in prefixes)  # a leaf that ends a longer path proves its absence
        assert shown or ended


@given(TREES, LABELS | st.none(), LABELS | st.none())
def test_a_range_is_shown_whole(values, start, stop):
    tree = from_mapping(values)
    proof = tree.witness_range(start, stop)
    assert proof.root_hash == tree.root_hash
    inside = {label for label in values if (start is None or label >= start) and (stop is None or label < stop)}
    assert list(walk(proof)) == [(path, value) for path, value in leaves(values) if path[0] in inside]
    for label in inside:
        assert proof.lookup(label) == tree.lookup(label)
    for label in values:
        assert proof.lookup(label + b"\0").status is Status.ABSENT or label not in inside or label + b"\0" in values


@given(TREES, st.lists(LABELS, max_size=3), st.lists(LABELS, max_size=3))
def test_merged_proofs_show_what_both_show(values, first, second):
    tree = from_mapping(values)
    merged = tree.witness(*first).merge(tree.witness(*second))
    for label in first + second:
        assert merged.lookup(label) == tree.lookup(label)
    assert merged == tree.witness(*first, *second)
    assert tree.merge(merged) == merged.merge(tree) == tree == pruned(tree.root_hash).merge(tree)


def test_proofs_of_different_trees_are_not_merged():
    with pytest.raises(HashTreeError, match="root hashes differ"):
        from_mapping({"a": b"1"}).merge(from_mapping({"a": b"2"}))


def test_what_is_pruned_cannot_be_proven_again():
    proof = from_mapping({"a": b"1", "b": b"2", "c": b"3", "d": b"4"}).witness("a")
    with pytest.raises(HashTreeError, match="pruned already"):
        proof.witness("d")
    with pytest.raises(HashTreeError, match="pruned already"):
        proof.witness_range("b")


def test_a_proof_of_what_is_pruned_below_its_label_is_refused():
    tree = from_mapping({"a": b"1", "b": {"c": b"2", "d": b"3"}, "e": b"4"})
    beside = tree.witness_range("b", "e")  # shows that a and e are there, without what they hold
    partly = tree.witness(["b", "c"])
    refused = [lambda: beside.witness("a"), lambda: beside.witness_range("a", "b"), lambda: partly.witness("b"), lambda: partly.witness(())]
    for make in refused:
        with pytest.raises(HashTreeError, match="pruned already"):
            make()
    assert partly.witness(["b", "c"]) == partly


LABELS = st.sampled_from([b"", b"\0", b"a", b"aa", b"b", b"\xff"])
TREES = st.recursive(
    st.sampled_from([empty(), leaf(b"1"), leaf(b""), pruned(bytes(32))]),
    lambda part: st.builds(fork, part, part) | st.builds(labeled, LABELS, part),
    max_leaves=12,
)


@example(fork(empty(), empty()), [b"a"])
@example(fork(labeled("a", fork(fork(empty(), empty()), empty())), fork(fork(empty(), empty()), labeled("c", empty()))), [b"b"])
@given(TREES, st.lists(LABELS, min_size=1, max_size=2))
def test_a_witness_answers_as_any_tree_does(tree, path):
    """Also trees that nobody makes: forks of nothing, labels out of order, pruned parts."""
    answer = tree.lookup(*path)
    if answer.status in (Status.FOUND, Status.ABSENT):
        proof = tree.witness(path)
        assert (proof.lookup(*path), proof.root_hash) == (answer, tree.root_hash)


@given(st.lists(st.binary(max_size=3), min_size=2, max_size=2, unique=True))
def test_labels_part_where_their_order_is_decided(pair):
    low, high = sorted(pair)

    def positions(label):
        return "".join(f"1{byte:08b}" for byte in label) + "0"

    a, b = positions(low), positions(high)
    position = next(i for i in range(len(a)) if a[i] != b[i])
    assert (branch_position(low, high), a[position], b[position]) == (position, "0", "1")


# ---- hostile bytes ----


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "end inside"),
        ("81", "end inside"),
        ("8101", "not a node"),
        ("8105", "not a node"),
        ("820441ff", "32 bytes"),
        ("8203", "end inside"),
        ("82035a00100000ff", "byte string of 1048576"),
        ("82035bffffffffffffffff00", "byte string of"),
        ("9f00ff", "an array of a given length"),
        ("82035f41614162ff", "a byte string of a given length"),
        ("82036161", "a byte string"),
        ("810000", "1 bytes after"),
        ("d9d9f7d9d9f78100", "an array"),
        ("820459", "end inside a number"),
        ("83028100810" + "0", "a byte string"),
    ],
)
def test_bytes_that_are_not_a_tree_are_refused_with_their_place(data, why):
    with pytest.raises(HashTreeError, match=why) as caught:
        HashTree.from_cbor(bytes.fromhex(data))
    place = int(re.search(r"byte (\d+):", str(caught.value))[1])
    assert place <= len(bytes.fromhex(data))


def test_heads_longer_than_needed_are_read():
    assert HashTree.from_cbor(bytes.fromhex("9802 1803 580161".replace(" ", ""))) == leaf(b"a")


def test_depth_size_and_nodes_are_bounded():
    deep = b"\x83\x02\x41a" * 5000 + b"\x81\x00"
    with pytest.raises(HashTreeError, match="levels"):
        HashTree.from_cbor(deep)
    with pytest.raises(HashTreeError, match="max_size"):
        HashTree.from_cbor(bytes(5_000_000))
    wide = b"\x83\x01\x81\x00" * 200_000 + b"\x81\x00"
    with pytest.raises(HashTreeError, match="max_nodes=100000"):
        HashTree.from_cbor(wide, max_depth=10**9)


def test_a_deep_tree_needs_no_recursion():
    deep = HashTree.from_cbor(b"\x83\x02\x41a" * 20_000 + b"\x81\x00", max_depth=20_001)
    assert HashTree.from_cbor(deep.to_cbor(), max_depth=20_001) == deep
    assert deep.lookup(*["a"] * 20_000).status is Status.ABSENT
    assert deep.is_well_formed()
    assert deep.witness(["a"] * 100).merge(pruned(deep.root_hash)).root_hash == deep.root_hash


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda tail: bytes.fromhex(WHOLE)[: 2 * len(tail)] + tail))
def test_any_bytes_are_a_tree_or_an_error(data):
    try:
        tree = HashTree.from_cbor(data)
    except HashTreeError:
        return
    assert reference(cbor2.loads(data)) == tree.root_hash


def test_misuse_is_refused():
    with pytest.raises(HashTreeError, match="32 bytes"):
        pruned(b"short")
    with pytest.raises(AttributeError, match="never changes"):
        leaf(b"").content = b"x"
    with pytest.raises(TypeError, match="label is bytes or text"):
        labeled(7, empty())
    with pytest.raises(TypeError, match="expected bytes"):
        from_mapping({"a": 7})
    with pytest.raises(HashTreeError, match="two labels"):
        from_mapping({"a": b"", b"a": b""})
    assert not fork(labeled("a", empty()), labeled("a", empty())).is_well_formed()
    assert not fork(leaf(b""), labeled("a", empty())).is_well_formed()
    assert hashtree.empty().kind is Kind.EMPTY
    assert repr(empty()).startswith("<HashTree empty ")
    assert empty() != 7
