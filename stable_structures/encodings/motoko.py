# SPDX-License-Identifier: Apache-2.0
"""The stable signature of a Motoko program, as its compiler writes it into the module, and whether another program can take the values.

    type Node<K> = {#leaf : [var ?K]; #inner : Node<K>};
    actor { stable accounts : {var root : Node<Text>; var size : Nat}; stable var note : ?Text };

The values of the old program must be values of the types of the new one: Nat of Int, a variant of one with more tags; what is mutable must
have the same type. What would be lost without a word, a variable or a field, is listed too (Motoko 1.0 and later reject that).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Type: TypeAlias = tuple[Any, ...]
"""("name", text, arguments), ("option" | "array" | "var array" | "async" | "shared" | "actor", T), ("tuple", types), ("function", T, T),
("record", {name: (mutable, T)}), ("variant", {tag: T})."""

_TOKEN: Final = re.compile(r"\s*(?://[^\n]*)?\s*(->|async\*|[\w.]+|[{}()\[\];:,?#=<>])")
_END: Final = re.compile(r"(?:\s|//[^\n]*)*\Z")
_WORDS: Final = {"async": "async", "async*": "async", "shared": "shared", "actor": "actor", "object": "actor", "module": "actor"}
_DEEPEST: Final = 200
_DEEPEST_PAIR: Final = 40
"""Types whose arguments grow without end are compared so far."""
_LONGEST: Final = 80


class NotRead(ValueError):
    """A signature of a form that this version does not know."""


@dataclass
class Signature:
    """The stable variables of a program, by name, and the types that they refer to."""

    variables: dict[str, Type]
    texts: dict[str, str]
    types: dict[str, tuple[list[str], Type]]


def read_signature(text: str) -> Signature:
    """Return the signature in a text. O(size). Raises `NotRead`.

    >>> read_signature("actor { stable var ticks : Nat };").texts
    {'ticks': 'Nat'}
    """
    return _Parser(_tokens(text)).signature()


def changes(old: Signature, new: Signature) -> list[str]:
    """Return what an upgrade loses or rejects of the old program's stable variables. O(types).

    >>> old = read_signature("actor { stable var a : {x : Nat; y : Text}; stable var b : Int };")
    >>> changes(old, read_signature("actor { stable var a : {x : Int}; stable var b : Nat };"))
    ['a loses the field y', 'b was Int, is Nat']
    """
    found = []
    for name, tp in old.variables.items():
        if name not in new.variables:
            found.append(f"{name} : {_short(old.texts[name])} is gone, its value is lost")
            continue
        fit = _Fit(old, new)
        if not fit.fits(tp, new.variables[name]):
            found.append(f"{name} was {_short(old.texts[name])}, is {_short(new.texts[name])}{_same_text(name, old, new)}")
        found += [f"{name} loses the field {field}" for field in dict.fromkeys(fit.lost)]
    return found


def _same_text(name: str, old: Signature, new: Signature) -> str:
    return ", whose definition is another one" if old.texts[name] == new.texts[name] else ""


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


# ---- reading ----


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while not _END.match(text, at):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotRead(f"character {at}: {text[at : at + 20]!r}")
        found.append(match[1])
        at = match.end()
    return found


class _Parser:
    """Reads the tokens from left to right."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise NotRead("it ends too early")
        self._at += 1
        return token

    def _skip(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._at += 1
        return True

    def _want(self, token: str) -> None:
        if not self._skip(token):
            raise NotRead(f"expected {token!r}, found {self._peek()!r}")

    def signature(self) -> Signature:
        """Read type definitions and the actor."""
        made = Signature({}, {}, {})
        while self._skip("type"):
            name = self._next()
            params = [*self._params()]
            self._want("=")
            made.types[name] = (params, self._type())
            self._want(";")
        self._want("actor")
        self._want("{")
        while not self._skip("}"):
            self._variable(made)
        self._skip(";")
        if self._peek():
            raise NotRead(f"{self._peek()!r} behind the actor")
        return made

    def _params(self) -> Iterator[str]:
        if self._skip("<"):
            while not self._skip(">"):
                yield self._next()
                if self._skip("<"):
                    raise NotRead("a bound of a type parameter")
                self._skip(",")

    def _variable(self, made: Signature) -> None:
        self._want("stable")
        self._skip("var")
        name = self._next()
        self._want(":")
        begin = self._at
        made.variables[name] = self._type()
        made.texts[name] = _text(self._tokens[begin : self._at])
        self._skip(";")

    def _type(self) -> Type:
        self._depth += 1
        made = self._simple_type()
        if self._skip("->"):
            made = ("function", made, self._type())
        self._depth -= 1
        return made

    def _simple_type(self) -> Type:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NotRead("its types are nested too deep")
        made = self._one_type()
        self._depth -= 1
        return made

    def _one_type(self) -> Type:
        begin = self._next()
        if begin == "?":
            return ("option", self._simple_type())
        if begin == "[":
            kind = "var array" if self._skip("var") else "array"
            inner = self._type()
            self._want("]")
            return (kind, inner)
        if begin == "(":
            return self._tuple()
        if begin == "{":
            return self._fields()
        if begin in _WORDS:
            self._skip("query")
            return (_WORDS[begin], self._type())
        if not re.fullmatch(r"[\w.]+", begin):
            raise NotRead(f"a type begins with {begin!r}")
        return ("name", begin, self._arguments())

    def _arguments(self) -> tuple[Type, ...]:
        found = []
        if self._skip("<"):
            while not self._skip(">"):
                found.append(self._type())
                self._skip(",")
        return tuple(found)

    def _tuple(self) -> Type:
        parts = []
        while not self._skip(")"):
            if self._tokens[self._at + 1 : self._at + 2] == [":"]:  # a named argument of a function
                self._at += 2
            parts.append(self._type())
            self._skip(",")
        return parts[0] if len(parts) == 1 else ("tuple", tuple(parts))

    def _fields(self) -> Type:
        fields: dict[str, tuple[bool, Type]] = {}
        tags: dict[str, Type] = {}
        while not self._skip("}"):
            if self._skip("#"):
                tag = self._next()
                tags[tag] = self._type() if self._skip(":") else ("tuple", ())
            else:
                mutable = self._skip("var")
                name = self._next()
                self._want(":")
                fields[name] = (mutable, self._type())
            self._skip(";")
        return ("variant", tags) if tags else ("record", fields)


def _text(tokens: list[str]) -> str:
    """Return a type as one writes it."""
    made = " ".join(tokens)
    for tight, loose in ((r"\1", r"([{(\[?#<]) "), (r"\1", r" ([})\],;>])"), (r"\1<", r"(\w) <")):
        made = re.sub(loose, tight, made)
    return made


# ---- comparing ----


class _Fit:
    """Whether values of a type of one program are values of a type of the other."""

    def __init__(self, old: Signature, new: Signature, back: _Fit | None = None) -> None:
        self._old, self._new = old, new
        self._assumed: set[str] = set()
        self.lost: list[str] = []
        self._depth = 0
        self._back = _Fit(new, old, self) if back is None else back
        """The same question the other way round."""

    def fits(self, one: Type, other: Type) -> bool:
        """Return whether it is so. A pair that is being compared already counts as such: types may refer to themselves."""
        key = f"{one} {other}"
        if key in self._assumed or self._depth > _DEEPEST_PAIR:
            return True
        self._assumed.add(key)
        self._depth += 1
        try:
            return self._fits(one, other)
        finally:
            self._depth -= 1

    def _fits(self, one: Type, other: Type) -> bool:
        one, other = _unfolded(one, self._old), _unfolded(other, self._new)
        if one[0] == "name":
            return bool(one == other) or (one[1], other[:2]) in (("Nat", ("name", "Int")), ("Null", ("option",)))
        return one[0] == other[0] and bool(getattr(self, f"_{one[0].replace(' ', '_')}")(one, other))

    def _same(self, one: Type, other: Type) -> bool:
        lost = len(self.lost), len(self._back.lost)
        return self.fits(one, other) and self._back.fits(other, one) and lost == (len(self.lost), len(self._back.lost))

    def _option(self, one: Type, other: Type) -> bool:
        return self.fits(one[1], other[1])

    _array = _async = _shared = _actor = _option

    def _var_array(self, one: Type, other: Type) -> bool:
        return self._same(one[1], other[1])

    def _tuple(self, one: Type, other: Type) -> bool:
        return len(one[1]) == len(other[1]) and all(map(self.fits, one[1], other[1]))

    def _function(self, one: Type, other: Type) -> bool:
        return self._back.fits(other[1], one[1]) and self.fits(one[2], other[2])

    def _variant(self, one: Type, other: Type) -> bool:
        return all(tag in other[1] and self.fits(tp, other[1][tag]) for tag, tp in one[1].items())

    def _record(self, one: Type, other: Type) -> bool:
        self.lost += [name for name in one[1] if name not in other[1]]
        return all(name in one[1] and self._field(one[1][name], field) for name, field in other[1].items())

    def _field(self, one: tuple[bool, Type], other: tuple[bool, Type]) -> bool:
        return one[0] == other[0] and (self._same if one[0] else self.fits)(one[1], other[1])


def _unfolded(tp: Type, where: Signature) -> Type:
    """Return what a name stands for; a type that is not a name, or that the program does not define, as it is."""
    for _ in range(_DEEPEST):
        if tp[0] != "name" or tp[1] not in where.types:
            break
        params, made = where.types[tp[1]]
        tp = _with(made, dict(zip(params, tp[2], strict=False)))
    return tp


def _with(tp: Any, given: dict[str, Type]) -> Any:
    """Return a type with arguments in place of the parameters."""
    if isinstance(tp, dict):
        return {name: _with(one, given) for name, one in tp.items()}
    if not isinstance(tp, tuple):
        return tp
    if tp[:1] == ("name",) and tp[1] in given and not tp[2]:
        return given[tp[1]]
    return tuple(_with(one, given) for one in tp)
