# SPDX-License-Identifier: Apache-2.0
"""Encodings of values that the harness and the inspector share.

candid/   Candid: types, text, subtyping, values with a type and without one   basilisk.py   Basilisk's tagged values
limits.py   how much is read of bytes that anybody may have written
"""
