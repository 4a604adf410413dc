"""StableCell against a plain variable, in every kind of memory; errors and faults."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from stable_structures import (
    PAGE_SIZE,
    BadMagic,
    Blob,
    BoundExceeded,
    Cbor,
    Closed,
    CorruptMemory,
    IncompatibleType,
    MemoryInUse,
    OutOfMemory,
    ReadOnly,
    StableCell,
    StableMemory,
    StableVec,
    UnsupportedVersion,
    u8,
    u64,
)

from ..support.machines import PlacedMachine
from ..support.places import PLACES, SHORT, faults, image, raised


class CellMachine(PlacedMachine):
    """Every operation beside a variable."""

    model = b"first"

    def open(self) -> None:
        self.structure = StableCell[bytes](self.place.memories[0], b"first")

    @rule(value=st.binary(max_size=20) | st.builds(lambda n, b: bytes([b]) * n, st.integers(0, 200_000), st.integers(0, 255)))
    def set(self, value):
        assert self.structure.set(value) == self.model
        self.model = value

    @rule(value=st.binary(max_size=20))
    def assign(self, value):
        self.structure.value = self.model = value

    @invariant()
    def same(self):
        assert self.structure.get() == self.structure.value == self.model
        self.structure.check()
        assert self.structure.bytes_used().live == 8 + len(self.model)


@pytest.mark.parametrize("kind", PLACES)
def test_behaves_as_a_variable(kind):
    run_state_machine_as_test(lambda: CellMachine(kind), settings=SHORT)


def test_the_bytes_are_those_of_the_format():
    memory = StableMemory()
    cell = StableCell[bytes](memory, b"a longer value")
    cell.set(b"short")
    assert image(memory) == (b"SCL\x01\x05\0\0\0short" + b"a longer value"[5:]).ljust(PAGE_SIZE, b"\0")


def test_three_ways_to_open():
    memory = StableMemory()
    with pytest.raises(BadMagic, match="holds nothing"):
        StableCell[u64].load(memory)
    StableCell[u64](memory, 5)
    assert StableCell[u64](memory, 6).get() == 5
    assert StableCell[u64].load(memory).get() == 5
    assert StableCell[u64].new(memory, 7).get() == 7


def test_what_is_given_beside_the_memory():
    with pytest.raises(TypeError):
        StableCell[u64](StableMemory())
    with pytest.raises(TypeError, match="'default'"):
        StableCell[u64].new(StableMemory())
    with pytest.raises(TypeError):
        StableCell[u64].load(StableMemory(), 5)
    assert StableCell[u64].new(StableMemory(), default=5).get() == StableCell[u64](StableMemory(), default=5).get()
    with pytest.raises(IncompatibleType, match=r"StableCell\[T\]\(memory\)"):
        StableCell(StableMemory(), 5)


def test_another_structure_becomes_a_cell_only_when_asked():
    memory = StableMemory()
    StableVec[u64](memory).push(1)
    for opened in (lambda: StableCell[u64].load(memory), lambda: StableCell[u64](memory, 9)):
        with pytest.raises(BadMagic, match=r"\.new\(memory\)"):
            opened()
    assert list(StableVec[u64].load(memory)) == [1]
    assert StableCell[u64].new(memory, 9).get() == 9


def test_an_unknown_version_is_refused():
    memory = StableMemory()
    StableCell[u64](memory, 5)
    memory.write(3, b"\x02")
    with pytest.raises(UnsupportedVersion, match="newer"):
        StableCell[u64](memory, 5)


def test_a_value_of_another_type_is_told_when_it_is_read():
    memory = StableMemory()
    StableCell[bytes](memory, b"abc")
    cell = StableCell[u64](memory, 5)
    cell.check()
    with pytest.raises(IncompatibleType, match=r"encoded in 8 bytes, found 3.*written with other types"):
        cell.get()
    cell.value = 7
    assert cell.get() == 7


def test_a_length_past_the_end_is_found():
    memory = StableMemory()
    cell = StableCell[bytes](memory, b"abc")
    memory.write(4, (PAGE_SIZE - 7).to_bytes(4, "little"))
    for use in (cell.get, cell.check, lambda: cell.set(b"")):
        assert raised(use) is CorruptMemory
    cell.into_memory()
    assert raised(lambda: StableCell[bytes](memory, b"")) is CorruptMemory


def test_values_outside_their_type_are_refused():
    cell = StableCell[u8](StableMemory(), 5)
    for use in (lambda: cell.set(256), lambda: setattr(cell, "value", 256)):
        with pytest.raises(BoundExceeded, match="u8 holds 0 to 255, got 256"):
            use()
    with pytest.raises(IncompatibleType, match="expected an integer"):
        cell.set("5")
    memory = StableMemory()
    with pytest.raises(BoundExceeded, match="u8 holds 0 to 255, got 300"):
        StableCell[u8](memory, 300)
    assert memory.size() == 0
    with pytest.raises(BoundExceeded, match="cannot hold None"):
        StableCell[u8 | None](memory, None)
    assert cell.get() == 5


def test_what_was_got_is_a_copy():
    cell = StableCell[Cbor[dict]](StableMemory(), {"fee": 10})
    cell.get()["fee"] = 20
    assert cell.value == {"fee": 10}


def test_ownership():
    memory = StableMemory()
    cell = StableCell[u64](memory, 5)
    with pytest.raises(MemoryInUse, match="into_memory"):
        StableCell[u64](memory, 5)
    assert not cell.is_empty()
    assert cell.into_memory() is memory
    for use in (cell.get, lambda: cell.set(1), lambda: setattr(cell, "value", 1), cell.check, cell.into_memory):
        assert raised(use) is Closed
    assert "Closed" in repr(cell)


def test_read_only(tmp_path):
    with StableMemory.open(tmp_path / "m") as memory:
        StableCell[u64](memory, 5)
    with StableMemory.open(tmp_path / "m", mode="r") as memory:
        cell = StableCell[u64](memory, 6)
        assert cell.get() == 5
        assert raised(lambda: cell.set(7)) is ReadOnly
        cell.into_memory()
        assert raised(lambda: StableCell[u64].new(memory, 7)) is ReadOnly


def test_copying():
    old, new = StableCell[u8](StableMemory(), 5), StableCell[u64](StableMemory(), 0)
    steps = []
    old.copy_into(new, lambda done, total: steps.append((done, total)))
    assert new.get() == 5
    assert steps == [(1, 1)]


def test_a_full_memory_refuses_and_changes_nothing():
    for pages in (1, 2, 3):
        memory = StableMemory(max_pages=pages)
        cell = StableCell[bytes](memory, b"abc")
        cell.set(b"x" * (pages * PAGE_SIZE - 8))
        before = image(memory)
        for use in (lambda: cell.set(b"y" * (pages * PAGE_SIZE - 7)), lambda: setattr(cell, "value", b"y" * (pages * PAGE_SIZE))):  # noqa: B023
            assert raised(use) is OutOfMemory
            assert image(memory) == before
    memory = StableMemory(max_pages=1)
    assert raised(lambda: StableCell[bytes](memory, b"x" * PAGE_SIZE)) is OutOfMemory
    assert memory.size() == 0
    assert StableCell[bytes](memory, b"x").get() == b"x"


@pytest.mark.parametrize(
    "operation",
    [lambda c: c.set(b"z" * 100_000), lambda c: setattr(c, "value", b"z" * 100_000), lambda c: c.set(b"")],
    ids=["set", "value", "shorter"],
)
def test_a_failing_memory_leaves_everything_as_it_was(operation):
    for cell in faults(lambda memory: StableCell[bytes](memory, b"abc"), operation):
        assert cell.get() == b"abc"


def test_bounded_cells():
    cell = StableCell[Blob(4)](StableMemory(), b"")
    assert cell.set(b"1234") == b""
    assert raised(lambda: cell.set(b"12345")) is BoundExceeded
