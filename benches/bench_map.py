# SPDX-License-Identifier: Apache-2.0
"""StableBTreeMap and what does the same: each operation on its own, over `--entries` entries."""

from typing import Any

from .groups import MAPS, Group, Maker
from .single import cases, run_single


@cases(MAPS)
def test_operation(benchmark: Any, group: Group, operation: str, maker: Maker, entries: int) -> None:
    run_single(benchmark, group, operation, maker, entries)
