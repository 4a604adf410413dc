"""StableMemory.open: modes, durabilities, transactions, locks, forks and crashes, as Python sees them."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from stable_structures import (
    PAGE_SIZE,
    Closed,
    CorruptMemory,
    Locked,
    MemoryInUse,
    OutOfMemory,
    ReadOnly,
    RestrictedMemory,
    StableBTreeMap,
    StableMemory,
    WalCorrupt,
    u64,
)
from stable_structures import _native as native

from ..support import command
from ..support.memories import ListMemory

DURABILITIES = ["none", "normal", "full"]
LOGGED = ["normal", "full"]


@pytest.fixture(params=DURABILITIES)
def durability(request):
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.bin"


def image_of(memory: StableMemory) -> bytes:
    return memory.read(0, memory.nbytes)


HEAD = "import os, signal, sys\nfrom stable_structures import *\npath = sys.argv[1]\n"


def run(code: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Another process; the code has `path` and whatever it imports itself."""
    return command.python(HEAD + textwrap.dedent(code), *arguments, check=check, timeout=60)


# ---- one file ----


def test_at_rest_the_file_is_the_bare_image(path, durability):
    with StableMemory.open(path, durability=durability) as memory:
        StableBTreeMap[u64, str](memory).update({i: "x" * i for i in range(300)})
        image = image_of(memory)
    assert path.read_bytes() == image
    assert list(path.parent.iterdir()) == [path]
    twin = StableMemory()
    StableBTreeMap[u64, str](twin).update({i: "x" * i for i in range(300)})
    assert image == image_of(twin)


def test_any_image_can_be_opened_and_gone_on_with(path, durability):
    twin = StableMemory()
    entries = StableBTreeMap[u64, str](twin)
    entries.update({1: "a", 2: "b"})
    path.write_bytes(image_of(twin))
    with StableMemory.open(path, durability=durability) as memory:
        stored = StableBTreeMap[u64, str].load(memory)
        assert dict(stored) == {1: "a", 2: "b"}
        stored[3] = entries[3] = "c"
        stored.check()
    assert path.read_bytes() == image_of(twin)


def test_a_new_file_has_no_pages_and_the_permissions_that_were_asked_for(path, durability):
    with StableMemory.open(path, "x", durability) as memory:
        assert memory.size() == 0
        assert (memory.path, memory.mode, memory.durability) == (str(path), "x", durability)
    assert path.stat().st_size == 0
    assert path.stat().st_mode & 0o777 == 0o600
    old = os.umask(0o027)
    try:
        StableMemory.open(path.with_name("other"), durability=durability, permissions=0o666).close()
    finally:
        os.umask(old)
    assert path.with_name("other").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("load", [False, True])
def test_a_read_only_memory(path, load):
    with StableMemory.open(path) as memory:
        StableBTreeMap[u64, u64](memory)[1] = 10
    path.chmod(0o400)
    before = path.read_bytes()
    with StableMemory.open(path, "r", load=load) as memory:
        entries = StableBTreeMap[u64, u64](memory)
        assert (entries[1], len(entries)) == (10, 1)
        with memory.transaction():
            assert dict(entries) == {1: 10}
        for use in (lambda: memory.write(0, b"x"), lambda: memory.grow(1), lambda: entries.insert(2, 2), entries.clear):
            with pytest.raises(ReadOnly, match=r"r\+"):
                use()
        entries.check()
    assert path.read_bytes() == before


def test_the_limit_in_pages(path, durability):
    with StableMemory.open(path, durability=durability, max_pages=3) as memory:
        assert (memory.grow(3), memory.grow(1), memory.size()) == (0, -1, 3)
    with pytest.raises(OutOfMemory, match="max_pages"):
        StableMemory.open(path, durability=durability, max_pages=2)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    with StableMemory.open(path, durability=durability, max_pages=4) as memory:
        assert memory.grow(1) == 3


def test_a_view_of_a_file_shows_later_changes_and_survives_the_close(path, durability):
    memory = StableMemory.open(path, durability=durability)
    memory.grow(1)
    view = memory.view(0, 3)
    memory.write(0, b"abc")
    memory.grow(100)
    assert bytes(view) == b"abc"
    memory.close()
    assert bytes(view) == b"abc"


