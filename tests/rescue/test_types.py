"""Types: every encoding, how it is spelled, and that a wrong one is refused."""

from __future__ import annotations

import copy
import enum
from functools import cache
from random import Random

import pytest

from stable_structures import Array, IncompatibleType, Principal, f32, f64, i8, i16, i32, i64, i128, u8, u16, u32, u64, u128
from stable_structures.inspect import check, inspect, open_image
from stable_structures.rescue import (
    ArrayOf,
    Candid,
    Custom,
    Fault,
    Int,
    IsmImage,
    Nat,
    NotOwned,
    SBox,
    SBTreeMap,
    SBTreeSet,
    SchemaError,
    SHashMap,
    SLog,
    SVec,
    char,
    isize,
    open_ism,
    parse_schema,
    usize,
)
from stable_structures.rescue.annotations import resolve
from stable_structures.rescue.containers import is_alike
from stable_structures.rescue.trees import has_trees

from ..support import ism_crate
from ..support.ism_crate import Allocator, Space
from ..support.ism_storm import Storm
from ..support.ism_traces import GOLDEN, A, B, C, Replay, St, SVecElement, annotation, element, structure


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


OPTION_OF_OPTION = parse_schema('width = 4\n[keys.1]\ntype = "Option<Option<u8>>"').types[1]
SPELLED = {
    "u8": u8, "i8": i8, "u16": u16, "i16": i16, "u32": u32, "i32": i32, "u64": u64, "i64": i64, "u128": u128, "i128": i128,
    "usize": usize, "isize": isize, "f32": f32, "f64": f64, "bool": bool, "char": char, "()": None, "[u8;3]": Array(3),
    "[i8;2]": ArrayOf[i8, 2], "[bool;3]": ArrayOf[bool, 3], "[char;2]": ArrayOf[char, 2], "Option<u32>": u32 | None,
    "Option<Option<u8>>": OPTION_OF_OPTION, "(u8,)": tuple[u8], "(u8,u32)": tuple[u8, u32], "(u8,u16,bool)": tuple[u8, u16, bool],
    "(u8,u8,u8,u8)": tuple[u8, u8, u8, u8], "(u8,u8,u8,u8,u8,u8)": tuple[u8, u8, u8, u8, u8, u8], "String": str, "Vec<u8>": bytes,
    "Principal": Principal, "Nat": Nat, "Int": Int, "St": St, "En": A | B | C,
}  # fmt: skip
SPECIAL = {
    "Some(5)": 5, "None": None, "Some(Some(3))": (3,), "Some(None)": (None,), "true": True, "false": False, "()": None,
    "[1, 2, 3]": b"\1\2\3", "[]": b"", "A": A(), "B(7)": B(7), "C { x: 1, y: 2 }": C(1, 2), "[-1, 2]": (-1, 2),
    "[true, false, true]": (True, False, True), "['a', 'b']": ("a", "b"), "(1, 2, true)": (1, 2, True),
    "St { a: 1, b: Some(2), c: true, d: (3, 4) }": St(1, 2, True, (3, 4)),
    "St { a: 1, b: None, c: false, d: (3, 4) }": St(1, None, False, (3, 4)),
}  # fmt: skip
LINES = [line.split("\t") for line in (GOLDEN / "encodings.txt").read_text(encoding="utf-8").splitlines() if "\t" in line]


def value_of(name, text):
    """The value that the crate printed."""
    if text in SPECIAL:
        return SPECIAL[text]
    if name == "Principal":
        length, raw = text.removeprefix("Principal { len: ").removesuffix("] }").split(", bytes: [")
        return Principal(bytes(map(int, raw.split(", ")))[: int(length)])
    return eval(text.removeprefix("Nat").removeprefix("Int"))  # noqa: S307 - our own file of numbers, texts and tuples


def test_there_are_all_encodings():
    assert len(LINES) > 45
    assert {name for name, *_ in LINES} == SPELLED.keys()


@pytest.mark.parametrize(("name", "text", "encoding"), LINES)
def test_encodings_of_the_crate(name, text, encoding):
    data = b"" if encoding == "=" else bytes.fromhex(encoding)
    made = resolve(SPELLED[name])
    assert made.load(data, Space) == value_of(name, text)
    assert made.load(data + b"stale", Space) == value_of(name, text)


