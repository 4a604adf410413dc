# SPDX-License-Identifier: Apache-2.0
"""Candid for Kybra's maps and raw calls: annotations as Candid types, values in both directions, and the order of Rust.

The bytes come from icp-py-core (`pip install 'stable-structures[candid]'`). A key or value is a Candid message with one
argument, as `candid::Encode!` writes it (docs/platform.md#kybras-map).
"""

from __future__ import annotations

import functools
import importlib
import sys
import types
import typing
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from ...encodings.candid.codec import CandidError
from ...encodings.candid.codec import decode as check_message
from ...errors import CorruptMemory, IncompatibleType, Unsupported
from ...storable.blame import raise_of_moment
from .kinds import CdkPrincipal, FuncTuple, Marked, Signature

if TYPE_CHECKING:
    from collections.abc import Iterable

Compare = Callable[[Any, Any], int]


@functools.cache
def icp() -> Any:
    """Return the module icp_candid of icp-py-core. Raises `Unsupported`, with the command to install it."""
    try:
        return importlib.import_module("icp_candid.candid")
    except ImportError as error:
        raise Unsupported("Candid needs icp-py-core: pip install 'stable-structures[candid]' (or icp-py-core)") from error


class ScalarMeta(type):
    """A type that annotations name by its Candid name; at run time it behaves as the Python type of its values."""

    base: type
    low: int | None
    high: int | None

    def __instancecheck__(cls, value: object) -> bool:
        """Check as the Python type does."""
        return isinstance(value, cls.base)

    def __call__(cls, *args: Any, **options: Any) -> Any:
        """Return a value of the Python type."""
        return cls.base(*args, **options)


def _scalar_type(name: str, base: type, low: int | None = None, high: int | None = None) -> ScalarMeta:
    return ScalarMeta(name, (), {"base": base, "low": low, "high": high, "__module__": __name__})


def _bits(sort: str, bits: int) -> ScalarMeta:
    low, high = (0, 2**bits) if sort == "nat" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return _scalar_type(f"{sort}{bits}", int, low, high)


SCALARS: Final[dict[str, ScalarMeta]] = {
    "nat": _scalar_type("nat", int, 0),
    "int": _scalar_type("int", int),
    **{f"{sort}{bits}": _bits(sort, bits) for sort in ("nat", "int") for bits in (8, 16, 32, 64)},
    **{name: _scalar_type(name, float) for name in ("float32", "float64")},
    **{name: _scalar_type(name, object) for name in ("text", "blob", "bool", "principal", "null", "reserved", "empty")},
}


