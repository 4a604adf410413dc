# SPDX-License-Identifier: Apache-2.0
"""Every test of structures also shows that each operation drops its result: one that stays makes all later ones slower."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stable_structures import _native


@pytest.fixture(autouse=True)
def no_result_waits(request: pytest.FixtureRequest) -> Iterator[None]:
    before = int(_native.waiting[0])
    yield
    if request.node.get_closest_marker("interrupted") is None:
        assert int(_native.waiting[0]) == before
    _native.waiting[0] = before
