"""Stable signatures of Motoko: read, and compared as Motoko's own runtime decides on an upgrade."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stable_structures.encodings.motoko import NotRead, changes, read_signature

# What the compiler of npm's motoko 4.10 writes for a map of the core library.
MAP = """// Version: 1.0.0
type Data__683484641<K, V> =
  {var count : Nat__142896701; kvs : [var ?(K, V)]};
type Internal__879385083<K, V> =
  {children : [var ?Node__984751753<K, V>]; data : Data__683484641<K, V>};
type Leaf__513553565<K, V> = {data : Data__683484641<K, V>};
type Nat__142896701 = Nat__920180692;
type Nat__920180692 = Nat;
type Node__984751753<K, V> =
  {#internal : Internal__879385083<K, V>; #leaf : Leaf__513553565<K, V>};
actor {
  stable accounts :
    {var root : Node__984751753<Text, Nat>; var size : Nat__142896701};
  stable var note : ?Text;
  stable var ticks : Nat
};
"""


def compared(old, new):
    return changes(read_signature(old), read_signature(new))


def of(tp):
    return f"actor {{ stable var a : {tp} }};"


# Each was tried: a program with the first type was upgraded to one with the second, and the runtime took it or not.
TAKEN = [
    ("Nat", "Nat"),
    ("Nat", "Int"),
    ("{#p : Nat; #q}", "{#p : Nat; #q; #r}"),
    ("?Nat", "?Int"),
    ("(Nat, Text)", "(Int, Text)"),
    ("[Nat]", "[Int]"),
]
REJECTED = [
    ("Nat", "Text"),
    ("Nat", "?Nat"),
    ("Nat", "Any"),
    ("{#p : Nat; #q}", "{#p : Nat}"),
    ("{x : Nat; y : Text}", "{x : Nat}"),
    ("{x : Nat; y : Text}", "{x : Nat; y : Text; z : ?Nat}"),
    ("{var m : Nat}", "{var m : Int}"),
    ("{var m : Nat}", "{m : Nat}"),
    ("[var Nat]", "[var Int]"),
    ("(Nat, Text)", "(Nat, Text, Nat)"),
]


@pytest.mark.parametrize(("old", "new"), TAKEN)
def test_what_the_runtime_takes(old, new):
    assert compared(of(old), of(new)) == []


@pytest.mark.parametrize(("old", "new"), REJECTED)
def test_what_the_runtime_rejects(old, new):
    (line,) = compared(of(old), of(new))
    assert line in (f"a was {old}, is {new}", "a loses the field y")


def test_a_map_of_the_core_library():
    assert compared(MAP, MAP) == []
    assert read_signature(MAP).texts["accounts"] == "{var root : Node__984751753<Text, Nat>; var size : Nat__142896701}"
    (line,) = compared(MAP, MAP.replace("<Text, Nat>", "<Text, Text>"))
    assert line.startswith("accounts was {var root : Node__984751753<Text, Nat>")
    (line,) = compared(MAP, MAP.replace("kvs : [var ?(K, V)]", "kvs : [var ?(V, K)]"))
    assert line.endswith("whose definition is another one")
    assert compared(MAP, MAP.replace("{#internal", "{#more; #internal")) != []  # it is in an array that is mutable
    assert compared(MAP, MAP.replace("ticks : Nat", "ticks : Int").replace("note", "remark")) == ["note : ?Text is gone, its value is lost"]


def test_types_that_refer_to_themselves():
    old = "type L = ?(Nat, L); type M<T> = {#e; #m : (T, M<T>)}; actor { stable a : L; stable b : M<Nat> };"
    assert compared(old, old.replace("(Nat, L)", "(Int, L)")) == []
    assert compared(old, old.replace("(Nat, L)", "(Text, L)")) == ["a was L, is L, whose definition is another one"]
    assert compared(old, old.replace("M<Nat>", "M<Int>")) == []
    endless = "type E<T> = {#x : E<[T]>}; actor { stable a : E<Nat> };"
    assert compared(endless, endless) == []
    endless = "type E<T> = {var x : [var E<[T]>]; y : T}; actor { stable a : E<Nat> };"
    assert compared(endless, endless) == []
    assert compared("type A = A; actor { stable a : A };", "type A = A; actor { stable a : A };") == []


def test_functions_and_actors():
    old = "actor { stable f : shared query (a : Nat, Text) -> async Nat; stable g : actor { go : shared () -> () } };"
    assert compared(old, old) == []
    assert compared(old, old.replace("async Nat", "async Int")) == []
    assert len(compared(old, old.replace("a : Nat", "a : Text"))) == 1


@pytest.mark.parametrize(
    "text", ["", "actor {", "actor { stable a : }", "actor { stable a : Nat } x", "type T<A <: Any> = A; actor {};", "§"]
)
def test_other_forms_are_not_read(text):
    with pytest.raises(NotRead):
        read_signature(text)


@given(
    st.text(alphabet="{}()[]<>;:,?#=- \nactorstablevypN", max_size=60)
    | st.integers(0, 400).map(lambda n: "actor { stable a : " + "?[(" * n)
)
def test_any_text_is_read_or_not(text):
    with contextlib.suppress(NotRead):
        read_signature(text)
    with contextlib.suppress(NotRead):
        read_signature(f"actor {{ stable a : {text} }};")


def test_a_deep_type_is_not_read():
    with pytest.raises(NotRead):
        read_signature(of("[" * 5000 + "Nat" + "]" * 5000))
    with pytest.raises(NotRead):
        read_signature(of("?" * 5000 + "Nat"))
    with pytest.raises(NotRead):
        read_signature(of("Nat -> " * 5000 + "Nat"))
