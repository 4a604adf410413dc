# SPDX-License-Identifier: Apache-2.0
"""Measurements: `python -m benches` runs everything, `pytest benches/bench_*.py` single operations under pytest-benchmark.

The parts: `work` (the entries, seeds and sizes), `ours`, `crate`, `peers` and `plain` (the contestants), `groups` (who runs
what), `measure` (rounds, checks, digests), `transactions`, `aims`, `space`, `report` and `plots`.
"""
