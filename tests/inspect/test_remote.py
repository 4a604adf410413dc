# SPDX-License-Identifier: Apache-2.0
"""Images on other machines: what is read is what a local copy holds, in few requests, and of one version; everything else is an error."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import stable_structures
from stable_structures import Cbor, MemoryManager, StableBTreeMap, StableCell, StableLog, StableMemory, StableVec, u64
from stable_structures.inspect import Unreadable, check, diff, export, get, inspect, open_image, shrink, table, write
from stable_structures.inspect.remote import http, place
from stable_structures.inspect.remote.names import is_remote, shown
from stable_structures.inspect.remote.source import RemoteSource

from ..support import command
from ..support.http_server import serving
from ..support.inspect_images import make_dfx, make_icp, make_juno, read

pytest.importorskip("aiohttp", reason="the extra 'remote' is not installed")
fsspec = pytest.importorskip("fsspec", reason="the extra 'remote' is not installed")

MIB = 1 << 20


def unread(opened) -> int:
    """An address that no request was for yet."""
    return next(at for at in range(0, opened.source.nbytes, 1 << 18) if not opened.source.is_at_hand(at, 1))


def make_image(entries: int, bucket_pages: int = 16) -> bytes:
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=bucket_pages)
    StableBTreeMap[u64, str](manager.get(0)).update({i * 7919 % 1_000_003: f"user {i}" for i in range(entries)})
    StableVec[u64](manager.get(1)).extend(range(entries))
    StableLog[str](manager.get(2), manager.get(3)).extend([f"line {i}" for i in range(entries)])
    StableCell[Cbor[dict]](manager.get(4), {"fee": 10})
    return read(memory)


@pytest.fixture(scope="module")
def image() -> bytes:
    return make_image(20_000)


@pytest.fixture
def served(image):
    with serving() as (url, files):
        files.put("/image.bin", image)
        yield f"{url}/image.bin", files


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(http, "_PAUSE", 0.001)


# ---- names ----


def test_which_names_are_remote():
    assert all(map(is_remote, ["https://a/b", "HTTP://a/b", "s3://b/k", "memory://x", "zip://a.bin::https://h/x.zip", "gs://b/k"]))
    assert not any(map(is_remote, ["a.bin", "/a/b", "a:b", "C:/x", "file:///tmp/x", "./http:/x", "", "://"]))


def test_a_file_by_its_url_is_the_file(image, tmp_path):
    (tmp_path / "an image.bin").write_bytes(image)
    with open_image(f"file://{tmp_path}/an%20image.bin") as opened:
        assert opened.source.nbytes == len(image)


def test_names_in_messages_have_no_secrets(served):
    url, _ = served
    host = url.removeprefix("http://").partition("/")[0]
    assert shown("s3://user:pass@host/key?x") == "s3://host/key?x"
    with pytest.raises(Unreadable) as found:
        open_image(f"http://ada:secret@{host}/absent?X-Signature=abc")
    assert "/absent" in str(found.value)
    assert not any(word in str(found.value) for word in ("secret", "abc"))
    with open_image(f"{url}?X-Signature=abc") as opened:
        assert opened.name == url


# ---- the same as from a file ----


def test_everything_is_as_from_a_file(image, served, tmp_path):
    url, _ = served
    (tmp_path / "image.bin").write_bytes(image)
    local, far = inspect(tmp_path / "image.bin", deep=True), inspect(url, deep=True)
    assert [one.length for one in far.memories] == [20_000, 20_000, 20_000, None, 1]
    for near, one in zip(local.memories, far.memories, strict=True):
        assert (one.kind, one.length, one.live, one.allocated, one.depth, one.fill, one.first) == (
            (near.kind, near.length, near.live, near.allocated, near.depth, near.fill, near.first)
        )
    assert check(url) == []
    assert all(one.same for one in diff(url, tmp_path / "image.bin"))
    with open_image(url) as opened, open_image(tmp_path / "image.bin") as beside:
        assert get(opened.part(0), "7919")[0] == b"user 1"
        for unordered in (True, False):
            texts = [io.BytesIO(), io.BytesIO()]
            for one, out in zip((opened, beside), texts, strict=True):
                write(table(one.part(0), unordered=unordered), "jsonl", out)
            assert texts[0].getvalue() == texts[1].getvalue()
        export(opened.part(0), tmp_path / "far.bin")
        export(beside.part(0), tmp_path / "near.bin")
    assert (tmp_path / "far.bin").read_bytes() == (tmp_path / "near.bin").read_bytes()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["inspect", "URL"], 0),
        (["inspect", "URL", "--json"], 0),
        (["check", "URL"], 0),
        (["get", "URL", "--memory", "0", "--key", "7919"], 0),
        (["get", "URL", "--memory", "0", "--key", "1000004"], 1),
        (["dump", "URL", "--memory", "1", "--limit", "3"], 0),
        (["dump", "URL", "--memory", "0", "--unordered"], 0),
        (["export", "URL", "--memory", "0", "-o", "OUT"], 0),
        (["diff", "URL", "URL"], 0),
        (["map", "URL", "-o", "OUT"], 0),
        (["shrink", "URL", "-o", "OUT"], 0),
        (["inspect", "URLx"], 2),
    ],
)
def test_verbs_take_names_of_other_machines(served, tmp_path, words, code):
    url, _ = served
    words = [word.replace("URL", url).replace("OUT", str(tmp_path / "out.html")) for word in words]
    done = command.run(words)
    assert done.returncode == code, done.stderr
    assert (tmp_path / "out.html").exists() == ("-o" in words)


def test_damage_is_found_where_it_is(image, served):
    url, files = served
    damaged = bytearray(image)
    at = damaged.index(b"BTN", MIB)
    damaged[at] ^= 1
    files.put("/image.bin", bytes(damaged), "two")
    found = check(url)
    assert found
    assert at in [one.physical for one in found]


@pytest.mark.parametrize("make", [make_dfx, make_icp, make_juno])
def test_folders_of_snapshots(image, tmp_path, make):
    folder = make(tmp_path / "snapshot", image)
    with serving() as (url, files):
        for path in filter(Path.is_file, folder.iterdir()):
            files.put(f"/s/{path.name}", path.read_bytes())
        stable = next(path.name for path in folder.rglob("*") if path.stat().st_size == len(image))
        for name in (f"{url}/s/", f"{url}/s", f"{url}/s/metadata.json", f"{url}/s/{stable}"):
            with open_image(name) as opened, open_image(folder) as local:
                assert opened.snapshot is not None
                assert (opened.snapshot.tool, opened.snapshot.state) == (local.snapshot.tool, local.snapshot.state)
                assert opened.source.read(0, len(image)) == image
        files.put(f"/s/{stable}", image[:-65536], "two")
        assert inspect(f"{url}/s/").damaged


def test_a_gzip_is_read_once_from_end_to_end(image):
    with serving() as (url, files):
        files.put("/image.bin.gz", gzip.compress(image))
        assert check(f"{url}/image.bin.gz") == []
        firsts = [first for _, path, first, _ in files.requests if path == "/image.bin.gz"]
        assert len(set(firsts)) == len(firsts)


def left_behind(folder, count):
    """File and log of a program that was killed, and what they are together."""
    path = folder / "left.bin"
    code = (
        "import os, sys; from stable_structures import StableBTreeMap, StableMemory, u64\n"
        f"users = StableBTreeMap[u64, str](StableMemory.open({str(path)!r}))\n"
        f"users.update({{i: f'user {{i}}' for i in range({count})}}); users[7] = 'Ada'\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    return path.read_bytes(), path.with_name("left.bin-wal").read_bytes()


def test_a_log_beside_it_is_applied(tmp_path):
    data, log = left_behind(tmp_path, 5000)
    with serving() as (url, files):
        files.put("/left.bin", data)
        files.put("/left.bin-wal", log)
        assert check(f"{url}/left.bin") == check(tmp_path / "left.bin") == []
        with stable_structures.open_image(f"{url}/left.bin") as image:
            assert len(image[None]) == 5000
            assert image[None][7] == "Ada"
            assert "shown is what was committed" in "".join(image.notes)
            assert sorted(key for part in image.partitions(None, 3) for key, _ in part) == list(range(5000))
        files.put("/left.bin-wal", b"<html>not found</html>")  # a server that has a page for everything
        with open_image(f"{url}/left.bin") as opened:
            assert opened.source.nbytes == len(data)
            assert not any("wal" in note for note in opened.notes)


def test_a_log_that_is_too_large_to_be_applied_is_a_problem(tmp_path, monkeypatch):
    data, log = left_behind(tmp_path, 500)
    monkeypatch.setattr(place, "_LARGEST", len(log) - 1)
    with serving() as (url, files):
        files.put("/left.bin", data)
        files.put("/left.bin-wal", log)
        with open_image(f"{url}/left.bin") as opened:
            assert [one.rule for one in opened.problems if "too many to be read at once" in one.rule]
            assert any("left.bin-wal" in note for note in opened.notes)
        with pytest.raises(Unreadable, match=r"left\.bin"):
            shrink(f"{url}/left.bin", tmp_path / "small.bin")


@pytest.mark.parametrize("status", [400, 401, 403, 405, 409])
def test_a_link_that_covers_one_name_alone(served, status):
    """What lies beside it by its name, a schema or a log, is not offered, and that is no error."""
    url, files = served
    files.refused = status
    files.put("/memories.toml", b"no TOML")
    files.put("/image.bin-wal", b"SMWALv01")
    with open_image(f"{url}?X-Signature=abc") as opened:
        assert opened.problems == []
    with pytest.raises(Unreadable, match=f"HTTP {status}"):
        open_image(url)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_server_hides_no_log(served, status):
    url, files = served
    files.failing = {"/image.bin-wal": status}
    with open_image(url) as opened:
        assert [one.structure for one in opened.problems] == ["log"]
    assert command.run(["check", url]).returncode == 1
    files.failing = {"/memories.toml": status}
    with pytest.raises(Unreadable, match=f"HTTP {status}"):
        open_image(url)


def test_a_server_with_a_page_for_every_name(served):
    url, files = served
    files.page = b"<!doctype html>\n<title>Not found</title>" + b" " * (1 << 19)
    with open_image(url) as opened:
        assert opened.problems == []
    with pytest.raises(Unreadable, match=r"not TOML|not a snapshot|no JSON|page"):
        open_image(url.replace("/image.bin", "/folder/"))


def test_empty_and_small_objects():
    with serving() as (url, files):
        files.put("/empty", b"")
        files.put("/small", b"abc")
        for ranges in (True, False):
            files.ranges = ranges
            assert inspect(f"{url}/empty").nbytes == 0
            with open_image(f"{url}/small") as opened:
                assert opened.source.read(0, 3) == b"abc"


# ---- requests ----


@pytest.fixture(scope="module")
def large() -> bytes:
    """Some 208 MiB, most of which are zeros that this test does not write: requests are counted, and a hole is asked for as well."""
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=128)
    for number in range(3):
        keys = [i * 7919 % 1_000_003 for i in range(60_000)]
        StableBTreeMap[u64, str](manager.get(number)).update({key: f"user {key} of memory {number}" for key in keys})
    StableVec[u64](manager.get(3)).extend(range(200_000))
    StableLog[str](manager.get(4), manager.get(5)).extend([f"line {i}" for i in range(60_000)])
    StableCell[Cbor[dict]](manager.get(6), {"fee": 10})
    manager.get(7).grow(19 * 128)
    data = read(memory)
    assert len(data) >> 20 == 208
    return data


def test_inspect_asks_seldom(large):
    with serving() as (url, files):
        files.put("/large.bin", large)
        report = inspect(f"{url}/large.bin")
        assert [one.length for one in report.memories[:4]] == [60_000, 60_000, 60_000, 200_000]
        assert files.count <= 20
        assert not any(one.damaged for one in report.memories)


def test_the_last_entry_of_a_log_is_shown_only_if_it_costs_no_request():
    memory = StableMemory()
    manager = MemoryManager(memory)
    StableLog[str](manager.get(0), manager.get(1)).extend([f"event {i:0100}" for i in range(20_000)])
    with serving() as (url, files):
        files.put("/log.bin", read(memory))
        report = inspect(f"{url}/log.bin")
        assert (report.memories[0].length, report.memories[0].last) == (20_000, [])
        firsts = [first for _, path, first, _ in files.requests if path == "/log.bin"]
        assert max(firsts) < (1 + 128 + 1) << 16  # headers and the first entries, and nothing from the end of the data


@pytest.mark.parametrize("types", [{}, {"key": u64, "value": str}], ids=["guessed", "given"])
def test_the_first_rows_cost_their_nodes_and_not_the_memory(large, types):
    with serving() as (url, files):
        files.put("/large.bin", large)
        for limit in (0, 1, 3):
            with open_image(f"{url}/large.bin") as opened:
                assert len(list(table(opened.part(0), types, limit=limit).rows)) == limit
            assert files.count <= 20
            assert files.sent <= 6 << 20
            files.forget()


def test_a_limit_leaves_the_first_rows_as_they_are(large, tmp_path):
    (tmp_path / "large.bin").write_bytes(large)
    with open_image(tmp_path / "large.bin") as opened:
        every = list(table(opened.part(0)).rows)
        for limit in (0, 1, 2, 11, 100, 2_000, 59_999, 60_000, 60_001):
            assert list(table(opened.part(0), limit=limit).rows) == every[:limit]


def test_check_and_dumps_read_in_large_pieces(large):
    with serving() as (url, files):
        files.put("/large.bin", large)
        with open_image(f"{url}/large.bin") as opened:
            assert isinstance(opened.source, RemoteSource)
            files.forget()
            assert check(opened) == []
            in_use = sum(part.open().least_bytes() for part in opened.parts.values() if part.is_structure)
            assert files.sent <= 2 * in_use
            assert files.count <= 40
        with open_image(f"{url}/large.bin") as opened:
            files.forget()
            assert sum(1 for _ in table(opened.part(0), unordered=True).rows) == 60_000
            assert files.count <= 10


# ---- what goes wrong ----


def test_absent_and_refused(served):
    url, files = served
    with pytest.raises(Unreadable, match="not found"):
        open_image(url + "x")
    files.failing = {"/image.bin": 403}
    with pytest.raises(Unreadable, match="refused"):
        open_image(url)


def test_a_server_without_ranges(served):
    url, files = served
    files.ranges = False
    with pytest.raises(Unreadable, match="does not send parts"):
        open_image(url)
    assert files.count <= 2  # one for a schema beside it
    assert command.run(["inspect", url]).returncode == 2


def test_ranges_that_end_later(served):
    url, files = served
    with open_image(url) as opened:
        files.ranges = False
        with pytest.raises(Unreadable, match="does not send parts"):
            opened.source.read(unread(opened), 10)


def test_a_busy_server_is_asked_again(served):
    url, files = served
    files.statuses = [503, 429]
    with open_image(url) as opened:
        assert opened.source.nbytes
    files.statuses = [503, 503, 503]
    with pytest.raises(Unreadable, match="HTTP 503"):
        open_image(url)


def test_a_cut_transfer(image, served):
    url, files = served
    with open_image(url) as opened:
        files.cut_after, at = 1000, unread(opened)
        with pytest.raises(Unreadable, match="cut off"):
            opened.source.read(at, 10)
        assert files.cuts == 3
        files.cut_after = None
        assert opened.source.read(at, 10) == image[at : at + 10]  # nothing of what was cut is kept


def test_another_range_than_was_asked_for(served):
    url, files = served
    with open_image(url) as opened:
        files.wrong_start = 1
        with pytest.raises(Unreadable, match="another range"):
            opened.source.read(unread(opened), 10)


def test_an_encoded_answer(served):
    url, files = served
    files.encoding = "br"
    with pytest.raises(Unreadable, match="encod"):
        open_image(url)


@pytest.mark.parametrize("what", ["etag", "size", "shorter", "gone"])
def test_an_object_that_changes_meanwhile(image, served, what):
    url, files = served
    with open_image(url) as opened:
        if what == "etag":
            files.put("/image.bin", image, "two")
        elif what == "gone":
            del files.content["/image.bin"]
        else:
            files.put("/image.bin", image + bytes(65536) if what == "size" else image[:MIB], "one")
        with pytest.raises(Unreadable, match="not found" if what == "gone" else "changed while it was read"):
            opened.source.read(unread(opened), 10)


def test_a_change_ends_every_verb(image, served):
    """At whichever request it happens: no verb ends as if nothing had been."""
    url, files = served
    other = bytearray(image)
    other[-1] ^= 1
    check(url)
    whole = files.count
    for number in range(2, whole):
        files.forget()
        files.put("/image.bin", image, "one")
        files.before = lambda count, at=number: files.put("/image.bin", bytes(other), "two") if count == at else None
        with pytest.raises(Unreadable, match="changed while it was read"):
            check(url)


def test_a_server_without_versions_is_said(served):
    url, files = served
    files.validators = False
    with open_image(url) as opened:
        assert any("ETag" in note for note in opened.notes)


def test_a_server_that_does_not_answer(served, monkeypatch):
    url, files = served
    monkeypatch.setattr(http, "TIMEOUT", 0.1)
    files.delay = 0.5
    with pytest.raises(Unreadable, match="in time"):
        open_image(url)


def sends(status, body=b"", times=1, **headers):
    """An answer of a server that is up to something."""

    def answer(handler):
        handler.close_connection = True
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        with contextlib.suppress(OSError):  # the other side has seen enough
            for _ in range(times):
                handler.wfile.write(body)

    return answer


def part(total):
    return sends(206, bytes(1 << 18), Content_Range=f"bytes 0-262143/{total}", Content_Length=str(1 << 18), ETag='"a"')


ATTACKS = {
    **{f"a size of {total}"[:30]: part(total) for total in (0, 5, -1, "*", 2**50, 2**63, 2**64, 10**30, "9" * 5000, "\u0663")},
    "an endless whole": sends(200, bytes(1 << 16), 10_000),
    "an endless part": sends(206, bytes(1 << 16), 10_000, Content_Range="bytes 0-262143/1000000000"),
    "a bomb": sends(206, gzip.compress(bytes(1 << 26)), Content_Encoding="gzip", Content_Range="bytes 0-262143/300000000"),
    "a circle": sends(302, Location="/image.bin?token=SECRET", Content_Length="0"),
    "a way to a file": sends(302, Location="file:///etc/passwd?SECRET", Content_Length="0"),
    "a way to nobody": sends(302, Location="http://ada:SECRET@127.0.0.1:9/x?sig=SECRET", Content_Length="0"),
    "a way to nothing": sends(302, Location="http://[bad/?SECRET", Content_Length="0"),
    "no length": sends(206, b"x", Content_Length="abc", Content_Range="bytes 0-9/10"),
    "no content": sends(204),
    "many parts": sends(206, b"x" * 10, Content_Type="multipart/byteranges; boundary=x", Content_Length="10"),
    "a long header": sends(206, X="y" * 20_000),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_server_gets_an_error_without_secrets(attack):
    with serving() as (url, files):
        files.put("/image.bin", b"x")
        files.answer = ATTACKS[attack]
        with pytest.raises(Unreadable) as refusal:
            open_image(url.replace("://", "://ada:SECRET@") + "/image.bin?sig=SECRET")
    assert "SECRET" not in str(refusal.value)
    assert str(refusal.value).startswith(f"{url}/image.bin: ")
    assert "\n" not in str(refusal.value)


def test_no_message_and_no_part_shows_secrets(served):
    url, files = served
    with stable_structures.open_image(f"{url}?sig=SECRET", storage_options={"headers": {"Authorization": "SECRET"}}) as image:
        parts = image.partitions(0, 2)
        assert "SECRET" not in f"{image!r} {image.notes} {parts!r} {image[0]!r} {image._repr_html_()}"
    files.put("/image.bin", files.content["/image.bin"], "two")
    with pytest.raises(Unreadable, match="another version than the one that was divided") as refusal:
        list(parts[0])
    assert "SECRET" not in str(refusal.value)


def test_nothing_at_all_is_not_an_empty_memory():
    with serving() as (url, files):
        files.put("/empty.bin", b"")
        assert command.run(["inspect", f"{url}/empty.bin"]).returncode == 2


def test_nobody_listens():
    with pytest.raises(Unreadable, match="connection failed"):
        open_image("http://127.0.0.1:9/image.bin")


def test_a_scheme_that_nobody_knows():
    with pytest.raises(Unreadable, match="cannot be opened"):
        open_image("nosuch://bucket/image.bin")


def test_the_extra_is_named(tmp_path):
    code = (
        "import sys; sys.modules['fsspec'] = sys.modules['fsspec.core'] = None\n"
        "from stable_structures.__main__ import main; sys.exit(main(['inspect', 'https://host/image.bin']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "stable-structures[remote]" in done.stderr


def test_an_open_image_is_not_copied(served):
    url, _ = served
    import copy  # noqa: PLC0415 - this test alone

    with open_image(url) as opened, pytest.raises(TypeError, match="pass its name"):
        copy.copy(opened.source)


# ---- other file systems of fsspec ----


def test_any_file_system(image):
    memory = fsspec.filesystem("memory")
    memory.pipe("/remote/image.bin", image)
    try:
        assert check("memory://remote/image.bin") == []
        with open_image("memory://remote/image.bin") as opened:
            memory.pipe("/remote/image.bin", image[:-65536])
            with pytest.raises(Unreadable, match="changed"):
                opened.source.read(unread(opened), 10)
        with pytest.raises(Unreadable, match="not found"):
            open_image("memory://remote/absent.bin")
        with pytest.raises(Unreadable, match=r"metadata\.json"):
            open_image("memory://remote")
    finally:
        memory.rm("/remote", recursive=True)


def test_a_folder_of_a_snapshot_in_any_file_system(image, tmp_path):
    folder = make_dfx(tmp_path / "snapshot", image)
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/remote/snapshot", recursive=True)
    try:
        with open_image("memory://remote/snapshot") as opened:
            assert opened.snapshot.state == "complete"
    finally:
        memory.rm("/remote", recursive=True)


@pytest.fixture(scope="module")
def s3():
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed: there is no S3 to test with")
    pytest.importorskip("s3fs", reason="the extra 'remote' is not installed")
    names = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        running.start()
        _, port = running.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        system = fsspec.filesystem("s3")
        system.mkdir("bucket")
        yield system
        running.stop()


def test_objects_in_s3(image, s3, tmp_path):
    s3.pipe("bucket/image.bin", image)
    (tmp_path / "image.bin").write_bytes(image)
    assert check("s3://bucket/image.bin") == []
    assert all(one.same for one in diff("s3://bucket/image.bin", tmp_path / "image.bin"))
    done = command.run(["check", "s3://bucket/image.bin"])
    assert done.returncode == 0, done.stderr
    with pytest.raises(Unreadable, match="not found"):
        open_image("s3://bucket/absent.bin")


def test_a_snapshot_in_s3(image, s3, tmp_path):
    folder = make_dfx(tmp_path / "snapshot", image)
    for path in folder.iterdir():
        s3.pipe(f"bucket/snapshots/one/{path.name}", path.read_bytes())
    for name in ("s3://bucket/snapshots/one/", "s3://bucket/snapshots/one", "s3://bucket/snapshots/one/stable_memory.bin"):
        with open_image(name) as opened:
            assert opened.snapshot.state == "complete"
            assert opened.source.read(0, len(image)) == image


def test_an_object_in_s3_that_changes_meanwhile(image, s3):
    s3.pipe("bucket/changing.bin", image)
    with open_image("s3://bucket/changing.bin") as opened:
        s3.pipe("bucket/changing.bin", bytes(len(image)))
        with pytest.raises(Unreadable, match="changed while it was read"):
            opened.source.read(unread(opened), 10)


def test_nothing_is_left_on_the_disk(served, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    url, _ = served
    assert command.run(["check", url], env={**os.environ, "HOME": str(tmp_path)}).returncode == 0
    assert list(tmp_path.iterdir()) == []
    shutil.rmtree(tmp_path)