def test_sizes_of_handles():
    sizes = {
        tp.name.partition("<")[0]: tp.size(4) for tp in map(resolve, (SVec[u8], SLog[u8], SHashMap[u8, u8], SBTreeMap[u8, u8], SBox[str]))
    }
    assert sizes == {"SVec": 16, "SLog": 52, "SHashMap": 16, "SBTreeMap": 16, "SBox": 8}


@pytest.mark.parametrize(
    ("tp", "data"),
    [
        (bool, b"\2"),
        (u8 | None, b"\2\0"),
        (u8 | None, b"\0\1"),
        (char, (0xD800).to_bytes(4, "little")),
        (Principal, bytes([30]) + bytes(29)),
        (Principal, b"\1\1\1" + bytes(27)),
        (Int, b"\3" + bytes(31)),
        (Int, b"\0" + bytes(31)),
        (A | B | C, b"\3" + bytes(9)),
        (A | B | C, b"\0\1" + bytes(8)),
        (Color, b"\2"),
        (str, b"\1\0\0\0\xff"),
        (bytes, b"\xff\0\0\0"),
        (Candid, b"DIDL\x01"),
    ],
)
def test_what_the_crate_never_writes_is_refused(tp, data):
    with pytest.raises(ValueError, match="byte"):
        resolve(tp).load(data, Space)


def test_enums_without_fields_and_custom_encodings():
    assert resolve(Color).load(b"\1", Space) is Color.BLUE
    celsius = Custom("Celsius", lambda data: int.from_bytes(data, "big") / 10, size=2)
    assert celsius.load(b"\0\xe6", Space) == 23.0
    assert Custom("Text", lambda data: data.rstrip(b"\0").decode()).load(b"abc\0\0", Space) == "abc"
    assert resolve(Candid).load(bytes.fromhex("4449444c00017b05") + b"stale", Space) == 5


@pytest.mark.parametrize("tp", [SVec[u8 | None], int, tuple[()], list, SBTreeSet])
def test_other_types_are_refused_or_fine(tp):
    if tp == SVec[u8 | None]:
        assert resolve(tp).name == "SVec<Option<u8>>"
    else:
        with pytest.raises(IncompatibleType):
            resolve(tp)


def test_what_the_crate_cannot_encode_is_refused():
    with pytest.raises(IncompatibleType, match="cannot encode"):
        resolve(ArrayOf[u64, 3])
    with pytest.raises(IncompatibleType, match="SBox"):
        resolve(SVec[str])
    with pytest.raises(IncompatibleType, match="4"):
        open_ism(b"", {}, width=2)


# ---- a wrong type or width is refused ----

PLAIN = sorted(
    path.name.removesuffix(".trace.gz")
    for path in GOLDEN.glob("*.trace.gz")
    if not any(word in path.name for word in ("bug", "oom", "retain", "absent", "canister", "sbox", "alloc"))
)
INDISTINGUISHABLE = {
    ("hm_bool_u8", "SVec<u8>", 4),  # two entries: 7 slots of flag and bool, and 7 values, can be 7 bytes in a block for 16
    ("log_u64", "SLog<u64>", 8),  # a log of numbers has the same bytes for both widths, and the same contents
}


@cache
def fullest(name):
    """The saved image of the moment at which a trace held most."""
    trace, best = Replay(GOLDEN / f"{name}.trace.gz"), (0, None)
    for count, _ in enumerate(trace.play()):
        if count % 10 == 0 and len(trace.mirrors[""]) > best[0]:
            best = len(trace.mirrors[""]), trace.saved_image()[0]
    return best[1]


@cache
def recognised(name):
    """The same, opened once: which types and width are tried comes after that."""
    return open_image(fullest(name)).source


def tried(name, tp, width, *, saved=None):
    """As `open_ism` of the fullest image."""
    return IsmImage(recognised(name), {0: tp}, width, saved, unchecked=False)


OTHERS = {tp.name: tp for tp in [*map(annotation, PLAIN), *map(resolve, (str, bytes, u64))]}


@pytest.mark.parametrize("name", PLAIN)
def test_wrong_types_and_widths_are_refused(name):
    own = annotation(name)
    for other in OTHERS.values():
        for width in (4, 8):
            if (other == own and width == 4) or (name, other.name, width) in INDISTINGUISHABLE:
                continue
            image = tried(name, other, width)
            assert image.check()
            with pytest.raises(NotOwned, match="ownership"):
                image[0]
    assert open_ism(fullest(name), {0: own}).check() == []


