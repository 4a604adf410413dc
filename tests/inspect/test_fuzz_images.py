"""Damaged images of every structure for as long as --duration says; 100,000 take about two minutes.

pytest -m fuzz tests/fuzz --duration=120 -s
"""

from __future__ import annotations

import time

import pytest

from ..support.damaged_images import try_image

pytestmark = pytest.mark.fuzz


def test_damaged_images(seed, duration, capsys):
    until, number = time.monotonic() + duration, 0
    while time.monotonic() < until:
        try_image(seed, number)
        number += 1
    with capsys.disabled():
        print(f" {number:,} damaged images, --seed={seed}", end="")  # noqa: T201 - the number is the result
