# ruff: noqa: C901 - one branch for each operation of a trace
"""Replays traces of ic-stable-memory with the model in ism_crate.py, and yields the state at every point whose digest it can hold."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from stable_structures import Array, Principal, f64, i32, i64, u8, u16, u32, u64, u128
from stable_structures.rescue import (
    Int,
    Nat,
    SBox,
    SBTreeMap,
    SBTreeSet,
    SCertifiedBTreeMap,
    SHashMap,
    SHashSet,
    SLog,
    SVec,
    char,
    isize,
    usize,
)
from stable_structures.rescue.annotations import STRING, resolve
from stable_structures.rescue.containers import Contents, Mapping
from stable_structures.rescue.saved import decode

from . import ism_crate
from .ism_crate import Allocator, Box, Fixed, FixedBox, Log, OutOfMemory, Table, Tree, Vec

GOLDEN = Path(__file__).parents[1] / "golden" / "ism"


@dataclass(frozen=True)
class St:
    a: u16
    b: u64 | None
    c: bool
    d: tuple[u8, u32]


@dataclass(frozen=True)
class KStruct:
    a: u16
    b: Array(3)
    c: bool | None


@dataclass(frozen=True)
class A:
    pass


@dataclass(frozen=True)
class B:
    value: u32


@dataclass(frozen=True)
class C:
    x: u8
    y: u64


En = A | B | C

PARTS = {
    "u8": u8, "u32": u32, "u64": u64, "u128": u128, "i32": i32, "i64": i64, "f64": f64, "bool": bool, "unit": u16,
    "char": char, "usize": usize, "isize": isize, "nat": Nat, "int": Int, "principal": Principal, "arr": Array(20),
    "struct": St, "kstruct": KStruct, "enum": En, "kenum": En, "opt": u32 | None,
    "boxstr": SBox[str], "boxbytes": SBox[bytes], "boxu64": SBox[u64],
}  # fmt: skip
BUGS = {
    "bt_bug_rev": "bt_u64_u64", "bt_bug_stack": "bt_u64_u64", "bt_bug_stack2": "bt_u64_u64", "hm_bug_retain": "hm_u64_u64",
    "vec_bug_oom": "vec_principal", "log_bug_oom": "log_principal", "cm": "cm_u64_u64", "nest": "nest_u64_boxstr",
}  # fmt: skip
CANISTER = [
    ("bal", "hm_principal_u64"), ("names", "bt_boxstr_boxbytes"), ("hist", "log_ltuple"), ("tags", "bs_u32"),
    ("list", "vec_boxstr"), ("cert", "cm_u64_u64"), ("seen", "hs_u64"),
]  # fmt: skip
NOTE = "a note kept over upgrades"


def part_type(form, word):
    if word == "tuple":
        return {"vec": tuple[u64, bool, bool], "hm": tuple[u32, u16]}[form]
    return tuple[u32, u16] if word == "ltuple" else PARTS[word]


def annotation(name):
    """The structure of a trace as an annotation."""
    form, *words = BUGS.get(name, name).split("_")
    parts = [part_type(form, word) for word in words]
    if form == "nest":
        return SHashMap[u64, SVec[SBox[str]]]
    kinds = {"bt": SBTreeMap, "bs": SBTreeSet, "cm": SCertifiedBTreeMap, "hm": SHashMap, "hs": SHashSet, "vec": SVec, "log": SLog}
    return kinds[form][tuple(parts)]


def element(tp):
    made = resolve(tp)
    if made.name.startswith("SBox"):
        inner = made.inner
        return FixedBox(inner) if inner.is_fixed() else Box(inner, is_str=inner is STRING)
    return Fixed(made)


class SVecElement:
    """SVec<SBox<String>> as the value of a map."""

    def __init__(self):
        self.n = 8 + 2 * ism_crate.W
        self.part = element(SBox[str])

    def drop(self, a, raw):
        Vec.load(a, self.part, raw).drop()


def structure(a, name, capacity=None):
    """An empty structure of a trace."""
    form, *words = BUGS.get(name, name).split("_")
    if form == "nest":
        return Table(a, element(u64), SVecElement())
    parts = [element(part_type(form, word)) for word in words]
    if form in ("bs", "hs"):
        parts.append(element(None))
    if form in ("bt", "bs", "cm"):
        return Tree(a, *parts, certified=form == "cm")
    return {"vec": Vec, "hm": Table, "hs": Table}[form](a, *parts, capacity) if form != "log" else Log(a, *parts)


class Replay:
    """One trace, operation by operation; `mirror` is what the structure holds, kept apart from the model's bytes."""

    def __init__(self, path):
        lines = gzip.decompress(Path(path).read_bytes()).decode().splitlines()
        self.name = Path(path).name.removesuffix(".trace.gz")
        self.head, self.lines = json.loads(lines[0]), lines[1:]
        self.structure_name = self.head["structure"]
        self.a = Allocator(self.head["max_pages"])
        self.trapped = False
        self.digests = ism_crate.W == 4
        self.slots = {}
        names = CANISTER if self.structure_name == "canister" else [("", self.structure_name)]
        self.forms = dict(names)
        alone = self.structure_name in ("sbox", "alloc")
        self.things = {} if alone else {short: structure(self.a, full) for short, full in names}
        self.mirrors = {short: self._empty(full) for short, full in names}
        self.order = None
        self.damaged = False

    @staticmethod
    def _empty(full):
        return [] if full.split("_")[0] in ("vec", "log") else {}

    def play(self):
        """Yields the index of each line that is done."""
        for number, line in enumerate(self.lines):
            if line.startswith("#"):
                _, pages, digest = line.split()
                assert not self.digests or len(self.a.mem) == int(pages) * 65536, (self.name, number, line)
                assert not self.digests or hashlib.sha256(self.a.mem).hexdigest() == digest, (self.name, number)
                yield number
            elif line.startswith("trap") or self.trapped:
                self.trapped = True
            elif not line.startswith("!"):
                self._line(line, number)

    def _line(self, line, number):
        words = line.split()
        short = words.pop(0)[1:] if line.startswith("@") else ""
        op, args = words[0], words[1:]
        if self.structure_name == "alloc":
            self._alloc(op, args)
        elif self.structure_name == "sbox":
            self._sbox(op, args)
        elif self.structure_name == "canister" and not short:
            self._canister(op, args)
        elif op == "U":
            self.reload(short, args)
        elif op in "nSabghkRpweflh" and not self._is_push(short, op):
            self._look(short, op, args, number)
        else:
            try:
                getattr(self, f"_{self.forms[short].split('_')[0]}")(short, op, args)
            except OutOfMemory:
                assert args[-1] == "E", (self.name, number, line)

    def _is_push(self, short, op):
        form = self.forms[short].split("_")[0]
        return (op == "p" and form in ("vec", "log")) or (op == "e" and form == "nest")

    def _look(self, short, op, args, number):
        thing, mirror = self.things[short], self.mirrors[short]
        if op == "n" and not self.damaged:
            assert len(mirror) == int(args[0]) == thing.length, (self.name, number)
        if not self.digests:
            return
        if op == "a" or (op == "b" and isinstance(thing, Log)):
            lines = self.lines_of(thing)
            assert len(lines) == int(args[0]), (self.name, number)
            digest = hashlib.sha256("\n".join(lines if op == "a" else lines[::-1]).encode()).hexdigest()
            assert digest == args[1], (self.name, number)
        if op == "R":
            assert thing.root_hash().hex() == args[0], (self.name, number)

    def lines_of(self, thing):
        """All elements in order, as the traces write them."""
        if isinstance(thing, (Vec, Log)):
            return [thing.part.token(self.a, raw) for raw in thing.raws()]
        pairs = [(thing.key.token(self.a, k), thing.value.token(self.a, v)) for k, v in thing.raws()]
        return [k if thing.value.n == 0 else f"{k} {v}" for k, v in pairs]

    # ---- structures ----

    def fresh(self, short, capacity=None):
        self.things[short].drop()
        self.things[short] = structure(self.a, self.forms[short])
        self.mirrors[short] = self._empty(self.forms[short])
        if capacity is not None:
            self.things[short] = structure(self.a, self.forms[short], capacity)

    def reload(self, short, args):
        a, thing = self.a, self.things[short]
        header = thing.header()
        try:
            p = a.allocate(len(header))
        except OutOfMemory:
            assert args[0] == "E"
            return
        a.write(p + 8, header)
        a.roots = {0: p}
        try:
            a.pre_upgrade()
        except OutOfMemory:
            assert args[0] == "P"
        else:
            assert args[0] not in "EP"
            a.post_upgrade()
        a.roots = {}
        a.deallocate(p)
        if isinstance(thing, Tree):
            thing.stack, thing.levels, thing.max = [], [[]], 0

    def _pair(self, thing, k, v):
        raw_key = thing.key.make(self.a, k)
        try:
            return raw_key, thing.value.make(self.a, v)
        except OutOfMemory:
            thing.key.drop(self.a, raw_key)
            raise

    def _hm(self, short, op, args):
        thing, mirror = self.things[short], self.mirrors[short]
        if op in "zy":
            self.fresh(short, int(args[0]) if op == "y" else None)
        elif op == "c":
            thing.clear()
            mirror.clear()
        elif op == "C":
            thing.commit()
        elif op == "i":
            is_set = self.forms[short].split("_")[0] in ("hs", "bs")
            k, v = args[0], "=" if is_set else args[1]
            raws = self._pair(thing, k, v)
            try:
                old = thing.insert(*raws)
            except OutOfMemory:
                thing.key.drop(self.a, raws[0])
                thing.value.drop(self.a, raws[1])
                raise
            if old is not None:
                thing.value.drop(self.a, old)
            mirror[k] = v
        elif op == "r":
            old = thing.remove(thing.key.value_of(args[0]))
            if old is not None:
                thing.value.drop(self.a, old)
            mirror.pop(args[0], None)
        elif op == "m":
            self._change(thing, mirror, args)
        elif op == "t":
            n = int(args[0])
            thing.retain(lambda key: (key & 255) % n != 0)
            self.damaged = self.damaged or any(thing.find(thing.key.value(self.a, k)) is None for k, _ in thing.raws())
            for k in [k for k in mirror if not (thing.key.value_of(k) & 255) % n]:
                del mirror[k]
        else:
            raise AssertionError(op)

    _bt = _bs = _hs = _cm = _hm

    def _change(self, thing, mirror, args):
        found = thing.find(thing.key.value_of(args[0]))
        if found is None:
            thing.value.drop(self.a, thing.value.make(self.a, args[1]))
            if isinstance(thing, Tree) and thing.certified:
                thing.commit()
            return
        mirror[args[0]] = args[1]
        at = thing.values_at(found[0]) + found[1] * thing.V if isinstance(thing, Tree) else thing.value_at(found)
        self._assign(thing.value, at, args[1])
        if isinstance(thing, Tree) and thing.certified:
            thing.touched_path(thing.key.value_of(args[0]))

    def _assign(self, part, at, token):
        new = part.make(self.a, token)
        old = self.a.read(at, part.n)
        self.a.write(at, new)
        part.drop(self.a, old)

    def _vec(self, short, op, args):
        thing, mirror = self.things[short], self.mirrors[short]
        part = thing.part
        if op in "zy":
            self.fresh(short, int(args[0]) if op == "y" else None)
        elif op == "c":
            thing.clear()
            mirror.clear()
        elif op in "pi":
            raw = part.make(self.a, args[0 if op == "p" else 1])
            i = len(mirror) if op == "p" else int(args[0])
            try:
                thing.push(raw) if op == "p" else thing.insert(i, raw)
            except OutOfMemory:
                part.drop(self.a, raw)
                raise
            mirror.insert(i, args[0 if op == "p" else 1])
        elif op == "q":
            raw = thing.pop()
            if raw is not None:
                part.drop(self.a, raw)
                mirror.pop()
        elif op == "r":
            part.drop(self.a, thing.remove(int(args[0])))
            mirror.pop(int(args[0]))
        elif op == "x":
            i, j = int(args[0]), int(args[1])
            a, b = thing.raw(i), thing.raw(j)
            self.a.write(thing.at(j), a)
            self.a.write(thing.at(i), b)
            mirror[i], mirror[j] = mirror[j], mirror[i]
        elif op == "s":
            i = int(args[0])
            old = thing.raw(i)
            self.a.write(thing.at(i), part.make(self.a, args[1]))
            part.drop(self.a, old)
            mirror[i] = args[1]
        elif op == "m":
            i = int(args[0])
            if i < len(mirror):
                self._assign(part, thing.at(i), args[1])
                mirror[i] = args[1]
        else:
            raise AssertionError(op)

    def _log(self, short, op, args):
        thing, mirror = self.things[short], self.mirrors[short]
        if op == "z":
            self.fresh(short)
        elif op == "c":
            thing.clear()
            mirror.clear()
        elif op == "p":
            raw = thing.part.make(self.a, args[0])
            try:
                thing.push(raw)
            except OutOfMemory:
                thing.part.drop(self.a, raw)
                raise
            mirror.append(args[0])
        elif op == "q":
            raw = thing.pop()
            if raw is not None:
                thing.part.drop(self.a, raw)
                mirror.pop()
        elif op == "m":
            i = int(args[0])
            if i < len(mirror):
                self._assign(thing.part, thing.places()[i], args[1])
                mirror[i] = args[1]
        else:
            raise AssertionError(op)

    def _nest(self, short, op, args):
        thing, mirror = self.things[short], self.mirrors[short]
        key = None if op == "z" else thing.key.value_of(args[0])
        if op == "z":
            self.fresh(short)
        elif op == "i":
            old = thing.insert(thing.key.make(self.a, args[0]), Vec(self.a, thing.value.part).header())
            if old is not None:
                thing.value.drop(self.a, old)
            mirror[args[0]] = []
        elif op == "r":
            old = thing.remove(key)
            if old is not None:
                thing.value.drop(self.a, old)
            mirror.pop(args[0], None)
        elif op in "eq":
            found = thing.find(key)
            if found is None:
                return
            vec = Vec.load(self.a, thing.value.part, thing.raw_value(found))
            if op == "e":
                vec.push(vec.part.make(self.a, args[1]))
                mirror[args[0]].append(args[1])
            elif vec.length:
                vec.part.drop(self.a, vec.pop())
                mirror[args[0]].pop()
            self.a.write(thing.value_at(found), vec.header())

    # ---- boxes, blocks, a canister ----

    def _sbox(self, op, args):
        a, part = self.a, element(SBox[str])
        i = int(args[0]) if op in "nwdxg" else 0
        if op == "n":
            if i in self.slots:
                part.drop(a, self.slots.pop(i)[0])
            try:
                self.slots[i] = part.make(a, args[1]), args[1]
            except OutOfMemory:
                assert args[-1] == "E"
        elif op == "w":
            if i not in self.slots:
                return
            p = int.from_bytes(self.slots[i][0], "little")
            data = part.value_of(args[1]).encode()
            data = len(data).to_bytes(ism_crate.W, "little") + data
            try:
                if len(data) > a.size(p):
                    p = a.reallocate(p, len(data))
            except OutOfMemory:
                assert args[-1] == "E"
                return
            a.write(p + 8, data)
            self.slots[i] = (p.to_bytes(8, "little"), args[1])
        elif op in "dx" and i in self.slots:
            part.drop(a, self.slots.pop(i)[0])
        elif op == "U":
            self._upgrade({i + 3: int.from_bytes(raw, "little") for i, (raw, _) in sorted(self.slots.items())}, args)

    def _upgrade(self, roots, args, *, back=True):
        self.a.roots = roots
        if args[0] == "P":
            with pytest.raises(OutOfMemory):
                self.a.pre_upgrade()
        else:
            self.a.pre_upgrade(order_of(bytes.fromhex(args[0]), set(roots)) if roots else None)
            if back:
                self.a.post_upgrade()
        if back:
            self.a.roots = {}

    def _alloc(self, op, args):
        a = self.a
        if op == "A":
            try:
                p = a.allocate(int(args[0]))
            except OutOfMemory:
                assert args[1] == "E", args
            else:
                assert [p, a.size(p)] == [int(x) for x in args[1:]]
        elif op == "D":
            a.deallocate(int(args[0]))
        elif op == "R":
            try:
                p = a.reallocate(int(args[0]), int(args[1]))
            except OutOfMemory:
                assert args[2] == "E", args
            else:
                assert [p, a.size(p)] == [int(x) for x in args[2:]]
        elif op == "M":
            assert a.reserve(int(args[0])) == (args[1] == "1")
        elif op == "W":
            length, seed = map(int, args[2][1:].split("."))
            a.write(int(args[0]) + 8 + int(args[1]), bytes((seed + 31 * j) % 256 for j in range(length)))
        elif op == "U":
            self._upgrade({}, args)
        elif op == "S":
            assert (a.available, a.free_size) == (int(args[0]), int(args[1]))

    def _canister(self, op, args):
        a = self.a
        roots = {}
        for key, (short, _) in enumerate(CANISTER, 1):
            header = self.things[short].header()
            roots[key] = a.allocate(len(header))
            a.write(roots[key] + 8, header)
        data = len(NOTE).to_bytes(ism_crate.W, "little") + NOTE.encode()
        roots[8] = a.allocate(len(data))
        a.write(roots[8] + 8, data)
        self._upgrade(roots, args, back=op == "U")
        if op == "U":
            for p in roots.values():
                a.deallocate(p)
            for thing in self.things.values():
                if isinstance(thing, Tree):
                    thing.stack, thing.levels, thing.max = [], [[]], 0

    # ---- images of a moment ----

    def saved_image(self):
        """The memory as pre_upgrade would leave it now, with the types that open it."""
        twin = copy.deepcopy(self.a)
        twin.max_pages = 0
        if self.structure_name == "sbox":
            roots, types = (
                {i + 3: int.from_bytes(raw, "little") for i, (raw, _) in self.slots.items()},
                dict.fromkeys([i + 3 for i in self.slots], str),
            )
        elif self.structure_name == "alloc":
            roots = types = {}
        elif self.a.roots:  # the last line of a canister: it is saved already
            return bytes(self.a.mem), {**{key: annotation(full) for key, (_, full) in enumerate(CANISTER, 1)}, len(CANISTER) + 1: str}
        else:
            roots, types = {}, {}
            for key, (short, thing) in enumerate(self.things.items()):
                header = thing.header()
                roots[key] = twin.allocate(len(header))
                twin.write(roots[key] + 8, header)
                types[key] = annotation(self.forms[short])
        twin.roots = roots
        twin.pre_upgrade()
        return bytes(twin.mem), types

    def expected(self):
        """What each key holds, as values: a list, or (key, value) pairs of a map."""
        if self.structure_name == "sbox":
            return {i + 3: element(SBox[str]).value_of(token) for i, (_, token) in self.slots.items()}
        if self.a.roots:
            return {**{key: self._values(short) for key, (short, _) in enumerate(CANISTER, 1)}, len(CANISTER) + 1: NOTE}
        return {key: self._values(short) for key, short in enumerate(self.things)}

    def _values(self, short):
        thing, mirror = self.things[short], self.mirrors[short]
        form = self.forms[short].split("_")[0]
        if form in ("vec", "log"):
            return [thing.part.value_of(token) for token in mirror]
        if form == "nest":
            return {thing.key.value_of(k): [thing.value.part.value_of(t) for t in v] for k, v in mirror.items()}
        if form in ("bs", "hs"):
            return {thing.key.value_of(k) for k in mirror}
        return {thing.key.value_of(k): thing.value.value_of(v) for k, v in mirror.items()}


def order_of(encoding, keys):
    """The order of the custom data in an encoding: it ends with a run of (key, pointer) after the free lists."""
    roots = list(decode(encoding).roots)
    assert set(roots) == keys
    return roots


def read_back(contents):
    """The contents of a handle as plain values, to compare with `expected`."""
    if not isinstance(contents, Contents):
        return contents
    if isinstance(contents, Mapping) and "Set" not in contents.kind.name:
        pairs = list(contents.items())
        assert len({k for k, _ in pairs}) == len(pairs)
        return {k: list(v) if isinstance(v, Contents) else v for k, v in pairs}
    found = list(contents)
    if "Set" in contents.kind.name:
        assert len(set(found)) == len(found)
        return set(found)
    return found
