# SPDX-License-Identifier: Apache-2.0
"""The encodings of the CDKs: Basilisk's tags (docs/platform.md#basilisk) and Kybra's Candid.

See docs/platform.md#kybras-map), their order, and real memories.
"""

from __future__ import annotations

import functools
import struct
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stable_structures import CorruptMemory, IncompatibleType, MemoryManager, Principal, StableBTreeMap, StableMemory
from stable_structures.canister import Canister, Trapped
from stable_structures.canister.cdk import tagged
from stable_structures.canister.cdk.candid import RECORD, SCALARS, VARIANT, candid_type
from stable_structures.canister.cdk.common import CdkPrincipal

# ---- Basilisk ----

principals = st.binary(max_size=29).map(tagged.Principal)
atoms = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary() | principals
values = st.recursive(
    atoms,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(0, 9) | principals, inner),
    max_leaves=20,
)


@given(values)
def test_basilisk_values_come_back_as_they_were_with_their_types(value):
    again = tagged.decode(tagged.encode(value))
    assert again == value
    assert repr(again) == repr(value)  # True is not 1, -0.0 is not 0.0, a tuple is no list


EXAMPLES = [
    (None, "00"),
    (True, "0101"),
    (False, "0100"),
    (-2, "02fffffffffffffffe"),
    (1.5, "033ff8000000000000"),
    ("né", "0400000003" + "né".encode().hex()),
    (b"\x00\xff", "050000000200ff"),
    (tagged.Principal("2vxsx-fae"), "0600000009" + b"2vxsx-fae".hex()),
    ([1, None], "0700000002" + "02" + "00" * 7 + "01" + "00"),
    ({"b": True, "a": None}, "0800000002" + "0400000001" + "62" + "0101" + "0400000001" + "61" + "00"),
    ((False,), "0900000001" + "0100"),
]


@pytest.mark.parametrize(("value", "encoding"), EXAMPLES, ids=[type(value).__name__ for value, _ in EXAMPLES])
def test_basilisk_bytes_are_tag_and_payload(value, encoding):
    assert tagged.encode(value).hex() == encoding
    assert tagged.decode(bytes.fromhex(encoding)) == value


@pytest.mark.parametrize(
    ("hint", "tag", "size", "low", "high"),
    [
        (tagged.nat8, 0x10, 1, 0, 2**8 - 1),
        (tagged.nat16, 0x11, 2, 0, 2**16 - 1),
        (tagged.nat32, 0x12, 4, 0, 2**32 - 1),
        (tagged.nat64, 0x13, 8, 0, 2**64 - 1),
        (tagged.int8, 0x14, 1, -(2**7), 2**7 - 1),
        (tagged.int16, 0x15, 2, -(2**15), 2**15 - 1),
        (tagged.int32, 0x16, 4, -(2**31), 2**31 - 1),
    ],
)
def test_basilisk_hinted_numbers_have_their_own_tag_and_width(hint, tag, size, low, high):
    for value in (low, high):
        data = tagged.encode(value, hint)
        assert (data[0], len(data), tagged.decode(data)) == (tag, 1 + size, value)
    for value in (low - 1, high + 1):
        with pytest.raises(struct.error):
            tagged.encode(value, hint)


def test_basilisk_float32_keeps_four_bytes():
    assert tagged.encode(1.5, tagged.float32).hex() == "173fc00000"


@pytest.mark.parametrize("value", [{1, 2}, object(), 1j])
def test_basilisk_refuses_what_it_has_no_tag_for(value):
    with pytest.raises(ValueError, match=r"Cannot encode .* for stable storage"):
        tagged.encode(value)


@given(st.binary(max_size=60))
def test_basilisk_bytes_of_a_damaged_memory_are_a_value_or_corrupt(data):
    try:
        tagged.decode(data)
    except CorruptMemory:
        return


@given(st.lists(st.text(max_size=6), unique=True))
def test_basilisk_text_keys_are_ordered_by_length_and_then_by_bytes(texts):
    in_order = sorted(texts, key=tagged.encode)
    assert in_order == sorted(texts, key=lambda text: (len(text.encode()), text.encode()))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), unique=True))
def test_basilisk_negative_keys_come_after_the_positive_ones(numbers):
    assert sorted(numbers, key=tagged.encode) == sorted(numbers, key=lambda number: (number < 0, number))


@given(st.lists(st.integers(0, 2**64 - 1), unique=True))
def test_basilisk_unsigned_hints_are_ordered_by_number(numbers):
    assert sorted(numbers, key=lambda number: tagged.encode(number, tagged.nat64)) == sorted(numbers)


# ---- Kybra ----

S = SCALARS
int8, int16, nat, nat8, nat16 = (SCALARS[name] for name in ("int8", "int16", "nat", "nat8", "nat16"))


class Point(RECORD):
    x: int8
    label: str


class Shape(VARIANT, total=False):
    Dot: None
    Circle: nat16
    At: Point


class Tree(RECORD):
    value: nat
    children: list[Tree]


