# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D103 - they have the documentation of the methods whose place they take
"""The methods that classes get if keys or values cross to C as numbers.

The methods that are written on the classes serve every type: they encode, call the function of C that takes bytes, and
decode. A number needs neither, so a class with numbers gets the functions below in their place when it gets its types; a
lookup of `u64 -> u64` is one Python frame and one call into C. Letters at the end of a name say what key and value are:
`i` a number, `b` bytes.

Numbers are unsigned for C. An `int` of an unsigned type goes to C as it is: `_direct_...` is `int` then. To everything else
the bias of a signed type is added first, which keeps the order. A number from C that is below `_limit` is the value. C refuses what
does not fit 64 bits; then `refuse` raises the error of the type.

They repeat each other on purpose: a helper that they shared would be a second frame, and cost a tenth of the call.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from .. import _native as native
from .._native import ASK, NO_NUMBER, NO_VALUE, result, result_number
from ..errors import CorruptMemory
from ..storable import Codec, IntLane, Lane
from .indices import LIMIT, bounded
from .short_forms import BOUND_EXCEEDED, ENCODED, PLAIN, ROWS, SIGNED, UNFIT, UNSIGNED, in_u, refuse_either

_OK: Final[int] = native.call.SS_OK
UNSOUND: Final = (TypeError, UnicodeError)
"""What the quick functions of a codec raise for what its type refuses."""
UNREADABLE: Final = (CorruptMemory, *UNSOUND)

Methods = dict[str, Any]


class Argument:
    """How the keys or the values of a structure cross to C: as numbers, or as their encodings."""

    __slots__ = (
        "bias",
        "codec",
        "decode",
        "direct",
        "encode",
        "is_number",
        "layout",
        "limit",
        "plain",
        "quick_encode",
        "quick_restore",
        "restore",
        "width",
    )

    def __init__(self, codec: Codec[Any], lane: Lane | None = None) -> None:
        lane = lane or codec.lane
        self.codec = codec
        self.encode, self.decode = codec.encode, codec.decode
        self.plain = bytes if codec.as_is else None
        """The class of values that are their own encoding, or None."""
        self.restore = None if codec.as_is else codec.decode
        """Makes a value of its encoding; None if it is that already."""
        self.quick_encode, quick_restore = codec.quick or (codec.encode, codec.decode)
        """As `encode`, but may raise UNSOUND for what the type refuses: then `encode` says why. A Python frame less for text."""
        self.quick_restore = None if codec.as_is else quick_restore
        """As `restore`, in the same way."""
        self.is_number = isinstance(lane, IntLane)
        self.layout = None if self.is_number else codec.layout
        """How encodings of one size are decoded many at a time; None if they cross as numbers, or one by one."""
        self.width, self.bias = (lane.size, lane.bias) if isinstance(lane, IntLane) else (0, 0)
        self.direct = None if self.bias else int
        """The class of numbers that C takes as they are, or None."""
        self.limit = 0 if self.bias else ASK
        """Below it a number of C is the value."""

    def whole(self, value: Any) -> int:
        """Return a number that is not an `int` as one (bool, integers of numpy); raises the error of the type for anything else."""
        self.encode(value)
        return int(value)

    def refuse(self, value: Any) -> NoReturn:
        """Raise the error of the type for a number that C could not take."""
        self.encode(value)
        raise OverflowError(f"{value} does not fit 64 bits")

    def fail(self, status: int, operation: str, value: Any, owner: Any) -> NoReturn:
        """Raise the error for a status of C; if the value is out of its bound, the error of the type."""
        if status == BOUND_EXCEEDED:
            self.encode(value)
        owner._fail(status, operation)
        raise AssertionError  # that never comes back


# ---- keys of maps and sets ----

_contains_u64: Final = native.call.ss_btree_contains_u64
_insert_u64_bytes: Final = native.call.ss_btree_insert_u64_bytes
_set_u64_bytes: Final = native.call.ss_btree_set_u64_bytes
_remove_u64_bytes: Final = native.call.ss_btree_remove_u64_bytes


def contains_key_u64(self: Any, key: Any) -> bool:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        status: int = _contains_u64(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if status == _OK:
        return True
    return False if status > _OK else self._fail(status, "contains_key")


def contains_u64(self: Any, key: Any) -> bool:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        status: int = _contains_u64(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if status == _OK:
        return True
    return False if status > _OK else self._fail(status, "contains")


def in_u64(self: Any, key: Any) -> bool:
    try:
        number = key
        if type(key) is not self._direct_key:
            number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
        status: int = _contains_u64(self._handle, number)
    except UNFIT:
        return False
    if status == _OK:
        return True
    return False if status > _OK or status == BOUND_EXCEEDED else self._fail(status, "in")


def insert_u64(self: Any, key: Any) -> bool:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        size: int = _insert_u64_bytes(self._handle, number, b"", 0)
    except OverflowError:
        self._key.refuse(key)
    if size < 0:
        return True if size == NO_VALUE else self._key.fail(size, "insert", key, self)
    result(size)
    return False


def remove_u64(self: Any, key: Any) -> bool:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        size: int = _remove_u64_bytes(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if size == NO_VALUE:
        return False
    if size < 0:
        self._key.fail(size, "remove", key, self)
    result(size)
    return True


def _in(keys: Argument) -> Any:
    return in_u64 if keys.bias else in_u


def set_forms(keys: Argument) -> Methods:
    """Return the methods of a set of numbers; none for other sets."""
    if not keys.is_number:
        return {}
    return {"contains": contains_u64, "__contains__": _in(keys), "insert": insert_u64, "remove": remove_u64}


# ---- maps of numbers to numbers ----

_get_u64_u64: Final = native.call.ss_btree_get_u64_u64
_insert_u64_u64: Final = native.call.ss_btree_insert_u64_u64
_set_u64_u64: Final = native.call.ss_btree_set_u64_u64
_remove_u64_u64: Final = native.call.ss_btree_remove_u64_u64


def get_u64_u64(self: Any, key: Any, default: Any = None) -> Any:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        found: int = _get_u64_u64(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if found < self._limit:
        return found
    if found < ASK:
        return found - self._value_bias
    if found == NO_NUMBER:
        return default
    return self._result_number("get") - self._value_bias


def getitem_u64_u64(self: Any, key: Any) -> Any:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        found: int = _get_u64_u64(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if found < self._limit:
        return found
    if found < ASK:
        return found - self._value_bias
    if found == NO_NUMBER:
        raise KeyError(key)
    return self._result_number("get") - self._value_bias


def insert_u64_u64(self: Any, key: Any, value: Any) -> Any:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    number_value = value
    if type(value) is not self._direct_value:
        number_value = (value if type(value) is int else self._value.whole(value)) + self._value_bias
    try:
        old: int = _insert_u64_u64(self._handle, number, number_value)
    except OverflowError:
        refuse_either(self, key, value)
    if old < self._limit:
        return old
    if old < ASK:
        return old - self._value_bias
    if old == NO_NUMBER:
        return None
    return self._result_number("insert") - self._value_bias


def setitem_u64_u64(self: Any, key: Any, value: Any) -> None:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    number_value = value
    if type(value) is not self._direct_value:
        number_value = (value if type(value) is int else self._value.whole(value)) + self._value_bias
    try:
        status: int = _set_u64_u64(self._handle, number, number_value)
    except OverflowError:
        refuse_either(self, key, value)
    if status < 0:
        self._fail(status, "insert")


def remove_u64_u64(self: Any, key: Any, default: Any = None) -> Any:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        old: int = _remove_u64_u64(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if old < self._limit:
        return old
    if old < ASK:
        return old - self._value_bias
    if old == NO_NUMBER:
        return default
    return self._result_number("remove") - self._value_bias


def delitem_u64_u64(self: Any, key: Any) -> None:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        old: int = _remove_u64_u64(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if old == NO_NUMBER:
        raise KeyError(key)
    if old == ASK:
        self._result_number("remove")


# ---- maps of numbers to anything ----

_get_u64_bytes: Final = native.call.ss_btree_get_u64_bytes
_drop: Final = native.call.ss_result_drop


def get_u64_bytes(self: Any, key: Any, default: Any = None) -> Any:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        size: int = _get_u64_bytes(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if size >= 0:
        restore, data = self._restore_value, result(size)
        try:
            return restore(data) if restore else data
        except UNREADABLE as error:
            self._unreadable(error, data)
            raise
    return default if size == NO_VALUE else self._fail(size, "get")


def getitem_u64_bytes(self: Any, key: Any) -> Any:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        size: int = _get_u64_bytes(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if size >= 0:
        restore, data = self._restore_value, result(size)
        try:
            return restore(data) if restore else data
        except UNREADABLE as error:
            self._unreadable(error, data)
            raise
    if size == NO_VALUE:
        raise KeyError(key)
    return self._fail(size, "get")


def insert_u64_bytes(self: Any, key: Any, value: Any) -> Any:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    data = value
    if type(value) is not self._plain_value:
        encode = self._encode_value
        data = encode(value)
    try:
        size: int = _insert_u64_bytes(self._handle, number, data, len(data))
    except OverflowError:
        self._key.refuse(key)
    if size < 0:
        return None if size == NO_VALUE else self._fail(size, "insert")
    restore, old = self._restore_value, result(size)
    try:
        return restore(old) if restore else old
    except BaseException as error:  # the bytes that were there are put back
        _set_u64_bytes(self._handle, number, old, len(old))
        self._unreadable(error, old)
        raise


def setitem_u64_bytes(self: Any, key: Any, value: Any) -> None:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    data = value
    try:
        if type(value) is not self._plain_value:
            encode = self._quick_encode_value
            data = encode(value)
    except UNSOUND:
        self._unsound(key, value)
        raise
    try:  # only this: a type of the user's may raise the same
        status: int = _set_u64_bytes(self._handle, number, data, len(data))
    except OverflowError:
        self._key.refuse(key)
    if status < 0:
        self._fail(status, "insert")


def remove_u64_bytes(self: Any, key: Any, default: Any = None) -> Any:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        size: int = _remove_u64_bytes(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if size < 0:
        return default if size == NO_VALUE else self._fail(size, "remove")
    restore, old = self._restore_value, result(size)
    try:
        return restore(old) if restore else old
    except BaseException as error:  # the bytes that were there are put back
        _set_u64_bytes(self._handle, number, old, len(old))
        self._unreadable(error, old)
        raise


def delitem_u64_bytes(self: Any, key: Any) -> None:
    number = key
    if type(key) is not self._direct_key:
        number = (key if type(key) is int else self._key.whole(key)) + self._key_bias
    try:
        size: int = _remove_u64_bytes(self._handle, number)
    except OverflowError:
        self._key.refuse(key)
    if size == NO_VALUE:
        raise KeyError(key)
    if size < 0:
        self._fail(size, "remove")
    _drop()


# ---- maps of anything to numbers ----

_get_bytes_u64: Final = native.call.ss_btree_get_bytes_u64
_insert_bytes_u64: Final = native.call.ss_btree_insert_bytes_u64
_set_bytes_u64: Final = native.call.ss_btree_set_bytes_u64
_remove_bytes_u64: Final = native.call.ss_btree_remove_bytes_u64


def get_bytes_u64(self: Any, key: Any, default: Any = None) -> Any:
    data = key
    if type(key) is not self._plain_key:
        encode = self._encode_key
        data = encode(key)
    found: int = _get_bytes_u64(self._handle, data, len(data))
    if found < self._limit:
        return found
    if found < ASK:
        return found - self._value_bias
    if found == NO_NUMBER:
        return default
    return self._result_number("get") - self._value_bias


def getitem_bytes_u64(self: Any, key: Any) -> Any:
    data = key
    if type(key) is not self._plain_key:
        encode = self._encode_key
        data = encode(key)
    found: int = _get_bytes_u64(self._handle, data, len(data))
    if found < self._limit:
        return found
    if found < ASK:
        return found - self._value_bias
    if found == NO_NUMBER:
        raise KeyError(key)
    return self._result_number("get") - self._value_bias


def insert_bytes_u64(self: Any, key: Any, value: Any) -> Any:
    data = key
    if type(key) is not self._plain_key:
        encode = self._encode_key
        data = encode(key)
    number = value
    if type(value) is not self._direct_value:
        number = (value if type(value) is int else self._value.whole(value)) + self._value_bias
    try:
        old: int = _insert_bytes_u64(self._handle, data, len(data), number)
    except OverflowError:
        self._value.refuse(value)
    if old < self._limit:
        return old
    if old < ASK:
        return old - self._value_bias
    if old == NO_NUMBER:
        return None
    return self._result_number("insert") - self._value_bias


def setitem_bytes_u64(self: Any, key: Any, value: Any) -> None:
    data = key
    if type(key) is not self._plain_key:
        encode = self._encode_key
        data = encode(key)
    number = value
    if type(value) is not self._direct_value:
        number = (value if type(value) is int else self._value.whole(value)) + self._value_bias
    try:
        status: int = _set_bytes_u64(self._handle, data, len(data), number)
    except OverflowError:
        self._value.refuse(value)
    if status < 0:
        self._fail(status, "insert")


def remove_bytes_u64(self: Any, key: Any, default: Any = None) -> Any:
    data = key
    if type(key) is not self._plain_key:
        encode = self._encode_key
        data = encode(key)
    old: int = _remove_bytes_u64(self._handle, data, len(data))
    if old < self._limit:
        return old
    if old < ASK:
        return old - self._value_bias
    if old == NO_NUMBER:
        return default
    return self._result_number("remove") - self._value_bias


def delitem_bytes_u64(self: Any, key: Any) -> None:
    data = key
    if type(key) is not self._plain_key:
        encode = self._encode_key
        data = encode(key)
    old: int = _remove_bytes_u64(self._handle, data, len(data))
    if old == NO_NUMBER:
        raise KeyError(key)
    if old == ASK:
        self._result_number("remove")


_FORMS_II: Final[Methods] = {
    "get": get_u64_u64,
    "__getitem__": getitem_u64_u64,
    "insert": insert_u64_u64,
    "__setitem__": setitem_u64_u64,
    "remove": remove_u64_u64,
    "_take": remove_u64_u64,
    "__delitem__": delitem_u64_u64,
}
_FORMS_IB: Final[Methods] = {
    "get": get_u64_bytes,
    "__getitem__": getitem_u64_bytes,
    "insert": insert_u64_bytes,
    "__setitem__": setitem_u64_bytes,
    "remove": remove_u64_bytes,
    "_take": remove_u64_bytes,
    "__delitem__": delitem_u64_bytes,
}
_FORMS_BI: Final[Methods] = {
    "get": get_bytes_u64,
    "__getitem__": getitem_bytes_u64,
    "insert": insert_bytes_u64,
    "__setitem__": setitem_bytes_u64,
    "remove": remove_bytes_u64,
    "_take": remove_bytes_u64,
    "__delitem__": delitem_bytes_u64,
}


def map_forms(keys: Argument, values: Argument) -> Methods:
    """Return the methods of a map of numbers or plain bytes that take the place of the general ones."""
    if keys.is_number:
        return {
            "contains_key": contains_key_u64,
            "__contains__": _in(keys),
            **(_FORMS_II if values.is_number else _FORMS_IB),
            **_short_forms(keys, values),
        }
    if values.is_number:
        return {**_FORMS_BI, **_short_forms(keys, values)}
    return PLAIN if keys.plain and values.plain else {}


def _short_forms(keys: Argument, values: Argument) -> Methods:
    if keys.is_number and values.is_number and bool(keys.bias) == bool(values.bias):
        return SIGNED if keys.bias else UNSIGNED
    if keys.is_number and not keys.bias and values.layout and values.layout.read:
        return ROWS
    return ENCODED if values.is_number and not (keys.is_number or keys.plain or values.bias) else {}


# ---- sequences ----

_vec_get: Final = native.call.ss_vec_get_u64
_vec_item: Final = native.call.ss_vec_item_u64
_vec_set: Final = native.call.ss_vec_set_u64
_vec_set_item: Final = native.call.ss_vec_set_item_u64
_vec_push: Final = native.call.ss_vec_push_u64
_vec_pop: Final = native.call.ss_vec_pop_u64
_heap_push: Final = native.call.ss_heap_push_u64
_heap_pop: Final = native.call.ss_heap_pop_u64
_heap_peek: Final = native.call.ss_heap_peek_u64


def vec_get(self: Any, index: Any) -> Any:
    try:
        number: int = _vec_get(self._handle, index if type(index) is int else bounded(index))
    except OverflowError:
        number = _vec_get(self._handle, bounded(index))
    if number < self._limit:
        return number
    if number < ASK:
        return number - self._bias
    if number == NO_NUMBER:
        return None
    return self._result_number("get") - self._bias


def vec_getitem(self: Any, index: Any) -> Any:
    if type(index) is not int:
        return self._item(index)
    try:
        number: int = _vec_item(self._handle, index)
    except OverflowError:
        return self._item(index)
    if number < self._limit:
        return number
    if number < ASK:
        return number - self._bias
    if number == NO_NUMBER:
        self._past(index)
    return self._result_number("get") - self._bias


def vec_set(self: Any, index: Any, value: Any) -> None:
    if type(index) is not int or not 0 <= index < LIMIT:
        index = bounded(index)
    number = value
    if type(value) is not self._direct:
        number = (value if type(value) is int else self._value.whole(value)) + self._bias
    try:
        status: int = _vec_set(self._handle, index, number)
    except OverflowError:
        self._value.refuse(value)
    if status < 0:
        self._set_failed(status, index, value)


def vec_setitem(self: Any, index: Any, value: Any) -> None:
    if type(index) is not int:
        index = self._place(index)
    number = value
    if type(value) is not self._direct:
        number = (value if type(value) is int else self._value.whole(value)) + self._bias
    try:
        status: int = _vec_set_item(self._handle, index, number)
    except OverflowError:
        self._place(index)  # raises if it was the index that did not fit
        self._value.refuse(value)
    if status < 0:
        self._set_failed(status, index, value)


def vec_push(self: Any, value: Any) -> None:
    number = value
    if type(value) is not self._direct:
        number = (value if type(value) is int else self._value.whole(value)) + self._bias
    try:
        status: int = _vec_push(self._handle, number)
    except OverflowError:
        self._value.refuse(value)
    if status < 0:
        self._value.fail(status, "push", value, self)


def vec_pop(self: Any) -> Any:
    number: int = _vec_pop(self._handle)
    if number < self._limit:
        return number
    if number < ASK:
        return number - self._bias
    if number == NO_NUMBER:
        return None
    return self._result_number("pop") - self._bias


def heap_push(self: Any, value: Any) -> None:
    number = value
    if type(value) is not self._direct:
        number = (value if type(value) is int else self._value.whole(value)) + self._bias
    try:
        status: int = _heap_push(self._handle, number)
    except OverflowError:
        self._value.refuse(value)
    if status < 0:
        self._value.fail(status, "push", value, self)


def heap_pop(self: Any) -> Any:
    number: int = _heap_pop(self._handle)
    if number < self._limit:
        return number
    if number < ASK:
        return number - self._bias
    if number == NO_NUMBER:
        return None
    return self._result_number("pop") - self._bias


def heap_peek(self: Any) -> Any:
    number: int = _heap_peek(self._handle)
    if number < self._limit:
        return number
    if number < ASK:
        return number - self._bias
    if number == NO_NUMBER:
        return None
    return self._result_number("peek") - self._bias


_VEC_FORMS: Final[Methods] = {
    "get": vec_get,
    "__getitem__": vec_getitem,
    "set": vec_set,
    "__setitem__": vec_setitem,
    "push": vec_push,
    "append": vec_push,
    "pop": vec_pop,
}
_HEAP_FORMS: Final[Methods] = {"push": heap_push, "pop": heap_pop, "peek": heap_peek}


def vec_forms(values: Argument) -> Methods:
    """Return the methods of a vec of numbers; none for other vecs."""
    return _VEC_FORMS if values.is_number else {}


def heap_forms(values: Argument) -> Methods:
    """Return the methods of a heap of numbers; none for other heaps."""
    return _HEAP_FORMS if values.is_number else {}


# ---- cells ----

_cell_get: Final = native.call.ss_cell_get_u64
_cell_replace: Final = native.call.ss_cell_replace_u64
_cell_set: Final = native.call.ss_cell_set_u64


def cell_get(self: Any) -> Any:
    number: int = _cell_get(self._handle, self._width)
    if number < self._limit:
        return number
    # Bytes that are not such a number: the type says so.
    return number - self._bias if number < ASK else self._get_or_raise()


def cell_set(self: Any, value: Any) -> Any:
    number = value
    if type(value) is not self._direct:
        number = (value if type(value) is int else self._argument.whole(value)) + self._bias
    try:
        old: int = _cell_replace(self._handle, self._width, number)
    except OverflowError:
        self._argument.refuse(value)
    if old < self._limit:
        return old
    return (old if old < ASK else result_number("set", self._argument.fail, value, self)) - self._bias


def cell_assign(self: Any, value: Any) -> None:
    number = value
    if type(value) is not self._direct:
        number = (value if type(value) is int else self._argument.whole(value)) + self._bias
    try:
        status: int = _cell_set(self._handle, self._width, number)
    except OverflowError:
        self._argument.refuse(value)
    if status < 0:
        self._argument.fail(status, "set", value, self)


_CELL_FORMS: Final[Methods] = {"get": cell_get, "set": cell_set, "_assign": cell_assign}


def cell_forms(values: Argument) -> Methods:
    """Return the methods of a cell with a number; none for other cells."""
    return _CELL_FORMS if values.is_number else {}