def test_the_other_width_is_named_but_not_taken():
    with pytest.raises(NotOwned, match="With width=4 the check succeeds"):
        open_ism(fullest("bt_boxstr_u64"), {0: annotation("bt_boxstr_u64")}, width=8)[0]


def test_a_missing_key_and_a_leaked_box_are_findings():
    crate = Allocator()
    for key in (1, 2):
        crate.roots[key] = crate.allocate(8)
        crate.write(crate.roots[key] + 8, key.to_bytes(8, "little"))
    crate.pre_upgrade()
    image = open_ism(bytes(crate.mem), {1: u64, 2: u64})
    assert (image.check(), image[1], image[2]) == ([], 1, 2)
    assert "no type was given" in str(open_ism(bytes(crate.mem), {1: u64}).check()[0])
    assert "no such key" in str(open_ism(bytes(crate.mem), {1: u64, 2: u64, 3: u64}).check()[0])
    crate = Allocator()
    for value in (1, 2):
        crate.roots[1] = crate.allocate(8)
        crate.write(crate.roots[1] + 8, value.to_bytes(8, "little"))
    crate.pre_upgrade()
    (finding,) = open_ism(bytes(crate.mem), {1: u64}).check()
    assert finding.fault is not None
    assert finding.fault.value == "leaked-block"


@pytest.mark.parametrize("name", PLAIN)
def test_carving_finds_no_other_structure(name):
    own, logs = annotation(name), ("SLog<u64>", "SLog<u8>")  # a log of numbers is the same for both widths, and one of boxes one of numbers
    for other in OTHERS.values():
        for width in (4, 8):
            if (other == own and width == 4) or (name.startswith("log") and other.name in logs):
                continue
            image = tried(name, other, width, saved=False)
            assert image.check() or not [found for found in image.found(0) if found.certain]


@pytest.mark.parametrize("other", ["SHashMap<u16,u16>", "SHashMap<u32,u8>", "SHashSet<u16>", "SHashSet<u32>", "SHashMap<u8,u8>"])
def test_the_same_bytes_in_several_places_are_no_table(other):
    """A log that has few elements is all EMPTY words in the eyes of a table: one key in many slots, each where lookups find it."""
    trace = Replay(GOLDEN / "log_u64.trace.gz")
    for count, _ in enumerate(trace.play()):
        image = open_ism(bytes(trace.a.mem), parse_schema(f'width=4\n[keys.0]\ntype="{other}"\n').types, saved=False)
        assert not [found for found in image.found(0) if found.certain]
        if count == 40:
            break


@pytest.mark.parametrize(("name", "other"), [("hm_u64_u64", "SVec<(u64,u64,u8)>"), ("hs_u32", "SVec<(u32,u8)>")])
def test_a_hash_table_that_is_read_as_a_vec_has_a_note(name, other):
    """Both have one block, of any bytes; only the capacity tells them apart."""
    storm = Storm(name, 0)
    storm.things[""], rng = structure(storm.a, name), Random(1)
    for _ in range(60):
        storm.step(rng, absent=False)
    data, own = storm.saved_image()
    image = open_ism(data, parse_schema(f'width=4\n[keys.0]\ntype="{other}"\n').types)
    assert image.check() == []
    assert "which hash tables have" in image.notes[0].text
    assert open_ism(data, own).notes == []
    vec = Replay(GOLDEN / "vec_u64.trace.gz")
    for _ in vec.play():
        pass
    assert open_ism(*vec.saved_image()).notes == []


@pytest.mark.parametrize(
    "form", ["SVec<{}>", "SLog<{}>", "SHashMap<u8,{}>", "SBTreeMap<u8,{}>", "SBox<{}>", "Option<{}>", "(u8,{})", "State", "Either"]
)
def test_a_tree_is_seen_wherever_it_is_in_a_type(form):
    """A leaf that no node leads to is given to a tree only if there is no other one."""
    for inner, has_one in (("SBTreeSet<u64>", True), ("SCertifiedBTreeMap<u64,u64>", True), ("SHashSet<u64>", False)):
        types = f'[types.State]\nfields={{a="u8",b="{inner}"}}\n[types.Either]\nvariants={{A=[],B=["{inner}"]}}\n'
        schema = parse_schema(f'width=4\n{types}[keys.0]\ntype="{form.format(inner)}"\n')
        assert has_trees(schema.types[0]) == (has_one or form.startswith("SBTree"))


