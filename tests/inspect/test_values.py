"""Values that are shown without their types: Candid, Basilisk, and guesses that are marked as such."""

from __future__ import annotations

import contextlib
import json
import random
import struct
from typing import Any

import cbor2
import pytest

from stable_structures import Principal
from stable_structures.encodings.candid import untyped as candid
from stable_structures.encodings.json_form import to_json
from stable_structures.errors import IncompatibleType
from stable_structures.inspect import basilisk
from stable_structures.inspect.values import from_json, from_text, guess
from stable_structures.storable import parse_type

CANISTER = Principal.from_text("ryjl3-tyaaa-aaaaa-aaaba-cai")


def leb(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


CANDID = {
    "4449444c00017b05": 5,
    "4449444c0001710568656c6c6f": "hello",
    "4449444c00017e01": True,
    "4449444c00017c7f": -1,
    "4449444c00017d808001": 16384,
    "4449444c016e7b0100012a": 42,
    "4449444c016e7b010000": None,
    "4449444c016d7b010003616263": b"abc",
    "4449444c016d7d01000301028001": [1, 2, 128],
    "4449444c016c0200710171010001610162": ("a", "b"),
    "4449444c016b019cc2017f010000": {"_24860": None},
    "4449444c0000": (),
}


@pytest.mark.parametrize("message", CANDID)
def test_candid_messages_are_read(message):
    assert candid.decode(bytes.fromhex(message)) == CANDID[message]


def test_candid_of_a_principal():
    raw = CANISTER.bytes
    assert candid.decode(b"DIDL\x00\x01\x68\x01" + leb(len(raw)) + raw) == CANISTER


def test_no_bytes_make_candid_or_basilisk_raise_anything_else():
    rng = random.Random(3)
    good = [bytes.fromhex(message) for message in CANDID]
    for _ in range(20_000):
        data = bytearray(rng.choice(good))
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(4, len(data) + 1) : rng.randrange(4, len(data) + 1)] = rng.randbytes(rng.randrange(3))
        for decode, error in ((candid.decode, candid.CandidError), (basilisk.decode, basilisk.BasiliskError)):
            with contextlib.suppress(error):
                decode(bytes(data))


def test_candid_that_nests_without_end_is_refused():
    with pytest.raises(candid.CandidError):
        candid.decode(b"DIDL\x01\x6e\x00\x01\x00" + b"\x01" * 5000)


BASILISK: dict[bytes, Any] = {
    b"\x00": None,
    b"\x01\x01": True,
    b"\x02" + struct.pack(">q", -5): -5,
    b"\x03" + struct.pack(">d", 1.5): 1.5,
    b"\x04\0\0\0\x05hello": "hello",
    b"\x05\0\0\0\x02\xff\xfe": b"\xff\xfe",
    b"\x06" + struct.pack(">I", len(str(CANISTER))) + str(CANISTER).encode(): CANISTER,
    b"\x07\0\0\0\x02\x01\x00\x00": [False, None],
    b"\x08\0\0\0\x01\x04\0\0\0\x01a\x10\x07": {"a": 7},
    b"\x09\0\0\0\x02\x11\x01\x00\x16\xff\xff\xff\xff": (256, -1),
}


@pytest.mark.parametrize("data", BASILISK)
def test_basilisk_values_are_read(data):
    assert basilisk.decode(data) == BASILISK[data]


@pytest.mark.parametrize(
    "data", [b"", b"\x0a", b"\x04\0\0\0\x09short", b"\x01\x02", b"\x00\x00", b"\x07\xff\xff\xff\xff", b"\x08\0\0\0\x01\x07\0\0\0\0\x00"]
)
def test_what_basilisk_did_not_write_is_refused(data):
    with pytest.raises(basilisk.BasiliskError):
        basilisk.decode(data)


@pytest.mark.parametrize(
    ("samples", "label"),
    [
        ([bytes.fromhex("4449444c00017b05"), bytes.fromhex("4449444c00017b0607")[:8]], "u64?"),
        ([bytes.fromhex("4449444c0001710568656c6c6f"), bytes.fromhex("4449444c000171026869")], "Candid text?"),
        ([b"\x04\0\0\0\x05hello", b"\x00", b"\x02" + bytes(8)], "Basilisk?"),
        ([CANISTER.bytes], "Principal?"),
        ([json.dumps({"a": 1}).encode(), b"[1, 2]"], "JSON?"),
        ([cbor2.dumps({"a": 1, "b": [1.5]}), cbor2.dumps([1])], "CBOR?"),
        ([b"hello", "gr\u00fc\u00dfe".encode()], "text?"),
        ([(7).to_bytes(4, "big"), (8).to_bytes(4, "big")], "u32?"),
        ([struct.pack(">d", 2.5), struct.pack(">d", -100.25)], "f64?"),
        ([struct.pack(">d", i / 7) for i in range(5)], "f64?"),
        ([bytes(8), bytes(8)], "u64?"),
        ([b"item-00000", b"item-00001"], "text?"),
        ([b"key", b"cat"], "text?"),
        ([cbor2.dumps("tem-00000"), cbor2.dumps("another")], "CBOR?"),
        ([cbor2.dumps("tem-00000")], "CBOR?"),
        ([cbor2.dumps("a" * 30), cbor2.dumps("b" * 30)], "CBOR?"),
        ([b"\xff\x00\x01", b"\xfe\xfd"], "bytes"),
        ([b"", b""], "unit?"),
        ([], "bytes"),
    ],
)
def test_guesses(samples, label):
    if label == "u64?":
        samples = [(5).to_bytes(8, "big"), (6).to_bytes(8, "big")]
    assert guess(samples).label == label


ROUND = {
    "u64": 2**64 - 1,
    "i8": -5,
    "f64": 1.5,
    "bool": True,
    "string": "gr\u00fc\u00dfe",
    "blob<4>": b"ab",
    "principal": CANISTER,
    "option<u32>": None,
    "reverse<u16>": 7,
    "tuple<u32, blob<4>>": (7, b"ab"),
    "tuple<u8, string, bool>": (1, "x", False),
    "unit": None,
    "cbor": {"a": [1, None]},
}


@pytest.mark.parametrize("name", ROUND)
def test_values_go_through_json_and_come_back(name):
    codec = parse_type(name)
    assert from_json(codec, json.loads(json.dumps(to_json(ROUND[name])))) == ROUND[name]


@pytest.mark.parametrize(
    ("name", "text"), [("u64", "x"), ("u8", "256"), ("bytes", "0xzz"), ("tuple<u8,u8>", "[1]"), ("principal", "aaaaa"), ("bool", "7")]
)
def test_text_that_is_no_value_of_the_type_is_refused(name, text):
    with pytest.raises(IncompatibleType):
        from_text(parse_type(name), text)
