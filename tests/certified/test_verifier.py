"""Witnesses as a caller judges them: with a verifier of its own, and the 32 bytes that the subnet certified."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stable_structures import CertifiedMap, MemoryManager, StableMemory

from ..support.examples import examples
from ..support.witness_verifier import decoded, entries_between, lookup, root_of

Bytes = CertifiedMap[bytes, bytes]
KEYS = st.one_of(st.binary(max_size=2), st.binary(min_size=8, max_size=8), st.integers(0, 40).map(lambda n: b"a" * n))
TOP = b"\xff" * 64


def made(entries):
    manager = MemoryManager(StableMemory(), bucket_pages=1)
    m = Bytes(manager.get(0), manager.get(1))
    m.update(entries)
    return m


@given(st.dictionaries(KEYS, st.binary(max_size=40), max_size=60), KEYS)
@settings(max_examples=examples(60))
def test_a_value_or_its_absence_is_proven(entries, key):
    m = made(entries)
    for one in [key, *list(entries)[:5]]:
        tree = decoded(m.witness(one) if one in entries else m.witness_absence(one))
        assert root_of(tree) == m.root_hash()
        assert lookup(tree, one) == entries.get(one, False)


@given(st.dictionaries(KEYS, st.binary(max_size=40), max_size=60), KEYS, KEYS)
@settings(max_examples=examples(60))
def test_a_range_is_proven_with_nothing_left_out(entries, one, other):
    m, (start, stop) = made(entries), sorted((one, other))
    tree = decoded(m.witness_range(start, stop))
    assert root_of(tree) == m.root_hash()
    assert entries_between(tree, start, stop) == {key: value for key, value in entries.items() if start <= key < stop}
    whole = decoded(m.witness_range())
    assert root_of(whole) == m.root_hash()
    assert entries_between(whole, b"", TOP) == entries


@pytest.mark.parametrize("seed", range(3))
def test_a_witness_that_was_changed_has_another_root(seed):
    rng = random.Random(seed)
    m = made({rng.randbytes(6): rng.randbytes(9) for _ in range(80)})
    present = rng.choice(list(m))
    for witness in (m.witness(present), m.witness_absence(b"none"), m.witness_range(present)):
        for at in rng.sample(range(len(witness)), 40):
            changed = bytearray(witness)
            changed[at] ^= 1 << rng.randrange(8)
            try:
                tree = decoded(bytes(changed))
                root = root_of(tree)
            except Exception:  # noqa: BLE001, S112 - it is no tree any more
                continue
            assert root != m.root_hash() or tree == decoded(witness)


def test_the_witness_of_one_key_says_nothing_about_others():
    entries = {bytes([n]): b"v%d" % n for n in range(0, 200, 2)}
    m = made(entries)
    tree = decoded(m.witness(bytes([40])))
    assert lookup(tree, bytes([40])) == b"v40"
    assert lookup(tree, bytes([120])) is None
    assert entries_between(tree, bytes([30]), bytes([50])) is None
