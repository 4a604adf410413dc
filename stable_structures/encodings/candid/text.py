# SPDX-License-Identifier: Apache-2.0
"""Candid values as text, as people type and read them: `(1, "x", opt record { a = true })`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ...errors import SourceError
from ...principal import Principal
from .types import (
    NAT8,
    Func,
    Opt,
    Primitive,
    Record,
    Service,
    Some,
    Type,
    Variant,
    Vec,
    name_text,
    quoted,
    resolve,
    type_text,
    unquote,
    unquote_bytes,
)

_TOKENS: Final = re.compile(
    r"""\s+|//[^\n]*|(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>[+-]?(?:0x[0-9a-fA-F_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9]+)?|inf|nan))"""
    r"""|(?P<word>[A-Za-z_]\w*)|(?P<mark>[{}();:,=.])""",
    re.VERBOSE,
)
_MOST_DIGITS: Final = 100_000
_PIECE: Final = 4000
"""Digits that are converted at once; Python refuses more than 4,300 by default."""
_DECIMAL_BITS: Final = 12_000
_WORDS: Final = {"true": True, "false": False, "null": None}


class _Token(NamedTuple):
    kind: str
    text: str


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens: list[_Token] = []
        at = 0
        while at < len(source):
            found = _TOKENS.match(source, at)
            if found is None:
                raise self.wrong(source[at : at + 20])
            if found.lastgroup:
                self._tokens.append(_Token(found.lastgroup, found[0]))
            at = found.end()
        self._tokens.append(_Token("end", ""))
        self._at = 0

    def wrong(self, got: str) -> SourceError:
        return SourceError(f'{self._source!r}: invalid Candid values from {got!r} on; write them as in (1, "text", opt true)')

    @property
    def now(self) -> _Token:
        return self._tokens[self._at]

    def next(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def accept(self, text: str) -> bool:
        if self.now.text == text and self.now.kind in ("mark", "word"):
            self._at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.wrong(self.now.text)

    def values(self) -> list[Any]:
        self.expect("(")
        found = []
        while not self.accept(")"):
            found.append(self.value())
            if not self.accept(",") and self.now.text != ")":
                raise self.wrong(self.now.text)
        if self.now.kind != "end":
            raise self.wrong(self.now.text)
        return found

    def value(self) -> Any:
        value = self._bare()
        if self.accept(":"):
            self._skip_type()
        return value

    def _skip_type(self) -> None:
        """Skip a type annotation: the interface knows the type."""
        while self.now.text in ("opt", "vec"):
            self.next()
        word = self.next()
        if word.kind != "word" or self.now.text == "{":
            raise self.wrong(word.text)

    def _bare(self) -> Any:  # noqa: PLR0911 - one for each sort of value
        token = self.next()
        if token.kind == "text":
            return unquote(token.text)
        if token.kind == "number":
            return _number(token.text)
        if token.text in _WORDS:
            return _WORDS[token.text]
        if token.text == "(":
            value = self.value()
            self.expect(")")
            return value
        if token.text == "opt":
            return Some(self.value())
        if token.text == "blob":
            return unquote_bytes(self.next().text)
        if token.text in ("principal", "service"):
            return Principal.from_text(unquote(self.next().text))
        if token.text == "func":
            principal = Principal.from_text(unquote(self.next().text))
            self.expect(".")
            method = self.next()
            return principal, unquote(method.text) if method.kind == "text" else method.text
        inside = {"vec": self._vec, "record": self._record, "variant": self._variant}.get(token.text)
        if inside is None:
            raise self.wrong(token.text)
        return inside()

    def _vec(self) -> list[Any]:
        self.expect("{")
        found = []
        while not self.accept("}"):
            found.append(self.value())
            if not self.accept(";") and self.now.text != "}":
                raise self.wrong(self.now.text)
        return found

    def _record(self) -> dict[str, Any]:
        self.expect("{")
        found: dict[str, Any] = {}
        while not self.accept("}"):
            if self._tokens[self._at + 1].text == "=":
                name = self._name()
                self.expect("=")
            else:
                name = str(len(found))
            found[name] = self.value()
            if not self.accept(";") and self.now.text != "}":
                raise self.wrong(self.now.text)
        return found

    def _variant(self) -> dict[str, Any]:
        self.expect("{")
        name = self._name()
        value = self.value() if self.accept("=") else None
        self.expect("}")
        return {name: value}

    def _name(self) -> str:
        token = self.next()
        return unquote(token.text) if token.kind == "text" else token.text


def _number(text: str) -> int | float:
    text = text.replace("_", "")
    return parse_integer(text) if "0x" in text or text.lstrip("+-").isdecimal() else float(text)


def parse_integer(text: str) -> int:
    """Return the integer of decimal or (0x) hexadecimal digits, with any `_` between them. O(digits) for hexadecimal, O(digits^2) else.

    Raises `ValueError` for text that is not an integer, and for more than 100,000 decimal digits.
    """
    text = text.strip().replace("_", "")
    if "0x" in text.lower():
        return int(text, 16)
    digits = text.lstrip("+-")
    if not digits.isascii() or not digits.isdecimal() or len(text) - len(digits) > 1:
        raise ValueError(f"{shorten_middle(text)!r} is not an integer")
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"{len(digits):,} decimal digits are more than {_MOST_DIGITS:,}; write the number in hexadecimal, as 0x...")
    value = 0
    for at in range(0, len(digits), _PIECE):
        piece = digits[at : at + _PIECE]
        value = value * 10 ** len(piece) + int(piece)
    return -value if text.startswith("-") else value


