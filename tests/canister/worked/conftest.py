# SPDX-License-Identifier: Apache-2.0
"""The sources of the worked examples are canisters: they run inside one, not as modules of the test."""

collect_ignore_glob = ["sources/*"]
