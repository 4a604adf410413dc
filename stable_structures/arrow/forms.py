# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - Form says what each method does
r"""Of each storable type, which Arrow type it is, and how encodings become an array and back.

| type | Arrow |
|---|---|
| u8 to u64, i8 to i64, f32, f64, bool, str | the same |
| u128, i128 | decimal128(38, 0); decimal256(39, 0), string or fixed_size_binary(16) if asked for |
| bytes, Blob; Array(n) | binary; fixed_size_binary(n) |
| Principal | string; binary if asked for |
| T \\| None | T with nulls |
| tuples, dataclasses, Record | struct of the parts |
| None | null |
| Candid and CBOR of a given shape | struct, list, ... (shapes.py) |
| other Candid, CBOR, Basilisk | string, the JSON of the value; binary, the encoding, if asked for |
| a class with to_bytes | binary, its encoding |

Types of one size are converted column by column, in numpy; the others value by value.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Final, NoReturn
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..encodings.columns import Encoded, Octets
from ..encodings.json_form import json_text, to_json
from ..encodings.principals import principal_texts, principals_of
from ..errors import BoundExceeded, CorruptMemory, IncompatibleType, StableError
from ..principal import Principal
from ..storable import Codec
from ..storable.columns import fit, tuples_of
from ..storable.compound import OptionCodec, ReverseCodec, RowCodec, Tuple2Codec, Tuple3Codec
from ..storable.moments import DateCodec, DatetimeCodec
from ..storable.octets import Array, Blob, BytesCodec, PrincipalCodec, StrCodec
from ..storable.scalars import BoolCodec, FloatCodec, IntCodec, UnitCodec
from ..storable.structs import StructCodec

_MOST_TEXT: Final = 2**31 - 1
_UUID: Final = 16
TYPE: Final = b"stable_structures.type"
FORM: Final = b"stable_structures.form"
_DIGITS: Final = 38
_VIEWS: Final = {"string_view": pa.large_string(), "binary_view": pa.large_binary()}
_LIMIT: Final = divmod(10**_DIGITS, 2**64)


@dataclass(frozen=True, slots=True)
class Choices:
    """What a user may choose of the mapping."""

    principals: str = "text"
    wide: str = "decimal"
    messages: str = "json"

    def __post_init__(self) -> None:
        for name, known in _KNOWN.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; write one of {', '.join(map(repr, known))}")


_KNOWN: Final = {"principals": ("text", "binary"), "wide": ("decimal", "decimal256", "binary", "text"), "messages": ("json", "binary")}
USUAL: Final = Choices()


class Form:
    """One type on its way to Arrow and back. This class converts value by value; others convert whole columns."""

    nullable: bool = False
    exact: bool = True
    """Whether every sound encoding leads to a value that leads back to it."""
    sure: bool = False
    """Whether what `decode` makes of a column always leads back to it."""
    one_way: str = ""
    """Why the column cannot be turned into values again; empty if it can."""
    said: ClassVar[bytes] = b""
    """What the metadata of the field says of the form."""

    def __init__(self, codec: Codec[Any], type_: Any) -> None:
        self.codec, self.type = codec, type_
        bound = codec.bound
        self.size: int | None = bound.max_size if bound.is_fixed_size else None
        """Bytes of each encoding; None if they differ."""

    def field(self, name: str, *, nullable: bool = False) -> Any:
        """Return the field of a schema; of a struct, it is `nullable`: where the struct is null, so is its place."""
        metadata = {TYPE: self.codec.name.encode()} | ({FORM: self.said} if self.said else {})
        return pa.field(name, self.type, nullable=nullable or self.nullable, metadata=metadata)

    # ---- to Arrow ----

    def decode(self, column: Encoded) -> Any:
        """Return the values of a column as an array. O(size). Raises `CorruptMemory`, and `BoundExceeded` for what Arrow cannot hold."""
        return self.of_values([self.codec.decode(data) for data in column.pieces()])

    def of_values(self, values: list[Any]) -> Any:
        """Return an array of values of the type."""
        try:
            return pa.array([self.to_py(value) for value in values], self.type)
        except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
            raise BoundExceeded(f"Arrow: a value of {self.codec.name} does not fit {self.type}: {error}; {_WAY_OUT}") from None

    def to_py(self, value: Any) -> Any:
        """Return a value as pyarrow takes it."""
        return value

    # ---- from Arrow ----

    def encode(self, array: Any) -> Encoded:
        """Return the encodings of an array. O(size). Raises `IncompatibleType` and `BoundExceeded`."""
        self._require_values(array)
        return Encoded.of(self.codec.encode(self.from_py(item)) for item in array.to_pylist())

    def from_py(self, item: Any) -> Any:
        """Return what pyarrow gives as a value of the type."""
        return item

    def _require_values(self, array: Any) -> None:
        if self.one_way:
            raise IncompatibleType(f"{self.codec.name}: {self.one_way}")
        if array.null_count and not self.nullable and not pa.types.is_null(array.type):
            at = array.is_null().index(pa.scalar(True)).as_py()
            raise IncompatibleType(f"{self.codec.name} has no null, and row {at} of the column is null; fill it, or filter it out")

    def check(self, array: Any) -> None:
        """Refuse a column that the value-by-value way would round or cut: `to_pylist` loses types. O(size)."""

    def _cast(self, array: Any, allowed: bool) -> Any:
        """Return an array of the type of this form, without loss."""
        if array.type == self.type:
            return array
        if not allowed:
            self._refuse(array)
        try:
            return array.cast(self.type)
        except pa.ArrowException as error:
            raise BoundExceeded(f"{self.codec.name} cannot hold this column of {array.type}: {error}") from None

    def _refuse(self, array: Any) -> NoReturn:
        raise IncompatibleType(f"expected a column of {self.type} for {self.codec.name}, got {array.type}; cast it first")


_WAY_OUT: Final = "give messages='binary', or read the values one by one"


class FixedForm(Form):
    """A type of one size: its encodings are the rows of an array of bytes."""

    def __init__(self, codec: Codec[Any], type_: Any) -> None:
        super().__init__(codec, type_)
        self.width = codec.bound.max_size or 0

    def decode(self, column: Encoded) -> Any:
        rows = column.rows(self.width)
        return self.from_rows(rows) if rows is not None else super().decode(column)

    def encode(self, array: Any) -> Encoded:
        self._require_values(array)
        return Encoded.of_rows(self.to_rows(array))

    def check(self, array: Any) -> None:
        if array.null_count < len(array):
            self.to_rows(array.drop_null())

    def from_rows(self, rows: Octets) -> Any:
        """Return the values of rows, whose bytes lie together in each. O(n)."""
        raise NotImplementedError

    def to_rows(self, array: Any) -> Octets:
        """Return the rows of an array. O(n)."""
        raise NotImplementedError


def plain_type(type_: Any) -> Any:
    """Return the type of the values behind a dictionary, runs, or a name that Arrow gives to another type."""
    while True:
        if pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
            type_ = type_.value_type
        elif isinstance(type_, pa.BaseExtensionType):
            type_ = type_.storage_type
        else:
            return type_


def plain(array: Any) -> Any:
    """Return an array whose values lie in it: behind no dictionary, in no runs, under no other name. O(size)."""
    if isinstance(array.type, pa.BaseExtensionType):
        return plain(array.storage)
    if pa.types.is_run_end_encoded(array.type):
        return plain(pc.run_end_decode(array))
    if not pa.types.is_dictionary(array.type):
        return array
    return pa.DictionaryArray.from_arrays(array.indices, _without_views(plain(array.dictionary))).dictionary_decode()


def _without_views(array: Any) -> Any:
    """Return an array whose values Arrow can select: of views it selects none."""
    return array.cast(_VIEWS[str(array.type)]) if str(array.type) in _VIEWS else array


def to_numpy(array: Any) -> Any:
    """Return an array without nulls as one of numpy."""
    return array.to_numpy(zero_copy_only=False)


def of_numbers(numbers: Any) -> Any:
    """Return an array of numpy as one of Arrow. O(1): `pa.array` would import pandas, of 45 MiB."""
    return pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), len(numbers), [None, pa.py_buffer(np.ascontiguousarray(numbers))])


class NumberForm(FixedForm):
    """Integers of up to 8 bytes, and floats."""

    sure = True

    def __init__(self, codec: IntCodec | FloatCodec) -> None:
        assert codec.native_dtype is not None  # noqa: S101 - asked by the caller
        super().__init__(codec, pa.from_numpy_dtype(codec.native_dtype))
        self._is_int = isinstance(codec, IntCodec)
        self._dtype: Any = codec.dtype

    def decode(self, column: Encoded) -> Any:
        return of_numbers(column.numbers) if column.numbers is not None else super().decode(column)

    def from_rows(self, rows: Octets) -> Any:
        return of_numbers(self.codec._unpack(rows.view(self._dtype)[:, 0]))

    def to_rows(self, array: Any) -> Octets:
        is_int = pa.types.is_integer(array.type)
        numbers = to_numpy(self._cast(array, is_int) if self._is_int or is_int else array)  # a float takes integers that it says exactly
        packed: Octets = self.codec.encode_array(numbers)
        return packed.reshape(len(array), self.width)


class BoolForm(FixedForm):
    """bool."""

    sure = True

    def __init__(self, codec: BoolCodec) -> None:
        super().__init__(codec, pa.bool_())

    def from_rows(self, rows: Octets) -> Any:
        bits = np.packbits(self.codec._unpack(rows[:, 0]), bitorder="little")
        return pa.Array.from_buffers(self.type, len(rows), [None, pa.py_buffer(bits)])

    def to_rows(self, array: Any) -> Octets:
        return self.codec.encode_array(to_numpy(self._cast(array, allowed=False))).reshape(len(array), 1)


class WideForm(FixedForm):
    """Integers of 16 bytes: decimals without digits behind the point, or the bytes as they are stored."""

    def __init__(self, codec: IntCodec, choice: str) -> None:
        types = {"decimal": pa.decimal128(_DIGITS, 0), "decimal256": pa.decimal256(39, 0), "binary": pa.binary(16)}
        super().__init__(codec, types[choice])
        self.choice, self._signed = choice, codec.minimum < 0
        self.exact = choice != "decimal"

    def from_rows(self, rows: Octets) -> Any:
        if self.choice == "binary":
            return fixed_binary(rows, 16)
        words = self._words(rows)
        if self.choice == "decimal":
            self._require_digits(words)
        else:
            sign = np.where(words[:, 1] >> np.uint64(63), ~np.uint64(0), np.uint64(0)) if self._signed else np.zeros(len(words), np.uint64)
            words = np.column_stack((words, sign, sign))
        return pa.Array.from_buffers(self.type, len(rows), [None, pa.py_buffer(np.ascontiguousarray(words))])

    def _words(self, rows: Octets) -> Any:
        """Return the numbers as two words of 8 bytes in two's complement, the low one first."""
        words = np.ascontiguousarray(rows[:, ::-1]).view(np.dtype("<u8"))
        if self._signed:
            words[:, 1] ^= np.uint64(1 << 63)
        return words

    def _require_digits(self, words: Any) -> None:
        low, high = words[:, 0], words[:, 1]
        if self._signed:
            negative = (high >> np.uint64(63)).astype(bool)
            low, high = np.where(negative, ~low + np.uint64(1), low), np.where(negative, ~high + (low == 0), high)
        most_high, most_low = (np.uint64(word) for word in _LIMIT)
        wrong = (high > most_high) | ((high == most_high) & (low >= most_low))
        if wrong.any():
            raise BoundExceeded(
                f"Arrow: {self.codec.name} at row {int(np.argmax(wrong))} has more than {_DIGITS} digits, and decimal128 holds {_DIGITS}; "
                "give wide='text' or 'binary', or 'decimal256' for readers that know it"
            )

    def to_rows(self, array: Any) -> Octets:
        if pa.types.is_fixed_size_binary(array.type) and array.type.byte_width == self.width:
            return rows_of_binary(array, 16)
        if not (pa.types.is_decimal(array.type) or pa.types.is_integer(array.type)):
            self._refuse(array)
        try:
            numbers = array.cast(pa.decimal256(39, 0))
        except pa.ArrowException as error:
            raise BoundExceeded(f"{self.codec.name} cannot hold this column of {array.type}: {error}") from None
        words = np.frombuffer(numbers.buffers()[1], np.dtype("<u8")).reshape(-1, 4)[numbers.offset : numbers.offset + len(numbers)]
        self._require_range(words)
        rows = np.ascontiguousarray(words[:, :2]).view(np.uint8)[:, ::-1].copy()
        if self._signed:
            rows[:, 0] ^= 0x80
        return rows

    def _require_range(self, words: Any) -> None:
        sign = np.where(words[:, 1] >> np.uint64(63), ~np.uint64(0), np.uint64(0)) if self._signed else np.zeros(len(words), np.uint64)
        wrong = (words[:, 2] != sign) | (words[:, 3] != sign)
        if wrong.any():
            raise BoundExceeded(f"{self.codec.name} cannot hold the number at row {int(np.argmax(wrong))}; use a wider or a signed type")

    def to_py(self, value: Any) -> Any:
        return self.codec.encode(value) if self.choice == "binary" else value

    def from_py(self, item: Any) -> Any:
        return self.codec.decode(item) if isinstance(item, bytes) else int(item)


