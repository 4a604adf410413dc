# SPDX-License-Identifier: Apache-2.0
"""StableLog and what does the same: each operation on its own, over `--entries` entries."""

from .groups import LOGS
from .single import cases, run_single


@cases(LOGS)
def test_operation(benchmark, group, operation, maker, entries):
    run_single(benchmark, group, operation, maker, entries)
