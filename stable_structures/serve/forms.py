# SPDX-License-Identifier: Apache-2.0
"""Candid types as JSON that a page draws forms from, and what was typed there as values.

type                        what the page sends
nat, int, nat8 ... float64  text: "12", "0xff", "1.5"
bool, text, principal       true, "text", "aaaaa-aa"
null, reserved              null
blob                        {"text": "..."}, {"hex": "..."} or {"base64": "..."}
opt T                       null, or {"some": value}
vec T, record               an array; of a record, in the order of its fields
variant                     {"tag": number of the tag, "value": value}
func, service               "aaaaa-aa.method", "aaaaa-aa"
any type                    {"candid": "the value as Candid text"}
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from ..encodings.candid.codec import has_none
from ..encodings.candid.text import fit, parse_integer, parse_values
from ..encodings.candid.types import NAT8, Func, Name, Opt, Primitive, Record, Service, Some, Type, Variant, Vec, resolve, type_text
from ..errors import SourceError
from ..principal import Principal

_DEEPEST: Final = 100
_MOST_STEPS: Final = 10_000
_COMMENTS: Final = re.compile(r"(?P<lines>(?:^[ \t]*//[^\n]*\n)+)[ \t]*(?P<name>\"(?:[^\"\\\n]|\\.)*\"|[A-Za-z_]\w*)[ \t]*:", re.MULTILINE)


class InvalidInput(SourceError):
    """A value of a form that is not of its type. `path` leads to it: the argument's number, then field, tag or item numbers."""

    def __init__(self, path: Sequence[int], message: str) -> None:
        super().__init__(f"argument {path[0] + 1}: {message}" if path else message)
        self.path = list(path)


# ---- types ----


class Types:
    """Types as JSON. Those with a name are in `table`, each once, so that one may lead back to itself."""

    def __init__(self) -> None:
        self.table: list[dict[str, Any]] = []
        self._numbers: dict[Name, int] = {}

    def describe(self, given: Type | None) -> dict[str, Any]:
        """Return the JSON of a type; None is one of which nothing is known."""
        if given is None:
            return {"kind": "any", "text": "any type"}
        if isinstance(given, Name):
            return {"kind": "name", "number": self._number(given), "text": given.name}
        return {**self._parts(given), "text": type_text(given)}

    def _number(self, given: Name) -> int:
        number = self._numbers.get(given)
        if number is None:
            number = self._numbers[given] = len(self.table)
            self.table.append({"kind": "any", "text": given.name})
            with suppress(SourceError):  # the interface does not say what it is: its values are typed as Candid text
                self.table[number] = self.describe(resolve(given))
        return number

    def _parts(self, given: Type) -> dict[str, Any]:
        if isinstance(given, Opt):
            return {"kind": "opt", "item": self.describe(given.item)}
        if isinstance(given, Vec):
            return {"kind": "blob"} if _is_blob(given) else {"kind": "vec", "item": self.describe(given.item)}
        if isinstance(given, (Record, Variant)):
            fields = [{"name": one.name, "type": self.describe(one.type)} for one in given.fields]
            if isinstance(given, Record):
                return {"kind": "record", "fields": fields, "tuple": given.is_tuple}
            return {"kind": "variant", "fields": fields, "start": _first_finite(given)}
        if isinstance(given, Primitive):
            return {"kind": given.name}
        return {"kind": "func" if isinstance(given, Func) else "service"}


def _is_blob(given: Vec) -> bool:
    try:
        return resolve(given.item) == NAT8
    except SourceError:
        return False


def _first_finite(given: Variant) -> int:
    """Return the first tag whose content is not endlessly recursive."""
    finite = _Finite()
    return next((place for place, one in enumerate(given.fields) if finite.ends(one.type, ())), 0)