class Form:
    """`Record` or `Variant`: a subclass is a TypedDict, and remembers which of the two it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        entries: tuple[Any, ...] = typing.TypedDict.__mro_entries__(bases)  # type: ignore[attr-defined]
        return entries

    def __repr__(self) -> str:
        return self.name


RECORD: Final = Form("Record")
VARIANT: Final = Form("Variant")


def is_variant(cls: Any) -> bool:
    """Return whether a class of fields is a variant."""
    marked = getattr(cls, "__candid_variant__", None)
    if marked is not None:
        return bool(marked)
    bases = getattr(cls, "__orig_bases__", ())
    if VARIANT in bases or RECORD in bases:
        return VARIANT in bases
    return not getattr(cls, "__total__", True)


@dataclass(frozen=True)
class CandidType:
    """A type: its form in icp-py-core, how values are encoded and decoded, and how Rust orders them."""

    name: str
    wire: Any
    inward: Callable[[Any], Any]
    outward: Callable[[Any], Any]
    compare: Compare

    def encode(self, value: Any) -> bytes:
        """Return a Candid message with one argument. O(size). Raises `TypeError` and `OverflowError` for a value of another type."""
        return bytes(icp().encode([{"type": self.wire, "value": self.inward(value)}]))

    def decode(self, data: bytes) -> Any:
        """Return the value of a message. O(size). Raises `CorruptMemory` if it is not of this type."""
        try:
            return self.outward(_decoded(data, [self.wire])[0])
        except Exception as error:
            raise_of_moment(error)
            raise CorruptMemory(
                f"CandidError: {len(data)} bytes are not a {self.name}: {error}; the memory is damaged or was written with another type"
            ) from error


def decode_values(data: bytes) -> list[Any]:
    """Return the values of a Candid message of any types, as icp-py-core returns them. O(size). Raises `CandidError`."""
    return _decoded(data, None)


def _decoded(data: bytes, wires: list[Any] | None) -> list[Any]:
    """Return the values of a message as icp-py-core reads them, typed by the message or by these types. O(size). Raises `CandidError`.

    Our own decoder looks at it first: icp-py-core believes every count in a message, and a few bytes would take all memory.
    """
    data = bytes(data)
    check_message(data)
    try:
        found = icp().decode(data) if wires is None else icp().decode(data, wires)
    except Exception as error:
        raise_of_moment(error)
        raise CandidError(f"the message of {len(data)} bytes is not of the types that the method takes: {error}") from error
    return [value["value"] for value in found]


def candid_type(annotation: Any, names: dict[str, Any] | None = None) -> CandidType:
    """Return the Candid type of an annotation. Raises `IncompatibleType` if Kybra has no type for it.

    `names` are the globals of the module in which text annotations are looked up.
    """
    return _Builder(names or {}).build(annotation)


def _compare(a: Any, b: Any) -> int:
    return int(a > b) - int(a < b)


def _compare_floats(a: float, b: float) -> int:
    """Compare as `partial_cmp(..).unwrap_or(Less)`: with NaN the result is always less."""
    return -1 if a != a or b != b else _compare(a, b)  # noqa: PLR0124 - NaN


def _compare_items(a: Iterable[Any], b: Iterable[Any], compares: Iterable[Compare]) -> int:
    for one, other, compare in zip(a, b, compares, strict=False):
        found = compare(one, other)
        if found:
            return found
    return 0


class _Builder:
    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names
        self._open: dict[int, _Opened] = {}

    def build(self, annotation: Any) -> CandidType:
        """Return the type of an annotation."""
        if isinstance(annotation, typing.ForwardRef):
            annotation = annotation.__forward_arg__
        annotation = _evaluated(annotation, self._names)
        scalar = _scalar_of(annotation)
        if scalar is not None:
            return _scalar(scalar)
        if typing.is_typeddict(annotation) or hasattr(annotation, "__candid_variant__"):
            return self._fields(annotation)
        if isinstance(annotation, type) and issubclass(annotation, FuncTuple) and isinstance(annotation.signature, Signature):
            return self._function(annotation.signature)
        return self._generic(annotation)

    def _generic(self, annotation: Any) -> CandidType:
        origin, args = get_origin(annotation), get_args(annotation)
        if origin is typing.Annotated:
            return self.build(args[0])
        if origin in (typing.Union, types.UnionType):
            return self._optional(annotation, args)
        if origin is list and args:
            return self._vector(self.build(args[0]))
        if origin is tuple:
            return self._tuple([self.build(arg) for arg in args])
        raise IncompatibleType(
            f"{annotation!r} has no Candid type here; use nat, int, nat8 to nat64, int8 to int64, float32, float64, text, blob, bool, "
            "Principal, null, reserved, Opt[T], Vec[T], Tuple[...], a Record or a Variant"
        )

    def _function(self, signature: Signature) -> CandidType:
        kinds = icp().Types
        args = [self.build(arg).wire for arg in signature.args]
        results = [] if signature.result is None else [self.build(signature.result).wire]
        wire = kinds.Func(args, results, [] if signature.mode == "update" else [signature.mode])
        return CandidType("func", wire, _raw_reference, lambda value: (CdkPrincipal(value[0].bytes), value[1]), _compare_references)

    def _optional(self, annotation: Any, args: tuple[Any, ...]) -> CandidType:
        members = [arg for arg in args if arg is not type(None)]
        if len(members) != 1 or len(args) != 2:  # noqa: PLR2004 - T and None
            raise IncompatibleType(f"{annotation!r}: a Candid type must be one type, or Opt[T]")
        inner = self.build(members[0])

        def compare(a: Any, b: Any) -> int:
            if a is None or b is None:
                return (a is not None) - (b is not None)
            return inner.compare(a, b)

        return CandidType(
            f"opt {inner.name}",
            icp().Types.Opt(inner.wire),
            lambda value: [] if value is None else [inner.inward(value)],
            lambda value: inner.outward(value[0]) if value else None,
            compare,
        )

    def _vector(self, inner: CandidType) -> CandidType:
        def inward(value: Any) -> Any:
            if inner.name == "nat8" and isinstance(value, (bytes, bytearray)):
                return bytes(value)
            if not isinstance(value, (list, tuple)):
                raise TypeError(f"expected list but received {type(value).__name__}")
            return [inner.inward(item) for item in value]

        def compare(a: Any, b: Any) -> int:
            return _compare_items(a, b, [inner.compare] * min(len(a), len(b))) or _compare(len(a), len(b))

        return CandidType(
            f"vec {inner.name}", icp().Types.Vec(inner.wire), inward, lambda value: [inner.outward(item) for item in value], compare
        )

    def _tuple(self, parts: list[CandidType]) -> CandidType:
        def inward(value: Any) -> Any:
            if not isinstance(value, tuple) or len(value) != len(parts):
                raise TypeError(f"expected a tuple of {len(parts)} but received {value!r}")
            return {str(i): part.inward(item) for i, (part, item) in enumerate(zip(parts, value, strict=True))}

        def outward(value: Any) -> Any:
            items = [value[str(i)] for i in range(len(parts))] if isinstance(value, dict) else value
            return tuple(part.outward(item) for part, item in zip(parts, items, strict=True))

        compares = [part.compare for part in parts]
        wire = icp().Types.Record({i: part.wire for i, part in enumerate(parts)})
        name = f"record {{{'; '.join(part.name for part in parts)}}}"
        return CandidType(name, wire, inward, outward, lambda a, b: _compare_items(a, b, compares))

    def _fields(self, annotation: Any) -> CandidType:
        """Return a record or a variant; one that mentions itself is recursive."""
        opened = self._open.get(id(annotation))
        if opened is not None:
            opened.used = True
            return opened.reference(annotation.__name__)
        opened = self._open[id(annotation)] = _Opened()
        module = sys.modules.get(annotation.__module__)
        names, self._names = self._names, {**self._names, **(vars(module) if module else {})}
        fields = {name: self.build(hint) for name, hint in annotation.__annotations__.items()}
        self._names = names
        del self._open[id(annotation)]
        made = (_variant if is_variant(annotation) else _record)(annotation.__name__, fields)
        opened.fill(made)
        return made


@functools.cache
def _recursive_class() -> Any:
    """Return icp-py-core's recursive type, with a finite name: its own name never ends behind a vec."""
    return type("Recursive", (icp().RecClass,), {"name": property(lambda wire: f"rec_{wire._id}")})


