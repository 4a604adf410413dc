# SPDX-License-Identifier: Apache-2.0
"""Candid: interfaces, values as bytes and as text, and whether one interface may replace another.

types.py   types, .did files       codec.py   values as bytes       text.py   values as text       subtype.py   compatible?
untyped.py   values of messages whose type nobody gave
"""
