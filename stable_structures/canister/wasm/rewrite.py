# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLR2004 - codes and sizes of the Wasm format
"""Rewrite a canister's module so that it can be rolled back and its instructions are counted.

- Memory, the first table and each mutable global become exports (`ss memory`, `ss table`, `ss global N`), so that the harness can
  put them back; (start) becomes one too (`ss start`), since it runs once and instances are made often. No index changes.
- A global `ss counter` counts down. Each straight run of instructions is charged at its beginning, with the platform's weights; each
  function costs one more; at the beginning of a function or a loop the module traps (`unreachable`) if the counter is
  below zero. Two functions at the end charge what an operation on many bytes costs for each.
- An export `ss writes tables` says that the code changes what an instance has beside memory and globals: then the platform's rule that
  a message begins with a new instance shows, and one is made.

The module must be valid (the engine has validated it), so the code is read without checks.
"""

from __future__ import annotations

from typing import Final

from ...encodings.leb128 import sleb, uleb
from ...encodings.wasm import Reader, sections
from .binary import GLOBAL, MEMORY, TABLE, Module

VERSION: Final = 1
"""Increase it with every change here, so that modules compiled by another version are not used."""


# ---- what an instruction costs ----


def _costs() -> list[int]:
    cost = [1] * 256
    weights = {
        0: (0x02, 0x03, 0x05, 0x0B),
        2: (0x04, 0x0C, 0x0D, 0x0E, 0x23, 0x24, 0x8D, 0x8E, 0x8F, 0x90, 0x92, 0x93, 0x94, 0x9B, 0x9C, 0x9D, 0x9E, 0xA0, 0xA1, 0xA2, 0x98),
        3: (*range(0x5B, 0x67), 0x12, 0x95, 0xA6, 0xB2, 0xB4, 0xB7, 0xB9),
        5: (0x10, 0x25, 0x26, 0xA3, 0x91, 0x9F, 0xD1),
        10: (0x11, 0x6D, 0x6E, 0x6F, 0x70, 0x7F, 0x80, 0x81, 0x82),
        16: (0xB3, 0xB5, 0xB8, 0xBA),
        18: (0x96, 0x97, 0xA4, 0xA5),
        20: (0x3F, 0xA8, 0xA9, 0xAA, 0xAB, 0xAE, 0xAF, 0xB0, 0xB1),
        60: (0x13,),
        130: (0xD2,),
        300: (0x40,),
    }
    for weight, operations in weights.items():
        for operation in operations:
            cost[operation] = weight
    cost[0x9F] = 8
    return cost


_COST: Final = _costs()
_BULK_COST: Final = {**dict.fromkeys(range(8), 20), **dict.fromkeys((8, 10, 11, 12, 14, 16, 17), 100), 9: 300, 13: 300, 15: 300}
_BULK_OPERANDS: Final = {8: 2, 9: 1, 10: 2, 11: 1, 12: 2, 13: 1, 14: 2, 15: 1, 16: 1, 17: 1}
_CHARGED_BY_SIZE: Final = (8, 10, 11)
_WRITE_TABLES: Final = (9, 12, 13, 14, 15, 17)

_ONE_NUMBER: Final = frozenset(
    (0x02, 0x03, 0x04, 0x0C, 0x0D, 0x10, 0x12, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x3F, 0x40, 0x41, 0x42, 0xD0, 0xD2)
)
_TWO_NUMBERS: Final = frozenset((0x11, 0x13))
_ENDS_RUN: Final = frozenset((0x00, 0x03, 0x04, 0x05, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F))
_LOOP: Final = 0x03


