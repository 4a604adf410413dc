# SPDX-License-Identifier: Apache-2.0
"""StableBTreeMap and what does the same: each operation on its own, over `--entries` entries."""

from .groups import MAPS
from .single import cases, run_single


@cases(MAPS)
def test_operation(benchmark, group, operation, maker, entries):
    run_single(benchmark, group, operation, maker, entries)
