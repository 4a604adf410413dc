# SPDX-License-Identifier: Apache-2.0
"""What all tests share: hypothesis profiles, the seed of random runs and the time that stress tests may take."""

from __future__ import annotations

import compileall
import gc
import importlib.util
import itertools
import math
import mmap
import os
import re
import secrets
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from .support import command
from .support.combinations import some_of

if TYPE_CHECKING:
    from .support.browser import Browser

# Numpy's import starts a thread on each core, which waits in a loop for work that no test has: an eighth of the time of short processes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

MUCH_ADDRESS_SPACE = 16 << 40
"""An eighth of what a process can have."""

# Other random examples each time, in CI as well: the blob that a failure prints repeats it. No deadline: a sanitizer or a busy
# machine is no failure. Whoever changes something takes "quick", which looks at half of what CI does.
settings.register_profile("ci", derandomize=False, print_blob=True, deadline=None, max_examples=50)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=25)
settings.register_profile(
    "long", settings.get_profile("ci"), max_examples=10_000, stateful_step_count=200, suppress_health_check=[HealthCheck.too_slow]
)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
settings.load_profile(PROFILE)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("stable structures")
    group.addoption("--seed", type=int, default=None, help="seed of the random tests (default: another one each time)")
    usual = 1.0 if PROFILE == "quick" else 2.0
    group.addoption("--some-cases", action="store_true", help="each value of each parameter, and a third of their combinations")
    group.addoption("--duration", type=float, default=usual, metavar="SECONDS", help=f"how long each stress test runs (default: {usual:g})")


def compile_once() -> None:
    """Compile the package before there are other processes: each would do it for itself, with PYTHONDONTWRITEBYTECODE a hundred times."""
    package = importlib.util.find_spec("stable_structures")
    for folder in (package and package.submodule_search_locations) or ():
        compileall.compile_dir(folder, quiet=2)


def pytest_configure(config: pytest.Config) -> None:
    # xdist says 80 in its processes, and readline, behind Python's back, in one of its own; what is printed must not depend on that.
    os.environ.pop("COLUMNS", None)
    os.unsetenv("COLUMNS")
    # A script that starts the tests in the background, and nohup, have these ignored; processes of the tests would take that over.
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    sys._getframe().f_trace_opcodes = True  # Python 3.12 reports steps only to traces that begin after some frame asked for them
    if hasattr(config, "workerinput"):  # of xdist
        config.option.seed = config.workerinput["seed"]
        command.share(Path(config.workerinput["servers"]))
    else:
        compile_once()
    if config.option.seed is None:
        config.option.seed = secrets.randbits(32)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of xdist the seed that the header says, and the processes that all workers share."""
    node.workerinput["seed"] = node.config.option.seed
    node.workerinput["servers"] = str(command.servers())


@pytest.hookimpl(trylast=True)  # a case that -m leaves out has tried no value
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--some-cases`, leave most combinations of parameters to CI and to the runs after this one."""
    if not config.option.some_cases:
        return
    kept = some_of(items, config.option.seed)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than cores: a quarter of the time a test waits, for a process, a disk or a page in the browser."""
    del config
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep thousands of collected tests out of every later collection of garbage; those of the tests take a tenth of the time then.

    Nor is there one while tests are collected: what is made there stays, and a quarter of the time would go into looking at it.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _only_its_own_garbage(request: pytest.FixtureRequest) -> None:
    """In a file of tests that collect garbage, what is there before is left out of each collection: what other tests imported and keep.

    What was left out by the files before and is garbage by now is collected too when it is much: a memory takes address space until then.
    """
    if "gc" in vars(request.module):
        if _address_space() > MUCH_ADDRESS_SPACE:
            gc.unfreeze()
        gc.collect()
        gc.freeze()


def _address_space() -> float:
    """Return the bytes of address space that this process has taken; without an end if the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    except OSError:
        return math.inf


def pytest_report_header(config: pytest.Config) -> str:
    return f"random tests: --seed={config.option.seed} --duration={config.option.duration:g}"


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of its own, as pytest's, which looks through all that there are before it makes another: of thousands, 2 ms each time."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    return tmp_path_factory.mktemp(f"{name}{next(_folders)}", numbered=False)


_folders = itertools.count()


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of this run; the header prints it."""
    return pytestconfig.option.seed


@pytest.fixture(scope="session")
def duration(pytestconfig: pytest.Config) -> float:
    """The seconds for which a stress test goes on."""
    return pytestconfig.option.duration


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    """One page of a headless browser for all tests of this process."""
    from .support.browser import Browser  # noqa: PLC0415 - few need it

    one = Browser()
    yield one
    one.close()
