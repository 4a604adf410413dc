# SPDX-License-Identifier: Apache-2.0
"""The form of each storable type."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, Final

import pyarrow as pa

from ..storable import Codec
from ..storable.candid import Basilisk, Candid
from ..storable.cbor import CborCodec
from ..storable.compound import OptionCodec, ReverseCodec, RowCodec
from ..storable.moments import DateCodec, DatetimeCodec, DecimalCodec, UuidCodec
from ..storable.octets import Array, Blob, BytesCodec, PrincipalCodec, StrCodec
from ..storable.records import Record
from ..storable.scalars import BoolCodec, FloatCodec, IntCodec, UnitCodec
from .forms import (
    USUAL,
    BoolForm,
    BytesForm,
    Choices,
    DecimalForm,
    DigitsForm,
    EncodedForm,
    FixedBytesForm,
    FixedForm,
    FixedRowForm,
    Form,
    JsonForm,
    NumberForm,
    OptionForm,
    PrincipalForm,
    RowForm,
    TextForm,
    TimeForm,
    UnitForm,
    UuidForm,
    WideForm,
    is_binary,
    is_text,
    plain_type,
)
from .shapes import record_form, shape_form


def form_of(codec: Codec[Any], choices: Choices = USUAL) -> Form:
    """Return the form of a type. O(parts). Raises `IncompatibleType` for a type that Arrow has nothing like."""
    for kind, make in _FORMS.items():
        if isinstance(codec, kind):
            return make(codec, choices)
    return EncodedForm(codec)


def form_like(codec: Codec[Any], type_: Any) -> Form:
    """Return the form in which a column of this Arrow type holds values of a type. O(parts)."""
    usual = form_of(codec)
    if _are_alike(usual.type, type_):
        return usual
    others = [form_of(codec, Choices(*choice)) for choice in product(("text", "binary"), ("decimal", "text", "binary"), ("json", "binary"))]
    return next((other for other in others if _are_alike(other.type, type_)), usual)


def _are_alike(a: Any, b: Any) -> bool:
    """Return whether a column of one type may be meant as one of the other: texts, bytes, and structs of them."""
    b = plain_type(b)
    if pa.types.is_struct(a) and pa.types.is_struct(b):
        return sorted(field.name for field in a) == sorted(field.name for field in b) and all(
            _are_alike(field.type, b.field(field.name).type) for field in a
        )
    if pa.types.is_nested(a) and pa.types.is_nested(b) and a.num_fields == b.num_fields == 1:  # lists
        return _are_alike(a.field(0).type, b.field(0).type)
    kinds = [(is_text(one), is_binary(one)) for one in (a, b)]
    return kinds[0] == kinds[1] if any(map(any, kinds)) else pa.types.is_nested(a) == pa.types.is_nested(b)


def _of_int(codec: Any, choices: Choices) -> Form:
    if codec.dtype is not None:
        return NumberForm(codec)
    return DigitsForm(codec) if choices.wide == "text" else WideForm(codec, choices.wide)


def _of_option(codec: Any, choices: Choices) -> Form:
    return OptionForm(codec, form_of(codec.part, choices))


def _of_row(codec: Any, choices: Choices) -> Form:
    parts = {name: form_of(part, choices) for name, part in codec.fields.items()}
    fixed = {name: form for name, form in parts.items() if isinstance(form, FixedForm)}
    return FixedRowForm(codec, fixed) if len(fixed) == len(parts) and codec.bound.is_fixed_size else RowForm(codec, parts)


def _of_array(codec: Any, _: Choices) -> Form:
    return FixedBytesForm(codec) if codec.bound.max_size else BytesForm(codec)


def _of_message(codec: Any, choices: Choices) -> Form:
    if choices.messages == "binary":
        return EncodedForm(codec)
    return shape_form(codec, choices) or JsonForm(codec)


def _of_record(codec: Any, _: Choices) -> Form:
    return record_form(codec)


_FORMS: Final[dict[type[Codec[Any]], Callable[[Any, Choices], Form]]] = {
    ReverseCodec: lambda codec, choices: form_of(codec.part, choices),
    IntCodec: _of_int,
    FloatCodec: lambda codec, _: NumberForm(codec),
    BoolCodec: lambda codec, _: BoolForm(codec),
    StrCodec: lambda codec, _: TextForm(codec),
    BytesCodec: lambda codec, _: BytesForm(codec),
    Blob: lambda codec, _: BytesForm(codec),
    Array: _of_array,
    PrincipalCodec: lambda codec, choices: PrincipalForm(codec, choices.principals),
    DatetimeCodec: lambda codec, _: TimeForm(codec, pa.timestamp("us", "UTC"), 8),
    DateCodec: lambda codec, _: TimeForm(codec, pa.date32(), 4),
    UuidCodec: lambda codec, _: UuidForm(codec),
    DecimalCodec: lambda codec, _: DecimalForm(codec),
    UnitCodec: lambda codec, _: UnitForm(codec),
    OptionCodec: _of_option,
    RowCodec: _of_row,
    Record: _of_record,
    CborCodec: _of_message,
    Candid: _of_message,
    Basilisk: _of_message,
}