class _Opened:
    """A class of fields whose type is being built: the placeholder for it inside itself."""

    def __init__(self) -> None:
        self.used = False
        self._wire = _recursive_class()()
        self._made: CandidType | None = None

    def fill(self, made: CandidType) -> None:
        if self.used:
            self._wire.fill(made.wire)
        self._made = made

    def _known(self) -> CandidType:
        if self._made is None:
            raise IncompatibleType("a recursive type was used before it was complete")
        return self._made

    def reference(self, name: str) -> CandidType:
        return CandidType(
            name,
            self._wire,
            lambda value: self._known().inward(value),
            lambda value: self._known().outward(value),
            lambda a, b: self._known().compare(a, b),
        )


def _record(name: str, fields: dict[str, CandidType]) -> CandidType:
    def inward(value: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"expected the record {name} as a dict but received {type(value).__name__}")
        missing = fields.keys() - value.keys()
        if missing:
            raise TypeError(f"the record {name} lacks {', '.join(sorted(missing))}")
        return {key: field.inward(value[key]) for key, field in fields.items()}

    def compare(a: Any, b: Any) -> int:
        return _compare_items(
            (a[key] for key in fields), (b[key] for key in fields), [field.compare for field in fields.values()]
        )  # by declaration, as derive(Ord) does

    return CandidType(
        name,
        icp().Types.Record({key: field.wire for key, field in fields.items()}),
        inward,
        lambda value: {key: field.outward(value[key]) for key, field in fields.items()},
        compare,
    )


def _variant(name: str, members: dict[str, CandidType]) -> CandidType:
    rank = {key: number for number, key in enumerate(members)}

    def member(value: Any) -> str:
        if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in members:
            raise TypeError(f"expected the variant {name} as a dict with one of {', '.join(members)} but received {value!r}")
        key: str = next(iter(value))
        return key

    def convert(value: Any, way: str) -> Any:
        key = member(value)
        return {key: getattr(members[key], way)(value[key])}

    def compare(a: Any, b: Any) -> int:
        one, other = next(iter(a)), next(iter(b))
        return members[one].compare(a[one], b[other]) if one == other else _compare(rank[one], rank[other])

    wire = icp().Types.Variant({key: item.wire for key, item in members.items()})
    return CandidType(name, wire, lambda value: convert(value, "inward"), lambda value: convert(value, "outward"), compare)


_PLAIN: Final[dict[Any, str]] = {
    int: "int",
    bool: "bool",
    str: "text",
    bytes: "blob",
    float: "float64",
    None: "null",
    type(None): "null",
    Any: "reserved",
    typing.NoReturn: "empty",
}


def _scalar_of(annotation: Any) -> ScalarMeta | None:
    """Return the scalar type that an annotation means, if it means one."""
    if isinstance(annotation, ScalarMeta):
        return annotation
    if isinstance(annotation, Hashable) and annotation in _PLAIN:
        return SCALARS[_PLAIN[annotation]]
    if isinstance(annotation, type) and issubclass(annotation, CdkPrincipal):
        return SCALARS["principal"]
    return SCALARS.get(annotation.__name__) if hasattr(annotation, "_stable_tag") else None