class WrittenForm(Form):
    """Values that are not text, and that Arrow holds as text."""

    def __init__(self, codec: Any) -> None:
        super().__init__(codec, pa.string())

    def encode(self, array: Any) -> Encoded:
        self.check(array)
        return super().encode(array)

    def check(self, array: Any) -> None:
        if not self.takes(array.type):
            self._refuse(array)

    def takes(self, type_: Any) -> bool:
        """Return whether `from_py` understands the values of an Arrow type."""
        return is_text(type_)

    def to_py(self, value: Any) -> Any:
        return str(value)


class DigitsForm(WrittenForm):
    """Integers of 16 bytes as text."""

    def from_py(self, item: Any) -> Any:
        if not (item.isascii() and item.removeprefix("-").isdigit()):  # int() takes more: spaces, underscores, other digits
            raise IncompatibleType(f"expected decimal digits for {self.codec.name}, got {item[:50]!r}")
        return int(item)


def fixed_binary(rows: Octets, width: int) -> Any:
    """Return rows of bytes as an array. O(n)."""
    return pa.Array.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows))])


def rows_of_binary(array: Any, width: int) -> Octets:
    """Return the bytes of such an array as rows. O(1)."""
    data = np.frombuffer(array.buffers()[1] or b"", np.uint8)
    return data[array.offset * width : (array.offset + len(array)) * width].reshape(len(array), width)