def shorten_middle(text: str, most: int = 60) -> str:
    """Return a text for a message; the middle of a long one is left out."""
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 4 :]}"


def parse_values(text: str) -> list[Any]:
    """Return the values of `(1, "x")`. Raises `SourceError`."""
    try:
        return _Parser(text).values()
    except (IndexError, ValueError, RecursionError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"invalid Candid values {text!r}: {error}") from None


def fit(value: Any, given: Type) -> Any:
    """Return a typed-in value converted for its type: `record { 1; 2 }` is a tuple, an integer may be a float."""
    found = resolve(given)
    if isinstance(found, Opt):
        return Some(fit(value.value, found.item)) if isinstance(value, Some) else None if value is None else fit(value, found.item)
    if isinstance(found, Vec) and isinstance(value, list):
        items = [fit(item, found.item) for item in value]
        return bytes(items) if resolve(found.item) == NAT8 and all(isinstance(item, int) and 0 <= item < 256 for item in items) else items  # noqa: PLR2004
    if isinstance(found, (Record, Variant)) and isinstance(value, dict):
        types = {one.name: one.type for one in found.fields} | {str(one.number): one.type for one in found.fields}
        return {name: fit(item, types[name]) if name in types else item for name, item in value.items()}
    if isinstance(found, Primitive) and found.name.startswith("float") and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def fit_all(values: Sequence[Any], types: Sequence[Type]) -> list[Any]:
    """Return typed-in values converted for their types; extra values at the end stay as they are."""
    return [fit(value, types[place]) if place < len(types) else value for place, value in enumerate(values)]


# ---- values as text ----


def _blob(data: bytes) -> str:
    return 'blob "' + "".join(chr(one) if 32 <= one < 127 and one not in b'"\\' else f"\\{one:02x}" for one in data) + '"'  # noqa: PLR2004


def _label(name: str) -> str:
    return name if name.isascii() and name.isdecimal() else name_text(name)


def show_value(value: Any, given: Type) -> str:  # noqa: PLR0911 - one for each sort of type
    """Return a value as text."""
    found = resolve(given)
    if isinstance(found, Opt):
        if value is None:
            return "null"
        shown = show_value(value.value if isinstance(value, Some) else value, found.item)
        return f"opt ({shown})" if " : " in shown and isinstance(resolve(found.item), Primitive) else f"opt {shown}"
    if isinstance(found, Vec):
        return _blob(value) if isinstance(value, bytes) else "vec { " + "; ".join(show_value(one, found.item) for one in value) + " }"
    if isinstance(found, Record):
        values = value if isinstance(value, dict) else {str(place): one for place, one in enumerate(value)}
        names = "" if found.is_tuple else "{} = "
        return (
            "record { " + "; ".join(names.format(_label(one.name)) + show_value(values[one.name], one.type) for one in found.fields) + " }"
        )
    if isinstance(found, Variant):
        ((tag, content),) = value.items()
        kind = next(one.type for one in found.fields if one.name == tag)
        return f"variant {{ {_label(tag)} }}" if content is None else f"variant {{ {_label(tag)} = {show_value(content, kind)} }}"
    if isinstance(found, Func):
        return f'func "{value[0]}".{_label(value[1])}'
    if isinstance(found, Service):
        return f'service "{value}"'
    return _primitive(value, found)


def _primitive(value: Any, given: Type) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, Principal):
        return f'principal "{value}"'
    name = type_text(given)
    shown = hex(value) if isinstance(value, int) and value.bit_length() > _DECIMAL_BITS else str(value)  # Python refuses so many decimals
    return shown if name == "int" else f"{shown} : {name}"


def show_values(values: Sequence[Any], types: Sequence[Type]) -> str:
    """Return values as text, as dfx shows a reply."""
    return "(" + ", ".join(show_value(value, one) for value, one in zip(values, types, strict=True)) + ")"
