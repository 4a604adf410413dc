# SPDX-License-Identifier: Apache-2.0
"""Saves what can be read of a damaged memory into a fresh one, and says what was lost.

Of a map: every node that the tree leads to; then, where a part of the tree is gone, the nodes below it, which are still
in allocated chunks that nothing leads to any more. Of a node that is damaged itself: the entries before the damage.
Entries whose keys are out of order are put where they belong. Of a row: every element; in the place of one that is gone
there is an empty one, so that the others keep their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path
from typing import Any, Final

from ..memory import PAGE_SIZE, Memory
from ..storable import Codec
from .build import Entry, ImageFile, MapBuilder, Output, Spool, copy, form_of
from .image import Image, Part, open_image
from .layout import CAPACITY, CELL_AT, CHUNK_HEADER, DEPTH, LOG_DATA_AT, LOG_ENDS_AT, NODE_HEADER, SLOTS_AT, U32, U64, Damage, Finding
from .maps import MapReader, shown_key
from .nodes import Node, Run, read_entries
from .report import Types, check_part
from .rewrite import rewrite
from .rows import CellReader, LogReader, RowReader, SlotReader
from .source import Progress, Unreadable, no_progress

_MOST_LISTED: Final = 1000


@dataclass(slots=True)
class Salvage:
    """What became of one memory."""

    memory: int | None
    kind: str
    expected: int | None
    """Entries by the structure's header; None where that is damaged or there are none."""
    kept: int = 0
    lost: list[str] = field(default_factory=list)
    """What is gone, each with its place."""
    notes: list[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Entries that are gone, by the header's count."""
        return 0 if self.expected is None else max(0, self.expected - self.kept)

    @property
    def whole(self) -> bool:
        """Whether nothing was lost."""
        return not self.lost and not self.missing


def repair(what: str | Path | Memory, out: str | Path, *, types: Types | None = None, progress: Progress = no_progress) -> list[Salvage]:
    """Saves every readable entry into a new image, and tells what was lost, memory by memory. O(size). Never changes `what`.

    Where the order of a map's keys cannot be told, entries of nodes that nothing leads to are lost unless the type of
    the keys is told. Raises `Unreadable`, also where the memory is nothing that the crate wrote.

    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> memory = StableMemory()
    >>> StableBTreeMap[u64, str](memory).update({i: f"user {i}" for i in range(100)})
    >>> memory.write(116, b"XXX")  # the first node
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     found = repair(memory, f"{folder}/saved.bin")[0]
    >>> found.expected, found.kept, found.missing
    (100, 95, 5)
    """
    with open_image(what, progress) as image, ImageFile(out) as file:
        if image.manager is None and not any(part.is_structure for part in image.parts.values()):
            reasons = "; ".join(image.recognition.damage)
            raise Unreadable(
                f"{image.name}: {image.recognition.title}{f' ({reasons})' if reasons else ''}; nothing to save by its structure"
            )
        done: list[Salvage] = []
        salvager = _Salvager(types or {}, done, progress)
        rewrite(image, file, salvager.fill)
        _tell_manager(image, done)
        file.keep()
        return done


def _tell_manager(image: Image, done: list[Salvage]) -> None:
    if image.manager is None:
        return
    broken: list[Damage] = []
    image.manager.check(broken.append)
    if broken:
        table = Salvage(None, "manager", None)
        table.notes = [str(damage) for damage in broken[:_MOST_LISTED]]
        done.insert(0, table)


class _Salvager:
    def __init__(self, types: Types, done: list[Salvage], progress: Progress) -> None:
        self.types, self.done, self.progress = types, done, progress

    def fill(self, part: Part, memory: Memory) -> str:
        """One memory of the new image."""
        key, value = self.types.get(part.id, (None, None))
        result = Salvage(part.id, part.kind, None)
        self.done.append(result)
        try:
            self._fill(part, memory, result, key, value)
        except Damage as damage:
            result.lost.append(f"everything: {damage}")
        return ""

    def _fill(self, part: Part, memory: Memory, result: Salvage, key: Codec[Any] | None, value: Codec[Any] | None) -> None:
        if part.kind == "log data" and part.index is not None:
            self._log_data(part, memory)
            return
        if not part.is_structure:
            copy(part.source, memory)
            result.notes.append("copied as it is")
            return
        reader = part.open(key, value)
        if isinstance(reader, MapReader):
            MapSalvage(reader, result, self.progress).run(memory)
        elif _is_sound(part, self.types):
            result.expected = result.kept = reader.length
            copy(part.source, memory, reader.live())
        else:
            _RowSalvage(reader, result).run(memory)

    def _log_data(self, part: Part, memory: Memory) -> None:
        """Entries that can be read, back to back, as the new index has them."""
        assert part.index is not None  # noqa: S101 - asked by the caller
        reader = part.index.open()
        out, at = Output(memory), LOG_DATA_AT
        out.write(0, b"GLD\x01")
        out.reach(1)
        for _, data in log_entries(reader, Salvage(None, "", None)):
            out.write(at, data)
            at += len(data)
        out.flush()


def _is_sound(part: Part, types: Types) -> bool:
    found: list[Finding] = []
    check_part(part, found.append, types, no_progress)
    return not found


# ---- maps ----


class MapSalvage:
    """Everything that can be read of a map, in order."""

    def __init__(self, reader: MapReader, result: Salvage, progress: Progress = no_progress) -> None:
        self.reader = reader
        self.space = reader.space
        self.result = result
        self.progress = progress
        self.reached = bytearray(self.space.chunks + 1)
        self.damaged = bool(reader.problems)
        self.strays: list[Entry] = []
        self.versions: set[int] = set()
        result.notes += [str(problem) for problem in reader.problems]

    def run(self, memory: Memory) -> None:
        """Writes the new map."""
        result, reader = self.result, self.reader
        with Spool() as tree, Spool() as entries:
            for entry in self._in_order(self._from_tree()):
                tree.add(entry)
            result.expected = reader.length if reader.length <= CAPACITY * (self.space.chunks + 1) else None
            if self.damaged or tree.count < reader.length:
                self._find_loose()
            for entry in self._merged(iter(tree)):
                entries.add(entry)
            result.kept = entries.count
            form = form_of(reader, layout_1=self.versions == {1})
            MapBuilder(form, Output(memory)).build(iter(entries), entries.count)
        if result.missing and not result.lost:
            result.lost.append(f"{result.missing} entries that the header counts are nowhere")

    # ---- the tree ----

    def _from_tree(self) -> Iterator[Entry]:
        if self.reader.root:
            yield from self._subtree(self.reader.root, 0, (None, None))

    def _subtree(self, address: int, depth: int, between: tuple[bytes | None, bytes | None]) -> Iterator[Entry]:
        node = self._node(address, depth, between)
        if node is None:
            return
        keys = node.keys
        for i in range(len(keys) + 1):
            if node.children and i < len(node.children):
                low = keys[i - 1] if i else between[0]
                high = keys[i] if i < len(keys) else between[1]
                yield from self._subtree(node.children[i], depth + 1, (low, high))
            if i < len(keys):
                yield from self._entry(node, i)

    def _entry(self, node: Node, index: int) -> Iterator[Entry]:
        """The entry, unless its value is gone or its key is no value of the type that was told, and so has no place."""
        try:
            if self.reader.key is not None:
                self.reader.key.decode(node.keys[index])
        except ValueError as error:
            self._lose(f"the entry of key {shown_key(node.keys[index])} in the node at {node.address}: {error}")
            return
        try:
            yield node.keys[index], node.value(index)
        except (Damage, IndexError) as problem:
            self._lose(f"the value of key {shown_key(node.keys[index])} in the node at {node.address}: {_words(problem)}")

    def _node(self, address: int, depth: int, between: tuple[bytes | None, bytes | None]) -> Node | None:
        try:
            index = self.space.index(address)
            if self.reached[index] or depth == DEPTH:
                raise Damage("every chunk is reached once", address, 2, 1)  # noqa: TRY301 - a broken rule, told as all are
            self.reached[index] = 1
        except Damage as damage:
            self._lose_subtree(damage, between)
            return None
        node = self._read(address, between)
        if node is not None:
            self._mark_chain(node)
            self.versions.add(node.version)
        return node

    def _read(self, address: int, between: tuple[bytes | None, bytes | None]) -> Node | None:
        try:
            return self.space.node(address, self.reader.shape)
        except Damage as damage:
            self._lose_subtree(damage, between)
        return self.rescue(address)

    def rescue(self, address: int) -> Node | None:
        """What is left of a damaged node; its chunk's header does not count."""
        try:
            first = self.space.read(address, self.space.page)
        except Damage:
            return None
        with suppress(Damage):
            return self.space.node(address, self.reader.shape, first=first)
        count = first[5] | first[6] << 8
        if first[:4] != b"BTN\x02" or not 1 <= count <= CAPACITY or first[4] > 1:
            return None
        node = Node(address, 2, first[4] == 0, Run(self.space, address, first, U64.unpack_from(first, 7)[0]))
        at = NODE_HEADER
        if not node.leaf:
            at += 8 * (count + 1)
            node.children = tuple(U64.unpack_from(first, NODE_HEADER + 8 * i)[0] for i in range(count + 1)) if at <= len(first) else ()
        read_entries(node, at, count, self.reader.shape, keep=lambda _: None)
        return node

    def _mark_chain(self, node: Node) -> None:
        for page in node.run.pages:
            self.reached[self.space.index(page)] = 1

    def _lose_subtree(self, damage: Damage, between: tuple[bytes | None, bytes | None]) -> None:
        low, high = between
        ends = ("" if low is None else f"above {shown_key(low)}", "" if high is None else f"below {shown_key(high)}")
        where = " and ".join(filter(None, ends))
        self._lose(f"a node with keys {where or 'of the whole map'}: {damage}")

    def _lose(self, what: str) -> None:
        self.damaged = True
        if len(self.result.lost) < _MOST_LISTED:
            self.result.lost.append(what)

    # ---- order ----

    def _in_order(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """Entries whose keys ascend; the others go to the strays: of two that do not, the one that does not fit its neighbours."""
        ascends = self.reader.order.ascends
        if not self._order_known():
            yield from entries
            return
        last: Entry | None = None
        held: Entry | None = None
        for entry in entries:
            if held is None or ascends(held[0], entry[0]):
                if held is not None:
                    yield held
                    last = held
                held = entry
            elif last is None or ascends(last[0], entry[0]):
                self.strays.append(held)
                held = entry
            else:
                self.strays.append(entry)
        if held is not None:
            yield held

    def _order_known(self) -> bool:
        """A guess counts where the sample keeps it."""
        order = self.reader.order
        return order.certain or all(order.broken(keys) <= 1 for keys in self._sampled_keys())

    def _sampled_keys(self) -> Iterator[list[bytes]]:
        for address in self.reader.sample:
            with suppress(Damage):
                yield self.space.node(address, self.reader.shape).keys

    def _merged(self, tree: Iterator[Entry]) -> Iterator[Entry]:
        """Tree and strays in order, each key once: what the tree has comes first."""
        if not self.strays:
            yield from tree
            return
        ascends, by_key = self.reader.order.ascends, self.reader.order.sort_key()
        strays = sorted(self.strays, key=lambda entry: by_key(entry[0]))
        last: bytes | None = None
        for entry in merge(tree, strays, key=lambda entry: by_key(entry[0])):
            if last is None or ascends(last, entry[0]):
                yield entry
                last = entry[0]
            else:
                self.result.notes.append(f"a second entry with key {shown_key(entry[0])} was left out")

    # ---- nodes that nothing leads to ----

    def _find_loose(self) -> None:
        """Entries of nodes in chunks that the tree did not lead to, and that are not free."""
        known, found = self._order_known(), 0
        for index in range(self._end()):
            if index % 4096 == 0:
                self.progress("looking for lost nodes", index, self.space.chunks)
            node = None if self.reached[index] else self._loose(self.space.address(index))
            if node is None:
                continue
            found += 1
            self.versions.add(node.version)
            if known:
                for i in range(len(node.keys)):
                    self.strays += self._entry(node, i)
        if found and known:
            self.result.notes.append(f"{found} nodes that nothing leads to any more were saved")
        elif found:
            self._lose(f"{found} nodes that nothing leads to: the order of the keys is not known, so their place is not; give --key TYPE")

    def _end(self) -> int:
        """Chunks behind the end of the free list are older than the map's last clearing; where the list is damaged, all count."""
        try:
            return min(self.reader.end_of_chunks(), self.space.chunks)
        except Damage as damage:
            self.result.notes.append(f"the free list is damaged ({damage}); entries from before a clearing may be among those saved")
            return self.space.chunks

    def _loose(self, address: int) -> Node | None:
        try:
            header = self.space.read(address - CHUNK_HEADER, CHUNK_HEADER)
            if header[:4] == b"CHK\x01" and header[4] == 0:
                return None  # free: what it holds was given up
            node = self.space.node(address, self.reader.shape, first=self.space.read(address, self.space.page))
        except Damage:
            return None
        return node


def _words(problem: Exception) -> str:
    return str(problem) if isinstance(problem, Damage) else "it was behind the damage"


# ---- rows ----


class _RowSalvage:
    """Elements in their places; empty ones where one is gone."""

    def __init__(self, reader: RowReader, result: Salvage) -> None:
        self.reader = reader
        self.result = result

    def run(self, memory: Memory) -> None:
        """Writes the new row."""
        result, reader = self.result, self.reader
        result.notes += [str(problem) for problem in reader.problems]
        result.expected = reader.length if reader.length < 2**48 else None
        if isinstance(reader, LogReader):
            self._log(reader, memory)
        elif isinstance(reader, SlotReader):
            self._slots(reader, memory)
        elif isinstance(reader, CellReader):
            self._cell(reader, memory)

    def _slots(self, reader: SlotReader, memory: Memory) -> None:
        copy(reader.source, memory, min(reader.live(), reader.source.nbytes))
        magic = b"SVC\x01" if reader.kind == "vec" else b"SMH\x01"
        header = magic + U64.pack(reader.readable()) + U32.pack(reader.max_size) + bytes([reader.fixed])
        out = Output(memory)
        out.write(0, header)
        gone: list[Damage] = []
        self.result.kept = sum(1 for _ in reader.elements(note=gone.append))
        for damage in gone:
            index = (damage.address - SLOTS_AT) // reader.slot
            out.write(damage.address, bytes(reader.slot))
            self._lose(f"element {index}: {damage}; it is empty now")
        out.flush()
        if reader.kind == "heap":
            self._restore_heap(reader, memory)

    def _restore_heap(self, reader: SlotReader, memory: Memory) -> None:
        """A sorted row is a heap. The order must be known for it."""
        found: list[Damage] = []
        reader.check(found.append)
        orders = [order for order in reader.heap_orders() if order.certain]
        if not any("parent" in damage.rule for damage in found):
            return
        if not orders:
            self.result.notes.append("elements are less than their parents; with --value TYPE they are put in order")
            return
        source = open_image(memory).source
        slots = [source.read(SLOTS_AT + i * reader.slot, reader.slot) for i in range(reader.readable())]
        width = reader.size_bytes

        def element(slot: bytes) -> bytes:
            return slot[width : width + int.from_bytes(slot[:width], "little")] if width else slot

        by_value = orders[0].sort_key()
        slots.sort(key=lambda slot: by_value(element(slot)))
        out = Output(memory)
        out.write(SLOTS_AT, b"".join(slots))
        out.flush()
        self.result.notes.append("elements were less than their parents; all are in order again")

    def _cell(self, reader: CellReader, memory: Memory) -> None:
        size = min(reader.size, reader.source.nbytes - CELL_AT)
        if size < reader.size:
            self._lose(f"the value: its size of {reader.size} does not fit the memory; the {size} bytes that are there were kept")
        else:
            self.result.kept = 1
        copy(reader.source, memory, CELL_AT + size)
        memory.write(0, b"SCL\x01" + U32.pack(size))

    def _log(self, reader: LogReader, memory: Memory) -> None:
        out, end, count = Output(memory), 0, 0
        if reader.data is None:
            self._lose("every entry: the data of the log are in no memory")
        for _, data in log_entries(reader, self.result) if reader.data is not None else ():
            end += len(data)
            out.write(LOG_ENDS_AT + 8 * count, U64.pack(end))
            count += 1
        out.flush()
        out.reach(PAGE_SIZE)
        memory.write(0, b"GLI\x01")
        memory.write(32, U64.pack(count))

    def _lose(self, what: str) -> None:
        if len(self.result.lost) < _MOST_LISTED:
            self.result.lost.append(what)


def log_entries(reader: Any, result: Salvage) -> Iterator[tuple[int, bytes]]:
    """Every entry that can be read; an empty one in the place of one that cannot, since it would shift the others.

    An end that is wrong costs its own entry and the next, which begins there.
    """
    start, room, start_known = 0, reader.room(), True
    for first, ends in reader.ends():
        column = [*ends.tolist(), room, room]
        for i, end in enumerate(column[:-2]):
            known = _is_end(start, end, column[i + 1], column[i + 2], room)
            if known and start_known:
                result.kept += 1
                yield first + i, reader.data.read(LOG_DATA_AT + start, end - start)
            else:
                _lose_entry(result, first + i, f"its end is {end}" if not known else "its start is not known")
                yield first + i, b""
            start, start_known = end if known else start, known


def _is_end(start: int, end: int, following: int, after: int, room: int) -> bool:
    """Whether an end fits: what contradicts both of the next two is wrong, what contradicts one of them is not."""
    return start <= end <= room and (end <= following or end <= after)


def _lose_entry(result: Salvage, index: int, why: str) -> None:
    if len(result.lost) < _MOST_LISTED:
        result.lost.append(f"entry {index}: {why}; it is empty now")
