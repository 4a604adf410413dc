"""Candid: values against icp-py-core, subtyping, what is not trusted, text."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stable_structures import IncompatibleType, Principal
from stable_structures.canister import SourceError, Unsupported
from stable_structures.encodings.candid.codec import CandidError, decode, encode, encode_untyped
from stable_structures.encodings.candid.subtype import incompatible
from stable_structures.encodings.candid.text import fit_all, parse_values, show_values
from stable_structures.encodings.candid.types import Interface, Some, parse_interface, parse_types, type_text
from stable_structures.storable import parse_type

from ..support.examples import examples

NUMBERS = {"nat8": (0, 2**8), "nat16": (0, 2**16), "nat32": (0, 2**32), "nat64": (0, 2**64), "int8": (-(2**7), 2**7)}
NUMBERS |= {
    "int16": (-(2**15), 2**15),
    "int32": (-(2**31), 2**31),
    "int64": (-(2**63), 2**63),
    "nat": (0, 2**200),
    "int": (-(2**200), 2**200),
}
LEAVES = st.sampled_from([*NUMBERS, "text", "bool", "float64", "principal", "blob"])
NAMES = st.sampled_from(["a", "b", "id", "owner", "Ok", "Err", "amount", "weird name"])


def fields(types, *, word):
    named = st.dictionaries(NAMES, types, min_size=1, max_size=4)
    return named.map(lambda one: f"{word} {{ " + "; ".join(f'"{name}" : {kind}' for name, kind in one.items()) + " }")


TYPES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda one: f"vec {one}"),
        inner.map(lambda one: f"opt {one}"),
        fields(inner, word="record"),
        fields(inner, word="variant"),
        st.lists(inner, min_size=2, max_size=3).map(lambda ones: "record { " + "; ".join(ones) + " }"),
    ),
    max_leaves=6,
)


def value_of(kind, rng):  # noqa: PLR0911 - one for each sort of type
    """A random value of a type."""
    name = type(kind).__name__
    if name == "Primitive":
        return primitive(kind.name, rng)
    if name == "Opt":
        if rng.random() < 0.3:
            return None
        inner = value_of(kind.item, rng)
        return Some(inner) if type(kind.item).__name__ == "Opt" else inner
    if name == "Vec":
        if type_text(kind) == "blob":
            return rng.randbytes(rng.randrange(5))
        return [value_of(kind.item, rng) for _ in range(rng.randrange(4))]
    if name == "Record":
        values = {one.name: value_of(one.type, rng) for one in kind.fields}
        return tuple(values.values()) if kind.is_tuple else values
    one = rng.choice(kind.fields)
    return {one.name: value_of(one.type, rng)}


def primitive(name, rng):
    if name in NUMBERS:
        low, high = NUMBERS[name]
        return rng.choice((low, high - 1, rng.randrange(low, high), max(low, min(high - 1, rng.randrange(300)))))
    return {
        "text": rng.choice(("", "x", "grüße", 'line\nfeed "quoted" \\')),
        "bool": rng.random() < 0.5,
        "float64": rng.choice((0.0, -1.5, 1e300)),
        "principal": rng.choice((Principal.anonymous(), Principal.management_canister(), Principal(rng.randbytes(29)))),
    }[name]


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(TYPES, max_size=3), st.integers(0, 2**32))
def test_values_come_back(kinds, seed):
    types = parse_types("(" + ", ".join(kinds) + ")")
    values = [value_of(kind, random.Random(seed + place)) for place, kind in enumerate(types)]
    data = encode(values, types)
    assert decode(data, types) == values
    assert len(decode(data)) == len(values)
    shown = show_values(values, types)
    assert encode(fit_all(parse_values(shown), types), types) == data


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(TYPES, max_size=2), st.integers(0, 2**32))
def test_icp_py_core_reads_what_we_write_and_writes_what_we_read(kinds, seed):
    icp = pytest.importorskip("icp_candid")
    types = parse_types("(" + ", ".join(kinds) + ")")
    values = [value_of(kind, random.Random(seed + place)) for place, kind in enumerate(types)]
    service = icp.DIDLoader().load_did_source("service : { m : (" + ", ".join(kinds) + ") -> (" + ", ".join(kinds) + ") }")
    theirs = service["methods"]["m"].args if hasattr(service["methods"]["m"], "args") else service["methods"]["m"]["args"]
    read = icp.decode(encode(values, types), theirs)
    written = icp.encode([{"type": kind, "value": one["value"]} for kind, one in zip(theirs, read, strict=True)])
    assert decode(bytes(written), types) == values


def reads(written, wanted):
    (from_type,), (to_type,) = parse_types(f"({written[0]})"), parse_types(f"({wanted})")
    return decode(encode([written[1]], [from_type]), [to_type])[0]


@pytest.mark.parametrize(
    ("written", "wanted", "read"),
    [
        (("nat", 5), "int", 5),
        (("nat", 5), "opt nat", 5),
        (("nat", 5), "opt text", None),
        (("opt nat", 5), "opt text", None),
        (("nat", 5), "reserved", None),
        (("record { a : nat; b : text }", {"a": 1, "b": "x"}), "record { a : nat }", {"a": 1}),
        (("record { a : nat }", {"a": 1}), "record { a : nat; c : opt text }", {"a": 1, "c": None}),
        (("variant { x; y }", "x"), "variant { x; y; z }", {"x": None}),
        (("variant { x; y }", "y"), "opt variant { x }", None),
        (("vec record { nat; text }", [(1, "a")]), "vec record { nat; opt text }", [(1, "a")]),
        (("opt opt nat", Some(None)), "opt opt nat", Some(None)),
        (("opt null", Some(None)), "opt null", Some(None)),
    ],
)
def test_the_rules_of_subtyping(written, wanted, read):
    assert reads(written, wanted) == read


@pytest.mark.parametrize(
    ("written", "wanted"),
    [(("int", 5), "nat"), (("text", "x"), "nat"), (("record {}", {}), "record { a : nat }"), (("variant { x; y }", "y"), "variant { x }")],
)
def test_what_is_no_subtype_is_refused(written, wanted):
    with pytest.raises(CandidError, match="expected"):
        reads(written, wanted)


def test_types_that_lead_back_to_themselves():
    interface = parse_interface("type list = opt record { head : nat; tail : list }; service : { sum : (list) -> (list) query }")
    (kind,) = interface.methods["sum"].args
    value = {"head": 1, "tail": {"head": 2, "tail": None}}
    assert decode(encode([value], [kind]), [kind]) == [value]
    assert decode(encode([value], [kind]))[0]["_1158359328"] == 1
    other = parse_interface("type list = opt record { head : text; tail : list }; service : { sum : (list) -> (list) query }")
    assert decode(encode([{"head": "x", "tail": None}], other.methods["sum"].args), other.methods["sum"].args) == [
        {"head": "x", "tail": None}
    ]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("nat", -1, "the negative number -1"),
        ("nat8", 256, "out of its range"),
        ("nat", True, "got bool"),
        ("text", 5, "expected text, got int 5"),
        ("record { a : nat }", {"b": 1}, "got the field 'b'"),
        ("record { a : nat }", {}, "field 'a' is missing"),
        ("variant { x }", {"y": 1}, "got the tag 'y'"),
        ("vec nat", 5, "expected vec nat"),
        ("principal", 5, "expected principal"),
        ("empty", 1, "no values"),
    ],
)
def test_values_of_another_type_say_so(kind, value, said):
    with pytest.raises((TypeError, OverflowError), match=said):
        encode([value], parse_types(f"({kind})"))


@settings(max_examples=examples(300), deadline=None)
@given(st.binary(max_size=60))
def test_bytes_that_are_no_message_are_refused(data):
    for given_data in (data, b"DIDL" + data):
        try:
            decode(given_data)
        except CandidError:
            continue


def test_messages_that_announce_too_much_are_refused():
    many = b"\xff\xff\xff\xff\x0f"
    for data in (
        b"DIDL" + many,
        b"DIDL\1\x6d\x7f\1\0" + many,
        b"DIDL\1\x6d\x6f\1\0" + many,
        b"DIDL\1\x6d\0\1\0" + b"\1" * 500,
        b"DIDL\1\x6e\0\1\0" + b"\1" * 500,
    ):
        with pytest.raises(CandidError):
            decode(data)


def test_values_without_types():
    values = [True, 5, -5, "x", b"ab", Principal.anonymous(), None, [1, 2, -3], {"a": 1}, (1, "x"), Some(4)]
    data = decode(encode_untyped(values))
    assert data[:8] == [True, 5, -5, "x", b"ab", Principal.anonymous(), None, [1, 2, -3]]
    assert data[9:] == [(1, "x"), 4]
    with pytest.raises(Unsupported, match="annotate"):
        encode_untyped([[]])


def test_interfaces_that_are_wrong_say_where():
    for text, said in (
        ("service : { a : () -> ", "line 1"),
        ("service : {\n a : (nat -> () }", "line 2"),
        ("service : { a : (nowhere) -> () }\n%", "line 2"),
        ('import "other.did"; service : {}', "imports"),
    ):
        with pytest.raises(SourceError, match=said):
            parse_interface(text)
    with pytest.raises(SourceError, match="does not define the type nowhere"):
        encode([1], parse_interface("service : { a : (nowhere) -> () }").methods["a"].args)


def test_text_that_is_no_value_says_so():
    for text in ("(", "(1", "1", "(1) x", "(record { a = })", "(vec {1;;})", "(oops)", '("x)', "(variant { a b })"):
        with pytest.raises(SourceError):
            parse_values(text)
    assert parse_values('(1_000, -5 : int, 0x10, 1.5, true, null, opt 3, blob "\\00a", "a\\u{e9}\\n", vec { 1; 2 })') == [
        1000, -5, 16, 1.5, True, None, Some(3), b"\0a", "aé\n", [1, 2],
    ]  # fmt: skip


def changes(old, new):
    return incompatible(parse_interface(f"service : {{ {new} }}"), parse_interface(f"service : {{ {old} }}"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a : () -> ()", "a : () -> (); b : () -> ()", []),
        ("a : () -> ()", "", ["a: is gone"]),
        ("a : (nat) -> (nat)", "a : (int) -> (nat)", []),
        ("a : (int) -> (nat)", "a : (nat) -> (nat)", ["a: argument 1: int is not a nat"]),
        ("a : () -> (nat)", "a : () -> (int)", ["a: result 1: int is not a nat"]),
        ("a : () -> (nat)", "a : () -> (nat, text)", []),
        ("a : () -> ()", "a : (opt nat) -> ()", []),
        ("a : () -> ()", "a : (nat) -> ()", ["a: argument 1: nat is new"]),
        ("a : () -> () query", "a : () -> ()", ["a: was query, is an update"]),
        ("a : (record { x : nat }) -> ()", "a : (record { x : nat; y : opt text }) -> ()", []),
        ("a : (record { x : nat }) -> ()", "a : (record { x : nat; y : text }) -> ()", ["a: argument 1: field y: is gone"]),
        ("a : () -> (variant { x })", "a : () -> (variant { x; y })", ["a: result 1: tag y: is unknown"]),
        ("a : () -> (opt variant { x })", "a : () -> (opt variant { x; y })", []),
    ],
)
def test_whether_callers_can_go_on(old, new, said):
    assert changes(old, new) == said


def test_an_interface_keeps_its_text():
    text = "service : (nat) -> { a : (x : nat, blob) -> (text) query; }"
    interface = parse_interface(text)
    assert isinstance(interface, Interface)
    assert (interface.text, type_text(interface.init[0]), type_text(interface.methods["a"])) == (
        text,
        "nat",
        "func (nat, blob) -> (text) query",
    )


@pytest.mark.parametrize(
    "text",
    [
        *("record { a : text; a : nat }", "variant { a; a }", "variant { a : text; a : nat }", "record { 97 : nat; a : text }"),
        *("record { text; 0 : nat }", "record { bkzdivbp : text; qaskyvcl : nat8 }", "opt vec variant { bkzdivbp; qaskyvcl }"),
    ],
)
def test_two_fields_of_one_hash_are_refused(text):
    with pytest.raises(SourceError, match="have the hash"):
        parse_types(f"({text})")
    with pytest.raises(IncompatibleType, match="have the hash"):
        parse_type(f"candid<{text}>")


def test_an_interface_that_is_cut_off_says_where():
    """At every byte: either a whole interface, or an error with the line, which calls the end by its name."""
    text = 'type A = record { a : opt nat; "b c" : vec text };\nservice : (A, x : nat) -> { f : (A, y : text) -> (variant { x; y }) query }'
    errors = []
    for length in range(len(text)):
        try:
            parse_interface(text[:length])
        except SourceError as error:
            errors.append(str(error))
    assert all(one.startswith(("Candid, line 1: ", "Candid, line 2: ")) or "does not define the type" in one for one in errors)
    for cut in ("service", "service : {", "service : (", "service : { f : (", "type", "type A =", "type A = record {", "type A = opt"):
        with pytest.raises(SourceError, match=r"^Candid, line 1: expected .*, got 'the end'$"):
            parse_interface(cut)


@pytest.mark.parametrize("name", ["query", "opt", "record", "naïve", "a b", "٣", "service"])
def test_names_that_are_no_plain_words_are_quoted_in_values_as_in_types(name):
    """Or other tools do not read them."""
    for kind, value in (("record", {name: 5}), ("variant", {name: 5})):
        (tp,) = parse_types(f'({kind} {{ "{name}" : nat8 }})')
        shown = show_values([value], [tp])
        assert f'"{name}" = 5' in shown
        assert decode(encode(fit_all(parse_values(shown), [tp]), [tp]), [tp]) == [value]
