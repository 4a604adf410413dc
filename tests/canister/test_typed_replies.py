# SPDX-License-Identifier: Apache-2.0
"""Replies of Python, canisters and registered functions, that Wasm reads: typed by their annotations, else by the value."""

import pytest

from stable_structures import Principal, f32, f64, i8, i16, i32, i64, i128, u8, u16, u32, u64, u128
from stable_structures.canister import Canister, Unsupported
from stable_structures.canister.annotations import encoded_reply
from stable_structures.encodings.candid.codec import decode, encode
from stable_structures.encodings.candid.types import NAT8, Opt, Primitive, Record, Vec, make_field

HEAD = "from stable_structures import *\nfrom stable_structures.canister import query\n"
NAT, INT, TEXT = Primitive("nat"), Primitive("int"), Primitive("text")
CASES = [
    *((kind, 7, Primitive(name)) for kind, name in ((u8, "nat8"), (u16, "nat16"), (u32, "nat32"), (u64, "nat64"), (u128, "nat"))),
    *((kind, -7, Primitive(name)) for kind, name in ((i8, "int8"), (i16, "int16"), (i32, "int32"), (i64, "int64"), (i128, "int"))),
    (f32, 1.5, Primitive("float32")),
    (f64, 1.5, Primitive("float64")),
    (int, 7, NAT),
    (int, -7, INT),
    (list[int], [], Vec(NAT)),
    (list[int], [1, -1], Vec(INT)),
    (list[u64], [], Vec(Primitive("nat64"))),
    (list[u64], [1, 2], Vec(Primitive("nat64"))),
    (list[str], [], Vec(TEXT)),
    (bytes, b"", Vec(NAT8)),
    (u64 | None, None, Opt(Primitive("nat64"))),
    (u64 | None, 0, Opt(Primitive("nat64"))),
    (int | None, -1, Opt(INT)),
    (list[int | None], [None, 5], Vec(Opt(NAT))),
    (tuple[str, u32], ("a", 5), Record((make_field("0", TEXT), make_field("1", Primitive("nat32"))))),
    (tuple[str, int], ("a", -5), Record((make_field("0", TEXT), make_field("1", INT)))),
    (Principal, Principal(b"\4"), Primitive("principal")),
    # What does not fit its annotation, or has none, is typed by its value.
    (u8, 300, NAT),
    (u64, "seven", TEXT),
    (str, 5, NAT),
    (tuple[str, u32], ["a"], Vec(TEXT)),
    (dict[str, int], {"a": 1}, Record((make_field("a", NAT),))),
    ("no such type", 5, NAT),
    (object, True, Primitive("bool")),
]


@pytest.mark.parametrize(("annotation", "value", "wanted"), CASES, ids=[f"{one[0]} {one[1]!r}"[-40:] for one in CASES])
def test_a_reply_has_the_type_of_its_annotation(annotation, value, wanted):
    def method():
        return value

    method.__annotations__["return"] = annotation
    assert encoded_reply(method, value) == encode([value], [wanted])


def test_the_type_of_nothing_is_asked_for():
    def nothing() -> None:
        return None

    assert encoded_reply(nothing, None) == b"DIDL\0\0"
    assert encoded_reply(nothing, b"DIDL\0\1\x7d\5") == b"DIDL\0\1\x7d\5"
    with pytest.raises(Unsupported, match="annotate the method"):
        encoded_reply(list, [])


def test_a_canister_in_python_replies_with_its_types():
    one = Canister.install(HEAD + "@query\ndef some() -> list[u64]: return []\n@query\ndef number() -> u64: return 5\n")
    assert one.query_raw("some", b"DIDL\0\0") == encode([[]], [Vec(Primitive("nat64"))])
    assert one.query_raw("number", b"DIDL\0\0") == encode([5], [Primitive("nat64")])
    assert decode(one.query_raw("number", b"DIDL\0\0")) == [5]


def test_an_alarm_while_annotations_are_read_is_not_lost():
    class Alarm(Exception):
        pass

    class Ringing:
        def __getattr__(self, name):
            raise Alarm(name)

    def method():
        return 5

    method.__annotations__["return"] = "ringing.now"
    method.__globals__["ringing"] = Ringing()
    try:
        with pytest.raises(Alarm):
            encoded_reply(method, 5)
    finally:
        del method.__globals__["ringing"]