@pytest.mark.parametrize("key", ["f64", "f32", "(f32,u8)", "Option<f64>", "SBox<f32>"])
@pytest.mark.parametrize("form", ["SHashMap<{},u64>", "SHashSet<{}>", "SBTreeMap<{},u64>", "SBTreeSet<{}>"])
def test_floats_are_no_keys(form, key):
    with pytest.raises(SchemaError, match="neither an order nor a hash"):
        parse_schema(f'width=4\n[keys.0]\ntype="{form.format(key)}"\n')
    assert parse_schema('width=4\n[keys.0]\ntype="SHashMap<u64,f64>"\n').types


@pytest.mark.parametrize("name", ["bt_boxstr_u64", "cm", "vec_boxstr", "nest", "alloc", "sbox"])
def test_a_wiped_memory_is_told_from_one_that_is_all_free(name):
    trace = Replay(GOLDEN / f"{name}.trace.gz")
    wiped = 0
    for count, _ in enumerate(trace.play()):
        if count % 5:
            continue
        assert Fault.WIPED not in open_ism(bytes(trace.a.mem), {}, saved=False).faults()
        crate = copy.deepcopy(trace.a)
        if len(crate.mem) < 65536 or crate.get(8) >> 63 == 0:
            continue
        whole = len(crate.mem) - 24
        crate.put_word(8, whole)  # what stable_memory_init writes
        crate.put_word(len(crate.mem) - 8, whole)
        wiped += Fault.WIPED in open_ism(bytes(crate.mem), {}, saved=False).faults()
    assert wiped > 3


def test_a_table_that_can_never_grow_is_named():
    crate = Allocator()
    crate.roots[1] = crate.allocate(16)
    table = crate.allocate(17)
    crate.write(crate.roots[1] + 8, table.to_bytes(8, "little") + bytes(4) + (1).to_bytes(4, "little"))
    crate.write(table + 8, bytes(17))
    crate.pre_upgrade()
    image = open_ism(bytes(crate.mem), {1: SHashMap[u64, u64]})
    assert (image.check(), image.faults(), image[1].to_dict()) == ([], [Fault.DEAD_TABLE], {})


# ---- images of another width or type that are small ----


@pytest.mark.parametrize("name", [name for name in PLAIN if name != "nest"])
def test_a_small_image_of_a_64_bit_host_is_not_read_as_one_of_a_canister(name, monkeypatch):
    """With four bytes less for a length the numbers behind it shift; a block rounded up to 8 bytes does not tell."""
    monkeypatch.setattr(ism_crate, "W", 8)
    monkeypatch.setattr(ism_crate.Space, "width", 8)
    trace, own = Replay(GOLDEN / f"{name}.trace.gz"), annotation(name)
    for count, _ in enumerate(trace.play()):
        if count > 30:
            break
        data = trace.saved_image()[0]
        right = open_ism(data, {0: own}, width=8)
        assert right.check() == []
        wrong = open_ism(data, {0: own})
        assert not wrong.owned or is_alike(wrong[0], right[0])
        running = open_ism(bytes(trace.a.mem), {0: own}, saved=False)
        known = [found for found in running.found(0) if found.certain and not found.text]
        assert not running.owned or all(is_alike(found.contents, right[0]) for found in known)


def test_a_width_that_fits_is_refused_if_the_other_one_gives_other_contents():
    crate = Allocator()
    crate.roots[0] = crate.allocate(12)
    crate.write(crate.roots[0] + 8, (4).to_bytes(8, "little") + b"four")
    crate.pre_upgrade()
    image = open_ism(bytes(crate.mem), {0: bytes})
    with pytest.raises(NotOwned, match="fits width=8, too"):
        image[0]
    assert open_ism(bytes(crate.mem), {0: bytes}, width=8)[0] == b"four"
    assert open_ism(bytes(crate.mem), {0: bytes}, unchecked=True)[0] == bytes(4)


