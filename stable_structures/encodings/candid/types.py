# SPDX-License-Identifier: Apache-2.0
"""Candid types, and the text of interfaces (.did) that defines them.

type           in Python
nat, int...    int                       record        dict; tuple where its fields are 0, 1, 2...
float32, 64    float                     variant       {"Tag": value}, value None for a tag alone
text, bool     str, bool                 opt T         None or the value; Some(value) where T has None itself
blob           bytes                     vec T         list
principal      Principal                 func          (Principal, method)
null           None                      service       Principal
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeAlias

from ...errors import SourceError

PRIMITIVES: Final = {
    "null": -1,
    "bool": -2,
    "nat": -3,
    "int": -4,
    "nat8": -5,
    "nat16": -6,
    "nat32": -7,
    "nat64": -8,
    "int8": -9,
    "int16": -10,
    "int32": -11,
    "int64": -12,
    "float32": -13,
    "float64": -14,
    "text": -15,
    "reserved": -16,
    "empty": -17,
    "principal": -24,
}
"""Codes of the primitive types."""


@dataclass(frozen=True)
class Some:
    """The value of an option of a type that has None itself."""

    value: Any


@dataclass(frozen=True)
class Primitive:
    """A type without parts."""

    name: str


@dataclass(frozen=True)
class Opt:
    """An option."""

    item: Type


@dataclass(frozen=True)
class Vec:
    """A sequence of values; one of nat8 is a blob."""

    item: Type


class Field(NamedTuple):
    """A field of a record or a tag of a variant, identified by the hash of its name."""

    number: int
    name: str
    type: Type


@dataclass(frozen=True)
class Record:
    """Fields in the order of their hashes."""

    fields: tuple[Field, ...]

    @cached_property
    def is_tuple(self) -> bool:
        """Return whether its fields are 0, 1, 2 and so on. O(fields), once."""
        return bool(self.fields) and all(one.number == place and one.name == str(place) for place, one in enumerate(self.fields))

    @cached_property
    def by_number(self) -> dict[int, Field]:
        """Return its fields by their hashes. O(fields), once."""
        return {one.number: one for one in self.fields}

    @cached_property
    def keys(self) -> frozenset[str]:
        """Return what its fields may be called in a dict: by their names, or by their hashes. O(fields), once."""
        return frozenset(key for one in self.fields for key in (one.name, f"_{one.number}"))


@dataclass(frozen=True)
class Variant:
    """Tags in the order of their hashes."""

    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Func:
    """A reference to a method, or the type of one."""

    args: tuple[Type, ...]
    results: tuple[Type, ...]
    modes: tuple[str, ...] = ()
    names: tuple[str, ...] = field(default=(), compare=False)
    """Names of the arguments, "" for one that has none: they mean nothing to the platform, so they do not count when types are compared."""


@dataclass(frozen=True)
class Service:
    """A reference to a canister, or the type of one."""

    methods: tuple[tuple[str, Type], ...]


@dataclass(frozen=True, eq=False)
class Name:
    """A type by its name in an interface; the same name in another interface is another type."""

    name: str
    types: dict[str, Type] = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Name) and other.name == self.name and other.types is self.types

    def __hash__(self) -> int:
        return hash((self.name, id(self.types)))


Type: TypeAlias = Primitive | Opt | Vec | Record | Variant | Func | Service | Name

NULL: Final = Primitive("null")
NAT8: Final = Primitive("nat8")


def resolve(given: Type) -> Type:
    """Return the type behind names. Raises `SourceError` for a name that refers to itself or is not defined."""
    seen = 0
    while isinstance(given, Name):
        found = given.types.get(given.name)
        seen += 1
        if found is None or seen > len(given.types):
            raise SourceError(f"the interface does not define the type {given.name}")
        given = found
    return given


def hash_name(name: str) -> int:
    """Return the hash of a field's name, which identifies it."""
    number = 0
    for byte in name.encode():
        number = (number * 223 + byte) & 0xFFFFFFFF
    return number


