"""The types of a map, which stand nowhere in it: hundreds of layouts are tried together, and once for an image."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from stable_structures import StableBTreeMap, StableMemory, u64
from stable_structures.inspect import open_image
from stable_structures.inspect.formats import inference, maps
from stable_structures.inspect.formats.inference import infer_layout
from stable_structures.inspect.formats.layout import Damage
from stable_structures.inspect.source import BytesSource


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


@pytest.mark.parametrize("damage", [None, 3, 11])
def test_layouts_that_are_tried_together_score_as_each_by_itself(damage: int | None) -> None:
    rng = random.Random(damage)
    for keys, values in ((u64, lambda i: f"user {i}"), (str, lambda i: "x" * (i % 90)), (u64, lambda _: "")):
        memory = StableMemory()
        StableBTreeMap[keys, str](memory).update({keys(i): values(i) for i in range(300)})  # type: ignore[valid-type]
        data = bytearray(memory.read(0, memory.nbytes))
        for _ in range(300 if damage else 0):
            data[rng.randrange(100, 20_000)] ^= 1 << rng.randrange(8)
        reader = maps.MapReader(BytesSource(bytes(data)))
        tried = inference._candidates(None)
        for address in reader.sample:
            fits, scores = inference._Trial(reader.space, address).scores(tried, np.arange(len(tried.layouts)))
            for layout, fit, score in zip(tried.layouts[1:], fits[1:].tolist(), scores[1:].tolist(), strict=True):
                try:
                    sizes = [size for _, size in reader.space.node(address, layout).values]
                except Damage:
                    assert not fit
                    continue
                assert (fit, score) == (True, sum(10 if size else 2 for size in sizes))
