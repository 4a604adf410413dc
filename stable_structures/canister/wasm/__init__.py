# SPDX-License-Identifier: Apache-2.0
"""Wasm canisters in the harness. Only `engine.py` knows wasmtime, which is imported when the first one is installed.

binary.py    a module as bytes, the platform's rules       message.py      one message, to and from the core
rewrite.py   the module for the engine, with counted instructions    program.py      an installed module
engine.py    wasmtime: compiled modules, instances         service.py      its Candid interface
heap.py      a heap that can be restored                   cache.py        compiled modules on disk
"""