def with_names(given: Type, names: Mapping[int, str]) -> Type:
    """Return a type in which fields that are known by their hashes alone have names. O(parts)."""
    if isinstance(given, (Opt, Vec)):
        return type(given)(with_names(given.item, names))
    if not isinstance(given, (Record, Variant)):
        return given
    inner = [one._replace(type=with_names(one.type, names)) for one in given.fields]
    if isinstance(given, Record) and given.is_tuple:
        return Record(tuple(inner))
    return type(given)(tuple(one._replace(name=_known(one, names)) for one in inner))


def _known(one: Field, names: Mapping[int, str]) -> str:
    return (names.get(one.number) or one.name) if _is_hash(one) else one.name


def _is_hash(one: Field) -> bool:
    return one.name in (str(one.number), f"_{one.number}")


def make_field(name: str, given: Type) -> Field:
    """Return a field by its name; `_5_` and a plain number stand for the hash itself."""
    if name.isascii() and name.isdecimal():
        return Field(int(name), name, given)
    return Field(hash_name(name), name, given)


@dataclass(frozen=True)
class Interface:
    """The content of a .did file: the types of the install argument, and of each method; and those that it defines."""

    init: tuple[Type, ...]
    methods: dict[str, Func]
    text: str
    types: dict[str, Type] = field(default_factory=dict, compare=False, repr=False)


# ---- the text ----

