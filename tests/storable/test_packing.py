"""Rows of fixed fields: the functions written for a type do what its field-by-field way does, for values, bytes and errors."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stable_structures import (
    Array,
    Blob,
    BoundExceeded,
    CorruptMemory,
    IncompatibleType,
    MemoryManager,
    Principal,
    Reverse,
    StableBTreeMap,
    StableBTreeSet,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    codec,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    i128,
    storable,
    u8,
    u16,
    u32,
    u64,
    u128,
)
from stable_structures.storable import Codec, Record

from ..support.examples import examples

FEWER = settings(deadline=None, max_examples=examples(25))  # each makes its own type
LEAVES: list[Any] = [u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64, bool, Array(1), Array(12), Array(0), Reverse[u32]]
LEAVES += [Reverse[i16], u8 | None, Record([("x", "u2"), ("y", "S3")])]
TAILS: list[Any] = [*LEAVES, bytes, str, Blob(3), Principal, None, str | None]
ODD: list[Any] = [
    *(0, 1, -1, 127, 128, 255, 256, 2**31, 2**63, 2**64 - 1, 2**64, -(2**63), 2**127, 2**128, 10**400),
    *(0.0, -0.0, 1.5, 1e39, 1e300, float("inf"), float("nan"), True, False, None, b"", b"a", b"abc", b"a" * 12, "", "ab", "\ud800"),
    *(np.uint8(5), np.int64(-5), np.uint64(2**63), np.float16(1.5), np.float32(1e38), np.float64(2), np.longdouble(2), np.bool_(True)),
    *(np.array(3), np.ma.masked, np.ma.masked_array(5, True), [1], (), (1,), (1, 2), (1, 2, 3), bytearray(b"abc"), memoryview(b"a"), 1j),
    *(Principal(b""), Principal(b"abc"), np.str_("ab"), np.bytes_(b"abc"), object()),
]


def outcome(function: Any, value: Any) -> Any:
    """Return what a function returns, in a form that tells NaN and -0.0, or its error."""
    try:
        made = function(value)
    except (IncompatibleType, BoundExceeded, CorruptMemory) as error:
        return type(error), str(error)
    return type(made), repr(made)


def slowly(made: Codec[Any]) -> tuple[Any, Any]:
    """Return encode and decode as they go field by field."""
    kind = type(made)
    return lambda value: kind.encode(made, value), lambda data: kind.decode(made, data)


def made_dataclass(parts: list[Any], *, kw_only: bool) -> Any:
    fields = [(f"field_{n}", part) for n, part in enumerate(parts)]
    return storable(dataclasses.make_dataclass("Made", fields, kw_only=kw_only))


def rows(leaves: st.SearchStrategy[Any], tails: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return types of rows whose last part is one of `tails`."""
    tuples = st.one_of(st.tuples(leaves, leaves), st.tuples(leaves, leaves, tails)).map(lambda parts: tuple[parts])
    classes = st.tuples(st.lists(leaves, max_size=4), tails, st.booleans())
    return st.one_of(tuples, classes.map(lambda of: made_dataclass([*of[0], of[1]], kw_only=of[2])))


FIXED = st.recursive(st.sampled_from(LEAVES), lambda inner: rows(inner, inner), max_leaves=6)
TYPES = rows(FIXED, st.one_of(FIXED, st.sampled_from(TAILS), rows(FIXED, st.sampled_from(TAILS))))