class _Finite:
    """Which types have a value that is not endless: an option may be none, a vec may be empty."""

    def __init__(self) -> None:
        self._known: set[Type] = set()
        self._steps = _MOST_STEPS

    def ends(self, given: Type, within: tuple[Type, ...]) -> bool:
        self._steps -= 1
        if given in self._known:
            return True
        if given in within or len(within) > _DEEPEST or self._steps < 0:
            return False
        if self._look(given, (*within, given)):
            self._known.add(given)
            return True
        return False

    def _look(self, given: Type, inside: tuple[Type, ...]) -> bool:
        try:
            found = resolve(given)
        except SourceError:
            return True
        if isinstance(found, Record):
            return all(self.ends(one.type, inside) for one in found.fields)
        return any(self.ends(one.type, inside) for one in found.fields) if isinstance(found, Variant) else True


def comments(interface: str) -> dict[str, str]:
    """Return the comment above each method of an interface's text."""
    found = {}
    for one in _COMMENTS.finditer(interface):
        lines = [line.strip().lstrip("/").strip() for line in one["lines"].strip().splitlines()]
        found[one["name"].strip('"')] = "\n".join(lines)
    return found


# ---- values ----


def read_all(given: Any, types: Sequence[Type | None]) -> list[Any]:
    """Return the values of a form's arguments. O(size). Raises `InvalidInput`, which says where."""
    if not isinstance(given, list) or len(given) != len(types):
        raise InvalidInput([], f"expected {len(types)} arguments, got {len(given) if isinstance(given, list) else type(given).__name__}")
    try:
        return [read(value, one, (place,)) for place, (value, one) in enumerate(zip(given, types, strict=True))]
    except RecursionError:
        raise InvalidInput([], "the values are nested too deeply") from None


def read(given: Any, declared: Type | None, path: tuple[int, ...]) -> Any:  # noqa: PLR0911 - one for each sort of type
    """Return the value of one field of a form, for a type or (None) as the text says. Raises `InvalidInput`."""
    if len(path) > _DEEPEST:
        raise InvalidInput(path, f"more than {_DEEPEST} levels")
    if isinstance(given, dict) and "candid" in given:
        return _candid(given["candid"], declared, path)
    if declared is None:
        raise InvalidInput(path, "expected a value as Candid text")
    found = resolve(declared)
    if isinstance(found, Opt):
        return _opt(given, found, path)
    if isinstance(found, Vec):
        return _blob(given, path) if _is_blob(found) else _vec(given, found, path)
    if isinstance(found, Record):
        return _record(given, found, path)
    if isinstance(found, Variant):
        return _variant(given, found, path)
    if isinstance(found, Primitive):
        return _primitive(given, found.name, path)
    return _reference(given, found, path)


def _candid(given: Any, declared: Type | None, path: tuple[int, ...]) -> Any:
    text = _want(given, str, "Candid text", path).strip()
    try:
        values = parse_values(text if text.startswith("(") else f"({text})")
    except SourceError as error:
        raise InvalidInput(path, str(error)) from None
    if len(values) != 1:
        raise InvalidInput(path, f"expected one value as Candid text, got {len(values)}")
    return values[0] if declared is None else fit(values[0], declared)


def _want(given: Any, kind: type, words: str, path: tuple[int, ...]) -> Any:
    if not isinstance(given, kind):
        raise InvalidInput(path, f"expected {words}, got {type(given).__name__}")
    return given


def _opt(given: Any, found: Opt, path: tuple[int, ...]) -> Any:
    if given is None:
        return None
    if not isinstance(given, dict) or "some" not in given:
        raise InvalidInput(path, "expected null or a value")
    value = read(given["some"], found.item, (*path, 0))
    return Some(value) if has_none(found.item) else value


def _vec(given: Any, found: Vec, path: tuple[int, ...]) -> list[Any]:
    items = _want(given, list, "a list", path)
    return [read(one, found.item, (*path, place)) for place, one in enumerate(items)]


