# SPDX-License-Identifier: Apache-2.0
"""Encodings of values that the harness and the inspector share: candid/ reads and writes Candid, with its text and its subtyping."""