def _scalar(scalar: ScalarMeta) -> CandidType:
    kinds, name = icp().Types, scalar.__name__
    if scalar.base is int:
        return CandidType(name, getattr(kinds, name.capitalize()), functools.partial(_whole, scalar), int, _compare)
    return {
        "float32": lambda: CandidType("float32", kinds.Float32, _real, float, _compare_floats),
        "float64": lambda: CandidType("float64", kinds.Float64, _real, float, _compare_floats),
        "text": lambda: CandidType("text", kinds.Text, functools.partial(_of, str), str, _compare_text),
        "blob": lambda: CandidType("blob", kinds.Vec(kinds.Nat8), functools.partial(_of, bytes), _as_bytes, _compare),
        "bool": lambda: CandidType("bool", kinds.Bool, functools.partial(_of, bool), bool, _compare),
        "principal": lambda: CandidType(
            "principal", kinds.Principal, _raw_principal, lambda value: CdkPrincipal(value.bytes), _compare_principals
        ),
        "null": lambda: CandidType("null", kinds.Null, functools.partial(_of, type(None)), lambda _: None, lambda _a, _b: 0),
        "reserved": lambda: CandidType("reserved", kinds.Reserved, lambda _: None, lambda _: None, lambda _a, _b: 0),
        "empty": lambda: CandidType("empty", kinds.Empty, _nothing, _nothing, lambda _a, _b: 0),
    }[name]()


def _whole(scalar: ScalarMeta, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected {scalar.__name__} but received {type(value).__name__}")
    if (scalar.low is not None and value < scalar.low) or (scalar.high is not None and value >= scalar.high):
        raise OverflowError(f"{value} does not fit {scalar.__name__}")
    return value


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"expected a float but received {type(value).__name__}")
    return float(value)


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__} but received {type(value).__name__}")
    return value


def _as_bytes(value: Any) -> bytes:
    return bytes(value)


def _raw_principal(value: Any) -> bytes:
    if not isinstance(value, CdkPrincipal):
        raise TypeError(f"expected Principal but received {type(value).__name__}")
    return value.bytes


def _raw_reference(value: Any) -> tuple[bytes, str]:
    if not isinstance(value, (tuple, list)) or len(value) != 2 or not isinstance(value[1], str):  # noqa: PLR2004 - principal, method
        raise TypeError(f"expected a Func, a tuple of a Principal and a method's name, but received {value!r}")
    return _raw_principal(value[0]), value[1]


def _nothing(value: Any) -> Any:
    raise TypeError(f"empty has no values, got {value!r}")


def _compare_text(a: str, b: str) -> int:
    return _compare(a.encode(), b.encode())


def _compare_principals(a: CdkPrincipal, b: CdkPrincipal) -> int:
    return _compare((len(a.bytes), a.bytes), (len(b.bytes), b.bytes))


def _compare_references(a: tuple[CdkPrincipal, str], b: tuple[CdkPrincipal, str]) -> int:
    return _compare_principals(a[0], b[0]) or _compare_text(a[1], b[1])


# ---- messages of methods ----


def _plain(annotation: Any) -> Any:
    """Return an annotation without Manual and Async."""
    while isinstance(annotation, Marked):
        annotation = annotation.item
    return annotation


def _annotations(function: Callable[..., Any]) -> tuple[list[Any], Any, dict[str, Any]]:
    plain = getattr(function, "__func__", function)
    hints = {name: _evaluated(hint, plain.__globals__) for name, hint in plain.__annotations__.items()}
    count = plain.__code__.co_argcount
    names = [name for name in plain.__code__.co_varnames[:count] if name != "self"]
    missing = [name for name in names if name not in hints]
    if missing:
        raise IncompatibleType(f"{plain.__name__}: the parameter {missing[0]} has no annotation, and a raw call needs its Candid type")
    return [_plain(hints[name]) for name in names], _plain(hints.get("return")), plain.__globals__


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    """Return what a text annotation stands for, another one as it is. Raises `IncompatibleType`."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, dict(names))  # noqa: S307 - the canister's own annotation
    except NameError as error:
        raise IncompatibleType(f"{annotation!r} refers to an undefined type: {error}") from error
    except SyntaxError as error:
        raise IncompatibleType(f"{annotation!r} is not the name of a type: {error.msg}") from error


def decode_arguments(function: Callable[..., Any], data: bytes) -> tuple[Any, ...]:
    """Return the arguments of a method from a Candid message, typed by its annotations. Raises `CandidError`, `IncompatibleType`."""
    parameters, _, names = _annotations(function)
    kinds = [candid_type(parameter, names) for parameter in parameters]
    values = _decoded(data, [kind.wire for kind in kinds]) if kinds else []
    return tuple(kind.outward(value) for kind, value in zip(kinds, values, strict=True))


def encode_answer(function: Callable[..., Any], value: Any) -> bytes:
    """Return the Candid message of a method's reply, typed by its annotation; without a value if that is None."""
    _, returned, names = _annotations(function)
    if returned is None:
        return b"DIDL\x00\x00"
    return candid_type(returned, names).encode(value)
