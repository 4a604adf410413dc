"""A caller's own verifier of witnesses, written from the interface specification: it shares no line with `stable_structures.hashtree`."""

from __future__ import annotations

import hashlib

import cbor2

EMPTY, FORK, LABELED, LEAF, PRUNED = range(5)


def _hashed(domain, *parts):
    name = f"ic-hashtree-{domain}".encode()
    return hashlib.sha256(bytes([len(name)]) + name + b"".join(parts)).digest()


def root_of(tree):
    """reconstruct() of the specification."""
    match tree:
        case [0]:
            return _hashed("empty")
        case [1, left, right]:
            return _hashed("fork", root_of(left), root_of(right))
        case [2, bytes(label), below]:
            return _hashed("labeled", label, root_of(below))
        case [3, bytes(data)]:
            return _hashed("leaf", data)
        case [4, bytes(digest)] if len(digest) == 32:
            return digest
    raise AssertionError(f"not a hash tree: {tree!r}")


def _flat(tree):
    """The parts of a node without its forks."""
    if tree[0] == FORK:
        return _flat(tree[1]) + _flat(tree[2])
    return [] if tree[0] == EMPTY else [tree]


def lookup(tree, key):
    """The data at a label; False if the tree proves that there is none; None if it does not say."""
    parts = _flat(tree)
    for part in parts:
        if part[0] == LABELED and part[1] == key:
            return part[2][1] if part[2][0] == LEAF else None
    before = [i for i, part in enumerate(parts) if part[0] == LABELED and part[1] < key]
    behind = before[-1] + 1 if before else 0
    proven = behind == len(parts) or (parts[behind][0] == LABELED and parts[behind][1] > key)
    return False if proven else None


def entries_between(tree, start, stop):
    """All entries with start <= key < stop, or None if the tree does not prove that these are all."""
    parts = _flat(tree)
    labels = [part[1] for part in parts if part[0] == LABELED]
    assert labels == sorted(set(labels))
    found, hidden = {}, False
    for part in parts:
        if part[0] == PRUNED:
            hidden = True
        elif part[1] < start:
            hidden = False  # what was hidden before this label is below the range
        elif hidden:
            return None
        elif part[1] >= stop:
            return found
        else:
            found[part[1]] = part[2][1]
    return None if hidden else found


def decoded(witness):
    """The tree in a witness, by another CBOR library than ours."""
    return cbor2.loads(witness)