class FixedBytesForm(FixedForm):
    """Array(n)."""

    sure = True

    def __init__(self, codec: Array) -> None:
        super().__init__(codec, pa.binary(codec.bound.max_size))

    def from_rows(self, rows: Octets) -> Any:
        return fixed_binary(rows, self.width)

    def to_rows(self, array: Any) -> Octets:
        if array.type != self.type:
            if not is_binary(array.type):
                self._refuse(array)
            return np.frombuffer(b"".join(map(self.codec.encode, array.to_pylist())), np.uint8).reshape(len(array), self.width)
        return rows_of_binary(array, self.width)


def is_binary(type_: Any) -> bool:
    """Return whether values of an Arrow type are bytes. O(1)."""
    names = ("is_binary", "is_large_binary", "is_fixed_size_binary", "is_binary_view")
    return any(getattr(pa.types, name)(type_) for name in names if hasattr(pa.types, name))


def is_text(type_: Any) -> bool:
    """Return whether values of an Arrow type are text. O(1)."""
    names = ("is_string", "is_large_string", "is_string_view")
    return any(getattr(pa.types, name)(type_) for name in names if hasattr(pa.types, name))


def _offsets(column: Encoded) -> Any:
    """Return the 4-byte offsets of a column; Arrow's arrays hold less than 2 GiB."""
    if column.data.nbytes > _MOST_TEXT:
        raise BoundExceeded(f"Arrow: {column.data.nbytes:,} bytes in one batch are more than 2 GiB; read the values one by one")
    ends = np.zeros(column.count + 1, np.int32)
    ends[1:] = column.all_ends()
    return pa.py_buffer(ends)