def test_a_closed_file(path, durability):
    memory = StableMemory.open(path, durability=durability)
    entries = StableBTreeMap[u64, u64](memory)
    memory.close()
    memory.close()
    for use in (memory.size, memory.sync, memory.checkpoint, memory.commit, lambda: entries.get(1), memory.transaction().__enter__):
        with pytest.raises(Closed):
            use()


def test_a_file_that_is_not_closed_by_hand_is_at_rest_when_its_last_user_goes(path, durability):
    memory = StableMemory.open(path, durability=durability)
    entries = StableBTreeMap[u64, u64](memory)
    entries[1] = 1
    del memory, entries
    assert list(path.parent.iterdir()) == [path]
    with StableMemory.open(path, "r") as memory:
        assert StableBTreeMap[u64, u64](memory)[1] == 1


def test_a_program_that_ends_without_closing_leaves_the_bare_image(path, durability):
    code = (
        "m = StableMemory.open(path, durability=sys.argv[2]); s = StableBTreeMap[u64, u64](m); s[1] = 1; keep = [m, s]; keep.append(keep)"
    )
    # An interpreter of its own: it is its end that matters.
    subprocess.run([sys.executable, "-c", HEAD + code, path, durability], check=True, timeout=60)
    assert list(path.parent.iterdir()) == [path]
    with StableMemory.open(path, "r") as memory:
        assert StableBTreeMap[u64, u64](memory)[1] == 1


# ---- what is refused ----


def test_a_size_that_is_no_multiple_of_a_page(path, durability):
    path.write_bytes(b"x" * 70_000)
    for mode in ("r", "r+"):
        with pytest.raises(CorruptMemory, match=r"65,536.*70000.*truncate -s %65536"):
            StableMemory.open(path, mode, durability)
    assert path.read_bytes() == b"x" * 70_000
    subprocess.run(["truncate", "-s", "%65536", path], check=True)  # noqa: S607 - the advice of the message
    with StableMemory.open(path) as memory:
        assert image_of(memory) == b"x" * 70_000 + bytes(2 * PAGE_SIZE - 70_000)


@pytest.mark.parametrize(
    ("case", "error"),
    [
        (("absent", "r"), pytest.raises(FileNotFoundError, match="absent")),
        (("no/such", "r+"), pytest.raises(FileNotFoundError, match="directory")),
        (("file", "x"), pytest.raises(FileExistsError, match="must not exist")),
        (("link", "r+"), pytest.raises(OSError, match="symbolic link")),
        (("directory", "r+"), pytest.raises((OSError, CorruptMemory), match=r"directory|regular")),
        (("pipe", "r+"), pytest.raises(CorruptMemory, match="regular file")),
        (("", "r"), pytest.raises(ValueError, match="path")),
        (("a\0b", "r+"), pytest.raises(ValueError, match="null character")),
        (("file", "w"), pytest.raises(ValueError, match="'r', 'r\\+', 'x', got 'w'")),
    ],
)
def test_what_cannot_be_opened(tmp_path, monkeypatch, durability, case, error):
    monkeypatch.chdir(tmp_path)
    name, mode = case
    Path("file").write_bytes(b"")
    Path("link").symlink_to("file")
    Path("directory").mkdir()
    os.mkfifo("pipe")
    before = set(tmp_path.iterdir())
    with error:
        StableMemory.open(name, mode, durability)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"durability": "high"}, "'none', 'normal', 'full', got 'high'"),
        ({"patience": -1}, "patience"),
        ({"patience": float("nan")}, "patience"),
    ],
)
def test_wrong_options(path, option, text):
    with pytest.raises(ValueError, match=text):
        StableMemory.open(path, **option)
    assert not path.exists()


def test_a_second_writer_is_refused_here_and_elsewhere(path, durability):
    with StableMemory.open(path, durability=durability) as memory:
        memory.grow(1)
        with pytest.raises(Locked, match="mode='r'"):
            StableMemory.open(path, durability=durability)
        other = run("StableMemory.open(path)", path, check=False)
        assert "Locked" in other.stderr
        assert memory.grow(1) == 1
    with StableMemory.open(path, durability=durability) as memory:
        assert memory.size() == 2


