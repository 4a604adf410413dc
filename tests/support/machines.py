"""What model-based tests share: a structure beside its twin, scattered, upgraded, emptied, changed under an iterator."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from stable_structures import codec

from .places import Place


class PlacedMachine(RuleBasedStateMachine):
    """A structure that goes through upgrades, and whose next pages do not follow its last ones."""

    structure: Any

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.place = Place(kind)
        self.open()

    def open(self) -> None:
        """Opens the structure on the memories of its place."""
        raise NotImplementedError

    def release(self) -> None:
        assert self.structure.into_memory() is self.place.memories[0]

    @rule()
    def scatter(self):
        self.place.scatter()

    @rule(upgrade=st.booleans())
    def reopen(self, upgrade):
        if upgrade:
            self.place.reopen()
        else:
            self.release()
        self.open()


class ContainerMachine(PlacedMachine):
    """A structure of many elements beside its twin, `model`."""

    model: Any

    def __init__(self, kind: str, type_: Any, element: Any, values: st.SearchStrategy[Any]) -> None:
        self.type, self.codec, self.values = type_, codec(element), values
        super().__init__(kind)

    def open(self) -> None:
        self.structure = self.type(self.place.memories[0])

    def encoded(self, values: Any) -> list[bytes]:
        return [self.codec.encode(value) for value in values]

    def add(self, data: st.DataObject) -> None:
        """Adds an element that was not there."""
        raise NotImplementedError

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def changed_under_an_iterator(self, data):
        iterator = iter(self.structure)
        next(iterator)
        self.add(data)
        with pytest.raises(RuntimeError, match="changed"):
            next(iterator)

    @rule()
    def clear(self):
        self.structure.clear()
        self.model.clear()
