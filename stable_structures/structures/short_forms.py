# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D103 - they have the documentation of the methods whose place they take
"""Shorter forms of the most frequent methods of maps, for the most frequent types: they leave out what a type does not need.

`number_forms` chooses among them. Letters at the end of a name say what key and value are: `u` an unsigned number,
`s` a signed one, `p` plain bytes, `r` a row of fields of fixed size, `e` something else, such as `str`.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from .. import _native as native
from .._native import ASK, NO_NUMBER, NO_VALUE, at_hand, waiting
from ..errors import BoundExceeded, IncompatibleType

REFUSED: Final = (IncompatibleType, BoundExceeded)
"""What a type raises for a value that it cannot hold: such a key is not there."""
UNFIT: Final = (*REFUSED, OverflowError)
"""The same, and what cffi raises for a number that does not fit 64 bits."""
BOUND_EXCEEDED: Final[int] = native.call.SS_BOUND_EXCEEDED
_OK: Final[int] = native.call.SS_OK
_contains_u64: Final = native.call.ss_btree_contains_u64
_get_u64_u64: Final = native.call.ss_btree_get_u64_u64
_insert_u64_u64: Final = native.call.ss_btree_insert_u64_u64
_set_u64_u64: Final = native.call.ss_btree_set_u64_u64
_get_u64_bytes: Final = native.call.ss_btree_get_u64_bytes
_set_u64_bytes: Final = native.call.ss_btree_set_u64_bytes
_get_bytes_u64: Final = native.call.ss_btree_get_bytes_u64
_insert_bytes_u64: Final = native.call.ss_btree_insert_bytes_u64
_set_bytes_u64: Final = native.call.ss_btree_set_bytes_u64
_set_bytes_bytes: Final = native.call.ss_btree_set_bytes_bytes


def refuse_either(self: Any, key: Any, value: Any) -> NoReturn:
    """Raise the error of the type whose number, of the two, C could not take."""
    self._key.encode(key)
    self._value.refuse(value)
    raise AssertionError  # that never comes back


# ---- unsigned keys ----


def in_u(self: Any, key: Any) -> bool:
    try:
        status: int = _contains_u64(self._handle, key if type(key) is int else self._key.whole(key))
    except UNFIT:
        return False
    if status == _OK:
        return True
    return False if status > _OK or status == BOUND_EXCEEDED else self._fail(status, "in")


# ---- unsigned to unsigned ----


def get_uu(self: Any, key: Any, default: Any = None) -> Any:
    if type(key) is not int:
        key = self._key.whole(key)
    try:
        found: int = _get_u64_u64(self._handle, key)
    except OverflowError:
        self._key.refuse(key)
    if found < ASK:
        return found
    if found == NO_NUMBER:
        return default
    return self._result_number("get")


def _getitem_whole(self: Any, key: Any) -> Any:
    number = self._key.whole(key)
    try:
        return getitem_uu(self, number)
    except KeyError:
        raise KeyError(key) from None  # as it was given


def getitem_uu(self: Any, key: Any) -> Any:
    if type(key) is not int:
        return _getitem_whole(self, key)
    try:
        found: int = _get_u64_u64(self._handle, key)
    except OverflowError:
        self._key.refuse(key)
    if found < ASK:
        return found
    if found == NO_NUMBER:
        raise KeyError(key)
    return self._result_number("get")


def insert_uu(self: Any, key: Any, value: Any) -> Any:
    if type(key) is not int:
        key = self._key.whole(key)
    if type(value) is not int:
        value = self._value.whole(value)
    try:
        old: int = _insert_u64_u64(self._handle, key, value)
    except OverflowError:
        refuse_either(self, key, value)
    if old < ASK:
        return old
    if old == NO_NUMBER:
        return None
    return self._result_number("insert")


def setitem_uu(self: Any, key: Any, value: Any) -> None:
    if type(key) is not int:
        key = self._key.whole(key)
    if type(value) is not int:
        value = self._value.whole(value)
    try:
        status: int = _set_u64_u64(self._handle, key, value)
    except OverflowError:
        refuse_either(self, key, value)
    if status < 0:
        self._fail(status, "insert")


# ---- signed to signed ----


def get_ss(self: Any, key: Any, default: Any = None) -> Any:
    number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        found: int = _get_u64_u64(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if found < ASK:
        return found - self._value_bias
    if found == NO_NUMBER:
        return default
    return self._result_number("get") - self._value_bias


def getitem_ss(self: Any, key: Any) -> Any:
    number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        found: int = _get_u64_u64(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if found < ASK:
        return found - self._value_bias
    if found == NO_NUMBER:
        raise KeyError(key)
    return self._result_number("get") - self._value_bias


def insert_ss(self: Any, key: Any, value: Any) -> Any:
    number = key if type(key) is int else self._key.whole(key)
    number_value = value if type(value) is int else self._value.whole(value)
    try:
        old: int = _insert_u64_u64(self._handle, number + self._key_bias, number_value + self._value_bias)
    except OverflowError:
        refuse_either(self, key, value)
    if old < ASK:
        return old - self._value_bias
    if old == NO_NUMBER:
        return None
    return self._result_number("insert") - self._value_bias


def setitem_ss(self: Any, key: Any, value: Any) -> None:
    number = key if type(key) is int else self._key.whole(key)
    number_value = value if type(value) is int else self._value.whole(value)
    try:
        status: int = _set_u64_u64(self._handle, number + self._key_bias, number_value + self._value_bias)
    except OverflowError:
        refuse_either(self, key, value)
    if status < 0:
        self._fail(status, "insert")


# ---- unsigned to rows ----
#
# A usual result is read where the core has put it, and dropped as `_native.result` does.


def get_ur(self: Any, key: Any, default: Any = None) -> Any:
    if type(key) is not int:
        key = self._key.whole(key)
    try:
        size: int = _get_u64_bytes(self._handle, key)
    except OverflowError:
        self._key.refuse(key)
    if size == self._row_size:
        row = self._read_row(at_hand)
        waiting[0] = 0
        return row
    if size >= 0:
        return self._restored(size)
    return default if size == NO_VALUE else self._fail(size, "get")


def getitem_ur(self: Any, key: Any) -> Any:
    number = key if type(key) is int else self._key.whole(key)
    try:
        size: int = _get_u64_bytes(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if size == self._row_size:
        row = self._read_row(at_hand)
        waiting[0] = 0
        return row
    if size >= 0:
        return self._restored(size)
    if size == NO_VALUE:
        raise KeyError(key)
    return self._fail(size, "get")


def setitem_ur(self: Any, key: Any, value: Any) -> None:
    if type(key) is not int:
        key = self._key.whole(key)
    encode = self._encode_value
    data = encode(value)
    try:  # only this: a type of the user's may raise the same
        status: int = _set_u64_bytes(self._handle, key, data, len(data))
    except OverflowError:
        self._key.refuse(key)
    if status < 0:
        self._fail(status, "insert")


# ---- anything to unsigned ----


def get_eu(self: Any, key: Any, default: Any = None) -> Any:
    encode = self._encode_key
    data = encode(key)
    found: int = _get_bytes_u64(self._handle, data, len(data))
    if found < ASK:
        return found
    if found == NO_NUMBER:
        return default
    return self._result_number("get")


def getitem_eu(self: Any, key: Any) -> Any:
    encode = self._encode_key
    data = encode(key)
    found: int = _get_bytes_u64(self._handle, data, len(data))
    if found < ASK:
        return found
    if found == NO_NUMBER:
        raise KeyError(key)
    return self._result_number("get")


def insert_eu(self: Any, key: Any, value: Any) -> Any:
    encode = self._encode_key
    data = encode(key)
    if type(value) is not int:
        value = self._value.whole(value)
    try:
        old: int = _insert_bytes_u64(self._handle, data, len(data), value)
    except OverflowError:
        self._value.refuse(value)
    if old < ASK:
        return old
    if old == NO_NUMBER:
        return None
    return self._result_number("insert")


def setitem_eu(self: Any, key: Any, value: Any) -> None:
    encode = self._encode_key
    data = encode(key)
    if type(value) is not int:
        value = self._value.whole(value)
    try:
        status: int = _set_bytes_u64(self._handle, data, len(data), value)
    except OverflowError:
        self._value.refuse(value)
    if status < 0:
        self._fail(status, "insert")


# ---- bytes to bytes ----


def setitem_pp(self: Any, key: Any, value: Any) -> None:
    key_data = key if type(key) is bytes else self._encode_key(key)
    data = value if type(value) is bytes else self._encode_value(value)
    status: int = _set_bytes_bytes(self._handle, key_data, len(key_data), data, len(data))
    if status < 0:
        self._fail(status, "insert")


UNSIGNED: Final[dict[str, Any]] = {
    "get": get_uu,
    "__getitem__": getitem_uu,
    "insert": insert_uu,
    "__setitem__": setitem_uu,
}
SIGNED: Final[dict[str, Any]] = {
    "get": get_ss,
    "__getitem__": getitem_ss,
    "insert": insert_ss,
    "__setitem__": setitem_ss,
}
ROWS: Final[dict[str, Any]] = {"get": get_ur, "__getitem__": getitem_ur, "__setitem__": setitem_ur}
ENCODED: Final[dict[str, Any]] = {
    "get": get_eu,
    "__getitem__": getitem_eu,
    "insert": insert_eu,
    "__setitem__": setitem_eu,
}
PLAIN: Final[dict[str, Any]] = {"__setitem__": setitem_pp}