LOCKS = {name: (1 << 62) + number for number, name in enumerate(("WRITER", "READY", "GATE"))}
"""The bytes that are locked (native/storage/vfs.c)."""


@contextlib.contextmanager
def held(path: Path, *names: str) -> Iterator[None]:
    """Locks of the file, held as another handle holds them."""
    fcntl = pytest.importorskip("fcntl")
    if not hasattr(fcntl, "F_OFD_SETLK"):
        pytest.skip("Python does not know locks of open files here")
    with path.open("r+b") as file:
        for name in names:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, LOCKS[name], 1, 0))
        yield


def test_whoever_opens_waits_for_one_that_is_just_opening_or_recovering(path, durability):
    StableMemory.open(path).close()
    with ThreadPoolExecutor(1) as pool:
        with held(path, "WRITER"):
            opening = pool.submit(StableMemory.open, path, durability=durability)
            time.sleep(0.1)
            assert not opening.done()
        with opening.result() as memory:
            assert memory.grow(1) == 0


@pytest.mark.parametrize("patience", [0.0, 0.15])
def test_that_wait_ends_with_its_patience(path, durability, patience):
    StableMemory.open(path).close()
    before = time.monotonic()
    with held(path, "WRITER"), pytest.raises(Locked):
        StableMemory.open(path, durability=durability, patience=patience)
    assert patience <= time.monotonic() - before < 20


@contextlib.contextmanager
def opening_as(mode, lock, path, patience):
    StableMemory.open(path).close()
    with held(path, lock):
        yield lambda: StableMemory.open(path, mode, patience=patience).read(0, 0)


@contextlib.contextmanager
def putting_it_into_the_file(path, patience):
    with StableMemory.open(path, patience=patience) as memory:
        memory.grow(1)
        with held(path, "GATE"):
            yield memory.checkpoint


@contextlib.contextmanager
def taking_turns(path, patience):
    begun, over = threading.Event(), threading.Event()
    with StableMemory.open(path, patience=patience) as memory, ThreadPoolExecutor(1) as pool:

        def keep_it():
            with memory.transaction():
                begun.set()
                over.wait()

        keeping = pool.submit(keep_it)
        begun.wait()
        yield memory.transaction().__enter__
        over.set()
        keeping.result()


