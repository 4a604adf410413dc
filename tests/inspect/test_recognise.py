"""What a memory is: every rule of docs/platform.md#recogniser-rules, and snapshots in the forms of dfx, icp-cli and Juno."""

from __future__ import annotations

import gzip
import json
import struct

import cbor2
import pytest

from stable_structures import PAGE_SIZE, Blob, MemoryManager, StableBTreeMap, StableLog, StableMemory, StableVec, u64
from stable_structures.inspect import Unreadable, check, inspect, open_image
from stable_structures.inspect.formats import recognise
from stable_structures.inspect.report import soundness, unchecked
from stable_structures.rescue.saved import PREFIX

from ..support.inspect_images import fuller, golden, make_dfx, make_gzip, make_icp, make_juno, traces

CANDID = bytes.fromhex("4449444c00017b05")


def pages(*pieces: tuple[int, bytes], count: int = 2) -> bytes:
    image = bytearray(count * PAGE_SIZE)
    for at, data in pieces:
        image[at : at + len(data)] = data
    return bytes(image)


END = 2 * PAGE_SIZE
CASES = {
    "empty": b"",
    "zeros": pages(),
    "motoko-regions": pages(
        (0, b"MOREGION" + struct.pack("<IHQIQ", 2, 128, 0x100000, 3, 18)),
        (34, struct.pack("<QHB", 17, 0, 128) + struct.pack("<QHB", 18, 0, 5)),
    ),
    "motoko-dump": pages((0, struct.pack("<I", len(CANDID)) + CANDID)),
    "stable-save": pages((0, CANDID)),
    "prefixed": pages((0, struct.pack("<I", 17) + cbor2.dumps({"data_on_heap": 1}).ljust(17, b"\0")[:17])),
    "internet-identity": pages((0, b"IIPS")),
    "ic-stable-memory": pages((0, struct.pack("<Q", 1000)), (1008, PREFIX)),
    "unknown": pages((0, b"\xff\xfe\xfd\xfc rubbish"), (70_000, b"more")),
    "motoko-heap": pages((0x480000, "MOTOKO ORTHOGONAL PERSISTENCE 64".encode("utf-32-le")), count=80),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_memory_is_recognised(kind):
    image = CASES[kind]
    if kind == "prefixed":
        payload = cbor2.dumps({"data_on_heap": list(range(10))})
        image = pages((0, struct.pack("<I", len(payload)) + payload))
    assert open_image(image).recognition.kind == kind


@pytest.mark.parametrize(
    ("version", "pieces"),
    [
        (1, [(PAGE_SIZE, struct.pack("<I", 8) + CANDID), (END - 12, struct.pack("<I", 1))]),
        (2, [(PAGE_SIZE, struct.pack("<I", 8) + CANDID), (END - 12, struct.pack("<I", 1))]),
        (3, [(END - 32, struct.pack("<QQ", 100, 200))]),
        (4, [(END - 32, struct.pack("<QQ", 100, 200))]),
        (5, [(END - 16, struct.pack("<Q", PAGE_SIZE))]),
        (6, [(END - 16, struct.pack("<Q", PAGE_SIZE))]),
    ],
)
def test_motoko_between_upgrades_is_recognised_by_its_last_word(version, pieces):
    found = open_image(pages(*pieces, (END - 4, struct.pack("<I", version)))).recognition
    assert found.kind == "motoko-dump"
    assert f"version {version}" in found.title


def test_regions_are_listed_with_their_pages():
    facts = inspect(StableMemoryOf(CASES["motoko-regions"])).facts
    assert facts["allocated blocks"] == 3
    assert facts["regions (pages)"] == {"region 16": 128, "region 17": 5}


def test_stable_save_is_decoded_though_older_bytes_lie_behind_it():
    message = open_image(pages((0, CANDID + b"older and longer"))).recognition
    assert message.facts["values"] == [5]
    assert message.facts["types"] == ["nat8"]


class StableMemoryOf:
    """A memory of these bytes, as a user would write one."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def size(self) -> int:
        return len(self.data) // PAGE_SIZE

    def grow(self, _pages: int, /) -> int:
        return -1

    def read(self, offset: int, length: int, /) -> bytes:
        return self.data[offset : offset + length]

    def write(self, _offset: int, _data: bytes, /) -> None:
        raise AssertionError("inspect wrote")


@pytest.mark.parametrize("name", traces())
def test_the_memories_behind_golden_traces_are_recognised(name):
    wanted = {
        "btreemap": "map",
        "btreeset": "map",
        "vec": "vec",
        "minheap": "heap",
        "cell": "cell",
        "log": "log index",
        "canister": "manager",
    }
    data = fuller(name) if name.startswith("vec") else golden(name)[0]
    report = inspect(StableMemoryOf(data))
    assert report.kind == wanted[name.split("_")[0]]
    assert not report.damage
    assert all(not one.notes or one.kind in ("log index", "log data") for one in report.memories)


def test_a_canister_is_shown_whole():
    report = inspect(StableMemoryOf(golden("canister_bucket16")[0]))
    by_id = {one.memory: one for one in report.memories}
    assert {i: (one.kind, one.length) for i, one in by_id.items()} == {
        0: ("map", 1005),
        1: ("vec", 765),
        2: ("log index", 791),
        3: ("log data", None),
        4: ("heap", 12),
        5: ("cell", 1),
        200: ("map", 332),
        254: ("map", 706),
    }
    assert report.bucket_map == [0, 1, 2, 3, 4, 5, 200, 254]
    assert (by_id[254].key_bound, by_id[254].value_bound, by_id[254].key_sizes, by_id[254].depth) == ("= 8", "<= 8", (8, 8), 3)
    assert by_id[254].key_type == "u64?"
    assert by_id[200].facts["set"] is True
    assert by_id[2].facts["data in memory"] == 3
    json.dumps([one.first[:0] for one in report.memories])


def test_a_running_memory_is_looked_into_while_it_is_used():
    memory = StableMemory()
    users = StableBTreeMap[u64, str](MemoryManager(memory).get(3))
    for i in range(50):
        users.insert(i, f"user {i}")
        assert inspect(memory).memories[0].length == i + 1


# ---- snapshots ----

IMAGE = golden("canister_bucket1")[0]


@pytest.mark.parametrize("make", [make_dfx, make_icp, make_juno])
def test_snapshots_are_opened(make, tmp_path):
    report = inspect(make(tmp_path / "snap shot", IMAGE))
    assert report.snapshot is not None
    assert report.snapshot["state"] == "complete"
    assert report.snapshot["tool"] == ("Juno" if make is make_juno else "dfx or icp-cli")
    assert report.snapshot["canister version"] == 42
    assert report.snapshot["taken at"].startswith("2025-10-09T")
    assert report.snapshot["source"] == "taken from canister"
    assert [one.memory for one in report.memories] == [0, 1, 2, 3, 4, 5, 200, 254]


@pytest.mark.parametrize("make", [make_dfx, make_icp, make_juno])
def test_snapshots_without_stable_memory_are_opened(make, tmp_path):
    report = inspect(make(tmp_path / "snapshot", b""))
    assert report.kind == "empty"
    assert report.snapshot is not None
    assert report.snapshot["state"] == "empty"


@pytest.mark.parametrize("make", [make_dfx, make_juno])
def test_a_short_download_is_said(make, tmp_path):
    folder = make(tmp_path / "snapshot", IMAGE)
    file = next(path for path in folder.iterdir() if path.name.startswith("stable"))
    file.write_bytes(IMAGE[: len(IMAGE) // 2 - 77])
    report = inspect(folder)
    assert report.snapshot is not None
    assert report.snapshot["state"] == "short"
    assert f"of {len(IMAGE):,} bytes" in " ".join(report.notes)


def test_a_missing_download_is_said(tmp_path):
    folder = make_dfx(tmp_path / "snapshot", IMAGE)
    (folder / "stable_memory.bin").unlink()
    report = inspect(folder)
    assert report.snapshot is not None
    assert report.snapshot["state"] == "missing"


def test_an_unfinished_download_of_icp_cli_is_said_though_its_file_has_the_full_size(tmp_path):
    folder = make_icp(tmp_path / "snapshot", IMAGE)
    progress = {"stable_memory": {"frontier": 131072, "ahead": []}}
    (folder / ".download_progress.json").write_text(json.dumps(progress))
    report = inspect(folder)
    assert report.snapshot is not None
    assert (report.snapshot["tool"], report.snapshot["state"]) == ("icp-cli", "unfinished")
    assert "131,072" in " ".join(report.notes)


@pytest.mark.parametrize("metadata", ["", "[1, 2]", "{}", '{"stable_memory_size": "x"}', '{"stable_memory_size": -1}', "\ud83d"])
def test_metadata_that_are_none_are_refused(metadata, tmp_path):
    (tmp_path / "metadata.json").write_bytes(metadata.encode("utf-8", "surrogatepass"))
    with pytest.raises(Unreadable, match="metadata"):
        open_image(tmp_path)


def test_a_gzip_is_opened_and_a_cut_one_is_read_as_far_as_it_goes(tmp_path):
    path = make_gzip(tmp_path / "image.bin.gz", IMAGE)
    assert inspect(path).memories[0].length == inspect(StableMemoryOf(IMAGE)).memories[0].length
    path.write_bytes(gzip.compress(IMAGE, 1)[:-20])
    assert "ends too early" in " ".join(inspect(path).notes)


def test_a_damaged_gzip_is_read_as_far_as_it_goes_and_said_to_be_damaged(tmp_path):
    whole = gzip.compress(IMAGE, 6)
    path = tmp_path / "image.gz"
    for at in range(len(whole) // 9, len(whole), len(whole) // 9):
        data = bytearray(whole)
        data[at] ^= 255
        path.write_bytes(data)
        assert inspect(path).damaged
        assert any(one.structure == "gzip" for one in check(path))


def test_a_folder_that_is_no_snapshot_is_said(tmp_path):
    with pytest.raises(Unreadable, match=r"a folder without metadata\.json is not a snapshot"):
        open_image(tmp_path)
    (tmp_path / "metadata.json").write_text("[1, 2]")
    with pytest.raises(Unreadable, match="JSON, but no metadata of a snapshot"):
        open_image(tmp_path)


@pytest.mark.parametrize("kind", ["vec", "log"])
def test_deep_tells_the_sizes_of_all_elements(kind):
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    row = StableVec[Blob(90)](manager.get(0)) if kind == "vec" else StableLog[bytes](manager.get(0), manager.get(1))
    row.extend([bytes(3 + (77 if i == 1001 else i % 5)) for i in range(2000)])
    quick, deep = inspect(memory).memories[0], inspect(memory, deep=True).memories[0]
    assert not quick.whole
    assert deep.whole
    assert deep.value_sizes == (3, 80)


def test_a_log_beside_the_file_that_is_none_is_said(tmp_path):
    path = tmp_path / "state.bin"
    path.write_bytes(IMAGE)
    (tmp_path / "state.bin-wal").write_bytes(b"x")
    assert "state.bin-wal" in " ".join(inspect(path).notes)


@pytest.mark.parametrize(
    "begins", [b"MOREGION", b"MGR\1", b"MGX\1", b"BTR\1", b"SVC\1", b"GLI\1", b"GLD\1", b"IIC\0", b"IIPS", b"ICSQLITE"]
)
def test_a_file_that_ends_inside_its_header_is_looked_at(begins):
    for length in range(1, 160):
        for filler in (b"\0", b"\xff"):
            data = begins[:length].ljust(length, filler)
            try:
                check(data)
                inspect(data, deep=True)
            except Unreadable:
                continue


@pytest.fixture(scope="module")
def halves() -> list[bytes]:
    """The index of a log and its data, each as `export` writes it."""
    memory = StableMemory()
    manager = MemoryManager(memory)
    StableLog[str](manager.get(0), manager.get(1)).extend([f"event {i}" for i in range(20)])
    return [open_image(memory).part(i).source.read(0, PAGE_SIZE) for i in range(2)]


def test_half_of_a_log_is_not_called_sound(halves):
    for data, word in zip(halves, ("whose data", "whose index"), strict=True):
        assert check(data) == []
        assert word in soundness(unchecked(open_image(data)))


def test_the_header_of_log_data_without_their_index_is_checked(halves):
    damaged = halves[1][:3] + b"\x09" + halves[1][4:]
    assert [one.rule for one in check(damaged)] == ["version of a log data is 1"]


@pytest.mark.parametrize("where", [None, 0, 3, 40, 599])
def test_a_memory_of_zeros_in_many_pieces_is_looked_at_as_far_as_one_in_a_single_piece(where, tmp_path, monkeypatch):
    """A full disk of zeros is no hole: what is looked at is bounded all the same; and one byte within that is no zero."""
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    many, other = manager.get(0), manager.get(1)
    for _ in range(600):
        assert many.grow(1) >= 0
        assert other.grow(1) >= 0
    if where is not None:
        many.write(where * PAGE_SIZE + 77, b"\1")
    path = tmp_path / "zeros.bin"
    path.write_bytes(memory.read(0, memory.nbytes))
    monkeypatch.setattr(recognise, "_LOOKED_AT", 64 * PAGE_SIZE)
    with open_image(path) as opened:
        source, asked = opened.part(0).source, []
        reads = source.read
        monkeypatch.setattr(source, "read", lambda offset, length: asked.append(length) or reads(offset, length))
        found = recognise.recognise(source)
    assert sum(asked) <= 72 * PAGE_SIZE
    assert (found.kind == "zeros") == (where in (None, 599))
    assert found.kind != "zeros" or "as far as was looked (4 MiB of data)" in found.title


def test_zeros_that_end_where_looking_ends_are_all_there_are(monkeypatch):
    monkeypatch.setattr(recognise, "_LOOKED_AT", 2 * PAGE_SIZE)
    for count in (1, 2):
        assert "all zeros" in open_image(bytes(count * PAGE_SIZE)).recognition.title
    assert "as far as was looked" in open_image(bytes(3_000 * PAGE_SIZE)).recognition.title
