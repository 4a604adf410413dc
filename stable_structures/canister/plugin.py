# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin: fixtures `stable_memory` and `canister`, images of failed tests, readable differences of structures.

pytest finds it automatically if stable-structures is installed. `pytest -p no:stable_structures` disables it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import IO, Any, Final, Protocol

import pytest

from ..errors import Closed, StableError
from ..memory.memory import PAGE_SIZE, NativeMemory, StableMemory
from ..structures.structure import Structure
from .canister import Canister
from .program import describe
from .source import Source, is_path, near_names

_USED: Final = pytest.StashKey[list[Callable[[], NativeMemory]]]()
_MOST_LINES: Final = 20
_LONGEST_NAME: Final = 100
_DIGITS: Final = 12
_PLAIN_ID: Final = re.compile(r"[a-z0-9_-]+\.py::[a-z0-9_]+")
"""Ids for which the file name is unique, even on a file system that ignores case."""


class CanisterFactory(Protocol):
    """The type of the fixture `canister`, which takes the arguments of `Canister.install`."""

    def __call__(self, source: Source, arg: Any = None, memory: StableMemory | bytes | None = None, **options: Any) -> Canister:
        """Return a canister that is closed after the test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--stable-memory-dir`."""
    group = parser.getgroup("stable structures")
    group.addoption(
        "--stable-memory-dir",
        default=None,
        metavar="DIR",
        help="keep the stable memories of failed tests in this folder, as images that `python -m stable_structures` reads",
    )


def _used(request: pytest.FixtureRequest) -> list[Callable[[], NativeMemory]]:
    return request.node.stash.setdefault(_USED, [])  # type: ignore[no-any-return]


@pytest.fixture
def stable_memory(request: pytest.FixtureRequest) -> Iterator[StableMemory]:
    """Return a new, empty stable memory, closed after the test; `--stable-memory-dir` keeps it if the test fails."""
    with StableMemory() as memory:
        _used(request).append(lambda: memory)
        yield memory


@pytest.fixture
def canister(request: pytest.FixtureRequest) -> Iterator[CanisterFactory]:
    """Return a function that installs canisters; call it as `Canister.install`.

    >>> def test_counter(canister):  # doctest: +SKIP
    ...     counter = canister("counter.py")
    ...     assert counter.call("inc") == 1

    A relative path is also searched beside the test. All are closed after the test; `--stable-memory-dir` keeps their
    stable memories if the test fails.
    """
    made: list[Canister] = []
    folder = request.path.parent

    def install(source: Source, arg: Any = None, memory: StableMemory | bytes | None = None, **options: Any) -> Canister:
        __tracebackhide__ = True
        installed = Canister.install(beside(source, folder), arg, memory, **options)
        made.append(installed)
        _used(request).append(lambda: installed.memory)
        return installed

    yield install
    for one in made:
        one.close()


def beside(source: Source, folder: Path) -> Source:
    """Return the source, as a path in the folder of the test if there is such a file, or a similar name."""
    if not isinstance(source, (str, os.PathLike)) or (isinstance(source, str) and not is_path(source)):
        return source
    path, here = os.fsdecode(source), folder / os.fsdecode(source)
    if os.path.exists(path):  # noqa: PTH110 - Path raises for a long one
        return source
    return here if os.path.exists(here) or (not near_names(Path(path).absolute()) and near_names(here)) else source  # noqa: PTH110


# ---- images of failed tests ----


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the memories of a test that failed, before its fixtures close them; after that, pytest's item holds none of them."""
    report = yield
    folder: str | None = item.config.getoption("--stable-memory-dir")  # as text, so that it can be sent to workers of xdist
    if call.when != "teardown" and report.failed and folder is not None:
        lines = list(_keep_images(item, Path(folder)))
        if lines:
            report.sections.append(("stable memory", "\n".join(lines)))
    if call.when == "teardown":  # items live as long as the session, and each memory takes address space
        item.stash.setdefault(_USED, []).clear()
    return report


