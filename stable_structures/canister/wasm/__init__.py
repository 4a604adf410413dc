# SPDX-License-Identifier: Apache-2.0
"""Canisters of Wasm in the harness. Only `engine.py` knows wasmtime, which is imported when the first one is installed.

binary.py    a module as bytes, the platform's rules       message.py      one message, to and from the core
rewrite.py   what the engine gets; instructions counted    program.py      an installed module
engine.py    wasmtime: compiled modules, instances         service.py      its Candid interface
heap.py      a heap that can be put back                   cache.py        compiled modules on disk
"""
