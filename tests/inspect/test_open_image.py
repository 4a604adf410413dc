"""open_image: what is in an image is found as it was written, through structures that nothing can change."""

from __future__ import annotations

import gzip
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stable_structures import (
    PAGE_SIZE,
    Array,
    Blob,
    Closed,
    MemoryManager,
    Principal,
    ReadOnly,
    StableBTreeMap,
    StableBTreeSet,
    StableLog,
    StableMemory,
    StableVec,
    codec,
    open_image,
    u8,
    u64,
)
from stable_structures.inspect import Unreadable
from stable_structures.inspect.guessed import Sides
from stable_structures.inspect.source import Source

from ..inspect.test_schema import WHOLE, fill, principal
from ..support.examples import examples
from ..support.garbage import survives


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "x.bin"
    with StableMemory.open(found, durability="none") as memory:
        fill(memory)
    return found


def test_every_structure_is_opened_with_the_types_of_the_schema_or_a_guess(path):
    (path.parent / "memories.toml").write_text(WHOLE)
    with open_image(path) as image:
        assert list(image.memories) == [0, 1, 2, 4, 5, 6, 7]
        assert image["users"][principal(3)] == {"age": 3, "name": "user 3"}
        assert image.memories["points"] is image[1]
        assert list(image["events"]) == ["began", "ended"]
        assert list(image[4]) == ["x", "yy"]
        assert image[6].peek() == 1
        assert str(image.types("users")) == "map[Principal, candid<record { age : nat8; name : text }>]"
        assert [str(image.types(i)) for i in (1, 4, 7)] == ["vec[u64]", "set[str?]", "map[u64?, bytes?]"]
        assert "users" in image
        assert 3 not in image


def test_nothing_can_be_changed(path):
    with open_image(path) as image:
        for change in (image[0].clear, lambda: image[1].push(1), lambda: image[2].append("x"), image[6].pop):
            with pytest.raises(ReadOnly):
                change()


def test_what_is_not_there_is_a_key_error_with_what_is(path):
    with open_image(path) as image:
        with pytest.raises(KeyError, match="memory 99 not found; it has 0, 1, 2"):
            image[99]
        with pytest.raises(KeyError, match="no schema names"):
            image["users"]


def test_closing_closes_the_structures(path):
    image = open_image(path)
    users = image[0]
    image.close()
    image.close()
    with pytest.raises(Closed):
        len(users)
    with pytest.raises(Closed, match="open it again"):
        image[0]


def test_an_image_of_a_file_can_be_pickled(path):
    (path.parent / "memories.toml").write_text(WHOLE)
    with open_image(path) as image, pickle.loads(pickle.dumps(image)) as copy:  # noqa: S301 - our own
        assert dict(copy["users"]) == dict(image["users"])
    with pytest.raises(TypeError, match="save it as a file"):
        pickle.dumps(open_image(StableMemory()))


def test_a_gzip_and_a_running_memory_are_images(path, tmp_path):
    packed = tmp_path / "x.bin.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with open_image(packed) as image:
        assert len(image[0]) == 30
    memory = StableMemory()
    running = StableVec[u64](memory)
    running.extend([1, 2])
    with open_image(memory) as image:
        assert list(image[None]) == [1, 2]
    running.push(3)
    assert list(running) == [1, 2, 3]


@settings(max_examples=examples(25))
@given(st.dictionaries(st.binary(max_size=12), st.text(min_size=1, max_size=12), min_size=12, max_size=60))
@pytest.mark.parametrize("key", [bytes, Blob(12), Principal], ids=str)
def test_keys_of_any_type_are_found_by_what_the_image_shows_as_keys(key, entries):
    memory = StableMemory()
    made = Principal if key is Principal else bytes
    StableBTreeMap[key, str](memory).update({made(data): text for data, text in entries.items()})
    with open_image(memory) as image:
        found = image[None]
        shown = list(found)
        assert len(shown) == len(entries)
        assert all(shown_key in found for shown_key in shown)
        assert [found[one] for one in shown] == list(found.values())


@pytest.mark.parametrize(("tp", "key"), [(Principal, Principal(b"\0")), (Blob(3), b""), (Array(4), b"\x3f\x80\0\0"), (bytes, bytes(8))])
def test_a_guess_at_keys_is_a_type_that_keys_can_have(tp, key):
    memory = StableMemory()
    StableBTreeMap[codec(tp), str](memory)[key] = "0"
    with open_image(memory) as image:
        assert len(list(image[None])) == 1


def test_types_that_cannot_be_guessed_are_asked_for(tmp_path, monkeypatch):
    memory = StableMemory()
    StableBTreeMap[Principal, str](memory)[Principal(b"\0")] = "0"
    path = tmp_path / "x.bin"
    path.write_bytes(memory.read(0, memory.nbytes))
    with monkeypatch.context() as patch, open_image(path) as image:
        patch.setattr("stable_structures.image.types_of", lambda _: Sides(codec(u64), codec(u64), (True, True)))
        with pytest.raises(Unreadable, match="give them in a schema"):
            image[None]
    (tmp_path / "memories.toml").write_text('[image]\nkey = "principal"\nvalue = "string"')
    with open_image(path) as image:
        assert image[None][Principal(b"\0")] == "0"


def test_a_log_whose_data_is_said_by_the_schema(tmp_path):
    memory = StableMemory()
    manager = MemoryManager(memory, bucket_pages=1)
    StableLog[u8](manager.get(1), manager.get(9)).extend([1, 2, 3])
    path = tmp_path / "x.bin"
    path.write_bytes(memory.read(0, memory.nbytes))
    (tmp_path / "memories.toml").write_text('[memories.1]\nname = "log"\nstructure = "log"\nvalue = "u8"\ndata = 9')
    with open_image(path) as image:
        assert list(image["log"]) == [1, 2, 3]


GARBAGE = """
with StableMemory.open(path) as memory:
    StableBTreeMap[u64, str](memory).insert_many(range(3000), map(str, range(3000)))
writer = StableMemory.open(path)
StableBTreeMap[u64, str](writer)[1] = "of the log"

def fill(bag):
    bag.image = open_image(path)
    bag.map = bag.image[None]
    bag.loop = iter(bag.map.items())
    assert next(bag.loop)

def tie(user): user.image.user = user

def use(user, turn):
    assert user.map[1] == "of the log" and user.map[2999] == "2999"
    user.map.check()
    seen.append(sum(1 for _ in user.map))
    try: next(user.loop)
    except (StopIteration, Closed, RuntimeError): pass
"""


def test_finalizers_may_use_an_image_that_is_garbage_with_them(tmp_path):
    """Neither the file nor the log over it is closed by its own finalizer while another one reads."""
    survives(GARBAGE, tmp_path / "state.bin")


def test_an_image_of_a_memory_that_is_closed_can_be_closed():
    memory = StableMemory()
    StableBTreeMap[u64, str](memory).update({1: "one"})
    with open_image(memory) as image:
        memory.close()
    image.close()
    assert repr(image) == "<Image memory: a bare map, closed>"


def test_closing_reads_nothing(tmp_path, monkeypatch):
    memory = StableMemory()
    StableBTreeSet[u64](memory).update(range(9))
    path = tmp_path / "set.bin"
    path.write_bytes(memory.read(0, PAGE_SIZE * memory.size()))
    with open_image(path) as image:
        monkeypatch.setattr(Source, "read", lambda *_: pytest.fail("a read"))
    monkeypatch.undo()
    assert image.title == "a bare map"  # nobody has asked for more
    with open_image(path) as image:
        assert image.title == "a bare set"
    assert image.title == "a bare set"
