# SPDX-License-Identifier: Apache-2.0
"""Saves what can be read of a damaged memory into a fresh one, and says what was lost.

Of a map: every node that the tree leads to; then, where a part of the tree is gone, the nodes below it, which are still
in allocated chunks (orphaned nodes). Of a node that is damaged itself: the entries before the damage.
Entries whose keys are out of order are put where they belong. Of a sequence: see sequences.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from heapq import merge
from pathlib import Path
from typing import Any

from ...memory.memory import Memory
from ...storable import Codec
from .. import missing
from ..encoding import exact
from ..fit import open_image, require_all_fit
from ..formats.layout import (
    ALLOCATED_AT,
    CAPACITY,
    CHILD,
    CHUNK_BEGINS,
    CHUNK_HEADER,
    COUNT_AT,
    DEPTH,
    NODE_BEGINS,
    NODE_HEADER,
    OVERFLOW_AT,
    TYPE_AT,
    Damage,
    Finding,
    u16,
    u64,
)
from ..formats.maps import MapReader
from ..formats.nodes import Node, Run, read_entries
from ..formats.rules import ignore, refuse
from ..formats.sequences import LogReader
from ..formats.survey import MapStats, MapSurvey, batches, shown_key
from ..image import Image, Part, SchemaFiles, Types
from ..report import check_part
from ..rewrite.build import Entry, MapBuilder, Output, Spool, copy, form_of, in_batches
from ..rewrite.folder import image_output
from ..rewrite.rewrite import rewrite
from ..source import Progress, no_progress
from .losses import Salvage
from .sequences import save_log_data, save_row
from .tables import mend_tables


def repair(  # noqa: PLR0913 - keyword-only choices
    what: str | Path | Memory,
    out: str | Path,
    *,
    types: Types | None = None,
    files: SchemaFiles | None = None,
    progress: Progress = no_progress,
    jobs: int = 1,
) -> list[Salvage]:
    """Save every readable entry into a new image, and report what was lost, memory by memory. O(size). Never changes `what`.

    If the order of a map's keys is not known, entries of orphaned nodes are lost unless the type of
    the keys is given. Raises `Unreadable`, also if the crate did not write the memory, and `Misfit`,
    which is one, where the types are other ones than it has. `jobs` processes save memories at once (jobs.py).

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
    with open_image(what, progress, files) as image, image_output(out, image) as file:
        require_all_fit(image, types or {}, lenient=True)
        done = _mended(image, types or {})
        done += _cut_off(image)
        if image.manager is None and not any(part.is_structure for part in image.parts.values()):
            reasons = "; ".join(image.recognition.damage)
            raise image.unreadable(f"{f'({reasons}) ' if reasons else ''}nothing to save by its structure")
        cut: dict[int | None, Finding] = {problem.memory: problem for problem in missing.find(image) if problem.memory is not None}
        done += [one for _, one in rewrite(image, file, _Salvager(types or {}, cut).fill, jobs=jobs, progress=progress)]
        file.keep()
        return done


def _cut_off(image: Image) -> list[Salvage]:
    """Return what is missing of the input as a whole."""
    of_files = [missing.problem_text(problem) for problem in missing.find(image) if problem.memory is None]
    return [Salvage(None, image.recognition.kind, None, lost=of_files)] if of_files else []


def _mended(image: Image, types: Types) -> list[Salvage]:
    """Mend the tables of the image; return what was wrong with them."""
    if image.recognition.kind != "manager":
        return []
    broken: list[Damage] = []
    if image.manager is not None:
        image.manager.check(broken.append)
    table = Salvage(None, "manager", None)
    notes, lost = mend_tables(image, types)
    for text in (*map(str, broken), *notes):
        table.note(text)
    for text in lost:
        table.lose(text)
    return [table] if table.notes or lost else []


