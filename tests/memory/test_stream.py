"""Reader and Writer: raw streams over any memory, and what the standard library builds on them."""

from __future__ import annotations

import array
import gc
import io
import os
import pickle
import shutil
import threading

import cbor2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stable_structures import PAGE_SIZE, Closed, MemoryInUse, OutOfBounds, OutOfMemory, Reader, RestrictedMemory, StableMemory, Writer

from ..support.memories import Boom, FailingMemory, ListMemory, Trigger


def restricted() -> RestrictedMemory:
    return RestrictedMemory(StableMemory(), range(2, 1000))


KINDS = {
    "flat": StableMemory,
    "restricted": restricted,
    "python": ListMemory,
    "restricted python": lambda: RestrictedMemory(ListMemory(), range(1, 900)),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def memory(request):
    return request.param()


# ---- one stream ----


def test_what_is_written_is_read_back_and_the_rest_of_the_memory_is_untouched(memory):
    assert Writer(memory, 10).write(b"hello") == 5
    assert memory.read(9, 7) == b"\0hello\0"
    assert Reader(memory, 10).read(5) == b"hello"


@pytest.mark.parametrize(
    ("offset", "length", "pages"), [(0, 1, 1), (0, PAGE_SIZE, 1), (0, PAGE_SIZE + 1, 2), (PAGE_SIZE, 1, 2), (3 * PAGE_SIZE - 1, 2, 4)]
)
def test_a_write_grows_by_the_fewest_pages(memory, offset, length, pages):
    assert Writer(memory, offset).write(b"x" * length) == length
    assert memory.size() == pages
    assert Reader(memory, offset).read(length) == b"x" * length


def test_a_write_that_fits_does_not_grow(memory):
    memory.grow(3)
    Writer(memory, PAGE_SIZE).write(b"x" * (2 * PAGE_SIZE))
    assert memory.size() == 3


@pytest.mark.parametrize(
    "make", [lambda: StableMemory(max_pages=2), lambda: ListMemory(2), lambda: RestrictedMemory(StableMemory(), range(1, 3))]
)
def test_a_write_that_cannot_grow_writes_nothing(make):
    memory = make()
    writer = Writer(memory)
    writer.write(b"a" * PAGE_SIZE)
    writer.seek(-10, io.SEEK_CUR)
    with pytest.raises(OutOfMemory):
        writer.write(b"b" * (2 * PAGE_SIZE))
    assert memory.size() == 1
    assert memory.read(0, PAGE_SIZE) == b"a" * PAGE_SIZE
    assert writer.tell() == PAGE_SIZE - 10


def test_the_end_of_the_memory_is_the_end_of_the_file(memory):
    memory.grow(1)
    reader = Reader(memory, PAGE_SIZE - 3)
    buffer = bytearray(b"?" * 5)
    assert reader.readinto(buffer) == 3
    assert buffer == b"\0\0\0??"
    assert reader.readinto(buffer) == 0
    assert reader.read(1) == b""
    assert reader.read() == b""
    memory.grow(1)
    assert reader.read(1) == b"\0"


def test_a_reader_past_the_end_finds_nothing(memory):
    reader = Reader(memory, 12345)
    assert reader.read() == b""
    assert reader.readinto(bytearray(3)) == 0
    assert reader.tell() == 12345


def test_reading_to_the_end(memory):
    data = os.urandom(2 * PAGE_SIZE)
    Writer(memory).write(data)
    assert Reader(memory).read() == Reader(memory).readall() == Reader(memory).read(None) == data
    assert Reader(memory, 5).read(10**15) == data[5:]


def test_seek_and_tell_as_in_a_file(memory):
    memory.grow(2)
    for stream in (Reader(memory, 7), Writer(memory, 7)):
        assert stream.tell() == 7
        assert stream.seek(5, io.SEEK_CUR) == 12
        assert stream.seek(-2, io.SEEK_END) == 2 * PAGE_SIZE - 2
        assert stream.seek(10 * PAGE_SIZE) == stream.tell() == 10 * PAGE_SIZE
        assert stream.seek(0) == 0


def test_a_refused_seek_leaves_the_position(memory):
    for stream in (Reader(memory, 7), Writer(memory, 7)):
        for bad in (-1, 2**63, 2**80):
            with pytest.raises(OutOfBounds):
                stream.seek(bad)
        with pytest.raises(OutOfBounds):
            stream.seek(-8, io.SEEK_CUR)
        with pytest.raises(ValueError, match="whence"):
            stream.seek(0, 3)
        with pytest.raises(TypeError):
            stream.seek(1.5)
        assert stream.tell() == 7


def test_the_last_position_is_no_way_round_the_limit():
    memory = StableMemory()
    with pytest.raises(OutOfMemory):
        Writer(memory, 2**63 - 1).write(b"abc")
    assert memory.size() == 0


@pytest.mark.parametrize("kind", [Reader, Writer])
def test_what_cannot_be_a_stream(kind):
    with pytest.raises(OutOfBounds, match="-1"):
        kind(StableMemory(), -1)
    with pytest.raises(TypeError, match="bytearray lacks size"):
        kind(bytearray())
    with pytest.raises(TypeError):
        kind(StableMemory(), "0")


def test_any_buffer_is_written_and_filled(memory):
    numbers = array.array("Q", range(100))
    assert Writer(memory).write(numbers) == 800
    found = np.zeros((10, 10), dtype="<u8")
    assert Reader(memory).readinto(found) == 800
    assert found.ravel().tolist() == numbers.tolist()
    with pytest.raises(TypeError):
        Writer(memory).write("text")
    with pytest.raises((BufferError, ValueError)):
        Writer(memory).write(memoryview(b"abcdef")[::2])
    with pytest.raises(TypeError):
        Reader(memory).readinto(b"constant")
    assert Reader(memory).read(800) == numbers.tobytes()


# ---- wrong direction, closed ----


def test_each_stream_has_one_direction():
    memory = StableMemory()
    reader, writer = Reader(memory), Writer(memory)
    assert (reader.readable(), reader.writable(), reader.seekable()) == (True, False, True)
    assert (writer.readable(), writer.writable(), writer.seekable()) == (False, True, True)
    with pytest.raises(io.UnsupportedOperation, match="Writer"):
        reader.write(b"x")
    for use in (writer.read, writer.readall, writer.readline, lambda: writer.readinto(bytearray(1))):
        with pytest.raises(io.UnsupportedOperation, match="Reader"):
            use()
    for stream in (reader, writer):
        for use in (stream.fileno, stream.truncate):
            with pytest.raises(io.UnsupportedOperation):
                use()


USES = {
    "read": lambda s: s.read(1),
    "readall": lambda s: s.readall(),
    "readinto": lambda s: s.readinto(bytearray(1)),
    "write": lambda s: s.write(b"x"),
    "tell": lambda s: s.tell(),
    "seek": lambda s: s.seek(0),
    "direction": lambda s: s.readable() if isinstance(s, Reader) else s.writable(),
    "seekable": lambda s: s.seekable(),
}


@pytest.mark.parametrize("kind", [Reader, Writer])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_closed_stream_says_so_and_leaves_the_memory_open(kind, use):
    memory = StableMemory()
    stream = kind(memory)
    stream.close()
    stream.close()
    with pytest.raises(ValueError):  # noqa: PT011 - as the streams of the standard library; ours are Closed
        use(stream)
    assert stream.closed
    assert memory.grow(1) == 0


def test_a_closed_stream_raises_closed():
    with Reader(StableMemory()) as reader:
        pass
    with pytest.raises(Closed, match="Reader is closed"):
        reader.read()


def test_streams_over_a_closed_memory():
    memory = StableMemory()
    reader, writer, buffered = Reader(memory), Writer(memory), io.BufferedReader(Reader(memory))
    memory.close()
    for use in (
        reader.read,
        lambda: reader.readinto(bytearray(1)),
        lambda: writer.write(b"x"),
        lambda: writer.seek(0, io.SEEK_END),
        buffered.read,
    ):
        with pytest.raises(Closed):
            use()
    assert not reader.closed
    reader.close()


def test_a_stream_keeps_its_memory_alive():
    reader = Reader(RestrictedMemory(StableMemory(), range(4)))
    reader.memory.grow(1)
    assert reader.read(3) == b"\0\0\0"


# ---- what the standard library makes of them ----


def test_buffered_streams(memory):
    with io.BufferedWriter(Writer(memory), 1000) as file:
        for i in range(20_000):
            file.write(b"%06d\n" % i)
    assert memory.size() == 3
    with io.BufferedReader(Reader(memory), 1000) as file:
        assert file.readline() == b"000000\n"
        file.seek(7 * 12_345)
        assert file.readline() == b"012345\n"
        assert file.peek(7)[:7] == b"012346\n"


def test_text(memory):
    with io.TextIOWrapper(io.BufferedWriter(Writer(memory)), encoding="utf-8", newline="\n") as file:
        print("Zürich", "東京", sep="\n", file=file)
    with io.TextIOWrapper(io.BufferedReader(Reader(memory)), encoding="utf-8") as file:
        assert [file.readline() for _ in range(2)] == ["Zürich\n", "東京\n"]


def test_copyfileobj_both_ways(memory):
    data = os.urandom(300_000)
    shutil.copyfileobj(io.BytesIO(data), Writer(memory))
    copy = io.BytesIO()
    shutil.copyfileobj(Reader(memory), copy)
    assert memory.size() == 5
    assert copy.getvalue() == data + bytes(5 * PAGE_SIZE - len(data))


def test_pickle_and_cbor_straight_on_the_raw_streams(memory):
    value = {"n": list(range(20_000)), "blob": b"x" * 200_000, "text": "ü" * 1000}
    writer = Writer(memory)
    pickle.dump(value, writer)
    middle = writer.tell()
    cbor2.dump(value, writer)
    reader = Reader(memory)
    assert pickle.load(reader) == value  # noqa: S301 - our own
    assert cbor2.load(Reader(memory, middle)) == value


def test_two_items_one_behind_the_other(memory):
    with io.BufferedWriter(Writer(memory)) as file:
        cbor2.dump([1], file)
        cbor2.dump("two", file)
    with io.BufferedReader(Reader(memory)) as file:
        decoder = cbor2.CBORDecoder(file)
        assert [decoder.decode(), decoder.decode()] == [[1], "two"]


def test_a_full_memory_under_a_buffered_writer_loses_nothing_that_it_holds():
    memory = ListMemory(max_pages=1)
    file = io.BufferedWriter(Writer(memory), 4096)
    file.write(b"a" * (PAGE_SIZE - 10))
    file.write(b"b" * 100)
    with pytest.raises(OutOfMemory):
        file.flush()
    assert memory.read(PAGE_SIZE - 10, 10) == bytes(10)
    memory.max_pages = 2
    file.flush()
    assert memory.size() == 2
    assert memory.read(PAGE_SIZE - 11, 102) == b"a" + b"b" * 100 + b"\0"
    file.close()


def test_closing_a_buffered_writer_over_a_full_memory_raises():
    memory = StableMemory(max_pages=1)
    file = io.BufferedWriter(Writer(memory, PAGE_SIZE - 1))
    file.write(b"ab")
    with pytest.raises(OutOfMemory):
        file.close()
    assert memory.size() == 0
    assert file.closed


def test_what_a_memory_in_python_raises_comes_out_as_itself():
    trigger = Trigger()
    memory = FailingMemory(trigger)
    writer = Writer(memory)
    writer.write(b"a" * PAGE_SIZE)
    trigger.arm("write", 1)
    with pytest.raises(Boom):
        writer.write(b"x")
    trigger.arm("read", 1)
    with pytest.raises(Boom):
        Reader(memory).read(1)
    trigger.arm("", 0)
    assert Reader(memory).read(1) == b"a"


def test_an_error_under_a_buffered_reader_keeps_nothing_of_its_buffer():
    """The buffer is gone when the traceback goes; what still pointed into it then would end the process."""
    trigger, errors = Trigger(), []
    memory = FailingMemory(trigger)
    memory.grow(10)
    for n in range(1, 30):
        file = io.BufferedReader(Reader(memory), 1000)
        trigger.arm("read", n)
        with pytest.raises(Boom) as caught:
            shutil.copyfileobj(file, io.BytesIO(), 5000)
        errors.append(caught.value)
        del caught, file
        gc.collect()
    errors.clear()
    gc.collect()


def test_a_memory_in_python_that_reads_itself_through_a_stream_is_refused():
    class Loop(ListMemory):
        def read(self, offset: int, length: int, /) -> bytes:
            return Reader(self, offset).read(length)

    memory = Loop()
    memory.grow(1)
    with pytest.raises(MemoryInUse):
        Reader(memory).read(1)


# ---- against a file, and from threads ----

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.binary(max_size=3000)),
        st.tuples(st.just("seek"), st.integers(0, 4 * PAGE_SIZE)),
        st.tuples(st.just("read"), st.integers(0, 3000)),
        st.tuples(st.just("big"), st.integers(0, 2 * PAGE_SIZE)),
    ),
    max_size=20,
)


