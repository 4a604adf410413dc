"""Forms: what a page sends for each Candid type becomes its value, and what is wrong says where."""

import base64
from typing import NotRequired, TypedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stable_structures.encodings.candid.codec import decode, encode
from stable_structures.encodings.candid.text import parse_values, show_values
from stable_structures.encodings.candid.types import Primitive, Record, Variant, Vec, parse_interface
from stable_structures.principal import Principal
from stable_structures.serve.changes import compare, image_of
from stable_structures.serve.forms import InvalidInput, Types, comments, read_all
from stable_structures.serve.python import candid_type, parameters

ADA = "2vxsx-fae"


def types_of(text):
    return parse_interface(f"{text[0]}; service : {{ f : ({text[1]}) -> () }}" if text[0] else f"service : {{ f : ({text[1]}) -> () }}")


def args_of(arguments, types=""):
    return types_of((types, arguments)).methods["f"].args


CASES = [
    ("nat", "0xff", 255),
    ("nat", "1_000", 1000),
    ("int", "-5", -5),
    ("nat8", "255", 255),
    ("int64", str(-(2**63)), -(2**63)),
    ("float64", "1.5", 1.5),
    ("bool", True, True),
    ("text", "</script>\u202e\n\0", "</script>\u202e\n\0"),
    ("null", None, None),
    ("principal", ADA, Principal.from_text(ADA)),
    ("blob", {"text": "é"}, "é".encode()),
    ("blob", {"hex": "0x00 ff"}, b"\0\xff"),
    ("blob", {"base64": base64.b64encode(b"\1\2").decode()}, b"\1\2"),
    ("opt nat", None, None),
    ("opt nat", {"some": "3"}, 3),
    ("vec opt text", [None, {"some": "a"}], [None, "a"]),
    ("record { text; nat }", ["a", "1"], {"0": "a", "1": 1}),
    ("variant { Err : text; Ok }", {"tag": 0, "value": None}, {"Ok": None}),
    ("func () -> ()", f"{ADA}.a.b", (Principal.from_text(ADA), "a.b")),
    ("service {}", ADA, Principal.from_text(ADA)),
    ("vec record { a : bool }", {"candid": "vec { record { a = true } }"}, [{"a": True}]),
]


@pytest.mark.parametrize(("declared", "sent", "value"), CASES, ids=[f"{one[0]} {number}" for number, one in enumerate(CASES)])
def test_what_a_page_sends_becomes_the_value(declared, sent, value):
    types = args_of(declared)
    assert read_all([sent], types) == [value]
    encode([value], types)  # and it is one of the type


@given(st.integers(min_value=0, max_value=10**6000))
def test_a_nat_of_any_size_goes_and_comes_back(number):
    nat = [Primitive("nat")]
    digits = []
    rest = number
    while rest:
        rest, digit = divmod(rest, 10**1000)
        digits.append(f"{digit:01000d}")
    (read,) = read_all(["".join(reversed(digits)) or "0"], nat)
    assert read == number
    shown = show_values(decode(encode([read], nat), nat), nat)
    assert parse_values(shown) == [number]