def _keep_images(item: pytest.Item, folder: Path) -> Iterator[str]:
    """Keep each memory that the test used; yield a line about each. Raise nothing, because a report must not end the session."""
    used: list[Callable[[], NativeMemory]] = item.stash.get(_USED, [])
    name = image_name(item.nodeid)
    for number, memory_of in enumerate(used):
        path = folder / f"{name}-{number}.bin"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_image(memory_of(), path)
        except Closed:
            continue
        except (OSError, StableError, MemoryError, ValueError) as error:
            yield f"memory {number} was not kept in {path}: {describe(error)}"
        else:
            yield f"kept in {path}"


def image_name(nodeid: str) -> str:
    """Return the file name of a test's images: its id in characters that files allow, and a digest if another id could look alike.

    >>> image_name("test_it.py::test_a")
    'test_it.py_test_a'
    >>> image_name("test_it.py::test_a[x/y]"), image_name("test_it.py::test_a[x y]")
    ('test_it.py_test_a_x_y-89ae5adb0382', 'test_it.py_test_a_x_y-7994c5ecf7ad')
    """
    readable = re.sub(r"[^a-zA-Z0-9_.-]+", "_", nodeid).strip("_")
    if _PLAIN_ID.fullmatch(nodeid) and len(readable) <= _LONGEST_NAME:
        return readable
    digest = hashlib.sha256(nodeid.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{readable[:_LONGEST_NAME]}-{digest}"


def write_image(memory: NativeMemory, path: Path) -> None:
    """Write the bytes of a memory to a file, with holes for pages of zeros. O(size).

    Written under another name and renamed at the end, so that there is never half an image. Raises `OSError`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            _write_pages(memory, file)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_pages(memory: NativeMemory, file: IO[bytes]) -> None:
    zeros = bytes(PAGE_SIZE)
    for number in range(memory.size()):
        page = memory.read(number * PAGE_SIZE, PAGE_SIZE)
        if page != zeros:
            file.seek(number * PAGE_SIZE)
            file.write(page)
    file.truncate(memory.nbytes)


# ---- assertion errors ----


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    """Return where two structures, or a structure and its expected content, differ."""
    del config
    if op != "==" or not (isinstance(left, Structure) or isinstance(right, Structure)):
        return None
    try:
        one, other = _plain(left), _plain(right)
    except Closed:
        return None
    return [f"{_shown(left)} == {_shown(right)}", *_limited(_differences(one, other))]


def _plain(value: object) -> Any:
    """Return the content of a structure, as a dict, set or list."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Structure):
        content: Any = list(value) if isinstance(value, Iterable) else value
        return set(content) if isinstance(value, AbstractSet) else content
    return value


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, Structure) else type(value).__name__


def _differences(one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        yield from (f"only left:  {key!r}: {value!r}" for key, value in one.items() if key not in other)
        yield from (f"only right: {key!r}: {value!r}" for key, value in other.items() if key not in one)
        yield from (f"at {key!r}: {value!r} != {other[key]!r}" for key, value in one.items() if key in other and value != other[key])
    elif isinstance(one, (set, frozenset)) and isinstance(other, (set, frozenset)):
        yield from (f"only left:  {item!r}" for item in one - other)
        yield from (f"only right: {item!r}" for item in other - one)
    elif isinstance(one, Sequence) and isinstance(other, Sequence):
        if len(one) != len(other):
            yield f"lengths {len(one)} != {len(other)}"
        yield from (f"at {i}: {a!r} != {b!r}" for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    else:
        yield f"{one!r} != {other!r}"


def _limited(lines: Iterator[str]) -> list[str]:
    found = list(lines)
    left = len(found) - _MOST_LINES
    return found if left <= 0 else [*found[:_MOST_LINES], f"... and {left} more"]
