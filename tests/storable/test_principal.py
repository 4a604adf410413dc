# SPDX-License-Identifier: Apache-2.0
"""Principals: text both ways, order, and what is refused."""

import base64
import binascii
import copy
import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stable_structures.encodings.columns import Encoded
from stable_structures.encodings.principals import principal_texts
from stable_structures.errors import StableError
from stable_structures.principal import InvalidPrincipal, Principal

PRINCIPALS = st.builds(Principal, st.binary(max_size=29))


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("aaaaa-aa", ""),
        ("2vxsx-fae", "04"),
        ("em77e-bvlzu-aq", "abcd01"),
        ("rwlgt-iiaaa-aaaaa-aaaaa-cai", "00000000000000000101"),
        ("ryjl3-tyaaa-aaaaa-aaaba-cai", "00000000000000020101"),
        ("rrkah-fqaaa-aaaaa-aaaaq-cai", "00000000000000010101"),
    ],
)
def test_known_principals(text, raw):
    principal = Principal(bytes.fromhex(raw))
    assert principal.to_text() == str(principal) == text
    assert Principal.from_text(text) == Principal.from_str(text.upper()) == principal
    assert principal.bytes == bytes(principal) == bytes.fromhex(raw)


@given(PRINCIPALS)
def test_text_comes_back(principal):
    text = principal.to_text()
    assert Principal.from_text(text) == principal
    assert len(text) <= 63
    assert all(len(group) == 5 for group in text.split("-")[:-1])
    assert repr(principal) == f"Principal.from_text({text!r})"


def test_special_principals():
    assert Principal.anonymous().bytes == b"\x04"
    assert Principal.management_canister().bytes == b"" == Principal().bytes
    assert Principal.self_authenticating(b"key").bytes == hashlib.sha224(b"key").digest() + b"\x02"


@given(st.lists(PRINCIPALS, min_size=2, max_size=6))
def test_shorter_principals_come_first(principals):
    assert [p.bytes for p in sorted(principals)] == sorted((p.bytes for p in principals), key=lambda raw: (len(raw), raw))
    a, b = principals[:2]
    assert (a <= b, a > b, a >= b) == (not b < a, b < a, not a < b)


def text_of(data: bytes) -> str:
    """Bytes as principal text, whether they are a principal or not."""
    plain = base64.b32encode(data).decode().rstrip("=").lower()
    return "-".join(plain[at : at + 5] for at in range(0, len(plain), 5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2vxsx-faf", "its checksum is .* its bytes need .* look for a typing error"),
        ("aaaab-aa", "its checksum is 00000000|its checksum is .* its bytes need"),
        ("2vxsxfae", "its dashes are not after every fifth character; write '2vxsx-fae'"),
        ("2vx-sx-fae", "its dashes"),
        ("2vxsx-fae-", "its dashes"),
        ("aaaaa-ab", "it ends in bits that belong to no byte; write 'aaaaa-aa'"),
        ("2vxsx-fa1", "it contains '1'; use only a-z, 2-7 and dashes"),
        ("2vxsx fae", "it contains ' '"),
        ("2vxsx-faé", "it contains 'é'"),
        ("", "0 bytes, fewer than the checksum of 4"),
        ("aaaa", "2 bytes, fewer than the checksum"),
        ("aaaaa-a", "|do not make whole bytes|fewer"),
        ("a", "1 characters do not make whole bytes"),
        ("a" * 70, "70 characters, at most 63"),
        (text_of(binascii.crc32(bytes(30)).to_bytes(4, "big") + bytes(30)), "at most"),
    ],
)
def test_wrong_text_is_refused_with_the_reason(text, message):
    with pytest.raises(InvalidPrincipal, match=message):
        Principal.from_text(text)


@given(st.text(max_size=70) | st.text("abcdefghijklmnopqrstuvwxyz234567-", max_size=70))
def test_any_text_is_a_principal_or_refused(text):
    try:
        principal = Principal.from_text(text)
    except InvalidPrincipal:
        return
    assert principal.to_text() == text.lower()


@given(PRINCIPALS, st.data())
def test_one_wrong_character_is_always_found(principal, data):
    text = principal.to_text()
    at = data.draw(st.sampled_from([i for i, character in enumerate(text) if character != "-"]))
    other = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567").filter(lambda character: character != text[at]))
    with pytest.raises(InvalidPrincipal):
        Principal.from_text(text[:at] + other + text[at + 1 :])


def test_other_values_are_refused():
    with pytest.raises(InvalidPrincipal, match="a principal has at most 29 bytes, got 30; hash a longer identifier first"):
        Principal(bytes(30))
    with pytest.raises(TypeError, match=r"expected bytes for a principal, got str; use Principal\.from_text"):
        Principal("aaaaa-aa")
    with pytest.raises(TypeError, match="expected bytes for a principal, got int"):
        Principal(5)
    with pytest.raises(TypeError, match="is a str, got bytes; use Principal"):
        Principal.from_text(b"aaaaa-aa")
    with pytest.raises(ValueError, match="invalid principal"):
        Principal.from_text("x")
    with pytest.raises(StableError):
        Principal.from_text("x")
    with pytest.raises(TypeError):
        Principal() < b""  # noqa: B015 - it raises


def test_principals_are_values():
    principal = Principal.from_bytes(bytearray(b"\x01\x02"))
    assert principal == Principal(memoryview(b"\x01\x02"))
    assert principal != b"\x01\x02"
    assert len({principal, Principal(b"\x01\x02"), Principal()}) == 2
    assert pickle.loads(pickle.dumps(principal)) == copy.deepcopy(principal) == principal  # noqa: S301 - our own bytes
    for change in (lambda: setattr(principal, "_raw", b""), lambda: setattr(principal, "bytes", b""), lambda: delattr(principal, "_raw")):
        with pytest.raises(AttributeError, match="cannot be changed"):
            change()


@given(st.lists(st.binary(max_size=29)))
def test_many_texts_at_once_are_those_of_each(raws):
    assert principal_texts(Encoded.of(raws)) == [Principal(raw).to_text() for raw in raws]


def test_texts_of_each_length_and_of_many_batches():
    raws = [bytes([size, 255 - number % 256] * 15)[:size] for number in range(1500) for size in range(30)]
    assert principal_texts(Encoded.of(raws)) == [Principal(raw).to_text() for raw in raws]
    assert principal_texts(Encoded.of([b"\1" * 10] * 40_000)) == [Principal(b"\1" * 10).to_text()] * 40_000
    assert principal_texts(Encoded.of([b"ab", b"x" * 30])) is None
