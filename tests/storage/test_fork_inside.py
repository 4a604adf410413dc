# SPDX-License-Identifier: Apache-2.0
"""A fork inside a comparison of keys, where both processes return from it: the child changes nothing of the parent's."""

from __future__ import annotations

import os

import pytest

from stable_structures import StableMemory

from ..support import command, fork_inside
from ..support.fork_inside import CHANGES, World


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_a_child_that_returns_from_a_comparison_changes_nothing(tmp_path, durability, name):
    path = tmp_path / "state.bin"
    command.call(fork_inside.scenario, path, durability, name)
    world = World(path, durability)
    assert world.numbers() == list(map(int, (tmp_path / "numbers").read_text().split()))
    world.memory.close()


@pytest.mark.parametrize("durability", ["none", "normal", "full"])
def test_views_of_the_parent_stay_readable_in_the_child(tmp_path, durability):
    with StableMemory.open(tmp_path / "state.bin", durability=durability) as memory:
        memory.grow(2)
        memory.write(5, b"before")
        view = memory.view(0, 20)
        pid = os.fork()
        if pid == 0:
            os._exit(0 if view[5:11].tobytes() == b"before" else 1)
        assert os.waitpid(pid, 0)[1] == 0