def numbers(name):
    scalar = S[name]
    return st.integers(scalar.low, None if scalar.high is None else scalar.high - 1)


points = st.fixed_dictionaries({"x": numbers("int8"), "label": st.text(max_size=4)})
shapes = st.one_of(st.just({"Dot": None}), numbers("nat16").map(lambda n: {"Circle": n}), points.map(lambda p: {"At": p}))
trees = st.recursive(
    st.fixed_dictionaries({"value": st.integers(0, 2**70), "children": st.just([])}),
    lambda inner: st.fixed_dictionaries({"value": st.integers(0, 2**70), "children": st.lists(inner, max_size=3)}),
    max_leaves=6,
)
TYPES = {
    **{name: (S[name], numbers(name)) for name in ("nat", "int", "nat8", "nat16", "nat32", "nat64", "int8", "int16", "int32", "int64")},
    "float64": (S["float64"], st.floats(allow_nan=False)),
    "float32": (S["float32"], st.floats(width=32, allow_nan=False)),
    "text": (str, st.text(max_size=8)),
    "blob": (bytes, st.binary(max_size=8)),
    "bool": (bool, st.booleans()),
    "null": (None, st.none()),
    "opt": (Optional[nat8], st.none() | numbers("nat8")),  # noqa: UP045 - as Kybra writes it
    "vec": (list[int16], st.lists(numbers("int16"), max_size=4)),
    "tuple": (tuple[nat8, str], st.tuples(numbers("nat8"), st.text(max_size=3))),
    "record": (Point, points),
    "variant": (Shape, shapes),
    "recursive": (Tree, trees),
}


@pytest.mark.parametrize("name", TYPES)
def test_kybra_values_come_back_as_they_were(name):
    annotation, strategy = TYPES[name]
    kind = candid_type(annotation, globals())

    @given(strategy)
    def check(value):
        data = kind.encode(value)
        assert data.startswith(b"DIDL")
        assert kind.decode(data) == value
        assert type(kind.decode(data)) is type(value)

    check()


@given(st.binary(max_size=29))
def test_kybra_principals_come_back(raw):
    kind = candid_type(CdkPrincipal)
    assert kind.decode(kind.encode(CdkPrincipal(raw))).bytes == raw


@pytest.mark.parametrize(
    ("annotation", "value", "encoding"),
    [
        (nat8, 5, "4449444c00017b05"),
        (str, "ab", "4449444c00017102" + "6162"),
        (bytes, b"\x01", "4449444c016d7b01000101"),
        (None, None, "4449444c00017f"),
        (bool, True, "4449444c00017e01"),
        (S["int"], -1, "4449444c00017c7f"),
        (tuple[nat8, bool], (7, False), "4449444c016c02007b017e01000700"),
    ],
)
def test_kybra_bytes_are_one_plain_candid_message(annotation, value, encoding):
    assert candid_type(annotation).encode(value).hex() == encoding


def test_a_29_byte_principal_has_38_bytes_of_candid():
    assert len(candid_type(CdkPrincipal).encode(CdkPrincipal(bytes(29)))) == 38


def in_rust_order(kind, items):
    return sorted(items, key=functools.cmp_to_key(kind.compare))