def _pieces_of(array: Any) -> Encoded | None:
    """Return the texts or bytes of an array as they lie there; None if it has nulls or another layout. O(size)."""
    if array.null_count or array.type not in _OFFSETS:
        return None
    if not len(array):
        return Encoded.of([])
    offsets = np.frombuffer(array.buffers()[1], _OFFSETS[array.type])[array.offset : array.offset + len(array) + 1].astype(np.uint64)
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)
    return Encoded(data[int(offsets[0]) : int(offsets[-1])], len(array), ends=offsets[1:] - offsets[0])


_OFFSETS: Final = {pa.string(): np.int32, pa.binary(): np.int32, pa.large_string(): np.int64, pa.large_binary(): np.int64}


class BytesForm(Form):
    """bytes, Blob, and Array(0): the data of the column as it is."""

    def __init__(self, codec: Codec[Any]) -> None:
        super().__init__(codec, pa.binary())

    def decode(self, column: Encoded) -> Any:
        most = self.codec.bound.max_size
        if most is not None and column.count and int(column.sizes().max()) > most:
            return super().decode(column)
        return pa.Array.from_buffers(self.type, column.count, [None, _offsets(column), pa.py_buffer(column.data)])

    def encode(self, array: Any) -> Encoded:
        if not is_binary(array.type) and not pa.types.is_null(array.type):
            self._refuse(array)
        found = _pieces_of(array)
        return found if found is not None and fit(self.codec, found) else super().encode(array)


