"""The memory of a verb: one budget, which its processes share."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from stable_structures import MemoryManager, StableBTreeMap, StableMemory, u64
from stable_structures.inspect import allowance, jobs, open_image, source
from stable_structures.inspect.formats import survey
from stable_structures.inspect.source import no_progress

MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one process")


@pytest.mark.parametrize("arrow", [False, True])
@pytest.mark.parametrize("cores", [1, 2, 3, 4, 16, 255])
def test_shares_and_processes_together_are_within_the_budget(arrow, cores, monkeypatch):
    for name in ("pyarrow",):
        monkeypatch.setitem(sys.modules, name, sys) if arrow else monkeypatch.delitem(sys.modules, name, raising=False)
    count = allowance.most_processes(cores, arrow=arrow)
    assert 1 <= count <= cores
    monkeypatch.setattr(allowance, "_processes", count)
    share = allowance.share()
    itself = allowance._ITSELF + allowance._ARROW * arrow
    each = (allowance._PROCESS + allowance._PARQUET * arrow) * (count > 1)
    assert itself + count * (each + share.cache + share.slices) < allowance.BUDGET
    assert share.cache >= MIB
    assert share.slices >= 5 * share.cache


def image(path: Path, rows: int, memories: int) -> Path:
    with StableMemory.open(path, "x") as memory:
        manager = MemoryManager(memory, bucket_pages=16)
        for number in range(memories):
            keys = np.random.default_rng(number).permutation(rows).astype(np.uint64)
            StableBTreeMap[u64, u64](manager.get(number)).insert_many(keys, keys)
    return path


@linux
@pytest.mark.parametrize("count", [1, 2, 4])
def test_each_process_sizes_its_cache_and_slices_by_its_share(count, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "LEAST", 1)
    path = image(tmp_path / "image.bin", 3000, 4)

    def sizes(number: int) -> tuple[int, int]:
        """Bytes of the cache that is made, and of the slices that a survey may have."""
        made: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr(
                source, "CachedFile", lambda *given, cache, real=source.CachedFile: made.append(cache) or real(*given, cache=cache)
            )
            patch.setattr(type(opened.source), "cheap_bytes", 0)
            walk = survey.native.MapSurvey
            patch.setattr(survey.native, "MapSurvey", lambda *given: made.append(given[4]) or walk(*given))
            reader = opened.parts[number].open()
            assert survey.MapSurvey(reader, pytest.fail).run().entries == 3000
        return max(made[:1], default=0), made[-1]

    with open_image(path) as opened:
        assert opened.source.memory() is opened.source.memory()
        tasks = [jobs.Task(1, lambda _, n=number: sizes(n)) for number in opened.parts]
        found = list(jobs.results(tasks, count, no_progress))
    monkeypatch.setattr(allowance, "_processes", count)
    expected = allowance.share()
    assert {slices for _, slices in found} == {expected.slices}
    if count > 1:  # with one, the cache was there already
        assert {cache for cache, _ in found} == {expected.cache}


def group_bytes(pid: int) -> int:
    """The proportional memory of a process and its children."""
    total, left = 0, [pid]
    while left:
        one = left.pop()
        try:
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{one}/smaps_rollup").read_text(), re.MULTILINE)
            left += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
        except OSError:
            continue
        total += int(found[1]) << 10 if found else 0
    return total


@linux
@pytest.mark.slow
@pytest.mark.parametrize("verb", ["check", "inspect", "dump", "database", "shrink", "repair", "diff", "map", "export"])
def test_a_verb_on_an_image_of_300_mb_holds_the_budget(verb, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "large"
    path = folder / "image.bin"
    if not path.exists():
        folder.mkdir()
        image(path, 1_300_000, 4)
    out = folder / f"{verb}.{os.getpid()}"
    words = {
        "check": ["check", path],
        "inspect": ["inspect", path, "--deep"],
        "dump": ["dump", path, "-o", f"{out}/"],
        "database": ["dump", path, "--memory", "0", "-o", f"{out}.sqlite"],
        "diff": ["diff", path, path],
        "map": ["map", path, "-o", f"{out}.html"],
        "export": ["export", path, "--memory", "0", "-o", out],
    }.get(verb, [verb, path, "-o", out])
    most = 0
    with subprocess.Popen([sys.executable, "-m", "stable_structures", *map(str, words)], stdout=subprocess.DEVNULL) as process:
        watch = threading.Thread(target=process.wait)
        watch.start()
        while watch.is_alive():
            most = max(most, group_bytes(process.pid))
            time.sleep(0.02)
    sys.stdout.write(f"{verb}: {most / MIB:.0f} MiB\n")
    assert process.returncode == 0
    assert most <= allowance.BUDGET
