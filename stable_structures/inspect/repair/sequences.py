# SPDX-License-Identifier: Apache-2.0
"""What `repair` saves of vec, heap, log and cell.

Every element keeps its number: in the place of one that is gone stands an empty one, or the least value of its type. A
heap has no numbers, so what is gone is left out, and what is left is put in order. An element is gone where its size or
its end is damaged, and if it is not a value of the given type.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from ...memory.memory import PAGE_SIZE, Memory, StableMemory
from ...storable import Codec
from ...structures.minheap import StableMinHeap
from ..encoding import exact, filler
from ..formats.layout import BEGINS, CELL_AT, LOG_DATA_AT, LOG_ENDS_AT, SLOTS_AT, U32, U64, Damage
from ..formats.sequences import CellReader, LogReader, SequenceReader, SlotReader
from ..rewrite.build import Output, copy
from ..source import MemorySource, Source
from .losses import Salvage

Element: TypeAlias = bytes | Damage
"""An element, or why it is gone."""


def save_row(reader: SequenceReader, memory: Memory, result: Salvage) -> None:
    """Write a sequence again, of a log the index."""
    result.notes += [str(problem) for problem in reader.problems]
    result.expected = reader.length if reader.length < 2**48 else None
    if isinstance(reader, LogReader):
        _save_index(reader, memory, result)
    elif isinstance(reader, SlotReader):
        _save_slots(_as_it_fits(reader), memory, result)
    elif isinstance(reader, CellReader):
        _save_cell(reader, memory, result)


def save_log_data(reader: LogReader, memory: Memory) -> None:
    """Write the entries of a log back to back, as in the index that `save_row` writes."""
    out, at = Output(memory), LOG_DATA_AT
    out.write(0, BEGINS["log data"])
    out.reach(1)
    for data in _log_entries(reader, Salvage(None, "", None)):
        out.write(at, data)
        at += len(data)
    out.flush()


# ---- one element ----


def _kept(reader: SequenceReader, result: Salvage, index: int, element: Element, instead: bytes | None) -> bytes | None:
    """Return what to write for an element: itself, or `instead` if it is gone."""
    try:
        if isinstance(element, Damage):
            raise element
        data = element if reader.value is None else exact(reader.value, element)
    except (Damage, ValueError) as problem:
        result.lose(f"element {index}: {problem}; {_said(reader, instead)}")
        return instead
    if data != element:
        result.note(f"element {index} was encoded in another way than its type is; its value is the same")
    result.kept += 1
    return data


def _said(reader: SequenceReader, instead: bytes | None) -> str:
    if instead is None:
        return "it is left out"
    return "it is empty now" if not instead or reader.value is None else f"{reader.value.decode(instead)!r} stands in its place"


def _instead(reader: SequenceReader) -> bytes | None:
    return b"" if reader.value is None else filler(reader.value)


def _each(reader: SequenceReader) -> Iterator[Element]:
    """Return the elements in their places."""
    gone: list[Damage] = []
    for _, data in reader.elements(note=gone.append):
        yield from gone
        gone.clear()
        yield data
    yield from gone


def _cut(reader: SequenceReader, start: int, width: int, result: Salvage) -> None:
    """Correct the length: if the header says more than fits, zeros up to the end of the memory are not elements."""
    if not width or reader.length <= reader.readable():
        return
    reader.length = -(-(_last_used(reader.source, start) - start) // width)
    result.note(f"the length is damaged, or the memory is cut off: it ends behind what is not zero, with {reader.readable()} elements")


def _last_used(source: Source, start: int) -> int:
    end = start
    for offset, data in source.blocks(start):
        used = data.rstrip(b"\0")
        end = offset + len(used) if used else end
    return end


# ---- vec and heap ----


def _as_it_fits(reader: SlotReader) -> SlotReader:
    """Choose the bound of the header or that of the given type: the one by which more elements are values."""
    typed = reader.as_given()
    return reader if typed is None or _values(typed) < _values(reader) else typed


def _values(reader: SlotReader) -> int:
    return sum(_is_value(reader, element) for element in _each(reader))


def _is_value(reader: SlotReader, element: Element) -> bool:
    try:
        return isinstance(element, bytes) and reader.value is not None and exact(reader.value, element) is not None
    except ValueError:
        return False


def _save_slots(reader: SlotReader, memory: Memory, result: Salvage) -> None:
    _cut(reader, SLOTS_AT, reader.slot, result)
    codec = reader.value
    if reader.kind == "heap" and codec is not None and not codec.heap_problem and codec.bound.max_size is not None:
        _save_heap(reader, codec, memory, result)
        return
    out, count = Output(memory), 0
    for data in _all_kept(reader, result, _instead(reader)):
        out.write(reader.address(count), reader.packed(data))
        count += 1
    out.write(0, BEGINS[reader.kind] + U64.pack(count) + U32.pack(reader.max_size) + bytes([reader.fixed]))
    out.flush()
    if reader.kind == "heap" and _out_of_order(reader):
        result.note("elements are less than their parents; with --value-type TYPE they are put in order")


def _save_heap(reader: SlotReader, codec: Codec[Any], memory: Memory, result: Salvage) -> None:
    """Write a new heap, because leaving elements out moves the others."""
    made = StableMemory()
    heap = StableMinHeap[codec](made)  # type: ignore[valid-type]
    for data in _all_kept(reader, result, None):
        heap.push(codec.decode(data))
    copy(MemorySource(made), memory)
    result.note("the elements were put into a new heap")


def _all_kept(reader: SlotReader, result: Salvage, instead: bytes | None) -> Iterator[bytes]:
    kept = (_kept(reader, result, index, element, instead) for index, element in enumerate(_each(reader)))
    return (data for data in kept if data is not None)


def _out_of_order(reader: SlotReader) -> bool:
    found: list[Damage] = []
    reader.check(found.append)
    return any("parent" in damage.rule for damage in found)


# ---- cell ----


def _save_cell(reader: CellReader, memory: Memory, result: Salvage) -> None:
    """Save the value; if it is not of the type, leave the memory empty, so that the crate's `init` stores its default."""
    size = min(reader.nbytes, reader.source.nbytes - CELL_AT)
    data = reader.source.read(CELL_AT, size)
    if size < reader.nbytes:
        _cut_value(reader, size, result)
    if reader.value is not None:
        try:
            data = exact(reader.value, data)
        except ValueError as problem:
            result.lose(f"the value: {problem}; the memory is empty now, without --value-type TYPE its bytes are kept")
            return
    result.kept = int(size == reader.nbytes)
    out = Output(memory)
    out.write(0, BEGINS["cell"] + U32.pack(len(data)))
    out.write(CELL_AT, data)
    out.flush()