class TextForm(Form):
    """str."""

    sure = True

    def __init__(self, codec: StrCodec) -> None:
        super().__init__(codec, pa.string())

    def decode(self, column: Encoded) -> Any:
        made = pa.Array.from_buffers(self.type, column.count, [None, _offsets(column), pa.py_buffer(column.data)])
        try:
            made.validate(full=True)  # that it is UTF-8
        except pa.ArrowInvalid:
            return super().decode(column)
        return made

    def encode(self, array: Any) -> Encoded:
        self._require_values(array)
        found = self._cast(array, is_text(array.type))
        try:
            found.validate(full=True)  # readers of files do not look whether texts are UTF-8
        except pa.ArrowInvalid as error:
            raise IncompatibleType(f"str: the column is no text: {error}") from None
        pieces = _pieces_of(found)
        assert pieces is not None  # noqa: S101 - of its own type, and no null
        return pieces


class PrincipalForm(WrittenForm):
    """Principals, as text or as their bytes."""

    sure = True

    def __init__(self, codec: PrincipalCodec, choice: str) -> None:
        super().__init__(codec)
        self._as_text = choice == "text"
        self.type = pa.string() if self._as_text else pa.binary()

    def decode(self, column: Encoded) -> Any:
        texts = principal_texts(column) if self._as_text else None
        return super().decode(column) if texts is None else pa.array(texts, self.type)

    def encode(self, array: Any) -> Encoded:
        found = _pieces_of(array)
        if found is not None and is_text(array.type):
            found = principals_of(found)
        return found if found is not None and fit(self.codec, found) else super().encode(array)

    def takes(self, type_: Any) -> bool:
        return is_text(type_) or is_binary(type_)

    def to_py(self, value: Any) -> Any:
        return str(value) if self._as_text else value.bytes

    def from_py(self, item: Any) -> Any:
        try:
            return Principal.from_text(item) if isinstance(item, str) else Principal(item)
        except ValueError as error:
            raise IncompatibleType(f"Principal: {error}") from None


