"""Tuples that are put together from columns of their parts have the encodings of each tuple."""

from __future__ import annotations

from typing import Any

import pytest

from stable_structures import Array, Blob, BoundExceeded, Principal, codec, f32, u8, u16, u64, u128
from stable_structures.encodings.columns import Encoded
from stable_structures.storable.columns import fit, tuples_of

NONE_YET = Principal.management_canister()
TUPLES: list[tuple[Any, list[Any]]] = [
    (tuple[u8, bool], [(1, True), (255, False)]),
    (tuple[u16, Array(3), f32], [(1, b"abc", 0.5)]),
    (tuple[Array(0), Array(0)], [(b"", b"")] * 3),
    (tuple[None, None], [(None, None)] * 2),
    (tuple[Principal, u64], [(NONE_YET, 0), (Principal(b"x" * 29), 2**64 - 1)]),
    (tuple[Blob(300), Blob(2)], [(b"a" * 256, b""), (b"", b"xy"), (b"a" * 300, b"x")]),
    (tuple[u128, Blob(70_000)], [(7, b"a" * 65_536), (8, b"")]),
    (tuple[tuple[u8, Blob(1)], Blob(0)], [((1, b""), b""), ((2, b"x"), b"")]),
    (tuple[u8, str, bytes], [(1, "a", b""), (2, "x" * 300, b"end")]),
    (tuple[u8, u16, str], [(1, 2, "a"), (3, 4, "")]),
    (tuple[str | None, Blob(3), None], [(None, b"", None), ("a", b"abc", None)]),
]


def columns_of(tp: Any, rows: list[Any]) -> list[Encoded]:
    parts = codec(tp).fields.values()
    return [Encoded.of(part.encode(row[place]) for row in rows) for place, part in enumerate(parts)]


@pytest.mark.parametrize(("tp", "rows"), TUPLES, ids=str)
def test_tuples_of_columns_are_the_tuples(tp, rows):
    for some in (rows, rows[:1], rows * 3):
        assert tuples_of(codec(tp), columns_of(tp, some)).pieces() == list(map(codec(tp).encode, some))


def test_a_part_that_does_not_fit_is_refused():
    for tp, parts in ((tuple[u8, Blob(2)], [[b"a"], [b"abc"]]), (tuple[u8, u16], [[b"a"], [b"a"]]), (tuple[u8, Array(0)], [[b""], [b""]])):
        columns = list(map(Encoded.of, parts))
        assert not all(map(fit, codec(tp).fields.values(), columns))
        with pytest.raises(BoundExceeded):
            tuples_of(codec(tp), columns)
