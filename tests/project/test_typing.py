# SPDX-License-Identifier: Apache-2.0
"""The program that `.ci/run` holds against mypy and pyright does what it says, too."""

import runpy
from pathlib import Path


def test_the_typed_program_runs():
    names = runpy.run_path(str(Path(__file__).parent / "typing" / "user_program.py"), run_name="user_program")
    names["main"]()