class TimeForm(FixedForm):
    """datetime and date: their numbers, without the bias."""

    def __init__(self, codec: DatetimeCodec | DateCodec, type_: Any, size: int) -> None:
        super().__init__(codec, type_)
        self._stored, self._native = np.dtype(f">u{size}"), np.dtype(f"<u{size}")
        self._top = self._native.type(1 << (8 * size - 1))

    def from_rows(self, rows: Octets) -> Any:
        for place in self._ends(rows):
            self.codec.decode(rows[place].tobytes())  # the least and the greatest lie in the years 1 to 9999, so all do
        numbers = rows.view(self._stored)[:, 0].astype(self._native) ^ self._top
        return pa.Array.from_buffers(self.type, len(rows), [None, pa.py_buffer(numbers)])

    def _ends(self, rows: Octets) -> tuple[int, ...]:
        numbers = rows.view(self._stored)[:, 0]
        return (int(numbers.argmin()), int(numbers.argmax())) if len(rows) else ()

    def to_rows(self, array: Any) -> Octets:
        found = self._cast(array, pa.types.is_temporal(array.type) and getattr(array.type, "tz", None) is not None)
        numbers = np.frombuffer(found.buffers()[1] or b"", self._native)[found.offset : found.offset + len(found)] ^ self._top
        rows: Octets = numbers.astype(self._stored).view(np.uint8).reshape(len(found), self.width)
        for place in self._ends(rows):
            self._require_year(rows[place].tobytes())
        return rows

    def _require_year(self, data: bytes) -> None:
        try:
            self.codec.decode(data)
        except CorruptMemory:
            raise BoundExceeded(f"{self.codec.name} holds the years 1 to 9999; the column has others") from None


class UuidForm(WrittenForm):
    """UUID, as text; taken as 16 bytes, too."""

    def takes(self, type_: Any) -> bool:
        return is_text(type_) or type_ == pa.binary(_UUID)

    def from_py(self, item: Any) -> Any:
        if isinstance(item, UUID):  # of Arrow's own type, in a struct
            return item
        try:
            return UUID(item) if isinstance(item, str) else UUID(bytes=item)
        except ValueError as error:
            raise IncompatibleType(f"UUID: {error}") from None


class DecimalForm(WrittenForm):
    """Decimal, as text; taken as a decimal or an integer of Arrow, too."""

    def takes(self, type_: Any) -> bool:
        return is_text(type_) or pa.types.is_decimal(type_) or pa.types.is_integer(type_)

    def from_py(self, item: Any) -> Any:
        try:
            return self.codec.from_text(item) if isinstance(item, str) else Decimal(item)  # type: ignore[attr-defined]
        except ValueError as error:
            raise IncompatibleType(f"Decimal: {error}") from None


class UnitForm(Form):
    """None."""

    nullable = True

    def __init__(self, codec: UnitCodec) -> None:
        super().__init__(codec, pa.null())

    def decode(self, column: Encoded) -> Any:
        return pa.nulls(column.count) if not column.data.nbytes else super().decode(column)

    def encode(self, array: Any) -> Encoded:
        if array.null_count != len(array):
            raise IncompatibleType("None: every row of the column must be null")
        return Encoded.of([b""] * len(array))


