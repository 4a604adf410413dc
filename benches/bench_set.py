# SPDX-License-Identifier: Apache-2.0
"""StableBTreeSet and what does the same: each operation on its own, over `--entries` entries."""

from .groups import SETS
from .single import cases, run_single


@cases(SETS)
def test_operation(benchmark, group, operation, maker, entries):
    run_single(benchmark, group, operation, maker, entries)
