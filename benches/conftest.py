# SPDX-License-Identifier: Apache-2.0
"""The bench_*.py files under pytest-benchmark: `pytest benches/bench_*.py`, `--entries` for the size."""

from __future__ import annotations

import pytest

DEFAULT_ENTRIES = 10_000


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("benches")
    group.addoption("--entries", type=int, default=DEFAULT_ENTRIES, help=f"of each structure (default: {DEFAULT_ENTRIES})")


@pytest.fixture(scope="session")
def entries(pytestconfig: pytest.Config) -> int:
    """Of each structure."""
    count: int = pytestconfig.option.entries
    return count