def _cut_value(reader: CellReader, size: int, result: Salvage) -> None:
    result.lose(f"the value: its size of {reader.nbytes} does not fit the memory; the {size} bytes that are there were kept")


# ---- log ----


def _save_index(reader: LogReader, memory: Memory, result: Salvage) -> None:
    out, end, count = Output(memory), 0, 0
    if reader.data is None:
        result.lose("every entry: the data of the log are in no memory")
    for data in _log_entries(reader, result) if reader.data is not None else ():
        end += len(data)
        out.write(LOG_ENDS_AT + 8 * count, U64.pack(end))
        count += 1
    out.flush()
    out.reach(PAGE_SIZE)
    memory.write(0, BEGINS["log index"])
    memory.write(32, U64.pack(count))


def _log_entries(reader: LogReader, result: Salvage) -> Iterator[bytes]:
    _cut(reader, LOG_ENDS_AT, 8, result)
    instead = _instead(reader)
    kept = (_kept(reader, result, index, element, instead) for index, element in enumerate(_slices(reader)))
    return (data for data in kept if data is not None)


def _slices(reader: LogReader) -> Iterator[Element]:
    """Every entry. An end that is wrong costs its own and the next, which begins there."""
    assert reader.data is not None  # noqa: S101 - asked by the caller
    start, room, start_known = 0, reader.room(), True
    for first, ends in reader.ends():
        column = [*ends.tolist(), room, room]
        for i, end in enumerate(column[:-2]):
            known = _is_end(start, end, column[i + 1], column[i + 2], room)
            if known and start_known:
                yield reader.data.read(LOG_DATA_AT + start, end - start)
            else:
                rule = "the end of an entry fits its neighbours" if not known else "the start of an entry is known"
                yield Damage(rule, reader.address(first + i), end if not known else "a wrong end before it", f"from {start} on")
            start, start_known = end if known else start, known


def _is_end(start: int, end: int, following: int, after: int, room: int) -> bool:
    """Return whether an end fits: what contradicts both of the next two is wrong, what contradicts one of them is not."""
    return start <= end <= room and (end <= following or end <= after)
