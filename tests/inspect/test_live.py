"""A memory that another handle writes while it is looked at: what is seen is one commit, or an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stable_structures import MemoryInUse, MemoryManager, StableBTreeMap, StableMemory, u64
from stable_structures.inspect import check, diff, inspect, open_image
from stable_structures.inspect.formats import survey

Pair = tuple[StableBTreeMap[u64, u64], StableMemory]


@pytest.fixture(params=["normal", "full"])
def live(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A map of a writer, and a reader of its file; what is looked at takes many steps."""
    monkeypatch.setattr(survey, "_STEP", 16)
    path = tmp_path / "live.bin"
    with StableMemory.open(path, durability=request.param, log_limit=1) as writer, StableMemory.open(path, "r") as reader:
        entries = StableBTreeMap[u64, u64](MemoryManager(writer).get(3))
        entries.update((number, number) for number in range(3000))
        yield entries, reader


def rewriting(entries: StableBTreeMap[u64, u64]) -> Callable[..., None]:
    """What commits other entries at each step."""
    begin = 0

    def step(*_: object) -> None:
        nonlocal begin
        begin += 3000
        entries.clear()
        entries.update((number, number) for number in range(begin, begin + 1000 + begin % 7))

    return step


def test_check_sees_one_commit(live: Pair) -> None:
    entries, reader = live
    assert check(reader, progress=rewriting(entries)) == []
    assert len(entries) < 3000
    with open_image(reader) as image:
        assert check(image, progress=rewriting(entries)) == []
    with reader.transaction():  # of the caller: the check is part of it
        assert check(reader, progress=rewriting(entries)) == []


def test_inspect_sees_one_commit(live: Pair) -> None:
    entries, reader = live
    found = inspect(reader, deep=True, progress=rewriting(entries))
    assert not found.damaged
    assert found.memories[0].length == 3000


def test_diff_sees_one_commit(live: Pair) -> None:
    entries, reader = live
    before = reader.read(0, reader.nbytes)
    assert not any(part.changes for part in diff(before, reader, progress=rewriting(entries)))
    entries[1] = 7
    assert any(part.changes for part in diff(before, reader))


def test_a_state_that_is_gone_is_an_error(live: Pair) -> None:
    entries, reader = live

    def flood(*_: object) -> None:
        for number in range(20):
            entries.update((key, number) for key in range(20000 * number, 20000 * (number + 1)))
        time.sleep(0.01)

    with pytest.raises(MemoryInUse, match="begin a new one"):
        check(reader, progress=flood)
    assert check(reader) == []