class _Meter:
    """Rewrites the code of one module."""

    def __init__(self, counter: int, by_size: dict[bool, int], *, is64: bool) -> None:
        self.counter = uleb(counter)
        self.by_size = {wide: b"\x10" + uleb(index) for wide, index in by_size.items()}
        self.is64 = is64
        self.writes_tables = False
        self.check = b"\x23" + self.counter + b"\x42\x00\x53\x04\x40\x00\x0b"

    def charge(self, cost: int) -> bytes:
        """Take a cost from the counter."""
        return b"\x23" + self.counter + b"\x42" + sleb(cost) + b"\x7d\x24" + self.counter if cost else b""

    def body(self, code: bytes) -> bytes:
        """Return the code of a function with what counts its instructions. O(size)."""
        at = _after_locals(code)
        out: list[bytes] = [code[:at]]
        run: list[bytes] = []  # what is done in the straight run that is open, after its charge
        start, cost, checks, end = at, 1, True, len(code)
        while at < end:
            operation = code[at]
            begins = at
            at += 1
            if operation == 0xFC:
                at, more = self._bulk(code, at)
                cost += more[0]
                if more[1]:
                    run += [code[start:begins], more[1]]
                    start = begins
                continue
            at, more_cost = self._skip(code, at, operation)
            cost += more_cost
            if operation in _ENDS_RUN:
                out += [self.charge(cost), self.check if checks else b"", *run, code[start:at]]
                run, start, cost, checks = [], at, 0, operation == _LOOP
        return b"".join(out)

    def _skip(self, code: bytes, at: int, operation: int) -> tuple[int, int]:  # noqa: PLR0911 - one for each form
        """Return where the instruction ends, and what it costs."""
        if operation in _ONE_NUMBER:
            if operation == 0x26:
                self.writes_tables = True
            return _after_number(code, at), _COST[operation]
        if 0x28 <= operation <= 0x3E:
            return _after_address(code, at), 2 if self.is64 else 1
        if operation == 0x0E:
            reader = Reader(code, at)
            for _ in range(reader.number() + 1):
                reader.number()
            return reader.at, _COST[operation]
        if operation in _TWO_NUMBERS:
            return _after_number(code, _after_number(code, at)), _COST[operation]
        if operation == 0x1C:
            reader = Reader(code, at)
            reader.take(reader.number())
            return reader.at, 1
        if operation == 0xFD:
            return self._vector(code, at)
        return at + {0x43: 4, 0x44: 8}.get(operation, 0), _COST[operation]

    def _bulk(self, code: bytes, at: int) -> tuple[int, tuple[int, bytes]]:
        """Return an operation with the prefix FC: its end, its cost, and the code that charges it by size."""
        reader = Reader(code, at)
        operation = reader.number()
        for _ in range(_BULK_OPERANDS.get(operation, 0)):
            reader.number()
        if operation in _WRITE_TABLES:
            self.writes_tables = True
        wide = self.is64 and operation != 8  # the size of a data segment always has 32 bits
        return reader.at, (_BULK_COST[operation], self.by_size[wide] if operation in _CHARGED_BY_SIZE else b"")

    def _vector(self, code: bytes, at: int) -> tuple[int, int]:
        """Return an operation with the prefix FD."""
        reader = Reader(code, at)
        operation = reader.number()
        loads = operation <= 11 or 84 <= operation <= 93
        if loads:
            reader.at = _after_address(code, reader.at)
            reader.at += 84 <= operation <= 91
        elif operation in (12, 13):
            reader.at += 16
        elif 21 <= operation <= 34:
            reader.at += 1
        return reader.at, (2 if self.is64 else 1) if loads else 1


def _after_locals(code: bytes) -> int:
    reader = Reader(code)
    for _ in range(reader.number()):
        reader.number()
        reader.byte()
    return reader.at


def _after_number(code: bytes, at: int) -> int:
    while code[at] & 128:
        at += 1
    return at + 1


def _after_address(code: bytes, at: int) -> int:
    """Return the position after an alignment, an optional memory index, and an offset."""
    if code[at] & 64:
        at = _after_number(code, at)
    return _after_number(code, _after_number(code, at))


# ---- the module ----


def rewrite(module: Module) -> bytes:
    """Return the module as the engine receives it. O(size)."""
    counter = module.imported_globals + module.globals
    by_size = {False: len(module.functions), True: len(module.functions) + 1}
    meter = _Meter(counter, by_size, is64=module.is64)
    content = {kind: body for kind, body in sections(module.data) if kind not in (0, 8)}
    code = _code(content.get(10, b"\0"), meter)
    types, first_type = _append(content.get(1, b"\0"), b"\x60\x01\x7f\x01\x7f", b"\x60\x01\x7e\x01\x7e")
    content[1] = types
    content[3] = _append(content.get(3, b"\0"), uleb(first_type), uleb(first_type + 1))[0]
    content[6] = _append(content.get(6, b"\0"), b"\x7e\x01\x42\x00\x0b")[0]
    content[7] = _append(content.get(7, b"\0"), *_exports(module, counter, writes_tables=meter.writes_tables))[0]
    content[10] = code
    order = (1, 2, 3, 4, 5, 13, 6, 7, 9, 12, 10, 11)
    return module.data[:8] + b"".join(bytes([kind]) + uleb(len(content[kind])) + content[kind] for kind in order if kind in content)


def _append(content: bytes, *items: bytes) -> tuple[bytes, int]:
    """Return a section with more items; and its old number of items."""
    reader = Reader(content)
    count = reader.number()
    return uleb(count + len(items)) + content[reader.at :] + b"".join(items), count


def _exports(module: Module, counter: int, *, writes_tables: bool) -> list[bytes]:
    named = [("ss counter", GLOBAL, counter)]
    named += [(f"ss global {one.number}", GLOBAL, one.number) for one in module.mutable]
    if module.has_memory:
        named.append(("ss memory", MEMORY, 0))
    if module.has_table:
        named.append(("ss table", TABLE, 0))
    if module.start is not None:
        named.append(("ss start", 0, module.start))
    if writes_tables:
        named.append(("ss writes tables", GLOBAL, counter))
    return [uleb(len(name)) + name.encode() + bytes([kind]) + uleb(index) for name, kind, index in named]


def _code(content: bytes, meter: _Meter) -> bytes:
    reader = Reader(content)
    bodies = [meter.body(reader.take(reader.number())) for _ in range(reader.number())]
    bodies += [_by_size(meter, wide=False), _by_size(meter, wide=True)]
    return uleb(len(bodies)) + b"".join(uleb(len(body)) + body for body in bodies)


def _by_size(meter: _Meter, *, wide: bool) -> bytes:
    """Return code (size) -> size that charges one for each byte, and traps if the counter then is below zero."""
    size = b"\x20\x00" + (b"" if wide else b"\xad")
    return b"\x00\x23" + meter.counter + size + b"\x7d\x24" + meter.counter + meter.check + b"\x20\x00\x0b"
