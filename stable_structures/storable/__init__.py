# SPDX-License-Identifier: Apache-2.0
"""Which values can be stored, as which bytes, in which order (docs/format.md#types).

Types are plain annotations, so that checkers see `int`, `str` and `bytes`; at run time they carry a codec.

    scalars.py      u8..u128, i8..i128, f32, f64, bool, None
    octets.py       str, bytes, Blob, Array, Principal
    compound.py     T | None, Reverse, tuples          structs.py   classes, @storable dataclasses
    moments.py      datetime, date, UUID, Decimal
    records.py      numpy records                      cbor.py candid.py   CBOR; what CDKs write
    base.py         what a codec is                    bound.py order.py   sizes, and comparing encoded keys
    resolve.py      annotation -> codec                parse.py     text -> codec
    columns.py      tuples from columns of their parts

A codec turns one value into bytes and back. Bytes come from a memory that may be damaged, so `decode` returns a value or
raises `CorruptMemory`, and nothing else.
"""

from .annotations import Cbor, Reverse, storable
from .base import BytesLane, Codec, IntLane, Lane
from .bound import Bound, Bounded, Unbounded, UnboundedType
from .candid import Basilisk, Candid
from .cbor import CborCodec
from .compound import OptionCodec, ReverseCodec, Tuple2Codec, Tuple3Codec
from .octets import Array, Blob
from .order import Order, OrderKind, Term
from .parse import parse_type
from .records import Record
from .resolve import codec
from .scalars import f32, f64, i8, i16, i32, i64, i128, u8, u16, u32, u64, u128
from .structs import ClassCodec, StructCodec

__all__ = [
    "Array",
    "Basilisk",
    "Blob",
    "Bound",
    "Bounded",
    "BytesLane",
    "Candid",
    "Cbor",
    "CborCodec",
    "ClassCodec",
    "Codec",
    "IntLane",
    "Lane",
    "OptionCodec",
    "Order",
    "OrderKind",
    "Record",
    "Reverse",
    "ReverseCodec",
    "StructCodec",
    "Term",
    "Tuple2Codec",
    "Tuple3Codec",
    "Unbounded",
    "UnboundedType",
    "codec",
    "f32",
    "f64",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "parse_type",
    "storable",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
]