_TOKENS: Final = re.compile(
    r"""\s+|//[^\n]*|/\*.*?\*/|(?P<text>"(?:[^"\\]|\\.)*")|(?P<arrow>->)|(?P<word>[A-Za-z_]\w*)|(?P<number>[0-9][0-9a-fA-Fx_]*)|(?P<mark>[{}();:,=])""",
    re.DOTALL | re.VERBOSE,
)
_MODES: Final = ("query", "oneway", "composite_query")


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def _tokens(source: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(source):
        found = _TOKENS.match(source, at)
        if found is None:
            raise SourceError(f"Candid, line {line}: invalid Candid {source[at : at + 20]!r}")
        if found.lastgroup:
            yield _Token(found.lastgroup, found[0], line)
        line += found[0].count("\n")
        at = found.end()
    yield _Token("end", "", line)


def unquote(text: str) -> str:
    """Return the content of a quoted text with its escapes."""
    return _unquote_bytes(text).decode("utf-8", "replace")


_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'"}


def _unquote_bytes(text: str) -> bytes:
    out, at, text = bytearray(), 0, text[1:-1]
    while at < len(text):
        letter = text[at]
        if letter != "\\":
            out += letter.encode()
            at += 1
        elif text[at + 1] in _ESCAPES:
            out += _ESCAPES[text[at + 1]].encode()
            at += 2
        elif text[at + 1] == "u":
            end = text.index("}", at)
            out += _character(text[at + 3 : end]).encode()
            at = end + 1
        else:
            out.append(int(text[at + 1 : at + 3], 16))
            at += 3
    return bytes(out)


def _character(digits: str) -> str:
    number = int(digits.replace("_", ""), 16)
    if number > sys.maxunicode:
        raise ValueError(f"\\u{{{digits:.20}}} is not a character")
    return chr(number)


unquote_bytes = _unquote_bytes

_QUOTED: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    """Return a text as a literal; characters that a terminal would act on are escaped."""
    shown = (_QUOTED.get(one) or (one if one.isprintable() else f"\\u{{{ord(one):x}}}") for one in text)
    return '"' + "".join(shown) + '"'


class _Parser:
    def __init__(self, source: str) -> None:
        self._tokens = list(_tokens(source))
        self._tokens.append(self._tokens[-1])  # an end to return from
        self._at = 0
        self.types: dict[str, Type] = {}

    @property
    def now(self) -> _Token:
        return self._tokens[self._at]

    @property
    def following(self) -> _Token:
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)]

    def next(self) -> _Token:
        token = self.now
        self._at = min(self._at + 1, len(self._tokens) - 1)  # after the end there is still the end
        return token

    def accept(self, text: str) -> bool:
        if self.now.text == text and self.now.kind != "text":
            self._at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.wrong(f"expected {text!r}")

    def wrong(self, what: str) -> SourceError:
        return SourceError(f"Candid, line {self.now.line}: {what}, got {self.now.text or 'the end'!r}")

    def program(self, source: str) -> Interface:
        while self.now.text in ("type", "import"):
            if self.next().text == "import":
                raise self.wrong("imports of other files are not followed: pass one file with all types")
            name = self.next().text
            self.expect("=")
            self.types[name] = self.type()
            self.accept(";")
        init: tuple[Type, ...] = ()
        methods: dict[str, Func] = {}
        if self.accept("service"):
            if self.now.text != ":":
                self.next()
            self.expect(":")
            if self.now.text == "(":
                init = self.row()
                self.expect("->")
            methods = self.actor()
            self.accept(";")
        if self.now.kind != "end":
            raise self.wrong("expected a type, a service or the end")
        return Interface(init, methods, source, self.types)

    def actor(self) -> dict[str, Func]:
        given = self.service() if self.now.text == "{" else resolve(Name(self.next().text, self.types))
        if not isinstance(given, Service):
            raise self.wrong("expected a service")
        methods = {}
        for name, one in given.methods:
            found = resolve(one)
            if not isinstance(found, Func):
                raise self.wrong(f"the method {name} is not a function")
            methods[name] = found
        return methods

    def service(self) -> Service:
        self.expect("{")
        methods: list[tuple[str, Type]] = []
        while not self.accept("}"):
            token = self.next()
            name = unquote(token.text) if token.kind == "text" else token.text
            self.expect(":")
            methods.append((name, self.function() if self.now.text == "(" else Name(self.next().text, self.types)))
            if not self.accept(";") and self.now.text != "}":
                raise self.wrong("expected ';' or '}'")
        return Service(tuple(methods))

    def function(self) -> Func:
        names: list[str] = []
        args = self.row(names)
        self.expect("->")
        results = self.row()
        modes = []
        while self.now.text in _MODES:
            modes.append(self.next().text)
        return Func(args, results, tuple(modes), tuple(names))

    def row(self, names: list[str] | None = None) -> tuple[Type, ...]:
        """Types in parentheses; their names are appended to `names`."""
        names = [] if names is None else names
        self.expect("(")
        found: list[Type] = []
        while not self.accept(")"):
            names.append("")
            if self.following.text == ":":
                name = self.next()
                names[-1] = unquote(name.text) if name.kind == "text" else name.text
                self.expect(":")
            found.append(self.type())
            if not self.accept(",") and self.now.text != ")":
                raise self.wrong("expected ',' or ')'")
        return tuple(found)

    def type(self) -> Type:
        token = self.next()
        if token.kind != "word":
            self._at -= 1
            raise self.wrong("expected a type")
        if token.text in PRIMITIVES:
            return Primitive(token.text)
        special = {"opt": self._opt, "vec": self._vec, "blob": lambda: Vec(NAT8), "record": self._record, "variant": self._variant}
        special |= {"func": self.function, "service": self.service}
        return special[token.text]() if token.text in special else Name(token.text, self.types)

    def _opt(self) -> Type:
        return Opt(self.type())

    def _vec(self) -> Type:
        return Vec(self.type())

    def _record(self) -> Type:
        return Record(self._fields(tags=False))

    def _variant(self) -> Type:
        return Variant(self._fields(tags=True))

    def _fields(self, *, tags: bool) -> tuple[Field, ...]:
        self.expect("{")
        found: list[Field] = []
        following = 0
        while not self.accept("}"):
            named = self.following.text == ":"
            if named or tags:
                token = self.next()
                name = unquote(token.text) if token.kind == "text" else str(int(token.text, 0)) if token.kind == "number" else token.text
                one = make_field(name, self.type() if self.accept(":") else NULL)
                if token.kind == "text":
                    one = Field(hash_name(name), name, one.type)
            else:
                one = Field(following, str(following), self.type())
            following = one.number + 1
            found.append(one)
            if not self.accept(";") and not self.accept(",") and self.now.text != "}":
                raise self.wrong("expected ';' or '}'")
        return self._by_hash(found)

    def _by_hash(self, fields: list[Field]) -> tuple[Field, ...]:
        known: dict[int, str] = {}
        for one in fields:
            if one.number in known:
                raise self.wrong(f"the fields {known[one.number]!r} and {one.name!r} are one: both have the hash {one.number}; rename one")
            known[one.number] = one.name
        return tuple(sorted(fields))


