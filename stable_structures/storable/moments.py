# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - Codec says what encode, decode and compare do
"""Moments, dates, UUIDs and decimals, as keys and values: the order of the bytes is that of the values. Extension: not in the crate.

| type | bytes |
|---|---|
| datetime | microseconds since 1970-01-01T00:00Z, as i64: 8 bytes. With a time zone; returned in UTC |
| date | days since 1970-01-01, as i32: 4 bytes |
| UUID | its 16 bytes |
| Decimal | -Infinity 00; negative 01, then as positive with every byte inverted, then ff; zero 02; positive 03 E D; Infinity 04 |

E is the exponent of 0.d1d2d3... * 10**E as i64 (8 bytes), D the digits in pairs, each pair plus 1 in a byte, without zeros at the
end. So 1.50 and 1.5, which are equal, have the same bytes, and are both returned as 1.5. NaN has no order, and is refused.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from ..errors import BoundExceeded
from .base import Codec, Data
from .bound import Bounded, Unbounded
from .order import OrderKind, leaf

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EPOCH_DAY: Final = dt.date(1970, 1, 1).toordinal()
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_FIRST, _LAST = (
    (moment.replace(tzinfo=dt.UTC) - _EPOCH) // _MICROSECOND
    for moment in (dt.datetime.min, dt.datetime.max)  # noqa: DTZ901 - in UTC
)
_BIAS_32, _BIAS_64 = 1 << 31, 1 << 63
_LOWEST, _NEGATIVE, _ZERO, _POSITIVE, _HIGHEST = range(5)
_EXPONENT: Final = 8
_INVERTED: Final = bytes(255 - byte for byte in range(256))


def _fixed(size: int) -> Bounded:
    return Bounded(size, is_fixed_size=True)


class DatetimeCodec(Codec[dt.datetime]):
    """Moments with a time zone, to the microsecond; nothing is rounded."""

    def __init__(self) -> None:
        super().__init__("datetime", _fixed(8), leaf(OrderKind.BYTES, _fixed(8)))

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, dt.datetime) or value.utcoffset() is None:
            self._wrong_type(value, "a datetime with a time zone; set its tzinfo, as in datetime.now(UTC)")
        if getattr(value, "nanosecond", 0):  # of pandas
            raise BoundExceeded(f"datetime holds microseconds, and {value} has nanoseconds; round it first, as with value.floor('us')")
        number: int = (value - _EPOCH) // _MICROSECOND
        if not _FIRST <= number <= _LAST:
            raise BoundExceeded(f"datetime cannot hold {value}: in UTC it is not in the years 1 to 9999; move it by its offset first")
        return (number + _BIAS_64).to_bytes(8, "big")

    def decode(self, data: Data) -> dt.datetime:
        number = int.from_bytes(data, "big") - _BIAS_64
        if len(data) != 8 or not _FIRST <= number <= _LAST:  # noqa: PLR2004 - its size
            self._corrupt(f"encoded in 8 bytes, of the years 1 to 9999; found {len(data)} bytes, {bytes(data[:8]).hex()}")
        return _EPOCH + dt.timedelta(microseconds=number)

    def from_text(self, text: str) -> dt.datetime:
        """Return the value of an ISO text. O(1). Raises `ValueError`."""
        return dt.datetime.fromisoformat(text)


class DateCodec(Codec[dt.date]):
    """Dates."""

    def __init__(self) -> None:
        super().__init__("date", _fixed(4), leaf(OrderKind.BYTES, _fixed(4)))

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
            self._wrong_type(value, "a date; take the date of a datetime with .date()")
        return (value.toordinal() - _EPOCH_DAY + _BIAS_32).to_bytes(4, "big")

    def decode(self, data: Data) -> dt.date:
        ordinal = int.from_bytes(data, "big") - _BIAS_32 + _EPOCH_DAY
        if len(data) != 4 or not 1 <= ordinal <= dt.date.max.toordinal():  # noqa: PLR2004 - its size
            self._corrupt(f"encoded in 4 bytes, of the years 1 to 9999; found {len(data)} bytes, {bytes(data[:4]).hex()}")
        return dt.date.fromordinal(ordinal)

    def from_text(self, text: str) -> dt.date:
        """Return the value of an ISO text. O(1). Raises `ValueError`."""
        return dt.date.fromisoformat(text)


class UuidCodec(Codec[UUID]):
    """UUIDs, in the order of their numbers."""

    def __init__(self) -> None:
        super().__init__("UUID", _fixed(16), leaf(OrderKind.BYTES, _fixed(16)))

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, UUID):
            self._wrong_type(value, "a UUID; make it with UUID(text)")
        return bytes(value.bytes)

    def decode(self, data: Data) -> UUID:
        if len(data) != 16:  # noqa: PLR2004 - its size
            self._corrupt(f"encoded in 16 bytes, found {len(data)}")
        return UUID(bytes=bytes(data))

    def from_text(self, text: str) -> UUID:
        """Return the value of a text. O(1). Raises `ValueError`."""
        return UUID(text)


class DecimalCodec(Codec[Decimal]):
    """Decimals of any size, without the zeros at their end."""

    def __init__(self) -> None:
        super().__init__("Decimal", Unbounded, leaf(OrderKind.BYTES, Unbounded))

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, Decimal) or value.is_nan():
            self._wrong_type(value, "a Decimal that is not NaN; make it with Decimal(text)")
        if value.is_infinite():
            return bytes([_LOWEST if value < 0 else _HIGHEST])
        if not value:
            return bytes([_ZERO])
        body = self._body(value)
        return bytes([_NEGATIVE]) + body.translate(_INVERTED) + b"\xff" if value < 0 else bytes([_POSITIVE]) + body

    @staticmethod
    def _body(value: Decimal) -> bytes:
        digits = "".join(map(str, value.as_tuple().digits)).lstrip("0").rstrip("0")
        digits += "0" * (len(digits) % 2)
        pairs = bytes(int(digits[at : at + 2]) + 1 for at in range(0, len(digits), 2))
        return (value.adjusted() + 1 + _BIAS_64).to_bytes(_EXPONENT, "big") + pairs

    def decode(self, data: Data) -> Decimal:
        raw = bytes(data)
        if len(raw) == 1 and raw[0] in _SINGLE:
            return _SINGLE[raw[0]]
        negative = raw[:1] == bytes([_NEGATIVE])
        if (not negative and raw[:1] != bytes([_POSITIVE])) or (negative and raw[-1:] != b"\xff"):
            self._corrupt(f"encoded with a sign of 0 to 4; found {len(raw)} bytes, {raw[:8].hex()}")
        body = raw[1:-1].translate(_INVERTED) if negative else raw[1:]
        pairs = [byte - 1 for byte in body[_EXPONENT:]]
        if not pairs or pairs[0] < 10 or pairs[-1] == 0 or min(pairs) < 0 or max(pairs) > 99:  # noqa: PLR2004 - pairs of digits
            self._corrupt(f"encoded in pairs of digits without zeros at the ends; found {len(raw)} bytes, {raw[:16].hex()}")
        digits = "".join(f"{pair:02}" for pair in pairs).rstrip("0")
        exponent = int.from_bytes(body[:_EXPONENT], "big") - _BIAS_64 - len(digits)
        try:
            return Decimal((int(negative), tuple(map(int, digits)), exponent))
        except (ValueError, OverflowError, ArithmeticError) as error:
            raise self._corruption(f"its exponent {exponent} is one of a Decimal") from error

    def from_text(self, text: str) -> Decimal:
        """Return the value of a text. O(size). Raises `ValueError`."""
        try:
            return Decimal(text)
        except ArithmeticError:
            raise ValueError(f"{text[:50]!r} is not a decimal number") from None


_SINGLE: Final = {_LOWEST: Decimal("-Infinity"), _ZERO: Decimal(0), _HIGHEST: Decimal("Infinity")}
MOMENTS: Final[dict[type[Any], Codec[Any]]] = {
    dt.datetime: DatetimeCodec(),
    dt.date: DateCodec(),
    UUID: UuidCodec(),
    Decimal: DecimalCodec(),
}
"""The codecs of these types."""