class _Salvager:
    def __init__(self, types: Types, cut: dict[int | None, Finding]) -> None:
        self.types, self.cut = types, cut

    def fill(self, part: Part, memory: Memory, progress: Progress) -> Salvage:
        """One memory of the new image."""
        key, value = part.types(self.types)
        result = Salvage(part.id, part.word, None)
        if part.id in self.cut:
            result.lose(missing.problem_text(self.cut[part.id]))
        try:
            self._fill(part, memory, result, (key, value), progress)
        except Damage as damage:
            result.lost.append(f"everything: {damage}")
        return result

    def _fill(
        self, part: Part, memory: Memory, result: Salvage, types: tuple[Codec[Any] | None, Codec[Any] | None], progress: Progress
    ) -> None:
        if part.index is not None:
            log = part.index.open(*part.index.types(self.types))
            if isinstance(log, LogReader):
                save_log_data(log, memory)
            return
        if not part.is_structure:
            copy(part.source, memory)
            result.notes.append("copied as it is")
            if part.kind == "log data":
                result.lose("every entry: the index of the log is in no memory")
            return
        reader = part.open(*types)
        if isinstance(reader, MapReader):
            MapSalvage(reader, result, progress).run(memory)
        elif _is_sound(part, self.types):
            result.expected = result.kept = reader.length
            copy(part.source, memory, reader.live())
        else:
            save_row(reader, memory, result)


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
        """Write the new map."""
        result, reader = self.result, self.reader
        found, order = list[Damage](), reader.order
        survey = MapSurvey(reader, found.append, self.progress)
        stats = survey.run()
        if not found and not reader.problems and not survey.left_out:
            self._pack(memory, stats)
            return
        reader.order = order  # of a damaged map a survey may have found another that fits better by chance
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
            MapBuilder(form, Output(memory)).build(in_batches(entries), entries.count)
        if result.missing and not result.lost:
            result.lost.append(f"{result.missing} entries that the header counts are nowhere")

    def _pack(self, memory: Memory, stats: MapStats) -> None:
        """Write a sound map, whose entries are encoded as the given types are."""
        reader = self.reader
        form = form_of(reader, layout_1=0 < stats.layout_1_nodes == sum(stats.nodes_by_depth))
        MapBuilder(form, Output(memory)).build(batches(reader, refuse), reader.length)
        self.result.expected = self.result.kept = reader.length

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
        """Return the entry, unless its value is gone, or key or value are not of the given types."""
        key, what = node.keys[index], "entry"
        try:
            made = _exact(self.reader.key, key)
            what = "value"
            entry = made, _exact(self.reader.value, node.value(index))
        except (Damage, ValueError, IndexError) as problem:
            self._lose(f"the {what} of key {shown_key(key)} in the node at {node.address}: {_words(problem)}")
            return
        if entry != (key, node.value(index)):
            self.result.note(f"key {shown_key(key)} or its value was encoded in another way than its type is; it means the same")
        yield entry

    def _node(self, address: int, depth: int, between: tuple[bytes | None, bytes | None]) -> Node | None:
        try:
            index = self.space.index(address)
            if self.reached[index] or depth == DEPTH:
                raise Damage("every chunk is reached once", address, 2, 1)  # noqa: TRY301 - a broken rule, reported as all are
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
            return self.space.node(address, self.reader.layout)
        except Damage as damage:
            self._lose_subtree(damage, between)
        return self.rescue(address)

    def rescue(self, address: int) -> Node | None:
        """Return what is left of a damaged node; its chunk's header does not count."""
        try:
            first = self.space.read(address, self.space.page)
        except Damage:
            return None
        with suppress(Damage):
            return self.space.node(address, self.reader.layout, first=first)
        count = u16(first, COUNT_AT)
        if first[:4] != NODE_BEGINS or not 1 <= count <= CAPACITY or first[TYPE_AT] > 1:
            return None
        node = Node(address, 2, first[TYPE_AT] == 0, Run(self.space, address, first, u64(first, OVERFLOW_AT)))
        at = NODE_HEADER
        if not node.leaf:
            at += CHILD * (count + 1)
            node.children = tuple(u64(first, NODE_HEADER + CHILD * i) for i in range(count + 1)) if at <= len(first) else ()
        read_entries(node, at, count, self.reader.layout, keep=ignore)
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
        self.result.lose(what)

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
        """Return whether a guess counts: the sample has to support it."""
        order = self.reader.order
        return order.certain or all(order.broken(node.keys) <= 1 for node in self.reader.sampled())

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

    # ---- orphaned nodes ----

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
            self.result.notes.append(f"{found} orphaned nodes were recovered by scanning chunks")
        elif found:
            self._lose(f"{found} orphaned nodes: the order of the keys is not known, so their place is not; give --key-type TYPE")

    def _end(self) -> int:
        """Return the chunks to search: those behind the end of the free list are stale; all if the list is damaged."""
        try:
            return min(self.reader.end_of_chunks(), self.space.chunks)
        except Damage as damage:
            self.result.notes.append(f"the free list is damaged ({damage}); entries from before a clearing may be among those saved")
            return self.space.chunks

    def _loose(self, address: int) -> Node | None:
        try:
            header = self.space.read(address - CHUNK_HEADER, CHUNK_HEADER)
            if header[:4] == CHUNK_BEGINS and header[ALLOCATED_AT] == 0:
                return None  # free: what it holds was given up
            node = self.space.node(address, self.reader.layout, first=self.space.read(address, self.space.page))
        except Damage:
            return None
        return node


def _exact(codec: Codec[Any] | None, data: bytes) -> bytes:
    return data if codec is None else exact(codec, data)


def _words(problem: Exception) -> str:
    return "it was behind the damage" if isinstance(problem, IndexError) else str(problem)
