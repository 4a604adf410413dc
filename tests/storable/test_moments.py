"""datetime, date, UUID and Decimal: bytes in the order of the values, and one encoding of each value."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stable_structures import BoundExceeded, CorruptMemory, IncompatibleType, StableBTreeMap, StableBTreeSet, StableMemory, codec, u64
from stable_structures.storable import parse_type

MOMENTS = st.datetimes(timezones=st.timezones() | st.just(dt.UTC), allow_imaginary=False).filter(lambda value: 2 < value.year < 9998)
DECIMALS = st.decimals(allow_nan=False) | st.decimals(-100, 100, places=3) | st.integers(-300, 300).map(Decimal)
TYPES = {dt.datetime: MOMENTS, dt.date: st.dates(), uuid.UUID: st.uuids(), Decimal: DECIMALS}
PAIRS = st.sampled_from(list(TYPES)).flatmap(lambda tp: st.tuples(st.just(tp), TYPES[tp], TYPES[tp]))


@given(PAIRS)
def test_bytes_have_the_order_of_the_values(pair):
    tp, a, b = pair
    x, y = (codec(tp).encode(value) for value in (a, b))
    assert ((x > y) - (x < y)) == ((a > b) - (a < b)) == codec(tp).compare(a, b)


@given(PAIRS)
def test_values_come_back_and_have_one_encoding(pair):
    tp, value, _ = pair
    data = codec(tp).encode(value)
    again = codec(tp).decode(data)
    if tp is dt.datetime:  # Python calls a time that a zone has twice unequal to every time of another zone
        value = value.astimezone(dt.UTC)
    assert again == value
    assert codec(tp).encode(again) == data


@given(st.sampled_from(list(TYPES)), st.binary(max_size=20))
def test_other_bytes_are_damage_or_the_one_encoding_of_a_value(tp, data):
    try:
        value = codec(tp).decode(data)
    except CorruptMemory:
        return
    assert codec(tp).encode(value) == data


@given(st.dictionaries(DECIMALS, st.integers(0, 9), max_size=30), DECIMALS, DECIMALS)
def test_ranges_of_a_map_are_ranges_of_values(entries, low, high):
    made = StableBTreeMap[Decimal, u64](StableMemory())
    made.update(entries)
    assert list(made) == sorted(entries)
    assert list(made.keys_range(low, high)) == sorted(key for key in entries if low <= key < high)


@pytest.mark.parametrize(
    ("tp", "value", "data"),
    [
        (dt.datetime, dt.datetime(1970, 1, 1, tzinfo=dt.UTC), "8000000000000000"),
        (dt.datetime, dt.datetime(1970, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), "8000000000000000"),
        (dt.datetime, dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC), "7fffffffffffffff"),
        (dt.date, dt.date(1970, 1, 2), "80000001"),
        (uuid.UUID, uuid.UUID(int=1), "00000000000000000000000000000001"),
        (Decimal, Decimal("1.50"), "03800000000000000110"),
        (Decimal, Decimal("-1.5"), "017ffffffffffffffeefff"),
        (Decimal, Decimal("-0.00"), "02"),
        (Decimal, Decimal("Infinity"), "04"),
    ],
)
def test_the_bytes_are_those_of_the_format(tp, value, data):
    assert codec(tp).encode(value).hex() == data


@pytest.mark.parametrize(
    ("tp", "value"),
    [
        (dt.datetime, dt.datetime(2024, 1, 1)),  # noqa: DTZ001 - that is the point
        (dt.datetime, dt.date(2024, 1, 1)),
        (dt.date, dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
        (uuid.UUID, "00000000-0000-0000-0000-000000000001"),
        (Decimal, 1.5),
        (Decimal, Decimal("NaN")),
    ],
)
def test_what_has_no_order_or_another_type_is_refused(tp, value):
    with pytest.raises((IncompatibleType, BoundExceeded)):
        codec(tp).encode(value)


@pytest.mark.parametrize("name", ["datetime", "date", "UUID", "Decimal"])
def test_their_names_are_types_as_text(name):
    assert parse_type(name).name == name
    assert parse_type(f"option<{name.lower()}>").name == f"{name} | None"


ZONES = st.builds(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)), st.integers(-1439, 1439))
EDGES = [dt.datetime.min, dt.datetime.min + dt.timedelta(hours=5), dt.datetime.max - dt.timedelta(hours=5), dt.datetime.max]  # noqa: DTZ901


@settings(deadline=None)
@given(st.datetimes(timezones=ZONES) | st.builds(lambda moment, zone: moment.replace(tzinfo=zone), st.sampled_from(EDGES), ZONES))
def test_a_moment_that_is_stored_can_be_read(moment):
    """In UTC it may be in the year 0 or 10,000, which no datetime is: then it is refused, not written."""
    there = StableBTreeSet[dt.datetime](StableMemory())
    if _is_in_range(moment):
        there.add(moment)
        assert list(there) == [moment]
        return
    with pytest.raises(BoundExceeded, match="in UTC"):
        there.add(moment)
    assert not there


def _is_in_range(moment):
    try:
        moment.astimezone(dt.UTC)
    except OverflowError:
        return False
    return True