@pytest.mark.parametrize(
    ("declared", "sent", "path", "words"),
    [
        ("nat", "-1", [0], "at least 0"),
        ("nat8", "256", [0], "at most 255"),
        ("nat", "", [0], "empty"),
        ("nat", "1.5", [0], "not an integer"),
        ("nat", 5, [0], "expected nat, got int"),
        ("nat", "9" * 100_001, [0], "hexadecimal"),
        ("int", "+-1", [0], "not an integer"),
        ("float32", "x", [0], "such as 1.5"),
        ("bool", "true", [0], "true or false"),
        ("text", "\ud800", [0], "half a character"),
        ("principal", "nobody", [0], "nobody"),
        ("blob", {"hex": "0"}, [0], "pairs"),
        ("blob", {"hex": "00", "text": ""}, [0], "expected a blob"),
        ("blob", {"base64": "!"}, [0], "base64"),
        ("empty", None, [0], "no values"),
        ("record { a : vec nat }", [["1", "x"]], [0, 0, 1], "not an integer"),
        ("record { a : nat }", [], [0], "1 fields"),
        ("record { a : nat }", {"a": "1"}, [0], "fields of a record"),
        ("variant { a; b }", {"tag": 2}, [0], "tags"),
        ("variant { a; b }", {"tag": True}, [0], "tags"),
        ("opt opt nat", {"some": {"some": "z"}}, [0, 0, 0], "not an integer"),
        ("opt nat", "1", [0], "null or a value"),
        ("func () -> ()", ADA, [0], "principal and a method"),
        ("nat", {"candid": "1, 2"}, [0], "one value"),
        ("nat", {"candid": "vec {"}, [0], "Candid"),
    ],
)
def test_what_is_wrong_says_where(declared, sent, path, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        read_all([sent], args_of(declared))
    assert caught.value.path == path


def test_arguments_of_another_number_or_too_deep_are_refused():
    for sent in (None, [], ["1", "2"], {"0": "1"}):
        with pytest.raises(InvalidInput, match="expected 1 arguments"):
            read_all(sent, args_of("nat"))
    types = args_of("List", "type List = opt record { nat; List }")
    deep = None
    for _ in range(150):
        deep = {"some": ["1", deep]}
    with pytest.raises(InvalidInput, match="levels"):
        read_all([deep], types)


def test_types_lead_back_to_themselves_and_end():
    text = (
        "type List = variant { cons : record { nat; List }; nil }; type Bad = record { Bad }; type Worse = variant { a : Bad; b : Missing }"
    )
    types = Types()
    described = [types.describe(one) for one in args_of("List, Bad, Worse", text)]
    assert [one["kind"] for one in described] == ["name"] * 3
    by_name = {one["text"]: types.table[one["number"]] for one in described}
    start = by_name["List"]["fields"][by_name["List"]["start"]]
    assert start["name"] == "nil"
    assert by_name["Worse"]["fields"][by_name["Worse"]["start"]]["name"] == "b"
    assert len(types.table) == 4


def test_types_that_double_at_each_level_are_described_at_once():
    text = "; ".join(f"type T{i} = variant {{ a : record {{ T{i + 1}; T{i + 1} }} }}" for i in range(60)) + "; type T60 = record { T60 }"
    types = Types()
    types.describe(args_of("T0", text)[0])
    assert len(types.table) == 61


def test_names_and_comments_come_from_the_interface():
    text = """service : {
  // Moves money.
  // Twice.
  "transfer" : (to : text, nat, "amount in e8s" : nat) -> ();
  get : () -> (nat) query;
}"""
    assert parse_interface(text).methods["transfer"].names == ("to", "", "amount in e8s")
    assert comments(text) == {"transfer": "Moves money.\nTwice."}


class Point(TypedDict):
    x: int
    y: NotRequired[list[str]]


def test_annotations_of_python_become_types():
    def method(self, a: int, b: "str", c: bytes | None, d: Point, e: tuple[bool, float], f: dict, g=1, *rest, h: int = 2):  # noqa: PLR0913, PLR0917 - one of each sort
        del self, a, b, c, d, e, f, g, rest, h

    found = {one.name: one for one in parameters(method)}
    assert list(found) == ["self", "a", "b", "c", "d", "e", "f", "g"]
    assert found["a"].type == Primitive("int")
    assert found["b"].type == Primitive("text")
    assert isinstance(found["e"].type, Record)
    assert found["f"].type is found["g"].type is None
    assert not found["g"].required
    assert candid_type(list[list[int]]) == Vec(Vec(Primitive("int")))
    assert not isinstance(candid_type(Point), Variant)


# ---- what changed ----


@given(st.binary(max_size=300), st.lists(st.integers(0, 400), max_size=20))
def test_changes_cover_every_byte_that_differs_and_nothing_far_from_one(data, places):
    before = np.frombuffer(data, np.uint8)
    after = np.pad(before, (0, 420 - len(before)))
    for place in places:
        after[place] ^= 0xFF
    wanted = np.flatnonzero(after != np.pad(before, (0, 420 - len(before))))
    found = compare(before, after)
    assert found.nbytes == len(wanted)
    cells = {cell for begin, end in found.runs for cell in range(begin // 16, end // 16)}
    assert cells == {int(place) // 16 for place in wanted}


def test_many_changes_become_larger_cells():
    after = np.zeros(1 << 20, np.uint8)
    after[::64] = 1
    found = compare(np.zeros(0, np.uint8), after)
    assert found.nbytes == 1 << 14
    assert found.cell > 16
    assert all(any(begin <= place < end for begin, end in found.runs) for place in (0, 64, (1 << 20) - 64))


def test_an_image_stays_when_its_file_is_gone(tmp_path):
    path = tmp_path / "x"
    assert len(image_of(path)) == 0
    path.write_bytes(b"abc")
    image = image_of(path)
    path.unlink()
    assert bytes(image) == b"abc"
