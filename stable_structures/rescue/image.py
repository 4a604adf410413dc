# SPDX-License-Identifier: Apache-2.0
"""An image of ic-stable-memory, opened: its roots, its contents, its check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from pathlib import Path
from typing import Any, Final, Self

from ..errors import IncompatibleType
from ..inspect.fit import open_image
from ..inspect.missing import problem_text
from ..inspect.source import Source
from ..memory.memory import Memory
from .annotations import resolve
from .blocks import Blocks
from .carve import Carver, Found
from .containers import LogType, is_alike
from .encodings import BoxType, Type
from .findings import MOST, Broken, Fault, Finding, Findings, NotOwned
from .ownership import Claims, Heap
from .saved import Saved, find_saved
from .trees import TreeContents, TreeType, has_trees

_SHOWN: Final = 5
_SAID: Final = 3
WIDTHS: Final = (4, 8)


def open_ism(
    source: str | Path | Memory | bytes, types: Mapping[int, Any], *, width: int = 4, saved: bool | None = None, unchecked: bool = False
) -> IsmImage:
    """Open an image of the Rust crate ic-stable-memory 0.4 for reading. O(blocks). The source is never written.

    `types` holds the type of each box by its key of `store_custom_data`, as the box's content: `SBTreeMap[u64, u64]` for an
    `SBox<SBTreeMap<u64, u64>>` (the box itself may be written, too). An image that was not saved by `pre_upgrade` has no
    keys: then the types say what to look for.

    `width` is the size of a Rust `usize` in bytes: 4 in every canister, so by default, and 8 in images of a 64-bit host. No image
    says which, and it is not guessed: an image of the other width is refused, and the error names that width if it fits.
    `saved=False` ignores a saved allocator. Contents are refused with `NotOwned` if the ownership check fails, unless
    `unchecked`.

    Raises `Unreadable` for a source that cannot be read, `IncompatibleType` for a type that the crate does not have.

    >>> from stable_structures import u64
    >>> from stable_structures.rescue import SBTreeMap
    >>> image = open_ism(b"", {0: SBTreeMap[u64, u64]})
    >>> image.saved, image.check(), image.found(0)
    (False, [], [])
    """
    if width not in WIDTHS:
        raise IncompatibleType(f"the pointer width is 4 (a canister) or 8 (a 64-bit host), not {width}")
    contents = {key: _content_type(tp) for key, tp in types.items()}
    opened = open_image(source)
    try:
        image = IsmImage(opened.source, contents, width, saved, unchecked=unchecked)
    except BaseException:
        opened.close()
        raise
    for problem in opened.problems:
        image.lacks(problem_text(problem), problem.address)
    return image


def _content_type(tp: Any) -> Type:
    made = resolve(tp)
    return made.inner if isinstance(made, BoxType) else made


def _is_harmless(one: Finding) -> bool:
    return not one.ownership and one.fault in (None, Fault.STALE_PREVIOUS, Fault.LOG_CAPACITIES, Fault.DEAD_TABLE)


def note_into(lost: list[Finding], key: int) -> Callable[[Broken], None]:
    """Return what appends findings under a key to a list, at most 1,000."""

    def note(error: Broken) -> None:
        if len(lost) < MOST:
            lost.append(Finding(f"key {key}", error.rule, error.address or 0, error.fault))

    return note


class IsmImage:
    """What `open_ism` returns: contents by key, `check`, `faults`. A context manager that closes the file."""

    def __init__(self, source: Source, types: dict[int, Type], width: int, saved: bool | None, *, unchecked: bool) -> None:
        self._source, self.types, self.width = source, types, width
        self.unchecked = unchecked
        self._findings = Findings()
        self._notes: list[Finding] = []
        self.blocks = Blocks(source, lambda at, text: self._findings.note(Finding("", text, at)))
        self._of_blocks = list(self._findings)
        self._heap = Heap(self.blocks, width)
        self._saved: Saved | None = None if saved is False else self._find_saved()
        self._found: dict[int, list[Found]] = {}
        self._is_whole = True
        self._checked = False
        self._compares_widths = not all(tp.widthless for tp in types.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def lacks(self, text: str, address: int) -> None:
        """Take in what is missing of the file itself: the ownership check fails for it, whatever is in the blocks that are left."""
        self._is_whole = False
        self._findings.note(Finding("", text, address))

    def _find_saved(self) -> Saved | None:
        try:
            return find_saved(self.blocks)
        except Broken as error:
            text = f"{error.rule}: it is damaged, or stale since the canister ran on"
            self._notes.append(Finding("saved allocator", text, error.address or 0, ownership=False))
            return None

    # ---- what is there ----

    @property
    def saved(self) -> bool:
        """Return whether `pre_upgrade` saved the allocator and nothing ran since, so that keys lead to structures. O(1)."""
        return self._saved is not None

    def keys(self) -> list[int]:
        """Return the keys of the saved boxes, or of the types if the image was not saved. O(keys)."""
        return sorted(self._saved.roots if self._saved else self.types)

    def __getitem__(self, key: int) -> Any:
        """Return the content of the box under a key. O(1) behind the check, which is made once, O(n).

        Raises `KeyError` for a key that is not there or has no type, and `NotOwned` if the ownership check fails.
        """
        self._require_owned()
        return self._contents(key)

    def _contents(self, key: int) -> Any:
        if self._saved is None:
            return self.chosen(key).contents
        if key not in self._saved.roots or key not in self.types:
            known = ", ".join(map(str, self.keys())) or "none"
            raise KeyError(f"{key}: {'give its type' if key in self._saved.roots else f'the image has keys {known}'}")
        return self.types[key].load(self._heap.content(self._saved.roots[key]), self._heap)

    def found(self, key: int) -> list[Found]:
        """Return all structures of the type of a key that were found by walking the blocks. O(n), once."""
        self._check_once()
        return self._found.get(key, [])

    def chosen(self, key: int) -> Found:
        """Return the structure that a key of the types stands for, of an image that was not saved. O(n), once.

        Keys of the same type stand for the structures of that type in the order of their addresses. Raises `KeyError` if
        there are not as many.
        """
        if key not in self.types:
            raise KeyError(key)
        found = self.found(key)
        ordered = sorted([one for one in found if one.certain] or found, key=lambda one: one.pointer)
        same = sorted(other for other, tp in self.types.items() if tp == self.types[key])
        if len(ordered) != len(same):
            raise KeyError(
                f"{key}: the image was not saved, and {len(ordered)} structures in it can be a {self.types[key]}, at bytes "
                f"{[one.pointer for one in ordered]}; give the type to as many keys: they stand for them in this order"
            )
        return ordered[same.index(key)]

    def _require_owned(self) -> None:
        self._check_once()
        if self.unchecked or self.owned:
            return
        broken = [str(one) for one in self._findings if one.ownership]
        said = "; ".join(broken[:_SAID]) + (f"; and {self._findings.ownership - _SAID:,} more" if len(broken) > _SAID else "")
        raise NotOwned(
            f"the ownership check of the image fails, so its types or its pointer width ({self.width}) are other ones, or it is "
            f"damaged: {said}. Mend the types, or read what there is with unchecked=True (--force){self._hint()}"
        )

    def _hint(self) -> str:
        other = self._with_other_width()
        return f". With width={other.width} the check succeeds" if self._saved and self._is_whole and other.owned else ""

    # ---- the other width ----

    def _with_other_width(self) -> IsmImage:
        """Return the same image, read with the other pointer width."""
        made = copy(self)
        made.width, made.unchecked, made.blocks = WIDTHS[self.width == WIDTHS[0]], True, self.blocks.unowned()
        made._heap, made._findings, made._notes, made._found = Heap(made.blocks, made.width), Findings(), [], {}
        made._checked = made._compares_widths = False
        for one in self._of_blocks:
            made._findings.note(one)
        return made

    def _compare_widths(self) -> None:
        """Refuse width 4 for an image that width 8 explains as well, with other contents.

        A small one of a 64-bit host can look like one of a canister, with its numbers shifted by four bytes: four zeros of a length
        become the first number. So one of a canister looks like one of a host only if it is small and begins with such zeros.
        """
        if self.width != WIDTHS[0] or self._findings.ownership or not self._compares_widths:
            return
        other = self._with_other_width()
        if self._saved is None:  # vecs are never certain, and a table is not without its hashes, which the width changes
            other.types = {key: tp for key, tp in self.types.items() if isinstance(tp, (TreeType, LogType))}
        if other.owned and not all(is_alike(*pair) for key in other.types for pair in self._pairs(other, key)):
            text = f"it fits width={other.width}, too, with other contents; if it is one of a canister, insist: unchecked=True (--force)"
            self._findings.note(Finding("", text, 0))

    def _pairs(self, other: IsmImage, key: int) -> Iterable[tuple[Any, Any]]:
        """Return what both find under a key, in the same places."""
        if self._saved is None:
            places = {one.pointer: one.contents for one in self._found.get(key, []) if one.certain}
            return [(places[one.pointer], one.contents) for one in other._found.get(key, []) if one.certain and one.pointer in places]
        return [(self._contents(key), other._contents(key))] if key in self._saved.roots else []

    # ---- the check ----

    def check(self) -> list[Finding]:
        """Return every broken rule, at most 1,000 that make the ownership check fail and as many others. O(n), once.

        They are of blocks, free lists, ownership and structures. What the crate leaves behind without harm
        (`Fault.STALE_PREVIOUS`, `LOG_CAPACITIES`, `DEAD_TABLE`) is in `notes`, and so is what may be chance.
        """
        self._check_once()
        return list(self._findings)

    @property
    def notes(self) -> list[Finding]:
        """Return what is known to be wrong without harm, and what may be chance, or a sign of another type. O(n), once."""
        self._check_once()
        return list(self._notes)

    @property
    def owned(self) -> bool:
        """Return whether the ownership check succeeds: contents are what the types say. O(n), once."""
        self._check_once()
        return not self._findings.ownership

    def faults(self) -> list[Fault]:
        """Return the known faults of the crate that show in the image, harmless ones included. O(n), once."""
        self._check_once()
        seen = {one.fault for one in [*self._findings, *self._notes] if one.fault is not None}
        return [fault for fault in Fault if fault in seen]

    def _check_once(self) -> None:
        if self._checked:
            return
        self._checked = True
        if self._saved is None:
            self._carve()
        else:
            self._check_saved(self._saved)
        self._name_overwritten()
        self._compare_widths()
        self._notes += [one for one in self._findings if _is_harmless(one)]
        self._findings[:] = [one for one in self._findings if not _is_harmless(one)]

    def _check_saved(self, saved: Saved) -> None:
        self._check_lists(saved)
        self._claim_root(saved.pointer)
        unknown = sorted(saved.roots.keys() - self.types.keys())
        for key in unknown:
            text = "the image has it, and no type was given for it, so what it owns is not known"
            self._findings.note(Finding(f"key {key}", text, saved.roots[key]))
        for key in sorted(saved.roots.keys() & self.types.keys()):
            label = f"key {key}"
            claims = Claims(self._heap, label, self._findings)
            BoxType(self.types[key]).own(saved.roots[key].to_bytes(8, "little"), claims)
            claims.finish()
        for key in sorted(self.types.keys() - saved.roots.keys()):
            self._findings.note(Finding(f"key {key}", "a type was given for it, and the image has no such key", 0))
        if not unknown:
            self._note_unowned()

    def _note_unowned(self) -> None:
        fault = None if self._findings.ownership else Fault.LEAKED_BLOCK
        for index in self.blocks.allocated():
            if not self.blocks.owned[index]:
                text = f"an allocated block of {self.blocks.size(index)} bytes is owned by nothing"
                self._findings.note(Finding("", text, self.blocks.starts[index], fault))

    def _claim_root(self, pointer: int) -> None:
        index = self.blocks.index(pointer)
        if index >= 0:
            self.blocks.owned[index] = 1

    def _check_lists(self, saved: Saved) -> None:
        """Compare free lists and sums with the blocks."""
        expected = (("max_ptr", saved.max_ptr, self.blocks.end), ("available_size", saved.available_size, self.blocks.end - 8))
        free = self.blocks.free()
        for name, found, wanted in (*expected, ("free_size", saved.free_size, sum(size + 16 for _, size in free))):
            if found != wanted:
                self._findings.note(Finding("saved allocator", f"{name} is {found}, the blocks say {wanted}", saved.pointer))
        for pointer, size in sorted(set(saved.free) ^ set(free))[:_SHOWN]:
            listed = (pointer, size) in saved.free
            text = f"a free block of {size} bytes is {'in the lists only' if listed else 'not in the lists'}"
            self._findings.note(Finding("saved allocator", text, pointer))

    def _carve(self) -> None:
        carver = Carver(self._heap, self._findings)
        self._found = carver.find(self.types)
        left = sum(not self.blocks.owned[index] for index in self.blocks.allocated())
        wiped = self.blocks.wiped()
        if wiped:
            self._notes.append(Finding("", f"one free block lies over {wiped} old ones", 8, Fault.WIPED, ownership=False))
        if left:
            text = (
                f"allocated blocks that belong to no structure that was found: {left} (vecs and boxes whose roots are lost, or other types)"
            )
            self._notes.append(Finding("", text, 0, ownership=False))

    def _name_overwritten(self) -> None:
        """Name the fault of size words that a vec destroyed when it wrote past its block."""
        full = any(one.fault is Fault.VEC_CAPACITY for one in self._findings)
        for i, one in enumerate(self._findings):
            if one.text.startswith("the size words between") and full:
                self._findings[i] = Finding(one.structure, one.text, one.address, Fault.VEC_CAPACITY, one.ownership)

    # ---- what can be read ----

    def salvage(self, key: int, lost: list[Finding] | None = None) -> Iterable[Any]:
        """Iterate over all entries under a key that can be read, each once, whatever the check says. O(n).

        Damaged trees are read from all their leaves. What cannot be read is appended to `lost`, at most 1,000 findings.
        """
        self._check_once()
        note = note_into([] if lost is None else lost, key)
        try:
            contents = self._contents(key)
        except Broken as error:
            note(error)
            return iter(())
        if self._saved is not None and self._findings.ownership and isinstance(contents, TreeContents):
            contents = self._with_loose_leaves(key, contents, note)
        entries = getattr(contents, "entries", None)
        return iter([contents]) if entries is None else entries(note)

    def _with_loose_leaves(self, key: int, contents: TreeContents, note: Callable[[Broken], None]) -> TreeContents:
        """Return a damaged tree with the leaves that its nodes have lost, if there is no other tree whose they can be."""
        if not any(one.structure == f"key {key}" and one.ownership for one in self._findings):
            return contents
        leaves = Carver(self._heap, Findings()).loose_leaves(contents.tree)
        is_only = self._is_only_tree(key, contents.tree)
        text = "what the tree does not have is taken from it" if is_only else "it may be of this tree or of another one, and is left out"
        for leaf in leaves:
            note(Broken(f"a leaf that no node leads to; {text}", leaf, Fault.STALE_STACK))
        return contents.with_leaves(leaves) if is_only else contents

    def _is_only_tree(self, key: int, tree: TreeType) -> bool:
        """Return whether the image has no other tree, neither under another key nor in the entries of this one."""
        others = [self.types.get(other) for other in {*self.keys(), *self.types} - {key}]
        return all(tp is not None and not has_trees(tp) for tp in [*others, tree.key]) and not (tree.value and has_trees(tree.value))