ORDERS = {
    "int8": lambda n: n,
    "nat64": lambda n: n,
    "text": lambda s: s.encode(),
    "blob": lambda b: b,
    "bool": lambda b: b,
    "opt": lambda v: (v is not None, v or 0),
    "vec": lambda v: v,
    "tuple": lambda t: (t[0], t[1].encode()),
    "record": lambda r: (r["x"], r["label"].encode()),  # by declaration, not by hash
    "variant": lambda v: (
        ["Dot", "Circle", "At"].index(next(iter(v))),
        v.get("Circle", 0),
        v.get("At", {}).get("x", 0),
        v.get("At", {}).get("label", "").encode(),
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_kybra_order_is_that_of_the_decoded_rust_values(name):
    annotation, strategy = TYPES[name]
    kind = candid_type(annotation, globals())

    @given(st.lists(strategy, max_size=8))
    def check(items):
        assert in_rust_order(kind, items) == sorted(items, key=ORDERS[name])

    check()


@given(st.lists(st.binary(max_size=5), unique=True))
def test_kybra_principals_are_ordered_by_length_first(raws):
    found = in_rust_order(candid_type(CdkPrincipal), [CdkPrincipal(raw) for raw in raws])
    assert [one.bytes for one in found] == sorted(raws, key=lambda raw: (len(raw), raw))


def test_kybra_compares_nan_as_less_in_both_directions():
    kind = candid_type(S["float64"])
    assert kind.compare(float("nan"), 1.0) == kind.compare(1.0, float("nan")) == -1


@pytest.mark.parametrize(("annotation", "value"), [(nat8, "x"), (nat8, True), (str, 5), (Point, {"x": 1}), (Shape, {"Square": 1})])
def test_kybra_refuses_values_of_another_type(annotation, value):
    with pytest.raises(TypeError):
        candid_type(annotation, globals()).encode(value)


@pytest.mark.parametrize("value", [-1, 256])
def test_kybra_refuses_numbers_that_do_not_fit(value):
    with pytest.raises(OverflowError, match="nat8"):
        candid_type(nat8).encode(value)


def test_a_type_that_kybra_does_not_have_is_named():
    with pytest.raises(IncompatibleType, match="complex"):
        candid_type(complex)


# ---- memories of real canisters ----


def version_1_map(entries, max_key, max_value):
    """What ic-stable-structures 0.5.6 writes for a map of one leaf (docs/format.md#chunk-allocator and #b-tree-map)."""
    size = 7 + 11 * (8 + max_key + max_value) + 12 * 8
    leaf = 100
    image = bytearray(65536)
    image[0:28] = b"BTR\x01" + struct.pack("<IIQQ", max_key, max_value, leaf + 16, len(entries))
    image[52:100] = b"BTA\x01" + bytes(4) + struct.pack("<QQQ", size, 1, leaf + 16 + size) + bytes(16)
    image[leaf : leaf + 16] = b"CHK\x01\x01" + bytes(3) + struct.pack("<Q", 0)
    image[leaf + 16 + size : leaf + 32 + size] = b"CHK\x01\x00" + bytes(3) + struct.pack("<Q", 0)
    at = leaf + 16
    image[at : at + 7] = b"BTN\x01\x00" + struct.pack("<H", len(entries))
    at += 7
    for key, value in entries:
        for data, room in ((key, max_key), (value, max_value)):
            image[at : at + 4 + len(data)] = struct.pack("<I", len(data)) + data
            at += 4 + room
    return bytes(image)


KYBRA = """
from kybra import *
names = StableBTreeMap[Principal, text](memory_id=7, max_key_size={0}, max_value_size={1})
@query
def items() -> Vec[Tuple[Principal, text]]: return names.items()
@update
def put(key: Principal, name: text) -> Opt[text]: return names.insert(key, name)
"""


def kybra_memory(entries):
    memory = StableMemory()
    part = MemoryManager(memory).get(7)
    part.grow(1)
    part.write(0, version_1_map(entries, 38, 40))
    return memory.read(0, memory.nbytes)


def test_a_kybra_canister_goes_on_with_a_version_1_map():
    keys, names = candid_type(CdkPrincipal), candid_type(str)
    ordered = [(b"\x09", "nine"), (b"\x01\x02", "long"), (b"\x02\x01", "longer")]
    image = kybra_memory([(keys.encode(CdkPrincipal(raw)), names.encode(name)) for raw, name in ordered])
    canister = Canister.install(KYBRA.format(38, 40), memory=image)
    assert canister.query("items") == [(Principal(raw), name) for raw, name in ordered]
    for number in range(40):
        assert canister.call("put", Principal(bytes([3, number])), f"name {number}") is None
    assert canister.call("put", Principal(b"\x09"), "neuf") == "nine"
    canister.upgrade()
    found = canister.query("items")
    assert [key.bytes for key, _ in found] == sorted((key.bytes for key, _ in found), key=lambda raw: (len(raw), raw))
    assert len(found) == 43
    assert canister.manager.get(7).read(0, 12) == b"BTR\x01" + struct.pack("<II", 38, 40)


def test_a_version_1_map_of_smaller_slots_panics_as_the_crate_does():
    canister = Canister.install(KYBRA.format(39, 40), memory=kybra_memory([]))
    with pytest.raises(Trapped, match=r"Panicked at 'max_key_size must be <= 38'"):
        canister.query("items")


def test_a_basilisk_canister_goes_on_with_the_memory_of_another():
    memory = StableMemory()
    manager = MemoryManager(memory)
    files, scores = StableBTreeMap[bytes, bytes](manager.get(254)), StableBTreeMap[bytes, bytes](manager.get(3))
    files.insert(b"/notes/a.txt", b"hello")
    scores.insert(tagged.encode("Ada", None), tagged.encode(7, tagged.nat8))
    source = "from basilisk import *\nscores = StableBTreeMap[str, nat8](memory_id=3)\n"
    source += "@query\ndef look(): return scores.items(), open('/notes/a.txt').read(), scores.range('A', 'Adaa')\n"
    canister = Canister.install(source, memory=memory.read(0, memory.nbytes))
    assert canister.query("look") == ([("Ada", 7)], "hello", [("Ada", 7)])


def test_an_upgrade_can_go_on_with_the_memory_of_a_real_canister():
    keys, names = candid_type(CdkPrincipal), candid_type(str)
    image = kybra_memory([(keys.encode(CdkPrincipal(b"\x09")), names.encode("nine"))])
    canister = Canister.install(KYBRA.format(38, 40))
    canister.call("put", Principal(b"\x01"), "own")
    with pytest.raises(Trapped):
        canister.upgrade(KYBRA.format(38, 40) + "undefined\n", memory=image)
    assert canister.query("items") == [(Principal(b"\x01"), "own")]
    canister.upgrade(memory=image)
    assert canister.query("items") == [(Principal(b"\x09"), "nine")]
