"""Maps beside their twins, byte for byte, for as long as --duration says.

pytest -m fuzz tests/fuzz --duration=3600
"""

from __future__ import annotations

import random
import time

import pytest

from ..support.map_twins import MEMORIES, MapTwins
from .test_btreemap import LONG_RUNS, random_step

pytestmark = pytest.mark.fuzz


@pytest.mark.parametrize("types", sorted(LONG_RUNS))
def test_long_random_runs(types, seed, duration):
    key_type, value_type, key, value = LONG_RUNS[types]
    random_ = random.Random(f"{seed} fuzz {types}")
    until = time.monotonic() + duration / len(LONG_RUNS)
    while time.monotonic() < until:
        twins = MapTwins(key_type, value_type, random_.choice(sorted(MEMORIES)))
        for step in range(20_000):
            random_step(twins, random_, key, value)
            if step % 16 == 0:
                twins.check()
            if time.monotonic() > until:
                break
        twins.check()
        twins.same_contents()
