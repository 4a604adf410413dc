"""`-` is the standard input and output of every verb that takes a file, or the verb says why not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from stable_structures import MemoryManager, StableBTreeMap, StableMemory, u64

from ..support import command

TYPES = ["--memory", "0", "--key-type", "u64", "--value-type", "string"]
TO_OUTPUT = {
    "map": ["map", "IMAGE"],
    "map svg": ["map", "IMAGE", "--format", "svg"],
    "map png": ["map", "IMAGE", "--format", "png"],
    "dump": ["dump", "IMAGE", *TYPES],
    "dump parquet": ["dump", "IMAGE", *TYPES, "--format", "parquet"],
    "export": ["export", "IMAGE", "--memory", "0"],
    "import": ["import", "IMAGE", "--memory", "3"],
    "load": ["load", "DUMP", "--key-type", "u64", "--value-type", "string"],
    "repair": ["repair", "IMAGE"],
    "shrink": ["shrink", "IMAGE"],
}
REFUSED = {
    "dump sqlite": (["dump", "IMAGE", "--format", "sqlite"], "is not written in order"),
    "dump of many": (["dump", "IMAGE", "IMAGE"], "give -o FOLDER/"),
}


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("streams") / "image.bin"
    with StableMemory.open(path) as memory:
        StableBTreeMap[u64, str](MemoryManager(memory, bucket_pages=1).get(0)).update({i: f"user {i}" for i in range(3000)})
    path.with_name("dump.csv").write_text("key,value\n" + "".join(f"{i},user {i}\n" for i in range(20_000)))
    return path


def words(found: list[str], image: Path, out: str = "-") -> list[str]:
    places = {"IMAGE": str(image), "DUMP": str(image.with_name("dump.csv"))}
    return [*(places.get(word, word) for word in found), "-o", out]


@pytest.mark.parametrize("name", TO_OUTPUT)
def test_the_standard_output_gets_the_bytes_of_the_file(name, image, tmp_path):
    kind = name.rpartition(" ")[2]
    path = tmp_path / f"out.{ {'map': 'html', 'svg': 'svg', 'png': 'png'}.get(kind, 'bin') }"
    done = command.run(words(TO_OUTPUT[name], image, str(path)), text=False)
    streamed = command.run(words(TO_OUTPUT[name], image), text=False)
    assert (done.returncode, streamed.returncode) == (0, 0), streamed.stderr
    assert streamed.stdout == path.read_bytes() or (kind == "svg" and streamed.stdout[:5] == b"<?xml")  # it has random names


@pytest.mark.parametrize("name", TO_OUTPUT)
def test_a_reader_that_goes_away_ends_it_quietly(name, image):
    reader, writer = os.pipe()
    os.close(reader)
    done = command.run(words(TO_OUTPUT[name], image), stdout=writer)
    os.close(writer)
    assert done.returncode == 0
    assert "cannot be written" not in done.stderr


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_there_is_said(name, image):
    found, said = REFUSED[name]
    done = command.run(words(found, image))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize("form", ["csv", "jsonl", "cbor", "parquet"])
def test_dumps_are_loaded_from_a_pipe(form, image, tmp_path):
    dumped = command.run(words(["dump", "IMAGE", *TYPES, "--format", form], image), text=False)
    path = tmp_path / f"dump.{form}"
    path.write_bytes(dumped.stdout)
    types = ["--key-type", "u64", "--value-type", "string", "-o"]
    made: list[Any] = []
    for place in (path, "-"):
        out = tmp_path / f"{len(made)}.bin"
        loading = ["load", place, "--format", form, *types, out]
        done = command.run(loading) if place is path else command.run_given(loading, dumped.stdout)
        assert done.returncode == 0, done.stderr
        made.append(out.read_bytes())
    assert made[0] == made[1]