class OptionForm(Form):
    """T | None."""

    nullable = True

    def __init__(self, codec: OptionCodec[Any], part: Form) -> None:
        super().__init__(codec, part.type)
        self.part = part
        self.one_way, self.said = part.one_way, part.said  # type: ignore[misc]
        self.exact = part.exact and not part.nullable

    def to_py(self, value: Any) -> Any:
        return None if value is None else self.part.to_py(value)

    def from_py(self, item: Any) -> Any:
        return None if item is None else self.part.from_py(item)

    def check(self, array: Any) -> None:
        self.part.check(array)

    def decode(self, column: Encoded) -> Any:
        ends, sizes = column.all_ends(), column.sizes()
        if not column.count or not sizes.all():
            return super().decode(column)
        tags = column.data[ends - np.uint64(1)]
        if (tags > 1).any() or (sizes[tags == 0] != 1).any():
            return super().decode(column)
        valid = tags == 1
        bare = np.delete(column.data, ends - np.uint64(1))
        ends = np.cumsum(sizes[valid] - np.uint64(1), dtype=np.uint64)
        found = self.part.decode(Encoded(bare, int(valid.sum()), ends=ends))
        if valid.all():
            return found
        places = np.cumsum(valid) - 1
        return found.take(pa.array(places, mask=~valid))

    def encode(self, array: Any) -> Encoded:
        if array.null_count:
            self.codec.encode(None)  # raises if the type has no None
        there = ~to_numpy(array.is_null())
        part = Encoded.of([]) if array.null_count and not there.any() else self.part.encode(_without_views(array).drop_null())
        return part.in_options(there)


class RowForm(Form):
    """Tuples and dataclasses of which some part has no fixed size: value by value, but for tuples of plain parts."""

    def __init__(self, codec: RowCodec[Any], parts: dict[str, Form]) -> None:
        super().__init__(codec, pa.struct([form.field(name, nullable=True) for name, form in parts.items()]))
        self.parts = parts
        self.exact = all(form.exact and not isinstance(form.codec, FloatCodec) for form in parts.values())
        self.one_way = next((form.one_way for form in parts.values() if form.one_way), "")
        self._in_columns = _is_plain(codec)

    def to_py(self, value: Any) -> Any:
        return _row_to_py(self, value)

    def from_py(self, item: Any) -> Any:
        return _row_from_py(self, item)

    def encode(self, array: Any) -> Encoded:
        self.check(array)
        found = self._at_once(array) if self._in_columns and not array.null_count else None
        return super().encode(array) if found is None else found

    def _at_once(self, array: Any) -> Encoded | None:
        """Return the encodings, made part by part; None if a part is refused: value by value says why."""
        fields = [array.field(array.type.get_field_index(name)) for name in self.parts]
        try:
            columns = [form.encode(plain(field)) for form, field in zip(self.parts.values(), fields, strict=True)]
        except (StableError, ValueError, pa.ArrowException):
            return None
        return tuples_of(self.codec, columns)  # type: ignore[arg-type]

    def check(self, array: Any) -> None:
        _require_struct(self, array)
        there = array.drop_null() if array.null_count else array
        for name, form in self.parts.items():
            form.check(plain(there.field(there.type.get_field_index(name))))  # the offset of the whole is in it


_PLAIN: Final = (IntCodec, BoolCodec, StrCodec, BytesCodec, Blob, Array, PrincipalCodec, UnitCodec)


def _is_plain(codec: Codec[Any]) -> bool:
    """Return whether a column of a type, as part of a tuple, says just what its values say one by one.

    A float does not: value by value, a signalling NaN is lost, which must be noticed when a dump is made. Nor do messages (CBOR,
    Candid, classes of the user's): these are decoded and encoded again there, so that each value has one encoding.
    """
    if isinstance(codec, (OptionCodec, ReverseCodec)):
        return _is_plain(codec.part)
    return all(map(_is_plain, codec.fields.values())) if isinstance(codec, (Tuple2Codec, Tuple3Codec)) else isinstance(codec, _PLAIN)


