# SPDX-License-Identifier: Apache-2.0
"""Check whether callers of an old interface can use a new one: it must have each old method, as a subtype."""

from __future__ import annotations

from .types import Func, Interface, Opt, Primitive, Record, Service, Type, Variant, Vec, resolve, type_text

_LOOSE = ("null", "reserved")


class _Checker:
    def __init__(self) -> None:
        self._assumed: set[tuple[int, int]] = set()
        self._kept: list[Type] = []

    def problem(self, one: Type, other: Type) -> str | None:
        """Return why `one` is not a subtype of `other`; None if it is. Recursive types are assumed to fit."""
        one, other = resolve(one), resolve(other)
        key = (id(one), id(other))
        if key in self._assumed:
            return None
        self._assumed.add(key)
        self._kept += (one, other)
        return self._compare(one, other)

    def _compare(self, one: Type, other: Type) -> str | None:  # noqa: PLR0911 - one for each sort of type
        if isinstance(other, Opt) or other == Primitive("reserved") or one == Primitive("empty"):
            return None  # an option that does not fit is read as null
        if isinstance(one, Primitive) or isinstance(other, Primitive):
            fits = one == other or (one, other) == (Primitive("nat"), Primitive("int"))
            return None if fits else f"{type_text(one)} is not a {type_text(other)}"
        if isinstance(one, Vec) and isinstance(other, Vec):
            return self.problem(one.item, other.item)
        if isinstance(one, Record) and isinstance(other, Record):
            return self._records(one, other)
        if isinstance(one, Variant) and isinstance(other, Variant):
            return self._variants(one, other)
        if isinstance(one, Func) and isinstance(other, Func):
            return self.functions(one, other)
        if isinstance(one, Service) and isinstance(other, Service):
            return self.services(dict(one.methods), dict(other.methods))
        return f"{type_text(one)} is not a {type_text(other)}"

    def _records(self, one: Record, other: Record) -> str | None:
        fields = {field.number: field for field in one.fields}
        for field in other.fields:
            mine = fields.get(field.number)
            found = self.problem(mine.type, field.type) if mine is not None else None
            if found is None and mine is None and not _may_be_left_out(field.type):
                found = "is gone"
            if found is not None:
                return f"field {field.name}: {found}"
        return None

    def _variants(self, one: Variant, other: Variant) -> str | None:
        tags = {field.number: field for field in other.fields}
        for field in one.fields:
            theirs = tags.get(field.number)
            found = "is unknown" if theirs is None else self.problem(field.type, theirs.type)
            if found is not None:
                return f"tag {field.name}: {found}"
        return None

    def functions(self, new: Func, old: Func) -> str | None:
        """Compare two functions: the new one may require less and return more."""
        if set(new.modes) != set(old.modes):
            return f"was {' '.join(old.modes) or 'an update'}, is {' '.join(new.modes) or 'an update'}"
        return self._rows(old.args, new.args, "argument") or self._rows(new.results, old.results, "result")

    def _rows(self, one: tuple[Type, ...], other: tuple[Type, ...], what: str) -> str | None:
        for number, wanted in enumerate(other):
            found = self.problem(one[number], wanted) if number < len(one) else None
            if found is None and number >= len(one) and not _may_be_left_out(wanted):
                found = f"{type_text(wanted)} is new" if what == "argument" else f"{type_text(wanted)} is gone"
            if found is not None:
                return f"{what} {number + 1}: {found}"
        return None

    def services(self, new: dict[str, Type], old: dict[str, Type]) -> str | None:
        """Compare two services: the new one may have more methods."""
        for name, theirs in old.items():
            found = "is gone" if name not in new else self.problem(new[name], theirs)
            if found is not None:
                return f"method {name}: {found}"
        return None


def _may_be_left_out(given: Type) -> bool:
    found = resolve(given)
    return isinstance(found, Opt) or (isinstance(found, Primitive) and found.name in _LOOSE)


def incompatible(new: Interface, old: Interface) -> list[str]:
    """Return a line for each method that callers of the old interface lose. O(size of the interfaces)."""
    found = []
    for name, theirs in old.methods.items():
        mine = new.methods.get(name)
        problem = "is gone" if mine is None else _Checker().functions(mine, theirs)
        if problem is not None:
            found.append(f"{name}: {problem}")
    return found
