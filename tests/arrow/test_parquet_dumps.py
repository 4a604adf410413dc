"""`dump` to Parquet has the types of Arrow, and `load` makes the same bytes of it again."""

from __future__ import annotations

import io

import pytest

from stable_structures import StableBTreeMap, StableMemory, u64
from stable_structures.inspect import load, open_image, table, write
from stable_structures.storable import codec, parse_type

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.mark.parametrize(
    ("text", "values", "kind"),
    [
        (
            "tuple<f64,u32,array<2>>",
            [(0.5, 7, b"ab"), (1e300, 0, b"\0\0")],
            "struct<f0: double, f1: uint32, f2: fixed_size_binary[2]>",
        ),
        ("tuple<string,opt blob<1>,u8>", [("a", None, 1), ("b", b"x", 2)], "struct<f0: string, f1: binary, f2: uint8>"),
        ("tuple<string,blob<4>,u8>", [("a", b"x", 1), ("", b"", 0)], "struct<f0: string, f1: binary, f2: uint8>"),
        ("candid<record { age : nat8; name : text }>", [{"age": 36, "name": "Ada"}], "struct<age: uint8, name: string>"),
        ("candid", [{"age": 36}, 7], "string"),
        ("u128", [5, 2**128 - 1], "string"),
        ("option<string>", ["a", None], "string"),
    ],
)
def test_a_dump_has_the_types_of_arrow_and_comes_back(text, values, kind, tmp_path):
    tp = parse_type(text)
    made = StableBTreeMap[u64, tp](StableMemory())
    made.update(dict(enumerate(values)))
    out, types = io.BytesIO(), {None: (codec(u64), tp)}
    with open_image(made.memory) as image:
        assert write(table(image.part(None), types), "parquet", out) == len(values)
    path = tmp_path / "x.parquet"
    path.write_bytes(out.getvalue())
    assert str(pq.read_schema(path).field("value").type) == kind
    load(path, tmp_path / "x.bin", key=codec(u64), value=tp)
    again = StableBTreeMap[u64, tp].load(StableMemory.open(tmp_path / "x.bin", "r"))
    assert dict(again) == dict(made)


def test_what_does_not_lead_back_has_its_bytes_beside_it():
    message = parse_type("candid<record { age : opt nat8 }>")
    made = StableBTreeMap[u64, bytes](StableMemory())
    made[1] = parse_type("candid<record { age : opt nat8; name : text }>").encode({"age": 1, "name": "Ada"})
    made[2] = message.encode({"age": 2})
    out = io.BytesIO()
    with open_image(made.memory) as image:
        write(table(image.part(None), {None: (codec(u64), message)}), "parquet", out)
    rows = pq.read_table(out).sort_by("key").to_pylist()
    assert rows == [{"key": 1, "value": {"age": 1}, "value_bytes": made[1]}, {"key": 2, "value": {"age": 2}, "value_bytes": None}]
