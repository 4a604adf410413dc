# SPDX-License-Identifier: Apache-2.0
"""Readers of everything that a memory can hold; they parse it as untrusted input.

- recognise.py: what a memory is; snapshot.py: folders of dfx, icp-cli and Juno; wal.py: a file with its log
- managed.py: the manager; maps.py, nodes.py, inference.py: maps and sets; sequences.py: vec, heap, log and cell; survey.py: the core's
survey of a map; layout.py, rules.py: numbers and rules of the format
"""
