"""Images that the crate wrote, and what it wrote into them: read whole, found sound, and nothing twice."""

from __future__ import annotations

import pytest

from stable_structures.rescue import Fault, open_ism

from ..support import ism_crate
from ..support.ism_traces import GOLDEN, Replay, annotation, read_back

TRACES = sorted(path.name.removesuffix(".trace.gz") for path in GOLDEN.glob("*.trace.gz"))
STEP = 12
DAMAGED = {
    "bt_bug_stack": Fault.STALE_STACK,
    "bt_bug_stack2": Fault.STALE_STACK,
    "hm_bug_retain": Fault.BROKEN_CHAINS,
    "hm_u64_u64_retain": Fault.BROKEN_CHAINS,
    "vec_bug_oom": Fault.VEC_CAPACITY,
}
UNCERTAIN = ("SVec", "SLog")


def test_there_are_all_traces():
    assert len(TRACES) == 57


def played(name, step):
    """A trace at some of its moments: all in which the digest of the whole memory was found right, and the last one."""
    trace = Replay(GOLDEN / f"{name}.trace.gz")
    for count, number in enumerate(trace.play()):
        if count % step == 0 or number >= len(trace.lines) - 3:
            yield trace, number


def check_saved(trace):
    """What pre_upgrade would leave now is read whole."""
    data, types = trace.saved_image()
    with open_ism(data, types) as image:
        assert image.saved
        if trace.name in DAMAGED and image.check():
            assert DAMAGED[trace.name] in image.faults()
            image.unchecked = True
        elif trace.structure_name != "alloc":
            assert image.check() == []
        if trace.name == "vec_bug_oom" and image.check():
            return  # the save itself overwrote elements that lay past the block
        if trace.name == "bt_bug_stack2" and image.check():
            check_overwritten_leaf(image, trace.expected()[0])
            return
        for key, wanted in trace.expected().items() if trace.structure_name != "alloc" else ():
            assert read_back(image[key]) == wanted


def check_overwritten_leaf(image, wanted):
    """One step of this trace took a leaf of 15 entries for an internal node, and wrote over its number, link and keys: they are gone."""
    lost = []
    found = dict(image.salvage(0, lost))
    assert len(wanted) - len(found) == 15
    assert found.items() <= wanted.items()
    assert lost


def check_running(trace):
    """The memory as it is, with all roots on the heap: blocks tile it, trees and tables come out whole."""
    types = {} if trace.structure_name in ("sbox", "alloc") else {i: annotation(full) for i, full in enumerate(trace.forms.values())}
    with open_ism(bytes(trace.a.mem), types, saved=False, unchecked=True) as image:
        assert trace.name in DAMAGED or image.check() == []
        if trace.name == "bt_bug_stack2" and trace.trapped:
            return  # see check_overwritten_leaf
        for key, tp in image.types.items():
            wanted = trace.expected()[key + bool(trace.a.roots)]
            if len(wanted) > 1 and not tp.name.startswith(UNCERTAIN):
                assert [read_back(found.contents) for found in image.found(key)] == [wanted]


@pytest.mark.parametrize("name", TRACES)
def test_contents_at_moments(name):
    for trace, _ in played(name, STEP):
        check_saved(trace)
        check_running(trace)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRACES)
def test_contents_at_every_moment(name):
    for trace, _ in played(name, 1):
        check_saved(trace)
        check_running(trace)


@pytest.mark.parametrize("name", [name for name in TRACES if "bug" in name])
def test_images_of_faults(name):
    wanted = {
        "bt_bug_rev": Fault.STALE_PREVIOUS,
        "bt_bug_stack": Fault.STALE_STACK,
        "bt_bug_stack2": Fault.STALE_STACK,
        "hm_bug_retain": Fault.BROKEN_CHAINS,
        "log_bug_oom": Fault.LOG_CAPACITIES,
        "vec_bug_oom": Fault.VEC_CAPACITY,
    }
    count = {"bt_bug_rev": 200, "bt_bug_stack": 400, "bt_bug_stack2": 205, "hm_bug_retain": 133, "log_bug_oom": 2164, "vec_bug_oom": 2052}
    with open_ism(GOLDEN / f"{name}.bin.gz", {0: annotation(name)}) as image:
        assert wanted[name] in image.faults()
        entries = list(image.salvage(0))
        assert len(entries) == count[name]
        keys = [entry[0] if isinstance(entry, tuple) else entry for entry in entries]
        assert len(set(keys)) == len(keys)


WIDE = [
    "bt_boxbytes_boxstr",
    "bt_u64_u64",
    "cm",
    "hm_boxstr_u64",
    "hm_i64_enum",
    "hm_nat_u8",
    "hm_principal_boxbytes",
    "hs_u32",
    "log_u64",
    "nest",
    "vec_boxstr",
]


@pytest.mark.parametrize("name", WIDE)
def test_images_of_a_64_bit_host(name, monkeypatch):
    """No trace was written with words of 8 bytes; the model writes such images by the same rules."""
    monkeypatch.setattr(ism_crate, "W", 8)
    monkeypatch.setattr(ism_crate.Space, "width", 8)
    trace = Replay(GOLDEN / f"{name}.trace.gz")
    for count, _ in enumerate(trace.play()):
        if count % 20 == 19:
            data, types = trace.saved_image()
            image = open_ism(data, types, width=8)
            assert image.check() == []
            assert read_back(image[0]) == trace.expected()[0]