def tree(count, key, value, *, churn):
    """A saved tree; `churn` leaves a hole into which a block fits that is a little larger than it needs."""
    crate = Allocator()
    made = ism_crate.Tree(crate, element(key), element(value))
    hole = crate.allocate(made.leaf_size + 16) if churn else 0
    crate.roots[1] = crate.allocate(16)
    if churn:
        crate.deallocate(hole)
    for number in range(count):
        made.insert((number * 7919).to_bytes(made.key.n, "little"), bytes([number % 200 + 1]) * made.value.n)
    crate.roots[0] = crate.allocate(len(made.header()))
    crate.write(crate.roots[0] + 8, made.header())
    crate.pre_upgrade()
    return bytes(crate.mem)


SMALLER = [(SBTreeMap[i64, u8], (i64, u8), SBTreeSet[i64]), (SBTreeMap[u32, u16], (u32, u16), SBTreeMap[u32, u8])]


@pytest.mark.parametrize(("own", "parts", "other"), SMALLER)
@pytest.mark.parametrize("churn", [False, True])
@pytest.mark.parametrize("count", [60, 300])
def test_a_type_that_is_a_little_smaller_is_refused(own, parts, other, churn, count):
    """Also if some of its blocks are larger by other amounts."""
    data = tree(count, *parts, churn=churn)
    assert open_ism(data, {0: own, 1: u64}).check() == []
    assert any("another type" in one.text for one in open_ism(data, {0: other, 1: u64}).check() if one.ownership)


@pytest.mark.parametrize(("own", "parts", "other"), SMALLER)
def test_of_few_blocks_it_is_said_that_they_are_large(own, parts, other):
    data = tree(10, *parts, churn=False)
    assert open_ism(data, {0: own, 1: u64}).notes == []
    assert [one.text for one in open_ism(data, {0: other, 1: u64}).notes] == [
        "blocks larger than its type needs: 1 of 2, by chance, or it is another type"
    ]
    by_chance = open_ism(tree(10, *parts, churn=True), {0: own, 1: u64})
    assert (by_chance.check(), len(by_chance[0].to_dict())) == ([], 10)
    assert "by chance" in by_chance.notes[0].text


@pytest.mark.parametrize("vecs", [5, 40])
def test_blocks_that_vary_are_chance_where_they_are_not_nodes(vecs):
    """Vecs in a map take whatever block was freed, if it is not larger by 32 bytes."""
    crate = Allocator()
    places = [(crate.allocate(40 + 8 * (number % 2)), crate.allocate(16)) for number in range(vecs)]
    for hole, _ in places:
        crate.deallocate(hole)
    made = ism_crate.Table(crate, element(u64), SVecElement(), 97)
    for number in range(vecs):
        vec = ism_crate.Vec(crate, element(u64))
        vec.push((number + 1).to_bytes(8, "little"))
        made.insert(number.to_bytes(8, "little"), vec.header())
    crate.roots = {0: crate.allocate(len(made.header())), **{key: fence for key, (_, fence) in enumerate(places, 1)}}
    crate.write(crate.roots[0] + 8, made.header())
    crate.pre_upgrade()
    image = open_ism(bytes(crate.mem), {0: SHashMap[u64, SVec[u64]], **dict.fromkeys(range(1, vecs + 1), u64)})
    assert image.check() == []


@pytest.mark.parametrize("name", PLAIN)
def test_small_images_of_a_canister_that_were_not_saved_are_its_own(name):
    """With the other width a short log has nothing in it: that is no other content."""
    trace = Replay(GOLDEN / f"{name}.trace.gz")
    for count, _ in enumerate(trace.play()):
        if count > 12:
            break
        assert open_ism(bytes(trace.a.mem), {0: annotation(name)}, saved=False).check() == []


@pytest.mark.parametrize("size", [16, 76, 80, 160, 200])
def test_a_block_with_the_stale_beginning_of_an_allocator_is_no_damage(size):
    """It was allocated again where `pre_upgrade` had written, and nothing is in it yet."""
    crate = Allocator()
    crate.pre_upgrade()
    crate.post_upgrade()
    crate.allocate(size)
    assert not open_ism(bytes(crate.mem), {}).saved
    assert check(bytes(crate.mem)) == []
    assert inspect(bytes(crate.mem)).kind == "ic-stable-memory"