def value_of(made: Codec[Any], draw: Any) -> Any:
    """Return a value of a type, now and then with something odd in a field."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.sampled_from(ODD))
    fields = getattr(made, "fields", None)
    if fields is None:
        return draw(GOOD.get(made.name.partition("(")[0], st.sampled_from(ODD)))
    values = {name: value_of(part, draw) for name, part in fields.items()}
    cls = getattr(made, "_class", None)
    return tuple(values.values()) if cls is None else cls(**values)


def ints(low: int, high: int) -> st.SearchStrategy[int]:
    return st.one_of(st.integers(low, high), st.sampled_from([low, high, max(low, -1)]))


GOOD: dict[str, Any] = {f"u{bits}": ints(0, 2**bits - 1) for bits in (8, 16, 32, 64, 128)}
GOOD |= {f"i{bits}": ints(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64, 128)}
GOOD |= {"f32": st.floats(width=32), "f64": st.floats(), "bool": st.booleans(), "str": st.text(max_size=3), "bytes": st.binary(max_size=3)}
GOOD |= {"Reverse[u32]": ints(0, 2**32 - 1), "Reverse[i16]": ints(-(2**15), 2**15 - 1), "Blob": st.binary(max_size=3)}


@FEWER
@given(TYPES, st.data())
def test_values_are_encoded_and_decoded_as_field_by_field(tp, data):
    made = codec(tp)
    encode, decode = slowly(made)
    value = value_of(made, data.draw)
    first = outcome(made.encode, value)
    assert first == outcome(encode, value)
    if first[0] is bytes:
        encoded = made.encode(value)
        for stored in (encoded, bytearray(encoded), memoryview(encoded)):
            assert outcome(made.decode, stored) == outcome(decode, stored)
        assert outcome(made.encode, made.decode(encoded)) == first
        if made.layout is not None:
            assert outcome(made.decode_many, [encoded] * 3) == outcome(lambda part: [decode(part)] * 3, encoded)


@FEWER
@given(TYPES, st.data())
def test_any_bytes_are_decoded_as_field_by_field(tp, data):
    made = codec(tp)
    size = made.bound.max_size or 40
    stored = data.draw(st.one_of(st.binary(min_size=size, max_size=size), st.binary(max_size=size + 2)))
    first = outcome(made.decode, stored)
    assert first == outcome(slowly(made)[1], stored)
    if made.layout is not None:
        assert outcome(made.decode_many, [stored])[0] in (list, first[0])


@pytest.mark.parametrize("tp", LEAVES, ids=lambda tp: codec(tp).name)
def test_each_odd_value_in_each_field_is_treated_alike(tp):
    short, long = codec(tuple[u8, tp]), codec(tuple[tp, tuple[u8, bool], tp])
    for value in ODD:
        for made, row in ((short, (1, value)), (long, (value, (1, True), value))):
            assert outcome(made.encode, row) == outcome(slowly(made)[0], row)


@storable
@dataclasses.dataclass(frozen=True)
class Tick:
    price: f64
    volume: u32
    code: Annotated[bytes, Array(3)]
    good: bool


@storable
@dataclasses.dataclass
class Picky:
    a: u8
    b: u8

    def __post_init__(self) -> None:
        if self.a > self.b:
            raise ValueError(f"{self.a} > {self.b}")


def test_rows_are_packed_at_all():
    for tp in (tuple[u8, f64], tuple[u64, tuple[i8, bool]], Tick, tuple[u8, u8, bytes], tuple[Tick, u8]):
        made = codec(tp)
        assert made.encode.__module__ == made.decode.__module__ == "stable_structures.storable.packing"
        assert copy.copy(made) == pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own bytes
    assert codec(tuple[str, u8, u8]).row is None


def test_a_class_that_refuses_its_fields_is_told_as_before():
    for made, stored in ((codec(Picky), b"\2\1"), (codec(tuple[u8, Picky]), b"\0\2\1")):
        with pytest.raises(CorruptMemory, match=r"Picky\(\) must accept its stored fields; it raised ValueError\('2 > 1'\)"):
            made.decode(stored)


def test_a_subclass_of_tuple_and_a_class_that_is_no_row():
    class Pair(tuple):
        __slots__ = ()

    assert codec(tuple[u8, u16]).encode(Pair((1, 2))) == b"\1\0\2"
    with pytest.raises(IncompatibleType, match="a tuple of 2"):
        codec(tuple[u8, u16]).encode([1, 2])
    with pytest.raises(IncompatibleType, match="an instance of Tick itself"):
        codec(Tick).encode((1.0, 2, b"abc", True))


# ---- in structures ----

ROWS: dict[Any, list[Any]] = {
    tuple[f64, u32, Annotated[bytes, Array(12)]]: [(n / 4, n, b"%012d" % n) for n in range(300)],
    tuple[i16, tuple[bool, u8]]: [(n - 150, (n % 2 == 0, n % 256)) for n in range(300)],
    tuple[u64, u64]: [(n * n, 2**64 - 1 - n) for n in range(300)],
    Tick: [Tick(n / 8, n, b"%03d" % n, n % 3 == 0) for n in range(300)],
    f64: [n / 3 for n in range(300)],
    Array(5): [b"%05d" % n for n in range(300)],
}
PARTS = pytest.mark.parametrize(("tp", "values"), ROWS.items(), ids=[codec(tp).name for tp in ROWS])


def rows_of(tp: Any, array: Any) -> list[Any]:
    """Return the rows of an array as values of the type."""
    return codec(tp).decode_many([bytes(codec(tp).encode_array(array[n : n + 1])) for n in range(len(array))])


@PARTS
def test_maps_of_rows_agree_with_a_dict_in_every_way_of_reading(tp, values):
    tree = StableBTreeMap[u32, tp](StableMemory())
    assert tree.insert_many(range(300), values) == 300
    wanted = dict(enumerate(values))
    assert dict(tree.items()) == wanted == {key: tree[key] for key in tree}
    assert list(tree.values()) == values
    assert list(tree.range(50, 90)) == list(wanted.items())[50:90]
    assert list(tree.range(50, 90, reverse=True)) == list(wanted.items())[50:90][::-1]
    if tp is not f64:  # of numbers it returns arrays
        assert tree.get_many([3, 900, 5]) == [values[3], None, values[5]]
        assert tree.get_many([3, 5]) == [values[3], values[5]]
    assert tree == wanted
    keys, array = tree.to_numpy(10, 20)
    assert keys.tolist() == list(range(10, 20))
    assert rows_of(tp, array) == values[10:20]
    again = StableBTreeMap[u32, tp](StableMemory())
    again.insert_many(keys, array)
    assert dict(again) == dict(tree.range(10, 20))


@PARTS
def test_sets_and_sequences_of_rows_agree_with_lists(tp, values):
    vec, log = StableVec[tp](StableMemory()), StableLog[tp](StableMemory(), StableMemory())
    vec.extend(values[:100])
    vec.extend(vec.to_numpy(0, 10))
    log.extend(values[:100])
    log.extend(vec.to_numpy(0, 10))
    assert list(vec) == list(log) == values[:100] + values[:10]
    assert vec[90:105] == log[90:105] == (values[:100] + values[:10])[90:105]
    assert rows_of(tp, log.to_numpy(95, -5)) == list(log)[95:-5]
    heap = StableMinHeap[tp](StableMemory())
    heap.push_many(vec.to_numpy(0, 50))
    assert sorted(map(repr, heap)) == sorted(map(repr, values[:50]))
    if codec(tp).orderable_as_key:
        tree = StableBTreeSet[tp](StableMemory())
        assert tree.insert_many(values) == 300
        assert set(map(repr, tree)) == set(map(repr, values))
        assert rows_of(tp, tree.to_numpy()) == list(tree)
        by_row = StableBTreeMap[tp, u64](StableMemory())
        by_row.insert_many(tree.to_numpy(), np.arange(300))
        assert list(by_row) == list(tree) == rows_of(tp, by_row.to_numpy()[0])


def test_an_entry_of_another_size_is_no_item_of_an_array():
    manager = MemoryManager(StableMemory())
    written = StableLog[bytes](manager.get(0), manager.get(1))
    written.extend([b"abc"] * 9 + [b"ab", b"abcd"])
    written.into_memories()
    log = StableLog[Array(3)](manager.get(0), manager.get(1))
    assert len(log.to_numpy(0, 9)) == 9
    with pytest.raises((CorruptMemory, IncompatibleType), match="encoded in 3 bytes, found 2"):
        log.to_numpy()
    with pytest.raises(IncompatibleType, match=r"no numpy form.*use list\(\)"):
        StableLog[str](StableMemory(), StableMemory()).to_numpy()


def test_a_value_of_another_size_is_found_where_it_lies():
    manager = MemoryManager(StableMemory())
    written = StableBTreeMap[u8, Blob(3)](manager.get(0))
    for n in range(40):
        written[n] = b"%03d" % n if n != 20 else b"xx"
    written.into_memory()
    read = StableBTreeMap[u8, Array(3)](manager.get(0))
    for walk in (read.items(), reversed(read.items()), read.range(0), read.values()):
        seen = []
        with pytest.raises((CorruptMemory, IncompatibleType), match="encoded in 3 bytes, found 2"):
            seen.extend(walk)
        assert len(seen) in (19, 20), seen
    with pytest.raises((CorruptMemory, IncompatibleType)):
        read._entries(3)
    it = read.range()
    assert next(it.next_back() for _ in range(19)) == (39, b"039")
    assert [next(it) for _ in range(20)][-1] == (19, b"019")
    with pytest.raises((CorruptMemory, IncompatibleType)):
        next(it)