@example(kind="flat", buffered=True, steps=[("write", b"\0"), ("read", 1), ("write", b"\1"), ("seek", 1), ("read", 2)])
@given(st.sampled_from(sorted(KINDS)), st.booleans(), STEPS)
def test_streams_do_what_a_file_does(kind, buffered, steps):
    """The twin is a BytesIO that is filled up with zeros to a whole page."""
    memory, twin = KINDS[kind](), io.BytesIO()
    writer = io.BufferedWriter(Writer(memory), 500) if buffered else Writer(memory)
    reader = io.BufferedReader(Reader(memory), 500) if buffered else Reader(memory)
    for step, value in steps:
        if step in {"write", "big"} and buffered:
            # What one has read already is in its buffer, whatever is written elsewhere.
            reader = io.BufferedReader(Reader(memory), 500)
        if step == "seek":
            writer.seek(value)
            twin.seek(value)
        elif step in ("write", "big"):
            data = value if step == "write" else b"\xab" * value
            if data:
                assert writer.write(data) == twin.write(data) == len(data)
            writer.flush()
            at = twin.tell()
            size = len(twin.getbuffer())
            twin.seek(size)
            twin.write(bytes(-size % PAGE_SIZE))
            twin.seek(at)
        else:
            reader.seek(twin.tell())
            assert reader.read(value) == twin.read(value)
            writer.seek(reader.tell())
        assert writer.tell() == twin.tell()
    assert Reader(memory).read() == twin.getvalue()


def test_writers_in_several_threads():
    memory = StableMemory()

    def work(number: int) -> None:
        writer = Writer(memory)
        for i in range(200):
            writer.seek((i * 4 + number) * 1000)
            writer.write(bytes([number]) * 1000)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Reader(memory).read(800_000) == b"".join(bytes([n]) * 1000 for n in range(4)) * 200