def parse_interface(text: str) -> Interface:
    """Read the text of an interface. O(size). Raises `SourceError`, with the line of the mistake."""
    try:
        return _Parser(text).program(text)
    except (IndexError, ValueError, RecursionError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"the Candid interface is invalid: {error}") from None


def parse_types(text: str, known: Mapping[str, Type] | None = None) -> tuple[Type, ...]:
    """Read a list of types, as in Motoko's `candid:args`: `(nat, text)`; `known` are those that have names. Raises `SourceError`."""
    parser = _Parser(text)
    parser.types.update(known or {})
    found = parser.row()
    if parser.now.kind != "end":
        raise parser.wrong("expected the end")
    return found


# ---- as text ----


def type_text(given: Type, depth: int = 0) -> str:  # noqa: PLR0911 - one for each sort of type
    """Return a type in Candid syntax on one line; names are not expanded."""
    if isinstance(given, (Primitive, Name)):
        return given.name
    if depth > 8:  # noqa: PLR2004 - far deeper than anybody reads
        return "..."

    def inner(one: Type) -> str:
        return type_text(one, depth + 1)

    if isinstance(given, Vec):
        return "blob" if given.item == NAT8 else f"vec {inner(given.item)}"
    if isinstance(given, Opt):
        return f"opt {inner(given.item)}"
    if isinstance(given, (Record, Variant)):
        word = "record" if isinstance(given, Record) else "variant"
        parts = [
            field_label(one) if one.type == NULL and word == "variant" else f"{field_label(one)} : {inner(one.type)}"
            for one in given.fields
        ]
        if isinstance(given, Record) and given.is_tuple:
            parts = [inner(one.type) for one in given.fields]
        return f"{word} {{ {'; '.join(parts)} }}" if parts else f"{word} {{}}"
    if isinstance(given, Func):
        return "func " + function_text(given)
    return "service { " + "; ".join(f"{name} : {inner(one).removeprefix('func ')}" for name, one in given.methods) + " }"


_WORD: Final = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
_KEYWORDS: Final = frozenset(
    (*PRIMITIVES, "blob", "composite_query", "func", "import", "oneway", "opt", "query", "record", "service", "type", "variant", "vec")
)


def field_label(given: Field) -> str:
    """Return the name of a field in Candid syntax: quoted if it must be; its number if no name is known."""
    if _is_hash(given):
        return str(given.number)
    return name_text(given.name)


def name_text(name: str) -> str:
    """Return a name in Candid syntax, quoted if it must be. O(length).

    >>> name_text("age"), name_text("query"), name_text("naïve")
    ('age', '"query"', '"naïve"')
    """
    return name if _WORD.match(name) and name not in _KEYWORDS else quoted(name)


def function_text(given: Func) -> str:
    """Return a function type as text, such as `(nat) -> (text) query`."""
    sides = [f"({', '.join(type_text(one) for one in side)})" for side in (given.args, given.results)]
    return " ".join([f"{sides[0]} -> {sides[1]}", *given.modes])
