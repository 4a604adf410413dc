# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - Codec says what encode, decode and compare do
"""Numpy structured scalars: the bytes of the dtype, fields little-endian, gaps between fields zero. Not in the crate."""

from __future__ import annotations

import cmath
import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import BoundExceeded, IncompatibleType
from .base import Codec, Data, DType, python_order, refuse_masked, shown
from .bound import Bounded
from .packing import FLOAT_TYPES, WHOLE_TYPES, Field, Layout, packer_of
from .scalars import FLOAT_KEY_PROBLEM, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

_KINDS: Final = frozenset("biufcSUVmM")


class Record(Codec["np.void"]):
    r"""A numpy structured scalar: `Annotated[np.void, Record(dtype)]`, or `Record(dtype)` itself. O(fields).

    Accepts a scalar of the dtype, one that casts to it safely, or a tuple; returns a read-only `np.void`. As a key it is
    compared in Python, as the tuple of its fields. Raises `IncompatibleType` for a dtype without fields, with
    objects, or with numbers whose form depends on the machine.

    >>> from stable_structures.storable import Record
    >>> point = Record([("x", "u2"), ("y", "u2")])
    >>> point.encode((1, 2))
    b'\x01\x00\x02\x00'
    >>> point.decode(b"\x01\x00\x02\x00")["y"]
    np.uint16(2)
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        wanted = np.dtype(dtype).newbyteorder("<")
        _check_dtype(wanted)
        bound = Bounded(wanted.itemsize, is_fixed_size=True)
        super().__init__(f"Record({np.dtype(wanted).descr if _plain_layout(wanted) else wanted})", bound, python_order(bound), str(wanted))
        self._dtype: DType = wanted
        self.dtype = self.native_dtype = wanted
        self._gaps = not _plain_layout(wanted)
        self._texts = list(_text_fields(wanted, 0))
        fast = _Packing.of(wanted)
        self._pack_tuple = None if fast is None else fast.packer()
        self.layout = Layout(wanted.itemsize, self._split, self._checked if self._texts else None)
        leaves = {leaf.kind for leaf, _ in _leaves(wanted, 0)}
        if leaves & {"f", "c"}:
            self.key_problem = f"it holds a float: {FLOAT_KEY_PROBLEM}"
        if leaves & {"M", "m", "c"}:
            self.key_problem = self.heap_problem = "it holds a date or a complex number, which has no total order; use integer fields"

    def encode(self, value: Any) -> bytes:
        if type(value) is tuple and self._pack_tuple is not None:
            packed = self._pack_tuple(value)
            if packed is not None:
                return packed
        if isinstance(value, np.void) and value.dtype == self._dtype:
            return self._without_gaps(np.array(value)).tobytes() if self._gaps else value.tobytes()
        return self._converted(value).tobytes()

    def decode(self, data: Data) -> np.void:
        if len(data) != self._dtype.itemsize:
            self._corrupt(f"encoded in {self._dtype.itemsize} bytes, found {len(data)}")
        if type(data) is not bytes:
            data = bytes(data)
        for offset, count in self._texts:
            try:
                data[offset : offset + 4 * count].decode("utf-32-le", "surrogatepass")
            except UnicodeDecodeError:
                self._corrupt(f"text holds code points up to 0x10ffff; the field at byte {offset} does not")
        return np.frombuffer(data, self._dtype)[0]  # type: ignore[no-any-return]

    def _split(self, data: bytes) -> list[Any]:
        return list(np.frombuffer(data, self._dtype))

    def _checked(self, item: np.void) -> np.void:
        return self.decode(item.tobytes())

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `pickle`, which cannot keep the functions of a layout."""
        return type(self), (self._dtype,)

    def compare(self, a: Any, b: Any) -> int | None:
        x, y = _comparable(a), _comparable(b)
        return -1 if x < y else 1 if y < x else 0 if x == y else None

    def _converted(self, value: Any) -> npt.NDArray[Any]:
        """Return another scalar, or a tuple, as one item of the dtype; nothing is truncated or rounded to an integer."""
        if isinstance(value, np.void):
            return self._pack(np.array([value]))
        if not isinstance(value, tuple):
            self._wrong_type(value, f"a numpy scalar of {self._dtype} or a tuple")
        for item in value:
            refuse_masked(item, self.name)
        made = np.zeros(1, self._dtype)
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                made[0] = value
        except (OverflowError, DeprecationWarning) as error:  # numpy 1 only warns
            raise BoundExceeded(f"{self.name} cannot hold {shown(value)}: {error}; use wider fields") from None
        except (TypeError, ValueError) as error:
            raise IncompatibleType(
                f"expected a numpy scalar of its dtype or a matching tuple for {self.name}, got {shown(value)}: {error}"
            ) from None
        if not _same(_comparable(made[0]), value):
            raise BoundExceeded(f"{self.name} cannot hold {shown(value)}: it would become {made[0]}; use wider fields, or convert it first")
        return made

    def _pack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array.dtype.names != self._dtype.names or not np.can_cast(array.dtype, self._dtype):
            self._refuse_dtype(array, "; array.astype(dtype) converts it if you accept the loss")
        self._require_exact(array, self._dtype)
        return self._without_gaps(array.astype(self._dtype))

    def _require_exact(self, array: npt.NDArray[Any], dtype: DType) -> None:
        """Raise `BoundExceeded` for an integer that a float field would round: numpy calls that a safe cast."""
        for name in dtype.names or ():
            self._require_exact(array[name], dtype[name].base)
        if dtype.kind in "fc" and (wrong := rounded(array)).any():
            number = int(array[wrong][0])
            raise BoundExceeded(
                f"{self.name} cannot hold {number} in a field of {dtype} exactly; use an integer field, or array.astype(float)"
            )

    def _unpack(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self._texts:
            for item in array:
                self.decode(item.tobytes())
        return array.copy()

    def _without_gaps(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the same values with zeros between the fields, so that equal values have equal bytes."""
        if not self._gaps:
            return array
        clean = np.zeros(array.shape, self._dtype)
        octets = clean.reshape(-1).view(np.uint8).reshape(-1, self._dtype.itemsize)
        source = np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(-1, self._dtype.itemsize)
        for leaf, offset in _leaves(self._dtype, 0):
            octets[:, offset : offset + leaf.itemsize] = source[:, offset : offset + leaf.itemsize]
        return clean

    def __repr__(self) -> str:
        return self.name


class _Packing:
    """The fast path for tuples of plain values: `struct` packs them, and refuses values that it would change.

    A tuple that it does not accept takes the slow path, which accepts it or says why not.
    """

    _CODES: Final = {
        "i1": "b",
        "i2": "h",
        "i4": "i",
        "i8": "q",
        "u1": "B",
        "u2": "H",
        "u4": "I",
        "u8": "Q",
        "f2": "e",
        "f4": "f",
        "f8": "d",
    }
    _TYPES: Final[dict[str, tuple[type, ...]]] = {
        "i": (int, np.integer),
        "u": (int, np.integer),
        "f": (float, np.float64, np.float32, np.float16),
        "b": (bool,),
        "S": (bytes,),
        "V": (bytes,),
        "U": (str,),
    }
    _MOST_KNOWN: Final = 256

    def __init__(self, dtype: DType, layout: struct.Struct) -> None:
        fields = [dtype[name] for name in dtype.names or ()]
        self._dtype = dtype
        self._kinds = [field.kind for field in fields]
        self._layout = layout
        self._pack = layout.pack
        self._texts = [(index, field.kind, field.itemsize) for index, field in enumerate(fields) if field.kind in "SUV"]
        self._known: set[tuple[type, ...]] = set()

    @classmethod
    def of(cls, dtype: DType) -> _Packing | None:
        """Return the packing of a dtype; None if a field is not a number, bool, text or bytes, or if fields are not stored in order."""
        layout, end = "<", 0
        fields: Any = dtype.fields
        for field, offset in (fields[name][:2] for name in dtype.names or ()):
            is_text = field.kind in "SUV" and field.subdtype is None and field.names is None
            code = f"{field.itemsize}s" if is_text else cls._CODES.get(field.str[1:])
            code = "?" if field.kind == "b" else code
            if code is None or offset < end:
                return None
            layout += f"{offset - end}x{code}"
            end = offset + field.itemsize
        return cls(dtype, struct.Struct(f"{layout}{dtype.itemsize - end}x"))

    def packer(self) -> Callable[[Any], bytes | None]:
        """Return the function that packs: without texts it is that of other rows."""
        if any(kind in "SU" for kind in self._kinds):
            return self.pack
        types = {"f": FLOAT_TYPES, "b": frozenset({bool}), "V": frozenset({bytes})}
        fields = [self._dtype[name] for name in self._dtype.names or ()]
        known = [Field("", types.get(field.kind, WHOLE_TYPES), field.itemsize if field.kind == "V" else None) for field in fields]
        return packer_of(self._layout, known)

    def pack(self, value: tuple[Any, ...]) -> bytes | None:
        """Return the bytes of a tuple; None if it takes the slow path. O(fields)."""
        if (types := tuple(map(type, value))) not in self._known and not self._are_plain(types):
            return None
        try:
            return self._pack(*(self._with_texts(value) if self._texts else value))
        except (struct.error, OverflowError, UnicodeEncodeError):
            return None

    def _are_plain(self, types: tuple[type, ...]) -> bool:
        """Return whether values of these types, one for each field, can be packed unchanged; a bool is not a number here."""
        fits = len(types) == len(self._kinds) and all(
            issubclass(tp, self._TYPES[kind]) and (kind == "b" or tp is not bool) for tp, kind in zip(types, self._kinds, strict=True)
        )
        if fits and len(self._known) < self._MOST_KNOWN:
            self._known.add(types)
        return fits

    def _with_texts(self, value: tuple[Any, ...]) -> list[Any]:
        """Return the tuple with texts as bytes. Zeros at their end, which numpy strips or adds, are left to the slow path."""
        items = list(value)
        for index, kind, size in self._texts:
            text = items[index]
            data = text.encode("utf-32-le") if kind == "U" else text
            if len(data) != size if kind == "V" else len(data) > size or text[-1:] in (b"\0", "\0"):
                raise OverflowError
            items[index] = data
        return items


def _check_dtype(dtype: DType) -> None:
    if dtype.names is None or dtype.itemsize == 0:
        raise IncompatibleType(
            f"Record expects a structured dtype with fields, got {dtype}; use u64, f64, Array(size) and so on for one number"
        )
    spans = []
    for leaf, offset in _leaves(dtype, 0):
        if leaf.hasobject or leaf.kind not in _KINDS or leaf.char in "gG":
            raise IncompatibleType(f"Record cannot hold {leaf} (in {dtype}): it has no fixed bytes; use Cbor, or another field type")
        spans.append((offset, offset + leaf.itemsize))
    spans.sort()
    if any(end > start for (_, end), (start, _) in pairwise(spans)):
        raise IncompatibleType(f"Record cannot hold {dtype}: its fields overlap; give each field its own bytes")


def _leaves(dtype: DType, offset: int) -> Iterator[tuple[DType, int]]:
    """Iterate over every field that is not a record itself, with its offset; an array field counts once for each item."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        for index in range(int(np.prod(shape))):
            yield from _leaves(base, offset + index * base.itemsize)
    elif dtype.names is not None and dtype.fields is not None:
        for name in dtype.names:
            part = dtype.fields[name]
            yield from _leaves(part[0], offset + part[1])
    else:
        yield dtype, offset


def _text_fields(dtype: DType, offset: int) -> Iterator[tuple[int, int]]:
    """Iterate over offset and number of characters of every `U` field."""
    for leaf, place in _leaves(dtype, offset):
        if leaf.kind == "U" and leaf.itemsize:
            yield place, leaf.itemsize // 4


def _plain_layout(dtype: DType) -> bool:
    """Return whether the fields fill the item without gaps, in order."""
    end = 0
    for leaf, offset in _leaves(dtype, 0):
        if offset != end:
            return False
        end += leaf.itemsize
    return end == dtype.itemsize


def _comparable(value: Any) -> Any:
    """Return a record as tuples and lists of Python values."""
    if isinstance(value, np.void):
        return _comparable(value.item())
    if isinstance(value, np.ndarray):
        return value.tolist()
    return tuple(map(_comparable, value)) if isinstance(value, tuple) else value


def _same(stored: Any, given: Any) -> bool:
    """Return whether the stored value equals the given one: floats of floats may have been rounded, nothing else may change."""
    if isinstance(stored, (tuple, list)):
        items = _comparable(given)
        return isinstance(items, (tuple, list)) and len(items) == len(stored) and all(map(_same, stored, items))
    if isinstance(given, (np.datetime64, np.timedelta64)):
        return True
    if isinstance(given, (int, np.integer)):
        return bool(stored == int(given))
    if isinstance(stored, (float, complex)):
        number = complex(given) if isinstance(given, np.number | np.bool_ | np.ndarray) else given
        return isinstance(number, (int, float, complex)) and cmath.isinf(stored) == (not isinstance(number, int) and cmath.isinf(number))
    return bool(stored == given)
