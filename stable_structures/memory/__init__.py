# SPDX-License-Identifier: Apache-2.0
"""Memories, and everything between a memory and a structure.

- memory.py: the protocol, anonymous memories, files, restricted memories, transactions
- manager.py: up to 255 memories in one
- stream.py: a memory as a stream of bytes

This package knows nothing of the structures above it.
"""