WAITS = {
    "open to write": partial(opening_as, "r+", "WRITER"),
    "read": partial(opening_as, "r", "GATE"),
    "checkpoint": putting_it_into_the_file,
    "begin": taking_turns,
}


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("patience", [0.001, 0.002, 0.017])
def test_no_wait_ends_early_nor_lasts_for_another_slice(path, wait, patience):
    """The core's clock counts whole milliseconds, the first of which has begun."""
    took = []
    with WAITS[wait](path, patience) as use:
        for _ in range(int(1 / patience) // 10):
            before = time.monotonic()
            with pytest.raises((Locked, MemoryInUse)):
                use()
            took.append(time.monotonic() - before)
    assert min(took) >= patience
    assert min(took) < patience + 0.025  # half of what the core waits for at once


def test_a_signal_ends_that_wait(path, durability):
    StableMemory.open(path).close()

    def give_up(*_: object) -> None:
        raise InterruptedError

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with held(path, "WRITER"), pytest.raises(InterruptedError):
            StableMemory.open(path, durability=durability)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    StableMemory.open(path, durability=durability).close()


def test_nobody_waits_for_a_writer_that_has_opened(path, durability):
    StableMemory.open(path).close()
    before = time.monotonic()
    with held(path, "WRITER", "READY"), pytest.raises(Locked):
        StableMemory.open(path, durability=durability, patience=100)
    assert time.monotonic() - before < 50


def test_what_readers_see(path, durability):
    with StableMemory.open(path, durability=durability) as writer:
        writer.grow(1)
        writer.checkpoint()
        with StableMemory.open(path, "r", patience=10) as reader:
            writer.write(0, b"abc")
            assert reader.read(0, 3) == b"abc"
            writer.checkpoint()
            assert reader.read(0, 3) == b"abc"
            writer.grow(1)
            writer.checkpoint()
            assert reader.size() == 2


@pytest.mark.parametrize("durability", LOGGED)
def test_a_reader_that_stays_keeps_the_log_beside_the_file(path, durability):
    writer = StableMemory.open(path, durability=durability, patience=0.05)
    writer.grow(1)
    writer.checkpoint()
    with StableMemory.open(path, "r") as reader, reader.transaction():
        assert reader.read(0, 3) == b"\0\0\0"
        writer.write(0, b"abc")
        for use in (writer.checkpoint, writer.close):
            with pytest.raises(Locked, match="nothing is lost"):
                use()
        with pytest.raises(Closed):
            writer.size()
        assert reader.read(0, 3) == b"\0\0\0"
    writer.close()
    with StableMemory.open(path) as memory:
        assert memory.read(0, 3) == b"abc"
    assert list(path.parent.iterdir()) == [path]


def test_a_readers_transaction_sees_one_state(path):
    with StableMemory.open(path, durability="full") as writer, StableMemory.open(path, "r") as reader:
        writer.grow(1)
        with reader.transaction():
            before = reader.read(0, 1)
            writer.write(0, b"x")
            assert reader.read(0, 1) == before == b"\0"
        writer.checkpoint()
        assert reader.read(0, 1) == b"x"


# ---- transactions ----


@pytest.fixture(params=["anonymous", *DURABILITIES])
def memory(request, path):
    with StableMemory() if request.param == "anonymous" else StableMemory.open(path, durability=request.param, patience=0.05) as memory:
        yield memory


def test_a_transaction_commits_at_the_end_of_its_block(memory):
    entries = StableBTreeMap[u64, u64](memory)
    with memory.transaction():
        entries.update(zip(range(1000), range(1000), strict=True))
    assert len(entries) == 1000
    with pytest.raises(MemoryInUse, match="no transaction is open"):
        memory.commit()


class Stop(BaseException):
    """As a KeyboardInterrupt."""


@pytest.mark.parametrize("error", [ValueError, Stop])
def test_an_exception_puts_back_every_byte_and_the_size(memory, error):
    entries = StableBTreeMap[u64, str](memory)
    entries.update(dict.fromkeys(range(100), "old"))
    before = image_of(memory)
    with pytest.raises(error, match="enough"), memory.transaction():  # noqa: PT012 - the block is the transaction
        entries.update(dict.fromkeys(range(50, 150), "new" * 2000))
        assert memory.size() > len(before) // PAGE_SIZE
        raise error("enough")
    assert image_of(memory) == before
    assert dict(entries) == dict.fromkeys(range(100), "old")
    entries.check()
    entries[7] = "still works"
    memory.grow(1)
    assert memory.read(memory.nbytes - PAGE_SIZE, PAGE_SIZE) == bytes(PAGE_SIZE)


def test_ended_early_the_rest_of_the_block_is_outside(memory):
    memory.grow(1)
    with memory.transaction() as transaction:
        memory.write(0, b"a")
        transaction.commit()
        memory.write(1, b"b")
    with memory.transaction() as transaction:
        memory.write(0, b"x")
        transaction.rollback()
        memory.write(2, b"c")
    with memory.transaction():
        memory.write(0, b"x")
        memory.rollback()
        memory.write(3, b"d")
    with pytest.raises(ZeroDivisionError), memory.transaction():  # noqa: PT012
        memory.write(4, b"e")
        memory.commit()
        1 / 0  # noqa: B018
    assert memory.read(0, 6) == b"abcde\0"


def test_a_second_transaction_in_the_block_of_an_ended_one(memory):
    memory.grow(1)
    with memory.transaction() as first:
        first.commit()
        with memory.transaction():
            memory.write(0, b"a")
            with pytest.raises(MemoryInUse, match="open on the memory"), memory.transaction():
                pass
            memory.write(1, b"b")
    assert memory.read(0, 3) == b"ab\0"


@pytest.mark.parametrize("durability", ["anonymous", *DURABILITIES])
def test_an_operation_that_fails_in_a_transaction_is_undone_alone(path, durability):
    with StableMemory(max_pages=5) if durability == "anonymous" else StableMemory.open(path, durability=durability, max_pages=5) as memory:
        entries, twin = StableBTreeMap[u64, str](memory), {}
        with memory.transaction():
            for i in range(100):
                twin[i] = "x" * 10_000
                try:
                    entries[i] = twin[i]
                except OutOfMemory:
                    del twin[i]
                    break
            entries.check()
            assert 20 < len(twin) < 50
            entries[0] = twin[0] = "small"
        assert dict(entries) == twin
        entries.check()


def test_a_transaction_covers_all_that_lies_over_the_memory(memory):
    memory.grow(10)
    part = RestrictedMemory(memory, range(2, 20))
    with pytest.raises(ValueError, match="back"), part.transaction():  # noqa: PT012
        memory.write(0, b"a")
        part.write(0, b"b")
        part.grow(5)
        raise ValueError("back")
    assert memory.size() == 10
    assert image_of(memory) == bytes(10 * PAGE_SIZE)
    with part.transaction():
        memory.write(0, b"a")
        memory.commit()
        with pytest.raises(MemoryInUse):
            part.rollback()
    assert memory.read(0, 1) == b"a"


def test_closing_in_a_transaction_rolls_it_back(path):
    memory = StableMemory.open(path)
    memory.grow(1)
    with pytest.raises(Closed), memory.transaction():  # noqa: PT012 - the end of the block raises
        memory.write(0, b"x")
        memory.close()
    with pytest.raises(KeyError), StableMemory.open(path) as memory, memory.transaction():  # noqa: PT012
        memory.write(0, b"x")
        memory.close()
        raise KeyError
    assert path.read_bytes() == bytes(PAGE_SIZE)


def test_sync_and_checkpoint_wait_for_the_end_of_a_transaction(path, durability):
    with StableMemory.open(path, durability=durability) as memory, memory.transaction():
        for use in (memory.sync, memory.checkpoint):
            with pytest.raises(MemoryInUse, match="end it first"):
                use()


def test_sync_and_checkpoint_of_an_anonymous_memory_do_nothing():
    memory = StableMemory()
    memory.sync()
    memory.checkpoint()


def test_a_checkpoint_puts_everything_into_the_file(path, durability):
    with StableMemory.open(path, durability=durability) as memory:
        memory.grow(1)
        memory.write(0, b"abc")
        memory.checkpoint()
        assert path.read_bytes() == b"abc" + bytes(PAGE_SIZE - 3)


def test_memories_written_in_python_have_no_transactions():
    part = RestrictedMemory(ListMemory(), range(10))
    with pytest.raises(MemoryInUse, match="callbacks"), part.transaction():
        pass


def test_other_threads_wait_for_the_end_of_a_transaction_and_then_give_up(path):
    found = []

    def other() -> None:
        try:
            found.append(memory.read(0, 1))
        except MemoryInUse as error:
            found.append(str(error))

    with StableMemory.open(path, patience=0.05) as memory:
        memory.grow(1)
        with memory.transaction():
            memory.write(0, b"x")
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "did not end in time" in found[0]
    assert found[1] == b"x"


def test_transfers_of_several_threads_keep_the_sum(path):
    with StableMemory.open(path) as memory:
        accounts = StableBTreeMap[u64, u64](memory)
        accounts.update(dict.fromkeys(range(10), 100))

        def work(start: int) -> None:
            for i in range(start, start + 50):
                with memory.transaction():
                    accounts[i % 10] -= 1
                    accounts[(i + 1) % 10] += 1

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(accounts.values()) == 1000
        accounts.check()


# ---- crashes ----

KILL = """
    memory = StableMemory.open(path, durability=sys.argv[2])
    entries = StableBTreeMap[u64, u64](memory)
    for i in range(500):
        entries[i] = i
    with memory.transaction():
        entries[1000] = 1
        entries[0] = 7
    memory.transaction().__enter__()
    entries[2000] = 2
    entries.clear()
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("durability", LOGGED)
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_killed_process_loses_what_was_not_committed_and_nothing_else(path, durability, mode):
    assert run(KILL, path, durability, check=False).returncode == -signal.SIGKILL
    assert path.with_name("state.bin-wal").exists()
    with StableMemory.open(path, mode) as memory, memory.transaction():
        entries = StableBTreeMap[u64, u64](memory)
        assert dict(entries) == {0: 7, **{i: i for i in range(1, 500)}, 1000: 1}
        entries.check()
    assert list(path.parent.iterdir()) == [path]


def test_a_damaged_log_is_an_error_and_nothing_is_changed(path):
    run(KILL, path, "normal", check=False)
    log = path.with_name("state.bin-wal")
    damaged = bytearray(log.read_bytes())
    damaged[:8192] = bytes(8192)
    log.write_bytes(damaged)
    before = path.read_bytes()
    for mode in ("r", "r+"):
        with pytest.raises(WalCorrupt, match="restore a backup"):
            StableMemory.open(path, mode)
    assert path.read_bytes() == before
    assert log.read_bytes() == damaged


def test_a_full_disk_is_an_error_and_nothing_is_changed(path, durability):
    code = """
        import resource
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        memory = StableMemory.open(path, durability=sys.argv[2])
        entries = StableBTreeMap[u64, str](memory)
        entries[0] = "first"
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))
        count = 0
        try:
            while count < 10_000:
                count += 1
                entries[count] = "x" * 10_000
        except OutOfMemory:
            pass
        assert 10 < count < 1000, count
        assert len(entries) == count and entries[0] == "first"
        entries.check()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    """
    result = run(code, path, durability, check=False)
    if "not allowed to raise" not in result.stderr:
        assert result.returncode == 0, result.stderr
    with StableMemory.open(path) as memory:
        entries = StableBTreeMap[u64, str](memory)
        entries.check()
        assert entries[0] == "first"


def test_a_forked_child_cannot_use_the_file_and_does_not_take_the_lock_with_it(path, durability):
    code = """
        memory = StableMemory.open(path, durability=sys.argv[2])
        entries = StableBTreeMap[u64, u64](memory)
        entries[1] = 1
        child = os.fork()
        if child == 0:
            try:
                entries[2] = 2
            except Closed as error:
                os._exit(7 if "fork" in str(error) else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        entries[3] = 3
        try:
            StableMemory.open(path)
        except Locked:
            pass
        else:
            raise SystemExit("the child took the lock with it")
        memory.close()
        with StableMemory.open(path) as memory:
            print(dict(StableBTreeMap[u64, u64](memory)))
    """
    assert run(code, path, durability).stdout == "{1: 1, 3: 3}\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_lock_ends_with_the_process_that_forked(path):
    """A child that lives on has none of the parent's locks."""
    code = """
        memory = StableMemory.open(path)
        memory.grow(1)
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.write(writing, b"I am")
            os.close(1)
            os.close(2)
            os.read(0, 1)
            os._exit(0)
        os.read(reading, 1)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with subprocess.Popen([sys.executable, "-c", HEAD + textwrap.dedent(code), path], stdin=subprocess.PIPE) as process:
        process.wait(30)
        with StableMemory.open(path) as memory:
            assert memory.size() == 1
        process.stdin.close()


def test_an_error_of_the_system_whose_number_a_signal_handler_covered_is_still_one():
    memory = StableMemory()
    memory.close()
    with pytest.raises(Closed):
        memory.size()
    with pytest.raises(OSError, match="checkpoint") as caught:
        native.fail(native.call.SS_SYSTEM, "checkpoint")
    assert caught.value.errno == errno.EIO


@pytest.mark.parametrize("permissions", [-1, 0o10000, 2**40])
def test_permissions_that_cannot_be(permissions, tmp_path):
    with pytest.raises(ValueError, match="permissions must be 0 to 0o7777"):
        StableMemory.open(tmp_path / "m", permissions=permissions)
    assert not list(tmp_path.iterdir())