class FixedRowForm(FixedForm):
    """Tuples and dataclasses whose parts have fixed sizes: part by part."""

    def __init__(self, codec: RowCodec[Any], parts: dict[str, FixedForm]) -> None:
        super().__init__(codec, pa.struct([form.field(name, nullable=True) for name, form in parts.items()]))
        self.parts = parts
        self.exact, self.sure = (all(getattr(form, name) for form in parts.values()) for name in ("exact", "sure"))

    def from_rows(self, rows: Octets) -> Any:
        arrays, at = [], 0
        for form in self.parts.values():
            arrays.append(form.from_rows(rows[:, at : at + form.width]))
            at += form.width
        return pa.StructArray.from_arrays(arrays, fields=list(self.type))

    def to_rows(self, array: Any) -> Octets:
        _require_struct(self, array)
        rows, at = np.empty((len(array), self.width), np.uint8), 0
        for name, form in self.parts.items():
            part = plain(array.field(array.type.get_field_index(name)))  # the offset of the whole is in it
            form._require_values(part)
            rows[:, at : at + form.width] = form.to_rows(part)
            at += form.width
        return rows

    def to_py(self, value: Any) -> Any:
        return _row_to_py(self, value)

    def from_py(self, item: Any) -> Any:
        return _row_from_py(self, item)


def _require_struct(form: RowForm | FixedRowForm, array: Any) -> None:
    if not pa.types.is_struct(array.type):
        form._refuse(array)
    names = {field.name for field in array.type}
    if len(names) < array.type.num_fields:
        raise IncompatibleType(f"{form.codec.name}: the struct has two fields of one name; its fields are {', '.join(form.parts)}")
    missing = [name for name in form.parts if name not in names]
    more = sorted(names - set(form.parts))
    if missing or more:
        wrong = f"lacks {missing[0]!r}" if missing else f"has {more[0]!r}, which is none"
        raise IncompatibleType(f"{form.codec.name}: the struct {wrong}; its fields are {', '.join(form.parts)}")


def _row_to_py(form: RowForm | FixedRowForm, value: Any) -> Any:
    items = [getattr(value, name) for name in form.parts] if isinstance(form.codec, StructCodec) else value
    return {name: part.to_py(item) for (name, part), item in zip(form.parts.items(), items, strict=True)}


def _row_from_py(form: RowForm | FixedRowForm, item: Any) -> Any:
    values = {}
    for name, part in form.parts.items():
        if item[name] is None and not part.nullable:
            raise IncompatibleType(f"{form.codec.name}: the part {name!r} of a row is null, and {part.codec.name} has no null")
        values[name] = part.from_py(item[name])
    return form.codec._class(**values) if isinstance(form.codec, StructCodec) else tuple(values.values())


class JsonForm(Form):
    """Values of any shape, as JSON; not back again."""

    said = b"json"
    exact = False

    def __init__(self, codec: Codec[Any]) -> None:
        super().__init__(codec, pa.string())
        self.one_way = "the column holds JSON, which does not say every value; make it with messages='binary'"

    def to_py(self, value: Any) -> Any:
        return json_text(to_json(value)).encode("utf-8", "backslashreplace").decode()

    def from_py(self, item: Any) -> Any:  # noqa: ARG002 - none can be made of it
        raise IncompatibleType(f"{self.codec.name}: {self.one_way}")


class EncodedForm(BytesForm):
    """Values as their encodings."""

    said = b"encoded"

    def encode(self, array: Any) -> Encoded:
        if not is_binary(array.type):
            self._refuse(array)
        self._require_values(array)
        found = array.to_pylist()
        for data in found:
            self.codec.decode(data)
        return Encoded.of(found)

    def to_py(self, value: Any) -> Any:
        return self.codec.encode(value)

    def from_py(self, item: Any) -> Any:
        return self.codec.decode(item)
