"""What takes longest about a small image is done once: the types of a map that stand nowhere in it are inferred."""

from __future__ import annotations

from typing import Any

import pytest

from stable_structures import StableBTreeMap, StableMemory, u64
from stable_structures.inspect import open_image
from stable_structures.inspect.formats import maps
from stable_structures.inspect.formats.inference import infer_layout
from stable_structures.inspect.formats.layout import Damage


@pytest.fixture
def inferred(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []

    def counted(*given: Any) -> Any:
        found.append(infer_layout(*given))
        return found[-1]

    monkeypatch.setattr(maps, "infer_layout", counted)
    return found


def test_a_map_is_inferred_once_and_again_when_it_is_another(inferred: list[Any]) -> None:
    memory = StableMemory()
    numbers = StableBTreeMap[u64, str](memory)
    numbers.update({i: f"user {i}" for i in range(1000)})
    part = open_image(memory).part(None)
    first, second = part.open(), part.open()
    assert (part.word, len(inferred)) == ("map", 1)
    first.problems.append(Damage("of the first reader", 0, 0, 0))
    assert second.problems == part.open().problems == []
    numbers.insert(5000, "one more")
    third = part.open()
    assert (third.length, len(list(third.entries())), len(inferred)) == (1001, 1001, 2)