def _record(given: Any, found: Record, path: tuple[int, ...]) -> dict[str, Any]:
    values = _want(given, list, "the fields of a record", path)
    if len(values) != len(found.fields):
        raise InvalidInput(path, f"expected {len(found.fields)} fields, got {len(values)}")
    return {one.name: read(value, one.type, (*path, place)) for place, (one, value) in enumerate(zip(found.fields, values, strict=True))}


def _variant(given: Any, found: Variant, path: tuple[int, ...]) -> dict[str, Any]:
    tag = given.get("tag") if isinstance(given, dict) else None
    if not isinstance(tag, int) or isinstance(tag, bool) or not 0 <= tag < len(found.fields):
        raise InvalidInput(path, "expected one of the tags")
    one = found.fields[tag]
    return {one.name: read(given.get("value"), one.type, (*path, tag))}


def _primitive(given: Any, name: str, path: tuple[int, ...]) -> Any:
    if name in ("null", "reserved"):
        return None
    if name == "empty":
        raise InvalidInput(path, "the type empty has no values")
    if name == "bool":
        return _want(given, bool, "true or false", path)
    text: str = _want(given, str, name, path)
    if name == "text":
        return _encodable(text, path)
    if name == "principal":
        return _principal(text, path)
    return _number(text.strip(), name, path)


def _encodable(text: str, path: tuple[int, ...]) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(path, "the text holds half a character (a surrogate), which Candid cannot hold") from None
    return text


def _principal(text: str, path: tuple[int, ...]) -> Principal:
    try:
        return Principal.from_text(text.strip())
    except ValueError as error:
        raise InvalidInput(path, str(error)) from None


def _number(text: str, name: str, path: tuple[int, ...]) -> int | float:
    if not text:
        raise InvalidInput(path, f"expected {name}, the field is empty")
    if name.startswith("float"):
        number: float = _parsed(float, text, f"{name}, such as 1.5", path)
        return number
    value: int = _parsed(parse_integer, text, name, path)
    low, high = _bounds(name)
    if (low is not None and value < low) or (high is not None and value > high):
        raise InvalidInput(path, f"expected {name}, which is at least {low}" + ("" if high is None else f" and at most {high:,}"))
    return value


def _parsed(parse: Callable[[str], Any], text: str, words: str, path: tuple[int, ...]) -> Any:
    try:
        return parse(text)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(path, f"expected {words}: {error}") from None


def _bounds(name: str) -> tuple[int | None, int | None]:
    bits = int(name.lstrip("nati") or 0)
    if not bits:
        return (0 if name == "nat" else None), None
    return (0, 2**bits - 1) if name.startswith("nat") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _blob(given: Any, path: tuple[int, ...]) -> bytes:
    ((form, text),) = given.items() if isinstance(given, dict) and len(given) == 1 else ((None, None),)
    if form == "text":
        return _encodable(_want(text, str, "text", path), path).encode()
    if form == "hex":
        digits = re.sub(r"[\s:_]", "", _want(text, str, "hexadecimal digits", path)).removeprefix("0x")
        return _octets(bytes.fromhex, digits, "pairs of hexadecimal digits, such as 00 ff", path)
    if form == "base64":
        return _octets(lambda data: base64.b64decode(data, validate=True), _want(text, str, "base64", path), "base64", path)
    raise InvalidInput(path, "expected a blob as text, hexadecimal digits or a file")


def _octets(parse: Callable[[str], bytes], text: str, words: str, path: tuple[int, ...]) -> bytes:
    try:
        return parse(text)
    except ValueError:
        raise InvalidInput(path, f"expected {words}") from None


def _reference(given: Any, found: Type, path: tuple[int, ...]) -> Any:
    text: str = _want(given, str, "text", path)
    if isinstance(found, Service):
        return _principal(text, path)
    principal, dot, method = text.partition(".")
    if not dot or not method:
        raise InvalidInput(path, "expected a principal and a method, such as aaaaa-aa.raw_rand")
    return _principal(principal, path), _encodable(method, path)
